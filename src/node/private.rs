//! Replays that clients have for themselves: a pump, a shard and one session each.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use tracing::{error, warn};

use crate::bus::bus;
use crate::clock::Clock;
use crate::config::PrivateReplays;
use crate::door::{Opened, Opening, Refused, Running, Stage, Wanted};
use crate::feed::{FeedError, Replay, ReplaySettings, Speed, TIME_FORMS, parse_time_ns};
use crate::limits;
use crate::model::Catalog;
use crate::pump::{Pump, PumpError, PumpHandle};
use crate::shard::{CompressionSettings, CoreSettings, Shard, ShardHandle, SlowConsumer, mailbox};
use crate::source::{ReplayControl, Source};
use crate::stats::{PrivateStats, Stats};
use crate::wire::control::Close;

/// All private replays of a server. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct PrivateStage(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: PrivateReplays,
    core: CoreSettings,
    clock: Clock,
    stats: Arc<PrivateStats>,
    acts: Mutex<Acts>,
}

/// What runs.
#[derive(Debug, Default)]
struct Acts {
    is_stopping: bool,
    running: Vec<Act>,
}

/// One replay.
#[derive(Debug)]
struct Act {
    /// Its number, from 1, which no other has.
    number: u64,
    /// The file's name, as its client gave it.
    name: String,
    catalog: Arc<Catalog>,
    curtain: Curtain,
    threads: [JoinHandle<()>; 2],
}

/// Ends a replay when it is dropped: its session, its pump and its shard have one each, and none goes on without the
/// others. Blocks nowhere.
#[derive(Clone, Debug)]
struct Curtain {
    pump: PumpHandle,
    shard: ShardHandle,
}

impl Drop for Curtain {
    fn drop(&mut self) {
        self.pump.stop();
        // A mailbox that is full has been told before: there is one session to arrive.
        let _ = self.shard.try_stop(Close::ShuttingDown);
    }
}

/// One of the places there are, given back when the last thread of a replay has ended.
struct Place(Arc<PrivateStats>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PrivateStage {
    /// `core` is how the server's own shards are set.
    pub fn new(settings: PrivateReplays, core: CoreSettings, clock: Clock, stats: &Stats) -> PrivateStage {
        let core = CoreSettings {
            outboxes_bytes: core.outbox_bytes,
            ring_bytes: limits::PRIVATE_RING_BYTES,
            // Its one client is who it plays for.
            slow_consumer: SlowConsumer::Block,
            compression: CompressionSettings {
                contexts_max: core.compression.contexts_max.min(1),
                ..core.compression
            },
            ..core
        };
        let (stats, acts) = (stats.private.clone(), Mutex::default());
        PrivateStage(Arc::new(Inner { settings, core, clock, stats, acts }))
    }

    /// Ends all of them and lets no more begin. Gives the threads to wait for.
    pub fn stop(&self) -> Vec<JoinHandle<()>> {
        let mut acts = self.0.lock();
        acts.is_stopping = true;
        let ended = std::mem::take(&mut acts.running);
        ended.into_iter().flat_map(|Act { curtain: _curtain, threads, .. }| threads).collect()
    }
}

impl Stage for PrivateStage {
    fn prepare(&self, wanted: Wanted) -> Result<Opening, Refused> {
        if !is_plain(&wanted.name) {
            return Err(Refused::Absent);
        }
        let playback = playback(&wanted)?;
        let (inner, place) = (self.0.clone(), self.0.take_place()?);
        Ok(Box::new(move || inner.open(&wanted.name, playback, place)))
    }

    fn running(&self) -> Vec<Running> {
        let acts = self.0.lock();
        let running = acts.running.iter().filter(|act| !act.curtain.shard.is_closed());
        running
            .map(|Act { number, name, catalog, curtain, .. }| Running {
                number: *number,
                name: name.clone(),
                catalog: catalog.clone(),
                shard: curtain.shard.clone(),
            })
            .collect()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Acts> {
        // What panicked while it held the lock has left a list that is a list still.
        self.acts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_place(&self) -> Result<Place, Refused> {
        let most = self.settings.most;
        let more = |taken| (taken < most).then_some(taken + 1);
        match self.stats.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(Place(self.stats.clone())),
            Err(_) => Err(Refused::Full(most)),
        }
    }

    /// The file of that name, wherever in the folder links lead to.
    fn find(&self, name: &str) -> Result<PathBuf, Refused> {
        let folder = self.settings.folder.canonicalize().map_err(|_| Refused::Absent)?;
        let path = folder.join(name).canonicalize().map_err(|_| Refused::Absent)?;
        // A pipe would hold up whoever opens it.
        if path.starts_with(&folder) && path.is_file() { Ok(path) } else { Err(Refused::Absent) }
    }

    fn open(&self, name: &str, playback: ReplaySettings, place: Place) -> Result<Opened, Refused> {
        let path = self.find(name)?;
        let replay = Replay::open(std::slice::from_ref(&path), playback)
            .map_err(|error| unplayable(&error, &path, name))?;
        let (handle, catalog) = (replay.handle(), replay.catalog());
        let (publisher, taps) = bus(1, limits::PRIVATE_QUEUE_CHUNKS_MAX, limits::PRIVATE_QUEUE_RECORDS_MAX);
        let tap = taps.into_iter().next().ok_or_else(|| Refused::Failed("there is no bus".into()))?;
        let (shard_handle, letters) = mailbox(limits::PRIVATE_LETTERS_MAX);
        let (epoch, stats) = (self.clock.unix_ns() / 1_000, Stats::new(1));
        let pump = Pump::new(Box::new(replay), publisher, epoch, self.clock, stats.source.clone());
        handle.attach(pump.handle().unparker());
        let shard = Shard {
            catalog: catalog.clone(),
            epoch,
            settings: self.core,
            tap,
            letters,
            clock: self.clock,
            stats: stats.shards[0].clone(),
            source: stats.source,
            replay: Some(Arc::new(handle) as Arc<dyn ReplayControl>),
            is_private: true,
        };
        let runtime = Shard::runtime().map_err(failed)?;
        let curtain = Curtain { pump: pump.handle(), shard: shard_handle.clone() };

        let mut acts = self.lock();
        if acts.is_stopping {
            return Err(Refused::Stopping);
        }
        acts.running.retain(|act| !act.threads.iter().all(JoinHandle::is_finished));
        let place = Arc::new(place);
        let (ends, kept, file) = (curtain.clone(), place.clone(), name.to_owned());
        let pumping = spawn("private-pump", move || {
            // In this order: the place is free once all else is gone.
            let (_place, ends) = (kept, ends);
            if let Err(error) = pump.run() {
                warn!(file, %error, "a private replay failed; its client is sent away");
                let close = Close::ReplayFailed { damaged_at: damaged_at(&error) };
                // A mailbox that is full has been told to stop before.
                let _ = ends.shard.try_stop(close);
            }
        })?;
        let (ends, file) = (curtain.clone(), name.to_owned());
        let serving = spawn("private-shard", move || {
            let (_place, _ends, runtime) = (place, ends, runtime);
            if let Err(error) = shard.run(&runtime, || ()) {
                error!(file, %error, "the shard of a private replay failed");
            }
        })?;
        let number = self.stats.opened.fetch_add(1, Ordering::Relaxed) + 1;
        let (name, threads) = (name.to_owned(), [pumping, serving]);
        acts.running.push(Act { number, name, catalog, curtain: curtain.clone(), threads });
        drop(acts);
        let seat = shard_handle.seat_with(Box::new(curtain));
        Ok(Opened { shard: shard_handle, seat })
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Refused> {
    Builder::new().name(name.into()).spawn(work).map_err(failed)
}

fn failed(error: impl Display) -> Refused {
    Refused::Failed(format!("the system gives no more threads or descriptors: {error}"))
}

/// The byte of the file where it is damaged, if that is why.
fn damaged_at(error: &PumpError) -> Option<u64> {
    let PumpError::Source(error) = error else { return None };
    match error.downcast_ref() {
        Some(FeedError::Damaged { fault, .. }) => Some(fault.offset),
        _ => None,
    }
}

/// Whether it names a file and no way to another folder.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= limits::PRIVATE_NAME_BYTES_MAX
        && !name.starts_with('.')
        && !name.contains(['/', '\\', '\0'])
}

fn playback(wanted: &Wanted) -> Result<ReplaySettings, Refused> {
    Ok(ReplaySettings {
        speed: value("speed", wanted.speed.as_deref(), Speed::ALLOWED, |text| text.parse().ok())?
            .unwrap_or(Speed::NORMAL),
        // Until its client has subscribed.
        start_paused: true,
        from_ns: value("from", wanted.from.as_deref(), TIME_FORMS, parse_time_ns)?,
        to_ns: value("to", wanted.to.as_deref(), TIME_FORMS, parse_time_ns)?,
        ..ReplaySettings::default()
    })
}

fn value<T>(
    key: &'static str,
    text: Option<&str>,
    allowed: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Refused> {
    let wrong = |text: &str| Refused::Value { key, value: text.into(), allowed };
    text.map(|text| parse(text).ok_or_else(|| wrong(text))).transpose()
}

/// What a client is told of a file: by the name it gave, not by where the server has it.
fn unplayable(error: &FeedError, path: &Path, name: &str) -> Refused {
    let message = error.to_string().replace(&path.display().to_string(), name);
    match error {
        FeedError::Span { .. } => Refused::Part(message),
        FeedError::Io { .. } => Refused::Failed(message),
        _ => Refused::Damaged(message),
    }
}
