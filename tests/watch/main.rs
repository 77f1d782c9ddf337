//! `tickcast watch` on a terminal: the binary in a pseudo-terminal, against a server, read as a user reads it.

use std::time::{Duration, Instant};

use serde_json::Value;

#[path = "../common/mod.rs"]
mod common;
#[path = "../interop/server.rs"]
#[allow(dead_code, reason = "made for the interoperability tests, which use all of it")]
mod server;
mod terminal;

use server::{PATIENCE, Server};
use terminal::Terminal;

/// A terminal as most have it.
const MODERN: &[(&str, &str)] = &[("TERM", "xterm-256color"), ("LANG", "C.UTF-8")];

/// A market that has come to its end before anybody looks: what is shown stands still.
const ENDED: &[&str] = &["--rate", "max", "--ticks", "20000"];

fn watch(server: &Server, symbol: &str) -> Terminal {
    Terminal::watch(&[symbol, "--url", &url(server)], MODERN)
}

fn url(server: &Server) -> String {
    format!("ws://{}/ws", server.address)
}

/// Price and quantity of the best bid and of the best ask: the rows around the spread.
fn best(text: &str) -> Option<[[f64; 2]; 2]> {
    let lines: Vec<&str> = text.lines().collect();
    let spread = lines.iter().position(|line| line.contains(" spread "))?;
    let numbers = |line: &str| {
        let mut numbers = line.split_whitespace().filter_map(|word| word.parse::<f64>().ok());
        Some([numbers.next()?, numbers.next()?])
    };
    let [bid_quantity, bid] = numbers(lines.get(spread + 1)?)?;
    Some([[bid, bid_quantity], numbers(lines.get(spread.checked_sub(1)?)?)?])
}

/// The same from the server's own mouth.
fn best_of(server: &Server, symbol: &str) -> [[f64; 2]; 2] {
    let book: Value =
        serde_json::from_str(&server.http("GET", &format!("/api/v1/book/{symbol}"), "")).unwrap();
    ["bids", "asks"].map(|side| [0, 1].map(|number| book[side][0][number].as_f64().unwrap()))
}

/// The best levels on the terminal are those of the server.
fn until_right(terminal: &mut Terminal, server: &Server, symbol: &str) {
    terminal.until("the best levels", |text| best(text) == Some(best_of(server, symbol)));
}

#[test]
fn the_ladder_is_the_servers_book_and_other_symbols_have_theirs() {
    let server = Server::start(ENDED);
    let mut terminal = watch(&server, "*");
    let text = terminal.until_text(&["1 of 20", " spread ", "trades", "msg/s", "vol ", "replay ended"]);
    assert!(text.starts_with("AAPL "), "the first of all:\n{text}");
    until_right(&mut terminal, &server, "AAPL");

    terminal.keys("n");
    let text = terminal.until_text(&["2 of 20", " spread "]);
    assert!(text.starts_with("AMZN "), "{text}");
    until_right(&mut terminal, &server, "AMZN");
    // The left arrow, as a terminal sends it: back, and beyond the first to the last.
    terminal.keys("\x1b[D");
    terminal.until_text(&["AAPL ", "1 of 20", " spread "]);
    terminal.keys("\x1b[D");
    terminal.until_text(&["20 of 20", " spread "]);
    terminal.keys("q");
    assert_eq!(terminal.end().status.code(), Some(0));
}

#[test]
fn keys_change_depth_hold_the_tape_and_show_help() {
    let server = Server::start(&["--rate", "1000"]);
    let mut terminal = watch(&server, "BTC-USD");
    terminal.until_text(&["● live", "depth 25", " spread "]);
    terminal.keys("+");
    terminal.until_text(&["● live", "depth 50", " spread "]);
    terminal.keys("---");
    terminal.until_text(&["● live", "depth 5 ", " spread "]);
    terminal.keys(" ");
    terminal.until("trades go on behind a held tape", |text| {
        let since = text.split("trades, held: ").nth(1).and_then(|rest| rest.split(' ').next());
        since.is_some_and(|since| since.parse::<u64>().unwrap() > 3)
    });
    terminal.keys(" ");
    terminal.until("the tape runs", |text| !text.contains("held"));
    terminal.keys("?");
    terminal.until_text(&["next, previous instrument", "hold the tape, let it go"]);
    // Escape goes back out of the help first, then out of the program.
    terminal.keys("\x1b");
    terminal.until("the help is gone", |text| !text.contains("previous instrument"));
    terminal.keys("\x1b");
    assert_eq!(terminal.end().status.code(), Some(0));
}

#[test]
fn the_view_follows_the_size_of_the_terminal_down_to_nothing() {
    let server = Server::start(ENDED);
    let mut terminal = watch(&server, "BTC-USD");
    terminal.until_text(&[" spread ", "vol "]);
    for (columns, rows) in [(20, 5), (3, 2), (1, 1)] {
        let frames = terminal.frames();
        terminal.resize(columns, rows);
        terminal.until_frames(frames + 1);
        let beginning = &"BTC-USD"[..columns.min(7).into()];
        terminal.until(&format!("{columns} x {rows}"), |text| text.starts_with(beginning));
        assert!(terminal.text().lines().count() <= rows.into());
    }
    terminal.resize(140, 40);
    let text = terminal.until_text(&[" spread ", "vol ", "merged 0", "q quit"]);
    let rows = text.lines().filter(|line| line.contains('│')).count();
    assert!(rows > 30, "it uses the room:\n{text}");
    until_right(&mut terminal, &server, "BTC-USD");
    terminal.keys("q");
    terminal.end();
}

#[test]
fn a_server_that_was_killed_and_comes_back_is_shown_again() {
    let server = Server::start(&["--rate", "1000"]);
    let address = server.address.clone();
    let mut terminal = watch(&server, "BTC-USD");
    terminal.until_text(&["● live", " spread "]);
    drop(server);
    // What was held stays on the screen, and the screen says that it is old and why.
    terminal.until_text(&["● reconnecting", " spread ", "Connection refused"]);

    let server = Server::start_at(&address, ENDED);
    terminal.until_text(&["● replay ended", " spread "]);
    until_right(&mut terminal, &server, "BTC-USD");
    terminal.keys("q");
    assert_eq!(terminal.end().status.code(), Some(0));
}

#[test]
fn a_prefix_waits_for_a_server_and_for_a_match() {
    let server = Server::start(ENDED);
    let address = server.address.clone();
    let mut none = watch(&server, "ZZ*");
    none.until_text(&["ZZ*", "waiting for an instrument", "no instrument of the server matches ZZ*"]);
    none.keys("q");
    assert_eq!(none.end().status.code(), Some(0));

    let url = url(&server);
    drop(server);
    let mut terminal = Terminal::watch(&["BTC*", "--url", &url], MODERN);
    terminal.until_text(&["● reconnecting", "no list of instruments from", "refused (os error"]);
    let server = Server::start_at(&address, ENDED);
    terminal.until_text(&["BTC-USD ", "● replay ended", " spread "]);
    until_right(&mut terminal, &server, "BTC-USD");
    terminal.keys("q");
    terminal.end();
}

#[test]
fn however_it_ends_the_terminal_is_as_it_was() {
    let server = Server::start(&["--rate", "1000"]);
    let after = |end: &dyn Fn(&mut Terminal)| {
        let mut terminal = watch(&server, "BTC-USD");
        terminal.until_text(&["● live", " spread "]);
        end(&mut terminal);
        // `end` looks at the terminal.
        let left = terminal.end();
        assert_eq!((left.status.code(), left.text.trim()), (Some(0), ""));
    };
    after(&|terminal| terminal.keys("q"));
    after(&|terminal| terminal.keys("\x03"));
    for signal in ["TERM", "INT", "HUP"] {
        after(&|terminal| terminal.signal(signal));
    }

    let left = watch(&server, "NOPE").end();
    assert_eq!(left.status.code(), Some(1));
    assert!(
        left.text.contains("error: the server refuses the subscription: symbol \"NOPE\""),
        "{}",
        left.text
    );
}

#[test]
fn a_terminal_without_colours_and_utf8_is_sent_neither() {
    let server = Server::start(ENDED);
    for environment in [
        &[("TERM", "vt100")][..],
        &[("TERM", "xterm"), ("NO_COLOR", "1"), ("LC_ALL", "C"), ("LANG", "C.UTF-8")],
    ] {
        let mut terminal = Terminal::watch(&["BTC-USD", "--url", &url(&server)], environment);
        terminal.until_text(&["* replay ended", "-- spread ", "###", "| trades"]);
        assert!(terminal.written.is_ascii());
        let text = String::from_utf8(terminal.written.clone()).unwrap();
        let styles = text.split("\x1b[").skip(1).filter_map(|rest| {
            let length = rest.find(|c: char| c.is_ascii_alphabetic())?;
            (rest.as_bytes()[length] == b'm').then(|| rest[..length].split(';').collect::<Vec<_>>())
        });
        // 30 to 38, 40 to 48 and 90 to 107 set a colour; 39, 49 and 59 take it away.
        let coloured = |code: &&str| matches!(code.parse::<u8>(), Ok(30..=38 | 40..=48 | 90..=107));
        let styles: Vec<_> = styles.flatten().collect();
        assert!(!styles.is_empty() && !styles.iter().any(coloured), "{environment:?}: {styles:?}");
        terminal.keys("q");
        terminal.end();
    }
}

#[test]
fn a_terminal_that_cannot_place_text_gets_lines() {
    let server = Server::start(&["--rate", "1000"]);
    let mut terminal = Terminal::watch(&["BTC-USD", "--url", &url(&server)], &[("TERM", "dumb")]);
    terminal.until_text(&["BTC-USD quote", "BTC-USD trade"]);
    assert!(!terminal.written.contains(&0x1b), "no escape sequence");
    terminal.signal("INT");
    assert_eq!(terminal.end().status.code(), Some(0));
}

#[test]
fn thirty_drawings_a_second_at_most_and_none_where_nothing_changes() {
    let server = Server::start(&["--rate", "20000", "--ticks", "60000"]);
    let began = Instant::now();
    let mut terminal = watch(&server, "BTC-USD");
    terminal.until_text(&["● live", " spread "]);
    let text = terminal.until_text(&["replay ended", " spread "]);
    let (frames, elapsed) = (terminal.frames(), began.elapsed());
    assert!(frames > 5, "{frames} in {elapsed:?}:\n{text}");
    assert!(frames as f64 <= 30.0 * elapsed.as_secs_f64() + 2.0, "{frames} in {elapsed:?}");
    terminal.until_text(&["0 msg/s", "p50 - p99 -"]);
    // What was on its way when that was drawn may still come; a frame takes 33 ms.
    let began = Instant::now();
    while terminal.more(Duration::from_secs(1)).is_ok() {
        assert!(began.elapsed() < PATIENCE, "it draws on and on:\n{}", terminal.text());
    }
    terminal.keys("q");
    terminal.end();
}
