//! The program under test as a child process.

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::namespace::Namespace;
use crate::object::{Object, objects};

/// What the program's first line on standard error begins with, once it is attached.
const READY: &str = "watching";

/// A line that the program wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it arrived here (monotonic clock).
    pub at: Instant,
    /// The text without the line's end; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// What the program left when it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Lines of standard output.
    pub stdout: Vec<Line>,
    /// Standard error, whole.
    pub stderr: String,
    /// How it ended.
    pub status: ExitStatus,
}

/// The program, running inside a namespace. Killed when dropped, and by the kernel when the thread that spawned
/// it ends: spawn it from a thread that outlives it, not from within [`Namespace::run`].
#[derive(Debug)]
pub struct Tcptop {
    child: Child,
    pid: Pid,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// Where the binary is: the environment's `TCPTOP_BIN`, or `tcptop` in the target directory that the running
/// executable (test, example or `xtask`) was built into. A test of the screen starts it on a pseudo-terminal of
/// its own, from within [`Namespace::run`].
///
/// # Errors
/// When there is no such file.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TCPTOP_BIN") {
        let path = PathBuf::from(path);
        return if path.is_file() { Ok(path) } else { bail!("TCPTOP_BIN: {} is not a file", path.display()) };
    }
    let running = std::env::current_exe().context("cannot tell where this executable is")?;
    // Tests are in <target>/<profile>/deps, examples in examples, binaries in <profile> itself.
    let candidates = running.ancestors().skip(1).take(2).map(|folder| folder.join("tcptop"));
    candidates.into_iter().find(|path| path.is_file()).with_context(|| {
        let folder = running.parent().unwrap_or(Path::new("."));
        format!(
            "no tcptop in or above {}: build it (cargo build -p tcptop) or set TCPTOP_BIN",
            folder.display()
        )
    })
}

/// Makes the kernel send the child process that `command` starts a signal when the thread that starts it ends.
pub fn end_with_parent(command: &mut Command, signal: Signal) {
    // SAFETY: between fork and exec only async-signal-safe calls are allowed: this makes one system call.
    unsafe { command.pre_exec(move || Ok(set_pdeathsig(signal)?)) };
}

impl Tcptop {
    /// Starts the program inside the namespace, with nothing on its standard input.
    ///
    /// # Errors
    /// When there is no binary, see [`binary`], or it cannot be started.
    pub fn spawn<A: AsRef<OsStr>>(
        namespace: &Namespace,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self> {
        let mut command = Command::new(binary()?);
        command.args(arguments);
        Self::spawn_command(namespace, command)
    }

    /// Starts a command of your own the same way: with another environment, or another program in front.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn_command(namespace: &Namespace, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        namespace.enter_command(&mut command);
        // A test that is killed must not leave the program running, with the namespace it holds.
        end_with_parent(&mut command, Signal::SIGKILL);
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let pid = Pid::from_raw(i32::try_from(child.id()).context("process ids are positive")?);
        let shared = Arc::new(Shared::default());
        let stdout = child.stdout.take().context("standard output is piped")?;
        let stderr = child.stderr.take().context("standard error is piped")?;
        let threads = vec![
            collect(Arc::clone(&shared), stdout, |seen| &mut seen.stdout),
            collect(Arc::clone(&shared), stderr, |seen| &mut seen.stderr),
            watch(Arc::clone(&shared), pid),
        ];
        Ok(Self { child, pid, shared, threads })
    }

    /// Waits until the program says that it is attached: a line on standard error that begins with `watching`.
    ///
    /// # Errors
    /// When it ends before, or `timeout` is over; with what it wrote.
    pub fn wait_ready(&self, timeout: Duration) -> Result<()> {
        self.wait_stderr(timeout, |line| line.starts_with(READY)).map(drop)
    }

    /// Waits for the first line of standard output that `wanted` accepts; lines that came before count.
    ///
    /// # Errors
    /// When the program ends without one, or `timeout` is over; with what it wrote.
    pub fn wait_stdout(&self, timeout: Duration, wanted: impl Fn(&str) -> bool) -> Result<Line> {
        self.wait_line(timeout, "standard output", |seen| &seen.stdout, wanted)
    }

    /// Waits for the first line of standard error that `wanted` accepts; lines that came before count.
    ///
    /// # Errors
    /// When the program ends without one, or `timeout` is over; with what it wrote.
    pub fn wait_stderr(&self, timeout: Duration, wanted: impl Fn(&str) -> bool) -> Result<Line> {
        self.wait_line(timeout, "standard error", |seen| &seen.stderr, wanted)
    }

    /// Waits until the program wrote `count` JSON objects of this kind, and gives all of the kind so far.
    ///
    /// # Errors
    /// When it ends with less, or `timeout` is over; with what it wrote.
    ///
    /// # Panics
    /// When a line of standard output is not a JSON object.
    pub fn wait_objects(&self, kind: &str, count: usize, timeout: Duration) -> Result<Vec<Object>> {
        // Each line is read once, however often the wait looks.
        let (read, found) = (Cell::new(0), RefCell::new(Vec::new()));
        let enough = |seen: &Seen| {
            let new = seen.stdout.lines[read.get()..].iter().map(|line| Object::parse(&line.text));
            found.borrow_mut().extend(new.filter(|object| object.kind() == kind));
            read.set(seen.stdout.lines.len());
            found.borrow().len() >= count
        };
        let waited = self.shared.wait_until(timeout, |seen| enough(seen) || seen.stdout.ended);
        let found = found.into_inner();
        if found.len() < count {
            let reason = if waited.is_some() { "tcptop ended" } else { "time is over" };
            bail!("{reason} with {} of {count} {kind} objects\n{}", found.len(), self.shared.lock());
        }
        Ok(found)
    }

    /// Asks the program to end (SIGINT) and gives the JSON objects that it wrote.
    ///
    /// # Errors
    /// When it does not end within `timeout`, or not well; with what it wrote.
    ///
    /// # Panics
    /// When a line of standard output is not a JSON object.
    pub fn stop(self, timeout: Duration) -> Result<Vec<Object>> {
        self.signal(Signal::SIGINT)?;
        let output = self.wait(timeout)?;
        ensure!(output.status.success(), "tcptop ended with {}: {}", output.status, output.stderr);
        Ok(objects(&output.stdout))
    }

    /// The lines of standard output so far.
    #[must_use]
    pub fn stdout(&self) -> Vec<Line> {
        self.shared.lock().stdout.lines.clone()
    }

    /// Standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.shared.lock().stderr.text()
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends the program a signal; one that ended already takes no notice.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // Until `child` is reaped the id cannot be another process's.
        kill(self.pid, signal).with_context(|| format!("cannot send {signal} to tcptop"))
    }

    /// Waits for the end of the program and of what it wrote.
    ///
    /// # Errors
    /// When `timeout` is over (the program is then killed); with what it wrote.
    pub fn wait(mut self, timeout: Duration) -> Result<Output> {
        if self.shared.wait_until(timeout, Seen::ended).is_none() {
            bail!("tcptop still runs after {timeout:?}\n{}", self.shared.lock());
        }
        let status = self.child.wait().context("cannot reap tcptop")?;
        let mut seen = self.shared.lock();
        Ok(Output { stdout: std::mem::take(&mut seen.stdout.lines), stderr: seen.stderr.text(), status })
    }

    fn wait_line(
        &self,
        timeout: Duration,
        name: &str,
        stream: impl Fn(&Seen) -> &Stream,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Line> {
        let find = |seen: &Seen| stream(seen).lines.iter().find(|line| wanted(&line.text)).cloned();
        let settled = |seen: &Seen| stream(seen).ended || find(seen).is_some();
        let waited = self.shared.wait_until(timeout, settled);
        let seen = self.shared.lock();
        find(&seen).with_context(|| {
            let reason = if waited.is_some() { "tcptop ended" } else { "time is over" };
            format!("{reason} without the expected line on {name} (waited up to {timeout:?})\n{seen}")
        })
    }
}

impl Drop for Tcptop {
    fn drop(&mut self) {
        // Both fail only for a process that was reaped by `wait`.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for thread in self.threads.drain(..) {
            // These threads only read and count; a panic in one was printed where it happened.
            let _ = thread.join();
        }
    }
}

/// What was seen of the program so far.
#[derive(Debug, Default)]
struct Seen {
    stdout: Stream,
    stderr: Stream,
    exited: bool,
}

#[derive(Debug, Default)]
struct Stream {
    lines: Vec<Line>,
    ended: bool,
}

impl Stream {
    fn text(&self) -> String {
        self.lines.iter().fold(String::new(), |text, line| text + &line.text + "\n")
    }
}

impl Seen {
    fn ended(&self) -> bool {
        self.exited && self.stdout.ended && self.stderr.ended
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "--- standard output\n{}--- standard error\n{}", self.stdout.text(), self.stderr.text())
    }
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// `None` when the condition does not come true within `timeout`.
    fn wait_until(&self, timeout: Duration, condition: impl Fn(&Seen) -> bool) -> Option<()> {
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, |seen| !condition(seen));
        let (_seen, result) = waited.unwrap_or_else(PoisonError::into_inner);
        (!result.timed_out()).then_some(())
    }
}

/// Collects the lines of one stream.
fn collect(
    shared: Arc<Shared>,
    source: impl Read + Send + 'static,
    of: fn(&mut Seen) -> &mut Stream,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut bytes = Vec::new();
        while let Ok(1..) = source.read_until(b'\n', &mut bytes) {
            let text = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
            let line = Line { at: Instant::now(), text };
            shared.update(|seen| of(seen).lines.push(line));
            bytes.clear();
        }
        shared.update(|seen| of(seen).ended = true);
    })
}

/// Notes the end of the process, and leaves it to be reaped by its owner, so that its id stays its own.
fn watch(shared: Arc<Shared>, pid: Pid) -> JoinHandle<()> {
    thread::spawn(move || {
        let until_exit = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        while waitid(Id::Pid(pid), until_exit) == Err(nix::errno::Errno::EINTR) {}
        shared.update(|seen| seen.exited = true);
    })
}
