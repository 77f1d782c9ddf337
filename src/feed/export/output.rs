//! Where an export goes: a file that was not there before, or standard output.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{ExportError, STANDARD_OUTPUT};

/// Bytes collected before they are handed to the system.
const BUFFER_BYTES: usize = 256 * 1_024;
/// zstd's level for files that are packed.
pub(super) const ZSTD_LEVEL: i32 = 3;

/// Ends of names that ask for packing, and what they ask for; the first is what can be done.
const PACKINGS: [(&str, &str); 7] = [
    ("zst", "zstd"),
    ("gz", "gzip"),
    ("bz2", "bzip2"),
    ("xz", "xz"),
    ("zip", "zip"),
    ("lz4", "lz4"),
    ("br", "brotli"),
];

/// What the file's name asks it to be packed with.
pub(super) fn packing(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?;
    PACKINGS.iter().find(|(end, _)| extension.eq_ignore_ascii_case(end)).map(|(_, packing)| *packing)
}

/// What an export creates. Half an export looks like a whole one, so what is not [kept](Created::keep) is removed.
#[derive(Default)]
pub(super) struct Created {
    files: Vec<PathBuf>,
    folder: Option<PathBuf>,
}

impl Created {
    /// Creates the folder, which must not exist.
    pub fn folder(&mut self, path: &Path) -> Result<(), ExportError> {
        fs::create_dir(path).map_err(|error| refused("create", path, error))?;
        self.folder = Some(path.to_owned());
        Ok(())
    }

    /// Creates the file, which must not exist.
    fn file(&mut self, path: &Path) -> Result<File, ExportError> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let file = file.map_err(|error| refused("create", path, error))?;
        self.files.push(path.to_owned());
        Ok(file)
    }

    /// The export went through.
    pub fn keep(mut self) {
        self.files.clear();
        self.folder = None;
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        // What cannot be removed stays: the user is told why the export failed.
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir(folder);
        }
    }
}

type Stream = BufWriter<Box<dyn Write + Send>>;

/// A file or a stream being written, packed where its name ends with `.zst`; errors name it.
pub(super) struct Output {
    name: String,
    writer: Packing,
}

enum Packing {
    Plain(Stream),
    Zstd(zstd::stream::write::Encoder<'static, Stream>),
}

impl Output {
    /// Creates the file, which must not exist; `-` is standard output.
    pub fn create(path: &Path, created: &mut Created) -> Result<Output, ExportError> {
        let packing = packing(path);
        if let Some(packing) = packing.filter(|packing| *packing != PACKINGS[0].1) {
            return Err(ExportError::Packing { path: path.display().to_string(), packing });
        }
        let (stream, name): (Box<dyn Write + Send>, _) = if path.as_os_str() == STANDARD_OUTPUT {
            (Box::new(io::stdout()), "standard output".to_owned())
        } else {
            (Box::new(created.file(path)?), path.display().to_string())
        };
        let stream = BufWriter::with_capacity(BUFFER_BYTES, stream);
        let writer = if packing.is_some() {
            let encoder = zstd::stream::write::Encoder::new(stream, ZSTD_LEVEL);
            Packing::Zstd(encoder.map_err(|error| refused("start compressing", path, error))?)
        } else {
            Packing::Plain(stream)
        };
        Ok(Output { name, writer })
    }

    /// What errors call it.
    pub fn name(&self) -> &str {
        &self.name
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
        ExportError::Io { action: "write", path: self.name().to_owned(), error }
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
fn refused(action: &'static str, path: &Path, error: io::Error) -> ExportError {
    let path = path.display().to_string();
    match error.kind() {
        io::ErrorKind::AlreadyExists => ExportError::Exists { path },
        _ => ExportError::Io { action, path, error },
    }
}
