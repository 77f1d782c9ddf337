//! What a client can rely on, shown on the running server from outside.

mod stale;
