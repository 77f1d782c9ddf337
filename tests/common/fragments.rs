//! Messages out of a server's frames: long ones come in fragments, with control frames between them.

/// The message whose last fragment has not come: its opcode, and its payload so far.
#[derive(Debug, Default)]
pub struct Fragments(Option<(u8, Vec<u8>)>);

impl Fragments {
    /// Takes a frame by the first byte of its head; gives back a message, or control frame, that is whole.
    pub fn take(&mut self, first: u8, payload: &[u8]) -> Option<(u8, Vec<u8>)> {
        let (is_final, opcode) = (first & 0x80 != 0, first & 0x0F);
        assert_eq!(first & 0x70, 0, "no extension was agreed on");
        if opcode & 0x08 != 0 {
            assert!(is_final, "a control frame in fragments");
            return Some((opcode, payload.to_vec()));
        }
        match &mut self.0 {
            Some((_, message)) => {
                assert_eq!(opcode, 0, "a message inside another");
                message.extend_from_slice(payload);
            }
            None => {
                assert_ne!(opcode, 0, "nothing to go on with");
                self.0 = Some((opcode, payload.to_vec()));
            }
        }
        self.0.take_if(|_| is_final)
    }
}
