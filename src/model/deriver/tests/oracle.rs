//! Random sources against an oracle that recomputes everything from scratch at the end of each event.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

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

    fn apply(&mut self, primary: &Primary) {
        let consistent = self.take(primary);
        self.inconsistencies += u64::from(!consistent);
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
                if fine {
                    self.last = Some(price);
                    self.volume += quantity;
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
    fn end(&mut self, channels: ChannelSet, before: &Oracle) -> Vec<Body> {
        for (side, top) in std::mem::take(&mut self.tops) {
            self.levels.retain(|(other, _), _| *other != side);
            let standing = top.into_values().filter(|(_, quantity)| *quantity > 0);
            self.levels.extend(standing.map(|(price, quantity)| ((side, price), quantity)));
        }
        let mut bodies: Vec<Body> = self.statuses.drain(..).map(Body::Status).collect();
        bodies.extend(self.trades.drain(..).map(|(_, trade)| Body::Trade(trade)));
        let now = self.book();
        let places: BTreeSet<(u8, i64)> = self.before.keys().chain(now.keys()).copied().collect();
        for (side, price) in places {
            let quantity = |levels: &Levels| levels.get(&(side, price)).copied().unwrap_or(0);
            if quantity(&self.before) != quantity(&now) {
                bodies.push(level(Side::from_number(side).unwrap(), price, quantity(&now)));
            }
        }
        self.before = now;
        if self.quote() != before.quote() {
            bodies.push(Body::Quote(self.quote()));
        }
        if self.ticker() != before.ticker() {
            bodies.push(Body::Ticker(self.ticker()));
        }
        bodies.retain(|body| channels.contains(Event::new(0, 0, 0, *body).channel().unwrap()));
        bodies
    }
}

/// Instrument 0 tells of orders, 1 of levels, 2 restates its best levels; all trade, halt and are cleared.
fn random_primary() -> impl Strategy<Value = Primary> {
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
    (kind, 0_u32..3, side, price, -1_i64..6, 0_u64..30, 0_u8..6, prop::bool::weighted(0.1), any::<u32>())
        .prop_map(|(kinds, instrument, side, price, quantity, order_id, level, last, ts)| {
            let flags = if last { primary_flags::LAST } else { 0 };
            let kind = kinds[instrument as usize];
            let primary = Primary::new(kind, instrument, u64::from(ts));
            Primary { side, price, quantity, order_id, level, flags, ..primary }
        })
}

/// Compares one event's records with what the oracle expects, sequences and flags included.
fn check_event(
    events: &[Event],
    expected: &[Body],
    sequences: &mut BTreeMap<(u32, u8), u64>,
    (instrument, ts_ns): (u32, u64),
    trade_times: &[u64],
) -> Result<(), TestCaseError> {
    let mut given = bodies(events);
    given.sort_by_key(|body| match body {
        // Levels come in the order of their first change; the oracle lists them by price. All else keeps its place.
        Body::Status(_) => (0, 0, 0),
        Body::Trade(_) => (1, 0, 0),
        Body::Level { side, price, .. } => (2, *side as u8, *price),
        Body::Quote(_) => (3, 0, 0),
        _ => (4, 0, 0),
    });
    prop_assert_eq!(&given, expected);
    let channels: Vec<u8> = events.iter().map(|event| event.channel().unwrap() as u8).collect();
    let order = [Channel::Status, Channel::Trades, Channel::Book, Channel::Quotes, Channel::Ticker];
    let rank = |channel: &u8| order.iter().position(|other| *other as u8 == *channel);
    prop_assert!(channels.is_sorted_by_key(rank));
    let mut trade_times = trade_times.iter();
    for (at, event) in events.iter().enumerate() {
        let sequence = sequences.entry((instrument, channels[at])).or_default();
        *sequence += 1;
        prop_assert_eq!((event.instrument, event.seq), (instrument, *sequence));
        let is_trade = channels[at] == Channel::Trades as u8;
        prop_assert_eq!(event.ts_ns, if is_trade { *trade_times.next().unwrap() } else { ts_ns });
        let last_of_stream = if channels[at + 1..].contains(&channels[at]) { 0 } else { LAST_OF_STREAM };
        let last = if at + 1 == events.len() { LAST } else { 0 };
        prop_assert_eq!(event.flags, last_of_stream | last);
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_event_gives_what_a_computation_from_scratch_gives(
        channels in proptest::array::uniform3(prop_oneof![Just(EVERYTHING), any::<u8>().prop_map(ChannelSet)]),
        primaries in proptest::collection::vec(random_primary(), 0..1_500),
    ) {
        let derived = ChannelSet::of(
            &[Channel::Quotes, Channel::Trades, Channel::Book, Channel::Ticker, Channel::Status],
        );
        let mut deriver = deriver(&channels);
        let mut oracles: [Oracle; 3] = Default::default();
        let mut ended = oracles.clone();
        let mut mirrors: [L2Book; 3] = Default::default();
        let mut sequences = BTreeMap::new();
        let mut out = Vec::new();
        for primary in &primaries {
            let at = primary.instrument as usize;
            out.clear();
            deriver.apply(primary, &mut out).unwrap();
            oracles[at].apply(primary);
            if !primary.is_last() {
                prop_assert!(out.is_empty());
                continue;
            }
            let trade_times: Vec<u64> = oracles[at].trades.iter().map(|(ts_ns, _)| *ts_ns).collect();
            let expected = oracles[at].end(channels[at].and(derived), &ended[at]);
            let stamp = (primary.instrument, primary.ts_event_ns);
            check_event(&out, &expected, &mut sequences, stamp, &trade_times)?;
            ended[at] = oracles[at].clone();
            for event in &out {
                if let Body::Level { side, price, quantity } = event.body() {
                    mirrors[at].set(side, price, quantity);
                }
            }
            let book = deriver.book(primary.instrument);
            let mut from_scratch = L2Book::new();
            for ((side, price), quantity) in oracles[at].book() {
                from_scratch.set(Side::from_number(side).unwrap(), price, quantity);
            }
            for side in [Side::Bid, Side::Ask] {
                prop_assert!(book.levels(side).eq(from_scratch.levels(side)));
                prop_assert!(!channels[at].contains(Channel::Book) || book.levels(side).eq(mirrors[at].levels(side)));
            }
            prop_assert_eq!(deriver.quote(primary.instrument), from_scratch.quote());
            prop_assert_eq!(deriver.ticker(primary.instrument), oracles[at].ticker());
            prop_assert_eq!(deriver.status(primary.instrument), oracles[at].status);
            prop_assert_eq!(deriver.orders(primary.instrument).len(), oracles[at].orders.len());
        }
        let inconsistencies: u64 = oracles.iter().map(|oracle| oracle.inconsistencies).sum();
        prop_assert_eq!(deriver.inconsistencies(), inconsistencies);
        for ((instrument, channel), sequence) in sequences {
            let channel = Channel::from_number(channel).unwrap();
            prop_assert_eq!(deriver.sequence(instrument, channel), sequence);
        }
    }
}
