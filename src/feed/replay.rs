//! Feed files as a source: merged by time, paced, paused, repeated.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::error::FeedError;
use super::handle::{ReplayHandle, Shared};
use super::pace::{Pacer, Speed};
use super::pacing_time_ns;
use super::reader::Reader;
use crate::limits;
use crate::model::{ABSENT_TIME, Catalog, Channel, Instrument, Primary, ResetReason, primary_flags};
use crate::source::{Next, Source, SourceError};

/// How a replay starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplaySettings {
    /// How fast.
    pub speed: Speed,
    /// Nothing is sent before [`ReplayHandle::play`].
    pub start_paused: bool,
    /// At the end it starts again, in a new epoch.
    pub looped: bool,
}

impl Default for ReplaySettings {
    fn default() -> ReplaySettings {
        ReplaySettings { speed: Speed::NORMAL, start_paused: false, looped: false }
    }
}

/// One or more feed files as one source.
///
/// Whole exchange events go out when their last record is due: by receive time where the recording has one, else by
/// event time, on an absolute schedule that starts with the first record that has a time. Records of a snapshot, and
/// times that step back, take no time. It holds one block of each file and one exchange event.
pub struct Replay {
    catalog: Arc<Catalog>,
    tracks: Vec<Track>,
    /// The tracks that have an event in hand: by its place in time, then by the order of the files.
    order: BinaryHeap<Reverse<(u64, usize)>>,
    pacer: Pacer,
    /// As it was obeyed last; `shared` holds what is wanted.
    paused: bool,
    /// Records sent in this pass.
    sent: u64,
    /// Time of the last timed record sent.
    sent_ns: u64,
    /// When the pass began, and when its last event was due, by the clock.
    pass_ns: Option<u64>,
    last_due_ns: u64,
    shared: Arc<Shared>,
}

impl Replay {
    /// Opens the files. One symbol in several files is one instrument; its definitions must be equal.
    pub fn open(paths: &[PathBuf], settings: ReplaySettings) -> Result<Replay, FeedError> {
        if paths.is_empty() || paths.len() > limits::REPLAY_FILES_MAX {
            return Err(FeedError::Files(paths.len()));
        }
        let readers = paths.iter().map(|path| Reader::open(path)).collect::<Result<Vec<_>, _>>()?;
        for reader in &readers {
            if let Some(fault) = reader.fault() {
                tracing::warn!(
                    file = reader.path(),
                    records = reader.records(),
                    "the feed file is not complete ({fault}); the records before that are replayed"
                );
            }
        }
        let (catalog, numbers) = merge_catalogs(&readers)?;
        let first_ns =
            readers.iter().filter_map(|reader| reader.blocks().first()).map(|block| block.first_time_ns);
        let shared = Arc::new(Shared {
            paused: AtomicBool::new(settings.start_paused),
            speed: AtomicU32::new(settings.speed.thousandths().unwrap_or(0)),
            time_ns: AtomicU64::new(first_ns.min().filter(|time| *time != ABSENT_TIME).unwrap_or(0)),
            records_sent: AtomicU64::new(0),
            loops: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            files: paths.iter().map(|path| file_name(path)).collect(),
            records: readers.iter().map(Reader::records).sum(),
            looped: settings.looped,
            waker: OnceLock::new(),
        });
        let tracks =
            readers.into_iter().zip(numbers).map(|(reader, numbers)| Track::new(reader, numbers)).collect();
        let mut replay = Replay {
            catalog: Arc::new(catalog),
            tracks,
            order: BinaryHeap::new(),
            pacer: Pacer::new(settings.speed),
            paused: settings.start_paused,
            sent: 0,
            sent_ns: 0,
            pass_ns: None,
            last_due_ns: 0,
            shared,
        };
        replay.rewind()?;
        Ok(replay)
    }

    /// A handle to steer it with.
    pub fn handle(&self) -> ReplayHandle {
        ReplayHandle(Arc::clone(&self.shared))
    }

    /// Puts the first event of every file in hand.
    fn rewind(&mut self) -> Result<(), FeedError> {
        self.order.clear();
        for (number, track) in self.tracks.iter_mut().enumerate() {
            track.rewind();
            if track.advance()? {
                self.order.push(Reverse((track.place_ns, number)));
            }
        }
        Ok(())
    }

    /// Does what handles want since the last call.
    fn obey(&mut self, now_ns: u64) {
        let speed = self.shared.speed();
        if speed != self.pacer.speed() {
            if self.paused {
                // Time stands still: its anchor is already where it stands.
                self.pacer.resume(now_ns);
            }
            self.pacer.set_speed(now_ns, self.sent_ns, speed);
        }
        let paused = self.shared.paused.load(Ordering::Acquire);
        if paused && !self.paused {
            self.pacer.pause(now_ns, self.sent_ns);
        } else if !paused && self.paused {
            self.pacer.resume(now_ns);
        }
        self.paused = paused;
    }

    /// Sends every event that is due; the batch ends with what comes next.
    fn send(&mut self, now_ns: u64, out: &mut Vec<Primary>) -> Result<Next, FeedError> {
        let full = out.len() + limits::SOURCE_BATCH_MAX;
        while let Some(Reverse((_, number))) = self.order.peek().copied() {
            let track = &mut self.tracks[number];
            let due_ns = track.time_ns.map_or(0, |time_ns| self.pacer.due_ns(now_ns, time_ns));
            if due_ns > now_ns {
                return Ok(Next::At(due_ns));
            }
            if out.len() >= full {
                return Ok(Next::Now);
            }
            out.extend_from_slice(&track.event);
            self.sent += track.event.len() as u64;
            self.sent_ns = self.sent_ns.max(track.time_ns.unwrap_or(0));
            self.last_due_ns = self.last_due_ns.max(due_ns);
            self.order.pop();
            if track.advance()? {
                self.order.push(Reverse((track.place_ns, number)));
            }
        }
        self.end_pass(now_ns)
    }

    /// Everything was sent: the end, or the next pass.
    fn end_pass(&mut self, now_ns: u64) -> Result<Next, FeedError> {
        // A pass without records would start the next one at once, for ever.
        if !self.shared.looped || self.sent == 0 {
            self.shared.ended.store(true, Ordering::Release);
            return Ok(Next::Ended);
        }
        if self.pacer.speed() != Speed::MAX {
            let pass_ns = self.pass_ns.unwrap_or(now_ns);
            let begin_ns = self.last_due_ns.max(pass_ns.saturating_add(limits::REPLAY_PASS_NS_MIN));
            if begin_ns > now_ns {
                return Ok(Next::At(begin_ns));
            }
            self.pacer.restart(begin_ns);
            self.pass_ns = Some(begin_ns);
        } else {
            self.pacer.restart(now_ns);
            self.pass_ns = Some(now_ns);
        }
        self.sent = 0;
        self.sent_ns = 0;
        self.last_due_ns = 0;
        self.shared.loops.fetch_add(1, Ordering::AcqRel);
        self.rewind()?;
        Ok(Next::Reset(ResetReason::Loop))
    }
}

impl Source for Replay {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    fn poll(&mut self, now_ns: u64, out: &mut Vec<Primary>) -> Result<Next, SourceError> {
        self.obey(now_ns);
        if self.shared.ended.load(Ordering::Acquire) {
            return Ok(Next::Ended);
        }
        if self.paused {
            return Ok(Next::Idle);
        }
        self.pass_ns.get_or_insert(now_ns);
        let next = self.send(now_ns, out)?;
        self.shared.records_sent.store(self.sent, Ordering::Release);
        if self.sent_ns > 0 {
            self.shared.time_ns.store(self.sent_ns, Ordering::Release);
        }
        Ok(next)
    }
}

/// One file of a replay.
struct Track {
    reader: Reader,
    /// The replay's number of each of the file's instruments.
    numbers: Vec<u32>,
    /// Position in the block in hand of the next record.
    at: usize,
    /// Declared losses that were logged.
    losses_logged: usize,
    /// The event in hand; longer ones come in pieces of [`limits::EVENT_RECORDS_MAX`].
    event: Vec<Primary>,
    /// When the event's last timed record was received; `None` where it takes no time.
    time_ns: Option<u64>,
    /// Where the event stands among those of other files; never steps back.
    place_ns: u64,
}

impl Track {
    fn new(reader: Reader, numbers: Vec<u32>) -> Track {
        Track { reader, numbers, at: 0, losses_logged: 0, event: Vec::new(), time_ns: None, place_ns: 0 }
    }

    fn rewind(&mut self) {
        self.reader.rewind();
        self.at = 0;
        self.place_ns = 0;
    }

    /// Takes the next event into hand; false at the end.
    fn advance(&mut self) -> Result<bool, FeedError> {
        self.event.clear();
        self.time_ns = None;
        while self.event.len() < limits::EVENT_RECORDS_MAX {
            if self.at == self.reader.block().len() {
                self.at = 0;
                let is_end = self.reader.next_block()?.is_none();
                self.log_losses();
                if is_end {
                    break;
                }
            }
            let mut primary = self.reader.block()[self.at];
            self.at += 1;
            primary.instrument = self.numbers[primary.instrument as usize];
            if let Some(time_ns) = pacing_time_ns(&primary) {
                self.place_ns = self.place_ns.max(time_ns);
                if primary.flags & primary_flags::SNAPSHOT == 0 {
                    self.time_ns = self.time_ns.max(Some(time_ns));
                }
            }
            self.event.push(primary);
            if primary.is_last() {
                break;
            }
        }
        Ok(!self.event.is_empty())
    }
}

impl Track {
    /// Logs the losses that the file declares before the block in hand: each once, however often it is replayed.
    fn log_losses(&mut self) {
        let losses = self.reader.losses();
        while let Some(at) = losses.get(self.losses_logged).filter(|at| at.record <= self.reader.position()) {
            self.losses_logged += 1;
            if self.losses_logged > limits::REPLAY_LOSSES_LOGGED {
                continue;
            }
            let records = at.loss.known_records().map_or("unknown".to_owned(), |records| records.to_string());
            tracing::warn!(
                file = self.reader.path(),
                before_record = at.record,
                records,
                "records are missing in the recording: {}",
                at.loss.reason()
            );
            if self.losses_logged == limits::REPLAY_LOSSES_LOGGED {
                tracing::warn!(file = self.reader.path(), "further losses of this file are not logged");
            }
        }
    }
}

/// One catalog of all files, and for each file the new numbers of its instruments.
fn merge_catalogs(readers: &[Reader]) -> Result<(Catalog, Vec<Vec<u32>>), FeedError> {
    let mut instruments: Vec<Instrument> = Vec::new();
    let mut known = rustc_hash::FxHashMap::<String, u32>::default();
    let mut numbers = Vec::with_capacity(readers.len());
    for reader in readers {
        let mut of_file = Vec::with_capacity(reader.catalog().len());
        for instrument in reader.catalog().instruments() {
            let next = instruments.len() as u32;
            let number = *known.entry(instrument.symbol.clone()).or_insert(next);
            if number == next {
                instruments.push(instrument.clone());
            } else {
                same_definition(instrument, &instruments[number as usize], reader.path())?;
            }
            of_file.push(number);
        }
        numbers.push(of_file);
    }
    let path = || readers.iter().map(Reader::path).collect::<Vec<_>>().join(", ");
    let catalog = Catalog::new(instruments).map_err(|error| FeedError::Catalog { path: path(), error })?;
    Ok((catalog, numbers))
}

fn same_definition(found: &Instrument, other: &Instrument, path: &str) -> Result<(), FeedError> {
    let channels =
        |instrument: &Instrument| instrument.channels.iter().map(Channel::name).collect::<Vec<_>>().join("+");
    let fields = [
        ("price_exponent", found.price_exponent.to_string(), other.price_exponent.to_string()),
        ("quantity_exponent", found.quantity_exponent.to_string(), other.quantity_exponent.to_string()),
        ("tick_size", found.tick_size.to_string(), other.tick_size.to_string()),
        ("lot_size", found.lot_size.to_string(), other.lot_size.to_string()),
        ("channels", channels(found), channels(other)),
        ("book_depth", found.book_depth.to_string(), other.book_depth.to_string()),
    ];
    for (field, found_value, other_value) in fields {
        if found_value != other_value {
            return Err(FeedError::Definition {
                path: path.to_owned(),
                symbol: found.symbol.clone(),
                field,
                found: found_value,
                other: other_value,
            });
        }
    }
    Ok(())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
