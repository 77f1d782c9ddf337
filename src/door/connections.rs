//! `/api/v1/connections`: who is connected, and what each got, merged from all shards.

use std::net::SocketAddr;

use hyper::StatusCode;
use serde::Serialize;

use super::House;
use super::fault::{Fault, shown};
use super::routes::{Answer, JSON, in_time, parameter, respond};
use crate::limits;
use crate::model::Catalog;
use crate::shard::{Connection, ConnectionStream, Listing};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    /// One session: its shard, and its number there.
    one: Option<(usize, u64)>,
    limit: usize,
    streams: bool,
}

/// Answers a request for the list.
pub(super) async fn answer(house: &House, query: &str) -> Answer {
    let asked = Asked::parse(query)?;
    let connections = collect(house, asked).await?;
    if let (Some((shard, session)), true) = (asked.one, connections.is_empty()) {
        return Err(Fault::new(
            StatusCode::NOT_FOUND,
            "unavailable",
            format!("connection {shard}-{session} is not there; /api/v1/connections lists those that are"),
        ));
    }
    let connections =
        connections.iter().map(|(shard, connection)| Shown::new(*shard, connection, &house.catalog));
    let body = serde_json::to_vec(&Body { connections: connections.collect() });
    Ok(respond(StatusCode::OK, JSON, body.expect("a list is made of text, numbers and lists")))
}

/// The sessions asked for, each with the number of its shard, worst first.
async fn collect(house: &House, asked: Asked) -> Result<Vec<(usize, Connection)>, Fault> {
    if let Some((number, session)) = asked.one {
        let streams_max = limits::SUBSCRIPTIONS_MAX;
        let listing = Listing { session: Some(session), limit: 1, streams_max };
        let Some(shard) = house.shards.get(number) else { return Ok(Vec::new()) };
        let found = in_time(shard.connections(listing)).await?;
        return Ok(found.into_iter().map(|connection| (number, connection)).collect());
    }
    let streams_max = if asked.streams { limits::CONNECTIONS_STREAMS_MAX / house.shards.len() } else { 0 };
    let listing = Listing { session: None, limit: asked.limit, streams_max };
    // All at once: one shard that is busy holds the answer up only once.
    let found = house.shards.iter().map(|shard| in_time(shard.connections(listing)));
    let found = futures_util::future::try_join_all(found).await?;
    let numbered = found.into_iter().enumerate();
    let mut all: Vec<(usize, Connection)> =
        numbered.flat_map(|(number, found)| found.into_iter().map(move |one| (number, one))).collect();
    all.sort_by(|(_, one), (_, other)| one.by_lag(other));
    all.truncate(asked.limit);
    Ok(all)
}

impl Asked {
    fn parse(query: &str) -> Result<Asked, Fault> {
        let limit = match parameter(query, "limit") {
            None => limits::CONNECTIONS_LISTED_DEFAULT,
            Some(text) => {
                let limit = text.parse().ok().filter(|n| (1..=limits::CONNECTIONS_LISTED_MAX).contains(n));
                limit.ok_or_else(|| {
                    let most = limits::CONNECTIONS_LISTED_MAX;
                    let allowed = format!("whole number, 1 to {most}, or no limit for the worst");
                    Fault::bad_request(format!(
                        "limit {}; allowed: {allowed} {}",
                        shown(&text),
                        limits::CONNECTIONS_LISTED_DEFAULT
                    ))
                })?
            }
        };
        let streams = match parameter(query, "streams").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(text) => {
                return Err(Fault::bad_request(format!("streams {}; allowed: true or false", shown(text))));
            }
        };
        let one = match parameter(query, "id") {
            None => None,
            Some(text) => Some(id(&text).ok_or_else(|| {
                Fault::bad_request(format!("id {}; allowed: an id of the list, such as 0-17", shown(&text)))
            })?),
        };
        Ok(Asked { one, limit, streams })
    }
}

/// `0-17`: session 17 of shard 0.
fn id(text: &str) -> Option<(usize, u64)> {
    let (shard, session) = text.split_once('-')?;
    Some((shard.parse().ok()?, session.parse().ok()?))
}

#[derive(Serialize)]
struct Body<'a> {
    connections: Vec<Shown<'a>>,
}

/// A session as the list shows it. Times since 1970 and identifiers are text, as everywhere in JSON.
#[derive(Serialize)]
struct Shown<'a> {
    id: String,
    peer: SocketAddr,
    protocol: &'static str,
    shard: usize,
    since_ns: String,
    subscriptions: usize,
    conflating: bool,
    waiting_bytes: usize,
    lag_ms: u64,
    progress_lag_ms: Option<u64>,
    delivered: u64,
    merged: u64,
    lost: u64,
    frames: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    streams: Option<Vec<ShownStream<'a>>>,
}

#[derive(Serialize)]
struct ShownStream<'a> {
    symbol: &'a str,
    channel: &'static str,
    epoch: u64,
    seq: u64,
    delivered: u64,
    merged: u64,
    lost: u64,
}

impl<'a> Shown<'a> {
    fn new(shard: usize, connection: &Connection, catalog: &'a Catalog) -> Shown<'a> {
        let streams = connection
            .streams
            .as_ref()
            .map(|streams| streams.iter().filter_map(|stream| ShownStream::new(stream, catalog)).collect());
        Shown {
            id: format!("{shard}-{}", connection.session),
            peer: connection.peer,
            protocol: connection.protocol.name(),
            shard,
            since_ns: connection.since_ns.to_string(),
            subscriptions: connection.subscriptions,
            conflating: connection.conflating,
            waiting_bytes: connection.waiting_bytes,
            lag_ms: connection.lag_ms,
            progress_lag_ms: connection.progress_lag_ms,
            delivered: connection.delivered,
            merged: connection.merged,
            lost: connection.lost,
            frames: connection.frames,
            streams,
        }
    }
}

impl<'a> ShownStream<'a> {
    fn new(stream: &ConnectionStream, catalog: &'a Catalog) -> Option<ShownStream<'a>> {
        let ConnectionStream { instrument, channel, epoch, seq, delivered, merged, lost } = *stream;
        let symbol = &catalog.get(instrument)?.symbol;
        Some(ShownStream { symbol, channel: channel.name(), epoch, seq, delivered, merged, lost })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_or_refused_by_name() {
        let parse = |query| Asked::parse(query).map_err(|fault| fault.message.into_owned());
        let limit = limits::CONNECTIONS_LISTED_DEFAULT;
        assert_eq!(parse(""), Ok(Asked { one: None, limit, streams: false }));
        assert_eq!(parse("streams=true&limit=7"), Ok(Asked { one: None, limit: 7, streams: true }));
        assert_eq!(parse("x=1&id=2%2D17"), Ok(Asked { one: Some((2, 17)), limit, streams: false }));
        for (query, named) in [
            ("limit=0", "limit \"0\"; allowed: whole number, 1 to 10000"),
            ("limit=10001", "limit \"10001\""),
            ("limit=", "limit \"\""),
            ("streams=1", "streams \"1\"; allowed: true or false"),
            ("id=17", "id \"17\"; allowed: an id of the list"),
            ("id=-1-2", "id \"-1-2\""),
        ] {
            let message = parse(query).unwrap_err();
            assert!(message.starts_with(named), "{message}");
        }
    }
}
