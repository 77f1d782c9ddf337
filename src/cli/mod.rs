//! The command line: one file a verb.

/// Writes a line to standard error. Instead of the macro of that name, which panics where nobody reads it, or where its disk
/// is full: what cannot be told must end nothing.
macro_rules! eprintln {
    ($($argument:tt)*) => {{
        // Nobody is left to tell.
        let _ = std::io::Write::write_fmt(&mut std::io::stderr().lock(), format_args!("{}\n", format_args!($($argument)*)));
    }};
}

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
mod stopped;
mod verify;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Problems;

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

/// A file to be written, of which the end points to what lies before it.
fn file_to_write(text: &str) -> Result<PathBuf, String> {
    match text {
        "" | "-" => Err("allowed: the path of a file; a feed file cannot be written to a pipe".into()),
        path => Ok(path.into()),
    }
}

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
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<Problems>() { WRONG_USAGE } else { FAILED })
        }
    }
}
