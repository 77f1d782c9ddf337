//! The accept loop.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::{House, Refusal, connection};
use crate::limits;

/// Accepts until `shutdown`, then waits a moment for what is in progress.
pub(super) async fn run(listener: TcpListener, house: Arc<House>, shutdown: impl Future<Output = ()>) {
    let mut shutdown = pin!(shutdown);
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut pause = Pause::default();
    loop {
        house.stats.connections.set(connections.len() as u64);
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = next(&listener, pause.until) => match accepted {
                Ok((socket, peer)) => {
                    pause.end();
                    house.stats.accepted.add(1);
                    if connections.len() < house.settings.handshakes_max {
                        connections.spawn(connection::serve(socket, peer, house.clone(), stopped.clone()));
                    } else {
                        turn_away(&house, &socket);
                    }
                }
                Err(error) if is_of_one_connection(&error) => debug!(%error, "a connection was gone before it was accepted"),
                Err(error) => {
                    house.stats.accept_failures.add(1);
                    pause.begin(&error);
                }
            },
        }
    }
    drop(listener);
    stop.send_replace(true);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if timeout(limits::HTTP_CLOSING_TIME, all_ended).await.is_err() {
        debug!("HTTP connections were still open when the door closed");
    }
    house.stats.connections.set(0);
}

async fn next(listener: &TcpListener, not_before: Option<Instant>) -> io::Result<(TcpStream, SocketAddr)> {
    if let Some(time) = not_before {
        sleep_until(time).await;
    }
    listener.accept().await
}

/// Errors that the peer caused, as `accept(2)` lists them: the next connection is not concerned.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Answers without reading the request: there is no room to read it into. Whoever sent much may see a reset instead.
fn turn_away(house: &House, socket: &TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    house.stats.refused(Refusal::Full).add(1);
    if let Err(error) = socket.try_write(ANSWER) {
        debug!(%error, "could not say that there are too many handshakes");
    }
}

/// While the machine gives no descriptors, the connection that waits makes the listener ready at once, again and
/// again: without a pause the loop would spin.
#[derive(Default)]
struct Pause {
    until: Option<Instant>,
}

impl Pause {
    fn begin(&mut self, error: &io::Error) {
        if self.until.is_none() {
            warn!(%error, "cannot accept connections: raise the limit of open files, or lower max_connections");
        }
        self.until = Some(Instant::now() + limits::ACCEPT_PAUSE);
    }

    fn end(&mut self) {
        if self.until.take().is_some() {
            info!("accepting connections again");
        }
    }
}
