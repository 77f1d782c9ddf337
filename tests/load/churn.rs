//! A crowd that subscribes and unsubscribes without end beside a busy market.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tickcast::shard::Protocol;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use crate::checker::Checker;
use crate::server::{PATIENCE, Server, own_processor_time};
use crate::socket::{PONG, Socket, TEXT, frame};
use crate::{block_on, is_full};

/// What is run.
#[derive(Clone, Copy)]
struct Form {
    connections: usize,
    seconds: u64,
    rate: &'static str,
    symbols: usize,
    /// Mean time between two requests of one client.
    pause: Duration,
    messages_min: u64,
}

const SHORT: Form = Form {
    connections: 200,
    seconds: 5,
    rate: "20000",
    symbols: 200,
    pause: Duration::from_millis(250),
    messages_min: 15_000,
};

const FULL: Form = Form {
    connections: 1_000,
    seconds: 30,
    rate: "200000",
    symbols: 1_000,
    pause: Duration::from_millis(500),
    messages_min: 5_000_000,
};

/// What all clients saw.
#[derive(Default)]
struct Seen {
    messages: AtomicU64,
    snapshots: AtomicU64,
    positions: AtomicU64,
    replies: AtomicU64,
}

#[test]
fn a_crowd_that_comes_and_goes_loses_nothing() {
    let mut form = if is_full() { FULL } else { SHORT };
    // A longer run tells a leak from a market that still fills its books.
    if let Some(seconds) = std::env::var("TICKCAST_LOAD_SECONDS").ok().and_then(|text| text.parse().ok()) {
        form.seconds = seconds;
    }
    let symbols = form.symbols.to_string();
    let mut server = Server::start(&["--rate", form.rate, "--symbols", &symbols]);
    let listed: serde_json::Value = serde_json::from_str(&server.get("/api/v1/instruments")).unwrap();
    let names: Arc<[String]> = listed["instruments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|instrument| instrument["symbol"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names.len(), form.symbols);

    let threads = thread::available_parallelism().map_or(1, usize::from).min(2);
    let (address, seen) = (server.address(), Arc::new(Seen::default()));
    let (began, server_before, own_before) = (Instant::now(), server.processor_time(), own_processor_time());
    let until = began + Duration::from_secs(form.seconds);
    let clients: Vec<_> = (0..threads)
        .map(|number| {
            let (names, seen) = (names.clone(), seen.clone());
            thread::spawn(move || {
                block_on(async {
                    let mut clients = JoinSet::new();
                    for client in (number..form.connections).step_by(threads) {
                        let visitor = Visitor::new(client as u64, form, names.clone());
                        clients.spawn(visitor.visit(address, until, seen.clone()));
                    }
                    while let Some(done) = clients.join_next().await {
                        done.unwrap();
                    }
                });
            })
        })
        .collect();
    let mut resident = Vec::new();
    while Instant::now() < until {
        thread::park_timeout(Duration::from_millis(250));
        resident.push(server.resident());
    }
    let (server_time, own_time) =
        (server.processor_time() - server_before, own_processor_time() - own_before);
    let elapsed = began.elapsed();
    for client in clients {
        client.join().expect("a client found what must not be");
    }
    server.assert_well();
    server.wait_until_empty();

    let metrics = server.metrics();
    let middle = median(&resident[resident.len() / 3..resident.len() * 2 / 3]);
    let last = median(&resident[resident.len() * 2 / 3..]);
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let messages = count(&seen.messages);
    println!(
        "churn: {} connections, {:.1} s at {} ticks/s over {} symbols: {messages} messages ({:.0}/s), {} snapshots, \
         {} replies, {} heartbeat positions verified; {} ticks published; encodes {}, writes {}; \
         CPU server {:.2}, clients {:.2} cores; RSS median {:.1} MiB in the second third, {:.1} in the last",
        form.connections,
        elapsed.as_secs_f64(),
        form.rate,
        form.symbols,
        messages as f64 / elapsed.as_secs_f64(),
        count(&seen.snapshots),
        count(&seen.replies),
        count(&seen.positions),
        metrics.get("tickcast_ticks_total"),
        metrics.get("tickcast_encodes_total"),
        metrics.get("tickcast_writes_total"),
        server_time.as_secs_f64() / elapsed.as_secs_f64(),
        own_time.as_secs_f64() / elapsed.as_secs_f64(),
        middle as f64 / 1_048_576.0,
        last as f64 / 1_048_576.0,
    );
    assert!(messages >= form.messages_min, "{messages} messages; {} were to be verified", form.messages_min);
    assert_eq!(metrics.get("tickcast_closed_slow_total"), 0.0);
    assert_eq!(metrics.get("tickcast_client_refusals_total"), 0.0);
    // Beside the clients' work the books of a thousand symbols still fill for half a minute, and the queue of a shard
    // that the machine kept waiting may hold some megabytes: a quarter more is no growth, a leak is more than that.
    assert!(last < middle + middle / 4 + (8 << 20), "memory grows: {middle} to {last} bytes");
}

fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

/// One of the crowd.
struct Visitor {
    random: Pcg64,
    form: Form,
    names: Arc<[String]>,
    checker: Checker,
}

impl Visitor {
    fn new(seed: u64, form: Form, names: Arc<[String]>) -> Visitor {
        Visitor { random: Pcg64::seed_from_u64(seed), form, names, checker: Checker::default() }
    }

    async fn visit(mut self, address: std::net::SocketAddr, until: Instant, seen: Arc<Seen>) {
        let mut socket = Socket::open(address, Protocol::Binary).await;
        let mut asked = 0;
        let mut due = self.next_due(Instant::now());
        while Instant::now() < until {
            tokio::select! {
                biased;
                () = sleep_until(due.into()) => {
                    // One request at a time; a slow answer makes a slow asker.
                    if asked == self.checker.replies {
                        asked += 1;
                        let request = self.request();
                        socket.write(&frame(TEXT, request.as_bytes())).await.unwrap();
                    }
                    due = self.next_due(due);
                }
                ready = socket.stream.readable() => {
                    ready.unwrap();
                    self.read(&mut socket);
                    for ping in std::mem::take(&mut self.checker.pings) {
                        socket.write(&frame(PONG, &ping)).await.unwrap();
                    }
                }
            }
        }
        // Whatever is left is ended, and nothing follows the answer.
        socket
            .send(r#"{"op":"unsubscribe","symbols":["*"],"channels":["quotes","trades","book","ticker","status"]}"#)
            .await;
        asked += 1;
        timeout(PATIENCE, async {
            while self.checker.replies < asked {
                socket.stream.readable().await.unwrap();
                self.read(&mut socket);
            }
        })
        .await
        .expect("every request is answered");
        assert_eq!(self.checker.streams(), 0);
        socket.send(r#"{"op":"ping"}"#).await;
        while socket.next().await.opcode != TEXT {}
        socket.write(&frame(crate::socket::CLOSE, &1000_u16.to_be_bytes())).await.unwrap();
        assert_eq!(socket.closed().await.0, 1000);
        for (counter, amount) in [
            (&seen.messages, self.checker.messages),
            (&seen.snapshots, self.checker.snapshots),
            (&seen.positions, self.checker.positions),
            (&seen.replies, self.checker.replies),
        ] {
            counter.fetch_add(amount, Ordering::Relaxed);
        }
    }

    /// At once what has come, and not more than that: others want to read too.
    fn read(&mut self, socket: &mut Socket) {
        socket.read_now().expect("the server stays");
        while let Some((opcode, payload)) = socket.take() {
            self.checker.take(opcode, payload);
        }
        assert_eq!(self.checker.closed, None, "nobody is thrown out");
    }

    fn next_due(&mut self, from: Instant) -> Instant {
        from + self.form.pause.mul_f64(self.random.random_range(0.0..2.0))
    }

    /// Takes a stream or two, takes one anew, or gives one up.
    fn request(&mut self) -> String {
        let held: Vec<String> = self.checker.symbols().map(str::to_owned).collect();
        let symbol = match held.len() {
            0 => self.symbol(),
            held_len => {
                let symbol = &held[self.random.random_range(0..held_len)];
                if self.random.random_range(0..4) > 0 {
                    return format!(
                        r#"{{"op":"unsubscribe","symbols":["{symbol}"],"channels":["quotes","trades","book","ticker","status"]}}"#
                    );
                }
                symbol.clone()
            }
        };
        let channels = ["\"quotes\"", "\"trades\"", "\"book\"", "\"ticker\"", "\"status\",\"trades\""];
        let channels = channels[self.random.random_range(0..channels.len())];
        let depth = ["", ",\"depth\":1", ",\"depth\":10"][self.random.random_range(0..3)];
        // The identifier tells the checker what to expect.
        let snapshot = self.random.next_u32() & 7 != 0;
        let id = if snapshot { "snapshot" } else { "bare" };
        format!(
            r#"{{"op":"subscribe","id":"{id}","symbols":["{symbol}"],"channels":[{channels}],"snapshot":{snapshot}{depth}}}"#
        )
    }

    /// Zipf-like (Mandelbrot's form): the rank r with a probability falling as 1/(r + 20), so that the very busiest is
    /// watched by many, not by all.
    fn symbol(&mut self) -> String {
        let weight = |rank: usize| 1.0 / (rank + 20) as f64;
        let total: f64 = (0..self.names.len()).map(weight).sum();
        let mut drawn = self.random.random_range(0.0..total);
        for (rank, name) in self.names.iter().enumerate() {
            drawn -= weight(rank);
            if drawn < 0.0 {
                return name.clone();
            }
        }
        self.names[0].clone()
    }
}
