//! The shard's core under a seed: random requests, stalls and splits; every client checks every frame, and the
//! deriver's books say what each must hold.

mod client;
mod views;
mod world;

use tickcast::shard::{Protocol, SlowConsumer};

use world::World;

/// Everything at once, on many seeds. A failing seed reproduces its run exactly.
#[test]
fn every_client_holds_what_it_was_promised() {
    let mut messages = 0;
    for seed in 0..150 {
        let mut world = World::new(seed, 1 << 20, SlowConsumer::Disconnect);
        for _ in 0..60 {
            world.step();
        }
        world.settle();
        messages += world.verified();
    }
    assert!(messages > 100_000, "{messages} messages are too few to mean anything");
}

/// With an outbox of a few kilobytes many clients are too slow: they are closed with 4008 after whole frames, and
/// nobody else is disturbed.
#[test]
fn a_client_that_is_too_slow_is_closed_and_costs_nobody_else_anything() {
    let (mut closed, mut messages) = (0, 0);
    for seed in 1_000..1_060 {
        let mut world = World::new(seed, 16_384, SlowConsumer::Disconnect);
        for _ in 0..60 {
            world.step();
        }
        world.settle();
        closed += world.closed_slow();
        messages += world.verified();
    }
    assert!(closed > 20, "{closed} closes are too few to mean anything");
    assert!(messages > 10_000, "{messages} messages are too few to mean anything");
}

/// When history ends, everyone is told, gets snapshots, and goes on in the new epoch.
#[test]
fn a_reset_is_announced_and_snapshots_follow() {
    for seed in 2_000..2_060 {
        let mut world = World::new(seed, 1 << 20, SlowConsumer::Disconnect);
        for round in 0..40 {
            world.step();
            if round % 10 == 9 {
                world.reset();
            }
        }
        world.settle();
        assert!(world.verified() > 0);
    }
}

/// However many subscribers a topic has, in whichever order they came: one encoding.
#[test]
fn encodings_do_not_depend_on_the_number_of_subscribers() {
    let encodes = [1, 10, 1_000].map(|clients| {
        let mut world = World::empty(7, 1 << 20, SlowConsumer::Disconnect);
        for _ in 0..clients {
            let client = world.connect(Protocol::Binary);
            world.ask(
                client,
                r#"{"op":"subscribe","id":"bare","symbols":["*"],"channels":["quotes","trades","book","ticker","status"],"snapshot":false}"#,
            );
        }
        for _ in 0..20 {
            world.publish(50);
            world.deliver_all();
        }
        assert_eq!(world.stats.delivered.get() % clients, 0);
        world.stats.encodes.get()
    });
    assert!(encodes[0] > 100);
    assert_eq!(encodes[0], encodes[1]);
    assert_eq!(encodes[0], encodes[2]);
}

/// A view that its only watcher takes anew, without a snapshot, begins where the reply says.
#[test]
fn a_view_taken_anew_without_a_snapshot_begins_where_it_is_granted() {
    let mut world = World::empty(11, 1 << 20, SlowConsumer::Disconnect);
    let client = world.connect(Protocol::Binary);
    for _ in 0..100 {
        world.ask(
            client,
            r#"{"op":"subscribe","id":"bare","symbols":["*"],"channels":["book"],"depth":1,"snapshot":false}"#,
        );
        world.publish(20);
        world.deliver_all();
    }
    world.settle();
    assert!(world.verified() > 0);
}

/// A shard that is to wait for slow clients says so until they have taken what waits.
#[test]
fn block_waits_for_the_slow_and_gives_up_only_without_progress() {
    let mut world = World::empty(9, 2_048, SlowConsumer::Block);
    let client = world.connect(Protocol::Json);
    world.ask(client, r#"{"op":"subscribe","symbols":["*"],"channels":["quotes","book"]}"#);
    world.deliver_all();
    world.publish(200);
    world.deliver(client, 20);
    world.publish(200);
    world.deliver(client, 10);
    assert!(world.core.is_blocked());
    for _ in 0..29 {
        world.pass(1);
        world.core.pong(client);
    }
    assert!(world.core.is_blocked(), "29 s without progress are allowed");
    world.deliver_all();
    assert!(!world.core.is_blocked());
    world.publish(200);
    world.deliver(client, 10);
    world.publish(200);
    world.deliver(client, 10);
    assert!(world.core.is_blocked());
    for _ in 0..32 {
        world.pass(1);
        world.core.pong(client);
    }
    assert!(!world.core.is_blocked());
    world.deliver_all();
    assert_eq!(world.close_code(client), Some(4008));
}

/// A ping comes after 20 s; a minute later without a pong the session ends with 1001 and says why.
#[test]
fn a_client_that_answers_no_ping_is_closed() {
    let mut world = World::empty(3, 1 << 20, SlowConsumer::Disconnect);
    let (mute, lively) = (world.connect(Protocol::Json), world.connect(Protocol::Binary));
    for second in 1..90 {
        world.pass(1);
        world.deliver_all();
        world.core.pong(lively);
        assert!(second > 75 || world.close_code(mute).is_none(), "closed after {second} s");
    }
    assert_eq!(world.close_code(mute), Some(1001));
    assert_eq!(world.close_code(lively), None);
    assert!((17..=18).contains(&world.heartbeats(lively)), "one every 5 s");
}

/// A client that still waits for its snapshots is not read from, so its pongs are not seen: it is alive all the same.
#[test]
fn a_client_that_takes_its_snapshots_slowly_is_not_given_up() {
    let mut world = World::empty(4, 1_024, SlowConsumer::Disconnect);
    world.publish(400);
    let client = world.connect(Protocol::Json);
    world.ask(client, r#"{"op":"subscribe","symbols":["*"],"channels":["book"]}"#);
    for _ in 0..90 {
        world.pass(1);
        world.deliver(client, 10);
    }
    assert!(world.core.is_busy(client), "20 bytes a second are not enough for it yet");
    assert_eq!(world.close_code(client), None);
    world.deliver_all();
    assert!(!world.core.is_busy(client));
}

/// What one request can make the server collect is bounded, however often it says "all of them".
#[test]
fn a_request_that_says_everything_thousands_of_times_costs_no_more_than_once() {
    let mut world = World::of(2_000, 5, 1 << 20, SlowConsumer::Disconnect);
    let client = world.connect(Protocol::Json);
    let stars = vec![r#""*""#; 9_000].join(",");
    world.ask(client, &format!(r#"{{"op":"subscribe","symbols":[{stars}],"channels":["status"]}}"#));
    world.deliver_all();
    assert_eq!(world.stats.subscriptions.get(), 2_000);
    // 2,000 instruments with five channels each are 10,000 streams; ten thousand prefixes do not make more of them.
    let prefixes: Vec<String> = (0..9_000).map(|n| format!(r#""{}*""#, ["", "A", "B", "C"][n % 4])).collect();
    let request = format!(
        r#"{{"op":"subscribe","symbols":[{}],"channels":["quotes","trades","book","ticker","status"]}}"#,
        prefixes.join(",")
    );
    world.ask(client, &request);
    world.deliver_all();
    assert_eq!(world.stats.subscriptions.get(), 10_000);
    world.ask(client, &request.replace("subscribe", "unsubscribe"));
    world.deliver_all();
    assert_eq!(world.stats.subscriptions.get(), 0);
}

/// More streams than a connection may have are refused, all of them.
#[test]
fn more_streams_than_allowed_are_refused_whole() {
    let mut world = World::of(6_000, 5, 1 << 20, SlowConsumer::Disconnect);
    let client = world.connect(Protocol::Json);
    let everything = r#"{"op":"subscribe","symbols":["*"],"channels":["quotes","trades","book","ticker"]}"#;
    world.ask(client, everything);
    world.deliver_all();
    assert_eq!((world.errors(client), world.stats.subscriptions.get()), (1, 0));
}
