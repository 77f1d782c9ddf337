//! The house rules that no compiler holds: who may import whom, where locks and clocks may be, how long a file may
//! grow, what must not be left lying about. Each rule is tried on made-up code as well, to show that it bites.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[path = "tidy/source.rs"]
mod source;

use source::{code_of, lines_with, paths};

/// The rooms of the house, each with those it may import. Arrows only point down: a room stands below those it
/// names. `limits` and `stats` are open to all; only rooms that name `clock` may know the time.
const ROOMS: &[(&str, &[&str])] = &[
    ("limits", &[]),
    ("clock", &[]),
    ("stats", &[]),
    ("model", &[]),
    ("source", &["model"]),
    ("wire", &["model", "source"]),
    ("bus", &["clock"]),
    ("pump", &["clock", "model", "source", "bus"]),
    ("sim", &["clock", "model", "source", "wire"]),
    ("feed", &["clock", "model", "source", "wire"]),
    ("live", &["clock", "model", "source", "feed"]),
    ("recorder", &["clock", "model", "source", "bus", "pump", "feed"]),
    ("shard", &["clock", "model", "source", "wire", "bus"]),
    ("client", &["clock", "model", "wire"]),
    ("bench", &["clock", "model", "wire", "client"]),
    ("door", &["clock", "model", "source", "wire", "shard"]),
    (
        "config",
        &[
            "clock", "model", "source", "wire", "bus", "sim", "feed", "live", "recorder", "shard", "client",
            "door",
        ],
    ),
    (
        "node",
        &[
            "clock", "model", "source", "wire", "bus", "pump", "sim", "feed", "live", "recorder", "shard",
            "client", "door", "config",
        ],
    ),
    (
        "cli",
        &[
            "clock", "model", "source", "wire", "bus", "pump", "sim", "feed", "live", "shard", "client",
            "bench", "door", "config", "node",
        ],
    ),
    ("main", &["cli"]),
];
const OPEN_TO_ALL: [&str; 2] = ["limits", "stats"];

/// What the door may name of a shard: how to hand a socket over.
const DOOR_KNOWS: &[&str] = &[
    "shard::handle",
    "shard::ShardHandle",
    "shard::Arrival",
    "shard::Protocol",
    "shard::Query",
    "shard::Connection",
    "shard::ConnectionStream",
    "shard::Listing",
    "shard::Seat",
    "shard::Terms",
];

const WITHOUT_LOCKS: [&str; 4] = ["bus", "model", "shard", "wire"];
const WITHOUT_SOCKETS: [&str; 5] = ["bus", "model", "sim", "source", "wire"];
const LINES_MAX: usize = 600;
/// Files that may hold `unsafe`, each block of which says why it is sound.
const WITH_UNSAFE: [&str; 0] = [];

/// A file, by its path from the repository's root, and what is wrong with it.
type Problems = Vec<String>;

/// `src/wire/market.rs` is in room `wire`, `src/limits.rs` is room `limits`; `lib.rs` is the map and no room.
fn room(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let name = inside.split('/').next()?.trim_end_matches(".rs");
    (name != "lib").then_some(name)
}

fn layers(path: &str, code: &str) -> Problems {
    let Some(room) = room(path) else { return Vec::new() };
    let Some((_, below)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        return vec![format!("{path}: room {room} has no place in the table of rooms")];
    };
    let root = if room == "main" { "tickcast" } else { "crate" };
    let mut named = paths(code, root);
    // `super::super::…` climbs to the same place. A file lies as many rooms deep as its path has parts.
    let depth = path.trim_start_matches("src/").trim_end_matches("/mod.rs").split('/').count();
    named.extend(paths(code, &vec!["super"; depth].join("::")));
    let mut problems = Vec::new();
    for (line, name) in named {
        let target = name.split("::").next().unwrap_or_default();
        let known = ROOMS.iter().any(|(name, _)| *name == target);
        if !known || target == room || OPEN_TO_ALL.contains(&target) {
            continue;
        }
        if !below.contains(&target) {
            problems.push(format!("{path}:{line}: {room} must not import {target} ({name})"));
        } else if room == "door"
            && target == "shard"
            && !DOOR_KNOWS.iter().any(|known| name == *known || name.starts_with(&format!("{known}::")))
        {
            problems.push(format!("{path}:{line}: the door must not know {name}"));
        }
    }
    problems
}

fn forbidden(path: &str, code: &str, words: &[&str], why: &str) -> Problems {
    let lines =
        words.iter().flat_map(|word| lines_with(code, word).into_iter().map(move |line| (line, word)));
    lines.map(|(line, word)| format!("{path}:{line}: {word}: {why}")).collect()
}

fn locks(path: &str, code: &str) -> Problems {
    if !room(path).is_some_and(|room| WITHOUT_LOCKS.contains(&room)) {
        return Vec::new();
    }
    let words = ["Mutex", "RwLock", "Condvar", "LazyLock", "OnceLock", "parking_lot"];
    forbidden(path, code, &words, "no lock on the path of a tick")
}

fn sockets(path: &str, code: &str) -> Problems {
    if !room(path).is_some_and(|room| WITHOUT_SOCKETS.contains(&room)) {
        return Vec::new();
    }
    forbidden(path, code, &["std::net", "tokio::net", "socket2"], "this room knows no socket")
}

/// Time is read in `clock.rs`; tokio's own clock, which tests can pause, is for timers.
fn clocks(path: &str, code: &str) -> Problems {
    if !path.starts_with("src/") || path == "src/clock.rs" {
        return Vec::new();
    }
    let tokio_time = paths(code, "tokio").iter().any(|(_, path)| path == "time::Instant");
    let words: &[&str] = if tokio_time {
        &["SystemTime::now"]
    } else {
        &["SystemTime::now", "Instant::now", "UtcDateTime::now"]
    };
    forbidden(path, code, words, "only clock.rs reads the time")
}

fn leftovers(path: &str, text: &str, code: &str) -> Problems {
    let mut problems =
        forbidden(path, code, &["todo!", "unimplemented!", "dbg!", "#[ignore"], "unfinished or switched off");
    problems.extend(forbidden(path, text, &["FIXME", "XXX", "TODO", "HACK"], "unfinished"));
    problems
}

fn unsafety(path: &str, code: &str) -> Problems {
    if WITH_UNSAFE.contains(&path) {
        return Vec::new();
    }
    forbidden(path, code, &["unsafe", "unsafe_code,"], "no unsafe code of our own")
}

fn length(path: &str, text: &str) -> Problems {
    let lines = text.lines().count();
    let problem = format!("{path}: {lines} lines; a file of more than {LINES_MAX} is two files");
    (lines > LINES_MAX).then_some(problem).into_iter().collect()
}

fn all_of_a_file(path: &str, text: &str) -> Problems {
    let code = code_of(text);
    let checks = [
        layers(path, &code),
        locks(path, &code),
        sockets(path, &code),
        clocks(path, &code),
        leftovers(path, text, &code),
        unsafety(path, &code),
        length(path, text),
    ];
    checks.concat()
}

/// A benchmark that Cargo.toml does not name runs under the wrong harness; a test that `tests/README.md` does not name
/// is not found by a reader, one that is only named there does not exist.
fn listed(benches: &[String], tests: &[String], cargo_toml: &str, readme: &str) -> Problems {
    let manifest: toml::Table = cargo_toml.parse().expect("Cargo.toml is TOML");
    let declared: BTreeSet<&str> = manifest
        .get("bench")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
        .filter(|bench| bench.get("harness").and_then(toml::Value::as_bool) == Some(false))
        .filter_map(|bench| bench.get("name")?.as_str())
        .collect();
    let named: BTreeSet<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name))
        .collect();
    let mut problems = Vec::new();
    for bench in benches.iter().filter(|bench| !declared.contains(bench.as_str())) {
        problems.push(format!("benches/{bench}.rs: not in Cargo.toml as [[bench]] with harness = false"));
    }
    for test in tests.iter().filter(|test| !named.contains(test.as_str())) {
        problems.push(format!("tests/{test}: no line \"| `{test}` | ...\" in tests/README.md"));
    }
    for test in named.iter().filter(|name| !tests.iter().any(|test| test == **name)) {
        problems.push(format!("tests/README.md: {test} does not exist"));
    }
    problems
}

/// Relative links of a document: the file must exist, and the heading where one is named in the same or another
/// document. `read` gives the text of a file, empty for a folder.
fn links(path: &str, text: &str, read: &dyn Fn(&Path) -> Option<String>) -> Problems {
    let mut problems = Vec::new();
    for (number, line) in prose(text) {
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() {
                PathBuf::from(path)
            } else {
                Path::new(path).parent().unwrap_or(Path::new("")).join(file)
            };
            match read(&file) {
                None => problems.push(format!("{path}:{number}: {target} does not exist")),
                Some(text) if !anchor.is_empty() && !anchors(&text).contains(anchor) => {
                    problems.push(format!("{path}:{number}: {target}: no such heading"));
                }
                Some(_) => {}
            }
        }
    }
    problems
}

/// Numbered lines outside of code blocks, with inline code taken out.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut in_code = false;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            lines.push((number + 1, line.split('`').step_by(2).collect::<Vec<_>>().join("`")));
        }
    }
    lines
}

/// The names under which a document's headings can be linked to.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut in_code = false;
    let headings = text.lines().filter(|line| {
        in_code ^= line.trim_start().starts_with("```");
        !in_code && line.starts_with('#')
    });
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below `folder` with this extension, by their paths from the root; what tools have made is left out.
fn files(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.')
                    && !["target", "node_modules", "__pycache__"].contains(&name.as_str())
                {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path.strip_prefix(root()).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn none(problems: Problems) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn the_code_is_tidy() {
    let sources = files("src", "rs");
    assert!(sources.len() > 10, "only {} files found", sources.len());
    let code = [sources, files("tests", "rs"), files("benches", "rs"), files("examples", "rs")].concat();
    // This file and its folder name what they look for.
    let code = code.iter().filter(|path| !path.starts_with("tests/tidy"));
    none(code.flat_map(|path| all_of_a_file(path, &read(path))).collect());

    let scripts = ["py", "js", "mjs", "ts", "sh", "toml", "md"].map(|kind| files("", kind)).concat();
    none(scripts.iter().flat_map(|path| leftovers(path, &read(path), "")).collect());
}

#[test]
fn benches_and_tests_are_listed() {
    let names = |folder: &str| -> Vec<String> {
        let mut names = BTreeSet::new();
        for path in files(folder, "rs") {
            let parts: Vec<_> = path.split('/').collect();
            if parts.len() == 2 || parts.ends_with(&["main.rs"]) && parts.len() == 3 {
                names.insert(parts[1].trim_end_matches(".rs").to_owned());
            }
        }
        names.into_iter().collect()
    };
    none(listed(&names("benches"), &names("tests"), &read("Cargo.toml"), &read("tests/README.md")));
}

#[test]
fn links_of_documents_resolve() {
    let documents = files("", "md");
    assert!(documents.iter().any(|path| path == "CHANGELOG.md"), "{documents:?}");
    let read_file = |path: &Path| {
        let path = root().join(path);
        if path.is_dir() { Some(String::new()) } else { std::fs::read_to_string(path).ok() }
    };
    none(documents.iter().flat_map(|path| links(path, &read(path), &read_file)).collect());
}

#[test]
fn rooms_stand_in_order() {
    for (at, (room, below)) in ROOMS.iter().enumerate() {
        for name in *below {
            assert!(
                ROOMS[..at].iter().any(|(lower, _)| lower == name),
                "{room} names {name}, which is not below it"
            );
        }
    }
}

/// What all checks of a file say about this code, without the place.
fn bites(path: &str, code: &str) -> Vec<String> {
    let problems = all_of_a_file(path, code);
    problems.iter().map(|problem| problem.split_once(": ").unwrap().1.to_owned()).collect()
}

#[test]
fn layers_bite() {
    let up = |path, code| !bites(path, code).is_empty();
    assert_eq!(
        bites("src/model/book.rs", "use crate::wire::market;"),
        ["model must not import wire (wire::market)"]
    );
    assert_eq!(
        bites("src/sim/mod.rs", "use crate::{limits, feed::{Writer, Reader}, sim::Rate};"),
        ["sim must not import feed (feed::Writer)", "sim must not import feed (feed::Reader)"]
    );
    assert!(up("src/bus/queue.rs", "fn f() { crate::model::Event::default(); }"));
    assert!(up("src/bus/queue.rs", "use super::super::model::Event;"));
    assert!(up("src/bus/mod.rs", "use super::model::Event;"));
    assert!(up("src/model/deriver/tests.rs", "use super::super::super::sim::Rate;"));
    assert!(up("src/wire/json.rs", "use crate::clock::Clock;"));
    assert!(up("src/client/mod.rs", "pub(crate) use crate::shard::Core;"));
    assert!(up("src/door/mod.rs", "use crate::shard::core::Core;"));
    assert!(up("src/door/mod.rs", "use crate::{feed::ReplayHandle};"));
    assert!(up("src/main.rs", "use tickcast::node;"));
    assert!(up("src/attic/mod.rs", ""));
    assert!(!up(
        "src/door/mod.rs",
        "use crate::{source::ReplayControl, shard::{ShardHandle, handle::Query}};"
    ));
    assert!(!up("src/shard/core.rs", "use crate::{bus, model::*, wire::market}; use super::super::stats;"));
    assert!(!up(
        "src/model/book.rs",
        "//! See [`crate::wire`].\nuse super::Level; const A: &str = \"crate::wire::x\";"
    ));
    assert!(!up("src/main.rs", "fn main() { tickcast::cli::run() }"));
    assert!(!up("tests/server.rs", "use crate::common;"));
}

#[test]
fn locks_sockets_clocks_and_unsafe_bite() {
    let why = |path, code| bites(path, code).join("; ");
    assert!(why("src/shard/core.rs", "use std::sync::{Arc, Mutex};").contains("Mutex: no lock"));
    assert!(why("src/wire/frame.rs", "static F: std::sync::RwLock<u8>").contains("RwLock: no lock"));
    assert!(why("src/bus/mod.rs", "parking_lot::const_mutex(1)").contains("parking_lot: no lock"));
    assert_eq!(why("src/door/mod.rs", "use std::sync::Mutex;"), "");
    assert_eq!(why("src/bus/mod.rs", "// a Mutex would do, slowly"), "");
    assert!(why("src/wire/guard.rs", "use tokio::net::TcpStream;").contains("no socket"));
    assert_eq!(why("src/shard/reader.rs", "use tokio::net::TcpStream;"), "");
    assert!(why("src/sim/mod.rs", "let t = std::time::Instant::now();").contains("only clock.rs"));
    assert!(why("src/node.rs", "use std::time::SystemTime; SystemTime::now()").contains("only clock.rs"));
    assert_eq!(why("src/clock.rs", "Instant::now()"), "");
    assert_eq!(why("src/shard/session.rs", "use tokio::time::{Instant, sleep}; Instant::now()"), "");
    assert!(why("src/model/price.rs", "unsafe { x }").contains("no unsafe"));
    assert!(why("src/model/price.rs", "#![allow(unsafe_code, reason = \"\")]").contains("no unsafe"));
    assert_eq!(why("src/lib.rs", "#![deny(unsafe_code)] // nothing unsafe"), "");
}

#[test]
fn leftovers_and_long_files_bite() {
    for code in ["fn f() { todo!() }", "unimplemented!()", "dbg!(x)", "#[ignore]", "#[ignore = \"slow\"]"] {
        assert_eq!(bites("src/node.rs", code).len(), 1, "{code}");
    }
    for word in ["TODO", "FIXME", "XXX", "HACK"] {
        assert_eq!(bites("tests/server.rs", &format!("// {word}: later")).len(), 1, "{word}");
    }
    assert_eq!(bites("src/node.rs", "let todo = \"dbg!\"; // ignore"), Vec::<String>::new());
    assert_eq!(bites("src/node.rs", &"\n".repeat(LINES_MAX)).len(), 0);
    assert_eq!(bites("src/node.rs", &"\n".repeat(LINES_MAX + 1)).len(), 1);
}

#[test]
fn unlisted_files_bite() {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let manifest = "[[bench]]\nname = \"book\"\nharness = false\n[[bench]]\nname = \"bus\"\n";
    let readme = "| file | shows |\n|---|---|\n| `tidy` | rules |\n| `gone` | nothing |\n";
    let problems = listed(&names(&["book", "bus", "sim"]), &names(&["tidy", "server"]), manifest, readme);
    let starts = ["benches/bus.rs", "benches/sim.rs", "tests/server", "tests/README.md: gone"];
    assert_eq!(problems.len(), starts.len(), "{problems:?}");
    assert!(problems.iter().zip(starts).all(|(problem, start)| problem.starts_with(start)), "{problems:?}");
}

#[test]
fn broken_links_bite() {
    let read_file = |path: &Path| match path.to_str().unwrap() {
        "docs/protocol.md" => Some("# Protocol\n## 2. Binary frames\n```\n# not a heading\n```\n".to_owned()),
        "docs/../README.md" => Some(String::new()),
        _ => None,
    };
    let broken = |text| links("docs/protocol.md", text, &read_file).len();
    assert_eq!(broken("[a](protocol.md) [b](../README.md) [c](https://x.y/z) [d](#2-binary-frames)"), 0);
    assert_eq!(broken("```\n[a](gone.md)\n```\n`[b](gone.md)`"), 0);
    assert_eq!(broken("[a](gone.md) and [b](protocol.md#not-a-heading)\n[c](#3-nothing)"), 3);
}
