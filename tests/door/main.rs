//! The door, over real sockets, with a stand-in for the shard.

mod connections;
mod handshake;
mod http;
mod pressure;
mod server;
