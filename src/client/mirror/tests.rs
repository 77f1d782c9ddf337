//! The mirror against a naive oracle: every level change ever made, replayed from the start.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::client::scripted::{EPOCH, NUMBER, SYMBOL, frame, level, levels, meta, quote, trade};
use crate::model::{Channel, Level, Side};
use crate::wire::message::Meta;
use crate::wire::message::{Content, Levels, checksum};

type Change = (bool, i64, i64);
type Sides = [BTreeMap<i64, i64>; 2];

#[derive(Clone, Debug)]
enum Action {
    /// Changes, told in one message.
    Tell(Vec<Change>),
    /// Changes that never arrive.
    Lose(Vec<Change>),
    /// Changes, told merged with so many before them.
    Overlap(u64, Vec<Change>),
    /// The last message once more.
    Repeat,
    /// A snapshot in so many parts.
    Snapshot(usize),
    /// The first part of a snapshot in two.
    HalfSnapshot,
    /// The stream is granted anew: its snapshot is still to come.
    Grant,
    /// A new epoch, told by `reset` or only by the frames that follow.
    Epoch(bool),
    /// A frame of an epoch that is over.
    Late,
    /// A heartbeat.
    Heartbeat,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let changes = || proptest::collection::vec((any::<bool>(), 0_i64..8, 0_i64..4), 1..6);
    let action = prop_oneof![
        6 => changes().prop_map(Action::Tell),
        1 => changes().prop_map(Action::Lose),
        2 => (0_u64..10, changes()).prop_map(|(back, changes)| Action::Overlap(back, changes)),
        1 => Just(Action::Repeat),
        2 => (1_usize..4).prop_map(Action::Snapshot),
        1 => Just(Action::HalfSnapshot),
        1 => Just(Action::Grant),
        1 => any::<bool>().prop_map(Action::Epoch),
        1 => Just(Action::Late),
        1 => Just(Action::Heartbeat),
    ];
    proptest::collection::vec(action, 1..60)
}

/// The server's side, and what a client should know.
struct World {
    epoch: u64,
    history: Vec<Change>,
    /// The last message: its range.
    told: (u64, u64),
    /// Last sequence that the client should hold; `None`: its book is unknown.
    held: Option<u64>,
    mirror: Mirror,
    updates: Vec<Update>,
}

impl World {
    fn new() -> World {
        let mut world = World {
            epoch: EPOCH,
            history: Vec::new(),
            told: (1, 0),
            held: None,
            mirror: Mirror::default(),
            updates: Vec::new(),
        };
        world.grant();
        world
    }

    fn seq(&self) -> u64 {
        self.history.len() as u64
    }

    /// The book after the first `seq` changes of the epoch.
    fn replayed(&self, seq: u64) -> Sides {
        let mut sides = Sides::default();
        for &(ask, price, quantity) in &self.history[..seq as usize] {
            let side = &mut sides[usize::from(ask)];
            if quantity == 0 {
                side.remove(&price)
            } else {
                side.insert(price, quantity)
            };
        }
        sides
    }

    fn grant(&mut self) {
        let grant = json!({"type": "subscribed", "streams": [{"symbol": SYMBOL, "instrument": NUMBER,
            "channel": "book", "price_exponent": 0, "quantity_exponent": 0, "depth": null, "interval_ms": 0,
            "epoch": self.epoch, "seq": self.seq()}]});
        self.held = (self.seq() == 0).then_some(0);
        self.control(grant);
    }

    fn control(&mut self, message: serde_json::Value) {
        let control = serde_json::from_value(message).unwrap();
        self.mirror.control(control, &mut self.updates).unwrap();
    }

    fn frame(&mut self, meta: Meta, content: Content<'_>) {
        self.mirror.frame(&frame(self.epoch, &[(meta, content)]), &mut self.updates).unwrap();
    }

    /// Sends one message over `first..=last`, each level once as it stands at `last`, with a checksum.
    fn send(&mut self, first: u64, last: u64) {
        let now = self.replayed(last);
        let mut touched = [Vec::new(), Vec::new()];
        for &(ask, price, _) in &self.history[first as usize - 1..last as usize] {
            let quantity = now[usize::from(ask)].get(&price).copied().unwrap_or(0);
            touched[usize::from(ask)].retain(|known: &Level| known.price != price);
            touched[usize::from(ask)].push(level(price, quantity));
        }
        let sum = sum(&now);
        self.frame(meta(first, last, false), levels(&touched[0], &touched[1], Some(sum)));
        self.told = (first, last);
        match self.held {
            Some(held) if first <= held + 1 && held < last => self.held = Some(last),
            Some(held) if last <= held => {}
            _ => self.held = None,
        }
    }

    fn send_snapshot(&mut self, parts: usize, sent: usize) {
        let seq = self.seq();
        let now = self.replayed(seq);
        let sum = sum(&now);
        let [bids, asks] = lists(&now);
        let all: Vec<(bool, Level)> =
            bids.iter().map(|&bid| (false, bid)).chain(asks.iter().map(|&ask| (true, ask))).collect();
        let size = all.len().div_ceil(parts).max(1);
        for part in 0..sent {
            let mine: Vec<_> = all.iter().skip(part * size).take(size).collect();
            let side = |ask| -> Vec<Level> {
                mine.iter().filter(|(side, _)| *side == ask).map(|(_, level)| *level).collect()
            };
            let content = Content::Book(Levels {
                bids: &side(false),
                asks: &side(true),
                checksum: (part + 1 == parts).then_some(sum),
                part: part as u16 + 1,
                parts: parts as u16,
            });
            self.frame(meta(1, seq, true), content);
        }
        if sent == parts {
            self.held = Some(seq);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Tell(changes) => {
                let first = self.seq() + 1;
                self.history.extend(changes);
                self.send(first, self.seq());
            }
            Action::Lose(changes) => self.history.extend(changes),
            Action::Overlap(back, changes) => {
                let first = (self.seq() + 1).saturating_sub(back).max(1);
                self.history.extend(changes);
                self.send(first, self.seq());
            }
            Action::Repeat if self.told.1 > 0 => self.send(self.told.0, self.told.1),
            Action::Repeat => {}
            Action::Snapshot(parts) => self.send_snapshot(parts, parts),
            Action::HalfSnapshot => self.send_snapshot(2, 1),
            Action::Grant => self.grant(),
            Action::Epoch(told) => {
                self.epoch += 1;
                self.history.clear();
                self.told = (1, 0);
                self.held = Some(0);
                if told {
                    self.control(
                        json!({"type": "reset", "symbol": SYMBOL, "epoch": self.epoch, "reason": "seek"}),
                    );
                } else {
                    self.frame(meta(1, 0, false), levels(&[], &[], None));
                }
            }
            Action::Late => {
                let late = frame(self.epoch - 1, &[(meta(1, 99, true), levels(&[level(1, 1)], &[], None))]);
                self.mirror.frame(&late, &mut self.updates).unwrap();
            }
            Action::Heartbeat => {
                let seq = self.seq();
                self.control(json!({"type": "heartbeat", "ts_ns": "1", "streams": [
                    {"symbol": SYMBOL, "channel": "book", "epoch": self.epoch, "seq": seq}]}));
                self.held = self.held.filter(|&held| held == seq);
            }
        }
    }
}

fn lists(sides: &Sides) -> [Vec<Level>; 2] {
    let of = |(price, quantity): (&i64, &i64)| level(*price, *quantity);
    [sides[0].iter().rev().map(of).collect(), sides[1].iter().map(of).collect()]
}

fn sum(sides: &Sides) -> u32 {
    let [bids, asks] = lists(sides);
    checksum(bids.iter(), asks.iter(), 10)
}

proptest! {
    #[test]
    fn a_known_book_is_always_the_true_book(actions in actions()) {
        let mut world = World::new();
        for action in actions {
            let (held, epoch) = (world.held, world.epoch);
            world.updates.clear();
            world.act(action.clone());
            let gaps = world.updates.iter().filter(|update| matches!(update, Update::Gap { resync: true, .. }));
            let lost = held.is_some() && world.held.is_none() && !matches!(action, Action::Grant);
            prop_assert_eq!(gaps.count(), usize::from(lost), "a book is lost with a gap, and only so");
            let resets = world.updates.iter().filter(|update| matches!(update, Update::Reset { .. }));
            prop_assert_eq!(resets.count() as u64, world.epoch - epoch);
            let mismatched = world.updates.iter().any(|update| matches!(update, Update::Mismatch { .. }));
            prop_assert!(!mismatched);

            let view = world.mirror.book(SYMBOL);
            prop_assert_eq!(view.map(|view| view.seq), world.held, "{:?}", action);
            if let Some(view) = view {
                prop_assert_eq!(view.epoch, world.epoch);
                let [bids, asks] = lists(&world.replayed(view.seq));
                prop_assert!(view.book.levels(Side::Bid).eq(bids));
                prop_assert!(view.book.levels(Side::Ask).eq(asks));
            }
        }
    }

    #[test]
    fn a_flipped_bit_in_what_a_checksum_covers_is_found(bit in 0_usize..64, in_ask in any::<bool>(), price in any::<bool>()) {
        let mut world = World::new();
        let (bid, ask) = (level(100, 1 << 20), level(200, 1 << 21));
        let sum = checksum([bid].iter(), [ask].iter(), 10);
        let mut sent = [bid, ask];
        let field = &mut sent[usize::from(in_ask)];
        *(if price { &mut field.price } else { &mut field.quantity }) ^= 1 << bit;
        world.frame(meta(1, 5, true), levels(&sent[..1], &sent[1..], Some(sum)));
        let mismatched = world.updates.iter().any(|update| matches!(update, Update::Mismatch { seq: 5, .. }));
        prop_assert!(mismatched);
        prop_assert!(world.mirror.book(SYMBOL).is_none());
    }

    #[test]
    fn no_bytes_and_no_numbers_make_it_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        first in any::<u64>(),
        last in any::<u64>(),
        epoch in any::<u64>(),
        (part, parts) in any::<(u16, u16)>(),
        (snapshot, flip) in any::<(bool, proptest::sample::Index)>(),
    ) {
        let mut world = World::new();
        let content = Content::Book(Levels {
            bids: &[level(i64::MIN, i64::MAX)], asks: &[level(i64::MAX, i64::MIN)], checksum: None, part, parts,
        });
        let mut frame = frame(epoch, &[(meta(first, 1, snapshot), content)]);
        frame[32..40].copy_from_slice(&last.to_le_bytes());
        let _ = world.mirror.frame(&frame, &mut world.updates);
        let at = flip.index(frame.len());
        frame[at] ^= 0xff;
        let _ = world.mirror.frame(&frame, &mut world.updates);
        let _ = world.mirror.frame(&bytes, &mut world.updates);
        world.control(json!({"type": "gap", "symbol": SYMBOL, "channel": "book", "epoch": epoch, "from": first, "to": last}));
        world.control(json!({"type": "heartbeat", "streams": [{"symbol": SYMBOL, "channel": "book", "epoch": epoch, "seq": last}]}));
        world.grant();
    }
}

fn granted(channel: &str, depth: Option<u32>, seq: u64) -> (Mirror, Vec<Update>) {
    let mut mirror = Mirror::default();
    let mut updates = Vec::new();
    let grant = json!({"type": "subscribed", "streams": [{"symbol": SYMBOL, "instrument": NUMBER,
        "channel": channel, "price_exponent": 0, "quantity_exponent": 0, "depth": depth, "epoch": EPOCH,
        "seq": seq}]});
    mirror.control(serde_json::from_value(grant).unwrap(), &mut updates).unwrap();
    updates.clear();
    (mirror, updates)
}

#[test]
fn a_gap_in_trades_is_told_and_the_trade_behind_it_too() {
    let (mut mirror, mut updates) = granted("trades", None, 10);
    mirror.frame(&frame(EPOCH, &[(meta(13, 13, false), trade(5))]), &mut updates).unwrap();
    assert!(
        matches!(updates[..], [Update::Gap { from: 11, to: 12, resync: false, .. }, Update::Trade { .. }]),
        "{updates:?}"
    );
}

#[test]
fn a_declared_gap_moves_the_stream_on_and_is_told_once() {
    let (mut mirror, mut updates) = granted("trades", None, 10);
    let gap = json!({"type": "gap", "symbol": SYMBOL, "channel": "trades", "epoch": EPOCH, "from": 12, "to": 15,
        "count": 4});
    for _ in 0..2 {
        mirror.control(serde_json::from_value(gap.clone()).unwrap(), &mut updates).unwrap();
    }
    mirror.frame(&frame(EPOCH, &[(meta(16, 16, false), trade(5))]), &mut updates).unwrap();
    assert!(
        matches!(
            updates[..],
            [
                Update::Gap { from: 11, to: 11, declared: false, .. },
                Update::Gap { from: 12, to: 15, declared: true, .. },
                Update::Trade { .. }
            ]
        ),
        "{updates:?}"
    );
}

#[test]
fn a_lost_tail_of_quotes_is_told_and_asked_for_again() {
    let (mut mirror, mut updates) = granted("quotes", None, 10);
    mirror.frame(&frame(EPOCH, &[(meta(11, 11, false), quote(1, 2))]), &mut updates).unwrap();
    let heartbeat = json!({"type": "heartbeat", "streams": [
        {"symbol": SYMBOL, "channel": "quotes", "epoch": EPOCH, "seq": 14},
        {"symbol": "OTHER", "channel": "quotes", "epoch": EPOCH, "seq": 14}]});
    mirror.control(serde_json::from_value(heartbeat).unwrap(), &mut updates).unwrap();
    assert!(
        matches!(updates[..], [Update::Quote { .. }, Update::Gap { from: 12, to: 14, resync: true, .. }]),
        "{updates:?}"
    );
    assert_eq!(mirror.view(SYMBOL, Channel::Quotes), Some((None, 0)));
}

#[test]
fn what_was_not_granted_is_skipped_and_what_contradicts_its_frame_is_refused() {
    let (mut mirror, mut updates) = granted("quotes", None, 10);
    mirror.frame(&frame(EPOCH, &[(meta(11, 11, false), trade(5))]), &mut updates).unwrap();
    assert!(updates.is_empty(), "{updates:?}");
    let mut bytes = frame(EPOCH, &[(meta(11, 11, false), trade(5))]);
    bytes[1] = Channel::Quotes as u8;
    let error = mirror.frame(&bytes, &mut updates).unwrap_err();
    assert!(error.to_string().contains("a message of trades in a frame of quotes"), "{error}");
    bytes[1] = 99;
    mirror.frame(&bytes, &mut updates).unwrap();
    let exponents = json!({"type": "subscribed", "streams": [{"symbol": SYMBOL, "instrument": NUMBER,
        "channel": "quotes", "price_exponent": 19, "quantity_exponent": 0, "epoch": EPOCH, "seq": 1}]});
    let error = mirror.control(serde_json::from_value(exponents).unwrap(), &mut updates).unwrap_err();
    assert!(error.to_string().contains("allowed: -18 to 18"), "{error}");
}
