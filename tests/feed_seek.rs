//! Keyframes, and replays that start or jump anywhere: what they show is what a straight run shows there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use tickcast::feed::import::{self, ImportOptions};
use tickcast::feed::{
    Description, KeyframeSettings, Reader, Replay, ReplayHandle, ReplaySettings, Speed, Writer,
    pacing_time_ns,
};
use tickcast::model::{
    Catalog, Channel, Deriver, Level, Order, Primary, PrimaryKind, Quote, ResetReason, Side, Status, Ticker,
    primary_flags,
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
fn simulated(ticks: u64) -> Recording {
    let settings =
        SimulationSettings { seed: 7, instruments: profiles(3), rate: Rate::Max, ticks: Some(ticks) };
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
    /// The events that are chosen, by the number of their first record, with the instruments they are about.
    fn part(&self, is_chosen: impl Fn(usize, &Primary) -> bool) -> Recording {
        let mut records = Vec::new();
        let mut at = 0;
        for event in self.records.split_inclusive(Primary::is_last) {
            if is_chosen(at, &event[0]) {
                records.extend_from_slice(event);
            }
            at += event.len();
        }
        let used: BTreeSet<u32> = records.iter().map(|primary| primary.instrument).collect();
        let instruments = used.iter().map(|number| self.catalog.instruments()[*number as usize].clone());
        let catalog = Arc::new(Catalog::new(instruments.collect()).unwrap());
        for primary in &mut records {
            primary.instrument = used.range(..primary.instrument).count() as u32;
        }
        Recording { catalog, records }
    }

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
            let told = Channel::ALL.into_iter().filter(|channel| *channel != Channel::Bars);
            told.map(move |channel| (instrument, channel)).collect::<Vec<_>>()
        };
        let stood = |instrument: u32| {
            let sequence = |(it, channel)| (it, channel as u8, straight.sequence(it, channel));
            stood(instrument).into_iter().map(sequence).collect::<Vec<_>>()
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
    check_keyframes(&simulated(20_000), 6);
}

#[test]
fn a_keyframe_of_a_real_recording_is_the_state_of_a_straight_run() {
    let Some(recording) = recorded() else { return };
    check_keyframes(&recording, 13);
}

#[test]
fn a_file_that_is_gone_on_with_has_the_keyframes_of_one_that_was_not_interrupted() {
    let recording = simulated(20_000);
    let folder = tempfile::tempdir().unwrap();
    for settings in [OFTEN, KeyframeSettings { every: 9_000, share: 0 }] {
        // Blocks end where a part does: the parts are those of the file that was written at once.
        let whole = recording.file(Some(settings));
        let blocks = open(&whole).blocks().to_vec();
        let path = folder.path().join(format!("{}.feed", settings.every));
        let description = Description::new("a test", recording.catalog.instruments().to_vec());
        let mut writer = Writer::create(&path, &description).unwrap().with_keyframes(settings);
        for (at, block) in blocks.iter().enumerate() {
            let records =
                block.first_record as usize..(block.first_record + u64::from(block.records)) as usize;
            recording.records[records].iter().for_each(|primary| writer.push(primary).unwrap());
            if at % 3 == 1 {
                writer.finish().unwrap();
                writer = Writer::append(&path, settings).unwrap();
            }
        }
        writer.finish().unwrap();
        assert!(std::fs::read(&path).unwrap() == whole, "{settings:?}");
    }
}

#[test]
fn a_file_with_keyframes_has_the_same_records_and_the_same_index() {
    let recording = simulated(20_000);
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
    let recording = simulated(20_000);
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
    let recording = simulated(20_000);
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

/// A recording as files of a replay.
struct Files(TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// As fast as it goes, and standing still.
fn paused() -> ReplaySettings {
    ReplaySettings { speed: Speed::MAX, start_paused: true, ..ReplaySettings::default() }
}

/// Everything that a replay sends until it has nothing to say, through a deriver that is reset as a publisher's is.
struct Follower {
    replay: Replay,
    deriver: Deriver,
    catalog: Arc<Catalog>,
    resets: Vec<ResetReason>,
}

impl Follower {
    fn new(paths: &[PathBuf], settings: ReplaySettings) -> (Follower, ReplayHandle) {
        let replay = Replay::open(paths, settings).unwrap();
        let (catalog, handle) = (replay.catalog(), replay.handle());
        (
            Follower { replay, deriver: Deriver::new(Arc::clone(&catalog)), catalog, resets: Vec::new() },
            handle,
        )
    }

    /// What was sent up to where it stands still or ends, and which of both.
    fn follow(&mut self) -> (Vec<Primary>, Next) {
        let (mut sent, mut out, mut derived) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let next = self.replay.poll(0, &mut out).unwrap();
            for primary in &out {
                self.deriver.apply(primary, &mut derived).unwrap();
                derived.clear();
            }
            sent.append(&mut out);
            match next {
                Next::Now => {}
                Next::Reset(reason) => {
                    assert_eq!(sent, [], "a reset comes before what belongs to it");
                    self.resets.push(reason);
                    self.deriver.reset(1, reason, 0, &mut derived);
                    derived.clear();
                }
                next => return (sent, next),
            }
        }
    }

    fn states(&self) -> Vec<State> {
        states(&self.deriver, &self.catalog)
    }
}

#[test]
fn before_the_beginning_is_the_beginning_whatever_the_time() {
    let mut recording = simulated(200);
    // What stood before was there long before.
    let at = recording.records.iter().position(Primary::is_last).unwrap();
    for primary in &mut recording.records[..=at] {
        primary.flags |= primary_flags::SNAPSHOT;
        primary.ts_event_ns -= 3_600_000_000_000;
    }
    let files = Files::new();
    let (mut follower, handle) = Follower::new(&[files.write("a.feed", &recording.file(None))], paused());
    let begin_ns = handle.state().begin_ns;
    assert_eq!(begin_ns, recording.records[0].ts_event_ns);
    let mut shown = Vec::new();
    for moment_ns in [0, 1, begin_ns - 1, begin_ns] {
        handle.seek(moment_ns);
        follower.follow();
        shown.push((follower.states(), handle.state().records_sent, handle.state().time_ns));
    }
    assert!(shown.iter().all(|one| *one == shown[0]));
    assert_eq!((shown[0].1, shown[0].2), (records_before(&recording, begin_ns) as u64, begin_ns));
}

/// A hundred random moments, times of records and others, in the order in which they are sought.
fn moments(recording: &Recording) -> Vec<u64> {
    let timed = recording.records.iter().filter(|primary| primary.flags & primary_flags::SNAPSHOT == 0);
    let times: Vec<u64> = timed.filter_map(pacing_time_ns).collect();
    let mut random = 7_u64;
    let moment = |_| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        times[(random >> 33) as usize % times.len()] + (random >> 20) % 2
    };
    (0..100).map(moment).collect()
}

/// How many records stand before the first event at a moment or later.
fn records_before(recording: &Recording, moment_ns: u64) -> usize {
    let timed = |primary: &Primary| {
        let is_snapshot = primary.flags & primary_flags::SNAPSHOT != 0;
        pacing_time_ns(primary).filter(|_| !is_snapshot)
    };
    let events = recording.records.split_inclusive(Primary::is_last);
    let before = |event: &&[Primary]| event.iter().filter_map(timed).max().unwrap_or(0) < moment_ns;
    events.take_while(before).map(<[Primary]>::len).sum()
}

fn seek_everywhere(recording: &Recording, bytes: &[u8]) {
    let files = Files::new();
    let (mut follower, handle) = Follower::new(&[files.write("a.feed", bytes)], paused());
    assert_eq!(follower.follow(), (vec![], Next::Idle));
    let moments = moments(recording);
    // The straight run stops at each moment once, in their order.
    let mut expected = BTreeMap::new();
    let mut straight = Deriver::new(Arc::clone(&recording.catalog));
    let (mut done, mut out) = (0, Vec::new());
    let sorted: BTreeSet<u64> = moments.iter().copied().collect();
    for moment_ns in sorted {
        let upto = records_before(recording, moment_ns);
        for primary in &recording.records[done..upto] {
            straight.apply(primary, &mut out).unwrap();
            out.clear();
        }
        done = upto;
        expected.insert(moment_ns, (upto, states(&straight, &recording.catalog)));
    }
    for (at, moment_ns) in moments.into_iter().enumerate() {
        handle.seek(moment_ns);
        let (told, next) = follower.follow();
        let (upto, expected) = &expected[&moment_ns];
        let has_more = *upto < recording.records.len();
        assert_eq!(next, if has_more { Next::Idle } else { Next::Ended });
        assert!(told.iter().all(|primary| primary.flags & primary_flags::SNAPSHOT != 0));
        assert!(follower.states() == *expected, "moment {moment_ns}");
        assert_eq!(follower.resets.len(), at + 1);
        let state = handle.state();
        assert_eq!(state.records_sent, *upto as u64);
        assert!(!has_more || state.time_ns == moment_ns.max(state.begin_ns));
        // What follows is what follows there.
        if at % 20 == 0 && has_more {
            handle.step(1);
            let (sent, _) = follower.follow();
            let rest = &recording.records[*upto..];
            assert!(rest.starts_with(&sent) && sent.last().is_some_and(Primary::is_last));
        }
    }
    assert!(follower.resets.iter().all(|reason| *reason == ResetReason::Seek));
    handle.play();
    follower.follow();
    assert!(
        follower.states() == states(&derived(&recording.catalog, &recording.records), &recording.catalog)
    );
}

#[test]
fn after_a_seek_anywhere_the_books_are_those_of_a_straight_run() {
    let recording = simulated(20_000);
    seek_everywhere(&recording, &recording.file(Some(OFTEN)));
}

#[test]
fn without_keyframes_or_an_index_a_seek_shows_the_same() {
    let recording = simulated(6_000);
    seek_everywhere(&recording, &recording.file(None));
    let bytes = recording.file(Some(OFTEN));
    let blocks_end = open(&bytes).blocks().last().map(|block| block.offset + u64::from(block.bytes)).unwrap();
    seek_everywhere(&recording, &bytes[..blocks_end as usize]);
}

#[test]
fn after_a_seek_in_a_real_recording_the_books_are_those_of_a_straight_run() {
    let Some(recording) = recorded() else { return };
    seek_everywhere(&recording, &recording.file(Some(OFTEN)));
}

#[test]
fn a_seek_in_several_files_shows_all_of_them() {
    let recording = simulated(12_000);
    // One instrument in a file of its own, the others in both of two files, in turns.
    let files = Files::new();
    let alone = recording.part(|_, primary| primary.instrument == 0);
    let shared =
        [0, 1].map(|turn| recording.part(|at, primary| primary.instrument != 0 && (at / 5_000) % 2 == turn));
    let mut paths = vec![files.write("alone.feed", &alone.file(Some(OFTEN)))];
    for (number, part) in shared.iter().enumerate() {
        paths.push(files.write(&format!("{number}.feed"), &part.file(Some(OFTEN))));
    }
    for moment_ns in moments(&recording).into_iter().take(6) {
        let (mut follower, handle) = Follower::new(&paths, paused());
        handle.seek(moment_ns);
        follower.follow();
        let ReplaySettings { speed, .. } = paused();
        // A straight run ends before that moment.
        let to_ns = Some(moment_ns - 1);
        let (mut straight, _) =
            Follower::new(&paths, ReplaySettings { to_ns, speed, ..ReplaySettings::default() });
        assert_eq!(straight.follow().1, Next::Ended);
        assert!(follower.states() == straight.states(), "moment {moment_ns}");
    }
}
