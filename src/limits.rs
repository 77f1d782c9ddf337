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

/// Orders that rest in one simulated book, both sides together: an order that filled every one of them would still
/// make an event that fits on the bus whole.
pub const SIM_ORDERS_MAX: u32 = 1_000;

/// Ticks a second that a simulation can be asked for: one a nanosecond, the clock's own step.
pub const SIM_RATE_MAX: u64 = 1_000_000_000;

/// Nanoseconds that a simulation catches up after falling behind its rate; what is older is let go.
pub const SIM_LAG_NS_MAX: u64 = 1_000_000_000;
