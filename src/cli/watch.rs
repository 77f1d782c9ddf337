//! `tickcast watch`: a live view on a terminal, else trades, best quotes and books as lines of text.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use futures_util::FutureExt;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use self::lines::{Lines, time_of_day};
use crate::client::{Address, Client, Disconnect, Listing, Subscription, Update};
use crate::model::{Channel, Quote};

mod lines;
mod live;

/// Show trades, best quotes and books as they come: live on a terminal, elsewhere in lines
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct WatchArgs {
    /// What to watch: symbols, or prefixes followed by *
    #[arg(required = true, value_name = "SYMBOL")]
    pub symbols: Vec<String>,
    /// The server's stream
    #[arg(long, default_value = "ws://127.0.0.1:8765/ws")]
    pub url: Address,
    /// Levels a side of the book; in lines: print the best N every second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub depth: Option<u32>,
    /// Print one JSON object a line, in the shapes of the protocol
    #[arg(long)]
    pub json: bool,
    /// Stop after N trades, quotes and books
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

const EXAMPLE: &str = "\
On a terminal: a live view of one instrument (ladder, trades, rate, latency). Keys:
  n, p     next, previous instrument (also right, left)
  +, -     more, fewer levels of the book (also up, down)
  space    hold the tape, let it go
  ?        the keys
  q, Esc   quit (also Ctrl-C)
NO_COLOR=1 draws without colours.

Elsewhere, or with --json or --count: a line for each trade and each change of the best quote.

Example:
  tickcast watch 'BTC-*'
  tickcast watch BTC-USD ETH-USD --depth 5 | tee lines.txt";

/// Runs the verb. On a terminal it is a live view, until the user quits. Elsewhere it prints a line on standard output
/// for each trade and each change of the best quote, the state of the connection on standard error, and ends with
/// `--count`, with Ctrl-C, or when nobody reads its output any more. A lost connection is made again for as long as it
/// takes.
///
/// # Errors
/// The server does not know a symbol, or refuses this client.
pub fn run(args: WatchArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if is_live(&args) {
        return runtime.block_on(live::run(&args));
    }
    runtime.block_on(async {
        let stop = pin!(async {
            if tokio::signal::ctrl_c().await.is_err() {
                // Without a handler the system's own way to end a process remains.
                std::future::pending::<()>().await;
            }
        });
        let mut watch = Watch::new(&args, BufWriter::new(io::stdout()), io::stderr());
        match watch.run(&args, stop).await {
            // Whoever read has enough (`| head`).
            Err(error) if is_broken_pipe(&error) => Ok(()),
            result => result,
        }
    })
}

/// Whether there is a terminal that can show the view and send keys, and nobody asked for lines.
fn is_live(args: &WatchArgs) -> bool {
    let terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    let wants_lines = args.json || args.count.is_some();
    terminal && !wants_lines && live::can_place_text(|name| std::env::var(name).ok())
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The verb at work, printing market data to `O` and the state of the connection to `N`.
struct Watch<O, N> {
    lines: Lines<O>,
    notes: N,
    /// Lines still to print; `None`: no end.
    left: Option<u64>,
    /// The last quote printed of each symbol: an equal one is no change.
    quotes: HashMap<String, Quote>,
    /// Whose books to print.
    books: BTreeMap<String, Arc<Listing>>,
    /// Subscriptions to what is printed that were refused, in whole or in part.
    refused: BTreeSet<usize>,
    /// Number of the subscription to the status: it comes after those to what is printed.
    status: usize,
}

impl<O: Write, N: Write> Watch<O, N> {
    fn new(args: &WatchArgs, out: O, notes: N) -> Watch<O, N> {
        Watch {
            lines: Lines::new(out, args.json),
            notes,
            left: args.count,
            quotes: HashMap::new(),
            books: BTreeMap::new(),
            refused: BTreeSet::new(),
            status: 0,
        }
    }

    async fn run(
        &mut self,
        args: &WatchArgs,
        mut stop: impl Future<Output = ()> + Unpin,
    ) -> anyhow::Result<()> {
        // A request is refused whole: what an instrument lacks (a recording of trades has no book) must not take the
        // rest with it.
        let subscribe = |channel| Subscription::new(args.symbols.iter().cloned(), &[channel]);
        let mut subscriptions = vec![subscribe(Channel::Trades), subscribe(Channel::Quotes)];
        subscriptions.extend(args.depth.map(|depth| subscribe(Channel::Book).with_depth(depth)));
        self.status = subscriptions.len();
        subscriptions.push(subscribe(Channel::Status));
        let mut client = Client::connect(&args.url.to_string(), subscriptions)?;

        let second = Duration::from_secs(1);
        let mut each_second = interval_at(Instant::now() + second, second);
        each_second.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while self.left != Some(0) {
            let update = match client.next().now_or_never() {
                Some(update) => update,
                None => {
                    // Nothing waits: show what there is before waiting.
                    self.lines.flush()?;
                    tokio::select! {
                        biased;
                        () = &mut stop => break,
                        _ = each_second.tick(), if args.depth.is_some() => {
                            self.print_books(&client, args.depth)?;
                            continue;
                        }
                        update = client.next() => update,
                    }
                }
            };
            self.take(update?)?;
        }
        self.lines.flush()?;
        client.close().await;
        Ok(())
    }

    fn take(&mut self, update: Update) -> anyhow::Result<()> {
        match update {
            Update::Trade { listing, meta, trade } => {
                self.lines.trade(&listing, &meta, trade)?;
                self.printed();
            }
            Update::Quote { listing, meta, quote } => {
                if self.quotes.get(&listing.symbol) != Some(&quote) {
                    self.quotes.insert(listing.symbol.clone(), quote);
                    self.lines.quote(&listing, &meta, quote)?;
                    self.printed();
                }
            }
            Update::Granted { listing, channel: Channel::Book, .. } => {
                self.books.insert(listing.symbol.clone(), listing);
            }
            Update::Refused { subscription: Some(subscription), code, message, .. } => {
                self.refused(subscription, &code, &message)?;
            }
            other => self.note_of(&other),
        }
        Ok(())
    }

    /// A channel that an instrument lacks is noted, as long as something is left to print.
    fn refused(&mut self, subscription: usize, code: &str, message: &str) -> anyhow::Result<()> {
        let unavailable = code == "unavailable";
        if subscription < self.status {
            self.refused.insert(subscription);
        }
        if !unavailable || self.refused.len() == self.status {
            bail!("the server refuses the subscription: {message}");
        }
        self.note(message);
        Ok(())
    }

    /// What concerns the connection or a whole stream goes to standard error.
    fn note_of(&mut self, update: &Update) {
        let note = match update {
            Update::Connected { server, epoch } => format!("connected to {server}, epoch {epoch}"),
            Update::Disconnected { why, retry_in } => {
                let hint = match why {
                    Disconnect::Connect(error) if error.is_refused_by_host() => {
                        "; `tickcast serve` starts a server"
                    }
                    _ => "",
                };
                format!("disconnected: {why}{hint}; retrying in {:.1} s", retry_in.as_secs_f64())
            }
            Update::Refused { message, .. } => format!("the server refuses a request: {message}"),
            // The client says these itself, and also where the server says nothing at all.
            Update::Notice { code, .. } if code == "stale" || code == "live" => return,
            Update::Notice { code, message } => format!("{code}: {message}"),
            Update::Gap { listing, channel, from, to, .. } => {
                format!("{}: {channel} {from} to {to} are missing", listing.symbol)
            }
            Update::Mismatch { listing, seq, .. } => {
                format!(
                    "{}: the book differs from the server's at sequence {seq}; fetching it again",
                    listing.symbol
                )
            }
            Update::Reset { listing, epoch, reason } => {
                format!("{}: epoch {epoch} begins ({})", listing.symbol, reason.name())
            }
            Update::Status { listing, meta, status } => {
                format!("{} {}: {}", time_of_day(meta.ts_ns), listing.symbol, status.name())
            }
            Update::OrderMismatch { listing, seq, error } => {
                format!("{}: at sequence {seq} {error}; fetching the orders again", listing.symbol)
            }
            Update::Stale { why } => format!("stale: {why}"),
            Update::Live => "live again".to_owned(),
            Update::Granted { .. }
            | Update::Quote { .. }
            | Update::Order { .. }
            | Update::Orders { .. }
            | Update::Bar { .. }
            | Update::Trade { .. }
            | Update::Book { .. }
            | Update::Ticker { .. } => return,
        };
        self.note(&note);
    }

    fn note(&mut self, note: &str) {
        // Where standard error is closed there is nobody to tell.
        let _ = writeln!(self.notes, "{note}");
    }

    fn print_books(&mut self, client: &Client, depth: Option<u32>) -> anyhow::Result<()> {
        let depth = depth.map_or(usize::MAX, |depth| depth as usize);
        for symbol in self.books.keys() {
            // A book that is not known now, or old (no connection, a gap), is not printed.
            let view = client.book(symbol).filter(|view| !view.stale);
            if let Some(view) = view.filter(|_| self.left != Some(0)) {
                self.lines.book(&view, depth)?;
                self.left = self.left.map(|left| left.saturating_sub(1));
            }
        }
        Ok(())
    }

    fn printed(&mut self) {
        self.left = self.left.map(|left| left.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests;
