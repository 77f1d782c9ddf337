//! The mirror against a naive oracle: every level change ever made, replayed from the start.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::client::Update;
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
    /// Changes that never arrive, and are declared lost.
    Declare(Vec<Change>),
    /// A connection ends, changes happen, and another grants the stream: where it was, with what was missed, or anew.
    Reconnect(Vec<Change>, bool),
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
        1 => changes().prop_map(Action::Declare),
        2 => (changes(), any::<bool>()).prop_map(|(changes, resumed)| Action::Reconnect(changes, resumed)),
    ];
    proptest::collection::vec(action, 1..60)
}

/// What a client should know of its book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    /// The last sequence that it has heard of.
    last: u64,
    /// Sequence of the book that it shows; `None`: none.
    shown: Option<u64>,
    /// Whether that book is as of `last`, and changes can be applied.
    ready: bool,
    /// Whether what it shows may be old.
    stale: bool,
    /// Whether it has asked for the stream again.
    asked: bool,
}

/// The server's side, and what a client should know.
struct World {
    epoch: u64,
    history: Vec<Change>,
    /// The last message: its range.
    told: (u64, u64),
    known: Known,
    mirror: Mirror,
    out: Outcome,
}

impl World {
    fn new() -> World {
        let mut world = World {
            epoch: EPOCH,
            history: Vec::new(),
            told: (1, 0),
            known: Known { last: 0, shown: None, ready: false, stale: true, asked: false },
            mirror: Mirror::default(),
            out: Outcome::default(),
        };
        world.grant(0);
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

    fn grant(&mut self, seq: u64) {
        self.control(json!({"type": "subscribed", "streams": [{"symbol": SYMBOL, "instrument": NUMBER,
            "channel": "book", "price_exponent": 0, "quantity_exponent": 0, "depth": null, "interval_ms": 0,
            "epoch": self.epoch, "seq": seq}]}));
        let known = &mut self.known;
        if !(known.ready && seq <= known.last) {
            known.ready = (seq, known.last) == (0, 0);
            known.shown = if known.ready { Some(0) } else { known.shown };
            known.last = seq;
        }
        known.stale = true;
        known.asked = false;
    }

    fn control(&mut self, message: serde_json::Value) {
        let control = serde_json::from_value(message).unwrap();
        self.mirror.control(control, &mut self.out).unwrap();
    }

    fn frame(&mut self, meta: Meta, content: Content<'_>) {
        self.mirror.frame(&frame(self.epoch, &[(meta, content)]), &mut self.out).unwrap();
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
        let known = &mut self.known;
        if last <= known.last {
            return;
        }
        if first > known.last + 1 && known.ready {
            (known.ready, known.shown) = (false, None);
        }
        known.last = last;
        known.stale = !known.ready;
        known.shown = if known.ready { Some(last) } else { known.shown };
        known.asked |= !known.ready;
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
            self.known = Known { last: seq, shown: Some(seq), ready: true, stale: false, asked: false };
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
            Action::Grant => self.grant(self.seq()),
            Action::Epoch(told) => {
                self.epoch += 1;
                self.history.clear();
                self.told = (1, 0);
                self.known = Known { last: 0, shown: Some(0), ready: true, stale: false, ..self.known };
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
                self.mirror.frame(&late, &mut self.out).unwrap();
            }
            Action::Heartbeat => {
                let seq = self.seq();
                self.control(json!({"type": "heartbeat", "ts_ns": "1", "streams": [
                    {"symbol": SYMBOL, "channel": "book", "epoch": self.epoch, "seq": seq}]}));
                let known = &mut self.known;
                if known.ready && seq == known.last {
                    known.stale = false;
                } else if known.ready {
                    *known = Known { last: seq, shown: None, ready: false, stale: true, asked: true };
                }
            }
            Action::Declare(changes) => {
                let from = self.seq() + 1;
                self.history.extend(changes);
                let to = self.seq();
                self.control(json!({"type": "gap", "symbol": SYMBOL, "channel": "book", "epoch": self.epoch,
                    "from": from, "to": to, "count": to + 1 - from}));
                self.known = Known { last: to, ready: false, stale: true, ..self.known };
            }
            Action::Reconnect(changes, resumed) => {
                self.mirror.disconnected();
                (self.known.stale, self.known.asked) = (true, false);
                self.history.extend(changes);
                if resumed && self.known.ready {
                    let last = self.known.last;
                    self.grant(last);
                    for seq in last + 1..=self.seq() {
                        self.send(seq, seq);
                    }
                } else {
                    self.grant(self.seq());
                }
            }
        }
    }
}

fn book(mirror: &Mirror) -> Option<BookView<'_>> {
    mirror.entry(SYMBOL).and_then(Entry::book)
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
    fn a_book_that_is_shown_is_always_the_true_book(actions in actions()) {
        let mut world = World::new();
        for action in actions {
            let (before, epoch) = (world.known, world.epoch);
            world.out = Outcome::default();
            world.act(action.clone());
            let asks = world.known.asked && (!before.asked || matches!(action, Action::Reconnect(..)));
            prop_assert_eq!(world.out.resyncs.len(), usize::from(asks), "{:?}", action);
            let resets = world.out.updates.iter().filter(|update| matches!(update, Update::Reset { .. }));
            prop_assert_eq!(resets.count() as u64, world.epoch - epoch);
            let mismatched = world.out.updates.iter().any(|update| matches!(update, Update::Mismatch { .. }));
            prop_assert!(!mismatched);
            let lost = world.out.updates.iter().any(|update| matches!(update, Update::Gap { declared: false, .. }));
            prop_assert!(lost || before.shown.is_none() || world.known.shown.is_some(), "lost with a gap, and only so");

            let view = book(&world.mirror);
            prop_assert_eq!(view.map(|view| view.seq), world.known.shown, "{:?}", action);
            if let Some(view) = view {
                prop_assert_eq!((view.epoch, view.stale), (world.epoch, world.known.stale), "{:?}", action);
                let [bids, asks] = lists(&world.replayed(view.seq));
                prop_assert!(view.book.levels(Side::Bid).eq(bids));
                prop_assert!(view.book.levels(Side::Ask).eq(asks));
            }
            let standing = world.mirror.standings().next().unwrap();
            prop_assert_eq!((standing.seq, standing.ready), (world.known.last, world.known.ready), "{:?}", action);
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
        let mismatched = world.out.updates.iter().any(|update| matches!(update, Update::Mismatch { seq: 5, .. }));
        prop_assert!(mismatched);
        prop_assert!(book(&world.mirror).is_none());
        prop_assert_eq!(world.out.resyncs.len(), 1);
        prop_assert_eq!(world.mirror.standings().next().unwrap().ledger.mismatches, 1);
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
        let _ = world.mirror.frame(&frame, &mut world.out);
        let at = flip.index(frame.len());
        frame[at] ^= 0xff;
        let _ = world.mirror.frame(&frame, &mut world.out);
        let _ = world.mirror.frame(&bytes, &mut world.out);
        world.control(json!({"type": "gap", "symbol": SYMBOL, "channel": "book", "epoch": epoch, "from": first, "to": last}));
        world.control(json!({"type": "heartbeat", "streams": [{"symbol": SYMBOL, "channel": "book", "epoch": epoch, "seq": last}]}));
        world.mirror.disconnected();
        world.grant(first);
    }
}

fn granted(channel: &str, depth: Option<u32>, seq: u64) -> (Mirror, Outcome) {
    let mut mirror = Mirror::default();
    let mut out = Outcome::default();
    let grant = json!({"type": "subscribed", "streams": [{"symbol": SYMBOL, "instrument": NUMBER,
        "channel": channel, "price_exponent": 0, "quantity_exponent": 0, "depth": depth, "epoch": EPOCH,
        "seq": seq}]});
    mirror.control(serde_json::from_value(grant).unwrap(), &mut out).unwrap();
    out.updates.clear();
    (mirror, out)
}

fn control(mirror: &mut Mirror, message: serde_json::Value, out: &mut Outcome) {
    mirror.control(serde_json::from_value(message).unwrap(), out).unwrap();
}

fn gap(channel: &str, from: u64, to: u64) -> serde_json::Value {
    json!({"type": "gap", "symbol": SYMBOL, "channel": channel, "epoch": EPOCH, "from": from, "to": to,
        "count": to + 1 - from})
}

fn ledger(mirror: &Mirror) -> Ledger {
    mirror.standings().map(|standing| standing.ledger).sum()
}

#[test]
fn a_gap_in_trades_is_told_and_the_trade_behind_it_too() {
    let (mut mirror, mut out) = granted("trades", None, 10);
    mirror.frame(&frame(EPOCH, &[(meta(13, 13, false), trade(5))]), &mut out).unwrap();
    assert!(
        matches!(
            out.updates.make_contiguous(),
            [Update::Gap { from: 11, to: 12, resync: false, declared: false, .. }, Update::Trade { .. }]
        ),
        "{out:?}"
    );
    assert_eq!(ledger(&mirror), Ledger { delivered: 1, undeclared: 2, ..Ledger::default() });
}

#[test]
fn a_declared_gap_moves_the_stream_on_and_is_told_once() {
    let (mut mirror, mut out) = granted("trades", None, 10);
    for _ in 0..2 {
        control(&mut mirror, gap("trades", 12, 15), &mut out);
    }
    mirror.frame(&frame(EPOCH, &[(meta(16, 16, false), trade(5))]), &mut out).unwrap();
    assert!(
        matches!(
            out.updates.make_contiguous(),
            [
                Update::Gap { from: 11, to: 11, declared: false, .. },
                Update::Gap { from: 12, to: 15, declared: true, resync: false, .. },
                Update::Trade { .. }
            ]
        ),
        "{out:?}"
    );
    assert_eq!(ledger(&mirror), Ledger { delivered: 1, lost: 4, undeclared: 1, ..Ledger::default() });
}

#[test]
fn a_lost_tail_of_quotes_is_told_and_asked_for_again() {
    let (mut mirror, mut out) = granted("quotes", None, 10);
    mirror.frame(&frame(EPOCH, &[(meta(11, 11, false), quote(1, 2))]), &mut out).unwrap();
    let heartbeat = json!({"type": "heartbeat", "streams": [
        {"symbol": SYMBOL, "channel": "quotes", "epoch": EPOCH, "seq": 14},
        {"symbol": "OTHER", "channel": "quotes", "epoch": EPOCH, "seq": 14}]});
    control(&mut mirror, heartbeat, &mut out);
    assert!(
        matches!(
            out.updates.make_contiguous(),
            [Update::Quote { .. }, Update::Gap { from: 12, to: 14, resync: true, .. }]
        ),
        "{out:?}"
    );
    assert!(matches!(&out.resyncs[..], [(listing, Channel::Quotes)] if listing.symbol == SYMBOL));
}

#[test]
fn after_a_declared_gap_a_book_is_shown_stale_until_its_snapshot() {
    let (mut mirror, mut out) = granted("book", None, 0);
    mirror
        .frame(&frame(EPOCH, &[(meta(1, 1, false), levels(&[level(100, 5)], &[], None))]), &mut out)
        .unwrap();
    control(&mut mirror, gap("book", 2, 9), &mut out);
    let view = book(&mirror).unwrap();
    assert_eq!((view.seq, view.stale), (1, true));
    assert!(out.resyncs.is_empty(), "the server sends the snapshot unasked");
    mirror
        .frame(&frame(EPOCH, &[(meta(9, 9, true), levels(&[level(101, 5)], &[], None))]), &mut out)
        .unwrap();
    let view = book(&mirror).unwrap();
    assert_eq!((view.seq, view.stale), (9, false));
    assert_eq!(ledger(&mirror), Ledger { delivered: 1, lost: 8, ..Ledger::default() });

    // A server that goes on without it is asked.
    control(&mut mirror, gap("book", 10, 12), &mut out);
    mirror
        .frame(&frame(EPOCH, &[(meta(13, 13, false), levels(&[level(102, 5)], &[], None))]), &mut out)
        .unwrap();
    assert_eq!(book(&mirror).map(|view| (view.seq, view.stale)), Some((9, true)));
    assert_eq!(out.resyncs.len(), 1);
}

#[test]
fn of_two_entries_at_one_price_the_last_counts_and_the_checksum_is_held_against_it() {
    let (mut mirror, mut out) = granted("book", Some(1), 0);
    let last = [level(100, 7)];
    let right = checksum(last.iter(), [].iter(), 1);
    let twice = [level(100, 5), level(99, 0), level(100, 7)];
    let update = frame(EPOCH, &[(meta(1, 3, false), levels(&twice, &[], Some(right)))]);
    mirror.frame(&update, &mut out).unwrap();
    assert_eq!(book(&mirror).unwrap().book.quantity(Side::Bid, 100), 7);
    // The second level lies outside of what a view of depth 1 sums up.
    let deeper = frame(EPOCH, &[(meta(4, 4, false), levels(&[level(98, 1)], &[], Some(right)))]);
    mirror.frame(&deeper, &mut out).unwrap();
    assert!(matches!(out.updates.make_contiguous(), [Update::Book { .. }, Update::Book { .. }]), "{out:?}");

    let wrong = frame(EPOCH, &[(meta(5, 5, false), levels(&[level(100, 8)], &[], Some(right)))]);
    mirror.frame(&wrong, &mut out).unwrap();
    assert!(
        matches!(out.updates.back(), Some(Update::Mismatch { seq: 5, expected, .. }) if *expected == right),
        "{out:?}"
    );
    assert!(book(&mirror).is_none() && out.resyncs.len() == 1);
    assert_eq!(ledger(&mirror), Ledger { delivered: 5, mismatches: 1, ..Ledger::default() });
}

#[test]
fn what_was_not_granted_is_skipped_and_what_contradicts_its_frame_is_refused() {
    let (mut mirror, mut out) = granted("quotes", None, 10);
    mirror.frame(&frame(EPOCH, &[(meta(11, 11, false), trade(5))]), &mut out).unwrap();
    assert!(out.updates.is_empty(), "{out:?}");
    let mut bytes = frame(EPOCH, &[(meta(11, 11, false), trade(5))]);
    bytes[1] = Channel::Quotes as u8;
    let error = mirror.frame(&bytes, &mut out).unwrap_err();
    assert!(error.to_string().contains("a message of trades in a frame of quotes"), "{error}");
    bytes[1] = 99;
    mirror.frame(&bytes, &mut out).unwrap();
    let exponents = json!({"type": "subscribed", "streams": [{"symbol": SYMBOL, "instrument": NUMBER,
        "channel": "quotes", "price_exponent": 19, "quantity_exponent": 0, "epoch": EPOCH, "seq": 1}]});
    let error = mirror.control(serde_json::from_value(exponents).unwrap(), &mut out).unwrap_err();
    assert!(error.to_string().contains("allowed: -18 to 18"), "{error}");
}

#[test]
fn a_server_that_grants_without_end_is_left() {
    let (mut mirror, mut out) = (Mirror::default(), Outcome::default());
    let mut grant = |number: usize| {
        let stream = json!({"symbol": number.to_string(), "instrument": number, "channel": "status",
            "price_exponent": 0, "quantity_exponent": 0, "epoch": EPOCH, "seq": 0});
        let granted = json!({"type": "subscribed", "streams": [stream]});
        let told = mirror.control(serde_json::from_value(granted).unwrap(), &mut out);
        out.updates.clear();
        told
    };
    (0..limits::INSTRUMENTS_MAX).for_each(|number| grant(number).unwrap());
    let error = grant(limits::INSTRUMENTS_MAX).unwrap_err();
    assert!(error.to_string().contains("more than 100000 instruments granted"), "{error}");
    grant(0).expect("what was granted before is granted again");
}

#[test]
fn a_stream_that_ended_is_forgotten_but_for_its_ledger() {
    let (mut mirror, mut out) = granted("quotes", None, 10);
    mirror.frame(&frame(EPOCH, &[(meta(11, 11, false), quote(1, 2))]), &mut out).unwrap();
    let ended =
        json!({"type": "unsubscribed", "id": 9, "streams": [{"symbol": SYMBOL, "channel": "quotes"}]});
    control(&mut mirror, ended, &mut out);
    assert_eq!(mirror.entry(SYMBOL).unwrap().quote, None);
    let standing = mirror.standings().next().unwrap();
    assert_eq!((standing.granted, standing.ready, standing.ledger.delivered), (false, false, 1));
}

mod orders;
