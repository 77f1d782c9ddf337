//! A shard's core without sockets: how many subscriber-messages a second it carries, from events to bytes offered.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tickcast::model::{Body, Catalog, Event, Quote, event_flags};
use tickcast::shard::{CompressionSettings, Core, CoreSettings, Protocol, SlowConsumer};
use tickcast::sim::{InstrumentProfile, profiles};

/// A core with `sessions` that have subscribed to the quotes of `each` symbols out of `symbols`.
fn core(symbols: usize, sessions: usize, each: usize) -> Core {
    let instruments = profiles(symbols).iter().map(InstrumentProfile::instrument).collect();
    let catalog = Arc::new(Catalog::new(instruments).expect("made-up instruments are a catalog"));
    let settings = CoreSettings {
        outbox_bytes: 1 << 20,
        outboxes_bytes: usize::MAX,
        ring_bytes: 0,
        frame_messages: u16::MAX,
        slow_consumer: SlowConsumer::Disconnect,
        request_rate: 0,
        compression: CompressionSettings::DEFAULT,
    };
    let mut core = Core::new(catalog.clone(), 1, settings, Arc::default());
    for session in 0..sessions {
        let id = core.open(Protocol::Binary, "127.0.0.1:1".parse().unwrap(), 0, 0);
        for n in 0..each {
            let symbol = &catalog.instruments()[(session * each + n) % symbols].symbol;
            let request = format!(r#"{{"op":"subscribe","symbols":["{symbol}"],"channels":["quotes"]}}"#);
            core.request(id, &request, 0);
            core.offer(id, 0, &mut Vec::new(), |bytes| Ok(bytes.len())).expect("nothing fails here");
        }
    }
    core
}

/// Quotes of the symbols in turns, each an exchange event of its own.
fn quotes(symbols: usize, count: usize) -> Vec<Event> {
    let quote = |n: usize| {
        let quote = Quote { bid: n as i64, bid_quantity: 5, ask: n as i64 + 1, ask_quantity: 7 };
        let mut event = Event::new((n % symbols) as u32, 1 + (n / symbols) as u64, 0, Body::Quote(quote));
        event.flags = event_flags::LAST | event_flags::LAST_OF_STREAM;
        event
    };
    (0..count).map(quote).collect()
}

/// One batch: events in, every dirty session offered once. Returns how many bytes were offered.
fn carry(core: &mut Core, events: &[Event], dirty: &mut Vec<usize>, scratch: &mut Vec<u8>) -> usize {
    core.apply(events);
    core.flush();
    core.take_dirty(dirty);
    let mut offered = 0;
    for id in dirty.drain(..) {
        let taken = core.offer(id, 0, scratch, |bytes| {
            offered += black_box(bytes).len();
            Ok(bytes.len())
        });
        taken.expect("nothing fails here");
    }
    offered
}

fn fan_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fanout");
    for (name, symbols, sessions, each, gather) in [
        ("1x1", 1, 1, 1, 64),
        ("1x100", 1, 100, 1, 64),
        ("1x1000", 1, 1_000, 1, 1),
        ("1x1000", 1, 1_000, 1, 16),
        ("1x1000", 1, 1_000, 1, 64),
        ("1x10000", 1, 10_000, 1, 64),
        ("100x500", 100, 500, 10, 100),
        ("firehose", 1_000, 1, 1_000, 1_000),
    ] {
        let mut core = core(symbols, sessions, each);
        let events = quotes(symbols, gather);
        // Each event reaches those who have its symbol.
        let subscribers = (sessions * each / symbols).max(1);
        group.throughput(Throughput::Elements((gather * subscribers) as u64));
        let (mut dirty, mut scratch) = (Vec::new(), Vec::new());
        group.bench_function(BenchmarkId::new(name, gather), |bencher| {
            bencher.iter(|| carry(&mut core, &events, &mut dirty, &mut scratch));
        });
    }
    group.finish();
}

criterion_group!(benches, fan_out);
criterion_main!(benches);
