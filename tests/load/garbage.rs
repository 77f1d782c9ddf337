//! Thousands of strangers who send nothing that makes sense.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;
use socket2::SockRef;
use tickcast::shard::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::checker::Checker;
use crate::server::Server;
use crate::socket::{BINARY, Socket, TEXT, frame, handshake, raw_frame};
use crate::{block_on, is_full};

/// Strangers at a time.
const AT_ONCE: usize = 100;
const SEED: u64 = 20_260_101;

#[test]
fn strangers_disturb_nobody() {
    let strangers = if is_full() { 10_000 } else { 2_000 };
    let mut server = Server::start(&["--rate", "10000"]);
    let address = server.address();
    let (messages, descriptors) = block_on(async {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut socket = Socket::open(address, Protocol::Binary).await;
        socket
            .send(r#"{"op":"subscribe","id":"snapshot","symbols":["*"],"channels":["quotes","trades","book"],"snapshot":true}"#)
            .await;
        let descriptors = server.descriptors();
        let live = tokio::spawn({
            let is_over = is_over.clone();
            async move {
                let mut checker = Checker::default();
                while !is_over.load(Ordering::Relaxed) || checker.positions == 0 {
                    let frame = socket.next().await;
                    checker.take(frame.opcode, &frame.payload);
                    assert_eq!(checker.closed, None);
                }
                (socket, checker.messages)
            }
        });
        let next = Arc::new(AtomicUsize::new(0));
        let mut crowd = JoinSet::new();
        for _ in 0..AT_ONCE {
            let next = next.clone();
            crowd.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= strangers {
                        break;
                    }
                    disturb(address, number).await;
                }
            });
        }
        while let Some(done) = crowd.join_next().await {
            done.unwrap();
        }
        let metrics = server.settled("the strangers are gone", |metrics| {
            metrics.get("tickcast_sessions") == 1.0 && metrics.get("tickcast_door_connections") <= 1.0
        });
        assert_eq!(metrics.get("tickcast_subscriptions"), 60.0, "those of the one who stayed");
        assert!(
            metrics.get("tickcast_sessions_opened_total") > strangers as f64 / 4.0,
            "many came in: {metrics:?}"
        );
        // The connection of the last question may not be closed yet.
        let left = server.descriptors();
        assert!(left <= descriptors + 1, "{descriptors} descriptors before, {left} after");
        is_over.store(true, Ordering::Relaxed);
        let (_socket, messages) = live.await.unwrap();
        server.assert_well();
        (messages, left)
    });
    server.assert_well();
    server.wait_until_empty();
    println!(
        "garbage: {strangers} strangers, {AT_ONCE} at a time, seed {SEED}; the subscriber beside them verified \
         {messages} messages; {descriptors} descriptors at the end"
    );
}

/// Whoever resets the connection while his requests are being answered leaves the rest of them behind: nobody is there
/// to answer, and they are not to be carried out for whoever comes next.
#[test]
fn requests_of_a_client_that_is_gone_are_let_be() {
    let mut server = Server::start(&["--rate", "1"]);
    block_on(async {
        let row = frame(TEXT, br#"{"op":"ping"}"#).repeat(250);
        for _ in 0..200 {
            let mut socket = Socket::open(server.address(), Protocol::Json).await;
            socket.write(&row).await.unwrap();
            SockRef::from(&socket.stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    });
    server.wait_until_empty();
    server.assert_well();
    let carried_out = server.metrics().get("tickcast_client_requests_total");
    println!("garbage: {carried_out} of 50,000 requests carried out for 200 clients that were gone");
}

/// One stranger.
async fn disturb(address: SocketAddr, number: usize) {
    let mut random = Pcg64::seed_from_u64(SEED + number as u64);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let protocol = if random.random() { Protocol::Binary } else { Protocol::Json };
    let head = handshake(protocol).into_bytes();
    let noise = |random: &mut Pcg64, bytes_max: usize| {
        let mut bytes = vec![0; random.random_range(1..bytes_max)];
        random.fill_bytes(&mut bytes);
        bytes
    };
    let everything =
        r#"{"op":"subscribe","symbols":["*"],"channels":["quotes","trades","book","ticker","status"]}"#;
    let ping = frame(TEXT, br#"{"op":"ping"}"#);
    let bytes = match number % 14 {
        0 => Vec::new(),
        1 => noise(&mut random, 20_000),
        // A handshake that breaks off.
        2 => head[..random.random_range(1..head.len())].to_vec(),
        3 => b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20),
        // How TLS begins.
        4 => [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &noise(&mut random, 512)].concat(),
        5 => [head, noise(&mut random, 5_000)].concat(),
        6 => [head, raw_frame(0x80 | TEXT, false, b"{\"op\":\"ping\"}")].concat(),
        7 => [head, frame(TEXT, &vec![b'x'; 100_000])].concat(),
        8 => [head, frame(BINARY, &noise(&mut random, 1_000))].concat(),
        9 => [head, frame(TEXT, &noise(&mut random, 200))].concat(),
        // Requests beyond what is read at once, and gone.
        10 => [head, ping.repeat(300)].concat(),
        11 => [head, frame(TEXT, everything.as_bytes()), ping.repeat(50)].concat(),
        12 => [head, frame(TEXT, everything.as_bytes()).repeat(5)].concat(),
        // The start of a frame whose end never comes.
        _ => [head, ping[..random.random_range(1..ping.len())].to_vec()].concat(),
    };
    // The server may hang up before all of it is written.
    let _ = timeout(Duration::from_secs(2), stream.write_all(&bytes)).await;
    match random.random_range(0..4) {
        // Gone at once; with a reset, so that the server's next write fails.
        0 => {
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        // Gone in the middle of the answer.
        1 => {
            let _ = timeout(Duration::from_millis(100), stream.read(&mut [0; 200])).await;
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        // Stays a moment without reading.
        2 => sleep(Duration::from_millis(random.random_range(0..50))).await,
        // Reads what there is to read, for a while.
        _ => {
            let all = async {
                let mut buffer = [0; 4_096];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
            };
            let _ = timeout(Duration::from_millis(100), all).await;
        }
    }
}
