//! What the server says beside market data, as JSON text.
//!
//! Every function appends one JSON object, without a newline. Lists are written by [`Page`], which never lets a
//! message grow over [`limits::TEXT_BYTES_MAX`].

use std::marker::PhantomData;

use super::refusal::Refusal;
use super::request::{RequestId, SERVED};
use crate::limits;
use crate::model::{ABSENT, Channel, Instrument, Period, ResetReason, Status};
use crate::wire::json::{decimal, integer, string, text};

/// What `welcome` says of the limits of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct WelcomeLimits {
    /// Bytes of a message from the client.
    pub message_bytes: u64,
    /// Symbols in one request.
    pub request_symbols: u64,
    /// Streams that the connection may have.
    pub streams: u64,
    /// Bytes that may wait for the client before it counts as too slow.
    pub outbox_bytes: u64,
}

/// Appends `welcome`, the first message of every connection. `protocol` is the subprotocol in force, `epoch` the
/// source's at this time, `heartbeat_ms` the time between two heartbeats.
pub fn welcome(out: &mut Vec<u8>, protocol: &str, epoch: u64, heartbeat_ms: u64, limits: &WelcomeLimits) {
    text(out, "{\"type\":\"welcome\",\"protocol\":");
    string(out, protocol);
    text(out, concat!(",\"server\":\"tickcast/", env!("CARGO_PKG_VERSION"), "\",\"epoch\":"));
    integer(out, epoch);
    text(out, ",\"heartbeat_ms\":");
    integer(out, heartbeat_ms);
    text(out, ",\"limits\":");
    serde_json::to_writer(&mut *out, limits).expect("writing numbers into a Vec cannot fail");
    out.push(b'}');
}

/// Appends `pong`, the answer to a `ping` request. `ts_ns` is the server's time, nanoseconds since the Unix epoch.
pub fn pong(out: &mut Vec<u8>, id: Option<&RequestId>, ts_ns: u64) {
    opening(out, "pong", id);
    nanoseconds(out, ts_ns);
    out.push(b'}');
}

/// Appends `replay`, the answer to a request of that name: the keys of `state`, a JSON object that has some.
pub fn replay(out: &mut Vec<u8>, id: Option<&RequestId>, state: &str) {
    opening(out, "replay", id);
    out.push(b',');
    text(out, state.strip_prefix('{').unwrap_or(state));
}

/// Appends `error`, the answer to a request that is not carried out; over HTTP the body of the response.
pub fn error(out: &mut Vec<u8>, refusal: &Refusal) {
    opening(out, "error", refusal.id.as_ref());
    text(out, ",\"code\":");
    string(out, refusal.code.name());
    text(out, ",\"message\":");
    string(out, &refusal.message);
    text(out, ",\"retry\":");
    text(out, if refusal.retry { "true}" } else { "false}" });
}

/// What a `notice` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The client is too slow for its streams: they are merged from here on.
    Conflating,
    /// It has caught up: each update is sent again.
    Recovered,
    /// The source has gone silent: what the client holds may be old.
    Stale,
    /// The source speaks again.
    Live,
    /// The server stops: a close with 1001 follows.
    ShuttingDown,
    /// The replay's file is at its end: no more market data follows, the connection stays.
    ReplayEnded,
}

impl Notice {
    /// Every notice.
    pub const ALL: [Notice; 6] = [
        Notice::Conflating,
        Notice::Recovered,
        Notice::Stale,
        Notice::Live,
        Notice::ShuttingDown,
        Notice::ReplayEnded,
    ];

    /// The code on the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Notice::Conflating => "conflating",
            Notice::Recovered => "recovered",
            Notice::Stale => "stale",
            Notice::Live => "live",
            Notice::ShuttingDown => "shutting_down",
            Notice::ReplayEnded => "replay_ended",
        }
    }

    /// The same in words.
    pub const fn message(self) -> &'static str {
        match self {
            Notice::Conflating => {
                "too slow: updates are merged until this connection has caught up; read faster or ask for less"
            }
            Notice::Recovered => "caught up: each update is sent again",
            Notice::Stale => "the source is silent: what was sent may be old",
            Notice::Live => "the source speaks again",
            Notice::ShuttingDown => "the server is stopping; reconnect with backoff",
            Notice::ReplayEnded => {
                "the replay is at its end; no more market data follows, the server stays up"
            }
        }
    }
}

/// Appends `notice`.
pub fn notice(out: &mut Vec<u8>, notice: Notice) {
    opening(out, "notice", None);
    text(out, ",\"code\":");
    string(out, notice.code());
    text(out, ",\"message\":");
    string(out, notice.message());
    out.push(b'}');
}

/// Appends `gap`: sequences `from` to `to` of a stream are lost to this client. `from` is at most `to`.
pub fn gap(out: &mut Vec<u8>, symbol: &str, channel: Channel, epoch: u64, from: u64, to: u64) {
    text(out, "{\"type\":\"gap\",\"symbol\":");
    string(out, symbol);
    text(out, ",\"channel\":");
    string(out, channel.name());
    let count = to.saturating_sub(from).saturating_add(1);
    for (key, value) in
        [(",\"epoch\":", epoch), (",\"from\":", from), (",\"to\":", to), (",\"count\":", count)]
    {
        text(out, key);
        integer(out, value);
    }
    out.push(b'}');
}

/// Appends `reset`: every stream of the instrument starts anew in this epoch.
pub fn reset(out: &mut Vec<u8>, symbol: &str, epoch: u64, reason: ResetReason) {
    opening(out, "reset", None);
    text(out, ",\"symbol\":");
    string(out, symbol);
    text(out, ",\"epoch\":");
    integer(out, epoch);
    text(out, ",\"reason\":");
    string(out, reason.name());
    out.push(b'}');
}

/// One element of a [`Page`].
pub trait Entry {
    /// Appends it as a JSON object.
    fn write(&self, out: &mut Vec<u8>);
}

/// A stream in `subscribed`.
#[derive(Clone, Copy, Debug)]
pub struct Granted<'a> {
    /// The instrument's number, as in binary frames.
    pub number: u32,
    /// The instrument.
    pub instrument: &'a Instrument,
    /// The channel.
    pub channel: Channel,
    /// Levels a side; `None`: all of them, or a channel without depth.
    pub depth: Option<u32>,
    /// Milliseconds between updates; 0: each at once.
    pub interval_ms: u32,
    /// Length of the bars; `None`: a channel without bars.
    pub period: Option<Period>,
    /// Epoch of `seq`.
    pub epoch: u64,
    /// From where the stream goes on: its last sequence at the time of the reply, or where the client resumes.
    pub seq: u64,
}

/// A stream in `unsubscribed`.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// The instrument's symbol.
    pub symbol: &'a str,
    /// The channel.
    pub channel: Channel,
}

/// An instrument in `instruments`.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// The instrument's number, as in binary frames.
    pub number: u32,
    /// The instrument.
    pub instrument: &'a Instrument,
    /// Whether it trades now.
    pub status: Status,
}

/// A stream in `heartbeat`: complete up to `seq`.
#[derive(Clone, Copy, Debug)]
pub struct Position<'a> {
    /// The instrument's symbol.
    pub symbol: &'a str,
    /// The channel.
    pub channel: Channel,
    /// Epoch of `seq`.
    pub epoch: u64,
    /// The last sequence.
    pub seq: u64,
}

/// A message that is a list, while it is written: open it, [`push`](Page::push) entries until one does not fit,
/// [`finish`](Page::finish) it, go on with another page.
#[derive(Debug)]
#[must_use = "a page is no JSON before it is finished"]
pub struct Page<'o, E> {
    out: &'o mut Vec<u8>,
    /// Where the message begins in `out`.
    start: usize,
    /// Bytes that the finished message may have.
    bytes_max: usize,
    entries: usize,
    more: More,
    entry: PhantomData<fn(E)>,
}

/// When a list says whether another page follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum More {
    Always,
    IfSo,
    Never,
}

/// Bytes of what closes the longest page: `],"more":false}`.
const CLOSING_BYTES_MAX: usize = 15;

impl<'o, 'a> Page<'o, Granted<'a>> {
    /// Opens `subscribed`; without an `id`: streams granted to an earlier wildcard.
    pub fn subscribed(out: &'o mut Vec<u8>, id: Option<&RequestId>) -> Page<'o, Granted<'a>> {
        let start = out.len();
        opening(out, "subscribed", id);
        Page::open(out, start, ",\"streams\":[", More::Always)
    }
}

impl<'o, 'a> Page<'o, Ended<'a>> {
    /// Opens `unsubscribed`.
    pub fn unsubscribed(out: &'o mut Vec<u8>, id: Option<&RequestId>) -> Page<'o, Ended<'a>> {
        let start = out.len();
        opening(out, "unsubscribed", id);
        Page::open(out, start, ",\"streams\":[", More::IfSo)
    }
}

impl<'o, 'a> Page<'o, Listed<'a>> {
    /// Opens `instruments`.
    pub fn instruments(out: &'o mut Vec<u8>, id: Option<&RequestId>, epoch: u64) -> Page<'o, Listed<'a>> {
        let start = out.len();
        opening(out, "instruments", id);
        text(out, ",\"epoch\":");
        integer(out, epoch);
        Page::open(out, start, ",\"instruments\":[", More::Always)
    }

    /// Opens the body of `GET /api/v1/instruments`: the same message, but all of it in one page.
    pub fn instruments_http(out: &'o mut Vec<u8>, epoch: u64) -> Page<'o, Listed<'a>> {
        let page = Page::instruments(out, None, epoch);
        Page { bytes_max: usize::MAX, ..page }
    }
}

impl<'o, 'a> Page<'o, Position<'a>> {
    /// Opens `heartbeat`. `ts_ns` is the server's time, nanoseconds since the Unix epoch.
    pub fn heartbeat(out: &'o mut Vec<u8>, ts_ns: u64) -> Page<'o, Position<'a>> {
        let start = out.len();
        opening(out, "heartbeat", None);
        nanoseconds(out, ts_ns);
        Page::open(out, start, ",\"streams\":[", More::Never)
    }
}

impl<'o, E: Entry> Page<'o, E> {
    fn open(out: &'o mut Vec<u8>, start: usize, list: &str, more: More) -> Page<'o, E> {
        text(out, list);
        Page { out, start, bytes_max: limits::TEXT_BYTES_MAX, entries: 0, more, entry: PhantomData }
    }

    /// Adds an entry. `false`: the page is full, nothing was added, the entry belongs on the next. The first entry of
    /// a page always fits: the longest has a few hundred bytes.
    pub fn push(&mut self, entry: &E) -> bool {
        let before = self.out.len();
        if self.entries > 0 {
            self.out.push(b',');
        }
        entry.write(self.out);
        if self.entries > 0 && self.out.len() - self.start + CLOSING_BYTES_MAX > self.bytes_max {
            self.out.truncate(before);
            return false;
        }
        self.entries += 1;
        true
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Closes the message and says whether another page follows (a `heartbeat` does not say).
    pub fn finish(self, more: bool) {
        let closing = match (self.more, more) {
            (More::Always | More::IfSo, true) => "],\"more\":true}",
            (More::Always, false) => "],\"more\":false}",
            (More::IfSo, false) | (More::Never, _) => "]}",
        };
        text(self.out, closing);
    }
}

impl Entry for Granted<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        text(out, "{\"symbol\":");
        string(out, &self.instrument.symbol);
        text(out, ",\"instrument\":");
        integer(out, u64::from(self.number));
        text(out, ",\"channel\":");
        string(out, self.channel.name());
        units(out, self.instrument);
        text(out, ",\"depth\":");
        match self.depth {
            Some(depth) => integer(out, u64::from(depth)),
            None => text(out, "null"),
        }
        text(out, ",\"interval_ms\":");
        integer(out, u64::from(self.interval_ms));
        if let Some(period) = self.period {
            text(out, ",\"period\":");
            string(out, period.name());
        }
        position(out, self.epoch, self.seq);
    }
}

impl Entry for Ended<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        stream(out, self.symbol, self.channel);
        out.push(b'}');
    }
}

impl Entry for Listed<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        text(out, "{\"symbol\":");
        string(out, &self.instrument.symbol);
        text(out, ",\"instrument\":");
        integer(out, u64::from(self.number));
        units(out, self.instrument);
        text(out, ",\"channels\":[");
        for (i, channel) in self.instrument.channels.and(SERVED).iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            string(out, channel.name());
        }
        text(out, "],\"status\":");
        string(out, self.status.name());
        out.push(b'}');
    }
}

impl Entry for Position<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        stream(out, self.symbol, self.channel);
        position(out, self.epoch, self.seq);
    }
}

fn opening(out: &mut Vec<u8>, kind: &str, id: Option<&RequestId>) {
    text(out, "{\"type\":");
    string(out, kind);
    if let Some(id) = id {
        text(out, ",\"id\":");
        text(out, id.as_json());
    }
}

fn nanoseconds(out: &mut Vec<u8>, ts_ns: u64) {
    text(out, ",\"ts_ns\":\"");
    integer(out, ts_ns);
    out.push(b'"');
}

fn stream(out: &mut Vec<u8>, symbol: &str, channel: Channel) {
    text(out, "{\"symbol\":");
    string(out, symbol);
    text(out, ",\"channel\":");
    string(out, channel.name());
}

/// The end of an entry that has a place in a sequence.
fn position(out: &mut Vec<u8>, epoch: u64, seq: u64) {
    text(out, ",\"epoch\":");
    integer(out, epoch);
    text(out, ",\"seq\":");
    integer(out, seq);
    out.push(b'}');
}

/// Exponents and steps. The steps are values, not integers; `null` where the source does not say.
fn units(out: &mut Vec<u8>, instrument: &Instrument) {
    let exponents = [
        (",\"price_exponent\":", instrument.price_exponent),
        (",\"quantity_exponent\":", instrument.quantity_exponent),
    ];
    for (key, exponent) in exponents {
        text(out, key);
        text(out, itoa::Buffer::new().format(exponent));
    }
    let steps = [
        (",\"tick_size\":", instrument.tick_size, instrument.price_exponent),
        (",\"lot_size\":", instrument.lot_size, instrument.quantity_exponent),
    ];
    for (key, step, exponent) in steps {
        text(out, key);
        decimal(out, if step == 0 { ABSENT } else { step }, exponent);
    }
}
