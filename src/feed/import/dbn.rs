//! Databento recordings (DBN versions 1 to 3, plain or zstd; schemas mbo, mbp-1, mbp-10, trades).
//!
//! What becomes of a record (`docs/feed-format.md`, "Databento records" has the table):
//!
//! * prices keep the source's exponent -9, quantities are whole; tick and lot size are unknown: 0;
//! * an instrument is a publisher's instrument number under its symbol; its channels are what the schema can tell;
//! * `mbo`: one primary a record. `trades`: one trade a record. `mbp-1`, `mbp-10`: the trade, or a note of what else
//!   happened, then a `Top` for each level and side;
//! * every field is kept: the tests rebuild each record byte for byte;
//! * several files are merged by receive time, the earlier named first where times are equal.

mod input;
mod record;
mod symbols;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};

use self::input::Input;
use self::symbols::Table;
use super::event_ends::EventEnds;
use super::{ImportError, Imported, Progress};
use crate::feed::keyframe::KeyframeSettings;
use crate::feed::writer::Writer;
use crate::limits;

/// Files named in a feed file's description; of more, the number.
const FILES_NAMED_MAX: usize = 8;

/// Reads the inputs and writes the feed file `out`, which must not exist. `progress` hears now and then how far it is.
pub fn import(
    inputs: &[PathBuf],
    out: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    if inputs.is_empty() || inputs.len() > limits::IMPORT_FILES_MAX {
        return Err(ImportError::Files(inputs.len()));
    }
    if out.exists() {
        return Err(ImportError::Exists { path: out.display().to_string() });
    }
    let mut watched = Watched { progress, done: 0, total: 0 };
    for path in inputs {
        watched.total += 2 * Input::open(path)?.bytes();
    }
    let (table, source_records, sources) = survey(inputs, &mut watched)?;
    let instruments = table.len();
    let (table, description) = table.into_description(describe(&sources));
    let mut writer = Writer::create(out, &description)?.with_keyframes(KeyframeSettings::default());
    write(inputs, &table, &mut writer, &mut watched)?;
    Ok(Imported { source_records, instruments, written: writer.finish()? })
}

/// Who hears of the progress, and what was told.
struct Watched<'a> {
    progress: &'a mut dyn FnMut(Progress),
    done: u64,
    total: u64,
}

impl Watched<'_> {
    /// Reports every this many records.
    const EVERY: u64 = 65_536;

    fn tell(&mut self, within: u64) {
        (self.progress)(Progress { done: self.done + within, total: self.total });
    }
}

/// Reads all inputs once: checks every record and lists the instruments. Gives the number of records and a line on
/// each input too.
fn survey(inputs: &[PathBuf], watched: &mut Watched<'_>) -> Result<(Table, u64, Vec<String>), ImportError> {
    let mut table = Table::default();
    let mut records = 0;
    let mut sources = Vec::new();
    for path in inputs {
        let mut input = Input::open(path)?;
        while input.advance()? {
            table.note(input.record(), input.schema(), input.symbols(), input.path())?;
            if input.records().is_multiple_of(Watched::EVERY) {
                watched.tell(input.bytes_read());
            }
        }
        watched.done += input.bytes();
        watched.tell(0);
        records += input.records();
        sources.push(input.describe());
    }
    Ok((table, records, sources))
}

/// Reads all inputs again, merged, and writes what they say.
fn write(
    inputs: &[PathBuf],
    table: &symbols::Numbers,
    writer: &mut Writer,
    watched: &mut Watched<'_>,
) -> Result<(), ImportError> {
    let mut open = inputs.iter().map(|path| Input::open(path)).collect::<Result<Vec<_>, _>>()?;
    let mut order = BinaryHeap::new();
    for (number, input) in open.iter_mut().enumerate() {
        if input.advance()? {
            order.push(Reverse((input.record().ts_index, number)));
        }
    }
    let mut ends = EventEnds::default();
    let mut records = 0_u64;
    while let Some(Reverse((_, number))) = order.pop() {
        let input = &mut open[number];
        let instrument = table.number(input.record(), input.symbols());
        let ends_here = input.record().ends;
        for primary in input.primaries_mut() {
            primary.instrument = instrument;
        }
        ends.push(&input.record().primaries, ends_here);
        while let Some(primary) = ends.pop() {
            writer.push(&primary)?;
        }
        if input.advance()? {
            order.push(Reverse((input.record().ts_index, number)));
        }
        records += 1;
        if records.is_multiple_of(Watched::EVERY) {
            watched.tell(open.iter().map(Input::bytes_read).sum());
        }
    }
    ends.finish();
    while let Some(primary) = ends.pop() {
        writer.push(&primary)?;
    }
    watched.tell(open.iter().map(Input::bytes).sum());
    Ok(())
}

fn describe(sources: &[String]) -> String {
    let named = sources.iter().take(FILES_NAMED_MAX).cloned().collect::<Vec<_>>().join("; ");
    match sources.len().saturating_sub(FILES_NAMED_MAX) {
        0 => named,
        more => format!("{named}; and {more} more files"),
    }
}
