//! What can be wrong with a feed file.

use std::fmt;
use std::io;

use super::format::{FILE_HEADER_BYTES, MAJOR};
use crate::limits;
use crate::model::CatalogError;

/// A place in a file where the bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Byte offset, from the file's start, of the part that is wrong.
    pub offset: u64,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl Fault {
    /// A fault at that byte.
    pub fn new(offset: u64, expected: impl Into<String>, found: impl Into<String>) -> Fault {
        Fault { offset, expected: expected.into(), found: found.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: expected {}, found {}", self.offset, self.expected, self.found)
    }
}

/// Why a feed file cannot be read, written or replayed.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The operating system refused.
    #[error("cannot {action} {path}: {error}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// A file of no bytes.
    #[error("{path} is empty; a feed file starts with the 8 bytes \"TICKFEED\"")]
    Empty {
        /// The file.
        path: String,
    },
    /// Another kind of file.
    #[error(
        "{path} is not a feed file: it starts with {found}, a feed file with \"TICKFEED\" (recordings in other formats are taken in with `tickcast import`)"
    )]
    Foreign {
        /// The file.
        path: String,
        /// Its first bytes, printable.
        found: String,
    },
    /// A layout that this program does not know.
    #[error("{path} has feed format version {found}; this program reads version {MAJOR}")]
    Version {
        /// The file.
        path: String,
        /// The major version in its header.
        found: u16,
    },
    /// Bytes that are not what they should be.
    #[error("{path} is damaged {fault}")]
    Damaged {
        /// The file.
        path: String,
        /// Where, and what was expected.
        fault: Fault,
    },
    /// An instrument table that is no catalog.
    #[error("{path}: instrument table: {error}")]
    Catalog {
        /// The file, or the files.
        path: String,
        /// What is wrong with it.
        error: CatalogError,
    },
    /// One symbol, two definitions.
    #[error(
        "symbol {symbol:?} in {path} has {field} {found}, but {other} in an earlier file; files replayed together must define a symbol alike"
    )]
    Definition {
        /// The later file.
        path: String,
        /// The symbol.
        symbol: String,
        /// What differs.
        field: &'static str,
        /// Its value in the later file.
        found: String,
        /// Its value in the earlier one.
        other: String,
    },
    /// A number that does not fit with the decimals that another file has.
    #[error(
        "{path}: record {record}: price {price} or quantity {quantity} does not fit in 64 bits with the decimals that the instrument has in another file; replay the files by themselves"
    )]
    Decimals {
        /// The file.
        path: String,
        /// The record's number, from 0.
        record: u64,
        /// Its price as an integer, as the file has it.
        price: i64,
        /// Its quantity, the same.
        quantity: i64,
    },
    /// A record about an instrument that is not in the table.
    #[error(
        "{path}: record {record} is about instrument {instrument}; the table has {instruments}, numbered from 0"
    )]
    Instrument {
        /// The file.
        path: String,
        /// The record's number, from 0.
        record: u64,
        /// What it says.
        instrument: u32,
        /// How many instruments there are.
        instruments: usize,
    },
    /// More than a bound.
    #[error("{path}: {thing}: {found}; at most {allowed} are allowed")]
    TooMany {
        /// The file.
        path: String,
        /// What there is too much of.
        thing: &'static str,
        /// How much there is.
        found: u64,
        /// The bound.
        allowed: u64,
    },
    /// No file, or too many.
    #[error("{0} feed files given; 1 to {max} can be replayed together", max = limits::REPLAY_FILES_MAX)]
    Files(usize),
    /// Nothing would be played.
    #[error(
        "from {from} to {to} there is nothing to replay; the records are from {first} to {last}, and `from` may not be later than `to`"
    )]
    Span {
        /// Where it should begin.
        from: String,
        /// Where it should end.
        to: String,
        /// Time of the first record there is.
        first: String,
        /// Time of the last.
        last: String,
    },
    /// Appending to a file that has no end.
    #[error(
        "{path} was not finished, or is damaged; `tickcast repair` makes it whole, then it can be appended to"
    )]
    Unfinished {
        /// The file.
        path: String,
    },
    /// A file was repaired before, and what was damaged then is kept.
    #[error(
        "{kept_as} is what {path} was before an earlier repair; move it away, or write the whole file elsewhere with --out"
    )]
    KeptBefore {
        /// The file, damaged again.
        path: String,
        /// What is kept.
        kept_as: String,
    },
    /// A file stands where one is to be written.
    #[error("{path} exists, and nothing is overwritten: move it away, or name another file")]
    Exists {
        /// The file.
        path: String,
    },
    /// Writing after a failure: what follows a torn block would never be read.
    #[error("{path}: an earlier write failed, and what it left of a block cannot be taken back")]
    Torn {
        /// The file.
        path: String,
    },
}

impl FeedError {
    /// What is wrong with the bytes at a file's start, as a place in the file.
    pub(super) fn into_fault(self) -> Fault {
        match self {
            FeedError::Damaged { fault, .. } => fault,
            FeedError::Empty { .. } => Fault::new(0, "a feed file", "no bytes"),
            FeedError::Foreign { found, .. } => Fault::new(0, "the 8 bytes \"TICKFEED\"", found),
            FeedError::Version { found, .. } => {
                Fault::new(12, format!("feed format version {MAJOR}"), found.to_string())
            }
            FeedError::Catalog { error, .. } => {
                Fault::new(FILE_HEADER_BYTES as u64, "a table of instruments", error.to_string())
            }
            other => Fault::new(0, "a feed file", other.to_string()),
        }
    }
}
