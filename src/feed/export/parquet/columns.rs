//! The columns of a Parquet file: their types, and their values until a group of rows is written.

use ::parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use ::parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int64Type,
};
use ::parquet::errors::ParquetError;
use ::parquet::file::writer::SerializedColumnWriter;
use ::parquet::schema::types::Type;
use rustc_hash::FxHashMap;

use super::scale::{Scale, Scales};
use crate::feed::export::table::Kind;

/// Bytes of a decimal: those of the widest, so that all files are alike.
const DECIMAL_BYTES: usize = size_of::<i128>();

/// The column's place in the schema. A flag is in every row; of the others some are absent.
pub(super) fn field(name: &str, kind: Kind, scales: Scales) -> Result<Type, ParquetError> {
    let (physical, logical) = match kind {
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Number => (Physical::INT64, Some(LogicalType::integer(64, false))),
        Kind::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::NANOS))),
        Kind::Flag => (Physical::BOOLEAN, None),
        Kind::Price => return decimal(name, scales.price),
        Kind::Quantity => return decimal(name, scales.quantity),
    };
    let repetition = if kind == Kind::Flag { Repetition::REQUIRED } else { Repetition::OPTIONAL };
    Type::primitive_type_builder(name, physical)
        .with_repetition(repetition)
        .with_logical_type(logical)
        .build()
}

fn decimal(name: &str, scale: Scale) -> Result<Type, ParquetError> {
    let (places, digits) = (scale.places as i32, scale.digits as i32);
    Type::primitive_type_builder(name, Physical::FIXED_LEN_BYTE_ARRAY)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(Some(LogicalType::decimal(places, digits)))
        .with_length(DECIMAL_BYTES as i32)
        .with_precision(digits)
        .with_scale(places)
        .build()
}

/// One value.
#[derive(Clone, Copy)]
pub(super) enum Cell<'a> {
    Text(&'a str),
    /// A number or a time.
    Number(u64),
    Decimal(i128),
    Flag(bool),
}

/// The values of a column in the rows gathered.
pub(super) struct Buffer {
    values: Values,
    /// Of each row whether it has a value: 1, or 0. Unused where every row has.
    levels: Vec<i16>,
}

/// What is there of a column.
enum Values {
    Texts(Texts),
    /// As the format has unsigned numbers: their 64 bits.
    Numbers(Vec<i64>),
    Decimals(Vec<i128>),
    Flags(Vec<bool>),
}

/// Texts of which there are few: each once, and which of them each row has.
#[derive(Default)]
struct Texts {
    known: Vec<ByteArray>,
    numbers: FxHashMap<String, u32>,
    rows: Vec<u32>,
}

impl Buffer {
    pub fn new(kind: Kind) -> Buffer {
        let values = match kind {
            Kind::Text => Values::Texts(Texts::default()),
            Kind::Number | Kind::Time => Values::Numbers(Vec::new()),
            Kind::Price | Kind::Quantity => Values::Decimals(Vec::new()),
            Kind::Flag => Values::Flags(Vec::new()),
        };
        Buffer { values, levels: Vec::new() }
    }

    /// Adds a row's value; `None`: absent.
    pub fn push(&mut self, cell: Option<Cell<'_>>) {
        self.levels.push(i16::from(cell.is_some()));
        match (&mut self.values, cell) {
            (_, None) => {}
            (Values::Texts(texts), Some(Cell::Text(text))) => texts.push(text),
            (Values::Numbers(numbers), Some(Cell::Number(number))) => numbers.push(number.cast_signed()),
            (Values::Decimals(decimals), Some(Cell::Decimal(decimal))) => decimals.push(decimal),
            (Values::Flags(flags), Some(Cell::Flag(flag))) => flags.push(flag),
            _ => debug_assert!(false, "a cell of another kind than its column"),
        }
    }

    /// Writes the column of a group, and is empty again.
    pub fn write(&mut self, writer: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = Some(&self.levels[..]);
        match &mut self.values {
            Values::Texts(texts) => {
                let values: Vec<ByteArray> =
                    texts.rows.iter().map(|row| texts.known[*row as usize].clone()).collect();
                writer.typed::<ByteArrayType>().write_batch(&values, levels, None)?;
                texts.rows.clear();
            }
            Values::Numbers(numbers) => {
                writer.typed::<Int64Type>().write_batch(numbers, levels, None)?;
                numbers.clear();
            }
            Values::Decimals(decimals) => {
                let values = big_endian(decimals);
                writer.typed::<FixedLenByteArrayType>().write_batch(&values, levels, None)?;
                decimals.clear();
            }
            Values::Flags(flags) => {
                writer.typed::<BoolType>().write_batch(flags, None, None)?;
                flags.clear();
            }
        }
        self.levels.clear();
        Ok(())
    }
}

impl Texts {
    fn push(&mut self, text: &str) {
        let number = match self.numbers.get(text) {
            Some(number) => *number,
            None => {
                let number = self.known.len() as u32;
                self.known.push(ByteArray::from(text));
                self.numbers.insert(text.to_owned(), number);
                number
            }
        };
        self.rows.push(number);
    }
}

/// Decimals as the format has them. Each has memory of its own: the statistics of a group keep two of them until the end.
fn big_endian(decimals: &[i128]) -> Vec<FixedLenByteArray> {
    decimals.iter().map(|decimal| FixedLenByteArray::from(decimal.to_be_bytes().to_vec())).collect()
}
