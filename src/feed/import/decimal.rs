//! Decimals as recordings write them, before it is known at which exponent they will be held.

use std::borrow::Cow;

/// The largest power of ten, up or down, that a number's own exponent may have.
const POWER_MAX: usize = 18;

/// A decimal without an exponent of its own: `1.5e-7`, as JavaScript writes small numbers, becomes `0.00000015`. `None`
/// where it is no decimal, or its exponent is beyond 18.
pub(super) fn plain(text: &str) -> Option<Cow<'_, str>> {
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
    let power: usize = power.parse().ok().filter(|power| *power <= POWER_MAX)?;
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

/// The power of ten at which a plain decimal is an integer, 0 or below; `None` below -18.
pub(super) fn exponent(plain: &str) -> Option<i8> {
    let decimals = plain.split_once('.').map_or(0, |(_, fraction)| fraction.trim_end_matches('0').len());
    (decimals <= POWER_MAX).then_some(-(decimals as i8))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Decimal, parse_decimal};

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
            ("1e19", None),
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
            assert_eq!(plain(text).as_deref(), expected, "{text}");
        }
        assert_eq!(exponent("0.00000015"), Some(-8));
        assert_eq!(exponent("12.50"), Some(-1));
        assert_eq!(exponent("12"), Some(0));
        assert_eq!(exponent(&format!("0.{}1", "0".repeat(18))), None);
    }

    proptest! {
        #[test]
        fn shifting_back_and_forth_changes_no_value(
            mantissa in -1_000_000_000_i64..1_000_000_000, places in 0_i8..=9, power in 0_i8..=9
        ) {
            let text = Decimal::new(mantissa, -places).to_string();
            let down = plain(&format!("{text}e-{power}")).unwrap().into_owned();
            prop_assert_eq!(parse_decimal(&down, -18), parse_decimal(&text, -18 + power));
            let up = plain(&format!("{text}e{power}")).unwrap().into_owned();
            prop_assert_eq!(parse_decimal(&up, -9), parse_decimal(&text, -9 - power));
        }

        #[test]
        fn any_text_is_taken_or_refused(text in "[-+0-9.eE]{0,40}|.{0,20}") {
            if let Some(plain) = plain(&text) {
                let _ = (exponent(&plain), parse_decimal(&plain, -18));
            }
        }
    }
}
