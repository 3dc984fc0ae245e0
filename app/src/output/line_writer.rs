//! Writes lines to a file or standard output in a thread, so that a slow or closed reader never blocks the run.

use std::io::{self, ErrorKind, Write};
use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot::{self, Receiver};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The most lines that wait for a slow reader: some 8 MiB of JSON. Lines beyond them are dropped and counted.
const WAITING_LINES: usize = 16_384;
/// The longest time that writing the last lines takes when tcptop ends and must not wait.
pub const FAREWELL: Duration = Duration::from_secs(2);

/// What happens to lines when too many wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// They are dropped and counted: a live interface cannot wait.
    Drop,
    /// They are kept, and the run waits for [`LineWriter::room`]: a capture can be read later.
    Wait,
}

/// Why lines can no longer be written.
#[derive(Debug)]
pub enum Stopped {
    /// The reader has closed its end of the pipe.
    ReaderGone,
    /// Writing failed.
    Failed(io::Error),
}

/// Some lines, as they are written.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    count: usize,
}

impl Lines {
    /// Adds a line; `write` appends it without its end.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.bytes.push(b'\n');
        self.count += 1;
    }

    /// Adds a text of one line or several.
    pub fn push_text(&mut self, text: &str) {
        self.push(|bytes| bytes.extend_from_slice(text.as_bytes()));
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The lines as text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Leaves the first `count` lines.
    fn truncate(&mut self, count: usize) {
        let ends = self.bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let length = ends.take(count).last().map_or(0, |(at, _)| at + 1);
        self.bytes.truncate(length);
        self.count = count;
    }
}

/// Lines that wait, and the room that they take.
struct Chunk {
    bytes: Vec<u8>,
    /// Given back once they are written.
    _room: Option<OwnedSemaphorePermit>,
}

/// Writes lines in the background.
#[derive(Debug)]
pub struct LineWriter {
    chunks: UnboundedSender<Chunk>,
    /// A permit for each line that can wait.
    room: Arc<Semaphore>,
    /// What became of the output, until it is reported.
    outcome: Option<Receiver<Result<(), Stopped>>>,
    when_full: WhenFull,
    dropped: u64,
}

impl LineWriter {
    /// Starts the thread that writes to `output`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(output: impl Write + Send + 'static, when_full: WhenFull) -> io::Result<Self> {
        let (chunks, waiting) = mpsc::unbounded_channel();
        let (report, outcome) = oneshot::channel();
        thread::Builder::new().name("output".to_owned()).spawn(move || {
            let mut waiting = waiting;
            // Nobody listens when the process is about to end: then it does not matter.
            let _ = report.send(write_all(&mut waiting, output));
        })?;
        let room = Arc::new(Semaphore::new(WAITING_LINES));
        Ok(Self { chunks, room, outcome: Some(outcome), when_full, dropped: 0 })
    }

    /// Queues lines and leaves `lines` empty. Many at once are cheaper: to wake the thread costs more than to write a
    /// line.
    ///
    /// # Errors
    /// When lines can no longer be written; once.
    pub fn write(&mut self, lines: &mut Lines) -> Result<(), Stopped> {
        let room = self.room.available_permits();
        if self.when_full == WhenFull::Drop && lines.count > room {
            self.dropped += (lines.count - room) as u64;
            lines.truncate(room);
        }
        if lines.is_empty() {
            return Ok(());
        }
        let permits = u32::try_from(lines.count.min(room)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(permits).ok();
        self.send(mem::take(lines).bytes, room)
    }

    /// Wakes the thread with nothing to write.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn wake(&mut self) -> Result<(), Stopped> {
        self.send(Vec::new(), None)
    }

    fn send(&mut self, bytes: Vec<u8>, room: Option<OwnedSemaphorePermit>) -> Result<(), Stopped> {
        if self.chunks.send(Chunk { bytes, _room: room }).is_ok() {
            return Ok(());
        }
        self.outcome.take().and_then(|mut outcome| outcome.try_recv().ok()).unwrap_or(Ok(()))
    }

    /// Waits until fewer lines wait than may. Ready at once where lines are dropped instead.
    pub fn room(&self) -> impl Future<Output = ()> + use<> {
        let (room, chunks) = (Arc::clone(&self.room), self.chunks.clone());
        let waits = self.when_full == WhenFull::Wait;
        async move {
            if waits {
                tokio::select! {
                    permit = room.acquire() => drop(permit),
                    // The thread has ended, and gives nothing back.
                    () = chunks.closed() => {}
                }
            }
        }
    }

    /// Lines that were dropped because too many waited.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Queues the last lines, however many wait, and returns when all are written; where lines are dropped, after
    /// [`FAREWELL`] at the latest.
    ///
    /// # Errors
    /// When something could not be written.
    pub async fn finish(mut self, last: Lines) -> Result<(), Stopped> {
        self.send(last.bytes, None)?;
        let Self { chunks, outcome, when_full, .. } = self;
        // Without a sender the thread ends.
        drop(chunks);
        let Some(outcome) = outcome else { return Ok(()) };
        let written = match when_full {
            WhenFull::Drop => timeout(FAREWELL, outcome).await.map_err(|_| Stopped::Failed(unread()))?,
            WhenFull::Wait => outcome.await,
        };
        // A thread that ended without a report has panicked, which has been shown.
        written.unwrap_or(Ok(()))
    }
}

/// Nobody reads what is written.
#[must_use]
pub fn unread() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "the reader does not read")
}

fn write_all(waiting: &mut UnboundedReceiver<Chunk>, mut output: impl Write) -> Result<(), Stopped> {
    let mut write = || -> io::Result<()> {
        while let Some(chunk) = waiting.blocking_recv() {
            output.write_all(&chunk.bytes)?;
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
    use std::sync::Mutex;

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

    /// Waits for a go before each write.
    struct Stepped(std::sync::mpsc::Receiver<()>, Shared);

    impl Write for Stepped {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Lines {
        let mut lines = Lines::default();
        texts.into_iter().for_each(|text| lines.push_text(text.as_ref()));
        lines
    }

    fn numbered(count: usize) -> Lines {
        lines((0..count).map(|line| line.to_string()))
    }

    #[tokio::test]
    async fn all_lines_arrive_in_order() {
        let output = Shared::default();
        let mut writer = LineWriter::new(output.clone(), WhenFull::Drop).unwrap();
        for line in 0..1_000 {
            writer.write(&mut lines([line.to_string()])).unwrap();
        }
        writer.finish(lines(["last"])).await.unwrap();
        let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[999], lines[1_000]), (1_001, "999", "last"));
    }

    #[tokio::test]
    async fn a_reader_that_went_away_is_not_a_failure_of_ours() {
        let writer = LineWriter::new(Broken(ErrorKind::BrokenPipe), WhenFull::Drop).unwrap();
        assert!(matches!(writer.finish(lines(["x"])).await, Err(Stopped::ReaderGone)));
        let writer = LineWriter::new(Broken(ErrorKind::StorageFull), WhenFull::Drop).unwrap();
        assert!(matches!(writer.finish(lines(["x"])).await, Err(Stopped::Failed(_))));
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_never_blocks() {
        let (reader, stuck) = io::pipe().unwrap();
        let mut writer = LineWriter::new(stuck, WhenFull::Drop).unwrap();
        for _ in 0..WAITING_LINES + 10_000 {
            writer.write(&mut lines(["x".repeat(100)])).unwrap();
        }
        assert!(writer.dropped() > 0);
        drop(reader);
    }

    /// The lines that there is room for are kept, whole, and the rest is counted; then there is room again.
    #[tokio::test]
    async fn lines_without_room_are_dropped_or_wait() {
        for when_full in [WhenFull::Drop, WhenFull::Wait] {
            let (go, gone) = std::sync::mpsc::channel();
            let output = Shared::default();
            let mut writer = LineWriter::new(Stepped(gone, output.clone()), when_full).unwrap();
            writer.write(&mut numbered(WAITING_LINES - 3)).unwrap();
            writer.room().await;
            writer.write(&mut numbered(10)).unwrap();
            let (dropped, kept) = if when_full == WhenFull::Drop { (7, 3) } else { (0, 10) };
            assert_eq!(writer.dropped(), dropped);
            let waits = timeout(Duration::from_millis(10), writer.room()).await.is_err();
            assert_eq!(waits, when_full == WhenFull::Wait);
            go.send(()).unwrap();
            writer.room().await;
            go.send(()).unwrap();
            go.send(()).unwrap();
            writer.finish(lines(["last"])).await.unwrap();
            let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
            assert_eq!(text.lines().count(), WAITING_LINES - 3 + kept + 1);
            assert!(text.ends_with(&format!("\n{}\nlast\n", kept - 1)), "{when_full:?}");
        }
    }

    #[tokio::test]
    async fn a_failure_is_reported_once() {
        let mut writer = LineWriter::new(Broken(ErrorKind::StorageFull), WhenFull::Drop).unwrap();
        while writer.write(&mut lines(["x"])).is_ok() {
            thread::yield_now();
        }
        assert!(writer.write(&mut lines(["x"])).is_ok());
        writer.finish(lines(["last"])).await.unwrap();
    }

    #[tokio::test]
    async fn nobody_waits_for_a_thread_that_has_ended() {
        let mut writer = LineWriter::new(Broken(ErrorKind::StorageFull), WhenFull::Wait).unwrap();
        writer.write(&mut numbered(2 * WAITING_LINES)).unwrap();
        timeout(Duration::from_secs(10), writer.room()).await.unwrap();
    }

    /// As a pager does, which reads a page and then waits for its person.
    #[tokio::test]
    async fn a_reader_may_take_its_time_where_lines_wait() {
        let (mut reader, slow) = io::pipe().unwrap();
        let mut writer = LineWriter::new(slow, WhenFull::Wait).unwrap();
        let reader = thread::spawn(move || {
            thread::sleep(FAREWELL + Duration::from_millis(200));
            let mut text = String::new();
            io::Read::read_to_string(&mut reader, &mut text).map(|_| text)
        });
        writer.write(&mut lines((0..2 * WAITING_LINES).map(|_| "x".repeat(100)))).unwrap();
        writer.room().await;
        writer.finish(lines(["last"])).await.unwrap();
        let text = reader.join().unwrap().unwrap();
        assert_eq!(text.lines().count(), 2 * WAITING_LINES + 1);
        assert!(text.ends_with("last\n"));
    }
}
