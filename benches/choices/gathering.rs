//! Whether a shard that has just written waits for more before it writes again. It does not: what came while it wrote
//! makes the next batch. Against waiting until some microseconds have passed since it had written to everybody.
//!
//! The bus, the core, and sockets as a shard has them, on a core of their own; publisher and clients are on another.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;
use hdrhistogram::Histogram;
use socket2::SockRef;
use tickcast::bus::{Publisher, Tap, bus};
use tickcast::limits::{
    BATCH_RECORDS_MAX, CHUNK_RECORDS_MAX, QUEUE_CHUNKS_MAX, QUEUE_RECORDS_MAX, SEND_BUFFER_BYTES_DEFAULT,
};
use tickcast::model::Event;
use tickcast::shard::{Core, Offer, SessionId, Shard};
use tickcast::stats::ShardStats;
use tickcast::wire::market::{MessageHeader, QuoteBody};
use tokio::net::TcpStream;
use tokio::task::yield_now;

use crate::common::{core, quotes};
use crate::machine::{pin, sleep_until, thread_cpu_ns, two_cores, wake_on_time};
use crate::sink::{self, Sink};
use crate::turns::{Candidate, Extent, compare, head};

const GATHER_MICROSECONDS: [u64; 4] = [0, 50, 200, 1_000];

pub fn run(extent: Extent) {
    let note =
        "from when a tick of the one symbol was due until it was sent to the last client; CPU of the shard";
    head(extent, note, &["CPU ns a message", "p50 µs", "p99 µs"]);
    let length = extent.pick(Duration::from_millis(20), Duration::from_millis(250));
    let cores = two_cores();
    for clients in extent.pick([5, 10], [100, 500]) {
        let (sockets, sink) = sink::open(clients, cores.map(|[_, second]| second));
        for socket in &sockets {
            SockRef::from(socket).set_send_buffer_size(SEND_BUFFER_BYTES_DEFAULT).expect("a socket's option");
            socket.set_nonblocking(true).expect("a socket's option");
        }
        for rate in [1_000, 10_000, 50_000] {
            let events = quotes(1, (rate as f64 * length.as_secs_f64()) as usize);
            let work = &Work { sockets: &sockets, sink: &sink, events: &events, rate, cores };
            let candidate = |gather_us| {
                let name = match gather_us {
                    0 => "at once".to_owned(),
                    some => format!("{some} µs after the last write"),
                };
                Candidate::new(name, move || work.measure(Duration::from_micros(gather_us)))
            };
            let case = format!("{clients} clients, {rate} ticks/s");
            compare(extent, &case, GATHER_MICROSECONDS.map(candidate).into());
        }
    }
}

struct Work<'a> {
    sockets: &'a [std::net::TcpStream],
    sink: &'a Sink,
    events: &'a [Event],
    /// Events a second.
    rate: u64,
    cores: Option<[usize; 2]>,
}

/// What the shard's thread has seen.
struct Carried {
    cpu_ns: f64,
    /// Sent to each client.
    bytes: Vec<u64>,
    /// From due to sent to everybody, nanoseconds.
    latencies: Histogram<u64>,
}

impl Work<'_> {
    /// All messages must arrive.
    fn measure(&self, gather: Duration) -> [f64; 3] {
        let (publisher, mut taps) = bus::<Event>(1, QUEUE_CHUNKS_MAX, QUEUE_RECORDS_MAX);
        let tap = taps.remove(0);
        let stats = Arc::<CachePadded<ShardStats>>::default();
        let before = self.sink.received();
        let carried = thread::scope(|scope| {
            let (begin, began) = std::sync::mpsc::channel();
            let shard = scope.spawn({
                let stats = stats.clone();
                move || {
                    pin(self.cores.map(|[first, _]| first));
                    wake_on_time();
                    let core = core(1, self.sockets.len(), 1, stats);
                    let runtime = Shard::runtime().expect("a runtime");
                    runtime.block_on(async {
                        let sockets =
                            self.sockets.iter().map(|socket| TcpStream::from_std(socket.try_clone()?));
                        let sockets = sockets.collect::<io::Result<_>>().expect("descriptors");
                        let start = Instant::now();
                        begin.send(start).expect("a publisher that waits");
                        let shard = Loop { core, sockets, gather, start, rate: self.rate };
                        shard.serve(tap).await
                    })
                }
            });
            scope.spawn(move || {
                pin(self.cores.map(|[_, second]| second));
                self.publish(publisher, began.recv().expect("a shard that begins"));
            });
            shard.join().expect("a shard whose clients read")
        });
        let messages = (self.events.len() * self.sockets.len()) as u64;
        assert_eq!(stats.messages.get(), messages, "messages handed to sessions, and published for them");
        // All have the same; and no frame is smaller than its messages.
        let least = (self.events.len() * (size_of::<MessageHeader>() + size_of::<QuoteBody>())) as u64;
        let first = carried.bytes[0];
        assert!(first >= least && carried.bytes.iter().all(|bytes| *bytes == first), "{:?}", carried.bytes);
        self.sink.wait_for(before + first * self.sockets.len() as u64);
        let [p50, p99] =
            [0.5, 0.99].map(|quantile| carried.latencies.value_at_quantile(quantile) as f64 / 1e3);
        [carried.cpu_ns / messages as f64, p50, p99]
    }

    /// Publishes what is due, on an absolute schedule; it sleeps as the pump does.
    fn publish(&self, mut publisher: Publisher<Event>, start: Instant) {
        let mut sent = 0;
        while sent < self.events.len() {
            let elapsed_ns = start.elapsed().as_nanos() as u64;
            let due = (elapsed_ns * self.rate / 1_000_000_000) as usize + 1;
            let due = due.min(self.events.len()).min(sent + CHUNK_RECORDS_MAX);
            if due > sent {
                publisher.publish(&self.events[sent..due]);
                sent = due;
            } else {
                sleep_until(due_at(start, self.rate, sent as u64));
            }
        }
    }
}

/// When the event of that number, from 0, is due.
fn due_at(start: Instant, rate: u64, number: u64) -> Instant {
    start + Duration::from_nanos(number * 1_000_000_000 / rate)
}

/// A shard's loop, as far as ticks go through it.
struct Loop {
    core: Core,
    /// By session.
    sockets: Vec<TcpStream>,
    gather: Duration,
    start: Instant,
    rate: u64,
}

impl Loop {
    async fn serve(mut self, mut tap: Tap<Event>) -> Carried {
        let mut carried = Carried {
            cpu_ns: 0.0,
            bytes: vec![0; self.sockets.len()],
            latencies: Histogram::new(3).expect("three digits are a precision"),
        };
        let (mut dirty, mut scratch) = (Vec::new(), Vec::new());
        let mut ticks = 0;
        let mut written = self.start;
        let cpu_ns = thread_cpu_ns();
        while tap.ready().await.is_ok() {
            // Where it has been idle, that is over already.
            sleep_until(written + self.gather);
            let taken = self.take_batch(&mut tap);
            self.core.take_dirty(&mut dirty);
            dirty.sort_unstable();
            for id in dirty.drain(..) {
                carried.bytes[id] += self.write(id, &mut scratch).await;
            }
            written = Instant::now();
            for number in ticks..ticks + taken {
                let late = written.saturating_duration_since(due_at(self.start, self.rate, number));
                carried.latencies.record(late.as_nanos() as u64).expect("it grows by itself");
            }
            ticks += taken;
            if !tap.is_empty() {
                yield_now().await;
            }
        }
        carried.cpu_ns = thread_cpu_ns() - cpu_ns;
        carried
    }

    /// Takes what waits on the bus, up to a batch; returns how many records.
    fn take_batch(&mut self, tap: &mut Tap<Event>) -> u64 {
        let mut records = 0;
        while records < BATCH_RECORDS_MAX
            && let Some(chunk) = tap.try_pop()
        {
            self.core.apply(&chunk);
            records += chunk.len();
        }
        self.core.flush();
        records as u64
    }

    /// Writes all that there is for a session; returns how many bytes.
    async fn write(&mut self, id: SessionId, scratch: &mut Vec<u8>) -> u64 {
        let socket = &self.sockets[id];
        let mut bytes = 0;
        loop {
            let send = |run: &[u8]| socket.try_write(run).inspect(|sent| bytes += *sent as u64);
            match self.core.offer(id, 0, scratch, send).expect("a client that reads") {
                Offer::Drained => return bytes,
                Offer::Blocked => socket.writable().await.expect("a client that reads"),
            }
        }
    }
}
