//! Exact decimals: every price and quantity is an integer times a power of ten, and is printed and read as such.

use std::borrow::Cow;
use std::fmt;

/// A value that is not there: the price and quantity of an empty side, a last price before the first trade.
pub const ABSENT: i64 = i64::MIN;

/// The largest power of ten, up or down, that a number's own exponent may be.
const OWN_EXPONENT_MAX: usize = 36;

/// One price level: what now stands there (0: nothing). The same 16 bytes in memory and on the wire.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
    bincode::Encode,
    bincode::Decode,
)]
#[repr(C)]
pub struct Level {
    /// Price.
    pub price: i64,
    /// Quantity.
    pub quantity: i64,
}

/// `mantissa * 10^exponent`, printed exactly and without trailing zeros (`481025e-2` prints `4810.25`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// The integer.
    pub mantissa: i64,
    /// The power of ten, -18..=18.
    pub exponent: i8,
}

impl Decimal {
    /// The decimal of an integer at an exponent.
    pub const fn new(mantissa: i64, exponent: i8) -> Decimal {
        Decimal { mantissa, exponent }
    }

    /// Appends the decimal as text: no exponent, no trailing zero after the point, no allocation of its own.
    pub fn write(self, out: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        if self.exponent >= 0 {
            out.extend_from_slice(digits.format(self.mantissa).as_bytes());
            if self.mantissa != 0 {
                out.resize(out.len() + self.exponent as usize, b'0');
            }
            return;
        }
        let mut magnitude = self.mantissa.unsigned_abs();
        let mut places = usize::from(self.exponent.unsigned_abs());
        while places > 0 && magnitude.is_multiple_of(10) {
            magnitude /= 10;
            places -= 1;
        }
        if self.mantissa < 0 {
            out.push(b'-');
        }
        let text = digits.format(magnitude).as_bytes();
        if text.len() > places {
            let (whole, fraction) = text.split_at(text.len() - places);
            out.extend_from_slice(whole);
            if places > 0 {
                out.push(b'.');
                out.extend_from_slice(fraction);
            }
        } else {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + places - text.len(), b'0');
            out.extend_from_slice(text);
        }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(24);
        self.write(&mut text);
        f.pad(std::str::from_utf8(&text).expect("a decimal is ASCII"))
    }
}

/// Reads a decimal such as `-12.50` as an integer at `exponent`. `None` where it is no plain decimal, has more places
/// than the exponent holds, or does not fit in an i64.
pub fn parse_decimal(text: &str, exponent: i8) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let well_formed = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !well_formed(whole) || !well_formed(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    // The value is `whole fraction * 10^-places`; shift it to the wanted exponent.
    let shift = -(fraction.len() as i32) - i32::from(exponent);
    let mut mantissa: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        mantissa = mantissa.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    let power = 10_i128.checked_pow(shift.unsigned_abs())?;
    let scaled = if shift >= 0 {
        mantissa.checked_mul(power)?
    } else if mantissa % power == 0 {
        mantissa / power
    } else {
        return None;
    };
    i64::try_from(if negative { -scaled } else { scaled }).ok()
}

/// A decimal without an exponent of its own: `1.5e-7`, as JavaScript writes small numbers, becomes `0.00000015`. `None`
/// where it is no decimal, or its exponent is beyond 36: no number of 64 bits at an exponent of -18 to 18 needs more.
pub fn plain_decimal(text: &str) -> Option<Cow<'_, str>> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let Some(exponent) = exponent else { return Some(Cow::Borrowed(text)) };
    let (down, power) = match exponent.strip_prefix('-') {
        Some(power) => (true, power),
        None => (false, exponent.strip_prefix('+').unwrap_or(exponent)),
    };
    if !power.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let power: usize = power.parse().ok().filter(|power| *power <= OWN_EXPONENT_MAX)?;
    let plain = if down {
        let padded = format!("{}{whole}", "0".repeat(power.saturating_sub(whole.len() - 1)));
        let (before, after) = padded.split_at(padded.len() - power);
        format!("{sign}{before}.{after}{fraction}")
    } else {
        let padded = format!("{fraction}{}", "0".repeat(power.saturating_sub(fraction.len())));
        let (before, after) = padded.split_at(power);
        format!("{sign}{whole}{before}.{after}")
    };
    Some(Cow::Owned(plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prints_exactly_and_without_trailing_zeros() {
        for (mantissa, exponent, text) in [
            (481025, -2, "4810.25"),
            (481000, -2, "4810"),
            (481050, -2, "4810.5"),
            (0, -9, "0"),
            (1, -8, "0.00000001"),
            (-5, -1, "-0.5"),
            (-120, -1, "-12"),
            (7, 3, "7000"),
            (0, 3, "0"),
            (i64::MAX, -9, "9223372036.854775807"),
            (i64::MIN, -18, "-9.223372036854775808"),
        ] {
            assert_eq!(Decimal::new(mantissa, exponent).to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_no_plain_decimal_or_does_not_fit() {
        for text in [
            "",
            "-",
            ".",
            ".5",
            "1e3",
            "+1",
            " 1",
            "1.2.3",
            "0x1",
            "1,5",
            "99999999999999999999999999999999999999999",
        ] {
            assert_eq!(parse_decimal(text, -2), None, "{text}");
        }
        assert_eq!(parse_decimal("1.005", -2), None, "more places than the exponent holds");
        assert_eq!(parse_decimal("1.500", -1), Some(15));
        assert_eq!(parse_decimal("7000", 3), Some(7));
        assert_eq!(parse_decimal("7001", 3), None);
    }

    #[test]
    fn exponents_of_numbers_are_resolved() {
        for (text, expected) in [
            ("1.5e-7", Some("0.00000015")),
            ("1e-8", Some("0.00000001")),
            ("-12.5E+1", Some("-125.")),
            ("1.25e1", Some("12.5")),
            ("3e2", Some("300.")),
            ("123.4e-2", Some("1.234")),
            ("12", Some("12")),
            ("1e19", Some("10000000000000000000.")),
            ("1e37", None),
            ("1e99999999999999999999", None),
            ("1e", None),
            ("1e+-1", None),
            ("e5", None),
            ("x.e5", None),
            ("NaN", None),
            ("", None),
            ("1,5", None),
            ("1e5e5", None),
        ] {
            assert_eq!(plain_decimal(text).as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn shifting_back_and_forth_changes_no_value(
            mantissa in -1_000_000_000_i64..1_000_000_000, places in 0_i8..=9, power in 0_i8..=9
        ) {
            let text = Decimal::new(mantissa, -places).to_string();
            let down = plain_decimal(&format!("{text}e-{power}")).unwrap().into_owned();
            prop_assert_eq!(parse_decimal(&down, -18), parse_decimal(&text, -18 + power));
            let up = plain_decimal(&format!("{text}e{power}")).unwrap().into_owned();
            prop_assert_eq!(parse_decimal(&up, -9), parse_decimal(&text, -9 - power));
        }

        #[test]
        fn an_exponent_of_its_own_changes_no_value(mantissa in any::<i64>(), exponent in -18_i8..=18) {
            let digits = mantissa.unsigned_abs().to_string();
            let sign = if mantissa < 0 { "-" } else { "" };
            let (first, rest) = digits.split_at(1);
            let power = rest.len() as i32 + i32::from(exponent);
            // As JSON writers print them: all digits and one digit before the point, with signs and zeros.
            for text in [
                format!("{sign}{digits}e{exponent}"),
                format!("{sign}{first}.{rest}0E{power:+03}"),
            ] {
                let plain = plain_decimal(&text).unwrap();
                prop_assert_eq!(parse_decimal(&plain, exponent), Some(mantissa), "{}", text);
            }
        }

        #[test]
        fn reads_back_what_it_prints(mantissa in any::<i64>(), exponent in -18_i8..=18) {
            let text = Decimal::new(mantissa, exponent).to_string();
            prop_assert_eq!(parse_decimal(&text, exponent), Some(mantissa));
        }
    }
}
