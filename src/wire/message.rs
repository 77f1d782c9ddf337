//! A message before it is bytes: what the binary encoder and its JSON twin are both given, so that they agree.

use crate::model::{Bar, Channel, Level, Order, OrderChange, Quote, Status, Ticker, Trade};

/// What every market-data message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// First sequence covered, in (epoch, instrument, channel).
    pub first_seq: u64,
    /// Last sequence covered.
    pub last_seq: u64,
    /// Event time of the last one, nanoseconds since the Unix epoch.
    pub ts_ns: u64,
    /// Publish time of the last one, nanoseconds since the Unix epoch.
    pub sent_ns: u64,
    /// Whether this is state as of `last_seq` and not a change.
    pub snapshot: bool,
    /// Whether the stream's part of the exchange event is complete with this message.
    pub last: bool,
}

/// Levels of a book: all of a view (snapshot), or those that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels<'a> {
    /// Bids, best first in a snapshot.
    pub bids: &'a [Level],
    /// Asks, best first in a snapshot.
    pub asks: &'a [Level],
    /// CRC32C of the view after this message ([`checksum`]), where it is sent.
    pub checksum: Option<u32>,
    /// Number of this part, from 1.
    pub part: u16,
    /// How many parts the snapshot has; 1 when it is whole.
    pub parts: u16,
}

/// Every resting order of an instrument, or a part of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orders<'a> {
    /// Bids, then asks, each side in price-time priority. (A bid after an ask would be read as an ask.)
    pub orders: &'a [Order],
    /// Number of this part, from 1.
    pub part: u16,
    /// How many parts the snapshot has; 1 when it is whole.
    pub parts: u16,
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// Channel `quotes`.
    Quote(Quote),
    /// Channel `trades`.
    Trade(Trade),
    /// Channel `book`.
    Book(Levels<'a>),
    /// Channel `orders`: one order changed.
    Order(OrderChange),
    /// Channel `orders`: a snapshot.
    Orders(Orders<'a>),
    /// Channel `ticker`.
    Ticker(Ticker),
    /// Channel `bars`.
    Bar(Bar),
    /// Channel `status`.
    Status(Status),
}

impl Content<'_> {
    /// The channel it belongs to.
    pub fn channel(&self) -> Channel {
        match self {
            Content::Quote(_) => Channel::Quotes,
            Content::Trade(_) => Channel::Trades,
            Content::Book(_) => Channel::Book,
            Content::Order(_) | Content::Orders(_) => Channel::Orders,
            Content::Ticker(_) => Channel::Ticker,
            Content::Bar(_) => Channel::Bars,
            Content::Status(_) => Channel::Status,
        }
    }

    /// How many sequences it carries itself; the rest of `first_seq..=last_seq` was merged.
    pub fn carried(&self) -> u64 {
        match self {
            Content::Book(levels) => (levels.bids.len() + levels.asks.len()) as u64,
            _ => 1,
        }
    }
}

/// How many of the sequences that a message covers it does not carry itself: overtaken by a later one, or outside
/// the view. 0 for a snapshot, which is state.
pub fn merged(meta: &Meta, content: &Content<'_>) -> u64 {
    if meta.snapshot {
        return 0;
    }
    // Saturating, since a decoded message may claim anything.
    meta.last_seq.saturating_sub(meta.first_seq).saturating_add(1).saturating_sub(content.carried())
}

/// CRC32C over the best `min(10, depth)` bids, then asks, best first, each level as price and quantity, i64
/// little-endian; absent levels add nothing.
pub fn checksum<'a>(
    bids: impl Iterator<Item = &'a Level>,
    asks: impl Iterator<Item = &'a Level>,
    depth: usize,
) -> u32 {
    let depth = depth.min(CHECKSUM_LEVELS);
    bids.take(depth).chain(asks.take(depth)).fold(0, |crc, level| {
        let crc = crc32c::crc32c_append(crc, &level.price.to_le_bytes());
        crc32c::crc32c_append(crc, &level.quantity.to_le_bytes())
    })
}

/// Levels a side that a checksum covers.
pub const CHECKSUM_LEVELS: usize = 10;
