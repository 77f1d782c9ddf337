//! One DBN file being read: opened with care, record by record, to an end that is checked.

use std::cell::Cell;
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::rc::Rc;

use ::dbn::decode::{DbnDecoder, DbnMetadata, DecodeRecordRef};
use ::dbn::{Metadata, RType, RecordRef, SymbolMappingMsg, VersionUpgradePolicy, rtype, v1};

use super::record::Record;
use super::symbols::Symbols;
use crate::feed::databento::Schema;
use crate::feed::format::printable;
use crate::feed::import::findings::Findings;
use crate::feed::import::passes::{Piece, Reading, Recording};
use crate::feed::import::stored::{Counted, Source, Stored};
use crate::feed::import::{Damage, ImportError, Place};
use crate::limits;

/// "DBN", the version, and the length of the metadata.
const PRELUDE_BYTES: usize = 8;
const EXPECTED: &str = "a DBN file (\"DBN\" and its version), plain or packed with zstd or gzip";
/// What the report calls such records.
const BAD_TIME: &str = "records whose receive time the source itself calls bad";
const VERSIONS: &str = "1, 2 and 3";
const SCHEMAS: &str =
    "mbo, mbp-1, mbp-10, tbbo, bbo-1s, bbo-1m, trades, status, definition, statistics, imbalance and mixed";
/// What a file of several schemas calls itself here.
const MIXED: &str = "mixed";

/// A DBN file being read.
pub(super) struct Input {
    source: Source,
    decoder: DbnDecoder<Orderly<Counted<Box<dyn Read>>>>,
    /// The schema of all its records; `None`: each has its own.
    schema: Option<Schema>,
    symbols: Symbols,
    /// Records in the file so far, also those that were not taken.
    seen: u64,
    /// Bytes that prelude, metadata and the records seen have, unpacked, and bytes that were unpacked.
    used: u64,
    unpacked: Rc<Cell<u64>>,
    /// Nothing can be read from here on.
    ended: bool,
    record: Record,
    piece: Piece,
}

impl Input {
    /// Opens the file, reads its metadata and refuses what cannot be imported.
    pub fn open(path: &Path) -> Result<Input, ImportError> {
        let Stored { source, mut plain } = Stored::open(path, EXPECTED)?;
        let path = &source.path;
        let prelude = read_prelude(&mut plain, path)?;
        let metadata_bytes = u64::from(u32::from_le_bytes([prelude[4], prelude[5], prelude[6], prelude[7]]));
        let used = PRELUDE_BYTES as u64 + metadata_bytes;
        let unpacked = Rc::new(Cell::new(0));
        let counted = Counted {
            inner: Box::new(Cursor::new(prelude).chain(plain)) as Box<dyn Read>,
            count: Rc::clone(&unpacked),
        };
        let decoder = DbnDecoder::with_upgrade_policy(Orderly(counted), VersionUpgradePolicy::AsIs)
            .map_err(|error| metadata_error(error, path))?;
        let schema = importable(decoder.metadata(), path)?;
        let symbols = Symbols::new(decoder.metadata());
        Ok(Input {
            source,
            decoder,
            schema,
            symbols,
            seen: 0,
            used,
            unpacked,
            ended: false,
            record: Record::default(),
            piece: Piece::default(),
        })
    }
}

impl Recording for Input {
    fn advance(&mut self, reading: &mut Reading) -> Result<bool, ImportError> {
        while !self.ended {
            let (place, problem) = match self.decoder.decode_record_ref() {
                Ok(Some(record)) => {
                    self.used += record.header().record_size() as u64;
                    self.seen += 1;
                    let Some(schema) = self.schema.or_else(|| Schema::of_rtype(record.header().rtype)) else {
                        pass_over(record, &mut self.symbols, &mut reading.findings);
                        continue;
                    };
                    match self.record.read(record, schema, &mut self.piece.primaries) {
                        Ok(()) => {
                            let definition = self.record.definition.take();
                            if let Some(definition) = &definition {
                                self.symbols.say(self.record.instrument_id, &definition.symbol);
                            }
                            let listing = &mut reading.listing;
                            let instrument =
                                self.symbols.number(&self.record, schema, listing, &self.source.path)?;
                            if let Some(definition) = &definition {
                                listing.steps(instrument, definition.tick_size, definition.lot_size);
                            }
                            for primary in &mut self.piece.primaries {
                                primary.instrument = instrument;
                            }
                            if self.record.has_bad_time {
                                reading.findings.odd(BAD_TIME);
                            }
                            self.piece.time_ns = self.record.ts_index;
                            self.piece.ends = self.record.ends;
                            self.source.records += 1;
                            return Ok(true);
                        }
                        Err(problem) => (Place::Record(self.seen - 1), problem),
                    }
                }
                Ok(None) => {
                    self.ended = true;
                    // The decoder ends in silence where bytes of a record are missing; here they are missed.
                    match self.unpacked.get().saturating_sub(self.used) {
                        0 => return Ok(false),
                        left => (Place::End(self.seen), format!("the file ends {left} bytes into the next")),
                    }
                }
                Err(::dbn::Error::Io { source, .. }) => {
                    self.ended = true;
                    let problem = format!("the compressed data cannot be unpacked further ({source})");
                    (Place::End(self.seen), problem)
                }
                Err(error) => {
                    // Its length is not to be relied on, so nobody knows where the next one starts.
                    self.ended = true;
                    (Place::Record(self.seen), format!("{error}; nothing after it can be read"))
                }
            };
            reading.findings.damage(&self.source.path, place, problem)?;
        }
        Ok(false)
    }

    fn piece(&self) -> &Piece {
        &self.piece
    }

    fn source(&self) -> &Source {
        &self.source
    }

    fn describe(&self) -> String {
        let metadata = self.decoder.metadata();
        format!(
            "{}: dbn version {}, {} {}, {} records",
            self.source.name,
            metadata.version,
            metadata.dataset,
            self.schema.map_or(MIXED, Schema::name),
            self.source.records
        )
    }
}

/// Reads the prelude and refuses what is no DBN, of another version, or of a length beyond the bound: the decoder would
/// reserve that length at once.
fn read_prelude(plain: &mut impl Read, path: &str) -> Result<[u8; PRELUDE_BYTES], ImportError> {
    let truncated = |problem| truncated(path, problem);
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

/// It ends before its first record.
fn truncated(path: &str, problem: String) -> ImportError {
    ImportError::Damaged(Damage { path: path.to_owned(), place: Place::End(0), problem })
}

fn metadata_error(error: ::dbn::Error, path: &str) -> ImportError {
    match error {
        ::dbn::Error::Io { source, .. } => truncated(path, format!("it ends in the metadata ({source})")),
        other => ImportError::Unsupported {
            path: path.to_owned(),
            thing: "the metadata",
            found: format!("not readable ({other})"),
            allowed: "metadata of DBN versions 1 to 3",
        },
    }
}

/// A record that is of no instrument, or of a schema that feed files do not hold: counted by its type. Symbols that it
/// tells are taken.
fn pass_over(record: RecordRef<'_>, symbols: &mut Symbols, findings: &mut Findings) {
    let (rtype, bytes) = (record.header().rtype, record.header().record_size());
    match rtype {
        rtype::SYMBOL_MAPPING => {
            let symbol = if bytes == size_of::<v1::SymbolMappingMsg>() {
                record.try_get::<v1::SymbolMappingMsg>().and_then(|message| message.stype_out_symbol())
            } else {
                record.try_get::<SymbolMappingMsg>().and_then(|message| message.stype_out_symbol())
            };
            if let Ok(symbol) = symbol {
                symbols.say(record.header().instrument_id, symbol);
            }
            findings.left_out("symbol mapping");
        }
        rtype::SYSTEM => findings.left_out("system message"),
        rtype::ERROR => findings.left_out("error message"),
        _ => match RType::try_from(rtype) {
            Ok(known) => findings.unknown(known.as_str()),
            Err(_) => findings.unknown(&format!("type {rtype:#04x}")),
        },
    }
}

/// The schema, if it can be imported; `None` where each record has its own.
fn importable(metadata: &Metadata, path: &str) -> Result<Option<Schema>, ImportError> {
    let unsupported =
        |thing, found, allowed| ImportError::Unsupported { path: path.to_owned(), thing, found, allowed };
    if metadata.ts_out {
        let found = "a live capture with sending times".into();
        return Err(unsupported("the recording", found, "recordings without them (ts_out false)"));
    }
    match metadata.schema {
        None => Ok(None),
        Some(schema) => match Schema::of(schema) {
            None => Err(unsupported("the schema", schema.to_string(), SCHEMAS)),
            known => Ok(known),
        },
    }
}

/// An end that comes too early for the decompressor becomes an error of another kind, since the decoder takes
/// `UnexpectedEof` for an orderly end.
struct Orderly<R>(R);

impl<R: Read> Read for Orderly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
            _ => error,
        })
    }
}
