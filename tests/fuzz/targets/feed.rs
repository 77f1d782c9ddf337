//! A feed file. Input: flags (1: make its checksums right first, so that more than they is tried), then the file.

use std::io::Cursor;
use std::sync::Arc;

use tickcast::feed::format::{
    BLOCK_HEADER_BYTES, BLOCK_MAGIC, FILE_HEADER_BYTES, TRAILER_BYTES, TRAILER_MAGIC,
};
use tickcast::feed::repair::repair_into;
use tickcast::feed::verify::verify_in;
use tickcast::feed::{FeedError, Reader};
use tickcast::limits;
use tickcast::model::{Deriver, Primary};

pub fn run(data: &[u8]) {
    let Some((flags, file)) = data.split_first() else { return };
    let mut file = file.to_vec();
    if flags & 1 != 0 {
        seal(&mut file);
    }
    let length = file.len() as u64;
    let mut reader = match Reader::new(Cursor::new(&file), "memory") {
        Ok(reader) => reader,
        Err(error) => return is_located(&error, length),
    };
    if let Some(fault) = reader.fault() {
        assert!(fault.offset <= length, "{fault}");
    }
    let (records, is_whole) = read(&mut reader, length);
    assert_eq!(records.len() as u64 == reader.records(), is_whole);
    assert!(records.len() as u64 <= reader.records(), "more than the file claims");
    if let Some(kinds) = reader.kinds() {
        assert_eq!(kinds.iter().map(|kind| kind.records).sum::<u64>(), reader.records());
    }
    // Once more, from the start.
    reader.rewind();
    assert_eq!(read(&mut reader, length), (records.clone(), is_whole));
    // What is whole can be read, and what is repaired is whole.
    let check =
        |bytes: &[u8]| verify_in(Cursor::new(bytes), "memory", &mut |_, _| {}).expect("memory does not fail");
    let checked = check(&file);
    assert!(!checked.ok || reader.is_complete() && is_whole && records.len() as u64 == checked.records);
    let (saved, _) =
        repair_into(Cursor::new(&file), "memory", Vec::new(), "saved").expect("its start is whole");
    assert!(check(&saved).ok, "{:?}", check(&saved));
    // What a replay makes of it.
    let mut deriver = Deriver::new(Arc::clone(reader.catalog()));
    let mut derived = Vec::new();
    for primary in &records {
        let _ = deriver.apply(primary, &mut derived);
        derived.clear();
    }
}

/// All records up to the first error, and whether there was none.
fn read(reader: &mut Reader<Cursor<&Vec<u8>>>, length: u64) -> (Vec<Primary>, bool) {
    let mut records = Vec::new();
    let instruments = reader.catalog().len();
    loop {
        match reader.next_block() {
            Ok(Some(block)) => {
                assert!((1..=limits::FEED_BLOCK_RECORDS_MAX).contains(&block.len()));
                assert!(block.iter().all(|primary| (primary.instrument as usize) < instruments));
                records.extend_from_slice(block);
            }
            Ok(None) => return (records, true),
            Err(error) => {
                is_located(&error, length);
                let again = reader.next_block().expect_err("a damaged block stays damaged");
                assert_eq!(again.to_string(), error.to_string());
                return (records, false);
            }
        }
    }
}

/// What is wrong stands in the file; memory does not fail.
fn is_located(error: &FeedError, length: u64) {
    match error {
        FeedError::Damaged { fault, .. } => assert!(fault.offset <= length, "{fault}, of {length} bytes"),
        FeedError::Io { .. } => panic!("{error}"),
        _ => {}
    }
}

/// Writes the right checksum wherever one stands in what looks like a feed file.
fn seal(file: &mut [u8]) {
    let number = |file: &[u8], at: usize| -> usize {
        u32::from_le_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]]) as usize
    };
    let write = |file: &mut [u8], at: usize, from: usize, end: usize| {
        let crc = crc32c::crc32c(&file[from..end]);
        file[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    };
    if file.len() < FILE_HEADER_BYTES {
        return;
    }
    let mut offset = FILE_HEADER_BYTES + number(file, 16);
    if offset > file.len() {
        return;
    }
    write(file, 8, 12, offset);
    while file[offset..].starts_with(&BLOCK_MAGIC) && file.len() >= offset + BLOCK_HEADER_BYTES {
        let end = offset + BLOCK_HEADER_BYTES + number(file, offset + 16);
        if end > file.len() {
            return;
        }
        write(file, offset + 4, offset + 8, end);
        offset = end;
    }
    if file[offset..].starts_with(&TRAILER_MAGIC) && file.len() >= offset + TRAILER_BYTES {
        write(file, offset + 8, offset + 12, offset + TRAILER_BYTES);
    }
}
