//! A terminal for the program under test: the kernel's pseudo-terminal, and `vt100`, which understands what is written
//! to it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};
use rustix::termios::{Termios, tcgetattr};

use super::server::PATIENCE;

/// How the program begins each drawing.
const FRAME: &[u8] = b"\x1b[?2026h";

/// A terminal in which `tickcast watch` runs.
pub struct Terminal {
    pty: Pty,
    /// The program's end, held so that the terminal outlives it.
    held: Option<OwnedFd>,
    child: Child,
    /// What the program writes.
    output: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    /// All that it has written.
    pub written: Vec<u8>,
    before: Termios,
}

/// What the program left behind.
pub struct Left {
    pub status: ExitStatus,
    /// What can be read on the terminal.
    pub text: String,
}

impl Terminal {
    /// Starts `tickcast watch` with these arguments, 80 columns by 24 rows, in this environment and no other.
    pub fn watch(arguments: &[&str], environment: &[(&str, &str)]) -> Terminal {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(24, 80)).unwrap();
        let held = pts.as_fd().try_clone_to_owned().unwrap();
        let before = tcgetattr(&held).unwrap();
        let mut reader = File::from(pty.as_fd().try_clone_to_owned().unwrap());
        let (sender, output) = channel();
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1_024];
            // An error is the end: the program's end of the terminal is closed.
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        let command = Command::new(env!("CARGO_BIN_EXE_tickcast")).arg("watch").args(arguments);
        let child = command.env_clear().envs(environment.iter().copied()).spawn(pts).unwrap();
        let screen = vt100::Parser::new(24, 80, 0);
        Terminal { pty, held: Some(held), child, output, screen, written: Vec::new(), before }
    }

    /// Types.
    pub fn keys(&mut self, keys: &str) {
        (&self.pty).write_all(keys.as_bytes()).unwrap();
    }

    /// Gives the terminal another size.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.screen.screen_mut().set_size(rows, columns);
        self.pty.resize(Size::new(rows, columns)).unwrap();
    }

    /// Sends a signal to the program.
    pub fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", name, &process]).status().unwrap().success());
    }

    /// What can be read now.
    pub fn text(&self) -> String {
        self.screen.screen().contents()
    }

    /// Drawings so far.
    pub fn frames(&self) -> usize {
        self.written.windows(FRAME.len()).filter(|bytes| *bytes == FRAME).count()
    }

    /// Waits until what can be read is as it should be, and returns it.
    #[track_caller]
    pub fn until(&mut self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if is_so(&text) {
                return text;
            }
            assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}:\n{text}");
            // What it is compared with may change too: looked at again now and then.
            if self.more(Duration::from_millis(200)) == Err(RecvTimeoutError::Disconnected) {
                panic!("{what}: it ended:\n{text}");
            }
        }
    }

    /// Waits until it has drawn so often.
    #[track_caller]
    pub fn until_frames(&mut self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.frames() < count {
            assert!(Instant::now() < deadline, "it draws no more:\n{}", self.text());
            self.more(PATIENCE).expect("it draws");
        }
    }

    /// Waits for these parts of the text.
    #[track_caller]
    pub fn until_text(&mut self, parts: &[&str]) -> String {
        self.until(&format!("{parts:?}"), |text| parts.iter().all(|part| text.contains(part)))
    }

    /// Takes what it writes next, within this time.
    pub fn more(&mut self, within: Duration) -> Result<(), RecvTimeoutError> {
        let bytes = self.output.recv_timeout(within)?;
        self.screen.process(&bytes);
        self.written.extend(bytes);
        Ok(())
    }

    /// Waits for the end of the program. The terminal must be as it was before.
    #[track_caller]
    pub fn end(mut self) -> Left {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.text());
            // It may wait for its output to be taken.
            let _ = self.more(Duration::from_millis(5));
        };
        let after = tcgetattr(self.held.as_ref().unwrap()).unwrap();
        self.held = None;
        while self.more(PATIENCE).is_ok() {}
        let modes = |it: &Termios| (it.input_modes, it.output_modes, it.control_modes, it.local_modes);
        assert_eq!(modes(&after), modes(&self.before), "echo, line editing and the rest are as before");
        let screen = self.screen.screen();
        assert!(!screen.alternate_screen(), "the screen of before is back");
        assert!(!screen.hide_cursor(), "the cursor is back");
        Left { status, text: screen.contents() }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
