//! The server is told to stop: everyone gets what there is, a notice and 1001, and nobody holds it up.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common;
use crate::raw::{BINARY, EVERYTHING, Incoming, JSON, Raw};
use crate::server::{Client, Server, number};

/// What stopping may take.
const STOP_TIME: Duration = Duration::from_secs(5);

const REASON: &str = "the server is stopping; reconnect with backoff";

/// Clients that subscribe to everything and never read on.
fn stalled(server: &Server, count: usize) -> Vec<Raw> {
    (0..count)
        .map(|number| {
            let mut raw = Raw::connect(&server.address, [BINARY, JSON][number % 2]);
            raw.send(&json!({"op": "subscribe", "symbols": ["*"], "channels": EVERYTHING}));
            raw
        })
        .collect()
}

/// Reads what is left; the notices and the close.
fn rest(mut raw: Raw) -> (Vec<Value>, Option<(u16, String)>) {
    let mut notices = Vec::new();
    loop {
        match raw.next() {
            Incoming::Control(text) if text["type"] == "notice" => notices.push(text["code"].clone()),
            Incoming::Closed(close) => {
                return (notices, close.map(|close| (close.code.into(), close.reason.as_str().to_owned())));
            }
            Incoming::Data(_) | Incoming::Control(_) => {}
        }
    }
}

fn stops(server: &mut Server) {
    let (status, took) = server.terminate();
    assert!(status.success(), "{status}");
    assert!(took < STOP_TIME, "it took {took:?}");
}

#[test]
fn clients_in_other_languages_hear_the_end() {
    let programs = [("TICKCAST_PYTHON", "python/live.py"), ("TICKCAST_NODE", "js/live.mjs")]
        .map(|(variable, script)| Some((common::program(variable)?, script)));
    // One shard: everyone hears the market up to the same event.
    let mut server =
        Server::start(&["--symbols", "20", "--rate", "5000", "--shards", "1", "--outbox-bytes", "67108864"]);
    let mut clients: Vec<Client> = programs
        .iter()
        .flatten()
        .map(|(program, script)| {
            Client::start(program, &[script, "stop", &server.address, "BTC-USD", "AAPL", "ESZ6"])
        })
        .collect();
    clients.iter_mut().for_each(|client| client.expect_line("ready"));
    stops(&mut server);

    let said: Vec<Value> = clients.into_iter().map(Client::summary).collect();
    let said: Vec<&Value> = said.iter().flat_map(|said| said["clients"].as_array().unwrap()).collect();
    for client in &said {
        assert_eq!(client["close"], json!([1001, REASON]));
        assert!(number(client, "messages") > 200, "{client}");
        assert_eq!(client["ends"], said[0]["ends"], "the last frame of some client is missing");
        assert_eq!(client["ends"].as_object().unwrap().len(), 21);
    }
}

#[test]
fn clients_that_never_read_hold_nobody_up() {
    let mut server = Server::start(&["--symbols", "50", "--rate", "200000", "--slow-consumer", "disconnect"]);
    let stalled = stalled(&server, 50);
    let mut quiet = Raw::connect(&server.address, BINARY);
    quiet.subscribe(&["*"], &["status"], None);
    // Some are too slow by now, others have full buffers.
    server.until_counter("tickcast_closed_slow_total", 10);
    stops(&mut server);

    let (notices, close) = rest(quiet);
    assert_eq!(notices, ["shutting_down"]);
    assert_eq!(close, Some((1001, REASON.to_owned())));
    drop(stalled);
}

#[test]
fn clients_that_a_replay_waits_for_do_not_hold_it_up() {
    let folder = TempDir::new().unwrap();
    let file = crate::repeat::simulated(&folder, 50_000);
    let mut server = Server::start(&[
        "--replay",
        file.to_str().unwrap(),
        "--start-paused",
        "--speed",
        "max",
        "--slow-consumer",
        "block",
        "--shards",
        "1",
    ]);
    let stalled = stalled(&server, 50);
    server.until_counter("tickcast_subscriptions", 50 * 20 * 7);
    server.http("POST", "/api/v1/replay", r#"{"action":"play"}"#);
    // Until it stands still: the clients' buffers are full.
    let mut delivered = 0;
    while delivered == 0 || delivered != server.counter("tickcast_delivered_total") {
        delivered = server.counter("tickcast_delivered_total");
        std::thread::sleep(Duration::from_millis(300));
    }
    stops(&mut server);
    drop(stalled);
}
