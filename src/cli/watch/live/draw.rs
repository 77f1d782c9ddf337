//! The view on cells: a function of the state, for a terminal of any size.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use self::pen::{Pen, Span, row, shifted, width, wrapped};
use super::figures::duration;
use super::keys::KEYS;
use super::look::Look;
use super::state::{Connection, Market, State};
use crate::model::{Channel, Status};

mod ladder;
mod pen;
mod tape;

/// Columns of a bar from which on the tape may stand beside the ladder.
const BAR_COLUMNS_MIN: u16 = 4;

/// Draws all of it. From the top: instrument and connection, prices, ladder and tape, figures, keys; a small terminal
/// has the first of these.
pub(super) fn draw(state: &State, look: Look, area: Rect, buffer: &mut Buffer) {
    let mut pen = Pen { buffer, look };
    let mut body = area;
    title(&mut pen, row(area, 0), state);
    body = without_top(body);
    if area.height >= 2 {
        prices(&mut pen, row(body, 0), state);
        body = without_top(body);
    }
    // Where there is no book, there is room to say why in full.
    let note = state.note().filter(|_| state.market.mirrored.ladder.is_some());
    if area.height >= 7 || note.is_some() && area.height >= 4 {
        bottom(&mut pen, row(body, body.height - 1), state, note);
        body.height -= 1;
    }
    if area.height >= 8 {
        figures(&mut pen, row(body, body.height - 1), state);
        body.height -= 1;
    }
    if area.height >= 14 {
        body = without_top(body);
        body.height -= 1;
    }
    market(&mut pen, body, state);
    if state.help {
        help(&mut pen, area);
    }
}

fn without_top(area: Rect) -> Rect {
    let top = area.height.min(1);
    Rect { y: area.y + top, height: area.height - top, ..area }
}

/// Symbol, whether it trades, which of how many; to the right the connection.
fn title(pen: &mut Pen<'_>, area: Rect, state: &State) {
    let symbol = state.selected.clone().unwrap_or_else(|| state.patterns.join(" "));
    let mut groups = vec![vec![(symbol, pen.look.strong())]];
    let (text, style) = connection(pen.look, state);
    let symbol = groups[0].iter().map(|(text, _)| width(text)).sum::<u16>();
    // In full, or without the explanation, or not at all.
    let short = text.split(':').next().unwrap_or_default();
    let texts = [&text, short].map(|text| format!("{} {text}", pen.look.dot()));
    let mut left = area;
    if let Some(text) = texts.iter().find(|text| symbol.saturating_add(2 + width(text)) <= area.width) {
        pen.right(area, text, style);
        left.width -= width(text) + 2;
    }
    if let Some(status) = state.market.mirrored.status {
        let style = if status == Status::Trading { Style::new() } else { pen.look.warn() };
        groups.push(vec![("  ".into(), Style::new()), (status.name().into(), style)]);
    }
    if let Some(position) = state.position().filter(|_| state.symbols.len() > 1) {
        groups.push(vec![(format!("  {} of {}", position + 1, state.symbols.len()), pen.look.faint())]);
    }
    pen.groups(left, &groups);
}

fn connection(look: Look, state: &State) -> Span {
    match state.connection {
        Connection::Connecting => ("connecting".into(), look.warn()),
        Connection::Live if state.conflating => {
            ("live, conflating: this client reads too slowly".into(), look.warn())
        }
        Connection::Live => ("live".into(), look.bid()),
        Connection::Silent => ("stale: nothing is heard from the server".into(), look.warn()),
        Connection::Stale => ("stale: the server hears nothing from its source".into(), look.warn()),
        Connection::ReplayEnded => ("replay ended".into(), look.warn()),
        Connection::Waiting { seconds: 0, .. } => ("reconnecting".into(), look.ask()),
        Connection::Waiting { seconds, .. } => (format!("reconnecting in {seconds} s"), look.ask()),
    }
}

/// Last price, best bid and ask, volume.
fn prices(pen: &mut Pen<'_>, area: Rect, state: &State) {
    let Market { prices, quantities, mirrored, last, up, .. } = &state.market;
    let faint = pen.look.faint();
    let label = |text: &str| (text.to_owned(), faint);
    let mut groups = Vec::new();
    if let Some(last) = mirrored.ticker.map(|ticker| ticker.last).or(*last) {
        let (style, arrow) = match up {
            Some(true) => (pen.look.bid(), pen.look.arrow(true)),
            Some(false) => (pen.look.ask(), pen.look.arrow(false)),
            None => (Style::new(), " "),
        };
        groups.push(vec![label("last "), (format!("{} {arrow}", prices.text(last)), style)]);
    }
    if let Some(quote) = mirrored.quote {
        let sides = [
            ("bid ", quote.bid, quote.bid_quantity, pen.look.bid()),
            ("ask ", quote.ask, quote.ask_quantity, pen.look.ask()),
        ];
        for (name, price, quantity, style) in sides {
            let gap = if groups.is_empty() { "" } else { "  " };
            groups.push(vec![
                label(gap),
                label(name),
                (prices.text(price), style),
                (format!(" x {}", quantities.text(quantity)), Style::new()),
            ]);
        }
    }
    if let Some(ticker) = mirrored.ticker {
        groups.push(vec![label("  vol "), (quantities.text(ticker.volume), Style::new())]);
    }
    pen.groups(area, &groups);
}

/// Ladder and tape, beside each other where there is room, else below each other, else the ladder alone.
fn market(pen: &mut Pen<'_>, area: Rect, state: &State) {
    let market = &state.market;
    if market.lacks.contains(Channel::Book) {
        return tape::draw(pen, area, market);
    }
    let Some(ladder) = &market.mirrored.ladder else {
        return nothing(pen, area, state);
    };
    let bars = ladder::columns_min(market).saturating_add(2 * BAR_COLUMNS_MIN);
    let beside = tape::TIME_COLUMNS.map(|time| tape::columns(market, time));
    // Milliseconds, where they do not cost the bars their room.
    let with_ms = bars.saturating_add(2 * BAR_COLUMNS_MIN + 3).saturating_add(beside[0]) <= area.width;
    let beside = if with_ms { beside[0] } else { beside[1] };
    if bars.saturating_add(3).saturating_add(beside) <= area.width {
        let columns = (area.width - 3 - beside).min(ladder::columns_max(market));
        ladder::draw(pen, Rect { width: columns, ..area }, market, ladder);
        let rest = shifted(area, columns + 1);
        let (faint, line) = (pen.look.faint(), pen.look.upright());
        (0..rest.height).for_each(|number| pen.text(row(rest, number), line, faint));
        tape::draw(pen, shifted(rest, 2), market);
    } else if area.height >= 14 {
        let below = area.height / 3;
        let top = Rect { height: area.height - below - 1, ..area };
        ladder::draw(pen, top, market, ladder);
        tape::draw(pen, Rect { y: top.bottom() + 1, height: below, ..area }, market);
    } else {
        ladder::draw(pen, area, market, ladder);
    }
}

/// Why there is no book to see.
fn nothing(pen: &mut Pen<'_>, area: Rect, state: &State) {
    let what = match (state.connection, &state.selected) {
        (Connection::Connecting, None) if state.note().is_some() => "waiting for an instrument".to_owned(),
        (Connection::Connecting, None) => "waiting for the list of instruments".to_owned(),
        (Connection::Connecting, Some(_)) => "connecting".to_owned(),
        (Connection::Waiting { .. }, _) => "no connection".to_owned(),
        (_, _) => "waiting for the book".to_owned(),
    };
    let mut lines = vec![what];
    if let Some(note) = state.note() {
        lines.push(String::new());
        lines.extend(wrapped(note, area.width.saturating_sub(4).into()));
    }
    let shown = u16::try_from(lines.len()).unwrap_or(u16::MAX).min(area.height);
    let from = (area.height - shown) / 2;
    for (number, line) in (from..area.height).zip(&lines) {
        pen.centred(row(area, number), line, Style::new());
    }
}

/// Rate, latency, merged, lost.
fn figures(pen: &mut Pen<'_>, area: Rect, state: &State) {
    let faint = pen.look.faint();
    let label = |text: &str| (text.to_owned(), faint);
    let plain = |text: String| (text, Style::new());
    let clocks = if state.same_host { " (same host)" } else { " (two hosts' clocks)" };
    let [p50, p99] = match state.figures.latency_us {
        Some((p50, p99)) => [p50, p99].map(|us| duration(us, pen.look.unicode)),
        None => ["-", "-"].map(str::to_owned),
    };
    let count = |count: u64| {
        let style = if count > 0 { pen.look.warn() } else { Style::new() };
        (count.to_string(), style)
    };
    let groups = [
        vec![plain(state.figures.rate.to_string()), label(" msg/s")],
        vec![label("   latency p50 "), plain(p50), label(" p99 "), plain(p99), label(clocks)],
        vec![label("   merged "), count(state.market.merged)],
        vec![label("   lost "), count(state.market.lost)],
    ];
    pen.groups(area, &groups);
}

/// A note, or else the keys.
fn bottom(pen: &mut Pen<'_>, area: Rect, state: &State, note: Option<&str>) {
    if let Some(note) = note {
        let style = pen.look.warn();
        return pen.text(area, note, style);
    }
    let (strong, faint) = (pen.look.strong(), pen.look.faint());
    let depth = state.depth.map_or("all".to_owned(), |depth| state.market.depth.unwrap_or(depth).to_string());
    let depth = format!(" depth {depth}");
    let mut keys = vec![("+/-", depth.as_str()), ("space", " hold tape"), ("?", " keys"), ("q", " quit")];
    if state.symbols.len() > 1 {
        keys.insert(0, ("n/p", " instrument"));
    }
    let groups: Vec<_> = keys
        .into_iter()
        .map(|(key, what)| vec![(key.to_owned(), strong), (format!("{what}   "), faint)])
        .collect();
    pen.groups(area, &groups);
}

/// The keys, over everything.
fn help(pen: &mut Pen<'_>, area: Rect) {
    let side = pen.look.upright();
    let lines = KEYS.map(|(key, what)| format!("{side} {key:<8} {what:<31} {side}"));
    let (columns, rows) = (width(&lines[0]), lines.len() as u16 + 2);
    let place = Rect {
        x: area.x + area.width.saturating_sub(columns) / 2,
        y: area.y + area.height.saturating_sub(rows) / 2,
        width: columns.min(area.width),
        height: rows.min(area.height),
    };
    let level = pen.look.level().repeat(usize::from(columns) - 2);
    let [top, bottom] = pen.look.corners().map(|[left, right]| format!("{left}{level}{right}"));
    let drawn = std::iter::once(&top).chain(&lines).chain([&bottom]);
    for (number, line) in (0..place.height).zip(drawn) {
        // What lies below is gone, its style too.
        pen.buffer.set_style(row(place, number), Style::reset());
        pen.text(row(place, number), line, Style::new());
    }
}

#[cfg(test)]
mod tests;
