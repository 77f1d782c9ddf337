//! What is encoded once for many, by hand: snapshots, frames, checksums.

use tickcast::limits;
use tickcast::model::{Aggressor, Body, Trade};
use tickcast::shard::{CoreSettings, SlowConsumer};
use tickcast::wire::market::{self, MessageBody};

use super::by_hand::{PLAIN, core, counted, frames, join, level, received, spans, subscribe, whole, with};

/// A snapshot is encoded once for all who come at the same sequence.
#[test]
fn a_snapshot_is_encoded_once_for_all_who_ask_at_a_sequence() {
    let (mut core, stats) = counted(SlowConsumer::Conflate, 1 << 20);
    let view = r#""channels":["quotes"]"#;
    for n in 1..=3 {
        level(&mut core, n, 50, n as i64);
        for _ in 0..10 {
            let session = join(&mut core);
            assert_eq!(spans(&received(&mut core, session)), [(n, n)]);
        }
        assert_eq!(stats.snapshots.get(), n);
    }
    for _ in 0..10 {
        let session = subscribe(&mut core, view);
        assert_eq!(spans(&received(&mut core, session)), [(0, 0)]);
    }
    assert_eq!(stats.snapshots.get(), 4);
}

/// The first update of a view of a book has a checksum, and then each hundredth.
#[test]
fn each_hundredth_update_of_a_view_has_a_checksum() {
    let mut core = core();
    for view in [r#""channels":["book"],"depth":5"#, r#""channels":["book"],"interval_ms":100"#] {
        let session = subscribe(&mut core, view);
        received(&mut core, session);
        let mut checked = Vec::new();
        let before = super::by_hand::connection(&core, session).streams.unwrap()[0].seq;
        for n in 1..=250 {
            level(&mut core, before + n, 50, n as i64);
            core.end_intervals((before + n) * 100_000_000);
            let told = received(&mut core, session);
            let MessageBody::Book { checksum, .. } = told[0].body else { panic!("{told:?}") };
            checked.extend(checksum.map(|_| n));
        }
        assert_eq!(checked, [1, 101, 201], "{view}");
    }
}

/// Messages of a batch share frames of 64 KiB, or of so many messages as are allowed.
#[test]
fn messages_of_a_batch_share_frames() {
    const TRADES: u64 = 4_000;
    let trade = |n| Body::Trade(Trade { price: 50, quantity: 1, aggressor: Aggressor::None, trade_id: n });
    let events: Vec<_> = (1..=TRADES).map(|n| whole(n, trade(n))).collect();
    let sizes = |settings| -> (Vec<usize>, Vec<usize>) {
        let (mut core, _) = with(settings);
        let session = subscribe(&mut core, r#""channels":["trades"],"snapshot":false"#);
        received(&mut core, session);
        core.apply(&events);
        core.flush();
        let frames = frames(&mut core, session).into_iter();
        frames.map(|(_, frame)| (frame.len(), market::decode(&frame).unwrap().1.len())).unzip()
    };
    let (bytes, messages) = sizes(PLAIN);
    let (last, full) = bytes.split_last().unwrap();
    let most = limits::FRAME_BYTES + 200;
    assert!(
        full.len() > 2 && full.iter().all(|bytes| (limits::FRAME_BYTES..most).contains(bytes)),
        "{bytes:?}"
    );
    assert!(*last < most && messages.iter().sum::<usize>() == TRADES as usize);
    let (_, messages) = sizes(CoreSettings { frame_messages: 7, ..PLAIN });
    assert_eq!((messages[0], messages.len() as u64), (7, TRADES.div_ceil(7)));
}

/// Each hundredth update of a whole book has a checksum, the same for all, also for who comes back and is told it later.
#[test]
fn who_comes_back_is_told_the_messages_of_those_who_stayed() {
    let mut core = core();
    let view = r#""channels":["book"],"snapshot":false"#;
    let stayed = subscribe(&mut core, view);
    (1..=250).for_each(|n| level(&mut core, n, 50 + n as i64 % 7, n as i64));
    let told = received(&mut core, stayed);
    let checked = told.iter().filter_map(|message| match message.body {
        MessageBody::Book { checksum, .. } => checksum.map(|_| message.meta.last_seq),
        _ => None,
    });
    assert!(checked.eq([100, 200]), "{told:?}");
    let from = r#""from":[{"symbol":"BTC-USD","channel":"book","epoch":1,"seq":0}]"#;
    let back = subscribe(&mut core, &format!("{view},{from}"));
    assert_eq!(received(&mut core, back), told);
}
