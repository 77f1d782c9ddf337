//! The messages of a file, each behind its length.

use std::io::{self, Read};

use super::message;
use crate::feed::format::printable;

/// Bytes that are unpacked at a time; a message has at most 65,535.
const BUFFER_BYTES: usize = 256 * 1_024;
/// Bytes of a length.
const PREFIX_BYTES: usize = 2;

/// Bytes of a foreign file that an error shows.
const START_BYTES: usize = 4;
/// What packet captures start with: pcap of either byte order, with times in microseconds and nanoseconds, and pcapng.
const PACKET_CAPTURES: [[u8; 4]; 5] = [
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x4d, 0x3c, 0xb2, 0xa1],
    [0x0a, 0x0d, 0x0d, 0x0a],
];
/// Bytes of ITCH 4.1's messages of seconds and of system events, which a day begins with.
const OLDER: [(usize, u8); 2] = [(5, b'T'), (6, b'S')];
/// Bytes that SoupBinTCP's packet of a login that was accepted has behind its length.
const LOGIN_ACCEPTED_BYTES: usize = 31;

/// A file being cut into messages.
pub(super) struct Framing {
    plain: Box<dyn Read>,
    buffer: Vec<u8>,
    /// What of the buffer is filled and not taken.
    start: usize,
    end: usize,
    /// Bytes before `start`, unpacked.
    offset: u64,
    /// Nothing comes after what is in the buffer.
    ended: bool,
    /// Why, where that is not the end.
    broken: Option<String>,
}

/// What comes next.
pub(super) enum Next {
    /// A message of so many bytes, which is to be [taken](Framing::take).
    Message(usize),
    /// One that is to be [passed over](Framing::pass_over).
    Misfit(Misfit),
    /// The end.
    End,
    /// Why nothing more can be read.
    Broken(String),
}

/// A message of a known type behind a length that is not the type's.
pub(super) struct Misfit {
    pub kind: u8,
    /// What stands there.
    pub length: usize,
    /// What the type has.
    pub expected: usize,
}

impl Framing {
    pub fn new(plain: Box<dyn Read>) -> Framing {
        Framing {
            plain,
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            offset: 0,
            ended: false,
            broken: None,
        }
    }

    /// Bytes before the message to come, unpacked.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How a file starts that does not begin with a message of a known type and its length, and what it may be.
    pub fn foreign_start(&mut self) -> Option<String> {
        // Fills the buffer; what is wrong beyond the start is met again.
        self.next();
        let start = &self.buffer[self.start..self.end];
        let [high, low, kind, ..] = *start else { return None };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let is_message = message::bytes_of(kind).is_some_and(|bytes| length == 0 || length == bytes);
        (!is_message).then(|| {
            let shown = printable(&start[..start.len().min(START_BYTES)]);
            format!("{shown}{}", likely(start))
        })
    }

    /// Looks for the next message. Where a length is 0, as in files that lost them, it follows from the type; at the
    /// very end it is the terminator.
    pub fn next(&mut self) -> Next {
        match self.fill(PREFIX_BYTES) {
            0 => return self.broken.clone().map_or(Next::End, Next::Broken),
            1 => return self.cut("the file ends within a length".into()),
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes([self.buffer[self.start], self.buffer[self.start + 1]]));
        let filled = self.fill(PREFIX_BYTES + 1) - PREFIX_BYTES;
        if length > 0 && filled > 0 {
            let kind = self.buffer[self.start + PREFIX_BYTES];
            if let Some(expected) = message::bytes_of(kind).filter(|expected| *expected != length) {
                return Next::Misfit(Misfit { kind, length, expected });
            }
        }
        let filled = self.fill(PREFIX_BYTES + length.max(1)) - PREFIX_BYTES;
        if length > 0 {
            return self.whole(length, filled);
        }
        if filled == 0 {
            return self.broken.clone().map_or(Next::End, Next::Broken);
        }
        let kind = self.buffer[self.start + PREFIX_BYTES];
        let Some(length) = message::bytes_of(kind) else {
            return Next::Broken(format!(
                "length 0, and byte {kind} behind it is no type of message; nothing after it can be read"
            ));
        };
        let filled = self.fill(PREFIX_BYTES + length) - PREFIX_BYTES;
        self.whole(length, filled)
    }

    /// The message that [`Framing::next`] found.
    pub fn take(&mut self, length: usize) -> &[u8] {
        let from = self.start + PREFIX_BYTES;
        self.skip(PREFIX_BYTES + length);
        &self.buffer[from..from + length]
    }

    /// Leaves out the message that does not fit its length, up to where the next begins: by its type, by its length, or
    /// where two that fit stand behind each other. Gives the number of bytes.
    pub fn pass_over(&mut self, misfit: &Misfit) -> u64 {
        let before = self.offset;
        // The type first: where both lead to a message, it loses the least.
        let lengths = [misfit.expected, misfit.length];
        if let Some(bytes) = lengths.into_iter().find(|bytes| self.is_start(PREFIX_BYTES + bytes)) {
            self.skip(PREFIX_BYTES + bytes);
            return self.offset - before;
        }
        self.skip(PREFIX_BYTES);
        while self.fill(1) > 0 && !self.is_message() {
            self.skip(1);
        }
        self.offset - before
    }

    /// Whether a message begins there, or the file ends, from the first byte that is not taken.
    fn is_start(&mut self, at: usize) -> bool {
        let filled = self.fill(at + PREFIX_BYTES + 1);
        let Some(rest) = self.buffer[self.start..self.start + filled].get(at..) else { return false };
        match *rest {
            [] => true,
            [high, low] => (high, low) == (0, 0),
            [high, low, kind] => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                message::bytes_of(kind).is_some_and(|bytes| length == 0 || length == bytes)
            }
            _ => false,
        }
    }

    /// Whether a message with its own length comes next, and another or the end behind it.
    fn is_message(&mut self) -> bool {
        let filled = self.fill(PREFIX_BYTES + 1);
        let [high, low, kind] = self.buffer[self.start..self.start + filled] else { return false };
        let length = usize::from(u16::from_be_bytes([high, low]));
        message::bytes_of(kind) == Some(length) && self.is_start(PREFIX_BYTES + length)
    }

    fn skip(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    fn whole(&self, length: usize, filled: usize) -> Next {
        if filled < length {
            return self.cut(format!("the file ends {filled} bytes into a message of {length}"));
        }
        Next::Message(length)
    }

    /// It ends in the middle, or cannot be unpacked from there on.
    fn cut(&self, problem: String) -> Next {
        Next::Broken(self.broken.clone().unwrap_or(problem))
    }

    /// Fills the buffer until it holds so many bytes, or all that there are; gives how many of these it holds.
    #[inline]
    fn fill(&mut self, bytes: usize) -> usize {
        if self.end - self.start < bytes && !self.ended {
            self.read(bytes);
        }
        (self.end - self.start).min(bytes)
    }

    #[cold]
    fn read(&mut self, bytes: usize) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < bytes {
            match self.plain.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.ended = true;
                    self.broken = Some(format!("it cannot be read further ({error})"));
                    break;
                }
            }
        }
    }
}

/// What a file that is none of these may be, by how it starts.
fn likely(start: &[u8]) -> &'static str {
    let [high, low, kind, rest @ ..] = start else { return "" };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let is_sequenced = |kind: &u8| message::bytes_of(*kind).is_some_and(|bytes| length == bytes + 1);
    match kind {
        _ if PACKET_CAPTURES.iter().any(|magic| start.starts_with(magic)) => {
            " (a packet capture: it holds packets of the network, which are to be taken apart first)"
        }
        _ if OLDER.contains(&(length, *kind)) => " (which looks like ITCH before version 5.0)",
        b'S' | b'U' if rest.first().is_some_and(is_sequenced) => SOUP,
        b'A' if length == LOGIN_ACCEPTED_BYTES => SOUP,
        b'H' if length == 1 => SOUP,
        // Two messages one behind the other, without anything between.
        _ if message::bytes_of(*high)
            .is_some_and(|bytes| start.get(bytes).is_some_and(|next| message::bytes_of(*next).is_some())) =>
        {
            " (which looks like messages without their lengths: they are needed)"
        }
        _ => "",
    }
}

const SOUP: &str = " (which looks like SoupBinTCP packets, each with a type of its own before the message: without it they are such a file)";

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads from a source that gives a few bytes at a time: the messages, and how it ended.
    fn messages(bytes: &[u8]) -> (Vec<Vec<u8>>, Option<String>) {
        struct Drops(io::Cursor<Vec<u8>>);
        impl Read for Drops {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let bytes = buffer.len().min(3);
                self.0.read(&mut buffer[..bytes])
            }
        }
        let mut framing = Framing::new(Box::new(Drops(io::Cursor::new(bytes.to_vec()))));
        let mut messages = Vec::new();
        loop {
            match framing.next() {
                Next::Message(length) => messages.push(framing.take(length).to_vec()),
                Next::Misfit(misfit) => {
                    framing.pass_over(&misfit);
                }
                Next::End => return (messages, None),
                Next::Broken(problem) => return (messages, Some(problem)),
            }
        }
    }

    #[test]
    fn messages_stand_behind_their_lengths_up_to_the_end_or_a_terminator() {
        let long = [&[0xff, 0xff][..], &vec![b'z'; 65_535]].concat();
        let bytes = [&b"\0\x03abc"[..], &long, b"\0\x01d"].concat();
        let expected = vec![b"abc".to_vec(), vec![b'z'; 65_535], b"d".to_vec()];
        assert_eq!(messages(&bytes), (expected.clone(), None));
        assert_eq!(messages(&[&bytes[..], b"\0\0"].concat()), (expected, None));
    }

    #[test]
    fn lengths_that_were_lost_follow_from_the_types() {
        let event = [b"S".as_slice(), &[0; 11]].concat();
        let bytes = [b"\0\0", &event[..], b"\0\0", &event[..], b"\0\0"].concat();
        assert_eq!(messages(&bytes), (vec![event.clone(), event], None));
    }

    #[test]
    fn ends_within_a_message_are_told() {
        for (bytes, problem) in [
            (&b"\0\x03abc\0"[..], "the file ends within a length"),
            (b"\0\x03abc\0\x05ab", "the file ends 2 bytes into a message of 5"),
            (b"\0\x03abc\0\0S1", "the file ends 2 bytes into a message of 12"),
            (b"\0\x03abc\0\0?", "length 0, and byte 63 behind it is no type of message"),
        ] {
            let (whole, broken) = messages(bytes);
            assert_eq!(whole, [b"abc"]);
            assert!(broken.as_deref().is_some_and(|text| text.starts_with(problem)), "{broken:?}");
        }
    }
}
