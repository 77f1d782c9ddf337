//! What can go wrong with an import as a whole.

use std::io;

use super::Damage;
use crate::feed::FeedError;
use crate::limits;

/// Why a recording cannot be taken in. No feed file is left then.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// No input, or too many.
    #[error("{0} input files given; 1 to {max} can be imported together", max = limits::IMPORT_FILES_MAX)]
    Files(usize),
    /// One file is named twice.
    #[error("{path} and {other} are one file; each input is taken in once")]
    Twice {
        /// The input.
        path: String,
        /// What it was called before.
        other: String,
    },
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
    /// A header line that lacks columns.
    #[error("{path}: the header lacks {lacking}, needed for {kind}")]
    Columns {
        /// The input.
        path: String,
        /// The kind of file that it comes nearest to.
        kind: &'static str,
        /// The columns that it lacks.
        lacking: String,
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
    /// The first damage, where none is tolerated.
    #[error("{0}; nothing was written")]
    Damaged(Damage),
    /// Not one record of an input could be taken.
    #[error("{problem}; no record of it could be taken, expected {expected}; nothing was written")]
    Nothing {
        /// What is wrong first, and in which input.
        problem: String,
        /// What the input should be.
        expected: &'static str,
    },
    /// Two inputs that both tell of one instrument's book, or of its trades, in different ways.
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
    /// The second reading found what the first did not.
    #[error("{path} changed while it was read; nothing was written: import it when it is complete")]
    Changed {
        /// The input.
        path: String,
    },
    /// The feed file could not be written.
    #[error(transparent)]
    Feed(#[from] FeedError),
}

/// Why a record, a line or a message could not be taken.
#[derive(Debug)]
pub(super) enum Fault {
    /// What is wrong with it; the others are taken.
    Damage(String),
    /// The input as a whole cannot be taken in.
    Import(ImportError),
}

impl From<String> for Fault {
    fn from(problem: String) -> Fault {
        Fault::Damage(problem)
    }
}

impl From<ImportError> for Fault {
    fn from(error: ImportError) -> Fault {
        Fault::Import(error)
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Fault {
        // A message is one line: what counts is its byte.
        let (text, column) = (error.to_string(), error.column());
        let text = text
            .replace("a borrowed string", "text in quotes")
            .replace("expected u64", "expected a whole number from 0 on")
            .replace("expected u32", "expected a whole number from 0 to 4294967295");
        let what = text.strip_suffix(&format!(" at line {} column {column}", error.line())).unwrap_or(&text);
        Fault::Damage(format!("not a message of the exchange: {what} at byte {column} of it"))
    }
}
