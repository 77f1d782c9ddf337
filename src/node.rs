//! The only wiring: start and stop, in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::config::Settings;
use crate::door::{BindError, Door, DoorSettings, Market, Readiness, State};
use crate::model::Catalog;
use crate::stats::Stats;

/// A running server.
#[derive(Debug)]
pub struct Node {
    address: SocketAddr,
    readiness: Readiness,
    close: oneshot::Sender<()>,
    door: JoinHandle<std::io::Result<()>>,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system refused a thread or a runtime.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Starts a server.
pub fn start(settings: Settings) -> Result<Node, StartError> {
    let door = Door::bind(DoorSettings {
        allow_origin: settings.allow_origin,
        max_connections: settings.max_connections,
        send_buffer_bytes: settings.send_buffer_bytes,
        ..DoorSettings::at(settings.listen)
    })?;
    let address = door.address();
    let readiness = Readiness::default();
    let market = Market {
        catalog: Arc::new(Catalog::default()),
        shards: Vec::new(),
        stats: Stats::new(settings.shards),
        replay: None,
        readiness: readiness.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (close, closed) = oneshot::channel();
    let door = std::thread::Builder::new().name("door".into()).spawn(move || {
        runtime.block_on(door.serve(market, async {
            let _ = closed.await;
        }))
    })?;
    readiness.set(State::Ready);
    Ok(Node { address, readiness, close, door })
}

impl Node {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The first instrument of the catalog.
    pub fn first_symbol(&self) -> Option<&str> {
        None
    }

    /// Resolves when the server cannot go on.
    pub async fn failure(&mut self) -> StartError {
        std::future::pending().await
    }

    /// Stops: every client gets its last frame and 1001.
    pub fn stop(self) -> Result<(), StartError> {
        self.readiness.set(State::Stopping);
        // The door may be gone already; then there is nobody to tell.
        let _ = self.close.send(());
        Ok(self.door.join().unwrap_or_else(|_| Err(std::io::Error::other("the door's thread panicked")))?)
    }
}
