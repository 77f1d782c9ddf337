//! The live view of one instrument: ladder, tape, figures, keys.
//!
//! [`state`] knows what is so and [`draw`] shows it, both without a terminal and without a clock; [`feed`] is the
//! connection; here they meet the terminal.

use std::pin::pin;
use std::time::Duration;

use anyhow::bail;
use futures_util::{FutureExt, StreamExt};
use ratatui::crossterm::event::{Event, EventStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, sleep};

use self::feed::{Feed, Heard, channel_of};
use self::look::Look;
use self::pace::Pace;
use self::screen::Screen;
use self::state::{Effect, State};
use super::WatchArgs;
use crate::client::{Address, Update};
use crate::clock::Clock;
use crate::limits;

mod draw;
mod feed;
mod figures;
mod instruments;
mod keys;
mod look;
mod meter;
mod pace;
mod screen;
mod state;
mod tape;

pub(super) use self::look::can_place_text;

/// Levels a side that are asked for at first: what fits on a large terminal.
const DEPTH: u32 = 25;

/// Updates taken in a row before keys and drawing have their turn.
const UPDATES_IN_A_ROW: usize = 256;

/// Shows the first of the instruments until the user quits, or a signal ends it.
///
/// # Errors
/// The server does not know the symbol, or refuses this client; the terminal is gone.
pub(super) async fn run(args: &WatchArgs) -> anyhow::Result<()> {
    let ends = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let mut ends = ends.into_iter().map(signal).collect::<Result<Vec<_>, _>>()?;
    let mut view = View::new(args)?;
    let mut screen = Screen::take()?;
    let shown = view.show(&mut screen, &mut ends).await;
    // Before anything else is said, or waited for.
    drop(screen);
    view.feed.close().await;
    shown
}

/// Ends when one of the signals comes.
async fn any_of(signals: &mut [Signal]) {
    let received = signals.iter_mut().map(|signal| Box::pin(signal.recv()));
    futures_util::future::select_all(received).await;
}

/// Whether what listens there runs on this host.
fn is_here(address: &Address) -> bool {
    let host = address.host();
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// The view at work.
struct View {
    state: State,
    feed: Feed,
    pace: Pace,
    look: Look,
    clock: Clock,
}

impl View {
    fn new(args: &WatchArgs) -> anyhow::Result<View> {
        let depth = args.depth.unwrap_or(DEPTH);
        let state = State::new(&args.symbols, Some(depth), is_here(&args.url));
        let list = state.wants_list();
        let look = Look::of(|name| std::env::var(name).ok());
        let feed = Feed::new(args.url.clone(), list);
        let mut view = View { state, feed, pace: Pace::default(), look, clock: Clock::start() };
        view.subscribe()?;
        Ok(view)
    }

    async fn show(&mut self, screen: &mut Screen, ends: &mut [Signal]) -> anyhow::Result<()> {
        let mut events = EventStream::new();
        let mut end = pin!(any_of(ends));
        let mut tick = interval(Duration::from_millis(limits::WATCH_TICK_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            if self.state.take_changed() {
                self.pace.change();
            }
            let wait_ns = self.pace.wait_ns(self.clock.now_ns());
            let frame = sleep(Duration::from_nanos(wait_ns.unwrap_or_default()));
            tokio::select! {
                biased;
                () = &mut end => return Ok(()),
                event = events.next() => {
                    let Some(event) = event else { bail!("the terminal is gone") };
                    if self.event(&event?, screen)? {
                        return Ok(());
                    }
                }
                _ = tick.tick() => self.state.tick(self.clock.unix_ns()),
                () = frame, if wait_ns.is_some() => self.draw(screen)?,
                heard = self.feed.next() => {
                    self.hear(heard?)?;
                    self.hear_more()?;
                }
            }
        }
    }

    /// Takes what came from the terminal. Whether the user quits.
    fn event(&mut self, event: &Event, screen: &mut Screen) -> anyhow::Result<bool> {
        match event {
            Event::Key(key) => {
                let effect = keys::action(*key).map_or(Effect::None, |action| self.state.act(action));
                match effect {
                    Effect::None => {}
                    Effect::Subscribe => self.subscribe()?,
                    Effect::Redraw => screen.clear()?,
                    Effect::Quit => return Ok(true),
                }
            }
            Event::Resize(..) => self.pace.change(),
            _ => {}
        }
        Ok(false)
    }

    fn hear(&mut self, heard: Heard) -> anyhow::Result<()> {
        let now_ns = self.clock.unix_ns();
        match heard {
            Heard::Update(Update::Refused { code, message, .. })
                if code == "unknown_symbol" && !self.state.granted =>
            {
                bail!("the server refuses the subscription: {message}");
            }
            Heard::Update(update) => self.state.take(&update, now_ns, channel_of),
            Heard::Instruments(listed) => {
                if self.state.instruments(&listed) {
                    self.subscribe()?;
                }
            }
            Heard::NoList { why, retry_in } => self.state.no_list(why, retry_in.as_nanos() as u64, now_ns),
        }
        Ok(())
    }

    /// Takes what is there already.
    fn hear_more(&mut self) -> anyhow::Result<()> {
        for _ in 0..UPDATES_IN_A_ROW {
            let Some(heard) = self.feed.next().now_or_never() else { break };
            self.hear(heard?)?;
        }
        Ok(())
    }

    fn subscribe(&mut self) -> anyhow::Result<()> {
        if let Some(symbol) = &self.state.selected {
            self.feed.select(symbol, self.state.depth)?;
        }
        Ok(())
    }

    fn draw(&mut self, screen: &mut Screen) -> anyhow::Result<()> {
        self.state.show(self.feed.mirrored(screen.rows()));
        screen.draw(|area, buffer| draw::draw(&self.state, self.look, area, buffer))?;
        self.pace.drawn(self.clock.now_ns());
        Ok(())
    }
}
