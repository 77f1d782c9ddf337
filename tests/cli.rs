//! The program as a user meets it: exit codes, and messages that name the thing, its value and what is allowed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use tickcast::feed::{Description, Writer};
use tickcast::sim::{Rate, Simulation, SimulationSettings, profiles};
use tickcast::source::{Next, Source};

#[path = "load/server.rs"]
#[allow(dead_code, reason = "made for the load tests, which use all of it")]
mod server;

use server::Server;

/// Runs the program in a folder of its own settings: none of this machine's.
fn tickcast(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickcast"));
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TICKCAST_")) {
        command.env_remove(name);
    }
    command.output().unwrap()
}

/// It fails with that code, prints nothing as a result, and its message has all of these.
#[track_caller]
fn assert_fails(arguments: &[&str], code: i32, named: &[&str]) {
    let output = tickcast(arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
    assert_eq!(output.stdout, b"", "{arguments:?}");
    for name in named {
        assert_eq!(
            message.matches(name).count(),
            1,
            "{name:?}, once, in the message of {arguments:?}: {message}"
        );
    }
    assert!(!message.contains("panicked"), "{message}");
}

/// A short market in a feed file.
fn feed(folder: &Path) -> PathBuf {
    let path = folder.join("whole.feed");
    let settings = SimulationSettings {
        seed: 3,
        instruments: profiles(2),
        rate: Rate::PerSecond(1_000),
        ticks: Some(2_000),
    };
    let mut market = Simulation::new(settings).unwrap();
    let instruments = market.catalog().instruments().to_vec();
    let mut writer = Writer::create(&path, &Description::new("a simulated market", instruments)).unwrap();
    let (mut now_ns, mut primaries) = (0, Vec::new());
    loop {
        let next = market.poll(now_ns, &mut primaries).unwrap();
        primaries.drain(..).for_each(|primary| writer.push(&primary).unwrap());
        match next {
            Next::At(due_ns) => now_ns = due_ns,
            Next::Ended => break,
            _ => {}
        }
    }
    writer.finish().unwrap();
    path
}

#[test]
fn what_cannot_be_asked_is_refused_with_2() {
    assert_fails(&[], 2, &["Usage: tickcast"]);
    assert_fails(&["fly"], 2, &["'fly'"]);
    for verb in ["serve", "watch", "import", "export", "inspect", "verify", "repair", "record"] {
        assert_fails(&[verb, "--wings"], 2, &["unexpected argument '--wings'"]);
    }
    assert_fails(&["serve", "stray"], 2, &["'stray'"]);
    assert_fails(&["watch"], 2, &["were not provided:\n  <SYMBOL>..."]);
    assert_fails(&["watch", "A", "--depth", "0"], 2, &["--depth"]);
    assert_fails(
        &["watch", "A", "--url", "http://x"],
        2,
        &["\"http://x\" is no address", "ws://127.0.0.1:8765/ws"],
    );
    assert_fails(&["import", "--from", "csv", "in", "--out", "out"], 2, &["'csv'", "dbn"]);
    assert_fails(&["export", "in", "--to", "xml", "--out", "out"], 2, &["'xml'", "csv, parquet, jsonl, dbn"]);
    let import = |from: &'static str, date: &'static str| {
        ["import", "--from", from, "in", "--out", "out", "--date", date]
    };
    assert_fails(
        &import("itch", "30.1.2019"),
        2,
        &["\"30.1.2019\" (flag --date); allowed: a day such as 2019-01-30"],
    );
    assert_fails(&import("dbn", "2019-01-30"), 2, &["allowed: only with --from itch or lobster"]);
    assert_fails(&["inspect"], 2, &["were not provided:\n  <FILE>"]);
}

#[test]
fn impossible_settings_are_all_named_at_once() {
    assert_fails(
        &[
            "serve",
            "--symbols",
            "0",
            "--rate",
            "-5",
            "--shards",
            "999",
            "--speed",
            "3",
            "--listen",
            "nowhere",
            "--slow-consumer",
            "block",
            "--outbox-bytes",
            "7",
            "--ticks",
            "many",
        ],
        2,
        &[
            "8 settings are wrong",
            "symbols: \"0\" (flag --symbols); allowed: 1 to 100000",
            "rate: \"-5\" (flag --rate); allowed: ticks per second",
            "shards: \"999\" (flag --shards); allowed: whole number, 1 to 256",
            "speed: \"3\" (flag --speed); allowed: only with a replay",
            "listen: \"nowhere\" (flag --listen); allowed: IP address and port",
            "slow_consumer: \"block\" (flag --slow-consumer); allowed: conflate or disconnect",
            "outbox_bytes: \"7\" (flag --outbox-bytes); allowed: whole number, 65536 to ",
            "ticks: \"many\" (flag --ticks); allowed: whole number",
        ],
    );
}

#[test]
fn a_list_of_instruments_has_all_its_faults_named_at_once() {
    let folder = TempDir::new().unwrap();
    let list = folder.path().join("list.toml");
    fs::write(
        &list,
        "[[instrument]]\nsymbol = \"A B\"\nprice = -1\n[[instrument]]\nsymbol = \"X\"\nwings = 3\n",
    )
    .unwrap();
    let list = list.to_str().unwrap();
    assert_fails(
        &["serve", "--listen", "127.0.0.1:0", "--symbols", list],
        1,
        &[
            list,
            "instrument[0].symbol is \"A B\"; allowed: 1 to 32 printable ASCII",
            "instrument[0].price is -1; allowed: a decimal in quotes",
            "instrument[1].wings is 3, an unknown key; allowed: symbol, ",
            "instrument[1].price is missing; allowed: ",
        ],
    );
    assert_fails(
        &["serve", "--listen", "127.0.0.1:0", "--symbols", "no such.toml"],
        1,
        &["no such.toml", "No such file or directory"],
    );
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert_fails(
        &["serve", "--listen", &address],
        1,
        &[&address, "Address already in use", "choose another with --listen ADDRESS:PORT"],
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_place_and_what_is_expected() {
    let folder = TempDir::new().unwrap();
    let in_folder = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let whole = fs::read(feed(folder.path())).unwrap();
    let newer = {
        let mut bytes = whole.clone();
        // The major version follows magic and checksum.
        bytes[12..14].copy_from_slice(&99_u16.to_le_bytes());
        bytes
    };
    let damaged = {
        let mut bytes = whole.clone();
        bytes[100] ^= 1;
        bytes
    };
    let missing = folder.path().join("missing.feed");
    let missing = missing.to_str().unwrap();
    let empty = in_folder("empty.feed", b"");
    let foreign = in_folder("foreign.feed", b"time,price\n1,2\n");
    let newer = in_folder("newer.feed", &newer);
    let damaged = in_folder("damaged.feed", &damaged);
    let cut_head = in_folder("cut_head.feed", &whole[..20]);
    for verb in [&["serve", "--listen", "127.0.0.1:0", "--replay"][..], &["inspect"]] {
        let with = |file: &str, named: &[&str]| assert_fails(&[verb, &[file]].concat(), 1, named);
        with(missing, &[missing, "No such file or directory"]);
        with(folder.path().to_str().unwrap(), &[folder.path().to_str().unwrap()]);
        with(&empty, &[&empty, "is empty", "\"TICKFEED\""]);
        with(&foreign, &[&foreign, "\"time,pri\"", "\"TICKFEED\"", "tickcast import"]);
        with(&newer, &[&newer, "version 99", "reads version 1"]);
        with(&damaged, &[&damaged, "at byte ", "expected "]);
        with(&cut_head, &[&cut_head, "at byte ", "expected "]);
    }

    // Of a file that was not finished, what is whole is told.
    let cut = in_folder("cut.feed", &whole[..whole.len() * 3 / 4]);
    let output = tickcast(&["inspect", &cut]);
    assert!(output.status.success());
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(report.contains("byte"), "where it ends: {report}");

    // And what is not whole is told, and saved.
    let whole = folder.path().join("whole.feed");
    let whole = whole.to_str().unwrap();
    let output = tickcast(&["verify", whole, &cut]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("whole.feed: ok, ") && told.contains("cut.feed: DAMAGED, 1 fault"), "{told}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("not whole: 1 of 2"));
    let output = tickcast(&["verify", &foreign]);
    let (told, hint) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(
        told.contains("NOTHING can be read or repaired") && told.contains("is not a feed file"),
        "{told}"
    );
    assert!(hint.contains("not whole: 1 of 1") && !hint.contains("repair"), "{hint}");
    let output = tickcast(&["verify", &cut, &foreign, "--json"]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &found[0]["ok"]), (Some(1), &serde_json::Value::Bool(false)));
    assert_eq!(found[1]["faults"][0]["expected"], "the 8 bytes \"TICKFEED\"");
    // One that cannot be read keeps nothing from the others.
    let output = tickcast(&["verify", whole, missing, &cut, "--json"]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), found.as_array().unwrap().len(), &found[1]["ok"]),
        (Some(1), 2, &false.into())
    );
    assert!(error.contains(missing) && error.contains("not read: 1 of 3; not whole: 1"), "{error}");
    let output = tickcast(&["repair", &cut]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(told.contains("recovered") && told.contains("cut.feed.damaged"), "{told}");
    assert!(tickcast(&["verify", &cut]).status.success());
    assert!(tickcast(&["inspect", &cut]).stdout.windows(13).any(|text| text == b"complete  yes"));
    assert_fails(&["repair", &foreign], 1, &[&foreign, "not a feed file"]);
    assert_fails(&["repair", whole, "--out", &cut], 1, &[&cut, "nothing is overwritten"]);

    let out = folder.path().join("out.feed");
    let out = out.to_str().unwrap();
    let newer_dbn = in_folder("newer.dbn", b"DBN\x09\x00\x00\x00\x00");
    let cut_dbn = in_folder("cut.dbn", b"DBN\x03\x00\x01\x00\x00abc");
    for (file, named) in [
        (missing, "No such file or directory"),
        (&empty, "is empty"),
        (&foreign, "starts with \"time\""),
        (&newer_dbn, "version is 9; allowed: 1, 2 and 3"),
        (&cut_dbn, "it ends in the metadata"),
    ] {
        assert_fails(&["import", "--from", "dbn", file, "--out", out], 1, &[file, named]);
        assert!(!Path::new(out).exists(), "nothing is written for {file}");
    }
    assert_fails(&["import", "--from", "dbn", &cut_dbn, "--out", &empty], 1, &[&empty, "overwrites nothing"]);
}

#[test]
fn import_reports_for_people_and_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (input, out, again) = (path("day.itch"), path("people.feed"), path("programs.feed"));
    // A start of the day, an unknown type, and a message that is cut.
    let event = |kind: &[u8]| [b"\0\x0c", kind, &[0; 10], b"O"].concat();
    std::fs::write(&input, [event(b"S"), event(b"z"), event(b"S")[..9].to_vec()].concat()).unwrap();
    let told = |output: &Output| {
        assert!(output.status.success());
        let warnings = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            warnings.contains("day.itch: byte 28: the file ends 7 bytes into a message of 12"),
            "{warnings}"
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let arguments = |out| ["import", "--from", "itch", &input, "--out", out];
    let text = told(&tickcast(&arguments(&out)));
    for line in [
        "damaged and left out: 1",
        "not known: type \"z\": 1",
        "no place in a feed file: S (system event): 1",
        "note: day.itch has no date in its name, and ITCH none inside: 1970-01-01 is assumed",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let json = told(&tickcast(&[&arguments(&again)[..], &["--json"]].concat()));
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&report["source_records"], &report["findings"]["damaged"]), (&2.into(), &1.into()));
    assert_eq!(report["findings"]["damage"][0]["place"]["byte"], 28);

    let strict = path("strict.feed");
    assert_fails(&[&arguments(&strict)[..], &["--strict"]].concat(), 1, &["byte 28", "nothing was written"]);
    assert!(!Path::new(&strict).exists());
}

#[test]
fn a_signal_ends_the_server_well() {
    for signal in ["TERM", "INT"] {
        let server = Server::start(&["--rate", "100"]);
        assert_eq!(server.get("/readyz"), "ready\n");
        let status = server.end_with(signal);
        assert_eq!(status.code(), Some(0), "SIG{signal}: {status}");
    }
}

#[test]
fn a_log_that_nobody_reads_ends_nothing() {
    let folder = TempDir::new().unwrap();
    let recording = folder.path().join("market.feed");
    // It warns as it starts and tells that it stops: into a pipe whose reader is gone, and onto a disk that is full.
    let arguments = ["--record", recording.to_str().unwrap(), "--log", "debug"];
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    for log in [Stdio::from(closed), Stdio::from(full)] {
        let server = Server::start_with_log(&arguments, log);
        assert_eq!(server.get("/readyz"), "ready\n");
        let status = server.end_with("TERM");
        assert_eq!(status.code(), Some(0), "{status}");
        let verified = tickcast(&["verify", recording.to_str().unwrap()]);
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
        fs::remove_file(&recording).unwrap();
    }
    let program = env!("CARGO_BIN_EXE_tickcast");
    let refused = format!("'{program}' inspect nothing.feed 2>/dev/full");
    let status = Command::new("bash").args(["-c", &refused]).status().unwrap();
    assert_eq!(status.code(), Some(1), "it fails for its own reason");
}

#[test]
fn a_feed_file_is_not_written_to_a_pipe() {
    for verb in [
        &["import", "--from", "dbn", "in.dbn"][..],
        &["record"],
        &["simulate", "--ticks", "1"],
        &["repair", "in.feed"],
    ] {
        assert_fails(&[verb, &["--out", "-"]].concat(), 2, &["'-'", "allowed: the path of a file"]);
    }
}

#[test]
fn watch_prints_lines_and_ends_quietly() {
    let server = Server::start(&["--rate", "1000"]);
    let url = format!("ws://{}/ws", server.address());
    assert_fails(&["watch", "NOPE", "--url", &url], 1, &["symbol \"NOPE\" is unknown"]);

    let output = tickcast(&["watch", "BTC-USD", "--url", &url, "--count", "5"]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 5);

    // Who reads has enough: `set -o pipefail` gives the exit code of `watch`.
    let program = env!("CARGO_BIN_EXE_tickcast");
    let piped = format!("set -o pipefail; '{program}' watch BTC-USD --url {url} | head -n 3");
    let output = Command::new("bash").args(["-c", &piped]).output().unwrap();
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{}: {notes}", output.status);
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 3);
    assert!(!notes.contains("error") && !notes.contains("panicked"), "{notes}");
}

#[test]
fn inspect_draws_pictures() {
    let feed = concat!(env!("CARGO_MANIFEST_DIR"), "/feeds/four-symbols.feed");
    let folder = TempDir::new().unwrap();
    let picture = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (png, svg) = (picture("a.png"), picture("a.svg"));
    assert!(tickcast(&["inspect", feed, "--plot", &png]).status.success());
    let bytes = fs::read(&png).unwrap();
    assert!(bytes.starts_with(b"\x89PNG\r\n") && bytes.ends_with(b"IEND\xaeB`\x82"));
    assert!(tickcast(&["inspect", feed, "--plot", &svg, "--symbol", "ETH-USD"]).status.success());
    let text = fs::read_to_string(&svg).unwrap();
    for drawn in [
        "ETH-USD in four-symbols.feed: mid price",
        "spread",
        "exchange events a second",
        "<polyline",
        "14:30:00.",
    ] {
        assert!(text.contains(drawn), "{drawn}");
    }
    assert_fails(&["inspect", feed, "--plot", &png], 1, &[&png, "overwrites nothing"]);
    assert_fails(&["inspect", feed, "--plot", "a.gif"], 2, &["'a.gif'", "end with .png or .svg"]);
    assert_fails(
        &["inspect", feed, "--plot", &picture("b.svg"), "--symbol", "NONE"],
        1,
        &["no instrument \"NONE\""],
    );
}

#[test]
fn an_export_to_a_pipe_is_all_that_is_there_and_ends_with_its_reader() {
    let feed = concat!(env!("CARGO_MANIFEST_DIR"), "/feeds/four-symbols.feed");
    let output = tickcast(&["export", feed, "--to", "csv", "--channels", "status", "--out", "-"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "symbol,first_seq,last_seq,ts_ns,sent_ns,snapshot,more,status\n");
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .starts_with("standard output: messages written: 0; records read: 26943")
    );

    let program = env!("CARGO_BIN_EXE_tickcast");
    let piped = format!("set -o pipefail; '{program}' export '{feed}' --to jsonl --out - | head -n 2");
    let output = Command::new("bash").args(["-c", &piped]).output().unwrap();
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && notes.is_empty(), "{}: {notes}", output.status);
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 2);
    assert_fails(
        &["export", feed, "--to", "csv", "--channels", "book", "--out", feed],
        1,
        &[feed, "overwrites nothing"],
    );
}

/// What is begun is removed where the disk takes no more: here a file may have so many KiB.
#[test]
fn what_fails_leaves_nothing_that_looks_whole() {
    let feed = concat!(env!("CARGO_MANIFEST_DIR"), "/feeds/four-symbols.feed");
    let folder = TempDir::new().unwrap();
    let program = env!("CARGO_BIN_EXE_tickcast");
    // The start of a day.
    let day = folder.path().join("20190130.itch");
    fs::write(&day, [&b"\0\x0cS"[..], &[0; 10], b"O"].concat()).unwrap();
    let day = day.display();
    for (kibibytes, arguments, name) in [
        (40, format!("export '{feed}' --to csv --channels book,trades,status --out"), "tables"),
        (40, format!("export '{feed}' --to csv --channels book --out"), "book.csv"),
        (40, format!("export '{feed}' --to jsonl --channels book --out"), "all.jsonl"),
        (40, format!("export '{feed}' --to jsonl --channels book,orders --out"), "all.jsonl.zst"),
        (0, format!("inspect '{feed}' --plot"), "picture.png"),
        (0, format!("import '{day}' --from itch --out"), "day.feed"),
    ] {
        let out = folder.path().join(name);
        let arguments = format!("{arguments} '{}'", out.display());
        let limited = format!("trap '' XFSZ; ulimit -f {kibibytes}; '{program}' {arguments}");
        let output = Command::new("bash").args(["-c", &limited]).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.starts_with("error: cannot "), "{message}");
        assert!(message.ends_with(": File too large (os error 27)\n"), "{message}");
        assert!(!out.exists(), "{name}");
        // So a second try is in nobody's way.
        let second = format!("'{program}' {arguments} 2>&1");
        assert!(Command::new("bash").args(["-c", &second]).output().unwrap().status.success());
    }
    // What was there before is not touched.
    let mine = folder.path().join("mine");
    fs::write(&mine, "mine").unwrap();
    let out = mine.to_str().unwrap();
    assert_fails(&["export", feed, "--to", "jsonl", "--out", out], 1, &[out, "overwrites nothing"]);
    assert_fails(&["export", feed, "--to", "csv", "--out", out], 1, &[out, "overwrites nothing"]);
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
}

#[test]
fn standard_output_that_takes_no_more_is_called_that() {
    let feed = concat!(env!("CARGO_MANIFEST_DIR"), "/feeds/four-symbols.feed");
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tickcast"))
        .args(["export", feed, "--to", "jsonl", "--out", "-"])
        .stdout(full)
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(message, "error: cannot write standard output: No space left on device (os error 28)\n");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_export_that_is_stopped_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let feed = folder.path().join("long.feed");
    let simulate = ["simulate", "--ticks", "200000", "--out", feed.to_str().unwrap()];
    assert!(tickcast(&simulate).status.success());
    for (signal, to, name) in [("INT", "csv", "tables"), ("TERM", "jsonl", "all.jsonl")] {
        let out = folder.path().join(name);
        let mut export = Command::new(env!("CARGO_BIN_EXE_tickcast"))
            .args(["export", feed.to_str().unwrap(), "--to", to, "--out", out.to_str().unwrap()])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while !out.exists() {
            assert!(export.try_wait().unwrap().is_none(), "it had ended");
            std::thread::yield_now();
        }
        let id = export.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
        let output = export.wait_with_output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert_eq!(message, "error: the export was stopped, and what it had begun is removed\n");
        assert!(!out.exists(), "{name}");
    }
}

#[test]
fn every_verb_shows_an_example() {
    for verb in [
        &[][..],
        &["serve"],
        &["watch"],
        &["import"],
        &["export"],
        &["inspect"],
        &["verify"],
        &["repair"],
        &["record"],
    ] {
        let output = tickcast(&[verb, &["--help"]].concat());
        assert_eq!(output.status.code(), Some(0), "{verb:?}");
        let help = String::from_utf8(output.stdout).unwrap();
        let example = help.split_once("Example:").expect("an example").1;
        assert!(example.contains(&[&["tickcast"], verb].concat().join(" ")), "{verb:?}: {help}");
    }
}
