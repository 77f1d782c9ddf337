//! How a session's streams begin, go live, leave their topics and end.

use super::compressor::Encoding;
use super::core::Core;
use super::session::{State, StreamKey, Subscription, Wanted};
use super::tally::Tally;
use super::topic::{SessionId, Topic};
use super::window::Window;
use crate::model::{Channel, ResetReason, Side};
use crate::wire::control::{self, Granted};

impl Core {
    /// What is granted of what was asked for: deeper than the source tells is not to be had. A view that others watch
    /// is joined where it stands; one that nobody watches, or that this session alone did, begins from the present; one
    /// that is resumed, from where the client stands.
    pub(super) fn grant(&self, id: SessionId, wanted: &Wanted) -> Granted<'_> {
        let (number, channel) = wanted.stream;
        let market = &self.markets[number as usize];
        let held = self.sessions[id].subscriptions.get(&wanted.stream);
        let others = |topic: usize| {
            let is_own = held.is_some_and(|held| held.topic == topic && matches!(held.state, State::Live(_)));
            self.topics[topic].subscribers() - usize::from(is_own)
        };
        let seq = match (resumed_at(wanted, market.epoch), self.topic_of(wanted)) {
            (Some(seq), _) => seq,
            (None, Some(topic)) if others(topic) > 0 => self.topics[topic].last.seq,
            _ => market.seq(channel),
        };
        Granted {
            number,
            instrument: &self.catalog.instruments()[number as usize],
            channel,
            depth: wanted.view.depth,
            interval_ms: wanted.view.interval_ms,
            period: wanted.view.period,
            epoch: market.epoch,
            seq,
        }
    }

    fn topic_of(&self, wanted: &Wanted) -> Option<usize> {
        let (instrument, channel) = wanted.stream;
        let topics = &self.markets[instrument as usize].topics[channel.index()];
        topics.iter().copied().find(|&id| self.topics[id].view == wanted.view)
    }

    /// Begins a stream: its page has just been put in the outbox. An earlier view of the same stream ends. `told` is the
    /// instrument whose epoch the session was told last.
    pub(super) fn begin(&mut self, id: SessionId, wanted: &Wanted, told: &mut Option<u32>) {
        let (instrument, channel) = wanted.stream;
        let epoch = self.markets[instrument as usize].epoch;
        let resumed = resumed_at(wanted, epoch);
        if wanted.from.is_some_and(|(known, _)| known != epoch)
            && told.replace(instrument) != Some(instrument)
        {
            self.tell_epoch(id, wanted.stream);
        }
        // Never older than what the client holds, of this view or another.
        let held = self.held(id, wanted.stream);
        let claimed = wanted.from.filter(|(known, _)| *known == epoch).map(|(_, seq)| seq);
        let at_least = held.max(claimed).unwrap_or(0);
        self.end_stream(id, wanted.stream);
        let topic = self.topic_of(wanted).unwrap_or_else(|| self.add_topic(wanted));
        self.topics[topic].references += 1;
        let state = match resumed {
            Some(held) => State::Behind { held, exactly: true },
            None => State::Fresh { at_least },
        };
        let subscription = Subscription {
            topic,
            state,
            snapshot: wanted.snapshot,
            never_conflate: wanted.never_conflate,
            tally: Tally::default(),
            base: Tally::default(),
        };
        self.sessions[id].subscriptions.insert(wanted.stream, subscription);
        self.stats.subscriptions.set(self.stats.subscriptions.get() + 1);
        // Whoever comes back to a view of a state needs the state, whatever it said of snapshots.
        if wanted.snapshot || resumed.is_some() || (wanted.from.is_some() && channel != Channel::Trades) {
            self.sessions[id].pending().fresh.push_back(wanted.stream);
        } else {
            if !self.topics[topic].is_live() {
                self.start_topic(topic);
            }
            self.settle(id, wanted.stream);
        }
    }

    fn add_topic(&mut self, wanted: &Wanted) -> usize {
        let (instrument, channel) = wanted.stream;
        let topic =
            self.topics.insert(Topic::new(instrument, channel, wanted.view, self.settings.frame_messages));
        self.markets[instrument as usize].topics[channel.index()].push(topic);
        if wanted.view.interval_ms > 0 {
            self.intervals.add_topic();
        }
        topic
    }

    /// What a session holds of a stream.
    pub(super) fn held(&self, id: SessionId, stream: StreamKey) -> Option<u64> {
        let subscription = self.sessions[id].subscriptions.get(&stream)?;
        match subscription.state {
            State::Live(_) => Some(self.topics[subscription.topic].last.seq),
            State::Behind { held, .. } => Some(held),
            State::Fresh { at_least } => Some(at_least),
        }
    }

    /// The client stands in an epoch that is over: it is told the present one, unless a stream of the instrument that
    /// it has shows it already.
    fn tell_epoch(&mut self, id: SessionId, stream: StreamKey) {
        let known = self.sessions[id].subscriptions.iter().any(|(other, subscription)| {
            other.0 == stream.0 && *other != stream && !matches!(subscription.state, State::Fresh { .. })
        });
        if !known {
            let symbol = &self.catalog.instruments()[stream.0 as usize].symbol;
            let mut text = Vec::new();
            let epoch = self.markets[stream.0 as usize].epoch;
            control::reset(&mut text, symbol, epoch, ResetReason::Restart);
            self.push_text(id, &text);
        }
    }

    /// Lets a topic that nobody is live in begin with the present.
    pub(super) fn start_topic(&mut self, id: usize) {
        let topic = &mut self.topics[id];
        let market = &self.markets[topic.instrument as usize];
        topic.begin(market.stamp(topic.channel));
        topic.window = topic.view.depth.map(|depth| {
            let mut window = Box::new(Window::new(depth as usize));
            for side in [Side::Bid, Side::Ask] {
                window.refresh(side, market.book.levels(side), &mut Vec::new());
            }
            window
        });
        topic.shown = match topic.view.interval_ms {
            0 => None,
            _ => market.content(topic.channel, None),
        };
    }

    /// A stream holds all that its topic has emitted: from here on it gets what is emitted, or waits for the next round
    /// of a conflated session.
    pub(super) fn settle(&mut self, id: SessionId, stream: StreamKey) {
        let session = &mut self.sessions[id];
        let is_conflating = session.is_conflating() && stream.1 != Channel::Status;
        let Some(subscription) = session.subscriptions.get_mut(&stream) else { return };
        // What is never to be conflated is live, and ends the session where there is no room for it.
        let is_conflated = is_conflating && !subscription.never_conflate;
        let topic = &mut self.topics[subscription.topic];
        subscription.state = if is_conflated {
            State::Behind { held: topic.last.seq, exactly: false }
        } else {
            subscription.base = topic.total;
            State::Live(topic.add(session.encoding, id))
        };
    }

    /// Takes a live stream out of its topic: it holds all that was handed over so far.
    pub(super) fn detach(&mut self, id: SessionId, stream: StreamKey) {
        let session = &mut self.sessions[id];
        let Some(subscription) = session.subscriptions.get_mut(&stream) else { return };
        let State::Live(position) = subscription.state else { return };
        let topic = &self.topics[subscription.topic];
        subscription.tally += topic.total - subscription.base;
        subscription.state = State::Behind { held: topic.last.seq, exactly: false };
        let (topic, encoding) = (subscription.topic, session.encoding);
        self.leave(topic, encoding, position, stream);
    }

    /// The client of a stream that is behind has been handed it up to `held`.
    pub(super) fn set_held(&mut self, id: SessionId, stream: StreamKey, held: u64) {
        if let Some(subscription) = self.sessions[id].subscriptions.get_mut(&stream)
            && let State::Behind { exactly, .. } = subscription.state
        {
            subscription.state = State::Behind { held, exactly };
        }
    }

    /// Counts what became of sequences that a stream was told of beside its topic.
    pub(super) fn count(&mut self, id: SessionId, stream: StreamKey, tally: Tally) {
        self.stats.delivered.add(tally.delivered);
        self.stats.merged.add(tally.merged);
        self.stats.declared_lost.add(tally.lost);
        if let Some(subscription) = self.sessions[id].subscriptions.get_mut(&stream) {
            subscription.tally += tally;
        }
    }

    /// The history of a stream has ended: it waits for its snapshot, or goes on from sequence 0.
    pub(super) fn begin_anew(&mut self, id: SessionId, stream: StreamKey) {
        let Some(subscription) = self.sessions[id].subscriptions.get(&stream) else { return };
        let needs_state = subscription.snapshot && stream.1 != Channel::Trades;
        // What waits to begin stands in the session's list, or waits for this shard: the next flush finds that it need not.
        let (is_listed, state) = match subscription.state {
            State::Live(_) if !needs_state => return,
            State::Live(_) => {
                self.detach(id, stream);
                (false, State::Fresh { at_least: 0 })
            }
            State::Behind { exactly, .. } if !needs_state => {
                // Conflated streams are found when their round comes.
                (true, State::Behind { held: 0, exactly })
            }
            State::Behind { exactly: false, .. } => (false, State::Fresh { at_least: 0 }),
            State::Fresh { .. } | State::Behind { .. } => (true, State::Fresh { at_least: 0 }),
        };
        let session = &mut self.sessions[id];
        if let Some(subscription) = session.subscriptions.get_mut(&stream) {
            subscription.state = state;
            if !is_listed {
                session.pending().fresh.push_back(stream);
            }
        }
    }

    /// Ends a stream: no data of it follows. Whether there was one.
    pub(super) fn end_stream(&mut self, id: SessionId, stream: StreamKey) -> bool {
        self.detach(id, stream);
        let session = &mut self.sessions[id];
        let Some(subscription) = session.subscriptions.remove(&stream) else { return false };
        session.ended += subscription.tally;
        self.release(stream, subscription.topic);
        true
    }

    pub(super) fn end_all(&mut self, id: SessionId) {
        let streams: Vec<StreamKey> = self.sessions[id].subscriptions.keys().copied().collect();
        for stream in streams {
            self.end_stream(id, stream);
        }
        self.sessions[id].subscriptions = Default::default();
    }

    fn release(&mut self, stream: StreamKey, topic: usize) {
        self.stats.subscriptions.set(self.stats.subscriptions.get() - 1);
        self.topics[topic].references -= 1;
        if self.topics[topic].references == 0 {
            let ended = self.topics.remove(topic);
            if ended.view.interval_ms > 0 {
                self.intervals.remove_topic();
            }
            let topics = &mut self.markets[stream.0 as usize].topics[stream.1.index()];
            topics.retain(|&id| id != topic);
        }
    }

    /// Takes a subscriber out of a topic; the one that takes its position is told.
    fn leave(&mut self, topic: usize, encoding: Encoding, position: usize, stream: StreamKey) {
        let Some(moved) = self.topics[topic].remove(encoding, position) else { return };
        if let Some(subscription) = self.sessions[moved].subscriptions.get_mut(&stream) {
            subscription.state = State::Live(position);
        }
    }
}

/// The sequence from which a stream goes on message by message, where the client may: in the same epoch, of views that
/// show everything, and of bars.
fn resumed_at(wanted: &Wanted, epoch: u64) -> Option<u64> {
    let (known, seq) = wanted.from?;
    (known == epoch && (wanted.view.is_whole() || wanted.stream.1 == Channel::Bars)).then_some(seq)
}
