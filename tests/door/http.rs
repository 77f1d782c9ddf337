//! Plain HTTP.

use std::sync::Arc;

use tickcast::door::State;
use tickcast::source::ReplayAction;

use crate::server::{Answer, Tape, settings, start, start_with};

#[tokio::test]
async fn each_address_answers() {
    let server = start(settings()).await;
    let root = server.get("/").await;
    assert_eq!(root.status, 200);
    assert!(root.body.contains("/ws") && root.body.contains("/api/v1/book/"), "{}", root.body);
    assert_eq!(root.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(server.get("/healthz").await.body, "ok\n");

    let metrics = server.get("/metrics").await;
    assert!(metrics.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(metrics.body.contains("tickcast_encodes_total{shard=\"0\"} 0\n"), "{}", metrics.body);
    assert!(metrics.body.contains("tickcast_door_accepted_total 3\n"), "{}", metrics.body);

    assert_eq!(server.get("/api/v1/instruments").await.json()["asked"], "Instruments");
    for (path, asked) in [
        ("/api/v1/book/BTC-USD", "Book { instrument: 0, depth: None }"),
        ("/api/v1/book/BTC%2DUSD?depth=10", "Book { instrument: 0, depth: Some(10) }"),
        ("/api/v1/book/EUR%2FUSD?x=1&depth=1", "Book { instrument: 1, depth: Some(1) }"),
        ("/api/v1/book/EUR/USD", "Book { instrument: 1, depth: None }"),
    ] {
        assert_eq!(server.get(path).await.json()["asked"], asked, "{path}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_named_with_what_is_allowed() {
    let server = start(settings()).await;
    for (method, path, status, code, part) in [
        ("GET", "/nowhere", 404, "bad_request", "path \"/nowhere\"; allowed: /, /ws"),
        (
            "GET",
            "/api/v1/book/XRP",
            404,
            "unknown_symbol",
            "symbol \"XRP\"; allowed: those that /api/v1/instruments lists",
        ),
        ("GET", "/api/v1/book/%ff%00", 404, "unknown_symbol", "allowed: "),
        ("GET", "/api/v1/book/", 404, "unknown_symbol", "symbol \"\""),
        (
            "GET",
            "/api/v1/book/BTC-USD?depth=0",
            400,
            "bad_request",
            "depth \"0\"; allowed: whole number, 1 to 100000",
        ),
        ("GET", "/api/v1/replay", 404, "unavailable", "not a replay"),
        (
            "GET",
            "/api/v1/connections?limit=0",
            400,
            "bad_request",
            "limit \"0\"; allowed: whole number, 1 to 10000",
        ),
        ("GET", "/api/v1/connections?id=0", 400, "bad_request", "id \"0\"; allowed: "),
        ("POST", "/api/v1/connections", 405, "bad_request", "allowed: GET, HEAD"),
        ("POST", "/metrics", 405, "bad_request", "method \"POST\"; allowed: GET, HEAD"),
        ("DELETE", "/api/v1/replay", 405, "bad_request", "method \"DELETE\"; allowed: GET, HEAD, POST"),
        ("BREW", "/api/v1/book/BTC-USD", 405, "bad_request", "method \"BREW\""),
    ] {
        let answer = server.ask(method, path, "", "").await;
        let error = answer.json();
        assert_eq!(
            (answer.status, error["type"].as_str(), error["code"].as_str()),
            (status, Some("error"), Some(code)),
            "{path}"
        );
        assert!(error["message"].as_str().unwrap().contains(part), "{error}");
        assert_eq!(error["retry"], false);
        assert_eq!(answer.header("allow").is_some(), status == 405);
    }
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let server = start(settings()).await;
    for path in ["/", "/healthz", "/api/v1/instruments", "/nowhere"] {
        let (get, head) = (server.get(path).await, server.ask("HEAD", path, "", "").await);
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-length"), get.header("content-length"));
    }
}

#[tokio::test]
async fn readiness_follows_the_servers_life() {
    let server = start(settings()).await;
    for (state, status) in [(State::Starting, 503), (State::Ready, 200), (State::Stopping, 503)] {
        server.readiness.set(state);
        assert_eq!(server.get("/readyz").await.status, status, "{state:?}");
        assert_eq!(server.get("/healthz").await.status, 200);
    }
}

#[tokio::test]
async fn a_source_that_is_overdue_is_not_ready_until_it_is_back() {
    let server = start(settings()).await;
    let stale = |metrics: Answer| metrics.body.contains("\ntickcast_source_stale 1\n");
    assert_eq!(server.get("/readyz").await.status, 200, "nothing is expected of the source");
    // Due when the clock began: overdue once half a second has passed.
    server.source.due_ns.set(1);
    let answer = loop {
        let answer = server.get("/readyz").await;
        if answer.status != 200 {
            break answer;
        }
        assert!(server.clock.now_ns() < 900_000_000, "within a second");
    };
    assert!(server.clock.now_ns() > 500_000_000, "not at once");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    let overdue_ms = message.strip_prefix("stale: the source has been overdue for ");
    let overdue_ms: u64 = overdue_ms.expect(&message).split(' ').next().unwrap().parse().unwrap();
    assert!((500..=5_000).contains(&overdue_ms), "{message}");
    assert!(stale(server.get("/metrics").await));
    server.source.due_ns.set(server.clock.now_ns() + 60_000_000_000);
    assert_eq!(server.get("/readyz").await.body, "ready\n");
    assert!(!stale(server.get("/metrics").await));
}

#[tokio::test]
async fn a_replay_is_steered_by_post() {
    let tape = Arc::new(Tape::default());
    let server = start_with(settings(), Some(tape.clone())).await;
    assert_eq!(server.get("/api/v1/replay").await.json()["asked"], 0);
    for body in [
        r#"{"action":"play"}"#,
        r#"{"action":"speed","speed":2.5}"#,
        r#"{"action":"speed","speed":"max"}"#,
        r#"{"action":"pause"}"#,
        r#"{"action":"seek","time_ns":"1703545200000000001"}"#,
        r#"{"action":"step"}"#,
        r#"{"action":"step","events":3}"#,
    ] {
        assert_eq!(server.ask("POST", "/api/v1/replay", "", body).await.status, 200);
    }
    use ReplayAction::{Pause, Play, Seek, Speed, Step};
    let told = [
        Play,
        Speed("2.5".into()),
        Speed("max".into()),
        Pause,
        Seek { time_ns: 1_703_545_200_000_000_001 },
        Step { events: 1 },
        Step { events: 3 },
    ];
    assert_eq!(*tape.told.lock().unwrap(), told);

    let long = format!("{{\"action\":\"play\",\"x\":\"{}\"}}", "x".repeat(5_000));
    for (headers, body, status, part) in [
        ("", "", 400, "no JSON"),
        ("", "play", 400, "no JSON"),
        ("", "[]", 400, "no JSON object"),
        ("", "{}", 400, "\"action\" is missing; allowed: "),
        ("", r#"{"action":"rewind"}"#, 400, "action \"rewind\" is unknown; allowed: "),
        ("", r#"{"action":"seek"}"#, 400, "\"time_ns\" is missing; allowed: "),
        ("", r#"{"action":"seek","time_ns":5}"#, 400, "\"time_ns\" is 5; allowed: "),
        ("", r#"{"action":"play","action":"pause"}"#, 400, "\"action\" stands twice"),
        ("", r#"{"action":"speed","speed":0}"#, 400, "speed \"0\" is not allowed; a speed is 0.1 to 1000"),
        ("", &long, 413, "longer than 4096 bytes"),
        ("Origin: https://evil.net\r\n", r#"{"action":"play"}"#, 403, "https://evil.net"),
    ] {
        let answer = server.ask("POST", "/api/v1/replay", headers, body).await;
        assert_eq!(answer.status, status, "{body}");
        assert!(answer.json()["message"].as_str().unwrap().contains(part), "{}", answer.body);
    }
    assert_eq!(*tape.told.lock().unwrap(), told, "what was refused did nothing");
}
