//! What is traded: random primaries of a few instruments at few prices, so that books are dense and everything collides,
//! and the records that the deriver makes of them.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tickcast::model::{
    Catalog, Channel, ChannelSet, Deriver, Event, Instrument, Primary, PrimaryKind, ResetReason, Side,
    primary_flags,
};

const MILLISECOND_NS: u64 = 1_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// Orders that rest in one book at the most, bulk apart.
const RESTING_MAX: usize = 40;

/// What a source can tell of an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Each order.
    Orders,
    /// Levels.
    Levels,
    /// Its best levels, restated.
    Tops,
    /// Trades alone.
    Trades,
}

#[derive(Clone, Copy, Debug)]
struct Resting {
    id: u64,
    side: Side,
    price: i64,
    quantity: i64,
}

pub struct Market {
    random: Pcg64,
    pub catalog: Arc<Catalog>,
    pub deriver: Deriver,
    kinds: Vec<Kind>,
    resting: Vec<Vec<Resting>>,
    next_id: u64,
    /// Event time.
    ts_ns: u64,
    /// How fast event time passes: at most so much between two exchange events, mostly.
    stride_ns: u64,
    /// The publish stamp: it only counts.
    sent_ns: u64,
}

const TOPS_DEPTH: u16 = 5;

fn instrument(symbol: &str, channels: &[Channel], book_depth: u16, n: usize) -> Instrument {
    Instrument {
        symbol: symbol.to_owned(),
        price_exponent: [-2, 0, -5, 1][n % 4],
        quantity_exponent: [-8, 0, -3][n % 3],
        tick_size: 1,
        lot_size: 1,
        channels: ChannelSet::of(channels),
        book_depth,
        source_id: 0,
    }
}

impl Market {
    /// One instrument of each kind and a second with orders.
    pub fn new(seed: u64) -> Market {
        use Channel::{Bars, Book, Quotes, Status, Ticker, Trades};
        let levels = [Quotes, Trades, Book, Ticker, Bars, Status];
        let listed = [
            (Kind::Orders, "BTC-USD", &Channel::ALL[..], 0),
            (Kind::Orders, "ETH-USD", &Channel::ALL[..], 0),
            (Kind::Levels, "EUR-USD", &levels[..], 0),
            (Kind::Tops, "ESH4", &levels[..], TOPS_DEPTH),
            (Kind::Trades, "NEWS", &[Trades, Bars, Status][..], 0),
        ];
        let instruments = listed.iter().enumerate();
        let instruments =
            instruments.map(|(n, (_, name, channels, depth))| instrument(name, channels, *depth, n));
        Market::of(seed, instruments.collect(), listed.iter().map(|it| it.0).collect())
    }

    /// That many instruments of which each order is told.
    pub fn uniform(seed: u64, instruments: usize) -> Market {
        let names = ["BTC-USD", "ETH-USD", "AAPL", "ESH4"];
        let name = |n: usize| names.get(n).map_or_else(|| format!("S{n}"), |name| (*name).to_owned());
        let instruments =
            (0..instruments).map(|n| instrument(&name(n), &Channel::ALL, 0, n)).collect::<Vec<_>>();
        let kinds = vec![Kind::Orders; instruments.len()];
        Market::of(seed, instruments, kinds)
    }

    fn of(seed: u64, instruments: Vec<Instrument>, kinds: Vec<Kind>) -> Market {
        let catalog = Arc::new(Catalog::new(instruments).unwrap());
        let mut random = Pcg64::seed_from_u64(seed ^ 0x6d61_726b_6574);
        let stride_ns = [MILLISECOND_NS, 100 * MILLISECOND_NS, 2 * SECOND_NS, 90 * SECOND_NS];
        Market {
            deriver: Deriver::new(catalog.clone()),
            resting: vec![Vec::new(); kinds.len()],
            kinds,
            catalog,
            next_id: 1,
            ts_ns: 1_700_000_000 * SECOND_NS,
            stride_ns: stride_ns[random.random_range(0..stride_ns.len())],
            sent_ns: 1_000,
            random,
        }
    }

    /// One exchange event of some instrument.
    pub fn tick(&mut self, out: &mut Vec<Event>) {
        let instrument = self.random.random_range(0..self.kinds.len());
        self.pass();
        let primaries = match self.kinds[instrument] {
            Kind::Orders => self.order_event(instrument),
            Kind::Levels => self.level_event(instrument),
            Kind::Tops => self.tops_event(instrument),
            Kind::Trades => vec![self.trade(instrument)],
        };
        self.derive(primaries, out);
    }

    /// So many trades in a row, each an exchange event, of the last instrument.
    pub fn trades(&mut self, count: usize, out: &mut Vec<Event>) {
        for _ in 0..count {
            self.pass();
            let trade = self.trade(self.kinds.len() - 1);
            self.derive(vec![trade], out);
        }
    }

    /// An exchange event of the first instrument that is longer than one may be, and makes its book deep.
    pub fn bulk(&mut self, orders: usize, out: &mut Vec<Event>) {
        let side = self.side();
        let adds = (0..orders as i64).map(|n| {
            let price = if side == Side::Bid { 80 - n } else { 120 + n };
            self.next_id += 1;
            let id = self.next_id;
            self.primary(PrimaryKind::Add, 0, id, Some(side), price, 1 + n % 7)
        });
        let adds = adds.collect::<Vec<_>>();
        self.derive(adds, out);
    }

    /// History ends.
    pub fn reset(&mut self, epoch: u64, reason: ResetReason, out: &mut Vec<Event>) {
        self.deriver.reset(epoch, reason, self.ts_ns, out);
        self.resting.iter_mut().for_each(Vec::clear);
    }

    fn derive(&mut self, mut primaries: Vec<Primary>, out: &mut Vec<Event>) {
        if let Some(last) = primaries.last_mut() {
            last.flags |= primary_flags::LAST;
        }
        let before = out.len();
        for primary in &primaries {
            self.deriver.apply(primary, out).unwrap();
        }
        for event in &mut out[before..] {
            self.sent_ns += 1;
            event.sent_ns = self.sent_ns;
        }
    }

    fn pass(&mut self) {
        self.ts_ns += match self.random.random_range(0..200) {
            0 => 3_600 * SECOND_NS,
            1 => 60 * SECOND_NS,
            2..10 => SECOND_NS,
            _ => self.random.random_range(0..self.stride_ns),
        };
    }

    fn side(&mut self) -> Side {
        if self.random.random() { Side::Bid } else { Side::Ask }
    }

    fn primary(
        &self,
        kind: PrimaryKind,
        instrument: usize,
        order_id: u64,
        side: Option<Side>,
        price: i64,
        quantity: i64,
    ) -> Primary {
        Primary {
            order_id,
            side: side.map_or(0, |side| side as u8),
            price,
            quantity,
            ..Primary::new(kind, instrument as u32, self.ts_ns)
        }
    }

    fn price(&mut self, side: Side) -> i64 {
        let away = self.random.random_range(-1..30);
        if side == Side::Bid { 99 - away } else { 101 + away }
    }

    fn trade(&mut self, instrument: usize) -> Primary {
        let side = [None, Some(Side::Bid), Some(Side::Ask)][self.random.random_range(0..3)];
        let (price, quantity) = (self.random.random_range(90..110), self.random.random_range(1..9));
        let id = if self.random.random_range(0..4) == 0 { 0 } else { self.next_id };
        self.primary(PrimaryKind::Trade, instrument, id, side, price, quantity)
    }

    /// What is rare in every market.
    fn rare(&mut self, instrument: usize) -> Primary {
        match self.random.random_range(0..4) {
            0 => {
                self.resting[instrument].clear();
                self.primary(PrimaryKind::Clear, instrument, 0, None, 0, 0)
            }
            1 => self.primary(PrimaryKind::Cancel, instrument, u64::MAX, None, 0, 1),
            _ => {
                let status = self.random.random_range(1..5);
                let primary = self.primary(PrimaryKind::Status, instrument, 0, None, 0, 0);
                Primary { level: status, ..primary }
            }
        }
    }

    fn order_event(&mut self, instrument: usize) -> Vec<Primary> {
        let length = [1, 1, 1, 2, 3, 8][self.random.random_range(0..6)];
        let mut primaries = Vec::new();
        for _ in 0..length {
            let resting = self.resting[instrument].len();
            let at = if resting == 0 { 0 } else { self.random.random_range(0..resting) };
            let what = if resting == 0 { 0 } else { self.random.random_range(0..100) };
            match what {
                0..45 if resting < RESTING_MAX => {
                    let side = self.side();
                    let (price, quantity) = (self.price(side), self.random.random_range(1..6));
                    self.next_id += 1;
                    let order = Resting { id: self.next_id, side, price, quantity };
                    self.resting[instrument].push(order);
                    let add =
                        self.primary(PrimaryKind::Add, instrument, order.id, Some(side), price, quantity);
                    primaries.push(add);
                }
                0..70 => primaries.push(self.leave(instrument, at, PrimaryKind::Cancel)),
                70..83 => {
                    let Resting { id, side, mut price, quantity } = self.resting[instrument][at];
                    if self.random.random() {
                        price = self.price(side);
                    }
                    let quantity = (quantity + self.random.random_range(-2..3)).max(1);
                    self.resting[instrument][at] = Resting { id, side, price, quantity };
                    primaries.push(self.primary(
                        PrimaryKind::Modify,
                        instrument,
                        id,
                        Some(side),
                        price,
                        quantity,
                    ));
                }
                83..98 => {
                    let Resting { side, price, .. } = self.resting[instrument][at];
                    let execute = self.leave(instrument, at, PrimaryKind::Execute);
                    let mut trade = self.trade(instrument);
                    (trade.price, trade.quantity, trade.side) =
                        (price, execute.quantity, side.opposite() as u8);
                    primaries.extend([trade, execute]);
                }
                _ => primaries.push(self.rare(instrument)),
            }
        }
        primaries
    }

    /// Part or all of an order leaves, sometimes more than rests.
    fn leave(&mut self, instrument: usize, at: usize, kind: PrimaryKind) -> Primary {
        let order = &mut self.resting[instrument][at];
        let quantity = self.random.random_range(1..order.quantity + 2);
        order.quantity -= quantity;
        let order = *order;
        if order.quantity <= 0 {
            self.resting[instrument].remove(at);
        }
        self.primary(kind, instrument, order.id, Some(order.side), order.price, quantity)
    }

    fn level_event(&mut self, instrument: usize) -> Vec<Primary> {
        let mut primaries = Vec::new();
        for _ in 0..self.random.random_range(1..5) {
            primaries.push(match self.random.random_range(0..40) {
                0 => self.rare(instrument),
                1..7 => self.trade(instrument),
                _ => {
                    let side = self.side();
                    let (price, quantity) = (self.price(side), self.random.random_range(0..4));
                    self.primary(PrimaryKind::Level, instrument, 0, Some(side), price, quantity)
                }
            });
        }
        primaries
    }

    fn tops_event(&mut self, instrument: usize) -> Vec<Primary> {
        let mut primaries = Vec::new();
        if self.random.random_range(0..4) == 0 {
            primaries.push(self.trade(instrument));
        }
        for side in [Side::Bid, Side::Ask] {
            let mut price = self.price(side);
            for number in 0..TOPS_DEPTH as u8 {
                let quantity = self.random.random_range(0..9);
                let top = self.primary(PrimaryKind::Top, instrument, 0, Some(side), price, quantity);
                primaries.push(Primary { level: number, count: 1, ..top });
                let step = self.random.random_range(1..4);
                price += if side == Side::Bid { -step } else { step };
            }
        }
        primaries
    }
}
