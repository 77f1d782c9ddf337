//! A core with one instrument, driven by hand: events one by one, and what each session is sent.

use std::sync::Arc;

use crossbeam_utils::CachePadded;
use serde_json::Value;
use tickcast::model::{Aggressor, Body, Catalog, Event, Side, Status, Trade, event_flags};
use tickcast::shard::{
    Answer, CompressionSettings, Connection, Core, CoreSettings, Listing, Protocol, Query, SessionId,
    SlowConsumer,
};
use tickcast::sim::{InstrumentProfile, profiles};
use tickcast::stats::ShardStats;
use tickcast::wire::market::{self, Message};

/// Room for everything.
pub const PLAIN: CoreSettings = CoreSettings {
    outbox_bytes: 1 << 20,
    outboxes_bytes: usize::MAX,
    ring_bytes: 1 << 20,
    frame_messages: u16::MAX,
    slow_consumer: SlowConsumer::Conflate,
    request_rate: 0,
    compression: CompressionSettings { fragment_bytes: 1 << 20, ..CompressionSettings::DEFAULT },
};

/// One instrument, and nobody is slow.
pub fn core() -> Core {
    core_of(SlowConsumer::Disconnect, 1 << 20)
}

pub fn core_of(slow_consumer: SlowConsumer, outbox_bytes: usize) -> Core {
    counted(slow_consumer, outbox_bytes).0
}

/// And what it counts.
pub fn counted(slow_consumer: SlowConsumer, outbox_bytes: usize) -> (Core, Arc<CachePadded<ShardStats>>) {
    with(CoreSettings { outbox_bytes, slow_consumer, ..PLAIN })
}

pub fn with(settings: CoreSettings) -> (Core, Arc<CachePadded<ShardStats>>) {
    many(1, settings)
}

/// Of so many instruments.
pub fn many(instruments: usize, settings: CoreSettings) -> (Core, Arc<CachePadded<ShardStats>>) {
    let stats = Arc::<CachePadded<ShardStats>>::default();
    let instruments = profiles(instruments).iter().map(InstrumentProfile::instrument).collect();
    let catalog = Catalog::new(instruments).unwrap();
    (Core::new(Arc::new(catalog), 1, settings, stats.clone()), stats)
}

/// One level changes; sequence and time are `n`.
pub fn level(core: &mut Core, n: u64, price: i64, quantity: i64) {
    publish(core, n, Body::Level { side: Side::Bid, price, quantity });
}

pub fn trade(core: &mut Core, n: u64) {
    publish(core, n, Body::Trade(Trade { price: 50, quantity: 1, aggressor: Aggressor::None, trade_id: n }));
}

pub fn status(core: &mut Core, n: u64, status: Status) {
    publish(core, n, Body::Status(status));
}

pub fn publish(core: &mut Core, n: u64, body: Body) {
    core.apply(&[whole(n, body)]);
    core.flush();
}

/// An exchange event of one record.
pub fn whole(n: u64, body: Body) -> Event {
    let mut event = Event::new(0, n, n, body);
    event.flags = event_flags::LAST | event_flags::LAST_OF_STREAM;
    event.sent_ns = 100 + n;
    event
}

pub fn join(core: &mut Core) -> SessionId {
    subscribe(core, r#""channels":["book"],"depth":1"#)
}

pub fn open(core: &mut Core) -> SessionId {
    core.open(Protocol::Binary, "127.0.0.1:1".parse().unwrap(), 0, 0)
}

pub fn subscribe(core: &mut Core, view: &str) -> SessionId {
    let session = open(core);
    core.request(session, &format!(r#"{{"op":"subscribe","symbols":["*"],{view}}}"#), 0);
    session
}

/// The messages of the binary frames that wait for a session.
pub fn received(core: &mut Core, session: SessionId) -> Vec<Message> {
    let messages = told(core, session).into_iter();
    messages.filter_map(|told| if let Told::Data(message) = told { Some(message) } else { None }).collect()
}

/// What a session is told.
#[derive(Debug, PartialEq)]
pub enum Told {
    Text(Value),
    Data(Message),
    Close(u16, String),
    Ping,
    Pong(Vec<u8>),
}

fn bytes(core: &mut Core, session: SessionId) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        core.offer(session, 0, &mut Vec::new(), |offered| {
            Ok({
                bytes.extend_from_slice(offered);
                offered.len()
            })
        })
        .unwrap();
        if !core.advance(session) {
            break;
        }
    }
    bytes
}

/// The frames that wait for a session: opcode and payload.
pub fn frames(core: &mut Core, session: SessionId) -> Vec<(u8, Vec<u8>)> {
    let bytes = bytes(core, session);
    let (mut rest, mut frames) = (&bytes[..], Vec::new());
    while let [opcode, length, ..] = *rest {
        let (head, payload) = match length {
            127 => (10, u64::from_be_bytes(rest[2..10].try_into().unwrap()) as usize),
            126 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
            short => (2, usize::from(short)),
        };
        frames.push((opcode, rest[head..head + payload].to_vec()));
        rest = &rest[head + payload..];
    }
    frames
}

/// All that waits for a session and what comes behind it once there is room, in order.
pub fn told(core: &mut Core, session: SessionId) -> Vec<Told> {
    let mut told = Vec::new();
    for (opcode, content) in frames(core, session) {
        let content = &content[..];
        match opcode {
            0x81 => told.push(Told::Text(serde_json::from_slice(content).unwrap())),
            0x82 => told.extend(market::decode(content).unwrap().1.into_iter().map(Told::Data)),
            0x88 => {
                let (code, reason) = content.split_at(2);
                let code = u16::from_be_bytes(code.try_into().unwrap());
                told.push(Told::Close(code, String::from_utf8(reason.to_vec()).unwrap()));
            }
            0x89 => told.push(Told::Ping),
            0x8A => told.push(Told::Pong(content.to_vec())),
            other => panic!("opcode {other:#x}"),
        }
    }
    told
}

/// What a core of whose sessions none has ended says of one.
pub fn connection(core: &Core, session: SessionId) -> Connection {
    connection_at(core, session, 0)
}

pub fn connection_at(core: &Core, session: SessionId, now_ns: u64) -> Connection {
    let listing = Listing { session: Some(session as u64), limit: 1, streams_max: 100 };
    let Answer::Connections(mut connections) = core.answer(Query::Connections(listing), now_ns) else {
        panic!("another answer")
    };
    connections.pop().unwrap()
}

/// The texts of that type that wait for a session.
pub fn texts(core: &mut Core, session: SessionId, kind: &str) -> Vec<Value> {
    let texts = told(core, session).into_iter();
    let texts = texts.filter_map(|told| if let Told::Text(text) = told { Some(text) } else { None });
    texts.filter(|text| text["type"] == kind).collect()
}

/// The kernel takes nothing.
pub fn refuse(core: &mut Core, session: SessionId) {
    core.offer(session, 0, &mut Vec::new(), |_| Ok(0)).unwrap();
}

/// Makes sessions slow until they are conflated, and lets them take everything then. Trades 1 to 99 are made.
pub fn conflate(core: &mut Core, sessions: &[SessionId]) {
    for &session in sessions {
        core.request(session, r#"{"op":"subscribe","symbols":["*"],"channels":["trades"]}"#, 0);
        received(core, session);
    }
    for n in 1..100 {
        trade(core, n);
        sessions.iter().for_each(|&session| refuse(core, session));
    }
    for &session in sessions {
        let told = received(core, session);
        assert!(!told.is_empty() && told.len() < 99, "{} of 99", told.len());
    }
}

/// First and last sequence of each message.
pub fn spans(messages: &[Message]) -> Vec<(u64, u64)> {
    messages.iter().map(|message| (message.meta.first_seq, message.meta.last_seq)).collect()
}

/// What a session is told of gaps: from, to. And what it is told of data: first and last sequence of each message.
pub fn gaps_and_spans(core: &mut Core, session: SessionId) -> (Vec<[Value; 2]>, Vec<(u64, u64)>) {
    let (mut gaps, mut data) = (Vec::new(), Vec::new());
    for told in told(core, session) {
        match told {
            Told::Text(mut text) if text["type"] == "gap" => {
                gaps.push([text["from"].take(), text["to"].take()]);
            }
            Told::Data(message) => data.push(message),
            _ => {}
        }
    }
    (gaps, spans(&data))
}
