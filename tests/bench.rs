//! `tickcast bench` from outside: what it counts, that it fails where something was lost, that it sees a server that
//! stands still.

use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

fn command(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickcast"));
    command.arg("bench").args(arguments.split_whitespace()).stdin(Stdio::null());
    command
}

fn output(arguments: &str) -> (Output, String) {
    let output = command(arguments).output().unwrap();
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    (output, error)
}

/// The result of a run that is good.
fn result(arguments: &str) -> Value {
    let (output, error) = output(&format!("{arguments} --json"));
    assert!(output.status.success(), "{arguments}: {error}");
    assert_eq!(error, "", "nothing to say in a pipe");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let faults = &result["faults"];
    for key in ["gaps", "missing", "repeated", "checksums", "connections"] {
        assert_eq!(faults[key], 0, "{arguments}: {faults}");
    }
    result
}

fn number(value: &Value, path: &str) -> f64 {
    value.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number at {path} in {value}"))
}

#[test]
fn every_workload_runs_and_loses_nothing() {
    // Fewer clients than the workload has, so that each run is short.
    for (workload, least_messages) in [
        ("market --connections 10", 1_000.0),
        ("market --connections 5 --protocol json", 1_000.0),
        ("fanout-1x1000 --connections 20", 1_000.0),
        ("fanout-1x1000 --connections 20 --gather max", 10_000.0),
        ("fanout-100x500 --connections 20", 1_000.0),
        ("firehose", 10_000.0),
        // A symbol ticks once a second.
        ("ten-thousand --connections 200 --symbols 200 --rate 1000", 50.0),
        ("ten-thousand-idle --connections 200", 0.0),
        ("latency-1", 100.0),
        ("latency-100", 1_000.0),
        ("dashboard-500 --connections 20", 100.0),
        ("open-burst --connections 10", 1_000.0),
    ] {
        let result = result(&format!("--workload {workload} --duration 0.5 --warmup 0.2"));
        let (frames, messages) = (number(&result, "/frames"), number(&result, "/messages"));
        assert!(messages >= least_messages, "{workload}: {messages}");
        assert!(workload.contains("idle") || frames > 0.0, "{workload}");
        assert!(number(&result, "/ledger/delivered") >= messages.min(1.0), "{workload}");
        assert!(number(&result, "/server/cores") > 0.0, "{workload}: {}", result["server"]);
        if workload.contains("max") {
            assert!(number(&result, "/generator_cores") > 0.0, "{workload}");
        }
        assert!(number(&result, "/server/bytes_per_connection") >= 0.0, "{workload}");
        let prepared =
            !["market", "dashboard-500", "open-burst"].contains(&workload.split(' ').next().unwrap());
        if prepared && messages > 0.0 {
            // One message a frame; snapshots have none.
            assert_eq!((frames, number(&result, "/bytes")), (messages, messages * 88.0), "{workload}");
            assert_eq!(number(&result, "/ledger/delivered"), messages, "{workload}");
        }
    }
    let (output, _) = output("--list");
    let listed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(listed.lines().count(), 10, "a workload is not tried above: {listed}");
}

#[test]
fn surges_are_told_with_how_long_they_took() {
    let result = result("--workload open-burst --connections 10 --duration 2.5 --warmup 0.2");
    let of = |key: &str| number(&result, &format!("/caught_up/{key}"));
    assert!((1.0..=3.0).contains(&of("surges")), "one a second: {}", result["caught_up"]);
    assert!(0.0 < of("p50") && of("p50") <= of("max"), "{}", result["caught_up"]);
    assert!(of("max") <= number(&result, "/latency/max"), "{}", result["caught_up"]);
    let steady = self::result("--workload latency-1 --duration 0.5 --warmup 0.2");
    assert_eq!(steady["caught_up"], Value::Null);
    let (output, error) = output("--workload open-burst --connections 10 --duration 1.5 --warmup 0.2");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("  caught up  "), "{table}{error}");
}

/// Stops and continues a process.
fn pause(process: u32, time: Duration) {
    let send = |signal: &str| {
        assert!(Command::new("kill").args([signal, &process.to_string()]).status().unwrap().success());
    };
    send("-STOP");
    // What is measured is that this time shows.
    std::thread::sleep(time);
    send("-CONT");
}

fn child_of(process: u32) -> u32 {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
        if let Some(child) = children.split_whitespace().next() {
            return child.parse().unwrap();
        }
        assert!(Instant::now() < deadline, "the server does not start");
        std::thread::yield_now();
    }
}

/// Whether a process has sent something to a client: by its metrics, found through the address it was given.
fn p999_ms(bench: Child, which: &str) -> f64 {
    let output = bench.wait_with_output().unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{result}");
    number(&result, &format!("/{which}/p999")) / 1e6
}

fn bench(arguments: &str) -> Child {
    command(arguments).args(["--json"]).stdout(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_server_that_stands_still_for_200_ms_shows_in_the_latency() {
    let bench = bench("--workload latency-1 --duration 4 --warmup 0.1");
    let server = child_of(bench.id());
    // By then it measures, and for long enough: a machine that is slower has its own pauses to show.
    std::thread::sleep(Duration::from_secs(2));
    pause(server, Duration::from_millis(200));
    let p999 = p999_ms(bench, "latency");
    assert!(p999 >= 150.0, "p99.9 {p999} ms of 4,000 messages, of which some 200 were due while it stood");
}

#[test]
fn so_does_one_that_was_not_started_by_the_bench() {
    let mut server = Command::new(env!("CARGO_BIN_EXE_tickcast"))
        .args(["serve", "--listen", "127.0.0.1:0", "--rate", "1000", "--symbols", "1", "--log", "warn"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut greeting = String::new();
    let mut out = std::io::BufReader::new(server.stdout.take().unwrap());
    while !greeting.contains("/ws") {
        std::io::BufRead::read_line(&mut out, &mut greeting).unwrap();
    }
    let url = greeting.split_whitespace().find(|word| word.starts_with("ws://")).unwrap();
    let bench = bench(&format!(
        "--url {url} --connections 1 --symbols-per-connection all --channels book --duration 4 --warmup 0.1"
    ));
    std::thread::sleep(Duration::from_secs(2));
    pause(server.id(), Duration::from_millis(200));
    let p999 = p999_ms(bench, "latency");
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(p999 >= 100.0, "p99.9 {p999} ms");
}

#[test]
fn slow_clients_are_counted_apart() {
    let result = result(
        "--connections 20 --slow-fraction 0.5 --slow-bytes-per-second 2000 --duration 2 --warmup 1 --rate 50000 --send-buffer-bytes 16384",
    );
    assert_eq!(result["slow_connections"], 10);
    assert!(number(&result, "/server/conflations") >= 10.0, "{}", result["server"]);
    assert_eq!(result["slow"]["closed"], 0);
    assert!(number(&result, "/messages") > 1_000.0 && number(&result, "/slow/messages") > 0.0);
}

#[test]
fn a_report_is_a_page_and_the_result() {
    let folder = tempfile::tempdir().unwrap();
    let folder_text = folder.path().join("a/b").display().to_string();
    let result = result(&format!(
        "--workload latency-100 --connections 5 --duration 0.5 --warmup 0 --report {folder_text}"
    ));
    let page = std::fs::read_to_string(folder.path().join("a/b/index.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), 3);
    assert!(page.contains("<h1>latency-100: 5 connections</h1>") && !page.contains("failed"), "{page}");
    for outside in ["http://", "https://", "<script", "<link", "NaN"] {
        let foreign = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!foreign.contains(outside), "{outside} in the page");
    }
    for plot in ["distribution", "latency", "rate"] {
        let drawn = std::fs::read_to_string(folder.path().join(format!("a/b/{plot}.svg"))).unwrap();
        assert!(page.contains(&drawn), "{plot} stands alone as well");
    }
    let stored = std::fs::read(folder.path().join("a/b/result.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&stored).unwrap(), result);
}

#[test]
fn the_table_says_what_was_measured() {
    let (output, error) = output("--workload latency-1 --duration 0.5 --warmup 0");
    assert!(output.status.success(), "{error}");
    let table = String::from_utf8(output.stdout).unwrap();
    for part in [
        "latency-1: 1 client, trades of 1 of 1 symbols each",
        "frames/s",
        "from when it was due",
        "server ",
        "none missing in silence: right",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
}

/// A server of this protocol that sends what it is told to whoever subscribes.
fn server_that_sends(frames: Vec<Vec<u8>>) -> SocketAddr {
    let (told, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(socket, frames.clone()));
            }
        });
    });
    address.recv().unwrap()
}

async fn serve(socket: tokio::net::TcpStream, frames: Vec<Vec<u8>>) {
    #[expect(clippy::result_large_err, reason = "the shape that the library asks for")]
    let protocol = |_: &Request, mut response: Response| {
        response.headers_mut().insert("Sec-WebSocket-Protocol", "tickcast.v1.bin".parse().unwrap());
        Ok(response)
    };
    let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(socket, protocol).await else { return };
    while let Some(Ok(Message::Text(text))) = socket.next().await {
        if text.contains("\"list\"") {
            let list = json!({"type": "instruments", "id": 1, "epoch": 1, "instruments": [{"symbol": "S0"}], "more": false});
            socket.send(Message::text(list.to_string())).await.unwrap();
            continue;
        }
        let granted = json!({"type": "subscribed", "id": 1, "more": false, "streams": [
            {"symbol": "S0", "instrument": 0, "channel": "trades", "price_exponent": 0, "quantity_exponent": 0,
             "epoch": 1, "seq": 0}]});
        socket.send(Message::text(granted.to_string())).await.unwrap();
        // The client is to be measuring: it has no warm-up.
        for frame in frames.iter().cycle().take(100_000) {
            if frame.is_empty() {
                tokio::time::sleep(Duration::from_millis(300)).await;
            } else if socket.send(Message::binary(frame.clone())).await.is_err() {
                return;
            }
        }
    }
}

/// A frame with one trade of that sequence.
fn trade(seq: u64) -> Vec<u8> {
    let mut frame = vec![1, 2, 1, 0, 0, 0, 0, 0];
    frame.extend_from_slice(&1_u64.to_le_bytes());
    frame.extend_from_slice(&72_u32.to_le_bytes());
    frame.extend_from_slice(&[2, 2, 0, 0]);
    for field in [seq, seq, 1, 1] {
        frame.extend_from_slice(&field.to_le_bytes());
    }
    frame.extend_from_slice(&[0; 32]);
    frame
}

#[test]
fn a_server_that_loses_repeats_or_breaks_something_fails_the_run() {
    let pause = Vec::new;
    for (frames, fault) in [
        (
            vec![pause(), trade(1), trade(3), pause(), pause(), pause(), pause()],
            "1 gaps (1 sequences missing)",
        ),
        (vec![pause(), trade(1), trade(1), pause(), pause(), pause(), pause()], "1 repeated"),
        (
            vec![pause(), vec![9; 20], pause()],
            "1 connections lost: the server breaks the protocol: a frame of version 9",
        ),
    ] {
        let address = server_that_sends(frames);
        let (output, error) =
            output(&format!("--url ws://{address}/ws --workload latency-1 --duration 1 --warmup 0"));
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("the run is not good") && error.contains(fault), "{fault}: {error}");
    }
    let address = server_that_sends(vec![Vec::new()]);
    let (_, error) =
        output(&format!("--url ws://{address}/ws --workload latency-1 --duration 0.5 --warmup 0"));
    assert!(error.contains("no message came"), "{error}");
}

#[test]
fn what_cannot_be_measured_is_said() {
    for (arguments, code, fault) in [
        ("--url ws://127.0.0.1:1/ws", 1, "cannot connect to ws://127.0.0.1:1/ws"),
        ("--server /no/such/server", 1, "cannot start the server (/no/such/server --symbols 20"),
        (
            "--workload latency-1 --symbols 2 --channels book",
            1,
            "0 of 1 clients were granted their streams: the server refuses the subscription: unavailable",
        ),
        (
            "--workload latency-1 --channels book",
            1,
            "0 of 1 clients were granted their streams: no symbol has these channels",
        ),
        (
            "--symbols 2 --symbols-per-connection 3 --connections 1",
            1,
            "the server has 2 instruments; each client is to have 3",
        ),
        ("--workload fast", 2, "allowed: market, fanout-1x1000"),
        (
            "--report /proc/none --workload latency-1 --duration 0.1 --warmup 0",
            1,
            "cannot write the report to /proc/none",
        ),
    ] {
        let (output, error) = output(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {error}");
        assert!(error.contains(fault), "{arguments}: {error}");
    }
}
