//! A Databento file, taken in: what is refused leaves nothing, what is taken is a feed file that holds it.

use std::path::PathBuf;
use std::sync::OnceLock;

use tickcast::feed::Reader;
use tickcast::feed::import::{ImportError, ImportOptions, dbn};
use tickcast::feed::inspect::inspect;

/// Feed records that one DBN record may become: itself, and ten levels a side.
const RECORDS_MAX: u64 = 21;

/// A folder for this process; `run.py` removes it with the one it lies in.
fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("tickcast-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for files");
        folder
    })
}

pub fn run(data: &[u8]) {
    let (input, out) = (folder().join("in.dbn"), folder().join("out.feed"));
    std::fs::write(&input, data).expect("the input is written");
    let (mut last, mut total) = (0, 0);
    // Half of the inputs tolerate damage.
    let options = ImportOptions { strict: data.len() % 2 == 0 };
    let imported = dbn::import(&[input], &out, options, &mut |progress| {
        assert!(progress.done >= last && progress.done <= progress.total, "{progress:?} after {last}");
        (last, total) = (progress.done, progress.total);
    });
    match imported {
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
            assert!((imported.source_records..=imported.source_records * RECORDS_MAX).contains(&records));
            inspect(&out, &mut |_, _| {}).expect("it can be looked into");
        }
        Err(error) => {
            let is_of_output = matches!(error, ImportError::Feed(_));
            assert!(is_of_output || error.to_string().contains("in.dbn"), "{error}");
            assert!(is_of_output || !out.exists(), "something was written");
        }
    }
    let _ = std::fs::remove_file(&out);
}
