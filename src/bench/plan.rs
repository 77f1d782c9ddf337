//! What is to be measured.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::client::Address;
use crate::model::Channel;

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// It runs.
    Url(Address),
    /// It is started for this run: a program and its arguments. It prints the address it listens on as its first line,
    /// publishes when it is sent a line, and ends with its standard input.
    Start(Vec<String>),
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// `tickcast.v1.bin`.
    Bin,
    /// `tickcast.v1.json`.
    Json,
}

impl Protocol {
    /// The subprotocol's name.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Protocol::Bin => "tickcast.v1.bin",
            Protocol::Json => "tickcast.v1.json",
        }
    }
}

/// When the clients read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As soon as something is there.
    AtOnce,
    /// Everything there is, so often. A client that reads at once makes a server faster by chance: what it takes while
    /// the server still writes leaves room for larger writes.
    Every(Duration),
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reading::AtOnce => f.write_str("at once"),
            Reading::Every(period) => write!(f, "every {} ms", period.as_millis()),
        }
    }
}

impl FromStr for Reading {
    type Err = String;

    /// Reads `at-once`, or a number of milliseconds from 1 to 1000.
    fn from_str(text: &str) -> Result<Reading, String> {
        if text == "at-once" {
            return Ok(Reading::AtOnce);
        }
        let milliseconds = text.parse().ok().filter(|milliseconds| (1..=1_000).contains(milliseconds));
        milliseconds
            .map(|milliseconds| Reading::Every(Duration::from_millis(milliseconds)))
            .ok_or_else(|| "allowed: at-once, or every so many milliseconds, 1 to 1000".into())
    }
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its name.
    pub workload: String,
    /// Whose work is measured.
    pub target: Target,
    /// How many clients.
    pub connections: usize,
    /// Of how many symbols each client has the streams, each client of others in turns; `None`: of all.
    pub symbols_each: Option<usize>,
    /// The streams of a symbol.
    pub channels: Vec<Channel>,
    /// Levels a side of `book`; `None`: all.
    pub depth: Option<u32>,
    /// Milliseconds between updates; 0: each.
    pub interval_ms: u32,
    /// What is spoken.
    pub protocol: Protocol,
    /// Whether the clients take compressed messages, and insist on it.
    pub deflate: bool,
    /// How long everything runs before it is measured.
    pub warmup: Duration,
    /// How long it is measured.
    pub duration: Duration,
    /// Which part of the clients reads slowly, in thousandths.
    pub slow_per_mille: usize,
    /// What such a client reads in a second.
    pub slow_bytes_per_second: usize,
    /// When the others read.
    pub reading: Reading,
    /// Threads that read.
    pub threads: usize,
    /// Whether the server is kept on the first core and the clients on the last.
    pub pin: bool,
    /// Whether the server is to publish nothing.
    pub is_idle: bool,
    /// Whether the event time of a message is when it was due, on this host's wall clock.
    pub has_schedule: bool,
}

impl Plan {
    /// Whether client number `index` reads slowly: such clients are spread evenly among all.
    pub fn is_slow(&self, index: usize) -> bool {
        self.slow_before(index + 1) > self.slow_before(index)
    }

    /// How many of the first `count` clients read slowly.
    fn slow_before(&self, count: usize) -> usize {
        count * self.slow_per_mille / 1_000
    }

    /// The symbols of client number `index` out of all there are. Those who read have the same whether others read slowly
    /// beside them or not.
    pub fn symbols_of(&self, index: usize, symbols: &[String]) -> Vec<String> {
        let slow = self.slow_before(index);
        let position = if self.is_slow(index) { slow } else { index - slow };
        match self.symbols_each {
            Some(each) if each < symbols.len() => {
                (0..each).map(|n| symbols[(position * each + n) % symbols.len()].clone()).collect()
            }
            _ => vec!["*".to_owned()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(slow_per_mille: usize, symbols_each: Option<usize>) -> Plan {
        Plan {
            workload: String::new(),
            target: Target::Start(Vec::new()),
            connections: 8,
            symbols_each,
            channels: Vec::new(),
            depth: None,
            interval_ms: 0,
            protocol: Protocol::Bin,
            deflate: false,
            warmup: Duration::ZERO,
            duration: Duration::ZERO,
            slow_per_mille,
            slow_bytes_per_second: 0,
            reading: Reading::AtOnce,
            threads: 1,
            pin: false,
            is_idle: false,
            has_schedule: false,
        }
    }

    #[test]
    fn slow_clients_are_spread_and_change_nothing_for_the_others() {
        let symbols: Vec<String> = (0..5).map(|n| n.to_string()).collect();
        let alone = plan(0, Some(2));
        assert!((0..8).all(|index| !alone.is_slow(index)));
        let mixed = plan(250, Some(2));
        let slow: Vec<usize> = (0..8).filter(|index| mixed.is_slow(*index)).collect();
        assert_eq!(slow, [3, 7]);
        let live: Vec<_> =
            (0..8).filter(|index| !mixed.is_slow(*index)).map(|n| mixed.symbols_of(n, &symbols)).collect();
        let first: Vec<_> = (0..6).map(|index| alone.symbols_of(index, &symbols)).collect();
        assert_eq!(live, first);
        assert_eq!(first[2], ["4", "0"], "in turns");
        assert_eq!(mixed.symbols_of(3, &symbols), ["0", "1"]);
        assert_eq!(plan(0, None).symbols_of(1, &symbols), ["*"]);
        assert_eq!(plan(0, Some(9)).symbols_of(1, &symbols), ["*"]);
    }
}
