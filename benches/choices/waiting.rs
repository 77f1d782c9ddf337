//! How a reader of the bus waits: parked, as a shard does; spinning for some microseconds before; spinning always. From
//! publishing to having the record, with both threads on one core and on a core each.

use std::hint::spin_loop;
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tickcast::bus::{Publisher, Tap, bus};
use tickcast::limits::{CHUNK_RECORDS_MAX, QUEUE_CHUNKS_MAX, QUEUE_RECORDS_MAX};
use tickcast::shard::Shard;

use crate::lanes::Record;
use crate::machine::{pin, sleep_until, thread_cpu_ns, two_cores};
use crate::turns::{Candidate, Extent, compare, head};

/// How long a reader spins before it parks; `None`: for ever.
type Spin = Option<Duration>;

const WAYS: [(&str, Spin); 5] = [
    ("parking", Some(Duration::ZERO)),
    ("spinning 10 µs, then parking", Some(Duration::from_micros(10))),
    ("spinning 50 µs, then parking", Some(Duration::from_micros(50))),
    ("spinning 200 µs, then parking", Some(Duration::from_micros(200))),
    ("spinning always", None),
];

pub fn run(extent: Extent) {
    let figures = ["p50 µs", "p99 µs", "publisher, cores", "reader, cores"];
    head(extent, "from publishing to having the record", &figures);
    let length = extent.pick(Duration::from_millis(10), Duration::from_millis(250));
    let cores = two_cores();
    let places = match cores {
        Some([first, second]) => {
            vec![("one core", [Some(first); 2]), ("a core each", [Some(first), Some(second)])]
        }
        None => vec![("the only core", [None; 2])],
    };
    for (place, cores) in places {
        for rate in [1_000, 100_000] {
            let way = |(name, spin)| Candidate::new(name, move || hop(cores, rate, length, spin));
            compare(extent, &format!("{place}, {rate} records/s"), WAYS.map(way).into());
        }
    }
}

/// Publishes at that rate for that long, on an absolute schedule.
fn hop([publishing, reading]: [Option<usize>; 2], rate: u64, length: Duration, spin: Spin) -> [f64; 4] {
    let (publisher, mut taps) = bus::<Record>(1, QUEUE_CHUNKS_MAX, QUEUE_RECORDS_MAX);
    let tap = taps.remove(0);
    let records = (rate as f64 * length.as_secs_f64()) as u64;
    // Both are there by then.
    let start = Instant::now() + Duration::from_millis(2);
    let (publisher_cores, (reader_cores, hops)) = thread::scope(|scope| {
        let publisher = scope.spawn(move || {
            pin(publishing);
            publish(publisher, start, rate, records)
        });
        let reader = scope.spawn(move || {
            pin(reading);
            read(tap, start, records, spin)
        });
        (publisher.join().expect("a publisher"), reader.join().expect("a reader has everything in order"))
    });
    let [p50, p99] = [0.5, 0.99].map(|quantile| hops.value_at_quantile(quantile) as f64 / 1e3);
    [p50, p99, publisher_cores, reader_cores]
}

/// Sends what is due, each record with its number and when it was published. It sleeps as the pump does, so that at high
/// rates a few are due at once. Returns how much of a core it took.
fn publish(mut publisher: Publisher<Record>, start: Instant, rate: u64, records: u64) -> f64 {
    sleep_until(start);
    let cpu_ns = thread_cpu_ns();
    let mut batch = Vec::with_capacity(CHUNK_RECORDS_MAX);
    let mut sent = 0;
    while sent < records {
        let now_ns = start.elapsed().as_nanos() as u64;
        let due = (now_ns * rate / 1_000_000_000 + 1).min(records).min(sent + CHUNK_RECORDS_MAX as u64);
        if due <= sent {
            sleep_until(start + Duration::from_nanos(sent * 1_000_000_000 / rate));
            continue;
        }
        batch.clear();
        batch.extend((sent..due).map(|number| [number, now_ns, 0, 0, 0, 0, 0, 0]));
        publisher.publish(&batch);
        sent = due;
    }
    (thread_cpu_ns() - cpu_ns) / start.elapsed().as_nanos() as f64
}

/// Takes all records. Returns how much of a core it took, and how long each was on its way, in nanoseconds.
fn read(mut tap: Tap<Record>, start: Instant, records: u64, spin: Spin) -> (f64, Histogram<u64>) {
    let runtime = Shard::runtime().expect("a runtime");
    let mut hops = Histogram::new(3).expect("three digits are a precision");
    sleep_until(start);
    let cpu_ns = thread_cpu_ns();
    let mut seen = 0;
    runtime.block_on(async {
        while seen < records {
            while let Some(chunk) = tap.try_pop() {
                let now_ns = start.elapsed().as_nanos() as u64;
                for record in &chunk[..] {
                    assert_eq!(record[0], seen, "records come in order");
                    seen += 1;
                    hops.record(now_ns - record[1]).expect("it grows by itself");
                }
            }
            if seen < records && spin_for(&tap, spin).is_continue() {
                assert!(tap.ready().await.is_ok(), "{seen} of {records} records came");
            }
        }
    });
    ((thread_cpu_ns() - cpu_ns) / start.elapsed().as_nanos() as f64, hops)
}

/// Spins until something is there, or for as long as it may: then it is to park.
fn spin_for(tap: &Tap<Record>, spin: Spin) -> ControlFlow<()> {
    if spin == Some(Duration::ZERO) {
        return ControlFlow::Continue(());
    }
    let since = Instant::now();
    while tap.is_empty() {
        if spin.is_some_and(|spin| since.elapsed() >= spin) {
            return ControlFlow::Continue(());
        }
        spin_loop();
    }
    ControlFlow::Break(())
}
