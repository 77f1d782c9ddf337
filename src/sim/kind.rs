//! Kinds of instrument: what is usual for each.

use super::profile::InstrumentProfile;

/// What kind of thing is traded. It only gives defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A share: cents, whole shares.
    Stock,
    /// A coin against a currency: fine ticks, orders at many prices, restless.
    Crypto,
    /// A pair of currencies: the tightest spreads.
    Fx,
    /// A contract: coarse ticks, long queues.
    Future,
}

impl Kind {
    /// Every kind.
    pub(super) const ALL: [Kind; 4] = [Kind::Stock, Kind::Crypto, Kind::Fx, Kind::Future];

    /// The name that users write.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Stock => "stock",
            Kind::Crypto => "crypto",
            Kind::Fx => "fx",
            Kind::Future => "future",
        }
    }

    /// The kind of that name.
    pub(super) fn from_name(name: &str) -> Option<Kind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(super) fn price_exponent(self) -> i8 {
        if self == Kind::Fx { -5 } else { -2 }
    }

    pub(super) fn quantity_exponent(self) -> i8 {
        if self == Kind::Crypto { -6 } else { 0 }
    }

    /// What a usual order is worth, in the currency of the price. (A future's multiplier is left out of it.)
    fn order_value(self) -> i128 {
        match self {
            Kind::Stock => 20_000,
            Kind::Crypto => 2_500,
            Kind::Fx => 1_000_000,
            Kind::Future => 20_000,
        }
    }

    /// One over this is the usual spread, as a share of the price.
    fn spread_share(self) -> i64 {
        match self {
            Kind::Stock => 10_000,
            Kind::Crypto => 15_000,
            Kind::Fx => 50_000,
            Kind::Future => 25_000,
        }
    }

    fn volatility(self) -> u32 {
        match self {
            Kind::Stock => 80,
            Kind::Crypto => 200,
            Kind::Fx => 40,
            Kind::Future => 60,
        }
    }

    /// The profile of an instrument of this kind of which no more is known. The result is sound wherever the price
    /// and the sizes are.
    pub(super) fn profile(self, symbol: String, terms: Terms) -> InstrumentProfile {
        let Terms { price_exponent, quantity_exponent, tick_size, lot_size, price } = terms;
        let whole_ticks = |value: i64| (value / tick_size.max(1)).max(1).saturating_mul(tick_size);
        InstrumentProfile {
            symbol,
            price_exponent,
            quantity_exponent,
            tick_size,
            lot_size,
            price,
            spread: whole_ticks(price / self.spread_share()),
            quantity: self.usual_quantity(terms),
            activity: 1_000,
            orders: 120,
            volatility: self.volatility(),
        }
    }

    /// As many lots as are worth a usual order: a whole number of hundreds, tens or ones of them.
    fn usual_quantity(self, terms: Terms) -> i64 {
        let ten = |exponent: i8| 10_i128.pow(exponent.unsigned_abs().into());
        let mut numerator = self.order_value();
        let mut denominator = i128::from(terms.price.max(1));
        for exponent in [terms.price_exponent, terms.quantity_exponent] {
            if exponent < 0 {
                numerator = numerator.saturating_mul(ten(exponent));
            } else {
                denominator = denominator.saturating_mul(ten(exponent));
            }
        }
        let lot = i128::from(terms.lot_size.max(1));
        let lots = (numerator / denominator).clamp(1, 1_000_000_000) / lot;
        let round = [100, 10, 1].into_iter().find(|round| lots >= *round).unwrap_or(1);
        ((lots / round).max(1) * round * lot) as i64
    }
}

/// In what units an instrument trades, and its price.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) price_exponent: i8,
    pub(super) quantity_exponent: i8,
    pub(super) tick_size: i64,
    pub(super) lot_size: i64,
    pub(super) price: i64,
}
