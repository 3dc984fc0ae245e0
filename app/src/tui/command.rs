//! What the screen asks of the rest of the program.

use tcptop_core::SnapshotRequest;

/// A command of the person at the screen.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Snapshots with other contents.
    Request(Box<SnapshotRequest>),
    /// Another window, in nanoseconds.
    Window(u64),
    /// All counters restart at 0.
    Reset,
    /// The end of the run.
    Quit,
}
