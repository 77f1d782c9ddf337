use std::time::Duration;

use super::*;
use crate::bench::meter::Faults;
use crate::model::{Quote, Trade};
use crate::wire::market;
use crate::wire::message::{Content, Levels, Meta};

const NOW: u64 = 1_000;

/// A client that was granted trades and the book of A (number 4), up to sequence 10 of epoch 7.
fn streams() -> (Streams, Meter) {
    let mut streams = Streams::default();
    for channel in ["trades", "book"] {
        let text = format!(
            r#"{{"symbol":"A","instrument":4,"channel":"{channel}","price_exponent":-2,"quantity_exponent":0,
            "depth":{},"epoch":7,"seq":10}}"#,
            if channel == "book" { "2" } else { "null" }
        );
        streams.granted(&serde_json::from_str(&text).unwrap());
    }
    let mut meter = Meter::new(false);
    meter.measure(0, Duration::from_secs(1));
    meter.at(NOW, false);
    (streams, meter)
}

fn meta(first_seq: u64, last_seq: u64) -> Meta {
    Meta { first_seq, last_seq, ts_ns: 900, sent_ns: 950, snapshot: false, last: true }
}

fn frame(epoch: u64, messages: &[(Meta, Content<'_>)]) -> Vec<u8> {
    let mut out = Vec::new();
    market::begin_frame(&mut out, messages[0].1.channel(), 4, epoch);
    messages.iter().for_each(|(meta, content)| market::encode(&mut out, meta, content));
    market::finish_frame(&mut out, 0, messages.len() as u16);
    out
}

fn trade() -> Content<'static> {
    Content::Trade(Trade { price: 5, quantity: 1, trade_id: 0, aggressor: crate::model::Aggressor::None })
}

fn text<'a>(json: &'a str) -> Text<'a> {
    serde_json::from_str(json).unwrap()
}

#[test]
fn sequences_in_order_are_delivered_and_what_is_merged_is_counted() {
    let (mut streams, mut meter) = streams();
    let bytes = frame(7, &[(meta(11, 11), trade()), (meta(12, 15), trade())]);
    streams.binary(&bytes, NOW, &mut meter).unwrap();
    streams.binary(&frame(7, &[(meta(14, 16), trade())]), NOW, &mut meter).unwrap();
    meter.settle();
    assert_eq!((meter.frames, meter.messages, meter.bytes), (2, 3, (bytes.len() * 2 - 72) as u64));
    assert_eq!((meter.delivered, meter.merged, meter.faults), (3, 3, Faults::default()));
    assert_eq!((meter.published.max(), meter.published.len()), (50, 3));
}

#[test]
fn what_is_missing_or_comes_again_is_a_fault() {
    let (mut streams, mut meter) = streams();
    streams.binary(&frame(7, &[(meta(14, 14), trade()), (meta(13, 14), trade())]), NOW, &mut meter).unwrap();
    assert_eq!(meter.faults, Faults { gaps: 1, missing: 3, repeated: 1, checksums: 0 });
    assert_eq!((meter.delivered, meter.lost), (1, 0));
}

#[test]
fn what_is_declared_lost_is_none() {
    let (mut streams, mut meter) = streams();
    streams.binary(&frame(7, &[(meta(11, 11), trade())]), NOW, &mut meter).unwrap();
    let gap = r#"{"type":"gap","symbol":"A","channel":"trades","epoch":7,"from":12,"to":20,"count":9}"#;
    streams.gap(&text(gap), &mut meter).unwrap();
    streams.binary(&frame(7, &[(meta(21, 21), trade())]), NOW, &mut meter).unwrap();
    assert_eq!((meter.delivered, meter.lost, meter.faults), (2, 9, Faults::default()));
    streams.gap(&text(&gap.replace("12", "23").replace("20", "30")), &mut meter).unwrap();
    assert_eq!(meter.faults.gaps, 1, "22 was not declared");
    assert!(streams.gap(&text(&gap.replace("\"A\"", "\"B\"")), &mut meter).is_err());
}

#[test]
fn a_reset_begins_every_stream_anew() {
    let (mut streams, mut meter) = streams();
    assert!(streams.binary(&frame(8, &[(meta(1, 1), trade())]), NOW, &mut meter).is_err(), "not told yet");
    streams.reset(&text(r#"{"type":"reset","symbol":"A","epoch":8,"reason":"loop"}"#));
    streams.binary(&frame(8, &[(meta(1, 1), trade())]), NOW, &mut meter).unwrap();
    streams.reset(&text(r#"{"type":"reset","symbol":"A","epoch":8,"reason":"loop"}"#));
    streams.binary(&frame(8, &[(meta(2, 2), trade())]), NOW, &mut meter).unwrap();
    assert_eq!((meter.delivered, meter.faults), (2, Faults::default()));
}

/// Snapshot at 12, an update with the right checksum, one with a wrong one.
#[test]
fn books_are_held_against_their_checksums_in_both_protocols() {
    let level = |price, quantity| Level { price, quantity };
    let (bids, asks) = ([level(100, 5), level(99, 6)], [level(101, 7)]);
    let after = message::checksum([level(100, 5), level(98, 1)].iter(), [level(101, 7)].iter(), 2);
    let whole = message::checksum(bids.iter(), asks.iter(), 2);
    let changes = [level(99, 0), level(98, 1)];
    let book = |bids, asks, checksum| {
        Content::Book(Levels { bids, asks, checksum: Some(checksum), part: 1, parts: 1 })
    };
    let snapshot = Meta { snapshot: true, ..meta(12, 12) };

    let (mut streams, mut meter) = streams();
    streams.binary(&frame(7, &[(snapshot, book(&bids, &asks, whole))]), NOW, &mut meter).unwrap();
    streams.binary(&frame(7, &[(meta(13, 15), book(&changes, &[], after))]), NOW, &mut meter).unwrap();
    assert_eq!((meter.snapshots, meter.checksums, meter.faults), (1, 2, Faults::default()));
    assert_eq!((meter.messages, meter.delivered, meter.merged), (1, 2, 1));
    streams.binary(&frame(7, &[(meta(16, 16), book(&changes, &[], after + 1))]), NOW, &mut meter).unwrap();
    assert_eq!((meter.checksums, meter.faults.checksums), (3, 1));

    let (mut streams, mut meter) = super::tests::streams();
    let json = |first: u64, last: u64, snapshot: bool, bids: &str, asks: &str, checksum: u32| {
        format!(
            r#"{{"type":"orderbook","symbol":"A","first_seq":{first},"last_seq":{last},"timestamp":1,"ts_ns":"900",
            "sent_ns":"950","merged":1,"snapshot":{snapshot},"bids":{bids},"asks":{asks},"checksum":{checksum}}}"#
        )
    };
    let mut hear = |meter: &mut Meter, json: &str| streams.json(&text(json), json.len(), NOW, meter);
    hear(&mut meter, &json(12, 12, true, "[[1,5],[0.99,6]]", "[[1.01,7]]", whole)).unwrap();
    hear(&mut meter, &json(13, 15, false, "[[0.99,0],[0.98,1]]", "[]", after)).unwrap();
    assert_eq!((meter.checksums, meter.delivered, meter.merged, meter.faults.checksums), (2, 2, 1, 0));
    hear(&mut meter, &json(16, 16, false, "[]", "[]", whole)).unwrap();
    assert_eq!(meter.faults.checksums, 1);
    assert!(hear(&mut meter, &json(17, 17, false, "[[0.001,5]]", "[]", whole)).is_err(), "no price of A");
}

#[test]
fn a_snapshot_in_parts_is_whole_at_its_last() {
    let (mut streams, mut meter) = streams();
    let level = |price| Level { price, quantity: 5 };
    let [bid, ask] = [[level(100)], [level(101)]];
    let part = |bids, asks, part, checksum| {
        let levels = Levels { bids, asks, checksum, part, parts: 2 };
        (Meta { snapshot: true, ..meta(12, 12) }, Content::Book(levels))
    };
    let whole = message::checksum(bid.iter(), ask.iter(), 2);
    for (part, checksums) in [(part(&bid, &[], 1, None), 0), (part(&[], &ask, 2, Some(whole)), 1)] {
        streams.binary(&frame(7, &[part]), NOW, &mut meter).unwrap();
        assert_eq!((meter.checksums, meter.faults), (checksums, Faults::default()));
    }
    let quote = Content::Quote(Quote::EMPTY);
    assert!(streams.binary(&frame(7, &[(meta(1, 1), quote)]), NOW, &mut meter).is_err(), "not granted");
}

#[test]
fn frames_that_are_cut_anywhere_are_faults_and_never_panic() {
    let (mut streams, mut meter) = streams();
    let levels = [Level { price: 1, quantity: 1 }; 3];
    let book = Content::Book(Levels { bids: &levels, asks: &[], checksum: None, part: 1, parts: 1 });
    let whole = frame(7, &[(meta(11, 11), book)]);
    for length in 0..whole.len() {
        assert!(streams.binary(&whole[..length], NOW, &mut meter).is_err(), "{length}");
    }
    let mut many = whole.clone();
    // More levels than there are bytes.
    many[16 + 40..16 + 44].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(streams.binary(&many, NOW, &mut meter).is_err());
}
