//! Primaries as DBN records: the inverse of the import.

use std::os::raw::c_char;

use ::dbn::{BboMsg, BidAskPair, FlagSet, HasRType, MboMsg, Mbp1Msg, Mbp10Msg, RecordHeader, TradeMsg};
use ::dbn::{UNDEF_ORDER_SIZE, UNDEF_PRICE, flags, rtype};

use super::metadata::{Origin, instrument_id};
use crate::feed::databento::{ACTIONS, PRICE_EXPONENT, Schema, carried, carriers};
use crate::feed::export::ExportError;
use crate::feed::export::selection::Chosen;
use crate::model::{ABSENT, Catalog, Channel, Instrument, Primary, PrimaryKind, Side, primary_flags};

/// The schema that holds what another source than DBN tells of the instrument, if there is one.
fn own_schema(instrument: &Instrument) -> Option<Schema> {
    match instrument.channels {
        has if has.contains(Channel::Orders) => Some(Schema::Mbo),
        // Each record of mbp-1 and mbp-10 is the change of an order, with the levels behind it; only levels are known.
        has if has.contains(Channel::Book) || has.contains(Channel::Quotes) => None,
        has => has.contains(Channel::Trades).then_some(Schema::Trades),
    }
}

/// The schema of all records of the chosen instruments; `None` where they may be of several.
pub(super) fn common_schema(
    chosen: &Chosen,
    origin: &Origin,
    file: &str,
) -> Result<Option<Schema>, ExportError> {
    match origin {
        Origin::Dbn { schemas: None, .. } => Ok(None),
        Origin::Dbn { schemas: Some(schemas), .. } => {
            let mut possible = schemas.iter().copied().filter(|schema| {
                schemas.len() == 1 || chosen.instruments().any(|(_, instrument)| schema.may_be_of(instrument))
            });
            let first = possible.next();
            Ok(first.filter(|_| possible.next().is_none()))
        }
        Origin::Other => common_own_schema(chosen, file).map(Some),
    }
}

fn common_own_schema(chosen: &Chosen, file: &str) -> Result<Schema, ExportError> {
    let mut common: Option<Schema> = None;
    for (_, instrument) in chosen.instruments() {
        let schema = own_schema(instrument).ok_or_else(|| {
            let channels: Vec<&str> = instrument.channels.iter().map(Channel::name).collect();
            ExportError::Unfit {
                file: file.to_owned(),
                symbol: instrument.symbol.clone(),
                problem: format!(
                    "no DBN schema holds its channels ({}); allowed: orders (mbo), or trades without quotes and books \
                     (trades); --to csv and jsonl write levels",
                    channels.join(", ")
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
    /// The schema of all of them; `None`: they may be of several.
    schema: Option<Schema>,
    origin: Origin,
    file: String,
    /// A record that takes several primaries, and those of them that there are.
    begun: Option<Begun>,
    parts: Vec<Primary>,
    /// Records made.
    pub written: u64,
    /// Primaries that DBN has no record for.
    pub left_out: u64,
}

/// A record of which some primaries are still to come.
struct Begun {
    schema: Schema,
    head: Head,
    /// What it waits for: their kind, and how many of them.
    kind: PrimaryKind,
    wanted: usize,
}

/// What records have in common.
#[derive(Default)]
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

/// A message with what those of orders, levels and trades have; the fields of its own follow.
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
    pub fn new(schema: Option<Schema>, origin: Origin, file: &str) -> Records {
        Records {
            schema,
            origin,
            file: file.to_owned(),
            begun: None,
            parts: Vec::new(),
            written: 0,
            left_out: 0,
        }
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

    /// Nothing follows: an error where the last record is not whole.
    pub fn end(&self, catalog: &Catalog) -> Result<(), ExportError> {
        let Some(begun) = &self.begun else { return Ok(()) };
        Err(ExportError::Unfit {
            file: self.file.clone(),
            symbol: catalog
                .get(begun.head.instrument)
                .map(|instrument| instrument.symbol.clone())
                .unwrap_or_default(),
            problem: format!("the last record has {} parts of {}", self.parts.len(), begun.wanted),
        })
    }

    fn make(&mut self, primary: &Primary, instrument: &Instrument, out: &mut Vec<u8>) -> Result<(), String> {
        if let Some(begun) = self.begun.take() {
            if primary.kind() != Some(begun.kind) || primary.instrument != begun.head.instrument {
                let left = begun.wanted - self.parts.len();
                return Err(format!("expected {left} of kind {} before it", begun.kind.name()));
            }
            self.parts.push(*primary);
            return self.go_on(begun, out);
        }
        if self.origin.is_dbn() {
            return self.restore(primary, instrument, out);
        }
        let schema = self.schema.unwrap_or(Schema::Mbo);
        let Some(actions) = own_actions(primary, schema)? else {
            self.left_out += 1;
            return Ok(());
        };
        for action in actions {
            let head = self.head(*action, primary, instrument)?;
            self.put_plain(schema, &head, out);
        }
        Ok(())
    }

    /// Makes, or begins, the record of DBN that the primary was.
    fn restore(
        &mut self,
        primary: &Primary,
        instrument: &Instrument,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let schema = source_schema(primary, instrument)?;
        if let Some(common) = self.schema.filter(|common| common.rtype() != schema.rtype()) {
            return Err(format!("a record of schema {}; the others are of {}", schema.name(), common.name()));
        }
        let begun = |head, kind, wanted| Begun { schema, head, kind, wanted };
        if let Some(bytes) = schema.carried_bytes() {
            self.parts.push(*primary);
            return self
                .go_on(begun(carried_head(primary, instrument), PrimaryKind::Note, carriers(bytes)), out);
        }
        // A record that has no action of its own has its type there.
        let head = self.head(primary.count as u8, primary, instrument)?;
        match usize::from(schema.depth()) {
            0 => self.put_plain(schema, &head, out),
            depth => self.begun = Some(begun(head, PrimaryKind::Top, 2 * depth)),
        }
        Ok(())
    }

    /// Makes the record if it has all its parts, else keeps it.
    fn go_on(&mut self, begun: Begun, out: &mut Vec<u8>) -> Result<(), String> {
        if self.parts.len() < begun.wanted {
            self.begun = Some(begun);
            return Ok(());
        }
        let Begun { schema, head, .. } = begun;
        // The buffer comes back, empty, for the next record.
        let mut parts = std::mem::take(&mut self.parts);
        match schema.carried_bytes() {
            Some(bytes) => self.put_carried(schema, bytes, &head, &parts, out),
            None => self.put_levels(schema, &head, &parts, out)?,
        }
        parts.clear();
        self.parts = parts;
        Ok(())
    }

    /// A record without levels.
    fn put_plain(&mut self, schema: Schema, head: &Head, out: &mut Vec<u8>) {
        if schema == Schema::Mbo {
            let (order_id, channel_id) = (head.order_id, head.channel_id);
            let message = message!(MboMsg, rtype::MBO, head, order_id: order_id, channel_id: channel_id);
            self.put(message.as_ref(), out);
        } else {
            let message = message!(TradeMsg, rtype::MBP_0, head, depth: head.depth);
            self.put(message.as_ref(), out);
        }
    }

    /// A record with the levels that were gathered.
    fn put_levels(
        &mut self,
        schema: Schema,
        head: &Head,
        tops: &[Primary],
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let mut pairs: [BidAskPair; 10] = Default::default();
        for top in tops {
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
        let best = pairs[0].clone();
        match schema {
            Schema::Mbp10 => {
                let message = message!(Mbp10Msg, rtype::MBP_10, head, depth: head.depth, levels: pairs);
                self.put(message.as_ref(), out);
            }
            Schema::Bbo1S | Schema::Bbo1M => {
                let message = BboMsg {
                    hd: header::<BboMsg>(schema.rtype(), head),
                    price: head.price,
                    size: head.size,
                    side: head.side as c_char,
                    flags: FlagSet::new(head.flags),
                    ts_recv: head.ts_recv,
                    sequence: head.sequence,
                    levels: [best],
                    ..BboMsg::default_for_schema(schema.dbn())
                };
                self.put(message.as_ref(), out);
            }
            _ => {
                let message = message!(Mbp1Msg, rtype::MBP_1, head, depth: head.depth, levels: [best]);
                self.put(message.as_ref(), out);
            }
        }
        Ok(())
    }

    /// A record whose bytes behind the header were carried; `bytes` is its length.
    fn put_carried(
        &mut self,
        schema: Schema,
        bytes: usize,
        head: &Head,
        parts: &[Primary],
        out: &mut Vec<u8>,
    ) {
        let end = out.len() + bytes;
        // The header counts words of four bytes.
        out.extend([(bytes / 4) as u8, schema.rtype()]);
        out.extend(head.publisher.to_le_bytes());
        out.extend(head.instrument_id.to_le_bytes());
        out.extend(head.ts_event.to_le_bytes());
        parts.iter().for_each(|part| out.extend(carried(part)));
        out.truncate(end);
        self.written += 1;
    }

    fn put(&mut self, record: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(record);
        self.written += 1;
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

/// What a record that is carried has beside its bytes.
fn carried_head(primary: &Primary, instrument: &Instrument) -> Head {
    Head {
        publisher: primary.publisher,
        instrument: primary.instrument,
        instrument_id: instrument_id(primary.instrument, instrument),
        ts_event: primary.ts_event_ns,
        ..Head::default()
    }
}

/// The schema of the record of DBN that the primary was, or began.
fn source_schema(primary: &Primary, instrument: &Instrument) -> Result<Schema, String> {
    if primary.kind() == Some(PrimaryKind::Top) {
        return Err("a level without the record that it belongs to".into());
    }
    let schema = match u8::try_from(primary.count) {
        Ok(letter) if ACTIONS.contains(&letter) && instrument.has(Channel::Orders) => Some(Schema::Mbo),
        Ok(letter) if ACTIONS.contains(&letter) => Schema::of_rtype(primary.source_channel)
            .filter(|schema| matches!(schema, Schema::Trades | Schema::Mbp1 | Schema::Mbp10)),
        Ok(rtype) => Schema::of_rtype(rtype).filter(|schema| {
            schema.carried_bytes().is_some() || matches!(schema, Schema::Bbo1S | Schema::Bbo1M)
        }),
        Err(_) => None,
    };
    schema.ok_or_else(|| {
        format!(
            "the source's action is {}, its channel {}; no record of DBN was taken in so",
            primary.count, primary.source_channel
        )
    })
}

/// The actions of the records that a primary of another source becomes; `None` where DBN has no place for it.
fn own_actions(primary: &Primary, schema: Schema) -> Result<Option<&'static [u8]>, String> {
    Ok(match primary.kind() {
        Some(PrimaryKind::Trade) => Some(b"T"),
        _ if schema == Schema::Trades => None,
        Some(PrimaryKind::Add) => Some(b"A"),
        Some(PrimaryKind::Cancel) => Some(b"C"),
        Some(PrimaryKind::Modify) => Some(b"M"),
        Some(PrimaryKind::Clear) => Some(b"R"),
        Some(PrimaryKind::Fill) => Some(b"F"),
        // What is filled leaves with a cancel.
        Some(PrimaryKind::Execute) => Some(b"FC"),
        Some(PrimaryKind::Status | PrimaryKind::Note) | None => None,
        Some(kind @ (PrimaryKind::Level | PrimaryKind::Top)) => {
            return Err(format!("kind {}; schema {} has no such record", kind.name(), schema.name()));
        }
    })
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
