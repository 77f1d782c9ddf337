//! Saves what is left of a feed file that was not finished, or is damaged.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::FeedError;
use super::format::{BlockHeader, Index, Loss, block_kind, loss_reason};
use super::inspect::{counted, grouped};
use super::reader::open_file;
use super::walk::{Part, Walk, What};
use super::writer::{Sink, Writer, create_new};
use crate::model::Catalog;

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// The damaged file.
    pub file: String,
    /// The whole one.
    pub out: String,
    /// Where the damaged file is kept, where the whole one took its place.
    pub kept_as: Option<String>,
    /// Whether nothing was wrong with it. Where no other file was to be written, nothing was then.
    pub was_whole: bool,
    /// Records that the whole one holds.
    pub records: u64,
    /// Blocks of records that it holds.
    pub blocks: u64,
    /// Bytes from the start on that are the same in both.
    pub same_bytes: u64,
    /// Bytes of the damaged file that are no part of the whole one, its index and trailer apart.
    pub damaged_bytes: u64,
    /// Places where records are missing that the damaged file had; each is declared in the whole one.
    pub losses: u64,
    /// Records missing there, of those that are known to have been.
    pub lost_records: u64,
    /// Whether it is not known of some how many were lost.
    pub lost_more: bool,
}

impl Repaired {
    /// Writes it as text.
    pub fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        if self.was_whole {
            writeln!(out, "{}: nothing to repair, {}", self.file, counted(self.records, "record"))?;
            return Ok(());
        }
        let Repaired { file, out: whole, records, blocks, same_bytes, damaged_bytes, losses, .. } = self;
        writeln!(
            out,
            "{whole}: {} in {} recovered; the first {} bytes are those of {file}",
            counted(*records, "record"),
            counted(*blocks, "block"),
            grouped(*same_bytes)
        )?;
        if *losses > 0 {
            let count = match (self.lost_records, self.lost_more) {
                (0, _) => "an unknown number of records".to_owned(),
                (lost, false) => counted(lost, "record"),
                (lost, true) => format!("{}, and an unknown number more", counted(lost, "record")),
            };
            let (places, bytes) = (counted(*losses, "place"), counted(*damaged_bytes, "damaged byte"));
            writeln!(out, "  lost      {count} in {places} ({bytes}); the file declares each")?;
        }
        match &self.kept_as {
            Some(kept_as) => writeln!(out, "  kept      the damaged file as {kept_as}"),
            None => Ok(()),
        }
    }
}

/// Writes a whole file of what can be read of `path`: to `out`, which must not exist yet, or in its place. The damaged
/// file then stays beside it, as `path` with `.damaged` behind its name.
///
/// Blocks before the first fault are kept byte for byte. Behind a damaged block the next whole one is looked for; what
/// is missing between them is declared as a [`Loss`]. `progress` hears how many bytes of how many were read.
///
/// # Errors
/// A file that cannot be read or written, or whose header or description are damaged: nothing can be made of it then.
pub fn repair(
    path: &Path,
    out: Option<&Path>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Repaired, FeedError> {
    let io = |action, path: &Path| {
        let path = path.display().to_string();
        move |error| FeedError::Io { action, path, error }
    };
    let (input, metadata) = open_file(path)?;
    let mut walk = Walk::new(input, path.display().to_string())?;
    let kept_as = with_suffix(path, ".damaged");
    let written = out.map_or_else(|| with_suffix(path, ".repairing"), Path::to_path_buf);
    let sink = create_new(&written)?;
    let unfinished = Unfinished(Some(&written));
    sink.set_permissions(metadata.permissions()).map_err(io("create", &written))?;
    let (_, mut repaired) = salvage(&mut walk, sink, &written.display().to_string(), progress)?;
    repaired.file = path.display().to_string();
    repaired.out = out.unwrap_or(path).display().to_string();
    if out.is_none() && repaired.was_whole {
        return Ok(repaired);
    }
    if out.is_none() {
        if kept_as.exists() {
            let (path, kept_as) = (path.display().to_string(), kept_as.display().to_string());
            return Err(FeedError::KeptBefore { path, kept_as });
        }
        take_place(&written, path, &kept_as).map_err(io("replace", path))?;
        repaired.kept_as = Some(kept_as.display().to_string());
    }
    unfinished.keep();
    let out = out.unwrap_or(path);
    sync_folder(out).map_err(io("sync the folder of", out))?;
    Ok(repaired)
}

/// A file that is removed again unless it is kept.
struct Unfinished<'a>(Option<&'a Path>);

impl Unfinished<'_> {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            // Why it is removed is what the user is told.
            let _ = fs::remove_file(path);
        }
    }
}

/// The whole file takes the place of the damaged one, which gets another name. There is no moment without a file of
/// that name where the file system has hard links.
fn take_place(whole: &Path, damaged: &Path, kept_as: &Path) -> io::Result<()> {
    match fs::hard_link(damaged, kept_as) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
        Err(_) => fs::rename(damaged, kept_as)?,
        Ok(()) => {}
    }
    fs::rename(whole, damaged)
}

/// Returns when the names in the folder of a file are on the medium.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// As [`repair`], from an input into a sink: errors call them `path` and `name`. Nothing is renamed or synced.
///
/// # Errors
/// The same.
pub fn repair_into<R: Read + Seek, S: Sink>(
    input: R,
    path: &str,
    sink: S,
    name: &str,
) -> Result<(S, Repaired), FeedError> {
    salvage(&mut Walk::new(input, path)?, sink, name, &mut |_, _| {})
}

/// Writes what can be read into `sink`, which errors call `name`.
fn salvage<R: Read + Seek, S: Sink>(
    walk: &mut Walk<R>,
    sink: S,
    name: &str,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(S, Repaired), FeedError> {
    let start = walk.start_bytes()?;
    let catalog = Catalog::new(walk.description().instruments.clone())
        .map_err(|error| FeedError::Catalog { path: name.to_owned(), error })?;
    let writer = Writer::with_start(sink, name.to_owned(), start, catalog)?;
    let same_bytes = walk.blocks_start();
    let repaired = Repaired { same_bytes, ..Repaired::default() };
    let mut salvage = Salvage {
        writer,
        next_record: 0,
        torn: None,
        last_ns: None,
        has_trailer: false,
        index: None,
        had_fault: false,
        repaired,
    };
    while let Some(part) = walk.next()? {
        progress(part.end, walk.length());
        salvage.part(&part, walk)?;
    }
    salvage.finish(walk.length())
}

/// A file being saved.
struct Salvage<S: Sink> {
    writer: Writer<S>,
    /// Running number, in the damaged file, of the record that comes next.
    next_record: u64,
    /// What is known of a damaged part since the last whole block: whether it may have held records.
    torn: Option<Torn>,
    /// Time of the last record.
    last_ns: Option<u64>,
    has_trailer: bool,
    /// What the index says, where it is whole.
    index: Option<Index>,
    /// Whether anything is no part of a whole file.
    had_fault: bool,
    repaired: Repaired,
}

/// What a damaged part can have been.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Torn {
    /// The index, the trailer or a keyframe: no record is missing.
    End,
    /// Anything.
    Block,
}

impl<S: Sink> Salvage<S> {
    fn part<R: Read + Seek>(&mut self, part: &Part, walk: &Walk<R>) -> Result<(), FeedError> {
        self.had_fault |= matches!(part.what, What::Damage(..) | What::Improper(..));
        match &part.what {
            What::Records(header) | What::Loss(header, _) | What::Keyframe(header) => {
                self.block(header, part, walk)
            }
            What::Other(header) if !walk.stored().is_empty() => self.block(header, part, walk),
            What::Index(index) => {
                self.index = Some(index.clone());
                self.declare(Some(index.records), None)?;
                self.next_record = self.next_record.max(index.records);
                self.torn = Some(Torn::End);
                Ok(())
            }
            What::Trailer(_) => {
                self.has_trailer = true;
                Ok(())
            }
            What::Improper(header, _) if header.kind == block_kind::KEYFRAME => {
                self.repaired.damaged_bytes += part.end - part.offset;
                Ok(())
            }
            What::Improper(..) | What::Other(_) => {
                self.damaged(part);
                Ok(())
            }
            What::Damage(_, has_none) => {
                // What is torn behind the index was the trailer.
                if *has_none || self.torn == Some(Torn::End) {
                    self.torn = self.torn.or(Some(Torn::End));
                } else {
                    self.damaged(part);
                }
                Ok(())
            }
        }
    }

    /// Takes over a whole block, of records or of another kind.
    fn block<R: Read + Seek>(
        &mut self,
        header: &BlockHeader,
        part: &Part,
        walk: &Walk<R>,
    ) -> Result<(), FeedError> {
        if header.first_record < self.next_record {
            // Of another file, or there twice: its place is taken.
            self.damaged(part);
            return Ok(());
        }
        let is_records = header.kind == block_kind::PRIMARIES;
        self.declare(Some(header.first_record), known(header.first_time_ns).filter(|_| is_records))?;
        self.copy(header, part, walk)?;
        self.next_record = header.first_record;
        if is_records {
            self.next_record = self.next_record.saturating_add(u64::from(header.records));
            self.last_ns = known(header.last_time_ns).or(self.last_ns);
            self.repaired.blocks += 1;
        }
        Ok(())
    }

    fn copy<R: Read + Seek>(
        &mut self,
        header: &BlockHeader,
        part: &Part,
        walk: &Walk<R>,
    ) -> Result<(), FeedError> {
        let is_same = self.writer.bytes() == part.offset && self.repaired.same_bytes == part.offset;
        let records = if header.kind == block_kind::PRIMARIES { walk.records() } else { &[] };
        self.writer.copy(*header, walk.stored(), records)?;
        if is_same {
            self.repaired.same_bytes = part.end;
        }
        Ok(())
    }

    fn damaged(&mut self, part: &Part) {
        self.repaired.damaged_bytes += part.end - part.offset;
        self.torn = Some(Torn::Block);
    }

    /// Declares what is missing where record `next` comes, or (`None`) the end of the file.
    fn declare(&mut self, next: Option<u64>, to_ns: Option<u64>) -> Result<(), FeedError> {
        let torn = self.torn.take();
        let missing = match next.map_or(0, |next| next.saturating_sub(self.next_record)) {
            // It held no records that were numbered: those at the end, or a loss that was declared there.
            0 if torn == Some(Torn::Block) => Loss::UNKNOWN,
            missing => missing,
        };
        if missing == 0 {
            return Ok(());
        }
        self.repaired.losses += 1;
        match missing {
            Loss::UNKNOWN => self.repaired.lost_more = true,
            missing => {
                self.repaired.lost_records = self.repaired.lost_records.saturating_add(missing);
            }
        }
        self.writer.declare_loss(Loss::new(missing, loss_reason::DAMAGED), self.last_ns, to_ns)
    }

    fn finish(mut self, length: u64) -> Result<(S, Repaired), FeedError> {
        self.declare(None, None)?;
        let has_index = self.index.as_ref() == Some(&self.writer.index());
        let (written, sink) = self.writer.finish_into()?;
        self.repaired.records = written.records;
        let is_whole = has_index && self.has_trailer && !self.had_fault && self.repaired.losses == 0;
        self.repaired.was_whole = is_whole && written.bytes == length;
        Ok((sink, self.repaired))
    }
}

/// A time of a block's header, where there is one.
fn known(time_ns: u64) -> Option<u64> {
    (time_ns != crate::model::ABSENT_TIME).then_some(time_ns)
}
