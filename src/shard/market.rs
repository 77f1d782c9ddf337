//! What a shard knows of each instrument: its own copy, made of nothing but the events it was given.

use std::collections::VecDeque;

use crate::limits;
use crate::model::{
    Bar, BarStep, Bars, Body, Channel, Event, L2Book, Level, Order, OrderBook, Period, Quote, Side, Status,
    Ticker, Trade,
};
use crate::wire::message::{self, Content, Levels, Meta, Orders};

/// Sequence and times of a stream's last event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stamp {
    /// The last sequence; 0 before the first event.
    pub seq: u64,
    /// When it happened, by the source's clock, nanoseconds since the Unix epoch.
    pub ts_ns: u64,
    /// When it was published, nanoseconds since the Unix epoch.
    pub sent_ns: u64,
}

impl Stamp {
    /// Of the state as of this event.
    pub fn snapshot(self) -> Meta {
        let Stamp { seq, ts_ns, sent_ns } = self;
        Meta { first_seq: seq, last_seq: seq, ts_ns, sent_ns, snapshot: true, last: true }
    }
}

/// The state of one instrument.
#[derive(Debug)]
pub struct Market {
    /// Epoch of every sequence here.
    pub epoch: u64,
    /// L2 book.
    pub book: L2Book,
    /// L3 book; empty where the instrument has no such channel.
    pub orders: OrderBook,
    /// The running bars.
    pub bars: Bars,
    /// Trading status.
    pub status: Status,
    quote: Quote,
    trade: Option<Trade>,
    ticker: Ticker,
    stamps: [Stamp; CHANNELS],
    /// The last completed bars of each period.
    completed: [Completed; Period::ALL.len()],
    /// Updates of the book since the last one with a checksum.
    unchecked: u32,
    /// Sequence and checksum of each checked update, as long as the update is kept.
    checksums: VecDeque<(u64, u32)>,
    /// Topics of each channel, one a view.
    pub topics: [Vec<usize>; CHANNELS],
}

const CHANNELS: usize = Channel::ALL.len();

/// The last completed bars of one period.
#[derive(Debug, Default)]
struct Completed {
    bars: VecDeque<(Stamp, Bar)>,
    /// Sequence of the last one that is kept no more; 0: all are kept.
    forgotten: u64,
}

impl Market {
    /// Before the first event.
    pub fn new(epoch: u64) -> Market {
        Market {
            epoch,
            book: L2Book::new(),
            orders: OrderBook::new(),
            bars: Bars::new(),
            status: Status::default(),
            quote: Quote::EMPTY,
            trade: None,
            ticker: Ticker::EMPTY,
            stamps: [Stamp::default(); CHANNELS],
            completed: Default::default(),
            unchecked: 0,
            checksums: VecDeque::new(),
            topics: Default::default(),
        }
    }

    /// Takes one event of a channel over.
    pub fn apply(&mut self, event: &Event, body: &Body) {
        let stamp = Stamp { seq: event.seq, ts_ns: event.ts_ns, sent_ns: event.sent_ns };
        match *body {
            Body::Quote(quote) => self.quote = quote,
            Body::Trade(trade) => self.trade = Some(trade),
            Body::Level { side, price, quantity } => {
                self.book.set(side, price, quantity);
            }
            Body::Order(change) => {
                // The deriver gives none that its own book has not taken.
                let followed = self.orders.follow(&change);
                debug_assert!(followed.is_ok(), "{followed:?}");
            }
            Body::Ticker(ticker) => self.ticker = ticker,
            Body::Bar(BarStep::Trade { price, quantity }) => self.bars.trade(event.ts_ns, price, quantity),
            Body::Bar(BarStep::End { periods }) => {
                let completed = &mut self.completed;
                self.bars.end(periods, |bar| completed[bar.period.index()].add(stamp, bar));
            }
            Body::Status(status) => self.status = status,
            Body::Reset { .. } | Body::Ended => return,
        }
        if let Some(channel) = event.channel() {
            self.stamps[channel.index()] = stamp;
        }
    }

    /// History ends: everything as before the first event, in a new epoch. The topics stay.
    pub fn reset(&mut self, epoch: u64) {
        let topics = std::mem::take(&mut self.topics);
        *self = Market { topics, ..Market::new(epoch) };
    }

    /// Where a stream stands.
    pub fn seq(&self, channel: Channel) -> u64 {
        self.stamps[channel.index()].seq
    }

    /// The last event of a stream.
    pub fn stamp(&self, channel: Channel) -> Stamp {
        self.stamps[channel.index()]
    }

    /// The state of a channel that one message tells; `None` where there is none: no trade yet. Of bars the running one,
    /// or where none runs the last one that is complete.
    pub fn content(&self, channel: Channel, period: Option<Period>) -> Option<Content<'static>> {
        match channel {
            Channel::Quotes => Some(Content::Quote(self.quote)),
            Channel::Trades => self.trade.map(Content::Trade),
            Channel::Ticker => Some(Content::Ticker(self.ticker)),
            Channel::Bars => {
                let completed = self.completed[period?.index()].bars.back().map(|(_, bar)| *bar);
                self.bars.running(period?).or(completed).map(Content::Bar)
            }
            Channel::Status => Some(Content::Status(self.status)),
            Channel::Book | Channel::Orders => None,
        }
    }

    /// The best `depth` levels a side, best first.
    pub fn levels(&self, depth: Option<u32>) -> [Vec<Level>; 2] {
        let depth = depth.map_or(usize::MAX, |depth| depth as usize);
        [Side::Bid, Side::Ask].map(|side| self.book.levels(side).take(depth).collect())
    }

    /// The checksum of the whole book.
    pub fn checksum(&self) -> u32 {
        let [bids, asks] = self.levels(Some(message::CHECKSUM_LEVELS as u32));
        message::checksum(bids.iter(), asks.iter(), message::CHECKSUM_LEVELS)
    }

    /// An exchange event has changed the book, up to sequence `seq`: its checksum, if this update is to carry one.
    pub fn end_book_update(&mut self, seq: u64) -> Option<u32> {
        self.unchecked = (self.unchecked + 1) % limits::CHECKSUM_UPDATES;
        (self.unchecked == 0).then(|| {
            let checksum = self.checksum();
            self.checksums.push_back((seq, checksum));
            checksum
        })
    }

    /// The checksum of the book as of the update that ended with `seq`, if it was to carry one and is kept.
    pub fn checksum_at(&self, seq: u64) -> Option<u32> {
        let at = self.checksums.binary_search_by_key(&seq, |(seq, _)| *seq).ok()?;
        Some(self.checksums[at].1)
    }

    /// Updates before sequence `first` are kept no more; `None`: none is.
    pub fn forget_checksums(&mut self, first: Option<u64>) {
        let first = first.unwrap_or(u64::MAX);
        while self.checksums.front().is_some_and(|(seq, _)| *seq < first) {
            self.checksums.pop_front();
        }
    }

    /// The bar of a period that the event with sequence `seq` completed, if it did.
    pub fn completed(&self, period: Period, seq: u64) -> Option<Bar> {
        let (stamp, bar) = self.completed[period.index()].bars.back()?;
        (stamp.seq == seq).then_some(*bar)
    }

    /// The bars of a period that were completed after sequence `held`, and the last sequence up to which some of them are
    /// kept no more (0: none is missing).
    pub fn completed_since(&self, period: Period, held: u64) -> (u64, impl Iterator<Item = &(Stamp, Bar)>) {
        let Completed { bars, forgotten } = &self.completed[period.index()];
        let missing = if *forgotten > held { *forgotten } else { 0 };
        (missing, bars.iter().filter(move |(stamp, _)| stamp.seq > held))
    }
}

impl Completed {
    fn add(&mut self, stamp: Stamp, bar: Bar) {
        if self.bars.len() >= limits::BARS_KEPT
            && let Some((oldest, _)) = self.bars.pop_front()
        {
            self.forgotten = oldest.seq;
        }
        self.bars.push_back((stamp, bar));
    }
}

/// Levels of a book cut into the messages of a snapshot: one, or parts of that many levels; the checksum is on the last.
pub fn book_parts<'a>(
    meta: Meta,
    [bids, asks]: [&'a [Level]; 2],
    checksum: u32,
    part_levels: usize,
) -> impl Iterator<Item = (Meta, Content<'a>)> {
    let parts = (bids.len() + asks.len()).div_ceil(part_levels).max(1);
    (0..parts).map(move |part| {
        let (from, to) = (part * part_levels, (part + 1) * part_levels);
        let cut = |levels: &'a [Level], before: usize| {
            &levels
                [from.saturating_sub(before).min(levels.len())..to.saturating_sub(before).min(levels.len())]
        };
        let is_final = part + 1 == parts;
        let levels = Levels {
            bids: cut(bids, 0),
            asks: cut(asks, bids.len()),
            checksum: is_final.then_some(checksum),
            part: part as u16 + 1,
            parts: parts as u16,
        };
        (Meta { last: is_final, ..meta }, Content::Book(levels))
    })
}

/// Orders cut into the messages of a snapshot: one, or parts of that many orders.
pub fn order_parts(
    meta: Meta,
    orders: &[Order],
    part_orders: usize,
) -> impl Iterator<Item = (Meta, Content<'_>)> {
    let parts = orders.len().div_ceil(part_orders).max(1);
    (0..parts).map(move |part| {
        let (from, to) = (part * part_orders, ((part + 1) * part_orders).min(orders.len()));
        let orders = Orders { orders: &orders[from..to], part: part as u16 + 1, parts: parts as u16 };
        (Meta { last: part + 1 == parts, ..meta }, Content::Orders(orders))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_kept_as_long_as_their_updates() {
        let mut market = Market::new(1);
        let checked: Vec<u64> = (1..=500).filter(|seq| market.end_book_update(*seq).is_some()).collect();
        assert_eq!(checked, [100, 200, 300, 400, 500]);
        let kept = |market: &Market| checked.iter().filter(|seq| market.checksum_at(**seq).is_some()).count();
        assert_eq!((kept(&market), market.checksum_at(150)), (5, None));
        market.forget_checksums(Some(300));
        assert_eq!((kept(&market), market.checksums.len()), (3, 3));
        market.forget_checksums(Some(301));
        assert_eq!(kept(&market), 2);
        market.forget_checksums(None);
        assert_eq!(market.checksums.len(), 0);
    }

    /// Whatever is cut, the parts hold all of it once and in order, none more than it may, and only the last says so.
    #[test]
    fn the_parts_of_a_snapshot_are_the_whole() {
        let meta = Stamp::default().snapshot();
        for (bids, asks, part) in
            [(0, 0, 4), (4, 0, 4), (0, 5, 4), (10, 7, 4), (3, 2, 1), (1, 6, 7), (2, 6, 7)]
        {
            let level = |price| Level { price, quantity: 1 };
            let sides = [(0..bids).map(level).collect::<Vec<_>>(), (0..asks).map(level).collect()];
            let mut seen = [Vec::new(), Vec::new()];
            let parts: Vec<_> = book_parts(meta, [&sides[0], &sides[1]], 77, part).collect();
            assert_eq!(parts.len(), (sides[0].len() + sides[1].len()).div_ceil(part).max(1));
            for (number, (meta, content)) in parts.iter().enumerate() {
                let Content::Book(levels) = content else { panic!("{content:?}") };
                assert!(levels.bids.len() + levels.asks.len() <= part);
                seen[0].extend_from_slice(levels.bids);
                seen[1].extend_from_slice(levels.asks);
                assert_eq!((levels.part as usize, levels.parts as usize), (number + 1, parts.len()));
                let is_last = number + 1 == parts.len();
                assert_eq!((meta.last, levels.checksum), (is_last, is_last.then_some(77)));
            }
            assert_eq!(seen, sides);

            let order = |order_id| Order { order_id, side: Side::Bid, price: 1, quantity: 1 };
            let orders: Vec<Order> = (0..bids as u64).map(order).collect();
            let parts: Vec<_> = order_parts(meta, &orders, part).collect();
            let mut seen = Vec::new();
            for (number, (meta, content)) in parts.iter().enumerate() {
                let Content::Orders(cut) = content else { panic!("{content:?}") };
                assert!(cut.orders.len() <= part);
                seen.extend_from_slice(cut.orders);
                assert_eq!((cut.part as usize, cut.parts as usize), (number + 1, parts.len()));
                assert_eq!(meta.last, number + 1 == parts.len());
            }
            assert_eq!(seen, orders);
        }
    }
}
