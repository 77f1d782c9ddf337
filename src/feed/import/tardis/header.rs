//! The first line of a file: which columns it has, and so what kind it is.

use crate::feed::import::listing::Tells;

/// What every kind of file has.
const COMMON: [&str; 4] = ["exchange", "symbol", "timestamp", "local_timestamp"];
/// Levels a side of a snapshot; a level's number is a byte.
const DEPTH_MAX: usize = 255;

/// Where the columns stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub exchange: usize,
    pub symbol: usize,
    pub timestamp: usize,
    pub local_timestamp: usize,
    pub kind: Kind,
    /// How many columns there are.
    pub columns: usize,
}

/// The kinds of files, with their further columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `incremental_book_L2`: one level a row.
    Levels { is_snapshot: usize, side: usize, price: usize, amount: usize },
    /// `trades`: one trade a row.
    Trades { id: Option<usize>, side: usize, price: usize, amount: usize },
    /// `quotes`, `book_ticker` and `book_snapshot_N`: the best levels in each row.
    Tops { depth: u16, is_quote: bool, bids: Vec<Columns>, asks: Vec<Columns> },
}

/// Where a level stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub price: usize,
    pub amount: usize,
}

impl Kind {
    /// The kind's name.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Levels { .. } => "incremental_book_L2",
            Kind::Trades { .. } => "trades",
            Kind::Tops { is_quote: true, .. } => "quotes",
            Kind::Tops { .. } => "book_snapshot",
        }
    }

    /// What it tells.
    pub fn tells(&self) -> Tells {
        match self {
            Kind::Levels { .. } | Kind::Tops { .. } => Tells::BOOK,
            Kind::Trades { .. } => Tells::TRADES,
        }
    }

    /// Levels a side that it tells of; 0: all, or none at all.
    pub fn depth(&self) -> u16 {
        match self {
            Kind::Tops { depth, .. } => *depth,
            Kind::Levels { .. } | Kind::Trades { .. } => 0,
        }
    }
}

/// The kind of file that has this header line, where it is one that is refused.
pub(super) fn refused(line: &str) -> Option<&'static str> {
    let has = |name: &str| line.split(',').any(|found| found.trim() == name);
    // An options chain has the columns of quotes too.
    [("strike_price", "options_chain"), ("funding_rate", "derivative_ticker")]
        .into_iter()
        .find_map(|(column, kind)| has(column).then_some(kind))
}

/// The columns that each kind must have beside [`COMMON`].
const OWN: [(&str, &[&str]); 4] = [
    ("incremental_book_L2", &["is_snapshot", "side", "price", "amount"]),
    ("trades", &["side", "price", "amount"]),
    ("quotes", &["ask_amount", "ask_price", "bid_price", "bid_amount"]),
    ("book_snapshot", &["asks[0].price", "asks[0].amount", "bids[0].price", "bids[0].amount"]),
];

/// The kind of file to which a header line comes nearest, and the columns that it lacks for that. `None` where it has
/// few columns of any kind.
pub(super) fn nearest(line: &str) -> Option<(&'static str, Vec<&'static str>)> {
    let names: Vec<&str> = line.split(',').map(str::trim).collect();
    let lacks = |columns: &[&'static str]| -> Vec<&'static str> {
        columns.iter().copied().filter(|column| !names.contains(column)).collect()
    };
    let common = lacks(&COMMON);
    // The first of several: levels have the columns of trades, and one more.
    let kinds = OWN.iter().map(|(kind, columns)| (*kind, columns.len(), lacks(columns)));
    let (kind, columns, own) = kinds.min_by_key(|(_, _, own)| own.len())?;
    let is_near = common.len() <= COMMON.len() / 2 && own.len() <= columns / 2;
    is_near.then(|| (kind, [common, own].concat()))
}

impl Header {
    /// Reads a header line; `None` where it is none of a kind that can be imported. Columns of other names are passed
    /// over.
    pub fn parse(line: &str) -> Option<Header> {
        let names: Vec<&str> = line.split(',').map(str::trim).collect();
        let find = |name: &str| names.iter().position(|found| *found == name);
        let [exchange, symbol, timestamp, local_timestamp] = COMMON.map(find);
        let kind = if let Some(is_snapshot) = find("is_snapshot") {
            Kind::Levels { is_snapshot, side: find("side")?, price: find("price")?, amount: find("amount")? }
        } else if let Some(side) = find("side") {
            Kind::Trades { id: find("id"), side, price: find("price")?, amount: find("amount")? }
        } else if let Some(price) = find("bid_price") {
            let bids = vec![Columns { price, amount: find("bid_amount")? }];
            let asks = vec![Columns { price: find("ask_price")?, amount: find("ask_amount")? }];
            Kind::Tops { depth: 1, is_quote: true, bids, asks }
        } else {
            let level = |side: &str, number: usize| {
                let price = find(&format!("{side}[{number}].price"))?;
                Some(Columns { price, amount: find(&format!("{side}[{number}].amount"))? })
            };
            let levels =
                |side: &str| (0..DEPTH_MAX).map_while(|number| level(side, number)).collect::<Vec<_>>();
            let (bids, asks) = (levels("bids"), levels("asks"));
            let depth = u16::try_from(bids.len()).ok().filter(|depth| *depth > 0)?;
            (bids.len() == asks.len()).then_some(Kind::Tops { depth, is_quote: false, bids, asks })?
        };
        Some(Header {
            exchange: exchange?,
            symbol: symbol?,
            timestamp: timestamp?,
            local_timestamp: local_timestamp?,
            kind,
            columns: names.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_their_names() {
        let header = Header::parse("amount,price,x,side,local_timestamp,timestamp,symbol,exchange").unwrap();
        assert_eq!((header.exchange, header.symbol, header.columns), (7, 6, 8));
        assert_eq!((header.timestamp, header.local_timestamp), (5, 4));
        assert_eq!(header.kind, Kind::Trades { id: None, side: 3, price: 1, amount: 0 });
    }

    #[test]
    fn a_header_that_lacks_a_column_is_told_which() {
        let common = "exchange,symbol,timestamp,local_timestamp";
        for (line, expected) in [
            (format!("{common},is_snapshot,side,price"), Some(("incremental_book_L2", vec!["amount"]))),
            (format!("{common},id,side,amount"), Some(("trades", vec!["price"]))),
            (
                "symbol,timestamp,local_timestamp,id,side,price,amount".into(),
                Some(("trades", vec!["exchange"])),
            ),
            (format!("{common},bid_price,bid_amount"), Some(("quotes", vec!["ask_amount", "ask_price"]))),
            (
                format!("{common},asks[0].price,bids[0].price,bids[0].amount"),
                Some(("book_snapshot", vec!["asks[0].amount"])),
            ),
            (format!("{common},open_interest"), None),
            ("time,price".into(), None),
            (String::new(), None),
        ] {
            assert_eq!(nearest(&line), expected, "{line}");
            assert_eq!(Header::parse(&line), None);
        }
    }

    #[test]
    fn what_tells_of_no_book_and_no_trade_is_no_header() {
        let common = "exchange,symbol,timestamp,local_timestamp";
        for line in [
            "",
            common,
            "symbol,timestamp,local_timestamp,id,side,price,amount",
            &format!(
                "{common},funding_timestamp,funding_rate,open_interest,last_price,index_price,mark_price"
            ),
            &format!("{common},side,price"),
            &format!("{common},bid_price,bid_amount"),
            &format!("{common},asks[0].price,asks[0].amount"),
            &format!("{common},bids[1].price,bids[1].amount,asks[1].price,asks[1].amount"),
        ] {
            assert_eq!(Header::parse(line), None, "{line}");
        }
    }
}
