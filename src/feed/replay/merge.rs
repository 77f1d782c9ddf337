//! Several files as one: one catalog for all.

use crate::feed::error::FeedError;
use crate::feed::reader::Reader;
use crate::model::{ABSENT, Catalog, Channel, Instrument, Primary, PrimaryKind};

/// What an instrument of a file is in the replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its number there.
    pub number: u32,
    /// What its prices and quantities are multiplied by: another file has more decimals of them.
    price_factor: i64,
    quantity_factor: i64,
}

impl Placed {
    /// A record of the file as one of the replay; `None` where a number does not fit in 64 bits there.
    pub fn place(self, primary: &Primary) -> Option<Primary> {
        let placed = Primary { instrument: self.number, ..*primary };
        // A note may carry anything in its fields, and changes nothing.
        if self.price_factor == 1 && self.quantity_factor == 1 || placed.kind == PrimaryKind::Note as u8 {
            return Some(placed);
        }
        let scaled =
            |value: i64, factor: i64| if value == ABSENT { Some(value) } else { value.checked_mul(factor) };
        let price = scaled(placed.price, self.price_factor)?;
        let quantity = scaled(placed.quantity, self.quantity_factor)?;
        Some(Primary { price, quantity, ..placed })
    }
}

/// One catalog of all files, and for each file what its instruments are in it. Of an instrument whose numbers have
/// different decimals in the files, as they have where an import learns them from the numbers it meets, it has the most.
pub fn merge_catalogs(readers: &[Reader]) -> Result<(Catalog, Vec<Vec<Placed>>), FeedError> {
    let mut instruments: Vec<Instrument> = Vec::new();
    let mut known = rustc_hash::FxHashMap::<&str, u32>::default();
    for instrument in readers.iter().flat_map(|reader| reader.catalog().instruments()) {
        let next = instruments.len() as u32;
        let number = *known.entry(&instrument.symbol).or_insert(next);
        if number == next {
            instruments.push(instrument.clone());
            continue;
        }
        let merged = &mut instruments[number as usize];
        let price_exponent = merged.price_exponent.min(instrument.price_exponent);
        let quantity_exponent = merged.quantity_exponent.min(instrument.quantity_exponent);
        if let Some(finer) = at_exponents(merged, price_exponent, quantity_exponent) {
            *merged = finer;
        }
    }
    let mut placed = Vec::with_capacity(readers.len());
    for reader in readers {
        let place = |instrument: &Instrument| {
            let number = known[instrument.symbol.as_str()];
            let merged = &instruments[number as usize];
            let (price, quantity) = (merged.price_exponent, merged.quantity_exponent);
            let same = at_exponents(instrument, price, quantity).unwrap_or_else(|| instrument.clone());
            same_definition(&same, merged, reader.path())?;
            let factor = |exponent: i8, finer: i8| power_of_ten(exponent, finer).unwrap_or(1);
            Ok(Placed {
                number,
                price_factor: factor(instrument.price_exponent, price),
                quantity_factor: factor(instrument.quantity_exponent, quantity),
            })
        };
        let of_file = reader.catalog().instruments().iter().map(place);
        placed.push(of_file.collect::<Result<Vec<_>, FeedError>>()?);
    }
    let path = || readers.iter().map(Reader::path).collect::<Vec<_>>().join(", ");
    let catalog = Catalog::new(instruments).map_err(|error| FeedError::Catalog { path: path(), error })?;
    Ok((catalog, placed))
}

/// The instrument with its numbers at these exponents, which are no greater; `None` where its steps do not fit there.
fn at_exponents(instrument: &Instrument, price: i8, quantity: i8) -> Option<Instrument> {
    let price_factor = power_of_ten(instrument.price_exponent, price)?;
    let quantity_factor = power_of_ten(instrument.quantity_exponent, quantity)?;
    Some(Instrument {
        price_exponent: price,
        quantity_exponent: quantity,
        tick_size: instrument.tick_size.checked_mul(price_factor)?,
        lot_size: instrument.lot_size.checked_mul(quantity_factor)?,
        ..instrument.clone()
    })
}

/// What an integer at an exponent is multiplied by to be one at a finer exponent; `None` where that does not fit in 64
/// bits.
fn power_of_ten(exponent: i8, finer: i8) -> Option<i64> {
    10_i64.checked_pow(u32::try_from(exponent - finer).ok()?)
}

fn same_definition(found: &Instrument, other: &Instrument, path: &str) -> Result<(), FeedError> {
    let channels =
        |instrument: &Instrument| instrument.channels.iter().map(Channel::name).collect::<Vec<_>>().join("+");
    let fields = [
        ("price_exponent", found.price_exponent.to_string(), other.price_exponent.to_string()),
        ("quantity_exponent", found.quantity_exponent.to_string(), other.quantity_exponent.to_string()),
        ("tick_size", found.tick_size.to_string(), other.tick_size.to_string()),
        ("lot_size", found.lot_size.to_string(), other.lot_size.to_string()),
        ("channels", channels(found), channels(other)),
        ("book_depth", found.book_depth.to_string(), other.book_depth.to_string()),
    ];
    for (field, found_value, other_value) in fields {
        if found_value != other_value {
            return Err(FeedError::Definition {
                path: path.to_owned(),
                symbol: found.symbol.clone(),
                field,
                found: found_value,
                other: other_value,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::feed::format::Description;
    use crate::feed::replay::{Replay, ReplaySettings};
    use crate::feed::writer::Writer;
    use crate::model::{ChannelSet, primary_flags};
    use crate::source::Source;

    const DECIMALS: Instrument = Instrument {
        symbol: String::new(),
        price_exponent: -2,
        quantity_exponent: -1,
        tick_size: 0,
        lot_size: 0,
        channels: ChannelSet(0),
        book_depth: 0,
        source_id: 0,
    };

    /// A feed file of one instrument and trades at these times, prices and quantities.
    fn file(path: PathBuf, of: &Instrument, trades: &[(u64, i64, i64)]) -> PathBuf {
        let channels = ChannelSet::of(&[Channel::Trades]);
        let instrument = Instrument { symbol: "A".into(), channels, ..of.clone() };
        let mut writer = Writer::create(&path, &Description::new("a test", vec![instrument])).unwrap();
        for &(ts_event_ns, price, quantity) in trades {
            let trade = Primary::new(PrimaryKind::Trade, 0, ts_event_ns);
            writer.push(&Primary { price, quantity, flags: primary_flags::LAST, ..trade }).unwrap();
        }
        writer.finish().unwrap();
        path
    }

    fn open(files: &[&Path]) -> Result<Replay, FeedError> {
        let paths: Vec<PathBuf> = files.iter().map(|path| path.to_path_buf()).collect();
        Replay::open(&paths, ReplaySettings::default())
    }

    #[test]
    fn files_with_different_decimals_are_replayed_with_the_most() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let tuesday = Instrument { price_exponent: -1, quantity_exponent: -2, lot_size: 10, ..DECIMALS };
        let lots = Instrument { lot_size: 1, ..DECIMALS };
        let one = file(at("1.feed"), &lots, &[(1, 900_025, 15)]);
        let two = file(at("2.feed"), &tuesday, &[(2, 91_005, 125), (3, ABSENT, 1)]);
        for files in [[&*one, &*two], [&*two, &*one]] {
            let mut replay = open(&files).unwrap();
            let merged = replay.catalog().instruments()[0].clone();
            assert_eq!((merged.price_exponent, merged.quantity_exponent, merged.lot_size), (-2, -2, 10));
            let mut out = Vec::new();
            replay.poll(0, &mut out).unwrap();
            replay.poll(10, &mut out).unwrap();
            let told: Vec<_> = out.iter().map(|trade| (trade.price, trade.quantity)).collect();
            assert_eq!(told, [(900_025, 150), (910_050, 125), (ABSENT, 1)]);
        }
        // A step is the same step, whatever its decimals; another is not.
        let ticks = file(at("3.feed"), &Instrument { tick_size: 25, ..lots }, &[]);
        let error = open(&[&two, &ticks]).err().unwrap().to_string();
        assert!(error.contains("3.feed has tick_size 25, but 0"), "{error}");
        // What fits in no 64 bits is an error when it comes.
        let large = Instrument { price_exponent: 0, ..tuesday };
        let large = file(at("4.feed"), &large, &[(3, i64::MAX, 1)]);
        let error = open(&[&two, &large]).err().unwrap().to_string();
        assert!(
            error.contains("4.feed: record 0: price 9223372036854775807 or quantity 1 does not fit"),
            "{error}"
        );
    }

    #[test]
    fn exponents_too_far_apart_stay_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let fine = Instrument { price_exponent: -18, ..DECIMALS };
        let one = file(folder.path().join("1.feed"), &fine, &[]);
        let two = file(folder.path().join("2.feed"), &Instrument { price_exponent: 1, ..DECIMALS }, &[]);
        let error = open(&[&one, &two]).err().unwrap().to_string();
        assert!(error.contains("2.feed has price_exponent 1, but -18"), "{error}");
    }
}
