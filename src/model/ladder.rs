//! The price levels of one side of a book, sorted, with whatever payload a book keeps for a level.
//!
//! Nearly every change of a real book happens within a few levels of the best price, yet a book may be 100,000 levels
//! deep. So the levels stand in small sorted chunks, worst first: the best level is the last entry of the last chunk,
//! a change there moves a handful of entries, and a change anywhere moves one chunk at the most. An array of fences
//! (the lowest key of each chunk) finds the chunk of a deep level without touching the chunks themselves.

use super::Side;

/// Entries of a full chunk. At 16 bytes an entry a chunk fills 16 cache lines, and an insertion moves half of them in
/// the mean; 100,000 levels make some 2,000 chunks, whose fences fit in a core's first cache.
const CHUNK_LEVELS: usize = 64;

/// A chunk with fewer entries than this is joined with a neighbour where that leaves room to grow, so that removals
/// cannot leave a trail of nearly empty chunks.
const CHUNK_LEVELS_MIN: usize = CHUNK_LEVELS / 4;

/// The most entries that two chunks may have together to be joined. It is a quarter short of a full chunk: a chunk
/// just joined must grow before it splits again, so joining and splitting cannot alternate.
const CHUNK_LEVELS_JOINED_MAX: usize = CHUNK_LEVELS / 4 * 3;

/// Entries from the best of a chunk that are looked at one by one before a binary search takes over.
const SCAN_LEVELS: usize = 8;

/// The price levels of one side, best first, each with a payload of type `V`.
///
/// Every price of the i64 range may be a level. Finding, adding and removing cost a few comparisons near the best
/// price, O(log n) comparisons and the move of at most one chunk of 64 entries elsewhere.
#[derive(Clone, Debug)]
pub struct Ladder<V> {
    /// Turns a price into a key that is greater for a better price, and back: 0 for bids, all bits for asks (`!price`
    /// reverses the order of the integers and, unlike `-price`, cannot overflow).
    flip: i64,
    /// Levels in all chunks.
    len: usize,
    /// At the position of each chunk a key that is not above the chunk's lowest and above all of the chunk before;
    /// the first is the smallest key there is, so that every key has its chunk.
    fences: Vec<i64>,
    /// Sorted entries (key, payload), ascending within a chunk and from chunk to chunk. There is at least one chunk;
    /// none is empty, but the only one of an empty ladder.
    chunks: Vec<Vec<(i64, V)>>,
}

impl<V> Ladder<V> {
    /// A side without levels.
    pub fn new(side: Side) -> Ladder<V> {
        let flip = match side {
            Side::Bid => 0,
            Side::Ask => !0,
        };
        Ladder { flip, len: 0, fences: vec![i64::MIN], chunks: vec![Vec::new()] }
    }

    /// How many levels there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no level.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The best level: its price and payload.
    #[inline]
    pub fn best(&self) -> Option<(i64, &V)> {
        let (key, value) = self.chunks.last()?.last()?;
        Some((key ^ self.flip, value))
    }

    /// The payload of the level at that price.
    #[inline]
    pub fn get(&self, price: i64) -> Option<&V> {
        let (chunk, found) = self.locate(price ^ self.flip);
        found.ok().map(|at| &self.chunks[chunk][at].1)
    }

    /// The payload of the level at that price, to be changed in place.
    #[inline]
    pub fn get_mut(&mut self, price: i64) -> Option<&mut V> {
        let (chunk, found) = self.locate(price ^ self.flip);
        found.ok().map(|at| &mut self.chunks[chunk][at].1)
    }

    /// The payload of the level at that price; a level that is not there is added with the payload that `make` gives.
    #[inline]
    pub fn get_or_insert_with(&mut self, price: i64, make: impl FnOnce() -> V) -> &mut V {
        let key = price ^ self.flip;
        let (chunk, found) = self.locate(key);
        let (chunk, at) = match found {
            Ok(at) => (chunk, at),
            Err(at) => self.insert_at(chunk, at, key, make()),
        };
        &mut self.chunks[chunk][at].1
    }

    /// Puts a payload at a price and returns what stood there before.
    #[inline]
    pub fn insert(&mut self, price: i64, value: V) -> Option<V> {
        let key = price ^ self.flip;
        let (chunk, found) = self.locate(key);
        match found {
            Ok(at) => Some(std::mem::replace(&mut self.chunks[chunk][at].1, value)),
            Err(at) => {
                self.insert_at(chunk, at, key, value);
                None
            }
        }
    }

    /// Takes the level at that price out and returns what stood there.
    #[inline]
    pub fn remove(&mut self, price: i64) -> Option<V> {
        let (chunk, found) = self.locate(price ^ self.flip);
        let at = found.ok()?;
        let entries = &mut self.chunks[chunk];
        let (_, value) = entries.remove(at);
        self.len -= 1;
        if entries.len() < CHUNK_LEVELS_MIN && self.chunks.len() > 1 {
            self.join(chunk);
        }
        Some(value)
    }

    /// Every level, best first: its price and payload.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &V)> {
        let entries = self.chunks.iter().rev().flat_map(|chunk| chunk.iter().rev());
        entries.map(|(key, value)| (key ^ self.flip, value))
    }

    /// Removes every level; the memory of one chunk is kept for the next.
    pub fn clear(&mut self) {
        self.len = 0;
        self.fences.truncate(1);
        self.chunks.truncate(1);
        self.chunks[0].clear();
    }

    /// The chunk that a key belongs to, and where in it the key is (`Ok`) or would stand (`Err`).
    #[inline]
    fn locate(&self, key: i64) -> (usize, Result<usize, usize>) {
        let last = self.chunks.len() - 1;
        let chunk = if key >= self.fences[last] {
            last
        } else {
            self.fences.partition_point(|fence| *fence <= key) - 1
        };
        (chunk, search(&self.chunks[chunk], key))
    }

    /// Adds an entry that is not there, splitting a full chunk in two, and returns where it stands.
    #[inline]
    fn insert_at(&mut self, mut chunk: usize, mut at: usize, key: i64, value: V) -> (usize, usize) {
        if self.chunks[chunk].len() == CHUNK_LEVELS {
            self.split(chunk);
            if at > CHUNK_LEVELS / 2 {
                at -= CHUNK_LEVELS / 2;
                chunk += 1;
            }
        }
        self.chunks[chunk].insert(at, (key, value));
        self.len += 1;
        (chunk, at)
    }

    /// Moves the better half of a full chunk into a chunk of its own.
    #[cold]
    fn split(&mut self, chunk: usize) {
        let mut better = Vec::with_capacity(CHUNK_LEVELS);
        better.extend(self.chunks[chunk].drain(CHUNK_LEVELS / 2..));
        self.fences.insert(chunk + 1, better[0].0);
        self.chunks.insert(chunk + 1, better);
    }

    /// Joins a chunk that has become small with the better or the worse neighbour, if both together leave room to
    /// grow or it is empty.
    #[cold]
    fn join(&mut self, chunk: usize) {
        let len = self.chunks[chunk].len();
        let better = (chunk + 1 < self.chunks.len()).then_some(chunk);
        let worse = chunk.checked_sub(1);
        for left in [better, worse].into_iter().flatten() {
            let joined = self.chunks[left].len() + self.chunks[left + 1].len();
            if len == 0 || joined <= CHUNK_LEVELS_JOINED_MAX {
                self.fences.remove(left + 1);
                let mut right = self.chunks.remove(left + 1);
                self.chunks[left].append(&mut right);
                return;
            }
        }
    }
}

/// Where the key is (`Ok`) or would stand (`Err`) among ascending entries: the best few one by one, then by halves.
#[inline]
fn search<V>(entries: &[(i64, V)], key: i64) -> Result<usize, usize> {
    let scanned = entries.len().saturating_sub(SCAN_LEVELS);
    for at in (scanned..entries.len()).rev() {
        let other = entries[at].0;
        if other <= key {
            return if other == key { Ok(at) } else { Err(at + 1) };
        }
    }
    entries[..scanned].binary_search_by_key(&key, |entry| entry.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl<V> Ladder<V> {
        /// What the fields promise one another.
        fn check(&self) {
            assert_eq!(self.fences.len(), self.chunks.len());
            assert_eq!(self.fences[0], i64::MIN);
            assert_eq!(self.len, self.chunks.iter().map(Vec::len).sum::<usize>());
            let keys: Vec<i64> = self.chunks.iter().flatten().map(|entry| entry.0).collect();
            assert!(keys.is_sorted_by(|a, b| a < b));
            for (at, chunk) in self.chunks.iter().enumerate() {
                assert!(chunk.len() <= CHUNK_LEVELS);
                assert!(!chunk.is_empty() || self.chunks.len() == 1);
                assert!(chunk.iter().all(|entry| entry.0 >= self.fences[at]));
                assert!(at == 0 || self.chunks[at - 1].iter().all(|entry| entry.0 < self.fences[at]));
            }
        }
    }

    #[test]
    fn every_price_may_be_a_level_on_either_side() {
        let prices = [i64::MIN, -1, 0, 1, i64::MAX];
        for (side, best_first) in [(Side::Bid, [4, 3, 2, 1, 0]), (Side::Ask, [0, 1, 2, 3, 4])] {
            let mut ladder = Ladder::new(side);
            for price in [0, i64::MAX, -1, i64::MIN, 1] {
                assert_eq!(ladder.insert(price, price), None);
            }
            let listed: Vec<i64> = ladder.iter().map(|(price, _)| price).collect();
            assert_eq!(listed, best_first.map(|at: usize| prices[at]));
            assert_eq!(ladder.best().map(|(price, _)| price), Some(listed[0]));
        }
    }

    #[test]
    fn a_deep_ladder_stays_in_well_filled_chunks() {
        let mut ladder = Ladder::new(Side::Ask);
        for step in 0..100_000_i64 {
            ladder.insert(step * 7_919 % 100_000, step);
        }
        ladder.check();
        assert_eq!(ladder.len(), 100_000);
        for price in (0..100_000).filter(|price| price % 50 != 0) {
            assert!(ladder.remove(price).is_some());
        }
        ladder.check();
        assert_eq!(ladder.len(), 2_000);
        assert!(ladder.chunks.len() <= 2_000 / CHUNK_LEVELS_MIN, "{} chunks", ladder.chunks.len());
        while let Some((price, _)) = ladder.best() {
            ladder.remove(price);
        }
        ladder.check();
        assert_eq!(ladder.chunks.len(), 1);
    }

    proptest! {
        #[test]
        fn agrees_with_a_btree_map(
            ask in any::<bool>(),
            steps in proptest::collection::vec((0_u8..10, -400_i64..400, any::<i64>()), 0..3_000),
        ) {
            let side = if ask { Side::Ask } else { Side::Bid };
            let mut ladder = Ladder::new(side);
            let mut oracle = BTreeMap::new();
            for (action, price, value) in steps {
                match action {
                    0..5 => prop_assert_eq!(ladder.insert(price, value), oracle.insert(price, value)),
                    5..8 => prop_assert_eq!(ladder.remove(price), oracle.remove(&price)),
                    8 => {
                        let expected = oracle.entry(price).or_insert(value);
                        prop_assert_eq!(ladder.get_or_insert_with(price, || value), expected);
                    }
                    _ => prop_assert_eq!(ladder.get_mut(price), oracle.get_mut(&price)),
                }
                prop_assert_eq!(ladder.get(price), oracle.get(&price));
                prop_assert_eq!(ladder.len(), oracle.len());
            }
            ladder.check();
            let mut expected: Vec<(i64, &i64)> = oracle.iter().map(|(price, value)| (*price, value)).collect();
            if !ask {
                expected.reverse();
            }
            prop_assert_eq!(ladder.best(), expected.first().copied());
            prop_assert!(ladder.iter().eq(expected));
            ladder.clear();
            ladder.check();
            prop_assert!(ladder.is_empty());
        }
    }
}
