//! Several files as one: one catalog for all.

use crate::feed::error::FeedError;
use crate::feed::reader::Reader;
use crate::model::{Catalog, Channel, Instrument};

/// One catalog of all files, and for each file the new numbers of its instruments.
pub fn merge_catalogs(readers: &[Reader]) -> Result<(Catalog, Vec<Vec<u32>>), FeedError> {
    let mut instruments: Vec<Instrument> = Vec::new();
    let mut known = rustc_hash::FxHashMap::<String, u32>::default();
    let mut numbers = Vec::with_capacity(readers.len());
    for reader in readers {
        let mut of_file = Vec::with_capacity(reader.catalog().len());
        for instrument in reader.catalog().instruments() {
            let next = instruments.len() as u32;
            let number = *known.entry(instrument.symbol.clone()).or_insert(next);
            if number == next {
                instruments.push(instrument.clone());
            } else {
                same_definition(instrument, &instruments[number as usize], reader.path())?;
            }
            of_file.push(number);
        }
        numbers.push(of_file);
    }
    let path = || readers.iter().map(Reader::path).collect::<Vec<_>>().join(", ");
    let catalog = Catalog::new(instruments).map_err(|error| FeedError::Catalog { path: path(), error })?;
    Ok((catalog, numbers))
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
