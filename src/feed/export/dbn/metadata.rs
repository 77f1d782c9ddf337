//! What a DBN file says of itself.

use std::num::NonZeroU64;

use ::dbn::encode::dbn::MetadataEncoder;
use ::dbn::{MappingInterval, Metadata, SType, SymbolMapping};
use time::{Date, OffsetDateTime};

use super::records::Schema;
use crate::feed::Description;
use crate::feed::export::ExportError;
use crate::feed::export::selection::Chosen;
use crate::feed::reader::Reader;
use crate::model::{ABSENT_TIME, Instrument};

/// The dataset of what does not come from Databento.
const OWN_DATASET: &str = "TICKCAST";
/// Bytes that a dataset's name may have.
const DATASET_BYTES_MAX: usize = 16;

/// Where the records of a feed file come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// DBN of this dataset: letters, flags and numbers of the source are DBN's own.
    Dbn(String),
    /// Something else.
    Other,
}

impl Origin {
    /// What the line says that the import of DBN wrote into the description.
    pub fn of(description: &Description) -> Origin {
        let dataset = description.source.split_once(": dbn version ").and_then(|(_, rest)| {
            let (_, rest) = rest.split_once(", ")?;
            rest.split_once(' ').map(|(dataset, _)| dataset)
        });
        match dataset {
            Some(name) if name.is_ascii() && name.len() <= DATASET_BYTES_MAX => Origin::Dbn(name.to_owned()),
            _ => Origin::Other,
        }
    }

    pub fn is_dbn(&self) -> bool {
        *self != Origin::Other
    }
}

/// The number of an instrument in a DBN file: the source's own, or, where it has none, its position from 1.
pub(super) fn instrument_id(number: u32, instrument: &Instrument) -> u32 {
    if instrument.source_id == 0 { number + 1 } else { instrument.source_id }
}

/// The metadata, encoded.
pub(super) fn metadata(
    reader: &Reader,
    chosen: &Chosen,
    origin: &Origin,
    schema: Schema,
) -> Result<Vec<u8>, ExportError> {
    let times = |time: Option<u64>| time.filter(|time| *time != ABSENT_TIME);
    let (first, last) = (reader.blocks().first(), reader.blocks().last());
    let start_ns = times(first.map(|block| block.first_time_ns)).unwrap_or(0);
    let last_ns = times(last.map(|block| block.last_time_ns)).unwrap_or(0);
    let (start_ns, end_ns) = chosen.narrow(start_ns, last_ns.max(start_ns).saturating_add(1));
    // Whole days, the last one left out.
    let (start_date, end_date) = (date(start_ns), date(end_ns.saturating_add(86_400_000_000_000 - 1)));
    let mappings: Vec<SymbolMapping> = chosen
        .instruments()
        .map(|(number, instrument)| (instrument_id(number, instrument).to_string(), instrument))
        // A symbol that is the number stands for one that the source did not give.
        .filter(|(id, instrument)| instrument.symbol != *id)
        .map(|(id, instrument)| SymbolMapping {
            raw_symbol: instrument.symbol.clone(),
            intervals: vec![MappingInterval { start_date, end_date, symbol: id }],
        })
        .collect();
    let dataset = match origin {
        Origin::Dbn(dataset) => dataset.as_str(),
        Origin::Other => OWN_DATASET,
    };
    let metadata = Metadata::builder()
        .dataset(dataset)
        .schema(Some(schema.dbn()))
        .start(start_ns)
        .end(NonZeroU64::new(end_ns))
        .stype_in(Some(SType::RawSymbol))
        .stype_out(SType::InstrumentId)
        .symbols(mappings.iter().map(|mapping| mapping.raw_symbol.clone()).collect())
        .mappings(mappings)
        .build();
    let mut bytes = Vec::new();
    let encoded = MetadataEncoder::new(&mut bytes).encode(&metadata);
    encoded.map_err(|error| ExportError::Metadata {
        file: reader.path().to_owned(),
        problem: error.to_string(),
    })?;
    Ok(bytes)
}

fn date(ns: u64) -> Date {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ns));
    time.expect("every u64 of nanoseconds is before the year 2555").date()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_in_the_line_that_the_import_wrote() {
        let of = |source: &str| Origin::of(&Description::new(source, vec![]));
        let esh4 = "esh4: a, b.dbn.zst: dbn version 1, GLBX.MDP3 mbo, 68792 records";
        assert_eq!(of(esh4), Origin::Dbn("GLBX.MDP3".into()));
        assert_eq!(of(&format!("{esh4}; {esh4}")), Origin::Dbn("GLBX.MDP3".into()));
        for other in [
            "simulated market: 4 symbols",
            "",
            "x: dbn version 1",
            "x: dbn version 1, A.NAME.THAT.IS.TOO.LONG mbo",
        ] {
            assert_eq!(of(other), Origin::Other, "{other}");
        }
    }
}
