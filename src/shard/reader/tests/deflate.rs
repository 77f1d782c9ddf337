//! Compressed messages (RFC 7692) at every split, and what is no such message.

use flate2::{Compress, Compression, FlushCompress};

use super::*;

const RULES: Rules = Rules { deflate: true, ..LIMITS };
const RSV1: u8 = 0x40;

/// DEFLATE data without its last four bytes, as a client sends it.
fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 100);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
    assert!(out.ends_with(&[0, 0, 0xFF, 0xFF]));
    out.truncate(out.len() - 4);
    out
}

fn compressed(is_final: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(is_final, opcode, payload);
    bytes[0] |= RSV1;
    bytes
}

#[test]
fn compressed_and_plain_messages_are_read_at_every_split() {
    let request = br#"{"op":"subscribe","symbols":["BTC-USD","BTC-EUR","BTC-GBP"]}"#;
    let (whole, euro) = (deflated(request), deflated("€".as_bytes()));
    let bytes = [
        compressed(true, TEXT, &whole),
        frame(true, TEXT, "plain €".as_bytes()),
        compressed(false, TEXT, &whole[..10]),
        frame(true, PING, b"between"),
        frame(false, CONTINUATION, b""),
        frame(true, CONTINUATION, &whole[10..]),
        compressed(true, TEXT, b"\x00"),
        compressed(false, TEXT, b""),
        frame(true, CONTINUATION, &euro),
        frame(true, TEXT, b"end"),
    ]
    .concat();
    let request = std::str::from_utf8(request).unwrap();
    let expected = vec![
        text(request),
        text("plain €"),
        Incoming::Ping(b"between".to_vec()),
        text(request),
        text(""),
        text("€"),
        text("end"),
        Incoming::Eof,
    ];
    assert_eq!(read_every_way(&bytes, RULES), expected);
}

#[test]
fn binary_messages_are_read_where_they_mean_something() {
    let rules = Rules { binary: true, ..RULES };
    let bytes = [
        frame(true, BINARY, b"\xff\x00"),
        compressed(true, BINARY, &deflated(b"\xff\xfe")),
        frame(false, BINARY, b"\xc3"),
        frame(true, CONTINUATION, b"\x28"),
        frame(true, TEXT, b"text"),
    ]
    .concat();
    let expected = vec![
        Incoming::Binary(b"\xff\x00".to_vec()),
        Incoming::Binary(b"\xff\xfe".to_vec()),
        Incoming::Binary(b"\xc3\x28".to_vec()),
        text("text"),
        Incoming::Eof,
    ];
    assert_eq!(read_every_way(&bytes, rules), expected);
}

#[test]
fn what_is_no_compressed_message_has_its_code_at_every_split() {
    use Violation::*;
    let with = |bits: u8, mut bytes: Vec<u8>| {
        bytes[0] |= bits << 4;
        bytes
    };
    let open = compressed(false, TEXT, &deflated(b"open"));
    let bomb = deflated(&[b'x'; 301]);
    let wide = Rules { bytes: 1 << 20, ..RULES };
    for (rules, code, violation, bytes) in [
        (LIMITS, 1002, ReservedBits, compressed(true, TEXT, &deflated(b"nobody agreed"))),
        (RULES, 1002, ReservedBits, with(2, frame(true, TEXT, b"a"))),
        (RULES, 1002, ReservedBits, with(1, frame(true, TEXT, b"a"))),
        (RULES, 1002, ReservedBits, with(6, frame(true, TEXT, &deflated(b"a")))),
        (RULES, 1002, ReservedBits, with(4, frame(true, PING, b""))),
        (RULES, 1002, ReservedBits, with(4, frame(true, PONG, b""))),
        (RULES, 1002, ReservedBits, with(4, frame(true, CLOSE, b""))),
        (RULES, 1002, ReservedBits, with(4, frame(true, 0x3, b""))),
        (RULES, 1002, ReservedBits, [open.clone(), with(4, frame(true, CONTINUATION, b""))].concat()),
        (RULES, 1002, MessageInsideMessage, [open, compressed(true, TEXT, b"\x00")].concat()),
        (RULES, 1003, Binary, compressed(true, BINARY, &deflated(b"binary"))),
        (RULES, 1007, NotDeflate, compressed(true, TEXT, b"\xff\xff\xff")),
        (
            RULES,
            1007,
            NotDeflate,
            [compressed(false, TEXT, b"\x07"), frame(true, CONTINUATION, b"x")].concat(),
        ),
        (RULES, 1007, Utf8, compressed(true, TEXT, &deflated(b"\xff"))),
        (RULES, 1007, Utf8, compressed(true, TEXT, &deflated(b"cut \xe2\x82"))),
        (RULES, 1009, MessageTooLong(300), compressed(true, TEXT, &bomb)),
        (RULES, 1009, MessageTooLong(300), compressed(true, TEXT, &[0; 301])),
        (wide, 1009, InflatesTooMuch(256), compressed(true, TEXT, &deflated(&[b' '; 100_000]))),
        (
            RULES,
            1009,
            TooManyFragments(8),
            [compressed(false, TEXT, b""), frame(false, CONTINUATION, b"").repeat(8)].concat(),
        ),
    ] {
        assert_eq!(violation.code(), code, "{violation}");
        let bytes = [&frame(true, TEXT, b"hello")[..], &bytes, &frame(true, TEXT, b"never read")].concat();
        let expected = [text("hello"), Incoming::Violation(violation)];
        assert_eq!(read_every_way(&bytes, rules), expected, "{violation}: {bytes:02x?}");
    }
}

proptest! {
    /// Any texts, compressed or not, fragmented anyhow and cut anyhow, are read as they were meant.
    #[test]
    fn what_is_compressed_is_read_as_meant(
        messages in prop::collection::vec(("\\PC{0,40}", any::<bool>(), any::<prop::sample::Index>()), 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (message, is_compressed, cut) in messages {
            let payload = if is_compressed { deflated(message.as_bytes()) } else { message.clone().into() };
            let (head, tail) = payload.split_at(cut.index(payload.len() + 1));
            let mut first = frame(false, TEXT, head);
            first[0] |= if is_compressed { RSV1 } else { 0 };
            bytes.extend([first, frame(true, CONTINUATION, tail)].concat());
            expected.push(Incoming::Text(message));
        }
        expected.push(Incoming::Eof);
        prop_assert_eq!(read_pieces(cut_at(&bytes, cuts), RULES), expected);
    }
}
