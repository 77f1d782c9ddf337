//! Bars: what happened to the price in a period.

/// How long a bar is. The number is the one on the wire.
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
    /// Every period, in the order of its number.
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

    /// Its length.
    pub const fn nanoseconds(self) -> u64 {
        let seconds = match self {
            Period::Second => 1,
            Period::Minute => 60,
            Period::FiveMinutes => 300,
            Period::Hour => 3_600,
        };
        seconds * 1_000_000_000
    }

    /// Position in arrays that hold one entry a period: 0..4.
    pub const fn index(self) -> usize {
        self as usize
    }
}
