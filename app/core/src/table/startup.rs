//! Since when interfaces are watched: handshakes that began before are seen only in part.

use probe_common::{SegmentRecord, TcpFlags};

/// For this long after the start an answer may be to a SYN that was not seen. A peer that is slower, or further away,
/// than this has sent its own retransmits.
const SETTLING_NS: u64 = 3_000_000_000;

/// Since when both directions of interfaces are seen: indexes and times. There are few.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched(Vec<(u32, u64)>);

impl Watched {
    /// Both directions of an interface are seen from `since_ns` on.
    pub(crate) fn set(&mut self, interface: u32, since_ns: u64) {
        self.0.retain(|(known, _)| *known != interface);
        self.0.push((interface, since_ns));
    }

    /// Whether a packet may pass more than one of them.
    pub(crate) fn are_several(&self) -> bool {
        self.0.len() > 1
    }

    /// Returns whether this segment of a flow that is not known may answer a SYN from before the interface was watched:
    /// a SYN-ACK, or a RST that refuses (RFC 9293, 3.10.7.1: its sequence number is 0).
    pub(crate) fn may_answer_earlier(&self, segment: &SegmentRecord) -> bool {
        let has = |flags| segment.flags.has(flags);
        let answers = has(TcpFlags::ACK) && (has(TcpFlags::SYN) || (has(TcpFlags::RST) && segment.seq == 0));
        let since = self.0.iter().find(|(interface, _)| *interface == segment.interface);
        answers && since.is_some_and(|(_, since_ns)| segment.time_ns < since_ns.saturating_add(SETTLING_NS))
    }
}
