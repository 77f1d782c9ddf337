//! A book from a snapshot and a stream of changes that both began whenever they did, as Binance documents it.
//!
//! Spot: <https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams>, "How to manage a local order book
//! correctly". Futures: <https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams/How-to-manage-a-local-order-book-correctly>.

use std::collections::VecDeque;

use crate::model::Primary;

/// The update ids that changes of a book carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    /// `U`: the first.
    pub first: u64,
    /// `u`: the last.
    pub last: u64,
    /// `pu`: the last of the changes before; futures only.
    pub previous: Option<u64>,
}

/// How changes go on from an update id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// They come next.
    Next,
    /// They were in it already.
    Old,
    /// Something between is missing.
    Gap,
}

impl Ids {
    /// How these go on from the last of the changes before.
    fn after_changes(self, last: u64) -> Step {
        match self.previous {
            Some(previous) if previous == last => Step::Next,
            _ if self.last <= last => Step::Old,
            None if self.first <= last.saturating_add(1) => Step::Next,
            _ => Step::Gap,
        }
    }

    /// How these go on from a snapshot.
    fn after_snapshot(self, last: u64) -> Step {
        match self.previous {
            // Ids are those of all symbols: of this one nothing lies between `previous` and `first`.
            Some(previous) if self.last >= last && previous <= last => Step::Next,
            Some(_) if self.last < last => Step::Old,
            None if self.last <= last => Step::Old,
            None if self.first <= last.saturating_add(1) => Step::Next,
            _ => Step::Gap,
        }
    }
}

/// Where the book of one symbol stands.
#[derive(Debug, Default)]
enum State {
    /// It is not known.
    #[default]
    Waiting,
    /// It is that of a snapshot.
    Snapshot(u64),
    /// It is that after some changes.
    Following(u64),
}

/// The book of one symbol.
#[derive(Debug, Default)]
pub(super) struct Stitch {
    state: State,
    /// Changes that wait for a snapshot, each the next of the one before.
    held: VecDeque<(Ids, Vec<Primary>)>,
    /// Levels of these.
    held_levels: usize,
}

impl Stitch {
    /// How changes go on from what is known. Where something is missing, the book is not known any more.
    pub fn step(&mut self, ids: Ids) -> Step {
        let step = match self.state {
            State::Waiting => {
                self.held.back().map_or(Step::Next, |(before, _)| ids.after_changes(before.last))
            }
            State::Snapshot(last) => ids.after_snapshot(last),
            State::Following(last) => ids.after_changes(last),
        };
        match (step, &mut self.state) {
            (Step::Gap, state) => {
                *state = State::Waiting;
                self.held.clear();
                self.held_levels = 0;
            }
            (Step::Next, State::Snapshot(_) | State::Following(_)) => self.state = State::Following(ids.last),
            _ => {}
        }
        step
    }

    /// Whether the book is known.
    pub fn is_known(&self) -> bool {
        !matches!(self.state, State::Waiting)
    }

    /// Keeps changes until a snapshot comes.
    pub fn hold(&mut self, ids: Ids, levels: Vec<Primary>) {
        self.held_levels += levels.len();
        self.held.push_back((ids, levels));
    }

    /// Forgets the oldest changes that wait; false where none wait.
    pub fn forget(&mut self) -> bool {
        let Some((_, levels)) = self.held.pop_front() else { return false };
        self.held_levels -= levels.len();
        true
    }

    /// Levels of all changes that wait.
    pub fn held_levels(&self) -> usize {
        self.held_levels
    }

    /// Takes a snapshot for a book that is not known: gives the changes that come after it, or the update id with which
    /// those that wait begin, where something between is missing.
    pub fn snapshot(&mut self, last: u64) -> Result<Vec<Vec<Primary>>, u64> {
        let newer = self.held.iter().position(|(ids, _)| ids.after_snapshot(last) != Step::Old);
        let newer = newer.unwrap_or(self.held.len());
        if let Some((ids, _)) = self.held.get(newer)
            && ids.after_snapshot(last) == Step::Gap
        {
            return Err(ids.first);
        }
        self.state = State::Snapshot(last);
        self.held_levels = 0;
        let mut changes = Vec::new();
        for (ids, levels) in self.held.drain(..).skip(newer) {
            self.state = State::Following(ids.last);
            changes.push(levels);
        }
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PrimaryKind;

    fn spot(first: u64, last: u64) -> Ids {
        Ids { first, last, previous: None }
    }

    fn futures(first: u64, last: u64, previous: u64) -> Ids {
        Ids { first, last, previous: Some(previous) }
    }

    /// A stitch that holds these; their levels carry their last id.
    fn holding(all: &[Ids]) -> Stitch {
        let mut stitch = Stitch::default();
        for ids in all {
            assert_eq!(stitch.step(*ids), Step::Next);
            stitch.hold(*ids, vec![Primary::new(PrimaryKind::Level, 0, ids.last)]);
        }
        stitch
    }

    fn lasts(changes: Vec<Vec<Primary>>) -> Vec<u64> {
        changes.iter().map(|levels| levels[0].ts_event_ns).collect()
    }

    #[test]
    fn spot_begins_with_the_changes_that_hold_the_id_after_the_snapshots() {
        let held = [spot(1, 5), spot(6, 9), spot(10, 12)];
        for (snapshot, expected) in [
            (0, Ok(vec![5, 9, 12])),
            (4, Ok(vec![5, 9, 12])),
            (5, Ok(vec![9, 12])),
            (12, Ok(vec![])),
            (20, Ok(vec![])),
        ] {
            assert_eq!(holding(&held).snapshot(snapshot).map(lasts), expected, "{snapshot}");
        }
        // The first changes that were recorded are later than the snapshot.
        let mut stitch = holding(&held[1..]);
        assert_eq!(stitch.snapshot(4), Err(6));
        assert!(!stitch.is_known());
        assert_eq!(stitch.snapshot(5).map(lasts), Ok(vec![9, 12]), "a newer snapshot does");
        assert_eq!(stitch.step(spot(13, 13)), Step::Next);
        assert_eq!(stitch.step(spot(13, 13)), Step::Old, "told twice");
        assert_eq!(stitch.step(spot(15, 16)), Step::Gap);
        assert!(!stitch.is_known());
    }

    #[test]
    fn futures_are_a_chain_of_previous_ids() {
        let held = [futures(10, 15, 8), futures(18, 20, 15), futures(25, 30, 20)];
        for (snapshot, expected) in [
            (12, Ok(vec![15, 20, 30])),
            (15, Ok(vec![15, 20, 30])),
            (16, Ok(vec![20, 30])),
            (20, Ok(vec![20, 30])),
            (31, Ok(vec![])),
        ] {
            assert_eq!(holding(&held).snapshot(snapshot).map(lasts), expected, "{snapshot}");
        }
        assert_eq!(holding(&held).snapshot(7), Err(10));
        let mut stitch = holding(&held);
        stitch.snapshot(16).unwrap();
        assert_eq!(stitch.step(futures(40, 44, 30)), Step::Next);
        assert_eq!(stitch.step(futures(50, 55, 46)), Step::Gap);
    }

    #[test]
    fn a_snapshot_may_come_first() {
        let mut stitch = Stitch::default();
        assert_eq!(stitch.snapshot(100), Ok(vec![]));
        assert_eq!(stitch.step(spot(90, 100)), Step::Old);
        assert_eq!(stitch.step(spot(99, 103)), Step::Next);
        assert_eq!(stitch.step(spot(104, 104)), Step::Next);
        let mut late = Stitch::default();
        late.snapshot(100).unwrap();
        assert_eq!(late.step(spot(102, 103)), Step::Gap);
    }

    #[test]
    fn what_waits_is_a_chain_too() {
        let mut stitch = holding(&[spot(1, 5)]);
        assert_eq!(stitch.step(spot(7, 9)), Step::Gap);
        stitch.hold(spot(7, 9), vec![]);
        assert_eq!(stitch.snapshot(5), Err(7), "what came before the gap waits no more");
    }

    #[test]
    fn the_largest_ids_are_ids_like_any_other() {
        let mut stitch = Stitch::default();
        stitch.snapshot(u64::MAX).unwrap();
        assert_eq!(stitch.step(spot(0, u64::MAX)), Step::Old);
        assert_eq!(futures(0, u64::MAX, u64::MAX).after_changes(u64::MAX), Step::Next);
    }
}
