//! Packets in a capture that cannot be read, or not to their end: counted, never guessed.

mod support;

use std::io::Cursor;

use lab::capture::Format;
use probe_common::counter::Counter;
use probe_common::{Record, SegmentRecord, Unparsed};
use support::{Connection, MS, S, Watched, v4, v6};
use tcptop::source::capture::{Capture, Next};
use tcptop::source::replay::{ReplayConfig, ReplaySource};
use tcptop_core::Leg;

const START: u64 = 1_767_362_551 * S;
const FORMAT: Format = Format::USUAL;
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
/// `LINKTYPE_INFINIBAND`, which is not read.
const INFINIBAND: u32 = 247;

struct Read {
    records: Vec<Record>,
    unreadable: u64,
    truncated: u64,
}

fn read(file: Vec<u8>) -> Read {
    let capture = Capture::read(Cursor::new(file)).expect("a capture");
    let mut source = ReplaySource::new(capture, ReplayConfig { flows: 100, decap: true });
    let mut records = Vec::new();
    loop {
        match source.step(&mut records).expect("whole") {
            Next::Packet(_) => {}
            Next::Starved => source.refill(),
            Next::End => {
                let truncated = source.counters().of(Counter::Unparsed(Unparsed::Truncated));
                return Read { records, unreadable: source.unreadable(), truncated };
            }
        }
    }
}

/// A capture with a SYN, then these blocks, then another section with a SYN.
fn among_others(blocks: &[Vec<u8>]) -> Read {
    let syn = |port| FORMAT.pcapng(&[Connection::to(v4(10, 20, 1, 10, 443), port).syn(START)]);
    let read = read([syn(40_001), blocks.concat(), syn(40_002)].concat());
    assert_eq!(read.records.len(), 2, "readable packets are still read");
    read
}

/// A block of 32-bit numbers and some bytes.
fn block(kind: u32, numbers: &[u32], bytes: &[u8]) -> Vec<u8> {
    let numbers: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    FORMAT.block(kind, &[&numbers, bytes].concat())
}

fn enhanced(interface: u32, packet: &[u8]) -> Vec<u8> {
    let len = u32::try_from(packet.len()).expect("short");
    let padding = vec![0; packet.len().next_multiple_of(4) - packet.len()];
    block(ENHANCED_PACKET, &[interface, 0, 0, len, len], &[packet, &padding].concat())
}

#[test]
fn a_link_type_that_cannot_be_read() {
    let description = block(INTERFACE_DESCRIPTION, &[INFINIBAND, 0], &[]);
    let read = among_others(&[description, enhanced(2, &[0; 60]), enhanced(2, &[0; 60])]);
    assert_eq!(read.unreadable, 2);
}

#[test]
fn an_undescribed_interface() {
    assert_eq!(among_others(&[enhanced(9, &[0; 60])]).unreadable, 1);
}

#[test]
fn packets_without_a_time() {
    let simple = block(SIMPLE_PACKET, &[60], &[0; 60]);
    assert_eq!(among_others(&[simple.clone(), simple]).unreadable, 2);
}

#[test]
fn the_obsolete_packet_block() {
    assert_eq!(among_others(&[block(OBSOLETE_PACKET, &[0, 0, 0, 60, 60], &[0; 60])]).unreadable, 1);
}

#[test]
fn a_link_header_that_is_cut_off() {
    for (link_type, len) in [(0, 3), (113, 1), (113, 15), (276, 10), (276, 19)] {
        let format = Format { link_type, ..FORMAT };
        let syn = Connection::to(v4(10, 20, 1, 10, 443), 40_001).syn(START);
        let read = read(snapped(&format.pcap(&[syn]), len));
        assert_eq!((read.records.len(), read.unreadable), (0, 1), "{link_type} {len}");
    }
    let syn = Connection::to(v4(10, 20, 1, 10, 443), 40_001).syn(START);
    let read = read(snapped(&FORMAT.pcap(&[syn]), 13));
    assert_eq!((read.unreadable, read.truncated), (0, 1), "the kernel counts that of Ethernet, too");
}

#[test]
fn blocks_without_packets_are_no_loss() {
    const INTERFACE_STATISTICS: u32 = 5;
    let blocks = [block(INTERFACE_STATISTICS, &[0, 0, 0], &[]), block(0x0bad, &[1], &[])];
    assert_eq!(among_others(&blocks).unreadable, 0);
}

/// The same pcap file with this many bytes of each packet, as `tcpdump -s` writes it.
fn snapped(file: &[u8], snap_len: usize) -> Vec<u8> {
    let (header, mut rest) = file.split_at(24);
    let mut cut = header.to_vec();
    while let Some((head, behind)) = rest.split_at_checked(16) {
        let len = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
        let (packet, next) = behind.split_at(len);
        let kept = len.min(snap_len);
        cut.extend(&head[..8]);
        cut.extend(u32::try_from(kept).expect("short").to_le_bytes());
        cut.extend(&head[12..]);
        cut.extend(&packet[..kept]);
        rest = next;
    }
    cut
}

/// A handshake, some data and the close.
fn talk(connection: &Connection) -> Vec<SegmentRecord> {
    let mut data = connection.ack(START + 50 * MS);
    data.payload_len = 1_000;
    vec![
        connection.syn(START),
        connection.syn_ack(START + 40 * MS),
        connection.ack(START + 41 * MS),
        data,
        connection.fin_of_opener(START + 60 * MS),
        connection.fin_of_responder(START + 100 * MS),
    ]
}

fn assert_all_figures(file: Vec<u8>, what: &str) {
    let read = read(file);
    assert_eq!((read.unreadable, read.truncated), (0, 0), "{what}");
    let mut watched = Watched::new();
    watched.see(read.records);
    let report = watched.only();
    assert_eq!(report.server_leg(), Some(Leg::Exact(40 * MS)), "{what}");
    assert_eq!((report.client_leg(), report.tries()), (Some(Leg::Exact(MS)), Some(1)), "{what}");
    assert_eq!(watched.closes()[0].lifetime_ns(), Some(100 * MS), "{what}");
}

/// Long captures keep the headers only; the payload is not needed.
#[test]
fn headers_alone_give_all_figures() {
    let plain = Connection::to(v4(10, 20, 1, 10, 443), 40_001);
    let stamped = Connection { timestamps: Some((5_000, 77)), ..plain };
    let mut v6_stamped =
        Connection { timestamps: Some((5_000, 77)), ..Connection::to(v6("2001:db8::9", 443), 1) };
    v6_stamped.opener = v6("2001:db8::1", 40_001);
    // Ethernet, IP, and TCP without its options: those may be cut anywhere (old tcpdumps kept 68 bytes).
    for (connection, headers_len) in
        [(plain, 14 + 20 + 20), (stamped, 14 + 20 + 20), (v6_stamped, 14 + 40 + 20)]
    {
        let file = FORMAT.pcap(&talk(&connection));
        for snap_len in (headers_len..headers_len + 13).chain([96, 1_500]) {
            assert_all_figures(snapped(&file, snap_len), &format!("{snap_len} of {connection:?}"));
        }
        let cut = read(snapped(&file, headers_len - 1));
        assert!(cut.truncated > 0 && cut.unreadable == 0, "counted when a header is cut");
    }
}
