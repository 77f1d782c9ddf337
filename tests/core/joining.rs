//! Who joins a view that others watch, by hand: what he gets, and what the others notice of it.

use tickcast::model::{BarStep, Body, OrderAction, OrderChange, Period, Quote, Side, Status, Ticker};
use tickcast::shard::Core;
use tickcast::wire::market::MessageBody;

use super::by_hand::{core, level, publish, received, spans, subscribe, trade};

const MILLISECOND_NS: u64 = 1_000_000;

fn quote(core: &mut Core, n: u64) {
    publish(core, n, Body::Quote(Quote { bid: n as i64, bid_quantity: 1, ..Quote::EMPTY }));
}

fn ticker(core: &mut Core, n: u64) {
    publish(core, n, Body::Ticker(Ticker { volume: n as i64, ..Ticker::EMPTY }));
}

/// Of quotes, tickers and the top of a book nobody is told early because somebody joins, or joins anew, or comes back:
/// that one gets what the others were told last.
#[test]
fn who_joins_a_view_with_an_interval_does_not_end_it() {
    let deeper = |core: &mut Core, n| level(core, n, 50, n as i64);
    type Happens = fn(&mut Core, u64);
    let cases: [(&str, Happens); 3] = [
        (r#""channels":["quotes"],"interval_ms":100"#, quote),
        (r#""channels":["ticker"],"interval_ms":100"#, ticker),
        (r#""channels":["book"],"depth":5,"interval_ms":100"#, deeper),
    ];
    for (view, happens) in cases {
        let mut core = core();
        let first = subscribe(&mut core, view);
        happens(&mut core, 1);
        core.end_intervals(100 * MILLISECOND_NS);
        received(&mut core, first);
        happens(&mut core, 2);
        let second = subscribe(&mut core, view);
        assert_eq!(spans(&received(&mut core, second)), [(1, 1)], "{view}");
        core.request(second, &format!(r#"{{"op":"subscribe","symbols":["*"],{view}}}"#), 0);
        assert_eq!(spans(&received(&mut core, second)), [(1, 1)], "{view}");
        assert_eq!(received(&mut core, first), [], "{view}");
        core.end_intervals(200 * MILLISECOND_NS);
        for session in [first, second] {
            assert_eq!(spans(&received(&mut core, session)), [(2, 2)], "{view}");
        }
    }
}

/// Those who watch are told nothing when somebody joins them.
#[test]
fn who_is_there_is_told_nothing_of_who_joins() {
    let view = r#""channels":["quotes","trades","book","orders","ticker","bars","status"],"snapshot":true"#;
    let mut core = core();
    let first = subscribe(&mut core, view);
    quote(&mut core, 1);
    trade(&mut core, 1);
    level(&mut core, 1, 50, 7);
    let (side, action) = (Some(Side::Bid), OrderAction::Add);
    let order = OrderChange { action, order_id: 1, side, price: 50, quantity: 7, executed: 0 };
    publish(&mut core, 1, Body::Order(order));
    ticker(&mut core, 1);
    publish(&mut core, 1, Body::Bar(BarStep::Trade { price: 50, quantity: 1 }));
    publish(&mut core, 1, Body::Status(Status::Halted));
    assert!(received(&mut core, first).len() > 7);
    let second = subscribe(&mut core, view);
    assert_eq!(spans(&received(&mut core, second)), [(1, 1); 7]);
    assert_eq!(received(&mut core, first), []);
}

/// Who changes to a view that others watch gets nothing older than what he holds: the others are told that nothing of
/// theirs has changed since.
#[test]
fn who_changes_to_a_view_of_others_is_told_nothing_older() {
    let mut core = core();
    let top = r#""channels":["book"],"depth":1"#;
    let (other, whole) = (subscribe(&mut core, top), subscribe(&mut core, r#""channels":["book"]"#));
    level(&mut core, 1, 50, 7);
    level(&mut core, 2, 40, 3);
    level(&mut core, 3, 30, 3);
    received(&mut core, other);
    received(&mut core, whole);
    core.request(whole, &format!(r#"{{"op":"subscribe","symbols":["*"],{top}}}"#), 0);
    assert_eq!(spans(&received(&mut core, whole)), [(3, 3)]);
    let told = received(&mut core, other);
    assert_eq!(spans(&told), [(2, 3)]);
    let MessageBody::Book { bids, asks, .. } = &told[0].body else { panic!("{told:?}") };
    assert_eq!(bids.len() + asks.len(), 0);
    level(&mut core, 4, 60, 1);
    assert_eq!([other, whole].map(|session| spans(&received(&mut core, session))), [[(4, 4)], [(4, 4)]]);

    // The end of a minute is nothing to who watches hours.
    let (hours, minutes) = (r#""channels":["bars"],"period":"1h""#, r#""channels":["bars"],"period":"1m""#);
    let (other, minutes) = (subscribe(&mut core, hours), subscribe(&mut core, minutes));
    publish(&mut core, 1, Body::Bar(BarStep::Trade { price: 50, quantity: 1 }));
    publish(&mut core, 2, Body::Bar(BarStep::End { periods: 1 << Period::Minute.index() }));
    received(&mut core, minutes);
    assert_eq!(spans(&received(&mut core, other)).last(), Some(&(1, 1)));
    core.request(minutes, &format!(r#"{{"op":"subscribe","symbols":["*"],{hours}}}"#), 0);
    assert_eq!(spans(&received(&mut core, minutes)), [(2, 2)]);
    assert_eq!(spans(&received(&mut core, other)), [(2, 2)]);
}

/// The same where no bar runs: the last complete one is told again, unchanged.
#[test]
fn a_complete_bar_is_told_again_as_it_is_where_somebody_joins_who_holds_more() {
    let mut core = core();
    let of = |period| format!(r#""channels":["bars"],"period":"{period}""#);
    let [seconds, minutes] = ["1s", "1m"].map(|period| subscribe(&mut core, &of(period)));
    publish(&mut core, 1, Body::Bar(BarStep::Trade { price: 50, quantity: 1 }));
    publish(&mut core, 2, Body::Bar(BarStep::End { periods: 1 << Period::Second.index() }));
    let told = received(&mut core, seconds);
    assert_eq!(spans(&told).last(), Some(&(2, 2)));
    let complete = told.last().unwrap().body.clone();
    assert!(matches!(complete, MessageBody::Bar(bar) if bar.complete), "{complete:?}");
    publish(&mut core, 3, Body::Bar(BarStep::End { periods: 1 << Period::Minute.index() }));
    assert_eq!(received(&mut core, seconds), []);
    received(&mut core, minutes);
    core.request(minutes, &format!(r#"{{"op":"subscribe","symbols":["*"],{}}}"#, of("1s")), 0);
    for (session, is_snapshot) in [(minutes, true), (seconds, false)] {
        let told = received(&mut core, session);
        assert_eq!(spans(&told), [(3, 3)]);
        assert_eq!((told[0].meta.snapshot, &told[0].body), (is_snapshot, &complete));
    }
}

/// A book with an interval is told what changed, as long as that is no longer than the book; else the book.
#[test]
fn what_changed_in_an_interval_is_told_where_it_is_shorter_than_the_book() {
    let mut core = core();
    let session = subscribe(&mut core, r#""channels":["book"],"interval_ms":100"#);
    let mut seq = 0;
    let mut changes = |core: &mut Core, levels: &[(i64, i64)]| {
        for &(price, quantity) in levels {
            seq += 1;
            level(core, seq, price, quantity);
        }
        core.end_intervals(seq * 100 * MILLISECOND_NS);
        let told = received(core, session);
        let MessageBody::Book { bids, .. } = &told.last().unwrap().body else { panic!("{told:?}") };
        (told.last().unwrap().meta.snapshot, bids.len())
    };
    assert_eq!(changes(&mut core, &[(50, 1), (49, 1), (48, 1)]), (false, 3));
    assert_eq!(changes(&mut core, &[(50, 2)]), (false, 1));
    assert_eq!(changes(&mut core, &[(50, 3), (49, 3), (48, 3), (50, 4)]), (false, 3));
    assert_eq!(changes(&mut core, &[(50, 5), (49, 5), (48, 5), (60, 1), (60, 0)]), (true, 3));
}
