//! Version 1: arrays of a channel's number, its data, its name and the pair; objects for everything else.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{BookMessage, Kraken, LevelText, Trade};
use crate::feed::import::capture::{Fault, Known, Taking, Text};
use crate::model::{Side, parse_decimal};

/// The most elements that a message has: an update of both sides of a book.
const ELEMENTS_MAX: usize = 5;

const EXPECTED: &str = "expected the channel's number, its data, its name and the pair";

/// A message of a channel: the channel's number, one or two parts, its name, the pair.
struct Message<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Message<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Vec<&'de RawValue>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::with_capacity(ELEMENTS_MAX);
                while let Some(element) = seq.next_element()? {
                    if elements.len() == ELEMENTS_MAX {
                        return Err(A::Error::custom(format!(
                            "more than {ELEMENTS_MAX} elements; {EXPECTED}"
                        )));
                    }
                    elements.push(element);
                }
                Ok(elements)
            }
        }
        deserializer.deserialize_seq(Elements).map(Message)
    }
}

/// Price, quantity, time, and whether it was told before.
#[expect(dead_code, reason = "what stands there is read past")]
#[derive(Deserialize)]
struct Level<'a>(
    #[serde(borrow)] &'a str,
    #[serde(borrow)] &'a str,
    #[serde(borrow)] &'a str,
    #[serde(default)] Option<IgnoredAny>,
);

/// Levels of a book: all of them (`as`, `bs`), or those that changed.
#[derive(Deserialize)]
struct Book<'a> {
    #[serde(rename = "as", borrow)]
    all_asks: Option<Vec<Level<'a>>>,
    #[serde(rename = "bs", borrow)]
    all_bids: Option<Vec<Level<'a>>>,
    #[serde(borrow, default)]
    a: Vec<Level<'a>>,
    #[serde(borrow, default)]
    b: Vec<Level<'a>>,
    c: Option<&'a str>,
}

/// Price, quantity, time, side of the order that crossed, kind of order, and the rest.
#[expect(dead_code, reason = "what stands there is read past")]
#[derive(Deserialize)]
struct TradeText<'a>(
    #[serde(borrow)] &'a str,
    #[serde(borrow)] &'a str,
    #[serde(borrow)] &'a str,
    #[serde(borrow)] &'a str,
    #[serde(default)] Option<IgnoredAny>,
    #[serde(default)] Option<IgnoredAny>,
);

impl Kraken {
    /// Takes an array.
    pub(super) fn take_v1(&mut self, json: &str, taking: &mut Taking<'_>) -> Result<Known, Fault> {
        let Message(elements) = serde_json::from_str(json)?;
        let [_, parts @ .., channel, pair] = &elements[..] else {
            return Err(format!("{} elements; {EXPECTED}", elements.len()).into());
        };
        let channel: Text<'_> = serde_json::from_str(channel.get())?;
        let pair: Text<'_> = serde_json::from_str(pair.get())?;
        match channel.split_once('-').unwrap_or((&channel, "")) {
            ("book", depth) => {
                let depth = depth
                    .parse()
                    .map_err(|_| format!("channel {:?}; expected \"book-<depth>\"", &*channel))?;
                let parts = parts.iter().map(|part| serde_json::from_str(part.get()));
                let parts = parts.collect::<Result<Vec<Book<'_>>, _>>()?;
                self.book(&message(&pair, depth, &parts)?, taking)?;
            }
            ("trade", _) => {
                for part in parts {
                    let trades: Vec<TradeText<'_>> = serde_json::from_str(part.get())?;
                    self.trades(&pair, trades.iter().map(trade), taking)?;
                }
            }
            ("ticker", _) => taking.findings.left_out("ticker"),
            ("spread", _) => taking.findings.left_out("spread"),
            ("ohlc", _) => taking.findings.left_out("ohlc"),
            (unknown, _) => {
                taking.findings.unknown(unknown);
                return Ok(Known::No);
            }
        }
        Ok(Known::Yes)
    }
}

/// The parts of a message about a book as one.
fn message<'a>(pair: &'a str, depth: u16, parts: &[Book<'a>]) -> Result<BookMessage<'a>, String> {
    let mut message = BookMessage {
        pair,
        depth: Some(depth),
        is_snapshot: parts.iter().any(|part| part.all_asks.is_some() || part.all_bids.is_some()),
        levels: Vec::new(),
        ts_event_ns: None,
        checksum: None,
    };
    for part in parts {
        let asks = part.all_asks.iter().flatten().chain(&part.a).map(|level| (Side::Ask, level));
        let bids = part.all_bids.iter().flatten().chain(&part.b).map(|level| (Side::Bid, level));
        for (side, Level(price, quantity, time, _)) in asks.chain(bids) {
            message.ts_event_ns = message.ts_event_ns.max(Some(seconds_ns(time)?));
            message.levels.push(LevelText { side, price, quantity });
        }
        if let Some(checksum) = part.c {
            let checksum = checksum
                .parse()
                .map_err(|_| format!("checksum {checksum:?}; expected 32 bits in decimals"))?;
            message.checksum = Some(checksum);
        }
    }
    Ok(message)
}

fn trade<'a>(TradeText(price, quantity, time, side, ..): &TradeText<'a>) -> Result<Trade<'a>, String> {
    let aggressor = match *side {
        "b" => Side::Bid,
        "s" => Side::Ask,
        _ => return Err(format!("side {side:?}; allowed: \"b\" and \"s\"")),
    };
    Ok(Trade { aggressor, price, quantity, trade_id: 0, ts_event_ns: seconds_ns(time)? })
}

/// Seconds since the Unix epoch as nanoseconds.
fn seconds_ns(text: &str) -> Result<u64, String> {
    let ns = parse_decimal(text, -9).and_then(|ns| u64::try_from(ns).ok());
    ns.ok_or_else(|| format!("time {text:?}; expected seconds since 1970, such as \"1618678163.334706\""))
}
