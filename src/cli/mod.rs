//! The command line: one file a verb.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where results are printed")]

mod bench;
mod export;
mod import;
mod inspect;
mod instruments;
mod progress;
mod record;
mod repair;
mod serve;
mod simulate;
mod verify;
mod watch;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Problems;

/// Says something on standard error. Where nobody reads that any more, there is nobody to be told.
fn tell(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A market on the wire: simulated or replayed, pushed over WebSocket.
#[derive(Debug, Parser)]
#[command(name = "tickcast", version, max_term_width = 110, after_help = EXAMPLE)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLE: &str = "\
Example:
  tickcast serve                     a simulated market on ws://127.0.0.1:8765/ws
  tickcast serve --help              all its settings";

#[derive(Debug, Subcommand)]
enum Verb {
    Serve(serve::ServeArgs),
    Watch(watch::WatchArgs),
    Record(record::RecordArgs),
    Import(import::ImportArgs),
    Export(export::ExportArgs),
    Inspect(inspect::InspectArgs),
    Verify(verify::VerifyArgs),
    Repair(repair::RepairArgs),
    Simulate(simulate::SimulateArgs),
    Bench(Box<bench::BenchArgs>),
    BenchServer(bench::server::BenchServerArgs),
}

/// Exit code of what went wrong while doing what was asked.
const FAILED: u8 = 1;
/// Exit code of what cannot be asked.
const WRONG_USAGE: u8 = 2;

/// Does what the arguments of the process ask. Results go to standard output, errors and logs to standard error; the
/// exit code is 0 where all was done, 1 where it failed, 2 where the usage is wrong.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Where even this cannot be written there is nobody left to tell.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(WRONG_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let done = match cli.verb {
        Verb::Serve(args) => serve::run(args),
        Verb::Watch(args) => watch::run(args),
        Verb::Record(args) => record::run(args),
        Verb::Import(args) => import::run(args),
        Verb::Export(args) => export::run(args),
        Verb::Inspect(args) => inspect::run(args),
        Verb::Verify(args) => verify::run(args),
        Verb::Repair(args) => repair::run(args),
        Verb::Simulate(args) => simulate::run(args),
        Verb::Bench(args) => bench::run(*args),
        Verb::BenchServer(args) => bench::server::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(format_args!("error: {error:#}"));
            ExitCode::from(if error.is::<Problems>() { WRONG_USAGE } else { FAILED })
        }
    }
}
