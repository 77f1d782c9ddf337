//! What a shard knows of each instrument: its own copy, made of nothing but the events it was given.

use crate::model::{Body, Channel, Event, L2Book, Level, Quote, Side, Status, Ticker, Trade};
use crate::wire::message::{self, Content, Levels, Meta};

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
    /// Trading status.
    pub status: Status,
    quote: Quote,
    trade: Option<Trade>,
    ticker: Ticker,
    stamps: [Stamp; 7],
    /// Topic of each channel, except books.
    pub topics: [Option<usize>; 7],
    /// Topics of the book, one a depth.
    pub book_topics: Vec<usize>,
}

impl Market {
    /// Before the first event.
    pub fn new(epoch: u64) -> Market {
        Market {
            epoch,
            book: L2Book::new(),
            status: Status::default(),
            quote: Quote::EMPTY,
            trade: None,
            ticker: Ticker::EMPTY,
            stamps: [Stamp::default(); 7],
            topics: [None; 7],
            book_topics: Vec::new(),
        }
    }

    /// Takes one event of a channel over.
    pub fn apply(&mut self, event: &Event, body: &Body) {
        match *body {
            Body::Quote(quote) => self.quote = quote,
            Body::Trade(trade) => self.trade = Some(trade),
            Body::Level { side, price, quantity } => {
                self.book.set(side, price, quantity);
            }
            Body::Ticker(ticker) => self.ticker = ticker,
            Body::Status(status) => self.status = status,
            Body::Order(_) | Body::Bar(_) | Body::Reset { .. } | Body::Ended => return,
        }
        if let Some(channel) = event.channel() {
            self.stamps[channel.index()] =
                Stamp { seq: event.seq, ts_ns: event.ts_ns, sent_ns: event.sent_ns };
        }
    }

    /// History ends: everything as before the first event, in a new epoch. The topics stay.
    pub fn reset(&mut self, epoch: u64) {
        let topics = self.topics;
        let book_topics = std::mem::take(&mut self.book_topics);
        *self = Market { topics, book_topics, ..Market::new(epoch) };
    }

    /// Where a stream stands.
    pub fn seq(&self, channel: Channel) -> u64 {
        self.stamps[channel.index()].seq
    }

    /// The last event of a stream.
    pub fn stamp(&self, channel: Channel) -> Stamp {
        self.stamps[channel.index()]
    }

    /// The state of a channel other than the book; `None` for trades before the first.
    pub fn content(&self, channel: Channel) -> Option<Content<'static>> {
        match channel {
            Channel::Quotes => Some(Content::Quote(self.quote)),
            Channel::Trades => self.trade.map(Content::Trade),
            Channel::Ticker => Some(Content::Ticker(self.ticker)),
            Channel::Status => Some(Content::Status(self.status)),
            Channel::Book | Channel::Orders | Channel::Bars => None,
        }
    }

    /// The best `depth` levels a side, best first.
    pub fn levels(&self, depth: Option<u32>) -> [Vec<Level>; 2] {
        let depth = depth.map_or(usize::MAX, |depth| depth as usize);
        [Side::Bid, Side::Ask].map(|side| self.book.levels(side).take(depth).collect())
    }
}

/// The messages of a book's snapshot: one, or parts of that many levels; the checksum is on the last.
pub fn snapshot_parts<'a>(
    meta: Meta,
    bids: &'a [Level],
    asks: &'a [Level],
    part_levels: usize,
) -> impl Iterator<Item = (Meta, Content<'a>)> {
    let checksum = message::checksum(bids.iter(), asks.iter(), message::CHECKSUM_LEVELS);
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
