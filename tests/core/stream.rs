//! One stream as a client holds it, checked message by message by the rules of `docs/protocol.md`.

use tickcast::model::{
    BarStep, Body, Channel, Level, Order, OrderAction, OrderChange, Period, Side, event_flags,
};
use tickcast::wire::market::MessageBody;
use tickcast::wire::message::Meta;

use super::counts::Counts;
use super::oracle::{Levels, Oracle, Queues, Replica, StreamKey, best, checksum, set};
use super::reading::Data;

/// Updates of a book among which one carries a checksum.
const CHECKSUM_UPDATES: u32 = 100;
/// Trades that a conflated stream is told at the most before the rest is declared lost.
const CONFLATED_TRADES: u64 = 1_024;
/// Completed bars of a period that the server keeps.
const BARS_KEPT: usize = 128;
/// How long a stream may be waited for that is ahead of its shard, less one look at the timers.
const AHEAD_NS: u64 = 1_750_000_000;

/// What is known beside the stream when a message comes.
pub struct Around<'a> {
    pub oracle: &'a Oracle,
    /// Whether the connection was told at some time that it is conflated.
    pub conflated: bool,
    /// Whether the server still has everything of an epoch's stream after a sequence.
    pub kept: &'a dyn Fn(u64, StreamKey, u64) -> bool,
    pub now_ns: u64,
}

/// Where a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything up to this sequence is held.
    At(u64),
    /// Only a snapshot can go on.
    Awaits {
        /// It shows no sequence before this.
        at_least: u64,
        /// What is held and counted already: what lies between is merged.
        held: Option<u64>,
        /// Of what may have no state: the sequence from which it goes on without a snapshot.
        or: Option<u64>,
    },
    /// The client claims a sequence that its shard has not reached.
    Ahead(u64),
}

/// What of a stream is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct View {
    pub depth: Option<u32>,
    pub interval_ms: u64,
    pub period: Option<Period>,
}

impl View {
    pub fn is_whole(self) -> bool {
        self == View { depth: None, interval_ms: 0, period: None }
    }
}

/// The parts of a snapshot so far.
#[derive(Debug)]
struct Parts {
    taken: u16,
    of: u16,
    last_seq: u64,
    levels: [Vec<Level>; 2],
    orders: Vec<Order>,
}

#[derive(Debug)]
pub struct Stream {
    pub key: StreamKey,
    pub view: View,
    /// Whether state comes first after a reset.
    pub wants_snapshot: bool,
    pub never_conflate: bool,
    pub epoch: u64,
    pub state: State,
    /// Whether it goes on from where an earlier connection stood, and nothing has come yet.
    pub resumed: bool,
    /// When the client asked for it.
    pub asked_ns: u64,
    /// Whether it then claimed more than its shard had heard.
    pub is_ahead: bool,
    /// Whether the server stopped waiting for it: its ledger then begins anew, and only it knows when.
    pub was_given_up: bool,
    /// Sequences delivered, merged, lost.
    pub ledger: [u64; 3],
    levels: Levels,
    orders: Queues,
    /// What the oracle says of the same sequence.
    replica: Replica,
    parts: Option<Parts>,
    unchecked: u32,
    /// The end of its epoch was declared lost: only a reset may follow.
    lost_its_end: bool,
}

impl Stream {
    pub fn new(key: StreamKey, view: View, epoch: u64, state: State, oracle: &Oracle) -> Stream {
        let mut stream = Stream {
            key,
            view,
            wants_snapshot: true,
            never_conflate: false,
            epoch,
            state,
            resumed: false,
            asked_ns: 0,
            is_ahead: false,
            was_given_up: false,
            ledger: [0; 3],
            levels: Levels::default(),
            orders: Queues::default(),
            replica: Replica::default(),
            parts: None,
            unchecked: 0,
            lost_its_end: false,
        };
        if let State::At(seq) | State::Awaits { or: Some(seq), .. } = state {
            stream.begin_at(seq, oracle);
        }
        stream
    }

    /// Holds what the oracle says of a sequence, as if it had been told.
    fn begin_at(&mut self, seq: u64, oracle: &Oracle) {
        self.replica = Replica::at(oracle, self.epoch, self.key, seq);
        self.levels = self.visible();
        self.orders = self.replica.orders.clone();
    }

    /// The levels of the oracle's book that the view shows.
    fn visible(&self) -> Levels {
        [Side::Bid, Side::Ask].map(|side| {
            let levels = best(&self.replica.levels, side, self.view.depth);
            levels.into_iter().map(|level| (level.price, level.quantity)).collect()
        })
    }

    /// The sequence up to which it holds everything.
    pub fn held(&self) -> Option<u64> {
        match self.state {
            State::At(seq) => Some(seq),
            State::Awaits { held, or, .. } => held.or(or),
            State::Ahead(_) => None,
        }
    }

    fn count(&mut self, what: usize, amount: u64, counts: &mut Counts) {
        self.ledger[what] += amount;
        *[&mut counts.delivered, &mut counts.merged, &mut counts.lost][what] += amount;
    }

    /// Whether messages may stand for several updates.
    fn may_merge(&self, around: &Around<'_>) -> bool {
        self.view.interval_ms > 0 || around.conflated
    }

    /// Takes a message of market data.
    pub fn data(&mut self, data: &Data, around: &Around<'_>, counts: &mut Counts) {
        assert!(data.epoch.is_none_or(|epoch| epoch == self.epoch), "{:?} in {:?}", data.epoch, self);
        // A gap that reaches the end of its epoch is followed by the snapshot it announces, or by the reset.
        let announced = self.key.1 == Channel::Orders && data.meta.snapshot;
        assert!(announced || !self.lost_its_end, "data after the end of its epoch was lost: {data:?}");
        let last = data.meta.last_seq;
        let published = around.oracle.last(self.epoch, self.key);
        assert!(last <= published, "{last} was never published ({published} were): {data:?}");
        if self.key.1 == Channel::Book && last > 0 {
            let track = around.oracle.track(self.epoch, self.key).unwrap();
            assert!(track.updates.binary_search(&last).is_ok(), "half of an exchange event: {data:?}");
        }
        if let Some(parts) = &self.parts {
            assert!(
                data.meta.snapshot && parts.last_seq == last,
                "between the parts of a snapshot: {data:?}"
            );
        }
        if data.meta.snapshot {
            self.snapshot(&data.meta, &data.body, around, counts);
        } else {
            self.update(data, around, counts);
        }
    }

    fn snapshot(&mut self, meta: &Meta, body: &MessageBody, around: &Around<'_>, counts: &mut Counts) {
        assert_eq!(meta.first_seq, meta.last_seq, "a snapshot covers nothing");
        let (part, of) = match body {
            MessageBody::Book { part, parts, .. } | MessageBody::Orders { part, parts, .. } => {
                (*part, *parts)
            }
            _ => (1, 1),
        };
        assert_eq!(meta.last, part == of, "the last part ends it");
        let (levels, orders) = (Default::default(), Vec::new());
        let mut parts =
            self.parts.take().unwrap_or(Parts { taken: 0, of, last_seq: meta.last_seq, levels, orders });
        assert_eq!((parts.taken + 1, parts.of), (part, of), "parts in their order");
        parts.taken = part;
        match body {
            MessageBody::Book { bids, asks, checksum, .. } => {
                parts.levels[0].extend(bids);
                parts.levels[1].extend(asks);
                assert_eq!(checksum.is_some(), part == of, "the checksum stands in the last part");
            }
            MessageBody::Orders { orders, .. } => parts.orders.extend(orders),
            _ => {}
        }
        if part < of {
            self.parts = Some(parts);
            return;
        }
        counts.snapshots += 1;
        counts.snapshots_in_parts += u64::from(of > 1);
        let seq = meta.last_seq;
        match self.state {
            State::At(held) => {
                self.may_replace(seq, held, around);
                counts.snapshots_instead += 1;
                self.count(1, seq.saturating_sub(held), counts);
            }
            State::Awaits { at_least, held, .. } => {
                // Who claimed what its shard did not know waits, but not for ever.
                assert!(
                    seq >= at_least || self.has_waited(around),
                    "older than what the client holds: {seq} of {self:?}"
                );
                self.count(1, held.map_or(0, |held| seq - held), counts);
            }
            State::Ahead(claimed) => {
                self.count(1, seq.saturating_sub(claimed), counts);
                assert!(
                    seq >= claimed || self.has_waited(around),
                    "older than what the client holds: {seq} of {self:?}"
                );
            }
        }
        self.was_given_up |= self.resumed && self.has_waited(around);
        self.state = State::At(seq);
        (self.resumed, self.unchecked, self.lost_its_end) = (false, 0, false);
        if self.replica.seq > seq {
            self.replica = Replica::default();
        }
        self.replica.advance(around.oracle, self.epoch, self.key, seq);
        let [bids, asks] = &parts.levels;
        assert!(bids.windows(2).all(|pair| pair[0].price > pair[1].price), "bids fall");
        assert!(asks.windows(2).all(|pair| pair[0].price < pair[1].price), "asks rise");
        self.levels =
            parts.levels.map(|levels| levels.into_iter().map(|it| (it.price, it.quantity)).collect());
        self.orders = Queues::default();
        parts.orders.iter().for_each(|order| self.orders.push(*order));
        assert!(self.orders.iter().eq(parts.orders), "orders stand in price-time priority");
        self.shows(meta, body, around, counts);
    }

    /// Whether the sequence that was claimed was ahead of the shard, so long ago that it may have stopped waiting for it.
    fn has_waited(&self, around: &Around<'_>) -> bool {
        self.is_ahead && around.now_ns - self.asked_ns >= AHEAD_NS
    }

    /// Whether a snapshot may come in the place of updates.
    fn may_replace(&self, seq: u64, held: u64, around: &Around<'_>) {
        if self.resumed && self.has_waited(around) {
            return;
        }
        assert!(seq >= held, "back from {held} to {seq}: {self:?}");
        let is_book_of_intervals = self.key.1 == Channel::Book && self.view.interval_ms > 0;
        if self.resumed && !around.conflated {
            assert!(
                !(around.kept)(self.epoch, self.key, held),
                "a snapshot instead of what the ring has: {self:?}"
            );
            return;
        }
        assert!(around.conflated || is_book_of_intervals, "a snapshot that nobody asked for: {self:?}");
    }

    fn update(&mut self, data: &Data, around: &Around<'_>, counts: &mut Counts) {
        let Data { meta, body, .. } = data;
        let held = match self.state {
            State::At(held) => held,
            State::Awaits { or: Some(seq), .. } => seq,
            State::Ahead(claimed) => {
                self.begin_at(claimed, around.oracle);
                claimed
            }
            State::Awaits { .. } => panic!("an update before its snapshot: {data:?} of {self:?}"),
        };
        let last = meta.last_seq;
        assert_eq!(meta.first_seq, held + 1, "a gap or a repetition: {data:?} of {self:?}");
        assert!(last > held, "{data:?}");
        let carried = match body {
            MessageBody::Book { bids, asks, .. } => (bids.len() + asks.len()) as u64,
            _ => 1,
        };
        let delivered = carried.min(last - held);
        let merged = last - held - delivered;
        assert!(data.merged.is_none_or(|told| told == merged), "merged: {data:?}");
        self.count(0, delivered, counts);
        self.count(1, merged, counts);
        counts.merged_messages += u64::from(merged > 0);
        let is_narrow = self.view.depth.is_some() || self.key.1 == Channel::Bars;
        assert!(
            merged == 0 || is_narrow || self.may_merge(around),
            "merged for nothing: {data:?} of {self:?}"
        );
        self.state = State::At(last);
        let resumes = std::mem::take(&mut self.resumed);
        self.replica.completed.clear();
        self.replica.advance(around.oracle, self.epoch, self.key, last);
        let event = around.oracle.event(self.epoch, self.key, last);
        if !self.may_merge(around) {
            assert_eq!(meta.last, event.flags & event_flags::LAST_OF_STREAM != 0, "{data:?}");
        }
        match body {
            MessageBody::Book { bids, asks, checksum, .. } => {
                for (levels, changed) in self.levels.iter_mut().zip([bids, asks]) {
                    changed.iter().for_each(|level| set(levels, level.price, level.quantity));
                }
                self.unchecked = if checksum.is_some() { 0 } else { self.unchecked + 1 };
                if self.view.is_whole() {
                    self.is_as_it_happened(meta, [bids, asks], checksum.is_some(), resumes, around);
                }
                assert!(self.unchecked < CHECKSUM_UPDATES, "no checksum for too long: {self:?}");
            }
            MessageBody::Order(change) => {
                let is_event = last == held + 1 && event.body() == Body::Order(*change);
                self.orders.follow(change);
                if !is_event {
                    assert_eq!(*change, OrderChange::CLEAR, "a change that was never published: {data:?}");
                    assert!(around.conflated, "cleared for nothing: {data:?}");
                    self.state = State::Awaits { at_least: last, held: Some(last), or: None };
                    counts.order_changes += 1;
                    return;
                }
                if change.action == OrderAction::Clear && around.conflated {
                    // It may have been meant as the beginning of a snapshot.
                    self.state = State::At(last);
                }
            }
            MessageBody::Trade(_) | MessageBody::Status(_) => {
                assert_eq!(last, held + 1, "never merged: {data:?}");
            }
            _ => {}
        }
        self.shows(meta, body, around, counts);
    }

    /// The message says, and the client then holds, what the oracle says of its last sequence.
    fn shows(&mut self, meta: &Meta, body: &MessageBody, around: &Around<'_>, counts: &mut Counts) {
        let last = meta.last_seq;
        let event = (last > 0).then(|| around.oracle.event(self.epoch, self.key, last));
        if let Some(event) = event {
            assert_eq!((meta.ts_ns, meta.sent_ns), (event.ts_ns, event.sent_ns), "stamps of {meta:?}");
        }
        let said = event.map(|event| event.body());
        match body {
            MessageBody::Quote(quote) => {
                counts.quotes += 1;
                assert!(said.is_none_or(|said| said == Body::Quote(*quote)), "{quote:?} is not {said:?}");
            }
            MessageBody::Trade(trade) => {
                counts.trades += 1;
                assert_eq!(said, Some(Body::Trade(*trade)));
            }
            MessageBody::Ticker(ticker) => {
                counts.tickers += 1;
                assert!(said.is_none_or(|said| said == Body::Ticker(*ticker)), "{ticker:?} is not {said:?}");
            }
            MessageBody::Status(status) => {
                counts.statuses += 1;
                let status = status.unwrap();
                assert!(said.is_none_or(|said| said == Body::Status(status)), "{status:?} is not {said:?}");
            }
            MessageBody::Book { checksum: told, .. } => {
                counts.books += 1;
                counts.states_compared += 1;
                assert_eq!(self.levels, self.visible(), "the book at {last}: {:?} {:?}", self.key, self.view);
                if let Some(told) = told {
                    counts.checksums += 1;
                    assert_eq!(*told, checksum(&self.levels, self.view.depth), "the checksum at {last}");
                }
            }
            MessageBody::Order(_) | MessageBody::Orders { .. } => {
                counts.order_changes += 1;
                counts.states_compared += 1;
                assert_eq!(self.orders, self.replica.orders, "the orders at {last}");
            }
            MessageBody::Bar(bar) => {
                counts.bars += 1;
                counts.states_compared += 1;
                assert_eq!(Some(bar.period), self.view.period);
                let completed = &self.replica.completed;
                let of_period = || completed.iter().filter(|(_, it)| it.period == bar.period);
                if !meta.snapshot {
                    assert!(
                        of_period().all(|(seq, _)| *seq == last),
                        "a completed bar was passed over before {last}"
                    );
                }
                counts.bars_completed += u64::from(bar.complete);
                assert_eq!(self.replica.bars.shown(bar.period), Some(*bar), "the bar at {last}");
            }
            MessageBody::Unknown(kind) => panic!("kind {kind}"),
        }
    }

    /// An update of a full book is what one exchange event changed, record by record, with a checksum at each hundredth:
    /// whoever resumes gets what everybody got.
    fn is_as_it_happened(
        &self,
        meta: &Meta,
        sides: [&[Level]; 2],
        has_checksum: bool,
        resumes: bool,
        around: &Around<'_>,
    ) {
        let track = around.oracle.track(self.epoch, self.key).unwrap();
        let number = track.updates.binary_search(&meta.last_seq);
        let before = number.map(|at| if at == 0 { 0 } else { track.updates[at - 1] });
        // Who claims to stand in the middle of an update gets the rest of it.
        let is_rest = resumes && before.is_ok_and(|before| before < meta.first_seq);
        if before != Ok(meta.first_seq - 1) && !is_rest {
            assert!(self.may_merge(around), "no update of its own: {meta:?} of {self:?}");
            assert!(has_checksum, "a merged update has a checksum: {meta:?}");
            return;
        }
        let hundredth = (number.unwrap() + 1).is_multiple_of(CHECKSUM_UPDATES as usize);
        assert!(has_checksum || !hundredth, "update {number:?} has a checksum: {meta:?}");
        if !self.may_merge(around) {
            assert_eq!(has_checksum, hundredth, "the same message for everybody: {meta:?}");
            for side in [Side::Bid, Side::Ask] {
                let events = around.oracle.between(self.epoch, self.key, meta.first_seq - 1, meta.last_seq);
                let changed = events.iter().filter_map(|event| match event.body() {
                    Body::Level { side: of, price, quantity } if of == side => {
                        Some(Level { price, quantity })
                    }
                    _ => None,
                });
                assert!(changed.eq(sides[side.index()].iter().copied()), "{meta:?}");
            }
        }
    }

    /// A loss was declared.
    pub fn gap(&mut self, epoch: u64, from: u64, to: u64, around: &Around<'_>, counts: &mut Counts) {
        let held = match self.state {
            State::At(held) | State::Awaits { or: Some(held), .. } => held,
            State::Ahead(claimed) => {
                self.begin_at(claimed, around.oracle);
                claimed
            }
            State::Awaits { .. } => panic!("a gap where nothing is held: {self:?}"),
        };
        self.state = State::At(held);
        let published = around.oracle.last(epoch, self.key);
        assert_eq!((epoch, from), (self.epoch, held + 1), "a gap {from}..={to} of {self:?}");
        assert!(from <= to && to <= published, "a gap {from}..={to} of {published}");
        let is_over = around.oracle.epoch(self.key.0) != epoch;
        let has_passed = !(around.kept)(self.epoch, self.key, held);
        match self.key.1 {
            channel if is_over && to == published => {
                self.lost_its_end = true;
                if channel == Channel::Orders {
                    self.state = State::Awaits { at_least: to, held: Some(to), or: None };
                }
            }
            Channel::Trades => {
                let is_long = around.conflated && published - held > CONFLATED_TRADES;
                assert!(
                    has_passed || is_long,
                    "{from}..={to} of {published} was not lost, now {} {is_over} {}: {self:?}",
                    around.now_ns,
                    around.conflated
                );
            }
            Channel::Orders => {
                assert!(self.resumed && has_passed, "{from}..={to} was not lost: {self:?}");
                self.state = State::Awaits { at_least: to, held: Some(to), or: None };
            }
            Channel::Bars => {
                let period = self.view.period.unwrap();
                let mut replica = self.replica.clone();
                replica.completed.clear();
                replica.advance(around.oracle, epoch, self.key, published);
                let completed = replica.completed.iter().filter(|(_, bar)| bar.period == period).count();
                assert!(completed > BARS_KEPT, "{from}..={to} was not lost, {completed} bars: {self:?}");
            }
            channel => panic!("{channel} is never lost in mid-stream: {from}..={to} of {self:?}"),
        }
        if !matches!(self.state, State::Awaits { .. }) {
            self.state = State::At(to);
        }
        self.count(2, to + 1 - from, counts);
        self.replica.advance(around.oracle, epoch, self.key, to);
    }

    /// History has ended: everything of the old epoch was told, unless the stream was to end in it.
    pub fn reset(&mut self, epoch: u64, leaves: bool, around: &Around<'_>) {
        assert!(epoch > self.epoch, "epochs only grow: {epoch} after {self:?}");
        assert!(self.parts.is_none(), "half a snapshot");
        if !self.lost_its_end && !leaves {
            self.is_complete(around.oracle.last(self.epoch, self.key), around.oracle);
        }
        // Who waited for a snapshot of the old epoch waits for one of the new.
        let awaits = matches!(self.state, State::Awaits { .. }) && !self.lost_its_end;
        let state = if awaits || (self.wants_snapshot && self.key.1 != Channel::Trades) {
            let or = matches!(self.key.1, Channel::Bars | Channel::Trades).then_some(0);
            State::Awaits { at_least: 0, held: None, or }
        } else {
            State::At(0)
        };
        let Stream { key, view, wants_snapshot, never_conflate, ledger, asked_ns, .. } = *self;
        *self = Stream {
            wants_snapshot,
            never_conflate,
            ledger,
            asked_ns,
            ..Stream::new(key, view, epoch, state, around.oracle)
        };
    }

    /// Whatever was published up to `seq` was told, as far as the view shows it.
    pub fn is_complete(&self, seq: u64, oracle: &Oracle) {
        let State::At(held) = self.state else { return };
        assert!(held <= seq, "more than there was: {self:?}, {seq}");
        match self.key.1 {
            Channel::Book if self.view.depth.is_some() => {
                let mut later = Stream::new(self.key, self.view, self.epoch, State::At(0), oracle);
                later.replica = self.replica.clone();
                later.replica.advance(oracle, self.epoch, self.key, seq);
                assert_eq!(
                    self.levels,
                    later.visible(),
                    "not told up to {seq}: {:?} {:?}",
                    self.key,
                    self.view
                );
            }
            Channel::Bars => {
                let bit = 1 << self.view.period.unwrap().index();
                for event in oracle.between(self.epoch, self.key, held, seq) {
                    let concerns = match event.body() {
                        Body::Bar(BarStep::End { periods }) => periods & bit != 0,
                        _ => true,
                    };
                    assert!(!concerns, "{event:?} was not told: {self:?}");
                }
            }
            _ => assert_eq!(held, seq, "not told: {self:?}"),
        }
    }

    /// A heartbeat says that everything up to `seq` was told.
    pub fn heartbeat(&mut self, epoch: u64, seq: u64, oracle: &Oracle) {
        assert_eq!(epoch, self.epoch, "{self:?}");
        assert!(self.parts.is_none(), "{self:?}");
        if let State::Ahead(claimed) = self.state {
            // It was so, and its shard has come as far.
            self.begin_at(claimed.min(seq), oracle);
            self.state = State::At(claimed);
        }
        if let State::Awaits { or, .. } = self.state {
            assert!(or.is_some(), "a stream that has not begun is not complete: {self:?}");
            return;
        }
        assert!(
            self.held().is_some_and(|held| held <= seq),
            "complete up to less than what came: {seq} {self:?}"
        );
        if self.view.interval_ms > 0 {
            assert_eq!(self.held(), Some(seq), "{self:?}");
        } else {
            self.is_complete(seq, oracle);
        }
    }
}
