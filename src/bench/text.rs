//! Text messages from the server: control in both protocols, market data in JSON.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::Channel;

/// Any text message: what it does not have is absent, what it has beside is skipped.
#[derive(Debug, Deserialize)]
pub(super) struct Text<'a> {
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub symbol: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub channel: Option<Cow<'a, str>>,
    #[serde(default)]
    pub first_seq: Option<u64>,
    #[serde(default)]
    pub last_seq: Option<u64>,
    #[serde(borrow, default)]
    ts_ns: Option<&'a str>,
    #[serde(borrow, default)]
    sent_ns: Option<&'a str>,
    #[serde(default)]
    pub snapshot: bool,
    #[serde(default)]
    pub merged: u64,
    #[serde(borrow, default)]
    pub bids: Vec<(&'a RawValue, &'a RawValue)>,
    #[serde(borrow, default)]
    pub asks: Vec<(&'a RawValue, &'a RawValue)>,
    #[serde(default)]
    pub checksum: Option<u32>,
    #[serde(default)]
    pub part: u16,
    #[serde(default)]
    pub parts: u16,
    #[serde(default)]
    pub epoch: Option<u64>,
    #[serde(default)]
    pub from: Option<u64>,
    #[serde(default)]
    pub to: Option<u64>,
    #[serde(borrow, default)]
    pub streams: Vec<Grant<'a>>,
    #[serde(borrow, default)]
    pub instruments: Vec<Named<'a>>,
    #[serde(default)]
    pub more: bool,
    #[serde(borrow, default)]
    pub code: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub message: Option<Cow<'a, str>>,
}

/// A stream in `subscribed`.
#[derive(Debug, Deserialize)]
pub(super) struct Grant<'a> {
    #[serde(borrow)]
    pub symbol: Cow<'a, str>,
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(default)]
    pub instrument: Option<u32>,
    #[serde(default)]
    pub price_exponent: i8,
    #[serde(default)]
    pub quantity_exponent: i8,
    #[serde(default)]
    pub depth: Option<u32>,
    #[serde(default)]
    pub epoch: Option<u64>,
    #[serde(default)]
    pub seq: Option<u64>,
}

/// An instrument in `instruments`.
#[derive(Debug, Deserialize)]
pub(super) struct Named<'a> {
    #[serde(borrow)]
    pub symbol: Cow<'a, str>,
}

impl Text<'_> {
    /// Event time, nanoseconds since the Unix epoch; 0: none.
    pub fn ts_ns(&self) -> u64 {
        self.ts_ns.and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Publish time, nanoseconds since the Unix epoch; 0: none.
    pub fn sent_ns(&self) -> u64 {
        self.sent_ns.and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

impl Grant<'_> {
    /// The channel, where this version knows it.
    pub fn channel(&self) -> Option<Channel> {
        Channel::from_name(&self.channel)
    }
}
