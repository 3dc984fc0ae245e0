//! The terminal itself: taken over, watched, lent out while the process is stopped, given back.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::clipboard::CopyToClipboard;
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{DisableMouseCapture, EnableMouseCapture};
use crossterm::style::{Attribute, SetAttribute, SetStyle};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{execute, queue};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use ratatui::backend::{CrosstermBackend, IntoCrossterm};
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::{Rect, Size};
use ratatui::style::Style;
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};

use super::guard::Guard;

/// A serial line does not tell its size: this is what it was made for.
const UNTOLD: Size = Size { width: 80, height: 24 };
/// No more is drawn, whatever size is told: a pseudo-terminal can tell any, and its cells take memory.
const LARGEST: Size = Size { width: 1_000, height: 500 };
/// More than most frames take: a frame is one write.
const FRAME_BYTES: usize = 16 << 10;

/// The terminal was given back, and nothing may be drawn on it any more.
static IS_GIVEN_BACK: AtomicBool = AtomicBool::new(false);

/// The alternate screen in raw mode, for as long as this lives: panics included.
pub struct TerminalSession {
    terminal: Terminal<CrosstermBackend<Output>>,
    guard: Option<Guard>,
    has_mouse: bool,
    /// What was drawn last.
    last: Buffer,
}

impl TerminalSession {
    /// Takes the terminal over, with the mouse if that is asked for.
    ///
    /// # Errors
    /// When it is none, or is gone.
    pub fn enter(has_mouse: bool) -> io::Result<Self> {
        let guard = Guard::start().ok();
        let viewport = Viewport::Fixed(Rect::from((ratatui::layout::Position::ORIGIN, size()?)));
        let backend = CrosstermBackend::new(Output(BufWriter::with_capacity(FRAME_BYTES, io::stdout())));
        let terminal = Terminal::with_options(backend, TerminalOptions { viewport })?;
        enable_raw_mode()?;
        IS_GIVEN_BACK.store(false, Ordering::Relaxed);
        restore_on_panic();
        // From here on dropping this gives the terminal back, even when one of the next steps fails.
        let screenful = Self { terminal, guard, has_mouse, last: Buffer::default() };
        screenful.take_over()?;
        Ok(screenful)
    }

    fn take_over(&self) -> io::Result<()> {
        execute!(io::stdout(), EnterAlternateScreen, Clear(ClearType::All), Hide)?;
        if self.has_mouse { execute!(io::stdout(), EnableMouseCapture) } else { Ok(()) }
    }

    /// Draws a frame: what changed since the last one travels to the terminal.
    ///
    /// # Errors
    /// When the terminal takes nothing more.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        if self.is_resized()? {
            self.repaint()?;
        }
        let drawn = self.terminal.draw(draw)?;
        self.last.clone_from(drawn.buffer);
        Ok(())
    }

    /// Has the terminal another size than what was drawn last?
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn is_resized(&mut self) -> io::Result<bool> {
        Ok(self.size()? != self.terminal.get_frame().area().as_size())
    }

    /// The size of the terminal, within reason.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn size(&self) -> io::Result<Size> {
        size()
    }

    /// Forgets what is on the screen, so that the next frame travels whole. `Terminal::clear` would ask
    /// the terminal where its cursor is, and some never answer.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn repaint(&mut self) -> io::Result<()> {
        self.terminal.resize(Rect::from((ratatui::layout::Position::ORIGIN, size()?)))
    }

    /// Gives the terminal back while the process is stopped, which is what `stop` does, and takes it over
    /// again.
    ///
    /// # Errors
    /// When the terminal is gone meanwhile.
    pub fn lend(&mut self, stop: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        restore();
        let stopped = stop();
        self.resume()?;
        stopped
    }

    /// Takes the terminal over again: whoever had it meanwhile may have left it in any mode.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn resume(&mut self) -> io::Result<()> {
        IS_GIVEN_BACK.store(false, Ordering::Relaxed);
        // This does nothing as long as the terminal was not given back.
        enable_raw_mode()?;
        make_raw()?;
        self.take_over()?;
        self.repaint()
    }

    /// Asks the terminal to put text into the clipboard (OSC 52). There is no answer: some do, some do not.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn copy(&mut self, text: &str) -> io::Result<()> {
        execute!(self.terminal.backend_mut(), CopyToClipboard::to_clipboard_from(text))
    }

    /// What was drawn last.
    #[must_use]
    pub const fn last(&self) -> &Buffer {
        &self.last
    }
}

/// Makes the terminal raw in one step. By way of its first settings, what is typed in between would be echoed, edited
/// as a line, or make a signal.
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

/// Prints a screen as lines, where the next thing would be printed.
///
/// # Errors
/// When standard output takes nothing more.
pub fn print(screen: &Buffer) -> io::Result<()> {
    let mut output = BufWriter::new(io::stdout().lock());
    let width = usize::from(screen.area.width).max(1);
    for row in screen.content.chunks(width) {
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
        restore();
        if let Some(guard) = &mut self.guard {
            guard.dismiss();
        }
    }
}

/// The size of the terminal, within reason.
fn size() -> io::Result<Size> {
    let (width, height) = crossterm::terminal::size()?;
    Ok(within_reason(Size { width, height }))
}

fn within_reason(told: Size) -> Size {
    if told.width == 0 || told.height == 0 {
        return UNTOLD;
    }
    Size { width: told.width.min(LARGEST.width), height: told.height.min(LARGEST.height) }
}

/// Undoes that keys are waited for together with SIGWINCH, which begins with the first look for keys: when both come at
/// once, crossterm tells of the new size and forgets that there is a key, until the next one (it waits for edges). What
/// size the terminal has is asked often enough.
pub(super) fn ask_for_sizes_alone() -> io::Result<()> {
    // SAFETY: the default, which is to ignore it, is no handler.
    unsafe { signal(Signal::SIGWINCH, SigHandler::SigDfl) }?;
    Ok(())
}

/// Standard output, until the terminal is given back: a thread that still draws when another panics must not
/// draw over the message.
struct Output(BufWriter<Stdout>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if IS_GIVEN_BACK.load(Ordering::Relaxed) { Ok(bytes.len()) } else { self.0.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if IS_GIVEN_BACK.load(Ordering::Relaxed) { Ok(()) } else { self.0.flush() }
    }
}

/// What gives the terminal's screen back. Where there is no other screen to leave, as on old consoles, the
/// one that there is gets cleared.
///
/// # Errors
/// When the terminal takes nothing more.
pub(super) fn leave(output: &mut impl Write) -> io::Result<()> {
    queue!(output, DisableMouseCapture, SetAttribute(Attribute::Reset), Clear(ClearType::All), MoveTo(0, 0))?;
    execute!(output, Show, LeaveAlternateScreen)
}

/// As it was. Failures are of no use to anyone: the terminal is gone then.
fn restore() {
    if !IS_GIVEN_BACK.swap(true, Ordering::Relaxed) {
        let _ = leave(&mut io::stdout());
        let _ = disable_raw_mode();
    }
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
        Ok(Self { tty: keyboard()? })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_within_reason() {
        let fit = |width, height| {
            let Size { width, height } = within_reason(Size { width, height });
            (width, height)
        };
        assert_eq!([fit(0, 0), fit(0, 9), fit(1, 1), fit(160, 50)], [(80, 24), (80, 24), (1, 1), (160, 50)]);
        assert_eq!(fit(u16::MAX, u16::MAX), (1_000, 500));
    }
}
