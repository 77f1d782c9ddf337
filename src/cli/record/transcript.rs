//! What a client hears, written down as what a source would have said.

use rustc_hash::FxHashMap;

use crate::client::{Listing, Update};
use crate::feed::{FeedError, Loss, Sink, Writer, loss_reason};
use crate::model::{
    ABSENT, Channel, Instrument, Level, Order, OrderAction, OrderBook, OrderChange, Primary, PrimaryKind,
    Quote, Side, primary_flags,
};
use crate::wire::message::Meta;

/// A feed file made of updates.
pub(super) struct Transcript<S: Sink> {
    writer: Writer<S>,
    instruments: Vec<Instrument>,
    by_symbol: FxHashMap<String, u32>,
    /// By the instrument's number.
    heard: Vec<Heard>,
    /// When the last record was received, nanoseconds since the Unix epoch.
    last_ns: Option<u64>,
    /// Records that the file declares as lost, and losses of which nobody knows how many they were.
    pub lost: u64,
    pub lost_unknown: u64,
}

/// What was heard of one instrument.
#[derive(Default)]
struct Heard {
    /// The resting orders: what leaves one is known by what rested.
    orders: OrderBook,
    /// The last sequence of each stream, by [`Channel::index`]; `None`: there was none in this epoch.
    at: [Option<u64>; Channel::ALL.len()],
}

/// Why a transcript cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum TranscriptError {
    /// The file cannot be written.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// An instrument is another than it was when the file was begun.
    #[error(
        "{symbol} now has prices in 10^{price} and quantities in 10^{quantity}; the file was begun with others: record into another file"
    )]
    Redefined {
        /// Its symbol.
        symbol: String,
        /// Its exponent of prices now.
        price: i8,
        /// Its exponent of quantities now.
        quantity: i8,
    },
}

impl<S: Sink> Transcript<S> {
    /// A transcript of these instruments, which are those of the writer's description.
    pub fn new(writer: Writer<S>, instruments: Vec<Instrument>) -> Transcript<S> {
        let by_symbol = (0..).zip(&instruments).map(|(number, it)| (it.symbol.clone(), number)).collect();
        let heard = instruments.iter().map(|_| Heard::default()).collect();
        Transcript { writer, instruments, by_symbol, heard, last_ns: None, lost: 0, lost_unknown: 0 }
    }

    /// The file holds an earlier recording: says that what came between is not in it. Each instrument begins anew, with
    /// a snapshot.
    pub fn go_on(&mut self, now_ns: u64) -> Result<(), TranscriptError> {
        self.lost_unknown += 1;
        let from_ns = self.writer.last_time_ns();
        Ok(self.writer.declare_loss(Loss::new(Loss::UNKNOWN, loss_reason::MISSED), from_ns, Some(now_ns))?)
    }

    /// The file.
    pub fn writer(&mut self) -> &mut Writer<S> {
        &mut self.writer
    }

    /// Takes an update that was received at `now_ns`, nanoseconds since the Unix epoch.
    pub fn take(&mut self, update: &Update, now_ns: u64) -> Result<(), TranscriptError> {
        match update {
            Update::Granted { listing, .. } => self.same_definition(listing),
            Update::Order { listing, meta, change } => {
                self.with(listing, now_ns, |it| it.order(meta, change))
            }
            Update::Orders { listing, meta, orders } => {
                self.with(listing, now_ns, |it| it.orders(meta, orders))
            }
            Update::Book { listing, meta, bids, asks } => {
                self.with(listing, now_ns, |it| it.book(meta, [bids, asks]))
            }
            Update::Quote { listing, meta, quote } => self.with(listing, now_ns, |it| it.quote(meta, quote)),
            Update::Trade { listing, meta, trade } => self.with(listing, now_ns, |it| {
                let primary = Primary {
                    order_id: trade.trade_id,
                    price: trade.price,
                    quantity: trade.quantity,
                    side: trade.aggressor as u8,
                    flags: last(meta.last),
                    ..it.primary(PrimaryKind::Trade, meta)
                };
                it.say(Channel::Trades, meta, &[primary])
            }),
            Update::Status { listing, meta, status } => self.with(listing, now_ns, |it| {
                let flags = last(true) | if meta.snapshot { primary_flags::SNAPSHOT } else { 0 };
                let status = Primary { level: *status as u8, flags, ..it.primary(PrimaryKind::Status, meta) };
                it.say(Channel::Status, meta, &[status])
            }),
            Update::Gap { listing, channel, from, to, declared, .. } => self.with(listing, now_ns, |it| {
                let reason = if *declared { loss_reason::DECLARED } else { loss_reason::MISSED };
                it.heard().at[channel.index()] = Some(*to);
                it.lose(to.saturating_sub(*from).saturating_add(1), reason)
            }),
            Update::Mismatch { listing, .. } | Update::OrderMismatch { listing, .. } => {
                self.with(listing, now_ns, |it| it.lose(Loss::UNKNOWN, loss_reason::MISSED))
            }
            Update::Reset { listing, .. } => self.with(listing, now_ns, |it| {
                it.forget();
                it.reset()
            }),
            Update::Connected { .. }
            | Update::Disconnected { .. }
            | Update::Refused { .. }
            | Update::Bar { .. }
            | Update::Ticker { .. }
            | Update::Stale { .. }
            | Update::Live
            | Update::Notice { .. } => Ok(()),
        }
    }

    fn same_definition(&self, listing: &Listing) -> Result<(), TranscriptError> {
        let known = self.by_symbol.get(&listing.symbol).map(|number| &self.instruments[*number as usize]);
        let exponents = (listing.price_exponent, listing.quantity_exponent);
        if known.is_none_or(|known| (known.price_exponent, known.quantity_exponent) == exponents) {
            return Ok(());
        }
        let (price, quantity) = exponents;
        Err(TranscriptError::Redefined { symbol: listing.symbol.clone(), price, quantity })
    }

    /// Writes of an instrument, where the file has it.
    fn with(
        &mut self,
        listing: &Listing,
        now_ns: u64,
        write: impl FnOnce(&mut Entry<'_, S>) -> Result<(), FeedError>,
    ) -> Result<(), TranscriptError> {
        let Some(instrument) = self.by_symbol.get(&listing.symbol).copied() else { return Ok(()) };
        write(&mut Entry { transcript: self, instrument, now_ns })?;
        Ok(())
    }
}

/// What is written of one instrument at one time.
struct Entry<'a, S: Sink> {
    transcript: &'a mut Transcript<S>,
    instrument: u32,
    now_ns: u64,
}

impl<S: Sink> Entry<'_, S> {
    fn heard(&mut self) -> &mut Heard {
        &mut self.transcript.heard[self.instrument as usize]
    }

    fn primary(&self, kind: PrimaryKind, meta: &Meta) -> Primary {
        // What stood before anything happened has no time: it is so now.
        let ts_event_ns = if meta.ts_ns == 0 { self.now_ns } else { meta.ts_ns };
        Primary { ts_recv_ns: self.now_ns, ..Primary::new(kind, self.instrument, ts_event_ns) }
    }

    /// Writes what a message said, and moves its stream on.
    fn say(&mut self, channel: Channel, meta: &Meta, primaries: &[Primary]) -> Result<(), FeedError> {
        let at = self.heard().at[channel.index()].replace(meta.last_seq);
        // A snapshot that stands in for messages that did not come.
        let missing = at.filter(|_| meta.snapshot).map_or(0, |at| meta.last_seq.saturating_sub(at));
        if missing > 0 {
            self.lose(missing, loss_reason::MISSED)?;
        }
        self.transcript.last_ns = Some(self.now_ns);
        primaries.iter().try_for_each(|primary| self.transcript.writer.push(primary))
    }

    fn order(&mut self, meta: &Meta, change: &OrderChange) -> Result<(), FeedError> {
        let OrderChange { action, order_id, side, price, quantity, .. } = *change;
        let orders = &mut self.heard().orders;
        let rested = orders.get(order_id).map_or(0, |order| order.quantity);
        if orders.follow(change).is_err() {
            // The client found it too, and has said so.
            return Ok(());
        }
        let (kind, quantity) = match action {
            OrderAction::Add => (PrimaryKind::Add, quantity),
            OrderAction::Modify => (PrimaryKind::Modify, quantity),
            OrderAction::Cancel => (PrimaryKind::Cancel, rested - quantity),
            OrderAction::Execute => (PrimaryKind::Execute, rested - quantity),
            OrderAction::Clear => (PrimaryKind::Clear, 0),
        };
        let side = side.map_or(0, |side| side as u8);
        let flags = last(meta.last);
        let primary = Primary { order_id, price, quantity, side, flags, ..self.primary(kind, meta) };
        self.say(Channel::Orders, meta, &[primary])
    }

    fn orders(&mut self, meta: &Meta, orders: &[Order]) -> Result<(), FeedError> {
        let mut resting = OrderBook::new();
        for order in orders {
            // The client has taken them all.
            let _ = resting.add(*order);
        }
        self.heard().orders = resting;
        let add = |order: &Order| Primary {
            order_id: order.order_id,
            side: order.side as u8,
            price: order.price,
            quantity: order.quantity,
            ..self.primary(PrimaryKind::Add, meta)
        };
        let snapshot = self.snapshot(meta, orders.iter().map(add));
        self.say(Channel::Orders, meta, &snapshot)
    }

    fn book(&mut self, meta: &Meta, sides: [&[Level]; 2]) -> Result<(), FeedError> {
        let levels = [Side::Bid, Side::Ask].into_iter().zip(sides).flat_map(|(side, levels)| {
            let level = move |level: &Level| (side, *level);
            levels.iter().map(level)
        });
        let level = |(side, Level { price, quantity }): (Side, Level)| Primary {
            side: side as u8,
            price,
            quantity,
            ..self.primary(PrimaryKind::Level, meta)
        };
        let mut primaries: Vec<Primary> = levels.map(level).collect();
        if meta.snapshot {
            primaries = self.snapshot(meta, primaries.into_iter());
        } else if let Some(primary) = primaries.last_mut() {
            primary.flags |= last(meta.last);
        }
        self.say(Channel::Book, meta, &primaries)
    }

    /// A clear and what stands now, flagged as a snapshot.
    fn snapshot(&self, meta: &Meta, primaries: impl Iterator<Item = Primary>) -> Vec<Primary> {
        let clear = Primary { price: ABSENT, ..self.primary(PrimaryKind::Clear, meta) };
        let mut all: Vec<Primary> = std::iter::once(clear).chain(primaries).collect();
        all.iter_mut().for_each(|primary| primary.flags |= primary_flags::SNAPSHOT);
        if let Some(primary) = all.last_mut() {
            primary.flags |= primary_flags::LAST;
        }
        all
    }

    fn quote(&mut self, meta: &Meta, quote: &Quote) -> Result<(), FeedError> {
        let top = |side: Side, price: i64, quantity: i64| Primary {
            side: side as u8,
            price,
            quantity: if quantity == ABSENT { 0 } else { quantity },
            ..self.primary(PrimaryKind::Top, meta)
        };
        let bid = top(Side::Bid, quote.bid, quote.bid_quantity);
        let mut ask = top(Side::Ask, quote.ask, quote.ask_quantity);
        ask.flags = last(true);
        self.say(Channel::Quotes, meta, &[bid, ask])
    }

    /// Nothing is known any more.
    fn forget(&mut self) {
        *self.heard() = Heard::default();
    }

    /// History ended: what follows begins with snapshots.
    fn reset(&mut self) -> Result<(), FeedError> {
        self.lose(Loss::UNKNOWN, loss_reason::RESET)?;
        let clear = Primary {
            ts_recv_ns: self.now_ns,
            price: ABSENT,
            flags: last(true) | primary_flags::SNAPSHOT,
            ..Primary::new(PrimaryKind::Clear, self.instrument, self.now_ns)
        };
        self.transcript.writer.push(&clear)
    }

    fn lose(&mut self, records: u64, reason: u8) -> Result<(), FeedError> {
        let transcript = &mut *self.transcript;
        match records {
            Loss::UNKNOWN => transcript.lost_unknown += 1,
            records => transcript.lost = transcript.lost.saturating_add(records),
        }
        let loss = Loss { instrument: self.instrument, ..Loss::new(records, reason) };
        transcript.writer.declare_loss(loss, transcript.last_ns, Some(self.now_ns))
    }
}

fn last(is_last: bool) -> u8 {
    if is_last { primary_flags::LAST } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::sync::Arc;

    use super::*;
    use crate::feed::{Description, Reader};
    use crate::model::{Aggressor, ChannelSet, ResetReason, Trade};

    fn instrument(symbol: &str) -> Instrument {
        Instrument {
            symbol: symbol.into(),
            price_exponent: -2,
            quantity_exponent: 0,
            tick_size: 1,
            lot_size: 1,
            channels: ChannelSet::of(&[Channel::Orders, Channel::Trades]),
            book_depth: 0,
            source_id: 0,
        }
    }

    fn listing(symbol: &str, price_exponent: i8) -> Arc<Listing> {
        Arc::new(Listing { symbol: symbol.into(), number: 9, price_exponent, quantity_exponent: 0 })
    }

    fn meta(seq: u64, snapshot: bool) -> Meta {
        Meta { first_seq: seq, last_seq: seq, ts_ns: 100 + seq, sent_ns: 0, snapshot, last: true }
    }

    fn order(seq: u64, action: OrderAction, order_id: u64, quantity: i64) -> Update {
        let side = Some(Side::Ask);
        let change = OrderChange { action, order_id, side, price: 500, quantity, executed: 0 };
        Update::Order { listing: listing("B", -2), meta: meta(seq, false), change }
    }

    fn orders(seq: u64, resting: &[(u64, i64)]) -> Update {
        let order = |&(order_id, quantity)| Order { order_id, side: Side::Ask, price: 500, quantity };
        let orders = resting.iter().map(order).collect();
        Update::Orders { listing: listing("B", -2), meta: meta(seq, true), orders }
    }

    /// Kind, order, quantity and flags of each record, and the losses before records: number, count, reason.
    type Told = (Vec<(PrimaryKind, u64, i64, u8)>, Vec<(u64, u64, u8)>);

    fn told(updates: &[Update]) -> Told {
        let description = Description::new("a test", vec![instrument("A"), instrument("B")]);
        let writer = Writer::new(Vec::new(), "memory", &description).unwrap();
        let mut transcript = Transcript::new(writer, description.instruments);
        updates.iter().for_each(|update| transcript.take(update, 7_000).unwrap());
        let bytes = transcript.writer.finish_into().unwrap().1;
        let mut reader = Reader::new(Cursor::new(bytes), "memory").unwrap();
        let losses = reader.losses().iter().map(|at| (at.record, at.loss.records, at.loss.reason)).collect();
        let mut records = Vec::new();
        while let Some(block) = reader.next_block().unwrap() {
            for primary in block {
                assert_eq!((primary.instrument, primary.ts_recv_ns), (1, 7_000));
                records.push((primary.kind().unwrap(), primary.order_id, primary.quantity, primary.flags));
            }
        }
        (records, losses)
    }

    const LAST: u8 = primary_flags::LAST;
    const SNAPSHOT: u8 = primary_flags::SNAPSHOT;

    #[test]
    fn what_leaves_an_order_is_what_rested_less_what_rests() {
        let (records, losses) = told(&[
            orders(4, &[(1, 10), (2, 20)]),
            order(5, OrderAction::Cancel, 1, 7),
            order(6, OrderAction::Execute, 2, 0),
            order(7, OrderAction::Modify, 1, 9),
            order(8, OrderAction::Add, 3, 5),
        ]);
        let expected = [
            (PrimaryKind::Clear, 0, 0, SNAPSHOT),
            (PrimaryKind::Add, 1, 10, SNAPSHOT),
            (PrimaryKind::Add, 2, 20, SNAPSHOT | LAST),
            (PrimaryKind::Cancel, 1, 3, LAST),
            (PrimaryKind::Execute, 2, 20, LAST),
            (PrimaryKind::Modify, 1, 9, LAST),
            (PrimaryKind::Add, 3, 5, LAST),
        ];
        assert_eq!((records.as_slice(), losses.as_slice()), (&expected[..], &[][..]));
    }

    #[test]
    fn what_is_missing_is_declared_once_with_its_count() {
        let gap = |declared| Update::Gap {
            listing: listing("B", -2),
            channel: Channel::Orders,
            epoch: 1,
            from: 6,
            to: 9,
            declared,
            resync: false,
        };
        let reset = Update::Reset { listing: listing("B", -2), epoch: 2, reason: ResetReason::Restart };
        let trade = Trade { price: 1, quantity: 1, trade_id: 0, aggressor: Aggressor::Buy };
        let elsewhere = Update::Trade { listing: listing("ELSE", -2), meta: meta(1, false), trade };
        let (records, losses) = told(&[
            orders(5, &[(1, 10)]),
            gap(true),
            // Behind the gap, and behind two more that nobody spoke of.
            orders(11, &[(1, 8)]),
            gap(false),
            elsewhere,
            reset,
            orders(1, &[]),
        ]);
        assert_eq!(
            losses,
            [
                (2, 4, loss_reason::DECLARED),
                (2, 2, loss_reason::MISSED),
                (4, 4, loss_reason::MISSED),
                (4, Loss::UNKNOWN, loss_reason::RESET)
            ]
        );
        assert_eq!(records.len(), 2 + 2 + 1 + 1, "the snapshots, and the end of history");
    }

    #[test]
    fn a_file_that_is_gone_on_with_says_what_is_missing_between() {
        let description = Description::new("a test", vec![instrument("B")]);
        let writer = Writer::new(Vec::new(), "memory", &description).unwrap();
        let mut transcript = Transcript::new(writer, description.instruments);
        transcript.take(&orders(4, &[(1, 10)]), 7_000).unwrap();
        transcript.writer.flush().unwrap();
        transcript.go_on(9_000).unwrap();
        assert_eq!((transcript.lost, transcript.lost_unknown), (0, 1));
        let bytes = transcript.writer.finish_into().unwrap().1;
        let reader = Reader::new(Cursor::new(bytes), "memory").unwrap();
        let [at] = reader.losses() else { panic!("{:?}", reader.losses()) };
        assert_eq!(at.loss, Loss::new(Loss::UNKNOWN, loss_reason::MISSED));
        assert_eq!((at.record, at.from_ns, at.to_ns), (2, Some(7_000), Some(9_000)));
    }

    #[test]
    fn an_instrument_in_other_units_is_refused_by_name() {
        let description = Description::new("a test", vec![instrument("B")]);
        let writer = Writer::new(Vec::new(), "memory", &description).unwrap();
        let mut transcript = Transcript::new(writer, description.instruments);
        let granted = |exponent| Update::Granted {
            listing: listing("B", exponent),
            channel: Channel::Orders,
            depth: None,
            interval_ms: 0,
            period: None,
            epoch: 1,
            seq: 0,
        };
        transcript.take(&granted(-2), 1).unwrap();
        let error = transcript.take(&granted(-3), 1).unwrap_err().to_string();
        assert!(error.contains("B now has prices in 10^-3") && error.contains("another file"), "{error}");
    }
}
