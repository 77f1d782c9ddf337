//! WebSocket frames as a server writes them (RFC 6455, section 5.2): final, unmasked, so that a frame's bytes are the
//! same for every subscriber.

/// Opcodes (RFC 6455, section 11.8).
pub mod opcode {
    /// UTF-8 text.
    pub const TEXT: u8 = 0x1;
    /// Bytes.
    pub const BINARY: u8 = 0x2;
    /// Closing handshake.
    pub const CLOSE: u8 = 0x8;
    /// Are you there?
    pub const PING: u8 = 0x9;
    /// I am.
    pub const PONG: u8 = 0xA;
}

/// The longest payload of a control frame (RFC 6455, section 5.5).
pub const CONTROL_PAYLOAD_MAX: usize = 125;

const FINAL: u8 = 0x80;

/// The longest head of an unmasked frame.
pub const HEAD_BYTES_MAX: usize = 10;

/// The head of a final, unmasked frame, and how many bytes of it there are: 2, 4 or 10.
pub fn head(opcode: u8, payload: usize) -> ([u8; HEAD_BYTES_MAX], usize) {
    let mut head = [0; HEAD_BYTES_MAX];
    head[0] = FINAL | opcode;
    let length = if payload < 126 {
        head[1] = payload as u8;
        2
    } else if let Ok(short) = u16::try_from(payload) {
        head[1] = 126;
        head[2..4].copy_from_slice(&short.to_be_bytes());
        4
    } else {
        head[1] = 127;
        head[2..].copy_from_slice(&(payload as u64).to_be_bytes());
        HEAD_BYTES_MAX
    };
    (head, length)
}

/// Appends the head of a final, unmasked frame.
pub fn push_head(out: &mut Vec<u8>, opcode: u8, payload: usize) {
    let (head, length) = head(opcode, payload);
    out.extend_from_slice(&head[..length]);
}

/// Appends a whole frame.
pub fn push(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    push_head(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a close frame. A reason longer than a control frame holds is cut at a character.
pub fn push_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let end = reason.floor_char_boundary(CONTROL_PAYLOAD_MAX - 2);
    push_head(out, opcode::CLOSE, 2 + end);
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(&reason.as_bytes()[..end]);
}

/// Length of the frame that starts here, head included; `None` where the head is not whole.
fn length(bytes: &[u8]) -> Option<usize> {
    Some(match bytes.get(1)? & 0x7F {
        126 => 4 + usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
        127 => 10 + u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize,
        short => 2 + usize::from(short),
    })
}

/// Of back-to-back frames, `written` bytes are gone: how many bytes of the frame that was cut remain (0: none was).
pub fn rest_of_cut_frame(frames: &[u8], written: usize) -> usize {
    let mut start = 0;
    while start < written {
        match length(&frames[start..]) {
            Some(length) => start += length,
            None => return frames.len() - written,
        }
    }
    start.min(frames.len()) - written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_use_the_shortest_length() {
        for (payload, head) in [
            (0, vec![0x82, 0]),
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (65_535, vec![0x82, 126, 0xFF, 0xFF]),
            (65_536, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            push_head(&mut out, opcode::BINARY, payload);
            assert_eq!(out, head);
        }
    }

    #[test]
    fn a_close_reason_is_cut_at_a_character() {
        let mut out = Vec::new();
        push_close(&mut out, 4008, &"ä".repeat(100));
        assert_eq!(out[..4], [0x88, 124, 0x0F, 0xA8]);
        assert_eq!(std::str::from_utf8(&out[4..]).unwrap(), "ä".repeat(61));
    }

    #[test]
    fn the_rest_of_a_cut_frame_is_found_at_every_byte() {
        let mut frames = Vec::new();
        let mut ends = vec![0];
        for payload in [0, 1, 125, 126, 300, 70_000, 3] {
            push(&mut frames, opcode::BINARY, &vec![7; payload]);
            ends.push(frames.len());
        }
        for written in 0..=frames.len() {
            let end = ends.iter().find(|end| **end >= written).unwrap();
            assert_eq!(rest_of_cut_frame(&frames, written), end - written, "{written}");
        }
    }
}
