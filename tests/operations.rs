//! `docs/operations.md` tells what is: its tables against the settings, the limits and `/metrics`.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use tickcast::config::{KEYS, Settings};
use tickcast::{limits, node};

const DOCUMENT: &str = include_str!("../docs/operations.md");

/// The rows of the table under a heading, each as its cells.
fn table(heading: &str) -> Vec<Vec<String>> {
    let (_, section) = DOCUMENT.split_once(&format!("\n## {heading}\n")).expect(heading);
    let section = section.split("\n## ").next().unwrap();
    // A bar in a cell is written with a backslash.
    let cells = |line: &str| {
        let line = line.replace("\\|", "\u{0}");
        line.trim_matches('|').split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
    };
    let rows = section.lines().filter(|line| line.starts_with('|'));
    rows.skip(2).map(cells).collect()
}

fn code(text: impl std::fmt::Display) -> String {
    format!("`{text}`")
}

#[test]
fn the_settings_are_those_there_are() {
    let expected: Vec<[String; 3]> = KEYS
        .iter()
        .map(|key| {
            let default = if key.default.is_empty() { "none" } else { key.default };
            [code(key.name), code(format_args!("{} {}", key.flag(), key.value_name)), default.to_owned()]
        })
        .collect();
    let documented: Vec<_> = table("Settings").into_iter().map(|row| row[..3].to_vec()).collect();
    assert_eq!(documented, expected);
}

#[test]
fn the_limits_have_the_values_they_have() {
    let known = [
        ("TEXT_BYTES_MAX", limits::TEXT_BYTES_MAX as u64),
        ("MESSAGE_FRAGMENTS_MAX", limits::MESSAGE_FRAGMENTS_MAX.into()),
        ("INFLATE_RATIO_MAX", limits::INFLATE_RATIO_MAX.into()),
        ("CONTROL_RATE", limits::CONTROL_RATE.get().into()),
        ("DEFLATE_TIME_PERCENT", limits::DEFLATE_TIME_PERCENT.into()),
        ("REQUEST_SYMBOLS_MAX", limits::REQUEST_SYMBOLS_MAX as u64),
        ("SUBSCRIPTIONS_MAX", limits::SUBSCRIPTIONS_MAX as u64),
        ("HANDSHAKES_MAX", limits::HANDSHAKES_MAX as u64),
        ("HTTP_HEADER_BYTES_MAX", limits::HTTP_HEADER_BYTES_MAX as u64),
        ("HTTP_HEADERS_MAX", limits::HTTP_HEADERS_MAX as u64),
        ("HTTP_BODY_BYTES_MAX", limits::HTTP_BODY_BYTES_MAX as u64),
        ("CONNECTIONS_LISTED_MAX", limits::CONNECTIONS_LISTED_MAX as u64),
        ("CONNECTIONS_STREAMS_MAX", limits::CONNECTIONS_STREAMS_MAX as u64),
        ("LISTEN_BACKLOG", limits::LISTEN_BACKLOG.into()),
        ("STALE_MS", limits::STALE_MS),
        ("PONG_SECONDS", limits::PONG_SECONDS),
        ("STALL_SECONDS", limits::STALL_SECONDS),
        ("CLOSE_SECONDS", limits::CLOSE_SECONDS),
        ("SLOW_CLOSE_SECONDS", limits::SLOW_CLOSE_SECONDS),
        ("BLOCK_SECONDS", limits::BLOCK_SECONDS),
        ("INSTRUMENTS_MAX", limits::INSTRUMENTS_MAX as u64),
        ("REPLAY_FILES_MAX", limits::REPLAY_FILES_MAX as u64),
    ];
    let expected = known.map(|(name, value)| vec![code(name), value.to_string()]);
    let documented: Vec<_> = table("Limits").into_iter().map(|row| row[..2].to_vec()).collect();
    assert_eq!(documented, expected);
}

/// What `/metrics` of a server says of each metric: its name as its samples have it, and its type.
fn exported() -> BTreeSet<(String, String)> {
    let settings = Settings { listen: "127.0.0.1:0".parse().unwrap(), ..Settings::default() };
    let node = node::start(settings).unwrap();
    let mut socket = TcpStream::connect(node.address()).unwrap();
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    node.stop();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types
        .map(|(name, kind)| {
            let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
            let sample = text
                .lines()
                .filter_map(|line| line.strip_prefix(name.as_str()))
                .find(|rest| rest.starts_with(['{', ' ']))
                .expect("a sample");
            // A label's value has neither a comma nor an equals sign in it.
            let labels = sample.strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(labels, _)| {
                labels.split(',').map(|label| label.split('=').next().unwrap()).collect::<Vec<_>>()
            });
            let by = match labels {
                Some(labels) => format!("{kind}, by {}", labels.join(" and ")),
                None => kind.to_owned(),
            };
            (code(name), by)
        })
        .collect()
}

#[test]
fn every_metric_is_documented_and_every_documented_one_exists() {
    let documented = table("Metrics").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let exported = exported();
    let difference: Vec<_> = exported.symmetric_difference(&documented).collect();
    assert!(difference.is_empty(), "documented or exported, not both: {difference:#?}");
    assert!(exported.len() > 30);
}
