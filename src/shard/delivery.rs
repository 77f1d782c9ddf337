//! What goes into outboxes beside the stream of events, and out of them: replies, snapshots, closes.

use std::io;
use std::net::SocketAddr;

use super::compressor::{Dedicated, Encoding};
use super::core::{Core, SlowConsumer};
use super::handle::Terms;
use super::outbox::Offer;
use super::rates::Rates;
use super::session::{Job, Pace, Session, StreamKey};
use super::shared::Shared;
use super::tally::Tally;
use super::topic::{Frames, SessionId};
use crate::limits;
use crate::source::ReplayAction;
use crate::wire::control::{self, Close, Ended, Granted, Listed, Notice, Page, WelcomeLimits};
use crate::wire::frame;
use crate::wire::guard::Violation;

impl Core {
    /// A client has come: it gets `welcome`.
    pub fn open(
        &mut self,
        terms: impl Into<Terms>,
        peer: SocketAddr,
        now_ns: u64,
        unix_ns: u64,
    ) -> SessionId {
        let Terms { protocol, deflate, is_echo } = terms.into();
        // What tests of conformance send they send as fast as they can.
        let rates = Rates::new(if is_echo { 0 } else { self.settings.request_rate }, &self.time);
        let number = self.stats.sessions_opened.get();
        let encoding = Encoding::plain(protocol);
        let mut session = Session::new(number, encoding, peer, rates, now_ns, unix_ns);
        session.has_deflate = deflate.is_some();
        session.undecided = deflate;
        session.is_echo = is_echo;
        let id = self.sessions.insert(session);
        self.stats.sessions_opened.add(1);
        self.stats.sessions.set(self.sessions.len() as u64);
        self.stats.deflate_sessions.set(self.stats.deflate_sessions.get() + u64::from(deflate.is_some()));
        if is_echo || deflate.is_some_and(|agreed| !agreed.takeover) {
            self.decide_compression(id);
        }
        if is_echo {
            return id;
        }
        let limits = WelcomeLimits {
            message_bytes: limits::TEXT_BYTES_MAX as u64,
            request_symbols: limits::REQUEST_SYMBOLS_MAX as u64,
            streams: limits::SUBSCRIPTIONS_MAX as u64,
            outbox_bytes: self.settings.outbox_bytes as u64,
        };
        let mut text = Vec::new();
        control::welcome(&mut text, protocol.name(), self.epoch, limits::HEARTBEAT_SECONDS * 1_000, &limits);
        let frame = self.text_frame(&text);
        let session = &mut self.sessions[id];
        session.frames = 1;
        session.outbox.push_first(frame);
        self.mark_dirty(id);
        if self.has_ended {
            self.push_notice(id, Notice::ReplayEnded);
        }
        if self.is_stale {
            self.push_notice(id, Notice::Stale);
        }
        id
    }

    /// A client is gone: its streams end, what waits for it is dropped.
    pub fn remove(&mut self, id: SessionId) {
        self.end_all(id);
        let session = self.sessions.remove(id);
        self.waiting -= session.outbox.blocked_len();
        if session.pace != Pace::Live {
            self.stats.conflating.set(self.stats.conflating.get() - 1);
        }
        self.dirty_sessions.retain(|&dirty| dirty != id);
        self.riding.retain(|&riding| riding != id);
        self.full.retain(|&full| full != id);
        self.over.retain(|&over| over != id);
        self.stats.sessions.set(self.sessions.len() as u64);
        self.stats.deflate_sessions.set(self.stats.deflate_sessions.get() - u64::from(session.has_deflate));
    }

    /// Ends a session: its streams end and the close frame is the last thing it gets. A client that is too slow loses
    /// what waits for it, whole frames only; any other gets it before the close.
    pub fn close(&mut self, id: SessionId, close: Close) {
        if close == Close::TooSlow && !self.sessions[id].is_closing {
            self.stats.closed_slow.add(1);
            let outbox = &mut self.sessions[id].outbox;
            let blocked = outbox.blocked_len();
            outbox.drop_unsent();
            self.waiting = self.waiting + outbox.blocked_len() - blocked;
            self.sessions[id].closes_within = limits::SLOW_CLOSE_SECONDS;
        }
        if matches!(close, Close::ControlFlood | Close::RateLimit { .. }) {
            self.stats.closed_rate.add(u64::from(!self.sessions[id].is_closing));
        }
        // A private replay ends with its connection, and its epoch too.
        let close = if close == Close::TooSlow && self.is_private { Close::ReplayTooSlow } else { close };
        self.part(id, close.code(), &close.reason(self.epoch));
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
        let session = &mut self.sessions[id];
        // Behind everything that waits: it is the last thing that the client gets.
        session.outbox.push(bytes.into());
        session.is_closing = true;
        session.pending = None;
        self.mark_dirty(id);
    }

    /// How a session's messages are compressed from here on: with a context of its own, where that was agreed on and one is
    /// left, else together with those of others who have its window.
    pub(super) fn decide_compression(&mut self, id: SessionId) {
        let session = &mut self.sessions[id];
        let Some(agreed) = session.undecided.take() else { return };
        match Dedicated::take(&self.compressor, agreed) {
            // Compressed as they leave.
            Some(dedicated) => session.outbox.compress_with(dedicated),
            None => session.encoding.window_bits = agreed.window_bits,
        }
    }

    /// Whether a client is to be sent what it sends.
    pub fn is_echo(&self, id: SessionId) -> bool {
        self.sessions[id].is_echo
    }

    /// Sends a client what it has sent.
    pub fn echo(&mut self, id: SessionId, opcode: u8, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(payload.len() + frame::HEAD_BYTES_MAX);
        frame::push_message(&mut bytes, opcode, false, payload, self.fragment_bytes());
        let frames =
            self.compress(Frames { bytes: bytes.into(), count: 1 }, self.sessions[id].encoding.window_bits);
        self.push_snapshot(id, frames);
    }

    /// Seconds that a closing session has left to get its last bytes; `None` for one that is not closing.
    pub fn closes_within(&self, id: SessionId) -> Option<u64> {
        let session = self.sessions.get(id)?;
        session.is_closing.then_some(session.closes_within)
    }

    /// Whether so much waits that overtakes data that nothing at all is to be read until the client has taken some of it.
    pub fn is_clogged(&self, id: SessionId) -> bool {
        self.sessions.get(id).is_some_and(|session| {
            !session.is_closing && session.outbox.urgent_len() > limits::URGENT_BYTES_MAX
        })
    }

    /// Whether an earlier request is still being answered, or more waits for the client than may: no request of it is to
    /// be carried out until then, so that its requests cannot pile up answers.
    pub fn is_busy(&self, id: SessionId) -> bool {
        self.sessions.get(id).is_some_and(|session| {
            let is_full = session.is_over(self.waiting, &self.settings)
                || session.outbox.urgent_len() > limits::URGENT_BYTES_MAX;
            !session.is_closing && (session.is_busy() || is_full)
        })
    }

    /// Whether nothing waits for a session, in its outbox or for room in it.
    pub fn is_answered(&self, id: SessionId) -> bool {
        self.sessions.get(id).is_none_or(|session| {
            let is_busy = session.is_busy() && !session.is_stepping();
            !is_busy && !session.is_in_round() && session.outbox.is_empty()
        })
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
            if session.is_closing || !session.is_over(self.waiting, &self.settings) {
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
        self.full.clear();
        self.unheld = 0;
    }

    /// Moves the sessions to `into` that are to be written to before the batch goes on: more for them would be more than
    /// an outbox and a usual send buffer have room for. [`Core::take_dirty`] names them all the same.
    pub fn take_full(&mut self, into: &mut Vec<SessionId>) {
        into.append(&mut self.full);
    }

    /// Whether a client that the shard waits for is still over its bound, or still late with its reports.
    pub fn is_blocked(&mut self) -> bool {
        let (sessions, waiting, settings) = (&self.sessions, self.waiting, &self.settings);
        self.over.retain(|&id| {
            sessions.get(id).is_some_and(|session| {
                let is_late = session.progress.as_ref().is_some_and(|progress| progress.is_late);
                !session.is_closing && (is_late || session.is_over(waiting, settings))
            })
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
        let blocked = session.outbox.blocked_len();
        let offer = session.outbox.offer(scratch, send);
        // Also where it failed: the session is about to be taken off with what it then holds.
        self.waiting = self.waiting + session.outbox.blocked_len() - blocked;
        let offer = offer?;
        if session.outbox.len() < before || before == 0 {
            session.progress_ns = now_ns;
        }
        if session.outbox.is_empty() {
            session.drained_ns = now_ns;
        }
        Ok(offer)
    }

    /// Keeps what waits for a session that the kernel takes nothing for, until it does. Where the kernel took everything
    /// and only a long reply goes on, nothing is kept: the session is not slow.
    pub fn hold(&mut self, id: SessionId) {
        let outbox = &mut self.sessions[id].outbox;
        let blocked = outbox.blocked_len();
        outbox.hold();
        self.waiting = self.waiting + outbox.blocked_len() - blocked;
    }

    /// Goes on with the replies, snapshots and rounds that wait for room in a session's outbox. Whether anything was added.
    pub fn advance(&mut self, id: SessionId) -> bool {
        let before = self.sessions[id].frames;
        loop {
            let session = &mut self.sessions[id];
            // Where all that may wait does, one push at a time.
            let room = match self.waiting < self.settings.outboxes_bytes {
                true => self.settings.outbox_bytes / 2,
                false => 1,
            };
            if session.outbox.len() >= room {
                break;
            }
            let Some(pending) = &mut session.pending else { break };
            if let Some(stream) = pending.fresh.pop_front() {
                if !self.catch_up(id, stream) {
                    self.sessions[id].pending().fresh.push_front(stream);
                }
            } else if let Some(job) = pending.job.take_if(|job| !job.is_stepping()) {
                if let Some(rest) = self.send_page(id, job) {
                    self.sessions[id].pending().job = Some(rest);
                }
            } else if let Some(stream) = pending.round.pop_front() {
                if !self.catch_up(id, stream) {
                    self.sessions[id].pending().round.push_front(stream);
                }
            } else {
                if pending.job.is_none() {
                    session.pending = None;
                }
                break;
            }
        }
        self.recover(id);
        self.sessions[id].frames != before
    }

    /// Puts whole frames of market data in a session's outbox.
    pub(super) fn push_frames(&mut self, id: SessionId, frames: Frames) {
        let session = &self.sessions[id];
        if session.is_closing || frames.count == 0 {
            return;
        }
        let frames = self.compress(frames, session.encoding.window_bits);
        let session = &mut self.sessions[id];
        session.frames += frames.count;
        session.outbox.push(frames.bytes);
        self.mark_dirty(id);
    }

    /// Puts a snapshot in a session's outbox, whose size is not the client's fault.
    pub(super) fn push_snapshot(&mut self, id: SessionId, frames: Frames) {
        let session = &mut self.sessions[id];
        if session.is_closing {
            return;
        }
        session.frames += frames.count;
        session.outbox.push_snapshot(frames.bytes);
        self.mark_dirty(id);
    }

    /// Puts one text frame in a session's outbox, behind what waits there.
    pub(super) fn push_text(&mut self, id: SessionId, text: &[u8]) {
        self.push_frames(id, Frames { bytes: self.text_frame(text), count: 1 });
    }

    /// Declares sequences of a stream lost.
    pub(super) fn push_gap(&mut self, id: SessionId, stream: StreamKey, epoch: u64, from: u64, to: u64) {
        let symbol = &self.catalog.instruments()[stream.0 as usize].symbol;
        let mut text = Vec::new();
        control::gap(&mut text, symbol, stream.1, epoch, from, to);
        self.push_firm(id, &text);
        self.stats.gaps.add(1);
        self.count(id, stream, Tally::of_gap(to + 1 - from));
    }

    /// Puts one text frame that nothing can be merged with in a session's outbox, behind what waits there: what is firm
    /// has a bound of its own.
    pub(super) fn push_firm(&mut self, id: SessionId, text: &[u8]) {
        let frame = self.text_frame(text);
        let session = &mut self.sessions[id];
        if !session.is_closing {
            session.frames += 1;
            session.outbox.push_firm(frame);
            self.mark_dirty(id);
        }
    }

    /// Puts a control frame in a session's outbox, before what has not begun (`docs/protocol.md`, "Order").
    pub(super) fn push_control(&mut self, id: SessionId, frame: Shared) {
        let session = &mut self.sessions[id];
        if !session.is_closing {
            session.outbox.push_control(frame);
            self.mark_dirty(id);
        }
    }

    /// Answers a session with a text that may overtake.
    pub(super) fn push_urgent_text(&mut self, id: SessionId, text: &[u8]) {
        let frame = self.text_frame(text);
        let session = &mut self.sessions[id];
        if !session.is_closing {
            session.frames += 1;
            session.outbox.push_urgent(frame);
            self.mark_dirty(id);
        }
    }

    /// Tells a session something about itself or the source.
    pub(super) fn push_notice(&mut self, id: SessionId, notice: Notice) {
        if self.sessions[id].is_echo {
            return;
        }
        let mut text = Vec::new();
        control::notice(&mut text, notice);
        self.push_urgent_text(id, &text);
    }

    /// Puts one text frame in every session's outbox, behind what waits there.
    pub(super) fn push_text_to_all(&mut self, text: &[u8]) {
        for id in self.sessions() {
            if !self.sessions[id].is_echo {
                self.push_firm(id, text);
            }
        }
    }

    fn mark_dirty(&mut self, id: SessionId) {
        let session = &mut self.sessions[id];
        if !session.is_dirty {
            session.is_dirty = true;
            self.dirty_sessions.push(id);
        }
    }

    /// Frames with each message compressed where that pays; as they are without a window (0).
    pub(super) fn compress(&self, frames: Frames, window_bits: u8) -> Frames {
        if window_bits == 0 {
            return frames;
        }
        let mut compressor = self.compressor.borrow_mut();
        let compressed = compressor.share(&frames.bytes, window_bits).map(<[u8]>::to_vec);
        Frames { bytes: compressed.map_or(frames.bytes, Shared::from), count: frames.count }
    }

    /// Payload bytes of one fragment of what is cut.
    pub(super) fn fragment_bytes(&self) -> usize {
        self.settings.compression.fragment_bytes
    }

    /// One text message.
    fn text_frame(&self, text: &[u8]) -> Shared {
        let mut bytes = Vec::with_capacity(text.len() + frame::HEAD_BYTES_MAX);
        frame::push_message(&mut bytes, frame::opcode::TEXT, false, text, self.fragment_bytes());
        bytes.into()
    }

    /// Lets a replay go on that waits for somebody who has subscribed.
    fn play_for_the_first(&mut self) {
        if std::mem::take(&mut self.plays_when_subscribed)
            && let Some(Err(message)) = self.replay.as_ref().map(|replay| replay.steer(&ReplayAction::Play))
        {
            tracing::warn!(message, "a replay that waited for its client does not play");
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
                let mut told = None;
                for wanted in &wanted[done..next] {
                    self.begin(id, wanted, &mut told);
                }
                if next > 0 && next == wanted.len() {
                    self.play_for_the_first();
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
            Job::Replay { id: request, replay, .. } => {
                control::replay(&mut text, request.as_ref(), &replay.state());
                None
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
}
