//! Every bound, with its unit and its reason. Those a user may set carry the default here.

use std::ops::RangeInclusive;
use std::time::Duration;

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

/// Connections that may wait in the kernel to be accepted; tokio's own 128 lose part of a burst of thousands.
pub const LISTEN_BACKLOG: u32 = 1_024;

/// How long the door stops accepting after the machine refused it a connection (no descriptor left): a loop that
/// tries again at once spins, a longer pause would be felt when descriptors are free again.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that are not yet sessions (handshakes and plain HTTP): a burst of 4,000 fits; each may hold
/// [`HTTP_BUFFER_BYTES_MAX`].
pub const HANDSHAKES_MAX: usize = 8_192;

/// How long a client may take from connecting to the last byte of its request head, and be idle between requests.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(5);

/// How long a plain HTTP connection may live: it bounds a client that does not read its answer.
pub const HTTP_CONNECTION_TIME: Duration = Duration::from_secs(30);

/// How long a request waits for a shard or for its own body before the answer is an error.
pub const HTTP_ANSWER_TIME: Duration = Duration::from_secs(5);

/// How long requests in progress may still take when the server stops.
pub const HTTP_CLOSING_TIME: Duration = Duration::from_secs(1);

/// Bytes of a request head: what real clients send, cookies of other services on the same host included.
pub const HTTP_HEADER_BYTES_MAX: usize = 8 * 1_024;

/// Header lines of a request.
pub const HTTP_HEADERS_MAX: usize = 64;

/// Bytes read ahead on one connection before it is a session: a request head and what a client sent after it.
pub const HTTP_BUFFER_BYTES_MAX: usize = 16 * 1_024;

/// Bytes of a request body; the longest that means something is far below 200.
pub const HTTP_BODY_BYTES_MAX: usize = 4 * 1_024;

/// Levels a side that `/api/v1/book/{symbol}?depth=` may ask for; without `depth` it gives all.
pub const HTTP_BOOK_DEPTH_MAX: u32 = 100_000;

/// Letters (new sessions and questions) that may wait for a shard.
pub const MAILBOX_LETTERS_MAX: usize = 4_096;

/// Sessions, unless set otherwise: more than most machines give descriptors for is no service to anybody.
pub const CONNECTIONS_DEFAULT: usize = 16_384;

/// Sessions that may be allowed at all.
pub const CONNECTIONS_MAX: usize = 1_000_000;

/// Bytes that may wait for one session in user space, unless set otherwise.
pub const OUTBOX_BYTES_DEFAULT: usize = 256 * 1_024;

/// Least that an outbox may be set to: a whole part of a snapshot has to fit.
pub const OUTBOX_BYTES_MIN: usize = 64 * 1_024;

/// Most that an outbox may be set to.
pub const OUTBOX_BYTES_MAX: usize = 1_024 * 1_024 * 1_024;

/// `SO_SNDBUF` of a session, unless set otherwise. The kernel doubles it for its own bookkeeping: a stalled reader then
/// holds about 265 KiB there instead of 4 MiB.
pub const SEND_BUFFER_BYTES_DEFAULT: usize = 64 * 1_024;

/// Least that `SO_SNDBUF` may be set to (0, the kernel's own choice, apart).
pub const SEND_BUFFER_BYTES_MIN: usize = 4 * 1_024;

/// Most that `SO_SNDBUF` may be set to.
pub const SEND_BUFFER_BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// Shards: threads that serve sessions.
pub const SHARDS_MAX: usize = 256;

/// Ticks a second that the simulated market may be asked for: one a nanosecond, the clock's own step.
pub const RATE_MAX: u64 = 1_000_000_000;

/// Replay speeds in thousandths of real time: a tenth to a thousand times.
pub const SPEED_THOUSANDTHS: RangeInclusive<u32> = 100..=1_000_000;

/// Bytes of a settings file.
pub const SETTINGS_FILE_BYTES_MAX: u64 = 1_024 * 1_024;
