//! What an outbox has room for, by hand: how many bytes wait before a slow client is told less.

use std::sync::Arc;

use crossbeam_utils::CachePadded;
use tickcast::model::Status;
use tickcast::shard::{Core, CoreSettings, SessionId, SlowConsumer};
use tickcast::stats::ShardStats;

use super::by_hand::{PLAIN, connection, core, received, refuse, status, subscribe, trade, with};

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
