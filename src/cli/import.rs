//! `tickcast import`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;

use super::progress;
use crate::feed::import::Imported;

/// Take a foreign recording into a feed file.
///
/// The inputs are read twice: first to learn their instruments and to check every record, then to write. Of inputs
/// that are truncated or not understood nothing is written. Several inputs are merged by receive time.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  tickcast import --from dbn monday.mbo.dbn.zst --out monday.feed
  tickcast inspect monday.feed")]
pub struct ImportArgs {
    /// What kind of recording it is.
    #[arg(long, value_enum)]
    from: Format,
    /// The recordings.
    #[arg(required = true, value_name = "IN")]
    inputs: Vec<PathBuf>,
    /// The feed file to write; it must not exist yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// The recordings that can be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Databento (.dbn, .dbn.zst; versions 1 to 3; schemas mbo, mbp-1, mbp-10, trades).
    Dbn,
}

/// Does it and prints what was written.
pub fn run(args: ImportArgs) -> anyhow::Result<()> {
    let bar = progress::bar("{wide_bar} {bytes}/{total_bytes} {eta}");
    let imported = match args.from {
        Format::Dbn => import_dbn(&args, &bar)?,
    };
    bar.finish_and_clear();
    let written = imported.written;
    writeln!(
        io::stdout().lock(),
        "{}: {} records of {} source records; instruments {}, blocks {}, bytes {}",
        args.out.display(),
        written.records,
        imported.source_records,
        imported.instruments,
        written.blocks,
        written.bytes
    )?;
    Ok(())
}

#[cfg(feature = "dbn")]
fn import_dbn(args: &ImportArgs, bar: &ProgressBar) -> anyhow::Result<Imported> {
    let imported = crate::feed::import::dbn::import(&args.inputs, &args.out, &mut |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    })?;
    Ok(imported)
}

#[cfg(not(feature = "dbn"))]
fn import_dbn(_: &ImportArgs, _: &ProgressBar) -> anyhow::Result<Imported> {
    anyhow::bail!(
        "this tickcast was built without the feature \"dbn\", which reads Databento files; build it with it"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_taken_or_refused_by_name() {
        let command = ImportArgs::augment_args(clap::Command::new("import"));
        command.clone().debug_assert();
        assert!(
            command
                .clone()
                .try_get_matches_from(["import", "--from", "dbn", "a.dbn", "b.dbn", "--out", "c.feed"])
                .is_ok()
        );
        for (arguments, reason) in [
            (
                ["import", "--from", "csv", "a", "--out", "b"].as_slice(),
                "invalid value 'csv' for '--from <FROM>'",
            ),
            (&["import", "--from", "dbn", "--out", "b"], "<IN>..."),
            (&["import", "--from", "dbn", "a"], "--out <FILE>"),
        ] {
            let error = command.clone().try_get_matches_from(arguments).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
