//! `tickcast record`.

mod transcript;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use self::transcript::Transcript;
use super::instruments::{Listed, fetch};
use super::progress;
use crate::client::{Address, Client, Disconnect, Subscription, Update};
use crate::clock::Clock;
use crate::config::{DURATION_ALLOWED, duration};
use crate::feed::{Description, FeedError, KeyframeSettings, Reader, Writer};
use crate::limits;
use crate::model::{Channel, ChannelSet, Instrument};

/// Record what a server sends into a feed file, until Ctrl-C, SIGTERM or --duration.
///
/// Of each instrument it asks for its orders where the server has them, else its book, else its quotes, and for its
/// trades and status: the rest follows from them when the file is replayed. Each record has the time at which it was
/// received. A lost connection is made again; what is missing is declared in the file.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  tickcast record --url ws://127.0.0.1:8765/ws --out day.feed
  tickcast record --symbols 'BTC-*' ETH-USD --channels book trades --duration 1h --out hour.feed
  tickcast record --append --out day.feed        (goes on with the file of before)")]
pub struct RecordArgs {
    /// The server's stream.
    #[arg(long, default_value = "ws://127.0.0.1:8765/ws")]
    url: Address,
    /// What to record: symbols, or prefixes followed by *.
    #[arg(long, value_name = "SYMBOL", num_args = 1.., default_value = "*")]
    symbols: Vec<String>,
    /// Only these of quotes, trades, book, orders and status.
    #[arg(long, value_name = "CHANNEL", num_args = 1.., value_parser = channel)]
    channels: Vec<Channel>,
    /// The feed file to write; without --append it must not exist yet.
    #[arg(long, value_name = "FILE", value_parser = super::file_to_write)]
    out: PathBuf,
    /// Go on with the file where it exists: it must be whole, and have the same instruments. That something is missing
    /// between is declared in it.
    #[arg(long)]
    append: bool,
    /// How long; without it until it is stopped.
    #[arg(long, value_name = "TIME", value_parser = time)]
    duration: Option<Duration>,
}

/// What can be recorded; the other channels follow from these.
const RECORDED: [Channel; 5] =
    [Channel::Quotes, Channel::Trades, Channel::Book, Channel::Orders, Channel::Status];

fn channel(name: &str) -> Result<Channel, String> {
    let known = RECORDED.into_iter().find(|channel| channel.name() == name);
    known.ok_or_else(|| {
        "allowed: quotes, trades, book, orders, status; ticker and bars follow from them".into()
    })
}

fn time(text: &str) -> Result<Duration, String> {
    duration(text).filter(|time| !time.is_zero()).ok_or_else(|| format!("allowed: {DURATION_ALLOWED}"))
}

/// Records and prints what was written.
pub fn run(args: RecordArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(record(&args))
}

/// One instrument to record, and the channels to ask for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    instrument: Instrument,
    ask: ChannelSet,
}

async fn record(args: &RecordArgs) -> anyhow::Result<()> {
    let mut signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = pin!(async {
        let end = args.duration.map(|time| Instant::now() + time);
        tokio::select! {
            _ = signals.0.recv() => {}
            _ = signals.1.recv() => {}
            () = async { sleep_until(end.unwrap_or_else(Instant::now)).await }, if end.is_some() => {}
        }
    });
    let wanted = wanted(&fetch(&args.url).await?, &args.symbols, &args.channels)?;
    let mut client = Client::connect(&args.url.to_string(), subscriptions(&wanted))?;
    let instruments: Vec<Instrument> = wanted.iter().map(|wanted| wanted.instrument.clone()).collect();
    let goes_on = args.append && args.out.exists();
    let writer = if goes_on {
        // Before anything is changed in it.
        same_instruments(&args.out, Reader::open(&args.out)?.catalog().instruments(), &instruments)?;
        Writer::append(&args.out, KeyframeSettings::default())?
    } else {
        let description = Description::new(format!("recorded from {}", args.url), instruments.clone());
        Writer::create(&args.out, &description)?.with_keyframes(KeyframeSettings::default())
    };
    let mut transcript = Transcript::new(writer, instruments);
    if goes_on {
        transcript.go_on(Clock::start().unix_ns())?;
    }

    let recorded = transcribe(&mut client, &mut transcript, stop).await;
    let merged = client.ledger_sum().merged;
    client.close().await;
    if recorded.is_err() && !goes_on && transcript.writer().records() == 0 {
        // It heard nothing: an empty file would only be in the way of the next try.
        drop(transcript);
        let _ = std::fs::remove_file(&args.out);
        return recorded;
    }
    // Whatever ended it: what was received is kept.
    let written = transcript.writer().seal().map_err(|error| unfinished(error, &args.out))?;
    let (records, bytes) = (written.records, written.bytes);
    let lost = match (transcript.lost, transcript.lost_unknown) {
        (lost, 0) => lost.to_string(),
        (0, _) => "an unknown number".to_owned(),
        (lost, _) => format!("at least {lost}"),
    };
    writeln!(
        io::stdout().lock(),
        "{}: {records} records, {bytes} bytes; merged by the server {merged}, lost {lost}",
        args.out.display()
    )?;
    recorded
}

/// What is left of a recording that could not be finished, as where the disk is full, and what to do with it.
fn unfinished(error: FeedError, out: &Path) -> anyhow::Error {
    match Reader::open(out) {
        Ok(reader) => anyhow::anyhow!(
            "{error}; {} holds {} records and was not finished: `tickcast repair` makes a whole file of it, where there is \
             room",
            out.display(),
            reader.records()
        ),
        Err(_) => error.into(),
    }
}

async fn transcribe(
    client: &mut Client,
    transcript: &mut Transcript<std::fs::File>,
    mut stop: impl Future<Output = ()> + Unpin,
) -> anyhow::Result<()> {
    let clock = Clock::start();
    let bar = progress::bar("{spinner} {msg}");
    let mut flush = interval_at(Instant::now() + limits::RECORD_FLUSH_DEFAULT, limits::RECORD_FLUSH_DEFAULT);
    flush.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let ended = loop {
        let update = tokio::select! {
            biased;
            () = &mut stop => break Ok(()),
            _ = flush.tick() => {
                transcript.writer().flush()?;
                bar.set_message(format!(
                    "{} records, {} bytes, lost {}",
                    transcript.writer().records(),
                    transcript.writer().bytes(),
                    transcript.lost
                ));
                bar.tick();
                continue;
            }
            update = client.next() => update,
        };
        match update {
            Ok(Update::Refused { message, retry: false, .. }) => {
                break Err(anyhow::anyhow!("the server refuses the subscription: {message}"));
            }
            Ok(update) => {
                transcript.take(&update, clock.unix_ns())?;
                bar.suspend(|| note(&update));
            }
            Err(error) => break Err(error.into()),
        }
    };
    bar.finish_and_clear();
    ended
}

/// What concerns the whole connection goes to standard error.
fn note(update: &Update) {
    match update {
        Update::Connected { server, epoch } => eprintln!("connected to {server}, epoch {epoch}"),
        Update::Disconnected { why, retry_in } => {
            let hint = match why {
                Disconnect::Connect(error) if error.is_refused_by_host() => {
                    "; `tickcast serve` starts a server"
                }
                _ => "",
            };
            eprintln!("disconnected: {why}{hint}; retrying in {:.1} s", retry_in.as_secs_f64());
        }
        Update::Notice { code, message } => eprintln!("{code}: {message}"),
        _ => {}
    }
}

/// The instruments that match, each with what to ask for.
fn wanted(listed: &[Listed], symbols: &[String], channels: &[Channel]) -> anyhow::Result<Vec<Wanted>> {
    let matches = |pattern: &str, symbol: &str| match pattern.strip_suffix('*') {
        Some(prefix) => symbol.starts_with(prefix),
        None => symbol == pattern,
    };
    for pattern in symbols {
        if !listed.iter().any(|listed| matches(pattern, &listed.symbol)) {
            bail!("the server has no instrument {pattern:?}; it has {}", named(listed));
        }
    }
    let wanted: Vec<Wanted> = listed
        .iter()
        .filter(|listed| symbols.iter().any(|pattern| matches(pattern, &listed.symbol)))
        .filter_map(|listed| one(listed, channels))
        .collect();
    if wanted.is_empty() {
        bail!("none of these instruments has one of these channels: nothing can be recorded");
    }
    Ok(wanted)
}

/// Whether what is to be recorded is what a file has.
fn same_instruments(file: &Path, there: &[Instrument], wanted: &[Instrument]) -> anyhow::Result<()> {
    let other = there.iter().zip(wanted).find(|(there, wanted)| there != wanted).map(|(_, wanted)| wanted);
    let other = other.or(there.get(wanted.len())).or(wanted.get(there.len()));
    if let Some(other) = other {
        bail!(
            "{} was begun with other instruments or channels, or in other units (the first that differs: {}): record \
             into another file",
            file.display(),
            other.symbol
        );
    }
    Ok(())
}

/// Some of the symbols, for a message.
fn named(listed: &[Listed]) -> String {
    let some: Vec<&str> = listed.iter().take(8).map(|listed| listed.symbol.as_str()).collect();
    let more = if listed.len() > some.len() { ", …" } else { "" };
    format!("{}{more}", some.join(", "))
}

/// What to ask for of an instrument; `None`: nothing.
fn one(listed: &Listed, channels: &[Channel]) -> Option<Wanted> {
    let has = |channel: Channel| {
        listed.channels.iter().any(|name| name == channel.name())
            && (channels.is_empty() || channels.contains(&channel))
    };
    // Each of these tells what those behind it tell, and more.
    let state = [Channel::Orders, Channel::Book, Channel::Quotes].into_iter().find(|channel| has(*channel));
    let beside = [Channel::Trades, Channel::Status].into_iter().filter(|channel| has(*channel));
    let ask: Vec<Channel> = state.into_iter().chain(beside).collect();
    let mut follow = ask.clone();
    match state {
        Some(Channel::Orders) => follow.extend([Channel::Book, Channel::Quotes, Channel::Ticker]),
        Some(Channel::Book) => follow.extend([Channel::Quotes, Channel::Ticker]),
        Some(_) => follow.push(Channel::Ticker),
        None => {}
    }
    if ask.contains(&Channel::Trades) {
        follow.extend([Channel::Ticker, Channel::Bars]);
    }
    (!ask.is_empty()).then(|| Wanted {
        instrument: Instrument {
            symbol: listed.symbol.clone(),
            price_exponent: listed.price_exponent,
            quantity_exponent: listed.quantity_exponent,
            tick_size: listed.tick_size(),
            lot_size: listed.lot_size(),
            channels: ChannelSet::of(&follow),
            book_depth: u16::from(state == Some(Channel::Quotes)),
            source_id: 0,
        },
        ask: ChannelSet::of(&ask),
    })
}

/// One subscription a channel: a request is refused whole.
fn subscriptions(wanted: &[Wanted]) -> Vec<Subscription> {
    let of = |channel: Channel| {
        let symbols = wanted.iter().filter(|wanted| wanted.ask.contains(channel));
        let symbols: Vec<_> = symbols.map(|wanted| wanted.instrument.symbol.clone()).collect();
        (!symbols.is_empty()).then(|| Subscription::new(symbols, &[channel]))
    };
    RECORDED.into_iter().filter_map(of).collect()
}
