//! What a client may rely on, held against every message: streams begin where they say, go on without a hole or a
//! repetition, and end when they are ended.

use std::collections::HashMap;

use serde_json::Value;
use tickcast::model::Channel;
use tickcast::wire::market::{self, MessageBody};

use crate::socket::{BINARY, CLOSE, PING, PONG, TEXT};

/// Where a stream stands.
#[derive(Debug)]
struct Stream {
    epoch: u64,
    last: u64,
    /// The snapshot, or its last part, is still to come. For trades before the first one there may be none.
    awaits_snapshot: bool,
    /// Parts of the snapshot that have come.
    parts: u16,
    has_depth: bool,
}

/// One client's knowledge of its streams (of a binary connection). Every method panics where a promise is broken.
#[derive(Debug, Default)]
pub struct Checker {
    streams: HashMap<(u32, u8), Stream>,
    numbers: HashMap<String, u32>,
    /// Messages of market data verified.
    pub messages: u64,
    /// Snapshots that came whole.
    pub snapshots: u64,
    /// Positions in heartbeats compared.
    pub positions: u64,
    /// Replies to requests, pages with `more` not counted.
    pub replies: u64,
    /// Code and reason of the close frame.
    pub closed: Option<(u16, String)>,
    /// Payloads of pings that are to be answered.
    pub pings: Vec<Vec<u8>>,
    /// Whether the replay's end was announced.
    pub has_ended: bool,
}

impl Checker {
    /// Takes one frame.
    pub fn take(&mut self, opcode: u8, payload: &[u8]) {
        assert_eq!(self.closed, None, "a frame after the close frame");
        match opcode {
            BINARY => self.market(payload),
            TEXT => self.text(payload),
            CLOSE => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                self.closed = Some((code, String::from_utf8(payload[2..].to_vec()).unwrap()));
            }
            PING => self.pings.push(payload.to_vec()),
            PONG => {}
            other => panic!("opcode {other}"),
        }
    }

    /// Symbols of which there is a stream.
    pub fn symbols(&self) -> impl Iterator<Item = &str> {
        let held = |number: &u32| self.streams.keys().any(|(instrument, _)| instrument == number);
        self.numbers.iter().filter(move |(_, number)| held(number)).map(|(symbol, _)| symbol.as_str())
    }

    /// How many streams there are.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    fn market(&mut self, payload: &[u8]) {
        let (header, messages) = market::decode(payload).unwrap();
        assert!(!messages.is_empty(), "an empty frame");
        let key = (header.instrument, header.channel);
        let Some(stream) = self.streams.get_mut(&key) else {
            panic!("data of a stream that is not subscribed, or was ended: {key:?}")
        };
        assert_eq!(header.epoch, stream.epoch, "{key:?}");
        for message in &messages {
            let (first, last) = (message.meta.first_seq, message.meta.last_seq);
            if message.meta.snapshot {
                let (part, parts) = match message.body {
                    MessageBody::Book { part, parts, .. } => (part, parts),
                    _ => (1, 1),
                };
                assert!(stream.awaits_snapshot, "a snapshot that nobody asked for: {key:?}");
                assert_eq!(part, stream.parts + 1, "parts come in order: {key:?}");
                assert!(last >= stream.last, "a snapshot from before the grant: {key:?}");
                stream.parts = part;
                if part == parts {
                    (stream.awaits_snapshot, stream.parts, stream.last) = (false, 0, last);
                    self.snapshots += 1;
                }
            } else {
                // Trades before the first one have no state: none comes, and the stream begins where it was granted.
                let without_state = header.channel == Channel::Trades as u8 && stream.last == 0;
                assert!(!stream.awaits_snapshot || without_state, "an update before its snapshot: {key:?}");
                assert_eq!(first, stream.last + 1, "a gap or a repetition: {key:?}");
                assert!(last >= first);
                (stream.awaits_snapshot, stream.last) = (false, last);
            }
            self.messages += 1;
        }
    }

    fn text(&mut self, payload: &[u8]) {
        let value: Value = serde_json::from_slice(payload).unwrap();
        match value["type"].as_str().unwrap() {
            "subscribed" => {
                let with_snapshot = value["id"] == "snapshot";
                for granted in value["streams"].as_array().unwrap() {
                    self.granted(granted, with_snapshot);
                }
                self.replies += u64::from(value["more"] != true);
            }
            "unsubscribed" => {
                for ended in value["streams"].as_array().unwrap() {
                    let key = self.key(ended);
                    assert!(self.streams.remove(&key).is_some(), "only what was there is ended: {ended}");
                }
                self.replies += u64::from(value["more"] != true);
            }
            "heartbeat" => {
                for position in value["streams"].as_array().unwrap() {
                    let key = self.key(position);
                    let stream = &self.streams[&key];
                    let seq = position["seq"].as_u64().unwrap();
                    assert_eq!(position["epoch"].as_u64(), Some(stream.epoch), "{position}");
                    let without_state = key.1 == Channel::Trades as u8 && seq == 0;
                    assert!(!stream.awaits_snapshot || without_state, "without its snapshot: {position}");
                    // What was sent stands before the heartbeat; only a view with a depth may have seen less.
                    let is_complete = if stream.has_depth { stream.last <= seq } else { stream.last == seq };
                    assert!(is_complete, "last {} of {position}", stream.last);
                    self.positions += 1;
                }
            }
            "notice" => self.has_ended |= value["code"] == "replay_ended",
            "welcome" | "pong" | "reset" => {}
            _ => panic!("{value}"),
        }
    }

    fn granted(&mut self, granted: &Value, with_snapshot: bool) {
        let number = granted["instrument"].as_u64().unwrap() as u32;
        self.numbers.insert(granted["symbol"].as_str().unwrap().to_owned(), number);
        let stream = Stream {
            epoch: granted["epoch"].as_u64().unwrap(),
            last: granted["seq"].as_u64().unwrap(),
            awaits_snapshot: with_snapshot,
            parts: 0,
            has_depth: granted["depth"].is_u64(),
        };
        // A stream that was there already begins anew.
        self.streams.insert(self.key(granted), stream);
    }

    fn key(&self, named: &Value) -> (u32, u8) {
        let symbol = named["symbol"].as_str().unwrap();
        let channel = Channel::from_name(named["channel"].as_str().unwrap()).unwrap();
        (self.numbers[symbol], channel as u8)
    }
}
