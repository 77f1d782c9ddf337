//! A client that does not read.

use std::time::Duration;

use tickcast::limits;
use tickcast::shard::Protocol;
use tickcast::wire::control::Close;
use tokio::time::{sleep, timeout};

use crate::block_on;
use crate::checker::Checker;
use crate::server::{PATIENCE, Server};
use crate::socket::Socket;

/// What the server may keep of recent events, which fills while the test runs. (So do the young books, L2 and L3: 16 MiB.)
const RING_BYTES: u64 = 4 << 20;

/// Enough of them that what each may cost outweighs what the allocator keeps for nobody (6 to 10 MB without any; with these
/// 17 to 70 MB in eight runs, most of it memory of outboxes that are gone), and that unbounded queues, 5 MB each in the
/// time, would show.
const STALLED: usize = 120;

const EVERYTHING: &str = r#"{"op":"subscribe","id":"snapshot","symbols":["*"],"channels":["quotes","trades","book"],"snapshot":true}"#;

async fn subscriber(mut socket: Socket) -> (Socket, Checker) {
    socket.send(EVERYTHING).await;
    (socket, Checker::default())
}

/// Takes what comes until told otherwise.
async fn listen(socket: &mut Socket, checker: &mut Checker) {
    loop {
        let frame = socket.next().await;
        checker.take(frame.opcode, &frame.payload);
        assert_eq!(checker.closed, None);
    }
}

#[test]
fn a_stalled_reader_is_closed_and_disturbs_nobody() {
    let mut server = Server::start(&[
        "--rate",
        "40000",
        "--symbols",
        "30",
        "--slow-consumer",
        "disconnect",
        "--ring-bytes",
        "4194304",
    ]);
    block_on(async {
        let mut live = Vec::new();
        for _ in 0..3 {
            live.push(subscriber(Socket::open(server.address(), Protocol::Binary).await).await);
        }
        let memory_before = server.resident();
        let mut stalled = Vec::new();
        for _ in 0..STALLED {
            let socket = Socket::open_narrow(server.address(), Protocol::Binary).await;
            stalled.push(subscriber(socket).await);
        }
        let mut listeners = tokio::task::JoinSet::new();
        for (mut socket, mut checker) in live {
            listeners.spawn(async move {
                let done = timeout(Duration::from_secs(4), listen(&mut socket, &mut checker)).await;
                assert!(done.is_err(), "it listens until the time is over");
                checker
            });
        }
        let heard = listeners.join_all().await;
        let metrics = server.settled("the stalled are closed", |metrics| {
            metrics.get("tickcast_closed_slow_total") >= STALLED as f64
        });
        assert_eq!(metrics.get("tickcast_closed_slow_total"), STALLED as f64, "the stalled and nobody else");
        // A frame that the kernel has the start of and the close frame are all that is kept for them.
        let frames = (limits::FRAME_BYTES * 2 * STALLED) as f64;
        assert!(metrics.get("tickcast_outbox_bytes") <= frames, "{metrics:?}");
        let grown = server.resident().saturating_sub(memory_before);
        // An outbox grows by doubling: what it has, and what it had before.
        let each = 3 * limits::OUTBOX_BYTES_DEFAULT as u64;
        assert!(grown < STALLED as u64 * each + (16 << 20) + RING_BYTES, "{grown} bytes");

        let messages: Vec<u64> = heard.iter().map(|checker| checker.messages).collect();
        assert!(messages.iter().all(|messages| *messages > 20_000), "{messages:?}");
        // They are told why: whole frames without a hole, then the close frame, then the end. They all read at once: the
        // kernel asks one whose buffer was full the more seldom the longer it has not read, so that each in its turn
        // would wait as long again as all before it.
        let mut readers = tokio::task::JoinSet::new();
        for (mut socket, mut checker) in stalled {
            readers.spawn(async move {
                while checker.closed.is_none() {
                    let frame = socket.next().await;
                    checker.take(frame.opcode, &frame.payload);
                }
                (checker.closed, socket.next_or_end().await)
            });
        }
        for (closed, behind) in readers.join_all().await {
            let (code, reason) = closed.expect("the loop ends with it");
            assert_eq!(code, 4008);
            assert!(reason.starts_with("too slow: resume with \"from\" in epoch "), "{reason}");
            assert_eq!(behind, None);
        }
        println!(
            "stalled: {STALLED} closed with 4008; 3 live beside them verified {messages:?} messages in 4 s"
        );
    });
    server.assert_well();
    server.wait_until_empty();
}

#[test]
fn the_server_stops_in_time_with_readers_that_stall() {
    let server = Server::start(&["--rate", "20000"]);
    let (live, stalled) = block_on(async {
        let mut stalled = Vec::new();
        for _ in 0..50 {
            let socket = Socket::open_narrow(server.address(), Protocol::Binary).await;
            stalled.push(subscriber(socket).await);
        }
        let mut socket = Socket::open(server.address(), Protocol::Binary).await;
        socket
            .send(r#"{"op":"subscribe","id":"snapshot","symbols":["BTC-USD"],"channels":["quotes"]}"#)
            .await;
        let mut checker = Checker::default();
        while checker.messages < 100 {
            let frame = socket.next().await;
            checker.take(frame.opcode, &frame.payload);
        }
        server.signal("TERM");
        timeout(PATIENCE, async {
            while checker.closed.is_none() {
                let frame = socket.next().await;
                checker.take(frame.opcode, &frame.payload);
            }
        })
        .await
        .expect("everyone is told");
        sleep(Duration::ZERO).await;
        (checker, stalled)
    });
    assert_eq!(live.closed, Some((1001, Close::ShuttingDown.reason(0).into_owned())));
    let began = std::time::Instant::now();
    assert!(server.end_with("TERM").success());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(stalled);
}
