//! One shard in the world: a core, the events that it has not taken, and the sockets of its sessions. It does what the
//! shard's thread does, in an order that the seed gives.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crossbeam_utils::CachePadded;
use tickcast::limits;
use tickcast::model::{Catalog, Event};
use tickcast::shard::{
    Answer, Connection, Core, CoreSettings, Listing, Offer, Query, SessionId, SlowConsumer, Terms,
};
use tickcast::stats::ShardStats;

use super::ring::Ring;

/// Where every client comes from.
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

const MILLISECOND_NS: u64 = 1_000_000;

/// Chunks after which a batch is flushed and goes on, as that of a shard that has fallen behind.
const FLUSH_CHUNKS: usize = 5;

/// A session's socket: what the kernel has taken and the client has not read.
#[derive(Debug)]
pub struct Line {
    pub kernel: VecDeque<u8>,
    /// Bytes that the kernel takes.
    pub capacity: usize,
    /// Whether a task waits for the kernel to take more.
    pub has_writer: bool,
    /// When a closing session is given up.
    reap_at_ns: Option<u64>,
    /// Bytes that waited after the last write.
    waited: usize,
    /// Whether the core still has it.
    pub is_open: bool,
    /// What the core calls it, which another gets when this one is gone.
    id: SessionId,
}

pub struct Node {
    pub core: Core,
    pub stats: Arc<CachePadded<ShardStats>>,
    pub ring: Ring,
    settings: CoreSettings,
    /// Chunks of events that were published and not taken.
    pub queue: VecDeque<Vec<Event>>,
    /// By the number of the session, which is never given twice.
    pub lines: BTreeMap<u64, Line>,
    /// The number of each session that the core has.
    numbers: BTreeMap<SessionId, u64>,
    /// Bytes of the largest push that is not the client's fault.
    push_bytes_max: usize,
}

impl Node {
    pub fn new(catalog: Arc<Catalog>, epoch: u64, settings: CoreSettings, push_bytes_max: usize) -> Node {
        let stats = Arc::<CachePadded<ShardStats>>::default();
        Node {
            core: Core::new(catalog, epoch, settings, stats.clone()),
            stats,
            ring: Ring::new(settings.ring_bytes, epoch),
            settings,
            queue: VecDeque::new(),
            lines: BTreeMap::new(),
            numbers: BTreeMap::new(),
            push_bytes_max,
        }
    }

    /// A client comes; the number of its session.
    pub fn open(&mut self, terms: Terms, capacity: usize, now_ns: u64) -> u64 {
        let number = self.stats.sessions_opened.get();
        let id = self.core.open(terms, PEER, now_ns, now_ns);
        let line = Line {
            kernel: VecDeque::new(),
            capacity,
            has_writer: false,
            reap_at_ns: None,
            waited: 0,
            is_open: true,
            id,
        };
        self.lines.insert(number, line);
        self.numbers.insert(id, number);
        self.write_dirty(now_ns);
        number
    }

    /// The client is gone.
    pub fn remove(&mut self, session: u64) {
        if let Some(line) = self.lines.get_mut(&session).filter(|line| line.is_open) {
            line.is_open = false;
            self.numbers.remove(&line.id);
            self.core.remove(line.id);
        }
    }

    /// What the core calls a session.
    pub fn id(&self, session: u64) -> SessionId {
        self.lines[&session].id
    }

    pub fn pong(&mut self, session: u64) {
        self.core.pong(self.id(session));
    }

    /// Takes chunks of what was published, and writes.
    pub fn take_batch(&mut self, chunks: usize, now_ns: u64) {
        if self.core.is_blocked() {
            return;
        }
        for taken in 1..=chunks {
            let Some(chunk) = self.queue.pop_front() else { break };
            chunk.iter().for_each(|event| self.ring.take(event));
            self.core.apply(&chunk);
            if taken % FLUSH_CHUNKS == 0 {
                self.core.flush();
                let mut full = Vec::new();
                self.core.take_full(&mut full);
                full.into_iter().for_each(|id| self.write(self.numbers[&id], now_ns));
            }
        }
        self.core.flush();
        self.write_dirty(now_ns);
        // Writers get their turn between batches.
        let writers =
            self.lines.iter().filter(|(_, line)| line.has_writer && line.kernel.len() < line.capacity);
        for session in writers.map(|(&session, _)| session).collect::<Vec<_>>() {
            self.writable(session, now_ns);
        }
    }

    /// Whether outboxes are smaller than a server allows: one batch may fill one, and nobody has to be slow for that.
    pub fn is_small(&self) -> bool {
        self.settings.outbox_bytes < limits::OUTBOX_BYTES_MIN
    }

    /// Lets time pass; `now_ns` goes in steps of [`limits::INTERVAL_MILLISECONDS`].
    pub fn pass(&mut self, now_ns: u64) {
        self.core.tick(now_ns, now_ns, self.queue.is_empty());
        self.write_dirty(now_ns);
        let over = self.lines.iter().filter(|(_, line)| line.reap_at_ns.is_some_and(|at| at <= now_ns));
        for id in over.map(|(&id, _)| id).collect::<Vec<_>>() {
            self.remove(id);
        }
        if self.core.has_intervals() {
            self.core.end_intervals(now_ns);
            self.write_dirty(now_ns);
        }
    }

    /// Hands in what a client sends, if the server reads from it now.
    pub fn request(&mut self, session: u64, text: &str, now_ns: u64) -> bool {
        let reads = self.reads(session);
        if reads {
            self.core.request(self.id(session), text, now_ns);
            self.write_dirty(now_ns);
        }
        reads
    }

    /// Whether the server reads from a client now.
    pub fn reads(&self, session: u64) -> bool {
        let line = &self.lines[&session];
        line.is_open && !self.core.is_busy(line.id) && self.core.closes_within(line.id).is_none()
    }

    pub fn write_dirty(&mut self, now_ns: u64) {
        let mut dirty = Vec::new();
        self.core.send_heartbeats_along(|| now_ns);
        loop {
            self.core.take_dirty(&mut dirty);
            if dirty.is_empty() {
                break;
            }
            for id in dirty.drain(..) {
                self.write(self.numbers[&id], now_ns);
            }
        }
    }

    fn write(&mut self, session: u64, now_ns: u64) {
        let line = &self.lines[&session];
        if line.has_writer {
            self.core.hold(line.id);
        } else {
            self.offer(session, now_ns);
        }
        self.after_write(session, now_ns);
    }

    /// Offers what waits to the kernel, and what is next behind it.
    fn offer(&mut self, session: u64, now_ns: u64) {
        let line = self.lines.get_mut(&session).unwrap();
        let mut scratch = Vec::new();
        let mut send = |bytes: &[u8]| {
            let taken = bytes.len().min(line.capacity.saturating_sub(line.kernel.len()));
            line.kernel.extend(&bytes[..taken]);
            Ok(taken)
        };
        let first = self.core.offer(line.id, now_ns, &mut scratch, &mut send).unwrap();
        line.has_writer = if first == Offer::Blocked || !self.core.advance(line.id) {
            first == Offer::Blocked
        } else {
            self.core.offer(line.id, now_ns, &mut scratch, &mut send).unwrap();
            !self.core.is_answered(line.id)
        };
    }

    /// The client has read: a writing task goes on.
    pub fn writable(&mut self, session: u64, now_ns: u64) {
        let line = &self.lines[&session];
        if line.is_open && line.has_writer {
            self.offer(session, now_ns);
            self.after_write(session, now_ns);
            self.write_dirty(now_ns);
        }
    }

    fn after_write(&mut self, session: u64, now_ns: u64) {
        let waits = self.connection(session, 0).waiting_bytes;
        let line = self.lines.get_mut(&session).unwrap();
        // One batch for a client that had taken everything may pass the bound, and a push that is let in whole while
        // there is room for its start.
        let bound = self.settings.outbox_bytes + self.push_bytes_max;
        let had_taken_all = line.waited == 0 || self.settings.slow_consumer == SlowConsumer::Block;
        assert!(waits <= bound.max(line.waited) || had_taken_all, "{waits} bytes wait, {bound} may");
        line.waited = waits;
        if let (None, Some(seconds)) = (line.reap_at_ns, self.core.closes_within(line.id)) {
            line.reap_at_ns = Some(now_ns + seconds * 1_000 * MILLISECOND_NS);
        }
    }

    /// What the core tells of a session, with its streams if there are no more than that.
    pub fn connection(&self, session: u64, streams_max: usize) -> Connection {
        let listing = Listing { session: Some(session), limit: 1, streams_max };
        let Answer::Connections(mut connections) = self.core.answer(Query::Connections(listing), 0) else {
            panic!("another answer")
        };
        assert_eq!(connections.len(), 1);
        connections.pop().unwrap()
    }
}
