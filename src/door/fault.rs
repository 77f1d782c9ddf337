//! Answers that refuse, in the shape of the protocol's `error` message.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::routes::{JSON, respond};

/// A refusal: status, and the body `{"type":"error","code":…,"message":…,"retry":…}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The HTTP status.
    pub status: StatusCode,
    /// One of the protocol's error codes.
    pub code: &'static str,
    /// The thing, the value and what is allowed.
    pub message: Cow<'static, str>,
    /// Header lines that go with the status.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Fault {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Fault {
        Fault { status, code, message: message.into(), headers: Vec::new() }
    }

    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Fault {
        Fault::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Fault {
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message).with("retry-after", "1")
    }

    pub fn full(message: impl Into<Cow<'static, str>>) -> Fault {
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, "limit_exceeded", message).with("retry-after", "1")
    }

    pub fn with(mut self, name: &'static str, value: &'static str) -> Fault {
        self.headers.push((HeaderName::from_static(name), HeaderValue::from_static(value)));
        self
    }

    /// The answer. `retry` is true where the same request may succeed later: with 503 and 408.
    pub fn response(self) -> Response<Full<Bytes>> {
        let retry = matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::REQUEST_TIMEOUT);
        let body = json!({"type": "error", "code": self.code, "message": self.message, "retry": retry});
        let mut response = respond(self.status, JSON, body.to_string());
        response.headers_mut().extend(self.headers);
        response
    }
}

/// A value for a message: quoted, cut where it is long.
pub(super) fn shown(value: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 64;
    match value.char_indices().nth(SHOWN_CHARS_MAX) {
        None => format!("{value:?}"),
        Some((end, _)) => format!("{:?}…", &value[..end]),
    }
}
