//! Golden bytes: the same frames for Rust, Python and JavaScript, and the document that explains them.
//!
//! `TICKCAST_UPDATE_GOLDEN=1 cargo test --test golden` writes `tests/data/golden` anew; without it the files are
//! compared with what the code makes.

mod cases;
mod clients;
mod document;
mod layout;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cases::{Case, all};
use serde_json::{Value, json};
use tickcast::wire::market::{self, MessageBody};
use tickcast::wire::{json as twin, message};

/// Where the golden files are; in update mode they are written first, once.
fn folder() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden");
        if std::env::var_os("TICKCAST_UPDATE_GOLDEN").is_some_and(|value| value == "1") {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("expected.json"), expected()).unwrap();
            for case in all() {
                std::fs::write(folder.join(format!("{}.bin", case.name)), case.bytes()).unwrap();
                std::fs::write(folder.join(format!("{}.jsonl", case.name)), json_lines(&case)).unwrap();
            }
        }
        folder
    });
    &FOLDER
}

fn golden(name: &str) -> Vec<u8> {
    let path = folder().join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn expected() -> String {
    let frames: Vec<Value> = all().iter().map(Case::expected).collect();
    let about = "What a decoder makes of NAME.bin; NAME.jsonl is its JSON twin. Prices and quantities are exact decimal strings.";
    let expected = json!({ "about": about, "frames": frames });
    format!("{}\n", serde_json::to_string_pretty(&expected).unwrap())
}

fn json_lines(case: &Case) -> Vec<u8> {
    let mut lines = Vec::new();
    for (meta, body) in case.known() {
        twin::encode(&mut lines, &case.instrument, meta, &body.content().unwrap());
        lines.push(b'\n');
    }
    lines
}

#[test]
fn the_encoders_write_the_golden_bytes() {
    for case in all() {
        assert_eq!(case.bytes(), golden(&format!("{}.bin", case.name)), "{}.bin", case.name);
        let stored = golden(&format!("{}.jsonl", case.name));
        assert_eq!(String::from_utf8(json_lines(&case)), String::from_utf8(stored), "{}.jsonl", case.name);
    }
}

#[test]
fn the_decoder_reads_the_golden_bytes() {
    for case in all() {
        let bytes = golden(&format!("{}.bin", case.name));
        let (header, messages) = market::decode(&bytes).unwrap();
        assert_eq!((header.channel, header.instrument), (case.channel as u8, case.number));
        assert_eq!((header.epoch, usize::from(header.messages)), (case.epoch, case.messages.len()));
        let known: Vec<_> =
            messages.iter().filter(|message| !matches!(message.body, MessageBody::Unknown(_))).collect();
        assert!(known.iter().map(|message| (&message.meta, &message.body)).eq(case.known()), "{}", case.name);
        for end in 0..bytes.len() {
            assert!(market::decode(&bytes[..end]).is_err(), "{} cut at {end}", case.name);
        }
    }
}

#[test]
fn the_expected_values_are_those_of_the_cases() {
    assert_eq!(String::from_utf8(golden("expected.json")).unwrap(), expected());
}

#[test]
fn json_and_binary_say_the_same() {
    for case in all() {
        let lines = String::from_utf8(golden(&format!("{}.jsonl", case.name))).unwrap();
        let twins: Vec<Value> = lines.lines().map(with_text_for_numbers).collect();
        let expected = serde_json::to_string(&case.expected()["frame"]["messages"]).unwrap();
        assert_eq!(Value::from(twins), with_text_for_numbers(&expected), "{}", case.name);
    }
}

#[test]
fn golden_messages_are_at_their_offsets_multiples_of_eight_and_of_every_kind() {
    let mut kinds = std::collections::BTreeSet::new();
    for case in all() {
        let bytes = case.bytes();
        let mut offset = size_of::<market::FrameHeader>();
        while offset < bytes.len() {
            assert_eq!(offset % 8, 0);
            kinds.insert(bytes[offset + 4]);
            offset += u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap()) as usize;
        }
        assert_eq!(offset, bytes.len());
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8, 200, 201]);
}

#[test]
fn the_checksum_is_crc32c() {
    // The check value of CRC-32C (RFC 3720, appendix B.4, gives more).
    assert_eq!(crc32c::crc32c(b"123456789"), 0xE306_9283);
    let level = tickcast::model::Level { price: 481_000, quantity: 22 };
    let mut bytes = 481_000_i64.to_le_bytes().to_vec();
    bytes.extend(22_i64.to_le_bytes());
    assert_eq!(message::checksum([level].iter(), [].iter(), 10), crc32c::crc32c(&bytes));
}

/// JSON with each number replaced by its text, so that a comparison is exact.
fn with_text_for_numbers(text: &str) -> Value {
    let mut quoted = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => 2 + rest[1..].find('"').expect("golden strings hold no escape"),
            '-' | '0'..='9' => rest.find([',', ']', '}']).expect("a number ends inside the object"),
            _ => 1,
        };
        let (token, after) = rest.split_at(length);
        match first {
            '-' | '0'..='9' => quoted.extend(["\"", token, "\""]),
            _ => quoted.push_str(token),
        }
        rest = after;
    }
    serde_json::from_str(&quoted).unwrap_or_else(|error| panic!("{quoted}: {error}"))
}
