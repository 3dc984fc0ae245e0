//! What flows send, and send again: the table's part in it.

use probe_common::key::Ends;
use probe_common::{Direction, Endpoint, EvictedFlowRecord, FlowState, SegmentRecord, Side, Volume};

use super::flow::Flow;
use super::key::FlowTuple;
use super::peer::{PeerEvent, PeerKey};
use super::report::{Event, RetransmitKind};
use super::table::{FINISHED, FlowTable, LASTING};

/// What both ends of a flow have sent so far, as its state in the source has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowVolumes {
    /// The ends, the low one first, and the interface.
    pub ends: Ends,
    /// What each of them sent.
    pub volumes: [Volume; 2],
    /// Which way the low end sends, of a connection that no record may have told of: see [`FlowState::learned`].
    pub learned: Option<Direction>,
}

impl FlowVolumes {
    /// Those of the flow with these ends.
    #[must_use]
    pub fn of(ends: Ends, state: &FlowState) -> Self {
        Self { ends, volumes: state.volumes(Side::Low), learned: state.learned() }
    }
}

impl Flow {
    /// Takes what `source` has sent so far, and what the other end has. Gives how many segments with data that is more,
    /// and how many of them were sent again.
    fn takes_volumes(&mut self, source: Endpoint, volumes: [Volume; 2]) -> (u64, u64) {
        let [one, other] = volumes;
        let told = if source == self.local() { [one, other] } else { [other, one] };
        let (mut segments, mut retransmits) = (0, 0);
        for (known, told) in self.volumes.iter_mut().zip(told) {
            // The source began anew, for a connection that is another one to it alone.
            if told.segments >= known.segments {
                segments += told.segments - known.segments;
                retransmits += told.retransmits.saturating_sub(known.retransmits);
                *known = told;
            }
        }
        (segments, retransmits)
    }
}

impl FlowTable {
    /// Takes what both ends of a flow have sent so far. A connection that was open before is known from now on, if
    /// there is room for it.
    pub(crate) fn take_volumes(&mut self, flow: &FlowVolumes, now_ns: u64) {
        let [low, high] = flow.ends.endpoints();
        let tuple = FlowTuple::new(flow.ends.interface, low, high);
        match (self.find(&tuple), flow.learned) {
            (Some(slot), _) => self.learn_volumes(slot, low, flow.volumes, now_ns),
            (None, Some(low_sends)) if self.has_room() => {
                let mid_stream = Flow::mid_stream(tuple, low_sends, [low, high], now_ns);
                self.open_mid_stream(mid_stream, low, flow.volumes);
            }
            // Records have told of it, or will.
            (None, _) => {}
        }
    }

    /// The source evicted a flow. What it had sent is all that there is to count. Of a flow that is not known here, it
    /// was not counted yet, unless flows were evicted here and it is one of them.
    pub(super) fn evicted(&mut self, tuple: FlowTuple, record: &EvictedFlowRecord) {
        let [low, high] = record.ends;
        match (self.find(&tuple), record.learned) {
            (Some(slot), _) => self.learn_volumes(slot, low, record.volumes, record.time_ns),
            (None, Some(low_sends)) if self.losses.evicted_flows == 0 => {
                let mut flow = Flow::mid_stream(tuple, low_sends, [low, high], record.time_ns);
                let more = flow.takes_volumes(low, record.volumes);
                self.count_volumes(flow.peer(), more, record.time_ns);
            }
            (None, _) => {}
        }
    }

    /// Data was sent that had been sent before.
    pub(super) fn resent(&mut self, slot: Option<u32>, tuple: FlowTuple, record: &SegmentRecord) {
        let slot = self.known_or_mid_stream(slot, tuple, record);
        let Some(flow) = self.flows.get(slot) else { return };
        self.events.push(Event::Retransmit(flow.retransmit(RetransmitKind::Data, record)));
    }

    /// The flow of a record that tells of a connection which was open before, if of any.
    pub(super) fn known_or_mid_stream(
        &mut self,
        known: Option<u32>,
        tuple: FlowTuple,
        record: &SegmentRecord,
    ) -> u32 {
        let mid_stream = || Flow::new(tuple, record, None);
        known.unwrap_or_else(|| self.open_mid_stream(mid_stream(), record.source, record.volumes))
    }

    /// Adds a connection that was open before, with what `source` and the other end have sent.
    fn open_mid_stream(&mut self, mut flow: Flow, source: Endpoint, volumes: [Volume; 2]) -> u32 {
        let now_ns = flow.first_ns;
        if self.losses.evicted_flows > 0 {
            // It may be one of those that had to give way: what it has sent was counted then.
            flow.takes_volumes(source, volumes);
        }
        let slot = self.open(flow);
        self.learn_volumes(slot, source, volumes, now_ns);
        slot
    }

    /// Is there room for a flow without that another gives way which has not ended?
    fn has_room(&self) -> bool {
        self.flows.len() < self.limit || self.flows.len_of(FINISHED) > 0
    }

    /// What was sent since it was last told is counted to the peer.
    pub(super) fn learn_volumes(&mut self, slot: u32, source: Endpoint, volumes: [Volume; 2], now_ns: u64) {
        let Some(flow) = self.flows.get_mut(slot) else { return };
        let more = flow.takes_volumes(source, volumes);
        let peer = flow.peer();
        // What this host has sent nobody can have forged: it lasts like one whose handshake was seen.
        if flow.is_up() && flow.volumes[0].segments > 0 {
            self.flows.requeue(slot, LASTING);
        }
        self.count_volumes(peer, more, now_ns);
    }

    /// Counts so many segments with data, and how many of them were sent again.
    fn count_volumes(&mut self, peer: PeerKey, (segments, retransmits): (u64, u64), now_ns: u64) {
        for (event, count) in [(PeerEvent::Sent, segments), (PeerEvent::Retransmitted, retransmits)] {
            if count > 0 {
                self.views.count_many(peer, event, count, now_ns);
            }
        }
    }
}
