//! Raw captures of exchanges' WebSocket streams: what was received, a message a line, with the time or without.
//!
//! What becomes of each message is in `docs/feed-format.md`, "Captures of exchanges".

mod binance;
mod coinbase;
mod kraken;
mod line;
mod number;

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustc_hash::FxHashMap;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::binance::{Binance, Learnt};
use self::coinbase::Coinbase;
use self::kraken::Kraken;
use self::line::Line;
use super::error::Fault;
use super::lines::Lines;
use super::listing::{Exponents, Key, Listing, Shape, Tells};
use super::passes::{self, Format, Piece, Reading, Recording};
use super::stored::Source;
use super::{Findings, ImportError, ImportOptions, Imported, Place, Progress};
use crate::feed::pacing_time_ns;
use crate::limits;
use crate::model::{ABSENT, ABSENT_TIME, Primary, PrimaryKind, Side, primary_flags};

/// An exchange whose captures can be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// Coinbase Exchange (`snapshot`, `l2update`, `match`) and Advanced Trade (`l2_data`, `market_trades`).
    Coinbase,
    /// Kraken: books with their checksums, trades; versions 1 and 2.
    Kraken,
    /// Binance, spot and futures: depth, trades, and snapshots from its REST interface.
    Binance,
}

/// Reads the inputs and writes the feed file `out`, which must not exist. `progress` hears now and then how far it is.
pub fn import(
    exchange: Exchange,
    inputs: &[PathBuf],
    out: &Path,
    options: ImportOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    let captures = Captures { exchange, learnt: Learnt::default(), starts: Starts::default() };
    passes::import(&captures, inputs, out, options, progress)
}

impl Exchange {
    fn name(self) -> &'static str {
        match self {
            Exchange::Coinbase => "Coinbase",
            Exchange::Kraken => "Kraken",
            Exchange::Binance => "Binance",
        }
    }

    /// What a capture of it is, for who took another file for one.
    fn expected(self) -> &'static str {
        match self {
            Exchange::Coinbase => {
                "a capture of Coinbase: a message a line, an object with \"type\" (Exchange) or \"channel\" (Advanced Trade)"
            }
            Exchange::Kraken => {
                "a capture of Kraken: a message a line, an array (version 1) or an object with \"channel\" (version 2) or \"event\""
            }
            Exchange::Binance => {
                "a capture of Binance: a message a line, an object with \"e\", \"lastUpdateId\", or \"stream\" and \"data\""
            }
        }
    }
}

/// Captures of one exchange.
struct Captures {
    exchange: Exchange,
    learnt: Learnt,
    starts: Starts,
}

/// The first time that each input tells, for what comes before it and tells none. The second reading knows them from the
/// start.
type Starts = Rc<RefCell<FxHashMap<String, u64>>>;

impl Format for Captures {
    type Recording = Capture;

    fn open(&self, path: &Path) -> Result<Capture, ImportError> {
        let messages: Box<dyn Messages> = match self.exchange {
            Exchange::Coinbase => Box::new(Coinbase::default()),
            Exchange::Kraken => Box::new(Kraken::default()),
            Exchange::Binance => Box::new(Binance::new(Rc::clone(&self.learnt))),
        };
        let lines = Lines::open(path, self.exchange.expected())?;
        let before_ns = self.starts.borrow().get(&lines.source.path).copied().unwrap_or(ABSENT_TIME);
        Ok(Capture {
            lines,
            exchange: self.exchange,
            messages,
            before_ns,
            starts: Rc::clone(&self.starts),
            ended: false,
            piece: Piece::default(),
        })
    }
}

/// A capture being read.
struct Capture {
    lines: Lines,
    exchange: Exchange,
    messages: Box<dyn Messages>,
    /// The time of the message before; of the first the one that the first reading found.
    before_ns: u64,
    starts: Starts,
    /// The end was met.
    ended: bool,
    piece: Piece,
}

/// What an exchange's messages mean, and what has to be kept of them to know it.
trait Messages {
    /// Takes one message, and appends what it says to [`Taking::primaries`]; where it is damaged, it says nothing.
    fn take(&mut self, json: &str, taking: &mut Taking<'_>) -> Result<Known, Fault>;

    /// The capture is over: what is to be said of it as a whole.
    fn end(&self, path: &str, findings: &mut Findings);
}

/// Whether a message is of a type that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Yes,
    No,
}

/// Where a message stands, and where goes what becomes of it.
struct Taking<'a> {
    path: &'a str,
    line: u64,
    /// Of an answer over HTTP, the address that was asked.
    address: Option<&'a str>,
    /// When it was received; [`ABSENT_TIME`] where the recorder does not say.
    ts_recv_ns: u64,
    /// The time of the message before, or of the first that has one.
    before_ns: u64,
    listing: &'a mut Listing,
    findings: &'a mut Findings,
    primaries: &'a mut Vec<Primary>,
    /// How many of these stay where the message turns out to be damaged.
    kept: usize,
}

impl Taking<'_> {
    /// The number of an instrument that the messages tell `tells` of, under the exchange's name for such messages.
    fn instrument(
        &mut self,
        symbol: &str,
        schema: &'static str,
        tells: Tells,
        depth: u16,
    ) -> Result<u32, Fault> {
        check_symbol(symbol)?;
        let key = Key { symbol: symbol.to_owned(), ..Key::default() };
        let shape = Shape { schema, tells, depth, source_id: 0, exponents: Exponents::FromDecimals };
        Ok(self.listing.instrument(key, shape, self.path)?)
    }

    /// Notes that what came before this message is damaged, as it shows.
    fn damage(&mut self, problem: String) -> Result<(), ImportError> {
        self.findings.damage(self.path, Place::Line(self.line), problem)
    }

    /// What was appended stays, also where the rest of the message turns out to be damaged.
    fn keep(&mut self) {
        self.kept = self.primaries.len();
    }

    /// When something happened that has no time of its own: when it was received or, where nobody says that either, at
    /// the time of the message before.
    fn or_received(&self, ts_event_ns: Option<u64>) -> u64 {
        ts_event_ns.unwrap_or(if self.ts_recv_ns == ABSENT_TIME { self.before_ns } else { self.ts_recv_ns })
    }

    /// Every level of the instrument is gone.
    fn clear(&mut self, instrument: u32, ts_event_ns: u64) {
        self.primaries.push(Primary {
            ts_recv_ns: self.ts_recv_ns,
            ..Primary::new(PrimaryKind::Clear, instrument, ts_event_ns)
        });
    }

    /// A level as it stands from now on.
    fn level(
        &mut self,
        instrument: u32,
        side: Side,
        [price, quantity]: [&str; 2],
        ts_event_ns: u64,
    ) -> Result<(), String> {
        if self.primaries.len() >= limits::IMPORT_MESSAGE_LEVELS_MAX {
            return Err(format!("more than {} levels in one message", limits::IMPORT_MESSAGE_LEVELS_MAX));
        }
        let level = Primary {
            ts_recv_ns: self.ts_recv_ns,
            side: side as u8,
            price: self.price(instrument, price)?,
            quantity: self.listing.quantity(instrument, quantity)?,
            ..Primary::new(PrimaryKind::Level, instrument, ts_event_ns)
        };
        self.primaries.push(level);
        Ok(())
    }

    /// One of the best levels, restated; `None`: there is no such level.
    fn top(
        &mut self,
        instrument: u32,
        side: Side,
        number: u8,
        level: Option<&[&str; 2]>,
        ts_event_ns: u64,
    ) -> Result<(), String> {
        let (price, quantity) = match level {
            Some([price, quantity]) => {
                (self.price(instrument, price)?, self.listing.quantity(instrument, quantity)?)
            }
            None => (ABSENT, 0),
        };
        self.primaries.push(Primary {
            ts_recv_ns: self.ts_recv_ns,
            side: side as u8,
            price,
            quantity,
            level: number,
            ..Primary::new(PrimaryKind::Top, instrument, ts_event_ns)
        });
        Ok(())
    }

    /// Levels of both sides, bids first.
    fn levels(
        &mut self,
        instrument: u32,
        [bids, asks]: [&[[&str; 2]]; 2],
        ts_event_ns: u64,
    ) -> Result<(), String> {
        for (side, levels) in [(Side::Bid, bids), (Side::Ask, asks)] {
            for level in levels {
                self.level(instrument, side, *level, ts_event_ns)?;
            }
        }
        Ok(())
    }

    /// A trade, an exchange event of its own; `aggressor` is the side that crossed the spread.
    fn trade(
        &mut self,
        instrument: u32,
        aggressor: Side,
        [price, quantity]: [&str; 2],
        trade_id: u64,
        ts_event_ns: u64,
    ) -> Result<(), String> {
        let trade = Primary {
            ts_recv_ns: self.ts_recv_ns,
            side: aggressor as u8,
            price: self.price(instrument, price)?,
            quantity: self.listing.quantity(instrument, quantity)?,
            order_id: trade_id,
            flags: primary_flags::LAST,
            ..Primary::new(PrimaryKind::Trade, instrument, ts_event_ns)
        };
        self.primaries.push(trade);
        Ok(())
    }

    /// A price; none of these exchanges has negative ones.
    fn price(&mut self, instrument: u32, text: &str) -> Result<i64, String> {
        let price = self.listing.price(instrument, text)?;
        if price < 0 {
            return Err(format!("price {text:?}; allowed: 0 or more"));
        }
        Ok(price)
    }

    /// What was appended from position `from` on is part of a snapshot.
    fn mark_snapshot(&mut self, from: usize) {
        for primary in &mut self.primaries[from..] {
            primary.flags |= primary_flags::SNAPSHOT;
        }
    }

    /// The exchange event ends with what was appended last.
    fn end_event(&mut self) {
        if let Some(last) = self.primaries.last_mut() {
            last.flags |= primary_flags::LAST;
        }
    }
}

impl Recording for Capture {
    fn advance(&mut self, reading: &mut Reading) -> Result<bool, ImportError> {
        let Reading { listing, findings } = reading;
        let primaries = &mut self.piece.primaries;
        primaries.clear();
        while self.lines.advance(findings)? {
            let (path, line) = (&self.lines.source.path, self.lines.number());
            let (json, address, ts_recv_ns) = match Line::parse(self.lines.line()) {
                Ok(Line::Received { ts_recv_ns, address, json }) => {
                    (json, address, ts_recv_ns.unwrap_or(ABSENT_TIME))
                }
                Ok(Line::Other) => continue,
                Err(problem) => {
                    findings.damage(path, Place::Line(line), problem)?;
                    continue;
                }
            };
            let before_ns = self.before_ns;
            let mut taking =
                Taking { path, line, address, ts_recv_ns, before_ns, listing, findings, primaries, kept: 0 };
            match self.messages.take(json, &mut taking) {
                Ok(Known::Yes) => self.lines.source.records += 1,
                Ok(Known::No) => {}
                Err(Fault::Damage(problem)) => {
                    taking.primaries.truncate(taking.kept);
                    taking.damage(problem)?;
                }
                Err(Fault::Import(error)) => return Err(error),
            }
            if let Some(first) = primaries.first() {
                self.piece.time_ns = pacing_time_ns(first).unwrap_or(self.piece.time_ns);
                if let Some(time_ns) = primaries.iter().find_map(pacing_time_ns) {
                    self.before_ns = time_ns;
                    self.starts.borrow_mut().entry(path.clone()).or_insert(time_ns);
                }
                return Ok(true);
            }
        }
        if !std::mem::replace(&mut self.ended, true) {
            self.messages.end(&self.lines.source.path, findings);
        }
        Ok(false)
    }

    fn piece(&self) -> &Piece {
        &self.piece
    }

    fn source(&self) -> &Source {
        &self.lines.source
    }

    fn describe(&self) -> String {
        format!(
            "{}: capture of {}, {} messages",
            self.lines.source.name,
            self.exchange.name(),
            self.lines.source.records
        )
    }
}

/// Whether there is a symbol, and a short one: tables keep them.
fn check_symbol(symbol: &str) -> Result<(), String> {
    if symbol.is_empty() || symbol.len() > limits::SYMBOL_BYTES_MAX {
        let bytes = symbol.len();
        return Err(format!("a symbol of {bytes} bytes; allowed: 1 to {}", limits::SYMBOL_BYTES_MAX));
    }
    Ok(())
}

/// A time as RFC 3339, in nanoseconds since the Unix epoch.
fn rfc3339_ns(text: &str) -> Result<u64, String> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok();
    time.and_then(|time| u64::try_from(time.unix_timestamp_nanos()).ok()).ok_or_else(|| {
        format!("time {text:?}; expected one from 1970 to 2554, such as \"2021-04-17T16:43:37.075687Z\"")
    })
}

/// What an answer over HTTP is called that tells nothing of a market here.
const ANSWER: &str = "answer over HTTP";

/// A string of a message; borrowed where nothing in it is escaped.
#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}
