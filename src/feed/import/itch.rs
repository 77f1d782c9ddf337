//! Nasdaq TotalView-ITCH 5.0, as Nasdaq's daily files have it: each message behind its length, plain or packed.
//!
//! What becomes of a message: `docs/feed-format.md`, "Nasdaq ITCH messages". The first reading lists the stocks,
//! and ends with the directory of them; the second knows each resting order, since executions and cancels name nothing
//! else.

mod framing;
mod input;
mod message;

use std::path::{Path, PathBuf};

use time::Date;

use self::input::Input;
use super::passes::{self, Format};
use super::{ImportError, ImportOptions, Imported, Progress};

/// Reads the inputs and writes the feed file `out`, which must not exist. `date` is the day in New York; without one it
/// is taken from each file's name. `progress` hears now and then how far it is.
pub fn import(
    inputs: &[PathBuf],
    out: &Path,
    date: Option<Date>,
    options: ImportOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    let itch = Itch { date, several_days: inputs.len() > 1 };
    passes::import(&itch, inputs, out, options, progress)
}

struct Itch {
    date: Option<Date>,
    /// A day begins with empty books; that needs saying only where another came before.
    several_days: bool,
}

impl Format for Itch {
    type Recording = Input;

    fn open(&self, path: &Path) -> Result<Input, ImportError> {
        Input::open(path, self.date, self.several_days)
    }
}
