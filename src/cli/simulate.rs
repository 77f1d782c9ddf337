//! `tickcast simulate`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use indicatif::ProgressBar;

use super::progress;
use crate::config::{Place, Problem, Problems, Symbols};
use crate::feed::{Description, FeedError, KeyframeSettings, Writer, Written};
use crate::model::{Deriver, Event, Primary, primary_flags};
use crate::node;
use crate::sim::{Rate, Simulation, SimulationSettings};
use crate::source::{Next, Source};

/// Run the simulated market without a server, as fast as it goes, into a feed file or a digest.
///
/// The same seed and settings give the same bytes, on every machine; `serve` with them publishes the same market.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("result").required(true).multiple(true).args(["out", "digest"]), after_help = "\
Example:
  tickcast simulate --ticks 20000 --symbols 4 --seed 7 --out four.feed
  tickcast simulate --ticks 100000 --digest")]
pub struct SimulateArgs {
    /// How many ticks: orders that arrive, and changes of status. The opening of each book comes before.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    ticks: String,
    /// How many plausible instruments, or a TOML file that lists your own.
    #[arg(long, value_name = "N|FILE", default_value = "20", allow_hyphen_values = true)]
    symbols: String,
    /// Chooses one of the possible histories.
    #[arg(long, value_name = "N", default_value = "1", allow_hyphen_values = true)]
    seed: String,
    /// The feed file to write; it must not exist yet.
    #[arg(long, value_name = "FILE", value_parser = super::file_to_write)]
    out: Option<PathBuf>,
    /// Print the CRC32C over the events that are derived, with the settings that they follow from.
    #[arg(long)]
    digest: bool,
}

/// Simulates and prints what was written, and the digest where it is asked for.
pub fn run(args: SimulateArgs) -> anyhow::Result<()> {
    let Wanted { ticks, symbols, seed } = args.wanted()?;
    let instruments = node::instruments(symbols)?;
    let count = instruments.len();
    let symbols = if count == 1 { "1 symbol".to_owned() } else { format!("{count} symbols") };
    let settings = SimulationSettings { seed, instruments, rate: Rate::Max, ticks: Some(ticks) };
    let mut simulation = Simulation::new(settings)?;
    let catalog = simulation.catalog();

    let mut writer = match &args.out {
        None => None,
        Some(path) => {
            let source = format!("simulated market: {symbols}, {ticks} ticks, seed {seed}");
            Some(create(path, &Description::new(source, catalog.instruments().to_vec()))?)
        }
    };
    let mut digest = args.digest.then(|| Digest::new(Deriver::new(catalog)));
    let bar = progress::bar("{wide_bar} {human_pos}/{human_len} ticks {eta}");
    bar.set_length(ticks);
    each_batch(&mut simulation, &bar, |batch| {
        if let Some(writer) = &mut writer {
            batch.iter().try_for_each(|primary| writer.push(primary))?;
        }
        if let Some(digest) = &mut digest {
            digest.take(batch)?;
        }
        Ok(())
    })?;
    bar.finish_and_clear();

    let mut out = io::stdout().lock();
    if let (Some(writer), Some(path)) = (writer, &args.out) {
        let Written { records, blocks, bytes } = writer.finish()?;
        writeln!(out, "{}: {records} records, {symbols}, {blocks} blocks, {bytes} bytes", path.display())?;
    }
    if let Some(Digest { primaries, events, crc32c, .. }) = digest {
        writeln!(out, "seed = {seed}\nsymbols = {count}\nticks = {ticks}")?;
        writeln!(out, "primaries = {primaries}\nevents = {events}\ncrc32c = {crc32c}")?;
    }
    Ok(())
}

/// What was asked for, checked.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    ticks: u64,
    symbols: Symbols,
    seed: u64,
}

impl SimulateArgs {
    /// Everything that is wrong is reported at once.
    fn wanted(&self) -> Result<Wanted, Problems> {
        let mut problems = Problems::default();
        let ticks = whole("ticks", &self.ticks, 1, &mut problems);
        let symbols = self.symbols.parse().ok();
        if symbols.is_none() {
            refuse("symbols", &self.symbols, &Symbols::allowed(), &mut problems);
        }
        let seed = whole("seed", &self.seed, 0, &mut problems);
        match (ticks, symbols, seed) {
            (Some(ticks), Some(symbols), Some(seed)) => Ok(Wanted { ticks, symbols, seed }),
            _ => Err(problems),
        }
    }
}

fn whole(key: &str, text: &str, least: u64, problems: &mut Problems) -> Option<u64> {
    let number: Option<u64> = text.parse().ok().filter(|number| *number >= least);
    if number.is_none() {
        refuse(key, text, &format!("whole number, {least} to {}", u64::MAX), problems);
    }
    number
}

fn refuse(key: &str, text: &str, allowed: &str, problems: &mut Problems) {
    problems.add(Problem {
        key: key.into(),
        value: text.into(),
        place: Some(Place::Flag(format!("--{key}"))),
        allowed: allowed.into(),
    });
}

/// Runs a simulation to its end.
fn each_batch(
    simulation: &mut Simulation,
    bar: &ProgressBar,
    mut each: impl FnMut(&[Primary]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut batch = Vec::new();
    loop {
        // Without a rate everything is due at once.
        let next = simulation.poll(0, &mut batch).map_err(|error| anyhow::anyhow!(error))?;
        each(&batch)?;
        let is_tick = |primary: &&Primary| primary.is_last() && primary.flags & primary_flags::SNAPSHOT == 0;
        bar.inc(batch.iter().filter(is_tick).count() as u64);
        batch.clear();
        if next == Next::Ended {
            return Ok(());
        }
    }
}

/// A digest of everything that a deriver makes of what it is given.
struct Digest {
    deriver: Deriver,
    primaries: u64,
    events: u64,
    crc32c: u32,
    derived: Vec<Event>,
}

impl Digest {
    fn new(deriver: Deriver) -> Digest {
        Digest { deriver, primaries: 0, events: 0, crc32c: 0, derived: Vec::new() }
    }

    fn take(&mut self, batch: &[Primary]) -> anyhow::Result<()> {
        for primary in batch {
            self.deriver.apply(primary, &mut self.derived)?;
        }
        self.primaries += batch.len() as u64;
        self.events += self.derived.len() as u64;
        for event in self.derived.drain(..) {
            self.crc32c = crc32c::crc32c_append(self.crc32c, &event.digest_bytes());
        }
        Ok(())
    }
}

fn create(path: &Path, description: &Description) -> anyhow::Result<Writer> {
    let writer =
        Writer::create(path, description).map(|writer| writer.with_keyframes(KeyframeSettings::default()));
    writer.map_err(|error| match error {
        FeedError::Exists { path } => {
            anyhow::anyhow!("{path} exists; a simulation overwrites nothing: remove it, or name another file")
        }
        error => error.into(),
    })
}
