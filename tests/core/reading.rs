//! From bytes to what they say: WebSocket frames, JSON by hand, binary by the codec, which is all that this client shares
//! with the server.

use serde_json::Value;
use tickcast::model::{
    ABSENT, Aggressor, Bar, Catalog, Channel, Level, Order, OrderAction, OrderChange, Period, Quote, Side,
    Status, Ticker, Trade,
};
use tickcast::wire::market::{self, MessageBody};
use tickcast::wire::message::Meta;

use super::oracle::StreamKey;

/// What the server says in one WebSocket message.
#[derive(Debug)]
pub enum Said {
    Welcome,
    Subscribed { id: u64, streams: Vec<Granted>, more: bool },
    Unsubscribed { id: u64, streams: Vec<StreamKey>, more: bool },
    Instruments { id: u64, count: usize, more: bool },
    Pong { id: u64 },
    Error { id: Option<u64>, code: String },
    Heartbeat(Vec<(StreamKey, u64, u64)>),
    Notice(String),
    Gap { stream: StreamKey, epoch: u64, from: u64, to: u64, count: u64 },
    Reset { instrument: u32, epoch: u64, reason: String },
    Data(Vec<Data>),
}

/// A stream that was granted.
#[derive(Clone, Copy, Debug)]
pub struct Granted {
    pub stream: StreamKey,
    pub depth: Option<u32>,
    pub interval_ms: u64,
    pub period: Option<Period>,
    pub epoch: u64,
    pub seq: u64,
}

/// One message of market data.
#[derive(Debug)]
pub struct Data {
    pub stream: StreamKey,
    /// Only binary frames tell it.
    pub epoch: Option<u64>,
    pub meta: Meta,
    pub body: MessageBody,
    /// Only JSON tells it; absent: 0.
    pub merged: Option<u64>,
}

/// First byte, head and payload length of the whole frame that starts here.
pub fn frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (head, payload) = match second {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize),
        short => (2, usize::from(short)),
    };
    (bytes.len() >= head + payload).then_some((first, head, payload))
}

/// Reads a binary message.
pub fn binary(payload: &[u8]) -> Said {
    let (header, messages) = market::decode(payload).unwrap();
    assert!(!messages.is_empty());
    let stream = (header.instrument, Channel::from_number(header.channel).unwrap());
    let data = messages.into_iter().map(|message| Data {
        stream,
        epoch: Some(header.epoch),
        meta: message.meta,
        body: message.body,
        merged: None,
    });
    Said::Data(data.collect())
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no whole number"))
}

/// A number in a string.
fn quoted(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

/// The integer behind a decimal of that exponent.
fn decimal(value: &Value, exponent: i8) -> i64 {
    match value {
        Value::Null => ABSENT,
        value => (value.as_f64().unwrap() * 10_f64.powi(-i32::from(exponent))).round() as i64,
    }
}

/// Reads a text message.
pub fn text(payload: &[u8], catalog: &Catalog) -> Said {
    let value: Value = serde_json::from_slice(payload).unwrap();
    let key = |of: &Value| -> StreamKey {
        let symbol = of["symbol"].as_str().unwrap();
        (catalog.find(symbol).unwrap(), Channel::from_name(of["channel"].as_str().unwrap()).unwrap())
    };
    let streams = || value["streams"].as_array().unwrap().iter();
    let id = || number(&value["id"]);
    let more = value["more"] == true;
    match value["type"].as_str().unwrap() {
        "welcome" => Said::Welcome,
        "subscribed" => {
            let granted = streams().map(|stream| Granted {
                stream: key(stream),
                depth: stream["depth"].as_u64().map(|depth| depth as u32),
                interval_ms: number(&stream["interval_ms"]),
                period: stream["period"].as_str().map(|name| Period::from_name(name).unwrap()),
                epoch: number(&stream["epoch"]),
                seq: number(&stream["seq"]),
            });
            Said::Subscribed { id: id(), streams: granted.collect(), more }
        }
        "unsubscribed" => Said::Unsubscribed { id: id(), streams: streams().map(key).collect(), more },
        "instruments" => {
            Said::Instruments { id: id(), count: value["instruments"].as_array().unwrap().len(), more }
        }
        "pong" => Said::Pong { id: id() },
        "error" => Said::Error { id: value["id"].as_u64(), code: value["code"].as_str().unwrap().to_owned() },
        "heartbeat" => {
            let named = streams().map(|it| (key(it), number(&it["epoch"]), number(&it["seq"])));
            Said::Heartbeat(named.collect())
        }
        "notice" => Said::Notice(value["code"].as_str().unwrap().to_owned()),
        "gap" => Said::Gap {
            stream: key(&value),
            epoch: number(&value["epoch"]),
            from: number(&value["from"]),
            to: number(&value["to"]),
            count: number(&value["count"]),
        },
        "reset" => Said::Reset {
            instrument: catalog.find(value["symbol"].as_str().unwrap()).unwrap(),
            epoch: number(&value["epoch"]),
            reason: value["reason"].as_str().unwrap().to_owned(),
        },
        kind => Said::Data(vec![data(kind, &value, catalog)]),
    }
}

fn data(kind: &str, value: &Value, catalog: &Catalog) -> Data {
    let instrument = catalog.find(value["symbol"].as_str().unwrap()).unwrap();
    let listed = &catalog.instruments()[instrument as usize];
    let price = |value: &Value| decimal(value, listed.price_exponent);
    let quantity = |value: &Value| decimal(value, listed.quantity_exponent);
    let part = |key: &str| value[key].as_u64().unwrap_or(1) as u16;
    let side_named = |value: &Value| match value.as_str() {
        Some("bid") => Some(Side::Bid),
        Some("ask") => Some(Side::Ask),
        _ => None,
    };
    let (channel, body) = match kind {
        "quote" => {
            let [bid, ask] = ["bid", "ask"].map(|key| price(&value[key]));
            let [bid_quantity, ask_quantity] =
                ["bid_quantity", "ask_quantity"].map(|key| quantity(&value[key]));
            (Channel::Quotes, MessageBody::Quote(Quote { bid, bid_quantity, ask, ask_quantity }))
        }
        "trade" => {
            let aggressor = match value["aggressor"].as_str().unwrap() {
                "buy" => Aggressor::Buy,
                "sell" => Aggressor::Sell,
                _ => Aggressor::None,
            };
            let trade_id = if value["trade_id"].is_null() { 0 } else { quoted(&value["trade_id"]) };
            let (price, quantity) = (price(&value["price"]), quantity(&value["quantity"]));
            (Channel::Trades, MessageBody::Trade(Trade { price, quantity, trade_id, aggressor }))
        }
        "orderbook" => {
            let [bids, asks] = ["bids", "asks"].map(|key| {
                let levels = value[key].as_array().unwrap().iter();
                levels.map(|it| Level { price: price(&it[0]), quantity: quantity(&it[1]) }).collect()
            });
            let checksum = value["checksum"].as_u64().map(|checksum| checksum as u32);
            let (part, parts) = (part("part"), part("parts"));
            (Channel::Book, MessageBody::Book { bids, asks, checksum, part, parts })
        }
        "order" => {
            let action = (1..=5).filter_map(OrderAction::from_number);
            let action = action.into_iter().find(|it| it.name() == value["action"]).unwrap();
            let change = OrderChange {
                action,
                order_id: if value["order_id"].is_null() { 0 } else { quoted(&value["order_id"]) },
                side: side_named(&value["side"]),
                price: price(&value["price"]),
                quantity: quantity(&value["quantity"]),
                executed: if value["executed"].is_null() { 0 } else { quantity(&value["executed"]) },
            };
            (Channel::Orders, MessageBody::Order(change))
        }
        "orders" => {
            let orders = value["orders"].as_array().unwrap().iter().map(|order| Order {
                order_id: quoted(&order[0]),
                side: side_named(&order[1]).unwrap(),
                price: price(&order[2]),
                quantity: quantity(&order[3]),
            });
            let (part, parts) = (part("part"), part("parts"));
            (Channel::Orders, MessageBody::Orders { orders: orders.collect(), part, parts })
        }
        "price" => {
            let [bid, ask, last] = ["bid", "ask", "last"].map(|key| price(&value[key]));
            let volume = quantity(&value["volume"]);
            (Channel::Ticker, MessageBody::Ticker(Ticker { bid, ask, last, volume }))
        }
        "bar" => {
            let [open, high, low, close] = ["open", "high", "low", "close"].map(|key| price(&value[key]));
            let bar = Bar {
                period: Period::from_name(value["period"].as_str().unwrap()).unwrap(),
                start_ns: number(&value["start"]) * 1_000_000,
                open,
                high,
                low,
                close,
                volume: quantity(&value["volume"]),
                complete: value["complete"].as_bool().unwrap(),
            };
            (Channel::Bars, MessageBody::Bar(bar))
        }
        "status" => {
            let status = (1..=4).filter_map(Status::from_number);
            let status = status.into_iter().find(|it| it.name() == value["status"]).unwrap();
            (Channel::Status, MessageBody::Status(Some(status)))
        }
        other => panic!("type {other}"),
    };
    let meta = Meta {
        first_seq: number(&value["first_seq"]),
        last_seq: number(&value["last_seq"]),
        ts_ns: quoted(&value["ts_ns"]),
        sent_ns: quoted(&value["sent_ns"]),
        snapshot: value["snapshot"] == true,
        last: value["more"] != true,
    };
    let merged = Some(value["merged"].as_u64().unwrap_or(0));
    Data { stream: (instrument, channel), epoch: None, meta, body, merged }
}
