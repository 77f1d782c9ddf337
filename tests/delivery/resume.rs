//! Connections that die at any moment and go on where they were.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::Client;
use crate::ledger::{Counts, Ledger, Stream};
use crate::policies::resume;
use crate::server::{PATIENCE, Server};
use crate::{balance, block_on, full_or, has_ended, listener};

const CHANNELS: [&str; 4] = ["trades", "book", "orders", "quotes"];
/// Ticks a second.
const RATE: u64 = 8_000;
/// Clients at a time.
const CLIENTS: usize = 10;

/// One that is killed again and again, each time at a random byte, and at last reads on in peace.
async fn mortal(
    server: std::net::SocketAddr,
    symbols: Vec<String>,
    kills: usize,
    seed: u64,
    pause: Duration,
) -> Client {
    let mut random = Pcg64::seed_from_u64(seed);
    let mut ledger = Ledger::default();
    ledger.keeps_states = true;
    for _ in 0..kills {
        let mut client = Client::open_with(server, None, ledger).await;
        client.ask(resume(&client.ledger, &symbols, &CHANNELS)).await;
        // Often before the reply is whole, sometimes long after.
        let mut left = 2_usize.pow(random.random_range(0..18));
        while left > 0 {
            let read = client.read_up_to(left.min(16 * 1_024)).await.unwrap();
            assert!(read > 0, "{:?}", client.ledger.closed);
            left -= read;
        }
        ledger = client.kill();
        sleep(pause.mul_f64(random.random_range(0.0..1.0))).await;
    }
    let mut client = Client::open_with(server, None, ledger).await;
    client.subscribe(resume(&client.ledger, &symbols, &CHANNELS)).await;
    client.until("the end", has_ended).await;
    client
}

/// What became of the sequences of a channel.
fn sums(ledgers: &[Ledger], channel: &str) -> Counts {
    let streams =
        || ledgers.iter().flat_map(|ledger| &ledger.streams).filter(|stream| stream.channel == channel);
    let sum = |what: fn(&Counts) -> u64| streams().map(|stream| what(&stream.total)).sum();
    Counts { delivered: sum(|of| of.delivered), merged: sum(|of| of.merged), lost: sum(|of| of.lost) }
}

/// Resumes by result, as the server counts them.
fn resumes(server: &Server) -> Value {
    let metrics = server.get("/metrics");
    let sum = |result: &str| -> u64 {
        let label = format!("result=\"{result}\"}}");
        let lines = metrics
            .lines()
            .filter(|line| line.starts_with("tickcast_resumes_total{") && line.contains(&label));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    };
    json!({"exact": sum("exact"), "snapshot": sum("snapshot"), "gap": sum("gap")})
}

fn kill(server: &Server, kills: usize, pause: Duration) -> Vec<Ledger> {
    block_on(async {
        let mut witness = Client::open(server.address()).await;
        witness.ledger.keeps_states = true;
        witness.subscribe(json!({"symbols": ["*"], "channels": CHANNELS})).await;
        let mut symbols: Vec<String> =
            witness.ledger.streams.iter().map(|stream| stream.symbol.clone()).collect();
        symbols.dedup();
        let witness = listener(witness, "the end", PATIENCE, has_ended);
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let symbols = symbols.iter().skip(number % 4).step_by(4).cloned().collect();
            clients.spawn_local(mortal(server.address(), symbols, kills / CLIENTS, number as u64, pause));
        }
        // The last connection of each is resumed too: both sides of its ledger balance.
        let clients = balance(server, clients.join_all().await).await;
        let ledgers: Vec<_> = clients.into_iter().map(|client| client.ledger).collect();
        let witness = witness.await.unwrap().ledger;
        let mut agreed = std::collections::HashMap::new();
        for ledger in &ledgers {
            ledger.streams.iter().for_each(Stream::assert_balanced);
            for (channel, times) in ledger.agrees_with(&witness) {
                *agreed.entry(channel).or_insert(0) += times;
            }
        }
        for channel in CHANNELS {
            assert!(agreed[channel] > 300, "{agreed:?}");
        }
        println!("resume: {kills} kills, {}; states equal to the witness's: {agreed:?}", resumes(server));
        for channel in CHANNELS {
            println!("resume: {channel}: {:?}", sums(&ledgers, channel));
        }
        ledgers
    })
}

/// A market that lasts longer than the killing.
fn start(ring_bytes: &str) -> Server {
    let ticks = (RATE * full_or(16, 3)).to_string();
    let rate = RATE.to_string();
    let market = ["--symbols", "20", "--rate", &rate, "--ticks", &ticks];
    Server::start(&[&market[..], &["--shards", "2", "--ring-bytes", ring_bytes]].concat())
}

#[test]
fn a_connection_that_dies_goes_on_without_a_hole() {
    let mut server = start("268435456");
    let ledgers = kill(&server, full_or(900, 40), Duration::from_millis(50));
    for channel in CHANNELS {
        let Counts { delivered, merged, lost } = sums(&ledgers, channel);
        assert!(delivered > 300, "{channel}: {delivered}");
        assert_eq!((merged, lost), (0, 0), "the ring has seconds of {channel}");
    }
    let results = resumes(&server);
    assert_eq!((&results["gap"], &results["snapshot"]), (&0.into(), &0.into()), "{results}");
    assert!(results["exact"].as_u64() > Some(100), "{results}");
    server.assert_well();
}

#[test]
fn what_the_ring_no_longer_has_is_declared() {
    // Room for some thousandths of a second.
    let mut server = start("65536");
    let ledgers = kill(&server, full_or(100, 20), Duration::from_millis(300));
    assert!(sums(&ledgers, "trades").lost > 0 && sums(&ledgers, "orders").lost > 0, "gaps are declared");
    assert!(sums(&ledgers, "book").merged > 0, "books come as snapshots");
    let results = resumes(&server);
    assert!(results["gap"].as_u64() > Some(0) && results["snapshot"].as_u64() > Some(0), "{results}");
    server.assert_well();
}

#[test]
fn an_unknown_epoch_gets_a_reset_and_a_snapshot() {
    let mut server = Server::start(&["--symbols", "3", "--rate", "1000"]);
    block_on(async {
        let mut client = Client::open(server.address()).await;
        client.subscribe(json!({"symbols": ["*"], "channels": ["book"]})).await;
        let mut request = resume(&client.ledger, &["*".to_owned()], &["book"]);
        client.until("snapshots", |ledger| ledger.streams.iter().all(|stream| stream.snapshots == 1)).await;
        let epoch = client.ledger.streams[0].epoch;
        request["from"] = client
            .ledger
            .streams
            .iter()
            .map(|stream| json!({"symbol": stream.symbol, "channel": "book", "epoch": epoch - 1, "seq": 5}))
            .collect();
        let mut again = Client::open(server.address()).await;
        again.subscribe(request).await;
        let came = |ledger: &Ledger| {
            ledger.resets == 3
                && ledger.streams.iter().all(|stream| stream.snapshots == 1 && stream.messages > 2)
        };
        again.until("a reset and a snapshot of each", came).await;
        assert!(again.ledger.streams.iter().all(|stream| stream.epoch == epoch));
    });
    server.assert_well();
}
