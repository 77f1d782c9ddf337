//! One feed file, one stream: at every speed, and in every pass of a loop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;
use tickcast::feed::{Description, Reader, Writer, pacing_time_ns};
use tickcast::model::{Instrument, Primary, primary_flags};
use tickcast::sim::{Rate, Simulation, SimulationSettings, profiles};
use tickcast::source::{Next, Source};

use crate::common;
use crate::raw::{BINARY, EVERYTHING, Heard, Incoming, JSON, Raw, StreamKey};
use crate::server::{Server, run};

const SECOND_NS: u64 = 1_000_000_000;

fn write(path: &Path, instruments: Vec<Instrument>, primaries: &[Primary]) {
    let mut writer = Writer::create(path, &Description::new("a test", instruments)).unwrap();
    primaries.iter().for_each(|primary| writer.push(primary).unwrap());
    writer.finish().unwrap();
}

/// A feed file of a simulated market: so many ticks of 50 microseconds on average.
pub fn simulated(folder: &TempDir, ticks: u64) -> PathBuf {
    let mut simulation = Simulation::new(SimulationSettings {
        seed: 3,
        instruments: profiles(20),
        rate: Rate::Max,
        ticks: Some(ticks),
    })
    .unwrap();
    let mut primaries = Vec::new();
    while simulation.poll(0, &mut primaries).unwrap() != Next::Ended {}
    let path = folder.path().join("simulated.feed");
    write(&path, simulation.catalog().instruments().to_vec(), &primaries);
    path
}

/// A feed file of what stood before a recording of orders and of so many seconds from its first trade.
pub fn recorded(folder: &TempDir, seconds: u64) -> Option<PathBuf> {
    let recording = common::recorded("dbn/esh4-glbx-mdp3-20231225.mbo.dbn.zst")?;
    let whole = folder.path().join("whole.feed");
    run(&["import", "--from", "dbn", recording.to_str().unwrap(), "--out", whole.to_str().unwrap()]);
    let mut reader = Reader::open(&whole).unwrap();
    let mut primaries = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        primaries.extend_from_slice(block);
    }
    let trade = primaries.iter().find(|primary| primary.kind().unwrap().name() == "trade").unwrap();
    let start_ns = pacing_time_ns(trade).unwrap();
    let end_ns = start_ns + seconds * SECOND_NS;
    primaries.retain(|primary| {
        primary.flags & primary_flags::SNAPSHOT != 0
            || (start_ns..end_ns).contains(&pacing_time_ns(primary).unwrap())
    });
    let path = folder.path().join("begin.feed");
    write(&path, reader.catalog().instruments().to_vec(), &primaries);
    Some(path)
}

/// All that a client hears of each stream.
type Streams = BTreeMap<StreamKey, Vec<Heard>>;

/// What clients hear that were there before the start: (protocol, depth) each.
fn hear(file: &Path, speed: &str, clients: &[(&'static str, Option<u32>)]) -> Vec<Streams> {
    let file = file.to_str().unwrap();
    let server =
        Server::start(&["--replay", file, "--start-paused", "--speed", speed, "--slow-consumer", "block"]);
    let channels: Vec<&str> = served(&server);
    let subscribed: Vec<_> = clients
        .iter()
        .map(|(protocol, depth)| {
            let mut raw = Raw::connect(&server.address, protocol);
            let heard = raw.subscribe(&["*"], &channels, *depth);
            (raw, heard)
        })
        .collect();
    server.http("POST", "/api/v1/replay", r#"{"action":"play"}"#);
    // Each in a thread of its own: the replay waits for whoever is not read.
    let threads: Vec<_> =
        subscribed.into_iter().map(|(raw, heard)| thread::spawn(|| to_the_end(raw, heard))).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// The channels that the instruments have, of those that are served.
fn served(server: &Server) -> Vec<&'static str> {
    let listed: Value = serde_json::from_str(&server.http("GET", "/api/v1/instruments", "")).unwrap();
    let channels = listed["instruments"][0]["channels"].as_array().unwrap();
    EVERYTHING.into_iter().filter(|channel| channels.iter().any(|has| has == channel)).collect()
}

fn to_the_end(mut raw: Raw, mut heard: Vec<Heard>) -> Streams {
    let mut streams = Streams::new();
    loop {
        for message in heard.drain(..) {
            streams.entry(message.stream.clone()).or_default().push(Heard { epoch: 0, ..message });
        }
        match raw.next() {
            Incoming::Data(data) => heard = data,
            Incoming::Control(text) if text["code"] == "replay_ended" => return streams,
            Incoming::Control(text) => assert_eq!(text["type"], "heartbeat"),
            Incoming::Closed(frame) => panic!("closed: {frame:?}"),
        }
    }
}

fn same_at_every_speed(file: &Path, least: usize) {
    let clients = [(BINARY, None), (JSON, None), (BINARY, Some(5))];
    let [as_it_was, faster, fastest] = ["1", "10", "max"].map(|speed| hear(file, speed, &clients));
    for (client, slow) in as_it_was.iter().enumerate() {
        let messages: usize = slow.values().map(Vec::len).sum();
        assert!(messages >= least, "{messages} messages of {:?}", clients[client]);
        for (speed, runs) in [("10", &faster), ("max", &fastest)] {
            let run = &runs[client];
            assert!(slow.keys().eq(run.keys()), "speed {speed}: other streams");
            for (stream, messages) in slow {
                for (one, other) in messages.iter().zip(&run[stream]) {
                    assert_eq!(one, other, "speed {speed}, {:?}", clients[client]);
                }
                assert_eq!(messages.len(), run[stream].len(), "{stream:?} at speed {speed}");
            }
        }
    }
}

#[test]
fn a_simulated_feed_file_gives_the_same_bytes_at_every_speed() {
    let folder = TempDir::new().unwrap();
    same_at_every_speed(&simulated(&folder, 20_000), 15_000);
}

#[test]
fn a_recorded_feed_file_gives_the_same_bytes_at_every_speed() {
    let folder = TempDir::new().unwrap();
    let Some(file) = recorded(&folder, 1) else { return };
    same_at_every_speed(&file, 300);
}

/// One pass: what was heard of each stream, and the epoch it was in.
#[derive(Debug, Default)]
struct Pass {
    streams: Streams,
    epoch: u64,
    resets: usize,
}

/// Hears a looped replay until its third pass begins.
fn passes(server: &Server) -> [Pass; 2] {
    let mut raw = Raw::connect(&server.address, BINARY);
    let mut heard = raw.subscribe(&["*"], &EVERYTHING, None);
    server.http("POST", "/api/v1/replay", r#"{"action":"play"}"#);
    let mut passes = vec![Pass { epoch: 0, ..Pass::default() }];
    let mut epochs = BTreeMap::new();
    loop {
        for message in heard.drain(..) {
            let symbol = &message.stream.0;
            let (pass, epoch) = *epochs.entry(symbol.clone()).or_insert((0, message.epoch));
            assert_eq!(message.epoch, epoch, "{symbol}: data of an epoch that is not announced or over");
            passes[pass].epoch = epoch;
            passes[pass]
                .streams
                .entry(message.stream.clone())
                .or_default()
                .push(Heard { epoch: 0, ..message });
        }
        match raw.next() {
            Incoming::Data(data) => heard = data,
            Incoming::Control(text) if text["type"] == "reset" => {
                assert_eq!(text["reason"], "loop");
                let (pass, epoch) = epochs.get_mut(text["symbol"].as_str().unwrap()).unwrap();
                let next = text["epoch"].as_u64().unwrap();
                assert!(next > *epoch, "epochs grow: {next} after {epoch}");
                *pass += 1;
                *epoch = next;
                if *pass == 2 {
                    passes.truncate(2);
                    return passes.try_into().unwrap();
                }
                passes.resize_with(passes.len().max(*pass + 1), Pass::default);
                passes[*pass].resets += 1;
            }
            Incoming::Control(text) => assert_eq!(text["type"], "heartbeat"),
            Incoming::Closed(frame) => panic!("closed: {frame:?}"),
        }
    }
}

#[test]
fn a_loop_says_everything_again_in_a_greater_epoch() {
    let folder = TempDir::new().unwrap();
    let file = simulated(&folder, 6_000);
    // The outbox is wide: the snapshots that follow a reset need not wait, so every pass begins with the empty book.
    let server = Server::start(&[
        "--replay",
        file.to_str().unwrap(),
        "--start-paused",
        "--loop",
        "--slow-consumer",
        "block",
        "--outbox-bytes",
        "67108864",
    ]);
    let [first, second] = passes(&server);

    assert!(second.epoch > first.epoch);
    assert_eq!((first.resets, second.resets), (0, 20), "one an instrument");
    let messages: usize = first.streams.values().map(Vec::len).sum();
    assert!(messages >= 6_000, "{messages} messages");
    for (stream, messages) in &first.streams {
        let is_snapshot = messages[0].bytes[5] & 1 != 0;
        // A market that begins has no trade and no bar.
        let has_state = !["trades", "bars"].contains(&stream.1.as_str());
        assert_eq!(is_snapshot, has_state, "{stream:?} begins with {:?}", messages[0]);
        assert_eq!(Some(messages), second.streams.get(stream), "{stream:?}");
    }
    assert!(first.streams.keys().eq(second.streams.keys()));
}
