//! Captures of every kind are read as the records that they were written from.

mod support;

use std::io::{Cursor, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use lab::capture::Format;
use probe_common::{Direction, Record, SegmentRecord};
use support::{Connection, MS, S, Watched, v4, v6};
use tcptop::source::capture::{Capture, CaptureError, Next};
use tcptop::source::replay::{ReplayConfig, ReplaySource};
use tcptop_core::{Input, Leg, Locals, Role};

const START: u64 = 1_767_362_551 * S;

/// Two handshakes, one in each family, and their closes.
fn records() -> Vec<SegmentRecord> {
    let out = Connection { timestamps: Some((5_000, 77)), ..Connection::to(v4(10, 20, 1, 10, 443), 40_001) };
    let mut inward = Connection::from(v6("2001:db8::9", 51_000), 8_080);
    inward.responder = v6("2001:db8::1", 8_080);
    vec![
        out.syn(START + 123_456),
        inward.syn(START + MS),
        inward.syn_ack(START + MS + 48_000),
        out.syn_ack(START + 40 * MS),
        out.ack(START + 40 * MS + 7_000),
        inward.ack(START + 26 * MS),
        out.fin_of_opener(START + 2 * S),
        inward.rst_of_responder(START + 3 * S),
    ]
}

fn read(file: impl Read + Send + 'static) -> Result<Vec<SegmentRecord>, (usize, CaptureError)> {
    let capture = Capture::read(file).map_err(|error| (0, error))?;
    let mut source = ReplaySource::new(capture, ReplayConfig { flows: 100, decap: true });
    let mut records = Vec::new();
    loop {
        let mut made = Vec::new();
        match source.step(&mut made) {
            Ok(Next::Packet(_)) => records.extend(made.into_iter().map(segment)),
            Ok(Next::Starved) => source.refill(),
            Ok(Next::End) => return Ok(records),
            Err(error) => return Err((records.len(), error)),
        }
    }
}

/// The capture has no room for more flows than it makes.
fn segment(record: Record) -> SegmentRecord {
    match record {
        Record::Segment(segment) => segment,
        _ => panic!("{record:?}"),
    }
}

fn expected(interface: u32, told: bool, precise: bool) -> Vec<SegmentRecord> {
    let seen = |mut record: SegmentRecord| {
        record.interface = interface;
        record.direction = if told { record.direction } else { Direction::Unknown };
        record.time_ns -= if precise { 0 } else { record.time_ns % 1_000 };
        // That of each packet in these files.
        record.ttl = Some(64);
        record
    };
    records().into_iter().map(seen).collect()
}

#[test]
fn every_kind_of_pcap() {
    for link_type in [0, 1, 101, 113, 276] {
        for (big_endian, nanoseconds) in [(false, false), (false, true), (true, false), (true, true)] {
            let format = Format { big_endian, nanoseconds, link_type };
            let read = read(Cursor::new(format.pcap(&records()))).unwrap();
            assert_eq!(read, expected(1, link_type > 101, nanoseconds), "{format:?}");
        }
    }
}

#[test]
fn every_kind_of_pcapng() {
    for link_type in [0, 1, 101, 113, 276] {
        for (big_endian, nanoseconds) in [(false, false), (false, true), (true, false), (true, true)] {
            let format = Format { big_endian, nanoseconds, link_type };
            let read = read(Cursor::new(format.pcapng(&records()))).unwrap();
            assert_eq!(read, expected(2, true, nanoseconds), "{format:?}");
        }
    }
}

const PLAIN: Format = Format::USUAL;

/// Of all ACKs of a connection only the one that completes the handshake makes a record.
#[test]
fn one_ack_makes_a_record() {
    let connection = Connection::to(v4(10, 20, 1, 10, 443), 40_001);
    let mut packets = vec![connection.syn(START), connection.syn_ack(START + MS)];
    packets.extend((2..100).map(|ms| connection.ack(START + ms * MS)));
    assert_eq!(read(Cursor::new(PLAIN.pcap(&packets))).unwrap().len(), 3);
}

#[test]
fn gzip_is_unpacked() {
    for file in [PLAIN.pcap(&records()), PLAIN.pcapng(&records())] {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&file).unwrap();
        let records = read(Cursor::new(packed.finish().unwrap())).unwrap();
        assert_eq!(records.len(), 8);
    }
}

/// A pipe returns what it has, in the worst case one byte at a time.
#[test]
fn a_stream_of_single_bytes_is_read_like_a_file() {
    struct Trickle(Cursor<Vec<u8>>);
    impl Read for Trickle {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let most = buffer.len().min(1);
            self.0.read(&mut buffer[..most])
        }
    }
    for file in [PLAIN.pcap(&records()), PLAIN.pcapng(&records())] {
        assert_eq!(read(Trickle(Cursor::new(file))).unwrap().len(), 8);
    }
}

#[test]
fn local_addresses_decide_the_direction() {
    let locals = ["10.0.0.0/24", "2001:db8::1"].map(|block| block.parse().unwrap());
    let locals = Locals::Named(locals.into());
    let mut records = read(Cursor::new(PLAIN.pcap(&records()))).unwrap();
    let mut watched = Watched::new();
    watched.engine.handle(Input::Locals(&locals));
    watched.see(records.clone());
    let roles: Vec<_> = watched.handshakes().iter().map(|flow| flow.role()).collect();
    assert_eq!(roles, [Some(Role::Client), Some(Role::Server)]);
    for record in &mut records {
        let ends = [record.source, record.destination];
        record.direction = locals.direction(record.interface, record.direction, ends);
    }
    assert_eq!(records, expected(1, true, true));
}

#[test]
fn an_observer_sees_both_legs() {
    let mut watched = Watched::new();
    watched.see(read(Cursor::new(PLAIN.pcap(&records()))).unwrap());
    let handshakes = watched.handshakes();
    let [out, inward] = handshakes[..] else { panic!("{handshakes:?}") };
    assert_eq!(out.role(), Some(Role::Observer));
    assert_eq!((out.local().port, out.peer().service), (40_001, v4(10, 20, 1, 10, 443)));
    assert_eq!(out.rtt(), Some(Leg::Exact(40 * MS + 7_000 - 123_456)), "the sum of both legs");
    assert_eq!((inward.turnaround(), inward.rtt()), (None, Some(Leg::Exact(25 * MS))));
}

#[test]
fn packets_before_the_damage_are_read() {
    for whole in [PLAIN.pcap(&records()), PLAIN.pcapng(&records())] {
        let cut = whole[..whole.len() - 5].to_vec();
        let (read, error) = read(Cursor::new(cut)).unwrap_err();
        assert_eq!(read, 7);
        assert!(error.to_string().contains("in the middle of a packet, after 7 whole ones"), "{error}");
    }
}

#[test]
fn files_that_are_no_captures_are_errors() {
    for nonsense in [&b""[..], b"x", b"root:x:0:0:root:/root:/bin/bash\n", &[0; 100]] {
        let error = read(Cursor::new(nonsense)).unwrap_err().1;
        assert!(matches!(error, CaptureError::Format), "{error}");
    }
    let infiniband = Format { link_type: 0, ..PLAIN }.pcap(&[]);
    let mut infiniband = infiniband;
    infiniband[20] = 247;
    assert!(matches!(read(Cursor::new(infiniband)).unwrap_err().1, CaptureError::LinkType(247)));
}

/// Files cut and flipped at random give an error or fewer records, never a panic or an endless loop.
#[test]
fn damaged_files_are_errors_or_shorter() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for round in 0..400 {
        let mut file = if round % 2 == 0 { PLAIN.pcap(&records()) } else { PLAIN.pcapng(&records()) };
        for _ in 0..=random(4) {
            let at = random(file.len());
            file[at] = u8::try_from(random(256)).unwrap();
        }
        file.truncate(file.len() - random(3) * random(40));
        if let Ok(records) = read(Cursor::new(file)) {
            assert!(records.len() <= 8);
        }
    }
}
