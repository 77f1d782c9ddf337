//! What an operator and a client may choose instead of being conflated, each with its exact outcome.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::spawn_local;
use tokio::time::sleep;

use crate::client::Client;
use crate::server::{PATIENCE, Server};
use crate::{balance, block_on, has_ended, is_full, listener, published, settled};

const CHANNELS: [&str; 4] = ["quotes", "trades", "book", "orders"];

fn everything() -> Value {
    json!({"symbols": ["*"], "channels": CHANNELS})
}

/// A feed file of so many ticks, in a folder of its own.
fn feed(ticks: u64) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("market.feed").to_str().unwrap().to_owned();
    let made = std::process::Command::new(env!("CARGO_BIN_EXE_tickcast"))
        .args(["simulate", "--symbols", "10", "--ticks", &ticks.to_string(), "--out", &path])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (folder, path)
}

#[test]
fn a_replay_that_blocks_gives_everybody_everything() {
    let (_folder, path) = feed(60_000);
    let arguments =
        ["--replay", &path, "--speed", "max", "--start-paused", "--slow-consumer", "block", "--shards", "1"];
    let mut server = Server::start(&arguments);
    let ledgers = block_on(async {
        let mut fast = Client::open(server.address()).await;
        let mut slow = Client::open_narrow(server.address()).await;
        for client in [&mut fast, &mut slow] {
            client.ledger.keeps_states = true;
            client.subscribe(everything()).await;
        }
        server.post("/api/v1/replay", r#"{"action":"play"}"#);
        let fast = listener(fast, "the end", PATIENCE, has_ended);
        // The shard takes no more of the replay than its slow client.
        let taken = || server.metrics().get("tickcast_events_total");
        sleep(Duration::from_secs(1)).await;
        let stands_at = taken();
        sleep(Duration::from_millis(500)).await;
        assert_eq!(taken(), stands_at, "it waits");
        slow.until("the end", has_ended).await;
        let clients = balance(&server, vec![fast.await.unwrap(), slow]).await;
        let final_seqs = published(&server, &CHANNELS).await;
        assert!(final_seqs.values().sum::<u64>() as f64 > stands_at, "it stood before its end");
        let mut ledgers: Vec<_> = clients.into_iter().map(|client| client.ledger).collect();
        for ledger in &mut ledgers {
            for stream in &ledger.streams {
                assert_eq!((stream.here.merged, stream.here.lost), (0, 0), "{stream:?}");
                assert_eq!(stream.here.delivered + stream.start, stream.held);
                assert_eq!(stream.held, final_seqs[&(stream.symbol.clone(), stream.channel)]);
            }
            assert_eq!(ledger.notices, ["replay_ended"], "nobody is conflated, and waiting is not stale");
        }
        ledgers
    });
    let agreed = ledgers[1].agrees_with(&ledgers[0]);
    let trades = ledgers[0].streams.iter().filter(|stream| stream.channel == "trades");
    assert_eq!(agreed["trades"], trades.map(|stream| stream.held).sum::<u64>());
    server.assert_well();
    println!("block: one client stalled for 1.5 s, both received everything alike: {agreed:?}");
}

#[test]
fn a_replay_waits_for_thirty_seconds_and_not_longer() {
    if !is_full() {
        return; // It takes its thirty seconds.
    }
    let (_folder, path) = feed(200_000);
    let arguments = ["--replay", &path, "--speed", "max", "--start-paused", "--slow-consumer", "block"];
    let server = Server::start(&arguments);
    block_on(async {
        let mut fast = Client::open(server.address()).await;
        let mut dead = Client::open_narrow(server.address()).await;
        fast.subscribe(everything()).await;
        dead.subscribe(everything()).await;
        let began = Instant::now();
        server.post("/api/v1/replay", r#"{"action":"play"}"#);
        fast.until_within(Duration::from_secs(60), "the end", has_ended).await;
        let took = began.elapsed();
        assert!((29.0..40.0).contains(&took.as_secs_f64()), "{took:?}");
        let (code, reason) = dead.until_closed().await;
        assert_eq!(code, 4008, "{reason}");
        println!("block: given up after {took:?} with {code} {reason:?}");
    });
}

/// The request that goes on where a ledger ends.
pub fn resume(ledger: &crate::ledger::Ledger, symbols: &[String], channels: &[&str]) -> Value {
    let of_these = ledger.streams.iter().filter(|stream| channels.contains(&stream.channel));
    let streams = of_these.filter(|stream| stream.has_state());
    let from: Vec<Value> = streams
        .map(|stream| {
            json!({"symbol": stream.symbol, "channel": stream.channel, "epoch": stream.epoch, "seq": stream.held})
        })
        .collect();
    json!({"symbols": symbols, "channels": channels, "from": from})
}

/// Held back until it is closed; then told why, in whole frames, with what it needs to go on.
async fn closed_as_too_slow(mut client: Client) -> crate::ledger::Ledger {
    let epoch = client.ledger.streams[0].epoch;
    let (code, reason) = client.until_closed().await;
    assert_eq!(code, 4008, "{reason}");
    assert!(reason.contains(&epoch.to_string()) && reason.contains("\"from\""), "{reason}");
    client.ledger
}

#[test]
fn a_client_that_is_disconnected_is_told_why_and_goes_on_where_it_was() {
    let mut server = Server::start(&["--symbols", "20", "--rate", "20000", "--slow-consumer", "disconnect"]);
    block_on(async {
        let mut live = Client::open(server.address()).await;
        let mut slow = Client::open_narrow(server.address()).await;
        for client in [&mut live, &mut slow] {
            client.subscribe(everything()).await;
        }
        let live = spawn_local(async move {
            live.read_for(Duration::from_secs(3)).await;
            live.ledger
        });
        settled(&server, "the slow one is closed", |metrics| {
            metrics.get("tickcast_closed_slow_total") == 1.0
        })
        .await;
        let ledger = closed_as_too_slow(slow).await;
        assert_eq!(ledger.notices, [""; 0], "it is not conflated");

        let request = resume(&ledger, &["*".to_owned()], &CHANNELS);
        let messages: Vec<u64> = ledger.streams.iter().map(|stream| stream.messages).collect();
        let mut again = Client::open_with(server.address(), None, ledger).await;
        again.subscribe(request).await;
        let went_on = |ledger: &crate::ledger::Ledger| {
            let streams = ledger.streams.iter().zip(&messages);
            streams.filter(|(stream, before)| stream.messages > **before).count() > messages.len() / 2
        };
        again.until("what follows", went_on).await;
        again.kill().streams.iter().for_each(crate::ledger::Stream::assert_balanced);
        let live = live.await.unwrap();
        assert_eq!((live.here().merged, live.here().lost), (0, 0), "nobody else notices");
        assert_eq!(server.metrics().get("tickcast_closed_slow_total"), 1.0);
    });
    server.assert_well();
}

#[test]
fn a_stream_that_is_never_to_be_conflated_closes_and_others_are_conflated() {
    let mut server = Server::start(&["--symbols", "20", "--rate", "20000"]);
    block_on(async {
        let mut never = Client::open_narrow(server.address()).await;
        let mut auto = Client::open_narrow(server.address()).await;
        let mut request = everything();
        never
            .subscribe({
                request["conflate"] = "never".into();
                request.clone()
            })
            .await;
        request["conflate"] = "auto".into();
        auto.subscribe(request).await;
        settled(&server, "one is closed, the other conflated", |metrics| {
            metrics.get("tickcast_closed_slow_total") == 1.0
                && metrics.get("tickcast_conflations_total") >= 1.0
        })
        .await;
        let ledger = closed_as_too_slow(never).await;
        assert_eq!(ledger.here().merged, 0);
        ledger.streams.iter().for_each(crate::ledger::Stream::assert_balanced);
        auto.until("recovery", |ledger| ledger.notices == ["conflating", "recovered"]).await;
        assert_eq!(server.metrics().get("tickcast_closed_slow_total"), 1.0);
    });
    server.assert_well();
}
