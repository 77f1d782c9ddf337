//! Publishing as servers on tokio do it: broadcast channels. A client of one symbol listens to its channel, one of
//! several to the channel with everything, and passes over what it did not ask for.
//!
//! A broadcast channel forgets the oldest message where a receiver is slow, and a run that loses a message has failed.
//! So the publisher waits for the slowest.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast::{Receiver, Sender, channel};
use tokio::sync::oneshot;

use crate::frame::{self, Trade};
use crate::schedule::{AsyncTimer, Schedule, unix_ns};
use crate::shared::{Failure, Flags};

/// Messages that a channel holds at the most, and at the least; each a power of two, as tokio's channels have it.
const CAPACITY: usize = 1_024;
const CAPACITY_MIN: usize = 16;
/// Messages that the channels of all symbols hold, about.
const CAPACITY_ALL: usize = 16 * CAPACITY;
/// How often a publisher looks whether the slowest has gone on: the shortest time that tokio's clock knows.
const LOOK: Duration = Duration::from_millis(1);

/// A message, and whose it is.
#[derive(Clone, Debug)]
struct Tick {
    instrument: usize,
    payload: Bytes,
}

/// Where to listen.
#[derive(Debug)]
pub struct Hub {
    everything: Sender<Tick>,
    symbols: Vec<Sender<Tick>>,
    /// Messages that the channel of a symbol holds.
    capacity_each: usize,
}

/// What one client listens to.
#[derive(Debug)]
pub struct Subscription {
    receiver: Receiver<Tick>,
    /// Of which instruments; empty: of all that come.
    wanted: Vec<bool>,
}

impl Hub {
    pub fn new(flags: &Flags) -> Hub {
        let capacity_each = (CAPACITY_ALL / flags.symbols).next_power_of_two().clamp(CAPACITY_MIN, CAPACITY);
        let symbols = (0..flags.symbols).map(|_| channel(capacity_each).0).collect();
        Hub { everything: channel(CAPACITY).0, symbols, capacity_each }
    }

    /// How many instruments there are.
    pub fn symbols(&self) -> usize {
        self.symbols.len()
    }

    pub fn subscribe(&self, instruments: &[usize]) -> Subscription {
        if let [one] = instruments {
            return Subscription { receiver: self.symbols[*one].subscribe(), wanted: Vec::new() };
        }
        let mut wanted = vec![false; self.symbols.len()];
        instruments.iter().for_each(|number| wanted[*number] = true);
        Subscription { receiver: self.everything.subscribe(), wanted }
    }

    /// Publishes from `start` on, for as long as the process lives.
    pub async fn publish(self: Arc<Hub>, flags: Flags, start: oneshot::Receiver<()>) -> Result<(), Failure> {
        start.await?;
        let (timer, mut schedule) = (AsyncTimer::new()?, Schedule::start(&flags));
        let mut everything = Topic::new(&self.everything, CAPACITY);
        let topic = |sender| (Topic::new(sender, self.capacity_each), 0);
        let mut symbols: Vec<_> = self.symbols.iter().map(topic).collect();
        let mut payload = frame::blank();
        let mut instrument = 0;
        loop {
            let due_unix_ns = timer.wait(&mut schedule).await?;
            let sent_unix_ns = unix_ns();
            for _ in 0..flags.gather {
                let (topic, seq) = &mut symbols[instrument];
                *seq += 1;
                let trade = Trade { instrument: instrument as u32, seq: *seq, due_unix_ns, sent_unix_ns };
                frame::put(&mut payload, trade);
                let tick = Tick { instrument, payload: Bytes::copy_from_slice(&payload) };
                let is_heard = everything.send(tick.clone()).await | topic.send(tick).await;
                if !is_heard {
                    // Nobody is there who would have to be waited for; others have their turn all the same.
                    tokio::task::yield_now().await;
                }
                instrument = (instrument + 1) % self.symbols.len();
            }
        }
    }
}

impl Subscription {
    /// The next message; `None`: there is no publisher any more.
    ///
    /// # Panics
    /// The publisher did not wait for this client.
    pub async fn next(&mut self) -> Option<Bytes> {
        use tokio::sync::broadcast::error::RecvError;
        loop {
            match self.receiver.recv().await {
                Ok(tick) if self.wanted.is_empty() || self.wanted[tick.instrument] => {
                    return Some(tick.payload);
                }
                Ok(_) => {}
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(count)) => panic!("{count} messages were forgotten"),
            }
        }
    }
}

/// A channel with the room that its slowest receiver leaves.
struct Topic<'a> {
    sender: &'a Sender<Tick>,
    capacity: usize,
    /// Messages that may be sent before it is looked again.
    room: usize,
}

impl Topic<'_> {
    fn new(sender: &Sender<Tick>, capacity: usize) -> Topic<'_> {
        Topic { sender, capacity, room: 0 }
    }

    /// Whether anybody listens.
    async fn send(&mut self, tick: Tick) -> bool {
        if self.sender.receiver_count() == 0 {
            return false;
        }
        while self.room == 0 {
            let free = self.capacity - self.sender.len();
            // A half at a time, so that a client that is behind has something to go on with.
            if free >= self.capacity / 2 {
                self.room = free;
            } else {
                tokio::time::sleep(LOOK).await;
            }
        }
        self.room -= 1;
        // Whoever listened may be gone.
        self.sender.send(tick).is_ok()
    }
}
