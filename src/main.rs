//! Arguments -> `cli`, nothing else.

use std::process::ExitCode;

/// Shards allocate and free on their own threads all the time; mimalloc's free lists belong to threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tickcast::cli::run()
}
