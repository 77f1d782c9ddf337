//! Bytes <-> model: binary records, their JSON twin, control messages, WebSocket frames. No sockets, no clock.

pub mod control;
pub mod deflate;
pub mod frame;
pub mod guard;
pub mod json;
pub mod market;
pub mod message;
mod utf8;

#[cfg(test)]
mod testing;
