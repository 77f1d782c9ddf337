//! Work is shared: a message is encoded once however many want it, and a batch is written once to each who does.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tickcast::feed::{Description, Writer};
use tickcast::shard::Protocol;
use tickcast::sim::{Rate, Simulation, SimulationSettings, profiles};
use tickcast::source::{Next, Source};

use crate::checker::Checker;
use crate::server::{Metrics, PATIENCE, Server};
use crate::socket::Socket;
use crate::{block_on, common};

/// A finite market: four symbols, so many ticks.
fn record(path: &Path, ticks: u64) {
    let settings = SimulationSettings {
        seed: 7,
        instruments: profiles(4),
        rate: Rate::PerSecond(10_000),
        ticks: Some(ticks),
    };
    let mut market = Simulation::new(settings).unwrap();
    let instruments = market.catalog().instruments().to_vec();
    let mut writer = Writer::create(path, &Description::new("a simulated market", instruments)).unwrap();
    let (mut now_ns, mut primaries) = (0, Vec::new());
    loop {
        let next = market.poll(now_ns, &mut primaries).unwrap();
        primaries.drain(..).for_each(|primary| writer.push(&primary).unwrap());
        match next {
            Next::At(due_ns) => now_ns = due_ns,
            Next::Ended => break,
            _ => {}
        }
    }
    writer.finish().unwrap();
}

fn replay(path: &Path) -> Server {
    let file = path.to_str().unwrap();
    Server::start(&["--replay", file, "--start-paused", "--speed", "max", "--slow-consumer", "block"])
}

const EVERYTHING: &str = r#"{"op":"subscribe","id":"snapshot","symbols":["*"],"channels":["quotes","trades","book","ticker","status"],"snapshot":true}"#;

/// So many subscribers of everything hear the whole recording. What each of them saw.
async fn hear(server: &Server, subscribers: usize) -> Vec<Checker> {
    let mut clients = Vec::new();
    for _ in 0..subscribers {
        let mut socket = Socket::open(server.address(), Protocol::Binary).await;
        socket.send(EVERYTHING).await;
        let mut checker = Checker::default();
        // Statuses, books, quotes and tickers of four symbols: all there before the first event.
        while checker.replies == 0 || checker.snapshots < 16 {
            let frame = socket.next().await;
            checker.take(frame.opcode, &frame.payload);
        }
        clients.push((socket, checker));
    }
    assert!(server.post("/api/v1/replay", r#"{"action":"play"}"#).contains("state"));
    let mut listeners = tokio::task::JoinSet::new();
    for (mut socket, mut checker) in clients {
        listeners.spawn(async move {
            while !checker.has_ended {
                let frame = socket.next().await;
                checker.take(frame.opcode, &frame.payload);
            }
            (socket, checker)
        });
    }
    let heard = listeners.join_all().await;
    heard.into_iter().map(|(_, checker)| checker).collect()
}

#[test]
fn a_message_is_encoded_once_for_one_subscriber_and_for_a_thousand() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("market.feed");
    record(&file, 3_000);
    let [alone, crowd] = [1, 1_000].map(|subscribers| {
        let mut server = replay(&file);
        let heard = block_on(hear(&server, subscribers));
        assert_eq!(heard.len(), subscribers);
        for checker in &heard {
            assert_eq!(checker.messages, heard[0].messages, "everyone hears all of it");
        }
        server.assert_well();
        let metrics = server.metrics();
        (metrics, heard[0].messages)
    });
    let encodes = |metrics: &Metrics| metrics.get("tickcast_encodes_total");
    println!(
        "sharing: {} messages to each of 1 and 1,000 subscribers: encodes {} and {}, delivered {} and {}, writes {} and {}",
        alone.1,
        encodes(&alone.0),
        encodes(&crowd.0),
        alone.0.get("tickcast_delivered_total"),
        crowd.0.get("tickcast_delivered_total"),
        alone.0.get("tickcast_writes_total"),
        crowd.0.get("tickcast_writes_total"),
    );
    assert_eq!(alone.1, crowd.1);
    assert_eq!(encodes(&alone.0), encodes(&crowd.0));
    assert_eq!(alone.0.get("tickcast_delivered_total") * 1_000.0, crowd.0.get("tickcast_delivered_total"));
}

/// Calls that could write to a socket. `socket2`'s `send` is `sendto`.
const CALLS: &str = "trace=sendto,sendmsg,sendmmsg,write,writev";

#[test]
fn the_kernel_sees_as_many_writes_as_are_counted() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        return common::skip("strace is not installed");
    }
    let folder = TempDir::new().unwrap();
    let (file, table) = (folder.path().join("market.feed"), folder.path().join("calls"));
    record(&file, 5_000);
    // The one shard's thread alone: the door's writes are answers to plain HTTP.
    let file = file.to_str().unwrap();
    let server = Server::start(&[
        "--replay",
        file,
        "--start-paused",
        "--speed",
        "max",
        "--slow-consumer",
        "block",
        "--shards",
        "1",
    ]);
    // A thread gives itself its name when it first runs: one that has answered has done so.
    assert!(server.get("/api/v1/connections").contains("connections"));
    let thread = server.thread("shard-0");
    let writes = |server: &Server| server.metrics().get("tickcast_writes_total");
    let before = writes(&server);
    let mut strace = Command::new("strace")
        .args(["-c", "-e", CALLS, "-p", &thread.to_string(), "-o"])
        .arg(&table)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while !is_traced(thread) {
        if strace.try_wait().unwrap().is_some() {
            let output = strace.wait_with_output().unwrap();
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return common::skip(&format!("strace may not attach: {why}"));
        }
        assert!(began.elapsed() < PATIENCE);
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let attached = writes(&server);
    let heard = block_on(hear(&server, 20));
    assert_eq!(heard.len(), 20);
    server.wait_until_empty();
    let heard_out = writes(&server);
    let pid = strace.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
    strace.wait().unwrap();
    let detached = writes(&server);

    let table = fs::read_to_string(&table).unwrap();
    let calls = |name: &str| -> f64 {
        let row = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
        row.filter(|row| row.last() == Some(&name)).map(|row| row[3].parse::<f64>().unwrap()).sum()
    };
    println!("sharing: {} writes counted, {} sendto seen by strace", heard_out - attached, calls("sendto"));
    // Nobody was connected while strace came and went, so that both counted the same writes.
    assert_eq!((before, heard_out), (attached, detached), "a write while strace attached or let go");
    assert_eq!(calls("sendto"), heard_out - attached, "{table}");
    for other in ["sendmsg", "sendmmsg", "writev"] {
        assert_eq!(calls(other), 0.0, "{table}");
    }
}

fn is_traced(thread: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap();
    status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() != "0"))
}
