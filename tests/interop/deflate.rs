//! permessage-deflate changes bytes on the wire and nothing else: clients that share no code with the server read the same
//! of a replay with and without.

use std::path::Path;

use serde_json::Value;

use crate::common;
use crate::raw::{BINARY, JSON};
use crate::server::{Client, Server, number};

/// What each of these clients read of a feed file: (what it is, its end). A client is the programs that it needs, the first of
/// which runs it and is told of the others, its script, protocol, and whether it offers compression.
fn read_by(compression: &str, clients: &[(&[&str], &str, [&str; 2])]) -> Vec<(String, Value)> {
    let feed = Path::new(env!("CARGO_MANIFEST_DIR")).join("feeds/halt.feed");
    let feed = feed.to_str().unwrap();
    let server = Server::start(&[
        "--replay",
        feed,
        "--start-paused",
        "--speed",
        "max",
        "--slow-consumer",
        "block",
        "--shards",
        "1",
        "--compression",
        compression,
    ]);
    let mut running: Vec<(String, Client)> = Vec::new();
    for (variables, script, asked) in clients {
        let programs: Option<Vec<_>> = variables.iter().map(|variable| common::program(variable)).collect();
        let Some(programs) = programs else { continue };
        let mut arguments = vec![*script, &server.address, asked[0], asked[1]];
        arguments.extend(programs[1..].iter().map(|program| program.to_str().unwrap()));
        running.push((format!("{script} {}", asked.join(" ")), Client::start(&programs[0], &arguments)));
    }
    running.iter_mut().for_each(|(_, client)| client.expect_line("ready"));
    server.http("POST", "/api/v1/replay", r#"{"action":"play"}"#);
    let read: Vec<_> = running.into_iter().map(|(name, client)| (name, client.summary())).collect();
    let (before, after) = (
        server.counter("tickcast_deflate_bytes_in_total"),
        server.counter("tickcast_deflate_bytes_out_total"),
    );
    match compression {
        "off" => assert_eq!(before, 0),
        _ if read.is_empty() => {}
        _ => assert!(
            after > 0 && after < before / 3 * 2,
            "{before} bytes became {after}: {compression} {read:?}"
        ),
    }
    read
}

#[test]
fn every_client_reads_the_same_with_and_without_compression() {
    let clients = [
        (&["TICKCAST_PYTHON"][..], "python/deflate_live.py", [BINARY, "on"]),
        (&["TICKCAST_PYTHON"], "python/deflate_live.py", [BINARY, "off"]),
        (&["TICKCAST_PYTHON"], "python/deflate_live.py", [JSON, "on"]),
        (&["TICKCAST_PYTHON"], "python/deflate_live.py", [JSON, "off"]),
        (&["TICKCAST_NODE"], "js/deflate_live.mjs", [BINARY, "on"]),
        (&["TICKCAST_NODE"], "js/deflate_live.mjs", [BINARY, "off"]),
        (&["TICKCAST_NODE", "TICKCAST_CHROMIUM"], "js/deflate_browser.mjs", [BINARY, "on"]),
        (&["TICKCAST_NODE", "TICKCAST_CHROMIUM"], "js/deflate_browser.mjs", [JSON, "on"]),
    ];
    for compression in ["shared", "dedicated", "off"] {
        // Of binary and of JSON. In which order streams follow each other is a matter of the run.
        let mut hashes: [Option<Value>; 2] = [None, None];
        for (name, said) in read_by(compression, &clients) {
            let is_on = name.ends_with("on") && compression != "off";
            assert_eq!(
                said["agreed"].as_str().is_some_and(|agreed| !agreed.is_empty()),
                is_on,
                "{name}: {said}"
            );
            assert!(number(&said, "messages") > 10_000, "{name}: {said}");
            let known = &mut hashes[usize::from(name.contains("json"))];
            assert_eq!(known.get_or_insert(said["hash"].clone()), &said["hash"], "{compression}, {name}");
        }
    }
}
