//! What all importers share: two readings of every input, the first to learn, the second to write.
//!
//! The first ends where its format says that nothing is left to learn. Should the second then meet an instrument that
//! is not listed, both begin anew, and the first goes to the end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};

use super::event_ends::{Ends, EventEnds};
use super::findings::Findings;
use super::listing::Listing;
use super::stored::Source;
use super::{ImportError, ImportOptions, Imported, Progress, same};
use crate::feed::FeedError;
use crate::feed::format::Description;
use crate::feed::keyframe::KeyframeSettings;
use crate::feed::writer::{Writer, Written};
use crate::limits;
use crate::model::Primary;

/// Files named in a feed file's description; of more, the number.
const FILES_NAMED_MAX: usize = 8;

/// A kind of recording that can be taken in.
pub(super) trait Format {
    /// One input of it, being read.
    type Recording: Recording;

    /// Opens an input and reads as much of it as tells whether it is of this kind.
    fn open(&self, path: &Path) -> Result<Self::Recording, ImportError>;
}

/// One input being read, from its start to its end. Both readings do the same; what they need of each other is in the
/// [`Listing`]. Memory must not grow with the input.
pub(super) trait Recording {
    /// Takes the next piece in hand; false at the end. Damage is noted in the findings and passed over; an error ends
    /// the import.
    fn advance(&mut self, reading: &mut Reading) -> Result<bool, ImportError>;

    /// Whether the first reading may end here: what follows names no instrument that is not listed, as a rule, and
    /// changes none.
    fn is_learnt(&self) -> bool {
        false
    }

    /// The piece in hand.
    fn piece(&self) -> &Piece;

    /// The input that it is.
    fn source(&self) -> &Source;

    /// Bytes of all its files, as stored.
    fn bytes(&self) -> u64 {
        self.source().bytes
    }

    /// How many of them were read.
    fn bytes_read(&self) -> u64 {
        self.source().bytes_read()
    }

    /// A line on the input for the feed file's description.
    fn describe(&self) -> String;
}

/// What a part of an input became.
#[derive(Debug, Default)]
pub(super) struct Piece {
    /// The time by which several inputs are merged, nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// The records. Events that end before the last of them are flagged by the importer.
    pub primaries: Vec<Primary>,
    /// Whether the last of them ends its exchange event.
    pub ends: Ends,
}

/// What one reading of the inputs finds.
pub(super) struct Reading {
    /// The instruments.
    pub listing: Listing,
    /// What is to be reported.
    pub findings: Findings,
}

/// Reads the inputs and writes the feed file `out`, which must not exist. `progress` hears now and then how far it is.
pub(super) fn import<F: Format>(
    format: &F,
    inputs: &[PathBuf],
    out: &Path,
    options: ImportOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    if inputs.is_empty() || inputs.len() > limits::IMPORT_FILES_MAX {
        return Err(ImportError::Files(inputs.len()));
    }
    same::refuse_one_file_twice(inputs)?;
    if out.exists() {
        return Err(ImportError::Exists { path: out.display().to_string() });
    }
    match read_twice(format, inputs, out, options, Survey::Short, progress) {
        // Something was not listed. If that is because an input changed, the same happens again.
        Err(ImportError::Changed { .. }) => read_twice(format, inputs, out, options, Survey::Whole, progress),
        imported => imported,
    }
}

/// How far the first reading goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Survey {
    /// To where the format says that all is learnt, if it ever does.
    Short,
    /// To the end.
    Whole,
}

/// Reads the inputs and writes the feed file.
fn read_twice<F: Format>(
    format: &F,
    inputs: &[PathBuf],
    out: &Path,
    options: ImportOptions,
    survey: Survey,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    let mut watched = Watched { progress, done: 0, total: 0 };
    for path in inputs {
        watched.total += 2 * format.open(path)?.bytes();
    }
    let mut reading = Reading { listing: Listing::default(), findings: Findings::new(options.strict) };
    let sources = learn(format, inputs, survey, &mut reading, &mut watched)?;
    let description = reading.listing.close(describe(&sources));
    let instruments = reading.listing.len();
    // The second reading meets all of it again.
    reading.findings = Findings::new(options.strict);
    note_renamed(&reading.listing, &description, &mut reading.findings);
    if instruments == 0 {
        reading.findings.note("nothing in the input is about an instrument: the feed file is empty");
    }
    let (source_records, written) = write(format, inputs, &description, out, &mut reading, &mut watched)
        .inspect_err(|error| {
            // The input is still there: half a feed file is of no use. One that somebody else has just made is not ours.
            if !matches!(error, ImportError::Feed(FeedError::Exists { .. })) {
                let _ = std::fs::remove_file(out);
            }
        })?;
    for (path, other) in same::copies(inputs) {
        let (path, other) = (path.display(), other.display());
        reading
            .findings
            .note(format!("{path} holds the same bytes as {other}: what they say is there twice"));
    }
    Ok(Imported { source_records, instruments, written, findings: reading.findings })
}

/// Who hears of the progress, and what was told.
struct Watched<'a> {
    progress: &'a mut dyn FnMut(Progress),
    done: u64,
    total: u64,
}

impl Watched<'_> {
    /// Reports every this many pieces.
    const EVERY: u64 = 65_536;

    fn tell(&mut self, within: u64) {
        (self.progress)(Progress { done: (self.done + within).min(self.total), total: self.total });
    }
}

/// Reads all inputs once and lists their instruments. Gives a line on each input.
fn learn<F: Format>(
    format: &F,
    inputs: &[PathBuf],
    survey: Survey,
    reading: &mut Reading,
    watched: &mut Watched<'_>,
) -> Result<Vec<String>, ImportError> {
    let mut sources = Vec::new();
    for path in inputs {
        let mut input = format.open(path)?;
        let before = (reading.findings.damaged, reading.findings.unknown_messages());
        let mut pieces = 0_u64;
        let mut is_short = false;
        while !is_short && input.advance(reading)? {
            pieces += 1;
            if pieces.is_multiple_of(Watched::EVERY) {
                watched.tell(input.bytes_read());
            }
            is_short = survey == Survey::Short && input.is_learnt();
        }
        if is_short {
            watched.total -= input.bytes();
        } else {
            watched.done += input.bytes();
        }
        if input.source().records == 0
            && let Some(problem) = nothing_of(input.source(), &reading.findings, before)
        {
            return Err(ImportError::Nothing { problem, expected: input.source().expected });
        }
        watched.tell(0);
        sources.push(input.describe());
    }
    Ok(sources)
}

/// Why an input without a record is not simply one of a quiet day; `None` where it may be. `before` is how many damaged
/// places and messages of unknown types there were in the inputs before it.
fn nothing_of(source: &Source, findings: &Findings, before: (u64, u64)) -> Option<String> {
    let path = &source.path;
    if findings.damaged > before.0 {
        let shown = findings.damage.iter().find(|damage| damage.path == *path);
        return Some(shown.map_or_else(|| format!("{path} has not one whole record"), ToString::to_string));
    }
    let name = findings.unknown.keys().next().filter(|_| findings.unknown_messages() > before.1)?;
    Some(format!("{path} has only messages of types that are not known, such as {name:?}"))
}

/// Reads all inputs again, merged, and writes what they say. Gives the number of the source's records too.
fn write<F: Format>(
    format: &F,
    inputs: &[PathBuf],
    description: &Description,
    out: &Path,
    reading: &mut Reading,
    watched: &mut Watched<'_>,
) -> Result<(u64, Written), ImportError> {
    let mut open = inputs.iter().map(|path| format.open(path)).collect::<Result<Vec<_>, _>>()?;
    let mut order = BinaryHeap::new();
    for (number, input) in open.iter_mut().enumerate() {
        if input.advance(reading)? {
            order.push(Reverse((input.piece().time_ns, number)));
        }
    }
    let mut writer = Writer::create(out, description)?.with_keyframes(KeyframeSettings::default());
    let mut ends = EventEnds::default();
    let mut pieces = 0_u64;
    let mut first = order.pop();
    while let Some(Reverse((_, number))) = first {
        let input = &mut open[number];
        let piece = input.piece();
        ends.take(&piece.primaries, piece.ends, |primary| writer.push(primary))?;
        first = if input.advance(reading)? {
            // Mostly the same input goes on, and nothing has to be put in order.
            let next = Reverse((input.piece().time_ns, number));
            match order.peek_mut() {
                Some(mut other) if other.0 < next.0 => Some(std::mem::replace(&mut *other, next)),
                _ => Some(next),
            }
        } else {
            order.pop()
        };
        pieces += 1;
        if pieces.is_multiple_of(Watched::EVERY) {
            watched.tell(open.iter().map(Recording::bytes_read).sum());
        }
    }
    ends.finish(|primary| writer.push(primary))?;
    watched.tell(open.iter().map(Recording::bytes).sum());
    Ok((open.iter().map(|input| input.source().records).sum(), writer.finish()?))
}

/// Tells which symbol of the source became which name.
fn note_renamed(listing: &Listing, description: &Description, findings: &mut Findings) {
    let mut renamed = listing.renamed(description);
    for (symbol, name) in renamed.by_ref().take(limits::IMPORT_RENAMED_SHOWN_MAX) {
        findings.note(format!("symbol {symbol:?} is {name} in the feed file"));
    }
    if let more @ 1.. = renamed.count() {
        findings.note(format!("further symbols that have another name in the feed file: {more}"));
    }
}

fn describe(sources: &[String]) -> String {
    let named = sources.iter().take(FILES_NAMED_MAX).cloned().collect::<Vec<_>>().join("; ");
    match sources.len().saturating_sub(FILES_NAMED_MAX) {
        0 => named,
        more => format!("{named}; and {more} more files"),
    }
}
