//! Compression in a shard: what many get is compressed once, what one gets refers to what it got before. It has a share of
//! the shard's time and no more: what does not find room in it goes out as it is, which permessage-deflate allows of any
//! message (RFC 7692, section 6).

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::handle::Protocol;
use crate::limits;
use crate::stats::ShardStats;
use crate::wire::deflate::{Agreed, Context, Deflater, Work};
use crate::wire::frame::{self, Message, opcode};

/// How a session's market data is written: whoever has the same gets the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Binary or JSON.
    pub protocol: Protocol,
    /// The window, 2^this bytes, of those whose messages are compressed for all of them at once; 0: they are not.
    pub window_bits: u8,
}

impl Encoding {
    /// Of that protocol, as it is.
    pub fn plain(protocol: Protocol) -> Encoding {
        Encoding { protocol, window_bits: 0 }
    }
}

/// What an operator may set about compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressionSettings {
    /// Sessions of the shard that may have a context of their own; the others share.
    pub contexts_max: usize,
    /// Percent of the shard's time that compression may take.
    pub time_percent: u32,
    /// Payload bytes of one fragment of a message that is sent in several.
    pub fragment_bytes: usize,
}

impl CompressionSettings {
    /// As they are where nothing is set.
    pub const DEFAULT: CompressionSettings = CompressionSettings {
        contexts_max: limits::DEFLATE_CONTEXTS_DEFAULT,
        time_percent: limits::DEFLATE_TIME_PERCENT,
        fragment_bytes: limits::FRAGMENT_BYTES_DEFAULT,
    };
}

/// What compressing is taken to cost.
#[derive(Clone, Copy)]
struct Cost {
    message_ns: u64,
    byte_ps: u64,
}

const SHARED_COST: Cost = Cost { message_ns: limits::DEFLATE_MESSAGE_NS, byte_ps: limits::DEFLATE_BYTE_PS };
const CONTEXT_COST: Cost =
    Cost { message_ns: limits::DEFLATE_CONTEXT_MESSAGE_NS, byte_ps: limits::DEFLATE_CONTEXT_BYTE_PS };

/// A shard's compressor.
pub struct Compressor {
    deflater: Deflater,
    settings: CompressionSettings,
    stats: Arc<CachePadded<ShardStats>>,
    /// Sessions that have a context of their own, or a place for one.
    contexts: usize,
    /// Nanoseconds of work, estimated, that it may still do.
    credit_ns: u64,
    /// Monotonic nanoseconds up to which it has been given credit.
    credited_ns: u64,
    /// What tells how long it took; only for the metrics.
    stopwatch: Box<dyn Fn() -> u64>,
    /// What [`Compressor::share`] gives back.
    shared: Vec<u8>,
    scratch: Vec<u8>,
}

impl fmt::Debug for Compressor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Compressor").field("contexts", &self.contexts).finish_non_exhaustive()
    }
}

impl Compressor {
    /// A compressor that has done nothing yet.
    pub fn new(settings: CompressionSettings, stats: Arc<CachePadded<ShardStats>>) -> Compressor {
        Compressor {
            deflater: Deflater::default(),
            settings,
            stats,
            contexts: 0,
            credit_ns: limits::DEFLATE_CREDIT_NS_MAX,
            credited_ns: 0,
            stopwatch: Box::new(|| 0),
            shared: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Counts its time with this, in nanoseconds.
    pub fn set_stopwatch(&mut self, stopwatch: Box<dyn Fn() -> u64>) {
        self.stopwatch = stopwatch;
    }

    /// Time has passed: it may work for its share of it.
    pub fn credit(&mut self, now_ns: u64) {
        let earned = now_ns.saturating_sub(self.credited_ns) / 100 * u64::from(self.settings.time_percent);
        self.credited_ns = self.credited_ns.max(now_ns);
        self.credit_ns = (self.credit_ns + earned).min(limits::DEFLATE_CREDIT_NS_MAX);
    }

    /// Whole frames with each message compressed where that pays, for all who have that window. `None` where they are to
    /// be sent as they are.
    pub fn share(&mut self, frames: &[u8], window_bits: u8) -> Option<&[u8]> {
        // Most batches are short: nothing is done for them.
        if frames.len() < limits::DEFLATE_BYTES_MIN {
            return None;
        }
        let (before_ns, mut work) = ((self.stopwatch)(), Work::default());
        let mut out = std::mem::take(&mut self.shared);
        out.clear();
        // A burst's memory goes back.
        out.shrink_to(limits::FLUSH_BYTES_KEPT);
        for message in frame::messages(frames) {
            let mut done = Work::default();
            if is_worth(&message, limits::DEFLATE_BYTES_MIN) && self.has_time(&message, SHARED_COST) {
                done = self.deflater.push(&mut out, &message, window_bits, self.settings.fragment_bytes);
            }
            if !done.pays() {
                out.extend_from_slice(message.frames);
            }
            work += done;
        }
        self.count(before_ns, work);
        self.shared = out;
        work.pays().then_some(&self.shared)
    }

    /// Whether there is time to compress a message; then it is taken.
    fn has_time(&mut self, message: &Message<'_>, cost: Cost) -> bool {
        let cost_ns = cost.message_ns + message.payload_bytes as u64 * cost.byte_ps / 1_000;
        match self.credit_ns.checked_sub(cost_ns) {
            Some(rest) => self.credit_ns = rest,
            None => {
                self.stats.deflate_skipped_bytes.add(message.payload_bytes as u64);
                return false;
            }
        }
        true
    }

    fn count(&self, before_ns: u64, work: Work) {
        self.stats.deflate_messages.add(work.messages);
        self.stats.deflate_bytes_in.add(work.bytes_in);
        self.stats.deflate_bytes_out.add(work.bytes_out);
        self.stats.deflate_ns.add((self.stopwatch)().saturating_sub(before_ns));
    }
}

/// Whether compressing a message is worth its time: it is data of so many bytes, and not compressed already.
fn is_worth(message: &Message<'_>, bytes_min: usize) -> bool {
    message.payload_bytes >= bytes_min
        && !message.is_compressed
        && matches!(message.opcode, opcode::TEXT | opcode::BINARY)
}

/// A session's own stream of compressed messages. What it needs is allocated with the first message, and given back with
/// the session.
#[derive(Debug)]
pub struct Dedicated {
    compressor: Rc<RefCell<Compressor>>,
    window_bits: u8,
    context: Option<Context>,
}

impl Dedicated {
    /// A place for a context, where one is left and the client lets what it is sent refer back.
    pub fn take(compressor: &Rc<RefCell<Compressor>>, agreed: Agreed) -> Option<Dedicated> {
        let mut shared = compressor.borrow_mut();
        if !agreed.takeover || shared.contexts >= shared.settings.contexts_max {
            return None;
        }
        shared.contexts += 1;
        shared.stats.deflate_contexts.set(shared.contexts as u64);
        drop(shared);
        // A larger window finds little more in messages that look alike, and costs memory for every session.
        let window_bits = agreed.window_bits.min(limits::DEFLATE_CONTEXT_WINDOW_BITS);
        Some(Dedicated { compressor: compressor.clone(), window_bits, context: None })
    }

    /// Appends whole frames to `out`, compressed where that pays. They must be sent, in this order.
    pub fn push(&mut self, frames: &[u8], out: &mut Vec<u8>) {
        let mut shared = self.compressor.borrow_mut();
        let shared = &mut *shared;
        let before_ns = (shared.stopwatch)();
        let mut work = Work::default();
        for message in frame::messages(frames) {
            if is_worth(&message, limits::DEFLATE_CONTEXT_BYTES_MIN)
                && shared.has_time(&message, CONTEXT_COST)
            {
                let context = self.context.get_or_insert_with(|| Context::new(self.window_bits));
                work += context.push(out, &message, shared.settings.fragment_bytes, &mut shared.scratch);
            } else {
                out.extend_from_slice(message.frames);
            }
        }
        shared.scratch.shrink_to(limits::FLUSH_BYTES_KEPT);
        shared.count(before_ns, work);
    }
}

impl Drop for Dedicated {
    fn drop(&mut self) {
        let mut shared = self.compressor.borrow_mut();
        shared.contexts -= 1;
        shared.stats.deflate_contexts.set(shared.contexts as u64);
    }
}
