//! What the import and the export of Databento records share: the schemas, and notes that carry records.

use ::dbn::{InstrumentDefMsg, RecordHeader, StatMsg, StatusMsg};
use ::dbn::{record::ImbalanceMsg, rtype};

use crate::model::{Channel, Instrument, Primary, PrimaryKind};

/// Power of ten of DBN's prices.
pub(super) const PRICE_EXPONENT: i8 = -9;

/// The actions of DBN, by the letters that stand for them.
pub(super) const ACTIONS: &[u8; 7] = b"ACMRTFN";

/// The schemas that feed files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Schema {
    Mbo,
    Mbp1,
    Mbp10,
    Tbbo,
    Bbo1S,
    Bbo1M,
    Trades,
    Status,
    Definition,
    Statistics,
    Imbalance,
}

impl Schema {
    const ALL: [Schema; 11] = [
        Schema::Mbo,
        Schema::Mbp1,
        Schema::Mbp10,
        Schema::Tbbo,
        Schema::Bbo1S,
        Schema::Bbo1M,
        Schema::Trades,
        Schema::Status,
        Schema::Definition,
        Schema::Statistics,
        Schema::Imbalance,
    ];

    /// The schema as the `dbn` crate has it.
    pub fn dbn(self) -> ::dbn::Schema {
        match self {
            Schema::Mbo => ::dbn::Schema::Mbo,
            Schema::Mbp1 => ::dbn::Schema::Mbp1,
            Schema::Mbp10 => ::dbn::Schema::Mbp10,
            Schema::Tbbo => ::dbn::Schema::Tbbo,
            Schema::Bbo1S => ::dbn::Schema::Bbo1S,
            Schema::Bbo1M => ::dbn::Schema::Bbo1M,
            Schema::Trades => ::dbn::Schema::Trades,
            Schema::Status => ::dbn::Schema::Status,
            Schema::Definition => ::dbn::Schema::Definition,
            Schema::Statistics => ::dbn::Schema::Statistics,
            Schema::Imbalance => ::dbn::Schema::Imbalance,
        }
    }

    /// The schema of the `dbn` crate, if feed files hold it.
    pub fn of(schema: ::dbn::Schema) -> Option<Schema> {
        Self::ALL.into_iter().find(|one| one.dbn() == schema)
    }

    /// Databento's name.
    pub fn name(self) -> &'static str {
        self.dbn().as_str()
    }

    /// The schema of that name, if feed files hold it.
    pub fn from_name(name: &str) -> Option<Schema> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// The type of its records.
    pub fn rtype(self) -> u8 {
        match self {
            Schema::Mbo => rtype::MBO,
            Schema::Mbp1 | Schema::Tbbo => rtype::MBP_1,
            Schema::Mbp10 => rtype::MBP_10,
            Schema::Bbo1S => rtype::BBO_1S,
            Schema::Bbo1M => rtype::BBO_1M,
            Schema::Trades => rtype::MBP_0,
            Schema::Status => rtype::STATUS,
            Schema::Definition => rtype::INSTRUMENT_DEF,
            Schema::Statistics => rtype::STATISTICS,
            Schema::Imbalance => rtype::IMBALANCE,
        }
    }

    /// The schema of records of that type; those of `tbbo` have the type of `mbp-1`.
    pub fn of_rtype(rtype: u8) -> Option<Schema> {
        Self::ALL.into_iter().find(|one| one.rtype() == rtype)
    }

    /// Levels a side that a record restates.
    pub fn depth(self) -> u16 {
        match self {
            Schema::Mbp1 | Schema::Tbbo | Schema::Bbo1S | Schema::Bbo1M => 1,
            Schema::Mbp10 => 10,
            _ => 0,
        }
    }

    /// Length of a record of which the feed file carries the bytes, in DBN version 3; `None` for the others.
    pub fn carried_bytes(self) -> Option<usize> {
        match self {
            Schema::Status => Some(size_of::<StatusMsg>()),
            Schema::Definition => Some(size_of::<InstrumentDefMsg>()),
            Schema::Statistics => Some(size_of::<StatMsg>()),
            Schema::Imbalance => Some(size_of::<ImbalanceMsg>()),
            _ => None,
        }
    }

    /// Whether an instrument of these channels can have records of the schema.
    pub fn may_be_of(self, instrument: &Instrument) -> bool {
        let has = |channel| instrument.has(channel);
        let has_levels = |depth| has(Channel::Book) && instrument.book_depth == depth;
        match self {
            Schema::Mbo => has(Channel::Orders),
            _ if has(Channel::Orders) && self.depth() > 0 => false,
            Schema::Mbp10 => has_levels(10),
            Schema::Mbp1 | Schema::Tbbo => has_levels(1) && has(Channel::Trades),
            Schema::Bbo1S | Schema::Bbo1M => has_levels(1),
            Schema::Trades => has(Channel::Trades) && !has(Channel::Orders) && !has_levels(10),
            Schema::Status => has(Channel::Status),
            Schema::Definition | Schema::Statistics | Schema::Imbalance => true,
        }
    }
}

/// Bytes of a carried record that one feed record holds.
const PART_BYTES: usize = 24;

/// Appends the feed records that carry the body of a DBN record, all that is behind its header: 24 bytes each in
/// `order_id`, `price` and `quantity`, the rest of the last ones 0. The first is `first`, its type in `count`; the others
/// are notes with a `count` of 0.
pub(super) fn carry(first: Primary, rtype: u8, body: &[u8], primaries: &mut Vec<Primary>) {
    let mut count = u32::from(rtype);
    let mut kind = first.kind;
    for part in body.chunks(PART_BYTES) {
        let mut bytes = [0; PART_BYTES];
        bytes[..part.len()].copy_from_slice(part);
        let [order_id, price, quantity] = words(&bytes);
        primaries.push(Primary {
            order_id,
            price: price as i64,
            quantity: quantity as i64,
            count,
            kind,
            ..first
        });
        (count, kind) = (0, PrimaryKind::Note as u8);
    }
}

/// How many feed records carry a DBN record of that length.
pub(super) fn carriers(record_bytes: usize) -> usize {
    record_bytes.saturating_sub(size_of::<RecordHeader>()).div_ceil(PART_BYTES)
}

/// The bytes that a feed record carries.
pub(super) fn carried(primary: &Primary) -> [u8; PART_BYTES] {
    let mut bytes = [0; PART_BYTES];
    let words = [primary.order_id, primary.price as u64, primary.quantity as u64];
    for (eight, word) in bytes.chunks_exact_mut(8).zip(words) {
        eight.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn words(bytes: &[u8; PART_BYTES]) -> [u64; 3] {
    let (eights, _) = bytes.as_chunks::<8>();
    [0, 1, 2].map(|at| u64::from_le_bytes(eights[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_has_one_name_and_its_records_one_type() {
        for schema in Schema::ALL {
            assert_eq!(
                (Schema::of(schema.dbn()), Schema::from_name(schema.name())),
                (Some(schema), Some(schema))
            );
            let found = Schema::of_rtype(schema.rtype());
            assert_eq!(found, Some(if schema == Schema::Tbbo { Schema::Mbp1 } else { schema }));
            // Types must not be taken for actions: both are told by `count`.
            let is_told_by_type =
                schema.carried_bytes().is_some() || matches!(schema, Schema::Bbo1S | Schema::Bbo1M);
            assert!(!is_told_by_type || !ACTIONS.contains(&schema.rtype()), "{schema:?}");
        }
    }

    #[test]
    fn what_is_carried_comes_out() {
        for length in [1, 23, 24, 25, 504] {
            let body: Vec<u8> = (0..length).map(|at| at as u8 | 0x80).collect();
            let mut primaries = Vec::new();
            carry(Primary::new(PrimaryKind::Status, 3, 7), 18, &body, &mut primaries);
            assert_eq!(primaries.len(), carriers(16 + body.len()));
            let kinds: Vec<_> =
                primaries.iter().map(|primary| (primary.kind().unwrap(), primary.count)).collect();
            assert_eq!(kinds[0], (PrimaryKind::Status, 18));
            assert!(kinds[1..].iter().all(|kind| *kind == (PrimaryKind::Note, 0)));
            let found: Vec<u8> = primaries.iter().flat_map(carried).collect();
            assert_eq!(found[..length], body);
            assert!(found[length..].iter().all(|byte| *byte == 0));
        }
    }
}
