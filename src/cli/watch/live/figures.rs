//! Numbers as text for columns: decimals that line up, times and rates in few characters.

use crate::model::{ABSENT, Decimal};

/// The decimal `value * 10^exponent` with `places` digits after the point, or more where it needs more: nothing is
/// rounded. [`ABSENT`] is a dash.
fn fixed(value: i64, exponent: i8, places: usize) -> String {
    if value == ABSENT {
        return "-".into();
    }
    let mut text = Decimal::new(value, exponent).to_string();
    let has = places_of(&text);
    if has < places {
        if has == 0 {
            text.push('.');
        }
        text.extend(std::iter::repeat_n('0', places - has));
    }
    text
}

fn places_of(text: &str) -> usize {
    text.split_once('.').map_or(0, |(_, fraction)| fraction.len())
}

/// The numbers of one column, so that their points stand below each other: it never gets narrower, so that nothing
/// jumps about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Column {
    exponent: i8,
    /// Digits after the point.
    places: usize,
    /// Characters before it.
    whole: usize,
}

impl Column {
    /// A column of numbers with that exponent.
    pub fn new(exponent: i8) -> Column {
        Column { exponent, places: 0, whole: 1 }
    }

    /// Makes room for a value.
    pub fn see(&mut self, value: i64) {
        let text = fixed(value, self.exponent, 0);
        self.places = self.places.max(places_of(&text));
        self.whole = self.whole.max(text.find('.').unwrap_or(text.len()));
    }

    /// A value with the places of the column, not padded in front.
    pub fn text(&self, value: i64) -> String {
        fixed(value, self.exponent, self.places)
    }

    /// Characters of the widest value.
    pub fn width(&self) -> usize {
        self.whole + self.places + usize::from(self.places > 0)
    }
}

/// Microseconds as a time in three or four digits: `82 µs`, `1.25 ms`, `3.2 s`.
pub(super) fn duration(us: u64, unicode: bool) -> String {
    match us {
        0..1_000 => format!("{us} {}", if unicode { "µs" } else { "us" }),
        1_000..10_000 => format!("{}.{:02} ms", us / 1_000, us % 1_000 / 10),
        10_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

/// The spread as a part of the middle, as text: `0.43 bp`. `None` where prices are not positive, or there is none.
pub(super) fn basis_points(bid: i64, ask: i64) -> Option<String> {
    if bid <= 0 || ask < bid {
        return None;
    }
    let (spread, both) = (i128::from(ask) - i128::from(bid), i128::from(ask) + i128::from(bid));
    // Spread over middle, times 10^4 for basis points, times 100 for two places; to the nearest.
    let hundredths = (spread * 2_000_000 + both / 2) / both;
    Some(format!("{}.{:02} bp", hundredths / 100, hundredths % 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_the_places_asked_for_and_lose_none() {
        for (value, exponent, places, text) in [
            (9_284_120, -2, 2, "92841.20"),
            (9_284_100, -2, 2, "92841.00"),
            (9_284_123, -2, 1, "92841.23"),
            (5, 0, 0, "5"),
            (5, 3, 2, "5000.00"),
            (-5, -3, 3, "-0.005"),
            (ABSENT, -2, 2, "-"),
            (i64::MAX, -18, 18, "9.223372036854775807"),
        ] {
            assert_eq!(fixed(value, exponent, places), text);
        }
    }

    #[test]
    fn a_column_holds_what_it_has_seen() {
        let mut column = Column::new(-3);
        assert_eq!((column.width(), column.text(ABSENT)), (1, "-".into()));
        column.see(12_000);
        assert_eq!((column.width(), column.text(12_000)), (2, "12".into()));
        column.see(-5_250);
        column.see(ABSENT);
        assert_eq!((column.width(), column.text(12_000)), (5, "12.00".into()));
        assert_eq!(column.text(-5_250), "-5.25");
    }

    #[test]
    fn times_stay_short() {
        let shown = [0, 82, 1_254, 9_999, 12_345, 999_999, 3_250_000].map(|us| duration(us, true));
        assert_eq!(shown, ["0 µs", "82 µs", "1.25 ms", "9.99 ms", "12 ms", "999 ms", "3.2 s"]);
        assert_eq!(duration(7, false), "7 us");
    }

    #[test]
    fn a_spread_is_measured_in_basis_points_of_the_middle() {
        assert_eq!(basis_points(9_999, 10_001).as_deref(), Some("2.00 bp"));
        assert_eq!(basis_points(9_284_123, 9_284_163).as_deref(), Some("0.04 bp"));
        assert_eq!(basis_points(10_000, 10_010).as_deref(), Some("10.00 bp"));
        assert_eq!(
            [basis_points(10_001, 9_999), basis_points(0, 5), basis_points(ABSENT, 5)],
            [const { None }; 3]
        );
        assert_eq!(basis_points(i64::MAX, i64::MAX).as_deref(), Some("0.00 bp"));
    }
}
