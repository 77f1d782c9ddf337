//! A market of one's own behind Tickcast. Run it, and beside it `tickcast watch GOLD`.

use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

use tickcast::config::Settings;
use tickcast::limits::SOURCE_BATCH_MAX;
use tickcast::model::{Catalog, Channel, ChannelSet, Instrument, Primary, PrimaryKind, Side, primary_flags};
use tickcast::node;
use tickcast::source::{Next, Source, SourceError};

/// What the feed's thread sends: the records of one exchange event.
type ExchangeEvent = Vec<Primary>;

/// A feed that comes through a channel.
pub struct LiveFeed {
    catalog: Arc<Catalog>,
    events: Receiver<ExchangeEvent>,
}

impl LiveFeed {
    /// One instrument, GOLD: prices in cents, whole ounces.
    pub fn gold(events: Receiver<ExchangeEvent>) -> Result<LiveFeed, Box<dyn Error>> {
        let channels = [Channel::Quotes, Channel::Trades, Channel::Book, Channel::Ticker, Channel::Status];
        let gold = Instrument {
            symbol: "GOLD".into(),
            price_exponent: -2,
            quantity_exponent: 0,
            tick_size: 10,
            lot_size: 1,
            channels: ChannelSet::of(&channels),
            book_depth: 0, // the whole book
            source_id: 0,
        };
        Ok(LiveFeed { catalog: Arc::new(Catalog::new(vec![gold])?), events })
    }
}

impl Source for LiveFeed {
    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.clone()
    }

    fn poll(&mut self, _now_ns: u64, out: &mut Vec<Primary>) -> Result<Next, SourceError> {
        while out.len() < SOURCE_BATCH_MAX {
            match self.events.try_recv() {
                Ok(event) => out.extend(event),
                // Until the feed's thread wakes this one.
                Err(TryRecvError::Empty) => return Ok(Next::Idle),
                Err(TryRecvError::Disconnected) => return Ok(Next::Ended),
            }
        }
        Ok(Next::Now)
    }
}

/// What an exchange might say at `ts_ns`: somebody buys an ounce of the best ask, and a bid is placed below.
pub fn event(number: i64, ts_ns: u64) -> ExchangeEvent {
    let record = |kind, side: Side, price, quantity| Primary {
        side: side as u8,
        price,
        quantity,
        ..Primary::new(kind, 0, ts_ns)
    };
    let (ask, bid) = (265_010, 264_940 - number % 5 * 10);
    let mut event = vec![
        record(PrimaryKind::Trade, Side::Bid, ask, 1),
        record(PrimaryKind::Level, Side::Ask, ask, 5 + number % 3),
        record(PrimaryKind::Level, Side::Bid, bid, 2 + number % 4),
    ];
    event[0].order_id = number as u64; // the trade's identifier
    event[2].flags = primary_flags::LAST; // the books may be looked at
    event
}

fn main() -> Result<(), Box<dyn Error>> {
    let (feed, events) = sync_channel(1_024);
    let mut node = node::start_with(Settings::default(), Box::new(LiveFeed::gold(events)?))?;
    println!("ws://{}/ws", node.address());
    let pump = node.source_unparker();
    std::thread::spawn(move || {
        let clock = tickcast::clock::Clock::start();
        for number in 1.. {
            if feed.send(event(number, clock.unix_ns())).is_err() {
                break; // The server is gone.
            }
            pump.unpark();
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let failure = runtime.block_on(async {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => None,
            failure = node.failure() => Some(failure),
        }
    });
    node.stop();
    failure.map_or(Ok(()), |failure| Err(failure.into()))
}
