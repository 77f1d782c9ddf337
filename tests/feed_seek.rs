//! Keyframes, and replays that start or jump anywhere: what they show is what a straight run shows there.

use std::io::Cursor;
use std::sync::Arc;

use tickcast::feed::import::{self, ImportOptions};
use tickcast::feed::{Description, KeyframeSettings, Reader, Writer, pacing_time_ns};
use tickcast::model::{
    Catalog, Channel, Deriver, Level, Order, Primary, PrimaryKind, Quote, Side, Status, Ticker, primary_flags,
};
use tickcast::sim::{Rate, Simulation, SimulationSettings, profiles};
use tickcast::source::{Next, Source};

mod common;

/// One keyframe behind each full block, however large the books are.
const OFTEN: KeyframeSettings = KeyframeSettings { every: 1, share: 0 };

/// What a recording says.
struct Recording {
    catalog: Arc<Catalog>,
    records: Vec<Primary>,
}

/// Three instruments that open, trade, halt.
fn simulated() -> Recording {
    let settings =
        SimulationSettings { seed: 7, instruments: profiles(3), rate: Rate::Max, ticks: Some(20_000) };
    let mut simulation = Simulation::new(settings).unwrap();
    let mut records = Vec::new();
    while simulation.poll(0, &mut records).unwrap() != Next::Ended {}
    Recording { catalog: simulation.catalog(), records }
}

/// A real recording of one instrument, order by order, as it is imported.
fn recorded() -> Option<Recording> {
    let source = common::recorded("dbn/esh4-glbx-mdp3-20231225.mbo.dbn.zst")?;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("esh4.feed");
    import::dbn::import(&[source], &path, ImportOptions { strict: true }, &mut |_| {}).unwrap();
    let mut reader = Reader::open(&path).unwrap();
    let mut records = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        records.extend_from_slice(block);
    }
    Some(Recording { catalog: Arc::clone(reader.catalog()), records })
}

impl Recording {
    /// The recording as a file, with keyframes or without.
    fn file(&self, keyframes: Option<KeyframeSettings>) -> Vec<u8> {
        let description = Description::new("a test", self.catalog.instruments().to_vec());
        let mut writer = Writer::new(Vec::new(), "memory", &description).unwrap();
        if let Some(settings) = keyframes {
            writer = writer.with_keyframes(settings);
        }
        self.records.iter().for_each(|primary| writer.push(primary).unwrap());
        writer.finish_into().unwrap().1
    }
}

/// All that is known of an instrument at a moment.
#[derive(Debug, PartialEq)]
struct State {
    orders: [Vec<Order>; 2],
    levels: [Vec<Level>; 2],
    quote: Quote,
    ticker: Ticker,
    status: Status,
}

fn states(deriver: &Deriver, catalog: &Catalog) -> Vec<State> {
    let sides = [Side::Bid, Side::Ask];
    let state = |(id, _)| State {
        orders: sides.map(|side| deriver.orders(id).orders(side).collect()),
        levels: sides.map(|side| deriver.book(id).levels(side).collect()),
        quote: deriver.quote(id),
        ticker: deriver.ticker(id),
        status: deriver.status(id),
    };
    catalog.iter().map(state).collect()
}

/// A deriver that was given these.
fn derived(catalog: &Arc<Catalog>, records: &[Primary]) -> Deriver {
    let mut deriver = Deriver::new(Arc::clone(catalog));
    let mut out = Vec::new();
    for primary in records {
        deriver.apply(primary, &mut out).unwrap();
        out.clear();
    }
    deriver
}

fn open(bytes: &[u8]) -> Reader<Cursor<&[u8]>> {
    Reader::new(Cursor::new(bytes), "memory").unwrap()
}

/// Every keyframe of a file, the last first, each with its records.
fn keyframes(reader: &mut Reader<Cursor<&[u8]>>) -> Vec<(tickcast::feed::Keyframe, Vec<Primary>)> {
    let mut found = Vec::new();
    let mut before_ns = u64::MAX;
    while let Some(keyframe) = reader.keyframe_before(before_ns).unwrap() {
        let mut records = Vec::new();
        reader.start_at(keyframe, |primary| records.push(*primary)).unwrap();
        before_ns = keyframe.place_ns.unwrap_or(0);
        found.push((keyframe, records));
    }
    found
}

fn check_keyframes(recording: &Recording, least: usize) {
    let bytes = recording.file(Some(OFTEN));
    let mut reader = open(&bytes);
    assert!(reader.is_complete());
    let found = keyframes(&mut reader);
    assert!(found.len() >= least, "{} keyframes", found.len());
    for (keyframe, records) in found {
        let (before, after) = recording.records.split_at(keyframe.record as usize);
        let straight = derived(&recording.catalog, before);
        let taken = derived(&recording.catalog, &records);
        assert_eq!(states(&taken, &recording.catalog), states(&straight, &recording.catalog));
        // The notes say where each stream stood.
        let notes = records.iter().filter(|primary| primary.kind == PrimaryKind::Note as u8);
        let told: Vec<_> = notes.map(|note| (note.instrument, note.level, note.order_id)).collect();
        let stood = |instrument: u32| {
            Channel::ALL.map(|channel| (instrument, channel as u8, straight.sequence(instrument, channel)))
        };
        let instruments = 0..recording.catalog.len() as u32;
        let stood: Vec<_> = instruments.flat_map(stood).filter(|(_, _, sequence)| *sequence > 0).collect();
        assert_eq!(told, stood);
        let timed = |of_snapshots: bool| {
            let counts = |p: &&Primary| of_snapshots || p.flags & primary_flags::SNAPSHOT == 0;
            before.iter().filter(counts).filter_map(pacing_time_ns).max()
        };
        assert_eq!((keyframe.time_ns, keyframe.place_ns), (timed(false), timed(true)));
        // Reading goes on with the record behind it.
        reader.start_at(keyframe, |_| {}).unwrap();
        match reader.next_block().unwrap() {
            Some(block) => assert_eq!(block[0], after[0]),
            None => assert_eq!(after, []),
        }
    }
}

#[test]
fn a_keyframe_is_the_state_of_a_straight_run_and_says_where_each_stream_stood() {
    check_keyframes(&simulated(), 6);
}

#[test]
fn a_keyframe_of_a_real_recording_is_the_state_of_a_straight_run() {
    let Some(recording) = recorded() else { return };
    check_keyframes(&recording, 13);
}

#[test]
fn a_file_with_keyframes_has_the_same_records_and_the_same_index() {
    let recording = simulated();
    let (plain, with) = (recording.file(None), recording.file(Some(OFTEN)));
    let (mut plain, mut with) = (open(&plain), open(&with));
    assert_eq!(plain.kinds(), with.kinds());
    assert_eq!(keyframes(&mut plain), []);
    plain.rewind();
    with.rewind();
    loop {
        let (one, other) = (plain.next_block().unwrap(), with.next_block().unwrap());
        assert!(one == other);
        if one.is_none() {
            return;
        }
    }
}

#[test]
fn keyframes_are_found_without_an_index_and_those_that_are_damaged_are_passed_over() {
    let recording = simulated();
    let bytes = recording.file(Some(OFTEN));
    let all = keyframes(&mut open(&bytes));
    // The index and the trailer are lost.
    let index = open(&bytes).blocks().last().map(|block| block.offset + u64::from(block.bytes)).unwrap();
    let torn = &bytes[..index as usize];
    let mut reader = open(torn);
    assert!(!reader.is_complete());
    let found = keyframes(&mut reader);
    let before_the_end =
        |keyframe: &tickcast::feed::Keyframe| keyframe.record < recording.records.len() as u64;
    assert!(found.iter().eq(all.iter().filter(|(keyframe, _)| before_the_end(keyframe))));
    // One behind a block that the index names is damaged.
    let third = open(&bytes).blocks()[2];
    let mut damaged = bytes.clone();
    damaged[(third.offset + u64::from(third.bytes)) as usize + 60] ^= 1;
    let mut reader = open(&damaged);
    assert!(reader.is_complete());
    let found = keyframes(&mut reader);
    let behind = third.first_record + u64::from(third.records);
    assert!(found.iter().eq(all.iter().filter(|(keyframe, _)| keyframe.record != behind)));
}

#[test]
fn a_large_state_comes_less_often() {
    let recording = simulated();
    let spaced = |settings| {
        let bytes = recording.file(Some(settings));
        let found = keyframes(&mut open(&bytes));
        found
            .into_iter()
            .map(|(keyframe, records)| (keyframe.record, records.len() as u64))
            .collect::<Vec<_>>()
    };
    let often = spaced(OFTEN);
    let seldom = spaced(KeyframeSettings { every: 1, share: 8 });
    assert!(!seldom.is_empty() && seldom.len() < often.len(), "{seldom:?} {often:?}");
    for pair in seldom.windows(2) {
        let [(record, size), (before, _)] = pair else { unreachable!() };
        assert!(record - before >= 8 * size, "{seldom:?}");
    }
    assert_eq!(spaced(KeyframeSettings::default()), [], "a short file needs none");
    let every = spaced(KeyframeSettings { every: 9_000, share: 0 });
    assert!(every.windows(2).all(|pair| pair[0].0 - pair[1].0 >= 9_000) && every.len() >= 2, "{every:?}");
}
