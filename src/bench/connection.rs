//! One client: what it has read, and what it makes of it.

use std::io::{self, Read, Write};

use mio::net::TcpStream;

use super::Fault;
use super::check::Streams;
use super::frames::{Splitter, push_masked};
use super::meter::Meter;
use super::text::Text;
use crate::client::Inflating;
use crate::clock::Clock;
use crate::wire::frame::opcode;

/// Bytes that one `read` takes at the most.
pub(super) const READ_BYTES: usize = 256 * 1_024;
/// Reads of one connection before the others get their turn.
const READS_MAX: usize = 16;

/// A client, once it is connected and has asked for its streams.
#[derive(Debug)]
pub(super) struct Connection {
    pub socket: TcpStream,
    /// Whether it reads slowly.
    pub is_slow: bool,
    /// Whether all its streams were granted.
    pub is_ready: bool,
    /// Whether it has been closed.
    pub is_over: bool,
    splitter: Splitter,
    streams: Streams,
    /// The start of a frame whose rest has not come.
    rest: Vec<u8>,
}

/// What a turn of reading left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing was there any more.
    Nothing,
    /// There may be more.
    More,
}

impl Connection {
    /// A client that has read `rest` beyond the handshake.
    pub fn new(socket: TcpStream, inflating: Option<Inflating>, is_slow: bool, rest: Vec<u8>) -> Connection {
        let (splitter, streams) = (Splitter::new(inflating), Streams::default());
        Connection { socket, is_slow, is_ready: false, is_over: false, splitter, streams, rest }
    }

    /// Reads up to `most` bytes, in turns of [`READ_BYTES`], and checks them. `sees_silence`: it waited for them.
    ///
    /// # Errors
    /// Why it cannot go on.
    pub fn read(
        &mut self,
        most: usize,
        sees_silence: bool,
        buffer: &mut Vec<u8>,
        clock: Clock,
        meter: &mut Meter,
    ) -> Result<Left, Fault> {
        let mut budget = most;
        for _ in 0..READS_MAX {
            let kept = self.rest.len();
            let wanted = budget.min(READ_BYTES);
            if buffer.len() < kept + wanted {
                buffer.resize(kept + wanted, 0);
            }
            buffer[..kept].copy_from_slice(&self.rest);
            let read = match self.socket.read(&mut buffer[kept..kept + wanted]) {
                Ok(0) => return Err(Fault::Closed("the connection ended without a close frame".into())),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Left::Nothing),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Fault::Closed(error.to_string())),
            };
            self.check(&buffer[..kept + read], sees_silence, clock, meter)?;
            // On Linux a short read has emptied the socket (epoll(7)): whatever comes later is told anew.
            budget -= read;
            if read < wanted || budget == 0 {
                return Ok(Left::Nothing);
            }
        }
        Ok(Left::More)
    }

    /// Checks what was read ahead with the handshake.
    ///
    /// # Errors
    /// Why it cannot go on.
    pub fn read_ahead(&mut self, clock: Clock, meter: &mut Meter) -> Result<(), Fault> {
        let ahead = std::mem::take(&mut self.rest);
        self.check(&ahead, false, clock, meter)
    }

    fn check(
        &mut self,
        bytes: &[u8],
        sees_silence: bool,
        clock: Clock,
        meter: &mut Meter,
    ) -> Result<(), Fault> {
        let now_ns = clock.unix_ns();
        meter.at(now_ns, sees_silence);
        let Connection { splitter, streams, socket, is_ready, .. } = self;
        let taken = splitter.take(bytes, |opcode, payload, came| {
            meter.payload_came(came);
            match opcode {
                opcode::BINARY => streams.binary(payload, now_ns, meter),
                opcode::TEXT => text(payload, now_ns, streams, is_ready, meter),
                opcode::PING => pong(socket, payload),
                opcode::CLOSE => Err(closed(payload)),
                _ => Ok(()),
            }
        })?;
        meter.settle();
        self.rest.clear();
        self.rest.extend_from_slice(&bytes[taken..]);
        Ok(())
    }
}

fn text(
    payload: &[u8],
    now_ns: u64,
    streams: &mut Streams,
    is_ready: &mut bool,
    meter: &mut Meter,
) -> Result<(), Fault> {
    let text: Text<'_> = serde_json::from_slice(payload)
        .map_err(|error| Fault::protocol(format!("text that is no message: {error}")))?;
    match text.kind.as_ref() {
        "subscribed" => {
            text.streams.iter().for_each(|grant| streams.granted(grant));
            if !text.more && streams.is_empty() {
                return Err(Fault::Nothing);
            }
            *is_ready |= !text.more;
            Ok(())
        }
        "gap" => streams.gap(&text, meter),
        "reset" => {
            streams.reset(&text);
            Ok(())
        }
        "error" => {
            let [code, message] =
                [text.code, text.message].map(|text| text.map_or_else(String::new, String::from));
            Err(Fault::Refused { code, message })
        }
        "welcome" | "notice" | "heartbeat" | "pong" | "unsubscribed" | "instruments" => Ok(()),
        _ => streams.json(&text, payload.len(), now_ns, meter),
    }
}

fn pong(socket: &mut TcpStream, payload: &[u8]) -> Result<(), Fault> {
    let mut frame = Vec::new();
    push_masked(&mut frame, opcode::PONG, payload, rand::random());
    match socket.write(&frame) {
        Ok(written) if written == frame.len() => Ok(()),
        // A server that takes no twenty bytes has not read for long; it will ask again.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Ok(_) => Err(Fault::Closed("the server has stopped reading".into())),
        Err(error) => Err(Fault::Closed(error.to_string())),
    }
}

fn closed(payload: &[u8]) -> Fault {
    match payload {
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            Fault::Closed(format!("{code} {}", String::from_utf8_lossy(reason)))
        }
        _ => Fault::Closed("without a code".into()),
    }
}
