//! `tickcast bench-server`: the server that `tickcast bench` starts for itself. It is `serve` in everything but its
//! source, and it waits to be told to publish.

use std::io::{BufRead, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::metronome::{Content, Metronome, Schedule, trades_catalog};
use crate::clock::Clock;
use crate::config::Settings;
use crate::limits;
use crate::model::{Catalog, Primary};
use crate::node;
use crate::shard::SlowConsumer;
use crate::sim::{Rate, Simulation, SimulationSettings, profiles};
use crate::source::{Next, Source, SourceError};
use crate::wire::deflate::Mode;

/// The server of `tickcast bench`
#[derive(Debug, Args)]
#[command(hide = true)]
pub(in super::super) struct BenchServerArgs {
    /// Instruments
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=limits::INSTRUMENTS_MAX as u64))]
    symbols: u64,
    /// Ticks a second, or max
    #[arg(long, default_value = "1000")]
    rate: Rate,
    /// Ticks published at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    gather: u64,
    /// Ten times the rate for 200 ms of each second
    #[arg(long)]
    surges: bool,
    /// What a tick is
    #[arg(long, value_enum, default_value_t = ContentKind::Market)]
    content: ContentKind,
    /// Binary messages that may share a frame
    #[arg(long, default_value_t = u16::MAX, value_parser = clap::value_parser!(u16).range(1..))]
    frame_messages: u16,
    /// Threads that serve clients
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=limits::SHARDS_MAX as u64))]
    shards: Option<u64>,
    /// SO_SNDBUF of a session in bytes; 0: the kernel's own choice
    #[arg(long)]
    send_buffer_bytes: Option<usize>,
    /// How messages are compressed
    #[arg(long, value_enum, default_value_t = CompressionName::Off)]
    compression: CompressionName,
    /// Connections that will come
    #[arg(long, default_value_t = 1)]
    connections: usize,
}

/// How messages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CompressionName {
    Off,
    Shared,
    Dedicated,
}

impl CompressionName {
    fn mode(self) -> Option<Mode> {
        match self {
            CompressionName::Off => None,
            CompressionName::Shared => Some(Mode::Shared),
            CompressionName::Dedicated => Some(Mode::Dedicated),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            CompressionName::Off => "off",
            CompressionName::Shared => "shared",
            CompressionName::Dedicated => "dedicated",
        }
    }
}

/// What a tick is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ContentKind {
    /// One trade.
    Trades,
    /// One exchange event of the simulated market.
    Market,
}

/// Serves until standard input ends; publishes from its first line on.
pub(in super::super) fn run(args: BenchServerArgs) -> anyhow::Result<()> {
    let clock = Clock::start();
    let gap_ns = match args.rate {
        Rate::Max => None,
        Rate::PerSecond(rate) => Some((args.gather * 1_000_000_000).div_ceil(rate)),
    };
    let schedule = Schedule { gather: args.gather, gap_ns, surges: args.surges };
    let symbols = args.symbols as usize;
    let (catalog, content) = match args.content {
        ContentKind::Trades => (Arc::new(trades_catalog(symbols)?), Content::Trades),
        ContentKind::Market => {
            let instruments = profiles(symbols);
            let settings = SimulationSettings { seed: 1, instruments, rate: Rate::Max, ticks: None };
            let market = Simulation::new(settings)?;
            (market.catalog(), Content::Market(Box::new(market)))
        }
    };
    let defaults = Settings::default();
    let settings = Settings {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        shards: args.shards.map_or(defaults.shards, |shards| shards as usize),
        max_connections: limits::CONNECTIONS_DEFAULT.max(args.connections + 16).min(limits::CONNECTIONS_MAX),
        send_buffer_bytes: args.send_buffer_bytes.unwrap_or(defaults.send_buffer_bytes),
        frame_messages: args.frame_messages,
        compression: args.compression.mode(),
        // As fast as it goes means as fast as the clients take it.
        slow_consumer: if gap_ns.is_none() { SlowConsumer::Block } else { SlowConsumer::Conflate },
        ..defaults
    };
    let (start, started) = std::sync::mpsc::channel();
    let metronome = Metronome::new(catalog, content, schedule, clock);
    let source = Held { metronome, has_begun: false, started };
    let node = node::start_with(settings, Box::new(source))?;
    writeln!(std::io::stdout(), "ws://{}/ws", node.address())?;
    std::io::stdout().flush()?;
    let unparker = node.source_unparker();
    // A reader that fails is a bench that is gone.
    for _line in std::io::stdin().lock().lines().map_while(Result::ok) {
        // Told twice is told.
        let _ = start.send(());
        unparker.unpark();
    }
    node.stop();
    Ok(())
}

/// A source that waits to be told, so that everybody is there when it begins.
struct Held {
    metronome: Metronome,
    has_begun: bool,
    started: std::sync::mpsc::Receiver<()>,
}

impl Source for Held {
    fn catalog(&self) -> Arc<Catalog> {
        self.metronome.catalog()
    }

    fn poll(&mut self, now_ns: u64, out: &mut Vec<Primary>) -> Result<Next, SourceError> {
        self.has_begun |= self.started.try_recv().is_ok();
        if self.has_begun { self.metronome.poll(now_ns, out) } else { Ok(Next::Idle) }
    }
}
