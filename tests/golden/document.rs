//! What `docs/protocol.md` says, held against the code.

use tickcast::model::{Level, parse_decimal};
use tickcast::wire::control;
use tickcast::wire::message::checksum;

use crate::layout::Row;
use crate::{all, folder};

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/protocol.md");
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The table under the heading `#### NAME (SIZE bytes)`: the size, and a row for each `| offset | size | type | name |`.
pub fn offsets(name: &str) -> (usize, Vec<Row>) {
    let document = document();
    let heading = format!("#### {name} (");
    let (_, section) = document.split_once(&heading).unwrap_or_else(|| panic!("no heading {heading:?}"));
    let (size, section) = section.split_once(" bytes").expect("a heading states the size");
    let table =
        section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let rows = table.skip(2).map(|line| {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let number = |cell: &str| cell.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
        (number(cells[1]), number(cells[2]), cells[3].replace(' ', ""), cells[4].to_owned())
    });
    (size.parse().expect("the size is a number"), rows.collect())
}

/// The blocks fenced with ```` ```LANGUAGE WHAT ````, each with WHAT.
fn blocks(language: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let document = document();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if let Some((found, what)) = info.split_once(' ')
            && found == language
        {
            blocks.push((what.to_owned(), block.join("\n")));
        }
    }
    blocks
}

#[test]
fn the_hex_examples_are_golden_frames() {
    let examples = blocks("hex");
    assert!(examples.len() >= 3);
    for (name, block) in examples {
        let mut bytes = Vec::new();
        for line in block.lines() {
            let (offset, rest) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?} has no offset"));
            assert_eq!(offset.trim().parse(), Ok(bytes.len()), "{name}: {line}");
            let hex = rest.split_once('|').map_or(rest, |(hex, _)| hex);
            bytes.extend(hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()));
        }
        assert_eq!(bytes, std::fs::read(folder().join(format!("{name}.bin"))).unwrap(), "{name}");
    }
}

#[test]
fn the_json_examples_are_golden_lines_requests_and_replies() {
    let mut counts = [0; 3];
    for (what, block) in blocks("json") {
        for line in block.lines() {
            match what.as_str() {
                "request" => {
                    counts[0] += 1;
                    assert!(control::parse(line).is_ok(), "{line}");
                }
                "reply" => {
                    counts[1] += 1;
                    let reply: serde_json::Value =
                        serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
                    assert!(reply["type"].is_string(), "{line}");
                }
                golden => {
                    counts[2] += 1;
                    let lines = std::fs::read_to_string(folder().join(format!("{golden}.jsonl"))).unwrap();
                    assert!(lines.lines().any(|stored| stored == line), "{golden}: {line}");
                }
            }
        }
    }
    assert!(counts.iter().all(|count| *count >= 5), "{counts:?}");
}

#[test]
fn the_checksums_in_the_examples_are_right() {
    let mut checked = 0;
    for (_, block) in blocks("json").iter().filter(|(what, _)| what != "book_parts") {
        for line in block.lines().filter(|line| line.contains("\"checksum\"")) {
            let message: serde_json::Value = serde_json::from_str(line).unwrap();
            // The examples have exponents -2 and 0, and few enough digits for floating point to be exact.
            let side = |key: &str| -> Vec<Level> {
                let levels = message[key].as_array().unwrap();
                let integer = |value: &serde_json::Value, exponent| {
                    parse_decimal(&value.to_string(), exponent).unwrap()
                };
                levels
                    .iter()
                    .map(|level| Level { price: integer(&level[0], -2), quantity: integer(&level[1], 0) })
                    .collect()
            };
            let (bids, asks) = (side("bids"), side("asks"));
            assert_eq!(message["checksum"], checksum(bids.iter(), asks.iter(), 10), "{line}");
            checked += 1;
        }
    }
    assert_eq!(checked, 2);
}

/// The worked value: the example of a snapshot, and what the example of its updates makes of it.
#[test]
fn the_checksum_after_the_updates_is_the_one_worked_out() {
    let levels = |line: &str, key: &str| -> Vec<(i64, i64)> {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        let integer =
            |value: &serde_json::Value, exponent| parse_decimal(&value.to_string(), exponent).unwrap();
        let level = |level: &serde_json::Value| (integer(&level[0], -2), integer(&level[1], 0));
        message[key].as_array().unwrap().iter().map(level).collect()
    };
    let lines = |name: &str| -> String {
        let example = blocks("json").into_iter().find(|(what, _)| what == name);
        example.unwrap_or_else(|| panic!("no example {name}")).1
    };
    let (snapshot, updates) = (lines("book_snapshot"), lines("book_update"));
    let [bids, asks] = ["bids", "asks"].map(|key| {
        let mut side = std::collections::BTreeMap::new();
        for line in snapshot.lines().chain(updates.lines()) {
            side.extend(levels(line, key));
        }
        side.retain(|_, quantity| *quantity != 0);
        let of = |(price, quantity): (&i64, &i64)| Level { price: *price, quantity: *quantity };
        if key == "bids" {
            side.iter().rev().map(of).collect()
        } else {
            side.iter().map(of).collect::<Vec<_>>()
        }
    });
    let sum = checksum(bids.iter(), asks.iter(), 10);
    assert!(document().contains(&format!("the checksum is then {sum} (0x{sum:08X})")), "{sum}");
}

#[test]
fn every_code_is_documented() {
    let document = document();
    for code in control::ErrorCode::ALL {
        assert!(document.contains(&format!("| `{}` |", code.name())), "{code:?}");
    }
    for close in control::Close::ALL {
        let row = document.lines().find(|line| {
            line.starts_with(&format!("| {} |", close.code())) && line.contains(&*close.reason(7))
        });
        assert!(row.is_some(), "{close:?}: {} {}", close.code(), close.reason(7));
    }
    for code in control::Duty::CODES {
        let rows = document.lines().filter(|line| line.starts_with(&format!("| {code} |")));
        let duty = format!("| **{}**", control::Duty::after(code).name());
        assert!(rows.map(|row| assert!(row.contains(&duty), "{row}: {duty}")).count() > 0, "{code}");
    }
    for notice in control::Notice::ALL {
        assert!(document.contains(&format!("| `{}` |", notice.code())), "{notice:?}");
    }
    let intervals = control::INTERVALS_MS.map(|interval| interval.to_string()).join(", ");
    assert!(document.contains(&format!("rounded up to {intervals}")), "{intervals}");
    for kind in ["quote", "trade", "orderbook", "order", "orders", "price", "bar", "status"] {
        assert!(document.contains(&format!("\"type\":\"{kind}\"")), "{kind}");
    }
    for name in all().iter().map(|case| case.channel.name()) {
        assert!(document.contains(&format!("| `{name}` |")), "{name}");
    }
}
