//! JSON lines: the messages of `docs/protocol.md`, one a line.

use std::path::Path;

use super::ExportError;
use super::output::{Created, Output};
use super::selection::Chosen;
use super::told::Sheet;
use crate::model::{Instrument, Status};
use crate::wire::control::{Listed, Page};
use crate::wire::json;
use crate::wire::message::{Content, Meta};

/// The epoch that the list of instruments names: a file has but one.
const EPOCH: u64 = 1;

/// The message `instruments` of the chosen instruments.
pub(super) fn instruments(chosen: &Chosen) -> Vec<u8> {
    let mut message = Vec::new();
    let mut page = Page::instruments_http(&mut message, EPOCH);
    for (number, instrument) in chosen.instruments() {
        page.push(&Listed { number, instrument, status: Status::default() });
    }
    page.finish(false);
    message
}

pub(super) struct JsonLines {
    out: Output,
    line: Vec<u8>,
}

impl JsonLines {
    /// Creates the file and lists the chosen instruments in its first line.
    pub fn create(path: &Path, chosen: &Chosen, created: &mut Created) -> Result<JsonLines, ExportError> {
        let mut lines = JsonLines { out: Output::create(path, created)?, line: instruments(chosen) };
        lines.end_line()?;
        Ok(lines)
    }

    fn end_line(&mut self) -> Result<(), ExportError> {
        self.line.push(b'\n');
        self.out.append(&self.line)?;
        self.line.clear();
        Ok(())
    }
}

impl Sheet for JsonLines {
    fn write(
        &mut self,
        instrument: &Instrument,
        meta: &Meta,
        content: &Content<'_>,
    ) -> Result<(), ExportError> {
        json::encode(&mut self.line, instrument, meta, content);
        self.end_line()
    }

    fn finish(&mut self) -> Result<(), ExportError> {
        self.out.finish()
    }
}
