//! Writes a feed file: append-only, a block at a time, so that a crash leaves what was written before it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use zerocopy::IntoBytes;

use super::error::FeedError;
use super::format::{
    self, BlockHeader, Description, Index, IndexEntry, KindCount, Trailer, block_kind, codec,
};
use super::keyframe::{KeyframeSettings, Keyframes};
use super::pacing_time_ns;
use crate::limits;
use crate::model::{ABSENT_TIME, Catalog, Primary};

/// zstd's level. On real order events, in blocks of this size, 1 packs 3.9 to one, 3 packs 4.1, 9 packs 4.3 and takes
/// four times as long as 3.
const ZSTD_LEVEL: i32 = 3;

/// Where a feed file goes.
pub trait Sink: Write {
    /// Returns when what was written is on the medium.
    fn sync(&mut self) -> io::Result<()>;
}

impl Sink for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

impl Sink for Vec<u8> {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a finished file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Written {
    /// Records.
    pub records: u64,
    /// Blocks of records.
    pub blocks: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// A feed file being written.
///
/// A block is handed to the system whole, in one write. A process that dies loses the records of the block it was
/// filling; a file that was not [finished](Writer::finish) has no index and is read as an incomplete one.
pub struct Writer<S: Sink = File> {
    sink: S,
    path: String,
    catalog: Arc<Catalog>,
    /// What keyframes are made of; `None`: none are written.
    keyframes: Option<Keyframes>,
    /// Records of the block being filled.
    pending: Vec<Primary>,
    /// The block being packed: header and payload, reused.
    block: Vec<u8>,
    compressor: zstd::bulk::Compressor<'static>,
    index: Vec<IndexEntry>,
    /// Records by kind, those of the block being filled left out.
    kinds: [u64; 256],
    /// Records in blocks.
    records: u64,
    /// Bytes written.
    offset: u64,
    /// A write failed half way: nothing may follow.
    torn: bool,
}

impl Writer<File> {
    /// Creates the file, which must not exist yet, and writes what it says of itself.
    pub fn create(path: &Path, description: &Description) -> Result<Writer<File>, FeedError> {
        let name = path.display().to_string();
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(|error| FeedError::Io { action: "create", path: name.clone(), error })?;
        Writer::new(file, name, description)
    }
}

impl<S: Sink> Writer<S> {
    /// Starts a file in `sink`; `path` is what errors call it.
    pub fn new(sink: S, path: impl Into<String>, description: &Description) -> Result<Writer<S>, FeedError> {
        let path = path.into();
        let catalog = Catalog::new(description.instruments.clone())
            .map_err(|error| FeedError::Catalog { path: path.clone(), error })?;
        let allowed = limits::FEED_DESCRIPTION_BYTES_MAX;
        let bytes = format::encode_cold(description, allowed).ok_or_else(|| FeedError::TooMany {
            path: path.clone(),
            thing: "bytes of description",
            found: description.source.len() as u64,
            allowed: allowed as u64,
        })?;
        let compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(|error| FeedError::Io {
            action: "start compressing",
            path: path.clone(),
            error,
        })?;
        let mut writer = Writer {
            sink,
            path,
            catalog: Arc::new(catalog),
            keyframes: None,
            pending: Vec::with_capacity(limits::FEED_BLOCK_RECORDS),
            block: Vec::new(),
            compressor,
            index: Vec::new(),
            kinds: [0; 256],
            records: 0,
            offset: 0,
            torn: false,
        };
        writer.block = format::encode_start(&bytes);
        writer.append()?;
        Ok(writer)
    }

    /// Also writes keyframes, each between two blocks where no exchange event is open.
    ///
    /// Before the first record is pushed: what came before would be missing in them.
    pub fn with_keyframes(mut self, settings: KeyframeSettings) -> Writer<S> {
        self.keyframes = Some(Keyframes::new(Arc::clone(&self.catalog), settings));
        self
    }

    /// Adds a record. A block that is full goes to the file, as a rule where an exchange event ends.
    pub fn push(&mut self, primary: &Primary) -> Result<(), FeedError> {
        if primary.instrument as usize >= self.catalog.len() {
            return Err(FeedError::Instrument {
                path: self.path.clone(),
                record: self.records + self.pending.len() as u64,
                instrument: primary.instrument,
                instruments: self.catalog.len(),
            });
        }
        if let Some(keyframes) = &mut self.keyframes {
            keyframes.follow(primary);
        }
        self.pending.push(*primary);
        let count = self.pending.len();
        if (count >= limits::FEED_BLOCK_RECORDS && primary.is_last())
            || count >= limits::FEED_BLOCK_RECORDS_MAX
        {
            self.flush()?;
        }
        Ok(())
    }

    /// Hands what was pushed to the system, as a block of its own. Without anything pushed it does nothing.
    pub fn flush(&mut self) -> Result<(), FeedError> {
        let (Some(first), Some(last)) = (self.pending.first(), self.pending.last()) else { return Ok(()) };
        let raw = self.pending.as_bytes();
        let header = BlockHeader {
            kind: block_kind::PRIMARIES,
            codec: codec::ZSTD,
            records: self.pending.len() as u32,
            raw_bytes: raw.len() as u32,
            first_record: self.records,
            first_time_ns: pacing_time_ns(first).unwrap_or(ABSENT_TIME),
            last_time_ns: pacing_time_ns(last).unwrap_or(ABSENT_TIME),
            ..BlockHeader::default()
        };
        let payload = pack(&mut self.compressor, raw, &self.path)?;
        let entry = IndexEntry {
            offset: self.offset,
            first_record: header.first_record,
            first_time_ns: header.first_time_ns,
            last_time_ns: header.last_time_ns,
            bytes: (format::BLOCK_HEADER_BYTES + payload.len()) as u32,
            records: header.records,
        };
        self.append_block(header, &payload)?;
        self.index.push(entry);
        self.records += u64::from(header.records);
        for primary in &self.pending {
            self.kinds[usize::from(primary.kind)] += 1;
        }
        self.pending.clear();
        self.append_keyframe()
    }

    /// Appends a keyframe, where one is due.
    fn append_keyframe(&mut self) -> Result<(), FeedError> {
        let Some(mut keyframes) = self.keyframes.take() else { return Ok(()) };
        for (header, records) in keyframes.due(self.records).into_iter().flatten() {
            let payload = pack(&mut self.compressor, records.as_bytes(), &self.path)?;
            self.append_block(header, &payload)?;
        }
        self.keyframes = Some(keyframes);
        Ok(())
    }

    /// Writes the last block, the index and the trailer, and waits until the medium has them.
    pub fn finish(self) -> Result<Written, FeedError> {
        self.finish_into().map(|(written, _)| written)
    }

    /// As [`Writer::finish`]; gives the sink back.
    pub fn finish_into(mut self) -> Result<(Written, S), FeedError> {
        self.flush()?;
        let index = Index {
            records: self.records,
            kinds: (0..=u8::MAX)
                .map(|kind| KindCount { kind, records: self.kinds[usize::from(kind)] })
                .filter(|count| count.records > 0)
                .collect(),
            blocks: std::mem::take(&mut self.index),
        };
        let allowed = limits::FEED_INDEX_BYTES_MAX;
        let payload = format::encode_cold(&index, allowed).ok_or_else(|| FeedError::TooMany {
            path: self.path.clone(),
            thing: "bytes of index",
            found: index.blocks.len() as u64 * 40,
            allowed: allowed as u64,
        })?;
        let index_offset = self.offset;
        let header = BlockHeader {
            kind: block_kind::INDEX,
            codec: codec::PLAIN,
            raw_bytes: payload.len() as u32,
            first_record: self.records,
            first_time_ns: ABSENT_TIME,
            last_time_ns: ABSENT_TIME,
            ..BlockHeader::default()
        };
        self.append_block(header, &payload)?;
        let index_bytes = (self.offset - index_offset) as u32;
        self.block = Trailer::new(index_offset, index_bytes).as_bytes().to_vec();
        self.append()?;
        self.sink.sync().map_err(|error| FeedError::Io { action: "sync", path: self.path.clone(), error })?;
        let written =
            Written { records: self.records, blocks: index.blocks.len() as u64, bytes: self.offset };
        Ok((written, self.sink))
    }

    fn append_block(&mut self, header: BlockHeader, payload: &[u8]) -> Result<(), FeedError> {
        let header = BlockHeader { stored_bytes: payload.len() as u32, ..header }.sealed(payload);
        self.block.clear();
        self.block.extend_from_slice(header.as_bytes());
        self.block.extend_from_slice(payload);
        self.append()
    }

    /// Appends what `block` holds.
    fn append(&mut self) -> Result<(), FeedError> {
        if self.torn {
            return Err(FeedError::Torn { path: self.path.clone() });
        }
        let written = self.sink.write_all(&self.block).and_then(|()| self.sink.flush());
        if let Err(error) = written {
            self.torn = true;
            return Err(FeedError::Io { action: "write", path: self.path.clone(), error });
        }
        self.offset += self.block.len() as u64;
        Ok(())
    }
}

fn pack(compressor: &mut zstd::bulk::Compressor<'_>, raw: &[u8], path: &str) -> Result<Vec<u8>, FeedError> {
    let io = |error| FeedError::Io { action: "compress a block of", path: path.to_owned(), error };
    compressor.compress(raw).map_err(io)
}
