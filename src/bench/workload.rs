//! The named workloads.

use std::time::Duration;

use super::plan::{Protocol, Reading};
use crate::model::Channel;

/// A named workload: what its server publishes and what its clients ask for.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// Clients.
    pub connections: usize,
    /// Instruments.
    pub symbols: usize,
    /// Instruments of each client; `None`: all.
    pub symbols_each: Option<usize>,
    /// Channels of each.
    pub channels: &'static [Channel],
    /// Levels a side of `book`.
    pub depth: Option<u32>,
    /// Milliseconds between updates; 0: each.
    pub interval_ms: u32,
    /// What is spoken.
    pub protocol: Protocol,
    /// Ticks published at once.
    pub gather: u64,
    /// How often; `None`: as fast as the clients take them.
    pub bursts_per_second: Option<u64>,
    /// Whether it is ten times as busy for a fifth of each second.
    pub surges: bool,
    /// Whether nothing is published at all.
    pub is_idle: bool,
    /// Whether a tick is one prepared trade, each in a frame of its own; else one of the simulated market, with as many
    /// messages in a frame as a batch has.
    pub is_prepared: bool,
    /// When the clients read.
    pub reading: Reading,
}

const BASE: Workload = Workload {
    name: "market",
    summary: "the simulated market of 20 symbols to 100 clients with ten each: quotes, trades, books",
    connections: 100,
    symbols: 20,
    symbols_each: Some(10),
    channels: &[Channel::Quotes, Channel::Trades, Channel::Book],
    depth: None,
    interval_ms: 0,
    protocol: Protocol::Bin,
    gather: 20,
    bursts_per_second: Some(1_000),
    surges: false,
    is_idle: false,
    is_prepared: false,
    reading: Reading::AtOnce,
};

const PREPARED: Workload = Workload {
    symbols: 1,
    symbols_each: Some(1),
    channels: &[Channel::Trades],
    gather: 1,
    is_prepared: true,
    ..BASE
};

const TEN_MS: Reading = Reading::Every(Duration::from_millis(10));

/// All of them; the first is the one where none is named.
pub const WORKLOADS: &[Workload] = &[
    BASE,
    Workload {
        name: "fanout-1x1000",
        summary: "one symbol to 1,000 clients, --gather ticks (16) at once, 100 times a second",
        connections: 1_000,
        gather: 16,
        bursts_per_second: Some(100),
        reading: TEN_MS,
        ..PREPARED
    },
    Workload {
        name: "fanout-100x500",
        summary: "a tick of each of 100 symbols at once, 100 times a second, to 500 clients with ten each",
        connections: 500,
        symbols: 100,
        symbols_each: Some(10),
        gather: 100,
        bursts_per_second: Some(100),
        reading: TEN_MS,
        ..PREPARED
    },
    Workload {
        name: "firehose",
        summary: "1,000 symbols to one client that has them all, as fast as it reads",
        connections: 1,
        symbols: 1_000,
        symbols_each: None,
        bursts_per_second: None,
        ..PREPARED
    },
    Workload {
        name: "ten-thousand",
        summary: "10,000 clients with one of 1,000 symbols each, each symbol once a second",
        connections: 10_000,
        symbols: 1_000,
        bursts_per_second: Some(1_000),
        ..PREPARED
    },
    Workload {
        name: "ten-thousand-idle",
        summary: "10,000 clients with one of 1,000 symbols each, of which nothing is published",
        connections: 10_000,
        symbols: 1_000,
        bursts_per_second: Some(1_000),
        is_idle: true,
        ..PREPARED
    },
    Workload {
        name: "latency-1",
        summary: "one symbol to one client, 1,000 times a second",
        connections: 1,
        bursts_per_second: Some(1_000),
        ..PREPARED
    },
    Workload {
        name: "latency-100",
        summary: "one symbol to 100 clients, 1,000 times a second",
        connections: 100,
        bursts_per_second: Some(1_000),
        ..PREPARED
    },
    Workload {
        name: "dashboard-500",
        summary: "500 clients as browsers have them: ten symbols each, books of 10 levels, quotes and trades, 100 ms, JSON",
        connections: 500,
        symbols: 100,
        depth: Some(10),
        interval_ms: 100,
        protocol: Protocol::Json,
        ..BASE
    },
    Workload {
        name: "open-burst",
        summary: "the simulated market to 100 clients, ten times as busy for 200 ms of each second",
        gather: 5,
        surges: true,
        ..BASE
    },
];

impl Workload {
    /// The workload of that name.
    pub fn named(name: &str) -> Option<Workload> {
        WORKLOADS.iter().find(|workload| workload.name == name).copied()
    }
}
