//! The instruments that the inputs turn out to have, and how many decimals their numbers need.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{ImportError, decimal};
use crate::feed::FeedError;
use crate::feed::format::Description;
use crate::limits;
use crate::model::{ABSENT, Channel, ChannelSet, Instrument, parse_decimal, plain_decimal};

/// What tells one instrument of the inputs from another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The source's publisher; 0 where it has none.
    pub publisher: u16,
    /// The source's number for it, where that tells instruments apart; else 0.
    pub number: u32,
    /// As the source writes it; empty where it has only a number.
    pub symbol: String,
}

/// What the inputs say of an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// The kind of recording, by the source's name for it.
    pub schema: &'static str,
    /// What such a recording tells.
    pub tells: Tells,
    /// Levels a side that it tells of; 0: all, or none at all.
    pub depth: u16,
    /// The source's number for it; 0: none.
    pub source_id: u32,
    /// Powers of ten of its prices and quantities.
    pub exponents: Exponents,
}

/// Powers of ten of an instrument's prices and quantities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exponents {
    /// The format says them: of prices, of quantities.
    Fixed(i8, i8),
    /// They follow from the decimals that are read.
    FromDecimals,
}

/// What a recording tells of an instrument: a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tells(u8);

impl Tells {
    pub const TRADES: Tells = Tells(1);
    /// Levels, or the best of them.
    pub const BOOK: Tells = Tells(2);
    /// Each order, and so the book too.
    pub const ORDERS: Tells = Tells(2 | 4);
    pub const STATUS: Tells = Tells(8);

    pub const fn and(self, other: Tells) -> Tells {
        Tells(self.0 | other.0)
    }

    const fn contains(self, other: Tells) -> bool {
        self.0 & other.0 == other.0
    }

    const fn overlaps(self, other: Tells) -> bool {
        self.0 & other.0 != 0
    }

    /// The channels that follow.
    fn channels(self) -> ChannelSet {
        use Channel::{Bars, Book, Orders, Quotes, Status, Ticker, Trades};
        let mut bits = 0;
        for (tells, channels) in [
            (Tells::TRADES, ChannelSet::of(&[Trades, Ticker, Bars])),
            (Tells::BOOK, ChannelSet::of(&[Quotes, Book, Ticker])),
            (Tells::ORDERS, ChannelSet::of(&[Orders])),
            (Tells::STATUS, ChannelSet::of(&[Status])),
        ] {
            if self.contains(tells) {
                bits |= channels.0;
            }
        }
        ChannelSet(bits)
    }
}

#[derive(Debug)]
struct Entry {
    key: Key,
    /// The schemas in which it comes, and what each tells.
    schemas: Vec<(&'static str, Tells)>,
    depth: u16,
    source_id: u32,
    price_exponent: i8,
    quantity_exponent: i8,
    exponents: Exponents,
    tick_size: i64,
    lot_size: i64,
}

/// The instruments of all inputs. The first reading lists them and widens their exponents to what it reads; the second
/// finds them as they then are. So an importer does the same in both.
#[derive(Debug, Default)]
pub(super) struct Listing {
    numbers: FxHashMap<Key, u32>,
    entries: Vec<Entry>,
    closed: bool,
}

impl Listing {
    /// How many instruments there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is added any more: this is the second reading.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// From now on nothing is added. Gives the feed file's description.
    pub fn close(&mut self, source: String) -> Description {
        self.closed = true;
        let names = distinct_names(self.entries.iter().map(|entry| &entry.key));
        let instruments = self.entries.iter().zip(names).map(|(entry, symbol)| {
            let tells = entry.schemas.iter().fold(Tells::default(), |all, (_, tells)| all.and(*tells));
            Instrument {
                symbol,
                price_exponent: entry.price_exponent,
                quantity_exponent: entry.quantity_exponent,
                tick_size: entry.tick_size,
                lot_size: entry.lot_size,
                channels: tells.channels(),
                book_depth: entry.depth,
                source_id: entry.source_id,
            }
        });
        Description::new(source, instruments.collect())
    }

    /// What the source calls those whose names in the feed file are others, each with that name: since a symbol may not hold
    /// all characters and bytes, or since several have one. Those without a symbol are left out.
    pub fn renamed<'a>(
        &'a self,
        description: &'a Description,
    ) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let named = self.entries.iter().zip(&description.instruments);
        let both = named.map(|(entry, instrument)| (entry.key.symbol.trim(), &*instrument.symbol));
        both.filter(|(symbol, name)| !symbol.is_empty() && symbol != name)
    }

    /// The number of an instrument, which is listed if it is new. An importer asks once for each instrument of an
    /// input, not for each record. `path` is the input that names it.
    pub fn instrument(&mut self, key: Key, shape: Shape, path: &str) -> Result<u32, ImportError> {
        if let Some(number) = self.numbers.get(&key) {
            let entry = &mut self.entries[*number as usize];
            return entry.merge(shape).map(|()| *number);
        }
        if self.closed {
            return Err(ImportError::Changed { path: path.to_owned() });
        }
        if self.entries.len() == limits::INSTRUMENTS_MAX {
            return Err(ImportError::Feed(FeedError::TooMany {
                path: path.to_owned(),
                thing: "instruments",
                found: limits::INSTRUMENTS_MAX as u64 + 1,
                allowed: limits::INSTRUMENTS_MAX as u64,
            }));
        }
        let number = self.entries.len() as u32;
        self.numbers.insert(key.clone(), number);
        let (price_exponent, quantity_exponent) = match shape.exponents {
            Exponents::Fixed(price, quantity) => (price, quantity),
            Exponents::FromDecimals => (0, 0),
        };
        self.entries.push(Entry {
            key,
            schemas: vec![(shape.schema, shape.tells)],
            depth: shape.depth,
            source_id: shape.source_id,
            price_exponent,
            quantity_exponent,
            exponents: shape.exponents,
            tick_size: 0,
            lot_size: 0,
        });
        Ok(number)
    }

    /// The smallest steps of an instrument's price and quantity, as integers at its exponents; 0: the source does not
    /// say. Of several the smallest counts.
    #[cfg(feature = "dbn")]
    pub fn steps(&mut self, instrument: u32, tick_size: i64, lot_size: i64) {
        let entry = &mut self.entries[instrument as usize];
        for (step, said) in [(&mut entry.tick_size, tick_size), (&mut entry.lot_size, lot_size)] {
            if said > 0 && (*step == 0 || said < *step) {
                *step = said;
            }
        }
    }

    /// A price as the source writes it, at the instrument's exponent. The error says what is wrong with it.
    pub fn price(&mut self, instrument: u32, text: &str) -> Result<i64, String> {
        let entry = &mut self.entries[instrument as usize];
        let widens = !self.closed && entry.exponents == Exponents::FromDecimals;
        read(text, &mut entry.price_exponent, widens).map_err(|problem| format!("price {text:?}; {problem}"))
    }

    /// A quantity as the source writes it, at the instrument's exponent: 0 or more.
    pub fn quantity(&mut self, instrument: u32, text: &str) -> Result<i64, String> {
        let entry = &mut self.entries[instrument as usize];
        let widens = !self.closed && entry.exponents == Exponents::FromDecimals;
        match read(text, &mut entry.quantity_exponent, widens) {
            Ok(quantity) if quantity < 0 => Err(format!("quantity {text:?}; allowed: 0 or more")),
            Ok(quantity) => Ok(quantity),
            Err(problem) => Err(format!("quantity {text:?}; {problem}")),
        }
    }
}

impl Entry {
    /// Takes in what a further input says of the instrument.
    fn merge(&mut self, shape: Shape) -> Result<(), ImportError> {
        if let Some((_, tells)) = self.schemas.iter_mut().find(|(schema, _)| *schema == shape.schema) {
            *tells = tells.and(shape.tells);
            // The same at two depths: the greater one, and 0 is the greatest.
            let has_all = self.depth == 0 || shape.depth == 0;
            self.depth = if has_all { 0 } else { self.depth.max(shape.depth) };
            return Ok(());
        }
        if let Some((one, _)) = self.schemas.iter().find(|(_, tells)| tells.overlaps(shape.tells)) {
            let symbol = plain_symbol(&self.key);
            return Err(ImportError::Schemas { symbol, one, other: shape.schema });
        }
        self.schemas.push((shape.schema, shape.tells));
        self.depth = self.depth.max(shape.depth);
        Ok(())
    }
}

/// The decimal at the exponent, which grows downwards to hold it where it may.
fn read(text: &str, exponent: &mut i8, widens: bool) -> Result<i64, &'static str> {
    let plain = plain_decimal(text).ok_or("expected a decimal number")?;
    if widens {
        *exponent = (*exponent).min(decimal::exponent(&plain).ok_or("allowed: at most 18 decimals")?);
    }
    let value = parse_decimal(&plain, *exponent).filter(|value| *value != ABSENT);
    value.ok_or("it does not fit in 64 bits with the decimals of the others")
}

/// The symbol in the shape that a catalog takes: what is not allowed in one becomes `_`, a run of it one `_`; without a
/// symbol, and where it is longer than one may be, the instrument's number, or the symbol's end where it has none.
fn plain_symbol(key: &Key) -> String {
    let mut symbol = String::with_capacity(key.symbol.len());
    for character in key.symbol.trim().chars() {
        if character.is_ascii_graphic() && !matches!(character, '*' | '"' | '\\') {
            symbol.push(character);
        } else if !symbol.ends_with('_') {
            symbol.push('_');
        }
    }
    let beyond = symbol.len().saturating_sub(limits::SYMBOL_BYTES_MAX);
    if symbol.is_empty() || (beyond > 0 && key.number != 0) {
        return key.number.to_string();
    }
    symbol.split_off(beyond)
}

/// A name for each: the symbol where only one instrument has it, else `SYMBOL@PUBLISHER` where that is enough, else
/// `SYMBOL@PUBLISHER:NUMBER`; what would be too long for a symbol is `NUMBER@PUBLISHER`.
fn distinct_names<'a>(keys: impl Iterator<Item = &'a Key> + Clone) -> Vec<String> {
    let shapes: [fn(&Key) -> String; 4] = [
        plain_symbol,
        |key| format!("{}@{}", plain_symbol(key), key.publisher),
        |key| format!("{}@{}:{}", plain_symbol(key), key.publisher, key.number),
        |key| format!("{}@{}", key.number, key.publisher),
    ];
    let mut names = vec![String::new(); keys.clone().count()];
    let mut taken = FxHashSet::default();
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
