//! The simulated market as its records tell it, checked against a market kept in the simplest way there is: a list
//! of orders in the order of their arrival.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use tickcast::limits::{SIM_GATHER_NS, SOURCE_BATCH_MAX};
use tickcast::model::{ABSENT_TIME, Deriver, Primary, PrimaryKind, Side, Status, primary_flags};
use tickcast::sim::{InstrumentProfile, Rate, START_NS, Simulation, SimulationSettings, profiles};
use tickcast::source::{Next, Source};

fn settings(seed: u64, symbols: usize, ticks: u64) -> SimulationSettings {
    SimulationSettings { seed, instruments: profiles(symbols), rate: Rate::Max, ticks: Some(ticks) }
}

/// Polls a simulation to its end. `clock` says from the time and the answer when it is asked next.
fn run(
    settings: SimulationSettings,
    mut clock: impl FnMut(u64, Next) -> u64,
    mut each: impl FnMut(&[Primary]),
) {
    let mut simulation = Simulation::new(settings).unwrap();
    let mut now_ns = 0;
    loop {
        let mut out = Vec::new();
        let next = simulation.poll(now_ns, &mut out).unwrap();
        assert!(out.len() < SOURCE_BATCH_MAX + 3_001, "a batch is bounded: {}", out.len());
        assert!(out.last().is_none_or(Primary::is_last), "a batch holds whole events");
        each(&out);
        if next == Next::Ended {
            return;
        }
        now_ns = clock(now_ns, next);
    }
}

fn primaries(settings: SimulationSettings, clock: impl FnMut(u64, Next) -> u64) -> Vec<Primary> {
    let mut all = Vec::new();
    run(settings, clock, |batch| all.extend_from_slice(batch));
    all
}

/// Waits exactly as long as it is told to.
fn patient(now_ns: u64, next: Next) -> u64 {
    match next {
        Next::At(due_ns) => {
            assert!(due_ns > now_ns);
            due_ns
        }
        _ => now_ns,
    }
}

/// Splits records into exchange events.
fn events(records: &[Primary]) -> impl Iterator<Item = &[Primary]> {
    records.split_inclusive(Primary::is_last)
}

#[derive(Clone, Copy)]
struct Resting {
    order_id: u64,
    side: Side,
    price: i64,
    quantity: i64,
}

/// One instrument, kept the naive way.
struct Naive {
    profile: InstrumentProfile,
    /// In the order of arrival.
    orders: Vec<Resting>,
    status: Status,
    last_order_id: u64,
    last_trade_id: u64,
    added: i64,
    cancelled: i64,
    executed: i64,
}

impl Naive {
    fn new(profile: InstrumentProfile) -> Naive {
        Naive {
            profile,
            orders: Vec::new(),
            status: Status::Closed,
            last_order_id: 0,
            last_trade_id: 0,
            added: 0,
            cancelled: 0,
            executed: 0,
        }
    }

    /// Who must be filled next on that side: the oldest order at the best price.
    fn front(&self, side: Side) -> Option<Resting> {
        let better = |a: i64, b: i64| if side == Side::Bid { a > b } else { a < b };
        let orders = self.orders.iter().filter(|order| order.side == side);
        orders.copied().reduce(|first, order| if better(order.price, first.price) { order } else { first })
    }

    fn event(&mut self, records: &[Primary]) {
        let mut rest = records;
        let opening = records[0].flags & primary_flags::SNAPSHOT != 0;
        let reopening =
            self.status == Status::Auction && records.last().unwrap().level == Status::Trading as u8;
        while let Some((record, after)) = rest.split_first() {
            rest = after;
            let kind = record.kind().unwrap();
            if kind == PrimaryKind::Status {
                self.turn(Status::from_number(record.level).unwrap());
                continue;
            }
            self.check_numbers(record);
            match kind {
                PrimaryKind::Add => {
                    assert!(opening || matches!(self.status, Status::Trading | Status::Auction));
                    self.add(record);
                }
                PrimaryKind::Cancel => {
                    self.reduce(record);
                    self.cancelled += record.quantity;
                }
                PrimaryKind::Trade if reopening => {
                    let (fills, after) = rest.split_at(2);
                    rest = after;
                    self.auction_trade(record, [fills[0], fills[1]]);
                }
                PrimaryKind::Trade => {
                    assert_eq!(self.status, Status::Trading);
                    let (fill, after) = rest.split_first().unwrap();
                    rest = after;
                    self.trade(record, fill);
                }
                kind => panic!("{kind:?} is not told on its own"),
            }
        }
        self.settle(records);
    }

    fn turn(&mut self, status: Status) {
        let before = match status {
            Status::Trading => [Status::Auction, Status::Closed],
            Status::Halted => [Status::Trading; 2],
            Status::Auction => [Status::Halted; 2],
            Status::Closed => panic!("never closed"),
        };
        assert!(before.contains(&self.status), "{:?} then {status:?}", self.status);
        self.status = status;
    }

    fn check_numbers(&self, record: &Primary) {
        let InstrumentProfile { tick_size, lot_size, .. } = self.profile;
        assert!(record.price > 0 && record.price % tick_size == 0, "{record:?}");
        assert!(record.quantity > 0 && record.quantity % lot_size == 0, "{record:?}");
    }

    fn add(&mut self, record: &Primary) {
        assert!(record.order_id > self.last_order_id, "identifiers are never used twice");
        self.last_order_id = record.order_id;
        let side = record.side().unwrap();
        if self.status == Status::Trading {
            let crosses = self.front(side.opposite()).is_some_and(|best| match side {
                Side::Bid => best.price <= record.price,
                Side::Ask => best.price >= record.price,
            });
            assert!(!crosses, "{record:?}");
        }
        self.orders.push(Resting {
            order_id: record.order_id,
            side,
            price: record.price,
            quantity: record.quantity,
        });
        self.added += record.quantity;
    }

    fn trade(&mut self, trade: &Primary, fill: &Primary) {
        self.check_trade_id(trade);
        let aggressor = trade.side().unwrap();
        let best = self.front(aggressor.opposite()).unwrap();
        assert_eq!(trade.price, best.price, "at the best opposite price standing just before it");
        self.check_fill(fill, aggressor.opposite(), trade.quantity);
    }

    fn auction_trade(&mut self, trade: &Primary, fills: [Primary; 2]) {
        self.check_trade_id(trade);
        assert_eq!(trade.side, 0);
        assert!(
            fills[0].price >= trade.price && fills[1].price <= trade.price,
            "nobody trades beyond his limit"
        );
        for (fill, side) in fills.iter().zip([Side::Bid, Side::Ask]) {
            self.check_fill(fill, side, trade.quantity);
        }
    }

    fn check_trade_id(&mut self, trade: &Primary) {
        assert_eq!(trade.order_id, self.last_trade_id + 1);
        self.last_trade_id += 1;
    }

    fn check_fill(&mut self, fill: &Primary, side: Side, quantity: i64) {
        assert_eq!(fill.kind(), Some(PrimaryKind::Execute));
        let first = self.front(side).unwrap();
        let (id, price) = (first.order_id, first.price);
        assert_eq!((fill.order_id, fill.price, fill.side()), (id, price, Some(side)), "first in, first out");
        assert_eq!(fill.quantity, quantity);
        self.reduce(fill);
        self.executed += quantity;
    }

    fn reduce(&mut self, record: &Primary) {
        let position = self.orders.iter().position(|order| order.order_id == record.order_id).unwrap();
        let order = &mut self.orders[position];
        assert_eq!((record.side(), record.price), (Some(order.side), order.price));
        order.quantity -= record.quantity;
        assert!(order.quantity >= 0);
        if order.quantity == 0 {
            self.orders.remove(position);
        }
    }

    /// What must hold after every event.
    fn settle(&self, records: &[Primary]) {
        let resting: i64 = self.orders.iter().map(|order| order.quantity).sum();
        assert_eq!(self.added, self.cancelled + self.executed + resting, "quantity is conserved");
        assert!(self.orders.len() <= 2 * self.profile.orders as usize);
        if self.status == Status::Trading {
            let quote = (self.front(Side::Bid), self.front(Side::Ask));
            if let (Some(bid), Some(ask)) = quote {
                assert!(bid.price < ask.price, "crossed or locked after {records:?}");
            }
        }
        let auctioned: Vec<i64> =
            records.iter().filter(|r| is_trade(r) && r.side == 0).map(|r| r.price).collect();
        assert!(auctioned.windows(2).all(|pair| pair[0] == pair[1]), "an auction has one price");
    }
}

fn is_trade(record: &Primary) -> bool {
    record.kind() == Some(PrimaryKind::Trade)
}

/// Checks a whole run; returns how often each kind of event occurred, by the kind of its last record and the status
/// that it tells.
fn check(settings: SimulationSettings) -> BTreeMap<(u8, u8), u64> {
    let mut markets: Vec<Naive> = settings.instruments.iter().cloned().map(Naive::new).collect();
    let (symbols, ticks) = (markets.len() as u64, settings.ticks.unwrap());
    let (mut seen, mut last_ns) = (BTreeMap::new(), START_NS);
    run(settings, patient, |batch| {
        for records in events(batch) {
            let first = records[0];
            for record in records {
                assert_eq!((record.instrument, record.ts_event_ns), (first.instrument, first.ts_event_ns));
                assert_eq!(record.ts_recv_ns, ABSENT_TIME);
            }
            assert!(first.ts_event_ns >= last_ns);
            last_ns = first.ts_event_ns;
            markets[first.instrument as usize].event(records);
            let last = records.last().unwrap();
            *seen.entry((last.kind, last.level)).or_default() += 1;
        }
    });
    assert_eq!(seen.values().sum::<u64>(), symbols + ticks, "an opening each, then the ticks asked for");
    seen
}

#[test]
fn the_rules_of_a_market_hold_and_everything_happens() {
    let mut seen = BTreeMap::new();
    for seed in [1, 2, 3] {
        for (kind, count) in check(settings(seed, 20, 200_000)) {
            *seen.entry(kind).or_insert(0) += count;
        }
    }
    let count = |kind: PrimaryKind, status: u8| seen.get(&(kind as u8, status)).copied().unwrap_or(0);
    for (kind, least) in
        [(PrimaryKind::Add, 250_000), (PrimaryKind::Cancel, 200_000), (PrimaryKind::Execute, 30_000)]
    {
        assert!(count(kind, 0) > least, "{kind:?}: {seen:?}");
    }
    // An opening ends with an order, so that `Trading` is a reopening.
    for status in [Status::Halted, Status::Auction, Status::Trading] {
        assert!(count(PrimaryKind::Status, status as u8) >= 1, "{status:?}: {seen:?}");
    }
}

#[test]
fn activity_falls_as_one_over_the_rank() {
    let mut ticks = [0_u64; 20];
    run(settings(4, 20, 300_000), patient, |batch| {
        events(batch).for_each(|records| ticks[records[0].instrument as usize] += 1);
    });
    // The shares are 1/rank of the first. A halt of two seconds takes some of the fifteen that this run covers.
    for (rank, count) in ticks.into_iter().enumerate() {
        let expected = 300_000_000 / 3_597 / (rank as u64 + 1);
        let about = expected * 6 / 10..expected * 13 / 10;
        assert!(about.contains(&count), "rank {rank}: {count}, expected about {expected}");
    }
}

#[test]
fn trades_cluster() {
    const WINDOW: usize = 64;
    let mut counts: Vec<u64> = Vec::new();
    let mut seen = 0;
    run(settings(5, 1, 200_000), patient, |batch| {
        for records in events(batch) {
            if seen % WINDOW == 0 {
                counts.push(0);
            }
            seen += 1;
            // An aggressive order counts once, however many it fills.
            *counts.last_mut().unwrap() += u64::from(records.iter().any(|r| is_trade(r) && r.side != 0));
        }
    });
    let (n, sum) = (counts.len() as u64, counts.iter().sum::<u64>());
    let squares: u64 = counts.iter().map(|count| count * count).sum();
    // Of independent arrivals the variance is below the mean; here it is at least twice the mean.
    let variance_n2 = n * squares - sum * sum;
    assert!(variance_n2 > 2 * sum * n, "mean {sum}/{n}, variance {variance_n2}/{n}^2");
}

#[test]
fn neither_rate_nor_batches_change_what_happens() {
    let with_rate = |rate| SimulationSettings { rate, ..settings(6, 5, 20_000) };
    let reference = primaries(with_rate(Rate::Max), patient);
    let paced =
        |rate, clock: &mut dyn FnMut(u64, Next) -> u64| primaries(with_rate(Rate::PerSecond(rate)), clock);
    assert!(paced(20_000, &mut patient) == reference);
    assert!(paced(7, &mut patient) == reference);
    assert!(paced(999_999_937, &mut patient) == reference);
    let mut step = 1_u64;
    let mut restless = |now_ns: u64, _| {
        step = step * 48_271 % 0x7FFF_FFFF;
        now_ns + step
    };
    assert!(paced(10_000, &mut restless) == reference, "asked too early and too late, slips included");
}

#[test]
fn the_rate_is_kept_on_an_absolute_schedule() {
    let settings = SimulationSettings { rate: Rate::PerSecond(3_000), ..settings(7, 3, 30_000) };
    let (mut ticks, mut now_ns) = (0_u64, 0);
    let mut simulation = Simulation::new(settings).unwrap();
    loop {
        let mut out = Vec::new();
        let next = simulation.poll(now_ns, &mut out).unwrap();
        ticks += events(&out).filter(|event| event[0].flags & primary_flags::SNAPSHOT == 0).count() as u64;
        match next {
            Next::Ended => break,
            Next::At(due_ns) => {
                let schedule_ns = ticks * 1_000_000_000 / 3_000;
                assert!(schedule_ns > now_ns, "all that was due was said");
                assert_eq!(due_ns, schedule_ns.max(now_ns + SIM_GATHER_NS), "and handfuls are gathered");
                now_ns = due_ns + 70_001;
            }
            _ => {}
        }
    }
    assert_eq!(ticks, 30_000);
}

#[test]
fn impossible_settings_are_refused_with_what_is_allowed() {
    let refusal = |settings| Simulation::new(settings).unwrap_err().to_string();
    let good = || settings(1, 2, 1);
    let zero = SimulationSettings { rate: Rate::PerSecond(0), ..good() };
    assert_eq!(refusal(zero), "rate is 0 ticks per second; allowed: 1 to 1000000000, or max");
    let none = SimulationSettings { instruments: Vec::new(), ..good() };
    assert_eq!(refusal(none), "instruments: none; allowed: 1 to 100000");
    let mut odd = good();
    odd.instruments[0].orders = 3;
    odd.instruments[1].price = -5;
    assert_eq!(
        refusal(odd),
        "BTC-USD: orders is 3; allowed: 16 to 500\n\
         ETH-USD: price is -0.05; allowed: a multiple of 0.01 from 1 to 10000000"
    );
    let mut twice = good();
    twice.instruments[1].symbol = "BTC-USD".into();
    assert!(refusal(twice).contains("listed twice"));
}

/// The digest of `tests/data/sim_digest.txt`: one history, the same in every build and on every machine.
#[test]
fn the_golden_digest_is_met() {
    let golden = include_str!("data/sim_digest.txt");
    let value = |key: &str| -> u64 {
        let line = golden.lines().find_map(|line| line.strip_prefix(&format!("{key} = "))).unwrap();
        line.parse().unwrap()
    };
    let settings = settings(value("seed"), value("symbols") as usize, value("ticks"));
    let mut deriver = Deriver::new(Arc::clone(&Simulation::new(settings.clone()).unwrap().catalog()));
    let (mut crc, mut count, mut records, mut out) = (0, 0, 0, Vec::new());
    run(settings, patient, |batch| {
        for primary in batch {
            deriver.apply(primary, &mut out).unwrap();
        }
        records += batch.len() as u64;
        count += out.len() as u64;
        for event in out.drain(..) {
            crc = crc32c::crc32c_append(crc, &event.digest_bytes());
        }
    });
    assert_eq!(deriver.inconsistencies(), 0);
    let got = [records, count, u64::from(crc)];
    assert_eq!(got, [value("primaries"), value("events"), value("crc32c")], "primaries, events, crc32c");
}

/// A profile with anything that the checks accept.
fn any_profile(symbol: String) -> impl Strategy<Value = InstrumentProfile> {
    let sizes = (1_i64..50, 1_i64..1_000, 100_i64..5_000_000, 1_i64..1_000);
    let temper = (1_i64..2_000, 1_u32..1_000, 16_u32..=120, 0_u32..=1_000);
    (sizes, temper).prop_map(
        move |((tick_size, lot_size, ticks, spread), (lots, activity, orders, volatility))| {
            InstrumentProfile {
                symbol: symbol.clone(),
                price_exponent: -2,
                quantity_exponent: -3,
                tick_size,
                lot_size,
                price: ticks * tick_size,
                spread: spread.min(ticks / 100) * tick_size,
                quantity: lots * lot_size,
                activity,
                orders,
                volatility,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_rules_hold_for_any_seed_and_profile(seed in any::<u64>(), a in any_profile("A".into()),
        b in any_profile("B".into()), c in any_profile("C".into())) {
        let instruments = vec![a, b, c];
        check(SimulationSettings { seed, instruments, rate: Rate::Max, ticks: Some(6_000) });
    }

    #[test]
    fn a_seed_repeats_and_another_one_differs(seed in any::<u64>(), symbols in 1_usize..8) {
        let first = primaries(settings(seed, symbols, 300), patient);
        prop_assert!(first == primaries(settings(seed, symbols, 300), patient));
        prop_assert!(first != primaries(settings(!seed, symbols, 300), patient));
    }
}
