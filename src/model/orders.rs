//! L3: every resting order, in price-time priority.

#[cfg(test)]
mod tests;

use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;
use slab::Slab;

use super::{ABSENT, Ladder, Level, OrderAction, OrderChange, Side};
use crate::limits;

/// A resting order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its identifier, unique among the resting orders of the instrument.
    pub order_id: u64,
    /// Side of the book.
    pub side: Side,
    /// Integer price.
    pub price: i64,
    /// What rests, at least 1.
    pub quantity: i64,
}

/// Why an order book refused a change. Whatever the reason, the book is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// An order of that identifier rests already.
    #[error("order {0} rests already; an identifier may come again only after its order is gone")]
    Duplicate(u64),
    /// No order of that identifier rests.
    #[error("order {0} is unknown; only resting orders can be changed")]
    Unknown(u64),
    /// A quantity that is none.
    #[error("order {order_id}: quantity is {quantity}; allowed: 1 or more")]
    Quantity {
        /// The order.
        order_id: u64,
        /// What was given.
        quantity: i64,
    },
    /// More was to leave than rests.
    #[error("order {order_id}: {quantity} cannot leave; {resting} rest")]
    TooMuch {
        /// The order.
        order_id: u64,
        /// What was to leave.
        quantity: i64,
        /// What rests.
        resting: i64,
    },
    /// A cancel or an execution that leaves no less than rests.
    #[error("order {order_id}: {resting} rest, so a cancel or an execution cannot leave {quantity}")]
    NotLess {
        /// The order.
        order_id: u64,
        /// What was to be left.
        quantity: i64,
        /// What rests.
        resting: i64,
    },
    /// No side, which every order has.
    #[error("order {0} has no side")]
    Side(u64),
    /// The price is [`ABSENT`], which no order can rest at.
    #[error("order {0} has no price")]
    Price(u64),
    /// The sum of the quantities at its price would not fit in an i64.
    #[error("order {0}: the quantity at its price would pass {max}", max = i64::MAX)]
    Overflow(u64),
    /// The book holds [`limits::ORDERS_MAX`] orders.
    #[error("order {0}: the book is full; at most {max} orders may rest", max = limits::ORDERS_MAX)]
    Full(u64),
}

/// No order: the end of a queue in both directions.
const NONE: u32 = u32::MAX;

const _: () = assert!(limits::ORDERS_MAX < NONE as usize);

/// An order in the slab, with its neighbours in the queue at its price.
#[derive(Clone, Copy, Debug)]
struct Node {
    order: Order,
    /// Who joined before it at this price.
    earlier: u32,
    /// Who joined after it at this price.
    later: u32,
}

/// The orders at one price.
#[derive(Clone, Copy, Debug)]
struct Queue {
    /// Sum of what rests.
    quantity: i64,
    /// How many orders.
    orders: u32,
    /// Who is filled first.
    first: u32,
    /// Who joined last.
    last: u32,
}

impl Queue {
    const EMPTY: Queue = Queue { quantity: 0, orders: 0, first: NONE, last: NONE };
}

/// The resting orders of one instrument: at each price a queue in the order of arrival.
///
/// Each change costs one hash look-up and one search in a [`Ladder`], however long the queue is. Nothing is allocated
/// once the book has had its largest size, but for the chunks of the ladders.
#[derive(Clone, Debug)]
pub struct OrderBook {
    /// Every order; its position never changes while it rests.
    nodes: Slab<Node>,
    /// Position in `nodes` of each identifier.
    by_id: FxHashMap<u64, u32>,
    /// The queue at each price that has orders; [`Side::index`] is the position.
    sides: [Ladder<Queue>; 2],
}

impl OrderBook {
    /// A book without orders.
    pub fn new() -> OrderBook {
        OrderBook {
            nodes: Slab::new(),
            by_id: FxHashMap::default(),
            sides: [Ladder::new(Side::Bid), Ladder::new(Side::Ask)],
        }
    }

    /// An order joins the end of the queue at its price. Returns what then rests at that price in all.
    ///
    /// Errors: [`OrderError::Quantity`], [`OrderError::Price`], [`OrderError::Duplicate`], [`OrderError::Overflow`],
    /// [`OrderError::Full`].
    #[inline]
    pub fn add(&mut self, order: Order) -> Result<i64, OrderError> {
        check(order.order_id, order.price, order.quantity)?;
        if self.by_id.len() >= limits::ORDERS_MAX {
            return Err(OrderError::Full(order.order_id));
        }
        let Entry::Vacant(entry) = self.by_id.entry(order.order_id) else {
            return Err(OrderError::Duplicate(order.order_id));
        };
        let queue = self.sides[order.side.index()].get_or_insert_with(order.price, || Queue::EMPTY);
        // A level made just now is empty and cannot overflow: none is left behind without orders.
        if queue.quantity.checked_add(order.quantity).is_none() {
            return Err(OrderError::Overflow(order.order_id));
        }
        let node = self.nodes.insert(Node { order, earlier: NONE, later: NONE }) as u32;
        entry.insert(node);
        join(&mut self.nodes, queue, node);
        Ok(queue.quantity)
    }

    /// Part or all of an order leaves: a cancel or an execution. Returns what rests of it afterwards (a quantity of 0: the
    /// order is gone), and what rests at its price in all. What is left keeps its place in the queue.
    ///
    /// Errors: [`OrderError::Quantity`], [`OrderError::Unknown`], [`OrderError::TooMuch`] (more than rests cannot
    /// leave; the order stays whole, and who knows better removes it with the quantity the error names).
    #[inline]
    pub fn reduce(&mut self, order_id: u64, quantity: i64) -> Result<(Order, i64), OrderError> {
        if quantity <= 0 {
            return Err(OrderError::Quantity { order_id, quantity });
        }
        let Entry::Occupied(entry) = self.by_id.entry(order_id) else {
            return Err(OrderError::Unknown(order_id));
        };
        let at = *entry.get();
        let order = &mut self.nodes[at as usize].order;
        if quantity > order.quantity {
            return Err(OrderError::TooMuch { order_id, quantity, resting: order.quantity });
        }
        if quantity < order.quantity {
            order.quantity -= quantity;
            let order = *order;
            let queue = self.queue_mut(&order);
            queue.quantity -= quantity;
            return Ok((order, queue.quantity));
        }
        entry.remove();
        let others = self.leave(at);
        let node = self.nodes.remove(at as usize);
        Ok((Order { quantity: 0, ..node.order }, others))
    }

    /// An order's price and quantity are now these. It keeps its place in the queue only if the price stays and the
    /// quantity does not grow; else it joins the end of the queue at its price. Returns the order as it was.
    ///
    /// Errors: [`OrderError::Quantity`], [`OrderError::Price`], [`OrderError::Unknown`], [`OrderError::Overflow`].
    pub fn modify(&mut self, order_id: u64, price: i64, quantity: i64) -> Result<Order, OrderError> {
        check(order_id, price, quantity)?;
        let at = *self.by_id.get(&order_id).ok_or(OrderError::Unknown(order_id))?;
        let before = self.nodes[at as usize].order;
        if price == before.price && quantity <= before.quantity {
            self.queue_mut(&before).quantity -= before.quantity - quantity;
            self.nodes[at as usize].order.quantity = quantity;
            return Ok(before);
        }
        let (mut others, _) = self.level(before.side, price);
        if price == before.price {
            others -= before.quantity;
        }
        if others.checked_add(quantity).is_none() {
            return Err(OrderError::Overflow(order_id));
        }
        self.leave(at);
        self.nodes[at as usize].order = Order { price, quantity, ..before };
        let queue = self.sides[before.side.index()].get_or_insert_with(price, || Queue::EMPTY);
        join(&mut self.nodes, queue, at);
        Ok(before)
    }

    /// Applies a change as channel `orders` tells it: whoever follows all of them, from an empty book or a snapshot,
    /// holds the same orders in the same priority as the source.
    ///
    /// Errors: those of [`OrderBook::add`] and [`OrderBook::modify`], [`OrderError::Side`] for an order to add that
    /// has none, and [`OrderError::NotLess`] for a cancel or an execution that leaves no less than rests.
    pub fn follow(&mut self, change: &OrderChange) -> Result<(), OrderError> {
        let OrderChange { action, order_id, side, price, quantity, executed: _ } = *change;
        match action {
            OrderAction::Add => {
                let side = side.ok_or(OrderError::Side(order_id))?;
                self.add(Order { order_id, side, price, quantity }).map(drop)
            }
            OrderAction::Modify => self.modify(order_id, price, quantity).map(drop),
            OrderAction::Cancel | OrderAction::Execute => {
                let Order { quantity: resting, .. } =
                    self.get(order_id).ok_or(OrderError::Unknown(order_id))?;
                if quantity < 0 {
                    return Err(OrderError::Quantity { order_id, quantity });
                }
                if quantity >= resting {
                    return Err(OrderError::NotLess { order_id, quantity, resting });
                }
                self.reduce(order_id, resting - quantity).map(drop)
            }
            OrderAction::Clear => {
                self.clear();
                Ok(())
            }
        }
    }

    /// The order of that identifier.
    #[inline]
    pub fn get(&self, order_id: u64) -> Option<Order> {
        self.by_id.get(&order_id).map(|at| self.nodes[*at as usize].order)
    }

    /// The order that is filled next: first in the queue at the best price.
    #[inline]
    pub fn front(&self, side: Side) -> Option<Order> {
        let (_, queue) = self.sides[side.index()].best()?;
        Some(self.nodes[queue.first as usize].order)
    }

    /// The best level of a side.
    #[inline]
    pub fn best(&self, side: Side) -> Option<Level> {
        self.sides[side.index()].best().map(|(price, queue)| Level { price, quantity: queue.quantity })
    }

    /// What rests at a price and how many orders make it.
    #[inline]
    pub fn level(&self, side: Side, price: i64) -> (i64, usize) {
        self.sides[side.index()].get(price).map_or((0, 0), |queue| (queue.quantity, queue.orders as usize))
    }

    /// The levels of a side, best first.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = Level> {
        self.sides[side.index()].iter().map(|(price, queue)| Level { price, quantity: queue.quantity })
    }

    /// The orders of a side in price-time priority.
    pub fn orders(&self, side: Side) -> impl Iterator<Item = Order> {
        self.sides[side.index()].iter().flat_map(|(_, queue)| {
            let node = |at: u32| self.nodes.get(at as usize);
            std::iter::successors(node(queue.first), move |earlier| node(earlier.later))
                .map(|node| node.order)
        })
    }

    /// How many orders rest.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether no order rests.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many levels a side has.
    pub fn depth(&self, side: Side) -> usize {
        self.sides[side.index()].len()
    }

    /// Removes every order.
    pub fn clear(&mut self) {
        self.nodes.clear();
        self.by_id.clear();
        self.sides.iter_mut().for_each(Ladder::clear);
    }

    /// The queue that a resting order stands in.
    #[inline]
    fn queue_mut(&mut self, order: &Order) -> &mut Queue {
        self.sides[order.side.index()].get_mut(order.price).expect("a resting order stands in a queue")
    }

    /// Takes an order out of its queue, and the level away with the last one. The node stays in the slab. Returns what
    /// the others at its price have.
    #[inline]
    fn leave(&mut self, at: u32) -> i64 {
        let Node { order, earlier, later } = self.nodes[at as usize];
        let queue = self.queue_mut(&order);
        queue.quantity -= order.quantity;
        queue.orders -= 1;
        if queue.orders == 0 {
            self.sides[order.side.index()].remove(order.price);
            return 0;
        }
        let others = queue.quantity;
        if earlier == NONE {
            queue.first = later;
        }
        if later == NONE {
            queue.last = earlier;
        }
        if earlier != NONE {
            self.nodes[earlier as usize].later = later;
        }
        if later != NONE {
            self.nodes[later as usize].earlier = earlier;
        }
        others
    }
}

impl Default for OrderBook {
    fn default() -> OrderBook {
        OrderBook::new()
    }
}

/// What every order must have, resting or to be.
#[inline]
fn check(order_id: u64, price: i64, quantity: i64) -> Result<(), OrderError> {
    if quantity <= 0 {
        return Err(OrderError::Quantity { order_id, quantity });
    }
    if price == ABSENT {
        return Err(OrderError::Price(order_id));
    }
    Ok(())
}

/// Puts an order at the end of the queue at its price; the caller has made sure that the sum fits.
#[inline]
fn join(nodes: &mut Slab<Node>, queue: &mut Queue, at: u32) {
    let node = &mut nodes[at as usize];
    node.earlier = queue.last;
    node.later = NONE;
    queue.quantity += node.order.quantity;
    queue.orders += 1;
    match queue.last {
        NONE => queue.first = at,
        last => nodes[last as usize].later = at,
    }
    queue.last = at;
}
