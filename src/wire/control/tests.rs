use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::limits;
use crate::model::{Channel, ChannelSet, Instrument, Period, ResetReason, Status};
use crate::source::ReplayAction;

fn refused(text: &str) -> (ErrorCode, String) {
    let refusal = parse(text).expect_err(text);
    assert!(!refusal.retry);
    (refusal.code, refusal.message)
}

fn subscribe(text: &str) -> Subscribe {
    match parse(text).expect(text).command {
        Command::Subscribe(subscribe) => subscribe,
        other => panic!("{other:?}"),
    }
}

fn instrument() -> Instrument {
    Instrument {
        symbol: "BTC-USD".into(),
        price_exponent: -2,
        quantity_exponent: -8,
        tick_size: 25,
        lot_size: 0,
        channels: ChannelSet::of(&[Channel::Trades, Channel::Book, Channel::Orders]),
        book_depth: 0,
        source_id: 0,
    }
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = b"before".to_vec();
    write(&mut out);
    String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
}

#[test]
fn a_request_is_read_whole() {
    let text = r#"{"op":"subscribe","id":1,"symbols":["BTC-USD","ETH-*"],"channels":["quotes","book","quotes"],
        "depth":11,"interval_ms":101,"period":"5m","snapshot":false,"conflate":"never","new":{},
        "from":[{"symbol":"BTC-USD","channel":"book","epoch":7,"seq":1234,"new":1},{"seq":0,"epoch":8,"channel":"bars","symbol":"X"}]}"#;
    let request = parse(text).unwrap();
    assert_eq!(request.id.unwrap().as_json(), "1");
    assert_eq!(
        request.command,
        Command::Subscribe(Subscribe {
            symbols: vec!["BTC-USD".into(), "ETH-*".into()],
            channels: vec![Channel::Quotes, Channel::Book],
            depth: Some(25),
            interval_ms: 250,
            period: Period::FiveMinutes,
            snapshot: Some(false),
            conflate: Conflate::Never,
            from: vec![
                From { symbol: "BTC-USD".into(), channel: Channel::Book, epoch: 7, seq: 1234 },
                From { symbol: "X".into(), channel: Channel::Bars, epoch: 8, seq: 0 },
            ],
        })
    );
    let rest = [
        (r#" {"op":"list"} "#, Command::List),
        ("\r\n\t{\"op\":\"ping\",\"id\":null}", Command::Ping),
        (r#"{"op":"progress","received":12345}"#, Command::Progress { received: 12_345 }),
        (r#"{"op":"replay"}"#, Command::Replay(None)),
        (r#"{"op":"replay","action":"play","speed":5}"#, Command::Replay(Some(ReplayAction::Play))),
        (r#"{"op":"replay","action":"pause"}"#, Command::Replay(Some(ReplayAction::Pause))),
        (
            r#"{"op":"replay","action":"seek","time_ns":"1703545200000000001"}"#,
            Command::Replay(Some(ReplayAction::Seek { time_ns: 1_703_545_200_000_000_001 })),
        ),
        (
            r#"{"op":"replay","action":"speed","speed":0.1}"#,
            Command::Replay(Some(ReplayAction::Speed("0.1".into()))),
        ),
        (
            r#"{"op":"replay","action":"speed","speed":"max"}"#,
            Command::Replay(Some(ReplayAction::Speed("max".into()))),
        ),
        (r#"{"op":"replay","action":"step"}"#, Command::Replay(Some(ReplayAction::Step { events: 1 }))),
        (
            r#"{"op":"replay","action":"step","events":250}"#,
            Command::Replay(Some(ReplayAction::Step { events: 250 })),
        ),
        (
            r#"{"op":"unsubscribe","symbols":["A"],"channels":["trades"]}"#,
            Command::Unsubscribe { symbols: vec!["A".into()], channels: vec![Channel::Trades] },
        ),
    ];
    for (text, command) in rest {
        assert_eq!(parse(text), Ok(Request { id: None, command }), "{text}");
    }
}

#[test]
fn what_may_be_absent_may_be_null() {
    let bare = subscribe(r#"{"op":"subscribe","symbols":["A"],"channels":["status"]}"#);
    let nulls = r#"{"op":"subscribe","symbols":["A"],"channels":["status"],"depth":null,"interval_ms":null,"period":null,"snapshot":null,
        "conflate":null,"from":null}"#;
    assert_eq!(subscribe(nulls), bare);
    let expected = Subscribe {
        symbols: vec!["A".into()],
        channels: vec![Channel::Status],
        depth: None,
        interval_ms: 0,
        period: Period::Minute,
        snapshot: None,
        conflate: Conflate::Auto,
        from: Vec::new(),
    };
    assert_eq!(bare, expected);
    let empty = r#"{"op":"subscribe","symbols":["A"],"channels":["status"],"conflate":"auto","from":[]}"#;
    assert_eq!(subscribe(empty), expected);
}

#[test]
fn an_id_comes_back_byte_for_byte() {
    for id in [
        "7",
        "-0",
        "1e3",
        "1.50",
        "9007199254740993",
        "123456789012345678901234567890",
        r#""""#,
        r#""a\u00e4\"é""#,
    ] {
        let request = parse(&format!(r#"{{"id": {id} ,"op":"ping"}}"#)).unwrap();
        assert_eq!(request.id.as_ref().unwrap().as_json(), id);
        let reply = written(|out| pong(out, request.id.as_ref(), 5));
        assert_eq!(reply, format!(r#"{{"type":"pong","id":{id},"ts_ns":"5"}}"#));
        let refusal = parse(&format!(r#"{{"op":"nonsense","id":{id}}}"#)).unwrap_err();
        assert_eq!(refusal.id.unwrap().as_json(), id, "errors carry it too");
    }
    let id = "1".repeat(limits::REQUEST_ID_BYTES_MAX + 1);
    assert_eq!(refused(&format!(r#"{{"op":"ping","id":{id}}}"#)).0, ErrorCode::LimitExceeded);
    for (id, kind) in [("[1]", "a list"), ("{}", "an object"), ("true", "a boolean")] {
        let (code, message) = refused(&format!(r#"{{"op":"ping","id":{id}}}"#));
        assert_eq!(code, ErrorCode::BadRequest);
        assert_eq!(message, format!(r#""id" is {kind}; allowed: a number or a string"#));
    }
    // Found by fuzzing: it was sent back, in a reply that a strict parser does not take.
    for id in [r#""\udc00""#, r#""a\ud83d""#] {
        let (code, message) = refused(&format!(r#"{{"op":"ping","id":{id}}}"#));
        assert_eq!(code, ErrorCode::BadRequest);
        assert_eq!(message, r#""id" is a string; allowed: a string of Unicode characters"#);
    }
}

#[test]
fn depths_are_rounded_up() {
    let granted = [
        (1, Some(1)),
        (2, Some(5)),
        (5, Some(5)),
        (10, Some(10)),
        (11, Some(25)),
        (26, Some(50)),
        (51, Some(100)),
        (101, Some(500)),
        (500, Some(500)),
        (501, None),
        (u64::MAX, None),
    ];
    for (asked, depth) in granted {
        let text = format!(r#"{{"op":"subscribe","symbols":["A"],"channels":["book"],"depth":{asked}}}"#);
        assert_eq!(subscribe(&text).depth, depth, "{asked}");
    }
}

#[test]
fn a_fault_names_the_thing_its_value_and_what_is_allowed() {
    use ErrorCode::{BadRequest, Unavailable, UnknownChannel, UnknownOp};
    let many = format!(r#"{{"op":"{}"}}"#, "é".repeat(1_000));
    let deep = format!(r#"{{"op":"ping","x":{}"#, "[".repeat(60_000));
    let cases: &[(&str, ErrorCode, &[&str])] = &[
        ("", BadRequest, &["no JSON", "EOF", "a request is a JSON object"]),
        ("{", BadRequest, &["no JSON", "line 1 column 1"]),
        (r#"{"op":"ping"} x"#, BadRequest, &["no JSON", "trailing characters"]),
        (r#"{op:"ping"}"#, BadRequest, &["no JSON"]),
        (r#"{"op":"ping",}"#, BadRequest, &["no JSON"]),
        (&deep, BadRequest, &["no JSON"]),
        ("[1]", BadRequest, &["the message is a list; a request is a JSON object"]),
        ("null", BadRequest, &["the message is null"]),
        ("\"op\"", BadRequest, &["the message is a string"]),
        ("17", BadRequest, &["the message is a number"]),
        ("{}", BadRequest, &["\"op\" is missing", "subscribe, unsubscribe, list, ping, progress, replay"]),
        (r#"{"op":5}"#, BadRequest, &["\"op\" is 5; allowed: a string"]),
        (r#"{"op":null}"#, BadRequest, &["\"op\" is null; allowed: a string"]),
        (r#"{"op":"\ud800"}"#, BadRequest, &["\"op\" is a string; allowed: a string of Unicode characters"]),
        (r#"{"op":"Subscribe"}"#, UnknownOp, &["op \"Subscribe\" is unknown; allowed: subscribe"]),
        (r#"{"op":"replay","action":7}"#, BadRequest, &["\"action\" is 7; allowed: play, pause"]),
        (r#"{"op":"replay","action":"rewind"}"#, BadRequest, &["action \"rewind\" is unknown", "seek with"]),
        (r#"{"op":"replay","action":"seek"}"#, BadRequest, &["\"time_ns\" is missing", "string of digits"]),
        (
            r#"{"op":"replay","action":"seek","time_ns":1703545200000000001}"#,
            BadRequest,
            &["\"time_ns\" is 1703545200000000001; allowed: nanoseconds", "string of digits"],
        ),
        (r#"{"op":"replay","action":"seek","time_ns":"-1"}"#, BadRequest, &["\"time_ns\" is \"-1\""]),
        (r#"{"op":"replay","action":"seek","time_ns":"+1"}"#, BadRequest, &["\"time_ns\" is \"+1\""]),
        (
            r#"{"op":"replay","action":"seek","time_ns":"18446744073709551616"}"#,
            BadRequest,
            &["18446744073709551616"],
        ),
        (r#"{"op":"replay","action":"speed"}"#, BadRequest, &["\"speed\" is missing", "0.1 to 1000"]),
        (
            r#"{"op":"replay","action":"speed","speed":[1]}"#,
            BadRequest,
            &["\"speed\" is a list", "0.1 to 1000"],
        ),
        (
            r#"{"op":"replay","action":"speed","speed":"00000000000000001"}"#,
            BadRequest,
            &["\"speed\" is \"0000", "0.1 to 1000"],
        ),
        (
            r#"{"op":"replay","action":"step","events":0}"#,
            BadRequest,
            &["\"events\" is 0; allowed: a whole number from 1 to"],
        ),
        (r#"{"op":"progress"}"#, BadRequest, &["\"received\" is missing", "messages received"]),
        (r#"{"op":"progress","received":null}"#, BadRequest, &["\"received\" is missing"]),
        (r#"{"op":"progress","received":-1}"#, BadRequest, &["\"received\" is -1; allowed: a whole number"]),
        (&many, UnknownOp, &["cut, 2000 bytes"]),
        (r#"{"op":"auth","token":"x"}"#, Unavailable, &["no authentication"]),
        (r#"{"op":"ping","op":"list"}"#, BadRequest, &["key \"op\" stands twice"]),
        (r#"{"op":"subscribe","channels":["book"]}"#, BadRequest, &["\"symbols\" is missing"]),
        (r#"{"op":"subscribe","symbols":"A","channels":["book"]}"#, BadRequest, &["\"symbols\" is a string"]),
        (r#"{"op":"subscribe","symbols":[],"channels":["book"]}"#, BadRequest, &["\"symbols\" is empty"]),
        (r#"{"op":"subscribe","symbols":null,"channels":["book"]}"#, BadRequest, &["\"symbols\" is null"]),
        (
            r#"{"op":"subscribe","symbols":["A",1],"channels":["book"]}"#,
            BadRequest,
            &["\"symbols\"[1] is 1;"],
        ),
        (r#"{"op":"subscribe","symbols":["A"],"channels":[]}"#, BadRequest, &["\"channels\" is empty"]),
        (r#"{"op":"unsubscribe","symbols":["A"]}"#, BadRequest, &["\"channels\" is missing"]),
        (
            r#"{"op":"unsubscribe","symbols":["A"],"channels":["boks"]}"#,
            UnknownChannel,
            &["channel \"boks\" is unknown; allowed: quotes, trades, book, orders, ticker, bars, status"],
        ),
    ];
    for (text, code, parts) in cases {
        let (refused, message) = refused(text);
        assert_eq!(refused, *code, "{message}");
        for part in *parts {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
        assert!(message.len() < 400, "{message}");
    }
    let values = [
        ("depth", "0", "\"depth\" is 0; allowed: 1 and more"),
        ("depth", "-1", "\"depth\" is -1; allowed: a whole number"),
        ("depth", "1e3", "\"depth\" is 1e3; allowed: a whole number"),
        ("depth", "10.0", "\"depth\" is 10.0;"),
        ("depth", "\"10\"", "\"depth\" is a string;"),
        ("depth", "18446744073709551616", "\"depth\" is 18446744073709551616;"),
        ("interval_ms", "true", "\"interval_ms\" is a boolean;"),
        ("snapshot", "1", "\"snapshot\" is 1; allowed: true or false"),
        ("period", "60", "\"period\" is 60; allowed: a string"),
        ("period", "\"2m\"", "\"period\" is \"2m\"; allowed: 1s, 1m, 5m, 1h"),
        ("conflate", "false", "\"conflate\" is a boolean; allowed: a string"),
        ("conflate", "\"always\"", "\"conflate\" is \"always\"; allowed: auto, never"),
        (
            "from",
            "{}",
            "\"from\" is an object; allowed: a list of objects with symbol, channel, epoch and seq",
        ),
        (
            "from",
            r#"[{"symbol":"A","channel":"book","epoch":1,"seq":9007199254740992}]"#,
            "\"from\"[0].seq is 9007199254740992; allowed: a whole number below 2^53",
        ),
        ("from", "[7]", "\"from\"[0] is 7; allowed: an object with symbol, channel, epoch and seq"),
        ("from", "[[\"A\",\"book\",1,2]]", "\"from\"[0] is a list; allowed: an object"),
        ("from", "[{}]", "\"symbol\" is missing in \"from\"[0]; it needs symbol, channel, epoch and seq"),
        (
            "from",
            r#"[{"symbol":"A","channel":"book","epoch":1,"seq":2},{"symbol":"A","channel":"book","epoch":1}]"#,
            "\"seq\" is missing in \"from\"[1];",
        ),
        (
            "from",
            r#"[{"symbol":"A","channel":"book","epoch":1,"seq":"2"}]"#,
            "\"from\"[0].seq is a string; allowed: a whole number",
        ),
        (
            "from",
            r#"[{"symbol":"A","channel":"book","epoch":1,"seq":2,"seq":3}]"#,
            "a key of \"from\"[0] stands twice",
        ),
    ];
    for (key, value, part) in values {
        let text = format!(r#"{{"op":"subscribe","symbols":["A"],"channels":["book"],"{key}":{value}}}"#);
        let (code, message) = refused(&text);
        assert_eq!(code, BadRequest);
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
    let (code, message) = refused(
        r#"{"op":"subscribe","symbols":["A"],"channels":["book"],"from":[{"symbol":"A","channel":"boks","epoch":1,"seq":2}]}"#,
    );
    assert_eq!(code, UnknownChannel);
    assert!(message.starts_with("channel \"boks\" is unknown; allowed: quotes"), "{message}");
}

#[test]
fn intervals_are_rounded_up_to_the_longest() {
    let granted = [
        (0, 0),
        (1, 10),
        (10, 10),
        (11, 50),
        (100, 100),
        (101, 250),
        (251, 500),
        (501, 1_000),
        (1_001, 5_000),
        (5_000, 5_000),
        (5_001, 5_000),
        (u64::MAX, 5_000),
    ];
    for (asked, interval_ms) in granted {
        let text =
            format!(r#"{{"op":"subscribe","symbols":["A"],"channels":["book"],"interval_ms":{asked}}}"#);
        assert_eq!(subscribe(&text).interval_ms, interval_ms, "{asked}");
    }
}

#[test]
fn huge_lists_are_refused_and_nesting_under_an_unknown_key_is_not_followed() {
    let list = |count| {
        format!(r#"{{"op":"subscribe","symbols":[{}"A"],"channels":["book"]}}"#, "\"A\",".repeat(count - 1))
    };
    assert_eq!(subscribe(&list(limits::REQUEST_SYMBOLS_MAX)).symbols.len(), limits::REQUEST_SYMBOLS_MAX);
    let (code, message) = refused(&list(limits::REQUEST_SYMBOLS_MAX + 1));
    assert_eq!(code, ErrorCode::LimitExceeded);
    assert!(message.contains("10001 values; at most 10000"), "{message}");
    let entry = r#"{"symbol":"A","channel":"book","epoch":1,"seq":2}"#;
    let from = |count| {
        let entries = vec![entry; count].join(",");
        format!(r#"{{"op":"subscribe","symbols":["A"],"channels":["book"],"from":[{entries}]}}"#)
    };
    assert_eq!(subscribe(&from(limits::SUBSCRIPTIONS_MAX)).from.len(), limits::SUBSCRIPTIONS_MAX);
    let (code, message) = refused(&from(limits::SUBSCRIPTIONS_MAX + 1));
    assert_eq!(code, ErrorCode::LimitExceeded);
    assert!(message.contains("\"from\" holds 20001 entries; at most 20000"), "{message}");
    let deep = format!(r#"{{"op":"ping","x":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
    assert_eq!(parse(&deep).unwrap().command, Command::Ping);
    assert_eq!(refused(&deep.replace("\"x\"", "\"id\"")).0, ErrorCode::BadRequest);
}

#[test]
fn replies_have_the_shapes_of_the_contract() {
    let id = parse(r#"{"op":"list","id":"a"}"#).unwrap().id;
    let limits =
        WelcomeLimits { message_bytes: 65_536, request_symbols: 10_000, streams: 9, outbox_bytes: 8 };
    assert_eq!(
        written(|out| welcome(out, "tickcast.v1.json", 7, 5_000, &limits)),
        concat!(
            r#"{"type":"welcome","protocol":"tickcast.v1.json","server":"tickcast/"#,
            env!("CARGO_PKG_VERSION"),
            r#"","epoch":7,"heartbeat_ms":5000,"limits":{"message_bytes":65536,"request_symbols":10000,"streams":9,"outbox_bytes":8}}"#
        )
    );
    let btc = instrument();
    assert_eq!(
        written(|out| {
            let mut page = Page::subscribed(out, id.as_ref());
            let granted = Granted {
                number: 3,
                instrument: &btc,
                channel: Channel::Book,
                depth: Some(10),
                interval_ms: 250,
                period: None,
                epoch: 7,
                seq: 42,
            };
            assert!(page.push(&granted));
            let (depth, period) = (None, Some(Period::Hour));
            assert!(page.push(&Granted { channel: Channel::Bars, depth, period, ..granted }));
            assert!(page.push(&Granted { channel: Channel::Trades, depth: None, ..granted }));
            page.finish(false);
        }),
        concat!(
            r#"{"type":"subscribed","id":"a","streams":["#,
            r#"{"symbol":"BTC-USD","instrument":3,"channel":"book","price_exponent":-2,"quantity_exponent":-8,"tick_size":0.25,"#,
            r#""lot_size":null,"depth":10,"interval_ms":250,"epoch":7,"seq":42},"#,
            r#"{"symbol":"BTC-USD","instrument":3,"channel":"bars","price_exponent":-2,"quantity_exponent":-8,"tick_size":0.25,"#,
            r#""lot_size":null,"depth":null,"interval_ms":250,"period":"1h","epoch":7,"seq":42},"#,
            r#"{"symbol":"BTC-USD","instrument":3,"channel":"trades","price_exponent":-2,"quantity_exponent":-8,"tick_size":0.25,"#,
            r#""lot_size":null,"depth":null,"interval_ms":250,"epoch":7,"seq":42}],"more":false}"#
        )
    );
    let ended = |more: bool| {
        written(|out| {
            let mut page = Page::unsubscribed(out, None);
            assert!(page.push(&Ended { symbol: "BTC-USD", channel: Channel::Book }));
            page.finish(more);
        })
    };
    assert_eq!(ended(false), r#"{"type":"unsubscribed","streams":[{"symbol":"BTC-USD","channel":"book"}]}"#);
    assert!(ended(true).ends_with(r#"],"more":true}"#));
    let listed = Listed { number: 3, instrument: &btc, status: Status::Halted };
    let instruments = concat!(
        r#""epoch":7,"instruments":[{"symbol":"BTC-USD","instrument":3,"price_exponent":-2,"quantity_exponent":-8,"#,
        r#""tick_size":0.25,"lot_size":null,"channels":["trades","book","orders"],"status":"halted"}],"more":false}"#
    );
    fn list<'a>(mut page: Page<'_, Listed<'a>>, listed: &Listed<'a>) {
        assert!(page.is_empty() && page.push(listed) && page.len() == 1);
        page.finish(false);
    }
    assert_eq!(
        written(|out| list(Page::instruments(out, id.as_ref(), 7), &listed)),
        format!(r#"{{"type":"instruments","id":"a",{instruments}"#)
    );
    assert_eq!(
        written(|out| list(Page::instruments_http(out, 7), &listed)),
        format!(r#"{{"type":"instruments",{instruments}"#)
    );
    assert_eq!(
        written(|out| {
            let mut page = Page::heartbeat(out, 5);
            assert!(page.push(&Position { symbol: "A", channel: Channel::Quotes, epoch: 7, seq: 0 }));
            page.finish(true);
        }),
        r#"{"type":"heartbeat","ts_ns":"5","streams":[{"symbol":"A","channel":"quotes","epoch":7,"seq":0}]}"#
    );
    assert_eq!(
        written(|out| reset(out, "A", 8, ResetReason::Loop)),
        r#"{"type":"reset","symbol":"A","epoch":8,"reason":"loop"}"#
    );
    assert_eq!(
        written(|out| gap(out, "A", Channel::Trades, 7, 5, 9)),
        r#"{"type":"gap","symbol":"A","channel":"trades","epoch":7,"from":5,"to":9,"count":5}"#
    );
    for kind in Notice::ALL {
        let said: Value = serde_json::from_str(&written(|out| notice(out, kind))).unwrap();
        assert_eq!(
            said,
            serde_json::json!({"type": "notice", "code": kind.code(), "message": kind.message()})
        );
    }
    assert_eq!(
        Notice::ALL.map(Notice::code),
        ["conflating", "recovered", "stale", "live", "shutting_down", "replay_ended"]
    );
    assert_eq!(
        written(|out| notice(out, Notice::ReplayEnded)),
        r#"{"type":"notice","code":"replay_ended","message":"the replay is at its end; no more market data follows, the server stays up"}"#
    );
    let refusal = Refusal { retry: true, ..Refusal::unknown_symbol(id, "X\"\n") };
    let reply: Value = serde_json::from_str(&written(|out| error(out, &refusal))).unwrap();
    assert_eq!(
        reply,
        serde_json::json!({"type": "error", "id": "a", "code": "unknown_symbol", "retry": true,
            "message": "symbol \"X\\\"\\n\" is unknown; {\"op\":\"list\"} names those there are"})
    );
}

#[test]
fn no_page_is_over_the_limit_and_none_loses_an_entry() {
    let btc = instrument();
    let mut out = Vec::new();
    let (mut pages, mut seen, mut next) = (0, 0, 0);
    while next < 1_000 {
        out.clear();
        let mut page = Page::subscribed(&mut out, None);
        let entry = |number| Granted {
            number,
            instrument: &btc,
            channel: Channel::Book,
            depth: None,
            interval_ms: 0,
            period: None,
            epoch: u64::MAX,
            seq: u64::MAX,
        };
        while next < 1_000 && page.push(&entry(next)) {
            next += 1;
        }
        page.finish(next < 1_000);
        assert!(out.len() <= limits::TEXT_BYTES_MAX);
        let reply: Value = serde_json::from_slice(&out).unwrap();
        let streams = reply["streams"].as_array().unwrap();
        assert!(streams.iter().all(|stream| {
            seen += 1;
            stream["instrument"] == seen - 1
        }));
        assert_eq!(reply["more"], next < 1_000);
        pages += 1;
    }
    assert_eq!(seen, 1_000);
    assert!((4..8).contains(&pages), "{pages} pages: they are filled");
}

proptest! {
    #[test]
    fn any_text_is_a_request_or_a_refusal(text in ".{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn a_damaged_request_is_a_request_or_a_refusal(at in 0_usize..200, with in any::<char>(), cut in any::<bool>()) {
        let text = r#"{"op":"subscribe","id":"x\u00e4","symbols":["BTC-USD","ETH-*"],"channels":["quotes"],"depth":11,"period":"1h","conflate":"never","from":[{"symbol":"A","channel":"book","epoch":7,"seq":1}]}"#;
        let mut damaged: String = text.chars().take(at).collect();
        damaged.push(with);
        if !cut {
            damaged.extend(text.chars().skip(at + 1));
        }
        match parse(&damaged) {
            Ok(request) => prop_assert!(matches!(request.command, Command::Subscribe(_))),
            Err(refusal) => {
                let mut out = Vec::new();
                error(&mut out, &refusal);
                let reply: Value = serde_json::from_slice(&out).unwrap();
                prop_assert_eq!(&reply["message"], &Value::from(refusal.message));
                prop_assert!(out.len() < 1_024);
            }
        }
    }
}
