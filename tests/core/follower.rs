//! Somebody in the world who uses Tickcast's own client: what it shows must be what the oracle knows, and it comes back
//! by itself.

use std::collections::HashMap;
use std::time::Duration;

use rand::RngExt;
use rand_pcg::Pcg64;
use tickcast::client::{Disconnect, Machine, Standing, Subscription, Update};
use tickcast::model::{Body, Catalog, Channel, Period, Side};
use tickcast::shard::Protocol;

use super::counts::Counts;
use super::node::Node;
use super::oracle::{Oracle, Replica, StreamKey, best};
use super::player::Reading;
use super::requests::pick;
use super::socket::Socket;
use super::world::MILLISECOND_NS;

/// What was seen of a stream when it was looked at last.
#[derive(Clone, Copy, Debug)]
struct Seen {
    epoch: u64,
    seq: u64,
    published: u64,
    connection: u64,
    is_ready: bool,
}

pub struct Follower {
    pub machine: Machine,
    pub node: usize,
    pub session: Option<u64>,
    pub reading: Reading,
    pub capacity: usize,
    pub was_slow: bool,
    subscriptions: Vec<Subscription>,
    socket: Socket,
    /// A ping that was not answered.
    is_pinged: bool,
    /// When it connects again.
    pub returns_ns: u64,
    /// Number of the connection.
    connection: u64,
    /// What the oracle says, as far as the client has come, by epoch and stream.
    replicas: HashMap<StreamKey, (u64, Replica)>,
    seen: HashMap<StreamKey, Seen>,
    pub counts: Counts,
}

/// Subscriptions none of which names what another does, so that each is resumed.
pub fn some_subscriptions(random: &mut Pcg64) -> Vec<Subscription> {
    let mut channels = Channel::ALL.to_vec();
    let mut subscriptions = Vec::new();
    while !channels.is_empty() {
        let of: Vec<Channel> = (0..random.random_range(1..4)).filter_map(|_| channels.pop()).collect();
        let symbols = pick(random, &[&["*"][..], &["BTC*", "E*"], &["*"]]);
        subscriptions.push(Subscription {
            depth: pick(random, &[None, None, Some(5), Some(25)]),
            interval_ms: pick(random, &[0, 0, 0, 100, 1_000]),
            period: pick(random, &[None, Some(Period::Second), Some(Period::Hour)]),
            conflate_never: random.random_range(0..20) == 0,
            progress: pick(random, &[None, None, Some(Duration::from_millis(200))]),
            ..Subscription::new(symbols.iter().copied(), &of)
        });
        if random.random_range(0..3) == 0 {
            break;
        }
    }
    subscriptions
}

impl Follower {
    pub fn new(subscriptions: Vec<Subscription>) -> Follower {
        Follower {
            machine: Machine::new(subscriptions.clone()),
            node: 0,
            session: None,
            reading: Reading::All,
            capacity: usize::MAX,
            was_slow: false,
            subscriptions,
            socket: Socket::new(Protocol::Binary.into()),
            is_pinged: false,
            returns_ns: 0,
            connection: 0,
            replicas: HashMap::new(),
            seen: HashMap::new(),
            counts: Counts::default(),
        }
    }

    pub fn connect(&mut self, at: usize, node: &mut Node, now_ns: u64) {
        self.node = at;
        self.connection += 1;
        self.counts.machine_connections += 1;
        self.session = Some(node.open(Protocol::Binary.into(), self.capacity, now_ns));
        self.machine.connected(now_ns);
    }

    /// The connection breaks; it comes back after a while.
    pub fn disconnect(&mut self, node: &mut Node, returns_ns: u64) {
        let Some(session) = self.session.take() else { return };
        node.remove(session);
        self.socket = Socket::new(Protocol::Binary.into());
        self.machine.disconnected();
        self.returns_ns = returns_ns;
    }

    /// From now on it takes everything.
    pub fn reads_all(&mut self) {
        (self.reading, self.capacity) = (Reading::All, usize::MAX);
    }

    /// Reads, answers and asks.
    pub fn play(
        &mut self,
        node: &mut Node,
        oracle: &Oracle,
        catalog: &Catalog,
        random: &mut Pcg64,
        now_ns: u64,
    ) {
        let Some(session) = self.session else { return };
        let mut budget = match self.reading {
            Reading::All => usize::MAX,
            Reading::Crawls(bytes) => bytes,
            Reading::Stalls => 0,
        };
        loop {
            let line = node.lines.get_mut(&session).unwrap();
            let waits = line.kernel.len().min(budget);
            let take = if waits == 0 { 0 } else { random.random_range(1..waits + 1) };
            let bytes: Vec<u8> = line.kernel.drain(..take).collect();
            budget -= take;
            let goes_on = self.read(&bytes, oracle, catalog, now_ns).and_then(|()| self.machine.wake(now_ns));
            if let Err(why) = goes_on {
                let is_fair = match &why {
                    Disconnect::Closed { code, .. } => {
                        *code == Some(4008) && (self.was_slow || node.is_small())
                    }
                    Disconnect::Silent(_) => self.was_slow || node.core.is_blocked(),
                    _ => false,
                };
                assert!(is_fair, "{why}");
                let returns_ns = now_ns + random.random_range(0..3_000) * MILLISECOND_NS;
                return self.disconnect(node, returns_ns);
            }
            node.writable(session, now_ns);
            if node.lines[&session].is_open {
                if std::mem::take(&mut self.is_pinged) {
                    node.pong(session);
                }
                while self.machine.has_request() && node.reads(session) {
                    let request = self.machine.request().unwrap();
                    node.request(session, &request, now_ns);
                }
            }
            let line = &node.lines[&session];
            if !line.is_open && line.kernel.is_empty() {
                return self.disconnect(node, now_ns);
            }
            if line.kernel.is_empty() || budget == 0 {
                return self.look(catalog);
            }
        }
    }

    /// Hands whole messages in.
    fn read(
        &mut self,
        bytes: &[u8],
        oracle: &Oracle,
        catalog: &Catalog,
        now_ns: u64,
    ) -> Result<(), Disconnect> {
        for (opcode, payload) in self.socket.take(bytes) {
            let payload = &payload[..];
            match opcode {
                1 => self.machine.text(payload, now_ns)?,
                2 => self.machine.binary(payload, now_ns)?,
                9 => self.is_pinged = true,
                8 => {
                    let code = Some(u16::from_be_bytes([payload[0], payload[1]]));
                    let reason = String::from_utf8(payload[2..].to_vec()).unwrap();
                    return Err(Disconnect::Closed { code, reason });
                }
                _ => {}
            }
            while let Some(update) = self.machine.update() {
                self.counts.machine_updates += 1;
                self.updated(&update, oracle, catalog);
            }
        }
        Ok(())
    }

    /// What the oracle says of a stream at a sequence.
    fn replica(&mut self, key: StreamKey, epoch: u64, seq: u64, oracle: &Oracle) -> &Replica {
        let (of, replica) = self.replicas.entry(key).or_default();
        if *of != epoch || replica.seq > seq {
            (*of, *replica) = (epoch, Replica::default());
        }
        replica.advance(oracle, epoch, key, seq);
        replica
    }

    /// What an update says, and what is then held, is what the oracle knows of its sequence.
    fn updated(&mut self, update: &Update, oracle: &Oracle, catalog: &Catalog) {
        let of = |symbol: &str, channel| (catalog.find(symbol).unwrap(), channel);
        let said = |machine: &Machine, key: StreamKey, seq: u64| {
            let symbol = &catalog.instruments()[key.0 as usize].symbol;
            let standing = machine.standings().find(|it| it.symbol == symbol && it.channel == key.1).unwrap();
            (seq > 0).then(|| oracle.event(standing.epoch, key, seq).body())
        };
        match update {
            Update::Quote { listing, meta, quote } => {
                let said = said(&self.machine, of(&listing.symbol, Channel::Quotes), meta.last_seq);
                assert!(said.is_none_or(|said| said == Body::Quote(*quote)), "{update:?}: {said:?}");
            }
            Update::Trade { listing, meta, trade } => {
                let said = said(&self.machine, of(&listing.symbol, Channel::Trades), meta.last_seq);
                assert_eq!(said, Some(Body::Trade(*trade)));
            }
            Update::Ticker { listing, meta, ticker } => {
                let said = said(&self.machine, of(&listing.symbol, Channel::Ticker), meta.last_seq);
                assert!(said.is_none_or(|said| said == Body::Ticker(*ticker)), "{update:?}: {said:?}");
            }
            Update::Status { listing, meta, status } => {
                let said = said(&self.machine, of(&listing.symbol, Channel::Status), meta.last_seq);
                assert!(said.is_none_or(|said| said == Body::Status(*status)), "{update:?}: {said:?}");
            }
            Update::Book { listing, .. } => self.has_the_book(&listing.symbol, oracle, catalog),
            Update::Order { listing, .. } | Update::Orders { listing, .. } => {
                self.has_the_orders(&listing.symbol, oracle, catalog);
            }
            Update::Bar { listing, meta, bar } => {
                let key = of(&listing.symbol, Channel::Bars);
                let epoch = self.standing(&listing.symbol, Channel::Bars).unwrap().epoch;
                let replica = self.replica(key, epoch, meta.last_seq, oracle);
                assert_eq!(replica.bars.shown(bar.period), Some(*bar), "{update:?}");
            }
            Update::Gap { declared, .. } => {
                self.counts.machine_gaps += 1;
                assert!(declared, "{update:?}");
            }
            Update::Mismatch { .. } | Update::OrderMismatch { .. } => panic!("{update:?}"),
            Update::Refused { code, .. } => assert_eq!(code, "unknown_symbol", "{update:?}"),
            _ => {}
        }
    }

    fn standing(&self, symbol: &str, channel: Channel) -> Option<Standing<'_>> {
        self.machine.standings().find(|it| it.symbol == symbol && it.channel == channel)
    }

    fn has_the_book(&mut self, symbol: &str, oracle: &Oracle, catalog: &Catalog) {
        let Some(view) = self.machine.book(symbol) else { return };
        let (epoch, seq, depth) = (view.epoch, view.seq, view.depth);
        let held = [Side::Bid, Side::Ask].map(|side| view.book.levels(side).collect::<Vec<_>>());
        let key = (catalog.find(symbol).unwrap(), Channel::Book);
        let replica = self.replica(key, epoch, seq, oracle);
        let is = [Side::Bid, Side::Ask].map(|side| best(&replica.levels, side, depth));
        assert_eq!(held, is, "the book of {symbol} at {seq}");
        self.counts.states_compared += 1;
    }

    fn has_the_orders(&mut self, symbol: &str, oracle: &Oracle, catalog: &Catalog) {
        let Some(view) = self.machine.orders(symbol).filter(|view| !view.stale) else { return };
        let (epoch, seq) = (view.epoch, view.seq);
        let held: Vec<_> =
            [Side::Bid, Side::Ask].into_iter().flat_map(|side| view.orders.orders(side)).collect();
        let key = (catalog.find(symbol).unwrap(), Channel::Orders);
        let is: Vec<_> = self.replica(key, epoch, seq, oracle).orders.iter().collect();
        // A clear of a client that was slow empties them until the snapshot behind it.
        assert!(held == is || held.is_empty(), "the orders of {symbol} at {seq}: {held:?} is not {is:?}");
        self.counts.states_compared += 1;
    }

    /// Sequences and ledger of each stream have gone on together.
    fn look(&mut self, catalog: &Catalog) {
        for standing in self.machine.standings() {
            let key = (catalog.find(standing.symbol).unwrap(), standing.channel);
            let Standing { epoch, seq, ledger, .. } = standing;
            assert_eq!((ledger.undeclared, ledger.mismatches), (0, 0), "{standing:?}");
            let published = ledger.published();
            let now = Seen { epoch, seq, published, connection: self.connection, is_ready: standing.ready };
            let Some(before) = self.seen.insert(key, now) else { continue };
            if before.epoch != epoch || seq < before.seq {
                continue;
            }
            let (told, went) = (published - before.published, seq - before.seq);
            let is_whole = standing.depth.is_none() && standing.interval_ms == 0;
            assert!(told <= went, "{told} of {went} sequences are counted: {standing:?} {before:?}");
            if before.connection == self.connection && before.is_ready && before.seq > 0 && is_whole {
                self.counts.machine_ledgers += 1;
                assert_eq!(told, went, "counted and gone: {standing:?} {before:?}");
            }
        }
    }

    /// Whether it has been told all that was to be told it.
    pub fn is_quiet(&self) -> bool {
        self.session.is_some()
            && !self.machine.has_request()
            && self.machine.standings().all(|standing| !standing.granted || standing.ready)
    }

    /// Every stream holds what was published last.
    pub fn holds_the_present(&mut self, oracle: &Oracle, catalog: &Catalog) {
        for (number, instrument) in catalog.iter() {
            let symbol = &instrument.symbol;
            self.has_the_book(symbol, oracle, catalog);
            self.has_the_orders(symbol, oracle, catalog);
            let epoch = oracle.epoch(number);
            let last = |channel| {
                let key = (number, channel);
                let seq = oracle.last(epoch, key);
                (seq > 0).then(|| oracle.event(epoch, key, seq).body())
            };
            if let (Some(quote), Some(last)) = (self.machine.quote(symbol), last(Channel::Quotes)) {
                assert_eq!(Body::Quote(quote), last, "{symbol}");
            }
            if let (Some(ticker), Some(last)) = (self.machine.ticker(symbol), last(Channel::Ticker)) {
                assert_eq!(Body::Ticker(ticker), last, "{symbol}");
            }
            if let (Some(status), Some(last)) = (self.machine.status(symbol), last(Channel::Status)) {
                assert_eq!(Body::Status(status), last, "{symbol}");
            }
            let bars = Replica::at(
                oracle,
                epoch,
                (number, Channel::Bars),
                oracle.last(epoch, (number, Channel::Bars)),
            );
            for period in Period::ALL {
                let bar = self.machine.bar(symbol, period);
                let is = bars.bars.shown(period);
                assert!(bar.is_none() || is.is_none() || bar == is, "{symbol}: {bar:?} is not {is:?}");
            }
        }
        for standing in self.machine.standings() {
            let key = (catalog.find(standing.symbol).unwrap(), standing.channel);
            let last = oracle.last(oracle.epoch(key.0), key);
            assert_eq!(standing.epoch, oracle.epoch(key.0), "{standing:?}");
            // After a declared gap what is held is old until the next message, and none may come.
            let is_fresh = !standing.stale || standing.ledger.lost > 0;
            assert!(standing.granted && standing.ready && is_fresh, "{standing:?}");
            let leaves_out = standing.depth.is_some() || key.1 == Channel::Bars;
            assert!(standing.seq == last || (leaves_out && standing.seq < last), "{standing:?} of {last}");
        }
        let granted = self.machine.standings().count();
        assert!(granted > 0 || self.subscriptions.is_empty());
    }
}
