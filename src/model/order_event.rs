//! One change of one resting order: what channel `orders` tells.

use super::{ABSENT, Side};

/// What happened to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OrderAction {
    /// It joins the end of the queue at its price.
    Add = 1,
    /// Its price and quantity are now these. It keeps its place in the queue only if the price stays and the quantity
    /// does not grow; else it joins the end of the queue at its price.
    Modify = 2,
    /// Part or all of it was withdrawn.
    Cancel = 3,
    /// Part or all of it was filled.
    Execute = 4,
    /// Every order of the instrument is gone.
    Clear = 5,
}

impl OrderAction {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            OrderAction::Add => "add",
            OrderAction::Modify => "modify",
            OrderAction::Cancel => "cancel",
            OrderAction::Execute => "execute",
            OrderAction::Clear => "clear",
        }
    }

    /// The action of that number.
    pub const fn from_number(number: u8) -> Option<OrderAction> {
        match number {
            1 => Some(OrderAction::Add),
            2 => Some(OrderAction::Modify),
            3 => Some(OrderAction::Cancel),
            4 => Some(OrderAction::Execute),
            5 => Some(OrderAction::Clear),
            _ => None,
        }
    }
}

/// One change of one resting order, as [`super::OrderBook::follow`] applies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderChange {
    /// What happened.
    pub action: OrderAction,
    /// The order; 0 in a clear.
    pub order_id: u64,
    /// Its side; `None` in a clear.
    pub side: Option<Side>,
    /// Its price afterwards; [`ABSENT`] in a clear.
    pub price: i64,
    /// What rests of it afterwards; 0: it is gone.
    pub quantity: i64,
    /// How much of it was filled (execute); else 0.
    pub executed: i64,
}

impl OrderChange {
    /// Every order is gone.
    pub const CLEAR: OrderChange = OrderChange {
        action: OrderAction::Clear,
        order_id: 0,
        side: None,
        price: ABSENT,
        quantity: 0,
        executed: 0,
    };
}
