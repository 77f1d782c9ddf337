//! The market of one instrument: its engine, the orders that come to it, and the regime they come in.

use crate::model::{Primary, Side, Status, primary_flags};

use super::engine::{Engine, Tape};
use super::flow::{Flow, Intent, View};
use super::profile::InstrumentProfile;
use super::random::{Alias, Random};
use super::regime::Regime;

/// Everything of one instrument. What happens here depends on the seed, the profile and the times of arrival alone.
#[derive(Debug)]
pub(super) struct Market {
    instrument: u32,
    /// Resting orders that the book tends to.
    orders: usize,
    engine: Engine,
    flow: Flow,
    regime: Regime,
    random: Random,
}

impl Market {
    /// A market without orders, whose arrivals are `order_gap_ns` apart on average.
    pub(super) fn new(
        instrument: u32,
        profile: &InstrumentProfile,
        seed: u64,
        start_ns: u64,
        order_gap_ns: u64,
    ) -> Market {
        // Stream 0 chooses the instruments.
        let mut random = Random::new(seed, u64::from(instrument) + 1);
        Market {
            instrument,
            orders: profile.orders as usize,
            engine: Engine::default(),
            flow: Flow::new(profile),
            regime: Regime::open(start_ns, order_gap_ns, &mut random),
            random,
        }
    }

    /// The opening: one exchange event that says what stands when the simulation starts. Trading, and a book of as
    /// many orders as are usual on both sides of the fundamental value, every record flagged as a snapshot's.
    pub(super) fn open(&mut self, now_ns: u64, distances: &Alias, out: &mut Vec<Primary>) {
        let start = out.len();
        let mut tape = Tape { out, instrument: self.instrument, now_ns };
        tape.status(Status::Trading);
        // Seen from the value both sides are empty, so that neither side's prices depend on the other's.
        let nothing = View { best: [None; 2], orders: [0; 2] };
        for i in 0..self.orders {
            let side = if i % 2 == 0 { Side::Bid } else { Side::Ask };
            let price = self.flow.passive_price(side, nothing, distances, &mut self.random);
            let quantity = self.flow.quantity(&mut self.random);
            self.engine.rest(side, price, quantity, &mut tape);
        }
        for record in &mut out[start..] {
            record.flags |= primary_flags::SNAPSHOT;
        }
        finish(start, out);
    }

    /// An arrival: appends one whole exchange event, or nothing where the regime keeps the order away (then `false`).
    pub(super) fn arrive(&mut self, now_ns: u64, distances: &Alias, out: &mut Vec<Primary>) -> bool {
        let start = out.len();
        let mut tape = Tape { out, instrument: self.instrument, now_ns };
        if let Some(status) = self.regime.change(now_ns, &mut self.random) {
            self.enter(status, &mut tape);
        } else if self.regime.admits(&mut self.random) {
            self.flow.pass(&mut self.random);
            match self.regime.status() {
                Status::Trading => self.trade(distances, &mut tape),
                Status::Auction => self.collect(distances, &mut tape),
                Status::Halted | Status::Closed => self.thin(&mut tape),
            }
        }
        finish(start, out)
    }

    /// The status changes. Trading begins with the auction's trades, told in the same event.
    fn enter(&mut self, status: Status, tape: &mut Tape<'_>) {
        if status == Status::Trading {
            let last = self.engine.last_price();
            let reference = if last == 0 { self.flow.value() } else { last };
            self.engine.uncross(reference, tape);
        }
        tape.status(status);
    }

    /// Continuous trading: one order.
    fn trade(&mut self, distances: &Alias, tape: &mut Tape<'_>) {
        let view = self.view();
        match self.flow.next(view, &mut self.random) {
            Intent::Passive(side) => {
                let price = self.flow.passive_price(side, view, distances, &mut self.random);
                let quantity = self.flow.quantity(&mut self.random);
                self.engine.rest(side, price, quantity, tape);
            }
            Intent::Aggressive(side) => self.cross(side, tape),
            Intent::Cancel => self.cancel(tape),
        }
    }

    /// An order that crosses the spread: every second one at any price, the others with a limit, at which what is
    /// left rests.
    fn cross(&mut self, side: Side, tape: &mut Tape<'_>) {
        let resting = self.engine.resting(side.opposite()).quantity;
        let quantity = self.flow.aggressive_quantity(resting, &mut self.random);
        let limit = match self.engine.best(side.opposite()) {
            Some(best) if self.random.one_in(2) => {
                Some(self.flow.crossing_limit(side, best, &mut self.random))
            }
            _ => None,
        };
        let left = self.engine.take(side, limit, quantity, tape);
        if let (1.., Some(limit)) = (left, limit) {
            self.engine.rest(side, limit, left, tape);
        }
    }

    /// An auction collects: orders about the value, which may cross, and a cancellation now and then.
    fn collect(&mut self, distances: &Alias, tape: &mut Tape<'_>) {
        let resting = self.resting_orders();
        if resting >= self.orders || (resting > self.orders / 2 && self.random.one_in(4)) {
            return self.cancel(tape);
        }
        let side = if self.random.one_in(2) { Side::Bid } else { Side::Ask };
        let price = self.flow.auction_price(side, distances, &mut self.random);
        let quantity = self.flow.quantity(&mut self.random);
        self.engine.rest(side, price, quantity, tape);
    }

    /// A halt: some leave, until half of the usual orders rest.
    fn thin(&mut self, tape: &mut Tape<'_>) {
        if self.resting_orders() > self.orders / 2 {
            self.cancel(tape);
        }
    }

    fn cancel(&mut self, tape: &mut Tape<'_>) {
        let flow = &self.flow;
        self.engine.cancel(&mut self.random, |order, random| flow.cancelled_quantity(order, random), tape);
    }

    fn resting_orders(&self) -> usize {
        self.view().orders.iter().sum()
    }

    fn view(&self) -> View {
        let sides = [Side::Bid, Side::Ask];
        View {
            best: sides.map(|side| self.engine.best(side)),
            orders: sides.map(|side| self.engine.resting(side).orders),
        }
    }
}

/// Flags the last record since `start` as its event's; `false` where there is none.
fn finish(start: usize, out: &mut [Primary]) -> bool {
    match out[start..].last_mut() {
        Some(last) => {
            last.flags |= primary_flags::LAST;
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{START_NS, TICK_GAP_NS, profiles};

    /// A market that was opened, with a way to let orders come at an even pace.
    struct Run {
        market: Market,
        distances: Alias,
        now_ns: u64,
        out: Vec<Primary>,
    }

    impl Run {
        fn open(position: usize, seed: u64) -> Run {
            let profile = &profiles(position + 1)[position];
            let mut market = Market::new(0, profile, seed, START_NS, TICK_GAP_NS);
            let distances = Flow::distances();
            let mut out = Vec::new();
            market.open(START_NS, &distances, &mut out);
            Run { market, distances, now_ns: START_NS, out }
        }

        fn step(&mut self) -> bool {
            self.now_ns += TICK_GAP_NS;
            self.out.clear();
            self.market.arrive(self.now_ns, &self.distances, &mut self.out)
        }
    }

    #[test]
    fn the_opening_is_one_event_of_a_snapshot() {
        let run = Run::open(2, 1);
        assert_eq!(run.out.len(), 1 + run.market.orders);
        assert!(run.out.iter().all(|record| record.flags & primary_flags::SNAPSHOT != 0));
        assert_eq!(run.out.iter().filter(|record| record.is_last()).count(), 1);
        assert!(run.out.last().unwrap().is_last());
        let [bid, ask] = run.market.view().best.map(Option::unwrap);
        assert!(bid < ask);
    }

    #[test]
    fn the_book_follows_the_fundamental_value() {
        for (position, seed) in [(0, 1), (2, 2), (17, 3), (18, 4)] {
            let mut run = Run::open(position, seed);
            let spread = profiles(position + 1)[position].spread;
            let (mut apart, mut samples) = (0, 0);
            for i in 0..200_000 {
                run.step();
                if i % 100 == 0 && run.market.regime.status() == Status::Trading {
                    let [bid, ask] = run.market.view().best.map(Option::unwrap);
                    apart += ((bid + ask) / 2 - run.market.flow.value()).abs();
                    samples += 1;
                }
            }
            assert!(apart / samples <= 4 * spread, "{position}: {} of {spread}", apart / samples);
        }
    }

    #[test]
    fn the_resting_orders_stay_near_what_the_profile_says() {
        let mut run = Run::open(0, 5);
        for _ in 0..200_000 {
            run.step();
            let [bids, asks] = run.market.view().orders;
            assert!(bids >= 1 && asks >= 1, "no side is empty");
            let usual = run.market.orders;
            assert!((usual / 4..=2 * usual).contains(&(bids + asks)), "{bids} bids, {asks} asks");
        }
    }

    #[test]
    fn a_halted_market_tells_of_cancellations_only() {
        let mut run = Run::open(0, 1);
        while run.market.regime.status() != Status::Halted {
            run.step();
        }
        assert_eq!((run.out.len(), run.out[0].kind()), (1, Some(crate::model::PrimaryKind::Status)));
        let (mut told, mut kept_away) = (0, 0);
        loop {
            if !run.step() {
                kept_away += 1;
            } else if run.market.regime.status() == Status::Halted {
                assert_eq!(run.out[0].kind(), Some(crate::model::PrimaryKind::Cancel));
                told += 1;
            } else {
                break;
            }
        }
        assert!(told > 50 && kept_away > 20 * told, "{told} came, {kept_away} did not");
        assert_eq!(run.market.regime.status(), Status::Auction);
    }
}
