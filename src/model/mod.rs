//! Values: instruments, prices, events, books. No I/O, no bytes, no clock.
//!
//! Two 64-byte records pass through the house. A [`Primary`] is what a source says happened (an order was added,
//! a trade was printed, a level now stands so). An [`Event`] is what everybody downstream hears of it: one record of
//! one channel with its sequence. The deriver is the only place that turns the first into the second.

mod bar;
mod book;
mod channel;
mod deriver;
mod event;
mod instrument;
mod ladder;
mod order_event;
mod orders;
mod price;
mod primary;

pub use bar::{Bar, BarStep, Bars, Period};
pub use book::L2Book;
pub use channel::{Channel, ChannelSet};
pub use deriver::{DeriveError, Deriver};
pub use event::{Aggressor, Body, Event, Quote, ResetReason, Side, Status, Ticker, Trade, event_flags};
pub use instrument::{Catalog, CatalogError, Instrument, SYMBOLS_ALLOWED, symbol_is_valid};
pub use ladder::Ladder;
pub use order_event::{OrderAction, OrderChange};
pub use orders::{Order, OrderBook, OrderError};
pub use price::{ABSENT, Decimal, Level, parse_decimal, plain_decimal};
pub use primary::{ABSENT_TIME, Primary, PrimaryKind, primary_flags};
