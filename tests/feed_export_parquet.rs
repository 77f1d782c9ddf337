//! Parquet files out of feed files: what the tables of CSV say, with types, and nothing lost of any number.
#![cfg(feature = "parquet")]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{program, recorded};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use tempfile::TempDir;
use tickcast::feed::export::{self, ExportError, Exported, Selection};
use tickcast::feed::import::{ImportOptions, dbn as importer};
use tickcast::feed::{Description, Reader, Writer};
use tickcast::limits::EXPORT_GROUP_ROWS_MAX;
use tickcast::model::{ABSENT_TIME, Channel, ChannelSet, Instrument, Primary, PrimaryKind, primary_flags};

const FEED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/feeds/four-symbols.feed");
/// With changes of status.
const HALT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/feeds/halt.feed");
/// In the middle of [`FEED`].
const MIDDLE_NS: u64 = 1_767_623_400_500_000_000;

fn only(channels: &[Channel]) -> Selection {
    Selection { channels: Some(ChannelSet::of(channels)), ..Selection::default() }
}

fn parquet(file: &Path, selection: &Selection, out: &Path) -> Result<Exported, ExportError> {
    export::parquet(file, selection, out, &mut |_, _| {})
}

/// A feed file of these primaries.
fn feed(folder: &TempDir, instruments: Vec<Instrument>, primaries: &[Primary]) -> PathBuf {
    let path = folder.path().join("a.feed");
    let mut writer = Writer::create(&path, &Description::new("a test", instruments)).unwrap();
    primaries.iter().for_each(|primary| writer.push(primary).unwrap());
    writer.finish().unwrap();
    path
}

fn instrument(symbol: &str, price_exponent: i8, quantity_exponent: i8, channels: &[Channel]) -> Instrument {
    Instrument {
        symbol: symbol.into(),
        price_exponent,
        quantity_exponent,
        tick_size: 1,
        lot_size: 1,
        channels: ChannelSet::of(channels),
        book_depth: 0,
        source_id: 0,
    }
}

fn open(path: &Path) -> SerializedFileReader<File> {
    SerializedFileReader::new(File::open(path).unwrap()).unwrap()
}

/// The rows of a table, by column.
fn rows(path: &Path) -> Vec<BTreeMap<String, Field>> {
    let row = |row: parquet::record::Row| row.into_columns().into_iter().collect();
    open(path).get_row_iter(None).unwrap().map(|found| row(found.unwrap())).collect()
}

/// Exports both and has pyarrow find them equal; gives how many rows there are in each table that has some.
fn equal_to_csv(python: &Path, file: &Path, selection: &Selection) -> BTreeMap<String, usize> {
    let folder = tempfile::tempdir().unwrap();
    let (csv, out) = (folder.path().join("csv"), folder.path().join("out"));
    let by_csv = export::csv(file, selection, &csv, &mut |_, _| {}).unwrap();
    assert_eq!(parquet(file, selection, &out).unwrap(), by_csv);
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/python/parquet_equal.py"));
    let tables: Vec<_> = fs::read_dir(&csv).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(tables.len(), fs::read_dir(&out).unwrap().count());
    for table in &tables {
        command.arg(table).arg(out.join(table.file_stem().unwrap()).with_extension("parquet"));
    }
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().count(), tables.len(), "{text}");
    let counted = text.lines().map(|line| {
        let (name, said) = line.split_once(".parquet: ").unwrap();
        (name.to_owned(), said.strip_suffix(" rows equal").unwrap().parse().unwrap())
    });
    counted.filter(|(_, rows)| *rows > 0).collect()
}

#[test]
fn a_real_session_is_that_of_csv_cell_for_cell() {
    let Some(python) = program("TICKCAST_PYTHON") else { return };
    let Some(source) = recorded("dbn/esh4-glbx-mdp3-20231225.mbo.dbn.zst") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("esh4.feed");
    importer::import(&[source], &file, ImportOptions { strict: true }, &mut |_| {}).unwrap();
    let rows = equal_to_csv(&python, &file, &Selection::default());
    assert_eq!((rows["trades"], rows["orders"], rows["book"]), (2_973, 59_448, 58_587));
    assert_eq!(rows.len(), 6);
}

#[test]
fn a_simulated_market_is_that_of_csv_cell_for_cell() {
    let Some(python) = program("TICKCAST_PYTHON") else { return };
    let later = Selection { start_ns: Some(MIDDLE_NS), ..Selection::default() };
    for selection in [Selection::default(), later] {
        let rows = equal_to_csv(&python, Path::new(FEED), &selection);
        assert!(["quotes", "trades", "book", "orders", "ticker", "bars"].iter().all(|name| rows[*name] > 0));
    }
    assert!(equal_to_csv(&python, Path::new(HALT), &Selection::default())["status"] > 0);
}

#[test]
fn numbers_are_exact_to_their_ends_and_what_is_absent_is_null() {
    let folder = tempfile::tempdir().unwrap();
    let channels = [Channel::Orders, Channel::Trades];
    let instruments = vec![instrument("FINE", -9, 0, &channels), instrument("COARSE,", -2, -3, &channels)];
    let last = |primary: Primary| Primary { flags: primary_flags::LAST, ..primary };
    let add = |instrument, order_id, price, quantity| {
        let add = Primary::new(PrimaryKind::Add, instrument, 5);
        last(Primary { order_id, side: 1, price, quantity, ts_recv_ns: i64::MAX as u64, ..add })
    };
    let primaries = [
        add(0, u64::MAX, i64::MAX, 1),
        add(1, 1 << 63, -i64::MAX, i64::MAX),
        last(Primary::new(PrimaryKind::Clear, 0, ABSENT_TIME)),
        last(Primary { price: 1, quantity: 7, ..Primary::new(PrimaryKind::Trade, 1, 6) }),
        last(Primary {
            order_id: 1 << 53 | 1,
            price: 3,
            quantity: 1,
            ..Primary::new(PrimaryKind::Trade, 0, 6)
        }),
    ];
    let file = feed(&folder, instruments, &primaries);
    let out = folder.path().join("out");
    parquet(&file, &only(&channels), &out).unwrap();
    let orders = rows(&out.join("orders.parquet"));
    let column = |rows: &[BTreeMap<String, Field>], name: &str| {
        rows.iter().map(|row| row[name].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(column(&orders, "symbol"), ["\"FINE\"", "\"COARSE,\"", "\"FINE\""]);
    assert_eq!(column(&orders, "order_id"), ["18446744073709551615", "9223372036854775808", "null"]);
    assert_eq!(column(&orders, "price"), ["9223372036.854775807", "-92233720368547758.070000000", "null"]);
    assert_eq!(column(&orders, "quantity"), ["1.000", "9223372036854775.807", "0.000"]);
    assert_eq!(column(&orders, "side"), ["\"bid\"", "\"bid\"", "null"]);
    assert_eq!(orders[2]["ts_ns"], Field::Null);
    let trades = rows(&out.join("trades.parquet"));
    assert_eq!(column(&trades, "trade_id"), ["null", "9007199254740993"]);
    assert_eq!(column(&trades, "price"), ["0.010000000", "0.000000003"]);
    let Some(python) = program("TICKCAST_PYTHON") else { return };
    assert_eq!(equal_to_csv(&python, &file, &only(&channels)).len(), 2);
}

#[test]
fn rows_are_written_in_bounded_groups() {
    let folder = tempfile::tempdir().unwrap();
    let trades: Vec<Primary> = (0..EXPORT_GROUP_ROWS_MAX as u64 + 5)
        .map(|number| {
            let trade = Primary::new(PrimaryKind::Trade, 0, number);
            Primary { order_id: number + 1, price: 5, quantity: 1, flags: primary_flags::LAST, ..trade }
        })
        .collect();
    let file = feed(&folder, vec![instrument("A", 0, 0, &[Channel::Trades])], &trades);
    let out = folder.path().join("trades.parquet");
    parquet(&file, &Selection::default(), &out).unwrap();
    let reader = open(&out);
    let groups = reader.metadata().row_groups().iter().map(RowGroupMetaData::num_rows);
    assert_eq!(groups.collect::<Vec<_>>(), [EXPORT_GROUP_ROWS_MAX as i64, 5]);
    let ids = reader.get_row_iter(None).unwrap().map(|row| row.unwrap().into_columns()[10].1.clone());
    assert!(ids.eq((1..=trades.len() as u64).map(Field::ULong)));
}

#[test]
fn an_empty_range_is_a_table_without_rows() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("trades.parquet");
    // A nanosecond in its middle.
    let (start_ns, end_ns) = (Some(1_767_623_400_500_000_000), Some(1_767_623_400_500_000_001));
    let selection = Selection { start_ns, end_ns, ..only(&[Channel::Trades]) };
    assert_eq!(parquet(Path::new(FEED), &selection, &out).unwrap().written, 0);
    let reader = open(&out);
    let metadata = reader.metadata().file_metadata();
    assert_eq!((metadata.num_rows(), metadata.schema_descr().num_columns()), (0, 11));
    let said = metadata.key_value_metadata().unwrap();
    let said = |key: &str| said.iter().find(|said| said.key == key).unwrap().value.clone().unwrap();
    assert_eq!(said("tickcast.version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (said("tickcast.channel"), said("tickcast.file")),
        ("trades".into(), "four-symbols.feed".into())
    );
    assert_eq!(said("tickcast.source"), Reader::open(Path::new(FEED)).unwrap().description().source);
    let lines = folder.path().join("out.jsonl");
    export::json_lines(Path::new(FEED), &selection, &lines, &mut |_, _| {}).unwrap();
    assert_eq!(fs::read_to_string(lines).unwrap().lines().next().unwrap(), said("tickcast.instruments"));
}

#[test]
fn what_cannot_be_exported_is_refused_by_name_and_nothing_created() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let refusal = |file: &Path, selection: &Selection, out: &Path| {
        parquet(file, selection, out).unwrap_err().to_string()
    };
    let text = refusal(Path::new(FEED), &Selection::default(), Path::new(export::STANDARD_OUTPUT));
    assert!(text.contains("standard output is one table, and 7 channels"), "{text}");
    let text = refusal(Path::new(FEED), &only(&[Channel::Book]), &folder.path().join("book.parquet.zst"));
    assert!(text.contains("book.parquet.zst: a Parquet file is packed inside"), "{text}");
    let text = refusal(Path::new(FEED), &only(&[Channel::Book]), &folder.path().join("book.parquet.gz"));
    assert!(text.contains("where it is packed again, with gzip; name it .parquet"), "{text}");
    let wide =
        vec![instrument("COARSE", 0, 3, &[Channel::Trades]), instrument("FINE", 0, -18, &[Channel::Trades])];
    let file = feed(&folder, wide, &[]);
    let text = refusal(&file, &Selection::default(), &out);
    assert!(text.contains("instrument COARSE: its quantities are in units of 1e3"), "{text}");
    assert!(text.contains("FINE in units of 1e-18") && text.contains("--symbols"), "{text}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let chosen = Selection { symbols: vec!["FINE".into()], ..Selection::default() };
    parquet(&file, &chosen, &out).unwrap();
    assert!(matches!(parquet(&file, &chosen, &out).unwrap_err(), ExportError::Exists { .. }));
}

#[test]
fn what_is_before_damage_is_a_file_and_an_export_that_fails_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("damaged.feed");
    let mut bytes = fs::read(FEED).unwrap();
    let blocks = Reader::open(Path::new(FEED)).unwrap().blocks().to_vec();
    bytes[blocks[1].offset as usize + 100] ^= 1;
    fs::write(&file, bytes).unwrap();
    let out = folder.path().join("trades.parquet");
    let exported = parquet(&file, &only(&[Channel::Trades]), &out).unwrap();
    assert_eq!(exported.fault.unwrap().offset, blocks[1].offset);
    assert_eq!(open(&out).metadata().file_metadata().num_rows() as u64, exported.written);

    let trade = Primary { price: 1, quantity: 7, ..Primary::new(PrimaryKind::Trade, 0, 1 << 63) };
    let file = feed(&folder, vec![instrument("A", 0, 0, &[Channel::Trades])], &[trade]);
    let out = folder.path().join("late.parquet");
    let text = parquet(&file, &Selection::default(), &out).unwrap_err().to_string();
    assert!(text.contains("instrument A: time 9223372036854775808 ns is beyond"), "{text}");
    assert!(!out.exists());
}

#[test]
fn standard_output_takes_one_table() {
    let export = |stdout: Stdio| {
        Command::new(env!("CARGO_BIN_EXE_tickcast"))
            .args(["export", FEED, "--to", "parquet", "--channels", "trades", "--out", "-"])
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap()
    };
    let output = export(Stdio::piped());
    assert!(output.status.success(), "{output:?}");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("trades.parquet");
    parquet(Path::new(FEED), &only(&[Channel::Trades]), &out).unwrap();
    assert!(output.stdout == fs::read(out).unwrap());
    // Nobody reads: nobody is left to be told. A full disk is told by its name.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = export(writer.into());
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let output = export(File::options().write(true).open("/dev/full").unwrap().into());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && text.contains("cannot write standard output: No space left on device"),
        "{text}"
    );
}
