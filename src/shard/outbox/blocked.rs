//! What the kernel did not take of one client's bytes, and what may overtake it.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf, BytesMut};

use super::super::shared::Shared;
use crate::wire::frame::Cut;

/// Bytes at the front that nothing may overtake: up to the end of the first message, or of the last one that has
/// overtaken others itself, since these keep their own order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pinned {
    /// For whole messages.
    pub message: usize,
    /// For control frames.
    pub control: usize,
}

impl Pinned {
    /// So many bytes are gone.
    pub fn pass(&mut self, sent: usize) {
        self.message = self.message.saturating_sub(sent);
        self.control = self.control.saturating_sub(sent);
    }
}

/// What waits until the kernel has room; there only while something does.
#[derive(Debug, Default)]
pub struct Blocked {
    /// What goes first: this session's own copy.
    pub(super) backlog: BytesMut,
    /// Bytes at the backlog's front that belong to a frame, and to a message, of which the kernel has the start.
    cut: Cut,
    /// What goes behind it: a few large parts that others have too.
    pub(super) lent: VecDeque<Shared>,
    /// Bytes of its first part that are gone; none while there is a backlog.
    gone: usize,
    lent_bytes: usize,
    /// Whole messages that may overtake what waits: they go right behind the message that the client has the start of.
    urgent: Vec<u8>,
    /// Whole control frames that may: they go behind the frame that it has the start of, so between the fragments of a
    /// message too.
    control: Vec<u8>,
    /// Bytes put here since the kernel refused some that nothing can be merged with.
    pub(super) firm: usize,
}

impl Blocked {
    /// Of a part that others have too, the kernel has taken `sent` bytes: the rest waits where it is.
    pub fn lent(run: Shared, sent: usize) -> Blocked {
        let lent_bytes = run.len() - sent;
        Blocked { lent: [run].into(), gone: sent, lent_bytes, ..Blocked::default() }
    }

    /// Of whole frames, the kernel has taken `sent` bytes: the rest is copied.
    pub fn copied(frames: &[u8], sent: usize) -> Blocked {
        Blocked { backlog: frames[sent..].into(), cut: Cut::after(frames, sent), ..Blocked::default() }
    }

    /// Bytes that the kernel refused.
    pub fn len(&self) -> usize {
        self.lent_bytes + self.backlog.len()
    }

    /// Bytes that wait in the lanes of what may overtake.
    pub fn urgent_len(&self) -> usize {
        self.urgent.len() + self.control.len()
    }

    /// Whole messages that go before everything that has not begun.
    pub fn push_urgent(&mut self, frames: &[u8]) {
        self.firm += frames.len();
        self.urgent.extend_from_slice(frames);
    }

    /// Control frames that do.
    pub fn push_control(&mut self, frames: &[u8]) {
        self.firm += frames.len();
        self.control.extend_from_slice(frames);
    }

    /// Appends whole frames: a large part as it is, of others a copy, since shared runs are not to be kept alive for a
    /// small part of them.
    pub fn append(&mut self, run: Shared) {
        if run.is_worth_keeping(run.len()) {
            self.lent_bytes += run.len();
            self.lent.push_back(run);
        } else {
            self.append_copy(&run);
        }
    }

    /// Appends a copy of whole frames.
    pub fn append_copy(&mut self, frames: &[u8]) {
        self.own();
        self.backlog.extend_from_slice(frames);
    }

    /// The lent part that goes next; `None` where the backlog does.
    fn first_lent(&self) -> Option<&Shared> {
        self.lent.front().filter(|_| self.backlog.is_empty())
    }

    /// What goes next, with one write.
    fn next(&self) -> &[u8] {
        self.first_lent().map_or(&self.backlog, |first| &first[self.gone..])
    }

    /// Where the kernel has cut that.
    fn cut(&self) -> Cut {
        self.first_lent().map_or(self.cut, |first| Cut::after(first, self.gone))
    }

    /// Makes what is lent this session's own.
    fn own(&mut self) {
        self.cut = self.cut();
        let lent = std::mem::take(&mut self.lent);
        let mut gone = std::mem::take(&mut self.gone);
        self.backlog.reserve(std::mem::take(&mut self.lent_bytes));
        for run in lent {
            self.backlog.extend_from_slice(&run[std::mem::take(&mut gone)..]);
        }
    }

    /// Offers some of it with one write. Returns how many bytes the kernel took.
    pub fn offer(
        &mut self,
        pinned: &mut Pinned,
        send: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.urgent_len() > 0 {
            self.own();
            self.let_overtake(pinned);
        }
        let sent = send(self.next())?;
        self.advance(sent);
        Ok(sent)
    }

    fn advance(&mut self, sent: usize) {
        if let Some(left) = self.first_lent().map(|first| first.len() - self.gone - sent) {
            self.gone += sent;
            self.lent_bytes -= sent;
            if left == 0 {
                self.gone = 0;
                self.lent.pop_front();
            }
        } else {
            self.cut = self.cut.further(&self.backlog, sent);
            self.backlog.advance(sent);
            if self.backlog.is_empty() {
                self.backlog = BytesMut::new();
            }
        }
    }

    /// Moves what may overtake to its place: behind what has begun and what came to overtake before it.
    fn let_overtake(&mut self, pinned: &mut Pinned) {
        if !self.control.is_empty() {
            let at = self.cut.frame.max(pinned.control);
            let frames = std::mem::take(&mut self.control);
            self.insert(at, &frames);
            pinned.control = at + frames.len();
            if at < self.cut.message {
                self.cut.message += frames.len();
            }
            if at < pinned.message {
                pinned.message += frames.len();
            }
        }
        if !self.urgent.is_empty() {
            let at = self.cut.message.max(pinned.message);
            let messages = std::mem::take(&mut self.urgent);
            self.insert(at, &messages);
            pinned.message = at + messages.len();
            if at < pinned.control {
                pinned.control += messages.len();
            }
        }
    }

    fn insert(&mut self, at: usize, frames: &[u8]) {
        let behind = self.backlog.split_off(at);
        self.backlog.extend_from_slice(frames);
        self.backlog.extend_from_slice(&behind);
    }

    /// What is left once every frame that has not begun is dropped: the rest of a frame that the client has the start of.
    /// `None`: there is none.
    pub fn begun(&self) -> Option<Blocked> {
        let frame = self.cut().frame;
        // A message that has begun stays without its end: nothing follows but a close, which may stand there.
        let cut = Cut { frame, message: frame };
        (frame > 0).then(|| Blocked { backlog: self.next()[..frame].into(), cut, ..Blocked::default() })
    }
}
