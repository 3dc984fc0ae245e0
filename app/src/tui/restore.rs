//! Restores the terminal: once, whether by the normal exit, a panic, a stop signal or the guard process.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{MoveTo, Show};
use crossterm::event::DisableMouseCapture;
use crossterm::style::{Attribute, SetAttribute};
use crossterm::terminal::{Clear, ClearType, LeaveAlternateScreen, disable_raw_mode};
use crossterm::{execute, queue};

/// Whether the terminal was restored: nothing may be drawn on it any more.
static IS_RESTORED: AtomicBool = AtomicBool::new(false);

/// The terminal is in use (again).
pub(super) fn mark_in_use() {
    IS_RESTORED.store(false, Ordering::Relaxed);
}

/// Returns whether the terminal is the shell's again.
pub(super) fn is_restored() -> bool {
    IS_RESTORED.load(Ordering::Relaxed)
}

/// Writes what leaves the alternate screen. Old consoles have none to leave: theirs is cleared.
///
/// # Errors
/// When the terminal cannot be written to.
pub(super) fn leave_screen(output: &mut impl Write) -> io::Result<()> {
    queue!(output, DisableMouseCapture, SetAttribute(Attribute::Reset), Clear(ClearType::All), MoveTo(0, 0))?;
    execute!(output, Show, LeaveAlternateScreen)
}

/// Restores the terminal unless that was done. Errors are ignored: the terminal is gone then.
pub(super) fn restore() {
    if !IS_RESTORED.swap(true, Ordering::Relaxed) {
        let _ = leave_screen(&mut io::stdout());
        let _ = disable_raw_mode();
    }
}

/// Restores the terminal before a panic is reported: on the alternate screen the message would disappear.
pub(super) fn restore_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        restore();
        report(panic);
    }));
}
