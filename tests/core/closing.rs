//! How sessions end, by hand: with which code, after what, and that nothing follows.

use tickcast::limits;
use tickcast::shard::SlowConsumer;
use tickcast::wire::control::Close;
use tickcast::wire::guard::Violation;

use super::by_hand::{
    Told, connection, core, core_of, counted, open, received, refuse, subscribe, told, trade,
};

const TRADES: &str = r#""channels":["trades"],"snapshot":false"#;

/// Who breaks a rule is told which, behind all that waits for him, and is counted once.
#[test]
fn who_breaks_a_rule_is_told_which() {
    let (mut core, stats) = counted(SlowConsumer::Conflate, 1 << 20);
    let session = subscribe(&mut core, TRADES);
    received(&mut core, session);
    trade(&mut core, 1);
    for _ in 0..2 {
        core.refuse(session, &Violation::Unmasked);
        assert_eq!(stats.closed_protocol.get(), 1);
    }
    trade(&mut core, 2);
    let told = told(&mut core, session);
    let [Told::Data(trade), Told::Close(1002, reason)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((trade.meta.last_seq, reason), (1, &Violation::Unmasked.to_string()));
    assert_eq!(stats.closed_slow.get(), 0);
    assert_eq!(core.closes_within(session), Some(limits::CLOSE_SECONDS));
}

/// Who closes gets his own code back, or 1000 where he gave none.
#[test]
fn who_closes_is_answered_with_his_own_code() {
    for (given, expected) in [(Some(3_000), 3_000), (None, 1_000)] {
        let mut core = core();
        let session = open(&mut core);
        assert_eq!(core.closes_within(session), None);
        core.close_echo(session, given);
        core.close(session, Close::ShuttingDown);
        let told = told(&mut core, session);
        let [Told::Text(_), Told::Close(code, reason)] = &told[..] else { panic!("{told:?}") };
        assert_eq!((*code, &reason[..]), (expected, ""));
        assert_eq!(core.closes_within(session), Some(limits::CLOSE_SECONDS));
    }
}

/// Who is too slow loses what waits for him but the rest of a frame that has begun, is told why, and has longer to read
/// it. Who is closing for another reason keeps what waits.
#[test]
fn who_is_too_slow_loses_what_waits() {
    let (mut core, stats) = counted(SlowConsumer::Conflate, 1 << 20);
    let session = subscribe(&mut core, TRADES);
    received(&mut core, session);
    (1..=3).for_each(|n| trade(&mut core, n));
    let whole = connection(&core, session).waiting_bytes;
    core.offer(session, 0, &mut Vec::new(), |_| Ok(10)).unwrap();
    core.close(session, Close::TooSlow);
    core.close(session, Close::TooSlow);
    let waits = connection(&core, session).waiting_bytes;
    let close = Close::TooSlow.reason(1).len() + 4;
    assert_eq!(waits, whole / 3 - 10 + close, "the rest of the first of three frames, and the close");
    assert_eq!((stats.closed_slow.get(), core.closes_within(session)), (1, Some(limits::SLOW_CLOSE_SECONDS)));

    let session = subscribe(&mut core, TRADES);
    received(&mut core, session);
    trade(&mut core, 4);
    refuse(&mut core, session);
    core.close_echo(session, None);
    core.close(session, Close::TooSlow);
    assert!(matches!(&told(&mut core, session)[..], [Told::Data(_), Told::Close(1000, _)]));
    assert_eq!(stats.closed_slow.get(), 1);
}

/// Who is too slow for his own replay is not told to resume it: it is over with him.
#[test]
fn who_is_too_slow_for_his_own_replay_begins_anew() {
    let (mut core, stats) = counted(SlowConsumer::Block, 1 << 20);
    core.serve_privately();
    let session = subscribe(&mut core, TRADES);
    received(&mut core, session);
    core.close(session, Close::TooSlow);
    let told = told(&mut core, session);
    let [Told::Close(4008, reason)] = &told[..] else { panic!("{told:?}") };
    assert!(!reason.contains("epoch") && reason.contains("begins anew"), "{reason}");
    assert_eq!((stats.closed_slow.get(), core.closes_within(session)), (1, Some(limits::SLOW_CLOSE_SECONDS)));
}

/// Nothing follows the close frame, whatever happens and whatever is asked.
#[test]
fn nothing_follows_the_close_frame() {
    let mut core = core_of(SlowConsumer::Conflate, 1 << 20);
    let session = subscribe(&mut core, r#""channels":["trades","book","status"]"#);
    core.close(session, Close::Normal);
    let all = told(&mut core, session);
    assert!(matches!(all.last(), Some(Told::Close(1000, _))));
    for op in ["ping", "list", "nonsense"] {
        core.request(session, &format!(r#"{{"op":"{op}"}}"#), 0);
    }
    core.request(session, &format!(r#"{{"op":"subscribe","symbols":["*"],{TRADES}}}"#), 0);
    core.answer_ping(session, b"there?");
    trade(&mut core, 1);
    core.set_stale(true);
    core.tick(100_000_000_000, 0, true);
    core.say_goodbye(Close::ShuttingDown);
    assert_eq!(told(&mut core, session), []);
    assert!(!core.is_busy(session));
}
