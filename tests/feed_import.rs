//! Importing DBN: what is refused, and what instruments are called. The input is made with Databento's own encoder.
#![cfg(feature = "dbn")]

#[path = "common/feeds.rs"]
mod feeds;

use std::path::{Path, PathBuf};

use dbn::decode::{DbnDecoder, DbnMetadata};
use dbn::encode::{EncodeRecord, dbn::Encoder as DbnEncoder};
use dbn::{
    MappingInterval, MboMsg, Mbp1Msg, Metadata, RecordHeader, SType, Schema, SymbolMapping, TradeMsg,
    UNDEF_PRICE,
};
use feeds::{Case, gzip, primaries, report};
use tickcast::feed::Reader;
use tickcast::feed::export::{self, Selection};
use tickcast::feed::import::{Damage, ImportError, ImportOptions, Imported, Place, dbn as importer};
use tickcast::model::{Primary, PrimaryKind};

/// 2024-01-10T00:00:00Z; the days of the mappings follow.
const DAY_NS: u64 = 1_704_844_800_000_000_000;
const HOURS_24_NS: u64 = 86_400_000_000_000;

/// Imports of Databento files.
trait ImportDbn {
    fn try_import(&self, strict: bool) -> Result<Imported, ImportError>;

    /// Imports what is whole.
    fn taken(&self) -> Imported {
        self.try_import(false).unwrap()
    }

    /// What is refused where no damage is tolerated.
    fn refusal(&self) -> String {
        self.try_import(true).unwrap_err().to_string()
    }

    /// Imports what is whole, where it is so many records and one damage.
    fn damage(&self, records: u64) -> Damage {
        let imported = self.taken();
        assert_eq!((imported.source_records, imported.findings.damaged), (records, 1), "{imported:?}");
        imported.findings.damage[0].clone()
    }

    fn symbols(&self) -> Vec<String>;
}

impl ImportDbn for Case {
    fn try_import(&self, strict: bool) -> Result<Imported, ImportError> {
        let import = |inputs: &[PathBuf], out: &Path, options: ImportOptions| {
            importer::import(inputs, out, options, &mut |_| {})
        };
        self.import(strict, import)
    }

    fn symbols(&self) -> Vec<String> {
        self.taken();
        let reader = Reader::open(&self.out()).unwrap();
        reader.catalog().instruments().iter().map(|instrument| instrument.symbol.clone()).collect()
    }
}

fn date(day: u8) -> time::Date {
    time::Date::from_calendar_date(2024, time::Month::January, day).unwrap()
}

/// `symbol` is instrument `id` from one day of January 2024 to another.
fn mapping(symbol: &str, id: u32, from: u8, to: u8) -> SymbolMapping {
    let interval = MappingInterval { start_date: date(from), end_date: date(to), symbol: id.to_string() };
    SymbolMapping { raw_symbol: symbol.into(), intervals: vec![interval] }
}

fn metadata(schema: Option<Schema>, mappings: Vec<SymbolMapping>) -> Metadata {
    Metadata::builder()
        .dataset("XNAS.ITCH")
        .schema(schema)
        .start(DAY_NS)
        .stype_in(Some(SType::RawSymbol))
        .stype_out(SType::InstrumentId)
        .mappings(mappings)
        .build()
}

fn encode<T: dbn::encode::DbnEncodable>(metadata: &Metadata, records: &[T]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = DbnEncoder::new(&mut bytes, metadata).unwrap();
    records.iter().for_each(|record| encoder.encode_record(record).unwrap());
    bytes
}

fn trade(publisher: u16, id: u32, time_ns: u64) -> TradeMsg {
    TradeMsg {
        hd: RecordHeader::new::<TradeMsg>(dbn::rtype::MBP_0, publisher, id, time_ns),
        price: 1_000_000_000,
        size: 1,
        action: b'T' as _,
        side: b'B' as _,
        ts_recv: time_ns,
        ..TradeMsg::default()
    }
}

fn order(action: u8) -> MboMsg {
    MboMsg {
        hd: RecordHeader::new::<MboMsg>(dbn::rtype::MBO, 2, 1, DAY_NS),
        order_id: 7,
        price: 1_000_000_000,
        size: 1,
        flags: 128.into(),
        action: action as _,
        side: b'A' as _,
        ts_recv: DAY_NS,
        ..MboMsg::default()
    }
}

fn trades(records: &[TradeMsg]) -> Vec<u8> {
    encode(&metadata(Some(Schema::Trades), vec![]), records)
}

fn orders(records: &[MboMsg]) -> Vec<u8> {
    encode(&metadata(Some(Schema::Mbo), vec![]), records)
}

#[test]
fn what_is_no_dbn_is_refused_by_name() {
    let refusal = |bytes: &[u8]| Case::new().input("in.dbn", bytes).refusal();
    let text = refusal(b"");
    assert!(text.contains("in.dbn is empty; expected a DBN file"), "{text}");
    let text = refusal(b"TICKFEED and so on");
    assert!(text.contains("starts with \"TICK\"; expected a DBN file"), "{text}");
    let text = refusal(&zstd::encode_all(&b"timestamp,price\n"[..], 3).unwrap());
    assert!(text.contains("starts with \"time\"; expected a DBN file"), "{text}");
    let mut newer = trades(&[]);
    newer[3] = 4;
    let text = refusal(&newer);
    assert!(text.contains("the DBN version is 4; allowed: 1, 2 and 3"), "{text}");
    let mut long = trades(&[]);
    long[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    let text = refusal(&long);
    assert!(
        text.contains("the length of the metadata is 4294967295; allowed: at most 268435456 bytes"),
        "{text}"
    );
    let refusal = |inputs: &[PathBuf]| {
        importer::import(inputs, Path::new("x"), ImportOptions::default(), &mut |_| {})
            .unwrap_err()
            .to_string()
    };
    assert!(refusal(&[PathBuf::from("/nonexistent/a.dbn")]).starts_with("cannot open /nonexistent/a.dbn"));
    assert_eq!(refusal(&[]), "0 input files given; 1 to 1024 can be imported together");
    let text = refusal(&[std::env::temp_dir()]);
    assert!(text.contains("directory"), "{text}");
    let text = refusal(&[PathBuf::from("/dev/null")]);
    assert!(text.contains("/dev/null: the input is a pipe or a device; allowed: files"), "{text}");
}

#[test]
fn other_schemas_are_refused_by_name() {
    for (schema, name) in
        [(Schema::Ohlcv1M, "ohlcv-1m"), (Schema::Cmbp1, "cmbp-1"), (Schema::Cbbo1S, "cbbo-1s")]
    {
        let text =
            Case::new().input("in.dbn", &encode::<TradeMsg>(&metadata(Some(schema), vec![]), &[])).refusal();
        let allowed = "allowed: mbo, mbp-1, mbp-10, tbbo, bbo-1s, bbo-1m, trades, status, definition, statistics, \
                       imbalance and mixed";
        assert!(text.contains(&format!("the schema is {name}; {allowed}")), "{text}");
    }
    let live = Metadata { ts_out: true, ..metadata(Some(Schema::Trades), vec![]) };
    let text = Case::new().input("in.dbn", &encode::<TradeMsg>(&live, &[])).refusal();
    assert!(text.contains("a live capture with sending times"), "{text}");
}

#[test]
fn of_a_file_cut_anywhere_the_records_before_the_cut_are_taken() {
    let bytes = trades(&[trade(2, 1, DAY_NS), trade(2, 1, DAY_NS + 1)]);
    let start = bytes.len() - 2 * size_of::<TradeMsg>();
    for length in 1..bytes.len() {
        let case = Case::new().input("in.dbn", &bytes[..length]);
        let records = (length.saturating_sub(start) / size_of::<TradeMsg>()) as u64;
        if length >= start && (length - start).is_multiple_of(size_of::<TradeMsg>()) {
            assert_eq!(case.taken().source_records, records);
            continue;
        }
        let s = if records == 1 { "" } else { "s" };
        let truncated = format!("in.dbn is truncated: after {records} whole record{s}, ");
        let text = case.refusal();
        assert!(text.contains(&truncated) && text.ends_with("; nothing was written"), "{length}: {text}");
        if records > 0 {
            let damage = case.damage(records);
            assert!(damage.to_string().contains(&truncated), "{length}: {damage}");
        } else {
            assert!(case.try_import(false).unwrap_err().to_string().contains(&truncated), "{length}");
        }
    }
    // Compressed data that ends too early is noticed even where the records do not show it.
    for packed in [zstd::encode_all(&bytes[..], 3).unwrap(), gzip(&bytes)] {
        for length in 5..packed.len() {
            let text = Case::new().input("in.dbn.packed", &packed[..length]).refusal();
            assert!(text.contains("in.dbn.packed is truncated: after "), "{length}: {text}");
        }
        assert_eq!(Case::new().input("in.dbn.packed", &packed).taken().source_records, 2);
    }
}

#[test]
fn damaged_records_are_left_out_and_located() {
    let (first, last) = (order(b'A'), MboMsg { order_id: 8, ..order(b'A') });
    let case = Case::new().input("in.dbn", &orders(&[first.clone(), order(b'Z'), last.clone()]));
    let damage = case.damage(2);
    assert_eq!(damage.place, Place::Record(1));
    assert_eq!(damage.problem, "action 'Z'; allowed: A, C, M, R, T, F and N");

    // Behind a length that cannot be nobody knows where the next record starts.
    let mut bytes = orders(&[first, order(b'A'), last]);
    let second = bytes.len() - 2 * size_of::<MboMsg>();
    bytes[second] = 1;
    let damage = Case::new().input("in.dbn", &bytes).damage(1);
    assert_eq!(damage.place, Place::Record(1));
    assert!(damage.problem.ends_with("nothing after it can be read"), "{damage}");

    // Of many only the first are told.
    let many: Vec<MboMsg> = std::iter::once(order(b'A')).chain((0..100).map(|_| order(b'Z'))).collect();
    let findings = Case::new().input("in.dbn", &orders(&many)).taken().findings;
    assert_eq!((findings.damaged, findings.damage.len()), (100, 8));

    // Nothing but damage is no recording.
    let error = Case::new().input("in.dbn", &orders(&[order(b'Z')])).try_import(false).unwrap_err();
    assert!(matches!(error, ImportError::Nothing { .. }), "{error}");
}

#[test]
fn flipped_bits_never_panic() {
    let mut bytes = trades(&[trade(2, 1, DAY_NS), trade(2, 1, DAY_NS + 1)]);
    let case = Case::new().input("in.dbn", &bytes);
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&case.inputs[0], &bytes).unwrap();
        if let Err(error) = case.try_import(true) {
            assert!(error.to_string().contains("in.dbn"), "bit {bit}: {error}");
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn records_that_would_make_a_wrong_book_are_refused_by_number() {
    let refusal = |bad: MboMsg| Case::new().input("in.dbn", &orders(&[order(b'A'), bad])).refusal();
    for (bad, reason) in [
        (order(b'Z'), "action 'Z'; allowed: A, C, M, R, T, F and N"),
        (MboMsg { side: b'x' as _, ..order(b'A') }, "side 'x'; allowed: A, B and N"),
        (MboMsg { side: b'N' as _, ..order(b'C') }, "action 'C' with side 'N'; an order has side A or B"),
        (MboMsg { price: UNDEF_PRICE, ..order(b'M') }, "action 'M' without a price or a size"),
        (MboMsg { size: u32::MAX, ..order(b'C') }, "action 'C' without a price or a size"),
        (
            MboMsg { flags: 64.into(), ..order(b'A') },
            "action 'A' with flags 64: a level (flag 64 or 16), not an order",
        ),
        (MboMsg { price: i64::MIN, ..order(b'A') }, "the smallest 64-bit integer is no price"),
    ] {
        let text = refusal(bad);
        assert!(text.contains("record 1 (from 0)") && text.contains(reason), "{text}");
    }
    // A record of another schema in between.
    let mixed = [orders(&[order(b'A')]), trade(2, 1, DAY_NS).as_ref().to_vec()].concat();
    let text = Case::new().input("in.dbn", &mixed).refusal();
    assert!(text.contains("type 0x00 of 48 bytes; a record of schema mbo has 56 bytes"), "{text}");
}

#[test]
fn receive_times_that_the_source_calls_bad_are_counted() {
    let flagged = |flags: u8| MboMsg { flags: flags.into(), ..order(b'N') };
    let case = Case::new().input("in.dbn", &orders(&[order(b'A'), flagged(128 | 8), flagged(128 | 32 | 8)]));
    let odd = case.taken().findings.odd;
    assert_eq!(odd["records whose receive time the source itself calls bad"], 1, "{odd:?}");
}

#[test]
fn a_clear_and_a_trade_without_a_price_are_kept() {
    let clear = MboMsg { price: UNDEF_PRICE, side: b'N' as _, size: 0, ..order(b'R') };
    let priceless = MboMsg { price: UNDEF_PRICE, ..order(b'T') };
    let case = Case::new().input("in.dbn", &orders(&[order(b'A'), clear, priceless]));
    case.taken();
    let kinds: Vec<_> = primaries(&case.out()).iter().map(Primary::kind).collect();
    assert_eq!(kinds, [PrimaryKind::Add, PrimaryKind::Clear, PrimaryKind::Note].map(Some));
    let report = report(&case.out());
    assert_eq!((report.instruments[0].book.orders, report.instruments[0].trades.count), (Some(0), 0));
}

#[test]
fn instruments_are_called_by_the_mapping_of_the_day() {
    let mappings = vec![mapping("OLD", 1, 10, 11), mapping("NEW", 1, 11, 12), mapping("STEADY", 2, 10, 11)];
    let records = [
        trade(2, 1, DAY_NS + 5),
        trade(2, 2, DAY_NS + 6),
        trade(2, 3, DAY_NS + 7),
        trade(2, 1, DAY_NS + HOURS_24_NS),
        trade(2, 2, DAY_NS + 3 * HOURS_24_NS),
    ];
    let case = Case::new().input("in.dbn", &encode(&metadata(Some(Schema::Trades), mappings), &records));
    assert_eq!(
        case.symbols(),
        ["OLD", "STEADY", "3", "NEW"],
        "without a mapping the number; with one only, always it"
    );
}

/// One number, two names: an export says which it was on which day, as the source did.
#[test]
fn a_number_that_is_given_anew_keeps_its_names_of_each_day() {
    let mut back = mapping("OLD", 1, 10, 11);
    back.intervals.extend(mapping("OLD", 1, 13, 14).intervals);
    let mappings = vec![back, mapping("NEW", 1, 11, 13), mapping("STEADY", 2, 10, 14)];
    let source = metadata(Some(Schema::Trades), mappings);
    let records: Vec<TradeMsg> = (0..4)
        .flat_map(|day| [1, 2].map(|id| trade(2, id, DAY_NS + day * HOURS_24_NS + u64::from(id))))
        .collect();
    let case = Case::new().input("in.dbn", &encode(&source, &records));
    case.taken();
    let out = case.out().with_extension("dbn");
    export::dbn::export(&case.out(), &Selection::default(), &out, &mut |_, _| {}).unwrap();
    let exported = DbnDecoder::new(&std::fs::read(&out).unwrap()[..]).unwrap().metadata().clone();
    let (before, after) = (source.symbol_map().unwrap(), exported.symbol_map().unwrap());
    for day in 0..4 {
        for id in [1, 2] {
            let time_ns = DAY_NS + day * HOURS_24_NS;
            let name = before.get_for_ts(time_ns, id);
            assert!(name.is_some());
            assert_eq!(after.get_for_ts(time_ns, id), name, "number {id} on day {day}");
        }
    }
}

#[test]
fn names_are_made_plain_and_distinct() {
    let long = "A".repeat(33);
    let mappings = vec![
        mapping("AAPL  240119C00150000", 1, 10, 11),
        mapping(&long, 2, 10, 11),
        mapping("SAME", 3, 10, 11),
    ];
    let records = [trade(2, 1, DAY_NS), trade(2, 2, DAY_NS), trade(2, 3, DAY_NS), trade(9, 3, DAY_NS + 1)];
    let case = Case::new().input("in.dbn", &encode(&metadata(Some(Schema::Trades), mappings), &records));
    assert_eq!(case.symbols(), ["AAPL_240119C00150000", "2", "SAME@2", "SAME@9"]);

    // A continuous contract: one name, two instruments of one publisher.
    let mut rolled = mapping("ES.c.0", 5, 10, 11);
    rolled.intervals.extend(mapping("ES.c.0", 6, 11, 12).intervals);
    let records = [trade(1, 5, DAY_NS), trade(1, 6, DAY_NS + HOURS_24_NS)];
    let case = Case::new().input("in.dbn", &encode(&metadata(Some(Schema::Trades), vec![rolled]), &records));
    assert_eq!(case.symbols(), ["ES.c.0@1:5", "ES.c.0@1:6"]);
}

#[test]
fn one_instrument_in_two_schemas_is_refused() {
    let quote = Mbp1Msg {
        hd: RecordHeader::new::<Mbp1Msg>(dbn::rtype::MBP_1, 2, 1, DAY_NS),
        action: b'A' as _,
        side: b'B' as _,
        ..Mbp1Msg::default()
    };
    let quotes = encode(&metadata(Some(Schema::Mbp1), vec![]), &[quote]);
    let text = Case::new().input("a.dbn", &quotes).input("b.dbn", &trades(&[trade(2, 1, DAY_NS)])).refusal();
    assert!(text.contains("symbol \"1\" comes as mbp-1 and as trades"), "{text}");
}

#[test]
fn an_existing_feed_file_is_not_overwritten() {
    let case = Case::new().input("in.dbn", &trades(&[trade(2, 1, DAY_NS)]));
    case.taken();
    let before = std::fs::read(case.out()).unwrap();
    let options = ImportOptions::default();
    let error = importer::import(&case.inputs, &case.out(), options, &mut |_| {}).unwrap_err();
    let text = error.to_string();
    assert!(
        text.ends_with("out.feed exists; an import overwrites nothing: remove it, or name another file"),
        "{text}"
    );
    assert_eq!(std::fs::read(case.out()).unwrap(), before);
}

#[test]
fn progress_ends_at_its_total() {
    let case = Case::new().input("in.dbn", &trades(&[trade(2, 1, DAY_NS)]));
    let mut heard = Vec::new();
    let options = ImportOptions::default();
    importer::import(&case.inputs, &case.out(), options, &mut |progress| heard.push(progress)).unwrap();
    let bytes = std::fs::metadata(&case.inputs[0]).unwrap().len();
    let last = heard.last().unwrap();
    assert_eq!((last.done, last.total), (2 * bytes, 2 * bytes));
    assert!(heard.iter().map(|progress| progress.done).is_sorted());
}
