//! Writing, reading and replaying feed files: records a second, in memory but for the replay. Where the real recording is
//! there, reading it beside the `dbn` crate, which reads the file that it was imported from.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::hint::black_box;
use std::io::Cursor;
#[cfg(feature = "dbn")]
use std::path::PathBuf;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tickcast::feed::{Description, Reader, Replay, ReplaySettings, Speed, Writer};
use tickcast::limits::SOURCE_BATCH_MAX;
use tickcast::model::{Channel, ChannelSet, Instrument, Primary, PrimaryKind, primary_flags};
use tickcast::source::{Next, Source};

const RECORDS: u64 = 200_000;

fn description() -> Description {
    let instrument = Instrument {
        symbol: "ESH4".into(),
        price_exponent: -9,
        quantity_exponent: 0,
        tick_size: 0,
        lot_size: 0,
        channels: ChannelSet::of(&[Channel::Quotes, Channel::Trades, Channel::Book, Channel::Orders]),
        book_depth: 0,
        source_id: 17_077,
    };
    Description::new("a benchmark", vec![instrument])
}

/// Order events as a recording has them: times, numbers and prices near those before, some noise.
fn primaries() -> Vec<Primary> {
    let mut noise = 1_u64;
    let mut time_ns = 1_703_545_200_000_000_000;
    (0..RECORDS)
        .map(|number| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            time_ns += noise >> 44;
            let kind = if number % 3 == 2 { PrimaryKind::Cancel } else { PrimaryKind::Add };
            Primary {
                ts_recv_ns: time_ns + (noise >> 48),
                order_id: 6_412_777_264_941 + number - number % 3,
                price: 4_800_000_000_000 + (noise >> 60) as i64 * 250_000_000,
                quantity: 1 + (noise >> 61) as i64,
                sequence: number as u32,
                ts_in_delta_ns: (noise >> 50) as i32,
                side: 1 + (noise >> 63) as u8,
                flags: primary_flags::LAST,
                publisher: 1,
                source_flags: 130,
                ..Primary::new(kind, 0, time_ns)
            }
        })
        .collect()
}

fn write(primaries: &[Primary]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), "memory", &description()).unwrap();
    for primary in primaries {
        writer.push(primary).unwrap();
    }
    writer.finish_into().unwrap().1
}

fn feed(criterion: &mut Criterion) {
    let primaries = primaries();
    let bytes = write(&primaries);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bench.feed");
    std::fs::write(&path, &bytes).unwrap();

    let mut group = criterion.benchmark_group("feed");
    group.throughput(Throughput::Elements(RECORDS)).sample_size(20);
    group.bench_function("write", |bencher| bencher.iter(|| write(black_box(&primaries))));
    group.bench_function("read", |bencher| {
        bencher.iter(|| {
            let mut reader = Reader::new(Cursor::new(black_box(&bytes)), "memory").unwrap();
            let mut records = 0;
            while let Some(block) = reader.next_block().unwrap() {
                records += block.len();
            }
            records
        });
    });
    let settings = ReplaySettings { speed: Speed::MAX, ..ReplaySettings::default() };
    group.bench_function("replay", |bencher| {
        bencher.iter_batched(
            || Replay::open(std::slice::from_ref(&path), settings).unwrap(),
            |mut replay| {
                let mut out = Vec::with_capacity(2 * SOURCE_BATCH_MAX);
                while replay.poll(0, &mut out).unwrap() != Next::Ended {
                    out.clear();
                }
                replay
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// The real recording, in the folder `TICKCAST_TEST_DATA`.
#[cfg(feature = "dbn")]
fn recorded(criterion: &mut Criterion) {
    use dbn::decode::{DbnDecoder, DecodeRecord};
    use tickcast::feed::import::ImportOptions;
    use tickcast::feed::import::dbn::import;

    let folder = std::env::var_os("TICKCAST_TEST_DATA")
        .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data").into(), PathBuf::from);
    let source = folder.join("dbn/esh4-glbx-mdp3-20231225.mbo.dbn.zst");
    if !source.exists() {
        println!("skipped: no recording {}", source.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("esh4.feed");
    let records = import(std::slice::from_ref(&source), &path, ImportOptions::default(), &mut |_| {})
        .unwrap()
        .written
        .records;
    let [packed, bytes] = [&source, &path].map(|path| std::fs::read(path).unwrap());
    println!("{records} records: {} bytes as a feed file, {} as DBN with zstd", bytes.len(), packed.len());

    let mut group = criterion.benchmark_group("recorded");
    group.throughput(Throughput::Elements(records)).sample_size(20);
    group.bench_function("read", |bencher| {
        bencher.iter(|| {
            let mut reader = Reader::new(Cursor::new(black_box(&bytes)), "memory").unwrap();
            let mut sum = 0_i64;
            while let Some(block) = reader.next_block().unwrap() {
                sum = block.iter().fold(sum, |sum, primary| sum.wrapping_add(primary.price));
            }
            sum
        });
    });
    group.bench_function("dbn", |bencher| {
        bencher.iter(|| {
            let mut decoder = DbnDecoder::with_zstd(Cursor::new(black_box(&packed))).unwrap();
            let mut sum = 0_i64;
            while let Some(order) = decoder.decode_record::<dbn::MboMsg>().unwrap() {
                sum = sum.wrapping_add(order.price);
            }
            sum
        });
    });
    group.finish();
}

#[cfg(not(feature = "dbn"))]
fn recorded(_: &mut Criterion) {}

criterion_group!(benches, feed, recorded);
criterion_main!(benches);
