//! Views that are updated at intervals: what changed is held back until the interval ends, once for all who share one.

use super::catch_up::NetChange;
use super::core::{Core, emission, mark};
use super::market::book_parts;
use super::topic::Topic;
use crate::limits;
use crate::model::{Channel, Side};
use crate::wire::control::INTERVALS_MS;
use crate::wire::message::{Content, Levels, Meta};

const MILLISECOND_NS: u64 = 1_000_000;

/// Topics that hold something back, by their interval.
#[derive(Debug, Default)]
pub struct Intervals {
    /// By position in [`INTERVALS_MS`]. A topic that is gone, or was served early, is passed over.
    due: [Vec<usize>; INTERVALS_MS.len()],
    /// Intervals since the clock's start, as of the last look.
    slots: [u64; INTERVALS_MS.len()],
    /// How many topics there are with an interval.
    topics: usize,
}

impl Intervals {
    /// A topic with an interval has come.
    pub fn add_topic(&mut self) {
        self.topics += 1;
    }

    /// One has gone.
    pub fn remove_topic(&mut self) {
        self.topics -= 1;
    }

    /// Something that a topic shows has changed: it is to be told when its interval ends.
    pub fn hold(&mut self, topic: &mut Topic, id: usize) {
        if !topic.is_due
            && let Some(class) = INTERVALS_MS.iter().position(|ms| *ms == topic.view.interval_ms)
        {
            topic.is_due = true;
            self.due[class].push(id);
        }
    }
}

impl Core {
    /// Whether [`Core::end_intervals`] is to be called at all.
    pub fn has_intervals(&self) -> bool {
        self.intervals.topics > 0
    }

    /// Tells the views whose interval has ended what changed; to be called every
    /// [`limits::INTERVAL_MILLISECONDS`]. `now_ns` is monotonic.
    pub fn end_intervals(&mut self, now_ns: u64) {
        for (class, interval_ms) in INTERVALS_MS.into_iter().enumerate().skip(1) {
            let slot = now_ns / (u64::from(interval_ms) * MILLISECOND_NS);
            if std::mem::replace(&mut self.intervals.slots[class], slot) != slot {
                self.release_class(class);
            }
        }
        self.flush();
    }

    /// Tells every view with an interval what changed, though its interval has not ended: history ends.
    pub(super) fn release_intervals(&mut self) {
        (1..INTERVALS_MS.len()).for_each(|class| self.release_class(class));
    }

    fn release_class(&mut self, class: usize) {
        let mut due = std::mem::take(&mut self.intervals.due[class]);
        for id in due.drain(..) {
            // Another topic may have taken the place of one that is gone.
            if self.topics.get(id).is_some_and(|topic| topic.view.interval_ms == INTERVALS_MS[class]) {
                self.release_topic(id);
            }
        }
        self.intervals.due[class] = due;
    }

    /// Emits what a topic has held back.
    pub(super) fn release_topic(&mut self, id: usize) {
        let topic = &mut self.topics[id];
        let market = &self.markets[topic.instrument as usize];
        let stamp = market.stamp(topic.channel);
        if !std::mem::take(&mut topic.is_due) || !topic.is_live() || stamp.seq <= topic.last.seq {
            return;
        }
        let to = emission(&self.catalog, &self.stats, topic.instrument, market.epoch);
        let meta = Meta { first_seq: topic.last.seq + 1, last: true, snapshot: false, ..stamp.snapshot() };
        if topic.channel != Channel::Book {
            topic.shown = market.content(topic.channel, None);
            if let Some(content) = topic.shown {
                topic.emit(&to, &meta, &content);
                mark(topic, id, &mut self.dirty_topics);
            }
            return;
        }
        let net = match &mut topic.window {
            Some(window) => {
                let mut seen = [Vec::new(), Vec::new()];
                for side in [Side::Bid, Side::Ask] {
                    window.refresh(side, market.book.levels(side), &mut seen[side.index()]);
                }
                if seen.iter().all(Vec::is_empty) {
                    return;
                }
                Some(NetChange(seen))
            }
            None => NetChange::between(&self.history, market, topic.instrument, topic.last.seq, stamp.seq),
        };
        if let Some(NetChange([bids, asks])) = net {
            let checksum = topic.checksum_if_due(|| market.checksum());
            let levels = Levels { bids: &bids, asks: &asks, checksum, part: 1, parts: 1 };
            topic.emit(&to, &meta, &Content::Book(levels));
        } else {
            let [bids, asks] = market.levels(None);
            // Parts that fit in both encodings: this is rare.
            let parts = limits::SNAPSHOT_PART_LEVELS_JSON;
            for (meta, content) in book_parts(stamp.snapshot(), [&bids, &asks], market.checksum(), parts) {
                topic.emit(&to, &meta, &content);
            }
        }
        mark(topic, id, &mut self.dirty_topics);
    }
}
