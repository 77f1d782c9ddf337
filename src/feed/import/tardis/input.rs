//! One Tardis file being read, row by row.

use std::path::Path;

use rustc_hash::FxHashMap;

use super::header::{self, Header, Kind};
use super::row::{self, Market, Times};
use crate::feed::import::error::Fault;
use crate::feed::import::event_ends::Ends;
use crate::feed::import::findings::Findings;
use crate::feed::import::lines::Lines;
use crate::feed::import::listing::{Exponents, Key, Shape};
use crate::feed::import::passes::{Piece, Reading, Recording};
use crate::feed::import::stored::Source;
use crate::feed::import::{ImportError, Place};
use crate::feed::inspect::counted;
use crate::limits;
use crate::model::Primary;

const EXPECTED: &str = "a CSV file of Tardis (incremental_book_L2, trades, quotes, book_ticker or book_snapshot_N) with its header line";
/// Liquidations have the columns of trades, and are among those already.
const LIQUIDATIONS: &str = "liquidations";

/// A Tardis file being read.
pub(super) struct Input {
    lines: Lines,
    /// `None` for a file without a line, which Tardis gives for a day without data.
    header: Option<Header>,
    markets: FxHashMap<String, Market>,
    /// The instrument's name in the row in hand, reused.
    name: String,
    /// The row after the one in hand, which says whether that one's event goes on.
    ahead: Option<Row>,
    started: bool,
    piece: Piece,
}

/// A row that was read.
struct Row {
    instrument: u32,
    local_ns: u64,
    primaries: Vec<Primary>,
}

impl Input {
    pub fn open(path: &Path) -> Result<Input, ImportError> {
        let mut lines = Lines::open(path, EXPECTED)?;
        let mut findings = Findings::default();
        let mut is_there = lines.advance(&mut findings)?;
        while is_there && lines.line().trim().is_empty() {
            is_there = lines.advance(&mut findings)?;
        }
        let refused = header::refused(lines.line());
        if let Some(kind) =
            refused.or_else(|| lines.source.name.contains(LIQUIDATIONS).then_some(LIQUIDATIONS))
        {
            return Err(ImportError::Unsupported {
                path: lines.source.path,
                thing: "the data type",
                found: kind.into(),
                allowed: "incremental_book_L2, trades, quotes, book_ticker and book_snapshot_N",
            });
        }
        let header = if is_there {
            Some(Header::parse(lines.line()).ok_or_else(|| not_a_header(&lines))?)
        } else if let Some(damage) = findings.damage.pop() {
            return Err(ImportError::Damaged(damage));
        } else {
            None
        };
        Ok(Input {
            lines,
            header,
            markets: FxHashMap::default(),
            name: String::new(),
            ahead: None,
            started: false,
            piece: Piece::default(),
        })
    }

    /// The next row that can be read. `primaries` is a buffer to use.
    fn read(
        &mut self,
        reading: &mut Reading,
        mut primaries: Vec<Primary>,
    ) -> Result<Option<Row>, ImportError> {
        let Some(header) = &self.header else { return Ok(None) };
        while self.lines.advance(&mut reading.findings)? {
            let line = self.lines.line();
            if line.trim().is_empty() {
                continue;
            }
            primaries.clear();
            match take(&self.lines, header, &mut self.markets, &mut self.name, reading, &mut primaries) {
                Ok((instrument, local_ns)) => {
                    self.lines.note_open_end(&mut reading.findings);
                    self.lines.source.records += 1;
                    return Ok(Some(Row { instrument, local_ns, primaries }));
                }
                Err(Fault::Damage(problem)) => {
                    let place = Place::Line(self.lines.number());
                    reading.findings.damage(&self.lines.source.path, place, problem)?;
                }
                Err(Fault::Import(error)) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// Why the first line is no header, with the columns that it lacks where it nearly is one.
fn not_a_header(lines: &Lines) -> ImportError {
    let Some((kind, lacking)) = header::nearest(lines.line()) else { return lines.foreign() };
    ImportError::Columns { path: lines.source.path.clone(), kind, lacking: lacking.join(", ") }
}

/// Reads the line in hand; gives its instrument and when it arrived.
fn take(
    lines: &Lines,
    header: &Header,
    markets: &mut FxHashMap<String, Market>,
    name: &mut String,
    reading: &mut Reading,
    primaries: &mut Vec<Primary>,
) -> Result<(u32, u64), Fault> {
    let fields: Vec<&str> = lines.line().split(',').collect();
    if fields.len() != header.columns {
        return Err(
            format!("{}; the header has {}", counted(fields.len() as u64, "field"), header.columns).into()
        );
    }
    let times = Times::parse(&fields, header)?;
    let (exchange, symbol) = (fields[header.exchange], fields[header.symbol]);
    let bytes = exchange.len() + symbol.len();
    if symbol.is_empty() || bytes > limits::IMPORT_SYMBOL_BYTES_MAX {
        let allowed = limits::IMPORT_SYMBOL_BYTES_MAX;
        return Err(format!(
            "exchange {exchange:?}, symbol {symbol:?}; allowed: a symbol, {allowed} bytes in all"
        )
        .into());
    }
    name.clear();
    name.extend([exchange, ":", symbol]);
    if !markets.contains_key(name.as_str()) {
        let key = Key { symbol: name.clone(), ..Key::default() };
        let shape = Shape {
            schema: header.kind.name(),
            tells: header.kind.tells(),
            depth: header.kind.depth(),
            source_id: 0,
            exponents: Exponents::FromDecimals,
        };
        let instrument = reading.listing.instrument(key, shape, &lines.source.path)?;
        markets.insert(name.clone(), Market { instrument, was_snapshot: false });
    }
    let Some(market) = markets.get_mut(name.as_str()) else {
        return Err(String::from("no instrument").into());
    };
    if !row::take(&fields, header, times, market, &mut reading.listing, primaries)? {
        reading.findings.left_out("identifiers of trades that are no numbers");
    }
    Ok((market.instrument, times.local_ns))
}

impl Recording for Input {
    fn advance(&mut self, reading: &mut Reading) -> Result<bool, ImportError> {
        let first = if self.started { self.ahead.take() } else { self.read(reading, Vec::new())? };
        if !self.started && self.header.is_none() {
            reading.findings.note(format!("{} has no rows", self.lines.source.name));
        }
        self.started = true;
        let Some(row) = first else { return Ok(false) };
        let spare = std::mem::replace(&mut self.piece.primaries, row.primaries);
        self.ahead = self.read(reading, spare)?;
        self.piece.time_ns = row.local_ns;
        // A quote or a snapshot is a state of its own, also where several came in one message.
        let is_whole = matches!(self.header, Some(Header { kind: Kind::Tops { .. }, .. }));
        let goes_on = self.ahead.as_ref().is_some_and(|ahead| {
            !is_whole && ahead.instrument == row.instrument && ahead.local_ns == row.local_ns
        });
        self.piece.ends = if goes_on { Ends::Later } else { Ends::Here };
        Ok(true)
    }

    fn piece(&self) -> &Piece {
        &self.piece
    }

    fn source(&self) -> &Source {
        &self.lines.source
    }

    fn describe(&self) -> String {
        let kind = self.header.as_ref().map_or("no data", |header| header.kind.name());
        format!("{}: Tardis {kind}, {} rows", self.lines.source.name, self.lines.source.records)
    }
}
