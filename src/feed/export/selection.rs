//! What of a feed file is exported.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ExportError;
use crate::feed::reader::Reader;
use crate::feed::rfc3339;
use crate::feed::running;
use crate::model::{Catalog, Channel, ChannelSet, Instrument, Primary, primary_flags};

/// What of a feed file is to be exported; the default is all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only these channels; `None`: every channel that there is.
    pub channels: Option<ChannelSet>,
    /// Only instruments that these symbols and prefixes (`ETH-*`) mean; none: all.
    pub symbols: Vec<String>,
    /// Only what was received (or happened, where the file does not say when it was received) at this time or later.
    pub start_ns: Option<u64>,
    /// Only what was received before this time.
    pub end_ns: Option<u64>,
    /// Ends the export before it is done.
    pub stop: Stop,
}

/// Ends an export from another thread, with [`ExportError::Stopped`]: what it has begun goes away. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends it.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is to end.
    pub fn is_told(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error where it is to end.
    pub(super) fn check(&self) -> Result<(), ExportError> {
        if self.is_told() { Err(ExportError::Stopped) } else { Ok(()) }
    }
}

impl PartialEq for Stop {
    fn eq(&self, other: &Stop) -> bool {
        self.is_told() == other.is_told()
    }
}

impl Eq for Stop {}

/// A selection that was checked against a file.
pub(super) struct Chosen {
    pub catalog: Arc<Catalog>,
    /// By the instrument's number: what of it is chosen; empty where nothing is.
    channels: Vec<ChannelSet>,
    /// By the instrument's number: whether it is chosen.
    instruments: Vec<bool>,
    pub start_ns: Option<u64>,
    end_ns: Option<u64>,
    pub stop: Stop,
}

impl Selection {
    /// Checks it against what the file has.
    pub(super) fn choose(&self, reader: &mut Reader) -> Result<Chosen, ExportError> {
        let catalog = Arc::clone(reader.catalog());
        if let (Some(start_ns), Some(end_ns)) = (self.start_ns, self.end_ns)
            && start_ns >= end_ns
        {
            return Err(ExportError::Range { start_ns, end_ns });
        }
        self.check_range(reader)?;
        let mut instruments = vec![self.symbols.is_empty(); catalog.len()];
        for pattern in &self.symbols {
            let meant = catalog.matching(pattern).unwrap_or_default();
            if meant.is_empty() {
                let (file, pattern) = (reader.path().to_owned(), pattern.clone());
                return Err(ExportError::Symbol { file, pattern });
            }
            meant.into_iter().for_each(|number| instruments[number as usize] = true);
        }
        let channels = catalog.iter().map(|(number, instrument)| match self.channels {
            _ if !instruments[number as usize] => ChannelSet::EMPTY,
            None => instrument.channels,
            Some(wanted) => instrument.channels.and(wanted),
        });
        let channels: Vec<ChannelSet> = channels.collect();
        let (start_ns, end_ns, stop) = (self.start_ns, self.end_ns, self.stop.clone());
        let chosen = Chosen { catalog, channels, instruments, start_ns, end_ns, stop };
        let there = chosen.channels();
        let missing = self.channels.unwrap_or_default().iter().find(|channel| !there.contains(*channel));
        if let Some(channel) = missing {
            let has = chosen.instruments().fold(0, |bits, (_, instrument)| bits | instrument.channels.0);
            let has = ChannelSet(has).iter().map(Channel::name).collect::<Vec<_>>().join(", ");
            return Err(ExportError::Channel { file: reader.path().to_owned(), channel, has });
        }
        Ok(chosen)
    }

    /// Whether the range meets the file's.
    fn check_range(&self, reader: &mut Reader) -> Result<(), ExportError> {
        let (first_ns, last_ns) = running::span_ns(reader)?;
        let Some((first_ns, last_ns)) = first_ns.zip(last_ns) else { return Ok(()) };
        if self.start_ns.is_none_or(|start| start <= last_ns) && self.end_ns.is_none_or(|end| end > first_ns)
        {
            return Ok(());
        }
        Err(ExportError::Outside {
            file: reader.path().to_owned(),
            start: self.start_ns.map_or_else(|| "its beginning".into(), rfc3339),
            end: self.end_ns.map_or_else(|| "its end".into(), rfc3339),
            first_ns,
            last_ns,
        })
    }
}

impl Chosen {
    /// Every channel that is chosen of some instrument.
    pub fn channels(&self) -> ChannelSet {
        ChannelSet(self.channels.iter().fold(0, |bits, channels| bits | channels.0))
    }

    /// What of that instrument is chosen.
    pub fn of(&self, instrument: u32) -> ChannelSet {
        self.channels[instrument as usize]
    }

    /// The instruments that are chosen, with their numbers.
    pub fn instruments(&self) -> impl Iterator<Item = (u32, &Instrument)> {
        self.catalog.iter().filter(|(number, _)| self.instruments[*number as usize])
    }

    /// Whether the range begins after the file does: what stood before is told first.
    pub fn has_start(&self) -> bool {
        self.start_ns.is_some()
    }

    /// Whether a record that stands there in time lies in the range. What stands before any time does where the range has
    /// no bounds.
    pub fn is_in_range(&self, time_ns: Option<u64>) -> bool {
        match time_ns {
            Some(time) => {
                self.start_ns.is_none_or(|start| time >= start) && self.end_ns.is_none_or(|end| time < end)
            }
            None => self.start_ns.is_none() && self.end_ns.is_none(),
        }
    }

    /// Whether the range ends before the record, which stands there in time. (Those of a snapshot may be older or
    /// younger than what they stand between.)
    pub fn ends_before(&self, primary: &Primary, time_ns: Option<u64>) -> bool {
        let is_snapshot = primary.flags & primary_flags::SNAPSHOT != 0;
        !is_snapshot && self.end_ns.is_some_and(|end| time_ns.is_some_and(|time| time >= end))
    }

    /// Whether the record, which stands there in time, is of a chosen instrument and in the range.
    pub fn takes(&self, primary: &Primary, time_ns: Option<u64>) -> bool {
        self.instruments[primary.instrument as usize] && self.is_in_range(time_ns)
    }

    /// The part of these times that lies in the range, at least a nanosecond.
    #[cfg(feature = "dbn")]
    pub fn narrow(&self, first_ns: u64, end_ns: u64) -> (u64, u64) {
        let start_ns = self.start_ns.map_or(first_ns, |start| start.max(first_ns));
        let end_ns = self.end_ns.map_or(end_ns, |end| end.min(end_ns));
        (start_ns, end_ns.max(start_ns.saturating_add(1)))
    }
}
