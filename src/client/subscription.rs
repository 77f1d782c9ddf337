//! What a program wants, and the requests that ask for it.

use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;

use crate::limits;
use crate::model::{Channel, Period};

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
    /// Length of the bars; `None`: the server's choice, a minute.
    pub period: Option<Period>,
    /// Whether the server is rather to close the connection than to merge updates of these streams.
    pub conflate_never: bool,
    /// How often to report what was received (`progress`); `None`: never. It is one report for the connection, as often
    /// as the subscription asks that asks for most.
    pub progress: Option<Duration>,
}

impl Subscription {
    /// Every update of these channels, the book in full.
    pub fn new<S: Into<String>>(symbols: impl IntoIterator<Item = S>, channels: &[Channel]) -> Subscription {
        Subscription {
            symbols: symbols.into_iter().map(Into::into).collect(),
            channels: channels.to_vec(),
            depth: None,
            interval_ms: 0,
            period: None,
            conflate_never: false,
            progress: None,
        }
    }

    /// The same with the best `depth` levels of a side.
    pub fn with_depth(self, depth: u32) -> Subscription {
        Subscription { depth: Some(depth), ..self }
    }

    /// The same with at most one update in so many milliseconds.
    pub fn with_interval_ms(self, interval_ms: u32) -> Subscription {
        Subscription { interval_ms, ..self }
    }

    /// The same with bars of this length.
    pub fn with_period(self, period: Period) -> Subscription {
        Subscription { period: Some(period), ..self }
    }

    /// The same, but rather closed with 4008 than conflated.
    pub fn with_conflate_never(self) -> Subscription {
        Subscription { conflate_never: true, ..self }
    }

    /// The same, telling the server at this interval how many messages were received, so that it can judge by the lag
    /// of the program and not only by that of the network. No oftener than every
    /// [`limits::CLIENT_PROGRESS_MS_MIN`] milliseconds.
    pub fn with_progress(self, interval: Duration) -> Subscription {
        Subscription { progress: Some(interval), ..self }
    }

    /// The request as one JSON object.
    pub(super) fn request(&self, id: u64, symbols: &[&str], from: &[From<'_>]) -> String {
        #[derive(Serialize)]
        struct Subscribe<'a> {
            op: &'static str,
            id: u64,
            symbols: &'a [&'a str],
            channels: Vec<&'static str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            depth: Option<u32>,
            interval_ms: u32,
            #[serde(skip_serializing_if = "Option::is_none")]
            period: Option<&'static str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            conflate: Option<&'static str>,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            from: &'a [From<'a>],
        }
        to_json(&Subscribe {
            op: "subscribe",
            id,
            symbols,
            channels: self.channels.iter().map(|channel| channel.name()).collect(),
            depth: self.depth,
            interval_ms: self.interval_ms,
            period: self.period.map(Period::name),
            conflate: self.conflate_never.then_some("never"),
            from,
        })
    }

    /// The requests that ask for all of it, none longer than [`limits::TEXT_BYTES_MAX`]: each the symbols it names and
    /// where to resume, in the order of `held`, which is what is held of its streams.
    ///
    /// One request is enough for most. Where it is not, the symbols are divided, in their order, each with its own
    /// positions, so that no stream is asked for twice. What begins with a prefix (`ETH-*`) cannot be divided: it comes
    /// first, with as many positions as fit, those of trades before the others since they have no snapshot; the
    /// rest of its streams get snapshots.
    pub(super) fn requests<'a>(&'a self, held: &[From<'a>]) -> Vec<(Vec<&'a str>, Vec<From<'a>>)> {
        let symbols: Vec<&str> = self.symbols.iter().map(String::as_str).collect();
        // The longest id there is.
        let empty = self.request(u64::MAX, &[], &[]).len() + r#","from":[]"#.len();
        let room = limits::TEXT_BYTES_MAX.saturating_sub(empty);
        let length = |value: usize| value + 1;
        let symbols_length: usize = symbols.iter().map(|symbol| length(to_json(symbol).len())).sum();
        let held_length: usize = held.iter().map(|from| length(to_json(from).len())).sum();
        if symbols.len() <= limits::REQUEST_SYMBOLS_MAX && symbols_length + held_length <= room {
            return vec![(symbols, held.to_vec())];
        }

        let mut requests = Vec::new();
        let (prefixes, symbols): (Vec<&str>, Vec<&str>) =
            symbols.into_iter().partition(|symbol| symbol.ends_with('*'));
        let of_prefix = |symbol: &str| prefixes.iter().any(|prefix| covers(prefix, symbol));
        if !prefixes.is_empty() {
            let mut from: Vec<From<'a>> =
                held.iter().filter(|held| of_prefix(held.symbol)).copied().collect();
            from.sort_by_key(|held| held.channel != Channel::Trades.name());
            let mut left = room.saturating_sub(prefixes.iter().map(|it| length(to_json(it).len())).sum());
            let fitting = from.iter().take_while(|from| {
                let needed = length(to_json(from).len());
                let fits = needed <= left;
                left = left.saturating_sub(needed);
                fits
            });
            let fitting = fitting.count();
            from.truncate(fitting);
            requests.push((prefixes.clone(), from));
        }
        let mut held_of: FxHashMap<&str, Vec<From<'a>>> = FxHashMap::default();
        for from in held {
            held_of.entry(from.symbol).or_default().push(*from);
        }
        let mut seen = FxHashSet::default();
        let (mut request, mut used): ((Vec<&str>, Vec<From<'a>>), usize) = Default::default();
        for symbol in symbols.into_iter().filter(|symbol| !of_prefix(symbol) && seen.insert(*symbol)) {
            let from = held_of.remove(symbol).unwrap_or_default();
            let needed = length(to_json(&symbol).len())
                + from.iter().map(|from| length(to_json(from).len())).sum::<usize>();
            if !request.0.is_empty()
                && (used + needed > room || request.0.len() == limits::REQUEST_SYMBOLS_MAX)
            {
                requests.push(std::mem::take(&mut request));
                used = 0;
            }
            request.0.push(symbol);
            request.1.extend(from);
            used += needed;
        }
        if !request.0.is_empty() {
            requests.push(request);
        }
        requests
    }
}

/// The streams that a subscription names, for look-ups.
pub(super) struct Names<'a> {
    channels: &'a [Channel],
    symbols: FxHashSet<&'a str>,
    /// Each followed by `*`.
    prefixes: Vec<&'a str>,
}

impl<'a> Names<'a> {
    pub fn of(subscription: &'a Subscription) -> Names<'a> {
        let patterns = subscription.symbols.iter().map(String::as_str);
        let (prefixes, symbols): (Vec<&str>, Vec<&str>) = patterns.partition(|it| it.ends_with('*'));
        Names { channels: &subscription.channels, symbols: symbols.into_iter().collect(), prefixes }
    }

    pub fn contain(&self, symbol: &str, channel: Channel) -> bool {
        self.channels.contains(&channel)
            && (self.symbols.contains(symbol) || self.prefixes.iter().any(|prefix| covers(prefix, symbol)))
    }
}

/// Where the client stands in a stream, as a request says it.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub(super) struct From<'a> {
    pub symbol: &'a str,
    pub channel: &'static str,
    pub epoch: u64,
    pub seq: u64,
}

/// Whether a prefix followed by `*` names the symbol.
fn covers(pattern: &str, symbol: &str) -> bool {
    pattern.strip_suffix('*').is_some_and(|prefix| symbol.starts_with(prefix))
}

fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("strings and numbers are JSON")
}

#[cfg(test)]
mod tests;
