//! The machine by itself: bytes and times go in, updates and requests come out.

use serde_json::{Value, json};

use super::*;
use crate::client::scripted::{EPOCH, NUMBER, SYMBOL, frame, level, levels, meta, quote, trade};
use crate::model::ResetReason;
use crate::wire::control;

const SECOND: u64 = 1_000_000_000;

fn requests(machine: &mut Machine) -> Vec<Value> {
    let mut requests = Vec::new();
    while let Some(request) = machine.request() {
        assert!(control::parse(&request).is_ok(), "{request}");
        requests.push(serde_json::from_str(&request).unwrap());
    }
    assert!(!machine.has_request());
    requests
}

fn updates(machine: &mut Machine) -> Vec<Update> {
    std::iter::from_fn(|| machine.update()).collect()
}

fn tell(machine: &mut Machine, message: Value, now_ns: u64) {
    machine.text(message.to_string().as_bytes(), now_ns).unwrap();
}

fn welcome(machine: &mut Machine, heartbeat_ms: u64, now_ns: u64) {
    tell(
        machine,
        json!({"type": "welcome", "server": "scripted/1", "epoch": EPOCH, "heartbeat_ms": heartbeat_ms}),
        now_ns,
    );
}

fn stream(symbol: &str, number: u32, channel: &str, seq: u64) -> Value {
    json!({"symbol": symbol, "instrument": number, "channel": channel, "price_exponent": 0,
        "quantity_exponent": 0, "depth": null, "interval_ms": 0, "epoch": EPOCH, "seq": seq})
}

fn grant(machine: &mut Machine, streams: &[Value], now_ns: u64) {
    tell(machine, json!({"type": "subscribed", "id": 0, "streams": streams, "more": false}), now_ns);
}

/// Connected, with a book and trades of one symbol at sequence 40 and 7.
fn live() -> Machine {
    let mut machine = Machine::new([Subscription::new([SYMBOL], &[Channel::Book, Channel::Trades])]);
    machine.connected(0);
    welcome(&mut machine, 5_000, 0);
    grant(&mut machine, &[stream(SYMBOL, NUMBER, "book", 40), stream(SYMBOL, NUMBER, "trades", 7)], 0);
    machine.binary(&frame(EPOCH, &[(meta(40, 40, true), levels(&[level(100, 5)], &[], None))]), 0).unwrap();
    requests(&mut machine);
    updates(&mut machine);
    machine
}

#[test]
fn nothing_is_due_without_a_connection() {
    let mut machine = Machine::new([Subscription::new([SYMBOL], &[Channel::Book])]);
    assert_eq!((machine.due(), machine.has_request(), machine.received()), (None, false, 0));
    assert!(machine.wake(u64::MAX).is_ok());
    assert!(machine.update().is_none() && machine.is_stale(SYMBOL, Channel::Book));
}

#[test]
fn a_reconnect_resumes_every_stream_that_is_held() {
    let mut machine = live();
    machine.binary(&frame(EPOCH, &[(meta(8, 8, false), trade(5))]), 1).unwrap();
    machine.disconnected();
    assert_eq!(machine.due(), None);
    let view = machine.book(SYMBOL).unwrap();
    assert_eq!((view.seq, view.stale), (40, true));

    machine.connected(2 * SECOND);
    assert_eq!(
        requests(&mut machine),
        [json!({"op": "subscribe", "id": 0, "symbols": [SYMBOL], "channels": ["book", "trades"],
            "interval_ms": 0, "from": [
                {"symbol": SYMBOL, "channel": "book", "epoch": EPOCH, "seq": 40},
                {"symbol": SYMBOL, "channel": "trades", "epoch": EPOCH, "seq": 8}]})]
    );
    // The server's numbers may have changed.
    grant(&mut machine, &[stream(SYMBOL, 9, "book", 40), stream(SYMBOL, 9, "trades", 8)], 2 * SECOND);
    updates(&mut machine);
    assert!(machine.is_stale(SYMBOL, Channel::Book), "nothing has continued it yet");
    let heartbeat = json!({"type": "heartbeat", "ts_ns": "1", "streams": [
        {"symbol": SYMBOL, "channel": "book", "epoch": EPOCH, "seq": 40}]});
    tell(&mut machine, heartbeat, 3 * SECOND);
    assert!(!machine.is_stale(SYMBOL, Channel::Book) && machine.is_stale(SYMBOL, Channel::Trades));
    assert!(updates(&mut machine).is_empty(), "no gap");
    let expected = Ledger { delivered: 1, ..Ledger::default() };
    assert_eq!((machine.ledger_sum(), machine.ledger(SYMBOL, Channel::Trades)), (expected, Some(expected)));
    // The server may go on with a snapshot: what it stands for beyond what was held is merged.
    let mut snapshot = frame(EPOCH, &[(meta(44, 44, true), levels(&[level(101, 5)], &[], None))]);
    snapshot[4] = 9;
    machine.binary(&snapshot, 3 * SECOND).unwrap();
    let merged = Ledger { merged: 4, ..Ledger::default() };
    assert_eq!(machine.ledger(SYMBOL, Channel::Book), Some(merged));
}

#[test]
fn a_reset_is_told_with_its_reason() {
    let mut machine = live();
    for (number, reason) in
        [("loop", ResetReason::Loop), ("seek", ResetReason::Seek), ("restart", ResetReason::Restart)]
            .into_iter()
            .chain([("of tomorrow", ResetReason::Restart)])
            .enumerate()
    {
        let epoch = EPOCH + 1 + number as u64;
        tell(&mut machine, json!({"type": "reset", "symbol": SYMBOL, "epoch": epoch, "reason": reason.0}), 0);
        let told = updates(&mut machine);
        assert!(
            matches!(&told[..], [Update::Reset { epoch: to, reason: why, .. }] if (*to, *why) == (epoch, reason.1)),
            "{reason:?}: {told:?}"
        );
    }
}

#[test]
fn another_epoch_begins_anew_and_is_what_is_resumed_next() {
    let mut machine = live();
    machine.disconnected();
    machine.connected(SECOND);
    let granted = |seq| {
        json!({"symbol": SYMBOL, "instrument": 1, "channel": "book", "price_exponent": 0,
        "quantity_exponent": 0, "epoch": EPOCH + 1, "seq": seq})
    };
    grant(&mut machine, &[granted(3)], SECOND);
    let reset = json!({"type": "reset", "symbol": SYMBOL, "epoch": EPOCH + 1, "reason": "restart"});
    tell(&mut machine, reset, SECOND);
    assert!(
        matches!(updates(&mut machine)[..], [Update::Reset { .. }, Update::Granted { seq: 3, .. }]),
        "told once"
    );
    let mut bytes = frame(EPOCH + 1, &[(meta(3, 3, true), levels(&[level(7, 1)], &[], None))]);
    bytes[4] = 1;
    machine.binary(&bytes, SECOND).unwrap();
    assert_eq!(
        machine.book(SYMBOL).map(|view| (view.epoch, view.seq, view.stale)),
        Some((EPOCH + 1, 3, false))
    );
    requests(&mut machine);
    machine.disconnected();
    machine.connected(2 * SECOND);
    let from = &requests(&mut machine)[0]["from"];
    assert!(
        from.as_array()
            .unwrap()
            .contains(&json!({"symbol": SYMBOL, "channel": "book", "epoch": EPOCH + 1, "seq": 3}))
    );
}

#[test]
fn what_is_not_known_whole_is_not_resumed() {
    let mut machine = live();
    // A gap in the book: lost, and asked for again at once.
    machine.binary(&frame(EPOCH, &[(meta(43, 43, false), levels(&[level(1, 1)], &[], None))]), 5).unwrap();
    let again = requests(&mut machine);
    assert_eq!(again.len(), 1);
    assert_eq!((&again[0]["channels"], again[0].get("from")), (&json!(["book"]), None));
    machine.disconnected();
    assert!(machine.book(SYMBOL).is_none());
    machine.connected(SECOND);
    let request = requests(&mut machine).remove(0);
    assert_eq!(request["from"], json!([{"symbol": SYMBOL, "channel": "trades", "epoch": EPOCH, "seq": 7}]));
}

#[test]
fn a_stream_that_two_subscriptions_name_is_not_resumed() {
    let mut machine = Machine::new([
        Subscription::new([SYMBOL], &[Channel::Quotes, Channel::Trades]),
        Subscription::new(["BTC-*"], &[Channel::Quotes]),
    ]);
    machine.connected(0);
    assert_eq!(requests(&mut machine).len(), 2);
    grant(&mut machine, &[stream(SYMBOL, NUMBER, "quotes", 4), stream(SYMBOL, NUMBER, "trades", 7)], 0);
    machine.binary(&frame(EPOCH, &[(meta(4, 4, true), quote(1, 2))]), 0).unwrap();
    machine.disconnected();
    machine.connected(1);
    let again = requests(&mut machine);
    assert_eq!(again[0]["from"], json!([{"symbol": SYMBOL, "channel": "trades", "epoch": EPOCH, "seq": 7}]));
    assert_eq!(again[1].get("from"), None);
}

/// More streams than fit in one request, granted in two different orders: the requests are the same, none is too
/// long, and every stream is resumed once.
#[test]
fn a_large_subscription_is_resumed_in_several_requests_that_do_not_depend_on_the_order_of_grants() {
    let symbols: Vec<String> = (0..1_000).map(|number| format!("SYMBOL-{number:04}")).collect();
    let channels = [Channel::Trades, Channel::Quotes];
    let again = |reverse: bool| {
        let mut machine = Machine::new([Subscription::new(symbols.iter().cloned(), &channels)]);
        machine.connected(0);
        let first = requests(&mut machine);
        assert_eq!(first.len(), 1, "without positions it fits");
        let mut streams: Vec<Value> =
            symbols.iter().zip(0..).map(|(symbol, number)| stream(symbol, number, "trades", 5)).collect();
        if reverse {
            streams.reverse();
        }
        for page in streams.chunks(100) {
            grant(&mut machine, page, 0);
        }
        machine.disconnected();
        machine.connected(0);
        requests(&mut machine)
    };
    let requests = again(false);
    assert_eq!(requests, again(true));
    assert_eq!(requests.len(), 2);
    let mut resumed = Vec::new();
    let mut asked = Vec::new();
    for request in &requests {
        assert!(request.to_string().len() <= limits::TEXT_BYTES_MAX);
        let list = |key: &str| request[key].as_array().unwrap().clone();
        asked.extend(list("symbols"));
        resumed.extend(list("from").into_iter().map(|from| from["symbol"].clone()));
    }
    assert_eq!(asked, symbols);
    assert_eq!(resumed, symbols);
}

#[test]
fn a_refusal_of_any_part_of_a_subscription_is_told_of_that_subscription() {
    let symbols: Vec<String> = (0..9_000).map(|number| format!("SYMBOL-{number:04}")).collect();
    let mut machine = Machine::new([
        Subscription::new(["A"], &[Channel::Trades]),
        Subscription::new(symbols, &[Channel::Trades]),
    ]);
    machine.connected(0);
    let sent = requests(&mut machine);
    assert_eq!(sent.iter().map(|request| request["id"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    for (id, subscription) in [(json!(2), Some(1)), (json!(77), None), (json!(null), None)] {
        let error =
            json!({"type": "error", "id": id, "code": "unknown_symbol", "message": "m", "retry": true});
        tell(&mut machine, error, 0);
        let told = updates(&mut machine);
        assert!(
            matches!(&told[..], [Update::Refused { subscription: of, retry: true, .. }] if *of == subscription),
            "{told:?}"
        );
    }
    machine.connected(0);
    assert_eq!(requests(&mut machine).len(), 3, "what may be tried later is asked for again");
    let error = json!({"type": "error", "id": 2, "code": "unknown_symbol", "message": "m", "retry": false});
    tell(&mut machine, error, 0);
    machine.connected(0);
    let sent = requests(&mut machine);
    let granted = sent[1]["symbols"].as_array().unwrap();
    assert_eq!(
        (sent.len(), sent[1]["id"].as_u64()),
        (2, Some(1)),
        "only the part that was refused is given up"
    );
    assert!(
        granted.len() > 4_000 && granted.len() < 9_000 && granted[0] == "SYMBOL-0000",
        "{}",
        granted.len()
    );
    tell(&mut machine, json!({"type": "error", "id": 1, "code": "unknown_symbol", "message": "m"}), 0);
    machine.connected(0);
    assert_eq!(requests(&mut machine).len(), 1, "what is refused whole is not asked for again");
}

/// Numbers are those of one connection: another server may give a symbol the number that another had.
#[test]
fn a_server_that_numbers_otherwise_is_understood() {
    let mut machine = Machine::new([Subscription::new(["B", "C"], &[Channel::Trades])]);
    for (epoch, numbers) in [(EPOCH, [0, 1]), (EPOCH + 1, [1, 2])] {
        machine.connected(0);
        welcome(&mut machine, 5_000, 0);
        let streams = ["B", "C"].iter().zip(numbers).map(|(symbol, number)| {
            let mut stream = stream(symbol, number, "trades", 0);
            stream["epoch"] = json!(epoch);
            stream
        });
        grant(&mut machine, &streams.collect::<Vec<_>>(), 0);
        updates(&mut machine);
        for (symbol, number) in ["B", "C"].iter().zip(numbers) {
            let mut told = frame(epoch, &[(meta(1, 1, false), trade(5))]);
            told[4..8].copy_from_slice(&number.to_le_bytes());
            machine.binary(&told, 0).unwrap();
            let heard = updates(&mut machine);
            assert!(
                matches!(&heard[..], [Update::Trade { listing, .. }] if listing.symbol == *symbol),
                "{symbol}: {heard:?}"
            );
        }
    }
}

/// The quote of before a loss is not the present one: it is neither resumed nor called current by a heartbeat.
#[test]
fn a_quote_that_lost_its_tail_is_stale_until_the_next() {
    for declared in [false, true] {
        let mut machine = Machine::new([Subscription::new([SYMBOL], &[Channel::Quotes])]);
        machine.connected(0);
        welcome(&mut machine, 5_000, 0);
        grant(&mut machine, &[stream(SYMBOL, NUMBER, "quotes", 0)], 0);
        machine.binary(&frame(EPOCH, &[(meta(1, 5, false), quote(10, 11))]), 0).unwrap();
        let heartbeat = json!({"type": "heartbeat", "ts_ns": "1",
            "streams": [{"symbol": SYMBOL, "channel": "quotes", "epoch": EPOCH, "seq": 8}]});
        if declared {
            let gap = json!({"type": "gap", "symbol": SYMBOL, "channel": "quotes", "epoch": EPOCH,
                "from": 6, "to": 8, "count": 3});
            tell(&mut machine, gap, 0);
        } else {
            tell(&mut machine, heartbeat.clone(), 0);
        }
        tell(&mut machine, heartbeat, 0);
        assert!(machine.is_stale(SYMBOL, Channel::Quotes), "declared: {declared}");
        machine.connected(0);
        assert!(requests(&mut machine)[0].get("from").is_none(), "there is nothing to go on from");
    }
}

#[test]
fn silence_makes_stale_after_two_heartbeats_and_dead_after_three() {
    let mut machine = live();
    assert_eq!(machine.due(), Some(10 * SECOND));
    machine.wake(10 * SECOND - 1).unwrap();
    assert!(updates(&mut machine).is_empty() && !machine.is_stale(SYMBOL, Channel::Book));
    machine.wake(10 * SECOND).unwrap();
    let why = Duration::from_secs(10);
    assert!(matches!(updates(&mut machine)[..], [Update::Stale { why: Staleness::Silent(of) }] if of == why));
    assert!(machine.is_stale(SYMBOL, Channel::Book) && machine.book(SYMBOL).unwrap().stale);
    assert_eq!(machine.due(), Some(15 * SECOND));
    machine.wake(12 * SECOND).unwrap();
    assert!(updates(&mut machine).is_empty(), "told once");

    // Anything that is heard ends it.
    tell(&mut machine, json!({"type": "tomorrow"}), 14 * SECOND);
    assert!(matches!(updates(&mut machine)[..], [Update::Live]));
    assert!(!machine.is_stale(SYMBOL, Channel::Book));
    assert_eq!(machine.due(), Some(24 * SECOND));
    let silence = Duration::from_secs(15);
    assert!(matches!(machine.wake(29 * SECOND), Err(Disconnect::Silent(of)) if of == silence));
}

#[test]
fn heartbeats_are_believed_within_limits() {
    for (stated, believed) in [(0, 10), (1_000, 1_000), (u64::MAX, 60_000)] {
        let mut machine = Machine::new([]);
        machine.connected(0);
        assert_eq!(machine.due(), Some(10 * SECOND), "before the welcome");
        welcome(&mut machine, stated, 0);
        assert_eq!(machine.due(), Some(2 * believed * 1_000_000));
    }
}

#[test]
fn a_source_that_is_silent_makes_stale_too() {
    let mut machine = live();
    let notice = |code: &str| json!({"type": "notice", "code": code, "message": "m"});
    tell(&mut machine, notice("stale"), SECOND);
    tell(&mut machine, notice("stale"), SECOND);
    let told = updates(&mut machine);
    assert!(
        matches!(
            &told[..],
            [Update::Notice { .. }, Update::Stale { why: Staleness::Source }, Update::Notice { .. }]
        ),
        "{told:?}"
    );
    assert!(machine.is_stale(SYMBOL, Channel::Book));
    // Silence on top of it, and its end: still stale.
    machine.wake(20 * SECOND).unwrap_err();
    machine.wake(12 * SECOND).unwrap();
    assert!(matches!(updates(&mut machine)[..], [Update::Stale { why: Staleness::Silent(_) }]));
    tell(&mut machine, notice("replay_ended"), 13 * SECOND);
    let told = updates(&mut machine);
    assert!(
        matches!(&told[..], [Update::Stale { why: Staleness::Source }, Update::Notice { code, .. }] if code == "replay_ended"),
        "heard again, and the source is still stale: {told:?}"
    );
    assert!(machine.is_stale(SYMBOL, Channel::Book));
    tell(&mut machine, notice("live"), 14 * SECOND);
    assert!(matches!(&updates(&mut machine)[..], [Update::Notice { .. }, Update::Live]));
    assert!(!machine.is_stale(SYMBOL, Channel::Book));
}

#[test]
fn progress_is_reported_as_often_as_the_subscription_asks_that_asks_for_most() {
    let subscribe =
        |ms| Subscription::new([SYMBOL], &[Channel::Trades]).with_progress(Duration::from_millis(ms));
    let mut machine = Machine::new([subscribe(700), subscribe(500)]);
    machine.connected(0);
    requests(&mut machine);
    assert_eq!(machine.due(), Some(10 * SECOND), "nothing received, nothing to report");
    welcome(&mut machine, 5_000, SECOND / 10);
    machine.binary(&frame(EPOCH, &[(meta(8, 8, false), trade(5))]), SECOND / 5).unwrap();
    assert_eq!((machine.due(), machine.received()), (Some(SECOND / 2), 2));
    machine.wake(SECOND / 2).unwrap();
    welcome(&mut machine, 5_000, SECOND / 2 + 1);
    assert_eq!(requests(&mut machine), [json!({"op": "progress", "received": 3})], "as of now");
    assert_eq!(machine.due(), Some(10 * SECOND + SECOND / 2 + 1), "all of it is reported");
    // Messages that come late bring the report with them.
    welcome(&mut machine, 5_000, 3 * SECOND);
    assert_eq!(requests(&mut machine), [json!({"op": "progress", "received": 4})]);
    machine.disconnected();
    machine.connected(4 * SECOND);
    welcome(&mut machine, 5_000, 6 * SECOND);
    let last = requests(&mut machine).pop().unwrap();
    assert_eq!(last, json!({"op": "progress", "received": 1}), "counted anew on each connection");

    let mut silent = live();
    assert!(silent.wake(9 * SECOND).is_ok() && requests(&mut silent).is_empty());
    let mut eager = Machine::new([subscribe(0)]);
    eager.connected(0);
    welcome(&mut eager, 5_000, 0);
    assert_eq!(eager.due(), Some(limits::CLIENT_PROGRESS_MS_MIN * 1_000_000));
}

#[test]
fn a_stream_that_never_comes_right_is_asked_for_once_a_second() {
    let mut machine = live();
    let broken = frame(EPOCH, &[(meta(41, 41, true), levels(&[level(1, 1)], &[], Some(1)))]);
    let mut asked = Vec::new();
    for tenth in 0..25 {
        let now = tenth * SECOND / 10;
        machine.binary(&broken, now).unwrap();
        for request in requests(&mut machine) {
            asked.push((tenth, request["id"].as_u64().unwrap()));
            grant(&mut machine, &[stream(SYMBOL, NUMBER, "book", 41)], now);
        }
    }
    assert_eq!(asked, [(0, 1), (10, 2), (20, 3)]);
    let mismatches = machine.ledger(SYMBOL, Channel::Book).unwrap().mismatches;
    assert_eq!(mismatches, 25);
}

#[test]
fn subscriptions_come_and_go_while_connected() {
    let mut machine = live();
    let subscription = Subscription::new(["ETH-USD"], &[Channel::Quotes]).with_interval_ms(100);
    let number = machine.subscribe(subscription);
    assert_eq!(number, 1);
    assert_eq!(
        requests(&mut machine),
        [
            json!({"op": "subscribe", "id": 1, "symbols": ["ETH-USD"], "channels": ["quotes"], "interval_ms": 100})
        ]
    );
    let error = json!({"type": "error", "id": 1, "code": "limit_exceeded", "message": "m", "retry": true});
    tell(&mut machine, error, 0);
    assert!(matches!(updates(&mut machine)[..], [Update::Refused { subscription: Some(1), .. }]));

    machine.unsubscribe(0);
    machine.unsubscribe(0);
    let request = requests(&mut machine);
    assert_eq!(
        request,
        [json!({"op": "unsubscribe", "id": 2, "symbols": [SYMBOL], "channels": ["book", "trades"]})]
    );
    let ended = json!({"type": "unsubscribed", "id": 2, "streams": [{"symbol": SYMBOL, "channel": "book"}]});
    tell(&mut machine, ended, 0);
    assert!(machine.book(SYMBOL).is_none());
    machine.disconnected();
    machine.connected(0);
    let again = requests(&mut machine);
    assert_eq!((again.len(), &again[0]["symbols"]), (1, &json!(["ETH-USD"])));
}
