//! What is counted of one instrument while its records pass.

use super::{Book, BookLevel, BusiestSecond, InstrumentReport, LEVELS_SHOWN, Sequences, Trades, Volume};
use super::{by_name, decimal, kind_name, span};
use crate::feed::time::rfc3339;
use crate::model::{ABSENT_TIME, Channel, primary_flags};
use crate::model::{Aggressor, Catalog, Deriver, Instrument, Level, Primary, PrimaryKind, Side};

/// Counts of one instrument.
#[derive(Default)]
pub(super) struct Tally {
    records: u64,
    snapshot_records: u64,
    kinds: [u64; PrimaryKind::Note as usize + 1],
    /// Kinds that this version does not know.
    unknown: u64,
    /// Trades and their quantity by aggressor.
    traded: [(u64, i64); 3],
    prices: Option<Prices>,
    fills: (u64, i64),
    /// Earliest and latest event time.
    pub span: Option<(u64, u64)>,
    /// Event time of the record before, snapshots apart.
    before_ns: Option<u64>,
    silence_ns: u64,
    /// When that began.
    silence_from_ns: u64,
    sequences: Option<Sequences>,
    /// Orders at the levels last restated, by side.
    orders_at: [Vec<u32>; 2],
}

#[derive(Clone, Copy)]
struct Prices {
    first: i64,
    high: i64,
    low: i64,
    last: i64,
}

/// The source's action that a record is counted under; 0: none. Levels that restate the book belong to the action of
/// the record before them.
pub(super) fn source_action(primary: &Primary) -> usize {
    let is_top = primary.kind == PrimaryKind::Top as u8;
    if is_top { 0 } else { usize::from(u8::try_from(primary.count).unwrap_or(0)) }
}

/// The name of a source's action; of a record without one that of its type.
pub(super) fn action_name(action: usize) -> String {
    match u8::try_from(action) {
        Ok(byte) if byte.is_ascii_graphic() => (byte as char).to_string(),
        _ => format!("type {action}"),
    }
}

const SECOND_NS: u64 = 1_000_000_000;

/// Counts exchange events by second; times rarely step back, so that only two seconds need be remembered.
#[derive(Default)]
pub(super) struct Seconds {
    /// The second in hand, since the Unix epoch, and its events.
    current: (u64, u64),
    busiest: (u64, u64),
}

impl Seconds {
    /// Counts a record that ends an exchange event.
    pub fn add(&mut self, primary: &Primary) {
        let is_snapshot = primary.flags & primary_flags::SNAPSHOT != 0;
        if !primary.is_last() || is_snapshot || primary.ts_event_ns == ABSENT_TIME {
            return;
        }
        let second = primary.ts_event_ns / SECOND_NS;
        if self.current.0 != second {
            self.current = (second, 0);
        }
        self.current.1 += 1;
        if self.current.1 > self.busiest.1 {
            self.busiest = self.current;
        }
    }

    /// The second with the most, the first of several.
    pub fn busiest(&self) -> Option<BusiestSecond> {
        let (second, events) = self.busiest;
        let start_ns = second * SECOND_NS;
        let start = rfc3339(start_ns);
        (events > 0).then(|| BusiestSecond { start_ns: start_ns.to_string(), start, events })
    }
}

impl Tally {
    /// Counts a record.
    pub fn add(&mut self, primary: &Primary) {
        self.records += 1;
        match self.kinds.get_mut(usize::from(primary.kind)) {
            Some(count) => *count += 1,
            None => self.unknown += 1,
        }
        let is_snapshot = primary.flags & primary_flags::SNAPSHOT != 0;
        self.snapshot_records += u64::from(is_snapshot);
        self.time(primary.ts_event_ns, is_snapshot);
        if primary.sequence != 0 {
            self.sequence(primary.sequence, is_snapshot);
        }
        match primary.kind() {
            // One of a snapshot stands for those before.
            Some(PrimaryKind::Trade) if !is_snapshot => self.trade(primary),
            Some(PrimaryKind::Fill | PrimaryKind::Execute) => {
                self.fills = (self.fills.0 + 1, self.fills.1.saturating_add(primary.quantity));
            }
            Some(PrimaryKind::Top) => self.restate(primary),
            _ => {}
        }
    }

    fn time(&mut self, time_ns: u64, is_snapshot: bool) {
        if time_ns == ABSENT_TIME {
            return;
        }
        let (first, last) = self.span.unwrap_or((time_ns, time_ns));
        self.span = Some((first.min(time_ns), last.max(time_ns)));
        if !is_snapshot {
            let before_ns = self.before_ns.replace(time_ns).unwrap_or(time_ns);
            let silence_ns = time_ns.saturating_sub(before_ns);
            if silence_ns > self.silence_ns {
                (self.silence_ns, self.silence_from_ns) = (silence_ns, before_ns);
            }
        }
    }

    fn sequence(&mut self, sequence: u32, is_snapshot: bool) {
        let Some(seen) = &mut self.sequences else {
            self.sequences = Some(Sequences {
                first: sequence,
                last: sequence,
                lowest: sequence,
                highest: sequence,
                steps_back: 0,
                steps_back_in_snapshots: 0,
                passed_over: 0,
            });
            return;
        };
        let steps_back = sequence < seen.last;
        seen.steps_back += u64::from(steps_back);
        seen.steps_back_in_snapshots += u64::from(steps_back && is_snapshot);
        if !is_snapshot {
            seen.passed_over += u64::from(sequence.saturating_sub(seen.last).saturating_sub(1));
        }
        seen.last = sequence;
        seen.lowest = seen.lowest.min(sequence);
        seen.highest = seen.highest.max(sequence);
    }

    fn trade(&mut self, primary: &Primary) {
        let (count, volume) = &mut self.traded[Aggressor::from_number(primary.side) as usize];
        *count += 1;
        *volume = volume.saturating_add(primary.quantity);
        let price = primary.price;
        let prices = self.prices.unwrap_or(Prices { first: price, high: price, low: price, last: price });
        self.prices =
            Some(Prices { high: prices.high.max(price), low: prices.low.min(price), last: price, ..prices });
    }

    fn restate(&mut self, primary: &Primary) {
        let Some(side) = primary.side() else { return };
        let orders_at = &mut self.orders_at[side.index()];
        let level = usize::from(primary.level);
        if orders_at.len() <= level {
            orders_at.resize(level + 1, 0);
        }
        orders_at[level] = primary.count;
    }

    /// The report, with the book that the deriver ends with.
    pub fn report(&self, id: u32, catalog: &Catalog, deriver: &Deriver) -> InstrumentReport {
        let instrument = catalog.get(id).expect("there is one tally for each instrument");
        let mut kinds = by_name(&self.kinds, kind_name);
        if self.unknown > 0 {
            kinds.insert("unknown".into(), self.unknown);
        }
        let step = |size: i64, exponent| (size > 0).then(|| decimal(size, exponent));
        InstrumentReport {
            symbol: instrument.symbol.clone(),
            instrument: id,
            source_id: instrument.source_id,
            price_exponent: instrument.price_exponent,
            quantity_exponent: instrument.quantity_exponent,
            tick_size: step(instrument.tick_size, instrument.price_exponent),
            lot_size: step(instrument.lot_size, instrument.quantity_exponent),
            channels: instrument.channels.iter().map(Channel::name).collect(),
            book_depth: instrument.book_depth,
            records: self.records,
            snapshot_records: self.snapshot_records,
            kinds,
            status: (self.kinds[PrimaryKind::Status as usize] > 0).then(|| deriver.status(id).name()),
            trades: self.trades(instrument),
            fills: volume(self.fills, instrument),
            span: span(self.span),
            sequences: self.sequences,
            longest_silence_ns: self.silence_ns.to_string(),
            longest_silence_from_ns: self.silence_from_ns.to_string(),
            book: self.book(id, instrument, deriver),
        }
    }

    fn trades(&self, instrument: &Instrument) -> Trades {
        let all = self.traded.iter().fold((0, 0_i64), |sum, of| (sum.0 + of.0, sum.1.saturating_add(of.1)));
        let by = |aggressor: Aggressor| volume(self.traded[aggressor as usize], instrument);
        let price = |pick: fn(Prices) -> i64| {
            self.prices.map(|prices| decimal(pick(prices), instrument.price_exponent))
        };
        Trades {
            count: all.0,
            volume: decimal(all.1, instrument.quantity_exponent),
            buy: by(Aggressor::Buy),
            sell: by(Aggressor::Sell),
            none: by(Aggressor::None),
            first: price(|prices| prices.first),
            high: price(|prices| prices.high),
            low: price(|prices| prices.low),
            last: price(|prices| prices.last),
        }
    }

    fn book(&self, id: u32, instrument: &Instrument, deriver: &Deriver) -> Book {
        let has_orders = instrument.has(Channel::Orders);
        let levels = |side: Side| -> Vec<Level> { deriver.book(id).levels(side).collect() };
        let orders_at = |side: Side, number: usize, level: &Level| {
            if has_orders {
                return Some(deriver.orders(id).level(side, level.price).1);
            }
            // 0: the source does not say how many.
            self.orders_at[side.index()]
                .get(number)
                .map(|orders| *orders as usize)
                .filter(|orders| *orders > 0)
        };
        let best = |side: Side, levels: &[Level]| {
            let shown = levels.iter().take(LEVELS_SHOWN).enumerate();
            shown
                .map(|(number, level)| BookLevel {
                    price: decimal(level.price, instrument.price_exponent),
                    quantity: decimal(level.quantity, instrument.quantity_exponent),
                    orders: orders_at(side, number, level),
                })
                .collect()
        };
        let total = |levels: &[Level]| {
            let total = levels.iter().fold(0_i64, |sum, level| sum.saturating_add(level.quantity));
            decimal(total, instrument.quantity_exponent)
        };
        let (bids, asks) = (levels(Side::Bid), levels(Side::Ask));
        Book {
            bids: best(Side::Bid, &bids),
            asks: best(Side::Ask, &asks),
            bid_levels: bids.len(),
            ask_levels: asks.len(),
            bid_quantity: total(&bids),
            ask_quantity: total(&asks),
            orders: has_orders.then(|| deriver.orders(id).len()),
        }
    }
}

fn volume((count, quantity): (u64, i64), instrument: &Instrument) -> Volume {
    Volume { count, volume: decimal(quantity, instrument.quantity_exponent) }
}
