//! A panic while the view has the terminal, seen from the other end of that terminal: this test starts itself again in a
//! pseudo-terminal.

use std::io::Read;
use std::os::fd::AsFd;

use pty_process::Size;
use pty_process::blocking::{Command, open};
use ratatui::style::Style;
use rustix::termios::{LocalModes, tcgetattr};

use super::Screen;

/// Set for the process that panics.
const INSIDE: &str = "TICKCAST_TEST_SCREEN_PANICS";

#[test]
fn a_panic_gives_the_terminal_back_before_it_is_told() {
    if std::env::var_os(INSIDE).is_some() {
        let mut screen = Screen::take().unwrap();
        screen.draw(|area, buffer| buffer.set_string(area.x, area.y, "drawn", Style::new())).unwrap();
        panic!("on purpose");
    }
    let (mut pty, pts) = open().unwrap();
    pty.resize(Size::new(24, 80)).unwrap();
    // Held, so that the terminal outlives the process.
    let terminal = pts.as_fd().try_clone_to_owned().unwrap();
    let mode = || tcgetattr(&terminal).unwrap().local_modes;
    let before = mode();
    assert!(before.contains(LocalModes::ECHO | LocalModes::ICANON));

    let path = std::thread::current().name().unwrap().to_owned();
    let command = Command::new(std::env::current_exe().unwrap());
    let arguments = ["--exact", &path, "--nocapture", "--test-threads=1"];
    let mut child = command.args(arguments).env(INSIDE, "1").env("TERM", "xterm").spawn(pts).unwrap();
    assert!(!child.wait().unwrap().success(), "it panicked");
    assert_eq!(mode(), before);
    drop(terminal);

    let mut output = Vec::new();
    // At its end there is an error: nobody has the other end any more.
    let _ = pty.read_to_end(&mut output);
    let output = String::from_utf8_lossy(&output);
    let at = |part: &str| output.find(part).unwrap_or_else(|| panic!("no {part:?} in {output:?}"));
    let order = ["\x1b[?1049h", "drawn", "\x1b[?1049l", "\x1b[?25h", "on purpose"].map(at);
    assert!(order.is_sorted(), "taken, drawn, given back, told: {output:?}");
}
