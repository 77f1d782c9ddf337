//! Late joins of a merged depth view: the first update continues the snapshot, and the top is the true one.

use std::rc::Rc;

use serde_json::json;
use tokio::task::{JoinSet, spawn_local};

use crate::client::Client;
use crate::ledger::Ledger;
use crate::server::{PATIENCE, Server};
use crate::{block_on, full_or};

const DEPTH: usize = 5;
const AT_A_TIME: usize = 100;

/// Joins, hears the snapshot and the update behind it, and leaves.
async fn join(address: std::net::SocketAddr, symbol: &str) -> Ledger {
    let mut client = Client::open(address).await;
    client.ledger.keeps_tops = Some(DEPTH);
    client
        .subscribe(json!({"symbols": [symbol], "channels": ["book"], "depth": DEPTH, "interval_ms": 250}))
        .await;
    client.until("snapshot and update", |ledger| ledger.streams[0].messages >= 2).await;
    let stream = &client.ledger.streams[0];
    assert_eq!((stream.depth, stream.interval_ms, stream.snapshots), (Some(DEPTH as u64), 250, 1));
    assert!(stream.state.levels().iter().all(|levels| *levels <= DEPTH), "{:?}", stream.state.levels());
    client.ledger
}

#[test]
fn a_late_join_continues_its_snapshot_and_holds_the_true_top() {
    let joins = full_or(10_000, 300);
    let mut server = Server::start(&["--symbols", "10", "--rate", "5000"]);
    let address = server.address();
    let (witness, joined) = block_on(async {
        let mut witness = Client::open(address).await;
        witness.ledger.keeps_tops = Some(DEPTH);
        witness.subscribe(json!({"symbols": ["*"], "channels": ["book"]})).await;
        let symbols: Rc<[String]> =
            witness.ledger.streams.iter().map(|stream| stream.symbol.clone()).collect();
        let (over, is_over) = tokio::sync::oneshot::channel::<Vec<(String, u64)>>();
        let witness = spawn_local(async move {
            let mut is_over = std::pin::pin!(is_over);
            let ends = loop {
                tokio::select! {
                    read = witness.read() => assert!(read.unwrap() > 0, "{:?}", witness.ledger.closed),
                    ends = &mut is_over => break ends.unwrap(),
                }
            };
            let is_there =
                |ledger: &Ledger| ends.iter().all(|(symbol, seq)| ledger.stream(symbol, "book").held >= *seq);
            witness.until_within(PATIENCE, "what the others have", is_there).await;
            witness.ledger
        });
        let mut under_way = JoinSet::new();
        let mut joined = Vec::new();
        for number in 0..joins {
            if under_way.len() == AT_A_TIME {
                joined.push(under_way.join_next().await.unwrap().unwrap());
            }
            let symbols = symbols.clone();
            under_way.spawn_local(async move { join(address, &symbols[number % symbols.len()]).await });
        }
        joined.extend(under_way.join_all().await);
        let ends =
            joined.iter().map(|ledger| (ledger.streams[0].symbol.clone(), ledger.streams[0].held)).collect();
        over.send(ends).unwrap();
        (witness.await.unwrap(), joined)
    });
    assert_eq!(joined.len(), joins);
    let mut compared = 0;
    for ledger in &joined {
        let stream = &ledger.streams[0];
        stream.assert_balanced();
        let of_witness = witness.streams.iter().position(|other| other.symbol == stream.symbol).unwrap();
        for ((_, seq), top) in &ledger.tops {
            let expected = witness.tops.get(&(of_witness, *seq));
            // The witness's own first sequences are those of its snapshot.
            let expected = expected.unwrap_or_else(|| panic!("{} has no state at {seq}", stream.symbol));
            assert_eq!(top, expected, "top of {} at {seq}", stream.symbol);
            compared += 1;
        }
    }
    assert!(compared >= 2 * joins as u64);
    server.assert_well();
    println!(
        "joins: {joins} at depth {DEPTH} and 250 ms; {compared} tops equal to the full book's at the same sequence"
    );
}
