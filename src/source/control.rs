//! How a replay is steered by those who know nothing else of it.

use tokio::sync::watch;

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

    /// Does it, or sees to it that it is done; of steps it says when they are.
    ///
    /// # Errors
    /// A value that is not allowed: the message names it and says what is.
    fn steer(&self, action: &ReplayAction) -> Result<Option<Stepping>, String>;
}

/// Steps that a replay was asked for.
#[derive(Clone, Debug)]
pub struct Stepping {
    /// The number of the last command that was done.
    done: watch::Receiver<u64>,
    /// The number of the command.
    number: u64,
}

impl Stepping {
    /// Over once `done` tells of command `number` or a later one.
    pub fn new(done: watch::Receiver<u64>, number: u64) -> Stepping {
        Stepping { done, number }
    }

    /// Waits until the steps are made, or there was nothing left to step to. A replay that waits for its clients makes
    /// them when they have room, so give up after a time.
    pub async fn over(mut self) {
        let number = self.number;
        // A replay that is gone makes no steps.
        let _ = self.done.wait_for(|done| *done >= number).await;
    }
}
