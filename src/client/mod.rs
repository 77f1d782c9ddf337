//! The Rust client: connects, subscribes, mirrors what it is told with sequence checks, and comes back after every
//! failure that may pass, going on where it was. It shares the codec (`wire::market`) with the server, and nothing else.
//!
//! [`Client::next`] gives one [`Update`] after the other; between two of them [`Client::state`] (and [`Client::book`] and
//! its siblings) show what the updates so far add up to. All of that is [`Machine`], which has no socket and no clock: a
//! program with an event loop of its own, or a simulation, drives it directly.
//!
//! What it does by itself:
//!
//! * **Sequences.** Every message is checked against its stream. What is missing is told ([`Update::Gap`]), never
//!   passed over; a book with a gap that nobody declared is unknown ([`Client::book`] is `None`) until the client, which
//!   subscribes again at once, has its snapshot. So is a book whose checksum is not the server's ([`Update::Mismatch`]),
//!   and orders that cannot follow a change ([`Update::OrderMismatch`]).
//! * **The ledger.** What became of each sequence is counted: delivered, merged, declared lost ([`Ledger`]).
//! * **Staleness.** Two heartbeat intervals without a message: what is held is stale ([`Update::Stale`]). Three: the
//!   connection is dead. So it is stale where the server says that its own source is silent.
//! * **Reconnection.** Exponential [`Backoff`] with full jitter, `Retry-After` honoured. What is held is kept, marked
//!   stale, and every subscription asked for again with `from`, so that the server goes on where the last connection
//!   ended if it still can, and gives a snapshot if not. Where reconnecting would only repeat the failure
//!   ([`Disconnect::may_pass`]), [`Client::next`] is an error.
//!
//! ```no_run
//! use tickcast::client::{Client, Subscription, Update};
//! use tickcast::model::{Channel, Side};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let subscription = Subscription::new(["BTC-USD"], &[Channel::Trades, Channel::Book]).with_depth(10);
//! let mut client = Client::connect("ws://127.0.0.1:8765/ws", [subscription])?;
//! loop {
//!     match client.next().await? {
//!         Update::Trade { listing, trade, .. } => {
//!             let price = listing.price(trade.price).expect("a trade has a price");
//!             println!("{} {price}", listing.symbol);
//!         }
//!         Update::Book { listing, .. } => {
//!             if let Some(view) = client.book(&listing.symbol) {
//!                 println!("best bid {:?} at sequence {}", view.book.best(Side::Bid), view.seq);
//!             }
//!         }
//!         Update::Disconnected { why, retry_in } => eprintln!("{why}; again in {retry_in:?}"),
//!         _ => {}
//!     }
//! }
//! # }
//! ```

mod address;
mod backoff;
mod connect;
mod control;
mod entry;
mod ledger;
mod link;
mod machine;
mod mirror;
mod parts;
mod resync;
mod session;
mod stream;
mod subscription;
mod update;

#[cfg(test)]
pub(crate) mod scripted;

pub use address::{Address, AddressError};
pub use backoff::Backoff;
pub use connect::{ConnectError, SUBPROTOCOL};
pub(crate) use connect::{Dial, Inflating};
pub use ledger::Ledger;
pub use machine::Machine;
pub use mirror::{BookView, OrdersView, Standing};
pub use session::{Client, ClientError};
pub use subscription::Subscription;
pub use update::{Disconnect, Listing, Staleness, Update};
