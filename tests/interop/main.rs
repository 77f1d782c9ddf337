//! The server as it is started, and clients that know it from `docs/protocol.md` alone: Python's `websockets` and
//! Node's `ws` with the decoders of `tests/clients`, and tungstenite where bytes are compared with bytes.

#[path = "../common/mod.rs"]
mod common;

mod deflate;
mod delivery;
mod digest;
mod ending;
mod market;
mod private;
mod raw;
mod recorded;
mod repeat;
mod server;
mod steering;
