//! Starts reading at a keyframe.

use std::io::{self, Read, Seek, SeekFrom};

use super::{Reader, check_block, read_block_header};
use crate::feed::FeedError;
use crate::feed::format::block_kind;
use crate::model::{ABSENT_TIME, Primary};

/// Where a keyframe stands, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyframe {
    /// The running number of the record that comes next.
    pub record: u64,
    /// Greatest pacing time of the records before, those of snapshots left out; `None`: none had one.
    pub time_ns: Option<u64>,
    /// The same, those of snapshots counted in.
    pub place_ns: Option<u64>,
    /// Where its first block starts.
    offset: u64,
    /// The block of records behind it, by its position in the index.
    block: usize,
}

impl<R: Read + Seek> Reader<R> {
    /// The last keyframe with only records before `time_ns` before it, by their pacing times; those of snapshots count
    /// too. One that is damaged is passed over, since the records say the same.
    pub fn keyframe_before(&mut self, time_ns: u64) -> Result<Option<Keyframe>, FeedError> {
        for block in (1..=self.blocks.len()).rev() {
            let before = &self.blocks[block - 1];
            if before.first_time_ns != ABSENT_TIME && before.first_time_ns >= time_ns {
                continue;
            }
            let found = self.keyframe_at(block).map_err(|error| self.unreadable(error))?;
            if let Some(keyframe) = found.filter(|keyframe| keyframe.place_ns < Some(time_ns)) {
                return Ok(Some(keyframe));
            }
        }
        Ok(None)
    }

    /// Gives the records of a keyframe to `take`; the block that is read next is the one behind it.
    pub fn start_at(&mut self, keyframe: Keyframe, mut take: impl FnMut(&Primary)) -> Result<(), FeedError> {
        let mut offset = keyframe.offset;
        loop {
            let header = self.header_at(offset)?;
            self.unpack(&header, offset)?;
            self.records.iter().for_each(&mut take);
            offset += header.block_bytes();
            if header.parts_left == 0 {
                break;
            }
        }
        self.next = keyframe.block;
        self.records.clear();
        Ok(())
    }

    /// A whole keyframe among what stands between a block of records, by its position in the index, and the block
    /// before.
    fn keyframe_at(&mut self, block: usize) -> io::Result<Option<Keyframe>> {
        let before = &self.blocks[block - 1];
        let (mut offset, record) =
            (before.offset + u64::from(before.bytes), before.first_record + u64::from(before.records));
        let end = self.blocks.get(block).map_or(self.blocks_end, |entry| entry.offset);
        let mut found: Option<Keyframe> = None;
        let mut parts_left = None;
        while offset < end {
            self.input.seek(SeekFrom::Start(offset))?;
            let Ok(header) = read_block_header(&mut self.input, offset, end)? else { break };
            if check_block(&mut self.input, &header, offset, record)?.is_err() {
                break;
            }
            if header.kind == block_kind::KEYFRAME {
                let follows = |left: u16| left.checked_sub(1) == Some(header.parts_left);
                if !parts_left.is_none_or(follows) {
                    break;
                }
                found.get_or_insert(Keyframe {
                    record,
                    time_ns: known(header.first_time_ns),
                    place_ns: known(header.last_time_ns),
                    offset,
                    block,
                });
                parts_left = Some(header.parts_left);
                if header.parts_left == 0 {
                    return Ok(found);
                }
            } else if found.is_some() {
                break;
            }
            offset += header.block_bytes();
        }
        Ok(None)
    }
}

fn known(time_ns: u64) -> Option<u64> {
    (time_ns != ABSENT_TIME).then_some(time_ns)
}
