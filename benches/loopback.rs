//! From end to end: a server in a process of its own, real sockets over loopback, the load generator of
//! `tickcast bench` reading. Criterion's figure is the time from one frame to the next at the clients, all together; the
//! line before it is what the last run of a bench saw. A run that lost something fails.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tickcast::bench::{Outcome, Plan, Protocol, Target, Workload, run};

/// How long one sample measures, and how long everything runs before it.
const SAMPLE: Duration = Duration::from_millis(500);
const WARM_UP: Duration = Duration::from_millis(200);

/// The workload as fast as its clients read.
fn plan(name: &str, connections: usize, protocol: Protocol) -> Plan {
    let workload = Workload::named(name).expect("the workload is there");
    let content = if workload.is_prepared { "trades" } else { "market" };
    let command = format!(
        "{} bench-server --symbols {} --connections {connections} --content {content} --rate max",
        env!("CARGO_BIN_EXE_tickcast"),
        workload.symbols,
    );
    Plan {
        workload: name.to_owned(),
        target: Target::Start(command.split(' ').map(ToOwned::to_owned).collect()),
        connections,
        symbols_each: workload.symbols_each,
        channels: workload.channels.to_vec(),
        depth: workload.depth,
        interval_ms: 0,
        protocol,
        deflate: false,
        warmup: WARM_UP,
        duration: SAMPLE,
        slow_per_mille: 0,
        slow_bytes_per_second: 0,
        reading: workload.reading,
        threads: 1,
        pin: false,
        is_idle: false,
        has_schedule: true,
    }
}

fn measured(plan: &Plan) -> Outcome {
    let outcome = run(plan, &mut |_| ()).unwrap_or_else(|error| panic!("{error}"));
    assert!(outcome.is_good(), "{:?}", outcome.faults);
    outcome
}

fn loopback(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("loopback");
    group.sample_size(10).throughput(Throughput::Elements(1));
    for (name, workload, connections, protocol) in [
        ("trades, binary", "fanout-1x1000", 100, Protocol::Bin),
        ("market, binary", "market", 10, Protocol::Bin),
        ("market, JSON", "market", 10, Protocol::Json),
    ] {
        let plan = plan(workload, connections, protocol);
        let mut last = None;
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|frames| {
                let outcome = measured(&plan);
                let each = SAMPLE.as_secs_f64() / outcome.frames as f64;
                last = Some(outcome);
                Duration::from_secs_f64(each * frames as f64)
            });
        });
        if let Some(outcome) = last {
            println!(
                "{name}, {connections} clients: {:.0} frames/s, {:.0} messages/s; from the publish stamp to receipt p50 {} µs, \
                 p99 {} µs, p99.9 {} µs",
                outcome.frames_per_second,
                outcome.messages_per_second,
                outcome.latency_from_publish.p50 / 1_000,
                outcome.latency_from_publish.p99 / 1_000,
                outcome.latency_from_publish.p999 / 1_000,
            );
        }
    }
    group.finish();
}

criterion_group!(benches, loopback);
criterion_main!(benches);
