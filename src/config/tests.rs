use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::feed::{ReplaySettings, Speed};
use crate::limits;
use crate::shard::SlowConsumer;
use crate::sim::Rate;

/// Settings, problems as text, warnings.
fn load(
    file: &str,
    variables: &[(&str, &str)],
    flags: &[(&'static str, &[&str])],
) -> (Settings, Vec<String>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tickcast.toml");
    std::fs::write(&path, file).unwrap();
    let (mut problems, mut warnings) = (Problems::default(), Vec::new());
    let layers = Layers::gather(
        Some((path.clone(), Place::Flag("--config".into()))),
        variables.iter().map(|(name, value)| (name.to_string(), value.to_string())),
        flags.iter().map(|(name, texts)| (*name, texts.iter().map(ToString::to_string).collect())).collect(),
        &mut problems,
        &mut warnings,
    );
    let settings = Settings::check(&layers, &mut problems);
    let shown = path.display().to_string();
    let problems = problems.iter().map(|problem| problem.to_string().replace(&shown, "FILE")).collect();
    (settings, problems, warnings)
}

fn settings(file: &str, variables: &[(&str, &str)], flags: &[(&'static str, &[&str])]) -> Settings {
    let (settings, problems, _) = load(file, variables, flags);
    assert_eq!(problems, [""; 0]);
    settings
}

#[test]
fn without_anything_the_defaults_hold() {
    let defaults = settings("", &[], &[]);
    assert_eq!(defaults.listen.to_string(), "127.0.0.1:8765");
    let simulation = SourceSettings::Simulation {
        symbols: Symbols::Count(20),
        rate: Rate::PerSecond(20_000),
        seed: 1,
        ticks: None,
    };
    assert_eq!(defaults.source, simulation);
    assert_eq!((defaults.slow_consumer, defaults.log_format), (SlowConsumer::Conflate, LogFormat::Text));
    assert!(defaults.shards >= 1);
    assert!(!defaults.is_public());
}

#[test]
fn the_table_shows_the_defaults_that_hold() {
    let defaults = settings("", &[], &[]);
    let shown: Vec<_> = KEYS
        .iter()
        .filter(|key| !key.default.is_empty() && key.name != "shards")
        .filter(|key| {
            !["speed", "loop", "start_paused", "private_replays", "record_flush"].contains(&key.name)
        })
        .map(|key| (key.name, [key.default]))
        .collect();
    let flags: Vec<(&'static str, &[&str])> = shown.iter().map(|(name, text)| (*name, &text[..])).collect();
    assert_eq!(settings("", &[], &flags), defaults);
    let replay: &[(&'static str, &[&str])] = &[("replay", &["a"])];
    let shown: &[(&'static str, &[&str])] =
        &[("replay", &["a"]), ("speed", &["1"]), ("loop", &["false"]), ("start_paused", &["false"])];
    assert_eq!(settings("", &[], replay), settings("", &[], shown));
    let record: &[(&'static str, &[&str])] = &[("record", &["a"])];
    let shown: &[(&'static str, &[&str])] = &[("record", &["a"]), ("record_flush", &["1s"])];
    assert_eq!(settings("", &[], record), settings("", &[], shown));
}

#[test]
fn a_recording_is_set_or_refused_by_name() {
    let file = "record = \"a/day.feed\"\nrecord_rotate = \"1.5h\"\nrecord_rotate_bytes = 1000000\nrecord_flush = \"250ms\"";
    let set = settings(file, &[], &[]);
    let record = set.record.clone().unwrap();
    assert_eq!((record.file, record.rotate_bytes), (PathBuf::from("a/day.feed"), Some(1_000_000)));
    assert_eq!(record.rotate, Some(std::time::Duration::from_secs(5_400)));
    assert_eq!(record.flush, std::time::Duration::from_millis(250));
    assert_eq!(settings(&set.to_string(), &[], &[]), set, "shown and read back");
    let (_, problems, _) = load(
        "record = \"day/\"\nrecord_rotate = \"0.5s\"\nrecord_rotate_bytes = 9\nrecord_flush = \"2h\"",
        &[],
        &[],
    );
    let times =
        "allowed: a number with ms, s, m, h or d, such as 250ms, 1.5s or 10m; without a unit seconds; from";
    for begin in [
        "record: \"day/\" (file FILE); allowed: path of a feed file that does not exist yet".to_owned(),
        "record_rotate_bytes: \"9\" (file FILE); allowed: whole number, 65536 to ".into(),
        format!("record_rotate: \"0.5s\" (file FILE); {times} 1s"),
        format!("record_flush: \"2h\" (file FILE); {times} 10ms to 3600s"),
    ] {
        assert!(problems.iter().any(|problem| problem.starts_with(&begin)), "{begin}: {problems:#?}");
    }
    let (_, problems, _) = load("record_rotate = \"1h\"", &[], &[]);
    assert_eq!(problems, ["record_rotate: \"1h\" (file FILE); allowed: only with a recording (record FILE)"]);
}

#[test]
fn private_replays_need_a_folder_that_exists() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let set = settings("private_replays = 3", &[], &[("replay_dir", &[path])]);
    assert_eq!(set.private, Some(PrivateReplays { folder: path.into(), most: 3 }));
    assert_eq!(settings(&set.to_string(), &[], &[]), set, "shown and read back");
    assert_eq!(settings("", &[], &[("replay_dir", &[path])]).private.unwrap().most, 16);
    let (_, problems, _) = load("replay_dir = \"/no/such\"\nprivate_replays = 0", &[], &[]);
    assert_eq!(
        problems,
        [
            "replay_dir: \"/no/such\" (file FILE); allowed: path of a folder",
            "private_replays: \"0\" (file FILE); allowed: whole number, 1 to 256",
        ]
    );
    let (_, problems, _) = load("private_replays = 3", &[], &[]);
    assert_eq!(
        problems,
        ["private_replays: \"3\" (file FILE); allowed: only with a folder of feed files (replay_dir DIR)"]
    );
}

#[test]
fn flags_beat_the_environment_which_beats_the_file_which_beats_defaults() {
    let file = "listen = \"127.0.0.1:1\"\nshards = 2\noutbox_bytes = 100000\nallow_origin = [\"https://a.net\", \"https://b.net\"]";
    let variables = [("TICKCAST_LISTEN", "127.0.0.1:2"), ("TICKCAST_SHARDS", "3"), ("HOME", "/")];
    let settings = settings(file, &variables, &[("listen", &["127.0.0.1:3"])]);
    assert_eq!(settings.listen.port(), 3);
    assert_eq!(settings.shards, 3);
    assert_eq!(settings.outbox_bytes, 100_000);
    assert_eq!(settings.max_connections, limits::CONNECTIONS_DEFAULT);
    assert_eq!(settings.allow_origin.len(), 2);
}

#[test]
fn a_list_is_an_array_or_separated_by_commas_and_replaced_whole() {
    let file = "replay = [\"a.feed\", \"b.feed\"]\nspeed = 2.5\nloop = true";
    let from = |settings: Settings| match settings.source {
        SourceSettings::Replay { files, playback } => (files, playback.speed, playback.looped),
        other => panic!("{other:?}"),
    };
    let files = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
    let speed: Speed = "2.5".parse().unwrap();
    assert_eq!(from(settings(file, &[], &[])), (files(&["a.feed", "b.feed"]), speed, true));
    let variables = [("TICKCAST_REPLAY", "c, d"), ("TICKCAST_LOOP", "false")];
    assert_eq!(from(settings(file, &variables, &[])), (files(&["c", "d"]), speed, false));
    assert_eq!(from(settings(file, &variables, &[("replay", &["e"])])), (files(&["e"]), speed, false));
}

#[test]
fn everything_wrong_is_reported_at_once_with_value_place_and_what_is_allowed() {
    let file = "ring_bytes = -1\noutboxes_bytes = 1000\nsped = 3\nsymbols = 0\nlog_format = \"xml\"\nloop = \"yes\"\noutbox_bytes = [1]";
    let variables = [("TICKCAST_SHARDS", "0"), ("TICKCAST_ALLOW_ORIGIN", "https://a.net/,*")];
    let flags: &[(&'static str, &[&str])] = &[("rate", &["fast"]), ("slow_consumer", &["wait"])];
    let (_, mut problems, warnings) = load(file, &variables, flags);
    problems.sort();
    let begins = [
        "allow_origin: \"*\" (environment TICKCAST_ALLOW_ORIGIN); allowed: origin as a browser sends it",
        "allow_origin: \"https://a.net/\" (environment TICKCAST_ALLOW_ORIGIN); allowed: origin",
        "log_format: \"xml\" (file FILE); allowed: text or json",
        "loop: \"\\\"yes\\\"\" (file FILE); allowed: true or false",
        "outbox_bytes: \"[1]\" (file FILE); allowed: a text or a number",
        "outboxes_bytes: \"1000\" (file FILE); allowed: whole number, 1048576 to 68719476736",
        "rate: \"fast\" (flag --rate); allowed: ticks per second, 1 to 1000000000, or max",
        "ring_bytes: \"-1\" (file FILE); allowed: whole number, 0 to 68719476736",
        "shards: \"0\" (environment TICKCAST_SHARDS); allowed: whole number, 1 to 256",
        "slow_consumer: \"wait\" (flag --slow-consumer); allowed: conflate, disconnect, or block with a replay",
        "sped: \"3\" (file FILE); allowed: one of the settings listen, symbols,",
        "symbols: \"0\" (file FILE); allowed: 1 to 100000, or the path of a TOML file",
    ];
    assert_eq!(problems.len(), begins.len(), "{problems:#?}");
    for (problem, begin) in problems.iter().zip(begins) {
        assert!(problem.starts_with(begin), "{problem}\ndoes not begin with\n{begin}");
    }
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn impossible_combinations_are_refused_by_name() {
    let named = |flags: &[(&'static str, &[&str])]| {
        let (_, problems, _) = load("", &[], flags);
        problems.iter().map(|problem| problem.split(':').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let on: &[&str] = &["true"];
    assert_eq!(named(&[("speed", &["2"])]), ["speed"]);
    assert_eq!(named(&[("loop", on), ("start_paused", on)]), ["loop", "start_paused"]);
    assert_eq!(named(&[("from", &["0"]), ("to", &["1"]), ("max_idle", &["1s"])]), ["from", "to", "max_idle"]);
    assert_eq!(named(&[("slow_consumer", &["block"])]), ["slow_consumer"]);
    assert_eq!(named(&[("loop", &["false"])]), [""; 0]);
    let replay: (&str, &[&str]) = ("replay", &["a"]);
    assert_eq!(named(&[replay, ("speed", &["max"]), ("loop", on), ("slow_consumer", &["block"])]), [""; 0]);
    assert_eq!(
        named(&[replay, ("rate", &["1"]), ("seed", &["1"]), ("symbols", &["3"]), ("ticks", &["9"])]),
        ["symbols", "rate", "seed", "ticks"]
    );
    assert_eq!(named(&[("replay", &["", "b"])]), ["replay"]);
    let wrong: [(&str, &[&str]); 4] =
        [replay, ("from", &["noon"]), ("to", &["2023-12-25"]), ("max_idle", &["25h"])];
    assert_eq!(named(&wrong), ["from", "to", "max_idle"]);
    assert!(matches!(settings("replay = []", &[], &[]).source, SourceSettings::Simulation { .. }));
}

#[test]
fn a_file_that_is_no_toml_is_named_with_its_line() {
    let (_, problems, _) = load("shards = 2\nrate = = 3", &[("TICKCAST_SHARDS", "0")], &[]);
    assert_eq!(problems.len(), 2, "the rest is checked too: {problems:?}");
    assert!(problems[0].starts_with("config: \"FILE\"; allowed: TOML; line 2:"), "{}", problems[0]);
}

#[test]
fn strange_variables_of_our_prefix_only_warn_and_those_of_tests_do_not() {
    let variables = [
        ("TICKCAST_TEST_DATA", "/data"),
        ("TICKCAST_REQUIRE_ALL", "1"),
        ("TICKCAST_SKIPS", "x"),
        ("TICKCAST_UPDATE_GOLDEN", "1"),
        ("TICKCAST_SHARD", "2"),
        ("TICKCAST_SEED", ""),
        ("OTHER", "1"),
    ];
    let (_, problems, warnings) = load("", &variables, &[]);
    assert_eq!(problems, [""; 0]);
    assert_eq!(
        warnings,
        ["TICKCAST_SHARD in the environment is no setting; `tickcast serve --help` lists them"]
    );
}

#[test]
fn addresses_and_symbol_lists_are_told_apart() {
    for (text, shown) in
        [("localhost:80", "127.0.0.1:80"), ("[::1]:0", "[::1]:0"), ("0.0.0.0:8765", "0.0.0.0:8765")]
    {
        assert_eq!(settings("", &[], &[("listen", &[text])]).listen.to_string(), shown);
    }
    for text in ["", "8765", "localhost", "127.0.0.1", "127.0.0.1:65536", "example.com:80", "::1:80"] {
        assert_eq!(load("", &[], &[("listen", &[text])]).1.len(), 1, "{text:?}");
    }
    for text in ["0", "-5", "100001", "1.5", "1_000", ""] {
        assert_eq!(load("", &[], &[("symbols", &[text])]).1.len(), 1, "{text:?}");
    }
    let source = settings("", &[], &[("symbols", &["mine.toml"])]).source;
    assert!(
        matches!(source, SourceSettings::Simulation { symbols: Symbols::File(path), .. } if path.as_os_str() == "mine.toml")
    );
}

proptest! {
    #[test]
    fn settings_in_force_read_back_as_themselves(
        seed: u64,
        ticks in proptest::option::of(1u64..),
        count in 1..=limits::INSTRUMENTS_MAX,
        speed in 100_u32..=1_000_000,
        name in "[ -~]{1,20}",
        block: bool,
        outboxes_bytes in limits::OUTBOXES_BYTES_MIN..=limits::OUTBOXES_BYTES_MAX,
        looped: bool,
    ) {
        let base = settings("", &[], &[]);
        let simulation = Settings {
            source: SourceSettings::Simulation { symbols: Symbols::Count(count), rate: Rate::Max, seed, ticks },
            allow_origin: vec![crate::door::Origin::parse("https://example.com").unwrap()],
            ..base.clone()
        };
        prop_assert_eq!(&settings(&simulation.to_string(), &[], &[]), &simulation);
        let replay = Settings {
            source: SourceSettings::Replay {
                files: vec![name.into()],
                playback: ReplaySettings {
                    speed: format!("{}.{:03}", speed / 1_000, speed % 1_000).parse().unwrap(),
                    looped,
                    start_paused: !looped,
                    from_ns: ticks,
                    to_ns: (!block).then_some(seed),
                    max_idle_ns: ticks.map(|ticks| (1 + ticks % 86_000_000) * 1_000_000),
                },
            },
            slow_consumer: if block { SlowConsumer::Block } else { SlowConsumer::Disconnect },
            outboxes_bytes,
            ring_bytes: outboxes_bytes - limits::OUTBOXES_BYTES_MIN,
            ..base
        };
        prop_assert_eq!(&settings(&replay.to_string(), &[], &[]), &replay);
    }
}
