//! `tickcast inspect`.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::progress;
use crate::feed::inspect::{Picture, Report, draw, inspect, series};

/// Tell what a feed file holds: instruments, counts, volumes, times, sizes, final books.
///
/// A file that was not finished, or is damaged, is told of as far as it can be read; the report says where that ends.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  tickcast inspect monday.feed
  tickcast inspect monday.feed --plot monday.png
  tickcast inspect monday.feed --json | jq '.instruments[0].book'")]
pub struct InspectArgs {
    /// The feed file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print JSON instead of text; prices, quantities and times are text there, so that they stay exact.
    #[arg(long)]
    json: bool,
    /// Draw mid price, spread and exchange events a second over time into a file that does not exist yet (.png or .svg).
    #[arg(long, value_name = "PICTURE", value_parser = picture)]
    plot: Option<PathBuf>,
    /// Only this instrument. Default: all; a picture shows the one with the most records.
    #[arg(long, value_name = "SYMBOL")]
    symbol: Option<String>,
}

fn picture(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    Picture::of(&path).map(|_| path).ok_or_else(|| "allowed: names that end with .png or .svg".into())
}

/// Reads the file and prints the report.
pub fn run(args: InspectArgs) -> anyhow::Result<()> {
    let bar = progress::bar("{wide_bar} {human_pos}/{human_len} records {eta}");
    let mut report = inspect(&args.file, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    if let Some(symbol) = &args.symbol {
        report.instruments.retain(|instrument| instrument.symbol == *symbol);
        anyhow::ensure!(
            !report.instruments.is_empty(),
            "{} has no instrument {symbol:?}; without --symbol all are told",
            report.file
        );
    }
    if let Some(plot) = &args.plot {
        draw_plot(&args, &report, plot)?;
    }
    print(&args, &report).context("cannot write to standard output")
}

fn print(args: &InspectArgs, report: &Report) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    if args.json {
        serde_json::to_writer_pretty(&mut out, report)?;
        writeln!(out)?;
    } else {
        report.write_text(&mut out)?;
    }
    out.flush()
}

fn draw_plot(args: &InspectArgs, report: &Report, plot: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(
        !plot.exists(),
        "{} exists; inspect overwrites nothing: name another file",
        plot.display()
    );
    let chosen = report.instruments.iter().max_by_key(|instrument| instrument.records);
    let Some(chosen) = chosen else {
        anyhow::bail!("{} has no instrument that could be drawn", report.file);
    };
    let Some(picture) = Picture::of(plot) else { return Ok(()) };
    let series = series(&args.file, chosen.instrument)?;
    draw(&series, picture, plot).map_err(|error| anyhow::anyhow!("cannot draw {}: {error}", plot.display()))
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
