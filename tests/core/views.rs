//! Views by hand: events one by one, and what a joiner gets.

use tickcast::model::{Body, Event, Quote, Side, event_flags};

use super::by_hand::{core, join, level, received, spans, subscribe};

/// Who joins a view gets it as last emitted: with the sequence, the event time and the publish time of that emission,
/// whatever has changed since where the view does not reach.
#[test]
fn a_joiner_gets_the_view_as_last_emitted() {
    let mut core = core();
    let first = join(&mut core);
    level(&mut core, 1, 50, 7);
    level(&mut core, 2, 40, 3);
    level(&mut core, 3, 30, 3);
    let second = join(&mut core);
    let snapshot = &received(&mut core, second)[0];
    let meta = snapshot.meta;
    assert!(meta.snapshot);
    assert_eq!((meta.first_seq, meta.last_seq, meta.ts_ns, meta.sent_ns), (1, 1, 1, 101));

    level(&mut core, 4, 60, 1);
    let (before, after) = (received(&mut core, first), received(&mut core, second));
    let update = after.last().unwrap();
    assert_eq!((update.meta.first_seq, update.meta.last_seq), (2, 4), "it covers what the view did not see");
    assert_eq!(before.last(), Some(update), "one message for both");
}

/// A view with an interval says nothing before its interval ends, and then once what has changed, whatever its depth.
#[test]
fn a_view_with_an_interval_is_told_once_an_interval() {
    for depth in ["", r#""depth":2,"#] {
        let mut core = core();
        let slow = subscribe(&mut core, &format!(r#""channels":["book"],{depth}"interval_ms":100"#));
        level(&mut core, 1, 50, 7);
        core.end_intervals(100_000_000);
        assert_eq!(received(&mut core, slow).len(), 2, "a snapshot and the first");
        for n in 2..10 {
            level(&mut core, n, 50, n as i64);
        }
        core.end_intervals(199_000_000);
        assert_eq!(received(&mut core, slow), [], "depth {depth:?}");
        core.end_intervals(200_000_000);
        let told = received(&mut core, slow);
        let spans: Vec<_> =
            told.iter().map(|message| (message.meta.first_seq, message.meta.last_seq)).collect();
        assert_eq!(spans, [(2, 9)], "depth {depth:?}");
    }
}

/// What one exchange event changes in a book is one update, told before what the event says of later streams; so is what
/// a piece of one changes. Whoever applies half of an event may hold a crossed book.
#[test]
fn an_exchange_event_or_a_piece_of_one_is_one_update() {
    const LAST_OF_STREAM: u8 = event_flags::LAST_OF_STREAM;
    let record = |seq, flags, body| {
        let mut event = Event::new(0, seq, 1, body);
        event.flags = flags;
        event
    };
    let level =
        |seq, flags| record(seq, flags, Body::Level { side: Side::Bid, price: seq as i64, quantity: 1 });
    let quote = Quote { bid: 2, bid_quantity: 1, ..Quote::EMPTY };
    let mut core = core();
    let session = subscribe(&mut core, r#""channels":["book","quotes"],"snapshot":false"#);
    core.apply(&[
        level(1, 0),
        level(2, LAST_OF_STREAM),
        record(1, LAST_OF_STREAM | event_flags::LAST, Body::Quote(quote)),
    ]);
    core.flush();
    assert_eq!(spans(&received(&mut core, session)), [(1, 2), (1, 1)], "the book, the quote");
    core.apply(&[level(3, 0), level(4, event_flags::CUT)]);
    core.flush();
    let piece = received(&mut core, session);
    assert_eq!((spans(&piece), piece[0].meta.last), (vec![(3, 4)], false));
    core.apply(&[level(5, LAST_OF_STREAM | event_flags::LAST)]);
    core.flush();
    let rest = received(&mut core, session);
    assert_eq!((spans(&rest), rest[0].meta.last), (vec![(5, 5)], true));
}

/// Intervals are to be ended only while somebody has a view with one.
#[test]
fn a_core_knows_whether_it_has_intervals() {
    let mut core = core();
    let session = subscribe(&mut core, r#""channels":["quotes","book"]"#);
    assert!(!core.has_intervals());
    subscribe(&mut core, r#""channels":["quotes"],"interval_ms":100"#);
    core.request(session, r#"{"op":"subscribe","symbols":["*"],"channels":["book"],"interval_ms":100}"#, 0);
    core.remove(session);
    assert!(core.has_intervals());
    core.remove(session + 1);
    assert!(!core.has_intervals());
}
