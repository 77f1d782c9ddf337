//! The control messages that the client reads and writes (`docs/protocol.md`, "Requests" and "Replies").
//!
//! Keys and types of message that it does not know are skipped, so that an old client lives with a new server.

use serde::{Deserialize, Serialize};

use crate::model::Channel;

/// What to subscribe to: each of the symbols on each of the channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Symbols, or prefixes followed by `*`.
    pub symbols: Vec<String>,
    /// Channels.
    pub channels: Vec<Channel>,
    /// Levels a side of a book; `None`: all. The server rounds up.
    pub depth: Option<u32>,
    /// Milliseconds between updates of quotes, book and ticker; 0: each. The server rounds up.
    pub interval_ms: u32,
}

impl Subscription {
    /// Every update of these channels, the book in full.
    pub fn new<S: Into<String>>(symbols: impl IntoIterator<Item = S>, channels: &[Channel]) -> Subscription {
        let symbols = symbols.into_iter().map(Into::into).collect();
        Subscription { symbols, channels: channels.to_vec(), depth: None, interval_ms: 0 }
    }

    /// The same with the best `depth` levels of a side.
    pub fn with_depth(self, depth: u32) -> Subscription {
        Subscription { depth: Some(depth), ..self }
    }

    /// The same with at most one update in so many milliseconds.
    pub fn with_interval_ms(self, interval_ms: u32) -> Subscription {
        Subscription { interval_ms, ..self }
    }

    /// The request as one JSON object.
    pub(super) fn request(&self, id: u64) -> String {
        #[derive(Serialize)]
        struct Subscribe<'a> {
            op: &'static str,
            id: u64,
            symbols: &'a [String],
            channels: Vec<&'static str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            depth: Option<u32>,
            interval_ms: u32,
        }
        let channels = self.channels.iter().map(|channel| channel.name()).collect();
        let request = Subscribe {
            op: "subscribe",
            id,
            symbols: &self.symbols,
            channels,
            depth: self.depth,
            interval_ms: self.interval_ms,
        };
        serde_json::to_string(&request).expect("strings and numbers are JSON")
    }
}

/// A control message from the server.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Control {
    Welcome {
        server: String,
        epoch: u64,
        heartbeat_ms: u64,
    },
    Subscribed {
        streams: Vec<Grant>,
    },
    Heartbeat {
        #[serde(default)]
        streams: Vec<Position>,
    },
    Notice {
        code: String,
        message: String,
    },
    Gap {
        symbol: String,
        channel: ChannelName,
        epoch: u64,
        from: u64,
        to: u64,
    },
    Reset {
        symbol: String,
        epoch: u64,
        reason: String,
    },
    Error {
        id: Option<u64>,
        code: String,
        message: String,
        #[serde(default)]
        retry: bool,
    },
    #[serde(other)]
    Other,
}

/// A stream granted.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Grant {
    pub symbol: String,
    pub instrument: u32,
    pub channel: ChannelName,
    pub price_exponent: i8,
    pub quantity_exponent: i8,
    /// `None`: the full book, and every channel that is no book.
    #[serde(default)]
    pub depth: Option<u32>,
    #[serde(default)]
    pub interval_ms: Option<u32>,
    pub epoch: u64,
    pub seq: u64,
}

/// Up to where a stream is complete.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Position {
    pub symbol: String,
    pub channel: ChannelName,
    pub epoch: u64,
    pub seq: u64,
}

/// A channel by its name; `None` for one that this version does not know.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(from = "String")]
pub(super) struct ChannelName(pub Option<Channel>);

impl From<String> for ChannelName {
    fn from(name: String) -> ChannelName {
        ChannelName(Channel::from_name(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_what_is_asked_and_nothing_else() {
        let subscription = Subscription::new(["BTC-USD", "ETH-*"], &[Channel::Quotes, Channel::Book]);
        assert_eq!(
            subscription.request(3),
            r#"{"op":"subscribe","id":3,"symbols":["BTC-USD","ETH-*"],"channels":["quotes","book"],"interval_ms":0}"#
        );
        let shallow = subscription.with_depth(10).with_interval_ms(100).request(4);
        assert!(shallow.contains(r#""depth":10,"interval_ms":100"#), "{shallow}");
    }

    #[test]
    fn replies_are_read_and_what_is_new_in_them_is_skipped() {
        let read = |text: &str| serde_json::from_str::<Control>(text);
        let granted = read(
            r#"{"type":"subscribed","id":1,"streams":[{"symbol":"A","instrument":4,"channel":"book",
            "price_exponent":-2,"quantity_exponent":-8,"tick_size":0.01,"lot_size":0.00000001,"depth":null,
            "interval_ms":0,"epoch":7,"seq":9}],"more":false}"#,
        );
        let grant = Grant {
            symbol: "A".into(),
            instrument: 4,
            channel: ChannelName(Some(Channel::Book)),
            price_exponent: -2,
            quantity_exponent: -8,
            depth: None,
            interval_ms: Some(0),
            epoch: 7,
            seq: 9,
        };
        assert_eq!(granted.unwrap(), Control::Subscribed { streams: vec![grant] });
        assert_eq!(read(r#"{"type":"instruments","instruments":[1,2]}"#).unwrap(), Control::Other);
        assert_eq!(read(r#"{"type":"tomorrow"}"#).unwrap(), Control::Other);
        let position = read(
            r#"{"type":"heartbeat","ts_ns":"5","streams":[{"symbol":"A","channel":"new","epoch":1,"seq":2}]}"#,
        );
        assert!(
            matches!(position.unwrap(), Control::Heartbeat { streams } if streams[0].channel.0.is_none())
        );
        let error =
            read(r#"{"type":"error","id":null,"code":"bad_request","message":"m","retry":false,"x":{}}"#);
        assert!(matches!(error.unwrap(), Control::Error { id: None, retry: false, .. }));
        for broken in ["", "{", "[]", "{}", r#"{"type":"reset","symbol":1}"#, r#"{"type":"gap"}"#] {
            assert!(read(broken).is_err(), "{broken}");
        }
    }
}
