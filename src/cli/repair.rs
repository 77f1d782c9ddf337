//! `tickcast repair`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use super::progress;
use crate::feed::repair::repair;

/// Make a feed file whole that was not finished, or is damaged.
///
/// What stands before the first fault is kept byte for byte; behind a damaged block the next whole one is looked for,
/// and what is missing between them is declared in the file. Index and trailer are written anew. Without --out the whole file takes the
/// place of the damaged one, which stays beside it as FILE.damaged. A file whose header or description are damaged
/// cannot be repaired.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  tickcast repair monday.feed
  tickcast repair monday.feed --out whole.feed")]
pub struct RepairArgs {
    /// The feed file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the whole file goes; it must not exist yet.
    #[arg(long, value_name = "FILE", value_parser = super::file_to_write)]
    out: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Repairs the file and prints what was saved.
pub fn run(args: RepairArgs) -> anyhow::Result<()> {
    let bar = progress::bar("{wide_bar} {bytes}/{total_bytes} {eta}");
    let repaired = repair(&args.file, args.out.as_deref(), &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &repaired)?;
        writeln!(out)?;
    } else {
        repaired.write_text(&mut out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_taken_or_refused_by_name() {
        let command = RepairArgs::augment_args(clap::Command::new("repair"));
        command.clone().debug_assert();
        assert!(
            command.clone().try_get_matches_from(["repair", "a.feed", "--out", "b.feed", "--json"]).is_ok()
        );
        let error = command.try_get_matches_from(["repair", "a", "b"]).unwrap_err().to_string();
        assert!(error.contains("unexpected argument 'b'"), "{error}");
    }
}
