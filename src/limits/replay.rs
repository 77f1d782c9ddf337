//! Bounds of replays, and of what feed files hold for them.

use std::time::Duration;

/// Records between two keyframes of a feed file, at the least: a seek reads about that many, some hundredths of a second
/// of work.
pub const FEED_KEYFRAME_RECORDS: u64 = 65_536;

/// Records between two keyframes for each record of the second, at the least. What stands packs to half the bytes of
/// what happens or less, so keyframes take up to 3 % of a file.
pub const FEED_KEYFRAME_SHARE: u64 = 16;

/// Nanoseconds by which a record's time may be ahead of all before without being looked at: a replay that waits that long
/// for nothing stands still for nobody.
pub const FEED_LEAP_NS: u64 = 1_000_000_000;

/// Times behind a record by which it is told whether its time counts. Where up to half as many records in a row have
/// a wrong time, it does not.
pub const FEED_LEAP_TIMES: usize = 1_024;

/// Feed files that one replay merges. Each costs a descriptor and up to some megabytes.
pub const REPLAY_FILES_MAX: usize = 256;

/// What the longest wait of a replay may be set to. Below a millisecond it would not be noticed.
pub const REPLAY_IDLE_MIN: Duration = Duration::from_millis(1);
/// A day: recordings that are silent for longer need no bound.
pub const REPLAY_IDLE_MAX: Duration = Duration::from_hours(24);

/// Exchange events that one request may have a paused replay send.
pub const REPLAY_STEP_EVENTS_MAX: u32 = 1_000_000;

/// Records that a seek passes over before it gives way: a few milliseconds of work, after which another seek or the
/// server's end is heard.
pub const REPLAY_PASS_RECORDS: usize = 16_384;

/// Nanoseconds that one pass of a looped, timed replay takes at the least, so that a recording without any duration
/// does not announce a new epoch in every breath.
pub const REPLAY_PASS_NS_MIN: u64 = 1_000_000;

/// Losses declared in one feed file that a replay logs one by one.
pub const REPLAY_LOSSES_LOGGED: usize = 100;
