//! What the candidates of `bus` and `queue` have in common: records from one thread to others, and ends that wait for one
//! another as those of `tickcast::bus` do, so that only the queue differs.

use std::future::poll_fn;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Barrier};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use atomic_waker::AtomicWaker;
use crossbeam_utils::sync::{Parker, Unparker};
use crossbeam_utils::{Backoff, CachePadded};
use tickcast::limits::{QUEUE_CHUNKS_MAX, QUEUE_RECORDS_MAX};
use tickcast::shard::Shard;

use crate::machine::process_cpu_ns;
use crate::turns::Extent;

/// 64 bytes, as an event has. Each word is the record's number, so that a reader has to look at all of it.
pub type Record = [u64; 8];

/// The writing end. When it is dropped, its readers end once they have everything.
pub trait Publish {
    /// Hands a batch to every reader, waiting where there is no room.
    fn publish(&mut self, batch: &[Record]);
}

/// A reading end.
pub trait Receive: Send {
    /// Waits until something is there; `false` once nothing will come any more.
    async fn ready(&mut self) -> bool;
    /// Shows some of what is there; `false` where nothing is.
    fn take(&mut self, see: impl FnMut(&Record)) -> bool;
}

/// What `cross` finds: nanoseconds until all readers have a record, and of CPU, of all threads, for it.
pub const FIGURES: [&str; 2] = ["ns a record", "CPU ns a record"];

/// Records that a queue holds: as many as the product's does where batches are so large.
pub fn capacity(batch: usize) -> usize {
    (QUEUE_CHUNKS_MAX * batch).min(QUEUE_RECORDS_MAX)
}

/// Records of a run: the smaller the batches, the dearer each is.
pub fn records(extent: Extent, batch: usize) -> usize {
    match (extent.is_trial, batch) {
        (true, _) => 16 * batch,
        (false, 1) => 1 << 15,
        (false, 2..=16) => 1 << 18,
        (false, _) => 1 << 20,
    }
}

/// Sends so many records, a multiple of the batch, from this thread to each of the readers on threads of their own. All of
/// them must arrive, in order.
pub fn cross<P: Publish, R: Receive>(
    (mut publisher, taps): (P, Vec<R>),
    batch: usize,
    records: usize,
) -> [f64; 2] {
    let ready = Barrier::new(taps.len() + 1);
    thread::scope(|scope| {
        let readers: Vec<_> = taps.into_iter().map(|tap| scope.spawn(|| read(tap, &ready))).collect();
        ready.wait();
        let (start, cpu_ns) = (Instant::now(), process_cpu_ns());
        let mut sent = vec![[0; 8]; batch];
        for first in (0..records).step_by(batch) {
            for (number, record) in (first as u64..).zip(&mut sent) {
                *record = [number; 8];
            }
            publisher.publish(&sent);
        }
        drop(publisher);
        for reader in readers {
            let (seen, sum) = reader.join().expect("a reader has everything in order");
            let last = records as u64 - 1;
            assert_eq!((seen, sum), (records as u64, 4 * last * (last + 1)), "records were lost");
        }
        [start.elapsed().as_nanos() as f64, process_cpu_ns() - cpu_ns].map(|ns| ns / records as f64)
    })
}

/// Takes all there is on the runtime of a shard; returns how many records and the sum of their words.
fn read(mut tap: impl Receive, ready: &Barrier) -> (u64, u64) {
    let runtime = Shard::runtime().expect("a runtime");
    ready.wait();
    runtime.block_on(async {
        let (mut seen, mut sum) = (0, 0);
        while tap.ready().await {
            while tap.take(|record| {
                assert_eq!(record[0], seen, "records come in order");
                seen += 1;
                sum += record.iter().sum::<u64>();
            }) {}
        }
        (seen, sum)
    })
}

/// The writing end of a queue, without waiting.
pub trait Give {
    /// Puts in as much of a batch as there is room for; returns how many records.
    fn give(&mut self, batch: &[Record]) -> usize;
}

/// The reading end of a queue, without waiting.
pub trait Take: Send {
    fn take(&mut self, see: impl FnMut(&Record)) -> bool;
    fn is_empty(&self) -> bool;
    fn is_half_free(&self) -> bool;
}

/// How a reader and the publisher wake each other.
#[derive(Default)]
struct Signals {
    tap: AtomicWaker,
    publisher_waits: CachePadded<AtomicBool>,
    publisher_gone: AtomicBool,
}

/// A publisher into one or several queues.
pub struct Lanes<G> {
    /// Each with the readers that it has.
    queues: Vec<(G, Range<usize>)>,
    signals: Vec<Arc<Signals>>,
    parker: Parker,
}

/// A reader of one of them.
pub struct Lane<T> {
    queue: T,
    signals: Arc<Signals>,
    publisher: Unparker,
}

/// A queue for each reader.
pub fn lanes<G: Give, T: Take>(queues: Vec<(G, T)>) -> (Lanes<G>, Vec<Lane<T>>) {
    let (gives, takes): (Vec<_>, Vec<_>) = queues.into_iter().unzip();
    connect(gives.into_iter().enumerate().map(|(at, give)| (give, at..at + 1)).collect(), takes)
}

/// One queue that all read.
pub fn shared<G: Give, T: Take>((give, takes): (G, Vec<T>)) -> (Lanes<G>, Vec<Lane<T>>) {
    connect(vec![(give, 0..takes.len())], takes)
}

fn connect<G, T>(queues: Vec<(G, Range<usize>)>, takes: Vec<T>) -> (Lanes<G>, Vec<Lane<T>>) {
    let parker = Parker::new();
    let lane = |queue| Lane { queue, signals: Arc::default(), publisher: parker.unparker().clone() };
    let taps: Vec<_> = takes.into_iter().map(lane).collect();
    let signals = taps.iter().map(|tap| tap.signals.clone()).collect();
    (Lanes { queues, signals, parker }, taps)
}

impl<G: Give> Publish for Lanes<G> {
    fn publish(&mut self, batch: &[Record]) {
        for (queue, readers) in &mut self.queues {
            let signals = &self.signals[readers.clone()];
            let (mut given, backoff) = (0, Backoff::new());
            loop {
                let now = queue.give(&batch[given..]);
                if now > 0 {
                    signals.iter().for_each(|signals| signals.tap.wake());
                    given += now;
                }
                if given == batch.len() {
                    break;
                }
                if !backoff.is_completed() {
                    backoff.snooze();
                    continue;
                }
                // Whoever makes room after this sees it; the next look sees the room that was made before.
                let told = |signals: &&Arc<Signals>| !signals.publisher_waits.swap(true, Ordering::SeqCst);
                let newly = signals.iter().filter(told).count();
                fence(Ordering::SeqCst);
                if newly == 0 {
                    self.parker.park_timeout(LOOK_AGAIN);
                }
            }
            signals.iter().for_each(|signals| signals.publisher_waits.store(false, Ordering::Relaxed));
        }
    }
}

/// The longest that a waiting publisher sleeps, as in `tickcast::bus`.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

impl<G> Drop for Lanes<G> {
    fn drop(&mut self) {
        for signals in &self.signals {
            signals.publisher_gone.store(true, Ordering::Release);
            signals.tap.wake();
        }
    }
}

impl<T: Take> Lane<T> {
    fn look(&self) -> Option<bool> {
        // The flag first: a publisher that is gone gives nothing after it.
        let gone = self.signals.publisher_gone.load(Ordering::Acquire);
        if !self.queue.is_empty() {
            return Some(true);
        }
        gone.then_some(false)
    }
}

impl<T: Take> Receive for Lane<T> {
    async fn ready(&mut self) -> bool {
        poll_fn(|context| {
            if let Some(found) = self.look() {
                return Poll::Ready(found);
            }
            self.signals.tap.register(context.waker());
            self.look().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    fn take(&mut self, see: impl FnMut(&Record)) -> bool {
        if !self.queue.take(see) {
            return false;
        }
        // Between the room that was made and the look at who waits for it.
        fence(Ordering::SeqCst);
        if self.signals.publisher_waits.load(Ordering::SeqCst)
            && self.queue.is_half_free()
            && self.signals.publisher_waits.swap(false, Ordering::SeqCst)
        {
            self.publisher.unpark();
        }
        true
    }
}
