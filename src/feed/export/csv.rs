//! CSV (RFC 4180, lines that end with a line feed): a table a channel, with the keys of the JSON messages as columns.
//!
//! Prices and quantities are exact decimals, times nanoseconds, what is absent is empty. A message with several levels
//! or orders gives a row for each.

use std::path::Path;

use super::output::{Output, refused};
use super::told::Sheet;
use super::{ExportError, STANDARD_OUTPUT};
use crate::model::{ABSENT, Bar, Channel, ChannelSet, Decimal, Instrument, OrderAction, OrderChange, Side};
use crate::wire::message::{Content, Meta};

/// What every table begins with.
const COMMON: &str = "symbol,first_seq,last_seq,ts_ns,sent_ns,snapshot,more";

/// The columns of a channel after [`COMMON`].
const fn columns(channel: Channel) -> &'static str {
    match channel {
        Channel::Quotes => "bid,bid_quantity,ask,ask_quantity",
        Channel::Trades => "price,quantity,aggressor,trade_id",
        Channel::Book => "side,price,quantity",
        Channel::Orders => "action,order_id,side,price,quantity,executed",
        Channel::Ticker => "bid,ask,last,volume",
        Channel::Bars => "period,start_ns,open,high,low,close,volume,complete",
        Channel::Status => "status",
    }
}

/// One table a channel.
pub(super) struct Csv {
    /// By [`Channel::index`]; `None` where the channel is not exported.
    tables: [Option<Output>; Channel::ALL.len()],
    row: Row,
}

impl Csv {
    /// Creates the file of one channel, or a folder with a file for each.
    pub fn create(out: &Path, channels: ChannelSet) -> Result<Csv, ExportError> {
        let count = channels.iter().count();
        if count > 1 {
            if out.as_os_str() == STANDARD_OUTPUT {
                return Err(ExportError::Tables(count));
            }
            std::fs::create_dir(out).map_err(|error| refused("create", out, error))?;
        }
        let mut tables = [const { None }; Channel::ALL.len()];
        for channel in channels.iter() {
            let mut table = if count > 1 {
                Output::create(&out.join(format!("{channel}.csv")))?
            } else {
                Output::create(out)?
            };
            table.write(format!("{COMMON},{}\n", columns(channel)).as_bytes())?;
            tables[channel.index()] = Some(table);
        }
        Ok(Csv { tables, row: Row::default() })
    }
}

impl Sheet for Csv {
    fn write(
        &mut self,
        instrument: &Instrument,
        meta: &Meta,
        content: &Content<'_>,
    ) -> Result<(), ExportError> {
        let Some(table) = &mut self.tables[content.channel().index()] else { return Ok(()) };
        let row = &mut self.row;
        row.begin(instrument, meta);
        match content {
            Content::Quote(quote) => {
                row.price(quote.bid).quantity(quote.bid_quantity);
                row.price(quote.ask).quantity(quote.ask_quantity).end();
            }
            Content::Trade(trade) => {
                row.price(trade.price).quantity(trade.quantity).text(trade.aggressor.name());
                row.some(trade.trade_id).end();
            }
            Content::Book(book) => {
                for (side, levels) in [(Side::Bid, book.bids), (Side::Ask, book.asks)] {
                    for level in levels {
                        row.text(side.name()).price(level.price).quantity(level.quantity).end();
                    }
                }
            }
            Content::Order(change) => row.order(change),
            Content::Orders(snapshot) => {
                for order in snapshot.orders {
                    row.order(&OrderChange {
                        action: OrderAction::Add,
                        order_id: order.order_id,
                        side: Some(order.side),
                        price: order.price,
                        quantity: order.quantity,
                        executed: 0,
                    });
                }
            }
            Content::Ticker(ticker) => {
                row.price(ticker.bid).price(ticker.ask).price(ticker.last).quantity(ticker.volume).end();
            }
            Content::Bar(bar) => row.bar(bar),
            Content::Status(status) => row.text(status.name()).end(),
        }
        table.write(&row.text)
    }

    fn finish(&mut self) -> Result<(), ExportError> {
        self.tables.iter_mut().flatten().try_for_each(Output::finish)
    }
}

/// The rows of one message.
#[derive(Default)]
struct Row {
    /// What each of them begins with.
    common: Vec<u8>,
    text: Vec<u8>,
    /// Where the row in hand begins.
    start: usize,
    price_exponent: i8,
    quantity_exponent: i8,
}

impl Row {
    fn begin(&mut self, instrument: &Instrument, meta: &Meta) {
        (self.price_exponent, self.quantity_exponent) =
            (instrument.price_exponent, instrument.quantity_exponent);
        self.common.clear();
        // A symbol has no quotation mark and no control character; a comma it may have.
        let quote = if instrument.symbol.contains(',') { "\"" } else { "" };
        let head = [quote, &instrument.symbol, quote].concat();
        self.common.extend_from_slice(head.as_bytes());
        for number in [meta.first_seq, meta.last_seq, meta.ts_ns, meta.sent_ns] {
            self.common.push(b',');
            self.common.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        }
        for flag in [meta.snapshot, !meta.last] {
            self.common.extend_from_slice(if flag { b",true" } else { b",false" });
        }
        self.text.clear();
        self.start = 0;
    }

    /// Starts a field; the first of a row brings what every row begins with.
    fn field(&mut self) -> &mut Vec<u8> {
        if self.text.len() == self.start {
            self.text.extend_from_slice(&self.common);
        }
        self.text.push(b',');
        &mut self.text
    }

    fn text(&mut self, text: &str) -> &mut Row {
        self.field().extend_from_slice(text.as_bytes());
        self
    }

    fn number(&mut self, number: u64) -> &mut Row {
        self.text(itoa::Buffer::new().format(number))
    }

    /// A number of which 0 means none.
    fn some(&mut self, number: u64) -> &mut Row {
        if number == 0 { self.text("") } else { self.number(number) }
    }

    fn decimal(&mut self, value: i64, exponent: i8) -> &mut Row {
        let field = self.field();
        if value != ABSENT {
            Decimal::new(value, exponent).write(field);
        }
        self
    }

    fn price(&mut self, value: i64) -> &mut Row {
        self.decimal(value, self.price_exponent)
    }

    fn quantity(&mut self, value: i64) -> &mut Row {
        self.decimal(value, self.quantity_exponent)
    }

    fn order(&mut self, change: &OrderChange) {
        self.text(change.action.name()).some(change.order_id);
        self.text(change.side.map_or("", Side::name));
        self.price(change.price).quantity(change.quantity).quantity(change.executed).end();
    }

    fn bar(&mut self, bar: &Bar) {
        self.text(bar.period.name()).number(bar.start_ns);
        self.price(bar.open).price(bar.high).price(bar.low).price(bar.close).quantity(bar.volume);
        self.text(if bar.complete { "true" } else { "false" }).end();
    }

    fn end(&mut self) {
        self.text.push(b'\n');
        self.start = self.text.len();
    }
}
