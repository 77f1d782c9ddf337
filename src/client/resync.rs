//! Which streams to subscribe to again, and when. No clock: `now` is an argument.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits;
use crate::model::Channel;

/// A stream, as a request names it.
pub(super) type Key = (String, Channel);

/// The resubscriptions of one connection: each stream's first at once, further ones no closer together than
/// [`limits::CLIENT_RESYNC_MS_MIN`].
#[derive(Debug, Default)]
pub(super) struct Resyncs {
    streams: HashMap<Key, Resync>,
}

#[derive(Debug)]
struct Resync {
    /// The earliest time of the next request.
    from: Instant,
    wanted: bool,
}

impl Resyncs {
    /// The stream's state is unknown.
    pub fn want(&mut self, key: Key, now: Instant) {
        self.streams.entry(key).or_insert(Resync { from: now, wanted: true }).wanted = true;
    }

    /// When the next request is due; `None`: none is wanted.
    pub fn due(&self) -> Option<Instant> {
        self.streams.values().filter(|resync| resync.wanted).map(|resync| resync.from).min()
    }

    /// The streams whose requests are due, from now on taken for asked.
    pub fn take(&mut self, now: Instant) -> Vec<Key> {
        let spacing = Duration::from_millis(limits::CLIENT_RESYNC_MS_MIN);
        // What has not been asked for of late is forgotten: it starts afresh.
        self.streams.retain(|_, resync| resync.wanted || resync.from > now);
        let due = self.streams.iter_mut().filter(|(_, resync)| resync.wanted && resync.from <= now);
        due.map(|(key, resync)| {
            *resync = Resync { from: now + spacing, wanted: false };
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
        let start = Instant::now();
        let spacing = Duration::from_millis(limits::CLIENT_RESYNC_MS_MIN);
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
        assert_eq!(resyncs.due(), Some(start + spacing));
        resyncs.want(key("B"), start);
        assert_eq!(resyncs.due(), Some(start), "another stream does not wait");
        assert_eq!(resyncs.take(start), [key("B")]);
        assert_eq!(resyncs.take(start + spacing), [key("A")]);

        assert_eq!(resyncs.take(start + 3 * spacing), []);
        assert!(resyncs.streams.is_empty(), "nothing is kept of streams that are well");
    }
}
