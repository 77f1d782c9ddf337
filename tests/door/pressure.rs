//! Slow, large, foreign and too many.

use std::time::{Duration, Instant};

use tickcast::shard::{Letter, mailbox};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

use crate::server::{PATIENCE, Server, handshake, read_to_end, settings, start, start_before};

/// Until a condition holds that another task brings about.
async fn until(condition: impl Fn() -> bool) {
    timeout(PATIENCE, async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the condition holds in the end");
}

#[tokio::test]
async fn a_request_that_dribbles_in_is_gone_after_the_deadline() {
    let mut settings = settings();
    settings.handshake_time = Duration::from_millis(250);
    let server = start(settings).await;
    let began = Instant::now();
    let mut silent = server.connect().await;
    let mut dribbling = server.connect().await;
    let request = handshake("");
    let mut pace = interval(Duration::from_millis(10));
    let mut sent = 0;
    let gone = loop {
        tokio::select! {
            read = dribbling.read_u8() => break read.is_err(),
            _ = pace.tick() => {
                // A byte each 10 ms would take more than two seconds.
                let _ = dribbling.write_all(&request.as_bytes()[sent..=sent]).await;
                sent += 1;
            }
        }
    };
    assert!(gone);
    assert!(read_to_end(&mut silent).await.is_none());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?} for {} bytes", began.elapsed(), request.len());
    until(|| server.stats.timeouts.get() == 2).await;
    assert_eq!(server.stats.upgraded.get(), 0);
}

#[tokio::test]
async fn an_idle_connection_ends_without_counting_as_slow() {
    let mut settings = settings();
    settings.handshake_time = Duration::from_millis(100);
    let server = start(settings).await;
    let answer = server.exchange("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(server.stats.timeouts.get(), 0);
}

#[tokio::test]
async fn heads_have_a_bound_in_bytes_and_lines() {
    let mut server = start(settings()).await;
    let get =
        |headers: &str| format!("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    let lines = |count: usize| "X: y\r\n".repeat(count);
    assert_eq!(server.exchange(get(&lines(62))).await.unwrap().status, 200);
    assert_eq!(server.exchange(get(&lines(63))).await.unwrap().status, 431);
    assert_eq!(server.exchange(get(&format!("X: {}\r\n", "y".repeat(7_900)))).await.unwrap().status, 200);
    assert_eq!(server.exchange(get(&format!("X: {}\r\n", "y".repeat(8_192)))).await.unwrap().status, 431);
    // Without an end it is refused too; a reset may overtake the answer, since not all of it was read.
    let endless = server.exchange(format!("GET /{}", "y".repeat(1 << 20))).await;
    assert!(endless.is_none_or(|answer| answer.status == 431), "an endless request line");
    assert_eq!(server.open("", b"").await.0.status, 101, "others are served as before");
    server.arrival().await;
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_disturbs_nobody() {
    let mut server = start(settings()).await;
    let (_, mut client) = server.open("", b"").await;
    let mut arrival = server.arrival().await;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..300 {
        // An xorshift generator: the bytes only have to differ, and to be the same in each run.
        let mut noise: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .take(1 + round * 7)
        .collect();
        noise.extend_from_slice(b"\r\n\r\n");
        let answer = server.exchange(&noise).await;
        assert!(answer.as_ref().is_none_or(|answer| answer.status == 400), "{answer:?}");
    }
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"\x81\x85abcd\x00\x00\x00\x00\x00\r\n\r\n",
    ] {
        let answer = server.exchange(bytes).await;
        assert!(answer.as_ref().is_none_or(|answer| answer.status == 400), "{answer:?}");
    }
    assert!(server.stats.malformed.get() >= 300, "{}", server.stats.malformed.get());
    std::io::Write::write_all(&mut arrival.socket, b"still here").unwrap();
    let mut bytes = [0; 10];
    client.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"still here");
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn requests_of_http_1_0_and_pipelined_ones_are_answered() {
    let server = start(settings()).await;
    let old = server.exchange("GET /healthz HTTP/1.0\r\n\r\n").await.unwrap();
    assert_eq!((old.status, old.body.as_str()), (200, "ok\n"));
    let two = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let both = server.exchange(two).await.unwrap();
    assert!(both.body.contains("ok\n") && both.body.ends_with("ready\n"), "{both:?}");
}

#[tokio::test]
async fn too_many_handshakes_are_turned_away_at_once() {
    let mut settings = settings();
    settings.handshakes_max = 2;
    let server = start(settings).await;
    let waiting: [TcpStream; 2] = [server.connect().await, server.connect().await];
    until(|| server.stats.accepted.get() == 2).await;
    let mut third = server.connect().await;
    let answer = read_to_end(&mut third).await.unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    drop(waiting);
    until(|| server.stats.connections.get() == 0).await;
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_burst_of_connections_loses_none() {
    const BURST: usize = 400;
    let mut server = start(settings()).await;
    let mut clients = Vec::new();
    for _ in 0..BURST {
        clients.push(server.connect().await);
    }
    for client in &mut clients {
        client.write_all(handshake("").as_bytes()).await.unwrap();
    }
    let mut arrivals = Vec::new();
    for _ in 0..BURST {
        arrivals.push(server.arrival().await);
    }
    assert_eq!((server.shard.seats_taken(), server.stats.lost.get()), (BURST, 0));
}

#[tokio::test]
async fn a_door_closes_soon_though_connections_are_open() {
    let server = start(settings()).await;
    let mut idle = server.connect().await;
    let silent = server.connect().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut chunk = [0; 1_024];
    assert!(idle.read(&mut chunk).await.unwrap() > 0);
    let Server { address, stop, door, .. } = server;
    stop.send(()).unwrap();
    timeout(Duration::from_secs(3), door).await.expect("it closes soon").unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody is let in any more");
    drop(silent);
}

#[tokio::test]
async fn a_session_waits_for_a_full_mailbox_and_leaves_with_1001_when_the_server_stops() {
    let (shard, mut letters) = mailbox(1);
    let (_, no_arrivals) = mpsc::unbounded_channel();
    let server = start_before(settings(), None, vec![shard], no_arrivals);
    let mut clients = Vec::new();
    for _ in 0..3 {
        let (answer, client) = server.open("", b"").await;
        assert_eq!(answer.status, 101);
        clients.push(client);
    }
    assert!(matches!(letters.recv().await, Some(Letter::Arrival(_))));
    assert!(matches!(letters.recv().await, Some(Letter::Arrival(_))), "the second came when there was room");
    until(|| letters.len() == 1).await;
    // The third fills the box; two more wait before it.
    for _ in 0..2 {
        clients.push(server.open("", b"").await.1);
    }
    let Server { stats, stop, door, .. } = server;
    stop.send(()).unwrap();
    timeout(PATIENCE, door).await.unwrap().unwrap().unwrap();
    assert_eq!(stats.lost.get(), 2);
    for client in &mut clients[3..] {
        let mut frame = Vec::new();
        timeout(PATIENCE, client.read_to_end(&mut frame)).await.unwrap().unwrap();
        assert_eq!(frame, [0x88, 2, 0x03, 0xe9], "a close frame with 1001");
    }
}

#[tokio::test]
async fn without_a_running_shard_the_answer_is_503() {
    let (shard, letters) = mailbox(1);
    drop(letters);
    let (_, no_arrivals) = mpsc::unbounded_channel();
    let server = start_before(settings(), None, vec![shard], no_arrivals);
    for answer in [
        server.get("/api/v1/instruments").await,
        server.exchange(handshake("Connection: close\r\n")).await.unwrap(),
    ] {
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        assert_eq!(
            (answer.json()["code"].as_str(), answer.json()["retry"].as_bool()),
            (Some("unavailable"), Some(true))
        );
    }
    assert_eq!(server.get("/healthz").await.status, 200);
}
