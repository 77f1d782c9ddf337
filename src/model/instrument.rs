//! Instruments and the catalog that lists them.

use rustc_hash::FxHashMap;

use super::{Channel, ChannelSet};
use crate::limits;

/// What there is to know of one instrument before its first event.
///
/// Prices and quantities of an instrument are integers; `value = integer * 10^exponent`.
#[derive(
    Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, bincode::Encode, bincode::Decode,
)]
pub struct Instrument {
    /// 1 to 32 printable ASCII characters without space, `*`, `"`, `\`.
    pub symbol: String,
    /// Power of ten of every price, -18..=18.
    pub price_exponent: i8,
    /// Power of ten of every quantity, -18..=18.
    pub quantity_exponent: i8,
    /// Smallest price step, in integer prices; 0 where the source does not say.
    pub tick_size: i64,
    /// Smallest quantity step, in integer quantities; 0 where the source does not say.
    pub lot_size: i64,
    /// What the source can tell of it.
    pub channels: ChannelSet,
    /// How many levels a side the source tells of; 0: all of them.
    pub book_depth: u16,
    /// The source's own number for it (0 where it has none).
    pub source_id: u32,
}

impl Instrument {
    /// Whether the source tells enough for the channel.
    pub fn has(&self, channel: Channel) -> bool {
        self.channels.contains(channel)
    }
}

/// The instruments of one source. An instrument's number, on the wire and in every array, is its position here.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    instruments: Vec<Instrument>,
    by_symbol: FxHashMap<String, u32>,
    /// The numbers in the order of their symbols: what a prefix means is one run of it.
    sorted: Vec<u32>,
}

/// Why a list of instruments is no catalog.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// Two entries with one symbol.
    #[error("symbol {0:?} is listed twice; each symbol may stand in the list once")]
    Duplicate(String),
    /// A symbol of a shape that could not be subscribed to.
    #[error(
        "symbol {0:?} is not allowed; a symbol is 1 to 32 printable ASCII characters without space, '*', '\"' and '\\'"
    )]
    Symbol(String),
    /// An exponent out of range.
    #[error("symbol {symbol:?}: {field} is {value}; allowed: -18 to 18")]
    Exponent {
        /// Whose exponent it is.
        symbol: String,
        /// `price_exponent` or `quantity_exponent`.
        field: &'static str,
        /// What was given.
        value: i8,
    },
    /// More instruments than the bound.
    #[error("{0} instruments; at most {max} are allowed", max = limits::INSTRUMENTS_MAX)]
    TooMany(usize),
}

impl Catalog {
    /// Checks the instruments and numbers them from 0.
    pub fn new(instruments: Vec<Instrument>) -> Result<Catalog, CatalogError> {
        if instruments.len() > limits::INSTRUMENTS_MAX {
            return Err(CatalogError::TooMany(instruments.len()));
        }
        let mut by_symbol = FxHashMap::default();
        for (id, instrument) in instruments.iter().enumerate() {
            if !symbol_is_valid(&instrument.symbol) {
                return Err(CatalogError::Symbol(instrument.symbol.clone()));
            }
            for (field, value) in [
                ("price_exponent", instrument.price_exponent),
                ("quantity_exponent", instrument.quantity_exponent),
            ] {
                if !(-18..=18).contains(&value) {
                    return Err(CatalogError::Exponent { symbol: instrument.symbol.clone(), field, value });
                }
            }
            if by_symbol.insert(instrument.symbol.clone(), id as u32).is_some() {
                return Err(CatalogError::Duplicate(instrument.symbol.clone()));
            }
        }
        let mut sorted: Vec<u32> = (0..instruments.len() as u32).collect();
        sorted.sort_unstable_by_key(|&id| &instruments[id as usize].symbol);
        Ok(Catalog { instruments, by_symbol, sorted })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.instruments.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.instruments.is_empty()
    }

    /// The instrument of that number.
    pub fn get(&self, id: u32) -> Option<&Instrument> {
        self.instruments.get(id as usize)
    }

    /// The number of the instrument of that symbol.
    pub fn find(&self, symbol: &str) -> Option<u32> {
        self.by_symbol.get(symbol).copied()
    }

    /// The numbers that a pattern means, in the order of their symbols: a symbol, or a prefix followed by one `*`.
    /// `None` where a plain symbol is unknown; a prefix that matches nothing gives an empty list.
    pub fn matching(&self, pattern: &str) -> Option<Vec<u32>> {
        let Some(prefix) = pattern.strip_suffix('*') else {
            return self.find(pattern).map(|id| vec![id]);
        };
        let symbol = |id: &u32| self.instruments[*id as usize].symbol.as_str();
        let from = self.sorted.partition_point(|id| symbol(id) < prefix);
        let run = self.sorted[from..].iter().take_while(|id| symbol(id).starts_with(prefix));
        Some(run.copied().collect())
    }

    /// Every instrument with its number.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Instrument)> {
        self.instruments.iter().enumerate().map(|(id, instrument)| (id as u32, instrument))
    }

    /// Every instrument, in the order of its number.
    pub fn instruments(&self) -> &[Instrument] {
        &self.instruments
    }
}

/// What [`symbol_is_valid`] takes, in words.
pub const SYMBOLS_ALLOWED: &str = "1 to 32 printable ASCII characters without space, '*', '\"' and '\\'";

/// Whether an instrument may have this symbol.
pub fn symbol_is_valid(symbol: &str) -> bool {
    (1..=limits::SYMBOL_BYTES_MAX).contains(&symbol.len())
        && symbol.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'*' | b'"' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instrument(symbol: &str) -> Instrument {
        Instrument {
            symbol: symbol.into(),
            price_exponent: -2,
            quantity_exponent: 0,
            tick_size: 1,
            lot_size: 1,
            channels: ChannelSet::of(&[Channel::Quotes]),
            book_depth: 0,
            source_id: 0,
        }
    }

    #[test]
    fn a_symbol_or_a_prefix_finds_its_instruments() {
        let catalog = Catalog::new(["ETH-USD", "BTC-USD", "ETH-EUR"].map(instrument).to_vec()).unwrap();
        assert_eq!(catalog.matching("BTC-USD"), Some(vec![1]));
        assert_eq!(catalog.matching("ETH-*"), Some(vec![2, 0]));
        assert_eq!(catalog.matching("*"), Some(vec![1, 2, 0]));
        assert_eq!(catalog.matching("XRP*"), Some(vec![]));
        assert_eq!(catalog.matching("XRP"), None);
        assert_eq!(catalog.matching(""), None);
        assert_eq!(catalog.matching("E*H-*"), Some(vec![]), "only a trailing star is a wildcard");
    }

    #[test]
    fn a_list_that_is_no_catalog_is_refused_by_name() {
        for symbol in ["", "a b", "a*", "a\"", "a\\", "Ä", &"x".repeat(33)] {
            assert_eq!(
                Catalog::new(vec![instrument(symbol)]).unwrap_err(),
                CatalogError::Symbol(symbol.into())
            );
        }
        assert!(Catalog::new(vec![instrument(&"x".repeat(32))]).is_ok());
        assert_eq!(
            Catalog::new(vec![instrument("A"), instrument("A")]).unwrap_err(),
            CatalogError::Duplicate("A".into())
        );
        let odd = Instrument { quantity_exponent: 19, ..instrument("A") };
        assert!(
            Catalog::new(vec![odd])
                .unwrap_err()
                .to_string()
                .contains("quantity_exponent is 19; allowed: -18 to 18")
        );
    }
}
