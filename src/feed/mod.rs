//! Feed files: what a source said, kept, and said again.
//!
//! [`mod@format`] is the bytes; [`Writer`] and [`Reader`] put them on a disk and take them from there; [`Replay`] is a
//! [`crate::source::Source`] over one or more files; [`import`] makes feed files of foreign recordings; [`export`]
//! makes tables and foreign recordings of them; [`inspect`] tells what is in one, [`verify`] whether it is whole, and
//! [`repair`] saves what a crash left. Nothing here knows a socket, and nothing but the command line's progress reads a clock.

mod columns;
#[cfg(feature = "dbn")]
mod databento;
mod error;
pub mod export;
pub mod format;
mod handle;
pub mod import;
pub mod inspect;
mod keyframe;
mod pace;
mod payload;
mod reader;
pub mod repair;
mod replay;
mod running;
mod stream;
mod time;
pub mod verify;
mod walk;
mod writer;

pub use error::{Fault, FeedError};
pub use format::{Description, Loss, loss_reason};
pub use handle::{ReplayHandle, ReplayState, ReplayStatus};
pub use keyframe::KeyframeSettings;
pub use pace::{Pacer, Speed, SpeedError};
pub use reader::{Keyframe, LossAt, Reader};
pub use replay::{Replay, ReplaySettings};
pub use stream::StreamReader;
pub use time::{TIME_FORMS, parse_time_ns, rfc3339};
pub use writer::{Sink, Writer, Written};

use crate::model::{ABSENT_TIME, Primary};

/// The time by which a record is paced: when it was received where the source says so, else when it happened; `None`
/// where the source says neither.
pub fn pacing_time_ns(primary: &Primary) -> Option<u64> {
    [primary.ts_recv_ns, primary.ts_event_ns].into_iter().find(|time| *time != ABSENT_TIME)
}
