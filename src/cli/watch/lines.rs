//! Market data as lines: aligned text, or the JSON of the protocol.

use std::io::{self, Write};

use crate::client::{BookView, Listing};
use crate::model::{ChannelSet, Decimal, Instrument, Level, Quote, Side, Trade};
use crate::wire::json;
use crate::wire::message::{Content, Levels, Meta};

/// Writes one line a trade or quote, and one block a book.
pub(super) struct Lines<O> {
    out: O,
    json: bool,
    /// Bytes of the longest symbol so far, so that columns stay where they are.
    symbol_width: usize,
    /// The line that is being built.
    line: Vec<u8>,
}

impl<O: Write> Lines<O> {
    pub fn new(out: O, json: bool) -> Lines<O> {
        Lines { out, json, symbol_width: 0, line: Vec::new() }
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    pub fn trade(&mut self, listing: &Listing, meta: &Meta, trade: Trade) -> io::Result<()> {
        if self.json {
            return self.object(listing, meta, &Content::Trade(trade));
        }
        self.begin(listing, meta.ts_ns);
        let price = shown(listing.price(trade.price));
        let quantity = shown(listing.quantity(trade.quantity));
        write!(self.line, " trade {price:>14} x {quantity:<14} {}", trade.aggressor.name())?;
        self.end()
    }

    pub fn quote(&mut self, listing: &Listing, meta: &Meta, quote: Quote) -> io::Result<()> {
        if self.json {
            return self.object(listing, meta, &Content::Quote(quote));
        }
        self.begin(listing, meta.ts_ns);
        let [bid, ask] = [quote.bid, quote.ask].map(|price| shown(listing.price(price)));
        let [bids, asks] = [quote.bid_quantity, quote.ask_quantity].map(|it| shown(listing.quantity(it)));
        write!(self.line, " quote {bid:>14} x {bids:<14} {ask:>14} x {asks}")?;
        self.end()
    }

    /// The best `depth` levels of both sides, best first.
    pub fn book(&mut self, view: &BookView<'_>, depth: usize) -> io::Result<()> {
        let [bids, asks] =
            [Side::Bid, Side::Ask].map(|side| view.book.levels(side).take(depth).collect::<Vec<_>>());
        let listing = view.listing;
        if self.json {
            let meta = Meta {
                first_seq: view.seq,
                last_seq: view.seq,
                ts_ns: view.ts_ns,
                sent_ns: view.sent_ns,
                snapshot: true,
                last: true,
            };
            let levels = Levels { bids: &bids, asks: &asks, checksum: None, part: 1, parts: 1 };
            return self.object(listing, &meta, &Content::Book(levels));
        }
        self.begin(listing, view.ts_ns);
        write!(self.line, " book  sequence {}", view.seq)?;
        self.end()?;
        for row in 0..bids.len().max(asks.len()) {
            let [(bid, bid_quantity), (ask, ask_quantity)] =
                [&bids, &asks].map(|levels| cells(listing, levels.get(row)));
            write!(self.line, "{bid_quantity:>29} {bid:>14} | {ask:<14} {ask_quantity}")?;
            self.end()?;
        }
        Ok(())
    }

    fn object(&mut self, listing: &Listing, meta: &Meta, content: &Content<'_>) -> io::Result<()> {
        // What the encoder asks of an instrument: its symbol and its exponents.
        let instrument = Instrument {
            symbol: listing.symbol.clone(),
            price_exponent: listing.price_exponent,
            quantity_exponent: listing.quantity_exponent,
            tick_size: 0,
            lot_size: 0,
            channels: ChannelSet::EMPTY,
            book_depth: 0,
            source_id: 0,
        };
        json::encode(&mut self.line, &instrument, meta, content);
        self.end()
    }

    fn begin(&mut self, listing: &Listing, ts_ns: u64) {
        self.symbol_width = self.symbol_width.max(listing.symbol.len());
        self.line.extend_from_slice(time_of_day(ts_ns).as_bytes());
        self.line.push(b' ');
        self.line.extend_from_slice(listing.symbol.as_bytes());
        let padding = self.symbol_width - listing.symbol.len();
        self.line.resize(self.line.len() + padding, b' ');
    }

    fn end(&mut self) -> io::Result<()> {
        let length = self.line.trim_ascii_end().len();
        self.line.truncate(length);
        self.line.push(b'\n');
        let written = self.out.write_all(&self.line);
        self.line.clear();
        written
    }
}

fn shown(value: Option<Decimal>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

/// Price and quantity of a level; nothing where there is none.
fn cells(listing: &Listing, level: Option<&Level>) -> (String, String) {
    level.map_or_else(Default::default, |level| {
        (shown(listing.price(level.price)), shown(listing.quantity(level.quantity)))
    })
}

/// `HH:MM:SS.mmm`, UTC.
pub(super) fn time_of_day(ts_ns: u64) -> String {
    if ts_ns == 0 {
        // State before the first event has no time.
        return "--:--:--.---".into();
    }
    let ms = ts_ns / 1_000_000 % 86_400_000;
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{:03}", ms % 1_000)
}
