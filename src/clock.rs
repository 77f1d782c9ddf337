//! The only reader of time. Everything below the shell takes `now` as an argument.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A monotonic clock and the wall clock, read together.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    start_unix_ns: u64,
}

impl Clock {
    /// A clock whose monotonic time starts at 0 now.
    pub fn start() -> Clock {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { start: Instant::now(), start_unix_ns: since_1970.as_nanos() as u64 }
    }

    /// Monotonic nanoseconds since the start.
    pub fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Nanoseconds since the Unix epoch: the wall clock at the start, carried on by the monotonic clock, so that
    /// publish stamps of one run never step back.
    pub fn unix_ns(&self) -> u64 {
        self.start_unix_ns + self.now_ns()
    }
}
