//! How one instrument of a feed file went over time, in as many slices as a picture has room for.

use std::path::Path;

use crate::feed::error::FeedError;
use crate::feed::format::Loss;
use crate::feed::pacing_time_ns;
use crate::feed::reader::Reader;
use crate::feed::running::{self, Running};
use crate::model::{ABSENT, Deriver, primary_flags};

/// Slices of a series.
const SLICES: u64 = 800;

/// One instrument over time. Prices are floating point: they are drawn, and nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The file's name, without its folder.
    pub file: String,
    /// The instrument's symbol.
    pub symbol: String,
    /// When the first slice begins, nanoseconds since the Unix epoch, by the times by which records are paced.
    pub start_ns: u64,
    /// How long a slice is, nanoseconds.
    pub slice_ns: u64,
    /// The slices, up to the end of the file.
    pub slices: Vec<Slice>,
}

/// A part of the time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slice {
    /// Between best bid and best ask at the last exchange event of the slice; `None` where a side is empty or there was
    /// no event.
    pub mid: Option<f64>,
    /// From best bid to best ask; the same.
    pub spread: Option<f64>,
    /// Exchange events.
    pub events: u64,
    /// Whether records of it are missing in the file.
    pub is_lost: bool,
}

/// Reads how the instrument of that number went.
///
/// # Panics
/// Where the file has no instrument of that number.
pub fn series(path: &Path, instrument: u32) -> Result<Series, FeedError> {
    let mut reader = Reader::open(path)?;
    let start_ns = first_time_ns(&mut reader)?.unwrap_or(0);
    let end_ns = running::span_ns(&mut reader)?.1.unwrap_or(0);
    let slice_ns = (end_ns.saturating_sub(start_ns) / SLICES).max(1) + 1;
    let mut deriver = Deriver::new(reader.catalog().clone());
    let defined = &reader.catalog().instruments()[instrument as usize];
    let (symbol, unit) = (defined.symbol.clone(), 10_f64.powi(i32::from(defined.price_exponent)));
    let mut slices = vec![Slice::default(); (end_ns.saturating_sub(start_ns) / slice_ns) as usize + 1];
    let number = |time_ns: u64| (time_ns.saturating_sub(start_ns) / slice_ns) as usize;
    for at in reader.losses() {
        let is_of_it = [instrument, Loss::EVERY_INSTRUMENT].contains(&at.loss.instrument);
        let (Some(from_ns), Some(to_ns), true) = (at.from_ns, at.to_ns, is_of_it) else { continue };
        slices
            .iter_mut()
            .take(number(to_ns))
            .skip(number(from_ns) + 1)
            .for_each(|slice| slice.is_lost = true);
    }
    let mut derived = Vec::new();
    while let Some(block) = reader.next_block()? {
        for primary in block {
            // A kind of a newer version changes nothing that is known here.
            let taken = deriver.apply(primary, &mut derived).is_ok();
            derived.clear();
            let is_event = taken && primary.is_last() && primary.flags & primary_flags::SNAPSHOT == 0;
            let Some(time_ns) = pacing_time_ns(primary).filter(|_| is_event) else { continue };
            let at = time_ns.saturating_sub(start_ns) / slice_ns;
            let Some(slice) = slices.get_mut(at as usize).filter(|_| primary.instrument == instrument) else {
                continue;
            };
            slice.events += 1;
            let quote = deriver.quote(instrument);
            let is_whole = quote.bid != ABSENT && quote.ask != ABSENT;
            let (bid, ask) = (quote.bid as f64 * unit, quote.ask as f64 * unit);
            (slice.mid, slice.spread) =
                if is_whole { (Some((bid + ask) / 2.0), Some(ask - bid)) } else { (None, None) };
        }
    }
    let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok(Series { file, symbol, start_ns, slice_ns, slices })
}

/// When the recording begins: a snapshot of what stood before may be much older. The reader is rewound.
fn first_time_ns(reader: &mut Reader) -> Result<Option<u64>, FeedError> {
    let (mut first, mut running) = (None, Running::default());
    while first.is_none() && reader.next_block()?.is_some() {
        let block = reader.block();
        let counted = (0..block.len()).filter(|at| running.follow(reader, *at) == Some(true));
        let live =
            counted.map(|at| &block[at]).filter(|primary| primary.flags & primary_flags::SNAPSHOT == 0);
        first = live.filter_map(pacing_time_ns).next();
    }
    reader.rewind();
    Ok(first)
}
