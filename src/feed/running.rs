//! The running time of a feed file: the greatest time so far, but for times that what follows takes back.

use std::io::{Read, Seek};

use super::error::FeedError;
use super::format::IndexEntry;
use super::pacing_time_ns;
use super::reader::Reader;
use crate::limits;
use crate::model::{ABSENT_TIME, primary_flags};

/// How far a file has come. One time that is far ahead, such as that of a line that was written while the recorder's
/// clock was wrong, does not count: else nothing behind it would ever be due.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Running {
    now_ns: Option<u64>,
}

impl Running {
    /// From a time on that was reached.
    pub fn at(now_ns: Option<u64>) -> Running {
        Running { now_ns }
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
        let leaps = self.now_ns.is_none_or(|now_ns| time_ns > now_ns.saturating_add(limits::FEED_LEAP_NS));
        let counts = !leaps || !is_taken_back(time_ns, following());
        if counts {
            self.now_ns = self.now_ns.max(Some(time_ns));
        }
        counts
    }

    /// As [`Running::take`], of the record at a position in the block that the reader has in hand. `None`: the record has
    /// no time.
    pub fn follow<R: Read + Seek>(&mut self, reader: &Reader<R>, at: usize) -> Option<bool> {
        let time_ns = pacing_time_ns(&reader.block()[at])?;
        Some(self.take(time_ns, || times_behind(reader, at)))
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
        } else if counts {
            return pacing_time_ns(primary);
        }
        self.live.now_ns()
    }
}

/// Whether most of the times that follow are before it.
fn is_taken_back(time_ns: u64, following: impl Iterator<Item = (u64, usize)>) -> bool {
    let (mut before, mut left) = (0, limits::FEED_LEAP_TIMES);
    for (following_ns, count) in following {
        let count = count.min(left);
        left -= count;
        before += if following_ns < time_ns { count } else { 0 };
        if left == 0 {
            break;
        }
    }
    before > (limits::FEED_LEAP_TIMES - left) / 2
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
    if reader.next_block()?.is_some() {
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
