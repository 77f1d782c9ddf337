//! What a recording costs the publisher: the same market published alone, with what was said put on a tape that is
//! thrown away, and with a recorder behind the tape that writes a file.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tickcast::bus::{Tap, bus};
use tickcast::clock::Clock;
use tickcast::feed::Description;
use tickcast::limits::{QUEUE_CHUNKS_MAX, QUEUE_RECORDS_MAX, RECORD_FLUSH_DEFAULT};
use tickcast::model::{Catalog, Event, Primary};
use tickcast::pump::{Pump, PumpHandle, Tape};
use tickcast::recorder::{RecordSettings, Recorder};
use tickcast::sim::{Rate, Simulation, SimulationSettings, profiles};
use tickcast::source::{Next, Source, SourceError};
use tickcast::stats::{RecordStats, Stats};

/// Records that are published in one run.
const RECORDS: usize = 1 << 18;

/// Says what a market said before, in batches of that many records, and stops its pump at the end.
struct Said {
    catalog: Arc<Catalog>,
    records: Arc<[Primary]>,
    at: usize,
    batch: usize,
    pump: Arc<OnceLock<PumpHandle>>,
}

impl Source for Said {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    fn poll(&mut self, _now_ns: u64, out: &mut Vec<Primary>) -> Result<Next, SourceError> {
        let end = self.records.len().min(self.at + self.batch);
        out.extend_from_slice(&self.records[self.at..end]);
        self.at = end;
        if let (true, Some(pump)) = (end == self.records.len(), self.pump.get()) {
            pump.stop();
        }
        Ok(Next::Now)
    }
}

fn market() -> (Arc<Catalog>, Arc<[Primary]>) {
    let settings = SimulationSettings { seed: 7, instruments: profiles(20), rate: Rate::Max, ticks: None };
    let mut simulation = Simulation::new(settings).expect("the settings are allowed");
    let mut records = Vec::new();
    while records.len() < RECORDS {
        simulation.poll(0, &mut records).expect("a simulation does not fail");
    }
    records.truncate(RECORDS);
    (simulation.catalog(), records.into())
}

/// Takes everything and keeps nothing.
fn drain<T: Copy + Send + Sync + 'static>(mut tap: Tap<T>) -> JoinHandle<()> {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without I/O");
        runtime.block_on(async {
            while tap.ready().await.is_ok() {
                while tap.try_pop().is_some() {}
            }
        });
    })
}

fn record(catalog: &Catalog, file: &Path, stats: Arc<RecordStats>) -> (Tape, JoinHandle<()>) {
    let (tape, tap) = Tape::new(catalog.len(), Arc::clone(&stats));
    let settings = RecordSettings {
        file: file.to_owned(),
        rotate_bytes: None,
        rotate: None,
        flush: RECORD_FLUSH_DEFAULT,
    };
    let description = Description::new("a benchmark", catalog.instruments().to_vec());
    let (recorder, _) =
        Recorder::create(settings, description, tap, stats, Clock::start()).expect("a new file");
    (tape, thread::spawn(move || recorder.run()))
}

/// How long it takes to publish everything once; what follows in other threads is waited for and not counted.
fn publish(market: &(Arc<Catalog>, Arc<[Primary]>), batch: usize, how: &str) -> Duration {
    let (catalog, records) = market;
    let folder = tempfile::tempdir().expect("a folder for the recording");
    let pump = Arc::<OnceLock<PumpHandle>>::default();
    let source = Said {
        catalog: Arc::clone(catalog),
        records: Arc::clone(records),
        at: 0,
        batch,
        pump: Arc::clone(&pump),
    };
    let (publisher, mut taps) = bus::<Event>(1, QUEUE_CHUNKS_MAX, QUEUE_RECORDS_MAX);
    let mut threads = vec![drain(taps.remove(0))];
    let stats = Stats::new(1);
    let mut publishing = Pump::new(Box::new(source), publisher, 1, Clock::start(), stats.source);
    let tape = match how {
        "taped" => {
            let (tape, tap) = Tape::new(catalog.len(), stats.record);
            threads.push(drain(tap));
            Some(tape)
        }
        "recorded" => {
            let (tape, thread) = record(catalog, &folder.path().join("a.feed"), stats.record);
            threads.push(thread);
            Some(tape)
        }
        _ => None,
    };
    if let Some(tape) = tape {
        publishing = publishing.with_tape(tape);
    }
    pump.set(publishing.handle()).expect("it is set once");
    let began = Instant::now();
    publishing.run().expect("the records are a market");
    let took = began.elapsed();
    threads.into_iter().for_each(|thread| thread.join().expect("nothing panics"));
    took
}

fn cost(criterion: &mut Criterion) {
    let market = market();
    let mut group = criterion.benchmark_group("publish");
    group.throughput(Throughput::Elements(RECORDS as u64)).sample_size(20);
    for batch in [32, 1_024] {
        for how in ["alone", "taped", "recorded"] {
            group.bench_function(BenchmarkId::new(how, batch), |bencher| {
                bencher.iter_custom(|runs| (0..runs).map(|_| publish(&market, batch, how)).sum());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, cost);
criterion_main!(benches);
