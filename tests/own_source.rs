//! The example of a source of one's own does what it says: a client sees what its feed says.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tickcast::client::{Client, Subscription, Update};
use tickcast::config::Settings;
use tickcast::model::{Channel, Level, Side};
use tickcast::node;

#[path = "../examples/own_source.rs"]
#[allow(dead_code, reason = "its main is not called here")]
mod own_source;

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_client_sees_what_a_feed_of_ones_own_says() {
    let (feed, events) = sync_channel(16);
    let gold = own_source::LiveFeed::gold(events).unwrap();
    let settings = Settings { listen: "127.0.0.1:0".parse().unwrap(), ..Settings::default() };
    let node = node::start_with(settings, Box::new(gold)).unwrap();
    let url = format!("ws://{}/ws", node.address());
    let subscription = Subscription::new(["GOLD"], &[Channel::Trades, Channel::Book]);
    let mut client = Client::connect(&url, [subscription]).unwrap();

    let session = async {
        let mut trades = Vec::new();
        while trades.len() < 3 {
            match client.next().await.unwrap() {
                // Once it is there, the feed speaks.
                Update::Book { .. }
                    if trades.is_empty() && client.book("GOLD").is_some_and(|view| view.seq == 0) =>
                {
                    for number in 1..=3 {
                        feed.send(own_source::event(number, 1_000)).unwrap();
                    }
                    node.source_unparker().unpark();
                }
                Update::Trade { trade, .. } => trades.push((trade.trade_id, trade.price, trade.quantity)),
                _ => {}
            }
        }
        assert_eq!(trades, [(1, 265_010, 1), (2, 265_010, 1), (3, 265_010, 1)]);
        while client.book("GOLD").is_none_or(|view| view.seq < 6) {
            client.next().await.unwrap();
        }
        let view = client.book("GOLD").unwrap();
        assert_eq!(view.book.best(Side::Ask), Some(Level { price: 265_010, quantity: 5 }));
        assert_eq!(view.book.best(Side::Bid), Some(Level { price: 264_930, quantity: 3 }));
    };
    tokio::time::timeout(PATIENCE, session).await.expect("all of it arrives");
    drop((feed, client));
    tokio::task::spawn_blocking(move || node.stop()).await.unwrap();
}
