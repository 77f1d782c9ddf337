//! What RFC 6455 asks of a server beside messages.

use std::net::SocketAddr;
use std::time::Duration;

use tickcast::shard::Protocol;
use tokio::io::AsyncWriteExt;

use crate::block_on;
use crate::server::Server;
use crate::socket::{CLOSE, CONTINUATION, Frame, PING, PONG, Socket, TEXT, frame, raw_frame};

/// Everything until a pong, which must carry that payload.
async fn pong(socket: &mut Socket, payload: &[u8]) {
    loop {
        let frame = socket.next().await;
        if frame.opcode == PONG {
            return assert_eq!(frame, Frame { opcode: PONG, payload: payload.to_vec() });
        }
    }
}

async fn open(address: SocketAddr) -> Socket {
    Socket::open(address, Protocol::Json).await
}

#[test]
fn control_frames_are_answered_as_they_must() {
    let mut server = Server::start(&["--rate", "1000"]);
    let address = server.address();
    block_on(async {
        // Pings, also between the fragments of a message.
        let mut socket = open(address).await;
        for payload in [&b""[..], b"x", &[0xff; 125]] {
            socket.write(&frame(PING, payload)).await.unwrap();
            pong(&mut socket, payload).await;
        }
        let fragments = [
            raw_frame(TEXT, true, br#"{"op":"pi"#),
            frame(PING, b"between"),
            raw_frame(CONTINUATION, true, br#"ng","#),
            frame(PONG, b"unasked"),
            frame(CONTINUATION, br#""id":5}"#),
        ];
        socket.write(&fragments.concat()).await.unwrap();
        pong(&mut socket, b"between").await;
        assert_eq!(socket.reply("pong").await["id"], 5);

        // The client's close comes back with its code, and the server hangs up.
        for code in [1000_u16, 1001, 3000, 4999] {
            let mut socket = open(address).await;
            socket.write(&frame(CLOSE, &[&code.to_be_bytes()[..], b"enough"].concat())).await.unwrap();
            assert_eq!(socket.closed().await.0, code);
        }
        let mut socket = open(address).await;
        socket.write(&frame(CLOSE, b"")).await.unwrap();
        assert_eq!(socket.closed().await.0, 1000);

        // Half a TCP connection is none.
        let mut socket = open(address).await;
        socket.send(r#"{"op":"subscribe","symbols":["*"],"channels":["quotes"]}"#).await;
        socket.reply("subscribed").await;
        socket.stream.shutdown().await.unwrap();
        while socket.next_or_end().await.is_some() {}

        // A first frame may travel in the packet of the handshake, or be cut anywhere.
        let first = frame(TEXT, br#"{"op":"ping","id":"first"}"#);
        let mut socket = Socket::open_with(address, Protocol::Json, &first).await;
        assert_eq!(socket.next().await.json()["type"], "welcome");
        assert_eq!(socket.next().await.json()["id"], "first");
        for cut in 1..first.len() {
            let mut socket = Socket::open_with(address, Protocol::Binary, &first[..cut]).await;
            assert_eq!(socket.next().await.json()["type"], "welcome");
            socket.write(&first[cut..]).await.unwrap();
            assert_eq!(socket.reply("pong").await["id"], "first");
        }

        // Requests in a row are answered in a row.
        let mut socket = open(address).await;
        let row: Vec<u8> =
            (0..500).flat_map(|id| frame(TEXT, format!(r#"{{"op":"ping","id":{id}}}"#).as_bytes())).collect();
        socket.write(&row).await.unwrap();
        for id in 0..500 {
            assert_eq!(socket.reply("pong").await["id"], id);
        }
        assert!(socket.is_silent(Duration::from_millis(50)).await);
    });
    server.assert_well();
    server.wait_until_empty();
}

/// A subscription's snapshots take their time where the client reads slowly: what else it sends is read meanwhile.
#[test]
fn pings_and_closes_are_answered_while_snapshots_wait() {
    const SUBSCRIBE: &[u8] = br#"{"op":"subscribe","symbols":["*"],"channels":["orders","book"]}"#;
    let mut server = Server::start(&[
        "--symbols",
        "1000",
        "--rate",
        "1000",
        "--shards",
        "1",
        "--send-buffer-bytes",
        "4096",
    ]);
    let address = server.address();
    block_on(async {
        // A few requests wait their turn, and do not hold up what is behind them.
        let behind = frame(TEXT, br#"{"op":"ping"}"#).repeat(10);
        for (last, expected) in [(frame(PING, b"?"), PONG), (frame(CLOSE, &1000_u16.to_be_bytes()), CLOSE)] {
            let mut socket = Socket::open_narrow(address, Protocol::Json).await;
            socket.write(&[frame(TEXT, SUBSCRIBE), behind.clone(), last].concat()).await.unwrap();
            let mut snapshots = 0;
            loop {
                let frame = socket.next().await;
                if frame.opcode == expected {
                    break;
                }
                snapshots +=
                    usize::from(frame.json()["snapshot"] == true || frame.json()["type"] == "orders");
            }
            assert!(snapshots < 1_000, "{expected}: answered behind {snapshots} of 2000 snapshots");
            if expected == PONG {
                // The requests are answered behind what was asked before them.
                for _ in 0..10 {
                    socket.reply("pong").await;
                }
            }
        }
    });
    server.assert_well();
}
