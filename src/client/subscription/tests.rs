use proptest::prelude::*;

use super::*;
use crate::wire::control::{self, Command, Conflate};

fn request(subscription: &Subscription, id: u64) -> String {
    let symbols: Vec<&str> = subscription.symbols.iter().map(String::as_str).collect();
    subscription.request(id, &symbols, &[])
}

fn held<'a>(symbol: &'a str, channel: Channel, seq: u64) -> From<'a> {
    From { symbol, channel: channel.name(), epoch: 7, seq }
}

/// What a server reads in a request.
fn read(request: &str) -> control::Subscribe {
    match control::parse(request).unwrap().command {
        Command::Subscribe(subscribe) => subscribe,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_says_what_is_asked_and_nothing_else() {
    let subscription = Subscription::new(["BTC-USD", "ETH-*"], &[Channel::Quotes, Channel::Book]);
    assert_eq!(
        request(&subscription, 3),
        r#"{"op":"subscribe","id":3,"symbols":["BTC-USD","ETH-*"],"channels":["quotes","book"],"interval_ms":0}"#
    );
    let asked = subscription
        .with_depth(10)
        .with_interval_ms(100)
        .with_period(Period::FiveMinutes)
        .with_conflate_never()
        .with_progress(Duration::from_secs(1));
    let text = asked.request(4, &["BTC-USD"], &[held("BTC-USD", Channel::Book, 1234)]);
    assert_eq!(
        text,
        concat!(
            r#"{"op":"subscribe","id":4,"symbols":["BTC-USD"],"channels":["quotes","book"],"depth":10,"interval_ms":100,"#,
            r#""period":"5m","conflate":"never","from":[{"symbol":"BTC-USD","channel":"book","epoch":7,"seq":1234}]}"#
        )
    );
    let read = read(&text);
    assert_eq!((read.depth, read.interval_ms, read.period), (Some(10), 100, Period::FiveMinutes));
    assert_eq!((read.conflate, read.from.len(), read.from[0].seq), (Conflate::Never, 1, 1234));
}

#[test]
fn a_subscription_names_its_symbols_and_what_begins_with_its_prefixes() {
    let subscription = Subscription::new(["BTC-USD", "ETH-*"], &[Channel::Book]);
    for (symbol, channel, named) in [
        ("BTC-USD", Channel::Book, true),
        ("BTC-USDT", Channel::Book, false),
        ("ETH-USD", Channel::Book, true),
        ("ETH-", Channel::Book, true),
        ("ETH", Channel::Book, false),
        ("BTC-USD", Channel::Quotes, false),
    ] {
        assert_eq!(Names::of(&subscription).contain(symbol, channel), named, "{symbol} {channel}");
    }
}

#[test]
fn what_begins_with_a_prefix_is_asked_for_at_once_and_trades_are_resumed_first() {
    let symbols: Vec<String> = (0..1_500).map(|number| format!("SYMBOL-{number:04}")).collect();
    let subscription = Subscription::new(["SYMBOL-*"], &[Channel::Book, Channel::Trades]);
    let all: Vec<From<'_>> = symbols
        .iter()
        .flat_map(|symbol| [held(symbol, Channel::Book, 5), held(symbol, Channel::Trades, 5)])
        .collect();
    let requests = subscription.requests(&all);
    assert_eq!(requests.len(), 1, "a second one would begin its streams anew");
    let (names, from) = &requests[0];
    assert_eq!(names, &["SYMBOL-*"]);
    let length = subscription.request(u64::MAX, names, from).len();
    assert!((limits::TEXT_BYTES_MAX - 200..=limits::TEXT_BYTES_MAX).contains(&length), "{length}");
    assert!(
        from.iter().zip(&symbols).all(|(from, symbol)| from.channel == "trades" && from.symbol == symbol)
    );
    assert!(from.len() > 700, "{}", from.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However much there is: every symbol once, every position of a symbol with it, nothing too long.
    #[test]
    fn requests_ask_for_everything_once_and_fit(
        count in prop_oneof![1_usize..5, 100_usize..3_000],
        channels in 1_usize..7,
        with_prefix in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let channels = &Channel::ALL[..channels];
        let symbols: Vec<String> = (0..count).map(|number| format!("S\"{number:x}")).collect();
        let prefix = with_prefix.then_some("S\"1*".to_owned());
        let subscription = Subscription::new(symbols.iter().cloned().chain(prefix), channels);
        let held: Vec<From<'_>> = symbols
            .iter()
            .enumerate()
            .filter(|(number, _)| seed >> (number % 60) & 1 == 1)
            .flat_map(|(number, symbol)| channels.iter().map(move |channel| held(symbol, *channel, number as u64)))
            .collect();
        let requests = subscription.requests(&held);
        prop_assert_eq!(&requests, &subscription.requests(&held), "the same again");
        let mut asked = Vec::new();
        let mut resumed = Vec::new();
        for (symbols, from) in &requests {
            let text = subscription.request(u64::MAX, symbols, from);
            prop_assert!(text.len() <= limits::TEXT_BYTES_MAX, "{} bytes", text.len());
            let read = read(&text);
            prop_assert_eq!(read.channels, channels);
            let named = |symbol: &&str, from: &From<'_>| match symbol.strip_suffix('*') {
                Some(prefix) => from.symbol.starts_with(prefix),
                None => *symbol == from.symbol,
            };
            let covered = |from: &From<'_>| symbols.iter().any(|symbol| named(symbol, from));
            prop_assert!(from.iter().all(covered));
            asked.extend(symbols.iter().copied());
            resumed.extend(from.iter().copied());
        }
        // Those that a prefix of the same subscription covers are asked for with it.
        let hidden = |symbol: &str| requests.len() > 1 && with_prefix && symbol.starts_with("S\"1");
        let mut expected: Vec<&str> = subscription.symbols.iter().map(String::as_str).collect();
        expected.retain(|symbol| symbol.ends_with('*') || !hidden(symbol));
        expected.sort_unstable();
        asked.sort_unstable();
        prop_assert_eq!(asked, expected);
        let distinct: FxHashSet<(u64, &str)> = resumed.iter().map(|from| (from.seq, from.channel)).collect();
        prop_assert_eq!(distinct.len(), resumed.len(), "no position twice");
        resumed.retain(|from| !hidden(from.symbol));
        resumed.sort_unstable_by_key(|from| (from.seq, from.channel));
        let mut all: Vec<From<'_>> = held.iter().filter(|from| !hidden(from.symbol)).copied().collect();
        all.sort_unstable_by_key(|from| (from.seq, from.channel));
        prop_assert_eq!(resumed, all);
    }
}
