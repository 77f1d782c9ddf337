//! Half of the clients read, half do not: memory keeps its bound, both sides of every ledger balance, and those who
//! read notice nothing.
//!
//! A thousand clients that keep a ledger each take more than what a server leaves of two cores. So where latency is
//! looked at, ten of them do, and the others are a load generator's (`tickcast bench`), which checks sequences only.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep_until};

use crate::client::Client;
use crate::latency::Histogram;
use crate::ledger::{Counts, Ledger, Stream};
use crate::server::{PATIENCE, Server};
use crate::{balance, block_on, full_or, has_ended, is_full, published};

/// Of how many symbols each client has the streams.
const SYMBOLS_EACH: usize = 10;
/// What a crawling client reads ten times a second.
const CRAWL_BYTES: usize = 512;
/// How long a client that stalls reads between two stalls.
const BETWEEN_STALLS: Duration = Duration::from_millis(500);

/// One run.
#[derive(Clone, Copy)]
struct Form {
    channels: &'static [&'static str],
    live: usize,
    slow: usize,
    /// Of a load generator's: those who read, and those who crawl.
    crowd: [usize; 2],
    symbols: usize,
    rate: u64,
    time: Duration,
    /// `--outboxes-bytes` and `--ring-bytes`.
    budget: u64,
}

/// What one run showed.
struct Outcome {
    latency: Histogram,
    live: Counts,
    slow: Counts,
    /// Resident bytes before anybody was slow, and at the most afterwards.
    resident: (u64, u64),
    /// At the most.
    outbox_bytes: f64,
    conflated: f64,
}

fn form(slow: usize) -> Form {
    let seconds = std::env::var("TICKCAST_DELIVERY_SECONDS").map_or(60, |text| text.parse().unwrap());
    full_or(
        Form {
            channels: &["quotes", "trades", "book"],
            live: 500,
            slow,
            crowd: [0; 2],
            symbols: 1_000,
            rate: 100_000,
            time: Duration::from_secs(seconds),
            budget: 64 << 20,
        },
        Form {
            channels: &["quotes", "trades", "book"],
            live: 20,
            slow,
            crowd: [0; 2],
            symbols: 50,
            rate: 15_000,
            time: Duration::from_secs(3),
            budget: 8 << 20,
        },
    )
}

/// Connects and subscribes; each to symbols of its own choice.
async fn subscribed(server: &Server, form: Form, number: usize, names: &[String]) -> Client {
    let address = server.address();
    let narrow = number >= form.live;
    let mut client = if narrow { Client::open_narrow(address).await } else { Client::open(address).await };
    let mut random = Pcg64::seed_from_u64(number as u64);
    let mut symbols = std::collections::BTreeSet::new();
    while symbols.len() < SYMBOLS_EACH {
        symbols.insert(&names[random.random_range(0..names.len())]);
    }
    client.subscribe(json!({"symbols": symbols, "channels": form.channels})).await;
    client
}

/// Those who read: their latency is measured, once everybody is there.
async fn live(server: &Server, form: Form, names: &[String], all_there: &Barrier) -> (Histogram, Counts) {
    let mut clients = Vec::new();
    for number in 0..form.live {
        clients.push(subscribed(server, form, number, names).await);
    }
    all_there.wait();
    let mut reading = JoinSet::new();
    for mut client in clients {
        reading.spawn_local(async move {
            // Until the kernel's buffers of those who stall are full, they cost what everybody costs.
            client.read_for(form.time / 3).await;
            client.ledger.latency = Some(Histogram::default());
            client.read_for(form.time * 2 / 3).await;
            let latency = client.ledger.latency.take().unwrap();
            client.until_within(Duration::from_secs(120), "the end", has_ended).await;
            (client, latency)
        });
    }
    let (clients, latencies): (Vec<_>, Vec<_>) = reading.join_all().await.into_iter().unzip();
    let mut latency = Histogram::default();
    latencies.iter().for_each(|one| latency.merge(one));
    (latency, audit(server, form, clients).await)
}

/// Those who do not read, and those who read too little; in the end they read all there is.
async fn slow(server: &Server, form: Form, names: &[String], all_there: &Barrier) -> Counts {
    let mut clients = Vec::new();
    for number in 0..form.slow {
        clients.push(subscribed(server, form, form.live + number, names).await);
    }
    all_there.wait();
    let began = tokio::time::Instant::now();
    let mut reading = JoinSet::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        reading.spawn_local(async move {
            if number % 2 == 0 {
                // A minute without any progress would end it. All that has come is read, or the kernel would not ask
                // for more; and it asks the more seldom the longer nobody has read. Each comes back in its own time:
                // what all have missed, read at once, is work for a core, and that core would be missed elsewhere.
                let own = (form.time / 3).mul_f64(number as f64 / form.slow as f64);
                for stall in 0..full_or(3, 0) {
                    sleep_until(began + form.time / 3 * stall + own).await;
                    client.read_for(BETWEEN_STALLS).await;
                }
                sleep_until(began + form.time).await;
            } else {
                let mut pace = interval(Duration::from_millis(100));
                while began.elapsed() < form.time {
                    pace.tick().await;
                    assert!(client.read_up_to(CRAWL_BYTES).await.unwrap() > 0, "{:?}", client.ledger.closed);
                }
            }
            client.until_within(Duration::from_secs(120), "the end", has_ended).await;
            client
        });
    }
    audit(server, form, reading.join_all().await).await
}

/// The clients of a load generator, for as long as a run lasts.
fn crowd(server: &Server, form: Form) -> Option<Child> {
    let [live, slow] = form.crowd;
    let url = format!("ws://{}/ws", server.address());
    let connections = (live + slow).to_string();
    let seconds = form.time.as_secs().to_string();
    let crawling = (slow as f64 / (live + slow) as f64).to_string();
    let pace = (10 * CRAWL_BYTES).to_string();
    let channels = form.channels.join(",");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_tickcast"));
    bench.args(["bench", "--url", &url, "--json", "--connections", &connections, "--duration", &seconds]);
    bench.args(["--channels", &channels, "--symbols-per-connection", &SYMBOLS_EACH.to_string()]);
    bench.args(["--slow-fraction", &crawling, "--slow-bytes-per-second", &pace]);
    (live > 0).then(|| bench.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

/// Both sides of the ledger of each of these, once every stream of everybody is known to its end.
async fn audit(server: &Server, form: Form, clients: Vec<Client>) -> Counts {
    if clients.is_empty() {
        // Nobody has waited for the end.
        return Counts::default();
    }
    // The notice of the end overtakes what conflated clients have still to be told.
    let final_seqs = published(server, form.channels).await;
    let has_all = move |ledger: &Ledger| {
        let is_whole = |stream: &Stream| stream.held == final_seqs[&(stream.symbol.clone(), stream.channel)];
        ledger.streams.iter().all(is_whole)
    };
    let mut told = JoinSet::new();
    for mut client in clients {
        let has_all = has_all.clone();
        told.spawn_local(async move {
            client.until_within(PATIENCE, "the last sequences", has_all).await;
            client
        });
    }
    let clients = told.join_all().await;
    let clients = balance(server, clients).await;
    let ledgers: Vec<_> = clients.into_iter().map(|client| client.ledger).collect();
    let mut sum = Counts::default();
    for ledger in &ledgers {
        ledger.streams.iter().for_each(Stream::assert_balanced);
        let here = ledger.here();
        sum = Counts {
            delivered: sum.delivered + here.delivered,
            merged: sum.merged + here.merged,
            lost: sum.lost + here.lost,
        };
    }
    sum
}

fn run(form: Form) -> Outcome {
    // Connecting takes its time before, and the tail is read behind.
    let ticks = form.rate * (form.time.as_secs() + full_or(12, 2));
    let (symbols, rate, ticks, budget) =
        (form.symbols.to_string(), form.rate.to_string(), ticks.to_string(), form.budget.to_string());
    let arguments = ["--symbols", &symbols, "--rate", &rate, "--ticks", &ticks];
    // Little room in the kernel: who is slow is to be slow for the server within seconds.
    let bounds = ["--outboxes-bytes", &budget, "--ring-bytes", &budget, "--send-buffer-bytes", "32768"];
    let mut server = Server::start(&[&arguments[..], &bounds, &["--log", "warn"]].concat());
    let listed: Value = serde_json::from_str(&server.get("/api/v1/instruments")).unwrap();
    let instruments = listed["instruments"].as_array().unwrap().iter();
    let names: Vec<String> = instruments.map(|one| one["symbol"].as_str().unwrap().to_owned()).collect();
    let (all_there, is_over) = (Barrier::new(3), AtomicBool::new(false));
    let watched = Mutex::new((0, 0, 0.0_f64));
    let (server_ref, names) = (&server, &names[..]);
    let crowd = crowd(&server, form);
    let ((latency, live), slow) = std::thread::scope(|scope| {
        let live = scope.spawn(|| block_on(live(server_ref, form, names, &all_there)));
        let slow = scope.spawn(|| block_on(slow(server_ref, form, names, &all_there)));
        let watch = scope.spawn(|| {
            let everybody = form.live + form.slow + form.crowd.iter().sum::<usize>();
            let deadline = Instant::now() + PATIENCE;
            while server_ref.metrics().get("tickcast_sessions") < everybody as f64 {
                assert!(Instant::now() < deadline, "{everybody} clients\n{}", server_ref.log());
                std::thread::sleep(Duration::from_millis(20));
            }
            all_there.wait();
            let before = server_ref.resident();
            while !is_over.load(Ordering::Relaxed) {
                let mut seen = watched.lock().unwrap();
                let waiting = server_ref.metrics().get("tickcast_outbox_bytes");
                *seen = (before, seen.1.max(server_ref.resident()), seen.2.max(waiting));
                drop(seen);
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let both = (live.join(), slow.join());
        is_over.store(true, Ordering::Relaxed);
        watch.join().unwrap();
        (both.0.unwrap(), both.1.unwrap())
    });
    if let Some(crowd) = crowd {
        let output = crowd.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let metrics = server.metrics();
    assert_eq!(metrics.get("tickcast_closed_slow_total"), 0.0, "nobody is thrown out");
    server.assert_well();
    let (before, most, outbox_bytes) = *watched.lock().unwrap();
    let conflated = metrics.get("tickcast_conflations_total");
    Outcome { latency, live, slow, resident: (before, most), outbox_bytes, conflated }
}

impl Outcome {
    fn show(&self, what: &str) {
        let milliseconds = |share| self.latency.quantile(share) as f64 / 1e6;
        println!(
            "crowd, {what}: live p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms of {} messages; live {:?}; slow {:?}; \
             {} conflations; resident {} MiB before, at most {} MiB; outboxes at most {:.1} MiB",
            milliseconds(0.5),
            milliseconds(0.99),
            milliseconds(0.999),
            self.latency.count(),
            self.live,
            self.slow,
            self.conflated,
            self.resident.0 >> 20,
            self.resident.1 >> 20,
            self.outbox_bytes / f64::from(1 << 20),
        );
    }

    /// What slow clients may cost in memory.
    fn assert_bounded(&self, form: Form) {
        // A socket's buffers are the kernel's. Beside outboxes and rings: the shard's queue, which fills where the
        // machine is too small, and what each stream of a slow client needs.
        let bound = self.resident.0 + 2 * form.budget + (64 << 20) + (32 << 20);
        assert!(self.resident.1 < bound, "{:?} bytes, bound {bound}", self.resident);
        // Notices and declared gaps are never refused: they come on top.
        let slow = form.slow + form.crowd[1];
        let most = form.budget + 4 * 1_024 * slow as u64;
        assert!(self.outbox_bytes <= most as f64, "{} bytes wait", self.outbox_bytes);
        assert!(self.conflated >= slow as f64 / 2.0, "{} conflations", self.conflated);
        assert!(self.slow.merged > 0 || form.slow == 0);
    }
}

#[test]
fn slow_clients_cost_bounded_memory_and_nobody_else_anything() {
    let with = form(full_or(500, 20));
    let outcome = run(with);
    outcome.show("half of it slow");
    outcome.assert_bounded(with);
    if !is_full() {
        return; // Latencies mean nothing beside other tests.
    }
    let alone = Form { live: 10, slow: 0, crowd: [490, 0], ..with };
    let crowded = Form { crowd: [490, 500], ..alone };
    let began = Instant::now();
    let mut ratios = Vec::new();
    for pair in 0..7 {
        let without = run(alone);
        without.show("500 live");
        let beside = run(crowded);
        beside.show("500 live, 500 crawl");
        beside.assert_bounded(crowded);
        assert_eq!((without.live.merged + without.live.lost, beside.live.merged + beside.live.lost), (0, 0));
        let ratio = beside.latency.quantile(0.99) as f64 / without.latency.quantile(0.99) as f64;
        println!("crowd, pair {pair}: live p99 with the slow ones is {ratio:.2} times that without");
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!("crowd: median of seven pairs {:.2} ({ratios:.2?}), in {:?}", ratios[3], began.elapsed());
    assert!(ratios[3] <= 1.3, "{ratios:?}");
}
