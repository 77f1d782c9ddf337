//! One's own instruments, from a TOML list.

use rustc_hash::FxHashSet;
use toml::{Table, Value};

use super::kind::{Kind, Terms};
use super::profile::{Fault, Faults, InstrumentProfile};
use crate::limits;
use crate::model::{Catalog, CatalogError, Decimal, Instrument, SYMBOLS_ALLOWED, parse_decimal};

const INSTRUMENT_KEYS: [&str; 12] = [
    "symbol",
    "kind",
    "price",
    "price_exponent",
    "quantity_exponent",
    "tick_size",
    "lot_size",
    "spread",
    "quantity",
    "activity",
    "orders",
    "volatility",
];

/// Reads a list of `[[instrument]]` tables; `feeds/instruments.toml` shows every key with its default.
///
/// # Errors
/// Everything that is wrong, at once, each fault with its key, the value and what is allowed.
pub fn profiles_from_toml(text: &str) -> Result<Vec<InstrumentProfile>, Faults> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        Faults(vec![fault(
            "the list",
            format!("no TOML ({})", error.to_string().trim_end().replace('\n', " ")),
            "[[instrument]] tables",
        )])
    })?;
    let mut faults = Vec::new();
    for (key, value) in table.iter().filter(|(key, _)| *key != "instrument") {
        faults.push(fault(key, format!("{value}, an unknown key"), "instrument"));
    }
    let entries = match table.get("instrument") {
        Some(Value::Array(entries)) if (1..=limits::INSTRUMENTS_MAX).contains(&entries.len()) => {
            entries.as_slice()
        }
        Some(Value::Array(entries)) => {
            let allowed = format!("1 to {} tables", limits::INSTRUMENTS_MAX);
            faults.push(fault("instrument", format!("a list of {}", entries.len()), allowed));
            &[]
        }
        Some(value) => {
            faults.push(fault("instrument", value, "[[instrument]] tables"));
            &[]
        }
        None => {
            faults.push(fault("instrument", "missing", "at least one [[instrument]] table"));
            &[]
        }
    };
    let mut symbols = FxHashSet::default();
    let mut profiles = Vec::with_capacity(entries.len());
    for (position, entry) in entries.iter().enumerate() {
        let name = format!("instrument[{position}]");
        let Value::Table(table) = entry else {
            faults.push(fault(&name, entry, "a table of keys"));
            continue;
        };
        let mut entry = Entry { name, table, faults: &mut faults };
        let profile = entry.profile();
        if !profile.symbol.is_empty() && !symbols.insert(profile.symbol.clone()) {
            entry.fault("symbol", format!("{:?}, listed before", profile.symbol), "each symbol once");
        }
        profiles.push(profile);
    }
    if faults.is_empty() { Ok(profiles) } else { Err(Faults(faults)) }
}

fn fault(key: &str, value: impl ToString, allowed: impl ToString) -> Fault {
    Fault { key: key.to_owned(), value: value.to_string(), allowed: allowed.to_string() }
}

/// One `[[instrument]]` table under its name in messages. What is wrong in it goes to `faults`, and a stand-in that
/// causes no further fault takes its place.
struct Entry<'a> {
    name: String,
    table: &'a Table,
    faults: &'a mut Vec<Fault>,
}

impl Entry<'_> {
    fn fault(&mut self, key: &str, value: impl ToString, allowed: impl ToString) {
        let key = if key.is_empty() { self.name.clone() } else { format!("{}.{key}", self.name) };
        self.faults.push(fault(&key, value, allowed));
    }

    fn profile(&mut self) -> InstrumentProfile {
        let before = self.faults.len();
        for (key, value) in self.table {
            if !INSTRUMENT_KEYS.contains(&key.as_str()) {
                self.fault(key, format!("{value}, an unknown key"), INSTRUMENT_KEYS.join(", "));
            }
        }
        let symbol = self.symbol();
        let kind = self.kind();
        let price_exponent = self.integer("price_exponent", -18, 18, kind.price_exponent().into()) as i8;
        let quantity_exponent =
            self.integer("quantity_exponent", -18, 18, kind.quantity_exponent().into()) as i8;
        let terms = Terms {
            price_exponent,
            quantity_exponent,
            tick_size: self.decimal("tick_size", price_exponent).unwrap_or(1),
            lot_size: self.decimal("lot_size", quantity_exponent).unwrap_or(1),
            price: self.price(price_exponent),
        };
        let usual = kind.profile(symbol, terms);
        let whole = |entry: &mut Self, key, default| entry.integer(key, 0, u32::MAX.into(), default) as u32;
        let profile = InstrumentProfile {
            spread: self.decimal("spread", price_exponent).unwrap_or(usual.spread),
            quantity: self.decimal("quantity", quantity_exponent).unwrap_or(usual.quantity),
            activity: whole(self, "activity", usual.activity.into()),
            orders: whole(self, "orders", usual.orders.into()),
            volatility: whole(self, "volatility", usual.volatility.into()),
            ..usual
        };
        // The rules between the keys only make sense of values that could be read.
        if self.faults.len() == before {
            let name = format!("{}.", self.name);
            self.faults.extend(profile.faults(&name));
        }
        profile
    }

    fn symbol(&mut self) -> String {
        let symbol = match self.table.get("symbol") {
            Some(Value::String(symbol)) => symbol.clone(),
            Some(value) => {
                self.fault("symbol", value, SYMBOLS_ALLOWED);
                return String::new();
            }
            None => {
                self.fault("symbol", "missing", SYMBOLS_ALLOWED);
                return String::new();
            }
        };
        // The catalog is the judge of symbols.
        let alone = Instrument {
            symbol: symbol.clone(),
            price_exponent: 0,
            quantity_exponent: 0,
            tick_size: 1,
            lot_size: 1,
            channels: Default::default(),
            book_depth: 0,
            source_id: 0,
        };
        if let Err(CatalogError::Symbol(_)) = Catalog::new(vec![alone]) {
            self.fault("symbol", format!("{symbol:?}"), SYMBOLS_ALLOWED);
        }
        symbol
    }

    fn kind(&mut self) -> Kind {
        let kind = match self.table.get("kind") {
            None => return Kind::Stock,
            Some(value) => value.as_str().and_then(Kind::from_name).ok_or(value),
        };
        kind.unwrap_or_else(|value| {
            self.fault("kind", value, Kind::ALL.map(Kind::name).join(", "));
            Kind::Stock
        })
    }

    fn price(&mut self, exponent: i8) -> i64 {
        if !self.table.contains_key("price") {
            self.fault("price", "missing", "a decimal in quotes, such as \"230.15\"");
        }
        self.decimal("price", exponent).unwrap_or(1)
    }

    fn integer(&mut self, key: &str, least: i64, most: i64, default: i64) -> i64 {
        match self.table.get(key) {
            None => default,
            Some(Value::Integer(value)) if (least..=most).contains(value) => *value,
            Some(value) => {
                self.fault(key, value, format!("a whole number from {least} to {most}"));
                default
            }
        }
    }

    fn decimal(&mut self, key: &str, exponent: i8) -> Option<i64> {
        let value = self.table.get(key)?;
        let read = value.as_str().and_then(|text| parse_decimal(text, exponent));
        if read.is_none() {
            let step = Decimal::new(1, exponent);
            let allowed = format!(
                "a decimal in quotes that is a multiple of {step} (10^{exponent}), such as \"{step}\""
            );
            self.fault(key, value, allowed);
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn faults(text: &str) -> Vec<String> {
        let faults = profiles_from_toml(text).unwrap_err();
        faults.to_string().lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_example_file_shows_every_key() {
        let text = include_str!("../../feeds/instruments.toml");
        let profiles = profiles_from_toml(text).unwrap();
        assert!(profiles.len() >= 4);
        for key in INSTRUMENT_KEYS {
            assert!(text.lines().any(|line| line.starts_with(&format!("{key} ="))), "{key}");
        }
    }

    #[test]
    fn symbol_and_price_are_enough() {
        let profiles = profiles_from_toml("[[instrument]]\nsymbol = \"ACME\"\nprice = \"50\"\n").unwrap();
        let want = InstrumentProfile {
            symbol: "ACME".into(),
            price_exponent: -2,
            quantity_exponent: 0,
            tick_size: 1,
            lot_size: 1,
            price: 5_000,
            spread: 1,
            quantity: 400,
            activity: 1_000,
            orders: 120,
            volatility: 80,
        };
        assert_eq!(profiles, [want]);
    }

    #[test]
    fn decimals_are_read_at_their_exponent() {
        let text = "[[instrument]]\nsymbol = \"X\"\nkind = \"crypto\"\nprice = \"2.5\"\nprice_exponent = -4\n\
                    quantity_exponent = -3\ntick_size = \"0.0005\"\nlot_size = \"0.1\"\nspread = \"0.001\"\n\
                    quantity = \"12.5\"";
        let profile = profiles_from_toml(text).unwrap().remove(0);
        assert_eq!((profile.price, profile.tick_size, profile.spread), (25_000, 5, 10));
        assert_eq!((profile.lot_size, profile.quantity), (100, 12_500));
    }

    #[test]
    fn every_fault_is_told_at_once_with_key_value_and_what_is_allowed() {
        let text = "rate = 5\n\
                    [[instrument]]\nsymbol = \"A B\"\nprice = 12.5\nkind = \"bond\"\n\
                    [[instrument]]\nsymbol = \"OK\"\nprice = \"10\"\ntick = \"0.01\"\norders = -1\n\
                    [[instrument]]\nsymbol = \"OK\"\nprice = \"10.001\"\n\
                    [[instrument]]\nprice = \"10\"\n";
        let faults = faults(text);
        for (key, value) in [
            ("rate", "5, an unknown key"),
            ("instrument[0].symbol", "\"A B\""),
            ("instrument[0].price", "12.5"),
            ("instrument[0].kind", "\"bond\""),
            ("instrument[1].tick", "\"0.01\", an unknown key"),
            ("instrument[1].orders", "-1"),
            ("instrument[2].symbol", "\"OK\", listed before"),
            ("instrument[2].price", "\"10.001\""),
            ("instrument[3].symbol", "missing"),
        ] {
            let start = format!("{key} is {value}; allowed: ");
            assert!(faults.iter().any(|fault| fault.starts_with(&start)), "{start} in {faults:#?}");
        }
        assert_eq!(faults.len(), 9, "{faults:#?}");
    }

    #[test]
    fn the_rules_between_keys_hold() {
        let list = |line: &str| format!("[[instrument]]\nsymbol = \"A\"\nprice = \"50\"\n{line}\n");
        for (line, want) in [
            ("tick_size = \"0\"", "instrument[0].tick_size is 0; allowed: 0.01 to 10000"),
            ("tick_size = \"3\"", "instrument[0].price is 50; allowed: a multiple of 3 from 300 to "),
            ("spread = \"0.6\"", "instrument[0].spread is 0.6; allowed: a multiple of 0.01 from 0.01 to 0.5"),
            ("lot_size = \"7\"\nquantity = \"10\"", "instrument[0].quantity is 10; allowed: a multiple of 7"),
            ("orders = 15", "instrument[0].orders is 15; allowed: 16 to "),
            ("activity = 0", "instrument[0].activity is 0; allowed: 1 to 1000000"),
            ("volatility = 1001", "instrument[0].volatility is 1001; allowed: 0 to 1000"),
            (
                "price_exponent = 19",
                "instrument[0].price_exponent is 19; allowed: a whole number from -18 to 18",
            ),
        ] {
            let faults = faults(&list(line));
            assert!(faults.len() == 1 && faults[0].starts_with(want), "{line}: {faults:?}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (text, want) in [
            ("", "instrument is missing"),
            ("instrument = 3", "instrument is 3"),
            ("instrument = []", "instrument is a list of 0"),
            ("instrument = [1]", "instrument[0] is 1"),
            ("[[instrument", "the list is no TOML"),
            ("{\"symbol\": 1}", "the list is no TOML"),
        ] {
            assert!(faults(text)[0].starts_with(want), "{text:?}: {:?}", faults(text));
        }
    }
    proptest! {
        #[test]
        fn no_numbers_are_too_odd_to_be_judged(numbers in proptest::array::uniform5(any::<i64>()),
            small in proptest::array::uniform5(-2_i64..2_000), exponents in (-19_i8..=19, -19_i8..=19),
            pick in any::<u8>(), kind in 0..4_usize) {
            let number = |i: usize| if pick >> i & 1 == 0 { small[i] } else { numbers[i] };
            let text = format!(
                "[[instrument]]\nsymbol = \"A\"\nkind = \"{}\"\nprice = \"{}\"\ntick_size = \"{}\"\n\
                 lot_size = \"{}\"\norders = {}\nvolatility = {}\nprice_exponent = {}\nquantity_exponent = {}\n",
                Kind::ALL[kind].name(), number(0), number(1), number(2), number(3), number(4), exponents.0,
                exponents.1
            );
            match profiles_from_toml(&text) {
                Ok(profiles) => prop_assert!(profiles[0].faults("").is_empty()),
                Err(Faults(faults)) => prop_assert!(!faults.is_empty()),
            }
        }

        #[test]
        fn no_text_is_too_odd_to_be_judged(text in ".{0,200}") {
            let _ = profiles_from_toml(&text);
        }
    }
}
