//! From a frame's payload to its messages.

use zerocopy::FromBytes;

use super::{
    BarBody, BookBody, FrameHeader, MessageHeader, OrderBody, OrderEntry, OrdersBody, PriceBody, QuoteBody,
    StatusBody, TradeBody, VERSION, flag, kind,
};
use crate::model::{
    Aggressor, Bar, Level, Order, OrderAction, OrderChange, Period, Quote, Side, Status, Ticker, Trade,
};
use crate::wire::message::{Content, Levels, Meta, Orders};

/// Why bytes are no frame of market data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The payload ends before what its headers announce.
    #[error("frame cut short: {needed} bytes needed at offset {offset}, {available} there")]
    Truncated {
        /// Where in the payload.
        offset: usize,
        /// How many bytes should be there.
        needed: usize,
        /// How many are.
        available: usize,
    },
    /// A version this decoder does not know.
    #[error("frame version {0}; this decoder reads version {VERSION}")]
    Version(u8),
    /// A length that is no multiple of 8, or smaller than what the kind needs.
    #[error("message length {length} at offset {offset} does not fit its kind")]
    Length {
        /// Where in the payload.
        offset: usize,
        /// The length given.
        length: u32,
    },
    /// Bytes after the last message announced.
    #[error("{0} bytes after the last message of the frame")]
    Trailing(usize),
}

/// One decoded message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What every message carries.
    pub meta: Meta,
    /// What it says.
    pub body: MessageBody,
}

/// What a decoded message says; the owned twin of [`Content`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageBody {
    /// Channel `quotes`.
    Quote(Quote),
    /// Channel `trades`.
    Trade(Trade),
    /// Channel `book`.
    Book {
        /// Bids.
        bids: Vec<Level>,
        /// Asks.
        asks: Vec<Level>,
        /// CRC32C of the view after this message, where it was sent.
        checksum: Option<u32>,
        /// Number of this part, from 1.
        part: u16,
        /// How many parts there are.
        parts: u16,
    },
    /// Channel `orders`: one order changed.
    Order(OrderChange),
    /// Channel `orders`: a snapshot.
    Orders {
        /// Bids, then asks, each side in price-time priority.
        orders: Vec<Order>,
        /// Number of this part, from 1.
        part: u16,
        /// How many parts there are.
        parts: u16,
    },
    /// Channel `ticker`.
    Ticker(Ticker),
    /// Channel `bars`.
    Bar(Bar),
    /// Channel `status`; `None` for a number this version does not know.
    Status(Option<Status>),
    /// A kind this version does not know, or an order's action or a bar's period: skipped by its length.
    Unknown(u8),
}

impl MessageBody {
    /// The same, borrowed; `None` for what cannot be encoded again.
    pub fn content(&self) -> Option<Content<'_>> {
        Some(match self {
            MessageBody::Quote(quote) => Content::Quote(*quote),
            MessageBody::Trade(trade) => Content::Trade(*trade),
            MessageBody::Book { bids, asks, checksum, part, parts } => {
                Content::Book(Levels { bids, asks, checksum: *checksum, part: *part, parts: *parts })
            }
            MessageBody::Order(change) => Content::Order(*change),
            MessageBody::Orders { orders, part, parts } => {
                Content::Orders(Orders { orders, part: *part, parts: *parts })
            }
            MessageBody::Ticker(ticker) => Content::Ticker(*ticker),
            MessageBody::Bar(bar) => Content::Bar(*bar),
            MessageBody::Status(status) => Content::Status((*status)?),
            MessageBody::Unknown(_) => return None,
        })
    }
}

/// Reads one frame's payload whole. Never panics, and allocates no more than a small multiple of the payload's size,
/// whatever the headers claim.
pub fn decode(payload: &[u8]) -> Result<(FrameHeader, Vec<Message>), DecodeError> {
    let header: FrameHeader = fixed(payload, 0)?;
    if header.version != VERSION {
        return Err(DecodeError::Version(header.version));
    }
    let mut offset = size_of::<FrameHeader>();
    let mut messages =
        Vec::with_capacity(usize::from(header.messages).min(payload.len() / size_of::<MessageHeader>()));
    for _ in 0..header.messages {
        let head: MessageHeader = fixed(payload, offset)?;
        let length = head.length as usize;
        if !length.is_multiple_of(8) || length < size_of::<MessageHeader>() {
            return Err(DecodeError::Length { offset, length: head.length });
        }
        let bytes = payload
            .get(offset..)
            .and_then(|rest| rest.get(..length))
            .ok_or(DecodeError::Truncated { offset, needed: length, available: payload.len() - offset })?;
        let body = decode_body(&head, bytes).ok_or(DecodeError::Length { offset, length: head.length })?;
        let meta = Meta {
            first_seq: head.first_seq,
            last_seq: head.last_seq,
            ts_ns: head.ts_ns,
            sent_ns: head.sent_ns,
            snapshot: head.flags & flag::SNAPSHOT != 0,
            last: head.flags & flag::LAST != 0,
        };
        messages.push(Message { meta, body });
        offset += length;
    }
    if offset != payload.len() {
        return Err(DecodeError::Trailing(payload.len() - offset));
    }
    Ok((header, messages))
}

/// A message may be longer than this version's body: what a later version appends is skipped.
fn decode_body(head: &MessageHeader, message: &[u8]) -> Option<MessageBody> {
    let body = &message[size_of::<MessageHeader>()..];
    Some(match head.kind {
        kind::QUOTE => {
            let q: QuoteBody = fixed(body, 0).ok()?;
            MessageBody::Quote(Quote {
                bid: q.bid,
                bid_quantity: q.bid_quantity,
                ask: q.ask,
                ask_quantity: q.ask_quantity,
            })
        }
        kind::TRADE => {
            let t: TradeBody = fixed(body, 0).ok()?;
            let aggressor = Aggressor::from_number(t.aggressor);
            MessageBody::Trade(Trade {
                price: t.price,
                quantity: t.quantity,
                trade_id: t.trade_id,
                aggressor,
            })
        }
        kind::ORDERBOOK => {
            let b: BookBody = fixed(body, 0).ok()?;
            let entries = &body[size_of::<BookBody>()..];
            let (bids, entries) = levels(entries, b.bids)?;
            let (asks, _) = levels(entries, b.asks)?;
            let checksum = (head.flags & flag::CHECKSUM != 0).then_some(b.checksum);
            MessageBody::Book { bids, asks, checksum, part: b.part, parts: b.parts }
        }
        kind::PRICE => {
            let p: PriceBody = fixed(body, 0).ok()?;
            MessageBody::Ticker(Ticker { bid: p.bid, ask: p.ask, last: p.last, volume: p.volume })
        }
        kind::ORDER => {
            let o: OrderBody = fixed(body, 0).ok()?;
            match OrderAction::from_number(o.action) {
                Some(action) => MessageBody::Order(OrderChange {
                    action,
                    order_id: o.order_id,
                    side: Side::from_number(o.side),
                    price: o.price,
                    quantity: o.quantity,
                    executed: o.executed,
                }),
                None => MessageBody::Unknown(head.kind),
            }
        }
        kind::ORDERS => {
            let b: OrdersBody = fixed(body, 0).ok()?;
            let entries = &body[size_of::<OrdersBody>()..];
            let (mut all, entries) = orders(entries, b.bids, Side::Bid)?;
            let (asks, _) = orders(entries, b.asks, Side::Ask)?;
            all.extend(asks);
            MessageBody::Orders { orders: all, part: b.part, parts: b.parts }
        }
        kind::BAR => {
            let b: BarBody = fixed(body, 0).ok()?;
            match Period::from_number(b.period) {
                Some(period) => MessageBody::Bar(Bar {
                    period,
                    start_ns: b.start_ns,
                    open: b.open,
                    high: b.high,
                    low: b.low,
                    close: b.close,
                    volume: b.volume,
                    complete: b.complete != 0,
                }),
                None => MessageBody::Unknown(head.kind),
            }
        }
        kind::STATUS => {
            let s: StatusBody = fixed(body, 0).ok()?;
            MessageBody::Status(Status::from_number(s.status))
        }
        other => MessageBody::Unknown(other),
    })
}

fn fixed<T: FromBytes>(bytes: &[u8], offset: usize) -> Result<T, DecodeError> {
    let rest = bytes.get(offset..).unwrap_or_default();
    T::read_from_prefix(rest).map(|(value, _)| value).map_err(|_| DecodeError::Truncated {
        offset,
        needed: size_of::<T>(),
        available: rest.len(),
    })
}

/// `count` fixed-width entries at the start of `bytes`, and what follows them.
fn entries<T: FromBytes>(bytes: &[u8], count: u32) -> Option<(impl Iterator<Item = T>, &[u8])> {
    let (mine, rest) = bytes.split_at_checked((count as usize).checked_mul(size_of::<T>())?)?;
    Some((mine.chunks_exact(size_of::<T>()).filter_map(|entry| T::read_from_bytes(entry).ok()), rest))
}

fn levels(bytes: &[u8], count: u32) -> Option<(Vec<Level>, &[u8])> {
    let (levels, rest) = entries(bytes, count)?;
    Some((levels.collect(), rest))
}

fn orders(bytes: &[u8], count: u32, side: Side) -> Option<(Vec<Order>, &[u8])> {
    let (orders, rest) = entries(bytes, count)?;
    let order = |OrderEntry { order_id, price, quantity }| Order { order_id, side, price, quantity };
    Some((orders.map(order).collect(), rest))
}
