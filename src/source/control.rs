//! How a replay is steered by those who know nothing else of it.

/// What a replay is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayAction {
    /// Go on, or begin.
    Play,
    /// Stand still.
    Pause,
    /// Show the books as they stood at a time, and go on from there.
    Seek {
        /// Nanoseconds since the Unix epoch.
        time_ns: u64,
    },
    /// Go at this pace: a decimal number of times real time, or `max`, as it was written.
    Speed(String),
    /// Stand still, but for the next exchange events.
    Step {
        /// How many.
        events: u32,
    },
}

/// A replay that can be steered while it runs, from any thread.
pub trait ReplayControl: std::fmt::Debug + Send + Sync {
    /// What it does now, as a JSON object.
    fn state(&self) -> String;

    /// Does it, or sees to it that it is done.
    ///
    /// # Errors
    /// A value that is not allowed: the message names it and says what is.
    fn steer(&self, action: &ReplayAction) -> Result<(), String>;
}
