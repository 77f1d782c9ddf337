//! `tickcast verify`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use super::progress;
use crate::feed::verify::verify;

/// Check every byte of feed files: whether they are whole, and where they are not.
///
/// Header, description, each block's checksum, each record, the running numbers, the index and the trailer are
/// checked. Each fault is told with its place in the file, and how many records stand before the first. The exit code is
/// 1 where a file is not whole. What a file declares as lost is told, and is no fault.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  tickcast verify monday.feed tuesday.feed
  tickcast verify monday.feed --json | jq '.[0].faults'")]
pub struct VerifyArgs {
    /// The feed files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print JSON instead of text: an array with one object a file.
    #[arg(long)]
    json: bool,
}

/// Checks the files and prints what was found.
pub fn run(args: VerifyArgs) -> anyhow::Result<()> {
    let mut results = Vec::with_capacity(args.files.len());
    for file in &args.files {
        let bar = progress::bar("{wide_bar} {bytes}/{total_bytes} {eta}");
        let result = verify(file, &mut |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        });
        bar.finish_and_clear();
        let result = match result {
            Ok(result) => result,
            Err(error) if args.files.len() == 1 => return Err(error.into()),
            // The others are looked at all the same.
            Err(error) => {
                eprintln!("error: {error}");
                continue;
            }
        };
        if !args.json {
            result.write_text(&mut io::stdout().lock())?;
        }
        results.push(result);
    }
    if args.json {
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, &results)?;
        writeln!(out)?;
    }
    let damaged = results.iter().filter(|result| !result.ok).count();
    let unread = args.files.len() - results.len();
    if unread > 0 {
        anyhow::bail!("not read: {unread} of {}; not whole: {damaged}", args.files.len());
    }
    if damaged == 0 {
        return Ok(());
    }
    let can_be_saved = results.iter().any(|result| !result.ok && result.unreadable.is_none());
    let hint = if can_be_saved { "; `tickcast repair FILE` saves what can be read of one" } else { "" };
    anyhow::bail!("not whole: {damaged} of {}{hint}", results.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_taken_or_refused_by_name() {
        let command = VerifyArgs::augment_args(clap::Command::new("verify"));
        command.clone().debug_assert();
        assert!(command.clone().try_get_matches_from(["verify", "a.feed", "b.feed", "--json"]).is_ok());
        let error = command.try_get_matches_from(["verify"]).unwrap_err().to_string();
        assert!(error.contains("<FILE>..."), "{error}");
    }
}
