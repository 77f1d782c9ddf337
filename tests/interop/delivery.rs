//! What clients in other languages rely on: views that are merged at intervals, resuming, being slow.

use serde_json::Value;
use tempfile::TempDir;

use crate::common;
use crate::repeat;
use crate::server::{Client, Server, number};

const SYMBOLS: [&str; 4] = ["SOL-USD", "USD-JPY", "TSLA", "ESZ6"];

/// What a client says that does one of the things that its script lists.
fn said(variable: &str, script: &str, mode: &str, symbols: &[&str], settings: &[&str]) -> Option<Value> {
    let program = common::program(variable)?;
    let server = Server::start(settings);
    let said = Client::start(&program, &[&[script, mode, &server.address], symbols].concat()).summary();
    assert_eq!(server.counter("tickcast_closed_slow_total"), 0);
    assert_eq!(server.counter("tickcast_closed_protocol_total"), 0);
    Some(said)
}

fn comes_back(variable: &str, script: &str) {
    // Two shards: whoever comes back may find one that is behind.
    let settings = ["--symbols", "40", "--rate", "10000", "--shards", "2", "--outbox-bytes", "67108864"];
    let Some(said) = said(variable, script, "resume", &SYMBOLS, &settings) else { return };
    // Twelve visits of each view; the first resumes nothing.
    for (what, least) in
        [("resumed", 2 * 5 * 4 * 5), ("snapshots", 2 * 5 * 4 * 3), ("resets", 8), ("ahead", 2)]
    {
        assert!(number(&said, what) >= least, "{what}: {said}");
    }
    for (channel, least) in [("quotes", 200), ("trades", 100), ("book", 500), ("orders", 500), ("ticker", 50)]
    {
        assert!(number(&said, channel) >= least, "{channel}: {said}");
    }
}

#[test]
fn python_comes_back_and_misses_nothing() {
    comes_back("TICKCAST_PYTHON", "python/live.py");
}

#[test]
fn node_comes_back_and_misses_nothing() {
    comes_back("TICKCAST_NODE", "js/live.mjs");
}

/// A market that ends, and an outbox that holds some seconds of it.
const ENDING: [&str; 8] =
    ["--symbols", "40", "--rate", "12000", "--ticks", "100000", "--outbox-bytes", "1048576"];

const BUSY: [&str; 7] = ["SOL-USD", "USD-JPY", "TSLA", "ESZ6", "BTC-USD", "EUR-USD", "NVDA"];

#[test]
fn python_falls_behind_and_ends_where_the_others_do() {
    let Some(said) = said("TICKCAST_PYTHON", "python/live.py", "slow", &BUSY, &ENDING) else { return };
    assert_eq!(number(&said, "ledgers"), 5 * 7 * 7, "every stream of every connection: {said}");
    for (what, least) in
        [("merged", 10_000), ("lost", 1), ("gaps of trades", 1), ("clears", 20), ("recovered", 4)]
    {
        assert!(number(&said, what) >= least, "{what}: {said}");
    }
}

#[test]
fn node_reports_its_progress_and_is_spared() {
    let Some(said) = said("TICKCAST_NODE", "js/live.mjs", "slow", &BUSY, &ENDING) else { return };
    assert_eq!(number(&said, "ledgers"), 3 * 7 * 7, "every stream of every connection: {said}");
    for (what, least) in [("merged", 5_000), ("clears", 10), ("recovered", 2)] {
        assert!(number(&said, what) >= least, "{what}: {said}");
    }
}

#[test]
fn views_at_intervals_end_where_the_whole_does() {
    let folder = TempDir::new().unwrap();
    let Some(file) = repeat::recorded(&folder, SECONDS) else { return };
    let settings =
        ["--replay", file.to_str().unwrap(), "--start-paused", "--speed", SPEED, "--slow-consumer", "block"];
    let Some(said) = said("TICKCAST_PYTHON", "python/live.py", "views", &["ESH4"], &settings) else { return };
    for interval in ["10", "50", "100", "250", "500", "1000", "5000"] {
        assert!(number(&said, &format!("updates/{interval}")) >= 3, "{interval} ms: {said}");
    }
    for (period, least) in [("1s", 20), ("1m", 4), ("5m", 1)] {
        assert!(number(&said, &format!("complete/{period}")) >= least, "{period}: {said}");
    }
    assert_eq!(number(&said, "late"), 4, "{said}");
    assert!(number(&said, "parts") >= 2, "the orders of a late joiner come in parts: {said}");
    for (what, least) in [("joins", 8), ("went_on", 4), ("changes", 4), ("orders", 1_000), ("ledgers", 60)] {
        assert!(number(&said, what) >= least, "{what}: {said}");
    }
}

/// Of the recording, and how much faster it is played.
const SECONDS: u64 = 6 * 60;
const SPEED: &str = "90";
