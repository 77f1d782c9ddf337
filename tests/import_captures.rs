//! Captures of exchanges' streams taken in: figures that another program computed from the same bytes.

mod common;
#[path = "common/feeds.rs"]
mod feeds;

use std::path::{Path, PathBuf};

use common::recorded;
use feeds::{Case, derived, primaries, report};
use tickcast::feed::Reader;
use tickcast::feed::import::capture::{self, Exchange};
use tickcast::feed::import::{Findings, ImportError, ImportOptions, Imported, Place};
use tickcast::feed::inspect::InstrumentReport;
use tickcast::model::{
    ABSENT_TIME, Catalog, Decimal, Deriver, L2Book, Primary, PrimaryKind, Side, primary_flags,
};

fn importer(
    exchange: Exchange,
) -> impl Fn(&[PathBuf], &Path, ImportOptions) -> Result<Imported, ImportError> {
    move |inputs, out, options| capture::import(exchange, inputs, out, options, &mut |_| {})
}

/// Takes these lines in; damage is tolerated.
fn import(exchange: Exchange, lines: &str) -> (Case, Imported) {
    let case = Case::new().input("capture.log", lines.as_bytes());
    let imported = case.import(false, importer(exchange)).unwrap();
    (case, imported)
}

/// Why lines are refused where no damage is tolerated.
fn refusal(exchange: Exchange, lines: &str) -> String {
    let case = Case::new().input("capture.log", lines.as_bytes());
    case.import(true, importer(exchange)).unwrap_err().to_string()
}

/// A real capture taken in, where it is there; it must be without damage.
fn real(exchange: Exchange, name: &str) -> Option<(Case, Imported)> {
    let path = recorded(&format!("ws/{name}"))?;
    let mut case = Case::new();
    case.inputs.push(path);
    let imported = case.import(true, importer(exchange)).unwrap();
    Some((case, imported))
}

/// `price x quantity` of the best bid and the best ask.
fn best(instrument: &InstrumentReport) -> String {
    let book = &instrument.book;
    let [bid, ask] = [&book.bids, &book.asks]
        .map(|levels| levels.first().map(|level| format!("{} x {}", level.price, level.quantity)));
    format!("{} / {}", bid.unwrap_or_default(), ask.unwrap_or_default())
}

/// The levels of a book, bids then asks, as `price x quantity`.
fn levels(case: &Case, symbol: &str) -> Vec<String> {
    let catalog = Reader::open(&case.out()).unwrap().catalog().clone();
    let id = catalog.find(symbol).unwrap();
    let instrument = catalog.get(id).unwrap();
    let (deriver, _) = derived(&case.out());
    let book: &L2Book = deriver.book(id);
    [Side::Bid, Side::Ask]
        .into_iter()
        .flat_map(|side| book.levels(side))
        .map(|level| {
            let price = Decimal::new(level.price, instrument.price_exponent);
            format!("{price} x {}", Decimal::new(level.quantity, instrument.quantity_exponent))
        })
        .collect()
}

/// Goes through a feed file: after each exchange event no book is crossed or locked, and none is deeper than its
/// instrument's depth. Gives the number of events.
fn check_books(path: &Path) -> u64 {
    let catalog = Reader::open(path).unwrap().catalog().clone();
    let mut deriver = Deriver::new(catalog.clone());
    let (mut derived, mut events) = (Vec::new(), 0);
    for primary in primaries(path) {
        deriver.apply(&primary, &mut derived).unwrap();
        derived.clear();
        if !primary.is_last() {
            continue;
        }
        events += 1;
        let book = deriver.book(primary.instrument);
        if let (Some(bid), Some(ask)) = (book.best(Side::Bid), book.best(Side::Ask)) {
            assert!(bid.price < ask.price, "crossed at {}: {bid:?} {ask:?}", primary.ts_recv_ns);
        }
        let depth = usize::from(catalog.get(primary.instrument).unwrap().book_depth);
        assert!(depth == 0 || book.depth(Side::Bid).max(book.depth(Side::Ask)) <= depth);
    }
    assert_eq!(deriver.inconsistencies(), 0);
    events
}

/// Receive times are there and never step back.
fn check_receive_times(records: &[Primary], first: u64, last: u64) {
    assert!(records.iter().all(|record| record.ts_recv_ns != ABSENT_TIME));
    assert!(records.is_sorted_by_key(|record| record.ts_recv_ns));
    assert!(records.first().unwrap().ts_recv_ns >= first && records.last().unwrap().ts_recv_ns <= last);
}

/// Identifiers of trades, in the order of the file.
fn trade_ids(records: &[Primary], instrument: u32) -> Vec<u64> {
    let trades = records.iter().filter(|record| record.kind() == Some(PrimaryKind::Trade));
    trades.filter(|trade| trade.instrument == instrument).map(|trade| trade.order_id).collect()
}

fn is_contiguous(ids: &[u64]) -> bool {
    ids.windows(2).all(|pair| pair[1] == pair[0] + 1)
}

/// Records that update the instrument's book, by exchange events.
fn updates(records: &[Primary], instrument: u32) -> usize {
    let of_book = records.iter().filter(|record| record.instrument == instrument && record.is_last());
    of_book
        .filter(|record| {
            record.kind() == Some(PrimaryKind::Level) && record.flags & primary_flags::SNAPSHOT == 0
        })
        .count()
}

fn count(findings: &Findings, name: &str) -> u64 {
    findings.left_out.get(name).copied().unwrap_or_default()
}

fn catalog(case: &Case) -> Catalog {
    Catalog::new(Reader::open(&case.out()).unwrap().catalog().instruments().to_vec()).unwrap()
}

#[test]
fn coinbases_books_and_trades_are_those_of_the_capture() {
    let Some((case, imported)) = real(Exchange::Coinbase, "coinbase_cryptofeed_20210417.log") else { return };
    assert_eq!((imported.source_records, imported.instruments), (9_946, 10));
    assert_eq!(imported.findings.unknown.len() + imported.findings.odd.len(), 0, "{:?}", imported.findings);
    for (name, expected) in [("last_match", 10), ("ticker", 107), ("subscriptions", 3)] {
        assert_eq!(count(&imported.findings, name), expected, "{name}");
    }
    // 10 snapshots, 9,719 updates, 97 matches; each is one exchange event.
    assert_eq!(check_books(&case.out()), 9_826);
    let (records, report) = (primaries(&case.out()), report(&case.out()));
    check_receive_times(&records, 1_618_677_817_061_845_000, 1_618_677_847_846_469_900);
    for (symbol, final_best, book_updates, matches, volume) in [
        ("BAND-BTC", "0.00033388 x 0.92 / 0.00033421 x 36.83", 1_005, 8, "210.6"),
        ("BAND-GBP", "14.7366 x 27.57 / 14.7664 x 12", 471, 4, "36"),
        ("CRV-EUR", "3.2956 x 96.95 / 3.301 x 97.66", 670, 0, "0"),
        ("DASH-BTC", "0.00619316 x 1.687 / 0.00619947 x 28.997", 1_925, 15, "15.755"),
        ("NMR-EUR", "66.9257 x 1.322 / 67.021 x 11.95", 665, 8, "4.761"),
        ("NU-GBP", "0.4388 x 242.89 / 0.4393 x 8208.213533", 76, 1, "805.131"),
        ("SKL-BTC", "0.00001303 x 1249.9 / 0.00001305 x 1817.4", 1_539, 8, "6763"),
        ("SKL-GBP", "0.5747 x 1028.6 / 0.5768 x 1735", 289, 1, "335"),
        ("SKL-USD", "0.7902 x 468 / 0.7911 x 450", 2_592, 52, "46731.3"),
        ("YFI-BTC", "0.82553 x 0.017061 / 0.82696 x 0.03", 487, 0, "0"),
    ] {
        let instrument = report.instruments.iter().find(|instrument| instrument.symbol == symbol).unwrap();
        assert_eq!(best(instrument), final_best, "{symbol}");
        assert_eq!((instrument.trades.count, &*instrument.trades.volume), (matches, volume), "{symbol}");
        assert_eq!(updates(&records, instrument.instrument), book_updates, "{symbol}");
        assert!(is_contiguous(&trade_ids(&records, instrument.instrument)), "{symbol}");
        let depths = (instrument.book.bid_levels, instrument.book.ask_levels);
        match symbol {
            "SKL-USD" => assert_eq!(depths, (816, 1_341)),
            "DASH-BTC" => assert_eq!(depths, (436, 541)),
            _ => {}
        }
    }
    // The seller's order rested (`side` is the maker's), so the buyer crossed; its time to the microsecond.
    let trade = records.iter().find(|record| record.order_id == 280_232).unwrap();
    assert_eq!((trade.side, trade.price, trade.quantity), (Side::Bid as u8, 1_305, 9_850));
    assert_eq!((trade.ts_event_ns, trade.ts_recv_ns), (1_618_677_817_089_723_000, 1_618_677_817_129_516_100));
}

#[test]
fn krakens_books_agree_with_every_checksum() {
    let Some((case, imported)) = real(Exchange::Kraken, "kraken_cryptofeed_20210417.log") else { return };
    assert_eq!((imported.source_records, imported.instruments), (4_321, 10));
    assert!(
        imported.findings.notes[0].ends_with(": checksums that agree with the books: 4269"),
        "{:?}",
        imported.findings
    );
    assert_eq!(count(&imported.findings, "subscriptionStatus"), 10);
    assert_eq!(check_books(&case.out()), 10 + 4_269);
    let (records, report) = (primaries(&case.out()), report(&case.out()));
    check_receive_times(&records, 1_618_678_132_825_818_800, 1_618_678_163_372_861_900);
    for (symbol, final_best, book_updates) in [
        ("XMR/USD", "353.64 x 30.3 / 354.48 x 6.86050247", 846),
        ("XBT/CHF", "56060.3 x 0.05804973 / 56194.2 x 0.017", 289),
        ("ADA/XBT", "0.00002288 x 11947.13445094 / 0.0000229 x 7200.50427342", 347),
        ("SC/EUR", "0.04307 x 5794.10440061 / 0.04317 x 20000", 818),
    ] {
        let instrument = report.instruments.iter().find(|instrument| instrument.symbol == symbol).unwrap();
        assert_eq!(best(instrument), final_best, "{symbol}");
        assert_eq!(updates(&records, instrument.instrument), book_updates, "{symbol}");
        assert_eq!(instrument.book_depth, 1_000);
    }
}

/// The same capture as version 2 of Kraken's interface would have it.
fn as_version_2(v1: &str) -> String {
    let mut lines = Vec::new();
    for line in v1.lines() {
        let Some((time, json)) = line.split_once(": [") else { continue };
        let message: serde_json::Value = serde_json::from_str(&format!("[{json}")).unwrap();
        let elements = message.as_array().unwrap();
        let symbol = elements.last().unwrap();
        let (mut bids, mut asks, mut checksum, mut kind) = (vec![], vec![], String::new(), "update");
        for part in &elements[1..elements.len() - 2] {
            for (key, value) in part.as_object().unwrap() {
                let levels = value.as_array().into_iter().flatten();
                let levels = levels.map(|level| {
                    format!(
                        "{{\"price\":{},\"qty\":{}}}",
                        level[0].as_str().unwrap(),
                        level[1].as_str().unwrap()
                    )
                });
                match key.as_str() {
                    "as" | "bs" => {
                        kind = "snapshot";
                        if key == "as" { asks.extend(levels) } else { bids.extend(levels) }
                    }
                    "a" => asks.extend(levels),
                    "b" => bids.extend(levels),
                    _ => checksum = format!(",\"checksum\":{}", value.as_str().unwrap()),
                }
            }
        }
        lines.push(format!(
            "{time}: {{\"channel\":\"book\",\"type\":\"{kind}\",\"data\":[{{\"symbol\":{symbol},\"bids\":[{}],\"asks\":[{}]{checksum},\"timestamp\":\"2021-04-17T16:48:53.384218Z\"}}]}}",
            bids.join(","),
            asks.join(",")
        ));
    }
    lines.join("\n")
}

#[test]
fn krakens_versions_tell_the_same_books() {
    let Some(path) = recorded("ws/kraken_cryptofeed_20210417.log") else { return };
    let v1 = std::fs::read_to_string(path).unwrap();
    let (one, _) = import(Exchange::Kraken, &v1);
    let (two, imported) = import(Exchange::Kraken, &as_version_2(&v1));
    assert!(
        imported.findings.notes[0].ends_with(": checksums that agree with the books: 4269"),
        "{:?}",
        imported.findings
    );
    let confirmed = "{\"method\":\"subscribe\",\"result\":{\"channel\":\"book\",\"depth\":1000,\"symbol\":\"XMR/USD\"},\"success\":true}\n";
    let (three, _) = import(Exchange::Kraken, &format!("{confirmed}{}", as_version_2(&v1)));
    for symbol in ["XMR/USD", "XBT/CHF", "ETH/CHF"] {
        assert_eq!(levels(&one, symbol), levels(&two, symbol), "{symbol}");
    }
    assert_eq!(levels(&one, "XMR/USD"), levels(&three, "XMR/USD"));
    let catalog = catalog(&three);
    assert_eq!(catalog.get(catalog.find("XMR/USD").unwrap()).unwrap().book_depth, 1_000);
}

/// Figures of a Binance capture: messages, exchange events of the book, levels of changes told, first and last trade,
/// volume, those whose buyer rested and how many, price x quantity of all at exponents -2 and -5 or -1 and -3.
struct BinanceFigures {
    name: &'static str,
    messages: u64,
    book_tickers: u64,
    trades: (u64, u64),
    volume: &'static str,
    sells: u64,
    notional: &'static str,
    final_best: &'static str,
    levels: (usize, usize),
    received: (u64, u64),
}

fn check_binance(expected: &BinanceFigures) {
    let Some((case, imported)) = real(Exchange::Binance, expected.name) else { return };
    assert_eq!((imported.source_records, imported.instruments), (expected.messages, 1));
    let findings = &imported.findings;
    assert_eq!(findings.unknown.len() + findings.odd.len() + findings.notes.len(), 0, "{findings:?}");
    assert_eq!(count(findings, "bookTicker"), expected.book_tickers);
    check_books(&case.out());
    let (records, report) = (primaries(&case.out()), report(&case.out()));
    check_receive_times(&records, expected.received.0, expected.received.1);
    let instrument = &report.instruments[0];
    assert_eq!((&*instrument.symbol, best(instrument)), ("BTCUSDT", expected.final_best.to_owned()));
    assert_eq!((instrument.book.bid_levels, instrument.book.ask_levels), expected.levels);
    assert_eq!(instrument.trades.volume, expected.volume);
    assert_eq!(instrument.trades.sell.count, expected.sells, "the buyer rested: the seller crossed");
    let ids = trade_ids(&records, 0);
    assert!(is_contiguous(&ids));
    assert_eq!((ids[0], ids[ids.len() - 1]), expected.trades);
    let trades = records.iter().filter(|record| record.kind() == Some(PrimaryKind::Trade));
    let notional: i64 = trades.map(|trade| trade.price * trade.quantity).sum();
    let exponent = instrument.price_exponent + instrument.quantity_exponent;
    assert_eq!(Decimal::new(notional, exponent).to_string(), expected.notional);
    // The book begins with the snapshot, which nobody waits for.
    let snapshot: Vec<_> =
        records.iter().filter(|record| record.flags & primary_flags::SNAPSHOT != 0).collect();
    assert_eq!((snapshot.len(), snapshot[0].kind()), (2_001, Some(PrimaryKind::Clear)));
}

#[test]
fn binances_spot_book_is_stitched_and_its_trades_are_all_there() {
    check_binance(&BinanceFigures {
        name: "binance_spot_btcusdt_20240808.gz",
        messages: 41_249,
        book_tickers: 28_040,
        trades: (3_735_683_259, 3_735_693_015),
        volume: "212.03315",
        sells: 5_654,
        notional: "13084074.1123886",
        final_best: "61685.99 x 1.0087 / 61686 x 2.29327",
        levels: (1_209, 2_196),
        received: (1_723_161_253_937_085_768, 1_723_161_599_999_231_384),
    });
}

#[test]
fn binances_futures_book_is_stitched_and_its_trades_are_all_there() {
    check_binance(&BinanceFigures {
        name: "binance_usdm_btcusdt_20240808.gz",
        messages: 93_954,
        book_tickers: 66_089,
        trades: (5_266_583_935, 5_266_605_247),
        volume: "2429.366",
        sells: 11_697,
        notional: "149845680.8898",
        final_best: "61659.7 x 1.486 / 61659.8 x 0.981",
        levels: (5_018, 4_578),
        received: (1_723_161_255_030_314_667, 1_723_161_599_833_492_584),
    });
}

#[test]
fn a_change_that_is_missing_from_a_real_book_is_located_and_the_book_is_not_told_on() {
    let Some(path) = recorded("ws/binance_spot_btcusdt_20240808.gz") else { return };
    let mut text = String::new();
    std::io::Read::read_to_string(
        &mut flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap()),
        &mut text,
    )
    .unwrap();
    let lines: Vec<&str> = text.lines().take(2_000).collect();
    let depths: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].contains("depthUpdate")).collect();
    let (missing, next) = (depths[20], depths[21]);
    let rest: Vec<&str> =
        lines.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, line)| *line).collect();
    let rest = rest.join("\n");
    let (case, imported) = import(Exchange::Binance, &rest);
    assert_eq!(imported.findings.damaged, 1);
    // The line after the missing one, counted from 1 without it.
    assert_eq!(imported.findings.damage[0].place, Place::Line(next as u64));
    assert!(levels(&case, "BTCUSDT").is_empty());
    let error = refusal(Exchange::Binance, &rest);
    assert!(error.contains("changes of the book of BTCUSDT are missing before this one (U "), "{error}");
}
