//! Tickcast: a high-performance binary market-data push server.
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod cli;
pub mod clock;
pub mod feed;
pub mod limits;
pub mod model;
pub mod source;
pub mod stats;
pub mod wire;
