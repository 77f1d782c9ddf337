//! crossbeam's `ArrayQueue` against `rtrb`, which is for one writer and one reader: with references to chunks, as the
//! product has them, and with the records themselves.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use rtrb::{Consumer, Producer, RingBuffer};

use crate::lanes::{FIGURES, Give, Record, Take, capacity, cross, lanes, records};
use crate::turns::{Candidate, Extent, compare, head};

pub fn run(extent: Extent) {
    head(extent, "one reader; records of 64 bytes, threads where the system puts them", &FIGURES);
    for batch in [1, 16, 256] {
        let (all, records) = (capacity(batch), records(extent, batch));
        let candidates = vec![
            Candidate::new("ArrayQueue, chunks", || {
                let queue = Arc::new(ArrayQueue::new(all / batch));
                cross(lanes(vec![(Chunks(queue.clone()), Chunks(queue))]), batch, records)
            }),
            Candidate::new("rtrb, chunks", || {
                let (producer, consumer) = RingBuffer::new(all / batch);
                cross(lanes(vec![(Chunks(producer), Chunks(consumer))]), batch, records)
            }),
            Candidate::new("ArrayQueue, records", || cross(lanes(vec![array_queue(all)]), batch, records)),
            Candidate::new("rtrb, records", || {
                let (producer, consumer) = RingBuffer::new(all);
                cross(lanes(vec![(Singly(producer), Singly(consumer))]), batch, records)
            }),
            Candidate::new("rtrb, slices of records", || {
                let (producer, consumer) = RingBuffer::new(all);
                cross(lanes(vec![(Slices(producer), Slices(consumer))]), batch, records)
            }),
        ];
        compare(extent, &format!("batches of {batch}"), candidates);
    }
}

/// An end of an `ArrayQueue` of records, which can do what either does.
type Both = Singly<Arc<ArrayQueue<Record>>>;

/// Both ends of one of so many records.
pub fn array_queue(capacity: usize) -> (Both, Both) {
    let queue = Arc::new(ArrayQueue::new(capacity));
    (Singly(queue.clone()), Singly(queue))
}

/// References to batches.
struct Chunks<Q>(Q);

/// Records one by one.
pub struct Singly<Q>(Q);

/// Records as many at a time as there are.
struct Slices<Q>(Q);

type Chunk = Arc<[Record]>;

/// The writing end of either queue.
pub trait Push<T> {
    fn is_full(&self) -> bool;
    /// Whether there was room.
    fn push(&mut self, value: T) -> bool;
}

/// The reading end of either.
pub trait Pop<T>: Send {
    fn pop(&mut self) -> Option<T>;
    fn is_empty(&self) -> bool;
    fn is_half_free(&self) -> bool;
}

impl<T> Push<T> for Arc<ArrayQueue<T>> {
    fn is_full(&self) -> bool {
        ArrayQueue::is_full(self)
    }

    fn push(&mut self, value: T) -> bool {
        ArrayQueue::push(self, value).is_ok()
    }
}

impl<T: Send> Pop<T> for Arc<ArrayQueue<T>> {
    fn pop(&mut self) -> Option<T> {
        ArrayQueue::pop(self)
    }

    fn is_empty(&self) -> bool {
        ArrayQueue::is_empty(self)
    }

    fn is_half_free(&self) -> bool {
        self.len() <= self.capacity() / 2
    }
}

impl<T> Push<T> for Producer<T> {
    fn is_full(&self) -> bool {
        Producer::is_full(self)
    }

    fn push(&mut self, value: T) -> bool {
        Producer::push(self, value).is_ok()
    }
}

impl<T: Send> Pop<T> for Consumer<T> {
    fn pop(&mut self) -> Option<T> {
        Consumer::pop(self).ok()
    }

    fn is_empty(&self) -> bool {
        Consumer::is_empty(self)
    }

    fn is_half_free(&self) -> bool {
        self.slots() <= self.buffer().capacity() / 2
    }
}

impl<Q: Push<Chunk>> Give for Chunks<Q> {
    fn give(&mut self, batch: &[Record]) -> usize {
        // Nobody else puts something in: what is not full has room.
        if !self.0.is_full() && self.0.push(Arc::from(batch)) { batch.len() } else { 0 }
    }
}

impl<Q: Pop<Chunk>> Take for Chunks<Q> {
    fn take(&mut self, see: impl FnMut(&Record)) -> bool {
        self.0.pop().inspect(|chunk| chunk.iter().for_each(see)).is_some()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn is_half_free(&self) -> bool {
        self.0.is_half_free()
    }
}

impl<Q: Push<Record>> Give for Singly<Q> {
    fn give(&mut self, batch: &[Record]) -> usize {
        batch.iter().take_while(|record| self.0.push(**record)).count()
    }
}

impl<Q: Pop<Record>> Take for Singly<Q> {
    fn take(&mut self, see: impl FnMut(&Record)) -> bool {
        self.0.pop().as_ref().map(see).is_some()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn is_half_free(&self) -> bool {
        self.0.is_half_free()
    }
}

impl Give for Slices<Producer<Record>> {
    fn give(&mut self, batch: &[Record]) -> usize {
        self.0.push_partial_slice(batch).0.len()
    }
}

/// Records that are read before their room is given back.
const SLICE_MAX: usize = 256;

impl Take for Slices<Consumer<Record>> {
    fn take(&mut self, mut see: impl FnMut(&Record)) -> bool {
        let waiting = self.0.slots().min(SLICE_MAX);
        let Ok(chunk) = self.0.read_chunk(waiting) else { return false };
        let (first, second) = chunk.as_slices();
        first.iter().chain(second).for_each(&mut see);
        chunk.commit_all();
        waiting > 0
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn is_half_free(&self) -> bool {
        self.0.is_half_free()
    }
}
