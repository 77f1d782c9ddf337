//! What time brings: heartbeats, pings, and the end of those who do not answer.

use bytes::Bytes;

use super::core::{Core, SlowConsumer};
use super::session::State;
use super::topic::SessionId;
use crate::limits;
use crate::wire::control::{self, Close, Notice, Page, Position};
use crate::wire::frame;

const SECOND_NS: u64 = 1_000_000_000;
const TIMER_NS: u64 = limits::TIMER_MILLISECONDS * 1_000_000;

/// Looks at a session from one heartbeat to the next: at each look some of the sessions have theirs.
const PHASES: usize = (limits::HEARTBEAT_SECONDS * 1_000 / limits::TIMER_MILLISECONDS) as usize;

const TURNS: usize = limits::TIMER_TURNS as usize;

impl Core {
    /// Looks at the timers of the sessions whose turn it is; to be called every [`limits::TURN_MILLISECONDS`], so that
    /// each session is looked at every [`limits::TIMER_MILLISECONDS`]. `now_ns` is monotonic, `unix_ns` the wall clock.
    pub fn tick(&mut self, now_ns: u64, unix_ns: u64) {
        self.timer_turn = (self.timer_turn + 1) % TURNS;
        if self.timer_turn == 0 {
            self.look_at_all();
        }
        let phase = (self.timer_looks % PHASES as u64) as usize;
        for id in self.sessions() {
            let session = &mut self.sessions[id];
            if id % TURNS != self.timer_turn || session.is_closing {
                continue;
            }
            let handed = session.frames;
            if let Some(progress) = &mut session.progress {
                progress.mark(handed, now_ns);
            }
            if self.is_stuck(id, now_ns) {
                self.close(id, Close::TooSlow);
                continue;
            }
            self.judge_progress(id, now_ns);
            self.serve_conflated(id, now_ns);
            if id / TURNS % PHASES == phase {
                self.heartbeat(id, unix_ns);
                self.ping(id, now_ns);
            }
        }
    }

    /// What concerns no session alone, once everyone has had its turn.
    fn look_at_all(&mut self) {
        self.timer_looks += 1;
        if !self.ahead.is_empty() {
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
        if self.settings.slow_consumer == SlowConsumer::Block {
            return still_ns > limits::BLOCK_SECONDS * SECOND_NS && self.over.contains(&id);
        }
        let lag_ns = session.progress.as_ref().map_or(0, |progress| progress.lag_ns(now_ns));
        let stall_ns = limits::STALL_SECONDS * SECOND_NS;
        lag_ns > stall_ns || (session.outbox.is_blocked() && still_ns > stall_ns)
    }

    /// A client that does not report what it was sent is slow, though the kernel takes everything.
    fn judge_progress(&mut self, id: SessionId, now_ns: u64) {
        let lag_ns = self.sessions[id].progress.as_ref().map_or(0, |progress| progress.lag_ns(now_ns));
        if lag_ns > limits::PROGRESS_LAG_MILLISECONDS * 1_000_000 {
            match self.settings.slow_consumer {
                SlowConsumer::Conflate => self.conflate(id),
                SlowConsumer::Disconnect => self.close(id, Close::TooSlow),
                // It waits for what the kernel takes: a report is not needed to go on.
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

    /// A pong has come.
    pub fn pong(&mut self, id: SessionId) {
        self.sessions[id].awaits_pong = false;
    }

    /// Answers a client's ping.
    pub fn answer_ping(&mut self, id: SessionId, payload: &[u8]) {
        let mut bytes = Vec::new();
        frame::push(&mut bytes, frame::opcode::PONG, payload);
        self.push_urgent(id, bytes.into(), 0);
    }

    /// The server stops: everyone gets what waits, a notice, and 1001.
    pub fn say_goodbye(&mut self) {
        let mut text = Vec::new();
        control::notice(&mut text, Notice::ShuttingDown);
        self.push_text_to_all(&text);
        for id in self.sessions() {
            self.close(id, Close::ShuttingDown);
        }
    }

    /// Names some of the session's streams, in turns: complete up to the sequence.
    fn heartbeat(&mut self, id: SessionId, unix_ns: u64) {
        let session = &mut self.sessions[id];
        if !session.outbox.is_empty() {
            // What waits tells it that we live, and a heartbeat behind it would only be old when it comes.
            return;
        }
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
        let since_ns = now_ns.saturating_sub(session.pinged_ns) + TIMER_NS;
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
        self.push_urgent(id, Bytes::from(bytes), 0);
    }
}
