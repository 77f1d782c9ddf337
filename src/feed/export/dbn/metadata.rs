//! What a DBN file says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::path::Path;

use ::dbn::encode::dbn::MetadataEncoder;
use ::dbn::{MappingInterval, Metadata, SType, SymbolMapping};
use time::{Date, OffsetDateTime};

use crate::feed::Description;
use crate::feed::databento::Schema;
use crate::feed::export::selection::Chosen;
use crate::feed::export::{ExportError, next_whole_block};
use crate::feed::reader::Reader;
use crate::feed::running::Position;
use crate::model::Instrument;

/// The dataset of what does not come from Databento.
const OWN_DATASET: &str = "TICKCAST";
/// Bytes that a dataset's name may have.
const DATASET_BYTES_MAX: usize = 16;

/// Where the records of a feed file come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// DBN: letters, flags and numbers of the source are DBN's own.
    Dbn {
        /// The dataset of the first file.
        dataset: String,
        /// The schemas of the files; `None` where one has several, or one that is not known here.
        schemas: Option<Vec<Schema>>,
    },
    /// Something else.
    Other,
}

impl Origin {
    /// What the lines say that the import of DBN wrote into the description.
    pub fn of(description: &Description) -> Origin {
        let mut named = description.source.split(": dbn version ").skip(1).filter_map(|rest| {
            let mut words = rest.split_once(", ")?.1.split(' ');
            Some((words.next()?, words.next()?.trim_end_matches(',')))
        });
        match named.next() {
            Some((dataset, first)) if dataset.is_ascii() && dataset.len() <= DATASET_BYTES_MAX => {
                let names = std::iter::once(first).chain(named.map(|(_, name)| name));
                let mut schemas = Some(Vec::new());
                for name in names {
                    match (&mut schemas, Schema::from_name(name)) {
                        (Some(known), Some(schema)) if known.contains(&schema) => {}
                        (Some(known), Some(schema)) => known.push(schema),
                        _ => schemas = None,
                    }
                }
                Origin::Dbn { dataset: dataset.to_owned(), schemas }
            }
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

/// The metadata, encoded; the two times are when the file begins and ends.
pub(super) fn metadata(
    reader: &Reader,
    (first_ns, last_ns): (Option<u64>, Option<u64>),
    chosen: &Chosen,
    origin: &Origin,
    schema: Option<Schema>,
) -> Result<Vec<u8>, ExportError> {
    let (start_ns, last_ns) = (first_ns.unwrap_or(0), last_ns.unwrap_or(0));
    let (start_ns, end_ns) = chosen.narrow(start_ns, last_ns.max(start_ns).saturating_add(1));
    // Whole days, the last one left out.
    let (start_date, end_date) = (date(start_ns), date(end_ns.saturating_add(86_400_000_000_000 - 1)));
    let shared = shared_ids(chosen);
    let days = if shared.is_empty() { BTreeMap::new() } else { days(reader.path(), chosen, &shared)? };
    let mappings: Vec<SymbolMapping> = chosen
        .instruments()
        .map(|(number, instrument)| (number, instrument_id(number, instrument), instrument))
        // A symbol that is the number stands for one that the source did not give.
        .filter(|(_, id, instrument)| instrument.symbol != id.to_string())
        .map(|(number, id, instrument)| {
            let interval =
                |(start_date, end_date)| MappingInterval { start_date, end_date, symbol: id.to_string() };
            let intervals = match shared.contains(&id) {
                true => {
                    runs(days.get(&number).into_iter().flatten().copied()).into_iter().map(interval).collect()
                }
                false => vec![interval((start_date, end_date))],
            };
            SymbolMapping { raw_symbol: instrument.symbol.clone(), intervals }
        })
        .collect();
    let dataset = match origin {
        Origin::Dbn { dataset, .. } => dataset.as_str(),
        Origin::Other => OWN_DATASET,
    };
    let metadata = Metadata::builder()
        .dataset(dataset)
        .schema(schema.map(Schema::dbn))
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

/// Numbers that several of the chosen instruments had: on different days, as Databento gives them.
fn shared_ids(chosen: &Chosen) -> BTreeSet<u32> {
    let (mut seen, mut shared) = (BTreeSet::new(), BTreeSet::new());
    for (number, instrument) in chosen.instruments() {
        let id = instrument_id(number, instrument);
        if !seen.insert(id) {
            shared.insert(id);
        }
    }
    shared
}

/// The days on which the instruments with these numbers have records, by their positions in the catalog.
fn days(
    file: &str,
    chosen: &Chosen,
    shared: &BTreeSet<u32>,
) -> Result<BTreeMap<u32, BTreeSet<Date>>, ExportError> {
    let wanted: BTreeSet<u32> = chosen
        .instruments()
        .filter(|(number, instrument)| shared.contains(&instrument_id(*number, instrument)))
        .map(|(number, _)| number)
        .collect();
    let mut days: BTreeMap<u32, BTreeSet<Date>> = BTreeMap::new();
    let mut reader = Reader::open(Path::new(file))?;
    let mut position = Position::default();
    while next_whole_block(&mut reader, &mut None)? {
        for at in 0..reader.block().len() {
            let stands_ns = position.follow(&reader, at);
            let primary = &reader.block()[at];
            let is_of_them = wanted.contains(&primary.instrument) && chosen.takes(primary, stands_ns);
            if let Some(time_ns) = stands_ns.filter(|_| is_of_them) {
                days.entry(primary.instrument).or_default().insert(date(time_ns));
            }
        }
    }
    Ok(days)
}

/// Days that follow each other, as intervals whose last day is left out.
fn runs(days: impl Iterator<Item = Date>) -> Vec<(Date, Date)> {
    let mut runs: Vec<(Date, Date)> = Vec::new();
    for day in days {
        let next = day.next_day().unwrap_or(day);
        match runs.last_mut() {
            Some((_, end)) if *end == day => *end = next,
            _ => runs.push((day, next)),
        }
    }
    runs
}

fn date(ns: u64) -> Date {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ns));
    time.expect("every u64 of nanoseconds is before the year 2555").date()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_in_the_lines_that_the_import_wrote() {
        let of = |source: &str| Origin::of(&Description::new(source, vec![]));
        let dbn = |schemas: Option<&[Schema]>| Origin::Dbn {
            dataset: "GLBX.MDP3".into(),
            schemas: schemas.map(<[Schema]>::to_vec),
        };
        let esh4 = "esh4: a, b.dbn.zst: dbn version 1, GLBX.MDP3 mbo, 68792 records";
        assert_eq!(of(esh4), dbn(Some(&[Schema::Mbo])));
        assert_eq!(of(&format!("{esh4}; {esh4}; and 7 more files")), dbn(Some(&[Schema::Mbo])));
        let status = "s.dbn: dbn version 3, GLBX.MDP3 status, 4 records";
        assert_eq!(of(&format!("{esh4}; {status}")), dbn(Some(&[Schema::Mbo, Schema::Status])));
        assert_eq!(of(&format!("{esh4}; {}", status.replace("status", "mixed"))), dbn(None));
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
