//! What clients ask, and what the server must answer.

use std::collections::BTreeSet;

use rand::RngExt;
use rand_pcg::Pcg64;
use tickcast::model::{Catalog, Channel, Period};

use super::oracle::StreamKey;

/// A request that was sent and not answered.
#[derive(Clone, Debug)]
pub enum Asked {
    Subscribe(Subscribe),
    Unsubscribe { symbols: Vec<String>, channels: Vec<Channel> },
    List,
    Ping,
}

/// What was asked of some streams.
#[derive(Clone, Debug, Default)]
pub struct Subscribe {
    pub symbols: Vec<String>,
    pub channels: Vec<Channel>,
    pub depth: Option<u32>,
    pub interval_ms: u64,
    pub period: Option<Period>,
    pub snapshot: Option<bool>,
    pub never: bool,
    pub from: Vec<(StreamKey, u64, u64)>,
    /// Whether that is more than the shard that is asked has heard.
    pub is_ahead: bool,
}

fn list(names: impl Iterator<Item = String>) -> String {
    names.map(|name| format!("{name:?}")).collect::<Vec<_>>().join(",")
}

impl Asked {
    /// The request as it is sent.
    pub fn text(&self, id: u64, catalog: &Catalog) -> String {
        let both = |symbols: &[String], channels: &[Channel]| {
            let (symbols, channels) =
                (list(symbols.iter().cloned()), list(channels.iter().map(|it| it.name().to_owned())));
            format!(r#""id":{id},"symbols":[{symbols}],"channels":[{channels}]"#)
        };
        match self {
            Asked::List => format!(r#"{{"op":"list","id":{id}}}"#),
            Asked::Ping => format!(r#"{{"op":"ping","id":{id}}}"#),
            Asked::Unsubscribe { symbols, channels } => {
                format!(r#"{{"op":"unsubscribe",{}}}"#, both(symbols, channels))
            }
            Asked::Subscribe(it) => {
                let mut text = format!(r#"{{"op":"subscribe",{}"#, both(&it.symbols, &it.channels));
                if let Some(depth) = it.depth {
                    text += &format!(r#","depth":{depth}"#);
                }
                if it.interval_ms > 0 {
                    text += &format!(r#","interval_ms":{}"#, it.interval_ms);
                }
                if let Some(period) = it.period {
                    text += &format!(r#","period":"{}""#, period.name());
                }
                if let Some(snapshot) = it.snapshot {
                    text += &format!(r#","snapshot":{snapshot}"#);
                }
                if it.never {
                    text += r#","conflate":"never""#;
                }
                if !it.from.is_empty() {
                    let from = it.from.iter().map(|((instrument, channel), epoch, seq)| {
                        let symbol = &catalog.instruments()[*instrument as usize].symbol;
                        let channel = channel.name();
                        format!(
                            r#"{{"symbol":"{symbol}","channel":"{channel}","epoch":{epoch},"seq":{seq}}}"#
                        )
                    });
                    text += &format!(r#","from":[{}]"#, from.collect::<Vec<_>>().join(","));
                }
                text + "}"
            }
        }
    }

    /// The streams that it names; the code of the refusal where it is refused.
    pub fn streams(&self, catalog: &Catalog) -> Result<Vec<StreamKey>, &'static str> {
        let (symbols, channels, refuses) = match self {
            Asked::Subscribe(it) => (&it.symbols, &it.channels, true),
            Asked::Unsubscribe { symbols, channels } => (symbols, channels, false),
            Asked::List | Asked::Ping => return Ok(Vec::new()),
        };
        let (mut streams, mut seen) = (Vec::new(), BTreeSet::new());
        for symbol in symbols {
            if !seen.insert(symbol) {
                continue;
            }
            let prefix = symbol.strip_suffix('*');
            let matches = |listed: &str| match prefix {
                Some(prefix) => listed.starts_with(prefix),
                None => listed == symbol,
            };
            let instruments = catalog.iter().filter(|(_, listed)| matches(&listed.symbol));
            let mut known = prefix.is_some();
            for (number, instrument) in instruments {
                known = true;
                for &channel in channels {
                    if instrument.has(channel) {
                        streams.push((number, channel));
                    } else if prefix.is_none() && refuses {
                        return Err("unavailable");
                    }
                }
            }
            if !known {
                return Err("unknown_symbol");
            }
        }
        streams.sort_unstable();
        streams.dedup();
        Ok(streams)
    }
}

impl Subscribe {
    /// Depth that is granted, by `docs/protocol.md`.
    pub fn granted_depth(&self, channel: Channel, book_depth: u16) -> Option<u32> {
        if channel != Channel::Book {
            return None;
        }
        let rounded =
            [1, 5, 10, 25, 50, 100, 500].into_iter().find(|&it| self.depth.is_some_and(|asked| asked <= it));
        let told = (book_depth > 0).then_some(u32::from(book_depth));
        rounded.into_iter().chain(told).min()
    }

    /// Interval that is granted.
    pub fn granted_interval(&self, channel: Channel) -> u64 {
        if !matches!(channel, Channel::Quotes | Channel::Book | Channel::Ticker) {
            return 0;
        }
        let longest = 5_000;
        [0, 10, 50, 100, 250, 500, 1_000].into_iter().find(|&it| self.interval_ms <= it).unwrap_or(longest)
    }

    pub fn granted_period(&self, channel: Channel) -> Option<Period> {
        (channel == Channel::Bars).then_some(self.period.unwrap_or(Period::Minute))
    }
}

pub fn pick<T: Clone>(random: &mut Pcg64, of: &[T]) -> T {
    of[random.random_range(0..of.len())].clone()
}

fn some_symbols(random: &mut Pcg64) -> Vec<String> {
    let of: &[&[&str]] = &[
        &["BTC-USD"],
        &["BTC-USD"],
        &["ETH-USD", "EUR-USD"],
        &["ESH4"],
        &["E*", "BTC*"],
        &["*"],
        &["*"],
        &["NEWS", "ETH-USD"],
        &["NONE*"],
    ];
    let mut symbols: Vec<String> = pick(random, of).iter().map(|symbol| (*symbol).to_owned()).collect();
    if random.random_range(0..40) == 0 {
        symbols.push("NONE".to_owned());
    }
    symbols
}

fn some_channels(random: &mut Pcg64) -> Vec<Channel> {
    let mut channels: Vec<Channel> =
        Channel::ALL.into_iter().filter(|_| random.random_range(0..3) == 0).collect();
    if channels.is_empty() {
        channels.push(pick(random, &Channel::ALL));
    }
    channels
}

pub fn some_subscribe(random: &mut Pcg64) -> Subscribe {
    Subscribe {
        symbols: some_symbols(random),
        channels: some_channels(random),
        depth: pick(random, &[None, None, Some(1), Some(3), Some(10), Some(17), Some(400), Some(501)]),
        interval_ms: pick(random, &[0, 0, 0, 0, 7, 100, 240, 999, 6_000]),
        period: pick(random, &[None, Some(Period::Second), Some(Period::FiveMinutes), Some(Period::Hour)]),
        snapshot: pick(random, &[None, None, None, Some(true), Some(false)]),
        never: random.random_range(0..25) == 0,
        from: Vec::new(),
        is_ahead: false,
    }
}

pub fn some_request(random: &mut Pcg64) -> Asked {
    match random.random_range(0..10) {
        0 => Asked::List,
        1 => Asked::Ping,
        2 | 3 => Asked::Unsubscribe { symbols: some_symbols(random), channels: some_channels(random) },
        _ => Asked::Subscribe(some_subscribe(random)),
    }
}
