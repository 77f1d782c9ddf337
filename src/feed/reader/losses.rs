//! The losses that a file declares.

use std::io::{self, Read, Seek, SeekFrom};

use super::{check_block, read_block_header};
use crate::feed::format::{BlockHeader, IndexEntry, Loss, block_kind, loss_reason};
use crate::model::ABSENT_TIME;

/// A loss that a file declares, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossAt {
    /// What is missing.
    pub loss: Loss,
    /// Running number of the record before which it is missing.
    pub record: u64,
    /// Pacing time of what came before, where it is known.
    pub from_ns: Option<u64>,
    /// Pacing time of what came after, where it is known.
    pub to_ns: Option<u64>,
}

impl LossAt {
    /// Of the header and payload of its block.
    pub(in crate::feed) fn new(header: &BlockHeader, loss: Loss) -> LossAt {
        let known = |time: u64| (time != ABSENT_TIME).then_some(time);
        let (from_ns, to_ns) = (known(header.first_time_ns), known(header.last_time_ns));
        LossAt { loss, record: header.first_record, from_ns, to_ns }
    }
}

/// The losses of a file that an index at `end` describes: they stand between the blocks that it names. What is no whole
/// block there may have been one.
pub(super) fn between<R: Read + Seek>(
    input: &mut R,
    blocks_start: u64,
    blocks: &[IndexEntry],
    end: u64,
) -> io::Result<Vec<LossAt>> {
    let mut losses = Vec::new();
    let (mut offset, mut record) = (blocks_start, 0);
    for at in 0..=blocks.len() {
        let until = blocks.get(at).map_or(end, |entry| entry.offset);
        while offset < until {
            match next_block(input, offset, until, record)? {
                Some((header, loss)) => {
                    losses.extend(loss);
                    offset += header.block_bytes();
                }
                None => {
                    let loss = Loss::new(Loss::UNKNOWN, loss_reason::DAMAGED);
                    losses.push(LossAt { loss, record, from_ns: None, to_ns: None });
                    break;
                }
            }
        }
        if let Some(entry) = blocks.get(at) {
            offset = entry.offset + u64::from(entry.bytes);
            record += u64::from(entry.records);
        }
    }
    Ok(losses)
}

/// The block of another kind than records at `offset`, and the loss that it declares; `None` where there is none.
fn next_block<R: Read + Seek>(
    input: &mut R,
    offset: u64,
    until: u64,
    record: u64,
) -> io::Result<Option<(BlockHeader, Option<LossAt>)>> {
    input.seek(SeekFrom::Start(offset))?;
    let Ok(header) = read_block_header(input, offset, until)? else { return Ok(None) };
    match header.kind {
        block_kind::PRIMARIES | block_kind::INDEX => Ok(None),
        // It says what the records say: who starts there checks it.
        block_kind::KEYFRAME => Ok(Some((header, None))),
        _ => Ok(check_block(input, &header, offset, record)?.ok().map(|loss| (header, loss))),
    }
}
