//! Counters that the hot threads write and `/metrics` reads.
//!
//! Each [`Counter`] has one writer, so that counting is a load and a store: no locked instruction on the path of a tick.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;

use crate::limits;

/// A counter or gauge with one writer and any number of readers.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds. Only the owning thread may call it: two writers would lose counts.
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// Sets a gauge. Only the owning thread may call it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the publisher's thread counts.
#[derive(Debug, Default)]
pub struct SourceStats {
    /// Exchange events published.
    pub ticks: Counter,
    /// Records published (each is one sequence of one stream).
    pub published: Counter,
    /// Times the publisher found a queue full and waited.
    pub waits: Counter,
    /// Nanoseconds it waited so.
    pub wait_ns: Counter,
    /// The epoch now.
    pub epoch: Counter,
    /// When it last published, nanoseconds since the Unix epoch.
    pub last_publish_unix_ns: Counter,
    /// 1 when the source has ended.
    pub ended: Counter,
    /// When the publisher's thread is to be heard of next, monotonic nanoseconds: the time at which it last asked the
    /// source, or for which the source said it has something. 0: nothing is expected of it (paused, ended, stopped).
    pub due_ns: Counter,
}

impl SourceStats {
    /// How long the source has been overdue, nanoseconds: it does not come back from being asked, waits for a shard
    /// that does nothing any more, or has let the time pass for which it announced itself. 0 where it is in time, and
    /// while a shard that lives has no room for it.
    pub fn overdue_ns(&self, now_ns: u64) -> u64 {
        match self.due_ns.get() {
            0 => 0,
            due_ns => now_ns.saturating_sub(due_ns),
        }
    }

    /// Whether what clients hold may be old: the source is overdue by more than [`limits::STALE_MS`].
    pub fn is_stale(&self, now_ns: u64) -> bool {
        self.overdue_ns(now_ns) > limits::STALE_MS * 1_000_000
    }
}

/// What is counted of a recording of what is published.
#[derive(Debug, Default)]
pub struct RecordStats {
    /// Records written to files. Written, as all that follow but one, by the recorder's thread.
    pub records: Counter,
    /// Bytes of those files.
    pub bytes: Counter,
    /// Files begun.
    pub files: Counter,
    /// Times that a file could not be written.
    pub write_errors: Counter,
    /// Records that wait to be written now.
    pub waiting: Counter,
    /// Records that were not recorded; each loss is declared in the file. Written by the publisher's thread.
    pub lost: Counter,
}

/// What is counted of a market that another program publishes. Written by the thread that reads it.
#[derive(Debug, Default)]
pub struct LiveStats {
    /// Lines that were not understood, of all writers.
    pub refused: Counter,
}

/// What is counted of the replays that clients have for themselves. Many threads write it, none of them hot.
#[derive(Debug, Default)]
pub struct PrivateStats {
    /// Places taken now: replays that are being opened, run or end.
    pub running: AtomicUsize,
    /// Replays ever opened.
    pub opened: AtomicU64,
}

/// What a client that resumed a stream got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// Exactly what it had missed.
    Exact,
    /// A snapshot.
    Snapshot,
    /// A declared gap, and what there was behind it.
    Gap,
}

impl Resumed {
    /// All of them.
    pub const ALL: [Resumed; 3] = [Resumed::Exact, Resumed::Snapshot, Resumed::Gap];

    /// Its name in `/metrics`.
    pub fn name(self) -> &'static str {
        match self {
            Resumed::Exact => "exact",
            Resumed::Snapshot => "snapshot",
            Resumed::Gap => "gap",
        }
    }
}

/// What a shard's thread counts.
#[derive(Debug, Default)]
pub struct ShardStats {
    /// Records taken from the bus.
    pub events: Counter,
    /// Messages encoded, snapshots apart: once for each topic and encoding that has subscribers, however many.
    pub encodes: Counter,
    /// Snapshots encoded.
    pub snapshots: Counter,
    /// Writes to session sockets.
    pub writes: Counter,
    /// Bytes that those writes took.
    pub write_bytes: Counter,
    /// Market-data messages handed to sessions, snapshots apart (one to a thousand subscribers counts a thousand).
    pub messages: Counter,
    /// Sequences that those messages carried.
    pub delivered: Counter,
    /// Sequences that those messages covered without carrying them.
    pub merged: Counter,
    /// Sequences that sessions were told they lost.
    pub declared_lost: Counter,
    /// Times that a session was told so (`gap`).
    pub gaps: Counter,
    /// Sessions now that get merged state, since they cannot keep up.
    pub conflating: Counter,
    /// Times that a session began to.
    pub conflations: Counter,
    /// Sessions now.
    pub sessions: Counter,
    /// Sessions ever taken.
    pub sessions_opened: Counter,
    /// Subscriptions (session, instrument, channel) now.
    pub subscriptions: Counter,
    /// Requests from clients.
    pub requests: Counter,
    /// Requests refused with an `error`.
    pub refusals: Counter,
    /// Sessions closed with 4008.
    pub closed_slow: Counter,
    /// Sessions closed for breaking the protocol (1002, 1003, 1007, 1009).
    pub closed_protocol: Counter,
    /// Sessions closed for sending too much (1008, 4029).
    pub closed_rate: Counter,
    /// Messages compressed: once for all who get them, or for one.
    pub deflate_messages: Counter,
    /// Bytes of their payload before.
    pub deflate_bytes_in: Counter,
    /// And after.
    pub deflate_bytes_out: Counter,
    /// Nanoseconds that compressing took.
    pub deflate_ns: Counter,
    /// Payload bytes that went out as they were, since there was no time left to compress them.
    pub deflate_skipped_bytes: Counter,
    /// Sessions now that take compressed messages.
    pub deflate_sessions: Counter,
    /// Those of them that have, or may have, a context of their own.
    pub deflate_contexts: Counter,
    /// Bytes waiting in outboxes now.
    pub outbox_bytes: Counter,
    /// Bytes that the resume rings hold now.
    pub ring_bytes: Counter,
    resumes: [Counter; Resumed::ALL.len()],
}

impl ShardStats {
    /// Streams resumed with that result.
    pub fn resumes(&self, result: Resumed) -> &Counter {
        &self.resumes[result as usize]
    }
}

/// All counters of a server.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// The publisher's.
    pub source: Arc<CachePadded<SourceStats>>,
    /// Those of a live market; all 0 where the source is another.
    pub live: Arc<LiveStats>,
    /// Those of the recording; all 0 where nothing is recorded.
    pub record: Arc<RecordStats>,
    /// Those of private replays; all 0 where there are none to be had.
    pub private: Arc<PrivateStats>,
    /// One a shard.
    pub shards: Vec<Arc<CachePadded<ShardStats>>>,
}

impl Stats {
    /// Counters for that many shards, all zero.
    pub fn new(shards: usize) -> Stats {
        Stats {
            source: Arc::default(),
            live: Arc::default(),
            record: Arc::default(),
            private: Arc::default(),
            shards: (0..shards).map(|_| Arc::default()).collect(),
        }
    }

    /// The sum of one counter over all shards.
    pub fn sum(&self, counter: impl Fn(&ShardStats) -> &Counter) -> u64 {
        self.shards.iter().map(|shard| counter(shard).get()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_stale_once_it_is_overdue_by_more_than_the_limit() {
        let (source, limit_ns) = (SourceStats::default(), limits::STALE_MS * 1_000_000);
        assert!(!source.is_stale(u64::MAX), "nothing is expected before it runs");
        source.due_ns.set(1_000);
        for (now_ns, overdue_ns, stale) in [
            (0, 0, false),
            (1_000, 0, false),
            (1_000 + limit_ns, limit_ns, false),
            (1_001 + limit_ns, limit_ns + 1, true),
        ] {
            assert_eq!((source.overdue_ns(now_ns), source.is_stale(now_ns)), (overdue_ns, stale), "{now_ns}");
        }
        source.due_ns.set(0);
        assert!(!source.is_stale(u64::MAX), "paused or ended");
    }
}
