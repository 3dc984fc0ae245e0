//! Lines on their way from the one who makes them to the thread that writes them.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Lines that are taken at once. Beside those that wait, these are held.
const TAKEN: usize = 1_024;

/// A bounded queue that is filled and emptied many lines at a time.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
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
        Self { state: Mutex::default(), changed: Condvar::new(), limit }
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
        self.changed.notify_all();
        Some(left as u64)
    }

    /// Adds all, as room comes. Gives 0, the lines left out; `None` when nobody writes any more.
    pub(super) fn put(&self, mut lines: Vec<String>) -> Option<u64> {
        let mut state = self.lock();
        while !lines.is_empty() {
            state = self.wait(state, |state| state.lines.len() >= self.limit);
            if state.is_closed {
                return None;
            }
            let room = self.limit.saturating_sub(state.lines.len());
            state.lines.extend(lines.drain(..room.min(lines.len())));
            self.changed.notify_all();
        }
        (!state.is_closed).then_some(0)
    }

    /// Adds the last line, whether there is room or not.
    pub(super) fn end(&self, last: String) {
        let mut state = self.lock();
        if !state.is_closed {
            state.lines.push_back(last);
        }
        drop(state);
        self.close();
    }

    /// No more is added; what is there can still be taken.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// The next lines, when there are some; `None` after the last.
    pub(super) fn take(&self) -> Option<Vec<String>> {
        let mut state = self.wait(self.lock(), |state| state.lines.is_empty());
        let taken = state.lines.len().min(TAKEN);
        let lines: Vec<String> = state.lines.drain(..taken).collect();
        self.changed.notify_all();
        (!lines.is_empty()).then_some(lines)
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        is_in_vain: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        let wait = |state: &mut State| !state.is_closed && is_in_vain(state);
        self.changed.wait_while(state, wait).unwrap_or_else(PoisonError::into_inner)
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

    fn lines(count: usize) -> Vec<String> {
        (0..count).map(|line| line.to_string()).collect()
    }

    #[test]
    fn what_there_is_no_room_for_is_left_out_or_waits() {
        let queue = Queue::new(10);
        assert_eq!(queue.offer(lines(7)), Some(0));
        assert_eq!(queue.offer(lines(7)), Some(4));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.put(lines(25)));
            let mut taken = 0;
            while taken < 35 {
                taken += queue.take().unwrap().len();
            }
            assert_eq!((taken, waiting.join().unwrap()), (35, Some(0)));
        });
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
