//! Each promise of the deriver by itself; `oracle.rs` holds all of them at once against random sources.

mod bars;
mod oracle;
mod orders;
mod snapshot;

use super::*;
use crate::limits::{EVENT_RECORDS_MAX, LEVELS_MAX};
use crate::model::{
    ABSENT, Aggressor, BarStep, ChannelSet, Instrument, Level, OrderChange, Side, Trade, primary_flags,
};

const EVERYTHING: ChannelSet = ChannelSet::of(&Channel::ALL);
/// Without what tells of each order and each trade once more: one record a level, so that records are easy to count.
const PLAIN: ChannelSet =
    ChannelSet::of(&[Channel::Quotes, Channel::Trades, Channel::Book, Channel::Ticker, Channel::Status]);
const LAST: u8 = event_flags::LAST;
const LAST_OF_STREAM: u8 = event_flags::LAST_OF_STREAM;
const CUT: u8 = event_flags::CUT;

/// A deriver of as many instruments as there are channel sets.
fn deriver(channels: &[ChannelSet]) -> Deriver {
    Deriver::new(catalog(channels))
}

fn catalog(channels: &[ChannelSet]) -> Arc<Catalog> {
    let instrument = |(id, channels): (usize, &ChannelSet)| Instrument {
        symbol: format!("I{id}"),
        price_exponent: -2,
        quantity_exponent: 0,
        tick_size: 1,
        lot_size: 1,
        channels: *channels,
        book_depth: 0,
        source_id: 0,
    };
    Arc::new(Catalog::new(channels.iter().enumerate().map(instrument).collect()).unwrap())
}

/// A primary of instrument 0 at time 7 that ends no event.
fn primary(kind: PrimaryKind, side: Option<Side>, order_id: u64, price: i64, quantity: i64) -> Primary {
    let side = side.map_or(0, |side| side as u8);
    Primary { side, order_id, price, quantity, ..Primary::new(kind, 0, 7) }
}

fn add(order_id: u64, side: Side, price: i64, quantity: i64) -> Primary {
    primary(PrimaryKind::Add, Some(side), order_id, price, quantity)
}

fn cancel(order_id: u64, quantity: i64) -> Primary {
    primary(PrimaryKind::Cancel, None, order_id, ABSENT, quantity)
}

fn top(side: Side, number: u8, price: i64, quantity: i64) -> Primary {
    Primary { level: number, ..primary(PrimaryKind::Top, Some(side), 0, price, quantity) }
}

fn status(status: Status) -> Primary {
    Primary { level: status as u8, ..primary(PrimaryKind::Status, None, 0, ABSENT, 0) }
}

fn last(primary: Primary) -> Primary {
    Primary { flags: primary.flags | primary_flags::LAST, ..primary }
}

/// The records that these primaries give.
fn apply(deriver: &mut Deriver, primaries: &[Primary]) -> Vec<Event> {
    let mut out = Vec::new();
    for primary in primaries {
        deriver.apply(primary, &mut out).unwrap();
    }
    out
}

fn bodies(events: &[Event]) -> Vec<Body> {
    events.iter().map(Event::body).collect()
}

fn level(side: Side, price: i64, quantity: i64) -> Body {
    Body::Level { side, price, quantity }
}

#[test]
fn an_event_gives_statuses_trades_orders_levels_quote_ticker_and_bars_in_this_order() {
    let mut deriver = deriver(&[EVERYTHING]);
    apply(&mut deriver, &[add(1, Side::Bid, 99, 5), last(add(2, Side::Ask, 101, 5))]);
    let trade = Primary { ts_event_ns: 8, ..primary(PrimaryKind::Trade, Some(Side::Bid), 77, 101, 2) };
    let execute = primary(PrimaryKind::Execute, None, 2, 101, 2);
    let end = Primary { ts_event_ns: 9, ..last(primary(PrimaryKind::Note, None, 0, 0, 0)) };
    let events = apply(&mut deriver, &[trade, execute, status(Status::Halted), end]);
    let quote = Quote { bid: 99, bid_quantity: 5, ask: 101, ask_quantity: 3 };
    let ticker = Ticker { bid: 99, ask: 101, last: 101, volume: 2 };
    let traded = Trade { price: 101, quantity: 2, trade_id: 77, aggressor: Aggressor::Buy };
    let executed = OrderChange {
        action: OrderAction::Execute,
        order_id: 2,
        side: Some(Side::Ask),
        price: 101,
        quantity: 3,
        executed: 2,
    };
    let record = |seq, ts_ns, flags, body| {
        let mut event = Event::new(0, seq, ts_ns, body);
        event.flags = flags;
        event
    };
    assert_eq!(
        events,
        [
            record(1, 9, LAST_OF_STREAM, Body::Status(Status::Halted)),
            record(1, 8, LAST_OF_STREAM, Body::Trade(traded)),
            record(3, 9, LAST_OF_STREAM, Body::Order(executed)),
            record(3, 9, LAST_OF_STREAM, level(Side::Ask, 101, 3)),
            record(2, 9, LAST_OF_STREAM, Body::Quote(quote)),
            record(2, 9, LAST_OF_STREAM, Body::Ticker(ticker)),
            record(1, 8, LAST_OF_STREAM | LAST, Body::Bar(BarStep::Trade { price: 101, quantity: 2 })),
        ]
    );
    assert_eq!((deriver.quote(0), deriver.ticker(0), deriver.status(0)), (quote, ticker, Status::Halted));
    assert_eq!(deriver.sequence(0, Channel::Book), 3);
    assert_eq!(deriver.sequence(0, Channel::Orders), 3);
}

#[test]
fn only_the_net_change_of_a_level_is_told() {
    let mut deriver = deriver(&[PLAIN]);
    apply(&mut deriver, &[add(1, Side::Bid, 99, 5), last(add(2, Side::Bid, 98, 1))]);
    assert_eq!(apply(&mut deriver, &[add(3, Side::Bid, 99, 4), last(cancel(3, 4))]), [], "nothing changed");
    let moved = primary(PrimaryKind::Modify, None, 1, 98, 5);
    let events = apply(&mut deriver, &[moved, add(4, Side::Bid, 97, 2), cancel(2, 1), last(cancel(4, 2))]);
    assert_eq!(bodies(&events[..2]), [level(Side::Bid, 99, 0), level(Side::Bid, 98, 5)]);
    assert_eq!(events.len(), 4, "quote and ticker follow");
}

#[test]
fn a_clear_removes_every_level_and_what_comes_back_at_once_is_no_change() {
    let mut deriver = deriver(&[ChannelSet::of(&[Channel::Book])]);
    let clear = primary(PrimaryKind::Clear, None, 0, ABSENT, 0);
    let orders = [add(1, Side::Bid, 99, 5), add(2, Side::Bid, 98, 6), add(3, Side::Ask, 101, 7)];
    apply(&mut deriver, &[orders[0], orders[1], last(orders[2])]);
    let events = apply(&mut deriver, &[clear, last(orders[1])]);
    assert_eq!(bodies(&events), [level(Side::Bid, 99, 0), level(Side::Ask, 101, 0)]);
    let events = apply(&mut deriver, &[last(clear)]);
    assert_eq!(bodies(&events), [level(Side::Bid, 98, 0)]);
    assert!(deriver.orders(0).is_empty());
}

#[test]
fn the_last_restatement_of_an_event_becomes_the_book() {
    let mut deriver = deriver(&[EVERYTHING]);
    let first = [top(Side::Bid, 0, 99, 5), top(Side::Bid, 1, 98, 6), last(top(Side::Ask, 0, 101, 7))];
    apply(&mut deriver, &first);
    let again = [top(Side::Bid, 0, 100, 1), top(Side::Bid, 1, 99, 5), top(Side::Ask, 0, ABSENT, 0)];
    assert_eq!(apply(&mut deriver, &again), [], "it counts at the event's end");
    let events = apply(&mut deriver, &[top(Side::Bid, 0, 99, 4), last(top(Side::Bid, 1, ABSENT, 0))]);
    assert_eq!(
        bodies(&events[..3]),
        [level(Side::Bid, 98, 0), level(Side::Bid, 99, 4), level(Side::Ask, 101, 0)]
    );
    assert_eq!(deriver.quote(0), Quote { bid: 99, bid_quantity: 4, ..Quote::EMPTY });
    assert_eq!(
        apply(&mut deriver, &[last(top(Side::Bid, 0, ABSENT, 3))]).len(),
        3,
        "a level without a price"
    );
    assert_eq!(deriver.inconsistencies(), 1);
    assert_eq!(deriver.quote(0), Quote::EMPTY);
}

/// Sells one order at each of so many prices, all in one event without an end.
fn sell_at_each(prices: usize) -> Vec<Primary> {
    (0..prices).map(|at| add(at as u64, Side::Ask, at as i64, 1)).collect()
}

/// Where records carry these flags.
fn positions(events: &[Event], flags: u8) -> Vec<usize> {
    (0..events.len()).filter(|at| events[*at].flags & flags != 0).collect()
}

#[test]
fn an_event_of_the_largest_size_stays_whole_and_a_larger_one_is_cut() {
    for (levels, cuts) in
        [(EVENT_RECORDS_MAX - 2, vec![]), (EVENT_RECORDS_MAX - 1, vec![EVENT_RECORDS_MAX - 3])]
    {
        let mut deriver = deriver(&[PLAIN]);
        let mut primaries = sell_at_each(levels);
        *primaries.last_mut().unwrap() = last(primaries[levels - 1]);
        let events = apply(&mut deriver, &primaries);
        assert_eq!(events.len(), levels + 2);
        assert_eq!(positions(&events, CUT), cuts);
        assert_eq!(positions(&events, LAST), [levels + 1]);
        assert_eq!(positions(&events, LAST_OF_STREAM), [levels - 1, levels, levels + 1]);
    }
}

#[test]
fn a_snapshot_without_an_end_comes_in_pieces_and_its_quote_at_the_true_end() {
    let piece = EVENT_RECORDS_MAX - 2;
    let mut deriver = deriver(&[PLAIN]);
    let opening = apply(&mut deriver, &sell_at_each(8_725));
    assert_eq!(opening.len(), 2 * piece);
    assert_eq!(positions(&opening, CUT), [piece - 1, 2 * piece - 1]);
    assert_eq!(positions(&opening, LAST | LAST_OF_STREAM), [0; 0]);
    assert_eq!(deriver.quote(0), Quote::EMPTY, "a half-built book has no quote");
    let rest = apply(&mut deriver, &[last(cancel(0, 1))]);
    assert_eq!(rest.len(), 8_725 - 2 * piece + 1 + 2, "the removal of a level already told, quote, ticker");
    assert_eq!(positions(&rest, LAST), [rest.len() - 1]);
    assert_eq!(deriver.quote(0), Quote { ask: 1, ask_quantity: 1, ..Quote::EMPTY });
}

#[test]
fn one_primary_may_give_several_pieces() {
    let mut deriver = deriver(&[PLAIN]);
    apply(&mut deriver, &sell_at_each(10_000));
    let mut mirror = deriver.book(0).clone();
    let mut out = Vec::new();
    deriver.finish(&mut out);
    let removals = apply(&mut deriver, &[last(primary(PrimaryKind::Clear, None, 0, ABSENT, 0))]);
    assert_eq!(removals.len(), 10_000 + 2);
    assert!(
        removals.chunk_by(|before, _| before.flags & (CUT | LAST) == 0).all(|p| p.len() <= EVENT_RECORDS_MAX)
    );
    for event in &removals {
        if let Body::Level { side, price, quantity } = event.body() {
            mirror.set(side, price, quantity);
        }
    }
    assert_eq!(mirror.quote(), Quote::EMPTY);
}

#[test]
fn trades_without_an_end_are_bounded_too() {
    let mut deriver = deriver(&[PLAIN]);
    let trade = primary(PrimaryKind::Trade, None, 0, 5, 1);
    let events = apply(&mut deriver, &vec![trade; EVENT_RECORDS_MAX]);
    assert_eq!(positions(&events, CUT), [EVENT_RECORDS_MAX - 3]);
    let mut rest = Vec::new();
    deriver.finish(&mut rest);
    let ticker = Ticker { last: 5, volume: EVENT_RECORDS_MAX as i64, ..Ticker::EMPTY };
    assert_eq!(rest.last().unwrap().body(), Body::Ticker(ticker));
    assert_eq!(rest.last().unwrap().flags, LAST | LAST_OF_STREAM);
    deriver.finish(&mut rest);
    assert_eq!(rest.len(), 3, "nothing is open any more");
}

#[test]
fn what_the_source_gets_wrong_is_counted_and_passed_over() {
    let mut deriver = deriver(&[EVERYTHING]);
    apply(&mut deriver, &[last(add(1, Side::Bid, 99, 5))]);
    let no_side = primary(PrimaryKind::Add, None, 8, 99, 1);
    let wrong = [
        cancel(9, 1),
        add(1, Side::Ask, 101, 1),
        add(2, Side::Ask, 101, 0),
        add(2, Side::Ask, ABSENT, 1),
        no_side,
        primary(PrimaryKind::Level, Some(Side::Ask), 0, 101, -1),
        primary(PrimaryKind::Level, Some(Side::Ask), 0, ABSENT, 1),
        primary(PrimaryKind::Trade, None, 0, ABSENT, 1),
        primary(PrimaryKind::Trade, None, 0, 1, -1),
        Primary { level: 99, ..status(Status::Halted) },
        primary(PrimaryKind::Modify, None, 1, 99, -1),
    ];
    assert_eq!(apply(&mut deriver, &wrong), []);
    assert_eq!(apply(&mut deriver, &[last(wrong[0])]), []);
    assert_eq!(deriver.inconsistencies(), wrong.len() as u64 + 1);
    let events = apply(&mut deriver, &[last(cancel(1, 6))]);
    assert_eq!(bodies(&events[1..2]), [level(Side::Bid, 99, 0)], "of more than rests, what rests leaves");
    assert_eq!(deriver.inconsistencies(), wrong.len() as u64 + 2);
}

#[test]
fn what_is_not_known_is_an_error_that_names_it() {
    let mut deriver = deriver(&[EVERYTHING]);
    let mut out = Vec::new();
    let stranger = Primary { instrument: 3, ..last(add(1, Side::Bid, 1, 1)) };
    assert_eq!(
        deriver.apply(&stranger, &mut out).unwrap_err().to_string(),
        "instrument 3 does not exist; the catalog has 1, numbered from 0"
    );
    let newer = Primary { kind: 12, ..last(add(1, Side::Bid, 1, 1)) };
    assert_eq!(deriver.apply(&newer, &mut out), Err(DeriveError::Kind(12)));
    assert_eq!((out.len(), deriver.inconsistencies()), (0, 0));
}

#[test]
fn the_volume_stops_at_the_largest_number() {
    let mut deriver = deriver(&[ChannelSet::of(&[Channel::Ticker])]);
    let trade = primary(PrimaryKind::Trade, None, 0, 5, i64::MAX);
    let events = apply(&mut deriver, &[trade, last(trade)]);
    assert_eq!(bodies(&events), [Body::Ticker(Ticker { last: 5, volume: i64::MAX, ..Ticker::EMPTY })]);
}

#[test]
fn a_reset_begins_every_stream_anew() {
    let mut deriver = deriver(&[EVERYTHING, EVERYTHING]);
    let opening = [status(Status::Auction), last(add(1, Side::Bid, 99, 5)), add(2, Side::Bid, 100, 1)];
    let before = apply(&mut deriver, &opening[..2]);
    apply(&mut deriver, &opening[2..]);
    let mut out = Vec::new();
    deriver.reset(4, ResetReason::Loop, 55, &mut out);
    let reset = Body::Reset { epoch: 4, reason: ResetReason::Loop };
    for (instrument, event) in out.iter().enumerate() {
        assert_eq!((event.body(), event.seq, event.ts_ns), (reset, 0, 55));
        assert_eq!((event.instrument, event.flags), (instrument as u32, LAST));
    }
    assert_eq!(out.len(), 2);
    let state = (deriver.quote(0), deriver.ticker(0), deriver.status(0));
    assert_eq!(state, (Quote::EMPTY, Ticker::EMPTY, Status::default()));
    assert_eq!(deriver.book(0).depth(Side::Bid) + deriver.orders(0).len(), 0);
    assert_eq!(apply(&mut deriver, &opening[..2]), before, "the same again gives the same again");
}

#[test]
fn a_book_mirrors_the_levels_even_where_they_cross() {
    let mut deriver = deriver(&[EVERYTHING]);
    let set = |side, price, quantity| primary(PrimaryKind::Level, Some(side), 0, price, quantity);
    apply(&mut deriver, &[set(Side::Bid, 102, 5), last(set(Side::Ask, 101, 6))]);
    assert_eq!(deriver.quote(0), Quote { bid: 102, bid_quantity: 5, ask: 101, ask_quantity: 6 });
    assert_eq!(deriver.book(0).best(Side::Bid), Some(Level { price: 102, quantity: 5 }));
}

/// A source that only adds levels does not take all memory: a full side takes no new one, and those it has go on.
#[test]
fn a_full_side_takes_no_new_level() {
    let new = LEVELS_MAX as i64;
    let bid = |price, quantity| last(primary(PrimaryKind::Level, Some(Side::Bid), 0, price, quantity));
    let mut deriver = deriver(&[PLAIN]);
    (0..new).for_each(|price| {
        deriver.markets[0].book.set(Side::Bid, price, 1);
    });
    let refused = bodies(&apply(&mut deriver, &[bid(new, 5)]));
    assert!(!refused.iter().any(|body| matches!(body, Body::Level { .. })), "{refused:?}");
    let changed = bodies(&apply(&mut deriver, &[bid(7, 9), bid(3, 0), bid(new, 5)]));
    for expected in [level(Side::Bid, 7, 9), level(Side::Bid, 3, 0), level(Side::Bid, new, 5)] {
        assert!(changed.contains(&expected), "{expected:?}");
    }
    assert_eq!((deriver.markets[0].book.depth(Side::Bid), deriver.inconsistencies()), (LEVELS_MAX, 1));
}
