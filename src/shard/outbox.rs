//! What waits for one client: whole frames of this batch, and what the kernel did not take of earlier ones.

mod blocked;

use std::io;

use smallvec::SmallVec;

use self::blocked::{Blocked, Pinned};
use super::compressor::Dedicated;
use super::shared::Shared;

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
    /// Whole frames, shared with other sessions, not yet offered to the socket. Most clients get one run a batch: it takes
    /// no memory of its own.
    queued: SmallVec<[Shared; 1]>,
    queued_bytes: usize,
    /// What the kernel did not take, while there is something.
    blocked: Option<Box<Blocked>>,
    /// Of what waits, bytes of a snapshot that may exceed the bound: one at a time is let in.
    allowance: usize,
    /// What nothing may overtake.
    pinned: Pinned,
    /// Where this session's messages are compressed for it alone: when they leave, since what is dropped before must not
    /// be referred to.
    dedicated: Option<Box<Dedicated>>,
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
        self.pinned = Pinned { message: frames.len(), control: frames.len() };
        self.push(frames);
    }

    /// Appends whole frames that nothing can be merged with, and that are not to be lost.
    pub fn push_firm(&mut self, frames: Shared) {
        if let Some(blocked) = &mut self.blocked {
            blocked.firm += frames.len();
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
        match &mut self.blocked {
            Some(blocked) => blocked.push_urgent(&frames),
            None => {
                // The kernel has room: all of it goes with the next write.
                self.push(frames);
                self.pinned.message = self.queued_bytes;
            }
        }
    }

    /// Puts control frames of WebSocket's own before everything that has not begun, between the fragments of a message too
    /// (RFC 6455, section 5.4), behind what was put so before.
    pub fn push_control(&mut self, frames: Shared) {
        match &mut self.blocked {
            Some(blocked) => blocked.push_control(&frames),
            None => {
                self.push(frames);
                self.pinned.control = self.queued_bytes;
            }
        }
    }

    /// Bytes that wait in user space.
    pub fn len(&self) -> usize {
        self.queued_bytes + self.blocked_len() + self.urgent_len()
    }

    /// Whether the kernel refused bytes that still wait.
    pub fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Bytes that were not yet offered to the kernel.
    pub fn queued_len(&self) -> usize {
        self.queued_bytes
    }

    /// Bytes that the kernel refused and that wait.
    pub fn blocked_len(&self) -> usize {
        self.blocked.as_ref().map_or(0, |blocked| blocked.len())
    }

    /// Bytes that were put here since the kernel last had room for all, and that nothing can be merged with.
    pub fn firm_bytes(&self) -> usize {
        self.blocked.as_ref().map_or(0, |blocked| blocked.firm)
    }

    /// Bytes that wait in the lanes of what may overtake.
    pub fn urgent_len(&self) -> usize {
        self.blocked.as_ref().map_or(0, |blocked| blocked.urgent_len())
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queued_bytes == 0 && !self.is_blocked()
    }

    /// Whether the kernel refused bytes that still wait, and with this batch they pass the bound.
    pub fn is_over(&self, bytes_max: usize) -> bool {
        self.is_blocked() && self.len() > bytes_max + self.allowance
    }

    /// Drops every frame that has not begun; what remains is the rest of a frame that the client has the start of. The
    /// memory of the others goes back. Returns how many bytes were dropped.
    pub fn drop_unsent(&mut self) -> usize {
        let before = self.len();
        self.queued.clear();
        self.queued_bytes = 0;
        self.blocked = self.blocked.take().and_then(|blocked| blocked.begun()).map(Box::new);
        self.pinned = Pinned::default();
        self.allowance = 0;
        before - self.len()
    }

    /// Takes what is queued over to what the kernel takes nothing of for now, where there is some.
    pub fn hold(&mut self) {
        let Some(blocked) = &mut self.blocked else { return };
        match &mut self.dedicated {
            None => self.queued.drain(..).for_each(|run| blocked.append(run)),
            Some(dedicated) => {
                let mut compressed = Vec::new();
                self.queued.drain(..).for_each(|run| dedicated.push(&run, &mut compressed));
                if !compressed.is_empty() {
                    blocked.append_copy(&compressed);
                }
            }
        }
        self.queued_bytes = 0;
        self.give_memory_back();
    }

    /// Puts what is queued into `out` as it leaves.
    fn gather(&mut self, out: &mut Vec<u8>) {
        out.clear();
        let Some(dedicated) = &mut self.dedicated else {
            return self.queued.iter().for_each(|run| out.extend_from_slice(run));
        };
        let (mut before, mut pinned) = (0, Pinned::default());
        for run in &self.queued {
            dedicated.push(run, out);
            before += run.len();
            // What may not be overtaken ends where a run ends, and so it does compressed.
            if before <= self.pinned.message {
                pinned.message = out.len();
            }
            if before <= self.pinned.control {
                pinned.control = out.len();
            }
        }
        self.pinned = pinned;
    }

    /// Room for more runs than a batch usually has is not kept: an idle session holds next to nothing.
    fn give_memory_back(&mut self) {
        if self.queued.capacity() > QUEUED_KEPT {
            self.queued = SmallVec::new();
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
        self.hold();
        let sent = match &mut self.blocked {
            Some(blocked) => {
                let sent = blocked.offer(&mut self.pinned, |bytes| written(send(bytes)))?;
                if blocked.len() == 0 {
                    // Memory of a burst goes back: an idle session holds none.
                    self.blocked = None;
                }
                sent
            }
            None => self.offer_queued(scratch, |bytes| written(send(bytes)))?,
        };
        self.pinned.pass(sent);
        self.allowance = self.allowance.saturating_sub(sent);
        if self.is_blocked() {
            return Ok(Offer::Blocked);
        }
        self.allowance = 0;
        Ok(Offer::Drained)
    }

    /// Offers what is queued. What the kernel does not take of it is blocked from then on.
    fn offer_queued(
        &mut self,
        scratch: &mut Vec<u8>,
        send: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let is_one = self.queued.len() == 1 && self.dedicated.is_none();
        if !is_one {
            self.gather(scratch);
        }
        let gathered: &[u8] = if is_one { &self.queued[0] } else { scratch };
        let sent = send(gathered)?;
        let left = gathered.len() - sent;
        if left > 0 {
            let blocked = match self.queued.pop() {
                Some(run) if is_one && run.is_worth_keeping(left) => Blocked::lent(run, sent),
                Some(run) if is_one => Blocked::copied(&run, sent),
                _ => Blocked::copied(scratch, sent),
            };
            self.blocked = Some(Box::new(blocked));
        }
        self.queued.clear();
        self.queued_bytes = 0;
        self.give_memory_back();
        Ok(sent)
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
