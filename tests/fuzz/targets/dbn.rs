//! A Databento file, taken in: what is refused leaves nothing, what is taken is a feed file that holds it.

use tickcast::feed::import::dbn;

use super::taken_in::taken_in;

/// Feed records that one DBN record may become: itself, and ten levels a side.
const RECORDS_MAX: u64 = 21;

pub fn run(data: &[u8]) {
    if let Some((imported, records)) = taken_in(data, "in.dbn", dbn::import) {
        assert!((imported.source_records..=imported.source_records * RECORDS_MAX).contains(&records));
    }
}
