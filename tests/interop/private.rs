//! Replays that clients have for themselves: each its own part and pace, bounded in number, gone with its client.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tickcast::feed::{FeedError, Reader, pacing_time_ns};
use tickcast::model::PrimaryKind;

use crate::raw::{EVERYTHING, Heard, Incoming, JSON, Raw, StreamKey, is_of_time};
use crate::server::{PATIENCE, Server};

const FILE: &str = "four-symbols.feed";
/// When the file begins, and a fifth of its second from its middle on.
const BEGIN_NS: u64 = 1_767_623_400_000_000_000;
const FROM_NS: u64 = BEGIN_NS + 500_000_000;
const TO_NS: u64 = BEGIN_NS + 700_000_000;

/// What is compared message by message.
const COMPARED: [&str; 4] = ["quotes", "trades", "bars", "status"];

fn feeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("feeds")
}

/// A simulated market of one instrument, with private replays of that folder.
fn server(folder: &Path, most: &str) -> Server {
    let folder = folder.to_str().unwrap();
    Server::start(&["--symbols", "1", "--rate", "300", "--replay-dir", folder, "--private-replays", most])
}

fn connect(server: &Server, query: &str) -> Raw {
    Raw::connect_to(&server.address, &format!("/ws?replay={query}"), JSON)
}

/// The next control message that is no heartbeat.
fn control(raw: &mut Raw) -> Value {
    loop {
        match raw.next() {
            Incoming::Data(_) => {}
            Incoming::Control(text) if is_of_time(&text) => {}
            Incoming::Control(text) => return text,
            Incoming::Closed(frame) => panic!("closed: {frame:?}"),
        }
    }
}

/// What is heard of each stream until the replay has ended.
fn hear(raw: &mut Raw, begun: Vec<Heard>) -> BTreeMap<StreamKey, Vec<Heard>> {
    let mut streams = BTreeMap::<_, Vec<Heard>>::new();
    let mut heard = begun;
    loop {
        for message in heard.drain(..) {
            streams.entry(message.stream.clone()).or_default().push(message);
        }
        match raw.next() {
            Incoming::Data(data) => heard = data,
            Incoming::Control(text) if text["code"] == "replay_ended" => return streams,
            Incoming::Control(text) => assert!(is_of_time(&text), "{text}"),
            Incoming::Closed(frame) => panic!("closed: {frame:?}"),
        }
    }
}

/// What a server says whose source is that file.
fn public(arguments: &[&str]) -> BTreeMap<StreamKey, Vec<Heard>> {
    let file = feeds().join(FILE);
    let mut all = vec!["--replay", file.to_str().unwrap(), "--speed", "max", "--start-paused"];
    all.extend(["--slow-consumer", "block"].iter().chain(arguments));
    let server = Server::start(&all);
    let mut raw = Raw::connect(&server.address, JSON);
    let begun = raw.subscribe(&["*"], &COMPARED, None);
    server.http("POST", "/api/v1/replay", "{\"action\":\"play\"}");
    hear(&mut raw, begun)
}

fn trades(streams: BTreeMap<StreamKey, Vec<Heard>>) -> Vec<Vec<Heard>> {
    streams.into_iter().filter(|((_, channel), _)| channel == "trades").map(|(_, heard)| heard).collect()
}

/// A handshake that is refused: its status, its head and the message in its body.
fn refused(server: &Server, query: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET /ws?{query} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server.address
    )
    .unwrap();
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let Some(length) = length else { panic!("{query}: {text}") };
            if body.len() >= length.parse().unwrap() {
                let body: Value = serde_json::from_str(body).unwrap();
                let status = head[9..12].parse().unwrap();
                return (status, head, body["message"].as_str().unwrap().to_owned());
            }
        }
        let mut more = [0; 4_096];
        let count = stream.read(&mut more).unwrap();
        assert!(count > 0, "{query}: {text}");
        answer.extend_from_slice(&more[..count]);
    }
}

fn metric(server: &Server, name: &str) -> u64 {
    let metrics = server.http("GET", "/metrics", "");
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in\n{metrics}")).parse().unwrap()
}

/// Threads of private replays. Linux only: elsewhere none are seen.
fn threads(server: &Server) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.id())).into_iter().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("private-")).count()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn two_clients_at_once_get_exactly_their_own_parts() {
    let server = server(&feeds(), "2");
    let mut beside = Raw::connect(&server.address, JSON);
    let mut live = beside.subscribe(&["*"], &["quotes"], None);
    let (whole, part) = std::thread::scope(|scope| {
        let whole = scope.spawn(|| {
            let mut raw = connect(&server, &format!("{FILE}&speed=max"));
            let begun = raw.subscribe(&["*"], &COMPARED, None);
            hear(&mut raw, begun)
        });
        let part = scope.spawn(|| {
            // Both forms of a time, and what means nothing.
            let query = format!("{FILE}&from=2026-01-05T14:30:00.5Z&to={TO_NS}&speed=2&colour=red");
            let mut raw = connect(&server, &query);
            let begun = raw.subscribe(&["*"], &["trades"], None);
            hear(&mut raw, begun)
        });
        (whole.join().unwrap(), part.join().unwrap())
    });
    let expected = public(&[]);
    assert_eq!(whole.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (stream, heard) in &expected {
        assert!(whole[stream] == *heard, "{stream:?}: {} and {}", whole[stream].len(), heard.len());
    }
    let (from, to) = (FROM_NS.to_string(), TO_NS.to_string());
    let part = trades(part);
    assert!(part == trades(public(&["--from", &from, "--to", &to])));

    let mut reader = Reader::open(&feeds().join(FILE)).unwrap();
    let mut counted = 0;
    while let Some(block) = reader.next_block().unwrap() {
        let within = |time_ns| (FROM_NS..=TO_NS).contains(&time_ns);
        let is_trade = |primary: &&_| PrimaryKind::Trade == tickcast::model::Primary::kind(primary).unwrap();
        counted += block.iter().filter(is_trade).filter_map(pacing_time_ns).filter(|ns| within(*ns)).count();
    }
    let messages = part.iter().flatten().count();
    assert!(counted > 100 && messages == counted, "{messages} trades of {counted}");

    // The public feed went on, and is no replay.
    while live.len() < 20 {
        match beside.next() {
            Incoming::Data(heard) => live.extend(heard),
            Incoming::Control(text) => assert!(is_of_time(&text) || text["type"] == "notice", "{text}"),
            Incoming::Closed(frame) => panic!("closed: {frame:?}"),
        }
    }
    assert!(live.windows(2).all(|pair| pair[1].first_seq == pair[0].last_seq + 1), "{live:?}");
    beside.send(&json!({"op": "replay", "action": "pause"}));
    // It may have been told meanwhile that it reads too slowly.
    while control(&mut beside)["code"] != "unavailable" {}
    assert_eq!(metric(&server, "tickcast_private_replays_opened_total"), 2);
}

#[test]
fn each_steers_its_own_and_nobody_elses() {
    let server = server(&feeds(), "2");
    let (mut one, mut other) = (connect(&server, FILE), connect(&server, &format!("{FILE}&speed=max")));
    one.send(&json!({"op": "replay", "id": 1, "action": "pause"}));
    assert_eq!(control(&mut one)["state"], "paused");
    one.subscribe(&["*"], &["trades", "book"], None);
    one.send(&json!({"op": "replay", "id": 2, "action": "step", "events": 3}));
    let state = control(&mut one);
    assert!(state["id"] == 2 && state["records_sent"].as_u64() >= Some(3), "behind the steps: {state}");
    let begun = other.subscribe(&["*"], &["trades"], None);
    // A reset would not be passed over there.
    one.send(&json!({"op": "replay", "id": 3, "action": "seek", "time_ns": FROM_NS.to_string()}));
    let heard = hear(&mut other, begun);
    assert_eq!(heard.len(), 4);
    let mut resets = 0;
    while resets < 4 {
        let text = control(&mut one);
        if text["type"] == "reset" {
            assert_eq!(text["reason"], "seek");
            resets += 1;
        }
    }
    one.send(&json!({"op": "replay", "id": 4}));
    let state = loop {
        let text = control(&mut one);
        if text["id"] == 4 {
            break text;
        }
    };
    assert_eq!((&state["state"], &state["speed"]), (&json!("paused"), &json!(1)));
    assert_eq!(state["files"], json!([FILE]));
    one.send(&json!({"op": "replay", "action": "speed", "speed": "max"}));
    one.send(&json!({"op": "replay", "action": "play"}));
    while control(&mut one)["code"] != "replay_ended" {}
}

#[test]
fn an_operator_sees_them_among_the_connections() {
    let server = server(&feeds(), "2");
    let connections = |query: &str| -> Vec<Value> {
        let body = server.http("GET", &format!("/api/v1/connections{query}"), "");
        let body: Value = serde_json::from_str(&body).unwrap();
        body["connections"].as_array().unwrap_or_else(|| panic!("{body}")).clone()
    };
    let mut public = Raw::connect(&server.address, JSON);
    public.subscribe(&["*"], &["trades"], None);
    assert_eq!(connections("").len(), 1);
    let mut private = connect(&server, &format!("{FILE}&speed=max"));
    let begun = private.subscribe(&["*"], &["trades"], None);
    let heard: usize = hear(&mut private, begun).values().map(Vec::len).sum();
    let all = connections("?streams=true");
    assert_eq!(all.len(), 2);
    let [public, private] = [false, true]
        .map(|is_private| all.iter().find(|it| it.get("replay").is_some() == is_private).unwrap());
    assert_eq!((&public["id"], &public["shard"]), (&json!("0-0"), &json!(0)));
    assert_eq!((&private["id"], &private["shard"]), (&json!("p1-0"), &Value::Null));
    assert_eq!((&private["replay"], &private["subscriptions"]), (&json!(FILE), &json!(4)));
    assert_eq!(private["delivered"], heard);
    // By its own instruments.
    let symbols = private["streams"].as_array().unwrap().iter().map(|stream| stream["symbol"].to_string());
    assert_eq!(symbols.collect::<std::collections::BTreeSet<_>>().len(), 4);
    assert_eq!(connections("?id=p1-0")[0]["id"], "p1-0");
}

#[test]
fn there_are_so_many_and_a_place_comes_back_with_its_threads() {
    let server = server(&feeds(), "1");
    let first = connect(&server, FILE);
    assert_eq!(metric(&server, "tickcast_private_replays"), 1);
    let (status, head, message) = refused(&server, &format!("replay={FILE}"));
    assert_eq!(status, 503);
    assert!(head.contains("\nretry-after: 1"), "{head}");
    assert!(message.starts_with("private replays: 1 are taken; allowed: 1"), "{message}");
    if cfg!(target_os = "linux") {
        // They name themselves once they run.
        until("two threads", || threads(&server) == 2);
    }
    drop(first);
    until("the place does not come back", || metric(&server, "tickcast_private_replays") == 0);
    until("the threads stay", || threads(&server) == 0);
    // At full speed, and gone in the middle of it.
    let mut second = connect(&server, &format!("{FILE}&speed=max"));
    second.subscribe(&["*"], &EVERYTHING, None);
    drop(second);
    until("the place does not come back", || metric(&server, "tickcast_private_replays") == 0);
    until("the threads stay", || threads(&server) == 0);
    let mut third = connect(&server, &format!("{FILE}&speed=max"));
    let begun = third.subscribe(&["*"], &["status"], None);
    hear(&mut third, begun);
}

#[test]
fn what_cannot_be_had_is_refused_by_name() {
    let outside = tempfile::tempdir().unwrap();
    let folder = outside.path().join("files");
    std::fs::create_dir_all(folder.join("inner")).unwrap();
    let whole = std::fs::read(feeds().join(FILE)).unwrap();
    for path in ["secret.feed", "files/.hidden.feed", "files/inner/deep.feed", "files/a b.feed"] {
        std::fs::write(outside.path().join(path), &whole).unwrap();
    }
    let mut torn = whole.clone();
    torn[40] ^= 1;
    std::fs::write(folder.join("torn.feed"), torn).unwrap();
    std::fs::write(folder.join("text.feed"), "no feed at all").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(outside.path().join("secret.feed"), folder.join("link.feed")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("a b.feed", folder.join("inner.feed")).unwrap();
    let server = server(&folder, "1");
    let absolute = folder.join("a b.feed").display().to_string().replace('/', "%2F").replace(' ', "%20");
    let long = "x".repeat(256);
    for name in [
        "",
        "none.feed",
        "../secret.feed",
        "%2e%2e%2fsecret.feed",
        "%2E%2E/files/a%20b.feed",
        "inner/deep.feed",
        "inner%2Fdeep.feed",
        "inner%5Cdeep.feed",
        "inner",
        ".",
        "..",
        ".hidden.feed",
        "link.feed",
        "a%20b.feed%00",
        "%ff",
        &absolute,
        &long,
    ] {
        let (status, _, message) = refused(&server, &format!("replay={name}"));
        assert_eq!(status, 404, "{name}: {message}");
        assert!(message.contains("allowed: the name of a feed file"), "{name}: {message}");
        assert!(!message.contains(outside.path().to_str().unwrap()) || *name == *absolute, "{message}");
    }
    for (query, begins) in [
        ("speed=0", "speed \"0\"; allowed: 0.1 to 1000 times real time"),
        ("speed=", "speed \"\"; allowed: 0.1 to 1000"),
        ("speed=NaN", "speed \"NaN\"; allowed: 0.1 to 1000"),
        ("from=soon", "from \"soon\"; allowed: a time from 1970"),
        ("to=-1", "to \"-1\"; allowed: a time from 1970"),
        ("from=1e99", "from \"1e99\"; allowed: a time from 1970"),
        ("from=2&to=1", "from 1970-01-01T00:00:00.000000002Z to "),
    ] {
        let (status, _, message) = refused(&server, &format!("replay=a%20b.feed&{query}"));
        assert_eq!(status, 400, "{query}: {message}");
        assert!(message.starts_with(begins), "{query}: {message}");
    }
    let (status, _, message) = refused(&server, "replay=torn.feed");
    assert_eq!(status, 422, "{message}");
    assert!(message.starts_with("torn.feed is damaged at byte "), "{message}");
    let (status, _, message) = refused(&server, "replay=text.feed");
    assert_eq!(status, 422, "{message}");
    assert!(message.starts_with("text.feed is not a feed file"), "{message}");
    // None of these has kept the one place, and what is well named is there.
    assert_eq!(metric(&server, "tickcast_private_replays"), 0);
    drop(connect(&server, "a%20b.feed"));
    #[cfg(unix)]
    {
        until("the place does not come back", || metric(&server, "tickcast_private_replays") == 0);
        drop(connect(&server, "inner.feed"));
    }

    let without = Server::start(&["--symbols", "1"]);
    let (status, _, message) = refused(&without, &format!("replay={FILE}"));
    assert_eq!(status, 404);
    assert!(message.contains("start it with --replay-dir DIR"), "{message}");
}

#[test]
fn a_file_that_breaks_off_ends_there_and_a_damaged_one_ends_its_client() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(feeds().join(FILE)).unwrap();
    std::fs::write(folder.path().join("short.feed"), &whole[..whole.len() / 2]).unwrap();
    let mut torn = whole.clone();
    torn[whole.len() / 2] ^= 1;
    std::fs::write(folder.path().join("torn.feed"), torn).unwrap();
    let server = server(folder.path(), "2");
    let mut short = connect(&server, "short.feed&speed=max");
    let begun = short.subscribe(&["*"], &["trades"], None);
    assert_eq!(hear(&mut short, begun).len(), 4);
    drop(short);

    let mut raw = connect(&server, "torn.feed&speed=max");
    let mut heard = raw.subscribe(&["*"], &["trades"], None).len();
    let frame = loop {
        match raw.next() {
            Incoming::Data(data) => heard += data.len(),
            Incoming::Control(text) => assert_ne!(text["type"], "notice", "{text}"),
            Incoming::Closed(frame) => break frame,
        }
    };
    // All that comes before the damage.
    let mut reader = Reader::open(&folder.path().join("torn.feed")).unwrap();
    let mut trades = 0;
    let error = loop {
        match reader.next_block() {
            Ok(block) => {
                let block = block.unwrap();
                trades += block.iter().filter(|it| it.kind() == Some(PrimaryKind::Trade)).count();
            }
            Err(FeedError::Damaged { fault, .. }) => break fault.offset,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(trades > 100 && heard >= trades, "{heard} of {trades}");
    let frame = frame.unwrap();
    let reason = format!(
        "the recording is damaged at byte {error}; ask for a part that ends before it, reconnect with backoff"
    );
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1011, reason.as_str()));
    drop(raw);
    until("the threads stay", || threads(&server) == 0);
    assert_eq!(server.http("GET", "/healthz", ""), "ok\n");
}

#[test]
fn a_server_that_stops_takes_leave_of_them_too() {
    let mut server = server(&feeds(), "3");
    let mut slow = connect(&server, &format!("{FILE}&speed=0.1"));
    slow.subscribe(&["*"], &["trades"], None);
    // Reads nothing of all that there is, so that its replay waits.
    let mut stalled = connect(&server, &format!("{FILE}&speed=max"));
    stalled.subscribe(&["*"], &EVERYTHING, None);
    let silent = connect(&server, FILE);
    let (status, took) = server.terminate();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    let mut codes = Vec::new();
    let frame = loop {
        match slow.next() {
            Incoming::Data(_) => {}
            Incoming::Control(text) => codes.push(text["code"].clone()),
            Incoming::Closed(frame) => break frame,
        }
    };
    assert!(codes.contains(&json!("shutting_down")), "{codes:?}");
    assert_eq!(u16::from(frame.unwrap().code), 1001);
    drop((stalled, silent));
}
