//! One file of a replay.

use super::merge::Placed;
use crate::feed::error::FeedError;
use crate::feed::reader::Reader;
use crate::feed::running::{self, Running};
use crate::feed::{pacing_time_ns, rfc3339};
use crate::limits;
use crate::model::{Primary, primary_flags};

/// One file of a replay.
pub struct Track {
    reader: Reader,
    /// What each of the file's instruments is in the replay.
    placed: Vec<Placed>,
    /// Position in the block in hand of the next record.
    at: usize,
    /// Declared losses that were logged.
    losses_logged: usize,
    /// The event in hand; longer ones come in pieces of [`limits::EVENT_RECORDS_MAX`].
    pub event: Vec<Primary>,
    /// When the event's last timed record whose time counts was received; `None` where it takes no time.
    pub time_ns: Option<u64>,
    /// Up to the event: where it stands among those of other files.
    running: Running,
    /// Whether a time that does not count was logged.
    leap_logged: bool,
    /// The running number in the file of the first record behind the event.
    behind: u64,
}

impl Track {
    pub fn new(reader: Reader, placed: Vec<Placed>) -> Track {
        Track {
            reader,
            placed,
            at: 0,
            losses_logged: 0,
            event: Vec::new(),
            time_ns: None,
            running: Running::default(),
            leap_logged: false,
            behind: 0,
        }
    }

    /// Where the event in hand stands among those of other files; never steps back.
    pub fn place_ns(&self) -> u64 {
        self.running.now_ns().unwrap_or(0)
    }

    pub fn rewind(&mut self) {
        self.reader.rewind();
        self.at = 0;
        self.running = Running::default();
        self.behind = 0;
    }

    /// Goes to the last keyframe before a moment, and gives its records to `take`; to the file's start where there is
    /// none. Returns the greatest time of a record before.
    pub fn rewind_to(
        &mut self,
        time_ns: u64,
        mut take: impl FnMut(&Primary),
    ) -> Result<Option<u64>, FeedError> {
        self.rewind();
        let Some(keyframe) = self.reader.keyframe_before(time_ns)? else { return Ok(None) };
        // Who has keyframes that count shares no instrument with another file, and so no decimals.
        let placed = &self.placed;
        self.reader.start_at(keyframe, |primary| {
            take(&Primary { instrument: placed[primary.instrument as usize].number, ..*primary });
        })?;
        self.running = Running::at(keyframe.place_ns);
        self.behind = keyframe.record;
        Ok(keyframe.place_ns)
    }

    /// When the file begins and ends; `None`: no record has a time. To be asked before the first event.
    pub fn span_ns(&mut self) -> Result<(Option<u64>, Option<u64>), FeedError> {
        running::span_ns(&mut self.reader)
    }

    /// Records of the file before the event in hand.
    pub fn passed(&self) -> u64 {
        self.behind - self.event.len() as u64
    }

    /// Takes the next event into hand; false at the end.
    pub fn advance(&mut self) -> Result<bool, FeedError> {
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
            let primary = self.reader.block()[self.at];
            let placed = self.placed[primary.instrument as usize];
            let Some(primary) = placed.place(&primary) else {
                return Err(FeedError::Decimals {
                    path: self.reader.path().to_owned(),
                    record: self.behind,
                    price: primary.price,
                    quantity: primary.quantity,
                });
            };
            match self.running.follow(&self.reader, self.at) {
                Some(true) if primary.flags & primary_flags::SNAPSHOT == 0 => {
                    self.time_ns = self.time_ns.max(pacing_time_ns(&primary));
                }
                Some(false) => self.log_leap(&primary),
                Some(true) | None => {}
            }
            self.at += 1;
            self.behind += 1;
            self.event.push(primary);
            if primary.is_last() {
                break;
            }
        }
        Ok(!self.event.is_empty())
    }

    /// Logs the first time that does not count.
    fn log_leap(&mut self, primary: &Primary) {
        if !std::mem::replace(&mut self.leap_logged, true) {
            tracing::warn!(
                file = self.reader.path(),
                record = self.behind,
                time = pacing_time_ns(primary).map(rfc3339),
                "the time of a record is after the times of those that follow, and does not count; further ones of this file are not logged"
            );
        }
    }

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
