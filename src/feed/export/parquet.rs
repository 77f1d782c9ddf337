//! Parquet: the tables of CSV, with types.
//!
//! What a reader is to make of a column is said by its logical type (the format's `LogicalTypes.md`): decimals, timestamps in
//! nanoseconds, unsigned numbers. Rows are gathered by column and written in groups of at most
//! [`limits::EXPORT_GROUP_ROWS_MAX`]. A file gets its end, without which nobody reads it, only where the export went through.

mod columns;
mod scale;

use std::io;
use std::path::Path;
use std::sync::Arc;

use ::parquet::basic::{Compression, Encoding, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::types::{ColumnPath, Type};

use self::columns::Cell;
use self::scale::Scales;
use super::output::{Created, Output, ZSTD_LEVEL, packing};
use super::selection::Chosen;
use super::table::{Cells, Kind, Tables, columns as columns_of, rows};
use super::told::Sheet;
use super::{ExportError, jsonl};
use crate::feed::reader::Reader;
use crate::limits;
use crate::model::{ABSENT, ABSENT_TIME, Channel, Instrument};
use crate::wire::message::{Content, Meta};

/// One table a channel.
pub(super) struct Parquet {
    tables: Tables<Table>,
}

impl Parquet {
    /// Creates the file of one channel, or a folder with a file for each.
    pub fn create(
        out: &Path,
        reader: &Reader,
        chosen: &Chosen,
        created: &mut Created,
    ) -> Result<Parquet, ExportError> {
        let channels = chosen.channels();
        if channels.iter().count() == 1
            && let Some(packing) = packing(out)
        {
            return Err(ExportError::Packed { path: out.display().to_string(), packing });
        }
        let scales = Scales::of(chosen, reader.path())?;
        let metadata = metadata(reader, chosen);
        let tables = Tables::create(out, channels, "parquet", created, |path, channel, created| {
            let output = Output::create(path, created)?;
            Table::new(output, channel, reader.path(), scales, &metadata)
        })?;
        Ok(Parquet { tables })
    }
}

impl Sheet for Parquet {
    fn write(
        &mut self,
        instrument: &Instrument,
        meta: &Meta,
        content: &Content<'_>,
    ) -> Result<(), ExportError> {
        let Some(table) = self.tables.of(content.channel()) else { return Ok(()) };
        rows(table, instrument, meta, content)
    }

    fn finish(&mut self) -> Result<(), ExportError> {
        self.tables.each().try_for_each(Table::finish)
    }
}

/// What every file says of itself, beside its columns.
fn metadata(reader: &Reader, chosen: &Chosen) -> Vec<KeyValue> {
    let file = Path::new(reader.path()).file_name().map(|name| name.to_string_lossy().into_owned());
    [
        ("tickcast.version", Some(env!("CARGO_PKG_VERSION").to_owned())),
        ("tickcast.file", file),
        ("tickcast.source", Some(reader.description().source.clone())),
        ("tickcast.instruments", String::from_utf8(jsonl::instruments(chosen)).ok()),
    ]
    .map(|(key, value)| KeyValue::new(key.to_owned(), value))
    .to_vec()
}

/// What a table's rows have in common within a message.
#[derive(Default)]
struct Common {
    symbol: String,
    first_seq: u64,
    last_seq: u64,
    ts_ns: u64,
    sent_ns: u64,
    snapshot: bool,
    more: bool,
}

/// A table being written.
struct Table {
    /// Where it goes, and where it comes from, for errors.
    path: String,
    file: String,
    writer: SerializedFileWriter<Output>,
    columns: Vec<columns::Buffer>,
    scales: Scales,
    common: Common,
    /// What a price and a quantity of the message's instrument is to be multiplied with.
    price_factor: i128,
    quantity_factor: i128,
    /// Cells of the row in hand.
    cells: usize,
    /// Rows gathered.
    rows: usize,
    /// A time of the row in hand that no timestamp holds.
    unfit_ns: Option<u64>,
}

impl Table {
    fn new(
        output: Output,
        channel: Channel,
        file: &str,
        scales: Scales,
        metadata: &[KeyValue],
    ) -> Result<Table, ExportError> {
        let name = output.name().to_owned();
        let (schema, properties) = layout(channel, scales, metadata).map_err(|error| failed(&name, error))?;
        let writer = SerializedFileWriter::new(output, Arc::new(schema), Arc::new(properties))
            .map_err(|error| failed(&name, error))?;
        Ok(Table {
            path: name,
            file: file.to_owned(),
            writer,
            columns: columns_of(channel).map(|(_, kind)| columns::Buffer::new(kind)).collect(),
            scales,
            common: Common::default(),
            price_factor: 1,
            quantity_factor: 1,
            cells: 0,
            rows: 0,
            unfit_ns: None,
        })
    }

    fn put(&mut self, cell: Option<Cell<'_>>) -> &mut Table {
        if self.cells == 0 {
            self.put_common();
        }
        self.put_cell(cell);
        self
    }

    fn put_common(&mut self) {
        let common = std::mem::take(&mut self.common);
        self.put_cell(Some(Cell::Text(&common.symbol)));
        self.put_cell(Some(Cell::Number(common.first_seq)));
        self.put_cell(Some(Cell::Number(common.last_seq)));
        for ns in [common.ts_ns, common.sent_ns] {
            let cell = self.timestamp(ns);
            self.put_cell(cell);
        }
        self.put_cell(Some(Cell::Flag(common.snapshot)));
        self.put_cell(Some(Cell::Flag(common.more)));
        self.common = common;
    }

    /// The cell of a time. One that does not fit is noted, and fails the row.
    fn timestamp(&mut self, ns: u64) -> Option<Cell<'static>> {
        if ns == ABSENT_TIME {
            return None;
        }
        if i64::try_from(ns).is_err() {
            self.unfit_ns = Some(ns);
        }
        Some(Cell::Number(ns))
    }

    fn put_cell(&mut self, cell: Option<Cell<'_>>) {
        if let Some(column) = self.columns.get_mut(self.cells) {
            column.push(cell);
        }
        self.cells += 1;
    }

    fn put_decimal(&mut self, value: i64, factor: i128) -> &mut Table {
        self.put((value != ABSENT).then(|| Cell::Decimal(i128::from(value) * factor)))
    }

    /// Writes the rows gathered as a group.
    fn write_group(&mut self) -> Result<(), ParquetError> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for column in &mut self.columns {
            if let Some(mut writer) = group.next_column()? {
                column.write(&mut writer)?;
                writer.close()?;
            }
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ExportError> {
        let finished = self.write_group().and_then(|()| self.writer.finish());
        finished.map(drop).map_err(|error| failed(&self.path, error))
    }
}

impl Cells for Table {
    fn begin(&mut self, instrument: &Instrument, meta: &Meta) {
        let common = &mut self.common;
        common.symbol.clone_from(&instrument.symbol);
        (common.first_seq, common.last_seq) = (meta.first_seq, meta.last_seq);
        (common.ts_ns, common.sent_ns) = (meta.ts_ns, meta.sent_ns);
        (common.snapshot, common.more) = (meta.snapshot, !meta.last);
        self.price_factor = self.scales.price.factor(instrument.price_exponent);
        self.quantity_factor = self.scales.quantity.factor(instrument.quantity_exponent);
    }

    fn text(&mut self, text: Option<&'static str>) -> &mut Table {
        self.put(text.map(Cell::Text))
    }

    fn number(&mut self, number: Option<u64>) -> &mut Table {
        self.put(number.map(Cell::Number))
    }

    fn time(&mut self, ns: u64) -> &mut Table {
        let cell = self.timestamp(ns);
        self.put(cell)
    }

    fn flag(&mut self, flag: bool) -> &mut Table {
        self.put(Some(Cell::Flag(flag)))
    }

    fn price(&mut self, price: i64) -> &mut Table {
        self.put_decimal(price, self.price_factor)
    }

    fn quantity(&mut self, quantity: i64) -> &mut Table {
        self.put_decimal(quantity, self.quantity_factor)
    }

    fn end(&mut self) -> Result<(), ExportError> {
        if let Some(ns) = self.unfit_ns {
            return Err(ExportError::Unfit {
                file: self.file.clone(),
                symbol: self.common.symbol.clone(),
                problem: format!(
                    "time {ns} ns is beyond the last timestamp of Parquet, {} (in the year 2262); --to csv holds it",
                    i64::MAX
                ),
            });
        }
        self.cells = 0;
        self.rows += 1;
        if self.rows == limits::EXPORT_GROUP_ROWS_MAX {
            self.write_group().map_err(|error| failed(&self.path, error))?;
        }
        Ok(())
    }
}

/// The schema of a channel's table, and how it is written.
fn layout(
    channel: Channel,
    scales: Scales,
    metadata: &[KeyValue],
) -> Result<(Type, WriterProperties), ParquetError> {
    let own = KeyValue::new("tickcast.channel".to_owned(), Some(channel.name().to_owned()));
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        // Statistics and places of each page would make the end of the file, which is held until it is written, grow by
        // some hundred bytes a page.
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_key_value_metadata(Some([metadata, &[own]].concat()));
    let mut fields = Vec::new();
    for (name, kind) in columns_of(channel) {
        fields.push(Arc::new(columns::field(name, kind, scales)?));
        if matches!(kind, Kind::Number | Kind::Time) {
            // These rise, or are near the one before; hardly one comes twice.
            let path = ColumnPath::from(name);
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
    }
    let schema = Type::group_type_builder(channel.name()).with_fields(fields).build()?;
    Ok((schema, properties.build()))
}

/// What to say where a table could not be written.
fn failed(path: &str, error: ParquetError) -> ExportError {
    let path = path.to_owned();
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => ExportError::Io { action: "write", path, error: *error },
            Err(error) => ExportError::Encode { path, problem: error.to_string() },
        },
        error => ExportError::Encode { path, problem: error.to_string() },
    }
}
