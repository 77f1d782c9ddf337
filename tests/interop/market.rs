//! A simulated market beside clients in other languages.

use crate::common;
use crate::server::{Client, Server, number};

/// Neither the busiest instruments, which would only cost the clients time, nor quiet ones.
const SYMBOLS: [&str; 4] = ["SOL-USD", "USD-JPY", "TSLA", "ESZ6"];

/// Many instruments at a fair rate: in some of them trading is halted within seconds. The outbox is wide, since a
/// client on a busy machine may stand still for a moment.
const MARKET: [&str; 6] = ["--symbols", "300", "--rate", "10000", "--outbox-bytes", "67108864"];

/// Both encodings, every channel, every depth view, HTTP: see the script for what is held to the document.
fn hears_the_market(variable: &str, script: &str) {
    let Some(program) = common::program(variable) else { return };
    let server = Server::start(&MARKET);
    let summary =
        Client::start(&program, &[&[script, "market", &server.address], &SYMBOLS[..]].concat()).summary();

    for connection in ["no subprotocol", "tickcast.v1.json", "tickcast.v1.bin"] {
        let heard = |what| number(&summary, &format!("heard/{connection}/{what}"));
        assert!(heard("heartbeat") >= 1, "{summary}");
        // Every instrument's status came as a snapshot.
        assert!(heard("status") >= 300, "{summary}");
    }
    for (what, least) in [
        ("quotes", 300),
        ("trades", 250),
        ("book", 1_000),
        ("orders", 1_000),
        ("ticker", 100),
        ("bars", 250),
        ("status", 1),
    ] {
        assert!(number(&summary, &format!("compared/{what}")) >= least, "{what}: {summary}");
    }
    for depth in ["depth 1", "depth 5", "depth 10", "depth 25"] {
        assert!(number(&summary, &format!("compared/{depth}")) >= 200, "{depth}: {summary}");
        assert!(number(&summary, &format!("right/{depth}")) >= 1_000, "{depth}: {summary}");
    }
    for (what, least) in [("http", 100), ("bars", 250), ("complete", 4), ("orders", 100), ("ledgers", 300)] {
        assert!(number(&summary, &format!("right/{what}")) >= least, "{what}: {summary}");
    }
    assert_eq!(server.counter("tickcast_closed_slow_total"), 0);
    assert_eq!(server.counter("tickcast_closed_protocol_total"), 0);
}

#[test]
fn python_hears_the_market_as_documented() {
    hears_the_market("TICKCAST_PYTHON", "python/live.py");
}

#[test]
fn node_hears_the_market_as_documented() {
    hears_the_market("TICKCAST_NODE", "js/live.mjs");
}
