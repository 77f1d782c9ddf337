//! `tickcast export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{progress, stopped};
use crate::feed::export::{self, Exported, STANDARD_OUTPUT, Selection, Stop};
use crate::feed::{TIME_FORMS, parse_time_ns};
use crate::model::{Channel, ChannelSet};

/// Write what is in a feed file in another format.
///
/// `csv`, `parquet` and `jsonl` hold what clients would have been told, with its sequences; prices and quantities are
/// exact decimals, times nanoseconds since 1970. Nothing is overwritten.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  tickcast export monday.feed --to csv --channels trades --out trades.csv
  tickcast export monday.feed --to csv --out monday        (a folder with a table for each channel)
  tickcast export monday.feed --to parquet --channels trades --out trades.parquet
  tickcast export monday.feed --to dbn --out monday.dbn.zst
  tickcast export monday.feed --to jsonl --symbols 'ES*' --start 2023-12-25T23:00:00Z --out - | head")]
pub struct ExportArgs {
    /// The feed file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What to write.
    #[arg(long, value_enum)]
    to: Format,
    /// Where to: a file that does not exist yet (packed where it ends with .zst), or - for standard output; several
    /// channels as csv or parquet: a new folder. Parquet is packed inside: no .zst.
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Only these channels: quotes, trades, book, orders, ticker, bars, status, separated by commas. Default: all.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = channel)]
    channels: Vec<Channel>,
    /// Only these instruments: symbols, or prefixes that end with *, separated by commas. Default: all.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    symbols: Vec<String>,
    /// Only from this time on (RFC 3339, or nanoseconds since 1970): the receive time, or the event time of recordings
    /// that have no other. How things stood then comes first.
    #[arg(long, value_name = "TIME", value_parser = time)]
    start: Option<u64>,
    /// Only up to this time, which itself is left out.
    #[arg(long, value_name = "TIME", value_parser = time)]
    end: Option<u64>,
}

/// What can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for each channel.
    Csv,
    /// The tables of csv, with types and packed.
    #[cfg_attr(
        not(feature = "parquet"),
        doc = "Not in this build: cargo build --release --features parquet."
    )]
    Parquet,
    /// JSON lines: the instruments, then every message of the protocol's JSON form.
    Jsonl,
    /// Databento (DBN version 3): imported recordings as they were; orders and trades of others where its units hold them.
    Dbn,
}

fn channel(text: &str) -> Result<Channel, String> {
    Channel::from_name(text).ok_or_else(|| {
        let names = Channel::ALL.map(Channel::name).join(", ");
        format!("no such channel; allowed: {names}")
    })
}

fn time(text: &str) -> Result<u64, String> {
    parse_time_ns(text).ok_or_else(|| format!("no time; allowed: {TIME_FORMS}"))
}

/// Does it and says on standard error what was written: standard output may be the export itself.
pub fn run(args: ExportArgs) -> anyhow::Result<()> {
    let selection = Selection {
        channels: (!args.channels.is_empty()).then(|| ChannelSet::of(&args.channels)),
        symbols: args.symbols.clone(),
        start_ns: args.start,
        end_ns: args.end,
        stop: Stop::default(),
    };
    // Whoever reads standard output keeps what came.
    if args.out.as_os_str() != STANDARD_OUTPUT {
        let stop = selection.stop.clone();
        stopped::when_told(move || stop.stop())?;
    }
    let bar = progress::bar("{wide_bar} {human_pos}/{human_len} records {eta}");
    let mut advance = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let exported = match args.to {
        Format::Csv => export::csv(&args.file, &selection, &args.out, &mut advance),
        Format::Jsonl => export::json_lines(&args.file, &selection, &args.out, &mut advance),
        #[cfg(feature = "parquet")]
        Format::Parquet => export::parquet(&args.file, &selection, &args.out, &mut advance),
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => anyhow::bail!(
            "this tickcast was built without the feature \"parquet\", which writes Parquet files; build it with it: \
             cargo build --release --features parquet"
        ),
        Format::Dbn if selection.channels.is_some() => anyhow::bail!(
            "--channels goes with csv, parquet and jsonl: what is in a DBN file follows from the instruments"
        ),
        #[cfg(feature = "dbn")]
        Format::Dbn => export::dbn::export(&args.file, &selection, &args.out, &mut advance),
        #[cfg(not(feature = "dbn"))]
        Format::Dbn => anyhow::bail!(
            "this tickcast was built without the feature \"dbn\", which writes Databento files; build it with it"
        ),
    };
    bar.finish_and_clear();
    match exported {
        Ok(exported) => report(&args, &exported),
        // As of `head`, which has read enough.
        Err(error) if error.is_broken_pipe() => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn report(args: &ExportArgs, exported: &Exported) {
    let Exported { records, written, left_out, losses, fault } = exported;
    let file = args.file.display();
    let out = match args.out.as_os_str() {
        out if out == STANDARD_OUTPUT => "standard output".into(),
        out => out.to_string_lossy(),
    };
    let what = if args.to == Format::Dbn { "records" } else { "messages" };
    eprintln!("{out}: {what} written: {written}; records read: {records}");
    if *left_out > 0 {
        eprintln!("records left out, for which the format has no place: {left_out}");
    }
    if *losses > 0 {
        eprintln!("losses of records that {file} declares: {losses}; `tickcast inspect` tells where");
    }
    if let Some(fault) = fault {
        eprintln!(
            "{file} is not complete ({fault}): what comes before that was exported, what follows was not; `tickcast \
             repair` makes a whole file of what can be read"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(not(feature = "parquet"))]
    #[test]
    fn without_the_feature_parquet_is_refused_with_the_way_to_it() {
        let args = ExportArgs {
            file: "a.feed".into(),
            to: Format::Parquet,
            out: "a.parquet".into(),
            channels: Vec::new(),
            symbols: Vec::new(),
            start: None,
            end: None,
        };
        let error = run(args).unwrap_err().to_string();
        assert!(error.contains("cargo build --release --features parquet"), "{error}");
        let help =
            Format::Parquet.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string));
        assert!(help.is_some_and(|help| help.contains("Not in this build")));
    }

    #[test]
    fn arguments_are_taken_or_refused_by_name() {
        let command = ExportArgs::augment_args(clap::Command::new("export"));
        command.clone().debug_assert();
        let parse = |arguments: &[&str]| {
            let given = ["export", "a.feed", "--to", "csv", "--out", "b"].iter().chain(arguments);
            command.clone().try_get_matches_from(given)
        };
        let matches =
            parse(&["--channels", "trades,book", "--start", "2023-12-25T00:00:00Z", "--end", "5"]).unwrap();
        let channels: Vec<&Channel> = matches.get_many("channels").unwrap().collect();
        assert_eq!(channels, [&Channel::Trades, &Channel::Book]);
        assert_eq!(matches.get_one::<u64>("start"), Some(&1_703_462_400_000_000_000));
        for (arguments, reason) in [
            (["--channels", "level2"].as_slice(), "no such channel; allowed: quotes, trades, book"),
            (
                &["--start", "monday"],
                "invalid value 'monday' for '--start <TIME>': no time; allowed: a time from 1970 to 2554 such as",
            ),
            (&["--to", "xml"], "cannot be used multiple times"),
            (&["c.feed"], "unexpected argument 'c.feed'"),
        ] {
            let error = parse(arguments).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
