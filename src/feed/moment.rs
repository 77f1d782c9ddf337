//! Moments as people write them.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What [`parse_time_ns`] takes, in words.
pub const TIME_ALLOWED: &str =
    "a time such as 2023-12-25T23:00:00Z (RFC 3339), or nanoseconds since the Unix epoch";

/// Nanoseconds since the Unix epoch of a moment, written as RFC 3339 (with up to nine decimals) or as that number.
/// `None`: neither, or before 1970 or after 2554.
pub fn parse_time_ns(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp_nanos()).ok()
}

/// A moment as RFC 3339 writes it.
pub fn rfc3339(time_ns: u64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time_ns))
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .expect("every u64 of nanoseconds is before the year 2555")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_as_it_is_written_or_as_a_number() {
        for (text, time_ns) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2023-12-25T23:00:00Z", 1_703_545_200_000_000_000),
            ("2023-12-26T00:00:00+01:00", 1_703_545_200_000_000_000),
            ("2023-12-25T23:00:00.000000001Z", 1_703_545_200_000_000_001),
            ("1703545200000000000", 1_703_545_200_000_000_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_time_ns(text), Some(time_ns), "{text}");
            assert_eq!(parse_time_ns(&rfc3339(time_ns)), Some(time_ns));
        }
        for text in
            ["", "-1", "noon", "2023-12-25", "2023-12-25T23:00:00", "18446744073709551616", "1e9", "1.5"]
        {
            assert_eq!(parse_time_ns(text), None, "{text}");
        }
        assert_eq!(parse_time_ns("1969-12-31T23:59:59Z"), None, "before the epoch");
        assert_eq!(parse_time_ns("9999-12-31T23:59:59Z"), None);
    }
}
