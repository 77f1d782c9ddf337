//! A shard's core, a simulated market, clients, and a kernel that takes as much as the seed says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;
use slab::Slab;
use tickcast::model::{Catalog, Deriver, Event, Level, Primary, ResetReason, Side};
use tickcast::shard::{Core, CoreSettings, Protocol, SessionId, SlowConsumer};
use tickcast::sim::{Rate, Simulation, SimulationSettings, profiles};
use tickcast::source::Source;
use tickcast::stats::ShardStats;

use super::client::Client;

/// Where every client comes from.
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

const SECOND_NS: u64 = 1_000_000_000;

pub struct World {
    random: Pcg64,
    source: Simulation,
    catalog: Arc<Catalog>,
    deriver: Deriver,
    pub core: Core,
    pub stats: Arc<CachePadded<ShardStats>>,
    clients: Slab<Client>,
    /// Primaries of the source that have not been published.
    ahead: Vec<Primary>,
    epoch: u64,
    now_ns: u64,
    /// What clients that are gone had verified.
    verified: u64,
    closed_slow: usize,
}

impl World {
    /// A world with a few clients that have subscribed to something.
    pub fn new(seed: u64, outbox_bytes: usize, slow_consumer: SlowConsumer) -> World {
        let mut world = World::empty(seed, outbox_bytes, slow_consumer);
        for _ in 0..4 {
            world.come();
        }
        world
    }

    pub fn empty(seed: u64, outbox_bytes: usize, slow_consumer: SlowConsumer) -> World {
        World::of(4, seed, outbox_bytes, slow_consumer)
    }

    /// A world of that many instruments without clients.
    pub fn of(instruments: usize, seed: u64, outbox_bytes: usize, slow_consumer: SlowConsumer) -> World {
        let settings =
            SimulationSettings { seed, instruments: profiles(instruments), rate: Rate::Max, ticks: None };
        let source = Simulation::new(settings).unwrap();
        let (catalog, stats) = (source.catalog(), Arc::<CachePadded<ShardStats>>::default());
        let epoch = 1_000;
        let core = Core::new(
            catalog.clone(),
            epoch,
            CoreSettings { outbox_bytes, outboxes_bytes: usize::MAX, ring_bytes: 0, slow_consumer },
            stats.clone(),
        );
        World {
            random: Pcg64::seed_from_u64(seed),
            deriver: Deriver::new(catalog.clone()),
            source,
            catalog,
            core,
            stats,
            clients: Slab::new(),
            ahead: Vec::new(),
            epoch,
            now_ns: 0,
            verified: 0,
            closed_slow: 0,
        }
    }

    /// Something happens.
    pub fn step(&mut self) {
        match self.random.random_range(0..20) {
            0 => self.come(),
            1 => {
                if let Some(client) = self.any() {
                    self.core.remove(client);
                    self.forget(client);
                }
            }
            2..=6 => {
                if let Some(client) = self.any() {
                    let request = self.some_request();
                    self.ask(client, &request);
                }
            }
            7 => self.pass(1),
            8..=14 => {
                let ticks = self.random.random_range(1..120);
                self.publish(ticks);
            }
            _ => {
                for client in self.everyone() {
                    let takes = [0, 1, 50, 1_000, 100_000][self.random.random_range(0..5)];
                    self.deliver(client, takes);
                }
            }
        }
        self.close_the_slow();
    }

    /// Everyone gets everything, and holds what the deriver holds.
    pub fn settle(&mut self) {
        self.deliver_all();
        for (_, client) in self.clients.iter().filter(|(_, client)| client.close_code.is_none()) {
            for (instrument, depth, sides) in client.books() {
                for side in [Side::Bid, Side::Ask] {
                    let depth = depth.unwrap_or(usize::MAX);
                    let book: Vec<Level> = self.deriver.book(instrument).levels(side).take(depth).collect();
                    assert_eq!(sides[side.index()], book, "{instrument} {side:?} at depth {depth}");
                }
            }
            for ((instrument, channel), depth, last) in client.positions() {
                let published = self.deriver.sequence(instrument, channel);
                if depth.is_none() {
                    assert_eq!(last, published, "{instrument} {channel}");
                }
                assert!(last <= published);
            }
        }
    }

    /// History ends.
    pub fn reset(&mut self) {
        self.epoch += 1;
        let mut events = Vec::new();
        self.deriver.reset(self.epoch, ResetReason::Loop, 0, &mut events);
        self.core.apply(&events);
        self.core.flush();
    }

    pub fn connect(&mut self, protocol: Protocol) -> SessionId {
        let id = self.core.open(protocol, PEER, self.now_ns, self.now_ns);
        let vacant = self.clients.vacant_key();
        self.clients.insert(Client::new(protocol));
        assert_eq!(id, vacant, "sessions are numbered as a slab numbers");
        id
    }

    pub fn ask(&mut self, client: SessionId, request: &str) {
        if !self.core.is_busy(client) && self.core.closes_within(client).is_none() {
            self.core.request(client, request, 0);
        }
    }

    pub fn publish(&mut self, ticks: usize) {
        let mut events: Vec<Event> = Vec::new();
        for _ in 0..ticks {
            loop {
                if self.ahead.is_empty() {
                    self.source.poll(0, &mut self.ahead).unwrap();
                }
                let primary = self.ahead.remove(0);
                self.deriver.apply(&primary, &mut events).unwrap();
                if primary.is_last() {
                    break;
                }
            }
        }
        self.core.apply(&events);
        self.core.flush();
    }

    /// Seconds pass, and the timers are looked at.
    pub fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 4 {
            self.now_ns += SECOND_NS / 4;
            self.core.tick(self.now_ns, self.now_ns);
        }
    }

    /// The kernel takes so many bytes of what waits for a client.
    pub fn deliver(&mut self, client: SessionId, mut takes: usize) {
        self.close_the_slow();
        let (catalog, reader) = (self.catalog.clone(), &mut self.clients[client]);
        loop {
            let mut taken = 0;
            let send = |bytes: &[u8]| {
                taken = bytes.len().min(takes);
                reader.read(&bytes[..taken], &catalog);
                Ok(taken)
            };
            self.core.offer(client, self.now_ns, &mut Vec::new(), send).unwrap();
            takes -= taken;
            self.core.advance(client);
            if taken == 0 {
                break;
            }
        }
    }

    pub fn deliver_all(&mut self) {
        for client in self.everyone() {
            self.deliver(client, usize::MAX);
        }
        for client in self.everyone() {
            if self.core.closes_within(client).is_some() && self.clients[client].close_code == Some(4008) {
                self.closed_slow += 1;
            }
        }
    }

    pub fn close_code(&self, client: SessionId) -> Option<u16> {
        self.clients[client].close_code
    }

    pub fn heartbeats(&self, client: SessionId) -> usize {
        self.clients[client].heartbeats
    }

    pub fn errors(&self, client: SessionId) -> usize {
        self.clients[client].errors
    }

    pub fn closed_slow(&self) -> usize {
        self.closed_slow
    }

    /// How many messages were checked.
    pub fn verified(&self) -> u64 {
        self.verified + self.clients.iter().map(|(_, client)| client.messages).sum::<u64>()
    }

    fn close_the_slow(&mut self) {
        self.core.take_dirty(&mut Vec::new());
    }

    fn come(&mut self) {
        let protocol = if self.random.random() { Protocol::Binary } else { Protocol::Json };
        let client = self.connect(protocol);
        let request = self.some_request();
        self.ask(client, &request);
    }

    fn forget(&mut self, client: SessionId) {
        self.verified += self.clients.remove(client).messages;
    }

    fn everyone(&self) -> Vec<SessionId> {
        self.clients.iter().map(|(id, _)| id).collect()
    }

    fn any(&mut self) -> Option<SessionId> {
        let everyone = self.everyone();
        (!everyone.is_empty()).then(|| everyone[self.random.random_range(0..everyone.len())])
    }

    fn some_request(&mut self) -> String {
        let pick = |random: &mut Pcg64, of: &[&str]| of[random.next_u64() as usize % of.len()].to_owned();
        let symbols = pick(&mut self.random, &["BTC-USD", "ETH-USD", "AAPL", "*", "E*", "NONE*"]);
        let channels = pick(
            &mut self.random,
            &[
                r#""quotes""#,
                r#""book""#,
                r#""trades""#,
                r#""book","quotes""#,
                r#""ticker","status","trades""#,
            ],
        );
        match self.random.random_range(0..10) {
            0 => r#"{"op":"list","id":5}"#.to_owned(),
            1 => r#"{"op":"subscribe","symbols":["NONE"],"channels":["quotes"]}"#.to_owned(),
            2 | 3 => format!(r#"{{"op":"unsubscribe","symbols":["{symbols}"],"channels":[{channels}]}}"#),
            _ => {
                let depth = pick(&mut self.random, &["1", "5", "10", "25", "null", "null"]);
                let snapshot = pick(&mut self.random, &["", "", r#""id":"bare","snapshot":false,"#]);
                format!(
                    r#"{{"op":"subscribe",{snapshot}"symbols":["{symbols}"],"channels":[{channels}],"depth":{depth}}}"#
                )
            }
        }
    }
}
