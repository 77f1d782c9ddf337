//! Where history ends, by hand: epochs, the end of a replay, and what is counted.

use serde_json::{Value, json};
use tickcast::model::{Body, Event, ResetReason};
use tickcast::shard::SlowConsumer;

use super::by_hand::{
    Told, conflate, core_of, counted, level, received, refuse, spans, subscribe, texts, told, trade, whole,
};

fn reset(epoch: u64) -> Event {
    whole(0, Body::Reset { epoch, reason: ResetReason::Loop })
}

/// Of an epoch that is over nothing can be merged any more: what a slow client was not told of it is lost, and it says
/// so. Who was told everything is told of no loss.
#[test]
fn what_a_slow_client_missed_of_an_epoch_is_declared_lost() {
    let mut core = core_of(SlowConsumer::Conflate, 4_096);
    let slow = subscribe(&mut core, r#""channels":["quotes"]"#);
    conflate(&mut core, &[slow]);
    core.tick(1_000_000_000, 0, true);
    received(&mut core, slow);
    core.apply(&[reset(2)]);
    core.flush();
    assert_eq!(texts(&mut core, slow, "gap"), [] as [Value; 0], "it holds all 99");
    for n in 1..=3 {
        trade(&mut core, n);
    }
    core.apply(&[reset(3)]);
    core.flush();
    let gaps = texts(&mut core, slow, "gap");
    let named: Vec<_> =
        gaps.iter().map(|gap| [&gap["channel"], &gap["epoch"], &gap["from"], &gap["to"]]).collect();
    assert_eq!(named, [[&json!("trades"), &json!(2), &json!(1), &json!(3)]]);
}

/// A source that begins anew twice in one batch: everyone is told of each epoch.
#[test]
fn each_of_two_epochs_in_one_batch_is_told() {
    let mut core = core_of(SlowConsumer::Conflate, 1 << 20);
    let session = subscribe(&mut core, r#""channels":["trades"]"#);
    told(&mut core, session);
    core.apply(&[reset(2), reset(3)]);
    core.flush();
    let resets = texts(&mut core, session, "reset");
    let epochs: Vec<_> = resets.iter().map(|reset| reset["epoch"].as_u64().unwrap()).collect();
    assert_eq!(epochs, [2, 3]);
}

/// The end of a replay comes behind everything, also what an interval held back; whoever comes later hears of it too.
#[test]
fn the_end_of_a_replay_is_told_behind_all_of_it() {
    let mut core = core_of(SlowConsumer::Conflate, 1 << 20);
    let session = subscribe(&mut core, r#""channels":["book"],"interval_ms":5000"#);
    told(&mut core, session);
    level(&mut core, 1, 50, 7);
    core.apply(&[whole(0, Body::Ended)]);
    let [Told::Data(last), Told::Text(end)] = &told(&mut core, session)[..] else {
        panic!("the level, the end")
    };
    assert_eq!((last.meta.last_seq, &end["code"]), (1, &json!("replay_ended")));
    let late = subscribe(&mut core, r#""channels":["trades"]"#);
    assert_eq!(texts(&mut core, late, "notice").len(), 1);
    // It begins anew: whoever comes then hears nothing of an end.
    core.apply(&[reset(2)]);
    core.flush();
    let later = subscribe(&mut core, r#""channels":["trades"]"#);
    assert_eq!(texts(&mut core, later, "notice"), [] as [Value; 0]);
}

/// What is counted is counted for each client.
#[test]
fn messages_delivered_and_merged_are_counted_for_each_client() {
    let (mut core, stats) = counted(SlowConsumer::Conflate, 1 << 20);
    let clients = [0; 3].map(|_| subscribe(&mut core, r#""channels":["book"],"interval_ms":100"#));
    for client in clients {
        received(&mut core, client);
    }
    for n in 1..=5 {
        level(&mut core, n, 50, n as i64);
    }
    core.end_intervals(100_000_000);
    for client in clients {
        assert_eq!(spans(&received(&mut core, client)), [(1, 5)]);
    }
    let counts = (stats.encodes.get(), stats.messages.get(), stats.delivered.get(), stats.merged.get());
    assert_eq!(counts, (1, 3, 3, 12), "one message of five sequences, for three clients");
}

/// Who asked for no snapshots gets none of a new epoch either, and the others one of each stream but trades.
#[test]
fn a_new_epoch_begins_as_was_asked_for() {
    for (snapshot, snapshots) in [("false", 0), ("true", 3)] {
        let mut core = core_of(SlowConsumer::Conflate, 1 << 20);
        let view = format!(r#""channels":["quotes","trades","book","status"],"snapshot":{snapshot}"#);
        let session = subscribe(&mut core, &view);
        trade(&mut core, 1);
        level(&mut core, 1, 50, 7);
        received(&mut core, session);
        core.apply(&[reset(2)]);
        core.flush();
        let begun = received(&mut core, session);
        assert_eq!(spans(&begun), vec![(0, 0); snapshots], "{snapshot}");
        assert!(begun.iter().all(|message| message.meta.snapshot));
        trade(&mut core, 1);
        level(&mut core, 1, 50, 7);
        assert_eq!(spans(&received(&mut core, session)), [(1, 1), (1, 1)]);
    }
}

/// Who holds more of an epoch than the shard has heard when that epoch ends goes on in the next.
#[test]
fn who_was_ahead_of_an_epoch_that_ends_goes_on_in_the_next() {
    for more in ["", r#""snapshot":false,"#, r#""snapshot":true,"#] {
        let mut core = core_of(SlowConsumer::Conflate, 1 << 20);
        let from = |channel| format!(r#"{{"symbol":"BTC-USD","channel":"{channel}","epoch":1,"seq":50}}"#);
        let from = [from("trades"), from("book")].join(",");
        let session = subscribe(&mut core, &format!(r#""channels":["trades","book"],{more}"from":[{from}]"#));
        trade(&mut core, 1);
        level(&mut core, 1, 50, 7);
        assert_eq!(received(&mut core, session), []);
        core.apply(&[reset(2)]);
        core.flush();
        let begun = received(&mut core, session);
        assert!(begun.iter().all(|message| (message.meta.snapshot, message.meta.last_seq) == (true, 0)));
        trade(&mut core, 1);
        level(&mut core, 1, 50, 7);
        assert_eq!(spans(&received(&mut core, session)), [(1, 1), (1, 1)], "{more}");
    }
}

/// Of trades a slow client is told each of a new epoch, like everybody: they have no state that could stand for them.
#[test]
fn a_slow_tape_goes_on_with_the_first_trade_of_a_new_epoch() {
    let mut core = core_of(SlowConsumer::Conflate, 4_096);
    let slow = subscribe(&mut core, r#""channels":["trades"]"#);
    received(&mut core, slow);
    for n in 1..100 {
        trade(&mut core, n);
        refuse(&mut core, slow);
    }
    core.apply(&[reset(2)]);
    core.flush();
    (1..=3).for_each(|n| trade(&mut core, n));
    received(&mut core, slow);
    core.tick(1_000_000_000, 0, true);
    assert_eq!(spans(&received(&mut core, slow)), [(1, 1), (2, 2), (3, 3)]);
}
