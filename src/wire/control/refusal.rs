//! The errors that answer requests.

use std::fmt;

use super::request::RequestId;
use crate::limits;
use crate::model::Channel;

/// What an `error` says went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// No JSON object, a key missing, a value of a wrong type or out of range.
    BadRequest,
    /// The `op` does not exist.
    UnknownOp,
    /// No instrument has the symbol.
    UnknownSymbol,
    /// The channel does not exist.
    UnknownChannel,
    /// More than a limit of `welcome` allows.
    LimitExceeded,
    /// It exists, but not here: a channel that an instrument lacks, or what this server does not offer.
    Unavailable,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [ErrorCode; 6] = [
        ErrorCode::BadRequest,
        ErrorCode::UnknownOp,
        ErrorCode::UnknownSymbol,
        ErrorCode::UnknownChannel,
        ErrorCode::LimitExceeded,
        ErrorCode::Unavailable,
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            ErrorCode::BadRequest => "bad_request",
            ErrorCode::UnknownOp => "unknown_op",
            ErrorCode::UnknownSymbol => "unknown_symbol",
            ErrorCode::UnknownChannel => "unknown_channel",
            ErrorCode::LimitExceeded => "limit_exceeded",
            ErrorCode::Unavailable => "unavailable",
        }
    }
}

/// A request that is not carried out, none of it. It is answered with `error`; the connection stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Of the request, where it had one that could be read.
    pub id: Option<RequestId>,
    /// What is wrong.
    pub code: ErrorCode,
    /// The thing, its value, and what is allowed.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retry: bool,
}

impl Refusal {
    /// A refusal of what will not succeed as it stands.
    pub fn new(id: Option<RequestId>, code: ErrorCode, message: String) -> Refusal {
        Refusal { id, code, message, retry: false }
    }

    /// No instrument has this symbol.
    pub fn unknown_symbol(id: Option<RequestId>, symbol: &str) -> Refusal {
        let message =
            format!("symbol {} is unknown; {{\"op\":\"list\"}} names those there are", Excerpt(symbol));
        Refusal::new(id, ErrorCode::UnknownSymbol, message)
    }

    /// The instrument lacks this channel.
    pub fn channel_unavailable(id: Option<RequestId>, symbol: &str, channel: Channel) -> Refusal {
        let message = format!(
            "{symbol} has no channel {channel:?}; {{\"op\":\"list\"}} names the channels of each instrument",
            channel = channel.name()
        );
        Refusal::new(id, ErrorCode::Unavailable, message)
    }

    /// More than a limit allows: what there would be, and the limit.
    pub fn limit_exceeded(id: Option<RequestId>, what: &str, value: usize, max: usize) -> Refusal {
        Refusal::new(id, ErrorCode::LimitExceeded, format!("{value} {what}; at most {max} are allowed"))
    }
}

/// What a client sent, quoted and cut to a length that fits a message and a log line.
pub(super) struct Excerpt<'a>(pub(super) &'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(limits::QUOTED_CHARS_MAX) {
            Some((end, _)) => write!(f, "{:?} (cut, {} bytes)", &self.0[..end], self.0.len()),
            None => write!(f, "{:?}", self.0),
        }
    }
}

/// The same without quotes, for a number: ASCII only.
pub(super) struct Bare<'a>(pub(super) &'a str);

impl fmt::Display for Bare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.get(..limits::QUOTED_CHARS_MAX) {
            Some(start) => write!(f, "{start}... ({} digits)", self.0.len()),
            None => f.write_str(self.0),
        }
    }
}
