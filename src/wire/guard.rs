//! Strict input: follows RFC 6455 frame headers as a client's bytes pass, and refuses what breaks the rules before the
//! frame parser behind it sees or reserves anything.
//!
//! fastwebsockets parses and unmasks, but it lets much through that section 5 of the RFC forbids (unmasked frames,
//! lengths that are not minimal, long control frames, a message inside a message), bounds a frame where a message must
//! be bounded, and reserves the announced length before the bytes come. Hence [`Inspector`], which needs no I/O, and
//! [`Guard`], which puts it around a reader.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};

use crate::limits;

/// Opcodes of RFC 6455, section 5.2.
pub mod opcode {
    /// The next fragment of a message.
    pub const CONTINUATION: u8 = 0x0;
    /// A text message, or its first fragment.
    pub const TEXT: u8 = 0x1;
    /// A binary message, or its first fragment.
    pub const BINARY: u8 = 0x2;
    /// Close, with a code and a reason or empty.
    pub const CLOSE: u8 = 0x8;
    /// Ping.
    pub const PING: u8 = 0x9;
    /// Pong.
    pub const PONG: u8 = 0xA;
}

/// What one message from a client may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLimits {
    /// Payload bytes of all its fragments together.
    pub bytes: u64,
    /// Fragments, the first included. Empty ones would otherwise go on for ever without reaching `bytes`.
    pub fragments: u32,
}

impl Default for MessageLimits {
    fn default() -> Self {
        MessageLimits { bytes: limits::TEXT_BYTES_MAX as u64, fragments: limits::MESSAGE_FRAGMENTS_MAX }
    }
}

/// A rule that a client broke. The text is fit for the reason of a close frame: at most 123 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A reserved bit is set and no extension was negotiated that would use it.
    #[error("reserved bits set in a frame header: no extension was negotiated")]
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
    /// A message over [`MessageLimits::bytes`].
    #[error("message over {0} bytes: split the request into several")]
    MessageTooLong(u64),
    /// A message over [`MessageLimits::fragments`].
    #[error("message in more than {0} fragments: send it whole")]
    TooManyFragments(u32),
}

impl Violation {
    /// The close code that answers it: 1002 protocol error, 1003 unsupported data, 1007 invalid text, 1009 too big.
    pub fn code(self) -> u16 {
        match self {
            Violation::Binary => 1003,
            Violation::Utf8 => 1007,
            Violation::MessageTooLong(_) | Violation::TooManyFragments(_) => 1009,
            _ => 1002,
        }
    }
}

/// Longest frame header: two bytes, a 64-bit length, a mask.
const HEADER_BYTES_MAX: usize = 14;

/// Follows the frames in a client's bytes, however they are split.
#[derive(Debug)]
pub struct Inspector {
    limits: MessageLimits,
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
    /// A fragmented message waits for its next fragment.
    message_open: bool,
    /// Payload bytes announced so far by the fragments of the current message.
    message_bytes: u64,
    /// Fragments of the current message so far.
    message_fragments: u32,
}

impl Inspector {
    /// An inspector at the start of a stream.
    pub fn new(limits: MessageLimits) -> Self {
        Inspector {
            limits,
            header: [0; HEADER_BYTES_MAX],
            header_filled: 0,
            header_length: 2,
            length: 0,
            passed: 0,
            close_code: [0; 2],
            message_open: false,
            message_bytes: 0,
            message_fragments: 0,
        }
    }

    /// Follows `bytes` up to the end of the current frame and says how many belong to it: all of them, unless the frame
    /// ends before. A rule is held at the first byte that shows it broken; after a violation the stream has no meaning
    /// and the inspector must not be used further.
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
                self.end_frame();
                break;
            }
        }
        Ok(used)
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

    fn check_opcode(&self) -> Result<(), Violation> {
        if self.header[0] & 0x70 != 0 {
            return Err(Violation::ReservedBits);
        }
        match self.opcode() {
            opcode::CONTINUATION if !self.message_open => Err(Violation::NothingToContinue),
            opcode::TEXT | opcode::BINARY if self.message_open => Err(Violation::MessageInsideMessage),
            opcode::BINARY => Err(Violation::Binary),
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
        if self.message_fragments > self.limits.fragments {
            return Err(Violation::TooManyFragments(self.limits.fragments));
        }
        self.message_bytes = self.message_bytes.saturating_add(length);
        if self.message_bytes > self.limits.bytes {
            return Err(Violation::MessageTooLong(self.limits.bytes));
        }
        Ok(())
    }

    /// Follows payload bytes; only a close frame's first two are looked at.
    fn body_bytes(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let left = self.length - self.passed;
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        if self.opcode() == opcode::CLOSE && self.passed < 2 {
            let mask = &self.header[self.header_length - 4..self.header_length];
            for (at, byte) in (self.passed as usize..2).zip(bytes) {
                self.close_code[at] = byte ^ mask[at];
            }
        }
        self.passed += count as u64;
        if self.opcode() == opcode::CLOSE && self.passed >= 2 {
            let code = u16::from_be_bytes(self.close_code);
            if !may_be_sent(code) {
                return Err(Violation::CloseCode(code));
            }
        }
        Ok(count)
    }

    fn end_frame(&mut self) {
        if !self.is_control() {
            self.message_open = !self.is_final();
            if !self.message_open {
                self.message_bytes = 0;
                self.message_fragments = 0;
            }
        }
        self.header_filled = 0;
        self.header_length = 2;
        self.length = 0;
        self.passed = 0;
    }
}

/// Whether a peer may put `code` into a close frame: RFC 6455, section 7.4, and the codes that IANA has registered since
/// (1012 to 1014).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// A reader whose bytes pass an [`Inspector`].
///
/// One read never hands on bytes beyond the end of a frame: once the parser behind it has returned a frame, its buffer
/// is empty and it may be dropped. What came with the frame waits here, in a buffer of its exact size; a session
/// without waiting bytes holds no buffer.
#[derive(Debug)]
pub struct Guard<R> {
    inner: R,
    /// Read, not yet handed on.
    waiting: Bytes,
    inspector: Inspector,
    violation: Option<Violation>,
}

/// Bytes taken from the inner reader at once: some dozens of requests.
const READ_BYTES: usize = 4096;

impl<R: AsyncRead + Unpin> Guard<R> {
    /// Guards `inner`; `read_ahead` is what was read from it before, with the handshake.
    pub fn new(inner: R, read_ahead: Bytes, limits: MessageLimits) -> Self {
        Guard { inner, waiting: read_ahead, inspector: Inspector::new(limits), violation: None }
    }

    /// The rule that was broken, from then on for ever.
    pub fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// Records a rule broken that only the reader behind can see (text that is not UTF-8). Nothing passes any more.
    pub fn refuse(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    /// Waits until bytes wait to be handed on (true) or the peer has ended (false). Holds no buffer meanwhile, and
    /// loses nothing when it is dropped.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
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
        loop {
            self.waiting.clear();
            if !matches!(std::future::poll_fn(|cx| self.poll_fill(cx)).await, Ok(true)) {
                return;
            }
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Guard<R> {
    /// Fails with [`io::ErrorKind::InvalidData`] at a violation. Nothing of the faulty frame's current bytes is handed
    /// on; frames before it went out with earlier reads.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        if guard.violation.is_none() {
            ready!(guard.poll_fill(cx))?;
            let offered = guard.waiting.len().min(out.remaining());
            match guard.inspector.accept(&guard.waiting[..offered]) {
                Ok(used) => {
                    out.put_slice(&guard.waiting[..used]);
                    guard.waiting.advance(used);
                }
                Err(violation) => guard.violation = Some(violation),
            }
        }
        Poll::Ready(match guard.violation {
            Some(violation) => Err(io::Error::new(io::ErrorKind::InvalidData, violation)),
            None => Ok(()),
        })
    }
}
