//! A panic: the terminal is given back before the message, which would be lost on the other screen.

use std::io::Read;
use std::thread;

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use tcptop::tui::terminal::TerminalSession;

/// Set for this program when it is started again on a terminal, to panic.
const INNER: &str = "TCPTOP_TEST_PANICS";
const MESSAGE: &str = "what went wrong";
const LEAVE: &str = "\u{1b}[?1049l";

#[test]
fn a_panic_is_reported_on_the_normal_screen() {
    if std::env::var_os(INNER).is_some() {
        panic_on_the_screen();
    }
    let size = PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 };
    let pair = native_pty_system().openpty(size).unwrap();
    let before = pair.master.get_termios().unwrap();
    let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_panic_is_reported_on_the_normal_screen", "--nocapture"]);
    command.env(INNER, "1");
    command.env("RUST_BACKTRACE", "0");
    let mut child = pair.slave.spawn_command(command).unwrap();
    let mut source = pair.master.try_clone_reader().unwrap();
    let reader = thread::spawn(move || {
        let mut written = Vec::new();
        // It ends with an error, where a pipe would just end.
        let _ = source.read_to_end(&mut written);
        String::from_utf8_lossy(&written).into_owned()
    });
    child.wait().unwrap();
    assert_eq!(pair.master.get_termios().unwrap(), before, "the terminal's settings");
    drop(pair);
    let written = reader.join().unwrap();
    let (on_screen, afterwards) = written.split_once(LEAVE).expect("the screen is left");
    assert!(on_screen.contains("drawn") && !on_screen.contains(MESSAGE), "{on_screen:?}");
    assert!(afterwards.contains(MESSAGE) && !afterwards.contains("drawn"), "{afterwards:?}");
    assert!(afterwards.contains("\u{1b}[?25h") || on_screen.contains("\u{1b}[?25h"), "the cursor is back");
}

/// Draws all the time in one thread, as the screen's does, and panics in another.
fn panic_on_the_screen() -> ! {
    let mut session = TerminalSession::enter(false).expect("a terminal");
    let draw = |session: &mut TerminalSession, number: u32| {
        let text = format!("drawn {number}");
        session.draw(|frame| frame.render_widget(text, frame.area())).expect("it is open");
    };
    draw(&mut session, 0);
    // Until the process ends.
    thread::spawn(move || (1..1_000_000).for_each(|number| draw(&mut session, number)));
    panic!("{MESSAGE}");
}
