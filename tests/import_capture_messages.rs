//! What becomes of each message of an exchange's capture, and of those that are damaged, missing, told twice or made up.

mod common;
#[path = "common/feeds.rs"]
mod feeds;

use std::path::{Path, PathBuf};

use feeds::{Case, derived, gzip, primaries};
use proptest::prelude::*;
use tickcast::feed::Reader;
use tickcast::feed::import::capture::{self, Exchange};
use tickcast::feed::import::{ImportError, ImportOptions, Imported, Place};
use tickcast::model::{ABSENT_TIME, Primary, PrimaryKind, Side, primary_flags};

const EXCHANGES: [Exchange; 3] = [Exchange::Coinbase, Exchange::Kraken, Exchange::Binance];

fn importer(
    exchange: Exchange,
) -> impl Fn(&[PathBuf], &Path, ImportOptions) -> Result<Imported, ImportError> {
    move |inputs, out, options| capture::import(exchange, inputs, out, options, &mut |_| {})
}

/// Takes lines in, what is damaged left out: the file, the report and the records.
fn import(exchange: Exchange, lines: &[String]) -> (Case, Imported, Vec<Primary>) {
    let case = Case::new().input("capture.log", lines.join("\n").as_bytes());
    let imported = case.import(false, importer(exchange)).unwrap();
    let records = primaries(&case.out());
    (case, imported, records)
}

/// Why lines are refused where no damage is tolerated.
fn refusal(exchange: Exchange, lines: &[String]) -> String {
    let case = Case::new().input("capture.log", lines.join("\n").as_bytes());
    case.import(true, importer(exchange)).unwrap_err().to_string()
}

/// The kinds of records, a letter each, upper case where an exchange event ends.
fn kinds(records: &[Primary]) -> String {
    let letter = |record: &Primary| {
        let name = record.kind().unwrap().name();
        let letter = name.chars().next().unwrap();
        if record.is_last() { letter.to_ascii_uppercase() } else { letter }
    };
    records.iter().map(letter).collect()
}

/// How many levels the book of an instrument has at the end, bids and asks.
fn depths(case: &Case, symbol: &str) -> (usize, usize) {
    let id = Reader::open(&case.out()).unwrap().catalog().find(symbol).unwrap();
    let (deriver, _) = derived(&case.out());
    (deriver.book(id).depth(Side::Bid), deriver.book(id).depth(Side::Ask))
}

/// Coinbase messages, one received each second.
fn coinbase(messages: &[&str]) -> Vec<String> {
    let received = messages.iter().enumerate();
    received.map(|(second, json)| format!("16186778{:02}.5: {json}", second + 10)).collect()
}

const SNAPSHOT: &str =
    r#"{"type":"snapshot","product_id":"A-B","bids":[["9.5","2"],["9","1.25"]],"asks":[["10","3"]]}"#;
const UPDATE: &str = r#"{"type":"l2update","product_id":"A-B","changes":[["buy","9","0.0"],["sell","10.5","4"]],"time":"2021-04-17T16:43:37.075687Z"}"#;

fn coinbase_match(kind: &str, id: u64, sequence: u64) -> String {
    format!(
        r#"{{"type":"{kind}","trade_id":{id},"side":"sell","size":"0.5","price":"10","product_id":"A-B","sequence":{sequence},"time":"2021-04-17T16:43:38.000000001Z"}}"#
    )
}

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

/// A message of Coinbase Advanced Trade with one event, as its documents show them.
fn advanced(channel: &str, event: &str) -> String {
    format!(
        r#"{{"channel":"{channel}","client_id":"","timestamp":"2023-02-09T20:32:50.714964855Z","sequence_num":0,"events":[{event}]}}"#
    )
}

fn advanced_levels(kind: &str, updates: &[(&str, &str, &str)]) -> String {
    let level = |(side, price, quantity): &(&str, &str, &str)| {
        let time = if kind == "snapshot" { "1970-01-01T00:00:00Z" } else { "2023-02-09T20:32:50.5Z" };
        format!(
            r#"{{"side":"{side}","event_time":"{time}","price_level":"{price}","new_quantity":"{quantity}"}}"#
        )
    };
    let updates: Vec<_> = updates.iter().map(level).collect();
    advanced(
        "l2_data",
        &format!(r#"{{"type":"{kind}","product_id":"BTC-USD","updates":[{}]}}"#, updates.join(",")),
    )
}

fn advanced_trades(kind: &str, ids: &[u64]) -> String {
    let trade = |id: &u64| {
        format!(
            r#"{{"trade_id":"{id:09}","product_id":"BTC-USD","price":"21921.75","size":"0.3","side":"BUY","time":"2023-02-09T20:32:50.25Z"}}"#
        )
    };
    let trades: Vec<_> = ids.iter().map(trade).collect();
    advanced("market_trades", &format!(r#"{{"type":"{kind}","trades":[{}]}}"#, trades.join(",")))
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

/// A Kraken message about the book of A/B, of depth 10.
fn kraken(parts: &str) -> String {
    format!("1618678163.5: [1664,{parts},\"book-10\",\"A/B\"]")
}

const WHOLE: &str =
    r#"{"as":[["10.10","1.000","5.0"],["10.20","2.000","6.5"]],"bs":[["9.90","3.000","4.0"]]}"#;

#[test]
fn a_kraken_update_has_one_or_both_sides_and_its_checksum_decides() {
    // CRC32 of "1010" "1000" "1020" "2000" "995" "500" "990" "3000", by Python's zlib.
    let both = r#"{"a":[["10.30","4.000","7.0"],["10.30","0.000","8.25"]]},{"b":[["9.95","0.500","8.125"]],"c":"CHECKSUM"}"#;
    let checksum = crc("10101000102020009955009903000");
    let good = both.replace("CHECKSUM", &checksum.to_string());
    let (case, imported, records) = import(Exchange::Kraken, &[kraken(WHOLE), kraken(&good)]);
    assert_eq!((kinds(&records), depths(&case, "A/B")), ("cllLllL".into(), (2, 2)));
    assert!(records[4..].iter().all(|record| record.ts_event_ns == 8_250_000_000), "the last change's time");
    assert!(imported.findings.notes[0].ends_with("1 checksums agree with the books"));

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
    assert!(imported.findings.notes[0].ends_with("2 checksums agree with the books"));
    let error = refusal(Exchange::Kraken, &[snapshot, update("1")]);
    assert!(error.contains("line 2: the checksum of BTC/USD is 1, that of its book "), "{error}");
}

fn spot(first: u64, last: u64) -> String {
    format!(
        r#"1723161253937085768 {{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":{first},"u":{last},"b":[["{last}.0","1"]],"a":[]}}"#
    )
}

fn snapshot(last: u64) -> String {
    format!(r#"1723161254206652067 {{"lastUpdateId":{last},"bids":[["1.5","1"]],"asks":[["90000.0","2"]]}}"#)
}

fn binance_trade(kind: &str, id: u64) -> String {
    let key = if kind == "trade" { "t" } else { "a" };
    format!(
        r#"1723161254206652068 {{"stream":"btcusdt@x","data":{{"e":"{kind}","E":1723161255343,"s":"BTCUSDT","{key}":{id},"p":"7.5","q":"0.25","T":1723161255342123,"m":true}}}}"#
    )
}

#[test]
fn a_binance_book_begins_with_a_snapshot_wherever_it_stands() {
    let (case, _, records) = import(Exchange::Binance, &[spot(1, 5), spot(6, 9), snapshot(5), spot(10, 12)]);
    assert_eq!(kinds(&records), "clLLL");
    assert_eq!(depths(&case, "BTCUSDT"), (3, 1));
    assert!(
        records.iter().take(4).all(|record| record.ts_recv_ns == 1_723_161_254_206_652_067),
        "known since then"
    );
    assert_eq!(records[3].ts_event_ns, 1_723_161_255_208_000_000);
    // First of all lines, and of a recorder that names the symbol.
    let (_, _, first) = import(Exchange::Binance, &[snapshot(5), spot(6, 9), spot(10, 12)]);
    assert_eq!(kinds(&first), "clLLL");
    let named = snapshot(5).replace("\"lastUpdateId\"", "\"symbol\":\"BTCUSDT\",\"lastUpdateId\"");
    let (_, _, named) = import(Exchange::Binance, &[named, spot(6, 9), spot(10, 12)]);
    assert_eq!(named, first);
}

#[test]
fn a_binance_book_whose_chain_breaks_is_cleared_until_the_next_snapshot() {
    let lines = [
        snapshot(5),
        spot(6, 9),
        spot(11, 12),
        spot(13, 15),
        snapshot(12),
        spot(16, 17),
        snapshot(17),
        spot(14, 16),
    ];
    let (case, imported, records) = import(Exchange::Binance, &lines);
    assert_eq!(kinds(&records), "clLLCclLLL");
    assert_eq!(depths(&case, "BTCUSDT"), (3, 1));
    assert_eq!((imported.findings.damaged, imported.findings.damage[0].place), (1, Place::Line(3)));
    assert_eq!(imported.findings.left_out["snapshot of a book that is known"], 1);
    assert_eq!(imported.findings.left_out["depthUpdate that the book had already"], 1);
    let futures = |first: u64, last: u64, previous: u64| {
        spot(first, last).replace("\"b\"", &format!("\"pu\":{previous},\"b\""))
    };
    let lines =
        [futures(10, 15, 8), futures(18, 20, 15), snapshot(16), futures(30, 31, 20), futures(40, 41, 32)];
    let error = refusal(Exchange::Binance, &lines);
    assert!(
        error.contains("line 5: changes of the book of BTCUSDT are missing before this one (pu 32)"),
        "{error}"
    );
    let error = refusal(Exchange::Binance, &[spot(10, 12), snapshot(5)]);
    assert!(error.contains("line 2: lastUpdateId 5 of this snapshot of BTCUSDT is too old: the changes that wait for one begin with U 10"), "{error}");
    let error = refusal(Exchange::Binance, &[spot(10, 9)]);
    assert!(error.contains("U 10 and u 9; U is at most u"), "{error}");
    let (_, imported, records) = import(Exchange::Binance, &[spot(10, 12), binance_trade("trade", 1)]);
    assert_eq!(kinds(&records), "T");
    assert!(
        imported.findings.notes[0]
            .ends_with("BTCUSDT: no snapshot came that changes of its book go on from: 1 are left out")
    );
}

#[test]
fn a_binance_snapshot_without_a_symbol_is_refused_where_there_are_two() {
    let other = spot(1, 2).replace("BTCUSDT", "ETHUSDT");
    for lines in [
        [spot(1, 5), snapshot(5), other.clone()],
        [spot(1, 5), other.clone(), snapshot(5)],
        [snapshot(5), other, spot(6, 7)],
    ] {
        let case = Case::new().input("two.log", lines.join("\n").as_bytes());
        let error = case.import(false, importer(Exchange::Binance)).unwrap_err().to_string();
        assert!(error.contains("two.log: a snapshot that does not say its symbol is in line "), "{error}");
        assert!(
            error.contains(
                "beside messages of BTCUSDT and ETHUSDT; allowed: such snapshots in a capture of one symbol"
            ),
            "{error}"
        );
    }
}

#[test]
fn binances_trades_are_told_once() {
    let trades = |kind, ids: &[u64]| ids.iter().map(|id| binance_trade(kind, *id)).collect::<Vec<_>>();
    let (_, imported, records) =
        import(Exchange::Binance, &[trades("aggTrade", &[100]), trades("trade", &[7, 8, 8, 12])].concat());
    assert_eq!(records.iter().map(|record| record.order_id).collect::<Vec<_>>(), [7, 8, 12]);
    assert_eq!(imported.findings.left_out["aggTrade beside trade"], 1);
    assert_eq!(imported.findings.odd["trades that are missing, by their ids"], 3);
    assert_eq!(imported.findings.odd["trade whose id came before: not told again"], 1);
    let trade = records[0];
    assert_eq!((trade.side, trade.price, trade.quantity), (Side::Ask as u8, 75, 25));
    assert_eq!(trade.ts_event_ns, 1_723_161_255_342_123_000, "Binance may say microseconds");
    let (_, imported, records) = import(Exchange::Binance, &trades("aggTrade", &[100, 101]));
    assert_eq!((kinds(&records), imported.findings.left_out.len()), ("TT".into(), 0));
    let nothing = binance_trade("trade", 2).replace("0.25", "0");
    let (_, imported, records) = import(Exchange::Binance, &[binance_trade("trade", 1), nothing]);
    assert_eq!((kinds(&records), imported.findings.left_out["trade of nothing"]), ("T".into(), 1));
}

#[test]
fn binances_other_messages_are_counted() {
    let lines = [
        spot(1, 5),
        snapshot(5),
        r#"1723161254206652068 {"u":400,"s":"BTCUSDT","b":"25","B":"3","a":"26","A":"4"}"#.to_owned(),
        r#"1723161254206652068 {"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":400,"s":"BTCUSDT","b":"25","B":"3","a":"26","A":"4"}}"#.to_owned(),
        r#"1723161254206652068 {"stream":"btcusdt@kline_1m","data":{"e":"kline","s":"BTCUSDT","k":{"x":[1,2,{}]}}}"#.to_owned(),
        r#"1723161254206652068 {"e":"contractInfo","s":"BTCUSDT"}"#.to_owned(),
        r#"1723161254206652068 {"result":null,"id":1}"#.to_owned(),
        r#"1723161254206652068 {"code":-1003,"msg":"Too many requests"}"#.to_owned(),
    ];
    let (_, imported, records) = import(Exchange::Binance, &lines);
    assert_eq!((kinds(&records), imported.source_records, imported.findings.damaged), ("clL".into(), 6, 0));
    assert_eq!(imported.findings.left_out["bookTicker"], 2);
    let unknown: Vec<_> =
        imported.findings.unknown.iter().map(|(name, count)| format!("{name} {count}")).collect();
    assert_eq!(unknown, ["contractInfo 1", "refusal of a request 1"]);
}

/// Partial depth in the envelope of a combined stream, as on the spot market and as on the futures'.
fn partial_depth(stream: &str, bids: &str, asks: &str) -> [String; 2] {
    let spot = format!(r#"{{"lastUpdateId":160,"bids":{bids},"asks":{asks}}}"#);
    let futures = format!(
        r#"{{"e":"depthUpdate","E":1571889248277,"T":1571889248276,"s":"BTCUSDT","U":390497796,"u":390497878,"pu":390497794,"b":{bids},"a":{asks}}}"#
    );
    [spot, futures].map(|data| format!(r#"1723161254206652068 {{"stream":"{stream}","data":{data}}}"#))
}

#[test]
fn binances_partial_depth_restates_the_best_levels() {
    let first = partial_depth("btcusdt@depth5@100ms", r#"[["99.5","1"],["99","2"]]"#, r#"[["100","3"]]"#);
    let second =
        partial_depth("btcusdt@depth5@100ms", r#"[["99","4"]]"#, r#"[["100","3"],["101.25","0.5"]]"#);
    for (first, second, event_ns) in [
        (&first[0], &second[0], 1_723_161_254_206_652_068),
        (&first[1], &second[1], 1_571_889_248_276_000_000),
    ] {
        let lines = [first.clone(), second.clone(), binance_trade("trade", 1)];
        let (case, imported, records) = import(Exchange::Binance, &lines);
        assert_eq!(kinds(&records), format!("{}T", "tttttttttT".repeat(2)));
        assert_eq!(
            (imported.instruments, imported.findings.damaged, records[0].ts_event_ns),
            (1, 0, event_ns)
        );
        let (deriver, _) = derived(&case.out());
        let levels = |side| deriver.book(0).levels(side).map(|level| (level.price, level.quantity));
        assert_eq!(levels(Side::Bid).collect::<Vec<_>>(), [(9_900, 400)]);
        assert_eq!(levels(Side::Ask).collect::<Vec<_>>(), [(10_000, 300), (10_125, 50)]);
        let reader = Reader::open(&case.out()).unwrap();
        let instrument = &reader.catalog().instruments()[0];
        assert_eq!((instrument.symbol.as_str(), instrument.book_depth), ("BTCUSDT", 5));

        // The changes of the whole book are better, wherever they begin.
        let lines = [first.clone(), spot(1, 5), snapshot(5), second.clone(), spot(6, 7)];
        if first.contains("lastUpdateId") {
            let (case, imported, records) = import(Exchange::Binance, &lines);
            assert_eq!(kinds(&records), "clLL");
            assert_eq!(imported.findings.left_out["depth5, depth10 or depth20 beside depthUpdate"], 2);
            assert_eq!(Reader::open(&case.out()).unwrap().catalog().instruments()[0].book_depth, 0);
        }
    }
    let many = partial_depth("btcusdt@depth5", &format!("[{}]", [r#"["1","1"]"#; 6].join(",")), "[]");
    let error = refusal(Exchange::Binance, &many[..1]);
    assert!(error.contains("6 levels a side; depth5 has at most 5"), "{error}");

    // Without the envelope nothing says whose they are.
    let (_, imported, records) = import(Exchange::Binance, &[snapshot(5), snapshot(6)]);
    assert!(records.is_empty());
    let note = &imported.findings.notes[1];
    assert!(note.ends_with("snapshots of which none says its symbol, from line 1 on, and nothing else does: they are left out"), "{note}");
}

#[test]
fn answers_over_http_say_whose_snapshot_they_are() {
    let bare = |line: String| line.split_once(' ').unwrap().1.to_owned();
    let answer = |symbol: &str, json: String| {
        format!(
            "https://www.binance.com/api/v1/depth?symbol={symbol}&limit=5000 -> 1723161254.25: {}",
            bare(json)
        )
    };
    let other = |line: String| line.replace("BTCUSDT", "XMRBTC");
    let lines = [
        "https://api.binance.com/api/v3/exchangeInfo -> 1723161254.0: [{}]".to_owned(),
        spot(1, 5),
        answer("BTCUSDT", snapshot(5)),
        other(spot(11, 15)),
        answer("XMRBTC", snapshot(15)),
        spot(6, 9),
        other(spot(16, 19)),
    ];
    let (case, imported, records) = import(Exchange::Binance, &lines);
    assert_eq!((kinds(&records), imported.findings.damaged), ("clLclLLL".into(), 0));
    assert_eq!((depths(&case, "BTCUSDT"), depths(&case, "XMRBTC")), ((2, 1), (2, 1)));
    assert_eq!(records[0].ts_recv_ns, 1_723_161_254_250_000_000);
    assert_eq!(imported.findings.left_out["answer over HTTP"], 1);
    for (exchange, whole) in
        [(Exchange::Coinbase, coinbase(&[SNAPSHOT])), (Exchange::Kraken, vec![kraken(WHOLE)])]
    {
        let lines =
            [vec!["https://x.com/products -> 1618677816.84: [{\"id\":1}]".to_owned()], whole].concat();
        let (_, imported, records) = import(exchange, &lines);
        assert_eq!((records.len(), imported.findings.damaged), (4, 0));
        assert_eq!(imported.findings.left_out["answer over HTTP"], 1);
    }
}

#[test]
fn what_has_no_time_has_that_of_the_message_before() {
    let bare = |line: String| line.split_once(' ').unwrap().1.to_owned();
    // 2024-08-08T23:54:15.208Z is the time of the changes, the first that anybody tells.
    let changes_ns = 1_723_161_255_208_000_000;
    for lines in [[spot(1, 5), snapshot(5), spot(6, 9)], [snapshot(5), spot(1, 5), spot(6, 9)]] {
        let (_, _, records) = import(Exchange::Binance, &lines.map(bare));
        assert_eq!(kinds(&records), "clLL");
        assert!(records.iter().all(|record| record.ts_event_ns == changes_ns), "{records:?}");
    }
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

/// A few lines of each exchange, whole.
fn samples(exchange: Exchange) -> Vec<String> {
    match exchange {
        Exchange::Coinbase => coinbase(&[
            SNAPSHOT,
            UPDATE,
            &coinbase_match("match", 1, 1),
            &coinbase_match("last_match", 3, 3),
            &advanced_levels("snapshot", &[("bid", "1", "2"), ("offer", "2.5", "3")]),
            &advanced_levels("update", &[("offer", "2.5", "0")]),
            &advanced_trades("update", &[6, 5]),
        ]),
        Exchange::Kraken => vec![
            kraken(WHOLE),
            kraken(r#"{"a":[["10.10","0.500","5.0"]],"c":"1"}"#),
            r#"1618678164.5: {"channel":"book","type":"snapshot","data":[{"symbol":"C/D","bids":[{"price":1.25,"qty":2}],"asks":[]}]}"#.to_owned(),
            r#"1618678163.5: [3,[["5.2","0.5","15.5","s","l",""]],"trade","A/B"]"#.to_owned(),
        ],
        Exchange::Binance => vec![spot(1, 5), snapshot(3), spot(6, 7), binance_trade("trade", 1), binance_trade("aggTrade", 1), spot(9, 9)],
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
