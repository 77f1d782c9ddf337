//! Feed files as a source: merged by time, paced, paused, repeated, from anywhere to anywhere.

mod merge;
mod seek;
mod track;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use tokio::sync::watch;

use super::error::FeedError;
use super::handle::{NO_SEEK, ReplayHandle, Shared};
use super::pace::{Pacer, Speed};
use super::reader::Reader;
use super::time::rfc3339;
use crate::limits;
use crate::model::{Catalog, Primary, ResetReason};
use crate::source::{Next, Source, SourceError};

use self::merge::{Placed, merge_catalogs};
use self::seek::Way;
use self::track::Track;

/// How a replay starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplaySettings {
    /// How fast.
    pub speed: Speed,
    /// Nothing is sent before [`ReplayHandle::play`].
    pub start_paused: bool,
    /// At the end it starts again, in a new epoch.
    pub looped: bool,
    /// It begins with the state before the first event at this time or later, nanoseconds since the Unix epoch; `None`:
    /// with the first record.
    pub from_ns: Option<u64>,
    /// It ends behind the last event at this time or before; `None`: with the last record.
    pub to_ns: Option<u64>,
    /// Longest wait between two events, nanoseconds by the clock (so at the speed it has); `None`: any.
    pub max_idle_ns: Option<u64>,
}

impl Default for ReplaySettings {
    fn default() -> ReplaySettings {
        ReplaySettings {
            speed: Speed::NORMAL,
            start_paused: false,
            looped: false,
            from_ns: None,
            to_ns: None,
            max_idle_ns: None,
        }
    }
}

/// One or more feed files as one source.
///
/// Whole exchange events go out when their last record is due: by receive time where the recording has one, else by
/// event time, on an absolute schedule that starts with the first record that has a time. Records of a snapshot, times
/// that step back, and times far ahead that what follows takes back take no time. It holds one block of each file and
/// one exchange event.
///
/// A seek begins a new epoch with the state before the first event at the time that is sought or later, told as a
/// snapshot (which takes no time), and goes on from there, playing or paused as before. The state is that of a run from
/// the start. It is made of the last keyframe before that time and what follows it; of everything from the start where a
/// file has no keyframe, or shares an instrument with another file. A seek to before the beginning is one to the
/// beginning, one to behind the end shows the final state and ends.
pub struct Replay {
    catalog: Arc<Catalog>,
    tracks: Vec<Track>,
    /// Of each track whether no other has one of its instruments: then its keyframes say all there is to say of them.
    is_alone: Vec<bool>,
    /// The tracks that have an event in hand: by its place in time, then by the order of the files.
    order: BinaryHeap<Reverse<(u64, usize)>>,
    pacer: Pacer,
    /// As it was obeyed last; `shared` holds what is wanted.
    paused: bool,
    /// What it does, playing apart only until it has told the state at its start or where a seek led.
    way: Way,
    from_ns: Option<u64>,
    /// Nothing later is sent.
    to_ns: u64,
    /// Exchange events that go out though it is paused, and the number of the last command that asked for some.
    steps: u64,
    step_command: u64,
    /// Records of this pass that were sent or passed over.
    sent: u64,
    /// Whether an event was sent in this pass.
    has_played: bool,
    /// Where it stands: the time of the last timed record sent, or one that was sought; 0: nowhere yet.
    stands_ns: u64,
    /// When the pass began, and when its last event was due, by the clock.
    pass_ns: Option<u64>,
    last_due_ns: u64,
    shared: Arc<Shared>,
}

impl Replay {
    /// Opens the files. One symbol in several files is one instrument; its definitions must be equal, but for the
    /// decimals of its numbers: it has the most that a file has.
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
        let (catalog, placed) = merge_catalogs(&readers)?;
        let is_alone = alone(&placed, catalog.len());
        let records = readers.iter().map(Reader::records).sum();
        let mut tracks: Vec<Track> =
            readers.into_iter().zip(placed).map(|(reader, placed)| Track::new(reader, placed)).collect();
        let (begin_ns, end_ns) = span(&mut tracks, settings)?;
        let shared = Arc::new(Shared {
            paused: AtomicBool::new(settings.start_paused),
            speed: AtomicU32::new(settings.speed.thousandths().unwrap_or(0)),
            seek_ns: AtomicU64::new(NO_SEEK),
            steps: AtomicU64::new(0),
            step_commands: AtomicU64::new(0),
            steps_done: watch::Sender::new(0),
            time_ns: AtomicU64::new(begin_ns),
            records_sent: AtomicU64::new(0),
            loops: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            files: paths.iter().map(|path| file_name(path)).collect(),
            records,
            looped: settings.looped,
            begin_ns,
            end_ns,
            waker: OnceLock::new(),
        });
        let mut replay = Replay {
            catalog: Arc::new(catalog),
            tracks,
            is_alone,
            order: BinaryHeap::new(),
            pacer: Pacer::new(settings.speed, settings.max_idle_ns),
            paused: settings.start_paused,
            way: Way::Playing,
            from_ns: settings.from_ns,
            to_ns: settings.to_ns.unwrap_or(u64::MAX),
            steps: 0,
            step_command: 0,
            sent: 0,
            has_played: false,
            stands_ns: 0,
            pass_ns: None,
            last_due_ns: 0,
            shared,
        };
        replay.begin()?;
        Ok(replay)
    }

    /// A handle to steer it with.
    pub fn handle(&self) -> ReplayHandle {
        ReplayHandle(Arc::clone(&self.shared))
    }

    /// Goes to where it begins: the first event of every file, or on the way to `from_ns`.
    fn begin(&mut self) -> Result<(), FeedError> {
        if let Some(from_ns) = self.from_ns {
            return self.set_out(from_ns);
        }
        self.order.clear();
        for (number, track) in self.tracks.iter_mut().enumerate() {
            track.rewind();
            if track.advance()? {
                self.order.push(Reverse((track.place_ns(), number)));
            }
        }
        Ok(())
    }

    /// The track whose event is next; `None`: there is no more.
    fn head(&self) -> Option<usize> {
        let Reverse((_, number)) = *self.order.peek()?;
        let is_within = self.tracks[number].time_ns.is_none_or(|time_ns| time_ns <= self.to_ns);
        is_within.then_some(number)
    }

    /// Puts the event behind the head of that track in hand.
    fn next_event(&mut self, number: usize) -> Result<(), FeedError> {
        self.order.pop();
        let track = &mut self.tracks[number];
        if track.advance()? {
            self.order.push(Reverse((track.place_ns(), number)));
        }
        Ok(())
    }

    /// Does what handles want since the last call; true: a seek.
    fn obey(&mut self, now_ns: u64) -> Result<bool, FeedError> {
        let speed = self.shared.speed();
        if speed != self.pacer.speed() {
            if self.paused {
                // Time stands still: its anchor is already where it stands.
                self.pacer.resume(now_ns);
            }
            self.pacer.set_speed(now_ns, self.stands_ns, speed);
        }
        let paused = self.shared.paused.load(Ordering::Acquire);
        if paused && !self.paused {
            self.pacer.pause(now_ns, self.stands_ns);
        } else if !paused && self.paused {
            self.pacer.resume(now_ns);
            self.steps = 0;
        }
        self.paused = paused;
        // In this order: the steps of each command that is counted are there.
        self.step_command = self.shared.step_commands.load(Ordering::Acquire);
        let steps = self.shared.steps.swap(0, Ordering::AcqRel);
        if paused {
            self.steps = self.steps.saturating_add(steps);
        }
        let seek_ns = self.shared.seek_ns.swap(NO_SEEK, Ordering::AcqRel);
        if seek_ns == NO_SEEK {
            return Ok(false);
        }
        self.steps = 0;
        self.pass_ns = None;
        self.shared.ended.store(false, Ordering::Release);
        self.set_out(seek_ns.clamp(self.shared.begin_ns, self.to_ns.saturating_add(1)))?;
        Ok(true)
    }

    /// Sends every event that is due; the batch ends with what comes next.
    fn send(&mut self, now_ns: u64, out: &mut Vec<Primary>) -> Result<Next, FeedError> {
        let full = out.len() + limits::SOURCE_BATCH_MAX;
        while let Some(number) = self.head() {
            let time_ns = self.tracks[number].time_ns;
            let due_ns = time_ns.map_or(0, |time_ns| self.pacer.due_ns(now_ns, time_ns));
            if due_ns > now_ns {
                return Ok(Next::At(due_ns));
            }
            if out.len() >= full {
                return Ok(Next::Now);
            }
            self.pacer.sent(due_ns);
            self.last_due_ns = self.last_due_ns.max(due_ns);
            self.send_head(number, out)?;
        }
        self.end_pass(now_ns)
    }

    /// Sends the events that were asked for, whenever they are due.
    fn step(&mut self, now_ns: u64, out: &mut Vec<Primary>) -> Result<Next, FeedError> {
        let full = out.len() + limits::SOURCE_BATCH_MAX;
        while let Some(number) = self.head() {
            if self.steps == 0 {
                return Ok(Next::Idle);
            }
            if out.len() >= full {
                return Ok(Next::Now);
            }
            self.steps -= 1;
            if let Some(time_ns) = self.tracks[number].time_ns {
                self.pacer.jump(now_ns, time_ns);
            }
            self.send_head(number, out)?;
        }
        // Nothing is left to be played: that is the end, unless the next pass waits for `play`.
        if self.shared.looped && self.has_played { Ok(Next::Idle) } else { self.end_pass(now_ns) }
    }

    fn send_head(&mut self, number: usize, out: &mut Vec<Primary>) -> Result<(), FeedError> {
        let track = &self.tracks[number];
        out.extend_from_slice(&track.event);
        self.sent += track.event.len() as u64;
        self.stands_ns = self.stands_ns.max(track.time_ns.unwrap_or(0));
        self.has_played = true;
        self.next_event(number)
    }

    /// Tells handles where it stands.
    fn tell_place(&self) {
        self.shared.records_sent.store(self.sent, Ordering::Release);
        if self.stands_ns > 0 {
            self.shared.time_ns.store(self.stands_ns, Ordering::Release);
        }
    }

    /// Everything was sent: the end, or the next pass.
    fn end_pass(&mut self, now_ns: u64) -> Result<Next, FeedError> {
        // A pass without records would start the next one at once, for ever.
        if !self.shared.looped || !self.has_played {
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
        self.has_played = false;
        self.stands_ns = 0;
        self.last_due_ns = 0;
        self.shared.loops.fetch_add(1, Ordering::AcqRel);
        self.begin()?;
        Ok(Next::Reset(ResetReason::Loop))
    }
}

impl Source for Replay {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    fn poll(&mut self, now_ns: u64, out: &mut Vec<Primary>) -> Result<Next, SourceError> {
        let next = self.say(now_ns, out)?;
        if !matches!(next, Next::Now | Next::Reset(_)) {
            let number = self.step_command;
            self.shared.steps_done.send_if_modified(|done| std::mem::replace(done, number) != number);
        }
        Ok(next)
    }
}

impl Replay {
    fn say(&mut self, now_ns: u64, out: &mut Vec<Primary>) -> Result<Next, FeedError> {
        if self.obey(now_ns)? {
            return Ok(Next::Reset(ResetReason::Seek));
        }
        if self.shared.ended.load(Ordering::Acquire) {
            return Ok(Next::Ended);
        }
        if !self.go(now_ns, out)? {
            return Ok(Next::Now);
        }
        if self.paused && self.steps == 0 && self.head().is_some() {
            return Ok(Next::Idle);
        }
        self.pass_ns.get_or_insert(now_ns);
        let next = if self.paused { self.step(now_ns, out) } else { self.send(now_ns, out) };
        self.tell_place();
        next
    }
}

/// Of each file whether none of its instruments is another's too.
fn alone(placed: &[Vec<Placed>], instruments: usize) -> Vec<bool> {
    let mut files = vec![0_u32; instruments];
    for instrument in placed.iter().flatten() {
        files[instrument.number as usize] += 1;
    }
    placed.iter().map(|of_file| of_file.iter().all(|placed| files[placed.number as usize] == 1)).collect()
}

/// When a replay begins and ends, by the records there are and by what is asked for; 0: no record has a time.
fn span(tracks: &mut [Track], settings: ReplaySettings) -> Result<(u64, u64), FeedError> {
    let spans = tracks.iter_mut().map(Track::span_ns).collect::<Result<Vec<_>, _>>()?;
    let first_ns = spans.iter().filter_map(|(first, _)| *first).min().unwrap_or(0);
    let last_ns = spans.iter().filter_map(|(_, last)| *last).max().unwrap_or(0);
    let (from_ns, to_ns) = (settings.from_ns.unwrap_or(0), settings.to_ns.unwrap_or(u64::MAX));
    if from_ns > to_ns || from_ns > last_ns.max(first_ns) || to_ns < first_ns {
        return Err(FeedError::Span {
            from: settings.from_ns.map_or_else(|| "the beginning".into(), rfc3339),
            to: settings.to_ns.map_or_else(|| "the end".into(), rfc3339),
            first: rfc3339(first_ns),
            last: rfc3339(last_ns),
        });
    }
    Ok((first_ns.max(from_ns), last_ns.min(to_ns)))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
