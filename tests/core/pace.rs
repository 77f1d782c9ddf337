//! When a slow client is live again, by hand: how long it has to show that it keeps up.

use std::sync::Arc;

use crossbeam_utils::CachePadded;
use serde_json::{Value, json};
use tickcast::limits;
use tickcast::shard::{Core, SessionId, SlowConsumer};
use tickcast::stats::ShardStats;

use super::by_hand::{counted, level, received, refuse, subscribe, texts, trade};

const LOOK_NS: u64 = limits::TIMER_MILLISECONDS * 1_000_000;

/// A shard with one client that takes its trades, and the time.
struct Paced {
    core: Core,
    stats: Arc<CachePadded<ShardStats>>,
    client: SessionId,
    looks: u64,
    trades: u64,
}

impl Paced {
    fn new() -> Paced {
        let (mut core, stats) = counted(SlowConsumer::Conflate, 4_096);
        let client = subscribe(&mut core, r#""channels":["trades"]"#);
        received(&mut core, client);
        Paced { core, stats, client, looks: 0, trades: 0 }
    }

    fn is_conflated(&self) -> bool {
        self.stats.conflating.get() > 0
    }

    fn trade(&mut self) {
        self.trades += 1;
        trade(&mut self.core, self.trades);
    }

    /// It takes nothing until it is conflated, and everything then.
    fn stalls(&mut self) {
        for _ in 0..100 {
            self.trade();
            refuse(&mut self.core, self.client);
        }
        assert!(self.is_conflated());
        received(&mut self.core, self.client);
    }

    /// The shard looks at everybody's timers.
    fn look(&mut self) {
        self.looks += 1;
        self.core.pong(self.client);
        self.core.tick(self.looks * LOOK_NS, 0, true);
    }

    /// So many looks, each of which finds that it has taken everything.
    fn keeps_up(&mut self, looks: u64) {
        for _ in 0..looks {
            self.look();
            received(&mut self.core, self.client);
        }
    }

    /// After how many looks it is live again.
    fn recovers(&mut self) -> u32 {
        (1..1_000)
            .find(|_| {
                self.keeps_up(1);
                !self.is_conflated()
            })
            .expect("it recovers")
    }

    /// Codes of the notices that wait for it.
    fn notices(&mut self) -> Vec<Value> {
        let notices = texts(&mut self.core, self.client, "notice").into_iter();
        notices.map(|mut notice| notice["code"].take()).collect()
    }
}

/// A second of keeping up, and twice as long each time that it could not soon after: 10 seconds.
#[test]
fn who_cannot_keep_up_soon_after_has_to_show_it_for_longer() {
    let mut paced = Paced::new();
    paced.keeps_up(100);
    for looks in [4, 8, 16, 32, 64, 64] {
        paced.stalls();
        assert_eq!(paced.recovers(), looks);
        paced.keeps_up(limits::RELAPSE_TIMER_LOOKS);
    }
    paced.keeps_up(1);
    paced.stalls();
    assert_eq!(paced.recovers(), limits::RECOVERY_TIMER_LOOKS);
}

/// A look that finds something waiting begins the count anew.
#[test]
fn who_has_not_taken_everything_begins_to_show_it_anew() {
    let mut paced = Paced::new();
    paced.stalls();
    paced.keeps_up(2);
    paced.trade();
    paced.look();
    paced.look();
    assert!(!paced.notices().contains(&json!("recovered")));
    assert_eq!(paced.recovers(), 4);
}

/// Who cannot keep up while its streams go live one by one is conflated as before, without having recovered.
#[test]
fn who_cannot_keep_up_while_it_recovers_has_not_recovered() {
    let mut paced = Paced::new();
    paced.core.request(paced.client, r#"{"op":"subscribe","symbols":["*"],"channels":["book"]}"#, 0);
    paced.keeps_up(100);
    for _ in 0..100 {
        paced.trade();
        refuse(&mut paced.core, paced.client);
    }
    assert_eq!(paced.notices(), [json!("conflating")]);
    paced.keeps_up(3);
    level(&mut paced.core, 1, 50, 7);
    (0..30).for_each(|_| paced.trade());
    // The trades have no room beside the book: that would go live after them.
    paced.look();
    for _ in 0..30 {
        refuse(&mut paced.core, paced.client);
        paced.trade();
    }
    assert_eq!(paced.notices(), [] as [Value; 0]);
    assert_eq!(paced.recovers(), 8);
    assert_eq!(paced.stats.conflations.get(), 1);
}
