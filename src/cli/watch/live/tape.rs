//! The last trades, newest first.

use std::collections::VecDeque;

use crate::limits;
use crate::model::Trade;

/// A line of the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Print {
    /// A trade.
    Trade {
        /// When it happened, nanoseconds since the Unix epoch.
        ts_ns: u64,
        /// The trade.
        trade: Trade,
    },
    /// So many trades that the server could not give.
    Missing(u64),
}

/// At most [`limits::WATCH_TAPE_MAX`] lines.
#[derive(Debug, Default)]
pub(super) struct Tape {
    lines: VecDeque<Print>,
    /// What is shown while the tape is held, and the trades since.
    held: Option<(VecDeque<Print>, u64)>,
}

impl Tape {
    /// Adds a line.
    pub fn push(&mut self, print: Print) {
        if self.lines.len() >= limits::WATCH_TAPE_MAX {
            self.lines.pop_back();
        }
        self.lines.push_front(print);
        if let Some((_, since)) = &mut self.held {
            *since = since.saturating_add(1);
        }
    }

    /// Holds the tape, or lets it go.
    pub fn pause(&mut self) {
        self.held = match self.held {
            None => Some((self.lines.clone(), 0)),
            Some(_) => None,
        };
    }

    /// Lines since the tape was held; `None`: it runs.
    pub fn held(&self) -> Option<u64> {
        self.held.as_ref().map(|(_, since)| *since)
    }

    /// The lines to show, newest first.
    pub fn lines(&self) -> impl Iterator<Item = &Print> {
        self.held.as_ref().map_or(&self.lines, |(lines, _)| lines).iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_first_and_the_oldest_go() {
        let mut tape = Tape::default();
        (0..limits::WATCH_TAPE_MAX as u64 + 5).for_each(|n| tape.push(Print::Missing(n)));
        assert_eq!(tape.lines().next(), Some(&Print::Missing(limits::WATCH_TAPE_MAX as u64 + 4)));
        assert_eq!(tape.lines().last(), Some(&Print::Missing(5)));
    }

    #[test]
    fn a_held_tape_stands_still_and_counts() {
        let mut tape = Tape::default();
        tape.push(Print::Missing(1));
        tape.pause();
        tape.push(Print::Missing(2));
        tape.push(Print::Missing(3));
        assert_eq!((tape.lines().collect::<Vec<_>>(), tape.held()), (vec![&Print::Missing(1)], Some(2)));
        tape.pause();
        assert_eq!((tape.lines().next(), tape.held()), (Some(&Print::Missing(3)), None));
    }
}
