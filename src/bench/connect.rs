//! Making the connections.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::connection::Connection;
use super::frames::{Splitter, push_masked};
use super::plan::Plan;
use super::text::Text;
use super::worker::Worker;
use super::{BenchError, Fault};
use crate::client::{Address, ConnectError, Dial};
use crate::wire::frame::opcode;

/// Handshakes at a time: a listen backlog holds more.
const HANDSHAKES_MAX: usize = 64;
/// Connections from one loopback address: fewer than it has ports by default (28,232).
const CONNECTIONS_PER_ADDRESS: usize = 20_000;
/// `SO_RCVBUF` of a slow client: little, so that it is slow for the server within moments.
const SLOW_RECEIVE_BYTES: u32 = 16 * 1_024;
/// How long the server may take to list its instruments.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server may take to tell its metrics; a rival may have none, and no other answer either.
const METRICS_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of `/metrics`.
const METRICS_BYTES_MAX: usize = 1 << 20;

/// The symbols that the server has.
pub(super) async fn symbols(address: &Address, plan: &Plan) -> Result<Vec<String>, BenchError> {
    let dial = dial(address, plan);
    let mut socket = dial.connect().await?.socket;
    let mut request = Vec::new();
    push_masked(&mut request, opcode::TEXT, br#"{"op":"list","id":1}"#, rand::random());
    let listing = async {
        socket.write_all(&request).await.map_err(|error| Fault::Closed(error.to_string()))?;
        let (mut splitter, mut bytes, mut symbols, mut is_whole) =
            (Splitter::default(), Vec::new(), Vec::new(), false);
        while !is_whole {
            let read = socket.read_buf(&mut bytes).await.map_err(|error| Fault::Closed(error.to_string()))?;
            if read == 0 {
                return Err(Fault::Closed("the connection ended".into()));
            }
            let taken = splitter.take(&bytes, |opcode, payload, _| {
                if opcode == opcode::TEXT {
                    let text: Text<'_> = serde_json::from_slice(payload)
                        .map_err(|error| Fault::protocol(format!("text that is no message: {error}")))?;
                    if text.kind == "instruments" {
                        symbols.extend(text.instruments.into_iter().map(|named| named.symbol.into_owned()));
                        is_whole = !text.more;
                    }
                }
                Ok(())
            })?;
            bytes.drain(..taken);
        }
        Ok(symbols)
    };
    match tokio::time::timeout(LIST_TIMEOUT, listing).await {
        Ok(symbols) => symbols.map_err(|fault| BenchError::List { fault: fault.to_string() }),
        Err(_) => Err(BenchError::List { fault: format!("no list within {} s", LIST_TIMEOUT.as_secs()) }),
    }
}

fn dial<'a>(address: &'a Address, plan: &Plan) -> Dial<'a> {
    let subprotocol = plan.protocol.subprotocol();
    Dial { address, subprotocol, from: None, receive_buffer: None, deflate: false }
}

/// Connects every client, lets it ask for its streams, and hands it to a thread in turns. `told` hears of each.
pub(super) async fn all(
    address: &Address,
    plan: &Plan,
    symbols: &[String],
    workers: &[Worker],
    told: &mut dyn FnMut(usize),
) -> Result<(), BenchError> {
    let mut handshakes = FuturesUnordered::new();
    let (mut next, mut connected) = (0, 0);
    while connected < plan.connections {
        while next < plan.connections && handshakes.len() < HANDSHAKES_MAX {
            handshakes.push(one(address, plan, symbols, next));
            next += 1;
        }
        if let Some(connection) = handshakes.next().await {
            let number = connected;
            workers[number % workers.len()].add(connection?).map_err(BenchError::System)?;
            connected += 1;
            told(connected);
        }
    }
    Ok(())
}

async fn one(
    address: &Address,
    plan: &Plan,
    symbols: &[String],
    index: usize,
) -> Result<Connection, BenchError> {
    let is_slow = plan.is_slow(index);
    let is_loopback = address.host().parse() == Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let dial = Dial {
        from: (is_loopback && index >= CONNECTIONS_PER_ADDRESS).then(|| {
            let host = 1 + index / CONNECTIONS_PER_ADDRESS;
            IpAddr::V4(Ipv4Addr::new(127, 0, (host / 256) as u8, (host % 256) as u8))
        }),
        receive_buffer: is_slow.then_some(SLOW_RECEIVE_BYTES),
        deflate: plan.deflate,
        ..dial(address, plan)
    };
    let dialed = dial.connect().await?;
    if plan.deflate && dialed.deflate.is_none() {
        return Err(BenchError::NoCompression);
    }
    let (mut socket, ahead) = bare(dialed.socket)?;
    let channels: Vec<_> = plan.channels.iter().map(|channel| channel.name()).collect();
    let mut request = json!({
        "op": "subscribe", "id": 1, "symbols": plan.symbols_of(index, symbols), "channels": channels,
        "interval_ms": plan.interval_ms,
    });
    if let Some(depth) = plan.depth {
        request["depth"] = depth.into();
    }
    let mut frame = Vec::new();
    push_masked(&mut frame, opcode::TEXT, request.to_string().as_bytes(), rand::random());
    let system = |error| BenchError::System(error);
    socket.write_all(&frame).await.map_err(system)?;
    let socket = mio::net::TcpStream::from_std(socket.into_std().map_err(system)?);
    Ok(Connection::new(socket, dialed.deflate, is_slow, ahead.into()))
}

/// The socket below a handshake, and what was read of it beyond.
fn bare(upgraded: TokioIo<Upgraded>) -> Result<(TcpStream, Bytes), BenchError> {
    let parts = upgraded.into_inner().downcast::<TokioIo<TcpStream>>();
    let parts = parts.map_err(|_| BenchError::System(io::Error::other("the socket is no TCP socket")))?;
    Ok((parts.io.into_inner(), parts.read_buf))
}

/// What the server says of itself at `/metrics`; `None` where it has no such page, or does not answer in
/// [`METRICS_TIMEOUT`].
pub(super) async fn metrics(address: &Address) -> Option<String> {
    tokio::time::timeout(METRICS_TIMEOUT, ask_for_metrics(address)).await.ok().flatten()
}

async fn ask_for_metrics(address: &Address) -> Option<String> {
    let socket = TcpStream::connect((address.host(), address.port())).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.ok()?;
    let driver = tokio::spawn(connection);
    let request = Request::get("/metrics").header("host", address.authority()).body(Empty::<Bytes>::new());
    let response = sender.send_request(request.ok()?).await.ok()?;
    let is_there = response.status().is_success();
    let body = Limited::new(response.into_body(), METRICS_BYTES_MAX).collect().await.ok()?.to_bytes();
    driver.abort();
    is_there.then(|| String::from_utf8_lossy(&body).into_owned())
}

impl From<ConnectError> for BenchError {
    fn from(error: ConnectError) -> BenchError {
        BenchError::Connect(Box::new(error))
    }
}
