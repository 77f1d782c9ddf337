//! The hot room: sessions, subscriptions, books, on one thread without a lock.

mod ahead;
mod catch_up;
mod compressor;
mod conflate;
mod core;
mod delivery;
mod handle;
mod held;
mod history;
mod intervals;
mod line;
mod market;
mod outbox;
mod progress;
mod queries;
mod rates;
mod reader;
mod requests;
mod session;
mod shared;
mod streams;
mod tally;
mod thread;
mod timers;
mod topic;
mod window;

pub use self::core::{Core, CoreSettings, SlowConsumer};
pub use compressor::CompressionSettings;
pub use handle::{
    Answer, Arrival, Connection, ConnectionStream, Letter, Listing, Protocol, Query, Seat, ShardHandle,
    Terms, mailbox,
};
pub use outbox::{Offer, Outbox};
#[cfg(fuzzing)]
pub use reader::{Incoming, Reader};
pub use thread::Shard;
pub use topic::SessionId;
