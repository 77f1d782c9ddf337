//! The view's knowledge, fed with updates, keys and made-up times.

use std::time::Duration;

use super::*;
use crate::cli::watch::live::feed::channel_of;
use crate::cli::watch::live::keys::Action;
use crate::model::{Aggressor, Trade};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

fn listing() -> Arc<Listing> {
    Arc::new(Listing { symbol: "B".into(), number: 1, price_exponent: -2, quantity_exponent: 0 })
}

fn meta(first_seq: u64, last_seq: u64, sent_ns: u64) -> Meta {
    Meta { first_seq, last_seq, ts_ns: 7, sent_ns, snapshot: false, last: true }
}

fn state(patterns: &[&str]) -> State {
    let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
    State::new(&patterns, Some(25), true)
}

/// A state that hears this at that time.
fn hear(state: &mut State, now_ns: u64, update: Update) {
    state.take(&update, now_ns, channel_of);
}

fn connected() -> Update {
    Update::Connected { server: "s/1".into(), epoch: 7 }
}

fn lost(retry_in: Duration) -> Update {
    Update::Disconnected { why: Disconnect::Lost("reset".into()), retry_in }
}

fn notice(code: &str) -> Update {
    Update::Notice { code: code.into(), message: format!("about {code}") }
}

fn trade(seq: u64, price: i64) -> Update {
    let trade = Trade { price, quantity: 5, trade_id: 1, aggressor: Aggressor::Buy };
    Update::Trade { listing: listing(), meta: meta(seq, seq, 1), trade }
}

fn reset(reason: ResetReason) -> Update {
    Update::Reset { listing: listing(), epoch: 8, reason }
}

#[test]
fn the_connection_goes_through_its_states() {
    let mut state = state(&["B"]);
    assert_eq!(state.connection, Connection::Connecting);
    hear(&mut state, 0, connected());
    assert_eq!(state.connection, Connection::Live);
    let silent = || Update::Stale { why: Staleness::Silent(Duration::from_secs(10)) };
    let stale = || Update::Stale { why: Staleness::Source };
    for (update, expected) in [
        (stale(), Connection::Stale),
        (silent(), Connection::Silent),
        (stale(), Connection::Stale),
        (Update::Live, Connection::Live),
        (notice("replay_ended"), Connection::ReplayEnded),
        (notice("conflating"), Connection::ReplayEnded),
        (silent(), Connection::Silent),
        (Update::Live, Connection::ReplayEnded),
    ] {
        let told = format!("{update:?}");
        hear(&mut state, 0, update);
        assert_eq!(state.connection, expected, "{told}");
    }
    // What was on its way when the notice overtook it does not make an ended replay live; going back in it does.
    hear(&mut state, 0, trade(1, 100));
    hear(&mut state, 0, reset(ResetReason::Restart));
    assert_eq!(state.connection, Connection::ReplayEnded);
    hear(&mut state, 0, reset(ResetReason::Seek));
    assert_eq!(state.connection, Connection::Live);

    assert!(state.conflating);
    hear(&mut state, 0, notice("recovered"));
    assert!(!state.conflating);
    hear(&mut state, 0, notice("conflating"));
    hear(&mut state, 0, lost(Duration::from_millis(2_500)));
    assert!(!state.conflating, "that was the lost connection");
    assert_eq!(state.note(), Some("connection lost: reset"));
    hear(&mut state, 0, connected());
    assert_eq!((state.connection, state.note()), (Connection::Live, None));
}

#[test]
fn the_time_until_the_next_attempt_counts_down_in_seconds() {
    let mut state = state(&["B"]);
    hear(&mut state, 10 * SECOND, lost(Duration::from_millis(2_500)));
    let shown = |state: &State| match state.connection {
        Connection::Waiting { seconds, .. } => seconds,
        other => panic!("{other:?}"),
    };
    assert_eq!(shown(&state), 3);
    let mut seen = vec![(0, 3)];
    state.take_changed();
    for ms in (0..4_000).step_by(250) {
        state.tick(10 * SECOND + ms * MS);
        if state.take_changed() {
            seen.push((ms, shown(&state)));
        }
    }
    assert_eq!(
        seen,
        [(0, 3), (500, 2), (1_500, 1), (2_500, 0)],
        "drawn when the number changes, and only then"
    );
}

#[test]
fn nothing_changes_where_nothing_happens() {
    let mut state = state(&["B"]);
    hear(&mut state, 0, connected());
    for n in 0..1_000 {
        hear(&mut state, n * MS, trade(n + 1, 100));
    }
    let mut last = 0;
    for ms in (1_000..60_000).step_by(250) {
        state.tick(ms * MS);
        if state.take_changed() {
            last = ms;
        }
    }
    assert!((5_000..7_000).contains(&last), "the latencies of the last seconds go, then it is quiet: {last}");
}

#[test]
fn rate_latency_merged_and_lost_are_counted() {
    let mut state = state(&["B"]);
    hear(&mut state, 0, connected());
    let quote = Quote { bid: 1, bid_quantity: 1, ask: 2, ask_quantity: 1 };
    let start = 100 * SECOND;
    for n in 0..50 {
        let meta = meta(3 * n + 1, 3 * n + 3, start - 80_000);
        hear(&mut state, start, Update::Quote { listing: listing(), meta, quote });
    }
    // A snapshot is old by nature, and merges nothing.
    let snapshot = Meta { snapshot: true, ..meta(1, 999, 1) };
    hear(&mut state, start, Update::Quote { listing: listing(), meta: snapshot, quote });
    state.tick(start + SECOND);
    assert_eq!(state.figures, Figures { rate: 51, latency_us: Some((80, 80)) });
    assert_eq!((state.market.merged, state.market.lost), (100, 0));

    let gap = |channel, from, to| Update::Gap {
        listing: listing(),
        channel,
        epoch: 7,
        from,
        to,
        declared: true,
        resync: false,
    };
    hear(&mut state, start, gap(Channel::Trades, 5, 9));
    assert_eq!(state.market.tape.lines().next(), Some(&Print::Missing(5)));
    assert_eq!(state.note(), Some("trades 5 to 9 are missing"));
    hear(&mut state, start, gap(Channel::Book, 1, 1));
    assert_eq!(state.market.lost, 6);
    state.tick(start + limits::WATCH_NOTE_NS);
    assert_eq!(state.note(), None, "such a note goes");
}

#[test]
fn the_last_price_has_a_direction() {
    let mut state = state(&["B"]);
    let mut after = |seq, price| {
        hear(&mut state, 0, trade(seq, price));
        (state.market.last, state.market.up)
    };
    assert_eq!(after(1, 100), (Some(100), None));
    assert_eq!(after(2, 101), (Some(101), Some(true)));
    assert_eq!(after(3, 101), (Some(101), Some(true)), "no change, no other direction");
    assert_eq!(after(4, 99), (Some(99), Some(false)));
}

#[test]
fn instruments_are_those_that_match_and_keys_walk_among_them_in_a_circle() {
    let mut state = state(&["B*", "X"]);
    assert_eq!(state.selected.as_deref(), Some("X"), "what is named needs no list");
    let listed = ["BB", "A", "BA", "X", "XX"].map(str::to_owned);
    assert!(!state.instruments(&listed), "what is shown stays");
    assert_eq!(state.symbols, ["BA", "BB", "X"]);
    let mut walk = |action| (state.act(action), state.selected.clone().unwrap());
    assert_eq!(walk(Action::Next), (Effect::Subscribe, "BA".into()));
    assert_eq!(walk(Action::Next), (Effect::Subscribe, "BB".into()));
    assert_eq!(walk(Action::Previous), (Effect::Subscribe, "BA".into()));
    assert_eq!(walk(Action::Previous), (Effect::Subscribe, "X".into()));
}

#[test]
fn from_the_only_one_that_was_named_keys_walk_among_all_there_are() {
    let mut state = state(&["B"]);
    assert!(state.wants_list());
    assert_eq!(state.act(Action::Next), Effect::None, "not known yet");
    hear(&mut state, 0, connected());
    state.no_list("no list: refused".into(), 2 * SECOND, SECOND);
    assert_eq!((state.connection, state.note()), (Connection::Live, None), "it is not missed");
    assert!(!state.instruments(&["C", "A", "B"].map(str::to_owned)));
    assert_eq!((state.act(Action::Next), state.selected.as_deref()), (Effect::Subscribe, Some("C")));
    assert_eq!((state.act(Action::Next), state.selected.as_deref()), (Effect::Subscribe, Some("A")));
}

/// What is told again after a break was published before it.
#[test]
fn what_was_missed_does_not_count_as_late() {
    for (same_host, counted) in [(true, Some((80, 80))), (false, Some((80, 200_000)))] {
        let mut state = State::new(&["B".into()], Some(25), same_host);
        hear(&mut state, 5 * SECOND, connected());
        let told = |seq, sent_ns| {
            let trade = Trade { price: 1, quantity: 5, trade_id: 1, aggressor: Aggressor::Buy };
            Update::Trade { listing: listing(), meta: meta(seq, seq, sent_ns), trade }
        };
        hear(&mut state, 5 * SECOND, told(1, 4_800 * MS));
        hear(&mut state, 5 * SECOND + 100_000, told(2, 5 * SECOND + 20_000));
        state.tick(6 * SECOND);
        assert_eq!(state.figures.latency_us, counted);
    }
}

#[test]
fn a_prefix_selects_the_first_match_and_waits_for_one() {
    let mut state = state(&["B*"]);
    assert_eq!((state.selected.clone(), state.act(Action::Next)), (None, Effect::None));
    state.no_list("no list: refused".into(), 2 * SECOND, SECOND);
    assert_eq!(state.note(), Some("no list: refused"));
    assert_eq!(state.connection, Connection::Waiting { until_ns: 3 * SECOND, seconds: 2 });
    assert!(!state.instruments(&["A".to_owned()]));
    assert_eq!(state.note(), Some("no instrument of the server matches B*"));
    assert_eq!(state.connection, Connection::Connecting);
    assert!(state.instruments(&["BB".to_owned(), "BA".to_owned()]));
    assert_eq!((state.selected.as_deref(), state.note()), (Some("BA"), None));
    assert_eq!(state.act(Action::Previous), Effect::Subscribe);
    assert_eq!(state.selected.as_deref(), Some("BB"));
}

#[test]
fn another_instrument_starts_with_nothing_of_the_one_before() {
    let mut state = state(&["A", "B"]);
    hear(&mut state, 0, connected());
    hear(&mut state, 0, notice("conflating"));
    hear(&mut state, 0, trade(1, 100));
    state.show(Mirrored { ladder: Some(Ladder::default()), ..Mirrored::default() });
    assert_eq!(state.act(Action::Next), Effect::Subscribe);
    assert_eq!((state.connection, state.conflating), (Connection::Connecting, false));
    assert_eq!((state.market.last, state.market.mirrored.clone()), (None, Mirrored::default()));
    assert_eq!(state.market.tape.lines().count(), 0);
}

#[test]
fn the_depth_goes_through_those_that_the_server_has() {
    let mut state = state(&["B"]);
    let mut depths = |action| {
        let mut seen = Vec::new();
        while state.act(action) == Effect::Subscribe {
            seen.push(state.depth);
        }
        seen
    };
    assert_eq!(depths(Action::Deeper), [Some(50), Some(100), Some(500), None]);
    assert_eq!(
        depths(Action::Shallower),
        [Some(500), Some(100), Some(50), Some(25), Some(10), Some(5), Some(1)]
    );
}

#[test]
fn the_tape_survives_another_depth() {
    let mut state = state(&["B"]);
    hear(&mut state, 0, trade(1, 100));
    state.act(Action::Deeper);
    assert_eq!((state.market.tape.lines().count(), state.market.last), (1, Some(100)));
}

#[test]
fn keys_step_out_of_the_help_before_they_quit() {
    let mut state = state(&["B"]);
    assert_eq!(state.act(Action::Help), Effect::None);
    assert!(state.help);
    assert_eq!(state.act(Action::Back), Effect::None);
    assert!(!state.help);
    assert_eq!(state.act(Action::Back), Effect::Quit);
    state.act(Action::Help);
    assert_eq!(state.act(Action::Quit), Effect::Quit);
}

#[test]
fn what_an_instrument_lacks_is_remembered_and_other_refusals_are_said() {
    let mut state = state(&["B"]);
    let refused = |subscription, code: &str| Update::Refused {
        subscription,
        code: code.into(),
        message: "no".into(),
        retry: false,
    };
    hear(&mut state, 0, refused(Some(0), "unavailable"));
    assert!(state.market.lacks.contains(Channel::Book) && state.note().is_none());
    hear(&mut state, 0, refused(Some(1), "limit_exceeded"));
    assert_eq!(state.note(), Some("the server refuses: no"));
}

#[test]
fn numbers_line_up_by_what_was_seen() {
    let mut state = state(&["B"]);
    let granted = |channel, depth| Update::Granted {
        listing: listing(),
        channel,
        depth,
        interval_ms: 0,
        period: None,
        epoch: 1,
        seq: 0,
    };
    hear(&mut state, 0, granted(Channel::Book, Some(25)));
    let bids = vec![Level { price: 10_000, quantity: 5 }, Level { price: 9_950, quantity: 1_234 }];
    state.show(Mirrored { ladder: Some(Ladder { bids, asks: vec![] }), ..Mirrored::default() });
    let market = &state.market;
    assert_eq!([market.prices.text(10_000), market.prices.text(9_950)], ["100.0", "99.5"]);
    assert_eq!((market.prices.width(), market.quantities.width()), (5, 4));
    assert_eq!(market.depth, Some(25));
    // Granted again on the next connection: what was seen stays seen.
    hear(&mut state, 0, granted(Channel::Trades, None));
    assert_eq!((state.market.prices.width(), state.market.depth), (5, Some(25)));
}
