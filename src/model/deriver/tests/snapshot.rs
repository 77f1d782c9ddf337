//! A state that is told, and who takes it.

use proptest::prelude::*;

use super::oracle::random_primary;
use super::*;

/// The state of every instrument as primaries of time 9.
fn snapshot(deriver: &Deriver, instruments: u32) -> Vec<Primary> {
    let mut out = Vec::new();
    (0..instruments).for_each(|instrument| deriver.snapshot(instrument, 9, &mut out));
    out
}

fn same_state(one: &Deriver, other: &Deriver, instruments: u32) -> Result<(), TestCaseError> {
    for instrument in 0..instruments {
        for side in [Side::Bid, Side::Ask] {
            let orders = |deriver: &Deriver| deriver.orders(instrument).orders(side).collect::<Vec<_>>();
            let levels = |deriver: &Deriver| deriver.book(instrument).levels(side).collect::<Vec<_>>();
            prop_assert_eq!(orders(one), orders(other));
            prop_assert_eq!(levels(one), levels(other));
        }
        prop_assert_eq!(one.quote(instrument), other.quote(instrument));
        prop_assert_eq!(one.ticker(instrument), other.ticker(instrument));
        prop_assert_eq!(one.status(instrument), other.status(instrument));
    }
    Ok(())
}

#[test]
fn a_state_is_told_in_the_order_in_which_it_can_be_taken() {
    let mut deriver = deriver(&[EVERYTHING]);
    let trade = |price, quantity| last(primary(PrimaryKind::Trade, None, 0, price, quantity));
    apply(
        &mut deriver,
        &[add(2, Side::Bid, 99, 5), add(1, Side::Bid, 99, 6), last(add(3, Side::Bid, 98, 1))],
    );
    apply(&mut deriver, &[trade(97, 4), trade(101, 3), last(status(Status::Halted))]);
    apply(&mut deriver, &[last(primary(PrimaryKind::Level, Some(Side::Ask), 0, 102, 8))]);
    let told: Vec<_> = snapshot(&deriver, 1)
        .iter()
        .map(|p| (p.kind().unwrap(), p.order_id, p.price, p.quantity, p.level, p.is_last()))
        .collect();
    use PrimaryKind::{Add, Clear, Level, Status as State, Trade};
    let halted = Status::Halted as u8;
    assert_eq!(
        told,
        [
            (State, 0, ABSENT, 0, halted, false),
            (Trade, 0, 101, 7, 0, false),
            (Clear, 0, ABSENT, 0, 0, false),
            (Add, 2, 99, 5, 0, false),
            (Add, 1, 99, 6, 0, false),
            (Add, 3, 98, 1, 0, false),
            (Level, 0, 102, 8, 0, true),
        ]
    );
    assert!(
        snapshot(&deriver, 1).iter().all(|p| p.flags & primary_flags::SNAPSHOT != 0 && p.ts_event_ns == 9)
    );
}

#[test]
fn a_trade_of_a_snapshot_is_told_by_the_ticker_alone() {
    let mut deriver = deriver(&[EVERYTHING]);
    let trade = Primary {
        flags: primary_flags::SNAPSHOT | primary_flags::LAST,
        ..primary(PrimaryKind::Trade, None, 0, 101, 7)
    };
    let ticker = Ticker { last: 101, volume: 7, ..Ticker::EMPTY };
    assert_eq!(bodies(&apply(&mut deriver, &[trade])), [Body::Ticker(ticker)]);
    assert_eq!(deriver.bar(0, Period::Second), None);
}

proptest! {
    #[test]
    fn who_takes_a_state_goes_on_as_who_had_it(
        before in proptest::collection::vec(random_primary(), 0..600),
        after in proptest::collection::vec(random_primary(), 0..300),
        other in proptest::collection::vec(random_primary(), 0..300),
    ) {
        let mut straight = deriver(&[EVERYTHING; 3]);
        apply(&mut straight, &before);
        let ends = (0..3).map(|instrument| Primary {
            instrument,
            ..last(primary(PrimaryKind::Note, None, 0, 0, 0))
        });
        apply(&mut straight, &ends.collect::<Vec<_>>());
        prop_assert!(straight.is_between_events());
        let state = snapshot(&straight, 3);
        let mut fresh = deriver(&[EVERYTHING; 3]);
        // Who had another state before holds this one all the same, but for trades where there were none.
        let mut changed = deriver(&[EVERYTHING; 3]);
        let not_traded = |p: &Primary| p.kind != PrimaryKind::Trade as u8;
        apply(&mut changed, &other.into_iter().filter(not_traded).collect::<Vec<_>>());
        for deriver in [&mut fresh, &mut changed] {
            apply(deriver, &state);
            same_state(&straight, deriver, 3)?;
            prop_assert_eq!(&snapshot(deriver, 3), &state);
        }
        apply(&mut straight, &after);
        apply(&mut fresh, &after);
        let mut out = Vec::new();
        straight.finish(&mut out);
        fresh.finish(&mut out);
        same_state(&straight, &fresh, 3)?;
    }

    #[test]
    fn books_alone_are_the_same_books(primaries in proptest::collection::vec(random_primary(), 0..600)) {
        let mut full = deriver(&[EVERYTHING; 3]);
        let mut books = Deriver::of_books(&catalog(&[EVERYTHING; 3]));
        apply(&mut full, &primaries);
        prop_assert_eq!(apply(&mut books, &primaries), []);
        // Within open events as well, restated levels included.
        let mut taken = deriver(&[EVERYTHING; 3]);
        apply(&mut taken, &snapshot(&books, 3));
        let mut out = Vec::new();
        for deriver in [&mut full, &mut books, &mut taken] {
            deriver.finish(&mut out);
        }
        same_state(&full, &books, 3)?;
        same_state(&full, &taken, 3)?;
    }
}
