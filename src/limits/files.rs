//! Bounds of feed files, of recording them, of what is taken into them, and of what other programs publish.

use std::time::Duration;

/// Records after which a feed file's block ends at the next end of an exchange event: 256 KiB of them, enough for the
/// compressor to find what repeats, little enough that a crash loses a moment.
pub const FEED_BLOCK_RECORDS: usize = 4_096;

/// Records in one block of a feed file at the most, also where an exchange event is longer: 1 MiB of them, which is
/// what a reader holds of a file.
pub const FEED_BLOCK_RECORDS_MAX: usize = 16_384;

/// Bytes that a block's records may take as stored: the raw ones, and what a compressor adds to noise.
pub const FEED_BLOCK_STORED_BYTES_MAX: usize = FEED_BLOCK_RECORDS_MAX * 64 + 64 * 1_024;

/// Bytes of a feed file's description: [`super::INSTRUMENTS_MAX`] instruments of 76 bytes at the most, and the source's text.
pub const FEED_DESCRIPTION_BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// Bytes of a feed file's index: 40 for each block, so about 1.6 million blocks or 6 billion records.
pub const FEED_INDEX_BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// Bytes of a damaged feed file that a search for the next whole block may check for nothing, beside
/// [`FEED_SEARCH_TIMES`] the file's own: what looks like a block and is none costs its length.
pub const FEED_SEARCH_BYTES: u64 = 64 * 1_024 * 1_024;

/// See [`FEED_SEARCH_BYTES`].
pub const FEED_SEARCH_TIMES: u64 = 16;

/// Faults of one feed file that are told one by one; further ones are counted.
pub const FEED_FAULTS_TOLD: usize = 1_000;

/// Records that wait for a recorder at the most: 18 MiB of them, some ten seconds of a market of 20,000 ticks a second.
/// What comes while so many wait is not recorded, and declared lost.
pub const RECORD_QUEUE_RECORDS_MAX: usize = 262_144;

/// Batches that wait for a recorder at the most.
pub const RECORD_QUEUE_CHUNKS_MAX: usize = 16_384;

/// Records of snapshots that the publisher makes for a recorder at a time, after a loss, before it asks its source again:
/// a tenth of a millisecond of work. The snapshot of one instrument is always made whole.
pub const RECORD_SNAPSHOT_RECORDS: usize = 4_096;

/// Least bytes after which a recording may begin its next file: less would be little but snapshots.
pub const RECORD_ROTATE_BYTES_MIN: u64 = 64 * 1_024;

/// Least time after which a recording may begin its next file.
pub const RECORD_ROTATE_MIN: Duration = Duration::from_secs(1);

/// How long a record may wait in memory before it is written, unless set otherwise: what a crash loses.
pub const RECORD_FLUSH_DEFAULT: Duration = Duration::from_secs(1);

/// Least that it may be set to: each time is a block of its own, and little blocks pack badly.
pub const RECORD_FLUSH_MIN: Duration = Duration::from_millis(10);

/// Most that it may be set to.
pub const RECORD_FLUSH_MAX: Duration = Duration::from_secs(3_600);

/// Milliseconds after which the publisher looks again whether there is room for what a recorder lacks, where its source
/// says nothing.
pub const RECORD_LOOK_MS: u64 = 100;

/// Milliseconds after which a recorder tries again to write what the disk did not take.
pub const RECORD_RETRY_MS: u64 = 1_000;

/// Rows that an export to Parquet gathers in each of up to seven tables before it writes them as a group: some 120 bytes
/// each. Readers share a file out by its groups, and those of less than some 100,000 rows cost them more than they save.
pub const EXPORT_GROUP_ROWS_MAX: usize = 131_072;

/// Files that one import merges. Each costs a descriptor and a decompressor's window.
pub const IMPORT_FILES_MAX: usize = 1_024;

/// Bytes of metadata (symbols and their mappings) at the start of a foreign recording: a million mappings of
/// Databento's widest symbols are about as many.
pub const IMPORT_METADATA_BYTES_MAX: usize = 256 * 1_024 * 1_024;

/// Bytes of one line of a live feed: a snapshot of a whole book of orders fits, an endless line does not fill the memory.
pub const LIVE_LINE_BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// Records of a live feed that are handed over at once.
pub const LIVE_CHUNK_RECORDS_MAX: usize = 4_096;

/// Chunks of a live feed that wait to be published, 16 MiB at most; then the writer waits.
pub const LIVE_QUEUE_CHUNKS_MAX: usize = 64;

/// Records that an importer holds back while it does not know whether the exchange event of the first has ended.
pub const IMPORT_LOOKAHEAD_MAX: usize = 65_536;

/// Resting orders that an importer keeps, of all instruments together, where a source names orders and not what they
/// were: about 40 bytes each. A busy day on Nasdaq has some two million at a time.
pub const IMPORT_ORDERS_MAX: usize = 8 * 1_024 * 1_024;

/// Bytes of one line of a foreign recording. A whole book of Coinbase's is some 3 MiB of JSON in one line.
pub const IMPORT_LINE_BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// Levels of changes that an importer holds back until the snapshot comes that they go on from: 64 MiB of them. A busy
/// book changes some thousand levels a second, and a snapshot is fetched within seconds.
pub const IMPORT_HELD_LEVELS_MAX: usize = 1 << 20;

/// Levels in one message of a capture. A whole book of Coinbase's has some 60,000.
pub const IMPORT_MESSAGE_LEVELS_MAX: usize = 1 << 20;

/// Characters of what an import's report says of one damaged place: values that are quoted may be as long as a line.
pub const IMPORT_PROBLEM_CHARS_MAX: usize = 400;

/// Bytes of the names of a row's exchange and symbol: each instrument's are remembered, and the longest real ones, of
/// options, have some 60.
pub const IMPORT_SYMBOL_BYTES_MAX: usize = 256;

/// Damaged places of which an import's report tells; the others are counted. Who sees eight knows what is wrong.
pub const IMPORT_DAMAGE_SHOWN_MAX: usize = 8;

/// Types of unknown messages that an import counts one by one, so that a made-up file cannot fill the report.
pub const IMPORT_UNKNOWN_TYPES_MAX: usize = 64;

/// Symbols whose name in the feed file is another, of which an import's report tells; the others are counted.
pub const IMPORT_RENAMED_SHOWN_MAX: usize = 16;

/// Notes in an import's report.
pub const IMPORT_NOTES_MAX: usize = 64;
