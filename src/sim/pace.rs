//! How fast a simulation runs: which ticks are due when.

use std::fmt;
use std::str::FromStr;

use crate::limits;

/// How many ticks (exchange events) happen in a second of the caller's clock, over all instruments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// So many: 1 to [`limits::SIM_RATE_MAX`].
    PerSecond(u64),
    /// As many as are taken.
    Max,
}

/// Not a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rate {0:?} is not allowed; a rate is 1 to {max} ticks a second, or \"max\"", max = limits::SIM_RATE_MAX)]
pub struct RateError(pub String);

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Rate, RateError> {
        if text == "max" {
            return Ok(Rate::Max);
        }
        let rate = text.parse().ok().filter(|rate| (1..=limits::SIM_RATE_MAX).contains(rate));
        rate.map(Rate::PerSecond).ok_or_else(|| RateError(text.into()))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::PerSecond(rate) => rate.fmt(f),
            Rate::Max => f.pad("max"),
        }
    }
}

const SECOND_NS: u128 = 1_000_000_000;

/// The schedule of ticks: tick `k` is due `k / rate` seconds after the first, however late the others came.
///
/// A caller that falls more than [`limits::SIM_LAG_NS_MAX`] behind (a machine that slept, a bus that was full)
/// makes the schedule slip: it catches up that much and no more.
#[derive(Debug)]
pub(super) struct Pace {
    ticks_per_second: u64,
    /// When tick 0 of the schedule is due; set by the first question, moved by slips.
    origin_ns: Option<u64>,
    /// Ticks taken since.
    taken: u64,
}

impl Pace {
    pub(super) fn new(ticks_per_second: u64) -> Pace {
        Pace { ticks_per_second, origin_ns: None, taken: 0 }
    }

    /// When the next tick is due, after letting the schedule slip if that is too long ago.
    pub(super) fn due_ns(&mut self, now_ns: u64) -> u64 {
        let origin_ns = *self.origin_ns.get_or_insert(now_ns);
        let due_ns =
            origin_ns + (u128::from(self.taken) * SECOND_NS / u128::from(self.ticks_per_second)) as u64;
        let slip_ns = now_ns.saturating_sub(due_ns).saturating_sub(limits::SIM_LAG_NS_MAX);
        self.origin_ns = Some(origin_ns + slip_ns);
        due_ns + slip_ns
    }

    /// How many ticks are due at `now_ns`, of which none was taken yet.
    pub(super) fn due(&mut self, now_ns: u64) -> u64 {
        if self.due_ns(now_ns) > now_ns {
            return 0;
        }
        let since_ns = now_ns - self.origin_ns.unwrap_or(now_ns);
        // Tick k is due at floor(k * second / rate), so by t all k <= (t + 1) * rate / second, less what is exact.
        let by_now = ((u128::from(since_ns) + 1) * u128::from(self.ticks_per_second) - 1) / SECOND_NS;
        by_now as u64 + 1 - self.taken
    }

    /// So many ticks happened.
    pub(super) fn take(&mut self, ticks: u64) {
        self.taken += ticks;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_rate_is_a_whole_number_in_bounds_or_max() {
        for text in ["1", "20000", "1000000000", "max"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["", "0", "-1", "1.5", "1000000001", "99999999999999999999", "fast"] {
            assert_eq!(text.parse::<Rate>(), Err(RateError(text.into())));
        }
    }

    proptest! {
        #[test]
        fn what_is_due_agrees_with_when_it_is_due(rate in 1_u64..=limits::SIM_RATE_MAX, taken in 0_u64..1_000_000,
            late_ns in 0_u64..limits::SIM_LAG_NS_MAX / 2) {
            let mut pace = Pace::new(rate);
            pace.due_ns(5);
            pace.take(taken);
            let due_ns = pace.due_ns(0);
            let now_ns = due_ns + late_ns;
            let due = pace.due(now_ns);
            prop_assert!(due >= 1);
            pace.take(due - 1);
            prop_assert!(pace.due_ns(now_ns) <= now_ns, "the last of them is due");
            pace.take(1);
            prop_assert!(pace.due_ns(now_ns) > now_ns, "the next one is not");
            prop_assert_eq!(pace.due(now_ns), 0);
        }
    }

    #[test]
    fn odd_rates_do_not_drift() {
        let mut pace = Pace::new(7);
        pace.due_ns(0);
        pace.take(7 * 3_600 * 24 * 365);
        assert_eq!(pace.due_ns(0), 3_600 * 24 * 365 * 1_000_000_000);
    }

    #[test]
    fn who_falls_behind_catches_up_one_second_and_no_more() {
        let mut pace = Pace::new(1_000);
        assert_eq!(pace.due(0), 1);
        pace.take(1);
        assert_eq!(pace.due(3_600_000_000_000), 1_001);
        pace.take(1_001);
        assert_eq!(pace.due_ns(3_600_000_000_000), 3_600_001_000_000);
    }
}
