//! tcptop on a pseudo-terminal, and what a terminal would show of it.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use lab::{Namespace, Signal};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::kill;
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;
use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, SlavePty, native_pty_system};
use vt100::{Parser, Screen};

use crate::PATIENCE;

const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

/// A terminal with tcptop on it.
pub(crate) struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    keys: Option<Box<dyn Write + Send>>,
    // Held, so that the settings can be looked at when tcptop is gone.
    slave: Option<Box<dyn SlavePty + Send>>,
    master: Option<Box<dyn MasterPty + Send>>,
    reader: Option<JoinHandle<()>>,
    display: Arc<Display>,
}

struct Display {
    parser: Mutex<Parser>,
    drawn: Condvar,
    closed: AtomicBool,
}

impl Terminal {
    /// Starts tcptop inside the namespace, in a session of its own whose terminal this is.
    pub(crate) fn start(namespace: &Namespace, arguments: &[&str]) -> Self {
        let size = PtySize { rows: ROWS, cols: COLUMNS, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("the kernel has pseudo-terminals");
        let mut command = CommandBuilder::new(lab::tcptop::binary().expect("it is built"));
        command.args(arguments);
        command.env("TERM", "xterm-256color");
        let slave = pair.slave;
        let start = move || (slave.spawn_command(command).expect("it starts"), slave);
        let (child, slave) = namespace.run(start);
        let [rows, columns] = [ROWS, COLUMNS].map(|size| NonZeroU16::new(size).expect("it has cells"));
        let display = Arc::new(Display {
            parser: Mutex::new(Parser::new(rows, columns, 0)),
            drawn: Condvar::new(),
            closed: AtomicBool::new(false),
        });
        let (source, shown) = (pair.master.try_clone_reader().expect("open"), Arc::clone(&display));
        let watched = descriptor(&*pair.master).try_clone_to_owned().expect("open");
        let reader = std::thread::spawn(move || shown.draw(&watched, source));
        Self {
            child,
            keys: Some(pair.master.take_writer().expect("taken once")),
            slave: Some(slave),
            master: Some(pair.master),
            reader: Some(reader),
            display,
        }
    }

    /// The terminal's settings.
    pub(crate) fn settings(&self) -> Termios {
        let master = self.master.as_deref().expect("not hung up");
        tcgetattr(descriptor(master)).expect("it is a terminal")
    }

    /// Types text.
    pub(crate) fn keys(&mut self, text: &str) {
        let keys = self.keys.as_mut().expect("not hung up");
        keys.write_all(text.as_bytes()).and_then(|()| keys.flush()).expect("it is open");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.process_id().expect("it was started");
        kill(Pid::from_raw(id.cast_signed()), signal).expect("it is not reaped");
    }

    /// Waits until the screen is as wanted.
    pub(crate) fn wait_screen(&self, what: &str, patience: Duration, wanted: impl Fn(&Screen) -> bool) {
        let lock = self.display.parser.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = |parser: &mut Parser| !wanted(parser.screen());
        let waited = self.display.drawn.wait_timeout_while(lock, patience, missing);
        let (parser, result) = waited.unwrap_or_else(PoisonError::into_inner);
        let screen = parser.screen();
        assert!(
            !result.timed_out(),
            "{what}: not within {patience:?}; alternate screen {}, cursor hidden {}\n{}",
            screen.alternate_screen(),
            screen.hide_cursor(),
            screen.contents()
        );
    }

    /// Closes the terminal, as a dropped connection does: every descriptor of its side.
    pub(crate) fn hang_up(&mut self) {
        self.display.closed.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            reader.join().expect("it only reads");
        }
        self.keys = None;
        self.slave = None;
        self.master = None;
    }

    /// Waits for the end of tcptop.
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
    /// Shows what comes, until the terminal is closed.
    fn draw(&self, watched: &impl AsFd, mut source: impl Read) {
        let mut bytes = [0; 4096];
        while !self.closed.load(Ordering::Relaxed) {
            let mut ready = [PollFd::new(watched.as_fd(), PollFlags::POLLIN)];
            if poll(&mut ready, PollTimeout::from(20_u8)) != Ok(1) {
                continue;
            }
            let Ok(length @ 1..) = source.read(&mut bytes) else { return };
            let mut parser = self.parser.lock().unwrap_or_else(PoisonError::into_inner);
            parser.process(&bytes[..length]);
            self.drawn.notify_all();
        }
    }
}

fn descriptor(master: &dyn MasterPty) -> BorrowedFd<'_> {
    let raw = master.as_raw_fd().expect("Unix has descriptors");
    // SAFETY: the descriptor is the master's, which the result borrows.
    unsafe { BorrowedFd::borrow_raw(raw) }
}
