//! When to draw. No clock: `now` is an argument.

/// Nanoseconds between two drawings: thirty a second, no more.
pub(super) const FRAME_NS: u64 = 1_000_000_000_u64.div_ceil(30);

/// Draws what has changed, at most once in [`FRAME_NS`], and nothing where nothing has.
#[derive(Debug, Default)]
pub(super) struct Pace {
    drawn_ns: Option<u64>,
    changed: bool,
}

impl Pace {
    /// What is drawn is not what is so any more.
    pub fn change(&mut self) {
        self.changed = true;
    }

    /// How long to wait before drawing, in nanoseconds; `None`: there is nothing to draw.
    pub fn wait_ns(&self, now_ns: u64) -> Option<u64> {
        let from_ns = self.drawn_ns.map_or(0, |drawn_ns| drawn_ns + FRAME_NS);
        self.changed.then(|| from_ns.saturating_sub(now_ns))
    }

    /// Everything was drawn as it is now.
    pub fn drawn(&mut self, now_ns: u64) {
        self.drawn_ns = Some(now_ns);
        self.changed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_changes_a_second_are_thirty_drawings() {
        let mut pace = Pace::default();
        let mut drawings = 0;
        for now_ns in (0..1_000_000_000).step_by(1_000_000) {
            pace.change();
            if pace.wait_ns(now_ns) == Some(0) {
                pace.drawn(now_ns);
                drawings += 1;
            }
        }
        assert!((29..=30).contains(&drawings), "{drawings}");
    }

    #[test]
    fn the_first_change_is_drawn_at_once_the_next_after_a_frame_and_none_without_one() {
        let mut pace = Pace::default();
        assert_eq!(pace.wait_ns(0), None);
        pace.change();
        assert_eq!(pace.wait_ns(7), Some(0));
        pace.drawn(7);
        assert_eq!(pace.wait_ns(1 << 40), None, "nothing changed");
        pace.change();
        assert_eq!(pace.wait_ns(7), Some(FRAME_NS));
        assert_eq!(pace.wait_ns(7 + FRAME_NS), Some(0));
        assert_eq!(pace.wait_ns(1 << 40), Some(0));
    }
}
