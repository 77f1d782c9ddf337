//! The channels a client can subscribe to, and sets of them.

use std::fmt;

/// One of the streams of an instrument. The number is the one on the wire and in feed files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Channel {
    /// Best bid and ask.
    Quotes = 1,
    /// Each trade.
    Trades = 2,
    /// L2: price levels.
    Book = 3,
    /// L3: each order.
    Orders = 4,
    /// Bid, ask, last price and session volume.
    Ticker = 5,
    /// Open, high, low, close and volume of a period.
    Bars = 6,
    /// Trading, halted, in auction, closed.
    Status = 7,
}

impl Channel {
    /// Every channel, in the order of its number.
    pub const ALL: [Channel; 7] = [
        Channel::Quotes,
        Channel::Trades,
        Channel::Book,
        Channel::Orders,
        Channel::Ticker,
        Channel::Bars,
        Channel::Status,
    ];

    /// The name that users write.
    pub fn name(self) -> &'static str {
        match self {
            Channel::Quotes => "quotes",
            Channel::Trades => "trades",
            Channel::Book => "book",
            Channel::Orders => "orders",
            Channel::Ticker => "ticker",
            Channel::Bars => "bars",
            Channel::Status => "status",
        }
    }

    /// The channel of that name.
    pub fn from_name(name: &str) -> Option<Channel> {
        Self::ALL.into_iter().find(|channel| channel.name() == name)
    }

    /// The channel of that number.
    pub fn from_number(number: u8) -> Option<Channel> {
        Self::ALL.into_iter().find(|channel| *channel as u8 == number)
    }

    /// Position in arrays that hold one entry a channel: 0..7.
    pub const fn index(self) -> usize {
        self as usize - 1
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of channels: bit `number - 1` is set for each member.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    bincode::Encode,
    bincode::Decode,
)]
pub struct ChannelSet(pub u8);

impl ChannelSet {
    /// No channel.
    pub const EMPTY: ChannelSet = ChannelSet(0);

    /// The set of these channels.
    pub const fn of(channels: &[Channel]) -> ChannelSet {
        let mut bits = 0;
        let mut i = 0;
        while i < channels.len() {
            bits |= 1 << channels[i].index();
            i += 1;
        }
        ChannelSet(bits)
    }

    /// Whether the channel is a member.
    pub const fn contains(self, channel: Channel) -> bool {
        self.0 & (1 << channel.index()) != 0
    }

    /// The channels that are in both sets.
    pub const fn and(self, other: ChannelSet) -> ChannelSet {
        ChannelSet(self.0 & other.0)
    }

    /// The members, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Channel> {
        Channel::ALL.into_iter().filter(move |channel| self.contains(*channel))
    }
}
