//! Decimals of one column: instruments differ in their exponents, a column has one.

use crate::feed::export::ExportError;
use crate::feed::export::selection::Chosen;
use crate::model::Instrument;

/// Digits that a decimal of Parquet may have where all readers take it: those of 128 bits.
pub(super) const DIGITS_MAX: u32 = 38;
/// Digits that an integer price or quantity may have.
const OWN_DIGITS: u32 = i64::MAX.ilog10() + 1;

/// What decimals of a file look like: the same in all of its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scales {
    pub price: Scale,
    pub quantity: Scale,
}

/// What the decimals of a column look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scale {
    /// Digits behind the point.
    pub places: u32,
    /// Digits in all.
    pub digits: u32,
}

impl Scales {
    /// Such that every value that the chosen instruments can have is exact.
    pub fn of(chosen: &Chosen, file: &str) -> Result<Scales, ExportError> {
        let instruments: Vec<&Instrument> = chosen.instruments().map(|(_, instrument)| instrument).collect();
        let scale = |of: &str, exponent: fn(&Instrument) -> i8| {
            Scale::of(&instruments, exponent).map_err(|(symbol, problem)| ExportError::Unfit {
                file: file.to_owned(),
                symbol,
                problem: format!("its {of} {problem}"),
            })
        };
        Ok(Scales {
            price: scale("prices", |instrument| instrument.price_exponent)?,
            quantity: scale("quantities", |instrument| instrument.quantity_exponent)?,
        })
    }
}

impl Scale {
    /// As many places as the finest needs. An error is the instrument that does not fit in with it, and why.
    fn of(instruments: &[&Instrument], exponent: fn(&Instrument) -> i8) -> Result<Scale, (String, String)> {
        let by_exponent = |instrument: &&&Instrument| exponent(instrument);
        let finest = instruments.iter().min_by_key(by_exponent);
        let coarsest = instruments.iter().max_by_key(by_exponent);
        let (Some(finest), Some(coarsest)) = (finest, coarsest) else {
            return Ok(Scale { places: 0, digits: OWN_DIGITS });
        };
        let places = u32::from(exponent(finest).min(0).unsigned_abs());
        let digits = OWN_DIGITS + zeros(exponent(coarsest), places);
        if digits > DIGITS_MAX {
            let (coarse, fine) = (exponent(coarsest), exponent(finest));
            return Err((
                coarsest.symbol.clone(),
                format!(
                    "are in units of 1e{coarse}, and those of {} in units of 1e{fine}: a column for both needs {digits} digits, and \
                     Parquet has {DIGITS_MAX}; choose with --symbols",
                    finest.symbol
                ),
            ));
        }
        Ok(Scale { places, digits })
    }

    /// What an integer at that exponent is to be multiplied with.
    pub fn factor(self, exponent: i8) -> i128 {
        10_i128.pow(zeros(exponent, self.places))
    }
}

/// Zeros that an integer at that exponent gets where there are so many places.
fn zeros(exponent: i8, places: u32) -> u32 {
    places.saturating_add_signed(i32::from(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ChannelSet;

    fn instrument(symbol: &str, price_exponent: i8) -> Instrument {
        Instrument {
            symbol: symbol.into(),
            price_exponent,
            quantity_exponent: 0,
            tick_size: 1,
            lot_size: 1,
            channels: ChannelSet::EMPTY,
            book_depth: 0,
            source_id: 0,
        }
    }

    fn scale(exponents: &[i8]) -> Result<Scale, (String, String)> {
        let instruments: Vec<Instrument> =
            exponents.iter().map(|exponent| instrument(&format!("A{exponent}"), *exponent)).collect();
        Scale::of(&instruments.iter().collect::<Vec<_>>(), |instrument| instrument.price_exponent)
    }

    #[test]
    fn every_value_of_every_instrument_is_exact() {
        for (exponents, places, digits) in [
            (&[][..], 0, 19),
            (&[-2], 2, 19),
            (&[3], 0, 22),
            (&[-9, -2], 9, 26),
            (&[-9, 0, 3], 9, 31),
            (&[-18, 1], 18, 38),
        ] {
            let found = scale(exponents).unwrap();
            assert_eq!(found, Scale { places, digits }, "{exponents:?}");
            for exponent in exponents {
                for extreme in [i64::MAX, -i64::MAX] {
                    let value = i128::from(extreme) * found.factor(*exponent);
                    assert!(value.unsigned_abs().ilog10() < digits);
                }
            }
        }
        assert_eq!(scale(&[-9, -2]).unwrap().factor(-2), 10_000_000);
        assert_eq!(scale(&[-9, -2]).unwrap().factor(-9), 1);
    }

    #[test]
    fn what_needs_more_digits_than_there_are_is_named() {
        let (symbol, problem) = scale(&[-18, 0, 2]).unwrap_err();
        assert_eq!(symbol, "A2");
        assert!(problem.contains("those of A-18 in units of 1e-18: a column for both needs 39"), "{problem}");
        assert!(scale(&[-18, 18]).is_err() && scale(&[18]).is_ok() && scale(&[-18]).is_ok());
    }
}
