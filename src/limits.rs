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

/// Symbols in one request; more than fit in a text message of plausible symbols.
pub const REQUEST_SYMBOLS_MAX: usize = 10_000;

/// Bytes of a request's `id` as written, quotes included: it is kept and sent back with every page of the reply.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// Characters of what a client sent that an error message quotes.
pub const QUOTED_CHARS_MAX: usize = 48;

/// Bytes of a close frame's reason (RFC 6455, section 5.5: 125, two of which are the code).
pub const CLOSE_REASON_BYTES_MAX: usize = 123;
