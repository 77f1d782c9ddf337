//! How fast the simulated market makes ticks and records, 20 symbols on one core, and with the deriver behind it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tickcast::model::Deriver;
use tickcast::sim::{Rate, Simulation, SimulationSettings, profiles};
use tickcast::source::Source;

/// Ticks in one iteration.
const TICKS: u64 = 100_000;

fn simulation(symbols: usize) -> Simulation {
    let instruments = profiles(symbols);
    Simulation::new(SimulationSettings { seed: 1, instruments, rate: Rate::Max, ticks: None })
        .expect("the listed profiles are sound")
}

/// Polls until so many records were made; returns how many.
fn run(simulation: &mut Simulation, records: u64, mut each: impl FnMut(&[tickcast::model::Primary])) -> u64 {
    let mut out = Vec::with_capacity(4_096);
    let mut made = 0;
    while made < records {
        out.clear();
        simulation.poll(0, &mut out).expect("a simulation does not fail");
        made += out.len() as u64;
        each(&out);
    }
    made
}

/// Time for `iterations` times [`TICKS`] of what `count` counts.
fn timed(iterations: u64, mut work: impl FnMut(u64) -> u64) -> Duration {
    let wanted = iterations * TICKS;
    let start = Instant::now();
    let done = work(wanted);
    // A batch ends where an event ends: scale what went beyond.
    start.elapsed().mul_f64(wanted as f64 / done as f64)
}

fn benchmarks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sim");
    group.throughput(Throughput::Elements(TICKS));
    for symbols in [20, 1_000] {
        let mut market = simulation(symbols);
        group.bench_function(format!("primaries/{symbols}"), |bencher| {
            bencher.iter_custom(|n| timed(n, |wanted| run(&mut market, wanted, |_| ())));
        });
    }
    let mut market = simulation(20);
    group.bench_function("ticks/20", |bencher| {
        bencher.iter_custom(|n| {
            timed(n, |wanted| {
                let mut ticks = 0;
                while ticks < wanted {
                    run(&mut market, 1, |batch| ticks += batch.iter().filter(|p| p.is_last()).count() as u64);
                }
                ticks
            })
        });
    });
    let mut market = simulation(20);
    let mut deriver = Deriver::new(Arc::clone(&market.catalog()));
    let mut events = Vec::new();
    group.bench_function("primaries_derived/20", |bencher| {
        bencher.iter_custom(|n| {
            timed(n, |wanted| {
                run(&mut market, wanted, |batch| {
                    events.clear();
                    for primary in batch {
                        deriver.apply(primary, &mut events).expect("the simulator tells a consistent story");
                    }
                })
            })
        });
    });
    group.finish();
}

criterion_group!(benches, benchmarks);
criterion_main!(benches);
