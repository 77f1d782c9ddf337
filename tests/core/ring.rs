//! What a shard's ring of recent events holds, as plainly as possible: blocks of 32 events, the oldest block goes first.

use std::collections::{HashMap, VecDeque};

use tickcast::model::{Body, Channel, Event};

use super::oracle::StreamKey;

const BLOCK_EVENTS: u64 = 32;
const BLOCK_BYTES: usize = 32 * 64;

#[derive(Debug)]
struct Block {
    number: u64,
    first: u64,
    events: u64,
}

/// Blocks of each stream.
#[derive(Debug, Default)]
pub struct Ring {
    blocks_max: usize,
    blocks: usize,
    next: u64,
    streams: HashMap<StreamKey, VecDeque<Block>>,
    /// The last sequence of each stream.
    last: HashMap<StreamKey, u64>,
    /// The epoch of each instrument that has had another than the first.
    epochs: HashMap<u32, u64>,
    first_epoch: u64,
}

impl Ring {
    pub fn new(bytes: usize, first_epoch: u64) -> Ring {
        Ring { blocks_max: bytes / BLOCK_BYTES, first_epoch, ..Ring::default() }
    }

    pub fn take(&mut self, event: &Event) {
        if let Body::Reset { epoch, .. } = event.body() {
            self.epochs.insert(event.instrument, epoch);
            for (_, blocks) in self.streams.iter_mut().filter(|(stream, _)| stream.0 == event.instrument) {
                self.blocks -= blocks.len();
                blocks.clear();
            }
            self.last.retain(|stream, _| stream.0 != event.instrument);
        }
        let Some(channel) = event.channel() else { return };
        let stream = (event.instrument, channel);
        self.last.insert(stream, event.seq);
        // Bars are caught up with from those that are complete.
        if self.blocks_max == 0 || channel == Channel::Bars {
            return;
        }
        let has_room = |block: &Block| block.events < BLOCK_EVENTS;
        if !self.streams.get(&stream).and_then(VecDeque::back).is_some_and(has_room) {
            if self.blocks == self.blocks_max {
                let fronts = self.streams.values_mut().filter(|blocks| !blocks.is_empty());
                fronts.min_by_key(|blocks| blocks[0].number).unwrap().pop_front();
                self.blocks -= 1;
            }
            let block = Block { number: self.next, first: event.seq, events: 0 };
            self.streams.entry(stream).or_default().push_back(block);
            (self.next, self.blocks) = (self.next + 1, self.blocks + 1);
        }
        self.streams.get_mut(&stream).and_then(VecDeque::back_mut).unwrap().events += 1;
    }

    /// The last sequence of an epoch's stream that the shard has heard.
    pub fn reached(&self, epoch: u64, stream: StreamKey) -> u64 {
        let of = self.epochs.get(&stream.0).copied().unwrap_or(self.first_epoch);
        if of == epoch { self.last.get(&stream).copied().unwrap_or(0) } else { 0 }
    }

    /// Whether everything of an epoch's stream after a sequence is kept.
    pub fn keeps(&self, epoch: u64, stream: StreamKey, seq: u64) -> bool {
        if self.epochs.get(&stream.0).copied().unwrap_or(self.first_epoch) != epoch {
            return false;
        }
        let first = self.streams.get(&stream).and_then(VecDeque::front).map(|block| block.first);
        self.last.get(&stream).copied().unwrap_or(0) <= seq || first.is_some_and(|first| first <= seq + 1)
    }
}
