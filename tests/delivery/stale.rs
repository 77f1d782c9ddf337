//! A source that gets stuck shows within a second, and its return too.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use tickcast::config::Settings;
use tickcast::model::{Catalog, Channel, ChannelSet, Instrument, Primary};
use tickcast::node;
use tickcast::source::{Next, Source, SourceError};

use crate::client::Client;

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A source whose every `poll` waits to be told what to answer, and says when it has begun to wait.
struct Stuck {
    asked: Sender<()>,
    answers: Receiver<Next>,
}

impl Source for Stuck {
    fn catalog(&self) -> Arc<Catalog> {
        let instrument = Instrument {
            symbol: "X".into(),
            price_exponent: 0,
            quantity_exponent: 0,
            tick_size: 1,
            lot_size: 1,
            channels: ChannelSet::of(&[Channel::Trades]),
            book_depth: 0,
            source_id: 0,
        };
        Arc::new(Catalog::new(vec![instrument]).unwrap())
    }

    fn poll(&mut self, _now_ns: u64, _out: &mut Vec<Primary>) -> Result<Next, SourceError> {
        // Nobody listens any more once the test is over.
        let _ = self.asked.send(());
        Ok(self.answers.recv().unwrap_or(Next::Ended))
    }
}

/// Status and body.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// Listens in a thread of its own; tells each notice with the moment at which it came.
fn notices(address: SocketAddr) -> Receiver<(Instant, String)> {
    let (sender, receiver) = channel();
    let (open, is_open) = channel();
    std::thread::spawn(move || {
        crate::block_on(async {
            let mut client = Client::open(address).await;
            open.send(()).unwrap();
            let mut told = 0;
            // To the end of the server.
            while client.read().await.is_ok_and(|read| read > 0) {
                for notice in &client.ledger.notices[told..] {
                    // Nobody listens any more once the test is over.
                    let _ = sender.send((Instant::now(), notice.clone()));
                }
                told = client.ledger.notices.len();
            }
        });
    });
    is_open.recv_timeout(PATIENCE).unwrap();
    receiver
}

/// Asks until the answer has that status; how long it took, and the body.
fn until_status(address: SocketAddr, status: u16) -> (Duration, String) {
    let began = Instant::now();
    loop {
        let (found, body) = get(address, "/readyz");
        if found == status {
            return (began.elapsed(), body);
        }
        assert!(began.elapsed() < PATIENCE, "{found} {body}");
    }
}

fn is_stale(address: SocketAddr) -> bool {
    let (_, metrics) = get(address, "/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix("tickcast_source_stale "));
    line.expect("the metric is there") == "1"
}

#[test]
fn a_stuck_source_shows_within_a_second_and_so_does_its_return() {
    let (asked, is_asked) = channel();
    let (answer, answers) = channel();
    let settings = Settings { listen: "127.0.0.1:0".parse().unwrap(), ..Settings::default() };
    let began = Instant::now();
    let node = node::start_with(settings, Box::new(Stuck { asked, answers })).unwrap();
    let (address, pump) = (node.address(), node.source_unparker());
    let notices = notices(address);
    let next_notice = |since: Instant| {
        let (at, notice) = notices.recv_timeout(PATIENCE).unwrap();
        // A second, and some patience with a busy machine.
        assert!(at - since < Duration::from_millis(1_500), "{notice} after {:?}", at - since);
        notice
    };

    // Stuck in `poll`.
    is_asked.recv_timeout(PATIENCE).unwrap();
    let (after, body) = until_status(address, 503);
    assert!(after < Duration::from_secs(1), "{after:?}");
    assert!(body.contains("\"stale: the source has been overdue for "), "{body}");
    assert!(is_stale(address));
    assert_eq!(next_notice(began), "stale");

    // Back, with nothing to say until it is woken: a paused replay is not stale.
    let began = Instant::now();
    answer.send(Next::Idle).unwrap();
    let (after, body) = until_status(address, 200);
    assert!(after < Duration::from_secs(1) && body == "ready\n", "{after:?} {body}");
    assert_eq!(next_notice(began), "live");
    while began.elapsed() < Duration::from_millis(800) {
        assert_eq!(get(address, "/readyz").0, 200);
    }
    assert!(!is_stale(address));

    // Stuck again, and back with an hour to wait.
    let began = Instant::now();
    pump.unpark();
    is_asked.recv_timeout(PATIENCE).unwrap();
    assert!(until_status(address, 503).0 < Duration::from_secs(1));
    assert_eq!(next_notice(began), "stale");
    let began = Instant::now();
    answer.send(Next::At(3_600_000_000_000)).unwrap();
    assert!(until_status(address, 200).0 < Duration::from_secs(1));
    assert_eq!(next_notice(began), "live");

    // At its end it is not stale either.
    pump.unpark();
    is_asked.recv_timeout(PATIENCE).unwrap();
    answer.send(Next::Ended).unwrap();
    drop(answer);
    is_asked.recv_timeout(PATIENCE).unwrap();
    assert!(until_status(address, 200).0 < Duration::from_secs(1));
    node.stop();
}
