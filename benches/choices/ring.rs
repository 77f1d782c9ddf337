//! One ring that several read: one writer, which waits for the slowest reader, as in LMAX's Disruptor. Without unsafe code
//! a slot is eight atomic words, read and written as plain ones are; the counters order them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::lanes::{Give, Record, Take};

#[derive(Default)]
#[repr(align(64))]
struct Slot([AtomicU64; 8]);

struct Ring {
    /// A power of two of them.
    slots: Box<[Slot]>,
    /// Records ever written.
    written: CachePadded<AtomicU64>,
    /// Records ever read, by each reader.
    read: Vec<CachePadded<AtomicU64>>,
}

impl Ring {
    fn slot(&self, number: u64) -> &Slot {
        &self.slots[number as usize & (self.slots.len() - 1)]
    }
}

pub struct Writer {
    ring: Arc<Ring>,
    written: u64,
    /// Where the slowest reader was when last looked at.
    slowest: u64,
}

pub struct Reader {
    ring: Arc<Ring>,
    index: usize,
    read: u64,
    /// What was written when last looked at.
    written: u64,
}

/// A ring of at least so many records.
pub fn ring(readers: usize, capacity: usize) -> (Writer, Vec<Reader>) {
    let ring = Arc::new(Ring {
        slots: (0..capacity.next_power_of_two()).map(|_| Slot::default()).collect(),
        written: CachePadded::default(),
        read: (0..readers).map(|_| CachePadded::default()).collect(),
    });
    let reader = |index| Reader { ring: ring.clone(), index, read: 0, written: 0 };
    let readers = (0..readers).map(reader).collect();
    (Writer { ring, written: 0, slowest: 0 }, readers)
}

impl Writer {
    fn room(&self) -> usize {
        self.ring.slots.len() - (self.written - self.slowest) as usize
    }
}

impl Give for Writer {
    fn give(&mut self, batch: &[Record]) -> usize {
        if self.room() < batch.len() {
            // What was read before is over with when its slot is written again.
            let read = self.ring.read.iter().map(|read| read.load(Ordering::Acquire));
            self.slowest = read.min().unwrap_or(self.written);
        }
        let given = batch.len().min(self.room());
        for record in &batch[..given] {
            for (word, value) in self.ring.slot(self.written).0.iter().zip(record) {
                word.store(*value, Ordering::Relaxed);
            }
            self.written += 1;
        }
        self.ring.written.store(self.written, Ordering::Release);
        given
    }
}

/// Records after which a reader says where it is.
const SHOW_MAX: u64 = 256;

impl Take for Reader {
    fn take(&mut self, mut see: impl FnMut(&Record)) -> bool {
        if self.written == self.read {
            self.written = self.ring.written.load(Ordering::Acquire);
        }
        let end = self.written.min(self.read + SHOW_MAX);
        if end == self.read {
            return false;
        }
        for number in self.read..end {
            let words = &self.ring.slot(number).0;
            see(&std::array::from_fn(|at| words[at].load(Ordering::Relaxed)));
        }
        self.read = end;
        self.ring.read[self.index].store(end, Ordering::Release);
        true
    }

    fn is_empty(&self) -> bool {
        self.written == self.read && self.ring.written.load(Ordering::Acquire) == self.read
    }

    fn is_half_free(&self) -> bool {
        let waiting = self.ring.written.load(Ordering::Acquire) - self.read;
        waiting as usize <= self.ring.slots.len() / 2
    }
}
