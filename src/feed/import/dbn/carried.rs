//! Records that say what no field of a feed record holds: statuses, definitions, statistics, imbalances.

use std::borrow::Cow;

use ::dbn::{InstrumentDefMsg, RecordHeader, RecordRef, StatMsg, StatusAction, StatusMsg};
use ::dbn::{UNDEF_PRICE, record::ImbalanceMsg, v1, v2};

use super::record::exact;
use crate::feed::databento::{Schema, carry};
use crate::model::{Primary, PrimaryKind, Status};

/// A number that a definition does not give.
const UNDEFINED: i32 = i32::MAX;

/// What a definition says of its instrument that a feed file's list of instruments has a place for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Definition {
    /// Its symbol at the publisher.
    pub symbol: String,
    /// The smallest price step at exponent -9; 0: not said.
    pub tick_size: i64,
    /// The smallest quantity; 0: not said.
    pub lot_size: i64,
}

/// Takes a record of one of these schemas: its bytes are carried, in the layout of version 3. Gives what a definition
/// says.
pub(super) fn read(
    record: RecordRef<'_>,
    schema: Schema,
    primaries: &mut Vec<Primary>,
) -> Result<Option<Definition>, String> {
    let hd = record.header();
    let bytes = hd.record_size();
    let mut definition = None;
    match schema {
        Schema::Status => {
            let message = exact::<StatusMsg>(record, schema)?;
            let status = status(message);
            let kind = if status.is_some() { PrimaryKind::Status } else { PrimaryKind::Note };
            let mut first = note(hd, message.ts_recv);
            (first.kind, first.level) = (kind as u8, status.map_or(0, |status| status as u8));
            put(first, message.as_ref(), primaries);
        }
        Schema::Definition => {
            // The versions differ in length.
            let message: Cow<'_, InstrumentDefMsg> = match bytes {
                _ if bytes == size_of::<v1::InstrumentDefMsg>() => {
                    Cow::Owned(exact::<v1::InstrumentDefMsg>(record, schema)?.into())
                }
                _ if bytes == size_of::<v2::InstrumentDefMsg>() => {
                    Cow::Owned(exact::<v2::InstrumentDefMsg>(record, schema)?.into())
                }
                _ => Cow::Borrowed(exact::<InstrumentDefMsg>(record, schema)?),
            };
            definition = Some(facts(&message));
            put(note(hd, message.ts_recv), (*message).as_ref(), primaries);
        }
        Schema::Statistics => {
            let message: Cow<'_, StatMsg> = if bytes == size_of::<v1::StatMsg>() {
                Cow::Owned(exact::<v1::StatMsg>(record, schema)?.into())
            } else {
                Cow::Borrowed(exact::<StatMsg>(record, schema)?)
            };
            put(note(hd, message.ts_recv), (*message).as_ref(), primaries);
        }
        _ => {
            let message = exact::<ImbalanceMsg>(record, Schema::Imbalance)?;
            put(note(hd, message.ts_recv), message.as_ref(), primaries);
        }
    }
    Ok(definition)
}

fn note(hd: &RecordHeader, ts_recv_ns: u64) -> Primary {
    Primary { ts_recv_ns, publisher: hd.publisher_id, ..Primary::new(PrimaryKind::Note, 0, hd.ts_event) }
}

fn put(first: Primary, record: &[u8], primaries: &mut Vec<Primary>) {
    if let Some((header, body)) = record.split_at_checked(size_of::<RecordHeader>()) {
        // The second byte of a record is its type.
        carry(first, header[1], body, primaries);
    }
}

/// What the instrument does from now on; `None` where the record does not say. What an action leaves open, a new price
/// indication for one, `is_trading` may tell.
fn status(message: &StatusMsg) -> Option<Status> {
    let is_trading = message.is_trading as u8 == b'Y';
    match StatusAction::try_from(message.action) {
        Ok(StatusAction::Trading) => Some(Status::Trading),
        Ok(StatusAction::Halt | StatusAction::Pause | StatusAction::Suspend) => Some(Status::Halted),
        Ok(
            StatusAction::PreOpen
            | StatusAction::PreCross
            | StatusAction::Quoting
            | StatusAction::Cross
            | StatusAction::Rotation,
        ) => Some(Status::Auction),
        Ok(StatusAction::PreClose) => Some(if is_trading { Status::Trading } else { Status::Auction }),
        Ok(StatusAction::Close | StatusAction::PostClose | StatusAction::NotAvailableForTrading) => {
            Some(Status::Closed)
        }
        // No change, a new price indication, a change of short selling, or an action that came after this was written.
        _ => is_trading.then_some(Status::Trading),
    }
}

fn facts(message: &InstrumentDefMsg) -> Definition {
    let tick_size = match message.min_price_increment {
        UNDEF_PRICE => 0,
        price => price.max(0),
    };
    let lot_size = if message.min_lot_size == UNDEFINED { 0 } else { i64::from(message.min_lot_size.max(0)) };
    let symbol = message.raw_symbol().unwrap_or_default().to_owned();
    Definition { symbol, tick_size, lot_size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_what_the_action_says_or_else_whether_it_trades() {
        let of = |action: u16, is_trading: u8| {
            status(&StatusMsg { action, is_trading: is_trading as _, ..StatusMsg::default() })
        };
        for (actions, expected) in [
            (&[7][..], Status::Trading),
            (&[8, 9, 10], Status::Halted),
            (&[1, 2, 3, 4, 5, 11], Status::Auction),
            (&[12, 13, 15], Status::Closed),
        ] {
            assert!(actions.iter().all(|action| of(*action, b'N') == Some(expected)), "{actions:?}");
        }
        for open in [0, 6, 14, 16, u16::MAX] {
            assert_eq!(
                [b'Y', b'N', b'~'].map(|letter| of(open, letter)),
                [Some(Status::Trading), None, None]
            );
        }
        assert_eq!(of(11, b'Y'), Some(Status::Trading), "trading goes on up to the close");
    }

    #[test]
    fn steps_that_a_definition_does_not_give_are_unknown() {
        let of = |min_price_increment, min_lot_size| {
            let found = facts(&InstrumentDefMsg { min_price_increment, min_lot_size, ..Default::default() });
            (found.tick_size, found.lot_size)
        };
        assert_eq!(of(250_000_000, 1), (250_000_000, 1));
        assert_eq!(of(UNDEF_PRICE, i32::MAX), (0, 0));
        assert_eq!(of(i64::MIN, i32::MIN), (0, 0));
    }
}
