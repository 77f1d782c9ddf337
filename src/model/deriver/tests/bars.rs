//! Channel `bars`: its steps, and what they add up to.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::{Bar, BarStep, Bars};

const BARS: ChannelSet = ChannelSet::of(&[Channel::Bars]);
const SECOND: u64 = 1_000_000_000;

/// A trade of that instrument at that time, an event of its own.
fn trade(instrument: u32, ts_event_ns: u64, price: i64, quantity: i64) -> Primary {
    let trade = primary(PrimaryKind::Trade, Some(Side::Bid), 0, price, quantity);
    last(Primary { instrument, ts_event_ns, ..trade })
}

/// Something that moves the time and nothing else.
fn moment(instrument: u32, ts_event_ns: u64) -> Primary {
    let note = primary(PrimaryKind::Note, None, 0, ABSENT, 0);
    last(Primary { instrument, ts_event_ns, ..note })
}

/// Instrument, sequence, time, flags and step of each record.
fn steps(events: &[Event]) -> Vec<(u32, u64, u64, u8, BarStep)> {
    let step = |event: &Event| match event.body() {
        Body::Bar(step) => (event.instrument, event.seq, event.ts_ns, event.flags, step),
        other => panic!("{other:?} is no step"),
    };
    events.iter().map(step).collect()
}

fn step(price: i64, quantity: i64) -> BarStep {
    BarStep::Trade { price, quantity }
}

#[test]
fn running_bars_end_before_the_first_primary_that_is_late_enough_whoever_it_is_about() {
    const WHOLE: u8 = LAST_OF_STREAM | LAST;
    let mut deriver = deriver(&[BARS, BARS, BARS, PLAIN]);
    let minute = 60 * SECOND;
    let mut events = apply(&mut deriver, &[trade(1, minute - 1, 50, 1), trade(0, minute, 70, 2)]);
    // The last moment of the second of instrument 0, and the first after it.
    events.extend(apply(&mut deriver, &[moment(3, minute + SECOND - 1), moment(3, minute + SECOND)]));
    events.extend(apply(&mut deriver, &[trade(2, minute + SECOND, 90, 3), moment(3, 2 * minute)]));
    let end = |periods| BarStep::End { periods };
    assert_eq!(
        steps(&events),
        [
            (1, 1, minute - 1, WHOLE, step(50, 1)),
            (1, 2, minute, WHOLE, end(0b011)),
            (0, 1, minute, WHOLE, step(70, 2)),
            (0, 2, minute + SECOND, WHOLE, end(0b001)),
            (2, 1, minute + SECOND, WHOLE, step(90, 3)),
            (0, 3, 2 * minute, WHOLE, end(0b010)),
            (2, 2, 2 * minute, WHOLE, end(0b011)),
        ]
    );
    assert_eq!(deriver.bar(2, Period::Second), None);
    let (start_ns, open, high, low, close) = (0, 90, 90, 90, 90);
    let hour = Bar { period: Period::Hour, start_ns, open, high, low, close, volume: 3, complete: false };
    assert_eq!(deriver.bar(2, Period::Hour), Some(hour));
}

#[test]
fn within_an_event_the_trades_and_the_ends_keep_their_order() {
    let mut deriver = deriver(&[BARS, PLAIN]);
    let open = |primary: Primary| Primary { flags: 0, ..primary };
    apply(&mut deriver, &[trade(0, 5 * SECOND, 1, 1)]);
    // No step of the open event waits yet: the end is an event of its own.
    let first = apply(&mut deriver, &[open(moment(0, 6 * SECOND))]);
    assert_eq!(steps(&first), [(0, 2, 6 * SECOND, LAST_OF_STREAM | LAST, BarStep::End { periods: 1 })]);
    let later = [open(trade(0, 6 * SECOND, 2, 1)), moment(1, 7 * SECOND), trade(0, 7 * SECOND + 1, 3, 1)];
    assert_eq!(
        steps(&apply(&mut deriver, &later)),
        [
            (0, 3, 6 * SECOND, 0, step(2, 1)),
            (0, 4, 7 * SECOND, 0, BarStep::End { periods: 1 }),
            (0, 5, 7 * SECOND + 1, LAST_OF_STREAM | LAST, step(3, 1)),
        ]
    );
}

#[test]
fn neither_a_snapshot_nor_a_primary_without_a_time_moves_the_time() {
    let mut deriver = deriver(&[BARS]);
    let snapshot = |primary: Primary| Primary { flags: primary.flags | primary_flags::SNAPSHOT, ..primary };
    let given = [
        trade(0, 5 * SECOND, 10, 1),
        snapshot(moment(0, 7 * SECOND)),
        moment(0, ABSENT_TIME),
        trade(0, ABSENT_TIME, 12, 1),
    ];
    let events = apply(&mut deriver, &given);
    let times: Vec<u64> = events.iter().map(|event| event.ts_ns).collect();
    assert_eq!(times, [5 * SECOND, 5 * SECOND], "without a time: when the last before it was");
    let (start_ns, open, high, low, close) = (5 * SECOND, 10, 12, 10, 12);
    let bar = Bar { period: Period::Second, start_ns, open, high, low, close, volume: 2, complete: false };
    assert_eq!(deriver.bar(0, Period::Second), Some(bar));
}

#[test]
fn a_reset_forgets_the_bars_and_the_time() {
    let mut deriver = deriver(&[BARS]);
    let story = [trade(0, 5 * SECOND, 10, 1), trade(0, 6 * SECOND, 11, 1)];
    let before = apply(&mut deriver, &story);
    let mut out = Vec::new();
    deriver.reset(2, ResetReason::Loop, 0, &mut out);
    assert_eq!(deriver.bar(0, Period::Hour), None);
    assert_eq!(apply(&mut deriver, &story), before, "an earlier time begins bars anew, and ends none");
}

#[test]
fn trades_without_an_end_are_bounded_with_their_steps() {
    let mut deriver = deriver(&[ChannelSet::of(&[Channel::Trades, Channel::Bars])]);
    // Each a second after the one before, so that each but the first ends a bar.
    let trades: Vec<Primary> =
        (0..10_000_u64).map(|at| Primary { flags: 0, ..trade(0, at * SECOND, at as i64, 1) }).collect();
    let mut events = apply(&mut deriver, &trades);
    assert!(
        events.chunk_by(|before, _| before.flags & CUT == 0).all(|piece| piece.len() <= EVENT_RECORDS_MAX)
    );
    assert_eq!(positions(&events, LAST | LAST_OF_STREAM), [0; 0]);
    deriver.finish(&mut events);
    assert_eq!(deriver.sequence(0, Channel::Trades), 10_000);
    assert_eq!(deriver.sequence(0, Channel::Bars), 19_999);
}

proptest! {
    /// Where time goes on, each bar is what was traded in its period, whatever belongs to one event and whatever the
    /// other instruments do.
    #[test]
    fn bars_are_the_trades_of_their_periods(
        given in proptest::collection::vec(
            (0_u32..3, 0_u64..900, -5_i64..5, 0_i64..4, any::<bool>(), any::<bool>()), 0..400,
        ),
    ) {
        let mut deriver = deriver(&[BARS, EVERYTHING, BARS]);
        let (mut now_ns, mut events) = (3_599 * SECOND, Vec::new());
        let mut expected: BTreeMap<(u32, Period, u64), Bar> = BTreeMap::new();
        for (instrument, milliseconds, price, quantity, is_trade, is_last) in given {
            now_ns += milliseconds * 1_000_000;
            let primary = if is_trade { trade(instrument, now_ns, price, quantity) } else { moment(instrument, now_ns) };
            let flags = if is_last { primary.flags } else { 0 };
            deriver.apply(&Primary { flags, ..primary }, &mut events).unwrap();
            for period in Period::ALL.into_iter().filter(|_| is_trade) {
                let start_ns = now_ns / period.nanoseconds() * period.nanoseconds();
                let (open, high, low, close) = (price, price, price, price);
                let first = Bar { period, start_ns, open, high, low, close, volume: 0, complete: false };
                let bar = expected.entry((instrument, period, start_ns)).or_insert(first);
                let (high, low) = (bar.high.max(price), bar.low.min(price));
                *bar = Bar { high, low, close: price, volume: bar.volume + quantity, ..*bar };
            }
        }
        deriver.finish(&mut events);
        for bar in expected.values_mut() {
            bar.complete = bar.start_ns + bar.period.nanoseconds() <= now_ns;
        }
        let mut followed: [Bars; 3] = Default::default();
        let mut found = BTreeMap::new();
        for event in &events {
            let bars = &mut followed[event.instrument as usize];
            let mut done = |bar: Bar| {
                assert!(found.insert((event.instrument, bar.period, bar.start_ns), bar).is_none());
            };
            match event.body() {
                Body::Bar(BarStep::Trade { price, quantity }) => bars.trade(event.ts_ns, price, quantity),
                Body::Bar(BarStep::End { periods }) => bars.end(periods, &mut done),
                _ => {}
            }
        }
        for (instrument, bars) in (0..).zip(&followed) {
            for period in Period::ALL {
                prop_assert_eq!(bars.running(period), deriver.bar(instrument, period));
                if let Some(bar) = bars.running(period) {
                    found.insert((instrument, period, bar.start_ns), bar);
                }
            }
        }
        prop_assert_eq!(found, expected);
    }
}
