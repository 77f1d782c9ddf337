//! WebSocket frames as a server writes them (RFC 6455, section 5.2): unmasked, so that a frame's bytes are the same for
//! every subscriber.

/// Opcodes (RFC 6455, section 11.8).
pub mod opcode {
    /// The next fragment of a message.
    pub const CONTINUATION: u8 = 0x0;
    /// UTF-8 text.
    pub const TEXT: u8 = 0x1;
    /// Bytes.
    pub const BINARY: u8 = 0x2;
    /// Closing handshake.
    pub const CLOSE: u8 = 0x8;
    /// Are you there?
    pub const PING: u8 = 0x9;
    /// I am.
    pub const PONG: u8 = 0xA;
}

/// The longest payload of a control frame (RFC 6455, section 5.5).
pub const CONTROL_PAYLOAD_MAX: usize = 125;

const FINAL: u8 = 0x80;

/// The bit that says that a message is compressed (RFC 7692, section 6).
pub const COMPRESSED: u8 = 0x40;

/// The longest head of an unmasked frame.
pub const HEAD_BYTES_MAX: usize = 10;

/// The head of a final, unmasked frame, and how many bytes of it there are: 2, 4 or 10.
pub fn head(opcode: u8, payload: usize) -> ([u8; HEAD_BYTES_MAX], usize) {
    head_with(FINAL | opcode, payload)
}

fn head_with(first: u8, payload: usize) -> ([u8; HEAD_BYTES_MAX], usize) {
    let mut head = [0; HEAD_BYTES_MAX];
    head[0] = first;
    let length = if payload < 126 {
        head[1] = payload as u8;
        2
    } else if let Ok(short) = u16::try_from(payload) {
        head[1] = 126;
        head[2..4].copy_from_slice(&short.to_be_bytes());
        4
    } else {
        head[1] = 127;
        head[2..].copy_from_slice(&(payload as u64).to_be_bytes());
        HEAD_BYTES_MAX
    };
    (head, length)
}

/// Appends the head of a final, unmasked frame.
pub fn push_head(out: &mut Vec<u8>, opcode: u8, payload: usize) {
    let (head, length) = head(opcode, payload);
    out.extend_from_slice(&head[..length]);
}

/// Appends a whole frame.
pub fn push(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    push_head(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a close frame. A reason longer than a control frame holds is cut at a character.
pub fn push_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let end = reason.floor_char_boundary(CONTROL_PAYLOAD_MAX - 2);
    push_head(out, opcode::CLOSE, 2 + end);
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(&reason.as_bytes()[..end]);
}

/// Appends a message in fragments of at most `fragment` payload bytes, so that control frames can get between
/// (section 5.4).
pub fn push_message(out: &mut Vec<u8>, opcode: u8, is_compressed: bool, payload: &[u8], fragment: usize) {
    let mut first = opcode | if is_compressed { COMPRESSED } else { 0 };
    let mut rest = payload;
    loop {
        let (piece, behind) = rest.split_at(fragment.clamp(1, rest.len().max(1)).min(rest.len()));
        let end = if behind.is_empty() { FINAL } else { 0 };
        let (head, length) = head_with(end | first, piece.len());
        out.extend_from_slice(&head[..length]);
        out.extend_from_slice(piece);
        if behind.is_empty() {
            return;
        }
        (first, rest) = (opcode::CONTINUATION, behind);
    }
}

/// The first of some back-to-back frames.
#[derive(Clone, Copy, Debug)]
struct Frame<'a> {
    /// The first byte of its head.
    first: u8,
    payload: &'a [u8],
    /// Its length, head included.
    length: usize,
}

impl<'a> Frame<'a> {
    /// The frame that starts here; `None` where it is not whole.
    fn first_of(bytes: &'a [u8]) -> Option<Frame<'a>> {
        let (start, length) = extent(bytes)?;
        Some(Frame { first: bytes[0], payload: bytes.get(start..length)?, length })
    }
}

/// Of the frame that starts here: the length of its head, and of all of it. `None` where the head is not whole.
fn extent(bytes: &[u8]) -> Option<(usize, usize)> {
    let (head, payload) = match bytes.get(1)? & 0x7F {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        short => (2, usize::from(short)),
    };
    Some((head, head + payload))
}

/// Whether a data frame is the last of its message, by the first byte of its head.
fn ends_message(first: u8) -> bool {
    first & FINAL != 0
}

fn is_control(first: u8) -> bool {
    first & 0x08 != 0
}

/// A message out of whole frames: no control frame lies between its fragments.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// What it is.
    pub opcode: u8,
    /// Whether its payload is DEFLATE data.
    pub is_compressed: bool,
    /// Its frames.
    pub frames: &'a [u8],
    /// Bytes of its payload.
    pub payload_bytes: usize,
}

impl<'a> Message<'a> {
    /// Its payload, fragment by fragment.
    pub fn payload(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.frames;
        std::iter::from_fn(move || {
            let frame = Frame::first_of(rest)?;
            rest = &rest[frame.length..];
            Some(frame.payload)
        })
    }
}

/// The messages of whole frames back to back.
pub fn messages(frames: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = frames;
    std::iter::from_fn(move || {
        let start = rest;
        let first = Frame::first_of(rest)?;
        let (mut length, mut payload_bytes) = (0, 0);
        loop {
            let frame = Frame::first_of(&start[length..])?;
            length += frame.length;
            payload_bytes += frame.payload.len();
            if frame.first & FINAL != 0 {
                break;
            }
        }
        rest = &start[length..];
        Some(Message {
            opcode: first.first & 0x0F,
            is_compressed: first.first & COMPRESSED != 0,
            frames: &start[..length],
            payload_bytes,
        })
    })
}

/// Where back-to-back frames were cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Bytes that remain of the frame that was cut; 0: none was. Behind it a control frame may go.
    pub frame: usize,
    /// Bytes that remain of the message that was cut, its other fragments included. Behind it another message may go.
    pub message: usize,
}

impl Cut {
    /// Of whole frames, `written` bytes are gone.
    pub fn after(frames: &[u8], written: usize) -> Cut {
        Cut::default().further(frames, written)
    }

    /// Of what remained at this cut, `written` more bytes are gone.
    pub fn further(self, frames: &[u8], written: usize) -> Cut {
        if written < self.frame {
            return Cut { frame: self.frame - written, message: self.message - written };
        }
        // Frames start where the one that was cut ends.
        let (mut start, mut inside) = (self.frame, self.message > self.frame);
        let mut frame_end = start;
        while start < written {
            let Some((_, length)) = extent(&frames[start..]) else { break };
            inside = if is_control(frames[start]) { inside } else { !ends_message(frames[start]) };
            start += length;
            frame_end = start;
        }
        let mut message_end = frame_end;
        while inside {
            let Some((_, length)) = extent(&frames[message_end..]) else { break };
            if !is_control(frames[message_end]) {
                inside = !ends_message(frames[message_end]);
            }
            message_end += length;
        }
        let left = frames.len();
        Cut { frame: frame_end.min(left) - written, message: message_end.min(left) - written }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_use_the_shortest_length() {
        for (payload, head) in [
            (0, vec![0x82, 0]),
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (65_535, vec![0x82, 126, 0xFF, 0xFF]),
            (65_536, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            push_head(&mut out, opcode::BINARY, payload);
            assert_eq!(out, head);
        }
    }

    #[test]
    fn a_close_reason_is_cut_at_a_character() {
        let mut out = Vec::new();
        push_close(&mut out, 4008, &"ä".repeat(100));
        assert_eq!(out[..4], [0x88, 124, 0x0F, 0xA8]);
        assert_eq!(std::str::from_utf8(&out[4..]).unwrap(), "ä".repeat(61));
    }

    #[test]
    fn a_long_message_goes_in_fragments() {
        let mut out = Vec::new();
        push_message(&mut out, opcode::TEXT, true, b"abcde", 2);
        assert_eq!(out, [0x41, 2, b'a', b'b', 0x00, 2, b'c', b'd', 0x80, 1, b'e']);
        for (payload, fragment) in
            [(0, 1), (1, 1), (4, 4), (4, 0), (9, 4), (40_000, 16_384), (300, usize::MAX)]
        {
            let payload: Vec<u8> = (0..payload).map(|n| n as u8).collect();
            let mut out = Vec::new();
            push_message(&mut out, opcode::BINARY, false, &payload, fragment);
            push(&mut out, opcode::TEXT, b"next");
            let read: Vec<_> = messages(&out)
                .map(|message| (message.opcode, message.payload().collect::<Vec<_>>().concat()))
                .collect();
            assert_eq!(read, [(opcode::BINARY, payload.clone()), (opcode::TEXT, b"next".to_vec())]);
            let longest = messages(&out).next().unwrap().payload().map(<[u8]>::len).max().unwrap();
            assert_eq!(longest, payload.len().min(fragment.max(1)));
        }
    }

    /// Frames, and for each frame where it and its message end.
    fn mixed() -> (Vec<u8>, Vec<(usize, usize)>) {
        let (mut frames, mut ends) = (Vec::new(), Vec::new());
        for payload in [0, 1, 125, 126, 300, 70_000, 3] {
            push(&mut frames, opcode::BINARY, &vec![7; payload]);
            ends.push((frames.len(), frames.len()));
        }
        // A message in three fragments with a pong between them, then a whole one.
        let start = ends.len();
        for (first, payload) in [(0x01, 5), (0x8A, 3), (0x00, 200), (0x80, 4)] {
            frames.extend([first, payload]);
            if payload >= 126 {
                let at = frames.len() - 1;
                frames[at] = 126;
                frames.extend([0, payload]);
            }
            frames.extend(vec![1; payload.into()]);
            ends.push((frames.len(), 0));
        }
        let message_end = frames.len();
        ends[start..].iter_mut().for_each(|end| end.1 = message_end);
        push(&mut frames, opcode::TEXT, b"end");
        ends.push((frames.len(), frames.len()));
        (frames, ends)
    }

    #[test]
    fn where_frames_are_cut_is_found_at_every_byte() {
        let (frames, ends) = mixed();
        let starts = std::iter::once(0).chain(ends.iter().map(|(end, _)| *end));
        let spans: Vec<_> = starts.zip(&ends).collect();
        let expected = |written: usize| {
            let inside = spans.iter().find(|(start, (end, _))| *start < written && written < *end);
            match inside {
                Some((_, (frame, message))) => Cut { frame: frame - written, message: message - written },
                // At the end of a frame: its message may go on.
                None => {
                    let message =
                        ends.iter().find(|(end, _)| *end == written).map_or(written, |(_, end)| *end);
                    Cut { frame: 0, message: message - written }
                }
            }
        };
        let step = |written: usize| if (600..69_000).contains(&written) { 97 } else { 1 };
        let mut written = 0;
        while written <= frames.len() {
            let cut = Cut::after(&frames, written);
            assert_eq!(cut, expected(written), "{written}");
            // Going on from a cut is the same as beginning at the start.
            for more in [0, 1, 2, 3, 7, 200, 71_000] {
                let more = more.min(frames.len() - written);
                assert_eq!(
                    cut.further(&frames[written..], more),
                    expected(written + more),
                    "{written} + {more}"
                );
            }
            written += step(written);
        }
    }
}
