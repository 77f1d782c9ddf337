//! What a client hears.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::ConnectError;
use crate::model::{
    ABSENT, Bar, Channel, Decimal, Level, Order, OrderChange, OrderError, Period, Quote, ResetReason, Status,
    Ticker, Trade,
};
use crate::wire::control::Duty;
use crate::wire::market::DecodeError;
use crate::wire::message::Meta;

/// An instrument, as the server granted it. `value = integer * 10^exponent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The symbol.
    pub symbol: String,
    /// Its number in the frames of this connection.
    pub number: u32,
    /// Power of ten of every price.
    pub price_exponent: i8,
    /// Power of ten of every quantity.
    pub quantity_exponent: i8,
}

impl Listing {
    /// A price as a decimal; `None` for a side that is empty or a price that is not there yet.
    pub fn price(&self, price: i64) -> Option<Decimal> {
        (price != ABSENT).then(|| Decimal::new(price, self.price_exponent))
    }

    /// A quantity as a decimal; `None` for a side that is empty.
    pub fn quantity(&self, quantity: i64) -> Option<Decimal> {
        (quantity != ABSENT).then(|| Decimal::new(quantity, self.quantity_exponent))
    }
}

/// One thing that happened, in the order in which the server told it.
#[derive(Debug)]
pub enum Update {
    /// A connection stands, subscriptions are on their way.
    Connected {
        /// Name and version of the server.
        server: String,
        /// Its epoch.
        epoch: u64,
    },
    /// The connection is over, or could not be made; another attempt follows. What is held is kept, and stale until
    /// that continues it.
    Disconnected {
        /// What ended it.
        why: Disconnect,
        /// How long the client waits before it connects again.
        retry_in: Duration,
    },
    /// The server granted a stream (again after each connection, and after each resubscription).
    Granted {
        /// The instrument.
        listing: Arc<Listing>,
        /// The channel.
        channel: Channel,
        /// Levels a side of a book view; `None`: all.
        depth: Option<u32>,
        /// Milliseconds between updates; 0: each.
        interval_ms: u32,
        /// Length of the bars; `None`: a channel without bars.
        period: Option<Period>,
        /// Epoch of `seq`.
        epoch: u64,
        /// From where it goes on; later than what is held: its snapshot follows.
        seq: u64,
    },
    /// The server refused a request, all of it. What is left of the subscriptions goes on.
    Refused {
        /// Which subscription, as handed to [`super::Client::connect`]; `None`: another request of the client's own (a
        /// resubscription after a gap). A subscription that needs several requests is refused one by one.
        subscription: Option<usize>,
        /// `unknown_symbol`, `unavailable`, ...
        code: String,
        /// The thing, its value and what is allowed.
        message: String,
        /// Whether the server calls it passing: the subscription is asked for again on the next connection. If not,
        /// it is given up.
        retry: bool,
    },
    /// The best bid and ask are now these.
    Quote {
        /// The instrument.
        listing: Arc<Listing>,
        /// Sequence and times.
        meta: Meta,
        /// Best bid and ask.
        quote: Quote,
    },
    /// A trade.
    Trade {
        /// The instrument.
        listing: Arc<Listing>,
        /// Sequence and times.
        meta: Meta,
        /// The trade.
        trade: Trade,
    },
    /// The book changed, or a snapshot replaced it; [`super::Machine::book`] has it already.
    Book {
        /// The instrument.
        listing: Arc<Listing>,
        /// Sequence and times.
        meta: Meta,
        /// Bids that changed, a quantity of 0: gone. Of a snapshot all, best first.
        bids: Vec<Level>,
        /// The same of the asks.
        asks: Vec<Level>,
    },
    /// An order changed; [`super::Machine::orders`] has it already.
    Order {
        /// The instrument.
        listing: Arc<Listing>,
        /// Sequence and times.
        meta: Meta,
        /// What happened to it.
        change: OrderChange,
    },
    /// A snapshot replaced the resting orders; [`super::Machine::orders`] has them already.
    Orders {
        /// The instrument.
        listing: Arc<Listing>,
        /// Sequence and times.
        meta: Meta,
        /// All of them: bids, then asks, each side in price-time priority.
        orders: Vec<Order>,
    },
    /// A bar is now this: running, or complete.
    Bar {
        /// The instrument.
        listing: Arc<Listing>,
        /// Sequence and times.
        meta: Meta,
        /// The bar.
        bar: Bar,
    },
    /// The price message.
    Ticker {
        /// The instrument.
        listing: Arc<Listing>,
        /// Sequence and times.
        meta: Meta,
        /// Bid, ask, last price, volume.
        ticker: Ticker,
    },
    /// The instrument trades, or does not.
    Status {
        /// The instrument.
        listing: Arc<Listing>,
        /// Sequence and times.
        meta: Meta,
        /// Trading, halted, in auction, closed.
        status: Status,
    },
    /// History ended: sequences start anew in this epoch, every state is empty until its snapshot comes.
    Reset {
        /// The instrument.
        listing: Arc<Listing>,
        /// The new epoch.
        epoch: u64,
        /// Why; a restart where the server did not say.
        reason: ResetReason,
    },
    /// Sequences are missing.
    Gap {
        /// The instrument.
        listing: Arc<Listing>,
        /// The channel.
        channel: Channel,
        /// Epoch of the sequences.
        epoch: u64,
        /// First sequence missing.
        from: u64,
        /// Last sequence missing.
        to: u64,
        /// Whether the server declared it (`gap`), or the client found it.
        declared: bool,
        /// Whether the stream's state is unknown now, so that the client subscribes to it again. After a declared gap it
        /// does not: what is held is stale, and its snapshot follows.
        resync: bool,
    },
    /// The book is not what the server's checksum says it should be; the client subscribes to it again.
    Mismatch {
        /// The instrument.
        listing: Arc<Listing>,
        /// Sequence of the message that carried the checksum.
        seq: u64,
        /// The server's checksum.
        expected: u32,
        /// That of the book here.
        computed: u32,
    },
    /// A snapshot or a change does not fit the orders held; the client subscribes to them again.
    OrderMismatch {
        /// The instrument.
        listing: Arc<Listing>,
        /// Sequence of the message.
        seq: u64,
        /// What is wrong.
        error: OrderError,
    },
    /// All that is held may be old from here on, though the connection stands.
    Stale {
        /// Why.
        why: Staleness,
    },
    /// It is not any more: the server is heard, and so is its source.
    Live,
    /// The server has something to say: `conflating`, `recovered`, `stale`, `live`, `shutting_down`, `replay_ended`.
    Notice {
        /// Which of them.
        code: String,
        /// In words.
        message: String,
    },
}

/// Why what is held may be old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staleness {
    /// Nothing was heard for so long, two heartbeats. After a third the connection counts as dead
    /// ([`Disconnect::Silent`]).
    Silent(Duration),
    /// The server hears nothing from its source (`notice` `stale`).
    Source,
}

impl fmt::Display for Staleness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Staleness::Silent(silence) => write!(f, "nothing heard for {} s", silence.as_secs_f64()),
            Staleness::Source => f.write_str("the server's source is silent"),
        }
    }
}

/// What ended a connection, or kept it from being made.
#[derive(Debug, thiserror::Error)]
pub enum Disconnect {
    /// There was none.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server closed it.
    #[error("closed by the server{}{reason}", CloseCode(*code))]
    Closed {
        /// The close code; `None`: the frame had none.
        code: Option<u16>,
        /// What happened and what to do next.
        reason: String,
    },
    /// It broke.
    #[error("connection lost: {0}")]
    Lost(String),
    /// Not even a heartbeat came for so long.
    #[error("nothing heard for {} s", .0.as_secs_f64())]
    Silent(Duration),
    /// What came is not what a Tickcast server sends.
    #[error("the server breaks the protocol: {0}")]
    Protocol(String),
    /// A binary frame is no frame of market data.
    #[error("the server breaks the protocol: {0}")]
    Decode(#[from] DecodeError),
}

struct CloseCode(Option<u16>);

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(code) => write!(f, " ({code}): "),
            None => f.write_str(" "),
        }
    }
}

impl Disconnect {
    /// Whether connecting again may help. After a close the code decides ([`Duty::after`]); what ended without one
    /// passes.
    pub fn may_pass(&self) -> bool {
        match self {
            Disconnect::Connect(error) => error.may_pass(),
            Disconnect::Closed { code: Some(code), .. } => {
                matches!(Duty::after(*code), Duty::Reconnect | Duty::ReconnectOtherwise)
            }
            Disconnect::Closed { code: None, .. }
            | Disconnect::Lost(_)
            | Disconnect::Silent(_)
            | Disconnect::Protocol(_)
            | Disconnect::Decode(_) => true,
        }
    }

    /// How long the server asks to stay away.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Disconnect::Connect(error) => error.retry_after(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_close_code_says_whether_to_come_back() {
        let closed = |code| Disconnect::Closed { code, reason: "why".into() };
        for code in [1001, 1005, 1006, 1011, 1012, 1013, 4008, 4029, 4999] {
            assert!(closed(Some(code)).may_pass(), "{code}");
        }
        for code in [1000, 1002, 1003, 1007, 1008, 1009, 4001, 4002, 4003] {
            assert!(!closed(Some(code)).may_pass(), "{code}");
        }
        assert!(closed(None).may_pass());
        assert_eq!(closed(Some(1001)).to_string(), "closed by the server (1001): why");
        assert_eq!(Disconnect::Silent(Duration::from_millis(1500)).to_string(), "nothing heard for 1.5 s");
    }
}
