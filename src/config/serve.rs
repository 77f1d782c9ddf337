//! The settings of `tickcast serve`.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread::available_parallelism;
use std::time::Duration;

use super::duration::{self, DURATION_ALLOWED};
use super::{Layers, Problem, Problems, Written};
use crate::door::Origin;
use crate::feed::{ReplaySettings, Speed, TIME_FORMS, parse_time_ns};
use crate::limits;
use crate::live::{self, LiveInput};
use crate::recorder::RecordSettings;
use crate::shard::SlowConsumer;
use crate::sim::Rate;
use crate::wire::deflate::Mode;

/// Settings of a server, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where the market comes from.
    pub source: SourceSettings,
    /// Which replays clients may have for themselves; `None`: none.
    pub private: Option<PrivateReplays>,
    /// How what is published is recorded; `None`: it is not.
    pub record: Option<RecordSettings>,
    /// What becomes of a client that reads too slowly.
    pub slow_consumer: SlowConsumer,
    /// Threads that serve clients, at least 1.
    pub shards: usize,
    /// Origins of pages that may connect beside our own and loopback.
    pub allow_origin: Vec<Origin>,
    /// Sessions at a time.
    pub max_connections: usize,
    /// Bytes that may wait for one session in user space.
    pub outbox_bytes: usize,
    /// Bytes that may wait for all sessions together in user space.
    pub outboxes_bytes: usize,
    /// Bytes of the resume rings of all shards together; 0: none.
    pub ring_bytes: usize,
    /// `SO_SNDBUF` of a session in bytes; 0: the kernel's own choice.
    pub send_buffer_bytes: usize,
    /// How messages are compressed for clients that offer it; `None`: they are not.
    pub compression: Option<Mode>,
    /// Sessions that may have compression of their own, where that is how.
    pub compression_contexts: usize,
    /// Payload bytes of one fragment of a snapshot or a reply that is longer.
    pub fragment_bytes: usize,
    /// Requests a second that a client may send; 0: any number.
    pub request_rate: u32,
    /// Whether `/echo` sends back what it is sent.
    pub echo: bool,
    /// Binary messages that may share a frame; no key sets it, `tickcast bench` alone asks for 1.
    pub frame_messages: u16,
    /// What to log, in the syntax of `tracing_subscriber::EnvFilter`.
    pub log: String,
    /// How to log.
    pub log_format: LogFormat,
}

impl Default for Settings {
    /// As they are where nothing is set.
    fn default() -> Settings {
        let mut problems = Problems::default();
        let settings = Settings::check(&Layers::default(), &mut problems);
        debug_assert!(problems.is_empty(), "the defaults are allowed: {problems}");
        settings
    }
}

/// Where the market comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceSettings {
    /// The simulated market.
    Simulation {
        /// Its instruments.
        symbols: Symbols,
        /// Its pace.
        rate: Rate,
        /// What its randomness begins with.
        seed: u64,
        /// After how many ticks it ends; `None`: never.
        ticks: Option<u64>,
    },
    /// What another program publishes.
    Live(LiveInput),
    /// Feed files.
    Replay {
        /// The files, at least one.
        files: Vec<PathBuf>,
        /// How they are played.
        playback: ReplaySettings,
    },
}

/// Replays that clients have for themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateReplays {
    /// The folder of the feed files.
    pub folder: PathBuf,
    /// How many there may be at a time.
    pub most: usize,
}

/// The instruments of a simulated market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Symbols {
    /// That many plausible ones.
    Count(usize),
    /// Those that a TOML file lists.
    File(PathBuf),
}

/// Neither a count nor a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("symbols: {text:?}; allowed: {allowed}", allowed = Symbols::allowed())]
pub struct SymbolsError {
    /// What was given.
    pub text: String,
}

impl Symbols {
    /// What [`Symbols::from_str`] takes, in words.
    pub fn allowed() -> String {
        format!("1 to {}, or the path of a TOML file", limits::INSTRUMENTS_MAX)
    }
}

impl FromStr for Symbols {
    type Err = SymbolsError;

    /// A count, or a path where the text is no number at all.
    fn from_str(text: &str) -> Result<Symbols, SymbolsError> {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-._".contains(&byte));
        if !is_number {
            return Ok(Symbols::File(text.into()));
        }
        let count = text.parse().ok().filter(|count| (1..=limits::INSTRUMENTS_MAX).contains(count));
        count.map(Symbols::Count).ok_or_else(|| SymbolsError { text: text.into() })
    }
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Settings {
    /// Checks what was written; everything that is wrong goes to `problems`, and a default stands in for it, so that
    /// the rest can be checked too. The result means something only where `problems` stays empty.
    pub fn check(layers: &Layers, problems: &mut Problems) -> Settings {
        let mut check = Check { layers, problems };
        let source = check.source();
        Settings {
            slow_consumer: check.slow_consumer(&source),
            source,
            private: check.private(),
            record: check.record(),
            listen: check
                .one("listen", "IP address and port, such as 127.0.0.1:8765 or [::]:8765", address)
                .unwrap_or(DEFAULT_LISTEN),
            shards: check.whole("shards", 1..=limits::SHARDS_MAX).unwrap_or_else(default_shards),
            allow_origin: check.many("allow_origin", Origin::ALLOWED, |text| Origin::parse(text).ok()),
            max_connections: check
                .whole("max_connections", 1..=limits::CONNECTIONS_MAX)
                .unwrap_or(limits::CONNECTIONS_DEFAULT),
            outbox_bytes: check
                .whole("outbox_bytes", limits::OUTBOX_BYTES_MIN..=limits::OUTBOX_BYTES_MAX)
                .unwrap_or(limits::OUTBOX_BYTES_DEFAULT),
            outboxes_bytes: check
                .whole("outboxes_bytes", limits::OUTBOXES_BYTES_MIN..=limits::OUTBOXES_BYTES_MAX)
                .unwrap_or(limits::OUTBOXES_BYTES_DEFAULT),
            ring_bytes: check
                .whole("ring_bytes", 0..=limits::RING_BYTES_MAX)
                .unwrap_or(limits::RING_BYTES_DEFAULT),
            send_buffer_bytes: check.send_buffer().unwrap_or(limits::SEND_BUFFER_BYTES_DEFAULT),
            compression: check.compression(),
            compression_contexts: check
                .whole("compression_contexts", 0..=limits::DEFLATE_CONTEXTS_MAX)
                .unwrap_or(limits::DEFLATE_CONTEXTS_DEFAULT),
            fragment_bytes: check
                .whole("fragment_bytes", limits::FRAGMENT_BYTES_MIN..=limits::FRAGMENT_BYTES_MAX)
                .unwrap_or(limits::FRAGMENT_BYTES_DEFAULT),
            request_rate: check
                .whole("request_rate", 0..=limits::REQUEST_RATE_MAX)
                .unwrap_or(limits::REQUEST_RATE_DEFAULT),
            echo: check.switch("echo"),
            frame_messages: u16::MAX,
            log: check.log().unwrap_or_else(|| "info".into()),
            log_format: check.one("log_format", "text or json", log_format).unwrap_or(LogFormat::Text),
        }
    }

    /// Whether people on other machines can connect.
    pub fn is_public(&self) -> bool {
        !self.listen.ip().is_loopback()
    }
}

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8765);

/// One core is left to the source: it feeds all shards. Beyond 16 the hand-over costs more than another shard brings,
/// unless somebody has measured otherwise and says so.
fn default_shards() -> usize {
    available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).clamp(1, 16))
}

fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::new(DEFAULT_LISTEN.ip(), port.parse().ok()?)),
        None => text.parse().ok(),
    }
}

fn log_format(text: &str) -> Option<LogFormat> {
    match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

struct Check<'a> {
    layers: &'a Layers,
    problems: &'a mut Problems,
}

impl Check<'_> {
    fn source(&mut self) -> SourceSettings {
        let files =
            self.many("replay", "path of a feed file", |text| (!text.is_empty()).then(|| text.into()));
        let is_replay = self.layers.written("replay").is_some_and(|written| !written.texts.is_empty());

        let symbols =
            self.one("symbols", &Symbols::allowed(), |text| text.parse().ok()).unwrap_or(Symbols::Count(20));
        let rate = self.rate().unwrap_or(Rate::PerSecond(20_000));
        let seed = self.whole("seed", 0..=u64::MAX).unwrap_or(1);
        let ticks = self.whole("ticks", 1..=u64::MAX);
        let playback = ReplaySettings {
            speed: self.speed().unwrap_or(Speed::NORMAL),
            looped: self.switch("loop"),
            start_paused: self.switch("start_paused"),
            from_ns: self.one("from", TIME_FORMS, parse_time_ns),
            to_ns: self.one("to", TIME_FORMS, parse_time_ns),
            max_idle_ns: self
                .time("max_idle", limits::REPLAY_IDLE_MIN..=limits::REPLAY_IDLE_MAX)
                .and_then(|time| u64::try_from(time.as_nanos()).ok()),
        };
        let live = self.one("source", live::ALLOWED, |text| text.parse().ok());

        if is_replay {
            self.forbid("source", "only without a replay: leave it out, or leave out replay");
            for name in ["symbols", "rate", "seed", "ticks"] {
                self.forbid(name, "only for the simulated market: leave it out, or leave out replay");
            }
            return SourceSettings::Replay { files, playback };
        }
        for name in ["speed", "from", "to", "max_idle"] {
            self.forbid(name, ONLY_REPLAY);
        }
        for (name, on) in [("loop", playback.looped), ("start_paused", playback.start_paused)] {
            if on {
                self.forbid(name, ONLY_REPLAY);
            }
        }
        if let Some(input) = live {
            for name in ["symbols", "rate", "seed", "ticks"] {
                self.forbid(name, "only for the simulated market: leave it out, or leave out source");
            }
            return SourceSettings::Live(input);
        }
        SourceSettings::Simulation { symbols, rate, seed, ticks }
    }

    fn slow_consumer(&mut self, source: &SourceSettings) -> SlowConsumer {
        let policy =
            self.one("slow_consumer", "conflate, disconnect, or block with a replay", |text| match text {
                "conflate" => Some(SlowConsumer::Conflate),
                "disconnect" => Some(SlowConsumer::Disconnect),
                "block" => Some(SlowConsumer::Block),
                _ => None,
            });
        if policy == Some(SlowConsumer::Block) && !matches!(source, SourceSettings::Replay { .. }) {
            self.forbid("slow_consumer", "conflate or disconnect; block only with a replay (replay FILE)");
        }
        policy.unwrap_or(SlowConsumer::Conflate)
    }

    fn private(&mut self) -> Option<PrivateReplays> {
        let folder = self.one("replay_dir", "path of a folder", |text| {
            let path = PathBuf::from(text);
            path.is_dir().then_some(path)
        });
        let most = self.whole("private_replays", 1..=limits::PRIVATE_REPLAYS_MAX);
        if self.layers.written("replay_dir").is_none() {
            self.forbid("private_replays", "only with a folder of feed files (replay_dir DIR)");
        }
        folder.map(|folder| PrivateReplays { folder, most: most.unwrap_or(limits::PRIVATE_REPLAYS_DEFAULT) })
    }

    fn record(&mut self) -> Option<RecordSettings> {
        let file = self.one("record", "path of a feed file that does not exist yet", |text| {
            let path = PathBuf::from(text);
            (path.file_name().is_some() && !text.ends_with('/')).then_some(path)
        });
        let rotate_bytes = self.whole("record_rotate_bytes", limits::RECORD_ROTATE_BYTES_MIN..=u64::MAX);
        let rotate = self.time("record_rotate", limits::RECORD_ROTATE_MIN..=Duration::MAX);
        let flush = self.time("record_flush", limits::RECORD_FLUSH_MIN..=limits::RECORD_FLUSH_MAX);
        if self.layers.written("record").is_none() {
            for name in ["record_rotate_bytes", "record_rotate", "record_flush"] {
                self.forbid(name, "only with a recording (record FILE)");
            }
        }
        let flush = flush.unwrap_or(limits::RECORD_FLUSH_DEFAULT);
        file.map(|file| RecordSettings { file, rotate_bytes, rotate, flush })
    }

    fn time(&mut self, name: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let most = if *range.end() == Duration::MAX {
            String::new()
        } else {
            format!(" to {}", duration::written(*range.end()))
        };
        let allowed = format!("{DURATION_ALLOWED}; from {}{most}", duration::written(*range.start()));
        self.one(name, &allowed, |text| duration::duration(text).filter(|time| range.contains(time)))
    }

    fn compression(&mut self) -> Option<Mode> {
        let mode = self.one("compression", "off, shared or dedicated", |text| match text {
            "off" => Some(None),
            "shared" => Some(Some(Mode::Shared)),
            "dedicated" => Some(Some(Mode::Dedicated)),
            _ => None,
        });
        mode.unwrap_or(Some(Mode::Shared))
    }

    fn rate(&mut self) -> Option<Rate> {
        let allowed = format!("ticks per second, 1 to {}, or max", limits::SIM_RATE_MAX);
        self.one("rate", &allowed, |text| text.parse().ok())
    }

    fn speed(&mut self) -> Option<Speed> {
        self.one("speed", Speed::ALLOWED, |text| text.parse().ok())
    }

    fn send_buffer(&mut self) -> Option<usize> {
        let (least, most) = (limits::SEND_BUFFER_BYTES_MIN, limits::SEND_BUFFER_BYTES_MAX);
        let allowed = format!("{least} to {most}, or 0 for the kernel's own");
        self.one("send_buffer_bytes", &allowed, |text| {
            text.parse().ok().filter(|bytes| *bytes == 0 || (least..=most).contains(bytes))
        })
    }

    fn log(&mut self) -> Option<String> {
        let allowed = "error, warn, info, debug, trace, off, or module=level pairs, separated by commas";
        self.one("log", allowed, |text| {
            tracing_subscriber::EnvFilter::try_new(text).is_ok().then(|| text.to_owned())
        })
    }

    /// A setting with one value; `None` where it is absent or wrong.
    fn one<T>(&mut self, name: &str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let written = self.layers.written(name)?;
        let text = written.texts.last().map_or("", String::as_str);
        let value = parse(text);
        if value.is_none() {
            self.refuse(name, text, written, allowed);
        }
        value
    }

    /// A setting with several values; those that are wrong are left out.
    fn many<T>(&mut self, name: &str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let Some(written) = self.layers.written(name) else { return Vec::new() };
        let mut values = Vec::with_capacity(written.texts.len());
        for text in &written.texts {
            match parse(text) {
                Some(value) => values.push(value),
                None => self.refuse(name, text, written, allowed),
            }
        }
        values
    }

    fn whole<T: FromStr + PartialOrd + Display>(
        &mut self,
        name: &str,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        let allowed = format!("whole number, {} to {}", range.start(), range.end());
        self.one(name, &allowed, |text| text.parse().ok().filter(|value| range.contains(value)))
    }

    fn switch(&mut self, name: &str) -> bool {
        self.one(name, "true or false", |text| text.parse().ok()).unwrap_or(false)
    }

    /// Refuses a setting for being given at all.
    fn forbid(&mut self, name: &str, allowed: &str) {
        if let Some(written) = self.layers.written(name) {
            self.refuse(name, &written.texts.join(" "), written, allowed);
        }
    }

    fn refuse(&mut self, name: &str, text: &str, written: &Written, allowed: &str) {
        self.problems.add(Problem {
            key: name.to_owned(),
            value: text.to_owned(),
            place: Some(written.place.clone()),
            allowed: allowed.to_owned(),
        });
    }
}

const ONLY_REPLAY: &str = "only with a replay (replay FILE)";
