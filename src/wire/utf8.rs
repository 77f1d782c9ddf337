//! Text that comes in pieces: is it UTF-8 so far?

/// Follows a text cut anywhere, also within a character, and holds no more of it than the start of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8 {
    /// The start of a character whose end has not come.
    cut: [u8; 4],
    /// Bytes of it, at most 3.
    length: u8,
}

impl Utf8 {
    /// Takes the next piece; `false` at the first byte that no text has there. Then it must not be used further.
    pub fn push(&mut self, mut piece: &[u8]) -> bool {
        while self.length > 0
            && let Some((&byte, rest)) = piece.split_first()
        {
            self.cut[usize::from(self.length)] = byte;
            self.length += 1;
            piece = rest;
            match std::str::from_utf8(&self.cut[..self.length.into()]) {
                Ok(_) => self.length = 0,
                Err(error) if error.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        let Err(error) = std::str::from_utf8(piece) else { return true };
        if error.error_len().is_some() {
            return false;
        }
        // It is at most three bytes: four would be a character, or an error.
        let cut = &piece[error.valid_up_to()..];
        self.cut[..cut.len()].copy_from_slice(cut);
        self.length = cut.len() as u8;
        true
    }

    /// Whether the text could end here.
    pub fn is_whole(&self) -> bool {
        self.length == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the standard library says of the start of a text: it may go on, or is broken.
    fn may_go_on(bytes: &[u8]) -> bool {
        std::str::from_utf8(bytes).map_or_else(|error| error.error_len().is_none(), |_| true)
    }

    proptest! {
        /// However a text is cut, the same is said as of the whole, at the first byte that shows it.
        #[test]
        fn pieces_are_judged_as_the_whole(
            text in "\\PC{0,20}",
            noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut bytes = text.into_bytes();
            for (at, byte) in noise {
                let at = at.index(bytes.len() + 1);
                bytes.insert(at, byte);
            }
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut text = Utf8::default();
            for pair in cuts.windows(2) {
                let is_text = text.push(&bytes[pair[0]..pair[1]]);
                prop_assert_eq!(is_text, may_go_on(&bytes[..pair[1]]));
                if !is_text {
                    return Ok(());
                }
            }
            prop_assert_eq!(text.is_whole(), std::str::from_utf8(&bytes).is_ok());
        }
    }
}
