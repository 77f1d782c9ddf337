//! The messages of Nasdaq TotalView-ITCH 5.0, byte for byte as its specification lists them.

use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// What every message begins with.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Head {
    pub kind: u8,
    /// The day's number of the stock; 0: the message is about none.
    pub stock_locate: U16,
    pub tracking_number: U16,
    /// Nanoseconds since midnight, 48 bits.
    time: [u8; 6],
}

impl Head {
    /// Nanoseconds since midnight.
    pub fn time_ns(&self) -> u64 {
        self.time.iter().fold(0, |time, byte| time << 8 | u64::from(*byte))
    }
}

/// A stock's symbol, padded with spaces.
pub(super) type Stock = [u8; 8];

/// `S`: what part of the day begins or ends.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct SystemEvent {
    pub head: Head,
    pub event: u8,
}

/// `R`: a stock, and its number today.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct StockDirectory {
    pub head: Head,
    pub stock: Stock,
    _market_category: u8,
    _financial_status: u8,
    _round_lot_size: U32,
    _round_lots_only: u8,
    _issue_classification: u8,
    _issue_subtype: [u8; 2],
    _authenticity: u8,
    _short_sale_threshold: u8,
    _ipo_flag: u8,
    _luld_reference_tier: u8,
    _etp_flag: u8,
    _etp_leverage: U32,
    _inverse: u8,
}

/// `H`: whether a stock trades.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct TradingAction {
    pub head: Head,
    pub stock: Stock,
    pub state: u8,
    _reserved: u8,
    _reason: [u8; 4],
}

/// `h`: whether one of Nasdaq's markets trades a stock.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct OperationalHalt {
    pub head: Head,
    pub stock: Stock,
    pub market: u8,
    pub action: u8,
}

/// `A`, and the first part of `F`: an order joins the book.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct AddOrder {
    pub head: Head,
    pub reference: U64,
    pub side: u8,
    pub shares: U32,
    pub stock: Stock,
    pub price: U32,
}

/// `F`: an order joins the book, and whose it is.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct AddAttributed {
    pub order: AddOrder,
    _attribution: [u8; 4],
}

/// `E`: an order is filled at its price.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Executed {
    pub head: Head,
    pub reference: U64,
    pub shares: U32,
    pub match_number: U64,
}

/// `C`: an order is filled at another price.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ExecutedWithPrice {
    pub executed: Executed,
    pub printable: u8,
    pub price: U32,
}

/// `X`: a part of an order leaves.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Cancel {
    pub head: Head,
    pub reference: U64,
    pub shares: U32,
}

/// `D`: what is left of an order leaves.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Delete {
    pub head: Head,
    pub reference: U64,
}

/// `U`: an order leaves and another takes its place at the end of the queue.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Replace {
    pub head: Head,
    pub reference: U64,
    pub new_reference: U64,
    pub shares: U32,
    pub price: U32,
}

/// `P`: a trade with an order that was not shown.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Trade {
    pub head: Head,
    _reference: U64,
    /// Always `B`: it says nothing.
    _side: u8,
    pub shares: U32,
    pub stock: Stock,
    pub price: U32,
    pub match_number: U64,
}

/// `Q`: an auction's trade.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct CrossTrade {
    pub head: Head,
    pub shares: U64,
    pub stock: Stock,
    pub price: U32,
    pub match_number: U64,
    _cross_type: u8,
}

/// `B`: a trade is taken back.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct BrokenTrade {
    pub head: Head,
    pub match_number: U64,
}

/// Bytes of a message of that type; `None` for a type that the specification does not have.
pub(super) fn bytes_of(kind: u8) -> Option<usize> {
    Some(match kind {
        b'S' => size_of::<SystemEvent>(),
        b'R' => size_of::<StockDirectory>(),
        b'H' => size_of::<TradingAction>(),
        b'Y' => 20,
        b'L' => 26,
        b'V' => 35,
        b'W' => 12,
        b'K' => 28,
        b'J' => 35,
        b'h' => size_of::<OperationalHalt>(),
        b'A' => size_of::<AddOrder>(),
        b'F' => size_of::<AddAttributed>(),
        b'E' => size_of::<Executed>(),
        b'C' => size_of::<ExecutedWithPrice>(),
        b'X' => size_of::<Cancel>(),
        b'D' => size_of::<Delete>(),
        b'U' => size_of::<Replace>(),
        b'P' => size_of::<Trade>(),
        b'Q' => size_of::<CrossTrade>(),
        b'B' => size_of::<BrokenTrade>(),
        b'I' => 50,
        b'N' => 20,
        b'O' => 48,
        _ => return None,
    })
}

/// What a type that has no place in a feed file is called.
pub(super) fn name_of(kind: u8) -> &'static str {
    match kind {
        b'S' => "S (system event)",
        b'Y' => "Y (Reg SHO restriction)",
        b'L' => "L (market participant position)",
        b'V' => "V (circuit breaker levels)",
        b'W' => "W (circuit breaker status)",
        b'K' => "K (IPO quoting period)",
        b'J' => "J (LULD auction collar)",
        b'h' => "h (operational halt of another market)",
        b'I' => "I (net order imbalance)",
        b'N' => "N (retail interest)",
        b'O' => "O (direct listing price discovery)",
        _ => "another",
    }
}

const _: () = {
    assert!(size_of::<Head>() == 11);
    assert!(size_of::<SystemEvent>() == 12);
    assert!(size_of::<StockDirectory>() == 39);
    assert!(size_of::<TradingAction>() == 25);
    assert!(size_of::<OperationalHalt>() == 21);
    assert!(size_of::<AddOrder>() == 36);
    assert!(size_of::<AddAttributed>() == 40);
    assert!(size_of::<Executed>() == 31);
    assert!(size_of::<ExecutedWithPrice>() == 36);
    assert!(size_of::<Cancel>() == 23);
    assert!(size_of::<Delete>() == 19);
    assert!(size_of::<Replace>() == 35);
    assert!(size_of::<Trade>() == 44);
    assert!(size_of::<CrossTrade>() == 40);
    assert!(size_of::<BrokenTrade>() == 19);
};
