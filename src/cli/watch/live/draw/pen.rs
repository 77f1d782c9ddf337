//! Text onto cells, clipped wherever it would leave them.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::super::look::Look;

/// A piece of text in one style.
pub(super) type Span = (String, Style);

/// Writes to a buffer what the terminal can show.
pub(super) struct Pen<'b> {
    pub buffer: &'b mut Buffer,
    pub look: Look,
}

impl Pen<'_> {
    /// Writes from the left of `area`'s first row. What comes from a server may be anything: control characters are left
    /// out (by the buffer), and where the terminal has ASCII only the rest is a question mark.
    pub fn text(&mut self, area: Rect, text: &str, style: Style) {
        let area = area.intersection(self.buffer.area);
        if area.is_empty() {
            return;
        }
        let written;
        let text = if self.look.unicode || text.is_ascii() {
            text
        } else {
            written = text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect::<String>();
            &written
        };
        self.buffer.set_stringn(area.x, area.y, text, area.width.into(), style);
    }

    /// Writes to the right end of `area`'s first row; what is too long keeps its beginning.
    pub fn right(&mut self, area: Rect, text: &str, style: Style) {
        let indent = area.width.saturating_sub(width(text));
        self.text(shifted(area, indent), text, style);
    }

    /// Writes to the middle of `area`'s first row.
    pub fn centred(&mut self, area: Rect, text: &str, style: Style) {
        let indent = area.width.saturating_sub(width(text)) / 2;
        self.text(shifted(area, indent), text, style);
    }

    /// Writes as many whole groups as fit, the first in any case; gives what is left of the row.
    pub fn groups(&mut self, area: Rect, groups: &[Vec<Span>]) -> Rect {
        let mut left = area;
        for (number, group) in groups.iter().enumerate() {
            let needed: u16 = group.iter().map(|(text, _)| width(text)).fold(0, u16::saturating_add);
            if number > 0 && needed > left.width {
                break;
            }
            for (text, style) in group {
                self.text(left, text, *style);
                left = shifted(left, width(text));
            }
        }
        left
    }
}

/// Columns of a text: what is drawn here has one a character.
pub(super) fn width(text: &str) -> u16 {
    u16::try_from(text.chars().count()).unwrap_or(u16::MAX)
}

/// What is left of an area without its first columns.
pub(super) fn shifted(area: Rect, columns: u16) -> Rect {
    let columns = columns.min(area.width);
    Rect { x: area.x + columns, width: area.width - columns, ..area }
}

/// One row of an area, the last one where it has fewer.
pub(super) fn row(area: Rect, number: u16) -> Rect {
    let number = number.min(area.height);
    Rect { y: area.y + number, height: (area.height - number).min(1), ..area }
}

/// A text in lines of at most so many characters, broken at spaces where there are any.
pub(super) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        loop {
            let line = lines.last_mut().expect("there is a first line");
            let room = columns.saturating_sub(line.chars().count() + usize::from(!line.is_empty()));
            if word.len() <= room {
                line.extend((!line.is_empty()).then_some(' '));
                line.extend(&word);
                break;
            }
            if line.is_empty() {
                line.extend(word.drain(..columns));
            }
            lines.push(String::new());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_clipped_and_made_harmless() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 6, 1));
        let mut pen = Pen { buffer: &mut buffer, look: Look { colour: false, unicode: false } };
        pen.text(Rect::new(4, 0, 10, 1), "abc", Style::new());
        pen.text(Rect::new(0, 0, 3, 1), "µ\u{1b}[1m", Style::new());
        pen.text(Rect::new(0, 5, 3, 1), "below", Style::new());
        assert_eq!(buffer, Buffer::with_lines(["?[1 ab"]));
    }

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(wrapped("a server is gone", 8), ["a server", "is gone"]);
        assert_eq!(wrapped("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrapped("", 3), [""]);
    }

    proptest! {
        #[test]
        fn wrapping_loses_nothing_and_keeps_to_the_width(text in "[a-z ]{0,60}", columns in 0_usize..20) {
            let lines = wrapped(&text, columns);
            prop_assert!(lines.iter().all(|line| line.chars().count() <= columns.max(1)));
            let letters = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
        }
    }
}
