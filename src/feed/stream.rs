//! A feed file that comes through a pipe: read from front to back, without its index.

use std::io::{self, BufRead};
use std::sync::Arc;

use super::error::{Fault, FeedError};
use super::format::block_kind;
use super::payload::Unpacker;
use super::reader::{bad_checksum, check_block, read_block_header, read_start};
use crate::model::{Catalog, Primary};

/// A feed file being read as it comes. It ends with its index, or where a block would begin.
pub struct StreamReader<R> {
    input: R,
    path: String,
    catalog: Arc<Catalog>,
    /// Bytes read.
    offset: u64,
    /// Records read.
    read: u64,
    records: Vec<Primary>,
    stored: Vec<u8>,
    unpacker: Unpacker,
}

impl<R: BufRead> StreamReader<R> {
    /// Reads what the file says of itself; `path` is what errors call it.
    pub fn new(mut input: R, path: impl Into<String>) -> Result<StreamReader<R>, FeedError> {
        let path = path.into();
        let (description, offset) = read_start(&mut input, u64::MAX, &path)?;
        let catalog = Catalog::new(description.instruments)
            .map_err(|error| FeedError::Catalog { path: path.clone(), error })?;
        let unpacker = Unpacker::new().map_err(|error| unreadable(&path, error))?;
        let (records, stored) = (Vec::new(), Vec::new());
        Ok(StreamReader {
            input,
            path,
            catalog: Arc::new(catalog),
            offset,
            read: 0,
            records,
            stored,
            unpacker,
        })
    }

    /// The instruments.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The records of the next block; `None` at the end. What is damaged is an error, and nothing can follow it.
    pub fn next_block(&mut self) -> Result<Option<&[Primary]>, FeedError> {
        let damaged = |fault| FeedError::Damaged { path: self.path.clone(), fault };
        loop {
            let offset = self.offset;
            let io = |error: io::Error| match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    damaged(Fault::new(offset, "a whole block", "the end of the stream within it"))
                }
                _ => unreadable(&self.path, error),
            };
            if self.input.fill_buf().map_err(io)?.is_empty() {
                return Ok(None);
            }
            let header =
                read_block_header(&mut self.input, offset, u64::MAX).map_err(io)?.map_err(damaged)?;
            self.offset = offset.saturating_add(header.block_bytes());
            if header.kind != block_kind::PRIMARIES {
                check_block(&mut self.input, &header, offset, self.read).map_err(io)?.map_err(damaged)?;
                if header.kind == block_kind::INDEX {
                    return Ok(None);
                }
                continue;
            }
            header.check_records(offset).map_err(damaged)?;
            self.stored.resize(header.stored_bytes as usize, 0);
            self.input.read_exact(&mut self.stored).map_err(io)?;
            if !header.matches(&self.stored) {
                return Err(damaged(bad_checksum(offset)));
            }
            self.unpacker.unpack(&header, offset, &self.stored, &mut self.records).map_err(damaged)?;
            let instruments = self.catalog.len();
            let strange = self.records.iter().position(|primary| primary.instrument as usize >= instruments);
            if let Some(at) = strange {
                return Err(FeedError::Instrument {
                    path: self.path.clone(),
                    record: self.read + at as u64,
                    instrument: self.records[at].instrument,
                    instruments,
                });
            }
            self.read += u64::from(header.records);
            return Ok(Some(&self.records));
        }
    }
}

fn unreadable(path: &str, error: io::Error) -> FeedError {
    FeedError::Io { action: "read", path: path.to_owned(), error }
}
