//! A trade in a frame of its own, as docs/protocol.md lays it out under "Binary frames".

/// Bytes of the payload: frame header 16, message header 40, trade 32.
pub const PAYLOAD_BYTES: usize = 88;
/// Bytes of the WebSocket frame around it.
pub const FRAME_BYTES: usize = 2 + PAYLOAD_BYTES;

/// What differs from one trade to the next.
#[derive(Clone, Copy, Debug)]
pub struct Trade {
    pub instrument: u32,
    /// Sequence in the stream of its instrument.
    pub seq: u64,
    /// When it was due, nanoseconds since the Unix epoch.
    pub due_unix_ns: u64,
    /// When it was published, likewise.
    pub sent_unix_ns: u64,
}

/// The payload of a trade whose fields are still to be [`put`].
pub fn blank() -> [u8; PAYLOAD_BYTES] {
    let mut payload = [0; PAYLOAD_BYTES];
    let mut set = |at: usize, bytes: &[u8]| payload[at..at + bytes.len()].copy_from_slice(bytes);
    // Version 1, channel 2 (trades), one message; the epoch.
    set(0, &[1, 2, 1, 0]);
    set(8, &1_u64.to_le_bytes());
    // Length, kind 2 (trade), flags 2 (last).
    set(16, &72_u32.to_le_bytes());
    set(20, &[2, 2]);
    // Price, quantity, trade id, aggressor.
    set(56, &10_000_i64.to_le_bytes());
    set(64, &7_i64.to_le_bytes());
    set(72, &1_u64.to_le_bytes());
    set(80, &[1]);
    payload
}

/// Writes what differs into a payload.
#[inline]
pub fn put(payload: &mut [u8], trade: Trade) {
    let payload: &mut [u8; PAYLOAD_BYTES] = payload.try_into().expect("a payload has PAYLOAD_BYTES");
    payload[4..8].copy_from_slice(&trade.instrument.to_le_bytes());
    payload[24..32].copy_from_slice(&trade.seq.to_le_bytes());
    payload[32..40].copy_from_slice(&trade.seq.to_le_bytes());
    payload[40..48].copy_from_slice(&trade.due_unix_ns.to_le_bytes());
    payload[48..56].copy_from_slice(&trade.sent_unix_ns.to_le_bytes());
}
