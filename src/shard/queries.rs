//! What is asked of a shard over HTTP.

use bytes::Bytes;

use super::core::Core;
use super::handle::Query;
use crate::model::Channel;
use crate::wire::control::{Listed, Page};
use crate::wire::json;
use crate::wire::message::{self, Levels};

impl Core {
    /// The JSON body that answers a question over HTTP.
    pub fn answer(&self, query: Query) -> Bytes {
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
        }
        body.into()
    }
}
