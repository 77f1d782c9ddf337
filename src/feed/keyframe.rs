//! Keyframes: the state at a point of a feed file, so that who starts there need not read what came before.

use std::io::{Read, Seek};
use std::sync::Arc;

use super::error::FeedError;
use super::format::{BlockHeader, block_kind};
use super::reader::{Keyframe, Reader};
use super::running::Settling;
use crate::limits;
use crate::model::{ABSENT_TIME, Catalog, Channel, Deriver, Event, Primary, PrimaryKind, primary_flags};

/// How often a file gets a keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyframeSettings {
    /// Records between two keyframes, at the least.
    pub every: u64,
    /// Records between two keyframes for each record of the second, at the least: so a large book gets fewer of them,
    /// and they stay a small part of the file.
    pub share: u64,
}

impl Default for KeyframeSettings {
    fn default() -> KeyframeSettings {
        KeyframeSettings { every: limits::FEED_KEYFRAME_RECORDS, share: limits::FEED_KEYFRAME_SHARE }
    }
}

/// Follows what is written and knows when a keyframe is due.
pub(super) struct Keyframes {
    catalog: Arc<Catalog>,
    settings: KeyframeSettings,
    deriver: Deriver,
    /// The running number of the record before which the last came; 0: none did.
    before: u64,
    /// That of the record before which the next may come.
    due: u64,
    /// How far the records have come.
    times: Settling,
    /// What the deriver says, which nobody hears; reused, as the state is.
    derived: Vec<Event>,
    state: Vec<Primary>,
}

impl Keyframes {
    /// For a file of these instruments that has no record yet.
    pub fn new(catalog: Arc<Catalog>, settings: KeyframeSettings) -> Keyframes {
        Keyframes {
            deriver: Deriver::new(Arc::clone(&catalog)),
            catalog,
            settings,
            before: 0,
            due: settings.every,
            times: Settling::default(),
            derived: Vec::new(),
            state: Vec::new(),
        }
    }

    /// For what comes behind everything in a file: its last keyframe, where it has one, and what follows it are read.
    pub fn behind<R: Read + Seek>(
        reader: &mut Reader<R>,
        settings: KeyframeSettings,
    ) -> Result<Keyframes, FeedError> {
        let mut keyframes = Keyframes::new(Arc::clone(reader.catalog()), settings);
        reader.rewind();
        if let Some(keyframe) = reader.keyframe_before(u64::MAX)? {
            start(reader, keyframe, &mut keyframes.deriver)?;
            keyframes.times = Settling::at(keyframe.time_ns, keyframe.place_ns);
            keyframes.before = keyframe.record;
            keyframes.due += keyframe.record;
        }
        while let Some(block) = reader.next_block()? {
            block.iter().for_each(|primary| keyframes.follow(primary));
        }
        Ok(keyframes)
    }

    /// What is known of the instruments by what was written.
    pub fn deriver(&self) -> &Deriver {
        &self.deriver
    }

    /// Takes a record that is written.
    pub fn follow(&mut self, primary: &Primary) {
        self.times.follow(primary);
        // A kind that is not known changes no book.
        let _ = self.deriver.apply(primary, &mut self.derived);
        self.derived.clear();
    }

    /// The state, where a keyframe is due before the record of that running number: the headers of its blocks, not
    /// sealed, each with its records.
    pub fn due(&mut self, record: u64) -> Option<impl Iterator<Item = (BlockHeader, &[Primary])>> {
        if record < self.due || !self.deriver.is_between_events() {
            return None;
        }
        self.take_state();
        let size = self.state.len() as u64;
        self.due = self.before + self.settings.every.max(self.settings.share.saturating_mul(size));
        if record < self.due {
            return None;
        }
        self.due += record - self.before;
        self.before = record;
        let (time_ns, place_ns) = self.times.greatest_ns();
        let (time_ns, place_ns) = (time_ns.unwrap_or(ABSENT_TIME), place_ns.unwrap_or(ABSENT_TIME));
        let parts = self.state.chunks(limits::FEED_BLOCK_RECORDS_MAX);
        let last = u16::try_from(parts.len().checked_sub(1)?).ok()?;
        Some((0..=last).rev().zip(parts).map(move |(parts_left, records)| {
            let header = BlockHeader {
                kind: block_kind::KEYFRAME,
                parts_left,
                records: records.len() as u32,
                raw_bytes: size_of_val(records) as u32,
                first_record: record,
                first_time_ns: time_ns,
                last_time_ns: place_ns,
                ..BlockHeader::default()
            };
            (header, records)
        }))
    }

    fn take_state(&mut self) {
        self.state.clear();
        let (time_ns, place_ns) = self.times.greatest_ns();
        let time_ns = time_ns.or(place_ns).unwrap_or(ABSENT_TIME);
        for (instrument, _) in self.catalog.iter() {
            sequences(&self.deriver, instrument, time_ns, &mut self.state);
            self.deriver.snapshot(instrument, time_ns, &mut self.state);
        }
    }
}

/// Starts reading at a keyframe with a deriver that has taken nothing: from there on it tells what it would tell, had it
/// taken every record before, with the same sequences; but for the bars, which a keyframe does not tell.
pub(super) fn start<R: Read + Seek>(
    reader: &mut Reader<R>,
    keyframe: Keyframe,
    deriver: &mut Deriver,
) -> Result<(), FeedError> {
    let (mut sequences, mut derived) = (Vec::new(), Vec::new());
    reader.start_at(keyframe, |primary| {
        match (primary.kind(), Channel::from_number(primary.level)) {
            (Some(PrimaryKind::Note), Some(channel)) => {
                sequences.push((primary.instrument, channel, primary.order_id));
            }
            // A kind that is not known changes no book.
            _ => drop(deriver.apply(primary, &mut derived)),
        }
        derived.clear();
    })?;
    // Last: the state itself was told as records too.
    for (instrument, channel, sequence) in sequences {
        deriver.set_sequence(instrument, channel, sequence);
    }
    Ok(())
}

/// The last sequence of each stream of an instrument that had a record, as notes. Running bars are not told, so where
/// `bars` stood would be of no use.
fn sequences(deriver: &Deriver, instrument: u32, ts_event_ns: u64, out: &mut Vec<Primary>) {
    for channel in Channel::ALL.into_iter().filter(|channel| *channel != Channel::Bars) {
        let sequence = deriver.sequence(instrument, channel);
        if sequence > 0 {
            out.push(Primary {
                order_id: sequence,
                level: channel as u8,
                flags: primary_flags::SNAPSHOT,
                ..Primary::new(PrimaryKind::Note, instrument, ts_event_ns)
            });
        }
    }
}
