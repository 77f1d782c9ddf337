//! What time brings, by hand: heartbeats, pings, and who is given up.

use std::collections::BTreeSet;

use serde_json::json;
use tickcast::limits;
use tickcast::model::{Body, Quote};
use tickcast::shard::{Core, CoreSettings, SessionId, SlowConsumer};

use super::by_hand::{
    PLAIN, Told, core, core_of, counted, level, many, open, publish, received, refuse, subscribe, texts,
    told, trade,
};

const MILLISECOND_NS: u64 = 1_000_000;
const SECOND_NS: u64 = 1_000 * MILLISECOND_NS;
const LOOK_NS: u64 = limits::TIMER_MILLISECONDS * MILLISECOND_NS;

/// What a session is told in heartbeats from one time to another, at each look of which it takes everything.
fn heartbeats(
    core: &mut Core,
    session: SessionId,
    from_ns: u64,
    to_ns: u64,
) -> Vec<(u64, serde_json::Value)> {
    let looks = (from_ns / LOOK_NS + 1..=to_ns / LOOK_NS).map(|look| look * LOOK_NS);
    let heartbeats = looks.flat_map(|now_ns| {
        core.tick(now_ns, now_ns + 7, true);
        let told = texts(core, session, "heartbeat").into_iter();
        told.map(|mut text| (text["ts_ns"].as_str().unwrap().parse().unwrap(), text["streams"].take()))
            .collect::<Vec<_>>()
    });
    heartbeats.collect()
}

/// Each session has one every five seconds, and not all of them at once, however often the shard looks at its clock.
#[test]
fn heartbeats_are_spread_over_their_five_seconds() {
    let mut core = core();
    let sessions: Vec<SessionId> = (0..40).map(|_| open(&mut core)).collect();
    sessions.iter().for_each(|&session| drop(received(&mut core, session)));
    let mut heard: Vec<Vec<u64>> = vec![Vec::new(); sessions.len()];
    for step in 1..=1_600 {
        core.tick(step * 10 * MILLISECOND_NS, 0, true);
        for &session in &sessions {
            heard[session].extend(texts(&mut core, session, "heartbeat").iter().map(|_| step * 10));
        }
    }
    let mut firsts = vec![0; 20];
    for heard in heard {
        assert!((3..=4).contains(&heard.len()), "{heard:?}");
        assert!(heard.is_sorted_by(|a, b| (4_990..=5_010).contains(&(b - a))), "{heard:?}");
        firsts[(heard[0] as usize - 1) / 270] += 1;
    }
    assert!(firsts.iter().all(|firsts| *firsts <= 4), "{firsts:?}");
}

/// Where market data goes out in the second before it is due it goes along, behind that, and says so much is complete; never
/// later than five seconds after the last, whenever between two looks that was.
#[test]
fn a_heartbeat_goes_along_with_market_data() {
    const TURN_NS: u64 = limits::TURN_MILLISECONDS * MILLISECOND_NS;
    for offset in 0..limits::TIMER_TURNS {
        let mut core = core();
        let session = subscribe(&mut core, r#""channels":["trades"]"#);
        received(&mut core, session);
        let (mut heard, mut trades) = (Vec::new(), 0);
        for turn in 1..=2_400 {
            let now_ns = turn * TURN_NS;
            core.tick(now_ns, now_ns, true);
            core.take_dirty(&mut Vec::new());
            for _ in texts(&mut core, session, "heartbeat") {
                // The first is due at once, so that not all who come together have theirs together.
                assert!(turn <= 20, "market data comes each second: at turn {turn}");
                heard.push(now_ns);
            }
            if turn % 40 == 10 + offset {
                trades += 1;
                trade(&mut core, trades);
                core.send_heartbeats_along(|| 7);
                core.take_dirty(&mut Vec::new());
                match &told(&mut core, session)[..] {
                    [Told::Data(_)] => {}
                    [Told::Data(_), Told::Text(text)] => {
                        assert_eq!((&text["type"], &text["ts_ns"]), (&json!("heartbeat"), &json!("7")));
                        assert_eq!(
                            text["streams"][0]["seq"],
                            json!(trades),
                            "what goes before it is complete"
                        );
                        heard.push(now_ns);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!(heard.len() >= 12, "in a minute: {heard:?}");
        // Then nothing more comes that it could go along with.
        for turn in 2_401..=3_000 {
            core.tick(turn * TURN_NS, 0, true);
            heard.extend(texts(&mut core, session, "heartbeat").iter().map(|_| turn * TURN_NS));
        }
        let are_in_time =
            heard.is_sorted_by(|a, b| (3_700 * MILLISECOND_NS..=5 * SECOND_NS).contains(&(b - a)));
        assert!(are_in_time && 75 * SECOND_NS - heard.last().unwrap() <= 5 * SECOND_NS, "{heard:?}");
    }
}

/// Market data does not wait for the heartbeats of all who get it: some go along, the others when they are due.
#[test]
fn few_heartbeats_go_along_with_one_flush() {
    let mut core = core();
    let sessions: Vec<SessionId> =
        (0..300).map(|_| subscribe(&mut core, r#""channels":["trades"]"#)).collect();
    sessions.iter().for_each(|&session| drop(received(&mut core, session)));
    (1..=8).for_each(|look| core.tick(look * LOOK_NS, 0, true));
    core.take_dirty(&mut Vec::new());
    let heard = |core: &mut Core| {
        let heard = sessions.iter().map(|&session| texts(core, session, "heartbeat").len());
        heard.sum::<usize>()
    };
    let before = heard(&mut core);
    assert!(before > limits::HEARTBEATS_ALONG_MAX, "{before} were due by themselves");
    for n in 1..=2 {
        trade(&mut core, n);
        core.send_heartbeats_along(|| 7);
        core.take_dirty(&mut Vec::new());
        assert_eq!(heard(&mut core), limits::HEARTBEATS_ALONG_MAX, "flush {n}");
    }
    (9..=20).for_each(|look| core.tick(look * LOOK_NS, 0, true));
    assert_eq!(
        before + 2 * limits::HEARTBEATS_ALONG_MAX + heard(&mut core),
        300,
        "each once in five seconds"
    );
}

/// Who has not taken what came before gets none along either.
#[test]
fn who_has_not_taken_everything_has_no_heartbeat_along() {
    let mut core = core();
    let session = subscribe(&mut core, r#""channels":["trades"]"#);
    received(&mut core, session);
    (1..=19).for_each(|look| core.tick(look * LOOK_NS, 0, true));
    texts(&mut core, session, "heartbeat");
    trade(&mut core, 1);
    refuse(&mut core, session);
    (20..=39).for_each(|look| core.tick(look * LOOK_NS, 0, true));
    core.take_dirty(&mut Vec::new());
    trade(&mut core, 2);
    core.send_heartbeats_along(|| 7);
    assert!(!told(&mut core, session).iter().any(|told| matches!(told, Told::Text(_))));
}

/// A heartbeat names 64 streams, the next one the next, and when all have been named it begins anew.
#[test]
fn heartbeats_name_the_streams_in_turns() {
    let settings = CoreSettings { ring_bytes: 0, ..PLAIN };
    for (instruments, sizes) in [(32, [64, 64, 64]), (25, [64, 36, 64])] {
        let (mut core, _) = many(instruments, settings);
        let session = subscribe(&mut core, r#""channels":["quotes","trades","book","ticker"]"#);
        received(&mut core, session);
        let heartbeats = heartbeats(&mut core, session, 0, 15 * SECOND_NS);
        let named: Vec<Vec<String>> = heartbeats
            .iter()
            .map(|(_, streams)| streams.as_array().unwrap().iter().map(ToString::to_string).collect())
            .collect();
        assert_eq!(named.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
        let all: BTreeSet<&String> = named[..2].iter().flatten().collect();
        assert_eq!(all.len(), 4 * instruments);
        assert_eq!(named[0], named[2]);
    }
}

/// What a heartbeat names as complete: what is outside a view is, what an interval holds back is not, and of a stream
/// that is behind nothing is said.
#[test]
fn a_heartbeat_names_what_is_complete() {
    let mut core = core_of(SlowConsumer::Conflate, 1 << 20);
    let session = subscribe(&mut core, r#""channels":["quotes"],"interval_ms":5000"#);
    core.request(session, r#"{"op":"subscribe","symbols":["*"],"channels":["book"],"depth":1}"#, 0);
    let ahead = r#""from":[{"symbol":"BTC-USD","channel":"trades","epoch":1,"seq":50}]"#;
    core.request(
        session,
        &format!(r#"{{"op":"subscribe","symbols":["*"],"channels":["trades"],{ahead}}}"#),
        0,
    );
    let quote = |core: &mut Core, n| publish(core, n, Body::Quote(Quote { bid: n as i64, ..Quote::EMPTY }));
    quote(&mut core, 1);
    core.end_intervals(5 * SECOND_NS);
    quote(&mut core, 2);
    level(&mut core, 1, 50, 7);
    level(&mut core, 2, 40, 7);
    received(&mut core, session);
    core.tick(LOOK_NS, 7, false);
    let mut heartbeat = texts(&mut core, session, "heartbeat").pop().unwrap();
    assert_eq!(heartbeat["ts_ns"], "7");
    let mut streams = heartbeat["streams"].as_array_mut().unwrap().clone();
    streams.sort_by_key(|stream| stream["channel"].to_string());
    let stream = |channel, seq| json!({"symbol": "BTC-USD", "channel": channel, "epoch": 1, "seq": seq});
    assert_eq!(streams, [stream("book", 2), stream("quotes", 1)]);
}

/// For whom something waits there is no heartbeat, and none is made up for.
#[test]
fn who_has_not_taken_everything_has_no_heartbeat() {
    let mut core = core();
    let session = subscribe(&mut core, r#""channels":["trades"]"#);
    received(&mut core, session);
    trade(&mut core, 1);
    refuse(&mut core, session);
    for look in 1..=10 {
        core.tick(look * LOOK_NS, 0, true);
    }
    assert!(!told(&mut core, session).iter().any(|told| matches!(told, Told::Text(_))));
    assert_eq!(heartbeats(&mut core, session, 10 * LOOK_NS, 5 * SECOND_NS), []);
    assert_eq!(heartbeats(&mut core, session, 5 * SECOND_NS, 10 * SECOND_NS).len(), 1);
}

/// A ping after 20 s, and after each answer the next 20 s after the last; without an answer the end after a minute.
#[test]
fn pings_come_every_twenty_seconds_until_one_is_not_answered() {
    let mut core = core();
    let session = open(&mut core);
    let mut pinged = Vec::new();
    for look in 1..=4 * 200 {
        let now_ns = look * LOOK_NS;
        core.tick(now_ns, 0, true);
        for told in told(&mut core, session) {
            match told {
                Told::Ping => pinged.push(now_ns / SECOND_NS),
                Told::Close(code, reason) => {
                    assert_eq!((code, now_ns), (1001, 120 * SECOND_NS));
                    assert!(reason.contains("no pong in time"), "{reason}");
                }
                _ => {}
            }
        }
        if look == 4 * 25 || look == 4 * 55 {
            core.pong(session);
        }
    }
    assert_eq!(pinged, [20, 40, 60]);
    assert!(core.closes_within(session).is_some());
}

/// A client's ping is answered with what it said.
#[test]
fn a_ping_is_answered_with_its_own_content() {
    let mut core = core();
    let session = open(&mut core);
    received(&mut core, session);
    core.answer_ping(session, b"there?");
    assert_eq!(told(&mut core, session), [Told::Pong(b"there?".to_vec())]);
}

/// Everyone is told when the source is late, and when it is not any more; once each. Who comes meanwhile is told too.
#[test]
fn everyone_is_told_when_the_source_is_late() {
    let mut core = core();
    let notices = |core: &mut Core, session| -> Vec<String> {
        let notices = texts(core, session, "notice");
        notices.iter().map(|notice| notice["code"].as_str().unwrap().to_owned()).collect()
    };
    let first = open(&mut core);
    core.set_stale(false);
    assert_eq!(notices(&mut core, first), [] as [&str; 0]);
    core.set_stale(true);
    core.set_stale(true);
    let second = open(&mut core);
    assert_eq!([first, second].map(|session| notices(&mut core, session)), [["stale"], ["stale"]]);
    core.set_stale(false);
    assert_eq!([first, second].map(|session| notices(&mut core, session)), [["live"], ["live"]]);
}

/// Who takes nothing for a minute is given up; that something was offered to it meanwhile is no progress, and a byte is.
#[test]
fn who_takes_nothing_for_a_minute_is_given_up() {
    for taken in [0, 1] {
        let mut core = core();
        let session = subscribe(&mut core, r#""channels":["trades"]"#);
        refuse(&mut core, session);
        core.offer(session, 30 * SECOND_NS, &mut Vec::new(), |_| Ok(taken)).unwrap();
        core.tick(60 * SECOND_NS, 0, true);
        assert_eq!(core.closes_within(session), None);
        core.tick(60 * SECOND_NS + LOOK_NS, 0, true);
        assert_eq!(core.closes_within(session).is_some(), taken == 0);
        core.tick(90 * SECOND_NS, 0, true);
        assert_eq!(core.closes_within(session).is_some(), taken == 0);
        core.tick(90 * SECOND_NS + LOOK_NS, 0, true);
        assert!(core.closes_within(session).is_some());
    }
}

/// With `block` half a minute is enough for one that the shard waits for; for one that it does not wait for a minute.
#[test]
fn who_is_waited_for_is_given_up_after_half_a_minute() {
    let (mut core, _) = counted(SlowConsumer::Block, 4_096);
    let view = r#""channels":["trades"],"snapshot":false"#;
    let waited_for = subscribe(&mut core, view);
    received(&mut core, waited_for);
    for n in 1..100 {
        trade(&mut core, n);
        core.take_dirty(&mut Vec::new());
        refuse(&mut core, waited_for);
    }
    let other = subscribe(&mut core, view);
    refuse(&mut core, other);
    core.tick(30 * SECOND_NS, 0, true);
    assert!(core.is_blocked());
    core.tick(30 * SECOND_NS + LOOK_NS, 0, true);
    assert!(!core.is_blocked());
    assert_eq!([waited_for, other].map(|session| core.closes_within(session).is_some()), [true, false]);
}

/// What waits for all and what is kept is counted at each look.
#[test]
fn what_waits_and_what_is_kept_is_counted() {
    let (mut core, stats) = counted(SlowConsumer::Conflate, 1 << 20);
    let sessions = [0; 2].map(|_| subscribe(&mut core, r#""channels":["trades"]"#));
    sessions.iter().for_each(|&session| drop(received(&mut core, session)));
    core.tick(LOOK_NS, 0, true);
    sessions.iter().for_each(|&session| drop(received(&mut core, session)));
    trade(&mut core, 1);
    let waits = |core: &Core| -> usize {
        sessions.iter().map(|&session| super::by_hand::connection(core, session).waiting_bytes).sum()
    };
    let before = waits(&core) as u64;
    core.tick(2 * LOOK_NS, 0, true);
    assert_eq!(stats.outbox_bytes.get(), before);
    assert!(before > 0 && stats.ring_bytes.get() > 0);
    sessions.iter().for_each(|&session| drop(received(&mut core, session)));
    core.tick(3 * LOOK_NS, 0, true);
    assert_eq!(stats.outbox_bytes.get(), 0);
}
