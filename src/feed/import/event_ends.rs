//! Finds where exchange events end, in recordings that do not always say so.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::limits;
use crate::model::{Primary, primary_flags};

/// What a source says of the end of an exchange event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ends {
    /// The event ends here.
    #[default]
    Here,
    /// More of it follows.
    Later,
    /// The source does not say.
    Unsaid,
}

/// Holds records back until it is known whether they end their exchange event, and flags those that do.
///
/// A record ends its event where the source says so. Where it does not, it ends it nevertheless if the next record of
/// its instrument belongs to another event (another exchange time, or no longer the snapshot), or if none comes: at the
/// end of the recording, and after [`limits::IMPORT_LOOKAHEAD_MAX`] records of others. The order stays as it is.
#[derive(Default)]
pub(super) struct EventEnds {
    held: VecDeque<Primary>,
    /// How many were released: the number of the first one held.
    released: u64,
    /// Of each instrument the number of its last record held, if nothing says yet whether it ends its event.
    open: FxHashMap<u32, u64>,
}

impl EventEnds {
    /// Takes what one record of the source became, `ends` being about the last of these, and hands on what all is known
    /// of by now.
    pub fn take<E>(
        &mut self,
        primaries: &[Primary],
        ends: Ends,
        mut hand_on: impl FnMut(&Primary) -> Result<(), E>,
    ) -> Result<(), E> {
        if ends == Ends::Here && self.held.is_empty() {
            // As mostly: nothing is to be waited for.
            let Some((last, others)) = primaries.split_last() else { return Ok(()) };
            others.iter().try_for_each(&mut hand_on)?;
            return hand_on(&Primary { flags: last.flags | primary_flags::LAST, ..*last });
        }
        self.push(primaries, ends);
        self.release(hand_on)
    }

    /// Nothing follows: what is open ends, and all is handed on.
    pub fn finish<E>(&mut self, hand_on: impl FnMut(&Primary) -> Result<(), E>) -> Result<(), E> {
        let open: Vec<u64> = self.open.values().copied().collect();
        for number in open {
            self.close(number);
        }
        self.release(hand_on)
    }

    fn release<E>(&mut self, mut hand_on: impl FnMut(&Primary) -> Result<(), E>) -> Result<(), E> {
        while let Some(primary) = self.pop() {
            hand_on(&primary)?;
        }
        Ok(())
    }

    fn push(&mut self, primaries: &[Primary], ends: Ends) {
        let Some(last) = primaries.last() else { return };
        if let Some(number) = self.open.remove(&last.instrument) {
            let before = self.held_mut(number);
            let is_snapshot = |primary: &Primary| primary.flags & primary_flags::SNAPSHOT != 0;
            // The orders of a snapshot keep the times at which they were entered.
            let same_event = is_snapshot(before) == is_snapshot(last)
                && (is_snapshot(last) || before.ts_event_ns == last.ts_event_ns);
            if !same_event {
                before.flags |= primary_flags::LAST;
            }
        }
        self.held.extend(primaries);
        let number = self.released + self.held.len() as u64 - 1;
        match ends {
            Ends::Here => self.held_mut(number).flags |= primary_flags::LAST,
            Ends::Later => {}
            Ends::Unsaid => {
                self.open.insert(last.instrument, number);
            }
        }
    }

    /// The next primary of which all is known.
    fn pop(&mut self) -> Option<Primary> {
        let first = self.held.front()?;
        if self.open.get(&first.instrument) == Some(&self.released) {
            if self.held.len() <= limits::IMPORT_LOOKAHEAD_MAX {
                return None;
            }
            self.close(self.released);
        }
        self.released += 1;
        self.held.pop_front()
    }

    fn close(&mut self, number: u64) {
        let primary = self.held_mut(number);
        primary.flags |= primary_flags::LAST;
        let instrument = primary.instrument;
        self.open.remove(&instrument);
    }

    fn held_mut(&mut self, number: u64) -> &mut Primary {
        let at = (number - self.released) as usize;
        self.held.get_mut(at).expect("an open record is held until it is closed")
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::model::PrimaryKind;

    fn primary(instrument: u32, time: u64, snapshot: bool) -> Primary {
        let flags = if snapshot { primary_flags::SNAPSHOT } else { 0 };
        Primary { flags, ..Primary::new(PrimaryKind::Add, instrument, time) }
    }

    fn kept(primary: &Primary, out: &mut Vec<Primary>) -> Result<(), Infallible> {
        out.push(*primary);
        Ok(())
    }

    fn take(ends: &mut EventEnds, primary: Primary, said: Ends, out: &mut Vec<Primary>) {
        let _ = ends.take(&[primary], said, |primary| kept(primary, out));
    }

    /// Which of the records end an event; (instrument, time, snapshot, flagged by the source).
    fn ends(records: &[(u32, u64, bool, bool)]) -> Vec<bool> {
        let mut ends = EventEnds::default();
        let mut out = Vec::new();
        for (instrument, time, snapshot, flagged) in records {
            let said = if *flagged { Ends::Here } else { Ends::Unsaid };
            take(&mut ends, primary(*instrument, *time, *snapshot), said, &mut out);
        }
        let _ = ends.finish(|primary| kept(primary, &mut out));
        assert_eq!(
            out.iter().map(|primary| (primary.instrument, primary.ts_event_ns)).collect::<Vec<_>>(),
            records.iter().map(|record| (record.0, record.1)).collect::<Vec<_>>(),
            "the order stays"
        );
        out.iter().map(Primary::is_last).collect()
    }

    #[test]
    fn the_source_says_so() {
        assert_eq!(
            ends(&[(0, 1, false, false), (0, 1, false, true), (0, 1, false, true)]),
            [false, true, true]
        );
    }

    #[test]
    fn another_time_or_the_end_ends_an_event() {
        assert_eq!(
            ends(&[(0, 1, false, false), (0, 2, false, false), (0, 2, false, false)]),
            [true, false, true]
        );
    }

    #[test]
    fn a_snapshot_ends_with_its_last_record_whatever_its_times() {
        assert_eq!(
            ends(&[(0, 1, true, false), (0, 2, true, false), (0, 9, true, false), (0, 9, false, true)]),
            [false, false, true, true]
        );
    }

    #[test]
    fn each_instrument_has_its_own_events() {
        assert_eq!(
            ends(&[(0, 1, false, false), (1, 1, false, true), (1, 2, false, false), (0, 1, false, true)]),
            [false, true, true, true]
        );
    }

    #[test]
    fn an_instrument_that_falls_silent_holds_nothing_up_for_long() {
        let mut ends = EventEnds::default();
        let mut out = Vec::new();
        take(&mut ends, primary(0, 1, false), Ends::Unsaid, &mut out);
        for number in 0..limits::IMPORT_LOOKAHEAD_MAX as u64 {
            assert!(out.is_empty());
            take(&mut ends, primary(1, number, false), Ends::Here, &mut out);
        }
        assert!(out.first().is_some_and(|first| first.instrument == 0 && first.is_last()));
        assert_eq!(out.len(), limits::IMPORT_LOOKAHEAD_MAX + 1);
    }
}
