//! A server for tests that does what the test says: tokio-tungstenite, a WebSocket implementation independent of the
//! client's, on a port of its own.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::{Backoff, Client, SUBPROTOCOL, Subscription};
use crate::model::{Channel, Level, Quote, Trade};
use crate::wire::market;
use crate::wire::message::{Content, Levels, Meta};

pub(crate) const SYMBOL: &str = "BTC-USD";
pub(crate) const NUMBER: u32 = 3;
pub(crate) const EPOCH: u64 = 7;

pub(crate) struct Server {
    listener: TcpListener,
}

/// The server's end of one connection.
pub(crate) struct Peer {
    pub socket: WebSocketStream<TcpStream>,
}

impl Server {
    pub async fn bind() -> Server {
        Server { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub fn url(&self) -> String {
        format!("ws://{}/ws", self.listener.local_addr().unwrap())
    }

    /// A client that comes back within milliseconds.
    pub fn client(&self, subscriptions: impl IntoIterator<Item = Subscription>) -> Client {
        let quick = Backoff::new(std::time::Duration::from_millis(1), std::time::Duration::from_millis(5), 1);
        Client::connect(&self.url(), subscriptions).unwrap().with_backoff(quick)
    }

    #[allow(clippy::result_large_err, reason = "the library's signature")]
    pub async fn accept(&self) -> Peer {
        let (socket, _) = self.listener.accept().await.unwrap();
        let check = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            assert_eq!(request.uri().path(), "/ws");
            assert_eq!(request.headers()["sec-websocket-protocol"], SUBPROTOCOL);
            response.headers_mut().insert("sec-websocket-protocol", SUBPROTOCOL.parse().unwrap());
            Ok(response)
        };
        Peer { socket: tokio_tungstenite::accept_hdr_async(socket, check).await.unwrap() }
    }

    /// Reads a request head and answers with these bytes, then ends the connection.
    pub async fn answer(&self, bytes: &[u8]) {
        let (mut socket, _) = self.listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert_ne!(socket.read_buf(&mut head).await.unwrap(), 0);
        }
        socket.write_all(bytes).await.unwrap();
    }

    /// Accepts, welcomes, takes one subscription and grants the stream at `seq`.
    pub async fn accept_and_grant(&self, channel: Channel, depth: Option<u32>, seq: u64) -> Peer {
        let mut peer = self.accept().await;
        peer.welcome(5_000).await;
        let id = peer.request().await["id"].clone();
        peer.grant(&id, channel, depth, seq).await;
        peer
    }
}

impl Peer {
    pub async fn send(&mut self, message: Value) {
        self.socket.send(Frame::text(message.to_string())).await.unwrap();
    }

    pub async fn send_bytes(&mut self, payload: Vec<u8>) {
        self.socket.send(Frame::binary(payload)).await.unwrap();
    }

    pub async fn welcome(&mut self, heartbeat_ms: u64) {
        self.send(json!({"type": "welcome", "protocol": SUBPROTOCOL, "server": "scripted/1", "epoch": EPOCH,
            "heartbeat_ms": heartbeat_ms, "limits": {}}))
            .await;
    }

    pub async fn grant(&mut self, id: &Value, channel: Channel, depth: Option<u32>, seq: u64) {
        self.send(
            json!({"type": "subscribed", "id": id, "streams": [{"symbol": SYMBOL, "instrument": NUMBER,
            "channel": channel.name(), "price_exponent": -2, "quantity_exponent": 0, "tick_size": 0.01,
            "lot_size": 1, "depth": depth, "interval_ms": 0, "epoch": EPOCH, "seq": seq}], "more": false}),
        )
        .await;
    }

    /// The next text message from the client.
    pub async fn request(&mut self) -> Value {
        loop {
            if let Frame::Text(text) = self.socket.next().await.unwrap().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    pub async fn close(&mut self, code: u16, reason: &str) {
        self.socket
            .close(Some(CloseFrame { code: code.into(), reason: reason.to_owned().into() }))
            .await
            .unwrap();
    }
}

pub(crate) fn meta(first_seq: u64, last_seq: u64, snapshot: bool) -> Meta {
    Meta { first_seq, last_seq, ts_ns: 1_000_000 * last_seq, sent_ns: 5, snapshot, last: true }
}

pub(crate) fn frame(epoch: u64, messages: &[(Meta, Content<'_>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let channel = messages.first().map_or(Channel::Book, |(_, content)| content.channel());
    market::begin_frame(&mut out, channel, NUMBER, epoch);
    for (meta, content) in messages {
        market::encode(&mut out, meta, content);
    }
    market::finish_frame(&mut out, 0, messages.len() as u16);
    out
}

pub(crate) fn level(price: i64, quantity: i64) -> Level {
    Level { price, quantity }
}

/// Levels of a whole message.
pub(crate) fn levels<'a>(bids: &'a [Level], asks: &'a [Level], checksum: Option<u32>) -> Content<'a> {
    Content::Book(Levels { bids, asks, checksum, part: 1, parts: 1 })
}

pub(crate) fn quote(bid: i64, ask: i64) -> Content<'static> {
    Content::Quote(Quote { bid, bid_quantity: 1, ask, ask_quantity: 2 })
}

pub(crate) fn trade(price: i64) -> Content<'static> {
    Content::Trade(Trade { price, quantity: 3, trade_id: 9, aggressor: crate::model::Aggressor::Buy })
}
