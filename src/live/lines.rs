//! JSON lines: messages in the shapes of `docs/protocol.md`, as records.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::LiveError;
use super::resting::Resting;
use crate::limits;
use crate::model::{
    ABSENT, Aggressor, Catalog, Channel, ChannelSet, Instrument, Primary, PrimaryKind, Side, Status,
    parse_decimal, plain_decimal, primary_flags,
};
use crate::stats::LiveStats;

/// What an instrument has where its writer does not say.
const CHANNELS: ChannelSet = ChannelSet::of(&[
    Channel::Quotes,
    Channel::Trades,
    Channel::Book,
    Channel::Ticker,
    Channel::Bars,
    Channel::Status,
]);
/// How often refused lines are told of.
pub(super) const REPORT_NS: u64 = 1_000_000_000;
/// Bytes of a value that an error shows.
const SHOWN_BYTES: usize = 60;

/// A list of instruments, or a page of it.
#[derive(Deserialize)]
struct Listing<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    instruments: Vec<Definition<'a>>,
    #[serde(default)]
    more: bool,
}

#[derive(Deserialize)]
struct Definition<'a> {
    symbol: String,
    price_exponent: i8,
    quantity_exponent: i8,
    #[serde(borrow)]
    tick_size: Option<&'a RawValue>,
    #[serde(borrow)]
    lot_size: Option<&'a RawValue>,
    channels: Option<Vec<String>>,
}

/// An order of a snapshot: identifier, side, price, quantity.
type RestingOrder<'a> = (&'a RawValue, Cow<'a, str>, &'a RawValue, &'a RawValue);

/// Any message; what its type does not have is absent.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    symbol: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ts_ns: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    bid: Option<&'a RawValue>,
    #[serde(borrow)]
    bid_quantity: Option<&'a RawValue>,
    #[serde(borrow)]
    ask: Option<&'a RawValue>,
    #[serde(borrow)]
    ask_quantity: Option<&'a RawValue>,
    #[serde(borrow)]
    price: Option<&'a RawValue>,
    #[serde(borrow)]
    quantity: Option<&'a RawValue>,
    #[serde(borrow)]
    executed: Option<&'a RawValue>,
    #[serde(borrow)]
    trade_id: Option<&'a RawValue>,
    #[serde(borrow)]
    order_id: Option<&'a RawValue>,
    #[serde(borrow)]
    aggressor: Option<Cow<'a, str>>,
    #[serde(borrow)]
    action: Option<Cow<'a, str>>,
    #[serde(borrow)]
    side: Option<Cow<'a, str>>,
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow)]
    bids: Option<Vec<(&'a RawValue, &'a RawValue)>>,
    #[serde(borrow)]
    asks: Option<Vec<(&'a RawValue, &'a RawValue)>>,
    #[serde(borrow)]
    orders: Option<Vec<RestingOrder<'a>>>,
    snapshot: Option<bool>,
    part: Option<u16>,
    parts: Option<u16>,
    more: Option<bool>,
    /// `false`: more of the exchange event follows. In a `price` it is a price.
    #[serde(borrow)]
    last: Option<&'a RawValue>,
}

/// The lines of one writer.
pub(super) struct Lines {
    input: String,
    /// Lines read, from 1.
    line: u64,
    instruments: Vec<Instrument>,
    resting: Resting,
    stats: Arc<LiveStats>,
    /// Lines refused, those of them that were told of, and when.
    refused: u64,
    reported: u64,
    reported_ns: u64,
}

impl Lines {
    pub fn new(input: String, stats: Arc<LiveStats>) -> Lines {
        let (instruments, resting) = (Vec::new(), Resting::default());
        Lines { input, line: 0, instruments, resting, stats, refused: 0, reported: 0, reported_ns: 0 }
    }

    /// Takes a line that lists instruments; the catalog once the list is whole.
    pub fn instruments(&mut self, text: &[u8]) -> Result<Option<Catalog>, LiveError> {
        self.line += 1;
        if text.trim_ascii().is_empty() {
            return Ok(None);
        }
        let failed =
            |problem: String| LiveError::Instruments { input: self.input.clone(), line: self.line, problem };
        let listing: Listing<'_> = parse(text).map_err(failed)?;
        if listing.kind != "instruments" {
            // What a server says before it is asked.
            if listing.kind == "welcome" {
                return Ok(None);
            }
            return Err(failed(format!(
                "type {:?}; the instruments come first (type \"instruments\")",
                listing.kind
            )));
        }
        let known = self.instruments.len() + listing.instruments.len();
        if known == 0 && !listing.more {
            return Err(failed("the list of instruments is empty; allowed: one and more".into()));
        }
        if known > limits::INSTRUMENTS_MAX {
            return Err(failed(format!(
                "{known} instruments; at most {} are allowed",
                limits::INSTRUMENTS_MAX
            )));
        }
        for definition in listing.instruments {
            self.instruments.push(instrument(definition).map_err(failed)?);
        }
        if listing.more {
            return Ok(None);
        }
        let catalog = Catalog::new(std::mem::take(&mut self.instruments));
        catalog.map(Some).map_err(|error| LiveError::Catalog { input: self.input.clone(), error })
    }

    /// Appends what a line says; one that is not understood is counted, told of now and then, and passed over.
    pub fn message(&mut self, text: &[u8], catalog: &Catalog, now_ns: u64, out: &mut Vec<Primary>) {
        self.line += 1;
        if text.trim_ascii().is_empty() {
            return;
        }
        let before = out.len();
        let parsed = parse(text);
        let resting = &self.resting;
        let said = parsed.and_then(|message: Message<'_>| message.records(catalog, resting, now_ns, out));
        match said {
            Ok(()) => out[before..].iter().for_each(|record| self.resting.follow(record)),
            Err(problem) => {
                out.truncate(before);
                self.refuse(&problem, now_ns);
            }
        }
        if now_ns.saturating_sub(self.reported_ns) >= REPORT_NS {
            self.report_rest();
        }
    }

    /// Counts a line that is longer than the bound.
    pub fn too_long(&mut self, now_ns: u64) {
        self.line += 1;
        self.refuse(&format!("more than {} bytes", limits::LIVE_LINE_BYTES_MAX), now_ns);
    }

    /// Whether some were refused that were not told of.
    pub fn has_rest(&self) -> bool {
        self.refused > self.reported
    }

    /// Tells of what was not told of yet.
    pub fn report_rest(&mut self) {
        if self.has_rest() {
            self.reported = self.refused;
            tracing::warn!(input = self.input, refused = self.refused, "lines were refused");
        }
    }

    fn refuse(&mut self, problem: &str, now_ns: u64) {
        self.refused += 1;
        self.stats.refused.add(1);
        if self.reported == 0 || now_ns.saturating_sub(self.reported_ns) >= REPORT_NS {
            (self.reported, self.reported_ns) = (self.refused, now_ns);
            let (line, refused) = (self.line, self.refused);
            tracing::warn!(input = self.input, line, refused, "a line is refused: {problem}");
        }
    }
}

fn instrument(definition: Definition<'_>) -> Result<Instrument, String> {
    let Definition { symbol, price_exponent, quantity_exponent, .. } = definition;
    let mut channels = CHANNELS;
    if let Some(names) = &definition.channels {
        channels = ChannelSet::EMPTY;
        for name in names {
            let channel = Channel::from_name(name).ok_or_else(|| {
                let allowed = Channel::ALL.map(Channel::name).join(", ");
                format!("channel {name:?} of {symbol:?}; allowed: {allowed}")
            })?;
            channels = ChannelSet(channels.0 | ChannelSet::of(&[channel]).0);
        }
    }
    let step = |key, value, exponent| decimal(key, value, exponent).map(|step| step.unwrap_or(0));
    Ok(Instrument {
        tick_size: step("tick_size", definition.tick_size, price_exponent)?,
        lot_size: step("lot_size", definition.lot_size, quantity_exponent)?,
        symbol,
        price_exponent,
        quantity_exponent,
        channels,
        book_depth: 0,
        source_id: 0,
    })
}

/// What of a message is true of all its records.
struct Common<'a> {
    instrument: &'a Instrument,
    head: Primary,
}

impl Message<'_> {
    fn records(
        &self,
        catalog: &Catalog,
        resting: &Resting,
        now_ns: u64,
        out: &mut Vec<Primary>,
    ) -> Result<(), String> {
        let follows_from_others = matches!(
            &*self.kind,
            "price"
                | "bar"
                | "welcome"
                | "subscribed"
                | "unsubscribed"
                | "pong"
                | "heartbeat"
                | "notice"
                | "gap"
        );
        if follows_from_others {
            return Ok(());
        }
        if self.kind == "instruments" {
            return Err("type: \"instruments\"; they were listed before: others take another start".into());
        }
        let symbol = self.symbol.as_deref().ok_or("symbol is missing")?;
        let number = catalog.find(symbol);
        let known = number.and_then(|number| catalog.get(number).map(|instrument| (number, instrument)));
        let (number, instrument) =
            known.ok_or_else(|| format!("symbol {:?} is not among the instruments", shown(symbol)))?;
        let head = Primary {
            ts_recv_ns: now_ns,
            ..Primary::new(PrimaryKind::Note, number, self.time_ns()?.unwrap_or(now_ns))
        };
        let common = Common { instrument, head };
        let before = out.len();
        match &*self.kind {
            // Where there is a book the quote follows from it, where there are orders the book does.
            "quote" if instrument.has(Channel::Book) || instrument.has(Channel::Orders) => {}
            "orderbook" if instrument.has(Channel::Orders) => {}
            "quote" => self.quote(&common, out)?,
            "trade" => self.trade(&common, out)?,
            "orderbook" => self.book(&common, out)?,
            "order" => out.push(self.order(&common, resting)?),
            "orders" => self.snapshot(&common, out)?,
            "status" => {
                let name = self.status.as_deref().unwrap_or_default();
                let all = (0..=u8::MAX).filter_map(Status::from_number);
                let status = all.into_iter().find(|status| status.name() == name).ok_or_else(|| {
                    format!("status: {:?}; allowed: trading, halted, auction, closed", shown(name))
                })?;
                out.push(common.record(PrimaryKind::Status, |record| record.level = status as u8));
            }
            "reset" => out.push(common.record(PrimaryKind::Clear, |_| {})),
            kind => {
                return Err(format!(
                    "type: {:?}; allowed: quote, trade, orderbook, order, orders, status, reset",
                    shown(kind)
                ));
            }
        }
        let is_open = self.last.is_some_and(|last| last.get() == "false")
            || self.more == Some(true)
            || self.part.unwrap_or(1) < self.parts.unwrap_or(1);
        if let Some(last) = out[before..].last_mut().filter(|_| !is_open) {
            last.flags |= primary_flags::LAST;
        }
        Ok(())
    }

    /// When it happened: `ts_ns`, or `timestamp` in milliseconds.
    fn time_ns(&self) -> Result<Option<u64>, String> {
        if let Some(time) = whole("ts_ns", self.ts_ns)? {
            return Ok(Some(time));
        }
        let milliseconds = whole("timestamp", self.timestamp)?;
        let time = milliseconds.map(|time| time.checked_mul(1_000_000).ok_or_else(|| too_late(time)));
        time.transpose()
    }

    fn quote(&self, common: &Common<'_>, out: &mut Vec<Primary>) -> Result<(), String> {
        for (side, (price_key, price), (quantity_key, quantity)) in [
            (Side::Bid, ("bid", self.bid), ("bid_quantity", self.bid_quantity)),
            (Side::Ask, ("ask", self.ask), ("ask_quantity", self.ask_quantity)),
        ] {
            let price = common.price(price_key, price)?;
            let quantity = match price {
                Some(_) => common.quantity(quantity_key, quantity)?.ok_or_else(|| missing(quantity_key))?,
                None => 0,
            };
            out.push(common.record(PrimaryKind::Top, |record| {
                (record.side, record.price, record.quantity) =
                    (side as u8, price.unwrap_or(ABSENT), quantity);
            }));
        }
        Ok(())
    }

    fn trade(&self, common: &Common<'_>, out: &mut Vec<Primary>) -> Result<(), String> {
        let aggressor = match self.aggressor.as_deref() {
            None | Some("none") => Aggressor::None,
            Some("buy") => Aggressor::Buy,
            Some("sell") => Aggressor::Sell,
            Some(other) => return Err(format!("aggressor: {:?}; allowed: buy, sell, none", shown(other))),
        };
        let price = common.price("price", self.price)?.ok_or_else(|| missing("price"))?;
        let quantity = common.quantity("quantity", self.quantity)?.ok_or_else(|| missing("quantity"))?;
        if quantity == 0 {
            return Err("quantity: 0; allowed: above 0 for a trade".into());
        }
        let trade_id = whole("trade_id", self.trade_id)?.unwrap_or(0);
        out.push(common.record(PrimaryKind::Trade, |record| {
            (record.side, record.price, record.quantity) = (aggressor as u8, price, quantity);
            record.order_id = trade_id;
        }));
        Ok(())
    }

    fn book(&self, common: &Common<'_>, out: &mut Vec<Primary>) -> Result<(), String> {
        if self.snapshot == Some(true) && self.part.unwrap_or(1) == 1 {
            out.push(common.record(PrimaryKind::Clear, |_| {}));
        }
        for (side, key, levels) in [(Side::Bid, "bids", &self.bids), (Side::Ask, "asks", &self.asks)] {
            for (price, quantity) in levels.iter().flatten() {
                let price = common.price(key, Some(price))?.ok_or_else(|| missing(key))?;
                let quantity = common.quantity(key, Some(quantity))?.ok_or_else(|| missing(key))?;
                out.push(common.record(PrimaryKind::Level, |record| {
                    (record.side, record.price, record.quantity) = (side as u8, price, quantity);
                }));
            }
        }
        Ok(())
    }

    fn order(&self, common: &Common<'_>, resting: &Resting) -> Result<Primary, String> {
        let action = self.action.as_deref().unwrap_or_default();
        if action == "clear" {
            return Ok(common.record(PrimaryKind::Clear, |_| {}));
        }
        let order_id = whole("order_id", self.order_id)?.ok_or_else(|| missing("order_id"))?;
        let quantity = common.quantity("quantity", self.quantity)?;
        let rest = || quantity.ok_or_else(|| missing("quantity"));
        let rests = resting.quantity(common.head.instrument, order_id);
        let known = || rests.ok_or_else(|| format!("order_id: {order_id}; allowed: an order that rests"));
        let (kind, quantity) = match action {
            "add" if rests.is_some() => {
                return Err(format!("order_id: {order_id} rests already; allowed: one that does not"));
            }
            "add" => (PrimaryKind::Add, rest()?),
            "modify" => (PrimaryKind::Modify, rest()?),
            "cancel" => {
                let (rests, left) = (known()?, quantity.unwrap_or(0));
                if left > 0 && left >= rests {
                    return Err(format!(
                        "quantity: {left} of order {order_id}, of which {rests} rest; allowed: less, as it is what a \
                         cancel leaves"
                    ));
                }
                (PrimaryKind::Cancel, rests - left)
            }
            "execute" => {
                known()?;
                let executed = common.quantity("executed", self.executed)?;
                (PrimaryKind::Execute, executed.ok_or_else(|| missing("executed"))?)
            }
            other => {
                return Err(format!(
                    "action: {:?}; allowed: add, modify, cancel, execute, clear",
                    shown(other)
                ));
            }
        };
        let needs_place = matches!(kind, PrimaryKind::Add | PrimaryKind::Modify);
        let price = common.price("price", self.price)?;
        let side = self.side.as_deref().map(side).transpose()?;
        if needs_place && (price.is_none() || side.is_none()) {
            return Err(missing(if price.is_none() { "price" } else { "side" }));
        }
        Ok(common.record(kind, |record| {
            (record.order_id, record.quantity) = (order_id, quantity);
            record.price = price.unwrap_or(ABSENT);
            record.side = side.map_or(0, |side| side as u8);
        }))
    }

    fn snapshot(&self, common: &Common<'_>, out: &mut Vec<Primary>) -> Result<(), String> {
        if self.part.unwrap_or(1) == 1 {
            out.push(common.record(PrimaryKind::Clear, |_| {}));
        }
        for (order_id, named, price, quantity) in self.orders.iter().flatten() {
            let order_id = whole("order_id", Some(order_id))?.ok_or_else(|| missing("order_id"))?;
            let side = side(named)?;
            let price = common.price("price", Some(price))?.ok_or_else(|| missing("price"))?;
            let quantity = common.quantity("quantity", Some(quantity))?.ok_or_else(|| missing("quantity"))?;
            out.push(common.record(PrimaryKind::Add, |record| {
                (record.order_id, record.side) = (order_id, side as u8);
                (record.price, record.quantity) = (price, quantity);
            }));
        }
        Ok(())
    }
}

impl Common<'_> {
    fn record(&self, kind: PrimaryKind, fill: impl FnOnce(&mut Primary)) -> Primary {
        let mut record = Primary { kind: kind as u8, ..self.head };
        fill(&mut record);
        record
    }

    fn price(&self, key: &str, value: Option<&RawValue>) -> Result<Option<i64>, String> {
        decimal(key, value, self.instrument.price_exponent)
    }

    fn quantity(&self, key: &str, value: Option<&RawValue>) -> Result<Option<i64>, String> {
        let quantity = decimal(key, value, self.instrument.quantity_exponent)?;
        match quantity {
            Some(negative) if negative < 0 => Err(format!("{key}: a quantity below 0; allowed: 0 and above")),
            quantity => Ok(quantity),
        }
    }
}

/// Reads a line as JSON; the error says where in the line it is wrong.
fn parse<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, String> {
    if text.trim_ascii().first() != Some(&b'{') {
        return Err("not a JSON object, such as {\"type\":\"trade\", …}".into());
    }
    serde_json::from_slice(text).map_err(|error: serde_json::Error| match error.classify() {
        Category::Eof => "the line ends within its JSON object".into(),
        Category::Syntax | Category::Io => format!("not JSON from its byte {} on", error.column()),
        Category::Data => {
            let told = error.to_string();
            let what = told.split(" at line ").next().unwrap_or_default();
            format!("{what}, at byte {} of the line", error.column())
        }
    })
}

/// A number, or a string that holds one; `None` for `null`.
fn plain(value: Option<&RawValue>) -> Option<&str> {
    let text = value?.get();
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    (text != "null").then_some(quoted.unwrap_or(text))
}

fn decimal(key: &str, value: Option<&RawValue>, exponent: i8) -> Result<Option<i64>, String> {
    let Some(text) = plain(value) else { return Ok(None) };
    // Of numbers that programs print hardly one in a thousand has an exponent.
    let number = parse_decimal(text, exponent)
        .or_else(|| plain_decimal(text).and_then(|plain| parse_decimal(&plain, exponent)))
        .filter(|number| *number != ABSENT);
    number.map(Some).ok_or_else(|| {
        format!(
            "{key}: {}; allowed: a decimal that is a multiple of 1e{exponent} within 64 bits",
            shown(text)
        )
    })
}

fn whole(key: &str, value: Option<&RawValue>) -> Result<Option<u64>, String> {
    let Some(text) = plain(value) else { return Ok(None) };
    let number = text.parse().map(Some);
    number.map_err(|_| {
        format!("{key}: {}; allowed: a whole number from 0 to 18446744073709551615", shown(text))
    })
}

fn side(name: &str) -> Result<Side, String> {
    let known = [Side::Bid, Side::Ask].into_iter().find(|side| side.name() == name);
    known.ok_or_else(|| format!("side: {:?}; allowed: bid, ask", shown(name)))
}

fn missing(key: &str) -> String {
    format!("{key} is missing")
}

fn too_late(milliseconds: u64) -> String {
    format!("timestamp: {milliseconds}; allowed: milliseconds since 1970, at most 18446744073709")
}

/// The beginning of a text.
fn shown(text: &str) -> &str {
    let mut end = text.len().min(SHOWN_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
