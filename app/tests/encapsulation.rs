//! TCP within tags, labels and tunnels; what is not looked into is counted by what it is.

mod support;

use lab::carrier::{CARRIERS, ethernet, ethertype, frame, gre, outer, pppoe, tagged, tags, udp, vxlan};
use serde_json::{Value, json};
use support::wire::{
    COOKED, COOKED2, ETHERNET, RAW, START, Said, Segment, Shot, Talk, json, pcap, replay, shots,
};

/// The name of a tunnel says which version carries which.
fn name(name: Option<&'static str>, v6: bool) -> Value {
    let name = name.map(|name| if v6 { name.replace("4in", "6in") } else { name.to_owned() });
    name.map_or(Value::Null, Value::from)
}

#[test]
fn every_carrier_is_looked_into() {
    for carrier in CARRIERS {
        let what = carrier.name;
        for v6 in [false, true] {
            let mut talk = if v6 { Talk::v6(40_001) } else { Talk::v4(40_001) };
            let segments = talk.whole(START, 3);
            let said = json(&pcap(ETHERNET, &shots(&segments, |segment| carrier.frame(&segment.ip()))), &[]);
            eprintln!("{what}, IPv6 {v6}");
            said.assert_one_handshake();
            let encapsulation = carrier.encapsulation(v6).map_or(Value::Null, Value::from);
            assert_eq!(said.handshakes()[0]["encapsulation"], encapsulation, "{said:?}");
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
    for carrier in CARRIERS {
        let what = carrier.name;
        let segments = Talk::v4(40_001).handshake(START);
        let file = pcap(ETHERNET, &shots(&segments, |segment| carrier.frame(&segment.ip())));
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
    for carrier in CARRIERS {
        let what = carrier.name;
        let segments = Talk::v4(40_001).handshake(START);
        let whole = shots(&segments, |segment| carrier.frame(&segment.ip()));
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
    for (name, what) in [
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
        let carrier = CARRIERS.into_iter().find(|carrier| carrier.name == name).expect("a carrier");
        let segments = Talk::v4(40_001).whole(START, 5);
        let file = pcap(ETHERNET, &shots(&segments, |segment| carrier.frame(&segment.ip())));
        let said = json(&file, &["--decap=off"]);
        assert_eq!(said.handshakes(), Vec::<Value>::new(), "{said:?}");
        assert_eq!(passed_over(&said), json!([{ "what": what, "packets": segments.len() }]), "{name}");
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
