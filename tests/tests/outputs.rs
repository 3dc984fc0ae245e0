//! Several outputs at once: each is complete and has its own figures, whatever happens to the others.

#[path = "leaving/terminal.rs"]
mod terminal;
#[path = "../../app/tests/support/validator.rs"]
mod validator;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lab::{Mode, Namespace, Object, Server, Signal, Tcptop, connect_many};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use vt100::Screen;

use crate::terminal::Terminal;

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(30);
const CONNECTIONS: usize = 200;

/// A namespace of its own with a server on loopback.
fn loopback() -> (Namespace, Server) {
    let namespace = Namespace::new().expect("a namespace");
    let address = SocketAddr::from(([127, 0, 0, 1], 80));
    let server = Server::bind(&namespace, address, Mode::CloseAtOnce).expect("a server");
    (namespace, server)
}

/// The schema of the repository.
fn schema() -> serde_json::Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tcptop.schema.json");
    let text = fs::read_to_string(path).expect("it is in the repository");
    serde_json::from_str(&text).expect("JSON")
}

/// A file that goes away with this.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("tcptop-{}-{name}", std::process::id())))
    }

    fn option(&self, option: &str) -> String {
        format!("--{option}={}", self.0.display())
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.0).unwrap_or_default()
    }

    /// The objects in it, each of which keeps the schema.
    fn objects(&self) -> Vec<Object> {
        let (text, validator) = (self.text(), validator::strict(schema()));
        for line in text.lines() {
            validator::assert_valid(&validator, &serde_json::from_str(line).expect("JSON"));
        }
        text.lines().map(Object::parse).collect()
    }

    /// Waits until so many handshakes are in it, while it is written.
    fn wait_handshakes(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.text().matches(r#"{"type":"handshake","#).count() < count {
            assert!(Instant::now() < deadline, "{}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn count(objects: &[Object], kind: &str) -> usize {
    objects.iter().filter(|object| object.kind() == kind).count()
}

fn established(objects: &[Object]) -> Option<u64> {
    let summary = objects.last().expect("a summary");
    assert_eq!((summary.kind(), summary.number("missed")), ("summary", Some(0)), "{summary:?}");
    assert_eq!(summary.number("handshakes"), summary.number("established"), "{summary:?}");
    summary.number("established")
}

/// The file has everything from the start, while the person at the screen restarts the counts, changes the window and
/// filters.
#[test]
fn a_file_beside_the_screen_is_complete() {
    if !lab::require_root() {
        return;
    }
    let (namespace, server) = loopback();
    let file = TempFile::new("beside.json");
    let mut terminal = Terminal::start(&namespace, &["lo", &file.option("json")]);
    terminal.wait_screen("the screen", PATIENCE, |screen| {
        screen.alternate_screen() && screen.contents().contains("tcptop lo tcx")
    });
    assert_eq!(connect_many(&namespace, server.address(), CONNECTIONS, PATIENCE).unwrap(), CONNECTIONS);
    file.wait_handshakes(CONNECTIONS);
    let shows = |number: usize| move |screen: &Screen| screen.contents().contains(&format!(" {number} "));
    terminal.wait_screen("them on the screen", PATIENCE, shows(CONNECTIONS));
    // All counts restart, another window, and a filter that nothing matches.
    terminal.keys("\u{12}");
    terminal.keys("+");
    terminal.keys("/port:1\r");
    terminal.wait_screen("the filter", PATIENCE, |screen| screen.contents().contains("filter:port:1"));
    assert_eq!(
        connect_many(&namespace, server.address(), CONNECTIONS / 2, PATIENCE).unwrap(),
        CONNECTIONS / 2
    );
    let all = CONNECTIONS + CONNECTIONS / 2;
    file.wait_handshakes(all);
    terminal.keys("q");
    assert!(terminal.wait().success());

    let objects = file.objects();
    assert_eq!((count(&objects, "handshake"), count(&objects, "close")), (all, all));
    assert_eq!(established(&objects), Some(all as u64));
    let [peer] = objects.iter().filter(|object| object.kind() == "peer").collect::<Vec<_>>()[..] else {
        panic!("one peer: {objects:?}");
    };
    assert_eq!(peer.number("established"), Some(all as u64), "{peer:?}");
    assert!(peer.text("host").is_some_and(|host| !host.is_empty()), "{peer:?}");
    // The screen's own summary is of what it has counted since the reset.
    terminal.wait_screen("the summary", PATIENCE, |screen| {
        let shown = screen.contents();
        shown.contains("--- tcptop lo ---") && shown.contains(&format!("{} established", CONNECTIONS / 2))
    });
}

/// Lines that nobody reads from standard output are no reason to miss any in a file.
#[test]
fn a_stuck_reader_costs_the_others_nothing() {
    if !lab::require_root() {
        return;
    }
    // Their lines are several times what a pipe holds.
    const MANY: usize = 2_000;
    let (namespace, server) = loopback();
    let file = TempFile::new("stuck.json");
    let mut command = Command::new(lab::tcptop::binary().expect("it is built"));
    command.args(["lo", "--text", &file.option("json")]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = namespace.run(move || command.spawn().expect("it starts"));
    let unread = child.stdout.take().expect("piped");
    let mut said = BufReader::new(child.stderr.take().expect("piped"));
    said.read_line(&mut String::new()).expect("it attaches");
    assert_eq!(connect_many(&namespace, server.address(), MANY, PATIENCE).unwrap(), MANY);
    file.wait_handshakes(MANY);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("it runs");
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("text");
    assert_eq!(child.wait().expect("it ends").code(), Some(1), "{rest}");
    assert!(rest.contains("cannot write standard output: the reader does not read"), "{rest}");
    drop(unread);
    let objects = file.objects();
    assert_eq!((count(&objects, "handshake"), established(&objects)), (MANY, Some(MANY as u64)));
}

/// A disk that is full ends one output, not the run; the exit code tells.
#[test]
fn an_output_that_fails_is_left_out() {
    if !lab::require_root() {
        return;
    }
    let (namespace, server) = loopback();
    let (file, report) = (TempFile::new("left.json"), TempFile::new("left.md"));
    let arguments = ["lo", "--text=/dev/full", &file.option("json"), &report.option("report")];
    let tcptop = Tcptop::spawn(&namespace, arguments).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    for number in 1..=2 {
        connect_many(&namespace, server.address(), CONNECTIONS, PATIENCE).unwrap();
        file.wait_handshakes(number * CONNECTIONS);
    }
    tcptop.signal(Signal::SIGTERM).expect("it runs");
    let output = tcptop.wait(PATIENCE).expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = "cannot write /dev/full: No space left on device (os error 28)";
    assert!(output.stderr.contains(&format!("tcptop: {said}; going on without it\n")), "{output:?}");
    assert!(output.stderr.ends_with(&format!("tcptop: {said}\n")), "{output:?}");
    assert_eq!(established(&file.objects()), Some(2 * CONNECTIONS as u64));
    assert!(report.text().contains(&format!("({} established)", 2 * CONNECTIONS)), "{}", report.text());
    // Files were asked for, no lines.
    assert_eq!(output.stdout[0].text, "--- tcptop lo ---", "{output:?}");
}

#[test]
fn the_screen_says_that_an_output_failed() {
    if !lab::require_root() {
        return;
    }
    let (namespace, server) = loopback();
    let mut terminal = Terminal::start(&namespace, &["lo", "--json=/dev/full"]);
    terminal.wait_screen("the screen", PATIENCE, Screen::alternate_screen);
    // A failure is noticed with the lines after those that failed.
    for _ in 0..10 {
        connect_many(&namespace, server.address(), 1, PATIENCE).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    terminal.wait_screen("what failed", PATIENCE, |screen| {
        screen.contents().contains("cannot write /dev/full: No space left on device")
    });
    terminal.keys("q");
    assert_eq!(terminal.wait().exit_code(), 1);
}

#[test]
fn a_file_that_cannot_be_created_is_an_error_before_the_run() {
    if !lab::require_root() {
        return;
    }
    let (namespace, _server) = loopback();
    let tcptop = Tcptop::spawn(&namespace, ["lo", "--json=/nonexistent/file"]).expect("it starts");
    let output = tcptop.wait(PATIENCE).expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(
        output.stderr,
        "tcptop: cannot write /nonexistent/file: No such file or directory (os error 2)\n"
    );
}
