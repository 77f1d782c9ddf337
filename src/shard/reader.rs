//! A session's reading side: bytes from a client's socket in, whole messages and control frames out.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use fastwebsockets::{Frame, OpCode, Role, WebSocketError, after_handshake_split};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use crate::wire::guard::{Guard, MessageLimits, Violation};

/// What a client sent, or how its stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A text message, all its fragments together.
    Text(String),
    /// A ping, to be answered with a pong of the same payload.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A close, with the code and reason where it has them; to be answered with a close, unless one was sent before.
    Close(Option<(u16, String)>),
    /// The client broke a rule: to be answered with a close of [`Violation::code`]. The same from every later call.
    Violation(Violation),
    /// The stream ended, or the socket failed, without a close frame.
    Eof,
}

/// Reads one session's messages strictly: see [`crate::wire::guard`].
///
/// A session that waits holds no buffer. fastwebsockets reserves 8 KiB for each of its readers, so one is made only when
/// bytes wait and dropped with the frame; the guard keeps what came behind that frame. Fragments are put together here:
/// fastwebsockets's collector lets text end inside a UTF-8 sequence, and would have to outlive the frame.
#[derive(Debug)]
pub struct Reader<S> {
    guard: Guard<S>,
    limits: MessageLimits,
    /// The fragments of the open message. Bounded by `limits.bytes`.
    message: Vec<u8>,
}

impl<S: AsyncRead + Unpin> Reader<S> {
    /// Reads from `stream`, after `read_ahead`, which the handshake has read from it.
    pub fn new(stream: S, read_ahead: Bytes, limits: MessageLimits) -> Self {
        Reader { guard: Guard::new(stream, read_ahead, limits), limits, message: Vec::new() }
    }

    /// The next message, control frame or end. Control frames between the fragments of a message come before it.
    ///
    /// **Not cancel-safe**: dropping the future in the middle of a frame loses the part that was read. Await it in a
    /// task of its own, never in a `select!`. After `Close`, `Violation` or `Eof` only [`Reader::drain`] is of use.
    pub async fn next(&mut self) -> Incoming {
        loop {
            if let Some(violation) = self.guard.violation() {
                return Incoming::Violation(violation);
            }
            if !matches!(poll_fn(|cx| self.guard.poll_fill(cx)).await, Ok(true)) {
                return Incoming::Eof;
            }
            match self.read_frame().await {
                Ok(Some(incoming)) => return incoming,
                Ok(None) => {}
                Err(Fault::Utf8) => self.guard.refuse(Violation::Utf8),
                Err(Fault::Stream) => {
                    if self.guard.violation().is_none() {
                        return Incoming::Eof;
                    }
                }
            }
        }
    }

    /// Discards all that still comes, until the client ends its side. A socket that is closed while unread bytes wait is
    /// reset, and a reset may overtake the close frame: so drain before closing, within a time limit of the caller's.
    pub async fn drain(&mut self) {
        self.guard.drain().await;
    }

    /// Reads one frame; `None` for a fragment that does not complete its message.
    async fn read_frame(&mut self) -> Result<Option<Incoming>, Fault> {
        let (mut frames, _) = after_handshake_split(&mut self.guard, tokio::io::sink(), Role::Server);
        frames.set_auto_close(false);
        frames.set_auto_pong(false);
        // fastwebsockets refuses a frame of this size, not only those above it. The guard has refused both before.
        frames
            .set_max_message_size(usize::try_from(self.limits.bytes).unwrap_or(usize::MAX).saturating_add(1));
        let frame = frames.read_frame(&mut nothing_owed).await?;
        Ok(Some(match frame.opcode {
            OpCode::Ping => Incoming::Ping(frame.payload.to_vec()),
            OpCode::Pong => Incoming::Pong(frame.payload.to_vec()),
            OpCode::Close => Incoming::Close(close_reason(&frame.payload)?),
            OpCode::Text | OpCode::Binary | OpCode::Continuation => {
                self.message.extend_from_slice(&frame.payload);
                if !frame.fin {
                    return Ok(None);
                }
                let text = String::from_utf8(mem::take(&mut self.message)).map_err(|_| Fault::Utf8)?;
                Incoming::Text(text)
            }
        }))
    }
}

/// With automatic pongs and closes off, fastwebsockets owes no frame to anyone.
async fn nothing_owed(_frame: Frame<'_>) -> Result<(), Infallible> {
    Ok(())
}

/// Why a frame did not come.
enum Fault {
    /// Text that is not UTF-8.
    Utf8,
    /// The stream ended or failed, or the guard refused.
    Stream,
}

impl From<WebSocketError> for Fault {
    fn from(error: WebSocketError) -> Self {
        match error {
            WebSocketError::InvalidUTF8 => Fault::Utf8,
            _ => Fault::Stream,
        }
    }
}

fn close_reason(payload: &[u8]) -> Result<Option<(u16, String)>, Fault> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return Ok(None);
    };
    let reason = std::str::from_utf8(reason).map_err(|_| Fault::Utf8)?;
    Ok(Some((u16::from_be_bytes(*code), reason.to_owned())))
}

/// The reading side of a socket whose writing side another part of the same thread uses through the same `Rc`.
///
/// The socket keeps the waker of the last task that waited: one task reads, one writes.
#[derive(Clone, Debug)]
pub struct SharedSocket(pub Rc<TcpStream>);

impl AsyncRead for SharedSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read_buf(out) {
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
