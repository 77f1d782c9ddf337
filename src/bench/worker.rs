//! A thread that reads many connections.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token, Waker};

use super::Fault;
use super::connection::{Connection, Left};
use super::meter::Meter;
use super::plan::{Plan, Reading};
use crate::clock::Clock;

/// How often a slow client reads.
const SLOW_TURN: Duration = Duration::from_millis(100);
/// Parts in which all of them do, one after the other: those who read at once are not to wait for them.
const SLOW_PARTS: usize = 50;
/// How long a thread sleeps at the most, so that it sees the end.
const NAP: Duration = Duration::from_millis(20);
/// Sockets that the system tells of at a time.
const EVENTS_MAX: usize = 1_024;
/// Faults that are kept in words.
const FAULTS_MAX: usize = 10;

const WAKE: Token = Token(usize::MAX);

/// What all threads of a run share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// When measuring begins, nanoseconds since the Unix epoch; 0: not known yet.
    pub start_ns: AtomicU64,
    /// When it ends.
    pub end_ns: AtomicU64,
    /// Connections whose streams were granted.
    pub ready: AtomicUsize,
    /// Connections that ended by a fault.
    pub failed: AtomicUsize,
    /// Frames received while it is measured.
    pub frames: AtomicU64,
    /// The first fault.
    pub fault: OnceLock<String>,
}

/// What one thread has seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub live: Meter,
    pub slow: Meter,
    /// Why live connections ended; the first of them in words.
    pub failures: Vec<String>,
    /// How many did.
    pub live_failed: usize,
    /// How many of the slow connections were closed.
    pub slow_closed: usize,
}

/// A thread at work.
pub(super) struct Worker {
    connections: Sender<Connection>,
    waker: Waker,
    thread: JoinHandle<Seen>,
}

impl Worker {
    /// Starts a thread that reads what it is given.
    ///
    /// # Errors
    /// The system refuses a poll or a thread.
    pub fn start(number: usize, plan: &Plan, clock: Clock, shared: Arc<Shared>) -> io::Result<Worker> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let (connections, arrivals) = channel();
        let [live, slow] = [(); 2].map(|()| Meter::new(plan.has_schedule));
        let seen = Seen { live, slow, failures: Vec::new(), live_failed: 0, slow_closed: 0 };
        let mut reader = Reader {
            poll,
            arrivals,
            clock,
            shared,
            reading: plan.reading,
            duration: plan.duration,
            slow_bytes: (plan.slow_bytes_per_second / 10).max(1),
            connections: Vec::new(),
            again: Vec::new(),
            buffer: Vec::new(),
            seen,
            counted: 0,
            slow: Vec::new(),
            slow_part: 0,
        };
        let thread = Builder::new().name(format!("clients-{number}")).spawn(move || {
            reader.run();
            reader.seen
        })?;
        Ok(Worker { connections, waker, thread })
    }

    /// Hands a connection over.
    pub fn add(&self, connection: Connection) -> io::Result<()> {
        // A thread that is gone is found when it is joined.
        let _ = self.connections.send(connection);
        self.waker.wake()
    }

    /// What it has seen, once the measured time is over. `None`: it panicked.
    pub fn join(self) -> Option<Seen> {
        drop(self.connections);
        self.thread.join().ok()
    }
}

struct Reader {
    poll: Poll,
    arrivals: Receiver<Connection>,
    clock: Clock,
    shared: Arc<Shared>,
    reading: Reading,
    duration: Duration,
    slow_bytes: usize,
    connections: Vec<Connection>,
    /// Connections that had more than was read in their turn.
    again: Vec<usize>,
    buffer: Vec<u8>,
    seen: Seen,
    /// Frames that the shared counter knows of.
    counted: u64,
    /// The connections that read slowly, and which part of them is next.
    slow: Vec<usize>,
    slow_part: usize,
}

impl Reader {
    fn run(&mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut slow_due_ns = 0;
        let mut is_measuring = false;
        loop {
            let now_ns = self.clock.unix_ns();
            let end_ns = self.shared.end_ns.load(Ordering::Acquire);
            if end_ns != 0 && now_ns >= end_ns {
                return;
            }
            let start_ns = self.shared.start_ns.load(Ordering::Acquire);
            if start_ns != 0 && !is_measuring {
                is_measuring = true;
                self.seen.live.measure(start_ns, self.duration);
                self.seen.slow.measure(start_ns, self.duration);
            }
            if now_ns >= slow_due_ns {
                slow_due_ns = now_ns + SLOW_TURN.as_nanos() as u64 / SLOW_PARTS as u64;
                self.read_slow();
                self.shared.frames.fetch_add(self.seen.live.frames - self.counted, Ordering::Relaxed);
                self.counted = self.seen.live.frames;
            }
            let wait = Duration::from_nanos(slow_due_ns - now_ns).min(NAP);
            match self.reading {
                Reading::AtOnce => {
                    let wait = if self.again.is_empty() { wait } else { Duration::ZERO };
                    self.turn(&mut events, wait, true);
                }
                Reading::Every(period) => {
                    let period_ns = period.as_nanos() as u64;
                    let due_ns = (now_ns / period_ns + 1) * period_ns;
                    std::thread::sleep(Duration::from_nanos(due_ns - now_ns));
                    // All there is, but not for ever: the server goes on writing.
                    while self.turn(&mut events, Duration::ZERO, false)
                        && self.clock.unix_ns() < due_ns + period_ns
                    {}
                }
            }
        }
    }

    /// One round of whoever has something; whether there may be more.
    fn turn(&mut self, events: &mut Events, wait: Duration, sees_silence: bool) -> bool {
        match self.poll.poll(events, Some(wait)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Err(error) => {
                self.seen.failures.push(format!("cannot wait for the sockets: {error}"));
                self.seen.live_failed += 1;
                return false;
            }
        }
        for index in std::mem::take(&mut self.again) {
            self.read(index, sees_silence);
        }
        let mut told = 0;
        for event in &*events {
            told += 1;
            match event.token() {
                WAKE => self.arrive(),
                Token(index) => self.read(index, sees_silence),
            }
        }
        told == EVENTS_MAX || !self.again.is_empty()
    }

    fn arrive(&mut self) {
        while let Ok(mut connection) = self.arrivals.try_recv() {
            let index = self.connections.len();
            let meter = if connection.is_slow { &mut self.seen.slow } else { &mut self.seen.live };
            let mut outcome = connection.read_ahead(self.clock, meter);
            if !connection.is_slow {
                // What came before is told at once.
                let registered =
                    self.poll.registry().register(&mut connection.socket, Token(index), Interest::READABLE);
                outcome = outcome.and(registered.map_err(|error| Fault::Closed(error.to_string())));
            }
            self.slow.extend(connection.is_slow.then_some(index));
            self.connections.push(connection);
            self.judge(index, false, outcome);
        }
    }

    fn read(&mut self, index: usize, sees_silence: bool) {
        let connection = &mut self.connections[index];
        if connection.is_over {
            return;
        }
        let was_ready = connection.is_ready;
        let (clock, meter) = (self.clock, &mut self.seen.live);
        let left = connection.read(usize::MAX, sees_silence, &mut self.buffer, clock, meter);
        if left == Ok(Left::More) {
            self.again.push(index);
        }
        self.judge(index, was_ready, left.map(drop));
    }

    fn read_slow(&mut self) {
        self.slow_part = (self.slow_part + 1) % SLOW_PARTS;
        for position in (self.slow_part..self.slow.len()).step_by(SLOW_PARTS) {
            let index = self.slow[position];
            let connection = &mut self.connections[index];
            if connection.is_over {
                continue;
            }
            // Whoever has not been granted its streams reads like everybody.
            let most = if connection.is_ready { self.slow_bytes } else { usize::MAX };
            let was_ready = connection.is_ready;
            let read = connection.read(most, false, &mut self.buffer, self.clock, &mut self.seen.slow);
            self.judge(index, was_ready, read.map(drop));
        }
    }

    fn judge(&mut self, index: usize, was_ready: bool, outcome: Result<(), Fault>) {
        let connection = &mut self.connections[index];
        if connection.is_ready && !was_ready {
            self.shared.ready.fetch_add(1, Ordering::Release);
        }
        let Err(fault) = outcome else { return };
        connection.is_over = true;
        // Only the first is kept.
        let _ = self.shared.fault.set(fault.to_string());
        self.shared.failed.fetch_add(1, Ordering::Release);
        if connection.is_slow && matches!(fault, Fault::Closed(_)) {
            self.seen.slow_closed += 1;
            return;
        }
        self.seen.live_failed += 1;
        if self.seen.failures.len() < FAULTS_MAX {
            self.seen.failures.push(fault.to_string());
        }
    }
}
