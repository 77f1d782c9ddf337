//! The cold side: accepting, plain HTTP, the WebSocket handshake. Whoever passes it becomes a session of a shard and is
//! never seen here again.
//!
//! Everything runs on one thread with a single-threaded runtime. Nothing here is on the path of a tick, and nothing a
//! stranger sends takes more than its bound in bytes (head, read-ahead, body) and time (head, answer, connection).

mod accept;
mod connection;
mod connections;
mod fault;
mod metrics;
mod origin;
mod routes;
mod stage;
mod upgrade;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use socket2::{Domain, Protocol, Socket, Type};

pub use metrics::{DoorStats, Refusal};
#[cfg(fuzzing)]
pub use origin::allows;
pub use origin::{Origin, OriginError};
pub use stage::{Opened, Opening, Refused, Running, Stage, Wanted};
#[cfg(fuzzing)]
pub use upgrade::granted;

use crate::clock::Clock;
use crate::limits;
use crate::model::Catalog;
use crate::shard::ShardHandle;
use crate::source::ReplayControl;
use crate::stats::{SourceStats, Stats};
use crate::wire::deflate::Mode;
use metrics::Metrics;

/// Settings of a door.
#[derive(Clone, Debug)]
pub struct DoorSettings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Origins of pages that may connect beside our own and loopback.
    pub allow_origin: Vec<Origin>,
    /// Sessions at a time, over all shards.
    pub max_connections: usize,
    /// `SO_SNDBUF` of each connection in bytes; 0: the kernel's own choice.
    pub send_buffer_bytes: usize,
    /// How messages are compressed for clients that offer it; `None`: they are not.
    pub compression: Option<Mode>,
    /// Whether `/echo` sends back what it is sent.
    pub has_echo: bool,
    /// Connections at a time that are no sessions yet.
    pub handshakes_max: usize,
    /// How long a client may take for a request head.
    pub handshake_time: Duration,
}

impl DoorSettings {
    /// The default bounds, at that address.
    pub fn at(listen: SocketAddr) -> DoorSettings {
        DoorSettings {
            listen,
            allow_origin: Vec::new(),
            max_connections: limits::CONNECTIONS_DEFAULT,
            send_buffer_bytes: limits::SEND_BUFFER_BYTES_DEFAULT,
            compression: Some(Mode::Shared),
            has_echo: false,
            handshakes_max: limits::HANDSHAKES_MAX,
            handshake_time: limits::HANDSHAKE_TIME,
        }
    }
}

/// What stands behind the door.
#[derive(Clone)]
pub struct Market {
    /// What is traded: it finds the symbols of addresses.
    pub catalog: Arc<Catalog>,
    /// The shards; each holds the whole market.
    pub shards: Vec<ShardHandle>,
    /// The counters that `/metrics` shows beside the door's own.
    pub stats: Stats,
    /// The clock of the source's counters.
    pub clock: Clock,
    /// The replay, where the source is one.
    pub replay: Option<Arc<dyn ReplayControl>>,
    /// Where clients have replays of their own, if they may.
    pub stage: Option<Arc<dyn Stage>>,
    /// What `/readyz` says.
    pub readiness: Readiness,
}

/// Whether the server has a market to show: set by whoever starts and stops it, read by `/readyz`.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicU8>);

/// A server's state of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The source does not run yet.
    Starting,
    /// The source runs, or has run to its end.
    Ready,
    /// The server takes leave.
    Stopping,
}

impl Readiness {
    /// Says how things stand.
    pub fn set(&self, state: State) {
        self.0.store(state as u8, Ordering::Release);
    }

    /// How things stand; [`State::Starting`] at first.
    pub fn get(&self) -> State {
        match self.0.load(Ordering::Acquire) {
            0 => State::Starting,
            1 => State::Ready,
            _ => State::Stopping,
        }
    }
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {error}; choose another with --listen ADDRESS:PORT (port 0 takes a free one)"
)]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system says; part of the message.
    pub error: io::Error,
}

/// A listening socket, before anybody is let in.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    address: SocketAddr,
    settings: DoorSettings,
    stats: Arc<DoorStats>,
}

impl Door {
    /// Listens. From now on clients can connect; they are answered once [`Door::serve`] runs.
    pub fn bind(settings: DoorSettings) -> Result<Door, BindError> {
        let failed = |error| BindError { address: settings.listen, error };
        let listener = listen(&settings).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Door { listener, address, settings, stats: Arc::default() })
    }

    /// Where it listens, with the port that port 0 became.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The door's counters.
    pub fn stats(&self) -> Arc<DoorStats> {
        self.stats.clone()
    }

    /// Lets clients in until `shutdown` resolves; then takes no more and gives requests in progress
    /// [`limits::HTTP_CLOSING_TIME`]. Runs on a single-threaded tokio runtime with I/O and time. An error means that
    /// the runtime refused the socket.
    pub async fn serve(self, market: Market, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let house = Arc::new(House {
            metrics: Metrics::new(market.stats.clone(), market.clock, self.stats.clone()),
            settings: self.settings,
            stats: self.stats,
            catalog: market.catalog,
            shards: market.shards,
            source: market.stats.source,
            clock: market.clock,
            replay: market.replay,
            stage: market.stage,
            readiness: market.readiness,
        });
        accept::run(listener, house, shutdown).await;
        Ok(())
    }
}

fn listen(settings: &DoorSettings) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(settings.listen), Type::STREAM, Some(Protocol::TCP))?;
    // As the standard library does on Unix: a port is free again while old connections linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    if settings.send_buffer_bytes > 0 {
        // Accepted sockets inherit it, and the window is sized before the first byte.
        socket.set_send_buffer_size(settings.send_buffer_bytes)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&settings.listen.into())?;
    socket.listen(limits::LISTEN_BACKLOG as i32)?;
    Ok(socket.into())
}

/// What all connections of a door share.
struct House {
    settings: DoorSettings,
    stats: Arc<DoorStats>,
    metrics: Metrics,
    catalog: Arc<Catalog>,
    shards: Vec<ShardHandle>,
    source: Arc<CachePadded<SourceStats>>,
    clock: Clock,
    replay: Option<Arc<dyn ReplayControl>>,
    stage: Option<Arc<dyn Stage>>,
    readiness: Readiness,
}

impl House {
    /// The running shard with the fewest sessions.
    fn quietest_shard(&self) -> Option<&ShardHandle> {
        self.shards.iter().filter(|shard| !shard.is_closed()).min_by_key(|shard| shard.seats_taken())
    }

    /// Whether there are as many sessions as are allowed. Exact: only this thread takes seats.
    fn is_full(&self) -> bool {
        self.shards.iter().map(ShardHandle::seats_taken).sum::<usize>() >= self.settings.max_connections
    }
}
