//! The sequence of one stream, the rule that finds what is missing, and the ledger (`docs/protocol.md`, "Sequences" and
//! "The ledger").

use super::Ledger;
use crate::model::{Channel, Period};

/// What of a stream was granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    /// Levels a side of a book view; `None`: all, and every channel that is no book.
    pub depth: Option<u32>,
    /// Milliseconds between updates; 0: each.
    pub interval_ms: u32,
    /// Length of the bars; `None`: a channel without.
    pub period: Option<Period>,
}

/// Where the client stands in one stream (instrument, channel) of the current epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    channel: Channel,
    pub view: View,
    /// Last sequence held.
    pub last: u64,
    /// Whether state is held: something to show, be it old.
    pub held: bool,
    /// Whether that state is as of `last`, so that the stream can go on from it.
    pub ready: bool,
    /// Whether what is held may be old: this connection has not continued it yet, or there is a hole behind it.
    pub stale: bool,
    /// Whether this connection granted it.
    pub granted: bool,
    /// Whether everything was cleared, and what stands now is still to come: a snapshot, or the rest of an exchange event.
    /// Who is cut off here holds nothing to go on from.
    pub cleared: bool,
    /// Whether it is to be subscribed to again, and has not been granted since.
    pub resync: bool,
    pub ledger: Ledger,
    /// Sequence up to which a heartbeat called the view complete: beyond `last` where what happened in between lies
    /// outside the view. It never makes a message old.
    complete: u64,
    /// Whether the connection was asked to go on where the stream stands.
    pub resuming: bool,
    /// Whether the ledger counts from `last`: something has come since the grant, or it was resumed. If not, a snapshot is
    /// where the ledger begins.
    begun: bool,
    /// Whether `last` is where an earlier grant of this epoch led to.
    known: bool,
}

/// What a message is to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It follows, perhaps with an overlap.
    Next,
    /// All of it is held already.
    Old,
    /// These sequences are missing before it.
    Gap(Missing),
}

/// Sequences that are missing: the first and the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    pub from: u64,
    pub to: u64,
}

impl Missing {
    fn count(self) -> u64 {
        self.to.saturating_sub(self.from).saturating_add(1)
    }
}

/// What a declared gap tells: what is missing before it without a word, and what is lost by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Declared {
    pub undeclared: Option<Missing>,
    pub lost: Option<Missing>,
}

/// Whether a channel's messages are changes of a state that has to be there before them. What the others say is whole.
pub(super) fn is_incremental(channel: Channel) -> bool {
    matches!(channel, Channel::Book | Channel::Orders)
}

impl Stream {
    /// A stream of which nothing is known yet.
    pub fn new(channel: Channel) -> Stream {
        Stream {
            channel,
            view: View::default(),
            last: 0,
            held: false,
            ready: false,
            stale: true,
            granted: false,
            cleared: false,
            resync: false,
            ledger: Ledger::default(),
            complete: 0,
            resuming: false,
            begun: false,
            known: false,
        }
    }

    /// The connection granted it, at `seq`. What is held goes on where it stands, if the server does not stand behind
    /// it; else it waits, stale, for its snapshot. What can never come is returned: trades have no snapshot.
    pub fn grant(&mut self, view: View, seq: u64) -> Option<Missing> {
        let is_trades = self.channel == Channel::Trades;
        // Granted again on the same connection while cleared: what was to come may not come any more.
        let cleared = std::mem::take(&mut self.cleared);
        let continues = self.ready && !cleared && self.view == view && seq <= self.last;
        let missed = Missing { from: self.last.saturating_add(1), to: seq };
        let missed = (self.known && is_trades && seq > self.last).then_some(missed);
        if !continues {
            // Where nothing ever happened there is nothing to wait for.
            self.ready = is_trades || (seq == 0 && self.last == 0);
            self.held |= self.ready;
            self.last = seq;
        }
        self.view = view;
        self.complete = self.last;
        self.granted = true;
        self.known = true;
        self.stale = true;
        self.resync = false;
        // Views that leave something out get their snapshot, and are not resumed.
        let is_whole = view.depth.is_none() && view.interval_ms == 0;
        self.begun = std::mem::take(&mut self.resuming) && continues && is_whole;
        missed
    }

    /// The connection is gone: where the stream stands remains, and what is held.
    pub fn disconnected(&mut self) {
        if std::mem::take(&mut self.cleared) {
            self.lose();
        }
        self.granted = false;
        self.resuming = false;
        self.resync = false;
        self.stale = true;
    }

    /// It ended as asked: what it was counted for remains.
    pub fn end(&mut self) {
        *self = Stream { ledger: self.ledger, ..Stream::new(self.channel) };
    }

    /// A new epoch: it stands at sequence 0, where every state is empty.
    pub fn begin(&mut self) {
        self.hold(0);
        self.held = true;
        self.ready = true;
        self.stale = !self.granted;
        self.cleared = false;
        self.resuming = false;
        self.begun = false;
        self.known = self.granted;
    }

    /// A change was applied. Whether it cleared everything, and whether more of the same follows.
    pub fn changed(&mut self, clears: bool, more: bool) {
        self.cleared = more && (clears || self.cleared);
        self.stale = self.cleared;
    }

    /// The state here is not the server's.
    pub fn lose(&mut self) {
        self.held = false;
        self.ready = false;
        self.stale = true;
    }

    /// Whether to ask for it again; not twice before the server has granted it.
    pub fn wants_resync(&mut self) -> bool {
        !std::mem::replace(&mut self.resync, true)
    }

    /// Holding `last`, a client accepts `first <= last + 1 <= last_seq`, discards `last_seq <= last`, and takes
    /// anything else for a gap.
    pub fn check(&self, first_seq: u64, last_seq: u64) -> Verdict {
        let complete = self.last.max(self.complete);
        if last_seq <= self.last {
            Verdict::Old
        } else if first_seq <= complete.saturating_add(1) {
            Verdict::Next
        } else {
            Verdict::Gap(Missing { from: complete.saturating_add(1), to: first_seq - 1 })
        }
    }

    /// A message came that carries so many of the sequences it covers. Unless it is old, it is held and counted; what
    /// it says is to be applied if the stream is ready then.
    pub fn message(&mut self, first_seq: u64, last_seq: u64, carried: u64) -> Verdict {
        let verdict = self.check(first_seq, last_seq);
        match verdict {
            Verdict::Old => return verdict,
            Verdict::Next => {}
            Verdict::Gap(missing) => self.miss(missing),
        }
        let covered = last_seq.saturating_sub(self.last);
        let delivered = carried.min(covered);
        self.ledger += Ledger { delivered, merged: covered - delivered, ..Ledger::default() };
        self.hold(last_seq.max(self.last));
        if !is_incremental(self.channel) {
            self.held = true;
            self.ready = true;
        } else if verdict != Verdict::Next && self.ready {
            self.lose();
        }
        self.stale = !self.ready;
        verdict
    }

    /// A snapshot came: authoritative, wherever the stream stood.
    pub fn snapshot(&mut self, last_seq: u64) {
        if self.begun {
            let merged = last_seq.saturating_sub(self.last);
            self.ledger += Ledger { merged, ..Ledger::default() };
        }
        self.hold(last_seq);
        self.held = true;
        self.ready = true;
        self.stale = false;
        self.cleared = false;
        self.resync = false;
    }

    /// The server declares sequences lost. What is held is stale, and changes wait for the snapshot that follows.
    pub fn declared(&mut self, from: u64, to: u64) -> Declared {
        let mut declared = Declared::default();
        if to < from {
            return declared;
        }
        match self.check(from, to) {
            Verdict::Old => return declared,
            Verdict::Next => {
                // What a heartbeat called complete before the gap lay outside the view.
                let merged = from.saturating_sub(1).saturating_sub(self.last);
                self.ledger += Ledger { merged, ..Ledger::default() };
            }
            Verdict::Gap(missing) => {
                self.miss(missing);
                declared.undeclared = Some(missing);
            }
        }
        let lost = Missing { from: from.max(self.last.saturating_add(1)), to };
        self.ledger += Ledger { lost: lost.count(), ..Ledger::default() };
        declared.lost = Some(lost);
        self.hold(to);
        self.stale = true;
        self.expect_state();
        declared
    }

    /// The server calls the stream complete up to `seq`. A full stream has a message for every sequence, so one that
    /// ends before `seq` has lost its tail, which is returned; a view (of some depth, with an interval, of one period)
    /// leaves out what lies outside.
    pub fn heartbeat(&mut self, seq: u64) -> Option<Missing> {
        // What waits for its snapshot will learn from that where it stands.
        if !self.ready || seq < self.last {
            return None;
        }
        self.stale = false;
        if seq == self.last {
            return None;
        }
        let View { depth, interval_ms, period } = self.view;
        if depth.is_some() || interval_ms > 0 || period.is_some() {
            self.complete = self.complete.max(seq);
            return None;
        }
        let missing = Missing { from: self.last.saturating_add(1), to: seq };
        self.miss(missing);
        self.stale = true;
        if is_incremental(self.channel) {
            self.lose();
        }
        self.expect_state();
        Some(missing)
    }

    /// Sequences are lost: what is held is not the state as of `last`, and nothing to resume from until the next message
    /// or snapshot. (A tape has no state.)
    fn expect_state(&mut self) {
        self.ready &= self.channel == Channel::Trades;
    }

    /// Sequences are missing that nobody declared.
    fn miss(&mut self, missing: Missing) {
        let merged = (missing.from - 1).saturating_sub(self.last);
        self.ledger += Ledger { merged, undeclared: missing.count(), ..Ledger::default() };
        self.hold(missing.to);
    }

    /// Now everything up to `last` is held, or known to be lost. A snapshot may step back.
    fn hold(&mut self, last: u64) {
        self.last = last;
        self.complete = last;
        self.begun = true;
    }
}

#[cfg(test)]
mod tests;
