//! The same bytes read by tungstenite, which shares no code with us: both take the same messages and refuse the same
//! frames. What it is known to let pass is not in these bytes: lengths that are not the shortest (RFC 6455, section 5.2).

use std::io::{Cursor, Read, Write};

use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

use super::*;

const RULES: Rules = Rules { binary: true, ..LIMITS };

/// How reading ended, beside what was read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Eof,
    Refused,
}

/// A client's bytes; what it is answered goes nowhere.
struct Bytes(Cursor<Vec<u8>>);

impl Read for Bytes {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn theirs(bytes: &[u8]) -> (Vec<Incoming>, End) {
    let bytes_max = RULES.bytes as usize;
    let config = WebSocketConfig::default().max_message_size(Some(bytes_max)).max_frame_size(Some(bytes_max));
    let stream = Bytes(Cursor::new(bytes.to_vec()));
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, Some(config));
    let mut all = Vec::new();
    loop {
        all.push(match socket.read() {
            Ok(Message::Text(text)) => Incoming::Text(text.to_string()),
            Ok(Message::Binary(bytes)) => Incoming::Binary(bytes.to_vec()),
            Ok(Message::Ping(payload)) => Incoming::Ping(payload.to_vec()),
            Ok(Message::Pong(payload)) => Incoming::Pong(payload.to_vec()),
            Ok(Message::Close(close)) => {
                let close = close.map(|close| (close.code.into(), close.reason.to_string()));
                all.push(Incoming::Close(close));
                return (all, End::Closed);
            }
            Ok(Message::Frame(frame)) => panic!("a frame is no message: {frame}"),
            Err(Error::Protocol(
                tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            )) => return (all, End::Eof),
            Err(_) => return (all, End::Refused),
        });
    }
}

fn ours(bytes: &[u8]) -> (Vec<Incoming>, End) {
    let mut all = read_pieces([bytes], RULES);
    let end = all
        .iter()
        .position(|incoming| matches!(incoming, Incoming::Close(_) | Incoming::Eof | Incoming::Violation(_)));
    let at = end.expect("every stream ends");
    let end = match all[at] {
        Incoming::Close(_) => End::Closed,
        Incoming::Eof => End::Eof,
        _ => End::Refused,
    };
    all.truncate(at + usize::from(end == End::Closed));
    (all, end)
}

/// Mostly text, also text that ends within a character, and noise.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "\\PC{0,30}".prop_map(String::into_bytes),
        2 => ("\\PC{1,30}", any::<prop::sample::Index>()).prop_map(|(text, at)| {
            let mut bytes = text.into_bytes();
            bytes.truncate(at.index(bytes.len() + 1));
            bytes
        }),
        1 => prop::collection::vec(any::<u8>(), 0..30),
        1 => prop::collection::vec(b'a'..=b'z', 100..320),
    ]
}

/// A frame as a client may send it, or one that breaks a rule or two.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![
        6 => Just(TEXT), 4 => Just(CONTINUATION), 3 => Just(BINARY), 2 => Just(PING), 2 => Just(PONG), 1 => 0_u8..16,
    ];
    let reserved = prop_oneof![15 => Just(0_u8), 1 => 1_u8..8];
    let is_masked = prop_oneof![15 => Just(true), 1 => Just(false)];
    (prop::bool::weighted(0.7), reserved, is_masked, opcode, payload()).prop_map(
        |(is_final, reserved, is_masked, opcode, payload)| {
            // A close is `code_and_reason`'s matter: of codes that mean nothing tungstenite makes others.
            let payload = if opcode == CLOSE { Vec::new() } else { payload };
            let mut bytes = frame(is_final, opcode, &payload);
            bytes[0] |= reserved << 4;
            if !is_masked {
                bytes[1] &= 0x7f;
            }
            bytes
        },
    )
}

fn code_and_reason() -> impl Strategy<Value = Vec<u8>> {
    let code = prop_oneof![Just(1000_u16), Just(1001), Just(1011), 3000_u16..5000];
    (code, "\\PC{0,20}").prop_map(|(code, reason)| close(code, reason.as_bytes()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn tungstenite_takes_and_refuses_the_same(
        frames in prop::collection::vec(prop_oneof![9 => any_frame(), 1 => code_and_reason()], 0..8),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = frames.concat();
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        let (ours, theirs) = (ours(&bytes), theirs(&bytes));
        prop_assert_eq!(&ours.0, &theirs.0);
        // Ours refuses a frame by its head; it need not have come whole.
        if !(cut.is_some() && ours.1 == End::Refused) {
            prop_assert_eq!(ours.1, theirs.1);
        }
    }
}

/// The bytes above are of every kind: without that, equal would say little.
#[test]
fn what_is_compared_ends_in_every_way() {
    let cases = [
        (frame(true, TEXT, b"a"), End::Eof),
        ([frame(true, TEXT, b"a"), close(1000, b"")].concat(), End::Closed),
        ([frame(true, TEXT, b"a"), frame(true, TEXT, &[0xff])].concat(), End::Refused),
        ([frame(true, TEXT, b"a"), frame(false, PING, b"")].concat(), End::Refused),
        ([frame(true, TEXT, b"a"), frame(true, BINARY, &[1; 301])].concat(), End::Refused),
    ];
    for (bytes, end) in cases {
        assert_eq!(ours(&bytes).1, end);
        assert_eq!(theirs(&bytes), ours(&bytes));
        assert_eq!(ours(&bytes).0[0], text("a"));
    }
}
