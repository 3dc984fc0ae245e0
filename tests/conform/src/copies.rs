//! Packets that were duplicated on the way, by what their sender counts (hard case `copied-packets`).

use super::tshark::{FIN, Frame, RST, SYN};

/// How long after a packet the same one, with the same IP ID, is a copy.
const IDENTIFIED_NS: u64 = 10_000_000;
/// The same without an IP ID, for data, FIN and RST; a SYN or SYN-ACK has the time above.
const ANONYMOUS_NS: u64 = 1_000_000;

/// Marks the copies in a stream.
pub(super) fn mark(frames: &mut [Frame]) {
    for at in 1..frames.len() {
        let (earlier, later) = frames.split_at_mut(at);
        let near = |other: &&Frame| later[0].time_ns.saturating_sub(other.time_ns) <= IDENTIFIED_NS;
        later[0].is_copy = earlier.iter().rev().take_while(near).any(|other| is_copy(&later[0], other));
    }
}

fn is_copy(frame: &Frame, other: &Frame) -> bool {
    let common = |frame: &Frame| (frame.source, frame.flags, frame.seq, frame.ack, frame.payload);
    let counted = |frame: &Frame| (frame.ip_id, frame.timestamps);
    if other.is_copy || common(frame) != common(other) || counted(frame) != counted(other) {
        return false;
    }
    // Two equal ACKs are two: duplicate ACKs say that something is missing.
    let is_pure_ack = frame.payload == 0 && frame.lacks(SYN | FIN | RST);
    let gap_ns = frame.time_ns.saturating_sub(other.time_ns);
    frame.ip_id != 0 || frame.has(SYN) || (!is_pure_ack && gap_ns < ANONYMOUS_NS)
}

#[cfg(test)]
mod tests {
    use super::mark;
    use crate::compare_tests::{MS, frame};
    use crate::tshark::{ACK, Frame, SYN};

    fn marked(frames: Vec<Frame>) -> Vec<bool> {
        let mut frames = frames;
        mark(&mut frames);
        frames.iter().map(|frame| frame.is_copy).collect()
    }

    fn data(at_ns: u64, ip_id: u16) -> Frame {
        Frame { payload: 5, time_ns: 1_000 * MS + at_ns, ip_id, ..frame(true, 0, ACK, Some((7, 3))) }
    }

    #[test]
    fn the_ip_id_tells_a_copy_from_a_retransmit() {
        assert_eq!(marked(vec![data(0, 9), data(9 * MS, 9), data(9 * MS, 10)]), [false, true, false]);
        assert_eq!(marked(vec![data(0, 9), data(11 * MS, 9)]), [false, false], "too late");
    }

    #[test]
    fn without_an_ip_id_the_gap_and_the_timestamps_decide() {
        assert_eq!(marked(vec![data(0, 0), data(MS / 2, 0), data(2 * MS, 0)]), [false, true, false]);
        let other = Frame { timestamps: Some((8, 3)), ..data(MS / 2, 0) };
        assert_eq!(marked(vec![data(0, 0), other]), [false, false]);
        let syn = |at| frame(true, at, SYN, None);
        assert_eq!(marked(vec![syn(0), syn(9), syn(11)]), [false, true, false]);
        let ack = |at| frame(true, at, ACK, None);
        assert_eq!(marked(vec![ack(0), ack(0)]), [false, false], "a duplicate ACK");
    }
}
