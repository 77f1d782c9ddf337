//! Slow clients by hand: what they are told, when, and at whose cost.

use tickcast::limits;
use tickcast::model::{Body, OrderAction, OrderChange, Side, Status};
use tickcast::shard::{CoreSettings, SessionId, SlowConsumer};
use tickcast::wire::control::Close;

use super::by_hand::{
    PLAIN, conflate, core_of, level, publish, received, refuse, spans, status, subscribe, trade, whole, with,
};

const SECOND_NS: u64 = 1_000_000_000;

/// What conflated sessions are told of a view with an interval is theirs alone: nobody else's interval ends early.
#[test]
fn conflated_clients_do_not_make_an_interval_end() {
    let mut core = core_of(SlowConsumer::Conflate, 4_096);
    let view = r#""channels":["book"],"interval_ms":5000"#;
    let live = subscribe(&mut core, view);
    let slow = [0, 1].map(|_| subscribe(&mut core, view));
    level(&mut core, 1, 50, 7);
    conflate(&mut core, &slow);
    core.end_intervals(5 * SECOND_NS);
    assert_eq!(spans(&received(&mut core, live)), [(0, 0), (1, 1)], "a snapshot of nothing, and the level");
    let mut told = 0;
    for look in 1..4 {
        level(&mut core, 1 + look, 50, look as i64);
        trade(&mut core, 99 + look);
        core.tick(5 * SECOND_NS + look * SECOND_NS / 4, 0, true);
        told += slow.map(|session| received(&mut core, session).len()).iter().sum::<usize>();
        assert_eq!(received(&mut core, live), [], "look {look}");
    }
    assert!(told >= 2 * 3, "{told}: they are served at each look");
}

/// A stream that is never to be conflated is live though the others of its session are not, and ends the session where
/// there is no room for it.
#[test]
fn what_is_never_to_be_conflated_is_told_whole_or_not_at_all() {
    let mut core = core_of(SlowConsumer::Conflate, 4_096);
    let slow = subscribe(&mut core, r#""channels":["quotes"]"#);
    conflate(&mut core, &[slow]);
    core.request(slow, r#"{"op":"subscribe","symbols":["*"],"channels":["book"],"conflate":"never"}"#, 0);
    received(&mut core, slow);
    for n in 1..20 {
        level(&mut core, n, 50, n as i64);
        assert_eq!(spans(&received(&mut core, slow)), [(n, n)]);
    }
    assert_eq!(core.closes_within(slow), None);
    for n in 20..200 {
        level(&mut core, n, 50, n as i64);
        refuse(&mut core, slow);
    }
    assert_eq!(core.closes_within(slow), Some(limits::SLOW_CLOSE_SECONDS));
}

/// A shard that was held up looks at every session once it goes on: none goes without its heartbeats.
#[test]
fn a_shard_that_is_late_leaves_nobody_out() {
    let mut core = core_of(SlowConsumer::Conflate, 1 << 20);
    let sessions: Vec<SessionId> =
        (0..100).map(|_| subscribe(&mut core, r#""channels":["quotes"]"#)).collect();
    for &session in &sessions {
        received(&mut core, session);
    }
    let mut heard = vec![0; sessions.len()];
    for step in 1..=100 {
        // Four turns late each time.
        core.tick(step * 4 * limits::TURN_MILLISECONDS * 1_000_000, 0, true);
        for (heard, &session) in heard.iter_mut().zip(&sessions) {
            core.offer(session, 0, &mut Vec::new(), |bytes| {
                *heard += usize::from(!bytes.is_empty());
                Ok(bytes.len())
            })
            .unwrap();
        }
    }
    assert!(heard.iter().all(|heard| *heard == 2), "ten seconds, a heartbeat every five: {heard:?}");
}

/// With `block` too, who takes nothing for a minute is given up, also where the shard does not wait for it.
#[test]
fn block_gives_up_who_takes_nothing_for_a_minute() {
    let mut core = core_of(SlowConsumer::Block, 1 << 20);
    let dead = subscribe(&mut core, r#""channels":["quotes"]"#);
    refuse(&mut core, dead);
    assert!(!core.is_blocked());
    core.tick(limits::STALL_SECONDS * SECOND_NS, 0, true);
    assert_eq!(core.closes_within(dead), None);
    core.tick((limits::STALL_SECONDS + 1) * SECOND_NS, 0, true);
    assert_eq!(core.closes_within(dead), Some(limits::SLOW_CLOSE_SECONDS));
}

/// Who comes back to a shard that lags behind what he holds waits for it, however long: he is told nothing twice.
#[test]
fn a_shard_that_lags_is_waited_for() {
    let mut core = core_of(SlowConsumer::Conflate, 1 << 20);
    let back = subscribe(
        &mut core,
        r#""channels":["trades"],"from":[{"symbol":"*","channel":"trades","epoch":1,"seq":5}]"#
            .replace('*', "BTC-USD")
            .as_str(),
    );
    (1..=3).for_each(|n| trade(&mut core, n));
    for look in 0..100 {
        core.tick(30 * SECOND_NS + look * SECOND_NS / 4, 0, false);
        core.pong(back);
    }
    assert_eq!(received(&mut core, back), []);
    // What he holds is enough.
    (4..=5).for_each(|n| trade(&mut core, n));
    for look in 0..100 {
        core.tick(60 * SECOND_NS + look * SECOND_NS / 4, 0, true);
        core.pong(back);
    }
    assert_eq!(received(&mut core, back), []);
    (6..=7).for_each(|n| trade(&mut core, n));
    assert_eq!(spans(&received(&mut core, back)), [(6, 6), (7, 7)]);
    // One that has heard all there is knows that the claim is not of its history.
    let odd = subscribe(
        &mut core,
        r#""channels":["trades"],"from":[{"symbol":"BTC-USD","channel":"trades","epoch":1,"seq":50}]"#,
    );
    for look in 1..=4 * u64::from(limits::AHEAD_TIMER_LOOKS) {
        core.tick(90 * SECOND_NS + look * SECOND_NS / 4, 0, true);
    }
    assert_eq!(spans(&received(&mut core, odd)), [(7, 7)], "the last trade, as a snapshot");
}

/// Who is there when the server stops is told what was held back.
#[test]
fn a_goodbye_leaves_nothing_untold() {
    let mut core = core_of(SlowConsumer::Conflate, 4_096);
    let calm = subscribe(&mut core, r#""channels":["book"],"interval_ms":5000"#);
    let slow = subscribe(&mut core, r#""channels":["quotes"]"#);
    conflate(&mut core, &[slow]);
    core.tick(SECOND_NS, 0, true);
    received(&mut core, slow);
    received(&mut core, calm);
    level(&mut core, 1, 50, 7);
    level(&mut core, 2, 50, 8);
    trade(&mut core, 100);
    trade(&mut core, 101);
    core.say_goodbye(Close::ShuttingDown);
    assert_eq!(spans(&received(&mut core, calm)), [(1, 2)]);
    assert_eq!(spans(&received(&mut core, slow)), [(100, 100), (101, 101)]);
}

/// A status is never dropped: who takes none is given up before they pile up.
#[test]
fn statuses_that_nobody_takes_end_the_session() {
    let mut core = core_of(SlowConsumer::Conflate, 4_096);
    let session = subscribe(&mut core, r#""channels":["status"]"#);
    refuse(&mut core, session);
    let mut dirty = Vec::new();
    for n in 1..1_000 {
        status(&mut core, n, if n % 2 == 0 { Status::Trading } else { Status::Halted });
        core.take_dirty(&mut dirty);
        if core.closes_within(session).is_some() {
            assert!(n > 10, "a quarter of an outbox has room for some");
            return;
        }
        refuse(&mut core, session);
    }
    panic!("a thousand statuses wait");
}

/// What is put behind what the kernel refused counts at once, not when it is next written: the bound on what waits for
/// all holds however many flushes a batch has.
#[test]
fn the_bound_on_all_outboxes_holds_within_a_batch() {
    let (mut core, stats) = with(CoreSettings { outboxes_bytes: 8_000, ..PLAIN });
    let sessions: Vec<SessionId> =
        (0..10).map(|_| subscribe(&mut core, r#""channels":["trades"],"snapshot":false"#)).collect();
    for &session in &sessions {
        received(&mut core, session);
    }
    trade(&mut core, 1);
    for &session in &sessions {
        refuse(&mut core, session);
    }
    for n in 2..200 {
        trade(&mut core, n);
    }
    assert_eq!(stats.conflating.get(), 10);
    core.tick(SECOND_NS, 0, true);
    let waits = stats.outbox_bytes.get();
    assert!((4_000..10_000).contains(&waits), "{waits} bytes wait, and 10 notices");
}

/// What clears the orders of a slow client is not the end of what it is told: the snapshot is.
#[test]
fn orders_are_cleared_and_told_anew_as_one() {
    let mut core = core_of(SlowConsumer::Conflate, 4_096);
    let slow = subscribe(&mut core, r#""channels":["orders"]"#);
    conflate(&mut core, &[slow]);
    let (side, action) = (Some(Side::Bid), OrderAction::Add);
    let order = OrderChange { action, order_id: 1, side, price: 50, quantity: 7, executed: 0 };
    publish(&mut core, 1, Body::Order(order));
    core.tick(SECOND_NS, 0, true);
    // Behind the trades that made it slow.
    let told = received(&mut core, slow).split_off(65);
    let metas: Vec<_> = told.iter().map(|told| (told.meta.snapshot, told.meta.last)).collect();
    assert_eq!((metas, spans(&told)), (vec![(false, false), (true, true)], vec![(1, 1), (1, 1)]));
}

/// Who holds more of a view than the shard has heard gets it as soon as the shard has heard as much.
#[test]
fn a_view_that_is_ahead_is_told_as_soon_as_it_is_reached() {
    let mut core = core_of(SlowConsumer::Conflate, 1 << 20);
    let from = r#""from":[{"symbol":"BTC-USD","channel":"book","epoch":1,"seq":3}]"#;
    let back = subscribe(&mut core, &format!(r#""channels":["book"],"depth":5,{from}"#));
    (1..=2).for_each(|n| level(&mut core, n, 50, n as i64));
    assert_eq!(received(&mut core, back), []);
    level(&mut core, 3, 50, 3);
    assert_eq!(spans(&received(&mut core, back)), [(3, 3)]);
    // Or more.
    let further =
        subscribe(&mut core, &format!(r#""channels":["book"],"depth":5,{}"#, from.replace('3', "4")));
    let more = [4, 5].map(|n| whole(n, Body::Level { side: Side::Bid, price: 50, quantity: n as i64 }));
    core.apply(&more);
    core.flush();
    assert_eq!(spans(&received(&mut core, further)), [(5, 5)]);
}
