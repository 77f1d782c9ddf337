//! A client on a real socket: the least of WebSocket, and a ledger.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

use crate::fragments::Fragments;
use crate::ledger::{Asked, Ledger};
use crate::server::PATIENCE;
use crate::wire::{PONG, TEXT, client_frame, whole_frame};

/// A connection after its handshake, in `tickcast.v1.bin`.
pub struct Client {
    stream: TcpStream,
    /// Bytes read and not yet taken; those before `start` have been.
    buffer: Vec<u8>,
    start: usize,
    fragments: Fragments,
    pub ledger: Ledger,
}

/// Nanoseconds since 1970.
pub fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

impl Client {
    pub async fn open(address: SocketAddr) -> Client {
        Client::open_with(address, None, Ledger::default()).await
    }

    /// With little room in the client's kernel: one that does not read is found out soon.
    pub async fn open_narrow(address: SocketAddr) -> Client {
        Client::open_with(address, Some(64 * 1_024), Ledger::default()).await
    }

    /// Connects, and goes on with a ledger.
    pub async fn open_with(address: SocketAddr, receive_buffer: Option<u32>, mut ledger: Ledger) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        let mut stream = socket.connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: tickcast.v1.bin\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        ledger.reconnect();
        let mut client =
            Client { stream, buffer: Vec::new(), start: 0, fragments: Fragments::default(), ledger };
        client.start = loop {
            if let Some(end) = client.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(client.stream.read_buf(&mut client.buffer).await.unwrap() > 0, "no answer");
        };
        let head = String::from_utf8_lossy(&client.buffer[..client.start]);
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        client.take_frames();
        client
    }

    /// How the server names it.
    pub fn peer(&self) -> String {
        self.stream.local_addr().unwrap().to_string()
    }

    pub async fn send(&mut self, request: &Value) {
        self.stream.write_all(&client_frame(TEXT, request.to_string().as_bytes())).await.unwrap();
    }

    /// Subscribes, and reads until it is granted.
    pub async fn subscribe(&mut self, request: Value) {
        let grants = self.ledger.grants + 1;
        self.ask(request).await;
        self.until("subscribed", |ledger| ledger.grants == grants).await;
    }

    /// Subscribes, and reads nothing.
    pub async fn ask(&mut self, mut request: Value) {
        request["op"] = "subscribe".into();
        let from = request["from"].as_array().into_iter().flatten().map(|from| {
            let text = |key: &str| from[key].as_str().unwrap().to_owned();
            let whole = |key: &str| from[key].as_u64().unwrap();
            ((text("symbol"), text("channel")), (whole("epoch"), whole("seq")))
        });
        self.ledger.asked = Asked { snapshot: request["snapshot"].as_bool(), from: from.collect() };
        self.send(&request).await;
    }

    /// Reads what has come, or waits for it; how many bytes, 0 at the end of the connection. At most `bytes_max`.
    pub async fn read_up_to(&mut self, bytes_max: usize) -> io::Result<usize> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let read = (&mut self.stream).take(bytes_max as u64).read_buf(&mut self.buffer).await?;
        self.take_frames();
        for ping in std::mem::take(&mut self.ledger.pings) {
            // A server that has gone does not wait for it.
            let _ = self.stream.write_all(&client_frame(PONG, &ping)).await;
        }
        Ok(read)
    }

    pub async fn read(&mut self) -> io::Result<usize> {
        self.read_up_to(1 << 20).await
    }

    fn take_frames(&mut self) {
        let now_ns = unix_ns();
        while let Some((first, head, payload)) = whole_frame(&self.buffer[self.start..]) {
            let from = self.start + head;
            if let Some((opcode, message)) = self.fragments.take(first, &self.buffer[from..from + payload]) {
                self.ledger.take(opcode, &message, now_ns);
            }
            self.start = from + payload;
        }
    }

    /// Reads until the condition holds.
    pub async fn until(&mut self, what: &str, condition: impl Fn(&Ledger) -> bool) {
        self.until_within(PATIENCE, what, condition).await;
    }

    pub async fn until_within(
        &mut self,
        patience: Duration,
        what: &str,
        condition: impl Fn(&Ledger) -> bool,
    ) {
        let deadline = Instant::now() + patience;
        while !condition(&self.ledger) {
            let read = timeout_at(deadline, self.read()).await;
            let read = read.unwrap_or_else(|_| panic!("no {what} within {patience:?}"));
            let read = read.unwrap_or_else(|error| panic!("{error} while waiting for {what}"));
            assert!(read > 0, "closed ({:?}) while waiting for {what}", self.ledger.closed);
        }
    }

    /// Reads for a while, whatever comes.
    pub async fn read_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while let Ok(read) = timeout_at(until, self.read()).await {
            assert!(read.unwrap() > 0, "closed: {:?}", self.ledger.closed);
        }
    }

    /// Reads to the close frame and the end of the connection behind it.
    pub async fn until_closed(&mut self) -> (u16, String) {
        self.until("close frame", |ledger| ledger.closed.is_some()).await;
        assert_eq!(self.read().await.unwrap_or(0), 0, "nothing follows the close frame");
        self.ledger.closed.clone().unwrap()
    }

    /// Ends the connection at once, as a cable that is pulled; what was read stays.
    pub fn kill(self) -> Ledger {
        // With unread bytes the kernel sends a reset.
        self.stream.set_zero_linger().unwrap();
        self.ledger
    }
}
