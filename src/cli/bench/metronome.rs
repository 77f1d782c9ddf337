//! The source behind `tickcast bench`: ticks in bursts, on an absolute schedule that each of them carries.

use std::sync::Arc;

use crate::clock::Clock;
use crate::limits;
use crate::model::{
    Catalog, CatalogError, Channel, ChannelSet, Instrument, Primary, PrimaryKind, Side, primary_flags,
};
use crate::sim::Simulation;
use crate::source::{Next, Source, SourceError};

/// What is published.
pub(super) enum Content {
    /// One trade a tick, of the symbols in turns, made beforehand: each tick is one message of 72 bytes.
    Trades,
    /// The simulated market: books, quotes, trades.
    Market(Box<Simulation>),
}

/// When it is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    /// Ticks that are published at once.
    pub gather: u64,
    /// Nanoseconds from one burst to the next; `None`: as fast as the server takes them.
    pub gap_ns: Option<u64>,
    /// A market that is ten times as busy for a while, again and again.
    pub surges: bool,
}

/// A surge comes each second...
const SURGE_EVERY_NS: u64 = 1_000_000_000;
/// ...lasts so long...
const SURGE_NS: u64 = 200_000_000;
/// ...and makes of each tick so many.
const SURGE_FACTOR: u64 = 10;

/// Burst `k` is due `k` gaps after the first. A tick's event time is when its burst was due, on the wall clock, so that
/// whoever receives it sees what it cost that the server was late, however long it stood still.
pub(super) struct Metronome {
    catalog: Arc<Catalog>,
    content: Content,
    schedule: Schedule,
    clock: Clock,
    /// When the first burst was due, on the caller's clock and on the wall.
    origin: Option<(u64, u64)>,
    bursts: u64,
    /// Ticks of the burst at hand that are still to be told.
    left: u64,
    ticks: u64,
}

/// The catalog of prepared trades: symbols `S0`, `S1`, ... that have nothing but trades.
pub(super) fn trades_catalog(symbols: usize) -> Result<Catalog, CatalogError> {
    let instrument = |number: usize| Instrument {
        symbol: format!("S{number}"),
        price_exponent: -2,
        quantity_exponent: 0,
        tick_size: 1,
        lot_size: 1,
        channels: ChannelSet::of(&[Channel::Trades]),
        book_depth: 0,
        source_id: 0,
    };
    Catalog::new((0..symbols).map(instrument).collect())
}

impl Metronome {
    /// A source of trades of the catalog's instruments, or of the simulation (whose catalog it is).
    pub fn new(catalog: Arc<Catalog>, content: Content, schedule: Schedule, clock: Clock) -> Metronome {
        Metronome { catalog, content, schedule, clock, origin: None, bursts: 0, left: 0, ticks: 0 }
    }

    /// Appends up to `left` ticks that were due at `due_unix_ns`.
    fn tell(&mut self, due_unix_ns: u64, out: &mut Vec<Primary>) {
        let full = out.len() + limits::SOURCE_BATCH_MAX;
        let start = out.len();
        while self.left > 0 && out.len() < full {
            match &mut self.content {
                Content::Trades => out.push(trade(self.ticks, self.catalog.len())),
                Content::Market(market) => market.tick(out),
            }
            self.left -= 1;
            self.ticks += 1;
        }
        out[start..].iter_mut().for_each(|primary| primary.ts_event_ns = due_unix_ns);
    }
}

fn trade(tick: u64, symbols: usize) -> Primary {
    Primary {
        order_id: tick + 1,
        price: 10_000 + (tick % 100) as i64,
        quantity: 1 + (tick % 7) as i64,
        side: if tick.is_multiple_of(2) { Side::Bid } else { Side::Ask } as u8,
        flags: primary_flags::LAST,
        ..Primary::new(PrimaryKind::Trade, (tick % symbols as u64) as u32, 0)
    }
}

impl Source for Metronome {
    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.clone()
    }

    fn poll(&mut self, now_ns: u64, out: &mut Vec<Primary>) -> Result<Next, SourceError> {
        if let Content::Market(market) = &mut self.content
            && !market.open(out)
        {
            return Ok(Next::Now);
        }
        let (origin_ns, origin_unix_ns) = *self.origin.get_or_insert_with(|| (now_ns, self.clock.unix_ns()));
        let Some(gap_ns) = self.schedule.gap_ns else {
            self.left = limits::SOURCE_BATCH_MAX as u64;
            self.tell(origin_unix_ns + (now_ns - origin_ns), out);
            return Ok(Next::Now);
        };
        let since_ns = self.bursts * gap_ns;
        if self.left == 0 {
            if now_ns < origin_ns + since_ns {
                return Ok(Next::At(origin_ns + since_ns));
            }
            let surges = self.schedule.surges && since_ns % SURGE_EVERY_NS < SURGE_NS;
            self.left = self.schedule.gather * if surges { SURGE_FACTOR } else { 1 };
        }
        self.tell(origin_unix_ns + since_ns, out);
        if self.left > 0 {
            return Ok(Next::Now);
        }
        self.bursts += 1;
        let due_ns = origin_ns + self.bursts * gap_ns;
        Ok(if due_ns <= now_ns { Next::Now } else { Next::At(due_ns) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metronome(symbols: usize, schedule: Schedule) -> Metronome {
        Metronome::new(Arc::new(trades_catalog(symbols).unwrap()), Content::Trades, schedule, Clock::start())
    }

    /// What it says until `end_ns`, asked when it wants to be: (when, tick by tick the event time since the first).
    fn told(source: &mut Metronome, end_ns: u64) -> Vec<(u64, Vec<u64>)> {
        let (mut now_ns, mut said) = (0, Vec::new());
        while now_ns < end_ns {
            let mut out = Vec::new();
            let next = source.poll(now_ns, &mut out).unwrap();
            let origin = source.origin.unwrap().1;
            if !out.is_empty() {
                said.push((now_ns, out.iter().map(|primary| primary.ts_event_ns - origin).collect()));
            }
            match next {
                Next::At(due_ns) => now_ns = due_ns,
                Next::Now => {}
                other => panic!("{other:?}"),
            }
        }
        said
    }

    #[test]
    fn bursts_come_on_schedule_and_carry_it() {
        let mut source = metronome(2, Schedule { gather: 3, gap_ns: Some(10), surges: false });
        assert_eq!(told(&mut source, 30), [(0, vec![0; 3]), (10, vec![10; 3]), (20, vec![20; 3])]);
    }

    #[test]
    fn who_asks_late_is_told_one_burst_at_a_time_as_of_when_each_was_due() {
        let mut source = metronome(1, Schedule { gather: 2, gap_ns: Some(10), surges: false });
        let mut out = Vec::new();
        assert_eq!(source.poll(5, &mut out).unwrap(), Next::At(15));
        let origin = source.origin.unwrap().1;
        for (due, next) in [(10, Next::Now), (20, Next::Now), (30, Next::At(45))] {
            out.clear();
            assert_eq!(source.poll(40, &mut out).unwrap(), next);
            assert_eq!(out.iter().map(|primary| primary.ts_event_ns - origin).collect::<Vec<_>>(), [due; 2]);
        }
    }

    #[test]
    fn a_burst_larger_than_a_batch_is_told_in_several() {
        let gather = limits::SOURCE_BATCH_MAX as u64 + 5;
        let mut source = metronome(1, Schedule { gather, gap_ns: Some(1_000), surges: false });
        let told = told(&mut source, 1_000);
        let counts: Vec<usize> = told.iter().map(|(_, ticks)| ticks.len()).collect();
        assert_eq!(counts, [limits::SOURCE_BATCH_MAX, 5]);
    }

    #[test]
    fn a_surge_is_ten_times_as_busy_for_a_fifth_of_each_second() {
        let mut source = metronome(1, Schedule { gather: 1, gap_ns: Some(10_000_000), surges: true });
        let told = told(&mut source, 2_000_000_000);
        let counts: Vec<usize> = told.iter().map(|(_, ticks)| ticks.len()).collect();
        let second = [vec![10; 20], vec![1; 80]].concat();
        assert_eq!(counts, [second.clone(), second].concat());
    }

    #[test]
    fn trades_go_to_the_symbols_in_turns() {
        let mut source = metronome(3, Schedule { gather: 7, gap_ns: None, surges: false });
        let mut out = Vec::new();
        assert_eq!(source.poll(0, &mut out).unwrap(), Next::Now);
        assert_eq!(out.len(), limits::SOURCE_BATCH_MAX);
        let symbols: Vec<u32> = out.iter().take(7).map(|primary| primary.instrument).collect();
        assert_eq!(symbols, [0, 1, 2, 0, 1, 2, 0]);
    }
}
