//! When an instrument trades: continuous trading, now and then a halt, then an auction that reopens it.

use crate::model::Status;

use super::random::Random;

/// Virtual time between the end of an auction and the next halt, on average.
const TRADING_NS: u64 = 120_000_000_000;
/// The same in orders of the instrument: a quiet one is halted no oftener.
const TRADING_ORDERS: u64 = 2_000;
/// A halt takes this long, and up to as much again.
const HALT_NS: u64 = 700_000_000;
/// So does the auction that follows.
const AUCTION_NS: u64 = 1_000_000_000;

/// One of so many orders that would have come still comes while there is no continuous trading.
const THINNED: u64 = 64;

/// What an instrument is doing, and until when.
#[derive(Debug)]
pub(super) struct Regime {
    status: Status,
    until_ns: u64,
    /// Mean time of continuous trading, virtual nanoseconds.
    trading_ns: u64,
}

impl Regime {
    /// Continuous trading from `now_ns` on, of an instrument to which an order comes every `order_gap_ns` on average.
    pub(super) fn open(now_ns: u64, order_gap_ns: u64, random: &mut Random) -> Regime {
        let trading_ns = TRADING_NS.max(order_gap_ns.saturating_mul(TRADING_ORDERS));
        Regime { status: Status::Trading, until_ns: now_ns + random.exponential(trading_ns), trading_ns }
    }

    pub(super) fn status(&self) -> Status {
        self.status
    }

    /// The new status, where it changes with an arrival at `now_ns`.
    pub(super) fn change(&mut self, now_ns: u64, random: &mut Random) -> Option<Status> {
        if now_ns < self.until_ns {
            return None;
        }
        let (status, lasts_ns) = match self.status {
            Status::Trading => (Status::Halted, HALT_NS + random.below(HALT_NS)),
            Status::Halted => (Status::Auction, AUCTION_NS + random.below(AUCTION_NS)),
            Status::Auction | Status::Closed => (Status::Trading, random.exponential(self.trading_ns)),
        };
        self.status = status;
        self.until_ns = now_ns + lasts_ns;
        Some(status)
    }

    /// Whether an order that would have come in continuous trading comes in this regime.
    pub(super) fn admits(&self, random: &mut Random) -> bool {
        self.status == Status::Trading || random.one_in(THINNED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halt_is_followed_by_an_auction_and_that_by_trading() {
        let mut random = Random::new(1, 1);
        let mut regime = Regime::open(0, 1_000_000, &mut random);
        let mut changes = Vec::new();
        for now_ns in (0..1_000_000_000_000).step_by(1_000_000) {
            changes.extend(regime.change(now_ns, &mut random).map(|status| (now_ns, status)));
        }
        assert!(changes.len() > 9, "{changes:?}");
        let cycle = [Status::Halted, Status::Auction, Status::Trading];
        for (i, (_, status)) in changes.iter().enumerate() {
            assert_eq!(*status, cycle[i % 3]);
        }
        for pair in changes.windows(2) {
            let lasted_ms = (pair[1].0 - pair[0].0) / 1_000_000;
            match pair[0].1 {
                Status::Halted => assert!((700..=1_401).contains(&lasted_ms), "{lasted_ms}"),
                Status::Auction => assert!((1_000..=2_001).contains(&lasted_ms), "{lasted_ms}"),
                _ => {}
            }
        }
    }

    #[test]
    fn a_quiet_instrument_is_halted_no_oftener_than_its_orders_warrant() {
        let mut random = Random::new(1, 1);
        let hour_ns = 3_600_000_000_000;
        let regime = Regime::open(0, hour_ns, &mut random);
        assert!(regime.trading_ns >= 2_000 * hour_ns);
    }
}
