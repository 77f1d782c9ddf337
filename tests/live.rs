//! Markets that another program publishes: JSON lines and feed files, through a pipe and through a socket.

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use common::program;
use serde_json::Value;
use tempfile::TempDir;
use tickcast::feed::Reader;
use tickcast::feed::export::{self, Selection};
use tickcast::live::{Live, LiveError, LiveInput};
use tickcast::model::{
    ABSENT_TIME, Body, Deriver, Event, OrderAction, Primary, PrimaryKind, Quote, ResetReason, Side,
};
use tickcast::source::{Next, Source};

#[path = "load/server.rs"]
#[allow(dead_code, reason = "made for the load tests, which use all of it")]
mod server;

use server::{PATIENCE, Server};

const FEED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/feeds/four-symbols.feed");
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/publish.py");
const GOLD: &str = r#"{"type":"instruments","instruments":[{"symbol":"GOLD","price_exponent":-2,"quantity_exponent":0,
    "tick_size":"0.1","channels":["quotes","trades","book","status"]},
    {"symbol":"L3","price_exponent":0,"quantity_exponent":-3,"channels":["orders","book","quotes"]},
    {"symbol":"FX","price_exponent":-5,"quantity_exponent":0,"channels":["quotes","trades"]}],"more":false}"#;

/// A socket that a market is read from.
struct Market {
    folder: TempDir,
    live: Option<Live>,
}

/// The list in one line.
fn gold() -> String {
    GOLD.replace('\n', " ") + "\n"
}

impl Market {
    fn path(folder: &TempDir) -> PathBuf {
        folder.path().join("live.sock")
    }

    /// Opens a socket; the first writer says `first`.
    fn open(first: &[u8]) -> (Market, UnixStream) {
        let folder = tempfile::tempdir().unwrap();
        let path = Market::path(&folder);
        let first = first.to_vec();
        let writer = std::thread::spawn(move || {
            let mut writer = connect(&path);
            writer.write_all(&first).unwrap();
            writer
        });
        let live = Live::open(&LiveInput::Unix(Market::path(&folder))).unwrap();
        (Market { folder, live: Some(live) }, writer.join().unwrap())
    }

    fn writer(&self) -> UnixStream {
        connect(&Market::path(&self.folder))
    }

    /// Asks until it says something else than that there is nothing, or until there are so many records.
    fn until(&mut self, records: usize) -> (Vec<Primary>, Next) {
        let (mut found, started) = (Vec::new(), Instant::now());
        loop {
            let next = self.live.as_mut().unwrap().poll(0, &mut found).unwrap();
            if !matches!(next, Next::Idle | Next::Now) || found.len() >= records {
                return (found, next);
            }
            assert!(started.elapsed() < PATIENCE, "{} records", found.len());
            std::thread::yield_now();
        }
    }
}

/// Connects as soon as somebody listens.
fn connect(path: &Path) -> UnixStream {
    let started = Instant::now();
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return stream,
            Err(error) => assert!(started.elapsed() < PATIENCE, "{error}"),
        }
        std::thread::yield_now();
    }
}

/// What the records lead to: events, and the deriver behind the last.
fn derived(live: &Live, records: &[Primary]) -> (Vec<Event>, Deriver) {
    let mut deriver = Deriver::new(live.catalog());
    let mut events = Vec::new();
    records.iter().for_each(|record| deriver.apply(record, &mut events).unwrap());
    (events, deriver)
}

#[test]
fn every_kind_of_line_becomes_what_it_says() {
    let lines = [
        r#"{"type":"orderbook","symbol":"GOLD","snapshot":true,"ts_ns":"5","bids":[[2649.5,5]],"asks":[["2.65010e+03",0.04E2]]}"#,
        r#"{"type":"trade","symbol":"GOLD","timestamp":7,"price":"2650.10","quantity":3,"aggressor":"buy","trade_id":"18446744073709551615","last":false}"#,
        r#"{"type":"orderbook","symbol":"GOLD","ts_ns":7000000,"asks":[[2650.1,1]]}"#,
        r#"{"type":"quote","symbol":"GOLD","bid":1,"bid_quantity":1,"ask":2,"ask_quantity":2}"#,
        r#"{"type":"quote","symbol":"FX","bid":1.05,"bid_quantity":100,"ask":null,"ask_quantity":null}"#,
        r#"{"type":"status","symbol":"GOLD","status":"halted"}"#,
        r#"{"type":"order","symbol":"L3","action":"add","order_id":"7","side":"bid","price":10,"quantity":1.5}"#,
        r#"{"type":"order","symbol":"L3","action":"execute","order_id":7,"executed":0.25}"#,
        r#"{"type":"order","symbol":"L3","action":"cancel","order_id":7,"side":"bid","price":10,"quantity":1}"#,
        r#"{"type":"orders","symbol":"L3","orders":[["8","ask",12,"0.001"],["9","bid",9,2]],"unknown":[{}]}"#,
        r#"{"type":"order","symbol":"L3","action":"cancel","order_id":8,"quantity":0}"#,
        r#"{"type":"bar","symbol":"GOLD"}"#,
    ];
    let (mut market, mut writer) = Market::open((gold() + &lines.join("\n") + "\n\n").as_bytes());
    writer.flush().unwrap();
    let (records, _) = market.until(15);
    let live = market.live.as_ref().unwrap();
    assert_eq!(live.catalog().get(0).unwrap().tick_size, 10);
    let kinds: Vec<PrimaryKind> = records.iter().map(|record| record.kind().unwrap()).collect();
    use PrimaryKind::{Add, Cancel, Clear, Execute, Level, Status, Top, Trade};
    assert_eq!(
        kinds,
        [Clear, Level, Level, Trade, Level, Top, Top, Status, Add, Execute, Cancel, Clear, Add, Add, Cancel]
    );
    let ends: Vec<usize> = (0..records.len()).filter(|at| records[*at].is_last()).collect();
    assert_eq!(ends, [2, 4, 6, 7, 8, 9, 10, 13, 14], "a trade with \"last\":false goes on");
    assert_eq!((records[0].ts_event_ns, records[3].ts_event_ns), (5, 7_000_000));
    assert_eq!(records[3].order_id, u64::MAX);
    assert!(records.iter().all(|record| record.ts_recv_ns != ABSENT_TIME));
    assert_eq!(records[7].ts_event_ns, records[7].ts_recv_ns, "no time: that of the arrival");
    let (events, deriver) = derived(live, &records);
    // A cancel says what is left, and is told as one.
    let cancels = events.iter().filter_map(|event| match event.body() {
        Body::Order(change) if change.action == OrderAction::Cancel => {
            Some((change.order_id, change.quantity))
        }
        _ => None,
    });
    assert_eq!(cancels.collect::<Vec<_>>(), [(7, 1_000), (8, 0)]);
    assert_eq!(deriver.quote(0), Quote { bid: 264_950, bid_quantity: 5, ask: 265_010, ask_quantity: 1 });
    assert_eq!((deriver.quote(2).bid, deriver.quote(2).bid_quantity), (105_000, 100));
    let rests: Vec<_> =
        deriver.orders(1).orders(Side::Bid).map(|order| (order.order_id, order.quantity)).collect();
    assert_eq!((rests, deriver.orders(1).len(), deriver.inconsistencies()), (vec![(9, 2_000)], 1, 0));
}

#[test]
fn lines_that_are_not_understood_are_passed_over() {
    let lines = [
        "nonsense",
        "{\"type\":\"trade\"}",
        r#"{"type":"trade","symbol":"NONE","price":1,"quantity":1}"#,
        r#"{"type":"trade","symbol":"GOLD","price":1e400,"quantity":1}"#,
        r#"{"type":"trade","symbol":"GOLD","price":NaN,"quantity":1}"#,
        r#"{"type":"trade","symbol":"GOLD","price":1.001,"quantity":1}"#,
        r#"{"type":"trade","symbol":"GOLD","price":1,"quantity":-1}"#,
        r#"{"type":"trade","symbol":"GOLD","quantity":1}"#,
        r#"{"type":"trade","symbol":"GOLD","price":1,"quantity":1,"aggressor":"me"}"#,
        r#"{"type":"trade","symbol":"GOLD","price":1,"quantity":1,"timestamp":18446744073709551615}"#,
        r#"{"type":"orderbook","symbol":"GOLD","bids":[[1,2],[3]],"asks":[]}"#,
        r#"{"type":"orderbook","symbol":"GOLD","bids":[[1,2],[null,4]],"asks":[]}"#,
        r#"{"type":"order","symbol":"L3","action":"add","order_id":1,"price":1,"quantity":1}"#,
        r#"{"type":"order","symbol":"L3","action":"explode","order_id":1}"#,
        r#"{"type":"order","symbol":"L3","action":"cancel","order_id":1,"quantity":1}"#,
        r#"{"type":"trade","symbol":"GOLD","price":1e-3,"quantity":1}"#,
        r#"{"type":"trade","symbol":"GOLD","price":1,"quantity":0}"#,
        r#"{"type":"order","symbol":"L3","action":"execute","order_id":1,"executed":1}"#,
        r#"{"type":"instruments","instruments":[]}"#,
        "42",
        r#"{"type":"status","symbol":"GOLD","status":"odd"}"#,
        r#"{"type":"hello","symbol":"GOLD"}"#,
        "[[[[[[",
        "\u{0}\u{1}",
    ];
    let good = r#"{"type":"trade","symbol":"GOLD","price":1,"quantity":1}"#;
    let (mut market, _writer) = Market::open((gold() + &lines.join("\n") + "\n" + good + "\n").as_bytes());
    let (records, _) = market.until(1);
    assert_eq!((records.len(), records[0].kind(), records[0].price), (1, Some(PrimaryKind::Trade), 100));
}

#[test]
fn refused_lines_are_counted_and_the_last_of_a_burst_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = Market::path(&folder);
    let writer = {
        let path = path.clone();
        std::thread::spawn(move || {
            let mut writer = connect(&path);
            writer.write_all((gold() + &"nonsense\n".repeat(300)).as_bytes()).unwrap();
            writer
        })
    };
    let server = Server::start(&["--source", &format!("unix:{}", path.display())]);
    let mut writer = writer.join().unwrap();
    server.settled("300 lines", |metrics| metrics.get("tickcast_source_refused_total") == 300.0);
    // The writer stays and says nothing; then it goes on with what is understood, before the second is over.
    let started = Instant::now();
    while !server.log().contains("refused=300") {
        assert!(started.elapsed() < PATIENCE, "{}", server.log());
        std::thread::yield_now();
    }
    writer.write_all("nonsense\n".repeat(10).as_bytes()).unwrap();
    let good = "{\"type\":\"trade\",\"symbol\":\"GOLD\",\"price\":1,\"quantity\":1}\n";
    let started = Instant::now();
    while !server.log().contains("refused=310") {
        assert!(started.elapsed() < PATIENCE, "{}", server.log());
        writer.write_all(good.as_bytes()).unwrap();
    }
    assert_eq!(server.log().matches("refused=310").count(), 1);
    drop(writer);
    assert!(server.end_with("TERM").success());
}

#[test]
fn the_next_writer_begins_anew_with_the_same_instruments() {
    let trade = "{\"type\":\"trade\",\"symbol\":\"GOLD\",\"price\":1,\"quantity\":1}\n";
    let (mut market, writer) = Market::open((gold() + trade).as_bytes());
    assert_eq!(market.until(1).0.len(), 1);
    drop(writer);
    // Of another shape, not understood, nothing at all: none of them says anything.
    let changed = gold().replace("\"price_exponent\":-2", "\"price_exponent\":-3");
    for refused in [changed + trade, trade.to_owned(), "hello\n".to_owned(), String::new()] {
        market.writer().write_all(refused.as_bytes()).unwrap();
    }
    market.writer().write_all((gold() + trade).as_bytes()).unwrap();
    assert_eq!(market.until(1), (Vec::new(), Next::Reset(ResetReason::Restart)));
    assert_eq!(market.until(1).0.len(), 1);
}

#[test]
fn a_feed_file_comes_as_a_stream_and_so_does_its_export() {
    let expected = {
        let mut reader = Reader::open(Path::new(FEED)).unwrap();
        let mut records = Vec::new();
        while let Some(block) = reader.next_block().unwrap() {
            records.extend_from_slice(block);
        }
        records
    };
    let (mut market, writer) = {
        let bytes = fs::read(FEED).unwrap();
        Market::open(&bytes)
    };
    let (records, _) = market.until(expected.len());
    assert!(records == expected);
    drop(writer);

    let folder = tempfile::tempdir().unwrap();
    let lines = folder.path().join("lines.jsonl");
    export::json_lines(Path::new(FEED), &Selection::default(), &lines, &mut |_, _| {}).unwrap();
    let bytes = fs::read(&lines).unwrap();
    let mut market_of_lines = {
        let (market, writer) = Market::open(&bytes);
        drop(writer);
        market
    };
    let trades = |records: &[Primary]| {
        records
            .iter()
            .filter(|record| record.kind() == Some(PrimaryKind::Trade))
            .map(|trade| (trade.order_id, trade.price, trade.quantity))
            .collect::<Vec<_>>()
    };
    let count = bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| line.starts_with(b"{\"type\":\"order\"") || line.starts_with(b"{\"type\":\"trade\""))
        .count();
    let (records, _) = market_of_lines.until(count);
    assert_eq!(trades(&records), trades(&expected));
    let (live, first) = (market_of_lines.live.as_ref().unwrap(), market.live.as_ref().unwrap());
    let ((_, found), (_, wanted)) = (derived(live, &records), derived(first, &expected));
    for instrument in 0..4 {
        for side in [Side::Bid, Side::Ask] {
            let orders = |deriver: &Deriver| deriver.orders(instrument).orders(side).collect::<Vec<_>>();
            assert_eq!(orders(&found), orders(&wanted));
            assert!(!orders(&found).is_empty());
        }
    }
}

#[test]
fn a_socket_that_lives_or_is_none_is_not_taken_and_a_stale_one_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = Market::path(&folder);
    let open = || match Live::open(&LiveInput::Unix(path.clone())) {
        Err(LiveError::Taken { what, .. }) => what,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was taken"),
    };
    fs::write(&path, "a file").unwrap();
    assert_eq!(open(), "no socket");
    fs::remove_file(&path).unwrap();
    let living = UnixListener::bind(&path).unwrap();
    assert_eq!(open(), "the socket of a server that lives");
    // Whoever listened is gone, the file is still there.
    drop(living);
    let writer = {
        let path = path.clone();
        std::thread::spawn(move || connect(&path).write_all(gold().as_bytes()).unwrap())
    };
    let live = Live::open(&LiveInput::Unix(path.clone())).unwrap();
    writer.join().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    drop(live);
    assert!(!path.exists(), "removed at the end");
}

/// Starts the example; it publishes so many trades, without a pause.
fn publish(target: &str, count: &str, out: Stdio) -> Option<Child> {
    let python = program("TICKCAST_PYTHON")?;
    Some(Command::new(python).args([EXAMPLE, target, count]).stdout(out).spawn().unwrap())
}

/// The book of GOLD once the trade of that number has been published; its epoch.
fn gold_after(server: &Server, trade: u64) -> u64 {
    let started = Instant::now();
    loop {
        let answered: Value = serde_json::from_str(&server.get("/api/v1/book/GOLD")).unwrap();
        let stands =
            answered["asks"][0][1].as_u64() == Some(4 + trade % 3) && answered["bids"][1][0] == 2649.4;
        if stands && answered["last_seq"].as_u64() >= Some(trade / 2) {
            return answered["epoch"].as_u64().unwrap();
        }
        assert!(started.elapsed() < PATIENCE, "{answered} {}", server.log());
        std::thread::yield_now();
    }
}

#[test]
fn the_example_publishes_through_a_socket_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = Market::path(&folder);
    let target = path.to_str().unwrap().to_owned();
    let Some(python) = program("TICKCAST_PYTHON") else { return };
    // The server greets when the first writer has said its instruments.
    let first = {
        let target = target.clone();
        std::thread::spawn(move || {
            drop(connect(Path::new(&target)));
            Command::new(python).args([EXAMPLE, &target, "10"]).status().unwrap()
        })
    };
    let server = Server::start(&["--source", &format!("unix:{target}")]);
    assert!(first.join().unwrap().success());
    let epoch = gold_after(&server, 10);
    let Some(mut second) = publish(&target, "21", Stdio::null()) else { return };
    assert!(second.wait().unwrap().success());
    let started = Instant::now();
    while gold_after(&server, 21) == epoch {
        assert!(started.elapsed() < PATIENCE);
    }
    assert!(server.end_with("TERM").success());
    assert!(!path.exists());
}

#[test]
fn the_example_ends_with_a_line_where_nobody_reads() {
    let Some(python) = program("TICKCAST_PYTHON") else { return };
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("live.sock");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    for (target, out, expected) in [
        ("-", Stdio::from(writer), "publish.py: cannot publish to standard output: Broken pipe"),
        (nowhere.to_str().unwrap(), Stdio::null(), "No such file or directory (does the server run?)"),
    ] {
        let output = Command::new(&python)
            .args([EXAMPLE, target, "100000"])
            .stdout(out)
            .stderr(Stdio::piped())
            .spawn()
            .and_then(Child::wait_with_output)
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), told.lines().count()), (Some(1), 1), "{told}");
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn the_example_publishes_through_a_pipe_and_the_server_stays() {
    let folder = tempfile::tempdir().unwrap();
    let lines = folder.path().join("lines");
    let Some(mut example) = publish("-", "32", File::create(&lines).unwrap().into()) else { return };
    assert!(example.wait().unwrap().success());
    let server = Server::start_fed(&["--source", "stdin"], File::open(&lines).unwrap().into());
    gold_after(&server, 32);
    assert!(
        server
            .settled("the end", |metrics| metrics.get("tickcast_source_ended") == 1.0)
            .get("tickcast_events_total")
            >= 0.0
    );
    assert!(server.end_with("TERM").success());
}

#[test]
fn a_server_that_waits_for_its_first_writer_is_stopped_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.sock");
    for (source, signal) in [(format!("unix:{}", path.display()), "TERM"), ("stdin".to_owned(), "INT")] {
        let mut server = Command::new(env!("CARGO_BIN_EXE_tickcast"))
            .args(["serve", "--listen", "127.0.0.1:0", "--source", &source])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It says so once it waits.
        let mut log = BufReader::new(server.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("waiting for a writer") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it never says that it waits");
        }
        let pid = server.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        assert!(server.wait().unwrap().success());
        assert!(!path.exists(), "the socket is removed");
    }
}

#[test]
fn bytes_that_are_no_feed_end_the_program_with_a_reason() {
    for (input, reason) in [
        (&b"hello\n"[..], "stdin starts with byte 0x68; expected a feed file (\"TICKFEED\") or JSON lines"),
        (b"", "stdin ended before it said its instruments"),
        (b"{\"type\":\"instruments\",\"instruments\":[]}\n", "the list of instruments is empty"),
        (b"{\"type\":\"trade\"}\n", "stdin, line 1: type \"trade\"; the instruments come first"),
        (b"{\"type\":\"instruments\",\"instruments\":[{\"symbol\":\"A B\",\"price_exponent\":0,\"quantity_exponent\":0}]}\n", "\"A B\" is not allowed"),
        (b"TICKFEEDxxxxxxxxxxxxxxxx", "feed format version"),
        (&std::fs::read(FEED).unwrap()[..50_000], "found the end of the stream within it"),
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tickcast"))
            .args(["serve", "--listen", "127.0.0.1:0", "--source", "stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(reason), "{text}");
    }
}
