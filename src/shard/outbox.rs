//! What waits for one client: whole frames of this batch, and what the kernel did not take of earlier ones.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf, BytesMut};

use super::compressor::Dedicated;
use super::shared::Shared;
use crate::wire::frame::Cut;

/// How an offer to the socket went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Everything is with the kernel.
    Drained,
    /// The kernel is full; the rest waits.
    Blocked,
}

/// Runs that an outbox keeps room for between batches.
const QUEUED_KEPT: usize = 16;

/// The bytes on their way to one client, in order.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Whole frames, shared with other sessions, not yet offered to the socket.
    queued: Vec<Shared>,
    queued_bytes: usize,
    /// What the kernel did not take, in few large parts that others have too: there is something here or in the backlog,
    /// never in both.
    lent: VecDeque<Shared>,
    /// Bytes of its first part that are gone.
    gone: usize,
    lent_bytes: usize,
    /// What the kernel did not take: this session's own copy.
    backlog: BytesMut,
    /// Bytes at the backlog's front that belong to a frame, and to a message, of which the kernel has the start.
    cut: Cut,
    /// Of what waits, bytes of a snapshot that may exceed the bound: one at a time is let in.
    allowance: usize,
    /// Whole messages that may overtake what waits: they go right behind the message that the client has the start of.
    urgent: Vec<u8>,
    /// Whole control frames that may: they go behind the frame that it has the start of, so between the fragments of a
    /// message too.
    control: Vec<u8>,
    /// Bytes at the front that no message may overtake: up to the end of the first one, or of the last one that has
    /// overtaken others itself, since these keep their own order.
    pinned: usize,
    /// The same for control frames.
    pinned_control: usize,
    /// Where this session's messages are compressed for it alone: when they leave, since what is dropped before must not
    /// be referred to.
    dedicated: Option<Box<Dedicated>>,
    /// Bytes put here since the kernel refused some that nothing can be merged with.
    firm: usize,
}

impl Outbox {
    /// From here on messages are compressed for this client alone.
    pub fn compress_with(&mut self, dedicated: Dedicated) {
        self.dedicated = Some(Box::new(dedicated));
    }

    /// Appends whole frames.
    pub fn push(&mut self, frames: Shared) {
        self.queued_bytes += frames.len();
        if !self.queued.last_mut().is_some_and(|last| last.extend(&frames)) {
            self.queued.push(frames);
        }
    }

    /// Puts the first message here: nothing ever overtakes it.
    pub fn push_first(&mut self, frames: Shared) {
        (self.pinned, self.pinned_control) = (frames.len(), frames.len());
        self.push(frames);
    }

    /// Appends whole frames that nothing can be merged with, and that are not to be lost.
    pub fn push_firm(&mut self, frames: Shared) {
        if self.is_blocked() {
            self.firm += frames.len();
        }
        self.push(frames);
    }

    /// Appends a snapshot, whose size is not the client's fault.
    pub fn push_snapshot(&mut self, frames: Shared) {
        self.allowance += frames.len();
        self.push(frames);
    }

    /// Puts whole messages before everything that has not begun, behind what was put so before: `pong`, `error`, `notice`
    /// (`docs/protocol.md`, "Order").
    pub fn push_urgent(&mut self, frames: Shared) {
        if !self.is_blocked() {
            // The kernel has room: all of it goes with the next write.
            self.push(frames);
            self.pinned = self.queued_bytes;
        } else {
            self.firm += frames.len();
            self.urgent.extend_from_slice(&frames);
        }
    }

    /// Puts control frames of WebSocket's own before everything that has not begun, between the fragments of a message too
    /// (RFC 6455, section 5.4), behind what was put so before.
    pub fn push_control(&mut self, frames: Shared) {
        if !self.is_blocked() {
            self.push(frames);
            self.pinned_control = self.queued_bytes;
        } else {
            self.firm += frames.len();
            self.control.extend_from_slice(&frames);
        }
    }

    /// Bytes that wait in user space.
    pub fn len(&self) -> usize {
        self.queued_bytes + self.blocked_len() + self.urgent_len()
    }

    /// Whether the kernel refused bytes that still wait.
    pub fn is_blocked(&self) -> bool {
        self.blocked_len() > 0
    }

    /// Bytes that were not yet offered to the kernel.
    pub fn queued_len(&self) -> usize {
        self.queued_bytes
    }

    /// Bytes that the kernel refused and that wait.
    pub fn blocked_len(&self) -> usize {
        self.lent_bytes + self.backlog.len()
    }

    /// Bytes that were put here since the kernel last had room for all, and that nothing can be merged with.
    pub fn firm_bytes(&self) -> usize {
        self.firm
    }

    /// Bytes that wait in the lanes of what may overtake.
    pub fn urgent_len(&self) -> usize {
        self.urgent.len() + self.control.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the kernel refused bytes that still wait, and with this batch they pass the bound.
    pub fn is_over(&self, bytes_max: usize) -> bool {
        self.is_blocked() && self.len() > bytes_max + self.allowance
    }

    /// Drops every frame that has not begun; what remains is the rest of a frame that the client has the start of.
    /// Returns how many bytes were dropped.
    pub fn drop_unsent(&mut self) -> usize {
        let before = self.len();
        self.queued.clear();
        self.queued_bytes = 0;
        (self.urgent, self.control) = (Vec::new(), Vec::new());
        let lent = std::mem::take(&mut self.lent);
        let waits = match lent.front() {
            Some(first) => {
                self.cut = Cut::after(first, self.gone);
                &first[self.gone..]
            }
            None => &self.backlog,
        };
        // A message that has begun stays without its end: nothing follows but a close, which may stand there. The memory of
        // the rest goes back.
        self.backlog = BytesMut::from(&waits[..self.cut.frame]);
        self.cut.message = self.cut.frame;
        (self.gone, self.lent_bytes) = (0, 0);
        (self.pinned, self.pinned_control) = (0, 0);
        self.allowance = 0;
        self.firm = 0;
        before - self.len()
    }

    /// Takes what is queued over to what the kernel takes nothing of for now: large parts as they are, of others this
    /// session's own copy, since shared runs are not to be kept alive for a small part of them.
    pub fn hold(&mut self) {
        let mut queued = std::mem::take(&mut self.queued);
        match &mut self.dedicated {
            None => queued.drain(..).for_each(|run| self.hold_run(run)),
            Some(dedicated) => {
                let mut compressed = Vec::new();
                queued.drain(..).for_each(|run| dedicated.push(&run, &mut compressed));
                // What was lent came before it had a context of its own.
                self.own();
                self.backlog.extend_from_slice(&compressed);
            }
        }
        self.queued = queued;
        self.queued_bytes = 0;
        self.give_memory_back();
    }

    fn hold_run(&mut self, run: Shared) {
        if self.backlog.is_empty() && run.is_worth_keeping(run.len()) {
            self.lent_bytes += run.len();
            self.lent.push_back(run);
        } else {
            self.own();
            self.backlog.extend_from_slice(&run);
        }
    }

    /// Makes what is lent this session's own.
    fn own(&mut self) {
        let lent = std::mem::take(&mut self.lent);
        let Some(first) = lent.front() else { return };
        self.cut = Cut::after(first, self.gone);
        let mut gone = std::mem::take(&mut self.gone);
        self.backlog.reserve(std::mem::take(&mut self.lent_bytes));
        for run in lent {
            self.backlog.extend_from_slice(&run[std::mem::take(&mut gone)..]);
        }
    }

    /// Puts what is queued into `out` as it leaves.
    fn gather(&mut self, out: &mut Vec<u8>) {
        out.clear();
        let Some(dedicated) = &mut self.dedicated else {
            return self.queued.iter().for_each(|run| out.extend_from_slice(run));
        };
        let (mut before, mut pinned, mut pinned_control) = (0, 0, 0);
        for run in &self.queued {
            dedicated.push(run, out);
            before += run.len();
            // What may not be overtaken ends where a run ends, and so it does compressed.
            if before <= self.pinned {
                pinned = out.len();
            }
            if before <= self.pinned_control {
                pinned_control = out.len();
            }
        }
        (self.pinned, self.pinned_control) = (pinned, pinned_control);
    }

    /// Room for more runs than a batch usually has is not kept: an idle session holds next to nothing.
    fn give_memory_back(&mut self) {
        if self.queued.capacity() > QUEUED_KEPT {
            self.queued = Vec::new();
        }
    }

    /// Offers what waits to the socket with one write. `scratch` is where several runs are gathered; its content
    /// means nothing between calls. An error other than `WouldBlock` comes back as it is.
    pub fn offer(
        &mut self,
        scratch: &mut Vec<u8>,
        mut send: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<Offer> {
        if self.is_empty() {
            return Ok(Offer::Drained);
        }
        if self.is_blocked() {
            self.hold();
            if self.urgent_len() > 0 {
                self.own();
                self.let_overtake();
            }
            let sent = match self.lent.front() {
                Some(first) => written(send(&first[self.gone..]))?,
                None => written(send(&self.backlog))?,
            };
            self.advance(sent);
        } else {
            let is_one = self.queued.len() == 1 && self.dedicated.is_none();
            if !is_one {
                self.gather(scratch);
            }
            let gathered: &[u8] = if is_one { &self.queued[0] } else { scratch };
            let sent = written(send(gathered))?;
            let left = gathered.len() - sent;
            if is_one && self.queued[0].is_worth_keeping(left) {
                self.lent.extend(self.queued.pop());
                (self.gone, self.lent_bytes) = (sent, left);
            } else if left > 0 {
                self.cut = Cut::after(gathered, sent);
                self.backlog.extend_from_slice(&gathered[sent..]);
            }
            self.pass(sent);
            self.queued.clear();
            self.queued_bytes = 0;
            self.give_memory_back();
        }
        if self.is_blocked() {
            return Ok(Offer::Blocked);
        }
        // Memory of a burst goes back: an idle session holds none.
        (self.backlog, self.lent) = (BytesMut::new(), VecDeque::new());
        self.allowance = 0;
        self.firm = 0;
        Ok(Offer::Drained)
    }

    /// Moves what may overtake to its place: behind what has begun and what came to overtake before it.
    fn let_overtake(&mut self) {
        if !self.control.is_empty() {
            let at = self.cut.frame.max(self.pinned_control);
            let frames = std::mem::take(&mut self.control);
            self.insert(at, &frames);
            self.pinned_control = at + frames.len();
            if at < self.cut.message {
                self.cut.message += frames.len();
            }
            if at < self.pinned {
                self.pinned += frames.len();
            }
        }
        if !self.urgent.is_empty() {
            let at = self.cut.message.max(self.pinned);
            let messages = std::mem::take(&mut self.urgent);
            self.insert(at, &messages);
            self.pinned = at + messages.len();
            if at < self.pinned_control {
                self.pinned_control += messages.len();
            }
        }
    }

    fn insert(&mut self, at: usize, frames: &[u8]) {
        let behind = self.backlog.split_off(at);
        self.backlog.extend_from_slice(frames);
        self.backlog.extend_from_slice(&behind);
    }

    fn advance(&mut self, sent: usize) {
        if let Some(first) = self.lent.front() {
            self.gone += sent;
            self.lent_bytes -= sent;
            if self.gone == first.len() {
                self.gone = 0;
                self.lent.pop_front();
            }
        } else {
            self.cut = self.cut.further(&self.backlog, sent);
            self.backlog.advance(sent);
        }
        self.pass(sent);
    }

    /// So many bytes are gone.
    fn pass(&mut self, sent: usize) {
        self.pinned = self.pinned.saturating_sub(sent);
        self.pinned_control = self.pinned_control.saturating_sub(sent);
        self.allowance = self.allowance.saturating_sub(sent);
    }
}

/// A full kernel took nothing.
fn written(sent: io::Result<usize>) -> io::Result<usize> {
    match sent {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        other => other,
    }
}

#[cfg(test)]
mod tests;
