//! The verb against a scripted server, reading what it prints.

use serde_json::{Value, json};

use super::*;
use crate::client::scripted::{EPOCH, Peer, SYMBOL, Server, frame, level, levels, meta, quote, trade};

fn args(server: &Server) -> WatchArgs {
    WatchArgs {
        symbols: vec![SYMBOL.into()],
        url: server.url().parse().unwrap(),
        depth: None,
        json: false,
        count: None,
    }
}

/// Runs the verb to its end; what it printed, what it noted, how it ended.
async fn watch(args: WatchArgs) -> (String, String, anyhow::Result<()>) {
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let mut watch = Watch::new(&args, &mut out, &mut notes);
    let result = watch.run(&args, std::future::pending()).await;
    (String::from_utf8(out).unwrap(), String::from_utf8(notes).unwrap(), result)
}

/// Grants whatever is asked for, at sequence 0.
async fn accept(server: &Server, requests: usize) -> Peer {
    let mut peer = server.accept().await;
    peer.welcome(5_000).await;
    for _ in 0..requests {
        let request = peer.request().await;
        let channel = Channel::from_name(request["channels"][0].as_str().unwrap()).unwrap();
        peer.grant(&request["id"], channel, None, 0).await;
    }
    peer
}

#[tokio::test]
async fn a_line_for_each_trade_and_each_change_of_the_best_quote() {
    let server = Server::bind().await;
    let args = WatchArgs { count: Some(4), ..args(&server) };
    let script = async {
        let mut peer = accept(&server, 3).await;
        peer.send_bytes(frame(EPOCH, &[(meta(1, 1, true), quote(6_425_010, 6_425_012))])).await;
        peer.send_bytes(frame(EPOCH, &[(meta(1, 1, false), trade(6_425_012))])).await;
        peer.send_bytes(frame(EPOCH, &[(meta(2, 2, false), quote(6_425_010, 6_425_012))])).await;
        peer.send_bytes(frame(EPOCH, &[(meta(3, 3, false), quote(6_425_011, 6_425_012))])).await;
        peer.send_bytes(frame(EPOCH, &[(meta(2, 2, false), trade(6_425_000))])).await;
        peer
    };
    let (_, (out, notes, result)) = tokio::join!(script, watch(args));
    result.unwrap();
    let expected = [
        "00:00:00.001 BTC-USD quote        64250.1 x 1                    64250.12 x 2",
        "00:00:00.001 BTC-USD trade       64250.12 x 3              buy",
        "00:00:00.003 BTC-USD quote       64250.11 x 1                    64250.12 x 2",
        "00:00:00.002 BTC-USD trade          64250 x 3              buy",
    ];
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
    assert_eq!(notes, "connected to scripted/1, epoch 7\n");
}

#[tokio::test]
async fn a_book_every_second_as_text() {
    let server = Server::bind().await;
    let args = WatchArgs { count: Some(1), depth: Some(2), ..args(&server) };
    let script = async {
        let mut peer = accept(&server, 4).await;
        let bids = [level(10_000, 5), level(9_950, 60), level(9_900, 7)];
        peer.send_bytes(frame(EPOCH, &[(meta(1, 9, true), levels(&bids, &[level(10_100, 8)], None))])).await;
        peer
    };
    let (_, (out, _, result)) = tokio::join!(script, watch(args));
    result.unwrap();
    let expected = [
        "00:00:00.009 BTC-USD book  sequence 9",
        "                            5            100 | 101            8",
        "                           60           99.5 |",
    ];
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn json_lines_have_the_shapes_of_the_protocol() {
    let server = Server::bind().await;
    let args = WatchArgs { count: Some(3), json: true, depth: Some(1), ..args(&server) };
    let script = async {
        let mut peer = accept(&server, 4).await;
        peer.send_bytes(frame(EPOCH, &[(meta(1, 1, false), trade(6_425_012))])).await;
        peer.send_bytes(frame(EPOCH, &[(meta(1, 1, false), quote(6_425_010, 6_425_012))])).await;
        peer.send_bytes(frame(EPOCH, &[(meta(1, 9, true), levels(&[level(1, 5)], &[], None))])).await;
        peer
    };
    let (_, (out, _, result)) = tokio::join!(script, watch(args));
    result.unwrap();
    let objects: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let types: Vec<_> = objects.iter().map(|object| &object["type"]).collect();
    assert_eq!(types, ["trade", "quote", "orderbook"]);
    assert_eq!(objects[0]["price"], json!(64250.12));
    assert_eq!(objects[0]["ts_ns"], json!("1000000"));
    assert_eq!(objects[2]["bids"], json!([[0.01, 5]]));
    assert_eq!((&objects[2]["snapshot"], &objects[2]["last_seq"]), (&json!(true), &json!(9)));
}

#[tokio::test]
async fn an_unknown_symbol_fails_with_the_words_of_the_server() {
    let server = Server::bind().await;
    let args = args(&server);
    let script = async {
        let mut peer = server.accept().await;
        peer.welcome(5_000).await;
        let id = peer.request().await["id"].clone();
        peer.send(json!({"type": "error", "id": id, "code": "unknown_symbol",
            "message": "symbol \"BTC-USD\" is unknown", "retry": false}))
            .await;
        peer
    };
    let (_, (_, _, result)) = tokio::join!(script, watch(args));
    assert_eq!(
        result.unwrap_err().to_string(),
        "the server refuses the subscription: symbol \"BTC-USD\" is unknown"
    );
}

#[tokio::test]
async fn a_channel_that_an_instrument_lacks_does_not_take_the_others_with_it() {
    let server = Server::bind().await;
    let args = WatchArgs { count: Some(1), ..args(&server) };
    let script = async {
        let mut peer = server.accept().await;
        peer.welcome(5_000).await;
        for _ in 0..3 {
            let request = peer.request().await;
            match request["channels"][0].as_str().unwrap() {
                "trades" => peer.grant(&request["id"], Channel::Trades, None, 0).await,
                channel => {
                    peer.send(json!({"type": "error", "id": request["id"], "code": "unavailable",
                        "message": format!("BTC-USD has no {channel}"), "retry": false}))
                        .await;
                }
            }
        }
        peer.send_bytes(frame(EPOCH, &[(meta(1, 1, false), trade(1))])).await;
        peer
    };
    let (_, (out, notes, result)) = tokio::join!(script, watch(args));
    result.unwrap();
    assert!(out.contains("trade") && notes.contains("BTC-USD has no quotes"), "{out}{notes}");
}

#[tokio::test]
async fn the_state_of_the_connection_is_noted() {
    let server = Server::bind().await;
    let args = WatchArgs { count: Some(1), ..args(&server) };
    let script = async {
        let mut peer = accept(&server, 3).await;
        peer.send(json!({"type": "notice", "code": "shutting_down", "message": "the server is stopping"}))
            .await;
        peer.close(1001, "the server is stopping").await;
        let mut peer = accept(&server, 3).await;
        peer.send(json!({"type": "reset", "symbol": SYMBOL, "epoch": 8, "reason": "loop"})).await;
        peer.send_bytes(frame(8, &[(meta(3, 3, false), trade(1))])).await;
        peer
    };
    let (_, (_, notes, result)) = tokio::join!(script, watch(args));
    result.unwrap();
    let notes: Vec<_> = notes.lines().collect();
    assert_eq!(notes[..2], ["connected to scripted/1, epoch 7", "shutting_down: the server is stopping"]);
    let lost = "disconnected: closed by the server (1001): the server is stopping; retrying in 0.";
    assert!(notes[2].starts_with(lost), "{}", notes[2]);
    assert_eq!(
        notes[3..],
        [
            "connected to scripted/1, epoch 7",
            "BTC-USD: epoch 8 begins (loop)",
            "BTC-USD: trades 1 to 2 are missing"
        ]
    );
}

#[test]
fn a_reader_who_has_enough_is_no_failure() {
    let broken = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
    assert!(is_broken_pipe(&broken));
    assert!(!is_broken_pipe(&anyhow::Error::from(io::Error::from(io::ErrorKind::StorageFull))));
}

#[test]
fn the_time_of_day_is_that_of_the_event() {
    assert_eq!(time_of_day(1_700_000_000_123_456_789), "22:13:20.123");
    assert_eq!(time_of_day(1), "00:00:00.000");
    assert_eq!(time_of_day(0), "--:--:--.---", "state before the first event has no time");
}
