//! What the simulator must know of an instrument, and what it accepts.

use std::fmt;

use crate::limits;
use crate::model::{Channel, ChannelSet, Decimal, Instrument};

/// One instrument of a simulated market and the temper of its order flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstrumentProfile {
    /// Its name: 1 to 32 printable ASCII characters without space, `*`, `"`, `\`.
    pub symbol: String,
    /// Power of ten of every price, -18..=18.
    pub price_exponent: i8,
    /// Power of ten of every quantity, -18..=18.
    pub quantity_exponent: i8,
    /// Smallest price step, in integer prices: 1 to 1,000,000.
    pub tick_size: i64,
    /// Smallest quantity step, in integer quantities: 1 to 1,000,000,000.
    pub lot_size: i64,
    /// Where the fundamental value starts and what it returns to, as an integer price: a multiple of the tick size,
    /// 100 to 1,000,000,000 ticks.
    pub price: i64,
    /// The width of the bands that order flow is thinned by, as an integer price: a multiple of the tick size, at
    /// most a hundredth of the price. The usual spread is about as wide.
    pub spread: i64,
    /// Quantity of a usual order, as an integer quantity: a multiple of the lot size, at most 1,000,000,000.
    pub quantity: i64,
    /// Share of the market's ticks, relative to the other instruments' activities: 1 to 1,000,000.
    pub activity: u32,
    /// Resting orders that the book tends to, both sides together: 16 to half of [`limits::SIM_ORDERS_MAX`].
    pub orders: u32,
    /// The farthest that the fundamental value moves with one order, in thousandths of the spread: 0 to 1,000.
    pub volatility: u32,
}

/// One thing that is wrong with a profile or a list of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {value}; allowed: {allowed}")]
pub struct Fault {
    /// What is wrong: `AAPL: tick_size`, `instrument[3].price`.
    pub key: String,
    /// What was given.
    pub value: String,
    /// What would be accepted.
    pub allowed: String,
}

/// Everything that is wrong with a list of profiles, in the order of the list. Displayed one fault a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

const TICK_SIZE_MAX: i64 = 1_000_000;
const LOT_SIZE_MAX: i64 = 1_000_000_000;
const QUANTITY_MAX: i64 = 1_000_000_000;
const PRICE_TICKS_MIN: i64 = 100;
/// Twice as many ticks still fit in 31 bits, which is what the fundamental value's fixed point leaves.
const PRICE_TICKS_MAX: i64 = 1_000_000_000;
/// How many times the spread fits into the price at least.
const SPREADS_MIN: i64 = 100;
const ACTIVITY_MAX: u32 = 1_000_000;
const ORDERS_MIN: u32 = 16;
const ORDERS_MAX: u32 = limits::SIM_ORDERS_MAX / 2;
const VOLATILITY_MAX: u32 = 1_000;

impl InstrumentProfile {
    /// The instrument as the catalog lists it. The simulator tells every channel, at any depth.
    pub fn instrument(&self) -> Instrument {
        Instrument {
            symbol: self.symbol.clone(),
            price_exponent: self.price_exponent,
            quantity_exponent: self.quantity_exponent,
            tick_size: self.tick_size,
            lot_size: self.lot_size,
            channels: ChannelSet::of(&Channel::ALL),
            book_depth: 0,
            source_id: 0,
        }
    }

    /// What is wrong with the numbers, each fault's key led by `name`. (The symbol and the exponents are the
    /// catalog's to judge.)
    pub(super) fn faults(&self, name: &str) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut check = |key: &str, value: String, ok: bool, allowed: String| {
            if !ok {
                faults.push(Fault { key: format!("{name}{key}"), value, allowed });
            }
        };
        let price = |integer| Decimal::new(integer, self.price_exponent).to_string();
        let quantity = |integer| Decimal::new(integer, self.quantity_exponent).to_string();

        let tick_fits = (1..=TICK_SIZE_MAX).contains(&self.tick_size);
        let allowed = format!("{} to {}", price(1), price(TICK_SIZE_MAX));
        check("tick_size", price(self.tick_size), tick_fits, allowed);
        if tick_fits {
            let (least, most) = (self.tick_size * PRICE_TICKS_MIN, self.tick_size * PRICE_TICKS_MAX);
            let price_fits = is_step(self.price, self.tick_size, least, most);
            check("price", price(self.price), price_fits, steps(&price, self.tick_size, least, most));
            if price_fits {
                let most = (self.price / SPREADS_MIN).max(self.tick_size);
                let spread_fits = is_step(self.spread, self.tick_size, self.tick_size, most);
                let allowed = steps(&price, self.tick_size, self.tick_size, most);
                check("spread", price(self.spread), spread_fits, allowed + " (a hundredth of the price)");
            }
        }
        let lot_fits = (1..=LOT_SIZE_MAX).contains(&self.lot_size);
        let allowed = format!("{} to {}", quantity(1), quantity(LOT_SIZE_MAX));
        check("lot_size", quantity(self.lot_size), lot_fits, allowed);
        if lot_fits {
            let quantity_fits = is_step(self.quantity, self.lot_size, self.lot_size, QUANTITY_MAX);
            let allowed = steps(&quantity, self.lot_size, self.lot_size, QUANTITY_MAX);
            check("quantity", quantity(self.quantity), quantity_fits, allowed);
        }
        for (key, value, least, most) in [
            ("activity", self.activity, 1, ACTIVITY_MAX),
            ("orders", self.orders, ORDERS_MIN, ORDERS_MAX),
            ("volatility", self.volatility, 0, VOLATILITY_MAX),
        ] {
            check(key, value.to_string(), (least..=most).contains(&value), format!("{least} to {most}"));
        }
        faults
    }
}

fn is_step(value: i64, step: i64, least: i64, most: i64) -> bool {
    (least..=most).contains(&value) && value % step == 0
}

fn steps(print: &impl Fn(i64) -> String, step: i64, least: i64, most: i64) -> String {
    format!("a multiple of {} from {} to {}", print(step), print(least), print(most))
}
