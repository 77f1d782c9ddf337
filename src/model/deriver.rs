//! Turns what a source says into what everybody hears: the records of every channel, each with its sequence.
//!
//! There is one deriver between a source and the bus, and it is deterministic: the same primaries give the same
//! records. So whoever mirrors an instrument, on whatever thread or machine, says the same of it.

mod market;
mod pending;
mod snapshot;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::market::Market;
use self::pending::Pending;
use super::{
    ABSENT_TIME, Bar, Body, Catalog, Channel, ChannelSet, Event, L2Book, OrderAction, OrderBook, Period,
    Primary, PrimaryKind, Quote, ResetReason, Status, Ticker, event_flags, primary_flags,
};

/// Why a primary could not be taken. Nothing was changed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeriveError {
    /// A number that is not in the catalog.
    #[error("instrument {instrument} does not exist; the catalog has {instruments}, numbered from 0")]
    Instrument {
        /// What the primary says.
        instrument: u32,
        /// How many there are.
        instruments: usize,
    },
    /// A kind that this version does not know: the source is newer.
    #[error("kind {0} of a primary record is not known; allowed: 1 to 11")]
    Kind(u8),
}

/// Primaries in, sequenced records out.
///
/// **Events.** What the primaries of one exchange event do is collected and comes out at its end: the statuses, the
/// trades, each change of an order, one record for each level that ended otherwise than it began, the quote if the best
/// price or quantity of a side changed, the ticker if bid, ask, last price or volume did, the steps of the bars. Only
/// channels that the instrument has are derived. An exchange event belongs to one instrument: those of different
/// instruments may interleave and are kept apart. The last record of each stream carries
/// [`event_flags::LAST_OF_STREAM`], the last of all [`event_flags::LAST`]; an event that changes nothing gives nothing.
///
/// **Orders.** Each primary that changes an order gives one record, whatever becomes of the order within the event. A
/// modify to nothing is told as a cancel, one of an unknown order as an add, a clear only where orders rested.
///
/// **Bars.** Each trade gives one step, by its own time. Running bars end when the time passes their end: before a
/// primary is applied, each instrument (in the order of their numbers) whose running bars end at its event time or
/// before gives one [`super::BarStep::End`] for all of them, at that time: an event of its own, or, where the
/// instrument's open event has trades, after those within that event. The primaries of every instrument move the time;
/// those of a snapshot, and those that do not say when they happened, do not. At the end of a source the running bars
/// stay open.
///
/// **Cuts.** An event that would give more than [`crate::limits::EVENT_RECORDS_MAX`] records comes out in pieces, each
/// as soon as it is full. The last record of a piece carries [`event_flags::CUT`]; `LAST_OF_STREAM`, `LAST`, quote and
/// ticker come only with the true end, since a half-built book has no best price worth telling. Streams whose records
/// all left with earlier pieces therefore show no end of this event, and if nothing is left to say at the true end,
/// `CUT` is the last that is heard of it: a batch may end at either flag.
///
/// **Times.** A trade and its step of the bars carry the trade's own time (where the source does not say it, the step
/// carries the last time before it), every other record that of the last primary before it came out.
///
/// **Snapshots.** Orders, levels and statuses of a snapshot are told as any others. A trade of a snapshot stands for all
/// that were before: its price is that of the last, its quantity that of all. The ticker takes both; channel `trades`
/// and the bars do not hear of it.
///
/// **Inconsistent sources.** Recordings begin in the middle of a session and lose packets, so what cannot be (a cancel
/// of an unknown order, an order added twice, a price or quantity that is none) is counted, see
/// [`Deriver::inconsistencies`], and passed over. A cancel or execution of more than rests takes what rests.
#[derive(Debug)]
pub struct Deriver {
    /// One entry an instrument, by its number.
    markets: Vec<Market>,
    /// Buffers for the next event to begin; `None` while an event holds them (a further one gets its own).
    spare: Option<Box<Pending>>,
    /// The last event time, nanoseconds since the Unix epoch; 0 before the first.
    now_ns: u64,
    /// The earliest end of each instrument's running bars, by its number; the largest u64 where none runs. They stand
    /// beside the markets so that looking through all of them is fast.
    bar_ends_ns: Vec<u64>,
    /// No running bar ends before this.
    next_bar_end_ns: u64,
    /// Primaries that could not be what the source says.
    inconsistencies: u64,
}

impl Deriver {
    /// A deriver for these instruments: books empty, every sequence at 0, everything trading.
    pub fn new(catalog: Arc<Catalog>) -> Deriver {
        Deriver::of(catalog.iter().map(|(id, instrument)| Market::new(id, instrument.channels)).collect())
    }

    /// One that keeps books, quotes, tickers, statuses and nothing else: it gives no records, and so has no sequences and
    /// no bars. For who wants the state and tells nobody.
    pub fn of_books(catalog: &Catalog) -> Deriver {
        Deriver::of(catalog.iter().map(|(id, _)| Market::new(id, ChannelSet::default())).collect())
    }

    fn of(markets: Vec<Market>) -> Deriver {
        let bar_ends_ns = vec![u64::MAX; markets.len()];
        Deriver {
            markets,
            spare: None,
            now_ns: 0,
            bar_ends_ns,
            next_bar_end_ns: u64::MAX,
            inconsistencies: 0,
        }
    }

    /// Takes one primary; when it ends its exchange event (or fills a piece of one, see [`Deriver`]) appends the
    /// records to `out`: at most [`crate::limits::EVENT_RECORDS_MAX`] a piece, and several pieces only where one
    /// primary removes more levels than that.
    #[inline]
    pub fn apply(&mut self, primary: &Primary, out: &mut Vec<Event>) -> Result<(), DeriveError> {
        let kind = primary.kind().ok_or(DeriveError::Kind(primary.kind))?;
        let (number, instruments) = (primary.instrument as usize, self.markets.len());
        if number >= instruments {
            return Err(DeriveError::Instrument { instrument: primary.instrument, instruments });
        }
        if primary.ts_event_ns != ABSENT_TIME && primary.flags & primary_flags::SNAPSHOT == 0 {
            self.now_ns = primary.ts_event_ns;
            if self.now_ns >= self.next_bar_end_ns {
                self.end_bars(out);
            }
        }
        let market = &mut self.markets[number];
        let mut pending = market.open.take().or_else(|| self.spare.take()).unwrap_or_default();
        pending.ts_ns = primary.ts_event_ns;
        let consistent = match kind {
            PrimaryKind::Add => market.add(primary, &mut pending, out),
            PrimaryKind::Cancel => market.reduce(OrderAction::Cancel, primary, &mut pending, out),
            PrimaryKind::Execute => market.reduce(OrderAction::Execute, primary, &mut pending, out),
            PrimaryKind::Modify => market.modify(primary, &mut pending, out),
            PrimaryKind::Trade => market.trade(primary, self.now_ns, &mut pending, out),
            PrimaryKind::Clear => market.clear(&mut pending, out),
            PrimaryKind::Level => market.level(primary, &mut pending, out),
            PrimaryKind::Top => pending.restate(primary),
            PrimaryKind::Status => market.status(primary, &mut pending, out),
            PrimaryKind::Fill | PrimaryKind::Note => true,
        };
        self.inconsistencies += u64::from(!consistent);
        if primary.is_last() {
            market.end(&mut pending, out);
            self.spare = Some(pending);
        } else {
            market.open = Some(pending);
        }
        let bar_end_ns = self.markets[number].bars.next_end_ns();
        if self.bar_ends_ns[number] != bar_end_ns {
            self.bar_ends_ns[number] = bar_end_ns;
            self.next_bar_end_ns = self.next_bar_end_ns.min(bar_end_ns);
        }
        Ok(())
    }

    /// Ends the running bars that are over by now.
    #[cold]
    fn end_bars(&mut self, out: &mut Vec<Event>) {
        for (market, end_ns) in self.markets.iter_mut().zip(&mut self.bar_ends_ns) {
            if *end_ns <= self.now_ns {
                market.end_bars(self.now_ns, out);
                *end_ns = market.bars.next_end_ns();
            }
        }
        self.next_bar_end_ns = self.bar_ends_ns.iter().copied().min().unwrap_or(u64::MAX);
    }

    /// Ends every exchange event that is still open, in the order of the instruments' numbers: a source has ended in
    /// the middle of one.
    pub fn finish(&mut self, out: &mut Vec<Event>) {
        for market in &mut self.markets {
            if let Some(mut pending) = market.open.take() {
                market.end(&mut pending, out);
            }
        }
    }

    /// Begins a new epoch: one [`Body::Reset`] an instrument, each a batch of its own; books empty, quotes, tickers
    /// and statuses as at the start, no bar running, every sequence back to 0. What was open of an exchange event is
    /// forgotten, and the time with it.
    pub fn reset(&mut self, epoch: u64, reason: ResetReason, ts_ns: u64, out: &mut Vec<Event>) {
        self.now_ns = 0;
        self.bar_ends_ns.fill(u64::MAX);
        self.next_bar_end_ns = u64::MAX;
        for market in &mut self.markets {
            market.reset();
            let mut event = Event::new(market.instrument, 0, ts_ns, Body::Reset { epoch, reason });
            event.flags = event_flags::LAST;
            out.push(event);
        }
    }

    /// Appends what is known of an instrument as primaries of that event time, without a receive time and flagged
    /// [`primary_flags::SNAPSHOT`]: its status, a trade that stands for all before, a clear, each order in price-time
    /// priority, each level that its orders do not make. The last is flagged [`primary_flags::LAST`]. Any deriver that
    /// takes them holds the same books, quote, ticker and status; running bars are not told.
    ///
    /// Within an event: books and status as the last primary left them, the quote that follows from them, and after the
    /// last the restated levels of the event, which is open then.
    pub fn snapshot(&self, instrument: u32, ts_event_ns: u64, out: &mut Vec<Primary>) {
        self.market(instrument).snapshot(ts_event_ns, out);
    }

    /// Whether no instrument is within an exchange event.
    pub fn is_between_events(&self) -> bool {
        self.markets.iter().all(|market| market.open.is_none())
    }

    /// The orders of an instrument; empty where the source tells of none. Within an event: as the last primary left
    /// it.
    ///
    /// # Panics
    ///
    /// Where the catalog has no such instrument, as every method that takes one.
    pub fn orders(&self, instrument: u32) -> &OrderBook {
        &self.market(instrument).orders
    }

    /// The levels of an instrument. Within an event: as the last primary left it.
    pub fn book(&self, instrument: u32) -> &L2Book {
        &self.market(instrument).book
    }

    /// The best bid and ask at the end of the instrument's last event.
    pub fn quote(&self, instrument: u32) -> Quote {
        self.market(instrument).quote
    }

    /// The ticker at the end of the instrument's last event. The volume stops at the largest i64.
    pub fn ticker(&self, instrument: u32) -> Ticker {
        self.market(instrument).ticker
    }

    /// The running bar of a period. Within an event: as the last primary left it.
    pub fn bar(&self, instrument: u32, period: Period) -> Option<Bar> {
        self.market(instrument).bars.running(period)
    }

    /// Whether the instrument trades.
    pub fn status(&self, instrument: u32) -> Status {
        self.market(instrument).status
    }

    /// The sequence of the last record of a stream in this epoch; 0: there was none.
    pub fn sequence(&self, instrument: u32, channel: Channel) -> u64 {
        self.market(instrument).sequences[channel.index()]
    }

    /// Numbers the next record of a stream as if that had been the last sequence: for who took the state of a run from a
    /// [`Deriver::snapshot`] and goes on with the run.
    pub fn set_sequence(&mut self, instrument: u32, channel: Channel, sequence: u64) {
        self.markets[instrument as usize].sequences[channel.index()] = sequence;
    }

    /// How many primaries could not be what the source says, since the start and through every epoch.
    pub fn inconsistencies(&self) -> u64 {
        self.inconsistencies
    }

    fn market(&self, instrument: u32) -> &Market {
        &self.markets[instrument as usize]
    }
}
