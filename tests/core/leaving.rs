//! Who leaves, by hand: nothing of him stays behind.

use tickcast::limits;
use tickcast::shard::{CoreSettings, SessionId, SlowConsumer};

use super::by_hand::{PLAIN, connection, core, counted, received, refuse, subscribe, trade, with};

const TRADES: &str = r#""channels":["trades"],"snapshot":false"#;

/// What waited for those who are gone does not count against those who are there.
#[test]
fn what_waited_for_a_leaver_waits_no_more() {
    let (mut core, stats) = with(CoreSettings { outboxes_bytes: 4_000, ..PLAIN });
    let watcher = subscribe(&mut core, TRADES);
    received(&mut core, watcher);
    let mut most = 0;
    for n in 1..=100 {
        // Each of a hundred leavers takes nothing for ten trades.
        let slow = subscribe(&mut core, TRADES);
        core.take_dirty(&mut Vec::new());
        received(&mut core, slow);
        for step in 0..10 {
            trade(&mut core, 10 * n + step);
            core.take_dirty(&mut Vec::new());
            refuse(&mut core, slow);
            received(&mut core, watcher);
        }
        assert_eq!(stats.conflating.get(), 0, "{n}");
        most = most.max(connection(&core, watcher).waiting_bytes);
        core.remove(slow);
    }
    assert_eq!((most, stats.sessions.get(), stats.subscriptions.get()), (0, 1, 1));
}

/// Nor does what waited for those who were closed for being slow.
#[test]
fn what_waited_for_one_that_was_closed_waits_no_more() {
    let (mut core, stats) = with(CoreSettings {
        outbox_bytes: 2_000,
        outboxes_bytes: 4_000,
        slow_consumer: SlowConsumer::Disconnect,
        ..PLAIN
    });
    let mut trades = 1..;
    for closed in 0..20 {
        assert_eq!(stats.closed_slow.get(), closed);
        let slow = subscribe(&mut core, TRADES);
        core.take_dirty(&mut Vec::new());
        received(&mut core, slow);
        for _ in 0..20 {
            trade(&mut core, trades.next().unwrap());
            core.take_dirty(&mut Vec::new());
            refuse(&mut core, slow);
        }
        assert_eq!(stats.closed_slow.get(), closed, "it has room for so many");
        for _ in 0..20 {
            trade(&mut core, trades.next().unwrap());
            core.take_dirty(&mut Vec::new());
            refuse(&mut core, slow);
        }
    }
}

/// A conflated client that leaves is conflated no more.
#[test]
fn a_leaver_is_not_counted_among_the_conflated() {
    let (mut core, stats) = counted(SlowConsumer::Conflate, 4_096);
    let slow = [0; 3].map(|_| subscribe(&mut core, TRADES));
    super::by_hand::conflate(&mut core, &slow);
    for (left, session) in slow.into_iter().enumerate() {
        assert_eq!(stats.conflating.get(), 3 - left as u64);
        core.remove(session);
    }
    assert_eq!(stats.conflating.get(), 0);
}

/// A shard that waits for two waits for one when the other leaves, and for nobody when both have.
#[test]
fn a_shard_does_not_wait_for_a_leaver() {
    let (mut core, _) = counted(SlowConsumer::Block, 4_096);
    let slow = [0; 2].map(|_| subscribe(&mut core, TRADES));
    for n in 1..100 {
        trade(&mut core, n);
        core.take_dirty(&mut Vec::new());
        slow.iter().for_each(|&session| refuse(&mut core, session));
    }
    core.remove(slow[0]);
    assert!(core.is_blocked());
    core.remove(slow[1]);
    assert!(!core.is_blocked());
}

/// The others are written to, though somebody leaves before that.
#[test]
fn who_stays_is_written_to() {
    let mut core = core();
    let sessions: [SessionId; 3] = [0; 3].map(|_| subscribe(&mut core, TRADES));
    core.take_dirty(&mut Vec::new());
    trade(&mut core, 1);
    core.remove(sessions[1]);
    let mut dirty = Vec::new();
    core.take_dirty(&mut dirty);
    dirty.sort_unstable();
    assert_eq!(dirty, [sessions[0], sessions[2]]);
}

/// Of those who have their fill a leaver is none, and the others still are.
#[test]
fn a_leaver_does_not_have_its_fill() {
    let mut core = core();
    let sessions: [SessionId; 3] = [0; 3].map(|_| subscribe(&mut core, TRADES));
    sessions.iter().for_each(|&session| drop(received(&mut core, session)));
    (1..=limits::BATCH_BYTES as u64 / 50).for_each(|n| trade(&mut core, n));
    core.remove(sessions[1]);
    let mut full = Vec::new();
    core.take_full(&mut full);
    assert_eq!(full, [sessions[0], sessions[2]]);
}
