//! One seed, one market: whatever the rate, however many shards, whoever listens.

use std::collections::BTreeMap;
use std::thread;

use crate::raw::{BINARY, EVERYTHING, Heard, Incoming, Raw, StreamKey};
use crate::server::Server;

/// Ticks until the market ends: everybody hears the same end.
const TICKS: &str = "300000";

const SYMBOLS: [&str; 8] = ["EUR-USD", "NVDA", "SOL-USD", "MSFT", "USD-JPY", "TSLA", "ESZ6", "AMZN"];

/// What one client heard, by stream, snapshots apart.
type Run = BTreeMap<StreamKey, BTreeMap<u64, Heard>>;

/// What `clients` clients of a market hear from when they come to its end.
fn hear(seed: &str, rate: &str, shards: &str, clients: usize) -> Vec<Run> {
    let server = Server::start(&[
        "--symbols",
        "40",
        "--seed",
        seed,
        "--rate",
        rate,
        "--shards",
        shards,
        "--ticks",
        TICKS,
        "--outbox-bytes",
        "1073741824",
    ]);
    thread::scope(|scope| {
        let listeners: Vec<_> = (0..clients).map(|_| scope.spawn(|| listen(&server.address))).collect();
        listeners.into_iter().map(|listener| listener.join().unwrap()).collect()
    })
}

fn listen(address: &str) -> Run {
    let mut raw = Raw::connect(address, BINARY);
    let mut run = Run::new();
    let mut heard = raw.subscribe(&SYMBOLS, &EVERYTHING, None);
    loop {
        for message in heard.drain(..).filter(|message| message.bytes[5] & 1 == 0) {
            run.entry(message.stream.clone()).or_default().insert(message.first_seq, message);
        }
        match raw.next() {
            Incoming::Data(data) => heard = data,
            Incoming::Control(text) if text["code"] == "replay_ended" => return run,
            Incoming::Control(text) => assert_eq!(text["type"], "heartbeat"),
            Incoming::Closed(frame) => panic!("closed: {frame:?}"),
        }
    }
}

/// How many messages both heard and how many of them are equal, by channel. From where the later one came, both must
/// have heard messages of the same sequences.
fn compare<'a>(one: &'a Run, other: &'a Run) -> BTreeMap<&'a str, (usize, usize)> {
    let mut counts = BTreeMap::new();
    for (stream, messages) in one {
        let Some(others) = other.get(stream) else { continue };
        let start = *messages.keys().next().unwrap().max(others.keys().next().unwrap());
        let (common, equal) = counts.entry(stream.1.as_str()).or_insert((0, 0));
        for (message, other) in messages.range(start..).zip(others.range(start..)) {
            *common += 1;
            *equal += usize::from(message.1.bytes == other.1.bytes);
        }
    }
    counts
}

#[test]
fn one_seed_gives_one_market_at_any_rate_with_any_number_of_shards() {
    let (slow, fast, foreign) = thread::scope(|scope| {
        let slow = scope.spawn(|| hear("7", "60000", "1", 1).remove(0));
        let fast = hear("7", "200000", "2", 2);
        let foreign = hear("8", "200000", "1", 1).remove(0);
        (slow.join().unwrap(), fast, foreign)
    });
    for run in &fast {
        let counts = compare(&slow, run);
        for (channel, least) in [("quotes", 2_000), ("trades", 2_000), ("book", 5_000), ("ticker", 1_000)] {
            let (common, equal) = counts[channel];
            assert!(common >= least, "{channel}: {counts:?}");
            assert_eq!(common, equal, "{channel} differs: {counts:?}");
        }
        for (stream, messages) in &slow {
            let ends =
                [messages, &run[stream]].map(|messages| messages.values().next_back().unwrap().last_seq);
            assert_eq!(ends[0], ends[1], "{stream:?} ends alike");
        }
    }
    let (common, equal) = compare(&slow, &foreign)["book"];
    assert!(common >= 1_000 && equal * 10 < common, "another seed is another market: {equal} of {common}");
}
