//! Databento files out of feed files: equal to what was imported, and readable where the records come from elsewhere.
#![cfg(feature = "dbn")]

mod common;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{program, recorded};
use dbn::decode::{DbnDecoder, DbnMetadata, DecodeRecord};
use dbn::{MboMsg, Metadata, SType, TradeMsg, UNDEF_PRICE, rtype};
use tempfile::TempDir;
use tickcast::feed::export::{self, Exported, Selection};
use tickcast::feed::import::{ImportOptions, dbn as importer};
use tickcast::feed::{Description, Reader, Writer};
use tickcast::model::{ABSENT, Channel, ChannelSet, Instrument, Primary, PrimaryKind, primary_flags};

const RECORDINGS: [&str; 15] = [
    "esh4-glbx-mdp3-20231225.mbo.dbn.zst",
    "futures_mbp-1_2024-07-01T23-58.dbn.zst",
    "futures_trades_2024-07-01T23-58.dbn.zst",
    "test_data.bbo-1s.v3.dbn.zst",
    "test_data.mbo.v1.dbn.zst",
    "test_data.mbo.v2.dbn.zst",
    "test_data.mbo.v3.dbn.zst",
    "test_data.mbp-1.v3.dbn.zst",
    "test_data.mbp-10.dbn",
    "test_data.mbp-10.v1.dbn.zst",
    "test_data.mbp-10.v3.dbn.zst",
    "test_data.status.v3.dbn.zst",
    "test_data.tbbo.v3.dbn.zst",
    "test_data.trades.v1.dbn.zst",
    "test_data.trades.v3.dbn.zst",
];

/// The recording, and what `import` and `export` made of it.
fn round_trip(recording: &str, folder: &TempDir) -> Option<(PathBuf, PathBuf, Exported)> {
    let source = recorded(&format!("dbn/{recording}"))?;
    let feed = folder.path().join(format!("{recording}.feed"));
    importer::import(std::slice::from_ref(&source), &feed, ImportOptions { strict: true }, &mut |_| {})
        .unwrap();
    let out = folder.path().join(recording);
    let exported = export::dbn::export(&feed, &Selection::default(), &out, &mut |_, _| {}).unwrap();
    Some((source, out, exported))
}

/// A DBN file, unpacked: its metadata, and the bytes of all its records.
fn unpacked(path: &Path) -> (Metadata, Vec<u8>) {
    let mut bytes = fs::read(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "zst") {
        let mut plain = Vec::new();
        zstd::Decoder::new(&bytes[..]).unwrap().read_to_end(&mut plain).unwrap();
        bytes = plain;
    }
    let metadata = DbnDecoder::new(&bytes[..]).unwrap().metadata().clone();
    let length = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    (metadata, bytes.split_off(8 + length))
}

#[test]
fn what_was_imported_comes_out_byte_for_byte() {
    for recording in RECORDINGS {
        let folder = tempfile::tempdir().unwrap();
        let Some((source, out, exported)) = round_trip(recording, &folder) else { return };
        let ((before, records), (after, found)) = (unpacked(&source), unpacked(&out));
        assert!(!records.is_empty() && records == found, "{recording}");
        assert_eq!((exported.left_out, exported.fault), (0, None));
        assert_eq!((after.version, after.dataset, after.schema), (3, before.dataset, before.schema));
        assert_eq!((after.stype_in, after.stype_out), (Some(SType::RawSymbol), SType::InstrumentId));
        let names = |metadata: &Metadata| {
            let map = metadata.symbol_map().unwrap();
            let mut names: Vec<_> =
                map.inner().iter().map(|(id, named)| (*id, named.intervals()[0].symbol.clone())).collect();
            names.sort();
            names
        };
        assert_eq!(names(&unpacked(&out).0), names(&unpacked(&source).0), "{recording}");
    }
}

#[test]
fn databentos_own_package_finds_them_equal() {
    let Some(python) = program("TICKCAST_PYTHON") else { return };
    let folder = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/python/dbn_equal.py");
    let mut command = Command::new(python);
    command.arg(script);
    for recording in RECORDINGS {
        let Some((source, out, _)) = round_trip(recording, &folder) else { return };
        command.args([source, out]);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().count(), RECORDINGS.len(), "{text}");
    assert!(text.contains("esh4-glbx-mdp3-20231225.mbo.dbn.zst: 68792 records equal"), "{text}");
}

#[test]
fn a_range_is_the_records_of_the_range() {
    let folder = tempfile::tempdir().unwrap();
    let Some((source, _, _)) = round_trip("futures_mbp-1_2024-07-01T23-58.dbn.zst", &folder) else { return };
    let feed = folder.path().join("futures_mbp-1_2024-07-01T23-58.dbn.zst.feed");
    let times = |path: &Path| {
        let mut decoder = DbnDecoder::from_zstd_file(path).unwrap();
        let mut times = Vec::new();
        while let Some(record) = decoder.decode_record::<dbn::Mbp1Msg>().unwrap() {
            times.push(record.ts_recv);
        }
        (times, decoder.metadata().start, decoder.metadata().end.unwrap().get())
    };
    let (all, ..) = times(&source);
    let (start_ns, end_ns) = (all[100], all[200]);
    let selection = Selection { start_ns: Some(start_ns), end_ns: Some(end_ns), ..Selection::default() };
    let out = folder.path().join("part.dbn.zst");
    export::dbn::export(&feed, &selection, &out, &mut |_, _| {}).unwrap();
    let expected: Vec<u64> = all.into_iter().filter(|time| (start_ns..end_ns).contains(time)).collect();
    assert_eq!(times(&out), (expected, start_ns, end_ns));
}

fn instrument(price_exponent: i8, quantity_exponent: i8, channels: &[Channel]) -> Instrument {
    Instrument {
        symbol: "A".into(),
        price_exponent,
        quantity_exponent,
        tick_size: 1,
        lot_size: 1,
        channels: ChannelSet::of(channels),
        book_depth: 0,
        source_id: 0,
    }
}

/// Writes a feed file that no DBN file was the source of, and exports it.
fn export_own(instrument: Instrument, primaries: &[Primary]) -> Result<(Exported, Vec<u8>), String> {
    let folder = tempfile::tempdir().unwrap();
    let (feed, out) = (folder.path().join("a.feed"), folder.path().join("a.dbn"));
    let mut writer = Writer::create(&feed, &Description::new("a market", vec![instrument])).unwrap();
    primaries.iter().for_each(|primary| writer.push(primary).unwrap());
    writer.finish().unwrap();
    let exported = export::dbn::export(&feed, &Selection::default(), &out, &mut |_, _| {});
    exported.map(|exported| (exported, fs::read(&out).unwrap())).map_err(|error| {
        assert!(!out.exists(), "half an export looks like a whole one: {error}");
        error.to_string()
    })
}

#[test]
fn orders_of_another_source_become_mbo() {
    let of = |kind, order_id, side, price, quantity| {
        let flags = primary_flags::LAST;
        Primary { order_id, side, price, quantity, flags, ..Primary::new(kind, 0, 1_000) }
    };
    let primaries = [
        of(PrimaryKind::Clear, 0, 0, ABSENT, 0),
        Primary { flags: primary_flags::SNAPSHOT, ..of(PrimaryKind::Add, 7, 2, 1_050, 20) },
        Primary { level: 1, ..of(PrimaryKind::Status, 0, 0, ABSENT, 0) },
        Primary { flags: 0, ..of(PrimaryKind::Trade, 99, 1, 1_050, 5) },
        of(PrimaryKind::Execute, 7, 2, 1_050, 5),
    ];
    let (exported, bytes) =
        export_own(instrument(-2, 0, &[Channel::Orders, Channel::Trades]), &primaries).unwrap();
    assert_eq!((exported.records, exported.written, exported.left_out), (5, 5, 1));
    let mut decoder = DbnDecoder::new(&bytes[..]).unwrap();
    assert_eq!(
        (decoder.metadata().dataset.as_str(), decoder.metadata().schema),
        ("TICKCAST", Some(dbn::Schema::Mbo))
    );
    let mut found = Vec::new();
    while let Some(message) = decoder.decode_record::<MboMsg>().unwrap() {
        assert_eq!((message.hd.instrument_id, message.hd.ts_event, message.ts_recv), (1, 1_000, u64::MAX));
        let letters = (message.action as u8 as char, message.side as u8 as char);
        found.push((letters, message.price, message.size, message.order_id, message.flags.raw()));
    }
    let price = 10_500_000_000;
    assert_eq!(
        found,
        [
            (('R', 'N'), UNDEF_PRICE, 0, 0, 128),
            (('A', 'A'), price, 20, 7, 32),
            (('T', 'B'), price, 5, 0, 0),
            (('F', 'A'), price, 5, 7, 0),
            (('C', 'A'), price, 5, 7, 128),
        ]
    );
}

#[test]
fn trades_alone_become_trades_and_what_does_not_fit_is_refused_by_number() {
    let trade = |price, quantity| Primary { price, quantity, ..Primary::new(PrimaryKind::Trade, 0, 1_000) };
    let trades =
        |price_exponent, quantity_exponent| instrument(price_exponent, quantity_exponent, &[Channel::Trades]);
    let (_, bytes) = export_own(trades(-10, -1), &[trade(70, 30)]).unwrap();
    let mut decoder = DbnDecoder::new(&bytes[..]).unwrap();
    let message = decoder.decode_record::<TradeMsg>().unwrap().unwrap();
    assert_eq!((message.price, message.size, message.action), (7, 3, b'T' as _));
    for (instrument, primary, reason) in [
        (trades(-2, 0), trade(1, -1), "quantity -1e0 is no whole number below 2^32 - 1"),
        (trades(-2, -1), trade(1, 5), "quantity 5e-1 is no whole number"),
        (trades(-2, 0), trade(1, i64::from(u32::MAX)), "quantity 4294967295e0"),
        (trades(-10, 0), trade(1, 1), "price 1e-10 is no multiple of 1e-9"),
        (trades(18, 0), trade(i64::MAX, 1), "price 9223372036854775807e18"),
    ] {
        let text = export_own(instrument, &[trade(0, 0), primary]).unwrap_err();
        assert!(text.contains("instrument A: record 1 (from 0): ") && text.contains(reason), "{text}");
    }
    let levels = instrument(-2, 0, &[Channel::Book, Channel::Quotes]);
    let best = Instrument { book_depth: 1, ..levels.clone() };
    let ten = Instrument { book_depth: 10, ..levels.clone() };
    for levels in [levels, best, ten] {
        let text = export_own(levels, &[Primary::new(PrimaryKind::Top, 0, 5)]).unwrap_err();
        let expected =
            "no DBN schema holds its channels (quotes, book); allowed: orders (mbo), or trades without";
        assert!(text.contains(expected) && !text.contains("mbp-"), "{text}");
    }
    let top = Primary::new(PrimaryKind::Top, 0, 5);
    let text = export_own(instrument(-2, 0, &[Channel::Orders]), &[top]).unwrap_err();
    assert!(text.contains("kind top; schema mbo has no such record"), "{text}");
}

#[test]
fn instruments_of_two_schemas_come_out_in_a_file_of_no_single_one() {
    let folder = tempfile::tempdir().unwrap();
    let (Some(mbo), Some(mbp)) =
        (recorded("dbn/test_data.mbo.v3.dbn.zst"), recorded("dbn/futures_mbp-1_2024-07-01T23-58.dbn.zst"))
    else {
        return;
    };
    let feed = folder.path().join("both.feed");
    importer::import(&[mbo.clone(), mbp.clone()], &feed, ImportOptions { strict: true }, &mut |_| {})
        .unwrap();
    let out = folder.path().join("out.dbn");
    let exported = export::dbn::export(&feed, &Selection::default(), &out, &mut |_, _| {}).unwrap();
    assert_eq!((exported.written, exported.records), (2_290, Reader::open(&feed).unwrap().records()));
    let (metadata, records) = unpacked(&out);
    assert_eq!(metadata.schema, None);
    assert!(records == [unpacked(&mbo).1, unpacked(&mbp).1].concat(), "the orders are older");
    // Of one of them alone the schema is known.
    let only = Selection { symbols: vec!["ESU4".into()], ..Selection::default() };
    let out = folder.path().join("one.dbn");
    assert_eq!(export::dbn::export(&feed, &only, &out, &mut |_, _| {}).unwrap().written, 2_288);
    assert_eq!(unpacked(&out).0.schema, Some(dbn::Schema::Mbp1));
}

#[test]
fn what_is_before_damage_is_exported_and_the_place_told() {
    let folder = tempfile::tempdir().unwrap();
    let Some((_, whole, _)) = round_trip(RECORDINGS[0], &folder) else { return };
    let feed = folder.path().join(format!("{}.feed", RECORDINGS[0]));
    let blocks = Reader::open(&feed).unwrap().blocks().to_vec();
    let mut bytes = fs::read(&feed).unwrap();
    bytes[blocks[8].offset as usize + 100] ^= 1;
    fs::write(&feed, bytes).unwrap();
    let out = folder.path().join("out.dbn");
    let exported = export::dbn::export(&feed, &Selection::default(), &out, &mut |_, _| {}).unwrap();
    assert_eq!((exported.records, exported.written), (blocks[8].first_record, blocks[8].first_record));
    assert_eq!(exported.fault.unwrap().offset, blocks[8].offset);
    let (found, whole) = (unpacked(&out).1, unpacked(&whole).1);
    assert!(!found.is_empty() && found == whole[..found.len()]);
}

#[test]
fn instruments_of_two_schemas_of_another_source_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (feed, out) = (folder.path().join("a.feed"), folder.path().join("a.dbn"));
    let orders = instrument(-2, 0, &[Channel::Orders]);
    let trades = Instrument { symbol: "B".into(), ..instrument(-2, 0, &[Channel::Trades]) };
    Writer::create(&feed, &Description::new("a market", vec![orders, trades])).unwrap().finish().unwrap();
    let error =
        export::dbn::export(&feed, &Selection::default(), &out, &mut |_, _| {}).unwrap_err().to_string();
    assert!(error.contains("instruments of the schemas mbo and trades; a DBN file has one"), "{error}");
    assert!(!out.exists());
}

#[test]
fn what_no_import_can_have_written_is_refused_by_number() {
    let folder = tempfile::tempdir().unwrap();
    let (feed, out) = (folder.path().join("a.feed"), folder.path().join("a.dbn"));
    let refusal = |schema: &str, primaries: &[Primary]| {
        let _ = std::fs::remove_file(&feed);
        let _ = std::fs::remove_file(&out);
        let instrument = Instrument {
            symbol: "A".into(),
            price_exponent: -9,
            quantity_exponent: 0,
            tick_size: 0,
            lot_size: 0,
            channels: ChannelSet::of(&[Channel::Orders, Channel::Book]),
            book_depth: 0,
            source_id: 1,
        };
        let source = format!("a.dbn: dbn version 3, D {schema}, 1 records");
        let mut writer = Writer::create(&feed, &Description::new(source, vec![instrument])).unwrap();
        primaries.iter().for_each(|primary| writer.push(primary).unwrap());
        writer.finish().unwrap();
        export::dbn::export(&feed, &Selection::default(), &out, &mut |_, _| {}).unwrap_err().to_string()
    };
    let of = |kind, count: u8| Primary { count: u32::from(count), ..Primary::new(kind, 0, 1_000) };
    let definition = of(PrimaryKind::Note, rtype::INSTRUMENT_DEF);
    let order = of(PrimaryKind::Add, b'A');
    let status = of(PrimaryKind::Status, rtype::STATUS);
    for (schema, primaries, reason) in [
        ("mixed", &[order, of(PrimaryKind::Top, b'A')][..], "record 1 (from 0): a level without the record"),
        ("mixed", &[definition], "the last record has 1 parts of 21"),
        ("mixed", &[definition, order], "record 1 (from 0): expected 20 of kind note before it"),
        ("mbo", &[order, status], "a record of schema status; the others are of mbo"),
        ("mixed", &[of(PrimaryKind::Note, 7)], "the source's action is 7, its channel 0; no record of DBN"),
        ("mixed", &[Primary { count: 1 << 8, ..order }], "the source's action is 256"),
    ] {
        let text = refusal(schema, primaries);
        assert!(text.contains("instrument A: ") && text.contains(reason), "{text}");
    }
}
