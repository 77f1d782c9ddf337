//! The real server under load and under fire: crowds that come and go, readers that stall, bytes that mean nothing.
//!
//! A plain run is short. `make load` runs the full form (`TICKCAST_LOAD=full`, release build) and prints what it saw.

mod bad_input;
mod bombs;
mod checker;
mod churn;
mod dribble;
mod garbage;
mod idle;
mod server;
mod sharing;
mod socket;
mod stalled;
mod websocket;

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/fragments.rs"]
mod fragments;

/// Whether the full form was asked for.
fn is_full() -> bool {
    std::env::var("TICKCAST_LOAD").as_deref() == Ok("full")
}

/// Runs clients on this thread.
fn block_on<T>(clients: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(clients)
}
