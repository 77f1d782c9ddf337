use proptest::prelude::*;

use super::*;

fn full(channel: Channel, last: u64) -> Stream {
    let mut stream = Stream::new(channel);
    stream.grant(View::default(), last);
    stream.snapshot(last);
    stream
}

fn gap(from: u64, to: u64) -> Verdict {
    Verdict::Gap(Missing { from, to })
}

#[derive(Clone, Debug)]
enum Action {
    /// A message from so far behind or ahead of what should come next, covering so many, carrying so many.
    Message(i64, u64, u64),
    /// A snapshot so far ahead.
    Snapshot(u64),
    /// A declared gap, likewise.
    Declared(i64, u64),
    /// A heartbeat so far ahead.
    Heartbeat(u64),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        4 => (-3_i64..2, 1_u64..6, 0_u64..8).prop_map(|(at, covers, carries)| Action::Message(at, covers, carries)),
        1 => (0_u64..5).prop_map(Action::Snapshot),
        1 => (-3_i64..2, 1_u64..6).prop_map(|(at, covers)| Action::Declared(at, covers)),
        1 => (0_u64..4).prop_map(Action::Heartbeat),
    ];
    proptest::collection::vec(action, 0..40)
}

proptest! {
    /// The oracle is the rule as the protocol states it, in numbers that cannot overflow.
    #[test]
    fn a_message_follows_is_old_or_shows_a_gap(
        last in prop_oneof![0_u64..20, Just(u64::MAX), Just(u64::MAX - 1)],
        first_seq in prop_oneof![0_u64..25, Just(u64::MAX)],
        last_seq in prop_oneof![0_u64..25, Just(u64::MAX)],
    ) {
        let (next, first, end) = (u128::from(last) + 1, u128::from(first_seq), u128::from(last_seq));
        let expected = if first <= next && next <= end {
            Verdict::Next
        } else if end < next {
            Verdict::Old
        } else {
            gap(last + 1, first_seq - 1)
        };
        prop_assert_eq!(full(Channel::Book, last).check(first_seq, last_seq), expected);
    }

    /// The oracle gives each sequence its fate, one by one.
    #[test]
    fn each_sequence_has_one_fate_in_the_ledger(
        actions in actions(),
        base in 0_u64..10,
        channel in prop_oneof![Just(Channel::Trades), Just(Channel::Quotes), Just(Channel::Book)],
    ) {
        let mut stream = full(channel, base);
        let mut fates: Vec<char> = Vec::new();
        for action in actions {
            let held = base + fates.len() as u64;
            let from = |at: i64| (held + 1).saturating_add_signed(at).max(1);
            match action {
                Action::Message(at, covers, carries) => {
                    let (first, last) = (from(at), from(at) + covers - 1);
                    stream.message(first, last, carries);
                    if last > held {
                        fates.extend((held + 1..first).map(|_| '?'));
                        let new = last - held.max(first - 1);
                        fates.extend((0..new).map(|at| if at < carries { 'd' } else { 'm' }));
                    }
                }
                Action::Snapshot(ahead) => {
                    stream.snapshot(held + ahead);
                    fates.extend((0..ahead).map(|_| 'm'));
                }
                Action::Declared(at, covers) => {
                    let (first, last) = (from(at), from(at) + covers - 1);
                    stream.declared(first, last);
                    fates.extend((held + 1..first).filter(|_| last > held).map(|_| '?'));
                    fates.extend((first.max(held + 1)..=last).map(|_| 'l'));
                }
                Action::Heartbeat(ahead) => {
                    let ready = stream.ready;
                    stream.heartbeat(held + ahead);
                    fates.extend((0..ahead).filter(|_| ready).map(|_| '?'));
                }
            }
            let count = |fate| fates.iter().filter(|known| **known == fate).count() as u64;
            let ledger = Ledger {
                delivered: count('d'),
                merged: count('m'),
                lost: count('l'),
                undeclared: count('?'),
                mismatches: 0,
            };
            prop_assert_eq!(stream.ledger, ledger);
            prop_assert_eq!(stream.last, base + fates.len() as u64);
            prop_assert_eq!(ledger.published(), fates.len() as u64);
        }
    }

    #[test]
    fn no_numbers_make_it_panic(numbers in proptest::array::uniform8(prop_oneof![0_u64..4, any::<u64>(), Just(u64::MAX)])) {
        let [a, b, c, d, e, f, g, h] = numbers;
        let mut stream = Stream::new(Channel::Book);
        stream.grant(View { depth: Some(1), ..View::default() }, a);
        stream.message(b, c, d);
        stream.declared(e, f);
        stream.heartbeat(g);
        stream.message(h, a, b);
        stream.snapshot(c);
        stream.declared(d, e);
        stream.heartbeat(f);
        stream.message(g, h, u64::MAX);
        stream.grant(View::default(), b);
    }
}

#[test]
fn a_heartbeat_ahead_of_a_full_stream_is_a_lost_tail() {
    let mut full = full(Channel::Quotes, 5);
    assert_eq!(full.heartbeat(4), None);
    assert_eq!(full.heartbeat(5), None);
    assert_eq!(full.heartbeat(8), Some(Missing { from: 6, to: 8 }));
    assert_eq!(full.ledger, Ledger { undeclared: 3, ..Ledger::default() });
}

#[test]
fn a_heartbeat_ahead_of_a_view_says_that_nothing_visible_happened() {
    let views = [
        (Channel::Book, View { depth: Some(10), ..View::default() }),
        (Channel::Quotes, View { interval_ms: 100, ..View::default() }),
        (Channel::Bars, View { period: Some(Period::Minute), ..View::default() }),
    ];
    for (channel, view) in views {
        let mut stream = Stream::new(channel);
        stream.grant(view, 5);
        stream.snapshot(5);
        assert_eq!(stream.heartbeat(8), None);
        assert_eq!(stream.check(9, 9), Verdict::Next, "no gap after what the heartbeat covers");
        assert_eq!(stream.check(6, 8), Verdict::Next, "what comes late is not taken for old");
        assert_eq!(stream.check(10, 11), gap(9, 9));
        let mut behind = stream;
        assert_eq!(behind.message(10, 11, 1), gap(9, 9));
        let expected = Ledger { delivered: 1, merged: 3 + 1, undeclared: 1, ..Ledger::default() };
        assert_eq!(behind.ledger, expected, "6 to 8 lay outside the view");
        assert_eq!(stream.message(9, 9, 1), Verdict::Next);
        assert_eq!(stream.message(6, 9, 1), Verdict::Old);
    }
}

#[test]
fn the_ledger_begins_at_the_grant_or_at_the_snapshot_that_comes_first() {
    let mut bare = Stream::new(Channel::Trades);
    bare.grant(View::default(), 10);
    bare.message(11, 12, 1);
    assert_eq!(bare.ledger, Ledger { delivered: 1, merged: 1, ..Ledger::default() });

    let mut late = Stream::new(Channel::Book);
    late.grant(View::default(), 10);
    late.snapshot(15);
    assert_eq!(late.ledger, Ledger::default(), "what was published before it was not for us");
    late.snapshot(18);
    assert_eq!(late.ledger, Ledger { merged: 3, ..Ledger::default() }, "a snapshot in mid-stream merges");

    let mut resumed = late;
    resumed.disconnected();
    resumed.grant(View::default(), 18);
    resumed.declared(19, 30);
    resumed.snapshot(31);
    assert_eq!(resumed.ledger, Ledger { merged: 3 + 1, lost: 12, ..Ledger::default() });

    // What replaces missed messages is counted, for it was to go on from 18.
    let mut resumed = late;
    resumed.disconnected();
    resumed.resuming = true;
    resumed.grant(View::default(), 18);
    resumed.snapshot(25);
    assert_eq!(resumed.ledger, Ledger { merged: 3 + 7, ..Ledger::default() });
    // Not so where the stream begins anew, or is a view that gets its snapshot in any case.
    for (resuming, view) in [(false, View::default()), (true, View { depth: Some(5), ..View::default() })] {
        let mut anew = Stream::new(Channel::Book);
        anew.grant(view, 18);
        anew.snapshot(18);
        anew.disconnected();
        anew.resuming = resuming;
        anew.grant(view, 18);
        anew.snapshot(25);
        assert_eq!(anew.ledger, Ledger::default(), "{view:?}");
    }

    let mut reset = late;
    reset.begin();
    reset.snapshot(4);
    reset.message(5, 5, 1);
    assert_eq!(reset.ledger, Ledger { delivered: 1, merged: 3, ..Ledger::default() });
}

#[test]
fn what_is_held_goes_on_only_where_the_server_does_not_stand_ahead() {
    let held = |channel| {
        let mut stream = full(channel, 10);
        stream.disconnected();
        assert!(stream.held && stream.ready && stream.stale && !stream.granted);
        stream
    };
    for channel in Channel::ALL {
        let mut resumed = held(channel);
        assert_eq!(resumed.grant(View::default(), 10), None);
        assert!(resumed.ready && resumed.stale, "{channel}: until something comes");
        assert_eq!(resumed.message(11, 11, 1), Verdict::Next);
        assert!(resumed.ready && !resumed.stale, "{channel}");

        let mut quiet = held(channel);
        quiet.grant(View::default(), 10);
        assert_eq!(quiet.heartbeat(10), None);
        assert!(!quiet.stale, "{channel}: a heartbeat says that nothing was missed");

        let mut ahead = held(channel);
        let missed = ahead.grant(View::default(), 15);
        if channel == Channel::Trades {
            assert_eq!(missed, Some(Missing { from: 11, to: 15 }), "nothing will bring them");
            continue;
        }
        assert_eq!(missed, None);
        assert!(ahead.held && !ahead.ready && ahead.stale, "{channel}: shown, but waiting for its snapshot");
        ahead.snapshot(16);
        assert!(ahead.held && ahead.ready && !ahead.stale);

        let mut other = held(channel);
        other.grant(View { interval_ms: 100, ..View::default() }, 10);
        assert!(!other.ready, "{channel}: another view needs its own snapshot");

        // A server that is behind has nothing new yet, and may not take us back.
        let mut behind = held(channel);
        behind.grant(View::default(), 7);
        assert_eq!(behind.message(8, 10, 3), Verdict::Old, "{channel}");
        assert_eq!(behind.message(11, 11, 1), Verdict::Next, "{channel}");
    }
}

#[test]
fn changes_wait_for_a_snapshot_and_whole_messages_do_not() {
    for channel in Channel::ALL {
        let mut stream = full(channel, 10);
        let declared = stream.declared(11, 14);
        assert_eq!(declared, Declared { undeclared: None, lost: Some(Missing { from: 11, to: 14 }) });
        assert_eq!((stream.held, stream.stale), (true, true), "{channel}");
        assert_eq!(stream.message(15, 15, 1), Verdict::Next);
        assert_eq!(stream.ready, !is_incremental(channel), "{channel}");
        assert_eq!(stream.stale, is_incremental(channel), "{channel}");

        let mut stream = full(channel, 10);
        assert_eq!(stream.message(12, 12, 1), gap(11, 11));
        assert_eq!((stream.held, stream.ready), (!is_incremental(channel), !is_incremental(channel)));
    }
}

#[test]
fn a_declared_gap_counts_what_is_new_of_it() {
    let mut stream = full(Channel::Trades, 10);
    assert_eq!(stream.declared(9, 10), Declared::default());
    assert_eq!(stream.declared(12, 11), Declared::default());
    assert_eq!(stream.declared(9, 12).lost, Some(Missing { from: 11, to: 12 }));
    let declared = stream.declared(15, 16);
    assert_eq!(declared.undeclared, Some(Missing { from: 13, to: 14 }));
    assert_eq!(declared.lost, Some(Missing { from: 15, to: 16 }));
    assert_eq!(stream.ledger, Ledger { lost: 4, undeclared: 2, ..Ledger::default() });
}
