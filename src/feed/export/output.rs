//! Where an export goes: a file that was not there before, or standard output.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::{ExportError, STANDARD_OUTPUT};

/// Bytes collected before they are handed to the system.
const BUFFER_BYTES: usize = 256 * 1_024;
/// zstd's level for files that are packed.
pub(super) const ZSTD_LEVEL: i32 = 3;

type Stream = BufWriter<Box<dyn Write + Send>>;

/// A file or a stream being written, packed where its name ends with `.zst`; errors name it.
pub(super) struct Output {
    path: String,
    writer: Packing,
}

enum Packing {
    Plain(Stream),
    Zstd(zstd::stream::write::Encoder<'static, Stream>),
}

impl Output {
    /// Creates the file, which must not exist; `-` is standard output.
    pub fn create(path: &Path) -> Result<Output, ExportError> {
        let stream: Box<dyn Write + Send> = if path.as_os_str() == STANDARD_OUTPUT {
            Box::new(io::stdout())
        } else {
            let file = OpenOptions::new().write(true).create_new(true).open(path);
            Box::new(file.map_err(|error| refused("create", path, error))?)
        };
        let stream = BufWriter::with_capacity(BUFFER_BYTES, stream);
        let writer = if path.extension().is_some_and(|extension| extension == "zst") {
            let encoder = zstd::stream::write::Encoder::new(stream, ZSTD_LEVEL);
            Packing::Zstd(encoder.map_err(|error| refused("start compressing", path, error))?)
        } else {
            Packing::Plain(stream)
        };
        Ok(Output { path: path.display().to_string(), writer })
    }

    /// Appends bytes.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.write_all(bytes).map_err(|error| self.failed(error))
    }

    /// Nothing follows: hands everything to the system.
    pub fn finish(&mut self) -> Result<(), ExportError> {
        let finished = match &mut self.writer {
            Packing::Plain(stream) => stream.flush(),
            Packing::Zstd(encoder) => encoder.do_finish().and_then(|()| encoder.get_mut().flush()),
        };
        finished.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> ExportError {
        ExportError::Io { action: "write", path: self.path.clone(), error }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.writer {
            Packing::Plain(stream) => stream.write(bytes),
            Packing::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.writer {
            Packing::Plain(stream) => stream.flush(),
            Packing::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// What to say where the system refused to create something.
pub(super) fn refused(action: &'static str, path: &Path, error: io::Error) -> ExportError {
    let path = path.display().to_string();
    match error.kind() {
        io::ErrorKind::AlreadyExists => ExportError::Exists { path },
        _ => ExportError::Io { action, path, error },
    }
}
