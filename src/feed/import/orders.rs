//! The orders of an input that rest, as far as executions and cancels need them, which name an order and may say
//! nothing else of it.

use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;

use super::findings::Findings;
use crate::limits;
use crate::model::Side;

/// What the report calls a reference that leads nowhere.
const NEVER_ADDED: &str = "references to orders that were never added, or are gone";
const ADDED_TWICE: &str = "orders added while one of the same reference rests";
const TOO_MANY: &str = "orders that rest beyond the number that is kept";
const MORE_THAN_RESTS: &str = "executions and cancels of more than rests";

/// A resting order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// The instrument's number in the catalog.
    pub instrument: u32,
    pub side: Side,
    pub price: i64,
    /// What rests.
    pub quantity: i64,
}

/// The resting orders, by reference number. What is odd is counted.
#[derive(Default)]
pub(super) struct Orders(FxHashMap<u64, Order>);

impl Orders {
    /// An order rests from now on; false where one of that reference does already. Of more than
    /// [`limits::IMPORT_ORDERS_MAX`] nothing is known later.
    pub fn add(&mut self, reference: u64, order: Order, findings: &mut Findings) -> bool {
        let is_full = self.0.len() >= limits::IMPORT_ORDERS_MAX;
        match self.0.entry(reference) {
            Entry::Occupied(_) => {
                findings.odd(ADDED_TWICE);
                return false;
            }
            Entry::Vacant(_) if is_full => findings.odd(TOO_MANY),
            Entry::Vacant(entry) => {
                entry.insert(order);
            }
        }
        true
    }

    /// The order leaves; as it was.
    pub fn remove(&mut self, reference: u64, findings: &mut Findings) -> Option<Order> {
        let order = self.0.remove(&reference);
        if order.is_none() {
            findings.odd(NEVER_ADDED);
        }
        order
    }

    /// So much of the order leaves, or all that rests. Gives the order with the quantity that leaves.
    pub fn reduce(&mut self, reference: u64, quantity: i64, findings: &mut Findings) -> Option<Order> {
        let Entry::Occupied(mut entry) = self.0.entry(reference) else {
            findings.odd(NEVER_ADDED);
            return None;
        };
        let order = *entry.get();
        if quantity < order.quantity {
            entry.get_mut().quantity -= quantity;
            return Some(Order { quantity, ..order });
        }
        if quantity > order.quantity {
            findings.odd(MORE_THAN_RESTS);
        }
        Some(entry.remove())
    }
}
