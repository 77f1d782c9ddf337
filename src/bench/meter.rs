//! What is counted of what is received, and how late it came.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::surges::Surges;

/// The latest that a latency is told apart from the longest, nanoseconds: a minute.
const LATENCY_NS_MAX: u64 = 60_000_000_000;
/// Slices of the measured time at the most.
const SLICES_MAX: u64 = 300;
/// The shortest slice, nanoseconds.
const SLICE_NS_MIN: u64 = 100_000_000;
/// A silence counts as one where it is longer than both this, nanoseconds, ...
const SILENCE_NS: u64 = 10_000_000;
/// ...and so many times the usual time from one message to the next.
const SILENCE_MESSAGES: u64 = 50;
/// Values that make up for one silence at the most; beyond, each stands for several messages.
const SILENCE_VALUES_MAX: u64 = 10_000;

/// What must not be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// Times that sequences were missing without having been declared lost.
    pub gaps: u64,
    /// How many were.
    pub missing: u64,
    /// Messages that came again, or late.
    pub repeated: u64,
    /// Checksums that were not those of the book held.
    pub checksums: u64,
}

/// A part of the measured time.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub frames: u64,
    pub messages: u64,
    pub bytes: u64,
    pub latency: Histogram<u64>,
}

/// What one thread has counted of a group of connections. Outside of the measured time only faults count.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    pub frames: u64,
    pub messages: u64,
    /// Payloads of frames.
    pub bytes: u64,
    /// Sequences that messages carried.
    pub delivered: u64,
    /// Sequences that messages covered without carrying them.
    pub merged: u64,
    /// Sequences declared lost.
    pub lost: u64,
    pub snapshots: u64,
    pub checksums: u64,
    pub faults: Faults,
    /// From the publish stamp to receipt.
    pub published: Histogram<u64>,
    /// From when it was due to receipt.
    pub due: Histogram<u64>,
    pub parts: Vec<Part>,
    /// Where there is a schedule.
    pub surges: Surges,
    /// Whether the event time is when a message was due.
    has_schedule: bool,
    /// The measured time, nanoseconds since the Unix epoch.
    window: Option<(u64, u64)>,
    slice_ns: u64,
    /// Whether what comes now counts.
    is_open: bool,
    /// When something was heard last.
    heard_ns: u64,
    /// Payload bytes of the message at hand as it came, where it was compressed or not.
    came: Option<usize>,
    /// Messages alike: publish time, event time, time of receipt, and how many.
    alike: (u64, u64, u64, u64),
}

fn histogram(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, digits).expect("the bounds are in order")
}

impl Meter {
    pub fn new(has_schedule: bool) -> Meter {
        Meter {
            frames: 0,
            messages: 0,
            bytes: 0,
            delivered: 0,
            merged: 0,
            lost: 0,
            snapshots: 0,
            checksums: 0,
            faults: Faults::default(),
            published: histogram(3),
            due: histogram(3),
            parts: Vec::new(),
            surges: Surges::default(),
            has_schedule,
            window: None,
            slice_ns: SLICE_NS_MIN,
            is_open: false,
            heard_ns: 0,
            came: None,
            alike: (0, 0, 0, 0),
        }
    }

    /// Counts what is received from `start_ns` on, for so long.
    pub fn measure(&mut self, start_ns: u64, duration: Duration) {
        let length_ns = duration.as_nanos() as u64;
        self.window = Some((start_ns, start_ns + length_ns));
        self.slice_ns = SLICE_NS_MIN.max(length_ns.div_ceil(SLICES_MAX));
    }

    /// What follows was received at that time. `sees_silence`: whoever reads was waiting for it.
    pub fn at(&mut self, now_ns: u64, sees_silence: bool) {
        let was_open = self.is_open;
        self.is_open = self.window.is_some_and(|(start, end)| (start..end).contains(&now_ns));
        let Some((start_ns, _)) = self.window.filter(|_| self.is_open) else { return };
        let slice = ((now_ns - start_ns) / self.slice_ns) as usize;
        while self.parts.len() <= slice {
            self.parts.push(Part { frames: 0, messages: 0, bytes: 0, latency: histogram(2) });
        }
        if was_open && sees_silence && !self.has_schedule {
            self.silence(now_ns, start_ns);
        }
        self.heard_ns = now_ns;
    }

    /// A server that stands still publishes nothing that could be late. The messages that were to be expected meanwhile
    /// count as having waited for its end.
    fn silence(&mut self, now_ns: u64, start_ns: u64) {
        let silence_ns = now_ns.saturating_sub(self.heard_ns);
        let gap_ns = (self.heard_ns - start_ns) / self.messages.max(1);
        if self.messages < SILENCE_MESSAGES || silence_ns < SILENCE_NS.max(SILENCE_MESSAGES * gap_ns) {
            return;
        }
        let step_ns = gap_ns.max(silence_ns / SILENCE_VALUES_MAX).max(1);
        let weight = step_ns / gap_ns.max(1);
        let mut waited_ns = silence_ns;
        while waited_ns > step_ns {
            waited_ns -= step_ns;
            self.due.saturating_record_n(waited_ns, weight.max(1));
        }
    }

    /// A message came, with so many payload bytes before anything was inflated.
    #[inline]
    pub fn payload_came(&mut self, bytes: usize) {
        self.came = Some(bytes);
    }

    /// A frame of market data came; `bytes` is its payload, unless [`Meter::payload_came`] said otherwise.
    #[inline]
    pub fn frame(&mut self, bytes: usize) {
        let bytes = self.came.take().unwrap_or(bytes);
        if let Some(part) = self.parts.last_mut().filter(|_| self.is_open) {
            self.frames += 1;
            self.bytes += bytes as u64;
            part.frames += 1;
            part.bytes += bytes as u64;
        }
    }

    /// A message came that is no snapshot.
    #[inline]
    pub fn message(&mut self, sent_ns: u64, ts_ns: u64, now_ns: u64, carried: u64, merged: u64) {
        if !self.is_open {
            return;
        }
        self.messages += 1;
        self.delivered += carried;
        self.merged += merged;
        let (sent, ts, now, count) = &mut self.alike;
        if (*sent, *ts, *now) == (sent_ns, ts_ns, now_ns) {
            *count += 1;
        } else {
            self.settle();
            self.alike = (sent_ns, ts_ns, now_ns, 1);
        }
    }

    /// Records the messages that were alike.
    pub fn settle(&mut self) {
        let (sent_ns, ts_ns, now_ns, count) = std::mem::take(&mut self.alike);
        if count == 0 {
            return;
        }
        // Clocks of two processes may differ by a moment.
        let published_ns = now_ns.saturating_sub(sent_ns).max(1);
        let due_ns = if self.has_schedule { now_ns.saturating_sub(ts_ns).max(1) } else { published_ns };
        self.published.saturating_record_n(published_ns, count);
        self.due.saturating_record_n(due_ns, count);
        if let Some((start_ns, _)) = self.window.filter(|_| self.has_schedule) {
            self.surges.record(start_ns, ts_ns, now_ns, count);
        }
        if let Some(part) = self.parts.last_mut() {
            part.messages += count;
            part.latency.saturating_record_n(due_ns, count);
        }
    }

    /// Adds what another thread has counted in the same time.
    pub fn add(&mut self, other: Meter) {
        let Meter { frames, messages, bytes, delivered, merged, lost, snapshots, checksums, .. } = other;
        self.frames += frames;
        self.messages += messages;
        self.bytes += bytes;
        self.delivered += delivered;
        self.merged += merged;
        self.lost += lost;
        self.snapshots += snapshots;
        self.checksums += checksums;
        self.faults.gaps += other.faults.gaps;
        self.faults.missing += other.faults.missing;
        self.faults.repeated += other.faults.repeated;
        self.faults.checksums += other.faults.checksums;
        self.slice_ns = self.slice_ns.max(other.slice_ns);
        self.published.add(other.published).expect("the bounds are the same");
        self.due.add(other.due).expect("the bounds are the same");
        self.surges.add(&other.surges);
        for (index, part) in other.parts.into_iter().enumerate() {
            match self.parts.get_mut(index) {
                Some(mine) => {
                    mine.frames += part.frames;
                    mine.messages += part.messages;
                    mine.bytes += part.bytes;
                    mine.latency.add(part.latency).expect("the bounds are the same");
                }
                None => self.parts.push(part),
            }
        }
    }

    /// How long a part is.
    pub fn slice(&self) -> Duration {
        Duration::from_nanos(self.slice_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn measuring(has_schedule: bool) -> Meter {
        let mut meter = Meter::new(has_schedule);
        meter.measure(1_000 * MS, Duration::from_secs(10));
        meter
    }

    #[test]
    fn only_the_measured_time_counts() {
        let mut meter = measuring(false);
        for now_ms in [999, 1_000, 10_999, 11_000] {
            meter.at(now_ms * MS, true);
            meter.frame(100);
            meter.message((now_ms - 1) * MS, 0, now_ms * MS, 1, 2);
            meter.settle();
        }
        assert_eq!((meter.frames, meter.messages, meter.bytes), (2, 2, 200));
        assert_eq!((meter.delivered, meter.merged), (2, 4));
        assert_eq!((meter.parts.len(), meter.parts[0].frames, meter.parts[99].messages), (100, 1, 1));
    }

    #[test]
    fn a_message_that_was_due_long_before_it_was_published_is_late() {
        let mut meter = measuring(true);
        meter.at(2_000 * MS, true);
        for _ in 0..3 {
            meter.message(1_999 * MS, 1_900 * MS, 2_000 * MS, 1, 0);
        }
        meter.settle();
        assert_eq!(meter.published.value_at_quantile(0.5) / MS, 1);
        assert_eq!((meter.due.value_at_quantile(0.5) / MS, meter.due.len()), (100, 3));
    }

    #[test]
    fn a_silence_of_a_server_without_schedule_counts_for_what_it_held_up() {
        let mut meter = measuring(false);
        let mut hear = |now_ms: u64, sees| {
            meter.at(now_ms * MS, sees);
            meter.message(now_ms * MS - 50_000, 0, now_ms * MS, 1, 0);
            meter.settle();
        };
        (1_000..2_000).for_each(|now_ms| hear(now_ms, true));
        hear(2_100, true);
        (2_101..3_000).for_each(|now_ms| hear(now_ms, true));
        // About 100 messages were to be expected, and waited 50 ms on average.
        assert_eq!(meter.published.max() / 1_000, 50);
        assert!((95..=101).contains(&(meter.due.len() - meter.published.len())), "{}", meter.due.len());
        assert!((90..=100).contains(&(meter.due.value_at_quantile(0.999) / MS)));
        let before = meter.due.len();
        meter.at(3_200 * MS, false);
        assert_eq!(meter.due.len(), before, "who was not waiting knows of no silence");
    }

    #[test]
    fn what_several_threads_count_adds_up() {
        let mut sum = measuring(false);
        for n in 1..4 {
            let mut meter = measuring(false);
            meter.at((1_000 + 50 * n) * MS, true);
            meter.frame(10);
            meter.message(0, 0, n, 1, 1);
            meter.settle();
            meter.faults.missing += n;
            sum.add(meter);
        }
        assert_eq!((sum.frames, sum.messages, sum.faults.missing, sum.published.len()), (3, 3, 6, 3));
        assert_eq!((sum.parts.len(), sum.parts[0].frames), (2, 1));
    }
}
