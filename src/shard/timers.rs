//! What time brings: heartbeats, pings, and the end of those who do not answer.

use super::core::{Core, SlowConsumer};
use super::session::State;
use super::shared::Shared;
use super::topic::SessionId;
use crate::limits;
use crate::wire::control::{self, Close, Notice, Page, Position};
use crate::wire::frame;

const SECOND_NS: u64 = 1_000_000_000;
const HEARTBEAT_NS: u64 = limits::HEARTBEAT_SECONDS * SECOND_NS;
const TURN_NS: u64 = limits::TURN_MILLISECONDS * 1_000_000;
const TURNS: usize = limits::TIMER_TURNS as usize;

impl Core {
    /// Looks at the timers of the sessions whose turn has come since the last call; to be called at least every
    /// [`limits::TURN_MILLISECONDS`], so that each session is looked at every [`limits::TIMER_MILLISECONDS`]. `now_ns` is
    /// monotonic, `unix_ns` the wall clock. `has_heard_all`: nothing that was published waits for this shard.
    pub fn tick(&mut self, now_ns: u64, unix_ns: u64, has_heard_all: bool) {
        self.time.set(now_ns);
        self.compressor.borrow_mut().credit(now_ns);
        let due = now_ns.saturating_sub(self.turned_ns) / TURN_NS;
        self.turned_ns += due * TURN_NS;
        // However late a busy shard is, each session is looked at once.
        for _ in 0..due.min(limits::TIMER_TURNS) {
            self.timer_turn = (self.timer_turn + 1) % TURNS;
            if self.timer_turn == 0 {
                self.look_at_all(has_heard_all);
            }
            for id in (self.timer_turn..self.sessions.capacity()).step_by(TURNS) {
                if self.sessions.get(id).is_some_and(|session| !session.is_closing) {
                    self.look_at(id, now_ns, unix_ns);
                }
            }
        }
    }

    fn look_at(&mut self, id: SessionId, now_ns: u64, unix_ns: u64) {
        let session = &mut self.sessions[id];
        let handed = session.frames;
        if let Some(progress) = &mut session.progress {
            progress.mark(handed, now_ns);
        }
        if self.is_stuck(id, now_ns) {
            return self.close(id, Close::TooSlow);
        }
        self.judge_progress(id, now_ns);
        self.serve_conflated(id, now_ns);
        self.heartbeat(id, now_ns, unix_ns);
        self.ping(id, now_ns);
    }

    /// What concerns no session alone, once everyone has had its turn.
    fn look_at_all(&mut self, has_heard_all: bool) {
        self.timer_looks += 1;
        if has_heard_all {
            self.age_ahead();
        }
        let waiting = self.sessions.iter().map(|(_, session)| session.outbox.len() as u64).sum();
        self.stats.outbox_bytes.set(waiting);
        self.stats.ring_bytes.set(self.history.bytes() as u64);
    }

    /// Whether a session has gone without progress for longer than it may: nothing that waits for it has left, or
    /// nothing of what it was sent was reported.
    fn is_stuck(&self, id: SessionId, now_ns: u64) -> bool {
        let session = &self.sessions[id];
        let still_ns = now_ns.saturating_sub(session.progress_ns);
        let stall_ns = limits::STALL_SECONDS * SECOND_NS;
        let takes_nothing = session.outbox.is_blocked() && still_ns > stall_ns;
        let lag_ns = session.progress.as_ref().map_or(0, |progress| progress.lag_ns(now_ns));
        if self.settings.slow_consumer == SlowConsumer::Block {
            let block_ns = limits::BLOCK_SECONDS * SECOND_NS;
            return takes_nothing
                || lag_ns > block_ns
                || (still_ns > block_ns && session.outbox.is_blocked() && self.over.contains(&id));
        }
        takes_nothing || lag_ns > stall_ns
    }

    /// A client that does not report what it was sent is slow, though the kernel takes everything.
    fn judge_progress(&mut self, id: SessionId, now_ns: u64) {
        let Some(progress) = &mut self.sessions[id].progress else { return };
        progress.is_late = progress.lag_ns(now_ns) > limits::PROGRESS_LAG_MILLISECONDS * 1_000_000;
        if progress.is_late {
            match self.settings.slow_consumer {
                SlowConsumer::Conflate if self.sessions[id].has_never_conflated() => {
                    self.close(id, Close::TooSlow);
                }
                SlowConsumer::Conflate => self.conflate(id),
                SlowConsumer::Disconnect => self.close(id, Close::TooSlow),
                SlowConsumer::Block if !self.over.contains(&id) => self.over.push(id),
                SlowConsumer::Block => {}
            }
        }
    }

    /// Whether the source is late with what it has to say: everyone is told when that changes.
    pub fn set_stale(&mut self, is_stale: bool) {
        if std::mem::replace(&mut self.is_stale, is_stale) != is_stale {
            let notice = if is_stale { Notice::Stale } else { Notice::Live };
            for id in self.sessions() {
                self.push_notice(id, notice);
            }
        }
    }

    /// A pong has come. Too many that nobody asked for end the session.
    pub fn pong(&mut self, id: SessionId) {
        let session = &mut self.sessions[id];
        if !std::mem::replace(&mut session.awaits_pong, false) && !session.rates.take_control() {
            self.close(id, Close::ControlFlood);
        }
    }

    /// Answers a client's ping. Too many of them end the session.
    pub fn answer_ping(&mut self, id: SessionId, payload: &[u8]) {
        if !self.sessions[id].rates.take_control() {
            return self.close(id, Close::ControlFlood);
        }
        let mut bytes = Vec::new();
        frame::push(&mut bytes, frame::opcode::PONG, payload);
        self.push_control(id, bytes.into());
    }

    /// The shard ends: everyone gets what waits, what was held back, a notice where the server stops, and is closed.
    pub fn say_goodbye(&mut self, close: Close) {
        self.release_intervals();
        self.flush();
        for id in self.sessions() {
            self.tell_the_rest(id);
        }
        if close == Close::ShuttingDown {
            let mut text = Vec::new();
            control::notice(&mut text, Notice::ShuttingDown);
            self.push_text_to_all(&text);
        }
        for id in self.sessions() {
            self.close(id, close);
        }
    }

    /// Puts some of the heartbeats that are due soon behind what the last flush put in outboxes: they cost no write of their
    /// own. `unix_ns` tells the wall clock.
    pub fn send_heartbeats_along(&mut self, unix_ns: impl Fn() -> u64) {
        let now_ns = self.time.now_ns();
        for at in 0..self.riding.len() {
            let id = self.riding[at];
            let session = &mut self.sessions[id];
            if session.heartbeat_rides(now_ns) && !session.is_closing && !session.outbox.is_blocked() {
                // The next is due at a look, which is not to find it late.
                session.heartbeat_ns = now_ns + HEARTBEAT_NS - limits::TIMER_MILLISECONDS * 1_000_000;
                self.send_heartbeat(id, unix_ns());
            }
        }
        self.riding.clear();
    }

    fn heartbeat(&mut self, id: SessionId, now_ns: u64, unix_ns: u64) {
        let session = &mut self.sessions[id];
        if session.is_closing || session.is_echo || now_ns < session.heartbeat_ns {
            return;
        }
        session.heartbeat_ns = (session.heartbeat_ns + HEARTBEAT_NS).max(now_ns);
        // What waits tells it that we live, and a heartbeat behind it would only be old when it comes.
        if session.outbox.is_empty() {
            self.send_heartbeat(id, unix_ns);
        }
    }

    /// Names some of the session's streams, in turns: complete up to the sequence.
    fn send_heartbeat(&mut self, id: SessionId, unix_ns: u64) {
        let session = &mut self.sessions[id];
        let streams = session.subscriptions.len();
        let from = if session.heartbeat_cursor < streams { session.heartbeat_cursor } else { 0 };
        session.heartbeat_cursor = from + limits::HEARTBEAT_STREAMS;
        let mut text = Vec::new();
        let mut page = Page::heartbeat(&mut text, unix_ns);
        let live = session.subscriptions.iter().skip(from).take(limits::HEARTBEAT_STREAMS);
        for ((instrument, channel), subscription) in live {
            let State::Live(_) = subscription.state else { continue };
            let market = &self.markets[*instrument as usize];
            // What an interval holds back is still to come; what is outside a view is not.
            let topic = &self.topics[subscription.topic];
            let seq = if topic.view.interval_ms > 0 { topic.last.seq } else { market.seq(*channel) };
            let symbol = &self.catalog.instruments()[*instrument as usize].symbol;
            page.push(&Position { symbol, channel: *channel, epoch: market.epoch, seq });
        }
        page.finish(false);
        self.push_text(id, &text);
    }

    fn ping(&mut self, id: SessionId, now_ns: u64) {
        let session = &mut self.sessions[id];
        let since_ns = now_ns.saturating_sub(session.pinged_ns);
        if session.awaits_pong {
            // Who still takes bytes is alive, and who does not is closed for that.
            if since_ns >= limits::PONG_SECONDS * SECOND_NS && !session.outbox.is_blocked() {
                self.close(id, Close::HeartbeatTimeout);
            }
            return;
        }
        if since_ns < limits::PING_SECONDS * SECOND_NS {
            return;
        }
        session.pinged_ns = now_ns;
        session.awaits_pong = true;
        let mut bytes = Vec::new();
        frame::push(&mut bytes, frame::opcode::PING, b"");
        self.push_control(id, Shared::from(bytes));
    }
}
