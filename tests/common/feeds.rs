//! What tests of importers share: recordings that are made up, taken in, and looked at.
#![allow(dead_code, reason = "every test file compiles this module and uses a part of it")]

use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tickcast::feed::Reader;
use tickcast::feed::import::{ImportError, ImportOptions, Imported};
use tickcast::feed::inspect::{Report, inspect};
use tickcast::model::{Deriver, Event, Primary};

/// Every record of a feed file.
pub fn primaries(path: &Path) -> Vec<Primary> {
    let mut reader = Reader::open(path).unwrap();
    let mut primaries = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        primaries.extend_from_slice(block);
    }
    primaries
}

/// What `inspect` says of a feed file, which must be whole.
pub fn report(path: &Path) -> Report {
    let report = inspect(path, &mut |_, _| {}).unwrap();
    assert!(report.complete && report.fault.is_none());
    report
}

/// What everybody would hear of a feed file, and the books at its end.
pub fn derived(path: &Path) -> (Deriver, Vec<Event>) {
    let mut deriver = Deriver::new(Reader::open(path).unwrap().catalog().clone());
    let mut events = Vec::new();
    for primary in primaries(path) {
        deriver.apply(&primary, &mut events).unwrap();
    }
    (deriver, events)
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Inputs of a test and the feed file they become.
pub struct Case {
    pub folder: TempDir,
    pub inputs: Vec<PathBuf>,
}

impl Case {
    pub fn new() -> Case {
        Case { folder: tempfile::tempdir().unwrap(), inputs: Vec::new() }
    }

    /// A file beside the inputs.
    pub fn beside(self, name: &str, bytes: &[u8]) -> Case {
        std::fs::write(self.folder.path().join(name), bytes).unwrap();
        self
    }

    /// One more input.
    pub fn input(mut self, name: &str, bytes: &[u8]) -> Case {
        self.inputs.push(self.folder.path().join(name));
        self.beside(name, bytes)
    }

    pub fn out(&self) -> PathBuf {
        self.folder.path().join("out.feed")
    }

    /// Imports by a format's function; what was there of an earlier import goes away. Where it fails nothing may be
    /// there, and where it does not what is there must be whole.
    pub fn import(
        &self,
        strict: bool,
        import: impl Fn(&[PathBuf], &Path, ImportOptions) -> Result<Imported, ImportError>,
    ) -> Result<Imported, ImportError> {
        let _ = std::fs::remove_file(self.out());
        let imported = import(&self.inputs, &self.out(), ImportOptions { strict });
        match &imported {
            Ok(imported) => {
                assert!(!strict || imported.findings.damaged == 0);
                assert_eq!(primaries(&self.out()).len() as u64, imported.written.records);
            }
            Err(_) => assert!(!self.out().exists()),
        }
        imported
    }
}
