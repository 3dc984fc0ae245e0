//! Standard output behind a thread: a reader that is slow or gone never stalls the probe's.

use std::io::{self, ErrorKind, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

/// Lines that wait for a slow reader at the most: some 8 MiB of JSON. What comes on top is counted.
const WAITING_LINES: usize = 16_384;
/// How long the last lines may take when tcptop ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// What happens to a line when too many wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It is counted, and lost: nothing may hold up what watches a live interface.
    Count,
    /// It waits: a capture can be read later just as well.
    Wait,
}

/// Why lines can no longer be written.
#[derive(Debug)]
pub enum Stopped {
    /// The reader went away: a quiet end.
    ReaderGone,
    /// Something is wrong with the output.
    Failed(io::Error),
}

/// Writes lines in the background.
#[derive(Debug)]
pub struct LineWriter {
    lines: SyncSender<String>,
    outcome: Receiver<Result<(), Stopped>>,
    when_full: WhenFull,
    unwritten: u64,
}

impl LineWriter {
    /// Starts the thread that writes to `output`.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn new(output: impl Write + Send + 'static, when_full: WhenFull) -> io::Result<Self> {
        let (lines, waiting) = mpsc::sync_channel(WAITING_LINES);
        let (report, outcome) = mpsc::sync_channel(1);
        thread::Builder::new().name("output".to_owned()).spawn(move || {
            // Nobody listens when the process is about to end: then it does not matter.
            let _ = report.send(write_all(&waiting, output));
        })?;
        Ok(Self { lines, outcome, when_full, unwritten: 0 })
    }

    /// Queues a line.
    ///
    /// # Errors
    /// When lines can no longer be written.
    pub fn line(&mut self, line: String) -> Result<(), Stopped> {
        let queued = match (self.lines.try_send(line), self.when_full) {
            (Ok(()), _) => true,
            (Err(TrySendError::Full(_)), WhenFull::Count) => {
                self.unwritten += 1;
                true
            }
            (Err(TrySendError::Full(line)), WhenFull::Wait) => self.lines.send(line).is_ok(),
            (Err(TrySendError::Disconnected(_)), _) => false,
        };
        if queued { Ok(()) } else { self.outcome.recv().unwrap_or(Ok(())) }
    }

    /// Lines that were not written because too many waited.
    #[must_use]
    pub const fn unwritten(&self) -> u64 {
        self.unwritten
    }

    /// Queues the last line, even behind many, and waits until all is written, or not for long.
    ///
    /// # Errors
    /// When something could not be written.
    pub fn finish(self, last: Option<String>) -> Result<(), Stopped> {
        let Self { lines, outcome, .. } = self;
        // Blocks while the queue is full, hence apart.
        thread::spawn(move || last.map(|last| lines.send(last)));
        match outcome.recv_timeout(FAREWELL) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                Err(Stopped::Failed(io::Error::new(ErrorKind::TimedOut, "the reader does not read")))
            }
            Err(RecvTimeoutError::Disconnected) => Ok(()),
        }
    }
}

fn write_all(lines: &Receiver<String>, output: impl Write) -> Result<(), Stopped> {
    let mut output = io::BufWriter::new(output);
    let mut write = || -> io::Result<()> {
        while let Ok(line) = lines.recv() {
            writeln!(output, "{line}")?;
            // Flushed when there is nothing more to add, so that nobody waits for a full buffer.
            while let Ok(line) = lines.try_recv() {
                writeln!(output, "{line}")?;
            }
            output.flush()?;
        }
        Ok(())
    };
    write().map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Stopped::ReaderGone,
        _ => Stopped::Failed(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn all_lines_arrive_in_order() {
        let output = Shared::default();
        let mut writer = LineWriter::new(output.clone(), WhenFull::Count).unwrap();
        for line in 0..1_000 {
            writer.line(line.to_string()).unwrap();
        }
        writer.finish(Some("last".to_owned())).unwrap();
        let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[999], lines[1_000]), (1_001, "999", "last"));
    }

    #[test]
    fn a_reader_that_went_away_is_not_a_failure_of_ours() {
        let writer = LineWriter::new(Broken(ErrorKind::BrokenPipe), WhenFull::Count).unwrap();
        assert!(matches!(writer.finish(Some("x".to_owned())), Err(Stopped::ReaderGone)));
        let writer = LineWriter::new(Broken(ErrorKind::StorageFull), WhenFull::Count).unwrap();
        assert!(matches!(writer.finish(Some("x".to_owned())), Err(Stopped::Failed(_))));
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_never_blocks() {
        let (reader, stuck) = io::pipe().unwrap();
        let mut writer = LineWriter::new(stuck, WhenFull::Count).unwrap();
        for _ in 0..WAITING_LINES + 10_000 {
            writer.line("x".repeat(100)).unwrap();
        }
        assert!(writer.unwritten() > 0);
        drop(reader);
    }
}
