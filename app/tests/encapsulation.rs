//! TCP within tags, labels and tunnels; what is not looked into is counted by what it is.

mod support;

use std::net::IpAddr;

use serde_json::{Value, json};
use support::wire::{
    COOKED, COOKED2, ETHERNET, RAW, START, Said, Segment, Shot, Talk, ethernet, ethertype, frame, ip, json,
    pcap, replay, shots, tagged,
};

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// An IP packet between two tunnel ends.
fn outer(v6: bool, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [from, to] = if v6 { ["2001:db8:f::1", "2001:db8:f::2"] } else { ["203.0.113.1", "203.0.113.2"] };
    ip(address(from), address(to), protocol, 7, 64, payload)
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len() + 8).expect("short");
    [[0xd9, 0x03], port.to_be_bytes(), len.to_be_bytes(), [0; 2]]
        .concat()
        .into_iter()
        .chain(payload.to_vec())
        .collect()
}

fn gre(flags: u16, protocol: u16, fields: &[u8], payload: &[u8]) -> Vec<u8> {
    [&flags.to_be_bytes()[..], &protocol.to_be_bytes(), fields, payload].concat()
}

fn pppoe(ip: &[u8]) -> Vec<u8> {
    let protocol: u16 = if ethertype(ip) == 0x0800 { 0x0021 } else { 0x0057 };
    let len = u16::try_from(ip.len() + 2).expect("short").to_be_bytes();
    [&[0x11, 0, 0, 7][..], &len, &protocol.to_be_bytes(), ip].concat()
}

/// So many labels, the last one marked.
fn labels(count: u32) -> Vec<u8> {
    (1..=count)
        .flat_map(|number| (number << 12 | u32::from(number == count) << 8 | 64).to_be_bytes())
        .collect()
}

/// The same packet behind so many tags.
fn tags(count: u16, ip: &[u8]) -> Vec<u8> {
    let inner = (0..count).fold((ethertype(ip), ip.to_vec()), |(ethertype, packet), number| {
        (if number % 2 == 0 { 0x8100 } else { 0x88a8 }, tagged(number, ethertype, &packet))
    });
    frame(inner.0, &inner.1)
}

fn snap(ip: &[u8]) -> Vec<u8> {
    let len = u16::try_from(ip.len() + 8).expect("short");
    frame(len, &[&[0xaa, 0xaa, 3, 0, 0, 0][..], &ethertype(ip).to_be_bytes(), ip].concat())
}

fn vxlan(payload: &[u8]) -> Vec<u8> {
    [&[8, 0, 0, 0, 0, 0, 42, 0][..], payload].concat()
}

fn geneve(options: usize, protocol: u16, payload: &[u8]) -> Vec<u8> {
    let words = u8::try_from(options).expect("at most 63");
    let head = [&[words, 0][..], &protocol.to_be_bytes(), &[0, 0, 42, 0]].concat();
    [head, vec![0xee; options * 4], payload.to_vec()].concat()
}

fn gtp(flags: u8, more: &[u8], payload: &[u8]) -> Vec<u8> {
    [&[flags, 255, 0, 0, 0, 0, 0, 1][..], more, payload].concat()
}

/// A way to carry an IP packet in an Ethernet frame, and its name in the output.
type Carrier = (&'static str, Option<&'static str>, fn(&[u8]) -> Vec<u8>);

const CARRIERS: [Carrier; 41] = [
    ("plain", None, |ip| ethernet(ip)),
    ("one tag", None, |ip| tags(1, ip)),
    ("two tags", None, |ip| tags(2, ip)),
    ("three tags", None, |ip| tags(3, ip)),
    ("six tags", None, |ip| tags(6, ip)),
    ("SNAP", Some("snap"), |ip| snap(ip)),
    ("PPPoE", Some("pppoe"), |ip| frame(0x8864, &pppoe(ip))),
    ("PPPoE in a VLAN", Some("pppoe"), |ip| frame(0x8100, &tagged(5, 0x8864, &pppoe(ip)))),
    ("one label", Some("mpls"), |ip| frame(0x8847, &[labels(1), ip.to_vec()].concat())),
    ("four labels", Some("mpls"), |ip| frame(0x8847, &[labels(4), ip.to_vec()].concat())),
    ("multicast label", Some("mpls"), |ip| frame(0x8848, &[labels(2), ip.to_vec()].concat())),
    ("label in a VLAN", Some("mpls"), |ip| {
        frame(0x88a8, &tagged(5, 0x8847, &[labels(1), ip.to_vec()].concat()))
    }),
    ("Ethernet over MPLS", Some("mpls"), |ip| frame(0x8847, &[labels(2), vec![0; 4], ethernet(ip)].concat())),
    ("IP in IPv4", Some("4in4"), |ip| ethernet(&outer(false, in_ip(ip), ip))),
    ("IP in IPv6", Some("4in6"), |ip| ethernet(&outer(true, in_ip(ip), ip))),
    ("GRE", Some("gre"), |ip| ethernet(&outer(false, 47, &gre(0, ethertype(ip), &[], ip)))),
    ("GRE over IPv6", Some("gre"), |ip| ethernet(&outer(true, 47, &gre(0, ethertype(ip), &[], ip)))),
    ("GRE with a key", Some("gre"), |ip| {
        ethernet(&outer(false, 47, &gre(0x2000, ethertype(ip), &[0, 0, 0, 9], ip)))
    }),
    ("GRE with everything", Some("gre"), |ip| {
        ethernet(&outer(false, 47, &gre(0xb000, ethertype(ip), &[9; 12], ip)))
    }),
    ("GRETAP", Some("gre"), |ip| ethernet(&outer(false, 47, &gre(0, 0x6558, &[], &ethernet(ip))))),
    ("GRETAP with a tag", Some("gre"), |ip| ethernet(&outer(false, 47, &gre(0, 0x6558, &[], &tags(1, ip))))),
    ("MPLS over GRE", Some("gre"), |ip| {
        ethernet(&outer(false, 47, &gre(0, 0x8847, &[], &[labels(1), ip.to_vec()].concat())))
    }),
    ("ERSPAN I", Some("erspan"), |ip| ethernet(&outer(false, 47, &gre(0, 0x88be, &[], &ethernet(ip))))),
    ("ERSPAN II", Some("erspan"), |ip| {
        let header = [&[0; 4][..], &[0x10, 1, 0, 9, 0, 0, 0, 3]].concat();
        ethernet(&outer(false, 47, &gre(0x1000, 0x88be, &header, &ethernet(ip))))
    }),
    ("ERSPAN III", Some("erspan"), |ip| {
        let header = [&[0; 4][..], &[0x20, 1, 0, 9, 0, 0, 0, 3, 0, 0, 0, 0]].concat();
        ethernet(&outer(false, 47, &gre(0x1000, 0x22eb, &header, &ethernet(ip))))
    }),
    ("ERSPAN III with the platform's part", Some("erspan"), |ip| {
        let header = [&[0; 4][..], &[0x20, 1, 0, 9, 0, 0, 0, 3, 0, 0, 0, 1], &[7; 8]].concat();
        ethernet(&outer(true, 47, &gre(0x1000, 0x22eb, &header, &tags(1, ip))))
    }),
    ("VXLAN", Some("vxlan"), |ip| ethernet(&outer(false, 17, &udp(4789, &vxlan(&ethernet(ip)))))),
    ("VXLAN over IPv6", Some("vxlan"), |ip| ethernet(&outer(true, 17, &udp(4789, &vxlan(&ethernet(ip)))))),
    ("VXLAN of Linux", Some("vxlan"), |ip| ethernet(&outer(false, 17, &udp(8472, &vxlan(&ethernet(ip)))))),
    ("VXLAN with tags", Some("vxlan"), |ip| ethernet(&outer(false, 17, &udp(4789, &vxlan(&tags(2, ip)))))),
    ("VXLAN in a VLAN", Some("vxlan"), |ip| tags(1, &outer(false, 17, &udp(4789, &vxlan(&ethernet(ip)))))),
    ("GENEVE", Some("geneve"), |ip| {
        ethernet(&outer(false, 17, &udp(6081, &geneve(0, 0x6558, &ethernet(ip)))))
    }),
    ("GENEVE with options", Some("geneve"), |ip| {
        ethernet(&outer(true, 17, &udp(6081, &geneve(12, 0x6558, &ethernet(ip)))))
    }),
    ("GENEVE of IP", Some("geneve"), |ip| {
        ethernet(&outer(false, 17, &udp(6081, &geneve(2, ethertype(ip), ip))))
    }),
    ("GTP-U", Some("gtp-u"), |ip| ethernet(&outer(false, 17, &udp(2152, &gtp(0x30, &[], ip))))),
    ("GTP-U with a sequence number", Some("gtp-u"), |ip| {
        ethernet(&outer(false, 17, &udp(2152, &gtp(0x32, &[0, 1, 0, 0], ip))))
    }),
    ("GTP-U with an extension", Some("gtp-u"), |ip| {
        ethernet(&outer(false, 17, &udp(2152, &gtp(0x34, &[0, 0, 0, 0x85, 1, 0x10, 9, 0], ip))))
    }),
    ("GTP-U with two extensions", Some("gtp-u"), |ip| {
        let more = [0, 0, 0, 0x85, 1, 0x10, 9, 0xc0, 1, 0, 0, 0];
        ethernet(&outer(true, 17, &udp(2152, &gtp(0x36, &more, ip))))
    }),
    ("authentication header", None, |ip| ethernet(&authenticated(ip))),
    ("authenticated IP in IP", Some("4in4"), |ip| {
        let header = [&[in_ip(ip), 4][..], &[0; 22]].concat();
        ethernet(&outer(false, 51, &[&header[..], ip].concat()))
    }),
    ("PPPoE around a tunnel", Some("gre"), |ip| {
        frame(0x8864, &pppoe(&outer(false, 47, &gre(0, ethertype(ip), &[], ip))))
    }),
];

fn in_ip(ip: &[u8]) -> u8 {
    if ethertype(ip) == 0x0800 { 4 } else { 41 }
}

/// The same packet with an authentication header before its payload.
fn authenticated(ip: &[u8]) -> Vec<u8> {
    let header = [&[6, 4][..], &[0; 22]].concat();
    let (head, at) = if ethertype(ip) == 0x0800 { (20, 9) } else { (40, 6) };
    let mut packet = [&ip[..head], &header, &ip[head..]].concat();
    packet[at] = 51;
    let len = if head == 20 { packet.len() } else { packet.len() - 40 };
    let at = if head == 20 { 2 } else { 4 };
    packet[at..at + 2].copy_from_slice(&u16::try_from(len).expect("short").to_be_bytes());
    packet
}

/// The name of a tunnel says which version carries which.
fn name(name: Option<&'static str>, v6: bool) -> Value {
    let name = name.map(|name| if v6 { name.replace("4in", "6in") } else { name.to_owned() });
    name.map_or(Value::Null, Value::from)
}

#[test]
fn every_carrier_is_looked_into() {
    for (what, encapsulation, carry) in CARRIERS {
        for v6 in [false, true] {
            let mut talk = if v6 { Talk::v6(40_001) } else { Talk::v4(40_001) };
            let segments = talk.whole(START, 3);
            let said = json(&pcap(ETHERNET, &shots(&segments, |segment| carry(&segment.ip()))), &[]);
            eprintln!("{what}, IPv6 {v6}");
            said.assert_one_handshake();
            assert_eq!(said.handshakes()[0]["encapsulation"], name(encapsulation, v6), "{said:?}");
            assert_eq!(
                (said.summary()["data_segments"].clone(), said.summary()["passed_over"].clone()),
                (6.into(), 0.into())
            );
        }
    }
}

/// `--local` and the roles are about the ends of the connection, not those of the tunnel.
#[test]
fn roles_are_those_of_the_inner_addresses() {
    for (what, _, carry) in CARRIERS {
        let segments = Talk::v4(40_001).handshake(START);
        let file = pcap(ETHERNET, &shots(&segments, |segment| carry(&segment.ip())));
        for (local, role) in
            [("192.0.2.0/24", "client"), ("198.51.100.1", "server"), ("203.0.113.0/24", "observer")]
        {
            let said = json(&file, &["--local", local]);
            assert_eq!(said.handshakes()[0]["role"], role, "{what} {said:?}");
        }
    }
}

/// Cut anywhere: fewer figures and a count, never a panic or a figure that is wrong.
#[test]
fn carriers_that_are_cut_are_counted() {
    for (what, _, carry) in CARRIERS {
        let segments = Talk::v4(40_001).handshake(START);
        let whole = shots(&segments, |segment| carry(&segment.ip()));
        let cut = whole.iter().flat_map(|shot| {
            (0..shot.bytes.len()).map(|kept| Shot {
                bytes: shot.bytes[..kept].to_vec(),
                wire_len: Some(u32::try_from(shot.bytes.len()).expect("short")),
                ..shot.clone()
            })
        });
        let cut: Vec<_> = cut.collect();
        let said = json(&pcap(ETHERNET, &cut), &[]);
        let counted = said.missed("truncated") + said.summary()["passed_over"].as_u64().expect("a count");
        assert_eq!((said.code, counted), (0, cut.len() as u64), "{what} {said:?}");
        assert_eq!(said.summary()["records"], 0, "{what} {said:?}");
    }
}

/// By their names, with counts.
fn passed_over(said: &Said) -> Value {
    said.summary()["passed_over_by_kind"].clone()
}

#[test]
fn without_decap_what_is_passed_over_is_counted_by_what_it_is() {
    for (carrier, what) in [
        ("PPPoE", "EtherType 0x8864 (PPPoE)"),
        ("one label", "EtherType 0x8847 (MPLS)"),
        ("SNAP", "IEEE 802.3 (LLC)"),
        ("IP in IPv4", "IP protocol 4 (IPv4)"),
        ("GRE", "IP protocol 47 (GRE)"),
        ("ERSPAN II", "IP protocol 47 (GRE)"),
        ("VXLAN", "UDP port 4789 (VXLAN)"),
        ("VXLAN of Linux", "UDP port 8472 (VXLAN)"),
        ("GENEVE", "UDP port 6081 (GENEVE)"),
        ("GTP-U", "UDP port 2152 (GTP-U)"),
    ] {
        let (_, _, carry) = CARRIERS.into_iter().find(|(name, ..)| *name == carrier).expect("a carrier");
        let segments = Talk::v4(40_001).whole(START, 5);
        let file = pcap(ETHERNET, &shots(&segments, |segment| carry(&segment.ip())));
        let said = json(&file, &["--decap=off"]);
        assert_eq!(said.handshakes(), Vec::<Value>::new(), "{said:?}");
        assert_eq!(passed_over(&said), json!([{ "what": what, "packets": segments.len() }]), "{carrier}");
        json(&file, &["--decap=on"]).assert_one_handshake();
        for report in ["--text", "--report"] {
            let said = replay(&file, &["--decap=off", report]);
            let line = format!("{} packets without TCP passed over: {} of ", segments.len(), segments.len());
            assert!(said.stdout.contains(&line) || said.stderr.contains(&line), "{said:?}");
        }
    }
    // Tags are no tunnel.
    let file = pcap(ETHERNET, &shots(&Talk::v4(40_001).handshake(START), |segment| tags(4, &segment.ip())));
    json(&file, &["--decap=off"]).assert_one_handshake();
}

#[test]
fn what_is_not_looked_into_is_counted_by_what_it_is() {
    let ip = Talk::v4(40_001).send(0, 2, 0).ip();
    let twice = outer(false, 17, &udp(4789, &vxlan(&ethernet(&outer(false, 47, &gre(0, 0x0800, &[], &ip))))));
    let packets = [
        (frame(0x0806, &[0; 28]), "EtherType 0x0806 (ARP)", 7),
        (ethernet(&outer(false, 50, &[0; 60])), "IP protocol 50 (ESP)", 6),
        (ethernet(&outer(true, 58, &[0; 60])), "IP protocol 58 (ICMPv6)", 5),
        (ethernet(&outer(false, 17, &udp(53, &[0; 60]))), "IP protocol 17 (UDP)", 4),
        (ethernet(&outer(true, 17, &udp(51820, &[0; 60]))), "UDP port 51820 (WireGuard)", 3),
        // A tunnel within a tunnel, and one of nobody knows what.
        (ethernet(&twice), "IP protocol 47 (GRE)", 2),
        (
            ethernet(&outer(false, 17, &udp(4789, &vxlan(&frame(0x9999, &[0; 60]))))),
            "UDP port 4789 (VXLAN)",
            1,
        ),
    ];
    let times = packets.iter().flat_map(|(bytes, _, count)| vec![Shot::new(START, bytes.clone()); *count]);
    let said = json(&pcap(ETHERNET, &times.collect::<Vec<_>>()), &[]);
    let expected: Vec<Value> =
        packets.iter().map(|(_, what, packets)| json!({ "what": what, "packets": packets })).collect();
    assert_eq!(passed_over(&said), Value::from(expected), "{said:?}");
    assert_eq!(said.summary()["passed_over"], 28);
}

/// What looks like a tunnel by its port need not be one.
#[test]
fn other_protocols_on_the_ports_of_tunnels_are_passed_over() {
    let mut file = Vec::new();
    for port in [4789, 8472, 6081, 2152] {
        for fill in [0, 0x08, 0x30, 0x34, 0xff] {
            for len in [0, 7, 8, 60] {
                file.push(Shot::new(START, ethernet(&outer(false, 17, &udp(port, &vec![fill; len])))));
            }
        }
    }
    let said = json(&pcap(ETHERNET, &file), &[]);
    let counted = said.summary()["passed_over"].as_u64().expect("a count") + said.missed("truncated");
    assert_eq!((said.code, counted), (0, file.len() as u64), "{said:?}");
}

/// Two tenants' packets, and the same connection within a tunnel and without one.
#[test]
fn a_tunnel_whose_outer_packet_is_in_the_capture_is_seen_once() {
    let segments = Talk::v4(40_001).whole(START, 3);
    let mut file = Vec::new();
    for (time_ns, segment) in &segments {
        let inner = segment.ip();
        file.push(Shot::new(*time_ns, ethernet(&outer(false, 17, &udp(4789, &vxlan(&ethernet(&inner)))))));
        file.push(Shot::new(time_ns + 20_000, ethernet(&inner)));
    }
    let said = json(&pcap(ETHERNET, &file), &[]);
    said.assert_one_handshake();
    assert_eq!(said.summary()["copies"], segments.len(), "{said:?}");
}

fn cooked(ethertype: u16, packet_type: u8, payload: &[u8]) -> Vec<u8> {
    [&[0, packet_type][..], &[0; 12], &ethertype.to_be_bytes(), payload].concat()
}

fn cooked2(ethertype: u16, packet_type: u8, ifindex: u32, payload: &[u8]) -> Vec<u8> {
    let head = [&ethertype.to_be_bytes()[..], &[0; 2], &ifindex.to_be_bytes(), &[0, 1, packet_type], &[0; 9]];
    [&head.concat()[..], payload].concat()
}

#[test]
fn tags_and_tunnels_in_cooked_captures() {
    type Cook = fn(&[u8]) -> (u16, Vec<u8>);
    let carriers: [(Option<&str>, Cook); 6] = [
        (None, |ip| (ethertype(ip), ip.to_vec())),
        (None, |ip| (0x8100, tagged(7, ethertype(ip), ip))),
        (None, |ip| (0x88a8, tagged(7, 0x8100, &tagged(8, ethertype(ip), ip)))),
        (Some("pppoe"), |ip| (0x8864, pppoe(ip))),
        (Some("snap"), |ip| (4, [&[0xaa, 0xaa, 3, 0, 0, 0][..], &ethertype(ip).to_be_bytes(), ip].concat())),
        (Some("gre"), |ip| (0x0800, outer(false, 47, &gre(0, ethertype(ip), &[], ip)))),
    ];
    for (encapsulation, cook) in carriers {
        for v6 in [false, true] {
            for link_type in [COOKED, COOKED2] {
                let mut talk = if v6 { Talk::v6(40_001) } else { Talk::v4(40_001) };
                let packet = |segment: &Segment| {
                    let (ethertype, payload) = cook(&segment.ip());
                    let packet_type = if segment.source.1 == 443 { 0 } else { 4 };
                    match link_type {
                        COOKED => cooked(ethertype, packet_type, &payload),
                        _ => cooked2(ethertype, packet_type, 3, &payload),
                    }
                };
                let said = json(&pcap(link_type, &shots(&talk.whole(START, 2), packet)), &[]);
                said.assert_one_handshake();
                let handshake = &said.handshakes()[0];
                assert_eq!(handshake["encapsulation"], name(encapsulation, v6), "{said:?}");
                assert_eq!(handshake["role"], "client", "{said:?}");
            }
        }
    }
}

/// `tcpdump -i any` on a host with a bridge: every packet passes two interfaces.
#[test]
fn the_interfaces_of_a_cooked_capture_are_kept_apart() {
    for pairs in [[3, 4], [2, 700], [0xffff_ffff, 1]] {
        let mut file = Vec::new();
        for (time_ns, segment) in Talk::v4(40_001).whole(START, 5) {
            for (ifindex, packet_type) in pairs.into_iter().zip([0, 4]) {
                let late_ns = u64::from(packet_type) * 1_000;
                let bytes = cooked2(0x0800, packet_type, ifindex, &segment.ip());
                file.push(Shot::new(time_ns + late_ns, bytes));
            }
        }
        // The packet types say that this host receives what it sends: only the addresses tell who is who.
        for (local, role) in
            [("192.0.2.0/24", "client"), ("198.51.100.0/24", "server"), ("10.0.0.0/8", "observer")]
        {
            let said = json(&pcap(COOKED2, &file), &["--local", local]);
            assert_eq!((said.handshakes().len(), said.retransmits().len()), (2, 0), "{said:?}");
            let names: Vec<_> =
                said.handshakes().iter().map(|handshake| handshake["interface"].clone()).collect();
            assert_eq!(names, pairs.map(|ifindex| format!("if{ifindex}")), "{said:?}");
            assert!(said.handshakes().iter().all(|handshake| handshake["role"] == role), "{said:?}");
            assert_eq!(
                (said.summary()["copies"].clone(), said.summary()["data_segments"].clone()),
                (0.into(), 20.into())
            );
        }
    }
}

/// Version 1 does not say which interface it was.
#[test]
fn copies_of_a_cooked_capture_without_interfaces_are_known() {
    let mut file = Vec::new();
    for (time_ns, segment) in Talk::v4(40_001).whole(START, 5) {
        file.push(Shot::new(time_ns, cooked(0x0800, 0, &segment.ip())));
        file.push(Shot::new(time_ns + 4_000, cooked(0x0800, 4, &segment.ip())));
    }
    let said = json(&pcap(COOKED, &file), &["--local", "192.0.2.1"]);
    said.assert_one_handshake();
    assert_eq!(said.summary()["copies"], file.len() / 2, "{said:?}");
}

#[test]
fn bare_packets_are_looked_into_too() {
    let segments = Talk::v4(40_001).whole(START, 2);
    let said = json(&pcap(RAW, &shots(&segments, |segment| outer(true, 4, &segment.ip()))), &[]);
    said.assert_one_handshake();
    assert_eq!(said.handshakes()[0]["encapsulation"], "4in6");
    let nothing = [Shot::new(START, vec![0x70; 40]), Shot::new(START, vec![0x45])];
    let said = json(&pcap(RAW, &nothing), &[]);
    assert_eq!(passed_over(&said), json!([{ "what": "neither IPv4 nor IPv6", "packets": 1 }]), "{said:?}");
    assert_eq!(said.missed("truncated"), 1, "{said:?}");
}
