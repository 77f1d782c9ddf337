//! Nasdaq ITCH files taken in: figures that another program computed from the same bytes, and each message by itself.

mod common;
#[path = "common/feeds.rs"]
mod feeds;

use std::path::{Path, PathBuf};

use common::recorded;
use feeds::{Case, derived, gzip, primaries, report};
use proptest::prelude::*;
use tickcast::feed::Reader;
use tickcast::feed::import::{ImportError, ImportOptions, Imported, Place, itch};
use tickcast::model::{ABSENT, Primary, PrimaryKind, Quote, Side, Status};
use time::{Date, Month};

/// Midnight of 2019-01-30 in New York, nanoseconds since the Unix epoch.
const MIDNIGHT_NS: u64 = 1_548_824_400_000_000_000;

fn import(inputs: &[PathBuf], out: &Path, options: ImportOptions) -> Result<Imported, ImportError> {
    let date = Date::from_calendar_date(2019, Month::January, 30).unwrap();
    itch::import(inputs, out, Some(date), options, &mut |_| {})
}

/// A message behind its length: its type, stock locate code, nanoseconds after midnight, and the rest.
fn message(kind: u8, locate: u16, time_ns: u64, body: &[&[u8]]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend(locate.to_be_bytes());
    message.extend(7_u16.to_be_bytes());
    message.extend(&time_ns.to_be_bytes()[2..]);
    message.extend(body.concat());
    [&(message.len() as u16).to_be_bytes()[..], &message].concat()
}

fn directory(locate: u16, stock: &[u8; 8]) -> Vec<u8> {
    message(b'R', locate, 1, &[stock, b"QN", &100_u32.to_be_bytes(), b"NCZ PN 1N", &[0; 4], b"N"])
}

fn add(reference: u64, side: u8, shares: u32, price: u32) -> Vec<u8> {
    let body: [&[u8]; 5] =
        [&reference.to_be_bytes(), &[side], &shares.to_be_bytes(), b"AAPL    ", &price.to_be_bytes()];
    message(b'A', 13, 2, &body)
}

fn executed(kind: u8, reference: u64, shares: u32, rest: &[u8]) -> Vec<u8> {
    let body: [&[u8]; 4] = [&reference.to_be_bytes(), &shares.to_be_bytes(), &900_u64.to_be_bytes(), rest];
    message(kind, 13, 3, &body)
}

fn replace(reference: u64, new: u64, shares: u32, price: u32) -> Vec<u8> {
    let body: [&[u8]; 4] =
        [&reference.to_be_bytes(), &new.to_be_bytes(), &shares.to_be_bytes(), &price.to_be_bytes()];
    message(b'U', 13, 4, &body)
}

fn cancel(reference: u64, shares: u32) -> Vec<u8> {
    message(b'X', 13, 5, &[&reference.to_be_bytes(), &shares.to_be_bytes()])
}

fn delete(reference: u64) -> Vec<u8> {
    message(b'D', 13, 6, &[&reference.to_be_bytes()])
}

/// What the messages become, with the stock listed first.
fn taken(messages: &[Vec<u8>]) -> (Vec<Primary>, Imported) {
    let bytes = [directory(13, b"AAPL    "), messages.concat()].concat();
    let case = Case::new().input("in.itch", &bytes);
    let imported = case.import(true, import).unwrap();
    (primaries(&case.out()), imported)
}

fn kinds(primaries: &[Primary]) -> Vec<PrimaryKind> {
    primaries.iter().map(|primary| primary.kind().unwrap()).collect()
}

#[test]
fn the_simulated_file_gives_the_known_figures() {
    let Some(path) = recorded("itch/SIMULATED_ritch_ex20101224.itch") else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.feed");
    let options = ImportOptions { strict: true };
    let imported = itch::import(&[path], &out, None, options, &mut |_| {}).unwrap();
    assert_eq!((imported.source_records, imported.instruments), (12_012, 3));
    let findings = &imported.findings;
    assert_eq!(
        findings.odd.iter().map(|(what, count)| (*what, *count)).collect::<Vec<_>>(),
        [("references to orders that were never added, or are gone", 117)]
    );
    assert!(findings.unknown.is_empty() && findings.notes.is_empty(), "{findings:?}");
    // The start and end of the day's parts change nothing, but for the end of all.
    assert_eq!(findings.left_out.values().sum::<u64>(), 5);

    let primaries = primaries(&out);
    // By the source's type: messages, and the shares they name.
    let of = |kind: u8, what: &[PrimaryKind]| {
        let of_kind = primaries
            .iter()
            .filter(|primary| primary.count == u32::from(kind) && what.contains(&primary.kind().unwrap()));
        let shares = of_kind.clone().map(|primary| primary.quantity.max(0)).sum::<i64>();
        (of_kind.count(), shares)
    };
    use PrimaryKind::{Add, Cancel, Execute, Note, Trade};
    assert_eq!((of(b'A', &[Add]).0, of(b'F', &[Add]).0), (4_997, 3));
    assert_eq!(of(b'E', &[Execute, Note]), (198, 61_798), "those of unknown orders are kept as notes");
    assert_eq!(of(b'E', &[Note]).0, 18);
    assert_eq!((of(b'X', &[Cancel]).0, of(b'X', &[Note]).0), (42, 3));
    assert_eq!((of(b'D', &[Cancel]).0, of(b'D', &[Note]).0), (1_745 - 94, 94));
    assert_eq!((of(b'U', &[Cancel]).0, of(b'U', &[Add]).0, of(b'U', &[Note]).0), (10, 10, 2));
    assert_eq!(of(b'P', &[Trade]), (5_000, 674_132));
    let executed = |symbol: &str| {
        let number = Reader::open(&out).unwrap().catalog().find(symbol).unwrap();
        primaries
            .iter()
            .filter(|primary| primary.instrument == number && primary.count == u32::from(b'E'))
            .filter(|primary| primary.kind() != Some(Trade) && primary.kind() != Some(PrimaryKind::Status))
            .map(|primary| primary.quantity)
            .sum::<i64>()
    };
    assert_eq!(["ALC", "BOB", "CHAR"].map(executed), [1_233, 59_787, 778]);

    let report = report(&out);
    assert_eq!(report.inconsistencies, 0, "what cannot be is a note");
    let span = report.span.as_ref().unwrap();
    // The first message that is a record comes 11,436 seconds after midnight, five hours behind UTC.
    assert_eq!(span.first, "2010-12-24T08:10:36.094498153Z");
    let orders: usize = report.instruments.iter().map(|instrument| instrument.book.orders.unwrap()).sum();
    assert_eq!(orders, 3_204);
    let (deriver, _) = derived(&out);
    assert!((0..3).all(|number| deriver.status(number) == Status::Closed));
}

#[test]
fn a_fill_leaves_its_order_and_is_a_trade_at_its_price() {
    let (primaries, _) = taken(&[
        add(1, b'B', 300, 1_500_000),
        executed(b'E', 1, 100, b""),
        // At another price, and shown; then one that an auction's trade will show.
        executed(b'C', 1, 50, &[&b"Y"[..], &1_499_900_u32.to_be_bytes()].concat()),
        executed(b'C', 1, 150, &[&b"N"[..], &1_499_900_u32.to_be_bytes()].concat()),
    ]);
    use PrimaryKind::{Add, Execute, Trade};
    assert_eq!(kinds(&primaries), [Add, Execute, Trade, Execute, Trade, Execute]);
    let trades: Vec<_> = primaries.iter().filter(|primary| primary.kind() == Some(Trade)).collect();
    assert_eq!(
        trades.iter().map(|trade| (trade.price, trade.quantity, trade.order_id)).collect::<Vec<_>>(),
        [(1_500_000, 100, 900), (1_499_900, 50, 900)]
    );
    assert!(trades.iter().all(|trade| trade.side() == Some(Side::Ask)), "a seller met the resting bid");
    let ends: Vec<bool> = primaries.iter().map(Primary::is_last).collect();
    assert_eq!(ends, [true, false, true, false, true, true], "one event a message");
    assert!(primaries.iter().all(|primary| primary.ts_event_ns - MIDNIGHT_NS <= 3));
}

#[test]
fn cancels_take_what_they_name_and_deletes_the_rest() {
    let case = Case::new().input(
        "in.itch",
        &[
            add(1, b'B', 300, 1_500_000),
            add(2, b'S', 200, 1_500_300),
            cancel(1, 100),
            replace(2, 3, 250, 1_500_200),
            cancel(3, 50),
            replace(1, 4, 20, 1_499_900),
            delete(4),
        ]
        .concat(),
    );
    case.import(true, import).unwrap();
    let (deriver, events) = derived(&case.out());
    assert_eq!(deriver.inconsistencies(), 0);
    assert_eq!(deriver.quote(0), Quote { ask: 1_500_200, ask_quantity: 200, ..Quote::EMPTY });
    assert_eq!(deriver.orders(0).get(3).map(|order| order.side), Some(Side::Ask), "the side stays");
    assert_eq!(deriver.orders(0).len(), 1);
    // A replacement is one event: nobody sees the side empty in between.
    let quotes: Vec<_> = events
        .iter()
        .filter_map(|event| match event.body() {
            tickcast::model::Body::Quote(quote) => Some((quote.bid, quote.ask)),
            _ => None,
        })
        .collect();
    assert_eq!(
        quotes,
        [
            (1_500_000, ABSENT),
            (1_500_000, 1_500_300),
            (1_500_000, 1_500_300),
            (1_500_000, 1_500_200),
            (1_500_000, 1_500_200),
            (1_499_900, 1_500_200),
            (ABSENT, 1_500_200)
        ]
    );
}

#[test]
fn trades_of_hidden_orders_and_auctions_change_no_book() {
    let trade: [&[u8]; 6] = [
        &0_u64.to_be_bytes(),
        b"B",
        &25_u32.to_be_bytes(),
        b"AAPL    ",
        &1_500_100_u32.to_be_bytes(),
        &901_u64.to_be_bytes(),
    ];
    let cross = |shares: u64, price: u32| {
        let body: [&[u8]; 5] =
            [&shares.to_be_bytes(), b"AAPL    ", &price.to_be_bytes(), &902_u64.to_be_bytes(), b"O"];
        message(b'Q', 13, 9, &body)
    };
    let (primaries, _) = taken(&[
        message(b'P', 13, 8, &trade),
        cross(1_000_000, 1_500_200),
        cross(0, 0),
        message(b'B', 13, 10, &[&901_u64.to_be_bytes()]),
    ]);
    use PrimaryKind::{Note, Trade};
    assert_eq!(kinds(&primaries), [Trade, Trade, Note, Note], "an auction without a trade is none");
    assert_eq!(
        primaries.iter().map(|trade| (trade.quantity, trade.order_id, trade.side)).collect::<Vec<_>>(),
        [(25, 901, 0), (1_000_000, 902, 0), (0, 902, 0), (ABSENT, 901, 0)]
    );
}

#[test]
fn halts_and_the_end_of_the_day_are_statuses() {
    let action = |state: u8| message(b'H', 13, 1, &[b"AAPL    ", &[state], b" ", b"    "]);
    let halt = |market: u8, action: u8| message(b'h', 13, 1, &[b"AAPL    ", &[market, action]]);
    let (primaries, imported) = taken(&[
        action(b'H'),
        action(b'Q'),
        action(b'T'),
        action(b'P'),
        halt(b'X', b'H'),
        halt(b'Q', b'T'),
        message(b'S', 0, 99, &[b"E"]),
    ]);
    let statuses: Vec<_> = primaries.iter().map(|status| Status::from_number(status.level)).collect();
    use Status::{Auction, Closed, Halted, Trading};
    assert_eq!(statuses, [Halted, Auction, Trading, Halted, Trading, Closed].map(Some));
    assert_eq!(imported.findings.left_out["h (operational halt of another market)"], 1);
}

#[test]
fn other_messages_are_counted_by_type() {
    let of = |kind: u8, bytes: usize| message(kind, 13, 1, &[&vec![b' '; bytes - 11]]);
    let known = [(b'Y', 20), (b'L', 26), (b'V', 35), (b'W', 12), (b'K', 28), (b'J', 35), (b'I', 50)];
    let mut messages: Vec<_> =
        known.iter().chain(&[(b'N', 20), (b'O', 48)]).map(|(kind, bytes)| of(*kind, *bytes)).collect();
    messages.extend([of(b'z', 30), of(b'z', 11), of(b'\x01', 12)]);
    let (primaries, imported) = taken(&messages);
    assert_eq!((primaries.len(), imported.source_records), (0, 13));
    assert_eq!(imported.findings.left_out.len(), 9);
    assert_eq!(imported.findings.left_out["I (net order imbalance)"], 1);
    let unknown: Vec<_> = imported.findings.unknown.iter().map(|(name, count)| (&name[..], *count)).collect();
    assert_eq!(unknown, [("type \"z\"", 2), ("type 01", 1)]);
}

#[test]
fn damaged_messages_are_left_out_and_located() {
    let good = add(1, b'B', 300, 1_500_000);
    let problem = |bad: Vec<u8>, expected: &str| {
        let bytes = [&good[..], &bad, &delete(1)].concat();
        let case = Case::new().input("in.itch", &bytes);
        let imported = case.import(false, import).unwrap();
        let damage = &imported.findings.damage[0];
        assert_eq!((imported.source_records, imported.findings.damaged), (2, 1));
        assert_eq!((damage.place, &damage.problem[..]), (Place::Byte(good.len() as u64), expected));
        assert_eq!(derived(&case.out()).0.orders(0).len(), 0);
        let error = case.import(true, import).unwrap_err();
        assert_eq!(error.to_string(), format!("{damage}; nothing was written"));
    };
    problem(
        message(b'A', 13, 1, &[b"short"]),
        "type \"A\" of 16 bytes; a message of that type has 36; passed over: 18 bytes",
    );
    problem(add(2, b'x', 1, 1), "side is \"x\"; allowed: B and S");
    problem(add(2, b'S', 0, 1), "0 shares; allowed: 1 or more");
    problem(executed(b'E', 1, 0, b""), "0 shares; allowed: 1 or more");
    problem(executed(b'C', 1, 1, b"?\0\0\0\x01"), "printable flag is \"?\"; allowed: Y and N");
    problem(
        message(b'D', 13, 86_400_000_000_000, &[&1_u64.to_be_bytes()]),
        "time 86400000000000 ns after midnight; allowed: less than 86400000000000",
    );
    problem(
        message(b'H', 13, 1, &[b"AAPL    ", b"x", b"     "]),
        "trading state is \"x\"; allowed: H, P, Q and T",
    );
}

#[test]
fn a_wrong_length_costs_its_message_and_nothing_behind() {
    let Some(path) = recorded("itch/SIMULATED_ritch_ex20101224.itch") else { return };
    let whole = std::fs::read(path).unwrap();
    // Where the messages begin, and their types.
    let (mut starts, mut at) = (Vec::new(), 0);
    while at + 3 <= whole.len() {
        starts.push((at, whole[at + 2]));
        at += 2 + usize::from(u16::from_be_bytes([whole[at], whole[at + 1]]));
    }
    assert_eq!(starts.len(), 12_012);
    let first = starts.iter().position(|(_, kind)| *kind == b'A').unwrap();
    // One that leads to a message too, some further on.
    let further = (starts[first + 9].0 - starts[first].0 - 2) as u16;
    for (number, length) in
        [(first, 65_535), (first, 37), (first, 1), (first, further), (starts.len() - 1, 9_000)]
    {
        let (at, kind) = starts[number];
        let mut bytes = whole.clone();
        let expected = usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        bytes[at..at + 2].copy_from_slice(&u16::to_be_bytes(length));
        let case = Case::new().input("in.itch", &bytes);
        let imported = case.import(false, import).unwrap();
        assert_eq!((imported.source_records, imported.findings.damaged), (12_011, 1), "{length}");
        let damage = &imported.findings.damage[0];
        assert_eq!(damage.place, Place::Byte(at as u64));
        let told = format!(
            "type {:?} of {length} bytes; a message of that type has {expected}; passed over: {} bytes",
            char::from(kind).to_string(),
            expected + 2
        );
        assert_eq!(damage.problem, told);
    }
    // Where bytes are missing too, all up to the next that stands behind its own length.
    let cut = [directory(13, b"AAPL    "), add(1, b'B', 1, 1)[..20].to_vec(), add(2, b'B', 1, 1), delete(2)]
        .concat();
    let mut cut = cut;
    cut[41] = 1;
    let imported = Case::new().input("in.itch", &cut).import(false, import).unwrap();
    assert_eq!((imported.source_records, imported.findings.damaged), (3, 1));
    assert!(imported.findings.damage[0].problem.ends_with("passed over: 20 bytes"), "{imported:?}");
}

#[test]
fn odd_references_change_no_book() {
    let (primaries, imported) = taken(&[
        add(1, b'B', 300, 1_500_000),
        add(1, b'S', 10, 1_600_000),
        executed(b'E', 9, 5, b""),
        cancel(1, 400),
        delete(1),
    ]);
    use PrimaryKind::{Add, Cancel, Note};
    assert_eq!(kinds(&primaries), [Add, Note, Note, Cancel, Note]);
    assert_eq!(primaries[3].quantity, 300, "no more than rests");
    assert_eq!(imported.findings.odd.values().copied().collect::<Vec<_>>(), [1, 1, 2]);
}

#[test]
fn what_is_no_itch_is_refused_by_name() {
    for (bytes, named) in [
        (&b""[..], "in.itch is empty; expected an ITCH 5.0 file"),
        (b"time,price\n1,2\n", "in.itch starts with \"time\"; expected an ITCH 5.0 file"),
        (b"\0\x0cR and so on", "in.itch starts with 00 0c 52 20; expected an ITCH 5.0 file"),
        (b"\0\0\0\0\0\0", "in.itch starts with 00 00 00 00; expected an ITCH 5.0 file"),
        (
            b"\0\x0cS and",
            "in.itch: byte 0: the file ends 5 bytes into a message of 12; no record of it could be taken, expected an ITCH",
        ),
    ] {
        let case = Case::new().input("in.itch", bytes);
        let text = case.import(false, import).unwrap_err().to_string();
        assert!(text.contains(named), "{text}");
    }
}

#[test]
fn a_time_that_goes_back_is_odd() {
    let (_, imported) =
        taken(&[add(1, b'B', 1, 1), message(b'D', 13, 1, &[&1_u64.to_be_bytes()]), delete(1)]);
    assert_eq!(imported.findings.odd["messages whose time is before that of the message before"], 1);
}

#[test]
fn files_that_hold_the_messages_otherwise_are_told_apart() {
    let framed = small_file();
    // Each message without its length; behind a length that is one greater and a type of packet.
    let (mut bare, mut soup) = (Vec::new(), Vec::new());
    let mut rest = &framed[..];
    while let [high, low, after @ ..] = rest {
        let (message, next) = after.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        bare.extend(message);
        soup.extend((message.len() as u16 + 1).to_be_bytes());
        soup.push(b'S');
        soup.extend(message);
        rest = next;
    }
    let login = [b"\0\x1fA0123456789", &b" ".repeat(20)[..], &soup].concat();
    for (bytes, named) in [
        (
            &bare,
            "starts with 52 00 0d 00 (which looks like messages without their lengths: they are needed); expected an ITCH 5.0",
        ),
        (&soup, "starts with 00 28 53 52 (which looks like SoupBinTCP packets"),
        (&login, "starts with 00 1f 41 30 (which looks like SoupBinTCP packets"),
        (
            &b"\0\x05T1234\0\x06S1234O".to_vec(),
            "starts with 00 05 54 31 (which looks like ITCH before version 5.0)",
        ),
        (&b"\xd4\xc3\xb2\xa1\x02\0\x04\0".to_vec(), "starts with d4 c3 b2 a1 (a packet capture"),
    ] {
        let text = Case::new().input("in.itch", bytes).import(false, import).unwrap_err().to_string();
        assert!(text.contains(named), "{text}");
    }
}

#[test]
fn the_date_is_given_or_in_the_name_or_said_to_be_missing() {
    let first_ns = |name: &str, date: Option<Date>| {
        let case = Case::new().input(name, &add(1, b'B', 1, 1));
        let imported = case
            .import(true, |inputs, out, options| itch::import(inputs, out, date, options, &mut |_| {}))
            .unwrap();
        (primaries(&case.out())[0].ts_event_ns - 2, imported.findings.notes)
    };
    assert_eq!(first_ns("01302019.NASDAQ_ITCH50", None), (MIDNIGHT_NS, vec![]));
    let given = Date::from_calendar_date(2019, Month::July, 1).unwrap();
    let july = given.midnight().assume_utc().unix_timestamp_nanos() as u64 + 4 * 3_600_000_000_000;
    assert_eq!(first_ns("01302019.NASDAQ_ITCH50", Some(given)), (july, vec![]));
    let (epoch, notes) = first_ns("some.itch", None);
    assert_eq!(epoch, 5 * 3_600_000_000_000);
    assert!(notes[0].contains("some.itch has no date in its name"), "{notes:?}");
}

#[test]
fn a_second_day_begins_with_empty_books() {
    let start = message(b'S', 0, 0, &[b"O"]);
    // The stock has another number the next day.
    let mut second = add(1, b'S', 7, 1_600_000);
    second[4] = 99;
    let case = Case::new()
        .input("01302019.NASDAQ_ITCH50", &[&start[..], &add(1, b'B', 300, 1_500_000)].concat())
        .input("01312019.NASDAQ_ITCH50", &[start, directory(99, b"AAPL    "), second].concat());
    let by_name = |inputs: &[PathBuf], out: &Path, options: ImportOptions| {
        itch::import(inputs, out, None, options, &mut |_| {})
    };
    let imported = case.import(true, by_name).unwrap();
    assert_eq!(imported.instruments, 1);
    let (deriver, _) = derived(&case.out());
    let expected = Quote { ask: 1_600_000, ask_quantity: 7, ..Quote::EMPTY };
    assert_eq!((deriver.quote(0), deriver.inconsistencies()), (expected, 0));
}

#[test]
fn one_file_is_taken_in_once_and_a_copy_is_noted() {
    let mut case = Case::new().input("in.itch", &small_file());
    let link = case.folder.path().join("link.itch");
    std::os::unix::fs::symlink(&case.inputs[0], &link).unwrap();
    for again in [case.inputs[0].clone(), link] {
        case.inputs.truncate(1);
        case.inputs.push(again.clone());
        let text = case.import(false, import).unwrap_err().to_string();
        let (one, other) = (again.display(), case.inputs[0].display());
        assert_eq!(text, format!("{one} and {other} are one file; each input is taken in once"));
    }
    let mut other = small_file();
    *other.last_mut().unwrap() ^= 1;
    let case = Case::new()
        .input("in.itch", &small_file())
        .input("other.itch", &other)
        .input("copy.itch", &small_file());
    let notes = case.import(false, import).unwrap().findings.notes;
    let (copy, one) = (case.inputs[2].display(), case.inputs[0].display());
    assert_eq!(notes, [format!("{copy} holds the same bytes as {one}: what they say is there twice")]);
}

#[test]
fn a_stock_that_is_listed_late_is_taken_in_too() {
    let mut late = add(2, b'S', 7, 1_600_000);
    late[4] = 99;
    let usual =
        [directory(13, b"AAPL    "), directory(98, b"MSFT    "), add(1, b'B', 300, 1_500_000)].concat();
    let with_late = [&usual[..], &directory(99, b"LATE    "), &late].concat();
    for (bytes, instruments, readings) in [(&usual, 2, 1), (&with_late, 3, 2)] {
        let case = Case::new().input("in.itch", bytes);
        let mut heard = Vec::new();
        let options = ImportOptions { strict: true };
        let imported =
            itch::import(&case.inputs, &case.out(), None, options, &mut |progress| heard.push(progress))
                .unwrap();
        assert_eq!(imported.instruments, instruments);
        let last = heard.last().unwrap();
        // Where the directory told all, only what writes reads to the end.
        assert_eq!((last.done, last.total), (readings * bytes.len() as u64, readings * bytes.len() as u64));
        let (deriver, _) = derived(&case.out());
        assert_eq!(deriver.orders(0).len(), 1);
        assert_eq!(deriver.inconsistencies(), 0);
    }
}

/// A small file with a message of each kind that matters.
fn small_file() -> Vec<u8> {
    [
        directory(13, b"AAPL    "),
        add(1, b'B', 300, 1_500_000),
        executed(b'E', 1, 100, b""),
        replace(1, 2, 20, 1_499_900),
        cancel(2, 5),
        delete(2),
    ]
    .concat()
}

#[test]
fn a_file_cut_anywhere_gives_an_exact_prefix_and_the_place_of_the_cut() {
    let whole = small_file();
    let case = Case::new().input("in.itch", &whole);
    case.import(true, import).unwrap();
    let expected = primaries(&case.out());
    for length in 1..whole.len() {
        std::fs::write(&case.inputs[0], &whole[..length]).unwrap();
        match case.import(false, import) {
            Ok(imported) => {
                let taken = primaries(&case.out());
                assert_eq!(taken, expected[..taken.len()], "cut at {length}");
                if let Some(damage) = imported.findings.damage.first() {
                    assert!(damage.problem.starts_with("the file ends"), "{damage}");
                    assert!(matches!(damage.place, Place::Byte(at) if at < length as u64));
                    assert!(case.import(true, import).is_err());
                }
            }
            Err(error) => assert!(error.to_string().contains("the file ends"), "{error}"),
        }
    }
    // In several members or frames, as they are when files are joined; the name says nothing of it.
    let (first, second) = whole.split_at(whole.len() / 2);
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
    for packed in [[gzip(first), gzip(second)].concat(), zstd(&whole), [zstd(first), zstd(second)].concat()] {
        std::fs::write(&case.inputs[0], &packed).unwrap();
        case.import(true, import).unwrap();
        assert_eq!(primaries(&case.out()), expected);
    }
    let packed = gzip(&whole);
    for length in 1..packed.len() {
        std::fs::write(&case.inputs[0], &packed[..length]).unwrap();
        if case.import(false, import).is_ok() {
            let taken = primaries(&case.out());
            assert_eq!(taken, expected[..taken.len()], "cut at {length}");
            assert!(case.import(true, import).is_err(), "cut at {length}");
        }
    }
    std::fs::write(&case.inputs[0], &packed).unwrap();
    case.import(true, import).unwrap();
    assert_eq!(primaries(&case.out()), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), strict: bool) {
        let case = Case::new().input("in.itch", &bytes);
        let _ = case.import(strict, import);
        // Behind a good start they are not refused for being foreign.
        let case = Case::new().input("in.itch", &[small_file(), bytes].concat());
        prop_assert!(strict || case.import(false, import).is_ok());
    }

    #[test]
    fn changed_bytes_are_taken_or_refused(changes in prop::collection::vec((any::<u16>(), any::<u8>()), 1..6)) {
        let mut bytes = small_file();
        for (at, byte) in changes {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        let _ = Case::new().input("in.itch", &bytes).import(false, import);
    }
}
