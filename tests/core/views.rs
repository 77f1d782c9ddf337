//! Depth views by hand: events one by one, and what a joiner gets.

use std::sync::Arc;

use tickcast::model::{Body, Catalog, Event, Side, event_flags};
use tickcast::shard::{Core, CoreSettings, Protocol, SessionId, SlowConsumer};
use tickcast::sim::profiles;
use tickcast::wire::market::{self, Message};

fn core() -> Core {
    let catalog = Catalog::new(vec![profiles(1)[0].instrument()]).unwrap();
    let settings = CoreSettings {
        outbox_bytes: 1 << 20,
        outboxes_bytes: usize::MAX,
        ring_bytes: 0,
        slow_consumer: SlowConsumer::Disconnect,
    };
    Core::new(Arc::new(catalog), 1, settings, Arc::default())
}

/// One level changes; sequence and time are `n`.
fn level(core: &mut Core, n: u64, price: i64, quantity: i64) {
    let mut event = Event::new(0, n, n, Body::Level { side: Side::Bid, price, quantity });
    event.flags = event_flags::LAST | event_flags::LAST_OF_STREAM;
    event.sent_ns = 100 + n;
    core.apply(&[event]);
    core.flush();
}

fn join(core: &mut Core) -> SessionId {
    let session = core.open(Protocol::Binary, "127.0.0.1:1".parse().unwrap(), 0, 0);
    core.request(session, r#"{"op":"subscribe","symbols":["*"],"channels":["book"],"depth":1}"#, 0);
    session
}

/// The messages of the binary frames that wait for a session.
fn received(core: &mut Core, session: SessionId) -> Vec<Message> {
    let mut bytes = Vec::new();
    core.offer(session, 0, &mut Vec::new(), |offered| {
        Ok({
            bytes.extend_from_slice(offered);
            offered.len()
        })
    })
    .unwrap();
    let (mut rest, mut messages) = (&bytes[..], Vec::new());
    while let [opcode, length, ..] = *rest {
        let (head, payload) = match length {
            126 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
            short => (2, usize::from(short)),
        };
        if opcode == 0x82 {
            messages.extend(market::decode(&rest[head..head + payload]).unwrap().1);
        }
        rest = &rest[head + payload..];
    }
    messages
}

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
