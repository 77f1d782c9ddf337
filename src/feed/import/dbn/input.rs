//! One DBN file being read: opened with care, record by record, to an end that is checked.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::rc::Rc;

use ::dbn::decode::{DbnDecoder, DbnMetadata, DecodeRecordRef};
use ::dbn::{Metadata, VersionUpgradePolicy};

use super::record::{Record, Schema};
use super::symbols::Symbols;
use crate::feed::format::printable;
use crate::feed::import::ImportError;
use crate::limits;
use crate::model::Primary;

/// "DBN", the version, and the length of the metadata.
const PRELUDE_BYTES: usize = 8;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const EXPECTED: &str = "a DBN file (\"DBN\" and its version), plain or compressed with zstd";
const VERSIONS: &str = "1, 2 and 3";
const SCHEMAS: &str = "mbo, mbp-1, mbp-10 and trades";

/// A DBN file being read.
pub(super) struct Input {
    path: String,
    /// The last part of the path.
    name: String,
    decoder: DbnDecoder<Counted<Box<dyn Read>>>,
    schema: Schema,
    symbols: Symbols,
    /// Whole records taken.
    records: u64,
    /// Bytes that prelude, metadata and those records have, unpacked.
    used: u64,
    /// Bytes of the file as stored, and how many of them were read.
    bytes: u64,
    bytes_read: Rc<Cell<u64>>,
    record: Record,
}

impl Input {
    /// Opens the file, reads its metadata and refuses what cannot be imported.
    pub fn open(path: &Path) -> Result<Input, ImportError> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let path = path.display().to_string();
        let io = |error| ImportError::Io { action: "read", path: path.clone(), error };
        let file = File::open(&path).map_err(|error| ImportError::Io {
            action: "open",
            path: path.clone(),
            error,
        })?;
        let metadata = file.metadata().map_err(io)?;
        if metadata.is_dir() {
            return Err(io(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let bytes_read = Rc::new(Cell::new(0));
        let mut stored = BufReader::new(Counted { inner: file, count: Rc::clone(&bytes_read) });
        let start = stored.fill_buf().map_err(io)?;
        if start.is_empty() {
            return Err(ImportError::Empty { path, expected: EXPECTED });
        }
        let is_zstd = start.starts_with(&ZSTD_MAGIC);
        let mut plain: Box<dyn Read> = if is_zstd {
            Box::new(zstd::stream::read::Decoder::with_buffer(stored).map_err(io)?)
        } else {
            Box::new(stored)
        };
        let prelude = read_prelude(&mut plain, &path)?;
        let metadata_bytes = u64::from(u32::from_le_bytes([prelude[4], prelude[5], prelude[6], prelude[7]]));
        let used = PRELUDE_BYTES as u64 + metadata_bytes;
        let counted = Counted {
            inner: Box::new(Cursor::new(prelude).chain(plain)) as Box<dyn Read>,
            count: Rc::new(Cell::new(0)),
        };
        let decoder = DbnDecoder::with_upgrade_policy(counted, VersionUpgradePolicy::AsIs)
            .map_err(|error| metadata_error(error, &path))?;
        let schema = importable(decoder.metadata(), &path)?;
        let symbols = Symbols::new(decoder.metadata());
        Ok(Input {
            path,
            name,
            decoder,
            schema,
            symbols,
            records: 0,
            used,
            bytes: metadata.len(),
            bytes_read,
            record: Record::default(),
        })
    }

    /// Takes the next record in hand; false at the end of a file that ends where a record does.
    pub fn advance(&mut self) -> Result<bool, ImportError> {
        let fault = |problem| ImportError::Record { path: self.path.clone(), record: self.records, problem };
        match self.decoder.decode_record_ref() {
            Ok(Some(record)) => {
                self.used += record.header().record_size() as u64;
                self.record.read(record, self.schema).map_err(fault)?;
                self.records += 1;
                Ok(true)
            }
            Ok(None) => self.check_end().map(|()| false),
            Err(::dbn::Error::Io { source, .. }) => Err(ImportError::Truncated {
                path: self.path.clone(),
                records: self.records,
                detail: format!("the compressed data cannot be unpacked further ({source})"),
            }),
            Err(error) => Err(fault(error.to_string())),
        }
    }

    /// The decoder ends in silence where bytes of a record are missing; here they are missed.
    fn check_end(&self) -> Result<(), ImportError> {
        match self.decoder.get_ref().count.get().saturating_sub(self.used) {
            0 => Ok(()),
            left => Err(ImportError::Truncated {
                path: self.path.clone(),
                records: self.records,
                detail: format!("the file ends {left} bytes into the next"),
            }),
        }
    }

    /// The record in hand.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// What the record in hand became.
    pub fn primaries_mut(&mut self) -> &mut [Primary] {
        &mut self.record.primaries
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn schema(&self) -> Schema {
        self.schema
    }

    pub fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// Records taken so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the file read so far.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.get()
    }

    /// A line for the feed file's description.
    pub fn describe(&self) -> String {
        let metadata = self.decoder.metadata();
        format!(
            "{}: dbn version {}, {} {}, {} records",
            self.name,
            metadata.version,
            metadata.dataset,
            self.schema.name(),
            self.records
        )
    }
}

/// Reads the prelude and refuses what is no DBN, of another version, or of a length beyond the bound: the decoder would
/// reserve that length at once.
fn read_prelude(plain: &mut impl Read, path: &str) -> Result<[u8; PRELUDE_BYTES], ImportError> {
    let truncated = |detail: String| ImportError::Truncated { path: path.to_owned(), records: 0, detail };
    let mut prelude = [0; PRELUDE_BYTES];
    let mut filled = 0;
    while filled < PRELUDE_BYTES {
        match plain.read(&mut prelude[filled..]) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(truncated(format!("it cannot be unpacked ({error})"))),
        }
    }
    let magic = filled.min(3);
    if prelude[..magic] != b"DBN"[..magic] {
        let found = printable(&prelude[..filled.min(4)]);
        return Err(ImportError::Foreign { path: path.to_owned(), found, expected: EXPECTED });
    }
    let unsupported = |thing, found: String, allowed| ImportError::Unsupported {
        path: path.to_owned(),
        thing,
        found,
        allowed,
    };
    if filled > 3 && !(1..=3).contains(&prelude[3]) {
        return Err(unsupported("the DBN version", prelude[3].to_string(), VERSIONS));
    }
    if filled < PRELUDE_BYTES {
        return Err(truncated("it ends before the metadata".into()));
    }
    let metadata = u32::from_le_bytes([prelude[4], prelude[5], prelude[6], prelude[7]]);
    if metadata as usize > limits::IMPORT_METADATA_BYTES_MAX {
        return Err(unsupported(
            "the length of the metadata",
            metadata.to_string(),
            "at most 268435456 bytes",
        ));
    }
    Ok(prelude)
}

const _: () = assert!(limits::IMPORT_METADATA_BYTES_MAX == 268_435_456);

fn metadata_error(error: ::dbn::Error, path: &str) -> ImportError {
    match error {
        ::dbn::Error::Io { source, .. } => ImportError::Truncated {
            path: path.to_owned(),
            records: 0,
            detail: format!("it ends in the metadata ({source})"),
        },
        other => ImportError::Unsupported {
            path: path.to_owned(),
            thing: "the metadata",
            found: format!("not readable ({other})"),
            allowed: "metadata of DBN versions 1 to 3",
        },
    }
}

/// The schema, if it can be imported.
fn importable(metadata: &Metadata, path: &str) -> Result<Schema, ImportError> {
    let unsupported =
        |thing, found, allowed| ImportError::Unsupported { path: path.to_owned(), thing, found, allowed };
    if metadata.ts_out {
        let found = "a live capture with sending times".into();
        return Err(unsupported("the recording", found, "recordings without them (ts_out false)"));
    }
    metadata.schema.and_then(Schema::of).ok_or_else(|| {
        let found = metadata.schema.map_or("mixed".into(), |schema| schema.to_string());
        unsupported("the schema", found, SCHEMAS)
    })
}

/// Counts the bytes that pass. An end that comes too early for the decompressor becomes an error of another kind, since
/// the decoder takes `UnexpectedEof` for an orderly end.
struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.inner.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
            _ => error,
        })?;
        self.count.set(self.count.get() + bytes as u64);
        Ok(bytes)
    }
}
