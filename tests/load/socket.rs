//! The least of a WebSocket client, made to be fast and to break every rule on demand.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tickcast::shard::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::server::PATIENCE;

use crate::fragments::Fragments;

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// One frame of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Code and reason of a close frame.
    pub fn close(&self) -> (u16, &str) {
        assert_eq!(self.opcode, CLOSE, "{self:?}");
        let (code, reason) = self.payload.split_at(2);
        (u16::from_be_bytes([code[0], code[1]]), std::str::from_utf8(reason).unwrap())
    }

    /// A text frame's JSON.
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.opcode, TEXT, "{self:?}");
        serde_json::from_slice(&self.payload).unwrap()
    }
}

/// A connection after its handshake.
pub struct Socket {
    pub stream: TcpStream,
    /// Bytes read and not yet taken; those before `start` have been.
    buffer: Vec<u8>,
    start: usize,
    fragments: Fragments,
    /// The message given out last.
    message: Vec<u8>,
}

/// Request head of a handshake.
pub fn handshake(protocol: Protocol) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {}\r\n\r\n",
        protocol.name()
    )
}

/// A client's frame as a client must write it: final and masked.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    raw_frame(0x80 | opcode, true, payload)
}

/// A client's frame with any first byte, masked or not.
pub fn raw_frame(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let bit = if masked { 0x80 } else { 0 };
    let mut out = vec![first];
    match payload.len() {
        short @ 0..126 => out.push(bit | short as u8),
        middle @ 126..65_536 => {
            out.push(bit | 126);
            out.extend((middle as u16).to_be_bytes());
        }
        long => {
            out.push(bit | 127);
            out.extend((long as u64).to_be_bytes());
        }
    }
    if masked {
        out.extend(MASK);
        out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        out.extend(payload);
    }
    out
}

impl Socket {
    /// Connects, and reads up to and including `welcome`.
    pub async fn open(address: SocketAddr, protocol: Protocol) -> Socket {
        let mut socket = Socket::open_with(address, protocol, b"").await;
        let welcome = socket.next().await.json();
        assert_eq!(welcome["type"], "welcome");
        assert_eq!(welcome["protocol"], protocol.name());
        socket
    }

    /// Connects, with bytes that follow the handshake in the same packet, and reads the answer's head only.
    pub async fn open_with(address: SocketAddr, protocol: Protocol, pipelined: &[u8]) -> Socket {
        Socket::shake_hands(TcpStream::connect(address).await.unwrap(), protocol, pipelined).await
    }

    /// Connects with compression agreed on, and reads up to and including `welcome`.
    pub async fn open_deflate(address: SocketAddr, protocol: Protocol) -> Socket {
        let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        let request = handshake(protocol).replace("\r\n\r\n", offer);
        let mut socket =
            Socket::shake_hands_by(TcpStream::connect(address).await.unwrap(), request.as_bytes()).await;
        assert_eq!(socket.next().await.json()["type"], "welcome");
        socket
    }

    /// Connects with little room in the client's kernel: one that does not read is found out soon.
    pub async fn open_narrow(address: SocketAddr, protocol: Protocol) -> Socket {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(128 * 1_024).unwrap();
        Socket::shake_hands(socket.connect(address).await.unwrap(), protocol, b"").await
    }

    async fn shake_hands(stream: TcpStream, protocol: Protocol, pipelined: &[u8]) -> Socket {
        Socket::shake_hands_by(stream, &[handshake(protocol).as_bytes(), pipelined].concat()).await
    }

    async fn shake_hands_by(mut stream: TcpStream, request: &[u8]) -> Socket {
        stream.set_nodelay(true).unwrap();
        stream.write_all(request).await.unwrap();
        let mut socket = Socket {
            stream,
            buffer: Vec::new(),
            start: 0,
            fragments: Fragments::default(),
            message: Vec::new(),
        };
        let end = loop {
            if let Some(end) = socket.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(socket.fill().await.unwrap() > 0, "the server hung up in the handshake");
        };
        let head = String::from_utf8(socket.buffer[..end].to_vec()).unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        socket.start = end;
        socket
    }

    /// Writes bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("the server reads")
    }

    /// Sends a request.
    pub async fn send(&mut self, text: &str) {
        self.write(&frame(TEXT, text.as_bytes())).await.unwrap();
    }

    /// Waits for more bytes; 0 at the end of the stream.
    async fn fill(&mut self) -> io::Result<usize> {
        timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await.expect("the server says something")
    }

    /// Reads what there is without waiting; 0 where there is nothing, an error at the end of the stream.
    pub fn read_now(&mut self) -> io::Result<usize> {
        match self.stream.try_read_buf(&mut self.buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }

    /// The next message, or control frame, that has been read whole.
    pub fn take(&mut self) -> Option<(u8, &[u8])> {
        while let Some((first, head, payload)) = whole_frame(&self.buffer[self.start..]) {
            let from = self.start + head;
            self.start = from + payload;
            if let Some((opcode, message)) = self.fragments.take(first, &self.buffer[from..self.start]) {
                self.message = message;
                return Some((opcode, &self.message));
            }
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        None
    }

    /// Bytes of a frame whose end has not come.
    pub fn is_between_frames(&self) -> bool {
        self.start == self.buffer.len()
    }

    /// The next frame; `None` at the end of the stream.
    pub async fn next_or_end(&mut self) -> Option<Frame> {
        loop {
            if let Some((opcode, payload)) = self.take() {
                return Some(Frame { opcode, payload: payload.to_vec() });
            }
            if !self.fill().await.is_ok_and(|read| read > 0) {
                assert!(self.is_between_frames(), "the stream ended inside a frame");
                return None;
            }
        }
    }

    /// The next frame; panics at the end of the stream.
    pub async fn next(&mut self) -> Frame {
        self.next_or_end().await.expect("a frame, not the end")
    }

    /// The next text of a type, passing over everything else.
    pub async fn reply(&mut self, kind: &str) -> serde_json::Value {
        loop {
            let frame = self.next().await;
            if frame.opcode == TEXT {
                let value = frame.json();
                if value["type"] == kind {
                    return value;
                }
            }
        }
    }

    /// The close frame, passing over everything before it, and then the end of the stream.
    pub async fn closed(&mut self) -> (u16, String) {
        let close = loop {
            let frame = self.next().await;
            if frame.opcode == CLOSE {
                break frame;
            }
        };
        assert_eq!(self.next_or_end().await, None, "nothing follows the close frame");
        let (code, reason) = close.close();
        (code, reason.to_owned())
    }

    /// Whether nothing comes for a while.
    pub async fn is_silent(&mut self, time: Duration) -> bool {
        self.is_between_frames() && timeout(time, self.stream.readable()).await.is_err()
    }
}

/// First byte, head and payload length of the whole frame that starts here.
fn whole_frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (head, payload) = match second {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize),
        short => (2, usize::from(short)),
    };
    (bytes.len() >= head + payload).then_some((first, head, payload))
}
