//! Kraken: books with checksums, and trades, of version 1 and version 2 of its WebSocket interface.
//!
//! <https://docs.kraken.com/api/docs/websocket-v1/book>, <https://docs.kraken.com/api/docs/websocket-v2/book>

mod book;
mod v1;
mod v2;

use rustc_hash::FxHashMap;

use self::book::{Book, Places};
use super::number::Number;
use super::{ANSWER, Fault, Known, Messages, Taking};
use crate::feed::import::Findings;
use crate::feed::import::listing::Tells;
use crate::model::Side;

/// The depths that a book can be subscribed at, with the names of such channels.
const DEPTHS: [(u16, &str); 5] =
    [(10, "book-10"), (25, "book-25"), (100, "book-100"), (500, "book-500"), (1_000, "book-1000")];

/// What damages checksums where a recorder does not keep messages as they came.
const DROPPED_ZEROS: &str = " (its numbers have different places: a recorder that writes them anew drops the zeros that the checksum is made of)";

/// The messages of Kraken.
#[derive(Default)]
pub(super) struct Kraken {
    pairs: FxHashMap<String, Pair>,
    /// Version 2: the depth of each symbol's book, as the subscription was confirmed.
    depths: FxHashMap<String, u16>,
    /// Checksums that agree with the books, and those that do so once trailing zeros are put back.
    agreed: u64,
    restored: u64,
}

/// What is kept of one pair.
#[derive(Default)]
struct Pair {
    /// Its number, once it was listed, as one with a book and as one with trades.
    book_of: Option<u32>,
    trades_of: Option<u32>,
    /// Its book as Kraken has it; `None` before its snapshot, and after it proved wrong.
    book: Option<Book>,
    places: Places,
}

/// A level as it stands from now on, as written.
struct LevelText<'a> {
    side: Side,
    price: &'a str,
    quantity: &'a str,
}

/// A message about a book, of either version.
struct BookMessage<'a> {
    pair: &'a str,
    /// `None` where only the confirmed subscription, or the size of the snapshot, tells.
    depth: Option<u16>,
    is_snapshot: bool,
    levels: Vec<LevelText<'a>>,
    /// When the last of it happened.
    ts_event_ns: Option<u64>,
    checksum: Option<u32>,
}

/// A trade, of either version.
struct Trade<'a> {
    aggressor: Side,
    price: &'a str,
    quantity: &'a str,
    /// 0 where it has none.
    trade_id: u64,
    ts_event_ns: u64,
}

impl Messages for Kraken {
    fn take(&mut self, json: &str, taking: &mut Taking<'_>) -> Result<Known, Fault> {
        if taking.address.is_some() {
            taking.findings.left_out(ANSWER);
            return Ok(Known::Yes);
        }
        if json.starts_with('[') { self.take_v1(json, taking) } else { self.take_object(json, taking) }
    }

    fn end(&self, path: &str, findings: &mut Findings) {
        if self.agreed > 0 {
            findings.note(format!("{path}: checksums that agree with the books: {}", self.agreed));
        }
        if self.restored > 0 {
            findings.note(format!(
                "{path}: checksums that agree once trailing zeros are put back, which its recorder dropped: {}",
                self.restored
            ));
        }
    }
}

impl Kraken {
    /// What is kept of the pair.
    fn pair(&mut self, symbol: &str) -> &mut Pair {
        if !self.pairs.contains_key(symbol) {
            self.pairs.insert(symbol.to_owned(), Pair::default());
        }
        self.pairs.get_mut(symbol).expect("it was put there")
    }

    /// Takes a snapshot or an update of a book: what Kraken no longer tells of, since it fell out of the subscribed
    /// depth, is removed, and the checksum must be that of the book.
    fn book(&mut self, message: &BookMessage<'_>, taking: &mut Taking<'_>) -> Result<(), Fault> {
        let ts_event_ns = taking.or_received(message.ts_event_ns);
        let (instrument, begun) = match message.is_snapshot {
            true => self.list_book(message, taking)?,
            false => match self.pairs.get(message.pair) {
                Some(Pair { book_of: Some(instrument), book: Some(_), .. }) => (*instrument, None),
                _ => {
                    taking.findings.odd("update of a book that is not known");
                    return Ok(());
                }
            },
        };
        if message.is_snapshot {
            taking.clear(instrument, ts_event_ns);
        }
        let mut levels = Vec::with_capacity(message.levels.len());
        for LevelText { side, price, quantity } in &message.levels {
            taking.level(instrument, *side, [price, quantity], ts_event_ns)?;
            levels.push((*side, Number::parse(price)?, Number::parse(quantity)?));
        }
        let pair = self.pair(message.pair);
        if let Some(begun) = begun {
            (pair.book_of, pair.book) = (Some(instrument), Some(begun));
        }
        let Some(book) = &mut pair.book else { return Ok(()) };
        for (side, price, quantity) in levels {
            pair.places.widen(price, quantity);
            book.set(side, price, quantity);
        }
        while let Some((side, price)) = book.cut() {
            taking.level(instrument, side, [&price.to_string(), "0"], ts_event_ns)?;
        }
        if message.is_snapshot {
            taking.mark_snapshot(0);
        }
        let Some(stated) = message.checksum else {
            taking.end_event();
            return Ok(());
        };
        let held = book.checksum(None);
        if stated == held {
            self.agreed += 1;
        } else {
            let restored = book.checksum(Some(pair.places));
            if stated == restored {
                self.restored += 1;
            } else {
                pair.book = None;
                taking.primaries.clear();
                taking.clear(instrument, ts_event_ns);
                let hint = if held == restored { "" } else { DROPPED_ZEROS };
                taking.damage(format!(
                    "the checksum of {} is {stated}, that of its book {held}; the book is cleared until its next snapshot{hint}",
                    message.pair
                ))?;
            }
        }
        taking.end_event();
        Ok(())
    }

    /// Lists the pair of a snapshot as one with such a book, and begins the book.
    fn list_book(
        &self,
        message: &BookMessage<'_>,
        taking: &mut Taking<'_>,
    ) -> Result<(u32, Option<Book>), Fault> {
        let depth = message.depth.or_else(|| self.depths.get(message.pair).copied());
        let depth = depth.unwrap_or_else(|| message.depth_shown());
        let Some((depth, schema)) = DEPTHS.into_iter().find(|(known, _)| *known == depth) else {
            return Err(format!("a book of depth {depth}; allowed: 10, 25, 100, 500 and 1000").into());
        };
        let instrument = taking.instrument(message.pair, schema, Tells::BOOK, depth)?;
        Ok((instrument, Some(Book::new(usize::from(depth)))))
    }

    /// Takes the trades of one message; each is an exchange event of its own.
    fn trades<'a>(
        &mut self,
        symbol: &str,
        trades: impl Iterator<Item = Result<Trade<'a>, String>>,
        taking: &mut Taking<'_>,
    ) -> Result<(), Fault> {
        let instrument = match self.pairs.get(symbol).and_then(|pair| pair.trades_of) {
            Some(instrument) => instrument,
            None => {
                let instrument = taking.instrument(symbol, "trade", Tells::TRADES, 0)?;
                *self.pair(symbol).trades_of.insert(instrument)
            }
        };
        for trade in trades {
            let Trade { aggressor, price, quantity, trade_id, ts_event_ns } = trade?;
            taking.trade(instrument, aggressor, [price, quantity], trade_id, ts_event_ns)?;
        }
        Ok(())
    }
}

impl BookMessage<'_> {
    /// The smallest depth that there is and that holds as many levels.
    fn depth_shown(&self) -> u16 {
        let bids = self.levels.iter().filter(|level| level.side == Side::Bid).count();
        let shown = bids.max(self.levels.len() - bids);
        let depth = DEPTHS.into_iter().map(|(depth, _)| depth).find(|depth| usize::from(*depth) >= shown);
        depth.unwrap_or(u16::MAX)
    }
}
