//! The sequence of one stream, and the rule that finds what is missing (`docs/protocol.md`, "Sequences").

/// Where the client stands in one stream (instrument, channel) of the current epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    /// Levels a side of a book view; `None`: all, and every channel that is no book.
    pub depth: Option<u32>,
    /// Milliseconds between updates; 0: each.
    pub interval_ms: u32,
    /// Last sequence held.
    pub last: u64,
    /// Whether state is held that changes can be applied to. If not, only a snapshot counts.
    pub ready: bool,
    /// Whether this connection granted it; a stream of an earlier one keeps `last`, to tell what was missed.
    pub granted: bool,
    /// Sequence up to which a heartbeat called the view complete: beyond `last` where what happened in between lies
    /// outside the view. It never makes a message old.
    complete: u64,
}

/// What a message is to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It follows, perhaps with an overlap.
    Next,
    /// All of it is held already.
    Old,
    /// These sequences are missing before it.
    Gap {
        /// First one.
        from: u64,
        /// Last one.
        to: u64,
    },
}

impl Stream {
    /// A stream granted now, at sequence `last`.
    pub fn new(depth: Option<u32>, interval_ms: u32, last: u64, ready: bool) -> Stream {
        Stream { depth, interval_ms, last, ready, granted: true, complete: last }
    }

    /// Holding `last`, a client accepts `first <= last + 1 <= last_seq`, discards `last_seq <= last`, and takes
    /// anything else for a gap.
    pub fn check(&self, first_seq: u64, last_seq: u64) -> Verdict {
        let complete = self.last.max(self.complete);
        if last_seq <= self.last {
            Verdict::Old
        } else if first_seq <= complete.saturating_add(1) {
            Verdict::Next
        } else {
            Verdict::Gap { from: complete.saturating_add(1), to: first_seq - 1 }
        }
    }

    /// Now everything up to `last` is held (or known to be lost). A snapshot may step back.
    pub fn hold(&mut self, last: u64) {
        self.last = last;
        self.complete = last;
    }

    /// The server calls the stream complete up to `seq`. A full stream has a message for every sequence, so one that
    /// ends before `seq` has lost its tail; a view (of some depth, or with an interval) leaves out what lies outside.
    pub fn heartbeat(&mut self, seq: u64) -> Verdict {
        if seq <= self.last {
            Verdict::Old
        } else if self.depth.is_some() || self.interval_ms > 0 {
            self.complete = self.complete.max(seq);
            Verdict::Next
        } else {
            Verdict::Gap { from: self.last.saturating_add(1), to: seq }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The oracle is the rule as the protocol states it, in numbers that cannot overflow.
        #[test]
        fn a_message_follows_is_old_or_shows_a_gap(
            last in prop_oneof![0_u64..20, Just(u64::MAX), Just(u64::MAX - 1)],
            first_seq in prop_oneof![0_u64..25, Just(u64::MAX)],
            last_seq in prop_oneof![0_u64..25, Just(u64::MAX)],
        ) {
            let (next, first, end) = (u128::from(last) + 1, u128::from(first_seq), u128::from(last_seq));
            let expected = if first <= next && next <= end {
                Verdict::Next
            } else if end < next {
                Verdict::Old
            } else {
                Verdict::Gap { from: last + 1, to: first_seq - 1 }
            };
            prop_assert_eq!(Stream::new(None, 0, last, true).check(first_seq, last_seq), expected);
        }
    }

    #[test]
    fn a_heartbeat_ahead_of_a_full_stream_is_a_lost_tail() {
        let mut full = Stream::new(None, 0, 5, true);
        assert_eq!(full.heartbeat(4), Verdict::Old);
        assert_eq!(full.heartbeat(5), Verdict::Old);
        assert_eq!(full.heartbeat(8), Verdict::Gap { from: 6, to: 8 });
    }

    #[test]
    fn a_heartbeat_ahead_of_a_view_says_that_nothing_visible_happened() {
        for mut view in [Stream::new(Some(10), 0, 5, true), Stream::new(None, 100, 5, true)] {
            assert_eq!(view.heartbeat(8), Verdict::Next);
            assert_eq!(view.check(9, 9), Verdict::Next, "no gap after what the heartbeat covers");
            assert_eq!(view.check(6, 8), Verdict::Next, "what comes late is not taken for old");
            assert_eq!(view.check(10, 11), Verdict::Gap { from: 9, to: 9 });
            view.hold(9);
            assert_eq!(view.check(6, 9), Verdict::Old);
        }
    }
}
