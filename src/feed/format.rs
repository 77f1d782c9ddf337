//! The bytes of a feed file, without any I/O (`docs/feed-format.md` is the byte map for strangers).
//!
//! ```text
//! file header 24 B | description | block | block | ... | index block | trailer 24 B
//! block = block header 48 B | payload
//! ```
//!
//! The fixed parts are little-endian structures without hidden padding: the same bytes in memory, in the file and from
//! bincode's fixed-width configuration. bincode alone writes what is cold: the description and the index.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::error::Fault;
use crate::limits;
use crate::model::{Instrument, Primary};

/// First bytes of every feed file.
pub const MAGIC: [u8; 8] = *b"TICKFEED";
/// First bytes of every block.
pub const BLOCK_MAGIC: [u8; 4] = *b"TKBK";
/// First bytes of the trailer.
pub const TRAILER_MAGIC: [u8; 8] = *b"TICKDONE";
/// Version of the layout. Another major version cannot be read; a greater minor version only adds what can be skipped.
pub const MAJOR: u16 = 1;
/// See [`MAJOR`].
pub const MINOR: u16 = 0;

/// Kinds of block. A reader checks and skips a kind that it does not know.
pub mod block_kind {
    /// Primary records, 64 bytes each.
    pub const PRIMARIES: u8 = 1;
    /// The index; the file's last block.
    pub const INDEX: u8 = 2;
    /// A keyframe, or a part of one: the state at this point, as primary records.
    pub const KEYFRAME: u8 = 3;
    /// Records that should be here and are not: one [`super::Loss`].
    pub const LOSS: u8 = 4;
}

/// How a block's payload is stored.
pub mod codec {
    /// As it is.
    pub const PLAIN: u8 = 0;
    /// One zstd frame.
    pub const ZSTD: u8 = 1;
    /// The columns of the records (`super::super::columns`), in one zstd frame.
    pub const COLUMNS: u8 = 2;
}

/// First 24 bytes of a file; the description follows.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    bincode::Encode,
    bincode::Decode,
)]
#[repr(C)]
pub struct FileHeader {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// CRC32C of everything from byte 12 to the description's end.
    pub crc: u32,
    /// [`MAJOR`].
    pub major: u16,
    /// [`MINOR`].
    pub minor: u16,
    /// Bytes of the description.
    pub description_bytes: u32,
    /// Zero.
    pub reserved: u32,
}

/// First 48 bytes of a block; the payload follows.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    bincode::Encode,
    bincode::Decode,
)]
#[repr(C)]
pub struct BlockHeader {
    /// [`BLOCK_MAGIC`].
    pub magic: [u8; 4],
    /// CRC32C of everything from byte 8 to the payload's end.
    pub crc: u32,
    /// [`block_kind`].
    pub kind: u8,
    /// [`codec`].
    pub codec: u8,
    /// Of a keyframe the parts of it that follow; else zero.
    pub parts_left: u16,
    /// Records in the payload; of an index 0.
    pub records: u32,
    /// Bytes of the payload as stored.
    pub stored_bytes: u32,
    /// Bytes of the payload when unpacked.
    pub raw_bytes: u32,
    /// Running number, from 0, of the block's first record; of other kinds that of the next record.
    pub first_record: u64,
    /// Pacing time of the first record, nanoseconds since the Unix epoch; the largest u64 where there is none. Of a
    /// keyframe the greatest of the records before, those of snapshots left out.
    pub first_time_ns: u64,
    /// Pacing time of the last record; the same. Of a keyframe the greatest of all records before.
    pub last_time_ns: u64,
}

/// What a block of kind [`block_kind::LOSS`] holds: records that should stand where it stands. 16 bytes.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    bincode::Encode,
    bincode::Decode,
)]
#[repr(C)]
pub struct Loss {
    /// How many; [`Loss::UNKNOWN`] where nobody knows.
    pub records: u64,
    /// The instrument they are about; [`Loss::EVERY_INSTRUMENT`] where they may be about any.
    pub instrument: u32,
    /// [`loss_reason`].
    pub reason: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// Why records are missing.
pub mod loss_reason {
    /// The recorder could not keep up with its source.
    pub const SLOW: u8 = 1;
    /// The medium refused to take them.
    pub const REFUSED: u8 = 2;
    /// What stood there was damaged; the file was repaired without it.
    pub const DAMAGED: u8 = 3;
    /// The recorder was told that it would not get them.
    pub const DECLARED: u8 = 4;
    /// The recorder did not hear of them: it was not connected, or what it heard was not whole.
    pub const MISSED: u8 = 5;
    /// History ended where they were recorded from: a new epoch began.
    pub const RESET: u8 = 6;
}

impl Loss {
    /// [`Loss::records`] where nobody knows how many.
    pub const UNKNOWN: u64 = u64::MAX;
    /// [`Loss::instrument`] of a loss that may be of any.
    pub const EVERY_INSTRUMENT: u32 = u32::MAX;

    /// So many records of any instrument.
    pub fn new(records: u64, reason: u8) -> Loss {
        Loss { records, instrument: Loss::EVERY_INSTRUMENT, reason, reserved: [0; 3] }
    }

    /// How many, where that is known.
    pub fn known_records(&self) -> Option<u64> {
        (self.records != Loss::UNKNOWN).then_some(self.records)
    }

    /// Why, in words.
    pub fn reason(&self) -> &'static str {
        match self.reason {
            loss_reason::SLOW => "the recorder could not keep up",
            loss_reason::REFUSED => "the disk did not take them",
            loss_reason::DAMAGED => "what stood there was damaged",
            loss_reason::DECLARED => "the server declared a gap",
            loss_reason::MISSED => "the recorder did not hear of them",
            loss_reason::RESET => "history ended at the server, and began anew",
            _ => "for a reason that this version does not know",
        }
    }
}

/// Last 24 bytes of a finished file.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    bincode::Encode,
    bincode::Decode,
)]
#[repr(C)]
pub struct Trailer {
    /// [`TRAILER_MAGIC`].
    pub magic: [u8; 8],
    /// CRC32C of the trailer from byte 12 on.
    pub crc: u32,
    /// Bytes of the index block, header included.
    pub index_bytes: u32,
    /// Where the index block starts.
    pub index_offset: u64,
}

/// One block of records in the index: 40 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
#[repr(C)]
pub struct IndexEntry {
    /// Where the block starts.
    pub offset: u64,
    /// Running number of its first record.
    pub first_record: u64,
    /// Pacing time of its first record.
    pub first_time_ns: u64,
    /// Pacing time of its last record.
    pub last_time_ns: u64,
    /// Bytes of the block, header included.
    pub bytes: u32,
    /// How many records it holds.
    pub records: u32,
}

/// How many records of one kind the file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct KindCount {
    /// [`crate::model::PrimaryKind`] as a number.
    pub kind: u8,
    /// How many.
    pub records: u64,
}

/// What the index block holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Index {
    /// Records in the file.
    pub records: u64,
    /// By kind, ascending; kinds without a record are left out.
    pub kinds: Vec<KindCount>,
    /// Every block of records, in the order of the file.
    pub blocks: Vec<IndexEntry>,
}

/// What a file says of itself before its first record.
#[derive(Clone, Debug, Default, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Description {
    /// The program that wrote the file, with its version.
    pub writer: String,
    /// Where the records come from, for people.
    pub source: String,
    /// The instruments; a record's `instrument` is a position here.
    pub instruments: Vec<Instrument>,
}

impl Description {
    /// A description by this program.
    pub fn new(source: impl Into<String>, instruments: Vec<Instrument>) -> Description {
        let writer = concat!("tickcast ", env!("CARGO_PKG_VERSION")).into();
        Description { writer, source: source.into(), instruments }
    }
}

/// Bytes of a [`FileHeader`].
pub const FILE_HEADER_BYTES: usize = size_of::<FileHeader>();
/// Bytes of a [`BlockHeader`].
pub const BLOCK_HEADER_BYTES: usize = size_of::<BlockHeader>();
/// Bytes of a [`Trailer`].
pub const TRAILER_BYTES: usize = size_of::<Trailer>();
/// Bytes of a record.
pub const RECORD_BYTES: usize = size_of::<Primary>();

/// Bytes of a [`Loss`].
pub const LOSS_BYTES: usize = size_of::<Loss>();

const _: () = assert!(LOSS_BYTES == 16);
const _: () = assert!(FILE_HEADER_BYTES == 24 && BLOCK_HEADER_BYTES == 48 && TRAILER_BYTES == 24);
const _: () = assert!(limits::FEED_BLOCK_RECORDS <= limits::FEED_BLOCK_RECORDS_MAX);
// Every length in a header is a u32.
const _: () = assert!(limits::FEED_INDEX_BYTES_MAX <= u32::MAX as usize);

/// bincode's configuration for what is cold: fixed-width, little-endian, never more than a description's or an
/// index's bound, so that a forged length cannot ask for more memory.
fn cold() -> bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Fixint,
    bincode::config::Limit<{ limits::FEED_INDEX_BYTES_MAX }>,
> {
    bincode::config::standard().with_fixed_int_encoding().with_limit()
}

/// Encodes a description or an index. `None` where it is beyond the bound.
pub fn encode_cold(value: &impl bincode::Encode, bytes_max: usize) -> Option<Vec<u8>> {
    let bytes = bincode::encode_to_vec(value, bincode::config::standard().with_fixed_int_encoding()).ok()?;
    (bytes.len() <= bytes_max).then_some(bytes)
}

/// Decodes a description or an index that starts at `offset` of the file; every byte must be used.
pub fn decode_cold<T: bincode::Decode<()>>(bytes: &[u8], offset: u64, what: &str) -> Result<T, Fault> {
    match bincode::decode_from_slice(bytes, cold()) {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        Ok((_, used)) => Err(Fault::new(
            offset,
            format!("{what} of {} bytes", bytes.len()),
            format!("one of {used} bytes"),
        )),
        Err(error) => Err(Fault::new(offset, what, error.to_string())),
    }
}

/// The file header and the description, ready to be written.
pub fn encode_start(description: &[u8]) -> Vec<u8> {
    let mut header = FileHeader {
        magic: MAGIC,
        crc: 0,
        major: MAJOR,
        minor: MINOR,
        description_bytes: description.len() as u32,
        reserved: 0,
    };
    header.crc = crc(&header.as_bytes()[12..], description);
    [header.as_bytes(), description].concat()
}

impl FileHeader {
    /// Whether the checksum is that of this header and description.
    pub fn matches(&self, description: &[u8]) -> bool {
        self.crc == crc(&self.as_bytes()[12..], description)
    }
}

impl BlockHeader {
    /// The same header with magic and checksum for this payload, as stored.
    pub fn sealed(self, payload: &[u8]) -> BlockHeader {
        let mut header = BlockHeader { magic: BLOCK_MAGIC, ..self };
        header.crc = crc(&header.as_bytes()[8..], payload);
        header
    }

    /// The checksum of the header's own part, to be carried on over the payload.
    pub fn crc_start(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[8..])
    }

    /// Whether the checksum is that of this header and payload, as stored.
    pub fn matches(&self, payload: &[u8]) -> bool {
        self.crc == crc(&self.as_bytes()[8..], payload)
    }

    /// Bytes of the block, header included.
    pub fn block_bytes(&self) -> u64 {
        BLOCK_HEADER_BYTES as u64 + u64::from(self.stored_bytes)
    }

    /// What the index says of the block of records at `offset`.
    pub fn entry(&self, offset: u64) -> IndexEntry {
        IndexEntry {
            offset,
            first_record: self.first_record,
            first_time_ns: self.first_time_ns,
            last_time_ns: self.last_time_ns,
            bytes: self.block_bytes() as u32,
            records: self.records,
        }
    }

    /// The bound of a block that declares a loss, which starts at `offset`.
    pub fn check_loss(&self, offset: u64) -> Result<(), Fault> {
        if self.stored_bytes as usize == LOSS_BYTES && self.codec == codec::PLAIN {
            return Ok(());
        }
        let found = format!("{} bytes with codec {}", self.stored_bytes, self.codec);
        Err(Fault::new(offset, format!("a declared loss of {LOSS_BYTES} plain bytes"), found))
    }

    /// The bounds of a block of records that starts at `offset`, known before anything is allocated for it.
    pub fn check_records(&self, offset: u64) -> Result<(), Fault> {
        let bound = |what: &str, value: u32, max: usize| {
            if value as usize <= max && value > 0 {
                return Ok(());
            }
            Err(Fault::new(offset, format!("a block of 1 to {max} {what}"), value.to_string()))
        };
        bound("records", self.records, limits::FEED_BLOCK_RECORDS_MAX)?;
        bound("stored bytes", self.stored_bytes, limits::FEED_BLOCK_STORED_BYTES_MAX)?;
        if self.raw_bytes as usize != self.records as usize * RECORD_BYTES {
            let expected =
                format!("{} raw bytes for {} records", self.records as usize * RECORD_BYTES, self.records);
            return Err(Fault::new(offset, expected, self.raw_bytes.to_string()));
        }
        match self.codec {
            codec::ZSTD | codec::COLUMNS => Ok(()),
            codec::PLAIN if self.stored_bytes == self.raw_bytes => Ok(()),
            codec::PLAIN => Err(Fault::new(
                offset,
                format!("{} stored bytes", self.raw_bytes),
                self.stored_bytes.to_string(),
            )),
            other => {
                Err(Fault::new(offset, "codec 0 (plain), 1 (zstd) or 2 (columns)", format!("codec {other}")))
            }
        }
    }
}

impl Trailer {
    /// The trailer of a file whose index block stands there.
    pub fn new(index_offset: u64, index_bytes: u32) -> Trailer {
        let mut trailer = Trailer { magic: TRAILER_MAGIC, crc: 0, index_bytes, index_offset };
        trailer.crc = crc32c::crc32c(&trailer.as_bytes()[12..]);
        trailer
    }

    /// Whether magic and checksum are right and the index ends where the trailer starts.
    pub fn check(&self, offset: u64) -> Result<(), Fault> {
        if self.magic != TRAILER_MAGIC {
            return Err(Fault::new(offset, "the trailer \"TICKDONE\"", printable(&self.magic)));
        }
        let crc = crc32c::crc32c(&self.as_bytes()[12..]);
        if self.crc != crc {
            return Err(Fault::new(
                offset,
                format!("trailer checksum {crc:08x}"),
                format!("{:08x}", self.crc),
            ));
        }
        if self.index_offset.checked_add(u64::from(self.index_bytes)) != Some(offset) {
            let found = format!("one of {} bytes at byte {}", self.index_bytes, self.index_offset);
            return Err(Fault::new(offset, "an index that ends at the trailer", found));
        }
        Ok(())
    }
}

impl Index {
    /// Whether the entries can be those of a file whose blocks stand between `start` and `end`, in order.
    pub fn check(&self, start: u64, end: u64) -> Result<(), Fault> {
        let mut offset = start;
        let mut records = 0_u64;
        for entry in &self.blocks {
            let block_end = entry.offset.checked_add(u64::from(entry.bytes));
            if entry.offset < offset || block_end.is_none_or(|block_end| block_end > end) {
                let found = format!("a block of {} bytes at byte {}", entry.bytes, entry.offset);
                return Err(Fault::new(end, format!("blocks between byte {offset} and byte {end}"), found));
            }
            if entry.first_record != records {
                let found = format!("record {}", entry.first_record);
                return Err(Fault::new(end, format!("a block that starts with record {records}"), found));
            }
            offset = entry.offset + u64::from(entry.bytes);
            records += u64::from(entry.records);
        }
        let by_kind = self.kinds.iter().fold(0_u64, |sum, kind| sum.saturating_add(kind.records));
        if self.records != records || by_kind != records {
            let found = format!("totals of {} and {by_kind} (by kind)", self.records);
            return Err(Fault::new(end, format!("a total of {records} records"), found));
        }
        Ok(())
    }
}

fn crc(header: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), payload)
}

/// Bytes for an error message: quoted text where they are ASCII, else hexadecimal.
pub(super) fn printable(bytes: &[u8]) -> String {
    if bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
        format!("{:?}", String::from_utf8_lossy(bytes))
    } else {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
    }
}
