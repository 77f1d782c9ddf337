//! Lengths of time as settings write them.

use crate::model::{Decimal, parse_decimal};

/// Each unit in nanoseconds; `ms` before those whose letter it ends with.
const UNITS: [(&str, i128); 4] =
    [("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000)];

/// Nanoseconds of a number with a unit: `500ms`, `1.5s`, `2m`, `1h`. `None`: it is none, is negative, or has a part of
/// a nanosecond.
pub(super) fn parse_duration_ns(text: &str) -> Option<u64> {
    let (number, unit_ns) = UNITS.iter().find_map(|(unit, ns)| Some((text.strip_suffix(unit)?, ns)))?;
    let billionths = i128::from(parse_decimal(number, -9)?) * unit_ns;
    u64::try_from(billionths / 1_000_000_000).ok().filter(|_| billionths % 1_000_000_000 == 0)
}

/// The same as text, in seconds.
pub(super) fn duration(ns: u64) -> String {
    format!("{}s", Decimal::new(i64::try_from(ns).unwrap_or(i64::MAX), -9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, ns) in [
            ("500ms", 500_000_000),
            ("1.5s", 1_500_000_000),
            ("2m", 120_000_000_000),
            ("0.5h", 1_800_000_000_000),
        ] {
            assert_eq!(parse_duration_ns(text), Some(ns), "{text}");
            assert_eq!(parse_duration_ns(&duration(ns)), Some(ns));
        }
        for text in ["", "5", "s", "-1s", "1 s", "1d", "1e3s", "0.0000001ms", "9999999999h", "NaNs"] {
            assert_eq!(parse_duration_ns(text), None, "{text}");
        }
    }
}
