//! Binary market data: fixed-width, little-endian, naturally aligned records (`docs/protocol.md`, "Binary frames").
//!
//! A frame's payload is one [`FrameHeader`], then its messages back to back; a message is one [`MessageHeader`] and a
//! body whose shape the header's kind tells. Every length is a multiple of 8.

mod decode;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use self::decode::{DecodeError, Message, MessageBody, decode};
use super::message::{Content, Meta};
use crate::model::{Channel, Level, Side};

#[cfg(target_endian = "big")]
compile_error!("the records are laid out for little-endian machines");

/// Version of the binary layout, in every frame.
pub const VERSION: u8 = 1;

/// Kinds of message.
pub mod kind {
    /// Best bid and ask.
    pub const QUOTE: u8 = 1;
    /// A trade.
    pub const TRADE: u8 = 2;
    /// Levels of a book.
    pub const ORDERBOOK: u8 = 3;
    /// A change of one order.
    pub const ORDER: u8 = 4;
    /// The classic price message.
    pub const PRICE: u8 = 5;
    /// A bar.
    pub const BAR: u8 = 6;
    /// Trading status.
    pub const STATUS: u8 = 7;
    /// Every resting order.
    pub const ORDERS: u8 = 8;
}

/// Flags of a message.
pub mod flag {
    /// State as of `last_seq`, not a change.
    pub const SNAPSHOT: u8 = 1;
    /// The stream's part of the exchange event is complete with this message.
    pub const LAST: u8 = 2;
    /// The checksum field is filled.
    pub const CHECKSUM: u8 = 4;
}

/// First 16 bytes of a frame's payload.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    bincode::Encode,
    bincode::Decode,
)]
#[repr(C)]
pub struct FrameHeader {
    /// [`VERSION`].
    pub version: u8,
    /// [`Channel`] as a number.
    pub channel: u8,
    /// How many messages follow.
    pub messages: u16,
    /// The instrument's number, as granted in `subscribed`.
    pub instrument: u32,
    /// Epoch of every sequence in the frame.
    pub epoch: u64,
}

/// First 40 bytes of a message.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    bincode::Encode,
    bincode::Decode,
)]
#[repr(C)]
pub struct MessageHeader {
    /// Bytes of the message, this header included; a multiple of 8.
    pub length: u32,
    /// [`kind`].
    pub kind: u8,
    /// [`flag`].
    pub flags: u8,
    /// Zero.
    pub reserved: u16,
    /// First sequence covered.
    pub first_seq: u64,
    /// Last sequence covered.
    pub last_seq: u64,
    /// Event time, nanoseconds since the Unix epoch.
    pub ts_ns: u64,
    /// Publish time, nanoseconds since the Unix epoch.
    pub sent_ns: u64,
}

/// Body of a quote: 32 bytes.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    bincode::Encode,
    bincode::Decode,
)]
#[repr(C)]
pub struct QuoteBody {
    /// Best bid price; the smallest i64 where the side is empty (so for the other three).
    pub bid: i64,
    /// Quantity at the best bid.
    pub bid_quantity: i64,
    /// Best ask price.
    pub ask: i64,
    /// Quantity at the best ask.
    pub ask_quantity: i64,
}

/// Body of a trade: 32 bytes.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    bincode::Encode,
    bincode::Decode,
)]
#[repr(C)]
pub struct TradeBody {
    /// Price.
    pub price: i64,
    /// Quantity.
    pub quantity: i64,
    /// The source's identifier; 0: none.
    pub trade_id: u64,
    /// 0 nobody, 1 buyer, 2 seller.
    pub aggressor: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

/// Start of the body of levels: 16 bytes, followed by the bids, then the asks, as [`Level`].
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    bincode::Encode,
    bincode::Decode,
)]
#[repr(C)]
pub struct BookBody {
    /// How many bids follow.
    pub bids: u32,
    /// How many asks follow the bids.
    pub asks: u32,
    /// CRC32C of the view after this message, if [`flag::CHECKSUM`] is set; else zero.
    pub checksum: u32,
    /// Number of this part of a snapshot, from 1.
    pub part: u16,
    /// How many parts there are.
    pub parts: u16,
}

/// Body of a change of one order: 40 bytes.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    bincode::Encode,
    bincode::Decode,
)]
#[repr(C)]
pub struct OrderBody {
    /// The order; 0 in a clear.
    pub order_id: u64,
    /// Its price afterwards; the smallest i64 in a clear.
    pub price: i64,
    /// What rests of it afterwards; 0: it is gone.
    pub quantity: i64,
    /// How much of it was filled (execute); else 0.
    pub executed: i64,
    /// 1 add, 2 modify, 3 cancel, 4 execute, 5 clear.
    pub action: u8,
    /// 1 bid, 2 ask, 0 in a clear.
    pub side: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

/// Start of the body of a snapshot of orders: 16 bytes, followed by the bids, then the asks, as [`OrderEntry`].
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    bincode::Encode,
    bincode::Decode,
)]
#[repr(C)]
pub struct OrdersBody {
    /// How many bids follow.
    pub bids: u32,
    /// How many asks follow the bids.
    pub asks: u32,
    /// Number of this part of the snapshot, from 1.
    pub part: u16,
    /// How many parts there are.
    pub parts: u16,
    /// Zero.
    pub reserved: u32,
}

/// One resting order in a snapshot: 24 bytes.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    bincode::Encode,
    bincode::Decode,
)]
#[repr(C)]
pub struct OrderEntry {
    /// The order.
    pub order_id: u64,
    /// Its price.
    pub price: i64,
    /// What rests.
    pub quantity: i64,
}

/// Body of a bar: 56 bytes.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    bincode::Encode,
    bincode::Decode,
)]
#[repr(C)]
pub struct BarBody {
    /// When it begins, nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// Price of the first trade.
    pub open: i64,
    /// Highest price.
    pub high: i64,
    /// Lowest price.
    pub low: i64,
    /// Price of the last trade.
    pub close: i64,
    /// Quantity traded.
    pub volume: i64,
    /// 0 a second, 1 a minute, 2 five minutes, 3 an hour.
    pub period: u8,
    /// 1: the period is over; 0: the bar is running.
    pub complete: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

/// Body of the price message: 32 bytes. What is not there yet is the smallest i64.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    bincode::Encode,
    bincode::Decode,
)]
#[repr(C)]
pub struct PriceBody {
    /// Best bid price.
    pub bid: i64,
    /// Best ask price.
    pub ask: i64,
    /// Price of the last trade.
    pub last: i64,
    /// Quantity traded since the epoch began.
    pub volume: i64,
}

/// Body of a status: 8 bytes.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    bincode::Encode,
    bincode::Decode,
)]
#[repr(C)]
pub struct StatusBody {
    /// 1 trading, 2 halted, 3 auction, 4 closed.
    pub status: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

/// Appends one message: header and body.
pub fn encode(out: &mut Vec<u8>, meta: &Meta, content: &Content<'_>) {
    let mut flags = u8::from(meta.snapshot) * flag::SNAPSHOT + u8::from(meta.last) * flag::LAST;
    let (kind, body_length) = match content {
        Content::Quote(_) => (kind::QUOTE, size_of::<QuoteBody>()),
        Content::Trade(_) => (kind::TRADE, size_of::<TradeBody>()),
        Content::Book(levels) => {
            flags += u8::from(levels.checksum.is_some()) * flag::CHECKSUM;
            let entries = levels.bids.len() + levels.asks.len();
            (kind::ORDERBOOK, size_of::<BookBody>() + entries * size_of::<Level>())
        }
        Content::Order(_) => (kind::ORDER, size_of::<OrderBody>()),
        Content::Orders(orders) => {
            let entries = orders.orders.len() * size_of::<OrderEntry>();
            (kind::ORDERS, size_of::<OrdersBody>() + entries)
        }
        Content::Ticker(_) => (kind::PRICE, size_of::<PriceBody>()),
        Content::Bar(_) => (kind::BAR, size_of::<BarBody>()),
        Content::Status(_) => (kind::STATUS, size_of::<StatusBody>()),
    };
    let header = MessageHeader {
        length: (size_of::<MessageHeader>() + body_length) as u32,
        kind,
        flags,
        reserved: 0,
        first_seq: meta.first_seq,
        last_seq: meta.last_seq,
        ts_ns: meta.ts_ns,
        sent_ns: meta.sent_ns,
    };
    out.reserve(header.length as usize);
    out.extend_from_slice(header.as_bytes());
    match *content {
        Content::Quote(q) => {
            let body = QuoteBody {
                bid: q.bid,
                bid_quantity: q.bid_quantity,
                ask: q.ask,
                ask_quantity: q.ask_quantity,
            };
            out.extend_from_slice(body.as_bytes());
        }
        Content::Trade(t) => {
            let body = TradeBody {
                price: t.price,
                quantity: t.quantity,
                trade_id: t.trade_id,
                aggressor: t.aggressor as u8,
                reserved: [0; 7],
            };
            out.extend_from_slice(body.as_bytes());
        }
        Content::Book(levels) => {
            let body = BookBody {
                bids: levels.bids.len() as u32,
                asks: levels.asks.len() as u32,
                checksum: levels.checksum.unwrap_or(0),
                part: levels.part,
                parts: levels.parts,
            };
            out.extend_from_slice(body.as_bytes());
            out.extend_from_slice(levels.bids.as_bytes());
            out.extend_from_slice(levels.asks.as_bytes());
        }
        Content::Order(o) => {
            let body = OrderBody {
                order_id: o.order_id,
                price: o.price,
                quantity: o.quantity,
                executed: o.executed,
                action: o.action as u8,
                side: o.side.map_or(0, |side| side as u8),
                reserved: [0; 6],
            };
            out.extend_from_slice(body.as_bytes());
        }
        Content::Orders(snapshot) => {
            let bids = snapshot.orders.partition_point(|order| order.side == Side::Bid);
            let body = OrdersBody {
                bids: bids as u32,
                asks: (snapshot.orders.len() - bids) as u32,
                part: snapshot.part,
                parts: snapshot.parts,
                reserved: 0,
            };
            out.extend_from_slice(body.as_bytes());
            for order in snapshot.orders {
                let entry =
                    OrderEntry { order_id: order.order_id, price: order.price, quantity: order.quantity };
                out.extend_from_slice(entry.as_bytes());
            }
        }
        Content::Ticker(t) => {
            let body = PriceBody { bid: t.bid, ask: t.ask, last: t.last, volume: t.volume };
            out.extend_from_slice(body.as_bytes());
        }
        Content::Bar(b) => {
            let body = BarBody {
                start_ns: b.start_ns,
                open: b.open,
                high: b.high,
                low: b.low,
                close: b.close,
                volume: b.volume,
                period: b.period as u8,
                complete: u8::from(b.complete),
                reserved: [0; 6],
            };
            out.extend_from_slice(body.as_bytes());
        }
        Content::Status(status) => {
            out.extend_from_slice(StatusBody { status: status as u8, reserved: [0; 7] }.as_bytes());
        }
    }
}

/// Appends a frame header; [`finish_frame`] fills in the number of messages.
pub fn begin_frame(out: &mut Vec<u8>, channel: Channel, instrument: u32, epoch: u64) {
    let header = FrameHeader { version: VERSION, channel: channel as u8, messages: 0, instrument, epoch };
    out.extend_from_slice(header.as_bytes());
}

/// Writes the number of messages into the frame header that starts at `start`.
pub fn finish_frame(out: &mut [u8], start: usize, messages: u16) {
    out[start + 2..start + 4].copy_from_slice(&messages.to_le_bytes());
}

#[cfg(test)]
mod tests;
