//! Real recordings: imported, inspected, replayed whole to clients that know nothing of this program. The figures were
//! computed from the recordings by other programs.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common;
use crate::server::{Client, Server, number, run};

/// What `inspect` says of a recording, and what two clients heard of its replay: one quick, in binary, one slow, in
/// JSON. `None` where the recording or Python is missing.
fn replayed(recording: &str, symbol: &str, channels: &[&str]) -> Option<(Value, Value)> {
    let recording = common::recorded(recording)?;
    let python = common::program("TICKCAST_PYTHON")?;
    let folder = TempDir::new().unwrap();
    let feed = folder.path().join("recorded.feed");
    let feed = feed.to_str().unwrap();
    run(&["import", "--from", "dbn", recording.to_str().unwrap(), "--out", feed]);
    let report: Value = serde_json::from_str(&run(&["inspect", "--json", feed])).unwrap();
    let server =
        Server::start(&["--replay", feed, "--start-paused", "--speed", "max", "--slow-consumer", "block"]);
    let arguments = [&["python/live.py", "replay", &server.address, symbol], channels].concat();
    let heard = Client::start(&python, &arguments).summary();
    assert_eq!(server.counter("tickcast_closed_slow_total"), 0, "block loses nobody");
    assert_eq!([&heard["state"][0]["state"], &heard["state"][1]["state"]], ["paused", "ended"]);
    assert_eq!(heard["state"][1]["records_sent"].as_str(), Some(report["records"].to_string().as_str()));
    // Both heard the same number of messages; the first of a stream begins before the common part.
    for channel in channels {
        let messages = number(&heard, &format!("{channel}/messages"));
        assert!(number(&heard, &format!("compared/{channel}")) + 2 >= messages, "{channel}: {heard}");
    }
    Some((report, heard))
}

fn picked(value: &Value, keys: &[&str]) -> Value {
    keys.iter().map(|key| value[*key].clone()).collect()
}

#[test]
fn the_orders_of_a_session_arrive_whole() {
    let channels = ["book", "orders", "trades", "quotes", "ticker", "bars"];
    let file = "dbn/esh4-glbx-mdp3-20231225.mbo.dbn.zst";
    let Some((report, heard)) = replayed(file, "ESH4", &channels) else { return };

    let instrument = &report["instruments"][0];
    assert_eq!(picked(&report, &["complete", "records", "inconsistencies"]), json!([true, 68_792, 0]));
    assert_eq!(
        report["source_actions"],
        json!({"A": 29_216, "C": 17_999, "F": 6_371, "M": 12_233, "T": 2_973})
    );
    assert_eq!(picked(&instrument["trades"], &["count", "volume"]), json!([2_973, "9892"]));
    assert_eq!(
        picked(&instrument["book"], &["bid_levels", "ask_levels", "orders", "bid_quantity", "ask_quantity"]),
        json!([922, 565, 11_217, "22050", "20110"])
    );

    let trades = &heard["trades"];
    assert_eq!(trades["count"], 2_973);
    assert_eq!(trades["volume"], json!({"buy": 5_322, "sell": 4_526, "none": 44}));
    let trade = ["price", "quantity", "aggressor", "ts_ns"];
    assert_eq!(picked(&trades["first"], &trade), json!(["4800.25", "44", "none", "1703545200000000000"]));
    assert_eq!(picked(&trades["last"], &trade), json!(["4810", "1", "sell", "1703548796799167221"]));
    assert_eq!(heard["book"]["levels"], json!([922, 565]));
    assert_eq!(
        heard["book"]["best"],
        json!([
            [["4810", "22"], ["4809.75", "47"], ["4809.5", "50"], ["4809.25", "60"], ["4809", "85"]],
            [["4810.25", "28"], ["4810.5", "40"], ["4810.75", "41"], ["4811", "60"], ["4811.25", "65"]]
        ])
    );
    assert_eq!(heard["orders"]["count"], 11_217, "their queues add up to the levels");
    assert!(number(&heard, "bars/right/complete") >= 50, "{heard}");
    let quote = ["bid", "bid_quantity", "ask", "ask_quantity"];
    assert_eq!(picked(&heard["quotes"]["last"], &quote), json!(["4810", "22", "4810.25", "28"]));
    assert_eq!(
        picked(&heard["ticker"]["last"], &["bid", "ask", "last", "volume"]),
        json!(["4810", "4810.25", "4810", "9892"])
    );
    assert_eq!(heard["refused"], json!({"status": "unavailable"}));
}

#[test]
fn a_best_quote_recording_arrives_whole() {
    let channels = ["book", "trades", "quotes", "ticker", "bars"];
    let file = "dbn/futures_mbp-1_2024-07-01T23-58.dbn.zst";
    let Some((report, heard)) = replayed(file, "ESU4", &channels) else { return };

    assert_eq!(report["source_actions"], json!({"A": 1_061, "C": 989, "M": 118, "T": 120}));
    assert_eq!(heard["trades"]["count"], 120);
    assert_eq!(heard["trades"]["volume"], json!({"buy": 142, "sell": 111}));
    let quote = ["bid", "bid_quantity", "ask", "ask_quantity"];
    assert_eq!(picked(&heard["quotes"]["last"], &quote), json!(["5529", "24", "5529.25", "6"]));
    assert_eq!(heard["book"]["best"], json!([[["5529", "24"]], [["5529.25", "6"]]]));
    assert_eq!(heard["granted"]["book"], "1", "no deeper than the source tells");
    assert_eq!(heard["ticker"]["last"]["volume"], "253");
}

#[test]
fn a_recording_of_trades_has_no_book() {
    let file = "dbn/futures_trades_2024-07-01T23-58.dbn.zst";
    let Some((report, heard)) = replayed(file, "ESU4", &["trades", "ticker", "bars"]) else { return };

    assert_eq!(report["source_actions"], json!({"T": 120}));
    assert_eq!(heard["trades"]["count"], 120);
    assert_eq!(heard["trades"]["volume"], json!({"buy": 142, "sell": 111}));
    assert_eq!(
        heard["refused"],
        json!({"book": "unavailable", "orders": "unavailable", "quotes": "unavailable", "status": "unavailable"})
    );
    assert_eq!(picked(&heard["ticker"]["last"], &["bid", "ask", "volume"]), json!([null, null, "253"]));
}
