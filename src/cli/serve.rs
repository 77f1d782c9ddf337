//! `tickcast serve`.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::config::{
    Arity, Flags, KEYS, Key, Layers, LogFormat, Place, Problems, Settings, SourceSettings, Symbols,
};
use crate::feed::rfc3339;
use crate::limits;
use crate::node::{self, Node};

/// Flags of `serve`: one for each of [`KEYS`], so that none lacks its twin in file and environment.
#[derive(Debug)]
pub(super) struct ServeArgs {
    config: Option<PathBuf>,
    check: bool,
    flags: Flags,
}

/// Where `watch` looks by itself.
const DEFAULT_PORT: u16 = 8765;

const ABOUT: &str = "Serve a simulated market, or a replay, to WebSocket clients";

const LONG_ABOUT: &str = "\
Serve a simulated market, or a replay, to WebSocket clients.

Each setting may stand in a TOML file (--config, snake_case: slow_consumer), in the environment \
(TICKCAST_SLOW_CONSUMER) and on the command line; of several the last in this order holds.";

const EXAMPLE: &str = "\
Example:
  tickcast serve --symbols 100 --rate 50000 --listen 127.0.0.1:9000
  tickcast serve --replay monday.feed tuesday.feed --speed 10 --loop";

impl Args for ServeArgs {
    fn augment_args(command: Command) -> Command {
        let config =
            Arg::new("config").long("config").value_name("FILE").value_parser(clap::value_parser!(PathBuf));
        let check = Arg::new("check").long("check").action(ArgAction::SetTrue);
        command
            .about(ABOUT)
            .long_about(LONG_ABOUT)
            .after_help(EXAMPLE)
            .args(KEYS.iter().map(flag))
            .arg(config.help("Settings file [env: TICKCAST_CONFIG]"))
            .arg(check.help("Check the settings, print those in force as TOML, and stop"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ServeArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<ServeArgs, clap::Error> {
        let given = |key: &Key| {
            let texts = matches.get_many::<String>(key.name)?;
            Some((key.name, texts.cloned().collect()))
        };
        Ok(ServeArgs {
            config: matches.get_one("config").cloned(),
            check: matches.get_flag("check"),
            flags: KEYS.iter().filter_map(given).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = ServeArgs::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Every value is taken as text: what is wrong with it is reported with all that is wrong elsewhere.
fn flag(key: &'static Key) -> Arg {
    let default = if key.default.is_empty() { String::new() } else { format!(" [default: {}]", key.default) };
    let arg = Arg::new(key.name)
        .long(key.long)
        .value_name(key.value_name)
        .help(format!("{}{default}", key.help))
        .allow_hyphen_values(key.arity == Arity::One);
    match key.arity {
        Arity::One => arg.action(ArgAction::Append),
        Arity::Many => arg.action(ArgAction::Append).num_args(1..),
        Arity::Switch => {
            arg.action(ArgAction::Append).num_args(0..=1).require_equals(true).default_missing_value("true")
        }
    }
}

impl ServeArgs {
    /// The settings in force, and what is odd but harmless.
    fn settings(self) -> Result<(Settings, Vec<String>), Problems> {
        let (mut problems, mut warnings) = (Problems::default(), Vec::new());
        let from_flag = self.config.map(|path| (path, Place::Flag("--config".into())));
        let from_environment = || {
            let path = std::env::var_os("TICKCAST_CONFIG").filter(|path| !path.is_empty())?;
            Some((path.into(), Place::Variable("TICKCAST_CONFIG".into())))
        };
        // What is not Unicode is no setting of ours, or becomes a wrong value that is shown.
        let variables = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
        let file = from_flag.or_else(from_environment);
        let layers = Layers::gather(file, variables, self.flags, &mut problems, &mut warnings);
        let settings = Settings::check(&layers, &mut problems);
        if problems.is_empty() { Ok((settings, warnings)) } else { Err(problems) }
    }
}

/// Serves until SIGTERM, Ctrl-C or a failure.
pub(super) fn run(args: ServeArgs) -> anyhow::Result<()> {
    let only_check = args.check;
    let (settings, warnings) = args.settings()?;
    if only_check {
        warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
        print(&settings.to_string())?;
        return Ok(());
    }
    start_logging(&settings);
    warnings.iter().for_each(|warning| warn!("{warning}"));
    if settings.is_public() {
        warn!(
            listen = %settings.listen,
            "anybody who reaches this address can connect: there is no authentication"
        );
    }

    // Signals are taken before the first thread starts, so that none finds the server half up.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    let stopped = async {
        tokio::select! {
            _ = signals.0.recv() => "SIGTERM",
            _ = signals.1.recv() => "Ctrl-C",
        }
    };
    let mut node = match runtime.block_on(start(&settings, stopped))? {
        Started::Runs(node) => node,
        Started::Stopped(node) => {
            node.into_iter().for_each(Node::stop);
            return Ok(());
        }
    };
    if let Err(error) = print(&greeting(&settings, node.address(), node.first_symbol())) {
        node.stop();
        return Err(anyhow::Error::from(error).context("cannot write to standard output"));
    }
    let end = runtime.block_on(async {
        tokio::select! {
            _ = signals.0.recv() => Ok("SIGTERM"),
            _ = signals.1.recv() => Ok("Ctrl-C"),
            failure = node.failure() => Err(failure),
        }
    });
    if let Ok(signal) = end {
        info!(signal, "stopping");
    }
    node.stop();
    end.map(drop).map_err(anyhow::Error::from)
}

/// What came of starting.
enum Started {
    Runs(Node),
    /// It was stopped before: what runs of it is to be ended.
    Stopped(Option<Node>),
}

/// Starts the server, unless it is stopped while it waits for the first writer of a live market.
async fn start(settings: &Settings, stopped: impl Future<Output = &'static str>) -> anyhow::Result<Started> {
    let (tell, mut started) = oneshot::channel();
    let theirs = settings.clone();
    // Starting may block for as long as no writer comes.
    std::thread::Builder::new().name("start".into()).spawn(move || {
        // Nobody waits for it any more where the server was stopped.
        let _ = tell.send(node::start(theirs));
    })?;
    let signal = tokio::select! {
        node = &mut started => return Ok(Started::Runs(node??)),
        signal = stopped => signal,
    };
    info!(signal, "stopping");
    match timeout(limits::STARTING_TIME, started).await {
        Ok(Ok(Ok(node))) => return Ok(Started::Stopped(Some(node))),
        // What it failed with, nobody wants to know any more.
        Ok(_) => {}
        Err(_) => {
            if let SourceSettings::Live(input) = &settings.source {
                input.give_up();
            }
        }
    }
    Ok(Started::Stopped(None))
}

/// Logs go to standard error.
fn start_logging(settings: &Settings) {
    let filter = EnvFilter::try_new(&settings.log).expect("the filter was checked with the settings");
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // A log that cannot be written ends nothing.
        .log_internal_errors(false);
    match settings.log_format {
        LogFormat::Text => {
            log.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).with_target(false).init();
        }
        LogFormat::Json => log.json().init(),
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// What to open, once the server is ready.
fn greeting(settings: &Settings, address: SocketAddr, symbol: Option<&str>) -> String {
    let address = reachable(address);
    let symbol = symbol.unwrap_or("SYMBOL");
    let source = match &settings.source {
        SourceSettings::Simulation { symbols, rate, seed, ticks } => {
            let symbols = match symbols {
                Symbols::Count(1) => "1 symbol".to_owned(),
                Symbols::Count(count) => format!("{count} symbols"),
                Symbols::File(path) => format!("symbols of {}", path.display()),
            };
            let end = ticks.map_or(String::new(), |ticks| format!(", ends after {ticks} ticks"));
            format!("simulated market: {symbols}, {rate} ticks/s, seed {seed}{end}")
        }
        SourceSettings::Live(input) => format!("live from {input}"),
        SourceSettings::Replay { files, playback } => {
            let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            let part = |name: &str, time_ns: Option<u64>| {
                time_ns.map_or(String::new(), |time_ns| format!(", {name} {}", rfc3339(time_ns)))
            };
            format!(
                "replay of {}, speed {}{}{}{}{}",
                files.join(", "),
                playback.speed,
                part("from", playback.from_ns),
                part("to", playback.to_ns),
                if playback.looped { ", looped" } else { "" },
                if playback.start_paused { ", paused" } else { "" }
            )
        }
    };
    let url = if address.port() == DEFAULT_PORT && address.ip() == Ipv4Addr::LOCALHOST {
        String::new()
    } else {
        format!(" --url ws://{address}/ws")
    };
    format!(
        "tickcast {version}
  {source}
  ws://{address}/ws

  try   tickcast watch {symbol}{url}
        curl 'http://{address}/api/v1/book/{path}?depth=5'
        echo '{{\"op\":\"subscribe\",\"symbols\":[\"{symbol}\"],\"channels\":[\"quotes\",\"trades\"]}}' | websocat -n ws://{address}/ws
  stop  Ctrl-C
",
        version = env!("CARGO_PKG_VERSION"),
        path = percent_encoding::utf8_percent_encode(symbol, percent_encoding::NON_ALPHANUMERIC)
            .to_string()
            .replace("%2D", "-"),
    )
}

/// An address to connect to: "any address" listens, and is no place to go.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(line: &str) -> Result<Flags, clap::Error> {
        let command = ServeArgs::augment_args(Command::new("serve"));
        let matches =
            command.try_get_matches_from(std::iter::once("serve").chain(line.split_whitespace()))?;
        ServeArgs::from_arg_matches(&matches).map(|args| args.flags)
    }

    #[test]
    fn flags_are_taken_as_they_are_written() {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(flags("").unwrap(), []);
        assert_eq!(
            flags("--replay a b --loop --speed 2 --start-paused=false --replay c").unwrap(),
            [
                ("replay", texts(&["a", "b", "c"])),
                ("speed", texts(&["2"])),
                ("loop", texts(&["true"])),
                ("start_paused", texts(&["false"])),
            ]
        );
        assert_eq!(flags("--seed -1").unwrap(), [("seed", texts(&["-1"]))], "for the settings to refuse");
        assert!(flags("--sped 2").is_err());
        assert!(flags("stray").is_err());
    }

    #[test]
    fn the_readme_shows_what_is_printed() {
        let printed = greeting(&Settings::default(), "127.0.0.1:8765".parse().unwrap(), Some("BTC-USD"));
        let readme = include_str!("../../README.md");
        assert!(readme.contains(&format!("```console\n$ make run\n{printed}```\n")), "{printed}");
    }

    #[test]
    fn the_flags_are_well_formed() {
        ServeArgs::augment_args(Command::new("serve")).debug_assert();
    }
}
