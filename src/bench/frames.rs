//! WebSocket frames as a client reads them (RFC 6455, section 5), out of bytes as they lie: nothing is copied unless a
//! message comes in fragments.

use flate2::{Decompress, FlushDecompress};

use super::Fault;
use crate::client::Inflating;
use crate::limits;
use crate::wire::frame::opcode;

/// Puts a connection's frames together.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// A message whose last fragment has not come: its opcode, whether it is compressed.
    message: Option<(u8, bool, Vec<u8>)>,
    /// Where messages may come compressed.
    inflater: Option<Box<Inflater>>,
}

/// Inflates what one server sends.
#[derive(Debug)]
struct Inflater {
    how: Inflating,
    decompress: Decompress,
    out: Vec<u8>,
}

/// The head of a frame.
struct Head {
    is_final: bool,
    is_compressed: bool,
    opcode: u8,
    /// Bytes of the head.
    length: usize,
    payload: usize,
}

/// `None`: the head is not whole.
fn head(bytes: &[u8]) -> Result<Option<Head>, Fault> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    if first & 0x30 != 0 || second & 0x80 != 0 {
        return Err(Fault::protocol("a frame with reserved bits or a mask"));
    }
    let (length, payload) = match second {
        126 => match bytes.get(2..4) {
            Some(&[a, b]) => (4, u64::from(u16::from_be_bytes([a, b]))),
            _ => return Ok(None),
        },
        127 => match bytes.get(2..10).and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => (10, u64::from_be_bytes(bytes)),
            None => return Ok(None),
        },
        short => (2, u64::from(short)),
    };
    let payload = usize::try_from(payload).unwrap_or(usize::MAX);
    if payload > limits::CLIENT_MESSAGE_BYTES_MAX {
        return Err(Fault::protocol(format!("a frame of {payload} bytes")));
    }
    let (is_final, is_compressed) = (first & 0x80 != 0, first & 0x40 != 0);
    Ok(Some(Head { is_final, is_compressed, opcode: first & 0x0F, length, payload }))
}

impl Splitter {
    /// Of a server with which this was agreed on about compression.
    pub fn new(inflating: Option<Inflating>) -> Splitter {
        let inflater = |how| Inflater { how, decompress: Decompress::new(false), out: Vec::new() };
        Splitter { message: None, inflater: inflating.map(inflater).map(Box::new) }
    }

    /// Takes the whole frames at the start of `bytes` and hands each message, and each control frame, to `each`: opcode,
    /// payload, and how many bytes of payload came. Returns how many bytes it took; what is left is the start of a frame.
    ///
    /// # Errors
    /// What is no WebSocket frame from a server, or a message of more than [`limits::CLIENT_MESSAGE_BYTES_MAX`]; and what
    /// `each` fails with.
    pub fn take(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(u8, &[u8], usize) -> Result<(), Fault>,
    ) -> Result<usize, Fault> {
        let mut taken = 0;
        while let Some(head) = head(&bytes[taken..])? {
            let start = taken + head.length;
            let Some(payload) = bytes.get(start..start + head.payload) else { break };
            taken = start + head.payload;
            let begins = matches!(head.opcode, opcode::TEXT | opcode::BINARY);
            if head.is_compressed && (!begins || self.inflater.is_none()) {
                return Err(Fault::protocol("a compressed frame where none may be"));
            }
            let is_whole = head.is_final && self.message.is_none() && begins;
            if is_whole && head.is_compressed {
                each(head.opcode, self.inflate(payload)?, payload.len())?;
            } else if is_whole || head.opcode >= opcode::CLOSE {
                each(head.opcode, payload, payload.len())?;
            } else {
                self.fragment(&head, payload, &mut each)?;
            }
        }
        Ok(taken)
    }

    fn fragment(
        &mut self,
        head: &Head,
        payload: &[u8],
        each: &mut impl FnMut(u8, &[u8], usize) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let (opcode, is_compressed, mut message) = match (self.message.take(), head.opcode) {
            (Some(message), opcode::CONTINUATION) => message,
            (None, opcode) if opcode != opcode::CONTINUATION => (opcode, head.is_compressed, Vec::new()),
            _ => return Err(Fault::protocol("fragments out of order")),
        };
        if message.len() + payload.len() > limits::CLIENT_MESSAGE_BYTES_MAX {
            return Err(Fault::protocol("a message without end"));
        }
        message.extend_from_slice(payload);
        if !head.is_final {
            self.message = Some((opcode, is_compressed, message));
            return Ok(());
        }
        let came = message.len();
        if is_compressed { each(opcode, self.inflate(&message)?, came) } else { each(opcode, &message, came) }
    }

    /// The payload of a compressed message.
    fn inflate(&mut self, payload: &[u8]) -> Result<&[u8], Fault> {
        let Some(inflater) = self.inflater.as_deref_mut() else {
            return Err(Fault::protocol("a compressed message that was not agreed on"));
        };
        let Inflater { how, decompress, out } = inflater;
        if !how.takeover {
            decompress.reset(false);
        }
        out.clear();
        for input in [payload, &[0, 0, 0xFF, 0xFF]] {
            let mut rest = input;
            loop {
                if out.len() > limits::CLIENT_MESSAGE_BYTES_MAX {
                    return Err(Fault::protocol("a message without end"));
                }
                if out.len() == out.capacity() {
                    out.reserve(out.len().max(1_024));
                }
                let (before, length) = (decompress.total_in(), out.len());
                decompress
                    .decompress_vec(rest, out, FlushDecompress::None)
                    .map_err(|error| Fault::protocol(format!("a message that does not inflate: {error}")))?;
                rest = &rest[(decompress.total_in() - before) as usize..];
                if !rest.is_empty() && out.len() == length && decompress.total_in() == before {
                    return Err(Fault::protocol(
                        "a message that does not inflate: it goes on behind its end",
                    ));
                }
                // All is out where room was left.
                if rest.is_empty() && out.len() < out.capacity() {
                    break;
                }
            }
        }
        Ok(out)
    }
}

/// Appends a masked text or control frame, as clients send them.
pub(super) fn push_masked(out: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: [u8; 4]) {
    let start = out.len();
    crate::wire::frame::push_head(out, opcode, payload.len());
    out[start + 1] |= 0x80;
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::deflate::{Context, Deflater};
    use crate::wire::frame;

    fn frames(bytes: &[u8], cut: usize) -> Result<Vec<(u8, Vec<u8>)>, Fault> {
        frames_of(Splitter::default(), bytes, cut)
    }

    fn frames_of(mut splitter: Splitter, bytes: &[u8], cut: usize) -> Result<Vec<(u8, Vec<u8>)>, Fault> {
        let (mut found, mut rest) = (Vec::new(), Vec::new());
        for part in [&bytes[..cut], &bytes[cut..]] {
            rest.extend_from_slice(part);
            let taken = splitter.take(&rest, |opcode, payload, came| {
                assert!(came <= payload.len() + 5);
                found.push((opcode, payload.to_vec()));
                Ok(())
            })?;
            rest.drain(..taken);
        }
        assert!(rest.is_empty());
        Ok(found)
    }

    #[test]
    fn frames_are_found_wherever_the_bytes_are_cut() {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for length in [0, 5, 125, 126, 400, 65_536] {
            let payload = vec![length as u8; length];
            frame::push(&mut bytes, opcode::BINARY, &payload);
            expected.push((opcode::BINARY, payload));
        }
        // A message in three fragments, a ping in between.
        bytes.extend_from_slice(&[0x01, 2, b'a', b'b', 0x89, 1, 7, 0x00, 1, b'c', 0x80, 1, b'd']);
        expected.push((opcode::PING, vec![7]));
        expected.push((opcode::TEXT, b"abcd".to_vec()));
        for cut in (0..1_000).chain(bytes.len() - 20..bytes.len()) {
            assert_eq!(frames(&bytes, cut).unwrap(), expected, "{cut}");
        }
    }

    #[test]
    fn compressed_messages_are_inflated_wherever_the_bytes_are_cut() {
        let texts = [b"one and one and one and one".repeat(30), b"two".repeat(100), b"one and two".repeat(9)];
        for takeover in [false, true] {
            let (mut plain, mut bytes) = (Vec::new(), Vec::new());
            texts.iter().for_each(|text| frame::push(&mut plain, opcode::TEXT, text));
            let (mut deflater, mut context) = (Deflater::default(), Context::new(15));
            for message in frame::messages(&plain) {
                match takeover {
                    true => drop(context.push(&mut bytes, &message, 9, &mut Vec::new())),
                    false => assert!(deflater.push(&mut bytes, &message, 15, 9).pays()),
                }
                frame::push(&mut bytes, opcode::PING, b"");
            }
            let inflating = Some(Inflating { takeover });
            for cut in 0..bytes.len() {
                let mut found = frames_of(Splitter::new(inflating), &bytes, cut).unwrap();
                found.retain(|(opcode, _)| *opcode == opcode::TEXT);
                assert!(found.iter().map(|(_, text)| text).eq(&texts), "{cut}");
            }
            assert!(frames(&bytes, 0).is_err(), "not agreed on");
        }
        for broken in [&[0xC1, 3, 0xFF, 0xFF, 0xFF][..], &[0xC9, 0], &[0x01, 0, 0xC0, 0]] {
            assert!(frames_of(Splitter::new(Some(Inflating { takeover: true })), broken, 0).is_err());
        }
    }

    #[test]
    fn what_no_server_sends_is_a_fault() {
        for bytes in [&[0xC2, 0][..], &[0x82, 0x80, 0, 0, 0, 0], &[0x80, 1, 1], &[0x02, 1, 1, 0x82, 0]] {
            assert!(frames(bytes, 0).is_err(), "{bytes:?}");
        }
        let mut huge = vec![0x82, 127];
        huge.extend_from_slice(&u64::MAX.to_be_bytes());
        assert!(frames(&huge, 0).is_err());
    }

    #[test]
    fn what_a_client_sends_is_masked() {
        let mut out = Vec::new();
        push_masked(&mut out, opcode::TEXT, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        // RFC 6455, section 5.7.
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }
}
