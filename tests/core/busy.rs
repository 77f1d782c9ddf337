//! When a client is read from, by hand: not while what it asked for waits.

use tickcast::limits;
use tickcast::shard::{Core, CoreSettings, SessionId, SlowConsumer};

use super::by_hand::{PLAIN, connection, core_of, many, open, received, refuse, subscribe, trade};

/// One write, of which the kernel takes all.
fn write(core: &mut Core, session: SessionId) {
    core.offer(session, 0, &mut Vec::new(), |bytes| Ok(bytes.len())).unwrap();
}

/// How many pings a client can send that takes nothing, before nothing more is read from it.
fn pings_read(core: &mut Core) -> usize {
    let session = open(core);
    refuse(core, session);
    // So long an id that an answer has 64 bytes.
    let request = r#"{"op":"ping","id":"012345678901234567890123456"}"#;
    let pings = (0..1_000).take_while(|_| {
        let is_read = !core.is_busy(session);
        core.request(session, request, 0);
        is_read
    });
    let pings = pings.count();
    let waits = connection(core, session).waiting_bytes;
    received(core, session);
    refuse(core, session);
    let welcome = waits - (pings + 1) * 64;
    assert!((100..600).contains(&welcome), "answers of 64 bytes and {welcome} more");
    assert!(!core.is_busy(session), "it has taken everything");
    pings
}

/// A client that asks and takes no answer is read from until 16 KiB of answers wait, or a quarter of its outbox.
#[test]
fn who_takes_no_answers_is_not_read_from() {
    let mut core = core_of(SlowConsumer::Conflate, 1 << 20);
    assert_eq!(pings_read(&mut core), limits::URGENT_BYTES_MAX / 64 + 1);
    let mut core = core_of(SlowConsumer::Conflate, 4_096);
    assert_eq!(pings_read(&mut core), 1_024 / 64 + 1);
}

/// A long reply goes on whenever all of it so far is taken, page by page; until it is done nothing more is read.
#[test]
fn a_long_reply_keeps_its_client_busy() {
    let (mut core, _) = many(2_000, CoreSettings { outbox_bytes: 4_096, ring_bytes: 0, ..PLAIN });
    let session = open(&mut core);
    assert!(!core.is_answered(session), "its welcome waits");
    write(&mut core, session);
    assert!(core.is_answered(session) && !core.advance(session));
    for (request, pages) in [
        (r#"{"op":"list"}"#, 3),
        (r#"{"op":"subscribe","symbols":["*"],"channels":["quotes"]}"#, 3),
        (r#"{"op":"unsubscribe","symbols":["*"],"channels":["quotes"]}"#, 1),
    ] {
        core.request(session, request, 0);
        let mut writes = 0;
        while core.is_busy(session) {
            assert!(!core.is_answered(session));
            write(&mut core, session);
            core.advance(session);
            writes += 1;
        }
        assert!(writes >= pages, "{writes} writes of {request}");
        assert!(!core.is_answered(session), "the last of it waits");
        write(&mut core, session);
        assert!(core.is_answered(session));
    }
    core.remove(session);
    assert!(core.is_answered(session), "nothing waits for who is gone");
}

/// A conflated client's round is something that waits for it, though its outbox is empty.
#[test]
fn a_round_that_goes_on_is_not_answered() {
    let mut core = core_of(SlowConsumer::Conflate, 4_096);
    let session = subscribe(&mut core, r#""channels":["quotes"]"#);
    super::by_hand::conflate(&mut core, &[session]);
    let mut trades = 100..;
    core.request(session, r#"{"op":"subscribe","symbols":["*"],"channels":["book"]}"#, 0);
    received(&mut core, session);
    super::by_hand::level(&mut core, 1, 50, 7);
    (0..60).for_each(|_| trade(&mut core, trades.next().unwrap()));
    core.tick(1_000_000_000, 0, true);
    write(&mut core, session);
    assert!(!core.is_answered(session) && !core.is_busy(session));
    assert!(core.advance(session));
    write(&mut core, session);
    assert!(core.is_answered(session));
}
