//! Times that cannot be: a record far ahead of what follows holds nothing up, and everything is found where it is.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tickcast::feed::export::{self, Selection};
use tickcast::feed::inspect::{inspect, series};
use tickcast::feed::{
    Description, KeyframeSettings, Reader, Replay, ReplaySettings, ReplayState, Speed, Writer,
};
use tickcast::model::{Channel, ChannelSet, Instrument, Primary, PrimaryKind, primary_flags};
use tickcast::source::{Next, Source};

/// Times of the test recordings start here.
const START_NS: u64 = 1_700_000_000_000_000_000;
/// 2100-01-01.
const FAR_NS: u64 = 4_102_444_800_000_000_000;
const MS: u64 = 1_000_000;
/// Records of a recording: several blocks of them.
const RECORDS: u64 = 40_000;

/// A trade every millisecond, but for those records whose time is another.
fn trades(other_ns: &[(u64, u64)]) -> Vec<Primary> {
    let mut records: Vec<Primary> = (0..RECORDS)
        .map(|number| Primary {
            ts_recv_ns: START_NS + number * MS,
            sequence: number as u32 + 1,
            price: 100,
            quantity: 1,
            flags: primary_flags::LAST,
            ..Primary::new(PrimaryKind::Trade, 0, START_NS + number * MS)
        })
        .collect();
    for (number, time_ns) in other_ns {
        records[*number as usize].ts_recv_ns = *time_ns;
    }
    records
}

struct Files(TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, symbol: &str, records: &[Primary]) -> PathBuf {
        let instrument = Instrument {
            symbol: symbol.into(),
            price_exponent: -2,
            quantity_exponent: 0,
            tick_size: 1,
            lot_size: 1,
            channels: ChannelSet::of(&[Channel::Trades]),
            book_depth: 0,
            source_id: 0,
        };
        let path = self.path(name);
        let writer = Writer::create(&path, &Description::new("a test", vec![instrument])).unwrap();
        let mut writer = writer.with_keyframes(KeyframeSettings { every: 1, share: 0 });
        records.iter().for_each(|primary| writer.push(primary).unwrap());
        writer.finish().unwrap();
        path
    }
}

/// Polls at exactly the times asked for: when each record was sent, by the clock, from 0 on.
fn play(paths: &[PathBuf]) -> Vec<(u64, u32)> {
    let mut replay = Replay::open(paths, ReplaySettings::default()).unwrap();
    let (mut sent, mut out, mut now_ns) = (Vec::new(), Vec::new(), 0);
    loop {
        let next = replay.poll(now_ns, &mut out).unwrap();
        sent.extend(out.drain(..).map(|primary| (now_ns, primary.sequence)));
        match next {
            Next::Now => {}
            Next::At(due_ns) => now_ns = due_ns,
            Next::Ended => return sent,
            other => panic!("{other:?}"),
        }
    }
}

/// Where a replay stands after a seek.
fn sought(path: &Path, time_ns: u64) -> ReplayState {
    let settings = ReplaySettings { speed: Speed::MAX, start_paused: true, ..ReplaySettings::default() };
    let mut replay = Replay::open(&[path.to_owned()], settings).unwrap();
    let handle = replay.handle();
    handle.seek(time_ns);
    let mut out = Vec::new();
    while !matches!(replay.poll(0, &mut out).unwrap(), Next::Idle | Next::Ended) {}
    handle.state()
}

/// The last record of a block, one within, and the first of the file; and a clock that was wrong for 300 lines.
fn leaps() -> Vec<Vec<(u64, u64)>> {
    let last_of_block = {
        let files = Files::new();
        let reader = Reader::open(&files.write("a.feed", "A", &trades(&[]))).unwrap();
        assert!(reader.blocks().len() > 3);
        reader.blocks()[1].first_record + u64::from(reader.blocks()[1].records) - 1
    };
    let one = |number| vec![(number, FAR_NS)];
    let wrong_clock = (20_000..20_300).map(|number| (number, FAR_NS + number * MS)).collect();
    vec![one(last_of_block), one(15_000), one(0), one(last_of_block + 1), wrong_clock]
}

#[test]
fn a_time_far_ahead_holds_no_replay_up() {
    let files = Files::new();
    for (case, leap) in leaps().iter().enumerate() {
        let path = files.write(&format!("{case}.feed"), "A", &trades(leap));
        let sent = play(&[path]);
        assert_eq!(sent.len() as u64, RECORDS, "case {case}");
        for (position, (now_ns, sequence)) in sent.iter().enumerate() {
            let number = position as u64;
            assert_eq!(u64::from(*sequence), number + 1);
            // One whose time does not count comes with what is before it.
            let before = (0..=number).rev().find(|number| !leap.iter().any(|(wrong, _)| wrong == number));
            let first = u64::from(leap[0].0 == 0);
            assert_eq!(
                *now_ns,
                before.map_or(0, |before| before.saturating_sub(first)) * MS,
                "record {number}"
            );
        }
    }
}

#[test]
fn a_pause_in_the_recording_is_no_time_that_is_taken_back() {
    let files = Files::new();
    let mut records = trades(&[]);
    records[30_000..].iter_mut().for_each(|primary| primary.ts_recv_ns += 3_600_000 * MS);
    let sent = play(&[files.write("a.feed", "A", &records)]);
    assert_eq!(sent[29_999].0, 29_999 * MS);
    assert_eq!(sent[30_000].0, 3_630_000 * MS, "an hour later");
    // Where the clock was set back for good, what was written before is played as it was written.
    let mut records = trades(&[]);
    records[39_000..].iter_mut().for_each(|primary| primary.ts_recv_ns -= 3_600_000 * MS);
    let sent = play(&[files.write("b.feed", "A", &records)]);
    assert_eq!(sent[38_999].0, 38_999 * MS);
    assert_eq!(sent[39_999].0, 38_999 * MS);
}

#[test]
fn a_seek_finds_its_place_and_the_span_is_that_of_the_recording() {
    let files = Files::new();
    for (case, leap) in leaps().iter().enumerate() {
        let path = files.write(&format!("{case}.feed"), "A", &trades(leap));
        for number in [10_000, 25_000, 39_000, 24_576] {
            let state = sought(&path, START_NS + number * MS);
            assert_eq!(state.records_sent, number, "case {case}");
            assert_eq!(state.time_ns, START_NS + number * MS);
            assert_eq!(state.begin_ns, START_NS + u64::from(leap[0].0 == 0) * MS);
            assert_eq!(state.end_ns, START_NS + (RECORDS - 1) * MS);
        }
    }
}

#[test]
fn files_are_merged_as_if_the_time_were_not_there() {
    let files = Files::new();
    let one = files.write("a.feed", "A", &trades(&[(15_000, FAR_NS)]));
    let other = files.write("b.feed", "B", &trades(&[]));
    let sent = play(&[one, other]);
    assert_eq!(sent.len() as u64, 2 * RECORDS);
    assert!(sent.iter().all(|(now_ns, sequence)| {
        let due_ns = u64::from(*sequence - 1) * MS;
        *now_ns == due_ns || (*sequence == 15_001 && *now_ns + MS == due_ns)
    }));
}

#[test]
fn before_the_beginning_is_the_beginning() {
    let files = Files::new();
    let mut records = trades(&[]);
    records[..500].iter_mut().for_each(|primary| {
        primary.flags |= primary_flags::SNAPSHOT;
        primary.ts_recv_ns = START_NS;
    });
    let path = files.write("a.feed", "A", &records);
    for time_ns in [0, 1, START_NS - 1, START_NS] {
        assert_eq!(sought(&path, time_ns).records_sent, 500, "{time_ns}");
        assert_eq!(sought(&path, time_ns).time_ns, START_NS);
    }
    // Without any time there is nothing but the beginning and the end.
    records.iter_mut().for_each(|primary| (primary.ts_recv_ns, primary.ts_event_ns) = (u64::MAX, u64::MAX));
    assert_eq!(sought(&files.write("b.feed", "A", &records), 0).records_sent, 0);
}

#[test]
fn an_export_of_a_part_begins_and_ends_where_the_part_does() {
    let files = Files::new();
    let path = files.write("a.feed", "A", &trades(&[(15_000, FAR_NS), (24_000, FAR_NS), (25_500, 1)]));
    let part = Selection {
        start_ns: Some(START_NS + 24_500 * MS),
        end_ns: Some(START_NS + 26_000 * MS),
        ..Selection::default()
    };
    let out = files.path("out.jsonl");
    export::json_lines(&path, &part, &out, &mut |_, _| {}).unwrap();
    let text = fs::read_to_string(out).unwrap();
    let numbers: Vec<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|message| message["type"] == "trade")
        .map(|message| message["last_seq"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (24_501..=26_000).collect::<Vec<_>>());
}

#[test]
fn inspect_says_which_times_do_not_count() {
    let files = Files::new();
    let path = files.write("a.feed", "A", &trades(&[(15_000, FAR_NS), (24_000, FAR_NS + 1)]));
    let report = inspect(&path, &mut |_, _| {}).unwrap();
    let ahead = report.ahead.as_ref().unwrap();
    assert_eq!(
        (ahead.records, ahead.first_record, ahead.first.as_str()),
        (2, 15_000, "2100-01-01T00:00:00Z")
    );
    let paced = report.paced.as_ref().unwrap();
    assert_eq!(paced.last_ns, (START_NS + (RECORDS - 1) * MS).to_string());
    let mut text = Vec::new();
    report.write_text(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains("2 x a time after those that follow") && text.contains("record 15,000: 2100-01-01"),
        "{text}"
    );
    assert_eq!(inspect(&files.write("b.feed", "A", &trades(&[])), &mut |_, _| {}).unwrap().ahead, None);
    // A picture is of the time that the recording took.
    let drawn = series(&path, 0).unwrap();
    assert_eq!(drawn.slices.iter().map(|slice| slice.events).sum::<u64>(), RECORDS - 2);
    assert!(drawn.slice_ns < 100 * MS);
}

#[test]
fn keyframes_behind_a_time_far_ahead_are_of_use() {
    let files = Files::new();
    let record = |leap: &[(u64, u64)], name: &str| {
        let mut reader = Reader::open(&files.write(name, "A", &trades(leap))).unwrap();
        let keyframe = reader.keyframe_before(START_NS + 39_000 * MS).unwrap().unwrap();
        assert!(keyframe.place_ns < Some(START_NS + 39_000 * MS));
        assert_eq!(keyframe.time_ns, keyframe.place_ns);
        keyframe.record
    };
    let nearest = record(&[], "none.feed");
    for (case, leap) in leaps().iter().enumerate() {
        assert_eq!(record(leap, &format!("{case}.feed")), nearest, "case {case}");
    }
    // One that is not settled where the keyframe is written spoils no more than that.
    let before = record(&[(nearest - 3, FAR_NS)], "late.feed");
    assert!(before < nearest && nearest - before < 10_000, "{before}");
}
