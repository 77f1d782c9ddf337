//! Which streams to subscribe to again, and when. No clock: `now` is an argument.

use std::collections::BTreeMap;

use crate::limits;
use crate::model::Channel;

/// A stream, as a request names it.
pub(super) type Key = (String, Channel);

const SPACING_NS: u64 = limits::CLIENT_RESYNC_MS_MIN * 1_000_000;

/// The resubscriptions of one connection: each stream's first at once, further ones no closer together than
/// [`limits::CLIENT_RESYNC_MS_MIN`]. Times are monotonic nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Resyncs {
    streams: BTreeMap<Key, Resync>,
}

#[derive(Debug)]
struct Resync {
    /// The earliest time of the next request.
    from_ns: u64,
    wanted: bool,
}

impl Resyncs {
    /// The stream's state is unknown.
    pub fn want(&mut self, key: Key, now_ns: u64) {
        self.streams.entry(key).or_insert(Resync { from_ns: now_ns, wanted: true }).wanted = true;
    }

    /// When the next request is due; `None`: none is wanted.
    pub fn due(&self) -> Option<u64> {
        self.streams.values().filter(|resync| resync.wanted).map(|resync| resync.from_ns).min()
    }

    /// The streams whose requests are due, in the order of their names, from now on taken for asked.
    pub fn take(&mut self, now_ns: u64) -> Vec<Key> {
        // What has not been asked for of late is forgotten: it starts afresh.
        self.streams.retain(|_, resync| resync.wanted || resync.from_ns > now_ns);
        let due = self.streams.iter_mut().filter(|(_, resync)| resync.wanted && resync.from_ns <= now_ns);
        due.map(|(key, resync)| {
            *resync = Resync { from_ns: now_ns.saturating_add(SPACING_NS), wanted: false };
            key.clone()
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_request_is_at_once_and_the_next_after_the_spacing() {
        let start = 17;
        let key = |symbol: &str| (symbol.to_owned(), Channel::Book);
        let mut resyncs = Resyncs::default();
        assert_eq!(resyncs.due(), None);
        resyncs.want(key("A"), start);
        resyncs.want(key("A"), start);
        assert_eq!(resyncs.due(), Some(start));
        assert_eq!(resyncs.take(start), [key("A")]);
        assert_eq!(resyncs.due(), None);

        resyncs.want(key("A"), start);
        assert_eq!(resyncs.take(start), [], "too soon");
        assert_eq!(resyncs.due(), Some(start + SPACING_NS));
        resyncs.want(key("B"), start);
        assert_eq!(resyncs.due(), Some(start), "another stream does not wait");
        assert_eq!(resyncs.take(start), [key("B")]);
        assert_eq!(resyncs.take(start + SPACING_NS), [key("A")]);

        assert_eq!(resyncs.take(start + 3 * SPACING_NS), []);
        assert!(resyncs.streams.is_empty(), "nothing is kept of streams that are well");
    }

    #[test]
    fn requests_come_in_the_order_of_their_names() {
        let mut resyncs = Resyncs::default();
        let keys = ["B", "C", "A"].map(|symbol| (symbol.to_owned(), Channel::Book));
        for key in &keys {
            resyncs.want(key.clone(), 0);
        }
        let [b, c, a] = keys;
        assert_eq!(resyncs.take(0), [a, b, c]);
    }
}
