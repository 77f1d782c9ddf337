//! Counters that the hot threads write and `/metrics` reads.
//!
//! Each counter has one writer, so that counting is a load and a store: no locked instruction on the path of a tick.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

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
    /// Bytes waiting in outboxes now.
    pub outbox_bytes: Counter,
}

/// All counters of a server.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// The publisher's.
    pub source: Arc<CachePadded<SourceStats>>,
    /// One a shard.
    pub shards: Vec<Arc<CachePadded<ShardStats>>>,
}

impl Stats {
    /// Counters for that many shards, all zero.
    pub fn new(shards: usize) -> Stats {
        Stats { source: Arc::default(), shards: (0..shards).map(|_| Arc::default()).collect() }
    }

    /// The sum of one counter over all shards.
    pub fn sum(&self, counter: impl Fn(&ShardStats) -> &Counter) -> u64 {
        self.shards.iter().map(|shard| counter(shard).get()).sum()
    }
}
