//! A session's reading side: bytes from a client's socket in, whole messages and control frames out.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use fastwebsockets::{Frame, OpCode, Role, after_handshake_split};
use futures_util::FutureExt;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use crate::wire::deflate::Inflater;
use crate::wire::frame::CONTROL_PAYLOAD_MAX;
use crate::wire::guard::{Guard, Rules, Violation};

/// What a client sent, or how its stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A text message, all its fragments together.
    Text(String),
    /// A binary message, all its fragments together. Only where [`Rules::binary`] lets it in.
    Binary(Vec<u8>),
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
/// A session that waits holds no buffer. fastwebsockets reserves 8 KiB for each of its readers, so one is made only for a
/// frame that has come whole and dropped with it. Fragments are put together here: fastwebsockets's collector would have
/// to outlive the frame.
#[derive(Debug)]
pub struct Reader<S> {
    guard: Guard<S>,
    /// Shared by the sessions of a thread.
    inflater: Rc<RefCell<Inflater>>,
    /// The fragments of the open message, as they came. Bounded by [`Rules::bytes`].
    message: Vec<u8>,
}

impl<S: AsyncRead + Unpin> Reader<S> {
    /// Reads from `stream`, after `read_ahead`, which the handshake has read from it.
    pub fn new(stream: S, read_ahead: Bytes, rules: Rules, inflater: Rc<RefCell<Inflater>>) -> Self {
        Reader { guard: Guard::new(stream, read_ahead, rules), inflater, message: Vec::new() }
    }

    /// The next message, control frame or end. Control frames between the fragments of a message come before it.
    ///
    /// Cancel-safe: what has come stays here. After `Close`, `Violation` or `Eof` only [`Reader::drain`] is of use.
    pub async fn next(&mut self) -> Incoming {
        loop {
            let frame = poll_fn(|cx| self.guard.poll_frame(cx)).await;
            if let Some(violation) = self.guard.violation() {
                self.message = Vec::new();
                return Incoming::Violation(violation);
            }
            let Ok(Some(frame)) = frame else { return Incoming::Eof };
            match self.take_frame(&frame) {
                Ok(Some(incoming)) => return incoming,
                Ok(None) => {}
                Err(violation) => self.guard.refuse(violation),
            }
        }
    }

    /// Discards all that still comes, until the client ends its side. A socket that is closed while unread bytes wait is
    /// reset, and a reset may overtake the close frame: so drain before closing, within a time limit of the caller's.
    pub async fn drain(&mut self) {
        self.guard.drain().await;
    }

    /// What a whole frame brings; `None` for a fragment that does not complete its message.
    fn take_frame(&mut self, frame: &[u8]) -> Result<Option<Incoming>, Violation> {
        let (mut frames, _) = after_handshake_split(frame, tokio::io::sink(), Role::Server);
        frames.set_auto_close(false);
        frames.set_auto_pong(false);
        // fastwebsockets refuses a frame of this size, not only those above it, and control frames too. The guard has
        // refused what is to be refused before.
        let bytes = usize::try_from(self.guard.rules().bytes).unwrap_or(usize::MAX);
        frames.set_max_message_size(bytes.max(CONTROL_PAYLOAD_MAX).saturating_add(1));
        // A slice is never waited for.
        let frame = frames.read_frame(&mut nothing_owed).now_or_never();
        let Some(Ok(frame)) = frame else {
            debug_assert!(false, "the guard lets nothing through that the parser refuses");
            return Err(Violation::Unparsed);
        };
        Ok(Some(match frame.opcode {
            OpCode::Ping => Incoming::Ping(frame.payload.to_vec()),
            OpCode::Pong => Incoming::Pong(frame.payload.to_vec()),
            OpCode::Close => Incoming::Close(close_reason(&frame.payload)?),
            OpCode::Text | OpCode::Binary | OpCode::Continuation => {
                self.message.extend_from_slice(&frame.payload);
                if !frame.fin {
                    return Ok(None);
                }
                self.end_message()?
            }
        }))
    }

    /// The message whose last fragment has come.
    fn end_message(&mut self) -> Result<Incoming, Violation> {
        let (message, mut bytes) = (self.guard.message(), mem::take(&mut self.message));
        if message.is_compressed {
            bytes = self.inflater.borrow_mut().inflate(&bytes, self.guard.rules())?;
        }
        if message.is_text {
            String::from_utf8(bytes).map(Incoming::Text).map_err(|_| Violation::Utf8)
        } else {
            Ok(Incoming::Binary(bytes))
        }
    }
}

/// With automatic pongs and closes off, fastwebsockets owes no frame to anyone.
async fn nothing_owed(_frame: Frame<'_>) -> Result<(), Infallible> {
    Ok(())
}

fn close_reason(payload: &[u8]) -> Result<Option<(u16, String)>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return Ok(None);
    };
    let reason = std::str::from_utf8(reason).map_err(|_| Violation::Utf8)?;
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
