//! What a session may get wrong: each has its exact answer, and nobody else notices.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tickcast::limits;
use tickcast::shard::Protocol;
use tokio::io::AsyncWriteExt;
use tokio::time::{interval, timeout};

use crate::block_on;
use crate::checker::Checker;
use crate::server::Server;
use crate::socket::{BINARY, CLOSE, CONTINUATION, PING, PONG, Socket, TEXT, frame, raw_frame};

const WATCHED: &str = r#"{"op":"subscribe","id":"snapshot","symbols":["*"],"channels":["quotes","trades","book"],"snapshot":true}"#;

/// One who listens beside all that happens; a second without anything wrong is what it shows.
struct Witness {
    socket: Socket,
    checker: Checker,
}

impl Witness {
    async fn new(address: SocketAddr) -> Witness {
        let mut socket = Socket::open(address, Protocol::Binary).await;
        socket.send(WATCHED).await;
        Witness { socket, checker: Checker::default() }
    }

    /// Reads all that has come, and some of what comes.
    async fn testify(&mut self) {
        let until = self.checker.messages + 200;
        while self.checker.messages < until {
            let frame = self.socket.next().await;
            self.checker.take(frame.opcode, &frame.payload);
        }
        assert_eq!(self.checker.closed, None);
    }
}

#[test]
fn a_wrong_request_gets_its_error_and_the_session_goes_on() {
    let mut server = Server::start(&["--rate", "5000"]);
    let many = |count: usize| vec!["\"A\""; count].join(",");
    let wrong = [
        ("", "bad_request", "message"),
        ("hello", "bad_request", "JSON"),
        ("{\"op\":", "bad_request", "JSON"),
        ("[]", "bad_request", "object"),
        ("7", "bad_request", "object"),
        ("{}", "bad_request", "op"),
        ("{\"op\":7}", "bad_request", "op"),
        ("{\"op\":\"fly\"}", "unknown_op", "fly"),
        ("{\"op\":\"ping\",\"id\":{}}", "bad_request", "id"),
        ("{\"op\":\"subscribe\"}", "bad_request", "symbols"),
        (
            "{\"op\":\"subscribe\",\"symbols\":\"BTC-USD\",\"channels\":[\"quotes\"]}",
            "bad_request",
            "symbols",
        ),
        ("{\"op\":\"subscribe\",\"symbols\":[7],\"channels\":[\"quotes\"]}", "bad_request", "symbols"),
        ("{\"op\":\"subscribe\",\"symbols\":[\"BTC-USD\"],\"channels\":[null]}", "bad_request", "channels"),
        ("{\"op\":\"subscribe\",\"symbols\":[\"NOPE\"],\"channels\":[\"quotes\"]}", "unknown_symbol", "NOPE"),
        (
            "{\"op\":\"subscribe\",\"symbols\":[\"BTC-USD\",\"NOPE\"],\"channels\":[\"quotes\"]}",
            "unknown_symbol",
            "NOPE",
        ),
        (
            "{\"op\":\"unsubscribe\",\"symbols\":[\"NOPE\"],\"channels\":[\"quotes\"]}",
            "unknown_symbol",
            "NOPE",
        ),
        (
            "{\"op\":\"subscribe\",\"symbols\":[\"BTC-USD\"],\"channels\":[\"news\"]}",
            "unknown_channel",
            "news",
        ),
        (
            "{\"op\":\"subscribe\",\"symbols\":[\"BTC-USD\"],\"channels\":[\"book\"],\"depth\":0}",
            "bad_request",
            "depth",
        ),
        (
            "{\"op\":\"subscribe\",\"symbols\":[\"BTC-USD\"],\"channels\":[\"book\"],\"depth\":1e3}",
            "bad_request",
            "depth",
        ),
        (
            "{\"op\":\"subscribe\",\"symbols\":[\"BTC-USD\"],\"channels\":[\"book\"],\"snapshot\":1}",
            "bad_request",
            "snapshot",
        ),
        ("{\"op\":\"auth\",\"token\":\"x\"}", "unavailable", "authentication"),
    ];
    let long = [
        format!("{{\"op\":\"subscribe\",\"symbols\":[{}],\"channels\":[\"quotes\"]}}", many(10_001)),
        format!("{{\"op\":\"ping\",\"id\":\"{}\"}}", "x".repeat(200)),
    ];
    let deep = "[".repeat(60_000);
    block_on(async {
        let mut witness = Witness::new(server.address()).await;
        for protocol in Protocol::ALL {
            let mut socket = Socket::open(server.address(), protocol).await;
            let cases = wrong
                .iter()
                .copied()
                .chain(long.iter().map(|text| (text.as_str(), "limit_exceeded", "at most")))
                .chain([(deep.as_str(), "bad_request", "JSON")]);
            for (text, code, named) in cases {
                socket.send(text).await;
                let error = socket.next().await.json();
                let shown = &text[..text.len().min(100)];
                assert_eq!(
                    (&error["type"], &error["code"]),
                    (&"error".into(), &code.into()),
                    "{shown}: {error}"
                );
                let message = error["message"].as_str().unwrap();
                assert!(message.contains(named), "{shown}: {message}");
                assert!(message.len() < 400, "{shown}: {message}");
            }
            socket.send(r#"{"op":"ping","id":"still here"}"#).await;
            assert_eq!(socket.next().await.json()["id"], "still here");
            witness.testify().await;
        }
    });
    server.assert_well();
    let refused = server.metrics().get("tickcast_client_refusals_total");
    assert_eq!(refused, ((wrong.len() + 3) * 2) as f64);
}

#[test]
fn a_broken_rule_closes_with_its_code() {
    let mut server = Server::start(&["--rate", "5000"]);
    let limit = limits::TEXT_BYTES_MAX;
    let huge = {
        let mut head = vec![0x80 | TEXT, 0xFF];
        head.extend((1_u64 << 40).to_be_bytes());
        head
    };
    let broken: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("binary message", frame(BINARY, b"\x01"), 1003, "binary"),
        ("text over the limit", frame(TEXT, &vec![b' '; limit + 1]), 1009, "65536"),
        ("a terabyte announced", huge, 1009, "65536"),
        (
            "fragments over the limit",
            [raw_frame(TEXT, true, &vec![b' '; limit]), frame(CONTINUATION, b"  ")].concat(),
            1009,
            "65536",
        ),
        (
            "endless fragments",
            [raw_frame(TEXT, true, b""), raw_frame(CONTINUATION, true, b"").repeat(2_000)].concat(),
            1009,
            "fragments",
        ),
        ("no UTF-8", frame(TEXT, b"{\"op\":\"\xff\"}"), 1007, "UTF-8"),
        ("UTF-8 cut short", frame(TEXT, b"\xe2\x82"), 1007, "UTF-8"),
        ("unmasked", raw_frame(0x80 | TEXT, false, b"{}"), 1002, "mask"),
        ("reserved bit", raw_frame(0xC0 | TEXT, true, b"{}"), 1002, ""),
        ("reserved opcode", raw_frame(0x83, true, b""), 1002, ""),
        ("long ping", frame(PING, &[0; 126]), 1002, ""),
        ("long pong", frame(PONG, &[0; 126]), 1002, ""),
        ("fragmented ping", raw_frame(PING, true, b""), 1002, "fragment"),
        ("continuation of nothing", frame(CONTINUATION, b""), 1002, "continu"),
        (
            "message in a message",
            [raw_frame(TEXT, true, b"{"), frame(TEXT, b"{}")].concat(),
            1002,
            "fragment",
        ),
        ("close of one byte", frame(CLOSE, b"\x03"), 1002, "close"),
        ("close code 1005", frame(CLOSE, &1005_u16.to_be_bytes()), 1002, "1005"),
        ("close reason no UTF-8", frame(CLOSE, b"\x03\xe8\xff"), 1007, "UTF-8"),
    ];
    block_on(async {
        let mut witness = Witness::new(server.address()).await;
        for protocol in Protocol::ALL {
            for (what, bytes, code, named) in &broken {
                let mut socket = Socket::open(server.address(), protocol).await;
                socket.send(r#"{"op":"subscribe","symbols":["BTC-USD"],"channels":["quotes"]}"#).await;
                socket.reply("subscribed").await;
                // What follows the fault is not looked at.
                let bytes = [&bytes[..], &frame(TEXT, br#"{"op":"ping"}"#)].concat();
                socket.write(&bytes).await.unwrap();
                let (closed, reason) = socket.closed().await;
                assert_eq!(closed, *code, "{what}: {reason}");
                assert!(reason.contains(named) && !reason.is_empty(), "{what}: {reason}");
            }
            witness.testify().await;
        }
    });
    server.assert_well();
    assert_eq!(server.metrics().get("tickcast_closed_protocol_total"), (broken.len() * 2) as f64);
    server.wait_until_empty();
}

#[test]
fn a_flood_is_closed_with_its_code_and_disturbs_nobody() {
    let mut server = Server::start(&["--rate", "5000", "--ring-bytes", "4194304"]);
    let address = server.address();
    let before = server.processor_time();
    block_on(async {
        let mut witness = Witness::new(address).await;
        for (flood, code, reason) in [
            (frame(TEXT, br#"{"op":"ping"}"#), 4029, "more than 1000 requests a second"),
            (frame(TEXT, b"not even JSON"), 4029, "more than 1000 requests a second"),
            (frame(PING, b"?"), 1008, "more than 100 pings and pongs a second"),
            (frame(PONG, b""), 1008, "more than 100 pings and pongs a second"),
        ] {
            let mut socket = Socket::open(address, Protocol::Json).await;
            // It may be closed before all of it is written.
            let _ = socket.write(&flood.repeat(100_000)).await;
            let (said, why) = socket.closed().await;
            assert_eq!(said, code, "{why}");
            assert!(why.starts_with(reason), "{why}");
            witness.testify().await;
        }
        // What is allowed at once is answered.
        let mut socket = Socket::open(address, Protocol::Json).await;
        socket.write(&frame(TEXT, br#"{"op":"ping"}"#).repeat(1_000)).await.unwrap();
        for _ in 0..1_000 {
            socket.reply("pong").await;
        }
    });
    println!(
        "four floods of 100,000 frames: {:.2} s of a core",
        (server.processor_time() - before).as_secs_f64()
    );
    assert_eq!(server.metrics().get("tickcast_closed_rate_total"), 4.0);
    server.assert_well();
}

#[test]
fn a_flood_of_requests_starves_nobody() {
    const SECONDS: u64 = 3;
    let mut server = Server::start(&["--rate", "5000", "--ring-bytes", "4194304", "--request-rate", "0"]);
    // Books, the bus and the ring have filled by then: what grows is the flood's.
    block_on(async { Witness::new(server.address()).await.testify().await });
    let memory_before = server.resident();
    let processor_before = server.processor_time();
    let (answered, mut waits, witness) = block_on(async {
        let address = server.address();
        let mut listeners = tokio::task::JoinSet::new();
        listeners.spawn(async move {
            let mut witness = Witness::new(address).await;
            let done = timeout(Duration::from_secs(SECONDS), async {
                loop {
                    witness.testify().await;
                }
            });
            assert!(done.await.is_err());
            witness.checker.messages
        });
        let mut flood = tokio::task::JoinSet::new();
        flood.spawn(flood_with_pings(address, SECONDS));
        let waits = ask_beside(address, SECONDS).await;
        (flood.join_next().await.unwrap().unwrap(), waits, listeners.join_next().await.unwrap().unwrap())
    });
    server.assert_well();
    waits.sort_unstable();
    let (median, worst) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!(
        "flood: {} pings/s answered, server {:.2} cores; beside it {} pings of another session: median {median:?}, \
         worst {worst:?}; a subscriber verified {witness} messages",
        answered / SECONDS,
        (server.processor_time() - processor_before).as_secs_f64() / SECONDS as f64,
        waits.len(),
    );
    assert!(answered > 10_000, "{answered} pings are no flood");
    assert!(worst < Duration::from_secs(1), "{worst:?}");
    assert!(witness > 5_000);
    let grown = server.resident().saturating_sub(memory_before);
    println!("memory grew by {} KiB", grown >> 10);
    assert!(grown < 16 << 20, "{grown} bytes");
    server.wait_until_empty();
}

/// Up to 100,000 pings a second, and reads what comes back. How many were answered.
async fn flood_with_pings(address: SocketAddr, seconds: u64) -> u64 {
    let socket = Socket::open(address, Protocol::Json).await;
    let (mut reading, mut writing) = socket.stream.into_split();
    let burst = frame(TEXT, br#"{"op":"ping"}"#).repeat(1_000);
    let until = Instant::now() + Duration::from_secs(seconds);
    let writer = tokio::spawn(async move {
        let mut pace = interval(Duration::from_millis(10));
        while Instant::now() < until {
            pace.tick().await;
            if timeout(Duration::from_secs(seconds), writing.write_all(&burst)).await.is_err() {
                break;
            }
        }
        writing.write_all(&frame(CLOSE, b"")).await.unwrap();
    });
    // A pong is always as long as the next: it need not be parsed to be counted.
    let (mut bytes, mut buffer) = (0, vec![0; 1 << 16]);
    loop {
        match tokio::io::AsyncReadExt::read(&mut reading, &mut buffer).await.unwrap() {
            0 => break,
            read => bytes += read as u64,
        }
    }
    writer.await.unwrap();
    let pong = r#"{"type":"pong","ts_ns":"1795309129123456789"}"#.len() as u64 + 2;
    bytes / pong
}

/// One ping after the other; how long each took.
async fn ask_beside(address: SocketAddr, seconds: u64) -> Vec<Duration> {
    let mut socket = Socket::open(address, Protocol::Json).await;
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut waits = Vec::new();
    while Instant::now() < until {
        let asked = Instant::now();
        socket.send(r#"{"op":"ping"}"#).await;
        socket.reply("pong").await;
        waits.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    waits
}
