//! `tickcast bench`.

mod metronome;
pub(super) mod server;
mod table;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use server::CompressionName;

use crate::bench::{
    Plan, Protocol, Reading, Stage, Target, WORKLOADS, Workload, page, plots, run as measure,
};
use crate::client::Address;
use crate::limits;
use crate::model::Channel;
use crate::sim::Rate;

/// Measure how many frames a second reach how many clients, and how late
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct BenchArgs {
    /// What to measure (--list tells more)
    #[arg(long, value_name = "NAME", default_value = WORKLOADS[0].name, value_parser = workload)]
    workload: Workload,
    /// List the workloads and stop
    #[arg(long)]
    list: bool,
    /// A server that runs, instead of one started for the run
    #[arg(long)]
    url: Option<Address>,
    /// Start this program instead, with the flags that describe the workload behind its own
    #[arg(long, value_name = "COMMAND", conflicts_with = "url")]
    server: Option<String>,
    /// Clients
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    connections: Option<u64>,
    /// Symbols of each client, of others for each in turns; all: every symbol there is
    #[arg(long, value_name = "N|all")]
    symbols_per_connection: Option<SymbolsEach>,
    /// Channels of each symbol, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = channel)]
    channels: Option<Vec<Channel>>,
    /// Levels a side of book
    #[arg(long, value_name = "LEVELS")]
    depth: Option<u32>,
    /// Milliseconds between updates
    #[arg(long, value_name = "MS")]
    interval_ms: Option<u32>,
    /// What is spoken
    #[arg(long, value_enum)]
    protocol: Option<ProtocolName>,
    /// How messages come: off, or compressed (RFC 7692) by a server that is started so; a server that runs must do it
    #[arg(long, value_enum, default_value_t = CompressionName::Off)]
    compression: CompressionName,
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    duration: Duration,
    /// How long everything runs before that
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    warmup: Duration,
    /// Part of the clients that reads slowly, 0 to 1
    #[arg(long, value_name = "PART", default_value = "0", value_parser = per_mille)]
    slow_fraction: usize,
    /// What such a client reads in a second
    #[arg(long, value_name = "BYTES", default_value_t = 10_000)]
    slow_bytes_per_second: usize,
    /// When the others read: at-once, or every so many milliseconds
    #[arg(long, value_name = "at-once|MS")]
    reading: Option<Reading>,
    /// Threads that read
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    threads: u64,
    /// Keep the server on the first core and the clients on the last
    #[arg(long)]
    pin: bool,
    /// Instruments of the server that is started
    #[arg(long, value_name = "N", conflicts_with = "url", value_parser = clap::value_parser!(u64).range(1..=limits::INSTRUMENTS_MAX as u64))]
    symbols: Option<u64>,
    /// Ticks that it publishes at once; max: as fast as the clients read
    #[arg(long, value_name = "N|max", conflicts_with = "url")]
    gather: Option<Gather>,
    /// Ticks that it publishes in a second
    #[arg(long, value_name = "TICKS", conflicts_with = "url", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    rate: Option<u64>,
    /// Its shards
    #[arg(long, value_name = "N", conflicts_with = "url", value_parser = clap::value_parser!(u64).range(1..=limits::SHARDS_MAX as u64))]
    shards: Option<u64>,
    /// Binary messages that it may put in one frame (prepared workloads: 1, as servers do that send each by itself)
    #[arg(long, value_name = "N", conflicts_with = "url", value_parser = clap::value_parser!(u16).range(1..))]
    frame_messages: Option<u16>,
    /// SO_SNDBUF of its sessions in bytes; 0: the kernel's own choice
    #[arg(long, value_name = "BYTES", conflicts_with = "url")]
    send_buffer_bytes: Option<usize>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Write index.html, its plots as .svg too, and result.json into this folder
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

const EXAMPLE: &str = "\
Example:
  tickcast bench                                            the simulated market to 100 clients
  tickcast bench --workload fanout-1x1000 --gather 64 --report report
  tickcast bench --url ws://127.0.0.1:8765/ws --connections 500 --channels quotes,book --slow-fraction 0.1";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProtocolName {
    Bin,
    Json,
}

/// `--symbols-per-connection`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SymbolsEach {
    Count(usize),
    All,
}

impl FromStr for SymbolsEach {
    type Err = String;

    fn from_str(text: &str) -> Result<SymbolsEach, String> {
        match text.parse() {
            _ if text == "all" => Ok(SymbolsEach::All),
            Ok(count @ 1..) => Ok(SymbolsEach::Count(count)),
            _ => Err("allowed: 1 or more, or all".into()),
        }
    }
}

/// `--gather`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gather {
    Ticks(u64),
    Max,
}

impl FromStr for Gather {
    type Err = String;

    fn from_str(text: &str) -> Result<Gather, String> {
        match text.parse() {
            _ if text == "max" => Ok(Gather::Max),
            Ok(ticks @ 1..=1_000_000) => Ok(Gather::Ticks(ticks)),
            _ => Err("allowed: 1 to 1000000 ticks, or max".into()),
        }
    }
}

fn workload(name: &str) -> Result<Workload, String> {
    let names: Vec<_> = WORKLOADS.iter().map(|workload| workload.name).collect();
    Workload::named(name).ok_or_else(|| format!("allowed: {}", names.join(", ")))
}

fn channel(name: &str) -> Result<Channel, String> {
    Channel::from_name(name)
        .ok_or_else(|| "allowed: quotes, trades, book, orders, ticker, bars, status".into())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "allowed: 0 to 86400 seconds".into())
}

fn per_mille(text: &str) -> Result<usize, String> {
    let part = text.parse::<f64>().ok().filter(|part| (0.0..=1.0).contains(part));
    part.map(|part| (part * 1_000.0).round() as usize).ok_or_else(|| "allowed: 0 to 1".into())
}

/// Measures and prints; fails where the server lost something.
pub(super) fn run(args: BenchArgs) -> anyhow::Result<()> {
    if args.list {
        for workload in WORKLOADS {
            writeln!(std::io::stdout(), "{:<18} {}", workload.name, workload.summary)?;
        }
        return Ok(());
    }
    let plan = args.plan()?;
    if let Some(folder) = &args.report {
        // Before anything is measured for nothing.
        std::fs::create_dir_all(folder).with_context(|| no_report(folder))?;
    }
    let outcome = {
        let bar = Bar::new(&plan);
        measure(&plan, &mut |stage| bar.show(stage))?
    };
    if let Some(folder) = &args.report {
        let plots = plots(&outcome).map_err(|error| anyhow::anyhow!("cannot draw the report: {error}"))?;
        let write = |name: &str, content: &[u8]| {
            std::fs::write(folder.join(name), content).with_context(|| no_report(folder))
        };
        write("index.html", page(&outcome, &plots).as_bytes())?;
        for plot in &plots {
            write(&format!("{}.svg", plot.name), plot.svg.as_bytes())?;
        }
        write("result.json", &serde_json::to_vec_pretty(&outcome)?)?;
    }
    let text = if args.json { serde_json::to_string(&outcome)? + "\n" } else { table::table(&outcome) };
    std::io::stdout().write_all(text.as_bytes())?;
    if !outcome.is_good() {
        bail!("the run is not good: {}", table::faults(&outcome));
    }
    Ok(())
}

fn no_report(folder: &Path) -> String {
    format!("cannot write the report to {}", folder.display())
}

impl BenchArgs {
    fn plan(&self) -> anyhow::Result<Plan> {
        let workload = self.workload;
        if self.duration.is_zero() {
            bail!("--duration is 0; allowed: more than 0 seconds");
        }
        if self.url.is_some() && workload.is_idle {
            bail!(
                "--workload {} needs a server that publishes nothing; it cannot be asked of --url",
                workload.name
            );
        }
        let symbols_each = match self.symbols_per_connection {
            Some(SymbolsEach::All) => None,
            Some(SymbolsEach::Count(count)) => Some(count),
            None => workload.symbols_each,
        };
        let connections = self.connections.map_or(workload.connections, |connections| connections as usize);
        Ok(Plan {
            workload: workload.name.to_owned(),
            target: match &self.url {
                Some(address) => Target::Url(address.clone()),
                None => Target::Start(self.command(connections)?),
            },
            connections,
            symbols_each,
            channels: self.channels.clone().unwrap_or_else(|| workload.channels.to_vec()),
            depth: self.depth.or(workload.depth),
            interval_ms: self.interval_ms.unwrap_or(workload.interval_ms),
            protocol: match self.protocol {
                Some(ProtocolName::Bin) => Protocol::Bin,
                Some(ProtocolName::Json) => Protocol::Json,
                None => workload.protocol,
            },
            deflate: self.compression != CompressionName::Off,
            warmup: self.warmup,
            duration: self.duration,
            slow_per_mille: self.slow_fraction,
            slow_bytes_per_second: self.slow_bytes_per_second,
            reading: self.reading.unwrap_or(workload.reading),
            threads: self.threads as usize,
            pin: self.pin,
            is_idle: workload.is_idle,
            has_schedule: self.url.is_none(),
        })
    }

    /// What starts the server that is measured.
    fn command(&self, connections: usize) -> anyhow::Result<Vec<String>> {
        let workload = self.workload;
        let mut command: Vec<String> = match &self.server {
            Some(command) => command.split_whitespace().map(ToOwned::to_owned).collect(),
            None => {
                let program = std::env::current_exe().context("cannot find this program")?;
                vec![program.display().to_string(), "bench-server".to_owned()]
            }
        };
        let (gather, bursts) = match self.gather {
            Some(Gather::Max) => (workload.gather, None),
            Some(Gather::Ticks(ticks)) => (ticks, workload.bursts_per_second),
            None => (workload.gather, workload.bursts_per_second),
        };
        let rate = match (self.rate, bursts) {
            (Some(rate), _) => Rate::PerSecond(rate),
            (None, Some(bursts)) => Rate::PerSecond(gather * bursts),
            (None, None) => Rate::Max,
        };
        let mut flag = |name: &str, value: String| command.extend([format!("--{name}"), value]);
        flag("symbols", self.symbols.unwrap_or(workload.symbols as u64).to_string());
        flag("rate", rate.to_string());
        flag("gather", gather.to_string());
        flag("connections", connections.to_string());
        flag("content", if workload.is_prepared { "trades" } else { "market" }.to_owned());
        if let Some(messages) = self.frame_messages.or(workload.is_prepared.then_some(1)) {
            flag("frame-messages", messages.to_string());
        }
        if self.compression != CompressionName::Off {
            flag("compression", self.compression.name().to_owned());
        }
        if let Some(shards) = self.shards {
            flag("shards", shards.to_string());
        }
        if let Some(bytes) = self.send_buffer_bytes {
            flag("send-buffer-bytes", bytes.to_string());
        }
        if workload.surges {
            command.push("--surges".to_owned());
        }
        Ok(command)
    }
}

/// How far a run is, on a terminal.
struct Bar {
    bar: indicatif::ProgressBar,
    connections: usize,
    duration: Duration,
}

impl Bar {
    fn new(plan: &Plan) -> Bar {
        let bar = super::progress::bar("{prefix:>11} {bar:40} {msg}");
        if std::io::stderr().is_terminal() {
            bar.set_length(1_000);
        }
        Bar { bar, connections: plan.connections, duration: plan.duration }
    }

    fn show(&self, stage: Stage) {
        let (name, part, text) = match stage {
            Stage::Connecting(count) => {
                ("connecting", self.part(count), format!("{count} of {}", self.connections))
            }
            Stage::Subscribing(count) => {
                ("subscribing", self.part(count), format!("{count} of {}", self.connections))
            }
            Stage::WarmingUp(_) => ("warming up", 0, String::new()),
            Stage::Measuring(since, frames) => {
                let seconds = since.as_secs_f64();
                let rate = if seconds > 0.0 { frames as f64 / seconds } else { 0.0 };
                let part = (seconds / self.duration.as_secs_f64() * 1_000.0) as u64;
                ("measuring", part, format!("{seconds:.1} s, {}", table::per_second(rate, "frames")))
            }
        };
        self.bar.set_prefix(name);
        self.bar.set_position(part);
        self.bar.set_message(text);
    }

    fn part(&self, count: usize) -> u64 {
        (count * 1_000 / self.connections) as u64
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: BenchArgs,
    }

    fn plan(line: &str) -> anyhow::Result<Plan> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        Line::try_parse_from(words)?.args.plan()
    }

    #[test]
    fn a_workload_gives_what_is_not_said() {
        let found = plan("--workload fanout-100x500 --connections 7 --slow-fraction 0.25").unwrap();
        assert_eq!((found.connections, found.symbols_each, found.slow_per_mille), (7, Some(10), 250));
        assert_eq!((found.channels, found.has_schedule), (vec![Channel::Trades], true));
        let Target::Start(command) = found.target else { panic!("no server is started") };
        let flags = command[1..].join(" ");
        assert_eq!(
            flags,
            "bench-server --symbols 100 --rate 10000 --gather 100 --connections 7 --content trades --frame-messages 1"
        );
    }

    #[test]
    fn the_rate_follows_what_is_gathered() {
        for (line, flags) in [
            ("--workload fanout-1x1000 --gather 64", "--rate 6400 --gather 64"),
            ("--workload fanout-1x1000 --gather max", "--rate max --gather 16"),
            ("--workload fanout-1x1000 --gather 4 --rate 50", "--rate 50 --gather 4"),
            ("--workload firehose", "--rate max --gather 1"),
        ] {
            let Target::Start(command) = plan(line).unwrap().target else { panic!("no server is started") };
            assert!(command.join(" ").contains(flags), "{line}: {command:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (line, fault) in [
            ("--workload fast", "allowed: market, fanout-1x1000"),
            ("--channels quotes,best", "allowed: quotes, trades"),
            ("--duration 0", "more than 0 seconds"),
            ("--duration -1", ""),
            ("--slow-fraction 1.5", "allowed: 0 to 1"),
            ("--symbols-per-connection 0", "allowed: 1 or more, or all"),
            ("--gather 0", "allowed: 1 to 1000000 ticks, or max"),
            ("--reading 0", "every so many milliseconds, 1 to 1000"),
            ("--url ws://h:1/ws --rate 5", "cannot be used with"),
            ("--url ws://h:1/ws --workload ten-thousand-idle", "publishes nothing"),
            ("--connections 0", "0 is not in 1..=1000000"),
            ("--symbols 0", "0 is not in 1..=100000"),
            ("--shards 0", "0 is not in 1..="),
        ] {
            let text = format!("{:#}", plan(line).unwrap_err());
            assert!(text.contains(fault), "{line}: {text}");
        }
    }
}
