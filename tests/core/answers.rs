//! What is asked of a shard, by hand: how much a request may ask for, and what is told of sessions.

use tickcast::limits;
use tickcast::shard::{Answer, Listing, Query, SlowConsumer};

use super::by_hand::{PLAIN, core_of, level, many, open, received, refuse, subscribe, texts, trade};

/// A connection may have 20,000 streams, and not one more.
#[test]
fn a_connection_has_as_many_streams_as_are_allowed() {
    let (mut core, stats) = many(limits::SUBSCRIPTIONS_MAX / 4 + 1, PLAIN);
    let session = open(&mut core);
    received(&mut core, session);
    let ask = |channels: &str, symbols: &str| {
        format!(r#"{{"op":"subscribe","symbols":{symbols},"channels":[{channels}],"snapshot":false}}"#)
    };
    core.request(session, &ask(r#""quotes","trades","book","ticker""#, r#"["*"]"#), 0);
    assert_eq!(texts(&mut core, session, "error")[0]["code"], "limit_exceeded");
    core.request(session, &ask(r#""quotes","trades","book""#, r#"["*"]"#), 0);
    received(&mut core, session);
    let has = stats.subscriptions.get() as usize;
    assert_eq!(has, 3 * (limits::SUBSCRIPTIONS_MAX / 4 + 1));
    let symbols = |core: &mut tickcast::shard::Core| -> Vec<String> {
        core.request(session, r#"{"op":"list"}"#, 0);
        let pages = texts(core, session, "instruments");
        let (last, others) = pages.split_last().unwrap();
        assert!(
            !others.is_empty() && others.iter().all(|page| page["more"] == true) && last["more"] == false
        );
        let listed = pages.iter().flat_map(|page| page["instruments"].as_array().unwrap());
        listed.map(|it| it["symbol"].to_string()).take(limits::SUBSCRIPTIONS_MAX - has + 1).collect()
    };
    let symbols = symbols(&mut core);
    let (last, others) = symbols.split_last().unwrap();
    core.request(session, &ask(r#""ticker""#, &format!("[{}]", others.join(","))), 0);
    assert_eq!(texts(&mut core, session, "error").len(), 0);
    assert_eq!(stats.subscriptions.get() as usize, limits::SUBSCRIPTIONS_MAX);
    core.request(session, &ask(r#""ticker""#, &format!("[{last}]")), 0);
    assert_eq!(texts(&mut core, session, "error").len(), 1);
}

/// Sessions are told worst first, each with how long it has waited; with their streams where these are asked for and fit.
#[test]
fn sessions_are_told_worst_first() {
    let mut core = core_of(SlowConsumer::Conflate, 1 << 20);
    let idle = open(&mut core);
    received(&mut core, idle);
    let slow = [0; 2].map(|_| subscribe(&mut core, r#""channels":["trades","book"],"snapshot":false"#));
    received(&mut core, slow[0]);
    received(&mut core, slow[1]);
    trade(&mut core, 1);
    level(&mut core, 1, 50, 7);
    refuse(&mut core, slow[0]);
    core.offer(slow[1], 3_000_000_000, &mut Vec::new(), |bytes| Ok(bytes.len())).unwrap();
    trade(&mut core, 2);
    core.offer(slow[1], 3_000_000_000, &mut Vec::new(), |_| Ok(0)).unwrap();
    let list = |session, limit, streams_max| {
        let Answer::Connections(list) =
            core.answer(Query::Connections(Listing { session, limit, streams_max }), 5_000_000_000)
        else {
            panic!("another answer")
        };
        list
    };
    let told = list(None, 10, 2);
    let lags: Vec<_> = told.iter().map(|it| (it.session as usize, it.lag_ms, it.delivered)).collect();
    assert_eq!(lags, [(slow[0], 5_000, 3), (slow[1], 2_000, 3), (idle, 0, 0)]);
    let streams: Vec<_> = told.iter().map(|it| it.streams.as_ref().map(Vec::len)).collect();
    assert_eq!(streams, [Some(2), None, Some(0)], "there is room for the first two streams");
    assert!(list(None, 10, 0).iter().all(|it| it.streams.is_none()), "they were not asked for");
    assert_eq!(list(None, 1, 2).len(), 1);
    assert_eq!(list(Some(slow[1] as u64), 10, 0)[0].session as usize, slow[1]);
}
