//! `tickcast inspect`.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Args;

use super::progress;
use crate::feed::inspect::inspect;

/// Tell what a feed file holds: instruments, counts, volumes, times, sizes, final books.
///
/// A file that was not finished, or is damaged, is told of as far as it can be read; the report says where that ends.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  tickcast inspect monday.feed
  tickcast inspect monday.feed --json | jq '.instruments[0].book'")]
pub struct InspectArgs {
    /// The feed file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print JSON instead of text; prices, quantities and times are text there, so that they stay exact.
    #[arg(long)]
    json: bool,
}

/// Reads the file and prints the report.
pub fn run(args: InspectArgs) -> anyhow::Result<()> {
    let bar = progress::bar("{wide_bar} {human_pos}/{human_len} records {eta}");
    let report = inspect(&args.file, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let mut out = BufWriter::new(io::stdout().lock());
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        report.write_text(&mut out)?;
    }
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_taken_or_refused_by_name() {
        let command = InspectArgs::augment_args(clap::Command::new("inspect"));
        command.clone().debug_assert();
        assert!(command.clone().try_get_matches_from(["inspect", "a.feed", "--json"]).is_ok());
        for (arguments, reason) in
            [(["inspect"].as_slice(), "<FILE>"), (&["inspect", "a", "b"], "unexpected argument 'b'")]
        {
            let error = command.clone().try_get_matches_from(arguments).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
