//! One instrument in the mirror: its streams, its book, its last quote, ticker and status.

use std::sync::Arc;

use super::stream::{Stream, Verdict};
use super::{BookView, Disconnect, Listing, Update};
use crate::limits;
use crate::model::{Channel, L2Book, Level, Quote, ResetReason, Side, Status, Ticker};
use crate::wire::market::{Message, MessageBody};
use crate::wire::message::{CHECKSUM_LEVELS, Meta, checksum};

#[derive(Debug)]
pub(super) struct Entry {
    pub listing: Arc<Listing>,
    /// Epoch of every sequence of the instrument.
    pub epoch: u64,
    /// By [`Channel::index`].
    streams: [Option<Stream>; Channel::ALL.len()],
    book: L2Book,
    /// Event time and publish time of the last message of the book.
    book_ns: (u64, u64),
    /// Parts of a snapshot that is not whole yet.
    staged: Option<Staged>,
    pub quote: Option<Quote>,
    pub ticker: Option<Ticker>,
    pub status: Option<Status>,
}

#[derive(Debug)]
struct Staged {
    last_seq: u64,
    parts: u16,
    /// The part to come.
    next: u16,
    bids: Vec<Level>,
    asks: Vec<Level>,
}

/// Levels as they come in a message.
struct Levels {
    bids: Vec<Level>,
    asks: Vec<Level>,
    checksum: Option<u32>,
}

impl Entry {
    pub fn new(listing: Arc<Listing>, epoch: u64) -> Entry {
        Entry {
            listing,
            epoch,
            streams: [None; Channel::ALL.len()],
            book: L2Book::new(),
            book_ns: (0, 0),
            staged: None,
            quote: None,
            ticker: None,
            status: None,
        }
    }

    /// The book, if its state is known.
    pub fn book(&self) -> Option<BookView<'_>> {
        let stream = self.granted(Channel::Book).filter(|stream| stream.ready)?;
        Some(BookView {
            listing: &self.listing,
            book: &self.book,
            depth: stream.depth,
            epoch: self.epoch,
            seq: stream.last,
            ts_ns: self.book_ns.0,
            sent_ns: self.book_ns.1,
        })
    }

    /// The connection is gone: of the streams only where they stood remains.
    pub fn disconnected(&mut self) {
        self.forget();
        for stream in self.streams.iter_mut().flatten() {
            stream.granted = false;
            stream.ready = false;
        }
    }

    /// The stream, if this connection granted it.
    pub fn granted(&self, channel: Channel) -> Option<&Stream> {
        self.streams[channel.index()].as_ref().filter(|stream| stream.granted)
    }

    /// The same, to change it.
    pub fn stream(&mut self, channel: Channel) -> Option<&mut Stream> {
        self.streams[channel.index()].as_mut().filter(|stream| stream.granted)
    }

    /// Forgets all state.
    pub fn forget(&mut self) {
        self.book.clear();
        self.staged = None;
        self.quote = None;
        self.ticker = None;
        self.status = None;
    }

    /// Enters a later epoch, if it is one.
    pub fn enter(&mut self, epoch: u64, reason: ResetReason, out: &mut impl Extend<Update>) {
        if epoch > self.epoch {
            self.begin(epoch, reason, out);
        }
    }

    /// A new epoch: every stream stands at sequence 0, where a book is empty.
    pub fn begin(&mut self, epoch: u64, reason: ResetReason, out: &mut impl Extend<Update>) {
        self.epoch = epoch;
        self.forget();
        for stream in self.streams.iter_mut().flatten() {
            stream.hold(0);
            stream.ready = true;
        }
        out.extend([Update::Reset { listing: self.listing.clone(), epoch, reason }]);
    }

    pub fn grant(
        &mut self,
        channel: Channel,
        depth: Option<u32>,
        interval_ms: u32,
        seq: u64,
        out: &mut impl Extend<Update>,
    ) {
        let before = self.streams[channel.index()];
        // Changes of a book need its snapshot first (none is needed where nothing ever happened); what every message
        // of another channel says is whole.
        let ready = channel != Channel::Book || seq == 0;
        self.streams[channel.index()] = Some(Stream::new(depth, interval_ms, seq, ready));
        if channel == Channel::Book {
            self.book.clear();
            self.staged = None;
        }
        let listing = self.listing.clone();
        out.extend([Update::Granted { listing, channel, depth, interval_ms }]);
        // Trades have no snapshot: those between two connections are lost.
        if let Some(before) = before.filter(|before| channel == Channel::Trades && before.last < seq) {
            self.gap(channel, before.last + 1, seq, false, false, out);
        }
    }

    /// The server calls a stream complete up to `seq`.
    pub fn position(&mut self, channel: Channel, epoch: u64, seq: u64, out: &mut impl Extend<Update>) {
        if epoch < self.epoch {
            return;
        }
        self.enter(epoch, ResetReason::Restart, out);
        let Some(stream) = self.stream(channel).filter(|stream| stream.ready) else { return };
        if let Verdict::Gap { from, to } = stream.heartbeat(seq) {
            stream.hold(to);
            // What was lost of trades is lost; of a state, the client asks for it again.
            let resync = channel != Channel::Trades;
            self.gap(channel, from, to, false, resync, out);
        }
    }

    pub fn declared_gap(
        &mut self,
        channel: Channel,
        epoch: u64,
        from: u64,
        to: u64,
        out: &mut impl Extend<Update>,
    ) {
        if epoch < self.epoch || to < from {
            return;
        }
        self.enter(epoch, ResetReason::Restart, out);
        let Some(stream) = self.stream(channel) else { return };
        let verdict = stream.check(from, to);
        if verdict == Verdict::Old {
            return;
        }
        stream.hold(to);
        let resync = channel == Channel::Book && stream.ready;
        if let Verdict::Gap { from, to } = verdict {
            self.gap(channel, from, to, false, false, out);
        }
        self.gap(channel, from, to, true, resync, out);
    }

    /// Reports a gap; a book with a gap is unknown until its next snapshot.
    fn gap(
        &mut self,
        channel: Channel,
        from: u64,
        to: u64,
        declared: bool,
        resync: bool,
        out: &mut impl Extend<Update>,
    ) {
        if resync && channel == Channel::Book {
            self.lose_book();
        }
        let (listing, epoch) = (self.listing.clone(), self.epoch);
        out.extend([Update::Gap { listing, channel, epoch, from, to, declared, resync }]);
    }

    /// The book is unknown until a snapshot comes; one that is on its way in parts still counts.
    fn lose_book(&mut self) {
        self.book.clear();
        if let Some(stream) = &mut self.streams[Channel::Book.index()] {
            stream.ready = false;
        }
    }

    pub fn message(
        &mut self,
        channel: Channel,
        message: Message,
        out: &mut impl Extend<Update>,
    ) -> Result<(), Disconnect> {
        let Message { meta, body } = message;
        let body_channel = match &body {
            MessageBody::Quote(_) => Channel::Quotes,
            MessageBody::Trade(_) => Channel::Trades,
            MessageBody::Book { .. } => Channel::Book,
            MessageBody::Order(_) | MessageBody::Orders { .. } => Channel::Orders,
            MessageBody::Ticker(_) => Channel::Ticker,
            MessageBody::Bar(_) => Channel::Bars,
            MessageBody::Status(_) => Channel::Status,
            MessageBody::Unknown(_) => channel,
        };
        if body_channel != channel {
            return Err(Disconnect::Protocol(format!("a message of {body_channel} in a frame of {channel}")));
        }
        let body = match body {
            MessageBody::Book { bids, asks, checksum, part, parts } => {
                return match self.stage(&meta, Levels { bids, asks, checksum }, part, parts)? {
                    Some(levels) if self.accept(channel, &meta, out) => self.apply(&meta, &levels, out),
                    _ => Ok(()),
                };
            }
            other => other,
        };
        if !self.accept(channel, &meta, out) {
            return Ok(());
        }
        let listing = self.listing.clone();
        match body {
            MessageBody::Quote(quote) => {
                self.quote = Some(quote);
                out.extend([Update::Quote { listing, meta, quote }]);
            }
            MessageBody::Trade(trade) => out.extend([Update::Trade { listing, meta, trade }]),
            MessageBody::Ticker(ticker) => {
                self.ticker = Some(ticker);
                out.extend([Update::Ticker { listing, meta, ticker }]);
            }
            MessageBody::Status(Some(status)) => {
                self.status = Some(status);
                out.extend([Update::Status { listing, meta, status }]);
            }
            // Not subscribed to yet.
            MessageBody::Order(_) | MessageBody::Orders { .. } | MessageBody::Bar(_) => {}
            // Numbers of a later version; books went their way above.
            MessageBody::Status(None) | MessageBody::Unknown(_) | MessageBody::Book { .. } => {}
        }
        Ok(())
    }

    /// Collects the parts of a snapshot: `None` until it is whole.
    fn stage(
        &mut self,
        meta: &Meta,
        levels: Levels,
        part: u16,
        parts: u16,
    ) -> Result<Option<Levels>, Disconnect> {
        if !meta.snapshot || parts <= 1 {
            return Ok(Some(levels));
        }
        let mut staged = match self.staged.take() {
            _ if part == 1 => {
                Staged { last_seq: meta.last_seq, parts, next: 1, bids: Vec::new(), asks: Vec::new() }
            }
            // What is left of a snapshot that another view or epoch has overtaken.
            None => return Ok(None),
            Some(staged) if (staged.last_seq, staged.parts, staged.next) == (meta.last_seq, parts, part) => {
                staged
            }
            Some(staged) => {
                return Err(Disconnect::Protocol(format!(
                    "part {part} of {parts} of a snapshot at {} where part {} of {} at {} should be",
                    meta.last_seq, staged.next, staged.parts, staged.last_seq
                )));
            }
        };
        staged.bids.extend_from_slice(&levels.bids);
        staged.asks.extend_from_slice(&levels.asks);
        if staged.bids.len() + staged.asks.len() > limits::CLIENT_BOOK_LEVELS_MAX {
            return Err(too_many_levels());
        }
        if part >= parts {
            return Ok(Some(Levels { bids: staged.bids, asks: staged.asks, checksum: levels.checksum }));
        }
        staged.next = part + 1;
        self.staged = Some(staged);
        Ok(None)
    }

    /// Whether to take a message; moves the stream on, and reports what is missing before it.
    fn accept(&mut self, channel: Channel, meta: &Meta, out: &mut impl Extend<Update>) -> bool {
        let Some(stream) = self.stream(channel) else { return false };
        if meta.snapshot {
            // Authoritative, wherever the stream stood.
            stream.hold(meta.last_seq);
            stream.ready = true;
            return true;
        }
        if !stream.ready {
            return false;
        }
        match stream.check(meta.first_seq, meta.last_seq) {
            Verdict::Old => false,
            Verdict::Next => {
                stream.hold(meta.last_seq);
                true
            }
            Verdict::Gap { from, to } => {
                stream.hold(meta.last_seq);
                // Changes of a book cannot be applied over a gap; every other message is whole by itself.
                let resync = channel == Channel::Book;
                self.gap(channel, from, to, false, resync, out);
                !resync
            }
        }
    }

    fn apply(
        &mut self,
        meta: &Meta,
        levels: &Levels,
        out: &mut impl Extend<Update>,
    ) -> Result<(), Disconnect> {
        if meta.snapshot {
            self.book.clear();
            self.staged = None;
        }
        for (side, levels) in [(Side::Bid, &levels.bids), (Side::Ask, &levels.asks)] {
            // A snapshot is best first, and a book is fastest where it grows at the best price.
            for level in levels.iter().rev() {
                self.book.set(side, level.price, level.quantity);
            }
        }
        if self.book.depth(Side::Bid) + self.book.depth(Side::Ask) > limits::CLIENT_BOOK_LEVELS_MAX {
            return Err(too_many_levels());
        }
        self.book_ns = (meta.ts_ns, meta.sent_ns);
        let listing = self.listing.clone();
        if let Some(expected) = levels.checksum {
            let computed = self.checksum();
            if computed != expected {
                self.lose_book();
                out.extend([Update::Mismatch { listing, seq: meta.last_seq, expected, computed }]);
                return Ok(());
            }
        }
        out.extend([Update::Book { listing, meta: *meta }]);
        Ok(())
    }

    fn checksum(&self) -> u32 {
        let depth = self.streams[Channel::Book.index()].and_then(|stream| stream.depth);
        let depth = depth.map_or(CHECKSUM_LEVELS, |depth| depth as usize);
        let top = |side| self.book.levels(side).take(CHECKSUM_LEVELS).collect::<Vec<_>>();
        checksum(top(Side::Bid).iter(), top(Side::Ask).iter(), depth)
    }
}

fn too_many_levels() -> Disconnect {
    Disconnect::Protocol(format!("a book of more than {} levels", limits::CLIENT_BOOK_LEVELS_MAX))
}
