//! The order flow of one instrument: who comes next, on which side, at what price, for how much.
//!
//! Orders arrive without strategy, at rates that depend on what rests, after Cont, Stoikov and Talreja, "A stochastic
//! model for order book dynamics" (Operations Research 58, 2010):
//!
//! * passive limit orders at a constant rate, placed at a distance from the opposite best price whose density falls
//!   as a power of the distance (exponent 1.5: Zovko and Farmer, "The power of patience", 2002);
//! * cancellations of each resting order at a constant rate, so that they grow with the queues and the number of
//!   resting orders returns to its mean;
//! * market orders and limit orders that cross the spread, at rates that excite themselves and decay exponentially,
//!   a Hawkes process in the instrument's own arrivals (Bacry, Mastromatteo, Muzy, "Hawkes processes in finance",
//!   2015): trades come in clusters, buys after buys.
//!
//! Beside it a fundamental value walks at random and returns slowly to where it started (Ornstein and Uhlenbeck). Where
//! it stands above the middle of the book, more buyers come than sellers, and the other way round.

use crate::limits;
use crate::model::{Order, Side};

use super::profile::InstrumentProfile;
use super::random::{Alias, Random, scale};

/// Share of passive limit orders; the other weights are relative to it.
const LIMIT_WEIGHT: u64 = 1 << 20;
/// Share of cancellations where as many orders rest as the profile says. Less than the limit orders by what the
/// aggressive orders take.
const CANCEL_WEIGHT: u64 = LIMIT_WEIGHT * 13 / 16;
/// Share of aggressive orders of each side that nothing has excited.
const AGGRESSIVE_WEIGHT: u64 = LIMIT_WEIGHT / 24;
/// By how much an aggressive order raises the share of those of its side that follow.
const EXCITEMENT: u64 = LIMIT_WEIGHT / 24;
/// With each arrival of the instrument, 1/2^5 of the excitement is gone. An aggressive order so brings about two
/// thirds of another one: 32 * EXCITEMENT, over the sum of all shares.
const EXCITEMENT_DECAY: u32 = 5;

/// With each arrival, 1/2^22 of the way back to the start.
const VALUE_REVERSION: u32 = 22;
/// Fractional bits of the fundamental value in ticks.
const VALUE_BITS: u32 = 32;

/// Fractional bits of a reciprocal.
const RECIPROCAL_BITS: u32 = 52;

/// Buyers among those who come, in 1024ths: this far from one half at most.
const TILT_MAX: i64 = 300;
/// By how many 1024ths the value shifts them that stands one band above the middle.
const TILT: i64 = 128;

/// Fewer orders than this on a side, and the next one to come rests there.
const SIDE_ORDERS_MIN: usize = 4;

/// Bands of the profile's spread that passive orders are spread over.
const BANDS: u64 = 64;

/// What the flow looks at before it decides: the book as it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// Best prices; [`Side::index`] is the position.
    pub(super) best: [Option<i64>; 2],
    /// Resting orders of each side.
    pub(super) orders: [usize; 2],
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intent {
    /// A limit order that crosses nothing.
    Passive(Side),
    /// An order that crosses the spread.
    Aggressive(Side),
    /// A resting order leaves.
    Cancel,
}

/// The temper and the state of one instrument's order flow.
#[derive(Debug)]
pub(super) struct Flow {
    /// Smallest price step, in integer prices.
    tick_size: i64,
    /// Smallest quantity step, in integer quantities.
    lot_size: i64,
    /// Width of a band of distances, in ticks and as an integer price.
    band_ticks: i64,
    band: i64,
    /// `2^52 / band`: dividing by multiplying, since every order asks how far the value is from the middle.
    band_reciprocal: i64,
    /// A usual order, in lots.
    usual_lots: u64,
    /// Share of cancellations for each resting order.
    cancel_weight: u64,
    /// Resting orders that are not passed.
    orders_max: usize,
    /// The fundamental value, in ticks with 32 fractional bits.
    value: i64,
    /// Where it returns to, and the farthest it moves with one arrival.
    value_start: i64,
    value_step: u64,
    /// What past aggressive orders add to the share of those to come; [`Side::index`] is the aggressor's.
    excitement: [u64; 2],
}

impl Flow {
    pub(super) fn new(profile: &InstrumentProfile) -> Flow {
        let value = (profile.price / profile.tick_size) << VALUE_BITS;
        let band_ticks = profile.spread / profile.tick_size;
        let value_step =
            ((u128::from(band_ticks as u64) << VALUE_BITS) * u128::from(profile.volatility) / 1_000) as u64;
        Flow {
            tick_size: profile.tick_size,
            lot_size: profile.lot_size,
            band_ticks,
            band: profile.spread,
            band_reciprocal: (1 << RECIPROCAL_BITS) / profile.spread,
            usual_lots: (profile.quantity / profile.lot_size) as u64,
            cancel_weight: CANCEL_WEIGHT / u64::from(profile.orders),
            orders_max: (2 * profile.orders).min(limits::SIM_ORDERS_MAX) as usize,
            value,
            value_start: value,
            value_step,
            excitement: [0; 2],
        }
    }

    /// The density of distances from the opposite best price, in bands.
    pub(super) fn distances() -> Alias {
        let weights: Vec<u64> =
            (1..=BANDS).map(|band| (1 << 24) / ((band * band * band) << 8).isqrt()).collect();
        Alias::new(&weights)
    }

    /// The fundamental value as an integer price on a tick.
    pub(super) fn value(&self) -> i64 {
        (self.value >> VALUE_BITS) * self.tick_size
    }

    /// One arrival passes: the value walks, the excitement fades.
    pub(super) fn pass(&mut self, random: &mut Random) {
        let step = random.below(2 * self.value_step + 1) as i64 - self.value_step as i64;
        let back = (self.value_start - self.value) >> VALUE_REVERSION;
        self.value = (self.value + step + back).clamp(self.value_start / 2, self.value_start * 2);
        for excitement in &mut self.excitement {
            *excitement -= *excitement >> EXCITEMENT_DECAY;
        }
    }

    /// What comes next in continuous trading.
    pub(super) fn next(&mut self, view: View, random: &mut Random) -> Intent {
        let [bids, asks] = view.orders;
        if bids < SIDE_ORDERS_MIN || asks < SIDE_ORDERS_MIN {
            return Intent::Passive(if bids < asks { Side::Bid } else { Side::Ask });
        }
        if bids + asks >= self.orders_max {
            return Intent::Cancel;
        }
        let buyers = (512 + self.tilt(view)) as u64;
        let [buying, selling] = self.excitement.map(|excitement| AGGRESSIVE_WEIGHT + excitement);
        let cancels = (bids + asks) as u64 * self.cancel_weight;
        let mut dice = random.below(LIMIT_WEIGHT + cancels + buying + selling);
        if dice < LIMIT_WEIGHT {
            return Intent::Passive(if dice % 1_024 < buyers { Side::Bid } else { Side::Ask });
        }
        dice -= LIMIT_WEIGHT;
        if dice < cancels {
            // At the least that a side may hold, nobody leaves.
            return if bids.min(asks) > SIDE_ORDERS_MIN {
                Intent::Cancel
            } else {
                Intent::Passive(if bids < asks { Side::Bid } else { Side::Ask })
            };
        }
        let (buying, selling) = (buying * buyers, selling * (1_024 - buyers));
        let side = if random.below(buying + selling) < buying { Side::Bid } else { Side::Ask };
        self.excitement[side.index()] += EXCITEMENT;
        Intent::Aggressive(side)
    }

    /// How many more than 512 in 1024 are buyers: by how far the value stands above the middle of the book.
    fn tilt(&self, view: View) -> i64 {
        let [Some(bid), Some(ask)] = view.best else { return 0 };
        let most = self.band * (TILT_MAX / TILT + 1) * 2;
        let twice_above = (2 * self.value() - bid - ask).clamp(-most, most);
        let bands = twice_above * self.band_reciprocal;
        ((bands * (TILT / 2)) >> RECIPROCAL_BITS).clamp(-TILT_MAX, TILT_MAX)
    }

    /// Price of an order that shall not cross: at a drawn distance from the opposite best (where that side is empty,
    /// from the value).
    pub(super) fn passive_price(
        &self,
        side: Side,
        view: View,
        distances: &Alias,
        random: &mut Random,
    ) -> i64 {
        let from = view.best[side.opposite().index()].unwrap_or_else(|| self.value());
        self.price_away(side, from, distances, random)
    }

    /// Price of an order that waits for an auction: about the value, so that some of them cross.
    pub(super) fn auction_price(&self, side: Side, distances: &Alias, random: &mut Random) -> i64 {
        let overlap = 3 * self.band;
        let from = match side {
            Side::Bid => self.value() + overlap,
            Side::Ask => self.value() - overlap,
        };
        self.price_away(side, from, distances, random)
    }

    /// A price at least one tick on the order's own side of `from`. Every second one is moved on to a whole band,
    /// where queues form as they do at round prices.
    fn price_away(&self, side: Side, from: i64, distances: &Alias, random: &mut Random) -> i64 {
        let bands = distances.draw(random) as i64;
        // The highest bits place the order within its band, the lowest decide the rest.
        let dice = random.bits();
        let mut offset = scale(dice, self.band_ticks as u64) as i64;
        if bands == 0 && dice & 6 != 0 {
            // Three in four of those who come nearest ask for the usual spread.
            offset = self.band_ticks - 1;
        }
        let distance = bands * self.band + (offset + 1) * self.tick_size;
        // Away from the other side: down for bids, up for asks.
        let away = if side == Side::Bid { -1 } else { 1 };
        let price = from + away * distance;
        let to_band = (-away * price).rem_euclid(self.band);
        let snaps = i64::from(dice & 1 == 0);
        (price + away * to_band * snaps).max(self.tick_size)
    }

    /// How far a limit order that crosses reaches: to the opposite best or a band beyond.
    pub(super) fn crossing_limit(&self, side: Side, opposite: i64, random: &mut Random) -> i64 {
        let reach = random.below(self.band_ticks as u64 + 1) as i64 * self.tick_size;
        match side {
            Side::Bid => opposite + reach,
            Side::Ask => (opposite - reach).max(self.tick_size),
        }
    }

    /// Quantity of an order: about the usual one, doubled again and again with a probability of 1/4 (sizes have heavy
    /// tails), at most 32 times.
    pub(super) fn quantity(&self, random: &mut Random) -> i64 {
        let dice = random.bits();
        let doublings = (dice.trailing_ones() / 2).min(5);
        let part = (dice >> 32) % 64 + 1;
        let lots = (self.usual_lots << doublings) * part / 64;
        // Most people name round numbers.
        let lots = match lots {
            400.. if dice >> 62 != 0 => lots / 100 * 100,
            40.. if dice >> 62 != 0 => lots / 10 * 10,
            _ => lots.max(1),
        };
        lots as i64 * self.lot_size
    }

    /// The quantity of an aggressive order, cut so that it leaves at least half of what rests on the other side.
    pub(super) fn aggressive_quantity(&self, resting: i64, random: &mut Random) -> i64 {
        let most = resting / 2 / self.lot_size * self.lot_size;
        self.quantity(random).min(most).max(self.lot_size)
    }

    /// How much of an order is cancelled: all of it, or for one in eight a part.
    pub(super) fn cancelled_quantity(&self, order: Order, random: &mut Random) -> i64 {
        if order.quantity == self.lot_size || !random.one_in(8) {
            return order.quantity;
        }
        let lots = (order.quantity / self.lot_size) as u64;
        (1 + random.below(lots - 1)) as i64 * self.lot_size
    }
}
