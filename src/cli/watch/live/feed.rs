//! Where the view's updates come from: a client of one instrument at a time, and the list to choose from.

use std::time::Duration;

use super::instruments::{Instruments, RETRY};
use super::state::{Ladder, Mirrored};
use crate::client::{Address, AddressError, Client, ClientError, Subscription, Update};
use crate::limits;
use crate::model::{Channel, Side};

/// Each a subscription of its own, in this order: a request is refused whole, and what an instrument lacks (a recording
/// of trades has no book) must not take the rest with it.
const CHANNELS: [Channel; 5] =
    [Channel::Book, Channel::Trades, Channel::Quotes, Channel::Ticker, Channel::Status];

/// The channel of a subscription.
pub(super) fn channel_of(subscription: usize) -> Option<Channel> {
    CHANNELS.get(subscription).copied()
}

/// What came.
#[derive(Debug)]
pub(super) enum Heard {
    /// Of the instrument that is shown, or of its connection.
    Update(Update),
    /// The symbols that the server has.
    Instruments(Vec<String>),
    /// It gives no list; it is asked again after so long.
    NoList {
        /// What went wrong.
        why: String,
        /// How long.
        retry_in: Duration,
    },
}

/// The connections of the view.
#[derive(Debug)]
pub(super) struct Feed {
    address: Address,
    /// The instrument that is shown, if any is.
    client: Option<(String, Client)>,
    /// Where the user named a prefix.
    instruments: Option<Instruments>,
    /// Whether a connection was lost since the list was asked for.
    lost: bool,
}

impl Feed {
    /// Of the server at `address`; with the list of its instruments or without.
    pub fn new(address: Address, list: bool) -> Feed {
        let instruments = list.then(|| Instruments::new(address.clone()));
        Feed { address, client: None, instruments, lost: false }
    }

    /// Shows another instrument, or another depth of its book (`None`: all). What was shown before is over.
    pub fn select(&mut self, symbol: &str, depth: Option<u32>) -> Result<(), AddressError> {
        let subscriptions = CHANNELS.map(|channel| Subscription {
            depth: depth.filter(|_| channel == Channel::Book),
            ..Subscription::new([symbol], &[channel])
        });
        let client = Client::connect(&self.address.to_string(), subscriptions)?;
        self.client = Some((symbol.to_owned(), client));
        Ok(())
    }

    /// The next thing that happens; waits for ever where nothing can. It may be dropped and called again.
    ///
    /// # Errors
    /// The server does not want this client, and never will.
    pub async fn next(&mut self) -> Result<Heard, ClientError> {
        let Feed { client, instruments, .. } = self;
        let update = async {
            match client {
                Some((_, client)) => client.next().await,
                None => std::future::pending().await,
            }
        };
        let list = async {
            match instruments {
                Some(instruments) => instruments.next().await,
                None => std::future::pending().await,
            }
        };
        let heard = tokio::select! {
            update = update => Heard::Update(update?),
            listed = list => match listed {
                Ok(symbols) => Heard::Instruments(symbols),
                Err(error) => Heard::NoList { why: format!("{error:#}"), retry_in: RETRY },
            },
        };
        match (&heard, &mut self.instruments) {
            // Another server may have come, with other instruments.
            (Heard::Update(Update::Connected { .. }), Some(instruments)) if self.lost => {
                self.lost = false;
                instruments.renew();
            }
            (Heard::Update(Update::Disconnected { .. }), _) => self.lost = true,
            // While something is shown, the next connection asks again.
            (Heard::Instruments(_) | Heard::NoList { .. }, Some(instruments)) if self.client.is_none() => {
                instruments.retry();
            }
            _ => {}
        }
        Ok(heard)
    }

    /// What is known of the instrument now; of its book the best `rows` levels a side.
    pub fn mirrored(&self, rows: usize) -> Mirrored {
        let Some((symbol, client)) = &self.client else { return Mirrored::default() };
        let ladder = client.book(symbol).map(|view| {
            let [bids, asks] = [Side::Bid, Side::Ask].map(|side| view.book.levels(side).take(rows).collect());
            Ladder { bids, asks }
        });
        Mirrored {
            ladder,
            quote: client.quote(symbol),
            ticker: client.ticker(symbol),
            status: client.status(symbol),
        }
    }

    /// Says goodbye to the server, if that does not take long.
    pub async fn close(self) {
        if let Some((_, client)) = self.client {
            let limit = Duration::from_millis(limits::WATCH_GOODBYE_MS);
            // A server that does not take the goodbye sees the connection end.
            let _ = tokio::time::timeout(limit, client.close()).await;
        }
    }
}
