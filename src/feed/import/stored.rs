//! A recording as it lies on the disk: plain, or packed with gzip or zstd, which its first bytes tell.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

use super::ImportError;

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// What follows the first byte of a frame to be skipped, 0x50 to 0x5f, which may come before others (RFC 8878, 3.1.2).
const ZSTD_SKIPPED: [u8; 3] = [0x2a, 0x4d, 0x18];
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// What files start with that are packed in ways that are not unpacked here.
const OTHER_PACKINGS: [(&[u8], &str); 6] = [
    (b"PK\x03\x04", "zip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x1f\x9d", "compress"),
];

/// Bytes that are read from the disk at a time.
const READ_BYTES: usize = 256 * 1_024;

/// An input: what it is called, and how far it was read.
pub(super) struct Source {
    /// The whole path, for messages.
    pub path: String,
    /// Its last part.
    pub name: String,
    /// What an error says it should be.
    pub expected: &'static str,
    /// Records of it that were taken so far.
    pub records: u64,
    /// Bytes of the file, as stored.
    pub bytes: u64,
    bytes_read: Rc<Cell<u64>>,
}

impl Source {
    /// How many of its bytes were read, as stored.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.get()
    }
}

/// A file that was opened.
pub(super) struct Stored {
    pub source: Source,
    /// What is in it, unpacked. An error means that it cannot be unpacked further.
    pub plain: Box<dyn Read>,
}

impl Stored {
    /// Opens a file; `expected` is what an error says it should be.
    pub fn open(path: &Path, expected: &'static str) -> Result<Stored, ImportError> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let path = path.display().to_string();
        let fault = |action| {
            let path = path.clone();
            move |error| ImportError::Io { action, path, error }
        };
        let file = File::open(&path).map_err(fault("open"))?;
        let metadata = file.metadata().map_err(fault("read"))?;
        if metadata.is_dir() {
            return Err(fault("read")(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let unsupported = |thing, found: &str, allowed| ImportError::Unsupported {
            path: path.clone(),
            thing,
            found: found.into(),
            allowed,
        };
        if !metadata.is_file() {
            return Err(unsupported(
                "the input",
                "a pipe or a device",
                "files, since each is opened more than once",
            ));
        }
        let bytes_read = Rc::new(Cell::new(0));
        let counted = Counted { inner: file, count: Rc::clone(&bytes_read) };
        let mut stored = BufReader::with_capacity(READ_BYTES, counted);
        let start = stored.fill_buf().map_err(fault("read"))?;
        if start.is_empty() {
            return Err(ImportError::Empty { path, expected });
        }
        if let Some((_, packing)) = OTHER_PACKINGS.iter().find(|(magic, _)| start.starts_with(magic)) {
            return Err(unsupported("the packing", packing, "none, gzip and zstd"));
        }
        let is_skipped = start[0] & 0xf0 == 0x50 && start[1..].starts_with(&ZSTD_SKIPPED);
        let plain: Box<dyn Read> = if is_skipped || start.starts_with(&ZSTD_MAGIC) {
            Box::new(zstd::stream::read::Decoder::with_buffer(stored).map_err(fault("read"))?)
        } else if start.starts_with(&GZIP_MAGIC) {
            Box::new(MultiGzDecoder::new(stored))
        } else {
            Box::new(stored)
        };
        let source = Source { path, name, expected, records: 0, bytes: metadata.len(), bytes_read };
        Ok(Stored { source, plain })
    }
}

/// Counts the bytes that pass.
pub(super) struct Counted<R> {
    /// Where they come from.
    pub inner: R,
    /// How many there were.
    pub count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.inner.read(buffer)?;
        self.count.set(self.count.get() + bytes as u64);
        Ok(bytes)
    }
}
