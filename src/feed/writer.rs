//! Writes a feed file: append-only, a block at a time, so that a crash leaves what was written before it.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use zerocopy::IntoBytes;

use super::error::FeedError;
use super::format::{
    self, BlockHeader, Description, Index, IndexEntry, KindCount, Loss, Trailer, block_kind, codec,
};
use super::keyframe::{KeyframeSettings, Keyframes};
use super::pacing_time_ns;
use super::payload::Packer;
use super::reader::Reader;
use crate::limits;
use crate::model::{ABSENT_TIME, Catalog, Deriver, Primary};

/// Where a feed file goes.
pub trait Sink: Write {
    /// Returns when what was written is on the medium.
    fn sync(&mut self) -> io::Result<()>;

    /// Takes back what was written behind the first `length` bytes: half a block is of no use to anybody.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl Sink for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)?;
        self.seek(SeekFrom::Start(length)).map(drop)
    }
}

impl Sink for Vec<u8> {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.truncate(length as usize);
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
/// filling; a file that was not [finished](Writer::finish) has no index and is read as an incomplete one. Of a write
/// that fails (the disk is full) nothing stays in the file, and what it was to write is kept for another try.
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
    packer: Packer,
    index: Vec<IndexEntry>,
    /// Records by kind, those of the block being filled left out.
    kinds: [u64; 256],
    /// Records in blocks.
    records: u64,
    /// Bytes written.
    offset: u64,
    /// A write failed half way, and what it left could not be taken back: it has to be before anything follows.
    torn: bool,
}

impl Writer<File> {
    /// Creates the file, which must not exist yet, and writes what it says of itself.
    pub fn create(path: &Path, description: &Description) -> Result<Writer<File>, FeedError> {
        let name = path.display().to_string();
        Writer::new(create_new(path)?, name, description)
    }

    /// Goes on with a finished file, and with its keyframes: index and trailer are cut off, and written anew when it is
    /// finished again. What follows the file's last keyframe is read first.
    ///
    /// # Errors
    /// A file that cannot be read, or was not finished: it has to be repaired first.
    pub fn append(path: &Path, settings: KeyframeSettings) -> Result<Writer<File>, FeedError> {
        let mut reader = Reader::open(path)?;
        let name = reader.path().to_owned();
        let (Some(kinds), None) = (reader.kinds(), reader.fault()) else {
            return Err(FeedError::Unfinished { path: name });
        };
        let kinds = kinds.to_vec();
        let keyframes = Keyframes::behind(&mut reader, settings)?;
        let io = |action| {
            let path = name.clone();
            move |error| FeedError::Io { action, path, error }
        };
        let mut file = OpenOptions::new().write(true).open(path).map_err(io("open"))?;
        let end = reader.blocks_end();
        file.set_len(end).and_then(|()| file.seek(SeekFrom::Start(end))).map_err(io("append to"))?;
        let mut writer = Writer::over(file, name, Arc::clone(reader.catalog()))?;
        writer.keyframes = Some(keyframes);
        writer.offset = end;
        writer.records = reader.records();
        writer.index = reader.blocks().to_vec();
        for count in kinds {
            writer.kinds[usize::from(count.kind)] = count.records;
        }
        Ok(writer)
    }
}

/// Opens a file that must not exist yet.
pub(super) fn create_new(path: &Path) -> Result<File, FeedError> {
    OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| {
        let path = path.display().to_string();
        if error.kind() == io::ErrorKind::AlreadyExists {
            FeedError::Exists { path }
        } else {
            FeedError::Io { action: "create", path, error }
        }
    })
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
        Writer::with_start(sink, path, format::encode_start(&bytes), catalog)
    }

    /// Starts a file with a header and a description that are encoded already.
    pub(super) fn with_start(
        sink: S,
        path: String,
        start: Vec<u8>,
        catalog: Catalog,
    ) -> Result<Writer<S>, FeedError> {
        let mut writer = Writer::over(sink, path, Arc::new(catalog))?;
        writer.block = start;
        writer.append_bytes()?;
        Ok(writer)
    }

    /// A writer that has written nothing.
    fn over(sink: S, path: String, catalog: Arc<Catalog>) -> Result<Writer<S>, FeedError> {
        let packer = Packer::new().map_err(|error| FeedError::Io {
            action: "start compressing",
            path: path.clone(),
            error,
        })?;
        Ok(Writer {
            sink,
            path,
            catalog,
            keyframes: None,
            pending: Vec::with_capacity(limits::FEED_BLOCK_RECORDS),
            block: Vec::new(),
            packer,
            index: Vec::new(),
            kinds: [0; 256],
            records: 0,
            offset: 0,
            torn: false,
        })
    }

    /// Also writes keyframes, each between two blocks where no exchange event is open.
    ///
    /// Before the first record is pushed: what came before would be missing in them.
    pub fn with_keyframes(mut self, settings: KeyframeSettings) -> Writer<S> {
        self.keyframes = Some(Keyframes::new(Arc::clone(&self.catalog), settings));
        self
    }

    /// Adds a record. A block that is full goes to the file, as a rule where an exchange event ends. Where that fails
    /// the record is kept with the others of its block, and [`Writer::flush`] is to be called before any other is added.
    pub fn push(&mut self, primary: &Primary) -> Result<(), FeedError> {
        if primary.instrument as usize >= self.catalog.len() {
            return Err(FeedError::Instrument {
                path: self.path.clone(),
                record: self.records + self.pending.len() as u64,
                instrument: primary.instrument,
                instruments: self.catalog.len(),
            });
        }
        if self.pending.len() >= limits::FEED_BLOCK_RECORDS_MAX {
            // An earlier try failed.
            self.flush()?;
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
        let (codec, payload) = pack(&mut self.packer, &self.pending, &self.path)?;
        let header = BlockHeader {
            kind: block_kind::PRIMARIES,
            codec,
            records: self.pending.len() as u32,
            raw_bytes: size_of_val(&self.pending[..]) as u32,
            first_record: self.records,
            first_time_ns: pacing_time_ns(first).unwrap_or(ABSENT_TIME),
            last_time_ns: pacing_time_ns(last).unwrap_or(ABSENT_TIME),
            ..BlockHeader::default()
        };
        let header = BlockHeader { stored_bytes: payload.len() as u32, ..header };
        let records = std::mem::take(&mut self.pending);
        let written = self.append_records(header, &payload, &records);
        self.pending = records;
        written?;
        self.pending.clear();
        self.append_keyframe()
    }

    /// Says that records which should come next are missing; those pushed before go to the file first. `from_ns` and
    /// `to_ns` are the times of the record before and of the one after, where they are known.
    pub fn declare_loss(
        &mut self,
        loss: Loss,
        from_ns: Option<u64>,
        to_ns: Option<u64>,
    ) -> Result<(), FeedError> {
        self.flush()?;
        let header = BlockHeader {
            kind: block_kind::LOSS,
            codec: codec::PLAIN,
            raw_bytes: format::LOSS_BYTES as u32,
            first_record: self.records,
            first_time_ns: from_ns.unwrap_or(ABSENT_TIME),
            last_time_ns: to_ns.unwrap_or(ABSENT_TIME),
            ..BlockHeader::default()
        };
        self.append_block(header, loss.as_bytes())
    }

    /// Appends a keyframe, where one is due. One that cannot be written is let go.
    fn append_keyframe(&mut self) -> Result<(), FeedError> {
        let Some(mut keyframes) = self.keyframes.take() else { return Ok(()) };
        let mut written = Ok(());
        for (header, records) in keyframes.due(self.records).into_iter().flatten() {
            let packed = pack(&mut self.packer, records, &self.path);
            written = packed
                .and_then(|(codec, payload)| self.append_block(BlockHeader { codec, ..header }, &payload));
            if written.is_err() {
                break;
            }
        }
        self.keyframes = Some(keyframes);
        written
    }

    /// Takes over a block of another file; `records` are what it holds. Its records are numbered on from those before.
    pub(super) fn copy(
        &mut self,
        header: BlockHeader,
        payload: &[u8],
        records: &[Primary],
    ) -> Result<(), FeedError> {
        self.flush()?;
        let header = BlockHeader { first_record: self.records, ..header };
        if header.kind == block_kind::PRIMARIES {
            self.append_records(header, payload, records)
        } else {
            self.append_block(header, payload)
        }
    }

    /// The instruments.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// What is known of the instruments by what was pushed; `None` where no keyframes are written.
    pub fn deriver(&self) -> Option<&Deriver> {
        self.keyframes.as_ref().map(Keyframes::deriver)
    }

    /// Records that were pushed, those of the block being filled included.
    pub fn records(&self) -> u64 {
        self.records + self.pending.len() as u64
    }

    /// Pacing time of the last record in a block; `None`: there is none, or it has no time.
    pub fn last_time_ns(&self) -> Option<u64> {
        self.index.last().map(|block| block.last_time_ns).filter(|time| *time != ABSENT_TIME)
    }

    /// Bytes written, those of the block being filled left out.
    pub fn bytes(&self) -> u64 {
        self.offset
    }

    /// Writes a block of records.
    fn append_records(
        &mut self,
        header: BlockHeader,
        payload: &[u8],
        records: &[Primary],
    ) -> Result<(), FeedError> {
        let entry = header.entry(self.offset);
        self.append_block(header, payload)?;
        self.index.push(entry);
        self.records += u64::from(header.records);
        for primary in records {
            self.kinds[usize::from(primary.kind)] += 1;
        }
        Ok(())
    }

    /// Writes the last block, the index and the trailer, and waits until the medium has them.
    pub fn finish(self) -> Result<Written, FeedError> {
        self.finish_into().map(|(written, _)| written)
    }

    /// As [`Writer::finish`]; gives the sink back.
    pub fn finish_into(mut self) -> Result<(Written, S), FeedError> {
        self.seal().map(|written| (written, self.sink))
    }

    /// As [`Writer::finish`], for who tries again where it fails. Nothing may be added to a file that was finished.
    pub fn seal(&mut self) -> Result<Written, FeedError> {
        self.flush()?;
        let index = self.index();
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
        self.fill_block(header, &payload);
        let index_bytes = self.block.len() as u32;
        self.block.extend_from_slice(Trailer::new(index_offset, index_bytes).as_bytes());
        self.append_bytes()?;
        self.sink.sync().map_err(|error| FeedError::Io { action: "sync", path: self.path.clone(), error })?;
        Ok(Written { records: self.records, blocks: index.blocks.len() as u64, bytes: self.offset })
    }

    /// The index of what was written.
    pub(super) fn index(&self) -> Index {
        let kinds = (0..=u8::MAX).map(|kind| KindCount { kind, records: self.kinds[usize::from(kind)] });
        Index {
            records: self.records,
            kinds: kinds.filter(|count| count.records > 0).collect(),
            blocks: self.index.clone(),
        }
    }

    fn append_block(&mut self, header: BlockHeader, payload: &[u8]) -> Result<(), FeedError> {
        self.fill_block(header, payload);
        self.append_bytes()
    }

    /// Makes `block` the block of that header and payload.
    fn fill_block(&mut self, header: BlockHeader, payload: &[u8]) {
        let header = BlockHeader { stored_bytes: payload.len() as u32, ..header }.sealed(payload);
        self.block.clear();
        self.block.extend_from_slice(header.as_bytes());
        self.block.extend_from_slice(payload);
    }

    /// Appends what `block` holds.
    fn append_bytes(&mut self) -> Result<(), FeedError> {
        if self.torn && self.sink.cut(self.offset).is_err() {
            return Err(FeedError::Torn { path: self.path.clone() });
        }
        let written = self.sink.write_all(&self.block).and_then(|()| self.sink.flush());
        self.torn = written.is_err() && self.sink.cut(self.offset).is_err();
        written.map_err(|error| FeedError::Io { action: "write", path: self.path.clone(), error })?;
        self.offset += self.block.len() as u64;
        Ok(())
    }
}

fn pack(packer: &mut Packer, records: &[Primary], path: &str) -> Result<(u8, Vec<u8>), FeedError> {
    packer.pack(records).map_err(|error| FeedError::Io {
        action: "compress a block of",
        path: path.to_owned(),
        error,
    })
}
