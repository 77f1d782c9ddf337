//! What an outbox has room for, by hand: how many bytes wait before a slow client is told less.

use std::cell::Cell;
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use tickcast::model::Status;
use tickcast::shard::{Core, CoreSettings, SessionId, SlowConsumer};
use tickcast::stats::ShardStats;
use tickcast::wire::control::Close;

use super::by_hand::{
    PLAIN, connection, core, level, received, refuse, status, subscribe, texts, trade, with,
};

const TRADES: &str = r#""channels":["trades"],"snapshot":false"#;

/// Bytes of the frame of what happens.
fn frame_bytes(happens: impl Fn(&mut Core, u64), channels: &str) -> usize {
    let mut core = core();
    let session = stalled(&mut core, channels);
    happens(&mut core, 1);
    connection(&core, session).waiting_bytes
}

fn sized(
    outbox_bytes: usize,
    outboxes_bytes: usize,
    slow_consumer: SlowConsumer,
) -> (Core, Arc<CachePadded<ShardStats>>) {
    with(CoreSettings { outbox_bytes, outboxes_bytes, slow_consumer, ..PLAIN })
}

/// Somebody who takes his first messages and nothing more.
fn stalled(core: &mut Core, channels: &str) -> SessionId {
    let session = subscribe(core, channels);
    received(core, session);
    session
}

/// Three quarters of an outbox are for data, and all of what is for everybody; the byte after that is too many.
#[test]
fn a_slow_client_is_conflated_by_the_byte() {
    let bytes = frame_bytes(trade, TRADES);
    let bounds = [(40 * bytes, usize::MAX), (1 << 20, 30 * bytes)];
    // A writing task waits for the kernel, and what comes meanwhile is held; or it is offered each time.
    let cases = bounds.into_iter().flat_map(|bounds| [(bounds, true), (bounds, false)]);
    for ((outbox_bytes, outboxes_bytes), is_held) in cases {
        let (mut core, stats) = sized(outbox_bytes, outboxes_bytes, SlowConsumer::Conflate);
        let slow = stalled(&mut core, TRADES);
        for n in 1..=30 {
            trade(&mut core, n);
            core.take_dirty(&mut Vec::new());
            match is_held && n > 1 {
                true => core.hold(slow),
                false => refuse(&mut core, slow),
            }
        }
        assert_eq!((stats.conflating.get(), connection(&core, slow).waiting_bytes), (0, 30 * bytes));
        trade(&mut core, 31);
        assert_eq!(stats.conflating.get(), 1);
    }
}

/// How many of what happens a client has made wait when it is closed for it.
fn closed_after(core: &mut Core, session: SessionId, happens: impl Fn(&mut Core, u64)) -> u64 {
    for n in 1..100 {
        happens(core, n);
        core.take_dirty(&mut Vec::new());
        if core.closes_within(session).is_some() {
            return n - 1;
        }
        refuse(core, session);
    }
    panic!("a hundred wait")
}

/// What is never dropped has a quarter of an outbox. With `disconnect` anything has all of it, and all of what is for
/// everybody: that is looked at before more is put there.
#[test]
fn a_slow_client_is_closed_by_the_byte() {
    let halts =
        |core: &mut Core, n| status(core, n, if n % 2 == 0 { Status::Trading } else { Status::Halted });
    let bytes = frame_bytes(halts, r#""channels":["status"]"#);
    let (mut core, _) = sized(40 * bytes, usize::MAX, SlowConsumer::Conflate);
    let slow = stalled(&mut core, r#""channels":["status"]"#);
    // The first finds the kernel with room.
    assert_eq!(closed_after(&mut core, slow, halts), 1 + 10);
    let bytes = frame_bytes(trade, TRADES);
    for (outbox_bytes, outboxes_bytes, fit) in [(30 * bytes, usize::MAX, 30), (1 << 20, 30 * bytes, 31)] {
        let (mut core, stats) = sized(outbox_bytes, outboxes_bytes, SlowConsumer::Disconnect);
        let slow = stalled(&mut core, TRADES);
        assert_eq!(closed_after(&mut core, slow, trade), fit);
        assert_eq!((stats.conflating.get(), stats.closed_slow.get()), (0, 1));
    }
}

/// Whose outbox holds more than its bound (a snapshot may) is told nothing more at the end, not even what is lost: who
/// resumes is told then.
#[test]
fn a_goodbye_adds_nothing_beyond_the_bound() {
    let filled = |outbox_bytes| {
        let (mut core, stats) = sized(outbox_bytes, usize::MAX, SlowConsumer::Conflate);
        (1..=100).for_each(|n| level(&mut core, n, n as i64, 1));
        let slow = stalled(&mut core, TRADES);
        core.request(slow, r#"{"op":"subscribe","symbols":["*"],"channels":["book"]}"#, 0);
        core.advance(slow);
        refuse(&mut core, slow);
        trade(&mut core, 1);
        assert_eq!(stats.conflating.get(), 1);
        refuse(&mut core, slow);
        (core, slow)
    };
    let (core, slow) = filled(2_000);
    let waits = connection(&core, slow).waiting_bytes;
    assert!(waits > 2_000);
    for (outbox_bytes, gaps) in [(waits, 1), (waits - 1, 0)] {
        let (mut core, slow) = filled(outbox_bytes);
        assert_eq!(connection(&core, slow).waiting_bytes, waits);
        core.say_goodbye(Close::ShuttingDown);
        assert_eq!(texts(&mut core, slow, "gap").len(), gaps, "{outbox_bytes}");
    }
}

/// What somebody is still to be told is put in his outbox at once; where all that may wait does, one by one.
#[test]
fn where_all_that_may_wait_does_it_is_told_one_by_one() {
    let waits = Cell::new(0);
    let told = |outboxes_bytes| {
        let (mut core, _) = sized(1 << 20, outboxes_bytes, SlowConsumer::Conflate);
        level(&mut core, 1, 50, 1);
        let slow = stalled(&mut core, TRADES);
        trade(&mut core, 1);
        refuse(&mut core, slow);
        waits.set(connection(&core, slow).waiting_bytes);
        let joins = subscribe(&mut core, r#""channels":["quotes","book"]"#);
        let at_once = connection(&core, joins).frames;
        core.offer(joins, 0, &mut Vec::new(), |bytes| Ok(bytes.len())).unwrap();
        core.advance(joins);
        (at_once, connection(&core, joins).frames)
    };
    // The welcome, the reply, two snapshots.
    assert_eq!(told(usize::MAX), (4, 4));
    assert_eq!(told(waits.get() + 1), (4, 4));
    assert_eq!(told(waits.get()), (1, 2));
}
