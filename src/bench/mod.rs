//! The load generator behind `tickcast bench`.
//!
//! It is open: what it measures is what the server sends by itself, on the server's schedule, and no client waits for
//! another. Each message's sequences are checked, and each checksum, so that a figure is only a figure where nothing
//! was lost. One thread reads as many connections as it can (`threads` in [`Plan`]), without a task or a copy for each.

mod check;
mod connect;
mod connection;
mod frames;
mod meter;
mod outcome;
mod page;
mod plan;
mod plot;
mod run;
mod server;
mod surges;
mod text;
mod worker;
mod workload;

pub use crate::plot::count;
pub use outcome::{CaughtUp, Environment, Faults, Outcome, Percentiles, ServerUse, Slice, Slow, Tally};
pub use page::{Plot, page, plots};
pub use plan::{Plan, Protocol, Reading, Target};
pub use run::{BenchError, Stage, run};
pub use workload::{WORKLOADS, Workload};

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Fault {
    /// What came is not what a Tickcast server sends.
    #[error("the server breaks the protocol: {0}")]
    Protocol(String),
    /// The server refused a request.
    #[error("the server refuses the subscription: {code}: {message}")]
    Refused {
        /// The code.
        code: String,
        /// In words.
        message: String,
    },
    /// The server has nothing of what was asked for.
    #[error("no symbol has these channels")]
    Nothing,
    /// The connection was closed, or broke.
    #[error("closed by the server: {0}")]
    Closed(String),
}

impl Fault {
    fn protocol(what: impl Into<String>) -> Fault {
        Fault::Protocol(what.into())
    }
}
