//! Version 2, and everything of version 1 that is no array: objects.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{BookMessage, Kraken, LevelText, Trade};
use crate::feed::import::capture::{Fault, Known, Taking, Text, check_symbol, rfc3339_ns};
use crate::limits;
use crate::model::Side;

/// What tells the objects apart: `channel` has market data of version 2, `method` its answers, `event` is version 1.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    channel: Option<Text<'a>>,
    #[serde(rename = "type", borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Text<'a>>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Option<Text<'a>>,
}

/// The answer to a subscription.
#[derive(Deserialize)]
struct Confirmed<'a> {
    #[serde(borrow)]
    channel: Option<Text<'a>>,
    #[serde(borrow)]
    symbol: Option<Text<'a>>,
    depth: Option<u16>,
}

/// Numbers are kept as they are written: the checksum is made of their digits.
#[derive(Deserialize)]
struct Level<'a> {
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    qty: &'a RawValue,
}

#[derive(Deserialize)]
struct Book<'a> {
    #[serde(borrow)]
    symbol: Text<'a>,
    #[serde(borrow, default)]
    bids: Vec<Level<'a>>,
    #[serde(borrow, default)]
    asks: Vec<Level<'a>>,
    checksum: Option<u32>,
    timestamp: Option<&'a str>,
}

#[derive(Deserialize)]
struct TradeText<'a> {
    #[serde(borrow)]
    symbol: Text<'a>,
    side: &'a str,
    #[serde(borrow)]
    price: &'a RawValue,
    #[serde(borrow)]
    qty: &'a RawValue,
    trade_id: u64,
    timestamp: &'a str,
}

impl Kraken {
    /// Takes an object.
    pub(super) fn take_object(&mut self, json: &str, taking: &mut Taking<'_>) -> Result<Known, Fault> {
        let head: Head<'_> = serde_json::from_str(json)?;
        let Head { channel, kind, data, method, result, event } = &head;
        let is_snapshot = kind.as_deref() == Some("snapshot");
        match (channel.as_deref(), data) {
            (Some("book"), Some(data)) => self.books(data, is_snapshot, taking)?,
            // Trades of before the subscription.
            (Some("trade"), _) if is_snapshot => taking.findings.left_out("snapshot of trades"),
            (Some("trade"), Some(data)) => {
                let trades: Vec<TradeText<'_>> = serde_json::from_str(data.get())?;
                for trade in &trades {
                    self.trades(&trade.symbol, std::iter::once(trade.read()), taking)?;
                }
            }
            (Some("ticker"), _) => taking.findings.left_out("ticker"),
            (Some("ohlc"), _) => taking.findings.left_out("ohlc"),
            (Some("instrument"), _) => taking.findings.left_out("instrument"),
            (Some("heartbeat"), _) => taking.findings.left_out("heartbeat"),
            (Some("status"), _) => taking.findings.left_out("status"),
            (Some(unknown), _) => return unknown_type(unknown, taking),
            (None, _) => match (event.as_deref(), method.as_deref()) {
                (Some("heartbeat"), _) => taking.findings.left_out("heartbeat"),
                (Some("systemStatus"), _) => taking.findings.left_out("systemStatus"),
                (Some("subscriptionStatus"), _) => taking.findings.left_out("subscriptionStatus"),
                (None, Some("subscribe")) => {
                    taking.findings.left_out("subscribe");
                    self.confirmed(*result)?;
                }
                (Some("pong"), _) | (None, Some("pong")) => taking.findings.left_out("pong"),
                (Some(unknown), _) | (None, Some(unknown)) => return unknown_type(unknown, taking),
                (None, None) => {
                    return Err("an object without \"channel\", \"method\" and \"event\"".to_owned().into());
                }
            },
        }
        Ok(Known::Yes)
    }

    /// Keeps the depth of a book that was subscribed.
    fn confirmed(&mut self, result: Option<&RawValue>) -> Result<(), Fault> {
        let Some(result) = result else { return Ok(()) };
        let confirmed: Confirmed<'_> = serde_json::from_str(result.get())?;
        if let (Some("book"), Some(symbol), Some(depth)) =
            (confirmed.channel.as_deref(), confirmed.symbol, confirmed.depth)
            && self.depths.len() < limits::INSTRUMENTS_MAX
        {
            check_symbol(&symbol)?;
            self.depths.insert(symbol.0.into_owned(), depth);
        }
        Ok(())
    }

    fn books(&mut self, data: &RawValue, is_snapshot: bool, taking: &mut Taking<'_>) -> Result<(), Fault> {
        let [book]: [Book<'_>; 1] = serde_json::from_str(data.get())?;
        let asks = book.asks.iter().map(|level| (Side::Ask, level));
        let bids = book.bids.iter().map(|level| (Side::Bid, level));
        let levels = asks.chain(bids);
        let message = BookMessage {
            pair: &book.symbol,
            depth: None,
            is_snapshot,
            levels: levels
                .map(|(side, level)| LevelText {
                    side,
                    price: number(level.price),
                    quantity: number(level.qty),
                })
                .collect(),
            ts_event_ns: book.timestamp.map(rfc3339_ns).transpose()?,
            checksum: book.checksum,
        };
        self.book(&message, taking)
    }
}

impl TradeText<'_> {
    fn read(&self) -> Result<Trade<'_>, String> {
        let aggressor = match self.side {
            "buy" => Side::Bid,
            "sell" => Side::Ask,
            side => return Err(format!("side {side:?}; allowed: \"buy\" and \"sell\"")),
        };
        Ok(Trade {
            aggressor,
            price: number(self.price),
            quantity: number(self.qty),
            trade_id: self.trade_id,
            ts_event_ns: rfc3339_ns(self.timestamp)?,
        })
    }
}

/// A number as it is written; recorders that fear for its digits make it a string.
fn number(raw: &RawValue) -> &str {
    raw.get().trim_matches('"')
}

fn unknown_type(name: &str, taking: &mut Taking<'_>) -> Result<Known, Fault> {
    taking.findings.unknown(name);
    Ok(Known::No)
}
