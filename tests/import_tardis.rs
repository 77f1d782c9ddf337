//! CSV files of Tardis taken in: figures known of real excerpts, grouping of rows, snapshots, decimals.

mod common;
#[path = "common/feeds.rs"]
mod feeds;

use std::path::{Path, PathBuf};

use common::recorded;
use feeds::{Case, derived, gzip, primaries, report};
use proptest::prelude::*;
use tickcast::feed::Reader;
use tickcast::feed::import::{ImportError, ImportOptions, Imported, Place, tardis};
use tickcast::model::{Body, Decimal, Primary, PrimaryKind, Side, primary_flags};

const LEVELS: &str = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n";
const TRADES: &str = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n";
const QUOTES: &str = "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount\n";

fn import(inputs: &[PathBuf], out: &Path, options: ImportOptions) -> Result<Imported, ImportError> {
    tardis::import(inputs, out, options, &mut |_| {})
}

/// A file of the shared recordings, taken in; `None` where they are not there.
fn real(name: &str) -> Option<(Case, Imported)> {
    let path = recorded(&format!("tardis/{name}.csv"))?;
    let case = Case::new().input("in.csv", &std::fs::read(path).unwrap());
    let imported = case.import(true, import).unwrap();
    Some((case, imported))
}

/// The best level of a side as people write it.
fn best(case: &Case, side: Side) -> (String, String) {
    let (deriver, _) = derived(&case.out());
    let best = deriver.book(0).best(side).unwrap();
    let reader = Reader::open(&case.out()).unwrap();
    let instrument = &reader.catalog().instruments()[0];
    (
        Decimal::new(best.price, instrument.price_exponent).to_string(),
        Decimal::new(best.quantity, instrument.quantity_exponent).to_string(),
    )
}

fn pair(price: &str, quantity: &str) -> (String, String) {
    (price.to_owned(), quantity.to_owned())
}

fn times(primaries: &[Primary]) -> (u64, u64) {
    let of = |primary: Option<&Primary>| primary.unwrap().ts_event_ns / 1_000;
    (of(primaries.first()), of(primaries.last()))
}

#[test]
fn real_levels() {
    let Some((case, imported)) = real("tardis_deribit_incremental_book_L2_BTC-PERPETUAL") else { return };
    assert_eq!((imported.source_records, imported.instruments), (15, 1));
    let primaries = primaries(&case.out());
    assert_eq!(primaries.len(), 16, "a clear first");
    assert_eq!(primaries[0].kind(), Some(PrimaryKind::Clear));
    assert!(primaries.iter().all(|primary| primary.flags & primary_flags::SNAPSHOT != 0));
    assert_eq!(primaries.iter().filter(|primary| primary.is_last()).count(), 1, "one message");
    assert_eq!(times(&primaries), (1_585_699_200_245_000, 1_585_699_200_245_000));
    assert_eq!(primaries[0].ts_recv_ns, 1_585_699_200_355_684_000);
    assert_eq!(best(&case, Side::Ask), pair("6421.5", "18640"));
    let report = report(&case.out());
    let perpetual = &report.instruments[0];
    assert_eq!(perpetual.symbol, "deribit:BTC-PERPETUAL");
    assert_eq!((perpetual.book.bid_levels, perpetual.book.ask_levels), (0, 15));
    assert_eq!(perpetual.channels, ["quotes", "book", "ticker"]);
    assert_eq!((perpetual.price_exponent, perpetual.quantity_exponent), (-1, 0));
}

#[test]
fn real_trades() {
    let Some((case, imported)) = real("tardis_bitmex_trades_XBTUSD") else { return };
    assert_eq!(imported.source_records, 10);
    assert_eq!(imported.findings.left_out["identifiers of trades that are no numbers"], 10);
    assert_eq!(times(&primaries(&case.out())), (1_583_020_803_145_000, 1_583_020_803_276_000));
    let trades = &report(&case.out()).instruments[0].trades;
    assert_eq!((trades.count, trades.volume.as_str(), trades.sell.count), (10, "2161", 10));
}

#[test]
fn real_quotes() {
    let Some((case, _)) = real("tardis_huobi-dm-swap_quotes_BTC-USD") else { return };
    assert_eq!(times(&primaries(&case.out())), (1_588_291_201_099_000, 1_588_291_201_814_000));
    assert_eq!(best(&case, Side::Bid), pair("8629.2", "847"));
    assert_eq!(best(&case, Side::Ask), pair("8629.3", "5411"));
    let reader = Reader::open(&case.out()).unwrap();
    assert_eq!(reader.catalog().instruments()[0].book_depth, 1);
}

#[test]
fn real_snapshots() {
    for (levels, last) in [(5, 1_598_918_404_284_000), (25, 0)] {
        let name = format!("tardis_binance-futures_book_snapshot_{levels}_BTCUSDT");
        let Some((case, imported)) = real(&name) else { return };
        assert_eq!((imported.source_records, imported.written.records), (10, 20 * levels));
        let primaries = primaries(&case.out());
        assert_eq!(times(&primaries).0, 1_598_918_403_696_000);
        if levels == 5 {
            assert_eq!(times(&primaries).1, last);
            assert_eq!(best(&case, Side::Ask), pair("11657.08", "1.393"));
            assert_eq!(best(&case, Side::Bid), pair("11657.07", "10.881"));
        }
        assert_eq!(primaries.iter().filter(|primary| primary.is_last()).count(), 10, "an event a row");
        let report = report(&case.out());
        let book = &report.instruments[0].book;
        assert_eq!((book.bid_levels, book.ask_levels), (levels as usize, levels as usize));
    }
}

#[test]
fn rows_of_one_message_are_one_event() {
    let rows = "x,A,1,10,false,bid,100,1\n\
                x,A,1,10,false,bid,101,1\n\
                x,A,1,11,false,bid,101,0\n\
                x,B,1,11,false,ask,7,1\n\
                x,B,2,12,false,ask,8,1\n";
    let case = Case::new().input("in.csv", format!("{LEVELS}{rows}").as_bytes());
    case.import(true, import).unwrap();
    let ends: Vec<bool> = primaries(&case.out()).iter().map(Primary::is_last).collect();
    assert_eq!(ends, [false, true, true, true, true]);
}

#[test]
fn a_snapshot_clears_what_stood_before() {
    let rows = "x,A,1,10,true,bid,100,1\n\
                x,A,1,10,true,ask,105,1\n\
                x,A,2,20,false,bid,101,4\n\
                x,A,3,30,true,bid,90,2\n\
                x,A,3,30,true,ask,95,3\n\
                x,A,4,40,false,ask,95,0\n";
    let case = Case::new().input("in.csv", format!("{LEVELS}{rows}").as_bytes());
    case.import(true, import).unwrap();
    let (deriver, _) = derived(&case.out());
    let levels = |side| deriver.book(0).levels(side).map(|level| level.price).collect::<Vec<_>>();
    assert_eq!((levels(Side::Bid), levels(Side::Ask)), (vec![90], vec![]));
    let clears = |primary: &&Primary| primary.kind() == Some(PrimaryKind::Clear);
    assert_eq!(primaries(&case.out()).iter().filter(clears).count(), 2);
}

#[test]
fn decimals_are_exact_and_as_many_as_are_needed() {
    let rows = "x,A,1,10,7,buy,0.1,1e-8\n\
                x,A,1,10,8,sell,123456789.25,20\n\
                x,A,1,10,,unknown,-3.50,2.5E1\n";
    let case = Case::new().input("in.csv", format!("{TRADES}{rows}").as_bytes());
    let imported = case.import(true, import).unwrap();
    assert!(imported.findings.left_out.is_empty());
    let reader = Reader::open(&case.out()).unwrap();
    let instrument = reader.catalog().instruments()[0].clone();
    assert_eq!((instrument.price_exponent, instrument.quantity_exponent), (-2, -8));
    let (_, events) = derived(&case.out());
    let trades: Vec<_> = events
        .iter()
        .filter_map(|event| match event.body() {
            Body::Trade(trade) => Some((trade.price, trade.quantity, trade.trade_id, trade.aggressor.name())),
            _ => None,
        })
        .collect();
    assert_eq!(
        trades,
        [(10, 1, 7, "buy"), (12_345_678_925, 2_000_000_000, 8, "sell"), (-350, 2_500_000_000, 0, "none")]
    );
}

#[test]
fn numbers_that_do_not_fit_beside_the_others_are_damage() {
    let rows = "x,A,1,10,,buy,0.000000000000000001,1\nx,A,1,10,,buy,1000,1\n";
    let case = Case::new().input("in.csv", format!("{TRADES}{rows}").as_bytes());
    let imported = case.import(false, import).unwrap();
    let damage = &imported.findings.damage[0];
    assert_eq!((imported.source_records, damage.place), (1, Place::Line(3)));
    assert!(damage.problem.contains("price \"1000\"; it does not fit in 64 bits"), "{damage}");
    // Only the second reading can tell: what it had begun to write goes away.
    assert!(case.import(true, import).is_err());
}

#[test]
fn empty_sides_are_no_levels() {
    let rows = "x,A,1,10,5,101,,\nx,A,2,20,,,100,4\n";
    let case = Case::new().input("in.csv", format!("{QUOTES}{rows}").as_bytes());
    case.import(true, import).unwrap();
    assert_eq!(best(&case, Side::Bid), pair("100", "4"));
    assert!(derived(&case.out()).0.book(0).best(Side::Ask).is_none());
}

#[test]
fn levels_and_trades_of_a_symbol_become_one_instrument() {
    let case = Case::new()
        .input(
            "levels.csv",
            format!("{LEVELS}x,A,1,10,true,bid,100,1\nx,A,1,30,false,bid,100,2\n").as_bytes(),
        )
        .input(
            "trades.csv.gz",
            &gzip(format!("{TRADES}x,A,2,20,1,sell,100.5,1\ny,A,2,40,1,buy,9,1\n").as_bytes()),
        );
    let imported = case.import(true, import).unwrap();
    assert_eq!(imported.instruments, 2);
    let kinds: Vec<_> = primaries(&case.out()).iter().map(|primary| primary.kind().unwrap()).collect();
    use PrimaryKind::{Clear, Level, Trade};
    assert_eq!(kinds, [Clear, Level, Trade, Level, Trade], "merged by the time they arrived");
    let report = report(&case.out());
    assert_eq!(report.instruments[0].symbol, "x:A");
    assert_eq!(report.instruments[0].channels, ["quotes", "trades", "book", "ticker", "bars"]);
    assert_eq!(report.instruments[1].channels, ["trades", "ticker", "bars"]);

    // Two that would both write the book.
    let case = case.input("quotes.csv", format!("{QUOTES}x,A,1,10,5,101,100,5\n").as_bytes());
    let error = case.import(false, import).unwrap_err().to_string();
    assert!(error.contains("symbol \"x:A\" comes as incremental_book_L2 and as quotes"), "{error}");
}

#[test]
fn symbols_that_are_too_long_end_as_theirs_do() {
    let row = |symbol: &str, at: u32| format!("huobi-dm-options,{symbol},1,{at},1,buy,1,1\n");
    let (call, put) = ("BTC-USDT-210625-C-100000-LONG", "BTC-USDT-210625-P-100000-LONG");
    let long = "y".repeat(257);
    let text = format!("{TRADES}{}{}{}{}", row(call, 1), row(put, 2), row("A B", 3), row(&long, 4));
    let case = Case::new().input("in.csv", text.as_bytes());
    let imported = case.import(false, import).unwrap();
    assert_eq!((imported.instruments, imported.findings.damaged), (3, 1));
    let reader = Reader::open(&case.out()).unwrap();
    let symbols: Vec<_> = reader.catalog().instruments().iter().map(|found| found.symbol.as_str()).collect();
    let expected =
        ["ns:BTC-USDT-210625-C-100000-LONG", "ns:BTC-USDT-210625-P-100000-LONG", "huobi-dm-options:A_B"];
    assert_eq!(symbols, expected);
}

#[test]
fn damaged_rows_are_left_out_and_located() {
    for (row, problem) in [
        ("x,A,1,10,false,bid,100", "7 fields; the header has 8"),
        ("x", "1 field; the header has 8"),
        ("x,A,1.5,10,false,bid,100,1", "timestamp \"1.5\"; expected microseconds since 1970"),
        ("x,A,1,-10,false,bid,100,1", "local_timestamp \"-10\"; expected microseconds since 1970"),
        (
            "x,A,99999999999999999,10,false,bid,100,1",
            "timestamp \"99999999999999999\"; expected microseconds since 1970",
        ),
        ("x,A,1,10,maybe,bid,100,1", "is_snapshot \"maybe\"; allowed: true and false"),
        ("x,A,1,10,false,buy,100,1", "side \"buy\"; allowed: bid and ask"),
        ("x,A,1,10,false,bid,NaN,1", "price \"NaN\"; expected a decimal number"),
        ("x,A,1,10,false,bid,100,-1", "quantity \"-1\"; allowed: 0 or more"),
        ("x,A,1,10,false,bid,1e999,1", "price \"1e999\"; expected a decimal number"),
        ("x,,1,10,false,bid,100,1", "exchange \"x\", symbol \"\"; allowed: a symbol, 256 bytes in all"),
        (
            "x,A,1,10,false,bid,-9223372036854775808,1",
            "price \"-9223372036854775808\"; it does not fit in 64 bits with the decimals of the others",
        ),
    ] {
        let text = format!("{LEVELS}x,A,1,10,false,bid,99,1\n{row}\nx,A,1,10,false,bid,98,1\n");
        let case = Case::new().input("in.csv", text.as_bytes());
        let imported = case.import(false, import).unwrap();
        let damage = &imported.findings.damage[0];
        assert_eq!((damage.place, damage.problem.as_str()), (Place::Line(3), problem), "{row}");
        assert_eq!((imported.source_records, imported.findings.damaged), (2, 1));
        assert!(case.import(true, import).is_err());
    }
}

#[test]
fn what_is_no_file_of_tardis_is_refused_by_name() {
    let derivative = "exchange,symbol,timestamp,local_timestamp,funding_timestamp,funding_rate\n";
    let options = "exchange,symbol,timestamp,local_timestamp,type,strike_price,expiration,open_interest,last_price,\
                   bid_price,bid_amount,bid_iv,ask_price,ask_amount,ask_iv\n";
    let zipped = "PK\x03\x04 and so on";
    for (name, text, named) in [
        ("in.csv", "", "in.csv is empty; expected a CSV file of Tardis"),
        (
            "in.csv",
            "34200.1,1,2,3,4,5\n",
            "starts with \"34200.1,1,2,3,4,\" and more; expected a CSV file of Tardis",
        ),
        ("in.csv", derivative, "the data type is derivative_ticker; allowed: incremental_book_L2"),
        ("in.csv", options, "the data type is options_chain; allowed: incremental_book_L2"),
        (
            "in.csv",
            "exchange,symbol,time\n",
            "starts with \"exchange,symbol,\" and more; expected a CSV file of Tardis",
        ),
        (
            "in.csv",
            "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price\n",
            "in.csv: the header lacks amount, needed for incremental_book_L2",
        ),
        (
            "in.csv",
            "symbol,timestamp,id,side,price\n",
            "lacks exchange, local_timestamp, amount, needed for trades",
        ),
        ("in.csv", zipped, "in.csv: the packing is zip; allowed: none, gzip and zstd"),
        ("x_liquidations_y.csv", TRADES, "the data type is liquidations; allowed: incremental_book_L2"),
    ] {
        let error = Case::new().input(name, text.as_bytes()).import(false, import).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
    // A day without data is an empty file, packed.
    let case = Case::new()
        .input("empty.csv.gz", &gzip(b""))
        .input("in.csv", format!("{TRADES}x,A,1,10,1,buy,1,1\n").as_bytes());
    let imported = case.import(true, import).unwrap();
    assert_eq!(
        (imported.source_records, imported.findings.notes),
        (1, vec!["empty.csv.gz has no rows".into()])
    );
}

#[test]
fn files_as_other_programs_leave_them_are_whole() {
    let whole = format!("{LEVELS}x,A,1,10,true,bid,100,1\nx,A,2,20,false,ask,105,2.5\n");
    let case = Case::new().input("in.csv", whole.as_bytes());
    case.import(true, import).unwrap();
    let expected = primaries(&case.out());
    for text in [
        whole.trim_end().to_owned(),
        whole.replace('\n', "\r\n"),
        format!("\u{feff}{whole}"),
        format!("\n{}\n", whole.replace('\n', "\n\n")),
    ] {
        let case = Case::new().input("in.csv", text.as_bytes());
        let imported = case.import(true, import).unwrap();
        assert_eq!(primaries(&case.out()), expected, "{text:?}");
        let noted =
            imported.findings.notes.iter().any(|note| note.contains("line 3 ends without a line end"));
        assert_eq!(noted, !text.ends_with('\n'), "{:?}", imported.findings);
    }
}

#[test]
fn a_file_cut_anywhere_gives_an_exact_prefix_and_the_place_of_the_cut() {
    let rows = "x,A,1,10,true,bid,100.25,13\nx,A,1,10,true,ask,105,14\nx,A,2,20,false,bid,101,456\n";
    let whole = format!("{LEVELS}{rows}");
    let case = Case::new().input("in.csv", whole.as_bytes());
    case.import(true, import).unwrap();
    let told = |case: &Case| {
        let exponent = Reader::open(&case.out())
            .unwrap()
            .catalog()
            .instruments()
            .first()
            .map_or(0, |found| found.price_exponent);
        let of = |primary: &Primary| {
            (primary.kind(), Decimal::new(primary.price, exponent).to_string(), primary.quantity)
        };
        primaries(&case.out()).iter().skip(1).map(of).collect::<Vec<_>>()
    };
    let expected = told(&case);
    for length in 1..whole.len() {
        std::fs::write(&case.inputs[0], &whole.as_bytes()[..length]).unwrap();
        let at_line_end = whole.as_bytes()[length - 1] == b'\n';
        match case.import(false, import) {
            Ok(imported) => {
                let taken = told(&case);
                let noted =
                    imported.findings.notes.iter().any(|note| note.contains("ends without a line end"));
                // Of a row with all its fields the last number may be cut, and then there is a note.
                let sure = taken.len() - usize::from(noted);
                assert_eq!(taken[..sure], expected[..sure], "cut at {length}");
                let is_whole = at_line_end || noted || length == LEVELS.len() - 1;
                assert_eq!(imported.findings.damaged == 0, is_whole, "cut at {length}");
                if let Some(damage) = imported.findings.damage.first() {
                    let line = 1 + whole[..length].matches('\n').count() as u64;
                    assert_eq!(damage.place, Place::Line(line), "cut at {length}");
                }
            }
            Err(error) => {
                assert!(error.to_string().contains("in.csv"), "{error}");
                assert!(length < LEVELS.len() + 30, "something was whole at {length}: {error}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), strict: bool) {
        let _ = Case::new().input("in.csv", &bytes).import(strict, import);
        for start in [
            format!("{LEVELS}x,A,1,10,true,bid,1,1\n"),
            format!("{TRADES}x,A,1,10,7,buy,1,1\n"),
            format!("{QUOTES}x,A,1,10,1,1,1,1\n"),
        ] {
            let case = Case::new().input("in.csv", &[start.as_bytes(), &bytes].concat());
            prop_assert!(strict || case.import(false, import).is_ok());
        }
    }

    #[test]
    fn any_rows_are_taken_or_refused(rows in "(x,[AB],[0-9]{1,3},[0-9]{1,2},(true|false),(bid|ask),[-0-9.eE]{0,9},[-0-9.eE]{0,9}\n){0,8}") {
        let case = Case::new().input("in.csv", format!("{LEVELS}x,A,1,10,true,bid,1,1\n{rows}").as_bytes());
        let imported = case.import(false, import).unwrap();
        prop_assert_eq!(imported.source_records + imported.findings.damaged, 1 + rows.lines().count() as u64);
    }
}

#[test]
fn symbols_that_cannot_stay_as_they_are_are_told_with_their_names() {
    let row = |symbol: &str| format!("x,{symbol},1,2,7,buy,1.5,2\n");
    let long = "A".repeat(40);
    let text = [TRADES.to_owned(), row("Ä1"), row("Ö1"), row("_1"), row(&long), row("plain")].concat();
    let case = Case::new().input("in.csv", text.as_bytes());
    let imported = case.import(true, import).unwrap();
    let reader = Reader::open(&case.out()).unwrap();
    let names: Vec<&str> = reader.catalog().instruments().iter().map(|one| &*one.symbol).collect();
    assert_eq!(names, ["instrument:0", "instrument:1", "instrument:2", &long[..32], "x:plain"]);
    let told = |symbol: &str, name: &str| format!("symbol {symbol:?} is {name} in the feed file");
    assert_eq!(
        imported.findings.notes,
        [
            told("x:Ä1", names[0]),
            told("x:Ö1", names[1]),
            told("x:_1", names[2]),
            told(&format!("x:{long}"), names[3])
        ]
    );
    // Of many so many are told, and how many more there are.
    let rows: String = (0..30).map(|number| row(&format!("{number} 0"))).collect();
    let case = Case::new().input("in.csv", (TRADES.to_owned() + &rows).as_bytes());
    let notes = case.import(true, import).unwrap().findings.notes;
    assert_eq!((notes.len(), &notes[0][..]), (17, "symbol \"x:0 0\" is x:0_0 in the feed file"));
    assert_eq!(notes[16], "further symbols that have another name in the feed file: 14");
}
