//! The text of a client's request.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use tickcast::limits;
use tickcast::model::Channel;
use tickcast::wire::control::{self, Command, DEPTHS, INTERVALS_MS, Request, RequestId, Subscribe};

/// No refusal quotes more of a request than a few excerpts.
const MESSAGE_BYTES_MAX: usize = 1_024;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let parsed = control::parse(text);
    assert_eq!(control::parse(&format!(" \t{text}\r\n")).is_ok(), parsed.is_ok(), "space around it counts");
    match parsed {
        Ok(request) => granted(text, &request),
        Err(refusal) => {
            assert!(refusal.message.len() <= MESSAGE_BYTES_MAX, "{} bytes of message", refusal.message.len());
            let mut out = Vec::new();
            control::error(&mut out, &refusal);
            // Its keys as they are written: an id may be a number that no type holds.
            let answer: BTreeMap<&str, &RawValue> = serde_json::from_slice(&out).expect("an error is JSON");
            let said = |key| serde_json::from_str::<String>(answer[key].get()).expect("a text");
            assert_eq!(said("message"), refusal.message);
            assert_eq!(said("code"), refusal.code.name());
            let id = refusal.id.as_ref().map(RequestId::as_json);
            assert_eq!(answer.get("id").map(|id| id.get()), id);
            id.inspect(|id| holds_id(text, id));
        }
    }
}

fn granted(text: &str, request: &Request) {
    serde_json::from_str::<&RawValue>(text).expect("what is granted is JSON");
    if let Some(id) = &request.id {
        holds_id(text, id.as_json());
    }
    match &request.command {
        Command::Subscribe(subscribe) => is_within_limits(subscribe),
        Command::Unsubscribe { symbols, channels } => {
            lists_are_right(symbols, channels);
        }
        Command::List | Command::Ping | Command::Progress { .. } | Command::Replay(_) => {}
    }
}

fn holds_id(text: &str, id: &str) {
    assert!(id.len() <= limits::REQUEST_ID_BYTES_MAX);
    assert!(text.contains(id), "the id is sent back as it was written");
    serde_json::from_str::<&RawValue>(id).expect("an id is one JSON value");
    if id.starts_with('"') {
        serde_json::from_str::<String>(id).expect("an id that every client can read");
    }
}

fn is_within_limits(subscribe: &Subscribe) {
    lists_are_right(&subscribe.symbols, &subscribe.channels);
    assert!(subscribe.depth.is_none_or(|depth| DEPTHS.contains(&depth)));
    assert!(INTERVALS_MS.contains(&subscribe.interval_ms));
    assert!(subscribe.from.len() <= limits::SUBSCRIPTIONS_MAX);
    for from in &subscribe.from {
        assert!(from.epoch < 1 << 53 && from.seq < 1 << 53);
    }
}

fn lists_are_right(symbols: &[String], channels: &[Channel]) {
    assert!((1..=limits::REQUEST_SYMBOLS_MAX).contains(&symbols.len()));
    assert!(!channels.is_empty());
    for (at, channel) in channels.iter().enumerate() {
        assert!(!channels[..at].contains(channel), "{channel:?} twice");
    }
}
