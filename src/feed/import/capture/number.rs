//! Decimals whose places are learnt as they come: exchanges send them as text, and say nowhere how many places an
//! instrument's numbers have.

use std::cmp::Ordering;
use std::fmt;

use crate::feed::import::decimal;
use crate::model::{Decimal, parse_decimal, plain_decimal};

/// Places after the point that a number may have, trailing zeros apart.
const PLACES_MAX: u8 = 18;

/// An exact decimal, `mantissa * 10^-places`, with the zeros that its text had at the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    mantissa: i64,
    places: u8,
    /// Zeros at the end of the places, which the value does not need.
    zeros: u8,
}

impl Number {
    /// Reads a decimal that is not negative; the error says what is allowed.
    pub fn parse(text: &str) -> Result<Number, String> {
        let number = || {
            let plain = plain_decimal(text)?;
            let exponent = decimal::exponent(&plain)?;
            let mantissa = parse_decimal(&plain, exponent).filter(|mantissa| *mantissa >= 0)?;
            let places = exponent.unsigned_abs();
            let written = plain.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            let zeros = u8::try_from(written - usize::from(places)).ok()?;
            Some(Number { mantissa, places, zeros })
        };
        number().ok_or_else(|| format!("number {text:?}; allowed: decimals from 0 on that fit in 64 bits"))
    }

    /// Whether it is 0.
    pub fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    /// The digits of its text as one integer: the point and what stands before the first digit that is not 0 left out.
    pub fn digits(self) -> i128 {
        // More zeros than these were no number that an exchange sends; the value is the same without them.
        i128::from(self.mantissa) * 10_i128.pow(u32::from(self.zeros.min(PLACES_MAX)))
    }

    /// The digits where it is written with that many places, trailing zeros among them; as it is where it has more.
    pub fn digits_at(self, places: u8) -> i128 {
        let zeros = places.saturating_sub(self.places);
        i128::from(self.mantissa) * 10_i128.pow(u32::from(zeros.min(PLACES_MAX)))
    }

    /// Places after the point in its text.
    pub fn places_written(self) -> u8 {
        self.places.saturating_add(self.zeros)
    }

    /// As an integer that orders numbers of different places.
    fn scaled(self) -> i128 {
        i128::from(self.mantissa) * 10_i128.pow(u32::from(PLACES_MAX - self.places))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Decimal::new(self.mantissa, -(self.places as i8)).fmt(f)
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Number) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Number) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Number) -> Ordering {
        self.scaled().cmp(&other.scaled())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_the_digits_that_were_written() {
        for (text, digits, shown) in [
            ("0.043020", 43_020, "0.04302"),
            ("56060.30000", 5_606_030_000, "56060.3"),
            ("30", 30, "30"),
            ("45285.2", 452_852, "45285.2"),
            ("0.00000000", 0, "0"),
            ("1e-8", 1, "0.00000001"),
        ] {
            let number = Number::parse(text).unwrap();
            assert_eq!((number.digits(), number.to_string()), (digits, shown.to_owned()), "{text}");
        }
        assert!(Number::parse("0.00000000").unwrap().is_zero());
    }

    #[test]
    fn numbers_are_ordered_by_value_whatever_their_places() {
        let number = |text| Number::parse(text).unwrap();
        assert!(number("9.9") < number("10"));
        assert!(number("0.000000000000000001") > number("0"));
        assert_eq!(number("1.50"), number("1.5"));
        assert!(number("9223372036854775807") > number("9223372036854775806"));
    }

    #[test]
    fn what_is_no_decimal_or_does_not_fit_is_refused() {
        let (nines, zeros) = ("9".repeat(400), format!("1.{}", "0".repeat(300)));
        for text in [
            "",
            "-1",
            "1e400",
            "NaN",
            "inf",
            "1.2.3",
            " 1",
            "+1",
            "0x10",
            "0.0000000000000000001",
            &nines,
            &zeros,
        ] {
            let error = Number::parse(text).unwrap_err();
            assert!(error.contains("allowed: decimals from 0 on"), "{error}");
        }
    }
}
