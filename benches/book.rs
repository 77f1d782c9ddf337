//! Books and the deriver: what one core does a second. Each element is one call (`levels`, `orders`) or one exchange
//! event (`deriver`); goals: 20 million level updates a second near the top, 10 million order operations.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tickcast::model::{
    Catalog, Channel, ChannelSet, Deriver, Instrument, L2Book, Order, OrderBook, Primary, PrimaryKind, Side,
    primary_flags,
};

/// Calls or events in one pass over a prepared list: enough that no branch predictor learns it by heart.
const STEPS: usize = 100_000;
/// The middle of the books.
const MID: i64 = 1_000_000;

fn random() -> Pcg64Mcg {
    Pcg64Mcg::seed_from_u64(1)
}

/// A price so far behind the middle: 0 is the best.
fn behind(side: Side, distance: i64) -> i64 {
    match side {
        Side::Bid => MID - 1 - distance,
        Side::Ask => MID + 1 + distance,
    }
}

fn side(random: &mut Pcg64Mcg) -> Side {
    if random.random() { Side::Bid } else { Side::Ask }
}

/// How far behind the best price activity is in real books: half of it at the best, a quarter one behind, and so on.
fn near(random: &mut Pcg64Mcg) -> i64 {
    i64::from(random.random::<u32>().trailing_zeros().min(20))
}

/// A book with this many levels a side, and level updates of which every fifth removes.
fn levels(depth: i64, mut distance: impl FnMut(&mut Pcg64Mcg) -> i64) -> (L2Book, Vec<(Side, i64, i64)>) {
    let mut random = random();
    let mut book = L2Book::new();
    for at in 0..depth {
        book.set(Side::Bid, behind(Side::Bid, at), 100);
        book.set(Side::Ask, behind(Side::Ask, at), 100);
    }
    let updates = (0..STEPS).map(|_| {
        let side = side(&mut random);
        let quantity = if random.random_ratio(1, 5) { 0 } else { random.random_range(1..1_000) };
        (side, behind(side, distance(&mut random)), quantity)
    });
    let updates = updates.collect();
    (book, updates)
}

fn l2(c: &mut Criterion) {
    let mut group = c.benchmark_group("levels");
    group.throughput(Throughput::Elements(STEPS as u64));
    let cases = [
        ("near the top of 1,000", levels(1_000, near)),
        ("near the top of 100,000", levels(100_000, near)),
        ("anywhere in 10,000", levels(10_000, |random| random.random_range(0..10_000))),
        ("anywhere in 100,000", levels(100_000, |random| random.random_range(0..100_000))),
    ];
    for (name, (mut book, updates)) in cases {
        group.bench_function(name, |b| {
            b.iter(|| {
                for (side, price, quantity) in &updates {
                    black_box(book.set(*side, *price, *quantity));
                }
            });
        });
    }
    group.finish();
}

/// Adds (true) and whole cancels in equal numbers that leave a book of 10,000 resting orders as large as it was.
fn order_flow(random: &mut Pcg64Mcg) -> (Vec<Order>, Vec<(bool, Order)>) {
    let mut next_id = 0;
    let mut order = |random: &mut Pcg64Mcg| {
        let side = side(random);
        next_id += 1;
        Order {
            order_id: next_id,
            side,
            price: behind(side, near(random) * 2),
            quantity: random.random_range(1..100),
        }
    };
    let resting: Vec<Order> = (0..10_000).map(|_| order(random)).collect();
    let mut alive = resting.clone();
    let mut flow = Vec::with_capacity(STEPS);
    while flow.len() < STEPS {
        let added = order(random);
        alive.push(added);
        let gone = alive.swap_remove(random.random_range(0..alive.len()));
        flow.extend([(true, added), (false, gone)]);
    }
    (resting, flow)
}

fn l3(c: &mut Criterion) {
    let (resting, flow) = order_flow(&mut random());
    let mut opening = OrderBook::new();
    for order in resting {
        opening.add(order).expect("identifiers are unique");
    }
    let mut group = c.benchmark_group("orders");
    group.throughput(Throughput::Elements(STEPS as u64));
    group.bench_function("add and cancel among 10,000", |b| {
        b.iter_batched_ref(
            || opening.clone(),
            |book| {
                for (add, order) in &flow {
                    if *add {
                        let _ = black_box(book.add(*order));
                    } else {
                        let _ = black_box(book.reduce(order.order_id, order.quantity));
                    }
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn deriver(c: &mut Criterion) {
    let instrument = Instrument {
        symbol: "BENCH".into(),
        price_exponent: -2,
        quantity_exponent: 0,
        tick_size: 1,
        lot_size: 1,
        channels: ChannelSet::of(&Channel::ALL),
        book_depth: 0,
        source_id: 0,
    };
    let catalog = Arc::new(Catalog::new(vec![instrument]).expect("one plain instrument"));
    let (resting, flow) = order_flow(&mut random());
    let primary = |kind, order: &Order| Primary {
        order_id: order.order_id,
        side: order.side as u8,
        price: order.price,
        quantity: order.quantity,
        flags: primary_flags::LAST,
        ..Primary::new(kind, 0, 1)
    };
    let opening: Vec<Primary> = resting.iter().map(|order| primary(PrimaryKind::Add, order)).collect();
    // Every tenth departure is a trade: the trade and the execution are one event.
    let mut primaries = Vec::with_capacity(STEPS + STEPS / 20);
    for (at, (add, order)) in flow.iter().enumerate() {
        if *add {
            primaries.push(primary(PrimaryKind::Add, order));
        } else if at % 20 == 19 {
            primaries.push(Primary { flags: 0, ..primary(PrimaryKind::Trade, order) });
            primaries.push(primary(PrimaryKind::Execute, order));
        } else {
            primaries.push(primary(PrimaryKind::Cancel, order));
        }
    }
    let mut group = c.benchmark_group("deriver");
    group.throughput(Throughput::Elements(STEPS as u64));
    group.bench_function("events among 10,000 orders", |b| {
        b.iter_batched_ref(
            || {
                let (mut deriver, mut out) = (Deriver::new(catalog.clone()), Vec::new());
                for primary in &opening {
                    deriver.apply(primary, &mut out).expect("a kind and an instrument that exist");
                }
                out.clear();
                (deriver, out)
            },
            |(deriver, out)| {
                for primary in &primaries {
                    deriver.apply(primary, out).expect("a kind and an instrument that exist");
                    // A publisher hands on what there is every now and then.
                    if out.len() > 1_024 {
                        black_box(&out);
                        out.clear();
                    }
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = l2, l3, deriver
}
criterion_main!(benches);
