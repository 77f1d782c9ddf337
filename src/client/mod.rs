//! The Rust client: connects, subscribes, mirrors books with sequence checks, and comes back after every failure that
//! may pass. It shares the codec (`wire::market`) with the server, and nothing else.
//!
//! [`Client::next`] gives one [`Update`] after the other; between two of them [`Client::book`] and its siblings show
//! the state that the updates so far add up to.
//!
//! What it does by itself:
//!
//! * **Sequences.** Every message is checked against its stream. What is missing is told ([`Update::Gap`]), never
//!   passed over; a book with a gap is unknown ([`Client::book`] is `None`) until the client, which subscribes again
//!   at once, has its snapshot. So is a book whose checksum is not the server's ([`Update::Mismatch`]).
//! * **Silence.** Two heartbeat intervals without a byte are a dead connection.
//! * **Reconnection.** Exponential [`Backoff`] with full jitter, `Retry-After` honoured, every subscription asked for
//!   again. Where reconnecting would only repeat the failure ([`Disconnect::may_pass`]), [`Client::next`] is an error.
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
mod link;
mod mirror;
mod resync;
mod session;
mod stream;
mod update;

#[cfg(test)]
pub(crate) mod scripted;

pub use address::{Address, AddressError};
pub use backoff::Backoff;
pub use connect::{ConnectError, SUBPROTOCOL};
pub use control::Subscription;
pub use mirror::BookView;
pub use session::{Client, ClientError};
pub use update::{Disconnect, Listing, Update};
