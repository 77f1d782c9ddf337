//! What an outbox has room for, by hand: how many bytes wait before a slow client is told less.

use std::sync::Arc;

use crossbeam_utils::CachePadded;
use tickcast::shard::{Core, CoreSettings, SessionId, SlowConsumer};
use tickcast::stats::ShardStats;

use super::by_hand::{connection, core, received, refuse, subscribe, trade, with};

const TRADES: &str = r#""channels":["trades"],"snapshot":false"#;

/// Bytes of a frame with one trade.
fn trade_bytes() -> usize {
    let mut core = core();
    let session = subscribe(&mut core, TRADES);
    received(&mut core, session);
    trade(&mut core, 1);
    connection(&core, session).waiting_bytes
}

fn sized(
    outbox_bytes: usize,
    outboxes_bytes: usize,
    slow_consumer: SlowConsumer,
) -> (Core, Arc<CachePadded<ShardStats>>) {
    with(CoreSettings { outbox_bytes, outboxes_bytes, ring_bytes: 1 << 20, slow_consumer })
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
    let bytes = trade_bytes();
    for (outbox_bytes, outboxes_bytes) in [(40 * bytes, usize::MAX), (1 << 20, 30 * bytes)] {
        let (mut core, stats) = sized(outbox_bytes, outboxes_bytes, SlowConsumer::Conflate);
        let slow = stalled(&mut core, TRADES);
        for n in 1..=30 {
            trade(&mut core, n);
            core.take_dirty(&mut Vec::new());
            refuse(&mut core, slow);
        }
        assert_eq!((stats.conflating.get(), connection(&core, slow).waiting_bytes), (0, 30 * bytes));
        trade(&mut core, 31);
        assert_eq!(stats.conflating.get(), 1);
    }
}
