//! A topic: one view of one stream, encoded once for all who subscribe to it.

use super::compressor::Encoding;
use super::handle::Protocol;
use super::market::Stamp;
use super::shared::Shared;
use super::tally::Tally;
use super::window::Window;
use crate::limits;
use crate::model::{Channel, Instrument, Period};
use crate::stats::ShardStats;
use crate::wire::message::{Content, Meta};
use crate::wire::{frame, json, market};

/// Number of a session in its shard.
pub type SessionId = usize;

/// What an emission needs to know beside the message.
pub struct Emission<'a> {
    /// Whose stream it is.
    pub instrument: &'a Instrument,
    /// The instrument's number.
    pub id: u32,
    /// The epoch of the message's sequences.
    pub epoch: u64,
    /// Where it is counted.
    pub stats: &'a ShardStats,
}

/// What part of a stream is shown, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Levels a side; `None`: all, or no book.
    pub depth: Option<u32>,
    /// Milliseconds between updates; 0: each at once.
    pub interval_ms: u32,
    /// Length of the bars; `None`: the channel is another.
    pub period: Option<Period>,
}

impl View {
    /// Whether it shows every event of its stream: only then can what was missed be told event by event.
    pub fn is_whole(&self) -> bool {
        *self == View::default()
    }
}

/// One view of one stream, in every encoding that somebody takes.
///
/// Every live subscriber has been handed everything up to `last`, and nothing else: so whoever joins, or comes back,
/// takes the view as it was last emitted.
#[derive(Debug)]
pub struct Topic {
    /// Position of the instrument in the catalog.
    pub instrument: u32,
    /// The channel.
    pub channel: Channel,
    /// What is shown of it.
    pub view: View,
    /// The event that the last emission ended with: where a joiner starts.
    pub last: Stamp,
    /// What the subscribers of a depth view hold; kept only while there are some.
    pub window: Option<Box<Window>>,
    /// The state last emitted, where an interval lets the market run ahead of it (quotes and ticker).
    pub shown: Option<Content<'static>>,
    /// Sessions that have subscribed, live or not.
    pub references: usize,
    /// Whether the topic stands in the list of those that have something to send.
    pub is_dirty: bool,
    /// Whether it waits for the end of its interval.
    pub is_due: bool,
    /// What became of the sequences emitted so far.
    pub total: Tally,
    /// The part of `total` that has not been handed over.
    batch: Tally,
    /// Up to where everything has been handed over.
    start: u64,
    /// Updates of a book since the last one with a checksum.
    unchecked: u32,
    /// Binary messages that one frame may hold.
    frame_messages: u16,
    lanes: [Lane; 2],
}

/// A topic in one protocol.
#[derive(Debug, Default)]
struct Lane {
    /// Those who get it as it is.
    subscribers: Vec<SessionId>,
    /// Those who get it compressed; none without subscribers. Most topics have one at the most.
    compressed: Vec<Compressed>,
    /// Whole frames of this batch, and in binary one that is still being written.
    run: Vec<u8>,
    /// Where the binary frame that is being written starts, and how many messages it has.
    open: Option<(usize, u16)>,
    messages: u64,
    /// Whole frames in `run`.
    frames: u64,
    /// The snapshot as of a sequence, for all who ask at that sequence.
    snapshot: Option<Box<Snapshot>>,
}

/// Who gets a topic compressed, with one window.
#[derive(Debug)]
struct Compressed {
    window_bits: u8,
    subscribers: Vec<SessionId>,
}

/// A snapshot as of a sequence, by the window it was compressed for (0: as it is).
#[derive(Debug)]
struct Snapshot {
    seq: u64,
    frames: Vec<(u8, Frames)>,
}

/// Whole frames, shared by whoever gets them.
#[derive(Clone, Debug)]
pub struct Frames {
    /// The frames back to back.
    pub bytes: Shared,
    /// How many WebSocket messages they are.
    pub count: u64,
}

/// One topic's frames of one batch in one encoding: a part of a buffer.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Where they start and end there.
    pub start: usize,
    pub end: usize,
    /// How many frames they are.
    pub frames: u64,
    /// How many messages are in them.
    pub messages: u64,
}

impl Topic {
    /// A topic without subscribers.
    pub fn new(instrument: u32, channel: Channel, view: View, frame_messages: u16) -> Topic {
        Topic {
            instrument,
            channel,
            view,
            last: Stamp::default(),
            window: None,
            shown: None,
            references: 0,
            is_dirty: false,
            is_due: false,
            total: Tally::default(),
            batch: Tally::default(),
            start: 0,
            unchecked: 0,
            frame_messages,
            lanes: Default::default(),
        }
    }

    /// Takes the present for what was last emitted: nobody is live.
    pub fn begin(&mut self, stamp: Stamp) {
        self.last = stamp;
        self.start = stamp.seq;
        // The first update has a checksum: who comes back without having missed anything has gone some without.
        self.unchecked = limits::CHECKSUM_UPDATES - 1;
        // Nobody has the state that an earlier snapshot was of.
        self.lanes.iter_mut().for_each(|lane| lane.snapshot = None);
    }

    /// Whether anybody is to be sent what is emitted.
    pub fn is_live(&self) -> bool {
        self.subscribers() > 0
    }

    /// How many are sent what is emitted.
    pub fn subscribers(&self) -> usize {
        self.lanes.iter().map(Lane::subscribers).sum()
    }

    /// Adds a subscriber; returns its position, which [`Topic::remove`] wants back.
    pub fn add(&mut self, encoding: Encoding, session: SessionId) -> usize {
        let subscribers = self.lanes[encoding.protocol as usize].list(encoding.window_bits);
        subscribers.push(session);
        subscribers.len() - 1
    }

    /// Removes the subscriber at a position. The last one takes its place and is returned: its position has changed.
    pub fn remove(&mut self, encoding: Encoding, position: usize) -> Option<SessionId> {
        let lane = &mut self.lanes[encoding.protocol as usize];
        let subscribers = lane.list(encoding.window_bits);
        subscribers.swap_remove(position);
        let moved = subscribers.get(position).copied();
        lane.compressed.retain(|compressed| !compressed.subscribers.is_empty());
        moved
    }

    /// The checksum of the book that its subscribers hold, where the next update is to carry it: each
    /// [`limits::CHECKSUM_UPDATES`]th. `whole` is that of the whole book.
    pub fn checksum_if_due(&mut self, whole: impl FnOnce() -> u32) -> Option<u32> {
        self.unchecked = (self.unchecked + 1) % limits::CHECKSUM_UPDATES;
        (self.unchecked == 0).then(|| self.window.as_deref().map_or_else(whole, Window::checksum))
    }

    /// Encodes one message, once for each encoding that somebody wants, and appends it to this batch.
    ///
    /// Inlined, so that `meta` stays in registers: written field by field and read back as a whole it would wait for
    /// every store before it, the history's among them, which goes to cold memory (`docs/performance.md`).
    #[inline(always)]
    pub fn emit(&mut self, to: &Emission<'_>, meta: &Meta, content: &Content<'_>) {
        self.batch += Tally::of_message(self.last.seq, meta, content);
        self.last = Stamp { seq: meta.last_seq, ts_ns: meta.ts_ns, sent_ns: meta.sent_ns };
        for (protocol, lane) in [Protocol::Binary, Protocol::Json].into_iter().zip(&mut self.lanes) {
            // What is emitted makes it old.
            lane.snapshot = None;
            if lane.is_unwanted() {
                continue;
            }
            match protocol {
                Protocol::Binary => {
                    lane.append_binary(self.channel, to, meta, content, self.frame_messages);
                }
                Protocol::Json => {
                    append_json(&mut lane.run, to, meta, content, usize::MAX);
                    lane.frames += 1;
                }
            }
            lane.messages += 1;
            to.stats.encodes.add(1);
        }
    }

    /// What was emitted since the last [`Topic::end_batch`]: what became of its sequences, and the last one before it.
    pub fn batch(&self) -> (Tally, u64) {
        (self.batch, self.start)
    }

    /// Who is sent what was emitted in an encoding.
    pub fn takers(&self, encoding: Encoding) -> &[SessionId] {
        let lane = &self.lanes[encoding.protocol as usize];
        if encoding.window_bits == 0 {
            return &lane.subscribers;
        }
        let same = lane.compressed.iter().find(|compressed| compressed.window_bits == encoding.window_bits);
        same.map_or(&[], |compressed| &compressed.subscribers)
    }

    /// The windows that what was emitted is to be compressed for.
    pub fn windows(&self, protocol: Protocol) -> impl Iterator<Item = u8> {
        self.lanes[protocol as usize].compressed.iter().map(|compressed| compressed.window_bits)
    }

    /// Moves what was emitted in an encoding to the end of a buffer; `None` where nothing was.
    pub fn take_run(&mut self, protocol: Protocol, buffer: &mut Vec<u8>) -> Option<Run> {
        let lane = &mut self.lanes[protocol as usize];
        lane.finish_frame(usize::MAX);
        if lane.run.is_empty() {
            return None;
        }
        let start = buffer.len();
        buffer.extend_from_slice(&lane.run);
        lane.run.clear();
        // A burst's memory goes back, a steady stream's stays.
        lane.run.shrink_to(limits::TOPIC_BYTES_KEPT);
        let [messages, frames] = [&mut lane.messages, &mut lane.frames].map(std::mem::take);
        Some(Run { start, end: buffer.len(), frames, messages })
    }

    /// Ends the batch: its runs have been taken.
    pub fn end_batch(&mut self) {
        self.total += std::mem::take(&mut self.batch);
        self.start = self.last.seq;
        self.is_dirty = false;
    }

    /// The cached snapshot, if it is of that sequence.
    pub fn snapshot(&self, encoding: Encoding, seq: u64) -> Option<Frames> {
        let snapshot = self.lanes[encoding.protocol as usize].snapshot.as_deref()?;
        let mut cached = snapshot.frames.iter().filter(|_| snapshot.seq == seq);
        cached.find(|(bits, _)| *bits == encoding.window_bits).map(|(_, frames)| frames.clone())
    }

    /// Keeps a snapshot for the next who asks at the same sequence.
    pub fn keep_snapshot(&mut self, encoding: Encoding, seq: u64, frames: Frames) {
        let kept = &mut self.lanes[encoding.protocol as usize].snapshot;
        if kept.as_ref().is_none_or(|snapshot| snapshot.seq != seq) {
            *kept = Some(Box::new(Snapshot { seq, frames: Vec::new() }));
        }
        if let Some(snapshot) = kept {
            snapshot.frames.push((encoding.window_bits, frames));
        }
    }

    /// History begins anew: sequences from 0, nothing emitted, no snapshot.
    pub fn reset(&mut self) {
        self.begin(Stamp::default());
        self.window =
            self.window.take().and(self.view.depth).map(|depth| Box::new(Window::new(depth as usize)));
        self.shown = None;
        self.is_due = false;
    }
}

impl Lane {
    fn subscribers(&self) -> usize {
        self.compressed.iter().map(|compressed| compressed.subscribers.len()).sum::<usize>()
            + self.subscribers.len()
    }

    fn is_unwanted(&self) -> bool {
        self.subscribers.is_empty() && self.compressed.is_empty()
    }

    /// The subscribers with that window; 0: those who get it as it is.
    fn list(&mut self, window_bits: u8) -> &mut Vec<SessionId> {
        if window_bits == 0 {
            return &mut self.subscribers;
        }
        let same = self.compressed.iter().position(|compressed| compressed.window_bits == window_bits);
        let at = same.unwrap_or_else(|| {
            self.compressed.push(Compressed { window_bits, subscribers: Vec::new() });
            self.compressed.len() - 1
        });
        &mut self.compressed[at].subscribers
    }

    fn append_binary(
        &mut self,
        channel: Channel,
        to: &Emission<'_>,
        meta: &Meta,
        content: &Content<'_>,
        most: u16,
    ) {
        let (start, messages) = self.open.unwrap_or_else(|| {
            let start = self.run.len();
            self.run.extend_from_slice(&[0; HEAD_BYTES]);
            market::begin_frame(&mut self.run, channel, to.id, to.epoch);
            (start, 0)
        });
        market::encode(&mut self.run, meta, content);
        self.open = Some((start, messages + 1));
        if self.run.len() - start - HEAD_BYTES >= limits::FRAME_BYTES || messages + 1 >= most {
            self.finish_frame(usize::MAX);
        }
    }

    /// Puts the WebSocket head in front of the binary frame that is being written; more than `fragment` bytes go in
    /// several.
    fn finish_frame(&mut self, fragment: usize) {
        if let Some((start, messages)) = self.open.take() {
            market::finish_frame(&mut self.run, start + HEAD_BYTES, messages);
            frame_payload(&mut self.run, start, frame::opcode::BINARY, fragment);
            self.frames += 1;
        }
    }
}

/// Bytes kept free in front of a payload: the head of a short frame. A longer frame's payload is moved by the rest.
const HEAD_BYTES: usize = 2;

/// Makes everything from `start` on, behind [`HEAD_BYTES`], the payload of one frame, or of several with at most `fragment`
/// bytes each.
fn frame_payload(run: &mut Vec<u8>, start: usize, opcode: u8, fragment: usize) {
    let payload = run.len() - start - HEAD_BYTES;
    if payload > fragment {
        let payload = run.split_off(start + HEAD_BYTES);
        run.truncate(start);
        return frame::push_message(run, opcode, false, &payload, fragment);
    }
    let (head, length) = frame::head(opcode, payload);
    if length > HEAD_BYTES {
        let end = run.len();
        run.resize(end + length - HEAD_BYTES, 0);
        run.copy_within(start + HEAD_BYTES..end, start + length);
    }
    run[start..start + length].copy_from_slice(&head[..length]);
}

/// Appends one message as one text frame.
fn append_json(run: &mut Vec<u8>, to: &Emission<'_>, meta: &Meta, content: &Content<'_>, fragment: usize) {
    let start = run.len();
    run.extend_from_slice(&[0; HEAD_BYTES]);
    json::encode(run, to.instrument, meta, content);
    frame_payload(run, start, frame::opcode::TEXT, fragment);
}

/// Encodes messages as whole frames, for one session or a snapshot for some. Binary messages share frames, the parts of
/// a snapshot do not: other frames may go between them, and control frames also between the fragments, of at most
/// `fragment` bytes, that they come in.
pub fn encode_frames<'a>(
    protocol: Protocol,
    to: &Emission<'_>,
    messages: impl Iterator<Item = (Meta, Content<'a>)>,
    fragment: usize,
) -> Frames {
    let mut lane = Lane::default();
    for (meta, content) in messages {
        match protocol {
            Protocol::Binary => {
                lane.append_binary(content.channel(), to, &meta, &content, u16::MAX);
                if meta.snapshot {
                    lane.finish_frame(fragment);
                }
            }
            Protocol::Json => {
                append_json(&mut lane.run, to, &meta, &content, fragment);
                lane.frames += 1;
            }
        }
    }
    lane.finish_frame(fragment);
    Frames { bytes: lane.run.into(), count: lane.frames }
}
