//! Snapshots that come in parts.

use super::Disconnect;
use crate::wire::message::Meta;

/// Collects the parts of one snapshot after the other; `T` is what they make.
#[derive(Debug)]
pub(super) struct Parts<T> {
    open: Option<Open<T>>,
}

#[derive(Debug)]
struct Open<T> {
    last_seq: u64,
    parts: u16,
    /// The part to come.
    next: u16,
    whole: T,
}

impl<T> Default for Parts<T> {
    fn default() -> Parts<T> {
        Parts { open: None }
    }
}

impl<T> Parts<T> {
    /// Forgets what is not whole yet.
    pub fn clear(&mut self) {
        self.open = None;
    }

    /// Takes part `part` of `parts`; what all of them make, once the last has come. `join` puts a part behind the
    /// earlier ones, or says that there is too much.
    pub fn add(
        &mut self,
        meta: &Meta,
        (part, parts): (u16, u16),
        content: T,
        join: impl FnOnce(&mut T, T) -> Result<(), Disconnect>,
    ) -> Result<Option<T>, Disconnect> {
        let whole = match self.open.take() {
            _ if part <= 1 => content,
            // What is left of a snapshot that another view or epoch has overtaken.
            None => return Ok(None),
            Some(open) if (open.last_seq, open.parts, open.next) == (meta.last_seq, parts, part) => {
                let mut whole = open.whole;
                join(&mut whole, content)?;
                whole
            }
            Some(open) => {
                return Err(Disconnect::Protocol(format!(
                    "part {part} of {parts} of a snapshot at {} where part {} of {} at {} should be",
                    meta.last_seq, open.next, open.parts, open.last_seq
                )));
            }
        };
        if part >= parts {
            return Ok(Some(whole));
        }
        self.open = Some(Open { last_seq: meta.last_seq, parts, next: part.saturating_add(1).max(2), whole });
        Ok(None)
    }
}
