//! Records what is published into feed files, on a thread of its own: a slow or full disk holds up nobody else.

mod names;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_utils::sync::{Parker, Unparker};
use tokio::runtime::Runtime;

use self::names::numbered;
use crate::bus::{Closed, Tap};
use crate::clock::Clock;
use crate::feed::{Description, FeedError, KeyframeSettings, Loss, Writer, loss_reason, pacing_time_ns};
use crate::limits;
use crate::model::{Deriver, Primary, Status, primary_flags};
use crate::pump::Said;
use crate::stats::RecordStats;

/// How to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSettings {
    /// The first file; further ones are numbered.
    pub file: PathBuf,
    /// Bytes after which the next file begins; `None`: no number of them.
    pub rotate_bytes: Option<u64>,
    /// Time after which the next file begins; `None`: no time.
    pub rotate: Option<Duration>,
    /// The longest that a record waits in memory while the disk takes what it is given.
    pub flush: Duration,
}

/// Why a recorder cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The first file cannot be created.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The system refused a timer.
    #[error("cannot run the recorder: {0}")]
    Runtime(io::Error),
}

/// Tells a recorder that there is no time to wait for a disk any more.
#[derive(Clone, Debug)]
pub struct RecorderHandle {
    hurry: Arc<AtomicBool>,
    unparker: Unparker,
}

impl RecorderHandle {
    /// Where the disk takes nothing, the recorder gives up. It ends when its tape does.
    pub fn hurry(&self) {
        self.hurry.store(true, Ordering::Release);
        self.unparker.unpark();
    }
}

/// The disk takes nothing, and there is no time to wait for it.
#[derive(Debug)]
struct GaveUp;

/// One recording: files that each stand alone, begun anew where history ends, and by size and time.
pub struct Recorder {
    settings: RecordSettings,
    description: Description,
    tap: Tap<Said>,
    writer: Writer,
    /// Number of the file being written.
    number: u64,
    /// Bytes of the files before.
    bytes_before: u64,
    stats: Arc<RecordStats>,
    clock: Clock,
    runtime: Runtime,
    hurry: Arc<AtomicBool>,
    parker: Parker,
    /// When the present file was begun, when what is in memory goes to it; monotonic nanoseconds.
    begun_ns: u64,
    flush_ns: u64,
    /// Whether the disk refused something since the last loss.
    was_refused: bool,
    /// Records that the files declare as lost.
    declared: u64,
    /// Whether a loss came since the last flush.
    had_loss: bool,
    /// Whether something was recorded in this file that is no snapshot.
    has_news: bool,
    /// Bytes of this file before anything new: its header and the snapshot that it begins with.
    start_bytes: u64,
    /// Pacing time of the last record.
    last_ns: Option<u64>,
}

impl Recorder {
    /// Creates the first file, which must not exist.
    ///
    /// # Errors
    /// What makes that impossible.
    pub fn create(
        settings: RecordSettings,
        description: Description,
        tap: Tap<Said>,
        stats: Arc<RecordStats>,
        clock: Clock,
    ) -> Result<(Recorder, RecorderHandle), RecordError> {
        let writer = create(&settings.file, &description)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let (hurry, parker) = (Arc::<AtomicBool>::default(), Parker::new());
        let handle = RecorderHandle { hurry: hurry.clone(), unparker: parker.unparker().clone() };
        stats.files.set(1);
        stats.bytes.set(writer.bytes());
        let now_ns = clock.now_ns();
        let recorder = Recorder {
            description,
            tap,
            writer,
            number: 1,
            bytes_before: 0,
            stats,
            clock,
            runtime: runtime.map_err(RecordError::Runtime)?,
            hurry,
            parker,
            begun_ns: now_ns,
            flush_ns: after(now_ns, settings.flush),
            was_refused: false,
            declared: 0,
            had_loss: false,
            has_news: false,
            start_bytes: 0,
            last_ns: None,
            settings,
        };
        Ok((recorder, handle))
    }

    /// Records until the tape ends, then finishes the file. Blocks the thread.
    pub fn run(mut self) {
        if self.record().and_then(|()| self.end()).is_err() {
            tracing::error!(
                file = self.file(),
                waiting = self.tap.records(),
                "the recording ends without its last records and its index: the disk does not take them; `tickcast repair` makes the file whole"
            );
        }
        self.count();
    }

    /// Finishes the file. What was lost at the very end found no place on the tape.
    fn end(&mut self) -> Result<(), GaveUp> {
        let undeclared = self.stats.lost.get().saturating_sub(self.declared);
        if undeclared > 0 {
            self.declare(None, undeclared, self.last_ns, None)?;
        }
        self.seal()
    }

    fn record(&mut self) -> Result<(), GaveUp> {
        loop {
            let wait = Duration::from_nanos(self.flush_ns.saturating_sub(self.clock.now_ns()));
            let tap = &mut self.tap;
            let ready = self.runtime.block_on(async { tokio::time::timeout(wait, tap.ready()).await });
            if matches!(ready, Ok(Err(Closed))) {
                return Ok(());
            }
            // One batch between two looks at the time.
            if let Some(chunk) = self.tap.try_pop() {
                for said in chunk.iter() {
                    self.take(said)?;
                }
            }
            if self.clock.now_ns() >= self.flush_ns {
                self.flush()?;
            }
            self.count();
        }
    }

    fn take(&mut self, said: &Said) -> Result<(), GaveUp> {
        match said {
            Said::Record(primary) => {
                self.push(primary)?;
                self.stats.records.add(1);
                self.has_news |= primary.flags & primary_flags::SNAPSHOT == 0;
                if primary.is_last() && self.has_news && self.is_full() {
                    self.rotate(true)?;
                }
                Ok(())
            }
            Said::Lost { instrument, records, from_ns, until_ns } => {
                let from_ns = Some(*from_ns).filter(|_| self.last_ns.is_some());
                self.declare(*instrument, *records, from_ns, Some(*until_ns))
            }
            Said::NewEpoch if self.has_news => self.rotate(false),
            Said::NewEpoch => Ok(()),
        }
    }

    /// Says in the file that so many records are missing.
    fn declare(
        &mut self,
        instrument: Option<u32>,
        records: u64,
        from_ns: Option<u64>,
        until_ns: Option<u64>,
    ) -> Result<(), GaveUp> {
        let reason = if self.was_refused { loss_reason::REFUSED } else { loss_reason::SLOW };
        let instrument = instrument.unwrap_or(Loss::EVERY_INSTRUMENT);
        let loss = Loss { instrument, ..Loss::new(records, reason) };
        if !std::mem::replace(&mut self.had_loss, true) {
            // One line for all instruments that come at about one time.
            tracing::warn!(
                file = self.file(),
                records = self.stats.lost.get().saturating_sub(self.declared),
                "records were not recorded, and are declared lost: {}",
                loss.reason()
            );
        }
        self.insist(|writer| writer.declare_loss(loss, from_ns, until_ns))?;
        self.declared += records;
        Ok(())
    }

    /// Adds a record to the file.
    fn push(&mut self, primary: &Primary) -> Result<(), GaveUp> {
        self.last_ns = pacing_time_ns(primary).or(self.last_ns);
        self.write(primary)
    }

    fn write(&mut self, primary: &Primary) -> Result<(), GaveUp> {
        if let Err(error) = self.writer.push(primary) {
            // It keeps the record.
            self.wait(&error)?;
            self.insist(Writer::flush)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), GaveUp> {
        self.insist(Writer::flush)?;
        // What the disk refused long ago is no reason for a loss of now.
        self.was_refused &= self.had_loss || !self.tap.is_empty();
        self.had_loss = false;
        if self.has_news && self.is_full() {
            self.rotate(true)?;
        }
        self.flush_ns = after(self.clock.now_ns(), self.settings.flush);
        Ok(())
    }

    /// Whether the next file is to begin, and may: no exchange event is open.
    fn is_full(&self) -> bool {
        // However long the snapshot is that a file begins with, half of it and more is news.
        let is_long = |bytes: u64| self.writer.bytes() >= bytes.max(2 * self.start_bytes);
        let is_long = self.settings.rotate_bytes.is_some_and(is_long);
        let is_old =
            self.settings.rotate.is_some_and(|time| self.clock.now_ns() >= after(self.begun_ns, time));
        (is_long || is_old) && self.writer.deriver().is_some_and(Deriver::is_between_events)
    }

    /// Finishes the file and begins the next one; where history goes on, with what is known of the instruments.
    fn rotate(&mut self, goes_on: bool) -> Result<(), GaveUp> {
        self.seal()?;
        self.bytes_before += self.writer.bytes();
        let next = self.next_file()?;
        let before = std::mem::replace(&mut self.writer, next);
        self.stats.files.add(1);
        (self.begun_ns, self.has_news) = (self.clock.now_ns(), false);
        let Some(known) = before.deriver().filter(|_| goes_on) else { return Ok(()) };
        let mut snapshot = Vec::new();
        for (instrument, _) in before.catalog().iter() {
            known.snapshot(instrument, self.last_ns.unwrap_or(0), &mut snapshot);
            // A status and an empty book are what every file begins with.
            let is_untouched = snapshot.len() <= 2 && known.status(instrument) == Status::default();
            if !is_untouched {
                snapshot.iter().try_for_each(|primary| self.write(primary))?;
            }
            snapshot.clear();
        }
        self.insist(Writer::flush)?;
        self.start_bytes = self.writer.bytes();
        Ok(())
    }

    fn next_file(&mut self) -> Result<Writer, GaveUp> {
        let mut failed = false;
        loop {
            self.number += 1;
            match create(&numbered(&self.settings.file, self.number), &self.description) {
                Ok(writer) => {
                    self.tell_again(failed);
                    return Ok(writer);
                }
                // Of an earlier recording: nothing is overwritten.
                Err(FeedError::Exists { .. }) => {}
                Err(error) => {
                    failed = true;
                    self.number -= 1;
                    self.wait(&error)?;
                }
            }
        }
    }

    /// Finishes the file.
    fn seal(&mut self) -> Result<(), GaveUp> {
        self.insist(|writer| writer.seal().map(drop))
    }

    /// Does it, again and again until the disk takes it.
    fn insist(&mut self, mut write: impl FnMut(&mut Writer) -> Result<(), FeedError>) -> Result<(), GaveUp> {
        let mut failed = false;
        while let Err(error) = write(&mut self.writer) {
            failed = true;
            self.wait(&error)?;
        }
        self.tell_again(failed);
        Ok(())
    }

    /// Logs that what failed is done.
    fn tell_again(&self, failed: bool) {
        if failed {
            tracing::info!(file = self.file(), "the disk takes the recording again");
        }
    }

    /// Waits for another try.
    fn wait(&mut self, error: &FeedError) -> Result<(), GaveUp> {
        self.stats.write_errors.add(1);
        if !self.was_refused {
            tracing::warn!(
                "the recording waits: {error}; the feed goes on, and what finds no room in memory will be declared lost"
            );
        }
        self.was_refused = true;
        self.count();
        let until_ns = after(self.clock.now_ns(), Duration::from_millis(limits::RECORD_RETRY_MS));
        loop {
            if self.hurry.load(Ordering::Acquire) {
                return Err(GaveUp);
            }
            let now_ns = self.clock.now_ns();
            if now_ns >= until_ns {
                return Ok(());
            }
            self.parker.park_timeout(Duration::from_nanos(until_ns - now_ns));
        }
    }

    fn count(&self) {
        self.stats.bytes.set(self.bytes_before + self.writer.bytes());
        self.stats.waiting.set(self.tap.records() as u64);
    }

    fn file(&self) -> String {
        numbered(&self.settings.file, self.number).display().to_string()
    }
}

fn create(path: &Path, description: &Description) -> Result<Writer, FeedError> {
    Ok(Writer::create(path, description)?.with_keyframes(KeyframeSettings::default()))
}

fn after(now_ns: u64, time: Duration) -> u64 {
    now_ns.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Reader;
    use crate::model::{Channel, ChannelSet, Instrument};
    use crate::pump::Tape;

    #[test]
    fn what_was_lost_at_the_very_end_is_declared() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.feed");
        let instrument = Instrument {
            symbol: "X".into(),
            price_exponent: 0,
            quantity_exponent: 0,
            tick_size: 1,
            lot_size: 1,
            channels: ChannelSet::of(&[Channel::Trades]),
            book_depth: 0,
            source_id: 0,
        };
        let settings = RecordSettings {
            file: file.clone(),
            rotate_bytes: None,
            rotate: None,
            flush: limits::RECORD_FLUSH_DEFAULT,
        };
        let stats = Arc::<RecordStats>::default();
        let (tape, tap) = Tape::new(1, stats.clone());
        let description = Description::new("a test", vec![instrument]);
        let (recorder, _) =
            Recorder::create(settings, description, tap, stats.clone(), Clock::start()).unwrap();
        stats.lost.add(5);
        drop(tape);
        recorder.run();
        let reader = Reader::open(&file).unwrap();
        assert!(reader.is_complete());
        let declared: Vec<_> = reader.losses().iter().map(|at| at.loss).collect();
        assert_eq!(declared, [Loss::new(5, loss_reason::SLOW)]);
    }
}
