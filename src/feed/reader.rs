//! Reads a feed file: an exact prefix of what was written, or an error that says where.

mod keyframes;
mod losses;

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use zerocopy::FromBytes;

use super::error::{Fault, FeedError};
use super::format::{
    self, BLOCK_HEADER_BYTES, BlockHeader, Description, FILE_HEADER_BYTES, FileHeader, Index, IndexEntry,
    KindCount, LOSS_BYTES, Loss, TRAILER_BYTES, Trailer, block_kind, codec,
};
use super::payload::Unpacker;
use crate::limits;
use crate::model::{Catalog, Primary};

pub use keyframes::Keyframe;
pub use losses::LossAt;

/// Bytes read at once where a block is checked but not kept.
const CHECK_BYTES: usize = 64 * 1_024;

/// A feed file being read, a block at a time.
///
/// A finished file is opened by its index. One without (its writer died, or the end is damaged) is scanned: every
/// block up to the first fault is there, [`Reader::is_complete`] is false and [`Reader::fault`] says where it ends.
pub struct Reader<R = File> {
    input: R,
    path: String,
    /// Bytes of the file.
    length: u64,
    description: Description,
    catalog: Arc<Catalog>,
    blocks: Vec<IndexEntry>,
    /// Where no block begins any more but the index.
    blocks_end: u64,
    /// By kind, as the index says; `None` without an index.
    kinds: Option<Vec<KindCount>>,
    fault: Option<Fault>,
    losses: Vec<LossAt>,
    /// Position in `blocks` of the block that is read next.
    next: usize,
    /// The block in hand, unpacked.
    records: Vec<Primary>,
    /// The block in hand as stored; reused.
    stored: Vec<u8>,
    unpacker: Unpacker,
}

impl Reader<File> {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Reader<File>, FeedError> {
        Reader::new(open_file(path)?.0, path.display().to_string())
    }
}

/// Opens what can be read at any place, and tells what the system knows of it.
pub(super) fn open_file(path: &Path) -> Result<(File, Metadata), FeedError> {
    let failed = |error| FeedError::Io { action: "open", path: path.display().to_string(), error };
    // Looked at before: a pipe would be waited for.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    if !metadata.is_file() {
        return Err(failed(io::Error::other("it is a pipe or a device; a feed file is read at many places")));
    }
    Ok((File::open(path).map_err(failed)?, metadata))
}

impl<R: Read + Seek> Reader<R> {
    /// Reads what the file says of itself and finds its blocks; `path` is what errors call it.
    pub fn new(mut input: R, path: impl Into<String>) -> Result<Reader<R>, FeedError> {
        let path = path.into();
        let io = |error| FeedError::Io { action: "read", path: path.clone(), error };
        let length = input.seek(SeekFrom::End(0)).map_err(io)?;
        input.seek(SeekFrom::Start(0)).map_err(io)?;
        let (description, blocks_start) = read_start(&mut input, length, &path)?;
        let catalog = Catalog::new(description.instruments.clone())
            .map_err(|error| FeedError::Catalog { path: path.clone(), error })?;
        let layout = match read_index(&mut input, blocks_start, length).map_err(io)? {
            Ok((Index { blocks, kinds, .. }, blocks_end)) => {
                let losses = losses::between(&mut input, blocks_start, &blocks, blocks_end).map_err(io)?;
                Layout { blocks, blocks_end, kinds: Some(kinds), fault: None, losses }
            }
            Err(fault) => {
                let mut layout = scan(&mut input, blocks_start, length).map_err(io)?;
                // The scan knows better where it went wrong, if it found anything.
                layout.fault = layout.fault.or(Some(fault));
                layout
            }
        };
        let unpacker = Unpacker::new().map_err(io)?;
        Ok(Reader {
            input,
            path,
            length,
            description,
            catalog: Arc::new(catalog),
            blocks: layout.blocks,
            blocks_end: layout.blocks_end,
            kinds: layout.kinds,
            fault: layout.fault,
            losses: layout.losses,
            next: 0,
            records: Vec::new(),
            stored: Vec::new(),
            unpacker,
        })
    }

    /// The records of the next block; `None` after the last. A damaged block is an error, again and again.
    pub fn next_block(&mut self) -> Result<Option<&[Primary]>, FeedError> {
        let Some(entry) = self.blocks.get(self.next).copied() else {
            self.records.clear();
            return Ok(None);
        };
        let header = self.header_at(entry.offset)?;
        let is_indexed = header.kind == block_kind::PRIMARIES
            && header.first_record == entry.first_record
            && header.records == entry.records
            && header.block_bytes() == u64::from(entry.bytes);
        if !is_indexed {
            let expected =
                format!("a block of {} records from record {} on", entry.records, entry.first_record);
            let found = format!(
                "one of kind {} with {} records from record {} on",
                header.kind, header.records, header.first_record
            );
            return Err(self.damaged(Fault::new(entry.offset, expected, found)));
        }
        self.unpack(&header, entry.offset)?;
        self.next += 1;
        Ok(Some(&self.records))
    }

    /// Reads the header of the block at `offset`; the input stands behind it.
    fn header_at(&mut self, offset: u64) -> Result<BlockHeader, FeedError> {
        let header = self
            .input
            .seek(SeekFrom::Start(offset))
            .and_then(|_| read_block_header(&mut self.input, offset, self.length));
        header.map_err(|error| self.unreadable(error))?.map_err(|fault| self.damaged(fault))
    }

    /// Reads what follows that header of the block at `offset` into `records`.
    fn unpack(&mut self, header: &BlockHeader, offset: u64) -> Result<(), FeedError> {
        header.check_records(offset).map_err(|fault| self.damaged(fault))?;
        self.stored.resize(header.stored_bytes as usize, 0);
        self.input.read_exact(&mut self.stored).map_err(|error| self.unreadable(error))?;
        if !header.matches(&self.stored) {
            return Err(self.damaged(bad_checksum(offset)));
        }
        let unpacked = self.unpacker.unpack(header, offset, &self.stored, &mut self.records);
        unpacked.map_err(|fault| self.damaged(fault))?;
        let instruments = self.catalog.len();
        match self.records.iter().position(|primary| primary.instrument as usize >= instruments) {
            None => Ok(()),
            Some(at) => Err(FeedError::Instrument {
                path: self.path.clone(),
                record: header.first_record + at as u64,
                instrument: self.records[at].instrument,
                instruments,
            }),
        }
    }

    /// Goes back to the first block.
    pub fn rewind(&mut self) {
        self.seek_block(0);
    }

    /// Goes to a block, by its position in [`Reader::blocks`].
    pub fn seek_block(&mut self, block: usize) {
        self.next = block.min(self.blocks.len());
        self.records.clear();
    }
}

impl<R> Reader<R> {
    fn damaged(&self, fault: Fault) -> FeedError {
        FeedError::Damaged { path: self.path.clone(), fault }
    }

    fn unreadable(&self, error: io::Error) -> FeedError {
        FeedError::Io { action: "read", path: self.path.clone(), error }
    }

    /// The records of the block that [`Reader::next_block`] gave last; none before the first and after the last.
    pub fn block(&self) -> &[Primary] {
        &self.records
    }

    /// What errors call the file.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.length
    }

    /// What the file says of itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The instruments.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Whether the file was finished: its index and trailer are there.
    pub fn is_complete(&self) -> bool {
        self.fault.is_none()
    }

    /// Why it is not complete, and where what can be read ends.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// The blocks of records that can be read.
    pub fn blocks(&self) -> &[IndexEntry] {
        &self.blocks
    }

    /// Running number of the first record of the block in hand or, where none is, of the record that comes next.
    pub fn position(&self) -> u64 {
        let in_hand = if self.records.is_empty() { self.next } else { self.next.saturating_sub(1) };
        self.blocks.get(in_hand).map_or_else(|| self.records(), |entry| entry.first_record)
    }

    /// The blocks of records behind the block in hand.
    pub(super) fn blocks_behind(&self) -> &[IndexEntry] {
        &self.blocks[self.next..]
    }

    /// The losses that the file declares, in the order of the file.
    pub fn losses(&self) -> &[LossAt] {
        &self.losses
    }

    /// Where the index of a complete file starts, and what can be read of another one ends.
    pub(super) fn blocks_end(&self) -> u64 {
        self.blocks_end
    }

    /// How many records they hold.
    pub fn records(&self) -> u64 {
        self.blocks.last().map_or(0, |entry| entry.first_record + u64::from(entry.records))
    }

    /// Records by kind as the index says; `None` for a file that is not complete.
    pub fn kinds(&self) -> Option<&[KindCount]> {
        self.kinds.as_deref()
    }
}

/// Where the blocks of a file stand.
struct Layout {
    blocks: Vec<IndexEntry>,
    blocks_end: u64,
    kinds: Option<Vec<KindCount>>,
    fault: Option<Fault>,
    losses: Vec<LossAt>,
}

/// Reads file header and description; gives the offset of the first block too.
pub(super) fn read_start<R: Read>(
    input: &mut R,
    length: u64,
    path: &str,
) -> Result<(Description, u64), FeedError> {
    let io = |error| FeedError::Io { action: "read", path: path.to_owned(), error };
    let damaged = |fault| FeedError::Damaged { path: path.to_owned(), fault };
    if length == 0 {
        return Err(FeedError::Empty { path: path.to_owned() });
    }
    let mut start = [0; FILE_HEADER_BYTES];
    let there = length.min(FILE_HEADER_BYTES as u64) as usize;
    input.read_exact(&mut start[..there]).map_err(io)?;
    let magic = there.min(format::MAGIC.len());
    if start[..magic] != format::MAGIC[..magic] {
        return Err(FeedError::Foreign { path: path.to_owned(), found: format::printable(&start[..magic]) });
    }
    let truncated = |expected: u64, what: &str| {
        damaged(Fault::new(length, format!("{what} up to byte {expected}"), "the end of the file"))
    };
    if there < FILE_HEADER_BYTES {
        return Err(truncated(FILE_HEADER_BYTES as u64, "a file header"));
    }
    let header = FileHeader::read_from_bytes(&start).expect("the array is as long as the header");
    if header.major != format::MAJOR {
        return Err(FeedError::Version { path: path.to_owned(), found: header.major });
    }
    let bytes = header.description_bytes as usize;
    if bytes > limits::FEED_DESCRIPTION_BYTES_MAX {
        let expected = format!("a description of at most {} bytes", limits::FEED_DESCRIPTION_BYTES_MAX);
        return Err(damaged(Fault::new(16, expected, bytes.to_string())));
    }
    let blocks_start = (FILE_HEADER_BYTES + bytes) as u64;
    if length < blocks_start {
        return Err(truncated(blocks_start, "a description"));
    }
    let mut description = vec![0; bytes];
    input.read_exact(&mut description).map_err(io)?;
    if !header.matches(&description) {
        return Err(damaged(Fault::new(
            8,
            "the checksum of header and description",
            format!("{:08x}", header.crc),
        )));
    }
    let description =
        format::decode_cold(&description, FILE_HEADER_BYTES as u64, "a description").map_err(damaged)?;
    Ok((description, blocks_start))
}

/// Reads trailer and index; gives where the index starts too.
fn read_index<R: Read + Seek>(
    input: &mut R,
    blocks_start: u64,
    length: u64,
) -> io::Result<Result<(Index, u64), Fault>> {
    let Some(trailer_at) = length.checked_sub(TRAILER_BYTES as u64).filter(|at| *at >= blocks_start) else {
        return Ok(Err(Fault::new(length, "an index and a trailer", "the end of the file")));
    };
    input.seek(SeekFrom::Start(trailer_at))?;
    let trailer = read_trailer(input)?;
    if let Err(fault) = trailer.check(trailer_at) {
        return Ok(Err(fault));
    }
    let offset = trailer.index_offset;
    if offset < blocks_start {
        let found = format!("one at byte {offset}");
        return Ok(Err(Fault::new(trailer_at, format!("an index after byte {blocks_start}"), found)));
    }
    input.seek(SeekFrom::Start(offset))?;
    let header = match read_block_header(input, offset, trailer_at)? {
        Ok(header) => header,
        Err(fault) => return Ok(Err(fault)),
    };
    let is_index = header.kind == block_kind::INDEX
        && header.codec == codec::PLAIN
        && header.block_bytes() == u64::from(trailer.index_bytes)
        && header.stored_bytes as usize <= limits::FEED_INDEX_BYTES_MAX;
    if !is_index {
        let expected = format!("an index block of {} bytes", trailer.index_bytes);
        let found = format!("a block of kind {}, {} bytes", header.kind, header.block_bytes());
        return Ok(Err(Fault::new(offset, expected, found)));
    }
    let mut payload = vec![0; header.stored_bytes as usize];
    input.read_exact(&mut payload)?;
    if !header.matches(&payload) {
        return Ok(Err(bad_checksum(offset)));
    }
    let index: Result<Index, Fault> =
        format::decode_cold(&payload, offset + BLOCK_HEADER_BYTES as u64, "an index");
    Ok(index.and_then(|index| index.check(blocks_start, offset).map(|()| (index, offset))))
}

/// Walks the blocks from the first to the first fault, checking each.
fn scan<R: Read + Seek>(input: &mut R, blocks_start: u64, length: u64) -> io::Result<Layout> {
    let mut layout =
        Layout { blocks: Vec::new(), blocks_end: blocks_start, kinds: None, fault: None, losses: Vec::new() };
    let mut offset = blocks_start;
    let mut records = 0;
    input.seek(SeekFrom::Start(offset))?;
    let mut index_ended = false;
    while !index_ended && layout.fault.is_none() {
        if offset == length {
            layout.fault = Some(Fault::new(offset, "a block, or the index", "the end of the file"));
            break;
        }
        let block = match read_block_header(input, offset, length)? {
            Ok(header) => check_block(input, &header, offset, records)?.map(|loss| (header, loss)),
            Err(fault) => Err(fault),
        };
        match block {
            Err(fault) => layout.fault = Some(fault),
            Ok((header, loss)) => {
                layout.losses.extend(loss);
                if header.kind == block_kind::PRIMARIES {
                    layout.blocks.push(header.entry(offset));
                    records += u64::from(header.records);
                }
                index_ended = header.kind == block_kind::INDEX;
                if !index_ended {
                    layout.blocks_end = offset + header.block_bytes();
                }
                offset += header.block_bytes();
            }
        }
    }
    if index_ended {
        layout.fault = check_end(input, offset, length)?;
    }
    Ok(layout)
}

/// What is wrong after the index, where a trailer and nothing else should stand.
fn check_end<R: Read>(input: &mut R, offset: u64, length: u64) -> io::Result<Option<Fault>> {
    let trailer_end = offset + TRAILER_BYTES as u64;
    if length < trailer_end {
        return Ok(Some(Fault::new(
            length,
            format!("a trailer up to byte {trailer_end}"),
            "the end of the file",
        )));
    }
    if let Err(fault) = read_trailer(input)?.check(offset) {
        return Ok(Some(fault));
    }
    let after = length - trailer_end;
    Ok((after > 0).then(|| Fault::new(trailer_end, "the end of the file", format!("{after} bytes more"))))
}

/// Checks a block's bounds and payload without keeping it; the input stands behind its header. Gives the loss that it
/// declares, if it does.
pub(super) fn check_block<R: Read>(
    input: &mut R,
    header: &BlockHeader,
    offset: u64,
    records: u64,
) -> io::Result<Result<Option<LossAt>, Fault>> {
    if header.kind == block_kind::LOSS {
        if let Err(fault) = header.check_loss(offset) {
            return Ok(Err(fault));
        }
        let mut payload = [0; LOSS_BYTES];
        input.read_exact(&mut payload)?;
        if !header.matches(&payload) {
            return Ok(Err(bad_checksum(offset)));
        }
        let loss = Loss::read_from_bytes(&payload).expect("the array is as long as a loss");
        return Ok(Ok(Some(LossAt { record: records, ..LossAt::new(header, loss) })));
    }
    if matches!(header.kind, block_kind::PRIMARIES | block_kind::KEYFRAME) {
        if let Err(fault) = header.check_records(offset) {
            return Ok(Err(fault));
        }
        if header.first_record != records {
            let found = format!("record {}", header.first_record);
            return Ok(Err(Fault::new(offset, format!("a block that starts with record {records}"), found)));
        }
    }
    Ok(if check_payload(input, header)? { Ok(None) } else { Err(bad_checksum(offset)) })
}

/// Whether the payload, in front of which the input stands, has the checksum of the header.
pub(super) fn check_payload<R: Read>(input: &mut R, header: &BlockHeader) -> io::Result<bool> {
    let mut crc = header.crc_start();
    let mut piece = vec![0; CHECK_BYTES.min(header.stored_bytes as usize)];
    let mut left = header.stored_bytes as usize;
    while left > 0 {
        let bytes = left.min(piece.len());
        input.read_exact(&mut piece[..bytes])?;
        crc = crc32c::crc32c_append(crc, &piece[..bytes]);
        left -= bytes;
    }
    Ok(crc == header.crc)
}

/// Reads the header of the block at `offset`, where the input stands; the block must lie before `end`.
pub(super) fn read_block_header<R: Read>(
    input: &mut R,
    offset: u64,
    end: u64,
) -> io::Result<Result<BlockHeader, Fault>> {
    let truncated = |up_to: u64, what: &str| {
        Ok(Err(Fault::new(offset, format!("{what} up to byte {up_to}"), format!("an end at byte {end}"))))
    };
    let payload_at = offset.saturating_add(BLOCK_HEADER_BYTES as u64);
    if payload_at > end {
        return truncated(payload_at, "a block header");
    }
    let mut bytes = [0; BLOCK_HEADER_BYTES];
    input.read_exact(&mut bytes)?;
    let header = BlockHeader::read_from_bytes(&bytes).expect("the array is as long as the header");
    if header.magic != format::BLOCK_MAGIC {
        return Ok(Err(Fault::new(offset, "a block (\"TKBK\")", format::printable(&header.magic))));
    }
    let block_end = offset + header.block_bytes();
    if block_end > end {
        return truncated(block_end, "a block");
    }
    Ok(Ok(header))
}

pub(super) fn read_trailer<R: Read>(input: &mut R) -> io::Result<Trailer> {
    let mut bytes = [0; TRAILER_BYTES];
    input.read_exact(&mut bytes)?;
    Ok(Trailer::read_from_bytes(&bytes).expect("the array is as long as the trailer"))
}

pub(super) fn bad_checksum(offset: u64) -> Fault {
    Fault::new(offset, "a block whose bytes have its checksum", "other bytes")
}
