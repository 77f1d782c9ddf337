//! The last events of every stream, within one budget of bytes: what resumed and conflated streams are caught up from.

use std::collections::VecDeque;

use crate::limits;
use crate::model::{Channel, Event};

const CHANNELS: usize = Channel::ALL.len();

/// Bytes of one block.
const BLOCK_BYTES: usize = limits::HISTORY_BLOCK_EVENTS * size_of::<Event>();

/// The recent events of a shard's instruments. When the budget is used up the oldest block of all goes, whoever's it
/// is: a busy stream keeps many events of a short time, a quiet one few of a long time.
#[derive(Debug)]
pub struct History {
    /// Blocks that may be in use.
    blocks_max: usize,
    /// Blocks in use.
    blocks: usize,
    /// One a stream: instrument by instrument, channel by channel.
    tracks: Vec<Track>,
    /// The blocks in use in the order in which they were begun. One that is not the track's any more is passed over.
    order: VecDeque<(usize, u64)>,
    /// Blocks that are not in use, with their memory.
    spare: Vec<Vec<Event>>,
    serial_next: u64,
}

/// The events kept of one stream: contiguous sequences.
#[derive(Debug, Default)]
struct Track {
    blocks: VecDeque<Block>,
}

#[derive(Debug)]
struct Block {
    serial: u64,
    events: Vec<Event>,
}

impl History {
    /// Nothing yet, of that many instruments; later at most `bytes_max` bytes (rounded down to whole blocks).
    pub fn new(instruments: usize, bytes_max: usize) -> History {
        History {
            blocks_max: bytes_max / BLOCK_BYTES,
            blocks: 0,
            tracks: (0..instruments * CHANNELS).map(|_| Track::default()).collect(),
            order: VecDeque::new(),
            spare: Vec::new(),
            serial_next: 0,
        }
    }

    /// Keeps an event: the stream's next.
    pub fn append(&mut self, channel: Channel, event: &Event) {
        if self.blocks_max == 0 {
            return;
        }
        let number = index(event.instrument, channel);
        let has_room = |track: &Track| {
            track.blocks.back().is_some_and(|block| block.events.len() < limits::HISTORY_BLOCK_EVENTS)
        };
        if !self.tracks.get(number).is_some_and(has_room) {
            self.begin_block(number);
        }
        if let Some(block) = self.tracks.get_mut(number).and_then(|track| track.blocks.back_mut()) {
            block.events.push(*event);
        }
    }

    fn begin_block(&mut self, number: usize) {
        if self.blocks >= self.blocks_max {
            self.evict();
        }
        let Some(track) = self.tracks.get_mut(number) else { return };
        let events = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(limits::HISTORY_BLOCK_EVENTS));
        let serial = self.serial_next;
        self.serial_next += 1;
        track.blocks.push_back(Block { serial, events });
        self.order.push_back((number, serial));
        self.blocks += 1;
    }

    /// Gives up the oldest block.
    fn evict(&mut self) {
        while let Some((number, serial)) = self.order.pop_front() {
            let track = &mut self.tracks[number];
            if track.blocks.front().is_some_and(|block| block.serial == serial)
                && let Some(block) = track.blocks.pop_front()
            {
                self.put_away(block);
                return;
            }
        }
    }

    fn put_away(&mut self, mut block: Block) {
        block.events.clear();
        self.spare.push(block.events);
        self.blocks -= 1;
    }

    /// Forgets an instrument: its history has ended.
    pub fn forget(&mut self, instrument: u32) {
        let first = instrument as usize * CHANNELS;
        for number in first..first + CHANNELS {
            for block in std::mem::take(&mut self.tracks[number].blocks) {
                self.put_away(block);
            }
        }
        // What was put away is passed over in the order only when its turn comes: not for ever.
        if self.order.len() > 2 * self.blocks + CHANNELS {
            let tracks = &self.tracks;
            self.order.retain(|(number, serial)| {
                tracks[*number].blocks.front().is_some_and(|block| block.serial <= *serial)
            });
        }
    }

    /// The oldest sequence kept of a stream.
    pub fn first(&self, instrument: u32, channel: Channel) -> Option<u64> {
        self.tracks[index(instrument, channel)].first()
    }

    /// The events of a stream after sequence `seq`, the oldest first; `None` where the first of them is kept no more
    /// (or nothing is kept at all).
    pub fn since(&self, instrument: u32, channel: Channel, seq: u64) -> Option<impl Iterator<Item = &Event>> {
        let track = &self.tracks[index(instrument, channel)];
        let skip = seq.checked_add(1)?.checked_sub(track.first()?)? as usize;
        let (block, within) = (skip / limits::HISTORY_BLOCK_EVENTS, skip % limits::HISTORY_BLOCK_EVENTS);
        let later = track.blocks.range(block.min(track.blocks.len())..);
        Some(later.flat_map(|block| &block.events).skip(within))
    }

    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        self.blocks * BLOCK_BYTES
    }
}

impl Track {
    fn first(&self) -> Option<u64> {
        Some(self.blocks.front()?.events.first()?.seq)
    }
}

fn index(instrument: u32, channel: Channel) -> usize {
    instrument as usize * CHANNELS + channel.index()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Body, Status};

    fn event(instrument: u32, seq: u64) -> Event {
        Event::new(instrument, seq, seq * 10, Body::Status(Status::Halted))
    }

    fn kept(history: &History, instrument: u32, channel: Channel, seq: u64) -> Option<Vec<u64>> {
        Some(history.since(instrument, channel, seq)?.map(|event| event.seq).collect())
    }

    proptest! {
        /// What is kept of a stream is its newest events without a hole, within the budget; resets begin anew.
        #[test]
        fn the_newest_are_kept_without_a_hole(
            blocks in 0_usize..8,
            steps in prop::collection::vec((0_u32..3, 0_usize..3, 1_usize..100, 0_u8..12), 1..120),
        ) {
            let channels = [Channel::Quotes, Channel::Trades, Channel::Book];
            let mut history = History::new(3, blocks * BLOCK_BYTES + 7);
            let mut last = BTreeMap::new();
            for (instrument, channel, events, what) in steps {
                if what == 0 {
                    history.forget(instrument);
                    last.retain(|(known, _), _| *known != instrument);
                    continue;
                }
                let seq = last.entry((instrument, channel)).or_insert(0_u64);
                for _ in 0..events {
                    *seq += 1;
                    history.append(channels[channel], &event(instrument, *seq));
                }
                prop_assert!(history.bytes() <= blocks * BLOCK_BYTES);
                prop_assert!(history.order.len() <= 2 * history.blocks + CHANNELS + 120);
                for instrument in 0..3 {
                    for (number, channel) in channels.into_iter().enumerate() {
                        let last = last.get(&(instrument, number)).copied().unwrap_or(0);
                        let Some(first) = history.first(instrument, channel) else {
                            prop_assert_eq!(kept(&history, instrument, channel, last), None);
                            continue;
                        };
                        prop_assert_eq!(kept(&history, instrument, channel, first - 1), Some((first..=last).collect()));
                        let middle = first + (last - first) / 2;
                        prop_assert_eq!(kept(&history, instrument, channel, middle), Some((middle + 1..=last).collect()));
                        prop_assert_eq!(kept(&history, instrument, channel, last), Some(vec![]));
                        if first > 1 {
                            prop_assert_eq!(kept(&history, instrument, channel, first - 2), None);
                        }
                    }
                }
            }
        }
    }

    /// What was forgotten leaves its place in the order, which does not grow for that, and is nobody else's.
    #[test]
    fn forgetting_keeps_the_order_short_and_right() {
        const BLOCK: u64 = limits::HISTORY_BLOCK_EVENTS as u64;
        let mut history = History::new(3, 40 * BLOCK_BYTES);
        history.append(Channel::Trades, &event(1, 1));
        for _ in 0..1_000 {
            (1..=10 * BLOCK).for_each(|seq| history.append(Channel::Book, &event(0, seq)));
            history.forget(0);
            assert!(history.order.len() < 40, "{}", history.order.len());
        }
        (2..=100 * BLOCK).for_each(|seq| history.append(Channel::Trades, &event(1, seq)));
        assert_eq!((history.blocks, history.first(1, Channel::Trades)), (40, Some(60 * BLOCK + 1)));

        let mut history = History::new(3, 2 * BLOCK_BYTES);
        history.append(Channel::Trades, &event(0, 1));
        history.forget(0);
        history.append(Channel::Trades, &event(1, 1));
        history.append(Channel::Trades, &event(0, 1));
        history.append(Channel::Trades, &event(2, 1));
        let kept = [0, 1, 2].map(|instrument| history.first(instrument, Channel::Trades).is_some());
        assert_eq!(kept, [true, false, true], "the oldest was that of 1");
    }

    #[test]
    fn the_budget_bounds_what_the_events_take() {
        let mut history = History::new(2, 10_000);
        for seq in 1..=1_000 {
            history.append(Channel::Trades, &event(0, seq));
            history.append(Channel::Book, &event(1, seq));
        }
        let blocks = history.tracks.iter().flat_map(|track| &track.blocks);
        let bytes: usize = blocks.map(|block| block.events.capacity() * size_of::<Event>()).sum();
        assert_eq!((bytes, history.bytes()), (8_192, 8_192), "four blocks of 32 events");
    }

    #[test]
    fn the_oldest_block_of_all_goes_first_and_memory_is_used_again() {
        let mut history = History::new(2, 2 * BLOCK_BYTES);
        history.append(Channel::Status, &event(0, 1));
        for seq in 1..=3 * limits::HISTORY_BLOCK_EVENTS as u64 {
            history.append(Channel::Trades, &event(1, seq));
        }
        assert_eq!(history.first(0, Channel::Status), None, "the quiet stream's block was the oldest");
        assert_eq!(history.first(1, Channel::Trades), Some(limits::HISTORY_BLOCK_EVENTS as u64 + 1));
        assert_eq!(history.bytes(), 2 * BLOCK_BYTES);
        history.forget(1);
        assert_eq!((history.bytes(), history.spare.len()), (0, 2));
        history.append(Channel::Trades, &event(1, 1));
        assert_eq!((history.bytes(), history.spare.len()), (BLOCK_BYTES, 1));
        assert_eq!(kept(&history, 1, Channel::Trades, 0), Some(vec![1]));
    }
}
