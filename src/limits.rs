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

/// Bytes of a text message from a client (longer: close 1009) and of a control message to one (longer: paged), so
/// that neither side ever needs a larger buffer for control.
pub const TEXT_BYTES_MAX: usize = 64 * 1_024;

/// Fragments of one message from a client. Honest clients send requests whole; each fragment costs a header's work.
pub const MESSAGE_FRAGMENTS_MAX: u32 = 1_024;
