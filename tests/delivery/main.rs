//! What a client can rely on (`docs/delivery.md`), shown on the running server from outside, by clients that share no
//! code with it.
//!
//! A plain run is short. `make delivery` runs the full form (`TICKCAST_DELIVERY=full`, release build) and prints what
//! it saw.

mod client;
mod crowd;
mod joins;
mod latency;
mod ledger;
mod policies;
mod progress;
mod resume;
mod stale;
mod stalls;
mod state;
mod stopped;
mod wire;

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/fragments.rs"]
mod fragments;
#[path = "../load/server.rs"]
#[allow(dead_code, reason = "the load tests use all of it")]
mod server;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use client::Client;
use serde_json::{Value, json};
use server::{PATIENCE, Server};
use tokio::task::{JoinSet, spawn_local};

/// Every channel that a simulated market has.
const ALL_CHANNELS: [&str; 7] = ["quotes", "trades", "book", "orders", "ticker", "bars", "status"];

/// Whether the full form was asked for.
fn is_full() -> bool {
    std::env::var("TICKCAST_DELIVERY").as_deref() == Ok("full")
}

/// In the full form the first, else the second.
fn full_or<T>(full: T, short: T) -> T {
    if is_full() { full } else { short }
}

/// Runs clients on this thread.
fn block_on<T>(clients: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, clients)
}

/// The server's side of the ledger, by the address of each client.
fn entries(server: &Server) -> HashMap<String, Value> {
    let body: Value =
        serde_json::from_str(&server.get("/api/v1/connections?streams=true&limit=10000")).unwrap();
    let connections = body["connections"].as_array().unwrap().iter();
    connections.map(|entry| (entry["peer"].as_str().unwrap().to_owned(), entry.clone())).collect()
}

/// Reads until both sides of every ledger balance, stream by stream: for a market that has ended.
async fn balance(server: &Server, mut clients: Vec<Client>) -> Vec<Client> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut reading = JoinSet::new();
        for mut client in clients {
            reading.spawn_local(async move {
                client.read_for(Duration::from_millis(200)).await;
                client
            });
        }
        clients = reading.join_all().await;
        let entries = entries(server);
        let differences = clients.iter().flat_map(|client| {
            let peer = client.peer();
            let entry = entries.get(&peer).unwrap_or_else(|| panic!("{peer} is not listed"));
            client
                .ledger
                .differences(entry)
                .into_iter()
                .map(move |difference| format!("{peer}: {difference}"))
        });
        let found: Vec<_> = differences.collect();
        if found.is_empty() {
            return clients;
        }
        let shown = &found[..found.len().min(8)];
        assert!(Instant::now() < deadline, "{} differences: {shown:#?}\n{}", found.len(), server.log());
    }
}

/// Where every stream of a market that has ended stands, as somebody is told who comes now; and what the source counted
/// is the sum of it.
async fn published(server: &Server, channels: &[&str]) -> HashMap<(String, &'static str), u64> {
    let mut late = Client::open(server.address()).await;
    // A view that others watch is joined where it stands: of bars, one that nobody watches.
    let request = json!({"symbols": ["*"], "channels": ALL_CHANNELS, "snapshot": false, "period": "1h"});
    late.subscribe(request).await;
    let streams = &late.ledger.streams;
    let sum: u64 = streams.iter().map(|stream| stream.held).sum();
    assert_eq!(sum as f64, server.metrics().get("tickcast_published_total"), "counted at the source");
    let of_interest = streams.iter().filter(|stream| channels.contains(&stream.channel));
    of_interest.map(|stream| ((stream.symbol.clone(), stream.channel), stream.held)).collect()
}

/// Reads in a task of its own until the market has ended and the condition holds.
fn listener(
    mut client: Client,
    what: &'static str,
    patience: Duration,
    condition: impl Fn(&ledger::Ledger) -> bool + 'static,
) -> tokio::task::JoinHandle<Client> {
    spawn_local(async move {
        client.until_within(patience, what, condition).await;
        client
    })
}

/// Waits until the metrics are as they should be, while the clients of this thread go on.
async fn settled(server: &Server, what: &str, condition: impl Fn(&server::Metrics) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = server.metrics();
        if condition(&metrics) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {metrics:#?}\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether the market's end was announced.
fn has_ended(ledger: &ledger::Ledger) -> bool {
    ledger.notices.iter().any(|notice| notice == "replay_ended")
}
