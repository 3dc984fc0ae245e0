//! Ways to carry an IP packet in an Ethernet frame: tags, labels and tunnels, byte by byte.

use std::net::{IpAddr, Ipv6Addr};

/// A way to carry an IP packet.
#[derive(Clone, Copy, Debug)]
pub struct Carrier {
    /// What it is.
    pub name: &'static str,
    /// Its name in the output, for IPv4 in it.
    pub encapsulation: Option<&'static str>,
    carry: fn(&[u8]) -> Vec<u8>,
}

impl Carrier {
    /// The Ethernet frame that carries this IP packet.
    #[must_use]
    pub fn frame(&self, ip: &[u8]) -> Vec<u8> {
        (self.carry)(ip)
    }

    /// Its name in the output, for either version in it.
    #[must_use]
    pub fn encapsulation(&self, v6: bool) -> Option<String> {
        let name = self.encapsulation?;
        Some(if v6 { name.replace("4in", "6in") } else { name.to_owned() })
    }
}

/// The EtherType of an IP packet.
#[must_use]
pub fn ethertype(ip: &[u8]) -> u16 {
    if ip[0] >> 4 == 4 { 0x0800 } else { 0x86dd }
}

/// An Ethernet frame.
#[must_use]
pub fn frame(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&[2; 12][..], &ethertype.to_be_bytes(), payload].concat()
}

/// An Ethernet frame of an IP packet.
#[must_use]
pub fn ethernet(ip: &[u8]) -> Vec<u8> {
    frame(ethertype(ip), ip)
}

/// The same packet behind a tag, as the payload of a frame or of another tag.
#[must_use]
pub fn tagged(vlan: u16, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&vlan.to_be_bytes()[..], &ethertype.to_be_bytes(), payload].concat()
}

/// An IP packet between two addresses of one family.
///
/// # Panics
/// When they are not, or it is too long.
#[must_use]
pub fn ip(source: IpAddr, destination: IpAddr, protocol: u8, ident: u16, ttl: u8, payload: &[u8]) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let len = u16::try_from(20 + payload.len()).expect("short").to_be_bytes();
            let ident = ident.to_be_bytes();
            let head = [0x45, 0, len[0], len[1], ident[0], ident[1], 0x40, 0, ttl, protocol, 0, 0];
            [&head[..], &source.octets(), &destination.octets(), payload].concat()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let len = u16::try_from(payload.len()).expect("short").to_be_bytes();
            let head = [0x60, 0, 0, 0, len[0], len[1], protocol, ttl];
            [&head[..], &source.octets(), &destination.octets(), payload].concat()
        }
        _ => panic!("two families"),
    }
}

/// An IP packet between two tunnel ends.
#[must_use]
pub fn outer(v6: bool, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [from, to] = if v6 {
        [1, 2].map(|host| Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, host).into())
    } else {
        [1, 2].map(|host| IpAddr::from([203, 0, 113, host]))
    };
    ip(from, to, protocol, 7, 64, payload)
}

/// A UDP datagram to this port.
///
/// # Panics
/// When it is too long.
#[must_use]
pub fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len() + 8).expect("short");
    [[0xd9, 0x03], port.to_be_bytes(), len.to_be_bytes(), [0; 2]]
        .concat()
        .into_iter()
        .chain(payload.to_vec())
        .collect()
}

/// A GRE header with these flags and fields, and what it carries.
#[must_use]
pub fn gre(flags: u16, protocol: u16, fields: &[u8], payload: &[u8]) -> Vec<u8> {
    [&flags.to_be_bytes()[..], &protocol.to_be_bytes(), fields, payload].concat()
}

/// A PPPoE session's header and an IP packet.
///
/// # Panics
/// When it is too long.
#[must_use]
pub fn pppoe(ip: &[u8]) -> Vec<u8> {
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
#[must_use]
pub fn tags(count: u16, ip: &[u8]) -> Vec<u8> {
    let inner = (0..count).fold((ethertype(ip), ip.to_vec()), |(ethertype, packet), number| {
        (if number % 2 == 0 { 0x8100 } else { 0x88a8 }, tagged(number, ethertype, &packet))
    });
    frame(inner.0, &inner.1)
}

fn snap(ip: &[u8]) -> Vec<u8> {
    let len = u16::try_from(ip.len() + 8).expect("short");
    frame(len, &[&[0xaa, 0xaa, 3, 0, 0, 0][..], &ethertype(ip).to_be_bytes(), ip].concat())
}

/// A VXLAN header and an Ethernet frame.
#[must_use]
pub fn vxlan(payload: &[u8]) -> Vec<u8> {
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

const fn carrier(
    name: &'static str,
    encapsulation: Option<&'static str>,
    carry: fn(&[u8]) -> Vec<u8>,
) -> Carrier {
    Carrier { name, encapsulation, carry }
}

/// Every one.
pub const CARRIERS: [Carrier; 41] = [
    carrier("plain", None, ethernet),
    carrier("one tag", None, |ip| tags(1, ip)),
    carrier("two tags", None, |ip| tags(2, ip)),
    carrier("three tags", None, |ip| tags(3, ip)),
    carrier("six tags", None, |ip| tags(6, ip)),
    carrier("SNAP", Some("snap"), snap),
    carrier("PPPoE", Some("pppoe"), |ip| frame(0x8864, &pppoe(ip))),
    carrier("PPPoE in a VLAN", Some("pppoe"), |ip| frame(0x8100, &tagged(5, 0x8864, &pppoe(ip)))),
    carrier("one label", Some("mpls"), |ip| frame(0x8847, &[labels(1), ip.to_vec()].concat())),
    carrier("four labels", Some("mpls"), |ip| frame(0x8847, &[labels(4), ip.to_vec()].concat())),
    carrier("multicast label", Some("mpls"), |ip| frame(0x8848, &[labels(2), ip.to_vec()].concat())),
    carrier("label in a VLAN", Some("mpls"), |ip| {
        frame(0x88a8, &tagged(5, 0x8847, &[labels(1), ip.to_vec()].concat()))
    }),
    carrier("Ethernet over MPLS", Some("mpls"), |ip| {
        frame(0x8847, &[labels(2), vec![0; 4], ethernet(ip)].concat())
    }),
    carrier("IP in IPv4", Some("4in4"), |ip| ethernet(&outer(false, in_ip(ip), ip))),
    carrier("IP in IPv6", Some("4in6"), |ip| ethernet(&outer(true, in_ip(ip), ip))),
    carrier("GRE", Some("gre"), |ip| ethernet(&outer(false, 47, &gre(0, ethertype(ip), &[], ip)))),
    carrier("GRE over IPv6", Some("gre"), |ip| ethernet(&outer(true, 47, &gre(0, ethertype(ip), &[], ip)))),
    carrier("GRE with a key", Some("gre"), |ip| {
        ethernet(&outer(false, 47, &gre(0x2000, ethertype(ip), &[0, 0, 0, 9], ip)))
    }),
    carrier("GRE with everything", Some("gre"), |ip| {
        ethernet(&outer(false, 47, &gre(0xb000, ethertype(ip), &[9; 12], ip)))
    }),
    carrier("GRETAP", Some("gre"), |ip| ethernet(&outer(false, 47, &gre(0, 0x6558, &[], &ethernet(ip))))),
    carrier("GRETAP with a tag", Some("gre"), |ip| {
        ethernet(&outer(false, 47, &gre(0, 0x6558, &[], &tags(1, ip))))
    }),
    carrier("MPLS over GRE", Some("gre"), |ip| {
        ethernet(&outer(false, 47, &gre(0, 0x8847, &[], &[labels(1), ip.to_vec()].concat())))
    }),
    carrier("ERSPAN I", Some("erspan"), |ip| {
        ethernet(&outer(false, 47, &gre(0, 0x88be, &[], &ethernet(ip))))
    }),
    carrier("ERSPAN II", Some("erspan"), |ip| {
        let header = [&[0; 4][..], &[0x10, 1, 0, 9, 0, 0, 0, 3]].concat();
        ethernet(&outer(false, 47, &gre(0x1000, 0x88be, &header, &ethernet(ip))))
    }),
    carrier("ERSPAN III", Some("erspan"), |ip| {
        let header = [&[0; 4][..], &[0x20, 1, 0, 9, 0, 0, 0, 3, 0, 0, 0, 0]].concat();
        ethernet(&outer(false, 47, &gre(0x1000, 0x22eb, &header, &ethernet(ip))))
    }),
    carrier("ERSPAN III with the platform's part", Some("erspan"), |ip| {
        let header = [&[0; 4][..], &[0x20, 1, 0, 9, 0, 0, 0, 3, 0, 0, 0, 1], &[7; 8]].concat();
        ethernet(&outer(true, 47, &gre(0x1000, 0x22eb, &header, &tags(1, ip))))
    }),
    carrier("VXLAN", Some("vxlan"), |ip| ethernet(&outer(false, 17, &udp(4789, &vxlan(&ethernet(ip)))))),
    carrier("VXLAN over IPv6", Some("vxlan"), |ip| {
        ethernet(&outer(true, 17, &udp(4789, &vxlan(&ethernet(ip)))))
    }),
    carrier("VXLAN of Linux", Some("vxlan"), |ip| {
        ethernet(&outer(false, 17, &udp(8472, &vxlan(&ethernet(ip)))))
    }),
    carrier("VXLAN with tags", Some("vxlan"), |ip| {
        ethernet(&outer(false, 17, &udp(4789, &vxlan(&tags(2, ip)))))
    }),
    carrier("VXLAN in a VLAN", Some("vxlan"), |ip| {
        tags(1, &outer(false, 17, &udp(4789, &vxlan(&ethernet(ip)))))
    }),
    carrier("GENEVE", Some("geneve"), |ip| {
        ethernet(&outer(false, 17, &udp(6081, &geneve(0, 0x6558, &ethernet(ip)))))
    }),
    carrier("GENEVE with options", Some("geneve"), |ip| {
        ethernet(&outer(true, 17, &udp(6081, &geneve(12, 0x6558, &ethernet(ip)))))
    }),
    carrier("GENEVE of IP", Some("geneve"), |ip| {
        ethernet(&outer(false, 17, &udp(6081, &geneve(2, ethertype(ip), ip))))
    }),
    carrier("GTP-U", Some("gtp-u"), |ip| ethernet(&outer(false, 17, &udp(2152, &gtp(0x30, &[], ip))))),
    carrier("GTP-U with a sequence number", Some("gtp-u"), |ip| {
        ethernet(&outer(false, 17, &udp(2152, &gtp(0x32, &[0, 1, 0, 0], ip))))
    }),
    carrier("GTP-U with an extension", Some("gtp-u"), |ip| {
        ethernet(&outer(false, 17, &udp(2152, &gtp(0x34, &[0, 0, 0, 0x85, 1, 0x10, 9, 0], ip))))
    }),
    carrier("GTP-U with two extensions", Some("gtp-u"), |ip| {
        let more = [0, 0, 0, 0x85, 1, 0x10, 9, 0xc0, 1, 0, 0, 0];
        ethernet(&outer(true, 17, &udp(2152, &gtp(0x36, &more, ip))))
    }),
    carrier("authentication header", None, |ip| ethernet(&authenticated(ip))),
    carrier("authenticated IP in IP", Some("4in4"), |ip| {
        let header = [&[in_ip(ip), 4][..], &[0; 22]].concat();
        ethernet(&outer(false, 51, &[&header[..], ip].concat()))
    }),
    carrier("PPPoE around a tunnel", Some("gre"), |ip| {
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
