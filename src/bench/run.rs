//! A run: connect, warm up, measure, end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};

use super::connect;
use super::outcome::{Outcome, Readings};
use super::plan::{Plan, Target};
use super::server::{Pinned, Server, cores, metric, own_cpu_ns, usage};
use super::worker::{Shared, Worker};
use crate::client::{Address, ConnectError};
use crate::clock::Clock;

/// How long streams may take to be granted, beyond the last handshake.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a look is taken at how far a run is.
const LOOK: Duration = Duration::from_millis(50);
/// Descriptors beside those of the connections.
const DESCRIPTORS: u64 = 64;

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The server to be measured does not start.
    #[error("cannot start the server ({command}): {fault}")]
    Start {
        /// What was to be run.
        command: String,
        /// What went wrong.
        fault: String,
    },
    /// A client cannot connect.
    #[error(transparent)]
    Connect(Box<ConnectError>),
    /// The server does not list its instruments.
    #[error("the server does not list its instruments: {fault}")]
    List {
        /// What it did.
        fault: String,
    },
    /// Compression was asked for, and is not to be had.
    #[error(
        "the server does not compress: start it with --compression shared or dedicated, or leave --compression out"
    )]
    NoCompression,
    /// There is nothing to subscribe to.
    #[error("the server has {there} instruments; each client is to have {wanted}")]
    Instruments {
        /// How many there are.
        there: usize,
        /// How many are needed.
        wanted: usize,
    },
    /// Not every client got its streams.
    #[error("{ready} of {connections} clients were granted their streams{}{fault}", if fault.is_empty() { "" } else { ": " })]
    NotReady {
        /// How many were.
        ready: usize,
        /// How many clients there are.
        connections: usize,
        /// Why not all.
        fault: String,
    },
    /// The system allows too few open files.
    #[error(
        "{connections} connections need {needed} open files; the limit of this process is {limit} (ulimit -n)"
    )]
    Descriptors {
        /// How many clients.
        connections: usize,
        /// Files needed.
        needed: u64,
        /// Files allowed.
        limit: u64,
    },
    /// The system refuses something else.
    #[error("cannot measure: {0}")]
    System(io::Error),
    /// A thread of the load generator panicked: a fault of this program.
    #[error(
        "the load generator panicked: this is a fault of tickcast; please report it with what was printed above"
    )]
    Panic,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// So many clients are connected.
    Connecting(usize),
    /// So many have been granted their streams.
    Subscribing(usize),
    /// Everything runs, for so long.
    WarmingUp(Duration),
    /// It is measured, for so long; so many frames have come.
    Measuring(Duration, u64),
}

/// Measures. `told` hears how far it is.
///
/// # Errors
/// What kept it from measuring. What the server did wrong while it was measured is in the [`Outcome`].
pub fn run(plan: &Plan, told: &mut dyn FnMut(Stage)) -> Result<Outcome, BenchError> {
    raise_limit(plan.connections)?;
    let all_cores = cores();
    let (server_core, clients_core) = match (plan.pin, &all_cores[..]) {
        (true, [first, .., last]) => (Some(*first), Some(*last)),
        _ => (None, None),
    };
    let (mut server, address) = match &plan.target {
        Target::Start(command) => {
            let server = Server::start(command, server_core)?;
            let address = server.address().clone();
            (Some(server), address)
        }
        Target::Url(address) => (None, address.clone()),
    };
    let _pinned = clients_core.map(Pinned::to).transpose().map_err(BenchError::System)?;
    let (clock, shared) = (Clock::start(), Arc::new(Shared::default()));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BenchError::System)?;
    let process = server.as_ref().map(Server::process);
    let readings = || reading(&runtime, &address, process, server_core);

    let before = readings();
    let symbols = runtime.block_on(connect::symbols(&address, plan))?;
    let wanted = plan.symbols_each.unwrap_or(1);
    if symbols.is_empty() || symbols.len() < wanted {
        return Err(BenchError::Instruments { there: symbols.len(), wanted });
    }
    let _end = End(shared.clone());
    let workers: io::Result<Vec<_>> =
        (0..plan.threads).map(|number| Worker::start(number, plan, clock, shared.clone())).collect();
    let workers = workers.map_err(BenchError::System)?;
    let mut connecting = |count| told(Stage::Connecting(count));
    runtime.block_on(connect::all(&address, plan, &symbols, &workers, &mut connecting))?;
    wait_until_ready(plan, clock, &shared, told)?;
    let connected = readings();
    if let Some(server) = server.as_mut().filter(|_| !plan.is_idle) {
        server.publish().map_err(BenchError::System)?;
    }

    let (warmup_ns, length_ns) = (plan.warmup.as_nanos() as u64, plan.duration.as_nanos() as u64);
    let start_ns = clock.unix_ns() + warmup_ns;
    // The end first: a thread that knows of the start knows of the end.
    shared.end_ns.store(start_ns + length_ns, Ordering::Release);
    shared.start_ns.store(start_ns, Ordering::Release);
    while clock.unix_ns() < start_ns {
        told(Stage::WarmingUp(plan.warmup - Duration::from_nanos(start_ns.saturating_sub(clock.unix_ns()))));
        std::thread::sleep(LOOK.min(Duration::from_nanos(start_ns.saturating_sub(clock.unix_ns()))));
    }
    let started = readings();
    let generator_ns = own_cpu_ns();
    while clock.unix_ns() < start_ns + length_ns {
        let since = Duration::from_nanos(clock.unix_ns() - start_ns);
        told(Stage::Measuring(since, shared.frames.load(Ordering::Relaxed)));
        std::thread::sleep(LOOK.min(plan.duration.saturating_sub(since)));
    }
    let ended = readings();
    let generator_ns = own_cpu_ns() - generator_ns;
    let seen: Option<Vec<_>> = workers.into_iter().map(Worker::join).collect();
    let readings = [before, connected, started, ended];
    Ok(Outcome::new(plan, &address, symbols.len(), readings, generator_ns, seen.ok_or(BenchError::Panic)?))
}

/// Ends the threads of a run that ends before its time.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        // Any time that is over.
        self.0.end_ns.fetch_max(1, Ordering::Release);
    }
}

fn wait_until_ready(
    plan: &Plan,
    clock: Clock,
    shared: &Shared,
    told: &mut dyn FnMut(Stage),
) -> Result<(), BenchError> {
    let deadline_ns = clock.unix_ns() + READY_TIMEOUT.as_nanos() as u64;
    loop {
        let (ready, failed) = (shared.ready.load(Ordering::Acquire), shared.failed.load(Ordering::Acquire));
        told(Stage::Subscribing(ready));
        if ready == plan.connections && failed == 0 {
            return Ok(());
        }
        if failed > 0 || clock.unix_ns() > deadline_ns {
            let fault = shared.fault.get().cloned().unwrap_or_default();
            return Err(BenchError::NotReady { ready, connections: plan.connections, fault });
        }
        std::thread::sleep(LOOK / 10);
    }
}

/// What the server has used and counted so far, as far as it can be known.
fn reading(
    runtime: &tokio::runtime::Runtime,
    address: &Address,
    process: Option<u32>,
    core: Option<usize>,
) -> Readings {
    // CPU first: asking for the metrics takes its time.
    let used = process.and_then(|process| usage(process, core));
    let metrics = runtime.block_on(connect::metrics(address));
    let counted = |name| metrics.as_deref().and_then(|text| metric(text, name));
    Readings {
        cpu_ns: used
            .map(|used| used.cpu_ns)
            .or(counted("process_cpu_seconds_total").map(|s| (s * 1e9) as u64)),
        softirq_ns: used.map_or(0, |used| used.softirq_ns),
        resident: used
            .map(|used| used.resident)
            .or(counted("process_resident_memory_bytes").map(|bytes| bytes as u64)),
        writes: counted("tickcast_writes_total"),
        messages: counted("tickcast_messages_total"),
        conflations: counted("tickcast_conflations_total"),
    }
}

/// Raises the limit of open files as far as it may be, for this process and those it starts.
fn raise_limit(connections: usize) -> Result<(), BenchError> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it cannot be raised, what there is may do.
    let _ = setrlimit(Resource::Nofile, limit);
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let needed = connections as u64 + DESCRIPTORS;
    if allowed < needed {
        return Err(BenchError::Descriptors { connections, needed, limit: allowed });
    }
    Ok(())
}
