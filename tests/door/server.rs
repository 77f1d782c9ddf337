//! A door on a free port, a shard that only receives, and a client that speaks bytes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_utils::CachePadded;
use serde_json::{Value, json};
use tickcast::clock::Clock;
use tickcast::door::{Door, DoorSettings, DoorStats, Market, Readiness, State};
use tickcast::feed::Speed;
use tickcast::limits;
use tickcast::model::{Catalog, Channel, ChannelSet, Instrument};
use tickcast::shard::{Answer as Answered, Arrival, Letter, ShardHandle, mailbox};
use tickcast::source::{ReplayAction, ReplayControl, Stepping};
use tickcast::stats::{SourceStats, Stats};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than anything here may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Server {
    pub address: SocketAddr,
    pub stats: Arc<DoorStats>,
    pub source: Arc<CachePadded<SourceStats>>,
    pub clock: Clock,
    pub readiness: Readiness,
    pub shard: ShardHandle,
    pub arrivals: mpsc::UnboundedReceiver<Arrival>,
    pub stop: oneshot::Sender<()>,
    pub door: JoinHandle<std::io::Result<()>>,
}

/// A door with the default bounds on a free port of loopback.
pub fn settings() -> DoorSettings {
    DoorSettings::at("127.0.0.1:0".parse().unwrap())
}

pub async fn start(settings: DoorSettings) -> Server {
    start_with(settings, None).await
}

pub async fn start_with(settings: DoorSettings, replay: Option<Arc<dyn ReplayControl>>) -> Server {
    let (shard, letters) = mailbox(limits::MAILBOX_LETTERS_MAX);
    let (sender, arrivals) = mpsc::unbounded_channel();
    tokio::spawn(stand_in(letters, sender));
    start_before(settings, replay, vec![shard], arrivals)
}

/// A door before these shards.
pub fn start_before(
    settings: DoorSettings,
    replay: Option<Arc<dyn ReplayControl>>,
    shards: Vec<ShardHandle>,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
) -> Server {
    let door = Door::bind(settings).unwrap();
    let (readiness, stats, clock) = (Readiness::default(), Stats::new(shards.len()), Clock::start());
    let shard = shards[0].clone();
    readiness.set(State::Ready);
    let market = Market {
        catalog: Arc::new(Catalog::new(["BTC-USD", "EUR/USD"].map(instrument).to_vec()).unwrap()),
        shards,
        stats: stats.clone(),
        clock,
        replay,
        stage: None,
        readiness: readiness.clone(),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let (address, source, stats) = (door.address(), stats.source, door.stats());
    let door = tokio::spawn(door.serve(market, async {
        let _ = stopped.await;
    }));
    Server { address, stats, source, clock, readiness, shard, arrivals, stop, door }
}

/// Hands sessions on, and answers a question with the question.
async fn stand_in(mut letters: mpsc::Receiver<Letter>, arrivals: mpsc::UnboundedSender<Arrival>) {
    while let Some(letter) = letters.recv().await {
        match letter {
            Letter::Arrival(arrival) => {
                let _ = arrivals.send(arrival);
            }
            Letter::Query(query, answer) => {
                let body = json!({"asked": format!("{query:?}")}).to_string();
                let _ = answer.send(Answered::Body(Bytes::from(body)));
            }
            Letter::Stop(_) => break,
        }
    }
}

fn instrument(symbol: &str) -> Instrument {
    Instrument {
        symbol: symbol.into(),
        price_exponent: -2,
        quantity_exponent: 0,
        tick_size: 1,
        lot_size: 1,
        channels: ChannelSet::of(&[Channel::Quotes]),
        book_depth: 0,
        source_id: 0,
    }
}

/// A replay that only remembers what it was told.
#[derive(Debug, Default)]
pub struct Tape {
    pub told: Mutex<Vec<ReplayAction>>,
    asked: AtomicU64,
}

impl ReplayControl for Tape {
    fn state(&self) -> String {
        json!({"asked": self.asked.fetch_add(1, Ordering::Relaxed)}).to_string()
    }
    fn steer(&self, action: &ReplayAction) -> Result<Option<Stepping>, String> {
        if let ReplayAction::Speed(speed) = action {
            speed.parse::<Speed>().map_err(|error| error.to_string())?;
        }
        self.told.lock().unwrap().push(action.clone());
        Ok(None)
    }
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Server {
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes on a connection of their own and reads until the server closes it.
    pub async fn exchange(&self, request: impl AsRef<[u8]>) -> Option<Answer> {
        let mut socket = self.connect().await;
        // The server may refuse before it has read everything.
        let _ = socket.write_all(request.as_ref()).await;
        read_to_end(&mut socket).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "", "").await
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}{headers}\r\n");
        self.exchange(head + body).await.expect("an answer")
    }

    /// Opens `/ws`; the socket is at the first byte after the answer's head.
    pub async fn open(&self, headers: &str, after: &[u8]) -> (Answer, TcpStream) {
        let mut socket = self.connect().await;
        let mut bytes = handshake(headers).into_bytes();
        bytes.extend_from_slice(after);
        socket.write_all(&bytes).await.unwrap();
        let answer = read_head(&mut socket).await;
        (answer, socket)
    }

    pub async fn arrival(&mut self) -> Arrival {
        timeout(PATIENCE, self.arrivals.recv()).await.unwrap().unwrap()
    }
}

/// A proper handshake with further header lines.
pub fn handshake(headers: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: x:1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// All that comes until the connection ends; `None` where nothing came.
pub async fn read_to_end(socket: &mut TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4_096];
    // A reset ends it as well as a proper end.
    while let Ok(count @ 1..) = timeout(PATIENCE, socket.read(&mut chunk)).await.expect("the server ends it")
    {
        bytes.extend_from_slice(&chunk[..count]);
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some(answer(head, body))
}

pub async fn read_head(socket: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(timeout(PATIENCE, socket.read_u8()).await.unwrap().unwrap());
    }
    answer(std::str::from_utf8(&bytes).unwrap().trim_end(), "")
}

fn answer(head: &str, body: &str) -> Answer {
    let status =
        head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse().ok());
    Answer { status: status.expect("a status line"), head: head.into(), body: body.into() }
}
