//! From a frame's payload to its messages.

use zerocopy::FromBytes;

use super::{
    BookBody, FrameHeader, MessageHeader, PriceBody, QuoteBody, StatusBody, TradeBody, VERSION, flag, kind,
};
use crate::model::{Aggressor, Level, Quote, Status, Ticker, Trade};
use crate::wire::message::{Content, Levels, Meta};

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
    /// Channel `ticker`.
    Ticker(Ticker),
    /// Channel `status`; `None` for a number this version does not know.
    Status(Option<Status>),
    /// A kind this version does not know: skipped by its length.
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
            MessageBody::Ticker(ticker) => Content::Ticker(*ticker),
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

fn levels(bytes: &[u8], count: u32) -> Option<(Vec<Level>, &[u8])> {
    let (mine, rest) = bytes.split_at_checked((count as usize).checked_mul(size_of::<Level>())?)?;
    let entries =
        mine.chunks_exact(size_of::<Level>()).filter_map(|entry| Level::read_from_bytes(entry).ok());
    Some((entries.collect(), rest))
}
