//! All that others know of a shard: where to send it new sessions and questions.

use std::any::Any;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::model::Channel;
use crate::wire::control::Close;
use crate::wire::deflate::Agreed;

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

/// What was agreed on with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The subprotocol.
    pub protocol: Protocol,
    /// Compression; `None`: there is none.
    pub deflate: Option<Agreed>,
    /// Whether it is to be sent what it sends, and nothing else: for tests of conformance.
    pub is_echo: bool,
}

impl From<Protocol> for Terms {
    /// Without compression.
    fn from(protocol: Protocol) -> Terms {
        Terms { protocol, deflate: None, is_echo: false }
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
    pub terms: Terms,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Its place; to be kept as long as the session lives.
    pub seat: Seat,
}

/// A place among a shard's sessions, given back when it is dropped.
#[derive(Debug)]
pub struct Seat {
    taken: Arc<AtomicUsize>,
    /// Dropped with it.
    _guard: Option<Box<dyn Any + Send>>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
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
    /// Its sessions.
    Connections(Listing),
}

/// Which sessions of a shard are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Only the session of that number; `None`: all.
    pub session: Option<u64>,
    /// Sessions listed at the most: those that lag most ([`Connection::by_lag`]).
    pub limit: usize,
    /// Streams listed at the most, over all sessions listed; a session whose streams do not fit is listed without.
    pub streams_max: usize,
}

/// What a question is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A JSON body.
    Body(Bytes),
    /// Sessions, worst first.
    Connections(Vec<Connection>),
}

/// One session, as a shard describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Number in its shard, never given twice.
    pub session: u64,
    /// Where the client comes from.
    pub peer: SocketAddr,
    /// What it speaks.
    pub protocol: Protocol,
    /// When it came, nanoseconds since the Unix epoch.
    pub since_ns: u64,
    /// How many streams it has.
    pub subscriptions: usize,
    /// Whether it gets merged state, since it cannot keep up.
    pub conflating: bool,
    /// Bytes that wait for it in user space.
    pub waiting_bytes: usize,
    /// Milliseconds since the kernel last took all that waited for it.
    pub lag_ms: u64,
    /// Milliseconds since the oldest message was handed over that it has not reported as received; `None` where it
    /// reports nothing.
    pub progress_lag_ms: Option<u64>,
    /// Sequences handed to it, over all its streams and those that have ended.
    pub delivered: u64,
    /// Sequences covered without being carried.
    pub merged: u64,
    /// Sequences that it was told are lost.
    pub lost: u64,
    /// WebSocket messages handed to it.
    pub frames: u64,
    /// Its streams, where they were asked for and fit.
    pub streams: Option<Vec<ConnectionStream>>,
}

impl Connection {
    /// Orders by lag, worst first: what the kernel did not take for longest, or the client did not report for longest;
    /// then by bytes that wait, then the oldest.
    pub fn by_lag(&self, other: &Connection) -> std::cmp::Ordering {
        let key = |one: &Connection| (one.lag_ms.max(one.progress_lag_ms.unwrap_or(0)), one.waiting_bytes);
        key(other).cmp(&key(self)).then(self.since_ns.cmp(&other.since_ns))
    }
}

/// One stream of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionStream {
    /// The instrument's number.
    pub instrument: u32,
    /// The channel.
    pub channel: Channel,
    /// The epoch that the following belong to.
    pub epoch: u64,
    /// Up to where the client was told.
    pub seq: u64,
    /// Sequences carried to it.
    pub delivered: u64,
    /// Sequences covered without being carried.
    pub merged: u64,
    /// Sequences that it was told are lost.
    pub lost: u64,
}

/// What a shard is sent.
#[derive(Debug)]
pub enum Letter {
    /// A new session.
    Arrival(Arrival),
    /// A question, and where the answer goes.
    Query(Query, oneshot::Sender<Answer>),
    /// Say goodbye to everyone, who are closed for that reason, and end.
    Stop(Close),
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
        self.take_seat(None)
    }

    /// The same, with something that is dropped when the place is given back. That is on a thread which must not wait:
    /// its drop may not block.
    pub fn seat_with(&self, guard: Box<dyn Any + Send>) -> Seat {
        self.take_seat(Some(guard))
    }

    fn take_seat(&self, guard: Option<Box<dyn Any + Send>>) -> Seat {
        self.seats.fetch_add(1, Ordering::Relaxed);
        Seat { taken: self.seats.clone(), _guard: guard }
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

    /// Asks what is answered with a JSON body. `None`: the shard is stopping.
    pub async fn query(&self, query: Query) -> Option<Bytes> {
        match self.ask(query).await? {
            Answer::Body(body) => Some(body),
            Answer::Connections(_) => None,
        }
    }

    /// Asks for sessions, worst first. `None`: the shard is stopping.
    pub async fn connections(&self, listing: Listing) -> Option<Vec<Connection>> {
        match self.ask(Query::Connections(listing)).await? {
            Answer::Connections(connections) => Some(connections),
            Answer::Body(_) => None,
        }
    }

    async fn ask(&self, query: Query) -> Option<Answer> {
        let (sender, answer) = oneshot::channel();
        self.letters.send(Letter::Query(query, sender)).await.ok()?;
        answer.await.ok()
    }

    /// Tells the shard to say goodbye to everyone and end. Blocks while the mailbox is full; not for a runtime's thread.
    pub fn stop(&self) {
        // A shard that is gone needs no telling.
        let _ = self.letters.blocking_send(Letter::Stop(Close::ShuttingDown));
    }

    /// The same without blocking, for any reason. `false`: the mailbox is full, and the shard was not told.
    pub fn try_stop(&self, close: Close) -> bool {
        !matches!(self.letters.try_send(Letter::Stop(close)), Err(TrySendError::Full(_)))
    }
}
