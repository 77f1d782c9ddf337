//! Dates and times of US markets: the wall clock of New York, in recordings that count from midnight.

use time::{Date, Duration, Month, Time, UtcDateTime, UtcOffset, Weekday};

use super::ImportError;

const NANOSECONDS_PER_DAY: u64 = 86_400_000_000_000;

/// Standard and daylight saving time.
const STANDARD: i8 = -5;
const DAYLIGHT: i8 = -4;

/// The day of a recording that says none.
const EPOCH: Date = UtcDateTime::UNIX_EPOCH.date();

/// The day of a recording: the one that was given, or the one in its name. Where there is neither, the first day of
/// 1970, and a note that says so; `format` is what says no day.
pub(super) fn day(given: Option<Date>, name: &str, format: &str) -> (Date, Option<String>) {
    match given.or_else(|| date_in_name(name)) {
        Some(date) => (date, None),
        None => {
            let note =
                format!("{name} has no date in its name, and {format} none inside: {EPOCH} is assumed");
            (EPOCH, Some(note))
        }
    }
}

/// Nanoseconds since the Unix epoch of midnight in New York. The offset is the one in force at noon: of the two Sundays
/// in a year on which the clock is set, without any market, the early morning is an hour off.
pub(super) fn midnight_ns(date: Date, path: &str) -> Result<u64, ImportError> {
    let offset = UtcOffset::from_hms(if is_daylight_saving(date) { DAYLIGHT } else { STANDARD }, 0, 0);
    let midnight =
        offset.ok().map(|offset| date.with_time(Time::MIDNIGHT).assume_offset(offset).unix_timestamp_nanos());
    midnight.and_then(|midnight| u64::try_from(midnight).ok()).ok_or_else(|| ImportError::Unsupported {
        path: path.to_owned(),
        thing: "the date",
        found: date.to_string(),
        allowed: "1970-01-01 to 2554-07-20",
    })
}

/// The time of so many nanoseconds after midnight; the error says what is wrong with them.
pub(super) fn time_ns(midnight_ns: u64, after_midnight_ns: u64) -> Result<u64, String> {
    if after_midnight_ns >= NANOSECONDS_PER_DAY {
        return Err(format!(
            "time {after_midnight_ns} ns after midnight; allowed: less than {NANOSECONDS_PER_DAY}"
        ));
    }
    midnight_ns.checked_add(after_midnight_ns).ok_or_else(|| "a time after the year 2554".into())
}

/// Whether the clocks of New York show daylight saving time at noon. Since 2007 (Energy Policy Act of 2005, section
/// 110) from the second Sunday in March to the first in November; from 1987 on from the first Sunday in April to the
/// last in October. No recording of these formats is older.
fn is_daylight_saving(date: Date) -> bool {
    let year = date.year();
    let (first, end) = if year >= 2007 {
        (sunday(year, Month::March, 8), sunday(year, Month::November, 1))
    } else {
        (sunday(year, Month::April, 1), sunday(year, Month::October, 25))
    };
    matches!((first, end), (Some(first), Some(end)) if first <= date && date < end)
}

/// The first Sunday on or after that day.
fn sunday(year: i32, month: Month, day: u8) -> Option<Date> {
    let from = Date::from_calendar_date(year, month, day).ok()?;
    let days = (7 - from.weekday().number_days_from_sunday()) % 7;
    let sunday = from.checked_add(Duration::days(days.into()))?;
    debug_assert_eq!(sunday.weekday(), Weekday::Sunday);
    Some(sunday)
}

/// The date in a file's name: `2012-06-21`, `20120621`, or as Nasdaq names its files `06212012` and `S062112`. `None`
/// where there is none.
fn date_in_name(name: &str) -> Option<Date> {
    let bytes = name.as_bytes();
    let number = |from: usize, length: usize| name.get(from..from + length)?.parse::<u16>().ok();
    let date = |year: Option<u16>, month: Option<u16>, day: Option<u16>| {
        let month = Month::try_from(u8::try_from(month?).ok()?).ok()?;
        let date = Date::from_calendar_date(year?.into(), month, u8::try_from(day?).ok()?).ok()?;
        (1970..=2100).contains(&date.year()).then_some(date)
    };
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    for from in (0..bytes.len()).filter(|at| is_digit(*at) && (*at == 0 || !is_digit(*at - 1))) {
        let digits = (from..).take_while(|at| is_digit(*at)).count();
        let found = match digits {
            8 => date(number(from, 4), number(from + 4, 2), number(from + 6, 2))
                .or_else(|| date(number(from + 4, 4), number(from, 2), number(from + 2, 2))),
            6 if from > 0 && bytes[from - 1] == b'S' => {
                let year = number(from + 4, 2).map(|year| 2000 + year);
                date(year, number(from, 2), number(from + 2, 2))
            }
            4 if bytes.get(from + 4) == Some(&b'-') && bytes.get(from + 7) == Some(&b'-') => {
                date(number(from, 4), number(from + 5, 2), number(from + 8, 2))
            }
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(year: i32, month: u8, day: u8) -> Date {
        Date::from_calendar_date(year, Month::try_from(month).unwrap(), day).unwrap()
    }

    #[test]
    fn midnight_in_new_york_is_four_or_five_hours_after_utc() {
        for ((year, month, day), hours) in [
            // The days before and on which the clock was set, from the tz database.
            ((2012, 6, 21), 4),
            ((2019, 1, 30), 5),
            ((2019, 3, 9), 5),
            ((2019, 3, 10), 4),
            ((2019, 11, 2), 4),
            ((2019, 11, 3), 5),
            ((2020, 3, 8), 4),
            ((2020, 3, 7), 5),
            ((2020, 10, 31), 4),
            ((2020, 11, 1), 5),
            ((2026, 3, 7), 5),
            ((2026, 3, 8), 4),
            ((2006, 4, 1), 5),
            ((2006, 4, 2), 4),
            ((2006, 10, 28), 4),
            ((2006, 10, 29), 5),
            ((1970, 1, 1), 5),
        ] {
            let date = date(year, month, day);
            let utc = date.midnight().assume_utc().unix_timestamp_nanos() as u64;
            assert_eq!(midnight_ns(date, "in").unwrap(), utc + hours * 3_600_000_000_000, "{date}");
        }
        let error = midnight_ns(date(1969, 7, 1), "in").unwrap_err().to_string();
        assert_eq!(error, "in: the date is 1969-07-01; allowed: 1970-01-01 to 2554-07-20");
    }

    #[test]
    fn a_day_has_24_hours() {
        assert_eq!(time_ns(5, 7), Ok(12));
        assert_eq!(
            time_ns(0, NANOSECONDS_PER_DAY).unwrap_err(),
            "time 86400000000000 ns after midnight; allowed: less than 86400000000000"
        );
        assert!(time_ns(u64::MAX, 1).is_err());
    }

    #[test]
    fn dates_are_found_in_names() {
        for (name, expected) in [
            ("01302019.NASDAQ_ITCH50.gz", Some((2019, 1, 30))),
            ("S081321-v50.txt.gz", Some((2021, 8, 13))),
            ("20190130.BX_ITCH_50", Some((2019, 1, 30))),
            ("ritch_ex20101224.itch", Some((2010, 12, 24))),
            ("AAPL_2012-06-21_34200000_57600000_message_10.csv", Some((2012, 6, 21))),
            ("AAPL_34200000_57600000.csv", None),
            ("x081321", None),
            ("201901305", None),
            ("99999999", None),
            ("2019-13-01", None),
            ("2019-1", None),
            ("2019-é1-01", None),
            ("", None),
        ] {
            let expected = expected.map(|(year, month, day)| date(year, month, day));
            assert_eq!(date_in_name(name), expected, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_name_has_a_date_or_none(name in "([0-9]{1,9}|[-_Sé]){0,6}") {
            date_in_name(&name);
        }
    }
}
