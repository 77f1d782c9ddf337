//! The matching engine of one instrument: price-time priority, as continuous trading and as an auction.

use crate::model::{Order, OrderBook, Primary, PrimaryKind, Side, Status};

use super::random::Random;

/// Where an engine writes what happens: the end of the source's batch, and the time of the event.
#[derive(Debug)]
pub(super) struct Tape<'a> {
    pub(super) out: &'a mut Vec<Primary>,
    pub(super) instrument: u32,
    pub(super) now_ns: u64,
}

impl Tape<'_> {
    fn push(&mut self, kind: PrimaryKind, order: Order) {
        self.out.push(Primary {
            order_id: order.order_id,
            price: order.price,
            quantity: order.quantity,
            side: order.side as u8,
            ..Primary::new(kind, self.instrument, self.now_ns)
        });
    }

    /// `side` is the aggressor's number, 0 in an auction.
    fn trade(&mut self, trade_id: u64, price: i64, quantity: i64, side: u8) {
        self.out.push(Primary {
            order_id: trade_id,
            price,
            quantity,
            side,
            ..Primary::new(PrimaryKind::Trade, self.instrument, self.now_ns)
        });
    }

    pub(super) fn status(&mut self, status: Status) {
        let record = Primary::new(PrimaryKind::Status, self.instrument, self.now_ns);
        self.out.push(Primary { level: status as u8, ..record });
    }
}

/// What rests on one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Resting {
    pub(super) orders: usize,
    pub(super) quantity: i64,
}

/// The orders of one instrument and the rules by which they meet.
///
/// It tells everything it does as primary records: an incoming order gives, for each resting order it fills, one
/// trade at the resting order's price and one execution; what is left of it is added.
#[derive(Debug, Default)]
pub(super) struct Engine {
    book: OrderBook,
    resting: [Resting; 2],
    /// Identifiers of the resting orders in no order, to draw one in constant time. Orders that were filled stay
    /// listed until they are drawn or the list is swept.
    drawable: Vec<u64>,
    /// The last order's identifier; the first is 1.
    order_id: u64,
    /// The last trade's identifier; the first is 1.
    trade_id: u64,
    /// Price of the last trade; 0 before the first.
    last_price: i64,
}

const KNOWN: &str = "the engine only names orders that rest in its book";

impl Engine {
    pub(super) fn best(&self, side: Side) -> Option<i64> {
        self.book.best(side).map(|level| level.price)
    }

    pub(super) fn resting(&self, side: Side) -> Resting {
        self.resting[side.index()]
    }

    /// Price of the last trade; 0 before the first.
    pub(super) fn last_price(&self) -> i64 {
        self.last_price
    }

    /// An order that takes what it can at `limit` or better (with no limit: at any price). What is left of it is
    /// returned and rests nowhere.
    pub(super) fn take(&mut self, side: Side, limit: Option<i64>, quantity: i64, tape: &mut Tape<'_>) -> i64 {
        let mut left = quantity;
        while left > 0 {
            let Some(front) = self.book.front(side.opposite()) else { break };
            let reaches = match (limit, side) {
                (None, _) => true,
                (Some(limit), Side::Bid) => front.price <= limit,
                (Some(limit), Side::Ask) => front.price >= limit,
            };
            if !reaches {
                break;
            }
            let filled = left.min(front.quantity);
            self.trade(front.price, filled, side as u8, tape);
            self.fill(Order { quantity: filled, ..front }, tape);
            left -= filled;
        }
        left
    }

    /// An order joins the queue at its price and meets nobody: a passive order, or one that waits for an auction.
    pub(super) fn rest(&mut self, side: Side, price: i64, quantity: i64, tape: &mut Tape<'_>) {
        self.order_id += 1;
        let order = Order { order_id: self.order_id, side, price, quantity };
        self.book.add(order).expect("a fresh identifier, a price and a quantity of at least one lot");
        self.resting[side.index()].orders += 1;
        self.resting[side.index()].quantity += quantity;
        self.sweep();
        self.drawable.push(order.order_id);
        tape.push(PrimaryKind::Add, order);
    }

    /// Part or all of a resting order leaves: of one drawn from all that rest, each with the same probability, so much
    /// as `quantity` says.
    pub(super) fn cancel(
        &mut self,
        random: &mut Random,
        quantity: impl FnOnce(Order, &mut Random) -> i64,
        tape: &mut Tape<'_>,
    ) {
        let Some((position, order)) = self.draw(random) else { return };
        let part = Order { quantity: quantity(order, random), ..order };
        self.leave(part);
        if part.quantity == order.quantity {
            self.drawable.swap_remove(position);
        }
        tape.push(PrimaryKind::Cancel, part);
    }

    /// A resting order and its position in the list.
    fn draw(&mut self, random: &mut Random) -> Option<(usize, Order)> {
        while !self.drawable.is_empty() {
            let position = random.below(self.drawable.len() as u64) as usize;
            match self.book.get(self.drawable[position]) {
                Some(order) => return Some((position, order)),
                None => self.drawable.swap_remove(position),
            };
        }
        None
    }

    /// Ends an auction: every bid that is at least as high as an ask trades at one price, best orders first, until
    /// the book is no longer crossed or locked.
    ///
    /// The price maximises what is traded; of several such prices it is the one nearest to `reference`, which must
    /// be a whole number of ticks.
    pub(super) fn uncross(&mut self, reference: i64, tape: &mut Tape<'_>) {
        let Some(price) = self.auction_price(reference) else { return };
        while let (Some(bid), Some(ask)) = (self.book.front(Side::Bid), self.book.front(Side::Ask)) {
            if bid.price < ask.price {
                break;
            }
            let quantity = bid.quantity.min(ask.quantity);
            self.trade(price, quantity, 0, tape);
            self.fill(Order { quantity, ..bid }, tape);
            self.fill(Order { quantity, ..ask }, tape);
        }
    }

    /// The price nearest to `reference` at which the most is traded; `None` where the book is not crossed.
    fn auction_price(&self, reference: i64) -> Option<i64> {
        let mut bids = self.book.levels(Side::Bid);
        let mut asks = self.book.levels(Side::Ask);
        let (mut bid, mut ask) = (bids.next(), asks.next());
        let mut crossing = None;
        // Pair what the best levels hold, as the fills will: the last pair to cross bounds the price.
        while let (Some(buyers), Some(sellers)) = (bid.as_mut(), ask.as_mut()) {
            if buyers.price < sellers.price {
                break;
            }
            crossing = Some((sellers.price, buyers.price));
            let paired = buyers.quantity.min(sellers.quantity);
            buyers.quantity -= paired;
            sellers.quantity -= paired;
            if buyers.quantity == 0 {
                bid = bids.next();
            }
            if ask.is_some_and(|sellers| sellers.quantity == 0) {
                ask = asks.next();
            }
        }
        // Whoever is left unfilled must not be better than the price.
        let (lowest, highest) = crossing?;
        let lowest = bid.map_or(lowest, |left| lowest.max(left.price));
        let highest = ask.map_or(highest, |left| highest.min(left.price));
        Some(reference.clamp(lowest, highest))
    }

    fn trade(&mut self, price: i64, quantity: i64, aggressor: u8, tape: &mut Tape<'_>) {
        self.trade_id += 1;
        self.last_price = price;
        tape.trade(self.trade_id, price, quantity, aggressor);
    }

    fn fill(&mut self, part: Order, tape: &mut Tape<'_>) {
        self.leave(part);
        tape.push(PrimaryKind::Execute, part);
    }

    /// `part.quantity` of the order leaves the book.
    fn leave(&mut self, part: Order) {
        let (after, _) = self.book.reduce(part.order_id, part.quantity).expect(KNOWN);
        let resting = &mut self.resting[part.side.index()];
        resting.quantity -= part.quantity;
        resting.orders -= usize::from(after.quantity == 0);
    }

    /// Forgets the filled orders once they are the larger part of the list.
    fn sweep(&mut self) {
        if self.drawable.len() > 2 * self.book.len() + 64 {
            self.drawable.retain(|order_id| self.book.get(*order_id).is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An engine with these orders resting, each `(side, price, quantity)`; identifiers count from 1.
    fn engine(orders: &[(Side, i64, i64)]) -> Engine {
        let mut engine = Engine::default();
        run(|tape| {
            orders.iter().for_each(|&(side, price, quantity)| engine.rest(side, price, quantity, tape));
        });
        engine
    }

    fn run(act: impl FnOnce(&mut Tape<'_>)) -> Vec<(PrimaryKind, u64, i64, i64, u8)> {
        let mut out = Vec::new();
        act(&mut Tape { out: &mut out, instrument: 3, now_ns: 9 });
        assert!(out.iter().all(|primary| (primary.instrument, primary.ts_event_ns) == (3, 9)));
        let fields = |p: &Primary| (p.kind().unwrap(), p.order_id, p.price, p.quantity, p.side);
        out.iter().map(fields).collect()
    }

    #[test]
    fn an_order_takes_the_best_price_first_and_the_oldest_order_at_a_price() {
        let mut engine =
            engine(&[(Side::Ask, 101, 5), (Side::Ask, 100, 3), (Side::Ask, 100, 4), (Side::Bid, 90, 1)]);
        let mut left = 0;
        let told = run(|tape| left = engine.take(Side::Bid, Some(100), 6, tape));
        assert_eq!(left, 0);
        assert_eq!(
            told,
            [
                (PrimaryKind::Trade, 1, 100, 3, 1),
                (PrimaryKind::Execute, 2, 100, 3, 2),
                (PrimaryKind::Trade, 2, 100, 3, 1),
                (PrimaryKind::Execute, 3, 100, 3, 2),
            ]
        );
        assert_eq!(engine.resting(Side::Ask), Resting { orders: 2, quantity: 6 });
        assert_eq!(engine.last_price(), 100);
    }

    #[test]
    fn a_limit_holds_and_what_is_left_is_returned() {
        let mut engine = engine(&[(Side::Bid, 90, 1), (Side::Bid, 89, 1), (Side::Ask, 100, 1)]);
        run(|tape| assert_eq!(engine.take(Side::Ask, Some(90), 5, tape), 4));
        assert_eq!(engine.best(Side::Bid), Some(89));
        run(|tape| assert_eq!(engine.take(Side::Ask, None, 5, tape), 4));
        assert_eq!(engine.best(Side::Bid), None);
    }

    #[test]
    fn an_auction_trades_the_most_at_one_price() {
        // Bids 103 x 5, 101 x 5; asks 99 x 4, 100 x 3, 102 x 9: seven trade, anywhere from 100 to 101.
        let orders = [
            (Side::Bid, 101, 5),
            (Side::Bid, 103, 5),
            (Side::Ask, 102, 9),
            (Side::Ask, 99, 4),
            (Side::Ask, 100, 3),
        ];
        for (reference, price) in [(90, 101), (101, 101), (150, 101)] {
            let mut engine = engine(&orders);
            let told = run(|tape| engine.uncross(reference, tape));
            let trades: Vec<_> = told
                .iter()
                .filter(|record| record.0 == PrimaryKind::Trade)
                .map(|r| (r.2, r.3, r.4))
                .collect();
            // Three of the bid at 101 stay unfilled, so nothing may trade below it.
            assert_eq!(trades, [(price, 4, 0), (price, 1, 0), (price, 2, 0)]);
            assert_eq!((engine.best(Side::Bid), engine.best(Side::Ask)), (Some(101), Some(102)));
        }
    }

    #[test]
    fn an_auction_price_is_the_nearest_to_the_reference() {
        let orders = [(Side::Bid, 105, 2), (Side::Ask, 100, 2), (Side::Bid, 98, 1), (Side::Ask, 104, 1)];
        for (reference, price) in [(90, 100), (102, 102), (200, 104)] {
            let mut engine = engine(&orders);
            assert_eq!(run(|tape| engine.uncross(reference, tape))[0].2, price);
        }
        let mut uncrossed = engine(&[(Side::Bid, 99, 1), (Side::Ask, 100, 1)]);
        assert_eq!(run(|tape| uncrossed.uncross(99, tape)), []);
    }

    #[test]
    fn every_resting_order_is_cancelled_once_and_no_other() {
        let mut engine = engine(&[(Side::Ask, 100, 1), (Side::Ask, 101, 1), (Side::Bid, 90, 1)]);
        run(|tape| assert_eq!(engine.take(Side::Bid, None, 1, tape), 0));
        let mut random = Random::new(1, 1);
        let told =
            run(|tape| (0..5).for_each(|_| engine.cancel(&mut random, |order, _| order.quantity, tape)));
        let mut cancelled: Vec<_> = told.iter().map(|record| (record.0, record.1)).collect();
        cancelled.sort_unstable_by_key(|record| record.1);
        assert_eq!(cancelled, [(PrimaryKind::Cancel, 2), (PrimaryKind::Cancel, 3)]);
        assert_eq!(engine.resting(Side::Ask), Resting::default());
    }

    #[test]
    fn a_partial_cancellation_leaves_the_rest_in_its_place() {
        let mut engine = engine(&[(Side::Bid, 90, 5)]);
        let mut random = Random::new(1, 1);
        let told = run(|tape| (0..2).for_each(|_| engine.cancel(&mut random, |_, _| 2, tape)));
        assert_eq!(told, [(PrimaryKind::Cancel, 1, 90, 2, 1); 2]);
        assert_eq!(engine.resting(Side::Bid), Resting { orders: 1, quantity: 1 });
    }
}
