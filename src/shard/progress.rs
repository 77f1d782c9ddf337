//! What a client says it has received. A browser tab that chokes never pushes back through TCP: only this shows it.

use std::collections::VecDeque;

use crate::limits;

/// The messages handed over to a client that reports, and when.
#[derive(Debug, Default)]
pub struct Progress {
    /// As last reported.
    received: u64,
    /// (messages handed over, monotonic nanoseconds when so many had been), the oldest first: only those that have not
    /// been reported.
    marks: VecDeque<(u64, u64)>,
    /// Whether its reports are late, as of the last look.
    pub is_late: bool,
}

impl Progress {
    /// The client reports; what is less than before says nothing new.
    pub fn report(&mut self, received: u64) {
        self.received = self.received.max(received);
        while self.marks.front().is_some_and(|(handed, _)| *handed <= self.received) {
            self.marks.pop_front();
        }
        self.is_late &= !self.marks.is_empty();
    }

    /// So many have been handed over by now.
    pub fn mark(&mut self, handed: u64, now_ns: u64) {
        let newest = self.marks.back().map_or(self.received, |(handed, _)| *handed);
        // A full list keeps its oldest marks: they are what the lag is measured by.
        if handed > newest && self.marks.len() < limits::PROGRESS_MARKS_MAX {
            self.marks.push_back((handed, now_ns));
        }
    }

    /// How long the oldest message that was not reported has been handed over, nanoseconds; 0: there is none.
    pub fn lag_ns(&self, now_ns: u64) -> u64 {
        self.marks.front().map_or(0, |(_, at_ns)| now_ns.saturating_sub(*at_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_the_age_of_the_oldest_message_not_reported() {
        let mut progress = Progress::default();
        progress.report(5);
        assert_eq!(progress.lag_ns(100), 0);
        progress.mark(5, 100);
        assert_eq!(progress.lag_ns(200), 0, "all reported");
        progress.mark(8, 200);
        progress.mark(8, 300);
        progress.mark(9, 400);
        assert_eq!(progress.lag_ns(1_000), 800);
        progress.report(7);
        progress.report(3);
        assert_eq!(progress.lag_ns(1_000), 800, "8 is not reported");
        progress.report(8);
        assert_eq!(progress.lag_ns(1_000), 600);
        progress.report(9);
        assert_eq!(progress.lag_ns(1_000), 0);
    }

    #[test]
    fn the_marks_of_a_client_that_never_reports_are_bounded() {
        let mut progress = Progress::default();
        for handed in 1..10_000 {
            progress.mark(handed, handed * 1_000);
        }
        assert_eq!(progress.marks.len(), limits::PROGRESS_MARKS_MAX);
        assert_eq!(progress.lag_ns(10_000_000), 10_000_000 - 1_000, "the oldest stays");
        progress.report(10_000);
        assert_eq!(progress.lag_ns(10_000_000), 0);
    }
}
