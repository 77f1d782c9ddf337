//! Sessions against a scripted server.

use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message as Frame;

use super::*;
use crate::client::Staleness;
use crate::client::scripted::{EPOCH, SYMBOL, Server, frame, level, levels, meta, quote, trade};
use crate::model::{Channel, Side};
use crate::wire::market::DecodeError;

fn book() -> Subscription {
    Subscription::new([SYMBOL], &[Channel::Book])
}

fn snapshot(seq: u64, bid: i64) -> Vec<u8> {
    frame(EPOCH, &[(meta(1, seq, true), levels(&[level(bid, 5)], &[level(bid + 2, 6)], None))])
}

/// The next update that is neither `Connected` nor `Granted`.
async fn next(client: &mut Client) -> Update {
    loop {
        match client.next().await.unwrap() {
            Update::Connected { .. } | Update::Granted { .. } => {}
            update => return update,
        }
    }
}

async fn expect_book(client: &mut Client, seq: u64, bid: i64) {
    let update = next(client).await;
    assert!(matches!(&update, Update::Book { meta, .. } if meta.last_seq == seq), "{update:?}");
    let view = client.book(SYMBOL).unwrap();
    assert_eq!((view.seq, view.epoch, view.ts_ns), (seq, EPOCH, 1_000_000 * seq));
    assert_eq!(view.book.best(Side::Bid).map(|level| level.price), Some(bid));
}

#[tokio::test]
async fn a_snapshot_and_what_follows_make_the_book() {
    let server = Server::bind().await;
    let mut client = server.client([book().with_depth(10)]);
    let script = async {
        let mut peer = server.accept().await;
        peer.welcome(5_000).await;
        let request = peer.request().await;
        assert_eq!(
            request,
            json!({"op": "subscribe", "id": 0, "symbols": [SYMBOL], "channels": ["book"], "depth": 10,
                "interval_ms": 0})
        );
        peer.grant(&request["id"], Channel::Book, Some(10), 40).await;
        peer.send_bytes(snapshot(40, 100)).await;
        peer.send_bytes(frame(EPOCH, &[(meta(41, 41, false), levels(&[level(101, 1)], &[], None))])).await;
        peer
    };
    let watch = async {
        let update = client.next().await.unwrap();
        assert!(
            matches!(&update, Update::Connected { server, epoch: EPOCH } if server == "scripted/1"),
            "{update:?}"
        );
        let update = client.next().await.unwrap();
        assert!(
            matches!(update, Update::Granted { channel: Channel::Book, depth: Some(10), .. }),
            "{update:?}"
        );
        assert!(client.book(SYMBOL).is_none(), "no book before its snapshot");
        expect_book(&mut client, 40, 100).await;
        expect_book(&mut client, 41, 101).await;
        let listing = client.listing(SYMBOL).unwrap();
        assert_eq!(listing.price(101).unwrap().to_string(), "1.01");
    };
    let (mut peer, ()) = tokio::join!(script, watch);
    client.close().await;
    let close = peer.socket.next().await.unwrap().unwrap();
    assert!(matches!(close, Frame::Close(Some(close)) if u16::from(close.code) == 1000));
}

#[tokio::test]
async fn a_gap_is_told_and_the_stream_asked_for_again() {
    let server = Server::bind().await;
    let mut client = server.client([book()]);
    let script = async {
        let mut peer = server.accept_and_grant(Channel::Book, None, 40).await;
        peer.send_bytes(snapshot(40, 100)).await;
        peer.send_bytes(frame(EPOCH, &[(meta(43, 43, false), levels(&[level(102, 1)], &[], None))])).await;
        let request = peer.request().await;
        assert_eq!((&request["symbols"], &request["channels"]), (&json!([SYMBOL]), &json!(["book"])));
        // What is still on its way from the lost view is not applied to anything.
        peer.send_bytes(frame(EPOCH, &[(meta(44, 44, false), levels(&[level(103, 1)], &[], None))])).await;
        peer.grant(&request["id"], Channel::Book, None, 45).await;
        peer.send_bytes(snapshot(45, 104)).await;
        peer
    };
    let watch = async {
        expect_book(&mut client, 40, 100).await;
        let update = next(&mut client).await;
        assert!(
            matches!(update, Update::Gap { from: 41, to: 42, declared: false, resync: true, .. }),
            "{update:?}"
        );
        assert!(client.book(SYMBOL).is_none(), "a book with a gap is unknown");
        expect_book(&mut client, 45, 104).await;
    };
    tokio::join!(script, watch);
}

#[tokio::test]
async fn a_wrong_checksum_is_told_and_the_stream_asked_for_again() {
    let server = Server::bind().await;
    let mut client = server.client([book()]);
    let script = async {
        let mut peer = server.accept_and_grant(Channel::Book, None, 40).await;
        let bids = [level(100, 5)];
        peer.send_bytes(frame(EPOCH, &[(meta(1, 40, true), levels(&bids, &[], Some(1)))])).await;
        let request = peer.request().await;
        peer.grant(&request["id"], Channel::Book, None, 40).await;
        peer.send_bytes(snapshot(40, 100)).await;
        peer
    };
    let watch = async {
        let update = next(&mut client).await;
        assert!(matches!(update, Update::Mismatch { seq: 40, expected: 1, .. }), "{update:?}");
        assert!(client.book(SYMBOL).is_none());
        expect_book(&mut client, 40, 100).await;
    };
    tokio::join!(script, watch);
}

#[tokio::test]
async fn after_a_server_goes_away_the_client_comes_back_and_the_book_is_right_again() {
    let server = Server::bind().await;
    let mut client = server.client([book()]);
    let script = async {
        let mut peer = server.accept_and_grant(Channel::Book, None, 40).await;
        peer.send_bytes(snapshot(40, 100)).await;
        peer.close(1001, "the server is stopping").await;
        // It asks to go on where it was. The first server still can, the second has forgotten.
        let mut peer = server.accept().await;
        peer.welcome(5_000).await;
        let request = peer.request().await;
        let from = json!([{"symbol": SYMBOL, "channel": "book", "epoch": EPOCH, "seq": 40}]);
        assert_eq!(request["from"], from);
        peer.grant(&request["id"], Channel::Book, None, 40).await;
        peer.send_bytes(frame(EPOCH, &[(meta(41, 41, false), levels(&[level(101, 1)], &[], None))])).await;
        peer.close(1001, "once more").await;
        let mut peer = server.accept().await;
        peer.welcome(5_000).await;
        let request = peer.request().await;
        assert_eq!(request["from"][0]["seq"], 41);
        peer.grant(&request["id"], Channel::Book, None, 90).await;
        peer.send_bytes(snapshot(90, 200)).await;
        peer
    };
    let watch = async {
        expect_book(&mut client, 40, 100).await;
        let update = next(&mut client).await;
        assert!(
            matches!(&update, Update::Disconnected { why: Disconnect::Closed { code: Some(1001), reason }, .. }
                if reason == "the server is stopping"),
            "{update:?}"
        );
        let view = client.book(SYMBOL).unwrap();
        assert_eq!((view.seq, view.stale), (40, true), "what is not connected is old");
        expect_book(&mut client, 41, 101).await;
        assert!(!client.book(SYMBOL).unwrap().stale);
        assert!(matches!(next(&mut client).await, Update::Disconnected { .. }));
        expect_book(&mut client, 90, 200).await;
        let ledger = client.state().ledger(SYMBOL, Channel::Book).unwrap();
        assert_eq!((ledger.published(), ledger.delivered), (1, 1));
    };
    tokio::join!(script, watch);
}

#[tokio::test]
async fn trades_missed_between_two_connections_come_again_or_are_a_gap() {
    let server = Server::bind().await;
    let mut client = server.client([Subscription::new([SYMBOL], &[Channel::Trades])]);
    let script = async {
        let mut peer = server.accept_and_grant(Channel::Trades, None, 10).await;
        peer.send_bytes(frame(EPOCH, &[(meta(11, 11, false), trade(5)), (meta(12, 12, false), trade(6))]))
            .await;
        drop(peer);
        let mut peer = server.accept_and_grant(Channel::Trades, None, 12).await;
        peer.send(json!({"type": "gap", "symbol": SYMBOL, "channel": "trades", "epoch": EPOCH, "from": 13,
            "to": 14, "count": 2}))
            .await;
        peer.send_bytes(frame(EPOCH, &[(meta(15, 15, false), trade(8))])).await;
        drop(peer);
        let mut peer = server.accept_and_grant(Channel::Trades, None, 20).await;
        peer.send_bytes(frame(EPOCH, &[(meta(21, 21, false), trade(7))])).await;
        peer
    };
    let watch = async {
        for price in [5, 6] {
            let update = next(&mut client).await;
            assert!(matches!(update, Update::Trade { trade, .. } if trade.price == price), "{update:?}");
        }
        let update = next(&mut client).await;
        assert!(matches!(update, Update::Disconnected { why: Disconnect::Lost(_), .. }), "{update:?}");
        let update = next(&mut client).await;
        assert!(matches!(update, Update::Gap { from: 13, to: 14, declared: true, .. }), "{update:?}");
        let update = next(&mut client).await;
        assert!(matches!(update, Update::Trade { trade, .. } if trade.price == 8), "{update:?}");
        let update = next(&mut client).await;
        assert!(matches!(update, Update::Disconnected { why: Disconnect::Lost(_), .. }), "{update:?}");
        // A server that knows nothing of resuming.
        let update = next(&mut client).await;
        assert!(
            matches!(update, Update::Gap { from: 16, to: 20, declared: false, resync: false, .. }),
            "{update:?}"
        );
        let update = next(&mut client).await;
        assert!(matches!(update, Update::Trade { trade, .. } if trade.price == 7), "{update:?}");
        let ledger = client.state().ledger_sum();
        assert_eq!((ledger.delivered, ledger.lost, ledger.published()), (4, 2, 6));
    };
    tokio::join!(script, watch);
}

#[tokio::test]
async fn two_heartbeats_of_silence_make_everything_stale_and_three_end_the_connection() {
    let server = Server::bind().await;
    let mut client = server.client([book()]);
    let script = async {
        let mut peer = server.accept_and_grant(Channel::Book, None, 40).await;
        peer.send_bytes(snapshot(40, 100)).await;
        peer
    };
    let (mut peer, ()) = tokio::join!(script, expect_book(&mut client, 40, 100));
    assert!(!client.book(SYMBOL).unwrap().stale);

    // From here on time passes only where nobody has anything else to do.
    tokio::time::pause();
    let began = Instant::now();
    let update = next(&mut client).await;
    let silence = Duration::from_secs(10);
    assert!(
        matches!(update, Update::Stale { why: Staleness::Silent(heard) } if heard == silence),
        "{update:?}"
    );
    assert!((silence..silence + Duration::from_millis(10)).contains(&began.elapsed()));
    assert!(client.book(SYMBOL).unwrap().stale);

    tokio::time::resume();
    peer.send_bytes(frame(EPOCH, &[(meta(41, 41, false), levels(&[level(101, 1)], &[], None))])).await;
    assert!(matches!(next(&mut client).await, Update::Live));
    expect_book(&mut client, 41, 101).await;
    assert!(!client.book(SYMBOL).unwrap().stale);

    tokio::time::pause();
    let began = Instant::now();
    assert!(matches!(next(&mut client).await, Update::Stale { .. }));
    let update = next(&mut client).await;
    let silence = Duration::from_secs(15);
    assert!(
        matches!(update, Update::Disconnected { why: Disconnect::Silent(heard), .. } if heard == silence),
        "{update:?}"
    );
    assert!((silence..silence + Duration::from_millis(10)).contains(&began.elapsed()));
}

#[tokio::test]
async fn a_full_server_is_left_alone_for_as_long_as_it_asks() {
    let server = Server::bind().await;
    let mut client = server.client([book()]);
    let answer = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 17\r\nContent-Length: 4\r\n\r\nfull";
    let ((), update) = tokio::join!(server.answer(answer.as_bytes()), next(&mut client));
    let Update::Disconnected { why, retry_in } = update else { panic!("{update:?}") };
    assert!(why.to_string().ends_with("refuses the connection with status 503: full"), "{why}");
    assert!((Duration::from_secs(17)..Duration::from_millis(17_010)).contains(&retry_in), "{retry_in:?}");
    assert!(client.next().now_or_never().is_none(), "it waits");
}

#[tokio::test]
async fn a_refusal_that_stands_is_final() {
    let server = Server::bind().await;
    for (answer, expected) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 14\r\n\r\nforeign Origin", "status 403: foreign Origin"),
        ("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "status 400"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "status 200: hello"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n",
            "does not belong to the request",
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "its answer is not HTTP"),
    ] {
        let mut client = server.client([book()]);
        let ((), update) = tokio::join!(server.answer(answer.as_bytes()), client.next());
        let error = update.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(matches!(client.next().await, Err(ClientError::Ended)));
    }
}

#[tokio::test]
async fn a_close_code_that_says_so_is_final() {
    let server = Server::bind().await;
    let mut client = server.client([book()]);
    let script = async {
        let mut peer = server.accept_and_grant(Channel::Book, None, 40).await;
        peer.close(4002, "bad token").await;
    };
    let watch = async {
        loop {
            match client.next().await {
                Ok(Update::Connected { .. } | Update::Granted { .. }) => {}
                Ok(update) => panic!("{update:?}"),
                Err(error) => return error,
            }
        }
    };
    let ((), error) = tokio::join!(script, watch);
    assert_eq!(error.to_string(), "closed by the server (4002): bad token");
}

#[tokio::test]
async fn a_refused_subscription_is_told_and_not_repeated() {
    let server = Server::bind().await;
    let mut client = server.client([Subscription::new(["NOPE"], &[Channel::Trades]), book()]);
    let script = async {
        let mut peer = server.accept().await;
        peer.welcome(5_000).await;
        let (first, second) = (peer.request().await, peer.request().await);
        peer.send(json!({"type": "error", "id": first["id"], "code": "unknown_symbol",
            "message": "symbol \"NOPE\" is unknown", "retry": false}))
            .await;
        peer.grant(&second["id"], Channel::Book, None, 40).await;
        peer.send_bytes(snapshot(40, 100)).await;
        peer.close(1001, "").await;
        let mut peer = server.accept().await;
        peer.request().await
    };
    let watch = async {
        let update = next(&mut client).await;
        assert!(
            matches!(&update, Update::Refused { subscription: Some(0), code, retry: false, .. }
                if code == "unknown_symbol"),
            "{update:?}"
        );
        expect_book(&mut client, 40, 100).await;
        assert!(matches!(next(&mut client).await, Update::Disconnected { .. }));
        loop {
            next(&mut client).await;
        }
    };
    let request = tokio::select! { request = script => request, () = watch => unreachable!() };
    assert_eq!((&request["id"], &request["symbols"]), (&json!(1), &json!([SYMBOL])));
}

#[tokio::test]
async fn garbage_ends_the_connection_with_a_reason_and_the_client_comes_back() {
    let oversized = limits::CLIENT_MESSAGE_BYTES_MAX as u64 + 1;
    let oversized = [&[0x82, 127][..], &oversized.to_be_bytes()].concat();
    let garbage: [(&[u8], &str); 8] = [
        (b"\x82\x05hello", "frame cut short"),
        (b"\x82\x10\x09\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "frame version 9"),
        (b"\x81\x05hello", "a control message cannot be read"),
        (b"\x81\x02\xff\xff", "UTF-8"),
        (b"\x83\x00", "protocol"),
        (b"\xf2\x00", "Reserved bits"),
        (b"\x80\x00", "continues a message that was not begun"),
        (&oversized, "longer than"),
    ];
    let server = Server::bind().await;
    let mut client = server.client([book()]);
    for (bytes, expected) in garbage {
        let script = async {
            let mut peer = server.accept_and_grant(Channel::Book, None, 40).await;
            peer.send_bytes(snapshot(40, 100)).await;
            peer.socket.get_mut().write_all(bytes).await.unwrap();
            peer
        };
        let watch = async {
            expect_book(&mut client, 40, 100).await;
            let update = next(&mut client).await;
            let Update::Disconnected { why, .. } = update else { panic!("{update:?}") };
            assert!(matches!(why, Disconnect::Protocol(_) | Disconnect::Decode(_)), "{why:?}");
            assert!(why.to_string().contains(expected), "{why}");
        };
        tokio::join!(script, watch);
    }
    assert_eq!(
        Disconnect::from(DecodeError::Trailing(3)).to_string(),
        "the server breaks the protocol: 3 bytes after the last message of the frame"
    );
}

#[tokio::test]
async fn where_nothing_listens_the_client_says_so_and_tries_again() {
    let server = Server::bind().await;
    let mut client = server.client([book()]);
    drop(server);
    for _ in 0..3 {
        let update = next(&mut client).await;
        let Update::Disconnected { why: Disconnect::Connect(error), .. } = update else {
            panic!("{update:?}")
        };
        assert!(error.is_refused_by_host(), "{error}");
    }
}

#[tokio::test]
async fn pings_are_answered_and_fragments_joined() {
    let server = Server::bind().await;
    let mut client = server.client([Subscription::new([SYMBOL], &[Channel::Quotes])]);
    let script = async {
        let mut peer = server.accept_and_grant(Channel::Quotes, None, 1).await;
        let bytes = frame(EPOCH, &[(meta(2, 2, false), quote(10, 11))]);
        let (first, rest) = bytes.split_at(30);
        let mut raw = vec![0x02, first.len() as u8];
        raw.extend_from_slice(first);
        raw.extend_from_slice(b"\x89\x03abc\x80");
        raw.push(rest.len() as u8);
        raw.extend_from_slice(rest);
        peer.socket.get_mut().write_all(&raw).await.unwrap();
        peer.socket.next().await.unwrap().unwrap()
    };
    let watch = async {
        let update = next(&mut client).await;
        assert!(matches!(update, Update::Quote { quote, .. } if quote.bid == 10), "{update:?}");
        assert_eq!(client.quote(SYMBOL).map(|quote| quote.ask), Some(11));
    };
    let (pong, ()) = tokio::join!(script, watch);
    assert_eq!(pong, Frame::Pong(b"abc".as_slice().into()));
}

/// The future of `next` is dropped at every point it can be, while frames come byte by byte.
#[tokio::test]
async fn next_may_be_dropped_anywhere() {
    let server = Server::bind().await;
    let mut client = server.client([Subscription::new([SYMBOL], &[Channel::Trades])]);
    let script = async {
        let mut peer = server.accept_and_grant(Channel::Trades, None, 0).await;
        for seq in 1..=20 {
            let bytes = frame(EPOCH, &[(meta(seq, seq, false), trade(seq as i64))]);
            let head = [0x82, bytes.len() as u8];
            for byte in head.iter().chain(&bytes) {
                peer.socket.get_mut().write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
        peer.socket.flush().await.unwrap();
        peer
    };
    let watch = async {
        let mut prices = Vec::new();
        while prices.len() < 20 {
            match client.next().now_or_never() {
                Some(Ok(Update::Trade { trade, .. })) => prices.push(trade.price),
                Some(Ok(Update::Connected { .. } | Update::Granted { .. })) => {}
                Some(other) => panic!("{other:?}"),
                None => tokio::task::yield_now().await,
            }
        }
        assert!(prices.into_iter().eq(1..=20));
    };
    tokio::join!(script, watch);
}
