//! Round moments on an axis of time, and how they are written.

use time::OffsetDateTime;

const MILLISECOND_NS: u64 = 1_000_000;
const SECOND_NS: u64 = 1_000 * MILLISECOND_NS;
const MINUTE_NS: u64 = 60 * SECOND_NS;
const HOUR_NS: u64 = 60 * MINUTE_NS;
const DAY_NS: u64 = 24 * HOUR_NS;
/// Marks that an axis has room for.
const MARKS_MAX: u64 = 9;

/// Moments that people count by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Between two of them, nanoseconds.
    step_ns: u64,
    /// Nanoseconds since the Unix epoch.
    pub times_ns: Vec<u64>,
}

impl Marks {
    /// The round moments of a span, at most nine: whole days, hours, minutes, seconds or parts of them, in UTC.
    pub fn of(start_ns: u64, end_ns: u64) -> Marks {
        let span_ns = end_ns.saturating_sub(start_ns);
        let step_ns = steps().find(|step_ns| span_ns / step_ns < MARKS_MAX).unwrap_or(u64::MAX);
        let first = start_ns.div_ceil(step_ns);
        let times = (first..).map_while(|number| number.checked_mul(step_ns));
        Marks { step_ns, times_ns: times.take_while(|time_ns| *time_ns <= end_ns).collect() }
    }

    /// A moment as it is written: as far as the marks differ, midnight as the day.
    pub fn text(&self, time_ns: u64) -> String {
        let Some(time) = moment(time_ns) else { return String::new() };
        let (hour, minute, second) = time.to_hms();
        if time_ns.is_multiple_of(DAY_NS) {
            return time.date().to_string();
        }
        if self.step_ns >= MINUTE_NS {
            return format!("{hour:02}:{minute:02}");
        }
        let whole = format!("{hour:02}:{minute:02}:{second:02}");
        let places =
            (0..9).find(|places| self.step_ns.is_multiple_of(SECOND_NS / 10_u64.pow(*places))).unwrap_or(9);
        if places == 0 {
            return whole;
        }
        let fraction = format!("{:09}", time.nanosecond());
        format!("{whole}.{}", &fraction[..places as usize])
    }
}

/// The day of a moment, in UTC.
pub fn day(time_ns: u64) -> String {
    moment(time_ns).map_or_else(String::new, |time| time.date().to_string())
}

fn moment(time_ns: u64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time_ns)).ok()
}

/// The distances that marks may have, the smallest first.
fn steps() -> impl Iterator<Item = u64> {
    let parts = (0..9).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)));
    let clock =
        [SECOND_NS, MINUTE_NS].into_iter().flat_map(|unit| [1, 2, 5, 10, 15, 30].map(|count| count * unit));
    let hours = [1, 2, 3, 6, 12].map(|count| count * HOUR_NS);
    let days = (0..5).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power) * DAY_NS));
    parts.chain(clock).chain(hours).chain(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2023-12-24T22:00:13Z.
    const START_NS: u64 = 1_703_455_213 * SECOND_NS;

    fn marks(start_ns: u64, span_ns: u64) -> (usize, Vec<String>) {
        let marks = Marks::of(start_ns, start_ns + span_ns);
        let texts = marks.times_ns.iter().map(|time_ns| marks.text(*time_ns));
        (marks.times_ns.len(), texts.collect())
    }

    #[test]
    fn marks_are_at_round_times_however_long_the_span_is() {
        for (span_ns, first, second) in [
            (3 * MILLISECOND_NS, "22:00:13.0000", "22:00:13.0005"),
            (4 * SECOND_NS, "22:00:13.0", "22:00:13.5"),
            (50 * SECOND_NS, "22:00:20", "22:00:30"),
            (100 * MINUTE_NS, "22:15", "22:30"),
            (7 * HOUR_NS, "23:00", "2023-12-25"),
            (36 * HOUR_NS, "2023-12-25", "06:00"),
            (5 * DAY_NS, "2023-12-25", "2023-12-26"),
            (1_000 * DAY_NS, "2024-03-18", "2024-10-04"),
        ] {
            let (count, texts) = marks(START_NS, span_ns);
            assert!((2..=9).contains(&count), "{span_ns}: {texts:?}");
            assert_eq!((texts[0].as_str(), texts[1].as_str()), (first, second), "{texts:?}");
        }
    }

    #[test]
    fn a_span_without_length_and_the_longest_have_marks_too() {
        assert_eq!(marks(DAY_NS, 0).1, ["1970-01-02"]);
        assert!(marks(0, u64::MAX).0 <= 9);
        assert_eq!(marks(START_NS + 1, 0).0, 1, "each nanosecond is one");
    }
}
