//! Clients that read and throw away: sockets over loopback, all read by one thread.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};

use crate::machine::pin;

pub struct Sink {
    received: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// More than what is behind never takes.
const ARRIVAL_MAX: Duration = Duration::from_secs(10);
/// Bytes read at once.
const READ_BYTES: usize = 256 * 1_024;

/// So many sockets, and what reads their other ends, on that core.
pub fn open(sockets: usize, core: Option<usize>) -> (Vec<TcpStream>, Sink) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let poll = Poll::new().expect("a descriptor for polling");
    let waker = Waker::new(poll.registry(), Token(usize::MAX)).expect("a waker");
    let pair = |at| {
        let reading = TcpStream::connect(address).expect("room for a client");
        let writing = listener.accept().expect("a client that has come").0;
        writing.set_nodelay(true).expect("a socket's option");
        reading.set_nonblocking(true).expect("a socket's option");
        let mut reading = mio::net::TcpStream::from_std(reading);
        poll.registry().register(&mut reading, Token(at), Interest::READABLE).expect("a socket to poll");
        (writing, reading)
    };
    let (writing, reading) = (0..sockets).map(pair).unzip();
    let (received, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
    let thread = {
        let (received, is_over) = (received.clone(), is_over.clone());
        thread::spawn(move || {
            pin(core);
            drain(poll, reading, &received, &is_over);
        })
    };
    (writing, Sink { received, is_over, waker, thread: Some(thread) })
}

fn drain(mut poll: Poll, mut sockets: Vec<mio::net::TcpStream>, received: &AtomicU64, is_over: &AtomicBool) {
    let mut events = Events::with_capacity(1_024);
    let mut bytes = vec![0; READ_BYTES];
    while !is_over.load(Ordering::Acquire) {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled.expect("polling"),
        }
        for event in &events {
            let Some(socket) = sockets.get_mut(event.token().0) else { continue };
            loop {
                match socket.read(&mut bytes) {
                    Ok(read) => {
                        received.fetch_add(read as u64, Ordering::Release);
                        // With less than a bufferful it is empty: what comes then is another event.
                        if read < bytes.len() {
                            break;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("reading: {error}"),
                }
            }
        }
    }
}

impl Sink {
    /// Bytes that have come, ever.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    /// Waits until so many bytes have come, ever, and neither more nor less.
    pub fn wait_for(&self, bytes: u64) {
        let since = Instant::now();
        while self.received() < bytes && since.elapsed() < ARRIVAL_MAX {
            thread::yield_now();
        }
        assert_eq!(self.received(), bytes, "bytes received, and sent");
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        self.waker.wake().expect("a thread that polls");
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))), "the reading thread failed");
    }
}
