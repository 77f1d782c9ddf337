//! Tables: which columns a channel has, what stands in them, and where the tables of several channels go.

use std::path::Path;

use super::output::{Created, packing};
use super::{ExportError, STANDARD_OUTPUT};
use crate::model::{Channel, ChannelSet, Instrument, OrderAction, OrderChange, Side};
use crate::wire::message::{Content, Meta};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A symbol or one of a few names.
    Text,
    /// A sequence or an identifier, any u64.
    Number,
    /// Nanoseconds since the Unix epoch.
    Time,
    Flag,
    Price,
    Quantity,
}

/// A column: its name, and what it holds.
pub(super) type Column = (&'static str, Kind);

/// What every table begins with: [`Cells::begin`].
const COMMON: [Column; 7] = [
    ("symbol", Kind::Text),
    ("first_seq", Kind::Number),
    ("last_seq", Kind::Number),
    ("ts_ns", Kind::Time),
    ("sent_ns", Kind::Time),
    ("snapshot", Kind::Flag),
    ("more", Kind::Flag),
];

/// The columns of a channel after [`COMMON`]: what [`rows`] writes.
const fn own_columns(channel: Channel) -> &'static [Column] {
    match channel {
        Channel::Quotes => &[
            ("bid", Kind::Price),
            ("bid_quantity", Kind::Quantity),
            ("ask", Kind::Price),
            ("ask_quantity", Kind::Quantity),
        ],
        Channel::Trades => &[
            ("price", Kind::Price),
            ("quantity", Kind::Quantity),
            ("aggressor", Kind::Text),
            ("trade_id", Kind::Number),
        ],
        Channel::Book => &[("side", Kind::Text), ("price", Kind::Price), ("quantity", Kind::Quantity)],
        Channel::Orders => &[
            ("action", Kind::Text),
            ("order_id", Kind::Number),
            ("side", Kind::Text),
            ("price", Kind::Price),
            ("quantity", Kind::Quantity),
            ("executed", Kind::Quantity),
        ],
        Channel::Ticker => {
            &[("bid", Kind::Price), ("ask", Kind::Price), ("last", Kind::Price), ("volume", Kind::Quantity)]
        }
        Channel::Bars => &[
            ("period", Kind::Text),
            ("start_ns", Kind::Time),
            ("open", Kind::Price),
            ("high", Kind::Price),
            ("low", Kind::Price),
            ("close", Kind::Price),
            ("volume", Kind::Quantity),
            ("complete", Kind::Flag),
        ],
        Channel::Status => &[("status", Kind::Text)],
    }
}

/// The columns of a channel's table.
pub(super) fn columns(channel: Channel) -> impl Iterator<Item = Column> {
    COMMON.iter().chain(own_columns(channel)).copied()
}

/// What takes the cells of a table, row by row and in the order of its [`columns`].
pub(super) trait Cells {
    /// The rows of one message follow, each of which begins with what this says.
    fn begin(&mut self, instrument: &Instrument, meta: &Meta);

    /// `None`: absent, as below.
    fn text(&mut self, text: Option<&'static str>) -> &mut Self;

    fn number(&mut self, number: Option<u64>) -> &mut Self;

    fn time(&mut self, ns: u64) -> &mut Self;

    fn flag(&mut self, flag: bool) -> &mut Self;

    /// A price of the instrument, or [`crate::model::ABSENT`].
    fn price(&mut self, price: i64) -> &mut Self;

    /// A quantity of the instrument, or [`crate::model::ABSENT`].
    fn quantity(&mut self, quantity: i64) -> &mut Self;

    /// The row is over.
    fn end(&mut self) -> Result<(), ExportError>;
}

/// Writes the rows of a message: one, or one a level or order.
pub(super) fn rows<C: Cells>(
    cells: &mut C,
    instrument: &Instrument,
    meta: &Meta,
    content: &Content<'_>,
) -> Result<(), ExportError> {
    cells.begin(instrument, meta);
    match content {
        Content::Quote(quote) => cells
            .price(quote.bid)
            .quantity(quote.bid_quantity)
            .price(quote.ask)
            .quantity(quote.ask_quantity)
            .end(),
        Content::Trade(trade) => cells
            .price(trade.price)
            .quantity(trade.quantity)
            .text(Some(trade.aggressor.name()))
            .number(some(trade.trade_id))
            .end(),
        Content::Book(book) => {
            let sides = [(Side::Bid, book.bids), (Side::Ask, book.asks)];
            let mut levels =
                sides.iter().flat_map(|(side, levels)| levels.iter().map(|level| (side.name(), level)));
            levels.try_for_each(|(side, level)| {
                cells.text(Some(side)).price(level.price).quantity(level.quantity).end()
            })
        }
        Content::Order(change) => order(cells, change),
        Content::Orders(snapshot) => snapshot.orders.iter().try_for_each(|resting| {
            let change = OrderChange {
                action: OrderAction::Add,
                order_id: resting.order_id,
                side: Some(resting.side),
                price: resting.price,
                quantity: resting.quantity,
                executed: 0,
            };
            order(cells, &change)
        }),
        Content::Ticker(ticker) => {
            cells.price(ticker.bid).price(ticker.ask).price(ticker.last).quantity(ticker.volume).end()
        }
        Content::Bar(bar) => cells
            .text(Some(bar.period.name()))
            .time(bar.start_ns)
            .price(bar.open)
            .price(bar.high)
            .price(bar.low)
            .price(bar.close)
            .quantity(bar.volume)
            .flag(bar.complete)
            .end(),
        Content::Status(status) => cells.text(Some(status.name())).end(),
    }
}

fn order<C: Cells>(cells: &mut C, change: &OrderChange) -> Result<(), ExportError> {
    cells
        .text(Some(change.action.name()))
        .number(some(change.order_id))
        .text(change.side.map(Side::name))
        .price(change.price)
        .quantity(change.quantity)
        .quantity(change.executed)
        .end()
}

/// A number of which 0 means none.
fn some(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

/// One table a channel: a file, or a folder of them.
pub(super) struct Tables<T> {
    /// By [`Channel::index`]; `None` where the channel is not exported.
    tables: [Option<T>; Channel::ALL.len()],
}

impl<T> Tables<T> {
    /// Has `table` create the file of one channel or, in a new folder, a file for each, called `trades.EXTENSION` and
    /// so on.
    pub fn create(
        out: &Path,
        channels: ChannelSet,
        extension: &str,
        created: &mut Created,
        mut table: impl FnMut(&Path, Channel, &mut Created) -> Result<T, ExportError>,
    ) -> Result<Tables<T>, ExportError> {
        let count = channels.iter().count();
        if count == 0 {
            return Err(ExportError::NoTable { path: out.display().to_string() });
        }
        if count > 1 {
            if out.as_os_str() == STANDARD_OUTPUT {
                return Err(ExportError::Tables(count));
            }
            if packing(out).is_some() {
                return Err(ExportError::PackedFolder { path: out.display().to_string(), count });
            }
            created.folder(out)?;
        }
        let mut tables = [const { None }; Channel::ALL.len()];
        for channel in channels.iter() {
            let path = out.join(format!("{channel}.{extension}"));
            let path = if count > 1 { &path } else { out };
            tables[channel.index()] = Some(table(path, channel, created)?);
        }
        Ok(Tables { tables })
    }

    /// The table of a channel, where it is exported.
    pub fn of(&mut self, channel: Channel) -> Option<&mut T> {
        self.tables[channel.index()].as_mut()
    }

    /// Every table.
    pub fn each(&mut self) -> impl Iterator<Item = &mut T> {
        self.tables.iter_mut().flatten()
    }
}
