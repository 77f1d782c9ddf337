//! The running time of a feed file: the greatest time so far, but for times that what follows takes back.

use std::collections::VecDeque;
use std::io::{Read, Seek};

use super::error::FeedError;
use super::format::IndexEntry;
use super::pacing_time_ns;
use super::reader::Reader;
use crate::limits;
use crate::model::{ABSENT_TIME, Primary, primary_flags};

/// How far a file has come. One time that is far ahead, such as that of a line that was written while the recorder's
/// clock was wrong, does not count: else nothing behind it would ever be due.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Running {
    now_ns: Option<u64>,
    /// The running number in the file of the first record of which a look did not tell that its time counts.
    believed_until: u64,
}

impl Running {
    /// From a time on that was reached.
    pub fn at(now_ns: Option<u64>) -> Running {
        Running { now_ns, believed_until: 0 }
    }

    /// The running time; `None` before the first record that has one.
    pub fn now_ns(self) -> Option<u64> {
        self.now_ns
    }

    /// Takes the time of the next record; whether it counts. It does not where it leaps, by more than
    /// [`limits::FEED_LEAP_NS`], and most of what follows is before it: of the next [`limits::FEED_LEAP_TIMES`] times, or
    /// of fewer where there are no more. They are told in turn, each with how often it stands there.
    pub fn take<I: Iterator<Item = (u64, usize)>>(
        &mut self,
        time_ns: u64,
        following: impl FnOnce() -> I,
    ) -> bool {
        let counts = !self.leaps(time_ns) || !look(time_ns, following()).is_taken_back;
        self.reach(time_ns, counts)
    }

    fn reach(&mut self, time_ns: u64, counts: bool) -> bool {
        if counts {
            self.now_ns = self.now_ns.max(Some(time_ns));
        }
        counts
    }

    fn leaps(self, time_ns: u64) -> bool {
        self.now_ns.is_none_or(|now_ns| time_ns > now_ns.saturating_add(limits::FEED_LEAP_NS))
    }

    /// As [`Running::take`], of the record at a position in the block that the reader has in hand. `None`: the record has
    /// no time. What a look has shown to be in order is not looked at again: where records are further apart than
    /// [`limits::FEED_LEAP_NS`] every time leaps.
    pub fn follow<R: Read + Seek>(&mut self, reader: &Reader<R>, at: usize) -> Option<bool> {
        let time_ns = pacing_time_ns(&reader.block()[at])?;
        if !self.leaps(time_ns) {
            return Some(self.reach(time_ns, true));
        }
        let record = reader.position() + at as u64;
        if record < self.believed_until {
            return Some(self.reach(time_ns, true));
        }
        let look = look(time_ns, times_behind(reader, at));
        // What stands for the records of other blocks bears these out, and not the records themselves.
        let believed = look.believed.min(reader.block().len() - at);
        self.believed_until = record + believed as u64;
        Some(self.reach(time_ns, !look.is_taken_back))
    }
}

/// The running time of what is being written, with and without snapshots: a time that leaps is settled by what follows.
#[derive(Debug, Default)]
pub(super) struct Settling {
    running: Running,
    live_ns: Option<u64>,
    /// Times that are not settled, from the first that leaps on, and whether they are of snapshots. At most
    /// [`limits::FEED_LEAP_TIMES`] and one.
    open: VecDeque<(u64, bool)>,
    /// How many of them, at the end, are in order.
    in_order: usize,
    /// Of the times behind the first of these: those that are before it, and the others.
    before: usize,
    others: usize,
}

impl Settling {
    /// Behind records of these greatest times, without those of snapshots and with them.
    pub fn at(live_ns: Option<u64>, now_ns: Option<u64>) -> Settling {
        Settling { running: Running::at(now_ns), live_ns, ..Settling::default() }
    }

    /// Takes the time of the next record, if it has one.
    pub fn follow(&mut self, primary: &Primary) {
        let Some(time_ns) = pacing_time_ns(primary) else { return };
        if let Some((first_ns, _)) = self.open.front() {
            let is_before = time_ns < *first_ns;
            self.before += usize::from(is_before);
            self.others += usize::from(!is_before);
        }
        let follows = self.open.back().is_some_and(|(last_ns, _)| *last_ns <= time_ns);
        self.in_order = if follows { self.in_order + 1 } else { 1 };
        self.open.push_back((time_ns, primary.flags & primary_flags::SNAPSHOT != 0));
        self.settle();
    }

    fn settle(&mut self) {
        const HALF: usize = limits::FEED_LEAP_TIMES / 2;
        while let Some((time_ns, is_snapshot)) = self.open.front().copied() {
            let leaps = self.running.leaps(time_ns);
            if leaps && self.before <= HALF && self.others < HALF {
                return;
            }
            self.open.pop_front();
            if !leaps || self.others >= HALF {
                self.running.now_ns = self.running.now_ns.max(Some(time_ns));
                if !is_snapshot {
                    self.live_ns = self.live_ns.max(Some(time_ns));
                }
            }
            (self.before, self.others) = (0, 0);
            if let Some((first_ns, _)) =
                self.open.front().filter(|(first_ns, _)| self.running.leaps(*first_ns))
            {
                let behind = self.open.iter().skip(1);
                self.before = if self.in_order >= self.open.len() {
                    0
                } else {
                    behind.filter(|(time_ns, _)| time_ns < first_ns).count()
                };
                self.others = self.open.len() - 1 - self.before;
            }
        }
    }

    /// The greatest times so far, without those of snapshots and with them; what is not settled is believed.
    pub fn greatest_ns(&self) -> (Option<u64>, Option<u64>) {
        let live = self.open.iter().filter(|(_, is_snapshot)| !is_snapshot);
        let live_ns = live.map(|(time_ns, _)| *time_ns).max();
        let now_ns = self.open.iter().map(|(time_ns, _)| *time_ns).max();
        (self.live_ns.max(live_ns), self.running.now_ns.max(now_ns))
    }
}

/// Where records stand in the ranges of an export: the running time without snapshots, which may be older or younger
/// than what they stand between, and stand at their own time where it counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position {
    live: Running,
}

impl Position {
    /// Behind records of that greatest time.
    pub fn at(time_ns: Option<u64>) -> Position {
        Position { live: Running::at(time_ns) }
    }

    /// Where the record at a position in the block in hand stands; `None` before the first that has a time.
    pub fn follow<R: Read + Seek>(&mut self, reader: &Reader<R>, at: usize) -> Option<u64> {
        let primary = &reader.block()[at];
        let mut next = self.live;
        let counts = next.follow(reader, at) == Some(true);
        if primary.flags & primary_flags::SNAPSHOT == 0 {
            self.live = next;
        } else {
            self.live.believed_until = next.believed_until;
            if counts {
                return pacing_time_ns(primary);
            }
        }
        self.live.now_ns()
    }
}

/// What the times behind one tell.
struct Look {
    /// Whether most of them are before it.
    is_taken_back: bool,
    /// How many records, from this one on, need no look: by what was seen, all that is looked at behind each of them is
    /// not before it. Not bounded where nothing more follows.
    believed: usize,
}

fn look(time_ns: u64, mut following: impl Iterator<Item = (u64, usize)>) -> Look {
    const HALF: usize = limits::FEED_LEAP_TIMES / 2;
    let (mut before, mut others) = (0, 0);
    // Of the times that follow each other in order, from the one that leaps on.
    let (mut in_order, mut is_in_order, mut last_ns) = (0, true, time_ns);
    let is_all = loop {
        let Some((following_ns, count)) = following.next() else { break true };
        is_in_order &= following_ns >= last_ns;
        last_ns = following_ns;
        in_order += if is_in_order { count } else { 0 };
        let count = count.min(limits::FEED_LEAP_TIMES.saturating_sub(before + others));
        match following_ns < time_ns {
            true => before += count,
            false => others += count,
        }
        // Whatever comes then, it is settled; twice as far in order spares the next as many looks.
        let is_settled = before > HALF || others >= HALF;
        if is_settled && !(is_in_order && in_order < limits::FEED_LEAP_TIMES) {
            break false;
        }
    };
    let believed = if is_all && is_in_order { usize::MAX } else { (in_order + 1).saturating_sub(HALF) };
    Look { is_taken_back: before > (before + others) / 2, believed }
}

/// The times behind a record of the block in hand: those of the block's records, then, for the records of each block
/// that follows, its first and its last, which the index tells. One of these does not decide alone.
fn times_behind<R: Read + Seek>(reader: &Reader<R>, at: usize) -> impl Iterator<Item = (u64, usize)> {
    let rest = reader.block()[at + 1..].iter().filter_map(pacing_time_ns).map(|time_ns| (time_ns, 1));
    let stands_for =
        |block: &IndexEntry| (block.records as usize).div_ceil(2).min(limits::FEED_LEAP_TIMES / 4);
    rest.chain(
        reader
            .blocks_behind()
            .iter()
            .flat_map(move |block| block_times(block).map(move |time_ns| (time_ns, stands_for(block)))),
    )
}

fn block_times(block: &IndexEntry) -> impl Iterator<Item = u64> {
    [block.first_time_ns, block.last_time_ns].into_iter().filter(|time_ns| *time_ns != ABSENT_TIME)
}

/// When a file begins and ends: the time of its first record, and its running time at the end; of records whose times
/// count. `None`: none has one. It reads the first block, and stands before it again.
pub(super) fn span_ns<R: Read + Seek>(
    reader: &mut Reader<R>,
) -> Result<(Option<u64>, Option<u64>), FeedError> {
    reader.rewind();
    let mut first = Running::default();
    let has_block = match reader.next_block() {
        Ok(block) => block.is_some(),
        // The index tells enough; who reads the block is told.
        Err(FeedError::Damaged { .. }) => false,
        Err(error) => return Err(error),
    };
    if has_block {
        let mut at = 0;
        while at < reader.block().len() && first.now_ns().is_none() {
            first.follow(reader, at);
            at += 1;
        }
    }
    reader.rewind();
    let mut running = first;
    let times: Vec<u64> = reader.blocks().iter().flat_map(block_times).collect();
    let mut first_ns = first.now_ns();
    for (at, time_ns) in times.iter().enumerate() {
        running.take(*time_ns, || times[at + 1..].iter().map(|time_ns| (*time_ns, 1)));
        first_ns = first_ns.or(running.now_ns());
    }
    Ok((first_ns, running.now_ns()))
}

#[cfg(test)]
mod tests;
