//! Hard case `unusual-captures`: cut, padded, old, in odd units, in several sections.

mod support;

use std::io::Write;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use support::wire::{
    ACK, CLIENT, ETHERNET, MS, PSH, RAW, S, SERVER, START, SYN, Segment, Shot, Talk, block, enhanced,
    interface, json, named, option, packets, pcap, pcap_head, pcap_header, section, shots,
};

fn handshake() -> Vec<Shot> {
    shots(&Talk::v4(40_001).handshake(START), Segment::ethernet)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::none());
    packed.write_all(bytes).expect("memory");
    packed.finish().expect("memory")
}

/// A handshake and 40 segments of data.
fn long() -> Vec<u8> {
    let mut talk = Talk::v4(40_001);
    let mut segments = talk.handshake(START);
    segments.extend((0..40).map(|n| (START + (30 + n) * MS, talk.send(CLIENT, ACK | PSH, 100))));
    pcap(ETHERNET, &shots(&segments, Segment::ethernet))
}

#[test]
fn what_comes_before_the_cut_of_a_gzip_counts() {
    let packed = gzip(&long());
    // Within a packet, and within the checksum behind the last one.
    for (cut, packets, data) in [(5_200, 32, 29), (packed.len() - 3, 43, 40)] {
        let said = json(&packed[..cut], &[]);
        assert_eq!(said.code, 1, "{said:?}");
        let error = format!("its gzip data ends too early, after {packets} packets");
        assert!(said.stderr.contains(&error), "{said:?}");
        said.assert_faultless(1, (20 * MS, MS));
        assert_eq!(said.summary()["data_segments"], data, "{said:?}");
    }
}

#[test]
fn a_gzip_that_is_damaged_or_followed_by_something_else_is_an_error_behind_all_packets() {
    let mut damaged = gzip(&long());
    let len = damaged.len();
    damaged[len - 6] ^= 0xff;
    let followed = [&gzip(&long())[..], b"\0\0and more"].concat();
    for (packed, error) in [(damaged, "its gzip data is damaged"), (followed, "is not gzip")] {
        let said = json(&packed, &[]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.stderr.contains(error) && said.stderr.contains("after 43 packets"), "{said:?}");
        assert_eq!(said.summary()["data_segments"], 40, "{said:?}");
    }
    let nothing = json(&gzip(&long())[..30], &[]);
    assert!(nothing.stderr.contains("its gzip data ends too early, after 0 packets"), "{nothing:?}");
}

#[test]
fn zeros_and_further_members_behind_a_gzip_are_read_as_gzip_does() {
    let file = pcap(ETHERNET, &handshake());
    let (first, second) = file.split_at(100);
    for packed in [
        [gzip(&file), vec![0; 1]].concat(),
        [gzip(&file), vec![0; 100_000]].concat(),
        [gzip(first), gzip(second)].concat(),
        [gzip(first), vec![0; 512], gzip(second), vec![0; 512]].concat(),
        [gzip(&[]), gzip(&file)].concat(),
    ] {
        json(&packed, &[]).assert_one_handshake();
    }
}

#[test]
fn a_pcapng_of_nothing_but_unreadable_link_types_is_an_error() {
    let shots = handshake();
    let wireless = [section(), interface(105, &[]), packets(&shots)].concat();
    let said = json(&wireless, &[]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains("its link type 105 cannot be read"), "{said:?}");
    // An interface without packets changes nothing, one with packets does.
    let idle = [section(), named(ETHERNET, "eth0"), interface(105, &[])].concat();
    let at_1 = |shot: &Shot| Shot { interface: 1, ..shot.clone() };
    let unreadable: Vec<_> = shots.iter().map(at_1).collect();
    assert_eq!(json(&[idle.clone(), packets(&unreadable)].concat(), &[]).code, 1);
    json(&[idle, packets(&unreadable), packets(&shots)].concat(), &[]).assert_one_handshake();
    // No packet at all is no error.
    assert_eq!(json(&[section(), interface(105, &[])].concat(), &[]).code, 0);
}

#[test]
fn the_upper_bits_of_a_link_type_are_no_part_of_it() {
    let shots = handshake();
    let body: Vec<u8> =
        shots.iter().flat_map(|shot| [&pcap_head(shot).concat(), &shot.bytes[..]].concat()).collect();
    for link_type in [0xf000_0001, 0x2400_0001, 0x0001_0001] {
        json(&[pcap_header((2, 4), link_type), body.clone()].concat(), &[]).assert_one_handshake();
    }
    let said = json(&[pcap_header((2, 4), 0xf000_0069), body].concat(), &[]);
    assert!(said.stderr.contains("its link type 105 cannot be read"), "{said:?}");
}

#[test]
fn times_in_powers_of_two_are_exact() {
    let shots = handshake();
    for digits in [20_u8, 10, 32] {
        let units =
            |time_ns: u64| u64::try_from((u128::from(time_ns) << digits) / u128::from(S)).expect("fits");
        let ns = |units: u64| u64::try_from((u128::from(units) * u128::from(S)) >> digits).expect("fits");
        let described = interface(ETHERNET, &[option(9, &[0x80 | digits])]);
        let file: Vec<u8> = shots.iter().flat_map(|shot| enhanced(units(shot.time_ns), shot)).collect();
        let said = json(&[section(), described, file].concat(), &[]);
        let times: Vec<u64> = shots.iter().map(|shot| ns(units(shot.time_ns))).collect();
        said.assert_faultless(1, (times[1] - times[0], times[2] - times[1]));
        let time = said.handshakes()[0]["time"].to_string();
        assert!(time.contains("2026-01-02T14:02:31.0"), "{said:?}");
    }
}

#[test]
fn an_offset_of_the_clock_is_added_in_the_byte_order_of_its_section() {
    let shots = handshake();
    let offset_s: i64 = 1_000_000_000;
    let file: Vec<u8> =
        shots.iter().flat_map(|shot| enhanced(shot.time_ns - 1_000_000_000 * S, shot)).collect();
    let described = interface(ETHERNET, &[option(9, &[9]), option(14, &offset_s.to_le_bytes())]);
    let said = json(&[section(), described, file].concat(), &[]);
    said.assert_one_handshake();
    assert!(said.handshakes()[0]["time"].to_string().contains("2026-01-02T14:02:31.02"), "{said:?}");

    let said = json(&big_endian(&shots, offset_s), &[]);
    said.assert_one_handshake();
    assert!(said.handshakes()[0]["time"].to_string().contains("2026-01-02T14:02:31.02"), "{said:?}");
}

/// A big-endian section whose clock is behind by so many seconds.
fn big_endian(shots: &[Shot], offset_s: i64) -> Vec<u8> {
    let block = |kind: u32, body: &[u8]| {
        let len = u32::try_from(body.len() + 12).expect("short").to_be_bytes();
        [&kind.to_be_bytes()[..], &len, body, &len].concat()
    };
    let header = [&0x1a2b_3c4d_u32.to_be_bytes()[..], &[0, 1, 0, 0], &[0xff; 8]].concat();
    let options = [&[0, 9, 0, 1, 9, 0, 0, 0, 0, 14, 0, 8][..], &offset_s.to_be_bytes()].concat();
    let mut file =
        [block(0x0a0d_0d0a, &header), block(1, &[&[0, 1, 0, 0, 0, 4, 0, 0], &options[..]].concat())].concat();
    for shot in shots {
        let units = shot.time_ns - u64::try_from(offset_s).expect("positive") * S;
        let len = u32::try_from(shot.bytes.len()).expect("short");
        let mut bytes = shot.bytes.clone();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let head = [&0_u32.to_be_bytes()[..], &units.to_be_bytes(), &len.to_be_bytes(), &len.to_be_bytes()];
        file.extend(block(6, &[head.concat(), bytes].concat()));
    }
    file
}

#[test]
fn a_connection_goes_on_in_the_next_section() {
    let shots = handshake();
    for (first, second) in [("eth0", "eth0"), ("", "")] {
        for split in [1, 2] {
            let (before, behind) = shots.split_at(split);
            let begin = |name| [section(), named(ETHERNET, name)].concat();
            let file = [begin(first), packets(before), begin(second), packets(behind)].concat();
            json(&file, &[]).assert_one_handshake();
        }
    }
    // Another interface, and another in the same place, are others.
    for other in [[section(), named(ETHERNET, "eth1")].concat(), [section(), named(RAW, "eth0")].concat()] {
        let mut talk = Talk::v4(40_001);
        let bytes =
            if other == [section(), named(RAW, "eth0")].concat() { Segment::ip } else { Segment::ethernet };
        let other_shots = crate::shots(&talk.handshake(START + S), bytes);
        let file =
            [section(), named(ETHERNET, "eth0"), packets(&shots), other, packets(&other_shots)].concat();
        json(&file, &[]).assert_faultless(2, (20 * MS, MS));
    }
}

#[test]
fn old_versions_have_the_lengths_in_the_other_order() {
    let mut shots = handshake();
    // Ethernet pads what is sent, and tcpdump cuts it.
    shots.iter_mut().for_each(|shot| shot.wire_len = Some(68));
    let mut talk = Talk::v4(40_002);
    let equal = crate::shots(&talk.handshake(START + S), Segment::ethernet);
    for (version, is_swapped) in
        [((2, 2), true), ((2, 3), true), ((2, 3), false), ((543, 0), true), ((2, 4), false)]
    {
        let mut file = pcap_header(version, ETHERNET.into());
        for shot in shots.iter().chain(&equal) {
            let [s, ns, captured, original] = pcap_head(shot);
            let lengths = if is_swapped { [original, captured] } else { [captured, original] };
            file.extend([[s, ns].concat(), lengths.concat(), shot.bytes.clone()].concat());
        }
        let said = json(&file, &[]);
        assert_eq!(said.code, 0, "{version:?} {said:?}");
        said.assert_faultless(2, (20 * MS, MS));
    }
}

/// Tools that cut captures write the new length into both fields of a packet (`editcap -s 94 -L`).
#[test]
fn the_ip_header_says_how_long_a_packet_was_that_is_cut_to_its_headers() {
    for talk in [Talk::v4, Talk::v6] {
        let mut talk = talk(40_001);
        let mut segments = talk.handshake(START);
        let first = talk.send(CLIENT, ACK | PSH, 1_000);
        let second = talk.send(CLIENT, ACK | PSH, 700);
        let again = second.clone().ident(second.ident + 1);
        segments.extend([(START + 30 * MS, first), (START + 60 * MS, second), (START + 300 * MS, again)]);
        for headers in [0, 40] {
            let mut cut = shots(&segments, Segment::ethernet);
            let plain = segments[0].1.ethernet().len();
            cut.iter_mut().for_each(|shot| shot.bytes.truncate(plain + headers));
            let said = json(&pcap(ETHERNET, &cut), &[]);
            let retransmits = said.retransmits();
            assert_eq!(retransmits.len(), 1, "{said:?}");
            assert_eq!(
                (&retransmits[0]["payload_bytes"], &retransmits[0]["seq"]),
                (&700.into(), &2_001.into())
            );
            assert_eq!(said.summary()["data_segments"], 3, "{said:?}");
            assert_eq!(said.summary()["data_retransmits"], 1, "{said:?}");
            assert_eq!(said.missed("truncated"), 0, "{said:?}");
        }
    }
}

#[test]
fn what_can_be_read_of_options_counts_and_the_segment_always() {
    let stamps = [8, 10, 0, 0, 1, 0, 0, 0, 0, 7];
    let odd: [&[u8]; 5] = [
        // Timestamps of which two bytes are missing.
        &[&[2, 4, 5, 0xb4][..], &stamps[..8]].concat(),
        // Lengths that are none.
        &[2, 0, 5, 0xb4],
        &[3, 1, 1, 1],
        &[&stamps[..], &[254, 200]].concat(),
        &[1, 1, 1, 254],
    ];
    for options in odd {
        let mut segments = Talk::v4(40_001).handshake(START);
        for (_, segment) in &mut segments[..2] {
            *segment = segment.clone().options(options);
        }
        json(&pcap(ETHERNET, &shots(&segments, Segment::ethernet)), &[]).assert_one_handshake();
    }
}

/// A few bytes of gzip describe millions of interfaces.
#[test]
fn interfaces_are_bounded() {
    let described = |count: usize| {
        let name = "x".repeat(60_000);
        let long = named(ETHERNET, &name);
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&section()).expect("memory");
        for _ in 0..20 {
            packed.write_all(&long).expect("memory");
        }
        let some = interface(ETHERNET, &[]).repeat(1_024);
        for _ in 0..count / 1_024 {
            packed.write_all(&some).expect("memory");
        }
        packed.finish().expect("memory")
    };
    let said = json(&described(4 << 20), &[]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains("it describes more than 65536 interfaces, after 0 packets"), "{said:?}");
    let many = json(&described(32_768), &[]);
    assert_eq!(many.code, 0);
    assert!(many.stdout.len() < 10_000, "not all of them are listed");
}

/// Many sections that describe what others have described take no more memory than one.
#[test]
fn sections_are_not_remembered() {
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sections.pcapng");
    let one = [section(), interface(ETHERNET, &[]).repeat(4_096)].concat();
    let last = [section(), interface(ETHERNET, &[]), interface(ETHERNET, &[option(9, &[9])])].concat();
    let shots: Vec<_> = handshake().into_iter().map(|shot| Shot { interface: 1, ..shot }).collect();
    std::fs::write(&path, [one.repeat(200), last, packets(&shots)].concat())
        .expect("the target directory is ours");
    let mut command = Command::new("sh");
    // 256 MiB of addresses.
    command.args(["-c", r#"ulimit -v 262144; exec "$0" replay "$1" --json"#, env!("CARGO_BIN_EXE_tcptop")]);
    let output = command.arg(&path).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains(r#""rtt_ns":21000000"#));
}

/// Blocks that nobody knows, options of no length, and a section of no end.
#[test]
fn blocks_that_are_not_known_are_skipped() {
    let unknown = [block(0x8000_0bad, b"what is it"), block(5, &[0; 12])].concat();
    let file = [section(), unknown.clone(), named(ETHERNET, "eth0"), unknown, packets(&handshake())].concat();
    json(&file, &[]).assert_one_handshake();
    let server = Talk::v4(40_001).send(SERVER, SYN | ACK, 0);
    assert_eq!(server.ethernet().len(), 54);
}
