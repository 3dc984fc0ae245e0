//! The probe on the host: packets in, records out, by the code that the kernel programs run.
//!
//! Replay, tests, benchmarks and fuzzers drive `probe-common` through [`HostProbe`] and nothing else. Records come out
//! as the bytes that the kernel puts into its ring buffer, so that whoever reads them decodes them as in a live run.

mod flows;
mod sink;

use std::hash::{BuildHasher, RandomState};

use probe_common::PassedOver;
use probe_common::buckets::Bucket;
use probe_common::counter::Counters;
use probe_common::encapsulation::{Layer, locate};
use probe_common::key::{Ends, FlowKey4, FlowKey6};
use probe_common::process::process_parsed;
use probe_common::{
    Clock, Counter, Environment, Family, FlowState, Hook, LinkLayer, ParsedIcmp, ParsedPacket, Progress,
    RecordSink, Segment, Size, Unparsed, fast_path, process, process_icmp,
};

use crate::flows::HostFlows;
use crate::sink::HostSink;

/// A packet, and where it was seen.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// What is there of its bytes, from the link header on.
    pub bytes: &'a [u8],
    /// How much it was on its interface.
    pub size: Size,
    /// Where it passed.
    pub hook: Hook,
}

impl<'a> Packet<'a> {
    /// A packet of which every byte is there, and which stands for one segment.
    ///
    /// # Panics
    /// When it is longer than 4 GiB.
    #[must_use]
    pub fn whole(bytes: &'a [u8], hook: Hook) -> Self {
        let length = u32::try_from(bytes.len()).expect("no packet is that long");
        Self { bytes, size: Size { bytes: length, segments: 1 }, hook }
    }
}

/// The clock of captured packets: the time of the packet, in nanoseconds. An epoch takes 256 ms, as the kernel's does at
/// 250 ticks a second.
#[derive(Clone, Copy, Debug)]
pub struct PacketTime(pub u64);

const EPOCH_NS: u64 = 256_000_000;

impl Clock for PacketTime {
    fn now_ns(&self) -> u64 {
        self.0
    }

    #[allow(clippy::cast_possible_truncation, reason = "epochs are compared; they wrap after 34 years")]
    fn epoch(&self) -> u32 {
        (self.0 / EPOCH_NS) as u32
    }
}

/// The probe, its flow states and its counters.
pub struct HostProbe {
    flows: HostFlows,
    counters: Counters,
    has_fast_path: bool,
    decap: bool,
}

impl HostProbe {
    /// A probe that remembers `flows` flows of each address family, at least 1, in buckets that nobody outside can aim at.
    #[must_use]
    pub fn new(flows: u32) -> Self {
        Self::with_seed(flows, RandomState::new().hash_one(flows))
    }

    /// The same, with keys hashed by `seed`: the same packets evict the same flows in every run.
    #[must_use]
    pub fn with_seed(flows: u32, seed: u64) -> Self {
        Self {
            flows: HostFlows::new(flows, seed),
            counters: Counters::default(),
            has_fast_path: true,
            decap: false,
        }
    }

    /// The same probe without [`fast_path`]: every packet takes the long way, with the same results.
    #[must_use]
    pub fn without_fast_path(self) -> Self {
        Self { has_fast_path: false, ..self }
    }

    /// The same probe with a look into what may carry TCP, as [`locate`] does.
    #[must_use]
    pub fn with_decap(self) -> Self {
        Self { decap: true, ..self }
    }

    /// Looks at a packet. Hands each record that it makes to `emit`, as bytes: that of a flow which is evicted for its
    /// flow first, then its own.
    pub fn process(&mut self, packet: &Packet<'_>, clock: &impl Clock, emit: impl FnMut(&[u8])) {
        let Self { flows, counters, has_fast_path, decap } = self;
        let Packet { bytes, size, hook } = packet;
        let progress =
            if *has_fast_path { fast_path(*bytes, *size, hook, flows, clock) } else { Progress::Unusual };
        let mut sink = HostSink { counters, emit };
        let mut environment = Environment { flows, clock, sink: &mut sink };
        let processed = match progress {
            Progress::Done => return,
            Progress::NotTcp => Err(Unparsed::NotTcp),
            Progress::Icmp => Err(Unparsed::Icmp),
            Progress::Unusual => process(*bytes, *size, hook, &mut environment),
        };
        let processed = match processed {
            Err(Unparsed::Icmp) => {
                ParsedIcmp::read(*bytes, *size, hook).map(|icmp| process_icmp(&icmp, &mut environment))
            }
            Err(Unparsed::NotTcp) if *decap => {
                inner(packet).and_then(|inner| process_any(&inner, &mut environment))
            }
            processed => processed,
        };
        if let Err(unparsed) = processed {
            sink.count(Counter::Unparsed(unparsed));
        }
    }

    /// Looks at a packet that was read before. As [`process`](Self::process).
    pub fn process_parsed(&mut self, packet: &ParsedPacket, clock: &impl Clock, emit: impl FnMut(&[u8])) {
        let Self { flows, counters, .. } = self;
        let mut sink = HostSink { counters, emit };
        let mut environment = Environment { flows, clock, sink: &mut sink };
        if let Err(unparsed) = process_any(packet, &mut environment) {
            sink.count(Counter::Unparsed(unparsed));
        }
    }

    /// Looks at an ICMP error that was read before. As [`process`](Self::process).
    pub fn process_icmp(&mut self, icmp: &ParsedIcmp, clock: &impl Clock, emit: impl FnMut(&[u8])) {
        let Self { flows, counters, .. } = self;
        let mut sink = HostSink { counters, emit };
        process_icmp(icmp, &mut Environment { flows, clock, sink: &mut sink });
    }

    /// Counts what was seen outside of the probe.
    pub fn count(&mut self, counter: Counter) {
        self.counters.count(counter);
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Every flow that is remembered: its ends and its state.
    pub fn flows(&self) -> impl Iterator<Item = (Ends, &FlowState)> {
        self.flows.iter()
    }

    /// The state of the flow of a segment at this interface, to be looked at or edited.
    pub fn flow_mut(&mut self, segment: &Segment, interface: u32) -> Option<&mut FlowState> {
        self.flows.of_mut(segment, interface)
    }

    /// The buckets of IPv4 and of IPv6 flows, as they lie in the kernel's maps.
    #[must_use]
    pub fn buckets(&self) -> (Vec<Bucket<FlowKey4>>, Vec<Bucket<FlowKey6>>) {
        self.flows.buckets()
    }

    /// Remembers what is in these buckets instead.
    ///
    /// # Panics
    /// When there are not as many of them as [`buckets`](Self::buckets) has.
    pub fn set_buckets(&mut self, v4: &[Bucket<FlowKey4>], v6: &[Bucket<FlowKey6>]) {
        self.flows.set_buckets(v4, v6);
    }
}

fn process_any<C: Clock, S: RecordSink>(
    packet: &ParsedPacket,
    environment: &mut Environment<'_, HostFlows, C, S>,
) -> Result<(), Unparsed> {
    let mut packet = *packet;
    match packet.family() {
        Family::V4 => process_parsed::<FlowKey4, _, _, _>(&mut packet, environment),
        Family::V6 => process_parsed::<FlowKey6, _, _, _>(&mut packet, environment),
    }
}

/// The segment in a packet that another one carries.
fn inner(packet: &Packet<'_>) -> Result<ParsedPacket, Unparsed> {
    let first = match packet.hook.link {
        LinkLayer::Ethernet => Layer::Ethernet,
        LinkLayer::None => Layer::Ip,
    };
    match locate(packet.bytes, first, true) {
        Ok(inner) => ParsedPacket::read_inner(packet.bytes, inner, packet.size, &packet.hook),
        Err(PassedOver::Truncated) => Err(Unparsed::Truncated),
        Err(PassedOver::IcmpError) => Err(Unparsed::IcmpTunnel),
        Err(_) => Err(Unparsed::NotTcp),
    }
}
