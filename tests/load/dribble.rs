//! Little by little: handshakes that never end, and frames that come a byte at a time.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tickcast::limits;
use tickcast::shard::Protocol;
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::checker::Checker;
use crate::server::{PATIENCE, Server};
use crate::socket::{CLOSE, CONTINUATION, PING, PONG, Socket, TEXT, frame, handshake, raw_frame};
use crate::{block_on, is_full};

/// Room for the strangers and for what else is open.
fn raise_descriptors(wanted: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    if now.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: now.maximum })
            .expect("as many open files as the full form needs");
    }
}

/// Clients that subscribe, verify every sequence, and meter their latency, for so many seconds.
fn live_clients(server: &Server, connections: usize, seconds: u64) -> std::process::Child {
    Command::new(env!("CARGO_BIN_EXE_tickcast"))
        .args(["bench", "--json", "--warmup", "0.5", "--url", &format!("ws://{}/ws", server.address())])
        .args(["--connections", &connections.to_string(), "--duration", &seconds.to_string()])
        .args(["--channels", "quotes,trades", "--symbols-per-connection", "all"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What they saw, once it is over.
fn seen(clients: std::process::Child) -> Value {
    let output = clients.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn slow_handshakes_are_gone_in_time_beside_live_clients() {
    let (strangers, live, seconds) = if is_full() { (5_000, 200, 10) } else { (300, 20, 2) };
    raise_descriptors(strangers as u64 + 1_000);
    let mut server = Server::start(&["--rate", "2000", "--symbols", "4"]);
    let alone = seen(live_clients(&server, live, seconds));
    let clients = live_clients(&server, live, seconds);
    let address = server.address();
    let (resident, began) = (server.resident(), Instant::now());
    let worst = block_on(async {
        let mut sockets = Vec::new();
        for _ in 0..strangers {
            sockets.push((TcpStream::connect(address).await.unwrap(), Instant::now()));
        }
        let request = handshake(Protocol::Json);
        let (mut pace, mut worst) = (interval(Duration::from_millis(500)), Duration::ZERO);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Two bytes a second: the whole request would take minutes.
        for byte in request.bytes().cycle() {
            pace.tick().await;
            sockets.retain_mut(|(socket, since)| {
                // It may have been closed by now: reading tells.
                let _ = socket.try_write(&[byte]);
                let mut said = [0; 256];
                let is_open = match socket.try_read(&mut said) {
                    Ok(0) => false,
                    Ok(_) => true,
                    Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
                };
                if !is_open {
                    worst = worst.max(since.elapsed());
                }
                is_open
            });
            if sockets.is_empty() {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{} are still there", sockets.len());
        }
        worst
    });
    let grown = server.resident().saturating_sub(resident);
    let beside = seen(clients);
    let p99 = |seen: &Value| seen["latency"]["p99"].as_f64().expect("a latency") / 1e3;
    println!(
        "{strangers} slow handshakes: the last gone {worst:?} after it came; resident +{} KiB at the end; {live} live clients: p99 \
         {:.0} us alone, {:.0} us beside them",
        grown >> 10,
        p99(&alone),
        p99(&beside)
    );
    let metrics = server.metrics();
    let ended = metrics.get("tickcast_door_timeouts_total") + metrics.get("tickcast_door_refused_total");
    assert_eq!(ended, strangers as f64, "each was told to go, none by an accident");
    assert!(worst < limits::HANDSHAKE_TIME + Duration::from_secs(5), "{worst:?}");
    server.assert_well();
    server.wait_until_empty();
}

#[test]
fn frames_that_come_byte_by_byte_are_read_while_ticks_flow() {
    let rounds = if is_full() { 200 } else { 20 };
    let mut server = Server::start(&["--rate", "10000"]);
    let address = server.address();
    block_on(async {
        let mut socket = Socket::open(address, Protocol::Binary).await;
        let mut checker = Checker::default();
        let subscribe =
            br#"{"op":"subscribe","id":"snapshot","symbols":["*"],"channels":["quotes","trades","book","orders"],"snapshot":true}"#;
        let list = br#"{"op":"ping","id":"cut"}"#;
        let (head, tail) = list.split_at(9);
        let mut bytes = frame(TEXT, subscribe);
        for _ in 0..rounds {
            bytes.extend(raw_frame(TEXT, true, head));
            bytes.extend(frame(PING, b"between"));
            bytes.extend(raw_frame(CONTINUATION, true, b""));
            bytes.extend(raw_frame(0x80 | CONTINUATION, true, tail));
        }
        let (mut pongs, mut answers) = (0, 0);
        for byte in bytes {
            socket.write(&[byte]).await.unwrap();
            socket.read_now().unwrap();
            while let Some((opcode, payload)) = socket.take() {
                count(opcode, payload, &mut pongs, &mut answers);
                checker.take(opcode, payload);
            }
        }
        // And some more of the market behind the last answer.
        let until = checker.messages + 1_000;
        while pongs < rounds || answers < rounds || checker.messages < until {
            let frame = socket.next().await;
            count(frame.opcode, &frame.payload, &mut pongs, &mut answers);
            checker.take(frame.opcode, &frame.payload);
        }
        assert_eq!((pongs, answers, &checker.closed), (rounds, rounds, &None));
        assert_eq!(checker.replies, 1, "the subscription");
        println!("{rounds} requests byte by byte, beside {} messages verified", checker.messages);
    });
    server.assert_well();
}

fn count(opcode: u8, payload: &[u8], pongs: &mut usize, answers: &mut usize) {
    match opcode {
        PONG => {
            assert_eq!(payload, b"between");
            *pongs += 1;
        }
        TEXT if payload.starts_with(br#"{"type":"pong","id":"cut""#) => *answers += 1,
        _ => {}
    }
}

#[test]
fn who_floods_and_comes_back_costs_little() {
    let seconds = if is_full() { 60 } else { 2 };
    let mut server = Server::start(&["--rate", "1000", "--ring-bytes", "4194304"]);
    let address = server.address();
    block_on(async {
        let mut witness = Socket::open(address, Protocol::Binary).await;
        let mut checker = Checker::default();
        witness
            .send(r#"{"op":"subscribe","id":"snapshot","symbols":["*"],"channels":["quotes","trades"],"snapshot":true}"#)
            .await;
        for (what, flood, code) in
            [("pings", frame(PING, b"?"), 1008), ("requests", frame(TEXT, br#"{"op":"ping"}"#), 4029)]
        {
            let mut cores = [0.0, 0.0];
            let (mut frames, mut closed) = (0_u64, 0_u64);
            let memory = server.resident();
            // Without the flood, then with it.
            for is_flooded in [false, true] {
                let (before, began) = (server.processor_time(), Instant::now());
                let burst = flood.repeat(1_000);
                let mut pace = interval(Duration::from_millis(10));
                let mut flooder = Socket::open(address, Protocol::Json).await;
                while began.elapsed() < Duration::from_secs(seconds) {
                    pace.tick().await;
                    if is_flooded {
                        frames += 1_000;
                        // It may have been closed before all was written; then it comes back.
                        let _ = flooder.write(&burst).await;
                        if let Some(said) = close_code(&mut flooder).await {
                            assert_eq!(said, code, "{what}");
                            closed += 1;
                            flooder = Socket::open(address, Protocol::Json).await;
                        }
                    }
                    witness.read_now().unwrap();
                    while let Some((opcode, payload)) = witness.take() {
                        checker.take(opcode, payload);
                    }
                    for ping in checker.pings.drain(..) {
                        witness.write(&frame(PONG, &ping)).await.unwrap();
                    }
                }
                let used = server.processor_time() - before;
                cores[usize::from(is_flooded)] = used.as_secs_f64() / began.elapsed().as_secs_f64();
            }
            println!(
                "{frames} {what} in {seconds} s from one who comes back: closed {closed} times with {code}; server {:.3} cores \
                 without, {:.3} with; resident {:+} KiB",
                cores[0],
                cores[1],
                (server.resident() as i64 - memory as i64) >> 10
            );
            assert!(closed > 0);
            assert!(server.resident() < memory + (16 << 20), "memory grew");
        }
        assert!(checker.messages > 100 && checker.closed.is_none());
    });
    server.assert_well();
}

/// The code with which the server has closed a session, where it has; what it says else is read away.
async fn close_code(socket: &mut Socket) -> Option<u16> {
    let mut code = None;
    while let Ok(Some(frame)) = timeout(Duration::from_millis(5), socket.next_or_end()).await {
        if frame.opcode == CLOSE {
            code = Some(frame.close().0);
            break;
        }
    }
    code
}
