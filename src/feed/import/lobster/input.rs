//! One message file being read, with its order book file where there is one.

use std::path::Path;

use time::Date;

use super::book::{Book, depth_of};
use super::message::{Kind, Message};
use super::{Given, MESSAGES};
use crate::feed::import::findings::Findings;
use crate::feed::import::lines::Lines;
use crate::feed::import::listing::{Exponents, Key, Shape, Tells};
use crate::feed::import::orders::{Order, Orders};
use crate::feed::import::passes::{Piece, Reading, Recording};
use crate::feed::import::stored::Source;
use crate::feed::import::{ImportError, Place, eastern};
use crate::model::{ABSENT, Level, Primary, PrimaryKind, Side, primary_flags};

const EXPECTED: &str =
    "a LOBSTER message file (time, type, order id, size, price, direction; no header line)";
const EXPECTED_BOOK: &str =
    "a LOBSTER order book file (ask price, ask size, bid price, bid size for each level)";
/// Power of ten of LOBSTER's prices.
const PRICE_EXPONENT: i8 = -4;

/// What the report calls a time that goes back.
const EARLIER: &str = "messages whose time is before that of the message before";
const DISAGREES: &str = "messages that do not make the order book's next row of the one before";

/// A message file being read.
pub(super) struct Input {
    messages: Lines,
    rows: Option<Rows>,
    orders: Orders,
    symbol: String,
    instrument: Option<u32>,
    midnight_ns: u64,
    /// The time of the message before.
    before_ns: u64,
    /// The first message says that the book is empty: those of the day before are gone.
    clears_at_start: bool,
    date: Date,
    /// What there is to say of it, once.
    notes: Vec<String>,
    ended: bool,
    piece: Piece,
}

impl Input {
    /// Opens a message file, and the order book file where there is one.
    pub fn open(
        path: &Path,
        book: Option<&Path>,
        given: &Given,
        clears_at_start: bool,
    ) -> Result<Input, ImportError> {
        check_start(path, EXPECTED, |line| Message::parse(line, 0).is_ok())?;
        let messages = Lines::open(path, EXPECTED)?;
        let name = &messages.source.name;
        let mut notes = Vec::new();
        let rows = book.map(Rows::open).transpose()?;
        notes.push(match &rows {
            Some(rows) => format!("{name}: levels by its order book of depth {}, {}", rows.depth, rows.lines.source.name),
            None => format!(
                "{name}: orders by its messages alone, since its order book file is not beside it: orders from before \
                 the file are unknown"
            ),
        });
        let (date, note) = eastern::day(given.date, name, "LOBSTER");
        notes.extend(note);
        let midnight_ns = eastern::midnight_ns(date, &messages.source.path)?;
        let symbol = given.symbol.clone().unwrap_or_else(|| {
            let stem = name.split(['_', '.']).next().filter(|stem| !stem.is_empty()).unwrap_or(name);
            if !name.contains(MESSAGES) {
                notes
                    .push(format!("{name}: the symbol is assumed to be {stem:?}, as the file's name begins"));
            }
            stem.to_owned()
        });
        Ok(Input {
            messages,
            rows,
            orders: Orders::default(),
            symbol,
            instrument: None,
            midnight_ns,
            before_ns: 0,
            clears_at_start,
            date,
            notes,
            ended: false,
            piece: Piece::default(),
        })
    }

    /// Takes a message in hand; false where the order book has no row for it.
    fn take(&mut self, message: &Message, line: u64, reading: &mut Reading) -> Result<bool, ImportError> {
        let instrument = match self.instrument {
            Some(instrument) => instrument,
            None => self.list(reading)?,
        };
        let head = Primary {
            price: message.price,
            quantity: message.quantity,
            count: message.kind.letter().into(),
            ..Primary::new(PrimaryKind::Note, instrument, message.time_ns)
        };
        if message.time_ns < std::mem::replace(&mut self.before_ns, message.time_ns) {
            reading.findings.odd(EARLIER);
        }
        let primaries = &mut self.piece.primaries;
        primaries.clear();
        if std::mem::take(&mut self.clears_at_start) {
            let kind = PrimaryKind::Clear as u8;
            let flags = primary_flags::LAST;
            primaries.push(Primary { kind, flags, price: ABSENT, quantity: ABSENT, count: 0, ..head });
        }
        if let Some(rows) = &mut self.rows {
            if !rows.take(line, message, &mut reading.findings)? {
                self.ended = true;
                return Ok(false);
            }
            rows.tell_start(&head, primaries);
            tell(message, &head, primaries);
            rows.tell_changes(&head, primaries);
        } else {
            // The first reading keeps no orders.
            let leaves = if reading.listing.is_closed() {
                follow(&mut self.orders, message, instrument, &mut reading.findings)
            } else {
                Some(message.quantity)
            };
            tell_order(message, leaves, &head, primaries);
        }
        self.piece.time_ns = message.time_ns;
        self.messages.source.records += 1;
        Ok(true)
    }

    fn list(&mut self, reading: &mut Reading) -> Result<u32, ImportError> {
        self.notes.drain(..).for_each(|note| reading.findings.note(note));
        let (schema, tells, depth) = match &self.rows {
            Some(rows) => ("lobster with its order book", Tells::BOOK, rows.depth),
            None => ("lobster messages", Tells::ORDERS, 0),
        };
        let shape = Shape {
            schema,
            tells: tells.and(Tells::TRADES).and(Tells::STATUS),
            depth,
            source_id: 0,
            exponents: Exponents::Fixed(PRICE_EXPONENT, 0),
        };
        let key = Key { symbol: self.symbol.clone(), ..Key::default() };
        let instrument = reading.listing.instrument(key, shape, &self.messages.source.path)?;
        self.instrument = Some(instrument);
        Ok(instrument)
    }
}

impl Recording for Input {
    fn advance(&mut self, reading: &mut Reading) -> Result<bool, ImportError> {
        while !self.ended && self.messages.advance(&mut reading.findings)? {
            let (text, line) = (self.messages.line(), self.messages.number());
            if text.trim().is_empty() {
                continue;
            }
            match Message::parse(text, self.midnight_ns) {
                Ok(message) => return self.take(&message, line, reading),
                Err(problem) => {
                    reading.findings.damage(&self.messages.source.path, Place::Line(line), problem)?;
                }
            }
        }
        if !self.ended {
            self.ended = true;
            if let Some(rows) = &mut self.rows
                && rows.go_on_after(self.messages.number(), &mut reading.findings)?
            {
                let problem = format!("the order book {} goes on after it", rows.lines.source.path);
                reading.findings.damage(
                    &self.messages.source.path,
                    Place::End(self.messages.source.records),
                    problem,
                )?;
            }
        }
        Ok(false)
    }

    fn piece(&self) -> &Piece {
        &self.piece
    }

    fn source(&self) -> &Source {
        &self.messages.source
    }

    fn bytes(&self) -> u64 {
        self.messages.source.bytes + self.rows.as_ref().map_or(0, |rows| rows.lines.source.bytes)
    }

    fn bytes_read(&self) -> u64 {
        let of_rows = self.rows.as_ref().map_or(0, |rows| rows.lines.source.bytes_read());
        self.messages.source.bytes_read() + of_rows
    }

    fn describe(&self) -> String {
        let source = &self.messages.source;
        let book = self
            .rows
            .as_ref()
            .map_or(String::new(), |rows| format!(" with order book of {} levels", rows.depth));
        format!("{}: LOBSTER of {}{book}, {} messages", source.name, self.date, source.records)
    }
}

/// The order book file beside a message file: one row a message.
struct Rows {
    lines: Lines,
    depth: u16,
    /// The last row taken and its line; `None` before the first.
    before: Option<(Book, u64)>,
    /// The row of the message in hand.
    now: Book,
    /// That row could be read.
    is_good: bool,
    /// It is the first: what stood before it has not been told.
    is_first: bool,
    /// The line in hand belongs to a message to come.
    is_ahead: bool,
    /// Rows taken.
    rows: u64,
}

impl Rows {
    fn open(path: &Path) -> Result<Rows, ImportError> {
        check_start(path, EXPECTED_BOOK, |line| depth_of(line).is_some())?;
        let mut lines = Lines::open(path, EXPECTED_BOOK)?;
        // The first line that can be one says how many levels each has.
        let mut depth = None;
        while depth.is_none() && lines.advance(&mut Findings::default())? {
            depth = depth_of(lines.line());
        }
        Ok(Rows {
            lines: Lines::open(path, EXPECTED_BOOK)?,
            depth: depth.unwrap_or(1),
            before: None,
            now: Book::default(),
            is_good: false,
            is_first: false,
            is_ahead: false,
            rows: 0,
        })
    }

    /// Takes the row of the message on that line; false where there is none any more.
    fn take(&mut self, line: u64, message: &Message, findings: &mut Findings) -> Result<bool, ImportError> {
        (self.is_good, self.is_first) = (false, false);
        while !self.is_ahead || self.lines.number() < line {
            if !self.lines.advance(findings)? {
                let problem = format!("line {line} of the messages has no row");
                findings.damage(&self.lines.source.path, Place::End(self.rows), problem)?;
                return Ok(false);
            }
            self.is_ahead = true;
        }
        if self.lines.number() > line {
            return Ok(true);
        }
        self.is_ahead = false;
        if let Err(problem) = self.check(line, message, findings) {
            findings.damage(&self.lines.source.path, Place::Line(line), problem)?;
            return Ok(true);
        }
        (self.is_good, self.is_first) = (true, self.before.is_none());
        if self.is_first {
            // What stood before: the row without what the message did.
            let mut start = self.now.clone();
            start.apply(message, true);
            start.truncate(self.depth);
            self.before = Some((start, 0));
        }
        self.rows += 1;
        Ok(true)
    }

    /// Reads the row in hand and holds it against the row before and the message.
    fn check(&mut self, line: u64, message: &Message, findings: &mut Findings) -> Result<(), String> {
        self.now.parse(self.lines.line(), self.depth)?;
        let expected = self.before.as_ref().filter(|(_, before)| before + 1 == line).map(|(book, _)| {
            let mut book = book.clone();
            book.apply(message, false);
            book
        });
        if !expected.as_ref().is_some_and(|book| self.now.ends_as(book)) {
            self.lines.note_open_end(findings);
        }
        if expected.is_some_and(|book| !book.agrees(&self.now, self.depth)) {
            findings.odd(DISAGREES);
        }
        Ok(())
    }

    /// Of the first row what stood before it, as an event of its own.
    fn tell_start(&self, head: &Primary, primaries: &mut Vec<Primary>) {
        if let (true, Some((start, _))) = (self.is_first, &self.before) {
            let levels = Book::default();
            let snapshot = Primary { flags: primary_flags::SNAPSHOT, count: 0, ..*head };
            primaries.extend(levels.changes(start).map(|(side, level)| level_of(&snapshot, side, level)));
            if let Some(last) = primaries.last_mut() {
                last.flags |= primary_flags::LAST;
            }
        }
    }

    /// The levels that the message's row has otherwise than the one before.
    fn tell_changes(&mut self, head: &Primary, primaries: &mut Vec<Primary>) {
        if let (true, Some((before, line))) = (self.is_good, &mut self.before) {
            primaries.extend(before.changes(&self.now).map(|(side, level)| level_of(head, side, level)));
            std::mem::swap(before, &mut self.now);
            *line = self.lines.number();
        }
    }

    /// Whether there is a row after that of the last message.
    fn go_on_after(&mut self, line: u64, findings: &mut Findings) -> Result<bool, ImportError> {
        loop {
            if self.is_ahead && self.lines.number() > line && !self.lines.line().trim().is_empty() {
                return Ok(true);
            }
            if !self.lines.advance(findings)? {
                return Ok(false);
            }
            self.is_ahead = true;
        }
    }
}

/// One of the first lines must be what the file is taken for.
fn check_start(
    path: &Path,
    expected: &'static str,
    is_one: impl Fn(&str) -> bool,
) -> Result<(), ImportError> {
    const LINES_TRIED: usize = 16;
    let mut lines = Lines::open(path, expected)?;
    for _ in 0..LINES_TRIED {
        if !lines.advance(&mut Findings::default())? {
            break;
        }
        if is_one(lines.line()) {
            return Ok(());
        }
    }
    Err(lines.foreign())
}

/// A level that now stands so.
fn level_of(head: &Primary, side: Side, level: Level) -> Primary {
    let kind = PrimaryKind::Level as u8;
    Primary { kind, side: side as u8, price: level.price, quantity: level.quantity, ..*head }
}

/// What a message says beside the levels.
fn tell(message: &Message, head: &Primary, primaries: &mut Vec<Primary>) {
    let Message { order_id, side, .. } = *message;
    let of_order = Primary { order_id, side: side as u8, ..*head };
    match message.kind {
        Kind::Add | Kind::Cancel | Kind::Delete => primaries.push(of_order),
        Kind::Execute => {
            primaries.push(Primary { kind: PrimaryKind::Fill as u8, ..of_order });
            primaries.push(trade(head, Some(side)));
        }
        Kind::ExecuteHidden => primaries.push(trade(head, Some(side))),
        // An auction in which nobody traded is a note.
        Kind::Cross if message.quantity == 0 || message.price == 0 => primaries.push(*head),
        Kind::Cross => primaries.push(trade(head, None)),
        Kind::Halt(status) => primaries.push(Primary {
            kind: PrimaryKind::Status as u8,
            price: ABSENT,
            quantity: ABSENT,
            level: status as u8,
            ..*head
        }),
    }
}

/// What a message says where there are no levels: what it does to its order. `leaves` is how much leaves an order or
/// joins with it; `None` where its order is unknown, and then the message is a note.
fn tell_order(message: &Message, leaves: Option<i64>, head: &Primary, primaries: &mut Vec<Primary>) {
    let Message { order_id, side, .. } = *message;
    let of_order = Primary { order_id, side: side as u8, ..*head };
    let (kind, leaves) = match (message.kind, leaves) {
        (Kind::Add, Some(joins)) => (PrimaryKind::Add, joins),
        (Kind::Cancel | Kind::Delete, Some(leaves)) => (PrimaryKind::Cancel, leaves),
        (Kind::Execute, Some(leaves)) => (PrimaryKind::Execute, leaves),
        (Kind::Add | Kind::Cancel | Kind::Delete | Kind::Execute, None) => {
            (PrimaryKind::Note, message.quantity)
        }
        _ => return tell(message, head, primaries),
    };
    primaries.push(Primary { kind: kind as u8, quantity: leaves, ..of_order });
    if message.kind == Kind::Execute {
        primaries.push(trade(head, Some(side)));
    }
}

/// The trade at the message's price; who crossed the spread stands opposite the resting order.
fn trade(head: &Primary, resting: Option<Side>) -> Primary {
    Primary { kind: PrimaryKind::Trade as u8, side: resting.map_or(0, |side| side.opposite() as u8), ..*head }
}

/// Follows the orders; how much of the message's order leaves or joins, `None` where it is unknown.
fn follow(orders: &mut Orders, message: &Message, instrument: u32, findings: &mut Findings) -> Option<i64> {
    let Message { kind, order_id, quantity, price, side, .. } = *message;
    match kind {
        Kind::Add => {
            let order = Order { instrument, side, price, quantity };
            orders.add(order_id, order, findings).then_some(quantity)
        }
        Kind::Cancel | Kind::Execute => {
            orders.reduce(order_id, quantity, findings).map(|order| order.quantity)
        }
        Kind::Delete => orders.remove(order_id, findings).map(|order| order.quantity),
        Kind::ExecuteHidden | Kind::Cross | Kind::Halt(_) => Some(quantity),
    }
}
