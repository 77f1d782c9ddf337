//! Violations, each with its close code, at every split.

use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::wire::guard::Inspector;

/// A violation: what was read before it, and the bytes that lead to it. Whatever follows must not matter.
struct Case {
    bytes: Vec<u8>,
    before: Vec<Incoming>,
    violation: Violation,
    code: u16,
}

fn case(code: u16, violation: Violation, bytes: &[&[u8]]) -> Case {
    Case { bytes: bytes.concat(), before: Vec::new(), violation, code }
}

impl Case {
    fn after(mut self, bytes: &[u8], before: &[Incoming]) -> Self {
        self.bytes.splice(0..0, bytes.iter().copied());
        self.before.splice(0..0, before.iter().cloned());
        self
    }
}

/// A header with its length code and extended length as given, masked.
fn header(first: u8, code: u8, extended: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | code], extended, &MASK].concat()
}

const FINAL: u8 = 0x80;

fn header_cases() -> Vec<Case> {
    use Violation::*;
    let mut cases = Vec::new();
    for bits in 1..8u8 {
        cases.push(case(1002, ReservedBits, &[&header(FINAL | bits << 4 | TEXT, 2, &[]), b"hi"]));
    }
    for bits in [4, 2, 1] {
        cases.push(case(1002, ReservedBits, &[&header(FINAL | bits << 4 | PING, 0, &[])]));
        cases.push(case(1002, ReservedBits, &[&header(bits << 4 | TEXT, 1, &[]), b"h"]));
        cases.push(case(1002, ReservedBits, &[&header(FINAL | bits << 4 | CLOSE, 0, &[])]));
    }
    for opcode in [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        cases.push(case(1002, ReservedOpcode(opcode), &[&frame(true, opcode, b"what")]));
        cases.push(case(1002, ReservedOpcode(opcode), &[&frame(false, opcode, b"")]));
    }
    for opcode in [TEXT, PING, PONG, CLOSE] {
        cases.push(case(1002, Unmasked, &[&[FINAL | opcode, 2], b"hi"]));
        cases.push(case(1002, Unmasked, &[&[FINAL | opcode, 0]]));
    }
    cases.push(case(1002, Unmasked, &[&[TEXT, 126, 0, 200], &[b'x'; 200]]));
    cases.push(
        case(1002, Unmasked, &[&[CONTINUATION | FINAL, 2], b"hi"]).after(&frame(false, TEXT, b"a"), &[]),
    );
    for length in [0u16, 1, 125] {
        let short = header(FINAL | TEXT, 126, &length.to_be_bytes());
        cases.push(case(1002, LengthNotMinimal(length.into()), &[&short, &vec![0; length.into()]]));
    }
    for length in [0u64, 125, 126, 299, 65_535] {
        let short = header(FINAL | TEXT, 127, &length.to_be_bytes());
        cases.push(case(1002, LengthNotMinimal(length), &[&short, b"and so on"]));
        cases.push(case(1002, LengthNotMinimal(length), &[&header(TEXT, 127, &length.to_be_bytes())]));
    }
    for length in [1 << 63, u64::MAX] {
        cases.push(case(1002, LengthTopBit, &[&header(FINAL | TEXT, 127, &length.to_be_bytes())]));
    }
    cases
}

fn control_cases() -> Vec<Case> {
    use Violation::*;
    let mut cases = Vec::new();
    for opcode in [PING, PONG, CLOSE] {
        cases.push(case(1002, ControlTooLong, &[&frame(true, opcode, &[b'x'; 126])]));
        cases.push(case(1002, ControlTooLong, &[&header(FINAL | opcode, 126, &[0, 5]), b"hello"]));
        cases.push(case(1002, ControlTooLong, &[&header(FINAL | opcode, 127, &[0xff; 8])]));
        cases.push(case(1002, ControlFragmented, &[&frame(false, opcode, b"")]));
        cases.push(case(1002, ControlFragmented, &[&frame(false, opcode, b"xy"), &frame(true, 0, b"")]));
        cases.push(
            case(1002, ControlFragmented, &[&frame(false, opcode, b"")])
                .after(&frame(false, TEXT, b"a"), &[]),
        );
    }
    cases.push(case(1002, CloseTruncated, &[&frame(true, CLOSE, &[3])]));
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 9999, u16::MAX] {
        cases.push(case(1002, CloseCode(code), &[&close(code, b"")]));
        cases.push(case(1002, CloseCode(code), &[&close(code, b"for a reason")]));
    }
    for reason in [&b"\xff"[..], b"cut \xe2\x82", b"\xc0\xaf", b"\xed\xa0\x80"] {
        cases.push(case(1007, Utf8, &[&close(1000, reason)]));
    }
    cases
}

fn message_cases() -> Vec<Case> {
    use Violation::*;
    let open = frame(false, TEXT, b"open ");
    let mut cases = vec![
        case(1003, Binary, &[&frame(true, BINARY, b"\x01\x02")]),
        case(1003, Binary, &[&frame(true, BINARY, b"")]),
        case(1003, Binary, &[&frame(false, BINARY, b"\x01"), &frame(true, CONTINUATION, b"\x02")]),
        case(1003, Binary, &[&header(FINAL | BINARY, 127, &(1u64 << 40).to_be_bytes())]),
        case(1002, NothingToContinue, &[&frame(true, CONTINUATION, b"what")]),
        case(1002, NothingToContinue, &[&frame(false, CONTINUATION, b"")]),
        case(1002, MessageInsideMessage, &[&open, &frame(true, TEXT, b"new")]),
        case(1002, MessageInsideMessage, &[&open, &frame(false, TEXT, b"new")]),
        case(1002, MessageInsideMessage, &[&open, &frame(true, BINARY, b"new")]),
        case(1002, NothingToContinue, &[&frame(true, CONTINUATION, b"more")])
            .after(&[open.clone(), frame(true, CONTINUATION, b"shut")].concat(), &[text("open shut")]),
        case(1002, MessageInsideMessage, &[&frame(true, TEXT, b"new")])
            .after(&[open.clone(), frame(true, PING, b"?")].concat(), &[Incoming::Ping(b"?".to_vec())]),
        case(1009, MessageTooLong(300), &[&frame(true, TEXT, &[b'x'; 301])]),
        case(1009, MessageTooLong(300), &[&header(FINAL | TEXT, 127, &(1u64 << 62).to_be_bytes())]),
        case(1009, MessageTooLong(300), &[&header(TEXT, 127, &(u64::MAX >> 1).to_be_bytes())]),
        case(1009, MessageTooLong(300), &[&header(FINAL | TEXT, 126, &u16::MAX.to_be_bytes())]),
        case(
            1009,
            MessageTooLong(300),
            &[&frame(false, TEXT, &[b'x'; 300]), &frame(true, CONTINUATION, b"x")],
        ),
        case(1009, MessageTooLong(300), &[&open, &frame(false, CONTINUATION, &[b'x'; 296]), b"\0\x80"]),
        case(1009, MessageTooLong(300), &[&header(CONTINUATION, 127, &(u64::MAX >> 1).to_be_bytes())])
            .after(&open, &[]),
        case(1009, TooManyFragments(8), &[&open, &frame(false, CONTINUATION, b"").repeat(8)]),
        case(
            1009,
            TooManyFragments(8),
            &[&frame(false, TEXT, b""), &frame(false, CONTINUATION, b"a").repeat(8)],
        ),
    ];
    let broken: [&[u8]; 8] = [
        b"\xff",
        b"\x80",
        b"ok \xc3",
        b"\xe2\x82",
        b"\xf0\x9f\x98",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
    ];
    for text in broken {
        cases.push(case(1007, Utf8, &[&frame(true, TEXT, text)]));
        let (head, tail) = text.split_at(text.len() - 1);
        cases.push(case(1007, Utf8, &[&frame(false, TEXT, head), &frame(true, CONTINUATION, tail)]));
        cases.push(case(1007, Utf8, &[&frame(false, TEXT, text), &frame(true, CONTINUATION, b"")]));
    }
    cases
}

#[test]
fn each_violation_has_its_code_at_every_split() {
    let cases: Vec<Case> = [header_cases(), control_cases(), message_cases()].into_iter().flatten().collect();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let greeting = frame(true, TEXT, b"hello");
    let trailer = frame(true, TEXT, b"never read");
    for Case { bytes, before, violation, code } in cases {
        assert_eq!(violation.code(), code, "{violation}");
        let bytes = [&greeting[..], &bytes, &trailer].concat();
        let expected: Vec<_> =
            [text("hello")].into_iter().chain(before).chain([Incoming::Violation(violation)]).collect();
        assert_eq!(read_every_way(&bytes, LIMITS), expected, "{violation}: {bytes:02x?}");
    }
}

#[test]
fn every_violation_fits_a_close_frame() {
    let longest = [
        Violation::MessageTooLong(u64::MAX),
        Violation::TooManyFragments(u32::MAX),
        Violation::LengthNotMinimal(u64::MAX),
        Violation::Binary,
        Violation::ReservedBits,
        Violation::CloseTruncated,
        Violation::NothingToContinue,
    ];
    for violation in longest {
        assert!(violation.to_string().len() <= 123, "{violation}");
    }
}

#[test]
fn no_announced_length_beyond_the_limit_reaches_the_parser() {
    // The parser reserves what a header announces: so the header's last length byte must never pass.
    for length in [LIMITS.bytes + 1, 65_535, 65_536, 1 << 32, 1 << 62] {
        let bytes = match u16::try_from(length) {
            Ok(short) => header(FINAL | TEXT, 126, &short.to_be_bytes()),
            Err(_) => header(FINAL | TEXT, 127, &length.to_be_bytes()),
        };
        let length_ends = bytes.len() - MASK.len();
        let mut inspector = Inspector::new(LIMITS);
        for (at, byte) in bytes.iter().enumerate() {
            let accepted = inspector.accept(&[*byte]);
            if at + 1 < length_ends {
                assert_eq!(accepted, Ok(1));
            } else {
                assert_eq!(accepted, Err(Violation::MessageTooLong(LIMITS.bytes)));
                break;
            }
        }
    }
}

#[test]
fn a_hundred_thousand_fragments_end_at_the_bound_and_cost_linear_work_without_it() {
    let count = 100_000;
    let mut bytes = frame(false, TEXT, b"a");
    bytes.extend(frame(false, CONTINUATION, b"a").repeat(count - 2));
    bytes.extend(frame(true, CONTINUATION, b"a"));

    let bounded = read_pieces([&bytes[..]], Rules::default());
    assert_eq!(bounded, [Incoming::Violation(Violation::TooManyFragments(1_024))]);

    let unbounded = Rules { bytes: u64::MAX, fragments: u32::MAX, ..LIMITS };
    let clock = Clock::start();
    let all = read_pieces([&bytes[..]], unbounded);
    let elapsed = Duration::from_nanos(clock.now_ns());
    assert_eq!(all, [text(&"a".repeat(count)), Incoming::Eof]);
    // Quadratic work would copy 5 GB; linear takes some hundredths of a second.
    assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
}

#[test]
fn only_the_bytes_of_one_frame_pass_at_a_time() {
    let bytes = [frame(true, TEXT, b"one"), frame(true, PING, b"two!"), frame(false, TEXT, b"")].concat();
    let mut inspector = Inspector::new(LIMITS);
    let mut rest = &bytes[..];
    for expected in [9, 10, 6] {
        assert_eq!(inspector.accept(rest), Ok(expected));
        rest = &rest[expected..];
    }
    assert_eq!(inspector.accept(rest), Ok(0));
}
