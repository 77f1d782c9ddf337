//! The feed file: what is written is read; what is damaged is an exact prefix or a located error.

use std::io::Cursor;
use std::mem::offset_of;

use tickcast::feed::format::{
    self, BlockHeader, Description, FileHeader, Index, IndexEntry, KindCount, Loss, Trailer, loss_reason,
};
use tickcast::feed::{FeedError, KeyframeSettings, Reader, Writer, Written};
use tickcast::limits;
use tickcast::model::{Channel, ChannelSet, Instrument, Primary, PrimaryKind, primary_flags};
use zerocopy::IntoBytes;

fn instrument(symbol: &str) -> Instrument {
    Instrument {
        symbol: symbol.into(),
        price_exponent: -2,
        quantity_exponent: 0,
        tick_size: 1,
        lot_size: 1,
        channels: ChannelSet::of(&[Channel::Quotes, Channel::Trades, Channel::Book, Channel::Orders]),
        book_depth: 0,
        source_id: 7,
    }
}

/// Records that do not compress to nothing.
fn primaries(count: u64) -> Vec<Primary> {
    (0..count)
        .map(|number| {
            let noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            Primary {
                ts_recv_ns: 1_000 + number * 17,
                order_id: noise,
                price: (noise >> 40) as i64,
                quantity: (noise >> 56) as i64,
                sequence: number as u32,
                side: 1 + (noise & 1) as u8,
                flags: primary_flags::LAST,
                ..Primary::new(PrimaryKind::Add, (noise & 1) as u32, 900 + number * 17)
            }
        })
        .collect()
}

/// A file with a block after every `block` records.
fn file(primaries: &[Primary], block: usize) -> (Vec<u8>, Written) {
    let description = Description::new("a test", vec![instrument("A"), instrument("B")]);
    fill(Writer::new(Vec::new(), "memory", &description).unwrap(), primaries, block)
}

/// The same with a keyframe behind each block.
fn file_with_keyframes(primaries: &[Primary], block: usize) -> (Vec<u8>, Written) {
    let description = Description::new("a test", vec![instrument("A"), instrument("B")]);
    let writer = Writer::new(Vec::new(), "memory", &description).unwrap();
    fill(writer.with_keyframes(KeyframeSettings { every: 1, share: 0 }), primaries, block)
}

fn fill(mut writer: Writer<Vec<u8>>, primaries: &[Primary], block: usize) -> (Vec<u8>, Written) {
    for chunk in primaries.chunks(block) {
        for primary in chunk {
            writer.push(primary).unwrap();
        }
        writer.flush().unwrap();
    }
    let (written, bytes) = writer.finish_into().unwrap();
    (bytes, written)
}

fn open(bytes: &[u8]) -> Result<Reader<Cursor<&[u8]>>, FeedError> {
    Reader::new(Cursor::new(bytes), "memory")
}

/// Every record up to the end or the first error.
fn read(reader: &mut Reader<Cursor<&[u8]>>) -> (Vec<Primary>, Option<FeedError>) {
    let mut records = Vec::new();
    loop {
        match reader.next_block() {
            Ok(Some(block)) => records.extend_from_slice(block),
            Ok(None) => return (records, None),
            Err(error) => return (records, Some(error)),
        }
    }
}

#[test]
fn what_is_written_is_read() {
    let primaries = primaries(20_000);
    let (bytes, written) = file(&primaries, usize::MAX);
    let blocks = 20_000_u64.div_ceil(limits::FEED_BLOCK_RECORDS as u64);
    assert_eq!(written, Written { records: 20_000, blocks, bytes: bytes.len() as u64 });
    let mut reader = open(&bytes).unwrap();
    assert!(reader.is_complete() && reader.fault().is_none());
    assert_eq!(reader.description(), &Description::new("a test", vec![instrument("A"), instrument("B")]));
    assert_eq!((reader.records(), reader.bytes()), (20_000, bytes.len() as u64));
    assert_eq!(reader.kinds().unwrap(), [KindCount { kind: 1, records: 20_000 }]);
    for _ in 0..2 {
        let (records, error) = read(&mut reader);
        assert!(records == primaries && error.is_none());
        reader.rewind();
    }
}

#[test]
fn a_file_without_records_is_a_file() {
    let (bytes, written) = file(&[], 1);
    assert_eq!((written.records, written.blocks), (0, 0));
    let mut reader = open(&bytes).unwrap();
    assert!(reader.is_complete());
    assert_eq!(read(&mut reader).0, []);
}

#[test]
fn blocks_end_where_exchange_events_do() {
    let mut primaries = primaries(10_000);
    for (number, primary) in primaries.iter_mut().enumerate() {
        primary.flags = if number % 100 == 99 { primary_flags::LAST } else { 0 };
    }
    let (bytes, _) = file(&primaries, usize::MAX);
    let mut reader = open(&bytes).unwrap();
    while let Some(block) = reader.next_block().unwrap() {
        assert!(block.last().unwrap().is_last());
    }
    // One event without an end is cut at the bound.
    primaries.iter_mut().for_each(|primary| primary.flags = 0);
    let endless: Vec<Primary> = primaries.iter().cycle().take(40_000).copied().collect();
    let (bytes, _) = file(&endless, usize::MAX);
    let reader = open(&bytes).unwrap();
    assert!(reader.blocks().iter().all(|block| block.records as usize <= limits::FEED_BLOCK_RECORDS_MAX));
    assert_eq!(reader.records(), 40_000);
}

#[test]
fn a_file_cut_at_any_byte_is_read_up_to_its_last_whole_block() {
    let primaries = primaries(400);
    cut_at_any_byte(&file(&primaries, 45).0, &primaries);
    cut_at_any_byte(&file_with_keyframes(&primaries[..100], 30).0, &primaries[..100]);
}

fn cut_at_any_byte(bytes: &[u8], primaries: &[Primary]) {
    let blocks = open(bytes).unwrap().blocks().to_vec();
    let start = blocks[0].offset as usize;
    for length in 0..bytes.len() {
        let cut = &bytes[..length];
        let whole: u64 = blocks
            .iter()
            .take_while(|block| block.offset + u64::from(block.bytes) <= length as u64)
            .map(|b| u64::from(b.records))
            .sum();
        match open(cut) {
            Ok(mut reader) => {
                assert!(length >= start);
                assert!(!reader.is_complete(), "cut at {length}");
                let fault = reader.fault().unwrap().clone();
                assert!(fault.offset <= length as u64, "cut at {length}: {fault}");
                assert_eq!(reader.records(), whole);
                let (records, error) = read(&mut reader);
                assert!(error.is_none());
                assert!(records == primaries[..whole as usize], "cut at {length}");
            }
            Err(FeedError::Empty { .. }) => assert_eq!(length, 0),
            Err(FeedError::Damaged { fault, .. }) => {
                assert!(length < start, "cut at {length}");
                assert_eq!(fault.offset, length as u64);
            }
            Err(error) => panic!("cut at {length}: {error}"),
        }
    }
}

#[test]
fn a_file_flipped_at_any_bit_gives_an_exact_prefix_and_says_so() {
    let primaries = primaries(200);
    flipped_at_any_bit(file(&primaries, 45).0, &primaries);
    flipped_at_any_bit(file_with_keyframes(&primaries[..60], 30).0, &primaries[..60]);
}

/// A keyframe that is flipped is no loss where the index is whole: it is passed over.
fn flipped_at_any_bit(mut bytes: Vec<u8>, primaries: &[Primary]) {
    let blocks = open(&bytes).unwrap().blocks().to_vec();
    let index_offset = bytes.last_chunk().map(|bytes| u64::from_le_bytes(*bytes)).unwrap();
    let is_of_a_keyframe = |byte: u64| {
        let within =
            |block: &IndexEntry| (block.offset..block.offset + u64::from(block.bytes)).contains(&byte);
        (blocks[0].offset..index_offset).contains(&byte) && !blocks.iter().any(within)
    };
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        match open(&bytes) {
            Ok(mut reader) => {
                let complete = reader.is_complete();
                let (records, error) = read(&mut reader);
                assert!(records == primaries[..records.len()], "bit {bit}: a wrong record");
                let is_spare = is_of_a_keyframe(bit as u64 / 8);
                assert!(!complete || error.is_some() || is_spare, "bit {bit} went unseen");
                assert!(
                    !is_spare || (error.is_none() && records.len() == primaries.len()),
                    "bit {bit} is spare"
                );
                if let Some(error) = error {
                    assert!(matches!(error, FeedError::Damaged { .. }), "bit {bit}: {error}");
                }
            }
            Err(FeedError::Damaged { .. } | FeedError::Foreign { .. } | FeedError::Version { .. }) => {}
            Err(error) => panic!("bit {bit}: {error}"),
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn a_damaged_block_of_a_finished_file_is_a_located_error() {
    let primaries = primaries(200);
    let (mut bytes, _) = file(&primaries, 50);
    let block = open(&bytes).unwrap().blocks()[2];
    bytes[block.offset as usize + 60] ^= 1;
    let mut reader = open(&bytes).unwrap();
    assert!(reader.is_complete(), "the index is whole");
    let (records, error) = read(&mut reader);
    assert!(records == primaries[..100]);
    let text = error.unwrap().to_string();
    assert!(text.contains("memory is damaged at byte") && text.contains(&block.offset.to_string()), "{text}");
    assert!(reader.next_block().is_err(), "again and again");
}

#[test]
fn a_writer_that_dies_leaves_its_whole_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crash.feed");
    let description = Description::new("a test", vec![instrument("A"), instrument("B")]);
    let primaries = primaries(10_000);
    let mut writer = Writer::create(&path, &description).unwrap();
    for primary in &primaries {
        writer.push(primary).unwrap();
    }
    drop(writer);
    let mut reader = Reader::open(&path).unwrap();
    assert!(!reader.is_complete());
    assert!(
        reader
            .fault()
            .unwrap()
            .to_string()
            .contains("expected a block, or the index, found the end of the file")
    );
    assert_eq!(reader.records(), 8_192, "two full blocks");
    assert!(reader.next_block().unwrap().unwrap() == &primaries[..4_096]);
    let error = Writer::create(&path, &description).err().unwrap();
    assert!(error.to_string().contains("crash.feed exists, and nothing is overwritten"), "{error}");
}

#[test]
fn kinds_of_block_that_are_not_known_are_checked_and_skipped() {
    let primaries = primaries(100);
    let (bytes, _) = file(&primaries, 50);
    let second = open(&bytes).unwrap().blocks()[1].offset as usize;
    let payload = b"of a later version";
    let header = BlockHeader {
        magic: format::BLOCK_MAGIC,
        crc: 0,
        kind: 9,
        codec: 77,
        parts_left: 0,
        records: 3,
        stored_bytes: payload.len() as u32,
        raw_bytes: 1 << 30,
        first_record: 50,
        first_time_ns: 0,
        last_time_ns: 0,
    };
    let unknown = [header.sealed(payload).as_bytes(), payload].concat();
    // The index no longer fits, so the blocks are found one by one.
    let with = [&bytes[..second], &unknown, &bytes[second..]].concat();
    let mut reader = open(&with).unwrap();
    let (records, error) = read(&mut reader);
    assert!(records == primaries && error.is_none());
    let mut damaged = with.clone();
    damaged[second + 50] ^= 1;
    assert_eq!(open(&damaged).unwrap().records(), 50, "but not unchecked");
}

#[test]
fn other_files_are_refused_by_name() {
    let (good, _) = file(&primaries(10), 10);
    let refusal = |bytes: &[u8]| open(bytes).err().unwrap().to_string();
    assert!(refusal(b"").contains("memory is empty"));
    let text = refusal(b"DBN\x03 and so on, a file of another kind");
    assert!(
        text.contains("not a feed file") && text.contains("44 42 4e 03") && text.contains("tickcast import"),
        "{text}"
    );
    assert!(refusal(b"hello").contains("\"hello\""));
    assert!(refusal(b"TICK").contains("at byte 4: expected a file header up to byte 24"));
    let mut newer = good.clone();
    newer[12..14].copy_from_slice(&2_u16.to_le_bytes());
    assert_eq!(refusal(&newer), "memory has feed format version 2; this program reads version 1");
    // A forged length is refused before anything is allocated for it.
    let mut long = good.clone();
    long[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(refusal(&long).contains("a description of at most 16777216 bytes, found 4294967295"));
    let missing = Reader::open(std::path::Path::new("/nonexistent/a.feed")).err().unwrap().to_string();
    assert!(missing.contains("cannot open /nonexistent/a.feed"), "{missing}");
    let folder = tempfile::tempdir().unwrap();
    assert!(Reader::open(folder.path()).err().unwrap().to_string().contains("directory"));
}

#[test]
fn records_of_instruments_that_do_not_exist_are_refused() {
    let mut writer = Writer::new(Vec::new(), "memory", &Description::new("", vec![instrument("A")])).unwrap();
    let stray = Primary::new(PrimaryKind::Add, 1, 0);
    let text = writer.push(&stray).unwrap_err().to_string();
    assert!(text.contains("record 0 is about instrument 1; the table has 1"), "{text}");
    let twice = Description::new("", vec![instrument("A"), instrument("A")]);
    assert!(Writer::new(Vec::new(), "memory", &twice).err().unwrap().to_string().contains("listed twice"));
}

/// Offset, size and name of each field, by type.
macro_rules! layout {
    ($type:ty: $($field:ident: $size:ty),* $(,)?) => {
        (size_of::<$type>(), vec![$((offset_of!($type, $field), size_of::<$size>(), stringify!($field))),*])
    };
}

/// The rows `| offset | size | `field` |` below a heading of the documentation.
fn documented(heading: &str) -> Vec<(usize, usize, String)> {
    let text = include_str!("../docs/feed-format.md");
    let section =
        text.split(&format!("\n### {heading}\n")).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n#").next().unwrap();
    section
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let (offset, size) = (cells.get(1)?.parse().ok()?, cells.get(2)?.parse().ok()?);
            Some((offset, size, cells.get(3)?.trim_matches('`').to_owned()))
        })
        .collect()
}

#[test]
fn documented_offsets_are_those_of_the_types() {
    let types = [
        (
            "File header",
            layout!(FileHeader: magic: [u8; 8], crc: u32, major: u16, minor: u16, description_bytes: u32, reserved: u32),
        ),
        (
            "Block header",
            layout!(BlockHeader: magic: [u8; 4], crc: u32, kind: u8, codec: u8, parts_left: u16, records: u32,
                stored_bytes: u32, raw_bytes: u32, first_record: u64, first_time_ns: u64, last_time_ns: u64),
        ),
        ("Loss", layout!(Loss: records: u64, instrument: u32, reason: u8, reserved: [u8; 3])),
        ("Trailer", layout!(Trailer: magic: [u8; 8], crc: u32, index_bytes: u32, index_offset: u64)),
        (
            "Index entry",
            layout!(IndexEntry: offset: u64, first_record: u64, first_time_ns: u64, last_time_ns: u64, bytes: u32, records: u32),
        ),
        (
            "Record",
            layout!(Primary: ts_event_ns: u64, ts_recv_ns: u64, order_id: u64, price: i64, quantity: i64,
                instrument: u32, sequence: u32, ts_in_delta_ns: i32, count: u32, publisher: u16, kind: u8, side: u8,
                flags: u8, level: u8, source_flags: u8, source_channel: u8),
        ),
    ];
    for (heading, (bytes, fields)) in types {
        let documented = documented(heading);
        let of_types: Vec<_> =
            fields.iter().map(|(offset, size, name)| (*offset, *size, (*name).to_owned())).collect();
        assert_eq!(documented, of_types, "{heading}");
        assert_eq!(
            of_types.iter().map(|field| field.1).sum::<usize>(),
            bytes,
            "{heading}: no hidden padding"
        );
    }
}

#[test]
fn memory_and_bincode_write_the_same_bytes() {
    fn same(value: &(impl IntoBytes + zerocopy::Immutable + bincode::Encode)) {
        let config = bincode::config::standard().with_fixed_int_encoding();
        assert_eq!(bincode::encode_to_vec(value, config).unwrap(), value.as_bytes());
    }
    let (bytes, _) = file(&primaries(3), 3);
    let reader = open(&bytes).unwrap();
    let entry = reader.blocks()[0];
    same(&primaries(3)[2]);
    same(&Loss::new(0x0102_0304_0506_0708, loss_reason::SLOW));
    same(&Trailer::new(0x0102_0304_0506_0708, 0x0a0b_0c0d));
    same(&zerocopy::FromBytes::read_from_prefix(&bytes).map(|(header, _): (FileHeader, _)| header).unwrap());
    let at = entry.offset as usize;
    same(
        &zerocopy::FromBytes::read_from_prefix(&bytes[at..])
            .map(|(header, _): (BlockHeader, _)| header)
            .unwrap(),
    );
    // An entry of the index, as documented: 40 bytes, fields in order.
    let index = Index { records: 3, kinds: vec![KindCount { kind: 1, records: 3 }], blocks: vec![entry] };
    let bytes = format::encode_cold(&index, 1 << 20).unwrap();
    let entry_bytes = [entry.offset, entry.first_record, entry.first_time_ns, entry.last_time_ns]
        .map(u64::to_le_bytes)
        .concat();
    assert_eq!(&bytes[bytes.len() - 40..bytes.len() - 8], entry_bytes);
    assert_eq!(bytes.len(), 8 + (8 + 9) + (8 + 40));
}
