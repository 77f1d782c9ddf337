//! CSV (RFC 4180, lines that end with a line feed): a table a channel, with the keys of the JSON messages as columns.
//!
//! Prices and quantities are exact decimals, times nanoseconds, what is absent is empty. A message with several levels
//! or orders gives a row for each.

use std::path::Path;

use super::ExportError;
use super::output::{Created, Output};
use super::table::{Cells, Tables, columns, rows};
use super::told::Sheet;
use crate::model::{ABSENT, ABSENT_TIME, ChannelSet, Decimal, Instrument};
use crate::wire::message::{Content, Meta};

/// One table a channel.
pub(super) struct Csv {
    tables: Tables<Output>,
    row: Row,
}

impl Csv {
    /// Creates the file of one channel, or a folder with a file for each.
    pub fn create(out: &Path, channels: ChannelSet, created: &mut Created) -> Result<Csv, ExportError> {
        let tables = Tables::create(out, channels, "csv", created, |path, channel, created| {
            let mut table = Output::create(path, created)?;
            let names: Vec<&str> = columns(channel).map(|(name, _)| name).collect();
            table.append(format!("{}\n", names.join(",")).as_bytes())?;
            Ok(table)
        })?;
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
        let Some(table) = self.tables.of(content.channel()) else { return Ok(()) };
        rows(&mut self.row, instrument, meta, content)?;
        table.append(&self.row.text)
    }

    fn finish(&mut self) -> Result<(), ExportError> {
        self.tables.each().try_for_each(Output::finish)
    }
}

/// A time, where it is known.
fn time(ns: u64) -> Option<u64> {
    (ns != ABSENT_TIME).then_some(ns)
}

fn number_field(out: &mut Vec<u8>, number: Option<u64>) {
    out.push(b',');
    if let Some(number) = number {
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
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
    /// The first field of a row brings what every row begins with.
    fn begin_row(&mut self) {
        if self.text.len() == self.start {
            self.text.extend_from_slice(&self.common);
        }
    }

    fn field(&mut self) -> &mut Vec<u8> {
        self.begin_row();
        self.text.push(b',');
        &mut self.text
    }

    fn decimal(&mut self, value: i64, exponent: i8) -> &mut Row {
        let field = self.field();
        if value != ABSENT {
            Decimal::new(value, exponent).write(field);
        }
        self
    }
}

impl Cells for Row {
    fn begin(&mut self, instrument: &Instrument, meta: &Meta) {
        (self.price_exponent, self.quantity_exponent) =
            (instrument.price_exponent, instrument.quantity_exponent);
        self.common.clear();
        // A symbol has no quotation mark and no control character; a comma it may have.
        let quote = if instrument.symbol.contains(',') { "\"" } else { "" };
        let head = [quote, &instrument.symbol, quote].concat();
        self.common.extend_from_slice(head.as_bytes());
        for seq in [meta.first_seq, meta.last_seq] {
            number_field(&mut self.common, Some(seq));
        }
        for ns in [meta.ts_ns, meta.sent_ns] {
            number_field(&mut self.common, time(ns));
        }
        for flag in [meta.snapshot, !meta.last] {
            self.common.extend_from_slice(if flag { b",true" } else { b",false" });
        }
        self.text.clear();
        self.start = 0;
    }

    fn text(&mut self, text: Option<&'static str>) -> &mut Row {
        self.field().extend_from_slice(text.unwrap_or_default().as_bytes());
        self
    }

    fn number(&mut self, number: Option<u64>) -> &mut Row {
        self.begin_row();
        number_field(&mut self.text, number);
        self
    }

    fn time(&mut self, ns: u64) -> &mut Row {
        self.number(time(ns))
    }

    fn flag(&mut self, flag: bool) -> &mut Row {
        self.text(Some(if flag { "true" } else { "false" }))
    }

    fn price(&mut self, price: i64) -> &mut Row {
        self.decimal(price, self.price_exponent)
    }

    fn quantity(&mut self, quantity: i64) -> &mut Row {
        self.decimal(quantity, self.quantity_exponent)
    }

    fn end(&mut self) -> Result<(), ExportError> {
        self.text.push(b'\n');
        self.start = self.text.len();
        Ok(())
    }
}
