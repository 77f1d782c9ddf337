//! From one publisher to several readers: the product's bus, a queue for each reader of references to shared chunks,
//! against one ring that all read, and against queues that each get a copy of every record.

use tickcast::bus::{Publisher, Tap, bus};
use tickcast::limits::{QUEUE_CHUNKS_MAX, QUEUE_RECORDS_MAX};

use crate::lanes::{FIGURES, Publish, Receive, Record, capacity, cross, lanes, records, shared};
use crate::queue::array_queue;
use crate::ring::ring;
use crate::turns::{Candidate, Extent, compare, head};

pub fn run(extent: Extent) {
    head(extent, "a record counts once, however many readers; threads where the system puts them", &FIGURES);
    for taps in [1, 2, 4] {
        for batch in [1, 16, 256] {
            let records = records(extent, batch);
            let candidates = vec![
                Candidate::new("a queue each, of shared chunks", || {
                    cross(bus(taps, QUEUE_CHUNKS_MAX, QUEUE_RECORDS_MAX), batch, records)
                }),
                Candidate::new("one ring", || cross(shared(ring(taps, capacity(batch))), batch, records)),
                Candidate::new("a queue each, of copies", || {
                    let queues = (0..taps).map(|_| array_queue(capacity(batch))).collect();
                    cross(lanes(queues), batch, records)
                }),
            ];
            let s = if taps == 1 { "" } else { "s" };
            compare(extent, &format!("{taps} reader{s}, batches of {batch}"), candidates);
        }
    }
}

impl Publish for Publisher<Record> {
    fn publish(&mut self, batch: &[Record]) {
        Publisher::publish(self, batch);
    }
}

impl Receive for Tap<Record> {
    async fn ready(&mut self) -> bool {
        Tap::ready(self).await.is_ok()
    }

    fn take(&mut self, see: impl FnMut(&Record)) -> bool {
        self.try_pop().inspect(|chunk| chunk.iter().for_each(see)).is_some()
    }
}
