//! One line of an order book file: the best levels of both sides.

use std::cmp::Ordering;

use super::message::{Kind, Message};
use crate::feed::inspect::counted;
use crate::model::{ABSENT, Level, Side};

/// Fields of a level: ask price, ask size, bid price, bid size.
const FIELDS: usize = 4;

/// The best levels of both sides, best first. [`Side::index`] is the position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Book {
    sides: [Vec<Level>; 2],
}

/// How many levels a side a line of an order book file tells of; `None` where it is none.
pub(super) fn depth_of(line: &str) -> Option<u16> {
    let fields = line.split(',').count();
    let depth = u16::try_from(fields / FIELDS).ok()?;
    (fields.is_multiple_of(FIELDS) && depth > 0).then_some(depth)
}

impl Book {
    /// Reads a line in place of what is there. The error says what is wrong with it.
    pub fn parse(&mut self, line: &str, depth: u16) -> Result<(), String> {
        self.sides.iter_mut().for_each(Vec::clear);
        let expected = usize::from(depth) * FIELDS;
        let mut fields = line.split(',').map(str::trim);
        let found = line.split(',').count();
        if found != expected {
            return Err(format!(
                "{}; a row of {depth} levels has {expected}",
                counted(found as u64, "field")
            ));
        }
        let mut next = || {
            let text = fields.next().unwrap_or_default();
            text.parse::<i64>().map_err(|_| format!("{text:?}; expected a whole number of 64 bits"))
        };
        for number in 0..depth {
            for side in [Side::Ask, Side::Bid] {
                let level = Level { price: next()?, quantity: next()? };
                let name = side.name();
                if level.quantity < 0 || level.price == ABSENT {
                    let Level { price, quantity } = level;
                    return Err(format!(
                        "{name} {number}: {quantity} at {price}; allowed: a size of 0 or more"
                    ));
                }
                // What is not there is filled up with a size of 0.
                if level.quantity == 0 {
                    continue;
                }
                let levels = &mut self.sides[side.index()];
                if levels
                    .last()
                    .is_some_and(|better| order(side, better.price, level.price) != Ordering::Less)
                {
                    return Err(format!(
                        "{name} {number} at {}: no worse than the one before it",
                        level.price
                    ));
                }
                levels.push(level);
            }
        }
        Ok(())
    }

    /// Does to the levels what the message says; undoes it where it is `undone`.
    pub fn apply(&mut self, message: &Message, undone: bool) {
        let change = match message.kind {
            Kind::Add => message.quantity,
            Kind::Cancel | Kind::Delete | Kind::Execute => -message.quantity,
            Kind::ExecuteHidden | Kind::Cross | Kind::Halt(_) => return,
        };
        let change = if undone { -change } else { change };
        let levels = &mut self.sides[message.side.index()];
        let found = levels.binary_search_by(|level| order(message.side, level.price, message.price));
        match found {
            Ok(at) => {
                levels[at].quantity = levels[at].quantity.saturating_add(change);
                if levels[at].quantity <= 0 {
                    levels.remove(at);
                }
            }
            Err(at) if change > 0 => levels.insert(at, Level { price: message.price, quantity: change }),
            Err(_) => {}
        }
    }

    /// Leaves out what lies beyond so many levels.
    pub fn truncate(&mut self, depth: u16) {
        self.sides.iter_mut().for_each(|levels| levels.truncate(depth.into()));
    }

    /// Whether the best levels are the other's, but for the last: what comes into view there nobody has said.
    pub fn agrees(&self, other: &Book, depth: u16) -> bool {
        let seen = usize::from(depth).saturating_sub(1);
        self.sides
            .iter()
            .zip(&other.sides)
            .all(|(levels, others)| levels.iter().take(seen).eq(others.iter().take(seen)))
    }

    /// Whether the worst level on the bid side, the last number of a line, is the other's.
    pub fn ends_as(&self, other: &Book) -> bool {
        let side = Side::Bid.index();
        let at = self.sides[side].len();
        other.sides[side].get(..at).and_then(<[Level]>::last) == self.sides[side].last()
    }

    /// The levels that make `next` of this: those that are gone with a quantity of 0.
    pub fn changes<'a>(&'a self, next: &'a Book) -> impl Iterator<Item = (Side, Level)> + 'a {
        [Side::Bid, Side::Ask].into_iter().flat_map(move |side| {
            let (old, new) = (&self.sides[side.index()], &next.sides[side.index()]);
            let (mut left, mut joined) = (old.iter().peekable(), new.iter().peekable());
            std::iter::from_fn(move || {
                loop {
                    let order = match (left.peek(), joined.peek()) {
                        (None, None) => return None,
                        (Some(_), None) => Ordering::Less,
                        (None, Some(_)) => Ordering::Greater,
                        (Some(old), Some(new)) => order(side, old.price, new.price),
                    };
                    match order {
                        Ordering::Less => {
                            return left.next().map(|gone| (side, Level { quantity: 0, ..*gone }));
                        }
                        Ordering::Greater => return joined.next().map(|new| (side, *new)),
                        Ordering::Equal => {
                            let (old, new) = (left.next(), joined.next());
                            if old != new {
                                return new.map(|new| (side, *new));
                            }
                        }
                    }
                }
            })
        })
    }
}

/// Which of two prices is better: `Less` comes first.
fn order(side: Side, price: i64, other: i64) -> Ordering {
    match side {
        Side::Bid => other.cmp(&price),
        Side::Ask => price.cmp(&other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(line: &str) -> Book {
        let mut book = Book::default();
        book.parse(line, depth_of(line).unwrap()).unwrap();
        book
    }

    fn message(kind: Kind, side: Side, price: i64, quantity: i64) -> Message {
        Message { time_ns: 0, kind, order_id: 1, quantity, price, side }
    }

    #[test]
    fn lines_that_are_no_book_are_refused_by_name() {
        let problem = |line: &str| Book::default().parse(line, 2).unwrap_err();
        assert_eq!(problem("1,2,3"), "3 fields; a row of 2 levels has 8");
        assert_eq!(problem("5,1,4,1,6,1,x,1"), "\"x\"; expected a whole number of 64 bits");
        assert_eq!(problem("5,1,4,1,6,-1,3,1"), "ask 1: -1 at 6; allowed: a size of 0 or more");
        assert_eq!(problem("5,1,4,1,5,1,3,1"), "ask 1 at 5: no worse than the one before it");
        assert_eq!(problem("5,1,4,1,6,1,4,1"), "bid 1 at 4: no worse than the one before it");
        assert_eq!((depth_of("1,2,3"), depth_of(""), depth_of("1,2,3,4")), (None, None, Some(1)));
    }

    #[test]
    fn what_is_not_there_is_no_level() {
        let padded = book("5,1,4,1,9999999999,0,-9999999999,0");
        assert_eq!(padded.sides.each_ref().map(Vec::len), [1, 1]);
    }

    #[test]
    fn messages_are_done_and_undone() {
        let before = book("50,1,40,2,60,1,30,3");
        for change in [
            message(Kind::Add, Side::Bid, 40, 5),
            message(Kind::Add, Side::Ask, 45, 5),
            message(Kind::Delete, Side::Bid, 40, 2),
            message(Kind::Execute, Side::Bid, 30, 1),
            message(Kind::Cross, Side::Bid, 30, 1),
        ] {
            let mut book = before.clone();
            book.apply(&change, false);
            assert_eq!(book == before, change.kind == Kind::Cross);
            assert!(book.agrees(&book.clone(), 2));
            book.apply(&change, true);
            assert_eq!(book, before, "{change:?}");
        }
    }

    #[test]
    fn changes_make_one_book_of_another() {
        let (before, after) = (book("50,1,40,2,60,1,30,3"), book("45,7,40,2,50,1,35,9"));
        let changes: Vec<_> =
            before.changes(&after).map(|(side, level)| (side, level.price, level.quantity)).collect();
        use Side::{Ask, Bid};
        assert_eq!(changes, [(Bid, 35, 9), (Bid, 30, 0), (Ask, 45, 7), (Ask, 60, 0)]);
        assert_eq!(after.changes(&after).count(), 0);
        assert!(!before.agrees(&after, 2));
        assert!(before.agrees(&book("50,1,40,2,55,1,35,3"), 2), "nobody has said what comes into view");
        assert!(before.ends_as(&book("50,1,40,2,55,1,30,3")) && !before.ends_as(&after));
    }
}
