//! What permessage-deflate costs: a frame of trades compressed for everybody, compressed for one client with what went
//! before in view, and a client's request inflated.
//!
//! Shared, a topic's batch is compressed once however many subscribe. `cargo bench --bench deflate`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tickcast::limits;
use tickcast::model::{Aggressor, Channel, Trade};
use tickcast::wire::deflate::{Context, Deflater, Inflater};
use tickcast::wire::frame::{self, opcode};
use tickcast::wire::guard::Rules;
use tickcast::wire::market;
use tickcast::wire::message::{Content, Meta};

/// Trades in a frame: 120 to 8,000 bytes.
const TRADES: [u16; 4] = [1, 6, 28, 110];

/// Frames of that many trades that go on where the one before ended, whole.
fn frames(trades: u16) -> Vec<Vec<u8>> {
    let mut seq = 0;
    let frame = |_| {
        let mut payload = Vec::new();
        market::begin_frame(&mut payload, Channel::Trades, 0, 7);
        for _ in 0..trades {
            seq += 1;
            // As irregular as real ones: steps of primes, folded.
            let price = 6_168_599 + (seq * 7_919 % 41) as i64 - 20;
            let quantity = (seq * 104_729 % 5_000_000) as i64;
            let aggressor = if seq * 31 % 7 < 3 { Aggressor::Buy } else { Aggressor::Sell };
            let ts_ns = 1_795_309_129_123_456_789 + seq * 1_234_567;
            let meta = Meta {
                first_seq: seq,
                last_seq: seq,
                ts_ns,
                sent_ns: ts_ns + 12_345,
                snapshot: false,
                last: true,
            };
            market::encode(
                &mut payload,
                &meta,
                &Content::Trade(Trade { price, quantity, aggressor, trade_id: seq }),
            );
        }
        market::finish_frame(&mut payload, 0, trades);
        let mut out = Vec::new();
        frame::push(&mut out, opcode::BINARY, &payload);
        out
    };
    // More than any window: nothing refers back to the same trades a round before.
    (0..300_000 / (usize::from(trades) * 72)).map(frame).collect()
}

fn compress(c: &mut Criterion) {
    for name in ["shared", "dedicated"] {
        let mut group = c.benchmark_group(format!("deflate/{name}"));
        for trades in TRADES {
            let frames = frames(trades);
            let bytes = frames.iter().map(Vec::len).sum::<usize>() / frames.len();
            group.throughput(Throughput::Elements(1));
            let (mut deflater, mut context) =
                (Deflater::default(), Context::new(limits::DEFLATE_CONTEXT_WINDOW_BITS));
            let (mut out, mut scratch, mut at) = (Vec::new(), Vec::new(), 0);
            group.bench_function(BenchmarkId::from_parameter(format!("{bytes} bytes")), |b| {
                b.iter(|| {
                    out.clear();
                    at = (at + 1) % frames.len();
                    let message = frame::messages(&frames[at]).next().unwrap();
                    black_box(match name {
                        "shared" => deflater.push(&mut out, &message, 15, usize::MAX),
                        _ => context.push(&mut out, &message, usize::MAX, &mut scratch),
                    })
                });
            });
        }
        group.finish();
    }
}

fn inflate(c: &mut Criterion) {
    let request = br#"{"op":"subscribe","id":1,"symbols":["BTC-USD","ETH-USD","SOL-USD"],"channels":["quotes","trades","book"],"depth":10}"#;
    let (mut plain, mut out) = (Vec::new(), Vec::new());
    frame::push(&mut plain, opcode::TEXT, request);
    let mut context = Context::new(15);
    context.push(&mut out, &frame::messages(&plain).next().unwrap(), usize::MAX, &mut Vec::new());
    let message: Vec<u8> = frame::messages(&out).next().unwrap().payload().flatten().copied().collect();
    let rules = Rules { deflate: true, bytes: 65_536, inflate_ratio: 256, ..Rules::default() };
    let mut inflater = Inflater::default();
    assert_eq!(inflater.inflate(&message, &rules).unwrap(), request);
    c.bench_function("deflate/inflate a request", |b| {
        b.iter(|| inflater.inflate(black_box(&message), &rules));
    });
}

criterion_group!(benches, compress, inflate);
criterion_main!(benches);
