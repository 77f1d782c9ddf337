//! A client that takes everything from the socket and does nothing with it, as a browser tab that chokes: what it
//! reports is what counts.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout_at};

use crate::client::Client;
use crate::ledger::Ledger;
use crate::server::{PATIENCE, Server};
use crate::{balance, block_on, has_ended, listener};

const CHANNELS: [&str; 3] = ["quotes", "trades", "book"];

/// Reads, and reports every 50 ms what `reported` makes of what was received, until the condition holds.
async fn report(
    client: &mut Client,
    what: &str,
    reported: impl Fn(u64) -> u64,
    condition: impl Fn(&Ledger) -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    while !condition(&client.ledger) {
        assert!(Instant::now() < deadline, "no {what}: {:?}", client.ledger.notices);
        let received = reported(client.ledger.frames);
        client.send(&json!({"op": "progress", "received": received})).await;
        let until = Instant::now() + Duration::from_millis(50);
        while let Ok(read) = timeout_at(until, client.read()).await {
            assert!(read.unwrap() > 0, "closed: {:?}", client.ledger.closed);
        }
    }
}

#[test]
fn who_reports_nothing_is_conflated_and_recovers() {
    let mut server = Server::start(&["--symbols", "20", "--rate", "10000", "--ticks", "70000"]);
    let (choking, witness) = block_on(async {
        let mut witness = Client::open(server.address()).await;
        let mut choking = Client::open(server.address()).await;
        for client in [&mut witness, &mut choking] {
            client.ledger.keeps_states = true;
            client.subscribe(json!({"symbols": ["*"], "channels": CHANNELS})).await;
        }
        let witness = listener(witness, "the end", PATIENCE, has_ended);

        // In time: nothing happens.
        let began = Instant::now();
        report(&mut choking, "time", |received| received, |_| began.elapsed() > Duration::from_millis(1_500))
            .await;
        assert_eq!(choking.ledger.notices, [""; 0]);

        // It takes all and says that it took nothing more.
        let stuck_at = choking.ledger.frames;
        let began = Instant::now();
        report(&mut choking, "conflation", |_| stuck_at, |ledger| ledger.notices == ["conflating"]).await;
        let after = began.elapsed();
        assert!((0.7..3.0).contains(&after.as_secs_f64()), "a second of lag: {after:?}");

        // And says so again.
        report(&mut choking, "recovery", |received| received, |ledger| ledger.notices.len() == 2).await;
        assert_eq!(choking.ledger.notices, ["conflating", "recovered"]);
        report(&mut choking, "the end", |received| received, has_ended).await;
        let mut both = balance(&server, vec![choking, witness.await.unwrap()]).await.into_iter();
        (both.next().unwrap().ledger, both.next().unwrap().ledger)
    });
    let agreed = choking.agrees_with(&witness);
    assert!(CHANNELS.iter().all(|channel| agreed[channel] > 1_000), "{agreed:?}");
    for stream in &choking.streams {
        stream.assert_balanced();
        assert_eq!(stream.held, witness.stream(&stream.symbol, stream.channel).held);
    }
    assert!(choking.here().merged > 0 && witness.here().merged == 0);
    server.assert_well();
    println!("progress: {:?} of {} sequences merged", choking.here(), choking.here().sum());
}

#[test]
fn who_reports_too_late_is_conflated_and_who_never_reports_is_not_judged() {
    let mut server = Server::start(&["--symbols", "5", "--rate", "2000"]);
    block_on(async {
        let mut late = Client::open(server.address()).await;
        let mut silent = Client::open(server.address()).await;
        for client in [&mut late, &mut silent] {
            client.subscribe(json!({"symbols": ["*"], "channels": CHANNELS})).await;
        }
        // It reports what it had two seconds ago.
        let history = std::cell::RefCell::new(std::collections::VecDeque::new());
        let two_seconds_ago = |received: u64| {
            let now = Instant::now();
            let mut history = history.borrow_mut();
            history.push_back((now, received));
            while history.get(1).is_some_and(|(at, _)| now - *at > Duration::from_secs(2)) {
                history.pop_front();
            }
            history[0].1
        };
        let silent = tokio::task::spawn_local(async move {
            silent.read_for(Duration::from_secs(3)).await;
            silent
        });
        report(&mut late, "conflation", two_seconds_ago, |ledger| !ledger.notices.is_empty()).await;
        assert_eq!(late.ledger.notices, ["conflating"]);
        assert_eq!(silent.await.unwrap().ledger.notices, [""; 0]);
    });
    server.assert_well();
}
