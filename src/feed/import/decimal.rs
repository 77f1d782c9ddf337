//! Decimals as recordings write them, before it is known at which exponent they will be held.

/// Places after the point that a number may have, trailing zeros apart.
const PLACES_MAX: usize = 18;

/// The power of ten at which a plain decimal is an integer, 0 or below; `None` below -18.
pub(super) fn exponent(plain: &str) -> Option<i8> {
    let decimals = plain.split_once('.').map_or(0, |(_, fraction)| fraction.trim_end_matches('0').len());
    (decimals <= PLACES_MAX).then_some(-(decimals as i8))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{parse_decimal, plain_decimal};

    #[test]
    fn the_power_is_that_of_the_last_digit_that_counts() {
        assert_eq!(exponent("0.00000015"), Some(-8));
        assert_eq!(exponent("12.50"), Some(-1));
        assert_eq!(exponent("12"), Some(0));
        assert_eq!(exponent(&format!("0.{}1", "0".repeat(18))), None);
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "[-+0-9.eE]{0,40}|.{0,20}") {
            if let Some(plain) = plain_decimal(&text) {
                let _ = (exponent(&plain), parse_decimal(&plain, -18));
            }
        }
    }
}
