//! Arbitrary instruments and messages for property tests.

use proptest::collection::vec;
use proptest::prelude::*;

use super::market::{Message, MessageBody};
use super::message::Meta;
use crate::model::{ABSENT, Aggressor, Channel, ChannelSet, Instrument, Level, Quote, Status, Ticker, Trade};

/// Instruments with symbols of every allowed character, and of some that are not.
pub fn instruments() -> impl Strategy<Value = Instrument> {
    (prop_oneof!["[!-~]{1,32}", any::<String>()], -18_i8..=18, -18_i8..=18).prop_map(
        |(symbol, price_exponent, quantity_exponent)| Instrument {
            symbol,
            price_exponent,
            quantity_exponent,
            tick_size: 1,
            lot_size: 1,
            channels: ChannelSet::of(&Channel::ALL),
            book_depth: 0,
            source_id: 0,
        },
    )
}

/// Messages of every kind, with every integer.
pub fn messages() -> impl Strategy<Value = Message> {
    (metas(), bodies()).prop_map(|(meta, body)| Message { meta, body })
}

fn metas() -> impl Strategy<Value = Meta> {
    let sequences = prop_oneof![(0_u64..100, 0_u64..100), (any::<u64>(), any::<u64>())];
    (sequences, any::<u64>(), any::<u64>(), any::<bool>(), any::<bool>()).prop_map(
        |((first_seq, last_seq), ts_ns, sent_ns, snapshot, last)| Meta {
            first_seq,
            last_seq,
            ts_ns,
            sent_ns,
            snapshot,
            last,
        },
    )
}

fn value() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), -1_000_i64..1_000, Just(ABSENT), Just(i64::MAX)]
}

fn levels() -> impl Strategy<Value = Vec<Level>> {
    vec((value(), value()).prop_map(|(price, quantity)| Level { price, quantity }), 0..12)
}

fn bodies() -> impl Strategy<Value = MessageBody> {
    prop_oneof![
        (value(), value(), value(), value()).prop_map(|(bid, bid_quantity, ask, ask_quantity)| {
            MessageBody::Quote(Quote { bid, bid_quantity, ask, ask_quantity })
        }),
        (value(), value(), prop_oneof![Just(0), any::<u64>()], 0_u8..3).prop_map(
            |(price, quantity, trade_id, aggressor)| {
                let aggressor = Aggressor::from_number(aggressor);
                MessageBody::Trade(Trade { price, quantity, trade_id, aggressor })
            }
        ),
        (levels(), levels(), any::<Option<u32>>(), any::<u16>(), prop_oneof![Just(1), any::<u16>()])
            .prop_map(|(bids, asks, checksum, part, parts)| {
                MessageBody::Book { bids, asks, checksum, part, parts }
            }),
        (value(), value(), value(), value())
            .prop_map(|(bid, ask, last, volume)| { MessageBody::Ticker(Ticker { bid, ask, last, volume }) }),
        (1_u8..=4).prop_map(|number| MessageBody::Status(Status::from_number(number))),
    ]
}
