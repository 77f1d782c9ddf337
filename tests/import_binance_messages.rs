//! What becomes of each message of Binance's captures: stitching, partial depth, trades, answers over HTTP.

#[path = "common/captures.rs"]
mod captures;
#[path = "common/feeds.rs"]
mod feeds;

use captures::{
    SNAPSHOT, WHOLE, binance_trade, coinbase, depths, import, importer, kinds, kraken, refusal, snapshot,
    spot,
};
use feeds::{Case, derived};
use tickcast::feed::Reader;
use tickcast::feed::import::Place;
use tickcast::feed::import::capture::Exchange;
use tickcast::model::Side;

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
