//! LOBSTER files taken in: figures that another program computed from the same rows, with and without the order book.

mod common;
#[path = "common/feeds.rs"]
mod feeds;

use std::path::{Path, PathBuf};

use common::recorded;
use feeds::{Case, derived, gzip, primaries, report};
use proptest::prelude::*;
use tickcast::feed::Reader;
use tickcast::feed::import::{ImportError, ImportOptions, Imported, Place, lobster};
use tickcast::model::{Body, Primary, PrimaryKind, Quote, Side, Status, primary_flags};
use time::{Date, Month};

const MESSAGES: &str = "AAPL_2012-06-21_34200000_57600000_message_2.csv";
const BOOK: &str = "AAPL_2012-06-21_34200000_57600000_orderbook_2.csv";
/// Midnight of 2012-06-21 in New York, which has daylight saving time then: nanoseconds since the Unix epoch.
const MIDNIGHT_NS: u64 = 1_340_251_200_000_000_000;
const DISAGREES: &str = "messages that do not make the order book's next row of the one before";

fn import(inputs: &[PathBuf], out: &Path, options: ImportOptions) -> Result<Imported, ImportError> {
    lobster::import(inputs, out, lobster::Given::default(), options, &mut |_| {})
}

/// A book of two levels that an order joins, is partly cancelled and filled, and leaves.
const SMALL: [(&str, &str); 7] = [
    ("34200.000000001,1,11,100,5850000,1", "5860000,10,5850000,100,5870000,20,5840000,30"),
    ("34200.1,2,11,40,5850000,1", "5860000,10,5850000,60,5870000,20,5840000,30"),
    ("34200.1,4,11,60,5850000,1", "5860000,10,5840000,30,5870000,20,5830000,7"),
    ("34200.2,5,0,5,5855000,-1", "5860000,10,5840000,30,5870000,20,5830000,7"),
    ("34200.3,3,9,10,5860000,-1", "5870000,20,5840000,30,9999999999,0,5830000,7"),
    ("34200.4,7,0,0,-1,-1", "5870000,20,5840000,30,9999999999,0,5830000,7"),
    ("34200.5,6,-1,500,5865000,-1", "5870000,20,5840000,30,9999999999,0,5830000,7"),
];

fn lines(lines: impl Iterator<Item = &'static str>) -> Vec<u8> {
    lines.flat_map(|line| [line, "\n"]).collect::<String>().into_bytes()
}

fn messages() -> Vec<u8> {
    lines(SMALL.iter().map(|(message, _)| *message))
}

fn book() -> Vec<u8> {
    lines(SMALL.iter().map(|(_, row)| *row))
}

/// Every record's kind, side, price and quantity, and whether its event ends.
fn told(path: &Path) -> Vec<(PrimaryKind, u8, i64, i64, bool)> {
    let of = |primary: &Primary| {
        (primary.kind().unwrap(), primary.side, primary.price, primary.quantity, primary.is_last())
    };
    primaries(path).iter().map(of).collect()
}

#[test]
fn apple_with_its_order_book_gives_the_known_figures() {
    let Some(path) = recorded("lobster/AAPL_2012-06-21_first999_message_10.csv") else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.feed");
    let imported = import(std::slice::from_ref(&path), &out, ImportOptions { strict: true }).unwrap();
    assert_eq!((imported.source_records, imported.instruments), (999, 1));
    assert!(imported.findings.odd.is_empty(), "998 of 998 rows follow: {:?}", imported.findings);

    let primaries = primaries(&out);
    let of = |letter: u8, kind| {
        let found = primaries
            .iter()
            .filter(|primary| primary.count == u32::from(letter) && primary.kind() == Some(kind));
        let sum: i64 = found.clone().map(|primary| primary.quantity).sum();
        let notional: i64 = found.clone().map(|primary| primary.quantity * primary.price).sum();
        (found.count(), sum, notional)
    };
    use PrimaryKind::{Fill, Note, Trade};
    assert_eq!((of(b'1', Note).0, of(b'2', Note).0, of(b'3', Note).0), (471, 0, 369));
    assert_eq!(of(b'4', Trade), (98, 4_730, 27_695_815_400));
    assert_eq!(of(b'4', Fill), of(b'4', Trade));
    assert_eq!((of(b'5', Trade).0, of(b'5', Trade).1), (61, 5_862));
    assert_eq!(primaries[0].ts_event_ns, MIDNIGHT_NS + 34_200_004_241_176);
    assert_eq!(primaries.last().unwrap().ts_event_ns, MIDNIGHT_NS + 34_249_086_375_027);
    assert!(primaries.is_sorted_by_key(|primary| primary.ts_event_ns));

    let report = report(&out);
    let apple = &report.instruments[0];
    assert_eq!((apple.symbol.as_str(), apple.book_depth, report.inconsistencies), ("AAPL", 10, 0));
    assert_eq!(apple.channels, ["quotes", "trades", "book", "ticker", "bars", "status"]);
    assert_eq!((apple.trades.count, apple.trades.volume.as_str()), (159, "10592"));

    // After each message the book that everybody sees is the row.
    let rows =
        std::fs::read_to_string(path.with_file_name("AAPL_2012-06-21_first999_orderbook_10.csv")).unwrap();
    let mut rows = rows.lines();
    let mut deriver = tickcast::model::Deriver::new(Reader::open(&out).unwrap().catalog().clone());
    let (mut events, mut messages) = (Vec::new(), 0);
    for primary in &primaries {
        deriver.apply(primary, &mut events).unwrap();
        if primary.is_last() && primary.flags & primary_flags::SNAPSHOT == 0 {
            let row: Vec<i64> = rows.next().unwrap().split(',').map(|field| field.parse().unwrap()).collect();
            for (side, at) in [(Side::Ask, 0), (Side::Bid, 2)] {
                let levels: Vec<_> =
                    deriver.book(0).levels(side).map(|level| (level.price, level.quantity)).collect();
                let expected: Vec<_> = row.chunks(4).map(|level| (level[at], level[at + 1])).collect();
                assert_eq!(levels, expected, "after message {messages}");
            }
            let quote = deriver.quote(0);
            assert!(quote.bid < quote.ask);
            messages += 1;
        }
    }
    assert_eq!((messages, rows.next()), (999, None));
    let last = Quote { bid: 5_853_500, bid_quantity: 18, ask: 5_857_100, ask_quantity: 100 };
    assert_eq!(deriver.quote(0), last);
}

#[test]
fn apple_without_its_order_book_is_orders() {
    let Some(path) = recorded("lobster/AAPL_2012-06-21_first999_message_10.csv") else { return };
    let case = Case::new().input(MESSAGES, &std::fs::read(path).unwrap());
    let imported = case.import(true, import).unwrap();
    let odd: Vec<_> = imported.findings.odd.iter().map(|(what, count)| (*what, *count)).collect();
    assert_eq!(odd, [("references to orders that were never added, or are gone", 9)]);
    assert!(imported.findings.notes[0].contains("orders from before the file are unknown"));
    let primaries = primaries(&case.out());
    let count = |kind, letter: u8| {
        primaries
            .iter()
            .filter(|primary| primary.kind() == Some(kind) && primary.count == u32::from(letter))
            .count()
    };
    use PrimaryKind::{Add, Cancel, Execute, Note, Trade};
    assert_eq!((count(Add, b'1'), count(Cancel, b'3'), count(Execute, b'4')), (471, 364, 94));
    assert_eq!((count(Note, b'3'), count(Note, b'4')), (5, 4));
    assert_eq!((count(Trade, b'4'), count(Trade, b'5')), (98, 61), "also with orders that are unknown");
    let (deriver, _) = derived(&case.out());
    assert_eq!(deriver.inconsistencies(), 0);
    let channels = &report(&case.out()).instruments[0].channels;
    assert_eq!(*channels, ["quotes", "trades", "book", "orders", "ticker", "bars", "status"]);
}

#[test]
fn each_type_of_message_with_the_order_book() {
    let case = Case::new().input(MESSAGES, &messages()).beside(BOOK, &book());
    let imported = case.import(true, import).unwrap();
    assert_eq!(imported.findings.odd.get(DISAGREES), None);
    assert_eq!(imported.findings.notes, [format!("{MESSAGES}: levels by its order book of depth 2, {BOOK}")]);
    use PrimaryKind::{Fill, Level, Note, Status as Halt, Trade};
    assert_eq!(
        told(&case.out()),
        [
            // What stood before the first message.
            (Level, 1, 5_840_000, 30, false),
            (Level, 2, 5_860_000, 10, false),
            (Level, 2, 5_870_000, 20, true),
            (Note, 1, 5_850_000, 100, false),
            (Level, 1, 5_850_000, 100, true),
            (Note, 1, 5_850_000, 40, false),
            (Level, 1, 5_850_000, 60, true),
            (Fill, 1, 5_850_000, 60, false),
            (Trade, 2, 5_850_000, 60, false),
            (Level, 1, 5_850_000, 0, false),
            (Level, 1, 5_830_000, 7, true),
            (Trade, 1, 5_855_000, 5, true),
            (Note, 2, 5_860_000, 10, false),
            (Level, 2, 5_860_000, 0, true),
            (Halt, 0, i64::MIN, i64::MIN, true),
            (Trade, 0, 5_865_000, 500, true),
        ]
    );
    let (deriver, events) = derived(&case.out());
    assert_eq!(deriver.status(0), Status::Halted);
    assert_eq!(deriver.inconsistencies(), 0);
    assert_eq!(events.iter().filter(|event| matches!(event.body(), Body::Trade(_))).count(), 3);
}

#[test]
fn rows_that_do_not_follow_are_counted() {
    let changed = String::from_utf8(book()).unwrap().replacen("5860000,10", "5860000,11", 2);
    let case = Case::new().input(MESSAGES, &messages()).beside(BOOK, changed.as_bytes());
    let imported = case.import(true, import).unwrap();
    assert_eq!(imported.findings.odd[DISAGREES], 1, "the third row has 10 again");
    assert_eq!(derived(&case.out()).0.book(0).quantity(Side::Ask, 5_870_000), 20, "rows count, not messages");
}

#[test]
fn damaged_lines_are_left_out_and_located() {
    for (line, problem) in [
        ("34200.1,2,11,40,5850000", "5 fields; a message has 6"),
        ("x,2,11,40,5850000,1", "time \"x\"; allowed: 0 to 86399.999999999, seconds after midnight"),
        (
            "34200.1234567891,2,11,40,5850000,1",
            "time \"34200.1234567891\"; allowed: 0 to 86399.999999999, seconds after midnight",
        ),
        (
            "86400,2,11,40,5850000,1",
            "time 86400000000000 ns after midnight; allowed: less than 86400000000000",
        ),
        ("34200.1,8,11,40,5850000,1", "type \"8\"; allowed: 1 to 7"),
        ("34200.1,2,NaN,40,5850000,1", "order id \"NaN\"; expected a whole number of 64 bits"),
        ("34200.1,2,11,0,5850000,1", "size \"0\"; allowed: 1 or more"),
        ("34200.1,2,11,40,-5,1", "price \"-5\"; allowed: 1 or more"),
        (
            "34200.1,2,11,40,99999999999999999999,1",
            "price \"99999999999999999999\"; expected a whole number of 64 bits",
        ),
        ("34200.1,2,11,40,5850000,0", "direction \"0\"; allowed: 1 and -1"),
        ("34200.1,7,0,0,5,-1", "halt with price \"5\"; allowed: -1, 0 and 1"),
    ] {
        let damaged = String::from_utf8(messages()).unwrap().replacen(SMALL[1].0, line, 1);
        let case = Case::new().input(MESSAGES, damaged.as_bytes()).beside(BOOK, &book());
        let imported = case.import(false, import).unwrap();
        let damage = &imported.findings.damage[0];
        assert_eq!((damage.place, damage.problem.as_str()), (Place::Line(2), problem));
        assert_eq!((imported.source_records, imported.findings.damaged), (6, 1));
        // The next row makes up for what was left out.
        assert_eq!(derived(&case.out()).0.quote(0).bid, 5_840_000);
        let error = case.import(true, import).unwrap_err().to_string();
        assert!(error.contains("line 2: ") && error.contains(problem), "{error}");
    }
    for (row, problem) in [
        ("5860000,10", "2 fields; a row of 2 levels has 8"),
        ("5860000,10,5850000,x,5870000,20,5840000,30", "\"x\"; expected a whole number of 64 bits"),
    ] {
        let damaged = String::from_utf8(book()).unwrap().replacen(SMALL[1].1, row, 1);
        let case = Case::new().input(MESSAGES, &messages()).beside(BOOK, damaged.as_bytes());
        let imported = case.import(false, import).unwrap();
        let damage = &imported.findings.damage[0];
        assert_eq!((damage.place, damage.problem.as_str()), (Place::Line(2), problem));
        assert!(damage.path.ends_with(BOOK));
        assert_eq!(imported.source_records, 7, "the messages are all there");
        assert_eq!(derived(&case.out()).0.quote(0).bid, 5_840_000);
    }
}

#[test]
fn files_of_unequal_length_are_damaged_where_the_shorter_ends() {
    let (messages, book) = (messages(), book());
    let shorter = |bytes: &[u8]| bytes[..bytes.len() - 44].to_vec();
    let rest_of_book = shorter(&book);
    let lines_left = rest_of_book.iter().filter(|byte| **byte == b'\n').count() as u64;
    let case = Case::new().input(MESSAGES, &messages).beside(BOOK, &rest_of_book);
    let damage = case.import(false, import).unwrap().findings.damage;
    let last = damage.last().unwrap();
    assert!(last.path.ends_with(BOOK) || last.place == Place::Line(lines_left + 1), "{damage:?}");

    let case = Case::new()
        .input(MESSAGES, &lines(SMALL[..5].iter().map(|(message, _)| *message)))
        .beside(BOOK, &book);
    let damage = case.import(false, import).unwrap().findings.damage;
    assert_eq!((damage.len(), damage[0].place), (1, Place::End(5)));
    assert!(damage[0].problem.contains("orderbook_2.csv goes on after it"), "{damage:?}");
}

#[test]
fn symbol_date_and_order_book_are_found_or_given() {
    let symbol_and_time = |case: &Case, given: lobster::Given| {
        let given_too = |inputs: &[PathBuf], out: &Path, options: ImportOptions| {
            lobster::import(inputs, out, given.clone(), options, &mut |_| {})
        };
        let imported = case.import(true, given_too).unwrap();
        let reader = Reader::open(&case.out()).unwrap();
        let symbol = reader.catalog().instruments()[0].symbol.clone();
        (symbol, primaries(&case.out())[0].ts_event_ns - 34_200_000_000_001, imported.findings.notes)
    };
    let case = Case::new().input("messages.csv", &messages());
    let (symbol, midnight, notes) = symbol_and_time(&case, lobster::Given::default());
    assert_eq!((symbol.as_str(), midnight), ("messages", 5 * 3_600_000_000_000));
    assert!(notes[1].contains("messages.csv has no date in its name"), "{notes:?}");
    assert_eq!(notes[2], "messages.csv: the symbol is assumed to be \"messages\", as the file's name begins");
    let given = lobster::Given {
        symbol: Some("MSFT".into()),
        date: Some(Date::from_calendar_date(2012, Month::June, 21).unwrap()),
    };
    let (symbol, midnight, _) = symbol_and_time(&case, given);
    assert_eq!((symbol.as_str(), midnight), ("MSFT", MIDNIGHT_NS));

    // The order book of the name, also where both are named; packed it has another name, and must be given so too.
    let both = Case::new().input(BOOK, &book()).input(MESSAGES, &messages());
    assert!(symbol_and_time(&both, lobster::Given::default()).2[0].contains("of depth 2"));
    let packed = |name: &str| format!("{name}.gz");
    let both = Case::new().input(&packed(MESSAGES), &gzip(&messages())).beside(&packed(BOOK), &gzip(&book()));
    assert!(symbol_and_time(&both, lobster::Given::default()).2[0].contains("of depth 2"));
    let alone = Case::new().input(BOOK, &book());
    let error = alone.import(false, import).unwrap_err().to_string();
    assert!(error.contains("an order book file without its message file"), "{error}");
}

#[test]
fn a_second_day_begins_with_an_empty_book() {
    let second_name = |name: &str| name.replace("06-21", "06-22");
    let (messages_after, book_after) = (
        "34200.5,1,11,7,5900000,-1\n".as_bytes(),
        "5900000,7,5890000,1,9999999999,0,-9999999999,0\n".as_bytes(),
    );
    let with_books = Case::new()
        .input(&second_name(MESSAGES), messages_after)
        .input(MESSAGES, &messages())
        .beside(&second_name(BOOK), book_after)
        .beside(BOOK, &book());
    let without = Case::new().input(MESSAGES, &messages()).input(&second_name(MESSAGES), messages_after);
    for (case, bid) in [(with_books, Some(5_890_000)), (without, None)] {
        let imported = case.import(true, import).unwrap();
        assert_eq!(imported.instruments, 1);
        let (deriver, _) = derived(&case.out());
        let prices = |side| deriver.book(0).levels(side).map(|level| level.price).collect::<Vec<_>>();
        assert_eq!((prices(Side::Bid), prices(Side::Ask)), (Vec::from_iter(bid), vec![5_900_000]));
        assert!(primaries(&case.out()).is_sorted_by_key(|primary| primary.ts_event_ns));
        assert_eq!(deriver.inconsistencies(), 0);
    }
}

#[test]
fn a_halt_is_told_by_its_price() {
    let lines = "34200.1,7,0,0,-1,-1\n34200.2,7,0,0,0,-1\n34200.3,7,0,0,1,-1\n";
    let case = Case::new().input(MESSAGES, lines.as_bytes());
    case.import(true, import).unwrap();
    let statuses: Vec<_> =
        primaries(&case.out()).iter().map(|status| Status::from_number(status.level)).collect();
    assert_eq!(statuses, [Status::Halted, Status::Auction, Status::Trading].map(Some));
}

#[test]
fn files_as_other_programs_leave_them_are_whole() {
    let plain = Case::new().input(MESSAGES, &messages()).beside(BOOK, &book());
    plain.import(true, import).unwrap();
    let expected = primaries(&plain.out());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let changes: [fn(&str) -> String; 4] = [
        |text| text.trim_end().to_owned(),
        |text| text.replace('\n', "\r\n"),
        |text| format!("\u{feff}{text}"),
        |text| format!("{text}\n\n"),
    ];
    for change in changes {
        let (messages, book) = (change(&text(&messages())), change(&text(&book())));
        let case = Case::new().input(MESSAGES, messages.as_bytes()).beside(BOOK, book.as_bytes());
        case.import(true, import).unwrap();
        assert_eq!(primaries(&case.out()), expected, "{messages:?}");
    }
    // A last row that nothing foretells is taken, and the report says so.
    let last = "34200.6,1,12,5,5840000,1\n";
    let row = "5870000,20,5840000,35,9999999999,0,5835000,70";
    let case = Case::new()
        .input(MESSAGES, &[&messages()[..], last.as_bytes()].concat())
        .beside(BOOK, &[&book()[..], row.as_bytes()].concat());
    let imported = case.import(true, import).unwrap();
    let noted = imported.findings.notes.last().unwrap();
    assert!(noted.contains(BOOK) && noted.contains("line 8 ends without a line end"), "{noted}");
    assert_eq!(derived(&case.out()).0.book(0).quantity(Side::Bid, 5_835_000), 70);
}

#[test]
fn a_side_without_orders_and_any_number_of_levels() {
    let message = "34200.1,1,1,5,100,1\n";
    for levels in [1, 3, 50] {
        let row = format!("9999999999,0,100,5{}\n", ",9999999999,0,-9999999999,0".repeat(levels - 1));
        let case = Case::new().input(MESSAGES, message.as_bytes()).beside(BOOK, row.as_bytes());
        case.import(true, import).unwrap();
        let (deriver, _) = derived(&case.out());
        assert_eq!((deriver.book(0).depth(Side::Bid), deriver.book(0).depth(Side::Ask)), (1, 0));
        let reader = Reader::open(&case.out()).unwrap();
        assert_eq!(usize::from(reader.catalog().instruments()[0].book_depth), levels);
    }
}

#[test]
fn a_time_that_goes_back_is_odd() {
    let lines = "34200.2,1,1,5,100,1\n34200.1,1,2,5,100,1\n34200.1,1,3,5,100,1\n";
    let case = Case::new().input(MESSAGES, lines.as_bytes());
    let odd = case.import(true, import).unwrap().findings.odd;
    assert_eq!(odd["messages whose time is before that of the message before"], 1);
}

#[test]
fn what_is_no_lobster_is_refused_by_name() {
    for (messages, rows, named) in [
        (&b""[..], &b""[..], "message_2.csv is empty; expected a LOBSTER message file"),
        (b"time,type\n1,2\n", b"", "starts with \"time,type\"; expected a LOBSTER message file"),
        (b"\xff\xfe\n", b"", "starts with ff fe; expected a LOBSTER message file"),
        (SMALL[0].0.as_bytes(), b"1,2,3\n", "starts with \"1,2,3\"; expected a LOBSTER order book file"),
    ] {
        let case = Case::new().input(MESSAGES, messages).beside(BOOK, rows);
        let text = case.import(false, import).unwrap_err().to_string();
        assert!(text.contains(named), "{text}");
    }
}

#[test]
fn files_cut_anywhere_give_an_exact_prefix_and_the_place_of_the_cut() {
    let (messages, book) = (messages(), book());
    let case = Case::new().input(MESSAGES, &messages).beside(BOOK, &book);
    case.import(true, import).unwrap();
    let expected = primaries(&case.out());
    let (message_path, book_path) = (case.inputs[0].clone(), case.inputs[0].with_file_name(BOOK));
    let check = |what: &str, length: usize| match case.import(false, import) {
        Ok(imported) => {
            // Where only the order book is cut the last message may be there without its levels.
            let taken = primaries(&case.out());
            let whole = taken.iter().zip(&expected).take_while(|(taken, expected)| taken == expected).count();
            let rest = &taken[whole..];
            let is_noted =
                imported.findings.notes.iter().any(|note| note.contains("ends without a line end"));
            assert!(
                is_noted
                    || rest.iter().all(|primary| matches!(
                        primary.kind(),
                        Some(
                            PrimaryKind::Note | PrimaryKind::Trade | PrimaryKind::Fill | PrimaryKind::Status
                        )
                    )),
                "{what} cut at {length}: {rest:?}"
            );
            assert!(
                imported.findings.damaged > 0 || taken == expected || is_noted,
                "{what} cut at {length}: {:?}",
                imported.findings
            );
        }
        Err(error) => assert!(error.to_string().contains(".csv"), "{error}"),
    };
    for length in 1..messages.len() {
        std::fs::write(&message_path, &messages[..length]).unwrap();
        check("messages", length);
    }
    std::fs::write(&message_path, &messages).unwrap();
    for length in 1..book.len() {
        std::fs::write(&book_path, &book[..length]).unwrap();
        check("order book", length);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_taken_or_refused(
        messages in prop::collection::vec(any::<u8>(), 0..200),
        rows in "([-0-9.,xe]{0,40}\n){0,6}",
        strict: bool,
    ) {
        let case = Case::new().input(MESSAGES, &messages).beside(BOOK, rows.as_bytes());
        let _ = case.import(strict, import);
        let start = SMALL[0].0.as_bytes();
        let case = Case::new().input(MESSAGES, &[start, b"\n", &messages].concat());
        prop_assert!(strict || case.import(false, import).is_ok());
        let case = case.beside(BOOK, &[SMALL[0].1.as_bytes(), b"\n", rows.as_bytes()].concat());
        prop_assert!(strict || case.import(false, import).is_ok());
    }

    #[test]
    fn changed_lines_are_taken_or_refused(
        changes in prop::collection::vec((any::<bool>(), any::<u16>(), "[-0-9.,\n]"), 1..6)
    ) {
        let (mut messages, mut rows) = (messages(), book());
        for (of_messages, at, byte) in changes {
            let bytes = if of_messages { &mut messages } else { &mut rows };
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte.as_bytes()[0];
        }
        let _ = Case::new().input(MESSAGES, &messages).beside(BOOK, &rows).import(false, import);
    }
}
