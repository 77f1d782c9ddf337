//! Bytes <-> model: binary records, their JSON twin, control messages, WebSocket frames. No sockets, no clock.

pub mod control;
pub mod json;
pub mod market;
pub mod message;
