//! Every fuzz target in one program; `TICKCAST_FUZZ` names the one that runs. `run.py` builds and calls it.
#![no_main]

use std::sync::OnceLock;

mod targets {
    pub mod commands;
    pub mod dbn;
    pub mod decode;
    pub mod feed;
    pub mod handshake;
    pub mod imports;
    pub mod inflate;
    pub mod planted;
    pub mod reader;
    pub mod taken_in;
}

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 9] = [
    ("commands", targets::commands::run),
    ("dbn", targets::dbn::run),
    ("decode", targets::decode::run),
    ("feed", targets::feed::run),
    ("handshake", targets::handshake::run),
    ("imports", targets::imports::run),
    ("inflate", targets::inflate::run),
    ("planted", targets::planted::run),
    ("reader", targets::reader::run),
];

static TARGET: OnceLock<Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("TICKCAST_FUZZ").expect("TICKCAST_FUZZ names the target");
        let target = TARGETS.iter().find(|(known, _)| *known == name);
        let (_, target) = target.unwrap_or_else(|| panic!("no target {name:?}"));
        TARGET.set(*target).expect("initialised once");
    },
    |data: &[u8]| {
        let target = TARGET.get().expect("initialised before the first input");
        target(data);
    }
);
