//! One ITCH file being read.

use std::path::Path;

use time::Date;
use zerocopy::FromBytes;

use super::framing::{Framing, Misfit, Next};
use super::message::{self, AddOrder, Executed, Head, Stock};
use crate::feed::format::printable;
use crate::feed::import::error::Fault;
use crate::feed::import::findings::Findings;
use crate::feed::import::listing::{Exponents, Key, Listing, Shape, Tells};
use crate::feed::import::orders::{Order, Orders};
use crate::feed::import::passes::{Piece, Reading, Recording};
use crate::feed::import::stored::{Source, Stored};
use crate::feed::import::{ImportError, Place, eastern};
use crate::model::{ABSENT, Primary, PrimaryKind, Side, Status, primary_flags};

const EXPECTED: &str =
    "an ITCH 5.0 file (each message behind its length in two bytes), plain or packed with gzip or zstd";
/// What the report calls a time that goes back.
const EARLIER: &str = "messages whose time is before that of the message before";
/// Power of ten of ITCH's prices.
const PRICE_EXPONENT: i8 = -4;

/// An ITCH file being read.
pub(super) struct Input {
    source: Source,
    framing: Framing,
    midnight_ns: u64,
    date: Date,
    /// What there is to say of the date.
    note: Option<String>,
    clears_at_start: bool,
    /// The instrument of each stock locate code.
    instruments: Vec<Option<u32>>,
    orders: Orders,
    part: Part,
    /// The time of the message before.
    before_ns: u64,
    ended: bool,
    piece: Piece,
}

/// How far into the day a file is, as far as the first reading wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Nothing lists the stocks yet.
    Start,
    /// The stocks are being listed.
    Directory,
    /// There are orders. A stock that is listed now is a rare thing.
    Orders,
}

impl Part {
    /// The part in which the next message stands.
    fn after(self, kind: u8) -> Part {
        match (self, kind) {
            (Part::Start, b'R') => Part::Directory,
            (Part::Directory, b'A' | b'F') => Part::Orders,
            (part, _) => part,
        }
    }
}

impl Input {
    pub fn open(path: &Path, date: Option<Date>, clears_at_start: bool) -> Result<Input, ImportError> {
        let Stored { source, plain } = Stored::open(path, EXPECTED)?;
        let mut framing = Framing::new(plain);
        if let Some(found) = framing.foreign_start() {
            return Err(ImportError::Foreign { path: source.path, found, expected: EXPECTED });
        }
        let (date, note) = eastern::day(date, &source.name, "ITCH");
        let midnight_ns = eastern::midnight_ns(date, &source.path)?;
        Ok(Input {
            source,
            framing,
            midnight_ns,
            date,
            note,
            clears_at_start,
            instruments: vec![None; usize::from(u16::MAX) + 1],
            orders: Orders::default(),
            part: Part::Start,
            before_ns: 0,
            ended: false,
            piece: Piece::default(),
        })
    }
}

impl Recording for Input {
    fn advance(&mut self, reading: &mut Reading) -> Result<bool, ImportError> {
        if let Some(note) = self.note.take() {
            reading.findings.note(note);
        }
        while !self.ended {
            let offset = self.framing.offset();
            let length = match self.framing.next() {
                Next::Message(length) => length,
                Next::Misfit(misfit) => {
                    let bytes = self.framing.pass_over(&misfit);
                    let Misfit { kind, length, expected } = misfit;
                    let problem = format!(
                        "type {} of {length} bytes; a message of that type has {expected}; passed over: {bytes} bytes",
                        printable(&[kind])
                    );
                    reading.findings.damage(&self.source.path, Place::Byte(offset), problem)?;
                    continue;
                }
                Next::End => {
                    self.ended = true;
                    return Ok(false);
                }
                Next::Broken(problem) => {
                    self.ended = true;
                    reading.findings.damage(&self.source.path, Place::Byte(offset), problem)?;
                    return Ok(false);
                }
            };
            let mut taker = Taker {
                path: &self.source.path,
                midnight_ns: self.midnight_ns,
                clears_at_start: self.clears_at_start,
                instruments: &mut self.instruments,
                orders: &mut self.orders,
                primaries: &mut self.piece.primaries,
                listing: &mut reading.listing,
                findings: &mut reading.findings,
                time_ns: 0,
            };
            taker.primaries.clear();
            let message = self.framing.take(length);
            match taker.take(message) {
                Ok(()) => {
                    self.part = self.part.after(message[0]);
                    if taker.time_ns != 0 {
                        if taker.time_ns < self.before_ns {
                            taker.findings.odd(EARLIER);
                        }
                        self.before_ns = taker.time_ns;
                    }
                    self.source.records += 1;
                    self.piece.time_ns = taker.time_ns;
                    if !self.piece.primaries.is_empty() {
                        return Ok(true);
                    }
                }
                Err(Fault::Damage(problem)) => {
                    reading.findings.damage(&self.source.path, Place::Byte(offset), problem)?;
                }
                Err(Fault::Import(error)) => return Err(error),
            }
        }
        Ok(false)
    }

    fn is_learnt(&self) -> bool {
        self.part == Part::Orders
    }

    fn piece(&self) -> &Piece {
        &self.piece
    }

    fn source(&self) -> &Source {
        &self.source
    }

    fn describe(&self) -> String {
        format!("{}: ITCH 5.0 of {}", self.source.name, self.date)
    }
}

/// Takes one message.
struct Taker<'a> {
    path: &'a str,
    midnight_ns: u64,
    clears_at_start: bool,
    instruments: &'a mut [Option<u32>],
    orders: &'a mut Orders,
    primaries: &'a mut Vec<Primary>,
    listing: &'a mut Listing,
    findings: &'a mut Findings,
    /// The time of the message, nanoseconds since the Unix epoch.
    time_ns: u64,
}

impl Taker<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let kind = bytes[0];
        if message::bytes_of(kind).is_none() {
            self.findings.unknown(&format!("type {}", printable(&[kind])));
            return Ok(());
        }
        let head = layout::<Head>(&bytes[..size_of::<Head>()])?;
        self.time_ns = eastern::time_ns(self.midnight_ns, head.time_ns())?;
        match kind {
            b'A' => self.add(layout(bytes)?),
            b'F' => self.add(&layout::<message::AddAttributed>(bytes)?.order),
            b'E' => self.execute(layout(bytes)?, None, true),
            b'C' => {
                let message = layout::<message::ExecutedWithPrice>(bytes)?;
                let is_printable = match message.printable {
                    b'Y' => true,
                    b'N' => false,
                    other => return Err(not_allowed("printable flag", other, "Y and N").into()),
                };
                self.execute(&message.executed, Some(message.price.get()), is_printable)
            }
            b'X' => {
                let message = layout::<message::Cancel>(bytes)?;
                self.cancel(head, message.reference.get(), Some(message.shares.get()))
            }
            b'D' => self.cancel(head, layout::<message::Delete>(bytes)?.reference.get(), None),
            b'U' => self.replace(layout(bytes)?),
            b'P' => {
                let message = layout::<message::Trade>(bytes)?;
                let instrument = self.instrument(head, &message.stock)?;
                self.trade(
                    head,
                    instrument,
                    message.price.get().into(),
                    message.shares.get().into(),
                    message.match_number.get(),
                );
                Ok(())
            }
            b'Q' => {
                let message = layout::<message::CrossTrade>(bytes)?;
                let instrument = self.instrument(head, &message.stock)?;
                let shares = i64::try_from(message.shares.get())
                    .map_err(|_| format!("{} shares; allowed: at most {}", message.shares, i64::MAX))?;
                let (price, number) = (message.price.get().into(), message.match_number.get());
                self.trade(head, instrument, price, shares, number);
                Ok(())
            }
            b'B' => {
                let match_number = layout::<message::BrokenTrade>(bytes)?.match_number.get();
                if let Some(instrument) = self.known(head) {
                    let note = self.primary(PrimaryKind::Note, head, instrument);
                    self.primaries.push(Primary { order_id: match_number, ..note });
                }
                Ok(())
            }
            b'R' => {
                self.instrument(head, &layout::<message::StockDirectory>(bytes)?.stock)?;
                Ok(())
            }
            b'H' => {
                let message = layout::<message::TradingAction>(bytes)?;
                let status = match message.state {
                    b'T' => Status::Trading,
                    b'H' | b'P' => Status::Halted,
                    b'Q' => Status::Auction,
                    other => return Err(not_allowed("trading state", other, "H, P, Q and T").into()),
                };
                let instrument = self.instrument(head, &message.stock)?;
                self.status(head, instrument, status);
                Ok(())
            }
            b'h' => {
                let message = layout::<message::OperationalHalt>(bytes)?;
                let status = match message.action {
                    b'T' => Status::Trading,
                    b'H' => Status::Halted,
                    other => return Err(not_allowed("halt action", other, "H and T").into()),
                };
                let instrument = self.instrument(head, &message.stock)?;
                if message.market == b'Q' {
                    self.status(head, instrument, status);
                } else {
                    self.findings.left_out(message::name_of(kind));
                }
                Ok(())
            }
            b'S' => {
                self.system_event(head, layout::<message::SystemEvent>(bytes)?.event);
                Ok(())
            }
            _ => {
                self.findings.left_out(message::name_of(kind));
                Ok(())
            }
        }
    }

    fn add(&mut self, message: &AddOrder) -> Result<(), Fault> {
        let side = match message.side {
            b'B' => Side::Bid,
            b'S' => Side::Ask,
            other => return Err(not_allowed("side", other, "B and S").into()),
        };
        let shares = some_shares(message.shares.get())?;
        let instrument = self.instrument(&message.head, &message.stock)?;
        let (price, quantity) = (message.price.get().into(), shares.into());
        let order = Order { instrument, side, price, quantity };
        self.join(&message.head, message.reference.get(), order);
        Ok(())
    }

    fn join(&mut self, head: &Head, reference: u64, order: Order) {
        // The first reading keeps no orders.
        let joins = !self.listing.is_closed() || self.orders.add(reference, order, self.findings);
        self.push(if joins { PrimaryKind::Add } else { PrimaryKind::Note }, head, reference, order);
    }

    /// A fill of a resting order, at its own price or at another. What is not printable is part of an auction's trade,
    /// which is told by itself.
    fn execute(&mut self, message: &Executed, price: Option<u32>, is_printable: bool) -> Result<(), Fault> {
        let (head, shares) = (&message.head, some_shares(message.shares.get())?);
        let reference = message.reference.get();
        let Some(order) = self.reduce(head, reference, shares.into()) else { return Ok(()) };
        self.push(PrimaryKind::Execute, head, reference, order);
        if is_printable {
            let match_number = message.match_number.get();
            let price = price.map_or(order.price, i64::from);
            self.trade(head, order.instrument, price, shares.into(), match_number);
            if let Some(trade) = self.primaries.last_mut() {
                trade.side = order.side.opposite() as u8;
            }
        }
        Ok(())
    }

    /// So much of a resting order leaves, or all of it.
    fn cancel(&mut self, head: &Head, reference: u64, shares: Option<u32>) -> Result<(), Fault> {
        let order = match shares {
            Some(shares) => self.reduce(head, reference, some_shares(shares)?.into()),
            None => self.remove(head, reference),
        };
        if let Some(order) = order {
            self.push(PrimaryKind::Cancel, head, reference, order);
        }
        Ok(())
    }

    /// An order leaves, and one that has the rest of what is known of it from the first joins.
    fn replace(&mut self, message: &message::Replace) -> Result<(), Fault> {
        let (head, shares) = (&message.head, some_shares(message.shares.get())?);
        let Some(order) = self.remove(head, message.reference.get()) else { return Ok(()) };
        self.push(PrimaryKind::Cancel, head, message.reference.get(), order);
        let order = Order { price: message.price.get().into(), quantity: shares.into(), ..order };
        self.join(head, message.new_reference.get(), order);
        Ok(())
    }

    fn push(&mut self, kind: PrimaryKind, head: &Head, reference: u64, order: Order) {
        let Order { instrument, side, price, quantity } = order;
        let primary = self.primary(kind, head, instrument);
        self.primaries.push(Primary { order_id: reference, side: side as u8, price, quantity, ..primary });
    }

    /// A trade that no resting order is known of; without shares or a price, as of an auction in which nobody traded, a
    /// note.
    fn trade(&mut self, head: &Head, instrument: u32, price: i64, shares: i64, match_number: u64) {
        let kind = if shares > 0 && price > 0 { PrimaryKind::Trade } else { PrimaryKind::Note };
        let primary = self.primary(kind, head, instrument);
        self.primaries.push(Primary { order_id: match_number, price, quantity: shares, ..primary });
    }

    fn status(&mut self, head: &Head, instrument: u32, status: Status) {
        let primary = self.primary(PrimaryKind::Status, head, instrument);
        self.primaries.push(Primary { level: status as u8, flags: primary_flags::LAST, ..primary });
    }

    /// The start of a day clears every book where a day came before; after its end nothing trades.
    fn system_event(&mut self, head: &Head, event: u8) {
        match event {
            b'O' if self.clears_at_start => {
                for instrument in 0..self.listing.len() as u32 {
                    let primary = self.primary(PrimaryKind::Clear, head, instrument);
                    self.primaries.push(Primary { flags: primary_flags::LAST, ..primary });
                }
            }
            b'E' => {
                for at in 0..self.instruments.len() {
                    if let Some(instrument) = self.instruments[at] {
                        self.status(head, instrument, Status::Closed);
                    }
                }
            }
            _ => self.findings.left_out(message::name_of(head.kind)),
        }
    }

    /// Takes an order away.
    fn remove(&mut self, head: &Head, reference: u64) -> Option<Order> {
        if !self.listing.is_closed() {
            return None;
        }
        let order = self.orders.remove(reference, self.findings);
        self.note_if_missed(head, reference, ABSENT, order)
    }

    /// Takes so much of an order away.
    fn reduce(&mut self, head: &Head, reference: u64, quantity: i64) -> Option<Order> {
        if !self.listing.is_closed() {
            return None;
        }
        let order = self.orders.reduce(reference, quantity, self.findings);
        self.note_if_missed(head, reference, quantity, order)
    }

    /// What is said of an order that nobody knows is kept as a note.
    fn note_if_missed(
        &mut self,
        head: &Head,
        reference: u64,
        quantity: i64,
        order: Option<Order>,
    ) -> Option<Order> {
        if order.is_none()
            && let Some(instrument) = self.known(head)
        {
            let note = self.primary(PrimaryKind::Note, head, instrument);
            self.primaries.push(Primary { order_id: reference, quantity, ..note });
        }
        order
    }

    /// The instrument of a message that names its stock.
    #[inline]
    fn instrument(&mut self, head: &Head, stock: &Stock) -> Result<u32, ImportError> {
        match self.known(head) {
            Some(instrument) => Ok(instrument),
            None => self.list(head, stock),
        }
    }

    #[cold]
    fn list(&mut self, head: &Head, stock: &Stock) -> Result<u32, ImportError> {
        let locate = head.stock_locate.get();
        let key = Key { symbol: String::from_utf8_lossy(stock).trim_end().to_owned(), ..Key::default() };
        let shape = Shape {
            schema: "itch",
            tells: Tells::ORDERS.and(Tells::TRADES).and(Tells::STATUS),
            depth: 0,
            source_id: locate.into(),
            exponents: Exponents::Fixed(PRICE_EXPONENT, 0),
        };
        let instrument = self.listing.instrument(key, shape, self.path)?;
        self.instruments[usize::from(locate)] = Some(instrument);
        Ok(instrument)
    }

    /// The instrument of a message that does not.
    fn known(&self, head: &Head) -> Option<u32> {
        self.instruments[usize::from(head.stock_locate.get())]
    }

    fn primary(&self, kind: PrimaryKind, head: &Head, instrument: u32) -> Primary {
        let primary = Primary::new(kind, instrument, self.time_ns);
        Primary { price: ABSENT, quantity: ABSENT, count: head.kind.into(), ..primary }
    }
}

/// The bytes as that message; their number has been checked.
fn layout<T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable + zerocopy::Unaligned>(
    bytes: &[u8],
) -> Result<&T, Fault> {
    T::ref_from_bytes(bytes)
        .map_err(|_| Fault::Damage(format!("{} bytes where {} are needed", bytes.len(), size_of::<T>())))
}

fn some_shares(shares: u32) -> Result<u32, Fault> {
    if shares == 0 { Err(Fault::Damage("0 shares; allowed: 1 or more".into())) } else { Ok(shares) }
}

fn not_allowed(field: &str, found: u8, allowed: &str) -> String {
    format!("{field} is {}; allowed: {allowed}", printable(&[found]))
}
