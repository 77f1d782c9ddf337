//! Shards, a market, clients, a clock and a network, all from one seed.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tickcast::model::{Catalog, Channel, Event, Level, ResetReason, Side, event_flags};
use tickcast::shard::{CompressionSettings, CoreSettings, SlowConsumer, Terms};

use super::counts::Counts;
use super::follower::Follower;
use super::market::Market;
use super::node::Node;
use super::oracle::{Oracle, Replica, best};
use super::player::Player;
use super::requests::Asked;

pub const MILLISECOND_NS: u64 = 1_000_000;

/// Steps of the clock.
const STEP_MS: u64 = 10;

/// What a world is like.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub shards: usize,
    pub core: CoreSettings,
    /// Bytes of the largest snapshot, page or portion that may go beyond the bound of an outbox.
    pub push_bytes_max: usize,
}

impl Settings {
    /// One shard with so many bytes an outbox and everything else without end.
    pub fn plain(outbox_bytes: usize, slow_consumer: SlowConsumer) -> Settings {
        let core = CoreSettings {
            outbox_bytes,
            outboxes_bytes: usize::MAX,
            ring_bytes: 1 << 22,
            frame_messages: u16::MAX,
            slow_consumer,
            request_rate: 0,
            compression: CompressionSettings::DEFAULT,
        };
        Settings { shards: 1, core, push_bytes_max: 1 << 20 }
    }
}

pub struct World {
    pub random: Pcg64,
    pub market: Market,
    pub oracle: Oracle,
    pub catalog: Arc<Catalog>,
    pub nodes: Vec<Node>,
    pub players: Vec<Player>,
    pub followers: Vec<Follower>,
    pub now_ns: u64,
    epoch: u64,
    /// What players that are gone had counted.
    pub counts: Counts,
    /// A digest of everything that clients read, and when.
    pub trace: u64,
}

impl World {
    pub fn new(seed: u64, settings: Settings) -> World {
        World::of(seed, Market::new(seed), settings)
    }

    /// A world with that market and nobody in it.
    pub fn of(seed: u64, market: Market, settings: Settings) -> World {
        let (catalog, epoch) = (market.catalog.clone(), 1_000);
        let node = |_| Node::new(catalog.clone(), epoch, settings.core, settings.push_bytes_max);
        World {
            random: Pcg64::seed_from_u64(seed),
            oracle: Oracle::new(epoch),
            nodes: (0..settings.shards).map(node).collect(),
            catalog,
            market,
            players: Vec::new(),
            followers: Vec::new(),
            now_ns: 0,
            epoch,
            counts: Counts::default(),
            trace: seed,
        }
    }

    /// Exchange events are published; shards have yet to take them.
    pub fn publish(&mut self, ticks: usize) {
        let mut events = Vec::new();
        for _ in 0..ticks {
            self.market.tick(&mut events);
        }
        self.counts.ticks += ticks as u64;
        self.announce(&events);
    }

    /// Records go to every shard, in chunks that end where an exchange event or a piece of one does.
    pub fn announce(&mut self, events: &[Event]) {
        for event in events {
            self.oracle.record(event);
        }
        self.counts.records += events.len() as u64;
        let ends = event_flags::LAST | event_flags::CUT;
        for chunk in events.split_inclusive(|event| event.flags & ends != 0) {
            self.nodes.iter_mut().for_each(|node| node.queue.push_back(chunk.to_vec()));
        }
    }

    /// History ends.
    pub fn reset(&mut self, reason: ResetReason) {
        self.epoch += 1;
        let mut events = Vec::new();
        self.market.reset(self.epoch, reason, &mut events);
        self.counts.source_resets += 1;
        self.announce(&events);
    }

    /// Shards take everything that was published, unless they wait for slow clients.
    pub fn take_all(&mut self) {
        for node in &mut self.nodes {
            while !node.queue.is_empty() && !node.core.is_blocked() {
                node.take_batch(8, self.now_ns);
            }
        }
    }

    /// Time passes, and everyone reads as fast as he does.
    pub fn pass(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds.div_ceil(STEP_MS) {
            self.now_ns += STEP_MS * MILLISECOND_NS;
            for node in &mut self.nodes {
                node.pass(self.now_ns);
            }
            if self.now_ns.is_multiple_of(250 * MILLISECOND_NS) {
                self.everyone_plays();
            }
        }
        self.everyone_plays();
    }

    /// Everyone reads, answers and asks.
    pub fn everyone_plays(&mut self) {
        for number in 0..self.players.len() {
            self.play(number);
        }
        for follower in &mut self.followers {
            if follower.session.is_none() && follower.returns_ns <= self.now_ns {
                let at = self.random.random_range(0..self.nodes.len());
                follower.connect(at, &mut self.nodes[at], self.now_ns);
            }
            let node = &mut self.nodes[follower.node];
            follower.play(node, &self.oracle, &self.catalog, &mut self.random, self.now_ns);
        }
    }

    pub fn play(&mut self, number: usize) {
        let player = &mut self.players[number];
        let node = &mut self.nodes[player.node];
        player.play(node, &self.oracle, &self.catalog, &mut self.random, self.now_ns, &mut self.trace);
    }

    /// Someone comes and is heard of by one of the shards.
    pub fn connect(&mut self, terms: impl Into<Terms>) -> usize {
        let node = self.random.random_range(0..self.nodes.len());
        self.players.push(Player::new(terms.into(), node));
        let number = self.players.len() - 1;
        self.players[number].connect(&mut self.nodes[node], self.now_ns);
        number
    }

    pub fn ask(&mut self, number: usize, asked: Asked) {
        self.players[number].ask(asked, &self.catalog, self.now_ns);
    }

    /// Everyone gets everything and holds the present.
    pub fn settle(&mut self) {
        for player in &mut self.players {
            player.reads_all();
        }
        for follower in &mut self.followers {
            follower.reads_all();
        }
        self.set_capacities();
        self.set_stale(false);
        // Intervals last five seconds, and so does a turn of the heartbeats; who waits for a slow client, longer.
        let mut calm = 0;
        for _ in 0..400 {
            self.take_all();
            self.pass(250);
            let is_calm = self.nodes.iter().all(|node| node.queue.is_empty())
                && self.players.iter().all(Player::is_quiet)
                && self.followers.iter().all(Follower::is_quiet);
            calm = if is_calm { calm + 1 } else { 0 };
            if calm > 24 {
                break;
            }
        }
        for player in &mut self.players {
            let node = &self.nodes[player.node];
            assert!(player.is_quiet(), "{player:?}");
            player.holds_the_present(&self.oracle);
            assert!(player.audit(node), "after everything was read");
        }
        for follower in &mut self.followers {
            assert!(follower.is_quiet(), "{:?}", follower.machine);
            follower.holds_the_present(&self.oracle, &self.catalog);
        }
        self.derives_what_follows();
    }

    /// The source is late, or is not.
    pub fn set_stale(&mut self, is_stale: bool) {
        for node in &mut self.nodes {
            node.core.set_stale(is_stale);
            node.write_dirty(self.now_ns);
        }
    }

    /// The kernel takes from each session as much as its client's does now.
    pub fn set_capacities(&mut self) {
        let players = self.players.iter().map(|it| (it.node, it.session, it.capacity));
        let followers = self.followers.iter().map(|it| (it.node, it.session, it.capacity));
        for (node, session, capacity) in players.chain(followers) {
            if let Some(line) = session.and_then(|session| self.nodes[node].lines.get_mut(&session)) {
                line.capacity = capacity;
            }
        }
    }

    /// What the deriver says of an instrument is what its own records add up to, and its records agree.
    fn derives_what_follows(&self) {
        for (number, instrument) in self.catalog.iter() {
            let epoch = self.oracle.epoch(number);
            let at = |channel| {
                let stream = (number, channel);
                Replica::at(&self.oracle, epoch, stream, self.oracle.last(epoch, stream))
            };
            let levels = at(Channel::Book).levels;
            for side in [Side::Bid, Side::Ask] {
                let book: Vec<Level> = self.market.deriver.book(number).levels(side).collect();
                assert_eq!(best(&levels, side, None), book, "{} {side:?}", instrument.symbol);
            }
            if instrument.has(Channel::Orders) {
                let orders = at(Channel::Orders).orders;
                assert_eq!(orders.levels(), levels, "the orders of {}", instrument.symbol);
                let rest = [Side::Bid, Side::Ask].map(|side| self.market.deriver.orders(number).orders(side));
                assert!(rest.into_iter().flatten().eq(orders.iter()), "{}", instrument.symbol);
            }
        }
    }

    /// The counts of everyone together.
    pub fn counted(&self) -> Counts {
        let mut counts = self.counts.clone();
        for player in &self.players {
            counts.add(&player.counts());
        }
        for follower in &self.followers {
            counts.add(&follower.counts);
        }
        for node in &self.nodes {
            use tickcast::stats::Resumed;
            counts.resumes_exact += node.stats.resumes(Resumed::Exact).get();
            counts.resumes_snapshot += node.stats.resumes(Resumed::Snapshot).get();
            counts.resumes_gap += node.stats.resumes(Resumed::Gap).get();
        }
        counts
    }
}
