//! How often a client may ask: a token bucket for requests, another for pings and pongs.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::rc::Rc;

use governor::clock::Clock;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::limits;

/// The time of a shard as it was last told, monotonic nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Time(Rc<Cell<u64>>);

impl Time {
    /// Time has passed.
    pub fn set(&self, now_ns: u64) {
        self.0.set(now_ns);
    }

    /// What was said last, in nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.0.get()
    }
}

impl Clock for Time {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.get().into()
    }
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, Time, governor::middleware::NoOpMiddleware<Nanos>>;

/// What one client may still send.
#[derive(Debug)]
pub struct Rates {
    /// `None`: as much as it likes.
    requests: Option<Bucket>,
    controls: Bucket,
}

impl Rates {
    /// Of a client that may send so many requests a second; 0: any number.
    pub fn new(requests_per_second: u32, time: &Time) -> Rates {
        let bucket = |per_second: NonZeroU32| {
            let burst = per_second.saturating_mul(limits::RATE_BURST_SECONDS);
            Bucket::direct_with_clock(Quota::per_second(per_second).allow_burst(burst), time.clone())
        };
        Rates {
            requests: NonZeroU32::new(requests_per_second).map(bucket),
            controls: bucket(limits::CONTROL_RATE),
        }
    }

    /// Takes a request; `false` where it is one too many.
    pub fn take_request(&self) -> bool {
        self.requests.as_ref().is_none_or(|bucket| bucket.check().is_ok())
    }

    /// Takes a ping or a pong; `false` where it is one too many.
    pub fn take_control(&self) -> bool {
        self.controls.check().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn a_burst_passes_and_then_so_many_a_second() {
        let time = Time::default();
        let rates = Rates::new(100, &time);
        let taken = |at_ns: u64| {
            time.set(at_ns);
            (0..1_000_000).take_while(|_| rates.take_request()).count()
        };
        let burst = 100 * limits::RATE_BURST_SECONDS.get() as usize;
        assert_eq!(taken(0), burst);
        assert_eq!(taken(SECOND_NS / 100 - 1), 0);
        assert_eq!(taken(SECOND_NS), 100);
        assert_eq!(taken(3 * SECOND_NS), 200);
        assert_eq!(taken(3_600 * SECOND_NS), burst, "no more is saved up");
        let controls = (0..1_000_000).take_while(|_| rates.take_control()).count();
        assert_eq!(controls as u32, limits::CONTROL_RATE.get() * limits::RATE_BURST_SECONDS.get());
    }

    #[test]
    fn without_a_limit_there_is_none_for_requests() {
        let rates = Rates::new(0, &Time::default());
        assert!((0..100_000).all(|_| rates.take_request()));
        assert!(!(0..100_000).all(|_| rates.take_control()));
    }
}
