//! The table, part 1: single frames, and what each must cause.

use probe_common::SegmentKind::{Fin, Rst, Syn, SynAck};
use probe_common::{Family, LinkLayer, Unparsed};

use crate::frames::{
    ACK, AUTHENTICATION, DESTINATION, FIN, HOP_BY_HOP, PSH, ROUTING, RST, SYN, Spec, Step, V4_MORE, V6_MORE,
    Want, ethernet, extension, fragment, timestamps, volume,
};

/// Successive frames at the hooks of one link layer, and what each must cause.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) link: LinkLayer,
    pub(crate) steps: Vec<Step>,
}

/// IP packets, with and without a link-layer header.
pub(crate) fn packets<S: Clone + Into<Step>>(name: &str, steps: &[S]) -> [Case; 2] {
    let bare: Vec<Step> = steps.iter().map(|step| step.clone().into()).collect();
    let framed = bare.iter().map(|step| Step { bytes: ethernet(&[], &step.bytes), ..step.clone() });
    let name = name.to_owned();
    [
        Case { name: name.clone(), link: LinkLayer::Ethernet, steps: framed.collect() },
        Case { name, link: LinkLayer::None, steps: bare },
    ]
}

fn frame(name: &str, frame: Vec<u8>, want: Want) -> Case {
    Case { name: name.to_owned(), link: LinkLayer::Ethernet, steps: vec![(frame, want).into()] }
}

pub(crate) fn syn(family: Family) -> Spec {
    Spec::out(family, SYN, 1000, 0)
}

pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for family in [Family::V4, Family::V6] {
        cases.extend(kinds(family));
        cases.extend(tcp_options(family));
        cases.extend(lengths(family));
        cases.extend(vlan(family));
    }
    cases.extend(ipv4_headers());
    cases.extend(ipv6_headers());
    cases.extend(others());
    cases
}

/// Which segments make a record.
fn kinds(family: Family) -> Vec<Case> {
    let recorded = [
        ("SYN", SYN, 0, Syn),
        ("SYN with ECN", SYN | 0xc0, 0, Syn),
        ("SYN with data", SYN, 99, Syn),
        ("SYN-ACK", SYN | ACK, 0, SynAck),
        ("RST", RST, 0, Rst),
        ("RST-ACK", RST | ACK, 0, Rst),
        ("RST beside SYN", RST | SYN, 0, Rst),
        ("FIN", FIN | ACK, 0, Fin),
        ("FIN with data", FIN | ACK | PSH, 512, Fin),
    ];
    let silent = [("ACK", ACK, 0), ("data", ACK | PSH, 100), ("no flag at all", 0, 0)];
    let spec = |flags, payload| Spec::out(family, flags, 0xffff_fff0, 0x8000_0001).payload(payload);
    let recorded = recorded.into_iter().map(|(name, flags, payload, kind)| {
        let spec = spec(flags, payload);
        let mut want = spec.record(kind);
        // A FIN makes its flow known, with the data beside it.
        if let (Fin, Want::Emitted(record)) = (kind, &mut want) {
            record.volumes[0] = volume(u64::from(payload > 0), payload as u64, 0);
        }
        (name, spec.packet(), want)
    });
    let silent = silent.map(|(name, flags, payload)| (name, spec(flags, payload).packet(), Want::Nothing));
    // Linux drops it: no connection opens and closes in one segment.
    let senseless = ("SYN-FIN", spec(SYN | FIN, 0).packet(), Want::Unparsed(Unparsed::SynFin));
    let all = recorded.chain(silent).chain([senseless]);
    all.flat_map(|(name, packet, want)| packets(name, &[(packet, want)])).collect()
}

/// Hard case `malformed-packets`, and the places of the timestamps.
fn tcp_options(family: Family) -> Vec<Case> {
    let stamps = timestamps(0xdead_beef, 0x0102_0304);
    let linux = [&[2, 4, 5, 0xb4, 4, 2][..], &stamps, &[1, 3, 3, 7]].concat();
    let found = [
        ("first", [&stamps[..], &[0, 0]].concat()),
        ("as Linux has them in a SYN", linux),
        ("aligned by two", [&[1, 1][..], &stamps].concat()),
        ("behind 30 no-operations", [&[1; 30][..], &stamps].concat()),
        ("behind an unknown option", [&[254, 18][..], &[8; 16], &stamps].concat()),
        ("behind one of a wrong length", [&[8, 6, 9, 9, 9, 9][..], &stamps].concat()),
    ];
    let absent = [
        ("none", vec![]),
        ("behind the end", [&[0, 0][..], &stamps].concat()),
        ("of a wrong length", vec![8, 4, 1, 1]),
        ("no-operations only", vec![1; 40]),
        ("one that ends with the last byte", vec![1, 1, 2, 2]),
        ("a long one that ends with the last byte", [&[254, 40][..], &[7; 38]].concat()),
    ];
    let bad = [
        ("length 0", vec![2, 0, 1, 1]),
        ("length 1", vec![3, 1, 1, 1]),
        ("length 0 behind 36 no-operations", [&[1; 36][..], &[5, 0, 0, 0]].concat()),
        ("one byte past the end", vec![1, 1, 2, 3]),
        ("far past the end", vec![2, 255, 1, 1]),
        ("no room for a length", vec![1, 1, 1, 2]),
        ("timestamps cut off", [&[1; 2][..], &[8, 10], &[0; 4]].concat()),
    ];
    let before_bad = [
        ("length 0", [&stamps[..], &[254, 0]].concat()),
        ("far past the end", [&[1, 1][..], &stamps, &[254, 255, 1, 1]].concat()),
    ];
    let spec = |options: &[u8]| syn(family).options(options).payload(3);
    let mut cases = Vec::new();
    for (name, options) in found.into_iter().chain(before_bad) {
        let spec = spec(&options);
        let want = spec.stamped(Syn, 0xdead_beef, 0x0102_0304);
        cases.extend(packets(&format!("timestamps {name}"), &[(spec.packet(), want)]));
    }
    let absent = absent.map(|(name, options)| (format!("no timestamps: {name}"), options));
    let bad = bad.map(|(name, options)| (format!("bad option: {name}"), options));
    for (name, options) in absent.into_iter().chain(bad) {
        let spec = spec(&options);
        cases.extend(packets(&name, &[(spec.packet(), spec.record(Syn))]));
    }
    cases
}

/// Hard case `malformed-packets`: wrong lengths.
fn lengths(family: Family) -> Vec<Case> {
    let mut cases = Vec::new();
    let malformed = || Want::Unparsed(Unparsed::Malformed);
    for words in 0..5 {
        let spec = Spec { data_offset: Some(words), ..syn(family).payload(40) };
        cases.extend(packets(&format!("data offset {words}"), &[(spec.packet(), malformed())]));
    }
    let beyond = Spec { data_offset: Some(6), ..syn(family) };
    cases.extend(packets("data offset past the end of the packet", &[(beyond.packet(), malformed())]));

    // The IP length counts, not that of the frame: Ethernet pads to 60 bytes.
    let mut padded = ethernet(&[], &syn(family).packet());
    padded.resize(padded.len().max(60) + 6, 0);
    cases.push(frame("padding is not payload", padded, syn(family).record(Syn)));

    let at = if family == Family::V4 { 2 } else { 4 };
    let mut long = syn(family).packet();
    long[at + 1] += 1;
    cases.extend(packets("longer than the frame", &[(long, Want::Unparsed(Unparsed::Truncated))]));
    // Hard case `segmentation-offload`: a super-packet longer than the length field can say.
    let mut unlimited = syn(family).payload(10).packet();
    unlimited[at..at + 2].fill(0);
    let want = syn(family).payload(10).record(Syn);
    cases.extend(packets("length 0 stands for more than 16 bits hold", &[(unlimited, want)]));
    cases
}

/// Hard case `vlan-tags`: tags in the frame itself.
fn vlan(family: Family) -> Vec<Case> {
    let spec = syn(family).options(&timestamps(1, 2)[..]).payload(1);
    let spec = Spec { options: [&spec.options[..], &[1, 1]].concat(), ..spec };
    let (packet, want) = (spec.packet(), spec.stamped(Syn, 1, 2));
    vec![
        frame("one VLAN tag", ethernet(&[0x8100], &packet), want.clone()),
        frame("one provider tag", ethernet(&[0x88a8], &packet), want.clone()),
        frame("two VLAN tags", ethernet(&[0x88a8, 0x8100], &packet), want.clone()),
        frame("two older tags", ethernet(&[0x9100, 0x9200], &packet), want.clone()),
        frame("the rarest tag", ethernet(&[0x9200], &packet), want),
        frame("three VLAN tags", ethernet(&[0x88a8, 0x8100, 0x8100], &packet), Want::Nothing),
    ]
}

/// Hard cases `ipv4-options` and `fragments`.
fn ipv4_headers() -> Vec<Case> {
    let spec = syn(Family::V4).options(&[2, 4, 5, 0xb4]).payload(7);
    let mut cases = Vec::new();
    for words in 0..=10 {
        let step = (spec.v4(words, 0), spec.record(Syn));
        cases.extend(packets(&format!("IPv4 header of {} words", words + 5), &[step]));
    }
    let mut short = spec.packet();
    short[0] = 0x44;
    cases.extend(packets("IPv4 header of 4 words", &[(short, Want::Unparsed(Unparsed::Malformed))]));

    for offset in [1, 64, 0x1fff] {
        for more in [0, V4_MORE] {
            let step = (spec.v4(0, offset | more), Want::Unparsed(Unparsed::Fragment));
            cases.extend(packets(&format!("IPv4 fragment at {offset}, flags {more:#x}"), &[step]));
        }
    }
    for flags in [V4_MORE, 0x4000, 0x8000] {
        let step = (spec.v4(0, flags), spec.record(Syn));
        cases.extend(packets(&format!("IPv4 first fragment, flags {flags:#x}"), &[step]));
    }
    let mut other = spec.v4(0, 9);
    other[9] = 17;
    cases.extend(packets("IPv4 fragment of UDP", &[(other, Want::Nothing)]));
    cases.extend(ipv4_authentication(&spec));
    cases
}

/// An authentication header is read over, as in IPv6.
fn ipv4_authentication(spec: &Spec) -> Vec<Case> {
    let authenticated = |next: u8, words: u8| {
        let plain = spec.packet();
        let mut header = vec![0; (usize::from(words) + 2) * 4];
        (header[0], header[1]) = (next, words);
        let mut packet = [&plain[..20], &header, &plain[20..]].concat();
        packet[9] = 51;
        let len = u16::try_from(packet.len()).expect("short");
        packet[2..4].copy_from_slice(&len.to_be_bytes());
        packet
    };
    let mut cases = Vec::new();
    for words in [0, 4, 8, 255] {
        let step = (authenticated(6, words), spec.record(Syn));
        cases.extend(packets(&format!("authentication header of {words} words and two"), &[step]));
    }
    let mut fragment = authenticated(6, 4);
    fragment[7] = 9;
    let steps = [(authenticated(17, 4), Want::Nothing), (fragment, Want::Nothing)];
    cases.extend(packets("authentication header before UDP, and in a later fragment", &steps));
    let mut cut = authenticated(6, 4);
    cut.truncate(22);
    cases.extend(packets(
        "authentication header that is cut off",
        &[(cut, Want::Unparsed(Unparsed::Truncated))],
    ));
    cases
}

/// Hard cases `ipv6-extension-headers` and `fragments`.
fn ipv6_headers() -> Vec<Case> {
    let spec = syn(Family::V6).options(&[2, 4, 5, 0xb4]).payload(7);
    let [hop, routing, destination] =
        [(HOP_BY_HOP, 1), (ROUTING, 3), (DESTINATION, 2)].map(|(number, units)| extension(number, units));
    let authentication = extension(AUTHENTICATION, 6);
    let first = fragment(0, V6_MORE);
    let every = [&hop, &destination, &routing, &first, &authentication, &destination].map(Clone::clone);
    let read = [
        ("hop-by-hop", vec![hop.clone()]),
        ("routing", vec![routing]),
        ("destination options", vec![destination.clone()]),
        ("authentication", vec![authentication]),
        ("atomic fragment", vec![fragment(0, 0)]),
        ("first fragment", vec![first]),
        ("the order of RFC 8200", every.to_vec()),
        ("the longest", vec![extension(DESTINATION, 255)]),
        ("as many as the bound", vec![destination.clone(); 8]),
    ];
    let unread = [
        ("one more than the bound", vec![destination.clone(); 9], Unparsed::TooDeep),
        ("many more", vec![destination; 30], Unparsed::TooDeep),
        ("a later fragment", vec![hop, fragment(3, V6_MORE)], Unparsed::Fragment),
        ("the last fragment", vec![fragment(0x1fff, 0)], Unparsed::Fragment),
    ];
    let mut cases = Vec::new();
    for (name, extensions) in read {
        cases.extend(packets(&format!("IPv6, {name}"), &[(spec.v6(&extensions), spec.record(Syn))]));
    }
    for (name, extensions, why) in unread {
        cases.extend(packets(&format!("IPv6, {name}"), &[(spec.v6(&extensions), Want::Unparsed(why))]));
    }
    let mut over = spec.v6(&[extension(DESTINATION, 1)]);
    over[41] = 200;
    cases.extend(packets("IPv6 header past the end", &[(over, Want::Unparsed(Unparsed::Truncated))]));
    let mut version = ethernet(&[], &spec.packet());
    version[14] = 0x40;
    cases.push(frame("IPv4 called IPv6", version, Want::Unparsed(Unparsed::Malformed)));
    cases
}

/// Not TCP: ignored, and not counted as missed.
fn others() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, protocol) in [("UDP", 17), ("ICMP", 1), ("ICMPv6", 58), ("SCTP", 132), ("no next header", 59)]
    {
        let (mut v4, mut v6) = (syn(Family::V4).packet(), syn(Family::V6).packet());
        (v4[9], v6[6]) = (protocol, protocol);
        cases.extend(packets(name, &[(v4, Want::Nothing), (v6, Want::Nothing)]));
    }
    for (name, ethertype) in [("ARP", [8, 6]), ("LLDP", [0x88, 0xcc]), ("802.3 length", [0, 46])] {
        let mut other = ethernet(&[], &syn(Family::V4).packet());
        other[12..14].copy_from_slice(&ethertype);
        cases.push(frame(name, other, Want::Nothing));
    }
    let mut version = syn(Family::V4).packet();
    version[0] = 0x55;
    let step = (version, Want::Nothing);
    cases.push(Case {
        name: "neither IPv4 nor IPv6".to_owned(),
        link: LinkLayer::None,
        steps: vec![step.into()],
    });
    cases
}
