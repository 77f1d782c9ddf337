//! The client itself: connects, subscribes, mirrors, comes back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::control::Control;
use super::link::{Incoming, Link, Outgoing};
use super::mirror::Mirror;
use super::resync::Resyncs;
use super::{
    Address, AddressError, Backoff, BookView, ConnectError, Disconnect, Listing, Subscription, Update,
};
use crate::limits;
use crate::model::{Channel, Quote, Status, Ticker};

/// A client of one server: a row of updates, and the state that they add up to.
///
/// It works only while [`Client::next`] is awaited, beside a task that reads ahead up to
/// [`limits::CLIENT_INCOMING_MAX`] messages and one that writes.
#[derive(Debug)]
pub struct Client {
    address: Address,
    /// What to subscribe to on every connection; `None`: refused for good.
    subscriptions: Vec<Option<Subscription>>,
    mirror: Mirror,
    backoff: Backoff,
    /// Updates not yet handed out: at the most those of one message.
    ready: VecDeque<Update>,
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
    /// Requests that wait for a place in the link's queue: the subscriptions, then resubscriptions.
    requests: VecDeque<String>,
    resyncs: Resyncs,
    /// `id` of the next request; those below the number of subscriptions are theirs.
    id_next: u64,
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
            subscriptions: subscriptions.into_iter().map(Some).collect(),
            mirror: Mirror::default(),
            backoff,
            ready: VecDeque::new(),
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
            if let Some(update) = self.ready.pop_front() {
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
                    if let Some(message) = live.step(&self.mirror).await {
                        self.take(message);
                    }
                }
                State::Over(why) => return Err(why.take().map_or(ClientError::Ended, ClientError::Final)),
            }
        }
    }

    /// The book of an instrument, if it is known now: subscribed to, its snapshot here, no gap since.
    pub fn book(&self, symbol: &str) -> Option<BookView<'_>> {
        self.mirror.book(symbol)
    }

    /// The last best bid and ask of this connection.
    pub fn quote(&self, symbol: &str) -> Option<Quote> {
        self.mirror.quote(symbol)
    }

    /// The last price message of this connection.
    pub fn ticker(&self, symbol: &str) -> Option<Ticker> {
        self.mirror.ticker(symbol)
    }

    /// The last status of this connection.
    pub fn status(&self, symbol: &str) -> Option<Status> {
        self.mirror.status(symbol)
    }

    /// An instrument that was granted.
    pub fn listing(&self, symbol: &str) -> Option<&Arc<Listing>> {
        self.mirror.listing(symbol)
    }

    /// Ends with a close frame, and waits until it is written. (Dropped, the client closes too, if its runtime lives
    /// long enough.)
    pub async fn close(self) {
        if let State::Live(live) = self.state {
            live.link.close().await;
        }
    }

    fn begin(&mut self, link: Link) {
        let subscriptions = self.subscriptions.iter().zip(0..);
        let requests = subscriptions
            .filter_map(|(subscription, id)| subscription.as_ref().map(|it| it.request(id)))
            .collect();
        let id_next = self.subscriptions.len() as u64;
        self.state = State::Live(Box::new(Live { link, requests, resyncs: Resyncs::default(), id_next }));
    }

    fn end(&mut self, why: Disconnect) {
        self.mirror.disconnected();
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
            self.ready.push_back(Update::Disconnected { why, retry_in });
        } else {
            self.state = State::Over(Some(why));
        }
    }

    fn take(&mut self, message: Incoming) {
        let known = self.ready.len();
        let taken = match message {
            Incoming::Text(text) => match serde_json::from_slice(&text) {
                Ok(control) => self.control(control),
                Err(error) => Err(Disconnect::Protocol(format!("a control message cannot be read: {error}"))),
            },
            Incoming::Binary(payload) => self.mirror.frame(&payload, &mut self.ready),
            Incoming::Ended(why) => Err(why),
        };
        if let Err(why) = taken {
            return self.end(why);
        }
        let State::Live(live) = &mut self.state else { return };
        for update in self.ready.range(known..) {
            let (listing, channel) = match update {
                Update::Gap { listing, channel, resync: true, .. } => (listing, *channel),
                Update::Mismatch { listing, .. } => (listing, Channel::Book),
                _ => continue,
            };
            live.resyncs.want((listing.symbol.clone(), channel), Instant::now());
        }
    }

    fn control(&mut self, control: Control) -> Result<(), Disconnect> {
        match control {
            Control::Welcome { server, epoch, heartbeat_ms } => {
                if let State::Live(live) = &self.state {
                    live.expect_heartbeats(heartbeat_ms);
                }
                self.ready.push_back(Update::Connected { server, epoch });
            }
            Control::Notice { code, message } => self.ready.push_back(Update::Notice { code, message }),
            Control::Error { id, code, message, retry } => {
                let subscription = id
                    .and_then(|id| usize::try_from(id).ok())
                    .filter(|&subscription| subscription < self.subscriptions.len());
                if let Some(subscription) = subscription.filter(|_| !retry) {
                    self.subscriptions[subscription] = None;
                }
                self.ready.push_back(Update::Refused { subscription, code, message, retry });
            }
            control => self.mirror.control(control, &mut self.ready)?,
        }
        Ok(())
    }
}

impl Live {
    /// Two heartbeats missed are a dead connection.
    fn expect_heartbeats(&self, heartbeat_ms: u64) {
        let believed = limits::CLIENT_HEARTBEAT_MS_MIN..=limits::CLIENT_HEARTBEAT_MS_MAX;
        let heartbeat_ms = heartbeat_ms.clamp(*believed.start(), *believed.end());
        self.link.silence.send_replace(Duration::from_millis(2 * heartbeat_ms));
    }

    /// Waits for a message, a place for a request, or the time of a resubscription, and does one of them. Everything
    /// awaited may be dropped.
    async fn step(&mut self, mirror: &Mirror) -> Option<Incoming> {
        let due = self.resyncs.due();
        let Live { link, requests, resyncs, id_next } = self;
        tokio::select! {
            biased;
            permit = link.outgoing.reserve(), if !requests.is_empty() => {
                // No permit: the writer is gone, and the reader tells why.
                match (permit, requests.pop_front()) {
                    (Ok(permit), Some(request)) => permit.send(Outgoing::Text(request)),
                    _ => requests.clear(),
                }
                None
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                for (symbol, channel) in resyncs.take(Instant::now()) {
                    let Some((depth, interval_ms)) = mirror.view(&symbol, channel) else { continue };
                    let subscription =
                        Subscription { symbols: vec![symbol], channels: vec![channel], depth, interval_ms };
                    requests.push_back(subscription.request(*id_next));
                    *id_next += 1;
                }
                None
            }
            message = link.incoming.recv() => {
                Some(message.unwrap_or_else(|| Incoming::Ended(Disconnect::Lost("the reader ended".into()))))
            }
        }
    }
}

#[cfg(test)]
mod tests;
