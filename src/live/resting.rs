//! What rests of each order that a writer has told of: a message says what an order has left, a record what leaves it.

use rustc_hash::FxHashMap;

use crate::model::{Primary, PrimaryKind};

/// The orders of one writer. It holds as many as the books that are made of the same records.
#[derive(Default)]
pub(super) struct Resting {
    /// By instrument.
    orders: FxHashMap<u32, FxHashMap<u64, i64>>,
}

impl Resting {
    /// What rests of an order; `None`: it is not known.
    pub fn quantity(&self, instrument: u32, order_id: u64) -> Option<i64> {
        self.orders.get(&instrument)?.get(&order_id).copied()
    }

    /// Takes a record that goes to the books.
    pub fn follow(&mut self, record: &Primary) {
        let Primary { instrument, order_id, quantity, .. } = *record;
        match record.kind() {
            Some(PrimaryKind::Add) => {
                // One that comes twice changes no book.
                self.orders.entry(instrument).or_default().entry(order_id).or_insert(quantity);
            }
            Some(PrimaryKind::Modify) => self.set(instrument, order_id, quantity),
            Some(PrimaryKind::Cancel | PrimaryKind::Execute) => {
                if let Some(rests) = self.quantity(instrument, order_id) {
                    self.set(instrument, order_id, rests.saturating_sub(quantity));
                }
            }
            Some(PrimaryKind::Clear) => drop(self.orders.remove(&instrument)),
            _ => {}
        }
    }

    fn set(&mut self, instrument: u32, order_id: u64, quantity: i64) {
        let orders = self.orders.entry(instrument).or_default();
        if quantity > 0 {
            orders.insert(order_id, quantity);
        } else {
            orders.remove(&order_id);
        }
    }
}
