//! Where records go on the host: to the caller, and nothing is missed.

use probe_common::counter::Counters;
use probe_common::key::Key;
use probe_common::{
    Counter, FlowState, ParsedIcmp, ParsedPacket, RawEvictedFlow, RawIcmp, RawSegment, RecordKind,
    RecordSink, SegmentClass, SegmentKind,
};

pub(crate) struct HostSink<'a, E> {
    pub(crate) counters: &'a mut Counters,
    pub(crate) emit: E,
}

impl<E: FnMut(&[u8])> HostSink<'_, E> {
    pub(crate) fn count(&mut self, counter: Counter) {
        self.counters.count(counter);
    }

    fn submit(&mut self, kind: RecordKind, record: &[u8]) {
        (self.emit)(record);
        self.count(Counter::Submitted(kind));
    }
}

impl<E: FnMut(&[u8])> RecordSink for HostSink<'_, E> {
    fn emit_segment(
        &mut self,
        packet: &ParsedPacket,
        kind: SegmentKind,
        time_ns: u64,
        class: SegmentClass,
        state: Option<&FlowState>,
    ) {
        let mut record = RawSegment::ROOM;
        record.set(packet, kind as u32, time_ns, class, state);
        self.submit(RecordKind::Segment(kind), record.as_bytes());
    }

    fn emit_icmp(&mut self, icmp: &ParsedIcmp, time_ns: u64) {
        let mut record = RawIcmp::ROOM;
        record.set(icmp, time_ns);
        self.submit(RecordKind::Icmp, record.as_bytes());
    }

    fn count_unmatched_icmp(&mut self) {
        self.count(Counter::UnmatchedIcmp);
    }

    fn emit_evicted_flow<K: Key>(&mut self, time_ns: u64, key: &K, state: &FlowState) {
        self.count(Counter::EvictedFlow);
        let mut record = RawEvictedFlow::ROOM;
        record.set(time_ns, &key.ends(), state);
        self.submit(RecordKind::EvictedFlow, record.as_bytes());
    }
}
