//! Checks all of a feed file: every byte, every record, and that what it says of itself is so.

use std::io::{self, Read, Seek, Write};
use std::path::Path;

use serde::Serialize;

use super::error::{Fault, FeedError};
use super::format::{Index, IndexEntry, KindCount, block_kind};
use super::inspect::{counted, grouped};
use super::reader::{LossAt, open_file};
use super::time::rfc3339;
use super::walk::{Part, Walk, What};
use crate::limits;

/// What a check of a feed file found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The file.
    pub file: String,
    /// Whether it was finished and nothing is wrong with it.
    pub ok: bool,
    /// Why nothing of it can be read or saved: it is no feed file, of another version, or damaged where it says what its
    /// records are about. Absent where that is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// Bytes of the file.
    pub bytes: u64,
    /// Blocks of records that are whole.
    pub blocks: u64,
    /// Records in them.
    pub records: u64,
    /// Records before the first fault: what a reader gets.
    pub records_before_fault: u64,
    /// Losses that the file declares: it is whole, and these records are not in it.
    pub losses: Vec<DeclaredLoss>,
    /// What is wrong, in the order of the file; the first 1,000 of them.
    pub faults: Vec<LocatedFault>,
    /// How much is wrong in all.
    pub faults_total: u64,
}

/// A fault, and how many records stand before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LocatedFault {
    /// Byte offset from the file's start.
    pub offset: u64,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// Running number of the record that comes next there.
    pub record: u64,
}

/// Records that a file says are missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeclaredLoss {
    /// How many; absent where nobody knows.
    pub records: Option<u64>,
    /// Symbol of the instrument; absent where they may be of any.
    pub symbol: Option<String>,
    /// Running number of the record before which they are missing.
    pub before_record: u64,
    /// Time of what came before, nanoseconds since the Unix epoch, as text; absent where it is not known.
    pub from_ns: Option<String>,
    /// Time of what came after; the same.
    pub to_ns: Option<String>,
    /// Why, in words.
    pub reason: String,
}

impl DeclaredLoss {
    /// In words; `symbol` gives the symbol of an instrument.
    pub(super) fn new<'a>(at: &LossAt, symbol: impl Fn(u32) -> Option<&'a str>) -> DeclaredLoss {
        DeclaredLoss {
            records: at.loss.known_records(),
            symbol: symbol(at.loss.instrument).map(str::to_owned),
            before_record: at.record,
            from_ns: at.from_ns.map(|time| time.to_string()),
            to_ns: at.to_ns.map(|time| time.to_string()),
            reason: at.loss.reason().into(),
        }
    }

    /// Writes it as a line of a report.
    pub(super) fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let unknown = || "an unknown number of records".to_owned();
        let count = self.records.map_or_else(unknown, |records| counted(records, "record"));
        let symbol = self.symbol.as_ref().map_or_else(String::new, |symbol| format!(" of {symbol}"));
        write!(out, "  lost      {count}{symbol} before record {}", grouped(self.before_record))?;
        let time = |ns: &Option<String>| ns.as_ref().and_then(|ns| ns.parse().ok()).map(rfc3339);
        match (time(&self.from_ns), time(&self.to_ns)) {
            (Some(from), Some(to)) => write!(out, ", from {from} to {to}")?,
            (Some(from), None) => write!(out, ", from {from} on")?,
            (None, Some(to)) => write!(out, ", up to {to}")?,
            (None, None) => {}
        }
        writeln!(out, ": {}", self.reason)
    }
}

impl Verification {
    /// Writes the result as text: a line, then one for each loss and each fault.
    pub fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let figures = format!(
            "{} in {}, {}",
            counted(self.records, "record"),
            counted(self.blocks, "block"),
            counted(self.bytes, "byte")
        );
        if let Some(why) = &self.unreadable {
            writeln!(out, "{}: NOTHING can be read or repaired: {why}", self.file)?;
            return Ok(());
        }
        if self.ok {
            writeln!(out, "{}: ok, {figures}", self.file)?;
        } else {
            let before = counted(self.records_before_fault, "record");
            let faults = counted(self.faults_total, "fault");
            writeln!(
                out,
                "{}: DAMAGED, {faults}; whole are {figures}; {before} before the first fault",
                self.file
            )?;
        }
        self.losses.iter().try_for_each(|loss| loss.write_text(out))?;
        for fault in &self.faults {
            let LocatedFault { offset, expected, found, record } = fault;
            writeln!(
                out,
                "  fault     at byte {offset} (record {record}): expected {expected}, found {found}"
            )?;
        }
        if let more @ 1.. = self.faults_total - self.faults.len() as u64 {
            writeln!(out, "  and {}", counted(more, "more fault"))?;
        }
        Ok(())
    }
}

/// Checks a file from its first byte to its last: header, description, each block's bounds and checksum, each record's
/// kind and instrument, the running numbers, and that the index names exactly the blocks that are there. `progress`
/// hears how many bytes of how many were checked.
///
/// # Errors
/// Where the file cannot be read at all; what is wrong with its bytes is in the result.
pub fn verify(path: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Verification, FeedError> {
    let name = path.display().to_string();
    let (file, metadata) = open_file(path)?;
    let found = verify_in(file, name, progress)?;
    Ok(Verification { bytes: metadata.len(), ..found })
}

/// As [`verify`], of an input that errors call `path`.
///
/// # Errors
/// The same.
pub fn verify_in<R: Read + Seek>(
    input: R,
    path: impl Into<String>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verification, FeedError> {
    let path = path.into();
    let mut found = Verification { file: path.clone(), ..Verification::default() };
    let mut walk = match Walk::new(input, path) {
        Ok(walk) => walk,
        Err(error @ (FeedError::Io { .. } | FeedError::TooMany { .. })) => return Err(error),
        Err(error) => {
            found.unreadable = Some(error.to_string());
            found.fault(error.into_fault(), 0);
            return Ok(found);
        }
    };
    found.bytes = walk.length();
    let mut check = Check { found, ..Check::default() };
    while let Some(part) = walk.next()? {
        progress(part.end, walk.length());
        check.part(&part, &walk);
    }
    Ok(check.finish(walk.blocks_start(), walk.length()))
}

/// What is known of the file so far.
#[derive(Default)]
struct Check {
    found: Verification,
    /// Running number of the next record.
    next_record: u64,
    /// Whether the blocks before are whole, so that the next record's number is certain.
    was_damaged: bool,
    blocks: Vec<IndexEntry>,
    kinds: Vec<u64>,
    index: Option<(u64, Index)>,
    has_trailer: bool,
}

impl Check {
    fn part<R: Read + Seek>(&mut self, part: &Part, walk: &Walk<R>) {
        let offset = part.offset;
        if self.index.is_some() && !matches!(part.what, What::Trailer(_) | What::Damage(..)) {
            self.fault(Fault::new(offset, "the trailer, behind the index", "a block"));
        }
        match &part.what {
            What::Records(header) => {
                if header.first_record != self.next_record && !self.was_damaged {
                    let expected = format!("a block that starts with record {}", self.next_record);
                    self.fault(Fault::new(offset, expected, format!("record {}", header.first_record)));
                }
                self.was_damaged = false;
                self.next_record = header.first_record.saturating_add(u64::from(header.records));
                self.found.blocks += 1;
                self.found.records += u64::from(header.records);
                self.blocks.push(header.entry(offset));
                self.kinds.resize(256, 0);
                for primary in walk.records() {
                    self.kinds[usize::from(primary.kind)] += 1;
                }
            }
            What::Improper(header, fault) => {
                self.fault(fault.clone());
                if header.kind == block_kind::PRIMARIES {
                    self.next_record = header.first_record.saturating_add(u64::from(header.records));
                }
                self.was_damaged = true;
            }
            What::Loss(_, loss) => {
                if loss.record != self.next_record && !self.was_damaged {
                    let expected = format!("a loss before record {}", self.next_record);
                    self.fault(Fault::new(offset, expected, format!("one before record {}", loss.record)));
                }
                let symbol = |id: u32| {
                    walk.description()
                        .instruments
                        .get(id as usize)
                        .map(|instrument| instrument.symbol.as_str())
                };
                self.found.losses.push(DeclaredLoss::new(loss, symbol));
            }
            What::Index(index) => self.index = Some((offset, index.clone())),
            What::Keyframe(header) => {
                if header.first_record != self.next_record && !self.was_damaged {
                    let expected = format!("a keyframe before record {}", self.next_record);
                    let found = format!("one before record {}", header.first_record);
                    self.fault(Fault::new(offset, expected, found));
                }
            }
            What::Other(_) => {}
            What::Trailer(trailer) => {
                self.has_trailer = true;
                let stands_at = self.index.as_ref().map(|(at, _)| *at);
                if stands_at != Some(trailer.index_offset) {
                    let found = stands_at.map_or("none".to_owned(), |at| format!("one at byte {at}"));
                    let expected = format!("the index at byte {}", trailer.index_offset);
                    self.fault(Fault::new(offset, expected, found));
                }
            }
            What::Damage(fault, _) => {
                self.fault(fault.clone());
                self.was_damaged = true;
            }
        }
    }

    /// The result, once the end of the file was seen.
    fn finish(mut self, blocks_start: u64, length: u64) -> Verification {
        let was_whole = self.found.faults_total == 0;
        match self.index.take() {
            Some((offset, index)) if was_whole => {
                if let Err(fault) = index.check(blocks_start, offset) {
                    self.fault(fault);
                } else if let Err(fault) = self.compare(offset, &index) {
                    self.fault(fault);
                }
                if !self.has_trailer {
                    self.fault(Fault::new(length, "a trailer", "the end of the file"));
                }
            }
            None if was_whole => {
                self.fault(Fault::new(length, "a block, or the index", "the end of the file"));
            }
            // What the index says of damaged blocks is no news.
            Some(_) | None => {}
        }
        if self.found.faults_total == 0 {
            self.found.records_before_fault = self.found.records;
        }
        self.found.ok = self.found.faults_total == 0;
        self.found
    }

    /// Whether the index names the blocks that were found, and counts their records.
    fn compare(&self, offset: u64, index: &Index) -> Result<(), Fault> {
        let length = index.blocks.len().max(self.blocks.len());
        let (named, there) = (&index.blocks, &self.blocks);
        if let Some(at) = (0..length).find(|at| named.get(*at) != there.get(*at)) {
            let text = |entry: Option<&IndexEntry>| {
                entry.map_or("no block".to_owned(), |entry| {
                    let IndexEntry { offset, bytes, first_record, records, .. } = entry;
                    format!("a block at byte {offset}, {bytes} bytes, {records} records from record {first_record} on")
                })
            };
            return Err(Fault::new(
                offset,
                format!("an index with {} as block {at}", text(there.get(at))),
                text(named.get(at)),
            ));
        }
        let counted: Vec<KindCount> = (0..=u8::MAX)
            .zip(&self.kinds)
            .filter(|(_, records)| **records > 0)
            .map(|(kind, records)| KindCount { kind, records: *records })
            .collect();
        if index.kinds != counted {
            return Err(Fault::new(
                offset,
                format!("an index with {counted:?}"),
                format!("{:?}", index.kinds),
            ));
        }
        Ok(())
    }

    fn fault(&mut self, fault: Fault) {
        self.found.fault(fault, self.next_record);
    }
}

impl Verification {
    fn fault(&mut self, fault: Fault, record: u64) {
        if self.faults_total == 0 {
            self.records_before_fault = self.records;
        }
        self.faults_total += 1;
        if self.faults.len() < limits::FEED_FAULTS_TOLD {
            let Fault { offset, expected, found } = fault;
            self.faults.push(LocatedFault { offset, expected, found, record });
        }
    }
}
