//! Exporting feed files: what a client would have been told, exactly, as tables and as JSON lines.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use serde_json::value::RawValue;
use tempfile::TempDir;
use tickcast::feed::export::{self, ExportError, Exported, Selection};
use tickcast::feed::{Description, KeyframeSettings, Loss, Reader, Writer, inspect::inspect, loss_reason};
use tickcast::model::{
    Channel, ChannelSet, Deriver, Event, Instrument, L2Book, Primary, PrimaryKind, Side, parse_decimal,
    primary_flags,
};

const FEED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/feeds/four-symbols.feed");
/// In the middle of [`FEED`].
const MIDDLE_NS: u64 = 1_767_623_400_500_000_000;

fn only(channels: &[Channel]) -> Selection {
    Selection { channels: Some(ChannelSet::of(channels)), ..Selection::default() }
}

fn csv(selection: &Selection) -> (TempDir, PathBuf, Exported) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let exported = export::csv(Path::new(FEED), selection, &out, &mut |_, _| {}).unwrap();
    (folder, out, exported)
}

fn json_lines(file: &Path, selection: &Selection) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.jsonl");
    export::json_lines(file, selection, &out, &mut |_, _| {}).unwrap();
    fs::read_to_string(out).unwrap().lines().map(str::to_owned).collect()
}

/// The rows of a table, by column.
fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            assert_eq!(fields.len(), names.len(), "{line}");
            names.iter().copied().map(str::to_owned).zip(fields.into_iter().map(str::to_owned)).collect()
        })
        .collect()
}

/// Every event of the file, from a deriver of this test's own.
fn events(path: &Path) -> (Vec<Event>, Deriver) {
    let mut reader = Reader::open(path).unwrap();
    let mut deriver = Deriver::new(reader.catalog().clone());
    let mut events = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        block.iter().for_each(|primary| deriver.apply(primary, &mut events).unwrap());
    }
    (events, deriver)
}

#[test]
fn tables_hold_every_sequence_of_every_channel_once() {
    let (_folder, out, exported) = csv(&Selection::default());
    let (events, _) = events(Path::new(FEED));
    let reader = Reader::open(Path::new(FEED)).unwrap();
    assert_eq!((exported.records, exported.left_out, exported.fault), (reader.records(), 0, None));
    for channel in
        [Channel::Quotes, Channel::Trades, Channel::Book, Channel::Orders, Channel::Ticker, Channel::Status]
    {
        let told = rows(&out.join(format!("{channel}.csv")));
        let expected = events.iter().filter(|event| event.channel() == Some(channel)).count();
        assert_eq!(told.len(), expected, "{channel}");
        for (_, instrument) in reader.catalog().iter() {
            let mut last = 0;
            for row in told.iter().filter(|row| row["symbol"] == instrument.symbol) {
                let [first_seq, last_seq] =
                    ["first_seq", "last_seq"].map(|key| row[key].parse::<u64>().unwrap());
                assert!(first_seq == last + 1 || last_seq == last, "{channel} {last} {first_seq}");
                assert_eq!(row["snapshot"], "false");
                last = last_seq;
            }
            assert!(channel == Channel::Status || last > 0);
        }
    }
}

/// The records of [`FEED`] in blocks of a few hundred, with a keyframe behind each, or without.
fn in_small_blocks(folder: &TempDir, name: &str, keyframes: bool) -> PathBuf {
    let path = folder.path().join(name);
    let mut reader = Reader::open(Path::new(FEED)).unwrap();
    let mut writer = Writer::create(&path, reader.description()).unwrap();
    if keyframes {
        writer = writer.with_keyframes(KeyframeSettings { every: 1, share: 0 });
    }
    let mut waiting = 0;
    while let Some(block) = reader.next_block().unwrap() {
        for primary in block {
            writer.push(primary).unwrap();
            waiting += 1;
            if primary.is_last() && waiting >= 300 {
                writer.flush().unwrap();
                waiting = 0;
            }
        }
    }
    writer.finish().unwrap();
    path
}

#[test]
fn a_range_is_read_from_the_keyframe_before_it_and_says_the_same_with_the_same_sequences() {
    let folder = tempfile::tempdir().unwrap();
    let files = [("with.feed", true), ("without.feed", false)]
        .map(|(name, keyframes)| in_small_blocks(&folder, name, keyframes));
    let total = Reader::open(&files[0]).unwrap().records();
    let but_bars: Vec<Channel> =
        Channel::ALL.into_iter().filter(|channel| *channel != Channel::Bars).collect();
    for (channels, start_ns, is_short) in [
        (&but_bars[..], MIDDLE_NS, true),
        (&but_bars[..], MIDDLE_NS + 400_000_000, true),
        (&but_bars[..], 1, false),
        (&Channel::ALL[..], MIDDLE_NS, false),
    ] {
        let selection = Selection { start_ns: Some(start_ns), ..only(channels) };
        let told = files.each_ref().map(|file| {
            let out = folder.path().join("out.jsonl");
            let exported = export::json_lines(file, &selection, &out, &mut |_, _| {}).unwrap();
            let text = fs::read_to_string(&out).unwrap();
            fs::remove_file(out).unwrap();
            (text, exported)
        });
        let [(with, short), (without, whole)] = told;
        assert!(with == without, "from {start_ns}");
        assert!(with.lines().count() > 100);
        assert_eq!((whole.records, short.written), (total, whole.written));
        assert_eq!(short.records < total - total / 4, is_short, "{} of {total} read", short.records);
    }
}

#[test]
fn the_book_of_the_rows_is_the_book_of_the_file() {
    let (_folder, out, _) = csv(&only(&[Channel::Book]));
    let (_, deriver) = events(Path::new(FEED));
    let reader = Reader::open(Path::new(FEED)).unwrap();
    let mut books: BTreeMap<String, L2Book> = BTreeMap::new();
    for row in rows(&out) {
        let instrument = reader.catalog().get(reader.catalog().find(&row["symbol"]).unwrap()).unwrap();
        let side = if row["side"] == "bid" { Side::Bid } else { Side::Ask };
        let price = parse_decimal(&row["price"], instrument.price_exponent).unwrap();
        let quantity = parse_decimal(&row["quantity"], instrument.quantity_exponent).unwrap();
        books.entry(row["symbol"].clone()).or_default().set(side, price, quantity);
    }
    assert_eq!(books.len(), 4);
    for (number, instrument) in reader.catalog().iter() {
        for side in [Side::Bid, Side::Ask] {
            let found: Vec<_> = books[&instrument.symbol].levels(side).collect();
            assert_eq!(found, deriver.book(number).levels(side).collect::<Vec<_>>());
            assert!(!found.is_empty());
        }
    }
}

#[test]
fn json_lines_begin_with_the_instruments_and_say_what_the_tables_say() {
    let selection = Selection { symbols: vec!["BTC*".into()], ..only(&[Channel::Trades, Channel::Bars]) };
    let lines = json_lines(Path::new(FEED), &selection);
    let first: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&first["type"], &first["more"]), (&Value::from("instruments"), &Value::from(false)));
    assert_eq!(first["instruments"].as_array().unwrap().len(), 1);
    let reports = inspect(Path::new(FEED), &mut |_, _| {}).unwrap().instruments;
    let report = reports.iter().find(|report| report.symbol.starts_with("BTC")).unwrap();
    let exponent = report.quantity_exponent;
    let volume = |lines: &[&BTreeMap<String, &RawValue>], key: &str| {
        lines.iter().map(|line| parse_decimal(line[key].get(), exponent).unwrap()).sum::<i64>()
    };
    let lines: Vec<BTreeMap<String, &RawValue>> =
        lines[1..].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| {
        lines.iter().filter(|line| line["type"].get() == format!("\"{kind}\"")).collect::<Vec<_>>()
    };
    assert_eq!(of("trade").len() as u64, report.trades.count);
    assert_eq!(volume(&of("trade"), "quantity"), parse_decimal(&report.trades.volume, exponent).unwrap());
    // One second of the market: each period has one bar, which holds all trades.
    let seconds: Vec<_> = of("bar").into_iter().filter(|bar| bar["period"].get() == "\"1h\"").collect();
    assert_eq!((seconds.len(), seconds[0]["complete"].get()), (1, "false"));
    assert_eq!(volume(&seconds, "volume"), volume(&of("trade"), "quantity"));
    assert_eq!(seconds[0]["close"].get(), report.trades.last.as_deref().unwrap());
}

#[test]
fn a_range_begins_with_how_things_stood_and_holds_what_happened_in_it() {
    let from_middle = Selection { start_ns: Some(MIDDLE_NS), ..Selection::default() };
    let (_folder, out, _) = csv(&from_middle);
    let (_whole, whole, _) = csv(&Selection::default());
    let (_first, first, _) = csv(&Selection { end_ns: Some(MIDDLE_NS), ..Selection::default() });
    for channel in [Channel::Quotes, Channel::Trades, Channel::Book, Channel::Orders] {
        let name = format!("{channel}.csv");
        let (later, earlier) = (rows(&out.join(&name)), rows(&first.join(&name)));
        let live: Vec<_> = later.iter().filter(|row| row["snapshot"] == "false").cloned().collect();
        assert!(live.iter().all(|row| row["sent_ns"].parse::<u64>().unwrap() >= MIDDLE_NS));
        assert!(!live.is_empty() && !earlier.is_empty());
        assert_eq!([earlier, live].concat(), rows(&whole.join(&name)), "{channel}");
        let snapshots = later.iter().filter(|row| row["snapshot"] == "true").count();
        assert_eq!(snapshots > 0, channel != Channel::Trades);
    }
    // Snapshot and changes lead to the book of the whole.
    let levels = |path: &Path| {
        let mut book = BTreeMap::new();
        for row in rows(&path.join("book.csv")) {
            let key = (row["symbol"].clone(), row["side"].clone(), row["price"].clone());
            if row["quantity"] == "0" {
                book.remove(&key)
            } else {
                book.insert(key, row["quantity"].clone())
            };
        }
        book
    };
    assert_eq!(levels(&out), levels(&whole));
}

#[test]
fn a_range_that_begins_within_an_exchange_event_begins_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.feed");
    let instrument = |symbol: &str| Instrument {
        symbol: symbol.into(),
        price_exponent: -2,
        quantity_exponent: 0,
        tick_size: 1,
        lot_size: 1,
        channels: ChannelSet::of(&[Channel::Orders]),
        book_depth: 0,
        source_id: 0,
    };
    let description = Description::new("a test", vec![instrument("A,B"), instrument("QUIET")]);
    let mut writer = Writer::create(&file, &description).unwrap();
    for (time, order_id, flags) in [(1, 1, 0), (10, 2, primary_flags::LAST), (11, 3, primary_flags::LAST)] {
        let add = Primary {
            order_id,
            side: 1,
            price: 5,
            quantity: 7,
            flags,
            ..Primary::new(PrimaryKind::Add, 0, time)
        };
        writer.push(&add).unwrap();
    }
    writer.finish().unwrap();
    let selection = Selection { start_ns: Some(5), ..Selection::default() };
    let lines = json_lines(&file, &selection);
    assert!(lines[1].contains("\"symbol\":\"QUIET\"") && lines[1].contains("\"orders\":[]"), "{lines:?}");
    assert!(
        lines[2].contains(r#""snapshot":true,"orders":[["1","bid",0.05,7],["2","bid",0.05,7]]"#),
        "{lines:?}"
    );
    assert!(lines[3].contains("\"order_id\":\"3\"") && lines[3].contains("\"first_seq\":3"), "{lines:?}");
    assert_eq!(lines.len(), 4);
    let out = folder.path().join("out.csv");
    export::csv(&file, &selection, &out, &mut |_, _| {}).unwrap();
    let text = fs::read_to_string(out).unwrap();
    assert!(text.ends_with("\"A,B\",3,3,11,11,false,false,add,3,bid,0.05,7,0\n"), "{text}");
}

/// A feed file of one instrument and these primaries.
fn feed(folder: &TempDir, channels: &[Channel], primaries: &[Primary]) -> PathBuf {
    let file = folder.path().join("a.feed");
    let instrument = Instrument {
        symbol: "A".into(),
        price_exponent: -2,
        quantity_exponent: 0,
        tick_size: 1,
        lot_size: 1,
        channels: ChannelSet::of(channels),
        book_depth: 0,
        source_id: 0,
    };
    let mut writer = Writer::create(&file, &Description::new("a test", vec![instrument])).unwrap();
    primaries.iter().for_each(|primary| writer.push(primary).unwrap());
    writer.finish().unwrap();
    file
}

/// A trade that is a whole exchange event.
fn trade(order_id: u64, ts_event_ns: u64) -> Primary {
    let trade = Primary::new(PrimaryKind::Trade, 0, ts_event_ns);
    Primary { order_id, price: 500, quantity: 7, flags: primary_flags::LAST, ..trade }
}

/// The rows of a table as lines.
fn table(file: &Path, selection: &Selection) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.csv");
    export::csv(file, selection, &out, &mut |_, _| {}).unwrap();
    fs::read_to_string(out).unwrap().lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn a_time_that_is_not_known_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let unknown = Primary { ts_recv_ns: 9, ..trade(1, u64::MAX) };
    let file = feed(&folder, &[Channel::Trades], &[unknown]);
    assert_eq!(table(&file, &Selection::default()), ["A,1,1,,9,false,false,5,7,none,1"]);
}

#[test]
fn a_range_that_ends_tells_nothing_of_what_comes_after() {
    const SECOND: u64 = 1_000_000_000;
    let folder = tempfile::tempdir().unwrap();
    let open = Primary { flags: 0, ..trade(4, 3 * SECOND) };
    let trades = [trade(1, SECOND), trade(2, SECOND + 5), trade(3, 2 * SECOND), open];
    let file = feed(&folder, &[Channel::Trades, Channel::Bars], &trades);
    let until = |start_ns, end_ns, channel| {
        let ranged = Selection { start_ns, end_ns: Some(end_ns), ..only(&[channel]) };
        table(&file, &ranged)
    };
    // Bars as they stood at the end of the range, not of the file.
    let bars = until(None, SECOND + 6, Channel::Bars);
    let common = format!("A,2,2,{0},{0},false,false", SECOND + 5);
    let bar = |period: &str, start_ns: u64| format!("{common},{period},{start_ns},5,5,5,5,14,false");
    assert_eq!(bars, [bar("1s", SECOND), bar("1m", 0), bar("5m", 0), bar("1h", 0)]);
    // The last trade, whose exchange event never ends, is told where the file's end is in the range.
    assert_eq!(until(None, 3 * SECOND, Channel::Trades).len(), 3);
    assert_eq!(until(None, 3 * SECOND + 1, Channel::Trades).len(), 4);
    assert_eq!(until(Some(SECOND + 5), 2 * SECOND, Channel::Trades).len(), 1);
    // Nor is it read: damage there is nothing to this range.
    let mut bytes = fs::read(FEED).unwrap();
    let blocks = Reader::open(Path::new(FEED)).unwrap().blocks().to_vec();
    bytes[blocks[2].offset as usize + 100] ^= 1;
    fs::write(&file, bytes).unwrap();
    let first = Selection { end_ns: Some(blocks[1].first_time_ns), ..only(&[Channel::Trades]) };
    assert_eq!(table(&file, &first), table(Path::new(FEED), &first));
}

#[test]
fn losses_that_the_file_declares_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.feed");
    let catalog = Reader::open(Path::new(FEED)).unwrap().catalog().instruments().to_vec();
    let mut writer = Writer::create(&file, &Description::new("a test", catalog)).unwrap();
    let loss = Loss { records: 3, instrument: 0, reason: loss_reason::SLOW, reserved: [0; 3] };
    for number in [1, 2, 3] {
        writer.push(&trade(number, number)).unwrap();
        writer.declare_loss(loss, None, None).unwrap();
    }
    writer.finish().unwrap();
    let losses = |end_ns| {
        let out = folder.path().join("out.csv");
        let selection = Selection { end_ns, ..only(&[Channel::Trades]) };
        let exported = export::csv(&file, &selection, &out, &mut |_, _| {}).unwrap();
        fs::remove_file(out).unwrap();
        exported.losses
    };
    assert_eq!([losses(None), losses(Some(2))], [3, 1]);
}

#[test]
fn records_of_unknown_kinds_are_counted_where_they_are_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let unknown = |ts_event_ns| Primary { kind: 99, ..trade(0, ts_event_ns) };
    let file = feed(&folder, &[Channel::Trades], &[trade(1, 1), unknown(2), unknown(3), trade(2, 4)]);
    let left_out = |selection: &Selection| {
        let out = folder.path().join("out.csv");
        let exported = export::csv(&file, selection, &out, &mut |_, _| {}).unwrap();
        fs::remove_file(out).unwrap();
        exported.left_out
    };
    assert_eq!(left_out(&Selection::default()), 2);
    assert_eq!(left_out(&Selection { start_ns: Some(3), ..Selection::default() }), 1);
}

#[test]
fn what_cannot_be_exported_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let refusal = |selection: &Selection, out: &Path| {
        export::csv(Path::new(FEED), selection, out, &mut |_, _| {}).unwrap_err().to_string()
    };
    let text = refusal(&Selection { symbols: vec!["NONE*".into()], ..Selection::default() }, &out);
    assert!(text.contains("four-symbols.feed is \"NONE*\""), "{text}");
    let text = refusal(&Selection { start_ns: Some(5), end_ns: Some(5), ..Selection::default() }, &out);
    let five = "1970-01-01T00:00:00.000000005Z";
    assert!(text.contains(&format!("the range starts at {five} and ends at {five}; it must")), "{text}");
    let span = "its records are from 2026-01-05T14:30:00Z to 2026-01-05T14:30:00.990960471Z";
    let text = refusal(&Selection { start_ns: Some(MIDDLE_NS * 2), ..Selection::default() }, &out);
    assert!(text.contains("four-symbols.feed has nothing from 2082-01-10T05:00:01Z to its end; "), "{text}");
    assert!(text.contains(span), "{text}");
    let text = refusal(&Selection { end_ns: Some(5), ..Selection::default() }, &out);
    assert!(text.contains(&format!("has nothing from its beginning to {five}; {span}")), "{text}");
    let text = refusal(&Selection::default(), Path::new(export::STANDARD_OUTPUT));
    assert!(text.contains("7 channels are chosen; choose one"), "{text}");
    assert!(!out.exists());
    for selection in [Selection::default(), only(&[Channel::Trades])] {
        let (_folder, out, _) = csv(&selection);
        let error = export::csv(Path::new(FEED), &selection, &out, &mut |_, _| {}).unwrap_err();
        assert!(matches!(error, ExportError::Exists { .. }), "{error}");
    }
    let file = feed(&folder, &[], &[trade(1, 1)]);
    let error = export::csv(&file, &Selection::default(), &out, &mut |_, _| {}).unwrap_err().to_string();
    assert!(error.contains("out would be empty: no chosen instrument has a channel"), "{error}");
    // A file without bars, say.
    let file = folder.path().join("b.feed");
    let trades = Instrument {
        channels: ChannelSet::of(&[Channel::Trades]),
        ..Reader::open(Path::new(FEED)).unwrap().catalog().get(0).unwrap().clone()
    };
    Writer::create(&file, &Description::new("a test", vec![trades])).unwrap().finish().unwrap();
    let error = export::csv(&file, &only(&[Channel::Book]), &out, &mut |_, _| {}).unwrap_err().to_string();
    assert!(error.contains("has channel book; they have trades"), "{error}");
}

#[test]
fn a_name_that_asks_for_packing_is_packed_so_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let export = |name: &str, channels: &[Channel]| {
        let out = folder.path().join(name);
        let exported = export::csv(Path::new(FEED), &only(channels), &out, &mut |_, _| {});
        exported.map(|_| fs::read(&out).unwrap()).map_err(|error| {
            assert!(!out.exists(), "{error}");
            error.to_string()
        })
    };
    let plain = export("a.csv", &[Channel::Trades]).unwrap();
    for name in ["a.csv.zst", "a.csv.ZST"] {
        let packed = export(name, &[Channel::Trades]).unwrap();
        assert!(zstd::decode_all(&packed[..]).unwrap() == plain, "{name}");
    }
    for (name, packing) in [("a.csv.gz", "gzip"), ("a.zip", "zip"), ("a.csv.BZ2", "bzip2"), ("a.xz", "xz")] {
        let text = export(name, &[Channel::Trades]).unwrap_err();
        let expected = format!("{name} cannot be packed with {packing}; allowed: names that end with .zst");
        assert!(text.contains(&expected), "{text}");
    }
    let text = export("d.zst", &[Channel::Trades, Channel::Quotes]).unwrap_err();
    assert!(text.contains("d.zst would be a folder, since 2 channels are chosen"), "{text}");
}

#[test]
fn what_is_before_damage_is_exported_and_the_place_told() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = folder.path().join("damaged.feed");
    let mut bytes = fs::read(FEED).unwrap();
    let blocks = Reader::open(Path::new(FEED)).unwrap().blocks().to_vec();
    bytes[blocks[2].offset as usize + 100] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let out = folder.path().join("out.csv");
    let exported = export::csv(&damaged, &only(&[Channel::Trades]), &out, &mut |_, _| {}).unwrap();
    assert_eq!(exported.records, blocks[2].first_record);
    assert_eq!(exported.fault.unwrap().offset, blocks[2].offset);
    let (found, (_folder, whole, _)) = (rows(&out), csv(&only(&[Channel::Trades])));
    assert!(found.len() as u64 == exported.written && !found.is_empty());
    assert_eq!(found, rows(&whole)[..found.len()]);
    // How things stood at a time behind it is not known.
    let behind = Selection { start_ns: Some(blocks[3].first_time_ns), ..only(&[Channel::Bars]) };
    let out = folder.path().join("behind.csv");
    let error = export::csv(&damaged, &behind, &out, &mut |_, _| {}).unwrap_err().to_string();
    assert!(error.contains(&format!("is damaged at byte {}", blocks[2].offset)) && !out.exists(), "{error}");
}

#[test]
fn of_a_file_that_was_cut_the_whole_blocks_are_exported() {
    let folder = tempfile::tempdir().unwrap();
    let (cut, out) = (folder.path().join("cut.feed"), folder.path().join("out.csv"));
    let bytes = fs::read(FEED).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let exported = export::csv(&cut, &only(&[Channel::Trades]), &out, &mut |_, _| {}).unwrap();
    assert!(exported.fault.is_some() && exported.written > 0);
    assert_eq!(exported.records, Reader::open(&cut).unwrap().records());
}
