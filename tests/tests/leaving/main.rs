//! Hard case `clean-exit`: however tcptop ends, nothing stays attached, the terminal is as it was, and the exit code
//! says what happened.

mod terminal;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use aya::programs::{SchedClassifier, TcAttachType};
use lab::{Clients, Medium, Mode, Namespace, Port, Server, Signal, Tcptop, connect_many};

use vt100::Screen;

use crate::terminal::{Terminal, fresh_settings};

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a terminal may stay in raw mode after tcptop was killed.
const AFTERMATH: Duration = Duration::from_secs(2);

/// The number of programs attached at (ingress, egress).
fn attached(namespace: &Namespace, interface: &str) -> (usize, usize) {
    let at = |hook| SchedClassifier::query_tcx(interface, hook).expect("the kernel has TCX").1.len();
    namespace.run(|| (at(TcAttachType::Ingress), at(TcAttachType::Egress)))
}

fn assert_nothing_attached(namespace: &Namespace, interface: &str) {
    let deadline = Instant::now() + AFTERMATH;
    loop {
        let left = attached(namespace, interface);
        if left == (0, 0) {
            return;
        }
        assert!(Instant::now() < deadline, "still attached: {left:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A namespace with an interface that has both hooks.
fn bench() -> (Namespace, Port) {
    let namespace = Namespace::new().expect("a namespace");
    let port = Port::new(&namespace, "tap0", Medium::Ethernet).expect("an interface");
    (namespace, port)
}

fn server(namespace: &Namespace) -> Server {
    let address = SocketAddr::from(([127, 0, 0, 1], 80));
    Server::bind(namespace, address, Mode::CloseAtOnce).expect("a server")
}

#[test]
fn signals_to_text_output() {
    lab::needs_root!();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL] {
        let (namespace, _port) = bench();
        let tcptop = Tcptop::spawn(&namespace, ["tap0", "--text"]).unwrap();
        tcptop.wait_ready(PATIENCE).unwrap();
        assert_eq!(attached(&namespace, "tap0"), (1, 1));
        tcptop.signal(signal).unwrap();
        let output = tcptop.wait(PATIENCE).unwrap();
        assert_nothing_attached(&namespace, "tap0");
        let summary = output.stdout.iter().any(|line| line.text == "--- tcptop tap0 ---");
        if signal == Signal::SIGKILL {
            assert_eq!((output.status.signal(), summary), (Some(signal as i32), false), "{output:?}");
        } else {
            assert_eq!((output.status.code(), summary), (Some(0), true), "{signal}: {output:?}");
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Leave {
    By(Signal),
    Typed(&'static str),
}

/// Ends tcptop on a terminal, and asserts that the terminal is as it was.
fn leave(way: Leave) {
    let (namespace, _port) = bench();
    let mut terminal = Terminal::start(&namespace, &["tap0"]);
    terminal.wait_screen("the screen", PATIENCE, |screen| {
        screen.alternate_screen() && screen.hide_cursor() && screen.contents().contains("tap0")
    });
    assert_eq!(attached(&namespace, "tap0"), (1, 1));
    let raw = terminal.settings();
    match way {
        Leave::By(signal) => terminal.signal(signal),
        Leave::Typed(keys) => terminal.keys(keys),
    }
    let status = terminal.wait();
    assert_nothing_attached(&namespace, "tap0");
    let killed = matches!(way, Leave::By(Signal::SIGKILL));
    if killed {
        assert_eq!(status.signal(), Some("Killed"), "{way:?}");
    } else {
        assert!(status.success(), "{way:?}: {status}");
    }
    terminal.wait_screen(&format!("restored after {way:?}"), AFTERMATH, |screen| {
        !screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste()
    });
    let deadline = Instant::now() + AFTERMATH;
    while terminal.settings() != fresh_settings() {
        assert!(Instant::now() < deadline, "after {way:?}: {:?}", terminal.settings());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_ne!(raw, fresh_settings(), "the screen needs single keys");
    if !killed {
        terminal.wait_screen("the summary", PATIENCE, |screen| {
            let shown = screen.contents();
            shown.contains("--- tcptop tap0 ---") && shown.contains("missed 0")
        });
    }
}

#[test]
fn signals_to_the_screen() {
    if lab::require_root() {
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().map(Leave::By).for_each(leave);
    }
}

/// No handler runs: the guard process that tcptop started restores the terminal.
#[test]
fn sigkill_restores_the_terminal() {
    if lab::require_root() {
        leave(Leave::By(Signal::SIGKILL));
    }
}

#[test]
fn keys_that_quit() {
    if lab::require_root() {
        ["q", "\u{3}", "\u{1b}[21~"].into_iter().map(Leave::Typed).for_each(leave);
    }
}

/// The connection drops: there is no terminal to restore any more, and tcptop ends instead of spinning.
#[test]
fn a_terminal_that_hangs_up() {
    lab::needs_root!();
    let (namespace, _port) = bench();
    let mut terminal = Terminal::start(&namespace, &["tap0"]);
    terminal.wait_screen("the screen", PATIENCE, Screen::alternate_screen);
    terminal.hang_up();
    terminal.wait();
    assert_nothing_attached(&namespace, "tap0");
}

/// tcptop with this as its standard output.
fn spawn(namespace: &Namespace, arguments: &[&str], stdout: Stdio) -> Child {
    let mut command = Command::new(lab::tcptop::binary().expect("it is built"));
    command.args(arguments).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
    namespace.enter_command(&mut command).spawn().expect("it starts")
}

/// Waits for the end; returns its status and standard error.
fn end(mut child: Child) -> (ExitStatus, String) {
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    (child.wait().expect("it is our child"), said)
}

/// `tcptop --text lo | head -1`
#[test]
fn a_closed_pipe_ends_the_run_quietly() {
    lab::needs_root!();
    let namespace = Namespace::new().unwrap();
    let server = server(&namespace);
    for mode in ["--text", "--json"] {
        let mut child = spawn(&namespace, &["lo", mode], Stdio::piped());
        let _clients = Clients::every(&namespace, server.address(), Duration::from_millis(5)).unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(first.contains("established"), "{first}");
        let (status, said) = end(child);
        assert_eq!(status.code(), Some(0), "{said}");
        assert_eq!(said.lines().count(), 1, "nothing but `watching`: {said}");
        assert_nothing_attached(&namespace, "lo");
    }
}

#[test]
fn a_full_disk_is_an_error() {
    lab::needs_root!();
    let namespace = Namespace::new().unwrap();
    let server = server(&namespace);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let child = spawn(&namespace, &["lo", "--text"], full.into());
    let _clients = Clients::every(&namespace, server.address(), Duration::from_millis(5)).unwrap();
    let (status, said) = end(child);
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write standard output") && said.contains("space"), "{said}");
    assert_nothing_attached(&namespace, "lo");
}

/// Hard case `stalled-reader`: while nobody reads the output, every handshake is counted, and reported when the reading
/// resumes.
#[test]
fn output_that_nobody_reads_does_not_stop_the_probe() {
    lab::needs_root!();
    const CONNECTIONS: usize = 2_000;
    let namespace = Namespace::new().unwrap();
    let server = server(&namespace);
    let mut child = spawn(&namespace, &["lo", "--json"], Stdio::piped());
    let mut said = BufReader::new(child.stderr.take().unwrap());
    said.read_line(&mut String::new()).unwrap();
    // Ten times what a pipe holds, and more records than one wake-up reads.
    let made = connect_many(&namespace, server.address(), CONNECTIONS, PATIENCE).unwrap();
    assert_eq!(made, CONNECTIONS);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let mut written = String::new();
    child.stdout.take().unwrap().read_to_string(&mut written).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let objects: Vec<_> = written.lines().map(lab::Object::parse).collect();
    assert_eq!(objects.iter().filter(|object| object.kind() == "handshake").count(), CONNECTIONS);
    let summary = objects.last().unwrap();
    assert_eq!((summary.kind(), summary.number("missed")), ("summary", Some(0)), "{summary:?}");
    assert_nothing_attached(&namespace, "lo");
}

/// A reader that never reads cannot keep tcptop from ending.
#[test]
fn output_that_is_never_read_does_not_delay_the_exit() {
    lab::needs_root!();
    let namespace = Namespace::new().unwrap();
    let server = server(&namespace);
    let mut child = spawn(&namespace, &["lo", "--json"], Stdio::piped());
    let unread = child.stdout.take().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    said.read_line(&mut String::new()).unwrap();
    connect_many(&namespace, server.address(), 500, PATIENCE).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest}");
    assert!(rest.contains("cannot write standard output"), "{rest}");
    assert_nothing_attached(&namespace, "lo");
    drop(unread);
}
