//! The mirror of orders and bars.

use super::*;
use crate::model::{Bar, Order, OrderAction, OrderBook, OrderChange, OrderError, Period};
use crate::wire::message::Orders;

fn change(action: OrderAction, order_id: u64, side: Side, price: i64, quantity: i64) -> OrderChange {
    OrderChange { action, order_id, side: Some(side), price, quantity, executed: 0 }
}

fn tell(mirror: &mut Mirror, seq: u64, change: OrderChange, out: &mut Outcome) {
    mirror.frame(&frame(EPOCH, &[(meta(seq, seq, false), Content::Order(change))]), out).unwrap();
}

/// A snapshot in parts of so many orders.
fn snapshot(mirror: &mut Mirror, seq: u64, book: &OrderBook, size: usize, out: &mut Outcome) {
    let all: Vec<Order> = book.orders(Side::Bid).chain(book.orders(Side::Ask)).collect();
    let parts = all.len().div_ceil(size).max(1);
    for part in 0..parts {
        let orders = &all[part * size..all.len().min((part + 1) * size)];
        let content = Content::Orders(Orders { orders, part: part as u16 + 1, parts: parts as u16 });
        mirror.frame(&frame(EPOCH, &[(meta(seq, seq, true), content)]), out).unwrap();
    }
}

fn all_of(book: &OrderBook) -> Vec<Order> {
    book.orders(Side::Bid).chain(book.orders(Side::Ask)).collect()
}

fn shown(mirror: &Mirror) -> Option<(u64, bool, Vec<Order>)> {
    let view = mirror.entry(SYMBOL)?.orders()?;
    Some((view.seq, view.stale, all_of(view.orders)))
}

/// Something that may happen to a book of orders; what does not fit it does not happen.
fn changes() -> impl Strategy<Value = Vec<OrderChange>> {
    let change = (0_u8..20, 1_u64..12, any::<bool>(), 0_i64..4, 0_i64..9).prop_map(
        |(action, order_id, is_ask, price, quantity)| {
            let side = if is_ask { Side::Ask } else { Side::Bid };
            match action {
                0 => OrderChange::CLEAR,
                1..=9 => change(OrderAction::Add, order_id, side, price, quantity),
                10..=13 => change(OrderAction::Modify, order_id, side, price, quantity),
                14..=16 => change(OrderAction::Cancel, order_id, side, price, quantity),
                _ => change(OrderAction::Execute, order_id, side, price, quantity),
            }
        },
    );
    proptest::collection::vec(change, 0..80)
}

proptest! {
    /// Who joins at any time, with a snapshot in parts, and is cut off and resumed at another, holds what the source
    /// holds, in the same priority.
    #[test]
    fn orders_followed_from_a_snapshot_are_those_of_the_source(
        changes in changes(),
        joins in any::<prop::sample::Index>(),
        breaks in any::<prop::sample::Index>(),
        size in 1_usize..5,
    ) {
        let mut source = OrderBook::new();
        let mut told: Vec<OrderChange> = Vec::new();
        let joins = joins.index(changes.len() + 1);
        let breaks = joins + breaks.index(changes.len() + 1 - joins);
        let (mut mirror, mut out) = (Mirror::default(), Outcome::default());
        let grant = |seq: u64| json!({"type": "subscribed", "streams": [{"symbol": SYMBOL, "instrument": NUMBER,
            "channel": "orders", "price_exponent": 0, "quantity_exponent": 0, "epoch": EPOCH, "seq": seq}]});
        for at in 0..=changes.len() {
            let seq = told.len() as u64;
            if at == joins {
                control(&mut mirror, grant(seq), &mut out);
                snapshot(&mut mirror, seq, &source, size, &mut out);
            }
            if at == breaks {
                mirror.disconnected();
                prop_assert_eq!(shown(&mirror), Some((seq, true, all_of(&source))), "kept, and stale");
                control(&mut mirror, grant(seq), &mut out);
            }
            let Some(change) = changes.get(at) else { break };
            if source.clone().follow(change).is_err() {
                continue;
            }
            source.follow(change).unwrap();
            told.push(*change);
            if at >= joins {
                tell(&mut mirror, seq + 1, *change, &mut out);
                prop_assert_eq!(shown(&mirror), Some((seq + 1, false, all_of(&source))));
            }
        }
        let faults = out.updates.iter().any(|it| matches!(it, Update::Gap { .. } | Update::OrderMismatch { .. }));
        prop_assert!(!faults, "{:?}", out.updates);
        prop_assert!(out.resyncs.is_empty());
    }
}

#[test]
fn an_order_that_is_not_there_shows_that_the_mirror_is_wrong() {
    let (mut mirror, mut out) = granted("orders", None, 0);
    tell(&mut mirror, 1, change(OrderAction::Add, 5, Side::Bid, 100, 3), &mut out);
    tell(&mut mirror, 2, change(OrderAction::Cancel, 6, Side::Bid, 100, 0), &mut out);
    assert!(
        matches!(
            out.updates.make_contiguous(),
            [Update::Order { .. }, Update::OrderMismatch { seq: 2, error: OrderError::Unknown(6), .. }]
        ),
        "{out:?}"
    );
    assert!(shown(&mirror).is_none() && out.resyncs.len() == 1);
    assert_eq!(ledger(&mirror), Ledger { delivered: 2, mismatches: 1, ..Ledger::default() });

    // What comes before the snapshot is counted, but not applied to anything.
    tell(&mut mirror, 3, change(OrderAction::Add, 7, Side::Bid, 100, 3), &mut out);
    assert!(shown(&mirror).is_none() && out.resyncs.len() == 1, "asked for once");
    let mut source = OrderBook::new();
    source.follow(&change(OrderAction::Add, 7, Side::Bid, 100, 3)).unwrap();
    snapshot(&mut mirror, 3, &source, 9, &mut out);
    assert_eq!(shown(&mirror), Some((3, false, all_of(&source))));
    assert_eq!(ledger(&mirror).delivered, 3);
}

#[test]
fn a_snapshot_with_one_order_twice_is_a_mismatch() {
    let (mut mirror, mut out) = granted("orders", None, 0);
    let order = Order { order_id: 5, side: Side::Ask, price: 1, quantity: 2 };
    let content = Content::Orders(Orders { orders: &[order, order], part: 1, parts: 1 });
    mirror.frame(&frame(EPOCH, &[(meta(9, 9, true), content)]), &mut out).unwrap();
    assert!(
        matches!(
            out.updates.make_contiguous(),
            [Update::OrderMismatch { error: OrderError::Duplicate(5), .. }]
        ),
        "{out:?}"
    );
    assert!(shown(&mirror).is_none() && out.resyncs.len() == 1);
    let flagged = Content::Order(change(OrderAction::Add, 5, Side::Bid, 100, 3));
    let error = mirror.frame(&frame(EPOCH, &[(meta(9, 9, true), flagged)]), &mut out).unwrap_err();
    assert!(error.to_string().contains("flagged as a snapshot"), "{error}");
}

#[test]
fn a_conflated_stretch_is_cleared_and_followed_by_its_snapshot() {
    let (mut mirror, mut out) = granted("orders", None, 0);
    tell(&mut mirror, 1, change(OrderAction::Add, 5, Side::Bid, 100, 3), &mut out);
    let clear = Content::Order(OrderChange::CLEAR);
    let more = Meta { last: false, ..meta(2, 40, false) };
    mirror.frame(&frame(EPOCH, &[(more, clear)]), &mut out).unwrap();
    assert_eq!(shown(&mirror), Some((40, true, Vec::new())), "nothing to rely on yet");
    let mut source = OrderBook::new();
    source.follow(&change(OrderAction::Add, 9, Side::Ask, 101, 3)).unwrap();
    snapshot(&mut mirror, 40, &source, 1, &mut out);
    assert_eq!(shown(&mirror), Some((40, false, all_of(&source))));
    assert_eq!(ledger(&mirror), Ledger { delivered: 2, merged: 38, ..Ledger::default() });
}

/// Cut off between the two: what is empty here is not so at the server, and is nothing to go on from.
#[test]
fn who_is_cut_off_behind_a_clear_goes_on_from_a_snapshot() {
    let clear = |first, last, more: bool| {
        let meta = Meta { last: !more, ..meta(first, last, false) };
        frame(EPOCH, &[(meta, Content::Order(OrderChange::CLEAR))])
    };
    let resumable = |mirror: &Mirror| mirror.standings().next().unwrap().ready;
    let (mut mirror, mut out) = granted("orders", None, 0);
    mirror.frame(&clear(1, 40, true), &mut out).unwrap();
    assert!(!resumable(&mirror));
    mirror.disconnected();
    assert!(shown(&mirror).is_none() && !resumable(&mirror));
    let grant = json!({"type": "subscribed", "streams": [{"symbol": SYMBOL, "instrument": NUMBER,
        "channel": "orders", "price_exponent": 0, "quantity_exponent": 0, "epoch": EPOCH, "seq": 40}]});
    control(&mut mirror, grant.clone(), &mut out);
    assert!(!resumable(&mirror), "its snapshot is to come");

    // An exchange event that clears and goes on is whole at its end.
    let (mut mirror, mut out) = granted("orders", None, 0);
    mirror.frame(&clear(1, 1, true), &mut out).unwrap();
    let add = change(OrderAction::Add, 5, Side::Bid, 100, 3);
    let more = Meta { last: false, ..meta(2, 2, false) };
    mirror.frame(&frame(EPOCH, &[(more, Content::Order(add))]), &mut out).unwrap();
    assert!(!resumable(&mirror));
    tell(&mut mirror, 3, change(OrderAction::Modify, 5, Side::Bid, 100, 2), &mut out);
    assert!(resumable(&mirror) && out.resyncs.is_empty());
    mirror.frame(&clear(4, 4, false), &mut out).unwrap();
    assert!(resumable(&mirror), "a book that is empty is as good as any");

    // Asked for again behind a clear: what was to come will not come.
    mirror.frame(&clear(5, 9, true), &mut out).unwrap();
    control(
        &mut mirror,
        json!({"type": "subscribed", "streams": [{"symbol": SYMBOL, "instrument": NUMBER,
        "channel": "orders", "price_exponent": 0, "quantity_exponent": 0, "epoch": EPOCH, "seq": 9}]}),
        &mut out,
    );
    assert!(!resumable(&mirror));
}

#[test]
fn bars_are_held_by_period_running_and_complete() {
    let mut mirror = Mirror::default();
    let mut out = Outcome::default();
    let grant = json!({"type": "subscribed", "streams": [{"symbol": SYMBOL, "instrument": NUMBER, "channel": "bars",
        "price_exponent": 0, "quantity_exponent": 0, "depth": null, "interval_ms": 0, "period": "5m",
        "epoch": EPOCH, "seq": 7}]});
    control(&mut mirror, grant, &mut out);
    assert!(
        matches!(out.updates[0], Update::Granted { period: Some(Period::FiveMinutes), seq: 7, .. }),
        "{out:?}"
    );
    let running = Bar {
        period: Period::FiveMinutes,
        start_ns: 0,
        open: 1,
        high: 4,
        low: 1,
        close: 3,
        volume: 9,
        complete: false,
    };
    let complete = Bar { complete: true, ..running };
    for (seq, bar) in [(8, running), (10, complete)] {
        let message = (meta(if seq == 8 { 8 } else { 9 }, seq, false), Content::Bar(bar));
        mirror.frame(&frame(EPOCH, &[message]), &mut out).unwrap();
        assert_eq!(mirror.entry(SYMBOL).unwrap().bar(Period::FiveMinutes), Some(bar));
        assert_eq!(mirror.entry(SYMBOL).unwrap().bar(Period::Minute), None);
        assert!(matches!(out.updates.back(), Some(Update::Bar { bar: told, .. }) if *told == bar));
    }
    assert_eq!(ledger(&mirror), Ledger { delivered: 2, merged: 1, ..Ledger::default() });
}
