//! What time it is in a capture that is read: that of its latest packet, or later while a live stream is silent.

use std::time::{Duration, Instant};

use crate::clock::wall_ns;

/// A stream whose packets are so far ahead of the reader's clock is not live: a file that is read through a pipe.
const SLACK: Duration = Duration::from_secs(2);
/// Nor is one whose packets are older, unless its time has gone on as the reader's since it began.
const RECENT: Duration = Duration::from_secs(10);

/// The time of a capture.
#[derive(Debug)]
pub(super) struct StreamTime {
    is_stream: bool,
    /// The first packets: when they came, and the capture's time then, in nanoseconds.
    began: Option<(Instant, u64)>,
    /// The latest ones.
    latest: (Instant, u64),
    /// Time goes on without packets.
    is_live: bool,
}

impl StreamTime {
    pub(super) fn new(is_stream: bool) -> Self {
        Self { is_stream, began: None, latest: (Instant::now(), 0), is_live: false }
    }

    /// Packets came, the latest of this time.
    pub(super) fn arrive(&mut self, time_ns: u64) {
        let now = Instant::now();
        let (began, began_ns) = *self.began.get_or_insert((now, time_ns));
        self.latest = (now, time_ns.max(self.latest.1));
        let passed = Duration::from_nanos(time_ns.saturating_sub(began_ns));
        self.is_live = self.is_stream && (passed <= began.elapsed() + SLACK || is_recent(time_ns));
    }

    /// How far the packets have come.
    pub(super) const fn reached_ns(&self) -> u64 {
        self.latest.1
    }

    /// Now.
    pub(super) fn now_ns(&self) -> u64 {
        let (since, reached_ns) = self.latest;
        if !self.is_live {
            return reached_ns;
        }
        reached_ns.saturating_add(u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Whether this is about the present time, as nanoseconds since 1970.
fn is_recent(time_ns: u64) -> bool {
    Duration::from_nanos(wall_ns().abs_diff(time_ns)) <= RECENT
}
