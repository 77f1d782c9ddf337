//! The tape: time, price, quantity and who struck, newest first.

use ratatui::layout::Rect;
use ratatui::style::Style;

use super::super::state::Market;
use super::super::tape::Print;
use super::ladder::widths;
use super::pen::{Pen, row, shifted};
use crate::cli::watch::lines::time_of_day;
use crate::model::Aggressor;

/// Columns of a time of day with milliseconds, and without.
pub(super) const TIME_COLUMNS: [u16; 2] = [12, 8];

/// Columns that it needs with a time of so many.
pub(super) fn columns(market: &Market, time: u16) -> u16 {
    let [price, quantity] = widths(market);
    // Gaps of two, one before the side, which has four at the most.
    time.saturating_add(price).saturating_add(quantity).saturating_add(2 + 2 + 1 + 4)
}

/// Draws the tape into `area`.
pub(super) fn draw(pen: &mut Pen<'_>, area: Rect, market: &Market) {
    let time = TIME_COLUMNS.into_iter().find(|&time| columns(market, time) <= area.width);
    let mut body = area;
    if area.height >= 3 {
        heading(pen, row(area, 0), market);
        body = Rect { y: area.y + 1, height: area.height - 1, ..area };
    }
    for (number, print) in (0..body.height).zip(market.tape.lines()) {
        match print {
            Print::Trade { ts_ns, trade } => {
                let mut rest = row(body, number);
                if let Some(time) = time {
                    pen.text(Rect { width: time, ..rest }, &time_of_day(*ts_ns), Style::new());
                    rest = shifted(rest, time + 2);
                }
                let style = match trade.aggressor {
                    Aggressor::Buy => pen.look.bid(),
                    Aggressor::Sell => pen.look.ask(),
                    Aggressor::None => Style::new(),
                };
                let [price, quantity] = widths(market);
                let cell = |rest: Rect, width: u16| Rect { width: rest.width.min(width), ..rest };
                pen.right(cell(rest, price), &market.prices.text(trade.price), style);
                rest = shifted(rest, price + 2);
                pen.right(cell(rest, quantity), &market.quantities.text(trade.quantity), Style::new());
                rest = shifted(rest, quantity + 1);
                let side = if trade.aggressor == Aggressor::None { "" } else { trade.aggressor.name() };
                pen.text(rest, side, style);
            }
            Print::Missing(count) => {
                let style = pen.look.warn();
                pen.text(row(body, number), &format!("{count} trades are missing"), style);
            }
        }
    }
}

fn heading(pen: &mut Pen<'_>, row: Rect, market: &Market) {
    let (text, style) = match market.tape.held() {
        None => ("trades".to_owned(), pen.look.faint()),
        Some(since) => (format!("trades, held: {since} since"), pen.look.warn()),
    };
    pen.text(row, &text, style);
}
