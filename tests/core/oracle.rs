//! What was published, every record of it, and what follows from it, worked out as plainly as possible.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tickcast::model::{
    Bar, BarStep, Body, Channel, Event, Level, Order, OrderAction, OrderChange, Period, Side, event_flags,
};

/// A stream of an instrument.
pub type StreamKey = (u32, Channel);

/// One stream in one epoch.
#[derive(Debug, Default)]
pub struct Track {
    /// Record number `n` has sequence `n + 1`.
    pub events: Vec<Event>,
    /// Of a book: the last sequence of each update, that is of what one exchange event (or a piece of one) changed.
    pub updates: Vec<u64>,
}

/// Everything published.
#[derive(Debug, Default)]
pub struct Oracle {
    tracks: HashMap<(u64, StreamKey), Track>,
    /// The epoch of each instrument.
    epochs: HashMap<u32, u64>,
    first_epoch: u64,
    pub published: u64,
}

impl Oracle {
    pub fn new(epoch: u64) -> Oracle {
        Oracle { first_epoch: epoch, ..Oracle::default() }
    }

    pub fn record(&mut self, event: &Event) {
        if let Body::Reset { epoch, .. } = event.body() {
            self.epochs.insert(event.instrument, epoch);
        }
        let epoch = self.epoch(event.instrument);
        if let Some(channel) = event.channel() {
            let track = self.tracks.entry((epoch, (event.instrument, channel))).or_default();
            assert_eq!(event.seq, track.events.len() as u64 + 1, "sequences are given without a hole");
            track.events.push(*event);
            self.published += 1;
        }
        let ends = event.flags & (event_flags::LAST | event_flags::CUT) != 0
            || (event.channel() == Some(Channel::Book) && event.flags & event_flags::LAST_OF_STREAM != 0);
        if ends && let Some(track) = self.tracks.get_mut(&(epoch, (event.instrument, Channel::Book))) {
            let last = track.events.len() as u64;
            if track.updates.last() != Some(&last) {
                track.updates.push(last);
            }
        }
    }

    /// The present epoch of an instrument.
    pub fn epoch(&self, instrument: u32) -> u64 {
        self.epochs.get(&instrument).copied().unwrap_or(self.first_epoch)
    }

    pub fn track(&self, epoch: u64, stream: StreamKey) -> Option<&Track> {
        self.tracks.get(&(epoch, stream))
    }

    /// The last sequence of a stream in an epoch.
    pub fn last(&self, epoch: u64, stream: StreamKey) -> u64 {
        self.track(epoch, stream).map_or(0, |track| track.events.len() as u64)
    }

    /// The record with that sequence.
    pub fn event(&self, epoch: u64, stream: StreamKey, seq: u64) -> Event {
        self.tracks[&(epoch, stream)].events[seq as usize - 1]
    }

    /// The records after `from`, up to and with `to`.
    pub fn between(&self, epoch: u64, stream: StreamKey, from: u64, to: u64) -> &[Event] {
        match self.track(epoch, stream) {
            Some(track) if to > from => &track.events[from as usize..to as usize],
            _ => &[],
        }
    }
}

/// Levels by price.
pub type Levels = [BTreeMap<i64, i64>; 2];

/// The best `depth` levels of a side, best first.
pub fn best(levels: &Levels, side: Side, depth: Option<u32>) -> Vec<Level> {
    let level = |(&price, &quantity): (&i64, &i64)| Level { price, quantity };
    let depth = depth.map_or(usize::MAX, |depth| depth as usize);
    let levels = levels[side.index()].iter().map(level);
    match side {
        Side::Bid => levels.rev().take(depth).collect(),
        Side::Ask => levels.take(depth).collect(),
    }
}

pub fn set(levels: &mut BTreeMap<i64, i64>, price: i64, quantity: i64) {
    if quantity == 0 {
        levels.remove(&price);
    } else {
        levels.insert(price, quantity);
    }
}

/// Resting orders: a queue for each price of each side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queues([BTreeMap<i64, VecDeque<Order>>; 2]);

impl Queues {
    pub fn push(&mut self, order: Order) {
        self.0[order.side.index()].entry(order.price).or_default().push_back(order);
    }

    /// Does what `docs/protocol.md` says that a change does.
    pub fn follow(&mut self, change: &OrderChange) {
        let OrderChange { action, order_id, side, price, quantity, .. } = *change;
        if action == OrderAction::Clear {
            *self = Queues::default();
            return;
        }
        let (side, rested) = (side.expect("an order has a side"), self.find(order_id));
        let order = Order { order_id, side, price, quantity };
        match (action, rested) {
            (OrderAction::Add, None) => self.push(order),
            (OrderAction::Modify, Some(old)) if old.price == price && quantity <= old.quantity => {
                self.replace(old, order);
            }
            (OrderAction::Modify, Some(old)) => {
                self.take(old);
                self.push(order);
            }
            (_, Some(old)) if quantity == 0 => self.take(old),
            (_, Some(old)) => self.replace(old, Order { quantity, ..old }),
            (action, None) => panic!("{action:?} of order {order_id}, which does not rest"),
        }
    }

    fn find(&self, order_id: u64) -> Option<Order> {
        self.iter().find(|order| order.order_id == order_id)
    }

    fn replace(&mut self, old: Order, new: Order) {
        let queue = self.0[old.side.index()].get_mut(&old.price).unwrap();
        *queue.iter_mut().find(|order| order.order_id == old.order_id).unwrap() = new;
    }

    fn take(&mut self, old: Order) {
        let prices = &mut self.0[old.side.index()];
        let queue = prices.get_mut(&old.price).unwrap();
        queue.retain(|order| order.order_id != old.order_id);
        if queue.is_empty() {
            prices.remove(&old.price);
        }
    }

    /// Bids, then asks, in price-time priority.
    pub fn iter(&self) -> impl Iterator<Item = Order> {
        let [bids, asks] = &self.0;
        bids.values().rev().chain(asks.values()).flatten().copied()
    }

    /// The sum at each price.
    pub fn levels(&self) -> Levels {
        let sum = |queue: &VecDeque<Order>| queue.iter().map(|order| order.quantity).sum();
        self.0.each_ref().map(|prices| prices.iter().map(|(&price, queue)| (price, sum(queue))).collect())
    }
}

/// The bars of one instrument.
#[derive(Clone, Debug, Default)]
pub struct Bars {
    running: [Option<Bar>; 4],
    /// The last one of each period that is over.
    last: [Option<Bar>; 4],
    closed_ns: [u64; 4],
}

impl Bars {
    pub fn running(&self, period: Period) -> Option<Bar> {
        self.running[period.index()]
    }

    /// What there is to show of a period: the running bar, or where none runs the last one.
    pub fn shown(&self, period: Period) -> Option<Bar> {
        self.running(period).or(self.last[period.index()])
    }

    /// Takes a step; the bars that it completed.
    pub fn step(&mut self, event: &Event) -> Vec<Bar> {
        let mut completed = Vec::new();
        for period in Period::ALL {
            let (running, closed_ns) =
                (&mut self.running[period.index()], &mut self.closed_ns[period.index()]);
            match event.body() {
                Body::Bar(BarStep::Trade { price, quantity }) => {
                    let start_ns =
                        (event.ts_ns / period.nanoseconds() * period.nanoseconds()).max(*closed_ns);
                    let (open, high, low, close) = (price, price, price, price);
                    let new = Bar { period, start_ns, open, high, low, close, volume: 0, complete: false };
                    let bar = running.get_or_insert(new);
                    bar.high = bar.high.max(price);
                    bar.low = bar.low.min(price);
                    bar.close = price;
                    bar.volume += quantity;
                }
                Body::Bar(BarStep::End { periods }) if periods & (1 << period.index()) != 0 => {
                    let bar = running.take().expect("only a running bar ends");
                    *closed_ns = bar.start_ns + period.nanoseconds();
                    self.last[period.index()] = Some(Bar { complete: true, ..bar });
                    completed.push(Bar { complete: true, ..bar });
                }
                _ => {}
            }
        }
        completed
    }
}

/// What a stream's records up to a sequence add up to.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    pub seq: u64,
    pub levels: Levels,
    pub orders: Queues,
    pub bars: Bars,
    /// The bars completed since somebody last emptied this, with the sequence that completed each.
    pub completed: Vec<(u64, Bar)>,
}

impl Replica {
    /// As of that sequence.
    pub fn at(oracle: &Oracle, epoch: u64, stream: StreamKey, seq: u64) -> Replica {
        let mut replica = Replica::default();
        replica.advance(oracle, epoch, stream, seq);
        replica
    }

    /// Goes on to that sequence.
    pub fn advance(&mut self, oracle: &Oracle, epoch: u64, stream: StreamKey, to: u64) {
        for event in oracle.between(epoch, stream, self.seq, to) {
            match event.body() {
                Body::Level { side, price, quantity } => {
                    set(&mut self.levels[side.index()], price, quantity);
                }
                Body::Order(change) => self.orders.follow(&change),
                Body::Bar(_) => {
                    let completed = self.bars.step(event).into_iter();
                    self.completed.extend(completed.map(|bar| (event.seq, bar)));
                }
                _ => {}
            }
        }
        self.seq = self.seq.max(to);
    }
}

/// CRC-32C, bit by bit, over what `docs/protocol.md` says a checksum covers.
pub fn checksum(levels: &Levels, depth: Option<u32>) -> u32 {
    let depth = Some(depth.map_or(10, |depth| depth.min(10)));
    let mut crc = !0_u32;
    for side in [Side::Bid, Side::Ask] {
        for level in best(levels, side, depth) {
            for byte in [level.price.to_le_bytes(), level.quantity.to_le_bytes()].concat() {
                crc ^= u32::from(byte);
                for _ in 0..8 {
                    crc = if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
                }
            }
        }
    }
    !crc
}
