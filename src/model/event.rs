//! What happened, as every tap hears it: one record of one channel with its sequence.

use super::{ABSENT, BarStep, Channel, OrderAction, OrderChange};

/// One side of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Side {
    /// Buyers.
    Bid = 1,
    /// Sellers.
    Ask = 2,
}

impl Side {
    /// The other side.
    pub const fn opposite(self) -> Side {
        match self {
            Side::Bid => Side::Ask,
            Side::Ask => Side::Bid,
        }
    }

    /// Position in arrays that hold one entry a side: 0 bids, 1 asks.
    pub const fn index(self) -> usize {
        self as usize - 1
    }

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Side::Bid => "bid",
            Side::Ask => "ask",
        }
    }

    /// The side of that number (1 bid, 2 ask).
    pub const fn from_number(number: u8) -> Option<Side> {
        match number {
            1 => Some(Side::Bid),
            2 => Some(Side::Ask),
            _ => None,
        }
    }
}

/// Who crossed the spread in a trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Aggressor {
    /// Nobody, or the source does not say (auctions, crosses).
    None = 0,
    /// The buyer.
    Buy = 1,
    /// The seller.
    Sell = 2,
}

impl Aggressor {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Aggressor::None => "none",
            Aggressor::Buy => "buy",
            Aggressor::Sell => "sell",
        }
    }

    /// The aggressor of that number; an unknown number is nobody.
    pub const fn from_number(number: u8) -> Aggressor {
        match number {
            1 => Aggressor::Buy,
            2 => Aggressor::Sell,
            _ => Aggressor::None,
        }
    }
}

/// Whether an instrument trades.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Continuous trading.
    #[default]
    Trading = 1,
    /// No matching for now.
    Halted = 2,
    /// Orders collect for an auction; the book may be crossed.
    Auction = 3,
    /// The session is over.
    Closed = 4,
}

impl Status {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Trading => "trading",
            Status::Halted => "halted",
            Status::Auction => "auction",
            Status::Closed => "closed",
        }
    }

    /// The status of that number.
    pub const fn from_number(number: u8) -> Option<Status> {
        match number {
            1 => Some(Status::Trading),
            2 => Some(Status::Halted),
            3 => Some(Status::Auction),
            4 => Some(Status::Closed),
            _ => None,
        }
    }
}

/// Why an epoch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ResetReason {
    /// A replay began again from its start.
    Loop = 1,
    /// A replay jumped.
    Seek = 2,
    /// The source began anew.
    Restart = 3,
}

impl ResetReason {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            ResetReason::Loop => "loop",
            ResetReason::Seek => "seek",
            ResetReason::Restart => "restart",
        }
    }

    /// The reason of that number; an unknown number is a restart.
    pub const fn from_number(number: u8) -> ResetReason {
        match number {
            1 => ResetReason::Loop,
            2 => ResetReason::Seek,
            _ => ResetReason::Restart,
        }
    }
}

/// Flags of an [`Event`].
pub mod event_flags {
    /// The last record of its stream (instrument and channel) within its exchange event.
    pub const LAST_OF_STREAM: u8 = 1;
    /// The last record of its exchange event: a batch may end here.
    pub const LAST: u8 = 2;
    /// The last record of a piece of an exchange event that was cut at `EVENT_RECORDS_MAX`: more follows.
    pub const CUT: u8 = 4;
    /// Of the last record of an exchange event or of a piece of one.
    pub const ENDS_PIECE: u8 = LAST | CUT;
    /// Of a record behind which the piece at hand has no more to say of its stream.
    pub const ENDS_STREAM: u8 = LAST_OF_STREAM | ENDS_PIECE;
}

/// Best bid and ask. A side that is empty is [`ABSENT`] in price and quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Best bid price.
    pub bid: i64,
    /// Quantity at the best bid.
    pub bid_quantity: i64,
    /// Best ask price.
    pub ask: i64,
    /// Quantity at the best ask.
    pub ask_quantity: i64,
}

impl Quote {
    /// Both sides empty.
    pub const EMPTY: Quote = Quote { bid: ABSENT, bid_quantity: ABSENT, ask: ABSENT, ask_quantity: ABSENT };
}

/// One trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    /// Price.
    pub price: i64,
    /// Quantity.
    pub quantity: i64,
    /// The source's identifier; 0 where it has none.
    pub trade_id: u64,
    /// Who crossed the spread.
    pub aggressor: Aggressor,
}

/// The classic price message. What is not there yet is [`ABSENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticker {
    /// Best bid price.
    pub bid: i64,
    /// Best ask price.
    pub ask: i64,
    /// Price of the last trade.
    pub last: i64,
    /// Quantity traded since the epoch began.
    pub volume: i64,
}

impl Ticker {
    /// Before the first event.
    pub const EMPTY: Ticker = Ticker { bid: ABSENT, ask: ABSENT, last: ABSENT, volume: 0 };
}

/// What an [`Event`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Channel `quotes`.
    Quote(Quote),
    /// Channel `trades`.
    Trade(Trade),
    /// Channel `book`: this much now stands at this price; 0 removes the level.
    Level {
        /// Side of the book.
        side: Side,
        /// Price of the level.
        price: i64,
        /// Quantity that now stands there.
        quantity: i64,
    },
    /// Channel `orders`.
    Order(OrderChange),
    /// Channel `ticker`.
    Ticker(Ticker),
    /// Channel `bars`.
    Bar(BarStep),
    /// Channel `status`.
    Status(Status),
    /// No channel: history ends, every stream of the instrument starts anew at sequence 0 in this epoch, its book empty.
    Reset {
        /// The new epoch.
        epoch: u64,
        /// Why.
        reason: ResetReason,
    },
    /// No channel and no instrument: the source has no more to say.
    Ended,
}

/// One record on the bus: 64 bytes, `Copy`.
///
/// The fields mean what [`Body`] says they mean; [`Event::body`] is the way to read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// Sequence in (epoch, instrument, channel); the first event has 1.
    pub seq: u64,
    /// When it happened, nanoseconds since the Unix epoch, by the source's clock.
    pub ts_ns: u64,
    /// When it was published, nanoseconds since the Unix epoch. Not part of a digest.
    pub sent_ns: u64,
    values: [i64; 4],
    /// The instrument's number in the catalog.
    pub instrument: u32,
    kind: u8,
    /// [`event_flags`].
    pub flags: u8,
    code: u8,
    /// A second code: the side of an order, the periods of bars that end.
    detail: u8,
}

const QUOTE: u8 = Channel::Quotes as u8;
const TRADE: u8 = Channel::Trades as u8;
const LEVEL: u8 = Channel::Book as u8;
const ORDER: u8 = Channel::Orders as u8;
const TICKER: u8 = Channel::Ticker as u8;
const BAR: u8 = Channel::Bars as u8;
const STATUS: u8 = Channel::Status as u8;
const RESET: u8 = 64;
const ENDED: u8 = 65;

/// Codes of a [`BarStep`].
const BAR_TRADE: u8 = 1;
const BAR_END: u8 = 2;

const _: () = assert!(size_of::<Event>() == 64);

impl Event {
    /// A record without flags and without a publish stamp: the deriver sets the first, the publisher the second.
    pub fn new(instrument: u32, seq: u64, ts_ns: u64, body: Body) -> Event {
        let (kind, code, detail, values) = match body {
            Body::Quote(q) => (QUOTE, 0, 0, [q.bid, q.bid_quantity, q.ask, q.ask_quantity]),
            Body::Trade(t) => (TRADE, t.aggressor as u8, 0, [t.price, t.quantity, t.trade_id as i64, 0]),
            Body::Level { side, price, quantity } => (LEVEL, side as u8, 0, [price, quantity, 0, 0]),
            Body::Order(o) => {
                let side = o.side.map_or(0, |side| side as u8);
                (ORDER, o.action as u8, side, [o.price, o.quantity, o.order_id as i64, o.executed])
            }
            Body::Ticker(t) => (TICKER, 0, 0, [t.bid, t.ask, t.last, t.volume]),
            Body::Bar(BarStep::Trade { price, quantity }) => (BAR, BAR_TRADE, 0, [price, quantity, 0, 0]),
            Body::Bar(BarStep::End { periods }) => (BAR, BAR_END, periods, [0; 4]),
            Body::Status(status) => (STATUS, status as u8, 0, [0; 4]),
            Body::Reset { epoch, reason } => (RESET, reason as u8, 0, [epoch as i64, 0, 0, 0]),
            Body::Ended => (ENDED, 0, 0, [0; 4]),
        };
        Event { seq, ts_ns, sent_ns: 0, values, instrument, kind, flags: 0, code, detail }
    }

    /// What it says.
    pub fn body(&self) -> Body {
        let [a, b, c, d] = self.values;
        match self.kind {
            QUOTE => Body::Quote(Quote { bid: a, bid_quantity: b, ask: c, ask_quantity: d }),
            TRADE => Body::Trade(Trade {
                price: a,
                quantity: b,
                trade_id: c as u64,
                aggressor: Aggressor::from_number(self.code),
            }),
            LEVEL => {
                let side = if self.code == Side::Bid as u8 { Side::Bid } else { Side::Ask };
                Body::Level { side, price: a, quantity: b }
            }
            ORDER => Body::Order(OrderChange {
                action: OrderAction::from_number(self.code).unwrap_or(OrderAction::Clear),
                order_id: c as u64,
                side: Side::from_number(self.detail),
                price: a,
                quantity: b,
                executed: d,
            }),
            BAR if self.code == BAR_END => Body::Bar(BarStep::End { periods: self.detail }),
            BAR => Body::Bar(BarStep::Trade { price: a, quantity: b }),
            TICKER => Body::Ticker(Ticker { bid: a, ask: b, last: c, volume: d }),
            STATUS => Body::Status(Status::from_number(self.code).unwrap_or_default()),
            RESET => Body::Reset { epoch: a as u64, reason: ResetReason::from_number(self.code) },
            _ => Body::Ended,
        }
    }

    /// The channel it belongs to; `None` for what concerns all of them.
    pub fn channel(&self) -> Option<Channel> {
        Channel::from_number(self.kind)
    }

    /// The record as 64 bytes, publish stamp (and a reset's epoch) zeroed: what a digest is made of.
    pub fn digest_bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        let values = if self.kind == RESET { [0; 4] } else { self.values };
        let words =
            [self.seq, self.ts_ns, 0, values[0] as u64, values[1] as u64, values[2] as u64, values[3] as u64];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes[56..60].copy_from_slice(&self.instrument.to_le_bytes());
        bytes[60..].copy_from_slice(&[self.kind, self.flags, self.code, self.detail]);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_what_was_put_in() {
        let bodies = [
            Body::Quote(Quote { bid: 1, bid_quantity: 2, ask: 3, ask_quantity: 4 }),
            Body::Quote(Quote::EMPTY),
            Body::Trade(Trade { price: -5, quantity: 6, trade_id: u64::MAX, aggressor: Aggressor::Sell }),
            Body::Level { side: Side::Bid, price: i64::MAX, quantity: 0 },
            Body::Level { side: Side::Ask, price: -1, quantity: 9 },
            Body::Order(OrderChange {
                action: OrderAction::Execute,
                order_id: u64::MAX,
                side: Some(Side::Ask),
                price: -7,
                quantity: 8,
                executed: i64::MAX,
            }),
            Body::Order(OrderChange::CLEAR),
            Body::Ticker(Ticker { bid: 1, ask: ABSENT, last: 3, volume: 4 }),
            Body::Bar(BarStep::Trade { price: -5, quantity: 6 }),
            Body::Bar(BarStep::End { periods: 0b1010 }),
            Body::Status(Status::Auction),
            Body::Reset { epoch: 1 << 52, reason: ResetReason::Seek },
            Body::Ended,
        ];
        for body in bodies {
            let event = Event::new(7, 8, 9, body);
            assert_eq!(event.body(), body);
            assert_eq!((event.instrument, event.seq, event.ts_ns), (7, 8, 9));
        }
    }

    #[test]
    fn a_digest_leaves_out_the_publish_stamp_and_the_epoch() {
        let event = Event::new(1, 2, 3, Body::Status(Status::Halted));
        assert_eq!(event.digest_bytes(), Event { sent_ns: 77, ..event }.digest_bytes());
        assert_ne!(event.digest_bytes(), Event { seq: 3, ..event }.digest_bytes());
        let reset =
            |epoch| Event::new(1, 0, 3, Body::Reset { epoch, reason: ResetReason::Loop }).digest_bytes();
        assert_eq!(reset(1), reset(2));
    }
}
