//! The table of settings: from it come the flags, the keys of the file and the names in the environment.

/// How many values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// One value.
    One,
    /// One or more: repeated or following one another as flags, an array in the file, separated by commas in the
    /// environment.
    Many,
    /// `true` or `false`; as a flag the bare name means `true`.
    Switch,
}

/// A setting of `serve`.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in the file, snake_case.
    pub name: &'static str,
    /// Its name as a flag, without the dashes: the same, kebab-case.
    pub long: &'static str,
    /// What stands for its value in the help.
    pub value_name: &'static str,
    /// How many values it takes.
    pub arity: Arity,
    /// One line of help, without the default.
    pub help: &'static str,
    /// The default as the help shows it; empty where there is none.
    pub default: &'static str,
}

impl Key {
    /// The flag: `--slow-consumer`.
    pub fn flag(&self) -> String {
        format!("--{}", self.long)
    }

    /// The name in the environment: `TICKCAST_SLOW_CONSUMER`.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_ascii_uppercase())
    }

    /// The setting of that name in a file.
    pub fn named(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }
}

/// What every name of ours in the environment begins with.
pub const VARIABLE_PREFIX: &str = "TICKCAST_";

const fn key(
    (name, long): (&'static str, &'static str),
    value_name: &'static str,
    arity: Arity,
    default: &'static str,
    help: &'static str,
) -> Key {
    Key { name, long, value_name, arity, help, default }
}

/// Every setting of `serve`, in the order of the help.
pub const KEYS: &[Key] = &[
    key(
        ("listen", "listen"),
        "ADDRESS:PORT",
        Arity::One,
        "127.0.0.1:8765",
        "Where to listen; port 0 takes a free one",
    ),
    key(
        ("symbols", "symbols"),
        "N|FILE",
        Arity::One,
        "20",
        "Simulated market: how many plausible instruments, or a TOML file that lists your own",
    ),
    key(
        ("rate", "rate"),
        "TICKS|max",
        Arity::One,
        "20000",
        "Simulated market: ticks a second over all symbols",
    ),
    key(
        ("seed", "seed"),
        "N",
        Arity::One,
        "1",
        "Simulated market: the same seed and settings give the same market",
    ),
    key(("ticks", "ticks"), "N", Arity::One, "", "Simulated market: it ends after so many ticks"),
    key(
        ("replay", "replay"),
        "FILE",
        Arity::Many,
        "",
        "Feed files to replay instead of the simulated market",
    ),
    key(
        ("source", "source"),
        "stdin|unix:PATH",
        Arity::One,
        "",
        "A market that another program publishes, through standard input or a Unix socket (docs/live.md)",
    ),
    key(
        ("speed", "speed"),
        "TIMES|max",
        Arity::One,
        "1",
        "Replay: how many times faster than real time, 0.1 to 1000",
    ),
    key(("loop", "loop"), "BOOL", Arity::Switch, "false", "Replay: begin again at the end"),
    key(
        ("start_paused", "start-paused"),
        "BOOL",
        Arity::Switch,
        "false",
        "Replay: wait for `play` (POST /api/v1/replay) before the first event",
    ),
    key(
        ("from", "from"),
        "TIME",
        Arity::One,
        "",
        "Replay: begin with the books as they stood then and what follows; RFC 3339, or nanoseconds",
    ),
    key(
        ("to", "to"),
        "TIME",
        Arity::One,
        "",
        "Replay: end behind the last event at that time or before; RFC 3339, or nanoseconds",
    ),
    key(
        ("max_idle", "max-idle"),
        "TIME",
        Arity::One,
        "",
        "Replay: wait for the next event no longer than so, such as 500ms, 5s or 2m",
    ),
    key(
        ("replay_dir", "replay-dir"),
        "DIR",
        Arity::One,
        "",
        "Let each client have a replay of its own, of a feed file in this folder: /ws?replay=NAME",
    ),
    key(
        ("private_replays", "private-replays"),
        "N",
        Arity::One,
        "16",
        "Replays that clients have for themselves at a time; further ones are answered 503",
    ),
    key(
        ("record", "record"),
        "FILE",
        Arity::One,
        "",
        "Record what is published into this feed file; further files have a number before the extension",
    ),
    key(
        ("record_rotate_bytes", "record-rotate-bytes"),
        "BYTES",
        Arity::One,
        "",
        "Recording: begin the next file after so many bytes; each file stands alone",
    ),
    key(
        ("record_rotate", "record-rotate"),
        "TIME",
        Arity::One,
        "",
        "Recording: begin the next file after this time, such as 10m, 1h or 1d",
    ),
    key(
        ("record_flush", "record-flush"),
        "TIME",
        Arity::One,
        "1s",
        "Recording: the longest that a record waits in memory, and so what a crash may lose",
    ),
    key(
        ("slow_consumer", "slow-consumer"),
        "conflate|disconnect|block",
        Arity::One,
        "conflate",
        "A client that reads too slowly gets merged state, is closed with 4008, or (block) the replay waits for it",
    ),
    key(("shards", "shards"), "N", Arity::One, "cores - 1", "Threads that serve clients"),
    key(
        ("allow_origin", "allow-origin"),
        "ORIGIN",
        Arity::Many,
        "",
        "Pages of this origin may connect, such as https://example.com",
    ),
    key(
        ("max_connections", "max-connections"),
        "N",
        Arity::One,
        "16384",
        "Sessions at a time; further ones are answered 503",
    ),
    key(
        ("outbox_bytes", "outbox-bytes"),
        "BYTES",
        Arity::One,
        "262144",
        "What may wait for one client before it counts as slow",
    ),
    key(
        ("outboxes_bytes", "outboxes-bytes"),
        "BYTES",
        Arity::One,
        "268435456",
        "What may wait for all clients together, split evenly over the shards",
    ),
    key(
        ("ring_bytes", "ring-bytes"),
        "BYTES",
        Arity::One,
        "268435456",
        "Recent events kept for clients that resume, split evenly over the shards; 0 keeps none",
    ),
    key(
        ("send_buffer_bytes", "send-buffer-bytes"),
        "BYTES",
        Arity::One,
        "65536",
        "Send buffer of each connection in the kernel; 0 leaves it to the kernel",
    ),
    key(
        ("compression", "compression"),
        "off|shared|dedicated",
        Arity::One,
        "shared",
        "permessage-deflate for clients that offer it: once for all who get the same, or a context for each",
    ),
    key(
        ("compression_contexts", "compression-contexts"),
        "N",
        Arity::One,
        "512",
        "Dedicated compression: clients that may have a context; further ones share",
    ),
    key(
        ("fragment_bytes", "fragment-bytes"),
        "BYTES",
        Arity::One,
        "16384",
        "Longer snapshots and replies go in fragments, so that pings get between",
    ),
    key(
        ("request_rate", "request-rate"),
        "N",
        Arity::One,
        "1000",
        "Requests a second that a client may send before it is closed with 4029; 0 is no limit",
    ),
    key(
        ("echo", "echo"),
        "BOOL",
        Arity::Switch,
        "false",
        "For tests of conformance: a WebSocket at /echo sends back what it is sent",
    ),
    key(
        ("log", "log"),
        "FILTER",
        Arity::One,
        "info",
        "What to log: error, warn, info, debug, trace, or module=level,…",
    ),
    key(("log_format", "log-format"), "text|json", Arity::One, "text", "How to log"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_twins() {
        for (at, key) in KEYS.iter().enumerate() {
            assert_eq!(key.long, key.name.replace('_', "-"));
            assert!(KEYS[..at].iter().all(|other| other.name != key.name), "{} is listed twice", key.name);
            assert!(Key::named(key.name).is_some_and(|found| found.variable() == key.variable()));
        }
    }
}
