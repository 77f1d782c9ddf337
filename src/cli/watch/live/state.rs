//! What the live view knows: fed with updates, keys and time, drawn by [`super::draw`]. No terminal and no clock.

use std::sync::Arc;

use super::figures::Column;
use super::keys::Action;
use super::meter::{Figures, Meter};
use super::tape::{Print, Tape};
use crate::client::{Disconnect, Listing, Staleness, Update};
use crate::limits;
use crate::model::{Channel, ChannelSet, Level, Quote, ResetReason, Status, Ticker};
use crate::wire::control::DEPTHS;
use crate::wire::message::Meta;

/// How the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// On its way.
    Connecting,
    /// It stands, and the market moves as far as anybody knows.
    Live,
    /// It stands, but nothing is heard from the server.
    Silent,
    /// It stands, but the server hears nothing from its source.
    Stale,
    /// It stands, and the recording is at its end.
    ReplayEnded,
    /// It is lost, and made again at that time (nanoseconds since the Unix epoch).
    Waiting {
        /// When.
        until_ns: u64,
        /// How long that is from now, as shown.
        seconds: u64,
    },
}

/// Something to say beside the market.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Note {
    text: String,
    /// When it has been said for long enough; `None`: it holds until something else does.
    until_ns: Option<u64>,
}

/// The best levels of a book, best first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ladder {
    /// Bids.
    pub bids: Vec<Level>,
    /// Asks.
    pub asks: Vec<Level>,
}

/// What the client's mirror holds of the instrument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mirrored {
    /// The book, if it is known.
    pub ladder: Option<Ladder>,
    /// The best bid and ask.
    pub quote: Option<Quote>,
    /// Last price and volume.
    pub ticker: Option<Ticker>,
    /// Whether it trades.
    pub status: Option<Status>,
}

/// What is to be done after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// Subscribe to what is selected now.
    Subscribe,
    /// Draw everything anew.
    Redraw,
    /// End.
    Quit,
}

/// The instrument that is shown.
#[derive(Debug, Default)]
pub(super) struct Market {
    /// What its numbers mean; `None`: not granted yet.
    pub listing: Option<Arc<Listing>>,
    /// The mirror, as last looked at.
    pub mirrored: Mirrored,
    /// Prices, in the ladder and on the tape.
    pub prices: Column,
    /// Quantities.
    pub quantities: Column,
    /// Levels a side that the server granted; `None`: all.
    pub depth: Option<u32>,
    /// Channels that the instrument lacks.
    pub lacks: ChannelSet,
    /// Its trades.
    pub tape: Tape,
    /// Price of the last trade.
    pub last: Option<i64>,
    /// Whether the last change of that price was upwards.
    pub up: Option<bool>,
    /// Sequences that messages covered without carrying them (quotes, trades, ticker).
    pub merged: u64,
    /// Sequences that are missing.
    pub lost: u64,
}

/// All of the view.
#[derive(Debug)]
pub(super) struct State {
    /// What the user asked to watch, as typed.
    pub patterns: Vec<String>,
    /// Whether the server runs on this host, so that its clock is ours.
    pub same_host: bool,
    /// The instruments to choose from, in order.
    pub symbols: Vec<String>,
    /// The one that is shown.
    pub selected: Option<String>,
    /// Levels a side to ask for; `None`: all.
    pub depth: Option<u32>,
    /// How the connection is.
    pub connection: Connection,
    /// Whether the recording is at its end, whatever else the connection is.
    replay_ended: bool,
    /// Whether the server merges updates because this client is too slow.
    pub conflating: bool,
    /// The instrument.
    pub market: Market,
    /// Rate and latency, as of the last tick.
    pub figures: Figures,
    /// Whether the keys are shown.
    pub help: bool,
    /// Whether the server ever granted a stream.
    pub granted: bool,
    /// When the connection was made.
    since_ns: u64,
    note: Option<Note>,
    meter: Meter,
    changed: bool,
}

impl State {
    /// A view of these instruments (symbols, or prefixes followed by `*`).
    pub fn new(patterns: &[String], depth: Option<u32>, same_host: bool) -> State {
        let symbols: Vec<String> =
            patterns.iter().filter(|pattern| !pattern.ends_with('*')).cloned().collect();
        State {
            patterns: patterns.to_vec(),
            same_host,
            selected: symbols.first().cloned(),
            symbols,
            depth,
            connection: Connection::Connecting,
            replay_ended: false,
            conflating: false,
            market: Market::default(),
            figures: Figures::default(),
            help: false,
            granted: false,
            since_ns: 0,
            note: None,
            meter: Meter::default(),
            changed: true,
        }
    }

    /// Whether anything that is shown has changed since this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// What there is to say, if anything.
    pub fn note(&self) -> Option<&str> {
        self.note.as_ref().map(|note| note.text.as_str())
    }

    fn say(&mut self, text: String, until_ns: Option<u64>) {
        self.note = Some(Note { text, until_ns });
        self.changed = true;
    }

    fn say_for_a_while(&mut self, text: String, now_ns: u64) {
        self.say(text, Some(now_ns + limits::WATCH_NOTE_NS));
    }

    /// Time passes: figures move on, countdowns count, notes go.
    pub fn tick(&mut self, now_ns: u64) {
        let figures = self.meter.figures(now_ns);
        self.changed |= figures != self.figures;
        self.figures = figures;
        if let Connection::Waiting { until_ns, seconds } = &mut self.connection {
            let left = until_ns.saturating_sub(now_ns).div_ceil(1_000_000_000);
            self.changed |= *seconds != left;
            *seconds = left;
        }
        if self.note.as_ref().is_some_and(|note| note.until_ns.is_some_and(|until_ns| until_ns <= now_ns)) {
            self.note = None;
            self.changed = true;
        }
    }

    /// Whether the user named one instrument and nothing else: then all of the server's can be gone through.
    fn names_one(&self) -> bool {
        matches!(&self.patterns[..], [only] if !only.ends_with('*'))
    }

    /// Whether the server is to be asked for its instruments.
    pub fn wants_list(&self) -> bool {
        self.names_one() || self.patterns.iter().any(|pattern| pattern.ends_with('*'))
    }

    /// The instruments of the server, as it lists them now. Whether one has been selected.
    pub fn instruments(&mut self, listed: &[String]) -> bool {
        let matches = |symbol: &String| {
            self.names_one()
                || self.patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
                    Some(prefix) => symbol.starts_with(prefix),
                    None => symbol == pattern,
                })
        };
        let plain = self.patterns.iter().filter(|pattern| !pattern.ends_with('*'));
        let mut symbols: Vec<String> =
            plain.chain(listed.iter().filter(|symbol| matches(symbol))).cloned().collect();
        symbols.sort_unstable();
        symbols.dedup();
        self.changed |= symbols != self.symbols;
        self.symbols = symbols;
        let first = self.selected.is_none() && !self.symbols.is_empty();
        if first {
            self.note = None;
            self.select(self.symbols[0].clone());
        } else if self.selected.is_none() {
            self.connection = Connection::Connecting;
            self.say(format!("no instrument of the server matches {}", self.patterns.join(" ")), None);
        }
        first
    }

    /// There is no list of instruments; it is asked for again.
    pub fn no_list(&mut self, why: String, retry_ns: u64, now_ns: u64) {
        if self.selected.is_none() {
            self.connection = Connection::Waiting { until_ns: now_ns + retry_ns, seconds: 0 };
            self.say(why, None);
            self.tick(now_ns);
        }
    }

    /// Does what a key asks for.
    pub fn act(&mut self, action: Action) -> Effect {
        self.changed = true;
        match action {
            Action::Next => self.step(1),
            Action::Previous => self.step(-1),
            Action::Deeper => self.dive(true),
            Action::Shallower => self.dive(false),
            Action::Pause => {
                self.market.tape.pause();
                Effect::None
            }
            Action::Help => {
                self.help = !self.help;
                Effect::None
            }
            Action::Back if self.help => {
                self.help = false;
                Effect::None
            }
            Action::Redraw => Effect::Redraw,
            Action::Back | Action::Quit => Effect::Quit,
        }
    }

    /// Number of the selected instrument among [`State::symbols`].
    pub fn position(&self) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        self.symbols.iter().position(|symbol| symbol == selected)
    }

    fn step(&mut self, by: isize) -> Effect {
        let count = self.symbols.len() as isize;
        let here = self.position().map_or(0, |position| position as isize);
        match self.symbols.get((here + by).rem_euclid(count.max(1)) as usize) {
            Some(symbol) if self.selected.as_ref() != Some(symbol) => {
                self.select(symbol.clone());
                Effect::Subscribe
            }
            _ => Effect::None,
        }
    }

    fn select(&mut self, symbol: String) {
        self.selected = Some(symbol);
        self.market = Market::default();
        self.note = None;
        self.begin();
    }

    /// What is subscribed to is another view: a connection of its own.
    fn begin(&mut self) {
        self.market.mirrored = Mirrored::default();
        self.connection = Connection::Connecting;
        self.conflating = false;
        self.meter.clear();
        self.figures = Figures::default();
        self.changed = true;
    }

    fn dive(&mut self, deeper: bool) -> Effect {
        let depth = match (self.depth, deeper) {
            (Some(depth), true) => DEPTHS.into_iter().find(|&next| next > depth),
            (Some(depth), false) => Some(DEPTHS.into_iter().rfind(|&next| next < depth).unwrap_or(depth)),
            (None, true) => None,
            (None, false) => DEPTHS.last().copied(),
        };
        if depth == self.depth || self.selected.is_none() {
            return Effect::None;
        }
        self.depth = depth;
        self.begin();
        Effect::Subscribe
    }

    /// What the client's mirror holds now.
    pub fn show(&mut self, mirrored: Mirrored) {
        let Market { prices, quantities, .. } = &mut self.market;
        let sides = mirrored.ladder.iter().flat_map(|ladder| [&ladder.bids, &ladder.asks]);
        for level in sides.flatten() {
            prices.see(level.price);
            quantities.see(level.quantity);
        }
        if let Some(quote) = mirrored.quote {
            [quote.bid, quote.ask].into_iter().for_each(|price| prices.see(price));
            [quote.bid_quantity, quote.ask_quantity].into_iter().for_each(|it| quantities.see(it));
        }
        self.market.mirrored = mirrored;
    }

    /// Takes what the client heard. `channel_of` names the channel of a subscription by its number.
    pub fn take(&mut self, update: &Update, now_ns: u64, channel_of: impl Fn(usize) -> Option<Channel>) {
        match update {
            Update::Connected { .. } => {
                self.connection = Connection::Live;
                self.since_ns = now_ns;
                self.replay_ended = false;
                self.conflating = false;
                self.note = None;
                self.changed = true;
            }
            Update::Disconnected { why, retry_in } => {
                let wait_ns = u64::try_from(retry_in.as_nanos()).unwrap_or(u64::MAX);
                self.lost_connection(why, wait_ns, now_ns);
            }
            Update::Granted { listing, channel, depth, .. } => self.grant(listing, *channel, *depth),
            Update::Refused { subscription, code, message, .. } => {
                let channel = subscription.and_then(channel_of);
                match channel.filter(|_| code == "unavailable") {
                    Some(channel) => self.market.lacks.0 |= ChannelSet::of(&[channel]).0,
                    None => self.say(format!("the server refuses: {message}"), None),
                }
                self.changed = true;
            }
            Update::Quote { meta, .. } | Update::Ticker { meta, .. } => self.message(meta, true, now_ns),
            Update::Book { meta, .. } => self.message(meta, false, now_ns),
            Update::Trade { meta, trade, .. } => {
                self.message(meta, true, now_ns);
                let market = &mut self.market;
                market.prices.see(trade.price);
                market.quantities.see(trade.quantity);
                if let Some(last) = market.last.filter(|&last| last != trade.price) {
                    market.up = Some(trade.price > last);
                }
                market.last = Some(trade.price);
                market.tape.push(Print::Trade { ts_ns: meta.ts_ns, trade: *trade });
            }
            Update::Reset { epoch, reason, .. } => {
                // After a restart the server says by itself how its source is.
                if *reason != ResetReason::Restart {
                    self.replay_ended = false;
                    if self.connection == Connection::ReplayEnded {
                        self.connection = Connection::Live;
                    }
                }
                self.say_for_a_while(format!("epoch {epoch} begins ({})", reason.name()), now_ns);
            }
            Update::Gap { channel, from, to, .. } => self.gap(*channel, *from, *to, now_ns),
            Update::Mismatch { seq, .. } => {
                let text = format!("the book differs from the server's at sequence {seq}; fetching it again");
                self.say_for_a_while(text, now_ns);
            }
            Update::Stale { why } => {
                self.connection = match why {
                    Staleness::Silent(_) => Connection::Silent,
                    Staleness::Source => Connection::Stale,
                };
                self.changed = true;
            }
            Update::Live => {
                self.connection = if self.replay_ended { Connection::ReplayEnded } else { Connection::Live };
                self.changed = true;
            }
            Update::Notice { code, message } => self.notice(code, message, now_ns),
            // The status: it is in the mirror.
            _ => self.changed = true,
        }
    }

    fn lost_connection(&mut self, why: &Disconnect, wait_ns: u64, now_ns: u64) {
        let hint = match why {
            Disconnect::Connect(error) if error.is_refused_by_host() => "; `tickcast serve` starts a server",
            _ => "",
        };
        self.connection = Connection::Waiting { until_ns: now_ns.saturating_add(wait_ns), seconds: 0 };
        self.conflating = false;
        self.say(format!("{why}{hint}"), None);
        self.tick(now_ns);
    }

    fn grant(&mut self, listing: &Arc<Listing>, channel: Channel, depth: Option<u32>) {
        self.granted = true;
        self.changed = true;
        let market = &mut self.market;
        let exponents = |listing: &Listing| (listing.price_exponent, listing.quantity_exponent);
        if market.listing.as_ref().map(|known| exponents(known)) != Some(exponents(listing)) {
            market.prices = Column::new(listing.price_exponent);
            market.quantities = Column::new(listing.quantity_exponent);
        }
        market.listing = Some(listing.clone());
        if channel == Channel::Book {
            market.depth = depth;
        }
    }

    /// A message of market data came. Those of some channels are one sequence each, so that more of them are merged.
    fn message(&mut self, meta: &Meta, one_sequence: bool, now_ns: u64) {
        // A snapshot is as old as the last change in it, and what is told again after a break as old as that.
        let is_new = !meta.snapshot && meta.sent_ns > 0 && !(self.same_host && meta.sent_ns < self.since_ns);
        let latency_ns = is_new.then(|| now_ns.saturating_sub(meta.sent_ns));
        self.meter.message(now_ns, latency_ns);
        if one_sequence && !meta.snapshot {
            let merged = meta.last_seq.saturating_sub(meta.first_seq);
            self.market.merged = self.market.merged.saturating_add(merged);
        }
        self.changed = true;
    }

    fn gap(&mut self, channel: Channel, from: u64, to: u64, now_ns: u64) {
        let count = to.saturating_sub(from).saturating_add(1);
        self.market.lost = self.market.lost.saturating_add(count);
        if channel == Channel::Trades {
            self.market.tape.push(Print::Missing(count));
        }
        self.say_for_a_while(format!("{channel} {from} to {to} are missing"), now_ns);
    }

    fn notice(&mut self, code: &str, message: &str, now_ns: u64) {
        self.changed = true;
        match code {
            "conflating" => self.conflating = true,
            "recovered" => self.conflating = false,
            // The client says these itself, and also where the server says nothing at all.
            "stale" | "live" => {}
            "replay_ended" => {
                self.replay_ended = true;
                self.connection = Connection::ReplayEnded;
            }
            _ => self.say_for_a_while(message.to_owned(), now_ns),
        }
    }
}

#[cfg(test)]
mod tests;
