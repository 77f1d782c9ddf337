//! What a shard remembers of one client: no socket, no clock.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::handle::Protocol;
use super::outbox::Outbox;
use crate::limits;
use crate::model::Channel;
use crate::wire::control::RequestId;

/// A stream of an instrument: (the instrument's number, the channel).
pub type StreamKey = (u32, Channel);

/// A stream that a session asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub stream: StreamKey,
    /// Levels a side; `None`: all, or no book.
    pub depth: Option<u32>,
    /// Whether state comes first.
    pub snapshot: bool,
}

/// A stream that a session has.
#[derive(Clone, Copy, Debug)]
pub struct Subscription {
    /// The topic.
    pub topic: usize,
    /// Position among the topic's subscribers; `None` while the snapshot is still to be sent.
    pub position: Option<usize>,
    /// Whether state comes first, now and after a reset.
    pub snapshot: bool,
}

/// A reply that is sent page by page, as the outbox has room.
#[derive(Debug)]
pub enum Job {
    /// `subscribed`: each stream begins when its page is sent.
    Subscribe {
        /// Of the request.
        id: Option<RequestId>,
        /// All streams of the request.
        wanted: Vec<Wanted>,
        /// How many have been answered.
        done: usize,
    },
    /// `unsubscribed`: the streams have ended already.
    Unsubscribe {
        /// Of the request.
        id: Option<RequestId>,
        /// The streams that ended.
        ended: Vec<StreamKey>,
        /// How many have been named.
        done: usize,
    },
    /// `instruments`.
    List {
        /// Of the request.
        id: Option<RequestId>,
        /// How many have been named.
        done: usize,
    },
}

/// One client.
#[derive(Debug)]
pub struct Session {
    /// What it speaks.
    pub protocol: Protocol,
    /// What waits for it.
    pub outbox: Outbox,
    /// Its streams.
    pub subscriptions: FxHashMap<StreamKey, Subscription>,
    /// The reply that is being sent. One at a time: nothing more is read from the client until it is done.
    pub job: Option<Job>,
    /// Streams whose snapshot is still to be sent, in order. A stream that has ended meanwhile is passed over.
    pub snapshots: VecDeque<StreamKey>,
    /// How many of its streams heartbeats have named in this turn.
    pub heartbeat_cursor: usize,
    /// Monotonic nanoseconds of the last ping.
    pub pinged_ns: u64,
    /// Whether its pong is still to come.
    pub awaits_pong: bool,
    /// Monotonic nanoseconds when bytes last left for the client, or nothing waited.
    pub progress_ns: u64,
    /// Whether it stands in the list of those to be written to.
    pub is_dirty: bool,
    /// Whether the close frame is on its way: nothing is added after it.
    pub is_closing: bool,
    /// Seconds that it has, once it closes, to get its last bytes and answer.
    pub closes_within: u64,
}

impl Session {
    /// A client that has just come.
    pub fn new(protocol: Protocol, now_ns: u64) -> Session {
        Session {
            protocol,
            outbox: Outbox::default(),
            subscriptions: FxHashMap::default(),
            job: None,
            snapshots: VecDeque::new(),
            heartbeat_cursor: 0,
            pinged_ns: now_ns,
            awaits_pong: false,
            progress_ns: now_ns,
            is_dirty: false,
            is_closing: false,
            closes_within: limits::CLOSE_SECONDS,
        }
    }

    /// What a burst of streams needed and few streams do not goes back.
    pub fn give_memory_back(&mut self) {
        if self.subscriptions.capacity() > 64 && self.subscriptions.len() < self.subscriptions.capacity() / 4
        {
            self.subscriptions.shrink_to_fit();
        }
    }

    /// Whether an earlier request is still being answered.
    pub fn is_busy(&self) -> bool {
        self.job.is_some() || !self.snapshots.is_empty()
    }
}
