//! Arbitrary instruments and messages for property tests.

use proptest::collection::vec;
use proptest::prelude::*;

use super::market::{Message, MessageBody};
use super::message::Meta;
use crate::model::{
    ABSENT, Aggressor, Bar, Channel, ChannelSet, Instrument, Level, Order, OrderAction, OrderChange, Period,
    Quote, Side, Status, Ticker, Trade,
};

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

fn orders(side: Side) -> impl Strategy<Value = Vec<Order>> {
    let order = move |(order_id, price, quantity)| Order { order_id, side, price, quantity };
    vec((any::<u64>(), value(), value()).prop_map(order), 0..8)
}

fn order_changes() -> impl Strategy<Value = OrderChange> {
    (1_u8..=5, any::<u64>(), 0_u8..=2, value(), value(), value()).prop_map(
        |(action, order_id, side, price, quantity, executed)| OrderChange {
            action: OrderAction::from_number(action).expect("1 to 5 are actions"),
            order_id,
            side: Side::from_number(side),
            price,
            quantity,
            executed,
        },
    )
}

fn bars() -> impl Strategy<Value = Bar> {
    let prices = (value(), value(), value(), value());
    (0_usize..4, any::<u64>(), prices, value(), any::<bool>()).prop_map(
        |(period, start_ns, (open, high, low, close), volume, complete)| {
            let period = Period::ALL[period];
            Bar { period, start_ns, open, high, low, close, volume, complete }
        },
    )
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
        order_changes().prop_map(MessageBody::Order),
        (orders(Side::Bid), orders(Side::Ask), any::<u16>(), prop_oneof![Just(1), any::<u16>()]).prop_map(
            |(mut orders, asks, part, parts)| {
                orders.extend(asks);
                MessageBody::Orders { orders, part, parts }
            }
        ),
        bars().prop_map(MessageBody::Bar),
        (1_u8..=4).prop_map(|number| MessageBody::Status(Status::from_number(number))),
    ]
}
