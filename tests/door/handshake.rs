//! Who passes, as what, and what the others are told.

use std::io::{Read, Write};

use tickcast::door::{Door, Origin, Refusal};
use tickcast::shard::Protocol;
use tokio::io::AsyncReadExt;

use crate::server::{handshake, settings, start};

#[tokio::test]
async fn a_granted_socket_reaches_the_shard_with_what_was_read_ahead() {
    let mut server = start(settings()).await;
    let frames = b"\x81\x82abcd\x10\x20\x81\x80efgh";
    let (answer, mut client) = server.open("Sec-WebSocket-Protocol: tickcast.v1.bin\r\n", frames).await;
    assert_eq!(answer.status, 101);
    assert_eq!(
        answer.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        "RFC 6455, section 1.3"
    );
    assert_eq!(answer.header("sec-websocket-protocol"), Some("tickcast.v1.bin"));
    assert_eq!(answer.header("sec-websocket-extensions"), None);

    let mut arrival = server.arrival().await;
    assert_eq!(&arrival.read_ahead[..], frames);
    assert_eq!(arrival.terms.protocol, Protocol::Binary);
    assert_eq!(arrival.peer, client.local_addr().unwrap());
    assert!(arrival.socket.nodelay().unwrap());
    assert_eq!(arrival.socket.read(&mut [0; 8]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    let send_buffer = socket2::SockRef::from(&arrival.socket).send_buffer_size().unwrap();
    assert_eq!(send_buffer, 2 * 64 * 1_024, "the kernel doubles what is set");

    arrival.socket.write_all(b"hello").unwrap();
    let mut bytes = [0; 5];
    client.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"hello");

    assert_eq!(server.shard.seats_taken(), 1);
    drop(arrival);
    assert_eq!(server.shard.seats_taken(), 0);
}

#[tokio::test]
async fn the_subprotocol_is_the_clients_first_that_we_have() {
    let mut server = start(settings()).await;
    for (offered, named, protocol) in [
        ("", None, Protocol::Json),
        ("Sec-WebSocket-Protocol: tickcast.v1.json\r\n", Some("tickcast.v1.json"), Protocol::Json),
        (
            "Sec-WebSocket-Protocol: x, tickcast.v1.bin, tickcast.v1.json\r\n",
            Some("tickcast.v1.bin"),
            Protocol::Binary,
        ),
        (
            "Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: tickcast.v1.json\r\n",
            Some("tickcast.v1.json"),
            Protocol::Json,
        ),
    ] {
        let (answer, _client) = server.open(offered, b"").await;
        assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, named), "{offered}");
        assert_eq!(answer.header("sec-websocket-extensions"), None, "none is negotiated");
        assert_eq!(server.arrival().await.terms.protocol, protocol);
    }
    assert_eq!(server.stats.upgraded.get(), 4);
}

#[tokio::test]
async fn who_does_not_pass_is_told_what_is_allowed() {
    let server = start(settings()).await;
    let refused = |bytes: String| async { server.exchange(bytes).await.expect("an answer") };

    let plain = server.get("/ws").await;
    assert_eq!(
        (plain.status, plain.header("upgrade"), plain.header("sec-websocket-version")),
        (426, Some("websocket"), Some("13"))
    );
    assert_eq!(plain.json()["code"], "bad_request");
    let head = server.ask("HEAD", "/ws", "", "").await;
    assert_eq!((head.status, head.body.as_str()), (426, ""));
    let old = refused(handshake("Connection: close\r\n").replace("Version: 13", "Version: 8")).await;
    assert_eq!((old.status, old.header("sec-websocket-version")), (426, Some("13")));
    assert_eq!(old.json()["message"], "WebSocket version \"8\"; allowed: 13");
    let http_10 = refused(handshake("").replace("HTTP/1.1", "HTTP/1.0")).await;
    assert_eq!(http_10.status, 426);

    let foreign = refused(handshake("Connection: close\r\nOrigin: https://evil.net\r\n")).await;
    assert_eq!((foreign.status, foreign.json()["code"].as_str()), (403, Some("forbidden")));
    assert!(
        foreign.body.contains("Origin \\\"https://evil.net\\\"; allowed: none, this host, loopback"),
        "{}",
        foreign.body
    );

    let unknown = refused(handshake("Connection: close\r\nSec-WebSocket-Protocol: mqtt\r\n")).await;
    assert_eq!((unknown.status, unknown.json()["code"].as_str()), (400, Some("bad_request")));
    assert!(unknown.body.contains("allowed: tickcast.v1.bin, tickcast.v1.json"), "{}", unknown.body);
    let keyless = refused(handshake("Connection: close\r\n").replace("Sec-WebSocket-Key", "X-Key")).await;
    assert_eq!(keyless.status, 400);
    let with_body = refused(handshake("Connection: close\r\nContent-Length: 2\r\n") + "{}").await;
    assert_eq!(with_body.status, 400);
    let posted = server.ask("POST", "/ws", "", "").await;
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET")));

    for (refusal, count) in
        [(Refusal::NotWebSocket, 4), (Refusal::Origin, 1), (Refusal::Subprotocol, 1), (Refusal::Malformed, 2)]
    {
        assert_eq!(server.stats.refused(refusal).get(), count, "{refusal:?}");
    }
    assert_eq!((server.stats.upgraded.get(), server.shard.seats_taken()), (0, 0));
}

#[tokio::test]
async fn our_own_loopback_and_listed_pages_pass() {
    let mut settings = settings();
    settings.allow_origin = vec![Origin::parse("https://example.com").unwrap()];
    let mut server = start(settings).await;
    for origin in
        ["http://x:1", "https://x:1", "http://localhost:5173", "http://[::1]:3000", "https://example.com"]
    {
        let (answer, _client) = server.open(&format!("Origin: {origin}\r\n"), b"").await;
        assert_eq!(answer.status, 101, "{origin}");
        server.arrival().await;
    }
    for origin in
        ["null", "http://x", "http://x:1.evil.net", "https://example.com.evil.net", "https://evilexample.com"]
    {
        let answer = server.exchange(handshake(&format!("Connection: close\r\nOrigin: {origin}\r\n"))).await;
        assert_eq!(answer.unwrap().status, 403, "{origin}");
    }
    let doubled = "Connection: close\r\nOrigin: https://example.com\r\nOrigin: https://example.com\r\n";
    assert_eq!(server.exchange(handshake(doubled)).await.unwrap().status, 403);
}

#[tokio::test]
async fn a_full_server_says_so_until_a_session_ends() {
    let mut settings = settings();
    settings.max_connections = 1;
    let mut server = start(settings).await;
    let (answer, _first) = server.open("", b"").await;
    assert_eq!(answer.status, 101);
    let arrival = server.arrival().await;
    let full = server.exchange(handshake("Connection: close\r\n")).await.unwrap();
    assert_eq!((full.status, full.header("retry-after")), (503, Some("1")));
    assert_eq!(
        (full.json()["code"].as_str(), full.json()["retry"].as_bool()),
        (Some("limit_exceeded"), Some(true))
    );
    assert_eq!(server.get("/healthz").await.status, 200, "plain HTTP is still answered");
    drop(arrival);
    assert_eq!(server.open("", b"").await.0.status, 101);
}

#[test]
fn a_port_in_use_is_named() {
    let taken = Door::bind(settings()).unwrap();
    let mut again = settings();
    again.listen = taken.address();
    let error = Door::bind(again).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("cannot listen on {}: Address already in use", taken.address())),
        "{error}"
    );
}

/// RFC 9112, section 3.2.
#[tokio::test]
async fn a_request_names_its_host_once_and_properly() {
    let server = start(settings()).await;
    for (version, host, status) in [
        ("1.1", "Host: localhost:8765\r\n", 200),
        ("1.1", "Host: [::1]:8765\r\n", 200),
        ("1.0", "", 200),
        ("1.1", "", 400),
        ("1.1", "Host:\r\n", 400),
        ("1.1", "Host: a\r\nHost: b\r\n", 400),
        ("1.0", "Host: a\r\nHost: a\r\n", 400),
        ("1.1", "Host: a b\r\n", 400),
        ("1.1", "Host: user@a\r\n", 400),
    ] {
        let answer =
            server.exchange(format!("GET /healthz HTTP/{version}\r\n{host}Connection: close\r\n\r\n"));
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, status, "{version} {host:?}: {}", answer.body);
        assert!(status == 200 || answer.body.contains("the header Host is"), "{}", answer.body);
    }
    assert_eq!(server.stats.refused(Refusal::Malformed).get(), 6);
}
