//! What was measured, as it is printed as JSON.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::meter::Meter;
use super::plan::{Plan, Protocol, Target};
use super::worker::Seen;
use crate::client::Address;

/// The result of a run. Times are nanoseconds where the name does not say otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The workload's name.
    pub workload: String,
    /// Where the server was; `null`: it was started for the run.
    pub url: Option<String>,
    /// How it was started, where it was.
    pub command: Option<String>,
    /// Clients.
    pub connections: usize,
    /// Instruments that the server has.
    pub symbols: usize,
    /// Instruments of each client; `null`: all.
    pub symbols_per_connection: Option<usize>,
    /// Channels subscribed to.
    pub channels: Vec<&'static str>,
    /// What was spoken.
    pub protocol: Protocol,
    /// Whether messages came compressed.
    pub compressed: bool,
    /// When the clients read.
    pub reading: String,
    /// Clients that read slowly; they are not among the figures below, `slow` apart.
    pub slow_connections: usize,
    /// Whether nothing was published.
    pub is_idle: bool,
    /// How long it was measured.
    pub seconds: f64,
    /// Frames of market data received, all clients together.
    pub frames: u64,
    /// Messages of market data, snapshots apart.
    pub messages: u64,
    /// Bytes of the frames' payloads, as they came.
    pub bytes: u64,
    /// Frames a second.
    pub frames_per_second: f64,
    /// Messages a second.
    pub messages_per_second: f64,
    /// Bytes a second.
    pub bytes_per_second: f64,
    /// From when a message was due to its receipt: what the server held up by standing still counts.
    pub latency: Percentiles,
    /// From the publish stamp to receipt.
    pub latency_from_publish: Percentiles,
    /// How long it took until all of a surge had come; `null`: there was none.
    pub caught_up: Option<CaughtUp>,
    /// What became of the sequences.
    pub ledger: Tally,
    /// The same of those that read slowly.
    pub slow: Slow,
    /// What must not be. A run with any of them has failed.
    pub faults: Faults,
    /// What the server used, where that can be known.
    pub server: Option<ServerUse>,
    /// Cores that the load generator used; near `generator_threads` it may be what is measured.
    pub generator_cores: f64,
    /// Its reading threads.
    pub generator_threads: usize,
    /// Where it ran.
    pub environment: Environment,
    /// The measured time in slices.
    pub slices: Vec<Slice>,
    /// The distribution of `latency`: share of messages, and the latency that they do not exceed.
    pub distribution: Vec<(f64, u64)>,
}

/// A distribution of latencies, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// How many values.
    pub count: u64,
    /// The least.
    pub min: u64,
    /// Half are at most this.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// All.
    pub max: u64,
}

/// Times from when the last message of a surge was due until all of the surge had come. A surge is where for 50 ms or more
/// at least four times as much is due as usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CaughtUp {
    /// Surges.
    pub surges: usize,
    /// Half of them at most this.
    pub p50: u64,
    /// The longest.
    pub max: u64,
}

/// What became of sequences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Carried by a message.
    pub delivered: u64,
    /// Covered by one.
    pub merged: u64,
    /// Declared lost.
    pub declared_lost: u64,
}

/// What those who read slowly got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Slow {
    /// Messages.
    pub messages: u64,
    /// Their sequences.
    #[serde(flatten)]
    pub ledger: Tally,
    /// How many the server closed.
    pub closed: usize,
}

/// What must not be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// Times that sequences were missing without having been declared lost.
    pub gaps: u64,
    /// How many were missing.
    pub missing: u64,
    /// Messages that came again or late.
    pub repeated: u64,
    /// Books that were not what their checksum said.
    pub checksums: u64,
    /// Clients whose connection ended.
    pub connections: usize,
    /// The first few of them in words.
    pub reasons: Vec<String>,
}

/// What the server used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ServerUse {
    /// Cores of all its threads.
    pub cores: f64,
    /// Cores that the kernel used for soft interrupts meanwhile, where it tells: on the server's core if it was pinned,
    /// else on all.
    pub softirq_cores: f64,
    /// Frames received for each second of its CPU, soft interrupts added.
    pub frames_per_cpu_second: f64,
    /// Its CPU for each frame received, soft interrupts added.
    pub ns_per_frame: f64,
    /// Messages that it wrote with one `send`, where its metrics tell.
    pub messages_per_write: Option<f64>,
    /// Times that it began to merge the streams of a client that fell behind, the warm-up included, where its metrics
    /// tell.
    pub conflations: Option<u64>,
    /// Resident bytes at the end.
    pub resident_bytes: Option<u64>,
    /// Resident bytes for each connection once all had their streams.
    pub bytes_per_connection: Option<f64>,
}

/// Where it ran.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// When, RFC 3339.
    pub date: String,
    /// Version of the load generator.
    pub version: &'static str,
    /// Kernel.
    pub kernel: String,
    /// Processor.
    pub processor: String,
    /// Cores.
    pub cores: usize,
    /// Load average of the last minute at the end.
    pub load: f64,
    /// Whether the server was kept on the first core and the clients on the last.
    pub pinned: bool,
}

/// A part of the measured time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Slice {
    /// Seconds from the start of measuring to its end.
    pub until_seconds: f64,
    /// Frames a second.
    pub frames_per_second: f64,
    /// Messages a second.
    pub messages_per_second: f64,
    /// Half of its messages came within this.
    pub p50: u64,
    /// 99 %.
    pub p99: u64,
    /// All.
    pub max: u64,
}

/// What the server has used and counted up to a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Readings {
    pub cpu_ns: Option<u64>,
    pub softirq_ns: u64,
    pub resident: Option<u64>,
    pub writes: Option<f64>,
    pub messages: Option<f64>,
    pub conflations: Option<f64>,
}

impl Percentiles {
    fn of(histogram: &Histogram<u64>) -> Percentiles {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Percentiles {
            count: histogram.len(),
            min: histogram.min(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
        }
    }
}

impl CaughtUp {
    fn of(mut times_ns: Vec<u64>) -> Option<CaughtUp> {
        times_ns.sort_unstable();
        let middle = times_ns.len().saturating_sub(1) / 2;
        Some(CaughtUp { surges: times_ns.len(), p50: *times_ns.get(middle)?, max: *times_ns.last()? })
    }
}

impl Faults {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Faults::default()
    }
}

impl Outcome {
    /// `readings`: before anybody connected, when all had their streams, at the start of measuring and at its end.
    pub(super) fn new(
        plan: &Plan,
        address: &Address,
        symbols: usize,
        readings: [Readings; 4],
        generator_ns: u64,
        seen: Vec<Seen>,
    ) -> Outcome {
        let [mut live, mut slow] = [(); 2].map(|()| Meter::new(plan.has_schedule));
        let (mut faults, mut closed) = (Faults::default(), 0);
        for one in seen {
            live.add(one.live);
            slow.add(one.slow);
            faults.connections += one.live_failed;
            faults.reasons.extend(one.failures);
            closed += one.slow_closed;
        }
        faults.reasons.truncate(10);
        for meter in [&live, &slow] {
            faults.gaps += meter.faults.gaps;
            faults.missing += meter.faults.missing;
            faults.repeated += meter.faults.repeated;
            faults.checksums += meter.faults.checksums;
        }
        let seconds = plan.duration.as_secs_f64();
        let tally = |meter: &Meter| Tally {
            delivered: meter.delivered,
            merged: meter.merged,
            declared_lost: meter.lost,
        };
        let slow_connections = (0..plan.connections).filter(|index| plan.is_slow(*index)).count();
        Outcome {
            workload: plan.workload.clone(),
            url: matches!(plan.target, Target::Url(_)).then(|| address.to_string()),
            command: match &plan.target {
                Target::Start(command) => Some(command.join(" ")),
                Target::Url(_) => None,
            },
            connections: plan.connections,
            symbols,
            symbols_per_connection: plan.symbols_each,
            channels: plan.channels.iter().map(|channel| channel.name()).collect(),
            protocol: plan.protocol,
            compressed: plan.deflate,
            reading: plan.reading.to_string(),
            slow_connections,
            is_idle: plan.is_idle,
            seconds,
            frames: live.frames,
            messages: live.messages,
            bytes: live.bytes,
            frames_per_second: live.frames as f64 / seconds,
            messages_per_second: live.messages as f64 / seconds,
            bytes_per_second: live.bytes as f64 / seconds,
            latency: Percentiles::of(&live.due),
            latency_from_publish: Percentiles::of(&live.published),
            caught_up: CaughtUp::of(live.surges.caught_up_ns()),
            ledger: tally(&live),
            slow: Slow { messages: slow.messages, ledger: tally(&slow), closed },
            faults,
            server: server_use(&readings, plan.connections, live.frames + slow.frames, seconds),
            generator_cores: generator_ns as f64 / 1e9 / seconds,
            generator_threads: plan.threads,
            environment: Environment::now(plan.pin),
            slices: slices(&live, plan.duration),
            distribution: distribution(&live.due),
        }
    }

    /// Whether nothing was wrong, and something came where something was to come.
    pub fn is_good(&self) -> bool {
        self.faults.is_empty() && (self.messages > 0 || self.is_idle)
    }
}

fn server_use(readings: &[Readings; 4], connections: usize, frames: u64, seconds: f64) -> Option<ServerUse> {
    let [before, connected, started, ended] = readings;
    let cpu_s = ended.cpu_ns?.saturating_sub(started.cpu_ns?) as f64 / 1e9;
    let softirq_s = ended.softirq_ns.saturating_sub(started.softirq_ns) as f64 / 1e9;
    let grown = |of: fn(&Readings) -> Option<f64>| Some(of(ended)? - of(started)?);
    let writes = grown(|readings| readings.writes).filter(|writes| *writes > 0.0);
    Some(ServerUse {
        cores: cpu_s / seconds,
        softirq_cores: softirq_s / seconds,
        frames_per_cpu_second: if cpu_s > 0.0 { frames as f64 / (cpu_s + softirq_s) } else { 0.0 },
        ns_per_frame: if frames > 0 { (cpu_s + softirq_s) * 1e9 / frames as f64 } else { 0.0 },
        messages_per_write: writes
            .zip(grown(|readings| readings.messages))
            .map(|(writes, messages)| messages / writes),
        conflations: ended.conflations.zip(connected.conflations).map(|(now, then)| (now - then) as u64),
        resident_bytes: ended.resident,
        bytes_per_connection: connected
            .resident
            .zip(before.resident)
            .map(|(with, without)| with.saturating_sub(without) as f64 / connections as f64),
    })
}

fn slices(meter: &Meter, duration: Duration) -> Vec<Slice> {
    let length = meter.slice();
    let slice = |(index, part): (usize, &super::meter::Part)| {
        let until = (length * (index as u32 + 1)).min(duration);
        let seconds = (until.saturating_sub(length * index as u32)).as_secs_f64().max(f64::EPSILON);
        Slice {
            until_seconds: until.as_secs_f64(),
            frames_per_second: part.frames as f64 / seconds,
            messages_per_second: part.messages as f64 / seconds,
            p50: part.latency.value_at_quantile(0.5),
            p99: part.latency.value_at_quantile(0.99),
            max: part.latency.max(),
        }
    };
    meter.parts.iter().enumerate().map(slice).collect()
}

/// Points of the distribution, closer together towards its end.
fn distribution(histogram: &Histogram<u64>) -> Vec<(f64, u64)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    let points = histogram.iter_quantiles(5).map(|step| (step.quantile(), step.value_iterated_to()));
    points.take_while(|(quantile, _)| *quantile < 1.0).collect()
}

impl Environment {
    fn now(pinned: bool) -> Environment {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo").lines().find_map(|line| {
            line.strip_prefix("model name").and_then(|rest| Some(rest.split_once(':')?.1.trim().to_owned()))
        });
        let now = time::OffsetDateTime::from_unix_timestamp(
            (crate::clock::Clock::start().unix_ns() / 1_000_000_000) as i64,
        );
        let date = now.ok().and_then(|now| now.format(&time::format_description::well_known::Rfc3339).ok());
        Environment {
            date: date.unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION"),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            processor: processor.unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            load: read("/proc/loadavg").split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0),
            pinned,
        }
    }
}
