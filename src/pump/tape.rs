//! What a source said, for whoever records it: offered without ever waiting, and right again after a loss.

use std::sync::Arc;

use crate::bus::{Publisher, Tap, bus};
use crate::limits;
use crate::model::{ABSENT_TIME, Deriver, Primary};
use crate::stats::RecordStats;

/// What stands on a tape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Said {
    /// The source said so, or it is part of a snapshot of an instrument after a loss.
    Record(Primary),
    /// So many records are missing here, of an instrument or (`None`) of any.
    Lost {
        /// The instrument's number.
        instrument: Option<u32>,
        /// How many.
        records: u64,
        /// Event time of the last record that the source said before them.
        from_ns: u64,
        /// Event time of the last record that the source said.
        until_ns: u64,
    },
    /// History ends: a new epoch begins, every book is empty.
    NewEpoch,
}

/// The writing end of a bounded queue to a recorder.
///
/// Where the queue has no room, what the source says goes past it and is counted for each instrument. Once there is room
/// again, and no exchange event is open, each instrument that lacks something gets its loss and a snapshot of what is
/// known of it, a few at a time; until then what is said of it goes past too. So what is recorded of an instrument is right at
/// any time, and nothing waits.
#[derive(Debug)]
pub struct Tape {
    publisher: Publisher<Said>,
    stats: Arc<RecordStats>,
    /// Records that are missing since each instrument was last right, by its number; 0: it is right.
    missing: Vec<u64>,
    /// Event time of the last record before those, by the instrument's number.
    missing_since_ns: Vec<u64>,
    /// Instruments that are not.
    wrong: usize,
    /// The instrument where the search for those begins.
    next: usize,
    /// Records that are missing of the epoch before, where the tape has not been told of the new one.
    before_epoch: Option<u64>,
    /// Event time of the last record before those.
    before_epoch_since_ns: u64,
    /// Event time of the last record.
    now_ns: u64,
    /// What is offered; reused.
    said: Vec<Said>,
    snapshot: Vec<Primary>,
}

impl Tape {
    /// A tape of so many instruments, and its reading end.
    pub fn new(instruments: usize, stats: Arc<RecordStats>) -> (Tape, Tap<Said>) {
        let (chunks, records) = (limits::RECORD_QUEUE_CHUNKS_MAX, limits::RECORD_QUEUE_RECORDS_MAX);
        Tape::bounded(instruments, stats, chunks, records)
    }

    pub(super) fn bounded(
        instruments: usize,
        stats: Arc<RecordStats>,
        chunks: usize,
        records: usize,
    ) -> (Tape, Tap<Said>) {
        let (publisher, mut taps) = bus(1, chunks, records);
        let tap = taps.pop().expect("one tap was asked for");
        let tape = Tape {
            publisher,
            stats,
            missing: vec![0; instruments],
            missing_since_ns: vec![0; instruments],
            wrong: 0,
            next: 0,
            before_epoch: None,
            before_epoch_since_ns: 0,
            now_ns: 0,
            said: Vec::new(),
            snapshot: Vec::new(),
        };
        (tape, tap)
    }

    /// Takes what the source said; `deriver` has taken it too.
    pub(super) fn take(&mut self, primaries: &[Primary], deriver: &Deriver) {
        let before_ns = self.now_ns;
        if let Some(last) = primaries.iter().rev().find(|primary| primary.ts_event_ns != ABSENT_TIME) {
            self.now_ns = last.ts_event_ns;
        }
        self.said.clear();
        if self.before_epoch.is_none() {
            let missing = &self.missing;
            let is_right = |primary: &&Primary| missing[primary.instrument as usize] == 0;
            self.said.extend(primaries.iter().filter(is_right).map(|primary| Said::Record(*primary)));
        }
        let is_whole = self.said.len() == primaries.len();
        let goes_past = !self.offer() || self.before_epoch.is_some();
        if goes_past || !is_whole {
            for primary in primaries {
                if goes_past || self.missing[primary.instrument as usize] > 0 {
                    self.miss(primary.instrument, before_ns);
                }
            }
        }
        if self.is_behind() {
            self.make_right(deriver);
        }
    }

    /// Whether something is to be put on the tape as soon as there is room.
    pub(super) fn is_behind(&self) -> bool {
        self.before_epoch.is_some() || self.wrong > 0
    }

    /// A new epoch begins; `deriver` is in it.
    pub(super) fn reset(&mut self, deriver: &Deriver) {
        let missing: u64 = self.missing.iter().sum();
        if self.before_epoch.is_none() {
            let since = self.missing.iter().zip(&self.missing_since_ns).filter(|(missing, _)| **missing > 0);
            self.before_epoch_since_ns = since.map(|(_, since_ns)| *since_ns).min().unwrap_or(self.now_ns);
        }
        self.missing.fill(0);
        self.wrong = 0;
        self.before_epoch = Some(self.before_epoch.unwrap_or(0) + missing);
        self.make_right(deriver);
    }

    /// A record of the instrument goes past; the last record before its batch was at `before_ns`.
    fn miss(&mut self, instrument: u32, before_ns: u64) {
        let missing = &mut self.missing[instrument as usize];
        if *missing == 0 {
            self.wrong += 1;
            self.missing_since_ns[instrument as usize] = before_ns;
        }
        *missing += 1;
        self.stats.lost.add(1);
    }

    /// Offers what was said; false where there is no room. Nothing is always taken.
    fn offer(&mut self) -> bool {
        self.publisher.offer(&self.said) == 0
    }

    /// Makes some instruments right that are not, and tells of a new epoch, as far as there is room.
    #[cold]
    fn make_right(&mut self, deriver: &Deriver) {
        if let Some(missing) = self.before_epoch {
            self.said.clear();
            if missing > 0 {
                let (from_ns, until_ns) = (self.before_epoch_since_ns, self.now_ns);
                self.said.push(Said::Lost { instrument: None, records: missing, from_ns, until_ns });
            }
            self.said.push(Said::NewEpoch);
            if !self.offer() {
                return;
            }
            self.before_epoch = None;
        }
        if self.wrong == 0 || !deriver.is_between_events() {
            return;
        }
        let mut made = 0;
        while self.wrong > 0 && made < limits::RECORD_SNAPSHOT_RECORDS {
            let instrument = self.next;
            self.next = (self.next + 1) % self.missing.len();
            let records = self.missing[instrument];
            if records == 0 {
                continue;
            }
            let number = instrument as u32;
            self.snapshot.clear();
            deriver.snapshot(number, self.now_ns, &mut self.snapshot);
            self.said.clear();
            let (from_ns, until_ns) = (self.missing_since_ns[instrument], self.now_ns);
            self.said.push(Said::Lost { instrument: Some(number), records, from_ns, until_ns });
            self.said.extend(self.snapshot.iter().map(|primary| Said::Record(*primary)));
            if !self.offer() {
                self.next = instrument;
                return;
            }
            made += self.said.len();
            self.missing[instrument] = 0;
            self.wrong -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Catalog, Channel, ChannelSet, Event, Instrument, PrimaryKind, ResetReason, Side, primary_flags,
    };

    fn catalog(count: usize) -> Arc<Catalog> {
        let instrument = |number: usize| Instrument {
            symbol: format!("X{number}"),
            price_exponent: 0,
            quantity_exponent: 0,
            tick_size: 1,
            lot_size: 1,
            channels: ChannelSet::of(&[Channel::Book, Channel::Orders]),
            book_depth: 0,
            source_id: 0,
        };
        Arc::new(Catalog::new((0..count).map(instrument).collect()).unwrap())
    }

    /// A pump without its thread, a tape, and what a recorder makes of it.
    struct Rig {
        deriver: Deriver,
        recorded: Deriver,
        tape: Tape,
        tap: Tap<Said>,
        stats: Arc<RecordStats>,
        orders: u64,
        events: Vec<Event>,
        declared: u64,
        epochs: u64,
    }

    impl Rig {
        fn new(instruments: usize, chunks: usize) -> Rig {
            let (catalog, stats) = (catalog(instruments), Arc::<RecordStats>::default());
            let (tape, tap) = Tape::bounded(instruments, stats.clone(), chunks, usize::MAX);
            let deriver = Deriver::new(catalog.clone());
            let recorded = Deriver::new(catalog);
            let events = Vec::new();
            Rig { deriver, recorded, tape, tap, stats, orders: 0, events, declared: 0, epochs: 0 }
        }

        /// An event of two orders for one instrument, as a batch of its own.
        fn say(&mut self, instrument: u32) {
            let add = |order_id: u64, flags| Primary {
                order_id,
                side: Side::Bid as u8,
                price: 100 + (order_id % 7) as i64,
                quantity: 1,
                flags,
                ..Primary::new(PrimaryKind::Add, instrument, 1_000 + order_id)
            };
            let batch = [add(self.orders + 1, 0), add(self.orders + 2, primary_flags::LAST)];
            self.orders += 2;
            batch.iter().for_each(|primary| self.deriver.apply(primary, &mut self.events).unwrap());
            self.tape.take(&batch, &self.deriver);
        }

        /// Takes what waits.
        fn record(&mut self) -> Vec<Said> {
            let mut all = Vec::new();
            while let Some(chunk) = self.tap.try_pop() {
                for said in chunk.iter() {
                    match said {
                        Said::Record(primary) => {
                            self.recorded.apply(primary, &mut self.events).unwrap();
                        }
                        Said::Lost { records, .. } => self.declared += records,
                        Said::NewEpoch => {
                            self.epochs += 1;
                            self.recorded.reset(self.epochs, ResetReason::Loop, 0, &mut self.events);
                        }
                    }
                    all.push(*said);
                }
            }
            all
        }

        fn assert_equal(&self, instrument: u32) {
            let levels = |deriver: &Deriver| {
                [Side::Bid, Side::Ask].map(|side| deriver.book(instrument).levels(side).collect::<Vec<_>>())
            };
            assert_eq!(levels(&self.recorded), levels(&self.deriver), "instrument {instrument}");
        }
    }

    #[test]
    fn what_finds_no_room_is_declared_and_the_books_are_right_again() {
        let mut rig = Rig::new(3, 4);
        for turn in 0..40 {
            rig.say(turn % 3);
        }
        assert_eq!(rig.stats.lost.get(), 2 * 36, "four batches of two found room");
        let first = rig.record();
        assert_eq!(first.len(), 8);
        let until_ns = rig.tape.now_ns;
        // With room again each instrument gets its loss and its state, in chunks of their own.
        let mut losses = Vec::new();
        for _ in 0..5 {
            rig.say(0);
            losses.extend(rig.record().into_iter().filter_map(|said| match said {
                Said::Lost { from_ns, until_ns, .. } => Some((from_ns, until_ns)),
                _ => None,
            }));
        }
        // Nothing was recorded between the first that was missing and what makes each instrument right.
        let from_ns: Vec<u64> = losses.iter().map(|(from_ns, _)| *from_ns).collect();
        assert_eq!(from_ns.len(), 3);
        assert!(from_ns.iter().all(|from_ns| (1_008..=1_014).contains(from_ns)), "{losses:?}");
        assert!(losses.iter().all(|(_, to_ns)| *to_ns > until_ns), "{losses:?}");
        (0..3).for_each(|instrument| rig.assert_equal(instrument));
        assert_eq!(rig.declared, rig.stats.lost.get(), "every loss is declared");
        assert_eq!(rig.tape.wrong, 0);
        let lost = rig.stats.lost.get();
        rig.say(1);
        assert_eq!(rig.record().len(), 2);
        assert_eq!(rig.stats.lost.get(), lost, "and nothing more is lost");
        rig.assert_equal(1);
    }

    #[test]
    fn what_is_right_is_recorded_on_while_others_are_made_right() {
        let mut rig = Rig::new(2, 2);
        (0..3).for_each(|_| rig.say(1));
        rig.record();
        // Within an event of instrument 1 nobody is made right.
        let open =
            Primary { side: 1, price: 5, quantity: 1, order_id: 999, ..Primary::new(PrimaryKind::Add, 1, 1) };
        rig.deriver.apply(&open, &mut rig.events).unwrap();
        rig.tape.take(&[open], &rig.deriver);
        rig.say(0);
        let said = rig.record();
        assert!(said.iter().all(|said| matches!(said, Said::Record(primary) if primary.instrument == 0)));
        assert_eq!(said.len(), 2);
        rig.say(1);
        let said = rig.record();
        assert!(matches!(said[0], Said::Lost { instrument: Some(1), records: 5, .. }));
        (0..2).for_each(|instrument| rig.assert_equal(instrument));
    }

    #[test]
    fn an_epoch_that_begins_without_room_begins_when_there_is_some() {
        let mut rig = Rig::new(2, 2);
        (0..4).for_each(|_| rig.say(0));
        rig.deriver.reset(2, ResetReason::Loop, 0, &mut rig.events);
        rig.tape.reset(&rig.deriver);
        rig.say(1);
        rig.record();
        assert_eq!(rig.epochs, 0);
        rig.say(0);
        let said = rig.record();
        assert!(matches!(said[..2], [Said::Lost { instrument: None, records: 4, .. }, Said::NewEpoch]));
        rig.say(0);
        rig.record();
        (0..2).for_each(|instrument| rig.assert_equal(instrument));
        assert_eq!((rig.epochs, rig.declared), (1, rig.stats.lost.get()));
        // With room it is told at once.
        rig.deriver.reset(3, ResetReason::Loop, 0, &mut rig.events);
        rig.tape.reset(&rig.deriver);
        assert_eq!(rig.record(), [Said::NewEpoch]);
    }
}
