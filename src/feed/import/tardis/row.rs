//! One row as primaries.

use super::header::{Columns, Header, Kind};
use crate::feed::import::listing::Listing;
use crate::model::{ABSENT, Primary, PrimaryKind, Side, primary_flags};

/// The times of a row, nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    /// By the exchange's clock, or as `local` where it said none.
    pub event_ns: u64,
    /// When the message arrived.
    pub local_ns: u64,
}

impl Times {
    /// Reads the times of a row; the error says what is wrong with them.
    pub fn parse(fields: &[&str], header: &Header) -> Result<Times, String> {
        let time = |name: &str, column: usize| {
            let text = fields[column];
            let nanoseconds = text.parse::<u64>().ok().and_then(|micros| micros.checked_mul(1_000));
            nanoseconds.ok_or_else(|| format!("{name} {text:?}; expected microseconds since 1970"))
        };
        Ok(Times {
            event_ns: time("timestamp", header.timestamp)?,
            local_ns: time("local_timestamp", header.local_timestamp)?,
        })
    }
}

/// What is remembered of an instrument from row to row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Market {
    /// Its number in the catalog.
    pub instrument: u32,
    /// The last row was part of a snapshot.
    pub was_snapshot: bool,
}

/// What becomes of a row is appended to `primaries`; the error says what is wrong with it. False: its trade has an
/// identifier that is no number.
pub(super) fn take(
    fields: &[&str],
    header: &Header,
    times: Times,
    market: &mut Market,
    listing: &mut Listing,
    primaries: &mut Vec<Primary>,
) -> Result<bool, String> {
    let instrument = market.instrument;
    let head = Primary {
        ts_recv_ns: times.local_ns,
        ..Primary::new(PrimaryKind::Level, instrument, times.event_ns)
    };
    match &header.kind {
        Kind::Levels { is_snapshot, side, price, amount } => {
            let is_snapshot = match fields[*is_snapshot] {
                "true" => true,
                "false" => false,
                other => return Err(format!("is_snapshot {other:?}; allowed: true and false")),
            };
            let side = match fields[*side] {
                "bid" => Side::Bid,
                "ask" => Side::Ask,
                other => return Err(format!("side {other:?}; allowed: bid and ask")),
            };
            let price = listing.price(instrument, fields[*price])?;
            let quantity = listing.quantity(instrument, fields[*amount])?;
            let flags = if is_snapshot { primary_flags::SNAPSHOT } else { 0 };
            let head = Primary { flags, ..head };
            // A snapshot is of the whole book, at the start of a day and after each interruption.
            if is_snapshot && !market.was_snapshot {
                let kind = PrimaryKind::Clear as u8;
                primaries.push(Primary { kind, price: ABSENT, quantity: ABSENT, ..head });
            }
            market.was_snapshot = is_snapshot;
            primaries.push(Primary { side: side as u8, price, quantity, ..head });
        }
        Kind::Trades { id, side, price, amount } => {
            let side = match fields[*side] {
                "buy" => Side::Bid as u8,
                "sell" => Side::Ask as u8,
                "unknown" | "" => 0,
                other => return Err(format!("side {other:?}; allowed: buy, sell and unknown")),
            };
            let price = listing.price(instrument, fields[*price])?;
            let quantity = listing.quantity(instrument, fields[*amount])?;
            let id = id.map_or("", |column| fields[column]);
            let order_id = if id.is_empty() { Some(0) } else { id.parse().ok() };
            primaries.push(Primary {
                kind: PrimaryKind::Trade as u8,
                side,
                price,
                quantity,
                order_id: order_id.unwrap_or(0),
                ..head
            });
            return Ok(order_id.is_some());
        }
        Kind::Tops { bids, asks, .. } => {
            for (number, (bid, ask)) in bids.iter().zip(asks).enumerate() {
                for (side, Columns { price, amount }) in [(Side::Bid, bid), (Side::Ask, ask)] {
                    let (price, quantity) = match (fields[*price], fields[*amount]) {
                        ("", "") => (ABSENT, 0),
                        (price, amount) => {
                            (listing.price(instrument, price)?, listing.quantity(instrument, amount)?)
                        }
                    };
                    primaries.push(Primary {
                        kind: PrimaryKind::Top as u8,
                        side: side as u8,
                        price,
                        quantity,
                        level: number as u8,
                        ..head
                    });
                }
            }
        }
    }
    Ok(true)
}
