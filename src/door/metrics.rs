//! `/metrics`: every counter as OpenMetrics text, so that anyone can check from outside that work is shared and
//! nothing is lost.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::clock::Clock;
use crate::stats::{Counter, Resumed, ShardStats, Stats};

/// The media type of the text.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why the door turned a request away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 426: no WebSocket, or another version.
    NotWebSocket,
    /// 403: a page of a foreign origin.
    Origin,
    /// 400: a handshake without a proper key, or with a body.
    Malformed,
    /// 400: no subprotocol in common.
    Subprotocol,
    /// 404, 400, 422: a private replay that cannot be had.
    Replay,
    /// 503: as many sessions, handshakes or private replays as are allowed, or no shard that takes more.
    Full,
}

impl Refusal {
    const ALL: [Refusal; 6] = [
        Refusal::NotWebSocket,
        Refusal::Origin,
        Refusal::Malformed,
        Refusal::Subprotocol,
        Refusal::Replay,
        Refusal::Full,
    ];

    fn label(self) -> &'static str {
        match self {
            Refusal::NotWebSocket => "not_websocket",
            Refusal::Origin => "origin",
            Refusal::Malformed => "malformed",
            Refusal::Subprotocol => "subprotocol",
            Refusal::Replay => "replay",
            Refusal::Full => "full",
        }
    }
}

/// What the door counts. All of it is written by the door's one thread.
#[derive(Debug, Default)]
pub struct DoorStats {
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections now that are no sessions: handshakes and plain HTTP.
    pub connections: Counter,
    /// Times that the machine refused to accept (no descriptor left).
    pub accept_failures: Counter,
    /// Requests read.
    pub requests: Counter,
    /// Handshakes granted.
    pub upgraded: Counter,
    /// Connections closed because their request did not come in time.
    pub timeouts: Counter,
    /// Connections closed because what came was no HTTP, or was too large.
    pub malformed: Counter,
    /// Sessions granted that no shard took.
    pub lost: Counter,
    refused: [Counter; Refusal::ALL.len()],
}

impl DoorStats {
    /// Requests turned away for that reason.
    pub fn refused(&self, refusal: Refusal) -> &Counter {
        &self.refused[refusal as usize]
    }
}

/// Every metric of a server.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
}

impl Metrics {
    pub fn new(stats: Stats, clock: Clock, door: Arc<DoorStats>) -> Metrics {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Counters { stats, clock, door }));
        Metrics { registry }
    }

    /// All of them as text.
    pub fn text(&self) -> String {
        let mut out = String::with_capacity(8 * 1_024);
        text::encode(&mut out, &self.registry).expect("writing to a string cannot fail");
        out
    }
}

#[derive(Debug)]
struct Counters {
    stats: Stats,
    clock: Clock,
    door: Arc<DoorStats>,
}

type OfShard = fn(&ShardStats) -> &Counter;

const SHARD_COUNTERS: &[(&str, &str, OfShard)] = &[
    ("events", "Records taken from the bus", |s| &s.events),
    ("encodes", "Messages encoded: once for each topic with subscribers, however many they are", |s| {
        &s.encodes
    }),
    ("snapshots", "Snapshots encoded", |s| &s.snapshots),
    ("writes", "Writes to session sockets", |s| &s.writes),
    ("write_bytes", "Bytes that those writes took", |s| &s.write_bytes),
    ("messages", "Market-data messages handed to sessions, snapshots apart", |s| &s.messages),
    ("delivered", "Sequences that messages handed to sessions carried", |s| &s.delivered),
    ("merged", "Sequences that messages covered without carrying them", |s| &s.merged),
    ("declared_lost", "Sequences that sessions were told they lost", |s| &s.declared_lost),
    ("gaps", "Times that a session was told of a gap", |s| &s.gaps),
    ("conflations", "Times that a session began to get merged state", |s| &s.conflations),
    ("sessions_opened", "Sessions ever taken", |s| &s.sessions_opened),
    ("client_requests", "Requests of clients on the socket", |s| &s.requests),
    ("client_refusals", "Requests of clients answered with an error", |s| &s.refusals),
    ("closed_slow", "Sessions closed with 4008", |s| &s.closed_slow),
    ("closed_protocol", "Sessions closed for breaking the protocol", |s| &s.closed_protocol),
    ("closed_rate", "Sessions closed for sending too much (1008, 4029)", |s| &s.closed_rate),
    ("deflate_messages", "Messages compressed, once for all who get them or for one", |s| {
        &s.deflate_messages
    }),
    ("deflate_bytes_in", "Payload bytes of those messages before", |s| &s.deflate_bytes_in),
    ("deflate_bytes_out", "Payload bytes of those messages after", |s| &s.deflate_bytes_out),
    ("deflate_nanoseconds", "Time that compressing took", |s| &s.deflate_ns),
    (
        "deflate_skipped_bytes",
        "Payload bytes that went out as they were for lack of time to compress them",
        |s| &s.deflate_skipped_bytes,
    ),
];

const SHARD_GAUGES: &[(&str, &str, OfShard)] = &[
    ("sessions", "Sessions now", |s| &s.sessions),
    ("subscriptions", "Subscriptions (session, instrument, channel) now", |s| &s.subscriptions),
    ("conflating", "Sessions now that get merged state, since they cannot keep up", |s| &s.conflating),
    ("deflate_sessions", "Sessions now that take compressed messages", |s| &s.deflate_sessions),
    ("deflate_contexts", "Sessions now that have a compression context of their own", |s| {
        &s.deflate_contexts
    }),
    ("outbox_bytes", "Bytes waiting in outboxes now", |s| &s.outbox_bytes),
    ("ring_bytes", "Bytes that the resume rings hold now", |s| &s.ring_bytes),
];

impl Collector for Counters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_source(&mut encoder)?;
        self.encode_live(&mut encoder)?;
        for (name, help, counter) in SHARD_COUNTERS {
            self.each_shard(&mut encoder, name, help, MetricType::Counter, |stats, out| {
                ConstCounter::new(counter(stats).get()).encode(out)
            })?;
        }
        for (name, help, gauge) in SHARD_GAUGES {
            self.each_shard(&mut encoder, name, help, MetricType::Gauge, |stats, out| {
                ConstGauge::new(gauge(stats).get() as i64).encode(out)
            })?;
        }
        self.encode_resumes(&mut encoder)?;
        self.encode_record(&mut encoder)?;
        self.encode_private(&mut encoder)?;
        self.encode_door(&mut encoder)?;
        encode_process(&mut encoder)
    }
}

impl Counters {
    fn encode_source(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let source = &self.stats.source;
        counter(encoder, "tickcast_ticks", "Exchange events published", source.ticks.get())?;
        counter(
            encoder,
            "tickcast_published",
            "Records published: one sequence each",
            source.published.get(),
        )?;
        counter(encoder, "tickcast_source_waits", "Times the source waited for a shard", source.waits.get())?;
        let waited = source.wait_ns.get() as f64 / 1e9;
        encoder
            .encode_descriptor("tickcast_source_wait_seconds", "Time it waited so", None, MetricType::Counter)
            .and_then(|out| ConstCounter::new(waited).encode(out))?;
        gauge(encoder, "tickcast_epoch", "The epoch now", source.epoch.get() as i64)?;
        gauge(encoder, "tickcast_source_ended", "1 when the source has ended", source.ended.get() as i64)?;
        let stale = source.is_stale(self.clock.now_ns());
        gauge(encoder, "tickcast_source_stale", "1 while the source is overdue", stale.into())?;
        let last = source.last_publish_unix_ns.get() as f64 / 1e9;
        encoder
            .encode_descriptor(
                "tickcast_last_publish_timestamp_seconds",
                "When the source last published, Unix time",
                None,
                MetricType::Gauge,
            )
            .and_then(|out| ConstGauge::new(last).encode(out))
    }

    fn encode_live(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Lines of a live source that were not understood";
        counter(encoder, "tickcast_source_refused", help, self.stats.live.refused.get())
    }

    fn encode_record(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let record = &self.stats.record;
        counter(encoder, "tickcast_record_records", "Records written to files", record.records.get())?;
        counter(encoder, "tickcast_record_bytes", "Bytes of those files", record.bytes.get())?;
        counter(encoder, "tickcast_record_files", "Files begun", record.files.get())?;
        let help = "Records that were not recorded; the files declare each loss";
        counter(encoder, "tickcast_record_lost", help, record.lost.get())?;
        let help = "Times that a file could not be written";
        counter(encoder, "tickcast_record_write_errors", help, record.write_errors.get())?;
        let help = "Records that wait to be written now";
        gauge(encoder, "tickcast_record_waiting", help, record.waiting.get() as i64)
    }

    fn encode_private(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let private = &self.stats.private;
        let running = private.running.load(Ordering::Relaxed);
        gauge(
            encoder,
            "tickcast_private_replays",
            "Replays now that a client has for itself",
            running as i64,
        )?;
        let opened = private.opened.load(Ordering::Relaxed);
        counter(encoder, "tickcast_private_replays_opened", "Such replays ever opened", opened)
    }

    fn encode_door(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let door = &self.door;
        counter(encoder, "tickcast_door_accepted", "Connections accepted", door.accepted.get())?;
        counter(encoder, "tickcast_door_requests", "HTTP requests read", door.requests.get())?;
        counter(encoder, "tickcast_door_upgraded", "WebSocket handshakes granted", door.upgraded.get())?;
        counter(
            encoder,
            "tickcast_door_timeouts",
            "Connections whose request came too slowly",
            door.timeouts.get(),
        )?;
        counter(encoder, "tickcast_door_malformed", "Connections that sent no HTTP", door.malformed.get())?;
        counter(encoder, "tickcast_door_lost", "Sessions granted that no shard took", door.lost.get())?;
        counter(
            encoder,
            "tickcast_door_accept_failures",
            "Times the machine refused to accept",
            door.accept_failures.get(),
        )?;
        gauge(
            encoder,
            "tickcast_door_connections",
            "Connections now that are no sessions",
            door.connections.get() as i64,
        )?;
        let mut family = encoder.encode_descriptor(
            "tickcast_door_refused",
            "Requests turned away",
            None,
            MetricType::Counter,
        )?;
        for refusal in Refusal::ALL {
            let labels = [("reason", refusal.label())];
            ConstCounter::new(door.refused(refusal).get()).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn encode_resumes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Streams resumed, by what their clients got";
        let mut family = encoder.encode_descriptor("tickcast_resumes", help, None, MetricType::Counter)?;
        for (shard, stats) in self.stats.shards.iter().enumerate() {
            for result in Resumed::ALL {
                let shard = shard.to_string();
                let labels = [("shard", shard.as_str()), ("result", result.name())];
                ConstCounter::new(stats.resumes(result).get()).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn each_shard(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        kind: MetricType,
        write: impl Fn(&ShardStats, MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let name = format!("tickcast_{name}");
        let mut family = encoder.encode_descriptor(&name, help, None, kind)?;
        for (shard, stats) in self.stats.shards.iter().enumerate() {
            write(stats, family.encode_family(&[("shard", shard as u64)])?)?;
        }
        Ok(())
    }
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> fmt::Result {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

/// What the process takes of the machine, under the names that Prometheus clients share; nothing where there is no
/// `/proc`.
fn encode_process(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    if let Some(bytes) =
        std::fs::read_to_string("/proc/self/status").ok().and_then(|text| resident_bytes(&text))
    {
        gauge(encoder, "process_resident_memory_bytes", "Resident memory", bytes as i64)?;
    }
    if let Some(seconds) = std::fs::read_to_string("/proc/self/stat").ok().and_then(|text| cpu_seconds(&text))
    {
        encoder
            .encode_descriptor("process_cpu_seconds", "CPU time of all threads", None, MetricType::Counter)
            .and_then(|out| ConstCounter::new(seconds).encode(out))?;
    }
    Ok(())
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1_024)
}

/// User and system time: fields 14 and 15 of `proc_pid_stat(5)`, in hundredths of a second for user space on every
/// architecture that Rust's standard library runs on.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_exported_and_the_text_ends_as_it_must() {
        let stats = Stats::new(2);
        stats.source.ticks.add(7);
        stats.shards[0].encodes.add(3);
        stats.shards[1].encodes.add(4);
        stats.shards[1].sessions.set(2);
        stats.shards[1].resumes(Resumed::Gap).add(6);
        stats.source.due_ns.set(1);
        let door = Arc::new(DoorStats::default());
        door.refused(Refusal::Origin).add(5);
        // Its time has not come far enough for the source to be overdue.
        let text = Metrics::new(stats, Clock::start(), door).text();
        for line in [
            "tickcast_ticks_total 7",
            "tickcast_published_total 0",
            "tickcast_encodes_total{shard=\"0\"} 3",
            "tickcast_encodes_total{shard=\"1\"} 4",
            "tickcast_writes_total{shard=\"0\"} 0",
            "tickcast_delivered_total{shard=\"0\"} 0",
            "tickcast_merged_total{shard=\"0\"} 0",
            "tickcast_sessions{shard=\"1\"} 2",
            "tickcast_source_stale 0",
            "tickcast_resumes_total{shard=\"0\",result=\"exact\"} 0",
            "tickcast_resumes_total{shard=\"1\",result=\"gap\"} 6",
            "tickcast_door_refused_total{reason=\"origin\"} 5",
            "tickcast_door_refused_total{reason=\"full\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn the_process_is_read_as_the_kernel_writes_it() {
        assert_eq!(resident_bytes("VmPeak:\t 100 kB\nVmRSS:\t   2048 kB\n"), Some(2 * 1_024 * 1_024));
        let stat = "12 (a) b) S 1 12 12 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 100 0 0";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!((resident_bytes(""), cpu_seconds("12 (a")), (None, None));
    }
}
