//! Whole frames that several clients get: one buffer, shared.

use std::ops::Deref;
use std::rc::Rc;

use crate::limits;

/// Whole frames back to back: a part of a buffer of which others may have the same part, or others. It belongs to one
/// thread, so that counting who has it costs next to nothing.
#[derive(Clone, Debug)]
pub struct Shared {
    buffer: Rc<Vec<u8>>,
    start: usize,
    end: usize,
}

impl Shared {
    /// The bytes of a buffer from `start` to `end`.
    pub fn part(buffer: &Rc<Vec<u8>>, start: usize, end: usize) -> Shared {
        Shared { buffer: buffer.clone(), start, end }
    }

    /// Takes what follows in the same buffer along; `false` where it lies elsewhere.
    pub fn extend(&mut self, next: &Shared) -> bool {
        let follows = Rc::ptr_eq(&self.buffer, &next.buffer) && self.end == next.start;
        if follows {
            self.end = next.end;
        }
        follows
    }

    /// Whether to keep the whole buffer for so many bytes of it is better than to copy them: they are many, and at least
    /// half of what it has.
    pub fn is_worth_keeping(&self, bytes: usize) -> bool {
        bytes >= limits::LENT_BYTES_MIN && 2 * bytes >= self.buffer.len()
    }
}

impl Deref for Shared {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }
}

impl From<Vec<u8>> for Shared {
    fn from(bytes: Vec<u8>) -> Shared {
        let end = bytes.len();
        Shared { buffer: Rc::new(bytes), start: 0, end }
    }
}

/// Buffers for what is flushed, each taken again once nobody has a part of it any more.
#[derive(Debug, Default)]
pub struct Buffers {
    kept: Vec<Rc<Vec<u8>>>,
}

impl Buffers {
    /// A buffer with what `write` puts into it.
    pub fn fill(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Rc<Vec<u8>> {
        let free = self.kept.iter_mut().position(|buffer| Rc::get_mut(buffer).is_some());
        let mut buffer = free.map_or_else(Rc::default, |at| self.kept.swap_remove(at));
        let bytes = Rc::make_mut(&mut buffer);
        bytes.clear();
        // A burst's memory goes back.
        bytes.shrink_to(limits::FLUSH_BYTES_KEPT);
        write(bytes);
        if self.kept.len() == limits::FLUSH_BUFFERS_KEPT {
            // Somebody has each of them, and perhaps for long: the next flush is to find this one.
            self.kept.remove(0);
        }
        self.kept.push(buffer.clone());
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_follow_each_other_become_one() {
        let buffer = Rc::new((0..10).collect());
        let mut part = Shared::part(&buffer, 2, 4);
        assert!(!part.extend(&Shared::part(&buffer, 5, 7)), "a hole");
        assert!(!part.extend(&Shared::part(&Rc::new(vec![0; 10]), 4, 7)), "another buffer");
        assert!(part.extend(&Shared::part(&buffer, 4, 7)));
        assert_eq!(&part[..], [2, 3, 4, 5, 6]);
        assert_eq!(&Shared::from(vec![1, 2])[..], [1, 2]);
    }

    #[test]
    fn a_buffer_is_worth_keeping_for_many_bytes_and_most_of_it() {
        let buffer = Rc::new(vec![0; 4 * limits::LENT_BYTES_MIN]);
        let part = Shared::part(&buffer, 0, 3 * limits::LENT_BYTES_MIN);
        assert!(part.is_worth_keeping(part.len()));
        assert!(part.is_worth_keeping(2 * limits::LENT_BYTES_MIN));
        assert!(!part.is_worth_keeping(2 * limits::LENT_BYTES_MIN - 1), "less than half");
        let small = Shared::from(vec![0; limits::LENT_BYTES_MIN - 1]);
        assert!(!small.is_worth_keeping(small.len()), "few");
    }

    #[test]
    fn a_buffer_is_taken_again_once_nobody_has_it() {
        let mut buffers = Buffers::default();
        let first = buffers.fill(|bytes| bytes.extend([1, 2, 3]));
        let part = Shared::part(&first, 1, 3);
        let at = first.as_ptr();
        drop(first);
        let second = buffers.fill(|bytes| bytes.extend([4; 3]));
        assert_ne!(second.as_ptr(), at, "somebody has it");
        assert_eq!(&part[..], [2, 3]);
        drop(part);
        let third = buffers.fill(|bytes| bytes.push(5));
        assert_eq!((third.as_ptr(), &third[..], &second[..]), (at, &[5][..], &[4; 3][..]));
    }

    #[test]
    fn buffers_that_are_kept_from_it_leave_a_flush_one() {
        let mut buffers = Buffers::default();
        let held: Vec<_> = (0..100).map(|n| buffers.fill(|bytes| bytes.push(n))).collect();
        let at = buffers.fill(|bytes| bytes.push(0)).as_ptr();
        assert_eq!(buffers.fill(|bytes| bytes.push(0)).as_ptr(), at, "the same again");
        assert_eq!(held.len(), 100);
    }

    #[test]
    fn few_buffers_are_kept_and_none_that_is_large() {
        let mut buffers = Buffers::default();
        let held: Vec<_> = (0..100).map(|n| buffers.fill(|bytes| bytes.push(n))).collect();
        assert!(held.iter().zip(0..).all(|(buffer, n)| buffer[..] == [n]));
        drop(held);
        assert_eq!(buffers.kept.len(), limits::FLUSH_BUFFERS_KEPT);
        drop(buffers.fill(|bytes| bytes.resize(2 * limits::FLUSH_BYTES_KEPT, 0)));
        for _ in 0..limits::FLUSH_BUFFERS_KEPT {
            drop(buffers.fill(|bytes| bytes.push(0)));
        }
        assert!(buffers.kept.iter().all(|buffer| buffer.capacity() <= limits::FLUSH_BYTES_KEPT));
    }
}
