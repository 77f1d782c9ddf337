//! What holds of every import: what is refused leaves nothing, what is taken is a whole feed file.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tickcast::feed::Reader;
use tickcast::feed::import::{ImportError, ImportOptions, Imported, Progress};
use tickcast::feed::inspect::inspect;

/// A folder for this process; `run.py` removes it with the one it lies in.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("tickcast-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for files");
        folder
    })
}

/// Imports `data` as a file of that name, and checks what comes of it. What was taken, and its feed records.
pub fn taken_in(
    data: &[u8],
    name: &str,
    import: impl FnOnce(
        &[PathBuf],
        &Path,
        ImportOptions,
        &mut dyn FnMut(Progress),
    ) -> Result<Imported, ImportError>,
) -> Option<(Imported, u64)> {
    let (input, out) = (folder().join(name), folder().join("out.feed"));
    std::fs::write(&input, data).expect("the input is written");
    let (mut last, mut total) = (0, 0);
    // Half of the inputs tolerate damage.
    let options = ImportOptions { strict: data.len() % 2 == 0 };
    let imported = import(&[input], &out, options, &mut |progress| {
        assert!(progress.done >= last && progress.done <= progress.total, "{progress:?} after {last}");
        (last, total) = (progress.done, progress.total);
    });
    let taken = match imported {
        Ok(imported) => {
            assert_eq!(last, total, "it is done");
            assert!(!options.strict || imported.findings.damaged == 0);
            let mut reader = Reader::open(&out).expect("what was written is a feed file");
            assert!(reader.is_complete());
            assert_eq!(reader.catalog().len(), imported.instruments);
            let mut records = 0;
            while let Some(block) = reader.next_block().expect("what was written is whole") {
                records += block.len() as u64;
            }
            assert_eq!((records, reader.records()), (imported.written.records, imported.written.records));
            inspect(&out, &mut |_, _| {}).expect("it can be looked into");
            Some((imported, records))
        }
        Err(error) => {
            let is_of_output = matches!(error, ImportError::Feed(_));
            assert!(is_of_output || error.to_string().contains(name), "{error}");
            assert!(is_of_output || !out.exists(), "something was written");
            None
        }
    };
    let _ = std::fs::remove_file(&out);
    taken
}
