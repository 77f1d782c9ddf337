//! What several test files share.
#![allow(dead_code, reason = "every test file compiles this module and uses a part of it")]

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

/// Reports that the running test cannot run, and why; the test then returns. `tests/run.sh` counts and lists it. With
/// `TICKCAST_REQUIRE_ALL=1` the test fails instead.
///
/// # Panics
/// With `TICKCAST_REQUIRE_ALL=1`, and when the report cannot be written.
pub fn skip(reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(std::env::var("TICKCAST_REQUIRE_ALL").as_deref() != Ok("1"), "skipped: {reason}");
    println!("skipped: {test}: {reason}");
    // cargo hides what passing tests print: the report goes to a file as well.
    if let Ok(path) = std::env::var("TICKCAST_SKIPS") {
        let mut file = OpenOptions::new().create(true).append(true).open(&path).expect(&path);
        // In one write: tests of one binary run side by side.
        file.write_all(format!("{test}\t{}\n", reason.replace('\n', " ")).as_bytes()).expect(&path);
    }
}

/// A real recording, by its path in the folder `TICKCAST_TEST_DATA` (default `../shared/data` beside this repository).
/// Where it is absent the skip is reported and `None` returned.
pub fn recorded(path: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("TICKCAST_TEST_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let file = folder.join(path);
    if file.exists() {
        return Some(file);
    }
    skip(&format!("no recording {} (set TICKCAST_TEST_DATA to the folder that has it)", file.display()));
    None
}

/// The program that an environment variable names (`TICKCAST_PYTHON`, `TICKCAST_NODE`, `TICKCAST_CHROMIUM`: set by
/// `tests/run.sh` where it could install the clients' packages). Where it is not set the skip is reported and `None` returned.
pub fn program(variable: &str) -> Option<PathBuf> {
    let program = std::env::var_os(variable).map(PathBuf::from);
    if program.is_none() {
        skip(&format!(
            "{variable} is not set: run through tests/run.sh, which installs what the clients need"
        ));
    }
    program
}
