//! LOBSTER: a message file and, beside it, the order book file of the same name.
//!
//! Where the order book is there, each row's difference from the one before is what happened to the levels; it is held
//! against what the message says. Where it is not, the messages are orders, and those from before the file are
//! unknown. `docs/feed-format.md`, "LOBSTER messages", has the tables.

mod book;
mod input;
mod message;

use std::path::{Path, PathBuf};

use time::Date;

use self::input::Input;
use super::passes::{self, Format};
use super::{ImportError, ImportOptions, Imported, Progress};

/// What tells a message file from an order book file in their names.
const MESSAGES: &str = "_message";
const BOOKS: &str = "_orderbook";

/// What LOBSTER's files say only in their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// The stock; else what stands before the first `_` of the name.
    pub symbol: Option<String>,
    /// The day in New York; else the one in the name.
    pub date: Option<Date>,
}

/// Reads the message files among the inputs, with the order book file of each where it is an input too or lies beside
/// it, and writes the feed file `out`, which must not exist. `progress` hears now and then how far it is.
pub fn import(
    inputs: &[PathBuf],
    out: &Path,
    given: Given,
    options: ImportOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    let (books, messages): (Vec<PathBuf>, Vec<PathBuf>) =
        inputs.iter().cloned().partition(|path| name_of(path).contains(BOOKS));
    let wanted: Vec<String> = messages.iter().filter_map(|path| book_name(path)).collect();
    if let Some(alone) = books.iter().find(|path| !wanted.contains(&name_of(path))) {
        return Err(ImportError::Unsupported {
            path: alone.display().to_string(),
            thing: "the input",
            found: "an order book file without its message file".into(),
            allowed: "message files, whose order books are found beside them",
        });
    }
    let several_days = messages.len() > 1;
    passes::import(&Lobster { given, books, several_days }, &messages, out, options, progress)
}

struct Lobster {
    given: Given,
    /// Order book files that were named.
    books: Vec<PathBuf>,
    /// A day begins with an empty book; that needs saying only where another came before.
    several_days: bool,
}

impl Format for Lobster {
    type Recording = Input;

    fn open(&self, path: &Path) -> Result<Input, ImportError> {
        let named = book_name(path).and_then(|name| {
            let given = self.books.iter().find(|book| name_of(book) == name).cloned();
            given.or_else(|| Some(path.with_file_name(name)).filter(|book| book.exists()))
        });
        Input::open(path, named.as_deref(), &self.given, self.several_days)
    }
}

/// What the order book file of a message file is called.
fn book_name(path: &Path) -> Option<String> {
    let name = name_of(path);
    name.contains(MESSAGES).then(|| name.replacen(MESSAGES, BOOKS, 1))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
