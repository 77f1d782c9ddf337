//! One connection: a task that reads frames whole and one that writes them, each with a bounded queue.
//!
//! Neither a read nor a write of a frame may be dropped half-way while the connection lives: the stream would be
//! torn. So both happen in tasks of their own, and what the program awaits is a queue.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fastwebsockets::{
    Frame, OpCode, Payload, Role, WebSocketError, WebSocketRead, WebSocketWrite, after_handshake_split,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, timeout};

use super::connect::connect;
use super::{Address, ConnectError, Disconnect};
use crate::limits;

/// What comes from the server.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A text message: control.
    Text(Bytes),
    /// A binary message: market data.
    Binary(Bytes),
    /// The connection is over; nothing follows.
    Ended(Disconnect),
}

/// What goes to the server.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// A request.
    Text(String),
    /// The answer to a ping.
    Pong(Bytes),
    /// The end, with a code: nothing follows.
    Close(u16),
}

/// An open connection. Dropped, it ends with a close frame 1000.
#[derive(Debug)]
pub(super) struct Link {
    /// Messages, in the order of their arrival.
    pub incoming: mpsc::Receiver<Incoming>,
    /// Frames to send.
    pub outgoing: mpsc::Sender<Outgoing>,
    /// Connected at.
    pub since: Instant,
    reader: AbortHandle,
    writer: JoinHandle<()>,
}

impl Link {
    /// Connects, shakes hands and starts the two tasks.
    pub async fn open(address: &Address) -> Result<Link, ConnectError> {
        let socket = connect(address).await?;
        let (read, write) = tokio::io::split(socket);
        Ok(Link::start(read, write))
    }

    fn start<R, W>(read: R, write: W) -> Link
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (mut read, write) = after_handshake_split(read, write, Role::Client);
        read.set_auto_close(false);
        read.set_auto_pong(false);
        // The library refuses a length equal to its maximum.
        read.set_max_message_size(limits::CLIENT_MESSAGE_BYTES_MAX + 1);
        let (to_program, incoming) = mpsc::channel(limits::CLIENT_INCOMING_MAX);
        let (outgoing, from_program) = mpsc::channel(limits::CLIENT_OUTGOING_MAX);
        // The reader's own sender must not keep the writer alive when the program is gone.
        let pongs = outgoing.downgrade();
        let reader = Reader { read, incoming: to_program, pongs };
        Link {
            incoming,
            outgoing,
            since: Instant::now(),
            reader: tokio::spawn(reader.run()).abort_handle(),
            writer: tokio::spawn(write_frames(write, from_program)),
        }
    }

    /// Sends a close frame and waits until it is written, no longer than [`limits::CLIENT_CLOSE_MS_MAX`].
    pub async fn close(mut self) {
        let limit = Duration::from_millis(limits::CLIENT_CLOSE_MS_MAX);
        // Beyond the limit the connection ends without the courtesy.
        let _ = timeout(limit, async {
            let _ = self.outgoing.send(Outgoing::Close(1000)).await;
            let _ = (&mut self.writer).await;
        })
        .await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The writer ends by itself, with a close frame, when its queue has no sender left.
        self.reader.abort();
    }
}

struct Reader<R> {
    read: WebSocketRead<R>,
    incoming: mpsc::Sender<Incoming>,
    pongs: mpsc::WeakSender<Outgoing>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    async fn run(mut self) {
        let mut fragments = Fragments::default();
        loop {
            let message = match self.next_frame().await {
                Ok((opcode, fin, payload)) => self.take(&mut fragments, opcode, fin, payload),
                Err(end) => Err(end),
            };
            let (message, ended) = match message {
                Ok(Some(message)) => (message, false),
                Ok(None) => continue,
                Err(end) => (Incoming::Ended(end), true),
            };
            if self.incoming.send(message).await.is_err() || ended {
                return;
            }
        }
    }

    async fn next_frame(&mut self) -> Result<(OpCode, bool, Bytes), Disconnect> {
        // Pings and closes are answered here, not by the library.
        let mut no_duty = |_: Frame<'_>| std::future::ready(Ok::<(), Infallible>(()));
        let frame = self.read.read_frame(&mut no_duty).await.map_err(read_error)?;
        let payload = match frame.payload {
            Payload::Bytes(bytes) => bytes.freeze(),
            other => Vec::from(other).into(),
        };
        Ok((frame.opcode, frame.fin, payload))
    }

    fn take(
        &self,
        fragments: &mut Fragments,
        opcode: OpCode,
        fin: bool,
        payload: Bytes,
    ) -> Result<Option<Incoming>, Disconnect> {
        match opcode {
            OpCode::Ping => {
                // A full queue means that the server does not read either: it does not wait for this pong.
                if let Some(pongs) = self.pongs.upgrade() {
                    let _ = pongs.try_send(Outgoing::Pong(payload));
                }
                Ok(None)
            }
            OpCode::Pong => Ok(None),
            OpCode::Close => Err(closed(&payload)),
            OpCode::Text | OpCode::Binary | OpCode::Continuation => fragments.add(opcode, fin, payload),
        }
    }
}

/// A message that comes in several frames. Bounded as a whole, which the library's collector is not.
#[derive(Default)]
struct Fragments {
    /// The kind of the message that is open.
    open: Option<OpCode>,
    bytes: BytesMut,
}

impl Fragments {
    fn add(&mut self, opcode: OpCode, fin: bool, payload: Bytes) -> Result<Option<Incoming>, Disconnect> {
        let protocol = |fault: &str| Err(Disconnect::Protocol(fault.into()));
        let kind = match (self.open, opcode) {
            (None, OpCode::Continuation) => {
                return protocol("a frame continues a message that was not begun");
            }
            (Some(kind), OpCode::Continuation) => kind,
            (Some(_), _) => return protocol("a message begins within another"),
            (None, kind) => kind,
        };
        if self.bytes.len() + payload.len() > limits::CLIENT_MESSAGE_BYTES_MAX {
            return Err(Disconnect::Protocol(format!(
                "a message is longer than {} bytes",
                limits::CLIENT_MESSAGE_BYTES_MAX
            )));
        }
        let whole = if self.open.is_none() && fin {
            payload
        } else {
            self.open = Some(kind);
            self.bytes.extend_from_slice(&payload);
            if !fin {
                return Ok(None);
            }
            self.open = None;
            std::mem::take(&mut self.bytes).freeze()
        };
        Ok(Some(if kind == OpCode::Text { Incoming::Text(whole) } else { Incoming::Binary(whole) }))
    }
}

fn closed(payload: &[u8]) -> Disconnect {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return Disconnect::Closed { code: None, reason: String::new() };
    };
    Disconnect::Closed {
        code: Some(u16::from_be_bytes(*code)),
        reason: String::from_utf8_lossy(reason).into_owned(),
    }
}

fn read_error(error: WebSocketError) -> Disconnect {
    match error {
        WebSocketError::UnexpectedEOF | WebSocketError::ConnectionClosed => {
            Disconnect::Lost("the server ended the connection without a close frame".into())
        }
        WebSocketError::IoError(error) if error.kind() != io::ErrorKind::InvalidData => {
            Disconnect::Lost(error.to_string())
        }
        WebSocketError::FrameTooLarge => Disconnect::Protocol(format!(
            "a message is longer than {} bytes",
            limits::CLIENT_MESSAGE_BYTES_MAX
        )),
        other => Disconnect::Protocol(other.to_string()),
    }
}

async fn write_frames<W>(mut write: WebSocketWrite<W>, mut outgoing: mpsc::Receiver<Outgoing>)
where
    W: AsyncWrite + Unpin,
{
    let limit = Duration::from_millis(limits::CLIENT_WRITE_MS_MAX);
    loop {
        let next = outgoing.recv().await.unwrap_or(Outgoing::Close(1000));
        let last = matches!(next, Outgoing::Close(_));
        let frame = match next {
            Outgoing::Text(text) => Frame::text(Payload::Owned(text.into_bytes())),
            Outgoing::Pong(payload) => Frame::pong(Payload::Owned(payload.into())),
            Outgoing::Close(code) => Frame::close(code, b""),
        };
        // What is wrong with the connection, the reader says: here it only ends.
        if !matches!(timeout(limit, write.write_frame(frame)).await, Ok(Ok(()))) || last {
            return;
        }
    }
}
