//! CSV files of Tardis.dev: incremental_book_L2, trades, quotes and book_snapshot_N, told apart by their headers.
//!
//! What becomes of a row: `docs/feed-format.md`, "Tardis rows". Rows of one symbol with one `local_timestamp` came in
//! one message and are one exchange event.

mod header;
mod input;
mod row;

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
    passes::import(&Tardis, inputs, out, options, progress)
}

struct Tardis;

impl Format for Tardis {
    type Recording = Input;

    fn open(&self, path: &Path) -> Result<Input, ImportError> {
        Input::open(path)
    }
}
