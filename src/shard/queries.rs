//! What is asked of a shard over HTTP.

use super::core::Core;
use super::handle::{Answer, Connection, ConnectionStream, Listing, Query};
use super::session::{Pace, Session, State, Subscription};
use super::tally::Tally;
use super::topic::SessionId;
use crate::model::Channel;
use crate::wire::control::{Listed, Page};
use crate::wire::json;
use crate::wire::message::Levels;

impl Core {
    /// The answer to a question over HTTP. `now_ns` is monotonic.
    pub fn answer(&self, query: Query, now_ns: u64) -> Answer {
        let mut body = Vec::new();
        match query {
            Query::Instruments => {
                let mut page = Page::instruments_http(&mut body, self.epoch);
                for (number, instrument) in self.catalog.iter() {
                    let status = self.markets[number as usize].status;
                    page.push(&Listed { number, instrument, status });
                }
                page.finish(false);
            }
            Query::Book { instrument, depth } => {
                let market = &self.markets[instrument as usize];
                let [bids, asks] = market.levels(depth);
                let meta = market.stamp(Channel::Book).snapshot();
                let checksum = Some(crate::wire::message::checksum(
                    bids.iter(),
                    asks.iter(),
                    bids.len().max(asks.len()),
                ));
                let levels = Levels { bids: &bids, asks: &asks, checksum, part: 1, parts: 1 };
                let instrument = &self.catalog.instruments()[instrument as usize];
                json::encode_book_http(&mut body, instrument, market.epoch, &meta, &levels);
            }
            Query::Connections(listing) => return Answer::Connections(self.connections(&listing, now_ns)),
        }
        Answer::Body(body.into())
    }

    /// Sessions, those that lag most first.
    fn connections(&self, listing: &Listing, now_ns: u64) -> Vec<Connection> {
        let asked =
            self.sessions.iter().filter(|(_, session)| listing.session.is_none_or(|it| it == session.number));
        let mut connections: Vec<(SessionId, Connection)> =
            asked.map(|(id, session)| (id, self.connection(session, now_ns))).collect();
        connections.sort_by(|(_, a), (_, b)| a.by_lag(b));
        connections.truncate(listing.limit);
        let mut room = listing.streams_max;
        for (id, connection) in &mut connections {
            if listing.streams_max > 0 && connection.subscriptions <= room {
                room -= connection.subscriptions;
                connection.streams = Some(self.connection_streams(*id));
            }
        }
        connections.into_iter().map(|(_, connection)| connection).collect()
    }

    fn connection(&self, session: &Session, now_ns: u64) -> Connection {
        let mut tally = session.ended;
        for subscription in session.subscriptions.values() {
            tally += self.tally(subscription);
        }
        let waits = !session.outbox.is_empty();
        let lag_ns = if waits { now_ns.saturating_sub(session.drained_ns) } else { 0 };
        let progress = session.progress.as_ref();
        Connection {
            session: session.number,
            peer: session.peer,
            protocol: session.encoding.protocol,
            since_ns: session.since_ns,
            subscriptions: session.subscriptions.len(),
            conflating: session.pace != Pace::Live,
            waiting_bytes: session.outbox.len(),
            lag_ms: lag_ns / 1_000_000,
            progress_lag_ms: progress.map(|progress| progress.lag_ns(now_ns) / 1_000_000),
            delivered: tally.delivered,
            merged: tally.merged,
            lost: tally.lost,
            frames: session.frames,
            streams: None,
        }
    }

    fn connection_streams(&self, id: SessionId) -> Vec<ConnectionStream> {
        let subscriptions = self.sessions[id].subscriptions.iter();
        let mut streams: Vec<ConnectionStream> = subscriptions
            .map(|(&stream, subscription)| {
                let tally = self.tally(subscription);
                ConnectionStream {
                    instrument: stream.0,
                    channel: stream.1,
                    epoch: self.markets[stream.0 as usize].epoch,
                    seq: self.held(id, stream).unwrap_or(0),
                    delivered: tally.delivered,
                    merged: tally.merged,
                    lost: tally.lost,
                }
            })
            .collect();
        streams.sort_unstable_by_key(|stream| (stream.instrument, stream.channel));
        streams
    }

    /// What became of a stream's sequences so far.
    fn tally(&self, subscription: &Subscription) -> Tally {
        match subscription.state {
            State::Live(_) => {
                subscription.tally + (self.topics[subscription.topic].total - subscription.base)
            }
            State::Fresh { .. } | State::Behind { .. } => subscription.tally,
        }
    }
}
