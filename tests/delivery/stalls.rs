//! A reader that stalls and goes on: its state is right, and it knows what it missed.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::client::Client;
use crate::server::{PATIENCE, Server};
use crate::{ALL_CHANNELS, balance, block_on, full_or, has_ended, listener, published};

const RATE: u64 = 20_000;

#[test]
fn a_reader_that_stalls_loses_nothing_in_silence() {
    for seconds in full_or(&[1, 5, 30][..], &[1]) {
        stall(*seconds);
    }
}

fn stall(seconds: u64) {
    let ticks = (RATE * (seconds + 5)).to_string();
    let mut server = Server::start(&["--symbols", "40", "--rate", &RATE.to_string(), "--ticks", &ticks]);
    let everything = json!({"symbols": ["*"], "channels": ALL_CHANNELS});
    let (reader, witness) = block_on(async {
        let mut witness = Client::open(server.address()).await;
        let mut reader = Client::open_narrow(server.address()).await;
        for client in [&mut witness, &mut reader] {
            client.ledger.keeps_states = true;
            client.subscribe(everything.clone()).await;
        }
        let patience = PATIENCE + Duration::from_secs(seconds);
        let witness = listener(witness, "the end", patience, has_ended);
        reader.read_for(Duration::from_millis(300)).await;
        sleep(Duration::from_secs(seconds)).await;
        let conflated = |ledger: &crate::ledger::Ledger| {
            // The market's end may come in between.
            let notices = ledger.notices.iter().filter(|notice| *notice != "replay_ended");
            notices.take(2).eq(["conflating", "recovered"])
        };
        reader.until("recovery", conflated).await;
        reader.until("the end", has_ended).await;
        let mut both = balance(&server, vec![reader, witness.await.unwrap()]).await.into_iter();
        let final_seqs = published(&server, &ALL_CHANNELS).await;
        let (reader, witness) = (both.next().unwrap().ledger, both.next().unwrap().ledger);
        for ledger in [&reader, &witness] {
            assert_eq!(ledger.streams.len(), final_seqs.len());
            for stream in &ledger.streams {
                stream.assert_balanced();
                let end = final_seqs[&(stream.symbol.clone(), stream.channel)];
                let is_there = if stream.is_full() { stream.held == end } else { stream.held <= end };
                assert!(is_there, "{} {}: {} of {end}", stream.symbol, stream.channel, stream.held);
            }
        }
        (reader, witness)
    });
    // Wherever both stood at the same sequence they held the same, and at the end all the more.
    let agreed = reader.agrees_with(&witness);
    for channel in ["quotes", "trades", "book", "orders", "ticker"] {
        assert!(agreed.get(channel).is_some_and(|times| *times > 1_000), "{channel}: {agreed:?}");
    }
    assert!(agreed["bars"] > 40, "{agreed:?}");
    let mut gaps = 0;
    for stream in reader.streams.iter().filter(|stream| stream.channel == "trades") {
        // Which trades are missing is known to the last one.
        let missing: Vec<u64> = stream.gaps.iter().flat_map(|(from, to)| *from..=*to).collect();
        assert_eq!(missing.len() as u64, stream.total.lost);
        assert!(missing.iter().all(|seq| !stream.seen.contains_key(seq)));
        let received = (stream.start + 1..=stream.held).filter(|seq| stream.seen.contains_key(seq));
        assert_eq!(received.count() as u64 + stream.total.lost, stream.held - stream.start);
        gaps += stream.gaps.len();
    }
    let here = reader.here();
    assert!(here.merged > 1_000, "it was conflated: {here:?}");
    server.assert_well();
    // On a machine that is busy with something else the witness may itself be held up for a moment: what it then
    // passes over is not compared.
    println!(
        "stalled for {seconds} s at {RATE} ticks/s: {here:?}, {gaps} gaps in trades; states equal to the witness's: {agreed:?}; \
         the witness {:?}",
        witness.here()
    );
}
