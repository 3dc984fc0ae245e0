//! The screen on a real pseudo-terminal, and on terminals that can do little. It shows a capture: no rights are
//! needed, and once that is read nothing changes by itself.

mod job_control;
#[path = "../leaving/terminal.rs"]
mod terminal;

use std::time::Duration;

use portable_pty::CommandBuilder;
use vt100::Screen;

use crate::terminal::{Terminal, tcptop};

/// Far beyond what anything here takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(30);
const CAPTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../screenshots/capture.pcap.gz");

/// tcptop that shows the capture.
fn replay(arguments: &[&str]) -> CommandBuilder {
    let mut command = tcptop();
    command.args(["replay", CAPTURE, "--local", "10.20.0.5", "--local", "2001:db8:20::5"]);
    command.args(arguments);
    command.env("TZ", "UTC");
    command
}

/// It is shown whole: nothing of the last packet's time is missing.
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

/// Ends tcptop by a key, which it must still hear.
fn quit(mut terminal: Terminal) {
    terminal.keys("q");
    assert!(terminal.wait().success());
}

#[test]
fn a_storm_of_sizes_is_survived() {
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

/// A serial console does not tell its size: 0 columns of 0 rows.
#[test]
fn a_terminal_without_a_size_gets_the_usual_one() {
    let terminal = Terminal::run_untold(replay(&[]));
    terminal.wait_screen("the end of the capture", PATIENCE, is_read);
    quit(terminal);
}

/// Some terminals never answer: nothing may be asked.
#[test]
fn nothing_is_asked_of_the_terminal() {
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

/// What a terminal gets that is not known to understand UTF-8: without it, or one with a font of few characters.
#[test]
fn ascii_alone_where_nothing_else_is_understood() {
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
fn colours_where_they_are_wanted() {
    // The colours of the palette, as crossterm writes them.
    let has_colours = |arguments: &[&str], no_color: &str| {
        let mut command = replay(arguments);
        command.env("NO_COLOR", no_color);
        let terminal = shown(command);
        let has = contains(&terminal, "\u{1b}[38;5;");
        assert!(!contains(&terminal, "\u{1b}[48;5;"), "nothing is painted behind text");
        quit(terminal);
        has
    };
    assert!(has_colours(&[], "") && has_colours(&["--color", "always"], "1"));
    assert!(!has_colours(&[], "1") && !has_colours(&["--color", "never"], ""));
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

/// Without a terminal of its own a process gets no SIGHUP when the connection drops: it has to see it by itself.
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
fn the_mouse_is_the_terminals_unless_it_is_asked_for() {
    let terminal = shown(replay(&[]));
    assert!(!contains(&terminal, "\u{1b}[?1000h"));
    quit(terminal);
    let mut terminal = shown(replay(&["--mouse"]));
    assert!(contains(&terminal, "\u{1b}[?1000h"));
    // Three rows down by one turn of the wheel, as SGR tells it.
    terminal.keys("\u{1b}[<65;10;10M");
    terminal.wait_screen("the fourth row", PATIENCE, |screen| {
        screen.rows(0, 80).nth(6).is_some_and(|line| line.contains('▸'))
    });
    quit(terminal);
}

#[test]
fn the_last_screen_stays_if_that_is_wanted() {
    let mut terminal = shown(replay(&[]));
    terminal.keys("Q");
    assert!(terminal.wait().success());
    terminal.wait_screen("both", PATIENCE, |screen| {
        let shown = screen.contents();
        !screen.alternate_screen()
            && shown.contains("── flows of 10.20.9.7:443")
            && shown.contains("--- tcptop ")
    });
}

#[test]
fn names_that_do_not_come_hold_nothing_up() {
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
