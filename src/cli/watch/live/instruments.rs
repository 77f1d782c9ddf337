//! Which instruments the server has, asked where the user named a prefix.

use std::time::Duration;

use anyhow::bail;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::cli::instruments::fetch;
use crate::client::Address;
use crate::limits;

/// The list, fetched when it is due and again after a failure.
#[derive(Debug)]
pub(super) struct Instruments {
    address: Address,
    /// When to ask; `None`: asked, or not wanted.
    due: Option<Instant>,
    /// One task that asks.
    fetch: JoinSet<anyhow::Result<Vec<String>>>,
}

/// Time until the list is asked for again.
pub(super) const RETRY: Duration = Duration::from_millis(limits::WATCH_LIST_RETRY_MS);

impl Instruments {
    /// The list of the server whose stream is there, wanted now.
    pub fn new(address: Address) -> Instruments {
        Instruments { address, due: Some(Instant::now()), fetch: JoinSet::new() }
    }

    /// It may have changed.
    pub fn renew(&mut self) {
        self.due = Some(Instant::now());
    }

    /// Nothing in it matched, or there was none: asks again after [`RETRY`].
    pub fn retry(&mut self) {
        self.due = Some(Instant::now() + RETRY);
    }

    /// The symbols, or why there is no list. Waits for ever where none is wanted; may be dropped and called again.
    pub async fn next(&mut self) -> anyhow::Result<Vec<String>> {
        loop {
            if let Some(fetched) = self.fetch.join_next().await {
                // The task cannot be cancelled while it is in the set.
                return fetched.unwrap_or_else(|fault| bail!("the list of instruments failed: {fault}"));
            }
            match self.due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
            self.due = None;
            let address = self.address.clone();
            self.fetch.spawn(async move { symbols(&address).await });
        }
    }
}

async fn symbols(address: &Address) -> anyhow::Result<Vec<String>> {
    Ok(fetch(address).await?.into_iter().map(|listed| listed.symbol).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::scripted::Server;

    fn answer(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn the_list_is_asked_for_once_and_again_when_wanted() {
        let server = Server::bind().await;
        let mut instruments = Instruments::new(server.url().parse().unwrap());
        let text =
            answer("200 OK", r#"{"type":"instruments","instruments":[{"symbol":"B","x":1},{"symbol":"A"}]}"#);
        for _ in 0..2 {
            let (listed, ()) = tokio::join!(instruments.next(), server.answer(text.as_bytes()));
            assert_eq!(listed.unwrap(), ["B", "A"]);
            assert!(futures_util::FutureExt::now_or_never(instruments.next()).is_none(), "not wanted");
            instruments.renew();
        }
    }

    #[tokio::test]
    async fn what_is_no_list_is_told_with_the_place() {
        let server = Server::bind().await;
        for (text, why) in [
            (answer("404 Not Found", ""), "status 404"),
            (answer("200 OK", "<html>"), "expected value"),
            ("SSH-2.0-x\r\n".to_owned(), "invalid HTTP version"),
        ] {
            let mut instruments = Instruments::new(server.url().parse().unwrap());
            let (listed, ()) = tokio::join!(instruments.next(), server.answer(text.as_bytes()));
            let error = format!("{:#}", listed.unwrap_err());
            assert!(error.contains("/api/v1/instruments") && error.contains(why), "{error}");
        }
    }
}
