//! One DBN record as primaries.

use std::os::raw::c_char;

use ::dbn::{BboMsg, BidAskPair, FlagSet, MboMsg, Mbp1Msg, Mbp10Msg, RecordHeader, RecordRef, TradeMsg};
use ::dbn::{HasRType, UNDEF_ORDER_SIZE, UNDEF_PRICE};

use super::carried::{self, Definition};
use crate::feed::databento::Schema;
use crate::feed::import::event_ends::Ends;
use crate::model::{ABSENT, Primary, PrimaryKind, Side, primary_flags};

/// What a record of the source says beside its primaries.
#[derive(Default)]
pub(super) struct Record {
    pub publisher: u16,
    pub instrument_id: u32,
    /// The time by which the source orders its records: receive time, or event time where there is none.
    pub ts_index: u64,
    /// What the source says of the end of the exchange event.
    pub ends: Ends,
    /// Whether the source says that the receive time may be wrong. In a snapshot it is none anyway.
    pub has_bad_time: bool,
    /// What it says of the instrument itself.
    pub definition: Option<Definition>,
}

/// What records of orders, levels and trades have.
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
        self.definition = None;
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
                primary.source_channel = schema.rtype();
                primaries.push(primary);
            }
            Schema::Mbp1 | Schema::Tbbo => {
                let message = exact::<Mbp1Msg>(record, schema)?;
                let mut primary = self.take(&head!(message))?;
                primary.level = message.depth;
                primary.source_channel = schema.rtype();
                restate(primary, primary.ts_event_ns, &message.levels, primaries)?;
            }
            Schema::Mbp10 => {
                let message = exact::<Mbp10Msg>(record, schema)?;
                let mut primary = self.take(&head!(message))?;
                primary.level = message.depth;
                primary.source_channel = schema.rtype();
                restate(primary, primary.ts_event_ns, &message.levels, primaries)?;
            }
            Schema::Bbo1S | Schema::Bbo1M => {
                let message = exact::<BboMsg>(record, schema)?;
                let primary = self.take_interval(message)?;
                // The levels stood so when the interval ended; the event time is that of the last trade.
                restate(primary, self.ts_index, &message.levels, primaries)?;
            }
            Schema::Status | Schema::Definition | Schema::Statistics | Schema::Imbalance => {
                self.begin(record.header());
                self.ends = Ends::Unsaid;
                self.definition = carried::read(record, schema, primaries)?;
                self.ts_index = primaries.first().map_or(u64::MAX, index_ns);
            }
        }
        Ok(())
    }

    /// Whose record it is.
    fn begin(&mut self, hd: &RecordHeader) {
        self.publisher = hd.publisher_id;
        self.instrument_id = hd.instrument_id;
        self.has_bad_time = false;
    }

    /// The state at the end of an interval but for its levels, as a note: the last trade was told of before, or never.
    fn take_interval(&mut self, message: &BboMsg) -> Result<Primary, String> {
        self.begin(&message.hd);
        // Each says everything anew, and the next one may have the same event time.
        self.ends = Ends::Here;
        let primary = Primary {
            ts_recv_ns: message.ts_recv,
            price: price(message.price)?,
            quantity: quantity(message.size),
            sequence: message.sequence,
            count: u32::from(message.hd.rtype),
            publisher: message.hd.publisher_id,
            side: side(message.side)?,
            source_flags: message.flags.raw(),
            ..Primary::new(PrimaryKind::Note, 0, message.hd.ts_event)
        };
        self.ts_index = index_ns(&primary);
        Ok(primary)
    }

    /// What records of orders, levels and trades say, as one primary.
    fn take(&mut self, head: &Head<'_>) -> Result<Primary, String> {
        self.begin(head.hd);
        self.has_bad_time = head.flags.is_bad_ts_recv() && !head.flags.is_snapshot();
        self.ends = if head.flags.is_last() { Ends::Here } else { Ends::Unsaid };
        let price = price(head.price)?;
        let quantity = quantity(head.size);
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
        let primary = Primary {
            ts_recv_ns: head.ts_recv,
            price,
            quantity,
            sequence: head.sequence,
            ts_in_delta_ns: head.ts_in_delta,
            count: u32::from(head.action as u8),
            publisher: head.hd.publisher_id,
            side: side(head.side)?,
            flags: if head.flags.is_snapshot() { primary_flags::SNAPSHOT } else { 0 },
            source_flags: head.flags.raw(),
            ..Primary::new(kind, 0, head.hd.ts_event)
        };
        self.ts_index = index_ns(&primary);
        Ok(primary)
    }
}

/// The trade, or a note of what else happened, then the levels as they stood at that time.
fn restate(
    head: Primary,
    ts_ns: u64,
    levels: &[BidAskPair],
    primaries: &mut Vec<Primary>,
) -> Result<(), String> {
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
                ts_event_ns: ts_ns,
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
pub(super) fn exact<'a, T: HasRType<Header = RecordHeader>>(
    record: RecordRef<'a>,
    schema: Schema,
) -> Result<&'a T, String> {
    let (rtype, bytes) = (record.header().rtype, record.header().record_size());
    match record.try_get::<T>() {
        Ok(message) if bytes == size_of::<T>() && rtype == schema.rtype() => Ok(message),
        _ => {
            let (expected, expected_type) = (size_of::<T>(), schema.rtype());
            let is_longer = rtype == expected_type && bytes == expected + size_of::<u64>();
            let hint = if is_longer {
                " (8 more may be a sending time, of which the metadata's ts_out tells)"
            } else {
                ""
            };
            Err(format!(
                "type {rtype:#04x} of {bytes} bytes; a record of schema {} has {expected} bytes and type \
                 {expected_type:#04x}{hint}",
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
    let action = || letter(head.action);
    if head.flags.is_tob() || head.flags.is_mbp() {
        let flags = head.flags.raw();
        return Err(format!("action {} with flags {flags}: a level (flag 64 or 16), not an order", action()));
    }
    if primary.side == 0 {
        return Err(format!("action {} with side 'N'; an order has side A or B", action()));
    }
    if (needs_price && primary.price == ABSENT) || (needs_size && primary.quantity == ABSENT) {
        return Err(format!("action {} without a price or a size", action()));
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

/// The source's size; its undefined one is absent.
fn quantity(size: u32) -> i64 {
    if size == UNDEF_ORDER_SIZE { ABSENT } else { i64::from(size) }
}

fn side(letter_of_side: c_char) -> Result<u8, String> {
    match letter_of_side as u8 {
        b'B' => Ok(Side::Bid as u8),
        b'A' => Ok(Side::Ask as u8),
        b'N' => Ok(0),
        _ => Err(format!("side {}; allowed: A, B and N", letter(letter_of_side))),
    }
}

/// The time by which the source orders its records.
fn index_ns(primary: &Primary) -> u64 {
    crate::feed::pacing_time_ns(primary).unwrap_or(u64::MAX)
}

fn letter(byte: c_char) -> String {
    let byte = byte as u8;
    if byte.is_ascii_graphic() { format!("'{}'", byte as char) } else { format!("byte {byte}") }
}
