//! What every flow has sent, read out of the kernel's flow states: many at a time.

use std::io;
use std::os::fd::AsFd;

use aya::maps::MapData;
use probe_common::buckets::Bucket;
use probe_common::key::{FlowKey4, FlowKey6, Key};

use super::sys;
use tcptop_core::FlowVolumes;

/// Buckets that one system call reads.
const BATCH: usize = 256;

/// The kernel's flow states.
pub struct KernelFlows {
    v4: Table<FlowKey4>,
    v6: Table<FlowKey6>,
    /// The latest epoch of all flows, as of the last sweep.
    epoch: u32,
}

/// Those of one address family, and room for what is read of them.
struct Table<K> {
    map: MapData,
    room: Vec<Bucket<K>>,
}

impl KernelFlows {
    /// Reads from these maps, which are arrays of buckets for IPv4 and IPv6.
    #[must_use]
    pub fn new(v4: MapData, v6: MapData) -> Self {
        Self { v4: Table::new(v4), v6: Table::new(v6), epoch: 0 }
    }

    /// Passes to `take` what every flow has sent that may have sent anything since the last sweep. Most flows are silent,
    /// and whoever takes the figures has to look up each.
    ///
    /// # Errors
    /// When the kernel does not allow it.
    pub fn sweep(&mut self, mut take: impl FnMut(&FlowVolumes)) -> io::Result<()> {
        // The kernel notes the epoch of a packet before it counts the packet. A sweep in between sees no epoch that is
        // later than the next one's, so that the flow is passed on once more.
        let since = self.epoch.saturating_sub(1);
        let latest = [self.v4.sweep(since, &mut take)?, self.v6.sweep(since, &mut take)?];
        self.epoch = latest.into_iter().fold(self.epoch, u32::max);
        Ok(())
    }
}

impl<K: Key> Table<K> {
    fn new(map: MapData) -> Self {
        Self { map, room: vec![Bucket::EMPTY; BATCH] }
    }

    /// See [`KernelFlows::sweep`]. Returns the latest epoch.
    fn sweep(&mut self, since: u32, take: &mut impl FnMut(&FlowVolumes)) -> io::Result<u32> {
        let mut latest = 0;
        let mut position: Option<u32> = None;
        let mut keys = [0_u32; BATCH];
        loop {
            // SAFETY: the map's values are buckets of this family, which are made of integers without padding.
            let batch =
                unsafe { sys::lookup_batch(self.map.fd().as_fd(), position, &mut keys, &mut self.room) };
            let (read, next) = batch?;
            for (key, state) in self.room[..read].iter().flat_map(Bucket::iter) {
                latest = latest.max(state.epoch);
                if state.epoch >= since {
                    take(&FlowVolumes::of(key.ends(), state));
                }
            }
            match next {
                Some(next) => position = Some(next),
                None => return Ok(latest),
            }
        }
    }
}
