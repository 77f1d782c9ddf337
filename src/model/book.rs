//! L2: how much stands at each price.

use super::{ABSENT, Ladder, Level, Quote, Side};

/// The price levels of one instrument, both sides, any depth.
///
/// It is a mirror: it takes what it is told and has no opinion. Real books are crossed or locked before an open.
#[derive(Clone, Debug)]
pub struct L2Book {
    /// Quantity at each price; [`Side::index`] is the position. No level holds less than 1.
    sides: [Ladder<i64>; 2],
}

impl L2Book {
    /// A book without levels.
    pub fn new() -> L2Book {
        L2Book { sides: [Ladder::new(Side::Bid), Ladder::new(Side::Ask)] }
    }

    /// This quantity now stands at this price: 0 (or, since nothing less than nothing can stand there, a negative
    /// number) removes the level. Returns what stood there before, 0: nothing.
    #[inline]
    pub fn set(&mut self, side: Side, price: i64, quantity: i64) -> i64 {
        let ladder = &mut self.sides[side.index()];
        let before = if quantity > 0 { ladder.insert(price, quantity) } else { ladder.remove(price) };
        before.unwrap_or(0)
    }

    /// The best level of a side.
    #[inline]
    pub fn best(&self, side: Side) -> Option<Level> {
        self.sides[side.index()].best().map(|(price, quantity)| Level { price, quantity: *quantity })
    }

    /// What stands at a price; 0: nothing.
    #[inline]
    pub fn quantity(&self, side: Side, price: i64) -> i64 {
        self.sides[side.index()].get(price).copied().unwrap_or(0)
    }

    /// The levels of a side, best first.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = Level> {
        self.sides[side.index()].iter().map(|(price, quantity)| Level { price, quantity: *quantity })
    }

    /// How many levels a side has.
    pub fn depth(&self, side: Side) -> usize {
        self.sides[side.index()].len()
    }

    /// Removes every level.
    pub fn clear(&mut self) {
        self.sides.iter_mut().for_each(Ladder::clear);
    }

    /// Best bid and ask.
    #[inline]
    pub fn quote(&self) -> Quote {
        let absent = Level { price: ABSENT, quantity: ABSENT };
        let [bid, ask] = [Side::Bid, Side::Ask].map(|side| self.best(side).unwrap_or(absent));
        Quote { bid: bid.price, bid_quantity: bid.quantity, ask: ask.price, ask_quantity: ask.quantity }
    }
}

impl Default for L2Book {
    fn default() -> L2Book {
        L2Book::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_quote_is_the_best_of_both_sides_and_says_what_is_absent() {
        let mut book = L2Book::new();
        assert_eq!(book.quote(), Quote::EMPTY);
        assert_eq!(book.set(Side::Bid, 99, 5), 0);
        assert_eq!(book.set(Side::Bid, 98, 7), 0);
        assert_eq!(book.quote(), Quote { bid: 99, bid_quantity: 5, ..Quote::EMPTY });
        assert_eq!(book.set(Side::Ask, 101, 3), 0);
        assert_eq!(book.set(Side::Ask, 102, 1), 0);
        assert_eq!(book.quote(), Quote { bid: 99, bid_quantity: 5, ask: 101, ask_quantity: 3 });
        assert_eq!(book.set(Side::Bid, 99, 0), 5);
        assert_eq!(book.set(Side::Ask, 101, -1), 3);
        assert_eq!(book.quote(), Quote { bid: 98, bid_quantity: 7, ask: 102, ask_quantity: 1 });
        book.clear();
        assert_eq!(book.quote(), Quote::EMPTY);
        assert_eq!(book.depth(Side::Bid) + book.depth(Side::Ask), 0);
    }

    proptest! {
        #[test]
        fn agrees_with_btree_maps(
            steps in proptest::collection::vec((any::<bool>(), -50_i64..50, -1_i64..5), 0..1_000),
        ) {
            let mut book = L2Book::new();
            let mut oracle = [BTreeMap::new(), BTreeMap::new()];
            for (ask, price, quantity) in steps {
                let side = if ask { Side::Ask } else { Side::Bid };
                let levels = &mut oracle[side.index()];
                let before = if quantity > 0 { levels.insert(price, quantity) } else { levels.remove(&price) };
                prop_assert_eq!(book.set(side, price, quantity), before.unwrap_or(0));
                prop_assert_eq!(book.quantity(side, price), quantity.max(0));
                prop_assert_eq!(book.depth(side), levels.len());
                let [bids, asks] = &oracle;
                let bid = bids.last_key_value().map(|(price, quantity)| (*price, *quantity));
                let ask = asks.first_key_value().map(|(price, quantity)| (*price, *quantity));
                let best = |side| book.best(side).map(|level| (level.price, level.quantity));
                prop_assert_eq!((best(Side::Bid), best(Side::Ask)), (bid, ask));
            }
            let level = |(price, quantity): (&i64, &i64)| Level { price: *price, quantity: *quantity };
            prop_assert!(book.levels(Side::Bid).eq(oracle[0].iter().rev().map(level)));
            prop_assert!(book.levels(Side::Ask).eq(oracle[1].iter().map(level)));
        }
    }
}
