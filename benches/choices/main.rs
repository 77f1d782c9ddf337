//! Choices of the hot path, each against the ways not taken: small, honest forms of them on the same work, in turns.
//! docs/decisions.md says what was decided by which.
//!
//! `cargo bench --bench choices` prints a table for each choice, `-- NAME` for one. Without `--bench`, which `cargo bench`
//! passes, each runs once and very short, and says only that it works. What loses something fails either way.

mod accepting;
mod bus;
#[path = "../common/mod.rs"]
mod common;
mod gathering;
mod lanes;
mod machine;
mod queue;
mod ring;
mod sink;
mod turns;
mod waiting;
mod writing;

use std::process::ExitCode;

use turns::Extent;

/// As the server has it: chunks are allocated on one thread and freed on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A choice: its name, the question, what runs it.
type Choice = (&'static str, &'static str, fn(Extent));

const CHOICES: [Choice; 6] = [
    ("bus", "a queue a shard of shared chunks, one ring that all read, or a copy in each queue", bus::run),
    ("queue", "crossbeam's ArrayQueue or rtrb", queue::run),
    ("waiting", "parking or spinning", waiting::run),
    ("writing", "copying runs together or writing them from where they lie", writing::run),
    ("accepting", "accepting in one place or by a listener a shard", accepting::run),
    ("gathering", "writing at once or gathering for some microseconds", gathering::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let extent = if arguments.iter().any(|argument| argument == "--bench") {
        Extent { rounds: 7, is_trial: false }
    } else {
        Extent { rounds: 1, is_trial: true }
    };
    // Other flags are for criterion and for the harness of tests, which run beside this.
    let names: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    if let Some(unknown) = names.iter().find(|name| CHOICES.iter().all(|(choice, ..)| choice != *name)) {
        eprintln!(
            "choices: {unknown} is no choice; there are: {}",
            CHOICES.map(|(name, ..)| name).join(", ")
        );
        return ExitCode::FAILURE;
    }
    machine::raise_open_files();
    for (name, question, run) in CHOICES {
        if names.is_empty() || names.iter().any(|wanted| *wanted == name) {
            println!("{name}: {question}");
            run(extent);
            println!("{}", if extent.is_trial { "  works" } else { "" });
        }
    }
    ExitCode::SUCCESS
}
