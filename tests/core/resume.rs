//! Who comes back, by hand: what was missed is told in portions, and what is kept no more is declared.

use serde_json::{Value, json};
use tickcast::limits;
use tickcast::model::{BarStep, Body, Period};
use tickcast::shard::{Core, CoreSettings, SessionId};

use super::by_hand::{
    PLAIN, core, gaps_and_spans, many, open, publish, received, subscribe, texts, trade, with,
};

fn resume(core: &mut Core, channel: &str, seq: u64, more: &str) -> SessionId {
    let from = format!(r#"{{"symbol":"BTC-USD","channel":"{channel}","epoch":1,"seq":{seq}}}"#);
    subscribe(core, &format!(r#""channels":["{channel}"],{more}"from":[{from}]"#))
}

/// However much was missed, it is told whole and in order: some at a time, so that others have their turn.
#[test]
fn what_was_missed_is_told_whole() {
    const MISSED: u64 = 4 * limits::CATCH_UP_EVENTS as u64;
    let mut core = core();
    (1..=10 + MISSED).for_each(|n| trade(&mut core, n));
    let session = resume(&mut core, "trades", 10, "");
    let expected: Vec<_> = (11..=10 + MISSED).map(|n| (n, n)).collect();
    assert_eq!(gaps_and_spans(&mut core, session), (vec![], expected));
    trade(&mut core, 11 + MISSED);
    assert_eq!(gaps_and_spans(&mut core, session), (vec![], vec![(11 + MISSED, 11 + MISSED)]));
}

/// A server that keeps nothing says of all that was missed that it is lost.
#[test]
fn what_is_kept_nowhere_is_declared_lost() {
    let (mut core, _) = with(CoreSettings { ring_bytes: 0, ..PLAIN });
    (1..=9).for_each(|n| trade(&mut core, n));
    let session = resume(&mut core, "trades", 3, "");
    assert_eq!(gaps_and_spans(&mut core, session), (vec![[json!(4), json!(9)]], vec![]));
    trade(&mut core, 10);
    assert_eq!(gaps_and_spans(&mut core, session), (vec![], vec![(10, 10)]));
}

/// Bars that are complete are kept for two minutes: of older ones it is said that they are lost.
#[test]
fn bars_that_are_kept_no_more_are_declared_lost() {
    const KEPT: u64 = limits::BARS_KEPT as u64;
    let mut core = core();
    let period = 1 << Period::Second.index();
    for n in 1..=KEPT + 10 {
        publish(&mut core, 2 * n - 1, Body::Bar(BarStep::Trade { price: 50, quantity: 1 }));
        publish(&mut core, 2 * n, Body::Bar(BarStep::End { periods: period }));
    }
    // The tenth bar ended with sequence 20.
    let session = resume(&mut core, "bars", 5, r#""period":"1s","#);
    let (gaps, bars) = gaps_and_spans(&mut core, session);
    assert_eq!(gaps, [[json!(6), json!(20)]]);
    assert!(bars.iter().copied().eq((11..=KEPT + 10).map(|n| (2 * n - 1, 2 * n))), "{bars:?}");
    let session = resume(&mut core, "bars", 20, r#""period":"1s","#);
    let (gaps, bars) = gaps_and_spans(&mut core, session);
    assert_eq!((gaps.len(), bars.len() as u64), (0, KEPT), "all that is kept");
}

/// Whose epoch is over is told the present one, once for each instrument; not where a stream of that instrument that it
/// has shows it already.
#[test]
fn who_comes_back_from_another_epoch_is_told_the_present_one() {
    let from = |symbol: &str, channel: &str, epoch: u64| {
        format!(r#"{{"symbol":"{symbol}","channel":"{channel}","epoch":{epoch},"seq":5}}"#)
    };
    let resets = |core: &mut Core, session: SessionId, channels: &str, from: &[String]| -> Vec<Value> {
        let request = format!(
            r#"{{"op":"subscribe","symbols":["*"],"channels":[{channels}],"from":[{}]}}"#,
            from.join(",")
        );
        core.request(session, &request, 0);
        let resets = texts(core, session, "reset").into_iter();
        resets.map(|reset| json!([reset["symbol"], reset["epoch"], reset["reason"]])).collect()
    };
    let (mut core, _) = many(2, PLAIN);
    let [one, two] = ["BTC-USD", "ETH-USD"];
    let session = open(&mut core);
    let both = [from(one, "trades", 7), from(one, "quotes", 7), from(two, "quotes", 1)];
    let told = resets(&mut core, session, r#""trades","quotes""#, &both);
    assert_eq!(told, [json!([one, 1, "restart"])]);
    let told = resets(&mut core, session, r#""book""#, &[from(one, "book", 7)]);
    assert_eq!(told, [] as [Value; 0], "its quotes show the epoch");
    let session = subscribe(&mut core, r#""channels":["ticker"]"#);
    let gone = r#"{"op":"unsubscribe","symbols":["BTC-USD"],"channels":["ticker"]}"#;
    core.request(session, gone, 0);
    let told = resets(&mut core, session, r#""book""#, &[from(one, "book", 7)]);
    assert_eq!(told, [json!([one, 1, "restart"])], "that of the other instrument does not");
    let told = resets(&mut core, session, r#""book""#, &[from(one, "book", 7)]);
    assert_eq!(told, [json!([one, 1, "restart"])], "nor does the stream itself");
}

/// A stream that is named twice in `from` could go on from either: the request is refused whole.
#[test]
fn a_stream_goes_on_from_one_place() {
    let mut core = core();
    let session = open(&mut core);
    let at = |seq| format!(r#"{{"symbol":"BTC-USD","channel":"trades","epoch":1,"seq":{seq}}}"#);
    let from = [at(5), at(9)].join(",");
    core.request(
        session,
        &format!(r#"{{"op":"subscribe","symbols":["*"],"channels":["trades"],"from":[{from}]}}"#),
        0,
    );
    let errors = texts(&mut core, session, "error");
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0]["message"], "\"from\" names BTC-USD trades twice; each stream is allowed once");
    trade(&mut core, 1);
    assert_eq!(received(&mut core, session), []);
}
