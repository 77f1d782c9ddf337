//! Doing nothing costs nothing.

use std::time::Duration;

use crate::server::Server;

/// Cores taken while nobody is connected.
fn cores(arguments: &[&str]) -> f64 {
    let server = Server::start(arguments);
    // The first second builds books.
    std::thread::sleep(Duration::from_secs(1));
    let before = server.processor_time();
    std::thread::sleep(Duration::from_secs(2));
    (server.processor_time() - before).as_secs_f64() / 2.0
}

#[test]
fn a_quiet_market_takes_no_processor_time() {
    let (quiet, default) = (cores(&["--rate", "1"]), cores(&[]));
    println!("idle: {quiet:.3} cores at 1 tick/s, {default:.3} at the default rate, nobody connected");
    assert!(quiet < 0.03, "{quiet} cores at 1 tick a second");
    assert!(default < 0.5, "{default} cores at the default rate");
}
