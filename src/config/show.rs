//! Settings in force, as a file that would give them.

use std::fmt;
use std::time::Duration;

use super::duration;
use super::{LogFormat, PrivateReplays, Settings, SourceSettings, Symbols};
use crate::feed::rfc3339;
use crate::recorder::RecordSettings;
use crate::wire::deflate::Mode;

/// TOML, one setting a line, defaults included: reading it back gives the same settings.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "listen = {}", quoted(&self.listen.to_string()))?;
        match &self.source {
            SourceSettings::Simulation { symbols, rate, seed, ticks } => {
                match symbols {
                    Symbols::Count(count) => writeln!(f, "symbols = {count}")?,
                    Symbols::File(path) => writeln!(f, "symbols = {}", quoted(&path.to_string_lossy()))?,
                }
                writeln!(f, "rate = {}", quoted(&rate.to_string()))?;
                // A whole number of TOML ends at i64::MAX.
                writeln!(f, "seed = {}", quoted(&seed.to_string()))?;
                if let Some(ticks) = ticks {
                    writeln!(f, "ticks = {}", quoted(&ticks.to_string()))?;
                }
            }
            SourceSettings::Live(input) => writeln!(f, "source = {}", quoted(&input.to_string()))?,
            SourceSettings::Replay { files, playback } => {
                writeln!(f, "replay = {}", array(files.iter().map(|path| path.to_string_lossy())))?;
                writeln!(f, "speed = {}", quoted(&playback.speed.to_string()))?;
                writeln!(f, "loop = {}", playback.looped)?;
                writeln!(f, "start_paused = {}", playback.start_paused)?;
                for (name, time_ns) in [("from", playback.from_ns), ("to", playback.to_ns)] {
                    if let Some(time_ns) = time_ns {
                        writeln!(f, "{name} = {}", quoted(&rfc3339(time_ns)))?;
                    }
                }
                if let Some(idle_ns) = playback.max_idle_ns {
                    writeln!(f, "max_idle = {}", quoted(&duration::written(Duration::from_nanos(idle_ns))))?;
                }
            }
        }
        if let Some(PrivateReplays { folder, most }) = &self.private {
            writeln!(f, "replay_dir = {}", quoted(&folder.to_string_lossy()))?;
            writeln!(f, "private_replays = {most}")?;
        }
        if let Some(RecordSettings { file, rotate_bytes, rotate, flush }) = &self.record {
            writeln!(f, "record = {}", quoted(&file.to_string_lossy()))?;
            if let Some(bytes) = rotate_bytes {
                writeln!(f, "record_rotate_bytes = {}", quoted(&bytes.to_string()))?;
            }
            if let Some(time) = rotate {
                writeln!(f, "record_rotate = {}", quoted(&duration::written(*time)))?;
            }
            writeln!(f, "record_flush = {}", quoted(&duration::written(*flush)))?;
        }
        writeln!(f, "slow_consumer = {}", quoted(self.slow_consumer.name()))?;
        writeln!(f, "shards = {}", self.shards)?;
        writeln!(f, "allow_origin = {}", array(self.allow_origin.iter().map(ToString::to_string)))?;
        writeln!(f, "max_connections = {}", self.max_connections)?;
        writeln!(f, "outbox_bytes = {}", self.outbox_bytes)?;
        writeln!(f, "outboxes_bytes = {}", self.outboxes_bytes)?;
        writeln!(f, "ring_bytes = {}", self.ring_bytes)?;
        writeln!(f, "send_buffer_bytes = {}", self.send_buffer_bytes)?;
        let compression = match self.compression {
            None => "off",
            Some(Mode::Shared) => "shared",
            Some(Mode::Dedicated) => "dedicated",
        };
        writeln!(f, "compression = {}", quoted(compression))?;
        writeln!(f, "compression_contexts = {}", self.compression_contexts)?;
        writeln!(f, "fragment_bytes = {}", self.fragment_bytes)?;
        writeln!(f, "request_rate = {}", self.request_rate)?;
        writeln!(f, "echo = {}", self.echo)?;
        writeln!(f, "log = {}", quoted(&self.log))?;
        writeln!(f, "log_format = {}", quoted(self.log_format.name()))
    }
}

impl LogFormat {
    /// As it is written in settings.
    pub fn name(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn array(texts: impl Iterator<Item = impl AsRef<str>>) -> String {
    let texts: Vec<_> = texts.map(|text| quoted(text.as_ref())).collect();
    format!("[{}]", texts.join(", "))
}
