//! The head of a WebSocket handshake: lines `Name: value` on top of one that is right. What is granted is held against
//! a second reading of the lines, as simple as the grammar lets it be.

use std::collections::BTreeSet;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Request};
use tickcast::door::{Origin, allows, granted};
use tickcast::shard::Protocol;
use tickcast::wire::deflate::{Agreed, Mode, OfferError, agree};

const HANDSHAKE: [(&str, &str); 5] = [
    ("host", "ticks.example.net:8765"),
    ("connection", "keep-alive, Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];
const LISTED: [&str; 3] = ["https://example.com", "http://example.com:8080", "chrome-extension://abcdef"];
const HEADERS_MAX: usize = 64;

pub fn run(data: &[u8]) {
    let headers = headers(data);
    let listed = LISTED.map(|text| Origin::parse(text).expect("an origin"));
    is_written_as_read(data);
    let allowed = allows(&headers, &listed);
    if allowed {
        came_from_where_it_may(&headers);
    }
    for mode in [Mode::Shared, Mode::Dedicated] {
        let lines = || lines(&headers, "sec-websocket-extensions");
        let agreed = agree(lines(), mode);
        if let Ok(agreed) = agreed {
            let expected = lines().flat_map(|line| split(line, b',')).find_map(|offer| expected(offer, mode));
            assert_eq!(agreed.map(|agreed| agreed.header()), expected);
        }
        checked(&headers, &listed, Some(mode), agreed, allowed);
    }
    checked(&headers, &listed, None, Ok(None), allowed);
}

/// A head that is right, but for the lines given: a name's first line takes the place of the right one.
fn headers(data: &[u8]) -> HeaderMap {
    let mut given = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(HEADERS_MAX) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            given.append(name, value);
        }
    }
    for (name, value) in HANDSHAKE {
        if !given.contains_key(name) {
            given.append(name, HeaderValue::from_static(value));
        }
    }
    given
}

fn lines<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().map(HeaderValue::as_bytes)
}

fn split(bytes: &[u8], at: u8) -> impl Iterator<Item = &[u8]> {
    bytes.split(move |byte| *byte == at).map(<[u8]>::trim_ascii)
}

/// What one offer in a line of right grammar is answered with. No quoted value of such a line holds a separator, since
/// what is in the quotes must be a token (RFC 6455, section 9.1).
fn expected(offer: &[u8], mode: Mode) -> Option<String> {
    let mut parts = split(offer, b';');
    if parts.next()? != b"permessage-deflate" {
        return None;
    }
    let (mut seen, mut window, mut wants_no_takeover) = (BTreeSet::new(), None, false);
    for part in parts {
        let (name, value) = match part.iter().position(|byte| *byte == b'=') {
            Some(at) => (part[..at].trim_ascii(), Some(part[at + 1..].trim_ascii())),
            None => (part, None),
        };
        let value = value.map(|value| {
            let bare = value.iter().filter(|byte| !matches!(byte, b'"' | b'\\')).copied().collect();
            String::from_utf8(bare).expect("a token is ASCII")
        });
        let bits = (8..=15_u8).find(|bits| value.as_deref() == Some(bits.to_string().as_str()));
        let is_right = match name {
            b"server_no_context_takeover" => {
                wants_no_takeover = true;
                value.is_none()
            }
            b"client_no_context_takeover" => value.is_none(),
            b"server_max_window_bits" => {
                window = bits;
                bits.is_some_and(|bits| bits > 8)
            }
            b"client_max_window_bits" => value.is_none() || bits.is_some(),
            _ => false,
        };
        if !is_right || !seen.insert(name) {
            return None;
        }
    }
    let takeover = mode == Mode::Dedicated && !wants_no_takeover;
    let server = if takeover { "" } else { "; server_no_context_takeover" };
    let window = window.map_or(String::new(), |bits| format!("; server_max_window_bits={bits}"));
    Some(format!("permessage-deflate{server}; client_no_context_takeover{window}"))
}

/// The whole check: it grants what was offered, and to nobody who may not connect.
fn checked(
    headers: &HeaderMap,
    listed: &[Origin],
    compression: Option<Mode>,
    agreed: Result<Option<Agreed>, OfferError>,
    allowed: bool,
) {
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.headers_mut() = headers.clone();
    let Some((protocol, is_named, deflate)) = granted(&request, listed, compression) else { return };
    assert!(allowed, "granted to a page that may not connect");
    assert_eq!(Ok(deflate), agreed);
    if let Some(deflate) = deflate {
        assert!((9..=15).contains(&deflate.window_bits));
        assert!(!deflate.takeover || compression == Some(Mode::Dedicated));
        HeaderValue::from_str(&deflate.header()).expect("the answer is a header");
    }
    let mut offered = lines(headers, "sec-websocket-protocol").flat_map(|line| split(line, b','));
    let known = |name: &[u8]| Protocol::ALL.into_iter().find(|known| known.name().as_bytes() == name);
    if is_named {
        assert_eq!(offered.find_map(known), Some(protocol), "the first that is known");
    } else {
        assert_eq!(protocol, Protocol::Json);
        assert!(offered.all(<[u8]>::is_empty), "it offered something");
    }
    assert_eq!(lines(headers, "sec-websocket-version").collect::<Vec<_>>(), [b"13"]);
    let keys: Vec<_> = lines(headers, "sec-websocket-key").collect();
    assert!(keys.len() == 1 && keys[0].len() == 24);
}

/// What may connect: nothing that is a page, a listed page, one of this machine, one of the host that was asked.
fn came_from_where_it_may(headers: &HeaderMap) {
    let origins: Vec<_> = lines(headers, "origin").collect();
    let [origin] = origins[..] else { return assert!(origins.is_empty(), "{} origins", origins.len()) };
    let origin = std::str::from_utf8(origin).expect("an origin is ASCII");
    if LISTED.contains(&origin) {
        return;
    }
    let (scheme, authority) = origin.split_once("://").expect("a scheme");
    let own_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => panic!("{origin}: no page"),
    };
    let with_port = |authority: &str, port: &str| match authority.rsplit_once(':') {
        Some((_, digits)) if !digits.is_empty() && !digits.contains(']') => authority.to_ascii_lowercase(),
        _ => authority.to_ascii_lowercase() + port,
    };
    let whole = with_port(authority, own_port);
    let (name, _) = whole.rsplit_once(':').expect("it has a port");
    let is_loopback = name == "localhost"
        || name == "[::1]"
        || (name.starts_with("127.") && name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
    let hosts: Vec<_> = lines(headers, "host").collect();
    let is_own = hosts.len() == 1
        && std::str::from_utf8(hosts[0]).is_ok_and(|host| with_port(host, own_port) == whole);
    assert!(is_loopback || is_own, "{origin} was let in at {hosts:?}");
}

fn is_written_as_read(data: &[u8]) {
    for text in data.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok()) {
        let text = text.strip_prefix("origin:").unwrap_or(text);
        if let Ok(origin) = Origin::parse(text) {
            assert_eq!(origin.to_string(), text);
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
            assert!(!text.contains(['@', '*', '?', '#', '\\', '%', ',']), "{text}");
        }
    }
}
