//! One line of a message file.

use crate::feed::import::eastern;
use crate::feed::inspect::counted;
use crate::model::{Side, Status, parse_decimal};

/// Fields of a line; what follows them is not LOBSTER's.
const FIELDS: usize = 6;

/// What happened, and to which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Nanoseconds since the Unix epoch.
    pub time_ns: u64,
    pub kind: Kind,
    /// 0: none.
    pub order_id: u64,
    pub quantity: i64,
    pub price: i64,
    /// The side of the resting order.
    pub side: Side,
}

/// LOBSTER's type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// 1: an order joins.
    Add,
    /// 2: a part of it is cancelled.
    Cancel,
    /// 3: all of it is.
    Delete,
    /// 4: it is filled.
    Execute,
    /// 5: an order that was not shown is filled.
    ExecuteHidden,
    /// 6: an auction's trade.
    Cross,
    /// 7: the stock is halted, or is not any more.
    Halt(Status),
}

impl Kind {
    /// LOBSTER's number for it, as a letter.
    pub fn letter(self) -> u8 {
        match self {
            Kind::Add => b'1',
            Kind::Cancel => b'2',
            Kind::Delete => b'3',
            Kind::Execute => b'4',
            Kind::ExecuteHidden => b'5',
            Kind::Cross => b'6',
            Kind::Halt(_) => b'7',
        }
    }
}

impl Message {
    /// Reads a line; `midnight_ns` is the day's first moment. The error says what is wrong with it.
    pub fn parse(line: &str, midnight_ns: u64) -> Result<Message, String> {
        let mut fields = line.split(',').map(str::trim);
        let mut found = 0;
        let [time, kind, order_id, quantity, price, direction] = [(); FIELDS].map(|()| {
            let field = fields.next();
            found += usize::from(field.is_some());
            field.unwrap_or_default()
        });
        if found < FIELDS {
            return Err(format!("{}; a message has {FIELDS}", counted(found as u64, "field")));
        }
        let after_midnight = parse_decimal(time, -9).and_then(|time| u64::try_from(time).ok());
        let after_midnight = after_midnight
            .ok_or_else(|| format!("time {time:?}; allowed: 0 to 86399.999999999, seconds after midnight"))?;
        let time_ns = eastern::time_ns(midnight_ns, after_midnight)?;
        let integer = |name: &str, text: &str| {
            text.parse::<i64>().map_err(|_| format!("{name} {text:?}; expected a whole number of 64 bits"))
        };
        let price_text = price;
        let price = integer("price", price_text)?;
        let kind = match kind {
            "1" => Kind::Add,
            "2" => Kind::Cancel,
            "3" => Kind::Delete,
            "4" => Kind::Execute,
            "5" => Kind::ExecuteHidden,
            "6" => Kind::Cross,
            "7" => Kind::Halt(match price {
                -1 => Status::Halted,
                0 => Status::Auction,
                1 => Status::Trading,
                _ => return Err(format!("halt with price {price_text:?}; allowed: -1, 0 and 1")),
            }),
            _ => return Err(format!("type {kind:?}; allowed: 1 to 7")),
        };
        let side = match direction {
            "1" => Side::Bid,
            "-1" => Side::Ask,
            _ => return Err(format!("direction {direction:?}; allowed: 1 and -1")),
        };
        let quantity_text = quantity;
        let quantity = integer("size", quantity_text)?;
        // An auction in which nobody traded is told too; a halt has neither.
        let least = i64::from(!matches!(kind, Kind::Cross | Kind::Halt(_)));
        if quantity < least {
            return Err(format!("size {quantity_text:?}; allowed: {least} or more"));
        }
        if price < least && !matches!(kind, Kind::Halt(_)) {
            return Err(format!("price {price_text:?}; allowed: {least} or more"));
        }
        // What concerns no order has 0 or -1 here.
        let order_id = u64::try_from(integer("order id", order_id)?).unwrap_or(0);
        Ok(Message { time_ns, kind, order_id, quantity, price, side })
    }
}
