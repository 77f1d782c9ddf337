//! The publisher's thread: asks the source, derives, stamps, publishes.

mod tape;

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

pub use tape::{Said, Tape};

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

/// [`SourceStats::due_ns`] while nothing is expected of the source.
const NOT_DUE: u64 = 0;

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
    /// Where what the source says is recorded.
    tape: Option<Tape>,
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
        Pump { source, deriver, publisher, epoch, clock, stats, stop, parker, events: Vec::new(), tape: None }
    }

    /// Puts what the source says on a tape too, once it is published.
    pub fn with_tape(mut self, tape: Tape) -> Pump {
        self.tape = Some(tape);
        self
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
        let result = self.publish_until_stopped();
        self.stats.due_ns.set(NOT_DUE);
        result
    }

    fn publish_until_stopped(&mut self) -> Result<(), PumpError> {
        let mut primaries = Vec::with_capacity(limits::SOURCE_BATCH_MAX);
        let mut has_ended = false;
        while !self.stop.load(Ordering::Acquire) {
            let asked_ns = self.clock.now_ns();
            self.stats.due_ns.set(asked_ns.max(1));
            let next = self.source.poll(asked_ns, &mut primaries);
            // Also where the source failed: what it said before is published.
            let (taken, derived) = self.derive(&primaries);
            if let Some(tape) = &mut self.tape {
                tape.take(&primaries[..taken], &self.deriver);
            }
            derived?;
            primaries.clear();
            match next.map_err(PumpError::Source)? {
                Next::Now => has_ended = false,
                Next::At(due_ns) => self.sleep_until(due_ns),
                Next::Idle => self.sleep_until_woken(),
                Next::Reset(reason) => {
                    has_ended = false;
                    self.stats.ended.set(0);
                    self.epoch += 1;
                    self.stats.epoch.set(self.epoch);
                    self.deriver.reset(self.epoch, reason, self.clock.unix_ns(), &mut self.events);
                    if let Some(tape) = &mut self.tape {
                        tape.reset(&self.deriver);
                    }
                    self.publish();
                }
                Next::Ended if has_ended => self.sleep_until_woken(),
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
            self.stats.due_ns.set(due_ns);
            self.parker.park_timeout(Duration::from_nanos(due_ns - now_ns));
        }
    }

    fn sleep_until_woken(&self) {
        self.stats.due_ns.set(NOT_DUE);
        if self.tape.as_ref().is_some_and(Tape::is_behind) {
            // Nobody wakes it for the room that there will be on the tape.
            self.parker.park_timeout(Duration::from_millis(limits::RECORD_LOOK_MS));
        } else {
            self.parker.park();
        }
    }

    /// How many of them were taken, and what is wrong with the next.
    fn derive(&mut self, primaries: &[Primary]) -> (usize, Result<(), DeriveError>) {
        let (mut derived, mut taken) = (Ok(()), 0);
        for primary in primaries {
            derived = self.deriver.apply(primary, &mut self.events);
            if derived.is_err() {
                break;
            }
            taken += 1;
            if self.events.len() >= limits::CHUNK_RECORDS_MAX {
                self.publish();
            }
        }
        self.publish();
        (taken, derived)
    }

    /// Hands over what was derived, in chunks of whole exchange events (or pieces that were cut).
    fn publish(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        let mut rest = &mut events[..];
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at_mut(chunk_length(rest));
            self.publish_chunk(chunk);
            rest = after;
        }
        events.clear();
        self.events = events;
    }

    fn publish_chunk(&mut self, chunk: &mut [Event]) {
        let now_ns = self.clock.now_ns();
        let sent_ns = self.clock.unix_ns();
        let (mut ticks, mut records) = (0, 0);
        for event in &mut *chunk {
            event.sent_ns = sent_ns;
            // Resets and the end are no market data: they have no sequence.
            if event.channel().is_some() {
                records += 1;
                ticks += u64::from(event.flags & event_flags::LAST != 0);
            }
        }
        // A shard that lives and has no room (a client is behind, and `block` waits for it) is no fault of the source.
        let in_time = || self.stats.due_ns.set(self.clock.now_ns().max(1));
        let waits = self.publisher.publish_feeling(chunk, in_time);
        if waits > 0 {
            self.stats.waits.add(waits as u64);
            self.stats.wait_ns.add(self.clock.now_ns() - now_ns);
        }
        self.stats.ticks.add(ticks);
        self.stats.published.add(records);
        self.stats.last_publish_unix_ns.set(sent_ns);
    }
}

/// How many records the next chunk takes: up to the first end of an exchange event (or of a piece of one) behind
/// [`limits::CHUNK_RECORDS_MAX`], so at most an event more.
fn chunk_length(events: &[Event]) -> usize {
    let full = limits::CHUNK_RECORDS_MAX.min(events.len());
    let ends = |event: &Event| event.flags & event_flags::ENDS_PIECE != 0;
    events[full - 1..].iter().position(ends).map_or(events.len(), |more| full + more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::{Tap, bus};
    use crate::model::{Catalog, Channel, ChannelSet, Instrument, PrimaryKind, ResetReason, primary_flags};

    /// Says what it was given, one answer a call; then nothing until it is woken.
    struct Script(Vec<(usize, Result<Next, SourceError>)>);

    impl Source for Script {
        fn catalog(&self) -> Arc<Catalog> {
            let instrument = Instrument {
                symbol: "X".into(),
                price_exponent: 0,
                quantity_exponent: 0,
                tick_size: 1,
                lot_size: 1,
                channels: ChannelSet::of(&[Channel::Trades]),
                book_depth: 0,
                source_id: 0,
            };
            Arc::new(Catalog::new(vec![instrument]).unwrap())
        }

        fn poll(&mut self, _now_ns: u64, out: &mut Vec<Primary>) -> Result<Next, SourceError> {
            if self.0.is_empty() {
                return Err("the script is over".into());
            }
            let (trades, next) = self.0.remove(0);
            let trade = Primary {
                price: 5,
                quantity: 1,
                flags: primary_flags::LAST,
                ..Primary::new(PrimaryKind::Trade, 0, 7)
            };
            out.extend(std::iter::repeat_n(trade, trades));
            next
        }
    }

    /// Runs a script to its end; what was published, chunk by chunk, and the counters.
    fn run(
        script: Vec<(usize, Result<Next, SourceError>)>,
    ) -> (Vec<Vec<Event>>, Arc<CachePadded<SourceStats>>) {
        let (publisher, mut taps) = bus::<Event>(1, 1_024, usize::MAX);
        let stats = Arc::<CachePadded<SourceStats>>::default();
        let pump = Pump::new(Box::new(Script(script)), publisher, 10, Clock::start(), stats.clone());
        assert!(matches!(pump.run(), Err(PumpError::Source(_))));
        let mut tap: Tap<Event> = taps.remove(0);
        (std::iter::from_fn(|| tap.try_pop()).map(|chunk| chunk.to_vec()).collect(), stats)
    }

    #[test]
    fn what_a_source_said_before_it_failed_is_published() {
        let (chunks, stats) = run(vec![(3, Err("broken".into()))]);
        assert_eq!(chunks.concat().iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!((stats.published.get(), stats.ticks.get()), (3, 3));
    }

    #[test]
    fn chunks_are_bounded_and_end_where_an_exchange_event_ends() {
        let (chunks, _) = run(vec![(5_000, Ok(Next::Now))]);
        assert_eq!(chunks.concat().len(), 5_000);
        for chunk in chunks {
            assert!(chunk.len() <= limits::CHUNK_RECORDS_MAX);
            assert_ne!(chunk.last().unwrap().flags & event_flags::LAST, 0);
        }
        let mut whole = vec![Event::new(0, 1, 0, Body::Ended); 3_000];
        whole[2_500].flags = event_flags::CUT;
        assert_eq!(chunk_length(&whole), 2_501, "an event is not torn apart");
    }

    #[test]
    fn a_pump_that_waits_for_a_shard_is_overdue_unless_the_shard_lives() {
        let (publisher, mut taps) = bus::<Event>(1, 1, usize::MAX);
        let (stats, clock) = (Arc::<CachePadded<SourceStats>>::default(), Clock::start());
        let script = Script(vec![(5_000, Ok(Next::Idle))]);
        let pump = Pump::new(Box::new(script), publisher, 10, clock, stats.clone());
        let handle = pump.handle();
        let running = std::thread::spawn(move || pump.run());
        while !stats.is_stale(clock.now_ns()) {
            std::thread::yield_now();
        }
        while stats.is_stale(clock.now_ns()) {
            taps[0].pulse();
            std::thread::yield_now();
        }
        assert!(stats.published.get() < 5_000, "it waits");
        let mut taken = 0;
        while taken < 5_000 {
            taken += taps[0].try_pop().map_or(0, |chunk| chunk.len());
        }
        while stats.overdue_ns(clock.now_ns()) > 0 {
            std::thread::yield_now();
        }
        assert_eq!(stats.due_ns.get(), NOT_DUE, "idle");
        handle.stop();
        running.join().unwrap().unwrap();
    }

    /// Says three trades, and has ended.
    struct Brief(Script, u32);

    impl Source for Brief {
        fn catalog(&self) -> Arc<Catalog> {
            self.0.catalog()
        }

        fn poll(&mut self, _now_ns: u64, out: &mut Vec<Primary>) -> Result<Next, SourceError> {
            if self.1 == 3 {
                return Ok(Next::Ended);
            }
            self.1 += 1;
            let trade = Primary { price: 5, quantity: 1, ..Primary::new(PrimaryKind::Trade, 0, 7) };
            out.push(Primary { flags: primary_flags::LAST, ..trade });
            Ok(Next::Now)
        }
    }

    #[test]
    fn what_a_tape_lost_is_told_though_the_source_has_ended() {
        let (publisher, taps) = bus::<Event>(1, 1_024, usize::MAX);
        let stats = Arc::<CachePadded<SourceStats>>::default();
        let (tape, mut tap) = Tape::bounded(1, Arc::default(), 1, usize::MAX);
        let pump =
            Pump::new(Box::new(Brief(Script(Vec::new()), 0)), publisher, 10, Clock::start(), stats.clone());
        let handle = pump.handle();
        let running = std::thread::spawn(move || pump.with_tape(tape).run());
        while stats.ended.get() == 0 {
            std::thread::yield_now();
        }
        assert!(matches!(tap.try_pop().unwrap()[..], [Said::Record(_)]), "there was room for one");
        let told = loop {
            match tap.try_pop() {
                Some(chunk) => break chunk,
                None => std::thread::yield_now(),
            }
        };
        assert!(matches!(told[0], Said::Lost { instrument: Some(0), records: 2, .. }), "{told:?}");
        handle.stop();
        running.join().unwrap().unwrap();
        drop(taps);
    }

    #[test]
    fn an_end_is_told_once_and_again_after_a_reset() {
        let (chunks, stats) =
            run(vec![(1, Ok(Next::Ended)), (0, Ok(Next::Reset(ResetReason::Loop))), (1, Ok(Next::Ended))]);
        let events = chunks.concat();
        let ends = events.iter().filter(|event| event.body() == Body::Ended).count();
        let epochs: Vec<u64> = events
            .iter()
            .filter_map(|event| match event.body() {
                Body::Reset { epoch, .. } => Some(epoch),
                _ => None,
            })
            .collect();
        assert_eq!((ends, epochs), (2, vec![11]));
        assert_eq!((stats.published.get(), stats.epoch.get()), (2, 11), "neither has a sequence");
    }
}
