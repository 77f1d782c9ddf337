//! What a feed file holds: counts, volumes, times, and the books it ends with.

mod axis;
mod plot;
mod series;
mod tally;
mod text;
mod times;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use self::tally::Tally;
pub(super) use self::text::{counted, grouped};
use self::times::Times;
use super::error::FeedError;
use super::format::RECORD_BYTES;
use super::reader::Reader;
use super::time::rfc3339;
use super::verify::DeclaredLoss;
use crate::model::{Decimal, Deriver, PrimaryKind};

pub use self::plot::{Picture, draw};
pub use self::series::{Series, Slice, series};
pub use self::times::Ahead;

/// Levels a side that a report shows.
const LEVELS_SHOWN: usize = 5;

/// What a feed file holds. Prices and quantities are decimals as text, times nanoseconds since the Unix epoch as text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The file.
    pub file: String,
    /// The program that wrote it.
    pub writer: String,
    /// Where the records come from.
    pub source: String,
    /// Whether it was finished and every block could be read.
    pub complete: bool,
    /// Where what can be read ends, and why, if it is not complete.
    pub fault: Option<String>,
    /// How much there is of it.
    pub size: Size,
    /// Records that could be read.
    pub records: u64,
    /// Exchange events.
    pub events: u64,
    /// Records by kind.
    pub kinds: BTreeMap<String, u64>,
    /// The source's own actions, where it has some.
    pub source_actions: BTreeMap<String, u64>,
    /// First and last event time.
    pub span: Option<Span>,
    /// First and last time by which the file is replayed, which `--from`, `--to` and `--start` are about: those of
    /// receipt where the file has them.
    pub paced: Option<Span>,
    /// Records whose time does not count, since it is far ahead of what follows; absent where there is none.
    pub ahead: Option<Ahead>,
    /// The second with the most exchange events, those of snapshots left out; absent where nothing has a time.
    pub busiest_second: Option<BusiestSecond>,
    /// Losses that the file declares.
    pub losses: Vec<DeclaredLoss>,
    /// Records that cannot be what they say, such as a cancel of an unknown order.
    pub inconsistencies: u64,
    /// By instrument.
    pub instruments: Vec<InstrumentReport>,
}

/// Bytes and blocks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Size {
    /// Bytes of the file.
    pub bytes: u64,
    /// Blocks of records.
    pub blocks: usize,
    /// Bytes of the records, unpacked.
    pub raw_bytes: u64,
    /// Raw bytes for each byte of the file, or of what can be read of it.
    pub ratio: f64,
}

/// The second of the clock with the most exchange events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BusiestSecond {
    /// When it begins.
    pub start_ns: String,
    /// The same as RFC 3339.
    pub start: String,
    /// Exchange events of all instruments that ended in it, by their event times.
    pub events: u64,
}

/// The earliest and the latest of some event times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    /// The earliest.
    pub first_ns: String,
    /// The latest.
    pub last_ns: String,
    /// The earliest as RFC 3339.
    pub first: String,
    /// The latest as RFC 3339.
    pub last: String,
}

/// One instrument of a feed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstrumentReport {
    /// Its symbol.
    pub symbol: String,
    /// Its number in the file.
    pub instrument: u32,
    /// The source's number for it.
    pub source_id: u32,
    /// Power of ten of prices.
    pub price_exponent: i8,
    /// Power of ten of quantities.
    pub quantity_exponent: i8,
    /// Smallest price step; absent where the source does not say.
    pub tick_size: Option<String>,
    /// Smallest quantity step; absent where the source does not say.
    pub lot_size: Option<String>,
    /// What the source can tell of it.
    pub channels: Vec<&'static str>,
    /// Levels a side that the source tells of; 0: all.
    pub book_depth: u16,
    /// Records.
    pub records: u64,
    /// Records of snapshots among them.
    pub snapshot_records: u64,
    /// Records by kind.
    pub kinds: BTreeMap<String, u64>,
    /// Whether it trades, at the end; absent where nothing was said of it.
    pub status: Option<&'static str>,
    /// Trades.
    pub trades: Trades,
    /// Fills that the source reports beside trades: resting orders that were met.
    pub fills: Volume,
    /// First and last event time.
    pub span: Option<Span>,
    /// The source's sequence numbers; absent where it has none.
    pub sequences: Option<Sequences>,
    /// The longest time between one record and the next, snapshots apart, in nanoseconds.
    pub longest_silence_ns: String,
    /// When that began; 0 where there was none.
    pub longest_silence_from_ns: String,
    /// The book at the end.
    pub book: Book,
}

/// A number of trades and their quantity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// How many.
    pub count: u64,
    /// Quantity in all.
    pub volume: String,
}

/// Trades by aggressor, and their prices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trades {
    /// How many.
    pub count: u64,
    /// Quantity in all.
    pub volume: String,
    /// The buyer crossed the spread.
    pub buy: Volume,
    /// The seller did.
    pub sell: Volume,
    /// Nobody did, or the source does not say.
    pub none: Volume,
    /// Price of the first; this and the three below are absent where there is none.
    pub first: Option<String>,
    /// Greatest price.
    pub high: Option<String>,
    /// Smallest price.
    pub low: Option<String>,
    /// Price of the last.
    pub last: Option<String>,
}

/// The source's sequence numbers, as they come. A source numbers a channel with many instruments, so numbers that do
/// not occur here are no proof that anything is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sequences {
    /// The first one.
    pub first: u32,
    /// The last one.
    pub last: u32,
    /// The smallest.
    pub lowest: u32,
    /// The greatest.
    pub highest: u32,
    /// Records whose number is smaller than that of the record before.
    pub steps_back: u64,
    /// Those of them that are in a snapshot.
    pub steps_back_in_snapshots: u64,
    /// Numbers passed over from one record to the next, snapshots apart.
    pub passed_over: u64,
}

/// A book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Book {
    /// The best bids, best first.
    pub bids: Vec<BookLevel>,
    /// The best asks, best first.
    pub asks: Vec<BookLevel>,
    /// Levels of bids.
    pub bid_levels: usize,
    /// Levels of asks.
    pub ask_levels: usize,
    /// Quantity of all bids.
    pub bid_quantity: String,
    /// Quantity of all asks.
    pub ask_quantity: String,
    /// Orders in the book; absent where the source does not tell of orders.
    pub orders: Option<usize>,
}

/// A level of a book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BookLevel {
    /// Price.
    pub price: String,
    /// Quantity.
    pub quantity: String,
    /// How many orders it is made of; absent where the source does not say.
    pub orders: Option<usize>,
}

/// Reads the file and tells what is in it. `progress` hears how many records of how many were read.
pub fn inspect(path: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Report, FeedError> {
    let mut reader = Reader::open(path)?;
    let catalog = Arc::clone(reader.catalog());
    let mut deriver = Deriver::new(Arc::clone(&catalog));
    let mut tallies: Vec<Tally> = catalog.iter().map(|_| Tally::default()).collect();
    let mut fault = reader.fault().cloned();
    let (mut events, mut records, mut kinds, mut unknown) = (0, 0, [0_u64; 256], 0);
    let mut actions = [0_u64; 256];
    let mut derived = Vec::new();
    let mut seconds = tally::Seconds::default();
    let mut times = Times::default();
    loop {
        match reader.next_block() {
            Ok(Some(_)) => {
                for (at, primary) in reader.block().iter().enumerate() {
                    times.add(&reader, at, records);
                    kinds[usize::from(primary.kind)] += 1;
                    actions[tally::source_action(primary)] += 1;
                    events += u64::from(primary.is_last());
                    seconds.add(primary);
                    tallies[primary.instrument as usize].add(primary);
                    // A kind of a newer version changes nothing that is known here.
                    unknown += u64::from(deriver.apply(primary, &mut derived).is_err());
                    derived.clear();
                }
                records += reader.block().len() as u64;
            }
            Ok(None) => break,
            Err(FeedError::Damaged { fault: found, .. }) => {
                fault = Some(found);
                break;
            }
            Err(error) => return Err(error),
        }
        progress(records, reader.records());
    }
    let instruments =
        catalog.iter().map(|(id, _)| tallies[id as usize].report(id, &catalog, &deriver)).collect();
    let raw_bytes = records * RECORD_BYTES as u64;
    let read_bytes = fault.as_ref().map_or(reader.bytes(), |fault| fault.offset.min(reader.bytes()));
    let ratio = (raw_bytes as f64 / read_bytes.max(1) as f64 * 100.0).round() / 100.0;
    Ok(Report {
        file: reader.path().to_owned(),
        writer: reader.description().writer.clone(),
        source: reader.description().source.clone(),
        complete: fault.is_none(),
        fault: fault.map(|fault| fault.to_string()),
        size: Size { bytes: reader.bytes(), blocks: reader.blocks().len(), raw_bytes, ratio },
        records,
        events,
        kinds: by_name(&kinds, kind_name),
        source_actions: by_name(&actions[1..], |index| tally::action_name(index + 1)),
        span: span(tallies.iter().filter_map(|tally| tally.span).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))),
        paced: span(times.span_ns()),
        ahead: times.ahead,
        losses: reader
            .losses()
            .iter()
            .map(|loss| DeclaredLoss::new(loss, |id| Some(catalog.get(id)?.symbol.as_str())))
            .collect(),
        busiest_second: seconds.busiest(),
        inconsistencies: deriver.inconsistencies() + unknown,
        instruments,
    })
}

fn kind_name(kind: usize) -> String {
    let known = u8::try_from(kind).ok().and_then(PrimaryKind::from_number);
    known.map_or_else(|| format!("kind {kind}"), |kind| kind.name().to_owned())
}

/// The counts that are not zero, by name.
fn by_name(counts: &[u64], name: impl Fn(usize) -> String) -> BTreeMap<String, u64> {
    let some = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    some.map(|(index, count)| (name(index), *count)).collect()
}

fn span(times: Option<(u64, u64)>) -> Option<Span> {
    times.map(|(first, last)| Span {
        first_ns: first.to_string(),
        last_ns: last.to_string(),
        first: rfc3339(first),
        last: rfc3339(last),
    })
}

fn decimal(mantissa: i64, exponent: i8) -> String {
    Decimal::new(mantissa, exponent).to_string()
}
