//! The state of an instrument, told as a source would tell it.

use super::market::Market;
use crate::model::{ABSENT, Level, Primary, PrimaryKind, Side, primary_flags};

impl Market {
    /// Appends the state as primaries of that event time, see [`super::Deriver::snapshot`].
    pub fn snapshot(&self, ts_event_ns: u64, out: &mut Vec<Primary>) {
        let new = |kind| Primary {
            flags: primary_flags::SNAPSHOT,
            price: ABSENT,
            ..Primary::new(kind, self.instrument, ts_event_ns)
        };
        out.push(Primary { level: self.status as u8, ..new(PrimaryKind::Status) });
        if self.last != ABSENT {
            out.push(Primary { price: self.last, quantity: self.volume, ..new(PrimaryKind::Trade) });
        }
        out.push(new(PrimaryKind::Clear));
        for side in [Side::Bid, Side::Ask] {
            let of_side = |kind, price, quantity| Primary { side: side as u8, price, quantity, ..new(kind) };
            out.extend(self.orders.orders(side).map(|order| Primary {
                order_id: order.order_id,
                ..of_side(PrimaryKind::Add, order.price, order.quantity)
            }));
            // Where the source tells of orders they make the levels; what stands otherwise is told by itself.
            let of_orders = |price| self.orders.level(side, price).0;
            let without_orders = self.book.levels(side).filter(|level| of_orders(level.price) == 0);
            let otherwise = self.orders.levels(side).filter_map(|level| {
                let quantity = self.book.quantity(side, level.price);
                (quantity != level.quantity).then_some(Level { quantity, ..level })
            });
            out.extend(
                without_orders
                    .chain(otherwise)
                    .map(|level| of_side(PrimaryKind::Level, level.price, level.quantity)),
            );
        }
        if let Some(last) = out.last_mut() {
            last.flags |= primary_flags::LAST;
        }
        // What an open event has restated counts when it ends.
        for side in [Side::Bid, Side::Ask] {
            let restated = self.open.iter().flat_map(|pending| (0..).zip(&pending.tops[side.index()]));
            out.extend(restated.map(|(level, top): (u8, &Level)| Primary {
                side: side as u8,
                level,
                price: top.price,
                quantity: top.quantity,
                ..new(PrimaryKind::Top)
            }));
        }
    }
}
