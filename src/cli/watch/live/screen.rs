//! The terminal: taken over while the view runs, given back as it was however the view ends.

use std::io::{self, BufWriter, Stdout, Write};
use std::panic;
use std::sync::Once;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::{Hide, MoveTo, Show};
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, is_raw_mode_enabled,
};
use ratatui::crossterm::{execute, queue};
use ratatui::layout::Rect;

/// The terminal as long as the view has it.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    /// Dropped last.
    _taken: Taken,
}

/// Gives the terminal back when dropped.
struct Taken;

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

impl Screen {
    /// Takes the terminal: no echo, no line editing, a screen of its own.
    ///
    /// # Errors
    /// There is no terminal, or it is gone.
    pub fn take() -> io::Result<Screen> {
        give_back_before_a_panic_is_told();
        enable_raw_mode()?;
        let taken = Taken;
        execute!(io::stdout(), EnterAlternateScreen, Clear(ClearType::All), Hide)?;
        let terminal = Terminal::new(CrosstermBackend::new(BufWriter::new(io::stdout())))?;
        Ok(Screen { terminal, _taken: taken })
    }

    /// Rows it has.
    pub fn rows(&self) -> usize {
        // Where the size cannot be told, drawing says so.
        self.terminal.size().map_or(0, |size| size.height.into())
    }

    /// Forgets what is on it, so that the next drawing writes every cell.
    pub fn clear(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }

    /// Draws, and writes the cells that differ.
    ///
    /// # Errors
    /// The terminal is gone, or was given back because something panicked.
    pub fn draw(&mut self, draw: impl FnOnce(Rect, &mut Buffer)) -> io::Result<()> {
        if !is_raw_mode_enabled().unwrap_or(false) {
            return Err(io::Error::other("a part of the program failed; what it said stands above"));
        }
        // A terminal that knows this shows the frame at once, others pass over it.
        queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        self.terminal.draw(|frame| draw(frame.area(), frame.buffer_mut()))?;
        execute!(self.terminal.backend_mut(), EndSynchronizedUpdate)
    }
}

/// Gives the terminal back, once: its own screen, its cursor, echo and line editing.
fn give_back() {
    if is_raw_mode_enabled().unwrap_or(false) {
        let mut out = io::stdout();
        // Cleared for terminals that have one screen only. If this cannot be written, nobody is left to see it.
        let _ = execute!(out, Clear(ClearType::All), MoveTo(0, 0), LeaveAlternateScreen, Show);
        let _ = out.flush();
        let _ = disable_raw_mode();
    }
}

/// What a panic says must be readable, and must not go with the view's screen.
fn give_back_before_a_panic_is_told() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            tell(info);
        }));
    });
}

#[cfg(test)]
mod tests;
