//! The instruments that are listed when nobody brings a list: known names first, then made-up ones.

use super::kind::{Kind, Terms};
use super::profile::InstrumentProfile;
use super::random::mix;
use crate::limits;

/// A known name: symbol, kind, price exponent, quantity exponent, tick size, lot size, price, spread in ticks.
type Known = (&'static str, Kind, i8, i8, i64, i64, i64, i64);

/// The first four are promised; all prices are plausible and none is a quotation.
#[rustfmt::skip]
const KNOWN: [Known; 40] = [
    ("BTC-USD",  Kind::Crypto, -2, -6,  1, 10,   9_284_150, 40),
    ("ETH-USD",  Kind::Crypto, -2, -6,  1, 10,     342_675, 12),
    ("AAPL",     Kind::Stock,  -2,  0,  1,  1,      23_145,  1),
    ("EUR-USD",  Kind::Fx,     -5,  0,  1, 1_000,  108_420,  2),
    ("NVDA",     Kind::Stock,  -2,  0,  1,  1,      18_732,  1),
    ("SOL-USD",  Kind::Crypto, -2, -6,  1, 100,     17_450,  2),
    ("MSFT",     Kind::Stock,  -2,  0,  1,  1,      45_218,  2),
    ("USD-JPY",  Kind::Fx,     -3,  0,  1, 1_000,  149_850,  3),
    ("TSLA",     Kind::Stock,  -2,  0,  1,  1,      31_690,  4),
    ("ESZ6",     Kind::Future, -2,  0, 25,  1,     612_525,  1),
    ("AMZN",     Kind::Stock,  -2,  0,  1,  1,      22_404,  2),
    ("XRP-USD",  Kind::Crypto, -4, -6,  1, 1_000_000, 24_105, 5),
    ("GBP-USD",  Kind::Fx,     -5,  0,  1, 1_000,  127_310,  4),
    ("GOOGL",    Kind::Stock,  -2,  0,  1,  1,      19_862,  2),
    ("CLF7",     Kind::Future, -2,  0,  1,  1,       6_843,  1),
    ("META",     Kind::Stock,  -2,  0,  1,  1,      68_140,  9),
    ("DOGE-USD", Kind::Crypto, -5, -6,  1, 1_000_000, 18_240, 3),
    ("BRK.A",    Kind::Stock,  -2,  0,  1,  1,  72_410_000, 90_000),
    ("F",        Kind::Stock,  -2,  0,  1,  1,       1_178,  1),
    ("USD-CHF",  Kind::Fx,     -5,  0,  1, 1_000,   88_045,  5),
    ("SPY",      Kind::Stock,  -2,  0,  1,  1,      61_120,  1),
    ("ADA-USD",  Kind::Crypto, -4, -6,  1, 1_000_000, 7_412,  2),
    ("AMD",      Kind::Stock,  -2,  0,  1,  1,      16_455,  2),
    ("GCZ6",     Kind::Future, -1,  0,  1,  1,      41_250,  2),
    ("JPM",      Kind::Stock,  -2,  0,  1,  1,      28_830,  4),
    ("LINK-USD", Kind::Crypto, -3, -6,  1, 10_000,  16_210,  6),
    ("AUD-USD",  Kind::Fx,     -5,  0,  1, 1_000,   65_230,  3),
    ("NFLX",     Kind::Stock,  -2,  0,  1,  1,      98_470, 40),
    ("INTC",     Kind::Stock,  -2,  0,  1,  1,       2_436,  1),
    ("BTC-EUR",  Kind::Crypto, -2, -6,  1, 10,   8_562_300, 90),
    ("BAC",      Kind::Stock,  -2,  0,  1,  1,       4_657,  1),
    ("ZNZ6",     Kind::Future, -6,  0, 15_625, 1, 110_531_250, 1),
    ("AVAX-USD", Kind::Crypto, -2, -6,  1, 1_000,    3_482,  2),
    ("XOM",      Kind::Stock,  -2,  0,  1,  1,      11_745,  2),
    ("EUR-GBP",  Kind::Fx,     -5,  0,  1, 1_000,   85_160,  6),
    ("KO",       Kind::Stock,  -2,  0,  1,  1,       7_024,  1),
    ("SHIB-USD", Kind::Crypto, -8,  0,  1, 1_000,    1_385,  3),
    ("BKNG",     Kind::Stock,  -2,  0,  1,  1,     512_300, 600),
    ("DIS",      Kind::Stock,  -2,  0,  1,  1,      11_290,  2),
    ("ETH-BTC",  Kind::Crypto, -5, -6,  1, 100,      3_691,  1),
];

/// The first `n` instruments of a plausible market, the busiest first: activity falls as one over the rank (Zipf's
/// law), and with it the number of resting orders.
///
/// The list of a smaller `n` is the beginning of the list of a larger one. At most [`limits::INSTRUMENTS_MAX`] are
/// given.
pub fn profiles(n: usize) -> Vec<InstrumentProfile> {
    (0..n.min(limits::INSTRUMENTS_MAX)).map(profile).collect()
}

fn profile(rank: usize) -> InstrumentProfile {
    let named = match KNOWN.get(rank) {
        Some(known) => known_profile(known),
        None => invented_profile(rank as u64),
    };
    let orders = match rank {
        0..4 => 200,
        4..200 => 100,
        200..2_000 => 64,
        _ => 32,
    };
    InstrumentProfile { activity: (1_000_000 / (rank as u32 + 1)).max(1), orders, ..named }
}

fn known_profile(known: &Known) -> InstrumentProfile {
    let &(symbol, kind, price_exponent, quantity_exponent, tick_size, lot_size, price, spread_ticks) = known;
    let terms = Terms { price_exponent, quantity_exponent, tick_size, lot_size, price };
    InstrumentProfile { spread: spread_ticks * tick_size, ..kind.profile(symbol.to_owned(), terms) }
}

/// Names of five letters, `BABAB` to `ZUZUZ`, each once: no known name has that shape.
fn invented_profile(rank: u64) -> InstrumentProfile {
    const CONSONANTS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
    const VOWELS: &[u8; 5] = b"AEIOU";
    const NAMES: u64 = 20 * 5 * 20 * 5 * 20;
    const { assert!(limits::INSTRUMENTS_MAX <= NAMES as usize) }
    // 7919 shares no factor with the number of names: every rank meets another one.
    let mut number = rank * 7_919 % NAMES;
    let mut name = String::new();
    for place in 0..5 {
        let letters: &[u8] = if place % 2 == 0 { CONSONANTS } else { VOWELS };
        name.push(letters[(number % letters.len() as u64) as usize] as char);
        number /= letters.len() as u64;
    }
    let dice = mix(rank);
    // 1.00 to 2,047.99: as many cheap as dear by magnitude.
    let magnitude = 100_u64 << (dice % 11);
    let price = (magnitude + (dice >> 8) % magnitude) as i64;
    let (kind, symbol, lot_size) = match dice >> 60 {
        0..10 => (Kind::Stock, name, 1),
        10..14 => (Kind::Crypto, name + "-USD", 1_000),
        _ => (Kind::Future, name + "Z6", 1),
    };
    let terms = Terms {
        price_exponent: -2,
        quantity_exponent: kind.quantity_exponent(),
        tick_size: 1,
        lot_size,
        price,
    };
    let profile = kind.profile(symbol, terms);
    // Some trade tight, some wide.
    let width = 1 + (dice >> 32) as i64 % 6;
    InstrumentProfile { spread: (profile.spread * width).min((price / 100).max(1)), ..profile }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Catalog;

    #[test]
    fn the_promised_names_come_first() {
        let symbols: Vec<String> = profiles(4).into_iter().map(|profile| profile.symbol).collect();
        assert_eq!(symbols, ["BTC-USD", "ETH-USD", "AAPL", "EUR-USD"]);
        assert!(profiles(0).is_empty());
        assert_eq!(profiles(50)[..20], profiles(20), "a shorter list is the beginning of a longer one");
    }

    #[test]
    fn as_many_sound_instruments_as_a_catalog_holds() {
        let all = profiles(limits::INSTRUMENTS_MAX + 1);
        assert_eq!(all.len(), limits::INSTRUMENTS_MAX);
        for profile in &all {
            assert_eq!(profile.faults(&profile.symbol), [], "{profile:?}");
        }
        let catalog = Catalog::new(all.iter().map(InstrumentProfile::instrument).collect());
        assert!(catalog.is_ok(), "every symbol is unique and allowed");
    }

    #[test]
    fn instruments_differ_in_kind() {
        let all = profiles(40);
        let relative = |profile: &InstrumentProfile| profile.spread * 1_000_000 / profile.price;
        assert!(all.iter().any(|profile| relative(profile) < 20), "tight");
        assert!(all.iter().any(|profile| relative(profile) > 1_000), "wide");
        assert_eq!(all[0].activity, 10 * all[9].activity);
        assert!(all[17].quantity < 10 && all[18].quantity > 1_000, "dear and cheap shares");
    }
}
