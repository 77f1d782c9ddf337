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

/// Client: bytes of one message from the server. A frame holds one batch of one stream, at the most some megabytes.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Client: messages read and not yet taken by the program. A full queue stops reading, and the server sees a slow
/// consumer, as it should.
pub const CLIENT_INCOMING_MAX: usize = 64;

/// Client: frames to the server that wait to be written (requests and pongs).
pub const CLIENT_OUTGOING_MAX: usize = 64;

/// Client: levels of one book, both sides. Real books of the deepest instruments stay below 100,000.
pub const CLIENT_BOOK_LEVELS_MAX: usize = 1_000_000;

/// Client: milliseconds from the first packet to the end of the WebSocket handshake.
pub const CLIENT_CONNECT_MS_MAX: u64 = 10_000;

/// Client: milliseconds that the write of one frame may take.
pub const CLIENT_WRITE_MS_MAX: u64 = 10_000;

/// Client: milliseconds that a program which ends waits for its close frame to be written.
pub const CLIENT_CLOSE_MS_MAX: u64 = 1_000;

/// Client: bytes of the server's response head.
pub const CLIENT_RESPONSE_HEAD_BYTES_MAX: usize = 16 * 1_024;

/// Client: bytes of the body of a refused handshake that are shown.
pub const CLIENT_REFUSAL_BYTES_MAX: usize = 4 * 1_024;

/// Client: milliseconds between heartbeats until the server's `welcome` states its own, and the shortest and longest
/// believed: silence for two of them is a dead connection.
pub const CLIENT_HEARTBEAT_MS: u64 = 5_000;
/// See [`CLIENT_HEARTBEAT_MS`].
pub const CLIENT_HEARTBEAT_MS_MIN: u64 = 10;
/// See [`CLIENT_HEARTBEAT_MS`].
pub const CLIENT_HEARTBEAT_MS_MAX: u64 = 60_000;

/// Client: milliseconds up to which the first reconnection waits; each further one up to twice as long.
pub const CLIENT_BACKOFF_BASE_MS: u64 = 250;

/// Client: milliseconds up to which any reconnection waits.
pub const CLIENT_BACKOFF_MS_MAX: u64 = 30_000;

/// Client: milliseconds that a connection must have held for the next backoff to start at its base again.
pub const CLIENT_STEADY_MS: u64 = 5_000;

/// Client: longest `Retry-After` that is honoured, seconds.
pub const CLIENT_RETRY_AFTER_S_MAX: u64 = 300;

/// Client: milliseconds between two resubscriptions of one stream, so that a book that never comes right does not
/// make the server encode snapshots without end.
pub const CLIENT_RESYNC_MS_MIN: u64 = 1_000;

/// Orders that may rest in one L3 book. The busiest real instruments hold some 100,000; the bound keeps a feed file
/// that only adds from taking all memory (about 70 bytes an order).
pub const ORDERS_MAX: usize = 1 << 22;

/// Levels that one side of an L2 book may have. Real books have thousands; the bound keeps a feed file that only adds
/// from taking all memory (about 32 bytes a level in each thread that holds the book).
pub const LEVELS_MAX: usize = 1 << 20;

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
