//! The address of a server: `ws://host:port/path`.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

/// Where a server's stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Name or IP address, an IPv6 address without its brackets.
    host: String,
    port: u16,
    /// Path and query; starts with `/`.
    path: String,
}

/// Why a text is no address of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is no address of a server: {fault}; an address looks like ws://127.0.0.1:8765/ws")]
pub struct AddressError {
    /// What was given.
    pub url: String,
    /// What is wrong with it.
    pub fault: String,
}

impl Address {
    /// Name or IP address, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, as they stand in the request line.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value of the `Host` header: an IPv6 address in brackets, the port unless it is 80.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == 80 { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}{}", self.authority(), self.path)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads an address. Without a port it is 80, without a path `/ws`: what lies at `/` is the dashboard.
    fn from_str(url: &str) -> Result<Address, AddressError> {
        let wrong = |fault: &str| AddressError { url: url.into(), fault: fault.into() };
        if url.contains('#') {
            return Err(wrong("a fragment (#) has no place in it"));
        }
        let uri: Uri = url.parse().map_err(|error| wrong(&format!("{error}")))?;
        match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("ws") => {}
            Some("wss") => return Err(wrong("wss (TLS) is not supported, only ws")),
            Some(other) => return Err(wrong(&format!("scheme {other:?} is not supported, only ws"))),
            None => return Err(wrong("it does not begin with ws://")),
        }
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("a user name has no place in it"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong("it names no host"));
        }
        let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
            None => 80,
            Some(text) => match text.parse() {
                Ok(port @ 1..) => port,
                _ => return Err(wrong(&format!("port {text:?} is not allowed, only 1 to 65535"))),
            },
        };
        let path = match uri.path_and_query().map(hyper::http::uri::PathAndQuery::as_str) {
            None | Some("" | "/") => "/ws",
            Some(path) => path,
        };
        Ok(Address { host: host.into(), port, path: path.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_with_its_defaults() {
        for (url, host, port, path, shown) in [
            ("ws://127.0.0.1:8765/ws", "127.0.0.1", 8765, "/ws", "ws://127.0.0.1:8765/ws"),
            ("ws://localhost:1", "localhost", 1, "/ws", "ws://localhost:1/ws"),
            ("ws://example.org", "example.org", 80, "/ws", "ws://example.org/ws"),
            ("ws://example.org/a/b?c=d", "example.org", 80, "/a/b?c=d", "ws://example.org/a/b?c=d"),
            ("ws://[::1]:8765/", "::1", 8765, "/ws", "ws://[::1]:8765/ws"),
            ("WS://h:80/x", "h", 80, "/x", "ws://h/x"),
        ] {
            let address: Address = url.parse().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((address.host(), address.port(), address.path()), (host, port, path), "{url}");
            assert_eq!(address.to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_is_wrong() {
        for (url, fault) in [
            ("wss://h/ws", "wss (TLS) is not supported"),
            ("http://h/ws", "scheme \"http\" is not supported"),
            ("127.0.0.1:8765", "does not begin with ws://"),
            ("", ""),
            ("ws://", ""),
            ("ws://:8765/ws", ""),
            ("ws://h:0/ws", "port \"0\" is not allowed"),
            ("ws://h:65536/ws", ""),
            ("ws://h:x/ws", ""),
            ("ws://user@h/ws", "user name"),
            ("ws://h/ws#x", "fragment"),
            ("ws://h/a b", ""),
            ("ws://h/a\r\nX: y", ""),
        ] {
            let error = url.parse::<Address>().expect_err(url);
            let text = error.to_string();
            assert!(text.contains(fault) && text.contains(&format!("{url:?}")), "{text}");
        }
    }
}
