//! Control: what clients ask and what the server answers, one JSON object a text frame (`docs/protocol.md`,
//! "Requests" and "Replies").

mod close;
mod refusal;
mod reply;
mod request;

pub use close::{Close, Duty};
pub use refusal::{ErrorCode, Refusal};
pub use reply::{
    Ended, Entry, Granted, Listed, Notice, Page, Position, WelcomeLimits, error, gap, notice, pong, replay,
    reset, welcome,
};
pub use request::{
    Command, Conflate, DEPTHS, From, INTERVALS_MS, Request, RequestId, SERVED, Subscribe, parse,
    parse_action, round_depth, round_interval,
};

#[cfg(test)]
mod tests;
