//! Rivals: small servers on published packages for the workloads of `tickcast bench`, which starts them with `--server`.
//! `compare.py` (`make bench-rivals`) alternates them with Tickcast; README.md says what each one is.
//!
//! Nothing here comes from the library, so that no fault of one is in both.

mod frame;
mod hub;
mod naive;
mod raw;
mod schedule;
mod shared;
mod tungstenite;

use std::process::ExitCode;

use shared::{Failure, Flags};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let run: fn(Flags) -> Result<(), Failure> = match arguments.next().as_deref() {
        Some("raw") => raw::run,
        Some("naive") => naive::run,
        Some("tungstenite") => tungstenite::run,
        // What `cargo bench` and `cargo test --benches` say is no rival's name: there is nothing to run by itself.
        _ => {
            println!(
                "usage: tickcast bench --server \"rivals raw|naive|tungstenite\" ...   (make bench-rivals)"
            );
            return ExitCode::SUCCESS;
        }
    };
    match Flags::read(arguments).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("rivals: {failure}");
            ExitCode::FAILURE
        }
    }
}
