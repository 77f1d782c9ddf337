//! Every bound, with its unit and its reason. Those a user may set carry the default here.

mod files;
mod replay;

use std::num::NonZeroU32;
use std::time::Duration;

pub use files::*;
pub use replay::*;

// The market.

/// Instruments in one catalog. Each costs a shard some kilobytes before its first event.
pub const INSTRUMENTS_MAX: usize = 100_000;

/// Bytes of a symbol (`docs/protocol.md`, section "Symbols").
pub const SYMBOL_BYTES_MAX: usize = 32;

/// Orders that may rest in one L3 book. The busiest real instruments hold some 100,000; the bound keeps a feed file
/// that only adds from taking all memory (about 70 bytes an order, and at worst a level each).
pub const ORDERS_MAX: usize = 1 << 20;

/// Levels of one side that a source may set in an L2 book. Real books have thousands; the bound keeps a feed file
/// that only adds from taking all memory (about 32 bytes a level in each thread that holds the book).
pub const LEVELS_MAX: usize = 1 << 20;

/// Records that one exchange event may put on the bus; a longer one is cut there and flagged, since an event larger
/// than a queue would block for ever. (A real recording opens with a snapshot of 8,725 records without an end mark.)
pub const EVENT_RECORDS_MAX: usize = 4_096;

// From the source to the shards.

/// Primary events that a source appends before it gives way to the publisher.
pub const SOURCE_BATCH_MAX: usize = 1_024;

/// Records in one chunk of the bus: 64 KiB of them, so that a chunk stays in a core's second cache.
pub const CHUNK_RECORDS_MAX: usize = 1_024;

/// Chunks that a tap's queue holds.
pub const QUEUE_CHUNKS_MAX: usize = 1_024;

/// Records in a tap's queue beyond which it is full, however few chunks they are: 4 MiB of them, shared by all taps. A
/// shard that falls behind so far holds up the source instead; what it reads then is still in a cache, and what it
/// sends a tenth of a second old rather than a second.
pub const QUEUE_RECORDS_MAX: usize = 65_536;

/// Milliseconds that a source may be overdue before its clients are told that what they hold may be old. Half a second
/// is far beyond what a busy machine delays a thread, and with a look at the timers
/// ([`TIMER_MILLISECONDS`]) still within a second.
pub const STALE_MS: u64 = 500;

// The simulated market.

/// Orders that rest in one simulated book, both sides together: an auction that filled every one of them would still
/// make an event that fits on the bus whole, with a trade, a step of the bars, an order and a level for each.
pub const SIM_ORDERS_MAX: u32 = 1_000;

/// Ticks a second that a simulation can be asked for: one a nanosecond, the clock's own step.
pub const SIM_RATE_MAX: u64 = 1_000_000_000;

/// Nanoseconds that a simulation sleeps at the least once it has said what was due: at high rates ticks come in
/// handfuls, or waking for each would cost more than making it.
pub const SIM_GATHER_NS: u64 = 1_000_000;

/// Nanoseconds that a simulation catches up after falling behind its rate; what is older is let go.
pub const SIM_LAG_NS_MAX: u64 = 1_000_000_000;

// What a client sends.

/// Bytes of a text message from a client (longer: close 1009) and of a control message to one (longer: paged), so
/// that neither side ever needs a larger buffer for control.
pub const TEXT_BYTES_MAX: usize = 64 * 1_024;

/// Fragments of one message from a client. Honest clients send requests whole; each fragment costs a header's work.
pub const MESSAGE_FRAGMENTS_MAX: u32 = 1_024;

/// Requests a second that a client may send, unless set otherwise. A program that reports its progress sends a hundred; a
/// dashboard some when somebody clicks.
pub const REQUEST_RATE_DEFAULT: u32 = 1_000;

/// Most that it may be set to; 0 is no limit.
pub const REQUEST_RATE_MAX: u32 = 1_000_000;

/// Pings and pongs a second that a client may send.
pub const CONTROL_RATE: NonZeroU32 = NonZeroU32::new(100).unwrap();

/// Seconds of its rate that a client may send at once.
pub const RATE_BURST_SECONDS: NonZeroU32 = NonZeroU32::new(2).unwrap();

/// Bytes of a message that is to be sent back as it is, in tests of conformance: the longest that Autobahn sends.
pub const ECHO_BYTES_MAX: u64 = 16 * 1_024 * 1_024;

/// Times its bytes that a compressed message from a client may inflate to, once it has passed [`INFLATE_FREE_BYTES`]: a
/// list of symbols that differ in a digit compresses 20-fold; DEFLATE itself ends at 1,032.
pub const INFLATE_RATIO_MAX: u32 = 256;

/// Bytes that a compressed message may inflate to however short it is.
pub const INFLATE_FREE_BYTES: usize = 16 * 1_024;

/// Symbols in one request; more than fit in a text message of plausible symbols.
pub const REQUEST_SYMBOLS_MAX: usize = 10_000;

/// Bytes of a request's `id` as written, quotes included: it is kept and sent back with every page of the reply.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// Characters of what a client sent that an error message quotes.
pub const QUOTED_CHARS_MAX: usize = 48;

/// Subscriptions (instrument, channel) of one session.
pub const SUBSCRIPTIONS_MAX: usize = 20_000;

// What a client is sent.

/// Records a shard takes from the bus before it writes to its sessions: bounds how long they wait for their turn.
pub const BATCH_RECORDS_MAX: usize = 4_096;

/// Bytes for one session after which it is written to while a batch goes on, looked at after each
/// [`CHUNK_RECORDS_MAX`] records: more would be more than an outbox and a usual send buffer have room for.
pub const BATCH_BYTES: usize = 32 * 1_024;

/// Bytes of market data in one binary frame; a message that crosses it still goes in whole.
pub const FRAME_BYTES: usize = 64 * 1024;

/// Payload bytes of one fragment of a snapshot or a reply that is longer, unless set otherwise: a pong has to wait for no
/// more than that on a slow line.
pub const FRAGMENT_BYTES_DEFAULT: usize = 16 * 1_024;

/// Least that a fragment may be set to.
pub const FRAGMENT_BYTES_MIN: usize = 256;

/// Most that a fragment may be set to: no message is longer than a part of a snapshot, or a page.
pub const FRAGMENT_BYTES_MAX: usize = 1_024 * 1_024;

/// Levels in one part of a binary snapshot: what fits in 64 KiB with the headers.
pub const SNAPSHOT_PART_LEVELS: usize = 4_090;

/// Levels in one part of a JSON snapshot: what fits in 64 KiB when every number is as long as it can be.
pub const SNAPSHOT_PART_LEVELS_JSON: usize = 1_390;

/// Orders in one part of a binary snapshot: what fits in 64 KiB with the headers.
pub const SNAPSHOT_PART_ORDERS: usize = 2_720;

/// Orders in one part of a JSON snapshot: what fits in 64 KiB when every number is as long as it can be.
pub const SNAPSHOT_PART_ORDERS_JSON: usize = 860;

/// Payload bytes from which a message is compressed by itself (`docs/performance.md`, "Compression").
pub const DEFLATE_BYTES_MIN: usize = 512;

/// Payload bytes from which a message is compressed with those before it in view.
pub const DEFLATE_CONTEXT_BYTES_MIN: usize = 64;

/// Window of a session's own compression: 2^this bytes, some dozens of messages.
pub const DEFLATE_CONTEXT_WINDOW_BITS: u8 = 13;

/// Sessions that may have compression of their own, of all shards together, unless set otherwise: with some 350 KiB each
/// about 180 MiB.
pub const DEFLATE_CONTEXTS_DEFAULT: usize = 512;

/// Most that they may be set to.
pub const DEFLATE_CONTEXTS_MAX: usize = 1_000_000;

/// Percent of a shard's time that compression may take; what does not fit goes out as it is.
pub const DEFLATE_TIME_PERCENT: u32 = 25;

/// Nanoseconds of compression that may be saved up.
pub const DEFLATE_CREDIT_NS_MAX: u64 = 50_000_000;

/// Nanoseconds that compressing a message is taken to cost, however short it is.
pub const DEFLATE_MESSAGE_NS: u64 = 6_000;

/// Picoseconds that it is taken to cost for each byte.
pub const DEFLATE_BYTE_PS: u64 = 5_000;

/// Nanoseconds that compressing a message with a context of its own is taken to cost, beside its bytes: nothing is to be
/// cleared before it (`cargo bench --bench deflate`).
pub const DEFLATE_CONTEXT_MESSAGE_NS: u64 = 300;

/// Picoseconds that it is taken to cost for each byte.
pub const DEFLATE_CONTEXT_BYTE_PS: u64 = 2_600;

/// Streams that are made ready for one page of `subscribed`: more than fit in a page.
pub const PAGE_ENTRIES_MAX: usize = 1_024;

/// Bytes of a close frame's reason (RFC 6455, section 5.5: 125, two of which are the code).
pub const CLOSE_REASON_BYTES_MAX: usize = 123;

/// Bytes of buffer that a topic keeps between batches: with 10,000 topics 80 MiB at the most.
pub const TOPIC_BYTES_KEPT: usize = 8 * 1024;

/// Bytes of a flush that wait for a client without being copied for it, at the least: fewer, one by one, would cost a
/// system call each.
pub const LENT_BYTES_MIN: usize = 16 * 1_024;

/// Bytes that a buffer for what is flushed keeps: some thousand messages.
pub const FLUSH_BYTES_KEPT: usize = 1024 * 1024;

/// Buffers for what is flushed that are kept: more than flushes between two writes.
pub const FLUSH_BUFFERS_KEPT: usize = 8;

/// Bytes that may wait for one session in user space, unless set otherwise.
pub const OUTBOX_BYTES_DEFAULT: usize = 256 * 1_024;

/// Least that an outbox may be set to: a whole part of a snapshot has to fit.
pub const OUTBOX_BYTES_MIN: usize = 64 * 1_024;

/// Most that an outbox may be set to.
pub const OUTBOX_BYTES_MAX: usize = 1_024 * 1_024 * 1_024;

/// Bytes that may wait for all sessions of a server together, unless set otherwise: a thousand full outboxes. Beyond,
/// those that wait are conflated before their own outbox is full.
pub const OUTBOXES_BYTES_DEFAULT: usize = 256 * 1_024 * 1_024;

/// Least that all outboxes together may be set to: sixteen of the smallest.
pub const OUTBOXES_BYTES_MIN: usize = 16 * OUTBOX_BYTES_MIN;

/// Most that all outboxes together may be set to.
pub const OUTBOXES_BYTES_MAX: usize = 64 * 1_024 * 1_024 * 1_024;

/// Bytes of the rings from which clients resume, of all shards together, unless set otherwise: each shard has its own,
/// and in 256 MiB there is room for some seconds of a market of 100,000 ticks a second.
pub const RING_BYTES_DEFAULT: usize = 256 * 1_024 * 1_024;

/// Most that the resume rings may be set to; 0 is none.
pub const RING_BYTES_MAX: usize = 64 * 1_024 * 1_024 * 1_024;

/// `SO_SNDBUF` of a session, unless set otherwise. The kernel doubles it for its own bookkeeping: a stalled reader then
/// holds about 265 KiB there instead of 4 MiB.
pub const SEND_BUFFER_BYTES_DEFAULT: usize = 64 * 1_024;

/// Least that `SO_SNDBUF` may be set to (0, the kernel's own choice, apart).
pub const SEND_BUFFER_BYTES_MIN: usize = 4 * 1_024;

/// Most that `SO_SNDBUF` may be set to.
pub const SEND_BUFFER_BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// Events in one block of the resume rings: 2 KiB of them. A quiet stream holds one block, so it is small; a busy one
/// gives up so many at a time.
pub const HISTORY_BLOCK_EVENTS: usize = 32;

/// Missed events that a resumed stream is told before others get their turn: some tens of kilobytes.
pub const CATCH_UP_EVENTS: usize = 256;

/// Trades that a conflated stream is told when it comes up again; of older ones it is told that they are lost. A tape
/// that lags shows what is newest, not what was new some time ago.
pub const CONFLATED_TRADES_MAX: u64 = 1_024;

/// Completed bars kept of each period: two minutes of the shortest, longer than a session may go without progress.
pub const BARS_KEPT: usize = 128;

/// Updates of a book view after which one carries a checksum.
pub const CHECKSUM_UPDATES: u32 = 100;

/// Requests of a session that are read while an earlier one is answered, at the most. They wait their turn, so that
/// pings and a close behind them are read.
pub const HELD_REQUESTS_MAX: usize = 16;

/// Bytes of such requests after which no other is read; one may be as long as a message may be.
pub const HELD_BYTES: usize = 4 * 1_024;

/// Bytes of `pong`, `error` and `notice` that may wait for a session before nothing more is read from it.
pub const URGENT_BYTES_MAX: usize = 16 * 1_024;

/// Milliseconds between looks at the views with intervals: the shortest interval.
pub const INTERVAL_MILLISECONDS: u64 = 10;

/// Looks at the timers in a row that must find a conflated session to have taken everything before it is live again: a
/// second. Twice as many each time it could not keep up soon after, so that a client that crawls does not go to and fro.
pub const RECOVERY_TIMER_LOOKS: u32 = 4;

/// Most of [`RECOVERY_TIMER_LOOKS`]: 16 seconds.
pub const RECOVERY_TIMER_LOOKS_MAX: u32 = 64;

/// Looks at the timers that count as soon after: 10 seconds.
pub const RELAPSE_TIMER_LOOKS: u64 = 40;

/// Looks at the timers that a resumed stream ahead of its shard waits once the shard has heard all that was published:
/// two seconds, far more than the bus takes. Then what its client claims was never said here.
pub const AHEAD_TIMER_LOOKS: u32 = 8;

/// Milliseconds that a message may stay unreported by a client that reports its progress, before it is conflated.
pub const PROGRESS_LAG_MILLISECONDS: u64 = 1_000;

/// Times that are remembered of a client that reports its progress: at one each look at the timers more than the time
/// it may go without.
pub const PROGRESS_MARKS_MAX: usize = 256;

// Private replays: each is a small node of its own, with one session.

/// Private replays at a time, unless set otherwise.
pub const PRIVATE_REPLAYS_DEFAULT: usize = 16;

/// Most that private replays may be set to: each has two threads and its own books.
pub const PRIVATE_REPLAYS_MAX: usize = 256;

/// Bytes of the file name that a client may ask for: what file systems allow.
pub const PRIVATE_NAME_BYTES_MAX: usize = 255;

/// Files that are opened at once for clients; opening one that was never finished reads all of it.
pub const PRIVATE_OPENINGS_MAX: usize = 4;

/// Chunks in the queue between a private replay and its shard.
pub const PRIVATE_QUEUE_CHUNKS_MAX: usize = 64;

/// Records in that queue beyond which it is full: half a megabyte of them.
pub const PRIVATE_QUEUE_RECORDS_MAX: usize = 8_192;

/// Bytes of recent events that a private replay keeps, for a client that subscribes anew on the same connection.
pub const PRIVATE_RING_BYTES: usize = 1_024 * 1_024;

/// Letters that may wait for the shard of a private replay: its one session, and being told to stop.
pub const PRIVATE_LETTERS_MAX: usize = 4;

// Sessions and their time.

/// Shards: threads that serve sessions.
pub const SHARDS_MAX: usize = 256;

/// Sessions, unless set otherwise: more than most machines give descriptors for is no service to anybody.
pub const CONNECTIONS_DEFAULT: usize = 16_384;

/// Sessions that may be allowed at all.
pub const CONNECTIONS_MAX: usize = 1_000_000;

/// Letters (new sessions and questions) that may wait for a shard.
pub const MAILBOX_LETTERS_MAX: usize = 4_096;

/// Letters that a shard takes between two batches.
pub const LETTERS_MAX: usize = 64;

/// Milliseconds between a shard's looks at one session's timers.
pub const TIMER_MILLISECONDS: u64 = 250;

/// Turns in which a shard looks at the timers of all its sessions: what a look gives to conflated sessions would else
/// hold up those who keep pace (`docs/decisions.md`, "sessions have their timers looked at in turns").
pub const TIMER_TURNS: u64 = 10;

/// Milliseconds from one turn to the next.
pub const TURN_MILLISECONDS: u64 = TIMER_MILLISECONDS / TIMER_TURNS;

/// Seconds between a session's heartbeats.
pub const HEARTBEAT_SECONDS: u64 = 5;

/// Milliseconds that a heartbeat may come early, where market data goes to its client that it can go along with.
pub const HEARTBEAT_EARLY_MILLISECONDS: u64 = 1_000;

/// Heartbeats that go along with the market data of one flush: each costs as much as many messages, and the data waits for it.
pub const HEARTBEATS_ALONG_MAX: usize = 16;

/// Streams that one heartbeat names.
pub const HEARTBEAT_STREAMS: usize = 64;

/// Seconds between WebSocket pings.
pub const PING_SECONDS: u64 = 20;

/// Seconds that a ping may stay without a pong: a client may stop reading for half a minute and go on.
pub const PONG_SECONDS: u64 = 60;

/// Seconds that a session may go without progress while something waits for it: a client that was stopped for half a
/// minute goes on, and one that is gone does not hold its memory for ever.
pub const STALL_SECONDS: u64 = 60;

/// Milliseconds in which a server that stops hands out what was published; the rest of its time is for goodbyes.
pub const DRAIN_MILLISECONDS: u64 = 1_500;

/// Seconds that a closing session may take to get its last bytes and answer.
pub const CLOSE_SECONDS: u64 = 2;

/// Seconds that a client closed with 4008 has to read what is left before the close frame: it was slow, and should
/// still learn why. By then it costs the server no more than one frame.
pub const SLOW_CLOSE_SECONDS: u64 = 30;

/// Seconds without progress after which `block` gives a client up.
pub const BLOCK_SECONDS: u64 = 30;

// The door.

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

/// How long a server that is stopped while it starts may take to have started; longer it waits for a writer.
pub const STARTING_TIME: Duration = Duration::from_millis(250);

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

/// Sessions that `/api/v1/connections` lists where no `limit` is asked for: those that lag most.
pub const CONNECTIONS_LISTED_DEFAULT: usize = 100;

/// Sessions that it lists at the most: an answer of some megabytes.
pub const CONNECTIONS_LISTED_MAX: usize = 10_000;

/// Streams that one answer of it lists, the same share on each shard: each costs its shard a look and the answer 150
/// bytes. Sessions whose streams find no room are listed without; one session alone always has room.
pub const CONNECTIONS_STREAMS_MAX: usize = 50_000;

/// Bytes of a settings file.
pub const SETTINGS_FILE_BYTES_MAX: u64 = 1_024 * 1_024;

// The client.

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
/// believed: silence for two of them makes what is held stale, for three it is a dead connection.
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

/// Client: least milliseconds between two reports of progress: a hundred a second tell enough.
pub const CLIENT_PROGRESS_MS_MIN: u64 = 10;

/// Client: milliseconds between two resubscriptions of one stream, so that a book that never comes right does not
/// make the server encode snapshots without end.
pub const CLIENT_RESYNC_MS_MIN: u64 = 1_000;

// The live view of `tickcast watch`.

/// Lines of the tape that are kept: more than any terminal has rows.
pub const WATCH_TAPE_MAX: usize = 512;

/// Latencies of which the percentiles are taken: 6,000 messages a second over the window of five seconds, 16 bytes
/// each. At higher rates the window is shorter.
pub const WATCH_LATENCIES_MAX: usize = 30_000;

/// Nanoseconds for which a note is shown that concerns a moment: long enough to be read.
pub const WATCH_NOTE_NS: u64 = 8_000_000_000;

/// Milliseconds between two figures of rate and latency, two steps of a countdown: what an eye can follow.
pub const WATCH_TICK_MS: u64 = 250;

/// Milliseconds until the list of instruments is asked for again, where there was none or nothing matched.
pub const WATCH_LIST_RETRY_MS: u64 = 2_000;

/// Milliseconds that the list of instruments may take.
pub const WATCH_LIST_MS_MAX: u64 = 10_000;

/// Bytes of the list of instruments: [`INSTRUMENTS_MAX`] of some 300 bytes each.
pub const WATCH_LIST_BYTES_MAX: usize = 64 << 20;

/// Milliseconds that the goodbye to the server may take when the user quits.
pub const WATCH_GOODBYE_MS: u64 = 200;

// What must fit into what.

const _: () = assert!(EVENT_RECORDS_MAX + CHUNK_RECORDS_MAX <= QUEUE_RECORDS_MAX, "an event fits in a queue");
const _: () =
    assert!(4 * (SIM_ORDERS_MAX as usize) + 8 <= EVENT_RECORDS_MAX, "a simulated event stays whole");
const _: () = assert!(FEED_BLOCK_RECORDS <= FEED_BLOCK_RECORDS_MAX);
const _: () = assert!(
    16 + 40 + 16 + SNAPSHOT_PART_LEVELS * 16 <= OUTBOX_BYTES_MIN,
    "an outbox holds a part of a snapshot"
);
const _: () = assert!(
    16 + 40 + 16 + SNAPSHOT_PART_ORDERS * 24 <= OUTBOX_BYTES_MIN,
    "an outbox holds a part of a snapshot of orders"
);
const _: () = assert!(CONNECTIONS_STREAMS_MAX >= SUBSCRIPTIONS_MAX, "one session's streams can be listed");
const _: () = assert!(TIMER_MILLISECONDS.is_multiple_of(TIMER_TURNS), "turns are equally long");
const _: () = assert!(STALE_MS + 2 * TIMER_MILLISECONDS <= 1_000, "staleness shows within a second");
