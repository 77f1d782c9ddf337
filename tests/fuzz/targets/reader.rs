//! What a client sends after the handshake, through the guard and the frame parser, cut at places taken from the input.
//!
//! Input: flags (1 deflate, 2 binary, 4 framed), which limit, four cuts, then the stream; or, framed, what to make
//! frames of: a frame's first byte, its length, its payload.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use tickcast::shard::{Incoming, Reader};
use tickcast::wire::guard::{Rules, opcode};
use tokio::io::{AsyncRead, ReadBuf};

const LIMITS: [u64; 6] = [0, 1, 125, 300, 4_096, 65_536];
const FRAGMENTS: u32 = 8;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// Streams up to here are read byte by byte as well.
const BYTE_BY_BYTE_MAX: usize = 512;

pub fn run(data: &[u8]) {
    let Some((&[flags, limit, a, b, c, d], rest)) = data.split_first_chunk() else { return };
    let rules = Rules {
        bytes: LIMITS[usize::from(limit) % LIMITS.len()],
        fragments: FRAGMENTS,
        deflate: flags & 1 != 0,
        binary: flags & 2 != 0,
        ..Rules::default()
    };
    let frames = if flags & 4 != 0 { frames(rest) } else { Vec::new() };
    let framed: Vec<u8> = frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect();
    let stream = if flags & 4 != 0 { &framed } else { rest };

    let whole = read(&[], &[stream], rules);
    is_within_rules(&whole, rules);
    let mut cuts = [a, b, c, d].map(|cut| usize::from(cut) * stream.len() / 255);
    cuts.sort_unstable();
    let mut pieces = Vec::new();
    let mut from = 0;
    for cut in cuts {
        pieces.push(&stream[from..cut]);
        from = cut;
    }
    pieces.push(&stream[from..]);
    assert_eq!(read(&[], &pieces, rules), whole, "cut at {cuts:?}");
    assert_eq!(read(pieces[0], &pieces[1..], rules), whole, "{} bytes read ahead", pieces[0].len());
    if stream.len() <= BYTE_BY_BYTE_MAX {
        let bytes: Vec<_> = stream.chunks(1).collect();
        assert_eq!(read(&[], &bytes, rules), whole, "byte by byte");
    }
    if flags & 4 != 0 && whole.last() == Some(&Incoming::Eof) {
        is_as_meant(&frames, &whole);
    }
}

/// Gives one piece a read and is not ready before each; then it ends.
struct Pieces<'a> {
    pieces: VecDeque<&'a [u8]>,
    is_ready: bool,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.is_ready = !self.is_ready;
        if self.is_ready {
            return Poll::Pending;
        }
        if let Some(piece) = self.pieces.pop_front() {
            let (now, later) = piece.split_at(piece.len().min(out.remaining()));
            out.put_slice(now);
            if !later.is_empty() {
                self.pieces.push_front(later);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Reads to the end, whatever kind of end it is. Each wait is given up and begun anew: `next` loses nothing by it.
fn read(read_ahead: &[u8], pieces: &[&[u8]], rules: Rules) -> Vec<Incoming> {
    let pieces = pieces.iter().copied().filter(|piece| !piece.is_empty()).collect();
    let stream = Pieces { pieces, is_ready: false };
    let mut reader = Reader::new(stream, Bytes::copy_from_slice(read_ahead), rules, Rc::default());
    let mut all = Vec::new();
    loop {
        let Some(incoming) = reader.next().now_or_never() else { continue };
        let is_end = matches!(incoming, Incoming::Eof | Incoming::Violation(_));
        if is_end && incoming != Incoming::Eof {
            assert_eq!(reader.next().now_or_never(), Some(incoming.clone()), "a violation stays");
        }
        all.push(incoming);
        if is_end {
            return all;
        }
    }
}

fn is_within_rules(all: &[Incoming], rules: Rules) {
    for incoming in all {
        match incoming {
            Incoming::Text(text) => assert!(text.len() as u64 <= rules.bytes),
            Incoming::Binary(bytes) => assert!(rules.binary && bytes.len() as u64 <= rules.bytes),
            Incoming::Ping(payload) | Incoming::Pong(payload) => assert!(payload.len() <= 125),
            Incoming::Close(Some((code, reason))) => assert!(*code >= 1000 && reason.len() <= 123),
            Incoming::Violation(violation) => {
                assert!(violation.to_string().len() <= 123, "it is the reason of a close");
                assert!([1002, 1003, 1007, 1009].contains(&violation.code()));
            }
            Incoming::Close(None) | Incoming::Eof => {}
        }
    }
}

/// First bytes and payloads of frames.
fn frames(mut rest: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    while let [first, length, behind @ ..] = rest {
        let length = match *length {
            short @ 0..200 => usize::from(short),
            long => (usize::from(long) - 199) * 32,
        };
        let (payload, behind) = behind.split_at(length.min(behind.len()));
        frames.push((*first, payload));
        rest = behind;
    }
    frames
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..126 => bytes.push(0x80 | n as u8),
        n => {
            bytes.push(0x80 | 126);
            bytes.extend((n as u16).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// Of frames that all passed: each message is its fragments one after the other, control frames come where they stood.
fn is_as_meant(frames: &[(u8, &[u8])], all: &[Incoming]) {
    let mut all = all.iter();
    let (mut message, mut begun) = (Vec::new(), 0);
    for (first, payload) in frames {
        let is_meant = match first & 0x0F {
            opcode::PING => all.next() == Some(&Incoming::Ping(payload.to_vec())),
            opcode::PONG => all.next() == Some(&Incoming::Pong(payload.to_vec())),
            opcode::CLOSE => match (all.next(), payload.split_first_chunk()) {
                (Some(Incoming::Close(None)), None) => true,
                (Some(Incoming::Close(Some((code, reason)))), Some((sent, rest))) => {
                    *code == u16::from_be_bytes(*sent) && reason.as_bytes() == rest
                }
                _ => false,
            },
            data => {
                if data != opcode::CONTINUATION {
                    begun = *first;
                }
                message.extend_from_slice(payload);
                if first & 0x80 == 0 {
                    continue;
                }
                let (message, is_compressed) = (std::mem::take(&mut message), begun & 0x40 != 0);
                match all.next() {
                    Some(Incoming::Text(text)) if begun & 0x0F == opcode::TEXT => {
                        is_compressed || text.as_bytes() == message
                    }
                    Some(Incoming::Binary(bytes)) if begun & 0x0F == opcode::BINARY => {
                        is_compressed || *bytes == message
                    }
                    _ => false,
                }
            }
        };
        assert!(is_meant, "frame {first:#04x} with {payload:02x?}");
    }
    assert_eq!(all.next(), Some(&Incoming::Eof));
}
