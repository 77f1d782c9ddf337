//! What became of the sequences of a stream: the ledger that has to balance.

use std::ops::{Add, AddAssign, Sub};

use crate::wire::message::{self, Content, Meta};

/// Sequences of a stream by what became of them on their way to a client. The three together are what was published
/// while it was subscribed (`docs/protocol.md`, "The ledger").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Carried by a message.
    pub delivered: u64,
    /// Covered by a message or a snapshot that does not carry them.
    pub merged: u64,
    /// Declared lost by a `gap`.
    pub lost: u64,
}

impl Tally {
    /// What a message adds for a client that holds everything up to `held`.
    pub fn of_message(held: u64, meta: &Meta, content: &Content<'_>) -> Tally {
        let covered = meta.last_seq.saturating_sub(held);
        if meta.snapshot {
            return Tally { merged: covered, ..Tally::default() };
        }
        let delivered = covered - message::merged(meta, content).min(covered);
        Tally { delivered, merged: covered - delivered, lost: 0 }
    }

    /// A gap of so many sequences.
    pub fn of_gap(count: u64) -> Tally {
        Tally { lost: count, ..Tally::default() }
    }
}

impl Add for Tally {
    type Output = Tally;

    fn add(self, other: Tally) -> Tally {
        Tally {
            delivered: self.delivered + other.delivered,
            merged: self.merged + other.merged,
            lost: self.lost + other.lost,
        }
    }
}

impl Sub for Tally {
    type Output = Tally;

    fn sub(self, other: Tally) -> Tally {
        Tally {
            delivered: self.delivered - other.delivered,
            merged: self.merged - other.merged,
            lost: self.lost - other.lost,
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        *self = *self + other;
    }
}
