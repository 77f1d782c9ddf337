//! All that others know of a shard: where to send it new sessions and questions.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

/// The subprotocol of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `tickcast.v1.bin`: market data as binary frames.
    Binary,
    /// `tickcast.v1.json`: everything as text.
    Json,
}

impl Protocol {
    /// Both.
    pub const ALL: [Protocol; 2] = [Protocol::Binary, Protocol::Json];

    /// Its name in `Sec-WebSocket-Protocol`.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Binary => "tickcast.v1.bin",
            Protocol::Json => "tickcast.v1.json",
        }
    }

    /// The protocol of that name; names are compared as they are written (RFC 6455, section 11.3.4).
    pub fn named(name: &str) -> Option<Protocol> {
        Protocol::ALL.into_iter().find(|protocol| protocol.name() == name)
    }
}

/// A client whose handshake is done.
#[derive(Debug)]
pub struct Arrival {
    /// Its socket, non-blocking, `TCP_NODELAY` set.
    pub socket: TcpStream,
    /// What was read from the socket beyond the handshake: the first bytes of its first frames.
    pub read_ahead: Bytes,
    /// What was agreed on.
    pub protocol: Protocol,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Its place; to be kept as long as the session lives.
    pub seat: Seat,
}

/// A place among a shard's sessions, given back when it is dropped.
#[derive(Debug)]
pub struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A question about a shard's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// Every instrument with its status.
    Instruments,
    /// A book as it is now.
    Book {
        /// The instrument's number.
        instrument: u32,
        /// Levels a side; `None`: all.
        depth: Option<u32>,
    },
}

/// What a shard is sent.
#[derive(Debug)]
pub enum Letter {
    /// A new session.
    Arrival(Arrival),
    /// A question, and where the answer (a JSON body) goes.
    Query(Query, oneshot::Sender<Bytes>),
}

/// The way to a shard.
#[derive(Clone, Debug)]
pub struct ShardHandle {
    letters: mpsc::Sender<Letter>,
    seats: Arc<AtomicUsize>,
}

/// A mailbox for at most `capacity` letters: the handle for others, the receiver for the shard.
pub fn mailbox(capacity: usize) -> (ShardHandle, mpsc::Receiver<Letter>) {
    let (letters, receiver) = mpsc::channel(capacity);
    (ShardHandle { letters, seats: Arc::default() }, receiver)
}

impl ShardHandle {
    /// Takes a place for a session to come.
    pub fn seat(&self) -> Seat {
        self.seats.fetch_add(1, Ordering::Relaxed);
        Seat(self.seats.clone())
    }

    /// How many places are taken: sessions, and handshakes about to become some.
    pub fn seats_taken(&self) -> usize {
        self.seats.load(Ordering::Relaxed)
    }

    /// Whether the shard has stopped taking letters.
    pub fn is_closed(&self) -> bool {
        self.letters.is_closed()
    }

    /// Hands a session over; gives it back where the mailbox is full or the shard is stopping.
    pub fn adopt(&self, arrival: Arrival) -> Result<(), Arrival> {
        match self.letters.try_reserve() {
            Ok(place) => {
                place.send(Letter::Arrival(arrival));
                Ok(())
            }
            Err(_) => Err(arrival),
        }
    }

    /// Asks; the answer is a JSON body. `None`: the shard is stopping.
    pub async fn query(&self, query: Query) -> Option<Bytes> {
        let (sender, answer) = oneshot::channel();
        self.letters.send(Letter::Query(query, sender)).await.ok()?;
        answer.await.ok()
    }
}
