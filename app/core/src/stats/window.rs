//! A sliding window in slots.

/// The window slides by a tenth of its length.
pub(super) const SLOTS: usize = 10;

/// What can be kept per slot.
pub(super) trait Slot: Default {
    /// Forgets everything, to be used for a new span of time.
    fn clear(&mut self);
}

/// The last `SLOTS` spans of time. A slot is cleared when it is reused, so that a window that nobody writes to costs
/// nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Window<S> {
    slots: [S; SLOTS],
    /// Those that hold something, as bits: the others are not read.
    used: u16,
    /// The number of the newest span, counted from time 0.
    newest: u64,
}

impl<S: Slot> Window<S> {
    /// The slot that `now_ns` falls into, with slots `slot_ns` long; `None` before the window: what is reported late, such as
    /// an attempt that was given up a while ago, is dated to when it happened.
    pub(super) fn at(&mut self, now_ns: u64, slot_ns: u64) -> Option<&mut S> {
        let span = now_ns / slot_ns;
        self.advance(span);
        if span + (SLOTS as u64) <= self.newest {
            return None;
        }
        let index = index(span);
        self.used |= 1 << index;
        Some(&mut self.slots[index])
    }

    /// The slots that are still within the window at `now_ns`.
    pub(super) fn live(&self, now_ns: u64, slot_ns: u64) -> impl Iterator<Item = &S> {
        let span = now_ns / slot_ns;
        let oldest = span.saturating_sub(SLOTS as u64 - 1);
        let indices = (oldest..=self.newest.min(span)).map(index);
        indices.filter(|index| self.used & 1 << index != 0).map(|index| &self.slots[index])
    }

    /// All slots, whatever their time.
    pub(super) fn all(&self) -> impl Iterator<Item = &S> {
        self.slots.iter()
    }

    fn advance(&mut self, span: u64) {
        if span <= self.newest {
            return;
        }
        let passed = (span - self.newest).min(SLOTS as u64);
        for new in span - passed + 1..=span {
            let index = index(new);
            if self.used & 1 << index != 0 {
                self.used &= !(1 << index);
                self.slots[index].clear();
            }
        }
        self.newest = span;
    }
}

fn index(span: u64) -> usize {
    usize::try_from(span % SLOTS as u64).expect("less than SLOTS")
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Slot for u32 {
        fn clear(&mut self) {
            *self = 0;
        }
    }

    fn sum(window: &Window<u32>, now: u64) -> u32 {
        window.live(now, 1).sum()
    }

    #[test]
    fn what_is_older_than_the_window_is_gone() {
        let mut window = Window::default();
        for now in 100..110 {
            *window.at(now, 1).expect("the newest") += 1;
        }
        assert_eq!(sum(&window, 109), 10);
        assert_eq!(sum(&window, 112), 7);
        assert_eq!(sum(&window, 119), 0);
        *window.at(115, 1).expect("the newest") += 1;
        assert_eq!(sum(&window, 115), 5);
    }

    #[test]
    fn a_long_pause_clears_all_of_it() {
        let mut window = Window::default();
        *window.at(5, 1).expect("the newest") += 1;
        *window.at(1_000_005, 1).expect("the newest") += 1;
        assert_eq!(sum(&window, 1_000_005), 1);
    }

    #[test]
    fn what_is_late_counts_when_it_happened() {
        let mut window = Window::default();
        *window.at(100, 1).expect("the newest") += 1;
        *window.at(99, 1).expect("within the window") += 1;
        *window.at(91, 1).expect("the oldest") += 1;
        assert!(window.at(90, 1).is_none(), "before the window");
        assert_eq!(sum(&window, 100), 3);
        assert_eq!(sum(&window, 101), 2);
    }
}
