//! Goes through a whole feed file, over what is damaged too: for those who check one, and those who save what is left.

use std::io::{self, Read, Seek, SeekFrom};

use zerocopy::{FromBytes, IntoBytes};

use super::error::{Fault, FeedError};
use super::format::{
    self, BLOCK_HEADER_BYTES, BlockHeader, Description, Index, Loss, TRAILER_BYTES, Trailer, block_kind,
};
use super::pacing_time_ns;
use super::payload::Unpacker;
use super::reader::{self, LossAt};
use crate::limits;
use crate::model::{ABSENT_TIME, Catalog, Primary, PrimaryKind};

/// Bytes read at once where the next whole block is looked for.
const SEARCH_BYTES: usize = 64 * 1_024;

/// A part of a file.
#[derive(Debug)]
pub(super) struct Part {
    /// Where it starts.
    pub offset: u64,
    /// Where the next part starts.
    pub end: u64,
    /// What it is.
    pub what: What,
}

/// What a part of a file is.
#[derive(Debug)]
pub(super) enum What {
    /// Records, which [`Walk::records`] has.
    Records(BlockHeader),
    /// A block of a right checksum that holds no proper records.
    Improper(BlockHeader, Fault),
    /// A declared loss.
    Loss(BlockHeader, LossAt),
    /// The index.
    Index(Index),
    /// Another kind of block.
    Other(BlockHeader),
    /// The trailer.
    Trailer(Trailer),
    /// A keyframe, or a part of one; [`Walk::records`] has its records.
    Keyframe(BlockHeader),
    /// Bytes that are none of these; whether they begin like an index or a keyframe, so that no record is missing.
    Damage(Fault, bool),
}

/// A file being gone through.
pub(super) struct Walk<R> {
    input: R,
    path: String,
    length: u64,
    /// Where the first block starts.
    blocks_start: u64,
    instruments: usize,
    description: Description,
    /// Where the next part starts.
    at: u64,
    /// Bytes that a search may still check for nothing.
    search_left: u64,
    /// Payload of the part in hand, as stored.
    stored: Vec<u8>,
    records: Vec<Primary>,
    unpacker: Unpacker,
}

impl<R: Read + Seek> Walk<R> {
    /// Reads what the file says of itself; `path` is what errors call it.
    pub fn new(mut input: R, path: impl Into<String>) -> Result<Walk<R>, FeedError> {
        let path = path.into();
        let io = |error| FeedError::Io { action: "read", path: path.clone(), error };
        let length = input.seek(SeekFrom::End(0)).map_err(io)?;
        input.seek(SeekFrom::Start(0)).map_err(io)?;
        let (description, blocks_start) = reader::read_start(&mut input, length, &path)?;
        Catalog::new(description.instruments.clone())
            .map_err(|error| FeedError::Catalog { path: path.clone(), error })?;
        let unpacker = Unpacker::new().map_err(io)?;
        Ok(Walk {
            input,
            path,
            length,
            blocks_start,
            instruments: description.instruments.len(),
            description,
            at: blocks_start,
            search_left: length
                .saturating_mul(limits::FEED_SEARCH_TIMES)
                .saturating_add(limits::FEED_SEARCH_BYTES),
            stored: Vec::new(),
            records: Vec::new(),
            unpacker,
        })
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Where the first block starts.
    pub fn blocks_start(&self) -> u64 {
        self.blocks_start
    }

    /// What the file says of itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Header and description as they stand in the file.
    pub fn start_bytes(&mut self) -> Result<Vec<u8>, FeedError> {
        let mut bytes = vec![0; self.blocks_start as usize];
        let read = self.input.seek(SeekFrom::Start(0)).and_then(|_| self.input.read_exact(&mut bytes));
        read.map_err(|error| self.io(error))?;
        Ok(bytes)
    }

    /// Payload of the block in hand, as stored; empty where it is of a kind that is not known and longer than an
    /// index may be.
    pub fn stored(&self) -> &[u8] {
        &self.stored
    }

    /// The records of the block in hand.
    pub fn records(&self) -> &[Primary] {
        &self.records
    }

    /// The next part; `None` at the end of the file.
    pub fn next(&mut self) -> Result<Option<Part>, FeedError> {
        self.step().map_err(|error| self.io(error))
    }

    fn io(&self, error: io::Error) -> FeedError {
        FeedError::Io { action: "read", path: self.path.clone(), error }
    }

    fn step(&mut self) -> io::Result<Option<Part>> {
        let offset = self.at;
        if offset >= self.length {
            return Ok(None);
        }
        let (what, end) = match self.part_at(offset)? {
            Ok(part) => part,
            Err(fault) => {
                let has_none = self.begins_without_records(offset)?;
                (What::Damage(fault, has_none), self.search(offset + 1)?)
            }
        };
        self.at = end;
        Ok(Some(Part { offset, end, what }))
    }

    /// What stands there, and where it ends.
    fn part_at(&mut self, offset: u64) -> io::Result<Result<(What, u64), Fault>> {
        self.input.seek(SeekFrom::Start(offset))?;
        if offset + TRAILER_BYTES as u64 == self.length {
            let trailer = reader::read_trailer(&mut self.input)?;
            return Ok(trailer.check(offset).map(|()| (What::Trailer(trailer), self.length)));
        }
        let header = match reader::read_block_header(&mut self.input, offset, self.length)? {
            Ok(header) => header,
            Err(fault) => return Ok(Err(fault)),
        };
        if let Err(fault) = bounds(&header, offset) {
            return Ok(Err(fault));
        }
        if !self.take_payload(&header)? {
            return Ok(Err(reader::bad_checksum(offset)));
        }
        Ok(Ok((self.what(header, offset), offset + header.block_bytes())))
    }

    /// Reads the payload; whether its checksum is right.
    fn take_payload(&mut self, header: &BlockHeader) -> io::Result<bool> {
        self.stored.clear();
        if header.stored_bytes as usize > limits::FEED_INDEX_BYTES_MAX {
            return reader::check_payload(&mut self.input, header);
        }
        self.stored.resize(header.stored_bytes as usize, 0);
        self.input.read_exact(&mut self.stored)?;
        Ok(header.matches(&self.stored))
    }

    /// What a block with a right checksum is.
    fn what(&mut self, header: BlockHeader, offset: u64) -> What {
        let payload_at = offset + BLOCK_HEADER_BYTES as u64;
        match header.kind {
            block_kind::PRIMARIES => match self.take_records(&header, offset) {
                Ok(()) => What::Records(header),
                Err(fault) => What::Improper(header, fault),
            },
            block_kind::KEYFRAME => match self.take_state(&header, offset) {
                Ok(()) => What::Keyframe(header),
                Err(fault) => What::Improper(header, fault),
            },
            block_kind::INDEX => match format::decode_cold(&self.stored, payload_at, "an index") {
                Ok(index) => What::Index(index),
                Err(fault) => What::Improper(header, fault),
            },
            block_kind::LOSS => match Loss::read_from_bytes(&self.stored) {
                Ok(loss) => What::Loss(header, LossAt::new(&header, loss)),
                Err(_) => What::Improper(header, Fault::new(payload_at, "a declared loss", "other bytes")),
            },
            _ => What::Other(header),
        }
    }

    /// Unpacks and checks records.
    fn take_records(&mut self, header: &BlockHeader, offset: u64) -> Result<(), Fault> {
        self.take_state(header, offset)?;
        let time = |primary: Option<&Primary>| primary.and_then(pacing_time_ns).unwrap_or(ABSENT_TIME);
        let times = (time(self.records.first()), time(self.records.last()));
        if times != (header.first_time_ns, header.last_time_ns) {
            let found = format!("times {} and {}", header.first_time_ns, header.last_time_ns);
            return Err(Fault::new(
                offset,
                format!("a header with times {} and {}", times.0, times.1),
                found,
            ));
        }
        Ok(())
    }

    /// Unpacks records and checks each by itself.
    fn take_state(&mut self, header: &BlockHeader, offset: u64) -> Result<(), Fault> {
        self.unpacker.unpack(header, offset, &self.stored, &mut self.records)?;
        for (at, primary) in self.records.iter().enumerate() {
            let record = header.first_record.saturating_add(at as u64);
            if primary.instrument as usize >= self.instruments {
                let expected = format!("instruments 0 to {}", self.instruments.saturating_sub(1));
                let found = format!("instrument {} in record {record}", primary.instrument);
                return Err(Fault::new(offset, expected, found));
            }
            if PrimaryKind::from_number(primary.kind).is_none() {
                let found = format!("kind {} in record {record}", primary.kind);
                return Err(Fault::new(offset, "records of kind 1 to 11", found));
            }
        }
        Ok(())
    }

    /// Whether what stands there begins like an index or a keyframe, as far as it goes.
    fn begins_without_records(&mut self, offset: u64) -> io::Result<bool> {
        let mut header = BlockHeader::read_from_bytes(&[0; BLOCK_HEADER_BYTES]).expect("it is as long");
        let there = (self.length - offset).min(BLOCK_HEADER_BYTES as u64) as usize;
        self.input.seek(SeekFrom::Start(offset))?;
        self.input.read_exact(&mut header.as_mut_bytes()[..there])?;
        let is_index = header.kind == block_kind::INDEX && header.records == 0;
        Ok(header.magic == format::BLOCK_MAGIC && (is_index || header.kind == block_kind::KEYFRAME))
    }

    /// Where, from there on, the next whole block or the trailer starts; the end of the file where there is none.
    fn search(&mut self, from: u64) -> io::Result<u64> {
        let mut piece = vec![0; SEARCH_BYTES];
        let mut at = from;
        let last = self.length.saturating_sub(TRAILER_BYTES as u64);
        while at < last {
            let there = ((self.length - at) as usize).min(piece.len());
            self.input.seek(SeekFrom::Start(at))?;
            self.input.read_exact(&mut piece[..there])?;
            let mut looked = 0;
            while let Some(next) = piece[looked..there].iter().position(|byte| *byte == b'T') {
                looked += next;
                let rest = &piece[looked..there];
                if rest.len() < format::BLOCK_MAGIC.len() && looked > 0 {
                    break;
                }
                if rest.starts_with(&format::BLOCK_MAGIC) && self.is_whole_block(at + looked as u64)? {
                    return Ok(at + looked as u64);
                }
                if self.search_left == 0 {
                    return Ok(self.length);
                }
                looked += 1;
            }
            // A magic that the piece cuts in two begins the next piece.
            at += (there - (format::BLOCK_MAGIC.len() - 1).min(there - 1)) as u64;
        }
        if last >= from {
            self.input.seek(SeekFrom::Start(last))?;
            if reader::read_trailer(&mut self.input)?.check(last).is_ok() {
                return Ok(last);
            }
        }
        Ok(self.length)
    }

    fn is_whole_block(&mut self, offset: u64) -> io::Result<bool> {
        self.input.seek(SeekFrom::Start(offset))?;
        let Ok(header) = reader::read_block_header(&mut self.input, offset, self.length)? else {
            return Ok(false);
        };
        let is_known = matches!(header.kind, block_kind::PRIMARIES..=block_kind::LOSS);
        if !is_known || bounds(&header, offset).is_err() {
            return Ok(false);
        }
        let is_whole = reader::check_payload(&mut self.input, &header)?;
        if !is_whole {
            self.search_left = self.search_left.saturating_sub(header.block_bytes());
        }
        Ok(is_whole)
    }
}

/// The bounds of a block that starts at `offset`, known before anything is allocated for it.
fn bounds(header: &BlockHeader, offset: u64) -> Result<(), Fault> {
    match header.kind {
        block_kind::PRIMARIES | block_kind::KEYFRAME => header.check_records(offset),
        block_kind::LOSS => header.check_loss(offset),
        block_kind::INDEX if header.stored_bytes as usize > limits::FEED_INDEX_BYTES_MAX => {
            let expected = format!("an index of at most {} bytes", limits::FEED_INDEX_BYTES_MAX);
            Err(Fault::new(offset, expected, header.stored_bytes.to_string()))
        }
        _ => Ok(()),
    }
}
