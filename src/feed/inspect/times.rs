//! By which times a file is replayed, and which of its times do not count.

use std::io::{Read, Seek};

use serde::Serialize;

use crate::feed::reader::Reader;
use crate::feed::running::Running;
use crate::feed::{pacing_time_ns, rfc3339};

/// Records whose time is far ahead of what follows, as where the recorder's clock was wrong: they hold nothing up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ahead {
    /// How many.
    pub records: u64,
    /// Running number of the first, from 0.
    pub first_record: u64,
    /// Its time.
    pub first_ns: String,
    /// The same as RFC 3339.
    pub first: String,
}

/// The times by which a file is replayed, as it is read.
#[derive(Default)]
pub(super) struct Times {
    running: Running,
    first_ns: Option<u64>,
    pub ahead: Option<Ahead>,
}

impl Times {
    /// Takes the record at a position in the block in hand, before which so many records stand.
    pub fn add<R: Read + Seek>(&mut self, reader: &Reader<R>, at: usize, before: u64) {
        let time_ns = pacing_time_ns(&reader.block()[at]);
        match (self.running.follow(reader, at), time_ns) {
            (Some(true), _) => self.first_ns = self.first_ns.or(time_ns),
            (Some(false), Some(time_ns)) => {
                let ahead = self.ahead.get_or_insert_with(|| Ahead {
                    records: 0,
                    first_record: before + at as u64,
                    first_ns: time_ns.to_string(),
                    first: rfc3339(time_ns),
                });
                ahead.records += 1;
            }
            _ => {}
        }
    }

    /// The first and the last time that counts.
    pub fn span_ns(&self) -> Option<(u64, u64)> {
        self.first_ns.zip(self.running.now_ns())
    }
}
