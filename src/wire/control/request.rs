//! From one text frame to a request, or to the error that answers it.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::refusal::{Bare, ErrorCode, Excerpt, Refusal};
use crate::limits;
use crate::model::{Channel, ChannelSet, Period};
use crate::source::ReplayAction;

/// The channels that can be subscribed to.
pub const SERVED: ChannelSet = ChannelSet::of(&Channel::ALL);

/// The depths of book views, levels a side; beyond the last there is the full book.
pub const DEPTHS: [u32; 7] = [1, 5, 10, 25, 50, 100, 500];

/// Sequences, epochs and counts are below this: what JavaScript holds exactly.
const COUNTS_END: u64 = 1 << 53;

/// The depth granted for a depth asked for: the next of [`DEPTHS`], or `None`, the full book.
pub fn round_depth(depth: u64) -> Option<u32> {
    DEPTHS.into_iter().find(|&granted| depth <= u64::from(granted))
}

/// The intervals of views, milliseconds between two updates; 0: each at once.
pub const INTERVALS_MS: [u32; 8] = [0, 10, 50, 100, 250, 500, 1_000, 5_000];

/// The interval granted for an interval asked for: the next of [`INTERVALS_MS`], at most the last.
pub fn round_interval(interval_ms: u64) -> u32 {
    let longest = INTERVALS_MS[INTERVALS_MS.len() - 1];
    INTERVALS_MS.into_iter().find(|&granted| interval_ms <= u64::from(granted)).unwrap_or(longest)
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Echoed in the reply.
    pub id: Option<RequestId>,
    /// What to do.
    pub command: Command,
}

/// The `op` of a request with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `subscribe`.
    Subscribe(Subscribe),
    /// `unsubscribe`.
    Unsubscribe {
        /// Symbols, or prefixes followed by `*`; at least one.
        symbols: Vec<String>,
        /// At least one, none twice.
        channels: Vec<Channel>,
    },
    /// `list`.
    List,
    /// `ping`.
    Ping,
    /// `replay`: steer it, where there is an action, and tell how far it is.
    Replay(Option<ReplayAction>),
    /// `progress`: it has no reply.
    Progress {
        /// Messages of the server, text and binary, that the client has received on this connection.
        received: u64,
    },
}

/// A request for streams: each of the symbols with each of the channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Symbols, or prefixes followed by `*`; at least one, perhaps some twice.
    pub symbols: Vec<String>,
    /// At least one, none twice.
    pub channels: Vec<Channel>,
    /// Depth of the book, already rounded up to one of [`DEPTHS`]; `None`: the full book.
    pub depth: Option<u32>,
    /// Milliseconds between updates of quotes, book and ticker, already rounded up to one of [`INTERVALS_MS`].
    pub interval_ms: u32,
    /// Length of the bars; a minute where the client does not say.
    pub period: Period,
    /// Whether the present state comes first; `None`: as is usual for the channel.
    pub snapshot: Option<bool>,
    /// What to do when the client is too slow.
    pub conflate: Conflate,
    /// What the client holds already; entries may name streams that the request does not.
    pub from: Vec<From>,
}

/// What a client wants of its streams when it is too slow for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conflate {
    /// `auto`: they are merged where the server does so.
    #[default]
    Auto,
    /// `never`: rather be closed.
    Never,
}

/// Where a client stands in a stream: it holds everything up to and with `seq`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// The instrument's symbol.
    pub symbol: String,
    /// The channel.
    pub channel: Channel,
    /// Epoch of `seq`.
    pub epoch: u64,
    /// The last sequence held.
    pub seq: u64,
}

/// A request's `id`: a JSON number or string, kept as it was written and sent back byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Box<str>);

impl RequestId {
    /// The JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

/// Reads one text frame.
///
/// Unknown keys are ignored; `null` for a key that may be absent means absent. A key that the server reads must not
/// stand twice: which of the two counts would be anybody's guess.
///
/// # Errors
/// The refusal to answer with; nothing of the request is to be carried out.
pub fn parse(text: &str) -> Result<Request, Refusal> {
    let bad = |message| Refusal::new(None, ErrorCode::BadRequest, message);
    if !text.trim_start_matches(JSON_SPACE).starts_with('{') {
        return Err(bad(match serde_json::from_str::<&RawValue>(text) {
            Ok(value) => format!("the message is {}; a request is a JSON object", type_name(value)),
            Err(error) => format!("the message is no JSON: {error}; a request is a JSON object"),
        }));
    }
    let keys: Keys<'_> = serde_json::from_str(text)
        .map_err(|error| bad(format!("the message is no JSON: {error}; a request is a JSON object")))?;
    let id = optional("\"id\"", keys.id, request_id)
        .map_err(|fault| Refusal::new(None, fault.code, fault.message))?;
    match keys.command() {
        Ok(command) => Ok(Request { id, command }),
        Err(fault) => Err(Refusal::new(id, fault.code, fault.message)),
    }
}

/// Reads what a replay is to do, with the same keys and rules, from the body of an HTTP request.
///
/// # Errors
/// What is wrong, in words.
pub fn parse_action(body: &[u8]) -> Result<ReplayAction, String> {
    let allowed = || format!("allowed: an object with \"action\": {ACTIONS}");
    let text = std::str::from_utf8(body).map_err(|_| format!("the body is not UTF-8; {}", allowed()))?;
    let keys: Keys<'_> = serde_json::from_str(text)
        .map_err(|error| format!("the body is no JSON object ({error}); {}", allowed()))?;
    if let Some(key) = keys.twice {
        return Err(format!("key {key:?} stands twice; each key is allowed once"));
    }
    let action = keys.action().map_err(|fault| fault.message)?;
    action.ok_or_else(|| format!("key \"action\" is missing; {}", allowed()))
}

const JSON_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// A refusal before it is known whose it is.
#[derive(Debug)]
struct Fault {
    code: ErrorCode,
    message: String,
}

fn bad_request<T>(message: String) -> Result<T, Fault> {
    Err(Fault { code: ErrorCode::BadRequest, message })
}

/// The values of the keys that the server reads, not yet looked into.
#[derive(Default)]
struct Keys<'a> {
    op: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    symbols: Option<&'a RawValue>,
    channels: Option<&'a RawValue>,
    depth: Option<&'a RawValue>,
    interval_ms: Option<&'a RawValue>,
    period: Option<&'a RawValue>,
    snapshot: Option<&'a RawValue>,
    conflate: Option<&'a RawValue>,
    from: Option<&'a RawValue>,
    received: Option<&'a RawValue>,
    action: Option<&'a RawValue>,
    time_ns: Option<&'a RawValue>,
    speed: Option<&'a RawValue>,
    events: Option<&'a RawValue>,
    /// A key that stood twice.
    twice: Option<&'static str>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Op,
    Id,
    Symbols,
    Channels,
    Depth,
    IntervalMs,
    Period,
    Snapshot,
    Conflate,
    From,
    Received,
    Action,
    TimeNs,
    Speed,
    Events,
    #[serde(other)]
    Unknown,
}

impl<'de> Deserialize<'de> for Keys<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Keys<'de>, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Keys<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys<'de>, A::Error> {
                let mut keys = Keys::default();
                while let Some(key) = map.next_key::<Key>()? {
                    let (name, slot) = match key {
                        Key::Op => ("op", &mut keys.op),
                        Key::Id => ("id", &mut keys.id),
                        Key::Symbols => ("symbols", &mut keys.symbols),
                        Key::Channels => ("channels", &mut keys.channels),
                        Key::Depth => ("depth", &mut keys.depth),
                        Key::IntervalMs => ("interval_ms", &mut keys.interval_ms),
                        Key::Period => ("period", &mut keys.period),
                        Key::Snapshot => ("snapshot", &mut keys.snapshot),
                        Key::Conflate => ("conflate", &mut keys.conflate),
                        Key::From => ("from", &mut keys.from),
                        Key::Received => ("received", &mut keys.received),
                        Key::Action => ("action", &mut keys.action),
                        Key::TimeNs => ("time_ns", &mut keys.time_ns),
                        Key::Speed => ("speed", &mut keys.speed),
                        Key::Events => ("events", &mut keys.events),
                        Key::Unknown => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    if slot.replace(map.next_value()?).is_some() {
                        keys.twice = Some(name);
                    }
                }
                Ok(keys)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

impl Keys<'_> {
    fn command(&self) -> Result<Command, Fault> {
        if let Some(key) = self.twice {
            return bad_request(format!("key {key:?} stands twice; each key is allowed once"));
        }
        let Some(op) = self.op else {
            return bad_request(format!("key \"op\" is missing; allowed: {OPS}"));
        };
        let op = string("\"op\"", op)?;
        match op.as_str() {
            "subscribe" => Ok(Command::Subscribe(self.subscribe()?)),
            "unsubscribe" => {
                Ok(Command::Unsubscribe { symbols: self.symbols()?, channels: self.channels()? })
            }
            "list" => Ok(Command::List),
            "ping" => Ok(Command::Ping),
            "progress" => match optional("\"received\"", self.received, whole)? {
                Some(received) => Ok(Command::Progress { received }),
                None => bad_request(
                    "key \"received\" is missing; it is the number of messages received on this connection"
                        .into(),
                ),
            },
            "replay" => Ok(Command::Replay(self.action()?)),
            "auth" => Err(Fault {
                code: ErrorCode::Unavailable,
                message: "op \"auth\": this server has no authentication; go on without".into(),
            }),
            _ => Err(Fault {
                code: ErrorCode::UnknownOp,
                message: format!("op {} is unknown; allowed: {OPS}", Excerpt(&op)),
            }),
        }
    }

    fn subscribe(&self) -> Result<Subscribe, Fault> {
        let depth = match optional("\"depth\"", self.depth, whole)? {
            Some(0) => return bad_request("\"depth\" is 0; allowed: 1 and more, or absent: all".into()),
            Some(depth) => round_depth(depth),
            None => None,
        };
        let interval = optional("\"interval_ms\"", self.interval_ms, whole)?;
        Ok(Subscribe {
            symbols: self.symbols()?,
            channels: self.channels()?,
            depth,
            interval_ms: interval.map_or(0, round_interval),
            period: optional("\"period\"", self.period, period)?.unwrap_or(Period::Minute),
            snapshot: optional("\"snapshot\"", self.snapshot, boolean)?,
            conflate: optional("\"conflate\"", self.conflate, conflate)?.unwrap_or_default(),
            from: optional("\"from\"", self.from, positions)?.unwrap_or_default(),
        })
    }

    /// What a replay is to do; `None`: nothing.
    fn action(&self) -> Result<Option<ReplayAction>, Fault> {
        let Some(action) = optional("\"action\"", self.action, action_name)? else { return Ok(None) };
        Ok(Some(match action.as_str() {
            "play" => ReplayAction::Play,
            "pause" => ReplayAction::Pause,
            "seek" => match optional("\"time_ns\"", self.time_ns, time)? {
                Some(time_ns) => ReplayAction::Seek { time_ns },
                None => return bad_request(format!("key \"time_ns\" is missing; allowed: {TIME}")),
            },
            "speed" => match optional("\"speed\"", self.speed, speed)? {
                Some(speed) => ReplayAction::Speed(speed),
                None => return bad_request(format!("key \"speed\" is missing; allowed: {SPEED}")),
            },
            "step" => {
                ReplayAction::Step { events: optional("\"events\"", self.events, events)?.unwrap_or(1) }
            }
            other => {
                return bad_request(format!("action {} is unknown; allowed: {ACTIONS}", Excerpt(other)));
            }
        }))
    }

    fn symbols(&self) -> Result<Vec<String>, Fault> {
        let values = list("symbols", self.symbols)?;
        if values.len() > limits::REQUEST_SYMBOLS_MAX {
            return Err(Fault {
                code: ErrorCode::LimitExceeded,
                message: format!(
                    "\"symbols\" holds {} values; at most {} are allowed, or one ending in \"*\" for all that begin so",
                    values.len(),
                    limits::REQUEST_SYMBOLS_MAX
                ),
            });
        }
        values.iter().enumerate().map(|(i, value)| string(&format!("\"symbols\"[{i}]"), value)).collect()
    }

    fn channels(&self) -> Result<Vec<Channel>, Fault> {
        let mut channels = Vec::new();
        for (i, value) in list("channels", self.channels)?.iter().enumerate() {
            let channel = channel(&format!("\"channels\"[{i}]"), value)?;
            if !channels.contains(&channel) {
                channels.push(channel);
            }
        }
        Ok(channels)
    }
}

const OPS: &str = "subscribe, unsubscribe, list, ping, progress, replay";

const ACTIONS: &str = "play, pause, seek with \"time_ns\", speed with \"speed\", step";

fn channel(name: &str, value: &RawValue) -> Result<Channel, Fault> {
    let text = string(name, value)?;
    Channel::from_name(&text).ok_or_else(|| {
        let allowed: Vec<&str> = SERVED.iter().map(Channel::name).collect();
        let message = format!("channel {} is unknown; allowed: {}", Excerpt(&text), allowed.join(", "));
        Fault { code: ErrorCode::UnknownChannel, message }
    })
}

fn period(name: &str, value: &RawValue) -> Result<Period, Fault> {
    let text = string(name, value)?;
    Period::from_name(&text).map_or_else(
        || {
            let allowed = Period::ALL.map(Period::name).join(", ");
            bad_request(format!("{name} is {}; allowed: {allowed}", Excerpt(&text)))
        },
        Ok,
    )
}

fn conflate(name: &str, value: &RawValue) -> Result<Conflate, Fault> {
    let text = string(name, value)?;
    match text.as_str() {
        "auto" => Ok(Conflate::Auto),
        "never" => Ok(Conflate::Never),
        _ => bad_request(format!("{name} is {}; allowed: auto, never", Excerpt(&text))),
    }
}

/// Where the client stands: `[{"symbol":…,"channel":…,"epoch":…,"seq":…},…]`, perhaps empty.
fn positions(name: &str, value: &RawValue) -> Result<Vec<From>, Fault> {
    let allowed = "a list of objects with symbol, channel, epoch and seq";
    let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(value.get()) else {
        return wrong(name, value, allowed);
    };
    if values.len() > limits::SUBSCRIPTIONS_MAX {
        let message = format!(
            "{name} holds {} entries; at most {} are allowed",
            values.len(),
            limits::SUBSCRIPTIONS_MAX
        );
        return Err(Fault { code: ErrorCode::LimitExceeded, message });
    }
    values.iter().enumerate().map(|(i, value)| position(&format!("{name}[{i}]"), value)).collect()
}

fn position(name: &str, value: &RawValue) -> Result<From, Fault> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        symbol: Option<&'a RawValue>,
        #[serde(borrow)]
        channel: Option<&'a RawValue>,
        #[serde(borrow)]
        epoch: Option<&'a RawValue>,
        #[serde(borrow)]
        seq: Option<&'a RawValue>,
    }
    if type_name(value) != "an object" {
        return wrong(name, value, "an object with symbol, channel, epoch and seq");
    }
    // The syntax is checked: what fails here is a key that stands twice.
    let fields: Fields<'_> = serde_json::from_str(value.get()).or_else(|_| {
        bad_request(format!(
            "a key of {name} stands twice; each of symbol, channel, epoch and seq is allowed once"
        ))
    })?;
    let field = |key: &str, value: Option<_>| {
        value.ok_or_else(|| Fault {
            code: ErrorCode::BadRequest,
            message: format!("key {key:?} is missing in {name}; it needs symbol, channel, epoch and seq"),
        })
    };
    Ok(From {
        symbol: string(&format!("{name}.symbol"), field("symbol", fields.symbol)?)?,
        channel: channel(&format!("{name}.channel"), field("channel", fields.channel)?)?,
        epoch: count(&format!("{name}.epoch"), field("epoch", fields.epoch)?)?,
        seq: count(&format!("{name}.seq"), field("seq", fields.seq)?)?,
    })
}

const TIME: &str = "nanoseconds since the Unix epoch, as a string of digits";
const SPEED: &str = "0.1 to 1000 with at most three decimals, or \"max\"";

fn time(name: &str, value: &RawValue) -> Result<u64, Fault> {
    // A number of that size would have been rounded by whoever wrote it in JavaScript.
    if type_name(value) != "a string" {
        return wrong(name, value, TIME);
    }
    let text = string(name, value)?;
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse().ok().filter(|_| is_number) {
        Some(time_ns) => Ok(time_ns),
        None => bad_request(format!("{name} is {}; allowed: {TIME}", Excerpt(&text))),
    }
}

/// As it was written: a number stays exact.
fn speed(name: &str, value: &RawValue) -> Result<String, Fault> {
    /// No speed is written with more.
    const BYTES_MAX: usize = 16;
    let text = match type_name(value) {
        "a number" => value.get().to_owned(),
        "a string" => string(name, value)?,
        _ => return wrong(name, value, SPEED),
    };
    if text.len() > BYTES_MAX {
        return bad_request(format!("{name} is {}; allowed: {SPEED}", Excerpt(&text)));
    }
    Ok(text)
}

fn events(name: &str, value: &RawValue) -> Result<u32, Fault> {
    let max = limits::REPLAY_STEP_EVENTS_MAX;
    match serde_json::from_str(value.get()).ok().filter(|events| (1..=max).contains(events)) {
        Some(events) => Ok(events),
        None => wrong(name, value, &format!("a whole number from 1 to {max}")),
    }
}

fn request_id(name: &str, value: &RawValue) -> Result<RequestId, Fault> {
    let (text, max) = (value.get(), limits::REQUEST_ID_BYTES_MAX);
    if !matches!(type_name(value), "a number" | "a string") {
        return wrong(name, value, "a number or a string");
    }
    if text.len() > max {
        let message = format!("{name} has {} bytes; at most {max} are allowed", text.len());
        return Err(Fault { code: ErrorCode::LimitExceeded, message });
    }
    if type_name(value) == "a string" {
        // Half of a surrogate pair, sent back, would make a reply that many parsers do not take.
        string(name, value)?;
    }
    Ok(RequestId(text.into()))
}

fn optional<T>(
    name: &str,
    value: Option<&RawValue>,
    read: fn(&str, &RawValue) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    value.filter(|value| value.get() != "null").map(|value| read(name, value)).transpose()
}

fn list<'a>(name: &str, value: Option<&'a RawValue>) -> Result<Vec<&'a RawValue>, Fault> {
    let Some(value) = value else {
        return bad_request(format!("key {name:?} is missing; it is a list of at least one string"));
    };
    match serde_json::from_str::<Vec<&RawValue>>(value.get()) {
        Ok(values) if !values.is_empty() => Ok(values),
        Ok(_) => bad_request(format!("{name:?} is empty; allowed: a list of at least one string")),
        Err(_) => {
            bad_request(format!("{name:?} is {}; allowed: a list of at least one string", type_name(value)))
        }
    }
}

fn action_name(name: &str, value: &RawValue) -> Result<String, Fault> {
    serde_json::from_str(value.get()).or_else(|_| wrong(name, value, ACTIONS))
}

fn string(name: &str, value: &RawValue) -> Result<String, Fault> {
    // The syntax is checked; a string fails only where an escape is half of a surrogate pair.
    serde_json::from_str(value.get()).or_else(|_| wrong(name, value, "a string of Unicode characters"))
}

fn whole(name: &str, value: &RawValue) -> Result<u64, Fault> {
    serde_json::from_str(value.get())
        .or_else(|_| wrong(name, value, "a whole number below 2^64, without sign, point and exponent"))
}

/// What every client can hold exactly, as sequences, epochs and counts are.
fn count(name: &str, value: &RawValue) -> Result<u64, Fault> {
    match whole(name, value) {
        Ok(count) if count >= COUNTS_END => wrong(name, value, "a whole number below 2^53"),
        other => other,
    }
}

fn boolean(name: &str, value: &RawValue) -> Result<bool, Fault> {
    serde_json::from_str(value.get()).or_else(|_| wrong(name, value, "true or false"))
}

fn wrong<T>(name: &str, value: &RawValue, allowed: &str) -> Result<T, Fault> {
    let kind = type_name(value);
    let text = value.get();
    bad_request(match kind {
        "a number" => format!("{name} is {}; allowed: {allowed}", Bare(text)),
        _ => format!("{name} is {kind}; allowed: {allowed}"),
    })
}

fn type_name(value: &RawValue) -> &'static str {
    match value.get().as_bytes()[0] {
        b'{' => "an object",
        b'[' => "a list",
        b'"' => "a string",
        b't' | b'f' => "a boolean",
        b'n' => "null",
        _ => "a number",
    }
}
