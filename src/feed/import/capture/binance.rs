//! Binance, spot and futures: depth, trades, and snapshots that the recorder fetched from the REST interface.
//!
//! <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams>,
//! <https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams>

mod stitch;

use std::cell::RefCell;
use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use self::stitch::{Ids, Step, Stitch};
use super::{ANSWER, Fault, Known, Messages, Taking, Text, check_symbol};
use crate::feed::import::listing::Tells;
use crate::feed::import::{Findings, ImportError};
use crate::limits;
use crate::model::{Primary, Side};

/// What tells messages apart: `stream` and `data` are the envelope of a combined stream, `e` is the type; what has none
/// shows what it is by its other keys.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    stream: Option<Text<'a>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    e: Option<Text<'a>>,
    #[serde(rename = "lastUpdateId")]
    last_update_id: Option<u64>,
    /// Size of the best ask.
    #[serde(rename = "A")]
    best_ask: Option<IgnoredAny>,
    /// Of an answer to a request.
    id: Option<IgnoredAny>,
    /// Of a refusal.
    code: Option<IgnoredAny>,
}

/// Changes of a book. Levels are price and quantity.
#[derive(Deserialize)]
struct Depth<'a> {
    #[serde(rename = "E")]
    sent: u64,
    /// When it happened; futures only.
    #[serde(rename = "T")]
    happened: Option<u64>,
    #[serde(borrow)]
    s: Text<'a>,
    #[serde(rename = "U")]
    first: u64,
    u: u64,
    pu: Option<u64>,
    #[serde(borrow)]
    b: Vec<[&'a str; 2]>,
    #[serde(borrow)]
    a: Vec<[&'a str; 2]>,
}

/// A whole book, or its best levels.
#[derive(Deserialize)]
struct Snapshot<'a> {
    #[serde(rename = "lastUpdateId")]
    last_update_id: u64,
    #[serde(rename = "E")]
    sent: Option<u64>,
    #[serde(rename = "T")]
    happened: Option<u64>,
    /// Binance does not say it; a recorder may.
    #[serde(borrow, alias = "s")]
    symbol: Option<Text<'a>>,
    #[serde(borrow)]
    bids: Vec<[&'a str; 2]>,
    #[serde(borrow)]
    asks: Vec<[&'a str; 2]>,
}

/// A trade, or all trades of one order at one price.
#[derive(Deserialize)]
struct Trade<'a> {
    #[serde(borrow)]
    s: Text<'a>,
    /// Identifier of a trade.
    t: Option<u64>,
    /// Identifier of an aggregate.
    a: Option<u64>,
    p: &'a str,
    q: &'a str,
    #[serde(rename = "T")]
    happened: u64,
    /// The buyer's order rested.
    m: bool,
}

/// The best levels, again and again: a stream of partial depth, which only the envelope's name tells.
struct Partial {
    symbol: String,
    depth: u16,
    /// The stream without its symbol and speed.
    name: &'static str,
}

/// The levels of such a message; on the futures under other names.
#[derive(Deserialize)]
struct PartialLevels<'a> {
    #[serde(rename = "E")]
    sent: Option<u64>,
    #[serde(rename = "T")]
    happened: Option<u64>,
    #[serde(borrow, alias = "b")]
    bids: Vec<[&'a str; 2]>,
    #[serde(borrow, alias = "a")]
    asks: Vec<[&'a str; 2]>,
}

impl Partial {
    /// What the name of a stream says, such as `btcusdt@depth5@100ms`; `None` where it is another.
    fn of(stream: &str) -> Option<Partial> {
        let mut parts = stream.split('@');
        let (symbol, name) = (parts.next()?, parts.next()?);
        let (depth, name) = match name {
            "depth5" => (5, "depth5"),
            "depth10" => (10, "depth10"),
            "depth20" => (20, "depth20"),
            _ => return None,
        };
        Some(Partial { symbol: symbol.to_ascii_uppercase(), depth, name })
    }
}

/// The messages of Binance.
pub(super) struct Binance {
    symbols: FxHashMap<String, Symbol>,
    /// Levels of all changes that wait for snapshots.
    held_levels: usize,
    /// A snapshot that does not say whose it is and came before any symbol, its line, and when it was received.
    nobodys: Option<(String, u64, u64)>,
    /// The line of the first snapshot that did not say whose it is.
    unnamed_line: Option<u64>,
    learnt: Learnt,
}

/// What the second reading knows from the start.
pub(super) type Learnt = Rc<RefCell<Told>>;

/// Symbols of which there is better than what some messages tell.
#[derive(Default)]
pub(super) struct Told {
    /// Those that have single trades: their aggregates are not told besides.
    trades: FxHashSet<String>,
    /// Those that have changes of the whole book: their best levels are not told besides.
    books: FxHashSet<String>,
}

/// What is kept of one symbol.
#[derive(Default)]
struct Symbol {
    /// Its number, once it was listed, as one with a book and as one with trades.
    book_of: Option<u32>,
    /// The same, as one with the best levels.
    levels_of: Option<u32>,
    trades_of: Option<u32>,
    stitch: Stitch,
    /// Changes of its book that came since it is not known.
    waiting: u64,
    /// Identifiers of the last trade and the last aggregate.
    trade_id: Option<u64>,
    aggregate_id: Option<u64>,
}

impl Messages for Binance {
    fn take(&mut self, json: &str, taking: &mut Taking<'_>) -> Result<Known, Fault> {
        if taking.address.is_some() && !json.contains("\"lastUpdateId\"") {
            taking.findings.left_out(ANSWER);
            return Ok(Known::Yes);
        }
        let mut head: Head<'_> = serde_json::from_str(json)?;
        let (mut json, mut stream) = (json, None);
        if let Some(data) = head.data {
            json = data.get();
            stream = head.stream;
            head = serde_json::from_str(json)?;
        }
        if let Some(partial) = stream.as_deref().and_then(Partial::of) {
            self.partial(&partial, json, head.e.is_some(), taking)?;
            return Ok(Known::Yes);
        }
        match head.e.as_deref() {
            Some("depthUpdate") => self.depth(&serde_json::from_str(json)?, taking)?,
            Some("trade") => self.trade(&serde_json::from_str(json)?, taking)?,
            Some("aggTrade") => self.aggregate(&serde_json::from_str(json)?, taking)?,
            Some("bookTicker") => taking.findings.left_out("bookTicker"),
            Some("kline") => taking.findings.left_out("kline"),
            Some("continuous_kline") => taking.findings.left_out("continuous_kline"),
            Some("24hrTicker") => taking.findings.left_out("24hrTicker"),
            Some("24hrMiniTicker") => taking.findings.left_out("24hrMiniTicker"),
            Some("avgPrice") => taking.findings.left_out("avgPrice"),
            Some("markPriceUpdate") => taking.findings.left_out("markPriceUpdate"),
            Some("forceOrder") => taking.findings.left_out("forceOrder"),
            Some(unknown) => return unknown_type(unknown, taking),
            None if head.last_update_id.is_some() => self.snapshot(json, taking)?,
            None if head.best_ask.is_some() => taking.findings.left_out("bookTicker"),
            None if head.code.is_some() => return unknown_type("refusal of a request", taking),
            None if head.id.is_some() => taking.findings.left_out("answer to a request"),
            None => return Err("an object of none of the types that Binance documents".to_owned().into()),
        }
        Ok(Known::Yes)
    }

    fn end(&self, path: &str, findings: &mut Findings) {
        if let (Some(line), true) = (self.unnamed_line, self.symbols.is_empty()) {
            findings.note(format!(
                "{path}: snapshots of which none says its symbol, from line {line} on, and nothing else does: they are left out"
            ));
        }
        let waiting = self.symbols.iter().filter(|(_, symbol)| symbol.awaits());
        let mut waiting: Vec<_> = waiting.map(|(name, symbol)| (&**name, symbol.waiting)).collect();
        waiting.sort_unstable();
        for (name, changes) in waiting {
            findings.note(format!(
                "{path}: {name}: no snapshot came that changes of its book go on from: {changes} are left out"
            ));
        }
    }
}

impl Binance {
    pub fn new(learnt: Learnt) -> Binance {
        Binance { symbols: FxHashMap::default(), held_levels: 0, nobodys: None, unnamed_line: None, learnt }
    }

    /// What is kept of the symbol. With the first one a snapshot is taken that waited for it; there must be no second
    /// one where snapshots do not say whose they are.
    fn symbol(&mut self, name: &str, taking: &mut Taking<'_>) -> Result<&mut Symbol, Fault> {
        if !self.symbols.contains_key(name) {
            check_symbol(name)?;
            if self.symbols.len() >= limits::INSTRUMENTS_MAX {
                return Err(format!("symbol {name:?}, beyond {} of them", limits::INSTRUMENTS_MAX).into());
            }
            self.symbols.insert(name.to_owned(), Symbol::default());
            self.check_unnamed(taking)?;
            if let Some((json, line_before, ts_recv_ns)) = self.nobodys.take() {
                let now = std::mem::replace(&mut taking.ts_recv_ns, ts_recv_ns);
                let line = std::mem::replace(&mut taking.line, line_before);
                match self.snapshot(&json, taking) {
                    Err(Fault::Damage(problem)) => {
                        taking.primaries.clear();
                        taking.damage(problem)?;
                    }
                    taken => taken?,
                }
                (taking.ts_recv_ns, taking.line) = (now, line);
                taking.keep();
            }
        }
        Ok(self.symbols.get_mut(name).expect("it was put there"))
    }

    /// Snapshots that do not say whose they are can be those of the only symbol, and of no other.
    fn check_unnamed(&self, taking: &Taking<'_>) -> Result<(), ImportError> {
        let Some(line) = self.unnamed_line.filter(|_| self.symbols.len() > 1) else { return Ok(()) };
        let mut names: Vec<&str> = self.symbols.keys().map(String::as_str).take(2).collect();
        names.sort_unstable();
        Err(ImportError::Unsupported {
            path: taking.path.to_owned(),
            thing: "a snapshot that does not say its symbol",
            found: format!("in line {line}, beside messages of {}", names.join(" and ")),
            allowed: "such snapshots in a capture of one symbol; others need a key \"symbol\"",
        })
    }

    fn depth(&mut self, depth: &Depth<'_>, taking: &mut Taking<'_>) -> Result<(), Fault> {
        let ts_event_ns = time_ns(depth.happened.unwrap_or(depth.sent))?;
        let ids = Ids { first: depth.first, last: depth.u, previous: depth.pu };
        if ids.first > ids.last {
            return Err(format!("U {} and u {}; U is at most u", ids.first, ids.last).into());
        }
        if !self.learnt.borrow().books.contains(&*depth.s) {
            self.symbol(&depth.s, taking)?;
            self.learnt.borrow_mut().books.insert(depth.s.to_string());
        }
        let symbol = self.symbol(&depth.s, taking)?;
        let instrument = symbol.book(&depth.s, ids.previous.is_some(), taking)?;
        let from = taking.primaries.len();
        taking.levels(instrument, [&depth.b, &depth.a], ts_event_ns)?;
        let (was_known, held) = (symbol.stitch.is_known(), symbol.stitch.held_levels());
        let step = symbol.stitch.step(ids);
        let is_known = symbol.stitch.is_known();
        if step == Step::Old {
            taking.primaries.truncate(from);
            taking.findings.left_out("depthUpdate that the book had already");
            return Ok(());
        }
        if step == Step::Gap {
            self.held_levels -= held;
            taking.damage(format!(
                "changes of the book of {} are missing before this one ({}); the book is cleared until the next snapshot",
                &*depth.s,
                ids.previous.map_or(format!("U {}", ids.first), |previous| format!("pu {previous}"))
            ))?;
        }
        if is_known {
            if taking.primaries.len() > from {
                taking.end_event();
            }
            return Ok(());
        }
        let changes = taking.primaries.drain(from..).collect();
        if was_known {
            taking.clear(instrument, ts_event_ns);
            taking.end_event();
        }
        self.hold(&depth.s, ids, changes);
        Ok(())
    }

    /// Restates the best levels of a symbol of which nothing better is told.
    fn partial(
        &mut self,
        partial: &Partial,
        json: &str,
        is_futures: bool,
        taking: &mut Taking<'_>,
    ) -> Result<(), Fault> {
        let PartialLevels { sent, happened, bids, asks } = serde_json::from_str(json)?;
        if self.learnt.borrow().books.contains(&partial.symbol) {
            taking.findings.left_out("depth5, depth10 or depth20 beside depthUpdate");
            return Ok(());
        }
        let ts_event_ns = taking.or_received(happened.or(sent).map(time_ns).transpose()?);
        let shown = bids.len().max(asks.len());
        if shown > usize::from(partial.depth) {
            return Err(
                format!("{shown} levels a side; {} has at most {}", partial.name, partial.depth).into()
            );
        }
        let symbol = self.symbol(&partial.symbol, taking)?;
        let instrument = match symbol.levels_of {
            Some(instrument) => instrument,
            None => {
                let schema = depth_schema(is_futures);
                let instrument = taking.instrument(&partial.symbol, schema, Tells::BOOK, partial.depth)?;
                *symbol.levels_of.insert(instrument)
            }
        };
        for (side, levels) in [(Side::Bid, &bids), (Side::Ask, &asks)] {
            for number in 0..partial.depth {
                taking.top(instrument, side, number as u8, levels.get(usize::from(number)), ts_event_ns)?;
            }
        }
        taking.end_event();
        Ok(())
    }

    /// Keeps changes that wait for a snapshot, in place of older ones where there are too many.
    fn hold(&mut self, name: &str, ids: Ids, changes: Vec<Primary>) {
        let Some(symbol) = self.symbols.get_mut(name) else { return };
        symbol.waiting += 1;
        while self.held_levels + changes.len() > limits::IMPORT_HELD_LEVELS_MAX {
            let before = symbol.stitch.held_levels();
            if !symbol.stitch.forget() {
                return;
            }
            self.held_levels -= before - symbol.stitch.held_levels();
        }
        self.held_levels += changes.len();
        symbol.stitch.hold(ids, changes);
    }

    /// Begins a book, unless it is known.
    fn snapshot(&mut self, json: &str, taking: &mut Taking<'_>) -> Result<(), Fault> {
        let snapshot: Snapshot<'_> = serde_json::from_str(json)?;
        let time = snapshot.happened.or(snapshot.sent);
        let ts_event_ns = taking.or_received(time.map(time_ns).transpose()?);
        let asked = taking.address.and_then(symbol_asked);
        let name = match snapshot.symbol.as_deref().or(asked) {
            Some(name) => name.to_owned(),
            None => {
                self.unnamed_line.get_or_insert(taking.line);
                self.check_unnamed(taking)?;
                let Some(name) = self.symbols.keys().next() else {
                    self.nobodys = Some((json.to_owned(), taking.line, taking.ts_recv_ns));
                    return Ok(());
                };
                name.clone()
            }
        };
        let symbol = self.symbol(&name, taking)?;
        if symbol.stitch.is_known() {
            taking.findings.left_out("snapshot of a book that is known");
            return Ok(());
        }
        let instrument = symbol.book(&name, snapshot.happened.is_some(), taking)?;
        let from = taking.primaries.len();
        taking.clear(instrument, ts_event_ns);
        taking.levels(instrument, [&snapshot.bids, &snapshot.asks], ts_event_ns)?;
        let held = symbol.stitch.held_levels();
        let changes = symbol.stitch.snapshot(snapshot.last_update_id).map_err(|first| {
            format!(
                "lastUpdateId {} of this snapshot of {name} is too old: the changes that wait for one begin with U {first}",
                snapshot.last_update_id
            )
        })?;
        symbol.waiting = 0;
        self.held_levels -= held;
        taking.mark_snapshot(from);
        taking.end_event();
        for change in changes {
            // They are known from now on, whenever they were received.
            let ts_recv_ns = taking.ts_recv_ns;
            taking.primaries.extend(change.into_iter().map(|level| Primary { ts_recv_ns, ..level }));
            taking.end_event();
        }
        Ok(())
    }

    fn trade(&mut self, trade: &Trade<'_>, taking: &mut Taking<'_>) -> Result<(), Fault> {
        let id = trade.t.ok_or_else(|| "a trade without its id \"t\"".to_owned())?;
        if !self.learnt.borrow().trades.contains(&*trade.s) {
            self.symbol(&trade.s, taking)?;
            self.learnt.borrow_mut().trades.insert(trade.s.to_string());
        }
        let symbol = self.symbol(&trade.s, taking)?;
        if follows(&mut symbol.trade_id, id, taking) {
            symbol.tell(trade, id, taking)?;
        }
        Ok(())
    }

    fn aggregate(&mut self, trade: &Trade<'_>, taking: &mut Taking<'_>) -> Result<(), Fault> {
        let id = trade.a.ok_or_else(|| "an aggregate of trades without its id \"a\"".to_owned())?;
        let has_trades = self.learnt.borrow().trades.contains(&*trade.s);
        let symbol = self.symbol(&trade.s, taking)?;
        if has_trades {
            taking.findings.left_out("aggTrade beside trade");
        } else if follows(&mut symbol.aggregate_id, id, taking) {
            symbol.tell(trade, id, taking)?;
        }
        Ok(())
    }
}

impl Symbol {
    /// Whether changes of its book wait for a snapshot.
    fn awaits(&self) -> bool {
        self.book_of.is_some() && !self.stitch.is_known()
    }

    /// Its number as one with a book.
    fn book(&mut self, name: &str, is_futures: bool, taking: &mut Taking<'_>) -> Result<u32, Fault> {
        if let Some(instrument) = self.book_of {
            return Ok(instrument);
        }
        let instrument = taking.instrument(name, depth_schema(is_futures), Tells::BOOK, 0)?;
        Ok(*self.book_of.insert(instrument))
    }

    fn tell(&mut self, trade: &Trade<'_>, id: u64, taking: &mut Taking<'_>) -> Result<(), Fault> {
        let instrument = match self.trades_of {
            Some(instrument) => instrument,
            None => {
                let instrument = taking.instrument(&trade.s, "trade", Tells::TRADES, 0)?;
                *self.trades_of.insert(instrument)
            }
        };
        let aggressor = if trade.m { Side::Ask } else { Side::Bid };
        taking.trade(instrument, aggressor, [trade.p, trade.q], id, time_ns(trade.happened)?)?;
        // Futures report transfers that are no trade as trades of nothing.
        if taking.primaries.pop_if(|told| told.quantity == 0).is_some() {
            taking.findings.left_out("trade of nothing");
        }
        Ok(())
    }
}

/// The symbol in the address of a REST request, such as `https://api.binance.com/api/v3/depth?symbol=BTCUSDT`.
fn symbol_asked(address: &str) -> Option<&str> {
    let (_, query) = address.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix("symbol="))
}

/// What messages about a book tell of an instrument.
fn depth_schema(is_futures: bool) -> &'static str {
    if is_futures { "futures depth" } else { "spot depth" }
}

/// Whether a trade comes after the last one; ids between are those of trades that are missing.
fn follows(last: &mut Option<u64>, id: u64, taking: &mut Taking<'_>) -> bool {
    if last.is_some_and(|last| id <= last) {
        taking.findings.odd("trade whose id came before: not told again");
        return false;
    }
    if let Some(last) = last.replace(id) {
        taking.findings.odd_times("trades that are missing, by their ids", id - last - 1);
    }
    true
}

/// A time in milliseconds or, since Binance gives the choice, microseconds, as nanoseconds.
fn time_ns(time: u64) -> Result<u64, String> {
    /// The year 5138 in milliseconds, March 1973 in microseconds.
    const MICROSECONDS_MIN: u64 = 100_000_000_000_000;
    let unit = if time < MICROSECONDS_MIN { 1_000_000 } else { 1_000 };
    time.checked_mul(unit)
        .ok_or_else(|| format!("time {time}; expected milliseconds or microseconds since 1970"))
}

fn unknown_type(name: &str, taking: &mut Taking<'_>) -> Result<Known, Fault> {
    taking.findings.unknown(name);
    Ok(Known::No)
}
