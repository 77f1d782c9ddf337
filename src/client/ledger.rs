//! The receiver's half of the proof that nothing is lost in silence (`docs/protocol.md`, "The ledger").

use std::iter::Sum;
use std::ops::AddAssign;

/// What became of the sequences of a stream, or of several, while the client was subscribed. They are counted from
/// where the server granted the stream, or from its first snapshot, and add up over connections and epochs. Where a
/// stream was resumed there is no break: what happened between two connections is counted too.
///
/// `delivered + merged + lost` is what was published; anything in `undeclared` is a fault of the server or of the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Sequences that messages carried.
    pub delivered: u64,
    /// Sequences that messages covered and did not carry: overtaken, outside the view, or within a snapshot.
    pub merged: u64,
    /// Sequences that the server declared lost (`gap`).
    pub lost: u64,
    /// Sequences that are missing without a word.
    pub undeclared: u64,
    /// Messages after which the state here was not the server's: a checksum that differs, a change of an order that is
    /// not there.
    pub mismatches: u64,
}

impl Ledger {
    /// Sequences that were published, as far as the client can tell.
    pub fn published(&self) -> u64 {
        [self.delivered, self.merged, self.lost, self.undeclared].into_iter().fold(0, u64::saturating_add)
    }
}

impl AddAssign for Ledger {
    fn add_assign(&mut self, other: Ledger) {
        for (mine, its) in [
            (&mut self.delivered, other.delivered),
            (&mut self.merged, other.merged),
            (&mut self.lost, other.lost),
            (&mut self.undeclared, other.undeclared),
            (&mut self.mismatches, other.mismatches),
        ] {
            // Saturating, since a server may claim any sequence.
            *mine = mine.saturating_add(its);
        }
    }
}

impl Sum for Ledger {
    fn sum<I: Iterator<Item = Ledger>>(ledgers: I) -> Ledger {
        ledgers.fold(Ledger::default(), |mut sum, ledger| {
            sum += ledger;
            sum
        })
    }
}
