use proptest::prelude::*;

use super::*;

fn order(order_id: u64, side: Side, price: i64, quantity: i64) -> Order {
    Order { order_id, side, price, quantity }
}

/// Price-time priority as one would write it on a blackboard: all orders of a side in one list, best price first.
#[derive(Default)]
struct Blackboard {
    sides: [Vec<Order>; 2],
}

impl Blackboard {
    fn add(&mut self, order: Order) {
        let better_or_equal = |other: &Order| match order.side {
            Side::Bid => other.price >= order.price,
            Side::Ask => other.price <= order.price,
        };
        let orders = &mut self.sides[order.side.index()];
        let at = orders.iter().position(|other| !better_or_equal(other)).unwrap_or(orders.len());
        orders.insert(at, order);
    }

    fn get(&self, order_id: u64) -> Option<Order> {
        self.sides.iter().flatten().find(|order| order.order_id == order_id).copied()
    }

    fn get_mut(&mut self, order_id: u64) -> &mut Order {
        self.sides.iter_mut().flatten().find(|order| order.order_id == order_id).unwrap()
    }

    fn remove(&mut self, order_id: u64) {
        self.sides.iter_mut().for_each(|orders| orders.retain(|order| order.order_id != order_id));
    }

    fn at_price(&self, side: Side, price: i64) -> i64 {
        let orders = self.sides[side.index()].iter().filter(|order| order.price == price);
        orders.map(|order| order.quantity).sum()
    }

    fn levels(&self, side: Side) -> Vec<(Level, usize)> {
        self.sides[side.index()]
            .chunk_by(|a, b| a.price == b.price)
            .map(|queue| {
                let quantity = queue.iter().map(|order| order.quantity).sum();
                (Level { price: queue[0].price, quantity }, queue.len())
            })
            .collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Add(Order),
    Reduce(u64, i64),
    Modify(u64, i64, i64),
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0_u64..60;
    let side = prop_oneof![Just(Side::Bid), Just(Side::Ask)];
    let add = (id.clone(), side, -4_i64..4, -1_i64..9);
    prop_oneof![
        3 => add.prop_map(|(id, side, price, quantity)| Step::Add(order(id, side, price, quantity))),
        2 => (id.clone(), -1_i64..9).prop_map(|(id, quantity)| Step::Reduce(id, quantity)),
        2 => (id, -4_i64..4, -1_i64..9).prop_map(|(id, price, quantity)| Step::Modify(id, price, quantity)),
    ]
}

proptest! {
    #[test]
    fn keeps_price_time_priority_as_on_a_blackboard(steps in proptest::collection::vec(step(), 0..600)) {
        let mut book = OrderBook::new();
        let mut board = Blackboard::default();
        for step in steps {
            match step {
                Step::Add(order) => {
                    let expected = if order.quantity <= 0 {
                        Err(OrderError::Quantity { order_id: order.order_id, quantity: order.quantity })
                    } else if board.get(order.order_id).is_some() {
                        Err(OrderError::Duplicate(order.order_id))
                    } else {
                        board.add(order);
                        Ok(board.at_price(order.side, order.price))
                    };
                    prop_assert_eq!(book.add(order), expected);
                }
                Step::Reduce(order_id, quantity) => {
                    let expected = match board.get(order_id) {
                        _ if quantity <= 0 => Err(OrderError::Quantity { order_id, quantity }),
                        None => Err(OrderError::Unknown(order_id)),
                        Some(was) if quantity > was.quantity => {
                            Err(OrderError::TooMuch { order_id, quantity, resting: was.quantity })
                        }
                        Some(was) => {
                            board.get_mut(order_id).quantity -= quantity;
                            if quantity == was.quantity {
                                board.remove(order_id);
                            }
                            let left = Order { quantity: was.quantity - quantity, ..was };
                            Ok((left, board.at_price(was.side, was.price)))
                        }
                    };
                    prop_assert_eq!(book.reduce(order_id, quantity), expected);
                }
                Step::Modify(order_id, price, quantity) => {
                    let expected = match board.get(order_id) {
                        _ if quantity <= 0 => Err(OrderError::Quantity { order_id, quantity }),
                        None => Err(OrderError::Unknown(order_id)),
                        Some(was) if was.price == price && quantity <= was.quantity => {
                            board.get_mut(order_id).quantity = quantity;
                            Ok(was)
                        }
                        Some(was) => {
                            board.remove(order_id);
                            board.add(Order { price, quantity, ..was });
                            Ok(was)
                        }
                    };
                    prop_assert_eq!(book.modify(order_id, price, quantity), expected);
                }
            }
            for side in [Side::Bid, Side::Ask] {
                let orders = &board.sides[side.index()];
                prop_assert!(book.orders(side).eq(orders.iter().copied()));
                prop_assert_eq!(book.front(side), orders.first().copied());
                let levels = board.levels(side);
                prop_assert!(book.levels(side).eq(levels.iter().map(|(level, _)| *level)));
                prop_assert_eq!(book.best(side), levels.first().map(|(level, _)| *level));
                prop_assert_eq!(book.depth(side), levels.len());
                for (level, orders) in levels {
                    prop_assert_eq!(book.level(side, level.price), (level.quantity, orders));
                }
            }
            prop_assert_eq!(book.len(), board.sides.iter().map(Vec::len).sum::<usize>());
            for order_id in 0..60 {
                prop_assert_eq!(book.get(order_id), board.get(order_id));
            }
        }
        book.clear();
        prop_assert!(book.is_empty());
        prop_assert_eq!((book.front(Side::Bid), book.front(Side::Ask)), (None, None));
    }
}

fn change() -> impl Strategy<Value = OrderChange> {
    let action = (0_u8..40).prop_map(|number| OrderAction::from_number(1 + number % 4).unwrap());
    let action = prop_oneof![40 => action, 1 => Just(OrderAction::Clear)];
    let side = prop_oneof![9 => Just(Some(Side::Bid)), 9 => Just(Some(Side::Ask)), 1 => Just(None)];
    (action, 0_u64..30, side, -4_i64..4, -1_i64..9).prop_map(|(action, order_id, side, price, quantity)| {
        OrderChange { action, order_id, side, price, quantity, executed: 0 }
    })
}

proptest! {
    #[test]
    fn follows_what_channel_orders_tells_as_on_a_blackboard(changes in proptest::collection::vec(change(), 0..600)) {
        let mut book = OrderBook::new();
        let mut board = Blackboard::default();
        for change in changes {
            let OrderChange { action, order_id, side, price, quantity, .. } = change;
            let was = board.get(order_id);
            let expected = match (action, was, side) {
                (OrderAction::Clear, ..) => {
                    board = Blackboard::default();
                    Ok(())
                }
                (OrderAction::Add, _, None) => Err(OrderError::Side(order_id)),
                (OrderAction::Add | OrderAction::Modify, ..) if quantity <= 0 => {
                    Err(OrderError::Quantity { order_id, quantity })
                }
                (OrderAction::Add, Some(_), _) => Err(OrderError::Duplicate(order_id)),
                (OrderAction::Add, None, Some(side)) => {
                    board.add(order(order_id, side, price, quantity));
                    Ok(())
                }
                (_, None, _) => Err(OrderError::Unknown(order_id)),
                (OrderAction::Modify, Some(was), _) => {
                    if was.price == price && quantity <= was.quantity {
                        board.get_mut(order_id).quantity = quantity;
                    } else {
                        board.remove(order_id);
                        board.add(Order { price, quantity, ..was });
                    }
                    Ok(())
                }
                (OrderAction::Cancel | OrderAction::Execute, Some(was), _) => {
                    if quantity < 0 {
                        Err(OrderError::Quantity { order_id, quantity })
                    } else if quantity >= was.quantity {
                        Err(OrderError::NotLess { order_id, quantity, resting: was.quantity })
                    } else {
                        board.get_mut(order_id).quantity = quantity;
                        if quantity == 0 {
                            board.remove(order_id);
                        }
                        Ok(())
                    }
                }
            };
            prop_assert_eq!(book.follow(&change), expected);
            for side in [Side::Bid, Side::Ask] {
                prop_assert!(book.orders(side).eq(board.sides[side.index()].iter().copied()));
            }
        }
    }
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut book = OrderBook::new();
    let resting = order(1, Side::Bid, 100, i64::MAX - 1);
    book.add(resting).unwrap();
    book.add(order(2, Side::Bid, 99, 5)).unwrap();
    assert_eq!(book.add(order(3, Side::Bid, ABSENT, 5)), Err(OrderError::Price(3)));
    assert_eq!(book.add(order(3, Side::Bid, 100, 2)), Err(OrderError::Overflow(3)));
    assert_eq!(book.modify(2, 100, 5), Err(OrderError::Overflow(2)));
    assert_eq!(book.modify(1, 100, i64::MAX), Ok(resting), "its own quantity makes way");
    assert_eq!(book.modify(1, ABSENT, 1), Err(OrderError::Price(1)));
    assert_eq!(book.get(1), Some(Order { quantity: i64::MAX, ..resting }));
    assert_eq!(book.get(3), None);
    assert_eq!((book.len(), book.depth(Side::Bid), book.level(Side::Bid, 99)), (2, 2, (5, 1)));
    assert_eq!(
        book.reduce(2, 6).unwrap_err().to_string(),
        "order 2: 6 cannot leave; 5 rest",
        "the message names the order, the value and what is allowed"
    );
}

#[test]
fn a_long_queue_is_left_from_the_middle_without_a_walk_and_in_order() {
    let mut book = OrderBook::new();
    for order_id in 0..10_000 {
        book.add(order(order_id, Side::Ask, 7, 1)).unwrap();
    }
    for order_id in (0..10_000).filter(|id| id % 3 != 1) {
        book.reduce(order_id, 1).unwrap();
    }
    let left: Vec<u64> = book.orders(Side::Ask).map(|order| order.order_id).collect();
    assert!(left.iter().copied().eq((0..10_000).filter(|id| id % 3 == 1)));
    assert_eq!(book.level(Side::Ask, 7), (left.len() as i64, left.len()));
    assert_eq!(book.front(Side::Ask).unwrap().order_id, 1);
}

/// A source that only adds orders does not take all memory.
#[test]
fn a_full_book_takes_no_new_order() {
    let mut book = OrderBook::new();
    let order = |order_id| order(order_id, Side::Ask, 5, 1);
    let full = limits::ORDERS_MAX as u64;
    assert!((0..full).all(|id| book.add(order(id)).is_ok()));
    assert_eq!(book.add(order(full)), Err(OrderError::Full(full)));
    book.reduce(7, 1).unwrap();
    assert_eq!(book.add(order(full)), Ok(full as i64));
    assert_eq!(book.add(order(full + 1)), Err(OrderError::Full(full + 1)));
}
