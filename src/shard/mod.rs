//! Shards: threads that own sessions.

mod handle;

pub use handle::{Arrival, Letter, Protocol, Query, Seat, ShardHandle, mailbox};
