//! The only wiring: starts the source, the shards and the door, and stops them in order.

mod private;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_utils::sync::Unparker;
use tokio::sync::{mpsc, oneshot};

use crate::bus::{Tap, bus};
use crate::clock::Clock;
use crate::config::{Settings, SourceSettings, Symbols};
use crate::door::{BindError, Door, DoorSettings, Market, Readiness, Stage, State};
use crate::feed::{Description, FeedError, Replay, ReplayHandle};
use crate::limits;
use crate::live::{Live, LiveError, LiveHandle};
use crate::model::{Catalog, Event};
use crate::pump::{Pump, PumpError, PumpHandle, Tape};
use crate::recorder::{RecordError, Recorder, RecorderHandle};
use crate::shard::{CompressionSettings, CoreSettings, Shard, ShardHandle, mailbox};
use crate::sim::{
    Faults, InstrumentProfile, Simulation, SimulationError, SimulationSettings, profiles, profiles_from_toml,
};
use crate::source::{ReplayControl, Source};
use crate::stats::{LiveStats, Stats};

use self::private::PrivateStage;

/// Why a server cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The simulated market cannot be as it was asked for.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// The list of instruments cannot be read.
    #[error("cannot read the instruments of {path}: {error}")]
    List {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The list of instruments is wrong; every fault at once.
    #[error("{path} lists instruments that cannot be:\n{faults}")]
    Profiles {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        faults: Faults,
    },
    /// A feed file cannot be replayed.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// There is no market to be had of another program.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// What is published cannot be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The source failed while it ran.
    #[error(transparent)]
    Pump(#[from] PumpError),
    /// The system refused a thread or a runtime.
    #[error("cannot run the thread {thread}: {error}")]
    Thread {
        /// Its name.
        thread: String,
        /// Why.
        error: io::Error,
    },
    /// A thread panicked: a fault of this program.
    #[error(
        "the thread {0} panicked: this is a fault of tickcast; please report it with what was printed above"
    )]
    Panic(String),
}

/// A running server.
#[derive(Debug)]
pub struct Node {
    address: SocketAddr,
    catalog: Arc<Catalog>,
    stats: Stats,
    readiness: Readiness,
    close_door: oneshot::Sender<()>,
    pump: PumpHandle,
    shards: Vec<ShardHandle>,
    private: Option<PrivateStage>,
    recorder: Option<RecorderHandle>,
    threads: Vec<JoinHandle<()>>,
    /// What ends a thread before it was told to.
    failures: mpsc::Receiver<NodeError>,
}

/// Starts a server: it accepts clients and publishes when this returns.
///
/// # Errors
/// What makes it impossible: nothing of it runs then.
pub fn start(settings: Settings) -> Result<Node, NodeError> {
    let described = described(&settings.source);
    let Opened { source, replay, live } = open(settings.source.clone())?;
    let (live, counted) = live.unzip();
    let node = run(settings, source, replay, counted.unwrap_or_default(), described)?;
    if let Some(live) = live {
        live.attach(node.source_unparker());
    }
    Ok(node)
}

/// Starts a server with a source of your own, as [`start`] does; `settings.source` is not looked at. Where the source
/// says [`Next::Idle`](crate::source::Next::Idle), [`Node::source_unparker`] wakes it.
///
/// # Errors
/// What makes it impossible: nothing of it runs then.
pub fn start_with(settings: Settings, source: Box<dyn Source>) -> Result<Node, NodeError> {
    run(settings, source, None, Arc::default(), "a source of its own".into())
}

/// Where the records of a recording come from, for people.
fn described(source: &SourceSettings) -> String {
    match source {
        SourceSettings::Simulation { seed, .. } => format!("a simulated market, seed {seed}"),
        SourceSettings::Replay { files, .. } => {
            let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            format!("a replay of {}", files.join(", "))
        }
        SourceSettings::Live(input) => format!("a live feed from {input}"),
    }
}

fn run(
    settings: Settings,
    source: Box<dyn Source>,
    replay: Option<ReplayHandle>,
    live: Arc<LiveStats>,
    described: String,
) -> Result<Node, NodeError> {
    let clock = Clock::start();
    let door = Door::bind(DoorSettings {
        allow_origin: settings.allow_origin,
        max_connections: settings.max_connections,
        send_buffer_bytes: settings.send_buffer_bytes,
        compression: settings.compression,
        has_echo: settings.echo,
        ..DoorSettings::at(settings.listen)
    })?;
    let (address, catalog) = (door.address(), source.catalog());
    let stats = Stats { live, ..Stats::new(settings.shards) };
    // Epochs only grow, over restarts too: microseconds leave room for a thousand loops a millisecond.
    let epoch = clock.unix_ns() / 1_000;
    let (publisher, taps) = bus(settings.shards, limits::QUEUE_CHUNKS_MAX, limits::QUEUE_RECORDS_MAX);
    let mut pump = Pump::new(source, publisher, epoch, clock, stats.source.clone());
    let mut recorder = None;
    if let Some(settings) = settings.record {
        let description =
            Description::new(format!("recorded of {described}"), catalog.instruments().to_vec());
        let (tape, tap) = Tape::new(catalog.len(), stats.record.clone());
        pump = pump.with_tape(tape);
        recorder = Some(Recorder::create(settings, description, tap, stats.record.clone(), clock)?);
    }
    let pump_handle = pump.handle();
    if let Some(replay) = &replay {
        replay.attach(pump_handle.unparker());
    }

    let replay = replay.map(|replay| Arc::new(replay) as Arc<dyn ReplayControl>);
    let (failed, failures) = mpsc::channel(1);
    let mut crew = Crew { failed, threads: Vec::new() };
    let core = CoreSettings {
        outbox_bytes: settings.outbox_bytes,
        outboxes_bytes: settings.outboxes_bytes / settings.shards,
        ring_bytes: settings.ring_bytes / settings.shards,
        frame_messages: settings.frame_messages,
        slow_consumer: settings.slow_consumer,
        request_rate: settings.request_rate,
        compression: CompressionSettings {
            contexts_max: settings.compression_contexts.div_ceil(settings.shards),
            fragment_bytes: settings.fragment_bytes,
            ..CompressionSettings::DEFAULT
        },
    };
    let shards: Result<Vec<_>, NodeError> = taps
        .into_iter()
        .enumerate()
        .map(|(number, tap)| {
            start_shard(&mut crew, number, tap, &catalog, epoch, core, clock, &stats, replay.clone())
        })
        .collect();
    let shards = shards?;
    let private = settings.private.map(|private| PrivateStage::new(private, core, clock, &stats));
    let readiness = Readiness::default();
    let market = Market {
        catalog: catalog.clone(),
        shards: shards.clone(),
        stats: stats.clone(),
        clock,
        replay,
        stage: private.clone().map(|private| Arc::new(private) as Arc<dyn Stage>),
        readiness: readiness.clone(),
    };
    let (close_door, closed) = oneshot::channel();
    crew.start("door", move || {
        let error = |error| NodeError::Thread { thread: "door".into(), error };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(limits::PRIVATE_OPENINGS_MAX)
            .build()
            .map_err(error)?;
        let until_closed = async {
            // Told, or whoever would tell is gone.
            let _ = closed.await;
        };
        let served = runtime.block_on(door.serve(market, until_closed)).map_err(error);
        // A file that is still being opened for somebody holds up nobody.
        runtime.shutdown_background();
        served
    })?;
    let mut recorder_handle = None;
    if let Some((recorder, handle)) = recorder {
        recorder_handle = Some(handle);
        crew.start("recorder", move || {
            recorder.run();
            Ok(())
        })?;
    }
    crew.start("pump", move || {
        // The kernel may let a sleeper lie 50 µs longer to save itself a wake-up; what is due is to be published then.
        // Where it cannot be told so, it is that much later.
        #[cfg(target_os = "linux")]
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        Ok(pump.run()?)
    })?;
    readiness.set(State::Ready);
    Ok(Node {
        address,
        catalog,
        stats,
        readiness,
        close_door,
        pump: pump_handle,
        shards,
        private,
        recorder: recorder_handle,
        threads: crew.threads,
        failures,
    })
}

impl Node {
    /// Where it listens, with the port that port 0 became.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Symbol of the first instrument, if there is one.
    pub fn first_symbol(&self) -> Option<&str> {
        self.catalog.get(0).map(|instrument| instrument.symbol.as_str())
    }

    /// Its counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Wakes the source's thread: for a source that has said [`Next::Idle`](crate::source::Next::Idle) and has news.
    /// A wake that comes before the source sleeps is not lost.
    pub fn source_unparker(&self) -> Unparker {
        self.pump.unparker()
    }

    /// Resolves when the server cannot go on.
    pub async fn failure(&mut self) -> NodeError {
        match self.failures.recv().await {
            Some(failure) => failure,
            None => std::future::pending().await,
        }
    }

    /// Stops: no new clients, and every client gets what was published, a notice and close 1001. Takes about
    /// [`limits::CLOSE_SECONDS`] where clients do not answer. Blocks: not for a runtime's thread.
    pub fn stop(self) {
        self.readiness.set(State::Stopping);
        // A door that is gone needs no telling.
        let _ = self.close_door.send(());
        self.pump.stop();
        if let Some(recorder) = &self.recorder {
            recorder.hurry();
        }
        let private = self.private.as_ref().map(PrivateStage::stop).unwrap_or_default();
        self.shards.iter().for_each(ShardHandle::stop);
        for thread in self.threads.into_iter().chain(private) {
            // A panic was reported when it happened.
            let _ = thread.join();
        }
    }
}

/// Threads that report how they ended.
struct Crew {
    failed: mpsc::Sender<NodeError>,
    threads: Vec<JoinHandle<()>>,
}

/// Reports the panic of the thread that drops it.
struct Alarm {
    thread: String,
    failed: mpsc::Sender<NodeError>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The first failure is the one that counts.
            let _ = self.failed.try_send(NodeError::Panic(self.thread.clone()));
        }
    }
}

impl Crew {
    fn start(
        &mut self,
        name: &str,
        work: impl FnOnce() -> Result<(), NodeError> + Send + 'static,
    ) -> Result<(), NodeError> {
        let alarm = Alarm { thread: name.to_owned(), failed: self.failed.clone() };
        let thread = Builder::new().name(name.to_owned()).spawn(move || {
            if let Err(failure) = work() {
                let _ = alarm.failed.try_send(failure);
            }
        });
        self.threads.push(thread.map_err(|error| NodeError::Thread { thread: name.to_owned(), error })?);
        Ok(())
    }
}

#[expect(clippy::too_many_arguments, reason = "wiring names everything that a shard is made of, once")]
fn start_shard(
    crew: &mut Crew,
    number: usize,
    tap: Tap<Event>,
    catalog: &Arc<Catalog>,
    epoch: u64,
    settings: CoreSettings,
    clock: Clock,
    stats: &Stats,
    replay: Option<Arc<dyn ReplayControl>>,
) -> Result<ShardHandle, NodeError> {
    let (stats, source) = (stats.shards[number].clone(), stats.source.clone());
    let (handle, letters) = mailbox(limits::MAILBOX_LETTERS_MAX);
    let catalog = catalog.clone();
    let shard =
        Shard { catalog, epoch, settings, tap, letters, clock, stats, source, replay, is_private: false };
    let name = format!("shard-{number}");
    let thread = name.clone();
    let runtime = Shard::runtime().map_err(|error| NodeError::Thread { thread: name.clone(), error })?;
    // Dropped once the shard can serve, or has failed: nobody is let in before.
    let (is_made, made) = std::sync::mpsc::channel::<()>();
    crew.start(&name, move || {
        shard.run(&runtime, || drop(is_made)).map_err(|error| NodeError::Thread { thread, error })
    })?;
    let _ = made.recv();
    Ok(handle)
}

/// A source, and what it is steered or woken by.
struct Opened {
    source: Box<dyn Source>,
    replay: Option<ReplayHandle>,
    live: Option<(LiveHandle, Arc<LiveStats>)>,
}

fn open(settings: SourceSettings) -> Result<Opened, NodeError> {
    match settings {
        SourceSettings::Simulation { symbols, rate, seed, ticks } => {
            let instruments = instruments(symbols)?;
            let simulation = Simulation::new(SimulationSettings { seed, instruments, rate, ticks })?;
            Ok(Opened { source: Box::new(simulation), replay: None, live: None })
        }
        SourceSettings::Replay { files, playback } => {
            let replay = Replay::open(&files, playback)?;
            let handle = replay.handle();
            Ok(Opened { source: Box::new(replay), replay: Some(handle), live: None })
        }
        SourceSettings::Live(input) => {
            let live = Live::open(&input)?;
            let handles = (live.handle(), live.stats());
            Ok(Opened { source: Box::new(live), replay: None, live: Some(handles) })
        }
    }
}

/// The instruments of a simulated market.
///
/// # Errors
/// A list that cannot be read, or whose instruments cannot be.
pub fn instruments(symbols: Symbols) -> Result<Vec<InstrumentProfile>, NodeError> {
    match symbols {
        Symbols::Count(count) => Ok(profiles(count)),
        Symbols::File(path) => listed(&path),
    }
}

fn listed(path: &Path) -> Result<Vec<InstrumentProfile>, NodeError> {
    let failed = |error| NodeError::List { path: path.into(), error };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > limits::SETTINGS_FILE_BYTES_MAX {
        let bound = limits::SETTINGS_FILE_BYTES_MAX;
        return Err(failed(io::Error::other(format!("{size} bytes; at most {bound} are allowed"))));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    profiles_from_toml(&text).map_err(|faults| NodeError::Profiles { path: path.into(), faults })
}
