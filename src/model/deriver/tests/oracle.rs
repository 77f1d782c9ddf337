//! Random sources against an oracle that recomputes everything from scratch at the end of each event.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::model::{Bar, BarStep, Bars, OrderBook, OrderChange};

/// Quantity at each price of each side.
type Levels = BTreeMap<(u8, i64), i64>;

/// One instrument, kept in the simplest way that can be right.
#[derive(Clone, Default)]
struct Oracle {
    /// Resting orders: side, price, quantity by identifier.
    orders: BTreeMap<u64, (u8, i64, i64)>,
    /// Levels that were set as such.
    levels: Levels,
    /// Restated levels of the open event: by side, by number.
    tops: BTreeMap<u8, BTreeMap<u8, (i64, i64)>>,
    statuses: Vec<Status>,
    status: Status,
    trades: Vec<(u64, Trade)>,
    changes: Vec<OrderChange>,
    /// Every bar there was, those of one period in their order; a running one is the last of its period.
    bars: Vec<Bar>,
    /// Steps of the open event.
    steps: Vec<(u64, BarStep)>,
    last: Option<i64>,
    volume: i64,
    /// As it was when the last event ended.
    before: Levels,
    inconsistencies: u64,
}

impl Oracle {
    fn book(&self) -> Levels {
        let mut book = self.levels.clone();
        for (side, price, quantity) in self.orders.values() {
            *book.entry((*side, *price)).or_default() += quantity;
        }
        book
    }

    fn quote(&self) -> Quote {
        let book = self.book();
        let absent = (&(0, ABSENT), &ABSENT);
        let (bid, bid_quantity) = book.range((1, i64::MIN)..(2, i64::MIN)).last().unwrap_or(absent);
        let (ask, ask_quantity) = book.range((2, i64::MIN)..).next().unwrap_or(absent);
        Quote { bid: bid.1, bid_quantity: *bid_quantity, ask: ask.1, ask_quantity: *ask_quantity }
    }

    fn ticker(&self) -> Ticker {
        let Quote { bid, ask, .. } = self.quote();
        Ticker { bid, ask, last: self.last.unwrap_or(ABSENT), volume: self.volume }
    }

    fn apply(&mut self, primary: &Primary, now_ns: u64, channels: ChannelSet) {
        let traded = self.trades.len();
        let before = self.orders.clone();
        let consistent = self.take(primary);
        let change = self.change(primary, &before);
        self.changes.extend(change);
        if self.trades.len() > traded && channels.contains(Channel::Bars) {
            let ts_ns = if primary.ts_event_ns == ABSENT_TIME { now_ns } else { primary.ts_event_ns };
            self.trade_bars(ts_ns, primary.price, primary.quantity);
        }
        self.inconsistencies += u64::from(!consistent);
    }

    /// What the primary has done to the orders as they stood before.
    fn change(&self, primary: &Primary, before: &BTreeMap<u64, (u8, i64, i64)>) -> Option<OrderChange> {
        let kind = primary.kind().unwrap();
        let order_id = primary.order_id;
        let (was, is) = (before.get(&order_id), self.orders.get(&order_id));
        let told = |action, side, price, quantity, executed| {
            let side = Side::from_number(side);
            Some(OrderChange { action, order_id, side, price, quantity, executed })
        };
        match (kind, was, is) {
            (PrimaryKind::Clear, ..) => (!before.is_empty()).then_some(OrderChange::CLEAR),
            (_, None, Some((side, price, quantity))) => told(OrderAction::Add, *side, *price, *quantity, 0),
            (PrimaryKind::Execute, Some((side, price, rested)), is) => {
                let rests = is.map_or(0, |order| order.2);
                (rests < *rested)
                    .then(|| told(OrderAction::Execute, *side, *price, rests, rested - rests))
                    .flatten()
            }
            (PrimaryKind::Cancel | PrimaryKind::Modify, Some((side, price, _)), None) => {
                told(OrderAction::Cancel, *side, *price, 0, 0)
            }
            (PrimaryKind::Cancel, Some(was), Some(is)) if was != is => {
                told(OrderAction::Cancel, is.0, is.1, is.2, 0)
            }
            // Also one that says what is so already, unless it says what cannot be.
            (PrimaryKind::Modify, Some(_), Some(is)) if primary.quantity > 0 && primary.price != ABSENT => {
                told(OrderAction::Modify, is.0, is.1, is.2, 0)
            }
            _ => None,
        }
    }

    /// Ends what is over: the step, where it is not to be part of the open event.
    fn end_bars(&mut self, now_ns: u64) -> Option<BarStep> {
        let mut periods = 0;
        for bar in self.bars.iter_mut().filter(|bar| !bar.complete) {
            bar.complete = bar.start_ns + bar.period.nanoseconds() <= now_ns;
            periods |= u8::from(bar.complete) << bar.period.index();
        }
        let step = BarStep::End { periods };
        if periods != 0 && !self.steps.is_empty() {
            self.steps.push((now_ns, step));
            return None;
        }
        (periods != 0).then_some(step)
    }

    fn trade_bars(&mut self, ts_ns: u64, price: i64, quantity: i64) {
        self.steps.push((ts_ns, BarStep::Trade { price, quantity }));
        for period in Period::ALL {
            let length_ns = period.nanoseconds();
            let last = self.bars.iter_mut().rfind(|bar| bar.period == period);
            let earliest_ns = last.as_ref().map_or(0, |bar| bar.start_ns + length_ns);
            match last {
                Some(bar) if !bar.complete => {
                    let (high, low) = (bar.high.max(price), bar.low.min(price));
                    *bar = Bar { high, low, close: price, volume: bar.volume + quantity, ..*bar };
                }
                _ => {
                    let start_ns = (ts_ns / length_ns * length_ns).max(earliest_ns);
                    let (open, high, low, close) = (price, price, price, price);
                    let (volume, complete) = (quantity, false);
                    self.bars.push(Bar { period, start_ns, open, high, low, close, volume, complete });
                }
            }
        }
    }

    fn take(&mut self, primary: &Primary) -> bool {
        let Primary { order_id, price, quantity, side, .. } = *primary;
        let (has_side, has_price) = (side == 1 || side == 2, price != ABSENT);
        match primary.kind().unwrap() {
            PrimaryKind::Modify if self.orders.contains_key(&order_id) => {
                if quantity == 0 {
                    self.orders.remove(&order_id);
                } else if quantity > 0 && has_price {
                    let order = self.orders.get_mut(&order_id).unwrap();
                    (order.1, order.2) = (price, quantity);
                }
                quantity == 0 || quantity > 0 && has_price
            }
            PrimaryKind::Add | PrimaryKind::Modify => {
                let fine = has_side && has_price && quantity > 0 && !self.orders.contains_key(&order_id);
                if fine {
                    self.orders.insert(order_id, (side, price, quantity));
                }
                fine
            }
            PrimaryKind::Cancel | PrimaryKind::Execute => {
                let resting = self.orders.get(&order_id).map(|order| order.2);
                match resting {
                    Some(resting) if quantity > 0 && quantity < resting => {
                        self.orders.get_mut(&order_id).unwrap().2 -= quantity;
                        true
                    }
                    Some(resting) if quantity > 0 => {
                        self.orders.remove(&order_id);
                        quantity == resting
                    }
                    _ => false,
                }
            }
            PrimaryKind::Trade => {
                let fine = has_price && quantity >= 0;
                let of_snapshot = primary.flags & primary_flags::SNAPSHOT != 0;
                if fine {
                    self.last = Some(price);
                    self.volume = if of_snapshot { quantity } else { self.volume + quantity };
                }
                if fine && !of_snapshot {
                    let aggressor = Aggressor::from_number(side);
                    self.trades.push((
                        primary.ts_event_ns,
                        Trade { price, quantity, trade_id: order_id, aggressor },
                    ));
                }
                fine
            }
            PrimaryKind::Clear => {
                self.orders.clear();
                self.levels.clear();
                self.tops.clear();
                true
            }
            PrimaryKind::Level => {
                let fine = has_side && has_price && quantity >= 0;
                if fine && quantity > 0 {
                    self.levels.insert((side, price), quantity);
                } else if fine {
                    self.levels.remove(&(side, price));
                }
                fine
            }
            PrimaryKind::Top => {
                let stands = quantity > 0 && has_price;
                if has_side {
                    let stated = if stands { (price, quantity) } else { (ABSENT, 0) };
                    self.tops.entry(side).or_default().insert(primary.level, stated);
                }
                has_side && (stands || quantity == 0)
            }
            PrimaryKind::Status => match Status::from_number(primary.level) {
                Some(status) if status != self.status => {
                    self.status = status;
                    self.statuses.push(status);
                    true
                }
                known => known.is_some(),
            },
            PrimaryKind::Fill | PrimaryKind::Note => true,
        }
    }

    /// What the event should give, levels in the order of their prices; sequences and flags are looked at elsewhere.
    fn end(&mut self, channels: ChannelSet, before: &Oracle, ts_ns: u64) -> Vec<(u64, Body)> {
        for (side, top) in std::mem::take(&mut self.tops) {
            self.levels.retain(|(other, _), _| *other != side);
            let standing = top.into_values().filter(|(_, quantity)| *quantity > 0);
            self.levels.extend(standing.map(|(price, quantity)| ((side, price), quantity)));
        }
        let at_the_end = |body| (ts_ns, body);
        let mut bodies: Vec<(u64, Body)> =
            self.statuses.drain(..).map(|status| at_the_end(Body::Status(status))).collect();
        bodies.extend(self.trades.drain(..).map(|(ts_ns, trade)| (ts_ns, Body::Trade(trade))));
        bodies.extend(self.changes.drain(..).map(|change| at_the_end(Body::Order(change))));
        let now = self.book();
        let places: BTreeSet<(u8, i64)> = self.before.keys().chain(now.keys()).copied().collect();
        for (side, price) in places {
            let quantity = |levels: &Levels| levels.get(&(side, price)).copied().unwrap_or(0);
            if quantity(&self.before) != quantity(&now) {
                bodies.push(at_the_end(level(Side::from_number(side).unwrap(), price, quantity(&now))));
            }
        }
        self.before = now;
        if self.quote() != before.quote() {
            bodies.push(at_the_end(Body::Quote(self.quote())));
        }
        if self.ticker() != before.ticker() {
            bodies.push(at_the_end(Body::Ticker(self.ticker())));
        }
        bodies.extend(self.steps.drain(..).map(|(ts_ns, step)| (ts_ns, Body::Bar(step))));
        bodies.retain(|(_, body)| channels.contains(Event::new(0, 0, 0, *body).channel().unwrap()));
        bodies
    }
}

/// Instrument 0 tells of orders, 1 of levels, 2 restates its best levels; all trade, halt and are cleared.
pub(super) fn random_primary() -> impl Strategy<Value = Primary> {
    use PrimaryKind::*;
    let kind = prop_oneof![
        12 => Just([Add, Level, Top]),
        6 => Just([Cancel, Level, Top]),
        6 => Just([Execute, Level, Top]),
        6 => Just([Modify, Level, Top]),
        4 => Just([Trade; 3]),
        1 => Just([Status; 3]),
        1 => Just([Clear; 3]),
        1 => Just([Fill, Note, Note]),
    ];
    let price = prop_oneof![20 => 95_i64..105, 1 => Just(ABSENT)];
    let side = prop_oneof![10 => Just(1_u8), 10 => Just(2), 1 => Just(0), 1 => Just(3)];
    // Some 65 s in any order, so that bars end and trades come late.
    let ts = prop_oneof![20 => 0_u64..1 << 36, 1 => Just(ABSENT_TIME)];
    let flag = |flag, often| prop::bool::weighted(often).prop_map(move |set| u8::from(set) * flag);
    let flags = (flag(primary_flags::LAST, 0.1), flag(primary_flags::SNAPSHOT, 0.1)).prop_map(|(a, b)| a | b);
    (kind, 0_u32..3, side, price, -1_i64..6, 0_u64..30, 0_u8..6, flags, ts).prop_map(
        |(kinds, instrument, side, price, quantity, order_id, level, flags, ts)| {
            let kind = kinds[instrument as usize];
            let primary = Primary::new(kind, instrument, ts);
            Primary { side, price, quantity, order_id, level, flags, ..primary }
        },
    )
}

/// Compares records with what the oracle expects, sequences and flags included.
fn check_event(
    events: &[Event],
    expected: &[(u64, Body)],
    sequences: &mut BTreeMap<(u32, u8), u64>,
    instrument: u32,
) -> Result<(), TestCaseError> {
    let mut given: Vec<(u64, Body)> = events.iter().map(|event| (event.ts_ns, event.body())).collect();
    given.sort_by_key(|(_, body)| match body {
        // Levels come in the order of their first change; the oracle lists them by price. All else keeps its place.
        Body::Status(_) => (0, 0, 0),
        Body::Trade(_) => (1, 0, 0),
        Body::Order(_) => (2, 0, 0),
        Body::Level { side, price, .. } => (3, *side as u8, *price),
        Body::Quote(_) => (4, 0, 0),
        Body::Ticker(_) => (5, 0, 0),
        _ => (6, 0, 0),
    });
    prop_assert_eq!(&given, expected);
    let channels: Vec<u8> = events.iter().map(|event| event.channel().unwrap() as u8).collect();
    use Channel::{Bars, Book, Orders, Quotes, Status, Ticker, Trades};
    let order = [Status, Trades, Orders, Book, Quotes, Ticker, Bars];
    let rank = |channel: &u8| order.iter().position(|other| *other as u8 == *channel);
    prop_assert!(channels.is_sorted_by_key(rank));
    for (at, event) in events.iter().enumerate() {
        let sequence = sequences.entry((instrument, channels[at])).or_default();
        *sequence += 1;
        prop_assert_eq!((event.instrument, event.seq), (instrument, *sequence));
        let last_of_stream = if channels[at + 1..].contains(&channels[at]) { 0 } else { LAST_OF_STREAM };
        let last = if at + 1 == events.len() { LAST } else { 0 };
        prop_assert_eq!(event.flags, last_of_stream | last);
    }
    Ok(())
}

/// Who hears every record of an instrument and keeps its own books and bars.
#[derive(Default)]
struct Mirror {
    book: L2Book,
    orders: OrderBook,
    bars: Bars,
    closed: Vec<Bar>,
}

impl Mirror {
    fn follow(&mut self, event: &Event) {
        match event.body() {
            Body::Level { side, price, quantity } => {
                self.book.set(side, price, quantity);
            }
            Body::Order(change) => self.orders.follow(&change).unwrap(),
            Body::Bar(BarStep::Trade { price, quantity }) => self.bars.trade(event.ts_ns, price, quantity),
            Body::Bar(BarStep::End { periods }) => self.bars.end(periods, |bar| self.closed.push(bar)),
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn every_event_gives_what_a_computation_from_scratch_gives(
        channels in proptest::array::uniform3(prop_oneof![Just(EVERYTHING), any::<u8>().prop_map(ChannelSet)]),
        primaries in proptest::collection::vec(random_primary(), 0..1_500),
    ) {
        let mut deriver = deriver(&channels);
        let mut oracles: [Oracle; 3] = Default::default();
        let mut ended = oracles.clone();
        let mut mirrors: [Mirror; 3] = Default::default();
        let mut sequences = BTreeMap::new();
        let (mut now_ns, mut out) = (0, Vec::new());
        for primary in &primaries {
            let at = primary.instrument as usize;
            out.clear();
            deriver.apply(primary, &mut out).unwrap();
            let mut rest = &out[..];
            if primary.ts_event_ns != ABSENT_TIME && primary.flags & primary_flags::SNAPSHOT == 0 {
                now_ns = primary.ts_event_ns;
                for (instrument, oracle) in (0..).zip(&mut oracles) {
                    if let Some(step) = oracle.end_bars(now_ns) {
                        let (first, others) = rest.split_at(rest.len().min(1));
                        check_event(first, &[(now_ns, Body::Bar(step))], &mut sequences, instrument)?;
                        rest = others;
                    }
                }
            }
            oracles[at].apply(primary, now_ns, channels[at]);
            let expected = match primary.is_last() {
                true => oracles[at].end(channels[at], &ended[at], primary.ts_event_ns),
                false => Vec::new(),
            };
            check_event(rest, &expected, &mut sequences, primary.instrument)?;
            for event in &out {
                mirrors[event.instrument as usize].follow(event);
            }
            if !primary.is_last() {
                continue;
            }
            ended[at] = oracles[at].clone();
            let (book, orders) = (deriver.book(primary.instrument), deriver.orders(primary.instrument));
            let (has, mirror) = (|channel| channels[at].contains(channel), &mirrors[at]);
            let mut from_scratch = L2Book::new();
            for ((side, price), quantity) in oracles[at].book() {
                from_scratch.set(Side::from_number(side).unwrap(), price, quantity);
            }
            for side in [Side::Bid, Side::Ask] {
                prop_assert!(book.levels(side).eq(from_scratch.levels(side)));
                prop_assert!(!has(Channel::Book) || book.levels(side).eq(mirror.book.levels(side)));
                prop_assert!(!has(Channel::Orders) || orders.orders(side).eq(mirror.orders.orders(side)));
            }
            prop_assert_eq!(deriver.quote(primary.instrument), from_scratch.quote());
            prop_assert_eq!(deriver.ticker(primary.instrument), oracles[at].ticker());
            prop_assert_eq!(deriver.status(primary.instrument), oracles[at].status);
            let resting = |(order_id, order): (&u64, &(u8, i64, i64))| {
                orders.get(*order_id).is_some_and(|o| (o.side as u8, o.price, o.quantity) == *order)
            };
            prop_assert!(orders.len() == oracles[at].orders.len() && oracles[at].orders.iter().all(resting));
            for period in Period::ALL {
                let of_period = |bar: &&Bar| bar.period == period;
                let running = deriver.bar(primary.instrument, period);
                let kept = mirror.closed.iter().filter(of_period).copied().chain(running);
                prop_assert!(kept.eq(oracles[at].bars.iter().filter(of_period).copied()));
                prop_assert_eq!(mirror.bars.running(period), running);
            }
        }
        let inconsistencies: u64 = oracles.iter().map(|oracle| oracle.inconsistencies).sum();
        prop_assert_eq!(deriver.inconsistencies(), inconsistencies);
        for ((instrument, channel), sequence) in sequences {
            let channel = Channel::from_number(channel).unwrap();
            prop_assert_eq!(deriver.sequence(instrument, channel), sequence);
        }
    }
}
