//! Single rules in worlds of their own.

use tickcast::limits;
use tickcast::model::{Channel, ResetReason};
use tickcast::shard::{Protocol, SlowConsumer};

use super::market::Market;
use super::player::Reading;
use super::requests::{Asked, Subscribe};
use super::stream::State;
use super::world::{Settings, World};

fn world(instruments: usize, outbox_bytes: usize, slow_consumer: SlowConsumer) -> World {
    let settings = Settings::plain(outbox_bytes, slow_consumer);
    World::of(7, Market::uniform(7, instruments), settings)
}

fn everything(channels: &[Channel]) -> Subscribe {
    Subscribe { symbols: vec!["*".to_owned()], channels: channels.to_vec(), ..Subscribe::default() }
}

fn publish(world: &mut World, ticks: usize) {
    world.publish(ticks);
    world.take_all();
}

/// Everyone reads all that is there and is not slow any more.
fn deliver_all(world: &mut World) {
    world.everyone_plays();
}

/// The kernel takes so many bytes and the client reads none.
fn stall(world: &mut World, number: usize, capacity: usize) {
    let player = &mut world.players[number];
    (player.reading, player.was_slow) = (Reading::Stalls, true);
    let session = player.session.unwrap();
    world.nodes[0].lines.get_mut(&session).unwrap().capacity = capacity;
}

fn close_code(world: &World, number: usize) -> Option<u16> {
    world.players[number].client.close.as_ref().map(|(code, _)| *code)
}

/// However many subscribers a topic has, in whichever order they came: one encoding.
#[test]
fn encodings_do_not_depend_on_the_number_of_subscribers() {
    let encodes = [1, 10, 100].map(|clients| {
        let mut world = world(4, 1 << 20, SlowConsumer::Disconnect);
        for _ in 0..clients {
            let client = world.connect(Protocol::Binary);
            let asked = Subscribe { snapshot: Some(false), ..everything(&Channel::ALL) };
            world.ask(client, Asked::Subscribe(asked));
        }
        deliver_all(&mut world);
        for _ in 0..8 {
            publish(&mut world, 50);
            deliver_all(&mut world);
        }
        let stats = &world.nodes[0].stats;
        assert!(stats.delivered.get() > 0 && stats.delivered.get().is_multiple_of(clients));
        stats.encodes.get()
    });
    assert!(encodes[0] > 100);
    assert_eq!(encodes[0], encodes[1]);
    assert_eq!(encodes[0], encodes[2]);
}

/// A view that its only watcher takes anew, without a snapshot, begins where the reply says.
#[test]
fn a_view_taken_anew_without_a_snapshot_begins_where_it_is_granted() {
    let mut world = world(4, 1 << 20, SlowConsumer::Disconnect);
    let client = world.connect(Protocol::Binary);
    for _ in 0..100 {
        let asked = Subscribe { depth: Some(1), snapshot: Some(false), ..everything(&[Channel::Book]) };
        world.ask(client, Asked::Subscribe(asked));
        deliver_all(&mut world);
        publish(&mut world, 20);
        deliver_all(&mut world);
    }
    world.settle();
    assert!(world.counted().books > 100);
}

/// A shard that is to wait for slow clients says so until they have taken what waits.
#[test]
fn block_waits_for_the_slow_and_gives_up_only_without_progress() {
    let mut world = world(4, 2_048, SlowConsumer::Block);
    let client = world.connect(Protocol::Json);
    world.ask(client, Asked::Subscribe(everything(&[Channel::Quotes, Channel::Book])));
    deliver_all(&mut world);
    stall(&mut world, client, 20);
    world.publish(400);
    world.take_all();
    assert!(world.nodes[0].core.is_blocked());
    world.pass(29_000);
    assert!(world.nodes[0].core.is_blocked(), "29 s without progress are allowed");
    world.players[client].reading = Reading::All;
    deliver_all(&mut world);
    assert!(!world.nodes[0].core.is_blocked());
    world.take_all();
    deliver_all(&mut world);
    stall(&mut world, client, 20);
    world.publish(400);
    world.take_all();
    assert!(world.nodes[0].core.is_blocked());
    world.pass(32_000);
    assert!(!world.nodes[0].core.is_blocked());
    world.players[client].reading = Reading::All;
    deliver_all(&mut world);
    assert_eq!(close_code(&world, client), Some(4008));
}

/// A ping comes after 20 s; a minute later without a pong the session ends with 1001 and says why.
#[test]
fn a_client_that_answers_no_ping_is_closed() {
    let mut world = world(4, 1 << 20, SlowConsumer::Disconnect);
    let (mute, lively) = (world.connect(Protocol::Json), world.connect(Protocol::Binary));
    world.players[mute].answers = false;
    for second in 1..90 {
        world.pass(1_000);
        assert!(second > 75 || close_code(&world, mute).is_none(), "closed after {second} s");
    }
    assert_eq!(close_code(&world, mute), Some(1001));
    assert_eq!(close_code(&world, lively), None);
    let heartbeats = world.players[lively].client.heartbeats;
    assert!((17..=18).contains(&heartbeats), "{heartbeats}: one every 5 s");
}

/// What many conflated clients are told at once would hold up those who keep pace: each turn serves its share.
#[test]
fn conflated_clients_are_served_in_turns() {
    const TURNS: usize = limits::TIMER_TURNS as usize;
    let mut world = world(4, 4_096, SlowConsumer::Conflate);
    let clients: Vec<usize> = (0..6 * TURNS).map(|_| world.connect(Protocol::Json)).collect();
    for &client in &clients {
        world.ask(client, Asked::Subscribe(everything(&[Channel::Quotes, Channel::Book])));
    }
    deliver_all(&mut world);
    clients.iter().for_each(|&client| stall(&mut world, client, 20));
    (0..20).for_each(|_| publish(&mut world, 100));
    assert_eq!(world.nodes[0].stats.conflating.get(), clients.len() as u64);
    clients.iter().for_each(|&client| world.players[client].reading = Reading::All);
    deliver_all(&mut world);
    publish(&mut world, 100);
    let (mut now_ns, core) = (world.now_ns, &mut world.nodes[0].core);
    let mut served = Vec::new();
    for turn in 1..=TURNS {
        now_ns += limits::TURN_MILLISECONDS * 1_000_000;
        core.tick(now_ns, now_ns, true);
        core.take_dirty(&mut served);
        assert_eq!(served.len(), turn * clients.len() / TURNS, "after turn {turn}");
    }
    served.sort_unstable();
    served.dedup();
    assert_eq!(served.len(), clients.len());
}

/// A shard that has fallen behind writes to those who have their fill before it goes on.
#[test]
fn a_flush_names_those_who_have_their_fill() {
    let mut world = world(4, 1 << 20, SlowConsumer::Conflate);
    let (one, all) = (world.connect(Protocol::Json), world.connect(Protocol::Binary));
    let symbols = vec![world.catalog.instruments()[0].symbol.clone()];
    world.ask(one, Asked::Subscribe(Subscribe { symbols, ..everything(&[Channel::Quotes]) }));
    world.ask(all, Asked::Subscribe(everything(&Channel::ALL)));
    deliver_all(&mut world);
    let all = world.players[all].session.unwrap();
    let all = world.nodes[0].id(all);
    world.publish(2_000);
    let node = &mut world.nodes[0];
    let (mut full, mut written) = (Vec::new(), Vec::new());
    for chunk in std::mem::take(&mut node.queue) {
        node.core.apply(&chunk);
        node.core.flush();
        node.core.take_full(&mut full);
        assert!(full.is_empty() || full == [all], "only who gets everything: {full:?}");
        for id in full.drain(..) {
            let take = |bytes: &[u8]| {
                written.push(bytes.len());
                Ok(bytes.len())
            };
            node.core.offer(id, 0, &mut Vec::new(), take).unwrap();
        }
    }
    assert!(written.len() > 2, "{written:?}");
    let most = limits::BATCH_BYTES + 4_096;
    assert!(written.iter().all(|bytes| (limits::BATCH_BYTES..most).contains(bytes)), "{written:?}");
}

/// Where many ask at once for more than may wait for all of them together, each gets a push at a time.
#[test]
fn what_waits_for_everybody_is_bounded() {
    let mut settings = Settings::plain(1 << 18, SlowConsumer::Conflate);
    settings.core.outboxes_bytes = 100_000;
    let mut world = World::of(7, Market::uniform(7, 50), settings);
    publish(&mut world, 3_000);
    let clients: Vec<usize> = (0..40).map(|_| world.connect(Protocol::Json)).collect();
    for &client in &clients {
        stall(&mut world, client, 20);
        world.ask(client, Asked::Subscribe(everything(&Channel::ALL)));
    }
    world.pass(1_000);
    let sessions: Vec<u64> = world.players.iter().filter_map(|player| player.session).collect();
    let waits = sessions.iter().map(|&session| world.nodes[0].connection(session, 0).waiting_bytes);
    let waits: Vec<usize> = waits.collect();
    assert!(waits.iter().all(|bytes| *bytes > 0));
    assert!(waits.iter().sum::<usize>() < 100_000 + waits.len() * limits::TEXT_BYTES_MAX, "{waits:?}");
    world.settle();
}

/// A long exchange event is told piece by piece, and who joins between two pieces goes on from there.
#[test]
fn each_piece_of_a_long_event_is_told_when_it_is_flushed() {
    let mut world = world(1, 1 << 20, SlowConsumer::Conflate);
    let join = |world: &mut World| {
        let client = world.connect(Protocol::Binary);
        world.ask(client, Asked::Subscribe(everything(&[Channel::Book, Channel::Orders])));
        deliver_all(world);
        client
    };
    let mut clients = vec![join(&mut world)];
    let mut events = Vec::new();
    world.market.bulk(2_500, &mut events);
    world.announce(&events);
    assert_eq!(world.nodes[0].queue.len(), 2, "pieces");
    let mut published = [0, 0];
    while let Some(piece) = world.nodes[0].queue.front() {
        let streams = [Channel::Book, Channel::Orders];
        for (channel, published) in streams.into_iter().zip(&mut published) {
            *published += piece.iter().filter(|event| event.channel() == Some(channel)).count() as u64;
        }
        let now_ns = world.now_ns;
        world.nodes[0].take_batch(1, now_ns);
        deliver_all(&mut world);
        clients.push(join(&mut world));
        for &client in &clients {
            let held = streams.map(|channel| world.players[client].client.streams[&(0, channel)].state);
            assert_eq!(held, published.map(State::At), "client {client}");
        }
    }
    assert_eq!(published, [2_500, 2_500]);
    world.settle();
}

/// A client that still waits for its snapshots is not read from, so its pongs are not seen: it is alive all the same.
#[test]
fn a_client_that_takes_its_snapshots_slowly_is_not_given_up() {
    let mut world = world(4, 1_024, SlowConsumer::Disconnect);
    publish(&mut world, 400);
    let client = world.connect(Protocol::Json);
    world.ask(client, Asked::Subscribe(everything(&[Channel::Book])));
    stall(&mut world, client, 10);
    world.players[client].reading = Reading::Crawls(4);
    for _ in 0..90 {
        world.pass(1_000);
    }
    let session = world.players[client].session.unwrap();
    assert!(!world.nodes[0].reads(session), "20 bytes a second are not enough for it yet");
    assert_eq!(close_code(&world, client), None);
    world.settle();
    assert!(world.nodes[0].reads(session));
}

/// What one request can make the server collect is bounded, however often it says "all of them".
#[test]
fn a_request_that_says_everything_thousands_of_times_costs_no_more_than_once() {
    let mut world = world(2_000, 1 << 20, SlowConsumer::Disconnect);
    let client = world.connect(Protocol::Json);
    let stars = vec!["*".to_owned(); 9_000];
    world.ask(client, Asked::Subscribe(Subscribe { symbols: stars, ..everything(&[Channel::Status]) }));
    deliver_all(&mut world);
    assert_eq!(world.nodes[0].stats.subscriptions.get(), 2_000);
    // Five channels each are 10,000 streams; ten thousand prefixes do not make more of them.
    let prefixes: Vec<String> = (0..9_000).map(|n| format!("{}*", ["", "A", "B", "C"][n % 4])).collect();
    let channels = [Channel::Quotes, Channel::Trades, Channel::Book, Channel::Ticker, Channel::Status];
    world.ask(client, Asked::Subscribe(Subscribe { symbols: prefixes.clone(), ..everything(&channels) }));
    deliver_all(&mut world);
    assert_eq!(world.nodes[0].stats.subscriptions.get(), 10_000);
    world.ask(client, Asked::Unsubscribe { symbols: prefixes, channels: channels.to_vec() });
    deliver_all(&mut world);
    assert_eq!(world.nodes[0].stats.subscriptions.get(), 0);
}

/// More streams than a connection may have are refused, all of them.
#[test]
fn more_streams_than_allowed_are_refused_whole() {
    let mut world = world(6_000, 1 << 20, SlowConsumer::Disconnect);
    let client = world.connect(Protocol::Json);
    let channels = [Channel::Quotes, Channel::Trades, Channel::Book, Channel::Ticker];
    world.ask(client, Asked::Subscribe(everything(&channels)));
    deliver_all(&mut world);
    assert_eq!((world.players[client].client.errors, world.nodes[0].stats.subscriptions.get()), (1, 0));
}

/// When history ends, everyone is told, gets snapshots, and goes on in the new epoch.
#[test]
fn a_reset_is_announced_and_snapshots_follow() {
    let mut world = world(4, 1 << 20, SlowConsumer::Conflate);
    let client = world.connect(Protocol::Binary);
    world.ask(client, Asked::Subscribe(everything(&Channel::ALL)));
    deliver_all(&mut world);
    for _ in 0..5 {
        publish(&mut world, 100);
        world.reset(ResetReason::Loop);
        publish(&mut world, 100);
        deliver_all(&mut world);
    }
    world.settle();
    assert_eq!(world.counted().resets_told, 5 * 4);
}
