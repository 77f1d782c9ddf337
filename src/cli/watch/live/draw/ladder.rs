//! The book: asks above, bids below, the spread between them; bids to the left of the prices, asks to the right, so that
//! they are apart without any colour.

use ratatui::layout::Rect;
use ratatui::style::Style;

use super::super::figures::basis_points;
use super::super::state::{Ladder, Market};
use super::pen::{Pen, row, shifted};
use crate::model::{Level, Side};

/// Columns of a bar at the most: longer ones say no more.
const BAR_COLUMNS_MAX: u16 = 30;

/// Columns without any bars: quantity, price, quantity, and the gaps between these and the bars.
pub(super) fn columns_min(market: &Market) -> u16 {
    let [price, quantity] = widths(market);
    price.saturating_add(quantity.saturating_mul(2)).saturating_add(6)
}

/// Columns that it can make use of.
pub(super) fn columns_max(market: &Market) -> u16 {
    columns_min(market).saturating_add(2 * BAR_COLUMNS_MAX)
}

/// Columns of prices and of quantities, their headings included.
pub(super) fn widths(market: &Market) -> [u16; 2] {
    [market.prices.width().max(5), market.quantities.width().max(4)]
        .map(|width| u16::try_from(width).unwrap_or(u16::MAX))
}

/// Where the columns are. Without room for both sides (`wide` is false) prices and quantities of both stand below each
/// other.
#[derive(Clone, Copy)]
struct Columns {
    wide: bool,
    bar: u16,
    price: u16,
    quantity: u16,
}

impl Columns {
    fn of(market: &Market, width: u16) -> Columns {
        let [price, quantity] = widths(market);
        let room = width.checked_sub(columns_min(market));
        let bar = (room.unwrap_or(0) / 2).min(BAR_COLUMNS_MAX);
        Columns { wide: room.is_some(), bar, price, quantity }
    }

    /// The cells of one row: bar and quantity of a side, price.
    fn cells(self, row: Rect, side: Side) -> [Rect; 3] {
        let cut = |from: u16, width: u16| {
            let rest = shifted(row, from);
            Rect { width: rest.width.min(width), ..rest }
        };
        if !self.wide {
            return [cut(0, 0), cut(self.price + 2, self.quantity), cut(0, self.price)];
        }
        let price = self.bar + 1 + self.quantity + 2;
        let asks = price + self.price + 2;
        match side {
            Side::Bid => [cut(0, self.bar), cut(self.bar + 1, self.quantity), cut(price, self.price)],
            Side::Ask => {
                [cut(asks + self.quantity + 1, self.bar), cut(asks, self.quantity), cut(price, self.price)]
            }
        }
    }
}

/// Draws the book into `area`.
pub(super) fn draw(pen: &mut Pen<'_>, area: Rect, market: &Market, ladder: &Ladder) {
    let columns = Columns::of(market, area.width);
    let mut body = area;
    if area.height >= 5 {
        headings(pen, row(area, 0), columns);
        body = Rect { y: area.y + 1, height: area.height - 1, ..area };
    }
    // The spread has a row of its own where there are three.
    let gap = u16::from(body.height != 2);
    let above = body.height.saturating_sub(gap) / 2;
    let below = body.height.saturating_sub(gap + above);
    let shown = ladder.asks.iter().take(above.into()).chain(ladder.bids.iter().take(below.into()));
    let most = shown.map(|level| level.quantity).max().unwrap_or(0);
    for (number, level) in (1..=above).zip(&ladder.asks) {
        self::level(pen, row(body, above - number), columns, market, (Side::Ask, level, most));
    }
    if gap == 1 {
        spread(pen, row(body, above), market, ladder);
    }
    for (number, level) in (0..below).zip(&ladder.bids) {
        self::level(pen, row(body, above + gap + number), columns, market, (Side::Bid, level, most));
    }
}

fn headings(pen: &mut Pen<'_>, row: Rect, columns: Columns) {
    let faint = pen.look.faint();
    let [_, quantity, price] = columns.cells(row, Side::Bid);
    pen.right(price, "price", faint);
    if columns.wide {
        pen.right(quantity, "bids", faint);
        let [_, quantity, _] = columns.cells(row, Side::Ask);
        pen.right(quantity, "asks", faint);
    } else {
        pen.right(quantity, "size", faint);
    }
}

fn level(pen: &mut Pen<'_>, row: Rect, columns: Columns, market: &Market, drawn: (Side, &Level, i64)) {
    let (side, level, most) = drawn;
    let style = match side {
        Side::Bid => pen.look.bid(),
        Side::Ask => pen.look.ask(),
    };
    let [bar, quantity, price] = columns.cells(row, side);
    pen.right(price, &market.prices.text(level.price), style);
    pen.right(quantity, &market.quantities.text(level.quantity), Style::new());
    let halves = halves(level.quantity, most, bar.width);
    let blocks = pen.look.block().repeat((halves / 2).into());
    let half = if halves % 2 == 1 { pen.look.half(side == Side::Ask) } else { "" };
    match side {
        Side::Bid => pen.right(bar, &format!("{half}{blocks}"), style),
        Side::Ask => pen.text(bar, &format!("{blocks}{half}"), style),
    }
}

/// Half columns of a bar: `most` fills them all, and whatever is there at all shows.
fn halves(quantity: i64, most: i64, columns: u16) -> u16 {
    if quantity <= 0 || most <= 0 || columns == 0 {
        return 0;
    }
    let all = i128::from(columns) * 2;
    let halves = (i128::from(quantity) * all / i128::from(most)).clamp(1, all);
    u16::try_from(halves).unwrap_or(0)
}

fn spread(pen: &mut Pen<'_>, row: Rect, market: &Market, ladder: &Ladder) {
    let line = pen.look.level().repeat(row.width.into());
    let faint = pen.look.faint();
    pen.text(row, &line, faint);
    let text = match (ladder.bids.first(), ladder.asks.first()) {
        (None, None) => " the book is empty ".to_owned(),
        (None, _) => " no bids ".to_owned(),
        (_, None) => " no asks ".to_owned(),
        (Some(bid), Some(ask)) => {
            let apart = ask.price.saturating_sub(bid.price);
            let shown = market.prices.text(apart.saturating_abs());
            match basis_points(bid.price, ask.price) {
                _ if apart == 0 => " locked ".to_owned(),
                _ if apart < 0 => format!(" crossed by {shown} "),
                Some(relative) => format!(" spread {shown}  {relative} "),
                None => format!(" spread {shown} "),
            }
        }
    };
    let strong = pen.look.strong();
    pen.centred(row, &text, strong);
}

#[cfg(test)]
mod tests {
    use super::halves;

    #[test]
    fn bars_are_in_proportion_and_whatever_is_there_shows() {
        assert_eq!([0, 1, 50, 99, 100].map(|quantity| halves(quantity, 100, 10)), [0, 1, 10, 19, 20]);
        assert_eq!(halves(i64::MAX, i64::MAX, 30), 60);
        assert_eq!(halves(200, 100, 10), 20, "never longer than its place");
        assert_eq!([halves(5, 100, 0), halves(-5, 100, 10), halves(5, 0, 10)], [0; 3]);
    }
}
