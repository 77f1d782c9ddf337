//! The client itself: connects, subscribes, mirrors, comes back.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::link::{Incoming, Link, Outgoing};
use super::{
    Address, AddressError, Backoff, BookView, ConnectError, Disconnect, Ledger, Listing, Machine,
    Subscription, Update,
};
use crate::limits;
use crate::model::{Quote, Status, Ticker};

/// A client of one server: a row of updates, and the state that they add up to.
///
/// It works only while [`Client::next`] is awaited, beside a task that reads ahead up to
/// [`limits::CLIENT_INCOMING_MAX`] messages and one that writes.
#[derive(Debug)]
pub struct Client {
    address: Address,
    machine: Machine,
    /// Where the machine's time begins.
    start: Instant,
    backoff: Backoff,
    /// The end of a connection, to be told after what the machine has to tell of it.
    ended: Option<Update>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Connects at this time.
    Waiting(Instant),
    /// One task that connects.
    Connecting(JoinSet<Result<Link, ConnectError>>),
    Live(Box<Live>),
    /// No further attempt; why, until it has been told.
    Over(Option<Disconnect>),
}

#[derive(Debug)]
struct Live {
    link: Link,
    /// Whether the link still writes.
    can_write: bool,
}

/// What a live connection has come to.
enum Step {
    Nothing,
    Message(Incoming),
    Wake,
}

/// Why a client has nothing more to tell.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection ended in a way that connecting again would only repeat.
    #[error(transparent)]
    Final(Disconnect),
    /// It said so before.
    #[error("the client has ended")]
    Ended,
}

impl Client {
    /// A client of the server at `url` (`ws://host:port/path`). It connects with the first [`Client::next`].
    ///
    /// # Errors
    /// The URL is none of a server.
    pub fn connect(
        url: &str,
        subscriptions: impl IntoIterator<Item = Subscription>,
    ) -> Result<Client, AddressError> {
        let backoff = Backoff::new(
            Duration::from_millis(limits::CLIENT_BACKOFF_BASE_MS),
            Duration::from_millis(limits::CLIENT_BACKOFF_MS_MAX),
            rand::random(),
        );
        Ok(Client {
            address: url.parse()?,
            machine: Machine::new(subscriptions),
            start: Instant::now(),
            backoff,
            ended: None,
            state: State::Waiting(Instant::now()),
        })
    }

    /// The same with other waiting times between two connections.
    pub fn with_backoff(self, backoff: Backoff) -> Client {
        Client { backoff, ..self }
    }

    /// Where it connects to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The next update, in the order in which the server told them. It may be dropped and called again at any time
    /// (in `select!`): nothing is lost.
    ///
    /// # Errors
    /// No further connection will be made: the server refuses this client, or a close code says not to come back.
    pub async fn next(&mut self) -> Result<Update, ClientError> {
        loop {
            if let Some(update) = self.machine.update().or_else(|| self.ended.take()) {
                return Ok(update);
            }
            match &mut self.state {
                State::Waiting(until) => {
                    sleep_until(*until).await;
                    let address = self.address.clone();
                    let mut connecting = JoinSet::new();
                    connecting.spawn(async move { Link::open(&address).await });
                    self.state = State::Connecting(connecting);
                }
                State::Connecting(connecting) => match connecting.join_next().await {
                    Some(Ok(Ok(link))) => self.begin(link),
                    Some(Ok(Err(error))) => self.end(error.into()),
                    // The task cannot be cancelled while it is in the set, and a fault in it is ours.
                    Some(Err(_)) | None => self.end(Disconnect::Lost("connecting failed".into())),
                },
                State::Live(live) => {
                    let step = live.step(&mut self.machine, self.start).await;
                    self.take(step);
                }
                State::Over(why) => return Err(why.take().map_or(ClientError::Ended, ClientError::Final)),
            }
        }
    }

    /// The state that the updates so far add up to: books, quotes, ledgers.
    pub fn state(&self) -> &Machine {
        &self.machine
    }

    /// See [`Machine::book`].
    pub fn book(&self, symbol: &str) -> Option<BookView<'_>> {
        self.machine.book(symbol)
    }

    /// See [`Machine::quote`].
    pub fn quote(&self, symbol: &str) -> Option<Quote> {
        self.machine.quote(symbol)
    }

    /// See [`Machine::ticker`].
    pub fn ticker(&self, symbol: &str) -> Option<Ticker> {
        self.machine.ticker(symbol)
    }

    /// See [`Machine::status`].
    pub fn status(&self, symbol: &str) -> Option<Status> {
        self.machine.status(symbol)
    }

    /// See [`Machine::ledger_sum`].
    pub fn ledger_sum(&self) -> Ledger {
        self.machine.ledger_sum()
    }

    /// See [`Machine::listing`].
    pub fn listing(&self, symbol: &str) -> Option<&Arc<Listing>> {
        self.machine.listing(symbol)
    }

    /// See [`Machine::subscribe`].
    pub fn subscribe(&mut self, subscription: Subscription) -> usize {
        self.machine.subscribe(subscription)
    }

    /// See [`Machine::unsubscribe`].
    pub fn unsubscribe(&mut self, number: usize) {
        self.machine.unsubscribe(number);
    }

    /// Ends with a close frame, and waits until it is written. (Dropped, the client closes too, if its runtime lives
    /// long enough.)
    pub async fn close(self) {
        if let State::Live(live) = self.state {
            live.link.close().await;
        }
    }

    fn begin(&mut self, link: Link) {
        self.machine.connected(self.now_ns());
        self.state = State::Live(Box::new(Live { link, can_write: true }));
    }

    fn end(&mut self, why: Disconnect) {
        self.machine.disconnected();
        if let State::Live(live) = &self.state {
            if matches!(why, Disconnect::Protocol(_) | Disconnect::Decode(_)) {
                // Only a courtesy: with a full queue the close frame goes out without its reason.
                let _ = live.link.outgoing.try_send(Outgoing::Close(1002));
            }
            if live.link.since.elapsed() >= Duration::from_millis(limits::CLIENT_STEADY_MS) {
                self.backoff.reset();
            }
        }
        if why.may_pass() {
            let retry_in = self.backoff.delay(why.retry_after());
            self.state = State::Waiting(Instant::now() + retry_in);
            self.ended = Some(Update::Disconnected { why, retry_in });
        } else {
            self.state = State::Over(Some(why));
        }
    }

    fn take(&mut self, step: Step) {
        let now_ns = self.now_ns();
        let taken = match step {
            Step::Nothing => Ok(()),
            Step::Wake => self.machine.wake(now_ns),
            Step::Message(Incoming::Text(text)) => self.machine.text(&text, now_ns),
            Step::Message(Incoming::Binary(payload)) => self.machine.binary(&payload, now_ns),
            Step::Message(Incoming::Ended(why)) => Err(why),
        };
        if let Err(why) = taken {
            self.end(why);
        }
    }

    /// Monotonic nanoseconds, as the machine counts.
    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Live {
    /// Waits for a place for a request, for a message, or for the time to wake the machine. Everything awaited may be
    /// dropped. Messages go before the time: what has come but was not read is no silence.
    async fn step(&mut self, machine: &mut Machine, start: Instant) -> Step {
        let due = machine.due().map(|due_ns| start + Duration::from_nanos(due_ns));
        let Live { link, can_write } = self;
        tokio::select! {
            biased;
            permit = link.outgoing.reserve(), if *can_write && machine.has_request() => {
                match (permit, machine.request()) {
                    (Ok(permit), Some(request)) => permit.send(Outgoing::Text(request)),
                    // The writer is gone, and the reader tells why.
                    _ => *can_write = false,
                }
                Step::Nothing
            }
            message = link.incoming.recv() => Step::Message(
                message.unwrap_or_else(|| Incoming::Ended(Disconnect::Lost("the reader ended".into()))),
            ),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Step::Wake,
        }
    }
}

#[cfg(test)]
mod tests;
