//! What a shard remembers of one client: no socket, no clock.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::compressor::Encoding;
use super::outbox::Outbox;
use super::progress::Progress;
use super::rates::Rates;
use super::tally::Tally;
use super::topic::View;
use crate::limits;
use crate::model::Channel;
use crate::source::ReplayControl;
use crate::wire::control::RequestId;
use crate::wire::deflate::Agreed;

/// Whoever comes at once does not get its heartbeats at once.
const HEARTBEAT_PHASES: u64 = limits::HEARTBEAT_SECONDS * 1_000 / limits::TIMER_MILLISECONDS;

/// A stream of an instrument: (the instrument's number, the channel).
pub type StreamKey = (u32, Channel);

/// A stream that a session asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub stream: StreamKey,
    /// What of it.
    pub view: View,
    /// Whether state comes first.
    pub snapshot: bool,
    /// Whether the session is rather closed than this stream conflated.
    pub never_conflate: bool,
    /// Epoch and sequence that the client holds of it, and wants what follows.
    pub from: Option<(u64, u64)>,
}

/// A stream that a session has.
#[derive(Clone, Copy, Debug)]
pub struct Subscription {
    /// The topic.
    pub topic: usize,
    /// Where it stands.
    pub state: State,
    /// Whether state comes first, now and after a reset.
    pub snapshot: bool,
    /// Whether the session is rather closed than this stream conflated.
    pub never_conflate: bool,
    /// What became of its sequences, those since it last went live apart.
    pub tally: Tally,
    /// The topic's total when it last went live.
    pub base: Tally,
}

/// Where a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is sent what is emitted to the topic; its position among the subscribers.
    Live(usize),
    /// Its snapshot is still to be sent, and is to show no sequence before this one.
    Fresh {
        /// What the client may hold already.
        at_least: u64,
    },
    /// What follows a sequence is still to be sent.
    Behind {
        /// The last sequence that the client has been handed.
        held: u64,
        /// Whether every message that was missed is to be told, as far as they are kept; else they are conflated.
        exactly: bool,
    },
}

/// How a session's streams flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Everything at once.
    Live,
    /// What is newest, now and then, as it takes it.
    Conflating {
        /// Looks at the timers in a row that found it had taken everything.
        streak: u32,
    },
    /// Its streams go live again one by one.
    Recovering,
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
    /// `replay`: how far it is when the reply is sent.
    Replay {
        /// Of the request.
        id: Option<RequestId>,
        /// What is told of.
        replay: Arc<dyn ReplayControl>,
        /// Whether that is to be told only once its steps are made ([`Core::end_stepping`](super::Core::end_stepping)).
        is_stepping: bool,
    },
    /// `instruments`.
    List {
        /// Of the request.
        id: Option<RequestId>,
        /// How many have been named.
        done: usize,
    },
}

impl Job {
    /// Whether it waits for a replay's steps.
    pub fn is_stepping(&self) -> bool {
        matches!(self, Job::Replay { is_stepping: true, .. })
    }
}

/// What is sent to a client piece by piece, as its outbox has room.
#[derive(Debug, Default)]
pub struct Pending {
    /// The reply that is being sent. One at a time: nothing more is read from the client until it is done.
    pub job: Option<Job>,
    /// Streams that a request asked for and whose beginning is still to be sent, in order. One that has ended meanwhile
    /// is passed over.
    pub fresh: VecDeque<StreamKey>,
    /// Conflated streams that are still to be served in this round, in order. One that has ended meanwhile is passed over.
    pub round: VecDeque<StreamKey>,
}

/// One client.
#[derive(Debug)]
pub struct Session {
    /// Its number, never given to another.
    pub number: u64,
    /// What it speaks.
    pub encoding: Encoding,
    /// Whether it takes compressed messages.
    pub has_deflate: bool,
    /// What was agreed on, where it is still to be seen whether a context of its own is left for it: it takes one with its
    /// first subscription or list, so that who only connects takes none.
    pub undecided: Option<Agreed>,
    /// Whether it is sent what it sends, and nothing else.
    pub is_echo: bool,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// When it came, nanoseconds since the Unix epoch.
    pub since_ns: u64,
    /// What waits for it.
    pub outbox: Outbox,
    /// WebSocket messages put in its outbox so far.
    pub frames: u64,
    /// Its streams.
    pub subscriptions: FxHashMap<StreamKey, Subscription>,
    /// What became of the sequences of streams that have ended.
    pub ended: Tally,
    /// What it may still ask.
    pub rates: Rates,
    /// How its streams flow.
    pub pace: Pace,
    /// Looks at the timers in a row that must find it to have taken everything before it recovers; 0: it was never
    /// conflated.
    pub patience: u32,
    /// Look at the timers at which it recovered last.
    pub recovered_at: u64,
    /// What it says it has received; `None`: it says nothing.
    pub progress: Option<Progress>,
    /// What is still to be sent to it, while there is something.
    pub pending: Option<Box<Pending>>,
    /// Monotonic nanoseconds when its next heartbeat is due at the latest.
    pub heartbeat_ns: u64,
    /// How many of its streams heartbeats have named in this turn.
    pub heartbeat_cursor: usize,
    /// Monotonic nanoseconds of the last ping.
    pub pinged_ns: u64,
    /// Whether its pong is still to come.
    pub awaits_pong: bool,
    /// Monotonic nanoseconds when bytes last left for the client, or nothing waited.
    pub progress_ns: u64,
    /// Monotonic nanoseconds when nothing waited last.
    pub drained_ns: u64,
    /// Whether it stands in the list of those to be written to.
    pub is_dirty: bool,
    /// Whether the close frame is on its way: nothing is added after it.
    pub is_closing: bool,
    /// Seconds that it has, once it closes, to get its last bytes and answer.
    pub closes_within: u64,
}

impl Session {
    /// A client that has just come.
    pub fn new(
        number: u64,
        encoding: Encoding,
        peer: SocketAddr,
        rates: Rates,
        now_ns: u64,
        unix_ns: u64,
    ) -> Session {
        Session {
            number,
            encoding,
            has_deflate: false,
            undecided: None,
            is_echo: false,
            peer,
            since_ns: unix_ns,
            outbox: Outbox::default(),
            frames: 0,
            subscriptions: FxHashMap::default(),
            ended: Tally::default(),
            rates,
            pace: Pace::Live,
            patience: 0,
            recovered_at: 0,
            progress: None,
            pending: None,
            heartbeat_ns: now_ns + (number % HEARTBEAT_PHASES + 1) * limits::TIMER_MILLISECONDS * 1_000_000,
            heartbeat_cursor: 0,
            pinged_ns: now_ns,
            awaits_pong: false,
            progress_ns: now_ns,
            drained_ns: now_ns,
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

    /// Whether its heartbeat is due soon enough to go along with market data.
    pub fn heartbeat_rides(&self, now_ns: u64) -> bool {
        now_ns + limits::HEARTBEAT_EARLY_MILLISECONDS * 1_000_000 >= self.heartbeat_ns
    }

    /// What is still to be sent to it, to add something.
    pub fn pending(&mut self) -> &mut Pending {
        self.pending.get_or_insert_default()
    }

    /// Whether an earlier request is still being answered.
    pub fn is_busy(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.job.is_some() || !pending.fresh.is_empty())
    }

    /// Whether conflated streams are still to be served in this round.
    pub fn is_in_round(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| !pending.round.is_empty())
    }

    /// Whether nothing but a replay's steps holds up the reply in hand.
    pub fn is_stepping(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| {
            pending.fresh.is_empty() && pending.job.as_ref().is_some_and(Job::is_stepping)
        })
    }

    /// Whether its streams are conflated.
    pub fn is_conflating(&self) -> bool {
        matches!(self.pace, Pace::Conflating { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::Protocol;
    use crate::shard::rates::Time;

    #[test]
    fn what_a_burst_of_streams_needed_goes_back() {
        let subscription = Subscription {
            topic: 0,
            state: State::Live(0),
            snapshot: true,
            never_conflate: false,
            tally: Tally::default(),
            base: Tally::default(),
        };
        let with = |streams: u32| {
            let peer = SocketAddr::from(([127, 0, 0, 1], 1));
            let mut session = Session::new(
                0,
                Encoding::plain(Protocol::Binary),
                peer,
                Rates::new(0, &Time::default()),
                0,
                0,
            );
            let streams = (0..streams).map(|instrument| ((instrument, Channel::Quotes), subscription));
            session.subscriptions.extend(streams);
            session
        };
        let mut session = with(1_000);
        let needed = session.subscriptions.capacity();
        session.subscriptions.retain(|stream, _| (stream.0 as usize) < needed / 4);
        session.give_memory_back();
        assert_eq!(session.subscriptions.capacity(), needed, "a quarter is in use");
        session.subscriptions.remove(&(0, Channel::Quotes));
        session.give_memory_back();
        assert!(session.subscriptions.capacity() < needed);
        let mut session = with(20);
        let needed = session.subscriptions.capacity();
        session.subscriptions.clear();
        session.give_memory_back();
        assert_eq!(session.subscriptions.capacity(), needed, "little");
    }
}
