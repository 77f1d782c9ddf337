//! A shard's core without sockets: how many subscriber-messages a second it carries, from events to bytes offered.

mod common;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tickcast::model::Event;
use tickcast::shard::Core;

use common::{core, quotes};

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
        let mut core = core(symbols, sessions, each, Arc::default());
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
