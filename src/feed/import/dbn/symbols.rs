//! Which instrument a record is about.

use ::dbn::{Metadata, TsSymbolMap};
use rustc_hash::FxHashMap;

use super::record::Record;
use crate::feed::databento::{PRICE_EXPONENT, Schema};
use crate::feed::import::ImportError;
use crate::feed::import::listing::{Exponents, Key, Listing, Shape, Tells};
use crate::limits;

/// The symbols that a file gives to instrument numbers, and the catalog's numbers of those seen so far.
pub(super) struct Symbols {
    /// Those of the metadata.
    mappings: TsSymbolMap,
    /// Those that records gave to numbers without a mapping, the first each: empty where the number came before any
    /// symbol, so that it stays one instrument.
    said: FxHashMap<u32, String>,
    known: FxHashMap<Asked, Known>,
    /// The one that was asked for last, since records of one instrument come in runs.
    last: Option<(Asked, u32)>,
}

/// A publisher's number, and the schema of a record of it.
type Asked = (u16, u32, Schema);

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
        Symbols { mappings, said: FxHashMap::default(), known: FxHashMap::default(), last: None }
    }

    /// A record of the file says that the number has this symbol. Of more numbers than a catalog may have it is
    /// forgotten.
    pub fn say(&mut self, instrument_id: u32, symbol: &str) {
        if self.said.len() < limits::INSTRUMENTS_MAX {
            self.said.entry(instrument_id).or_insert_with(|| symbol.to_owned());
        }
    }

    /// The number in the catalog of the instrument that the record is about; listed if it is new.
    pub fn number(
        &mut self,
        record: &Record,
        schema: Schema,
        listing: &mut Listing,
        path: &str,
    ) -> Result<u32, ImportError> {
        let asked = (record.publisher, record.instrument_id, schema);
        if let Some((last, number)) = self.last
            && last == asked
        {
            return Ok(number);
        }
        let list = |listing: &mut Listing, symbol: &str| {
            let key =
                Key { publisher: record.publisher, number: record.instrument_id, symbol: symbol.to_owned() };
            let shape = Shape {
                schema: schema.name(),
                tells: tells(schema),
                depth: schema.depth(),
                source_id: record.instrument_id,
                exponents: Exponents::Fixed(PRICE_EXPONENT, 0),
            };
            listing.instrument(key, shape, path)
        };
        let number = match self.known.get_mut(&asked) {
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
                let number = match steady_symbol(&self.mappings, record.instrument_id) {
                    Mapped::Always(symbol) => list(listing, symbol)?,
                    Mapped::Never => {
                        self.say(record.instrument_id, "");
                        list(listing, self.said.get(&record.instrument_id).map_or("", String::as_str))?
                    }
                    Mapped::ByDay => {
                        self.known.insert(asked, Known::Changing(Vec::new()));
                        return self.number(record, schema, listing, path);
                    }
                };
                self.known.insert(asked, Known::Steady(number));
                number
            }
        };
        self.last = Some((asked, number));
        Ok(number)
    }
}

/// What can be told from records of the schema.
fn tells(schema: Schema) -> Tells {
    match schema {
        Schema::Mbo => Tells::ORDERS.and(Tells::TRADES),
        Schema::Mbp1 | Schema::Mbp10 | Schema::Tbbo => Tells::BOOK.and(Tells::TRADES),
        Schema::Bbo1S | Schema::Bbo1M => Tells::BOOK,
        Schema::Trades => Tells::TRADES,
        Schema::Status => Tells::STATUS,
        Schema::Definition | Schema::Statistics | Schema::Imbalance => Tells::default(),
    }
}

/// What a file's metadata says of a number.
enum Mapped<'a> {
    /// It has this symbol and no other, at all times.
    Always(&'a str),
    /// It has several.
    ByDay,
    /// Nothing.
    Never,
}

fn steady_symbol(mappings: &TsSymbolMap, instrument_id: u32) -> Mapped<'_> {
    let Some(intervals) = mappings.inner().get(&instrument_id) else { return Mapped::Never };
    let mut symbols = intervals.intervals().iter().map(|interval| interval.symbol.as_str());
    let Some(first) = symbols.next() else { return Mapped::Never };
    if symbols.all(|symbol| symbol == first) { Mapped::Always(first) } else { Mapped::ByDay }
}

/// The symbol on the record's day; empty where there is none.
fn symbol_at<'a>(mappings: &'a TsSymbolMap, record: &Record) -> &'a str {
    mappings.get_for_ts(record.ts_index, record.instrument_id).map_or("", String::as_str)
}
