//! Messages of exchanges that are made up after their documents, and captures of them.
#![allow(dead_code, reason = "every test file compiles this module and uses a part of it")]

use std::path::{Path, PathBuf};

use tickcast::feed::Reader;
use tickcast::feed::import::capture::{self, Exchange};
use tickcast::feed::import::{ImportError, ImportOptions, Imported};
use tickcast::model::{Primary, Side};

use crate::feeds::{Case, derived, primaries};

pub const EXCHANGES: [Exchange; 3] = [Exchange::Coinbase, Exchange::Kraken, Exchange::Binance];

pub fn importer(
    exchange: Exchange,
) -> impl Fn(&[PathBuf], &Path, ImportOptions) -> Result<Imported, ImportError> {
    move |inputs, out, options| capture::import(exchange, inputs, out, options, &mut |_| {})
}

/// Takes lines in, what is damaged left out: the file, the report and the records.
pub fn import(exchange: Exchange, lines: &[String]) -> (Case, Imported, Vec<Primary>) {
    let case = Case::new().input("capture.log", lines.join("\n").as_bytes());
    let imported = case.import(false, importer(exchange)).unwrap();
    let records = primaries(&case.out());
    (case, imported, records)
}

/// Why lines are refused where no damage is tolerated.
pub fn refusal(exchange: Exchange, lines: &[String]) -> String {
    let case = Case::new().input("capture.log", lines.join("\n").as_bytes());
    case.import(true, importer(exchange)).unwrap_err().to_string()
}

/// The kinds of records, a letter each, upper case where an exchange event ends.
pub fn kinds(records: &[Primary]) -> String {
    let letter = |record: &Primary| {
        let name = record.kind().unwrap().name();
        let letter = name.chars().next().unwrap();
        if record.is_last() { letter.to_ascii_uppercase() } else { letter }
    };
    records.iter().map(letter).collect()
}

/// How many levels the book of an instrument has at the end, bids and asks.
pub fn depths(case: &Case, symbol: &str) -> (usize, usize) {
    let id = Reader::open(&case.out()).unwrap().catalog().find(symbol).unwrap();
    let (deriver, _) = derived(&case.out());
    (deriver.book(id).depth(Side::Bid), deriver.book(id).depth(Side::Ask))
}

/// Coinbase messages, one received each second.
pub fn coinbase(messages: &[&str]) -> Vec<String> {
    let received = messages.iter().enumerate();
    received.map(|(second, json)| format!("16186778{:02}.5: {json}", second + 10)).collect()
}

pub const SNAPSHOT: &str =
    r#"{"type":"snapshot","product_id":"A-B","bids":[["9.5","2"],["9","1.25"]],"asks":[["10","3"]]}"#;
pub const UPDATE: &str = r#"{"type":"l2update","product_id":"A-B","changes":[["buy","9","0.0"],["sell","10.5","4"]],"time":"2021-04-17T16:43:37.075687Z"}"#;

pub fn coinbase_match(kind: &str, id: u64, sequence: u64) -> String {
    format!(
        r#"{{"type":"{kind}","trade_id":{id},"side":"sell","size":"0.5","price":"10","product_id":"A-B","sequence":{sequence},"time":"2021-04-17T16:43:38.000000001Z"}}"#
    )
}

/// A message of Coinbase Advanced Trade with one event, as its documents show them.
pub fn advanced(channel: &str, event: &str) -> String {
    format!(
        r#"{{"channel":"{channel}","client_id":"","timestamp":"2023-02-09T20:32:50.714964855Z","sequence_num":0,"events":[{event}]}}"#
    )
}

pub fn advanced_levels(kind: &str, updates: &[(&str, &str, &str)]) -> String {
    let level = |(side, price, quantity): &(&str, &str, &str)| {
        let time = if kind == "snapshot" { "1970-01-01T00:00:00Z" } else { "2023-02-09T20:32:50.5Z" };
        format!(
            r#"{{"side":"{side}","event_time":"{time}","price_level":"{price}","new_quantity":"{quantity}"}}"#
        )
    };
    let updates: Vec<_> = updates.iter().map(level).collect();
    advanced(
        "l2_data",
        &format!(r#"{{"type":"{kind}","product_id":"BTC-USD","updates":[{}]}}"#, updates.join(",")),
    )
}

pub fn advanced_trades(kind: &str, ids: &[u64]) -> String {
    let trade = |id: &u64| {
        format!(
            r#"{{"trade_id":"{id:09}","product_id":"BTC-USD","price":"21921.75","size":"0.3","side":"BUY","time":"2023-02-09T20:32:50.25Z"}}"#
        )
    };
    let trades: Vec<_> = ids.iter().map(trade).collect();
    advanced("market_trades", &format!(r#"{{"type":"{kind}","trades":[{}]}}"#, trades.join(",")))
}

/// A Kraken message about the book of A/B, of depth 10.
pub fn kraken(parts: &str) -> String {
    format!("1618678163.5: [1664,{parts},\"book-10\",\"A/B\"]")
}

pub const WHOLE: &str =
    r#"{"as":[["10.10","1.000","5.0"],["10.20","2.000","6.5"]],"bs":[["9.90","3.000","4.0"]]}"#;

pub fn spot(first: u64, last: u64) -> String {
    format!(
        r#"1723161253937085768 {{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":{first},"u":{last},"b":[["{last}.0","1"]],"a":[]}}"#
    )
}

pub fn snapshot(last: u64) -> String {
    format!(r#"1723161254206652067 {{"lastUpdateId":{last},"bids":[["1.5","1"]],"asks":[["90000.0","2"]]}}"#)
}

pub fn binance_trade(kind: &str, id: u64) -> String {
    let key = if kind == "trade" { "t" } else { "a" };
    format!(
        r#"1723161254206652068 {{"stream":"btcusdt@x","data":{{"e":"{kind}","E":1723161255343,"s":"BTCUSDT","{key}":{id},"p":"7.5","q":"0.25","T":1723161255342123,"m":true}}}}"#
    )
}

/// A few lines of each exchange, whole.
pub fn samples(exchange: Exchange) -> Vec<String> {
    match exchange {
        Exchange::Coinbase => coinbase(&[
            SNAPSHOT,
            UPDATE,
            &coinbase_match("match", 1, 1),
            &coinbase_match("last_match", 3, 3),
            &advanced_levels("snapshot", &[("bid", "1", "2"), ("offer", "2.5", "3")]),
            &advanced_levels("update", &[("offer", "2.5", "0")]),
            &advanced_trades("update", &[6, 5]),
        ]),
        Exchange::Kraken => vec![
            kraken(WHOLE),
            kraken(r#"{"a":[["10.10","0.500","5.0"]],"c":"1"}"#),
            r#"1618678164.5: {"channel":"book","type":"snapshot","data":[{"symbol":"C/D","bids":[{"price":1.25,"qty":2}],"asks":[]}]}"#.to_owned(),
            r#"1618678163.5: [3,[["5.2","0.5","15.5","s","l",""]],"trade","A/B"]"#.to_owned(),
        ],
        Exchange::Binance => vec![spot(1, 5), snapshot(3), spot(6, 7), binance_trade("trade", 1), binance_trade("aggTrade", 1), spot(9, 9)],
    }
}
