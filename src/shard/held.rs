//! Requests that wait for those before them, so that what else a client sends can be read meanwhile.

use std::collections::VecDeque;

use super::reader::Incoming;
use crate::limits;

/// The next requests of a session that is busy, in their order. Bounded: a client that asks for much waits for itself.
#[derive(Debug, Default)]
pub struct Held {
    requests: VecDeque<Incoming>,
    bytes: usize,
}

impl Held {
    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether another may be read: it may be as long as a message may be.
    pub fn has_room(&self) -> bool {
        self.requests.len() < limits::HELD_REQUESTS_MAX && self.bytes < limits::HELD_BYTES
    }

    /// Keeps a request.
    pub fn push(&mut self, request: Incoming) {
        self.bytes += bytes(&request);
        self.requests.push_back(request);
    }

    /// The one that came first.
    pub fn pop(&mut self) -> Option<Incoming> {
        let request = self.requests.pop_front()?;
        self.bytes -= bytes(&request);
        if self.requests.is_empty() {
            // Few sessions ever hold any.
            self.requests = VecDeque::new();
        }
        Some(request)
    }
}

/// Whether this is a request, which waits for its turn; anything else does not.
pub fn is_request(incoming: &Incoming) -> bool {
    matches!(incoming, Incoming::Text(_) | Incoming::Binary(_))
}

fn bytes(request: &Incoming) -> usize {
    match request {
        Incoming::Text(text) => text.len(),
        Incoming::Binary(bytes) => bytes.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_back_in_their_order_and_no_more_are_read_than_there_is_room_for() {
        let text = |length: usize| Incoming::Text("x".repeat(length));
        let mut held = Held::default();
        let mut count = 0;
        while held.has_room() {
            held.push(text(count));
            count += 1;
        }
        assert_eq!(count, limits::HELD_REQUESTS_MAX);
        for length in 0..count {
            assert!(!held.is_empty());
            assert_eq!(held.pop(), Some(text(length)));
        }
        assert!(held.is_empty() && held.pop().is_none());
        // One that is long is the last.
        held.push(text(limits::HELD_BYTES));
        assert!(!held.has_room());
        held.pop();
        assert!(held.has_room());
    }
}
