//! A topic: one view of one stream, encoded once for all who subscribe to it.

use bytes::Bytes;

use super::handle::Protocol;
use super::market::Stamp;
use super::window::Window;
use crate::limits;
use crate::model::{Channel, Instrument};
use crate::stats::ShardStats;
use crate::wire::message::{Content, Meta};
use crate::wire::{frame, json, market, message};

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

/// One view of one stream: (instrument, channel, depth), in both encodings.
#[derive(Debug)]
pub struct Topic {
    /// Position of the instrument in the catalog.
    pub instrument: u32,
    /// The channel.
    pub channel: Channel,
    /// Levels a side that the view shows; `None`: all, or no book.
    pub depth: Option<u32>,
    /// The event that the last emission ended with: where a joiner starts.
    pub last: Stamp,
    /// What the subscribers of a depth view hold; kept only while there are some.
    pub window: Option<Window>,
    /// Sessions that have subscribed, live or still waiting for their snapshot.
    pub references: usize,
    /// Whether the topic stands in the list of those that have something to send.
    pub is_dirty: bool,
    lanes: [Lane; 2],
}

/// A topic in one encoding.
#[derive(Debug, Default)]
struct Lane {
    subscribers: Vec<SessionId>,
    /// Whole frames of this batch, and in binary one that is still being written.
    run: Vec<u8>,
    /// Where the binary frame that is being written starts, and how many messages it has.
    open: Option<(usize, u16)>,
    messages: u64,
    carried: u64,
    merged: u64,
    /// The snapshot as of a sequence, for all who ask at that sequence.
    snapshot: Option<(u64, Bytes)>,
}

/// One topic's frames of one batch, for one encoding.
pub struct Run<'a> {
    /// Whole frames.
    pub frames: Bytes,
    /// How many messages are in them.
    pub messages: u64,
    /// How many sequences the messages carry.
    pub carried: u64,
    /// How many sequences the messages cover without carrying them.
    pub merged: u64,
    /// Who gets them.
    pub subscribers: &'a [SessionId],
}

impl Topic {
    /// A topic without subscribers.
    pub fn new(instrument: u32, channel: Channel, depth: Option<u32>) -> Topic {
        Topic {
            instrument,
            channel,
            depth,
            last: Stamp::default(),
            window: None,
            references: 0,
            is_dirty: false,
            lanes: Default::default(),
        }
    }

    /// Whether anybody is to be sent what is emitted.
    pub fn is_live(&self) -> bool {
        self.subscribers() > 0
    }

    /// How many are sent what is emitted.
    pub fn subscribers(&self) -> usize {
        self.lanes.iter().map(|lane| lane.subscribers.len()).sum()
    }

    /// Adds a subscriber; returns its position, which [`Topic::remove`] wants back.
    pub fn add(&mut self, protocol: Protocol, session: SessionId) -> usize {
        let subscribers = &mut self.lanes[protocol as usize].subscribers;
        subscribers.push(session);
        subscribers.len() - 1
    }

    /// Removes the subscriber at a position. The last one takes its place and is returned: its position has changed.
    pub fn remove(&mut self, protocol: Protocol, position: usize) -> Option<SessionId> {
        let subscribers = &mut self.lanes[protocol as usize].subscribers;
        subscribers.swap_remove(position);
        subscribers.get(position).copied()
    }

    /// Encodes one message, once for each encoding that somebody wants, and appends it to this batch.
    pub fn emit(&mut self, to: &Emission<'_>, meta: &Meta, content: &Content<'_>) {
        self.last = Stamp { seq: meta.last_seq, ts_ns: meta.ts_ns, sent_ns: meta.sent_ns };
        for (protocol, lane) in [Protocol::Binary, Protocol::Json].into_iter().zip(&mut self.lanes) {
            // What is emitted makes it old.
            lane.snapshot = None;
            if lane.subscribers.is_empty() {
                continue;
            }
            match protocol {
                Protocol::Binary => lane.append_binary(self.channel, to, meta, content),
                Protocol::Json => append_json(&mut lane.run, to, meta, content),
            }
            lane.messages += 1;
            let merged = message::merged(meta, content);
            lane.carried += meta.last_seq + 1 - meta.first_seq - merged;
            lane.merged += merged;
            to.stats.encodes.add(1);
        }
    }

    /// Takes what was emitted since the last call: up to one run for each encoding.
    pub fn take_runs(&mut self) -> impl Iterator<Item = Run<'_>> {
        self.is_dirty = false;
        self.lanes.iter_mut().filter_map(|lane| {
            lane.finish_frame();
            if lane.run.is_empty() {
                return None;
            }
            let frames = Bytes::copy_from_slice(&lane.run);
            lane.run.clear();
            // A burst's memory goes back, a steady stream's stays.
            if lane.run.capacity() > limits::TOPIC_BYTES_KEPT {
                lane.run = Vec::new();
            }
            let [messages, carried, merged] =
                [&mut lane.messages, &mut lane.carried, &mut lane.merged].map(std::mem::take);
            Some(Run { frames, messages, carried, merged, subscribers: &lane.subscribers })
        })
    }

    /// The cached snapshot, if it is of that sequence.
    pub fn snapshot(&self, protocol: Protocol, seq: u64) -> Option<Bytes> {
        let (cached, frames) = self.lanes[protocol as usize].snapshot.as_ref()?;
        (*cached == seq).then(|| frames.clone())
    }

    /// Keeps a snapshot for the next who asks at the same sequence.
    pub fn keep_snapshot(&mut self, protocol: Protocol, seq: u64, frames: Bytes) {
        self.lanes[protocol as usize].snapshot = Some((seq, frames));
    }

    /// History begins anew: sequences from 0, nothing emitted, no snapshot.
    pub fn reset(&mut self) {
        self.last = Stamp::default();
        self.window = self.window.take().and(self.depth).map(|depth| Window::new(depth as usize));
        self.lanes.iter_mut().for_each(|lane| lane.snapshot = None);
    }
}

impl Lane {
    fn append_binary(&mut self, channel: Channel, to: &Emission<'_>, meta: &Meta, content: &Content<'_>) {
        let (start, messages) = self.open.unwrap_or_else(|| {
            let start = self.run.len();
            market::begin_frame(&mut self.run, channel, to.id, to.epoch);
            (start, 0)
        });
        market::encode(&mut self.run, meta, content);
        self.open = Some((start, messages + 1));
        if self.run.len() - start >= limits::FRAME_BYTES || messages + 1 == u16::MAX {
            self.finish_frame();
        }
    }

    /// Puts the WebSocket head in front of the binary frame that is being written.
    fn finish_frame(&mut self) {
        if let Some((start, messages)) = self.open.take() {
            market::finish_frame(&mut self.run, start, messages);
            frame_payload(&mut self.run, start, frame::opcode::BINARY);
        }
    }
}

/// Makes everything from `start` on the payload of one frame.
fn frame_payload(run: &mut Vec<u8>, start: usize, opcode: u8) {
    let payload = run.len() - start;
    frame::push_head(run, opcode, payload);
    let head = run.len() - start - payload;
    run[start..].rotate_right(head);
}

/// Appends one message as one text frame.
fn append_json(run: &mut Vec<u8>, to: &Emission<'_>, meta: &Meta, content: &Content<'_>) {
    let start = run.len();
    json::encode(run, to.instrument, meta, content);
    frame_payload(run, start, frame::opcode::TEXT);
}

/// Encodes the messages of a snapshot as whole frames: one frame a message.
pub fn encode_snapshot<'a>(
    protocol: Protocol,
    to: &Emission<'_>,
    messages: impl Iterator<Item = (Meta, Content<'a>)>,
) -> Bytes {
    let mut run = Vec::new();
    for (meta, content) in messages {
        match protocol {
            Protocol::Binary => {
                let start = run.len();
                market::begin_frame(&mut run, content.channel(), to.id, to.epoch);
                market::encode(&mut run, &meta, &content);
                market::finish_frame(&mut run, start, 1);
                frame_payload(&mut run, start, frame::opcode::BINARY);
            }
            Protocol::Json => append_json(&mut run, to, &meta, &content),
        }
    }
    to.stats.snapshots.add(1);
    run.into()
}
