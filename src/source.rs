//! Everything that makes events.

mod control;

use std::sync::Arc;

use crate::model::{Catalog, Primary, ResetReason};

pub use control::{ReplayAction, ReplayControl, Stepping};

/// What a source wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// There is more to say at once.
    Now,
    /// Nothing before this time (nanoseconds, on the clock of `now_ns`).
    At(u64),
    /// Nothing until somebody wakes the source's thread (a paused replay).
    Idle,
    /// History ends here: what follows belongs to a new epoch, every book starts empty.
    Reset(ResetReason),
    /// There is no more.
    Ended,
}

/// Why a source cannot go on. The message names the thing, the value and what is allowed.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// A market: simulated, replayed, or your own.
///
/// A source knows no clock, no socket and no thread: it is asked again and again what has happened by `now_ns`
/// (monotonic nanoseconds since the start), and says when it wants to be asked next.
///
/// # A live feed of your own
///
/// [`crate::node::start_with`] serves any source. It says what happened as [`Primary`] records; quotes, tickers and
/// sequences are derived from them. `examples/own_source.rs`, in full, plugs in a feed that comes through a channel
/// from a thread of its own:
///
/// ```no_run
#[doc = include_str!("../examples/own_source.rs")]
/// ```
pub trait Source: Send {
    /// The instruments, known before the first event.
    fn catalog(&self) -> Arc<Catalog>;

    /// Appends what has happened by `now_ns` to `out`: whole exchange events, the last primary of each flagged
    /// [`crate::model::primary_flags::LAST`]; at most about [`crate::limits::SOURCE_BATCH_MAX`] records a call.
    fn poll(&mut self, now_ns: u64, out: &mut Vec<Primary>) -> Result<Next, SourceError>;
}
