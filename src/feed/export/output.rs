//! Where an export goes: a file that was not there before, or standard output.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::{ExportError, STANDARD_OUTPUT};

/// Bytes collected before they are handed to the system.
const BUFFER_BYTES: usize = 256 * 1_024;

/// A file or a stream being written; errors name it.
pub(super) struct Output {
    path: String,
    writer: BufWriter<Box<dyn Write>>,
}

impl Output {
    /// Creates the file, which must not exist; `-` is standard output.
    pub fn create(path: &Path) -> Result<Output, ExportError> {
        let writer: Box<dyn Write> = if path.as_os_str() == STANDARD_OUTPUT {
            Box::new(io::stdout())
        } else {
            Box::new(create_file(path)?)
        };
        Ok(Output {
            path: path.display().to_string(),
            writer: BufWriter::with_capacity(BUFFER_BYTES, writer),
        })
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.writer.write_all(bytes).map_err(|error| self.failed(error))
    }

    /// Hands everything to the system.
    pub fn finish(&mut self) -> Result<(), ExportError> {
        self.writer.flush().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> ExportError {
        ExportError::Io { action: "write", path: self.path.clone(), error }
    }
}

/// Creates a file that must not exist.
pub(super) fn create_file(path: &Path) -> Result<File, ExportError> {
    let options = OpenOptions::new().write(true).create_new(true).open(path);
    options.map_err(|error| refused("create", path, error))
}

/// What to say where the system refused to create something.
pub(super) fn refused(action: &'static str, path: &Path, error: io::Error) -> ExportError {
    let path = path.display().to_string();
    match error.kind() {
        io::ErrorKind::AlreadyExists => ExportError::Exists { path },
        _ => ExportError::Io { action, path, error },
    }
}
