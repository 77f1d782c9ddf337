//! What time brings: heartbeats, pings, and the end of those who do not answer.

use bytes::Bytes;

use super::core::{Core, SlowConsumer};
use super::topic::SessionId;
use crate::limits;
use crate::wire::control::{self, Close, Notice, Page, Position};
use crate::wire::frame;

const SECOND_NS: u64 = 1_000_000_000;
const TIMER_NS: u64 = limits::TIMER_MILLISECONDS * 1_000_000;

/// Each session is looked at once a heartbeat; a look at the timers serves one share of the sessions.
const PHASES: usize = (limits::HEARTBEAT_SECONDS * 1_000 / limits::TIMER_MILLISECONDS) as usize;

impl Core {
    /// Looks at the timers; to be called every [`limits::TIMER_MILLISECONDS`]. `now_ns` is monotonic, `unix_ns` the
    /// wall clock.
    pub fn tick(&mut self, now_ns: u64, unix_ns: u64) {
        self.timer_phase = (self.timer_phase + 1) % PHASES;
        let mut waiting = 0;
        for id in self.sessions() {
            let session = &self.sessions[id];
            waiting += session.outbox.len();
            if session.is_closing {
                continue;
            }
            let stuck = now_ns.saturating_sub(session.progress_ns) > limits::BLOCK_SECONDS * SECOND_NS;
            if self.settings.slow_consumer == SlowConsumer::Block && stuck && self.over.contains(&id) {
                self.close(id, Close::TooSlow);
            } else if id % PHASES == self.timer_phase {
                self.heartbeat(id, unix_ns);
                self.ping(id, now_ns);
            }
        }
        self.stats.outbox_bytes.set(waiting as u64);
    }

    /// A pong has come.
    pub fn pong(&mut self, id: SessionId) {
        self.sessions[id].awaits_pong = false;
    }

    /// Answers a client's ping.
    pub fn answer_ping(&mut self, id: SessionId, payload: &[u8]) {
        let mut bytes = Vec::new();
        frame::push(&mut bytes, frame::opcode::PONG, payload);
        self.push(id, bytes.into());
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
        for ((instrument, channel), _) in live.filter(|(_, subscription)| subscription.position.is_some()) {
            let market = &self.markets[*instrument as usize];
            let symbol = &self.catalog.instruments()[*instrument as usize].symbol;
            page.push(&Position {
                symbol,
                channel: *channel,
                epoch: market.epoch,
                seq: market.seq(*channel),
            });
        }
        page.finish(false);
        self.push_text(id, &text);
    }

    fn ping(&mut self, id: SessionId, now_ns: u64) {
        let session = &mut self.sessions[id];
        if now_ns.saturating_sub(session.pinged_ns) + TIMER_NS < limits::PING_SECONDS * SECOND_NS {
            return;
        }
        if session.awaits_pong {
            // Who is not read from because earlier answers still wait is alive while it takes them; where the shard
            // itself waits for it, `block` has a rule of its own.
            let moves = now_ns.saturating_sub(session.progress_ns) < limits::PING_SECONDS * SECOND_NS;
            if !(self.is_busy(id) && (moves || self.over.contains(&id))) {
                self.close(id, Close::HeartbeatTimeout);
            }
            return;
        }
        session.pinged_ns = now_ns;
        session.awaits_pong = true;
        let mut bytes = Vec::new();
        frame::push(&mut bytes, frame::opcode::PING, b"");
        self.push(id, Bytes::from(bytes));
    }
}
