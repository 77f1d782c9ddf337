//! Foreign recordings, taken into feed files.
//!
//! An importer reads its input twice: first to learn the instruments and how many decimals they need, then to write. So
//! a feed file never needs a second table, and memory stays bounded whatever the input's length. What is damaged is
//! left out, located and counted; [`ImportOptions::strict`] makes it an error, and then nothing is written.
//!
//! A new format implements `passes::Format` and `passes::Recording`; reading the disk, unpacking, decimals, merging,
//! ends of events and reports are here already.

pub mod capture;
#[cfg(feature = "dbn")]
pub mod dbn;
mod decimal;
mod eastern;
mod error;
#[cfg_attr(not(feature = "dbn"), allow(dead_code, reason = "only Databento leaves open where events end"))]
mod event_ends;
mod findings;
pub mod itch;
mod lines;
mod listing;
pub mod lobster;
mod orders;
mod passes;
mod same;
mod stored;
pub mod tardis;

pub use error::ImportError;
pub use findings::{Damage, Findings, Place};

use super::writer::Written;

/// How an import goes about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// The first damage is an error, and nothing is written. Else the good records are taken in and the damage is
    /// reported.
    pub strict: bool,
}

/// What an import did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Imported {
    /// Records of the inputs that were taken in.
    pub source_records: u64,
    /// Instruments.
    pub instruments: usize,
    /// What was written; a source's record is one feed record or, where it restates levels, several.
    pub written: Written,
    /// What could not be taken in, and what else there is to know.
    pub findings: Findings,
}

/// How far an import is, in bytes of input; each input is read twice, but for those that tell at their start what there
/// is to learn of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read.
    pub done: u64,
    /// Bytes to be read in all, as far as is known: it may shrink.
    pub total: u64,
}
