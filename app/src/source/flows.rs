//! What every flow has sent, read out of the kernel's flow states: many at a time.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use aya::maps::MapData;
use nix::libc;
use probe_common::buckets::Bucket;
use probe_common::key::{FlowKey4, FlowKey6, Key};

use tcptop_core::table::FlowVolumes;

/// Buckets that one system call reads.
const BATCH: usize = 256;
/// `BPF_MAP_LOOKUP_BATCH` (`linux/bpf.h`).
const LOOKUP_BATCH: libc::c_int = 24;

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

    /// Hands to `take` what every flow has sent that may have spoken since the last sweep: most are silent, and whoever
    /// takes has to look for each.
    ///
    /// # Errors
    /// When the kernel does not give them.
    pub fn sweep(&mut self, mut take: impl FnMut(&FlowVolumes)) -> io::Result<()> {
        // The kernel notes the epoch of a packet before it counts it. A sweep that comes between sees none that is
        // later than the next, so that the flow is handed over once more.
        let since = self.epoch.saturating_sub(1);
        let latest = [self.v4.sweep(since, &mut take)?, self.v6.sweep(since, &mut take)?];
        self.epoch = latest.into_iter().fold(self.epoch, u32::max);
        Ok(())
    }
}

/// `union bpf_attr`, as far as `BPF_MAP_LOOKUP_BATCH` takes it.
#[repr(C)]
struct BatchAttributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

impl<K: Key> Table<K> {
    fn new(map: MapData) -> Self {
        Self { map, room: vec![Bucket::EMPTY; BATCH] }
    }

    /// See [`KernelFlows::sweep`]. Gives the latest epoch.
    fn sweep(&mut self, since: u32, take: &mut impl FnMut(&FlowVolumes)) -> io::Result<u32> {
        let mut latest = 0;
        let mut position: Option<u32> = None;
        loop {
            let (read, next) = self.read(position)?;
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

    /// Reads the next buckets. Gives how many, and where to go on; `None` after the last.
    fn read(&mut self, position: Option<u32>) -> io::Result<(usize, Option<u32>)> {
        let (mut keys, mut next) = ([0_u32; BATCH], 0_u32);
        let mut attributes = BatchAttributes {
            in_batch: position.as_ref().map_or(0, |position| std::ptr::from_ref(position).addr() as u64),
            out_batch: (&raw mut next).addr() as u64,
            keys: keys.as_mut_ptr().addr() as u64,
            values: self.room.as_mut_ptr().addr() as u64,
            count: u32::try_from(BATCH).expect("a few hundred"),
            map: self.map.fd().as_fd().as_raw_fd().cast_unsigned(),
            element_flags: 0,
            flags: 0,
        };
        let size = size_of::<BatchAttributes>();
        // SAFETY: the kernel reads and writes the attributes, which are words without padding, and writes at most
        // `count` keys and values to where there is room for as many. A bucket is made of integers without padding, so
        // that any bytes are one.
        let result = unsafe { libc::syscall(libc::SYS_bpf, LOOKUP_BATCH, &raw mut attributes, size) };
        let read = attributes.count as usize;
        if result == 0 {
            // The kernel wrote it, unseen by the compiler.
            return Ok((read.min(BATCH), Some(std::hint::black_box(next))));
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENOENT) => Ok((read.min(BATCH), None)),
            error => Err(error),
        }
    }
}
