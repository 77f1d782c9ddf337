//! `/api/v1/connections`: what the shards say of their sessions, merged.

use tickcast::limits;
use tickcast::model::Channel;
use tickcast::shard::{
    Answer, Connection, ConnectionStream, Letter, Listing, Protocol, Query, ShardHandle, mailbox,
};
use tokio::sync::mpsc;

use crate::server::{Server, settings, start_before};

/// A shard that has these sessions, each with one stream, and tells what it was asked.
fn shard(lags_ms: &'static [u64]) -> (ShardHandle, mpsc::UnboundedReceiver<Listing>) {
    let (handle, mut letters) = mailbox(1);
    let (asked, listings) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(letter) = letters.recv().await {
            let Letter::Query(Query::Connections(listing), answer) = letter else { panic!("{letter:?}") };
            asked.send(listing).unwrap();
            let all =
                lags_ms.iter().enumerate().map(|(number, lag)| connection(number as u64, *lag, &listing));
            let mut all: Vec<_> =
                all.filter(|one| listing.session.is_none_or(|number| number == one.session)).collect();
            all.sort_by(Connection::by_lag);
            all.truncate(listing.limit);
            answer.send(Answer::Connections(all)).unwrap();
        }
    });
    (handle, listings)
}

fn connection(session: u64, lag_ms: u64, listing: &Listing) -> Connection {
    let stream = ConnectionStream {
        instrument: 1,
        channel: Channel::Book,
        epoch: 1_795_309_129_123_456,
        seq: 40,
        delivered: 30,
        merged: 9,
        lost: 1,
    };
    Connection {
        session,
        peer: "127.0.0.1:5000".parse().unwrap(),
        protocol: Protocol::Binary,
        since_ns: 1_795_309_129_123_456_789,
        subscriptions: 1,
        conflating: lag_ms > 0,
        waiting_bytes: 1_000 * lag_ms as usize,
        lag_ms,
        progress_lag_ms: (session == 1).then_some(3),
        delivered: 30,
        merged: 9,
        lost: 1,
        frames: 12,
        streams: (listing.streams_max > 0).then(|| vec![stream]),
    }
}

async fn listed(server: &Server, query: &str) -> Vec<(String, u64)> {
    let answer = server.get(&format!("/api/v1/connections{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let entry = |entry: &serde_json::Value| {
        (entry["id"].as_str().unwrap().to_owned(), entry["lag_ms"].as_u64().unwrap())
    };
    answer.json()["connections"].as_array().unwrap().iter().map(entry).collect()
}

#[tokio::test]
async fn the_sessions_of_all_shards_are_listed_worst_first() {
    let (first, mut of_first) = shard(&[0, 70, 5]);
    let (second, mut of_second) = shard(&[6, 1]);
    let server = start_before(settings(), None, vec![first, second], mpsc::unbounded_channel().1);
    let ids = |listed: Vec<(String, u64)>| listed.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    let everyone = listed(&server, "").await;
    assert_eq!(everyone.iter().map(|(_, lag)| *lag).collect::<Vec<_>>(), [70, 6, 5, 1, 0]);
    assert_eq!(ids(everyone), ["0-1", "1-0", "0-2", "1-1", "0-0"]);
    assert_eq!(ids(listed(&server, "?limit=2").await), ["0-1", "1-0"]);
    assert_eq!(ids(listed(&server, "?id=1-1").await), ["1-1"]);
    assert_eq!(ids(listed(&server, "?streams=true&limit=1").await), ["0-1"]);

    let all = Listing { session: None, limit: limits::CONNECTIONS_LISTED_DEFAULT, streams_max: 0 };
    let half = limits::CONNECTIONS_STREAMS_MAX / 2;
    let one = Listing { session: Some(1), limit: 1, streams_max: limits::SUBSCRIPTIONS_MAX };
    let with_streams = Listing { limit: 1, streams_max: half, ..all };
    for expected in [all, Listing { limit: 2, ..all }, with_streams] {
        assert_eq!(of_first.recv().await, Some(expected));
    }
    for expected in [all, Listing { limit: 2, ..all }, one, with_streams] {
        assert_eq!(of_second.recv().await, Some(expected));
    }
    for gone in ["0-9", "7-0"] {
        let answer = server.get(&format!("/api/v1/connections?id={gone}")).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (404, Some("unavailable")), "{gone}");
    }
}

#[tokio::test]
async fn an_entry_says_what_its_client_got() {
    let (shard, _listings) = shard(&[0, 7]);
    let server = start_before(settings(), None, vec![shard], mpsc::unbounded_channel().1);
    let answer = server.get("/api/v1/connections?id=0-1").await;
    let expected = serde_json::json!({"connections": [{
        "id": "0-1", "peer": "127.0.0.1:5000", "protocol": "tickcast.v1.bin", "shard": 0,
        "since_ns": "1795309129123456789", "subscriptions": 1, "conflating": true, "waiting_bytes": 7000,
        "lag_ms": 7, "progress_lag_ms": 3, "delivered": 30, "merged": 9, "lost": 1, "frames": 12,
        "streams": [{"symbol": "EUR/USD", "channel": "book", "epoch": 1_795_309_129_123_456_u64, "seq": 40,
            "delivered": 30, "merged": 9, "lost": 1}],
    }]});
    assert_eq!(answer.json(), expected);
    let plain = server.get("/api/v1/connections").await.json();
    let last = &plain["connections"][1];
    assert_eq!((last["progress_lag_ms"].is_null(), last.get("streams")), (true, None), "{plain}");
}
