//! What a source says happened: the records of feed files and the input of the deriver.

use super::Side;

/// A time that the source does not give (the value Databento uses).
pub const ABSENT_TIME: u64 = u64::MAX;

/// Flags of a [`Primary`].
pub mod primary_flags {
    /// The last primary of its exchange event: the books may be looked at.
    pub const LAST: u8 = 1;
    /// Part of a snapshot of what stood before the recording: a replay gives it no time.
    pub const SNAPSHOT: u8 = 2;
    /// The `order_id` of this trade is that of the order that crossed, not the trade's own: several trades may share
    /// it, so that it cannot tell them apart.
    pub const ORDER_OF_TRADE: u8 = 4;
}

/// What a primary says. The number is the one in feed files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PrimaryKind {
    /// An order joins the end of the queue at its price: `order_id`, `side`, `price`, `quantity`.
    Add = 1,
    /// Part or all of an order leaves: `quantity` is how much. An order left with nothing is gone.
    Cancel = 2,
    /// An order's price and quantity are now these. It keeps its place in the queue only if the price stays and the
    /// quantity does not grow. An unknown order is added.
    Modify = 3,
    /// A resting order was filled for `quantity`: that much leaves it. (What crossed it is a `Trade` of its own.)
    Execute = 4,
    /// A trade: `price`, `quantity`, `side` is the aggressor's (0: nobody), `order_id` the trade's identifier
    /// (0: none; with [`primary_flags::ORDER_OF_TRADE`] an order's). It changes no book. With
    /// [`primary_flags::SNAPSHOT`] it stands for all trades before: the price of the last, the quantity of all.
    Trade = 5,
    /// A fill that a recording reports beside the cancel or modify that carries it out. It changes no book.
    Fill = 6,
    /// Every order and level of the instrument is gone.
    Clear = 7,
    /// L2: this `quantity` now stands at `price` on `side`; 0 removes the level.
    Level = 8,
    /// The source restates its best levels whole, best first: level number `level` of `side` is `price` x `quantity`
    /// made of `count` orders; a quantity of 0: there is no such level. The event's last restates them all.
    Top = 9,
    /// Whether the instrument trades: `level` holds the [`super::Status`]'s number.
    Status = 10,
    /// What the source says beside the above and that changes nothing here; kept for the round trip. `count` holds
    /// the source's own action.
    Note = 11,
}

impl PrimaryKind {
    /// The name for people.
    pub const fn name(self) -> &'static str {
        match self {
            PrimaryKind::Add => "add",
            PrimaryKind::Cancel => "cancel",
            PrimaryKind::Modify => "modify",
            PrimaryKind::Execute => "execute",
            PrimaryKind::Trade => "trade",
            PrimaryKind::Fill => "fill",
            PrimaryKind::Clear => "clear",
            PrimaryKind::Level => "level",
            PrimaryKind::Top => "top",
            PrimaryKind::Status => "status",
            PrimaryKind::Note => "note",
        }
    }

    /// The kind of that number.
    pub const fn from_number(number: u8) -> Option<PrimaryKind> {
        Some(match number {
            1 => PrimaryKind::Add,
            2 => PrimaryKind::Cancel,
            3 => PrimaryKind::Modify,
            4 => PrimaryKind::Execute,
            5 => PrimaryKind::Trade,
            6 => PrimaryKind::Fill,
            7 => PrimaryKind::Clear,
            8 => PrimaryKind::Level,
            9 => PrimaryKind::Top,
            10 => PrimaryKind::Status,
            11 => PrimaryKind::Note,
            _ => return None,
        })
    }
}

/// One record of a source: 64 bytes, the same in memory, in feed files and from bincode (fixed-width, little-endian).
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 8 | `ts_event_ns` |
/// | 8 | 8 | `ts_recv_ns` |
/// | 16 | 8 | `order_id` |
/// | 24 | 8 | `price` |
/// | 32 | 8 | `quantity` |
/// | 40 | 4 | `instrument` |
/// | 44 | 4 | `sequence` |
/// | 48 | 4 | `ts_in_delta_ns` |
/// | 52 | 4 | `count` |
/// | 56 | 2 | `publisher` |
/// | 58 | 1 | `kind` |
/// | 59 | 1 | `side` |
/// | 60 | 1 | `flags` |
/// | 61 | 1 | `level` |
/// | 62 | 1 | `source_flags` |
/// | 63 | 1 | `source_channel` |
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
    bincode::Encode,
    bincode::Decode,
)]
#[repr(C)]
pub struct Primary {
    /// When it happened, nanoseconds since the Unix epoch, by the exchange's clock.
    pub ts_event_ns: u64,
    /// When the recorder received it; [`ABSENT_TIME`] where the source does not say.
    pub ts_recv_ns: u64,
    /// The order it is about; of a trade: the trade's identifier; 0 where there is none.
    pub order_id: u64,
    /// Integer price ([`super::ABSENT`] where there is none).
    pub price: i64,
    /// Integer quantity.
    pub quantity: i64,
    /// The instrument's number in the catalog.
    pub instrument: u32,
    /// The source's own sequence number (0 where it has none).
    pub sequence: u32,
    /// The exchange's sending time relative to `ts_recv_ns`, nanoseconds.
    pub ts_in_delta_ns: i32,
    /// Orders at the level (`Top`); the source's action, or its type of record (`Note`, and the record that a `Top`
    /// belongs to).
    pub count: u32,
    /// The source's publisher number.
    pub publisher: u16,
    /// [`PrimaryKind`] as a number.
    pub kind: u8,
    /// [`Side`] as a number; of a trade the aggressor's; 0: none.
    pub side: u8,
    /// [`primary_flags`].
    pub flags: u8,
    /// `Top`: the level's number, 0 is the best. `Status`: the status. Otherwise the source's depth.
    pub level: u8,
    /// The source's own flags, as recorded.
    pub source_flags: u8,
    /// The source's own channel number.
    pub source_channel: u8,
}

const _: () = assert!(size_of::<Primary>() == 64);

impl Primary {
    /// A record of that kind, everything else 0 and the receive time absent.
    pub fn new(kind: PrimaryKind, instrument: u32, ts_event_ns: u64) -> Primary {
        Primary { kind: kind as u8, instrument, ts_event_ns, ts_recv_ns: ABSENT_TIME, ..Primary::default() }
    }

    /// The kind; `None` for a number this version does not know.
    pub const fn kind(&self) -> Option<PrimaryKind> {
        PrimaryKind::from_number(self.kind)
    }

    /// The side, where it has one.
    pub const fn side(&self) -> Option<Side> {
        Side::from_number(self.side)
    }

    /// Whether an exchange event ends here.
    pub const fn is_last(&self) -> bool {
        self.flags & primary_flags::LAST != 0
    }
}
