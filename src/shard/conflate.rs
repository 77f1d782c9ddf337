//! Slow clients: their streams leave the topics, and what they missed is told merged, as they take it.

use super::core::{Core, CoreSettings, SlowConsumer};
use super::session::{Pace, Session, State, StreamKey};
use super::tally::Tally;
use super::topic::SessionId;
use crate::limits;
use crate::model::Channel;
use crate::wire::control::{Close, Notice};

/// What sessions had no room for in one flush.
#[derive(Debug, Default)]
pub struct Refused {
    entries: Vec<Refusal>,
}

#[derive(Debug)]
struct Refusal {
    id: SessionId,
    stream: StreamKey,
    /// What the session holds of the stream.
    held: u64,
    /// What the batch would have added.
    tally: Tally,
}

impl Refused {
    /// A session had no room for a stream's batch: it holds the stream up to `held`.
    pub fn add(&mut self, id: SessionId, stream: StreamKey, held: u64, tally: Tally) {
        self.entries.push(Refusal { id, stream, held, tally });
    }
}

impl Session {
    /// Whether so many more bytes of a stream are too many. What is never dropped has room, see
    /// [`Session::is_over`].
    pub fn has_no_room(
        &self,
        channel: Channel,
        bytes: usize,
        waiting: usize,
        settings: &CoreSettings,
    ) -> bool {
        settings.slow_consumer == SlowConsumer::Conflate
            && channel != Channel::Status
            && self.outbox.is_blocked()
            && (self.outbox.len() + bytes > settings.outbox_bytes / 4 * 3
                || waiting + bytes > settings.outboxes_bytes)
    }

    /// Whether a stream of it is never to be conflated. What is never merged anyway does not count.
    pub fn has_never_conflated(&self) -> bool {
        let mut subscriptions = self.subscriptions.iter();
        subscriptions.any(|(stream, subscription)| stream.1 != Channel::Status && subscription.never_conflate)
    }

    /// Whether what waits has passed the hard bound.
    pub fn is_over(&self, waiting: usize, settings: &CoreSettings) -> bool {
        match settings.slow_consumer {
            // Data was refused before: only what is never dropped can pile up.
            SlowConsumer::Conflate => self.outbox.firm_bytes() > settings.outbox_bytes / 4,
            SlowConsumer::Disconnect | SlowConsumer::Block => {
                self.outbox.is_over(settings.outbox_bytes)
                    || (self.outbox.is_blocked() && waiting > settings.outboxes_bytes)
            }
        }
    }
}

impl Core {
    /// Conflates the sessions that had no room in the flush at hand.
    pub(super) fn conflate_the_refused(&mut self) {
        for Refusal { id, stream, held, tally } in std::mem::take(&mut self.refused.entries) {
            let subscription = self.sessions[id].subscriptions.get(&stream);
            if subscription.is_some_and(|subscription| subscription.never_conflate) {
                self.close(id, Close::TooSlow);
            }
            self.conflate(id);
            if let Some(subscription) = self.sessions[id].subscriptions.get_mut(&stream)
                && matches!(subscription.state, State::Behind { .. })
            {
                subscription.state = State::Behind { held, exactly: false };
                subscription.tally = subscription.tally - tally;
            }
        }
    }

    /// Takes a session's streams out of their topics. What they miss from here on is merged. One that is never to be
    /// conflated closes the session.
    pub(super) fn conflate(&mut self, id: SessionId) {
        let session = &mut self.sessions[id];
        // This comes once for each stream that was refused: no look at all of them before it.
        if session.is_closing || session.is_conflating() {
            return;
        }
        if session.has_never_conflated() {
            return self.close(id, Close::TooSlow);
        }
        let live = session.subscriptions.iter().filter(|(stream, subscription)| {
            stream.1 != Channel::Status && matches!(subscription.state, State::Live(_))
        });
        let mut streams: Vec<StreamKey> = live.map(|(stream, _)| *stream).collect();
        streams.sort_unstable();
        // Who could not keep up just after it had recovered, or before, is given more time to show that it can.
        let was_live = session.pace == Pace::Live;
        let soon = self.timer_looks - session.recovered_at <= limits::RELAPSE_TIMER_LOOKS;
        session.patience = match session.patience > 0 && (soon || !was_live) {
            true => (session.patience * 2).min(limits::RECOVERY_TIMER_LOOKS_MAX),
            false => limits::RECOVERY_TIMER_LOOKS,
        };
        session.pace = Pace::Conflating { streak: 0 };
        if let Some(pending) = &mut session.pending {
            pending.round.clear();
        }
        for stream in streams {
            self.detach(id, stream);
        }
        if was_live {
            self.stats.conflations.add(1);
            self.stats.conflating.set(self.stats.conflating.get() + 1);
            self.push_notice(id, Notice::Conflating);
        }
    }

    /// Serves a conflated session, at each look at the timers: once it has taken everything, each stream that moved gets
    /// what it missed; after some times in a row everything is live again.
    pub(super) fn serve_conflated(&mut self, id: SessionId, now_ns: u64) {
        let session = &mut self.sessions[id];
        let Pace::Conflating { streak } = session.pace else { return };
        let lag_ns = session.progress.as_ref().map_or(0, |progress| progress.lag_ns(now_ns));
        let has_room = session.outbox.is_empty() && !session.is_in_round() && !session.is_busy();
        if !has_room || lag_ns > limits::PROGRESS_LAG_MILLISECONDS * 1_000_000 / 2 {
            session.pace = Pace::Conflating { streak: 0 };
            return;
        }
        let recovers = streak + 1 >= session.patience;
        session.pace = if recovers { Pace::Recovering } else { Pace::Conflating { streak: streak + 1 } };
        let (topics, markets) = (&self.topics, &self.markets);
        let moved = session.subscriptions.iter().filter(|(stream, subscription)| {
            let State::Behind { held, exactly: false } = subscription.state else { return false };
            let topic = &topics[subscription.topic];
            let seq = if topic.is_live() { topic.last.seq } else { markets[stream.0 as usize].seq(stream.1) };
            recovers || seq > held
        });
        let mut round: Vec<StreamKey> = moved.map(|(stream, _)| *stream).collect();
        round.sort_unstable();
        session.pending().round = round.into();
        self.advance(id);
    }

    /// A session is about to end: what it was not told yet it is told, or it is declared lost where that has no room.
    /// Where an outbox has no room for that either, nothing is said: who resumes is told what it missed.
    pub(super) fn tell_the_rest(&mut self, id: SessionId) {
        let behind = self.sessions[id].subscriptions.iter();
        let behind = behind.filter(|(_, subscription)| matches!(subscription.state, State::Behind { .. }));
        let mut streams: Vec<StreamKey> = behind.map(|(stream, _)| *stream).collect();
        streams.sort_unstable();
        for stream in streams {
            let outbox = &self.sessions[id].outbox;
            if outbox.len() > self.settings.outbox_bytes {
                return;
            }
            if !outbox.is_blocked() {
                while !self.catch_up(id, stream)
                    && self.sessions[id].outbox.len() <= self.settings.outbox_bytes
                {}
            }
            let Some(subscription) = self.sessions[id].subscriptions.get(&stream) else { return };
            let State::Behind { held, .. } = subscription.state else { continue };
            let market = &self.markets[stream.0 as usize];
            let (epoch, last) = (market.epoch, market.seq(stream.1));
            if held < last {
                self.push_gap(id, stream, epoch, held + 1, last);
                self.set_held(id, stream, last);
            }
        }
    }

    /// Ends the conflation of a session all of whose streams are live again.
    pub(super) fn recover(&mut self, id: SessionId) {
        let session = &mut self.sessions[id];
        if session.pace == Pace::Recovering && !session.is_in_round() {
            session.pace = Pace::Live;
            session.recovered_at = self.timer_looks;
            self.stats.conflating.set(self.stats.conflating.get() - 1);
            self.push_notice(id, Notice::Recovered);
        }
    }
}
