//! The terminal itself: taken over, watched, given back.

use std::fs::File;
use std::io::{self, IsTerminal, Stdout, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crossterm::cursor::{Hide, Show};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{execute, queue};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::backend::CrosstermBackend;
use ratatui::{Frame, Terminal};

use super::guard::Guard;

/// The alternate screen in raw mode, for as long as this lives: panics included.
pub struct Screenful {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    guard: Option<Guard>,
}

impl Screenful {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// When it is none, or is gone.
    pub fn enter() -> io::Result<Self> {
        let guard = Guard::start().ok();
        enable_raw_mode()?;
        restore_on_panic();
        // From here on dropping this gives the terminal back, even when one of the next steps fails.
        let screenful = Self { terminal: Terminal::new(CrosstermBackend::new(io::stdout()))?, guard };
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(screenful)
    }

    /// Draws a frame: what changed since the last one travels to the terminal.
    ///
    /// # Errors
    /// When the terminal takes nothing more.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(|_| ())
    }

    /// Forgets what is on the screen, so that the next frame travels whole. `Terminal::clear` would ask
    /// the terminal where its cursor is, and some never answer.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn repaint(&mut self) -> io::Result<()> {
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }
}

impl Drop for Screenful {
    fn drop(&mut self) {
        restore();
        if let Some(guard) = &mut self.guard {
            guard.dismiss();
        }
    }
}

/// As it was. Failures are of no use to anyone: the terminal is gone then.
fn restore() {
    let mut stdout = io::stdout();
    let _ = queue!(stdout, Show, LeaveAlternateScreen);
    let _ = stdout.flush();
    let _ = disable_raw_mode();
}

/// A message on the alternate screen in raw mode would be lost.
fn restore_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        restore();
        report(panic);
    }));
}

/// Watches the terminal's own descriptor: the event library would spin on one that hung up.
pub struct Hangup {
    tty: OwnedFd,
}

impl Hangup {
    /// Watches the terminal that keys come from.
    ///
    /// # Errors
    /// When there is none.
    pub fn watch() -> io::Result<Self> {
        let stdin = io::stdin();
        let tty = if stdin.is_terminal() {
            stdin.as_fd().try_clone_to_owned()?
        } else {
            File::open("/dev/tty")?.into()
        };
        Ok(Self { tty })
    }

    /// Waits for a key, but not longer than `patience`. Gives whether there is one.
    ///
    /// # Errors
    /// When the terminal hung up.
    pub fn wait_for_key(&self, patience: Duration) -> io::Result<bool> {
        let mut watched = [PollFd::new(self.tty.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        match poll(&mut watched, timeout) {
            // A resize, for one, interrupts.
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let seen = watched[0].revents().unwrap_or(PollFlags::empty());
        if seen.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the terminal hung up"));
        }
        Ok(seen.contains(PollFlags::POLLIN))
    }
}
