//! A simulated market: a matching engine for each instrument, behind seeded order flow.
//!
//! Quotes, trades, levels and orders come out of the one engine, so they agree. The same seed and settings give the
//! same records, byte for byte, in every build, on every machine, at every rate and whatever the batches: there is no
//! floating point here, each instrument draws from a random stream of its own, one more stream says which
//! instrument's turn it is, and time is virtual. It starts at [`START_NS`] and advances by exponential waiting times
//! of [`TICK_GAP_NS`] on average, however fast the caller's clock runs.
//!
//! A tick is one exchange event of one instrument: an order that arrives (limit, market or cancel) or a change of
//! status. The records of an event:
//!
//! | event | records |
//! |---|---|
//! | passive limit order | `Add` |
//! | aggressive order | a `Trade` and an `Execute` for each resting order it fills; `Add` for what is left of a limit order |
//! | cancellation | `Cancel`, of all or a part |
//! | halt, auction | `Status` |
//! | reopening | for each pair that the auction brings together a `Trade` without aggressor and two `Execute`; `Status` |
//!
//! While halted nothing trades and only cancellations come. In an auction orders collect, and the book may be crossed;
//! it is uncrossed at one price in the event that says `trading`, so that in continuous trading no book is
//! ever seen crossed or locked.

mod engine;
mod flow;
mod kind;
mod listing;
mod market;
mod pace;
mod profile;
mod random;
mod regime;
mod toml_list;

pub use listing::profiles;
pub use pace::{Rate, RateError};
pub use profile::{Fault, Faults, InstrumentProfile};
pub use toml_list::profiles_from_toml;

use std::sync::Arc;

use self::market::Market;
use self::pace::Pace;
use self::random::{Alias, Random};
use crate::limits;
use crate::model::{Catalog, CatalogError, Primary};
use crate::source::{Next, Source, SourceError};

/// When every simulation starts: 2026-01-05T14:30:00Z, nanoseconds since the Unix epoch.
pub const START_NS: u64 = 1_767_623_400_000_000_000;

/// Virtual time between two ticks of the whole market, on average: as at 20,000 ticks a second.
pub const TICK_GAP_NS: u64 = 50_000;

/// What a simulation is made of.
#[derive(Clone, Debug)]
pub struct SimulationSettings {
    /// Chooses one of the possible histories.
    pub seed: u64,
    /// The instruments, numbered in this order: at least one.
    pub instruments: Vec<InstrumentProfile>,
    /// How fast it runs; what happens does not depend on it.
    pub rate: Rate,
    /// After so many ticks the source ends; `None`: never. The openings are not counted.
    pub ticks: Option<u64>,
}

/// Why there can be no such simulation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimulationError {
    /// No instruments.
    #[error("instruments: none; allowed: 1 to {max}", max = limits::INSTRUMENTS_MAX)]
    NoInstruments,
    /// A rate out of range.
    #[error("rate is {0} ticks per second; allowed: 1 to {max}, or max", max = limits::SIM_RATE_MAX)]
    Rate(u64),
    /// Profiles with impossible numbers.
    #[error("{0}")]
    Profiles(Faults),
    /// Instruments that make no catalog.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// A simulated market.
///
/// Its first polls give each instrument's opening, one exchange event flagged [`crate::model::primary_flags::SNAPSHOT`],
/// all at [`START_NS`]; then come the ticks, paced from the first poll after the last opening.
#[derive(Debug)]
pub struct Simulation {
    catalog: Arc<Catalog>,
    markets: Vec<Market>,
    /// Markets whose opening was told.
    opened: usize,
    /// Whose turn it is, by activity.
    turns: Alias,
    /// The waiting times and the turns.
    random: Random,
    /// Density of the distances at which passive orders are placed.
    distances: Alias,
    /// Virtual time, nanoseconds since the Unix epoch.
    now_ns: u64,
    /// `None`: as fast as can be.
    pace: Option<Pace>,
    /// Ticks that are still to come.
    ticks_left: u64,
}

impl Simulation {
    /// A simulation before its start.
    ///
    /// # Errors
    /// Impossible settings; of the profiles every fault at once.
    pub fn new(settings: SimulationSettings) -> Result<Simulation, SimulationError> {
        let SimulationSettings { seed, instruments: profiles, rate, ticks } = settings;
        let pace = match rate {
            Rate::Max => None,
            Rate::PerSecond(rate @ 1..=limits::SIM_RATE_MAX) => Some(Pace::new(rate)),
            Rate::PerSecond(rate) => return Err(SimulationError::Rate(rate)),
        };
        if profiles.is_empty() {
            return Err(SimulationError::NoInstruments);
        }
        let catalog = Catalog::new(profiles.iter().map(InstrumentProfile::instrument).collect())?;
        let faults: Vec<Fault> =
            profiles.iter().flat_map(|profile| profile.faults(&format!("{}: ", profile.symbol))).collect();
        if !faults.is_empty() {
            return Err(SimulationError::Profiles(Faults(faults)));
        }
        let activities: Vec<u64> = profiles.iter().map(|profile| profile.activity.into()).collect();
        let total: u64 = activities.iter().sum();
        let markets = profiles.iter().zip(0..).map(|(profile, instrument)| {
            let order_gap_ns = TICK_GAP_NS * total / u64::from(profile.activity);
            Market::new(instrument, profile, seed, START_NS, order_gap_ns)
        });
        Ok(Simulation {
            markets: markets.collect(),
            catalog: Arc::new(catalog),
            opened: 0,
            turns: Alias::new(&activities),
            random: Random::new(seed, 0),
            distances: flow::Flow::distances(),
            now_ns: START_NS,
            pace,
            ticks_left: ticks.unwrap_or(u64::MAX),
        })
    }

    /// Appends openings that have not been told, up to [`limits::SOURCE_BATCH_MAX`] records; whether all have been.
    pub fn open(&mut self, out: &mut Vec<Primary>) -> bool {
        let full = out.len() + limits::SOURCE_BATCH_MAX;
        while self.opened < self.markets.len() {
            if out.len() >= full {
                return false;
            }
            self.markets[self.opened].open(START_NS, &self.distances, out);
            self.opened += 1;
        }
        true
    }

    /// Appends one tick, whatever the rate says; the openings come first ([`Simulation::open`]). Orders that a halted
    /// instrument keeps away are no ticks: time passes, and another one comes.
    pub fn tick(&mut self, out: &mut Vec<Primary>) {
        loop {
            self.now_ns += self.random.exponential(TICK_GAP_NS);
            let turn = self.turns.draw(&mut self.random);
            if self.markets[turn].arrive(self.now_ns, &self.distances, out) {
                return;
            }
        }
    }
}

impl Source for Simulation {
    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.clone()
    }

    fn poll(&mut self, now_ns: u64, out: &mut Vec<Primary>) -> Result<Next, SourceError> {
        let full = out.len() + limits::SOURCE_BATCH_MAX;
        if !self.open(out) {
            return Ok(Next::Now);
        }
        let due = self.pace.as_mut().map_or(u64::MAX, |pace| pace.due(now_ns)).min(self.ticks_left);
        let mut taken = 0;
        while taken < due && out.len() < full {
            self.tick(out);
            taken += 1;
        }
        self.ticks_left -= taken;
        if self.ticks_left == 0 {
            return Ok(Next::Ended);
        }
        let Some(pace) = &mut self.pace else { return Ok(Next::Now) };
        pace.take(taken);
        Ok(match pace.due_ns(now_ns) {
            due_ns if due_ns <= now_ns => Next::Now,
            due_ns => Next::At(due_ns.max(now_ns + limits::SIM_GATHER_NS)),
        })
    }
}
