//! `tickcast import`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use time::Date;
use time::format_description::well_known::Iso8601;

use super::progress;
use crate::config::{Place, Problem, Problems};
use crate::feed::import::capture::{self, Exchange};
use crate::feed::import::{Findings, ImportOptions, Imported, Progress, itch, lobster, tardis};
use crate::model::{SYMBOLS_ALLOWED, symbol_is_valid};

/// Take a foreign recording into a feed file.
///
/// The inputs are read twice: first to learn their instruments, then to write. Each may be plain or packed with gzip or
/// zstd. Several inputs are merged by time. What is damaged or cut off is left out and reported, the rest is taken in.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  tickcast import --from dbn monday.mbo.dbn.zst --out monday.feed
  tickcast import --from itch 01302019.NASDAQ_ITCH50.gz --out nasdaq.feed
  tickcast import --from lobster AAPL_2012-06-21_34200000_57600000_message_10.csv --out aapl.feed
  tickcast import --from kraken kraken.log --out kraken.feed
  tickcast inspect monday.feed")]
pub struct ImportArgs {
    /// What kind of recording it is.
    #[arg(long, value_enum)]
    from: Format,
    /// The recordings.
    #[arg(required = true, value_name = "IN")]
    inputs: Vec<PathBuf>,
    /// The feed file to write; it must not exist yet.
    #[arg(long, value_name = "FILE", value_parser = super::file_to_write)]
    out: PathBuf,
    /// The day in New York (YYYY-MM-DD) of an ITCH or LOBSTER recording; without it, the one in the file's name.
    #[arg(long)]
    date: Option<String>,
    /// The stock of a LOBSTER recording; without it, what stands before the first `_` of the file's name.
    #[arg(long)]
    symbol: Option<String>,
    /// Refuse damaged recordings: the first damage is an error, and nothing is written.
    #[arg(long)]
    strict: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// The recordings that can be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Databento (.dbn; versions 1 to 3; schemas mbo, mbp-1, mbp-10, tbbo, bbo-1s, bbo-1m, trades, status, definition,
    /// statistics, imbalance, mixed).
    Dbn,
    /// Nasdaq TotalView-ITCH 5.0 (messages behind their lengths, as in Nasdaq's daily files).
    Itch,
    /// LOBSTER message files; the order book file of the same name is found beside each.
    Lobster,
    /// A raw capture of Coinbase, Exchange (level2, matches) or Advanced Trade (l2_data, market_trades), a message a line.
    Coinbase,
    /// A raw capture of Kraken (book with checksums, trade; versions 1 and 2), a message a line.
    Kraken,
    /// A raw capture of Binance, spot or futures (depth, trade, aggTrade, REST snapshots), a message a line.
    Binance,
    /// CSV files of Tardis.dev (incremental_book_L2, trades, quotes, book_ticker, book_snapshot_N).
    Tardis,
}

impl ImportArgs {
    /// The day and the symbol that were given; an error where one is none, or where the recording says it itself.
    fn given(&self) -> Result<(Option<Date>, Option<String>), Problems> {
        let mut problems = Problems::default();
        let mut refuse = |key: &str, value: &str, allowed: &str| {
            let place = Some(Place::Flag(format!("--{key}")));
            problems.add(Problem { key: key.into(), value: value.into(), place, allowed: allowed.into() });
        };
        let mut date = None;
        if let Some(text) = &self.date {
            date = Date::parse(text, &Iso8601::DATE).ok();
            if !matches!(self.from, Format::Itch | Format::Lobster) {
                refuse(
                    "date",
                    text,
                    "only with --from itch or lobster: other recordings say their days themselves",
                );
            } else if date.is_none() {
                refuse("date", text, "a day such as 2019-01-30");
            }
        }
        if let Some(text) = &self.symbol
            && self.from != Format::Lobster
        {
            refuse("symbol", text, "only with --from lobster: other recordings say their symbols themselves");
        } else if let Some(text) = self.symbol.as_ref().filter(|text| !symbol_is_valid(text)) {
            refuse("symbol", text, SYMBOLS_ALLOWED);
        }
        if self.out.as_os_str() == "-" {
            refuse("out", "-", "a file: a feed file is not written to standard output");
        }
        if problems.is_empty() { Ok((date, self.symbol.clone())) } else { Err(problems) }
    }
}

/// Does it and prints what was written.
pub fn run(args: ImportArgs) -> anyhow::Result<()> {
    let bar = progress::bar("{wide_bar} {bytes}/{total_bytes} {eta}");
    let imported = import(&args, &mut |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    let imported = imported?;
    warn(&imported.findings);
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &imported)?;
        writeln!(out)?;
    } else {
        print(&args, &imported, &mut out)?;
    }
    Ok(())
}

fn import(args: &ImportArgs, progress: &mut dyn FnMut(Progress)) -> anyhow::Result<Imported> {
    let options = ImportOptions { strict: args.strict };
    let (date, symbol) = args.given()?;
    match args.from {
        Format::Dbn => import_dbn(args, options, progress),
        Format::Itch => Ok(itch::import(&args.inputs, &args.out, date, options, progress)?),
        Format::Lobster => {
            let given = lobster::Given { symbol, date };
            Ok(lobster::import(&args.inputs, &args.out, given, options, progress)?)
        }
        Format::Coinbase => import_capture(Exchange::Coinbase, args, options, progress),
        Format::Kraken => import_capture(Exchange::Kraken, args, options, progress),
        Format::Binance => import_capture(Exchange::Binance, args, options, progress),
        Format::Tardis => Ok(tardis::import(&args.inputs, &args.out, options, progress)?),
    }
}

fn import_capture(
    exchange: Exchange,
    args: &ImportArgs,
    options: ImportOptions,
    progress: &mut dyn FnMut(Progress),
) -> anyhow::Result<Imported> {
    Ok(capture::import(exchange, &args.inputs, &args.out, options, progress)?)
}

#[cfg(feature = "dbn")]
fn import_dbn(
    args: &ImportArgs,
    options: ImportOptions,
    progress: &mut dyn FnMut(Progress),
) -> anyhow::Result<Imported> {
    Ok(crate::feed::import::dbn::import(&args.inputs, &args.out, options, progress)?)
}

#[cfg(not(feature = "dbn"))]
fn import_dbn(_: &ImportArgs, _: ImportOptions, _: &mut dyn FnMut(Progress)) -> anyhow::Result<Imported> {
    anyhow::bail!(
        "this tickcast was built without the feature \"dbn\", which reads Databento files; build it with it"
    )
}

/// Says on standard error what was left out.
fn warn(findings: &Findings) {
    for damage in &findings.damage {
        eprintln!("warning: {damage}");
    }
    let more = findings.damaged - findings.damage.len() as u64;
    if more > 0 {
        eprintln!("warning: and {more} more");
    }
}

fn print(args: &ImportArgs, imported: &Imported, out: &mut impl Write) -> io::Result<()> {
    let Imported { source_records, instruments, written, findings } = imported;
    writeln!(
        out,
        "{}: {} records of {source_records} source records; instruments {instruments}, blocks {}, bytes {}",
        args.out.display(),
        written.records,
        written.blocks,
        written.bytes
    )?;
    if findings.damaged > 0 {
        writeln!(out, "damaged and left out: {}", findings.damaged)?;
    }
    for (name, count) in &findings.unknown {
        writeln!(out, "not known: {name}: {count}")?;
    }
    for (name, count) in &findings.left_out {
        writeln!(out, "no place in a feed file: {name}: {count}")?;
    }
    for (what, count) in &findings.odd {
        writeln!(out, "odd: {what}: {count}")?;
    }
    for note in &findings.notes {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
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
