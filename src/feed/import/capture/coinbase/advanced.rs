//! Coinbase Advanced Trade: objects with `channel`, each with events of it.
//!
//! <https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels>

use rustc_hash::FxHashMap;
use serde::Deserialize;

use super::{Coinbase, Trade};
use crate::feed::import::capture::{Fault, Known, Taking, Text, rfc3339_ns};
use crate::model::Side;

/// A message of channel `l2_data`, which is subscribed to as `level2`.
#[derive(Deserialize)]
struct Levels<'a> {
    timestamp: &'a str,
    #[serde(borrow)]
    events: Vec<LevelsEvent<'a>>,
}

/// A whole book, or what changed of it.
#[derive(Deserialize)]
struct LevelsEvent<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    product_id: Text<'a>,
    #[serde(borrow)]
    updates: Vec<Level<'a>>,
}

/// What stands at a price now. In a snapshot `event_time` is that of no event, 1970.
#[derive(Deserialize)]
struct Level<'a> {
    side: &'a str,
    event_time: Option<&'a str>,
    price_level: &'a str,
    new_quantity: &'a str,
}

/// A message of channel `market_trades`.
#[derive(Deserialize)]
struct Trades<'a> {
    #[serde(borrow)]
    events: Vec<TradesEvent<'a>>,
}

/// Trades of before the subscription, or of the last quarter of a second.
#[derive(Deserialize)]
struct TradesEvent<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    trades: Vec<TradeText<'a>>,
}

/// A trade. `side` is that of the order that rested, as with Coinbase Exchange.
#[derive(Deserialize)]
struct TradeText<'a> {
    trade_id: &'a str,
    #[serde(borrow)]
    product_id: Text<'a>,
    price: &'a str,
    size: &'a str,
    side: &'a str,
    time: &'a str,
}

impl Coinbase {
    /// Takes a message of that channel.
    pub(super) fn take_advanced(
        &mut self,
        channel: &str,
        json: &str,
        taking: &mut Taking<'_>,
    ) -> Result<Known, Fault> {
        match channel {
            "l2_data" => self.levels(&serde_json::from_str(json)?, taking)?,
            "market_trades" => self.trades(&serde_json::from_str(json)?, taking)?,
            "ticker" => taking.findings.left_out("ticker"),
            "ticker_batch" => taking.findings.left_out("ticker_batch"),
            "candles" => taking.findings.left_out("candles"),
            "status" => taking.findings.left_out("status"),
            "heartbeats" => taking.findings.left_out("heartbeats"),
            "subscriptions" => taking.findings.left_out("subscriptions"),
            unknown => {
                taking.findings.unknown(unknown);
                return Ok(Known::No);
            }
        }
        Ok(Known::Yes)
    }

    /// Each event is one of its own, at the time of the last of its changes.
    fn levels(&mut self, message: &Levels<'_>, taking: &mut Taking<'_>) -> Result<(), Fault> {
        let sent_ns = rfc3339_ns(message.timestamp)?;
        for event in &message.events {
            let sides =
                event.updates.iter().map(|level| side_of(level.side)).collect::<Result<Vec<_>, _>>()?;
            let levels = event
                .updates
                .iter()
                .zip(&sides)
                .map(|(level, side)| (*side, [level.price_level, level.new_quantity]));
            match event.kind {
                "snapshot" => {
                    // Bids first, as everywhere.
                    let of = |wanted| levels.clone().filter(move |(side, _)| *side == wanted);
                    let all = of(Side::Bid).chain(of(Side::Ask));
                    self.begin_book(&event.product_id, all, sent_ns, taking)?;
                }
                "update" => {
                    let times = event.updates.iter().filter_map(|level| level.event_time).map(rfc3339_ns);
                    let last = times.collect::<Result<Vec<_>, _>>()?.into_iter().max();
                    self.change_book(&event.product_id, levels, last.unwrap_or(sent_ns), taking)?;
                }
                other => return Err(type_of_event(other).into()),
            }
            taking.keep();
        }
        Ok(())
    }

    fn trades(&mut self, message: &Trades<'_>, taking: &mut Taking<'_>) -> Result<(), Fault> {
        for event in &message.events {
            // Coinbase tells the latest first.
            let mut trades = event.trades.iter().map(TradeText::read).collect::<Result<Vec<_>, _>>()?;
            trades.sort_by_key(|trade| trade.trade_id);
            match event.kind {
                "update" => {
                    for trade in &trades {
                        self.trade(trade, taking)?;
                        taking.keep();
                    }
                }
                "snapshot" => {
                    let last_of_each: FxHashMap<&str, &Trade<'_>> =
                        trades.iter().map(|trade| (trade.product_id, trade)).collect();
                    for trade in last_of_each.values() {
                        self.trade_before(trade, "snapshot of trades", taking)?;
                    }
                }
                other => return Err(type_of_event(other).into()),
            }
        }
        Ok(())
    }
}

impl<'a> TradeText<'a> {
    fn read(&'a self) -> Result<Trade<'a>, String> {
        let resting = match self.side {
            "BUY" => Side::Bid,
            "SELL" => Side::Ask,
            side => return Err(format!("side {side:?}; allowed: \"BUY\" and \"SELL\"")),
        };
        let id = self.trade_id;
        Ok(Trade {
            product_id: &self.product_id,
            trade_id: id.parse().map_err(|_| format!("trade_id {id:?}; expected a number"))?,
            resting,
            price: self.price,
            size: self.size,
            sequence: None,
            ts_event_ns: Some(rfc3339_ns(self.time)?),
        })
    }
}

fn side_of(text: &str) -> Result<Side, String> {
    match text {
        "bid" => Ok(Side::Bid),
        "offer" => Ok(Side::Ask),
        _ => Err(format!("side {text:?}; allowed: \"bid\" and \"offer\"")),
    }
}

fn type_of_event(found: &str) -> String {
    format!("an event of type {found:?}; allowed: \"snapshot\" and \"update\"")
}
