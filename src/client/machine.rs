//! The client without its socket and its clock: what comes from the server goes in, updates and requests come out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashSet;
use serde::Serialize;

use super::control::Control;
use super::entry::Outcome;
use super::mirror::Mirror;
use super::resync::Resyncs;
use super::subscription::{From, Names};
use super::{BookView, Disconnect, Ledger, Listing, OrdersView, Staleness, Standing, Subscription, Update};
use crate::limits;
use crate::model::{Bar, Channel, Period, Quote, Status, Ticker};
use crate::wire::control::Notice;

/// Everything that a client of one server does, but for reading and writing, waiting and connecting.
///
/// Whoever drives it says [`connected`](Machine::connected) and [`disconnected`](Machine::disconnected), hands in each
/// message whole ([`text`](Machine::text), [`binary`](Machine::binary)), calls [`wake`](Machine::wake) at the time that
/// [`due`](Machine::due) names, sends what [`request`](Machine::request) gives, and takes what [`update`](Machine::update)
/// gives. Where one of these is an error the connection is to be ended, and `disconnected` to be said.
///
/// Times are monotonic nanoseconds from any start. What comes out depends on what goes in, and on nothing else.
///
/// [`Client`](super::Client) is this with a socket, a clock and patience.
#[derive(Debug)]
pub struct Machine {
    /// What to subscribe to on every connection, by number. What was refused for good or given up is gone.
    subscriptions: BTreeMap<usize, Subscription>,
    /// The number of the next subscription.
    number_next: usize,
    mirror: Mirror,
    /// What has happened and was not taken yet.
    outcome: Outcome,
    connection: Option<Connection>,
    /// Time between two reports of progress, if a subscription wants them.
    report_interval_ns: Option<u64>,
}

/// What is known of the present connection.
#[derive(Debug)]
struct Connection {
    /// Requests to send.
    requests: VecDeque<String>,
    /// The subscription that a request without its whole answer belongs to, by its `id`, and the symbols where it asks
    /// for a part of them. Resubscriptions belong to none.
    asked: BTreeMap<u64, (usize, Option<Vec<String>>)>,
    id_next: u64,
    resyncs: Resyncs,
    /// Time between two heartbeats.
    heartbeat_ns: u64,
    /// When the last message came.
    heard_ns: u64,
    /// Whether two heartbeats were missed since.
    is_silent: bool,
    /// Whether the server calls its source silent.
    source_is_silent: bool,
    /// Messages of this connection.
    received: u64,
    /// How many of them the server was told of.
    reported: u64,
    /// The earliest time of the next report.
    report_ns: u64,
    /// Whether a report is to be sent.
    reports: bool,
}

impl Connection {
    fn is_stale(&self) -> bool {
        self.is_silent || self.source_is_silent
    }

    fn ask(&mut self, request: impl FnOnce(u64) -> String) -> u64 {
        let id = self.id_next;
        self.id_next += 1;
        self.requests.push_back(request(id));
        id
    }
}

impl Machine {
    /// A machine that will ask for these subscriptions on every connection.
    pub fn new(subscriptions: impl IntoIterator<Item = Subscription>) -> Machine {
        let subscriptions: BTreeMap<usize, Subscription> = subscriptions.into_iter().enumerate().collect();
        let mut machine = Machine {
            number_next: subscriptions.len(),
            subscriptions,
            mirror: Mirror::default(),
            outcome: Outcome::default(),
            connection: None,
            report_interval_ns: None,
        };
        machine.set_report_interval();
        machine
    }

    /// A connection stands: everything is asked for, and where something is held, from there on.
    ///
    /// A stream that two subscriptions name is not resumed, since the second of them would begin it anew: it gets a
    /// snapshot.
    pub fn connected(&mut self, now_ns: u64) {
        if self.connection.is_some() {
            self.disconnected();
        }
        let mut connection = Connection {
            requests: VecDeque::new(),
            asked: BTreeMap::new(),
            id_next: self.number_next as u64,
            resyncs: Resyncs::default(),
            heartbeat_ns: limits::CLIENT_HEARTBEAT_MS * 1_000_000,
            heard_ns: now_ns,
            is_silent: false,
            source_is_silent: false,
            received: 0,
            reported: 0,
            report_ns: now_ns.saturating_add(self.report_interval_ns.unwrap_or(0)),
            reports: false,
        };
        let mut held = self.held();
        let mut resumed: Vec<(String, &str)> = Vec::new();
        for (&number, subscription) in &self.subscriptions {
            let requests = subscription.requests(&held.remove(&number).unwrap_or_default());
            let is_divided = requests.len() > 1;
            for (part, (symbols, from)) in requests.into_iter().enumerate() {
                resumed.extend(from.iter().map(|from| (from.symbol.to_owned(), from.channel)));
                let id = if part == 0 {
                    // The first request of a subscription has its number, so that a log can be read.
                    connection.requests.push_back(subscription.request(number as u64, &symbols, &from));
                    number as u64
                } else {
                    connection.ask(|id| subscription.request(id, &symbols, &from))
                };
                connection.asked.insert(id, (number, is_divided.then(|| owned(&symbols))));
            }
        }
        for (symbol, channel) in resumed {
            self.mirror.resuming(&symbol, channel);
        }
        self.connection = Some(connection);
    }

    /// The connection is gone. What is held is kept, and stale.
    pub fn disconnected(&mut self) {
        self.connection = None;
        self.outcome.resyncs.clear();
        self.mirror.disconnected();
    }

    /// Asks for something more, now and on every later connection; its number. It begins anew what it names and the
    /// client has already.
    pub fn subscribe(&mut self, subscription: Subscription) -> usize {
        let number = self.number_next;
        self.number_next += 1;
        if let Some(connection) = &mut self.connection {
            let requests = subscription.requests(&[]);
            let is_divided = requests.len() > 1;
            for (symbols, from) in requests {
                let id = connection.ask(|id| subscription.request(id, &symbols, &from));
                connection.asked.insert(id, (number, is_divided.then(|| owned(&symbols))));
            }
        }
        self.subscriptions.insert(number, subscription);
        self.set_report_interval();
        number
    }

    /// Gives a subscription up, by its number: the streams that it names end, whoever else names them.
    pub fn unsubscribe(&mut self, number: usize) {
        #[derive(Serialize)]
        struct Unsubscribe<'a> {
            op: &'static str,
            id: u64,
            symbols: &'a [&'a str],
            channels: &'a [&'static str],
        }
        let Some(subscription) = self.subscriptions.remove(&number) else { return };
        self.set_report_interval();
        let Some(connection) = &mut self.connection else { return };
        let channels: Vec<&str> = subscription.channels.iter().map(|channel| channel.name()).collect();
        for (symbols, _) in subscription.requests(&[]) {
            connection.ask(|id| {
                let request = Unsubscribe { op: "unsubscribe", id, symbols: &symbols, channels: &channels };
                serde_json::to_string(&request).expect("strings and numbers are JSON")
            });
        }
    }

    /// The next request to send, in order.
    pub fn request(&mut self) -> Option<String> {
        let connection = self.connection.as_mut()?;
        if let Some(request) = connection.requests.pop_front() {
            return Some(request);
        }
        // As late as can be: the number is that of now.
        std::mem::take(&mut connection.reports).then(|| {
            connection.reported = connection.received;
            format!(r#"{{"op":"progress","received":{}}}"#, connection.received)
        })
    }

    /// Whether [`Machine::request`] has one.
    pub fn has_request(&self) -> bool {
        self.connection.as_ref().is_some_and(|it| it.reports || !it.requests.is_empty())
    }

    /// The next update, in the order in which things happened.
    pub fn update(&mut self) -> Option<Update> {
        self.outcome.updates.pop_front()
    }

    /// A text message came.
    ///
    /// # Errors
    /// It is nothing that a server of this protocol sends.
    pub fn text(&mut self, text: &[u8], now_ns: u64) -> Result<(), Disconnect> {
        self.hear(now_ns);
        let control = serde_json::from_slice(text)
            .map_err(|error| Disconnect::Protocol(format!("a control message cannot be read: {error}")))?;
        self.control(control)?;
        self.act(now_ns);
        Ok(())
    }

    /// A binary message came.
    ///
    /// # Errors
    /// It is nothing that a server of this protocol sends.
    pub fn binary(&mut self, payload: &[u8], now_ns: u64) -> Result<(), Disconnect> {
        self.hear(now_ns);
        self.mirror.frame(payload, &mut self.outcome)?;
        self.act(now_ns);
        Ok(())
    }

    /// When [`Machine::wake`] has something to do, unless a message comes before; `None`: without a connection.
    pub fn due(&self) -> Option<u64> {
        let connection = self.connection.as_ref()?;
        let missed = if connection.is_silent { 3 } else { 2 };
        let silence = connection.heard_ns.saturating_add(missed * connection.heartbeat_ns);
        [Some(silence), connection.resyncs.due(), self.report_due()].into_iter().flatten().min()
    }

    /// Does what is due: subscribes again, reports progress, notices silence.
    ///
    /// # Errors
    /// Nothing has come for three heartbeats: the connection is dead.
    pub fn wake(&mut self, now_ns: u64) -> Result<(), Disconnect> {
        self.act(now_ns);
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let silence = now_ns.saturating_sub(connection.heard_ns);
        if silence >= 3 * connection.heartbeat_ns {
            return Err(Disconnect::Silent(Duration::from_nanos(3 * connection.heartbeat_ns)));
        }
        if silence >= 2 * connection.heartbeat_ns && !connection.is_silent {
            connection.is_silent = true;
            let why = Staleness::Silent(Duration::from_nanos(2 * connection.heartbeat_ns));
            self.outcome.updates.push_back(Update::Stale { why });
        }
        Ok(())
    }

    /// The book of an instrument, if one is held: its snapshot here and no gap since, unless the server declared it.
    /// What an earlier connection told is kept until the present one continues it, or replaces it.
    pub fn book(&self, symbol: &str) -> Option<BookView<'_>> {
        let view = self.mirror.entry(symbol)?.book()?;
        Some(BookView { stale: view.stale || self.all_is_stale(), ..view })
    }

    /// The resting orders of an instrument, if they are held.
    pub fn orders(&self, symbol: &str) -> Option<OrdersView<'_>> {
        let view = self.mirror.entry(symbol)?.orders()?;
        Some(OrdersView { stale: view.stale || self.all_is_stale(), ..view })
    }

    /// The last best bid and ask.
    pub fn quote(&self, symbol: &str) -> Option<Quote> {
        self.mirror.entry(symbol)?.quote
    }

    /// The last price message.
    pub fn ticker(&self, symbol: &str) -> Option<Ticker> {
        self.mirror.entry(symbol)?.ticker
    }

    /// The last status.
    pub fn status(&self, symbol: &str) -> Option<Status> {
        self.mirror.entry(symbol)?.status
    }

    /// The last bar of a period, running or complete.
    pub fn bar(&self, symbol: &str, period: Period) -> Option<Bar> {
        self.mirror.entry(symbol)?.bar(period)
    }

    /// An instrument that was granted.
    pub fn listing(&self, symbol: &str) -> Option<&Arc<Listing>> {
        Some(&self.mirror.entry(symbol)?.listing)
    }

    /// Whether what is held of a stream may be old: without a connection; after two heartbeats of silence; while the
    /// server calls its source silent; on a new connection until it has continued the stream (by a reset, a snapshot,
    /// the next message, or a heartbeat that names the sequence held); after a declared gap until the next message.
    pub fn is_stale(&self, symbol: &str, channel: Channel) -> bool {
        let stream = self.mirror.entry(symbol).and_then(|entry| entry.stream(channel));
        self.all_is_stale() || stream.is_none_or(|stream| stream.stale)
    }

    /// Where the client stands in every stream that was ever granted, in the order of the first grants.
    pub fn standings(&self) -> impl Iterator<Item = Standing<'_>> {
        let stale = self.all_is_stale();
        self.mirror.standings().map(move |standing| Standing { stale: standing.stale || stale, ..standing })
    }

    /// What became of the sequences of a stream, over all connections.
    pub fn ledger(&self, symbol: &str, channel: Channel) -> Option<Ledger> {
        Some(self.mirror.entry(symbol)?.stream(channel)?.ledger)
    }

    /// The sum over all streams.
    pub fn ledger_sum(&self) -> Ledger {
        self.mirror.standings().map(|standing| standing.ledger).sum()
    }

    /// Messages received on this connection, text and binary.
    pub fn received(&self) -> u64 {
        self.connection.as_ref().map_or(0, |connection| connection.received)
    }

    fn all_is_stale(&self) -> bool {
        self.connection.as_ref().is_none_or(Connection::is_stale)
    }

    /// For each subscription, what is held of the streams that it alone names, in the order of symbols and channels.
    fn held(&self) -> BTreeMap<usize, Vec<From<'_>>> {
        let subscriptions = self.subscriptions.iter();
        let live: Vec<(usize, Names<'_>)> =
            subscriptions.map(|(number, it)| (*number, Names::of(it))).collect();
        let mut held: BTreeMap<usize, Vec<From<'_>>> = BTreeMap::new();
        for standing in self.mirror.standings().filter(|standing| standing.ready) {
            let Standing { symbol, channel, epoch, seq, .. } = standing;
            let mut naming = live.iter().filter(|(_, names)| names.contain(symbol, channel));
            if let (Some((number, _)), None) = (naming.next(), naming.next()) {
                held.entry(*number).or_default().push(From { symbol, channel: channel.name(), epoch, seq });
            }
        }
        // Not the order of the grants, which differs from server to server.
        held.values_mut().for_each(|held| held.sort_by_key(|from| (from.symbol, from.channel)));
        held
    }

    /// Something came: the server lives.
    fn hear(&mut self, now_ns: u64) {
        let Some(connection) = &mut self.connection else { return };
        connection.received += 1;
        connection.heard_ns = now_ns;
        if std::mem::take(&mut connection.is_silent) {
            self.outcome.updates.push_back(match connection.source_is_silent {
                true => Update::Stale { why: Staleness::Source },
                false => Update::Live,
            });
        }
    }

    fn control(&mut self, control: Control) -> Result<(), Disconnect> {
        let updates = &mut self.outcome.updates;
        match control {
            Control::Welcome { server, epoch, heartbeat_ms } => {
                if let Some(connection) = &mut self.connection {
                    let believed = limits::CLIENT_HEARTBEAT_MS_MIN..=limits::CLIENT_HEARTBEAT_MS_MAX;
                    connection.heartbeat_ns =
                        heartbeat_ms.clamp(*believed.start(), *believed.end()) * 1_000_000;
                }
                updates.push_back(Update::Connected { server, epoch });
            }
            Control::Notice { code, message } => {
                let source_is_silent = match &code {
                    code if code == Notice::Stale.code() => Some(true),
                    code if code == Notice::Live.code() => Some(false),
                    _ => None,
                };
                updates.push_back(Update::Notice { code, message });
                if let (Some(connection), Some(now)) = (&mut self.connection, source_is_silent) {
                    let before = std::mem::replace(&mut connection.source_is_silent, now);
                    match (before, now) {
                        (false, true) => updates.push_back(Update::Stale { why: Staleness::Source }),
                        (true, false) => updates.push_back(Update::Live),
                        _ => {}
                    }
                }
            }
            Control::Error { id, code, message, retry } => {
                let asked = self.connection.as_mut().map(|connection| &mut connection.asked);
                let refused = id.zip(asked).and_then(|(id, asked)| asked.remove(&id));
                let subscription = refused.as_ref().map(|(subscription, _)| *subscription);
                if let Some((subscription, symbols)) = refused.filter(|_| !retry) {
                    self.give_up(subscription, symbols);
                }
                self.outcome.updates.push_back(Update::Refused { subscription, code, message, retry });
            }
            control => {
                if let Control::Subscribed { id: Some(id), more: false, .. } = &control
                    && let Some(connection) = &mut self.connection
                {
                    connection.asked.remove(id);
                }
                self.mirror.control(control, &mut self.outcome)?;
            }
        }
        Ok(())
    }

    /// A subscription was refused for good: all of it, or these of its symbols.
    fn give_up(&mut self, subscription: usize, symbols: Option<Vec<String>>) {
        let Some(wanted) = self.subscriptions.get_mut(&subscription) else { return };
        match symbols {
            Some(symbols) => {
                let refused: FxHashSet<String> = symbols.into_iter().collect();
                wanted.symbols.retain(|symbol| !refused.contains(symbol));
            }
            None => wanted.symbols.clear(),
        }
        if wanted.symbols.is_empty() {
            self.subscriptions.remove(&subscription);
        }
        self.set_report_interval();
    }

    /// Turns what is wanted and due into requests.
    fn act(&mut self, now_ns: u64) {
        let report = self.report_due().filter(|due| *due <= now_ns).and(self.report_interval_ns);
        let Some(connection) = &mut self.connection else { return };
        for (listing, channel) in self.outcome.resyncs.drain(..) {
            connection.resyncs.want((listing.symbol.clone(), channel), now_ns);
        }
        let due = connection.resyncs.take(now_ns);
        let subscriptions = self.subscriptions.values().rev().filter(|_| !due.is_empty());
        let named: Vec<(&Subscription, Names<'_>)> = subscriptions.map(|it| (it, Names::of(it))).collect();
        for (symbol, channel) in due {
            // What granted it last is what it is to be again.
            if let Some((subscription, _)) = named.iter().find(|(_, names)| names.contain(&symbol, channel)) {
                let again = Subscription { symbols: Vec::new(), channels: vec![channel], ..**subscription };
                connection.ask(|id| again.request(id, &[&symbol], &[]));
            }
        }
        if let Some(interval) = report {
            connection.reports = true;
            connection.report_ns = now_ns.saturating_add(interval);
        }
    }

    /// When to report progress: where a subscription wants it, there is something to report and no report is waiting.
    fn report_due(&self) -> Option<u64> {
        let connection = self.connection.as_ref()?;
        self.report_interval_ns?;
        (!connection.reports && connection.received > connection.reported).then_some(connection.report_ns)
    }

    fn set_report_interval(&mut self) {
        let least = Duration::from_millis(limits::CLIENT_PROGRESS_MS_MIN);
        let interval = self.subscriptions.values().filter_map(|it| it.progress).min();
        self.report_interval_ns =
            interval.map(|interval| u64::try_from(interval.max(least).as_nanos()).unwrap_or(u64::MAX));
    }
}

fn owned(symbols: &[&str]) -> Vec<String> {
    symbols.iter().map(|symbol| (*symbol).to_owned()).collect()
}

#[cfg(test)]
mod tests;
