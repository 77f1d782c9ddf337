//! Bars: open, high, low, close and volume of a period, made of trades.

/// How long a bar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Period {
    /// One second.
    Second = 0,
    /// One minute.
    Minute = 1,
    /// Five minutes.
    FiveMinutes = 2,
    /// One hour.
    Hour = 3,
}

impl Period {
    /// Every period, the shortest first.
    pub const ALL: [Period; 4] = [Period::Second, Period::Minute, Period::FiveMinutes, Period::Hour];

    /// The name that users write.
    pub const fn name(self) -> &'static str {
        match self {
            Period::Second => "1s",
            Period::Minute => "1m",
            Period::FiveMinutes => "5m",
            Period::Hour => "1h",
        }
    }

    /// The period of that name.
    pub fn from_name(name: &str) -> Option<Period> {
        Self::ALL.into_iter().find(|period| period.name() == name)
    }

    /// The period of that number.
    pub fn from_number(number: u8) -> Option<Period> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// How long it is, in nanoseconds.
    pub const fn nanoseconds(self) -> u64 {
        1_000_000_000
            * match self {
                Period::Second => 1,
                Period::Minute => 60,
                Period::FiveMinutes => 300,
                Period::Hour => 3_600,
            }
    }

    /// Position in arrays that hold one entry a period: 0..4.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// What was traded in one period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// How long it is.
    pub period: Period,
    /// When it begins, nanoseconds since the Unix epoch: a multiple of the period.
    pub start_ns: u64,
    /// Price of the first trade.
    pub open: i64,
    /// Highest price.
    pub high: i64,
    /// Lowest price.
    pub low: i64,
    /// Price of the last trade.
    pub close: i64,
    /// Quantity traded; stops at the largest i64.
    pub volume: i64,
    /// Whether its period is over; else it is running.
    pub complete: bool,
}

impl Bar {
    /// The first moment after it, nanoseconds since the Unix epoch.
    fn end_ns(&self) -> u64 {
        self.start_ns.saturating_add(self.period.nanoseconds())
    }
}

/// One step of an instrument's bars. All periods share one sequence, so that the channel has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarStep {
    /// A trade goes into the running bar of every period; where none runs, it begins one.
    Trade {
        /// Price.
        price: i64,
        /// Quantity.
        quantity: i64,
    },
    /// The running bars of these periods are over.
    End {
        /// Bit [`Period::index`] is set for each.
        periods: u8,
    },
}

/// The running bars of one instrument. Who applies the steps of channel `bars` to one holds the same bars as the
/// source.
#[derive(Clone, Debug)]
pub struct Bars {
    /// By [`Period::index`].
    running: [Option<Bar>; Period::ALL.len()],
    /// The end of the last bar closed of each period: no later bar begins before it.
    closed_ns: [u64; Period::ALL.len()],
    /// The earliest end of a running bar; the largest u64 where none runs.
    next_end_ns: u64,
}

impl Bars {
    /// No bar runs.
    pub const fn new() -> Bars {
        Bars { running: [None; Period::ALL.len()], closed_ns: [0; Period::ALL.len()], next_end_ns: u64::MAX }
    }

    /// A trade. It goes into the running bar of each period, also where it is older than that bar: bars that are
    /// closed stay as they are. Where none runs one begins, at the trade's time rounded down to the period, but not
    /// before the end of the last one closed.
    pub fn trade(&mut self, ts_ns: u64, price: i64, quantity: i64) {
        for period in Period::ALL {
            if let Some(bar) = &mut self.running[period.index()] {
                bar.high = bar.high.max(price);
                bar.low = bar.low.min(price);
                bar.close = price;
                bar.volume = bar.volume.saturating_add(quantity);
                continue;
            }
            let start_ns = (ts_ns - ts_ns % period.nanoseconds()).max(self.closed_ns[period.index()]);
            let (open, high, low, close) = (price, price, price, price);
            let bar = Bar { period, start_ns, open, high, low, close, volume: quantity, complete: false };
            self.next_end_ns = self.next_end_ns.min(bar.end_ns());
            self.running[period.index()] = Some(bar);
        }
    }

    /// The running bars of these periods (bit [`Period::index`] set) are over; `done` is given each, the shortest
    /// period first.
    pub fn end(&mut self, periods: u8, mut done: impl FnMut(Bar)) {
        for period in Period::ALL {
            if periods & (1 << period.index()) == 0 {
                continue;
            }
            if let Some(bar) = self.running[period.index()].take() {
                self.closed_ns[period.index()] = bar.end_ns();
                done(Bar { complete: true, ..bar });
            }
        }
        self.next_end_ns = self.running.iter().flatten().map(Bar::end_ns).min().unwrap_or(u64::MAX);
    }

    /// The running bar of a period.
    pub fn running(&self, period: Period) -> Option<Bar> {
        self.running[period.index()]
    }

    /// The earliest end of a running bar, nanoseconds since the Unix epoch; the largest u64 where none runs.
    pub fn next_end_ns(&self) -> u64 {
        self.next_end_ns
    }

    /// The periods whose running bar is over at this time: bit [`Period::index`] set for each.
    pub fn due(&self, now_ns: u64) -> u8 {
        let over = self.running.iter().flatten().filter(|bar| bar.end_ns() <= now_ns);
        over.fold(0, |periods, bar| periods | 1 << bar.period.index())
    }
}

impl Default for Bars {
    fn default() -> Bars {
        Bars::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn periods_are_found_by_name_and_number() {
        for (number, period) in (0..).zip(Period::ALL) {
            assert_eq!(Period::from_name(period.name()), Some(period));
            assert_eq!(Period::from_number(number), Some(period));
            assert_eq!(period.index(), usize::from(number));
        }
        assert_eq!((Period::from_name("1d"), Period::from_number(4)), (None, None));
    }

    #[test]
    fn a_bar_that_is_closed_stays_as_it_is() {
        let mut bars = Bars::new();
        bars.trade(10 * SECOND + 5, 100, 1);
        assert_eq!(
            (bars.next_end_ns(), bars.due(11 * SECOND - 1), bars.due(11 * SECOND)),
            (11 * SECOND, 0, 1)
        );
        let mut closed = Vec::new();
        bars.end(bars.due(13 * SECOND), |bar| closed.push(bar));
        assert_eq!(bars.next_end_ns(), 60 * SECOND, "the minute is the next to end");
        // Late by more than a second: there is no bar of that time any more.
        bars.trade(9 * SECOND, 90, 2);
        let bar = bars.running(Period::Second).unwrap();
        assert_eq!((closed[0].start_ns, closed[0].close, closed[0].complete), (10 * SECOND, 100, true));
        assert_eq!((bar.start_ns, bar.open, bar.complete), (11 * SECOND, 90, false));
        let minute = bars.running(Period::Minute).unwrap();
        assert_eq!(
            (minute.open, minute.high, minute.low, minute.close, minute.volume),
            (100, 100, 90, 90, 3)
        );
        bars.end(0b1111, |bar| closed.push(bar));
        assert!(closed[1..].iter().map(|bar| bar.period).eq(Period::ALL), "the shortest first");
        assert_eq!(bars.next_end_ns(), u64::MAX);
        bars.end(0b1111, |bar| panic!("{bar:?} was over already"));
    }

    #[test]
    fn no_time_and_no_volume_is_too_large() {
        let mut bars = Bars::new();
        bars.trade(u64::MAX, 1, i64::MAX);
        bars.trade(u64::MAX, 1, i64::MAX);
        assert!(Period::ALL.iter().all(|period| bars.running(*period).unwrap().volume == i64::MAX));
        assert_eq!(bars.due(u64::MAX), 0b1111);
    }
}
