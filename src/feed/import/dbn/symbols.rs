//! Which instrument a record is about, and what it is called.

use ::dbn::{Metadata, TsSymbolMap};
use rustc_hash::FxHashMap;

use super::record::{Record, Schema};
use crate::feed::FeedError;
use crate::feed::format::Description;
use crate::feed::import::ImportError;
use crate::limits;
use crate::model::Instrument;

/// Power of ten of DBN's prices.
const PRICE_EXPONENT: i8 = -9;

/// The symbols that a file's metadata gives to instrument numbers.
pub(super) struct Symbols(TsSymbolMap);

impl Symbols {
    /// The metadata's mappings; none where they lead to something else than instrument numbers.
    pub fn new(metadata: &Metadata) -> Symbols {
        Symbols(metadata.symbol_map().unwrap_or_default())
    }

    /// The symbol of that number at that time; `None` where the metadata has no mapping. A number that has but one
    /// symbol has it at all times.
    fn get(&self, instrument_id: u32, ts_ns: u64) -> Option<&str> {
        let intervals = self.0.inner().get(&instrument_id)?.intervals();
        let first = intervals.first()?.symbol.as_str();
        if intervals.iter().all(|interval| interval.symbol == first) {
            return Some(first);
        }
        self.0.get_for_ts(ts_ns, instrument_id).map(String::as_str)
    }
}

/// An instrument of the source. The symbol is empty where there is no mapping.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    publisher: u16,
    instrument_id: u32,
    symbol: String,
}

/// The instruments seen so far, in the order of their first records.
#[derive(Default)]
pub(super) struct Table {
    numbers: Numbers,
    instruments: Vec<(Key, Schema)>,
}

/// The number in the catalog of each instrument of the source.
#[derive(Default)]
pub(super) struct Numbers(FxHashMap<(u16, u32), Vec<(String, u32)>>);

impl Numbers {
    /// The number of the instrument that the record is about. Every record was noted in the table before.
    pub fn number(&self, record: &Record, symbols: &Symbols) -> u32 {
        self.find(record, symbols).expect("the first reading noted every instrument")
    }

    fn find(&self, record: &Record, symbols: &Symbols) -> Option<u32> {
        let named = self.0.get(&(record.publisher, record.instrument_id))?;
        let symbol = symbols.get(record.instrument_id, record.ts_index).unwrap_or_default();
        named.iter().find(|(name, _)| name == symbol).map(|(_, number)| *number)
    }
}

impl Table {
    /// How many instruments there are.
    pub fn len(&self) -> usize {
        self.instruments.len()
    }

    /// Lists the record's instrument if it is new.
    pub fn note(
        &mut self,
        record: &Record,
        schema: Schema,
        symbols: &Symbols,
        path: &str,
    ) -> Result<(), ImportError> {
        if let Some(number) = self.numbers.find(record, symbols) {
            let (key, one) = &self.instruments[number as usize];
            if *one == schema {
                return Ok(());
            }
            let symbol = plain_symbol(key);
            return Err(ImportError::Schemas { symbol, one: one.name(), other: schema.name() });
        }
        if self.instruments.len() == limits::INSTRUMENTS_MAX {
            return Err(ImportError::Feed(FeedError::TooMany {
                path: path.to_owned(),
                thing: "instruments",
                found: limits::INSTRUMENTS_MAX as u64 + 1,
                allowed: limits::INSTRUMENTS_MAX as u64,
            }));
        }
        let symbol = symbols.get(record.instrument_id, record.ts_index).unwrap_or_default().to_owned();
        let number = self.instruments.len() as u32;
        let named = self.numbers.0.entry((record.publisher, record.instrument_id)).or_default();
        named.push((symbol.clone(), number));
        let key = Key { publisher: record.publisher, instrument_id: record.instrument_id, symbol };
        self.instruments.push((key, schema));
        Ok(())
    }

    /// The catalog, with a name for each instrument that no other has.
    pub fn into_description(self, source: String) -> (Numbers, Description) {
        let names = distinct_names(self.instruments.iter().map(|(key, _)| key));
        let instruments = self
            .instruments
            .iter()
            .zip(names)
            .map(|((key, schema), symbol)| Instrument {
                symbol,
                price_exponent: PRICE_EXPONENT,
                quantity_exponent: 0,
                tick_size: 0,
                lot_size: 0,
                channels: schema.channels(),
                book_depth: schema.depth() as u16,
                source_id: key.instrument_id,
            })
            .collect();
        (self.numbers, Description::new(source, instruments))
    }
}

/// The symbol in the shape that a catalog takes: what is not allowed in one becomes `_`, a run of it one `_`; without a
/// mapping, and where it is longer than a symbol may be, the instrument's number.
fn plain_symbol(key: &Key) -> String {
    let mut symbol = String::with_capacity(key.symbol.len());
    for character in key.symbol.trim().chars() {
        if character.is_ascii_graphic() && !matches!(character, '*' | '"' | '\\') {
            symbol.push(character);
        } else if !symbol.ends_with('_') {
            symbol.push('_');
        }
    }
    if symbol.is_empty() || symbol.len() > limits::SYMBOL_BYTES_MAX {
        key.instrument_id.to_string()
    } else {
        symbol
    }
}

/// A name for each: the symbol where only one instrument has it, else `SYMBOL@PUBLISHER` where that is enough, else
/// `SYMBOL@PUBLISHER:NUMBER`; what would be too long for a symbol is `NUMBER@PUBLISHER`.
fn distinct_names<'a>(keys: impl Iterator<Item = &'a Key> + Clone) -> Vec<String> {
    let shapes: [fn(&Key) -> String; 4] = [
        plain_symbol,
        |key| format!("{}@{}", plain_symbol(key), key.publisher),
        |key| format!("{}@{}:{}", plain_symbol(key), key.publisher, key.instrument_id),
        |key| format!("{}@{}", key.instrument_id, key.publisher),
    ];
    let mut names = vec![String::new(); keys.clone().count()];
    let mut taken = rustc_hash::FxHashSet::default();
    for shape in shapes {
        let mut uses = FxHashMap::<String, usize>::default();
        for key in keys.clone() {
            *uses.entry(shape(key)).or_default() += 1;
        }
        for (name, key) in names.iter_mut().zip(keys.clone()).filter(|(name, _)| name.is_empty()) {
            let candidate = shape(key);
            if uses[&candidate] == 1
                && candidate.len() <= limits::SYMBOL_BYTES_MAX
                && taken.insert(candidate.clone())
            {
                *name = candidate;
            }
        }
    }
    // One number of one publisher under several symbols that are too long to tell them apart.
    for (position, name) in names.iter_mut().enumerate().filter(|(_, name)| name.is_empty()) {
        *name = format!("instrument:{position}");
    }
    names
}
