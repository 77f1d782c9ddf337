//! The instruments of a server: `GET /api/v1/instruments`.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{CONNECTION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpStream;

use crate::client::Address;
use crate::limits;
use crate::model::parse_decimal;

/// An instrument as a server lists it; what it does not say is nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Listed {
    /// Its symbol.
    pub symbol: String,
    /// Power of ten of prices.
    pub price_exponent: i8,
    /// Power of ten of quantities.
    pub quantity_exponent: i8,
    /// Smallest price step, as it is written.
    tick_size: Option<Box<RawValue>>,
    /// Smallest quantity step, as it is written.
    lot_size: Option<Box<RawValue>>,
    /// Names of its channels.
    pub channels: Vec<String>,
}

impl Listed {
    /// Smallest price step, in integer prices; 0 where the server does not say.
    pub fn tick_size(&self) -> i64 {
        step(self.tick_size.as_deref(), self.price_exponent)
    }

    /// Smallest quantity step, in integer quantities; 0 where the server does not say.
    pub fn lot_size(&self) -> i64 {
        step(self.lot_size.as_deref(), self.quantity_exponent)
    }
}

fn step(written: Option<&RawValue>, exponent: i8) -> i64 {
    written.and_then(|written| parse_decimal(written.get(), exponent)).unwrap_or(0)
}

/// The list of the server whose stream is there.
pub(super) async fn fetch(address: &Address) -> anyhow::Result<Vec<Listed>> {
    let limit = Duration::from_millis(limits::WATCH_LIST_MS_MAX);
    let path = path(address);
    let body = tokio::time::timeout(limit, get(address, &path)).await;
    let what = || format!("no list of instruments from {}{path}", address.authority());
    let body = body.with_context(|| format!("{}: no answer within {} s", what(), limit.as_secs()))?;
    parsed(&body.with_context(what)?).with_context(what)
}

/// The interface stands beside the stream.
fn path(address: &Address) -> String {
    let path = address.path().split('?').next().unwrap_or_default();
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{folder}/api/v1/instruments")
}

async fn get(address: &Address, path: &str) -> anyhow::Result<Bytes> {
    let socket = TcpStream::connect((address.host(), address.port())).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    // It ends with the answer; what it could say of an error, the request says too.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    let request = Request::get(path).header(HOST, address.authority()).header(CONNECTION, "close");
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    if response.status() != StatusCode::OK {
        bail!("status {}", response.status());
    }
    let body = Limited::new(response.into_body(), limits::WATCH_LIST_BYTES_MAX);
    match body.collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => bail!("{error}"),
    }
}

fn parsed(body: &[u8]) -> anyhow::Result<Vec<Listed>> {
    #[derive(Deserialize)]
    struct List {
        instruments: Vec<Listed>,
    }
    let list: List = serde_json::from_slice(body)?;
    Ok(list.instruments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instrument_is_as_it_is_listed() {
        let body = br#"{"type":"instruments","epoch":7,"instruments":[{"symbol":"B","instrument":0,"price_exponent":-2,"quantity_exponent":-6,
            "tick_size":0.05,"lot_size":null,"channels":["trades","of a later version"],"status":"trading"},{"symbol":"A"}]}"#;
        let list = parsed(body).unwrap();
        assert_eq!((list[0].tick_size(), list[0].lot_size(), list[1].tick_size()), (5, 0, 0));
        assert_eq!((list[0].price_exponent, list[0].channels.len()), (-2, 2));
    }

    #[test]
    fn the_interface_stands_beside_the_stream() {
        let path_of = |url: &str| path(&url.parse().unwrap());
        assert_eq!(path_of("ws://h:1/ws"), "/api/v1/instruments");
        assert_eq!(path_of("ws://h/market/ws?x=/y"), "/market/api/v1/instruments");
    }
}
