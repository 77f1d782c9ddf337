//! TCP connection and WebSocket handshake (RFC 6455, section 4.1).
//!
//! The handshake is hyper's and ours, not `fastwebsockets::handshake::client`: that one drops the head and body of a
//! refusal, so that `Retry-After` would be lost, and does not check `Sec-WebSocket-Accept`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fastwebsockets::handshake::generate_key;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tokio::net::{TcpSocket, TcpStream};

use super::Address;
use crate::limits;

/// The subprotocol of this client: binary market data, JSON control.
pub const SUBPROTOCOL: &str = "tickcast.v1.bin";

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No TCP connection, or it broke during the handshake.
    #[error("cannot connect to {address}: {error}")]
    Io {
        /// Where to.
        address: Address,
        /// What the system says.
        error: io::Error,
    },
    /// The handshake took too long.
    #[error("cannot connect to {address}: no answer within {} s", limit.as_secs_f64())]
    Timeout {
        /// Where to.
        address: Address,
        /// How long it was waited.
        limit: Duration,
    },
    /// The server answered with another status than 101.
    #[error("{address} refuses the connection with status {status}{}{message}", if message.is_empty() { "" } else { ": " })]
    Refused {
        /// Where to.
        address: Address,
        /// HTTP status: 403 foreign Origin, 400 no common subprotocol, 503 full, ...
        status: u16,
        /// The start of the body.
        message: String,
        /// What the server asks for in `Retry-After`, at most [`limits::CLIENT_RETRY_AFTER_S_MAX`].
        retry_after: Option<Duration>,
    },
    /// The answer is no WebSocket handshake of this protocol.
    #[error("{address} is no Tickcast server: {fault}")]
    Handshake {
        /// Where to.
        address: Address,
        /// What is wrong with the answer.
        fault: String,
    },
}

impl ConnectError {
    /// Whether another attempt may end otherwise. A refusal of the request itself (4xx) stands; being full, slow
    /// down, and faults of the server pass.
    pub fn may_pass(&self) -> bool {
        match self {
            ConnectError::Io { .. } | ConnectError::Timeout { .. } => true,
            ConnectError::Refused { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            ConnectError::Handshake { .. } => false,
        }
    }

    /// How long the server asks to stay away.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            ConnectError::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether nothing listens there: the likely cause is that no server was started.
    pub fn is_refused_by_host(&self) -> bool {
        matches!(self, ConnectError::Io { error, .. } if error.kind() == io::ErrorKind::ConnectionRefused)
    }
}

/// A connection to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dial<'a> {
    /// Where to.
    pub address: &'a Address,
    /// What to speak.
    pub subprotocol: &'a str,
    /// Address of this host to connect from; `None`: the system's choice.
    pub from: Option<IpAddr>,
    /// `SO_RCVBUF` in bytes; `None`: the system's choice.
    pub receive_buffer: Option<u32>,
    /// Whether messages may come compressed.
    pub deflate: bool,
}

/// A connection made.
pub(crate) struct Dialed {
    /// The socket.
    pub socket: TokioIo<Upgraded>,
    /// Compression, where it was offered and agreed on.
    pub deflate: Option<Inflating>,
}

/// How compressed messages are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inflating {
    /// Whether a message may refer to those before it.
    pub takeover: bool,
}

/// Connects and shakes hands, within [`limits::CLIENT_CONNECT_MS_MAX`] in all.
pub(super) async fn connect(address: &Address) -> Result<TokioIo<Upgraded>, ConnectError> {
    let dial = Dial { address, subprotocol: SUBPROTOCOL, from: None, receive_buffer: None, deflate: false };
    Ok(dial.connect().await?.socket)
}

/// What is offered where messages may come compressed. What this client sends is short, and never compressed.
const OFFER: &str = "permessage-deflate; client_no_context_takeover";

impl Dial<'_> {
    /// Connects and shakes hands, within [`limits::CLIENT_CONNECT_MS_MAX`] in all.
    pub async fn connect(self) -> Result<Dialed, ConnectError> {
        let limit = Duration::from_millis(limits::CLIENT_CONNECT_MS_MAX);
        match tokio::time::timeout(limit, shake_hands(self)).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Timeout { address: self.address.clone(), limit }),
        }
    }

    async fn open(self) -> io::Result<TcpStream> {
        let (host, port) = (self.address.host(), self.address.port());
        if self.from.is_none() && self.receive_buffer.is_none() {
            return TcpStream::connect((host, port)).await;
        }
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in tokio::net::lookup_host((host, port)).await? {
            match self.open_to(address).await {
                Ok(socket) => return Ok(socket),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn open_to(self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(from) = self.from {
            socket.bind((from, 0).into())?;
        }
        socket.connect(address).await
    }
}

async fn shake_hands(dial: Dial<'_>) -> Result<Dialed, ConnectError> {
    let Dial { address, subprotocol, .. } = dial;
    let io_error = |error| ConnectError::Io { address: address.clone(), error };
    let broken = |error: hyper::Error| {
        if error.is_parse() {
            let fault = format!("its answer is not HTTP ({error})");
            return ConnectError::Handshake { address: address.clone(), fault };
        }
        io_error(io::Error::other(format!("the connection broke during the handshake ({error})")))
    };
    let socket = dial.open().await.map_err(io_error)?;
    socket.set_nodelay(true).map_err(io_error)?;

    let key = generate_key();
    let mut request = Request::get(address.path())
        .header(HOST, address.authority())
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, &key)
        .header(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    if dial.deflate {
        request = request.header(SEC_WEBSOCKET_EXTENSIONS, OFFER);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| io_error(io::Error::other(error)))?;

    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(limits::CLIENT_RESPONSE_HEAD_BYTES_MAX)
        .handshake(TokioIo::new(socket))
        .await
        .map_err(broken)?;
    // It ends with the handshake: hyper hands the socket over. What it could say of an error, the request says too.
    tokio::spawn(async move {
        let _ = connection.with_upgrades().await;
    });
    let mut response = sender.send_request(request).await.map_err(broken)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refusal(address, response).await);
    }
    let handshake = |fault| ConnectError::Handshake { address: address.clone(), fault };
    check(response.headers(), &key, subprotocol).map_err(handshake)?;
    let deflate = agreed(response.headers(), dial.deflate).map_err(handshake)?;
    let socket = hyper::upgrade::on(&mut response).await.map(TokioIo::new).map_err(broken)?;
    Ok(Dialed { socket, deflate })
}

/// What the server says when it does not want us.
async fn refusal(address: &Address, response: Response<Incoming>) -> ConnectError {
    let status = response.status().as_u16();
    let retry_after = header(response.headers(), &RETRY_AFTER)
        .and_then(|text| text.trim().parse().ok())
        .map(|seconds: u64| Duration::from_secs(seconds.min(limits::CLIENT_RETRY_AFTER_S_MAX)));
    let body = Limited::new(response.into_body(), limits::CLIENT_REFUSAL_BYTES_MAX);
    // A body that is too long or broken adds nothing: the status says it.
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let message = String::from_utf8_lossy(&body).trim().to_owned();
    ConnectError::Refused { address: address.clone(), status, message, retry_after }
}

/// The checks of RFC 6455, section 4.1, on the server's answer, and that the protocol is ours.
fn check(headers: &HeaderMap, key: &str, subprotocol: &str) -> Result<(), String> {
    let has_token = |name: &HeaderName, wanted: &str| {
        header(headers, name)
            .is_some_and(|value| value.split(',').any(|token| token.trim().eq_ignore_ascii_case(wanted)))
    };
    if !has_token(&UPGRADE, "websocket") || !has_token(&CONNECTION, "upgrade") {
        return Err("its answer does not upgrade to WebSocket".into());
    }
    if header(headers, &SEC_WEBSOCKET_ACCEPT) != Some(accept(key).as_str()) {
        return Err("its answer does not belong to the request (Sec-WebSocket-Accept)".into());
    }
    match header(headers, &SEC_WEBSOCKET_PROTOCOL) {
        Some(spoken) if spoken == subprotocol => Ok(()),
        Some(other) => Err(format!("it speaks subprotocol {other:?}, not {subprotocol:?}")),
        None => Err(format!("it does not speak subprotocol {subprotocol:?}")),
    }
}

/// What the server says of compression (RFC 7692, section 7.1).
fn agreed(headers: &HeaderMap, was_offered: bool) -> Result<Option<Inflating>, String> {
    let Some(extensions) = header(headers, &SEC_WEBSOCKET_EXTENSIONS) else { return Ok(None) };
    let mut parts = extensions.split(';').map(str::trim);
    if !was_offered || parts.next() != Some("permessage-deflate") {
        return Err(format!("it uses extension {extensions:?}, which was not offered"));
    }
    let mut inflating = Inflating { takeover: true };
    for part in parts {
        match part {
            "server_no_context_takeover" => inflating.takeover = false,
            "client_no_context_takeover" => {}
            // Whatever the window: this client's is the largest.
            part if part.starts_with("server_max_window_bits=") => {}
            other => return Err(format!("it answers the offer of compression with {other:?}")),
        }
    }
    Ok(Some(inflating))
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The answer to a key (RFC 6455, section 1.3).
fn accept(key: &str) -> String {
    let digest =
        Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    STANDARD.encode(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_key_is_that_of_the_standard() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn an_answer_that_is_no_handshake_is_refused_with_the_reason() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let good = [
            (UPGRADE, "WebSocket"),
            (CONNECTION, "keep-alive, Upgrade"),
            (SEC_WEBSOCKET_ACCEPT, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            (SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL),
        ];
        let headers = |changed: HeaderName, value: Option<&'static str>| {
            let mut headers: HeaderMap =
                good.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            headers.remove(&changed);
            headers.extend(value.map(|value| (changed, value.parse().unwrap())));
            headers
        };
        assert_eq!(check(&headers(UPGRADE, Some("websocket")), key, SUBPROTOCOL), Ok(()));
        for (name, value, fault) in [
            (UPGRADE, None, "does not upgrade"),
            (CONNECTION, Some("close"), "does not upgrade"),
            (SEC_WEBSOCKET_ACCEPT, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOO="), "does not belong"),
            (SEC_WEBSOCKET_PROTOCOL, None, "does not speak subprotocol"),
            (SEC_WEBSOCKET_PROTOCOL, Some("chat"), "\"chat\""),
        ] {
            let text = check(&headers(name, value), key, SUBPROTOCOL).unwrap_err();
            assert!(text.contains(fault), "{text}");
        }
    }

    #[test]
    fn compression_is_as_the_server_says_and_only_where_it_was_offered() {
        let said = |extensions: &'static str, was_offered| {
            agreed(
                &[(SEC_WEBSOCKET_EXTENSIONS, extensions.parse().unwrap())].into_iter().collect(),
                was_offered,
            )
        };
        assert_eq!(agreed(&HeaderMap::new(), true), Ok(None));
        assert!(said("permessage-deflate", false).unwrap_err().contains("not offered"));
        assert!(said("x-other", true).unwrap_err().contains("\"x-other\", which was not offered"));
        assert!(said("permessage-deflate; fast", true).unwrap_err().contains("\"fast\""));
        for (extensions, takeover) in [
            ("permessage-deflate", true),
            ("permessage-deflate; client_no_context_takeover; server_max_window_bits=9", true),
            ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", false),
        ] {
            assert_eq!(said(extensions, true), Ok(Some(Inflating { takeover })), "{extensions}");
        }
    }

    #[test]
    fn a_refusal_of_the_request_stands_and_a_full_server_passes() {
        let refused = |status| ConnectError::Refused {
            address: "ws://h/ws".parse().unwrap(),
            status,
            message: String::new(),
            retry_after: None,
        };
        for status in [301, 400, 401, 403, 404, 426] {
            assert!(!refused(status).may_pass(), "{status}");
        }
        for status in [429, 500, 502, 503] {
            assert!(refused(status).may_pass(), "{status}");
        }
        assert_eq!(refused(403).to_string(), "ws://h/ws refuses the connection with status 403");
    }
}
