//! A herd that waits at the door: accepted in one place and handed over to the shard with the fewest, as the product does,
//! against a listener a shard on one port (`SO_REUSEPORT`), where the kernel deals the connections out.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};
use tickcast::limits::LISTEN_BACKLOG;
use tokio::sync::mpsc;

use crate::machine::process_cpu_ns;
use crate::turns::{Candidate, Extent, compare, head};

/// Longer than the herd ever takes.
const HERD_MAX: Duration = Duration::from_secs(10);
/// Sockets on their way to a shard.
const MAILBOX: usize = 1_024;

pub fn run(extent: Extent) {
    let clients = extent.pick(20, 1_000);
    let note =
        format!("{clients} connections wait to be accepted; starting the threads counts; CPU of all of them");
    head(extent, &note, &["µs a connection", "CPU µs a connection", "fewest a shard", "most a shard"]);
    for shards in [1, 2, 4] {
        let candidates = vec![
            Candidate::new("one accepts, hands over", || herd(clients, shards, 1, hand_over)),
            Candidate::new("a listener a shard", || herd(clients, shards, shards, each_for_itself)),
        ];
        let s = if shards == 1 { "" } else { "s" };
        compare(extent, &format!("{shards} shard{s}"), candidates);
    }
}

/// A way to accept for so many shards, on threads of its own. Returns what each shard has.
type Accept = fn(&[TcpListener], usize) -> Vec<Vec<TcpStream>>;

/// Everybody has knocked before the first is accepted, so that what is measured is accepting.
fn herd(clients: usize, shards: usize, listeners: usize, accept: Accept) -> [f64; 4] {
    let listeners = listen(listeners);
    let address = listeners[0].local_addr().expect("it is bound");
    let waiting: Vec<TcpStream> =
        (0..clients).map(|_| TcpStream::connect(address).expect("room in the backlog")).collect();
    let (start, cpu_ns) = (Instant::now(), process_cpu_ns());
    let taken = accept(&listeners, shards);
    let took = [start.elapsed().as_nanos() as f64, process_cpu_ns() - cpu_ns];
    let counts = || taken.iter().map(Vec::len);
    // The system may have ended a handshake after its listener was found empty.
    let (mut accepted, since) = (counts().sum::<usize>(), Instant::now());
    while accepted < clients && since.elapsed() < HERD_MAX {
        accepted += listeners.iter().filter(|listener| listener.accept().is_ok()).count();
    }
    assert_eq!(accepted, clients, "connections accepted, and made");
    for client in &waiting {
        // Closed without a minute of TIME_WAIT for each.
        SockRef::from(client).set_linger(Some(Duration::ZERO)).expect("a socket's option");
    }
    let [wall, cpu] = took.map(|ns| ns / 1e3 / clients as f64);
    [wall, cpu, counts().min().unwrap_or(0) as f64, counts().max().unwrap_or(0) as f64]
}

/// So many listeners on one free port.
fn listen(count: usize) -> Vec<TcpListener> {
    let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut listener = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_port(count > 1).expect("a socket's option");
        socket.bind(&address.into()).expect("a free port");
        socket.listen(LISTEN_BACKLOG as i32).expect("a bound socket");
        let listener = TcpListener::from(socket);
        listener.set_nonblocking(true).expect("a socket's option");
        address = listener.local_addr().expect("it is bound");
        listener
    };
    (0..count).map(|_| listener()).collect()
}

fn hand_over(listeners: &[TcpListener], shards: usize) -> Vec<Vec<TcpStream>> {
    thread::scope(|scope| {
        let (mailboxes, shards): (Vec<_>, Vec<_>) = (0..shards)
            .map(|_| {
                let (mailbox, mut letters) = mpsc::channel(MAILBOX);
                let shard = scope.spawn(move || {
                    let mut adopted = Vec::new();
                    while let Some(socket) = letters.blocking_recv() {
                        adopted.push(adopt(socket));
                    }
                    adopted
                });
                (mailbox, shard)
            })
            .unzip();
        scope.spawn(move || {
            let mut sessions = vec![0; mailboxes.len()];
            accept_all(&listeners[0], |socket| {
                let fewest = (0..sessions.len()).min_by_key(|shard| sessions[*shard]).unwrap_or(0);
                sessions[fewest] += 1;
                mailboxes[fewest].blocking_send(socket).expect("a shard takes all letters");
            });
        });
        shards.into_iter().map(|shard| shard.join().expect("a shard takes all letters")).collect()
    })
}

fn each_for_itself(listeners: &[TcpListener], _shards: usize) -> Vec<Vec<TcpStream>> {
    thread::scope(|scope| {
        let shard = |listener| {
            scope.spawn(move || {
                let mut adopted = Vec::new();
                accept_all(listener, |socket| adopted.push(adopt(socket)));
                adopted
            })
        };
        let shards: Vec<_> = listeners.iter().map(shard).collect();
        shards.into_iter().map(|shard| shard.join().expect("a shard accepts")).collect()
    })
}

/// Accepts all that waits at this listener.
fn accept_all(listener: &TcpListener, mut take: impl FnMut(TcpStream)) {
    loop {
        match listener.accept() {
            Ok((socket, _)) => take(socket),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("accepting: {error}"),
        }
    }
}

/// What a shard does to a new socket.
fn adopt(socket: TcpStream) -> TcpStream {
    socket.set_nonblocking(true).expect("a socket's option");
    socket.set_nodelay(true).expect("a socket's option");
    socket
}
