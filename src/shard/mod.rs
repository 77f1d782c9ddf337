//! The hot room: sessions, subscriptions, books, on one thread without a lock.

mod core;
mod delivery;
mod handle;
mod line;
mod market;
mod outbox;
mod reader;
mod requests;
mod session;
mod thread;
mod timers;
mod topic;
mod window;

pub use self::core::{Core, CoreSettings, SlowConsumer};
pub use handle::{
    Answer, Arrival, Connection, ConnectionStream, Letter, Listing, Protocol, Query, Seat, ShardHandle,
    mailbox,
};
pub use outbox::{Offer, Outbox};
pub use thread::Shard;
pub use topic::SessionId;
