//! A replay steered over the socket: what everybody is told, and the books where it was led to.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tickcast::feed::{Reader, pacing_time_ns};
use tickcast::model::{Deriver, Level, Primary, Side, primary_flags};
use tickcast::wire::message::checksum;

use crate::raw::{Incoming, JSON, Raw};
use crate::repeat::simulated;
use crate::server::Server;

/// The next control message that is no heartbeat.
fn control(raw: &mut Raw) -> Value {
    loop {
        match raw.next() {
            Incoming::Data(_) => {}
            Incoming::Control(text) if text["type"] == "heartbeat" => {}
            Incoming::Control(text) => return text,
            Incoming::Closed(frame) => panic!("closed: {frame:?}"),
        }
    }
}

#[test]
fn a_client_leads_everybody_to_another_time_and_on_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = simulated(&folder, 5_000);
    let mut reader = Reader::open(&path).unwrap();
    let mut records = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        records.extend_from_slice(block);
    }
    let server = Server::start(&["--replay", path.to_str().unwrap(), "--start-paused", "--speed", "max"]);
    let (mut one, mut other) = (Raw::connect(&server.address, JSON), Raw::connect(&server.address, JSON));
    other.subscribe(&["*"], &["book"], None);
    one.send(&json!({"op": "replay", "id": 1}));
    let state = control(&mut one);
    assert_eq!(
        (&state["type"], &state["id"], &state["state"]),
        (&json!("replay"), &json!(1), &json!("paused"))
    );
    let http: Value = serde_json::from_str(&server.http("GET", "/api/v1/replay", "")).unwrap();
    assert!(http.as_object().unwrap().iter().all(|(key, value)| state[key] == *value), "{http} {state}");

    // To where half of the records stand before.
    let is_timed = |primary: &&Primary| primary.flags & primary_flags::SNAPSHOT == 0;
    let moment_ns = records[records.len() / 2..].iter().filter(is_timed).find_map(pacing_time_ns).unwrap();
    let mut straight = Deriver::new(reader.catalog().clone());
    let mut derived = Vec::new();
    let events = records.split_inclusive(Primary::is_last);
    let before = |event: &&[Primary]| {
        event.iter().filter(is_timed).filter_map(pacing_time_ns).max().unwrap_or(0) < moment_ns
    };
    for primary in events.take_while(before).flatten() {
        straight.apply(primary, &mut derived).unwrap();
        derived.clear();
    }
    one.send(&json!({"op": "replay", "id": 2, "action": "seek", "time_ns": moment_ns.to_string()}));
    assert_eq!(control(&mut one)["id"], 2);
    let mut told = BTreeSet::new();
    while told.len() < reader.catalog().len() {
        let reset = control(&mut other);
        assert_eq!((&reset["type"], &reset["reason"]), (&json!("reset"), &json!("seek")));
        told.insert(reset["symbol"].to_string());
    }
    let until = Instant::now() + Duration::from_secs(30);
    for (id, instrument) in reader.catalog().iter() {
        let best = |side| straight.book(id).levels(side).collect::<Vec<Level>>();
        let expected = checksum(best(Side::Bid).iter(), best(Side::Ask).iter(), 10);
        loop {
            let book = server.http("GET", &format!("/api/v1/book/{}", instrument.symbol), "");
            let book: Value = serde_json::from_str(&book).unwrap();
            if book["checksum"] == expected {
                assert_eq!(book["bids"].as_array().unwrap().len(), straight.book(id).depth(Side::Bid));
                break;
            }
            assert!(Instant::now() < until, "{}: {book}", instrument.symbol);
        }
    }
    one.send(&json!({"op": "replay", "id": 3}));
    let state = control(&mut one);
    assert_eq!((&state["state"], &state["time_ns"]), (&json!("paused"), &json!(moment_ns.to_string())));

    // A reply to a step tells how it stands behind the step.
    let mut sent = state["records_sent"].as_u64().unwrap();
    for events in [1, 3] {
        let ends = records[sent as usize..].iter().zip(sent..).filter(|(primary, _)| primary.is_last());
        sent = ends.map(|(_, at)| at + 1).nth(events - 1).unwrap();
        one.send(&json!({"op": "replay", "id": 9, "action": "step", "events": events}));
        let state = control(&mut one);
        assert_eq!((&state["id"], &state["records_sent"]), (&json!(9), &json!(sent)));
    }
    let ends = records[sent as usize..].iter().zip(sent..).filter(|(primary, _)| primary.is_last());
    sent = ends.map(|(_, at)| at + 1).nth(1).unwrap();
    let http = server.http("POST", "/api/v1/replay", r#"{"action":"step","events":2}"#);
    let http: Value = serde_json::from_str(&http).unwrap();
    assert_eq!((&http["state"], &http["records_sent"]), (&json!("paused"), &json!(sent)));

    one.send(&json!({"op": "replay", "id": 4, "action": "seek", "time_ns": "soon"}));
    let refused = control(&mut one);
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("bad_request")));
    one.send(&json!({"op": "replay", "id": 5, "action": "play"}));
    assert_eq!(control(&mut one)["id"], 5);
    assert_eq!(control(&mut one)["code"], "replay_ended");
    while control(&mut other)["code"] != "replay_ended" {}
    // Nothing is left to step to: nobody waits for it.
    one.send(&json!({"op": "replay", "id": 6, "action": "step"}));
    assert_eq!(control(&mut one)["records_sent"], records.len());
}

#[test]
fn what_is_no_replay_cannot_be_steered() {
    let server = Server::start(&["--symbols", "1", "--rate", "1"]);
    let mut raw = Raw::connect(&server.address, JSON);
    raw.send(&json!({"op": "replay", "id": "x", "action": "play"}));
    let refused = control(&mut raw);
    assert_eq!((&refused["code"], &refused["id"]), (&json!("unavailable"), &json!("x")));
}
