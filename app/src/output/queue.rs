//! Lines on their way from the one who makes them to the thread that writes them.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Lines that are taken at once. Beside those that wait, these are held.
const TAKEN: usize = 1_024;

/// A bounded queue that is filled and emptied many lines at a time.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Something came, or nothing more will.
    filled: Condvar,
    /// Something was taken, or nothing more will be.
    emptied: Notify,
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<String>,
    /// No more lines come, or nobody writes any.
    is_closed: bool,
}

impl Queue {
    /// Room for `limit` lines.
    pub(super) fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), filled: Condvar::new(), emptied: Notify::new(), limit }
    }

    /// Adds those that there is room for. Gives how many were left out; `None` when nobody writes any more.
    pub(super) fn offer(&self, mut lines: Vec<String>) -> Option<u64> {
        let mut state = self.lock();
        if state.is_closed {
            return None;
        }
        let room = self.limit.saturating_sub(state.lines.len());
        let left = lines.len().saturating_sub(room);
        lines.truncate(room);
        state.lines.extend(lines);
        self.filled.notify_all();
        Some(left as u64)
    }

    /// Adds all, whether there is room or not: who cares waits for [`room`](Self::room) before. Gives 0, the lines left
    /// out; `None` when nobody writes any more.
    pub(super) fn put(&self, lines: Vec<String>) -> Option<u64> {
        let mut state = self.lock();
        if state.is_closed {
            return None;
        }
        state.lines.extend(lines);
        self.filled.notify_all();
        Some(0)
    }

    /// Waits until there is room, or nobody writes any more.
    pub(super) async fn room(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.has_room() {
                return;
            }
            emptied.await;
        }
    }

    fn has_room(&self) -> bool {
        let state = self.lock();
        state.is_closed || state.lines.len() < self.limit
    }

    /// Adds the last line, whether there is room or not.
    pub(super) fn end(&self, last: String) {
        // When nobody writes any more it does not matter.
        let _ = self.put(vec![last]);
        self.close();
    }

    /// No more is added; what is there can still be taken.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.filled.notify_all();
        self.emptied.notify_one();
    }

    /// The next lines, when there are some; `None` after the last.
    pub(super) fn take(&self) -> Option<Vec<String>> {
        let is_in_vain = |state: &mut State| !state.is_closed && state.lines.is_empty();
        let state = self.filled.wait_while(self.lock(), is_in_vain);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let taken = state.lines.len().min(TAKEN);
        let lines: Vec<String> = state.lines.drain(..taken).collect();
        self.emptied.notify_one();
        (!lines.is_empty()).then_some(lines)
    }

    /// Nothing under the lock can panic half-way, so it is never poisoned with something half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Duration;
    use tokio::time::timeout;

    fn lines(count: usize) -> Vec<String> {
        (0..count).map(|line| line.to_string()).collect()
    }

    #[tokio::test]
    async fn what_there_is_no_room_for_is_left_out_or_waits() {
        let queue = Queue::new(10);
        assert_eq!(queue.offer(lines(7)), Some(0));
        queue.room().await;
        assert_eq!(queue.offer(lines(7)), Some(4));
        let in_vain = timeout(Duration::from_millis(10), queue.room()).await;
        assert!(in_vain.is_err(), "it is full");
        thread::scope(|scope| {
            scope.spawn(|| assert_eq!(queue.take().unwrap().len(), 10));
        });
        queue.room().await;
        assert_eq!(queue.put(lines(25)), Some(0));
        assert_eq!(queue.take().unwrap().len(), 25);
    }

    #[test]
    fn the_last_line_comes_last_and_after_it_nothing() {
        let queue = Queue::new(2);
        assert_eq!(queue.offer(lines(2)), Some(0));
        queue.end("last".to_owned());
        assert_eq!(queue.take(), Some(vec!["0".to_owned(), "1".to_owned(), "last".to_owned()]));
        assert_eq!((queue.take(), queue.offer(lines(1)), queue.put(lines(1))), (None, None, None));
    }
}
