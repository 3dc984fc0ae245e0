//! The ring buffer that records come through.

use std::io;
use std::thread;
use std::time::Duration;

use aya::maps::{Map, MapData, RingBuf};
use probe_common::{Record, ResetRecord, SegmentKind, SegmentRecord};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::failures;
use crate::error::Error;

/// Records that are handed on together: many enough that their flows can be asked for at once, few enough that they stay
/// in the nearest cache.
const TOGETHER: usize = 64;
/// Why a socket has sent a RST follows the RST within microseconds: it is waited for once, and for so many records of others.
const REASON_WAIT: Duration = Duration::from_micros(100);
const REASON_BEHIND: usize = 16;

pub(super) struct Ring {
    ring: AsyncFd<RingBuf<MapData>>,
    /// Those that are handed on together.
    decoded: Vec<Record>,
    undecodable: u64,
    /// In the order of their indexes.
    views: Vec<View>,
    /// From this time on every record counts.
    complete_ns: u64,
    /// Whether the reason of a RST follows the RST.
    awaits_reasons: bool,
}

/// So many interfaces are remembered, whose records may still come: more than most hosts have.
const VIEWS: usize = 4_096;

/// An interface that programs are or were attached to.
#[derive(Clone, Copy)]
struct View {
    /// Its index, which records have.
    index: u32,
    /// The index under which its flows are known: that of the first interface of its name.
    id: u32,
    /// Since when all its packets are seen.
    complete_ns: u64,
}

impl Ring {
    pub(super) fn new(map: Map) -> Result<Self, Error> {
        let ring = RingBuf::try_from(map).map_err(|error| Error::kernel("open the ring buffer", error))?;
        // SAFETY: the ring owns its descriptor, returns the same one at every call and is only dropped with this
        // `AsyncFd`.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(|error| Error::System { what: "wait for the ring buffer", source: error.into() })?;
        let decoded = Vec::with_capacity(TOGETHER);
        Ok(Self { ring, decoded, undecodable: 0, views: Vec::new(), complete_ns: 0, awaits_reasons: false })
    }

    /// All packets of the interface with this index are seen from `complete_ns` on: its earlier records are dropped. Its
    /// flows are known under the index `id`.
    ///
    /// Of those that are gone, so many are remembered: records of them may still come.
    pub(super) fn view(&mut self, index: u32, id: u32, complete_ns: u64, is_attached: impl Fn(u32) -> bool) {
        self.views.retain(|view| view.index != index);
        if self.views.len() >= VIEWS {
            let gone = self.views.iter().filter(|view| !is_attached(view.index));
            let oldest = gone.min_by_key(|view| view.complete_ns).map(|view| view.index);
            self.views.retain(|view| Some(view.index) != oldest);
        }
        let place = self.views.partition_point(|view| view.index < index);
        self.views.insert(place, View { index, id, complete_ns });
        self.complete_ns = self.complete_ns.max(complete_ns);
    }

    /// The index under which the flows of the interface with this index are known.
    pub(super) fn id(&self, index: u32) -> u32 {
        self.views.iter().find(|view| view.index == index).map_or(index, |view| view.id)
    }

    /// See [`KernelSource::ids`](super::KernelSource::ids).
    pub(super) fn ids(&self) -> Vec<(u32, u32)> {
        self.views.iter().map(|view| (view.index, view.id)).collect()
    }

    /// Whether the kernel says why sockets send RSTs: then a RST is handed on together with its reason.
    pub(super) const fn await_reasons(&mut self, awaits_reasons: bool) {
        self.awaits_reasons = awaits_reasons;
    }

    /// See [`KernelSource::readable`](super::KernelSource::readable).
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.ring.readable().await?.clear_ready();
        Ok(())
    }

    /// See [`KernelSource::drain`](super::KernelSource::drain).
    pub(super) fn drain(&mut self, most: usize, mut take: impl FnMut(&[Record]) -> bool) -> usize {
        let mut taken = 0;
        loop {
            let more = self.fill(TOGETHER.min(most.saturating_sub(taken)));
            taken += more;
            if more == 0 || !take(&self.decoded) {
                return taken;
            }
        }
    }

    /// Reads up to so many records, and a few more where one of them awaits its reason. Returns how many.
    fn fill(&mut self, most: usize) -> usize {
        let Self { ring, decoded, undecodable, views, complete_ns, awaits_reasons } = self;
        let ring = ring.get_mut();
        // Where interfaces have come since the start, each has a beginning of its own.
        let is_plain = views.iter().all(|view| view.id == view.index);
        let (mut taken, mut awaited, mut has_waited) = (0, None, false);
        decoded.clear();
        while taken < most || awaited.is_some() && taken < most + REASON_BEHIND {
            let Some(item) = ring.next() else {
                if awaited.is_none() || has_waited {
                    break;
                }
                has_waited = true;
                thread::sleep(REASON_WAIT);
                continue;
            };
            taken += 1;
            match Record::decode(&item) {
                // Whatever the interface is: one that is not watched shows no SYN.
                Ok(Record::Failure(mut failure)) => {
                    failures::ask_route(&mut failure);
                    decoded.extend(viewed(failure.into(), views));
                }
                Ok(record) => {
                    if *awaits_reasons {
                        awaited = still_awaited(awaited, &record);
                    }
                    if is_plain && record.time_ns() >= *complete_ns {
                        decoded.push(record);
                    } else {
                        decoded.extend(viewed(record, views));
                    }
                }
                Err(_) => *undecodable += 1,
            }
        }
        taken
    }

    pub(super) const fn undecodable(&self) -> u64 {
        self.undecodable
    }
}

/// The cookie of the socket whose reason for a RST has not come yet.
fn still_awaited(awaited: Option<u64>, record: &Record) -> Option<u64> {
    match record {
        Record::Segment(SegmentRecord { kind: SegmentKind::Rst, cookie, .. }) if *cookie != 0 => {
            Some(*cookie)
        }
        Record::Reset(ResetRecord { cookie, .. }) if awaited == Some(*cookie) => None,
        _ => awaited,
    }
}

/// The record under the index that its interface is known by, or nothing when it is from before all packets were seen.
fn viewed(mut record: Record, views: &[View]) -> Option<Record> {
    let time_ns = record.time_ns();
    let interface = match &mut record {
        Record::Segment(segment) => &mut segment.interface,
        Record::EvictedFlow(flow) => &mut flow.interface,
        Record::Icmp(icmp) => &mut icmp.interface,
        Record::Failure(failure) => {
            let began_ns = failure.began_ns.unwrap_or(failure.time_ns);
            let Some(index) = failure.interface else { return Some(record) };
            let view = views.iter().find(|view| view.index == index && began_ns >= view.complete_ns)?;
            failure.interface = Some(view.id);
            return Some(record);
        }
        // They are about a socket, which may be older than the view.
        Record::Owner(_) | Record::Reset(_) => return Some(record),
    };
    let place = views.binary_search_by_key(interface, |view| view.index).ok()?;
    let view = views.get(place)?;
    *interface = view.id;
    (time_ns >= view.complete_ns).then_some(record)
}
