//! The screen on real pseudo-terminals of different capabilities. It shows a capture, which needs no privileges, and
//! nothing changes any more when the capture is read.

mod job_control;
#[path = "../leaving/terminal.rs"]
mod terminal;

use std::time::Duration;

use portable_pty::CommandBuilder;
use vt100::Screen;

use crate::terminal::{Terminal, tcptop};

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(30);
const CAPTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../screenshots/capture.pcap.gz");

/// tcptop that replays the capture.
fn replay(arguments: &[&str]) -> CommandBuilder {
    let mut command = tcptop();
    command.args(["replay", CAPTURE, "--local", "10.20.0.5", "--local", "2001:db8:20::5"]);
    command.args(arguments);
    command.env("TZ", "UTC");
    command
}

/// Whether the screen shows the whole capture, up to the time of its last packet.
fn is_read(screen: &Screen) -> bool {
    let shown = screen.contents();
    screen.alternate_screen() && shown.contains("14:02:3") && shown.contains("10.20.9.7:443")
}

fn shown(command: CommandBuilder) -> Terminal {
    let terminal = Terminal::run(command, 80, 24);
    terminal.wait_screen("the end of the capture", PATIENCE, is_read);
    terminal
}

fn contains(terminal: &Terminal, what: &str) -> bool {
    let written = terminal.written();
    written.windows(what.len()).any(|bytes| bytes == what.as_bytes())
}

/// Ends tcptop with a key, which it must still receive.
fn quit(mut terminal: Terminal) {
    terminal.keys("q");
    assert!(terminal.wait().success());
}

#[test]
fn many_resizes() {
    let mut terminal = shown(replay(&[]));
    let mut random = 1_u32;
    let mut size = |most: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u16::try_from(1 + (random >> 16) % most).expect("small")
    };
    for step in 0..300 {
        terminal.resize(size(250), size(90));
        if step % 10 == 0 {
            terminal.resize(1, 1);
            terminal.keys(["j", "k", "2", "3", "4", "1"][step / 10 % 6]);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    for (columns, rows) in [(1, 1), (120, 40), (80, 24)] {
        terminal.resize(columns, rows);
    }
    terminal.wait_screen("a whole frame", PATIENCE, |screen| {
        let lines: Vec<String> = screen.rows(0, 80).collect();
        lines[0].starts_with("tcptop capture.pcap.gz replay")
            && lines[0].ends_with("14:02:30")
            && lines[23].starts_with("q quit  ? help")
    });
    quit(terminal);
}

#[test]
fn the_smallest_terminal_starts_and_ends() {
    let terminal = Terminal::run(replay(&[]), 1, 1);
    terminal.wait_screen("the other screen", PATIENCE, Screen::alternate_screen);
    quit(terminal);
}

/// The size of a serial console is 0 columns by 0 rows.
#[test]
fn a_terminal_without_a_size_gets_the_usual_one() {
    let terminal = Terminal::run_without_size(replay(&[]));
    terminal.wait_screen("the end of the capture", PATIENCE, is_read);
    quit(terminal);
}

/// Some terminals never answer, so no query may be sent.
#[test]
fn no_query_is_sent_to_the_terminal() {
    let mut terminal = shown(replay(&[]));
    terminal.keys("\u{c}");
    terminal.resize(100, 30);
    terminal.wait_screen("drawn anew", PATIENCE, |screen| {
        screen.rows(0, 100).nth(29).is_some_and(|line| line.starts_with("q quit"))
    });
    for question in
        ["\u{1b}[6n", "\u{1b}[5n", "\u{1b}[c", "\u{1b}[>c", "\u{1b}[?u", "\u{1b}]10;?", "\u{1b}]11;?"]
    {
        assert!(!contains(&terminal, question), "{question:?}");
    }
    quit(terminal);
}

/// Without a UTF-8 locale, and on the Linux console, only ASCII is written.
#[test]
fn only_ascii_without_utf_8() {
    let settings: [(&[&str], &str, &str); 3] =
        [(&[], "LC_ALL", "C"), (&[], "TERM", "linux"), (&["--ascii"], "TERM", "xterm")];
    for (arguments, name, value) in settings {
        let mut command = replay(arguments);
        command.env(name, value);
        let mut terminal = shown(command);
        for keys in ["jjl", "2", "3", "4", "?"] {
            terminal.keys(keys);
        }
        terminal.wait_screen("the help", PATIENCE, |screen| screen.contents().contains("Letters"));
        assert!(terminal.written().is_ascii(), "{name}={value}");
        quit(terminal);
    }
}

#[test]
fn colours_on_request() {
    // Palette colours, as crossterm writes them.
    let has_colours = |arguments: &[&str], no_color: &str| {
        let mut command = replay(arguments);
        command.env("NO_COLOR", no_color);
        let terminal = shown(command);
        let has = contains(&terminal, "\u{1b}[38;5;");
        assert!(!contains(&terminal, "\u{1b}[48;5;"), "no background is painted");
        quit(terminal);
        has
    };
    assert!(has_colours(&[], "") && has_colours(&["--color", "always"], "1"));
    assert!(!has_colours(&[], "1") && !has_colours(&["--color", "never"], ""));
}

/// Yellow of the 16 colours cannot be read on white.
#[test]
fn colours_suit_the_background() {
    // Yellow, the brown for light backgrounds, and the olive for either.
    let colours = ["\u{1b}[38;5;11;", "\u{1b}[38;5;3;", "\u{1b}[38;5;130;", "\u{1b}[38;5;100;"];
    let used = |arguments: &[&str], colorfgbg: &str| {
        let mut command = replay(arguments);
        command.env("TERM", "xterm-256color");
        command.env("COLORFGBG", colorfgbg);
        let terminal = shown(command);
        let used = colours.map(|colour| contains(&terminal, colour));
        quit(terminal);
        [used[0] || used[1], used[2], used[3]]
    };
    let (dark, light, either) = ([true, false, false], [false, true, false], [false, false, true]);
    assert_eq!(used(&[], ""), either);
    assert_eq!(used(&[], "15;0"), dark);
    assert_eq!(used(&[], "0;15"), light);
    assert_eq!(used(&["--theme", "light"], "15;0"), light);
    assert_eq!(used(&["--theme", "dark"], "0;15"), dark);
}

#[test]
fn a_dumb_terminal_gets_lines() {
    let mut command = replay(&[]);
    command.env("TERM", "dumb");
    let mut terminal = Terminal::run(command, 80, 24);
    assert!(terminal.wait().success());
    terminal.wait_screen("the summary", PATIENCE, |screen| screen.contents().contains("missed 0"));
    assert!(!terminal.written().contains(&0x1b));
}

/// A process without a controlling terminal gets no SIGHUP when the connection drops, and has to detect it.
#[test]
fn a_dropped_connection_is_seen_without_a_signal() {
    let tcptop = replay(&[]);
    let mut command = CommandBuilder::new("setsid");
    command.arg("--wait");
    command.args(tcptop.get_argv());
    for (name, value) in tcptop.iter_extra_env_as_str() {
        command.env(name, value);
    }
    let mut terminal = shown(command);
    terminal.hang_up();
    terminal.wait();
}

#[test]
fn a_row_is_copied_by_the_terminal() {
    let mut terminal = shown(replay(&[]));
    terminal.keys("y");
    terminal.wait_screen("what was done", PATIENCE, |screen| screen.contents().contains("clipboard"));
    // "N 10.20.9.7:443", in base 64.
    assert!(contains(&terminal, "\u{1b}]52;c;TiAxMC4yMC45Ljc6NDQz"));
    quit(terminal);
}

#[test]
fn the_mouse_is_captured_only_on_request() {
    let terminal = shown(replay(&[]));
    assert!(!contains(&terminal, "\u{1b}[?1000h"));
    quit(terminal);
    let mut terminal = shown(replay(&["--mouse"]));
    assert!(contains(&terminal, "\u{1b}[?1000h"));
    // One step of the wheel moves three rows down (SGR mouse mode).
    terminal.keys("\u{1b}[<65;10;10M");
    terminal.wait_screen("the fourth row", PATIENCE, |screen| {
        screen.rows(0, 80).nth(6).is_some_and(|line| line.contains('▸'))
    });
    quit(terminal);
}

#[test]
fn the_last_screen_stays_on_request() {
    let mut terminal = shown(replay(&[]));
    terminal.keys("Q");
    assert!(terminal.wait().success());
    terminal.wait_screen("both", PATIENCE, |screen| {
        let shown = screen.contents();
        !screen.alternate_screen() && shown.contains("PORT OUTCOME") && shown.contains("--- tcptop ")
    });
}

#[test]
fn a_slow_resolver_delays_nothing() {
    let mut terminal = shown(replay(&[]));
    terminal.keys("nj");
    terminal.wait_screen("the second row", PATIENCE, |screen| {
        screen.rows(0, 80).nth(4).is_some_and(|line| line.contains('▸'))
    });
    quit(terminal);
}

#[test]
fn columns_are_chosen() {
    let terminal = shown(replay(&["--columns", "p99,peer,since"]));
    terminal.wait_screen("three columns", PATIENCE, |screen| {
        let head = screen.rows(0, 80).nth(2).expect("24 rows");
        head.split_whitespace()
            .filter(|word| word.starts_with(char::is_alphabetic))
            .eq(["P99", "PEER", "SINCE"])
    });
    quit(terminal);
}
