//! `/api/v1/connections`: who is connected, and what each got, merged from all shards.

use std::fmt::{self, Display};
use std::net::SocketAddr;

use hyper::StatusCode;
use serde::Serialize;

use super::House;
use super::fault::{Fault, shown};
use super::routes::{Answer, JSON, in_time, parameter, respond};
use crate::limits;
use crate::model::Catalog;
use crate::shard::{Connection, ConnectionStream, Listing, ShardHandle};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    /// One session: where it is, and its number there.
    one: Option<(Place, u64)>,
    limit: usize,
    streams: bool,
}

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a shard of the server, by its number.
    Shard(usize),
    /// In a private replay, by its number.
    Private(u64),
}

/// What is asked for its sessions.
struct Asking<'a> {
    place: Place,
    /// The file's name of a private replay.
    replay: Option<&'a str>,
    shard: &'a ShardHandle,
    catalog: &'a Catalog,
}

/// Answers a request for the list.
pub(super) async fn answer(house: &House, query: &str) -> Answer {
    let asked = Asked::parse(query)?;
    let running = house.stage.as_ref().map(|stage| stage.running()).unwrap_or_default();
    let public = house.shards.iter().enumerate().map(|(number, shard)| Asking {
        place: Place::Shard(number),
        replay: None,
        shard,
        catalog: &house.catalog,
    });
    let private = running.iter().map(|running| Asking {
        place: Place::Private(running.number),
        replay: Some(&running.name),
        shard: &running.shard,
        catalog: &running.catalog,
    });
    let all: Vec<Asking<'_>> = public.chain(private).collect();
    let connections = collect(&all, asked).await?;
    if let (Some((place, session)), true) = (asked.one, connections.is_empty()) {
        return Err(Fault::new(
            StatusCode::NOT_FOUND,
            "unavailable",
            format!("connection {place}-{session} is not there; /api/v1/connections lists those that are"),
        ));
    }
    let connections = connections.iter().map(|(asking, connection)| Shown::new(asking, connection));
    let body = serde_json::to_vec(&Body { connections: connections.collect() });
    Ok(respond(StatusCode::OK, JSON, body.expect("a list is made of text, numbers and lists")))
}

/// The sessions asked for, each with where it is, worst first.
async fn collect<'a>(
    all: &'a [Asking<'a>],
    asked: Asked,
) -> Result<Vec<(&'a Asking<'a>, Connection)>, Fault> {
    let streams_max = match (asked.one, asked.streams) {
        (Some(_), _) => limits::SUBSCRIPTIONS_MAX,
        (None, true) => limits::CONNECTIONS_STREAMS_MAX / all.len().max(1),
        (None, false) => 0,
    };
    let (session, limit) = (asked.one.map(|(_, session)| session), asked.limit);
    let listing = Listing { session, limit: if session.is_some() { 1 } else { limit }, streams_max };
    let among = |asking: &&Asking<'_>| asked.one.is_none_or(|(place, _)| place == asking.place);
    // All at once: one shard that is busy holds the answer up only once.
    let found = all.iter().filter(among).map(|asking| async move {
        let found = in_time(asking.shard.connections(listing)).await;
        let found = match (found, asking.place) {
            // It has ended meanwhile, or waits for its client: the others are there.
            (Err(_), Place::Private(_)) => Vec::new(),
            (found, _) => found?,
        };
        Ok(found.into_iter().map(|one| (asking, one)).collect::<Vec<_>>())
    });
    let mut all = futures_util::future::try_join_all(found).await?.concat();
    all.sort_by(|(_, one), (_, other)| one.by_lag(other));
    all.truncate(limit);
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

/// `0-17`: session 17 of shard 0; `p3-0`: session 0 of private replay 3.
fn id(text: &str) -> Option<(Place, u64)> {
    let (place, session) = text.split_once('-')?;
    let place = match place.strip_prefix('p') {
        Some(number) => Place::Private(number.parse().ok()?),
        None => Place::Shard(place.parse().ok()?),
    };
    Some((place, session.parse().ok()?))
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Shard(number) => write!(f, "{number}"),
            Place::Private(number) => write!(f, "p{number}"),
        }
    }
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
    /// Of a session of the server's own feed.
    shard: Option<usize>,
    /// Of a private replay.
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<&'a str>,
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
    fn new(asking: &Asking<'a>, connection: &Connection) -> Shown<'a> {
        let (place, catalog) = (asking.place, asking.catalog);
        let streams = connection
            .streams
            .as_ref()
            .map(|streams| streams.iter().filter_map(|stream| ShownStream::new(stream, catalog)).collect());
        Shown {
            id: format!("{place}-{}", connection.session),
            peer: connection.peer,
            protocol: connection.protocol.name(),
            shard: match place {
                Place::Shard(number) => Some(number),
                Place::Private(_) => None,
            },
            replay: asking.replay,
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
        assert_eq!(
            parse("x=1&id=2%2D17"),
            Ok(Asked { one: Some((Place::Shard(2), 17)), limit, streams: false })
        );
        let private = Some((Place::Private(3), 0));
        assert_eq!(parse("id=p3-0"), Ok(Asked { one: private, limit, streams: false }));
        for (query, named) in [
            ("limit=0", "limit \"0\"; allowed: whole number, 1 to 10000"),
            ("limit=10001", "limit \"10001\""),
            ("limit=", "limit \"\""),
            ("streams=1", "streams \"1\"; allowed: true or false"),
            ("id=p-1", "id \"p-1\""),
            ("id=17", "id \"17\"; allowed: an id of the list"),
            ("id=-1-2", "id \"-1-2\""),
        ] {
            let message = parse(query).unwrap_err();
            assert!(message.starts_with(named), "{message}");
        }
    }
}
