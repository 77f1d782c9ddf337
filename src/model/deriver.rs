//! Turns what a source says into what everybody hears: the records of every channel, each with its sequence.
//!
//! There is one deriver between a source and the bus, and it is deterministic: the same primaries give the same
//! records. So whoever mirrors an instrument, on whatever thread or machine, says the same of it.

mod market;
mod pending;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::market::Market;
use self::pending::Pending;
use super::{
    Body, Catalog, Channel, Event, L2Book, OrderBook, Primary, PrimaryKind, Quote, ResetReason, Status,
    Ticker, event_flags,
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
/// trades, one record for each level that ended otherwise than it began, the quote if the best price or quantity of a
/// side changed, the ticker if bid, ask, last price or volume did. Only channels that the instrument has are derived;
/// `orders` and `bars` are not among them yet. An exchange event belongs to one instrument: those of different
/// instruments may interleave and are kept apart. The last record of each stream carries
/// [`event_flags::LAST_OF_STREAM`], the last of all [`event_flags::LAST`]; an event that changes nothing gives nothing.
///
/// **Cuts.** An event that would give more than [`crate::limits::EVENT_RECORDS_MAX`] records comes out in pieces, each
/// as soon as it is full. The last record of a piece carries [`event_flags::CUT`]; `LAST_OF_STREAM`, `LAST`, quote and
/// ticker come only with the true end, since a half-built book has no best price worth telling. Streams whose records
/// all left with earlier pieces therefore show no end of this event, and if nothing is left to say at the true end,
/// `CUT` is the last that is heard of it: a batch may end at either flag.
///
/// **Times.** A trade carries its own time, every other record that of the last primary before it came out.
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
    /// Primaries that could not be what the source says.
    inconsistencies: u64,
}

impl Deriver {
    /// A deriver for these instruments: books empty, every sequence at 0, everything trading.
    pub fn new(catalog: Arc<Catalog>) -> Deriver {
        let markets = catalog.iter().map(|(id, instrument)| Market::new(id, instrument.channels)).collect();
        Deriver { markets, spare: None, inconsistencies: 0 }
    }

    /// Takes one primary; when it ends its exchange event (or fills a piece of one, see [`Deriver`]) appends the
    /// records to `out`: at most [`crate::limits::EVENT_RECORDS_MAX`] a piece, and several pieces only where one
    /// primary removes more levels than that.
    #[inline]
    pub fn apply(&mut self, primary: &Primary, out: &mut Vec<Event>) -> Result<(), DeriveError> {
        let kind = primary.kind().ok_or(DeriveError::Kind(primary.kind))?;
        let instruments = self.markets.len();
        let market = self
            .markets
            .get_mut(primary.instrument as usize)
            .ok_or(DeriveError::Instrument { instrument: primary.instrument, instruments })?;
        let mut pending = market.open.take().or_else(|| self.spare.take()).unwrap_or_default();
        pending.ts_ns = primary.ts_event_ns;
        let consistent = match kind {
            PrimaryKind::Add => market.add(primary, &mut pending, out),
            PrimaryKind::Cancel | PrimaryKind::Execute => market.reduce(primary, &mut pending, out),
            PrimaryKind::Modify => market.modify(primary, &mut pending, out),
            PrimaryKind::Trade => market.trade(primary, &mut pending, out),
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
        Ok(())
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
    /// and statuses as at the start, every sequence back to 0. What was open of an exchange event is forgotten.
    pub fn reset(&mut self, epoch: u64, reason: ResetReason, ts_ns: u64, out: &mut Vec<Event>) {
        for market in &mut self.markets {
            market.reset();
            let mut event = Event::new(market.instrument, 0, ts_ns, Body::Reset { epoch, reason });
            event.flags = event_flags::LAST;
            out.push(event);
        }
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

    /// Whether the instrument trades.
    pub fn status(&self, instrument: u32) -> Status {
        self.market(instrument).status
    }

    /// The sequence of the last record of a stream in this epoch; 0: there was none.
    pub fn sequence(&self, instrument: u32, channel: Channel) -> u64 {
        self.market(instrument).sequences[channel.index()]
    }

    /// How many primaries could not be what the source says, since the start and through every epoch.
    pub fn inconsistencies(&self) -> u64 {
        self.inconsistencies
    }

    fn market(&self, instrument: u32) -> &Market {
        &self.markets[instrument as usize]
    }
}
