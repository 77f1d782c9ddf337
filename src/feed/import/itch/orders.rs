//! The orders of all stocks that rest, as far as executions and cancels need them: they name an order and nothing
//! else.

use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;

use crate::limits;
use crate::model::Side;

/// A resting order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// The instrument's number in the catalog.
    pub instrument: u32,
    pub price: u32,
    /// What rests.
    pub shares: u32,
    pub side: Side,
}

/// The resting orders, by reference number.
#[derive(Default)]
pub(super) struct Orders(FxHashMap<u64, Order>);

/// Why an order is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// One of that reference rests.
    Duplicate,
    /// [`limits::IMPORT_ORDERS_MAX`] rest.
    Full,
}

impl Orders {
    /// An order rests from now on.
    pub fn add(&mut self, reference: u64, order: Order) -> Result<(), Refused> {
        let is_full = self.0.len() >= limits::IMPORT_ORDERS_MAX;
        match self.0.entry(reference) {
            Entry::Occupied(_) => Err(Refused::Duplicate),
            Entry::Vacant(_) if is_full => Err(Refused::Full),
            Entry::Vacant(entry) => {
                entry.insert(order);
                Ok(())
            }
        }
    }

    /// The order leaves; as it was.
    pub fn remove(&mut self, reference: u64) -> Option<Order> {
        self.0.remove(&reference)
    }

    /// So much of the order leaves, or all that rests; as it was.
    pub fn reduce(&mut self, reference: u64, shares: u32) -> Option<Order> {
        let Entry::Occupied(mut entry) = self.0.entry(reference) else { return None };
        let order = *entry.get();
        match order.shares.checked_sub(shares) {
            None | Some(0) => {
                entry.remove();
            }
            Some(rest) => entry.get_mut().shares = rest,
        }
        Some(order)
    }
}
