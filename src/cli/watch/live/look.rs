//! What the terminal can show: colours, and characters beyond ASCII.

use ratatui::style::{Color, Modifier, Style};

/// How to draw. Colours are the first eight of the terminal's palette, so that they fit what the user chose (crossterm
/// writes them in the form of 256 colours, `38;5;2`); whatever a colour says, a word, a place or a sign says too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Whether it shows colours.
    pub colour: bool,
    /// Whether it shows block characters and the like.
    pub unicode: bool,
}

/// Whether the terminal can place text at all (`TERM` is set, and not `dumb`).
pub fn can_place_text(variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

impl Look {
    /// Reads the environment: `NO_COLOR` (<https://no-color.org>), `TERM`, and the locale as setlocale(3) finds it.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Look {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        // Terminals of one colour by their names in terminfo: DEC's up to the VT420, and variants marked so.
        let one_colour = set("TERM").is_none_or(|term| {
            let dec =
                term.strip_prefix("vt").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            dec || term.ends_with("-m") || term.ends_with("-mono")
        });
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        Look {
            colour: set("NO_COLOR").is_none() && !one_colour,
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }

    fn coloured(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    /// Buyers, and what is well.
    pub fn bid(self) -> Style {
        self.coloured(Color::Green)
    }

    /// Sellers, and what is not well.
    pub fn ask(self) -> Style {
        self.coloured(Color::Red)
    }

    /// What wants attention.
    pub fn warn(self) -> Style {
        self.coloured(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    /// What matters most.
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Labels.
    pub fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn either(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.unicode { unicode } else { ascii }
    }

    /// A whole cell of a bar.
    pub fn block(self) -> &'static str {
        self.either("█", "#")
    }

    /// The half of a bar's end, for a bar that grows to the right, and for one that grows to the left.
    pub fn half(self, to_the_right: bool) -> &'static str {
        match to_the_right {
            true => self.either("▌", "#"),
            false => self.either("▐", "#"),
        }
    }

    /// Between two columns.
    pub fn upright(self) -> &'static str {
        self.either("│", "|")
    }

    /// Between bids and asks.
    pub fn level(self) -> &'static str {
        self.either("─", "-")
    }

    /// The corners of a frame: left and right above, left and right below.
    pub fn corners(self) -> [[&'static str; 2]; 2] {
        if self.unicode { [["┌", "┐"], ["└", "┘"]] } else { [["+"; 2]; 2] }
    }

    /// The sign in front of the connection's state.
    pub fn dot(self) -> &'static str {
        self.either("●", "*")
    }

    /// Whether a price went up or down.
    pub fn arrow(self, up: bool) -> &'static str {
        if up { self.either("▲", "^") } else { self.either("▼", "v") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(variables: &[(&str, &str)]) -> Look {
        Look::of(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn colour_is_used_where_the_terminal_has_it_and_nobody_minds() {
        let colour = |term, no_color| look(&[("TERM", term), ("NO_COLOR", no_color)]).colour;
        for term in ["xterm", "xterm-256color", "tmux", "screen", "linux", "vterm"] {
            assert!(colour(term, ""), "{term}: an empty NO_COLOR says nothing");
            assert!(!colour(term, "1"), "{term}");
        }
        for term in ["vt100", "vt220", "xterm-mono", "linux-m", ""] {
            assert!(!colour(term, ""), "{term}");
        }
        assert!(!look(&[]).colour);
        assert_eq!(Look { colour: false, unicode: true }.bid().fg, None);
        assert_eq!(Look { colour: false, unicode: true }.warn().fg, None);
    }

    #[test]
    fn the_first_locale_that_is_set_decides_on_characters() {
        let unicode = |variables| look(variables).unicode;
        assert!(unicode(&[("LANG", "en_US.UTF-8")]));
        assert!(unicode(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8"), ("LANG", "C")]));
        assert!(!unicode(&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")]));
        assert!(!unicode(&[("LANG", "de_DE.ISO-8859-1")]));
        assert!(!unicode(&[]));
    }

    #[test]
    fn a_dumb_terminal_cannot_place_text() {
        let can = |term: Option<&str>| can_place_text(|_| term.map(ToOwned::to_owned));
        assert!(can(Some("vt100")) && can(Some("xterm")));
        assert!(!can(Some("dumb")) && !can(Some("")) && !can(None));
    }
}
