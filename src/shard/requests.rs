//! What clients ask. A request is checked whole before anything of it is done.

use super::core::Core;
use super::session::{Job, StreamKey, Wanted};
use super::topic::SessionId;
use crate::limits;
use crate::model::Channel;
use crate::wire::control::{self, Command, Refusal, RequestId, SERVED, Subscribe};

impl Core {
    /// Carries out one text message of a client. `unix_ns` is the wall clock, nanoseconds since 1970. The session must
    /// not be busy ([`Core::is_busy`]).
    pub fn request(&mut self, id: SessionId, text: &str, unix_ns: u64) {
        if self.sessions[id].is_closing {
            return;
        }
        self.stats.requests.add(1);
        let carried_out = control::parse(text).and_then(|request| match request.command {
            Command::Subscribe(subscribe) => self.subscribe(id, request.id, subscribe),
            Command::Unsubscribe { symbols, channels } => {
                self.unsubscribe(id, request.id, &symbols, &channels)
            }
            Command::List => {
                self.sessions[id].job = Some(Job::List { id: request.id, done: 0 });
                Ok(())
            }
            Command::Ping => {
                let mut text = Vec::new();
                control::pong(&mut text, request.id.as_ref(), unix_ns);
                self.push_text(id, &text);
                Ok(())
            }
        });
        if let Err(refusal) = carried_out {
            self.stats.refusals.add(1);
            let mut text = Vec::new();
            control::error(&mut text, &refusal);
            self.push_text(id, &text);
        }
        self.advance(id);
    }

    fn subscribe(
        &mut self,
        id: SessionId,
        request: Option<RequestId>,
        asked: Subscribe,
    ) -> Result<(), Refusal> {
        let mut streams = Vec::new();
        for pattern in &asked.symbols {
            let Some(instruments) = self.catalog.matching(pattern) else {
                return Err(Refusal::unknown_symbol(request, pattern));
            };
            for instrument in instruments {
                let known = &self.catalog.instruments()[instrument as usize];
                for &channel in &asked.channels {
                    if known.has(channel) && SERVED.contains(channel) {
                        streams.push((instrument, channel));
                    } else if !pattern.ends_with('*') {
                        return Err(Refusal::channel_unavailable(request, &known.symbol, channel));
                    }
                }
            }
        }
        without_repetition(&mut streams);
        let held = &self.sessions[id].subscriptions;
        let total = held.len() + streams.iter().filter(|stream| !held.contains_key(stream)).count();
        if total > limits::SUBSCRIPTIONS_MAX {
            return Err(Refusal::limit_exceeded(
                request,
                "streams of this connection",
                total,
                limits::SUBSCRIPTIONS_MAX,
            ));
        }
        let wanted = streams.into_iter().map(|stream| self.wanted(stream, &asked)).collect();
        self.sessions[id].job = Some(Job::Subscribe { id: request, wanted, done: 0 });
        Ok(())
    }

    fn wanted(&self, stream: StreamKey, asked: &Subscribe) -> Wanted {
        let is_book = stream.1 == Channel::Book;
        // No deeper than the source tells: its full book is the deepest view there is.
        let told = match self.catalog.instruments()[stream.0 as usize].book_depth {
            0 => None,
            levels => Some(u32::from(levels)),
        };
        let depth = match (asked.depth, told) {
            (Some(asked), Some(told)) => Some(asked.min(told)),
            (asked, told) => asked.or(told),
        };
        Wanted {
            stream,
            depth: depth.filter(|_| is_book),
            snapshot: asked.snapshot.unwrap_or(stream.1 != Channel::Trades),
        }
    }

    fn unsubscribe(
        &mut self,
        id: SessionId,
        request: Option<RequestId>,
        symbols: &[String],
        channels: &[Channel],
    ) -> Result<(), Refusal> {
        let mut instruments = Vec::new();
        for pattern in symbols {
            match self.catalog.matching(pattern) {
                Some(matching) => instruments.extend(matching),
                None => return Err(Refusal::unknown_symbol(request, pattern)),
            }
        }
        without_repetition(&mut instruments);
        let mut ended = Vec::new();
        for instrument in instruments {
            for &channel in channels {
                if self.end_stream(id, (instrument, channel)) {
                    ended.push((instrument, channel));
                }
            }
        }
        self.sessions[id].job = Some(Job::Unsubscribe { id: request, ended, done: 0 });
        Ok(())
    }
}

/// Keeps the first of equal entries, and the order.
fn without_repetition<T: Copy + Eq + std::hash::Hash>(entries: &mut Vec<T>) {
    let mut seen = rustc_hash::FxHashSet::default();
    entries.retain(|entry| seen.insert(*entry));
}
