//! A client that checks what it reads: frames, sequences, books. It shares the codec with the server and nothing else.

use std::collections::{BTreeMap, HashMap};

use tickcast::model::{Catalog, Channel, Level, Side};
use tickcast::shard::Protocol;
use tickcast::wire::market::{self, MessageBody};

type StreamKey = (u32, Channel);

/// One stream as the client knows it.
#[derive(Debug, Default)]
struct Stream {
    depth: Option<usize>,
    epoch: u64,
    /// Begins with a snapshot.
    has_snapshot: bool,
    /// The snapshot, or its last part, is still to come.
    awaits_snapshot: bool,
    last: u64,
    parts: u16,
    levels: [BTreeMap<i64, i64>; 2],
}

/// A client with everything it was sent.
#[derive(Debug)]
pub struct Client {
    protocol: Protocol,
    bytes: Vec<u8>,
    streams: HashMap<StreamKey, Stream>,
    pub close_code: Option<u16>,
    pub messages: u64,
    pub heartbeats: usize,
    pub errors: usize,
}

impl Client {
    pub fn new(protocol: Protocol) -> Client {
        Client {
            protocol,
            bytes: Vec::new(),
            streams: HashMap::new(),
            close_code: None,
            messages: 0,
            heartbeats: 0,
            errors: 0,
        }
    }

    /// Takes bytes, at any split.
    pub fn read(&mut self, bytes: &[u8], catalog: &Catalog) {
        self.bytes.extend_from_slice(bytes);
        let mut start = 0;
        while let Some((opcode, head, payload)) = frame(&self.bytes[start..]) {
            let payload = self.bytes[start + head..start + head + payload].to_vec();
            start += head + payload.len();
            assert_eq!(self.close_code, None, "a frame after the close frame");
            match opcode {
                1 => self.text(&serde_json::from_slice(&payload).unwrap(), catalog),
                2 => self.binary(&payload),
                8 => self.close_code = Some(u16::from_be_bytes([payload[0], payload[1]])),
                9 | 10 => {}
                other => panic!("opcode {other}"),
            }
        }
        self.bytes.drain(..start);
        assert!(self.close_code.is_none() || self.bytes.is_empty());
    }

    fn text(&mut self, value: &serde_json::Value, catalog: &Catalog) {
        let kind = value["type"].as_str().unwrap();
        let key = |stream: &serde_json::Value| {
            let symbol = stream["symbol"].as_str().unwrap();
            (catalog.find(symbol).unwrap(), Channel::from_name(stream["channel"].as_str().unwrap()).unwrap())
        };
        let streams = || value["streams"].as_array().unwrap().iter();
        match kind {
            "welcome" => assert!(self.streams.is_empty(), "the first message"),
            "subscribed" => {
                for stream in streams() {
                    let has_snapshot = value["id"] != "bare" && key(stream).1 != Channel::Trades;
                    let granted = Stream {
                        depth: stream["depth"].as_u64().map(|depth| depth as usize),
                        epoch: stream["epoch"].as_u64().unwrap(),
                        has_snapshot,
                        awaits_snapshot: has_snapshot,
                        last: stream["seq"].as_u64().unwrap(),
                        ..Stream::default()
                    };
                    self.streams.insert(key(stream), granted);
                }
            }
            "unsubscribed" => streams().for_each(|stream| {
                assert!(self.streams.remove(&key(stream)).is_some(), "only what was there is ended");
            }),
            "heartbeat" => {
                self.heartbeats += 1;
                for stream in streams() {
                    let held = &mut self.streams.get_mut(&key(stream)).expect("only our streams are named");
                    assert_eq!(stream["epoch"].as_u64(), Some(held.epoch));
                    assert!(!held.awaits_snapshot, "a stream that has not begun is not complete");
                    let complete = stream["seq"].as_u64().unwrap();
                    assert!(complete >= held.last, "complete up to less than what came");
                }
            }
            "reset" => {
                let epoch = value["epoch"].as_u64().unwrap();
                let instrument = catalog.find(value["symbol"].as_str().unwrap()).unwrap();
                for (_, stream) in self.streams.iter_mut().filter(|(key, _)| key.0 == instrument) {
                    let Stream { depth, has_snapshot, .. } = *stream;
                    assert!(epoch > stream.epoch, "epochs only grow");
                    let awaits_snapshot = has_snapshot;
                    *stream = Stream { depth, epoch, has_snapshot, awaits_snapshot, ..Stream::default() };
                }
            }
            "quote" | "trade" | "orderbook" | "price" | "status" => {
                assert_eq!(self.protocol, Protocol::Json, "market data in text on a binary connection");
                self.data_text(value, catalog);
            }
            "error" => self.errors += 1,
            "pong" | "notice" | "instruments" => {}
            other => panic!("type {other}"),
        }
    }

    fn data_text(&mut self, value: &serde_json::Value, catalog: &Catalog) {
        let instrument = catalog.find(value["symbol"].as_str().unwrap()).unwrap();
        let channel = match value["type"].as_str().unwrap() {
            "quote" => Channel::Quotes,
            "trade" => Channel::Trades,
            "orderbook" => Channel::Book,
            "price" => Channel::Ticker,
            _ => Channel::Status,
        };
        let exponents = &catalog.instruments()[instrument as usize];
        let side = |name: &str| -> Vec<Level> {
            let scale = |value: &serde_json::Value, exponent: i8| {
                let text = value.as_f64().unwrap() * 10_f64.powi(-i32::from(exponent));
                text.round() as i64
            };
            let level = |pair: &serde_json::Value| Level {
                price: scale(&pair[0], exponents.price_exponent),
                quantity: scale(&pair[1], exponents.quantity_exponent),
            };
            value[name].as_array().map(|levels| levels.iter().map(level).collect()).unwrap_or_default()
        };
        let number = |key: &str| value[key].as_u64().unwrap();
        self.data(
            (instrument, channel),
            number("first_seq")..=number("last_seq"),
            value["snapshot"] == true,
            (value["part"].as_u64().unwrap_or(1) as u16, value["parts"].as_u64().unwrap_or(1) as u16),
            [&side("bids"), &side("asks")],
        );
    }

    fn binary(&mut self, payload: &[u8]) {
        assert_eq!(self.protocol, Protocol::Binary, "a binary frame on a JSON connection");
        let (header, messages) = market::decode(payload).unwrap();
        assert!(!messages.is_empty());
        let key = (header.instrument, Channel::from_number(header.channel).unwrap());
        assert_eq!(header.epoch, self.streams[&key].epoch);
        for message in messages {
            let (parts, sides) = match &message.body {
                MessageBody::Book { bids, asks, part, parts, .. } => {
                    ((*part, *parts), [&bids[..], &asks[..]])
                }
                _ => ((1, 1), [&[][..], &[][..]]),
            };
            let covered = message.meta.first_seq..=message.meta.last_seq;
            self.data(key, covered, message.meta.snapshot, parts, sides);
        }
    }

    fn data(
        &mut self,
        key: StreamKey,
        covered: std::ops::RangeInclusive<u64>,
        snapshot: bool,
        (part, parts): (u16, u16),
        sides: [&[Level]; 2],
    ) {
        self.messages += 1;
        let stream = self.streams.get_mut(&key).expect("data of a stream that we do not have");
        if snapshot {
            assert!(stream.awaits_snapshot, "a snapshot that nobody asked for: {key:?}");
            assert_eq!(part, stream.parts + 1);
            assert!(*covered.end() >= stream.last);
            stream.parts = part;
            stream.awaits_snapshot = part < parts;
            if !stream.awaits_snapshot {
                stream.parts = 0;
                stream.last = *covered.end();
            }
        } else {
            assert!(!stream.awaits_snapshot, "an update before its snapshot: {key:?}");
            assert_eq!(*covered.start(), stream.last + 1, "a gap or a repetition: {key:?}");
            assert!(covered.end() >= covered.start());
            stream.last = *covered.end();
        }
        for (levels, changed) in stream.levels.iter_mut().zip(sides) {
            for level in changed {
                if level.quantity == 0 {
                    levels.remove(&level.price);
                } else {
                    levels.insert(level.price, level.quantity);
                }
            }
        }
    }

    /// Every book the client has and knows whole: its instrument and depth, and the best levels it holds.
    pub fn books(&self) -> impl Iterator<Item = (u32, Option<usize>, [Vec<Level>; 2])> {
        let complete = self
            .streams
            .iter()
            .filter(|(key, stream)| key.1 == Channel::Book && stream.has_snapshot && !stream.awaits_snapshot);
        complete.map(|(key, stream)| (key.0, stream.depth, [stream.side(Side::Bid), stream.side(Side::Ask)]))
    }

    /// The last sequence of each stream that has begun.
    pub fn positions(&self) -> impl Iterator<Item = (StreamKey, Option<usize>, u64)> {
        self.streams
            .iter()
            .filter(|(_, stream)| !stream.awaits_snapshot)
            .map(|(key, s)| (*key, s.depth, s.last))
    }
}

impl Stream {
    fn side(&self, side: Side) -> Vec<Level> {
        let level = |(&price, &quantity): (&i64, &i64)| Level { price, quantity };
        let levels = self.levels[side.index()].iter().map(level);
        if side == Side::Bid { levels.rev().collect() } else { levels.collect() }
    }
}

/// Opcode, head and payload length of the whole frame that starts here.
fn frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(first & 0x70, 0, "no extension was negotiated");
    assert_eq!(first & 0x80, 0x80, "a server's frames are final");
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (head, payload) = match second {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize),
        short => (2, usize::from(short)),
    };
    (bytes.len() >= head + payload).then_some((first & 0x0F, head, payload))
}
