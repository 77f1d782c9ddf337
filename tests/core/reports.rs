//! Clients that report what they have received, by hand: the kernel takes everything, and still they may be slow.

use std::sync::Arc;

use crossbeam_utils::CachePadded;
use serde_json::json;
use tickcast::limits;
use tickcast::shard::{Core, SessionId, SlowConsumer};
use tickcast::stats::ShardStats;
use tickcast::wire::control::Close;

use super::by_hand::{
    Told, connection, connection_at, counted, gaps_and_spans, received, refuse, subscribe, told, trade,
};

const LOOK_NS: u64 = limits::TIMER_MILLISECONDS * 1_000_000;

/// A shard with one client that takes its trades and reports now and then, and the time.
struct Reporter {
    core: Core,
    stats: Arc<CachePadded<ShardStats>>,
    client: SessionId,
    looks: u64,
    trades: u64,
}

impl Reporter {
    fn new(slow_consumer: SlowConsumer) -> Reporter {
        let (mut core, stats) = counted(slow_consumer, 1 << 20);
        let client = subscribe(&mut core, r#""channels":["trades"]"#);
        let mut reporter = Reporter { core, stats, client, looks: 0, trades: 0 };
        received(&mut reporter.core, client);
        reporter.reports();
        reporter
    }

    fn trade(&mut self) {
        self.trades += 1;
        trade(&mut self.core, self.trades);
    }

    /// It says that it has received everything.
    fn reports(&mut self) {
        let frames = connection(&self.core, self.client).frames;
        self.core.request(self.client, &format!(r#"{{"op":"progress","received":{frames}}}"#), 0);
    }

    /// The shard looks at everybody's timers; how many messages the client is sent then.
    fn look(&mut self) -> usize {
        self.looks += 1;
        self.core.tick(self.looks * LOOK_NS, 0, true);
        received(&mut self.core, self.client).len()
    }

    fn is_conflated(&self) -> bool {
        self.stats.conflating.get() > 0
    }

    /// It is sent something and reports nothing for longer than it may.
    fn lags(&mut self) {
        self.trade();
        received(&mut self.core, self.client);
        // The first look finds what was handed over.
        for look in 0..=4 {
            self.look();
            assert!(!self.is_conflated(), "{look}");
        }
        self.look();
    }
}

/// A second without a report is allowed. Then its streams are merged, and it is told what is new while the oldest
/// message that it has not reported is not older than half a second.
#[test]
fn who_does_not_report_for_a_second_is_conflated() {
    let mut reporter = Reporter::new(SlowConsumer::Conflate);
    reporter.lags();
    assert!(reporter.is_conflated());
    let told = connection_at(&reporter.core, reporter.client, reporter.looks * LOOK_NS);
    assert_eq!(told.progress_lag_ms, Some(5 * limits::TIMER_MILLISECONDS));
    for _ in 0..20 {
        reporter.trade();
        assert_eq!(reporter.look(), 0, "it reports nothing");
    }
    // It reports: it is told all that it missed, and is live again a second later. How long it has not reported before
    // does not count.
    reporter.reports();
    let told: Vec<usize> = (0..4).map(|_| reporter.look()).collect();
    assert_eq!(told, [20, 0, 0, 0]);
    assert!(!reporter.is_conflated(), "half a second after the last message");
    // Soon after that it has to keep up for longer, and does not.
    reporter.reports();
    reporter.lags();
    reporter.reports();
    let mut told = Vec::new();
    for _ in 0..6 {
        reporter.trade();
        told.push(reporter.look());
    }
    assert_eq!(told, [1, 1, 1, 1, 0, 0]);
}

/// With `disconnect` it is closed, and so it is where one of its streams is never to be conflated; with `block` it is
/// waited for.
#[test]
fn who_does_not_report_is_treated_as_the_policy_says() {
    let mut reporter = Reporter::new(SlowConsumer::Disconnect);
    reporter.lags();
    assert!(reporter.core.closes_within(reporter.client).is_some());
    let mut reporter = Reporter::new(SlowConsumer::Conflate);
    let never = r#"{"op":"subscribe","symbols":["*"],"channels":["quotes"],"conflate":"never"}"#;
    reporter.core.request(reporter.client, never, 0);
    received(&mut reporter.core, reporter.client);
    reporter.reports();
    reporter.lags();
    assert!(reporter.core.closes_within(reporter.client).is_some());
    assert!(!reporter.is_conflated());
    let mut reporter = Reporter::new(SlowConsumer::Conflate);
    reporter.lags();
    reporter.core.request(reporter.client, never, 0);
    reporter.look();
    assert!(reporter.core.closes_within(reporter.client).is_some(), "also where it is so already");
}

/// With `block` the shard waits for a client that is late with its reports, until it has reported what it was sent
/// more than a second ago.
#[test]
fn a_replay_waits_for_reports() {
    let mut reporter = Reporter::new(SlowConsumer::Block);
    assert!(!reporter.core.is_blocked());
    reporter.lags();
    assert!(reporter.core.is_blocked());
    assert!(reporter.core.closes_within(reporter.client).is_none() && !reporter.is_conflated());
    reporter.reports();
    assert!(!reporter.core.is_blocked());
    // It reports an old message; a newer one is not a second old.
    reporter.lags();
    let reported = connection(&reporter.core, reporter.client).frames;
    reporter.trade();
    reporter.look();
    reporter.core.request(reporter.client, &format!(r#"{{"op":"progress","received":{reported}}}"#), 0);
    assert!(reporter.core.is_blocked(), "until the next look");
    reporter.look();
    assert!(!reporter.core.is_blocked());
}

/// Who reports nothing for a minute is given up; with `block`, where everybody waits, after half of that.
#[test]
fn who_reports_nothing_for_a_minute_is_given_up() {
    for (slow_consumer, looks) in [(SlowConsumer::Conflate, 240), (SlowConsumer::Block, 120)] {
        let mut reporter = Reporter::new(slow_consumer);
        reporter.lags();
        // Five looks after the first that found the message.
        for look in 5..looks {
            reporter.look();
            reporter.core.pong(reporter.client);
            assert_eq!(reporter.core.closes_within(reporter.client), None, "{look}");
        }
        reporter.look();
        assert!(reporter.core.closes_within(reporter.client).is_some());
    }
}

/// Of a tape that was conflated it is told the newest trades, and that the others are lost.
#[test]
fn a_conflated_tape_is_told_its_end() {
    const TOLD: u64 = limits::CONFLATED_TRADES_MAX;
    let mut reporter = Reporter::new(SlowConsumer::Conflate);
    reporter.lags();
    (0..TOLD + 100).for_each(|_| reporter.trade());
    reporter.reports();
    reporter.looks += 1;
    reporter.core.tick(reporter.looks * LOOK_NS, 0, true);
    let (gaps, spans) = gaps_and_spans(&mut reporter.core, reporter.client);
    assert_eq!(gaps, [[json!(2), json!(101)]]);
    assert!(spans.iter().copied().eq((102..=101 + TOLD).map(|n| (n, n))), "{spans:?}");
}

/// Who is conflated when the server stops is told all that fits, and of the rest that it is lost.
#[test]
fn a_goodbye_tells_all_that_fits() {
    const MISSED: u64 = 2 * limits::CATCH_UP_EVENTS as u64 + 10;
    let mut reporter = Reporter::new(SlowConsumer::Conflate);
    reporter.lags();
    (0..MISSED).for_each(|_| reporter.trade());
    reporter.core.say_goodbye(Close::ShuttingDown);
    let (gaps, spans) = gaps_and_spans(&mut reporter.core, reporter.client);
    assert!(
        gaps.is_empty() && spans.iter().copied().eq((2..=1 + MISSED).map(|n| (n, n))),
        "{gaps:?} {spans:?}"
    );

    // Its kernel takes nothing any more: nothing is added but the gap. What it has been told is no part of that.
    let mut reporter = Reporter::new(SlowConsumer::Conflate);
    let quotes = r#"{"op":"subscribe","symbols":["*"],"channels":["quotes"]}"#;
    reporter.core.request(reporter.client, quotes, 0);
    received(&mut reporter.core, reporter.client);
    reporter.reports();
    reporter.lags();
    (0..MISSED).for_each(|_| reporter.trade());
    reporter.core.request(reporter.client, r#"{"op":"ping"}"#, 0);
    refuse(&mut reporter.core, reporter.client);
    reporter.core.say_goodbye(Close::ShuttingDown);
    let told = told(&mut reporter.core, reporter.client);
    let [Told::Text(pong), Told::Text(gap), Told::Text(notice), Told::Close(1001, _)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!([&pong["type"], &gap["channel"], &notice["code"]], ["pong", "trades", "shutting_down"]);
    assert_eq!([&gap["from"], &gap["to"]], [&json!(2), &json!(1 + MISSED)]);
}
