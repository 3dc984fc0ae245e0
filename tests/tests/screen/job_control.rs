//! Ctrl-Z and `fg`, in a shell.

use std::fs;

use lab::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use portable_pty::CommandBuilder;

use crate::terminal::{Terminal, fresh_settings};
use crate::{PATIENCE, is_read, replay, shown};

/// A shell with job control on a terminal, and tcptop in its foreground.
fn shell() -> Terminal {
    let tcptop = replay(&[]);
    let words: Vec<_> = tcptop.get_argv().iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut command = CommandBuilder::new("sh");
    command.args(["-i"]);
    for (name, value) in tcptop.iter_extra_env_as_str() {
        command.env(name, value);
    }
    command.env("PS1", "ready: ");
    command.env_remove("ENV");
    let mut terminal = Terminal::run(command, 80, 24);
    terminal.wait_screen("the shell", PATIENCE, |screen| screen.contents().contains("ready:"));
    terminal.keys(&format!("{}\n", words.join(" ")));
    terminal.wait_screen("tcptop", PATIENCE, is_read);
    terminal
}

/// The shell's child.
fn tcptop_of(terminal: &Terminal) -> Pid {
    let shell = terminal.process();
    let children =
        fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).expect("the kernel tells");
    Pid::from_raw(children.split_whitespace().next().expect("tcptop").parse().expect("a number"))
}

fn assert_stopped(terminal: &Terminal) {
    terminal.wait_screen("the shell's screen", PATIENCE, |screen| {
        !screen.alternate_screen() && !screen.hide_cursor() && screen.contents().contains("Stopped")
    });
}

fn go_on(terminal: &mut Terminal) {
    terminal.keys("fg\n");
    // After SIGSTOP the terminal still shows tcptop's screen, with the shell's messages on top. It is also still raw:
    // until tcptop draws again, the shell may read what is typed next together with `fg`.
    terminal.wait_screen("tcptop again", PATIENCE, |screen| {
        let shown = screen.contents();
        is_read(screen)
            && screen.hide_cursor()
            && shown.starts_with("tcptop")
            && !shown.contains("Stopped")
            && !shown.contains("ready:")
    });
}

#[test]
fn the_shell_gets_the_terminal_and_returns_it() {
    let mut terminal = shell();
    // By the key, by SIGTSTP, and by SIGSTOP, which cannot be handled.
    terminal.keys("\u{1a}");
    assert_stopped(&terminal);
    go_on(&mut terminal);
    kill(tcptop_of(&terminal), Signal::SIGTSTP).unwrap();
    assert_stopped(&terminal);
    go_on(&mut terminal);
    kill(tcptop_of(&terminal), Signal::SIGSTOP).unwrap();
    terminal.wait_screen("the shell's word", PATIENCE, |screen| screen.contents().contains("Stopped"));
    go_on(&mut terminal);
    terminal.keys("q");
    terminal.wait_screen("the end", PATIENCE, |screen| {
        let shown = screen.contents();
        !screen.alternate_screen() && shown.contains("--- tcptop ") && shown.trim_end().ends_with("ready:")
    });
}

/// Keys that are typed while tcptop is stopped are read when it continues, in whatever mode the terminal is by then.
#[test]
fn keys_typed_while_stopped_are_read() {
    for cooked in [false, true] {
        let mut terminal = shown(replay(&[]));
        let raw = terminal.settings();
        terminal.signal(Signal::SIGSTOP);
        if cooked {
            terminal.set_settings(&fresh_settings());
        }
        terminal.keys("2");
        terminal.signal(Signal::SIGCONT);
        terminal.wait_screen("another view", PATIENCE, |screen| screen.contents().contains("── flows: "));
        assert_eq!(terminal.settings(), raw);
        terminal.keys("q");
        assert!(terminal.wait().success());
        assert_eq!(terminal.settings(), fresh_settings());
    }
}

/// Without a shell that could resume tcptop, Ctrl-Z must not leave a dead terminal.
#[test]
fn without_a_shell_nothing_stops() {
    let mut terminal = shown(replay(&[]));
    terminal.keys("\u{1a}");
    terminal.keys("2");
    terminal.wait_screen("another view", PATIENCE, |screen| {
        is_read(screen) && screen.contents().contains("── flows: ")
    });
    terminal.keys("q");
    assert!(terminal.wait().success());
}
