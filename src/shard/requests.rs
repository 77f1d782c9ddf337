//! What clients ask. A request is checked whole before anything of it is done.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::core::Core;
use super::session::{Job, StreamKey, Wanted};
use super::topic::{SessionId, View};
use crate::limits;
use crate::model::Channel;
use crate::source::{ReplayAction, Stepping};
use crate::wire::control::{self, Close, Command, Conflate, ErrorCode, Refusal, RequestId, Subscribe};

impl Core {
    /// Carries out one text message of a client. `unix_ns` is the wall clock, nanoseconds since 1970. The session must
    /// not be busy ([`Core::is_busy`]).
    pub fn request(&mut self, id: SessionId, text: &str, unix_ns: u64) {
        if self.sessions[id].is_closing {
            return;
        }
        if !self.sessions[id].rates.take_request() {
            return self.close(id, Close::RateLimit { requests_per_second: self.settings.request_rate });
        }
        self.stats.requests.add(1);
        let carried_out = control::parse(text).and_then(|request| match request.command {
            Command::Subscribe(subscribe) => self.subscribe(id, request.id, subscribe),
            Command::Unsubscribe { symbols, channels } => {
                self.unsubscribe(id, request.id, &symbols, &channels)
            }
            Command::List => {
                self.decide_compression(id);
                self.sessions[id].pending().job = Some(Job::List { id: request.id, done: 0 });
                Ok(())
            }
            Command::Progress { received } => self.progress(id, received),
            Command::Replay(action) => self.steer_replay(id, request.id, action),
            Command::Ping => {
                let mut text = Vec::new();
                control::pong(&mut text, request.id.as_ref(), unix_ns);
                self.push_urgent_text(id, &text);
                Ok(())
            }
        });
        if let Err(refusal) = carried_out {
            self.stats.refusals.add(1);
            let mut text = Vec::new();
            control::error(&mut text, &refusal);
            self.push_urgent_text(id, &text);
        }
        self.advance(id);
    }

    fn subscribe(
        &mut self,
        id: SessionId,
        request: Option<RequestId>,
        asked: Subscribe,
    ) -> Result<(), Refusal> {
        let held = &self.sessions[id].subscriptions;
        let (mut seen, mut streams, mut total) = (FxHashSet::default(), Vec::new(), held.len());
        for pattern in without_repetition(&asked.symbols) {
            let Some(instruments) = self.catalog.matching(pattern) else {
                return Err(Refusal::unknown_symbol(request, pattern));
            };
            for instrument in instruments {
                let known = &self.catalog.instruments()[instrument as usize];
                for &channel in &asked.channels {
                    let stream = (instrument, channel);
                    if !known.has(channel) {
                        if pattern.ends_with('*') {
                            continue;
                        }
                        return Err(Refusal::channel_unavailable(request, &known.symbol, channel));
                    }
                    if seen.insert(stream) {
                        streams.push(stream);
                        total += usize::from(!held.contains_key(&stream));
                    }
                }
            }
            // Looked at after each pattern: what a request may make us collect is bounded.
            if total > limits::SUBSCRIPTIONS_MAX {
                let what = "or more streams of this connection";
                return Err(Refusal::limit_exceeded(request, what, total, limits::SUBSCRIPTIONS_MAX));
            }
        }
        let mut from = FxHashMap::default();
        for resumed in &asked.from {
            // What the catalog does not have any more, or the request does not name, has nothing to go on with.
            if let Some(instrument) = self.catalog.find(&resumed.symbol)
                && from.insert((instrument, resumed.channel), (resumed.epoch, resumed.seq)).is_some()
            {
                let message = format!(
                    "\"from\" names {} {} twice; each stream is allowed once",
                    resumed.symbol,
                    resumed.channel.name()
                );
                return Err(Refusal::new(request, ErrorCode::BadRequest, message));
            }
        }
        let wanted = streams
            .into_iter()
            .map(|stream| Wanted { from: from.get(&stream).copied(), ..self.wanted(stream, &asked) })
            .collect();
        self.decide_compression(id);
        self.sessions[id].pending().job = Some(Job::Subscribe { id: request, wanted, done: 0 });
        Ok(())
    }

    fn wanted(&self, stream: StreamKey, asked: &Subscribe) -> Wanted {
        // No deeper than the source tells: its full book is the deepest view there is.
        let told = match self.catalog.instruments()[stream.0 as usize].book_depth {
            0 => None,
            levels => Some(u32::from(levels)),
        };
        let depth = match (asked.depth, told) {
            (Some(asked), Some(told)) => Some(asked.min(told)),
            (asked, told) => asked.or(told),
        };
        let view = match stream.1 {
            Channel::Book => View { depth, interval_ms: asked.interval_ms, period: None },
            Channel::Quotes | Channel::Ticker => View { interval_ms: asked.interval_ms, ..View::default() },
            Channel::Bars => View { period: Some(asked.period), ..View::default() },
            Channel::Trades | Channel::Orders | Channel::Status => View::default(),
        };
        Wanted {
            stream,
            view,
            snapshot: asked.snapshot.unwrap_or(stream.1 != Channel::Trades),
            never_conflate: asked.conflate == Conflate::Never,
            from: None,
        }
    }

    /// The client says how many messages it has received.
    fn progress(&mut self, id: SessionId, received: u64) -> Result<(), Refusal> {
        let session = &mut self.sessions[id];
        if received > session.frames {
            let message = format!(
                "\"received\" is {received}; at most {} were sent to this connection",
                session.frames
            );
            return Err(Refusal::new(None, ErrorCode::BadRequest, message));
        }
        session.progress.get_or_insert_default().report(received);
        Ok(())
    }

    /// The steps that the last request asked for, if it did: once they are over its client is to be answered
    /// ([`Core::end_stepping`]).
    pub fn take_stepping(&mut self) -> Option<(SessionId, Stepping)> {
        self.stepping.take()
    }

    /// The steps that a client asked for are made, or took too long: it is told how far the replay is.
    pub fn end_stepping(&mut self, id: SessionId) {
        let pending = self.sessions.get_mut(id).and_then(|session| session.pending.as_mut());
        if let Some(Job::Replay { is_stepping, .. }) = pending.and_then(|pending| pending.job.as_mut()) {
            *is_stepping = false;
            self.advance(id);
        }
    }

    /// The client steers the replay, or asks how far it is.
    fn steer_replay(
        &mut self,
        id: SessionId,
        request: Option<RequestId>,
        action: Option<ReplayAction>,
    ) -> Result<(), Refusal> {
        let Some(replay) = &self.replay else {
            let message = "op \"replay\": the source is no replay; there is nothing to steer".into();
            return Err(Refusal::new(request, ErrorCode::Unavailable, message));
        };
        let is_clocked =
            matches!(action, Some(ReplayAction::Play | ReplayAction::Pause | ReplayAction::Step { .. }));
        let steered = action.map(|action| replay.steer(&action)).transpose();
        let stepping = steered
            .map_err(|message| Refusal::new(request.clone(), ErrorCode::BadRequest, message))?
            .flatten();
        if is_clocked {
            self.plays_when_subscribed = false;
        }
        let (replay, is_stepping) = (Arc::clone(replay), stepping.is_some());
        self.sessions[id].pending().job = Some(Job::Replay { id: request, replay, is_stepping });
        self.stepping = stepping.map(|stepping| (id, stepping));
        Ok(())
    }

    fn unsubscribe(
        &mut self,
        id: SessionId,
        request: Option<RequestId>,
        symbols: &[String],
        channels: &[Channel],
    ) -> Result<(), Refusal> {
        let (mut seen, mut instruments) = (FxHashSet::default(), Vec::new());
        for pattern in without_repetition(symbols) {
            let Some(matching) = self.catalog.matching(pattern) else {
                return Err(Refusal::unknown_symbol(request, pattern));
            };
            instruments.extend(matching.into_iter().filter(|instrument| seen.insert(*instrument)));
        }
        let mut ended = Vec::new();
        for instrument in instruments {
            for &channel in channels {
                if self.end_stream(id, (instrument, channel)) {
                    ended.push((instrument, channel));
                }
            }
        }
        self.sessions[id].give_memory_back();
        self.sessions[id].pending().job = Some(Job::Unsubscribe { id: request, ended, done: 0 });
        Ok(())
    }
}

/// The first of equal entries each.
fn without_repetition(patterns: &[String]) -> impl Iterator<Item = &String> {
    let mut seen = FxHashSet::default();
    patterns.iter().filter(move |pattern| seen.insert(pattern.as_str()))
}
