//! What a user reads, at every size.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::super::feed::channel_of;
use super::super::keys::Action;
use super::super::state::{Ladder, Mirrored};
use super::*;
use crate::client::{Disconnect, Listing, Staleness, Update};
use crate::model::{ABSENT, Aggressor, Level, Quote, Ticker, Trade};
use crate::wire::message::Meta;

const MODERN: Look = Look { colour: true, unicode: true };
const PLAIN: Look = Look { colour: false, unicode: false };

fn listing(price_exponent: i8, quantity_exponent: i8) -> Arc<Listing> {
    Arc::new(Listing { symbol: "BTC-USD".into(), number: 3, price_exponent, quantity_exponent })
}

fn levels(levels: &[(i64, i64)]) -> Vec<Level> {
    levels.iter().map(|&(price, quantity)| Level { price, quantity }).collect()
}

fn hear(state: &mut State, update: Update) {
    state.take(&update, 1_000_000_000, channel_of);
}

fn meta(seq: u64, snapshot: bool) -> Meta {
    // 00:00:00.750 UTC, and published 80 µs before it is heard.
    Meta { first_seq: seq, last_seq: seq, ts_ns: 750_000_000, sent_ns: 999_920_000, snapshot, last: true }
}

fn trade(seq: u64, price: i64, quantity: i64, aggressor: Aggressor) -> Update {
    let trade = Trade { price, quantity, trade_id: seq, aggressor };
    Update::Trade { listing: listing(-2, -3), meta: meta(seq, false), trade }
}

/// A market with three levels a side and two trades, on a connection that stands.
fn market() -> State {
    let mut state = State::new(&["BTC-USD".into()], Some(25), true);
    state.take(&Update::Connected { server: "s/1".into(), epoch: 7 }, 900_000_000, channel_of);
    let granted = |channel, depth| Update::Granted {
        listing: listing(-2, -3),
        channel,
        depth,
        interval_ms: 0,
        period: None,
        epoch: 1,
        seq: 0,
    };
    hear(&mut state, granted(Channel::Book, Some(25)));
    hear(&mut state, trade(1, 10_005, 1_250, Aggressor::Buy));
    hear(&mut state, trade(2, 10_000, 40, Aggressor::Sell));
    let ladder = Ladder {
        bids: levels(&[(10_000, 2_000), (9_995, 500), (9_980, 1)]),
        asks: levels(&[(10_010, 4_000), (10_020, 1_000), (10_150, 250)]),
    };
    state.show(Mirrored {
        ladder: Some(ladder),
        quote: Some(Quote { bid: 10_000, bid_quantity: 2_000, ask: 10_010, ask_quantity: 4_000 }),
        ticker: Some(Ticker { bid: 10_000, ask: 10_010, last: 10_000, volume: 1_290 }),
        status: Some(Status::Trading),
    });
    state.tick(2_000_000_000);
    state
}

/// The buffer of a terminal of this size.
fn drawn(state: &State, look: Look, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(state, look, frame.area(), frame.buffer_mut())).unwrap();
    terminal.backend().buffer().clone()
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let rows = buffer.content.chunks(buffer.area.width.max(1).into());
    rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned())
        .collect()
}

fn text(state: &State, width: u16, height: u16) -> String {
    lines(&drawn(state, MODERN, width, height)).join("\n")
}

#[test]
fn a_trader_reads_ladder_tape_and_figures() {
    let state = market();
    assert_eq!(
        lines(&drawn(&state, MODERN, 78, 16)),
        [
            "BTC-USD  trading                                                        ● live",
            "last 100.00 ▼  bid 100.00 x 2.000  ask 100.10 x 4.000  vol 1.290",
            "",
            "            bids   price   asks             │ trades",
            "                                            │ 00:00:00.750  100.00  0.040 sell",
            "                  101.50  0.250 ▌           │ 00:00:00.750  100.05  1.250 buy",
            "                  100.20  1.000 ██▌         │",
            "                  100.10  4.000 ██████████  │",
            "────────── spread 0.10  10.00 bp ────────── │",
            "     █████ 2.000  100.00                    │",
            "         █ 0.500   99.95                    │",
            "         ▐ 0.001   99.80                    │",
            "                                            │",
            "",
            "2 msg/s   latency p50 80 µs p99 80 µs (same host)   merged 0   lost 0",
            "+/- depth 25   space hold tape   ? keys   q quit",
        ]
    );
}

#[test]
fn without_colours_and_blocks_the_same_can_be_read() {
    let buffer = drawn(&market(), PLAIN, 78, 16);
    let text = lines(&buffer).join("\n");
    assert!(text.is_ascii(), "{text}");
    for part in
        ["* live", "100.10  4.000 ####", "##### 2.000  100.00", "-- spread 0.10", "80 us", "0.040 sell"]
    {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    let coloured = |buffer: &Buffer| {
        let reset = |colour| matches!(colour, Color::Reset);
        buffer.content.iter().filter(|cell| !reset(cell.fg) || !reset(cell.bg)).count()
    };
    assert_eq!(coloured(&buffer), 0);
    let colours = drawn(&market(), MODERN, 78, 16);
    assert!(coloured(&colours) > 50);
    let colour_of = |text: &str| {
        let lines = lines(&colours);
        let (y, line) = lines.iter().enumerate().find(|(_, line)| line.contains(text)).unwrap();
        let x = line[..line.find(text).unwrap()].chars().count();
        colours[(x as u16, y as u16)].fg
    };
    assert_eq!([colour_of("101.50"), colour_of("99.80")], [Color::Red, Color::Green]);
}

#[test]
fn every_state_of_the_connection_is_told() {
    let mut state = market();
    let notice = |code: &str| Update::Notice { code: code.into(), message: "m".into() };
    let stale = |why| Update::Stale { why };
    for (update, told) in [
        (notice("conflating"), "● live, conflating"),
        (notice("recovered"), "● live\n"),
        (stale(Staleness::Silent(Duration::from_secs(10))), "● stale: nothing is heard from the server\n"),
        (Update::Live, "● live\n"),
        (notice("replay_ended"), "● replay ended"),
        (stale(Staleness::Source), "● stale: the server hears nothing from its source\n"),
        (Update::Live, "● replay ended"),
    ] {
        let heard = format!("{update:?}");
        hear(&mut state, update);
        assert!(text(&state, 80, 24).contains(told), "{heard}: {}", text(&state, 80, 24));
    }
    hear(&mut state, stale(Staleness::Source));
    assert_eq!(text(&state, 20, 1), "BTC-USD      ● stale", "in few words where there is little room");
    hear(&mut state, Update::Live);
    let why = Disconnect::Lost("connection reset by peer".into());
    hear(&mut state, Update::Disconnected { why, retry_in: Duration::from_secs(3) });
    state.show(Mirrored::default());
    let lost = text(&state, 80, 24);
    for told in ["● reconnecting in 3 s\n", "no connection\n", "connection lost: connection reset by peer\n"]
    {
        assert!(lost.contains(told), "{told:?} in\n{lost}");
    }
    assert!(!lost.contains("100.10"), "a book that is not known is not shown:\n{lost}");
    state.tick(9_000_000_000);
    assert!(text(&state, 80, 24).contains("● reconnecting\n"));

    let connecting = State::new(&["BTC-*".into()], Some(25), true);
    let shown = text(&connecting, 80, 24);
    assert!(shown.contains("BTC-*  ") && shown.contains("● connecting"), "{shown}");
    assert!(shown.contains("waiting for the list of instruments"), "{shown}");
}

#[test]
fn books_that_are_empty_locked_or_crossed_say_so() {
    let mut state = market();
    for (bids, asks, said) in [
        (&[][..], &[][..], "the book is empty"),
        (&[(100, 1)], &[], "no asks"),
        (&[], &[(100, 1)], "no bids"),
        (&[(10_000, 1)], &[(10_000, 1)], " locked "),
        (&[(10_025, 1)], &[(10_000, 1)], " crossed by 0.25 "),
        (&[(-30, 1)], &[(-10, 1)], " spread 0.20 ─"),
    ] {
        let ladder = Ladder { bids: levels(bids), asks: levels(asks) };
        state.show(Mirrored { ladder: Some(ladder), ..Mirrored::default() });
        assert!(text(&state, 80, 24).contains(said), "{said:?} in\n{}", text(&state, 80, 24));
    }
}

#[test]
fn a_small_terminal_has_the_most_important() {
    let state = market();
    let shown = |width, height| lines(&drawn(&state, MODERN, width, height));
    assert_eq!(shown(7, 1), ["BTC-USD"]);
    assert_eq!(shown(15, 1), ["BTC-USD  ● live"]);
    assert_eq!(shown(13, 4), ["BTC-USD", "last 100.00 ▼", "100.10  4.000", "100.00  2.000"]);
    let narrow = shown(25, 9);
    let middle = narrow.iter().position(|line| line.contains("spread 0.10")).unwrap();
    assert!(narrow[middle - 1].contains("100.10") && narrow[middle + 1].contains("100.00"), "{narrow:?}");
    // Too narrow for both beside each other, high enough for both below each other.
    let high = shown(40, 30);
    let spread = high.iter().position(|line| line.contains("spread")).unwrap();
    let tape = high.iter().position(|line| line.contains("trades")).unwrap();
    assert!(tape > spread && high[tape + 1].contains("sell"), "{high:?}");
}

#[test]
fn notes_keys_and_the_held_tape_are_shown() {
    let mut state = market();
    assert!(!text(&state, 80, 24).contains("n/p"), "there is one instrument");
    state.act(Action::Pause);
    hear(&mut state, trade(3, 10_010, 7, Aggressor::Buy));
    let held = text(&state, 80, 24);
    assert!(held.contains("trades, held: 1 since") && !held.contains("0.007"), "{held}");
    state.act(Action::Pause);
    assert!(text(&state, 80, 24).contains("0.007 buy"));

    let gap = |channel| Update::Gap {
        listing: listing(-2, -3),
        channel,
        epoch: 7,
        from: 4,
        to: 15,
        declared: true,
        resync: false,
    };
    hear(&mut state, gap(Channel::Trades));
    let noted = text(&state, 80, 24);
    for told in ["12 trades are missing\n", "lost 12\n", "\ntrades 4 to 15 are missing"] {
        assert!(noted.contains(told), "{told:?} in\n{noted}");
    }
    state.act(Action::Help);
    let help = text(&state, 80, 24);
    assert!(KEYS.iter().all(|(key, what)| help.contains(key) && help.contains(what)), "{help}");
}

#[test]
fn an_instrument_without_a_book_has_its_tape() {
    let mut state = market();
    let refused = Update::Refused {
        subscription: Some(0),
        code: "unavailable".into(),
        message: "m".into(),
        retry: false,
    };
    hear(&mut state, refused);
    state.show(Mirrored::default());
    let shown = text(&state, 80, 24);
    assert!(shown.contains("100.05  1.250 buy") && !shown.contains("waiting"), "{shown}");
}

#[test]
fn other_hosts_have_other_clocks() {
    let mut state = market();
    state.same_host = false;
    assert!(text(&state, 80, 24).contains("p99 80 µs (two hosts' clocks)"));
}

/// Numbers as they are and as they should never be.
fn number() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 0_i64..100_000, 1 => any::<i64>(), 1 => Just(ABSENT), 1 => Just(i64::MAX)]
}

/// Anything that a state can hear, and any key.
fn step() -> impl Strategy<Value = Step> {
    let words = prop_oneof![
        Just("conflating"),
        Just("stale"),
        Just("replay_ended"),
        Just("shutting_down"),
        Just("µ 株 \u{1b}[2J \n"),
    ];
    prop_oneof![
        (number(), number(), 0_u8..3, any::<u64>()).prop_map(|(price, quantity, side, seq)| {
            let trade = Trade { price, quantity, trade_id: 1, aggressor: Aggressor::from_number(side) };
            let meta = Meta { ts_ns: seq, ..meta(seq, false) };
            Step::Hear(Update::Trade { listing: listing(0, 0), meta, trade })
        }),
        (words.clone(), "\\PC{0,200}")
            .prop_map(|(code, message)| Step::Hear(Update::Notice { code: code.into(), message })),
        (words, any::<u64>()).prop_map(|(why, ns)| Step::Hear(Update::Disconnected {
            why: Disconnect::Lost(why.into()),
            retry_in: Duration::from_nanos(ns),
        })),
        (-18_i8..=18, -18_i8..=18, any::<Option<u32>>()).prop_map(|(price, quantity, depth)| {
            let listing = listing(price, quantity);
            Step::Hear(Update::Granted {
                listing,
                channel: Channel::Book,
                depth,
                interval_ms: 0,
                period: None,
                epoch: 1,
                seq: 0,
            })
        }),
        (0_usize..7).prop_map(|subscription| Step::Hear(Update::Refused {
            subscription: Some(subscription),
            code: "unavailable".into(),
            message: "m".into(),
            retry: false,
        })),
        (any::<u64>(), any::<u64>()).prop_map(|(from, to)| Step::Hear(Update::Gap {
            listing: listing(0, 0),
            channel: Channel::Trades,
            epoch: 1,
            from,
            to,
            declared: false,
            resync: false,
        })),
        any::<u64>().prop_map(|epoch| Step::Hear(Update::Connected { server: "s".into(), epoch })),
        proptest::sample::select(vec![
            Action::Next,
            Action::Previous,
            Action::Deeper,
            Action::Shallower,
            Action::Pause,
            Action::Help,
        ])
        .prop_map(Step::Act),
        (
            proptest::collection::vec((number(), number()), 0..70),
            proptest::collection::vec((number(), number()), 0..70),
            (number(), number(), number(), number()),
        )
            .prop_map(|(bids, asks, (bid, bid_quantity, ask, ask_quantity))| Step::Show(Mirrored {
                ladder: (bids.len() != 7).then(|| Ladder { bids: levels(&bids), asks: levels(&asks) }),
                quote: Some(Quote { bid, bid_quantity, ask, ask_quantity }),
                ticker: Some(Ticker { bid, ask, last: bid, volume: ask }),
                status: Some(Status::Halted),
            })),
        (0_u64..1 << 40).prop_map(Step::Tick),
    ]
}

#[derive(Debug)]
enum Step {
    Hear(Update),
    Act(Action),
    Show(Mirrored),
    Tick(u64),
}

proptest! {
    /// Whatever happened, at whatever size: it draws, and never beyond what the terminal can show.
    #[test]
    fn any_state_is_drawn_at_any_size(
        steps in proptest::collection::vec(step(), 0..30),
        several in any::<bool>(),
        (width, height) in (0_u16..200, 0_u16..60),
        look in (any::<bool>(), any::<bool>()).prop_map(|(colour, unicode)| Look { colour, unicode }),
    ) {
        let symbols = ["BTC-USD", "A", "B"].map(str::to_owned);
        let mut state = State::new(&symbols[..if several { 3 } else { 1 }], Some(25), several);
        for step in steps {
            match step {
                Step::Hear(update) => hear(&mut state, update),
                Step::Act(action) => drop(state.act(action)),
                Step::Show(mirrored) => state.show(mirrored),
                Step::Tick(now_ns) => state.tick(now_ns),
            }
        }
        let buffer = drawn(&state, look, width, height);
        if !look.unicode {
            prop_assert!(buffer.content.iter().all(|cell| cell.symbol().is_ascii()));
        }
        if !look.colour {
            prop_assert!(buffer.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
        }
        prop_assert!(buffer.content.iter().all(|cell| !cell.symbol().contains(char::is_control)));
    }
}
