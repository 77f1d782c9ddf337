//! Channel `orders`: each change of an order, and a book that follows them.

use super::*;
use crate::model::{OrderBook, OrderChange};

const ORDERS: ChannelSet = ChannelSet::of(&[Channel::Orders]);

fn told(
    action: OrderAction,
    order_id: u64,
    side: Side,
    price: i64,
    quantity: i64,
    executed: i64,
) -> OrderChange {
    OrderChange { action, order_id, side: Some(side), price, quantity, executed }
}

fn changes(events: &[Event]) -> Vec<OrderChange> {
    let change = |event: &Event| if let Body::Order(change) = event.body() { Some(change) } else { None };
    events.iter().filter_map(change).collect()
}

#[test]
fn each_change_is_told_with_what_rests_afterwards() {
    use OrderAction::{Add, Cancel, Execute, Modify};
    let mut deriver = deriver(&[ORDERS]);
    let execute = |order_id, quantity| primary(PrimaryKind::Execute, None, order_id, ABSENT, quantity);
    let modify =
        |order_id, price, quantity| primary(PrimaryKind::Modify, Some(Side::Ask), order_id, price, quantity);
    let (bid, ask) = (Side::Bid, Side::Ask);
    let clear = primary(PrimaryKind::Clear, None, 0, ABSENT, 0);
    let steps = [
        (add(1, bid, 99, 9), Some(told(Add, 1, bid, 99, 9, 0))),
        (cancel(1, 2), Some(told(Cancel, 1, bid, 99, 7, 0))),
        (execute(1, 3), Some(told(Execute, 1, bid, 99, 4, 3))),
        (modify(1, 98, 6), Some(told(Modify, 1, bid, 98, 6, 0))),
        (modify(1, 98, 6), Some(told(Modify, 1, bid, 98, 6, 0))),
        // An unknown order is added, and one that is left with nothing is gone whatever price came with it.
        (modify(2, 101, 5), Some(told(Add, 2, ask, 101, 5, 0))),
        (modify(2, 105, 0), Some(told(Cancel, 2, ask, 101, 0, 0))),
        // Of more than rests, what rests: it is wrong and changes the book all the same.
        (execute(1, 60), Some(told(Execute, 1, bid, 98, 0, 6))),
        (add(3, ask, 101, 5), Some(told(Add, 3, ask, 101, 5, 0))),
        (cancel(3, 60), Some(told(Cancel, 3, ask, 101, 0, 0))),
        (cancel(3, 1), None),
        (clear, None),
        (add(4, bid, 99, 1), Some(told(Add, 4, bid, 99, 1, 0))),
        (clear, Some(OrderChange::CLEAR)),
        (clear, None),
    ];
    let events = apply(&mut deriver, &steps.map(|(primary, _)| last(primary)));
    let expected: Vec<OrderChange> = steps.iter().filter_map(|(_, change)| *change).collect();
    assert_eq!(changes(&events), expected);
    assert!(events.iter().map(|event| event.seq).eq(1..=expected.len() as u64));
    assert_eq!(deriver.inconsistencies(), 3);
}

#[test]
fn an_order_that_came_and_went_within_an_event_is_told_too() {
    let mut deriver = deriver(&[EVERYTHING]);
    let events = apply(&mut deriver, &[add(1, Side::Bid, 99, 5), last(cancel(1, 5))]);
    let came = told(OrderAction::Add, 1, Side::Bid, 99, 5, 0);
    let went = told(OrderAction::Cancel, 1, Side::Bid, 99, 0, 0);
    assert_eq!(bodies(&events), [Body::Order(came), Body::Order(went)], "the book stands as before");
    assert_eq!((events[0].flags, events[1].flags), (0, LAST | LAST_OF_STREAM));
}

#[test]
fn a_snapshot_without_an_end_comes_in_pieces_that_give_the_same_orders() {
    let mut deriver = deriver(&[EVERYTHING]);
    let mut events = apply(&mut deriver, &sell_at_each(8_725));
    assert!(
        events.chunk_by(|before, _| before.flags & CUT == 0).all(|piece| piece.len() <= EVENT_RECORDS_MAX)
    );
    assert!(positions(&events, CUT).len() > 2);
    assert_eq!(positions(&events, LAST | LAST_OF_STREAM), [0; 0]);
    deriver.finish(&mut events);
    let mut book = OrderBook::new();
    for change in changes(&events) {
        book.follow(&change).unwrap();
    }
    assert_eq!(book.len(), 8_725);
    assert!(book.orders(Side::Ask).eq(deriver.orders(0).orders(Side::Ask)));
}
