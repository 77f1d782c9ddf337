//! The heart of a shard: books, topics, sessions. No socket, no clock: events and `now` come in, bytes go out.
//!
//! `apply` and `flush` are here: the path of a tick. What clients ask is in `requests.rs`, how streams begin and end in
//! `streams.rs`, what slow and resumed clients are caught up with in `catch_up.rs` and `conflate.rs`, what leaves in
//! `delivery.rs`, what time brings in `timers.rs` and `intervals.rs`.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use rustc_hash::FxHashMap;
use slab::Slab;

use super::ahead::Ahead;
use super::compressor::{CompressionSettings, Compressor, Encoding};
use super::conflate::Refused;
use super::handle::Protocol;
use super::history::History;
use super::intervals::Intervals;
use super::market::Market;
use super::rates::Time;
use super::session::{Session, State, StreamKey};
use super::shared::{Buffers, Shared};
use super::topic::{Emission, Run, SessionId, Topic};
use crate::limits;
use crate::model::{
    Bar, BarStep, Body, Catalog, Channel, Event, Level, Period, ResetReason, Side, event_flags,
};
use crate::source::{ReplayControl, Stepping};
use crate::stats::ShardStats;
use crate::wire::control::{self, Notice};
use crate::wire::message::{Content, Levels, Meta};

/// What happens to a client that reads more slowly than its streams flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowConsumer {
    /// Its streams are conflated until it has caught up.
    Conflate,
    /// It is closed with 4008.
    Disconnect,
    /// The shard waits for it (a replay only), and closes it with 4008 after a time without progress.
    Block,
}

impl SlowConsumer {
    /// As it is written in settings.
    pub fn name(self) -> &'static str {
        match self {
            SlowConsumer::Conflate => "conflate",
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
    /// Bytes that may wait for all clients of the shard together.
    pub outboxes_bytes: usize,
    /// Bytes of recent events that are kept for those who come back.
    pub ring_bytes: usize,
    /// Binary messages of one batch that may share a frame: as many as fit ([`u16::MAX`]), or fewer where frames are to
    /// be compared with those of servers that put each message in its own.
    pub frame_messages: u16,
    /// What happens beyond.
    pub slow_consumer: SlowConsumer,
    /// Requests a second that a client may send; 0: any number.
    pub request_rate: u32,
    /// How messages are compressed, and cut into fragments.
    pub compression: CompressionSettings,
}

/// Books, topics and sessions of one shard.
#[derive(Debug)]
pub struct Core {
    pub(super) catalog: Arc<Catalog>,
    pub(super) settings: CoreSettings,
    pub(super) stats: Arc<CachePadded<ShardStats>>,
    /// What clients steer; `None`: the source is no replay.
    pub(super) replay: Option<Arc<dyn ReplayControl>>,
    /// Steps that a client has asked for, which nobody waits for yet.
    pub(super) stepping: Option<(SessionId, Stepping)>,
    /// Whether it is that of one client.
    pub(super) is_private: bool,
    /// Whether it is to be let go on once a client has subscribed.
    pub(super) plays_when_subscribed: bool,
    /// Epoch of the source, as far as this shard has heard.
    pub(super) epoch: u64,
    pub(super) markets: Vec<Market>,
    pub(super) history: History,
    pub(super) topics: Slab<Topic>,
    pub(super) sessions: Slab<Session>,
    /// Topics with something to send.
    pub(super) dirty_topics: Vec<usize>,
    pub(super) compressor: Rc<RefCell<Compressor>>,
    /// As [`Core::tick`] was last told.
    pub(super) time: Time,
    /// What the flush at hand hands over: topic, encoding, frames.
    runs: Vec<(usize, Encoding, Run)>,
    /// Where it lies.
    buffers: Buffers,
    /// Topics that wait for the end of their interval.
    pub(super) intervals: Intervals,
    /// Sessions that something was put in the outbox of.
    pub(super) dirty_sessions: Vec<SessionId>,
    /// Sessions whose heartbeat goes along with what a flush has put in their outbox.
    pub(super) riding: Vec<SessionId>,
    /// Sessions over their bound, or late with their reports, that the shard waits for.
    pub(super) over: Vec<SessionId>,
    /// Bytes that the kernel refused and that wait, all sessions together.
    pub(super) waiting: usize,
    /// Bytes that were put behind those, and are not among them before they have been held.
    pub(super) unheld: usize,
    /// Sessions that got their fill since they were last written to.
    pub(super) full: Vec<SessionId>,
    /// Resumed streams that are ahead of this shard.
    pub(super) ahead: Ahead,
    /// What sessions had no room for in the flush at hand.
    pub(super) refused: Refused,
    changes: Changes,
    /// Instruments whose history has just ended and whose subscribers have not been told.
    resets: Vec<Reset>,
    /// Whether the source has no more to say.
    pub(super) has_ended: bool,
    /// Whether the source is late.
    pub(super) is_stale: bool,
    /// Looks at everyone's timers so far.
    pub(super) timer_looks: u64,
    /// Whose timers were looked at last.
    pub(super) timer_turn: usize,
    /// Monotonic nanoseconds up to which turns were taken.
    pub(super) turned_ns: u64,
}

/// What the exchange event at hand has changed, and room to work out what a depth view sees of it.
#[derive(Debug, Default)]
struct Changes {
    sides: [Vec<Level>; 2],
    /// Sequence and stamps of the last changed level.
    last: Option<Event>,
    /// The last trade that moved the bars.
    bars: Option<Event>,
    seen: [Vec<Level>; 2],
}

/// The end of an instrument's history.
#[derive(Clone, Copy, Debug)]
struct Reset {
    instrument: u32,
    reason: ResetReason,
    /// The epoch that ended and where its streams stood.
    epoch: u64,
    last: [u64; Channel::ALL.len()],
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
            history: History::new(catalog.len(), settings.ring_bytes),
            catalog,
            compressor: Rc::new(RefCell::new(Compressor::new(settings.compression, stats.clone()))),
            time: Time::default(),
            settings,
            stats,
            replay: None,
            stepping: None,
            is_private: false,
            plays_when_subscribed: false,
            epoch,
            markets,
            topics: Slab::new(),
            sessions: Slab::new(),
            dirty_topics: Vec::new(),
            runs: Vec::new(),
            buffers: Buffers::default(),
            intervals: Intervals::default(),
            dirty_sessions: Vec::new(),
            riding: Vec::new(),
            over: Vec::new(),
            waiting: 0,
            unheld: 0,
            full: Vec::new(),
            ahead: Ahead::default(),
            refused: Refused::default(),
            changes: Changes::default(),
            resets: Vec::new(),
            has_ended: false,
            is_stale: false,
            timer_looks: 0,
            timer_turn: 0,
            turned_ns: 0,
        }
    }

    /// Counts how long compressing takes with this, in nanoseconds.
    pub fn time_compression(&mut self, stopwatch: Box<dyn Fn() -> u64>) {
        self.compressor.borrow_mut().set_stopwatch(stopwatch);
    }

    /// Lets clients steer this replay, where the source is one.
    pub fn steer(&mut self, replay: Option<Arc<dyn ReplayControl>>) {
        self.replay = replay;
    }

    /// The replay is that of one client, and over when that is gone: nothing of it is resumed. It begins paused, and goes on
    /// with the first `subscribe` that is granted, unless the client plays, stops or steps it before.
    pub fn serve_privately(&mut self) {
        self.is_private = true;
        self.plays_when_subscribed = true;
    }

    /// Takes events: applies each to the books and encodes it once for each topic that has subscribers. Nothing
    /// reaches a session before [`Core::flush`]. The last event ends an exchange event (or a piece of one).
    pub fn apply(&mut self, events: &[Event]) {
        self.stats.events.add(events.len() as u64);
        let mut remembered = 0;
        for (at, event) in events.iter().enumerate() {
            match event.body() {
                Body::Reset { epoch, reason } => {
                    self.remember(&events[remembered..at]);
                    remembered = at + 1;
                    self.reset(event.instrument, epoch, reason);
                }
                Body::Ended => self.end(),
                body => self.apply_one(event, &body),
            }
        }
        self.remember(&events[remembered..]);
    }

    /// Keeps events for those who come back. Apart from applying them: the history's memory is cold, and whatever an
    /// encoder reads back of what it has just written waits for all stores before.
    fn remember(&mut self, events: &[Event]) {
        for event in events {
            // Bars are caught up with from those that are complete.
            if let Some(channel) = event.channel().filter(|channel| *channel != Channel::Bars) {
                self.history.append(channel, event);
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
            Body::Bar(BarStep::Trade { .. }) => self.changes.bars = Some(*event),
            Body::Bar(BarStep::End { .. }) => {
                // Trades before it in the same exchange event: of a period that has ended the completed bar tells them.
                self.emit_running_bars();
                self.emit_bars(event, |market, period| market.completed(period, event.seq));
            }
            Body::Quote(quote) => self.emit(event, &Content::Quote(quote)),
            Body::Trade(trade) => self.emit(event, &Content::Trade(trade)),
            Body::Order(change) => self.emit(event, &Content::Order(change)),
            Body::Ticker(ticker) => self.emit(event, &Content::Ticker(ticker)),
            Body::Status(status) => self.emit(event, &Content::Status(status)),
            Body::Reset { .. } | Body::Ended => {}
        }
        if self.changes.last.is_some_and(|last| ends_stream(&last, event)) {
            self.emit_book();
        }
        if self.changes.bars.is_some_and(|last| ends_stream(&last, event)) {
            self.emit_running_bars();
        }
    }

    /// A message that carries one event as it is, and a mark where an interval holds it back.
    fn emit(&mut self, event: &Event, content: &Content<'_>) {
        let market = &self.markets[event.instrument as usize];
        for &id in &market.topics[content.channel().index()] {
            let topic = &mut self.topics[id];
            if !topic.is_live() {
                continue;
            }
            if topic.view.interval_ms > 0 {
                self.intervals.hold(topic, id);
                continue;
            }
            let to = emission(&self.catalog, &self.stats, event.instrument, market.epoch);
            topic.emit(&to, &meta(event, event.seq), content);
            mark(topic, id, &mut self.dirty_topics);
        }
    }

    /// A message for each view of the book that sees something of what the exchange event changed.
    fn emit_book(&mut self) {
        let Changes { sides, last, seen, .. } = &mut self.changes;
        let Some(event) = last.take() else { return };
        let market = &mut self.markets[event.instrument as usize];
        let checksum = market.end_book_update(event.seq);
        let to = emission(&self.catalog, &self.stats, event.instrument, market.epoch);
        for &id in &market.topics[Channel::Book.index()] {
            let topic = &mut self.topics[id];
            if !topic.is_live() {
                continue;
            }
            if topic.view.interval_ms > 0 {
                self.intervals.hold(topic, id);
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
            if bids.is_empty() && asks.is_empty() {
                continue;
            }
            let checksum = match topic.view.depth {
                // Every full view has the same: those who resume get it too.
                None => checksum,
                Some(_) => topic.checksum_if_due(|| market.checksum()),
            };
            let levels = Levels { bids, asks, checksum, part: 1, parts: 1 };
            topic.emit(&to, &meta(&event, topic.last.seq + 1), &Content::Book(levels));
            mark(topic, id, &mut self.dirty_topics);
        }
        self.changes.sides.iter_mut().for_each(Vec::clear);
        if checksum.is_some() {
            let first = self.history.first(event.instrument, Channel::Book);
            self.markets[event.instrument as usize].forget_checksums(first);
        }
    }

    /// The running bar of each period that somebody watches.
    fn emit_running_bars(&mut self) {
        if let Some(event) = self.changes.bars.take() {
            self.emit_bars(&event, |market, period| market.bars.running(period));
        }
    }

    /// A message for each view of the bars that has one to show.
    fn emit_bars(&mut self, event: &Event, bar: impl Fn(&Market, Period) -> Option<Bar>) {
        let market = &self.markets[event.instrument as usize];
        for &id in &market.topics[Channel::Bars.index()] {
            let topic = &mut self.topics[id];
            if topic.is_live()
                && let Some(bar) = topic.view.period.and_then(|period| bar(market, period))
            {
                let to = emission(&self.catalog, &self.stats, event.instrument, market.epoch);
                topic.emit(&to, &meta(event, topic.last.seq + 1), &Content::Bar(bar));
                mark(topic, id, &mut self.dirty_topics);
            }
        }
    }

    /// History of an instrument ends. Its subscribers are told with the next event or flush, all instruments at once.
    fn reset(&mut self, instrument: u32, epoch: u64, reason: ResetReason) {
        if !self.resets.is_empty() && epoch != self.epoch {
            // The source began anew twice in one batch: everyone is told of each epoch, and what of it is lost.
            self.announce_resets();
        }
        if self.resets.is_empty() {
            // What was said in the old epoch goes out before its end.
            self.release_intervals();
            self.flush();
        }
        self.epoch = epoch;
        self.has_ended = false;
        let Some(market) = self.markets.get_mut(instrument as usize) else { return };
        let last = Channel::ALL.map(|channel| market.seq(channel));
        self.resets.push(Reset { instrument, reason, epoch: market.epoch, last });
        market.reset(epoch);
        self.history.forget(instrument);
        for &id in market.topics.iter().flatten() {
            self.topics[id].reset();
        }
    }

    fn announce_resets(&mut self) {
        let resets: FxHashMap<u32, Reset> =
            self.resets.drain(..).map(|reset| (reset.instrument, reset)).collect();
        for id in self.sessions() {
            let subscriptions = &self.sessions[id].subscriptions;
            let mut streams: Vec<StreamKey> =
                subscriptions.keys().filter(|stream| resets.contains_key(&stream.0)).copied().collect();
            streams.sort_unstable();
            let mut told = None;
            for stream in &streams {
                // What a conflated stream was not told of the old epoch is lost.
                let reset = &resets[&stream.0];
                self.lose(id, *stream, reset.epoch, reset.last[stream.1.index()]);
            }
            for stream in streams {
                if told.replace(stream.0) != Some(stream.0) {
                    let symbol = &self.catalog.instruments()[stream.0 as usize].symbol;
                    let mut text = Vec::new();
                    control::reset(&mut text, symbol, self.epoch, resets[&stream.0].reason);
                    self.push_firm(id, &text);
                }
                self.begin_anew(id, stream);
            }
            self.advance(id);
        }
    }

    /// Declares what a stream that is not live was still to be told of an epoch that is over.
    fn lose(&mut self, id: SessionId, stream: StreamKey, epoch: u64, last: u64) {
        let Some(subscription) = self.sessions[id].subscriptions.get(&stream) else { return };
        if let State::Behind { held, .. } = subscription.state
            && held < last
        {
            self.push_gap(id, stream, epoch, held + 1, last);
        }
    }

    /// The source has no more to say.
    fn end(&mut self) {
        self.release_intervals();
        self.flush();
        self.has_ended = true;
        let mut text = Vec::new();
        control::notice(&mut text, Notice::ReplayEnded);
        self.push_text_to_all(&text);
    }

    /// Moves what was emitted to the outboxes of those who subscribed; [`Core::take_dirty`] names them, and
    /// [`Core::take_full`] those who are to be written to before more is added.
    pub fn flush(&mut self) {
        if !self.resets.is_empty() {
            self.announce_resets();
        }
        if !self.dirty_topics.is_empty() {
            self.share_runs();
        }
        self.conflate_the_refused();
        self.look_ahead();
    }

    /// Puts what every topic emitted into one buffer, and a part of that into each outbox.
    fn share_runs(&mut self) {
        let (dirty, topics, runs) = (&self.dirty_topics, &mut self.topics, &mut self.runs);
        let buffer = self.buffers.fill(|buffer| {
            // One encoding after the other: what one client gets of several topics may lie together.
            for protocol in [Protocol::Binary, Protocol::Json] {
                for &id in dirty {
                    let run = topics[id].take_run(protocol, buffer);
                    runs.extend(run.map(|run| (id, Encoding::plain(protocol), run)));
                }
            }
            // Then what is compressed: of most batches nothing, and they are the same for everybody.
            for at in 0..runs.len() {
                let (id, Encoding { protocol, .. }, run) = runs[at];
                for window_bits in topics[id].windows(protocol) {
                    let run = compressed(&mut self.compressor.borrow_mut(), run, window_bits, buffer);
                    runs.push((id, Encoding { protocol, window_bits }, run));
                }
            }
        });
        let now_ns = self.time.now_ns();
        for (id, encoding, run) in runs.drain(..) {
            let topic = &topics[id];
            let (tally, start) = topic.batch();
            let stream = (topic.instrument, topic.channel);
            let part = Shared::part(&buffer, run.start, run.end);
            let mut takers = 0;
            for &subscriber in topic.takers(encoding) {
                let session = &mut self.sessions[subscriber];
                let (bytes, waiting) = (part.len(), self.waiting + self.unheld);
                if session.has_no_room(stream.1, bytes, waiting, &self.settings) {
                    self.refused.add(subscriber, stream, start, tally);
                    continue;
                }
                takers += 1;
                session.frames += run.frames;
                match stream.1 {
                    Channel::Status => session.outbox.push_firm(part.clone()),
                    _ => session.outbox.push(part.clone()),
                }
                let queued = session.outbox.queued_len();
                if queued >= limits::BATCH_BYTES && queued - bytes < limits::BATCH_BYTES {
                    self.full.push(subscriber);
                }
                if session.outbox.is_blocked() {
                    self.unheld += bytes;
                }
                if !session.is_dirty {
                    session.is_dirty = true;
                    self.dirty_sessions.push(subscriber);
                    if self.riding.len() < limits::HEARTBEATS_ALONG_MAX && session.heartbeat_rides(now_ns) {
                        self.riding.push(subscriber);
                    }
                }
            }
            self.stats.messages.add(run.messages * takers);
            self.stats.delivered.add(tally.delivered * takers);
            self.stats.merged.add(tally.merged * takers);
        }
        for id in self.dirty_topics.drain(..) {
            self.topics[id].end_batch();
        }
    }
}

/// A run compressed, behind it in its buffer; the run itself where nothing of it was.
fn compressed(compressor: &mut Compressor, run: Run, window_bits: u8, buffer: &mut Vec<u8>) -> Run {
    let frames = &buffer[run.start..run.end];
    match compressor.share(frames, window_bits) {
        None => run,
        Some(bytes) => {
            let start = buffer.len();
            buffer.extend_from_slice(bytes);
            Run { start, end: buffer.len(), ..run }
        }
    }
}

/// Whether the records collected so far are all that their exchange event (or this piece of it) has to say of their
/// stream: the last of them is flagged so, or a later record of the event ends the piece.
fn ends_stream(last: &Event, event: &Event) -> bool {
    last.flags & event_flags::LAST_OF_STREAM != 0 || event.flags & event_flags::ENDS_PIECE != 0
}

/// What a message of that event carries beside its content.
pub(super) fn meta(event: &Event, first_seq: u64) -> Meta {
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

pub(super) fn mark(topic: &mut Topic, id: usize, dirty: &mut Vec<usize>) {
    if !topic.is_dirty {
        topic.is_dirty = true;
        dirty.push(id);
    }
}
