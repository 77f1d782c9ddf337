//! What the client holds of the market: no socket and no clock, only bytes in and updates out.

use std::collections::HashMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::control::{Control, Grant, Position};
use super::entry::{Entry, Outcome};
use super::stream::View;
use super::{Disconnect, Ledger, Listing};
use crate::limits;
use crate::model::{Channel, L2Book, OrderBook, Period, ResetReason};
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
    /// Whether it may be old: see [`super::Machine::is_stale`].
    pub stale: bool,
}

/// The resting orders of one instrument, at one sequence.
#[derive(Clone, Copy, Debug)]
pub struct OrdersView<'a> {
    /// The instrument.
    pub listing: &'a Listing,
    /// The orders.
    pub orders: &'a OrderBook,
    /// Epoch of `seq`.
    pub epoch: u64,
    /// Sequence of the last change in it.
    pub seq: u64,
    /// When that happened, nanoseconds since the Unix epoch, by the source's clock.
    pub ts_ns: u64,
    /// When it was published, nanoseconds since the Unix epoch.
    pub sent_ns: u64,
    /// Whether they may be old: see [`super::Machine::is_stale`].
    pub stale: bool,
}

/// Where the client stands in one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing<'a> {
    /// The instrument's symbol.
    pub symbol: &'a str,
    /// The channel.
    pub channel: Channel,
    /// Levels a side of a book view; `None`: all, or a channel without depth.
    pub depth: Option<u32>,
    /// Milliseconds between updates; 0: each.
    pub interval_ms: u32,
    /// Length of the bars; `None`: a channel without bars.
    pub period: Option<Period>,
    /// Epoch of `seq`.
    pub epoch: u64,
    /// The last sequence held (or known to be lost).
    pub seq: u64,
    /// Whether state as of `seq` is held, so that the stream can be resumed from there.
    pub ready: bool,
    /// Whether what is held may be old: see [`super::Machine::is_stale`].
    pub stale: bool,
    /// Whether the present connection has granted it.
    pub granted: bool,
    /// What became of its sequences.
    pub ledger: Ledger,
}

/// Instruments, their streams and their last state.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    /// In the order in which they were first granted.
    entries: Vec<Entry>,
    /// For look-ups only: its order is nobody's.
    by_symbol: HashMap<String, usize>,
    /// By the number that this connection granted.
    by_number: FxHashMap<u32, usize>,
}

impl Mirror {
    pub fn entry(&self, symbol: &str) -> Option<&Entry> {
        self.by_symbol.get(symbol).map(|&index| &self.entries[index])
    }

    /// Every stream that was ever granted.
    pub fn standings(&self) -> impl Iterator<Item = Standing<'_>> {
        self.entries.iter().flat_map(|entry| {
            entry.streams().map(|(channel, stream)| Standing {
                symbol: &entry.listing.symbol,
                channel,
                depth: stream.view.depth,
                interval_ms: stream.view.interval_ms,
                period: stream.view.period,
                epoch: entry.epoch,
                seq: stream.last,
                ready: stream.ready && !stream.cleared,
                stale: stream.stale,
                granted: stream.granted,
                ledger: stream.ledger,
            })
        })
    }

    /// The present connection was asked to go on with a stream where it stands.
    pub fn resuming(&mut self, symbol: &str, channel: &str) {
        let channel = Channel::from_name(channel);
        if let Some((entry, channel)) = self.entry_mut(symbol).zip(channel) {
            entry.resuming(channel);
        }
    }

    /// The connection is gone: what is held remains, until another continues it.
    pub fn disconnected(&mut self) {
        self.by_number.clear();
        self.entries.iter_mut().for_each(Entry::disconnected);
    }

    /// Takes the control messages that concern streams; the others are the machine's.
    pub fn control(&mut self, control: Control, out: &mut Outcome) -> Result<(), Disconnect> {
        match control {
            Control::Subscribed { streams, .. } => {
                streams.into_iter().try_for_each(|grant| self.granted(grant, out))?;
            }
            Control::Unsubscribed { streams } => {
                for ended in streams {
                    if let (Some(entry), Some(channel)) = (self.entry_mut(&ended.symbol), ended.channel.0) {
                        entry.end(channel);
                    }
                }
            }
            Control::Heartbeat { streams } => {
                for Position { symbol, channel, epoch, seq } in streams {
                    if let (Some(entry), Some(channel)) = (self.entry_mut(&symbol), channel.0) {
                        entry.position(channel, epoch, seq, out);
                    }
                }
            }
            Control::Gap { symbol, channel, epoch, from, to } => {
                if let (Some(entry), Some(channel)) = (self.entry_mut(&symbol), channel.0) {
                    entry.declared_gap(channel, epoch, from, to, out);
                }
            }
            Control::Reset { symbol, epoch, reason } => {
                if let Some(entry) = self.entry_mut(&symbol) {
                    let reasons = [ResetReason::Loop, ResetReason::Seek, ResetReason::Restart];
                    let reason = reasons.into_iter().find(|known| known.name() == reason);
                    entry.enter(epoch, reason.unwrap_or(ResetReason::Restart), out);
                }
            }
            Control::Welcome { .. } | Control::Notice { .. } | Control::Error { .. } | Control::Other => {}
        }
        Ok(())
    }

    fn entry_mut(&mut self, symbol: &str) -> Option<&mut Entry> {
        self.by_symbol.get(symbol).map(|&index| &mut self.entries[index])
    }

    fn granted(&mut self, grant: Grant, out: &mut Outcome) -> Result<(), Disconnect> {
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
            entry.listing = Arc::new(listing);
        }
        self.by_number.insert(entry.listing.number, index);
        // On a new connection the epoch may even be lower: it may be another server.
        if grant.epoch != entry.epoch {
            entry.begin(grant.epoch, ResetReason::Restart, out);
        }
        let view = View {
            depth: grant.depth,
            interval_ms: grant.interval_ms.unwrap_or(0),
            period: grant.period.and_then(|name| Period::from_name(&name)),
        };
        entry.grant(channel, view, grant.seq, out);
        Ok(())
    }

    /// Takes one frame of market data.
    pub fn frame(&mut self, payload: &[u8], out: &mut Outcome) -> Result<(), Disconnect> {
        let (header, messages) = market::decode(payload)?;
        // Frames of what was not granted (a channel of a later version, a stream that was given up) are skipped.
        let Some(channel) = Channel::from_number(header.channel) else { return Ok(()) };
        let Some(&index) = self.by_number.get(&header.instrument) else { return Ok(()) };
        let entry = &mut self.entries[index];
        if entry.granted(channel).is_none() || header.epoch < entry.epoch {
            return Ok(());
        }
        entry.enter(header.epoch, ResetReason::Restart, out);
        messages.into_iter().try_for_each(|message| entry.message(channel, message, out))
    }
}

#[cfg(test)]
mod tests;
