//! One connection, from its first byte to its end or to the shard that takes it.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_utils::atomic::AtomicCell;
use fastwebsockets::upgrade::UpgradeFut;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::fault::{Fault, shown};
use super::stage::{self, Wanted};
use super::{House, Refusal, routes, upgrade};
use crate::limits;
use crate::shard::{Arrival, Seat, ShardHandle, Terms};

/// Serves a connection.
pub(super) async fn serve(
    socket: TcpStream,
    peer: SocketAddr,
    house: Arc<House>,
    stopped: watch::Receiver<bool>,
) {
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%peer, %error, "the connection was gone before its first byte");
        return;
    }
    let visitor = Arc::new(Visitor { house, asked: AtomicBool::new(false), pass: AtomicCell::new(None) });
    speak_http(socket, peer, &visitor, stopped.clone()).await;
    if let Some(pass) = visitor.pass.take() {
        let house = &visitor.house;
        if let Err(error) = hand_over(pass, peer, stopped).await {
            house.stats.lost.add(1);
            warn!(%peer, %error, "a session was lost between the door and its shard");
        }
    }
}

async fn speak_http(
    socket: TcpStream,
    peer: SocketAddr,
    visitor: &Arc<Visitor>,
    mut stopped: watch::Receiver<bool>,
) {
    let service = service_fn(|request| {
        let visitor = visitor.clone();
        async move { Ok::<_, Infallible>(visitor.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(visitor.house.settings.handshake_time)
        .max_headers(limits::HTTP_HEADERS_MAX)
        .max_header_size(limits::HTTP_HEADER_BYTES_MAX)
        .max_buf_size(limits::HTTP_BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = time_to_go(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            match timeout(limits::HTTP_ANSWER_TIME, connection).await {
                Ok(ended) => ended,
                Err(_) => return debug!(%peer, "closed: the client did not read its answer"),
            }
        }
    };
    if let Err(error) = ended {
        visitor.count(&error);
        debug!(%peer, %error, "the connection ended badly");
    }
}

/// Until the server stops or the connection has lived long enough.
async fn time_to_go(stopped: &mut watch::Receiver<bool>) {
    tokio::select! {
        _ = stopped.wait_for(|stopped| *stopped) => {}
        () = sleep(limits::HTTP_CONNECTION_TIME) => {}
    }
}

/// Whoever is at the other end of a connection.
struct Visitor {
    house: Arc<House>,
    /// Whether a whole request has come.
    asked: AtomicBool,
    /// Set once a handshake is granted.
    pass: AtomicCell<Option<Pass>>,
}

/// The way to a shard.
struct Pass {
    upgraded: UpgradeFut,
    terms: Terms,
    shard: ShardHandle,
    seat: Seat,
}

impl Visitor {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        self.asked.store(true, Ordering::Relaxed);
        self.house.stats.requests.add(1);
        if let Err(fault) = check_host(&request) {
            self.house.stats.refused(Refusal::Malformed).add(1);
            return fault.response();
        }
        let is_echo = self.house.settings.has_echo && request.uri().path() == "/echo";
        if !is_echo && request.uri().path() != "/ws" {
            return routes::answer(&self.house, request).await;
        }
        match *request.method() {
            Method::GET | Method::HEAD => {
                self.shake_hands(request, is_echo).await.unwrap_or_else(Fault::response)
            }
            _ => routes::wrong_method(request.method(), "GET").response(),
        }
    }

    async fn shake_hands(
        &self,
        mut request: Request<Incoming>,
        is_echo: bool,
    ) -> Result<Response<Full<Bytes>>, Fault> {
        let house = &self.house;
        let refuse = |(refusal, fault): (Refusal, Fault)| {
            house.stats.refused(refusal).add(1);
            fault
        };
        let choice = upgrade::check(&request, &house.settings.allow_origin, house.settings.compression)
            .map_err(refuse)?;
        let query = if is_echo { "" } else { request.uri().query().unwrap_or("") };
        let wanted = Wanted::of(query).map_err(|fault| refuse((Refusal::Replay, fault)))?;
        let (shard, seat) = match wanted {
            None => public_seat(house).map_err(refuse)?,
            Some(wanted) => stage::open(house.stage.as_deref(), wanted).await.map_err(refuse)?,
        };
        let granted = upgrade::grant(&mut request, choice, is_echo)?;
        house.stats.upgraded.add(1);
        self.pass.store(Some(Pass { upgraded: granted.upgraded, terms: granted.terms, shard, seat }));
        Ok(granted.response)
    }

    /// An idle connection that is closed between two requests is no failure.
    fn count(&self, error: &hyper::Error) {
        if self.asked.load(Ordering::Relaxed) {
            return;
        }
        if error.is_timeout() {
            self.house.stats.timeouts.add(1);
        } else if error.is_parse() {
            self.house.stats.malformed.add(1);
        }
    }
}

/// A place on the shard that has the most time.
fn public_seat(house: &House) -> Result<(ShardHandle, Seat), (Refusal, Fault)> {
    if house.is_full() {
        let allowed = house.settings.max_connections;
        let message = format!("the server has {allowed} sessions; allowed: {allowed}; try again in a second");
        return Err((Refusal::Full, Fault::full(message)));
    }
    let Some(shard) = house.quietest_shard() else {
        let fault = Fault::unavailable("the server is stopping; connect again in a second");
        return Err((Refusal::Full, fault));
    };
    Ok((shard.clone(), shard.seat()))
}

/// Whether a request names its host once and properly, as every one of HTTP/1.1 must (RFC 9112, section 3.2). One of
/// HTTP/1.0 need not.
fn check_host<B>(request: &Request<B>) -> Result<(), Fault> {
    let mut named = request.headers().get_all(HOST).iter();
    let fault = |found: &str| {
        Fault::bad_request(format!("the header Host is {found}; allowed: one, such as \"localhost:8765\""))
    };
    match (named.next(), named.next()) {
        (None, _) if request.version() < Version::HTTP_11 => Ok(()),
        (None, _) => Err(fault("absent")),
        (Some(_), Some(_)) => Err(fault("there twice")),
        (Some(host), None) => match Authority::try_from(host.as_bytes()) {
            Ok(authority) if !authority.as_str().contains('@') => Ok(()),
            _ => Err(fault(&shown(&String::from_utf8_lossy(host.as_bytes())))),
        },
    }
}

/// How long to wait before offering a session again to a shard whose mailbox is full.
const MAILBOX_PAUSE: Duration = Duration::from_millis(10);

/// A close frame with 1001 and no reason, for a client that no shard takes.
const CLOSE_GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];

/// Takes the socket back from hyper and gives it to the shard.
async fn hand_over(pass: Pass, peer: SocketAddr, stopped: watch::Receiver<bool>) -> io::Result<()> {
    let websocket = pass.upgraded.await.map_err(io::Error::other)?;
    let parts = websocket
        .into_inner()
        .into_inner()
        .downcast::<TokioIo<TcpStream>>()
        .map_err(|_| io::Error::other("the upgraded connection is no TCP socket"))?;
    // A copy of what is there, so that an idle session does not keep the buffer of its handshake.
    let read_ahead = Bytes::copy_from_slice(&parts.read_buf);
    drop(parts.read_buf);
    let socket = parts.io.into_inner().into_std()?;
    let mut arrival = Arrival { socket, read_ahead, terms: pass.terms, peer, seat: pass.seat };
    let attempts = limits::HANDSHAKE_TIME.as_millis() / MAILBOX_PAUSE.as_millis();
    for _ in 0..attempts {
        match pass.shard.adopt(arrival) {
            Ok(()) => return Ok(()),
            Err(refused) => arrival = refused,
        }
        if pass.shard.is_closed() || *stopped.borrow() {
            break;
        }
        sleep(MAILBOX_PAUSE).await;
    }
    (&arrival.socket).write_all(&CLOSE_GOING_AWAY)?;
    Err(io::Error::other("the shard is stopping, or its mailbox stayed full"))
}
