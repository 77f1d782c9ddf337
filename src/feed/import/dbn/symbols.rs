//! Which instrument a record is about.

use ::dbn::{Metadata, TsSymbolMap};
use rustc_hash::FxHashMap;

use super::record::{Record, Schema};
use crate::feed::import::ImportError;
use crate::feed::import::listing::{Exponents, Key, Listing, Shape};

/// Power of ten of DBN's prices.
const PRICE_EXPONENT: i8 = -9;

/// The symbols that a file's metadata gives to instrument numbers, and the catalog's numbers of those seen so far.
pub(super) struct Symbols {
    mappings: TsSymbolMap,
    known: FxHashMap<(u16, u32), Known>,
    /// The one that was asked for last, since records of one instrument come in runs.
    last: Option<((u16, u32), u32)>,
}

/// What is known of one number of one publisher.
enum Known {
    /// It means one instrument at all times.
    Steady(u32),
    /// It means one instrument a symbol, and the symbols change.
    Changing(Vec<(String, u32)>),
}

impl Symbols {
    /// The metadata's mappings; none where they lead to something else than instrument numbers.
    pub fn new(metadata: &Metadata) -> Symbols {
        let mappings = metadata.symbol_map().unwrap_or_default();
        Symbols { mappings, known: FxHashMap::default(), last: None }
    }

    /// The number in the catalog of the instrument that the record is about; listed if it is new.
    pub fn number(
        &mut self,
        record: &Record,
        schema: Schema,
        listing: &mut Listing,
        path: &str,
    ) -> Result<u32, ImportError> {
        let key = (record.publisher, record.instrument_id);
        if let Some((last, number)) = self.last
            && last == key
        {
            return Ok(number);
        }
        let list = |listing: &mut Listing, symbol: &str| {
            let key = Key { publisher: key.0, number: key.1, symbol: symbol.to_owned() };
            let shape = Shape {
                schema: schema.name(),
                tells: schema.tells(),
                depth: schema.depth(),
                source_id: record.instrument_id,
                exponents: Exponents::Fixed(PRICE_EXPONENT, 0),
            };
            listing.instrument(key, shape, path)
        };
        let number = match self.known.get_mut(&key) {
            Some(Known::Steady(number)) => *number,
            Some(Known::Changing(named)) => {
                let symbol = symbol_at(&self.mappings, record);
                match named.iter().find(|(name, _)| name == symbol) {
                    Some((_, number)) => return Ok(*number),
                    None => {
                        let number = list(listing, symbol)?;
                        named.push((symbol.to_owned(), number));
                        return Ok(number);
                    }
                }
            }
            None => {
                let Some(symbol) = steady_symbol(&self.mappings, record.instrument_id) else {
                    self.known.insert(key, Known::Changing(Vec::new()));
                    return self.number(record, schema, listing, path);
                };
                let number = list(listing, symbol)?;
                self.known.insert(key, Known::Steady(number));
                number
            }
        };
        self.last = Some((key, number));
        Ok(number)
    }
}

/// The symbol of a number that has but one, which it then has at all times, or none (empty); `None` where it has
/// several.
fn steady_symbol(mappings: &TsSymbolMap, instrument_id: u32) -> Option<&str> {
    let Some(intervals) = mappings.inner().get(&instrument_id) else { return Some("") };
    let mut symbols = intervals.intervals().iter().map(|interval| interval.symbol.as_str());
    let first = symbols.next().unwrap_or_default();
    symbols.all(|symbol| symbol == first).then_some(first)
}

/// The symbol on the record's day; empty where there is none.
fn symbol_at<'a>(mappings: &'a TsSymbolMap, record: &Record) -> &'a str {
    mappings.get_for_ts(record.ts_index, record.instrument_id).map_or("", String::as_str)
}
