//! When a replayed record is due, by integers alone: no clock, no drift.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{Decimal, parse_decimal};

/// Thousandths of real time that a speed may have.
const THOUSANDTHS_MIN: u32 = 100;
const THOUSANDTHS_MAX: u32 = 1_000_000;

/// How fast a replay goes: 0.1 to 1000 times the recording, in steps of 0.001, or as fast as it is taken.
///
/// It is read from text (`0.5`, `10`, `max`) and, with serde, from a number or that text.
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
    /// What a speed may be, in words.
    pub const ALLOWED: &str = "0.1 to 1000 times real time with at most three decimals, or max";
    /// As fast as it is taken.
    pub const MAX: Speed = Speed { thousandths: 0 };

    /// Thousandths of real time; `None` for [`Speed::MAX`].
    pub fn thousandths(self) -> Option<u32> {
        (self.thousandths > 0).then_some(self.thousandths)
    }

    /// The speed of that many thousandths, 100 to 1,000,000; 0 is [`Speed::MAX`].
    pub fn from_thousandths(thousandths: u32) -> Result<Speed, SpeedError> {
        match thousandths {
            0 | THOUSANDTHS_MIN..=THOUSANDTHS_MAX => Ok(Speed { thousandths }),
            _ => Err(SpeedError(Decimal::new(i64::from(thousandths), -3).to_string())),
        }
    }
}

impl FromStr for Speed {
    type Err = SpeedError;

    fn from_str(text: &str) -> Result<Speed, SpeedError> {
        if text == "max" {
            return Ok(Speed::MAX);
        }
        parse_decimal(text, -3)
            .and_then(|thousandths| u32::try_from(thousandths).ok())
            .filter(|thousandths| (THOUSANDTHS_MIN..=THOUSANDTHS_MAX).contains(thousandths))
            .map(|thousandths| Speed { thousandths })
            .ok_or_else(|| SpeedError(text.into()))
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.thousandths() {
            None => f.pad("max"),
            Some(thousandths) => Decimal::new(i64::from(thousandths), -3).fmt(f),
        }
    }
}

impl Serialize for Speed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.thousandths() {
            None => serializer.serialize_str("max"),
            Some(thousandths) if thousandths % 1_000 == 0 => serializer.serialize_u32(thousandths / 1_000),
            Some(thousandths) => serializer.serialize_f64(f64::from(thousandths) / 1_000.0),
        }
    }
}

impl<'de> Deserialize<'de> for Speed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Speed, D::Error> {
        struct SpeedVisitor;
        impl Visitor<'_> for SpeedVisitor {
            type Value = Speed;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number from 0.1 to 1000, or \"max\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Speed, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Speed, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Speed, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Speed, E> {
                self.visit_str(&value.to_string())
            }
        }
        deserializer.deserialize_any(SpeedVisitor)
    }
}

/// A moment of the clock and the moment of the recording that belongs to it.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    now_ns: u64,
    time_ns: u64,
}

/// Maps times of a recording to times of the clock, on an absolute schedule: `due = anchor + elapsed / speed`, so that
/// late polls do not push later records back.
///
/// The first time it is asked about sets the anchor. Times of a recording never step back here: see
/// [`Pacer::due_ns`].
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    speed: Speed,
    /// `None` until the first record that has a time.
    anchor: Option<Anchor>,
    /// Where the clock stood, or shall stand, when the pass begins; `None`: when the first record is asked about.
    begin_ns: Option<u64>,
    /// Greatest time asked about.
    last_ns: u64,
    /// Longest wait of the clock for a record; `None`: any.
    max_idle_ns: Option<u64>,
    /// Since when the clock waits for the next record: the moment the last was due, or since when time goes on.
    since_ns: Option<u64>,
}

impl Pacer {
    /// A schedule that starts with the first record it is asked about. With `max_idle_ns` a record is due so long after
    /// the one before at the latest, by the clock; what follows keeps its distance to it.
    pub fn new(speed: Speed, max_idle_ns: Option<u64>) -> Pacer {
        Pacer { speed, anchor: None, begin_ns: None, last_ns: 0, max_idle_ns, since_ns: None }
    }

    /// The speed.
    pub fn speed(&self) -> Speed {
        self.speed
    }

    /// When a record of that time is due. One that is earlier than a record before it is due with that record. At
    /// [`Speed::MAX`] everything is due at 0.
    pub fn due_ns(&mut self, now_ns: u64, time_ns: u64) -> u64 {
        self.last_ns = self.last_ns.max(time_ns);
        let begin_ns = self.begin_ns.unwrap_or(now_ns);
        let last_ns = self.last_ns;
        let anchor = self.anchor.get_or_insert(Anchor { now_ns: begin_ns, time_ns: last_ns });
        let Some(thousandths) = self.speed.thousandths() else { return 0 };
        let due_ns = due_ns(anchor, last_ns, thousandths);
        let since_ns = self.since_ns.unwrap_or(anchor.now_ns);
        match self.max_idle_ns {
            Some(max_ns) if due_ns > since_ns.saturating_add(max_ns) => {
                // The recording's time jumps to so long before the record.
                let before_ns = recorded_ns(max_ns, thousandths);
                *anchor = Anchor { now_ns: since_ns, time_ns: last_ns.saturating_sub(before_ns) };
                self::due_ns(anchor, last_ns, thousandths)
            }
            _ => due_ns,
        }
    }

    /// A record that was due then was sent: the wait for the next begins with it.
    pub fn sent(&mut self, due_ns: u64) {
        self.since_ns = self.since_ns.max(Some(due_ns));
    }

    /// Stops the recording's time at `now_ns`, until [`Pacer::resume`].
    pub fn pause(&mut self, now_ns: u64, sent_ns: u64) {
        self.anchor = self.anchor.map(|anchor| self.moved(anchor, now_ns, sent_ns));
    }

    /// Lets the recording's time go on from where it was stopped.
    pub fn resume(&mut self, now_ns: u64) {
        if let Some(anchor) = &mut self.anchor {
            anchor.now_ns = now_ns;
            self.since_ns = Some(now_ns);
        }
        self.begin_ns = self.begin_ns.map(|begin_ns| begin_ns.max(now_ns));
    }

    /// Goes on at another speed from where the recording stands at `now_ns`. `sent_ns` is the time of the last record
    /// that was sent: where the recording stands when it goes as fast as it is taken.
    pub fn set_speed(&mut self, now_ns: u64, sent_ns: u64, speed: Speed) {
        self.pause(now_ns, sent_ns);
        self.since_ns = self.anchor.map(|anchor| anchor.now_ns);
        self.speed = speed;
    }

    /// Goes on from another time of the recording, which is now.
    pub fn seek(&mut self, now_ns: u64, time_ns: u64) {
        let anchor = Some(Anchor { now_ns, time_ns });
        *self = Pacer { anchor, last_ns: time_ns, ..Pacer::new(self.speed, self.max_idle_ns) };
    }

    /// A record was sent before it was due, while time stands still: it stands there now.
    pub fn jump(&mut self, now_ns: u64, time_ns: u64) {
        self.last_ns = self.last_ns.max(time_ns);
        let anchor = self.anchor.get_or_insert(Anchor { now_ns, time_ns });
        anchor.time_ns = anchor.time_ns.max(time_ns);
    }

    /// Starts over with the next record, whose moment is `begin_ns`.
    pub fn restart(&mut self, begin_ns: u64) {
        *self = Pacer { begin_ns: Some(begin_ns), ..Pacer::new(self.speed, self.max_idle_ns) };
    }

    /// The anchor carried to `now_ns`.
    fn moved(&self, anchor: Anchor, now_ns: u64, sent_ns: u64) -> Anchor {
        let time_ns = match self.speed.thousandths() {
            None => sent_ns.max(anchor.time_ns),
            Some(thousandths) => {
                let elapsed_ns = now_ns.saturating_sub(anchor.now_ns);
                anchor.time_ns.saturating_add(recorded_ns(elapsed_ns, thousandths))
            }
        };
        Anchor { now_ns, time_ns }
    }
}

/// When a record of that time is due by an anchor.
fn due_ns(anchor: &Anchor, time_ns: u64, thousandths: u32) -> u64 {
    let elapsed = u128::from(time_ns.saturating_sub(anchor.time_ns)) * 1_000;
    let wait = elapsed.div_ceil(u128::from(thousandths));
    anchor.now_ns.saturating_add(u64::try_from(wait).unwrap_or(u64::MAX))
}

/// How far the recording goes while the clock goes that far.
fn recorded_ns(elapsed_ns: u64, thousandths: u32) -> u64 {
    let elapsed = u128::from(elapsed_ns) * u128::from(thousandths) / 1_000;
    u64::try_from(elapsed).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn speed(text: &str) -> Speed {
        text.parse().unwrap()
    }

    #[test]
    fn a_speed_is_a_number_or_max() {
        for (text, json) in
            [("1", "1"), ("0.1", "0.1"), ("1000", "1000"), ("2.125", "2.125"), ("max", "\"max\"")]
        {
            let speed = speed(text);
            assert_eq!(speed.to_string(), text);
            assert_eq!(serde_json::to_string(&speed).unwrap(), json);
            assert_eq!(serde_json::from_str::<Speed>(json).unwrap(), speed);
            assert_eq!(serde_json::from_str::<Speed>(&format!("{text:?}")).unwrap(), speed);
        }
        for text in ["0", "0.099", "1000.001", "-1", "fast", "", "MAX", "1e2", "0.1234", "99999999999999"] {
            let error = text.parse::<Speed>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")) && error.contains("0.1 to 1000"), "{error}");
        }
        for json in ["0", "-3", "1001", "true", "null", "1e300"] {
            assert!(serde_json::from_str::<Speed>(json).is_err(), "{json}");
        }
        assert!(Speed::from_thousandths(99).is_err());
        assert_eq!(Speed::from_thousandths(0), Ok(Speed::MAX));
    }

    #[test]
    fn due_times_follow_the_recording_at_every_speed() {
        for (text, dues) in
            [("1", [50, 1_050, 2_050]), ("0.5", [50, 2_050, 4_050]), ("10", [50, 150, 250]), ("max", [0; 3])]
        {
            let mut pacer = Pacer::new(speed(text), None);
            let due = [7_000, 8_000, 9_000].map(|time| pacer.due_ns(50, time));
            assert_eq!(due, dues, "speed {text}");
        }
    }

    #[test]
    fn a_time_that_steps_back_waits_for_nothing() {
        let mut pacer = Pacer::new(Speed::NORMAL, None);
        let due = [500, 700, 600, 701].map(|time| pacer.due_ns(0, time));
        assert_eq!(due, [0, 200, 200, 201]);
    }

    #[test]
    fn a_pause_stops_time_and_a_new_speed_keeps_the_place() {
        let mut pacer = Pacer::new(Speed::NORMAL, None);
        assert_eq!(pacer.due_ns(0, 1_000), 0);
        assert_eq!(pacer.due_ns(0, 2_000), 1_000);
        pacer.pause(400, 1_000);
        pacer.resume(5_000);
        assert_eq!(pacer.due_ns(5_000, 2_000), 5_600, "600 of the 1000 were left");
        pacer.set_speed(5_100, 1_000, speed("10"));
        assert_eq!(pacer.due_ns(5_100, 2_000), 5_150, "500 left at ten times the speed");
        pacer.set_speed(5_110, 1_000, Speed::MAX);
        assert_eq!(pacer.due_ns(5_110, 2_000), 0);
        pacer.set_speed(6_000, 2_000, Speed::NORMAL);
        assert_eq!(pacer.due_ns(6_000, 2_500), 6_500, "from the last record sent on");
    }

    #[test]
    fn absurd_times_do_not_overflow() {
        let mut pacer = Pacer::new(speed("0.1"), None);
        assert_eq!(pacer.due_ns(10, 0), 10);
        assert_eq!(pacer.due_ns(10, u64::MAX - 1), u64::MAX);
        pacer.set_speed(u64::MAX, 0, Speed::NORMAL);
        pacer.resume(u64::MAX);
        assert_eq!(pacer.due_ns(u64::MAX, u64::MAX), u64::MAX);
    }

    proptest! {
        #[test]
        fn later_polls_do_not_move_the_schedule(
            times in prop::collection::vec(0_u64..1_000_000_000, 1..20),
            lateness in prop::collection::vec(0_u64..1_000_000, 20),
            thousandths in 100_u32..=1_000_000,
        ) {
            let speed = Speed::from_thousandths(thousandths).unwrap();
            let (mut prompt, mut late) = (Pacer::new(speed, None), Pacer::new(speed, None));
            for (time, lateness) in times.iter().zip(&lateness) {
                let due = prompt.due_ns(0, *time);
                let now = if *time == times[0] { 0 } else { due + lateness };
                prop_assert_eq!(late.due_ns(now, *time), due);
            }
        }
    }
}
