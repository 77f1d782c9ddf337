//! How fast a market runs.

use std::fmt;
use std::str::FromStr;

use crate::limits;
use crate::model::{Decimal, parse_decimal};

/// How many ticks a second a simulated market gives, over all its symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// So many, 1 to [`limits::RATE_MAX`].
    PerSecond(u64),
    /// As many as whoever takes them can take.
    Max,
}

/// How fast a replay goes: 0.1 to 1000 times the recording, in steps of 0.001, or as fast as it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    /// Thousandths of real time; 0: no waiting at all.
    thousandths: u32,
}

/// Not a speed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("speed {0:?} is not allowed; a speed is 0.1 to 1000 with at most three decimals, or \"max\"")]
pub struct SpeedError(pub String);

impl Speed {
    /// As recorded.
    pub const NORMAL: Speed = Speed { thousandths: 1_000 };
    /// As fast as it is taken.
    pub const MAX: Speed = Speed { thousandths: 0 };
}

impl FromStr for Speed {
    type Err = SpeedError;

    fn from_str(text: &str) -> Result<Speed, SpeedError> {
        if text == "max" {
            return Ok(Speed::MAX);
        }
        parse_decimal(text, -3)
            .and_then(|thousandths| u32::try_from(thousandths).ok())
            .filter(|thousandths| limits::SPEED_THOUSANDTHS.contains(thousandths))
            .map(|thousandths| Speed { thousandths })
            .ok_or_else(|| SpeedError(text.into()))
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.thousandths {
            0 => f.pad("max"),
            thousandths => Decimal::new(i64::from(thousandths), -3).fmt(f),
        }
    }
}

/// Reads a rate: ticks a second, or `max`.
pub(super) fn parse_rate(text: &str) -> Option<Rate> {
    match text {
        "max" => Some(Rate::Max),
        _ => text.parse().ok().filter(|rate| (1..=limits::RATE_MAX).contains(rate)).map(Rate::PerSecond),
    }
}

/// A rate as settings write it.
pub fn rate_text(rate: Rate) -> String {
    match rate {
        Rate::PerSecond(rate) => rate.to_string(),
        Rate::Max => "max".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_read_and_written_exactly() {
        for text in ["0.1", "1", "2.5", "1000", "0.125", "max"] {
            assert_eq!(
                text.parse::<Speed>().unwrap().to_string().parse(),
                Ok(text.parse::<Speed>().unwrap())
            );
        }
        assert_eq!("1.0".parse(), Ok(Speed::NORMAL));
        assert_eq!("max".parse(), Ok(Speed::MAX));
        for text in ["", "0", "0.099", "1000.001", "-1", "1e3", "fast", "inf", "NaN", "0.1234", "MAX", " 1"] {
            assert_eq!(text.parse::<Speed>(), Err(SpeedError(text.into())));
        }
    }

    #[test]
    fn a_rate_is_a_whole_number_in_bounds_or_max() {
        for text in ["1", "20000", "1000000000", "max"] {
            assert_eq!(parse_rate(text).map(rate_text).as_deref(), Some(text));
        }
        for text in ["", "0", "-1", "1.5", "1000000001", "99999999999999999999", "fast"] {
            assert_eq!(parse_rate(text), None, "{text:?}");
        }
    }
}
