//! What waits for one client: whole frames of this batch, and what the kernel did not take of earlier ones.

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
        if self.backlog.is_empty() {
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
        if self.backlog.is_empty() {
            self.push(frames);
            self.pinned_control = self.queued_bytes;
        } else {
            self.firm += frames.len();
            self.control.extend_from_slice(&frames);
        }
    }

    /// Bytes that wait in user space.
    pub fn len(&self) -> usize {
        self.queued_bytes + self.backlog.len() + self.urgent_len()
    }

    /// Whether the kernel refused bytes that still wait.
    pub fn is_blocked(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Bytes that were not yet offered to the kernel.
    pub fn queued_len(&self) -> usize {
        self.queued_bytes
    }

    /// Bytes that the kernel refused and that wait.
    pub fn blocked_len(&self) -> usize {
        self.backlog.len()
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
        !self.backlog.is_empty() && self.len() > bytes_max + self.allowance
    }

    /// Drops every frame that has not begun; what remains is the rest of a frame that the client has the start of.
    /// Returns how many bytes were dropped.
    pub fn drop_unsent(&mut self) -> usize {
        let before = self.len();
        self.queued.clear();
        self.queued_bytes = 0;
        (self.urgent, self.control) = (Vec::new(), Vec::new());
        // A message that has begun stays without its end: nothing follows but a close, which may stand there.
        self.backlog.truncate(self.cut.frame);
        self.cut.message = self.cut.frame;
        (self.pinned, self.pinned_control) = (0, 0);
        self.allowance = 0;
        self.firm = 0;
        before - self.len()
    }

    /// Takes what is queued over into this session's own copy: the kernel takes nothing for now, and shared runs are
    /// not to be kept alive.
    pub fn hold(&mut self) {
        match &mut self.dedicated {
            None => self.queued.iter().for_each(|run| self.backlog.extend_from_slice(run)),
            Some(dedicated) => {
                let mut compressed = Vec::new();
                self.queued.iter().for_each(|run| dedicated.push(run, &mut compressed));
                self.backlog.extend_from_slice(&compressed);
            }
        }
        self.queued.clear();
        self.queued_bytes = 0;
        self.give_memory_back();
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
        if !self.backlog.is_empty() {
            self.hold();
            self.let_overtake();
            let sent = written(send(&self.backlog))?;
            self.advance(sent);
        } else {
            let is_one = self.queued.len() == 1 && self.dedicated.is_none();
            if !is_one {
                self.gather(scratch);
            }
            let gathered: &[u8] = if is_one { &self.queued[0] } else { scratch };
            let sent = written(send(gathered))?;
            self.pinned = self.pinned.saturating_sub(sent);
            self.pinned_control = self.pinned_control.saturating_sub(sent);
            if sent < gathered.len() {
                self.cut = Cut::after(gathered, sent);
                self.backlog.extend_from_slice(&gathered[sent..]);
            }
            self.queued.clear();
            self.queued_bytes = 0;
            self.give_memory_back();
            self.allowance = self.allowance.saturating_sub(sent);
        }
        if self.backlog.is_empty() {
            // Memory of a burst goes back: an idle session holds none.
            self.backlog = BytesMut::new();
            self.allowance = 0;
            self.firm = 0;
            Ok(Offer::Drained)
        } else {
            Ok(Offer::Blocked)
        }
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
        self.cut = self.cut.further(&self.backlog, sent);
        self.backlog.advance(sent);
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
mod tests {
    use super::*;
    use crate::wire::frame;
    use proptest::prelude::*;

    fn framed(payload: usize, fill: u8) -> Shared {
        let mut out = Vec::new();
        frame::push(&mut out, frame::opcode::BINARY, &vec![fill; payload]);
        out.into()
    }

    #[test]
    fn one_run_is_sent_as_it_is_and_several_with_one_write() {
        let (mut outbox, mut scratch, mut writes) = (Outbox::default(), Vec::new(), Vec::new());
        outbox.push(framed(3, 1));
        outbox
            .offer(&mut scratch, |bytes| {
                Ok({
                    writes.push(bytes.to_vec());
                    bytes.len()
                })
            })
            .unwrap();
        outbox.push(framed(3, 2));
        outbox.push(framed(4, 3));
        let offer = outbox
            .offer(&mut scratch, |bytes| {
                Ok({
                    writes.push(bytes.to_vec());
                    bytes.len()
                })
            })
            .unwrap();
        assert_eq!(offer, Offer::Drained);
        assert_eq!(writes, [framed(3, 1).to_vec(), [&framed(3, 2)[..], &framed(4, 3)].concat()]);
        assert_eq!(outbox.offer(&mut scratch, |_| unreachable!("nothing waits")).unwrap(), Offer::Drained);
    }

    #[test]
    fn a_snapshot_does_not_count_against_the_bound_and_a_first_burst_neither() {
        let (mut outbox, mut scratch) = (Outbox::default(), Vec::new());
        outbox.push(framed(5_000, 1));
        assert!(!outbox.is_over(1_000), "the kernel has not been asked yet");
        outbox.offer(&mut scratch, |_| Ok(0)).unwrap();
        assert!(outbox.is_over(1_000));
        let (mut outbox, mut scratch) = (Outbox::default(), Vec::new());
        outbox.push_snapshot(framed(5_000, 1));
        outbox.offer(&mut scratch, |_| Ok(0)).unwrap();
        outbox.push(framed(900, 1));
        assert!(!outbox.is_over(1_000));
        outbox.push(framed(900, 1));
        assert!(outbox.is_over(1_000));
    }

    #[test]
    fn what_is_urgent_overtakes_whole_frames_and_cuts_none() {
        let whole = [&framed(10, 1)[..], &framed(10, 2), &framed(10, 3)].concat();
        let frame_bytes = whole.len() / 3;
        for taken in 0..whole.len() {
            let (mut outbox, mut scratch, mut received) = (Outbox::default(), Vec::new(), Vec::new());
            for fill in 1..=3 {
                outbox.push(framed(10, fill));
            }
            let mut take = |bytes: &[u8], most: usize| {
                received.extend_from_slice(&bytes[..most.min(bytes.len())]);
                Ok(most.min(bytes.len()))
            };
            outbox.offer(&mut scratch, |bytes| take(bytes, taken)).unwrap();
            outbox.push_urgent(framed(4, 8));
            outbox.push(framed(10, 4));
            outbox.push_urgent(framed(4, 9));
            assert_eq!(outbox.urgent_len(), 2 * framed(4, 8).len());
            while !outbox.is_empty() {
                outbox.offer(&mut scratch, |bytes| take(bytes, 7)).unwrap();
            }
            let begun = taken.div_ceil(frame_bytes) * frame_bytes;
            let expected =
                [&whole[..begun], &framed(4, 8), &framed(4, 9), &whole[begun..], &framed(10, 4)].concat();
            assert_eq!(received, expected, "{taken} bytes were taken before");
        }
    }

    #[test]
    fn nothing_overtakes_the_first_message() {
        for taken in 0..framed(10, 1).len() {
            let (mut outbox, mut scratch, mut received) = (Outbox::default(), Vec::new(), Vec::new());
            outbox.push_first(framed(10, 1));
            outbox.push(framed(10, 2));
            outbox
                .offer(&mut scratch, |bytes| {
                    received.extend_from_slice(&bytes[..taken]);
                    Ok(taken)
                })
                .unwrap();
            outbox.push_urgent(framed(4, 8));
            while !outbox.is_empty() {
                outbox
                    .offer(&mut scratch, |bytes| {
                        received.push(bytes[0]);
                        Ok(1)
                    })
                    .unwrap();
            }
            assert_eq!(received, [&framed(10, 1)[..], &framed(4, 8), &framed(10, 2)].concat(), "{taken}");
        }
    }

    /// `conflating` after `recovered` must not come before it, however little the kernel takes in between.
    #[test]
    fn what_is_urgent_keeps_its_own_order() {
        let urgent: Vec<Shared> = (20..25).map(|fill| framed(4, fill)).collect();
        for taken in 0..60 {
            let (mut outbox, mut scratch, mut received) = (Outbox::default(), Vec::new(), Vec::new());
            outbox.push(framed(10, 1));
            for (n, frame) in urgent.iter().enumerate() {
                // The first finds the kernel with room, the others do not.
                outbox.push_urgent(frame.clone());
                outbox.push(framed(10, 2));
                let most = if n == 0 { taken } else { n };
                let take = |bytes: &[u8]| {
                    received.extend_from_slice(&bytes[..most.min(bytes.len())]);
                    Ok(most.min(bytes.len()))
                };
                outbox.offer(&mut scratch, take).unwrap();
            }
            while !outbox.is_empty() {
                outbox
                    .offer(&mut scratch, |bytes| {
                        Ok({
                            received.extend_from_slice(bytes);
                            bytes.len()
                        })
                    })
                    .unwrap();
            }
            let frames = received.chunk_by(|a, b| a == b).map(<[u8]>::to_vec).collect::<Vec<_>>();
            let fills = frames.iter().map(|run| run[0]).filter(|fill| (20..25).contains(fill));
            assert!(fills.eq(20..25), "{taken} bytes were taken first: {received:?}");
        }
    }

    #[test]
    fn what_cannot_be_merged_is_counted_while_the_kernel_is_full() {
        let (mut outbox, mut scratch) = (Outbox::default(), Vec::new());
        outbox.push_firm(framed(5, 1));
        outbox.push_urgent(framed(4, 2));
        assert_eq!(outbox.firm_bytes(), 0, "the kernel has not been asked yet");
        outbox.offer(&mut scratch, |_| Ok(0)).unwrap();
        outbox.push(framed(9, 3));
        outbox.push_firm(framed(5, 4));
        outbox.push_urgent(framed(4, 5));
        assert_eq!(outbox.firm_bytes(), framed(5, 4).len() + framed(4, 5).len());
        outbox.offer(&mut scratch, |bytes| Ok(bytes.len())).unwrap();
        assert_eq!((outbox.firm_bytes(), outbox.len()), (0, 0));
    }

    #[test]
    fn a_full_kernel_and_an_interrupted_one_take_nothing() {
        for kind in [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted] {
            let (mut outbox, mut scratch) = (Outbox::default(), Vec::new());
            outbox.push(framed(5, 1));
            assert_eq!(outbox.offer(&mut scratch, |_| Err(kind.into())).unwrap(), Offer::Blocked);
            assert_eq!((outbox.len(), outbox.blocked_len()), (framed(5, 1).len(), framed(5, 1).len()));
        }
    }

    #[test]
    fn room_for_more_runs_than_usual_is_not_kept() {
        for (runs, is_kept) in [(1, true), (QUEUED_KEPT, true), (QUEUED_KEPT + 1, false)] {
            let (mut outbox, mut scratch) = (Outbox::default(), Vec::new());
            (0..runs).for_each(|_| outbox.push(framed(5, 1)));
            outbox.offer(&mut scratch, |bytes| Ok(bytes.len())).unwrap();
            assert_eq!(outbox.queued.capacity() >= runs, is_kept, "{runs}");
        }
    }

    #[test]
    fn an_error_of_the_socket_comes_back() {
        let (mut outbox, mut scratch) = (Outbox::default(), Vec::new());
        outbox.push(framed(5, 1));
        let broken = outbox.offer(&mut scratch, |_| Err(io::ErrorKind::BrokenPipe.into()));
        assert_eq!(broken.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    proptest! {
        /// Whatever the kernel takes at a time, the client reads whole frames in order, and dropping what has not
        /// begun never cuts one.
        #[test]
        fn the_client_reads_whole_frames_in_order(
            payloads in prop::collection::vec(0_usize..400, 1..40),
            takes in prop::collection::vec(0_usize..700, 1..80),
            drop_at in 0_usize..80,
        ) {
            let (mut outbox, mut scratch, mut received) = (Outbox::default(), Vec::new(), Vec::new());
            let mut expected = Vec::new();
            let mut payloads = payloads.into_iter();
            for (step, take) in takes.into_iter().enumerate() {
                if let Some(payload) = payloads.next() {
                    outbox.push(framed(payload, step as u8));
                    expected.extend_from_slice(&framed(payload, step as u8));
                }
                outbox.offer(&mut scratch, |bytes| {
                    let taken = take.min(bytes.len());
                    received.extend_from_slice(&bytes[..taken]);
                    Ok(taken)
                }).unwrap();
                prop_assert_eq!(received.len() + outbox.len(), expected.len());
                prop_assert_eq!(&expected[..received.len()], &received[..]);
                if step == drop_at {
                    let dropped = outbox.drop_unsent();
                    expected.truncate(expected.len() - dropped);
                    prop_assert_eq!(Cut::after(&expected, expected.len()), Cut::default());
                }
            }
            while !outbox.is_empty() {
                outbox.offer(&mut scratch, |bytes| Ok({ received.extend_from_slice(bytes); bytes.len() })).unwrap();
            }
            prop_assert_eq!(received, expected);
        }
    }
}
