//! Every bound, with its unit and its reason. Those a user may set carry the default here.

/// Instruments in one catalog. Each costs a shard some kilobytes before its first event.
pub const INSTRUMENTS_MAX: usize = 100_000;

/// Bytes of a symbol (`docs/protocol.md`, section "Symbols").
pub const SYMBOL_BYTES_MAX: usize = 32;

/// Records that one exchange event may put on the bus; a longer one is cut there and flagged, since an event larger
/// than a queue would block for ever. (A real recording opens with a snapshot of 8,725 records without an end mark.)
pub const EVENT_RECORDS_MAX: usize = 4_096;

/// Primary events that a source appends before it gives way to the publisher.
pub const SOURCE_BATCH_MAX: usize = 1_024;

/// Records in one chunk of the bus: 64 KiB of them, so that a chunk stays in a core's second cache.
pub const CHUNK_RECORDS_MAX: usize = 1_024;

/// Chunks that a tap's queue holds. With full chunks: 64 MiB a queue at the most, shared by all taps.
pub const QUEUE_CHUNKS_MAX: usize = 1_024;

/// Orders that may rest in one L3 book. The busiest real instruments hold some 100,000; the bound keeps a feed file
/// that only adds from taking all memory (about 70 bytes an order, and at worst a level each).
pub const ORDERS_MAX: usize = 1 << 20;

/// Levels of one side that a source may set in an L2 book. Real books have thousands; the bound keeps a feed file
/// that only adds from taking all memory (about 32 bytes a level in each thread that holds the book).
pub const LEVELS_MAX: usize = 1 << 20;
/// Records after which a feed file's block ends at the next end of an exchange event: 256 KiB of them, enough for the
/// compressor to find what repeats, little enough that a crash loses a moment.
pub const FEED_BLOCK_RECORDS: usize = 4_096;

/// Records in one block of a feed file at the most, also where an exchange event is longer: 1 MiB of them, which is
/// what a reader holds of a file.
pub const FEED_BLOCK_RECORDS_MAX: usize = 16_384;

/// Bytes that a block's records may take as stored: the raw ones, and what a compressor adds to noise.
pub const FEED_BLOCK_STORED_BYTES_MAX: usize = FEED_BLOCK_RECORDS_MAX * 64 + 64 * 1_024;

/// Bytes of a feed file's description: [`INSTRUMENTS_MAX`] instruments of 76 bytes at the most, and the source's text.
pub const FEED_DESCRIPTION_BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// Bytes of a feed file's index: 40 for each block, so about 1.6 million blocks or 6 billion records.
pub const FEED_INDEX_BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// Feed files that one replay merges. Each costs a descriptor and up to some megabytes.
pub const REPLAY_FILES_MAX: usize = 256;

/// Nanoseconds that one pass of a looped, timed replay takes at the least, so that a recording without any duration
/// does not announce a new epoch in every breath.
pub const REPLAY_PASS_NS_MIN: u64 = 1_000_000;

/// Bytes of metadata (symbols and their mappings) at the start of a foreign recording: a million mappings of
/// Databento's widest symbols are about as many.
pub const IMPORT_METADATA_BYTES_MAX: usize = 256 * 1_024 * 1_024;

/// Files that one import merges. Each costs a descriptor and a decompressor's window.
pub const IMPORT_FILES_MAX: usize = 1_024;

/// Records that an importer holds back while it does not know whether the exchange event of the first has ended.
pub const IMPORT_LOOKAHEAD_MAX: usize = 65_536;
