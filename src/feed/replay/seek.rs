//! Where a replay starts or jumps to: the state there, made of the nearest keyframe and what follows it.

use std::cmp::Reverse;
use std::sync::atomic::Ordering;

use super::{Replay, Track};
use crate::feed::error::FeedError;
use crate::limits;
use crate::model::{Deriver, Event, Primary};

/// What a replay does.
pub(super) enum Way {
    /// Events go out as they become due.
    Playing,
    /// Events before the moment that was sought change books and nothing else.
    Passing(Box<Passage>),
    /// The state goes out, one instrument after the other.
    Telling(Box<Tale>),
}

/// On the way to a moment.
pub(super) struct Passage {
    time_ns: u64,
    /// Greatest time of a record passed over, those of snapshots counted in; 0: none had one.
    passed_ns: u64,
    books: Books,
}

/// The state as it goes out.
pub(super) struct Tale {
    passage: Passage,
    /// The instrument told next.
    instrument: u32,
    /// The state of one, and how much of it was told.
    state: Vec<Primary>,
    told: usize,
}

struct Books {
    deriver: Deriver,
    /// Stays empty: books alone say nothing.
    derived: Vec<Event>,
}

impl Books {
    fn follow(&mut self, primary: &Primary) {
        // Of a kind that is not known the publisher tells, when it is played.
        let _ = self.deriver.apply(primary, &mut self.derived);
    }
}

impl Replay {
    /// Sets out for a moment: what is sent next is the state before the first event at it or later.
    pub(super) fn set_out(&mut self, time_ns: u64) -> Result<(), FeedError> {
        let deriver = Deriver::of_books(&self.catalog);
        let mut passage = Passage { time_ns, passed_ns: 0, books: Books { deriver, derived: Vec::new() } };
        self.order.clear();
        for (number, track) in self.tracks.iter_mut().enumerate() {
            // A keyframe whose records have no time is no beginning.
            if self.is_alone[number] && time_ns > 0 {
                let passed_ns = track.rewind_to(time_ns, |primary| passage.books.follow(primary))?;
                passage.passed_ns = passage.passed_ns.max(passed_ns.unwrap_or(0));
            } else {
                track.rewind();
            }
            if track.advance()? {
                self.order.push(Reverse((track.place_ns(), number)));
            }
        }
        self.way = Way::Passing(Box::new(passage));
        Ok(())
    }

    /// Goes some of the way; true: what comes next is played.
    pub(super) fn go(&mut self, now_ns: u64, out: &mut Vec<Primary>) -> Result<bool, FeedError> {
        match std::mem::replace(&mut self.way, Way::Playing) {
            Way::Playing => return Ok(true),
            Way::Passing(mut passage) => {
                self.way = if self.pass(&mut passage)? {
                    let passage = *passage;
                    Way::Telling(Box::new(Tale { passage, instrument: 0, state: Vec::new(), told: 0 }))
                } else {
                    Way::Passing(passage)
                };
            }
            Way::Telling(mut tale) => {
                if tale.tell(self.catalog.len() as u32, out) {
                    self.arrive(now_ns, &tale.passage);
                } else {
                    self.way = Way::Telling(tale);
                }
            }
        }
        Ok(false)
    }

    /// Passes over some events; true: there are no more before the moment.
    fn pass(&mut self, passage: &mut Passage) -> Result<bool, FeedError> {
        let mut records = 0;
        while records < limits::REPLAY_PASS_RECORDS {
            let Some(number) = self.head() else { return Ok(true) };
            let track = &self.tracks[number];
            // What takes no time comes with what is before it; of a file without times all is at the beginning.
            let is_there = match track.time_ns {
                Some(time_ns) => time_ns >= passage.time_ns,
                None => self.shared.end_ns == 0 && passage.time_ns == 0,
            };
            if is_there {
                return Ok(true);
            }
            passage.passed_ns = passage.passed_ns.max(track.place_ns());
            records += track.event.len();
            track.event.iter().for_each(|primary| passage.books.follow(primary));
            self.next_event(number)?;
        }
        Ok(false)
    }

    /// The state is told: time goes on from the moment that was sought.
    fn arrive(&mut self, now_ns: u64, passage: &Passage) {
        self.sent = self.tracks.iter().map(Track::passed).sum();
        self.has_played = false;
        let pass_ns = *self.pass_ns.get_or_insert(now_ns);
        self.last_due_ns = pass_ns;
        // For its first event a replay does not wait.
        if passage.time_ns <= self.shared.begin_ns {
            self.stands_ns = 0;
            self.shared.time_ns.store(self.shared.begin_ns, Ordering::Release);
            self.pacer.restart(pass_ns);
        } else {
            let is_within = self.head().is_some();
            self.stands_ns = if is_within { passage.time_ns } else { passage.passed_ns };
            self.pacer.seek(now_ns, self.stands_ns);
        }
        self.tell_place();
    }
}

impl Tale {
    /// Appends some of the state; true: that was the last.
    fn tell(&mut self, instruments: u32, out: &mut Vec<Primary>) -> bool {
        let time_ns = match self.passage.passed_ns {
            0 => self.passage.time_ns,
            passed_ns => passed_ns,
        };
        let full = out.len() + limits::SOURCE_BATCH_MAX;
        loop {
            let room = full - out.len();
            let rest = &self.state[self.told..];
            let some = &rest[..room.min(rest.len())];
            out.extend_from_slice(some);
            self.told += some.len();
            if out.len() >= full {
                return false;
            }
            if self.instrument == instruments {
                return true;
            }
            self.state.clear();
            self.told = 0;
            self.passage.books.deriver.snapshot(self.instrument, time_ns, &mut self.state);
            self.instrument += 1;
        }
    }
}
