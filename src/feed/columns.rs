//! Codec 2: records by column (`docs/feed-format.md`, "Columns").
//!
//! The fields of one record say little of each other, a field of many records much: times grow in small steps, prices
//! stand near the price before. So each field is turned into small numbers, and their bytes are laid out so that equal
//! ones lie together, before zstd sees them. A real file of order events takes 0.6 of what its records take as they are.

use crate::model::{ABSENT, ABSENT_TIME, Primary};

use super::format::RECORD_BYTES;

/// Bytes before the columns: the units of prices and quantities.
const UNITS_BYTES: usize = 16;
/// Previous prices are kept by instrument and side, previous order numbers by instrument and kind, modulo these.
const INSTRUMENTS: usize = 64;
const SIDES: usize = 4;
const KINDS: usize = 16;
/// Records whose bytes are laid out together.
const LANE: usize = 32;

/// Bytes of the columns of that many records.
pub(super) const fn columns_bytes(records: usize) -> usize {
    UNITS_BYTES + records * RECORD_BYTES
}

/// Lays the records out by column; `out` is cleared first. False where a number is too far from the one before to be
/// told so: the block is then stored otherwise.
pub(super) fn encode(records: &[Primary], out: &mut Vec<u8>) -> bool {
    let price_unit = unit(records.iter().map(|record| record.price));
    let quantity_unit = unit(records.iter().map(|record| record.quantity));
    out.clear();
    out.resize(columns_bytes(records.len()), 0);
    let (units, columns) = out.split_at_mut(UNITS_BYTES);
    units[..8].copy_from_slice(&price_unit.to_le_bytes());
    units[8..].copy_from_slice(&quantity_unit.to_le_bytes());
    let mut columns = Columns { rest: columns, records: records.len() };
    let mut previous = Previous::default();
    let mut fits = true;
    let mut some = |code: Option<u64>| {
        fits &= code.is_some();
        code.unwrap_or_default()
    };
    let (price_unit, quantity_unit) = (price_unit as i64, quantity_unit as i64);

    columns.put(records, |record| {
        let delta =
            record.ts_event_ns.wrapping_sub(std::mem::replace(&mut previous.time, record.ts_event_ns));
        zigzag(delta as i64).to_le_bytes()
    });
    columns.put(records, |record| {
        let delta = record.ts_recv_ns.wrapping_sub(record.ts_event_ns) as i64;
        let is_there = record.ts_recv_ns != ABSENT_TIME;
        (if is_there { some(after_none(delta)) } else { 0 }).to_le_bytes()
    });
    columns.put(records, |record| {
        let before = std::mem::replace(previous.order_id(record), record.order_id);
        zigzag(record.order_id.wrapping_sub(before) as i64).to_le_bytes()
    });
    columns.put(records, |record| {
        if record.price == ABSENT {
            return [0; 8];
        }
        let before = std::mem::replace(previous.price(record), record.price);
        let delta = record.price.checked_sub(before).map(|delta| delta / price_unit);
        some(delta.and_then(after_none)).to_le_bytes()
    });
    columns.put(records, |record| {
        let is_there = record.quantity != ABSENT;
        (if is_there { some(after_none(record.quantity / quantity_unit)) } else { 0 }).to_le_bytes()
    });
    columns.put(records, |record| record.instrument.to_le_bytes());
    columns.put(records, |record| {
        let delta = record.sequence.wrapping_sub(std::mem::replace(&mut previous.sequence, record.sequence));
        zigzag_32(delta as i32).to_le_bytes()
    });
    columns.put(records, |record| zigzag_32(record.ts_in_delta_ns).to_le_bytes());
    columns.put(records, |record| record.count.to_le_bytes());
    columns.put(records, |record| record.publisher.to_le_bytes());
    columns.put(records, |record| [record.kind]);
    columns.put(records, |record| [record.side]);
    columns.put(records, |record| [record.flags]);
    columns.put(records, |record| [record.level]);
    columns.put(records, |record| [record.source_flags]);
    columns.put(records, |record| [record.source_channel]);
    fits
}

/// Makes `records` of their columns, which must be [`columns_bytes`] long. Any bytes of that length are some records;
/// `None` where the length is another or a unit is 0.
pub(super) fn decode(columns: &[u8], records: &mut [Primary]) -> Option<()> {
    if columns.len() != columns_bytes(records.len()) {
        return None;
    }
    let (units, columns) = columns.split_at(UNITS_BYTES);
    let unit = |at: usize| units[at..].first_chunk().map(|bytes| i64::from_le_bytes(*bytes));
    let (price_unit, quantity_unit) = (unit(0)?, unit(8)?);
    if price_unit == 0 || quantity_unit == 0 {
        return None;
    }
    let mut columns = Planes { rest: columns };
    let mut previous = Previous::default();

    columns.take(records, |record, bytes| {
        let delta = unzigzag(u64::from_le_bytes(bytes));
        previous.time = previous.time.wrapping_add(delta as u64);
        record.ts_event_ns = previous.time;
    });
    columns.take(records, |record, bytes| {
        record.ts_recv_ns = match u64::from_le_bytes(bytes) {
            0 => ABSENT_TIME,
            code => record.ts_event_ns.wrapping_add(unzigzag(code - 1) as u64),
        };
    });
    // These two are told relative to records of the same instrument, kind and side, which come first here.
    let (order_ids, after) = columns.rest.split_at(8 * records.len());
    let (prices, after) = after.split_at(8 * records.len());
    columns.rest = after;
    columns.take(records, |record, bytes| {
        record.quantity = match u64::from_le_bytes(bytes) {
            0 => ABSENT,
            code => unzigzag(code - 1).wrapping_mul(quantity_unit),
        };
    });
    columns.take(records, |record, bytes| record.instrument = u32::from_le_bytes(bytes));
    columns.take(records, |record, bytes| {
        let delta = unzigzag_32(u32::from_le_bytes(bytes));
        previous.sequence = previous.sequence.wrapping_add(delta as u32);
        record.sequence = previous.sequence;
    });
    columns.take(records, |record, bytes| record.ts_in_delta_ns = unzigzag_32(u32::from_le_bytes(bytes)));
    columns.take(records, |record, bytes| record.count = u32::from_le_bytes(bytes));
    columns.take(records, |record, bytes| record.publisher = u16::from_le_bytes(bytes));
    columns.take(records, |record, [byte]| record.kind = byte);
    columns.take(records, |record, [byte]| record.side = byte);
    columns.take(records, |record, [byte]| record.flags = byte);
    columns.take(records, |record, [byte]| record.level = byte);
    columns.take(records, |record, [byte]| record.source_flags = byte);
    columns.take(records, |record, [byte]| record.source_channel = byte);
    Planes { rest: order_ids }.take(records, |record, bytes| {
        let delta = unzigzag(u64::from_le_bytes(bytes));
        let order_id = previous.order_id(record);
        *order_id = order_id.wrapping_add(delta as u64);
        record.order_id = *order_id;
    });
    Planes { rest: prices }.take(records, |record, bytes| {
        record.price = match u64::from_le_bytes(bytes) {
            0 => ABSENT,
            code => {
                let price = previous.price(record);
                *price = price.wrapping_add(unzigzag(code - 1).wrapping_mul(price_unit));
                *price
            }
        };
    });
    Some(())
}

/// What the next record is told relative to.
struct Previous {
    time: u64,
    sequence: u32,
    order_ids: [u64; INSTRUMENTS * KINDS],
    prices: [i64; INSTRUMENTS * SIDES],
}

impl Default for Previous {
    fn default() -> Previous {
        Previous {
            time: 0,
            sequence: 0,
            order_ids: [0; INSTRUMENTS * KINDS],
            prices: [0; INSTRUMENTS * SIDES],
        }
    }
}

impl Previous {
    fn order_id(&mut self, record: &Primary) -> &mut u64 {
        let instrument = record.instrument as usize % INSTRUMENTS;
        &mut self.order_ids[instrument * KINDS + usize::from(record.kind) % KINDS]
    }

    fn price(&mut self, record: &Primary) -> &mut i64 {
        let instrument = record.instrument as usize % INSTRUMENTS;
        &mut self.prices[instrument * SIDES + usize::from(record.side) % SIDES]
    }
}

/// The greatest number that all of these, but for those that are absent, are multiples of; at least 1.
fn unit(values: impl Iterator<Item = i64>) -> u64 {
    let mut unit = 0_u64;
    for value in values.filter(|value| *value != ABSENT).map(i64::unsigned_abs) {
        // Euclid's algorithm; as a rule it is over at once.
        let mut rest = value;
        while rest != 0 {
            (unit, rest) = (rest, unit % rest);
        }
        if unit == 1 {
            break;
        }
    }
    unit.max(1)
}

/// Small numbers of either sign as small numbers: 0, -1, 1, -2 become 0, 1, 2, 3.
const fn zigzag(value: i64) -> u64 {
    ((value as u64) << 1) ^ ((value >> 63) as u64)
}

const fn unzigzag(code: u64) -> i64 {
    ((code >> 1) as i64) ^ -((code & 1) as i64)
}

const fn zigzag_32(value: i32) -> u32 {
    ((value as u32) << 1) ^ ((value >> 31) as u32)
}

const fn unzigzag_32(code: u32) -> i32 {
    ((code >> 1) as i32) ^ -((code & 1) as i32)
}

/// The code of a number where 0 stands for none; `None` for the one number that has no code.
const fn after_none(value: i64) -> Option<u64> {
    zigzag(value).checked_add(1)
}

/// Columns being written, one after the other.
struct Columns<'a> {
    rest: &'a mut [u8],
    records: usize,
}

impl Columns<'_> {
    /// Writes a column: the first byte of every value, then the second of every value, and so on.
    fn put<const N: usize>(&mut self, records: &[Primary], mut value: impl FnMut(&Primary) -> [u8; N]) {
        let (column, rest) = std::mem::take(&mut self.rest).split_at_mut(N * self.records);
        self.rest = rest;
        for (number, lane) in records.chunks(LANE).enumerate() {
            // Turned around where it is small, so that each plane gets its bytes at once.
            let mut bytes = [[0; LANE]; N];
            for (at, record) in lane.iter().enumerate() {
                for (plane, byte) in value(record).into_iter().enumerate() {
                    bytes[plane][at] = byte;
                }
            }
            let at = number * LANE;
            for (plane, bytes) in bytes.iter().enumerate() {
                column[plane * self.records + at..][..lane.len()].copy_from_slice(&bytes[..lane.len()]);
            }
        }
    }
}

/// Columns being read, one after the other.
struct Planes<'a> {
    rest: &'a [u8],
}

impl Planes<'_> {
    /// Reads a column and gives each record its value.
    fn take<const N: usize>(&mut self, records: &mut [Primary], mut set: impl FnMut(&mut Primary, [u8; N])) {
        let (column, rest) = self.rest.split_at(N * records.len());
        self.rest = rest;
        let planes: [&[u8]; N] =
            std::array::from_fn(|plane| &column[plane * records.len()..][..records.len()]);
        for (at, record) in records.iter_mut().enumerate() {
            set(record, std::array::from_fn(|plane| planes[plane][at]));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zerocopy::FromBytes;

    use super::*;
    use crate::model::PrimaryKind;

    fn decoded(columns: &[u8], records: usize) -> Option<Vec<Primary>> {
        let mut found = vec![Primary::default(); records];
        decode(columns, &mut found).map(|()| found)
    }

    /// Records of any bytes, often with numbers that are absent, extreme, or near each other.
    fn primaries() -> impl Strategy<Value = Vec<Primary>> {
        let number = || prop_oneof![any::<i64>(), Just(ABSENT), Just(i64::MAX), Just(-1), -1_000..1_000_i64];
        let record = (any::<[u8; RECORD_BYTES]>(), number(), number(), number(), number(), number());
        let record = record.prop_map(|(bytes, event, recv, order_id, price, quantity)| {
            let (ts_event_ns, ts_recv_ns, order_id) = (event as u64, recv as u64, order_id as u64);
            let noise = Primary::read_from_bytes(&bytes).unwrap();
            Primary { ts_event_ns, ts_recv_ns, order_id, price: price / 2, quantity, ..noise }
        });
        proptest::collection::vec(record, 0..40)
    }

    proptest! {
        #[test]
        fn what_is_laid_out_comes_back(records in primaries(), unit in 1_i64..1_000_000) {
            let mut columns = Vec::new();
            if encode(&records, &mut columns) {
                prop_assert_eq!(decoded(&columns, records.len()), Some(records.clone()));
            }
            // Prices that are near each other always fit.
            let near: Vec<Primary> = records
                .iter()
                .map(|record| Primary {
                    price: if record.price == ABSENT { ABSENT } else { record.price % 1_000_000 * unit },
                    quantity: record.quantity % 1_000_000 * unit,
                    ts_recv_ns: record.ts_event_ns.wrapping_add(record.ts_recv_ns % 1_000_000),
                    ..*record
                })
                .collect();
            prop_assert!(encode(&near, &mut columns));
            prop_assert_eq!(decoded(&columns, near.len()), Some(near));
        }

        #[test]
        fn any_bytes_are_some_records_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..400), records in 0_usize..6) {
            let is_whole = bytes.len() == columns_bytes(records);
            prop_assert!(decoded(&bytes, records).is_none() || is_whole);
            let mut whole = bytes;
            whole.resize(columns_bytes(records), 0xff);
            let has_units = whole[..8] != [0; 8] && whole[8..16] != [0; 8];
            prop_assert_eq!(decoded(&whole, records).is_some(), has_units);
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_document() {
        let first = Primary {
            ts_recv_ns: 1_003,
            order_id: 5,
            price: 4_800,
            quantity: 30,
            instrument: 2,
            sequence: 9,
            ts_in_delta_ns: -1,
            count: 0x0141,
            publisher: 1,
            side: 1,
            flags: 1,
            level: 3,
            source_flags: 130,
            source_channel: 4,
            ..Primary::new(PrimaryKind::Add, 2, 1_000)
        };
        let second = Primary {
            ts_event_ns: 999,
            ts_recv_ns: ABSENT_TIME,
            order_id: 4,
            price: 4_750,
            quantity: ABSENT,
            sequence: 10,
            ..first
        };
        let mut columns = Vec::new();
        assert!(encode(&[first, second], &mut columns));
        let wide = |planes: &[[u8; 2]]| {
            let mut column = planes.concat();
            column.resize(16, 0);
            column
        };
        let expected = [
            vec![50, 0, 0, 0, 0, 0, 0, 0, 30, 0, 0, 0, 0, 0, 0, 0],
            wide(&[[0xd0, 1], [0x07, 0]]), // 2 x 1000, then -1
            wide(&[[7, 0]]),               // 2 x 3 + 1, then none
            wide(&[[10, 1]]),              // 2 x 5, then -1
            wide(&[[193, 2]]),             // 2 x 96 + 1, then -1 (in units of 50), plus 1
            wide(&[[3, 0]]),               // 1 in units of 30: 2 x 1 + 1, then none
            vec![2, 2, 0, 0, 0, 0, 0, 0],
            vec![18, 2, 0, 0, 0, 0, 0, 0],
            vec![1, 1, 0, 0, 0, 0, 0, 0],
            vec![0x41, 0x41, 1, 1, 0, 0, 0, 0],
            vec![1, 1, 0, 0],
            vec![1, 1, 1, 1, 1, 1, 3, 3, 130, 130, 4, 4],
        ]
        .concat();
        assert_eq!(columns, expected);
        assert_eq!(decoded(&columns, 2), Some(vec![first, second]));
    }

    #[test]
    fn a_number_without_a_code_is_said_to_have_none() {
        let trade = Primary::new(PrimaryKind::Trade, 0, 0);
        let mut columns = Vec::new();
        for odd in [
            [Primary { ts_recv_ns: 1 << 63, ..trade }, trade],
            [Primary { price: i64::MAX, ..trade }, Primary { price: -1 - 1, ..trade }],
        ] {
            assert!(!encode(&odd, &mut columns));
        }
        assert!(encode(
            &[Primary { quantity: i64::MAX, ..trade }, Primary { quantity: -i64::MAX, ..trade }],
            &mut columns
        ));
    }
}
