//! For each fixed part three things are the same bytes: the documented table, the memory of the Rust type, and what
//! bincode's fixed-width little-endian configuration writes.

use std::mem::offset_of;

use proptest::prelude::*;
use tickcast::model::Level;
use tickcast::wire::market::{
    BarBody, BookBody, FrameHeader, MessageHeader, OrderBody, OrderEntry, OrdersBody, PriceBody, QuoteBody,
    StatusBody, TradeBody,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::document;

/// One row: offset, size, type, name.
pub type Row = (usize, usize, String, String);

macro_rules! rows {
    ($record:ident { $($field:ident: $kind:ty),* $(,)? }) => {{
        // A list that lacks a field does not compile, one with a wrong type neither.
        let _ = |record: $record| { let $record { $($field),* } = record; $(let _: $kind = $field;)* };
        let rows: Vec<Row> = vec![$((
            offset_of!($record, $field),
            size_of::<$kind>(),
            stringify!($kind).replace(['[', ']', ' '], "").replace(';', "×"),
            stringify!($field).to_owned(),
        )),*];
        (size_of::<$record>(), rows)
    }};
}

#[test]
fn the_documented_offsets_are_those_in_memory() {
    let parts = [
        (
            "Frame header",
            rows!(FrameHeader { version: u8, channel: u8, messages: u16, instrument: u32, epoch: u64 }),
        ),
        (
            "Message header",
            rows!(MessageHeader {
                length: u32,
                kind: u8,
                flags: u8,
                reserved: u16,
                first_seq: u64,
                last_seq: u64,
                ts_ns: u64,
                sent_ns: u64,
            }),
        ),
        ("Quote", rows!(QuoteBody { bid: i64, bid_quantity: i64, ask: i64, ask_quantity: i64 })),
        (
            "Trade",
            rows!(TradeBody { price: i64, quantity: i64, trade_id: u64, aggressor: u8, reserved: [u8; 7] }),
        ),
        ("Orderbook", rows!(BookBody { bids: u32, asks: u32, checksum: u32, part: u16, parts: u16 })),
        ("Level", rows!(Level { price: i64, quantity: i64 })),
        (
            "Order",
            rows!(OrderBody {
                order_id: u64,
                price: i64,
                quantity: i64,
                executed: i64,
                action: u8,
                side: u8,
                reserved: [u8; 6],
            }),
        ),
        ("Orders", rows!(OrdersBody { bids: u32, asks: u32, part: u16, parts: u16, reserved: u32 })),
        ("Resting order", rows!(OrderEntry { order_id: u64, price: i64, quantity: i64 })),
        (
            "Bar",
            rows!(BarBody {
                start_ns: u64,
                open: i64,
                high: i64,
                low: i64,
                close: i64,
                volume: i64,
                period: u8,
                complete: u8,
                reserved: [u8; 6],
            }),
        ),
        ("Price", rows!(PriceBody { bid: i64, ask: i64, last: i64, volume: i64 })),
        ("Status", rows!(StatusBody { status: u8, reserved: [u8; 7] })),
    ];
    for (name, (size, rows)) in parts {
        assert_eq!(size % 8, 0, "{name}");
        let mut end = 0;
        for (offset, size, kind, field) in &rows {
            assert_eq!(*offset, end, "{name}: hidden padding before {field}");
            assert_eq!(
                offset % if kind.contains('×') { 1 } else { *size },
                0,
                "{name}: {field} is not aligned"
            );
            end = offset + size;
        }
        assert_eq!(end, size, "{name}: hidden padding at the end");
        assert_eq!(document::offsets(name), (size, rows), "docs/protocol.md, {name}");
    }
}

fn is_what_bincode_writes<T>(bytes: &[u8]) -> Result<(), TestCaseError>
where
    T: FromBytes
        + IntoBytes
        + Immutable
        + bincode::Encode
        + bincode::Decode<()>
        + PartialEq
        + std::fmt::Debug,
{
    let fixed = bincode::config::standard().with_little_endian().with_fixed_int_encoding();
    let bytes = &bytes[..size_of::<T>()];
    let record = T::read_from_bytes(bytes).expect("the size is right");
    prop_assert_eq!(record.as_bytes(), bytes);
    prop_assert_eq!(&bincode::encode_to_vec(&record, fixed).unwrap()[..], bytes);
    prop_assert_eq!(bincode::decode_from_slice::<T, _>(bytes, fixed).unwrap(), (record, bytes.len()));
    Ok(())
}

proptest! {
    #[test]
    fn memory_is_what_bincode_writes(bytes in prop::collection::vec(any::<u8>(), 56)) {
        is_what_bincode_writes::<FrameHeader>(&bytes)?;
        is_what_bincode_writes::<MessageHeader>(&bytes)?;
        is_what_bincode_writes::<QuoteBody>(&bytes)?;
        is_what_bincode_writes::<TradeBody>(&bytes)?;
        is_what_bincode_writes::<BookBody>(&bytes)?;
        is_what_bincode_writes::<Level>(&bytes)?;
        is_what_bincode_writes::<OrderBody>(&bytes)?;
        is_what_bincode_writes::<OrdersBody>(&bytes)?;
        is_what_bincode_writes::<OrderEntry>(&bytes)?;
        is_what_bincode_writes::<BarBody>(&bytes)?;
        is_what_bincode_writes::<PriceBody>(&bytes)?;
        is_what_bincode_writes::<StatusBody>(&bytes)?;
    }
}
