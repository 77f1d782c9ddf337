//! One session's socket and the tasks that serve it.

use std::io;
use std::rc::Rc;
use std::task::Waker;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::handle::Seat;
use super::topic::SessionId;
use crate::stats::ShardStats;

/// A session's socket with the tasks that read it, write it while the kernel is full, and end it.
#[derive(Debug)]
pub struct Line {
    /// Shared by the reading and the writing side.
    pub socket: Rc<TcpStream>,
    /// Its place among the sessions, given back with the line.
    pub _seat: Seat,
    /// Reads requests; lives as long as the session.
    pub reader: AbortHandle,
    /// Writes what waits; there only while the kernel takes no more.
    pub writer: Option<AbortHandle>,
    /// Ends the session when the client does not; there only while the session closes.
    pub reaper: Option<AbortHandle>,
    /// Set while the reader waits for an earlier request to be answered, or for the client to take what it caused.
    pub reader_waits: Option<Waker>,
    /// Whether our side of the socket has been shut.
    pub is_shut: bool,
}

impl Line {
    /// Shuts our side: the client has everything it will get.
    pub fn shut(&mut self) {
        if !self.is_shut {
            self.is_shut = true;
            // Fails only where the other side is gone, which the reader finds out by itself.
            let _ = SockRef::from(&*self.socket).shutdown(std::net::Shutdown::Write);
        }
    }
}

/// The lines of a shard, by the numbers of their sessions, which are small: a number that is free is given again.
#[derive(Debug, Default)]
pub struct Lines {
    places: Vec<Option<Line>>,
    lines: usize,
}

impl Lines {
    /// A session's line.
    pub fn get(&self, id: SessionId) -> Option<&Line> {
        self.places.get(id)?.as_ref()
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Line> {
        self.places.get_mut(id)?.as_mut()
    }

    /// Adds the line of a session that has none.
    pub fn insert(&mut self, id: SessionId, line: Line) {
        if id >= self.places.len() {
            self.places.resize_with(id + 1, || None);
        }
        self.lines += usize::from(self.places[id].replace(line).is_none());
    }

    /// Takes a line off; dropping it ends its tasks.
    pub fn remove(&mut self, id: SessionId) -> Option<Line> {
        let line = self.places.get_mut(id)?.take();
        self.lines -= usize::from(line.is_some());
        line
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines == 0
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.iter().chain(&self.reaper).for_each(AbortHandle::abort);
    }
}

/// Writes to a socket without waiting, and counts: one count, one system call.
pub fn send(socket: &TcpStream, bytes: &[u8], stats: &ShardStats) -> io::Result<usize> {
    socket.try_io(Interest::WRITABLE, || {
        stats.writes.add(1);
        let sent = SockRef::from(socket).send(bytes)?;
        stats.write_bytes.add(sent as u64);
        Ok(sent)
    })
}
