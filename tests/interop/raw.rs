//! A client that looks at bytes: market data as it came, with only the stamp of the server's clock and the epoch blanked.

use std::collections::BTreeMap;
use std::net::TcpStream;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, client};

use crate::server::PATIENCE;

pub const JSON: &str = "tickcast.v1.json";
pub const BINARY: &str = "tickcast.v1.bin";

/// Every channel there is, of every instrument.
pub const EVERYTHING: [&str; 7] = ["quotes", "trades", "book", "orders", "ticker", "bars", "status"];

pub struct Raw {
    socket: WebSocket<TcpStream>,
    /// Symbols by the number that binary frames have.
    symbols: BTreeMap<u32, String>,
}

/// A stream: symbol and channel.
pub type StreamKey = (String, String);

/// One message of market data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub stream: StreamKey,
    pub first_seq: u64,
    pub last_seq: u64,
    /// The epoch in the frame; in JSON, which does not say it, 0.
    pub epoch: u64,
    /// All of it, with `sent_ns` blanked. (In binary without the frame's head, which several share.)
    pub bytes: Vec<u8>,
}

/// What comes, taken apart.
#[derive(Debug)]
pub enum Incoming {
    Data(Vec<Heard>),
    /// A text that is no market data.
    Control(Value),
    Closed(Option<CloseFrame>),
}

impl Raw {
    pub fn connect(address: &str, protocol: &'static str) -> Raw {
        Raw::connect_to(address, "/ws", protocol)
    }

    /// The same at another path, or with a query.
    pub fn connect_to(address: &str, path: &str, protocol: &'static str) -> Raw {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        let (socket, _) = client(request, stream).unwrap();
        let mut raw = Raw { socket, symbols: BTreeMap::new() };
        let Incoming::Control(welcome) = raw.next() else { panic!("no welcome") };
        assert_eq!((&welcome["type"], &welcome["protocol"]), (&json!("welcome"), &json!(protocol)));
        raw
    }

    /// Sends a request and does not wait.
    pub fn send(&mut self, request: &Value) {
        self.socket.send(Message::text(request.to_string())).unwrap();
    }

    /// Subscribes and returns when the last page of the answer is there, with the data that came before it.
    pub fn subscribe(&mut self, symbols: &[&str], channels: &[&str], depth: Option<u32>) -> Vec<Heard> {
        self.send(&json!({
            "op": "subscribe", "id": 1, "symbols": symbols, "channels": channels, "depth": depth
        }));
        let mut data = Vec::new();
        loop {
            match self.next() {
                Incoming::Data(heard) => data.extend(heard),
                Incoming::Control(reply) if reply["type"] == "subscribed" => {
                    if reply["more"] == false {
                        return data;
                    }
                }
                other => {
                    assert!(matches!(&other, Incoming::Control(text) if is_of_time(text)), "{other:?}");
                }
            }
        }
    }

    pub fn next(&mut self) -> Incoming {
        loop {
            match self.socket.read() {
                Ok(Message::Binary(payload)) => return Incoming::Data(self.take_apart(&payload)),
                Ok(Message::Text(text)) => return self.text(text.as_str()),
                Ok(Message::Close(close)) => {
                    // The answer goes out with the next read; the server may be gone by then.
                    let _ = self.socket.read();
                    return Incoming::Closed(close);
                }
                Ok(_) => {}
                Err(
                    Error::ConnectionClosed | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake),
                ) => {
                    return Incoming::Closed(None);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn text(&mut self, text: &str) -> Incoming {
        let value: Value = serde_json::from_str(text).unwrap();
        let kind = value["type"].as_str().unwrap();
        if kind == "subscribed" {
            for entry in value["streams"].as_array().unwrap() {
                let number = u32::try_from(entry["instrument"].as_u64().unwrap()).unwrap();
                self.symbols.insert(number, entry["symbol"].as_str().unwrap().to_owned());
            }
        }
        let channel = match kind {
            "quote" => "quotes",
            "trade" => "trades",
            "orderbook" => "book",
            "order" | "orders" => "orders",
            "price" => "ticker",
            "bar" => "bars",
            "status" => "status",
            _ => return Incoming::Control(value),
        };
        let sent_ns = format!("\"sent_ns\":{}", value["sent_ns"]);
        assert!(text.contains(&sent_ns), "{text}");
        Incoming::Data(vec![Heard {
            stream: (value["symbol"].as_str().unwrap().to_owned(), channel.to_owned()),
            first_seq: value["first_seq"].as_u64().unwrap(),
            last_seq: value["last_seq"].as_u64().unwrap(),
            epoch: 0,
            bytes: text.replace(&sent_ns, "").into_bytes(),
        }])
    }

    fn take_apart(&self, payload: &[u8]) -> Vec<Heard> {
        assert_eq!(payload[0], 1, "version");
        let channel = match payload[1] {
            1 => "quotes",
            2 => "trades",
            3 => "book",
            4 => "orders",
            5 => "ticker",
            6 => "bars",
            7 => "status",
            other => panic!("channel {other}"),
        };
        let stream = (self.symbols[&(word(payload, 4, 4) as u32)].clone(), channel.to_owned());
        let mut messages = Vec::new();
        let mut rest = &payload[16..];
        while !rest.is_empty() {
            let (message, after) = rest.split_at(word(rest, 0, 4) as usize);
            let mut bytes = message.to_vec();
            bytes[32..40].fill(0);
            messages.push(Heard {
                stream: stream.clone(),
                first_seq: word(message, 8, 8),
                last_seq: word(message, 16, 8),
                epoch: word(payload, 8, 8),
                bytes,
            });
            rest = after;
        }
        assert_eq!(messages.len() as u64, word(payload, 2, 2), "messages in the frame");
        messages
    }
}

/// Whether a control message comes of time alone: a heartbeat, or that the source was late on a busy machine, and is no
/// more.
pub fn is_of_time(text: &Value) -> bool {
    text["type"] == "heartbeat" || text["code"] == "stale" || text["code"] == "live"
}

/// A little-endian number of up to eight bytes.
fn word(bytes: &[u8], at: usize, size: usize) -> u64 {
    bytes[at..at + size].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
