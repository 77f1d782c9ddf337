//! The hot side: sessions and what they are sent.

pub mod reader;
