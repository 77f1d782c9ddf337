//! The messages that the golden files hold, and what any decoder must make of them.

use serde_json::{Map, Value, json};
use tickcast::model::{
    ABSENT, Aggressor, Bar, Channel, ChannelSet, Instrument, Level, Order, OrderAction, OrderChange, Period,
    Quote, Side, Status, Ticker, Trade,
};
use tickcast::wire::market::{self, MessageBody};
use tickcast::wire::message::{self, Meta};

/// One frame.
pub struct Case {
    pub name: &'static str,
    pub number: u32,
    pub instrument: Instrument,
    pub channel: Channel,
    pub epoch: u64,
    pub messages: Vec<Item>,
}

/// One message of a frame: one this version knows, or bytes of a later one with what a decoder makes of them.
pub enum Item {
    Known(Meta, MessageBody),
    Later(Vec<u8>, Option<(Meta, MessageBody)>),
}

/// 2026-11-22T00:58:49.123456789Z.
const TS_NS: u64 = 1_795_309_129_123_456_789;

fn instrument(symbol: &str, price_exponent: i8, quantity_exponent: i8) -> Instrument {
    Instrument {
        symbol: symbol.into(),
        price_exponent,
        quantity_exponent,
        tick_size: 1,
        lot_size: 1,
        channels: ChannelSet::of(&Channel::ALL),
        book_depth: 0,
        source_id: 0,
    }
}

fn update(first_seq: u64, last_seq: u64) -> Meta {
    Meta { first_seq, last_seq, ts_ns: TS_NS, sent_ns: TS_NS + 12_345, snapshot: false, last: true }
}

fn state(seq: u64) -> Meta {
    Meta { snapshot: true, ..update(seq, seq) }
}

fn levels(entries: &[(i64, i64)]) -> Vec<Level> {
    entries.iter().map(|&(price, quantity)| Level { price, quantity }).collect()
}

fn book(bids: &[(i64, i64)], asks: &[(i64, i64)]) -> MessageBody {
    MessageBody::Book { bids: levels(bids), asks: levels(asks), checksum: None, part: 1, parts: 1 }
}

/// One part of a snapshot; `checksum` is that of the whole book, on its last part.
fn part(body: MessageBody, part: u16, parts: u16, checksum: Option<u32>) -> MessageBody {
    match body {
        MessageBody::Book { bids, asks, .. } => MessageBody::Book { bids, asks, checksum, part, parts },
        other => other,
    }
}

fn checksum(bids: &[(i64, i64)], asks: &[(i64, i64)], depth: usize) -> Option<u32> {
    Some(message::checksum(levels(bids).iter(), levels(asks).iter(), depth))
}

/// Part of a snapshot of orders: identifier, side, price, quantity of each.
fn orders(entries: &[(u64, Side, i64, i64)], part: u16, parts: u16) -> MessageBody {
    let order = |&(order_id, side, price, quantity)| Order { order_id, side, price, quantity };
    MessageBody::Orders { orders: entries.iter().map(order).collect(), part, parts }
}

fn order(
    action: OrderAction,
    order_id: u64,
    side: Side,
    price: i64,
    quantity: i64,
    executed: i64,
) -> MessageBody {
    MessageBody::Order(OrderChange { action, order_id, side: Some(side), price, quantity, executed })
}

fn encoded(meta: &Meta, body: &MessageBody) -> Vec<u8> {
    let mut bytes = Vec::new();
    market::encode(&mut bytes, meta, &body.content().expect("a known body"));
    bytes
}

/// Every golden frame. Files are named for them; whoever adds one runs the tests in update mode.
pub fn all() -> Vec<Case> {
    use Item::Known;
    use OrderAction::{Add, Cancel, Execute, Modify};
    use Side::{Ask, Bid};
    let btc = || instrument("BTC-USD", -2, -8);
    let oil = || instrument("CLK0", -2, 0);
    let case = |name, (number, instrument), channel, messages| Case {
        name,
        number,
        instrument,
        channel,
        epoch: 7,
        messages,
    };
    let quote = Quote { bid: 6_543_210, bid_quantity: 150_000_000, ask: 6_543_350, ask_quantity: 1 };
    let trade = |price, quantity, trade_id, aggressor| {
        MessageBody::Trade(Trade { price, quantity, trade_id, aggressor })
    };
    let bar = Bar {
        period: Period::Minute,
        start_ns: TS_NS - TS_NS % Period::Minute.nanoseconds(),
        open: 6_543_300,
        high: 6_543_350,
        low: 6_543_210,
        close: 6_543_350,
        volume: 150_000_000,
        complete: false,
    };
    let bids = [(481_000, 22), (480_975, 31), (480_950, 7)];
    let asks = [(481_025, 28), (481_050, 40)];
    let many: Vec<(i64, i64)> = (0..12).map(|i| (1_000 - i, 10 + i)).collect();
    vec![
        case("quote", (0, btc()), Channel::Quotes, vec![Known(update(42, 42), MessageBody::Quote(quote))]),
        case(
            "quote_empty",
            (0, btc()),
            Channel::Quotes,
            vec![
                Known(state(0), MessageBody::Quote(Quote::EMPTY)),
                Known(update(1, 1), MessageBody::Quote(Quote { ask: ABSENT, ask_quantity: ABSENT, ..quote })),
                Known(update(2, 6), MessageBody::Quote(Quote { bid: 0, bid_quantity: 0, ..quote })),
            ],
        ),
        case(
            "trade",
            (0, btc()),
            Channel::Trades,
            vec![Known(update(9, 9), trade(6_543_350, 25_000_000, 123_456_789_012_345_678, Aggressor::Buy))],
        ),
        case(
            "trade_negative",
            (2, oil()),
            Channel::Trades,
            vec![
                Known(Meta { last: false, ..update(1, 1) }, trade(-3_763, 5, 0, Aggressor::Sell)),
                Known(update(2, 2), trade(-5, 1, u64::MAX, Aggressor::None)),
                Known(Meta { snapshot: true, ..update(2, 2) }, trade(-5, 1, u64::MAX, Aggressor::None)),
            ],
        ),
        case(
            "book_snapshot",
            (1, instrument("ESH4", -2, 0)),
            Channel::Book,
            vec![Known(state(1_000), part(book(&bids, &asks), 1, 1, checksum(&bids, &asks, 10)))],
        ),
        case(
            "book_update",
            (1, instrument("ESH4", -2, 0)),
            Channel::Book,
            vec![
                Known(Meta { last: false, ..update(1_001, 1_002) }, book(&[(481_000, 0), (480_925, 3)], &[])),
                Known(update(1_003, 1_007), book(&[], &[(481_025, 27)])),
            ],
        ),
        case(
            "book_empty",
            (1, instrument("ESH4", -2, 0)),
            Channel::Book,
            vec![Known(state(0), part(book(&[], &[]), 1, 1, checksum(&[], &[], 10)))],
        ),
        case(
            "book_parts",
            (2, oil()),
            Channel::Book,
            vec![
                Known(Meta { last: false, ..state(50) }, part(book(&many[..8], &[]), 1, 3, None)),
                Known(Meta { last: false, ..state(50) }, part(book(&many[8..], &[(1_001, 2)]), 2, 3, None)),
                Known(
                    state(50),
                    part(book(&[], &[(1_002, 0x1234_5678_9ABC)]), 3, 3, {
                        checksum(&many, &[(1_001, 2), (1_002, 0x1234_5678_9ABC)], 10)
                    }),
                ),
            ],
        ),
        case(
            "orders",
            (1, instrument("ESH4", -2, 0)),
            Channel::Orders,
            vec![
                Known(
                    Meta { last: false, ..state(400) },
                    orders(&[(9_007_199_254_740_993, Bid, 481_000, 5), (12, Bid, 481_000, 17)], 1, 2),
                ),
                Known(state(400), orders(&[(7, Bid, 480_975, 31), (15, Ask, 481_025, 28)], 2, 2)),
            ],
        ),
        case(
            "order",
            (1, instrument("ESH4", -2, 0)),
            Channel::Orders,
            vec![
                Known(Meta { last: false, ..update(401, 401) }, order(Add, 18, Bid, 481_000, 4, 0)),
                Known(Meta { last: false, ..update(402, 402) }, order(Modify, 12, Bid, 481_000, 10, 0)),
                Known(update(403, 403), order(Modify, 9_007_199_254_740_993, Bid, 481_000, 6, 0)),
                Known(update(404, 404), order(Execute, 12, Bid, 481_000, 7, 3)),
                Known(update(405, 405), order(Cancel, 15, Ask, 481_025, 0, 0)),
            ],
        ),
        case(
            "order_clear",
            (2, oil()),
            Channel::Orders,
            vec![
                Known(state(0), orders(&[], 1, 1)),
                Known(update(1, 1), order(Add, u64::MAX, Ask, -3_763, i64::MAX, 0)),
                Known(update(2, 2), order(Execute, u64::MAX, Ask, -3_763, 0, i64::MAX)),
                Known(update(3, 3), order(Add, 0, Ask, 0, 1, 0)),
                Known(update(4, 4), MessageBody::Order(OrderChange::CLEAR)),
            ],
        ),
        case(
            "bar",
            (0, btc()),
            Channel::Bars,
            vec![
                Known(state(70), MessageBody::Bar(bar)),
                Known(
                    update(71, 73),
                    MessageBody::Bar(Bar { low: 6_543_000, close: 6_543_000, volume: 175_000_000, ..bar }),
                ),
                Known(
                    update(74, 74),
                    MessageBody::Bar(Bar {
                        low: 6_543_000,
                        close: 6_543_000,
                        volume: 175_000_000,
                        complete: true,
                        ..bar
                    }),
                ),
            ],
        ),
        case(
            "bar_periods",
            (2, oil()),
            Channel::Bars,
            [Period::Second, Period::FiveMinutes, Period::Hour]
                .map(|period| {
                    let (open, high, low, close) = (-3_763, 0, -4_000, -5);
                    let start_ns = TS_NS - TS_NS % period.nanoseconds();
                    let (volume, complete) = (i64::MAX, false);
                    let bar = Bar { period, start_ns, open, high, low, close, volume, complete };
                    Known(state(9), MessageBody::Bar(bar))
                })
                .into(),
        ),
        case(
            "price",
            (0, btc()),
            Channel::Ticker,
            vec![
                Known(state(0), MessageBody::Ticker(Ticker::EMPTY)),
                Known(
                    Meta { last: false, ..update(1, 3) },
                    MessageBody::Ticker(Ticker {
                        bid: 6_543_210,
                        ask: 6_543_350,
                        last: 6_543_300,
                        volume: 25_000_000,
                    }),
                ),
            ],
        ),
        case(
            "status",
            (0, btc()),
            Channel::Status,
            vec![
                Known(state(0), MessageBody::Status(Some(Status::Trading))),
                Known(update(1, 1), MessageBody::Status(Some(Status::Halted))),
                Known(update(2, 2), MessageBody::Status(Some(Status::Auction))),
                Known(update(3, 3), MessageBody::Status(Some(Status::Closed))),
            ],
        ),
        case(
            "exponents",
            (u32::MAX, instrument("!#$%&'()+,-./:;<=>?@[]^_`{|}~09", 3, -18)),
            Channel::Trades,
            vec![
                Known(update(1, 1), trade(12, 1, 1, Aggressor::Buy)),
                Known(update(2, 2), trade(0, i64::MAX, 2, Aggressor::Buy)),
                Known(
                    update((1 << 53) - 1, (1 << 53) - 1),
                    trade(-i64::MAX, 1_000_000_000_000_000_000, 3, Aggressor::Sell),
                ),
            ],
        ),
        later(case("later_version", (0, btc()), Channel::Quotes, Vec::new()), quote, MessageBody::Bar(bar)),
    ]
}

/// What a later server of the same frame version may send: a kind, an action, a period, a flag, a longer body that
/// nobody knows yet.
fn later(case: Case, quote: Quote, bar: MessageBody) -> Case {
    let body = MessageBody::Quote(quote);
    let mut unknown_kind = encoded(&update(1, 1), &body);
    unknown_kind[4] = 200;
    let mut no_body = encoded(&update(1, 1), &body)[..40].to_vec();
    (no_body[0], no_body[4]) = (40, 201);
    let mut unknown_action = encoded(&update(1, 1), &MessageBody::Order(OrderChange::CLEAR));
    unknown_action[40 + 32] = 6;
    let mut unknown_period = encoded(&update(1, 1), &bar);
    unknown_period[40 + 48] = 4;
    let mut longer = encoded(&update(2, 2), &body);
    longer.extend_from_slice(&[0xEE; 16]);
    longer[0] += 16;
    let mut flagged = encoded(&update(3, 3), &body);
    flagged[5] |= 0x80;
    flagged[6] = 0xFF;
    let messages = vec![
        Item::Later(unknown_kind, None),
        Item::Later(unknown_action, None),
        Item::Later(unknown_period, None),
        Item::Later(longer, Some((update(2, 2), body.clone()))),
        Item::Later(no_body, None),
        Item::Later(flagged, Some((update(3, 3), body.clone()))),
        Item::Known(update(4, 4), body),
    ];
    Case { messages, ..case }
}

impl Case {
    /// The frame's payload.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        market::begin_frame(&mut bytes, self.channel, self.number, self.epoch);
        for item in &self.messages {
            match item {
                Item::Known(meta, body) => bytes.extend(encoded(meta, body)),
                Item::Later(message, _) => bytes.extend_from_slice(message),
            }
        }
        market::finish_frame(&mut bytes, 0, self.messages.len() as u16);
        bytes
    }

    /// The messages that a decoder of this version understands.
    pub fn known(&self) -> impl Iterator<Item = (&Meta, &MessageBody)> {
        self.messages.iter().filter_map(|item| match item {
            Item::Known(meta, body) => Some((meta, body)),
            Item::Later(_, message) => message.as_ref().map(|(meta, body)| (meta, body)),
        })
    }

    /// What a decoder makes of the frame: the shape of the JSON twin, with every price and quantity as a string.
    pub fn expected(&self) -> Value {
        let messages: Vec<Value> = self.known().map(|(meta, body)| self.message(meta, body)).collect();
        json!({
            "name": self.name,
            "stream": {
                "symbol": self.instrument.symbol,
                "instrument": self.number,
                "price_exponent": self.instrument.price_exponent,
                "quantity_exponent": self.instrument.quantity_exponent,
            },
            "frame": {
                "channel": self.channel.name(),
                "instrument": self.number,
                "epoch": self.epoch,
                "messages": messages,
            },
        })
    }

    fn message(&self, meta: &Meta, body: &MessageBody) -> Value {
        let price = |value| decimal(value, self.instrument.price_exponent);
        let quantity = |value| decimal(value, self.instrument.quantity_exponent);
        let side = |levels: &[Level]| -> Vec<Value> {
            levels.iter().map(|level| json!([price(level.price), quantity(level.quantity)])).collect()
        };
        let mut message = Map::new();
        let mut put = |key: &str, value: Value| message.insert(key.into(), value);
        put("symbol", json!(self.instrument.symbol));
        put("first_seq", json!(meta.first_seq));
        put("last_seq", json!(meta.last_seq));
        put("timestamp", json!(meta.ts_ns / 1_000_000));
        put("ts_ns", json!(meta.ts_ns.to_string()));
        put("sent_ns", json!(meta.sent_ns.to_string()));
        if meta.snapshot {
            put("snapshot", json!(true));
        }
        if !meta.last {
            put("more", json!(true));
        }
        let mut carried = 1;
        match body {
            MessageBody::Quote(q) => {
                put("type", json!("quote"));
                put("bid", price(q.bid));
                put("bid_quantity", quantity(q.bid_quantity));
                put("ask", price(q.ask));
                put("ask_quantity", quantity(q.ask_quantity));
            }
            MessageBody::Trade(t) => {
                put("type", json!("trade"));
                put("price", price(t.price));
                put("quantity", quantity(t.quantity));
                put("aggressor", json!(["none", "buy", "sell"][t.aggressor as usize]));
                put("trade_id", (t.trade_id != 0).then(|| t.trade_id.to_string()).into());
            }
            MessageBody::Book { bids, asks, checksum, part, parts } => {
                put("type", json!("orderbook"));
                put("snapshot", json!(meta.snapshot));
                put("bids", side(bids).into());
                put("asks", side(asks).into());
                carried = (bids.len() + asks.len()) as u64;
                if let Some(checksum) = checksum {
                    put("checksum", json!(checksum));
                }
                if *parts > 1 {
                    put("part", json!(part));
                    put("parts", json!(parts));
                }
            }
            MessageBody::Order(o) => {
                put("type", json!("order"));
                put("action", json!(["", "add", "modify", "cancel", "execute", "clear"][o.action as usize]));
                put("order_id", (o.action != OrderAction::Clear).then(|| o.order_id.to_string()).into());
                put("side", o.side.map(|side| ["", "bid", "ask"][side as usize]).into());
                put("price", price(o.price));
                put("quantity", quantity(o.quantity));
                if o.executed > 0 {
                    put("executed", quantity(o.executed));
                }
            }
            MessageBody::Orders { orders, part, parts } => {
                put("type", json!("orders"));
                let entry = |order: &Order| {
                    let side = ["", "bid", "ask"][order.side as usize];
                    json!([order.order_id.to_string(), side, price(order.price), quantity(order.quantity)])
                };
                put("orders", orders.iter().map(entry).collect());
                if *parts > 1 {
                    put("part", json!(part));
                    put("parts", json!(parts));
                }
            }
            MessageBody::Bar(bar) => {
                put("type", json!("bar"));
                put("period", json!(["1s", "1m", "5m", "1h"][bar.period as usize]));
                put("start", json!(bar.start_ns / 1_000_000));
                put("open", price(bar.open));
                put("high", price(bar.high));
                put("low", price(bar.low));
                put("close", price(bar.close));
                put("volume", quantity(bar.volume));
                put("complete", json!(bar.complete));
            }
            MessageBody::Ticker(t) => {
                put("type", json!("price"));
                put("bid", price(t.bid));
                put("ask", price(t.ask));
                put("last", price(t.last));
                put("volume", quantity(t.volume));
            }
            MessageBody::Status(status) => {
                put("type", json!("status"));
                let status = status.expect("golden statuses are known") as usize;
                put("status", json!(["", "trading", "halted", "auction", "closed"][status]));
            }
            MessageBody::Unknown(_) => unreachable!("unknown kinds are skipped"),
        }
        let covered = meta.last_seq - meta.first_seq + 1;
        if !meta.snapshot && covered > carried {
            put("merged", json!(covered - carried));
        }
        message.into()
    }
}

/// An exact decimal, made another way than the encoder makes it: digits, then the point moved.
fn decimal(value: i64, exponent: i8) -> Value {
    if value == ABSENT {
        return Value::Null;
    }
    let sign = if value < 0 { "-" } else { "" };
    let digits = value.unsigned_abs().to_string();
    let text = if exponent >= 0 {
        let zeros = if value == 0 { 0 } else { exponent as usize };
        format!("{digits}{}", "0".repeat(zeros))
    } else {
        let places = exponent.unsigned_abs() as usize;
        let digits = format!("{digits:0>width$}", width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        format!("{whole}.{fraction}").trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    format!("{sign}{text}").into()
}
