//! A shard's thread: a single-threaded runtime around the core. It moves bytes; what they mean is the core's.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crossbeam_utils::CachePadded;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::core::{Core, CoreSettings};
use super::handle::{Answer, Arrival, Letter, Query, Terms};
use super::held::{Held, is_request};
use super::line::{Line, Lines, send};
use super::outbox::Offer;
use super::reader::{Incoming, Reader, SharedSocket};
use super::topic::SessionId;
use crate::bus::Tap;
use crate::clock::Clock;
use crate::limits;
use crate::model::{Catalog, Event};
use crate::source::{ReplayControl, Stepping};
use crate::stats::{ShardStats, SourceStats};
use crate::wire::control::Close;
use crate::wire::deflate::Inflater;
use crate::wire::frame::opcode;
use crate::wire::guard::Rules;

/// All that a shard's thread needs.
pub struct Shard {
    /// The instruments.
    pub catalog: Arc<Catalog>,
    /// The epoch of the first event.
    pub epoch: u64,
    /// What an operator set.
    pub settings: CoreSettings,
    /// Where its events come from.
    pub tap: Tap<Event>,
    /// Where its sockets and questions come from.
    pub letters: mpsc::Receiver<Letter>,
    /// Time.
    pub clock: Clock,
    /// What it counts.
    pub stats: Arc<CachePadded<ShardStats>>,
    /// What the publisher counts: it tells whether the source is stale.
    pub source: Arc<CachePadded<SourceStats>>,
    /// What its clients steer, where the source is a replay.
    pub replay: Option<Arc<dyn ReplayControl>>,
    /// Whether that is the replay of one client ([`Core::serve_privately`]).
    pub is_private: bool,
}

impl Shard {
    /// The runtime of a shard's thread. It is made before the door opens: clients that come at once may take every
    /// descriptor that is left.
    ///
    /// # Errors
    /// The operating system gives none.
    pub fn runtime() -> io::Result<Runtime> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    }

    /// Serves until a [`Letter::Stop`] has come, everyone has been told, and everyone is gone or the time for it is
    /// over. Blocks the thread. Calls `is_made` once books and topics are there.
    ///
    /// # Errors
    /// A session's task panicked.
    pub fn run(self, runtime: &Runtime, is_made: impl FnOnce()) -> io::Result<()> {
        // Made here: it never leaves its thread.
        let mut core = Core::new(self.catalog, self.epoch, self.settings, self.stats.clone());
        core.time_compression(Box::new(move || self.clock.now_ns()));
        core.steer(self.replay);
        if self.is_private {
            core.serve_privately();
        }
        is_made();
        let shell = Rc::new(Shell {
            core: RefCell::new(core),
            lines: RefCell::default(),
            buffers: RefCell::default(),
            inflater: Rc::default(),
            progress: Notify::new(),
            gone: Notify::new(),
            broken: Notify::new(),
            clock: self.clock,
            stats: self.stats,
            source: self.source,
        });
        if LocalSet::new().block_on(runtime, shell.serve(self.tap, self.letters)) {
            Ok(())
        } else {
            Err(io::Error::other("a session's task panicked: this is a fault of tickcast"))
        }
    }
}

/// Buffers that are used again and again.
#[derive(Default)]
struct Buffers {
    /// Where several runs for one session are gathered.
    scratch: Vec<u8>,
    /// Sessions to be written to.
    dirty: Vec<SessionId>,
}

/// The core with its sockets. Every task of the thread has a reference; no borrow is held across an `await`.
struct Shell {
    core: RefCell<Core>,
    lines: RefCell<Lines>,
    buffers: RefCell<Buffers>,
    inflater: Rc<RefCell<Inflater>>,
    /// A client that the kernel was full for has taken something.
    progress: Notify,
    /// A session is gone.
    gone: Notify,
    /// A session's task panicked.
    broken: Notify,
    clock: Clock,
    stats: Arc<CachePadded<ShardStats>>,
    source: Arc<CachePadded<SourceStats>>,
}

impl Shell {
    /// Serves until told to stop; `false` where a session's task panicked, so that the state means nothing any more.
    async fn serve(self: Rc<Self>, mut tap: Tap<Event>, mut letters: mpsc::Receiver<Letter>) -> bool {
        let mut timer = interval(Duration::from_millis(limits::TURN_MILLISECONDS));
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut intervals = interval(Duration::from_millis(limits::INTERVAL_MILLISECONDS));
        intervals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut source_lives = true;
        let close = loop {
            tap.pulse();
            let is_blocked = self.core.borrow_mut().is_blocked();
            if !is_blocked && self.take_batch(&mut tap) {
                self.write_dirty();
                if !tap.is_empty() {
                    // Readers and writers get their turn between batches.
                    yield_now().await;
                }
            }
            // Neither time nor letters wait until the shard has nothing else to do.
            self.let_time_pass(&tap);
            for _ in 0..limits::LETTERS_MAX {
                match letters.try_recv() {
                    Ok(Letter::Stop(close)) => {
                        self.stop(close, tap, letters).await;
                        return true;
                    }
                    Err(TryRecvError::Disconnected) => {
                        self.stop(Close::ShuttingDown, tap, letters).await;
                        return true;
                    }
                    Ok(letter) => self.take_letter(letter),
                    Err(TryRecvError::Empty) => break,
                }
            }
            tokio::select! {
                biased;
                () = self.broken.notified() => return false,
                letter = letters.recv() => match letter {
                    Some(Letter::Stop(close)) => break close,
                    None => break Close::ShuttingDown,
                    Some(letter) => self.take_letter(letter),
                },
                _ = timer.tick() => {}
                _ = intervals.tick(), if self.core.borrow().has_intervals() => {}
                ready = tap.ready(), if source_lives && !is_blocked => source_lives = ready.is_ok(),
                () = self.progress.notified(), if is_blocked => {}
            }
        };
        self.stop(close, tap, letters).await;
        true
    }

    /// Does what is due by now.
    fn let_time_pass(self: &Rc<Self>, tap: &Tap<Event>) {
        let now_ns = self.clock.now_ns();
        let mut core = self.core.borrow_mut();
        core.set_stale(self.source.is_stale(now_ns));
        core.tick(now_ns, self.clock.unix_ns(), tap.is_empty());
        if core.has_intervals() {
            core.end_intervals(now_ns);
        }
        drop(core);
        self.write_dirty();
    }

    fn take_letter(self: &Rc<Self>, letter: Letter) {
        match letter {
            Letter::Arrival(arrival) => self.adopt(arrival),
            Letter::Query(query, reply) => self.answer(query, reply),
            Letter::Stop(_) => {}
        }
    }

    /// Answers a question; who asked may have gone.
    fn answer(&self, query: Query, reply: oneshot::Sender<Answer>) {
        drop(reply.send(self.core.borrow().answer(query, self.clock.now_ns())));
    }

    /// Takes what waits on the bus, up to a batch. Whether there was anything.
    ///
    /// A shard that has fallen behind gathers, so that it writes to each socket less often; who gets much of it is
    /// written to in between.
    fn take_batch(self: &Rc<Self>, tap: &mut Tap<Event>) -> bool {
        let (mut records, mut flushed) = (0, 0);
        while records < limits::BATCH_RECORDS_MAX
            && let Some(chunk) = tap.try_pop()
        {
            self.core.borrow_mut().apply(&chunk);
            records += chunk.len();
            if records - flushed >= limits::CHUNK_RECORDS_MAX {
                self.core.borrow_mut().flush();
                self.write_full();
                flushed = records;
            }
        }
        self.core.borrow_mut().flush();
        records > 0
    }

    /// Everyone gets what there still is, and is closed.
    async fn stop(self: &Rc<Self>, close: Close, mut tap: Tap<Event>, mut letters: mpsc::Receiver<Letter>) {
        let drained = timeout(Duration::from_millis(limits::DRAIN_MILLISECONDS), async {
            loop {
                if !self.core.borrow_mut().is_blocked() {
                    if !self.take_batch(&mut tap) {
                        break;
                    }
                    self.write_dirty();
                    yield_now().await;
                } else if close == Close::ShuttingDown {
                    // What is left of a replay would pile up in the outboxes of slow clients.
                    break;
                } else {
                    self.progress.notified().await;
                }
            }
        });
        // Whatever is left then, there is no more time for it.
        let _ = drained.await;
        // Nobody writes any more; who wrote before is answered.
        letters.close();
        while let Ok(letter) = letters.try_recv() {
            self.take_letter(letter);
        }
        self.core.borrow_mut().say_goodbye(close);
        self.write_dirty();
        let everyone_gone = async {
            while !self.lines.borrow().is_empty() {
                self.gone.notified().await;
            }
        };
        // Whoever is still there then has had its time.
        let _ = timeout(Duration::from_secs(limits::CLOSE_SECONDS + 1), everyone_gone).await;
    }

    fn adopt(self: &Rc<Self>, arrival: Arrival) {
        let socket = match TcpStream::from_std(arrival.socket) {
            Ok(socket) => Rc::new(socket),
            Err(error) => {
                tracing::warn!(peer = %arrival.peer, %error, "a new connection was lost: the runtime refused its socket");
                return;
            }
        };
        let Arrival { terms, peer, .. } = arrival;
        let id = self.core.borrow_mut().open(terms, peer, self.clock.now_ns(), self.clock.unix_ns());
        let reader = Reader::new(
            SharedSocket(socket.clone()),
            arrival.read_ahead,
            rules(terms),
            self.inflater.clone(),
        );
        let reader = spawn_local(self.clone().read_session(id, reader)).abort_handle();
        let line = Line {
            socket,
            _seat: arrival.seat,
            reader,
            writer: None,
            reaper: None,
            reader_waits: None,
            is_shut: false,
        };
        self.lines.borrow_mut().insert(id, line);
        self.write_dirty();
    }

    /// A session's reading task: one request after the other.
    #[allow(clippy::manual_async_fn, reason = "an async fn would keep its reader twice, of every session")]
    fn read_session(
        self: Rc<Self>,
        id: SessionId,
        mut reader: Reader<SharedSocket>,
    ) -> impl Future<Output = ()> {
        async move {
            let _tripwire = Tripwire(self.clone());
            let mut held = Held::default();
            loop {
                let incoming = self.next(id, &mut reader, &mut held).await;
                if incoming == Incoming::Eof {
                    return self.remove(id);
                }
                let goes_on = self.take(id, incoming);
                self.write_dirty();
                if let Some((id, stepping)) = self.core.borrow_mut().take_stepping() {
                    spawn_local(self.clone().await_steps(id, stepping));
                }
                if !goes_on {
                    break;
                }
                // A client with a thousand requests waits for everyone else's turn after each. And one that the write
                // found gone has been removed: this task ends here, before it takes the next request for a session
                // that is none.
                yield_now().await;
            }
            // A socket closed while bytes wait unread is reset, and a reset may overtake the close frame.
            let _ = timeout(Duration::from_secs(limits::CLOSE_SECONDS), reader.drain()).await;
            self.remove(id);
        }
    }

    /// Answers a client once the steps that it asked for are made.
    async fn await_steps(self: Rc<Self>, id: SessionId, stepping: Stepping) {
        // Steps that take longer are on their way.
        let _ = timeout(limits::HTTP_ANSWER_TIME, stepping.over()).await;
        self.core.borrow_mut().end_stepping(id);
        self.write_dirty();
    }

    /// What is next of what a client sends: a request once those before it have been answered, anything else as it comes.
    async fn next(&self, id: SessionId, reader: &mut Reader<SharedSocket>, held: &mut Held) -> Incoming {
        loop {
            tokio::select! {
                biased;
                () = self.until(id, |core| !core.is_busy(id)), if !held.is_empty() => {
                    if let Some(request) = held.pop() {
                        return request;
                    }
                }
                incoming = self.read(id, reader), if held.has_room() => {
                    if !is_request(&incoming) || (held.is_empty() && !self.core.borrow().is_busy(id)) {
                        return incoming;
                    }
                    held.push(incoming);
                }
            }
        }
    }

    /// Reads one thing, unless too much waits for the client that it caused. It may be given up at any time.
    async fn read(&self, id: SessionId, reader: &mut Reader<SharedSocket>) -> Incoming {
        self.until(id, |core| !core.is_clogged(id)).await;
        reader.next().await
    }

    /// Does what one thing that a client sent asks for. Whether more of it is to be read.
    fn take(&self, id: SessionId, incoming: Incoming) -> bool {
        let mut core = self.core.borrow_mut();
        match incoming {
            Incoming::Text(text) if core.is_echo(id) => core.echo(id, opcode::TEXT, text.as_bytes()),
            Incoming::Binary(bytes) => core.echo(id, opcode::BINARY, &bytes),
            Incoming::Text(text) => core.request(id, &text, self.clock.unix_ns()),
            Incoming::Ping(payload) => core.answer_ping(id, &payload),
            Incoming::Pong(_) => core.pong(id),
            Incoming::Close(said) => {
                core.close_echo(id, said.map(|(code, _)| code));
                return false;
            }
            Incoming::Violation(violation) => {
                core.refuse(id, &violation);
                return false;
            }
            Incoming::Eof => return false,
        }
        true
    }

    /// Waits until something holds of what waits for a session.
    async fn until(&self, id: SessionId, holds: impl Fn(&Core) -> bool) {
        poll_fn(|context| {
            if holds(&self.core.borrow()) {
                return Poll::Ready(());
            }
            if let Some(line) = self.lines.borrow_mut().get_mut(id) {
                line.reader_waits = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Writes to the sessions that got their fill while a batch goes on.
    fn write_full(self: &Rc<Self>) {
        let mut full = std::mem::take(&mut self.buffers.borrow_mut().dirty);
        self.core.borrow_mut().take_full(&mut full);
        let now_ns = self.clock.now_ns();
        full.drain(..).for_each(|id| self.write(id, now_ns));
        self.buffers.borrow_mut().dirty = full;
    }

    /// Writes to every session that something was put in the outbox of.
    fn write_dirty(self: &Rc<Self>) {
        let mut dirty = std::mem::take(&mut self.buffers.borrow_mut().dirty);
        let now_ns = self.clock.now_ns();
        self.core.borrow_mut().send_heartbeats_along(|| self.clock.unix_ns());
        loop {
            self.core.borrow_mut().take_dirty(&mut dirty);
            if dirty.is_empty() {
                break;
            }
            // As they came: their sockets lie in the kernel's memory in about that order (`docs/decisions.md`).
            dirty.sort_unstable();
            dirty.drain(..).for_each(|id| self.write(id, now_ns));
        }
        self.buffers.borrow_mut().dirty = dirty;
    }

    /// Writes to one session, now if the kernel has room, else by a task that waits for it.
    fn write(self: &Rc<Self>, id: SessionId, now_ns: u64) {
        let lines = self.lines.borrow();
        let Some(line) = lines.get(id) else { return };
        if line.writer.is_some() {
            drop(lines);
            self.core.borrow_mut().hold(id);
            return self.after_write(id);
        }
        let socket = line.socket.clone();
        drop(lines);
        match self.offer(id, &socket, now_ns) {
            Ok(Offer::Drained) => self.after_write(id),
            Ok(Offer::Blocked) => {
                let writer = spawn_local(self.clone().write_session(id, socket)).abort_handle();
                if let Some(line) = self.lines.borrow_mut().get_mut(id) {
                    line.writer = Some(writer);
                }
                self.after_write(id);
            }
            Err(_) => self.remove(id),
        }
    }

    /// A session's writing task, while the kernel is full.
    async fn write_session(self: Rc<Self>, id: SessionId, socket: Rc<TcpStream>) {
        let _tripwire = Tripwire(self.clone());
        loop {
            // Also where the kernel takes everything: the others get their turn.
            yield_now().await;
            if socket.writable().await.is_err() {
                return self.remove(id);
            }
            let offer = self.offer(id, &socket, self.clock.now_ns());
            self.progress.notify_one();
            match offer {
                Ok(Offer::Blocked) => {}
                Ok(Offer::Drained) => break,
                Err(_) => return self.remove(id),
            }
        }
        if let Some(line) = self.lines.borrow_mut().get_mut(id) {
            line.writer = None;
        }
        self.after_write(id);
    }

    /// Offers a session's outbox to its socket, and what is next behind it. [`Offer::Blocked`] where the kernel is full
    /// or a long reply goes on: a writing task is to see to the rest.
    fn offer(&self, id: SessionId, socket: &TcpStream, now_ns: u64) -> io::Result<Offer> {
        let mut core = self.core.borrow_mut();
        let scratch = &mut self.buffers.borrow_mut().scratch;
        let first = core.offer(id, now_ns, scratch, |bytes| send(socket, bytes, &self.stats))?;
        if first == Offer::Blocked || !core.advance(id) {
            return Ok(first);
        }
        core.offer(id, now_ns, scratch, |bytes| send(socket, bytes, &self.stats))?;
        Ok(if core.is_answered(id) { Offer::Drained } else { Offer::Blocked })
    }

    /// What is to be done once bytes have gone, or could not.
    fn after_write(self: &Rc<Self>, id: SessionId) {
        let core = self.core.borrow();
        let mut lines = self.lines.borrow_mut();
        let Some(line) = lines.get_mut(id) else { return };
        // It looks again for itself.
        if let Some(reader) = line.reader_waits.take() {
            reader.wake();
        }
        let Some(seconds) = core.closes_within(id) else { return };
        // The shard may be waiting for just this one.
        self.progress.notify_one();
        if line.writer.is_none() {
            line.shut();
        }
        if line.reaper.is_none() {
            let reaper = self.clone().reap(id, Duration::from_secs(seconds));
            line.reaper = Some(spawn_local(reaper).abort_handle());
        }
    }

    /// Ends a closing session whose client does not.
    async fn reap(self: Rc<Self>, id: SessionId, after: Duration) {
        sleep(after).await;
        self.remove(id);
    }

    fn remove(&self, id: SessionId) {
        // Dropping the line ends its tasks, among them perhaps the one that runs this.
        if self.lines.borrow_mut().remove(id).is_some() {
            self.core.borrow_mut().remove(id);
            self.gone.notify_one();
            self.progress.notify_one();
        }
    }
}

/// What a client may send.
fn rules(terms: Terms) -> Rules {
    let usual = Rules { deflate: terms.deflate.is_some(), ..Rules::default() };
    match terms.is_echo {
        true => Rules {
            bytes: limits::ECHO_BYTES_MAX,
            fragments: u32::MAX,
            inflate_ratio: u32::MAX,
            binary: true,
            ..usual
        },
        false => usual,
    }
}

/// Reports the panic of the task that holds it: tokio would let the others go on with a core that may be half changed.
struct Tripwire(Rc<Shell>);

impl Drop for Tripwire {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.notify_one();
        }
    }
}
