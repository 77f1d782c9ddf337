//! The publisher's thread: asks the source, derives, stamps, publishes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use crossbeam_utils::sync::{Parker, Unparker};

use crate::bus::Publisher;
use crate::clock::Clock;
use crate::limits;
use crate::model::{Body, DeriveError, Deriver, Event, Primary, event_flags};
use crate::source::{Next, Source, SourceError};
use crate::stats::SourceStats;

/// Why publishing stopped before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum PumpError {
    /// The source cannot go on.
    #[error("the source failed: {0}")]
    Source(SourceError),
    /// The source said something that means nothing.
    #[error("the source gave a bad record: {0}")]
    Derive(#[from] DeriveError),
}

/// Asks one source and publishes what it says.
pub struct Pump {
    source: Box<dyn Source>,
    deriver: Deriver,
    publisher: Publisher<Event>,
    epoch: u64,
    clock: Clock,
    stats: Arc<CachePadded<SourceStats>>,
    stop: Arc<AtomicBool>,
    parker: Parker,
    events: Vec<Event>,
}

/// Stops a pump, and wakes one that sleeps.
#[derive(Clone, Debug)]
pub struct PumpHandle {
    stop: Arc<AtomicBool>,
    unparker: Unparker,
}

impl PumpHandle {
    /// Makes the pump return soon. A publisher that waits for a full queue goes on when its tap is gone.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.unparker.unpark();
    }

    /// What wakes the pump, for a source that is told something while it sleeps.
    pub fn unparker(&self) -> Unparker {
        self.unparker.clone()
    }
}

impl Pump {
    /// A pump whose first epoch is `epoch`.
    pub fn new(
        source: Box<dyn Source>,
        publisher: Publisher<Event>,
        epoch: u64,
        clock: Clock,
        stats: Arc<CachePadded<SourceStats>>,
    ) -> Pump {
        stats.epoch.set(epoch);
        let deriver = Deriver::new(source.catalog());
        let (stop, parker) = (Arc::default(), Parker::new());
        Pump { source, deriver, publisher, epoch, clock, stats, stop, parker, events: Vec::new() }
    }

    /// What stops and wakes it.
    pub fn handle(&self) -> PumpHandle {
        PumpHandle { stop: self.stop.clone(), unparker: self.parker.unparker().clone() }
    }

    /// Publishes until it is told to stop. Blocks the thread.
    ///
    /// # Errors
    /// What the source fails with. Everything it said before has been published.
    pub fn run(mut self) -> Result<(), PumpError> {
        let mut primaries = Vec::with_capacity(limits::SOURCE_BATCH_MAX);
        let mut has_ended = false;
        while !self.stop.load(Ordering::Acquire) {
            let asked_ns = self.clock.now_ns();
            let next = self.source.poll(asked_ns, &mut primaries).map_err(PumpError::Source)?;
            self.derive(&primaries)?;
            primaries.clear();
            match next {
                Next::Now => has_ended = false,
                Next::At(due_ns) => self.sleep_until(due_ns),
                Next::Idle => self.parker.park(),
                Next::Reset(reason) => {
                    self.epoch += 1;
                    self.stats.epoch.set(self.epoch);
                    self.deriver.reset(self.epoch, reason, self.clock.unix_ns(), &mut self.events);
                    self.publish();
                }
                Next::Ended if has_ended => self.parker.park(),
                Next::Ended => {
                    has_ended = true;
                    self.stats.ended.set(1);
                    // What the source left without an end mark ends here.
                    self.deriver.finish(&mut self.events);
                    let mut end = Event::new(0, 0, self.clock.unix_ns(), Body::Ended);
                    end.flags = event_flags::LAST;
                    self.events.push(end);
                    self.publish();
                }
            }
        }
        Ok(())
    }

    fn sleep_until(&self, due_ns: u64) {
        let now_ns = self.clock.now_ns();
        if due_ns > now_ns {
            self.parker.park_timeout(Duration::from_nanos(due_ns - now_ns));
        }
    }

    fn derive(&mut self, primaries: &[Primary]) -> Result<(), PumpError> {
        for primary in primaries {
            self.deriver.apply(primary, &mut self.events)?;
            if self.events.len() >= limits::CHUNK_RECORDS_MAX {
                self.publish();
            }
        }
        self.publish();
        Ok(())
    }

    /// Hands over what was derived: whole exchange events (or pieces that were cut), in one chunk.
    fn publish(&mut self) {
        if self.events.is_empty() {
            return;
        }
        let now_ns = self.clock.now_ns();
        let sent_ns = self.clock.unix_ns();
        let mut ticks = 0;
        for event in &mut self.events {
            event.sent_ns = sent_ns;
            ticks += u64::from(event.flags & event_flags::LAST != 0);
        }
        let waits = self.publisher.publish(&self.events);
        if waits > 0 {
            self.stats.waits.add(waits as u64);
            self.stats.wait_ns.add(self.clock.now_ns() - now_ns);
        }
        self.stats.ticks.add(ticks);
        self.stats.published.add(self.events.len() as u64);
        self.stats.last_publish_unix_ns.set(sent_ns);
        self.events.clear();
    }
}
