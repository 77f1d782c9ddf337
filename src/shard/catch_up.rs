//! What a stream that is not live is told before it goes on: its snapshot, every message it missed, or those merged.

use rustc_hash::FxHashMap;

use super::compressor::Encoding;
use super::core::{Core, emission, mark, meta};
use super::handle::Protocol;
use super::history::History;
use super::market::{Market, Stamp, book_parts, order_parts};
use super::session::{State, StreamKey};
use super::tally::Tally;
use super::topic::{Frames, SessionId, Topic, encode_frames};
use crate::limits;
use crate::model::{Body, Channel, Event, Level, Order, OrderChange, Period, Side, event_flags};
use crate::stats::Resumed;
use crate::wire::message::{Content, Levels, Meta};

/// Levels of a book that changed since a sequence, each with what stands there now; best first.
#[derive(Debug)]
pub struct NetChange(pub [Vec<Level>; 2]);

impl NetChange {
    /// What changed in a book after sequence `held` up to `last`; `None` where that is kept no more, or would be longer
    /// than the book.
    ///
    /// A level that came and went is among them, with quantity 0: who joined in between may hold it.
    pub fn between(
        history: &History,
        market: &Market,
        instrument: u32,
        held: u64,
        last: u64,
    ) -> Option<NetChange> {
        let levels_max = market.book.depth(Side::Bid) + market.book.depth(Side::Ask);
        let mut now = FxHashMap::default();
        let events = history.since(instrument, Channel::Book, held)?;
        for event in events.take_while(|event| event.seq <= last) {
            if let Body::Level { side, price, quantity } = event.body() {
                now.insert((side as u8, price), (side, quantity));
                if now.len() > levels_max {
                    return None;
                }
            }
        }
        let mut sides = [Vec::new(), Vec::new()];
        for ((_, price), (side, quantity)) in now {
            sides[side.index()].push(Level { price, quantity });
        }
        let [bids, asks] = &mut sides;
        bids.sort_unstable_by_key(|level| std::cmp::Reverse(level.price));
        asks.sort_unstable_by_key(|level| level.price);
        Some(NetChange(sides))
    }
}

/// Messages for one session, and what they tell.
struct Told {
    frames: Frames,
    messages: u64,
    tally: Tally,
    /// The last sequence that the client then holds.
    held: u64,
}

impl Core {
    /// Goes on with what a stream waits for. Whether nothing is left to be done now.
    pub(super) fn catch_up(&mut self, id: SessionId, stream: StreamKey) -> bool {
        let Some(subscription) = self.sessions[id].subscriptions.get(&stream) else { return true };
        let (topic, at_least, is_merged) = match subscription.state {
            State::Live(_) => return true,
            State::Fresh { at_least } => (subscription.topic, at_least, false),
            State::Behind { held, exactly } => (subscription.topic, held, !exactly),
        };
        self.bring_up(topic, at_least, is_merged);
        // Bringing up a view tells its subscribers, and a session may have had no room: it is looked at afresh.
        let Some(subscription) = self.sessions[id].subscriptions.get(&stream) else { return true };
        let last = self.topics[topic].last.seq;
        match subscription.state {
            State::Live(_) => true,
            State::Fresh { at_least } | State::Behind { held: at_least, exactly: true }
                if at_least > last =>
            {
                self.ahead.add(id, stream);
                true
            }
            State::Fresh { .. } => {
                self.send_snapshot(id, stream);
                true
            }
            State::Behind { held, .. } if held >= last => {
                self.settle(id, stream);
                true
            }
            State::Behind { held, exactly } => self.tell_missed(id, stream, held, exactly),
        }
    }

    /// Makes a topic show the present where nobody is live, and no less than sequence `at_least` where others are. Of a full
    /// book with an interval only the present is known whole; where what changed is enough, nobody is told early.
    fn bring_up(&mut self, id: usize, at_least: u64, is_merged: bool) {
        let topic = &self.topics[id];
        if !topic.is_live() {
            return self.start_topic(id);
        }
        let is_full_book = topic.channel == Channel::Book && topic.window.is_none();
        let needs_whole = || !is_merged || self.net_change(topic, at_least).is_none();
        if topic.is_due && (topic.last.seq < at_least || (is_full_book && needs_whole())) {
            self.release_topic(id);
        }
        let topic = &self.topics[id];
        let seq = self.markets[topic.instrument as usize].seq(topic.channel);
        if topic.last.seq < at_least && at_least <= seq {
            self.tell_nothing_new(id);
        }
        self.flush();
    }

    /// Tells the subscribers of a view that what happened since its last update lies outside it: somebody joins who holds
    /// a later sequence than they do.
    fn tell_nothing_new(&mut self, id: usize) {
        let topic = &mut self.topics[id];
        let market = &self.markets[topic.instrument as usize];
        let content = match topic.channel {
            Channel::Book => {
                // It is an update like any other: those who count them count it.
                let checksum = topic.checksum_if_due(|| market.checksum());
                Some(Content::Book(Levels { bids: &[], asks: &[], checksum, part: 1, parts: 1 }))
            }
            channel => market.content(channel, topic.view.period),
        };
        if let Some(content) = content {
            let to = emission(&self.catalog, &self.stats, topic.instrument, market.epoch);
            topic.emit(&to, &after(topic.last.seq, market.stamp(topic.channel)), &content);
            mark(topic, id, &mut self.dirty_topics);
        }
    }

    /// Tells a stream what it missed after `held`. Whether that was all of it.
    fn tell_missed(&mut self, id: SessionId, stream: StreamKey, held: u64, exactly: bool) -> bool {
        let (instrument, channel) = stream;
        if channel == Channel::Trades || (exactly && channel != Channel::Bars) {
            return self.tell_events(id, stream, held, exactly);
        }
        let last = self.topic(id, stream).last.seq;
        let protocol = self.sessions[id].encoding.protocol;
        match channel {
            Channel::Bars => {
                let held = self.lose_bars(id, stream, held);
                let messages = self.missed_bars(id, stream, held);
                let told = self.encode_missed(protocol, instrument, held, &messages);
                self.hand_over(id, stream, told);
            }
            Channel::Book => {
                let topic = self.topic(id, stream);
                let market = &self.markets[instrument as usize];
                let net = match topic.window {
                    None => self.net_change(topic, held),
                    // The whole of a view is short.
                    Some(_) => None,
                };
                let Some(NetChange([bids, asks])) = net else {
                    self.send_snapshot(id, stream);
                    return true;
                };
                // Of the book as it was at the end of an interval there is none.
                let checksum = (last == market.seq(channel)).then(|| market.checksum());
                let levels = Levels { bids: &bids, asks: &asks, checksum, part: 1, parts: 1 };
                let messages = [(after(held, topic.last), Content::Book(levels))];
                let told = self.encode_missed(protocol, instrument, held, &messages);
                self.hand_over(id, stream, told);
            }
            Channel::Orders => {
                // More follows: who is cut off before the snapshot must not take an empty book for the present one.
                let meta =
                    Meta { last: false, ..after(held, self.markets[instrument as usize].stamp(channel)) };
                let messages = [(meta, Content::Order(OrderChange::CLEAR))];
                let told = self.encode_missed(protocol, instrument, held, &messages);
                self.hand_over(id, stream, told);
                self.set_held(id, stream, last);
                self.send_snapshot(id, stream);
                return true;
            }
            Channel::Quotes | Channel::Ticker | Channel::Status | Channel::Trades => {
                let topic = self.topic(id, stream);
                let market = &self.markets[instrument as usize];
                if let Some(content) = topic.shown.or_else(|| market.content(channel, None)) {
                    let messages = [(after(held, topic.last), content)];
                    let told = self.encode_missed(protocol, instrument, held, &messages);
                    self.hand_over(id, stream, told);
                }
            }
        }
        self.settle(id, stream);
        true
    }

    /// Tells a stream its missed events one by one, as many as make one portion. Whether those were all.
    fn tell_events(&mut self, id: SessionId, stream: StreamKey, held: u64, exactly: bool) -> bool {
        let (instrument, channel) = stream;
        let last = self.topic(id, stream).last.seq;
        let mut held = held;
        if channel == Channel::Trades {
            // What is kept no more is lost, and of a conflated tape everything but its end.
            let kept = self.history.first(instrument, channel).unwrap_or(last + 1);
            let newest = if exactly { 0 } else { (last + 1).saturating_sub(limits::CONFLATED_TRADES_MAX) };
            let next = kept.max(newest);
            if next > held + 1 {
                self.stats.resumes(Resumed::Gap).add(u64::from(exactly));
                self.push_gap(id, stream, self.markets[instrument as usize].epoch, held + 1, next - 1);
                held = next - 1;
                self.set_held(id, stream, held);
            }
        }
        let protocol = self.sessions[id].encoding.protocol;
        let market = &self.markets[instrument as usize];
        let missed =
            self.history.since(instrument, channel, held).map(|events| Missed::portion(events, market));
        let Some(missed) = missed else {
            if channel == Channel::Trades {
                self.settle(id, stream);
                return true;
            }
            if channel == Channel::Orders {
                self.stats.resumes(Resumed::Gap).add(1);
                self.push_gap(id, stream, self.markets[instrument as usize].epoch, held + 1, last);
                self.set_held(id, stream, last);
            } else {
                self.stats.resumes(Resumed::Snapshot).add(1);
            }
            self.send_snapshot(id, stream);
            return true;
        };
        let messages: Vec<(Meta, Content<'_>)> =
            missed.iter().filter_map(|missed| Some((missed.meta, missed.content()?))).collect();
        let told = self.encode_missed(protocol, instrument, held, &messages);
        let held = told.held;
        self.hand_over(id, stream, told);
        self.set_held(id, stream, held);
        if held >= last {
            self.stats.resumes(Resumed::Exact).add(u64::from(exactly));
            self.settle(id, stream);
        }
        held >= last
    }

    /// What changed in a full view of a book after `held`, as far as its subscribers were told.
    fn net_change(&self, topic: &Topic, held: u64) -> Option<NetChange> {
        let market = &self.markets[topic.instrument as usize];
        NetChange::between(&self.history, market, topic.instrument, held, topic.last.seq)
    }

    /// Declares the completed bars that are kept no more. What the client then holds.
    fn lose_bars(&mut self, id: SessionId, stream: StreamKey, held: u64) -> u64 {
        let market = &self.markets[stream.0 as usize];
        let (missing, _) = market.completed_since(self.period(id, stream), held);
        if missing == 0 {
            return held;
        }
        self.push_gap(id, stream, market.epoch, held + 1, missing);
        self.set_held(id, stream, missing);
        missing
    }

    /// Each bar completed after `held`, and what there is to show now.
    fn missed_bars(&self, id: SessionId, stream: StreamKey, held: u64) -> Vec<(Meta, Content<'static>)> {
        let market = &self.markets[stream.0 as usize];
        let topic = self.topic(id, stream);
        let period = self.period(id, stream);
        let (mut held, mut messages) = (held, Vec::new());
        let (_, completed) = market.completed_since(period, held);
        for (stamp, bar) in completed {
            messages.push((after(held, *stamp), Content::Bar(*bar)));
            held = stamp.seq;
        }
        // Also where none runs: what ended were bars of other periods, and it has to be covered.
        if let Some(content) = market.content(Channel::Bars, Some(period)).filter(|_| held < topic.last.seq) {
            messages.push((after(held, topic.last), content));
        }
        messages
    }

    /// The topic of a stream that the session has.
    fn topic(&self, id: SessionId, stream: StreamKey) -> &Topic {
        &self.topics[self.sessions[id].subscriptions[&stream].topic]
    }

    fn period(&self, id: SessionId, stream: StreamKey) -> Period {
        self.topic(id, stream).view.period.unwrap_or(Period::Minute)
    }

    fn encode_missed(
        &self,
        protocol: Protocol,
        instrument: u32,
        held: u64,
        messages: &[(Meta, Content<'_>)],
    ) -> Told {
        let market = &self.markets[instrument as usize];
        let to = emission(&self.catalog, &self.stats, instrument, market.epoch);
        let (mut tally, mut held) = (Tally::default(), held);
        for (meta, content) in messages {
            tally += Tally::of_message(held, meta, content);
            held = meta.last_seq;
        }
        let frames = encode_frames(protocol, &to, messages.iter().copied(), self.fragment_bytes());
        Told { frames, messages: messages.len() as u64, tally, held }
    }

    fn hand_over(&mut self, id: SessionId, stream: StreamKey, told: Told) {
        let Told { frames, messages, tally, .. } = told;
        self.stats.messages.add(messages);
        self.count(id, stream, tally);
        self.push_frames(id, frames);
    }

    /// Sends the state of a stream; what follows it, follows it from here on.
    fn send_snapshot(&mut self, id: SessionId, stream: StreamKey) {
        let subscription = &self.sessions[id].subscriptions[&stream];
        let (topic, state) = (subscription.topic, subscription.state);
        let (seq, encoding) = (self.topics[topic].last.seq, self.sessions[id].encoding);
        if let Some(frames) = self.snapshot(topic, seq, encoding) {
            if let State::Behind { held, .. } = state {
                self.count(id, stream, Tally { merged: seq.saturating_sub(held), ..Tally::default() });
            }
            self.push_snapshot(id, frames);
        }
        self.settle(id, stream);
    }

    /// The state of a topic as its subscribers hold it, encoded once for all who ask at the same sequence; `None` where
    /// there is none (no trade yet).
    fn snapshot(&mut self, topic: usize, seq: u64, encoding: Encoding) -> Option<Frames> {
        if let Some(known) = self.topics[topic].snapshot(encoding, seq) {
            return Some(known);
        }
        let frames = match encoding.window_bits {
            0 => self.encode(topic, encoding.protocol)?,
            bits => {
                let plain = self.snapshot(topic, seq, Encoding::plain(encoding.protocol))?;
                self.compress(plain, bits)
            }
        };
        self.topics[topic].keep_snapshot(encoding, seq, frames.clone());
        Some(frames)
    }

    fn encode(&self, topic: usize, protocol: Protocol) -> Option<Frames> {
        let Topic { instrument, channel, window, last, shown, view, .. } = &self.topics[topic];
        let market = &self.markets[*instrument as usize];
        let to = emission(&self.catalog, &self.stats, *instrument, market.epoch);
        let (meta, fragment) = (last.snapshot(), self.fragment_bytes());
        self.stats.snapshots.add(1);
        match channel {
            Channel::Book => {
                let part_levels = match protocol {
                    Protocol::Binary => limits::SNAPSHOT_PART_LEVELS,
                    Protocol::Json => limits::SNAPSHOT_PART_LEVELS_JSON,
                };
                Some(match window {
                    Some(window) => {
                        let sides = [Side::Bid, Side::Ask].map(|side| window.levels(side));
                        encode_frames(
                            protocol,
                            &to,
                            book_parts(meta, sides, window.checksum(), part_levels),
                            fragment,
                        )
                    }
                    None => {
                        let [bids, asks] = market.levels(None);
                        let parts = book_parts(meta, [&bids, &asks], market.checksum(), part_levels);
                        encode_frames(protocol, &to, parts, fragment)
                    }
                })
            }
            Channel::Orders => {
                let part_orders = match protocol {
                    Protocol::Binary => limits::SNAPSHOT_PART_ORDERS,
                    Protocol::Json => limits::SNAPSHOT_PART_ORDERS_JSON,
                };
                let orders: Vec<Order> =
                    [Side::Bid, Side::Ask].into_iter().flat_map(|side| market.orders.orders(side)).collect();
                Some(encode_frames(protocol, &to, order_parts(meta, &orders, part_orders), fragment))
            }
            _ => {
                let content = shown.or_else(|| market.content(*channel, view.period))?;
                Some(encode_frames(protocol, &to, std::iter::once((meta, content)), fragment))
            }
        }
    }
}

/// Of a message that covers everything after `held` up to that event.
fn after(held: u64, stamp: Stamp) -> Meta {
    Meta { first_seq: held + 1, snapshot: false, ..stamp.snapshot() }
}

/// A message as it was when it was emitted.
struct Missed {
    meta: Meta,
    body: Body,
    /// Of a book: what changed, and the checksum where it had one.
    levels: [Vec<Level>; 2],
    checksum: Option<u32>,
}

impl Missed {
    /// Messages of the first [`limits::CATCH_UP_EVENTS`] of these events, and of what belongs to the same exchange event
    /// as the last.
    fn portion<'a>(events: impl Iterator<Item = &'a Event>, market: &Market) -> Vec<Missed> {
        let (mut messages, mut levels) = (Vec::new(), <[Vec<Level>; 2]>::default());
        let mut first_seq = None;
        for (taken, event) in events.enumerate() {
            let body = event.body();
            let first_seq_now = *first_seq.get_or_insert(event.seq);
            let mut checksum = None;
            if let Body::Level { side, price, quantity } = body {
                levels[side.index()].push(Level { price, quantity });
                // A piece that was cut off ends with a record of this stream too.
                if event.flags & event_flags::ENDS_STREAM == 0 {
                    continue;
                }
                checksum = market.checksum_at(event.seq);
            }
            first_seq = None;
            let (meta, levels) = (meta(event, first_seq_now), std::mem::take(&mut levels));
            messages.push(Missed { meta, body, levels, checksum });
            if taken + 1 >= limits::CATCH_UP_EVENTS {
                break;
            }
        }
        messages
    }

    fn content(&self) -> Option<Content<'_>> {
        Some(match self.body {
            Body::Quote(quote) => Content::Quote(quote),
            Body::Trade(trade) => Content::Trade(trade),
            Body::Order(change) => Content::Order(change),
            Body::Ticker(ticker) => Content::Ticker(ticker),
            Body::Status(status) => Content::Status(status),
            Body::Level { .. } => {
                let [bids, asks] = &self.levels;
                Content::Book(Levels { bids, asks, checksum: self.checksum, part: 1, parts: 1 })
            }
            Body::Bar(_) | Body::Reset { .. } | Body::Ended => return None,
        })
    }
}
