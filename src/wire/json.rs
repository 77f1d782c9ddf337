//! The JSON twin of the binary records: the same message as one JSON object (`docs/protocol.md`, "Market data").
//!
//! Numbers are printed from integers and never pass through floating point. Nothing here allocates beyond the buffer
//! that the caller hands in and keeps.

use super::message::{self, Content, Levels, Meta, Orders};
use crate::model::{ABSENT, Decimal, Instrument, Level, OrderAction, OrderChange};

/// Appends one message as one JSON object, without a newline.
///
/// Keys, in this order: `type`, `symbol`, `first_seq`, `last_seq`, `timestamp` (milliseconds), `ts_ns`, `sent_ns`
/// (strings), `merged` where it is not 0, `more` where the exchange event is not complete (the binary flag `LAST`
/// the other way round: `last` is a price in `price`), `snapshot` (always in an `orderbook`, elsewhere where it is
/// true), then the keys of the type.
pub fn encode(out: &mut Vec<u8>, instrument: &Instrument, meta: &Meta, content: &Content<'_>) {
    object(out, instrument, None, meta, content);
}

/// Appends the body of `GET /api/v1/book/{symbol}`: the `orderbook` message with `epoch` after `symbol`.
pub fn encode_book_http(
    out: &mut Vec<u8>,
    instrument: &Instrument,
    epoch: u64,
    meta: &Meta,
    levels: &Levels<'_>,
) {
    object(out, instrument, Some(epoch), meta, &Content::Book(*levels));
}

fn object(
    out: &mut Vec<u8>,
    instrument: &Instrument,
    epoch: Option<u64>,
    meta: &Meta,
    content: &Content<'_>,
) {
    text(
        out,
        match content {
            Content::Quote(_) => "{\"type\":\"quote\",\"symbol\":",
            Content::Trade(_) => "{\"type\":\"trade\",\"symbol\":",
            Content::Book(_) => "{\"type\":\"orderbook\",\"symbol\":",
            Content::Order(_) => "{\"type\":\"order\",\"symbol\":",
            Content::Orders(_) => "{\"type\":\"orders\",\"symbol\":",
            Content::Ticker(_) => "{\"type\":\"price\",\"symbol\":",
            Content::Bar(_) => "{\"type\":\"bar\",\"symbol\":",
            Content::Status(_) => "{\"type\":\"status\",\"symbol\":",
        },
    );
    string(out, &instrument.symbol);
    if let Some(epoch) = epoch {
        text(out, ",\"epoch\":");
        integer(out, epoch);
    }
    common(out, meta, content);
    let price = |out: &mut Vec<u8>, key: &str, value: i64| {
        text(out, key);
        decimal(out, value, instrument.price_exponent);
    };
    let quantity = |out: &mut Vec<u8>, key: &str, value: i64| {
        text(out, key);
        decimal(out, value, instrument.quantity_exponent);
    };
    match content {
        Content::Quote(q) => {
            price(out, ",\"bid\":", q.bid);
            quantity(out, ",\"bid_quantity\":", q.bid_quantity);
            price(out, ",\"ask\":", q.ask);
            quantity(out, ",\"ask_quantity\":", q.ask_quantity);
        }
        Content::Trade(t) => {
            price(out, ",\"price\":", t.price);
            quantity(out, ",\"quantity\":", t.quantity);
            text(out, ",\"aggressor\":\"");
            text(out, t.aggressor.name());
            if t.trade_id == 0 {
                text(out, "\",\"trade_id\":null");
            } else {
                text(out, "\",\"trade_id\":\"");
                integer(out, t.trade_id);
                out.push(b'"');
            }
        }
        Content::Book(levels) => book(out, instrument, levels),
        Content::Ticker(t) => {
            price(out, ",\"bid\":", t.bid);
            price(out, ",\"ask\":", t.ask);
            price(out, ",\"last\":", t.last);
            quantity(out, ",\"volume\":", t.volume);
        }
        Content::Order(change) => order(out, instrument, change),
        Content::Orders(snapshot) => orders(out, instrument, snapshot),
        Content::Bar(b) => {
            text(out, ",\"period\":\"");
            text(out, b.period.name());
            text(out, "\",\"start\":");
            integer(out, b.start_ns / 1_000_000);
            price(out, ",\"open\":", b.open);
            price(out, ",\"high\":", b.high);
            price(out, ",\"low\":", b.low);
            price(out, ",\"close\":", b.close);
            quantity(out, ",\"volume\":", b.volume);
            text(out, if b.complete { ",\"complete\":true" } else { ",\"complete\":false" });
        }
        Content::Status(status) => {
            text(out, ",\"status\":\"");
            text(out, status.name());
            out.push(b'"');
        }
    }
    out.push(b'}');
}

/// What every message carries, after the symbol.
fn common(out: &mut Vec<u8>, meta: &Meta, content: &Content<'_>) {
    text(out, ",\"first_seq\":");
    integer(out, meta.first_seq);
    text(out, ",\"last_seq\":");
    integer(out, meta.last_seq);
    text(out, ",\"timestamp\":");
    integer(out, meta.ts_ns / 1_000_000);
    text(out, ",\"ts_ns\":\"");
    integer(out, meta.ts_ns);
    text(out, "\",\"sent_ns\":\"");
    integer(out, meta.sent_ns);
    out.push(b'"');
    let merged = message::merged(meta, content);
    if merged > 0 {
        text(out, ",\"merged\":");
        integer(out, merged);
    }
    if !meta.last {
        text(out, ",\"more\":true");
    }
    match (meta.snapshot, content) {
        (true, _) => text(out, ",\"snapshot\":true"),
        (false, Content::Book(_)) => text(out, ",\"snapshot\":false"),
        (false, _) => {}
    }
}

fn book(out: &mut Vec<u8>, instrument: &Instrument, levels: &Levels<'_>) {
    side(out, ",\"bids\":[", instrument, levels.bids);
    side(out, ",\"asks\":[", instrument, levels.asks);
    if let Some(checksum) = levels.checksum {
        text(out, ",\"checksum\":");
        integer(out, u64::from(checksum));
    }
    parts(out, levels.part, levels.parts);
}

/// Which part of a snapshot this is, where it is not whole.
fn parts(out: &mut Vec<u8>, part: u16, parts: u16) {
    if parts > 1 {
        text(out, ",\"part\":");
        integer(out, u64::from(part));
        text(out, ",\"parts\":");
        integer(out, u64::from(parts));
    }
}

fn order(out: &mut Vec<u8>, instrument: &Instrument, change: &OrderChange) {
    text(out, ",\"action\":\"");
    text(out, change.action.name());
    if change.action == OrderAction::Clear {
        text(out, "\",\"order_id\":null");
    } else {
        text(out, "\",\"order_id\":\"");
        integer(out, change.order_id);
        out.push(b'"');
    }
    match change.side {
        Some(side) => {
            text(out, ",\"side\":\"");
            text(out, side.name());
            text(out, "\",\"price\":");
        }
        None => text(out, ",\"side\":null,\"price\":"),
    }
    decimal(out, change.price, instrument.price_exponent);
    text(out, ",\"quantity\":");
    decimal(out, change.quantity, instrument.quantity_exponent);
    if change.executed > 0 {
        text(out, ",\"executed\":");
        decimal(out, change.executed, instrument.quantity_exponent);
    }
}

fn orders(out: &mut Vec<u8>, instrument: &Instrument, snapshot: &Orders<'_>) {
    text(out, ",\"orders\":[");
    for (i, order) in snapshot.orders.iter().enumerate() {
        text(out, if i == 0 { "[\"" } else { ",[\"" });
        integer(out, order.order_id);
        text(out, "\",\"");
        text(out, order.side.name());
        text(out, "\",");
        decimal(out, order.price, instrument.price_exponent);
        out.push(b',');
        decimal(out, order.quantity, instrument.quantity_exponent);
        out.push(b']');
    }
    out.push(b']');
    parts(out, snapshot.part, snapshot.parts);
}

fn side(out: &mut Vec<u8>, opening: &str, instrument: &Instrument, levels: &[Level]) {
    text(out, opening);
    for (i, level) in levels.iter().enumerate() {
        text(out, if i == 0 { "[" } else { ",[" });
        decimal(out, level.price, instrument.price_exponent);
        out.push(b',');
        decimal(out, level.quantity, instrument.quantity_exponent);
        out.push(b']');
    }
    out.push(b']');
}

/// Appends text as it is.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Appends a whole number.
pub(super) fn integer(out: &mut Vec<u8>, value: u64) {
    text(out, itoa::Buffer::new().format(value));
}

/// Appends an exact decimal number, or `null` for [`ABSENT`].
pub(super) fn decimal(out: &mut Vec<u8>, value: i64, exponent: i8) {
    if value == ABSENT { text(out, "null") } else { Decimal::new(value, exponent).write(out) }
}

/// Appends a JSON string. A catalog's symbols have nothing to escape; what has is escaped all the same, so that no
/// symbol, however it came about, can break out of its quotes.
pub(super) fn string(out: &mut Vec<u8>, value: &str) {
    if value.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push(b'"');
        text(out, value);
        out.push(b'"');
    } else {
        serde_json::to_writer(&mut *out, value).expect("writing a string into a Vec cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use serde_json::value::RawValue;

    use super::*;
    use crate::model::{Order, Side, parse_decimal};
    use crate::wire::testing::{instruments, messages};

    type Object<'a> = BTreeMap<&'a str, &'a RawValue>;

    fn read<'a>(object: &Object<'a>, key: &str) -> &'a str {
        object.get(key).unwrap_or_else(|| panic!("no {key}")).get()
    }

    /// The integer behind a number in the text, or [`ABSENT`] for `null`.
    fn value(text: &str, exponent: i8) -> i64 {
        if text == "null" { ABSENT } else { parse_decimal(text, exponent).expect(text) }
    }

    fn levels(text: &str, instrument: &Instrument) -> Vec<Level> {
        let entries: Vec<[&RawValue; 2]> = serde_json::from_str(text).unwrap();
        let level = |[price, quantity]: [&RawValue; 2]| Level {
            price: value(price.get(), instrument.price_exponent),
            quantity: value(quantity.get(), instrument.quantity_exponent),
        };
        entries.into_iter().map(level).collect()
    }

    fn orders(text: &str, instrument: &Instrument) -> Vec<Order> {
        let entries: Vec<(&str, &str, &RawValue, &RawValue)> = serde_json::from_str(text).unwrap();
        let order = |(order_id, side, price, quantity): (&str, &str, &RawValue, &RawValue)| Order {
            order_id: order_id.parse().unwrap(),
            side: [Side::Bid, Side::Ask].into_iter().find(|known| known.name() == side).unwrap(),
            price: value(price.get(), instrument.price_exponent),
            quantity: value(quantity.get(), instrument.quantity_exponent),
        };
        entries.into_iter().map(order).collect()
    }

    proptest! {
        #[test]
        fn the_text_says_exactly_what_the_message_says(instrument in instruments(), message in messages()) {
            let content = message.body.content().unwrap();
            let mut text = b"before".to_vec();
            encode(&mut text, &instrument, &message.meta, &content);
            let text = std::str::from_utf8(&text["before".len()..]).unwrap();
            let object: Object<'_> = serde_json::from_str(text).unwrap();
            // No key stands twice: what was read has as many as the text, whatever the symbol looks like.
            let without_symbol = text.replacen(read(&object, "symbol"), "\"\"", 1);
            prop_assert_eq!(object.len(), without_symbol.matches("\":").count());
            prop_assert!(!text.contains('\n'));
            let price = |key| value(read(&object, key), instrument.price_exponent);
            let quantity = |key| value(read(&object, key), instrument.quantity_exponent);
            let meta = &message.meta;
            prop_assert_eq!(serde_json::from_str::<String>(read(&object, "symbol")).unwrap(), &*instrument.symbol);
            prop_assert_eq!(read(&object, "first_seq"), meta.first_seq.to_string());
            prop_assert_eq!(read(&object, "last_seq"), meta.last_seq.to_string());
            prop_assert_eq!(read(&object, "timestamp"), (meta.ts_ns / 1_000_000).to_string());
            prop_assert_eq!(read(&object, "ts_ns"), format!("\"{}\"", meta.ts_ns));
            prop_assert_eq!(read(&object, "sent_ns"), format!("\"{}\"", meta.sent_ns));
            let optional = |key| object.get(key).map(|value| value.get().to_owned());
            let merged = message::merged(meta, &content);
            prop_assert_eq!(optional("merged"), (merged > 0).then(|| merged.to_string()));
            prop_assert_eq!(optional("more"), (!meta.last).then(|| "true".to_owned()));
            let is_book = matches!(content, Content::Book(_));
            prop_assert_eq!(optional("snapshot"), (meta.snapshot || is_book).then(|| meta.snapshot.to_string()));
            match content {
                Content::Quote(q) => {
                    prop_assert_eq!(read(&object, "type"), "\"quote\"");
                    prop_assert_eq!((price("bid"), quantity("bid_quantity")), (q.bid, q.bid_quantity));
                    prop_assert_eq!((price("ask"), quantity("ask_quantity")), (q.ask, q.ask_quantity));
                }
                Content::Trade(t) => {
                    prop_assert_eq!(read(&object, "type"), "\"trade\"");
                    prop_assert_eq!((price("price"), quantity("quantity")), (t.price, t.quantity));
                    prop_assert_eq!(read(&object, "aggressor"), format!("\"{}\"", t.aggressor.name()));
                    let id = if t.trade_id == 0 { "null".to_owned() } else { format!("\"{}\"", t.trade_id) };
                    prop_assert_eq!(read(&object, "trade_id"), id);
                }
                Content::Book(book) => {
                    prop_assert_eq!(read(&object, "type"), "\"orderbook\"");
                    prop_assert_eq!(levels(read(&object, "bids"), &instrument), book.bids);
                    prop_assert_eq!(levels(read(&object, "asks"), &instrument), book.asks);
                    prop_assert_eq!(optional("checksum"), book.checksum.map(|checksum| checksum.to_string()));
                    let in_parts = |number: u16| (book.parts > 1).then(|| number.to_string());
                    prop_assert_eq!(optional("part"), in_parts(book.part));
                    prop_assert_eq!(optional("parts"), in_parts(book.parts));
                }
                Content::Order(change) => {
                    prop_assert_eq!(read(&object, "type"), "\"order\"");
                    prop_assert_eq!(read(&object, "action"), format!("\"{}\"", change.action.name()));
                    let is_clear = change.action == OrderAction::Clear;
                    let id = if is_clear { "null".to_owned() } else { format!("\"{}\"", change.order_id) };
                    prop_assert_eq!(read(&object, "order_id"), id);
                    let side = change.side.map_or("null".to_owned(), |side| format!("\"{}\"", side.name()));
                    prop_assert_eq!(read(&object, "side"), side);
                    prop_assert_eq!((price("price"), quantity("quantity")), (change.price, change.quantity));
                    let executed = optional("executed").map(|text| value(&text, instrument.quantity_exponent));
                    prop_assert_eq!(executed, (change.executed > 0).then_some(change.executed));
                }
                Content::Orders(snapshot) => {
                    prop_assert_eq!(read(&object, "type"), "\"orders\"");
                    prop_assert_eq!(orders(read(&object, "orders"), &instrument), snapshot.orders);
                    let in_parts = |number: u16| (snapshot.parts > 1).then(|| number.to_string());
                    prop_assert_eq!(optional("part"), in_parts(snapshot.part));
                    prop_assert_eq!(optional("parts"), in_parts(snapshot.parts));
                }
                Content::Bar(bar) => {
                    prop_assert_eq!(read(&object, "type"), "\"bar\"");
                    prop_assert_eq!(read(&object, "period"), format!("\"{}\"", bar.period.name()));
                    prop_assert_eq!(read(&object, "start"), (bar.start_ns / 1_000_000).to_string());
                    prop_assert_eq!((price("open"), price("high")), (bar.open, bar.high));
                    prop_assert_eq!((price("low"), price("close")), (bar.low, bar.close));
                    prop_assert_eq!(quantity("volume"), bar.volume);
                    prop_assert_eq!(read(&object, "complete"), bar.complete.to_string());
                }
                Content::Ticker(t) => {
                    prop_assert_eq!(read(&object, "type"), "\"price\"");
                    prop_assert_eq!((price("bid"), price("ask")), (t.bid, t.ask));
                    prop_assert_eq!((price("last"), quantity("volume")), (t.last, t.volume));
                }
                Content::Status(status) => {
                    prop_assert_eq!(read(&object, "type"), "\"status\"");
                    prop_assert_eq!(read(&object, "status"), format!("\"{}\"", status.name()));
                }
            }
        }

        #[test]
        fn no_text_breaks_out_of_its_quotes(value in any::<String>()) {
            let mut text = Vec::new();
            string(&mut text, &value);
            prop_assert_eq!(serde_json::from_slice::<String>(&text).unwrap(), value);
        }
    }

    #[test]
    fn a_book_over_http_has_its_epoch() {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let instrument = instruments().new_tree(&mut runner).unwrap().current();
        let levels = [Level { price: 1, quantity: 2 }];
        let levels = Levels { bids: &levels, asks: &[], checksum: Some(9), part: 1, parts: 1 };
        let meta = Meta { first_seq: 4, last_seq: 4, ts_ns: 0, sent_ns: 0, snapshot: true, last: true };
        let (mut plain, mut http) = (Vec::new(), Vec::new());
        encode(&mut plain, &instrument, &meta, &Content::Book(levels));
        encode_book_http(&mut http, &instrument, 7, &meta, &levels);
        let http = String::from_utf8(http).unwrap();
        assert_eq!(http.replace(",\"epoch\":7", ""), String::from_utf8(plain).unwrap());
        assert!(http.contains("\"epoch\":7"));
    }
}
