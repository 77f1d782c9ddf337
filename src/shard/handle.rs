//! All that the door knows of a shard: a mailbox.

use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::limits;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `tickcast.v1.bin`: market data in binary frames.
    Binary = 0,
    /// `tickcast.v1.json`: everything in text.
    Json = 1,
}

impl Protocol {
    /// The WebSocket subprotocol's name.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Binary => "tickcast.v1.bin",
            Protocol::Json => "tickcast.v1.json",
        }
    }

    /// The protocol of that name.
    pub fn from_name(name: &str) -> Option<Protocol> {
        [Protocol::Binary, Protocol::Json].into_iter().find(|protocol| protocol.name() == name)
    }
}

/// A socket whose WebSocket handshake is done.
#[derive(Debug)]
pub struct Arrival {
    /// The socket, non-blocking.
    pub socket: TcpStream,
    /// Bytes that the client sent behind its handshake, already read.
    pub read_ahead: Bytes,
    /// What was negotiated.
    pub protocol: Protocol,
    /// The other end.
    pub peer: SocketAddr,
}

/// A question over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// The instruments and their status.
    Instruments,
    /// The best levels of a book, `None`: all of them.
    Book {
        /// The instrument's number in the catalog.
        instrument: u32,
        /// Levels a side.
        depth: Option<u32>,
    },
}

/// What a shard is sent.
#[derive(Debug)]
pub enum Letter {
    /// A session begins.
    Arrival(Arrival),
    /// A question, and where the JSON body goes.
    Query(Query, oneshot::Sender<Bytes>),
    /// Say goodbye to everyone and end.
    Stop,
}

/// The writing end of a shard's mailbox.
#[derive(Clone, Debug)]
pub struct ShardHandle {
    letters: mpsc::Sender<Letter>,
}

/// A shard's mailbox: both ends.
pub fn mailbox() -> (ShardHandle, mpsc::Receiver<Letter>) {
    let (letters, receiver) = mpsc::channel(limits::MAILBOX_LETTERS_MAX);
    (ShardHandle { letters }, receiver)
}

impl ShardHandle {
    /// Hands a socket over; it comes back where the shard's mailbox is full or the shard is stopping.
    pub fn adopt(&self, arrival: Arrival) -> Result<(), Arrival> {
        self.letters.try_send(Letter::Arrival(arrival)).map_err(|refused| match refused.into_inner() {
            Letter::Arrival(arrival) => arrival,
            _ => unreachable!("what comes back is what was sent"),
        })
    }

    /// Asks; `None` where the shard is stopping.
    pub async fn query(&self, query: Query) -> Option<Bytes> {
        let (reply, body) = oneshot::channel();
        self.letters.send(Letter::Query(query, reply)).await.ok()?;
        body.await.ok()
    }

    /// Tells the shard to say goodbye to everyone and end.
    pub async fn stop(&self) {
        // A shard that is gone needs no telling.
        let _ = self.letters.send(Letter::Stop).await;
    }
}
