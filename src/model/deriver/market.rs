//! What is known of one instrument, and what each kind of primary does to it.

use super::pending::{LevelChange, Pending};
use crate::limits;
use crate::model::{
    ABSENT, ABSENT_TIME, Aggressor, BarStep, Bars, Body, Channel, ChannelSet, Event, L2Book, Order,
    OrderAction, OrderBook, OrderChange, OrderError, Primary, Quote, Side, Status, Ticker, Trade,
    event_flags, primary_flags,
};

/// Statuses, trades, orders, levels and steps of bars that one piece of an event may hold: two records are kept for
/// quote and ticker.
const PIECE_RECORDS_MAX: usize = limits::EVENT_RECORDS_MAX - 2;

/// One instrument. The methods named after a kind of primary take one and say whether it was consistent with what is
/// known; where they need room in a full `pending`, a piece of the event goes to `out`.
#[derive(Debug)]
pub struct Market {
    /// Its number in the catalog.
    pub instrument: u32,
    /// The channels to derive.
    channels: ChannelSet,
    /// Every order, where the source tells of orders.
    pub orders: OrderBook,
    /// Every level.
    pub book: L2Book,
    /// Best bid and ask when the last event ended.
    pub quote: Quote,
    /// As it was when the last event ended.
    pub ticker: Ticker,
    /// Price of the last trade, also within an event.
    pub last: i64,
    /// Quantity traded in this epoch and, where a snapshot told it, before; also within an event; stops at the largest i64.
    pub volume: i64,
    /// The running bars.
    pub bars: Bars,
    /// Whether it trades.
    pub status: Status,
    /// Last sequence given in each channel, by [`Channel::index`].
    pub sequences: [u64; Channel::ALL.len()],
    /// The exchange event that has begun and not ended.
    pub open: Option<Box<Pending>>,
}

impl Market {
    /// An instrument before its first event.
    pub fn new(instrument: u32, channels: ChannelSet) -> Market {
        Market {
            instrument,
            channels,
            orders: OrderBook::new(),
            book: L2Book::new(),
            quote: Quote::EMPTY,
            ticker: Ticker::EMPTY,
            last: Ticker::EMPTY.last,
            volume: Ticker::EMPTY.volume,
            bars: Bars::new(),
            status: Status::default(),
            sequences: [0; Channel::ALL.len()],
            open: None,
        }
    }

    /// As before the first event; the books keep their memory for the next epoch.
    pub fn reset(&mut self) {
        let (mut orders, mut book) = (std::mem::take(&mut self.orders), std::mem::take(&mut self.book));
        orders.clear();
        book.clear();
        *self = Market { orders, book, ..Market::new(self.instrument, self.channels) };
    }

    /// An order joins the end of the queue at its price.
    #[inline]
    pub fn add(&mut self, primary: &Primary, pending: &mut Pending, out: &mut Vec<Event>) -> bool {
        let Some(side) = primary.side() else { return false };
        let Primary { order_id, price, quantity, .. } = *primary;
        let order = Order { order_id, side, price, quantity };
        let added = self.orders.add(order);
        if let Ok(at_price) = added {
            self.tell(change(OrderAction::Add, &order, 0), pending, out);
            self.set_level(side, price, at_price, pending, out);
        }
        added.is_ok()
    }

    /// Part or all of an order leaves; of more than rests, what rests.
    #[inline]
    pub fn reduce(
        &mut self,
        action: OrderAction,
        primary: &Primary,
        pending: &mut Pending,
        out: &mut Vec<Event>,
    ) -> bool {
        let order_id = primary.order_id;
        let mut leaves = primary.quantity;
        let mut reduced = self.orders.reduce(order_id, leaves);
        let consistent = reduced.is_ok();
        if let Err(OrderError::TooMuch { resting, .. }) = reduced {
            leaves = resting;
            reduced = self.orders.reduce(order_id, leaves);
        }
        if let Ok((order, at_price)) = reduced {
            let executed = if action == OrderAction::Execute { leaves } else { 0 };
            self.tell(change(action, &order, executed), pending, out);
            self.set_level(order.side, order.price, at_price, pending, out);
        }
        consistent
    }

    /// An order's price and quantity are now these, and it is gone where the quantity is 0. It keeps its side. An
    /// unknown order is added.
    pub fn modify(&mut self, primary: &Primary, pending: &mut Pending, out: &mut Vec<Event>) -> bool {
        let Primary { order_id, price, quantity, .. } = *primary;
        let Some(resting) = self.orders.get(order_id) else {
            return self.add(primary, pending, out);
        };
        let (action, changed) = match quantity {
            0 => (OrderAction::Cancel, self.orders.reduce(order_id, resting.quantity).map(drop)),
            _ => (OrderAction::Modify, self.orders.modify(order_id, price, quantity).map(drop)),
        };
        if changed.is_ok() {
            let price = if quantity == 0 { resting.price } else { price };
            self.tell(change(action, &Order { price, quantity, ..resting }, 0), pending, out);
            self.follow_orders(resting.side, resting.price, pending, out);
            if price != resting.price {
                self.follow_orders(resting.side, price, pending, out);
            }
        }
        changed.is_ok()
    }

    /// A trade. It changes no book. Where it does not say when it was, the bars take it to be now. One of a snapshot
    /// stands for all that were before, and only the ticker takes it.
    pub fn trade(
        &mut self,
        primary: &Primary,
        now_ns: u64,
        pending: &mut Pending,
        out: &mut Vec<Event>,
    ) -> bool {
        let Primary { price, quantity, .. } = *primary;
        if price == ABSENT || quantity < 0 {
            return false;
        }
        self.last = price;
        if primary.flags & primary_flags::SNAPSHOT != 0 {
            self.volume = quantity;
            return true;
        }
        self.volume = self.volume.saturating_add(quantity);
        let (has_trades, has_bars) =
            (self.channels.contains(Channel::Trades), self.channels.contains(Channel::Bars));
        self.make_room(usize::from(has_trades) + usize::from(has_bars), pending, out);
        if has_bars {
            let ts_ns = if primary.ts_event_ns == ABSENT_TIME { now_ns } else { primary.ts_event_ns };
            self.bars.trade(ts_ns, price, quantity);
            pending.bars.push((ts_ns, BarStep::Trade { price, quantity }));
        }
        if has_trades {
            let aggressor = Aggressor::from_number(primary.side);
            let is_an_orders = primary.flags & primary_flags::ORDER_OF_TRADE != 0;
            let trade_id = if is_an_orders { 0 } else { primary.order_id };
            pending.trades.push((primary.ts_event_ns, Trade { price, quantity, trade_id, aggressor }));
        }
        true
    }

    /// Every order and level is gone, best first.
    pub fn clear(&mut self, pending: &mut Pending, out: &mut Vec<Event>) -> bool {
        if !self.orders.is_empty() {
            self.orders.clear();
            self.tell(OrderChange::CLEAR, pending, out);
        }
        pending.tops.iter_mut().for_each(Vec::clear);
        for side in [Side::Bid, Side::Ask] {
            while let Some(best) = self.book.best(side) {
                self.set_level(side, best.price, 0, pending, out);
            }
        }
        true
    }

    /// This quantity now stands at this price.
    #[inline]
    pub fn level(&mut self, primary: &Primary, pending: &mut Pending, out: &mut Vec<Event>) -> bool {
        let Some(side) = primary.side() else { return false };
        let Primary { price, quantity, .. } = *primary;
        let full = self.book.depth(side) >= limits::LEVELS_MAX && self.book.quantity(side, price) == 0;
        if price == ABSENT || quantity < 0 || full {
            return false;
        }
        self.set_level(side, price, quantity, pending, out);
        true
    }

    /// Whether it trades from now on. What was so already is no change.
    pub fn status(&mut self, primary: &Primary, pending: &mut Pending, out: &mut Vec<Event>) -> bool {
        let Some(status) = Status::from_number(primary.level) else { return false };
        let changed = std::mem::replace(&mut self.status, status) != status;
        if changed && self.channels.contains(Channel::Status) {
            self.make_room(1, pending, out);
            pending.statuses.push(status);
        }
        true
    }

    /// The exchange event ends here: a side that was restated becomes what was said last, and everything pending
    /// comes out, with quote and ticker before the bars.
    #[inline]
    pub fn end(&mut self, pending: &mut Pending, out: &mut Vec<Event>) {
        for side in [Side::Bid, Side::Ask] {
            if !pending.tops[side.index()].is_empty() {
                self.take_over_top(side, pending, out);
            }
        }
        let first = out.len();
        self.emit_pending(pending, event_flags::LAST_OF_STREAM, out);
        let quote = self.book.quote();
        if quote != self.quote {
            self.quote = quote;
            self.emit_whole(Channel::Quotes, pending.ts_ns, Body::Quote(quote), out);
        }
        let ticker = Ticker { bid: quote.bid, ask: quote.ask, last: self.last, volume: self.volume };
        if ticker != self.ticker {
            self.ticker = ticker;
            self.emit_whole(Channel::Ticker, pending.ts_ns, Body::Ticker(ticker), out);
        }
        self.emit_bars(pending, event_flags::LAST_OF_STREAM, out);
        flag_last(&mut out[first..], event_flags::LAST);
    }

    /// The running bars that are over by now end: an event of its own, or within the open event where that has trades
    /// for the bars, which come first.
    pub fn end_bars(&mut self, now_ns: u64, out: &mut Vec<Event>) {
        let periods = self.bars.due(now_ns);
        self.bars.end(periods, drop);
        let step = BarStep::End { periods };
        match self.open.take() {
            Some(mut pending) if !pending.bars.is_empty() => {
                self.make_room(1, &mut pending, out);
                pending.bars.push((now_ns, step));
                self.open = Some(pending);
            }
            open => {
                self.open = open;
                self.emit(Channel::Bars, now_ns, Body::Bar(step), out);
                flag_last(out, event_flags::LAST_OF_STREAM | event_flags::LAST);
            }
        }
    }

    /// A change of an order, where the instrument has the channel.
    #[inline]
    fn tell(&mut self, change: OrderChange, pending: &mut Pending, out: &mut Vec<Event>) {
        if self.channels.contains(Channel::Orders) {
            self.make_room(1, pending, out);
            pending.orders.push(change);
        }
    }

    /// The level at a price now holds what its orders hold.
    #[inline]
    fn follow_orders(&mut self, side: Side, price: i64, pending: &mut Pending, out: &mut Vec<Event>) {
        let (quantity, _) = self.orders.level(side, price);
        self.set_level(side, price, quantity, pending, out);
    }

    #[inline]
    fn set_level(
        &mut self,
        side: Side,
        price: i64,
        quantity: i64,
        pending: &mut Pending,
        out: &mut Vec<Event>,
    ) {
        let before = self.book.set(side, price, quantity);
        if before == quantity || !self.channels.contains(Channel::Book) {
            return;
        }
        if let Some(change) = pending.touched.find(side, price) {
            change.now = quantity;
        } else {
            self.make_room(1, pending, out);
            pending.touched.push(LevelChange { side, price, before, now: quantity });
        }
    }

    /// The side becomes exactly what was restated.
    fn take_over_top(&mut self, side: Side, pending: &mut Pending, out: &mut Vec<Event>) {
        let top = std::mem::take(&mut pending.tops[side.index()]);
        let stands = |price: i64| top.iter().any(|level| level.quantity > 0 && level.price == price);
        let gone: Vec<i64> =
            self.book.levels(side).map(|level| level.price).filter(|price| !stands(*price)).collect();
        for price in gone {
            self.set_level(side, price, 0, pending, out);
        }
        for level in top.iter().filter(|level| level.quantity > 0) {
            self.set_level(side, level.price, level.quantity, pending, out);
        }
        // The buffer goes back, empty, for the next event.
        pending.tops[side.index()] = top;
        pending.tops[side.index()].clear();
    }

    /// Lets a full piece go, so that so many more records fit.
    #[inline]
    fn make_room(&mut self, records: usize, pending: &mut Pending, out: &mut Vec<Event>) {
        if pending.len() + records > PIECE_RECORDS_MAX {
            let first = out.len();
            self.emit_pending(pending, 0, out);
            self.emit_bars(pending, 0, out);
            flag_last(&mut out[first..], event_flags::CUT);
        }
    }

    /// Everything pending but the bars comes out, and the last record of each stream gets these flags.
    #[inline]
    fn emit_pending(&mut self, pending: &mut Pending, flags: u8, out: &mut Vec<Event>) {
        let first = out.len();
        for status in pending.statuses.drain(..) {
            self.emit(Channel::Status, pending.ts_ns, Body::Status(status), out);
        }
        flag_last(&mut out[first..], flags);
        let first = out.len();
        for (ts_ns, trade) in pending.trades.drain(..) {
            self.emit(Channel::Trades, ts_ns, Body::Trade(trade), out);
        }
        flag_last(&mut out[first..], flags);
        let first = out.len();
        for change in pending.orders.drain(..) {
            self.emit(Channel::Orders, pending.ts_ns, Body::Order(change), out);
        }
        flag_last(&mut out[first..], flags);
        let first = out.len();
        for &LevelChange { side, price, before, now: quantity } in &pending.touched.levels {
            if quantity != before {
                self.emit(Channel::Book, pending.ts_ns, Body::Level { side, price, quantity }, out);
            }
        }
        flag_last(&mut out[first..], flags);
        pending.touched.clear();
    }

    /// Every pending step of the bars comes out, and the last record gets these flags.
    #[inline]
    fn emit_bars(&mut self, pending: &mut Pending, flags: u8, out: &mut Vec<Event>) {
        let first = out.len();
        for (ts_ns, step) in pending.bars.drain(..) {
            self.emit(Channel::Bars, ts_ns, Body::Bar(step), out);
        }
        flag_last(&mut out[first..], flags);
    }

    /// A record that is the only one of its stream in the event, where the instrument has the channel.
    #[inline]
    fn emit_whole(&mut self, channel: Channel, ts_ns: u64, body: Body, out: &mut Vec<Event>) {
        if self.channels.contains(channel) {
            self.emit(channel, ts_ns, body, out);
            flag_last(out, event_flags::LAST_OF_STREAM);
        }
    }

    /// The next record of a stream.
    #[inline]
    fn emit(&mut self, channel: Channel, ts_ns: u64, body: Body, out: &mut Vec<Event>) {
        let sequence = &mut self.sequences[channel.index()];
        *sequence += 1;
        out.push(Event::new(self.instrument, *sequence, ts_ns, body));
    }
}

/// A change after which an order rests so.
#[inline]
fn change(action: OrderAction, order: &Order, executed: i64) -> OrderChange {
    let Order { order_id, side, price, quantity } = *order;
    OrderChange { action, order_id, side: Some(side), price, quantity, executed }
}

/// Sets flags of the last of these records, if there is one.
#[inline]
fn flag_last(records: &mut [Event], flags: u8) {
    if let Some(last) = records.last_mut() {
        last.flags |= flags;
    }
}
