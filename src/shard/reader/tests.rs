//! What passes and what is refused, at every split of the bytes.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::wire::guard::opcode::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT};

mod deflate;
mod refused;
mod tungstenite;

const LIMITS: Rules = Rules { bytes: 300, fragments: 8, inflate_ratio: 256, binary: false, deflate: false };

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client's frame as RFC 6455 wants it.
fn frame(is_final: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::from(is_final) << 7 | opcode];
    match payload.len() {
        n @ 0..126 => bytes.push(0x80 | n as u8),
        n @ 126..65536 => {
            bytes.push(0x80 | 126);
            bytes.extend((n as u16).to_be_bytes());
        }
        n => {
            bytes.push(0x80 | 127);
            bytes.extend((n as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(true, CLOSE, &[&code.to_be_bytes(), reason].concat())
}

/// A stream that gives one piece a read, then ends.
#[derive(Debug)]
struct Pieces(VecDeque<Vec<u8>>);

impl Pieces {
    fn new<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Pieces(pieces.into_iter().filter(|piece| !piece.is_empty()).map(<[u8]>::to_vec).collect())
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(piece) = self.0.pop_front() {
            let count = piece.len().min(out.remaining());
            out.put_slice(&piece[..count]);
            if count < piece.len() {
                self.0.push_front(piece[count..].to_vec());
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Reads until the end, whatever kind of end it is.
async fn read_all<S: AsyncRead + Unpin>(mut reader: Reader<S>) -> Vec<Incoming> {
    let mut all = Vec::new();
    loop {
        let incoming = reader.next().await;
        let is_end = matches!(incoming, Incoming::Eof | Incoming::Violation(_));
        if let Incoming::Violation(violation) = incoming {
            assert_eq!(reader.next().await, Incoming::Violation(violation), "a violation stays");
        }
        all.push(incoming);
        if is_end {
            return all;
        }
    }
}

fn reader<S: AsyncRead + Unpin>(stream: S, read_ahead: &[u8], rules: Rules) -> Reader<S> {
    Reader::new(stream, Bytes::copy_from_slice(read_ahead), rules, Rc::default())
}

fn read_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: Rules) -> Vec<Incoming> {
    block_on(read_all(reader(Pieces::new(pieces), &[], limits)))
}

/// Reads `bytes` cut at every position into two pieces, byte by byte, and as bytes that the handshake had read ahead;
/// every way must give the same.
fn read_every_way(bytes: &[u8], limits: Rules) -> Vec<Incoming> {
    block_on(async {
        let read =
            async |pieces: Pieces, read_ahead: &[u8]| read_all(reader(pieces, read_ahead, limits)).await;
        let whole = read(Pieces::new([bytes]), &[]).await;
        assert_eq!(read(Pieces::new(bytes.chunks(1)), &[]).await, whole, "byte by byte");
        for at in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(read(Pieces::new([head, tail]), &[]).await, whole, "cut at {at}");
            assert_eq!(read(Pieces::new([tail]), head).await, whole, "{at} bytes read ahead");
        }
        whole
    })
}

/// The bytes in pieces.
fn cut_at(bytes: &[u8], cuts: Vec<prop::sample::Index>) -> Vec<&[u8]> {
    let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn text(text: &str) -> Incoming {
    Incoming::Text(text.to_owned())
}

#[test]
fn frames_pass_at_every_split() {
    let bytes = [
        frame(true, TEXT, br#"{"op":"list"}"#),
        frame(true, PING, b""),
        frame(true, TEXT, b""),
        frame(true, TEXT, &[b'x'; 126]),
        frame(true, PONG, &[7; 125]),
        frame(true, TEXT, "Zürich €".as_bytes()),
        close(1001, "going away, bis später".as_bytes()),
    ]
    .concat();
    let expected = vec![
        text(r#"{"op":"list"}"#),
        Incoming::Ping(Vec::new()),
        text(""),
        text(&"x".repeat(126)),
        Incoming::Pong(vec![7; 125]),
        text("Zürich €"),
        Incoming::Close(Some((1001, "going away, bis später".to_owned()))),
        Incoming::Eof,
    ];
    assert_eq!(read_every_way(&bytes, LIMITS), expected);
}

#[test]
fn control_frames_between_fragments_come_before_the_message() {
    let euro = "€".as_bytes();
    let bytes = [
        frame(false, TEXT, b"one "),
        frame(true, PING, b"p"),
        frame(false, CONTINUATION, &euro[..1]),
        frame(true, PONG, b""),
        frame(false, CONTINUATION, b""),
        frame(true, PING, b"q"),
        frame(true, CONTINUATION, &euro[1..]),
        frame(true, TEXT, b"next"),
    ]
    .concat();
    let expected = vec![
        Incoming::Ping(b"p".to_vec()),
        Incoming::Pong(Vec::new()),
        Incoming::Ping(b"q".to_vec()),
        text("one €"),
        text("next"),
        Incoming::Eof,
    ];
    assert_eq!(read_every_way(&bytes, LIMITS), expected);
}

#[test]
fn a_close_may_be_empty_and_every_code_that_may_be_sent_passes() {
    assert_eq!(read_every_way(&frame(true, CLOSE, b""), LIMITS), [Incoming::Close(None), Incoming::Eof]);
    for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4008, 4999]) {
        let expected = [Incoming::Close(Some((code, String::new()))), Incoming::Eof];
        assert_eq!(read_every_way(&close(code, b""), LIMITS), expected);
    }
}

#[test]
fn the_limits_themselves_are_allowed() {
    let most = vec![b'a'; LIMITS.bytes as usize];
    let in_fragments: Vec<u8> = (0..LIMITS.fragments)
        .flat_map(|n| {
            let piece = if n == 0 { &most[..] } else { b"" };
            frame(n + 1 == LIMITS.fragments, if n == 0 { TEXT } else { CONTINUATION }, piece)
        })
        .collect();
    let whole = text(std::str::from_utf8(&most).unwrap());
    let bytes = [frame(true, TEXT, &most), in_fragments.clone(), in_fragments].concat();
    assert_eq!(read_every_way(&bytes, LIMITS), [whole.clone(), whole.clone(), whole, Incoming::Eof]);

    let limits = Rules { bytes: 70_000, ..LIMITS };
    let long = "z".repeat(70_000);
    assert_eq!(read_pieces([&frame(true, TEXT, long.as_bytes())[..]], limits), [text(&long), Incoming::Eof]);
}

/// Found by fuzzing: the parser was told of the limit of messages, and held it against control frames too.
#[test]
fn control_frames_pass_whatever_the_limit_of_messages() {
    let limits = Rules { bytes: 2, ..LIMITS };
    let bytes = [frame(true, PING, &[7; 125]), frame(true, TEXT, b"ab"), close(1000, b"because")].concat();
    let expected = vec![
        Incoming::Ping(vec![7; 125]),
        text("ab"),
        Incoming::Close(Some((1000, "because".to_owned()))),
        Incoming::Eof,
    ];
    assert_eq!(read_every_way(&bytes, limits), expected);
}

#[test]
fn a_stream_that_ends_in_a_frame_or_a_message_has_no_part_of_it() {
    let bytes =
        [frame(true, TEXT, b"whole"), frame(false, TEXT, b"half"), frame(true, PING, b"ping")].concat();
    let ends = [0, 11, 21, 31].map(|end| end.min(bytes.len()));
    for cut in 0..=bytes.len() {
        let got = read_pieces([&bytes[..cut]], LIMITS);
        let mut expected = Vec::new();
        if cut >= ends[1] {
            expected.push(text("whole"));
        }
        if cut >= ends[3] {
            expected.push(Incoming::Ping(b"ping".to_vec()));
        }
        expected.push(Incoming::Eof);
        assert_eq!(got, expected, "cut at {cut}");
    }
}

#[test]
fn an_idle_session_is_small() {
    let mut reader = reader(Pieces::new([]), &[], LIMITS);
    assert!(size_of_val(&reader) <= 256, "{} bytes", size_of_val(&reader));
    assert!(size_of_val(&reader.next()) <= 1024, "{} bytes", size_of_val(&reader.next()));
}

#[test]
fn a_socket_shared_with_its_writer_is_read_strictly() {
    block_on(async {
        use tokio::io::AsyncWriteExt;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let socket = Rc::new(listener.accept().await.unwrap().0);
        let mut reader = self::reader(SharedSocket(Rc::clone(&socket)), &[], LIMITS);

        // The reader waits first; the bytes come one by one, while the other side of the socket is written.
        let exchange = async {
            for byte in [frame(true, TEXT, b"hello"), frame(true, PING, b"!")].concat() {
                client.write_all(&[byte]).await.unwrap();
                client.flush().await.unwrap();
                socket.writable().await.unwrap();
                assert_eq!(socket.try_write(b".").unwrap(), 1);
                tokio::task::yield_now().await;
            }
            client.write_all(b"\x81\x05hello and what the client still had to say").await.unwrap();
            client.shutdown().await.unwrap();
        };
        let read = async {
            assert_eq!(reader.next().await, text("hello"));
            assert_eq!(reader.next().await, Incoming::Ping(b"!".to_vec()));
            assert_eq!(reader.next().await, Incoming::Violation(Violation::Unmasked));
            reader.drain().await;
        };
        tokio::join!(exchange, read);
    });
}

/// One thing a client may do; what is read of it is known beforehand.
#[derive(Clone, Debug)]
enum Step {
    /// A message, cut at these places (modulo its length), with a control frame after each fragment or not.
    Message(String, Vec<(prop::sample::Index, Option<bool>)>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let cuts = prop::collection::vec((any::<prop::sample::Index>(), any::<Option<bool>>()), 0..7);
    let payload = || prop::collection::vec(any::<u8>(), 0..=125);
    prop_oneof![
        4 => ("\\PC{0,70}", cuts).prop_map(|(text, cuts)| Step::Message(text, cuts)),
        1 => payload().prop_map(Step::Ping),
        1 => payload().prop_map(Step::Pong),
    ]
}

proptest! {
    /// Any legal stream, fragmented anyhow and cut anyhow, is read as it was meant.
    #[test]
    fn legal_streams_are_read_as_meant(
        steps in prop::collection::vec(step(), 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for step in steps {
            match step {
                Step::Ping(payload) => {
                    bytes.extend(frame(true, PING, &payload));
                    expected.push(Incoming::Ping(payload));
                }
                Step::Pong(payload) => {
                    bytes.extend(frame(true, PONG, &payload));
                    expected.push(Incoming::Pong(payload));
                }
                Step::Message(message, cuts) => {
                    let payload = message.as_bytes();
                    let mut cuts: Vec<_> =
                        cuts.into_iter().map(|(at, control)| (at.index(payload.len() + 1), control)).collect();
                    cuts.sort_unstable();
                    let mut from = 0;
                    let mut opcode = TEXT;
                    for (at, control) in cuts {
                        bytes.extend(frame(false, opcode, &payload[from..at]));
                        (from, opcode) = (at, CONTINUATION);
                        if let Some(is_ping) = control {
                            bytes.extend(frame(true, if is_ping { PING } else { PONG }, b"between"));
                            let payload = b"between".to_vec();
                            expected.push(if is_ping { Incoming::Ping(payload) } else { Incoming::Pong(payload) });
                        }
                    }
                    bytes.extend(frame(true, opcode, &payload[from..]));
                    expected.push(Incoming::Text(message));
                }
            }
        }
        expected.push(Incoming::Eof);

        prop_assert_eq!(read_pieces(cut_at(&bytes, cuts), LIMITS), expected);
    }

    /// Noise ends in a violation or an end, never in a panic, and the same way however it is cut.
    #[test]
    fn noise_is_read_the_same_however_it_is_cut(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_every_way(&bytes, LIMITS);
    }
}
