//! How long to wait before connecting again. No clock and no socket: the caller waits.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Exponential backoff with full jitter: attempt `n` (from 0) waits a time drawn evenly from 0 to
/// `min(max, base * 2^n)`, so that clients that were cut off together do not come back together.
///
/// Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    /// Delays given since the last [`Backoff::reset`].
    attempts: u32,
    random: Pcg64,
}

impl Backoff {
    /// Backoff from `base` up to `max`; one seed gives one row of delays.
    pub fn new(base: Duration, max: Duration, seed: u64) -> Backoff {
        Backoff { base, max, attempts: 0, random: Pcg64::seed_from_u64(seed) }
    }

    /// The longest that the next delay may be, what the server asks for aside.
    pub fn ceiling(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.max)
    }

    /// The next delay. What the server asked for (`Retry-After`) is added whole, below the jitter.
    pub fn delay(&mut self, asked: Option<Duration>) -> Duration {
        let ceiling_us = u64::try_from(self.ceiling().as_micros()).unwrap_or(u64::MAX);
        self.attempts = self.attempts.saturating_add(1);
        let jitter = Duration::from_micros(self.random.random_range(0..=ceiling_us));
        asked.unwrap_or_default().saturating_add(jitter)
    }

    /// A connection held: the next delay starts at the base again.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn delays_stay_below_a_ceiling_that_doubles_up_to_the_maximum(
            base_ms in 0_u64..5_000,
            max_ms in 0_u64..120_000,
            seed in any::<u64>(),
        ) {
            let (base, max) = (Duration::from_millis(base_ms), Duration::from_millis(max_ms));
            let mut backoff = Backoff::new(base, max, seed);
            let mut oracle_ms = base_ms;
            for _ in 0..70 {
                prop_assert_eq!(backoff.ceiling(), Duration::from_millis(oracle_ms.min(max_ms)));
                prop_assert!(backoff.delay(None) <= Duration::from_millis(oracle_ms.min(max_ms)));
                oracle_ms = oracle_ms.saturating_mul(2).min(max_ms);
            }
            backoff.reset();
            prop_assert_eq!(backoff.ceiling(), base.min(max));
        }

        #[test]
        fn what_the_server_asks_for_is_a_floor(asked_s in 0_u64..300, seed in any::<u64>()) {
            let asked = Duration::from_secs(asked_s);
            let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30), seed);
            let delay = backoff.delay(Some(asked));
            prop_assert!(delay >= asked && delay <= asked + Duration::from_millis(250));
        }
    }

    #[test]
    fn one_seed_gives_one_row_of_delays_and_another_seed_another() {
        let delays = |seed| {
            let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30), seed);
            (0..8).map(|_| backoff.delay(None)).collect::<Vec<_>>()
        };
        assert_eq!(delays(1), delays(1));
        assert_ne!(delays(1), delays(2));
    }
}
