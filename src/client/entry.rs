//! One instrument in the mirror: its streams and what they add up to.

use std::collections::VecDeque;
use std::sync::Arc;

use super::parts::Parts;
use super::stream::{Declared, Missing, Stream, Verdict, View, is_incremental};
use super::{BookView, Disconnect, Ledger, Listing, OrdersView, Update};
use crate::limits;
use crate::model::{
    Bar, Channel, L2Book, Level, Order, OrderAction, OrderBook, OrderChange, OrderError, Period, Quote,
    ResetReason, Side, Status, Ticker,
};
use crate::wire::market::{Message, MessageBody};
use crate::wire::message::{CHECKSUM_LEVELS, Meta, checksum};

/// What comes of a message from the server.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// In the order in which it happened.
    pub updates: VecDeque<Update>,
    /// Streams to subscribe to again.
    pub resyncs: Vec<(Arc<Listing>, Channel)>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub listing: Arc<Listing>,
    /// Epoch of every sequence of the instrument.
    pub epoch: u64,
    /// By [`Channel::index`].
    streams: [Option<Stream>; Channel::ALL.len()],
    book: L2Book,
    book_at: At,
    book_parts: Parts<Levels>,
    orders: OrderBook,
    orders_at: At,
    orders_parts: Parts<Vec<Order>>,
    pub quote: Option<Quote>,
    pub ticker: Option<Ticker>,
    pub status: Option<Status>,
    /// The last bar of each period, by [`Period::index`].
    bars: [Option<Bar>; Period::ALL.len()],
}

/// The last message that went into a state.
#[derive(Clone, Copy, Debug, Default)]
struct At {
    seq: u64,
    ts_ns: u64,
    sent_ns: u64,
}

impl At {
    fn of(meta: &Meta) -> At {
        At { seq: meta.last_seq, ts_ns: meta.ts_ns, sent_ns: meta.sent_ns }
    }
}

/// Levels of a message, or of all parts of a snapshot.
#[derive(Debug)]
struct Levels {
    bids: Vec<Level>,
    asks: Vec<Level>,
    checksum: Option<u32>,
}

impl Levels {
    fn join(&mut self, part: Levels) -> Result<(), Disconnect> {
        self.bids.extend(part.bids);
        self.asks.extend(part.asks);
        self.checksum = part.checksum;
        bounded("levels", self.bids.len() + self.asks.len(), limits::CLIENT_BOOK_LEVELS_MAX)
    }
}

fn bounded(what: &str, count: usize, max: usize) -> Result<(), Disconnect> {
    if count > max {
        return Err(Disconnect::Protocol(format!("a book of more than {max} {what}")));
    }
    Ok(())
}

impl Entry {
    pub fn new(listing: Arc<Listing>, epoch: u64) -> Entry {
        Entry {
            listing,
            epoch,
            streams: [None; Channel::ALL.len()],
            book: L2Book::new(),
            book_at: At::default(),
            book_parts: Parts::default(),
            orders: OrderBook::new(),
            orders_at: At::default(),
            orders_parts: Parts::default(),
            quote: None,
            ticker: None,
            status: None,
            bars: [None; Period::ALL.len()],
        }
    }

    /// The book, if one is held.
    pub fn book(&self) -> Option<BookView<'_>> {
        let stream = self.stream(Channel::Book).filter(|stream| stream.held)?;
        let At { seq, ts_ns, sent_ns } = self.book_at;
        let (listing, book, depth) = (&*self.listing, &self.book, stream.view.depth);
        Some(BookView { listing, book, depth, epoch: self.epoch, seq, ts_ns, sent_ns, stale: stream.stale })
    }

    /// The resting orders, if they are held.
    pub fn orders(&self) -> Option<OrdersView<'_>> {
        let stream = self.stream(Channel::Orders).filter(|stream| stream.held)?;
        let At { seq, ts_ns, sent_ns } = self.orders_at;
        let (listing, orders) = (&*self.listing, &self.orders);
        Some(OrdersView { listing, orders, epoch: self.epoch, seq, ts_ns, sent_ns, stale: stream.stale })
    }

    /// The last bar of a period.
    pub fn bar(&self, period: Period) -> Option<Bar> {
        self.bars[period.index()]
    }

    /// The stream, if it was ever granted.
    pub fn stream(&self, channel: Channel) -> Option<&Stream> {
        self.streams[channel.index()].as_ref()
    }

    /// Every stream that was ever granted, in the order of the channels' numbers.
    pub fn streams(&self) -> impl Iterator<Item = (Channel, &Stream)> {
        Channel::ALL.into_iter().filter_map(|channel| Some((channel, self.stream(channel)?)))
    }

    /// The stream, if this connection granted it.
    pub fn granted(&mut self, channel: Channel) -> Option<&mut Stream> {
        self.streams[channel.index()].as_mut().filter(|stream| stream.granted)
    }

    /// The connection is gone: what is held remains, and waits for another to continue it.
    pub fn disconnected(&mut self) {
        self.book_parts.clear();
        self.orders_parts.clear();
        self.streams.iter_mut().flatten().for_each(Stream::disconnected);
    }

    /// Enters a later epoch, if it is one.
    pub fn enter(&mut self, epoch: u64, reason: ResetReason, out: &mut Outcome) {
        if epoch > self.epoch {
            self.begin(epoch, reason, out);
        }
    }

    /// A new epoch: every stream stands at sequence 0, where nothing is.
    pub fn begin(&mut self, epoch: u64, reason: ResetReason, out: &mut Outcome) {
        self.epoch = epoch;
        for channel in Channel::ALL {
            self.forget(channel);
        }
        self.streams.iter_mut().flatten().for_each(Stream::begin);
        out.updates.push_back(Update::Reset { listing: self.listing.clone(), epoch, reason });
    }

    /// Forgets the state of a channel.
    fn forget(&mut self, channel: Channel) {
        match channel {
            Channel::Quotes => self.quote = None,
            Channel::Trades => {}
            Channel::Book => {
                self.book.clear();
                self.book_at = At::default();
                self.book_parts.clear();
            }
            Channel::Orders => {
                self.orders.clear();
                self.orders_at = At::default();
                self.orders_parts.clear();
            }
            Channel::Ticker => self.ticker = None,
            Channel::Bars => self.bars = [None; Period::ALL.len()],
            Channel::Status => self.status = None,
        }
    }

    pub fn grant(&mut self, channel: Channel, view: View, seq: u64, out: &mut Outcome) {
        let stream = self.streams[channel.index()].get_or_insert_with(|| Stream::new(channel));
        if channel == Channel::Bars && stream.view.period != view.period {
            // Those of another length are not told any more.
            self.bars = [None; Period::ALL.len()];
        }
        let missed = stream.grant(view, seq);
        match channel {
            Channel::Book => self.book_parts.clear(),
            Channel::Orders => self.orders_parts.clear(),
            _ => {}
        }
        let (listing, epoch) = (self.listing.clone(), self.epoch);
        let View { depth, interval_ms, period } = view;
        out.updates.push_back(Update::Granted { listing, channel, depth, interval_ms, period, epoch, seq });
        if let Some(missed) = missed {
            self.gap(channel, missed, false, false, out);
        }
    }

    /// The stream was asked for with where it stands.
    pub fn resuming(&mut self, channel: Channel) {
        if let Some(stream) = &mut self.streams[channel.index()] {
            stream.resuming = true;
        }
    }

    /// The stream ended as asked.
    pub fn end(&mut self, channel: Channel) {
        self.forget(channel);
        if let Some(stream) = &mut self.streams[channel.index()] {
            stream.end();
        }
    }

    /// The server calls a stream complete up to `seq`.
    pub fn position(&mut self, channel: Channel, epoch: u64, seq: u64, out: &mut Outcome) {
        if epoch < self.epoch {
            return;
        }
        self.enter(epoch, ResetReason::Restart, out);
        let Some(stream) = self.granted(channel) else { return };
        if let Some(missing) = stream.heartbeat(seq) {
            // What was lost of trades is lost; of a state, the client asks for it again.
            let resync = channel != Channel::Trades && stream.wants_resync();
            self.gap(channel, missing, false, resync, out);
        }
    }

    pub fn declared_gap(&mut self, channel: Channel, epoch: u64, from: u64, to: u64, out: &mut Outcome) {
        if epoch < self.epoch {
            return;
        }
        self.enter(epoch, ResetReason::Restart, out);
        let Some(stream) = self.granted(channel) else { return };
        let Declared { undeclared, lost } = stream.declared(from, to);
        if let Some(missing) = undeclared {
            self.gap(channel, missing, false, false, out);
        }
        if let Some(missing) = lost {
            self.gap(channel, missing, true, false, out);
        }
    }

    /// Reports a gap.
    fn gap(&self, channel: Channel, missing: Missing, declared: bool, resync: bool, out: &mut Outcome) {
        let (listing, epoch) = (self.listing.clone(), self.epoch);
        let Missing { from, to } = missing;
        out.updates.push_back(Update::Gap { listing, channel, epoch, from, to, declared, resync });
        if resync {
            out.resyncs.push((self.listing.clone(), channel));
        }
    }

    /// The state here is not the server's: it is unknown until a snapshot comes.
    fn lose(&mut self, channel: Channel, out: &mut Outcome) {
        if let Some(stream) = &mut self.streams[channel.index()] {
            stream.ledger += Ledger { mismatches: 1, ..Ledger::default() };
            stream.lose();
            if stream.wants_resync() {
                out.resyncs.push((self.listing.clone(), channel));
            }
        }
    }

    pub fn message(
        &mut self,
        channel: Channel,
        message: Message,
        out: &mut Outcome,
    ) -> Result<(), Disconnect> {
        let Message { meta, body } = message;
        let body_channel = body_channel(&body).unwrap_or(channel);
        if body_channel != channel {
            return Err(Disconnect::Protocol(format!("a message of {body_channel} in a frame of {channel}")));
        }
        let listing = self.listing.clone();
        match body {
            MessageBody::Book { bids, asks, checksum, part, parts } => {
                let mut levels = Levels { bids, asks, checksum };
                if meta.snapshot {
                    let Some(whole) = self.book_parts.add(&meta, (part, parts), levels, Levels::join)? else {
                        return Ok(());
                    };
                    levels = whole;
                }
                let carried = (levels.bids.len() + levels.asks.len()) as u64;
                if self.accept(channel, &meta, carried, out) {
                    self.apply_levels(&meta, levels, out)?;
                }
                return Ok(());
            }
            MessageBody::Orders { orders, part, parts } => {
                let join = |whole: &mut Vec<Order>, part| {
                    whole.extend::<Vec<Order>>(part);
                    bounded("orders", whole.len(), limits::ORDERS_MAX)
                };
                let Some(orders) = self.orders_parts.add(&meta, (part, parts), orders, join)? else {
                    return Ok(());
                };
                // It can be nothing but a snapshot, whatever the flag says.
                let meta = Meta { snapshot: true, ..meta };
                if self.accept(channel, &meta, 0, out) {
                    self.replace_orders(&meta, orders, out);
                }
                return Ok(());
            }
            // Of a later version: nothing that could stand for the state.
            MessageBody::Unknown(_) | MessageBody::Status(None) if meta.snapshot => return Ok(()),
            MessageBody::Order(_) if meta.snapshot => {
                return Err(Disconnect::Protocol("a change of an order is flagged as a snapshot".into()));
            }
            _ => {}
        }
        if !self.accept(channel, &meta, 1, out) {
            return Ok(());
        }
        let update = match body {
            MessageBody::Quote(quote) => {
                self.quote = Some(quote);
                Update::Quote { listing, meta, quote }
            }
            MessageBody::Trade(trade) => Update::Trade { listing, meta, trade },
            MessageBody::Order(change) => {
                self.follow_order(&meta, change, out);
                return Ok(());
            }
            MessageBody::Ticker(ticker) => {
                self.ticker = Some(ticker);
                Update::Ticker { listing, meta, ticker }
            }
            MessageBody::Bar(bar) => {
                self.bars[bar.period.index()] = Some(bar);
                Update::Bar { listing, meta, bar }
            }
            MessageBody::Status(Some(status)) => {
                self.status = Some(status);
                Update::Status { listing, meta, status }
            }
            // Numbers of a later version; books and snapshots of orders went their way above.
            MessageBody::Status(None)
            | MessageBody::Unknown(_)
            | MessageBody::Book { .. }
            | MessageBody::Orders { .. } => return Ok(()),
        };
        out.updates.push_back(update);
        Ok(())
    }

    /// Whether to apply a message; moves the stream on, and reports what is missing before it.
    fn accept(&mut self, channel: Channel, meta: &Meta, carried: u64, out: &mut Outcome) -> bool {
        let Some(stream) = self.granted(channel) else { return false };
        if meta.snapshot {
            stream.snapshot(meta.last_seq);
            return true;
        }
        let verdict = stream.message(meta.first_seq, meta.last_seq, carried);
        if verdict == Verdict::Old {
            return false;
        }
        // Changes cannot be applied over a gap, nor where a snapshot should be first.
        let ready = stream.ready;
        let resync = is_incremental(channel) && !ready && stream.wants_resync();
        match verdict {
            Verdict::Gap(missing) => self.gap(channel, missing, false, resync, out),
            Verdict::Next if resync => out.resyncs.push((self.listing.clone(), channel)),
            Verdict::Next | Verdict::Old => {}
        }
        ready
    }

    fn apply_levels(&mut self, meta: &Meta, levels: Levels, out: &mut Outcome) -> Result<(), Disconnect> {
        if meta.snapshot {
            self.book.clear();
        }
        for (side, levels) in [(Side::Bid, &levels.bids), (Side::Ask, &levels.asks)] {
            let mut set = |level: &Level| {
                self.book.set(side, level.price, level.quantity);
            };
            if meta.snapshot {
                // It is best first, and a book is fastest where it grows at the best price.
                levels.iter().rev().for_each(&mut set);
            } else {
                // Of two entries at one price the last one counts.
                levels.iter().for_each(&mut set);
            }
        }
        let held = self.book.depth(Side::Bid) + self.book.depth(Side::Ask);
        bounded("levels", held, limits::CLIENT_BOOK_LEVELS_MAX)?;
        self.book_at = At::of(meta);
        let listing = self.listing.clone();
        if let Some(expected) = levels.checksum {
            let computed = self.checksum();
            if computed != expected {
                out.updates.push_back(Update::Mismatch { listing, seq: meta.last_seq, expected, computed });
                self.lose(Channel::Book, out);
                return Ok(());
            }
        }
        let Levels { bids, asks, .. } = levels;
        out.updates.push_back(Update::Book { listing, meta: *meta, bids, asks });
        Ok(())
    }

    fn checksum(&self) -> u32 {
        let depth = self.stream(Channel::Book).and_then(|stream| stream.view.depth);
        let depth = depth.map_or(CHECKSUM_LEVELS, |depth| depth as usize);
        let top = |side| self.book.levels(side).take(CHECKSUM_LEVELS).collect::<Vec<_>>();
        checksum(top(Side::Bid).iter(), top(Side::Ask).iter(), depth)
    }

    fn replace_orders(&mut self, meta: &Meta, orders: Vec<Order>, out: &mut Outcome) {
        self.orders.clear();
        self.orders_at = At::of(meta);
        match orders.iter().try_for_each(|order| self.orders.add(*order).map(drop)) {
            Ok(()) => {
                let listing = self.listing.clone();
                out.updates.push_back(Update::Orders { listing, meta: *meta, orders });
            }
            Err(error) => self.lose_orders(meta, error, out),
        }
    }

    fn follow_order(&mut self, meta: &Meta, change: OrderChange, out: &mut Outcome) {
        self.orders_at = At::of(meta);
        match self.orders.follow(&change) {
            Ok(()) => {
                if let Some(stream) = self.granted(Channel::Orders) {
                    stream.changed(change.action == OrderAction::Clear, !meta.last);
                }
                let listing = self.listing.clone();
                out.updates.push_back(Update::Order { listing, meta: *meta, change });
            }
            Err(error) => self.lose_orders(meta, error, out),
        }
    }

    fn lose_orders(&mut self, meta: &Meta, error: OrderError, out: &mut Outcome) {
        let listing = self.listing.clone();
        out.updates.push_back(Update::OrderMismatch { listing, seq: meta.last_seq, error });
        self.lose(Channel::Orders, out);
    }
}

/// The channel that a message belongs to; `None` for a kind that this version does not know.
fn body_channel(body: &MessageBody) -> Option<Channel> {
    Some(match body {
        MessageBody::Quote(_) => Channel::Quotes,
        MessageBody::Trade(_) => Channel::Trades,
        MessageBody::Book { .. } => Channel::Book,
        MessageBody::Order(_) | MessageBody::Orders { .. } => Channel::Orders,
        MessageBody::Ticker(_) => Channel::Ticker,
        MessageBody::Bar(_) => Channel::Bars,
        MessageBody::Status(_) => Channel::Status,
        MessageBody::Unknown(_) => return None,
    })
}
