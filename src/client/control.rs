//! The control messages that the client reads (`docs/protocol.md`, "Replies").
//!
//! Keys and types of message that it does not know are skipped, so that an old client lives with a new server.

use serde::Deserialize;

use crate::model::Channel;

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
        #[serde(default)]
        id: Option<u64>,
        streams: Vec<Grant>,
        /// Whether another message goes on with the answer.
        #[serde(default)]
        more: bool,
    },
    Unsubscribed {
        streams: Vec<Ended>,
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
    #[serde(default)]
    pub period: Option<String>,
    pub epoch: u64,
    pub seq: u64,
}

/// A stream that ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Ended {
    pub symbol: String,
    pub channel: ChannelName,
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
            period: None,
            epoch: 7,
            seq: 9,
        };
        assert_eq!(granted.unwrap(), Control::Subscribed { id: Some(1), streams: vec![grant], more: false });
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
