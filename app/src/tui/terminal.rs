//! The terminal: set up, drawn on, lent to the shell while the process is stopped, restored at the end.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crossterm::clipboard::CopyToClipboard;
use crossterm::cursor::Hide;
use crossterm::event::EnableMouseCapture;
use crossterm::style::{Attribute, SetAttribute, SetStyle};
use crossterm::terminal::{Clear, ClearType, EnterAlternateScreen, enable_raw_mode};
use crossterm::{execute, queue};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use ratatui::backend::{CrosstermBackend, IntoCrossterm};
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::{Rect, Size};
use ratatui::style::Style;
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};

use super::restore;
use super::terminal_guard::TerminalGuard;

/// Used where the terminal reports no size, as serial lines do.
const DEFAULT_SIZE: Size = Size { width: 80, height: 24 };
/// Larger terminals are drawn on in part: a pseudo-terminal can report any size, and each cell takes memory.
const MAX_SIZE: Size = Size { width: 1_000, height: 500 };
/// Larger than most frames, so that a frame is one write.
const FRAME_BYTES: usize = 16 << 10;

/// The alternate screen in raw mode, for as long as this lives, panics included.
pub struct TerminalSession {
    terminal: Terminal<CrosstermBackend<Output>>,
    guard: Option<TerminalGuard>,
    has_mouse: bool,
    last_frame: Buffer,
}

impl TerminalSession {
    /// Sets the terminal up, with mouse events if `has_mouse`.
    ///
    /// # Errors
    /// When standard output is no terminal, or the terminal is gone.
    pub fn enter(has_mouse: bool) -> io::Result<Self> {
        let guard = TerminalGuard::start().ok();
        let viewport = Viewport::Fixed(Rect::from((ratatui::layout::Position::ORIGIN, size()?)));
        let backend = CrosstermBackend::new(Output(BufWriter::with_capacity(FRAME_BYTES, io::stdout())));
        let terminal = Terminal::with_options(backend, TerminalOptions { viewport })?;
        enable_raw_mode()?;
        restore::mark_in_use();
        restore::restore_on_panic();
        // From here on a drop restores the terminal, even when one of the next steps fails.
        let session = Self { terminal, guard, has_mouse, last_frame: Buffer::default() };
        session.enter_screen()?;
        Ok(session)
    }

    fn enter_screen(&self) -> io::Result<()> {
        execute!(io::stdout(), EnterAlternateScreen, Clear(ClearType::All), Hide)?;
        if self.has_mouse { execute!(io::stdout(), EnableMouseCapture) } else { Ok(()) }
    }

    /// Draws a frame. Only what differs from the last one is sent to the terminal.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        if self.is_resized()? {
            self.repaint()?;
        }
        let drawn = self.terminal.draw(draw)?;
        self.last_frame.clone_from(drawn.buffer);
        Ok(())
    }

    /// Returns whether the size differs from that of the last frame.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn is_resized(&mut self) -> io::Result<bool> {
        Ok(self.size()? != self.terminal.get_frame().area().as_size())
    }

    /// The size of the terminal, at most `MAX_SIZE`.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn size(&self) -> io::Result<Size> {
        size()
    }

    /// Sends the next frame whole. `Terminal::clear` would ask the terminal for the cursor's position, which some
    /// terminals never answer.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn repaint(&mut self) -> io::Result<()> {
        self.terminal.resize(Rect::from((ratatui::layout::Position::ORIGIN, size()?)))
    }

    /// Restores the terminal, calls `stop`, which stops the process, and sets the terminal up again.
    ///
    /// # Errors
    /// When the terminal is gone by then.
    pub fn lend(&mut self, stop: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        restore::restore();
        let stopped = stop();
        self.resume()?;
        stopped
    }

    /// Sets the terminal up again after a stop: other programs may have left it in any mode.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn resume(&mut self) -> io::Result<()> {
        restore::mark_in_use();
        // This does nothing as long as the terminal was not given back.
        enable_raw_mode()?;
        make_raw()?;
        self.enter_screen()?;
        self.repaint()
    }

    /// Asks the terminal to put `text` into the clipboard (OSC 52). Terminals that cannot do so ignore it.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn copy(&mut self, text: &str) -> io::Result<()> {
        execute!(self.terminal.backend_mut(), CopyToClipboard::to_clipboard_from(text))
    }

    /// The last frame.
    #[must_use]
    pub const fn last_frame(&self) -> &Buffer {
        &self.last_frame
    }
}

/// Makes the terminal raw in one step. With its first settings in between, typed keys would be echoed, edited as a line or
/// turned into a signal.
fn make_raw() -> io::Result<()> {
    let tty = keyboard()?;
    let mut settings = tcgetattr(&tty)?;
    cfmakeraw(&mut settings);
    Ok(tcsetattr(&tty, SetArg::TCSANOW, &settings)?)
}

/// The terminal that keys come from.
fn keyboard() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    if stdin.is_terminal() { stdin.as_fd().try_clone_to_owned() } else { Ok(File::open("/dev/tty")?.into()) }
}

/// Prints a frame as lines to standard output.
///
/// # Errors
/// When standard output cannot be written to.
pub fn print(frame: &Buffer) -> io::Result<()> {
    let mut output = BufWriter::new(io::stdout().lock());
    let width = usize::from(frame.area.width).max(1);
    for row in frame.content.chunks(width) {
        let is_empty = |cell: &Cell| cell.symbol() == " " && cell.modifier.is_empty();
        let end = row.iter().rposition(|cell| !is_empty(cell)).map_or(0, |last| last + 1);
        let mut style = Style::default();
        for cell in &row[..end] {
            if cell.style() != style {
                style = cell.style();
                queue!(output, SetAttribute(Attribute::Reset), SetStyle(style.into_crossterm()))?;
            }
            write!(output, "{}", cell.symbol())?;
        }
        queue!(output, SetAttribute(Attribute::Reset))?;
        writeln!(output)?;
    }
    output.flush()
}

impl Drop for TerminalSession {
    fn drop(&mut self) {
        restore::restore();
        if let Some(guard) = &mut self.guard {
            guard.dismiss();
        }
    }
}

fn size() -> io::Result<Size> {
    let (width, height) = crossterm::terminal::size()?;
    Ok(bounded(Size { width, height }))
}

fn bounded(reported: Size) -> Size {
    if reported.width == 0 || reported.height == 0 {
        return DEFAULT_SIZE;
    }
    Size { width: reported.width.min(MAX_SIZE.width), height: reported.height.min(MAX_SIZE.height) }
}

/// Removes crossterm's SIGWINCH handler, which its first poll installs: when a key and a resize arrive together,
/// crossterm reports the resize and forgets the key until the next one (its poll is edge-triggered). The size is polled
/// instead.
pub(super) fn ignore_resize_signals() -> io::Result<()> {
    // SAFETY: the default action, which is to ignore the signal, is no handler.
    unsafe { signal(Signal::SIGWINCH, SigHandler::SigDfl) }?;
    Ok(())
}

/// Standard output, until the terminal is restored: a thread that still draws when another one panics must not draw
/// over the message.
struct Output(BufWriter<Stdout>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if restore::is_restored() { Ok(bytes.len()) } else { self.0.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if restore::is_restored() { Ok(()) } else { self.0.flush() }
    }
}

/// Waits for keys on the terminal's own file descriptor and notices a hang-up, on which crossterm would spin.
pub struct KeyPoll {
    tty: OwnedFd,
}

impl KeyPoll {
    /// Opens the terminal that keys come from.
    ///
    /// # Errors
    /// When there is none.
    pub fn open() -> io::Result<Self> {
        Ok(Self { tty: keyboard()? })
    }

    /// Waits for a key, but no longer than `timeout`. Returns whether there is one.
    ///
    /// # Errors
    /// When the terminal hung up.
    pub fn wait(&self, timeout: Duration) -> io::Result<bool> {
        let mut polled = [PollFd::new(self.tty.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        match poll(&mut polled, timeout) {
            // A resize, for one, interrupts.
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let events = polled[0].revents().unwrap_or(PollFlags::empty());
        if events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the terminal hung up"));
        }
        Ok(events.contains(PollFlags::POLLIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_bounded() {
        let fit = |width, height| {
            let Size { width, height } = bounded(Size { width, height });
            (width, height)
        };
        assert_eq!([fit(0, 0), fit(0, 9), fit(1, 1), fit(160, 50)], [(80, 24), (80, 24), (1, 1), (160, 50)]);
        assert_eq!(fit(u16::MAX, u16::MAX), (1_000, 500));
    }
}
