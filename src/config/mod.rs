//! Settings: what may be set, where it is set, what is wrong with it.

mod duration;
mod keys;
mod layers;
mod problem;
mod serve;
mod show;
#[cfg(test)]
mod tests;

pub use duration::{DURATION_ALLOWED, duration};
pub use keys::{Arity, KEYS, Key, VARIABLE_PREFIX};
pub use layers::{Flags, Layers, Place, Written};
pub use problem::{Problem, Problems};
pub use serve::{LogFormat, PrivateReplays, Settings, SourceSettings, Symbols, SymbolsError};
