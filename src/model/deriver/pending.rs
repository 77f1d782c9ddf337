//! What the primaries of an exchange event have done so far and nobody has heard of yet.

use rustc_hash::FxHashMap;

use crate::model::{ABSENT, BarStep, Level, OrderChange, Primary, Side, Status, Trade};

/// Touched levels up to which a search one by one is faster than hashing.
const SCAN_LEVELS: usize = 8;

/// The open part of one exchange event. Everything but `tops` is emptied when a piece comes out.
#[derive(Debug, Default)]
pub struct Pending {
    /// Time of the last primary, nanoseconds since the Unix epoch.
    pub ts_ns: u64,
    /// Status changes.
    pub statuses: Vec<Status>,
    /// Trades, each with its own time.
    pub trades: Vec<(u64, Trade)>,
    /// Changes of orders, each of them.
    pub orders: Vec<OrderChange>,
    /// Levels that changed.
    pub touched: Touched,
    /// Steps of the bars, each with its own time.
    pub bars: Vec<(u64, BarStep)>,
    /// The best levels of each side as last restated, by number; a quantity of 0: no such level. Empty: the side was
    /// not restated. At most 256 a side, since the number is a byte.
    pub tops: [Vec<Level>; 2],
}

impl Pending {
    /// Records that this can give, quote and ticker aside.
    #[inline]
    pub fn len(&self) -> usize {
        let of_orders = self.orders.len() + self.touched.levels.len();
        self.statuses.len() + self.trades.len() + of_orders + self.bars.len()
    }

    /// Takes a `Top`; it counts when the event ends. False: it says what cannot be, and there is no such level.
    pub fn restate(&mut self, top: &Primary) -> bool {
        let Some(side) = top.side() else { return false };
        let levels = &mut self.tops[side.index()];
        let number = usize::from(top.level);
        if levels.len() <= number {
            levels.resize(number + 1, Level { price: ABSENT, quantity: 0 });
        }
        let consistent = top.quantity == 0 || (top.quantity > 0 && top.price != ABSENT);
        levels[number] = Level { price: top.price, quantity: if consistent { top.quantity } else { 0 } };
        consistent
    }
}

/// A level that the event (or the piece of one) changed.
#[derive(Clone, Copy, Debug)]
pub struct LevelChange {
    /// Side of the book.
    pub side: Side,
    /// Price of the level.
    pub price: i64,
    /// What stood there before the first change.
    pub before: i64,
    /// What stands there since the last.
    pub now: i64,
}

/// The levels that an event has changed, each once, in the order of their first change.
#[derive(Debug, Default)]
pub struct Touched {
    /// The levels.
    pub levels: Vec<LevelChange>,
    /// Where each of them stands, once there are more than [`SCAN_LEVELS`]; else empty.
    index: FxHashMap<(u8, i64), usize>,
}

impl Touched {
    /// The level, if it is among them.
    #[inline]
    pub fn find(&mut self, side: Side, price: i64) -> Option<&mut LevelChange> {
        if self.levels.len() > SCAN_LEVELS {
            let at = *self.index.get(&(side as u8, price))?;
            return self.levels.get_mut(at);
        }
        self.levels.iter_mut().find(|change| change.price == price && change.side == side)
    }

    /// Adds a level that is not among them.
    #[inline]
    pub fn push(&mut self, change: LevelChange) {
        self.levels.push(change);
        if self.levels.len() > SCAN_LEVELS {
            let unindexed = self.levels.iter().enumerate().skip(self.index.len());
            self.index.extend(unindexed.map(|(at, change)| ((change.side as u8, change.price), at)));
        }
    }

    /// Forgets them all.
    #[inline]
    pub fn clear(&mut self) {
        self.levels.clear();
        if !self.index.is_empty() {
            self.index.clear();
        }
    }
}
