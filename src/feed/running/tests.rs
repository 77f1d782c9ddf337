//! What is in order is believed without a look, and nothing else is: by a running time that looks behind every leap.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::feed::format::Description;
use crate::feed::writer::Writer;
use crate::model::{Channel, ChannelSet, Instrument, PrimaryKind};

const START_NS: u64 = 1_700_000_000_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// Records in a row whose times have something in common.
#[derive(Clone, Debug)]
struct Stretch {
    records: usize,
    /// From a record to the next.
    step_ns: u64,
    /// Added to the times of the whole stretch.
    ahead_ns: i64,
    /// One time in so many is another: by so much, or none at all.
    other: Option<(usize, Option<i64>)>,
    is_snapshot: bool,
    /// Records of a block; 0: as the writer cuts them.
    block: usize,
}

fn stretch() -> impl Strategy<Value = Stretch> {
    let records = prop_oneof![1_usize..40, 400_usize..1_200];
    let step = prop_oneof![Just(0), Just(1_000), Just(2 * SECOND_NS), Just(600 * SECOND_NS)];
    let far = 1_000_000_000 * SECOND_NS as i64;
    let ahead =
        prop_oneof![6 => Just(0), 1 => Just(far), 1 => Just(-far), 1 => -10_000_000_000_i64..10_000_000_000];
    let by = prop_oneof![Just(None), Just(Some(far)), (-9_000_000_000_i64..9_000_000_000).prop_map(Some)];
    let other = prop_oneof![2 => Just(None), 1 => (2_usize..900, by).prop_map(Some)];
    let block = prop_oneof![3 => Just(0), 1 => 1_usize..4, 1 => 100_usize..700];
    (records, step, ahead, other, any::<bool>(), block).prop_map(
        |(records, step_ns, ahead_ns, other, is_snapshot, block)| Stretch {
            records,
            step_ns,
            ahead_ns,
            other,
            is_snapshot,
            block,
        },
    )
}

/// Each record, and whether its block ends behind it.
fn records(stretches: &[Stretch]) -> Vec<(Primary, bool)> {
    let (mut records, mut clock_ns) = (Vec::new(), START_NS);
    for stretch in stretches {
        let snapshot = if stretch.is_snapshot { primary_flags::SNAPSHOT } else { 0 };
        for number in 0..stretch.records {
            clock_ns += stretch.step_ns;
            let mut time_ns = clock_ns.saturating_add_signed(stretch.ahead_ns);
            if let Some((_, by)) = stretch.other.filter(|(every, _)| number % every == every - 1) {
                time_ns = by.map_or(ABSENT_TIME, |by| time_ns.saturating_add_signed(by));
            }
            let flags = primary_flags::LAST | snapshot;
            let record = Primary { flags, ..Primary::new(PrimaryKind::Trade, 0, time_ns) };
            records.push((record, stretch.block > 0 && number % stretch.block == 0));
        }
    }
    records
}

fn file(stretches: &[Stretch]) -> Reader<Cursor<Vec<u8>>> {
    let instrument = Instrument {
        symbol: "A".into(),
        price_exponent: 0,
        quantity_exponent: 0,
        tick_size: 1,
        lot_size: 1,
        channels: ChannelSet::of(&[Channel::Trades]),
        book_depth: 0,
        source_id: 0,
    };
    let description = Description::new("a test", vec![instrument]);
    let mut writer = Writer::new(Vec::new(), "a test", &description).unwrap();
    for (record, is_end) in records(stretches) {
        writer.push(&record).unwrap();
        if is_end {
            writer.flush().unwrap();
        }
    }
    let (_, bytes) = writer.finish_into().unwrap();
    Reader::new(Cursor::new(bytes), "a test").unwrap()
}

/// Whether the time of a record counts, and where it stands.
type Decision = (Option<bool>, Option<u64>);

/// What is decided of each record, with a look behind each leap where nothing is believed; and how many looks led to
/// something that is.
fn decisions(reader: &mut Reader<Cursor<Vec<u8>>>, believes: bool) -> (Vec<Decision>, usize) {
    let (mut running, mut position, mut decisions) = (Running::default(), Position::default(), Vec::new());
    let mut looks = 0;
    reader.rewind();
    while reader.next_block().unwrap().is_some() {
        for at in 0..reader.block().len() {
            if !believes {
                (running.believed_until, position.live.believed_until) = (0, 0);
            }
            let believed_until = running.believed_until;
            decisions.push((running.follow(reader, at), position.follow(reader, at)));
            looks += usize::from(running.believed_until != believed_until);
        }
    }
    (decisions, looks)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_believed_is_what_a_look_would_have_shown(stretches in proptest::collection::vec(stretch(), 1..8)) {
        let mut reader = file(&stretches);
        let (with, _) = decisions(&mut reader, true);
        let (without, _) = decisions(&mut reader, false);
        prop_assert!(with == without, "{:?}", with.iter().zip(&without).position(|(one, other)| one != other));
    }

    #[test]
    fn what_is_written_is_settled_as_if_all_were_counted(stretches in proptest::collection::vec(stretch(), 1..8)) {
        let (mut settling, mut counting) = (Settling::default(), Settling::default());
        for (record, _) in records(&stretches) {
            settling.follow(&record);
            counting.in_order = 0;
            counting.follow(&record);
            prop_assert_eq!(settling.greatest_ns(), counting.greatest_ns());
            prop_assert_eq!((settling.before, settling.others), (counting.before, counting.others));
        }
    }
}

#[test]
fn records_far_apart_are_looked_at_once_for_hundreds() {
    let stretch = Stretch {
        records: 20_000,
        step_ns: 2 * SECOND_NS,
        ahead_ns: 0,
        other: None,
        is_snapshot: false,
        block: 0,
    };
    let mut reader = file(&[stretch]);
    let (decisions, looks) = decisions(&mut reader, true);
    assert!(decisions.iter().all(|(counts, _)| *counts == Some(true)));
    assert!(looks <= 20_000 / 400, "{looks} looks behind 20,000 records");
}
