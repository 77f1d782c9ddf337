//! A book as Kraken has it: cut to the depth that was subscribed, with the digits that its checksum is made of.

use std::collections::BTreeMap;

use flate2::Crc;

use crate::feed::import::capture::number::Number;
use crate::model::Side;

/// Levels a side that a checksum is about.
const CHECKSUM_LEVELS: usize = 10;

/// The levels of one pair.
pub(super) struct Book {
    /// Levels a side.
    depth: usize,
    /// By price: the price, as written, and what stands there.
    sides: [BTreeMap<Number, (Number, Number)>; 2],
}

impl Book {
    /// An empty book.
    pub fn new(depth: usize) -> Book {
        Book { depth, sides: Default::default() }
    }

    /// So much now stands there; 0: nothing.
    pub fn set(&mut self, side: Side, price: Number, quantity: Number) {
        let levels = &mut self.sides[side.index()];
        if quantity.is_zero() {
            levels.remove(&price);
        } else {
            levels.insert(price, (price, quantity));
        }
    }

    /// Takes out a level beyond the depth, if there is one.
    pub fn cut(&mut self) -> Option<(Side, Number)> {
        let [bids, asks] = &mut self.sides;
        if bids.len() > self.depth {
            return bids.pop_first().map(|(price, _)| (Side::Bid, price));
        }
        if asks.len() > self.depth {
            return asks.pop_last().map(|(price, _)| (Side::Ask, price));
        }
        None
    }

    /// CRC32 of the best ten asks, then the best ten bids, each as the digits of its price and of its quantity: as they are
    /// written, or with that many places.
    pub fn checksum(&self, places: Option<Places>) -> u32 {
        let [bids, asks] = &self.sides;
        let mut crc = Crc::new();
        let mut buffer = itoa::Buffer::new();
        let best_asks = asks.values().take(CHECKSUM_LEVELS);
        for (price, quantity) in best_asks.chain(bids.values().rev().take(CHECKSUM_LEVELS)) {
            let digits = match places {
                None => [price.digits(), quantity.digits()],
                Some(places) => [price.digits_at(places.price), quantity.digits_at(places.quantity)],
            };
            digits.into_iter().for_each(|number| crc.update(buffer.format(number).as_bytes()));
        }
        crc.sum()
    }
}

/// Places after the point of a pair's numbers: the most that any of them was written with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    price: u8,
    quantity: u8,
}

impl Places {
    /// Takes in those of a level.
    pub fn widen(&mut self, price: Number, quantity: Number) {
        self.price = self.price.max(price.places_written());
        self.quantity = self.quantity.max(quantity.places_written());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    /// The example of Kraken's documentation, with its checksum.
    #[test]
    fn the_checksum_is_that_of_the_documentation() {
        let mut book = Book::new(10);
        let price = |ticks: i32| number(&format!("0.{ticks:05}"));
        for step in 0..10 {
            book.set(Side::Ask, price(5_005 + 5 * step), number("0.00000500"));
            // There is nothing at 0.04985.
            let ticks = if step < 3 { 5_000 - 5 * step } else { 4_995 - 5 * step };
            book.set(Side::Bid, price(ticks), number("0.00000500"));
        }
        assert_eq!(book.checksum(None), 974_947_235);
    }

    #[test]
    fn what_falls_out_of_the_depth_is_cut_worst_first() {
        let mut book = Book::new(2);
        for price in ["9", "11", "10", "8"] {
            book.set(Side::Bid, number(price), number("1"));
            book.set(Side::Ask, number(price), number("1"));
        }
        let cut = std::iter::from_fn(|| book.cut());
        let cut: Vec<_> = cut.map(|(side, price)| format!("{} {price}", side.name())).collect();
        assert_eq!(cut, ["bid 8", "bid 9", "ask 11", "ask 10"]);
        book.set(Side::Bid, number("10.0"), number("0.00"));
        assert_eq!(book.sides[0].len(), 1, "the same price, written otherwise");
    }
}
