//! Which pages may connect: the Origin rule.
//!
//! A browser states in `Origin` which page opens a WebSocket, and nothing else keeps a foreign page from opening one
//! to a server on its visitor's own machine (RFC 6455, section 10.2). Everything is compared whole, after a strict
//! parse: no prefix, suffix or pattern is ever looked for.

use std::fmt;
use std::net::Ipv4Addr;

use hyper::HeaderMap;
use hyper::header::{HOST, ORIGIN};

/// The origin of a page as browsers write it: `scheme://host[:port]`, all lower case, without the scheme's own port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

/// A text that is no [`Origin`]; [`Origin::ALLOWED`] says what would be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no origin; allowed: {}", Origin::ALLOWED)]
pub struct OriginError;

impl Origin {
    /// What an origin looks like, for messages.
    pub const ALLOWED: &str = "origin as a browser sends it, such as https://example.com or http://example.com:8080: \
                               scheme, host, port unless it is the scheme's own; lower case, no path, no wildcard";

    /// Reads an origin.
    pub fn parse(text: &str) -> Result<Origin, OriginError> {
        let (scheme, authority) = text.split_once("://").ok_or(OriginError)?;
        let (host, port) = split_port(authority).ok_or(OriginError)?;
        let scheme_is_valid = scheme.starts_with(|first: char| first.is_ascii_lowercase())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte));
        if !scheme_is_valid || !host_is_valid(host) || (port.is_some() && port == own_port(scheme)) {
            return Err(OriginError);
        }
        Ok(Origin { scheme: scheme.to_owned(), host: host.to_owned(), port })
    }

    fn is_web(&self) -> bool {
        matches!(self.scheme.as_str(), "http" | "https")
    }

    /// Whether the page came from this machine itself, whatever the port.
    fn is_loopback(&self) -> bool {
        self.is_web()
            && (self.host == "localhost"
                || self.host == "[::1]"
                || self.host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback()))
    }

    /// Whether the page came from the host and port that the request was sent to. The scheme may differ, since a proxy
    /// may have taken TLS off.
    fn is_at(&self, host: &str) -> bool {
        let own = own_port(&self.scheme);
        self.is_web()
            && split_port(host).is_some_and(|(name, port)| {
                name.eq_ignore_ascii_case(&self.host) && port.or(own) == self.port.or(own)
            })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Whether the request may be answered: it comes from no page, from a page of our own, of this machine, or of a listed
/// origin.
pub fn allows(headers: &HeaderMap, listed: &[Origin]) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else { return true };
    if origins.next().is_some() {
        return false;
    }
    let Some(origin) = origin.to_str().ok().and_then(|text| Origin::parse(text).ok()) else { return false };
    if origin.is_loopback() || listed.contains(&origin) {
        return true;
    }
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().is_ok_and(|host| origin.is_at(host)),
        _ => false,
    }
}

/// `host[:port]`, an IPv6 address in brackets.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let end_of_host = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(end_of_host);
    if rest.is_empty() {
        return Some((host, None));
    }
    let digits = rest.strip_prefix(':')?;
    let is_plain = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain { Some((host, Some(digits.parse().ok()?))) } else { None }
}

fn host_is_valid(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => {
            address.bytes().all(|byte| b"0123456789abcdef:".contains(&byte)) && !address.is_empty()
        }
        None => {
            (1..=253).contains(&host.len())
                && host.split('.').all(|label| {
                    !label.is_empty()
                        && label.bytes().all(|byte| {
                            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
                        })
                })
        }
    }
}

fn own_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const LISTED: &[&str] = &["https://example.com", "http://example.com:8080", "chrome-extension://abcdef"];

    fn answer(origins: &[&[u8]], hosts: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for origin in origins {
            headers.append(ORIGIN, HeaderValue::from_bytes(origin).unwrap());
        }
        for host in hosts {
            headers.append(HOST, HeaderValue::from_str(host).unwrap());
        }
        let listed: Vec<_> = LISTED.iter().map(|text| Origin::parse(text).unwrap()).collect();
        allows(&headers, &listed)
    }

    #[test]
    fn no_page_our_own_loopback_and_listed_pages_may_connect() {
        assert!(answer(&[], &["ticks.example.net"]));
        for own in ["http://ticks.example.net", "https://ticks.example.net"] {
            assert!(answer(&[own.as_bytes()], &["ticks.example.net"]), "{own}");
            assert!(answer(&[own.as_bytes()], &["TICKS.example.net"]), "{own}");
        }
        assert!(answer(&[b"http://ticks.example.net"], &["ticks.example.net:80"]));
        assert!(answer(&[b"https://ticks.example.net"], &["ticks.example.net:443"]));
        assert!(answer(&[b"http://10.0.0.7:8765"], &["10.0.0.7:8765"]));
        assert!(answer(&[b"http://[2001:db8::1]:8765"], &["[2001:db8::1]:8765"]));
        for loopback in [
            "http://localhost",
            "https://localhost:5173",
            "http://127.0.0.1:3000",
            "http://127.9.9.9",
            "http://[::1]:8012",
        ] {
            assert!(answer(&[loopback.as_bytes()], &["ticks.example.net"]), "{loopback}");
        }
        for origin in LISTED {
            assert!(answer(&[origin.as_bytes()], &["ticks.example.net"]), "{origin}");
        }
    }

    #[test]
    fn a_hundred_hostile_origins_are_refused() {
        let texts: &[&str] = &[
            // No origin at all.
            "",
            " ",
            "null",
            "NULL",
            "Null",
            "*",
            "undefined",
            "none",
            "file://",
            "about:blank",
            "data:",
            "blob:null",
            "//example.com",
            "://example.com",
            "example.com",
            "localhost",
            "127.0.0.1",
            "example.com:443",
            "http://",
            "https://",
            "http:///",
            "https:example.com",
            "https:/example.com",
            "https:\\\\example.com",
            // Prefix tricks on a listed host.
            "https://example.com.evil.net",
            "https://example.com-evil.net",
            "https://example.comevil.net",
            "https://example.com:443.evil.net",
            "https://example.com%2eevil.net",
            "https://example.com@evil.net",
            "https://example.com:80@evil.net",
            "https://example.com#.evil.net",
            "https://example.com?.evil.net",
            "https://example.com/.evil.net",
            "https://example.com\\.evil.net",
            "https://example.com;evil.net",
            "https://example.com,evil.net",
            "https://example.com evil.net",
            "https://example.com\tevil.net",
            "https://example.co",
            "https://example.c",
            "https://example",
            "https://e",
            // Suffix tricks.
            "https://evilexample.com",
            "https://evil-example.com",
            "https://evil.example.com",
            "https://.example.com",
            "https://evil.net/example.com",
            "https://evil.net#example.com",
            "https://evil.net?https://example.com",
            "https://evil.net@example.com",
            "https://user:pass@example.com",
            "https://@example.com",
            "https://%65xample.com",
            "xhttps://example.com",
            "https://https://example.com",
            // Scheme and port.
            "http://example.com",
            "ws://example.com",
            "wss://example.com",
            "ftp://example.com",
            "HTTPS://example.com",
            "javascript://example.com",
            "file://example.com",
            "https://example.com:8443",
            "https://example.com:443",
            "https://example.com:0443",
            "https://example.com:",
            "https://example.com:0",
            "https://example.com:-1",
            "https://example.com:65979",
            "https://example.com:4294967739",
            "https://example.com:4 43",
            "http://example.com:80",
            "http://example.com:808",
            "http://example.com:80800",
            "https://example.com:8080",
            "http://example.com:08080",
            "http://example.com:+8080",
            "http://example.com:8080:8080",
            // Spelling.
            "https://EXAMPLE.com",
            "https://example.com.",
            "https://example..com",
            "https://example.com/",
            "https://example.com//",
            " https://example.com",
            "https://example.com ",
            "https://xn--xample-9uf.com",
            "https://*.example.com",
            "https://*",
            "https://example.com, https://evil.net",
            "https://example.com https://evil.net",
            "chrome-extension://abcdefg",
            "chrome-extension://abcde",
            "moz-extension://abcdef",
            // Near loopback.
            "http://localhost.evil.net",
            "http://localhost.",
            "http://evil.localhost",
            "http://notlocalhost",
            "http://LOCALHOST",
            "http://127.0.0.1.evil.net",
            "http://127.0.0.1.nip.io",
            "http://127.1",
            "http://2130706433",
            "http://0x7f.0.0.1",
            "http://0177.0.0.1",
            "http://127.0.0.01",
            "http://127.0.0.256",
            "http://128.0.0.1",
            "http://0.0.0.0",
            "http://[::]",
            "http://[::ffff:127.0.0.1]",
            "http://[::1",
            "http://::1",
            "http://[::1].evil.net",
            "http://[::1]evil",
            "http://[::1%lo]",
            "http://[0:0:0:0:0:0:0:1]",
            "ftp://localhost",
            "file://localhost",
            "chrome-extension://localhost",
            "http://localhost/",
            "http://localhost:80",
            "http://localhost:",
            "http://localhost@evil.net",
            "http://evil.net:80@localhost",
            // Near our own host.
            "http://ticks.example.net:8766",
            "http://ticks.example.net",
            "https://ticks.example.net",
            "http://ticks.example.net.evil.org:8765",
            "http://eviltick.example.net:8765",
            "http://example.net:8765",
            "http://a.ticks.example.net:8765",
            "ftp://ticks.example.net:8765",
            "http://ticks.example.net:8765/",
        ];
        let mut origins: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        origins.push("https://exämple.com".as_bytes().to_vec());
        origins.push("https://еxample.com".as_bytes().to_vec()); // The first letter is Cyrillic.
        origins.push(b"https://example.com\xff".to_vec());
        assert!(origins.len() >= 100);
        for origin in &origins {
            let shown = String::from_utf8_lossy(origin);
            assert!(!answer(&[origin], &["ticks.example.net:8765"]), "{shown:?} was let in");
        }
    }

    #[test]
    fn doubled_headers_are_refused_even_where_each_would_do() {
        assert!(!answer(&[b"https://example.com", b"https://example.com"], &["ticks.example.net"]));
        assert!(!answer(&[b"https://example.com", b"https://evil.net"], &["ticks.example.net"]));
        assert!(!answer(&[b"http://localhost", b"null"], &["ticks.example.net"]));
        assert!(!answer(&[b"http://evil.net"], &["ticks.example.net", "evil.net"]));
        assert!(!answer(&[b"http://evil.net"], &[]));
        assert!(!answer(&[b"http://evil.net"], &["evil.net@ticks.example.net"]));
    }

    #[test]
    fn an_origin_is_written_as_it_was_read() {
        for text in LISTED {
            assert_eq!(Origin::parse(text).unwrap().to_string(), *text);
        }
    }
}
