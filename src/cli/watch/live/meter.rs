//! Messages a second and their latency, over the last seconds. No clock: `now` is an argument.

use std::collections::VecDeque;

use crate::limits;

/// Nanoseconds of one count of messages.
const SLOT_NS: u64 = 250_000_000;
/// Counts that make the rate: the last whole second.
const RATE_SLOTS: u64 = 4;
/// Nanoseconds over which latencies are looked at.
const WINDOW_NS: u64 = 5_000_000_000;

/// What the meter says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// Messages in the last whole second.
    pub rate: u64,
    /// Half of the latencies are at most this, and 99 of 100 at most that: microseconds. `None`: no message in the
    /// last five seconds.
    pub latency_us: Option<(u64, u64)>,
}

/// Counts messages and keeps their latencies.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Messages in each slot that had any: number of the slot (time over [`SLOT_NS`]), count. Oldest first.
    slots: VecDeque<(u64, u64)>,
    /// When a message came, and its latency in microseconds. Oldest first; at most
    /// [`limits::WATCH_LATENCIES_MAX`], so that at high rates the window is shorter.
    latencies: VecDeque<(u64, u64)>,
}

impl Meter {
    /// A message came; its latency is that from publishing to now, where that can be told.
    pub fn message(&mut self, now_ns: u64, latency_ns: Option<u64>) {
        let slot = now_ns / SLOT_NS;
        match self.slots.back_mut() {
            Some((last, count)) if *last >= slot => *count += 1,
            _ => self.slots.push_back((slot, 1)),
        }
        self.forget(now_ns);
        if let Some(latency_ns) = latency_ns {
            if self.latencies.len() >= limits::WATCH_LATENCIES_MAX {
                self.latencies.pop_front();
            }
            self.latencies.push_back((now_ns, latency_ns / 1_000));
        }
    }

    /// The figures as of now.
    pub fn figures(&mut self, now_ns: u64) -> Figures {
        self.forget(now_ns);
        let this = now_ns / SLOT_NS;
        let rate = self.slots.iter().filter(|(slot, _)| *slot < this).map(|(_, count)| count).sum();
        let mut sorted: Vec<u64> = self.latencies.iter().map(|(_, latency)| *latency).collect();
        sorted.sort_unstable();
        // The nearest rank: the least value that so many of a hundred do not exceed.
        let percentile =
            |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1).copied();
        Figures { rate, latency_us: percentile(50).zip(percentile(99)) }
    }

    /// Starts anew: another instrument, another connection.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.latencies.clear();
    }

    fn forget(&mut self, now_ns: u64) {
        let oldest = (now_ns / SLOT_NS).saturating_sub(RATE_SLOTS);
        while self.slots.front().is_some_and(|(slot, _)| *slot < oldest) {
            self.slots.pop_front();
        }
        while self.latencies.front().is_some_and(|(at, _)| at + WINDOW_NS < now_ns) {
            self.latencies.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_rate_is_that_of_the_last_whole_second_and_falls_to_nothing() {
        let mut meter = Meter::default();
        for at in 0..3_000 {
            meter.message(at * MS, None);
        }
        assert_eq!(meter.figures(3_000 * MS).rate, 1_000);
        assert_eq!(meter.figures(3_500 * MS).rate, 500);
        assert_eq!(meter.figures(4_000 * MS).rate, 0);
        assert_eq!(meter.figures(3_000 * MS), Figures::default(), "what is forgotten stays forgotten");
    }

    #[test]
    fn latencies_are_those_of_the_last_five_seconds() {
        let mut meter = Meter::default();
        assert_eq!(meter.figures(0).latency_us, None);
        meter.message(0, Some(9 * MS));
        assert_eq!(meter.figures(0).latency_us, Some((9_000, 9_000)));
        for n in 1..=100 {
            meter.message(1_000 * MS, Some(n * 1_000));
        }
        assert_eq!(
            meter.figures(5_000 * MS).latency_us,
            Some((51, 100)),
            "101 of them, the slowest is beyond p99"
        );
        assert_eq!(meter.figures(6_000 * MS).latency_us, Some((50, 99)));
        assert_eq!(meter.figures(6_001 * MS).latency_us, None);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut meter = Meter::default();
        for n in 0..limits::WATCH_LATENCIES_MAX as u64 + 10 {
            meter.message(5, Some(n * 1_000));
        }
        assert_eq!(meter.latencies.len(), limits::WATCH_LATENCIES_MAX);
        assert_eq!(meter.latencies.front().map(|(_, latency)| *latency), Some(10), "the oldest go first");
        for second in 0..1_000 {
            meter.message(second * 1_000 * MS, None);
        }
        assert!(meter.slots.len() <= RATE_SLOTS as usize + 1);
    }
}
