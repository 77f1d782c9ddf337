//! The JSON twin of the binary records: the same message as one JSON object (`docs/protocol.md`, "Market data").
//!
//! Numbers are printed from integers and never pass through floating point. Nothing here allocates beyond the buffer
//! that the caller hands in and keeps.

use super::message::{self, Content, Levels, Meta};
use crate::model::{ABSENT, Decimal, Instrument, Level};

/// Appends one message as one JSON object, without a newline.
///
/// Keys, in this order: `type`, `symbol`, `first_seq`, `last_seq`, `timestamp` (milliseconds), `ts_ns`, `sent_ns`
/// (strings), `merged` where it is not 0, `last` where it is false, `snapshot` (always in an `orderbook`, elsewhere
/// where it is true), then the keys of the type.
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
            Content::Ticker(_) => "{\"type\":\"price\",\"symbol\":",
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
        text(out, ",\"last\":false");
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
    if levels.parts > 1 {
        text(out, ",\"part\":");
        integer(out, u64::from(levels.part));
        text(out, ",\"parts\":");
        integer(out, u64::from(levels.parts));
    }
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
