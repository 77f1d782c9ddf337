//! Coinbase: books (`level2`) and trades (`matches`, `market_trades`) of Coinbase Exchange and of Advanced Trade.
//!
//! <https://docs.cdp.coinbase.com/exchange/websocket-feed/channels>

mod advanced;

use rustc_hash::FxHashMap;
use serde::Deserialize;

use super::{ANSWER, Fault, Known, Messages, Taking, Text, rfc3339_ns};
use crate::feed::import::Findings;
use crate::feed::import::listing::Tells;
use crate::model::Side;

/// The name of what these messages tell of an instrument.
const SCHEMA: &str = "coinbase";

/// What tells messages apart: those of Coinbase Exchange have a type, those of Advanced Trade a channel.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    channel: Option<Text<'a>>,
}

/// A whole book. Levels are price and size.
#[derive(Deserialize)]
struct Snapshot<'a> {
    #[serde(borrow)]
    product_id: Text<'a>,
    #[serde(borrow)]
    bids: Vec<[&'a str; 2]>,
    #[serde(borrow)]
    asks: Vec<[&'a str; 2]>,
    time: Option<&'a str>,
}

/// Levels of a book that changed: side, price, what stands there now.
#[derive(Deserialize)]
struct Update<'a> {
    #[serde(borrow)]
    product_id: Text<'a>,
    #[serde(borrow)]
    changes: Vec<[&'a str; 3]>,
    time: Option<&'a str>,
}

/// A trade. `side` is that of the order that rested.
#[derive(Deserialize)]
struct Match<'a> {
    #[serde(borrow)]
    product_id: Text<'a>,
    trade_id: u64,
    side: &'a str,
    size: &'a str,
    price: &'a str,
    sequence: Option<u64>,
    time: Option<&'a str>,
}

/// A trade, of either interface.
struct Trade<'a> {
    product_id: &'a str,
    trade_id: u64,
    /// The side of the order that rested.
    resting: Side,
    price: &'a str,
    size: &'a str,
    sequence: Option<u64>,
    ts_event_ns: Option<u64>,
}

/// The messages of Coinbase.
#[derive(Default)]
pub(super) struct Coinbase {
    products: FxHashMap<String, Product>,
}

/// What is kept of one product.
struct Product {
    instrument: u32,
    /// What it was listed with.
    tells: Tells,
    /// Its book is known.
    has_book: bool,
    /// Identifier of the last trade, told or only heard of.
    trade_id: Option<u64>,
    /// Sequence number of the last match. It numbers what the product's channel `full` tells, so that most numbers are
    /// not met here and none that is passed over proves a loss.
    sequence: u64,
}

impl Messages for Coinbase {
    fn take(&mut self, json: &str, taking: &mut Taking<'_>) -> Result<Known, Fault> {
        if taking.address.is_some() {
            taking.findings.left_out(ANSWER);
            return Ok(Known::Yes);
        }
        let Head { kind, channel } = serde_json::from_str(json)?;
        let kind = match (&kind, &channel) {
            (Some(kind), _) => kind,
            (None, Some(channel)) => return self.take_advanced(channel, json, taking),
            (None, None) => return Err("an object without \"type\" and \"channel\"".to_owned().into()),
        };
        match &**kind {
            "l2update" => self.update(&serde_json::from_str(json)?, taking)?,
            "snapshot" => self.snapshot(&serde_json::from_str(json)?, taking)?,
            "match" => self.trade(&serde_json::from_str::<Match<'_>>(json)?.read()?, taking)?,
            "last_match" => {
                let trade: Match<'_> = serde_json::from_str(json)?;
                self.trade_before(&trade.read()?, "last_match", taking)?;
            }
            "ticker" => taking.findings.left_out("ticker"),
            "subscriptions" => taking.findings.left_out("subscriptions"),
            "heartbeat" => taking.findings.left_out("heartbeat"),
            unknown => {
                taking.findings.unknown(unknown);
                return Ok(Known::No);
            }
        }
        Ok(Known::Yes)
    }

    fn end(&self, _: &str, _: &mut Findings) {}
}

impl Coinbase {
    /// The product, listed as one that is told of in such a way.
    fn product(
        &mut self,
        symbol: &str,
        tells: Tells,
        taking: &mut Taking<'_>,
    ) -> Result<&mut Product, Fault> {
        if !self.products.get(symbol).is_some_and(|product| product.tells == product.tells.and(tells)) {
            let instrument = taking.instrument(symbol, SCHEMA, tells, 0)?;
            let product = self.products.entry(symbol.to_owned()).or_insert(Product {
                instrument,
                tells,
                has_book: false,
                trade_id: None,
                sequence: 0,
            });
            product.tells = product.tells.and(tells);
        }
        Ok(self.products.get_mut(symbol).expect("it was put there"))
    }

    fn snapshot(&mut self, snapshot: &Snapshot<'_>, taking: &mut Taking<'_>) -> Result<(), Fault> {
        let ts_event_ns = taking.or_received(snapshot.time.map(rfc3339_ns).transpose()?);
        let bids = snapshot.bids.iter().map(|level| (Side::Bid, *level));
        let asks = snapshot.asks.iter().map(|level| (Side::Ask, *level));
        self.begin_book(&snapshot.product_id, bids.chain(asks), ts_event_ns, taking)
    }

    fn update(&mut self, update: &Update<'_>, taking: &mut Taking<'_>) -> Result<(), Fault> {
        let ts_event_ns = taking.or_received(update.time.map(rfc3339_ns).transpose()?);
        let levels = update.changes.iter().map(|[side, price, size]| Ok((side_of(side)?, [*price, *size])));
        let levels = levels.collect::<Result<Vec<_>, String>>()?;
        self.change_book(&update.product_id, levels.into_iter(), ts_event_ns, taking)
    }

    /// The levels that stand from now on; those of before are gone.
    fn begin_book<'a>(
        &mut self,
        product_id: &str,
        levels: impl Iterator<Item = (Side, [&'a str; 2])>,
        ts_event_ns: u64,
        taking: &mut Taking<'_>,
    ) -> Result<(), Fault> {
        let product = self.product(product_id, Tells::BOOK, taking)?;
        let from = taking.primaries.len();
        taking.clear(product.instrument, ts_event_ns);
        for (side, level) in levels {
            taking.level(product.instrument, side, level, ts_event_ns)?;
        }
        taking.mark_snapshot(from);
        taking.end_event();
        product.has_book = true;
        Ok(())
    }

    /// Levels that changed.
    fn change_book<'a>(
        &mut self,
        product_id: &str,
        levels: impl Iterator<Item = (Side, [&'a str; 2])>,
        ts_event_ns: u64,
        taking: &mut Taking<'_>,
    ) -> Result<(), Fault> {
        let Some(product) = self.products.get(product_id).filter(|product| product.has_book) else {
            taking.findings.odd("update of a book before the snapshot of its product");
            return Ok(());
        };
        for (side, level) in levels {
            taking.level(product.instrument, side, level, ts_event_ns)?;
        }
        taking.end_event();
        Ok(())
    }

    fn trade(&mut self, trade: &Trade<'_>, taking: &mut Taking<'_>) -> Result<(), Fault> {
        let ts_event_ns = taking.or_received(trade.ts_event_ns);
        let product = self.product(trade.product_id, Tells::TRADES, taking)?;
        if product.trade_id.is_some_and(|last| trade.trade_id <= last) {
            taking.findings.odd("match whose trade_id came before: not told again");
            return Ok(());
        }
        taking.trade(
            product.instrument,
            trade.resting.opposite(),
            [trade.price, trade.size],
            trade.trade_id,
            ts_event_ns,
        )?;
        if let Some(last) = product.trade_id.replace(trade.trade_id) {
            taking.findings.odd_times(MISSED, trade.trade_id - last - 1);
        }
        let sequence = trade.sequence.unwrap_or(product.sequence);
        if sequence < product.sequence {
            taking.findings.odd("match whose sequence is smaller than the one before");
        }
        product.sequence = sequence;
        Ok(())
    }

    /// A trade of before the subscription. It is none of the recording's, but after a new connection it shows how many
    /// were missed.
    fn trade_before(
        &mut self,
        trade: &Trade<'_>,
        name: &'static str,
        taking: &mut Taking<'_>,
    ) -> Result<(), Fault> {
        let product = self.product(trade.product_id, Tells::TRADES, taking)?;
        if let Some(last) = product.trade_id {
            taking.findings.odd_times(MISSED, trade.trade_id.saturating_sub(last));
        }
        product.trade_id = product.trade_id.max(Some(trade.trade_id));
        taking.findings.left_out(name);
        Ok(())
    }
}

impl Match<'_> {
    fn read(&self) -> Result<Trade<'_>, String> {
        Ok(Trade {
            product_id: &self.product_id,
            trade_id: self.trade_id,
            resting: side_of(self.side)?,
            price: self.price,
            size: self.size,
            sequence: self.sequence,
            ts_event_ns: self.time.map(rfc3339_ns).transpose()?,
        })
    }
}

/// What the report calls them.
const MISSED: &str = "trades that are missing, by their ids";

fn side_of(text: &str) -> Result<Side, String> {
    match text {
        "buy" => Ok(Side::Bid),
        "sell" => Ok(Side::Ask),
        _ => Err(format!("side {text:?}; allowed: \"buy\" and \"sell\"")),
    }
}
