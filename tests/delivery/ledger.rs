//! The receiver's side of the ledger, by the rules of `docs/protocol.md` and `docs/delivery.md`: what was delivered,
//! merged and lost of each stream. Every method panics where a promise is broken.

use std::collections::HashMap;

use serde_json::Value;

use crate::latency::Histogram;
use crate::state::State;
use crate::wire::{
    self, BINARY, CHANNELS, CLEAR, CLOSE, LAST, Message, ORDER, ORDERS, PING, PONG, SNAPSHOT, TEXT,
};

/// What became of a stream's sequences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub delivered: u64,
    pub merged: u64,
    pub lost: u64,
}

impl Counts {
    pub fn sum(&self) -> u64 {
        self.delivered + self.merged + self.lost
    }

    fn add(&mut self, other: Counts) {
        self.delivered += other.delivered;
        self.merged += other.merged;
        self.lost += other.lost;
    }
}

/// One stream, over as many connections as it was resumed on.
#[derive(Debug)]
pub struct Stream {
    pub symbol: String,
    pub channel: &'static str,
    pub depth: Option<u64>,
    pub interval_ms: u64,
    pub epoch: u64,
    /// Where counting began.
    pub start: u64,
    /// Up to where it is known.
    pub held: u64,
    /// Of this connection, as the server counts.
    pub here: Counts,
    /// Of all connections.
    pub total: Counts,
    pub gaps: Vec<(u64, u64)>,
    pub messages: u64,
    pub snapshots: u64,
    pub state: State,
    /// Hash of the state by sequence, where it is kept.
    pub seen: HashMap<u64, u64>,
    /// Nothing but a snapshot, or its next part, may come.
    awaits_snapshot: bool,
    /// The state means nothing: something is missing from it.
    is_broken: bool,
    part: u16,
}

impl Stream {
    /// Whether every sequence is accounted for.
    pub fn assert_balanced(&self) {
        let covered = self.held - self.start;
        assert_eq!(self.total.sum(), covered, "{} {}: {self:?}", self.symbol, self.channel);
    }

    /// Whether it can be resumed: what is held means something.
    pub fn has_state(&self) -> bool {
        !self.awaits_snapshot && !self.is_broken
    }

    /// Whether each of its sequences is told: a view with a depth or an interval, and bars of one period, pass over
    /// what does not concern them until something does.
    pub fn is_full(&self) -> bool {
        self.depth.is_none() && self.interval_ms == 0 && self.channel != "bars"
    }

    fn count(&mut self, counts: Counts) {
        self.here.add(counts);
        self.total.add(counts);
    }

    fn take(&mut self, message: &Message<'_>) {
        self.messages += 1;
        let what = || format!("{} {} holds {}: {message:?}", self.symbol, self.channel, self.held);
        if message.has(SNAPSHOT) || message.kind == ORDERS {
            let (part, parts) = message.part();
            assert_eq!(part, self.part + 1, "parts come in order; {}", what());
            assert!(message.last >= self.held, "older than what is held; {}", what());
            self.part = part % parts;
            self.state.take(message, self.depth);
            if self.part == 0 {
                self.settle(message.last);
            }
            return;
        }
        // Trades before the first one have no state: none comes, and the stream begins where it was granted.
        // So it is with bars while none runs.
        let without_state = self.channel == "bars" || self.channel == "trades" && self.held == 0;
        assert!(!self.awaits_snapshot || without_state, "before its snapshot; {}", what());
        assert_eq!(self.part, 0, "between the parts of a snapshot; {}", what());
        assert!(message.first <= message.last && message.last > self.held, "a repetition; {}", what());
        if self.interval_ms == 0 {
            assert_eq!(message.first, self.held + 1, "a gap or an overlap; {}", what());
        } else {
            assert!(message.first <= self.held + 1, "a gap; {}", what());
        }
        let covered = message.last - self.held;
        let delivered = message.carries().min(covered);
        assert!(self.channel != "trades" || covered == 1, "trades are never merged; {}", what());
        self.state.take(message, self.depth);
        self.count(Counts { delivered, merged: covered - delivered, lost: 0 });
        (self.held, self.awaits_snapshot) = (message.last, false);
        // Orders that were cleared with more to come are told anew: what stands between is nobody's state.
        self.is_broken = message.kind == ORDER && message.order().action == CLEAR && !message.has(LAST);
    }

    /// A snapshot is complete.
    fn settle(&mut self, seq: u64) {
        self.snapshots += 1;
        let ahead = seq - self.held;
        if self.awaits_snapshot {
            self.start = seq;
        } else {
            self.count(Counts { merged: ahead, ..Counts::default() });
        }
        self.held = seq;
        (self.awaits_snapshot, self.is_broken) = (false, false);
    }

    fn gap(&mut self, from: u64, to: u64, count: u64) {
        assert!(["trades", "orders"].contains(&self.channel), "no gap in {}", self.channel);
        assert_eq!((from, count), (self.held + 1, to - self.held), "the gap {from} to {to} of {self:?}");
        assert!(to >= from);
        self.count(Counts { lost: count, ..Counts::default() });
        self.gaps.push((from, to));
        self.held = to;
        // Each trade stands for itself.
        self.is_broken = self.channel == "orders";
    }
}

/// What a subscription was asked for.
#[derive(Debug, Default)]
pub struct Asked {
    pub snapshot: Option<bool>,
    pub from: HashMap<(String, String), (u64, u64)>,
}

/// One client's knowledge.
#[derive(Debug, Default)]
pub struct Ledger {
    pub streams: Vec<Stream>,
    /// Which stream a binary frame of this connection belongs to.
    numbers: HashMap<(u32, u8), usize>,
    names: HashMap<(String, String), usize>,
    /// The subscription whose reply is still to come.
    pub asked: Asked,
    /// Whether [`Stream::seen`] is kept.
    pub keeps_states: bool,
    /// Where the hash of a book's best levels is kept beside: how many.
    pub keeps_tops: Option<usize>,
    /// Hash of the best levels by stream and sequence.
    pub tops: HashMap<(usize, u64), u64>,
    pub latency: Option<Histogram>,
    /// WebSocket messages received on this connection.
    pub frames: u64,
    /// Pages of `subscribed` that said there is no further one.
    pub grants: u64,
    pub notices: Vec<String>,
    pub resets: u64,
    pub heartbeats: u64,
    pub pongs: u64,
    pub pings: Vec<Vec<u8>>,
    pub closed: Option<(u16, String)>,
}

impl Ledger {
    /// Begins another connection: what it says belongs to the same streams.
    pub fn reconnect(&mut self) {
        self.numbers.clear();
        (self.frames, self.closed) = (0, None);
        self.pings.clear();
        self.notices.clear();
        for stream in &mut self.streams {
            // Of a snapshot that was cut off nothing is kept; what was held before holds.
            stream.part = 0;
            stream.state.forget_parts();
        }
    }

    /// Takes a frame that was read at `now_ns`.
    pub fn take(&mut self, opcode: u8, payload: &[u8], now_ns: u64) {
        assert_eq!(self.closed, None, "a frame after the close frame");
        match opcode {
            BINARY => self.market(payload, now_ns),
            TEXT => self.text(payload),
            CLOSE => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                self.closed = Some((code, String::from_utf8(payload[2..].to_vec()).unwrap()));
            }
            PING => self.pings.push(payload.to_vec()),
            PONG => {}
            other => panic!("opcode {other}"),
        }
        self.frames += u64::from(matches!(opcode, BINARY | TEXT));
    }

    fn market(&mut self, payload: &[u8], now_ns: u64) {
        let (header, messages) = wire::read(payload);
        let number = self.numbers.get(&(header.instrument, header.channel));
        let number = *number.unwrap_or_else(|| panic!("data of a stream that is not subscribed: {header:?}"));
        let stream = &mut self.streams[number];
        assert_eq!(header.epoch, stream.epoch, "{header:?}");
        for message in messages {
            stream.take(&message);
            if let Some(latency) = &mut self.latency
                && !message.has(SNAPSHOT)
            {
                latency.add(now_ns.saturating_sub(message.sent_ns));
            }
            if stream.part > 0 || stream.is_broken {
                continue;
            }
            if self.keeps_states {
                stream.seen.insert(stream.held, stream.state.hash());
            }
            if let Some(depth) = self.keeps_tops {
                self.tops.insert((number, stream.held), stream.state.hash_of_top(depth));
            }
        }
    }

    fn text(&mut self, payload: &[u8]) {
        let value: Value = serde_json::from_slice(payload).unwrap();
        match text(&value, "type") {
            "subscribed" => {
                for granted in value["streams"].as_array().unwrap() {
                    self.grant(granted);
                }
                self.grants += u64::from(value["more"] != true);
            }
            "unsubscribed" => {
                for ended in value["streams"].as_array().unwrap() {
                    let number = self.names.remove(&name(ended)).expect("only what was there is ended");
                    self.numbers.retain(|_, stream| *stream != number);
                }
            }
            "gap" => {
                let (from, to, count) = (whole(&value, "from"), whole(&value, "to"), whole(&value, "count"));
                let epoch = whole(&value, "epoch");
                let stream = self.stream_mut(&value);
                assert_eq!(epoch, stream.epoch, "{value}");
                stream.gap(from, to, count);
            }
            "heartbeat" => {
                self.heartbeats += 1;
                for position in value["streams"].as_array().unwrap() {
                    self.heartbeat(position);
                }
            }
            "reset" => self.reset(&value),
            "notice" => self.notices.push(text(&value, "code").to_owned()),
            "pong" => self.pongs += 1,
            "welcome" => {}
            _ => panic!("{value}"),
        }
    }

    fn grant(&mut self, granted: &Value) {
        let (epoch, seq) = (whole(granted, "epoch"), whole(granted, "seq"));
        let (symbol, channel) = name(granted);
        let code = CHANNELS.iter().position(|name| *name == channel).unwrap();
        let from = self.asked.from.get(&(symbol.clone(), channel.clone()));
        let is_resumed = from.is_some_and(|(of, _)| *of == epoch);
        let with_snapshot = self.asked.snapshot.unwrap_or(channel != "trades") && !is_resumed;
        let number = *self.names.entry((symbol.clone(), channel)).or_insert(self.streams.len());
        if number == self.streams.len() {
            self.streams.push(Stream {
                symbol,
                channel: CHANNELS[code],
                depth: None,
                interval_ms: 0,
                epoch,
                start: seq,
                held: seq,
                here: Counts::default(),
                total: Counts::default(),
                gaps: Vec::new(),
                messages: 0,
                snapshots: 0,
                state: State::default(),
                seen: HashMap::new(),
                awaits_snapshot: false,
                is_broken: false,
                part: 0,
            });
        }
        self.numbers.insert((whole(granted, "instrument") as u32, code as u8), number);
        let stream = &mut self.streams[number];
        (stream.depth, stream.interval_ms) = (granted["depth"].as_u64(), whole(granted, "interval_ms"));
        (stream.here, stream.awaits_snapshot) = (Counts::default(), with_snapshot);
        if is_resumed {
            assert_eq!(
                (stream.epoch, stream.held),
                (epoch, seq),
                "it goes on where it was asked to: {granted}"
            );
        } else {
            (stream.total, stream.state) = Default::default();
            (stream.start, stream.held, stream.epoch, stream.is_broken) = (seq, seq, epoch, false);
        }
    }

    fn heartbeat(&mut self, position: &Value) {
        let (epoch, seq) = (whole(position, "epoch"), whole(position, "seq"));
        let stream = self.stream_mut(position);
        assert_eq!(epoch, stream.epoch, "{position}");
        let without_state = stream.channel == "bars" || stream.channel == "trades" && seq == 0;
        assert!(!stream.awaits_snapshot || without_state, "before its snapshot: {position}");
        // Whatever the server had to send up to there stands before the heartbeat.
        let is_complete = if stream.is_full() { stream.held == seq } else { stream.held <= seq };
        assert!(is_complete, "{} of {position}", stream.held);
    }

    fn reset(&mut self, value: &Value) {
        self.resets += 1;
        let (epoch, symbol) = (whole(value, "epoch"), text(value, "symbol"));
        for stream in self.streams.iter_mut().filter(|stream| stream.symbol == symbol) {
            (stream.epoch, stream.start, stream.held) = (epoch, 0, 0);
            (stream.here, stream.total, stream.state) = Default::default();
            stream.seen.clear();
            (stream.awaits_snapshot, stream.is_broken) = (stream.channel != "trades", false);
        }
    }

    fn stream_mut(&mut self, named: &Value) -> &mut Stream {
        let number = self.names.get(&name(named)).unwrap_or_else(|| panic!("not subscribed: {named}"));
        &mut self.streams[*number]
    }

    /// A stream by its names.
    pub fn stream(&self, symbol: &str, channel: &str) -> &Stream {
        &self.streams[self.names[&(symbol.to_owned(), channel.to_owned())]]
    }

    /// The sum over all streams, of this connection.
    pub fn here(&self) -> Counts {
        let mut sum = Counts::default();
        self.streams.iter().for_each(|stream| sum.add(stream.here));
        sum
    }

    /// Where the server's entry for this connection differs from what was received: empty where both balance.
    pub fn differences(&self, entry: &Value) -> Vec<String> {
        let mut found = Vec::new();
        let mut differ = |what: String, ours: Value, theirs: &Value| {
            if ours != *theirs {
                found.push(format!("{what}: received {ours}, the server says {theirs}"));
            }
        };
        let here = self.here();
        for (key, ours) in [
            ("frames", self.frames),
            ("delivered", here.delivered),
            ("merged", here.merged),
            ("lost", here.lost),
            ("subscriptions", self.streams.len() as u64),
        ] {
            differ(key.into(), ours.into(), &entry[key]);
        }
        let listed = entry["streams"].as_array().expect("the streams were asked for");
        differ("streams".into(), listed.len().into(), &self.streams.len().into());
        for theirs in listed {
            let Some(number) = self.names.get(&name(theirs)) else {
                found.push(format!("not subscribed: {theirs}"));
                continue;
            };
            let stream = &self.streams[*number];
            let Counts { delivered, merged, lost } = stream.here;
            let ours = [stream.epoch, stream.held, delivered, merged, lost];
            let keys = ["epoch", "seq", "delivered", "merged", "lost"];
            if keys.iter().zip(ours).any(|(key, ours)| theirs[key].as_u64() != Some(ours)) {
                found.push(format!("{keys:?}: received {ours:?}, the server says {theirs}"));
            }
        }
        found
    }

    /// Wherever both know the state of a stream at a sequence, it is the same. How often that was, by channel.
    pub fn agrees_with(&self, witness: &Ledger) -> HashMap<&'static str, u64> {
        let mut agreed = HashMap::new();
        for stream in &self.streams {
            let other = witness.stream(&stream.symbol, stream.channel);
            assert_eq!(stream.epoch, other.epoch);
            for (seq, hash) in &stream.seen {
                if let Some(expected) = other.seen.get(seq) {
                    assert_eq!(hash, expected, "{} {} at {seq}", stream.symbol, stream.channel);
                    *agreed.entry(stream.channel).or_default() += 1;
                }
            }
        }
        agreed
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} of {value}"))
}

fn whole(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} of {value}"))
}

fn name(value: &Value) -> (String, String) {
    (text(value, "symbol").to_owned(), text(value, "channel").to_owned())
}
