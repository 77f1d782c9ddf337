//! What a message costs: to encode and to decode, in binary, as JSON, and by bincode from the same records.
//!
//! A shard encodes each message once for each encoding that somebody subscribes to. Goal: at most 10 ns for a binary
//! quote or trade. `cargo bench --bench encode`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tickcast::model::{Aggressor, Channel, ChannelSet, Instrument, Level, Quote, Trade};
use tickcast::wire::json;
use tickcast::wire::market::{self, BookBody, MessageHeader, QuoteBody, TradeBody};
use tickcast::wire::message::{Content, Levels, Meta};

const META: Meta = Meta {
    first_seq: 123_456,
    last_seq: 123_456,
    ts_ns: 1_795_309_129_123_456_789,
    sent_ns: 1_795_309_129_123_469_134,
    snapshot: false,
    last: true,
};

fn instrument() -> Instrument {
    Instrument {
        symbol: "BTC-USD".into(),
        price_exponent: -2,
        quantity_exponent: -8,
        tick_size: 1,
        lot_size: 1,
        channels: ChannelSet::of(&Channel::ALL),
        book_depth: 0,
        source_id: 0,
    }
}

fn levels(from: i64, step: i64) -> Vec<Level> {
    (0..5).map(|i| Level { price: from + i * step, quantity: 150_000_000 + i }).collect()
}

/// The records of one message, as bincode is given them.
fn records(content: &Content<'_>) -> Records {
    let header = MessageHeader {
        length: 0,
        kind: 0,
        flags: 2,
        reserved: 0,
        first_seq: META.first_seq,
        last_seq: META.last_seq,
        ts_ns: META.ts_ns,
        sent_ns: META.sent_ns,
    };
    match content {
        Content::Quote(q) => Records::Quote(
            header,
            QuoteBody { bid: q.bid, bid_quantity: q.bid_quantity, ask: q.ask, ask_quantity: q.ask_quantity },
        ),
        Content::Trade(t) => Records::Trade(
            header,
            TradeBody {
                price: t.price,
                quantity: t.quantity,
                trade_id: t.trade_id,
                aggressor: t.aggressor as u8,
                reserved: [0; 7],
            },
        ),
        Content::Book(book) => {
            let body = BookBody { bids: 5, asks: 5, checksum: 0, part: 1, parts: 1 };
            let mut entries = [Level { price: 0, quantity: 0 }; 10];
            entries[..5].copy_from_slice(book.bids);
            entries[5..].copy_from_slice(book.asks);
            Records::Book(header, body, entries)
        }
        _ => unreachable!("not measured"),
    }
}

enum Records {
    Quote(MessageHeader, QuoteBody),
    Trade(MessageHeader, TradeBody),
    Book(MessageHeader, BookBody, [Level; 10]),
}

impl Records {
    fn bincode(&self, out: &mut [u8]) -> usize {
        let fixed = bincode::config::standard().with_fixed_int_encoding();
        let written = match self {
            Records::Quote(header, body) => bincode::encode_into_slice((header, body), out, fixed),
            Records::Trade(header, body) => bincode::encode_into_slice((header, body), out, fixed),
            Records::Book(header, body, levels) => {
                bincode::encode_into_slice((header, body, levels), out, fixed)
            }
        };
        written.expect("there is room")
    }
}

fn encode(c: &mut Criterion) {
    let quote =
        Content::Quote(Quote { bid: 6_543_210, bid_quantity: 150_000_000, ask: 6_543_350, ask_quantity: 1 });
    let trade = Content::Trade(Trade {
        price: 6_543_350,
        quantity: 25_000_000,
        trade_id: 123_456_789,
        aggressor: Aggressor::Buy,
    });
    let (bids, asks) = (levels(6_543_210, -10), levels(6_543_350, 10));
    let book = Content::Book(Levels { bids: &bids, asks: &asks, checksum: None, part: 1, parts: 1 });
    let instrument = instrument();
    for (name, content) in [("quote", &quote), ("trade", &trade), ("book_5", &book)] {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(1));
        let mut out = Vec::with_capacity(4_096);
        group.bench_function("encode/binary", |b| {
            b.iter(|| {
                out.clear();
                market::encode(&mut out, black_box(&META), black_box(content));
                black_box(out.len())
            });
        });
        group.bench_function("encode/json", |b| {
            b.iter(|| {
                out.clear();
                json::encode(&mut out, &instrument, black_box(&META), black_box(content));
                black_box(out.len())
            });
        });
        let records = records(content);
        let mut bytes = [0; 512];
        group.bench_function("encode/bincode", |b| {
            b.iter(|| black_box(&records).bincode(black_box(&mut bytes)));
        });

        let mut frame = Vec::new();
        market::begin_frame(&mut frame, Channel::Quotes, 0, 1);
        for _ in 0..100 {
            market::encode(&mut frame, &META, content);
        }
        market::finish_frame(&mut frame, 0, 100);
        group.throughput(Throughput::Elements(100));
        group.bench_function("decode/binary, frame of 100", |b| {
            b.iter(|| market::decode(black_box(&frame)).expect("the frame is whole"));
        });
        group.finish();
    }
}

criterion_group!(benches, encode);
criterion_main!(benches);
