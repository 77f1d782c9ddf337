//! The WebSocket handshake (RFC 6455, section 4.2): what is asked, whether it is granted.

use bytes::Bytes;
use fastwebsockets::upgrade::{UpgradeFut, is_upgrade_request};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{
    HeaderMap, HeaderValue, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION,
};
use hyper::{Method, Request, Response, StatusCode, Version};

use super::fault::{Fault, shown};
use super::metrics::Refusal;
use super::origin::{self, Origin};
use crate::shard::{Protocol, Terms};
use crate::wire::deflate::{self, Agreed, Mode};

/// A handshake that was granted.
pub(super) struct Granted {
    /// The answer, 101.
    pub response: Response<Full<Bytes>>,
    /// Becomes the socket once the answer is written.
    pub upgraded: UpgradeFut,
    /// What was agreed on.
    pub terms: Terms,
}

/// Checks a request for `/ws`: all of it but whether there is room. `compression` is how this server compresses.
pub(super) fn check<B: Body>(
    request: &Request<B>,
    listed: &[Origin],
    compression: Option<Mode>,
) -> Result<Choice, (Refusal, Fault)> {
    let headers = request.headers();
    let is_websocket = request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && is_upgrade_request(request)
        && only(headers, &SEC_WEBSOCKET_VERSION) == Some(b"13");
    if !is_websocket {
        return Err((Refusal::NotWebSocket, not_websocket(request)));
    }
    if !origin::allows(headers, listed) {
        return Err((Refusal::Origin, foreign_origin(headers)));
    }
    if !only(headers, &SEC_WEBSOCKET_KEY).is_some_and(key_is_valid) {
        let message = "Sec-WebSocket-Key is absent, doubled or wrong; allowed: one, 16 bytes in base64";
        return Err((Refusal::Malformed, Fault::bad_request(message)));
    }
    if !request.body().is_end_stream() {
        let message = "the request has a body; allowed: none on a WebSocket handshake";
        return Err((Refusal::Malformed, Fault::bad_request(message)));
    }
    let (protocol, named) = choose(headers).map_err(|fault| (Refusal::Subprotocol, fault))?;
    let offered = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter().map(HeaderValue::as_bytes);
    // Also where nothing is granted: what breaks the grammar is no handshake.
    let agreed = deflate::agree(offered, compression.unwrap_or(Mode::Shared))
        .map_err(|error| (Refusal::Malformed, Fault::bad_request(error.to_string())))?;
    Ok(Choice { protocol, named, deflate: agreed.filter(|_| compression.is_some()) })
}

/// The subprotocol of a session, whether the answer names it, and compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    protocol: Protocol,
    named: bool,
    deflate: Option<Agreed>,
}

/// What [`check`] grants: the subprotocol, whether the answer names it, and compression. For `tests/fuzz`.
#[cfg(fuzzing)]
pub fn granted<B: Body>(
    request: &Request<B>,
    listed: &[Origin],
    compression: Option<Mode>,
) -> Option<(Protocol, bool, Option<Agreed>)> {
    let choice = check(request, listed, compression).ok()?;
    Some((choice.protocol, choice.named, choice.deflate))
}

/// The client's first subprotocol that we know. One that offers none is shown JSON, and none is named to it: a browser
/// fails a connection whose server names what was not offered.
fn choose(headers: &HeaderMap) -> Result<(Protocol, bool), Fault> {
    let mut offered = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(|name| String::from_utf8_lossy(name.trim_ascii()))
        .filter(|name| !name.is_empty())
        .peekable();
    if offered.peek().is_none() {
        return Ok((Protocol::Json, false));
    }
    let offered: Vec<_> = offered.collect();
    match offered.iter().find_map(|name| Protocol::named(name)) {
        Some(protocol) => Ok((protocol, true)),
        None => Err(Fault::bad_request(format!(
            "subprotocol {}; allowed: {}, or none for JSON",
            shown(&offered.join(", ")),
            Protocol::ALL.map(Protocol::name).join(", "),
        ))),
    }
}

/// Grants a request that passed [`check`].
pub(super) fn grant(
    request: &mut Request<Incoming>,
    choice: Choice,
    is_echo: bool,
) -> Result<Granted, Fault> {
    let (response, upgraded) = fastwebsockets::upgrade::upgrade(request)
        .map_err(|error| Fault::bad_request(format!("no WebSocket handshake: {error}")))?;
    let mut response = response.map(|_| Full::default());
    if choice.named {
        let name = HeaderValue::from_static(choice.protocol.name());
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
    }
    if let Some(agreed) = choice.deflate {
        let header = HeaderValue::from_str(&agreed.header());
        let header =
            header.map_err(|error| Fault::bad_request(format!("no WebSocket handshake: {error}")))?;
        response.headers_mut().insert(SEC_WEBSOCKET_EXTENSIONS, header);
    }
    let terms = Terms { protocol: choice.protocol, deflate: choice.deflate, is_echo };
    Ok(Granted { response, upgraded, terms })
}

fn not_websocket<B>(request: &Request<B>) -> Fault {
    let version =
        request.headers().get(SEC_WEBSOCKET_VERSION).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let message = match version {
        Some(version) if is_upgrade_request(request) && version != "13" => {
            format!("WebSocket version {}; allowed: 13", shown(&version))
        }
        _ => "this address speaks WebSocket version 13 only: open it with a WebSocket client, such as \
              `tickcast watch`, websocat or a browser's `new WebSocket(…)`"
            .to_owned(),
    };
    Fault::new(StatusCode::UPGRADE_REQUIRED, "bad_request", message)
        .with("upgrade", "websocket")
        .with("connection", "upgrade")
        .with("sec-websocket-version", "13")
}

/// The answer to a page that may not connect.
pub(super) fn foreign_origin(headers: &HeaderMap) -> Fault {
    let origins: Vec<_> = headers
        .get_all(hyper::header::ORIGIN)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    Fault::new(
        StatusCode::FORBIDDEN,
        "forbidden",
        format!(
            "Origin {}; allowed: none, this host, loopback, and what the server lists with --allow-origin",
            shown(&origins.join(", "))
        ),
    )
}

/// The value of a header that may stand once only.
fn only<'a>(headers: &'a HeaderMap, name: &hyper::header::HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.as_bytes()),
        _ => None,
    }
}

/// 16 bytes in base64: 22 digits and two signs of padding.
fn key_is_valid(key: &[u8]) -> bool {
    key.len() == 24
        && key.ends_with(b"==")
        && key[..22].iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::*;

    fn request(lines: &[(&str, &str)]) -> Request<Empty<Bytes>> {
        let mut builder = Request::builder().uri("/ws").header("host", "localhost:8765");
        for (name, value) in lines {
            builder = builder.header(*name, *value);
        }
        builder.body(Empty::new()).unwrap()
    }

    const HANDSHAKE: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn offered(lines: &[&str]) -> Result<(Protocol, bool), String> {
        let mut all = HANDSHAKE.to_vec();
        all.extend(lines.iter().map(|line| ("sec-websocket-protocol", *line)));
        check(&request(&all), &[], Some(Mode::Shared))
            .map(|choice| (choice.protocol, choice.named))
            .map_err(|(refusal, fault)| format!("{refusal:?} {} {}", fault.status.as_u16(), fault.message))
    }

    #[test]
    fn the_clients_first_known_subprotocol_wins() {
        assert_eq!(offered(&[]), Ok((Protocol::Json, false)));
        assert_eq!(offered(&[""]), Ok((Protocol::Json, false)));
        assert_eq!(offered(&["tickcast.v1.bin"]), Ok((Protocol::Binary, true)));
        assert_eq!(offered(&["tickcast.v1.json, tickcast.v1.bin"]), Ok((Protocol::Json, true)));
        assert_eq!(
            offered(&["tickcast.v2.bin", "tickcast.v1.bin,tickcast.v1.json"]),
            Ok((Protocol::Binary, true))
        );
        for unknown in ["tickcast.v2.bin", "TICKCAST.V1.BIN", "tickcast.v1.bin2", "chat, soap"] {
            assert_eq!(
                offered(&[unknown]),
                Err(format!(
                    "Subprotocol 400 subprotocol {unknown:?}; allowed: tickcast.v1.bin, tickcast.v1.json, or none for JSON"
                ))
            );
        }
    }

    #[test]
    fn what_is_no_handshake_is_told_so() {
        for left_out in ["connection", "upgrade", "sec-websocket-version"] {
            let lines: Vec<_> = HANDSHAKE.into_iter().filter(|(name, _)| *name != left_out).collect();
            let (refusal, fault) = check(&request(&lines), &[], Some(Mode::Shared)).unwrap_err();
            assert_eq!((refusal, fault.status.as_u16()), (Refusal::NotWebSocket, 426), "without {left_out}");
        }
        for version in ["8", "12", "14", "013", "13, 8", ""] {
            let mut lines = HANDSHAKE.to_vec();
            lines[2].1 = version;
            let (refusal, fault) = check(&request(&lines), &[], Some(Mode::Shared)).unwrap_err();
            assert_eq!((refusal, fault.status.as_u16()), (Refusal::NotWebSocket, 426), "version {version:?}");
            assert!(fault.message.contains(&format!("{version:?}; allowed: 13")), "{}", fault.message);
        }
        for key in ["", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ==x", "dGhlIHNhbXBsZSBub25j*Q=="] {
            let mut lines = HANDSHAKE.to_vec();
            lines[3].1 = key;
            let (refusal, fault) = check(&request(&lines), &[], Some(Mode::Shared)).unwrap_err();
            assert_eq!((refusal, fault.status.as_u16()), (Refusal::Malformed, 400), "key {key:?}");
        }
        let mut old = request(&HANDSHAKE);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(check(&old, &[], Some(Mode::Shared)).unwrap_err().1.status.as_u16(), 426);
    }
}
