//! Times as settings and flags write them.

use std::time::Duration;

/// What [`duration`] takes, in words. The examples lie in the range of most settings.
pub const DURATION_ALLOWED: &str =
    "a number with ms, s, m, h or d, such as 250ms, 1.5s or 10m; without a unit seconds";

/// A time of a year at the most: a number with at most three decimals and a unit (`ms`, `s`, `m`, `h`, `d`; none: `s`).
pub fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().position(|byte| !byte.is_ascii_digit() && byte != b'.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let thousandths = u64::try_from(crate::model::parse_decimal(number, -3)?).ok()?;
    let microseconds = thousandths.checked_mul(unit_ms)?;
    let year = Duration::from_secs(366 * 86_400);
    Some(Duration::from_micros(microseconds)).filter(|time| *time <= year)
}

/// As [`duration`] takes it.
pub(super) fn written(time: Duration) -> String {
    let milliseconds = time.as_millis();
    if milliseconds.is_multiple_of(1_000) {
        format!("{}s", milliseconds / 1_000)
    } else if time.subsec_nanos().is_multiple_of(1_000_000) {
        format!("{milliseconds}ms")
    } else {
        let microseconds = time.as_micros();
        format!("{}.{:03}ms", microseconds / 1_000, microseconds % 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact_and_read_back_as_they_are_written() {
        for (text, ms) in
            [("250ms", 250), ("1", 1_000), ("1.5s", 1_500), ("10m", 600_000), ("24h", 86_400_000), ("0", 0)]
        {
            let time = duration(text).unwrap();
            assert_eq!(time, Duration::from_millis(ms), "{text}");
            assert_eq!(duration(&written(time)), Some(time), "{text}");
        }
        let odd = Duration::from_micros(1_234);
        assert_eq!((duration("1.234ms"), duration(&written(odd))), (Some(odd), Some(odd)));
        for text in
            ["", "s", "-1s", "1 s", "1.2345s", "1w", "1e3", "NaN", "400d", "99999999999999999999s", "."]
        {
            assert_eq!(duration(text), None, "{text:?}");
        }
    }
}
