//! Feed files, taken out: as what a client would have been told (CSV, Parquet, JSON lines), or as Databento records.
//!
//! An export reads block by block and writes as it reads, so it needs no more memory for a long file than for a short
//! one, the books of its instruments apart. It overwrites nothing, and where it fails it leaves nothing.

mod csv;
#[cfg(feature = "dbn")]
pub mod dbn;
mod jsonl;
mod output;
#[cfg(feature = "parquet")]
mod parquet;
mod selection;
mod table;
mod told;

use std::io;
use std::ops::Range;
use std::path::Path;

use self::csv::Csv;
use self::jsonl::JsonLines;
use self::output::Created;
use self::selection::Chosen;
use self::told::{Sheet, tell};
use super::error::{Fault, FeedError};
use super::reader::Reader;
use super::time::rfc3339;
use crate::model::Channel;

pub use self::selection::{Selection, Stop};

/// As `out`: standard output.
pub const STANDARD_OUTPUT: &str = "-";

/// What an export did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Records of the feed file that were read.
    pub records: u64,
    /// Messages, or records of the other format, that were written.
    pub written: u64,
    /// Chosen records that the other format has no place for.
    pub left_out: u64,
    /// Losses that the feed file declares in what was read: what was exported behind one may not follow from what is
    /// before it.
    pub losses: usize,
    /// Where what could be read of a feed file that is not complete, or is damaged, ends; all before it was exported.
    pub fault: Option<Fault>,
}

impl Exported {
    /// Of an export that read these records, by their running numbers, up to the fault if there is one.
    fn of(reader: &Reader, read: Range<u64>, written: u64, left_out: u64, fault: Option<Fault>) -> Exported {
        let is_read = |record| read.start <= record && record <= read.end;
        let losses = reader.losses().iter().filter(|at| is_read(at.record)).count();
        Exported { records: read.end - read.start, written, left_out, losses, fault }
    }
}

/// Reads the next block; `false` behind the last, and where damage begins, which is put into `fault`.
fn next_whole_block(reader: &mut Reader, fault: &mut Option<Fault>) -> Result<bool, FeedError> {
    match reader.next_block() {
        Err(FeedError::Damaged { fault: found, .. }) => {
            *fault = Some(found);
            Ok(false)
        }
        other => Ok(other?.is_some()),
    }
}

/// Why a feed file cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The feed file cannot be read.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The output is there already.
    #[error("{path} exists; an export overwrites nothing: remove it, or name another place")]
    Exists {
        /// The file or folder.
        path: String,
    },
    /// It was [told to stop](Stop).
    #[error("the export was stopped, and what it had begun is removed")]
    Stopped,
    /// The operating system refused.
    #[error("cannot {action} {path}: {error}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file or folder.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// A pattern that means nothing in this file.
    #[error(
        "no instrument of {file} is {pattern:?}; `tickcast inspect` lists them; PREFIX* means all that start so"
    )]
    Symbol {
        /// The feed file.
        file: String,
        /// The pattern.
        pattern: String,
    },
    /// A channel that no chosen instrument has.
    #[error("no chosen instrument of {file} has channel {channel}; they have {has}")]
    Channel {
        /// The feed file.
        file: String,
        /// The channel.
        channel: Channel,
        /// What they have.
        has: String,
    },
    /// A range that nothing can be in.
    #[error(
        "the range starts at {} and ends at {}; it must end after it starts", rfc3339(*.start_ns), rfc3339(*.end_ns)
    )]
    Range {
        /// Its start, nanoseconds since the Unix epoch.
        start_ns: u64,
        /// Its end.
        end_ns: u64,
    },
    /// A range that the file has nothing in.
    #[error(
        "{file} has nothing from {start} to {end}; its records are from {} to {}", rfc3339(*.first_ns), rfc3339(*.last_ns)
    )]
    Outside {
        /// The feed file.
        file: String,
        /// Where the range starts.
        start: String,
        /// Where it ends.
        end: String,
        /// Time of the first record there is, nanoseconds since the Unix epoch.
        first_ns: u64,
        /// Time of the last.
        last_ns: u64,
    },
    /// Several tables, one stream.
    #[error(
        "standard output is one table, and {0} channels are chosen; choose one with --channels, or name a folder"
    )]
    Tables(usize),
    /// No channel, no table.
    #[error(
        "{path} would be empty: no chosen instrument has a channel; jsonl lists them, dbn has what was imported"
    )]
    NoTable {
        /// The output.
        path: String,
    },
    /// A name that asks for packing what is packed.
    #[error(
        "{path}: a Parquet file is packed inside, and unreadable where it is packed again, with {packing}; name it .parquet"
    )]
    Packed {
        /// The output.
        path: String,
        /// What its name asks for.
        packing: &'static str,
    },
    /// A name that asks for packing that is not done.
    #[error(
        "{path} cannot be packed with {packing}; allowed: names that end with .zst, for zstd, or ask for no packing"
    )]
    Packing {
        /// The output.
        path: String,
        /// What its name asks for.
        packing: &'static str,
    },
    /// A folder that is named as a packed file.
    #[error(
        "{path} would be a folder, since {count} channels are chosen, and a folder is not packed; choose one channel with --channels, or name it otherwise"
    )]
    PackedFolder {
        /// The output.
        path: String,
        /// Channels chosen.
        count: usize,
    },
    /// A library refused what it was to write.
    #[error("cannot write {path}: {problem}")]
    Encode {
        /// The output.
        path: String,
        /// What it said.
        problem: String,
    },
    /// What the other format cannot hold.
    #[error("{file}: instrument {symbol}: {problem}")]
    Unfit {
        /// The feed file.
        file: String,
        /// The instrument.
        symbol: String,
        /// What does not fit, and what would.
        problem: String,
    },
    /// What a DBN file cannot say of itself.
    #[error("{file}: the metadata of a DBN file of it cannot be written: {problem}")]
    Metadata {
        /// The feed file.
        file: String,
        /// Why.
        problem: String,
    },
    /// Instruments that no single file of the other format can hold.
    #[error(
        "{file} has instruments of the schemas {one} and {other}; a DBN file has one: choose with --symbols"
    )]
    Schemas {
        /// The feed file.
        file: String,
        /// One schema.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
}

impl ExportError {
    /// Whether the reader of the output went away: nobody is left to be told of it.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, ExportError::Io { error, .. } if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Writes what clients would have been told as CSV: one channel into the file `out` (or standard output), several into
/// the folder `out`, one file each. `progress` hears how many records of how many were read.
pub fn csv(
    file: &Path,
    selection: &Selection,
    out: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Exported, ExportError> {
    export(file, selection, progress, |_, chosen, created| Csv::create(out, chosen.channels(), created))
}

/// Writes what clients would have been told as JSON lines: the instruments, then one message a line, all channels in
/// the order in which they were told. The rest as [`csv`].
pub fn json_lines(
    file: &Path,
    selection: &Selection,
    out: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Exported, ExportError> {
    export(file, selection, progress, |_, chosen, created| JsonLines::create(out, chosen, created))
}

/// Writes what clients would have been told as Parquet: the tables of [`csv`], with types (`docs/export.md`).
#[cfg(feature = "parquet")]
pub fn parquet(
    file: &Path,
    selection: &Selection,
    out: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Exported, ExportError> {
    export(file, selection, progress, |reader, chosen, created| {
        parquet::Parquet::create(out, reader, chosen, created)
    })
}

fn export<S: Sheet>(
    file: &Path,
    selection: &Selection,
    progress: &mut dyn FnMut(u64, u64),
    sheet: impl FnOnce(&Reader, &Chosen, &mut Created) -> Result<S, ExportError>,
) -> Result<Exported, ExportError> {
    let mut reader = Reader::open(file)?;
    let chosen = selection.choose(&mut reader)?;
    let mut created = Created::default();
    let mut sheet = sheet(&reader, &chosen, &mut created)?;
    let exported = tell(&mut reader, &chosen, &mut sheet, progress)?;
    sheet.finish()?;
    created.keep();
    Ok(exported)
}
