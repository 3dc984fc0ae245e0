//! Records out of a capture: the same parsing and the same verdicts as in the kernel, on captured bytes.

mod clock;
mod copies;
mod order;
mod taps;

use std::time::{Duration, Instant};

use probe_common::PassedOver;
use probe_common::counter::Counters;
use probe_common::encapsulation::{Inner, locate, outer};
use probe_common::icmp;
use probe_common::{Counter, Hook, LinkLayer, ParsedIcmp, ParsedPacket, Record, Size, Unparsed};
use probe_host::HostProbe;

use super::capture::{Capture, CaptureError, Next, Packet};
use super::passed_over::PassedOverCounts;
pub use clock::ClockStep;
use clock::{CaptureClock, PacketTime};
use copies::Copies;
use order::{Content, Order, WINDOW_NS, Waiting};
use taps::Taps;
use tcptop_core::FlowVolumes;

/// What a person says about a capture.
#[derive(Clone, Debug)]
pub struct ReplayConfig {
    /// Flows that are remembered, at least 1.
    pub flows: usize,
    /// Look into tunnels and the like.
    pub decap: bool,
}

/// A capture that gives records.
pub struct ReplaySource {
    capture: Capture,
    order: Order,
    clock: CaptureClock,
    taps: Taps,
    copies: Copies,
    passed_over: PassedOverCounts,
    probe: HostProbe,
    config: ReplayConfig,
    /// Nobody waits for earlier packets than those that are there.
    is_released: bool,
    /// How the capture ended, once it has.
    end: Option<Result<(), CaptureError>>,
}

impl ReplaySource {
    /// Takes a capture.
    #[must_use]
    pub fn new(capture: Capture, config: ReplayConfig) -> Self {
        let flows = u32::try_from(config.flows).unwrap_or(u32::MAX);
        Self {
            capture,
            order: Order::default(),
            clock: CaptureClock::default(),
            taps: Taps::new(config.flows),
            copies: Copies::new(),
            passed_over: PassedOverCounts::default(),
            probe: HostProbe::new(flows),
            config,
            is_released: false,
            end: None,
        }
    }

    /// Processes the next packet, without waiting for more bytes, and returns its time: in nanoseconds of the capture's time,
    /// which are those since 1970 but for [`ClockStep`]s. Appends the records that it makes to `records`: that of a flow
    /// which is evicted for its flow first, then its own.
    ///
    /// # Errors
    /// When the capture cannot be read on. All packets before were processed.
    pub fn step(&mut self, records: &mut Vec<Record>) -> Result<Next<u64>, CaptureError> {
        loop {
            if let Some(time) = self.first_in_order() {
                self.process_first(time, records);
                self.order.remove_first();
                return Ok(Next::Packet(time.time_ns));
            }
            match self.end.take() {
                Some(Err(error)) => return Err(error),
                Some(Ok(())) => {
                    self.end = Some(Ok(()));
                    return Ok(Next::End);
                }
                None => {}
            }
            match self.read_one() {
                Ok(Next::Packet(())) => self.is_released = false,
                Ok(Next::Starved) => return Ok(Next::Starved),
                Ok(Next::End) => self.end = Some(Ok(())),
                Err(error) => self.end = Some(Err(error)),
            }
        }
    }

    /// Waits for more bytes. When there are none although there should be, [`step`](Self::step) says so behind the packets
    /// that wait.
    pub fn refill(&mut self) {
        let since = Instant::now();
        if let Err(error) = self.capture.refill() {
            self.end = Some(Err(error));
        }
        self.clock.rest(since.elapsed());
    }

    /// Gives packets that wait for earlier ones their turn when the stream is silent: whatever is on its way would have come
    /// by now. Returns whether there are any.
    pub fn release(&mut self) -> bool {
        let first = self.order.first();
        let can_go = first.is_some_and(|(first, _)| self.has_witnesses(first.stamp_ns));
        self.is_released = can_go && self.capture.is_silent(Duration::from_nanos(WINDOW_NS));
        self.is_released
    }

    fn has_witnesses(&self, stamp_ns: u64) -> bool {
        self.order.following_ns().len() >= self.clock.witnesses(stamp_ns)
    }

    fn read_one(&mut self) -> Result<Next<()>, CaptureError> {
        let Self { capture, order, passed_over, probe, config, .. } = self;
        capture.next(|packet| {
            let read = read(&packet, config.decap, passed_over);
            if let Err(unparsed) = read {
                probe.count(Counter::Unparsed(unparsed));
            }
            order.push(Waiting { stamp_ns: packet.time_ns, packet: read.unwrap_or(Content::Nothing) });
        })
    }

    /// The time of the first of the packets that wait, if its turn has come.
    fn first_in_order(&mut self) -> Option<PacketTime> {
        let (first, is_due) = self.order.first()?;
        let is_due = (is_due || self.is_released) && self.has_witnesses(first.stamp_ns);
        if !is_due && self.end.is_none() {
            return None;
        }
        Some(self.clock.time(first.stamp_ns, self.order.following_ns()))
    }

    fn process_first(&mut self, time: PacketTime, records: &mut Vec<Record>) {
        let Self { capture, order, taps, copies, probe, .. } = self;
        let has_several = capture.names().len() > 1;
        let emit = |bytes: &[u8]| records.push(timed(bytes, time.timebase));
        let mut packet = match order.first().map(|(first, _)| &first.packet) {
            Some(Content::Segment(packet)) => packet,
            Some(Content::Icmp(icmp)) => {
                // It comes the way that answers to the segment come.
                let (ends, interface) = (icmp.quoted(), icmp.interface());
                let interface =
                    if has_several { taps.interface(ends.to(), ends.from(), interface) } else { interface };
                return probe.process_icmp(
                    &icmp.at_interface(interface),
                    &probe_host::PacketTime(time.time_ns),
                    emit,
                );
            }
            Some(Content::Nothing) | None => return,
        };
        let placed;
        if has_several {
            let (from, to) = (packet.segment().from(), packet.segment().to());
            placed = packet.at_interface(taps.interface(from, to, packet.interface()));
            packet = &placed;
        }
        let rtt_ns = || {
            let state = probe.flow_mut(packet.segment(), packet.interface())?;
            (state.rtt_us > 0).then(|| u64::from(state.rtt_us) * 1_000)
        };
        if copies.is_copy(packet, time.time_ns, rtt_ns) {
            return;
        }
        probe.process_parsed(packet, &probe_host::PacketTime(time.time_ns), emit);
    }

    /// What every flow that is known has sent.
    pub fn volumes(&self) -> impl Iterator<Item = FlowVolumes> {
        self.probe.flows().map(|(ends, state)| FlowVolumes::of(ends, state))
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        self.probe.counters()
    }

    /// How many packets could not be read.
    #[must_use]
    pub const fn unreadable(&self) -> u64 {
        self.capture.unreadable()
    }

    /// How many packets were copies of others.
    #[must_use]
    pub const fn copies(&self) -> u64 {
        self.copies.count
    }

    /// What the packets were that hold no TCP, the most frequent first. Those of `None` are of several further kinds.
    #[must_use]
    pub fn passed_over(&self) -> Vec<(Option<PassedOver>, u64)> {
        self.passed_over.list()
    }

    /// Where the wall-clock time of the capture does not go on as its own, in order.
    #[must_use]
    pub fn clock_steps(&self) -> &[ClockStep] {
        self.clock.steps()
    }

    /// Names of the interfaces that the capture has named so far.
    #[must_use]
    pub fn names(&self) -> &[String] {
        self.capture.names()
    }
}

/// The record in these bytes, of a time base.
fn timed(bytes: &[u8], timebase: u32) -> Record {
    let mut record = Record::decode(bytes).expect("made by the same version");
    match &mut record {
        Record::Segment(segment) => segment.timebase = timebase,
        Record::Icmp(icmp) => icmp.timebase = timebase,
        Record::EvictedFlow(_) | Record::Owner(_) | Record::Reset(_) => {}
    }
    record
}

/// The segment in a packet, or the ICMP error about one.
fn read(packet: &Packet<'_>, decap: bool, counts: &mut PassedOverCounts) -> Result<Content, Unparsed> {
    let hook = Hook { interface: packet.interface, direction: packet.direction, link: LinkLayer::None };
    // A capture has what passed an interface: super-packets are in it as one, and counted as one.
    let size = Size { bytes: packet.wire_len, segments: 1 };
    let inner = match locate(packet.bytes, packet.first, decap) {
        Ok(inner) => inner,
        Err(PassedOver::Truncated) => return Err(Unparsed::Truncated),
        Err(passed_over) => {
            let read = read_icmp(packet, passed_over, decap, size, &hook);
            match read {
                Err(Unparsed::NotTcp) => counts.add(Some(passed_over), 1),
                Err(Unparsed::IcmpTunnel) => counts.add(Some(PassedOver::IcmpError), 1),
                Ok(_) | Err(_) => {}
            }
            return read.map(Content::Icmp);
        }
    };
    read_segment(packet, inner, size, &hook).map(Content::Segment)
}

/// The ICMP error in a packet that holds no TCP.
fn read_icmp(
    packet: &Packet<'_>,
    what: PassedOver,
    decap: bool,
    size: Size,
    hook: &Hook,
) -> Result<ParsedIcmp, Unparsed> {
    match what {
        PassedOver::Protocol(icmp::ICMP | icmp::ICMPV6) => {}
        PassedOver::IcmpError => return Err(Unparsed::IcmpTunnel),
        _ => return Err(Unparsed::NotTcp),
    }
    let Inner { family, offset, .. } =
        outer(packet.bytes, packet.first, decap).map_err(|_| Unparsed::NotTcp)?;
    match ParsedIcmp::read_at(packet.bytes, family, offset, size, hook) {
        Err(Unparsed::Truncated) => {
            ParsedIcmp::read_at(packet.bytes, family, offset, Size { bytes: u32::MAX, ..size }, hook)
        }
        read => read,
    }
}

fn read_segment(
    packet: &Packet<'_>,
    inner: Inner,
    size: Size,
    hook: &Hook,
) -> Result<ParsedPacket, Unparsed> {
    match ParsedPacket::read_inner(packet.bytes, inner, size, hook) {
        // Tools that cut a capture to the headers may cut both lengths of its packets, too.
        Err(Unparsed::Truncated) => {
            ParsedPacket::read_inner(packet.bytes, inner, Size { bytes: u32::MAX, ..size }, hook)
        }
        read => read,
    }
}
