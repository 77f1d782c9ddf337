//! Real recordings, taken in: the figures below were computed from the files by other programs.
#![cfg(feature = "dbn")]

mod common;
#[path = "common/feeds.rs"]
mod feeds;

use std::path::{Path, PathBuf};

use common::recorded;
use feeds::{primaries, report};
use tempfile::TempDir;
use tickcast::feed::import::{ImportOptions, Imported, dbn as importer};
use tickcast::feed::inspect::BookLevel;
use tickcast::feed::{Reader, Replay, ReplaySettings, Speed};
use tickcast::model::{
    Aggressor, Bar, BarStep, Bars, Body, Deriver, Event, OrderBook, Period, Primary, Side, Trade,
    primary_flags,
};
use tickcast::source::{Next, Source};

fn import(inputs: &[&Path], folder: &TempDir) -> (PathBuf, Imported) {
    let out = folder.path().join("out.feed");
    let inputs: Vec<PathBuf> = inputs.iter().map(|path| path.to_path_buf()).collect();
    let imported = importer::import(&inputs, &out, ImportOptions { strict: true }, &mut |_| {}).unwrap();
    (out, imported)
}

fn levels(levels: &[BookLevel]) -> Vec<(&str, &str, usize)> {
    levels
        .iter()
        .map(|level| (level.price.as_str(), level.quantity.as_str(), level.orders.unwrap()))
        .collect()
}

#[test]
fn esh4_gives_the_known_counts_and_the_known_book() {
    let Some(path) = recorded("dbn/esh4-glbx-mdp3-20231225.mbo.dbn.zst") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (out, imported) = import(&[&path], &folder);
    assert_eq!(
        (imported.source_records, imported.instruments, imported.written.records),
        (68_792, 1, 68_792)
    );
    let report = report(&out);
    assert!(report.source.contains("dbn version 1, GLBX.MDP3 mbo, 68792 records"), "{}", report.source);
    assert_eq!((report.records, report.inconsistencies), (68_792, 0));
    let actions: Vec<(&str, u64)> =
        report.source_actions.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(actions, [("A", 29_216), ("C", 17_999), ("F", 6_371), ("M", 12_233), ("T", 2_973)]);
    let span = report.span.as_ref().unwrap();
    assert_eq!(
        (span.first_ns.as_str(), span.last_ns.as_str()),
        ("1703422805243925307", "1703548799446724905")
    );
    assert_eq!(span.first, "2023-12-24T13:00:05.243925307Z");

    let esh4 = &report.instruments[0];
    assert_eq!((esh4.symbol.as_str(), esh4.source_id, esh4.price_exponent), ("ESH4", 17_077, -9));
    assert_eq!(esh4.channels, ["quotes", "trades", "book", "orders", "ticker", "bars"]);
    assert_eq!((&esh4.tick_size, &esh4.lot_size, esh4.book_depth), (&None, &None, 0));
    assert_eq!(esh4.snapshot_records, 8_725);
    let trades = &esh4.trades;
    assert_eq!((trades.count, trades.volume.as_str()), (2_973, "9892"));
    let by = [&trades.buy, &trades.sell, &trades.none].map(|by| (by.count, by.volume.as_str()));
    assert_eq!(by, [(1_542, "5322"), (1_430, "4526"), (1, "44")]);
    let prices =
        [&trades.first, &trades.high, &trades.low, &trades.last].map(|price| price.as_deref().unwrap());
    assert_eq!(prices, ["4800.25", "4811.75", "4800.25", "4810"]);
    assert_eq!((esh4.fills.count, esh4.fills.volume.as_str()), (6_371, "10201"));
    let sequences = esh4.sequences.unwrap();
    assert_eq!((sequences.first, sequences.last, sequences.lowest), (682, 59_585, 531));
    assert_eq!((sequences.steps_back, sequences.steps_back_in_snapshots), (1_684, 1_684));

    let book = &esh4.book;
    assert_eq!((book.bid_levels, book.ask_levels, book.orders), (922, 565, Some(11_217)));
    assert_eq!((book.bid_quantity.as_str(), book.ask_quantity.as_str()), ("22050", "20110"));
    assert_eq!(
        levels(&book.bids),
        [
            ("4810", "22", 22),
            ("4809.75", "47", 22),
            ("4809.5", "50", 23),
            ("4809.25", "60", 30),
            ("4809", "85", 33)
        ]
    );
    assert_eq!(
        levels(&book.asks),
        [
            ("4810.25", "28", 18),
            ("4810.5", "40", 27),
            ("4810.75", "41", 24),
            ("4811", "60", 29),
            ("4811.25", "65", 36)
        ]
    );
    let mut text = Vec::new();
    report.write_text(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    for line in [
        "  trades    2,973, volume 9892 (count x volume: buy 1,542 x 5322, sell 1,430 x 4526, none 1 x 44)",
        "  book      922 bid levels, quantity 22050; 565 ask levels, quantity 20110; 11,217 orders",
        "                  4810 x 22 (22)  |  4810.25 x 28 (18)",
        "  inconsistencies  0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn esh4_opens_with_a_snapshot_that_ends_before_the_first_live_record() {
    let Some(path) = recorded("dbn/esh4-glbx-mdp3-20231225.mbo.dbn.zst") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (out, _) = import(&[&path], &folder);
    let primaries = primaries(&out);
    let snapshot =
        primaries.iter().take_while(|primary| primary.flags & primary_flags::SNAPSHOT != 0).count();
    assert_eq!(snapshot, 8_725);
    let ends: Vec<usize> = primaries[..snapshot]
        .iter()
        .enumerate()
        .filter(|(_, primary)| primary.is_last())
        .map(|(at, _)| at)
        .collect();
    assert_eq!(ends, [8_724], "one event, ended by its last record");
    let flagged = primaries[snapshot..].iter().filter(|primary| primary.is_last()).count();
    let said = primaries.iter().filter(|primary| primary.source_flags & 128 != 0).count();
    assert_eq!((flagged, said), (47_022, 47_022), "elsewhere the source says where events end");

    let reader = Reader::open(&out).unwrap();
    let mut deriver = Deriver::new(reader.catalog().clone());
    let mut events = Vec::new();
    for primary in &primaries[..snapshot] {
        deriver.apply(primary, &mut events).unwrap();
    }
    assert_eq!(deriver.orders(0).len(), 8_725);
    let quote = deriver.book(0).quote();
    assert_eq!(
        (quote.bid, quote.bid_quantity, quote.ask, quote.ask_quantity),
        (4_799_000_000_000, 16, 4_799_500_000_000, 23)
    );
    // What goes on the bus: every trade, none with an identifier that is an order's.
    let opening = events.len();
    for primary in &primaries[snapshot..] {
        deriver.apply(primary, &mut events).unwrap();
    }
    let trades: Vec<Trade> = trades(&events[opening..]).map(|(_, trade)| trade).collect();
    assert_eq!((trades.len(), trades.iter().map(|trade| trade.quantity).sum::<i64>()), (2_973, 9_892));
    assert!(trades.iter().all(|trade| trade.trade_id == 0));
    assert_eq!(
        (trades[0].price, trades[0].quantity, trades[0].aggressor),
        (4_800_250_000_000, 44, Aggressor::None)
    );
    // Whoever follows the orders from the first holds the deriver's, in the same priority.
    let mut orders = OrderBook::new();
    for event in &events {
        if let Body::Order(change) = event.body() {
            orders.follow(&change).unwrap();
        }
    }
    assert_eq!(orders.len(), 11_217);
    for side in [Side::Bid, Side::Ask] {
        assert!(orders.orders(side).eq(deriver.orders(0).orders(side)));
    }
    check_bars(&events);
}

fn trades(events: &[Event]) -> impl Iterator<Item = (u64, Trade)> {
    events.iter().filter_map(|event| match event.body() {
        Body::Trade(trade) => Some((event.ts_ns, trade)),
        _ => None,
    })
}

/// Whoever follows the steps of the bars holds what was traded in each period.
fn check_bars(events: &[Event]) {
    let (mut bars, mut found) = (Bars::new(), Vec::new());
    for event in events {
        match event.body() {
            Body::Bar(BarStep::Trade { price, quantity }) => bars.trade(event.ts_ns, price, quantity),
            Body::Bar(BarStep::End { periods }) => bars.end(periods, |bar| found.push(bar)),
            _ => {}
        }
    }
    for period in Period::ALL {
        let mut expected: Vec<Bar> = Vec::new();
        for (ts_ns, Trade { price, quantity, .. }) in trades(events) {
            let start_ns = ts_ns / period.nanoseconds() * period.nanoseconds();
            match expected.last_mut().filter(|bar| bar.start_ns == start_ns) {
                Some(bar) => {
                    (bar.high, bar.low) = (bar.high.max(price), bar.low.min(price));
                    (bar.close, bar.volume) = (price, bar.volume + quantity);
                }
                None => {
                    let (open, high, low, close, volume) = (price, price, price, price, quantity);
                    expected.push(Bar { period, start_ns, open, high, low, close, volume, complete: true });
                }
            }
        }
        assert_eq!(expected.iter().map(|bar| bar.volume).sum::<i64>(), 9_892);
        if let Some(bar) = bars.running(period) {
            assert_eq!(expected.pop(), Some(Bar { complete: true, ..bar }));
        }
        assert!(found.iter().filter(|bar| bar.period == period).eq(&expected), "{period:?}");
    }
}

#[test]
fn esh4_is_replayed_whole() {
    let Some(path) = recorded("dbn/esh4-glbx-mdp3-20231225.mbo.dbn.zst") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (out, _) = import(&[&path], &folder);
    for speed in [Speed::MAX, "1000".parse().unwrap()] {
        let mut replay =
            Replay::open(std::slice::from_ref(&out), ReplaySettings { speed, ..ReplaySettings::default() })
                .unwrap();
        let (mut sent, mut now_ns) = (Vec::new(), 0);
        loop {
            match replay.poll(now_ns, &mut sent).unwrap() {
                Next::Ended => break,
                Next::At(due_ns) => now_ns = due_ns,
                next => assert_eq!(next, Next::Now),
            }
        }
        assert!(sent == primaries(&out));
        if speed != Speed::MAX {
            // From the first live record to the last, a thousand times as fast.
            let took = sent.last().unwrap().ts_recv_ns - sent[8_725].ts_recv_ns;
            assert_eq!(now_ns, took.div_ceil(1_000));
        }
    }
}

#[test]
fn mbp_1_and_trades_tell_of_the_same_trades() {
    let Some(mbp) = recorded("dbn/futures_mbp-1_2024-07-01T23-58.dbn.zst") else { return };
    let Some(trades) = recorded("dbn/futures_trades_2024-07-01T23-58.dbn.zst") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (out, imported) = import(&[&mbp], &folder);
    assert_eq!((imported.source_records, imported.written.records), (2_288, 3 * 2_288));
    let of_mbp = report(&out);
    let actions: Vec<(&str, u64)> =
        of_mbp.source_actions.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(actions, [("A", 1_061), ("C", 989), ("M", 118), ("T", 120)]);
    let esu4 = &of_mbp.instruments[0];
    assert_eq!((esu4.symbol.as_str(), esu4.source_id, esu4.book_depth), ("ESU4", 118, 1));
    assert_eq!(esu4.channels, ["quotes", "trades", "book", "ticker", "bars"]);
    assert_eq!((esu4.trades.count, esu4.trades.volume.as_str()), (120, "253"));
    assert_eq!((esu4.trades.buy.count, esu4.trades.sell.count), (66, 54));
    assert_eq!((of_mbp.inconsistencies, esu4.sequences.unwrap().steps_back), (0, 0));
    assert_eq!(levels(&esu4.book.bids), [("5529", "24", 17)]);
    assert_eq!(levels(&esu4.book.asks), [("5529.25", "6", 4)]);
    assert_eq!((esu4.book.bid_levels, esu4.book.ask_levels, esu4.book.orders), (1, 1, None));
    let span = of_mbp.span.as_ref().unwrap();
    assert_eq!(
        (span.first_ns.as_str(), span.last_ns.as_str()),
        ("1719878281218218853", "1719878519824330531")
    );

    let mut deriver = Deriver::new(Reader::open(&out).unwrap().catalog().clone());
    let mut events = Vec::new();
    for primary in primaries(&out) {
        deriver.apply(&primary, &mut events).unwrap();
    }
    let crossed =
        events.iter().any(|event| matches!(event.body(), Body::Quote(quote) if quote.bid >= quote.ask));
    assert!(!crossed, "never crossed");

    let folder = tempfile::tempdir().unwrap();
    let (out, _) = import(&[&trades], &folder);
    let of_trades = report(&out);
    let only = &of_trades.instruments[0];
    assert_eq!(only.channels, ["trades", "ticker", "bars"]);
    assert_eq!(only.trades, esu4.trades);
    assert_eq!((only.book.bid_levels, only.book.ask_levels), (0, 0));
    assert_eq!(of_trades.events, 120, "each trade has an event time of its own");
    assert_eq!(only.sequences.unwrap().last, 9_064_117);
}

#[test]
fn versions_1_2_and_3_of_a_file_give_the_same_records() {
    for (schema, versions) in [("mbo", [1, 2, 3].as_slice()), ("mbp-10", &[1, 2, 3]), ("trades", &[1, 3])] {
        let mut seen: Option<(Vec<Primary>, Vec<_>)> = None;
        for version in versions {
            let Some(path) = recorded(&format!("dbn/test_data.{schema}.v{version}.dbn.zst")) else { return };
            let folder = tempfile::tempdir().unwrap();
            let (out, _) = import(&[&path], &folder);
            let instruments = Reader::open(&out).unwrap().catalog().instruments().to_vec();
            assert_eq!((instruments[0].symbol.as_str(), instruments[0].source_id), ("ESH1", 5_482));
            let found = (primaries(&out), instruments);
            match &seen {
                None => seen = Some(found),
                Some(first) => assert_eq!(*first, found, "{schema} version {version}"),
            }
        }
    }
}

#[test]
fn mbp_10_ends_with_the_known_levels() {
    let Some(path) = recorded("dbn/test_data.mbp-10.v3.dbn.zst") else { return };
    let Some(plain) = recorded("dbn/test_data.mbp-10.dbn") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (out, imported) = import(&[&path], &folder);
    assert_eq!((imported.source_records, imported.written.records), (2, 42));
    let report = report(&out);
    let esh1 = &report.instruments[0];
    assert_eq!((esh1.book_depth, esh1.book.bid_levels, esh1.book.ask_levels), (10, 10, 10));
    assert_eq!(
        levels(&esh1.book.bids)[..3],
        [("3720.25", "24", 15), ("3720", "30", 17), ("3719.75", "32", 23)]
    );
    assert_eq!(
        levels(&esh1.book.asks)[..3],
        [("3720.5", "10", 8), ("3720.75", "34", 24), ("3721", "39", 25)]
    );
    assert_eq!(report.events, 2);
    let other = tempfile::tempdir().unwrap();
    assert_eq!(primaries(&import(&[&plain], &other).0), primaries(&out), "plain or compressed");
}

#[test]
fn several_files_become_one() {
    let Some(mbo) = recorded("dbn/test_data.mbo.v3.dbn.zst") else { return };
    let Some(mbp) = recorded("dbn/futures_mbp-1_2024-07-01T23-58.dbn.zst") else { return };
    let folder = tempfile::tempdir().unwrap();
    // The later recording is named first; the feed file is in the order of time.
    let (out, imported) = import(&[&mbp, &mbo], &folder);
    assert_eq!((imported.source_records, imported.instruments), (2_290, 2));
    let primaries = primaries(&out);
    assert!(primaries.iter().map(|primary| primary.ts_recv_ns).is_sorted());
    let reader = Reader::open(&out).unwrap();
    assert_eq!((reader.catalog().find("ESU4"), reader.catalog().find("ESH1")), (Some(0), Some(1)));
    assert_eq!(primaries[0].instrument, 1);
}
