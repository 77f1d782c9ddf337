//! A client whose process is stopped, as a laptop that is closed.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::Client;
use crate::latency::Histogram;
use crate::server::Server;
use crate::{block_on, common, full_or, has_ended};

const RATE: u64 = 2_000;
const CHANNELS: [&str; 3] = ["quotes", "trades", "book"];

/// `tests/clients/python/ledger.py` under way; it does not outlive its test.
struct Python {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Drop for Python {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Python {
    fn start(program: &Path, arguments: &[&str]) -> Python {
        let mut command = Command::new(program);
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python"));
        command.arg("ledger.py").args(arguments).env("PYTHONDONTWRITEBYTECODE", "1");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Python { child, out }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// What it says at its end.
    fn summary(mut self) -> Value {
        let mut text = String::new();
        self.out.read_to_string(&mut text).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "ledger.py: {status}; what is wrong stands above");
        serde_json::from_str(&text).unwrap()
    }
}

fn number(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number {path} in {value}"))
}

#[test]
fn a_client_in_python_that_stalls_balances_in_both_encodings() {
    let Some(program) = common::program("TICKCAST_PYTHON") else { return };
    for seconds in full_or(&[1, 5, 30][..], &[1]) {
        // It decodes some ten thousand messages a second, and has three connections.
        let ticks = (800 * (seconds + 6)).to_string();
        let narrow = ["--outbox-bytes", "65536", "--send-buffer-bytes", "4096"];
        let mut server =
            Server::start(&[&["--symbols", "3", "--rate", "800", "--ticks", &ticks], &narrow[..]].concat());
        let address = server.address().to_string();
        let summary = Python::start(&program, &["stall", &address, &seconds.to_string()]).summary();
        for encoding in ["tickcast.v1.bin", "tickcast.v1.json"] {
            let of = |what: &str| number(&summary, &format!("/{encoding}/{what}"));
            assert!(of("merged") > 0 && of("delivered") > 0, "{summary}");
            for channel in ["quotes", "trades", "book", "ticker"] {
                assert!(of(&format!("agreed/{channel}")) > 20, "{channel}: {summary}");
            }
        }
        server.assert_well();
        println!("stalled in Python for {seconds} s: {summary}");
    }
}

#[test]
fn a_stopped_process_costs_no_memory_and_nobody_else_notices() {
    let Some(program) = common::program("TICKCAST_PYTHON") else { return };
    let seconds = full_or(60, 3);
    let ticks = (RATE * (seconds + 4)).to_string();
    let arguments =
        ["--symbols", "20", "--rate", &RATE.to_string(), "--ticks", &ticks, "--ring-bytes", "1048576"];
    let mut server = Server::start(&arguments);
    let address = server.address().to_string();
    let mut stopped = Python::start(&program, &["run", &address, "5"]);
    assert_eq!(stopped.line(), "ready");
    let (before, halves, latencies) = block_on(async {
        let mut live = JoinSet::new();
        for _ in 0..3 {
            let mut client = Client::open(server.address()).await;
            client.subscribe(json!({"symbols": ["*"], "channels": CHANNELS})).await;
            live.spawn_local(async move {
                client.read_for(Duration::from_millis(500)).await;
                client.ledger.latency = Some(Histogram::default());
                client.read_for(Duration::from_secs(seconds)).await;
                let latency = client.ledger.latency.take().unwrap();
                client.until("the end", has_ended).await;
                let here = client.ledger.here();
                assert_eq!((here.merged, here.lost), (0, 0), "others miss nothing");
                latency
            });
        }
        sleep(Duration::from_millis(500)).await;
        stopped.signal("STOP");
        let before = server.resident();
        // At the most in the first half, and in the second.
        let (mut halves, began) = ([before; 2], Instant::now());
        let time = Duration::from_secs(seconds);
        while began.elapsed() < time {
            sleep(Duration::from_millis(100)).await;
            let half = usize::from(began.elapsed() > time / 2);
            halves[half] = halves[half].max(server.resident());
        }
        stopped.signal("CONT");
        (before, halves, live.join_all().await)
    });
    let summary = stopped.summary();
    // Its own outbox, and what a young market's books grow by: the more slowly, the longer it takes.
    assert!(halves[1] < before + (12 << 20), "{before} bytes before, {halves:?} while it was stopped");
    assert!(halves[1] < halves[0] + (4 << 20), "{before} bytes before, {halves:?} while it was stopped");
    for latency in &latencies {
        assert!(latency.quantile(1.0) < 1_000_000_000, "{} ns at the most", latency.quantile(1.0));
    }
    assert!(number(&summary, "/connections") >= 1 && number(&summary, "/covered") > 0, "{summary}");
    server.assert_well();
    let p99 = latencies.iter().map(|latency| latency.quantile(0.99) as f64 / 1e6).fold(0.0, f64::max);
    println!(
        "stopped for {seconds} s: {} KiB more in the server, live p99 {p99:.2} ms; it says {summary}",
        halves[1].saturating_sub(before) >> 10
    );
}
