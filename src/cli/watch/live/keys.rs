//! Which key does what.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What a user can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The next instrument.
    Next,
    /// The one before.
    Previous,
    /// More levels of the book.
    Deeper,
    /// Fewer.
    Shallower,
    /// Holds the tape, or lets it go.
    Pause,
    /// Shows the keys, or hides them.
    Help,
    /// One step back: out of the help, else out of the program.
    Back,
    /// Out of the program.
    Quit,
    /// Draws everything anew: something else wrote to the terminal.
    Redraw,
}

/// The keys, as the help shows them.
pub(super) const KEYS: [(&str, &str); 6] = [
    ("n, p", "next, previous instrument"),
    ("+, -", "more, fewer levels of the book"),
    ("space", "hold the tape, let it go"),
    ("Ctrl-L", "draw everything anew"),
    ("?", "these keys"),
    ("q, Esc", "quit (Ctrl-C too)"),
];

/// What a key asks for.
pub(super) fn action(key: KeyEvent) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c' | 'C' | 'd' | 'D') => Some(Action::Quit),
            KeyCode::Char('l' | 'L') => Some(Action::Redraw),
            _ => None,
        };
    }
    match key.code {
        KeyCode::Char('n') | KeyCode::Right | KeyCode::Tab => Some(Action::Next),
        KeyCode::Char('p') | KeyCode::Left | KeyCode::BackTab => Some(Action::Previous),
        KeyCode::Char('+' | '=') | KeyCode::Up => Some(Action::Deeper),
        KeyCode::Char('-' | '_') | KeyCode::Down => Some(Action::Shallower),
        KeyCode::Char(' ') => Some(Action::Pause),
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => Some(Action::Help),
        KeyCode::Esc => Some(Action::Back),
        KeyCode::Char('q' | 'Q') => Some(Action::Quit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_what_the_help_says() {
        let plain = |code| action(KeyEvent::new(code, KeyModifiers::NONE));
        let control = |c| action(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL));
        assert_eq!([plain(KeyCode::Char('n')), plain(KeyCode::Right)], [Some(Action::Next); 2]);
        assert_eq!([plain(KeyCode::Char('p')), plain(KeyCode::Left)], [Some(Action::Previous); 2]);
        assert_eq!([plain(KeyCode::Char('+')), plain(KeyCode::Up)], [Some(Action::Deeper); 2]);
        assert_eq!([plain(KeyCode::Char('-')), plain(KeyCode::Down)], [Some(Action::Shallower); 2]);
        assert_eq!(plain(KeyCode::Char(' ')), Some(Action::Pause));
        assert_eq!(plain(KeyCode::Char('?')), Some(Action::Help));
        assert_eq!([plain(KeyCode::Char('q')), control('c')], [Some(Action::Quit); 2]);
        assert_eq!(plain(KeyCode::Esc), Some(Action::Back));
        assert_eq!(control('l'), Some(Action::Redraw));
        assert_eq!([plain(KeyCode::Char('c')), control('n'), plain(KeyCode::Char('x'))], [None; 3]);
        let released = KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(action(released), None, "a key acts once");
    }
}
