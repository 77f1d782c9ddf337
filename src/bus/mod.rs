//! Bounded lock-free queues from one publisher to its taps. Knows no market: it is generic over a `Copy` record.
//!
//! A published batch becomes one shared chunk; each tap's queue gets a reference to it, so that a record is written
//! once however many taps there are, and a queue costs one release store a batch. When a queue is full the publisher
//! waits: nothing is lost between a source and its taps.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use atomic_waker::AtomicWaker;
use crossbeam_queue::ArrayQueue;
use crossbeam_utils::sync::{Parker, Unparker};
use crossbeam_utils::{Backoff, CachePadded};

/// What a queue holds: one published batch, shared by all taps.
pub type Chunk<T> = Arc<[T]>;

/// The other end is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other end of the bus is gone")]
pub struct Closed;

/// One queue, shared by the publisher and one tap.
#[derive(Debug)]
struct Lane<T> {
    queue: ArrayQueue<Chunk<T>>,
    /// Records in the queue, as far as both ends have counted.
    records: CachePadded<AtomicUsize>,
    /// Beyond so many records the queue is full, however few chunks they are.
    records_max: usize,
    /// Wakes the tap; holds a waker only while the tap is parked.
    tap: AtomicWaker,
    /// Set by the publisher while it waits for room, cleared by the tap that makes some.
    publisher_waits: CachePadded<AtomicBool>,
    /// Grows while the tap's owner lives, whether it takes anything or not.
    pulse: AtomicU64,
    publisher_gone: AtomicBool,
    tap_gone: AtomicBool,
}

/// The writing end: one thread's.
#[derive(Debug)]
pub struct Publisher<T> {
    lanes: Vec<Arc<Lane<T>>>,
    parker: Parker,
}

/// One reading end.
#[derive(Debug)]
pub struct Tap<T> {
    lane: Arc<Lane<T>>,
    publisher: Unparker,
}

/// The longest that a waiting publisher sleeps before it looks again by itself.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A bus with that many taps, each with a queue of `chunks` (at least 1), which is full before that where it holds
/// `records` or more.
pub fn bus<T: Copy + Send + Sync>(taps: usize, chunks: usize, records: usize) -> (Publisher<T>, Vec<Tap<T>>) {
    let parker = Parker::new();
    let lanes: Vec<_> = (0..taps)
        .map(|_| {
            Arc::new(Lane {
                queue: ArrayQueue::new(chunks.max(1)),
                records: CachePadded::new(AtomicUsize::new(0)),
                records_max: records.max(1),
                tap: AtomicWaker::new(),
                publisher_waits: CachePadded::new(AtomicBool::new(false)),
                pulse: AtomicU64::new(0),
                publisher_gone: AtomicBool::new(false),
                tap_gone: AtomicBool::new(false),
            })
        })
        .collect();
    let taps =
        lanes.iter().map(|lane| Tap { lane: lane.clone(), publisher: parker.unparker().clone() }).collect();
    (Publisher { lanes, parker }, taps)
}

impl<T: Copy> Publisher<T> {
    /// Hands one batch to every tap, in order, waiting where a queue is full. Returns how many queues it waited for.
    /// A tap that is gone is passed over; an empty batch does nothing.
    pub fn publish(&mut self, batch: &[T]) -> usize {
        self.publish_feeling(batch, || {})
    }

    /// As [`Self::publish`]; calls `lives` each time that a tap for which it waits is found to have shown a
    /// [pulse](Tap::pulse) since it last looked.
    pub fn publish_feeling(&mut self, batch: &[T], mut lives: impl FnMut()) -> usize {
        if batch.is_empty() {
            return 0;
        }
        let chunk: Chunk<T> = Arc::from(batch);
        let mut waits = 0;
        for lane in &self.lanes {
            if let Err(chunk) = lane.push(chunk.clone()) {
                waits += 1;
                self.wait_and_push(lane, chunk, &mut lives);
            }
        }
        waits
    }

    /// Hands one batch to every tap that has room, and never waits. Returns how many taps it is lost for; a tap that is
    /// gone has lost nothing.
    pub fn offer(&mut self, batch: &[T]) -> usize {
        if batch.is_empty() {
            return 0;
        }
        let chunk: Chunk<T> = Arc::from(batch);
        self.lanes.iter().filter(|lane| lane.push(chunk.clone()).is_err()).count()
    }

    /// Whether every tap is gone, so that publishing is of no use.
    pub fn is_abandoned(&self) -> bool {
        self.lanes.iter().all(|lane| lane.tap_gone.load(Ordering::Acquire))
    }

    /// What wakes a publisher that waits.
    pub fn unparker(&self) -> Unparker {
        self.parker.unparker().clone()
    }

    fn wait_and_push(&self, lane: &Lane<T>, mut chunk: Chunk<T>, lives: &mut impl FnMut()) {
        let backoff = Backoff::new();
        let mut felt = lane.pulse.load(Ordering::Relaxed);
        loop {
            let pulse = lane.pulse.load(Ordering::Relaxed);
            if pulse != felt {
                felt = pulse;
                lives();
            }
            if backoff.is_completed() {
                lane.publisher_waits.store(true, Ordering::SeqCst);
            }
            match lane.push(chunk) {
                Ok(()) => {
                    lane.publisher_waits.store(false, Ordering::Relaxed);
                    return;
                }
                Err(back) => chunk = back,
            }
            if backoff.is_completed() {
                self.parker.park_timeout(LOOK_AGAIN);
            } else {
                backoff.snooze();
            }
        }
    }
}

impl<T> Drop for Publisher<T> {
    fn drop(&mut self) {
        for lane in &self.lanes {
            lane.publisher_gone.store(true, Ordering::Release);
            lane.tap.wake();
        }
    }
}

impl<T> Lane<T> {
    /// Gives the chunk back where the queue is full. A chunk for a tap that is gone is let go.
    fn push(&self, chunk: Chunk<T>) -> Result<(), Chunk<T>> {
        if self.tap_gone.load(Ordering::Acquire) {
            return Ok(());
        }
        if self.records.load(Ordering::SeqCst) >= self.records_max {
            return Err(chunk);
        }
        // Before the push: the tap takes off only what was counted.
        let records = chunk.len();
        self.records.fetch_add(records, Ordering::SeqCst);
        if let Err(chunk) = self.queue.push(chunk) {
            self.records.fetch_sub(records, Ordering::SeqCst);
            return Err(chunk);
        }
        self.tap.wake();
        Ok(())
    }

    /// Whether there is room enough that waking a publisher that waits pays.
    fn is_half_free(&self) -> bool {
        self.queue.len() <= self.queue.capacity() / 2
            && self.records.load(Ordering::SeqCst) <= self.records_max / 2
    }
}

impl<T> Tap<T> {
    /// The next chunk, where one waits.
    pub fn try_pop(&mut self) -> Option<Chunk<T>> {
        let chunk = self.lane.queue.pop()?;
        self.lane.records.fetch_sub(chunk.len(), Ordering::SeqCst);
        // A waiting publisher is woken when half the queue is free, not for each chunk.
        if self.lane.publisher_waits.load(Ordering::SeqCst)
            && self.lane.is_half_free()
            && self.lane.publisher_waits.swap(false, Ordering::SeqCst)
        {
            self.publisher.unpark();
        }
        Some(chunk)
    }

    /// Shows a publisher that waits for room that the owner of this end lives, and only has no room.
    pub fn pulse(&self) {
        // This end is the only one that writes it.
        self.lane.pulse.store(self.lane.pulse.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Waits until a chunk is there; [`Closed`] once the publisher is gone and the queue is empty. Cancel-safe.
    pub async fn ready(&mut self) -> Result<(), Closed> {
        poll_fn(|context| {
            if let Some(found) = self.look() {
                return Poll::Ready(found);
            }
            self.lane.tap.register(context.waker());
            // Between the look and the registration a chunk may have come.
            self.look().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Records that wait now.
    pub fn records(&self) -> usize {
        self.lane.records.load(Ordering::Relaxed)
    }

    /// Chunks that wait now.
    pub fn len(&self) -> usize {
        self.lane.queue.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.lane.queue.is_empty()
    }

    fn look(&self) -> Option<Result<(), Closed>> {
        // The flag first: a publisher that is gone pushes nothing after it.
        let gone = self.lane.publisher_gone.load(Ordering::Acquire);
        if !self.lane.queue.is_empty() {
            return Some(Ok(()));
        }
        gone.then_some(Err(Closed))
    }
}

impl<T> Drop for Tap<T> {
    fn drop(&mut self) {
        self.lane.tap_gone.store(true, Ordering::Release);
        while self.lane.queue.pop().is_some() {}
        self.publisher.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn an_offer_never_waits_and_says_who_has_lost_it() {
        let (mut publisher, mut taps) = bus::<u64>(2, 2, usize::MAX);
        assert_eq!((publisher.offer(&[1, 2]), publisher.offer(&[3]), publisher.offer(&[])), (0, 0, 0));
        assert_eq!(taps[0].try_pop().unwrap()[..], [1, 2]);
        assert_eq!(publisher.offer(&[4]), 1, "one of two has no room");
        assert_eq!((taps[0].records(), taps[1].records()), (2, 3));
        taps.truncate(1);
        assert_eq!(taps[0].try_pop().unwrap()[..], [3]);
        assert_eq!(publisher.offer(&[5]), 0, "who is gone loses nothing");
        assert_eq!(taps[0].try_pop().unwrap()[..], [4]);
        assert_eq!(taps[0].try_pop().unwrap()[..], [5]);
    }

    async fn drain(mut tap: Tap<u64>) -> Vec<u64> {
        let mut all = Vec::new();
        while tap.ready().await.is_ok() {
            while let Some(chunk) = tap.try_pop() {
                all.extend_from_slice(&chunk);
            }
        }
        all
    }

    #[test]
    fn every_tap_gets_every_record_in_order_through_a_small_queue() {
        let (mut publisher, taps) = bus::<u64>(3, 2, usize::MAX);
        let readers: Vec<_> =
            taps.into_iter().map(|tap| thread::spawn(move || block_on(drain(tap)))).collect();
        let records: Vec<u64> = (0..200_000).collect();
        for batch in records.chunks(7) {
            publisher.publish(batch);
        }
        drop(publisher);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), records);
        }
    }

    #[test]
    fn a_full_queue_makes_the_publisher_wait_and_says_so() {
        let (mut publisher, mut taps) = bus::<u64>(1, 4, usize::MAX);
        for n in 0..4 {
            assert_eq!(publisher.publish(&[n]), 0);
        }
        let mut tap = taps.remove(0);
        let writer = thread::spawn(move || publisher.publish(&[4]));
        // The publisher can only come back once something was taken.
        assert_eq!(tap.try_pop().as_deref(), Some(&[0][..]));
        assert!(writer.join().unwrap() <= 1);
        let rest: Vec<u64> = std::iter::from_fn(|| tap.try_pop()).map(|chunk| chunk[0]).collect();
        assert_eq!(rest, [1, 2, 3, 4]);
        assert_eq!(block_on(tap.ready()), Err(Closed));
    }

    #[test]
    fn a_queue_is_full_by_records_too_and_takes_any_chunk_before() {
        let (mut publisher, mut taps) = bus::<u64>(1, 100, 4);
        assert_eq!(publisher.publish(&[0, 1, 2]), 0);
        assert_eq!(publisher.publish(&[3, 4, 5]), 0, "three of four are there");
        let mut tap = taps.remove(0);
        let writer = thread::spawn(move || publisher.publish(&[6]));
        assert_eq!(tap.try_pop().as_deref(), Some(&[0, 1, 2][..]));
        // With three of four left it goes on.
        assert!(writer.join().unwrap() <= 1);
        let rest: Vec<u64> = std::iter::from_fn(|| tap.try_pop()).flat_map(|chunk| chunk.to_vec()).collect();
        assert_eq!(rest, [3, 4, 5, 6]);
    }

    #[test]
    fn a_tap_that_goes_frees_a_waiting_publisher_and_the_other_taps_go_on() {
        let (mut publisher, mut taps) = bus::<u64>(2, 1, usize::MAX);
        let (gone, mut kept) = (taps.remove(0), taps.remove(0));
        publisher.publish(&[1]);
        let writer = thread::spawn(move || {
            publisher.publish(&[2]);
            publisher.is_abandoned()
        });
        drop(gone);
        let mut seen = Vec::new();
        block_on(async {
            while kept.ready().await.is_ok() {
                seen.extend(kept.try_pop().iter().flat_map(|chunk| chunk.to_vec()));
            }
        });
        assert!(!writer.join().unwrap());
        assert_eq!(seen, [1, 2]);
    }

    #[test]
    fn a_publisher_that_waits_feels_whether_the_tap_lives() {
        let (mut publisher, mut taps) = bus::<u64>(1, 1, usize::MAX);
        let mut tap = taps.remove(0);
        let felt = Arc::new(AtomicUsize::new(0));
        let count = {
            let felt = felt.clone();
            move || {
                felt.fetch_add(1, Ordering::SeqCst);
            }
        };
        assert_eq!(publisher.publish_feeling(&[1], &count), 0);
        tap.pulse();
        assert_eq!(felt.load(Ordering::SeqCst), 0, "it did not wait");
        let writer = thread::spawn(move || publisher.publish_feeling(&[2], &count));
        for beats in 1..4 {
            while felt.load(Ordering::SeqCst) < beats {
                tap.pulse();
                thread::yield_now();
            }
        }
        assert_eq!(tap.try_pop().as_deref(), Some(&[1][..]));
        assert_eq!(writer.join().unwrap(), 1);
        assert_eq!(tap.try_pop().as_deref(), Some(&[2][..]));
    }

    #[test]
    fn an_empty_batch_is_no_chunk() {
        let (mut publisher, taps) = bus::<u64>(1, 1, usize::MAX);
        assert_eq!(publisher.publish(&[]), 0);
        assert!(taps[0].is_empty());
    }
}
