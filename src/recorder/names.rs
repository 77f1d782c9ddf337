//! The names of the files of one recording.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The file of that number: the first has the name that was asked for, further ones their number before the extension
/// (`day.feed`, `day.2.feed`, `day.3.feed`).
pub fn numbered(first: &Path, number: u64) -> PathBuf {
    if number <= 1 {
        return first.to_owned();
    }
    let mut name = OsString::from(first.file_stem().unwrap_or_default());
    name.push(format!(".{number}"));
    if let Some(extension) = first.extension() {
        name.push(".");
        name.push(extension);
    }
    first.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_files_have_their_number_before_the_extension() {
        for (first, number, expected) in [
            ("a/day.feed", 1, "a/day.feed"),
            ("a/day.feed", 2, "a/day.2.feed"),
            ("day.mon.feed", 12, "day.mon.12.feed"),
            ("/tmp/day", 3, "/tmp/day.3"),
        ] {
            assert_eq!(numbered(Path::new(first), number), Path::new(expected));
        }
    }
}
