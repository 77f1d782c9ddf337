//! Primaries as DBN records: the inverse of the import.

use std::os::raw::c_char;

use ::dbn::{BidAskPair, FlagSet, HasRType, MboMsg, Mbp1Msg, Mbp10Msg, RecordHeader, TradeMsg};
use ::dbn::{UNDEF_ORDER_SIZE, UNDEF_PRICE, flags, rtype};

use super::metadata::{Origin, instrument_id};
use crate::feed::export::ExportError;
use crate::feed::export::selection::Chosen;
use crate::model::{ABSENT, Catalog, Channel, Instrument, Primary, PrimaryKind, Side, primary_flags};

/// Power of ten of DBN's prices.
const PRICE_EXPONENT: i8 = -9;

/// The schemas that can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schema {
    Mbo,
    Mbp1,
    Mbp10,
    Trades,
}

impl Schema {
    /// The schema that holds what is told of the instrument, if there is one.
    fn of(instrument: &Instrument) -> Option<Schema> {
        match instrument.book_depth {
            _ if instrument.has(Channel::Orders) => Some(Schema::Mbo),
            1 if instrument.has(Channel::Book) => Some(Schema::Mbp1),
            10 if instrument.has(Channel::Book) => Some(Schema::Mbp10),
            _ if instrument.has(Channel::Book) || instrument.has(Channel::Quotes) => None,
            _ => instrument.has(Channel::Trades).then_some(Schema::Trades),
        }
    }

    /// The schema as the `dbn` crate has it.
    pub fn dbn(self) -> ::dbn::Schema {
        match self {
            Schema::Mbo => ::dbn::Schema::Mbo,
            Schema::Mbp1 => ::dbn::Schema::Mbp1,
            Schema::Mbp10 => ::dbn::Schema::Mbp10,
            Schema::Trades => ::dbn::Schema::Trades,
        }
    }

    fn name(self) -> &'static str {
        self.dbn().as_str()
    }

    /// How many levels' records follow a record, both sides counted.
    fn tops(self) -> usize {
        match self {
            Schema::Mbo | Schema::Trades => 0,
            Schema::Mbp1 => 2,
            Schema::Mbp10 => 20,
        }
    }
}

/// The schema of all chosen instruments.
pub(super) fn common_schema(chosen: &Chosen, file: &str) -> Result<Schema, ExportError> {
    let mut common: Option<Schema> = None;
    for (_, instrument) in chosen.instruments() {
        let schema = Schema::of(instrument).ok_or_else(|| {
            let channels: Vec<&str> = instrument.channels.iter().map(Channel::name).collect();
            ExportError::Unfit {
                file: file.to_owned(),
                symbol: instrument.symbol.clone(),
                problem: format!(
                    "no DBN schema holds its channels ({}; {} levels a side); allowed: orders (mbo), the best level or \
                     the best 10 (mbp-1, mbp-10), trades alone (trades)",
                    channels.join(", "),
                    instrument.book_depth
                ),
            }
        })?;
        match common {
            Some(one) if one != schema => {
                let (one, other) = (one.name(), schema.name());
                return Err(ExportError::Schemas { file: file.to_owned(), one, other });
            }
            _ => common = Some(schema),
        }
    }
    // A file without an instrument has no record either.
    Ok(common.unwrap_or(Schema::Mbo))
}

/// Makes records of primaries.
pub(super) struct Records {
    schema: Schema,
    origin: Origin,
    file: String,
    /// A record of mbp-1 or mbp-10 whose levels are being gathered: what comes before them, and they.
    head: Option<Head>,
    levels: Vec<Primary>,
    /// Records made.
    pub written: u64,
    /// Primaries that DBN has no record for.
    pub left_out: u64,
}

/// What records of all schemas have.
struct Head {
    publisher: u16,
    /// The instrument's number in the feed file.
    instrument: u32,
    instrument_id: u32,
    ts_event: u64,
    price: i64,
    size: u32,
    action: u8,
    side: u8,
    flags: u8,
    depth: u8,
    order_id: u64,
    channel_id: u8,
    ts_recv: u64,
    ts_in_delta: i32,
    sequence: u32,
}

/// A message with what all schemas have; the fields of its own follow.
macro_rules! message {
    ($type:ident, $rtype:expr, $head:expr $(, $field:ident: $value:expr)*) => {
        $type {
            hd: header::<$type>($rtype, $head),
            price: $head.price,
            size: $head.size,
            action: $head.action as c_char,
            side: $head.side as c_char,
            flags: FlagSet::new($head.flags),
            ts_recv: $head.ts_recv,
            ts_in_delta: $head.ts_in_delta,
            sequence: $head.sequence,
            $($field: $value,)*
        }
    };
}

impl Records {
    pub fn new(schema: Schema, origin: Origin, file: &str) -> Records {
        let file = file.to_owned();
        Records { schema, origin, file, head: None, levels: Vec::new(), written: 0, left_out: 0 }
    }

    /// Appends the records that become whole with this primary, which is number `record` of the feed file.
    pub fn take(
        &mut self,
        record: u64,
        primary: &Primary,
        instrument: &Instrument,
        out: &mut Vec<u8>,
    ) -> Result<(), ExportError> {
        self.make(primary, instrument, out).map_err(|problem| ExportError::Unfit {
            file: self.file.clone(),
            symbol: instrument.symbol.clone(),
            problem: format!("record {record} (from 0): {problem}"),
        })
    }

    /// Nothing follows: an error where the last record lacks levels.
    pub fn end(&self, catalog: &Catalog) -> Result<(), ExportError> {
        let Some(head) = &self.head else { return Ok(()) };
        Err(ExportError::Unfit {
            file: self.file.clone(),
            symbol: catalog
                .get(head.instrument)
                .map(|instrument| instrument.symbol.clone())
                .unwrap_or_default(),
            problem: format!("the last record has {} levels of {}", self.levels.len(), self.schema.tops()),
        })
    }

    fn make(&mut self, primary: &Primary, instrument: &Instrument, out: &mut Vec<u8>) -> Result<(), String> {
        if let Some(head) = &self.head {
            if primary.kind() != Some(PrimaryKind::Top) || primary.instrument != head.instrument {
                return Err(format!("expected {} levels before it", self.schema.tops() - self.levels.len()));
            }
            self.levels.push(*primary);
            return if self.levels.len() == self.schema.tops() { self.restate(out) } else { Ok(()) };
        }
        let Some(actions) = self.actions(primary)? else {
            self.left_out += 1;
            return Ok(());
        };
        for action in actions {
            let head = self.head(*action, primary, instrument)?;
            match self.schema {
                Schema::Mbo => {
                    let (order_id, channel_id) = (head.order_id, head.channel_id);
                    let message =
                        message!(MboMsg, rtype::MBO, &head, order_id: order_id, channel_id: channel_id);
                    self.put(message.as_ref(), out);
                }
                Schema::Trades => {
                    let message = message!(TradeMsg, rtype::MBP_0, &head, depth: head.depth);
                    self.put(message.as_ref(), out);
                }
                Schema::Mbp1 | Schema::Mbp10 => self.head = Some(head),
            }
        }
        Ok(())
    }

    /// Makes the record whose levels were gathered.
    fn restate(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        let Some(head) = self.head.take() else { return Ok(()) };
        let mut pairs: [BidAskPair; 10] = Default::default();
        for top in self.levels.drain(..) {
            let pair = pairs.get_mut(usize::from(top.level));
            let (Some(pair), Ok(size), Some(side)) = (pair, u32::try_from(top.quantity), top.side()) else {
                return Err(format!(
                    "level {} of side {} with quantity {}",
                    top.level, top.side, top.quantity
                ));
            };
            let price = if top.price == ABSENT { UNDEF_PRICE } else { top.price };
            match side {
                Side::Bid => (pair.bid_px, pair.bid_sz, pair.bid_ct) = (price, size, top.count),
                Side::Ask => (pair.ask_px, pair.ask_sz, pair.ask_ct) = (price, size, top.count),
            }
        }
        if self.schema == Schema::Mbp1 {
            let [best, ..] = pairs;
            let message = message!(Mbp1Msg, rtype::MBP_1, &head, depth: head.depth, levels: [best]);
            self.put(message.as_ref(), out);
        } else {
            let message = message!(Mbp10Msg, rtype::MBP_10, &head, depth: head.depth, levels: pairs);
            self.put(message.as_ref(), out);
        }
        Ok(())
    }

    fn put(&mut self, record: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(record);
        self.written += 1;
    }

    /// The actions of the records that the primary becomes; `None` where DBN has no place for it.
    fn actions(&self, primary: &Primary) -> Result<Option<&'static [u8]>, String> {
        if self.origin.is_dbn() {
            // The source's own action.
            let known = b"ACMRTFN".iter().position(|letter| u32::from(*letter) == primary.count);
            return match known {
                Some(at) => Ok(Some(&b"ACMRTFN"[at..=at])),
                None => {
                    Err(format!("the source's action is {}; DBN has A, C, M, R, T, F and N", primary.count))
                }
            };
        }
        Ok(match primary.kind() {
            Some(PrimaryKind::Trade) => Some(b"T"),
            _ if self.schema == Schema::Trades => None,
            Some(PrimaryKind::Add) => Some(b"A"),
            Some(PrimaryKind::Cancel) => Some(b"C"),
            Some(PrimaryKind::Modify) => Some(b"M"),
            Some(PrimaryKind::Clear) => Some(b"R"),
            Some(PrimaryKind::Fill) => Some(b"F"),
            // What is filled leaves with a cancel.
            Some(PrimaryKind::Execute) => Some(b"FC"),
            Some(PrimaryKind::Status | PrimaryKind::Note) | None => None,
            Some(kind @ (PrimaryKind::Level | PrimaryKind::Top)) => {
                return Err(format!(
                    "kind {}; schema {} has no such record",
                    kind.name(),
                    self.schema.name()
                ));
            }
        })
    }

    fn head(&self, action: u8, primary: &Primary, instrument: &Instrument) -> Result<Head, String> {
        let is_clear = action == b'R' && !self.origin.is_dbn();
        let price = match primary.price {
            _ if is_clear => UNDEF_PRICE,
            ABSENT => UNDEF_PRICE,
            price => rescaled(price, instrument.price_exponent, PRICE_EXPONENT)
                .filter(|price| *price != UNDEF_PRICE && *price != ABSENT)
                .ok_or_else(|| {
                    format!(
                        "price {price}e{} is no multiple of 1e-9 that fits 64 bits",
                        instrument.price_exponent
                    )
                })?,
        };
        let size = match primary.quantity {
            ABSENT => UNDEF_ORDER_SIZE,
            quantity => rescaled(quantity, instrument.quantity_exponent, 0)
                .and_then(|size| u32::try_from(size).ok())
                .filter(|size| *size != UNDEF_ORDER_SIZE)
                .ok_or_else(|| {
                    format!(
                        "quantity {quantity}e{} is no whole number below 2^32 - 1",
                        instrument.quantity_exponent
                    )
                })?,
        };
        let is_of_order =
            primary.kind() != Some(PrimaryKind::Trade) || primary.flags & primary_flags::ORDER_OF_TRADE != 0;
        Ok(Head {
            publisher: primary.publisher,
            instrument: primary.instrument,
            instrument_id: instrument_id(primary.instrument, instrument),
            ts_event: primary.ts_event_ns,
            price,
            size,
            action,
            side: match primary.side() {
                Some(Side::Bid) => b'B',
                Some(Side::Ask) => b'A',
                None => b'N',
            },
            flags: if self.origin.is_dbn() { primary.source_flags } else { own_flags(primary, action) },
            depth: if self.origin.is_dbn() { primary.level } else { 0 },
            order_id: if is_of_order { primary.order_id } else { 0 },
            channel_id: primary.source_channel,
            ts_recv: primary.ts_recv_ns,
            ts_in_delta: primary.ts_in_delta_ns,
            sequence: primary.sequence,
        })
    }
}

/// DBN's flags of a record that does not come from DBN.
fn own_flags(primary: &Primary, action: u8) -> u8 {
    // Of a fill and the cancel that carries it out the cancel is the last.
    let is_last = primary.is_last() && !(action == b'F' && primary.kind() == Some(PrimaryKind::Execute));
    let is_snapshot = primary.flags & primary_flags::SNAPSHOT != 0;
    (if is_last { flags::LAST } else { 0 }) | (if is_snapshot { flags::SNAPSHOT } else { 0 })
}

fn header<T: HasRType<Header = RecordHeader>>(rtype: u8, head: &Head) -> RecordHeader {
    RecordHeader::new::<T>(rtype, head.publisher, head.instrument_id, head.ts_event)
}

/// The integer at another power of ten, if it is one there.
fn rescaled(value: i64, from: i8, to: i8) -> Option<i64> {
    let shift = i32::from(from) - i32::from(to);
    let power = 10_i128.checked_pow(shift.unsigned_abs())?;
    let value = i128::from(value);
    let scaled =
        if shift >= 0 { value.checked_mul(power)? } else { (value % power == 0).then(|| value / power)? };
    i64::try_from(scaled).ok()
}
