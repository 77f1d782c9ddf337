//! What a stream's messages have led to, as a hash: two clients that were told the same have the same one.

use std::collections::{BTreeMap, HashMap};

use crate::wire::{CHECKSUM, CLEAR, Level, Message, ORDER, ORDERBOOK, ORDERS, SNAPSHOT, crc32c};

/// Splitmix64: different words give different hashes.
fn mix(hash: u64, word: u64) -> u64 {
    let mut word = hash.wrapping_add(word).wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

fn hash_of(words: impl IntoIterator<Item = u64>) -> u64 {
    words.into_iter().fold(0, mix)
}

/// What a client holds of a stream.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Bids and asks: price to quantity.
    sides: [BTreeMap<i64, i64>; 2],
    /// Resting orders: side (0 bid, 1 ask), price, quantity.
    orders: HashMap<u64, (usize, i64, i64)>,
    /// Levels or orders of the snapshot whose last part has not come.
    parts: [Vec<Level>; 2],
    parts_orders: Vec<(u64, (usize, i64, i64))>,
    /// Of all that is held: an exclusive or over its entries, so that a change costs no look at the rest.
    hash: u64,
}

impl State {
    /// Takes a message; a snapshot of several parts has its effect with the last. `depth` is the view's.
    pub fn take(&mut self, message: &Message<'_>, depth: Option<u64>) {
        match message.kind {
            ORDERBOOK if message.has(SNAPSHOT) => {
                for (side, levels) in message.levels().into_iter().enumerate() {
                    self.parts[side].extend(levels);
                }
                if is_last_part(message) {
                    (self.sides, self.hash) = Default::default();
                    for side in [0, 1] {
                        let levels = std::mem::take(&mut self.parts[side]);
                        levels.into_iter().for_each(|level| self.set_level(side, level));
                    }
                }
            }
            ORDERBOOK => {
                for (side, levels) in message.levels().into_iter().enumerate() {
                    levels.for_each(|level| self.set_level(side, level));
                }
            }
            ORDERS => {
                for (side, orders) in message.orders().into_iter().enumerate() {
                    self.parts_orders
                        .extend(orders.map(|order| (order.id, (side, order.price, order.quantity))));
                }
                if is_last_part(message) {
                    (self.orders, self.hash) = Default::default();
                    for (id, order) in std::mem::take(&mut self.parts_orders) {
                        self.set_order(id, Some(order));
                    }
                }
            }
            ORDER => {
                let change = message.order();
                match change.action {
                    CLEAR => (self.orders, self.hash) = Default::default(),
                    1..CLEAR => {
                        let order = (usize::from(change.side) - 1, change.price, change.quantity);
                        self.set_order(change.id, (change.quantity > 0).then_some(order));
                    }
                    other => panic!("action {other}"),
                }
            }
            // One message says it all.
            _ => {
                let words = message.body.chunks_exact(8);
                self.hash = hash_of(words.map(|word| u64::from_le_bytes(word.try_into().unwrap())));
            }
        }
        if message.kind == ORDERBOOK && message.has(CHECKSUM) {
            assert!(is_last_part(message), "the checksum stands in the last part");
            assert_eq!(message.checksum(), self.checksum(depth), "checksum of {message:?}");
        }
    }

    /// Forgets the parts of a snapshot that has not come whole.
    pub fn forget_parts(&mut self) {
        self.parts = Default::default();
        self.parts_orders.clear();
    }

    fn set_level(&mut self, side: usize, level: Level) {
        let hash = |quantity: i64| hash_of([side as u64, level.price as u64, quantity as u64]);
        let before = match level.quantity {
            0 => self.sides[side].remove(&level.price),
            quantity => {
                self.hash ^= hash(quantity);
                self.sides[side].insert(level.price, quantity)
            }
        };
        self.hash ^= before.map_or(0, hash);
    }

    fn set_order(&mut self, id: u64, order: Option<(usize, i64, i64)>) {
        let hash = |(side, price, quantity): (usize, i64, i64)| {
            hash_of([id, side as u64, price as u64, quantity as u64])
        };
        let before = match order {
            None => self.orders.remove(&id),
            Some(order) => {
                self.hash ^= hash(order);
                self.orders.insert(id, order)
            }
        };
        self.hash ^= before.map_or(0, hash);
    }

    /// Of all that is held.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Of the best levels of a book.
    pub fn hash_of_top(&self, depth: usize) -> u64 {
        hash_of(self.best(depth).flat_map(|(side, level)| [side, level.price as u64, level.quantity as u64]))
    }

    /// How many levels a side is held.
    pub fn levels(&self) -> [usize; 2] {
        [self.sides[0].len(), self.sides[1].len()]
    }

    /// Bids (0), then asks (1), best first.
    fn best(&self, depth: usize) -> impl Iterator<Item = (u64, Level)> {
        let level = |(price, quantity): (&i64, &i64)| Level { price: *price, quantity: *quantity };
        let bids = self.sides[0].iter().rev().take(depth).map(move |entry| (0, level(entry)));
        bids.chain(self.sides[1].iter().take(depth).map(move |entry| (1, level(entry))))
    }

    fn checksum(&self, depth: Option<u64>) -> u32 {
        let levels = depth.map_or(10, |depth| depth.min(10));
        let bytes = |(_, level): (u64, Level)| {
            level.price.to_le_bytes().into_iter().chain(level.quantity.to_le_bytes())
        };
        crc32c(self.best(levels as usize).flat_map(bytes))
    }
}

fn is_last_part(message: &Message<'_>) -> bool {
    let (part, parts) = message.part();
    part == parts
}
