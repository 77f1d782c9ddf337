//! permessage-deflate (RFC 7692): messages compressed and inflated. What is agreed on is in `deflate/offer.rs`.
//!
//! A server's compressed message is the same for everybody who gets it, as long as it refers to no message before it: so
//! [`Deflater`] compresses once for all. [`Context`] belongs to one client and refers back.

use std::ops::AddAssign;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::frame::{self, Message};
use super::guard::{Rules, Violation};
use crate::limits;

mod offer;

pub use offer::{Agreed, Mode, OfferError, WINDOW_BITS_MAX, WINDOW_BITS_MIN, agree};

/// What a flushed DEFLATE stream ends with, and what a message leaves out (section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// An empty block that ends a stream: it is read as that only where another block may begin.
const FINAL: [u8; 2] = [0x03, 0x00];

/// The fastest level: the next one costs twice the time for a few percent.
const LEVEL: u32 = 1;

/// Room that is made at a time, beside what the input needs.
const ROOM_BYTES: usize = 64;

/// What a compressor has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Messages compressed.
    pub messages: u64,
    /// Bytes of their payload before.
    pub bytes_in: u64,
    /// And after; the same where compressing did not make them fewer.
    pub bytes_out: u64,
}

impl Work {
    /// Whether anything became shorter.
    pub fn pays(&self) -> bool {
        self.bytes_out < self.bytes_in
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, more: Work) {
        self.messages += more.messages;
        self.bytes_in += more.bytes_in;
        self.bytes_out += more.bytes_out;
    }
}

/// Compresses messages each by itself (`server_no_context_takeover`), whoever they are for.
#[derive(Debug, Default)]
pub struct Deflater {
    /// One a window, made when it is first used: some 300 KiB each.
    windows: [Option<Compress>; (WINDOW_BITS_MAX - WINDOW_BITS_MIN) as usize + 1],
    scratch: Vec<u8>,
}

impl Deflater {
    /// Compresses a message for clients whose window has 2^`window_bits` bytes and appends it to `out`, in fragments of at
    /// most `fragment` bytes; nothing is appended where that [does not pay](Work::pays).
    pub fn push(
        &mut self,
        out: &mut Vec<u8>,
        message: &Message<'_>,
        window_bits: u8,
        fragment: usize,
    ) -> Work {
        // No reference leaves the message: one that fits into the smaller window is the same with the largest.
        let fits = message.payload_bytes <= 1 << window_bits;
        let bits = if fits { WINDOW_BITS_MAX } else { window_bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX) };
        let compress =
            self.windows[usize::from(bits - WINDOW_BITS_MIN)].get_or_insert_with(|| compressor(bits));
        compress.reset();
        self.scratch.clear();
        let is_done = squeeze(compress, message, &mut self.scratch);
        let shortest =
            if is_done { self.scratch.len().min(message.payload_bytes) } else { message.payload_bytes };
        let work = Work { messages: 1, bytes_in: message.payload_bytes as u64, bytes_out: shortest as u64 };
        if work.pays() {
            frame::push_message(out, message.opcode, true, &self.scratch, fragment);
        }
        // A burst's memory goes back.
        self.scratch.shrink_to(limits::FLUSH_BYTES_KEPT);
        work
    }
}

/// Compresses the messages of one client, each with what went before in view.
#[derive(Debug)]
pub struct Context {
    compress: Compress,
}

impl Context {
    /// The start of a stream for a client whose window has 2^`window_bits` bytes.
    pub fn new(window_bits: u8) -> Context {
        Context { compress: compressor(window_bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX)) }
    }

    /// Compresses a message and appends it to `out`, in fragments of at most `fragment` bytes. It must be sent, in this
    /// order: what comes later may refer to it. `scratch` is room.
    pub fn push(
        &mut self,
        out: &mut Vec<u8>,
        message: &Message<'_>,
        fragment: usize,
        scratch: &mut Vec<u8>,
    ) -> Work {
        scratch.clear();
        if squeeze(&mut self.compress, message, scratch) {
            frame::push_message(out, message.opcode, true, scratch, fragment);
            let (bytes_in, bytes_out) = (message.payload_bytes as u64, scratch.len() as u64);
            Work { messages: 1, bytes_in, bytes_out }
        } else {
            // Nothing refers to what failed once the stream begins anew.
            self.compress.reset();
            out.extend_from_slice(message.frames);
            Work::default()
        }
    }
}

fn compressor(window_bits: u8) -> Compress {
    Compress::new_with_window_bits(Compression::new(LEVEL), false, window_bits)
}

/// Appends a message's payload, compressed and without [`TAIL`]; `false` where the compressor failed, which it has no
/// reason to.
fn squeeze(compress: &mut Compress, message: &Message<'_>, out: &mut Vec<u8>) -> bool {
    for piece in message.payload() {
        let mut rest = piece;
        while !rest.is_empty() {
            out.reserve(rest.len() / 2 + ROOM_BYTES);
            let before = compress.total_in();
            if compress.compress_vec(rest, out, FlushCompress::None).is_err() {
                return false;
            }
            rest = &rest[(compress.total_in() - before) as usize..];
        }
    }
    loop {
        out.reserve(ROOM_BYTES);
        if compress.compress_vec(&[], out, FlushCompress::Sync).is_err() {
            return false;
        }
        // What is left of the room was not needed: all is out.
        if out.len() < out.capacity() {
            break;
        }
    }
    let is_whole = out.ends_with(&TAIL);
    out.truncate(out.len().saturating_sub(TAIL.len()));
    is_whole
}

/// Inflates the messages of any client, each by itself (`client_no_context_takeover`).
#[derive(Debug, Default)]
pub struct Inflater {
    /// Made when it is first used: some 40 KiB.
    decompress: Option<Box<Decompress>>,
}

impl Inflater {
    /// The payload of a compressed message. Holds at most [`Rules::bytes`] and one more while it works, however much there
    /// would be.
    ///
    /// # Errors
    /// More than [`Rules::bytes`]; more than [`Rules::inflate_ratio`] times what went in, beyond
    /// [`limits::INFLATE_FREE_BYTES`]; or no DEFLATE data.
    pub fn inflate(&mut self, message: &[u8], rules: &Rules) -> Result<Vec<u8>, Violation> {
        let decompress = self.decompress.get_or_insert_with(|| Box::new(Decompress::new(false)));
        decompress.reset(false);
        let mut out = Vec::new();
        // A stream that has ended, or not begun, has no block open that the tail would be a part of.
        let mut is_open = false;
        for (input, is_wanted) in [(message, true), (&TAIL[..], false)] {
            let mut rest = if is_wanted || is_open { input } else { &[] };
            while !rest.is_empty() {
                make_room(&mut out, message.len(), rules)?;
                let (before_in, before_out) = (decompress.total_in(), out.len());
                let status = decompress
                    .decompress_vec(rest, &mut out, FlushDecompress::None)
                    .map_err(|_| Violation::NotDeflate)?;
                let used = (decompress.total_in() - before_in) as usize;
                rest = &rest[used..];
                match status {
                    // A final block ends no message: another may follow (section 7.2.3.4).
                    Status::StreamEnd => {
                        decompress.reset(false);
                        is_open = false;
                    }
                    _ if used == 0 && out.len() == before_out => return Err(Violation::NotDeflate),
                    _ => is_open = true,
                }
            }
        }
        // What the last input had no room for; the last bytes may have been too many.
        loop {
            make_room(&mut out, message.len(), rules)?;
            let before = out.len();
            // At the end of its input it says that it cannot go on.
            let _ = decompress.decompress_vec(&[], &mut out, FlushDecompress::None);
            if out.len() == before {
                break;
            }
        }
        // What was cut within a block took the tail for a part of it.
        let mut nothing = [0];
        let status = decompress.decompress(&FINAL, &mut nothing, FlushDecompress::None);
        let is_whole = matches!(status, Ok(Status::StreamEnd));
        if is_whole { Ok(out) } else { Err(Violation::NotDeflate) }
    }
}

/// Room for more of a message that has `message` bytes compressed, where it may have more: a byte beyond the limit shows
/// that it is over.
fn make_room(out: &mut Vec<u8>, message: usize, rules: &Rules) -> Result<(), Violation> {
    let (length, bytes_max) = (out.len() as u64, rules.bytes);
    if length > bytes_max {
        return Err(Violation::MessageTooLong(bytes_max));
    }
    let ratio_max = u64::from(rules.inflate_ratio);
    if out.len() > limits::INFLATE_FREE_BYTES && length > message as u64 * ratio_max {
        return Err(Violation::InflatesTooMuch(rules.inflate_ratio));
    }
    if out.len() == out.capacity() {
        let more = out.len().max(1_024) as u64;
        out.reserve_exact(more.min(bytes_max + 1 - length) as usize);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
