//! A market that another program publishes, through standard input or a Unix socket.
//!
//! [`Live`] is a [`Source`]. A thread of its own reads: a feed file as a stream, or JSON lines (`docs/live.md`). What it
//! reads it hands over in a bounded queue; when that is full it reads no further, so that the writer waits.

mod lines;
mod reading;
mod resting;
mod socket;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, OnceLock};

use crossbeam_utils::sync::Unparker;

use self::reading::Reading;
use self::socket::Listener;
use crate::clock::Clock;
use crate::feed::FeedError;
use crate::limits;
use crate::model::{Catalog, CatalogError, Primary, ResetReason};
use crate::source::{Next, Source, SourceError};
use crate::stats::LiveStats;

/// Where the market comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveInput {
    /// Standard input; its end is the end of the market.
    Stdin,
    /// A Unix socket of this path: one writer at a time, and after it the next, in a new epoch.
    Unix(PathBuf),
}

/// Neither `stdin` nor `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("source: {0:?}; allowed: {ALLOWED}")]
pub struct LiveInputError(String);

/// What [`LiveInput::from_str`] takes, in words.
pub const ALLOWED: &str = "stdin or unix:PATH";

impl FromStr for LiveInput {
    type Err = LiveInputError;

    fn from_str(text: &str) -> Result<LiveInput, LiveInputError> {
        match (text, text.strip_prefix("unix:")) {
            ("stdin", _) => Ok(LiveInput::Stdin),
            (_, Some(path)) if !path.is_empty() => Ok(LiveInput::Unix(path.into())),
            _ => Err(LiveInputError(text.into())),
        }
    }
}

impl fmt::Display for LiveInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LiveInput::Stdin => f.write_str("stdin"),
            LiveInput::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why there is no market to be had of a writer.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The operating system refused.
    #[error("cannot {action} {input}: {error}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// Where.
        input: String,
        /// What the system said.
        error: io::Error,
    },
    /// A server that lives has the socket, or it is no socket.
    #[error("{path} is {what}; name another path")]
    Taken {
        /// The path.
        path: String,
        /// What is there.
        what: &'static str,
    },
    /// Neither of the two formats.
    #[error(
        "{input} starts with byte {found:#04x}; expected a feed file (\"TICKFEED\") or JSON lines (\"{{\")"
    )]
    Foreign {
        /// Where.
        input: String,
        /// The first byte.
        found: u8,
    },
    /// A feed file that is damaged.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// It ended before it said its instruments.
    #[error("{input} ended before it said its instruments")]
    NoInstruments {
        /// Where.
        input: String,
    },
    /// The instruments cannot be understood.
    #[error("{input}, line {line}: {problem}")]
    Instruments {
        /// Where.
        input: String,
        /// The line's number, from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// A list of instruments that is no catalog.
    #[error("{input}: {error}")]
    Catalog {
        /// Where.
        input: String,
        /// What is wrong with it.
        error: CatalogError,
    },
    /// A later writer with other instruments than the first.
    #[error(
        "{input}: instrument {symbol:?} is not as the first writer said it; start the server anew for other instruments"
    )]
    Changed {
        /// Where.
        input: String,
        /// The instrument.
        symbol: String,
    },
}

/// What the reading thread says.
enum Said {
    /// Records, as a rule whole exchange events.
    Records(Vec<Primary>),
    /// Another writer begins.
    Restart,
    /// There is no more.
    Ended,
    /// There cannot be more.
    Failed(LiveError),
}

/// A market that another program publishes.
pub struct Live {
    catalog: Arc<Catalog>,
    said: Receiver<Said>,
    /// What could not be told with the records before it.
    held: Option<Said>,
    ended: bool,
    waker: Arc<OnceLock<Unparker>>,
    stats: Arc<LiveStats>,
    /// Stops listening where there is a socket.
    _socket: Option<socket::Closer>,
}

/// Wakes the pump when something was read.
#[derive(Clone, Debug)]
pub struct LiveHandle(Arc<OnceLock<Unparker>>);

impl LiveHandle {
    /// Says whom to wake, and wakes it: something may have been read before.
    pub fn attach(&self, pump: Unparker) {
        self.0.get_or_init(|| pump).unpark();
    }
}

impl LiveInput {
    /// Removes the socket of a market whose first writer never came, when the process is about to end.
    pub fn give_up(&self) {
        if let LiveInput::Unix(path) = self {
            // One that is not there needs no removing.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Live {
    /// Opens the input and waits until a writer has said its instruments. Blocks the thread.
    pub fn open(input: &LiveInput) -> Result<Live, LiveError> {
        let (say, said) = sync_channel(limits::LIVE_QUEUE_CHUNKS_MAX);
        let (tell, told) = sync_channel(1);
        let waker = Arc::<OnceLock<Unparker>>::default();
        let stats = Arc::<LiveStats>::default();
        let listener = match input {
            LiveInput::Stdin => None,
            LiveInput::Unix(path) => Some(Listener::bind(path)?),
        };
        let closer = listener.as_ref().map(Listener::closer);
        let reading =
            Reading::new(input.to_string(), Clock::start(), stats.clone(), say, waker.clone(), tell);
        let thread = std::thread::Builder::new().name("live".into()).spawn(move || match listener {
            None => reading.stdin(),
            Some(listener) => reading.socket(&listener),
        });
        let input = input.to_string();
        tracing::info!(input, "waiting for a writer that says its instruments");
        thread.map_err(|error| LiveError::Io {
            action: "start a thread for",
            input: input.clone(),
            error,
        })?;
        let catalog = told.recv().unwrap_or(Err(LiveError::NoInstruments { input }))?;
        Ok(Live { catalog, said, held: None, ended: false, waker, stats, _socket: closer })
    }

    /// A handle that connects it with what asks it.
    pub fn handle(&self) -> LiveHandle {
        LiveHandle(self.waker.clone())
    }

    /// What is counted of it.
    pub fn stats(&self) -> Arc<LiveStats> {
        self.stats.clone()
    }
}

impl Source for Live {
    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.clone()
    }

    fn poll(&mut self, _now_ns: u64, out: &mut Vec<Primary>) -> Result<Next, SourceError> {
        let before = out.len();
        while !self.ended && out.len() - before < limits::SOURCE_BATCH_MAX {
            let said = match self.held.take() {
                Some(said) => said,
                None => match self.said.try_recv() {
                    Ok(said) => said,
                    Err(TryRecvError::Empty) => return Ok(Next::Idle),
                    Err(TryRecvError::Disconnected) => Said::Ended,
                },
            };
            match said {
                Said::Records(records) => out.extend(records),
                // What was said before it belongs to what ends here.
                said if out.len() > before => {
                    self.held = Some(said);
                    return Ok(Next::Now);
                }
                Said::Restart => return Ok(Next::Reset(ResetReason::Restart)),
                Said::Ended => self.ended = true,
                Said::Failed(error) => return Err(error.into()),
            }
        }
        Ok(if self.ended { Next::Ended } else { Next::Now })
    }
}
