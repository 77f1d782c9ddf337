//! Somebody in the world: a client that checks, how fast it reads, and what it remembers when it comes back.

use std::collections::VecDeque;

use rand::RngExt;
use rand_pcg::Pcg64;
use tickcast::model::Catalog;
use tickcast::shard::Terms;

use super::client::Client;
use super::counts::Counts;
use super::node::Node;
use super::oracle::{Oracle, StreamKey};
use super::requests::{Asked, Subscribe};
use super::stream::{Around, State, Stream, View};
use super::world::MILLISECOND_NS;

/// How fast somebody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Everything at once.
    All,
    /// So many bytes each time.
    Crawls(usize),
    /// Nothing.
    Stalls,
}

/// What is remembered of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Remembered {
    pub key: StreamKey,
    pub view: View,
    pub epoch: u64,
    pub seq: u64,
    pub wants_snapshot: bool,
}

#[derive(Debug)]
pub struct Player {
    terms: Terms,
    pub client: Client,
    /// The shard that has its session.
    pub node: usize,
    pub session: Option<u64>,
    pub reading: Reading,
    /// Bytes that its kernel takes.
    pub capacity: usize,
    /// Requests that the server has not read.
    outgoing: VecDeque<String>,
    /// Whether it answers pings.
    pub answers: bool,
    /// Nanoseconds between two reports of progress; `None`: it reports none.
    pub reports_every_ns: Option<u64>,
    reported: (u64, u64),
    /// Whether it was ever slow: else the server must never find it so.
    pub was_slow: bool,
    /// What it held when the last connection ended.
    pub remembers: Vec<Remembered>,
    /// What earlier connections counted.
    earlier: Counts,
}

impl Player {
    pub fn new(terms: Terms, node: usize) -> Player {
        Player {
            terms,
            client: Client::new(terms),
            node,
            session: None,
            reading: Reading::All,
            capacity: usize::MAX,
            outgoing: VecDeque::new(),
            answers: true,
            reports_every_ns: None,
            reported: (0, 0),
            was_slow: false,
            remembers: Vec::new(),
            earlier: Counts::default(),
        }
    }

    pub fn connect(&mut self, node: &mut Node, now_ns: u64) {
        let before = std::mem::replace(&mut self.client, Client::new(self.terms));
        self.earlier.add(&before.counts);
        self.earlier.connections += 1;
        self.session = Some(node.open(self.terms, self.capacity, now_ns));
        self.outgoing.clear();
        self.reported = (0, now_ns);
    }

    /// The connection breaks: what was underway is lost.
    pub fn disconnect(&mut self, node: &mut Node) {
        let Some(session) = self.session.take() else { return };
        node.remove(session);
        node.lines.get_mut(&session).unwrap().kernel.clear();
        self.remember();
    }

    fn remember(&mut self) {
        let remembered = self.client.streams.values().filter_map(|stream| {
            let Stream { key, view, epoch, wants_snapshot, .. } = *stream;
            match stream.state {
                State::At(seq) => Some(Remembered { key, view, epoch, seq, wants_snapshot }),
                _ => None,
            }
        });
        self.remembers = remembered.collect();
    }

    pub fn ask(&mut self, asked: Asked, catalog: &Catalog, now_ns: u64) {
        let text = self.client.ask(asked, catalog, now_ns);
        self.outgoing.push_back(text);
    }

    /// Asks for a stream that it had, from a sequence.
    pub fn resume(
        &mut self,
        node: &Node,
        it: &Remembered,
        from: Option<(u64, u64)>,
        catalog: &Catalog,
        now_ns: u64,
    ) {
        let asked = Subscribe {
            symbols: vec![catalog.instruments()[it.key.0 as usize].symbol.clone()],
            channels: vec![it.key.1],
            depth: it.view.depth,
            interval_ms: it.view.interval_ms,
            period: it.view.period,
            snapshot: Some(it.wants_snapshot),
            never: false,
            is_ahead: from.is_some_and(|(epoch, seq)| node.ring.reached(epoch, it.key) < seq),
            from: from.map(|(epoch, seq)| (it.key, epoch, seq)).into_iter().collect(),
        };
        self.ask(Asked::Subscribe(asked), catalog, now_ns);
    }

    /// Says something that is no request of the protocol's.
    pub fn say(&mut self, text: &str) {
        self.outgoing.push_back(text.to_owned());
    }

    /// Reads, answers and asks.
    pub fn play(
        &mut self,
        node: &mut Node,
        oracle: &Oracle,
        catalog: &Catalog,
        random: &mut Pcg64,
        now_ns: u64,
        trace: &mut u64,
    ) {
        let Some(session) = self.session else { return };
        let mut budget = match self.reading {
            Reading::All => usize::MAX,
            Reading::Crawls(bytes) => bytes,
            Reading::Stalls => 0,
        };
        loop {
            let line = node.lines.get_mut(&session).unwrap();
            let waits = line.kernel.len().min(budget);
            // Any split.
            let take = if waits == 0 { 0 } else { random.random_range(1..waits + 1) };
            let bytes: Vec<u8> = line.kernel.drain(..take).collect();
            budget -= take;
            for byte in now_ns.to_le_bytes().iter().chain(&bytes) {
                *trace = (*trace ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
            }
            let kept = |epoch, stream, seq| node.ring.keeps(epoch, stream, seq);
            let around = Around { oracle, conflated: false, kept: &kept, now_ns };
            self.client.read(&bytes, catalog, &around);
            if self.client.close.is_some() {
                return self.is_closed(node, now_ns);
            }
            node.writable(session, now_ns);
            self.answer(session, node, now_ns);
            let line = &node.lines[&session];
            if !line.is_open && line.kernel.is_empty() {
                // The server has given it up.
                self.session = None;
                return self.remember();
            }
            if line.kernel.is_empty() || budget == 0 {
                return;
            }
        }
    }

    fn is_closed(&mut self, node: &mut Node, now_ns: u64) {
        let (code, reason) = self.client.close.clone().unwrap();
        match code {
            4008 => {
                assert!(self.was_slow || node.is_small(), "it was never slow: {reason}");
                assert!(reason.contains("resume with \"from\" in epoch"), "{reason}");
                self.client.counts.closed_too_slow += 1;
            }
            1001 => {
                assert!(!self.answers || self.was_slow, "{reason}");
                self.client.counts.closed_silent += 1;
            }
            other => panic!("closed with {other} at {now_ns}: {reason}"),
        }
        node.remove(self.session.take().unwrap());
        self.remember();
    }

    /// Answers pings, reports progress, sends what the server reads.
    fn answer(&mut self, session: u64, node: &mut Node, now_ns: u64) {
        if !node.lines[&session].is_open {
            return;
        }
        if self.answers && std::mem::take(&mut self.client.pings) > 0 {
            node.pong(session);
        }
        while let Some(request) = self.outgoing.front() {
            if !node.request(session, request, now_ns) {
                break;
            }
            self.outgoing.pop_front();
        }
        let (reported, at_ns) = self.reported;
        if let Some(every_ns) = self.reports_every_ns
            && self.client.received > reported
            && now_ns >= at_ns + every_ns
        {
            let report = format!(r#"{{"op":"progress","received":{}}}"#, self.client.received);
            if node.request(session, &report, now_ns) {
                self.reported = (self.client.received, now_ns);
                self.client.counts.reports += 1;
            }
        }
    }

    /// From now on it takes everything.
    pub fn reads_all(&mut self) {
        (self.reading, self.capacity) = (Reading::All, usize::MAX);
        self.answers = true;
        if self.reports_every_ns.is_some() {
            self.reports_every_ns = Some(200 * MILLISECOND_NS);
        }
    }

    /// Whether it has been told all that was to be told it.
    pub fn is_quiet(&self) -> bool {
        let is_told = |stream: &Stream| match stream.state {
            State::At(_) => true,
            State::Awaits { or, .. } => or.is_some(),
            State::Ahead(_) => false,
        };
        let idles = self.outgoing.is_empty() && self.client.is_answered() && !self.client.is_conflated;
        self.session.is_none() || (idles && self.client.streams.values().all(is_told))
    }

    /// Every stream holds what was published last.
    pub fn holds_the_present(&self, oracle: &Oracle) {
        if self.session.is_none() {
            return;
        }
        for stream in self.client.streams.values() {
            assert_eq!(stream.epoch, oracle.epoch(stream.key.0), "{stream:?}");
            stream.is_complete(oracle.last(stream.epoch, stream.key), oracle);
        }
    }

    /// Where nothing is underway, what the core says of the session is what the client found. Whether that was so.
    pub fn audit(&mut self, node: &Node) -> bool {
        let Some(session) = self.session else { return true };
        let line = &node.lines[&session];
        if !line.is_open || !line.kernel.is_empty() || !self.client.is_answered() {
            return false;
        }
        let connection = node.connection(session, usize::MAX);
        if connection.waiting_bytes > 0 {
            return false;
        }
        assert_eq!(connection.frames, self.client.received, "messages");
        assert_eq!(connection.conflating, self.client.is_conflated, "{connection:?}");
        assert_eq!(connection.subscriptions, self.client.streams.len());
        for it in connection.streams.unwrap() {
            let stream = &self.client.streams[&(it.instrument, it.channel)];
            if stream.was_given_up {
                continue;
            }
            assert_eq!([it.delivered, it.merged, it.lost], stream.ledger, "the ledger of {stream:?}");
            if let State::At(seq) = stream.state {
                assert_eq!((it.epoch, it.seq), (stream.epoch, seq), "{stream:?}");
            }
            self.client.counts.ledgers_compared += 1;
        }
        true
    }

    /// What this and earlier connections counted.
    pub fn counts(&self) -> Counts {
        let mut counts = self.earlier.clone();
        counts.add(&self.client.counts);
        counts
    }
}
