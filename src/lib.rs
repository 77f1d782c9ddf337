//! Tickcast: a high-performance binary market-data push server.
#![deny(unsafe_code)]
#![warn(missing_docs)]
// Bad input gets an error, never a panic; results are printed by `cli` alone.
#![warn(clippy::exit, clippy::panic, clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]

pub mod bench;
pub mod bus;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod door;
pub mod feed;
pub mod limits;
pub mod live;
pub mod model;
pub mod node;
pub mod plot;
pub mod pump;
pub mod recorder;
pub mod shard;
pub mod sim;
pub mod source;
pub mod stats;
pub mod wire;

/// The Rust in the README is compiled with the examples of this documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
