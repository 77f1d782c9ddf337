//! What becomes of each message of Coinbase's and Kraken's captures, and of those that are damaged, missing, told twice or
//! made up.

#[path = "common/captures.rs"]
mod captures;
#[path = "common/feeds.rs"]
mod feeds;

use captures::{
    EXCHANGES, SNAPSHOT, UPDATE, WHOLE, advanced, advanced_levels, advanced_trades, binance_trade, coinbase,
    coinbase_match, depths, import, importer, kinds, kraken, refusal, samples, spot,
};
use feeds::{Case, gzip, primaries};
use proptest::prelude::*;
use tickcast::feed::import::Place;
use tickcast::feed::import::capture::Exchange;
use tickcast::model::{ABSENT_TIME, PrimaryKind, Side, primary_flags};

#[test]
fn coinbases_messages_become_levels_and_trades() {
    let trade = coinbase_match("match", 7, 100);
    let (case, imported, records) = import(Exchange::Coinbase, &coinbase(&[SNAPSHOT, UPDATE, &trade]));
    assert_eq!(imported.source_records, 3);
    assert_eq!(kinds(&records), "cllLlLT");
    let [clear, bid, .., last_of_snapshot, removed, _, trade] = &records[..] else { panic!("{records:?}") };
    assert_eq!((clear.flags, clear.ts_event_ns), (primary_flags::SNAPSHOT, 1_618_677_810_500_000_000));
    assert_eq!((bid.side, bid.price, bid.quantity), (Side::Bid as u8, 95, 200));
    assert_eq!(last_of_snapshot.flags, primary_flags::SNAPSHOT | primary_flags::LAST);
    assert_eq!((removed.price, removed.quantity, removed.ts_event_ns), (90, 0, 1_618_677_817_075_687_000));
    assert_eq!(
        (trade.side, trade.order_id, trade.ts_event_ns),
        (Side::Bid as u8, 7, 1_618_677_818_000_000_001)
    );
    assert_eq!(depths(&case, "A-B"), (1, 2));
}

#[test]
fn a_line_may_have_its_time_in_nanoseconds_or_none() {
    let with = |prefix: &str| vec![format!("{prefix}{SNAPSHOT}"), format!("{prefix}{UPDATE}\r")];
    let (_, _, records) = import(Exchange::Coinbase, &with("1618677817061845000 "));
    assert!(records.iter().all(|record| record.ts_recv_ns == 1_618_677_817_061_845_000));
    let (_, _, records) = import(Exchange::Coinbase, &with(""));
    assert_eq!(kinds(&records), "cllLlL");
    assert!(records.iter().all(|record| record.ts_recv_ns == ABSENT_TIME));
    let packed = Case::new().input("capture.gz", &gzip(with("").join("\n").as_bytes()));
    packed.import(true, importer(Exchange::Coinbase)).unwrap();
    assert_eq!(primaries(&packed.out()), records);
}

#[test]
fn a_new_connection_to_coinbase_begins_the_book_anew_and_shows_the_trades_that_were_missed() {
    let other = SNAPSHOT.replace("9.5", "8.5").replace("[\"9\",\"1.25\"]", "[\"8\",\"1\"]");
    let lines = coinbase(&[
        &coinbase_match("last_match", 6, 90),
        SNAPSHOT,
        &coinbase_match("match", 7, 100),
        &coinbase_match("match", 7, 100),
        &coinbase_match("last_match", 10, 120),
        &other,
        &coinbase_match("match", 11, 130),
        &coinbase_match("match", 14, 125),
    ]);
    let (case, imported, records) = import(Exchange::Coinbase, &lines);
    let trades: Vec<u64> = records.iter().map(|record| record.order_id).filter(|id| *id > 0).collect();
    assert_eq!(trades, [7, 11, 14], "a last match is none of the capture's");
    let odd = &imported.findings.odd;
    assert_eq!(odd["trades that are missing, by their ids"], 3 + 2);
    assert_eq!(odd["match whose trade_id came before: not told again"], 1);
    assert_eq!(odd["match whose sequence is smaller than the one before"], 1);
    assert_eq!(depths(&case, "A-B"), (2, 1));
}

#[test]
fn advanced_trades_messages_become_what_the_exchanges_do() {
    let lines = coinbase(&[
        &advanced("subscriptions", r#"{"subscriptions":{"level2":["BTC-USD"]}}"#),
        &advanced_levels("update", &[("bid", "1", "1")]),
        &advanced_levels(
            "snapshot",
            &[("offer", "21921.74", "0.5"), ("bid", "21921.73", "0.063"), ("bid", "21920", "2")],
        ),
        &advanced_trades("snapshot", &[12, 11, 10]),
        &advanced_levels("update", &[("bid", "21920", "0"), ("offer", "21921.75", "1")]),
        // The latest comes first.
        &advanced_trades("update", &[15, 14]),
        &advanced_trades("snapshot", &[18, 17]),
        &advanced(
            "heartbeats",
            r#"{"current_time":"2023-02-09 20:32:50 +0000 UTC","heartbeat_counter":"3049"}"#,
        ),
        &advanced("ticker", r#"{"type":"update","tickers":[]}"#),
        &advanced("user", "{}"),
    ]);
    let (case, imported, records) = import(Exchange::Coinbase, &lines);
    assert_eq!(kinds(&records), "cllLlLTT");
    let [clear, bid, _, ask, removed, added, first, second] = &records[..] else { panic!("{records:?}") };
    assert_eq!(clear.ts_event_ns, 1_675_974_770_714_964_855, "a snapshot is of when it was sent");
    assert_eq!((bid.side, bid.price, bid.quantity), (Side::Bid as u8, 2_192_173, 63));
    assert_eq!((ask.side, ask.price), (Side::Ask as u8, 2_192_174));
    assert_eq!(
        (removed.price, removed.quantity, removed.ts_event_ns),
        (2_192_000, 0, 1_675_974_770_500_000_000)
    );
    assert_eq!((added.side, added.ts_recv_ns), (Side::Ask as u8, 1_618_677_814_500_000_000));
    assert_eq!((first.order_id, second.order_id), (14, 15));
    assert_eq!(
        (first.side, first.ts_event_ns),
        (Side::Ask as u8, 1_675_974_770_250_000_000),
        "the maker bought"
    );
    assert_eq!(depths(&case, "BTC-USD"), (1, 2));
    let findings = &imported.findings;
    assert_eq!((imported.source_records, findings.damaged, findings.unknown["user"]), (9, 0, 1));
    assert_eq!(findings.odd["trades that are missing, by their ids"], 1 + 3);
    assert_eq!(findings.odd["update of a book before the snapshot of its product"], 1);
    assert_eq!((findings.left_out["snapshot of trades"], findings.left_out["heartbeats"]), (2, 1));

    for (bad, reason) in [
        (
            advanced_levels("replace", &[]),
            "an event of type \"replace\"; allowed: \"snapshot\" and \"update\"",
        ),
        (advanced_levels("snapshot", &[("ask", "1", "1")]), "side \"ask\"; allowed: \"bid\" and \"offer\""),
        (
            advanced_trades("update", &[1]).replace("BUY", "buy"),
            "side \"buy\"; allowed: \"BUY\" and \"SELL\"",
        ),
        (advanced_trades("update", &[1]).replace("000000001", "x1"), "trade_id \"x1\"; expected a number"),
    ] {
        let error = refusal(Exchange::Coinbase, &coinbase(&[&bad]));
        assert!(error.contains("line 1: ") && error.contains(reason), "{error}");
    }
}

#[test]
fn a_damaged_line_is_located_and_the_others_are_taken_in() {
    let good = coinbase(&[SNAPSHOT, UPDATE]);
    for (bad, reason) in [
        (
            "1618677812.5: {\"type\":\"l2upd",
            "not a message of the exchange: EOF while parsing a string at byte 14 of it",
        ),
        ("1618677812.5: {\"type\":5}", "invalid type"),
        ("1618677812.5: {}", "an object without \"type\" and \"channel\""),
        ("2021-04-17 hello", "starts with \"2021-04-17 hello\"; allowed: \"<seconds>: <json>\""),
        (
            &format!("1: {}", SNAPSHOT.replace("A-B", &"A".repeat(33))),
            "a symbol of 33 bytes; allowed: 1 to 32",
        ),
        (&format!("1: {}", UPDATE.replace("\"9\"", "\"nan\"")), "price \"nan\"; "),
        (&format!("1: {}", UPDATE.replace("\"9\"", "\"-9\"")), "price \"-9\"; allowed: 0 or more"),
        (&format!("1: {}", UPDATE.replace("\"4\"", "\"-4\"")), "quantity \"-4\"; allowed: 0 or more"),
        (&format!("1: {}", UPDATE.replace("\"4\"", "\"1e999\"")), "quantity \"1e999\"; "),
        (&format!("1: {}", UPDATE.replace("sell", "hold")), "side \"hold\"; allowed: \"buy\" and \"sell\""),
        (&format!("1: {}", UPDATE.replace("2021-04-17T", "yesterday")), "time \"yesterday16"),
        (
            &format!("1: {}", coinbase_match("match", 1, 1).replace(":1,", ":-1,")),
            "invalid value: integer `-1`",
        ),
    ] {
        let lines = [good[0].clone(), bad.to_owned(), good[1].clone()];
        let (case, imported, records) = import(Exchange::Coinbase, &lines);
        assert_eq!((kinds(&records), depths(&case, "A-B")), ("cllLlL".into(), (1, 2)), "{bad}");
        assert_eq!((imported.source_records, imported.findings.damaged), (2, 1));
        let damage = &imported.findings.damage[0];
        assert_eq!(damage.place, Place::Line(2));
        assert!(damage.problem.contains(reason), "{bad}: {damage}");
        let error = refusal(Exchange::Coinbase, &lines);
        assert!(error.contains("capture.log: line 2: ") && error.contains(reason), "{error}");
    }
}

#[test]
fn messages_of_other_types_are_counted_and_other_exchanges_refused() {
    let lines = coinbase(&[
        SNAPSHOT,
        r#"{"type":"auctionfeed"}"#,
        r#"{"type":"auctionfeed","price":1}"#,
        UPDATE,
        r#"{"type":"l2update","product_id":"C-D","changes":[]}"#,
    ]);
    let (_, imported, _) = import(Exchange::Coinbase, &lines);
    assert_eq!((imported.source_records, imported.findings.unknown["auctionfeed"]), (3, 2));
    assert_eq!(imported.findings.odd["update of a book before the snapshot of its product"], 1);
    for (exchange, reason) in [
        (Exchange::Kraken, "an object without \"channel\", \"method\" and \"event\""),
        (Exchange::Binance, "an object of none of the types that Binance documents"),
    ] {
        let case = Case::new().input("capture.log", coinbase(&[SNAPSHOT, UPDATE]).join("\n").as_bytes());
        let error = case.import(false, importer(exchange)).unwrap_err().to_string();
        assert!(error.contains("line 1: ") && error.contains(reason), "{error}");
        let expected = format!("no record of it could be taken, expected a capture of {exchange:?}: ");
        assert!(error.contains(&expected), "{error}");
    }
    let nothing = r#"{"error":"not found","code":404}"#;
    let case = Case::new().input("e.json", nothing.as_bytes());
    let error = case.import(false, importer(Exchange::Binance)).unwrap_err().to_string();
    assert!(
        error.contains(
            "e.json has only messages of types that are not known, such as \"refusal of a request\""
        ),
        "{error}"
    );
}

#[test]
fn a_kraken_update_has_one_or_both_sides_and_its_checksum_decides() {
    // CRC32 of "1010" "1000" "1020" "2000" "995" "500" "990" "3000", by Python's zlib.
    let both = r#"{"a":[["10.30","4.000","7.0"],["10.30","0.000","8.25"]]},{"b":[["9.95","0.500","8.125"]],"c":"CHECKSUM"}"#;
    let checksum = crc("10101000102020009955009903000");
    let good = both.replace("CHECKSUM", &checksum.to_string());
    let (case, imported, records) = import(Exchange::Kraken, &[kraken(WHOLE), kraken(&good)]);
    assert_eq!((kinds(&records), depths(&case, "A/B")), ("cllLllL".into(), (2, 2)));
    assert!(records[4..].iter().all(|record| record.ts_event_ns == 8_250_000_000), "the last change's time");
    assert!(imported.findings.notes[0].ends_with("checksums that agree with the books: 1"));

    let bad = both.replace("CHECKSUM", "12345");
    let lines = [kraken(WHOLE), kraken(&bad), kraken(&good), kraken(WHOLE), kraken(&good)];
    let (case, imported, records) = import(Exchange::Kraken, &lines);
    assert_eq!((kinds(&records), depths(&case, "A/B")), ("cllLCcllLllL".into(), (2, 2)));
    assert_eq!(imported.findings.damage[0].place, Place::Line(2));
    assert_eq!(imported.findings.odd["update of a book that is not known"], 1);
    let error = refusal(Exchange::Kraken, &lines);
    let expected = format!(
        "line 2: the checksum of A/B is 12345, that of its book {checksum}; the book is cleared until its next snapshot"
    );
    assert!(error.contains(&expected), "{error}");
}

fn crc(text: &str) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(text.as_bytes());
    crc.sum()
}

#[test]
fn what_falls_out_of_a_kraken_books_depth_is_removed() {
    let level = |price: u32| format!("[\"{price}\",\"1\",\"5.0\"]");
    let levels = |prices: std::ops::Range<u32>| prices.map(level).collect::<Vec<_>>().join(",");
    let whole = format!("{{\"as\":[{}],\"bs\":[{}]}}", levels(30..40), levels(10..20));
    let update = format!("{{\"a\":[{}],\"b\":[{}]}}", level(25), level(5));
    let (case, _, records) = import(Exchange::Kraken, &[kraken(&whole), kraken(&update)]);
    assert_eq!(depths(&case, "A/B"), (10, 10));
    let removed: Vec<_> = records
        .iter()
        .filter(|record| record.kind() == Some(PrimaryKind::Level) && record.quantity == 0)
        .map(|record| (record.side, record.price))
        .collect();
    assert_eq!(removed, [(1, 5), (2, 39)]);
    assert!(records[records.len() - 1].is_last());
    // One pair at two depths is two books.
    let other = kraken(&whole).replace("book-10", "book-25");
    let error = refusal(Exchange::Kraken, &[kraken(&whole), other]);
    assert!(error.contains("symbol \"A/B\" comes as book-10 and as book-25"), "{error}");
    let error = refusal(Exchange::Kraken, &[kraken(&whole).replace("book-10", "book-11")]);
    assert!(error.contains("a book of depth 11; allowed: 10, 25, 100, 500 and 1000"), "{error}");
}

#[test]
fn kraken_tells_trades_by_the_side_of_the_order_that_crossed() {
    let v1 = r#"1618678163.5: [337,[["5541.20000","0.15850568","1534614057.321597","s","l",""],["5541.3","2","1534614057.5","b","m",""]],"trade","XBT/USD"]"#;
    let v2 = r#"1618678164.5: {"channel":"trade","type":"update","data":[{"symbol":"XBT/USD","side":"buy","price":5542,"qty":40.0,"ord_type":"market","trade_id":4665906,"timestamp":"2023-09-25T07:49:37.708706Z"}]}"#;
    let before = v2.replace("update", "snapshot");
    let lines = [v1.to_owned(), before, v2.to_owned(), "1618678164.5: {\"event\":\"heartbeat\"}".to_owned()];
    let (_, imported, records) = import(Exchange::Kraken, &lines);
    assert_eq!((kinds(&records), imported.source_records), ("TTT".into(), 4));
    let sides: Vec<u8> = records.iter().map(|record| record.side).collect();
    assert_eq!(sides, [Side::Ask, Side::Bid, Side::Bid].map(|side| side as u8));
    assert_eq!((records[0].price, records[0].quantity), (55_412, 15_850_568));
    assert_eq!((records[0].ts_event_ns, records[2].order_id), (1_534_614_057_321_597_000, 4_665_906));
    assert_eq!(imported.findings.left_out["snapshot of trades"], 1);
    let error = refusal(Exchange::Kraken, &[v1.replace("\"s\"", "\"x\"")]);
    assert!(error.contains("side \"x\"; allowed: \"b\" and \"s\""), "{error}");
}

#[test]
fn krakens_example_of_version_2_has_its_documented_shape() {
    let snapshot = r#"{"channel":"book","type":"snapshot","data":[{"symbol":"MATIC/USD","bids":[{"price":0.5666,"qty":4831.75496356}],"asks":[{"price":0.5668,"qty":4410.79769741}],"checksum":CHECKSUM}]}"#;
    let checksum = crc("56684410797697415666483175496356").to_string();
    let (case, imported, _) = import(Exchange::Kraken, &[snapshot.replace("CHECKSUM", &checksum)]);
    assert_eq!((depths(&case, "MATIC/USD"), imported.findings.damaged), ((1, 1), 0));
    let error = refusal(Exchange::Kraken, &[snapshot.replace("CHECKSUM", "1")]);
    assert!(error.contains("the checksum of MATIC/USD is 1"), "{error}");
}

#[test]
fn trailing_zeros_that_a_recorder_dropped_are_put_back_for_krakens_checksum() {
    // Kraken writes quantities of 8 places; Python's json makes 0.10000000 0.1.
    let message = |kind: &str, bids: &str, checksum: u32| {
        format!(
            r#"{{"channel":"book","type":"{kind}","data":[{{"symbol":"BTC/USD","bids":[{bids}],"asks":[{{"price":45285.2,"qty":0.00100001}}],"checksum":{checksum}}}]}}"#
        )
    };
    let level = |qty: &str| format!(r#"{{"price":45283.0,"qty":{qty}}}"#);
    let snapshot = message("snapshot", &level("0.1"), crc("45285210000145283010000000"));
    let update = |checksum| message("update", &level("1e-05"), checksum);
    let good = update(crc("4528521000014528301000"));
    let (_, imported, _) = import(Exchange::Kraken, &[snapshot.clone(), good]);
    let notes = &imported.findings.notes;
    assert!(
        notes[0].ends_with("agree once trailing zeros are put back, which its recorder dropped: 2"),
        "{notes:?}"
    );
    // Where that does not help either, what may be wrong is said.
    let error = refusal(Exchange::Kraken, &[snapshot, update(1)]);
    assert!(
        error.contains("the checksum of BTC/USD is 1") && error.contains("a recorder that writes them anew")
    );
}

#[test]
fn a_kraken_update_of_version_2_is_held_against_its_checksum() {
    let message = |kind: &str, bids: &str, asks: &str, checksum: &str| {
        format!(
            r#"{{"channel":"book","type":"{kind}","data":[{{"symbol":"BTC/USD","bids":[{bids}],"asks":[{asks}],"checksum":{checksum},"timestamp":"2023-10-06T17:35:55.440295Z"}}]}}"#
        )
    };
    let level = |price: &str, quantity: &str| format!(r#"{{"price":{price},"qty":{quantity}}}"#);
    let snapshot = message(
        "snapshot",
        &level("45283.5", "0.10000000"),
        &[level("45285.2", "0.00100000"), level("45286.4", "1.54571953")].join(","),
        // The digits of 45285.2, 0.00100000, 45286.4, 1.54571953, 45283.5 and 0.10000000.
        &crc(&["452852", "100000", "452864", "154571953", "452835", "10000000"].concat()).to_string(),
    );
    let update =
        |checksum: &str| message("update", &level("45283.5", "0"), &level("45285.2", "0.00200000"), checksum);
    let agreed = crc(&["452852", "200000", "452864", "154571953"].concat()).to_string();
    let (case, imported, records) = import(Exchange::Kraken, &[snapshot.clone(), update(&agreed)]);
    assert_eq!((kinds(&records), depths(&case, "BTC/USD")), ("cllLlL".into(), (0, 2)));
    assert_eq!(records[5].ts_event_ns, 1_696_613_755_440_295_000);
    assert!(imported.findings.notes[0].ends_with("checksums that agree with the books: 2"));
    let error = refusal(Exchange::Kraken, &[snapshot, update("1")]);
    assert!(error.contains("line 2: the checksum of BTC/USD is 1, that of its book "), "{error}");
}

#[test]
fn a_symbol_is_never_empty() {
    let trade = binance_trade("trade", 1).replace("BTCUSDT", "");
    let match_ = coinbase(&[&coinbase_match("match", 1, 1).replace("A-B", "")]);
    for (exchange, lines) in [
        (Exchange::Binance, vec![binance_trade("trade", 1), trade]),
        (Exchange::Kraken, vec![kraken(WHOLE), kraken(WHOLE).replace("A/B", "")]),
        (Exchange::Coinbase, [coinbase(&[SNAPSHOT]), match_].concat()),
    ] {
        let error = refusal(exchange, &lines);
        assert!(error.contains("line 2: a symbol of 0 bytes; allowed: 1 to 32"), "{error}");
    }
}

#[test]
fn a_capture_of_nothing_is_noted() {
    let (_, imported, records) = import(Exchange::Coinbase, &coinbase(&[UPDATE]));
    assert_eq!((records.len(), imported.instruments), (0, 0));
    let notes = &imported.findings.notes;
    assert_eq!(notes[0], "nothing in the input is about an instrument: the feed file is empty");
}

#[test]
fn several_captures_are_merged_by_the_time_of_receipt() {
    let other = |json: &str| json.replace("A-B", "C-D");
    let (one, two) =
        (coinbase(&[SNAPSHOT, UPDATE]), coinbase(&[&other(UPDATE), &other(SNAPSHOT), &other(UPDATE)]));
    let case = Case::new().input("one", one.join("\n").as_bytes()).input("two", two.join("\n").as_bytes());
    let imported = case.import(true, importer(Exchange::Coinbase)).unwrap();
    assert_eq!((imported.source_records, imported.instruments), (5, 2));
    let records = primaries(&case.out());
    assert!(records.is_sorted_by_key(|record| record.ts_recv_ns));
    assert_eq!((depths(&case, "A-B"), depths(&case, "C-D")), ((1, 2), (1, 2)));
    // Spot and futures of one symbol are two books.
    let futures = spot(6, 9).replace("\"b\"", "\"pu\":5,\"b\"");
    let case = Case::new().input("spot", spot(1, 5).as_bytes()).input("futures", futures.as_bytes());
    let error = case.import(false, importer(Exchange::Binance)).unwrap_err().to_string();
    assert!(error.contains("symbol \"BTCUSDT\" comes as spot depth and as futures depth"), "{error}");
}

#[test]
fn lines_that_are_made_to_be_costly_cost_little_and_are_told_in_few_words() {
    let long = "x".repeat(300_000);
    let hostile = [
        "[".repeat(300_000),
        "{\"type\":".repeat(300_000),
        format!("{{\"type\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("{{\"e\":\"depthUpdate\",\"E\":1,\"s\":\"{long}\",\"U\":1,\"u\":1,\"b\":[],\"a\":[]}}"),
        format!("[1,{{\"as\":[[\"{long}\",\"1\",\"1\"]]}},\"book-10\",\"A/B\"]"),
        format!("[{}1]", "1,".repeat(100_000)),
        format!("{long} {{}}"),
    ];
    for exchange in EXCHANGES {
        let lines = [&samples(exchange)[..1], &hostile[..]].concat();
        let (_, imported, _) = import(exchange, &lines);
        assert_eq!(
            (imported.source_records, imported.findings.damaged),
            (1, hostile.len() as u64),
            "{imported:?}"
        );
        for (damage, line) in imported.findings.damage.iter().zip(2..) {
            assert_eq!(damage.place, Place::Line(line));
            assert!(damage.problem.len() < 500, "{damage}");
        }
        let names = [("type", "event"), ("e", "method")]
            .map(|(one, other)| format!("{{\"{one}\":\"{long}\",\"{other}\":\"{long}\"}}"));
        let (_, imported, _) = import(exchange, &[&samples(exchange)[..1], &names[..]].concat());
        assert!(imported.findings.unknown.keys().all(|name| name.len() < 60), "{imported:?}");
    }
}

#[test]
fn captures_as_other_programs_leave_them_are_whole() {
    for exchange in EXCHANGES {
        let text = samples(exchange).join("\n");
        let (_, whole, records) = import(exchange, &samples(exchange));
        let gzip_members =
            [gzip(&text.as_bytes()[..text.len() / 2]), gzip(&text.as_bytes()[text.len() / 2..])];
        for bytes in [
            format!("{text}\n").into_bytes(),
            text.replace('\n', "\r\n").into_bytes(),
            format!("\u{feff}{text}").into_bytes(),
            format!("\n{}\n\n", text.replace('\n', "\n\n")).into_bytes(),
            gzip_members.concat(),
            zstd::encode_all(text.as_bytes(), 3).unwrap(),
        ] {
            // The name says nothing of how it is packed.
            let case = Case::new().input("capture.txt", &bytes);
            let imported = case.import(false, importer(exchange)).unwrap();
            assert_eq!(primaries(&case.out()), records);
            assert_eq!(imported.findings.damaged, whole.findings.damaged);
        }
    }
}

#[test]
fn a_capture_cut_anywhere_gives_what_its_whole_lines_say() {
    for exchange in EXCHANGES {
        let text = samples(exchange).join("\n");
        let (_, whole, records) = import(exchange, &samples(exchange));
        for length in 1..text.len() {
            let cut = &text[..length];
            let case = Case::new().input("capture.log", cut.as_bytes());
            let lines = cut.lines().count() as u64;
            match case.import(false, importer(exchange)) {
                Ok(imported) => {
                    let told = kinds(&primaries(&case.out()));
                    assert!(kinds(&records).starts_with(&told), "{exchange:?} {length}: {told}");
                    assert!(imported.findings.damaged <= whole.findings.damaged + 1);
                }
                Err(error) => {
                    assert!(lines == 1 && error.to_string().contains("line 1: "), "{length}: {error}");
                }
            }
        }
    }
}

#[test]
fn packed_captures_that_are_cut_are_taken_in_up_to_the_cut() {
    let lines: Vec<String> = (0..400).map(|id| binance_trade("trade", 1 + id * id)).collect();
    let packed = gzip(lines.join("\n").as_bytes());
    let case = Case::new().input("cut.gz", &packed[..packed.len() * 2 / 3]);
    let imported = case.import(false, importer(Exchange::Binance)).unwrap();
    assert!((1..400).contains(&imported.source_records), "{imported:?}");
    assert_eq!(imported.findings.damage[0].place, Place::Line(imported.source_records + 1));
}

proptest! {
    #[test]
    fn any_lines_are_taken_or_refused(
        lines in proptest::collection::vec("[ -~]{0,60}|[0-9.]{1,25}:? [\\[{][ -~]{0,60}", 0..6), exchange in 0_usize..3
    ) {
        let case = Case::new().input("capture.log", lines.join("\n").as_bytes());
        let _ = case.import(false, importer(EXCHANGES[exchange]));
    }

    #[test]
    fn messages_with_anything_in_them_are_taken_or_refused(
        exchange in 0_usize..3, edits in proptest::collection::vec((any::<prop::sample::Index>(), "[-0-9a-z\\[\\]{}\",.]{0,3}"), 1..6)
    ) {
        let exchange = EXCHANGES[exchange];
        let mut text = samples(exchange).join("\n");
        for (at, with) in edits {
            let at = at.index(text.len());
            text.replace_range(at..at + 1, &with);
        }
        let case = Case::new().input("capture.log", text.as_bytes());
        let imported = case.import(false, importer(exchange));
        // The same file, refused as soon as anything is wrong with it.
        let strict = case.import(true, importer(exchange));
        prop_assert_eq!(strict.is_ok(), imported.is_ok_and(|imported| imported.findings.damaged == 0));
    }
}
