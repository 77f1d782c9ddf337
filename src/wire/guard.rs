//! Strict input: follows RFC 6455 frame headers as a client's bytes pass, and refuses what breaks the rules before the
//! frame parser behind it sees or reserves anything.
//!
//! fastwebsockets parses and unmasks, but it lets much through that section 5 of the RFC forbids (unmasked frames,
//! lengths that are not minimal, long control frames, a message inside a message), bounds a frame where a message must
//! be bounded, and reserves the announced length before the bytes come. Hence [`Inspector`], which needs no I/O, and
//! [`Guard`], which puts it around a reader and gives the parser whole frames only. The parser knows no extension: of a
//! compressed message (RFC 7692) it is shown a plain binary one.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};

use super::frame::COMPRESSED;
pub use super::frame::opcode;
use super::utf8::Utf8;
use crate::limits;

/// What a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Payload bytes of all fragments of a message together, compressed and inflated.
    pub bytes: u64,
    /// Fragments of a message, the first included. Empty ones would otherwise go on for ever without reaching `bytes`.
    pub fragments: u32,
    /// Times its bytes that a compressed message may inflate to, beyond [`limits::INFLATE_FREE_BYTES`].
    pub inflate_ratio: u32,
    /// Whether binary messages mean something.
    pub binary: bool,
    /// Whether permessage-deflate was agreed on: messages may be compressed.
    pub deflate: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            bytes: limits::TEXT_BYTES_MAX as u64,
            fragments: limits::MESSAGE_FRAGMENTS_MAX,
            inflate_ratio: limits::INFLATE_RATIO_MAX,
            binary: false,
            deflate: false,
        }
    }
}

/// A rule that a client broke. The text is fit for the reason of a close frame: at most 123 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A reserved bit is set where no extension that was agreed on uses it. RSV1 has a meaning with permessage-deflate
    /// only, in the first frame of a message (RFC 7692, section 6).
    #[error("reserved bits set where no agreed extension uses them")]
    ReservedBits,
    /// An opcode that RFC 6455 leaves undefined.
    #[error("opcode {0:#x} is reserved")]
    ReservedOpcode(u8),
    /// A client's frame without a mask.
    #[error("frame without a mask: clients must mask every frame")]
    Unmasked,
    /// A length written in more bytes than it needs.
    #[error("frame length {0} is not in its shortest form")]
    LengthNotMinimal(u64),
    /// A 64-bit length with its top bit set.
    #[error("frame length with its top bit set")]
    LengthTopBit,
    /// A ping, pong or close of more than 125 bytes.
    #[error("control frame over 125 bytes")]
    ControlTooLong,
    /// A ping, pong or close without the final bit.
    #[error("control frame in fragments")]
    ControlFragmented,
    /// A new message before the last fragment of the one before.
    #[error("new message inside a fragmented one")]
    MessageInsideMessage,
    /// A continuation where no message is open.
    #[error("continuation frame without a message to continue")]
    NothingToContinue,
    /// A close frame with one byte: neither empty nor a code.
    #[error("close frame of one byte: it needs a two-byte code or nothing")]
    CloseTruncated,
    /// A code that must not stand in a close frame (RFC 6455, section 7.4).
    #[error("close code {0} must not be sent")]
    CloseCode(u16),
    /// A binary message: this server takes text only.
    #[error("binary message: requests are text, one JSON object each")]
    Binary,
    /// Text, or the reason of a close, that is not UTF-8.
    #[error("text that is not UTF-8")]
    Utf8,
    /// A message over [`Rules::bytes`], as it comes or inflated.
    #[error("message over {0} bytes: split the request into several")]
    MessageTooLong(u64),
    /// A message over [`Rules::fragments`].
    #[error("message in more than {0} fragments: send it whole")]
    TooManyFragments(u32),
    /// What the frame parser does not take.
    #[error("frame that cannot be read")]
    Unparsed,
    /// A compressed message that is no DEFLATE data.
    #[error("compressed message that does not inflate")]
    NotDeflate,
    /// A compressed message that inflates to more than [`Rules::inflate_ratio`] times its bytes.
    #[error("compressed message that inflates more than {0}-fold")]
    InflatesTooMuch(u32),
}

impl Violation {
    /// The close code that answers it: 1002 protocol error, 1003 unsupported data, 1007 invalid text, 1009 too big.
    pub fn code(self) -> u16 {
        match self {
            Violation::Binary => 1003,
            Violation::Utf8 | Violation::NotDeflate => 1007,
            Violation::MessageTooLong(_) | Violation::TooManyFragments(_) | Violation::InflatesTooMuch(_) => {
                1009
            }
            _ => 1002,
        }
    }
}

/// Longest frame header: two bytes, a 64-bit length, a mask.
const HEADER_BYTES_MAX: usize = 14;

/// Follows the frames in a client's bytes, however they are split.
#[derive(Debug)]
pub struct Inspector {
    rules: Rules,
    /// The current frame's header as far as it came.
    header: [u8; HEADER_BYTES_MAX],
    /// Bytes of `header` that came; 0 between frames.
    header_filled: usize,
    /// Bytes the header will have, as far as is known.
    header_length: usize,
    /// Payload bytes of the current frame, once the header said so.
    length: u64,
    /// Payload bytes of the current frame that passed.
    passed: u64,
    /// The first two payload bytes of a close frame, unmasked.
    close_code: [u8; 2],
    /// The message that a fragment began, or the frame at hand.
    message: Message,
    /// A fragmented message waits for its next fragment.
    message_open: bool,
    /// Payload bytes announced so far by the fragments of the current message.
    message_bytes: u64,
    /// Fragments of the current message so far.
    message_fragments: u32,
    /// The text of the message so far.
    text: Utf8,
    /// The reason of the close frame so far.
    reason: Utf8,
}

/// What the first frame of a message said of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Text, else binary.
    pub is_text: bool,
    /// Its bytes, all fragments together, are DEFLATE data without the last four (RFC 7692, section 7.2).
    pub is_compressed: bool,
}

impl Inspector {
    /// An inspector at the start of a stream.
    pub fn new(rules: Rules) -> Self {
        Inspector {
            rules,
            header: [0; HEADER_BYTES_MAX],
            header_filled: 0,
            header_length: 2,
            length: 0,
            passed: 0,
            close_code: [0; 2],
            message: Message::default(),
            message_open: false,
            message_bytes: 0,
            message_fragments: 0,
            text: Utf8::default(),
            reason: Utf8::default(),
        }
    }

    /// Follows `bytes` up to the end of the current frame and says how many belong to it: all of them, unless the frame
    /// ends before, which [`Inspector::is_between_frames`] tells. A rule is held at the first byte that shows it broken;
    /// after a violation the stream has no meaning and the inspector must not be used further.
    pub fn accept(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let mut used = 0;
        while let Some(&byte) = bytes.get(used) {
            if self.header_filled < self.header_length {
                self.header_byte(byte)?;
                used += 1;
            } else {
                used += self.body_bytes(&bytes[used..])?;
            }
            if self.header_filled == self.header_length && self.passed == self.length {
                self.end_frame()?;
                break;
            }
        }
        Ok(used)
    }

    /// Whether the last frame is whole and the next has not begun.
    pub fn is_between_frames(&self) -> bool {
        self.header_filled == 0
    }

    /// The message that the last data frame belongs to.
    pub fn message(&self) -> Message {
        self.message
    }

    fn opcode(&self) -> u8 {
        self.header[0] & 0x0f
    }

    fn is_control(&self) -> bool {
        self.opcode() & 0x8 != 0
    }

    fn header_byte(&mut self, byte: u8) -> Result<(), Violation> {
        self.header[self.header_filled] = byte;
        self.header_filled += 1;
        match (self.header_filled, self.header[1] & 0x7f) {
            (1, _) => self.check_opcode(),
            (2, code) => self.check_length_code(code),
            (3, 127) if byte & 0x80 != 0 => Err(Violation::LengthTopBit),
            (4, 126) => {
                let [_, _, a, b, ..] = self.header;
                self.announce(u64::from(u16::from_be_bytes([a, b])), 126)
            }
            (10, 127) => {
                let [_, _, a, b, c, d, e, f, g, h, ..] = self.header;
                self.announce(u64::from_be_bytes([a, b, c, d, e, f, g, h]), 1 << 16)
            }
            _ => Ok(()),
        }
    }

    fn check_opcode(&mut self) -> Result<(), Violation> {
        let begins_message = matches!(self.opcode(), opcode::TEXT | opcode::BINARY);
        let meaningful = if self.rules.deflate && begins_message { COMPRESSED } else { 0 };
        if self.header[0] & 0x70 & !meaningful != 0 {
            return Err(Violation::ReservedBits);
        }
        match self.opcode() {
            opcode::CONTINUATION if !self.message_open => Err(Violation::NothingToContinue),
            opcode::TEXT | opcode::BINARY if self.message_open => Err(Violation::MessageInsideMessage),
            opcode::BINARY if !self.rules.binary => Err(Violation::Binary),
            opcode::TEXT | opcode::BINARY => {
                self.message = Message {
                    is_text: self.opcode() == opcode::TEXT,
                    is_compressed: self.header[0] & COMPRESSED != 0,
                };
                Ok(())
            }
            opcode::CLOSE | opcode::PING | opcode::PONG if !self.is_final() => {
                Err(Violation::ControlFragmented)
            }
            0x3..=0x7 | 0xB..=0xF => Err(Violation::ReservedOpcode(self.opcode())),
            _ => Ok(()),
        }
    }

    fn is_final(&self) -> bool {
        self.header[0] & 0x80 != 0
    }

    fn check_length_code(&mut self, code: u8) -> Result<(), Violation> {
        if self.header[1] & 0x80 == 0 {
            return Err(Violation::Unmasked);
        }
        if self.is_control() && code > 125 {
            return Err(Violation::ControlTooLong);
        }
        if self.opcode() == opcode::CLOSE && code == 1 {
            return Err(Violation::CloseTruncated);
        }
        let extended = match code {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        self.header_length = 2 + extended + 4;
        if extended == 0 { self.announce(u64::from(code), 0) } else { Ok(()) }
    }

    /// Takes the frame's length, which is at least `shortest` in its form, and charges it to the message.
    fn announce(&mut self, length: u64, shortest: u64) -> Result<(), Violation> {
        if length < shortest {
            return Err(Violation::LengthNotMinimal(length));
        }
        self.length = length;
        if self.is_control() {
            return Ok(());
        }
        self.message_fragments += 1;
        if self.message_fragments > self.rules.fragments {
            return Err(Violation::TooManyFragments(self.rules.fragments));
        }
        self.message_bytes = self.message_bytes.saturating_add(length);
        if self.message_bytes > self.rules.bytes {
            return Err(Violation::MessageTooLong(self.rules.bytes));
        }
        Ok(())
    }

    /// Follows payload bytes: what is text is looked at, and a close frame's code.
    fn body_bytes(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let left = self.length - self.passed;
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        match self.opcode() {
            opcode::CLOSE => self.close_bytes(&bytes[..count])?,
            opcode::PING | opcode::PONG => {}
            _ if self.message.is_text && !self.message.is_compressed => self.text_bytes(&bytes[..count])?,
            _ => {}
        }
        self.passed += count as u64;
        Ok(count)
    }

    /// The next payload bytes, unmasked, in pieces.
    fn unmasked(
        &self,
        bytes: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let mask = &self.header[self.header_length - 4..self.header_length];
        let mut at = self.passed as usize;
        let mut piece = [0; 256];
        for masked in bytes.chunks(piece.len()) {
            for (clear, byte) in piece.iter_mut().zip(masked) {
                *clear = byte ^ mask[at % 4];
                at = at.wrapping_add(1);
            }
            each(&piece[..masked.len()])?;
        }
        Ok(())
    }

    fn text_bytes(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let mut text = self.text;
        self.unmasked(bytes, |piece| if text.push(piece) { Ok(()) } else { Err(Violation::Utf8) })?;
        self.text = text;
        Ok(())
    }

    fn close_bytes(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let (mut code, mut reason, mut at) = (self.close_code, self.reason, self.passed as usize);
        self.unmasked(bytes, |piece| {
            for &byte in piece {
                match code.get_mut(at) {
                    Some(place) => *place = byte,
                    None if !reason.push(&[byte]) => return Err(Violation::Utf8),
                    None => {}
                }
                at += 1;
                let code = u16::from_be_bytes(code);
                if at == 2 && !may_be_sent(code) {
                    return Err(Violation::CloseCode(code));
                }
            }
            Ok(())
        })?;
        (self.close_code, self.reason) = (code, reason);
        Ok(())
    }

    fn end_frame(&mut self) -> Result<(), Violation> {
        if !self.is_control() {
            self.message_open = !self.is_final();
            if !self.message_open {
                self.message_bytes = 0;
                self.message_fragments = 0;
                if !std::mem::take(&mut self.text).is_whole() {
                    return Err(Violation::Utf8);
                }
            }
        } else if !std::mem::take(&mut self.reason).is_whole() {
            return Err(Violation::Utf8);
        }
        self.header_filled = 0;
        self.header_length = 2;
        self.length = 0;
        self.passed = 0;
        Ok(())
    }
}

/// Whether a peer may put `code` into a close frame: RFC 6455, section 7.4, and the codes that IANA has registered since
/// (1012 to 1014).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// A reader whose bytes pass an [`Inspector`], and come out as whole frames.
///
/// Nothing is reserved on what a header announces: a frame that has not come whole takes the bytes that came, and room to
/// grow. What came behind a frame waits here, in a buffer of its exact size; a session without waiting bytes holds no
/// buffer.
#[derive(Debug)]
pub struct Guard<R> {
    inner: R,
    /// Read, not yet looked at.
    waiting: Bytes,
    /// The frame at hand as far as it came.
    frame: Vec<u8>,
    inspector: Inspector,
    violation: Option<Violation>,
}

/// Bytes taken from the inner reader at once: some dozens of requests.
const READ_BYTES: usize = 4096;

impl<R: AsyncRead + Unpin> Guard<R> {
    /// Guards `inner`; `read_ahead` is what was read from it before, with the handshake.
    pub fn new(inner: R, read_ahead: Bytes, rules: Rules) -> Self {
        Guard {
            inner,
            waiting: read_ahead,
            frame: Vec::new(),
            inspector: Inspector::new(rules),
            violation: None,
        }
    }

    /// What may pass.
    pub fn rules(&self) -> &Rules {
        &self.inspector.rules
    }

    /// The rule that was broken, from then on for ever.
    pub fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// Records a rule broken that only the reader behind can see (a message that does not inflate). No frame passes any
    /// more.
    pub fn refuse(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    /// The message that the last data frame belongs to.
    pub fn message(&self) -> Message {
        self.inspector.message()
    }

    /// Waits until a whole frame has come. `None`: the peer has ended. Loses nothing when it is not asked again.
    ///
    /// Of a compressed message the frames come as those of a plain binary one; [`Guard::message`] tells.
    ///
    /// # Errors
    /// The inner reader failed, or a rule was broken ([`Guard::violation`], [`io::ErrorKind::InvalidData`]).
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        while self.violation.is_none() {
            if !ready!(self.poll_fill(cx))? {
                return Poll::Ready(Ok(None));
            }
            match self.inspector.accept(&self.waiting) {
                Ok(used) => {
                    self.frame.extend_from_slice(&self.waiting[..used]);
                    self.waiting.advance(used);
                }
                Err(violation) => self.violation = Some(violation),
            }
            if self.violation.is_none() && self.inspector.is_between_frames() {
                return Poll::Ready(Ok(Some(self.take_frame())));
            }
        }
        self.frame = Vec::new();
        Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
    }

    /// The whole frame at hand, in a form that a parser without extensions takes.
    fn take_frame(&mut self) -> Vec<u8> {
        let mut frame = std::mem::take(&mut self.frame);
        if let Some(first) = frame.first_mut()
            && *first & COMPRESSED != 0
        {
            *first = (*first & 0x80) | opcode::BINARY;
        }
        frame
    }

    /// Waits until bytes wait to be looked at (true) or the peer has ended (false). Holds no buffer meanwhile.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.waiting.is_empty() {
            // On the stack for one poll: an idle session keeps nothing of it.
            let mut space = [MaybeUninit::uninit(); READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer))?;
            self.waiting = Bytes::copy_from_slice(buffer.filled());
        }
        Poll::Ready(Ok(!self.waiting.is_empty()))
    }

    /// Throws away what waits and what still comes, until the peer ends or its socket fails.
    pub async fn drain(&mut self) {
        self.frame = Vec::new();
        loop {
            self.waiting.clear();
            if !matches!(std::future::poll_fn(|cx| self.poll_fill(cx)).await, Ok(true)) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Gives what it has, then waits for ever.
    struct Stalls(Vec<u8>);

    impl AsyncRead for Stalls {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            out: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.0.is_empty() {
                return Poll::Pending;
            }
            let count = self.0.len().min(out.remaining());
            out.put_slice(&self.0[..count]);
            self.0.drain(..count);
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn nothing_is_reserved_on_a_declared_length() {
        let rules = Rules { bytes: u64::MAX >> 1, ..Rules::default() };
        for (header, came) in [
            (&[0x81, 0xFE, 0xFF, 0xFF, 0, 0, 0, 0][..], 0),
            (&[0x81, 0xFF, 0x7F, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0),
            (&[0x81, 0xFF, 0x7F, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1_000),
            (&[0x01, 0xFF, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], 5_000),
        ] {
            let stream = [header, &vec![b'a'; came]].concat();
            let bytes = stream.len();
            let mut guard = Guard::new(Stalls(stream), Bytes::new(), rules);
            assert!(guard.poll_frame(&mut Context::from_waker(Waker::noop())).is_pending());
            assert_eq!(guard.frame.len(), bytes);
            assert!(guard.frame.capacity() <= 2 * bytes, "{} for {bytes}", guard.frame.capacity());
            assert_eq!(guard.waiting.len(), 0);
        }
    }

    /// RFC 6455, section 8.1: a text is refused at the byte that no text has, whatever its frame still announces.
    #[test]
    fn text_is_refused_at_the_first_byte_that_shows_it() {
        let begun = [0x81, 0xFE, 0x01, 0x00, 0, 0, 0, 0];
        for (text, bad) in
            [(&b"caf\xc3\xa9 \xf4\x90"[..], 7), (b"\xed\xa0", 1), (b"ab\xff", 2), (b"\xc3\x28", 1)]
        {
            let mut inspector = Inspector::new(Rules::default());
            assert_eq!(inspector.accept(&begun), Ok(begun.len()));
            for (at, byte) in text.iter().enumerate() {
                let expected = if at == bad { Err(Violation::Utf8) } else { Ok(1) };
                assert_eq!(inspector.accept(&[*byte]), expected, "{text:?} at {at}");
            }
        }
    }
}
