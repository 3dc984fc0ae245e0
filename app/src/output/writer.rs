//! Standard output behind a thread: a reader that is slow or gone never stalls the probe's.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot::{self, Receiver};
use tokio::time::timeout;

use super::queue::Queue;

/// Lines that wait for a slow reader at the most: some 8 MiB of JSON. What comes on top is counted.
const WAITING_LINES: usize = 16_384;
/// How long the last lines may take when tcptop ends and must not wait.
pub const FAREWELL: Duration = Duration::from_secs(2);

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
    queue: Arc<Queue>,
    /// What became of the output, until it was told.
    outcome: Option<Receiver<Result<(), Stopped>>>,
    when_full: WhenFull,
    unwritten: u64,
}

impl LineWriter {
    /// Starts the thread that writes to `output`.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn new(output: impl Write + Send + 'static, when_full: WhenFull) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(WAITING_LINES));
        let (report, outcome) = oneshot::channel();
        let waiting = Arc::clone(&queue);
        thread::Builder::new().name("output".to_owned()).spawn(move || {
            // Nobody listens when the process is about to end: then it does not matter.
            let _ = report.send(write_all(&waiting, output));
            waiting.close();
        })?;
        Ok(Self { queue, outcome: Some(outcome), when_full, unwritten: 0 })
    }

    /// Queues lines: many at once, as each time the thread is woken costs more than writing a line.
    ///
    /// # Errors
    /// When lines can no longer be written.
    pub fn lines(&mut self, lines: Vec<String>) -> Result<(), Stopped> {
        let left = match self.when_full {
            WhenFull::Count => self.queue.offer(lines),
            WhenFull::Wait => self.queue.put(lines),
        };
        match left {
            Some(left) => {
                self.unwritten += left;
                Ok(())
            }
            None => self.outcome.take().and_then(|mut outcome| outcome.try_recv().ok()).unwrap_or(Ok(())),
        }
    }

    /// Waits until fewer lines wait than may; never, where lines are counted instead.
    pub fn room(&self) -> impl Future<Output = ()> + use<> {
        let (queue, when_full) = (Arc::clone(&self.queue), self.when_full);
        async move {
            match when_full {
                WhenFull::Count => {}
                WhenFull::Wait => queue.room().await,
            }
        }
    }

    /// Lines that were not written because too many waited.
    #[must_use]
    pub const fn unwritten(&self) -> u64 {
        self.unwritten
    }

    /// Queues the last line, even behind many, and waits until all is written: when lines do not wait, not
    /// for long.
    ///
    /// # Errors
    /// When something could not be written.
    pub async fn finish(mut self, last: String) -> Result<(), Stopped> {
        self.queue.end(last);
        let Some(outcome) = self.outcome.take() else { return Ok(()) };
        let written = match self.when_full {
            WhenFull::Count => timeout(FAREWELL, outcome).await.map_err(|_| Stopped::Failed(unread()))?,
            WhenFull::Wait => outcome.await,
        };
        // A thread that is gone without a word has written all that it was given.
        written.unwrap_or(Ok(()))
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Nobody reads what is written.
#[must_use]
pub fn unread() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "the reader does not read")
}

fn write_all(queue: &Queue, output: impl Write) -> Result<(), Stopped> {
    let mut output = io::BufWriter::new(output);
    let mut write = || -> io::Result<()> {
        while let Some(lines) = queue.take() {
            lines.iter().try_for_each(|line| writeln!(output, "{line}"))?;
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

    #[tokio::test]
    async fn all_lines_arrive_in_order() {
        let output = Shared::default();
        let mut writer = LineWriter::new(output.clone(), WhenFull::Count).unwrap();
        for line in 0..1_000 {
            writer.lines(vec![line.to_string()]).unwrap();
        }
        writer.finish("last".to_owned()).await.unwrap();
        let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[999], lines[1_000]), (1_001, "999", "last"));
    }

    #[tokio::test]
    async fn a_reader_that_went_away_is_not_a_failure_of_ours() {
        let writer = LineWriter::new(Broken(ErrorKind::BrokenPipe), WhenFull::Count).unwrap();
        assert!(matches!(writer.finish("x".to_owned()).await, Err(Stopped::ReaderGone)));
        let writer = LineWriter::new(Broken(ErrorKind::StorageFull), WhenFull::Count).unwrap();
        assert!(matches!(writer.finish("x".to_owned()).await, Err(Stopped::Failed(_))));
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_never_blocks() {
        let (reader, stuck) = io::pipe().unwrap();
        let mut writer = LineWriter::new(stuck, WhenFull::Count).unwrap();
        for _ in 0..WAITING_LINES + 10_000 {
            writer.lines(vec!["x".repeat(100)]).unwrap();
        }
        assert!(writer.unwritten() > 0);
        drop(reader);
    }

    /// As a pager does, which reads a page and then waits for its person.
    #[tokio::test]
    async fn a_failure_is_told_once() {
        let mut writer = LineWriter::new(Broken(ErrorKind::StorageFull), WhenFull::Count).unwrap();
        while writer.lines(vec!["x".to_owned()]).is_ok() {
            thread::yield_now();
        }
        assert!(writer.lines(vec!["x".to_owned()]).is_ok());
        writer.finish("last".to_owned()).await.unwrap();
    }

    #[tokio::test]
    async fn a_reader_may_take_its_time_where_lines_wait() {
        let (mut reader, slow) = io::pipe().unwrap();
        let mut writer = LineWriter::new(slow, WhenFull::Wait).unwrap();
        let reader = thread::spawn(move || {
            thread::sleep(FAREWELL + Duration::from_millis(200));
            let mut text = String::new();
            io::Read::read_to_string(&mut reader, &mut text).map(|_| text)
        });
        writer.lines(vec!["x".repeat(100); 2 * WAITING_LINES]).unwrap();
        writer.room().await;
        writer.finish("last".to_owned()).await.unwrap();
        let text = reader.join().unwrap().unwrap();
        assert_eq!(text.lines().count(), 2 * WAITING_LINES + 1);
        assert!(text.ends_with("last\n"));
    }
}
