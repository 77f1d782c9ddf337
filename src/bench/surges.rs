//! How long a server is behind after a surge: a time in which much more is due than usual.

/// Length of a slot, nanoseconds.
const SLOT_NS: u64 = 10_000_000;
/// Slots at the most: what is due later than after ten minutes of measuring is not looked at.
const SLOTS_MAX: usize = 60_000;
/// In a surge each slot has so many times the messages of the median slot, ...
const FACTOR: u64 = 4;
/// ...and so many follow each other.
const SLOTS_MIN: usize = 5;

/// The messages that were due within one slot.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    messages: u64,
    /// When the last of them was due, nanoseconds since the Unix epoch.
    due_ns: u64,
    /// When the last of them to come had come.
    received_ns: u64,
}

/// Messages by when they were due.
#[derive(Clone, Debug, Default)]
pub(super) struct Surges {
    slots: Vec<Slot>,
}

impl Surges {
    /// So many messages that were due then have come, where measuring began at `start_ns`.
    pub fn record(&mut self, start_ns: u64, due_ns: u64, received_ns: u64, messages: u64) {
        let Some(since_ns) = due_ns.checked_sub(start_ns) else { return };
        let slot = (since_ns / SLOT_NS) as usize;
        if slot >= SLOTS_MAX {
            return;
        }
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, Slot::default());
        }
        self.slots[slot].add(Slot { messages, due_ns, received_ns });
    }

    /// Adds what another thread has seen of the same time.
    pub fn add(&mut self, other: &Surges) {
        if self.slots.len() < other.slots.len() {
            self.slots.resize(other.slots.len(), Slot::default());
        }
        for (mine, slot) in self.slots.iter_mut().zip(&other.slots) {
            mine.add(*slot);
        }
    }

    /// Of each surge, in order: nanoseconds from when its last message was due until all of it had come. One that measuring
    /// ended in is left out.
    pub fn caught_up_ns(&self) -> Vec<u64> {
        let mut counts: Vec<u64> = self.slots.iter().map(|slot| slot.messages).collect();
        counts.sort_unstable();
        let usual = counts.get(counts.len() / 2).copied().unwrap_or(0);
        let mut runs: Vec<&[Slot]> = self
            .slots
            .chunk_by(|a, b| (a.messages > FACTOR * usual) == (b.messages > FACTOR * usual))
            .collect();
        // What goes on at the end is not known to be over.
        runs.pop();
        let surges = runs.iter().filter(|run| run.len() >= SLOTS_MIN && run[0].messages > FACTOR * usual);
        surges.map(|run| run.iter().fold(Slot::default(), |sum, slot| sum.and(*slot)).behind_ns()).collect()
    }
}

impl Slot {
    fn and(mut self, other: Slot) -> Slot {
        self.add(other);
        self
    }

    fn add(&mut self, other: Slot) {
        self.messages += other.messages;
        self.due_ns = self.due_ns.max(other.due_ns);
        self.received_ns = self.received_ns.max(other.received_ns);
    }

    fn behind_ns(self) -> u64 {
        self.received_ns.saturating_sub(self.due_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const START: u64 = 5_000 * MS;

    /// A message each millisecond for so long, received `late` (by when it was due, ms) after it was due; ten times as many
    /// where `surges` says so.
    fn heard(ms: u64, surges: impl Fn(u64) -> bool, late: impl Fn(u64) -> u64) -> Surges {
        let mut seen = Surges::default();
        for at in 0..ms {
            let due_ns = START + at * MS;
            seen.record(START, due_ns, due_ns + late(at) * MS, if surges(at) { 10 } else { 1 });
        }
        seen
    }

    #[test]
    fn each_surge_is_caught_up_with_when_its_last_message_has_come() {
        // The second keeps the server busy for 70 ms, what comes after it too.
        let late = |at: u64| match at % 2_000 {
            1_000..1_300 => 70 - (at % 1_000) / 5,
            _ => 2,
        };
        let seen = heard(3_900, |at| at % 1_000 < 200, late);
        // Of the second surge the last message due (1,199) comes 31 ms late, the first one 70 ms late, before the last.
        assert_eq!(seen.caught_up_ns(), [2, 31, 2, 31].map(|ms| ms * MS));
    }

    #[test]
    fn what_is_usual_and_what_is_short_is_no_surge() {
        assert!(heard(2_000, |_| false, |_| 100).caught_up_ns().is_empty());
        assert!(heard(2_000, |at| at % 1_000 < 40, |_| 100).caught_up_ns().is_empty(), "40 ms");
        assert!(heard(0, |_| true, |_| 1).caught_up_ns().is_empty(), "nothing came");
        assert!(heard(1_900, |at| at >= 1_800, |_| 1).caught_up_ns().is_empty(), "it is not over");
        // Once a second, all that there is: the median slot is empty.
        let mut seldom = Surges::default();
        (0..5).for_each(|s| seldom.record(START, START + s * 1_000 * MS, START + s * 1_001 * MS, 9));
        assert!(seldom.caught_up_ns().is_empty());
    }

    #[test]
    fn threads_add_up_and_what_was_due_before_or_much_later_does_not_count() {
        let mut one = heard(1_000, |at| at < 200, |_| 3);
        let other = heard(1_100, |at| at < 200, |_| 9);
        one.add(&other);
        assert_eq!(one.caught_up_ns(), [9 * MS]);
        one.record(START, START - 1, START + 500 * MS, 1_000);
        one.record(START, START + SLOTS_MAX as u64 * SLOT_NS, u64::MAX, 1_000);
        assert_eq!((one.caught_up_ns(), one.slots.len()), (vec![9 * MS], 110));
    }
}
