//! A client's side of WebSocket: messages out of a server's bytes, at any split, inflated where they are compressed.

use flate2::{Decompress, FlushDecompress};
use tickcast::shard::Terms;
use tickcast::wire::deflate::{Mode, agree};

use super::reading;

/// What a client that offers this gets of a server that compresses so.
pub fn terms(protocol: impl Into<Terms>, mode: Mode, offer: &str) -> Terms {
    let agreed = agree([offer.as_bytes()], mode).unwrap();
    assert!(agreed.is_some(), "{offer}");
    Terms { deflate: agreed, ..protocol.into() }
}

#[derive(Debug)]
pub struct Socket {
    terms: Terms,
    /// What of a frame has come.
    bytes: Vec<u8>,
    /// A message whose last fragment has not come: its opcode, whether it is compressed.
    open: Option<(u8, bool, Vec<u8>)>,
    inflate: Decompress,
    /// Messages that were compressed, and that came in several fragments.
    pub compressed: u64,
    pub fragmented: u64,
}

impl Socket {
    pub fn new(terms: Terms) -> Socket {
        let window_bits = terms.deflate.map_or(15, |agreed| agreed.window_bits);
        Socket {
            terms,
            bytes: Vec::new(),
            open: None,
            inflate: Decompress::new_with_window_bits(false, window_bits),
            compressed: 0,
            fragmented: 0,
        }
    }

    /// Takes bytes and gives back the messages and control frames that are whole now.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        self.bytes.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.bytes);
        let (mut start, mut whole) = (0, Vec::new());
        while let Some((first, head, payload)) = reading::frame(&bytes[start..]) {
            let payload = &bytes[start + head..start + head + payload];
            start += head + payload.len();
            whole.extend(self.frame(first, payload));
        }
        self.bytes = bytes[start..].to_vec();
        whole
    }

    fn frame(&mut self, first: u8, payload: &[u8]) -> Option<(u8, Vec<u8>)> {
        let (is_final, is_compressed, opcode) = (first & 0x80 != 0, first & 0x40 != 0, first & 0x0F);
        assert_eq!(first & 0x30, 0, "reserved bits that nothing uses: {first:#x}");
        if opcode & 0x08 != 0 {
            assert!(is_final && !is_compressed && payload.len() <= 125, "a control frame: {first:#x}");
            return Some((opcode, payload.to_vec()));
        }
        match &mut self.open {
            Some((.., message)) => {
                assert_eq!((opcode, is_compressed), (0, false), "inside a fragmented message");
                message.extend_from_slice(payload);
            }
            None => {
                assert_ne!(opcode, 0, "nothing to continue");
                assert!(!is_compressed || self.terms.deflate.is_some(), "nobody agreed on compression");
                self.open = Some((opcode, is_compressed, payload.to_vec()));
                self.fragmented += u64::from(!is_final);
            }
        }
        let (opcode, is_compressed, message) = self.open.take_if(|_| is_final)?;
        Some((opcode, if is_compressed { self.inflated(message) } else { message }))
    }

    fn inflated(&mut self, mut message: Vec<u8>) -> Vec<u8> {
        self.compressed += 1;
        if self.terms.deflate.is_some_and(|agreed| !agreed.takeover) {
            self.inflate.reset(false);
        }
        message.extend([0, 0, 0xFF, 0xFF]);
        let mut out = Vec::with_capacity(4 << 20);
        let before = self.inflate.total_in();
        self.inflate.decompress_vec(&message, &mut out, FlushDecompress::Sync).unwrap();
        assert_eq!(self.inflate.total_in() - before, message.len() as u64, "all of it was read");
        assert!(out.len() < out.capacity(), "it fits");
        out
    }

    /// Whether no frame is half there.
    pub fn is_between_frames(&self) -> bool {
        self.bytes.is_empty()
    }
}
