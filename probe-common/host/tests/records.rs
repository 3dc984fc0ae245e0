//! Bytes of records: what the probe emits decodes, and what is not exactly that does not.

use probe_common::record::{Current, DecodeError, VERSION};
use probe_common::{
    Cause, Direction, Hook, LinkLayer, OwnerAction, OwnerRecord, ParsedPacket, RawOwner, RawReset, Record,
    RecordKind, ResetReason, ResetRecord, SegmentKind, SenderState, Size, Transmission,
};
use probe_host::{HostProbe, Packet, PacketTime};

/// Where the fields of the header are.
const KIND: usize = 0;
const VERSION_AT: usize = 1;
const LENGTH: usize = 2;

/// An IPv4 packet with a SYN from this port.
fn syn(port: u8) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    packet.extend([0x9c, port, 1, 187, 0, 0, 0, 7, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    packet
}

/// The records of so many SYNs, of flows of which few are remembered.
fn records(syns: u8) -> Vec<Vec<u8>> {
    let mut probe = HostProbe::with_seed(1, 0);
    let hook = Hook { interface: 7, direction: Direction::Egress, link: LinkLayer::None };
    let mut records = Vec::new();
    for port in 0..syns {
        let time = PacketTime(1_000_000 * (1 + u64::from(port)));
        probe.process(&Packet::whole(&syn(port), hook), &time, |bytes| records.push(bytes.to_vec()));
    }
    assert_eq!(probe.counters().0.iter().sum::<u64>(), u64::from(syns) + 2 * evicted(&records));
    records
}

fn evicted(records: &[Vec<u8>]) -> u64 {
    records.iter().filter(|bytes| bytes[KIND] == RecordKind::EvictedFlow.number()).count() as u64
}

#[test]
fn a_flow_that_is_evicted_is_reported_before_the_segment_that_evicts_it() {
    let records = records(9);
    let kinds: Vec<_> = records.iter().map(|bytes| Record::decode(bytes).expect("a record").kind()).collect();
    let syn = RecordKind::Segment(SegmentKind::Syn);
    assert_eq!(kinds, [vec![syn; 8], vec![RecordKind::EvictedFlow, syn]].concat());
    let times: Vec<_> =
        records.iter().map(|bytes| Record::decode(bytes).expect("a record").time_ns()).collect();
    assert_eq!(times[8], times[9]);
}

#[test]
fn every_field_of_the_header_is_checked() {
    for whole in records(9) {
        assert!(Record::decode(&whole).is_ok());
        let with = |at: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            Record::decode(&bytes)
        };
        let length = Err(DecodeError::Length(whole.len()));
        assert_eq!(with(VERSION_AT, VERSION + 1), Err(DecodeError::Version(VERSION + 1)));
        assert_eq!(with(KIND, 99), Err(DecodeError::Kind(99)));
        assert_eq!(with(LENGTH, whole[LENGTH] - 8), length);
        // The kind says how long the body is, too.
        let other = if whole[KIND] == RecordKind::EvictedFlow.number() {
            0
        } else {
            RecordKind::EvictedFlow.number()
        };
        assert_eq!(with(KIND, other), length);
        for cut in 0..whole.len() {
            assert_eq!(Record::decode(&whole[..cut]), Err(DecodeError::Length(cut)));
        }
        let longer = [&whole[..], &[0]].concat();
        assert_eq!(Record::decode(&longer), Err(DecodeError::Length(longer.len())));
    }
}

/// Of one connection: 50 bytes of data from its opener, or an ACK from the other end; with these flags, and with an open or a
/// closed window.
fn segment(is_data: bool, flags: u8, is_open: bool) -> Vec<u8> {
    let len = if is_data { 90 } else { 40 };
    let (near, far) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let mut packet = vec![0x45, 0, 0, len, 0, 0, 0, 0, 64, 6, 0, 0];
    packet.extend(if is_data { [near, far] } else { [far, near] }.concat());
    packet.extend(if is_data { [0x9c, 1, 1, 187] } else { [1, 187, 0x9c, 1] });
    packet.extend(if is_data { [0, 0, 0, 7, 0, 0, 0, 9] } else { [0, 0, 0, 9, 0, 0, 0, 7] });
    packet.extend([0x50, flags, if is_open { 0xff } else { 0 }, 0, 0, 0, 0, 0]);
    packet.resize(len.into(), 0);
    packet
}

/// The timer that probes a closed window retransmits, too: the socket does not say which of two it was, so no record does.
#[test]
fn no_record_says_why_a_segment_is_retransmitted_into_a_closed_window() {
    const ACK: u8 = 0x10;
    const FIN: u8 = 0x11;
    let said = Transmission::of(
        7,
        &SenderState {
            snd_nxt: 57,
            snd_una: 7,
            timeouts: 1,
            lost: 1,
            congestion: SenderState::UNKNOWN_STATE,
        },
    );
    let cause_of = |flags: u8, is_open: bool| {
        let hook = Hook { interface: 7, direction: Direction::Egress, link: LinkLayer::None };
        let mut probe = HostProbe::with_seed(1, 0);
        let mut causes = Vec::new();
        let sent =
            [(true, ACK, Transmission::FIRST), (false, ACK, Transmission::UNKNOWN), (true, flags, said)];
        for (second, (is_data, flags, said)) in (1..).zip(sent) {
            let bytes = segment(is_data, flags, is_open || is_data);
            let size = Size { bytes: u32::try_from(bytes.len()).expect("it is short"), segments: 1 };
            let mut packet = ParsedPacket::read(&bytes[..], size, &hook).expect("a segment");
            packet.set_said(said, 0);
            probe.process_parsed(&packet, &PacketTime(second * 1_000_000_000), |bytes| {
                let Ok(Record::Segment(record)) = Record::decode(bytes) else { panic!("a segment") };
                causes.push((record.said.is_retransmit(), record.said.cause()));
            });
        }
        causes
    };
    for flags in [ACK, FIN] {
        assert_eq!(cause_of(flags, true), [(Some(true), Some(Cause::Timeout))], "{flags:#x}");
        assert_eq!(cause_of(flags, false), [(Some(true), None)], "{flags:#x}");
    }
}

#[test]
fn a_direction_that_does_not_exist_is_no_record() {
    let evicted = records(9).into_iter().find(|bytes| bytes[KIND] == RecordKind::EvictedFlow.number());
    let mut bytes = evicted.expect("one is evicted");
    let learned = bytes.len() - 4;
    bytes[learned] = 9;
    assert_eq!(Record::decode(&bytes), Err(DecodeError::Direction(8)));
}

#[test]
fn owners_are_read_as_they_were_written() {
    let name = *b"a\xffname\0\0\0\0\0\0\0\0\0\0";
    let (first, second) = name.split_at(8);
    let words = [first, second].map(|half| u64::from_ne_bytes(half.try_into().expect("8 bytes")));
    let current =
        Current { process_thread: 7 << 32 | 9, group_user: 1 << 32 | 1_000, cgroup: 42, name: words };
    for action in [OwnerAction::Connect, OwnerAction::Listen, OwnerAction::Close] {
        let mut raw = RawOwner::ROOM;
        raw.set(&current, action, 0x5da32, 12);
        let (time_ns, cookie, cgroup) = (12, 0x5da32, 42);
        let owner = OwnerRecord { time_ns, cookie, cgroup, process: 7, thread: 9, user: 1_000, name, action };
        assert_eq!(Record::decode(raw.as_bytes()), Ok(Record::Owner(owner)));
        let mut unknown = raw.as_bytes().to_vec();
        let place = unknown.len() - name.len() - 4;
        unknown[place] = 3;
        assert_eq!(Record::decode(&unknown), Err(DecodeError::Action(3)));
    }
}

#[test]
fn reasons_of_resets_are_read_as_they_were_written() {
    let read = |number| {
        let mut raw = RawReset::ROOM;
        raw.set(0x5da32, number, 12);
        Record::decode(raw.as_bytes())
    };
    let reset = |reason| Ok(Record::Reset(ResetRecord { time_ns: 12, cookie: 0x5da32, reason }));
    for reason in ResetReason::ALL {
        assert_eq!(read(reason as u32), reset(Some(reason)));
    }
    assert_eq!([read(0), read(99), read(257)], [reset(None), reset(None), reset(None)]);
}
