//! Databento recordings (DBN versions 1 to 3, plain or packed; of one schema or of several).
//!
//! What becomes of a record (`docs/feed-format.md`, "Databento records" has the table):
//!
//! * prices keep the source's exponent -9, quantities are whole; tick and lot size are those of a definition, or 0;
//! * an instrument is a publisher's instrument number under its symbol; its channels are what the schemas can tell;
//! * `mbo`: one primary a record. `trades`: one trade a record. `mbp-1`, `mbp-10`, `tbbo`: the trade, or a note of what
//!   else happened, then a `Top` for each level and side. `bbo-1s`, `bbo-1m`: a note and the two `Top`s;
//! * `status`: a status, or a note where it does not say whether the instrument trades. `definition`, `statistics`,
//!   `imbalance`: notes that carry the record's bytes;
//! * every field is kept: [`crate::feed::export::dbn`] makes each record again, byte for byte;
//! * several files are merged by receive time, the earlier named first where times are equal.

mod carried;
mod input;
mod record;
mod symbols;

use std::path::{Path, PathBuf};

use self::input::Input;
use super::passes::{self, Format};
use super::{ImportError, ImportOptions, Imported, Progress};

/// Reads the inputs and writes the feed file `out`, which must not exist. `progress` hears now and then how far it is.
pub fn import(
    inputs: &[PathBuf],
    out: &Path,
    options: ImportOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    passes::import(&Dbn, inputs, out, options, progress)
}

struct Dbn;

impl Format for Dbn {
    type Recording = Input;

    fn open(&self, path: &Path) -> Result<Input, ImportError> {
        Input::open(path)
    }
}
