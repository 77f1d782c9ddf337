//! The bus: one publisher thread, one tap, as many records a chunk as a batch has.

use std::thread;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tickcast::bus::bus;
use tickcast::limits::{QUEUE_CHUNKS_MAX, QUEUE_RECORDS_MAX};
use tickcast::model::{Body, Event, Status};

const RECORDS: usize = 1 << 18;

/// Sends records across threads in batches of that many; returns how many arrived.
fn cross(batch: usize) -> usize {
    let (mut publisher, mut taps) = bus::<Event>(1, QUEUE_CHUNKS_MAX, QUEUE_RECORDS_MAX);
    let mut tap = taps.remove(0);
    let reader = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without I/O");
        runtime.block_on(async {
            let mut records = 0;
            while tap.ready().await.is_ok() {
                while let Some(chunk) = tap.try_pop() {
                    records += chunk.len();
                }
            }
            records
        })
    });
    let events = vec![Event::new(0, 1, 0, Body::Status(Status::Trading)); batch];
    for _ in 0..RECORDS / batch {
        publisher.publish(&events);
    }
    drop(publisher);
    reader.join().expect("the reader does not panic")
}

fn throughput(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bus");
    group.throughput(Throughput::Elements(RECORDS as u64)).sample_size(20);
    for batch in [1, 16, 256] {
        group.bench_function(BenchmarkId::new("cross", batch), |bencher| {
            bencher.iter(|| assert_eq!(cross(batch), RECORDS));
        });
    }
    group.finish();
}

criterion_group!(benches, throughput);
criterion_main!(benches);
