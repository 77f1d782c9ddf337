//! One recording given twice: what it says would be told twice.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::ImportError;

/// Bytes that are compared at a time.
const COMPARED_BYTES: usize = 64 * 1_024;

/// Refuses inputs that are one file, by whatever names.
pub(super) fn refuse_one_file_twice(inputs: &[PathBuf]) -> Result<(), ImportError> {
    let mut known = HashMap::new();
    for path in inputs {
        // What cannot be found is told where it is opened.
        let Ok(file) = path.canonicalize() else { continue };
        if let Some(other) = known.insert(file, path) {
            let (path, other) = (path.display().to_string(), other.display().to_string());
            return Err(ImportError::Twice { path, other });
        }
    }
    Ok(())
}

/// Inputs that hold the same bytes as one named before them, each with that one.
pub(super) fn copies(inputs: &[PathBuf]) -> Vec<(&Path, &Path)> {
    let mut by_length: HashMap<u64, Vec<&Path>> = HashMap::new();
    let mut copies = Vec::new();
    for path in inputs {
        let Some(metadata) = path.metadata().ok().filter(Metadata::is_file) else { continue };
        let others = by_length.entry(metadata.len()).or_default();
        match others.iter().find(|other| are_alike(path, other).unwrap_or(false)) {
            Some(other) => copies.push((path.as_path(), *other)),
            None => others.push(path),
        }
    }
    copies
}

fn are_alike(one: &Path, other: &Path) -> io::Result<bool> {
    let open = |path| File::open(path).map(|file| BufReader::with_capacity(COMPARED_BYTES, file));
    let (mut one, mut other) = (open(one)?, open(other)?);
    loop {
        let (first, second) = (one.fill_buf()?, other.fill_buf()?);
        let both = first.len().min(second.len());
        if first[..both] != second[..both] {
            return Ok(false);
        }
        if both == 0 {
            return Ok(first.len() == second.len());
        }
        one.consume(both);
        other.consume(both);
    }
}
