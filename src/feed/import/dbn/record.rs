//! One DBN record as primaries.

use std::os::raw::c_char;

use ::dbn::{BidAskPair, FlagSet, MboMsg, Mbp1Msg, Mbp10Msg, RecordHeader, RecordRef, TradeMsg};
use ::dbn::{HasRType, UNDEF_ORDER_SIZE, UNDEF_PRICE};

use crate::feed::import::listing::Tells;
use crate::model::{ABSENT, Primary, PrimaryKind, Side, primary_flags};

/// The schemas that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schema {
    Mbo,
    Mbp1,
    Mbp10,
    Trades,
}

impl Schema {
    /// The schema of that name in the `dbn` crate, if it can be imported.
    pub fn of(schema: ::dbn::Schema) -> Option<Schema> {
        match schema {
            ::dbn::Schema::Mbo => Some(Schema::Mbo),
            ::dbn::Schema::Mbp1 => Some(Schema::Mbp1),
            ::dbn::Schema::Mbp10 => Some(Schema::Mbp10),
            ::dbn::Schema::Trades => Some(Schema::Trades),
            _ => None,
        }
    }

    /// Databento's name.
    pub fn name(self) -> &'static str {
        match self {
            Schema::Mbo => "mbo",
            Schema::Mbp1 => "mbp-1",
            Schema::Mbp10 => "mbp-10",
            Schema::Trades => "trades",
        }
    }

    /// What can be told from it.
    pub fn tells(self) -> Tells {
        match self {
            Schema::Mbo => Tells::ORDERS.and(Tells::TRADES),
            Schema::Mbp1 | Schema::Mbp10 => Tells::BOOK.and(Tells::TRADES),
            Schema::Trades => Tells::TRADES,
        }
    }

    /// Levels a side that it tells of; 0: all, or none at all.
    pub fn depth(self) -> u16 {
        match self {
            Schema::Mbp1 => 1,
            Schema::Mbp10 => 10,
            Schema::Mbo | Schema::Trades => 0,
        }
    }
}

/// What a record of the source says beside its primaries.
#[derive(Default)]
pub(super) struct Record {
    pub publisher: u16,
    pub instrument_id: u32,
    /// The time by which the source orders its records: receive time, or event time where there is none.
    pub ts_index: u64,
    /// The source says that the exchange event ends here.
    pub ends: bool,
}

/// What records of all four schemas have.
struct Head<'a> {
    hd: &'a RecordHeader,
    price: i64,
    size: u32,
    action: c_char,
    side: c_char,
    flags: FlagSet,
    ts_recv: u64,
    ts_in_delta: i32,
    sequence: u32,
}

macro_rules! head {
    ($message:expr) => {
        Head {
            hd: &$message.hd,
            price: $message.price,
            size: $message.size,
            action: $message.action,
            side: $message.side,
            flags: $message.flags,
            ts_recv: $message.ts_recv,
            ts_in_delta: $message.ts_in_delta,
            sequence: $message.sequence,
        }
    };
}

impl Record {
    /// Takes a record of that schema. What becomes of it replaces `primaries`, without the instrument's number in the
    /// catalog; the error says what is wrong with it.
    pub fn read(
        &mut self,
        record: RecordRef<'_>,
        schema: Schema,
        primaries: &mut Vec<Primary>,
    ) -> Result<(), String> {
        primaries.clear();
        match schema {
            Schema::Mbo => {
                let message = exact::<MboMsg>(record, schema)?;
                let head = head!(message);
                let mut primary = self.take(&head)?;
                primary.order_id = message.order_id;
                primary.source_channel = message.channel_id;
                if primary.kind() == Some(PrimaryKind::Trade) {
                    primary.flags |= primary_flags::ORDER_OF_TRADE;
                }
                check_order(&primary, &head)?;
                primaries.push(primary);
            }
            Schema::Trades => {
                let message = exact::<TradeMsg>(record, schema)?;
                let mut primary = self.take(&head!(message))?;
                if primary.kind() != Some(PrimaryKind::Trade) {
                    return Err(format!(
                        "action {}, price {} and size {}; a trade has action 'T', a price and a size",
                        letter(message.action),
                        message.price,
                        message.size
                    ));
                }
                primary.level = message.depth;
                primaries.push(primary);
            }
            Schema::Mbp1 => {
                let message = exact::<Mbp1Msg>(record, schema)?;
                let mut primary = self.take(&head!(message))?;
                primary.level = message.depth;
                restate(primary, &message.levels, primaries)?;
            }
            Schema::Mbp10 => {
                let message = exact::<Mbp10Msg>(record, schema)?;
                let mut primary = self.take(&head!(message))?;
                primary.level = message.depth;
                restate(primary, &message.levels, primaries)?;
            }
        }
        Ok(())
    }

    /// What all schemas say, as one primary.
    fn take(&mut self, head: &Head<'_>) -> Result<Primary, String> {
        self.publisher = head.hd.publisher_id;
        self.instrument_id = head.hd.instrument_id;
        self.ends = head.flags.is_last();
        let price = price(head.price)?;
        let quantity = if head.size == UNDEF_ORDER_SIZE { ABSENT } else { i64::from(head.size) };
        let kind = match head.action as u8 {
            b'A' => PrimaryKind::Add,
            b'C' => PrimaryKind::Cancel,
            b'M' => PrimaryKind::Modify,
            b'R' => PrimaryKind::Clear,
            b'F' => PrimaryKind::Fill,
            b'T' if price != ABSENT && quantity != ABSENT => PrimaryKind::Trade,
            // A trade without a price or a size says nothing that could be told.
            b'T' | b'N' => PrimaryKind::Note,
            _ => {
                return Err(format!("action {}; allowed: A, C, M, R, T, F and N", letter(head.action)));
            }
        };
        let side = match head.side as u8 {
            b'B' => Side::Bid as u8,
            b'A' => Side::Ask as u8,
            b'N' => 0,
            _ => return Err(format!("side {}; allowed: A, B and N", letter(head.side))),
        };
        let primary = Primary {
            ts_recv_ns: head.ts_recv,
            price,
            quantity,
            sequence: head.sequence,
            ts_in_delta_ns: head.ts_in_delta,
            count: u32::from(head.action as u8),
            publisher: head.hd.publisher_id,
            side,
            flags: if head.flags.is_snapshot() { primary_flags::SNAPSHOT } else { 0 },
            source_flags: head.flags.raw(),
            ..Primary::new(kind, 0, head.hd.ts_event)
        };
        self.ts_index = crate::feed::pacing_time_ns(&primary).unwrap_or(u64::MAX);
        Ok(primary)
    }
}

/// The trade, or a note of what else happened, then the levels as they stand.
fn restate(head: Primary, levels: &[BidAskPair], primaries: &mut Vec<Primary>) -> Result<(), String> {
    let kind = if head.kind() == Some(PrimaryKind::Trade) { head.kind } else { PrimaryKind::Note as u8 };
    primaries.push(Primary { kind, ..head });
    for (number, level) in levels.iter().enumerate() {
        for (side, source_price, size, count) in [
            (Side::Bid, level.bid_px, level.bid_sz, level.bid_ct),
            (Side::Ask, level.ask_px, level.ask_sz, level.ask_ct),
        ] {
            let price = price(source_price)?;
            if price == ABSENT && size > 0 {
                return Err(format!("level {number} has size {size} and no price"));
            }
            primaries.push(Primary {
                kind: PrimaryKind::Top as u8,
                side: side as u8,
                price,
                quantity: i64::from(size),
                count,
                level: number as u8,
                ..head
            });
        }
    }
    Ok(())
}

/// The record as that type, if it has its kind and its length.
fn exact<'a, T: HasRType<Header = RecordHeader>>(
    record: RecordRef<'a>,
    schema: Schema,
) -> Result<&'a T, String> {
    let (rtype, bytes) = (record.header().rtype, record.header().record_size());
    match record.try_get::<T>() {
        Ok(message) if bytes == size_of::<T>() => Ok(message),
        _ => {
            let expected = size_of::<T>();
            Err(format!(
                "type {rtype:#04x} of {bytes} bytes; a record of schema {} has {expected} bytes",
                schema.name()
            ))
        }
    }
}

/// What would make a wrong book: orders that are none, or that have no price or size.
fn check_order(primary: &Primary, head: &Head<'_>) -> Result<(), String> {
    let (needs_price, needs_size) = match primary.kind() {
        Some(PrimaryKind::Add | PrimaryKind::Modify) => (true, true),
        Some(PrimaryKind::Cancel) => (false, true),
        _ => return Ok(()),
    };
    let action = letter(head.action);
    if head.flags.is_tob() || head.flags.is_mbp() {
        let flags = head.flags.raw();
        return Err(format!("action {action} with flags {flags}: a level (flag 64 or 16), not an order"));
    }
    if primary.side == 0 {
        return Err(format!("action {action} with side 'N'; an order has side A or B"));
    }
    if (needs_price && primary.price == ABSENT) || (needs_size && primary.quantity == ABSENT) {
        return Err(format!("action {action} without a price or a size"));
    }
    Ok(())
}

/// The source's price; its undefined one is absent.
fn price(source: i64) -> Result<i64, String> {
    match source {
        UNDEF_PRICE => Ok(ABSENT),
        ABSENT => Err(format!("price {source}; the smallest 64-bit integer is no price")),
        price => Ok(price),
    }
}

fn letter(byte: c_char) -> String {
    let byte = byte as u8;
    if byte.is_ascii_graphic() { format!("'{}'", byte as char) } else { format!("byte {byte}") }
}
