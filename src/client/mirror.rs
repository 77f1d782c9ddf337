//! What the client holds of the market: no socket and no clock, only bytes in and updates out.

use std::collections::HashMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::control::{Control, Grant, Position};
use super::entry::Entry;
use super::{Disconnect, Listing, Update};
use crate::limits;
use crate::model::{Channel, L2Book, Quote, ResetReason, Status, Ticker};
use crate::wire::market;

/// The book of one instrument as the server showed it last: the view of the granted depth, at one sequence.
#[derive(Clone, Copy, Debug)]
pub struct BookView<'a> {
    /// The instrument.
    pub listing: &'a Listing,
    /// The levels.
    pub book: &'a L2Book,
    /// Levels a side that the view has at the most; `None`: all.
    pub depth: Option<u32>,
    /// Epoch of `seq`.
    pub epoch: u64,
    /// Sequence of the last change in it.
    pub seq: u64,
    /// When that happened, nanoseconds since the Unix epoch, by the source's clock.
    pub ts_ns: u64,
    /// When it was published, nanoseconds since the Unix epoch.
    pub sent_ns: u64,
}

/// Instruments, their streams and their last state.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    entries: Vec<Entry>,
    by_symbol: HashMap<String, usize>,
    /// By the number that this connection granted.
    by_number: FxHashMap<u32, usize>,
}

impl Mirror {
    /// The book, if its state is known.
    pub fn book(&self, symbol: &str) -> Option<BookView<'_>> {
        self.entry(symbol)?.book()
    }

    pub fn quote(&self, symbol: &str) -> Option<Quote> {
        self.entry(symbol)?.quote
    }

    pub fn ticker(&self, symbol: &str) -> Option<Ticker> {
        self.entry(symbol)?.ticker
    }

    pub fn status(&self, symbol: &str) -> Option<Status> {
        self.entry(symbol)?.status
    }

    pub fn listing(&self, symbol: &str) -> Option<&Arc<Listing>> {
        Some(&self.entry(symbol)?.listing)
    }

    /// Depth and interval of a stream that this connection granted.
    pub fn view(&self, symbol: &str, channel: Channel) -> Option<(Option<u32>, u32)> {
        let stream = self.entry(symbol)?.granted(channel)?;
        Some((stream.depth, stream.interval_ms))
    }

    fn entry(&self, symbol: &str) -> Option<&Entry> {
        self.by_symbol.get(symbol).map(|&index| &self.entries[index])
    }

    /// The connection is gone: state is unknown until the next one tells it. What remains is where each stream stood.
    pub fn disconnected(&mut self) {
        self.by_number.clear();
        self.entries.iter_mut().for_each(Entry::disconnected);
    }

    /// Takes the control messages that concern streams; the others are the session's.
    pub fn control(&mut self, control: Control, out: &mut impl Extend<Update>) -> Result<(), Disconnect> {
        match control {
            Control::Subscribed { streams } => {
                streams.into_iter().try_for_each(|grant| self.granted(grant, out))?;
            }
            Control::Heartbeat { streams } => {
                for position in &streams {
                    self.position(position, out);
                }
            }
            Control::Gap { symbol, channel, epoch, from, to } => {
                if let (Some(&index), Some(channel)) = (self.by_symbol.get(&symbol), channel.0) {
                    self.entries[index].declared_gap(channel, epoch, from, to, out);
                }
            }
            Control::Reset { symbol, epoch, reason } => {
                if let Some(&index) = self.by_symbol.get(&symbol) {
                    let reasons = [ResetReason::Loop, ResetReason::Seek, ResetReason::Restart];
                    let reason = reasons.into_iter().find(|known| known.name() == reason);
                    self.entries[index].enter(epoch, reason.unwrap_or(ResetReason::Restart), out);
                }
            }
            Control::Welcome { .. } | Control::Notice { .. } | Control::Error { .. } | Control::Other => {}
        }
        Ok(())
    }

    fn granted(&mut self, grant: Grant, out: &mut impl Extend<Update>) -> Result<(), Disconnect> {
        // A channel of a later version: its frames are skipped like its messages.
        let Some(channel) = grant.channel.0 else { return Ok(()) };
        let exponents = -18..=18;
        if !exponents.contains(&grant.price_exponent) || !exponents.contains(&grant.quantity_exponent) {
            return Err(Disconnect::Protocol(format!(
                "exponents {} and {} of {:?}; allowed: -18 to 18",
                grant.price_exponent, grant.quantity_exponent, grant.symbol
            )));
        }
        let listing = Listing {
            symbol: grant.symbol,
            number: grant.instrument,
            price_exponent: grant.price_exponent,
            quantity_exponent: grant.quantity_exponent,
        };
        let index = match self.by_symbol.get(&listing.symbol) {
            Some(&index) => index,
            None if self.entries.len() >= limits::INSTRUMENTS_MAX => {
                return Err(Disconnect::Protocol(format!(
                    "more than {} instruments granted",
                    limits::INSTRUMENTS_MAX
                )));
            }
            None => {
                self.by_symbol.insert(listing.symbol.clone(), self.entries.len());
                self.entries.push(Entry::new(Arc::new(listing.clone()), grant.epoch));
                self.entries.len() - 1
            }
        };
        let entry = &mut self.entries[index];
        if *entry.listing != listing {
            self.by_number.remove(&entry.listing.number);
            entry.listing = Arc::new(listing);
        }
        self.by_number.insert(entry.listing.number, index);
        // On a new connection the epoch may even be lower: it may be another server.
        if grant.epoch != entry.epoch {
            entry.begin(grant.epoch, ResetReason::Restart, out);
        }
        let interval_ms = grant.interval_ms.unwrap_or(0);
        entry.grant(channel, grant.depth, interval_ms, grant.seq, out);
        Ok(())
    }

    fn position(&mut self, position: &Position, out: &mut impl Extend<Update>) {
        let (Some(&index), Some(channel)) = (self.by_symbol.get(&position.symbol), position.channel.0) else {
            return;
        };
        self.entries[index].position(channel, position.epoch, position.seq, out);
    }

    /// Takes one frame of market data.
    pub fn frame(&mut self, payload: &[u8], out: &mut impl Extend<Update>) -> Result<(), Disconnect> {
        let (header, messages) = market::decode(payload)?;
        // Frames of what was not granted (a channel of a later version, a stream that was given up) are skipped.
        let Some(channel) = Channel::from_number(header.channel) else { return Ok(()) };
        let Some(&index) = self.by_number.get(&header.instrument) else { return Ok(()) };
        let entry = &mut self.entries[index];
        if entry.stream(channel).is_none() || header.epoch < entry.epoch {
            return Ok(());
        }
        entry.enter(header.epoch, ResetReason::Restart, out);
        messages.into_iter().try_for_each(|message| entry.message(channel, message, out))
    }
}

#[cfg(test)]
mod tests;
