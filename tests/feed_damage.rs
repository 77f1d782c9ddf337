//! Damaged feed files: cut at every byte, flipped at every bit, torn in the middle. What is read is an exact prefix,
//! `verify` finds it, `repair` saves what is left and declares what is not, and the file can be gone on with.

use std::io::Cursor;
use std::ops::Range;
use std::thread;

use tickcast::feed::format::{IndexEntry, Loss, loss_reason};
use tickcast::feed::repair::{repair, repair_into};
use tickcast::feed::verify::{Verification, verify, verify_in};
use tickcast::feed::{Description, FeedError, KeyframeSettings, LossAt, Reader, Writer};
use tickcast::model::{Channel, ChannelSet, Instrument, Primary, PrimaryKind, primary_flags};

const RECORDS: u64 = 10_000;
/// Records in a block of the test's file: little blocks make looking at one cheap.
const BLOCK: usize = 250;

fn description() -> Description {
    let instrument = |symbol: &str| Instrument {
        symbol: symbol.into(),
        price_exponent: -2,
        quantity_exponent: 0,
        tick_size: 1,
        lot_size: 1,
        channels: ChannelSet::of(&[Channel::Quotes, Channel::Trades, Channel::Book, Channel::Orders]),
        book_depth: 0,
        source_id: 7,
    };
    Description::new("a test", vec![instrument("A"), instrument("B")])
}

/// Records that compress about as real ones do.
fn primaries(count: u64) -> Vec<Primary> {
    (0..count)
        .map(|number| {
            let noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            Primary {
                ts_recv_ns: 1_000 + number * 17,
                order_id: 1_000_000 + number,
                price: 500_000 + (noise >> 58) as i64,
                quantity: 1 + (noise >> 61) as i64,
                sequence: number as u32,
                side: 1 + (noise & 1) as u8,
                flags: primary_flags::LAST,
                ..Primary::new(PrimaryKind::Add, (noise >> 7 & 1) as u32, 900 + number * 17)
            }
        })
        .collect()
}

fn file(primaries: &[Primary], block: usize) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), "memory", &description()).unwrap();
    for chunk in primaries.chunks(block) {
        chunk.iter().for_each(|primary| writer.push(primary).unwrap());
        writer.flush().unwrap();
    }
    writer.finish_into().unwrap().1
}

fn open(bytes: &[u8]) -> Result<Reader<Cursor<&[u8]>>, FeedError> {
    Reader::new(Cursor::new(bytes), "memory")
}

fn check(bytes: &[u8]) -> Verification {
    verify_in(Cursor::new(bytes), "memory", &mut |_, _| {}).unwrap()
}

/// Every record of a whole file, and what it declares as lost.
fn read(bytes: &[u8]) -> (Vec<Primary>, Vec<LossAt>) {
    let mut reader = open(bytes).unwrap();
    assert!(reader.is_complete(), "{:?}", reader.fault());
    let mut records = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        records.extend_from_slice(block);
    }
    (records, reader.losses().to_vec())
}

fn repaired(bytes: &[u8]) -> Result<Vec<u8>, FeedError> {
    repair_into(Cursor::new(bytes), "memory", Vec::new(), "repaired").map(|(bytes, _)| bytes)
}

fn end(block: &IndexEntry) -> usize {
    block.offset as usize + block.bytes as usize
}

/// Does something with parts of a range, on every core.
fn on_every_core(range: Range<usize>, work: impl Fn(Range<usize>) + Sync) {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = range.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        for start in range.clone().step_by(share) {
            let (work, part) = (&work, start..range.end.min(start + share));
            scope.spawn(move || work(part));
        }
    });
}

/// One in so many; with `TICKCAST_FEED_DAMAGE=full` each.
fn step(of: usize) -> usize {
    if std::env::var("TICKCAST_FEED_DAMAGE").as_deref() == Ok("full") { 1 } else { of }
}

#[test]
fn a_file_of_10000_records_cut_at_any_byte_is_its_last_whole_block() {
    let primaries = primaries(RECORDS);
    let bytes = file(&primaries, BLOCK);
    let blocks = open(&bytes).unwrap().blocks().to_vec();
    let (first, blocks_end) = (blocks[0].offset as usize, end(blocks.last().unwrap()));
    on_every_core(0..bytes.len(), |lengths| {
        for length in lengths {
            let cut = &bytes[..length];
            let whole = blocks.iter().take_while(|block| end(block) <= length).count();
            match open(cut) {
                Ok(mut reader) => {
                    assert!(length >= first && !reader.is_complete(), "cut at {length}");
                    assert!(reader.fault().unwrap().offset <= length as u64, "cut at {length}");
                    assert_eq!(reader.records() as usize, whole * BLOCK, "cut at {length}");
                    assert_eq!(reader.blocks(), &blocks[..whole], "cut at {length}");
                    // What stands before is what stands there in the whole file; the last block is read.
                    if let Some(last) = whole.checked_sub(1) {
                        reader.seek_block(last);
                        let records = reader.next_block().unwrap().unwrap();
                        assert!(records == &primaries[last * BLOCK..whole * BLOCK], "cut at {length}");
                    }
                }
                Err(FeedError::Empty { .. }) => assert_eq!(length, 0),
                Err(FeedError::Damaged { fault, .. }) => {
                    assert!(length < first && fault.offset == length as u64, "cut at {length}: {fault}");
                }
                Err(error) => panic!("cut at {length}: {error}"),
            }
        }
    });
    // Checking and repairing go through the whole file each time: at every byte around the ends of blocks, of the start and of the index,
    // and at some in between.
    let near = |length: usize| {
        length < first + 64
            || length + 200 > bytes.len()
            || blocks.iter().any(|block| end(block).abs_diff(length) < 4)
    };
    let some = step(499);
    let lengths: Vec<usize> =
        (0..bytes.len()).filter(|length| near(*length) || length.is_multiple_of(some)).collect();
    on_every_core(0..lengths.len(), |part| {
        for length in &lengths[part] {
            let cut = &bytes[..*length];
            let whole = blocks.iter().take_while(|block| end(block) <= *length).count();
            let found = check(cut);
            assert!(!found.ok && found.faults_total == 1, "cut at {length}: {found:?}");
            assert_eq!(found.records_before_fault as usize, whole * BLOCK, "cut at {length}");
            assert!(found.faults[0].offset <= *length as u64);
            if *length < first {
                assert!(repaired(cut).is_err(), "cut at {length}: nothing says what the records are about");
                continue;
            }
            let saved = repaired(cut).unwrap();
            let same = end_of(&blocks, whole).unwrap_or(first);
            assert!(saved[..same] == bytes[..same], "cut at {length}: the same, byte for byte");
            let (records, losses) = read(&saved);
            assert!(records == primaries[..whole * BLOCK], "cut at {length}");
            // Torn within a block: how many were in it nobody knows. At its end, or in the index, nothing is missing.
            let torn_index = *length >= blocks_end + 9;
            let torn = *length > same && !torn_index;
            assert_eq!(losses.len(), usize::from(torn), "cut at {length}");
            assert!(losses.iter().all(|at| at.loss == Loss::new(Loss::UNKNOWN, loss_reason::DAMAGED)));
            assert!(check(&saved).ok, "cut at {length}");
        }
    });
}

/// Where the first so many blocks end.
fn end_of(blocks: &[IndexEntry], count: usize) -> Option<usize> {
    count.checked_sub(1).map(|last| end(&blocks[last]))
}

#[test]
fn a_file_of_10000_records_flipped_at_any_bit_is_a_located_error() {
    let primaries = primaries(RECORDS);
    let bytes = file(&primaries, BLOCK);
    let blocks = open(&bytes).unwrap().blocks().to_vec();
    on_every_core(0..bytes.len(), |part| {
        let mut bytes = bytes.clone();
        for at in part {
            let block = blocks.iter().position(|block| (block.offset as usize..end(block)).contains(&at));
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                match (open(&bytes), block) {
                    // By the index all blocks are where they were: the one with the flip is an error at its place.
                    (Ok(mut reader), Some(block)) => {
                        assert!(reader.is_complete() && reader.blocks() == blocks);
                        reader.seek_block(block);
                        let Err(FeedError::Damaged { fault, .. }) = reader.next_block() else {
                            panic!("byte {at}, bit {bit}: no error");
                        };
                        assert_eq!(fault.offset, blocks[block].offset, "byte {at}, bit {bit}");
                    }
                    // Index or trailer: every block is found by itself.
                    (Ok(reader), None) => {
                        assert!(!reader.is_complete(), "byte {at}, bit {bit} went unseen");
                        assert_eq!(reader.blocks(), blocks, "byte {at}, bit {bit}");
                    }
                    (
                        Err(
                            FeedError::Damaged { .. } | FeedError::Foreign { .. } | FeedError::Version { .. },
                        ),
                        None,
                    ) => assert!(at < blocks[0].offset as usize, "byte {at}, bit {bit}"),
                    (Err(error), _) => panic!("byte {at}, bit {bit}: {error}"),
                }
                bytes[at] ^= 1 << bit;
            }
        }
    });
    // Checking and repairing go through the whole file each time: some bits do, every one of them with
    // TICKCAST_FEED_DAMAGE=full.
    let some = step(2_999);
    on_every_core(0..bytes.len() * 8, |part| {
        let mut bytes = bytes.clone();
        for flip in part.filter(|flip| flip.is_multiple_of(some)) {
            let at = flip / 8;
            bytes[at] ^= 1 << (flip % 8);
            let found = check(&bytes);
            assert!(!found.ok && found.faults_total >= 1, "bit {flip} went unseen");
            // A length that is wrong is found where the file ends before it.
            let is_start = at < blocks[0].offset as usize;
            assert!(is_start || found.faults[0].offset <= at as u64, "bit {flip}: {:?}", found.faults[0]);
            let block = blocks.iter().position(|block| (block.offset as usize..end(block)).contains(&at));
            match (repaired(&bytes), block) {
                (Ok(saved), Some(block)) => {
                    let (records, losses) = read(&saved);
                    let (before, after) = (block * BLOCK, (block + 1) * BLOCK);
                    assert!(records[..before] == primaries[..before], "bit {flip}");
                    assert!(records[before..] == primaries[after..], "bit {flip}");
                    assert_eq!(losses.len(), 1, "bit {flip}");
                    assert_eq!((losses[0].record, losses[0].loss.records), (before as u64, BLOCK as u64));
                }
                (Ok(saved), None) => assert!(read(&saved).0 == primaries, "bit {flip}"),
                (Err(_), block) => {
                    assert!(block.is_none() && at < blocks[0].offset as usize, "bit {flip}");
                }
            }
            bytes[at] ^= 1 << (flip % 8);
        }
    });
}

#[test]
fn what_is_damaged_in_the_middle_is_left_out_and_declared() {
    let primaries = primaries(1_000);
    let mut bytes = file(&primaries, 100);
    let blocks = open(&bytes).unwrap().blocks().to_vec();
    // Two blocks that follow one another, and a third.
    for (block, at) in [(2, 60), (3, 3), (7, 20)] {
        bytes[blocks[block].offset as usize + at] ^= 0x10;
    }
    let found = check(&bytes);
    assert_eq!(
        (found.ok, found.records, found.records_before_fault, found.faults_total),
        (false, 700, 200, 2)
    );
    assert_eq!(found.faults.iter().map(|fault| fault.record).collect::<Vec<_>>(), [200, 700]);
    let saved = repaired(&bytes).unwrap();
    let (records, losses) = read(&saved);
    assert!(records == [&primaries[..200], &primaries[400..700], &primaries[800..]].concat());
    let declared: Vec<_> = losses.iter().map(|at| (at.record, at.loss.records)).collect();
    assert_eq!(declared, [(200, 200), (500, 100)]);
    assert_eq!(losses[0].from_ns, Some(primaries[199].ts_recv_ns));
    assert_eq!(losses[0].to_ns, Some(primaries[400].ts_recv_ns));
    let found = check(&saved);
    assert!(found.ok && found.losses.len() == 2);
    // What the first repair declared outlives a second one.
    let cut = &saved[..saved.len() - 30];
    assert_eq!(read(&repaired(cut).unwrap()).1, losses);
}

#[test]
fn losses_are_declared_and_read_with_and_without_an_index() {
    let primaries = primaries(300);
    let mut writer = Writer::new(Vec::new(), "memory", &description()).unwrap();
    primaries[..100].iter().for_each(|primary| writer.push(primary).unwrap());
    writer.declare_loss(Loss::new(17, loss_reason::SLOW), Some(5), None).unwrap();
    primaries[100..].iter().for_each(|primary| writer.push(primary).unwrap());
    let of_b = Loss { instrument: 1, ..Loss::new(Loss::UNKNOWN, loss_reason::MISSED) };
    writer.declare_loss(of_b, None, Some(9)).unwrap();
    let bytes = writer.finish_into().unwrap().1;
    let expected = [
        LossAt { loss: Loss::new(17, loss_reason::SLOW), record: 100, from_ns: Some(5), to_ns: None },
        LossAt { loss: of_b, record: 300, from_ns: None, to_ns: Some(9) },
    ];
    let (records, losses) = read(&bytes);
    assert!(records == primaries);
    assert_eq!(losses, expected);
    let found = check(&bytes);
    assert!(found.ok, "{found:?}");
    let mut text = Vec::new();
    found.write_text(&mut text).unwrap();
    assert_eq!(
        String::from_utf8(text).unwrap(),
        format!(
            "memory: ok, 300 records in 2 blocks, {} bytes\n  lost      17 records before record 100, from 1970-01-01T00:00:00.000000005Z on: the recorder \
             could not keep up\n  lost      an unknown number of records of B before record 300, up to 1970-01-01T00:00:00.000000009Z: the recorder did not \
             hear of them\n",
            bytes.len()
        )
        .replace(&bytes.len().to_string(), &grouped(bytes.len())),
    );
    let reader = open(&bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(reader.losses(), expected, "found by going through the blocks");
    // A flip in a declaration does not pass, whether the index is there or not.
    let first_end = end(&open(&bytes).unwrap().blocks()[0]);
    for at in first_end..first_end + 64 {
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        let (records, losses) = read(&flipped);
        assert!(records == primaries, "byte {at}: no record is in it");
        assert_eq!((losses.len(), losses[0].loss.records), (2, Loss::UNKNOWN), "byte {at}");
        let reader = open(&flipped[..flipped.len() - 1]).unwrap();
        assert_eq!((reader.records(), reader.fault().unwrap().offset), (100, first_end as u64), "byte {at}");
        assert!(!check(&flipped).ok, "byte {at}");
        let saved = repaired(&flipped).unwrap();
        let (records, losses) = read(&saved);
        assert!(records == primaries, "byte {at}");
        assert_eq!(losses[0].loss.records, Loss::UNKNOWN, "byte {at}: something was declared here");
    }
}

#[test]
fn a_damaged_keyframe_is_found_and_costs_no_record() {
    let primaries = primaries(300);
    let settings = KeyframeSettings { every: 50, share: 0 };
    let mut writer = Writer::new(Vec::new(), "memory", &description()).unwrap().with_keyframes(settings);
    for piece in primaries.chunks(100) {
        piece.iter().for_each(|primary| writer.push(primary).unwrap());
        writer.flush().unwrap();
    }
    let bytes = writer.finish_into().unwrap().1;
    assert!(check(&bytes).ok);
    let blocks = open(&bytes).unwrap().blocks().to_vec();
    let (from, to) = (end(&blocks[0]), blocks[1].offset as usize);
    assert!(to - from > 64, "a keyframe stands between them");
    for at in (from + 48..to).step_by(3) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        assert!(read(&flipped) == (primaries.clone(), vec![]), "byte {at}");
        assert!(!check(&flipped).ok, "byte {at}");
        let saved = repaired(&flipped).unwrap();
        assert!(check(&saved).ok, "byte {at}");
        assert!(read(&saved) == (primaries.clone(), vec![]), "byte {at}: nothing is missing");
    }
}

fn grouped(number: usize) -> String {
    assert!((1_000..1_000_000).contains(&number));
    format!("{},{:03}", number / 1_000, number % 1_000)
}

#[test]
fn a_search_for_whole_blocks_ends() {
    // A file that is nothing but headers of blocks that are none.
    let good = file(&primaries(10), 10);
    let start = open(&good).unwrap().blocks()[0].offset as usize;
    let header = &good[start..start + 48];
    let mut bad = good[..start].to_vec();
    for number in 0..20_000_u32 {
        let at = bad.len();
        bad.extend_from_slice(header);
        bad[at + 16..at + 20].copy_from_slice(&(1_000_000 + number).to_le_bytes());
        bad[at + 12..at + 16].copy_from_slice(&16_000_u32.to_le_bytes());
        bad[at + 20..at + 24].copy_from_slice(&1_024_000_u32.to_le_bytes());
    }
    let found = check(&bad);
    assert_eq!((found.ok, found.records, found.faults_total), (false, 0, 1));
    assert_eq!(read(&repaired(&bad).unwrap()).0, []);
}

#[test]
fn a_repaired_file_takes_the_place_of_the_damaged_one_and_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("day.feed");
    let primaries = primaries(1_000);
    let bytes = file(&primaries[..600], 100);
    let blocks = open(&bytes).unwrap().blocks().to_vec();
    std::fs::write(&path, &bytes[..blocks[4].offset as usize + 70]).unwrap();
    let error = Writer::append(&path, KeyframeSettings::default()).err().unwrap().to_string();
    assert!(error.contains("day.feed was not finished") && error.contains("tickcast repair"), "{error}");
    assert!(!verify(&path, &mut |_, _| {}).unwrap().ok);

    let told = repair(&path, None, &mut |_, _| {}).unwrap();
    assert_eq!((told.records, told.blocks, told.losses, told.lost_more), (400, 4, 1, true));
    assert_eq!((told.same_bytes, told.damaged_bytes), (blocks[4].offset, 70));
    assert_eq!(
        std::fs::read(folder.path().join("day.feed.damaged")).unwrap().len() as u64,
        blocks[4].offset + 70
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left behind");
    assert!(verify(&path, &mut |_, _| {}).unwrap().ok);
    let again = repair(&path, None, &mut |_, _| {}).unwrap();
    assert!(
        again.was_whole && again.kept_as.is_none(),
        "the first one is kept, and nothing is to be repaired"
    );
    let whole = std::fs::read(&path).unwrap();
    // Nor may a second one take its place; this time the index alone is damaged.
    let index =
        open(&whole).unwrap().blocks().last().map(|last| last.offset + u64::from(last.bytes)).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() - 100] ^= 1;
    assert!(whole.len() as u64 - 100 > index);
    std::fs::write(&path, &damaged).unwrap();
    assert!(!verify(&path, &mut |_, _| {}).unwrap().ok);
    let error = repair(&path, None, &mut |_, _| {}).unwrap_err().to_string();
    assert!(error.contains("day.feed.damaged is what") && error.contains("--out"), "{error}");
    std::fs::remove_file(folder.path().join("day.feed.damaged")).unwrap();
    let again = repair(&path, None, &mut |_, _| {}).unwrap();
    assert!(!again.was_whole && again.kept_as.is_some());
    assert_eq!((again.losses, again.lost_records), (0, 0), "no record is missing");
    assert!(std::fs::read(&path).unwrap() == whole);
    std::fs::remove_file(folder.path().join("day.feed.damaged")).unwrap();
    let again = repair(&path, None, &mut |_, _| {}).unwrap();
    assert!(again.was_whole && again.kept_as.is_none());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

    for part in [&primaries[400..700], &primaries[700..]] {
        let mut writer = Writer::append(&path, KeyframeSettings::default()).unwrap();
        part.iter().for_each(|primary| writer.push(primary).unwrap());
        writer.finish().unwrap();
        assert!(verify(&path, &mut |_, _| {}).unwrap().ok);
    }
    let (records, losses) = read(&std::fs::read(&path).unwrap());
    assert!(records == primaries);
    assert_eq!(losses.iter().map(|at| at.record).collect::<Vec<_>>(), [400]);
    // One that dies while it appends leaves what was there before.
    let mut writer = Writer::append(&path, KeyframeSettings::default()).unwrap();
    writer.push(&primaries[0]).unwrap();
    drop(writer);
    let torn = std::fs::read(&path).unwrap();
    let saved = repaired(&torn).unwrap();
    assert!(read(&saved).0 == primaries);
}

#[test]
fn records_that_cannot_be_are_found_behind_a_right_checksum() {
    let mut unknown = primaries(20);
    unknown[7].kind = 77;
    let found = check(&file(&unknown, 10));
    assert_eq!((found.faults_total, found.records), (1, 10));
    assert!(found.faults[0].found.contains("kind 77 in record 7"), "{:?}", found.faults);
}
