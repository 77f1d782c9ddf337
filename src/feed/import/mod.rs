//! Foreign recordings, taken into feed files.
//!
//! An importer reads its input twice: first to learn the instruments and to check every record, then to write. So
//! nothing is written of an input that is not whole and understood, and a feed file never needs a second table.

#[cfg(feature = "dbn")]
pub mod dbn;
#[cfg_attr(not(feature = "dbn"), allow(dead_code, reason = "every importer is a feature"))]
mod event_ends;

use std::io;

use super::error::FeedError;
use super::writer::Written;
use crate::limits;

/// What an import did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Records in the input.
    pub source_records: u64,
    /// Instruments.
    pub instruments: usize,
    /// What was written; a source's record is one feed record or, where it restates levels, several.
    pub written: Written,
}

/// How far an import is, in bytes of input; each input is read twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read.
    pub done: u64,
    /// Bytes to be read in all.
    pub total: u64,
}

/// Why a recording cannot be taken in. Nothing was written then, but for [`ImportError::Feed`].
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// No input, or too many.
    #[error("{0} input files given; 1 to {max} can be imported together", max = limits::IMPORT_FILES_MAX)]
    Files(usize),
    /// The feed file is there already.
    #[error("{path} exists; an import overwrites nothing: remove it, or name another file")]
    Exists {
        /// The feed file.
        path: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}: {error}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The input.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// A file of no bytes.
    #[error("{path} is empty; expected {expected}")]
    Empty {
        /// The input.
        path: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Another kind of file.
    #[error("{path} starts with {found}; expected {expected}")]
    Foreign {
        /// The input.
        path: String,
        /// Its first bytes, printable.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A feature of the format that is not understood.
    #[error("{path}: {thing} is {found}; allowed: {allowed}")]
    Unsupported {
        /// The input.
        path: String,
        /// What it is about.
        thing: &'static str,
        /// What the input has.
        found: String,
        /// What can be imported.
        allowed: &'static str,
    },
    /// It ends in the middle.
    #[error("{path} is truncated: after {records} whole records, {detail}; nothing was written")]
    Truncated {
        /// The input.
        path: String,
        /// Whole records before the end.
        records: u64,
        /// How it ends.
        detail: String,
    },
    /// Bytes that are no record.
    #[error("{path}: record {record} (from 0): {problem}; nothing was written")]
    Record {
        /// The input.
        path: String,
        /// The record's number in that input, from 0.
        record: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// One instrument in two shapes.
    #[error(
        "symbol {symbol:?} comes as {one} and as {other}; import one schema of an instrument into a feed file"
    )]
    Schemas {
        /// The instrument.
        symbol: String,
        /// One schema.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// The feed file could not be written; what is there of it has no index.
    #[error(transparent)]
    Feed(#[from] FeedError),
}
