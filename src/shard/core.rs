//! The heart of a shard: books, topics, sessions. No socket, no clock: events and `now` come in, bytes go out.
//!
//! `apply` and `flush` are here: the path of a tick. What clients ask is in `requests.rs`, what waits for room in
//! `delivery.rs`, what time brings in `timers.rs`.

use std::sync::Arc;

use crossbeam_utils::CachePadded;
use rustc_hash::FxHashMap;
use slab::Slab;

use super::market::Market;
use super::session::{Session, StreamKey};
use super::topic::{Emission, SessionId, Topic};
use crate::model::{Body, Catalog, Event, Level, ResetReason, Side, event_flags};
use crate::stats::ShardStats;
use crate::wire::control::{self, Notice};
use crate::wire::message::{Content, Levels, Meta};

/// What happens to a client that reads more slowly than its streams flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowConsumer {
    /// It is closed with 4008.
    Disconnect,
    /// The shard waits for it (a replay only), and closes it with 4008 after a time without progress.
    Block,
}

impl SlowConsumer {
    /// As it is written in settings.
    pub fn name(self) -> &'static str {
        match self {
            SlowConsumer::Disconnect => "disconnect",
            SlowConsumer::Block => "block",
        }
    }
}

/// What an operator may set.
#[derive(Clone, Copy, Debug)]
pub struct CoreSettings {
    /// Bytes that may wait for one client.
    pub outbox_bytes: usize,
    /// What happens beyond.
    pub slow_consumer: SlowConsumer,
}

/// Books, topics and sessions of one shard.
#[derive(Debug)]
pub struct Core {
    pub(super) catalog: Arc<Catalog>,
    pub(super) settings: CoreSettings,
    pub(super) stats: Arc<CachePadded<ShardStats>>,
    /// Epoch of the source, as far as this shard has heard.
    pub(super) epoch: u64,
    pub(super) markets: Vec<Market>,
    pub(super) topics: Slab<Topic>,
    pub(super) sessions: Slab<Session>,
    /// Topics with something to send.
    dirty_topics: Vec<usize>,
    /// Sessions that something was put in the outbox of.
    pub(super) dirty_sessions: Vec<SessionId>,
    /// Sessions over their bound that the shard waits for.
    pub(super) over: Vec<SessionId>,
    changes: Changes,
    /// Instruments whose history has just ended and whose subscribers have not been told.
    resets: Vec<(u32, ResetReason)>,
    /// Whether the source has no more to say.
    pub(super) has_ended: bool,
    /// Which share of the sessions the next look at the timers serves.
    pub(super) timer_phase: usize,
}

/// The levels that the exchange event at hand has changed, and room to work out what a depth view sees of them.
#[derive(Debug, Default)]
struct Changes {
    sides: [Vec<Level>; 2],
    /// Sequence and stamps of the last of them.
    last: Option<Event>,
    seen: [Vec<Level>; 2],
}

impl Core {
    /// A shard's heart before the first event of `epoch`.
    pub fn new(
        catalog: Arc<Catalog>,
        epoch: u64,
        settings: CoreSettings,
        stats: Arc<CachePadded<ShardStats>>,
    ) -> Core {
        let markets = (0..catalog.len()).map(|_| Market::new(epoch)).collect();
        Core {
            catalog,
            settings,
            stats,
            epoch,
            markets,
            topics: Slab::new(),
            sessions: Slab::new(),
            dirty_topics: Vec::new(),
            dirty_sessions: Vec::new(),
            over: Vec::new(),
            changes: Changes::default(),
            resets: Vec::new(),
            has_ended: false,
            timer_phase: 0,
        }
    }

    /// Takes events: applies each to the books and encodes it once for each topic that has subscribers. Nothing
    /// reaches a session before [`Core::flush`]. The last event ends an exchange event (or a piece of one).
    pub fn apply(&mut self, events: &[Event]) {
        self.stats.events.add(events.len() as u64);
        for event in events {
            match event.body() {
                Body::Reset { epoch, reason } => self.reset(event.instrument, epoch, reason),
                Body::Ended => self.end(),
                body => self.apply_one(event, &body),
            }
        }
    }

    fn apply_one(&mut self, event: &Event, body: &Body) {
        if !self.resets.is_empty() {
            self.announce_resets();
        }
        let Some(market) = self.markets.get_mut(event.instrument as usize) else { return };
        market.apply(event, body);
        match *body {
            Body::Level { side, price, quantity } => {
                self.changes.sides[side.index()].push(Level { price, quantity });
                self.changes.last = Some(*event);
            }
            Body::Quote(quote) => self.emit(event, &Content::Quote(quote)),
            Body::Trade(trade) => self.emit(event, &Content::Trade(trade)),
            Body::Ticker(ticker) => self.emit(event, &Content::Ticker(ticker)),
            Body::Status(status) => self.emit(event, &Content::Status(status)),
            Body::Order(_) | Body::Bar(_) | Body::Reset { .. } | Body::Ended => {}
        }
        let ends = event_flags::LAST_OF_STREAM | event_flags::LAST | event_flags::CUT;
        if event.flags & ends != 0 && self.changes.last.is_some_and(|last| ends_book(&last, event)) {
            self.emit_book();
        }
    }

    /// A message that carries one event as it is.
    fn emit(&mut self, event: &Event, content: &Content<'_>) {
        let market = &self.markets[event.instrument as usize];
        let Some(id) = market.topics[content.channel().index()] else { return };
        let topic = &mut self.topics[id];
        if topic.is_live() {
            let to = emission(&self.catalog, &self.stats, event.instrument, market.epoch);
            topic.emit(&to, &meta(event, event.seq), content);
            mark(topic, id, &mut self.dirty_topics);
        }
    }

    /// A message for each view of the book that sees something of what the exchange event changed.
    fn emit_book(&mut self) {
        let Changes { sides, last, seen } = &mut self.changes;
        let Some(event) = last.take() else { return };
        let market = &self.markets[event.instrument as usize];
        let to = emission(&self.catalog, &self.stats, event.instrument, market.epoch);
        for &id in &market.book_topics {
            let topic = &mut self.topics[id];
            if !topic.is_live() {
                continue;
            }
            let [bids, asks] = match &mut topic.window {
                None => &*sides,
                Some(window) => {
                    for side in [Side::Bid, Side::Ask] {
                        let seen = &mut seen[side.index()];
                        seen.clear();
                        if sides[side.index()].iter().any(|level| window.sees(side, level.price)) {
                            window.refresh(side, market.book.levels(side), seen);
                        }
                    }
                    &*seen
                }
            };
            if !bids.is_empty() || !asks.is_empty() {
                let levels = Levels { bids, asks, checksum: None, part: 1, parts: 1 };
                topic.emit(&to, &meta(&event, topic.last.seq + 1), &Content::Book(levels));
                mark(topic, id, &mut self.dirty_topics);
            }
        }
        self.changes.sides.iter_mut().for_each(Vec::clear);
    }

    /// History of an instrument ends. Its subscribers are told with the next event or flush, all instruments at once.
    fn reset(&mut self, instrument: u32, epoch: u64, reason: ResetReason) {
        if self.resets.is_empty() {
            // What was said in the old epoch goes out before its end.
            self.flush();
        }
        self.epoch = epoch;
        self.has_ended = false;
        let Some(market) = self.markets.get_mut(instrument as usize) else { return };
        market.reset(epoch);
        for &id in market.topics.iter().flatten().chain(&market.book_topics) {
            self.topics[id].reset();
        }
        self.resets.push((instrument, reason));
    }

    fn announce_resets(&mut self) {
        let resets: FxHashMap<u32, ResetReason> = self.resets.drain(..).collect();
        let sessions: Vec<SessionId> = self.sessions.iter().map(|(id, _)| id).collect();
        for id in sessions {
            let subscriptions = &self.sessions[id].subscriptions;
            let mut streams: Vec<StreamKey> =
                subscriptions.keys().filter(|stream| resets.contains_key(&stream.0)).copied().collect();
            streams.sort_unstable();
            let mut told = None;
            for stream in streams {
                if told.replace(stream.0) != Some(stream.0) {
                    let symbol = &self.catalog.instruments()[stream.0 as usize].symbol;
                    let mut text = Vec::new();
                    control::reset(&mut text, symbol, self.epoch, resets[&stream.0]);
                    self.push_text(id, &text);
                }
                self.suspend(id, stream);
            }
            self.advance(id);
        }
    }

    /// The source has no more to say.
    fn end(&mut self) {
        self.flush();
        self.has_ended = true;
        let mut text = Vec::new();
        control::notice(&mut text, Notice::ReplayEnded);
        self.push_text_to_all(&text);
    }

    /// Moves what was emitted to the outboxes of those who subscribed; [`Core::take_dirty`] names them.
    pub fn flush(&mut self) {
        if !self.resets.is_empty() {
            self.announce_resets();
        }
        let mut dirty = std::mem::take(&mut self.dirty_topics);
        for id in dirty.drain(..) {
            for run in self.topics[id].take_runs() {
                let subscribers = run.subscribers.len() as u64;
                self.stats.messages.add(run.messages * subscribers);
                self.stats.delivered.add(run.carried * subscribers);
                self.stats.merged.add(run.merged * subscribers);
                for &subscriber in run.subscribers {
                    let session = &mut self.sessions[subscriber];
                    session.outbox.push(run.frames.clone());
                    if !session.is_dirty {
                        session.is_dirty = true;
                        self.dirty_sessions.push(subscriber);
                    }
                }
            }
        }
        // The buffer is kept for the next batch.
        self.dirty_topics = dirty;
    }
}

/// Whether the levels collected so far are all that their exchange event (or this piece of it) has to say: the last of
/// them is flagged so, or a later record of the event ends the piece.
fn ends_book(last: &Event, event: &Event) -> bool {
    last.flags & event_flags::LAST_OF_STREAM != 0 || event.flags & (event_flags::LAST | event_flags::CUT) != 0
}

fn meta(event: &Event, first_seq: u64) -> Meta {
    Meta {
        first_seq,
        last_seq: event.seq,
        ts_ns: event.ts_ns,
        sent_ns: event.sent_ns,
        snapshot: false,
        last: event.flags & event_flags::LAST_OF_STREAM != 0,
    }
}

/// Where a message of an instrument goes and is counted.
pub(super) fn emission<'a>(catalog: &'a Catalog, stats: &'a ShardStats, id: u32, epoch: u64) -> Emission<'a> {
    Emission { instrument: &catalog.instruments()[id as usize], id, epoch, stats }
}

fn mark(topic: &mut Topic, id: usize, dirty: &mut Vec<usize>) {
    if !topic.is_dirty {
        topic.is_dirty = true;
        dirty.push(id);
    }
}
