//! What goes into outboxes beside the stream of events, and out of them: replies, snapshots, closes.

use std::io;

use bytes::Bytes;

use super::core::{Core, SlowConsumer, emission};
use super::handle::{Answer, Protocol, Query};
use super::market::snapshot_parts;
use super::outbox::Offer;
use super::session::{Job, Session, StreamKey, Subscription, Wanted};
use super::topic::{SessionId, Topic, encode_snapshot};
use super::window::Window;
use crate::limits;
use crate::model::{Channel, Side};
use crate::wire::control::{self, Close, Ended, Granted, Listed, Notice, Page, WelcomeLimits};
use crate::wire::guard::Violation;
use crate::wire::message::{Content, Levels};
use crate::wire::{frame, json};

impl Core {
    /// A client has come: it gets `welcome`.
    pub fn open(&mut self, protocol: Protocol, now_ns: u64) -> SessionId {
        let id = self.sessions.insert(Session::new(protocol, now_ns));
        let limits = WelcomeLimits {
            message_bytes: limits::TEXT_BYTES_MAX as u64,
            request_symbols: limits::REQUEST_SYMBOLS_MAX as u64,
            streams: limits::SUBSCRIPTIONS_MAX as u64,
            outbox_bytes: self.settings.outbox_bytes as u64,
        };
        let mut text = Vec::new();
        control::welcome(&mut text, protocol.name(), self.epoch, limits::HEARTBEAT_SECONDS * 1_000, &limits);
        self.push_text(id, &text);
        if self.has_ended {
            text.clear();
            control::notice(&mut text, Notice::ReplayEnded);
            self.push_text(id, &text);
        }
        self.stats.sessions_opened.add(1);
        self.stats.sessions.set(self.sessions.len() as u64);
        id
    }

    /// A client is gone: its streams end, what waits for it is dropped.
    pub fn remove(&mut self, id: SessionId) {
        self.end_all(id);
        self.sessions.remove(id);
        self.dirty_sessions.retain(|&dirty| dirty != id);
        self.over.retain(|&over| over != id);
        self.stats.sessions.set(self.sessions.len() as u64);
    }

    /// Ends a session: its streams end and the close frame is the last thing it gets. A client that is too slow loses
    /// what waits for it, whole frames only; any other gets it before the close.
    pub fn close(&mut self, id: SessionId, close: Close) {
        if close == Close::TooSlow && !self.sessions[id].is_closing {
            self.stats.closed_slow.add(1);
            self.sessions[id].outbox.drop_unsent();
            self.sessions[id].closes_within = limits::SLOW_CLOSE_SECONDS;
        }
        self.part(id, close.code(), close.reason());
    }

    /// Ends a session whose client broke a rule.
    pub fn refuse(&mut self, id: SessionId, violation: &Violation) {
        self.stats.closed_protocol.add(u64::from(!self.sessions[id].is_closing));
        self.part(id, violation.code(), &violation.to_string());
    }

    /// Ends a session whose client closes, with the client's own code.
    pub fn close_echo(&mut self, id: SessionId, code: Option<u16>) {
        self.part(id, code.unwrap_or(Close::Normal.code()), "");
    }

    fn part(&mut self, id: SessionId, code: u16, reason: &str) {
        if self.sessions[id].is_closing {
            return;
        }
        self.end_all(id);
        let mut bytes = Vec::new();
        frame::push_close(&mut bytes, code, reason);
        self.push(id, bytes.into());
        let session = &mut self.sessions[id];
        session.is_closing = true;
        session.job = None;
        session.snapshots.clear();
    }

    /// Seconds that a closing session has left to get its last bytes; `None` for one that is not closing.
    pub fn closes_within(&self, id: SessionId) -> Option<u64> {
        let session = self.sessions.get(id)?;
        session.is_closing.then_some(session.closes_within)
    }

    /// Whether an earlier request is still being answered, or more waits for the client than may: nothing is to be read
    /// from it until then, so that its requests cannot pile up answers.
    pub fn is_busy(&self, id: SessionId) -> bool {
        let bytes_max = self.settings.outbox_bytes;
        self.sessions.get(id).is_some_and(|session| {
            !session.is_closing && (session.is_busy() || session.outbox.is_over(bytes_max))
        })
    }

    /// Whether nothing waits for a session, in its outbox or for room in it.
    pub fn is_answered(&self, id: SessionId) -> bool {
        self.sessions.get(id).is_none_or(|session| !session.is_busy() && session.outbox.is_empty())
    }

    /// Every session.
    pub fn sessions(&self) -> Vec<SessionId> {
        self.sessions.iter().map(|(id, _)| id).collect()
    }

    /// Moves the sessions that something was put in the outbox of to `into`. Where one is over its bound, it is
    /// closed with 4008, or the shard is to wait ([`Core::is_blocked`]).
    pub fn take_dirty(&mut self, into: &mut Vec<SessionId>) {
        // Closing one puts its close frame in the outbox: it is in the list already.
        for position in 0..self.dirty_sessions.len() {
            let id = self.dirty_sessions[position];
            let session = &mut self.sessions[id];
            session.is_dirty = false;
            if session.is_closing || !session.outbox.is_over(self.settings.outbox_bytes) {
                continue;
            }
            match self.settings.slow_consumer {
                SlowConsumer::Conflate | SlowConsumer::Disconnect => {
                    session.is_dirty = true;
                    self.close(id, Close::TooSlow);
                    self.sessions[id].is_dirty = false;
                }
                SlowConsumer::Block if !self.over.contains(&id) => self.over.push(id),
                SlowConsumer::Block => {}
            }
        }
        into.append(&mut self.dirty_sessions);
    }

    /// Whether a client that the shard waits for is still over its bound.
    pub fn is_blocked(&mut self) -> bool {
        let bytes_max = self.settings.outbox_bytes;
        let sessions = &self.sessions;
        self.over.retain(|&id| {
            sessions.get(id).is_some_and(|session| !session.is_closing && session.outbox.is_over(bytes_max))
        });
        !self.over.is_empty()
    }

    /// Offers what waits for a session to its socket, with one write; what is next is added first where there is
    /// room. See [`super::outbox::Outbox::offer`].
    pub fn offer(
        &mut self,
        id: SessionId,
        now_ns: u64,
        scratch: &mut Vec<u8>,
        send: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<Offer> {
        let session = &mut self.sessions[id];
        let before = session.outbox.len();
        let offer = session.outbox.offer(scratch, send)?;
        if session.outbox.len() < before || before == 0 {
            session.progress_ns = now_ns;
        }
        Ok(offer)
    }

    /// Keeps what waits for a session that the kernel takes nothing for, until it does.
    pub fn hold(&mut self, id: SessionId) {
        self.sessions[id].outbox.hold();
    }

    /// Goes on with the replies and snapshots that wait for room in a session's outbox. Whether anything was added.
    pub fn advance(&mut self, id: SessionId) -> bool {
        let mut added = false;
        while self.sessions[id].outbox.len() < self.settings.outbox_bytes / 2 {
            if let Some(stream) = self.sessions[id].snapshots.pop_front() {
                self.send_snapshot(id, stream);
            } else if let Some(job) = self.sessions[id].job.take() {
                let rest = self.send_page(id, job);
                self.sessions[id].job = rest;
            } else {
                break;
            }
            added = true;
        }
        let snapshots = &mut self.sessions[id].snapshots;
        if snapshots.is_empty() && snapshots.capacity() > 64 {
            snapshots.shrink_to_fit();
        }
        added
    }

    /// The answer to a question over HTTP.
    pub fn answer(&self, query: Query) -> Answer {
        let mut body = Vec::new();
        match query {
            Query::Instruments => {
                let mut page = Page::instruments_http(&mut body, self.epoch);
                for (number, instrument) in self.catalog.iter() {
                    let status = self.markets[number as usize].status;
                    page.push(&Listed { number, instrument, status });
                }
                page.finish(false);
            }
            Query::Book { instrument, depth } => {
                let market = &self.markets[instrument as usize];
                let [bids, asks] = market.levels(depth);
                let meta = market.stamp(Channel::Book).snapshot();
                let checksum = Some(crate::wire::message::checksum(
                    bids.iter(),
                    asks.iter(),
                    bids.len().max(asks.len()),
                ));
                let levels = Levels { bids: &bids, asks: &asks, checksum, part: 1, parts: 1 };
                let instrument = &self.catalog.instruments()[instrument as usize];
                json::encode_book_http(&mut body, instrument, market.epoch, &meta, &levels);
            }
            Query::Connections(_) => return Answer::Connections(Vec::new()),
        }
        Answer::Body(body.into())
    }

    /// Puts whole frames in a session's outbox.
    pub(super) fn push(&mut self, id: SessionId, frames: Bytes) {
        let session = &mut self.sessions[id];
        if session.is_closing {
            return;
        }
        session.outbox.push(frames);
        self.mark_dirty(id);
    }

    /// Puts one text frame in a session's outbox.
    pub(super) fn push_text(&mut self, id: SessionId, text: &[u8]) {
        self.push(id, text_frame(text));
    }

    /// Puts one text frame in every session's outbox.
    pub(super) fn push_text_to_all(&mut self, text: &[u8]) {
        let frames = text_frame(text);
        for id in self.sessions() {
            self.push(id, frames.clone());
        }
    }

    fn mark_dirty(&mut self, id: SessionId) {
        let session = &mut self.sessions[id];
        if !session.is_dirty {
            session.is_dirty = true;
            self.dirty_sessions.push(id);
        }
    }

    /// Sends one page of a reply; what is left of the job comes back.
    fn send_page(&mut self, id: SessionId, job: Job) -> Option<Job> {
        let mut text = Vec::new();
        let rest = match job {
            Job::Subscribe { id: request, wanted, done } => {
                let granted: Vec<Granted<'_>> = wanted[done..]
                    .iter()
                    .take(limits::PAGE_ENTRIES_MAX)
                    .map(|wanted| self.grant(id, wanted))
                    .collect();
                let mut page = Page::subscribed(&mut text, request.as_ref());
                let pushed = granted.iter().take_while(|granted| page.push(granted)).count();
                let next = done + pushed;
                page.finish(next < wanted.len());
                self.push_text(id, &text);
                for wanted in &wanted[done..next] {
                    self.begin(id, wanted);
                }
                return (next < wanted.len()).then_some(Job::Subscribe { id: request, wanted, done: next });
            }
            Job::Unsubscribe { id: request, ended, done } => {
                let mut page = Page::unsubscribed(&mut text, request.as_ref());
                let names = ended[done..].iter().map(|&(instrument, channel)| Ended {
                    symbol: &self.catalog.instruments()[instrument as usize].symbol,
                    channel,
                });
                let next = done + names.take_while(|name| page.push(name)).count();
                page.finish(next < ended.len());
                (next < ended.len()).then_some(Job::Unsubscribe { id: request, ended, done: next })
            }
            Job::List { id: request, done } => {
                let mut page = Page::instruments(&mut text, request.as_ref(), self.epoch);
                let listed = self.catalog.iter().skip(done).map(|(number, instrument)| Listed {
                    number,
                    instrument,
                    status: self.markets[number as usize].status,
                });
                let next = done + listed.take_while(|listed| page.push(listed)).count();
                page.finish(next < self.catalog.len());
                (next < self.catalog.len()).then_some(Job::List { id: request, done: next })
            }
        };
        self.push_text(id, &text);
        rest
    }

    /// What is granted of what was asked for: deeper than the source tells is not to be had. A view that others watch
    /// is joined where it stands; one that nobody watches, or that this session alone did, begins from the present.
    fn grant(&self, id: SessionId, wanted: &Wanted) -> Granted<'_> {
        let (number, channel) = wanted.stream;
        let market = &self.markets[number as usize];
        let held = self.sessions[id].subscriptions.get(&wanted.stream);
        let others = |topic: usize| {
            let is_own = held.is_some_and(|held| held.topic == topic && held.position.is_some());
            self.topics[topic].subscribers() - usize::from(is_own)
        };
        let seq = match self.topic_of(wanted) {
            Some(topic) if others(topic) > 0 => self.topics[topic].last.seq,
            _ => market.seq(channel),
        };
        let instrument = &self.catalog.instruments()[number as usize];
        Granted { number, instrument, channel, depth: wanted.depth, interval_ms: 0, epoch: market.epoch, seq }
    }

    fn topic_of(&self, wanted: &Wanted) -> Option<usize> {
        let (instrument, channel) = wanted.stream;
        let market = &self.markets[instrument as usize];
        match channel {
            Channel::Book => {
                market.book_topics.iter().copied().find(|&id| self.topics[id].depth == wanted.depth)
            }
            _ => market.topics[channel.index()],
        }
    }

    /// Begins a stream: its page has just been put in the outbox. An earlier view of the same stream ends.
    fn begin(&mut self, id: SessionId, wanted: &Wanted) {
        let (instrument, channel) = wanted.stream;
        self.end_stream(id, wanted.stream);
        let topic = self.topic_of(wanted).unwrap_or_else(|| {
            let topic = self.topics.insert(Topic::new(instrument, channel, wanted.depth));
            let market = &mut self.markets[instrument as usize];
            match channel {
                Channel::Book => market.book_topics.push(topic),
                _ => market.topics[channel.index()] = Some(topic),
            }
            topic
        });
        self.topics[topic].references += 1;
        let subscription = Subscription { topic, position: None, snapshot: wanted.snapshot };
        let session = &mut self.sessions[id];
        session.subscriptions.insert(wanted.stream, subscription);
        self.stats.subscriptions.set(self.stats.subscriptions.get() + 1);
        if wanted.snapshot {
            self.sessions[id].snapshots.push_back(wanted.stream);
        } else {
            self.go_live(id, wanted.stream);
        }
    }

    /// Sends the state of a stream; what follows it, follows it from here on.
    fn send_snapshot(&mut self, id: SessionId, stream: StreamKey) {
        let Some(subscription) = self.sessions[id].subscriptions.get(&stream) else { return };
        if subscription.position.is_some() {
            return;
        }
        let topic = subscription.topic;
        self.go_live(id, stream);
        let protocol = self.sessions[id].protocol;
        let seq = self.topics[topic].last.seq;
        let Some(frames) =
            self.topics[topic].snapshot(protocol, seq).or_else(|| self.encode(topic, protocol))
        else {
            return;
        };
        self.topics[topic].keep_snapshot(protocol, seq, frames.clone());
        self.sessions[id].outbox.push_snapshot(frames);
        self.mark_dirty(id);
    }

    /// The state of a topic as its subscribers hold it; `None` where there is none (no trade yet).
    fn encode(&self, topic: usize, protocol: Protocol) -> Option<Bytes> {
        let Topic { instrument, channel, window, last, .. } = &self.topics[topic];
        let market = &self.markets[*instrument as usize];
        let to = emission(&self.catalog, &self.stats, *instrument, market.epoch);
        let meta = last.snapshot();
        if *channel != Channel::Book {
            let content: Content<'_> = market.content(*channel)?;
            return Some(encode_snapshot(protocol, &to, std::iter::once((meta, content))));
        }
        let whole;
        let [bids, asks] = match window {
            Some(window) => [window.levels(Side::Bid), window.levels(Side::Ask)],
            None => {
                whole = market.levels(None);
                [&whole[0][..], &whole[1][..]]
            }
        };
        let levels = match protocol {
            Protocol::Binary => limits::SNAPSHOT_PART_LEVELS,
            Protocol::Json => limits::SNAPSHOT_PART_LEVELS_JSON,
        };
        Some(encode_snapshot(protocol, &to, snapshot_parts(meta, bids, asks, levels)))
    }

    /// Adds a session to its topic's subscribers. The first one starts the view from the present.
    fn go_live(&mut self, id: SessionId, stream: StreamKey) {
        let session = &mut self.sessions[id];
        let subscription =
            session.subscriptions.get_mut(&stream).expect("the caller has just seen the stream");
        let topic = &mut self.topics[subscription.topic];
        if !topic.is_live() {
            let market = &self.markets[stream.0 as usize];
            topic.last = market.stamp(stream.1);
            topic.window = topic.depth.map(|depth| {
                let mut window = Window::new(depth as usize);
                for side in [Side::Bid, Side::Ask] {
                    window.refresh(side, market.book.levels(side), &mut Vec::new());
                }
                window
            });
        }
        subscription.position = Some(topic.add(session.protocol, id));
    }

    /// Takes a stream whose history ended back to waiting for its snapshot, unless it has none.
    pub(super) fn suspend(&mut self, id: SessionId, stream: StreamKey) {
        let session = &mut self.sessions[id];
        let Some(subscription) = session.subscriptions.get_mut(&stream).filter(|stream| stream.snapshot)
        else {
            return;
        };
        if stream.1 == Channel::Trades {
            return;
        }
        if let Some(position) = subscription.position.take() {
            session.snapshots.push_back(stream);
            let (topic, protocol) = (subscription.topic, session.protocol);
            self.leave(topic, protocol, position, stream);
        }
    }

    /// Ends a stream: no data of it follows. Whether there was one.
    pub(super) fn end_stream(&mut self, id: SessionId, stream: StreamKey) -> bool {
        let session = &mut self.sessions[id];
        let protocol = session.protocol;
        let Some(subscription) = session.subscriptions.remove(&stream) else { return false };
        self.release(stream, subscription, protocol);
        true
    }

    fn end_all(&mut self, id: SessionId) {
        let session = &mut self.sessions[id];
        let protocol = session.protocol;
        for (stream, subscription) in std::mem::take(&mut session.subscriptions) {
            self.release(stream, subscription, protocol);
        }
    }

    fn release(&mut self, stream: StreamKey, subscription: Subscription, protocol: Protocol) {
        if let Some(position) = subscription.position {
            self.leave(subscription.topic, protocol, position, stream);
        }
        self.stats.subscriptions.set(self.stats.subscriptions.get() - 1);
        let topic = &mut self.topics[subscription.topic];
        topic.references -= 1;
        if topic.references == 0 {
            self.topics.remove(subscription.topic);
            let market = &mut self.markets[stream.0 as usize];
            match stream.1 {
                Channel::Book => market.book_topics.retain(|&id| id != subscription.topic),
                channel => market.topics[channel.index()] = None,
            }
        }
    }

    /// Takes a subscriber out of a topic; the one that takes its position is told.
    fn leave(&mut self, topic: usize, protocol: Protocol, position: usize, stream: StreamKey) {
        let Some(moved) = self.topics[topic].remove(protocol, position) else { return };
        if let Some(subscription) = self.sessions[moved].subscriptions.get_mut(&stream) {
            subscription.position = Some(position);
        }
    }
}

/// One text frame.
fn text_frame(text: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(text.len() + 10);
    frame::push(&mut bytes, frame::opcode::TEXT, text);
    bytes.into()
}
