//! WebSocket frames (RFC 6455) and binary market data, read by the tables of `docs/protocol.md`. Nothing of the
//! server's own code is used here or in the ledger: what both got wrong alike would not be found.

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// Channels by their numbers.
pub const CHANNELS: [&str; 8] = ["", "quotes", "trades", "book", "orders", "ticker", "bars", "status"];

pub const SNAPSHOT: u8 = 1;
pub const LAST: u8 = 2;
pub const CHECKSUM: u8 = 4;

const FRAME_HEADER: usize = 16;
const MESSAGE_HEADER: usize = 40;

/// A client's frame: final and masked.
pub fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut out = vec![0x80 | opcode];
    match payload.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        middle @ 126..65_536 => {
            out.push(0x80 | 126);
            out.extend((middle as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend((long as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

/// First byte, bytes of the head, bytes of the payload, of the whole frame that starts here.
pub fn whole_frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (head, payload) = match second {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize),
        short => (2, usize::from(short)),
    };
    (bytes.len() >= head + payload).then_some((first, head, payload))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// A binary frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub channel: u8,
    pub instrument: u32,
    pub epoch: u64,
}

/// One message of a binary frame.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub kind: u8,
    pub flags: u8,
    pub first: u64,
    pub last: u64,
    pub sent_ns: u64,
    pub body: &'a [u8],
}

/// Takes a binary frame apart.
pub fn read(payload: &[u8]) -> (Header, impl Iterator<Item = Message<'_>>) {
    assert!(payload.len() >= FRAME_HEADER && payload[0] == 1, "a frame of version 1");
    let header = Header { channel: payload[1], instrument: u32_at(payload, 4), epoch: u64_at(payload, 8) };
    let (mut left, mut rest) = (u16_at(payload, 2), &payload[FRAME_HEADER..]);
    assert!(left > 0, "an empty frame");
    let messages = std::iter::from_fn(move || {
        if left == 0 {
            assert!(rest.is_empty(), "{} bytes behind the last message", rest.len());
            return None;
        }
        let length = u32_at(rest, 0) as usize;
        assert!(length >= MESSAGE_HEADER && length.is_multiple_of(8), "length {length}");
        let (message, after) = rest.split_at(length);
        (left, rest) = (left - 1, after);
        Some(Message {
            kind: message[4],
            flags: message[5],
            first: u64_at(message, 8),
            last: u64_at(message, 16),
            sent_ns: u64_at(message, 32),
            body: &message[MESSAGE_HEADER..],
        })
    });
    (header, messages)
}

/// One price level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    pub price: i64,
    pub quantity: i64,
}

/// What happened to one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderChange {
    pub id: u64,
    pub price: i64,
    pub quantity: i64,
    pub action: u8,
    pub side: u8,
}

/// An entry of a snapshot of orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: u64,
    pub price: i64,
    pub quantity: i64,
}

pub const ORDERBOOK: u8 = 3;
pub const ORDER: u8 = 4;
pub const ORDERS: u8 = 8;

/// Action of an order's message: every order is gone.
pub const CLEAR: u8 = 5;

impl<'a> Message<'a> {
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// How many sequences it carries at the most: one, or its levels.
    pub fn carries(&self) -> u64 {
        match self.kind {
            ORDERBOOK => u64::from(u32_at(self.body, 0)) + u64::from(u32_at(self.body, 4)),
            _ => 1,
        }
    }

    /// Number of this part, and how many there are.
    pub fn part(&self) -> (u16, u16) {
        match self.kind {
            ORDERBOOK => (u16_at(self.body, 12), u16_at(self.body, 14)),
            ORDERS => (u16_at(self.body, 8), u16_at(self.body, 10)),
            _ => (1, 1),
        }
    }

    pub fn checksum(&self) -> u32 {
        u32_at(self.body, 8)
    }

    /// Bids, then asks, of an orderbook.
    pub fn levels(&self) -> [impl Iterator<Item = Level> + 'a; 2] {
        self.sides(16, |bytes| Level { price: i64_at(bytes, 0), quantity: i64_at(bytes, 8) })
    }

    /// Bids, then asks, of a snapshot of orders.
    pub fn orders(&self) -> [impl Iterator<Item = Order> + 'a; 2] {
        self.sides(24, |bytes| Order {
            id: u64_at(bytes, 0),
            price: i64_at(bytes, 8),
            quantity: i64_at(bytes, 16),
        })
    }

    pub fn order(&self) -> OrderChange {
        OrderChange {
            id: u64_at(self.body, 0),
            price: i64_at(self.body, 8),
            quantity: i64_at(self.body, 16),
            action: self.body[32],
            side: self.body[33],
        }
    }

    /// Entries of that size behind the sixteen bytes that say how many bids and asks there are.
    fn sides<T>(&self, size: usize, read: fn(&'a [u8]) -> T) -> [impl Iterator<Item = T> + use<'a, T>; 2] {
        let (bids, asks) = (u32_at(self.body, 0) as usize, u32_at(self.body, 4) as usize);
        let entries = &self.body[16..16 + (bids + asks) * size];
        let (bids, asks) = entries.split_at(bids * size);
        [bids, asks].map(|side| side.chunks_exact(size).map(read))
    }
}

/// CRC-32C, bit by bit.
pub fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[test]
fn the_checksum_is_the_one_of_the_document() {
    assert_eq!(crc32c(b"123456789".iter().copied()), 0xE306_9283);
}
