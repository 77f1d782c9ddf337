//! Databento files made by Databento's own encoder, and records to put into them.

use std::num::NonZeroU64;

use dbn::encode::{DbnEncodable, EncodeRecord, EncodeRecordRef, dbn::Encoder as DbnEncoder};
use dbn::{
    BboMsg, BidAskPair, InstrumentDefMsg, MboMsg, Metadata, RecordHeader, RecordRef, SType, Schema,
    StatusMsg, TradeMsg, rtype,
};

/// 2024-01-10T00:00:00Z.
pub const DAY_NS: u64 = 1_704_844_800_000_000_000;

pub fn metadata(schema: Option<Schema>) -> Metadata {
    Metadata::builder()
        .dataset("XNAS.ITCH")
        .schema(schema)
        .start(DAY_NS)
        .end(NonZeroU64::new(DAY_NS + 1))
        .stype_in(Some(SType::RawSymbol))
        .stype_out(SType::InstrumentId)
        .build()
}

pub fn encode<T: DbnEncodable>(schema: Schema, records: &[T]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = DbnEncoder::new(&mut bytes, &metadata(Some(schema))).unwrap();
    records.iter().for_each(|record| encoder.encode_record(record).unwrap());
    bytes
}

/// A file of records of several schemas.
pub fn encode_mixed(records: &[RecordRef<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = DbnEncoder::new(&mut bytes, &metadata(None)).unwrap();
    records.iter().for_each(|record| encoder.encode_record_ref(*record).unwrap());
    bytes
}

pub fn status(id: u32, time_ns: u64, action: u16, is_trading: u8) -> StatusMsg {
    StatusMsg {
        hd: RecordHeader::new::<StatusMsg>(rtype::STATUS, 2, id, time_ns),
        ts_recv: time_ns + 5,
        action,
        reason: 40,
        trading_event: 2,
        is_trading: is_trading as _,
        is_quoting: b'Y' as _,
        is_short_sell_restricted: b'~' as _,
        ..StatusMsg::default()
    }
}

pub fn order(id: u32, time_ns: u64, action: u8, order_id: u64, flags: u8) -> MboMsg {
    MboMsg {
        hd: RecordHeader::new::<MboMsg>(rtype::MBO, 2, id, time_ns),
        order_id,
        price: 1_250_000_000,
        size: 3,
        flags: flags.into(),
        // The number that stands for a status: an order's channel must not be taken for a type.
        channel_id: rtype::STATUS,
        action: action as _,
        side: b'A' as _,
        ts_recv: time_ns + 5,
        ts_in_delta: -7,
        sequence: 9,
    }
}

pub fn trade(id: u32, time_ns: u64) -> TradeMsg {
    TradeMsg {
        hd: RecordHeader::new::<TradeMsg>(rtype::MBP_0, 2, id, time_ns),
        price: 1_000_000_000,
        size: 4,
        action: b'T' as _,
        side: b'B' as _,
        flags: 128.into(),
        ts_recv: time_ns + 5,
        sequence: 8,
        ..TradeMsg::default()
    }
}

pub fn bbo(id: u32, event_ns: u64, recv_ns: u64, bid: u32) -> BboMsg {
    BboMsg {
        hd: RecordHeader::new::<BboMsg>(rtype::BBO_1M, 2, id, event_ns),
        price: 1_000_000_000,
        size: 4,
        side: b'B' as _,
        flags: 168.into(),
        ts_recv: recv_ns,
        sequence: 8,
        levels: [BidAskPair { bid_px: 990_000_000, bid_sz: bid, bid_ct: 1, ..BidAskPair::default() }],
        ..BboMsg::default_for_schema(Schema::Bbo1M)
    }
}

/// A definition of which every byte behind `ts_recv` that is no fact counts.
pub fn definition(id: u32, symbol: &str, tick: i64, lot: i32) -> InstrumentDefMsg {
    let mut definition = InstrumentDefMsg {
        hd: RecordHeader::new::<InstrumentDefMsg>(rtype::INSTRUMENT_DEF, 2, id, DAY_NS),
        ts_recv: DAY_NS + 1,
        min_price_increment: tick,
        min_lot_size: lot,
        expiration: 0x0102_0304_0506_0708,
        strike_price: i64::MIN,
        ..InstrumentDefMsg::default()
    };
    for (at, byte) in symbol.bytes().enumerate() {
        definition.raw_symbol[at] = byte as _;
    }
    definition._reserved.fill(0x5A);
    definition
}
