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

/// A folder that goes away with this.
struct TempFolder(PathBuf);

impl TempFolder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tcptop-{}-{name}", std::process::id()));
        fs::create_dir(&path).expect("a folder of its own");
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn paths(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(&self.0).expect("it is there");
        files.map(|file| file.expect("an entry").path()).collect()
    }

    fn text(&self) -> String {
        // A file may get another name meanwhile.
        self.paths().iter().map(|path| fs::read_to_string(path).unwrap_or_default()).collect()
    }

    /// The objects of all files, each of which keeps the schema.
    fn objects(&self) -> Vec<Object> {
        let (text, validator) = (self.text(), validator::strict(schema()));
        for line in text.lines() {
            validator::assert_valid(&validator, &serde_json::from_str(line).expect("JSON"));
        }
        text.lines().map(Object::parse).collect()
    }

    /// Waits until so many objects of a kind are in it.
    fn wait(&self, kind: &str, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        let kind = format!(r#"{{"type":"{kind}","#);
        while self.text().matches(&kind).count() < count {
            assert!(Instant::now() < deadline, "{}", self.text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
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

/// As a service: nobody's terminal, files that are rotated by it and by others, and not one line torn or missing.
#[test]
fn a_service_rotates_its_file_between_lines() {
    if !lab::require_root() {
        return;
    }
    let (namespace, server) = loopback();
    let folder = TempFolder::new("rotated");
    let output = format!("--output={}", folder.file("tcptop.json").display());
    let arguments = ["serve", "lo", "--listen=127.0.0.1:0", "--host=web-7", &output, "--rotate=100k,30"];
    let tcptop = Tcptop::spawn(&namespace, arguments).expect("it starts");
    tcptop.wait_stderr(PATIENCE, |line| line.starts_with("metrics: ")).expect("it listens");
    assert_eq!(connect_many(&namespace, server.address(), CONNECTIONS, PATIENCE).unwrap(), CONNECTIONS);
    folder.wait("handshake", CONNECTIONS);
    // What logrotate does.
    fs::rename(folder.file("tcptop.json"), folder.file("by-others")).expect("it is there");
    tcptop.signal(Signal::SIGHUP).expect("it runs");
    let deadline = Instant::now() + PATIENCE;
    while !folder.file("tcptop.json").exists() {
        assert!(Instant::now() < deadline, "no new file: {}", tcptop.stderr());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(connect_many(&namespace, server.address(), CONNECTIONS, PATIENCE).unwrap(), CONNECTIONS);
    folder.wait("handshake", 2 * CONNECTIONS);
    assert!(tcptop.stop(PATIENCE).expect("it ends well").is_empty(), "nothing on standard output");
    let objects = folder.objects();
    assert_eq!(count(&objects, "handshake"), 2 * CONNECTIONS);
    let run = objects[0].text("run").expect("a number").to_owned();
    assert_eq!(run.len(), 16);
    for object in &objects {
        assert_eq!((object.text("host"), object.text("run")), (Some("web-7"), Some(&*run)), "{object:?}");
    }
    let sizes = folder.paths().into_iter().map(|path| fs::metadata(path).expect("it is there").len());
    let sizes: Vec<u64> = sizes.collect();
    assert!(sizes.len() > 3 && sizes.iter().all(|bytes| *bytes <= 100_000), "{sizes:?}");
}

/// The file may not grow beyond 64 kB, as on a full disk. What does not fit is counted, and the run goes on.
#[test]
fn a_full_disk_tears_no_line() {
    if !lab::require_root() {
        return;
    }
    let (namespace, server) = loopback();
    let folder = TempFolder::new("full");
    let file = folder.file("tcptop.json");
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 128; exec \"$@\"", "sh"]);
    command.arg(lab::tcptop::binary().expect("it is built"));
    command.args(["lo", "--text", &format!("--output={}", file.display())]);
    let tcptop = Tcptop::spawn_command(&namespace, command).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it watches");
    assert_eq!(connect_many(&namespace, server.address(), CONNECTIONS, PATIENCE).unwrap(), CONNECTIONS);
    tcptop.wait_stderr(PATIENCE, |line| line.contains("counted as missed")).expect("it is said");
    let kept = folder.objects();
    let text = fs::read_to_string(&file).expect("text");
    assert!(text.ends_with('\n') && text.len() > 60_000 && text.len() <= 65_536, "{}", text.len());
    assert!(count(&kept, "handshake") < CONNECTIONS);
    tcptop.signal(Signal::SIGINT).expect("it runs");
    let output = tcptop.wait(PATIENCE).expect("it ends");
    assert!(output.status.success(), "{}", output.stderr);
    assert_eq!(output.stderr.matches("counted as missed").count(), 1, "{}", output.stderr);
}

/// SIGHUP opens the file again, but where the terminal is gone it ends the run.
#[test]
fn a_lost_terminal_ends_the_run_although_there_is_a_file() {
    if !lab::require_root() {
        return;
    }
    let (namespace, server) = loopback();
    let file = TempFile::new("lost.json");
    let mut terminal = Terminal::start(&namespace, &["lo", "--text", &file.option("output")]);
    terminal.wait_screen("that it watches", PATIENCE, |screen| screen.contents().contains("watching lo"));
    terminal.signal(Signal::SIGHUP);
    assert_eq!(connect_many(&namespace, server.address(), 5, PATIENCE).unwrap(), 5);
    file.wait_handshakes(5);
    terminal.hang_up();
    terminal.wait();
    assert_eq!(count(&file.objects(), "summary"), 1);
}
