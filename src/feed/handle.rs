//! Steers a replay from other threads, without a lock: what is wanted and what has come of it are atomics.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_utils::sync::Unparker;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{Speed, SpeedError};
use crate::source::{ReplayAction, ReplayControl, Stepping};

/// What a replay is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplayStatus {
    /// Records go out as they become due.
    Playing,
    /// Time stands still.
    Paused,
    /// Everything was sent.
    Ended,
}

/// A replay as seen from outside: the body of `GET /api/v1/replay`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayState {
    /// What it is doing.
    pub state: ReplayStatus,
    /// How fast: a number, or `"max"`.
    pub speed: Speed,
    /// Where it stands: the time of the last record sent, or the time that was sought (before the first: of the first),
    /// nanoseconds since the Unix epoch, as a string.
    #[serde(with = "text")]
    pub time_ns: u64,
    /// Where it begins: the time of the first record, or a later one that was asked for; as `time_ns`.
    #[serde(with = "text")]
    pub begin_ns: u64,
    /// Where it ends: the time of the last record, or an earlier one that was asked for; as `time_ns`.
    #[serde(with = "text")]
    pub end_ns: u64,
    /// The files' names, without their folders.
    pub files: Vec<String>,
    /// Records of this pass that were sent, or passed over by a seek.
    pub records_sent: u64,
    /// Records in the files.
    pub records: u64,
    /// Whether it starts again at the end.
    pub looped: bool,
    /// How often it did.
    pub loops: u64,
}

mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        <std::borrow::Cow<'de, str>>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// [`Shared::seek_ns`] where nothing is sought.
pub(super) const NO_SEEK: u64 = u64::MAX;

/// What a replay and its handles share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Wanted by handles: time stands still.
    pub paused: AtomicBool,
    /// Wanted by handles: thousandths of real time, 0 for no waiting.
    pub speed: AtomicU32,
    /// Wanted by handles: the time to go to; [`NO_SEEK`]: none. The replay takes it.
    pub seek_ns: AtomicU64,
    /// Wanted by handles: exchange events to send while paused. The replay takes them.
    pub steps: AtomicU64,
    /// How often steps were wanted; counted up behind `steps`.
    pub step_commands: AtomicU64,
    /// Told by the replay: how many of those were done.
    pub steps_done: watch::Sender<u64>,
    /// Told by the replay, as the four below: the time of the last record sent.
    pub time_ns: AtomicU64,
    pub records_sent: AtomicU64,
    pub loops: AtomicU64,
    pub ended: AtomicBool,
    pub files: Vec<String>,
    pub records: u64,
    pub looped: bool,
    pub begin_ns: u64,
    pub end_ns: u64,
    /// Wakes the thread that polls the replay.
    pub waker: OnceLock<Unparker>,
}

/// Steers a replay and tells how far it is. Cheap to clone; for any thread.
#[derive(Clone, Debug)]
pub struct ReplayHandle(pub(super) Arc<Shared>);

impl ReplayHandle {
    /// Names the thread that polls the replay, so that commands wake it. Only the first call counts.
    pub fn attach(&self, unparker: Unparker) {
        // A second pump would be a second owner of one source: there is none.
        let _ = self.0.waker.set(unparker);
    }

    /// Lets time go on. Nothing changes where it does already, or where everything was sent (a seek begins again).
    pub fn play(&self) {
        self.0.paused.store(false, Ordering::Release);
        self.wake();
    }

    /// Stops time where it stands.
    pub fn pause(&self) {
        self.0.paused.store(true, Ordering::Release);
        self.wake();
    }

    /// Goes to a time, nanoseconds since the Unix epoch, in a new epoch: see [`super::Replay`]. Of several that were not
    /// obeyed yet the last counts. It plays or stands as before; after an end it plays again, or stands.
    pub fn seek(&self, time_ns: u64) {
        self.0.seek_ns.store(time_ns.min(NO_SEEK - 1), Ordering::Release);
        self.wake();
    }

    /// Stops time, and sends so many exchange events at once (of one without an end: pieces of
    /// [`crate::limits::EVENT_RECORDS_MAX`] records).
    pub fn step(&self, events: u32) -> Stepping {
        self.0.paused.store(true, Ordering::Release);
        self.0.steps.fetch_add(u64::from(events), Ordering::AcqRel);
        let number = self.0.step_commands.fetch_add(1, Ordering::AcqRel) + 1;
        self.wake();
        Stepping::new(self.0.steps_done.subscribe(), number)
    }

    /// Goes on at that speed from where it stands.
    pub fn set_speed(&self, speed: Speed) {
        self.0.speed.store(speed.thousandths().unwrap_or(0), Ordering::Release);
        self.wake();
    }

    /// How far it is. Taken while it runs: each figure is right by itself, and they are of about one moment.
    pub fn state(&self) -> ReplayState {
        let shared = &*self.0;
        let state = if shared.ended.load(Ordering::Acquire) {
            ReplayStatus::Ended
        } else if shared.paused.load(Ordering::Acquire) {
            ReplayStatus::Paused
        } else {
            ReplayStatus::Playing
        };
        ReplayState {
            state,
            speed: shared.speed(),
            time_ns: shared.time_ns.load(Ordering::Acquire),
            begin_ns: shared.begin_ns,
            end_ns: shared.end_ns,
            files: shared.files.clone(),
            records_sent: shared.records_sent.load(Ordering::Acquire),
            records: shared.records,
            looped: shared.looped,
            loops: shared.loops.load(Ordering::Acquire),
        }
    }

    fn wake(&self) {
        if let Some(unparker) = self.0.waker.get() {
            unparker.unpark();
        }
    }
}

impl ReplayControl for ReplayHandle {
    fn state(&self) -> String {
        serde_json::to_string(&ReplayHandle::state(self)).expect("a state is made of text, numbers and lists")
    }

    fn steer(&self, action: &ReplayAction) -> Result<Option<Stepping>, String> {
        match action {
            ReplayAction::Play => self.play(),
            ReplayAction::Pause => self.pause(),
            ReplayAction::Seek { time_ns } => self.seek(*time_ns),
            ReplayAction::Speed(speed) => {
                self.set_speed(speed.parse().map_err(|error: SpeedError| error.to_string())?);
            }
            ReplayAction::Step { events } => return Ok(Some(self.step(*events))),
        }
        Ok(None)
    }
}

impl Shared {
    /// The speed that is wanted.
    pub fn speed(&self) -> Speed {
        Speed::from_thousandths(self.speed.load(Ordering::Acquire)).expect("only valid speeds are stored")
    }
}
