//! tcptop on a pseudo-terminal, and an emulator that interprets what it writes.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use lab::{Namespace, Signal};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::kill;
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::Pid;
use portable_pty::{
    Child, CommandBuilder, ExitStatus, MasterPty, PtyPair, PtySize, SlavePty, native_pty_system,
};
use vt100::{Parser, Screen};

use crate::PATIENCE;

const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

/// A terminal that runs tcptop.
pub(crate) struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    keys: Option<Box<dyn Write + Send>>,
    // Kept open, so that the settings can be read after tcptop has ended.
    slave: Option<Box<dyn SlavePty + Send>>,
    master: Option<Box<dyn MasterPty + Send>>,
    reader: Option<JoinHandle<()>>,
    display: Arc<Display>,
}

struct Display {
    shown: Mutex<Shown>,
    drawn: Condvar,
    closed: AtomicBool,
}

struct Shown {
    parser: Parser,
    written: Vec<u8>,
}

/// tcptop without arguments.
pub(crate) fn tcptop() -> CommandBuilder {
    let mut command = CommandBuilder::new(lab::tcptop::binary().expect("it is built"));
    command.env("TERM", "xterm-256color");
    command.env("LC_ALL", "C.UTF-8");
    command.env_remove("NO_COLOR");
    command
}

/// The settings that a pseudo-terminal begins with.
pub(crate) fn fresh_settings() -> Termios {
    let pair = nix::pty::openpty(None, None).expect("the kernel has pseudo-terminals");
    tcgetattr(&pair.slave).expect("it is a terminal")
}

fn open(columns: u16, rows: u16) -> (PtyPair, PtySize) {
    let size = PtySize { rows, cols: columns, ..PtySize::default() };
    (native_pty_system().openpty(size).expect("the kernel has pseudo-terminals"), size)
}

impl Terminal {
    /// Starts tcptop inside the namespace, in a session of its own with this as the controlling terminal.
    pub(crate) fn start(namespace: &Namespace, arguments: &[&str]) -> Self {
        let mut command = tcptop();
        command.args(arguments);
        let (pair, size) = open(COLUMNS, ROWS);
        let slave = pair.slave;
        let start = move || (slave.spawn_command(command).expect("it starts"), slave);
        let (child, slave) = namespace.run(start);
        Self::showing(child, slave, pair.master, size)
    }

    /// Starts a program in the current namespace, on a terminal of this size.
    pub(crate) fn run(command: CommandBuilder, columns: u16, rows: u16) -> Self {
        let (pair, size) = open(columns, rows);
        let child = pair.slave.spawn_command(command).expect("it starts");
        Self::showing(child, pair.slave, pair.master, size)
    }

    /// Starts a program on a terminal whose size is 0 by 0, as on a serial line.
    pub(crate) fn run_without_size(command: CommandBuilder) -> Self {
        let (pair, _) = open(0, 0);
        let child = pair.slave.spawn_command(command).expect("it starts");
        Self::showing(
            child,
            pair.slave,
            pair.master,
            PtySize { rows: ROWS, cols: COLUMNS, ..PtySize::default() },
        )
    }

    fn showing(
        child: Box<dyn Child + Send + Sync>,
        slave: Box<dyn SlavePty + Send>,
        master: Box<dyn MasterPty + Send>,
        size: PtySize,
    ) -> Self {
        let [rows, columns] = [size.rows, size.cols].map(|size| NonZeroU16::new(size).expect("it has cells"));
        let display = Arc::new(Display {
            shown: Mutex::new(Shown { parser: Parser::new(rows, columns, 0), written: Vec::new() }),
            drawn: Condvar::new(),
            closed: AtomicBool::new(false),
        });
        let (source, shown) = (master.try_clone_reader().expect("open"), Arc::clone(&display));
        let watched = descriptor(&*master).try_clone_to_owned().expect("open");
        let reader = std::thread::spawn(move || shown.draw(&watched, source));
        Self {
            child,
            keys: Some(master.take_writer().expect("taken once")),
            slave: Some(slave),
            master: Some(master),
            reader: Some(reader),
            display,
        }
    }

    /// Changes the size of the terminal, which sends SIGWINCH.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let master = self.master.as_deref().expect("not hung up");
        let size = [rows, columns].map(|size| NonZeroU16::new(size).expect("it has cells"));
        let mut shown = self.display.lock();
        shown.parser.screen_mut().set_size(size[0], size[1]);
        master.resize(PtySize { rows, cols: columns, ..PtySize::default() }).expect("it is open");
    }

    /// All bytes that were written to the terminal so far.
    pub(crate) fn written(&self) -> Vec<u8> {
        self.display.lock().written.clone()
    }

    /// The program's process.
    pub(crate) fn process(&self) -> Pid {
        Pid::from_raw(self.child.process_id().expect("it was started").cast_signed())
    }

    /// The terminal's settings.
    pub(crate) fn settings(&self) -> Termios {
        let master = self.master.as_deref().expect("not hung up");
        tcgetattr(descriptor(master)).expect("it is a terminal")
    }

    /// Changes the terminal's settings, as another program on it would.
    pub(crate) fn set_settings(&self, settings: &Termios) {
        let master = self.master.as_deref().expect("not hung up");
        tcsetattr(descriptor(master), SetArg::TCSANOW, settings).expect("it is a terminal");
    }

    /// Types text.
    pub(crate) fn keys(&mut self, text: &str) {
        let keys = self.keys.as_mut().expect("not hung up");
        keys.write_all(text.as_bytes()).and_then(|()| keys.flush()).expect("it is open");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.process(), signal).expect("it is not reaped");
    }

    /// Waits until the screen satisfies `wanted`.
    pub(crate) fn wait_screen(&self, what: &str, patience: Duration, wanted: impl Fn(&Screen) -> bool) {
        let missing = |shown: &mut Shown| !wanted(shown.parser.screen());
        let waited = self.display.drawn.wait_timeout_while(self.display.lock(), patience, missing);
        let (shown, result) = waited.unwrap_or_else(PoisonError::into_inner);
        let screen = shown.parser.screen();
        assert!(
            !result.timed_out(),
            "{what}: not within {patience:?}; alternate screen {}, cursor hidden {}\n{}",
            screen.alternate_screen(),
            screen.hide_cursor(),
            screen.contents()
        );
    }

    /// Closes every descriptor of the master side, as a dropped connection does.
    pub(crate) fn hang_up(&mut self) {
        self.display.closed.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            reader.join().expect("it only reads");
        }
        self.keys = None;
        self.slave = None;
        self.master = None;
    }

    /// Waits for tcptop to end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(std::time::Instant::now() < deadline, "tcptop does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Fails for a process that was reaped by `wait`.
        let _ = self.child.kill();
        self.display.closed.store(true, Ordering::Relaxed);
    }
}

impl Display {
    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Interprets the output until the terminal is closed.
    fn draw(&self, watched: &impl AsFd, mut source: impl Read) {
        let mut bytes = [0; 4096];
        while !self.closed.load(Ordering::Relaxed) {
            let mut ready = [PollFd::new(watched.as_fd(), PollFlags::POLLIN)];
            if poll(&mut ready, PollTimeout::from(20_u8)) != Ok(1) {
                continue;
            }
            let Ok(length @ 1..) = source.read(&mut bytes) else { return };
            let mut shown = self.lock();
            shown.parser.process(&bytes[..length]);
            shown.written.extend(&bytes[..length]);
            drop(shown);
            self.drawn.notify_all();
        }
    }
}

fn descriptor(master: &dyn MasterPty) -> BorrowedFd<'_> {
    let raw = master.as_raw_fd().expect("Unix has descriptors");
    // SAFETY: the descriptor is the master's, which the result borrows.
    unsafe { BorrowedFd::borrow_raw(raw) }
}
