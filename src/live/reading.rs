//! The thread that reads what writers say.

use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, OnceLock};

use crossbeam_utils::sync::Unparker;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::lines::{Lines, REPORT_NS};
use super::socket::Listener;
use super::{LiveError, Said};
use crate::clock::Clock;
use crate::feed::StreamReader;
use crate::limits;
use crate::model::{Catalog, Primary};
use crate::stats::LiveStats;

/// Bytes read at once.
const BUFFER_BYTES: usize = 256 * 1_024;

/// The server is gone: there is nobody to read for.
struct Gone;

/// How a writer's stream ended before its end.
enum Stop {
    Gone,
    Failed(LiveError),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Stop {
        Stop::Gone
    }
}

impl<E: Into<LiveError>> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop::Failed(error.into())
    }
}

/// Reads writers, one after the other, and says what they say.
pub(super) struct Reading {
    input: String,
    clock: Clock,
    stats: Arc<LiveStats>,
    say: SyncSender<Said>,
    waker: Arc<OnceLock<Unparker>>,
    /// Tells the instruments of the first writer, once.
    tell: Option<SyncSender<Result<Arc<Catalog>, LiveError>>>,
    /// The instruments of the first writer.
    catalog: Option<Arc<Catalog>>,
    /// A later writer has not said anything yet.
    restarts: bool,
}

impl Reading {
    pub fn new(
        input: String,
        clock: Clock,
        stats: Arc<LiveStats>,
        say: SyncSender<Said>,
        waker: Arc<OnceLock<Unparker>>,
        tell: SyncSender<Result<Arc<Catalog>, LiveError>>,
    ) -> Reading {
        Reading { input, clock, stats, say, waker, tell: Some(tell), catalog: None, restarts: false }
    }

    /// Reads standard input to its end.
    pub fn stdin(mut self) {
        let end = match self.stream(io::stdin()) {
            Ok(()) => Said::Ended,
            Err(Stop::Gone) => return,
            Err(Stop::Failed(error)) => match self.tell.take() {
                Some(tell) => {
                    // The server that is not started hears why.
                    let _ = tell.send(Err(error));
                    return;
                }
                None => Said::Failed(error),
            },
        };
        // A server that is gone needs no end.
        let _ = self.say(end);
    }

    /// Reads whoever connects, until the socket is closed.
    pub fn socket(mut self, listener: &Listener) {
        while let Some(stream) = listener.accept() {
            let read = stream
                .map_err(|error| Stop::Failed(self.io("accept a writer at", error)))
                .and_then(|stream| self.stream(stream));
            match read {
                Ok(()) => tracing::info!(input = self.input, "the writer is gone; the next may connect"),
                Err(Stop::Gone) => return,
                Err(Stop::Failed(error)) => {
                    tracing::warn!("{error}; the writer was let go, the next may connect");
                }
            }
            self.restarts = self.catalog.is_some();
        }
    }

    /// Reads one writer to its end.
    fn stream(&mut self, input: impl Read + AsFd) -> Result<(), Stop> {
        let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
        let start = input.fill_buf().map_err(|error| self.io("read", error))?;
        match start.first() {
            // The first writer is waited for by a server that has not started.
            None if self.catalog.is_none() => {
                Err(LiveError::NoInstruments { input: self.input.clone() }.into())
            }
            None => Ok(()),
            Some(b'T') => self.blocks(input),
            Some(b'{' | b' ' | b'\t' | b'\r' | b'\n') => self.lines(input),
            Some(found) => Err(LiveError::Foreign { input: self.input.clone(), found: *found }.into()),
        }
    }

    fn blocks(&mut self, input: impl BufRead) -> Result<(), Stop> {
        let mut reader = StreamReader::new(input, self.input.clone())?;
        let numbers = self.numbers(reader.catalog().clone())?;
        while let Some(block) = reader.next_block()? {
            for part in block.chunks(limits::LIVE_CHUNK_RECORDS_MAX) {
                let renumbered = part
                    .iter()
                    .map(|primary| Primary { instrument: numbers[primary.instrument as usize], ..*primary });
                self.say(Said::Records(renumbered.collect()))?;
            }
        }
        Ok(())
    }

    fn lines(&mut self, mut input: BufReader<impl Read + AsFd>) -> Result<(), Stop> {
        let mut lines = Lines::new(self.input.clone(), self.stats.clone());
        let mut text = Vec::new();
        let said = loop {
            if !self.next_line(&mut input, &mut text, &mut lines)? {
                return Err(LiveError::NoInstruments { input: self.input.clone() }.into());
            }
            if let Some(catalog) = lines.instruments(&text)? {
                break Arc::new(catalog);
            }
        };
        self.numbers(said)?;
        let mut records = Vec::new();
        loop {
            report_in_time(&input, &mut lines);
            if !self.next_line(&mut input, &mut text, &mut lines)? {
                break;
            }
            let Some(catalog) = &self.catalog else { return Ok(()) };
            lines.message(&text, catalog, self.clock.unix_ns(), &mut records);
            // What was read at once is handed over at once, and so is what nothing follows yet.
            if records.len() >= limits::LIVE_CHUNK_RECORDS_MAX || !input.buffer().contains(&b'\n') {
                for chunk in records.chunks(limits::LIVE_CHUNK_RECORDS_MAX) {
                    self.say(Said::Records(chunk.to_vec()))?;
                }
                records.clear();
            }
        }
        lines.report_rest();
        Ok(())
    }

    /// Takes the next line that is not too long; false at the end.
    fn next_line(
        &self,
        input: &mut impl BufRead,
        text: &mut Vec<u8>,
        lines: &mut Lines,
    ) -> Result<bool, LiveError> {
        loop {
            text.clear();
            let bytes = limits::LIVE_LINE_BYTES_MAX as u64;
            let failed = |error| self.io("read", error);
            let read = input.take(bytes + 1).read_until(b'\n', text).map_err(failed)?;
            if read as u64 <= bytes || text.ends_with(b"\n") {
                return Ok(read > 0);
            }
            lines.too_long(self.clock.unix_ns());
            // The rest of it, a piece at a time.
            while !text.ends_with(b"\n") && !text.is_empty() {
                text.clear();
                input.take(bytes).read_until(b'\n', text).map_err(failed)?;
            }
        }
    }

    /// Takes the writer's instruments for the market's, if it is the first, else finds them there: the number of each of
    /// them in the catalog.
    fn numbers(&mut self, said: Arc<Catalog>) -> Result<Vec<u32>, Stop> {
        let Some(catalog) = &self.catalog else {
            self.catalog = Some(said.clone());
            if let Some(tell) = self.tell.take() {
                tell.send(Ok(said.clone())).map_err(|_| Stop::Gone)?;
            }
            return Ok((0..said.len() as u32).collect());
        };
        let number = |(_, instrument): (u32, &crate::model::Instrument)| {
            let number = catalog.find(&instrument.symbol).filter(|number| {
                catalog.get(*number).is_some_and(|first| {
                    (first.price_exponent, first.quantity_exponent, first.channels)
                        == (instrument.price_exponent, instrument.quantity_exponent, instrument.channels)
                })
            });
            number.ok_or_else(|| LiveError::Changed {
                input: self.input.clone(),
                symbol: instrument.symbol.clone(),
            })
        };
        let numbers = said.iter().map(number).collect::<Result<Vec<u32>, LiveError>>()?;
        if std::mem::take(&mut self.restarts) {
            self.say(Said::Restart)?;
        }
        Ok(numbers)
    }

    /// Waits while the queue is full.
    fn say(&self, said: Said) -> Result<(), Gone> {
        self.say.send(said).map_err(|_| Gone)?;
        if let Some(pump) = self.waker.get() {
            pump.unpark();
        }
        Ok(())
    }

    fn io(&self, action: &'static str, error: io::Error) -> LiveError {
        LiveError::Io { action, input: self.input.clone(), error }
    }
}

/// Tells of the last lines that were refused where nothing comes for a second.
fn report_in_time(input: &BufReader<impl Read + AsFd>, lines: &mut Lines) {
    if !lines.has_rest() || input.buffer().contains(&b'\n') {
        return;
    }
    let patience = Timespec { tv_sec: (REPORT_NS / 1_000_000_000) as i64, tv_nsec: 0 };
    let mut asked = [PollFd::new(input.get_ref(), PollFlags::IN)];
    // What goes wrong here goes wrong where it is read too.
    if poll(&mut asked, Some(&patience)) == Ok(0) {
        lines.report_rest();
    }
}
