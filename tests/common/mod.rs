//! What several tests share.
#![allow(dead_code, reason = "each test uses some of it")]

use std::path::PathBuf;

/// A recorded file, by its path below the folder of recorded market data (`TICKCAST_TEST_DATA`, by default
/// `../shared/data`). Where it is absent: `None`, and a line that says so; with `TICKCAST_REQUIRE_ALL=1` a failure.
pub fn recorded(path: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("TICKCAST_TEST_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let file = folder.join(path);
    if file.is_file() {
        return Some(file);
    }
    let reason = format!("{} is not there (TICKCAST_TEST_DATA names the folder)", file.display());
    assert!(std::env::var_os("TICKCAST_REQUIRE_ALL").is_none_or(|value| value != "1"), "{reason}");
    println!("skipped: {reason}");
    None
}
