//! What happens in a world: everything that may, as often as the seed says.

use std::fmt::Write;

use rand::RngExt;
use rand_pcg::Pcg64;
use tickcast::model::{Channel, ResetReason};
use tickcast::shard::{CompressionSettings, CoreSettings, Protocol, SlowConsumer, Terms};
use tickcast::wire::deflate::Mode;

use super::counts::Counts;
use super::follower::{Follower, some_subscriptions};
use super::player::{Reading, Remembered};
use super::requests::{Asked, pick, some_request, some_subscribe};
use super::socket::terms;
use super::world::{MILLISECOND_NS, Settings, World};

/// How long a run is.
const STEPS: usize = 80;

/// What came of one seed.
pub struct Run {
    pub counts: Counts,
    pub trace: u64,
}

/// Says which seed it was where a run fails.
struct Names(u64);

impl Drop for Names {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {0} failed; to see it again: make simulate SEED={0} SEEDS=1", self.0);
        }
    }
}

/// One run from its seed.
pub fn run(seed: u64) -> Run {
    let _names = Names(seed);
    let mut world = world(seed);
    for _ in 0..3 {
        come(&mut world);
    }
    for _ in 0..world.random.random_range(0..3) {
        let subscriptions = some_subscriptions(&mut world.random);
        world.followers.push(Follower::new(subscriptions));
    }
    for _ in 0..STEPS {
        step(&mut world);
    }
    world.settle();
    Run { counts: world.counted(), trace: world.trace }
}

fn world(seed: u64) -> World {
    let mut world = World::new(seed, Settings::plain(1 << 16, SlowConsumer::Conflate));
    let random = &mut world.random;
    let slow = [SlowConsumer::Disconnect, SlowConsumer::Block];
    let slow_consumer =
        if random.random_range(0..10) < 7 { SlowConsumer::Conflate } else { pick(random, &slow) };
    let core = CoreSettings {
        outbox_bytes: pick(random, &[2_000, 16_000, 65_536, 65_536, 262_144]),
        outboxes_bytes: pick(random, &[usize::MAX, usize::MAX, 4_000, 40_000]),
        ring_bytes: pick(random, &[0, 5 * 2_048, 30 * 2_048, 1 << 20, 1 << 22]),
        frame_messages: u16::MAX,
        slow_consumer,
        request_rate: 0,
        compression: CompressionSettings {
            contexts_max: pick(random, &[0, 1, 1_000]),
            time_percent: pick(random, &[1, 1_000]),
            fragment_bytes: pick(random, &[256, 1_000, 16_384]),
        },
    };
    let shards = pick(random, &[1, 1, 2]);
    // A deep book and an exchange event in pieces, now and then.
    let is_deep = random.random_range(0..40) == 0;
    let push_bytes_max = if is_deep { 600_000 } else { 80_000 };
    let market = super::market::Market::new(seed);
    let mut made = World::of(seed, market, Settings { shards, core, push_bytes_max });
    std::mem::swap(&mut made.random, random);
    if is_deep {
        let mut events = Vec::new();
        made.market.bulk(4_500, &mut events);
        made.announce(&events);
        made.take_all();
    }
    made
}

/// Somebody comes, of a kind that the seed gives, and asks for something.
fn come(world: &mut World) {
    let protocol = if world.random.random() { Protocol::Binary } else { Protocol::Json };
    let terms = some_terms(&mut world.random, protocol);
    let number = world.connect(terms);
    let player = &mut world.players[number];
    let random = &mut world.random;
    if random.random_range(0..4) == 0 {
        player.reports_every_ns = Some(200 * MILLISECOND_NS);
    }
    player.answers = random.random_range(0..12) > 0;
    for _ in 0..random.random_range(1..4) {
        let asked = some_subscribe(random);
        player.ask(Asked::Subscribe(asked), &world.catalog, world.now_ns);
    }
}

/// Half of the clients take compressed messages, with any window.
fn some_terms(random: &mut Pcg64, protocol: Protocol) -> Terms {
    if random.random() {
        return protocol.into();
    }
    let mode = pick(random, &[Mode::Shared, Mode::Dedicated]);
    match pick(random, &[15, 15, 15, 9, 10, 12]) {
        15 => terms(protocol, mode, "permessage-deflate"),
        bits => terms(protocol, mode, &format!("permessage-deflate; server_max_window_bits={bits}")),
    }
}

/// Something happens.
fn step(world: &mut World) {
    match world.random.random_range(0..100) {
        0..40 => {
            let ticks = pick(&mut world.random, &[1, 3, 10, 30, 60]);
            world.publish(ticks);
        }
        40..55 => {
            if let Some(number) = any(world) {
                let asked = some_request(&mut world.random);
                world.ask(number, asked);
            }
        }
        55..75 => slow_down(world),
        75..83 => leave_or_return(world),
        83..85 => come_and_go(world),
        85 => follow_otherwise(world),
        86 => {
            let reason = pick(&mut world.random, &[ResetReason::Loop, ResetReason::Seek]);
            world.reset(reason);
        }
        87 => {
            let is_stale = world.random.random();
            world.set_stale(is_stale);
        }
        88 => {
            // Nobody hears of the trades of a busy hour before they are over.
            let mut events = Vec::new();
            let count = pick(&mut world.random, &[20, 20, 100, 1_300]);
            world.market.trades(count, &mut events);
            world.announce(&events);
        }
        89..93 => {
            for number in 0..world.players.len() {
                let player = &mut world.players[number];
                player.audit(&world.nodes[player.node]);
            }
        }
        93 => {
            // A long silence.
            let seconds = world.random.random_range(1..40);
            world.pass(seconds * 1_000);
        }
        _ => {
            if let Some(number) = any(world) {
                odd(world, number);
            }
        }
    }
    for number in 0..world.nodes.len() {
        // One shard may be behind the other.
        if number == 0 || world.random.random_range(0..3) > 0 {
            while !world.nodes[number].queue.is_empty() && world.random.random_range(0..12) > 0 {
                let chunks = world.random.random_range(1..40);
                let now_ns = world.now_ns;
                world.nodes[number].take_batch(chunks, now_ns);
                if world.nodes[number].core.is_blocked() {
                    world.counts.blocked += 1;
                    break;
                }
            }
        }
    }
    let milliseconds = pick(&mut world.random, &[10, 10, 50, 250, 700]);
    world.pass(milliseconds);
}

fn any(world: &mut World) -> Option<usize> {
    let here: Vec<usize> =
        (0..world.players.len()).filter(|&number| world.players[number].session.is_some()).collect();
    (!here.is_empty()).then(|| pick(&mut world.random, &here))
}

/// Somebody reads otherwise than before.
fn slow_down(world: &mut World) {
    let Some(number) = any(world) else { return };
    let (player, random) = (&mut world.players[number], &mut world.random);
    // The first is never slow, so that there is a witness.
    if number == 0 {
        return;
    }
    match random.random_range(0..10) {
        0..4 => player.reading = Reading::All,
        4..7 => player.reading = Reading::Crawls(pick(random, &[1, 30, 700, 9_000])),
        7..9 => player.reading = Reading::Stalls,
        // It reads, and does not report.
        _ => {
            let every = pick(random, &[200, 3_000, 100_000]);
            player.reports_every_ns = player.reports_every_ns.map(|_| every * MILLISECOND_NS);
        }
    }
    player.was_slow = true;
    player.capacity = pick(random, &[100, 3_000, 30_000, usize::MAX]);
    world.set_capacities();
}

/// A connection breaks, or somebody comes back and goes on where he was, or says so.
fn leave_or_return(world: &mut World) {
    if world.players.is_empty() {
        return;
    }
    let number = world.random.random_range(0..world.players.len());
    let node = world.players[number].node;
    if world.players[number].session.is_some() {
        world.players[number].disconnect(&mut world.nodes[node]);
        world.counts.disconnects += 1;
        if world.random.random() {
            return;
        }
    }
    let node = world.random.random_range(0..world.nodes.len());
    let now_ns = world.now_ns;
    let player = &mut world.players[number];
    player.node = node;
    player.connect(&mut world.nodes[node], now_ns);
    for it in std::mem::take(&mut player.remembers) {
        let from = from(world, &it);
        world.players[number].resume(&world.nodes[node], &it, from, &world.catalog, now_ns);
    }
}

/// What somebody claims to hold: mostly what he does.
fn from(world: &mut World, it: &Remembered) -> Option<(u64, u64)> {
    let may_lie = !matches!(it.key.1, Channel::Trades | Channel::Bars);
    match world.random.random_range(0..20) {
        0 => None,
        1 => Some((it.epoch - 1, it.seq)),
        2 if may_lie => {
            let last = world.oracle.last(it.epoch, it.key);
            Some((it.epoch, last + world.random.random_range(1..4)))
        }
        3..6 => Some((it.epoch, it.seq.saturating_sub(world.random.random_range(0..100)))),
        6 => Some((it.epoch, 0)),
        _ => Some((it.epoch, it.seq)),
    }
}

/// One who uses Tickcast's own client reads otherwise than before, or loses his connection.
fn follow_otherwise(world: &mut World) {
    let now_ns = world.now_ns;
    let Some(number) = world.followers.len().checked_sub(1) else { return };
    let number = world.random.random_range(0..number + 1);
    let (follower, random) = (&mut world.followers[number], &mut world.random);
    if random.random() {
        let returns_ns = now_ns + random.random_range(0..3_000) * MILLISECOND_NS;
        follower.disconnect(&mut world.nodes[follower.node], returns_ns);
        return;
    }
    follower.reading = pick(random, &[Reading::All, Reading::Crawls(700), Reading::Stalls]);
    follower.capacity = pick(random, &[100, 3_000, usize::MAX]);
    follower.was_slow = true;
    world.set_capacities();
}

/// Somebody new comes, or one of many goes for good.
fn come_and_go(world: &mut World) {
    if world.players.len() < 7 {
        come(world);
    }
}

/// What is allowed and unusual.
fn odd(world: &mut World, number: usize) {
    let player = &mut world.players[number];
    match world.random.random_range(0..3) {
        0 => player.ask(Asked::Ping, &world.catalog, world.now_ns),
        1 => player.say(r#"{"op":"progress","received":4000000000}"#),
        _ => player.say("nonsense"),
    }
}

/// A table of what happened.
pub fn table(counts: &Counts) -> String {
    let mut table = String::new();
    for (name, count) in counts.all() {
        writeln!(table, "{:>14}  {}", count, name.replace('_', " ")).unwrap();
    }
    table
}
