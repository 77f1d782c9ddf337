//! The command line: one file a verb.

pub mod import;
pub mod inspect;
mod progress;
