//! The top of a book as the subscribers of a depth view hold it.

use crate::model::{Level, Side};
use crate::wire::message;

/// The best `depth` levels a side, as last emitted. What is sent is the difference between this and the book now, so a
/// client that applies it holds exactly the true top: a level that enters is sent, one that leaves is removed.
#[derive(Debug)]
pub struct Window {
    depth: usize,
    sides: [Vec<Level>; 2],
    scratch: Vec<Level>,
}

impl Window {
    /// An empty window of that many levels a side.
    pub fn new(depth: usize) -> Window {
        Window { depth, sides: [Vec::new(), Vec::new()], scratch: Vec::new() }
    }

    /// The levels of a side, best first.
    pub fn levels(&self, side: Side) -> &[Level] {
        &self.sides[side.index()]
    }

    /// The checksum of what it shows.
    pub fn checksum(&self) -> u32 {
        message::checksum(self.levels(Side::Bid).iter(), self.levels(Side::Ask).iter(), self.depth)
    }

    /// Whether a change at that price can be seen through the window.
    pub fn sees(&self, side: Side, price: i64) -> bool {
        let levels = self.levels(side);
        match levels.last() {
            Some(worst) if levels.len() == self.depth => !is_better(side, worst.price, price),
            _ => true,
        }
    }

    /// Takes over the book's best levels of a side (best first, any number) and appends what changed to `changes`, best first,
    /// quantity 0 for a level that left.
    pub fn refresh(&mut self, side: Side, book: impl Iterator<Item = Level>, changes: &mut Vec<Level>) {
        self.scratch.clear();
        self.scratch.extend(book.take(self.depth));
        let old = &mut self.sides[side.index()];
        let (mut was, mut is) = (old.iter().peekable(), self.scratch.iter().peekable());
        loop {
            match (was.peek(), is.peek()) {
                (Some(a), Some(b)) if a.price == b.price => {
                    if a.quantity != b.quantity {
                        changes.push(**b);
                    }
                    was.next();
                    is.next();
                }
                (Some(a), Some(b)) if is_better(side, b.price, a.price) => {
                    changes.push(**b);
                    is.next();
                }
                (Some(a), _) => {
                    changes.push(Level { price: a.price, quantity: 0 });
                    was.next();
                }
                (None, Some(b)) => {
                    changes.push(**b);
                    is.next();
                }
                (None, None) => break,
            }
        }
        std::mem::swap(old, &mut self.scratch);
    }
}

/// Whether price `a` stands before price `b` on that side.
fn is_better(side: Side, a: i64, b: i64) -> bool {
    match side {
        Side::Bid => a > b,
        Side::Ask => a < b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn prices_are_better_nearer_to_the_other_side() {
        assert!(is_better(Side::Bid, 2, 1) && is_better(Side::Ask, 1, 2));
        assert!(!is_better(Side::Bid, 1, 1) && !is_better(Side::Ask, 1, 1));
    }

    proptest! {
        /// A client that applies the changes holds the true top, whatever happened, and nothing unseen matters.
        #[test]
        fn applying_the_changes_gives_the_true_top(
            depth in 1_usize..6,
            bids in any::<bool>(),
            updates in prop::collection::vec((0_i64..12, 0_i64..3), 1..80),
        ) {
            let side = if bids { Side::Bid } else { Side::Ask };
            let (mut window, mut book, mut client) = (Window::new(depth), BTreeMap::new(), BTreeMap::new());
            for (price, quantity) in updates {
                let seen = window.sees(side, price);
                if quantity == 0 { book.remove(&price); } else { book.insert(price, quantity); }
                let level = |(price, quantity): (&i64, &i64)| Level { price: *price, quantity: *quantity };
                let top: Vec<Level> = if bids {
                    book.iter().rev().map(level).take(depth).collect()
                } else {
                    book.iter().map(level).take(depth).collect()
                };
                let hidden = top.len() == depth && top.iter().all(|level| is_better(side, level.price, price));
                prop_assert!(!hidden || !seen || quantity == 0, "nobody looks at what is hidden");
                let mut changes = Vec::new();
                window.refresh(side, top.iter().copied(), &mut changes);
                prop_assert!(seen || changes.is_empty());
                prop_assert!(
                    changes.is_sorted_by(|a, b| is_better(side, a.price, b.price)),
                    "each once, best first: {changes:?}"
                );
                for change in changes {
                    if change.quantity == 0 {
                        prop_assert!(client.remove(&change.price).is_some(), "removes only what is held");
                    } else {
                        client.insert(change.price, change.quantity);
                    }
                }
                prop_assert_eq!(window.levels(side), &top[..]);
                prop_assert_eq!(client.len(), top.len());
                prop_assert!(top.iter().all(|level| client.get(&level.price) == Some(&level.quantity)));
            }
        }
    }
}
