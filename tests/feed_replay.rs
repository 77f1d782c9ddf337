//! Replay by a virtual clock: due times, pauses, speeds, loops, several files.

use std::path::{Path, PathBuf};

use crossbeam_utils::sync::Parker;
use tempfile::TempDir;
use tickcast::feed::{Description, Replay, ReplayHandle, ReplaySettings, ReplayStatus, Speed, Writer};
use tickcast::limits;
use tickcast::model::{
    ABSENT_TIME, Channel, ChannelSet, Instrument, Primary, PrimaryKind, ResetReason, primary_flags,
};
use tickcast::source::{Next, Source};

/// Times of the test recordings start here.
const START_NS: u64 = 1_700_000_000_000_000_000;

fn instrument(symbol: &str) -> Instrument {
    Instrument {
        symbol: symbol.into(),
        price_exponent: -2,
        quantity_exponent: 0,
        tick_size: 1,
        lot_size: 1,
        channels: ChannelSet::of(&[Channel::Trades]),
        book_depth: 0,
        source_id: 0,
    }
}

/// A trade that was received so long after the start and is an exchange event of its own.
fn trade(after_ns: u64, number: u32) -> Primary {
    Primary {
        ts_recv_ns: START_NS + after_ns,
        sequence: number,
        flags: primary_flags::LAST,
        ..Primary::new(PrimaryKind::Trade, 0, START_NS)
    }
}

struct Files(TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, instruments: Vec<Instrument>, primaries: &[Primary]) -> PathBuf {
        let path = self.0.path().join(name);
        let mut writer = Writer::create(&path, &Description::new("a test", instruments)).unwrap();
        for primary in primaries {
            writer.push(primary).unwrap();
        }
        writer.finish().unwrap();
        path
    }

    fn trades(&self, name: &str, after_ns: &[u64]) -> PathBuf {
        let trades: Vec<Primary> =
            after_ns.iter().zip(1..).map(|(after_ns, number)| trade(*after_ns, number)).collect();
        self.write(name, vec![instrument("A")], &trades)
    }
}

fn replay(path: &Path, settings: ReplaySettings) -> (Replay, ReplayHandle) {
    let replay = Replay::open(&[path.to_owned()], settings).unwrap();
    let handle = replay.handle();
    (replay, handle)
}

fn at(speed: &str) -> ReplaySettings {
    ReplaySettings { speed: speed.parse().unwrap(), ..ReplaySettings::default() }
}

/// Polls at exactly the times asked for; gives (clock time, sequence) of everything sent, up to the end.
fn play(replay: &mut Replay, start_ns: u64) -> Vec<(u64, u32)> {
    let mut sent = Vec::new();
    let mut now_ns = start_ns;
    let mut out = Vec::new();
    loop {
        let next = replay.poll(now_ns, &mut out).unwrap();
        sent.extend(out.drain(..).map(|primary| (now_ns, primary.sequence)));
        match next {
            Next::Now => {}
            Next::At(due_ns) => {
                assert!(due_ns > now_ns);
                now_ns = due_ns;
            }
            Next::Ended => return sent,
            other => panic!("{other:?}"),
        }
    }
}

/// Polls until something else than [`Next::Now`] comes: what was sent, the state at a place apart, and what comes next.
fn settle(replay: &mut Replay, now_ns: u64) -> (Vec<u32>, Next) {
    let mut out = Vec::new();
    loop {
        let next = replay.poll(now_ns, &mut out).unwrap();
        if next != Next::Now {
            out.retain(|primary| primary.flags & primary_flags::SNAPSHOT == 0);
            return (out.iter().map(|primary| primary.sequence).collect(), next);
        }
    }
}

/// One poll: what was sent, and what comes next.
fn poll(replay: &mut Replay, now_ns: u64) -> (Vec<u32>, Next) {
    let mut out = Vec::new();
    let next = replay.poll(now_ns, &mut out).unwrap();
    (out.iter().map(|primary| primary.sequence).collect(), next)
}

#[test]
fn records_are_due_as_they_were_received() {
    let files = Files::new();
    let path = files.trades("a.feed", &[0, 1_000, 1_000, 3_000, 2_000, 4_001]);
    for (speed, due) in [
        ("1", [0, 1_000, 1_000, 3_000, 3_000, 4_001]),
        ("0.5", [0, 2_000, 2_000, 6_000, 6_000, 8_002]),
        ("10", [0, 100, 100, 300, 300, 401]),
        ("max", [0; 6]),
    ] {
        let (mut replay, handle) = replay(&path, at(speed));
        let sent = play(&mut replay, 5_000);
        let expected: Vec<(u64, u32)> = due.iter().map(|due| 5_000 + due).zip(1..).collect();
        assert_eq!(sent, expected, "speed {speed}");
        assert_eq!(handle.state().state, ReplayStatus::Ended);
        assert_eq!(poll(&mut replay, u64::MAX), (vec![], Next::Ended), "it stays ended");
    }
}

#[test]
fn every_speed_sends_the_same_records() {
    let files = Files::new();
    let trades: Vec<Primary> = (0..5_000_u32).map(|number| trade(u64::from(number) * 977, number)).collect();
    let path = files.write("a.feed", vec![instrument("A")], &trades);
    for speed in ["0.1", "1", "1000", "max"] {
        let (mut replay, _) = replay(&path, at(speed));
        let mut sent = Vec::new();
        let mut now_ns = 0;
        loop {
            let before = sent.len();
            let next = replay.poll(now_ns, &mut sent).unwrap();
            assert!(sent.len() - before <= limits::SOURCE_BATCH_MAX);
            match next {
                Next::Ended => break,
                // A pump that is late catches up.
                Next::At(due_ns) => now_ns = due_ns + 3_333,
                _ => {}
            }
        }
        assert!(sent == trades, "speed {speed}");
    }
}

#[test]
fn an_exchange_event_goes_out_whole_when_its_last_record_is_due() {
    let files = Files::new();
    let open = |after_ns, number| Primary { flags: 0, ..trade(after_ns, number) };
    let path = files.write(
        "a.feed",
        vec![instrument("A")],
        &[trade(0, 1), open(100, 2), open(200, 3), trade(300, 4)],
    );
    let (mut replay, _) = replay(&path, at("1"));
    assert_eq!(poll(&mut replay, 0), (vec![1], Next::At(300)));
    assert_eq!(poll(&mut replay, 299), (vec![], Next::At(300)));
    assert_eq!(poll(&mut replay, 300), (vec![2, 3, 4], Next::Ended));
}

#[test]
fn an_event_without_an_end_comes_in_pieces() {
    let files = Files::new();
    let endless: Vec<Primary> = (0..10_000).map(|number| Primary { flags: 0, ..trade(0, number) }).collect();
    let path = files.write("a.feed", vec![instrument("A")], &endless);
    let (mut replay, _) = replay(&path, at("max"));
    let (first, next) = poll(&mut replay, 0);
    assert_eq!((first.len(), next), (limits::EVENT_RECORDS_MAX, Next::Now));
    assert_eq!(play(&mut replay, 0).len(), 10_000 - limits::EVENT_RECORDS_MAX);
}

#[test]
fn a_snapshot_takes_no_time() {
    let files = Files::new();
    let snapshot = |after_ns, number| Primary {
        flags: primary_flags::LAST | primary_flags::SNAPSHOT,
        ..trade(after_ns, number)
    };
    let day = 86_400_000_000_000;
    let records =
        [snapshot(0, 1), snapshot(day, 2), trade(9 * day, 3), snapshot(20 * day, 4), trade(9 * day + 500, 5)];
    let path = files.write("a.feed", vec![instrument("A")], &records);
    let (mut replay, handle) = replay(&path, at("1"));
    assert_eq!(handle.state().time_ns, START_NS);
    assert_eq!(play(&mut replay, 70), [(70, 1), (70, 2), (70, 3), (70, 4), (570, 5)]);
    assert_eq!(handle.state().time_ns, START_NS + 9 * day + 500);
}

#[test]
fn without_a_receive_time_the_event_time_counts_and_without_any_none_does() {
    let files = Files::new();
    let event = |after_ns, number| Primary {
        ts_recv_ns: ABSENT_TIME,
        ts_event_ns: START_NS + after_ns,
        ..trade(0, number)
    };
    let timeless = Primary { ts_recv_ns: ABSENT_TIME, ts_event_ns: ABSENT_TIME, ..trade(0, 3) };
    let path =
        files.write("a.feed", vec![instrument("A")], &[event(0, 1), event(40, 2), timeless, event(50, 4)]);
    let (mut replay, _) = replay(&path, at("1"));
    assert_eq!(play(&mut replay, 0), [(0, 1), (40, 2), (40, 3), (50, 4)]);
}

#[test]
fn pause_stops_time_and_play_goes_on_from_there() {
    let files = Files::new();
    let path = files.trades("a.feed", &[0, 1_000, 2_000]);
    let (mut replay, handle) = replay(&path, ReplaySettings { start_paused: true, ..at("1") });
    assert_eq!(handle.state().state, ReplayStatus::Paused);
    assert_eq!(poll(&mut replay, 10), (vec![], Next::Idle));
    handle.play();
    assert_eq!(poll(&mut replay, 5_000), (vec![1], Next::At(6_000)));
    handle.pause();
    assert_eq!(poll(&mut replay, 5_400), (vec![], Next::Idle));
    assert_eq!(poll(&mut replay, 9_000), (vec![], Next::Idle));
    handle.play();
    assert_eq!(poll(&mut replay, 20_000), (vec![], Next::At(20_600)));
    assert_eq!(poll(&mut replay, 20_600), (vec![2], Next::At(21_600)));
    let state = handle.state();
    assert_eq!((state.state, state.records_sent, state.records), (ReplayStatus::Playing, 2, 3));
    assert_eq!(state.time_ns, START_NS + 1_000);
}

#[test]
fn a_new_speed_keeps_the_place() {
    let files = Files::new();
    let path = files.trades("a.feed", &[0, 1_000, 2_000, 3_000, 4_000]);
    let (mut replay, handle) = replay(&path, at("1"));
    assert_eq!(poll(&mut replay, 0), (vec![1], Next::At(1_000)));
    handle.set_speed("10".parse().unwrap());
    assert_eq!(poll(&mut replay, 500), (vec![], Next::At(550)), "500 left, ten times as fast");
    assert_eq!(poll(&mut replay, 550), (vec![2], Next::At(650)));
    // Changed while paused: the place is that of the pause.
    handle.pause();
    assert_eq!(poll(&mut replay, 600), (vec![], Next::Idle));
    handle.set_speed("0.5".parse().unwrap());
    assert_eq!(poll(&mut replay, 50_000), (vec![], Next::Idle));
    handle.play();
    assert_eq!(poll(&mut replay, 60_000), (vec![], Next::At(61_000)), "500 left, half as fast");
    assert_eq!(poll(&mut replay, 61_000), (vec![3], Next::At(63_000)));
    handle.set_speed(Speed::MAX);
    assert_eq!(poll(&mut replay, 61_001), (vec![4, 5], Next::Ended));
}

#[test]
fn a_loop_starts_again_in_a_new_epoch() {
    let files = Files::new();
    let millisecond = 1_000_000;
    let path = files.trades("a.feed", &[0, 5 * millisecond]);
    let (mut replay, handle) = replay(&path, ReplaySettings { looped: true, ..at("1") });
    assert_eq!(poll(&mut replay, 0), (vec![1], Next::At(5 * millisecond)));
    // Late by a hundred: the schedule of the next pass is not.
    assert_eq!(poll(&mut replay, 5 * millisecond + 100), (vec![2], Next::Reset(ResetReason::Loop)));
    assert_eq!(poll(&mut replay, 5 * millisecond + 100), (vec![1], Next::At(10 * millisecond)));
    let state = handle.state();
    assert_eq!((state.looped, state.loops, state.records_sent), (true, 1, 1));
    assert_eq!(poll(&mut replay, 10 * millisecond), (vec![2], Next::Reset(ResetReason::Loop)));
    handle.set_speed(Speed::MAX);
    for _ in 0..3 {
        assert_eq!(poll(&mut replay, 10 * millisecond), (vec![1, 2], Next::Reset(ResetReason::Loop)));
    }
}

#[test]
fn what_has_no_duration_does_not_spin() {
    let files = Files::new();
    let empty = files.trades("empty.feed", &[]);
    for speed in ["1", "max"] {
        let (mut replay, handle) = replay(&empty, ReplaySettings { looped: true, ..at(speed) });
        assert_eq!(poll(&mut replay, 0), (vec![], Next::Ended));
        assert_eq!(handle.state().state, ReplayStatus::Ended);
    }
    let instant = files.trades("instant.feed", &[0, 0]);
    let (mut replay, _) = replay(&instant, ReplaySettings { looped: true, ..at("1") });
    assert_eq!(poll(&mut replay, 7), (vec![1, 2], Next::At(7 + limits::REPLAY_PASS_NS_MIN)));
    assert_eq!(poll(&mut replay, 7 + limits::REPLAY_PASS_NS_MIN), (vec![], Next::Reset(ResetReason::Loop)));
}

#[test]
fn several_files_are_merged_by_time() {
    let files = Files::new();
    let mut both = vec![trade(5, 1), trade(25, 2), trade(30, 3)];
    both[1].instrument = 1;
    let first = files.write("1.feed", vec![instrument("A"), instrument("B")], &both);
    let mut other = vec![trade(10, 4), trade(25, 5), trade(27, 6)];
    other[1].instrument = 1;
    let second = files.write("2.feed", vec![instrument("B"), instrument("C")], &other);
    let mut replay = Replay::open(&[first, second], at("1")).unwrap();
    let symbols: Vec<String> =
        replay.catalog().instruments().iter().map(|instrument| instrument.symbol.clone()).collect();
    assert_eq!(symbols, ["A", "B", "C"]);
    let mut out = Vec::new();
    assert_eq!(replay.poll(0, &mut out).unwrap(), Next::At(5));
    assert_eq!(replay.poll(1_000, &mut out).unwrap(), Next::Ended);
    let sent: Vec<_> = out.iter().map(|primary| (primary.sequence, primary.instrument)).collect();
    assert_eq!(sent, [(1, 0), (4, 1), (2, 1), (5, 2), (6, 1), (3, 0)]);
    assert_eq!(replay.handle().state().files, ["1.feed", "2.feed"]);
}

#[test]
fn files_that_do_not_go_together_are_refused() {
    let files = Files::new();
    let one = files.trades("1.feed", &[0]);
    let other = files.write("2.feed", vec![Instrument { book_depth: 5, ..instrument("A") }], &[]);
    let error = Replay::open(&[one, other.clone()], at("1")).err().unwrap().to_string();
    assert!(error.contains("\"A\"") && error.contains("2.feed has book_depth 5, but 0"), "{error}");
    let error = Replay::open(&[], at("1")).err().unwrap().to_string();
    assert!(error.contains("0 feed files given; 1 to 256"), "{error}");
    let missing = other.with_file_name("none.feed");
    assert!(Replay::open(&[missing], at("1")).err().unwrap().to_string().contains("none.feed"));
}

#[test]
fn a_file_that_was_not_finished_is_replayed_as_far_as_it_goes() {
    let files = Files::new();
    let path = files.0.path().join("torn.feed");
    let mut writer = Writer::create(&path, &Description::new("a test", vec![instrument("A")])).unwrap();
    writer.push(&trade(0, 1)).unwrap();
    writer.flush().unwrap();
    writer.push(&trade(10, 2)).unwrap();
    drop(writer);
    let (mut replay, _) = replay(&path, at("max"));
    assert_eq!(play(&mut replay, 0), [(0, 1)]);
}

#[test]
fn a_damaged_block_is_an_error_not_a_silent_end() {
    let files = Files::new();
    let path = files.trades("a.feed", &(0..10_000).collect::<Vec<u64>>());
    let mut bytes = std::fs::read(&path).unwrap();
    let block = tickcast::feed::Reader::open(&path).unwrap().blocks()[1].offset as usize;
    bytes[block + 50] ^= 4;
    std::fs::write(&path, bytes).unwrap();
    let (mut replay, _) = replay(&path, at("max"));
    let mut out = Vec::new();
    let error = loop {
        match replay.poll(0, &mut out) {
            Ok(next) => assert_ne!(next, Next::Ended),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains(&format!("is damaged at byte {block}")), "{error}");
}

#[test]
fn commands_wake_the_thread_that_polls() {
    let files = Files::new();
    let path = files.trades("a.feed", &[0]);
    let (mut replay, handle) = replay(&path, ReplaySettings { start_paused: true, ..at("1") });
    let parker = Parker::new();
    handle.attach(parker.unparker().clone());
    let pump = std::thread::spawn(move || {
        let mut out = Vec::new();
        let mut polls = 0;
        while replay.poll(0, &mut out).unwrap() != Next::Ended {
            polls += 1;
            parker.park();
        }
        (out.len(), polls)
    });
    handle.play();
    let (sent, polls) = pump.join().unwrap();
    assert_eq!(sent, 1);
    assert!(polls <= 2);
}

#[test]
fn the_state_is_json_with_its_time_as_text() {
    let files = Files::new();
    let path = files.trades("a.feed", &[0]);
    let (_, handle) = replay(&path, ReplaySettings { start_paused: true, ..at("2.5") });
    let json = serde_json::to_value(handle.state()).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"state": "paused", "speed": 2.5, "time_ns": START_NS.to_string(),
            "begin_ns": START_NS.to_string(), "end_ns": START_NS.to_string(), "files": ["a.feed"], "records_sent": 0,
            "records": 1, "looped": false, "loops": 0})
    );
    assert_eq!(serde_json::from_value::<tickcast::feed::ReplayState>(json).unwrap(), handle.state());
}

#[test]
fn from_and_to_are_the_first_and_the_last_time_that_is_played() {
    let files = Files::new();
    let path = files.trades("a.feed", &[0, 1_000, 2_000, 3_000, 3_000, 4_000]);
    let part = ReplaySettings { from_ns: Some(START_NS + 1_000), to_ns: Some(START_NS + 3_000), ..at("1") };
    let (mut replay, handle) = self::replay(&path, part);
    let state = handle.state();
    assert_eq!(
        (state.time_ns, state.begin_ns, state.end_ns),
        (START_NS + 1_000, START_NS + 1_000, START_NS + 3_000)
    );
    assert_eq!(settle(&mut replay, 50), (vec![2], Next::At(1_050)));
    assert_eq!(settle(&mut replay, 1_050), (vec![3], Next::At(2_050)));
    assert_eq!(settle(&mut replay, 2_050), (vec![4, 5], Next::Ended));
    assert_eq!(handle.state().records_sent, 5);
    // Looped it is that part which is repeated; between records it begins with the next.
    let part = ReplaySettings { from_ns: Some(START_NS + 1_500), looped: true, ..part };
    let (mut replay, handle) = self::replay(&path, part);
    assert_eq!(settle(&mut replay, 0), (vec![3], Next::At(1_000)));
    let pass_ns = limits::REPLAY_PASS_NS_MIN;
    assert_eq!(settle(&mut replay, 1_000), (vec![4, 5], Next::At(pass_ns)));
    assert_eq!(settle(&mut replay, pass_ns), (vec![], Next::Reset(ResetReason::Loop)));
    // Late by seven: the schedule of the pass is not.
    assert_eq!(settle(&mut replay, pass_ns + 7), (vec![3], Next::At(pass_ns + 1_000)));
    assert_eq!(handle.state().loops, 1);
    // The state that stood before comes first, and takes no time.
    let (mut replay, _) = self::replay(&path, part);
    let mut out = Vec::new();
    while replay.poll(0, &mut out).unwrap() == Next::Now {}
    assert!(out[..out.len() - 1].iter().all(|primary| primary.flags & primary_flags::SNAPSHOT != 0));
    let last_trade = out.iter().find(|primary| primary.kind == PrimaryKind::Trade as u8).unwrap();
    assert_eq!(last_trade.ts_event_ns, START_NS + 1_000);
}

#[test]
fn a_part_without_anything_in_it_is_refused_by_its_times() {
    let files = Files::new();
    let path = files.trades("a.feed", &[0, 1_000]);
    for (from, to) in [(Some(5), Some(4)), (Some(1_001), None), (Some(600), Some(500))] {
        let settings = ReplaySettings {
            from_ns: from.map(|ns| START_NS + ns),
            to_ns: to.map(|ns| START_NS + ns),
            ..at("1")
        };
        let error = Replay::open(std::slice::from_ref(&path), settings).err().unwrap().to_string();
        assert!(error.contains("2023-11-14T22:13:20") && error.contains("nothing to replay"), "{error}");
    }
    let before = ReplaySettings { to_ns: Some(START_NS - 1), ..at("1") };
    let error = Replay::open(std::slice::from_ref(&path), before).err().unwrap().to_string();
    assert!(error.contains("from the beginning to 2023-11-14T22:13:19.999999999Z"), "{error}");
    // A gap within the records is no fault: the state there is shown, once.
    let gap =
        ReplaySettings { from_ns: Some(START_NS + 1), to_ns: Some(START_NS + 2), looped: true, ..at("1") };
    let (mut replay, _) = self::replay(&path, gap);
    assert_eq!(settle(&mut replay, 0), (vec![], Next::Ended));
}

#[test]
fn idle_longer_than_allowed_is_shortened_by_the_clock() {
    let files = Files::new();
    let path = files.trades("a.feed", &[0, 100, 10_100, 10_300, 90_000, 90_001]);
    for (speed, due) in [
        ("1", [0, 100, 600, 800, 1_300, 1_301]),
        ("10", [0, 10, 510, 530, 1_030, 1_031]),
        ("1000", [0, 1, 11, 11, 90, 91]),
        ("max", [0; 6]),
    ] {
        let (mut replay, _) = self::replay(&path, ReplaySettings { max_idle_ns: Some(500), ..at(speed) });
        let sent = play(&mut replay, 0);
        assert_eq!(sent, due.into_iter().zip(1..).collect::<Vec<_>>(), "speed {speed}");
    }
    // A late poll does not move the schedule; a pause in a wait keeps what is left of it, a new speed begins anew.
    let (mut replay, handle) = self::replay(&path, ReplaySettings { max_idle_ns: Some(500), ..at("1") });
    assert_eq!(poll(&mut replay, 0), (vec![1], Next::At(100)));
    assert_eq!(poll(&mut replay, 140), (vec![2], Next::At(600)));
    handle.pause();
    assert_eq!(poll(&mut replay, 200), (vec![], Next::Idle));
    handle.play();
    assert_eq!(poll(&mut replay, 5_000), (vec![], Next::At(5_400)));
    handle.set_speed("0.1".parse().unwrap());
    assert_eq!(poll(&mut replay, 5_100), (vec![], Next::At(5_600)));
    assert_eq!(poll(&mut replay, 5_600), (vec![3], Next::At(6_100)));
}

#[test]
fn a_step_sends_the_next_event_and_stands_still_behind_it() {
    let files = Files::new();
    let path = files.trades("a.feed", &[0, 1_000, 2_000, 9_000, 9_500]);
    let (mut replay, handle) = self::replay(&path, at("1"));
    assert_eq!(poll(&mut replay, 0), (vec![1], Next::At(1_000)));
    handle.step(1);
    assert_eq!(handle.state().state, ReplayStatus::Paused);
    assert_eq!(poll(&mut replay, 300), (vec![2], Next::Idle));
    assert_eq!(handle.state().time_ns, START_NS + 1_000);
    assert_eq!(poll(&mut replay, 400), (vec![], Next::Idle));
    handle.step(1);
    handle.step(1);
    assert_eq!(poll(&mut replay, 500), (vec![3, 4], Next::Idle));
    handle.play();
    assert_eq!(poll(&mut replay, 10_000), (vec![], Next::At(10_500)), "from where the last step led");
    handle.step(7);
    assert_eq!(poll(&mut replay, 10_100), (vec![5], Next::Ended), "more than there is");
    assert_eq!(handle.state().state, ReplayStatus::Ended);
}

#[test]
fn a_seek_goes_on_from_the_time_that_was_sought() {
    let files = Files::new();
    let path = files.trades("a.feed", &[0, 1_000, 2_000, 9_000]);
    let (mut replay, handle) = self::replay(&path, at("2"));
    assert_eq!(poll(&mut replay, 0), (vec![1], Next::At(500)));
    let seek = |replay: &mut Replay, after_ns: i64, now_ns| {
        handle.seek(START_NS.checked_add_signed(after_ns).unwrap());
        assert_eq!(poll(replay, now_ns), (vec![], Next::Reset(ResetReason::Seek)));
        settle(replay, now_ns)
    };
    assert_eq!(seek(&mut replay, 5_000, 100), (vec![], Next::At(2_100)), "4,000 to go, twice as fast");
    assert_eq!(handle.state().time_ns, START_NS + 5_000);
    assert_eq!(handle.state().records_sent, 3);
    // An event at that time is still to come, and comes at once.
    assert_eq!(seek(&mut replay, 1_000, 200), (vec![2], Next::At(700)));
    // Before the start is the start, behind the end the end with its state; from there it can seek again.
    assert_eq!(seek(&mut replay, -5, 300), (vec![1], Next::At(800)));
    assert_eq!(seek(&mut replay, 9_001, 400), (vec![], Next::Ended));
    assert_eq!((handle.state().state, handle.state().records_sent), (ReplayStatus::Ended, 4));
    assert_eq!(handle.state().time_ns, START_NS + 9_000);
    assert_eq!(seek(&mut replay, 8_000, 1_000), (vec![], Next::At(1_500)));
    // Paused it shows the state and waits.
    handle.pause();
    assert_eq!(seek(&mut replay, 1_500, 1_100), (vec![], Next::Idle));
    handle.play();
    assert_eq!(settle(&mut replay, 7_000), (vec![], Next::At(7_250)));
    // Of two the last counts; within from and to.
    handle.seek(START_NS);
    assert_eq!(seek(&mut replay, 2_000, 7_100), (vec![3], Next::At(10_600)));
    let part = ReplaySettings { from_ns: Some(START_NS + 900), to_ns: Some(START_NS + 2_000), ..at("1") };
    let (mut replay, handle) = self::replay(&path, part);
    assert_eq!(settle(&mut replay, 0), (vec![2], Next::At(1_000)));
    for (sought, sent, next) in [(0, vec![2], Next::At(1_000)), (9_000, vec![], Next::Ended)] {
        handle.seek(START_NS + sought);
        assert_eq!(poll(&mut replay, 0).1, Next::Reset(ResetReason::Seek));
        assert_eq!(settle(&mut replay, 0), (sent, next));
    }
    assert_eq!(handle.state().records_sent, 3);
}

#[test]
fn a_day_at_a_hundred_times_its_speed_ends_in_time_however_late_it_is_polled() {
    let files = Files::new();
    let second = 1_000_000_000;
    let after_ns: Vec<u64> = (0..=86_400).map(|number| number * second).collect();
    let path = files.trades("day.feed", &after_ns);
    let (mut replay, _) = self::replay(&path, at("100"));
    let (mut now_ns, mut random, mut sent) = (0, 1_u64, 0);
    loop {
        let (numbers, next) = poll(&mut replay, now_ns);
        sent += numbers.len();
        match next {
            Next::At(due_ns) => {
                // Up to 20 ms late, twice what lies between two records.
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                now_ns = due_ns + (random >> 33) % 20_000_000;
            }
            Next::Now => {}
            next => {
                assert_eq!(next, Next::Ended);
                break;
            }
        }
    }
    assert_eq!(sent, after_ns.len());
    let took = 864 * second;
    assert!(now_ns >= took && now_ns - took <= took / 1_000, "{now_ns} ns");
}

#[test]
fn what_is_sent_of_a_part_does_not_depend_on_speed_idle_or_late_polls() {
    let files = Files::new();
    let after_ns: Vec<u64> = (0..3_000_u64).map(|number| number * number * 31).collect();
    let path = files.trades("a.feed", &after_ns);
    let part = |speed: &str, max_idle_ns| ReplaySettings {
        from_ns: Some(START_NS + after_ns[700]),
        to_ns: Some(START_NS + after_ns[2_500]),
        max_idle_ns,
        ..at(speed)
    };
    let mut runs = Vec::new();
    for (speed, max_idle_ns) in [("0.1", None), ("1", Some(5_000)), ("1000", Some(1)), ("max", None)] {
        let (mut replay, _) = self::replay(&path, part(speed, max_idle_ns));
        let (mut sent, mut now_ns) = (Vec::new(), 0);
        loop {
            match replay.poll(now_ns, &mut sent).unwrap() {
                Next::At(due_ns) => now_ns = due_ns + due_ns % 7,
                Next::Ended => break,
                _ => {}
            }
        }
        runs.push(sent);
    }
    assert!(runs.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(runs[0].iter().filter(|primary| primary.sequence > 0).count(), 1_801);
}
