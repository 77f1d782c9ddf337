//! Databento files (DBN version 3) out of feed files.
//!
//! What was imported from DBN comes out as it was, record for record and field for field (`docs/export.md`, "DBN").
//! Orders of other sources come out as `mbo`, trades as `trades`, where DBN's units hold them.

mod metadata;
mod records;

use std::path::Path;

use self::records::Records;
use super::output::{Created, Output};
use super::selection::Selection;
use super::{ExportError, Exported, next_whole_block};
use crate::feed::reader::Reader;
use crate::feed::running::{self, Position};

/// Writes the records that were chosen; [`Selection::channels`] must be `None`. `progress` hears how many records of how
/// many were read.
pub fn export(
    file: &Path,
    selection: &Selection,
    out: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Exported, ExportError> {
    let mut reader = Reader::open(file)?;
    let chosen = selection.choose(&mut reader)?;
    let origin = metadata::Origin::of(reader.description());
    let schema = records::common_schema(&chosen, &origin, reader.path())?;
    let span_ns = running::span_ns(&mut reader)?;
    let metadata = metadata::metadata(&reader, span_ns, &chosen, &origin, schema)?;
    let total = reader.records();
    let mut records = Records::new(schema, origin, reader.path());
    let mut created = Created::default();
    let mut out = Output::create(out, &mut created)?;
    out.append(&metadata)?;
    let (mut read, mut bytes, mut position) = (0, Vec::new(), Position::default());
    let mut fault = reader.fault().cloned();
    while next_whole_block(&mut reader, &mut fault)? {
        chosen.stop.check()?;
        for at in 0..reader.block().len() {
            let time_ns = position.follow(&reader, at);
            let primary = &reader.block()[at];
            let instrument = chosen.catalog.get(primary.instrument);
            if let Some(instrument) = instrument.filter(|_| chosen.takes(primary, time_ns)) {
                records.take(read, primary, instrument, &mut bytes)?;
            }
            read += 1;
        }
        out.append(&bytes)?;
        bytes.clear();
        progress(read, total);
    }
    if fault.is_none() {
        records.end(&chosen.catalog)?;
    }
    out.finish()?;
    created.keep();
    Ok(Exported::of(&reader, 0..read, records.written, records.left_out, fault))
}
