//! Moments as people write them: RFC 3339, or nanoseconds since the Unix epoch.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What [`parse_time_ns`] takes, for error messages.
pub const TIME_FORMS: &str = "a time from 1970 to 2554 such as 2023-12-25T00:00:00Z or 2023-12-25T00:00:00.5+01:00, or \
    nanoseconds since 1970 (today 19 digits; 10, 13 or 16 digits are taken for seconds, milliseconds or microseconds, and \
    refused)";

/// Digits of today's seconds, milliseconds and microseconds since 1970. As nanoseconds they are days of 1970.
const OTHER_UNITS_DIGITS: [usize; 3] = [10, 13, 16];

/// Reads a moment as nanoseconds since the Unix epoch. `None` where it is neither form, before 1970 or after the year
/// 2554, or a number that is more likely of another unit.
pub fn parse_time_ns(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return (!OTHER_UNITS_DIGITS.contains(&text.len())).then(|| text.parse().ok()).flatten();
    }
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp_nanos()).ok()
}

/// A moment, nanoseconds since the Unix epoch, as RFC 3339 in UTC.
pub fn rfc3339(ns: u64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ns))
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .expect("every u64 of nanoseconds is before the year 2555")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_exactly() {
        for (text, ns) in [
            ("0", 0),
            ("18446744073709551615", u64::MAX),
            ("1970-01-01T00:00:00.000000001Z", 1),
            ("1970-01-01T00:00:01.703545200Z", 1_703_545_200),
            ("1703545200000000000", 1_703_545_200_000_000_000),
            ("2023-12-25T01:00:00.5+01:00", 1_703_462_400_500_000_000),
        ] {
            assert_eq!(parse_time_ns(text), Some(ns), "{text}");
        }
        assert_eq!(parse_time_ns(&rfc3339(1_703_422_805_243_925_307)), Some(1_703_422_805_243_925_307));
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for text in [
            "",
            "-1",
            "1.5",
            "18446744073709551616",
            "2023-12-25",
            "1703545200",
            "1703545200000",
            "1703545200000000",
            "1969-12-31T23:59:59Z",
            "9999-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_time_ns(text), None, "{text}");
        }
    }
}
